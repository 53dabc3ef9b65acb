//! First stage: turns a `BucketConnection` into the desired state of AWS and the Secret, with every name resolved and
//! validated.
//!
//! Pure. It reads nothing that exists.

pub mod claims;
mod document;
mod fingerprint;
pub mod management;
pub mod names;
pub mod presets;
mod proofs;
mod reaches;
mod rotation;
mod statements;
pub mod tenancy;
mod validate;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::api::{
    AccountDefaults, AdoptionRule, ApprovedBy, BucketConnection, DeletionPolicy, ManagementMode, PolicyScope, PolicyStatus,
    PolicyType, Preset,
};
use crate::settings::encryption::EncryptionSpec;
use crate::settings::tags::{DesiredTags, Tags};
use crate::settings::{self, BucketSettings, SettingId, Specs};
use crate::vocabulary::problem::Place;

pub use document::Document;
pub use management::Management;
pub use proofs::{CheckPlan, Proof, Proofs};
pub use rotation::DesiredRotation;
pub use tenancy::Terms;
#[cfg(test)]
pub(crate) use validate::{DENIAL_RESERVE, characters};
pub use validate::{SpecError, account_errors};

/// The AWS account that the operator signs in to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Account {
    /// Account id: twelve digits.
    pub id: String,
    /// Partition: `aws`, `aws-cn`, ...
    pub partition: String,
}

/// The desired state. Every name in it is valid and cannot widen a policy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Desired {
    /// Value of the ownership tag of this connection.
    pub owner: String,
    /// The AWS account.
    pub account: Account,
    /// Region of the bucket.
    pub region: String,
    /// The bucket.
    pub bucket: DesiredBucket,
    /// The namespace. It distinguishes a tenant from an earlier one that had the same namespace name.
    pub namespace: DesiredNamespace,
    /// The IAM user.
    pub user: DesiredUser,
    /// Its policy.
    pub policy: DesiredPolicy,
    /// The preset.
    pub preset: Preset,
    /// Name of the Secret with an existing key that the operator does not manage: then user, policy, Secret and access
    /// are unused.
    pub existing: Option<String>,
    /// The Secret.
    pub secret: DesiredSecret,
    /// When the operator rotates the key.
    pub rotation: DesiredRotation,
    /// Who can read the Secret.
    pub access: DesiredAccess,
    /// What to verify with the key, and what each verification shows.
    pub proofs: Proofs,
    /// What is enforced, observed or ignored.
    pub management: Management,
    /// The adoptions that are approved.
    pub approval: Approval,
    /// Whether the bucket has versions; `None` if that does not matter or the spec says so.
    pub versioned: Option<bool>,
    /// The deletion policy.
    pub deletion: DeletionPolicy,
    /// Whether deletion may destroy objects and foreign keys.
    pub force_destroy: Destroy,
    /// What the preset does not support here; shown, but not an error.
    pub limits: Option<String>,
}

impl Desired {
    /// Whether a new object may be created without reading first: everything is enforced, and nothing is adopted.
    pub fn may_create_blindly(&self) -> bool {
        let adopts = self.bucket.adopt || self.user.adopt || self.policy.adopt;
        self.management.enforces_all() && !adopts && self.existing.is_none()
    }

    /// The tags that name the owner.
    pub fn marks(&self) -> Tags {
        marks(&self.owner, &self.namespace)
    }

    /// What the hints for a problem depend on.
    pub fn place(&self) -> Place {
        let path = Some(self.user.path.clone()).filter(|path| path != names::DEFAULT_PATH);
        Place { region: self.region.clone(), user_path: path }
    }

    /// A description of the owner in this ownership tag, for people. It never names an owner of another namespace.
    pub fn whose(&self, owner: &str) -> String {
        match (owner.rsplit_once('/'), self.owner.rsplit_once('/')) {
            (Some((theirs, name)), Some((ours, _))) if theirs == ours && ours.contains('/') => {
                format!("BucketConnection {name} of this namespace")
            }
            _ => "another BucketConnection".to_owned(),
        }
    }

    /// The key, for people.
    pub fn key(&self) -> String {
        self.existing.as_ref().map_or_else(|| "the issued key".to_owned(), |secret| format!("the key in Secret {secret}"))
    }
}

