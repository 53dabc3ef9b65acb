//! What a connection names or weakens that its AWSAccount must allow: the only place that decides this.
//!
//! The code destructures every part of the spec without `..`, so that a new field does not compile until its author has
//! decided what it reaches. Bucket settings decide for themselves (`Setting::reaches`).

use super::names;
use crate::api::{
    AWSAccountSpec, AccessSpec, BucketConnection, BucketConnectionSpec, BucketSpec, CredentialsSpec, CrossAccountCopySpec,
    Effect, ExistingSecretRef, GenomicsCloudSpec, IlluminaICASpec, Period, PolicySpec, PolicyStatement, PolicyType, Preset,
    RotationSpec, SecretSpec, UserSpec, VerificationSpec,
};
use crate::settings::Specs;
use crate::settings::reach::{Adopted, Need, Reach};
use crate::settings::reserved::{has_wildcards, is_reserved};
use crate::settings::tags;

/// What `object` reaches in `account`, if its namespace has `earlier` connections that are older. Its status must be
/// verified.
pub(super) fn reaches(object: &BucketConnection, account: &AWSAccountSpec, earlier: usize) -> Vec<Reach> {
    let BucketConnectionSpec {
        // Selects the account whose rules apply.
        account_ref: _,
        preset,
        region,
        bucket,
        settings,
        illumina_ica,
        policy,
        user,
        credentials,
        verification,
        access,
        // Affects only resources that the connection already owns.
        deletion_policy: _,
        force_destroy,
        // It can only reduce what is managed.
        management: _,
        // Approves only what the rules allow.
        approved_plan: _,
        resync_interval,
        suspend: _,
    } = &object.spec;
    let specs = Specs { spec: settings, bucket: &bucket.settings };
    // The account is known before the operator signs in only if the spec asserts it.
    let account_id = account.account_id.as_deref().unwrap_or("000000000000");
    let mut reaches = vec![
        Reach::new("bucket.name", Need::Bucket(names::bucket(object, account_id))),
        Reach::new("region", Need::Region(region.clone())),
        Reach::new("preset", Need::Preset(name_of(*preset))),
        Reach::new("connection number", Need::Connection(earlier)),
        Reach::new("resyncInterval", Need::ResyncInterval((*resync_interval).into())),
    ];
    reaches.extend((*preset == Preset::Custom).then(|| Reach::new("preset Custom", Need::CustomPolicy)));
    reaches.extend(force_destroy.then(|| Reach::new("forceDestroy", Need::ForceDestroy)));
    reaches.extend(specs.reaches());
    reaches.extend(of_bucket(object, bucket));
    reaches.extend(illumina_ica.iter().flat_map(of_illumina_ica));
    reaches.extend(policy.iter().flat_map(|policy| of_policy(object, policy, account)));
    reaches.extend(user.iter().flat_map(|user| of_user(object, user, account)));
    reaches.extend(credentials.iter().flat_map(of_credentials));
    reaches.extend(verification.iter().flat_map(of_verification));
    // The connection's own Secret, in its own namespace: a tenant that can write the connection can read that Secret
    // anyway.
    let _ = access.as_ref().map(|AccessSpec { groups: _ }| ());
    reaches
}

/// The name of a preset as specs write it.
pub(super) fn name_of(preset: Preset) -> String {
    serde_json::json!(preset).as_str().unwrap_or_default().to_owned()
}

fn of_bucket(object: &BucketConnection, bucket: &BucketSpec) -> Vec<Reach> {
    // The name is complete; the other fields select a part of the bucket.
    let BucketSpec { name: _, name_prefix: _, prefix: _, adopt, allow_root: _, allow_weaker, settings: _ } = bucket;
    let ours = object.status.as_ref().is_some_and(|status| status.memory.bucket.is_some());
    let adopts = (*adopt && !ours).then(|| Reach::new("bucket.adopt", Need::Adoption(Adopted::Bucket)));
    let weaker = |name: &String| Reach::new(format!("bucket.allowWeaker {name}"), Need::Weaker(name.clone()));
    adopts.into_iter().chain(allow_weaker.iter().map(weaker)).collect()
}

fn of_illumina_ica(options: &IlluminaICASpec) -> Vec<Reach> {
    let IlluminaICASpec { copy_tags: _, cross_account_copy } = options;
    let Some(CrossAccountCopySpec { role_arn }) = cross_account_copy else { return Vec::new() };
    let own_role = role_arn.as_ref().map(|_| Reach::new("illuminaICA.crossAccountCopy.roleArn", Need::Statements));
    [Reach::new("illuminaICA.crossAccountCopy", Need::CrossAccountCopy)].into_iter().chain(own_role).collect()
}