/// The namespace of a connection.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DesiredNamespace {
    /// Value of its tag, `<uid of the cluster>/<uid of the namespace>`; `None` if the uid could not be read, for a
    /// preview.
    pub id: Option<String>,
    /// Whether it may continue to use what an earlier namespace of the same name managed.
    pub inherits: bool,
}

impl DesiredNamespace {
    /// Whether a resource with these tags belongs to this namespace, or to the same namespace in a cluster that was
    /// built again. A missing tag says nothing.
    pub fn is(&self, tags: &Tags) -> bool {
        let Some(id) = self.id.as_ref().filter(|_| !self.inherits) else { return true };
        let Some(tag) = tags.get(names::NAMESPACE_TAG) else { return false };
        let (Some(here), Some(there)) = (id.split_once('/'), tag.split_once('/')) else { return false };
        let known = here.0 != names::UNKNOWN_CLUSTER && there.0 != names::UNKNOWN_CLUSTER;
        // No two namespaces have the same uid, not even in different clusters.
        here.1 == there.1 || (known && here.0 != there.0)
    }
}

fn marks(owner: &str, namespace: &DesiredNamespace) -> Tags {
    let owner = std::iter::once((names::OWNER_TAG.to_owned(), owner.to_owned()));
    owner.chain(namespace.id.clone().map(|id| (names::NAMESPACE_TAG.to_owned(), id))).collect()
}

/// Who approves adoptions, and which adoptions are approved.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Approval {
    /// Whether the platform team approves, or the author of the connection.
    pub by: ApprovedBy,
    /// The hash of the plan that the author of the connection approved.
    pub own: Option<String>,
    /// Hashes of the plans that the platform team approved.
    pub keepers: Vec<String>,
}

impl Approval {
    fn of(own: Option<&String>, rule: &AdoptionRule) -> Self {
        Self { by: rule.approval, own: own.cloned(), keepers: rule.approved_plans.clone() }
    }

    /// Whether the plan with this hash may adopt something.
    pub fn covers(&self, hash: &String) -> bool {
        self.keepers.contains(hash) || (self.by == ApprovedBy::Connection && self.own.as_ref() == Some(hash))
    }
}

/// Whether deletion may destroy the contents of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Destroy {
    /// The spec does not ask for it.
    No,
    /// The spec asks for it, and the account does not allow it.
    NotAllowed,
    /// The spec asks for it, and the account allows it.
    Yes,
}

impl Destroy {
    fn of(asked: bool, allowed: bool) -> Self {
        match (asked, allowed) {
            (false, _) => Self::No,
            (true, false) => Self::NotAllowed,
            (true, true) => Self::Yes,
        }
    }
}

/// The desired bucket.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DesiredBucket {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// The key prefix that the connection is limited to; empty for the whole bucket.
    pub prefix: String,
    /// Its settings.
    pub settings: settings::Desired,
    /// Settings that may be weakened.
    pub allow_weaker: Vec<SettingId>,
    /// Whether an existing bucket may be adopted.
    pub adopt: bool,
}

/// The desired user.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DesiredUser {
    /// Its name.
    pub name: String,
    /// Its path.
    pub path: String,
    /// Its ARN.
    pub arn: String,
    /// Its tags.
    pub tags: DesiredTags,
    /// ARN of the managed policy that is its permissions boundary; `None` leaves the boundary unchanged.
    pub boundary: Option<String>,
    /// Whether the boundary comes from the account.
    pub boundary_of_account: bool,
    /// Whether an existing user may be adopted.
    pub adopt: bool,
}

/// The desired policy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DesiredPolicy {
    /// Inline or managed.
    pub kind: PolicyType,
    /// Its name.
    pub name: String,
    /// Its path, for a managed policy.
    pub path: String,
    /// Its ARN, for a managed policy.
    pub arn: String,
    /// Its document.
    pub document: Document,
    /// Whether an existing managed policy may be adopted.
    pub adopt: bool,
}

impl DesiredPolicy {
    /// The policy as the status names it, without a version.
    pub fn identity(&self) -> PolicyStatus {
        let arn = (self.kind == PolicyType::Managed).then(|| self.arn.clone());
        PolicyStatus { kind: self.kind, name: self.name.clone(), arn, id: None, version: None }
    }
}

/// The desired Secret, without the key.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DesiredSecret {
    /// Its name.
    pub name: String,
    /// Whether each key also has a Secret of its own.
    pub versioned: bool,
    /// Its fields that are not secret.
    pub fields: BTreeMap<&'static str, String>,
}

impl DesiredSecret {
    /// Name of the key's own Secret for the key with this number, if keys are versioned.
    pub fn own(&self, number: i64) -> Option<String> {
        self.versioned.then(|| names::version(&self.name, number))
    }

    /// Name of the Secret that holds the pending key while the current key has this number.
    pub fn pending(&self, number: Option<i64>) -> String {
        number.unwrap_or(1).checked_add(1).and_then(|next| self.own(next)).unwrap_or_else(|| names::pending(&self.name))
    }

    /// The same Secret under another name.
    pub fn named(&self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self.clone() }
    }
}

/// Who can read the Secret, through a Role and a RoleBinding of the same name.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DesiredAccess {
    /// Name of both.
    pub name: String,
    /// Kubernetes groups, sorted; if empty, neither object is desired.
    pub groups: Vec<String>,
}

/// Resolves `object` into the desired state in `account`, or into all errors in it.
///
/// `cluster` distinguishes this Kubernetes cluster from others that use the same account; `terms` are what the account
/// allows.
pub fn resolve(object: &BucketConnection, cluster: &str, account: &Account, terms: &Terms) -> Result<Desired, Vec<SpecError>> {
    let known = object.status.as_ref().and_then(|status| status.memory.versioning.as_ref());
    resolve_on(object, cluster, account, terms, known.is_some_and(|known| known.versioned))
}

/// The same `desired` for a bucket that was found to have versions, or none: if that matters, the permissions for ICA
/// depend on it.
pub fn adapted(
    desired: Desired,
    versioned: Option<bool>,
    object: &BucketConnection,
    cluster: &str,
    terms: &Terms,
) -> Result<Desired, Vec<SpecError>> {
    match versioned {
        Some(found) if desired.versioned.is_some_and(|taken| taken != found) => {
            resolve_on(object, cluster, &desired.account, terms, found)
        }
        _ => Ok(desired),
    }
}