fn of_policy(object: &BucketConnection, policy: &PolicySpec, account: &AWSAccountSpec) -> Vec<Reach> {
    // The scope is limited to the connection's own bucket.
    let PolicySpec { kind, name, adopt, scope: _, statements } = policy;
    let mut reaches = Vec::new();
    if let Some(name) = name.as_ref().filter(|_| *kind == PolicyType::Managed)
        && *name != names::default_user(object, &account.defaults)
    {
        reaches.push(Reach::new("policy.name", Need::User(name.clone())));
    }
    let known = object.status.as_ref().and_then(|status| status.memory.policy.as_ref());
    let ours = known.is_some_and(|known| known.kind == *kind && name.as_ref().is_none_or(|name| known.name == *name));
    reaches.extend((*adopt && !ours).then(|| Reach::new("policy.adopt", Need::Adoption(Adopted::Policy))));
    // The preset Custom consists of statements only.
    let adds = !statements.is_empty() && object.spec.preset != Preset::Custom;
    reaches.extend(adds.then(|| Reach::new("policy.statements", Need::Statements)));
    for (index, statement) in statements.iter().enumerate() {
        // Resources and services are limited to the connection's own bucket and key (`desired/statements.rs`).
        let PolicyStatement { sid: _, effect, actions, resources: _, conditions: _, unknown: _ } = statement;
        let field = format!("policy.statements[{index}].actions");
        // For an action with wildcards the operator adds a Deny for the reserved actions.
        let named = actions.iter().filter(|action| *effect == Effect::Allow && !has_wildcards(action) && is_reserved(action));
        reaches.extend(named.map(|action| Reach::new(&field, Need::Action(action.clone()))));
    }
    reaches
}

fn of_user(object: &BucketConnection, user: &UserSpec, account: &AWSAccountSpec) -> Vec<Reach> {
    let UserSpec { name, adopt, path, permissions_boundary, tags } = user;
    let mut reaches = Vec::new();
    let default_name = names::default_user(object, &account.defaults);
    match (path.as_ref().filter(|path| *path != names::default_path(&account.defaults)), name) {
        (Some(path), name) => {
            let name = name.as_ref().unwrap_or(&default_name);
            reaches.push(Reach::new("user", Need::User(format!("{path}{name}"))));
        }
        (None, Some(name)) if *name != default_name => reaches.push(Reach::new("user.name", Need::User(name.clone()))),
        (None, _) => {}
    }
    let ours = object.status.as_ref().is_some_and(|status| status.memory.user.is_some());
    reaches.extend((*adopt && !ours).then(|| Reach::new("user.adopt", Need::Adoption(Adopted::User))));
    let boundary = permissions_boundary.as_ref();
    reaches.extend(boundary.map(|arn| Reach::new("user.permissionsBoundary", Need::PermissionsBoundary(arn.clone()))));
    reaches.extend(tags::reaches("user.tags", tags));
    reaches
}

fn of_credentials(credentials: &CredentialsSpec) -> Vec<Reach> {
    // Secrets are limited to the connection's own namespace.
    let CredentialsSpec { source: _, existing_secret_ref, secret, rotation } = credentials;
    let _ = existing_secret_ref.as_ref().map(|ExistingSecretRef { name: _ }| ());
    let _ = secret.as_ref().map(|SecretSpec { name: _, versioned: _ }| ());
    let Some(RotationSpec { interval, overlap: _ }) = rotation else { return Vec::new() };
    let time = |interval: &Period| interval.length().unsigned_abs();
    let interval = interval.iter().map(|interval| Need::RotationInterval(time(interval)));
    interval.map(|need| Reach::new("credentials.rotation.interval", need)).collect()
}

fn of_verification(verification: &VerificationSpec) -> Vec<Reach> {
    // The operator puts objects with the issued key, under the connection's own prefix.
    let VerificationSpec { objects: _, genomics_cloud } = verification;
    let Some(cloud) = genomics_cloud else { return Vec::new() };
    let GenomicsCloudSpec { url: _, expected_status: _ } = cloud;
    vec![Reach::new("verification.genomicsCloud.url", Need::Host(cloud.authority().to_owned()))]
}