fn resolve_on(
    object: &BucketConnection,
    cluster: &str,
    account: &Account,
    terms: &Terms,
    versioned: bool,
) -> Result<Desired, Vec<SpecError>> {
    let (spec, defaults) = (&object.spec, &terms.defaults);
    let mut errors = validate::schema(object);
    let bucket_name = names::bucket(object, &account.id);
    if bucket_name.len() > names::BUCKET_LIMIT {
        let longest =
            (spec.bucket.name_prefix.as_ref().map_or(0, String::len) + names::BUCKET_LIMIT).saturating_sub(bucket_name.len());
        errors.push(SpecError::new(
            "spec.bucket.namePrefix",
            format!("{bucket_name} is longer than the 63 characters of a bucket name: at most {longest} are left for the prefix in this region"),
        ));
    }
    let partition = names::partition_of(&spec.region);
    if partition != account.partition {
        errors.push(SpecError::new(
            "spec.region",
            format!(
                "{} is a region of the partition {partition}, but the operator signs in to an account in {}",
                spec.region, account.partition
            ),
        ));
    }
    let owner = names::owner(object, cluster);
    let namespace = DesiredNamespace { id: terms.namespace.clone(), inherits: terms.inherits };
    let marks = marks(&owner, &namespace);
    let prefix = spec.bucket.prefix.clone().unwrap_or_default();
    let bucket_arn = format!("arn:{}:s3:::{bucket_name}", account.partition);
    let policy_spec = spec.policy.clone().unwrap_or_default();
    let in_scope = if policy_spec.scope == PolicyScope::Bucket { "" } else { &prefix };
    let objects_arn = format!("{bucket_arn}/{in_scope}*");
    let bucket_settings = with_defaults(&spec.bucket.settings, defaults, &spec.region);
    let scope = presets::Scope {
        bucket_arn: &bucket_arn,
        objects_arn: &objects_arn,
        prefix: (!in_scope.is_empty()).then_some(in_scope),
        kms_key_arn: bucket_settings.encryption.as_ref().and_then(|e| e.kms_key_arn.as_deref()),
        versioned: spec.bucket.settings.versioning.is_some() || versioned,
        region: &spec.region,
        illumina_ica: spec.illumina_ica.as_ref(),
    };
    let preset = presets::parts(spec.preset, &scope).unwrap_or_else(|error| {
        errors.push(error);
        presets::Parts::default()
    });
    let status = object.status.clone().unwrap_or_default();
    let earlier = status.memory.owned();
    let context = settings::Context {
        preset_cors: preset.cors,
        preset_statements: &preset.bucket_statements,
        marks: &marks,
        earlier: &earlier,
        bucket_arn: &bucket_arn,
        account_id: &account.id,
        partition: &account.partition,
        region: &spec.region,
        operator: &terms.operator,
    };
    let mut setting_errors = Vec::new();
    let specs = Specs { spec: &spec.settings, bucket: &bucket_settings };
    let mut settings = settings::Desired::resolve(&specs, &context, &mut setting_errors);
    errors.extend(setting_errors.into_iter().map(|(field, text)| SpecError::new(format!("spec.{field}"), text)));

    let management = Management::new(&spec.management, &mut errors);
    let policy_adopts = spec.policy.as_ref().is_some_and(|policy| policy.adopt);
    let user_adopts = spec.user.as_ref().is_some_and(|user| user.adopt);
    for (adopts, section) in [(spec.bucket.adopt, SettingId::BucketTags.name()), (user_adopts, "user"), (policy_adopts, "policy")]
    {
        if adopts && !management.hands_off() && management.of(section) != ManagementMode::Enforce {
            let text = format!("taking over needs {section}: Enforce, because it tags what it takes over");
            errors.push(SpecError::new("spec.management", text));
        }
    }
    settings.ignore(|setting| management.of(setting.name()) == ManagementMode::Ignore);
    let allow_weaker = spec.bucket.allow_weaker.iter().filter_map(|name| SettingId::named(name)).collect();
    for unknown in spec.bucket.allow_weaker.iter().filter(|name| SettingId::named(name).is_none()) {
        let known = SettingId::ALL.iter().map(|setting| setting.name()).collect::<Vec<_>>().join(", ");
        errors.push(SpecError::new("spec.bucket.allowWeaker", format!("{unknown} is no setting; it takes {known}")));
    }

    let statements = statements::all(preset.statements, &policy_spec.statements, &scope, spec.preset, terms, &mut errors);
    let document = Document { statements };
    errors.extend(validate::document_size(&document, policy_spec.kind));

    // A user keeps its name and path when the account's defaults change.
    let known = status.memory.user.as_ref().and_then(|user| names::path_and_name(&user.arn));
    let user_spec = spec.user.clone().unwrap_or_default();
    let user_name =
        user_spec.name.or(known.map(|(_, name)| name.to_owned())).unwrap_or_else(|| names::default_user(object, defaults));
    let path =
        user_spec.path.or(known.map(|(path, _)| path.to_owned())).unwrap_or_else(|| names::default_path(defaults).to_owned());
    let mut user_tags: Tags = defaults.tags.clone().into_iter().chain(user_spec.tags).collect();
    user_tags.insert(names::PRESET_TAG.to_owned(), spec.preset.to_string());
    let policy_name = policy_spec.name.unwrap_or_else(|| match policy_spec.kind {
        PolicyType::Inline => names::INLINE_POLICY.to_owned(),
        PolicyType::Managed => user_name.clone(),
    });
    let earlier_user_tags = status.memory.user.as_ref().map(|u| u.tag_keys.clone()).unwrap_or_default();
    let secret_spec = spec.credentials.as_ref().and_then(|credentials| credentials.secret.as_ref());
    let existing = spec.existing_secret().map(str::to_owned);
    let secret_name = existing.clone().unwrap_or_else(|| names::secret(object));
    if existing.is_none() && secret_name.len() > names::SECRET_LIMIT {
        let text = format!(
            "by default it would be {secret_name}, and at most {} characters are possible, since Secrets beside it have longer names: name one",
            names::SECRET_LIMIT
        );
        errors.push(SpecError::new("spec.credentials.secret.name", text));
    }
    let rotation = spec.credentials.as_ref().and_then(|credentials| credentials.rotation.as_ref());
    let rotation = DesiredRotation::new(rotation, &mut errors);
    let groups: BTreeSet<_> = spec.access.iter().flat_map(|access| &access.groups).cloned().collect();
    if !errors.is_empty() {
        return Err(errors);
    }
    let iam = format!("arn:{}:iam::{}", account.partition, account.id);
    let kms = bucket_settings.encryption.as_ref().is_some_and(EncryptionSpec::uses_kms);
    let object_name = names::of(object);
    Ok(Desired {
        account: account.clone(),
        region: spec.region.clone(),
        namespace,
        preset: spec.preset,
        existing,
        user: DesiredUser {
            arn: format!("{iam}:user{path}{user_name}"),
            tags: DesiredTags::new(&user_tags, &marks, &earlier_user_tags),
            boundary: defaults.permissions_boundary.clone().or(user_spec.permissions_boundary),
            boundary_of_account: defaults.permissions_boundary.is_some(),
            adopt: user_spec.adopt && terms.adoption.users,
            name: user_name,
            path: path.clone(),
        },
        access: DesiredAccess { name: names::readers(&secret_name), groups: groups.into_iter().collect() },
        secret: DesiredSecret {
            name: secret_name,
            versioned: secret_spec.is_some_and(|secret| secret.versioned),
            fields: BTreeMap::from([
                ("AWS_REGION", spec.region.clone()),
                ("BUCKET", bucket_name.clone()),
                ("PREFIX", prefix.clone()),
                ("connectionName", object_name.to_owned()),
                ("region", spec.region.clone()),
                ("partition", account.partition.clone()),
            ]),
        },
        rotation,
        proofs: proofs::Scope {
            document: &document,
            bucket_arn: &bucket_arn,
            prefix: &prefix,
            owner: &owner,
            kms,
            locked: spec.bucket.settings.object_lock.is_some(),
            enforced: management.of("credentials") == ManagementMode::Enforce,
            spec: spec.verification.as_ref(),
        }
        .proofs(),
        policy: DesiredPolicy {
            kind: policy_spec.kind,
            arn: format!("{iam}:policy{path}{policy_name}"),
            name: policy_name,
            adopt: policy_spec.adopt && terms.adoption.policies,
            path,
            document,
        },
        bucket: DesiredBucket {
            name: bucket_name,
            arn: bucket_arn,
            prefix,
            settings,
            allow_weaker,
            adopt: spec.bucket.adopt && terms.adoption.buckets,
        },
        management,
        approval: Approval::of(spec.approved_plan.as_ref(), &terms.adoption),
        deletion: spec.deletion_policy,
        force_destroy: Destroy::of(spec.force_destroy, terms.force_destroy),
        versioned: (spec.preset == Preset::IlluminaICA && spec.bucket.settings.versioning.is_none()).then_some(versioned),
        limits: limits(spec.preset, &spec.region),
        owner,
    })
}

/// The settings of a spec, with the account's defaults where the spec sets nothing.
fn with_defaults(settings: &BucketSettings, defaults: &AccountDefaults, region: &str) -> BucketSettings {
    let mut settings = settings.clone();
    if !defaults.tags.is_empty() {
        let own = settings.tags.take().unwrap_or_default();
        settings.tags = Some(defaults.tags.clone().into_iter().chain(own).collect());
    }
    // A key works only in its own region.
    let key = defaults.kms_key_arn.clone().filter(|arn| arn.split(':').nth(3) == Some(region));
    if let (None, Some(arn)) = (&settings.encryption, key) {
        settings.encryption = Some(EncryptionSpec::with_key(arn));
    }
    settings
}

fn limits(preset: Preset, region: &str) -> Option<String> {
    let mut limited = presets::LIMITED_REGIONS.iter().filter(|_| preset == Preset::IlluminaICA);
    limited.find(|(limited, _)| *limited == region).map(|(_, text)| (*text).to_owned())
}

#[cfg(test)]
mod tests;
