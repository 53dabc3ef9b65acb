//! `resolve`: a spec, in an account that allows it, becomes the desired state.

use std::collections::{BTreeMap, BTreeSet};

use super::presets::{self, Parts};
use super::{
    Account, Approval, Desired, DesiredAccess, DesiredBucket, DesiredNamespace, DesiredPolicy, DesiredRotation, DesiredSecret,
    DesiredUser, Destroy, Document, Grant, Identity, Management, Proofs, SpecError, marks, names, proofs, statements, validate,
};
use crate::api::{
    AccountDefaults, BucketConnection, BucketConnectionSpec, ManagementMode, Memory, PolicyScope, PolicySpec, PolicyType, Preset,
};
use crate::settings::encryption::EncryptionSpec;
use crate::settings::tags::{DesiredTags, Tags};
use crate::settings::{self, BucketSettings, SettingId, Specs};

/// The desired state of `object` in `account`, or every error of its spec.
///
/// `cluster` distinguishes this Kubernetes cluster from others that work on the same account; `grant` are what the account allows.
pub fn resolve(object: &BucketConnection, cluster: &str, account: &Account, grant: &Grant) -> Result<Desired, Vec<SpecError>> {
    let known = object.status.as_ref().and_then(|status| status.memory.versioning.as_ref());
    resolve_on(object, cluster, account, grant, known.is_some_and(|known| known.versioned))
}

/// `desired` for a bucket that was read and has versions, or has none: some of ICA's permissions depend on it.
pub fn adapted(
    desired: Desired,
    versioned: Option<bool>,
    object: &BucketConnection,
    cluster: &str,
    grant: &Grant,
) -> Result<Desired, Vec<SpecError>> {
    match versioned {
        Some(found) if desired.versioned.is_some_and(|taken| taken != found) => {
            resolve_on(object, cluster, &desired.account, grant, found)
        }
        _ => Ok(desired),
    }
}

fn resolve_on(
    object: &BucketConnection,
    cluster: &str,
    account: &Account,
    grant: &Grant,
    versioned: bool,
) -> Result<Desired, Vec<SpecError>> {
    let mut errors = validate::schema(object);
    let from = Source::new(object, cluster, account, grant, &mut errors);
    let spec = from.spec;
    let scope = from.scope(versioned);
    let preset = presets::parts(spec.preset, &scope).unwrap_or_else(|error| {
        errors.push(error);
        Parts::default()
    });
    let management = from.management(&mut errors);
    let bucket = from.bucket(&preset, &management, &mut errors);
    let statements = statements::all(preset.statements, &from.policy.statements, &scope, spec.preset, grant, &mut errors);
    let document = Document { statements };
    errors.extend(validate::document_size(&document, from.policy.kind));
    let user = from.user();
    let secret = from.secret(&mut errors);
    let rotation = spec.credentials.as_ref().and_then(|credentials| credentials.rotation.as_ref());
    let rotation = DesiredRotation::new(rotation, &mut errors);
    let proofs = from.proofs(&document, &management);
    let policy = from.policy(&user, document);
    let groups: BTreeSet<_> = spec.access.iter().flat_map(|access| &access.groups).cloned().collect();
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(Desired {
        account: account.clone(),
        region: spec.region.clone(),
        preset: spec.preset,
        identity: match spec.existing_secret() {
            Some(secret) => Identity::UserProvided { secret: secret.to_owned() },
            None => Identity::Managed,
        },
        access: DesiredAccess { name: names::readers(&secret.name), groups: groups.into_iter().collect() },
        bucket,
        user,
        policy,
        secret,
        rotation,
        proofs,
        management,
        approval: Approval::of(spec.approved_plan.as_ref(), &grant.adoption),
        deletion: spec.deletion_policy,
        force_destroy: Destroy::of(spec.force_destroy, grant.force_destroy),
        versioned: (spec.preset == Preset::IlluminaICA && spec.bucket.settings.versioning.is_none()).then_some(versioned),
        limits: limits(spec.preset, &spec.region),
        namespace: from.namespace,
        owner: from.owner,
    })
}

/// What the desired state is made of: the object, the account and its grant, and the names that follow from them.
struct Source<'a> {
    object: &'a BucketConnection,
    spec: &'a BucketConnectionSpec,
    account: &'a Account,
    grant: &'a Grant,
    /// The recorded state.
    memory: Memory,
    owner: String,
    namespace: DesiredNamespace,
    /// The tags that say who owns a resource.
    marks: Tags,
    bucket_name: String,
    bucket_arn: String,
    prefix: &'a str,
    /// ARN pattern of the objects that the policy covers.
    objects_arn: String,
    /// The settings of the spec, with the account's defaults.
    settings: BucketSettings,
    policy: PolicySpec,
}

impl<'a> Source<'a> {
    fn new(
        object: &'a BucketConnection,
        cluster: &str,
        account: &'a Account,
        grant: &'a Grant,
        errors: &mut Vec<SpecError>,
    ) -> Self {
        let spec = &object.spec;
        let bucket_name = names::bucket(object, &account.id);
        if bucket_name.len() > names::BUCKET_LIMIT {
            let prefix = spec.bucket.name_prefix.as_ref().map_or(0, String::len);
            let longest = (prefix + names::BUCKET_LIMIT).saturating_sub(bucket_name.len());
            let text = format!(
                "{bucket_name} is longer than the 63 characters of a bucket name: at most {longest} are left for the prefix in this region"
            );
            errors.push(SpecError::new("spec.bucket.namePrefix", text));
        }
        let partition = names::partition_of(&spec.region);
        if partition != account.partition {
            let text = format!(
                "{} is a region of the partition {partition}, but the operator signs in to an account in {}",
                spec.region, account.partition
            );
            errors.push(SpecError::new("spec.region", text));
        }
        let owner = names::owner(object, cluster);
        let namespace = DesiredNamespace { id: grant.namespace.clone(), inherits: grant.inherits };
        let bucket_arn = format!("arn:{}:s3:::{bucket_name}", account.partition);
        let prefix = spec.bucket.prefix.as_deref().unwrap_or_default();
        let policy = spec.policy.clone().unwrap_or_default();
        let objects_arn = format!("{bucket_arn}/{}*", if policy.scope == PolicyScope::Bucket { "" } else { prefix });
        Self {
            marks: marks(&owner, &namespace),
            memory: object.status.as_ref().map(|status| status.memory.clone()).unwrap_or_default(),
            settings: with_defaults(&spec.bucket.settings, &grant.defaults, &spec.region),
            object,
            spec,
            account,
            grant,
            owner,
            namespace,
            bucket_name,
            bucket_arn,
            prefix,
            objects_arn,
            policy,
        }
    }

    fn scope(&self, versioned: bool) -> presets::Scope<'_> {
        let in_scope = if self.policy.scope == PolicyScope::Bucket { "" } else { self.prefix };
        presets::Scope {
            bucket_arn: &self.bucket_arn,
            objects_arn: &self.objects_arn,
            prefix: (!in_scope.is_empty()).then_some(in_scope),
            kms_key_arn: self.settings.encryption.as_ref().and_then(|encryption| encryption.kms_key_arn.as_deref()),
            versioned: self.spec.bucket.settings.versioning.is_some() || versioned,
            region: &self.spec.region,
            illumina_ica: self.spec.illumina_ica.as_ref(),
        }
    }

    fn management(&self, errors: &mut Vec<SpecError>) -> Management {
        let spec = self.spec;
        let management = Management::new(&spec.management, errors);
        let user = spec.user.as_ref().is_some_and(|user| user.adopt);
        for (adopts, section) in
            [(spec.bucket.adopt, SettingId::BucketTags.name()), (user, "user"), (self.policy.adopt, "policy")]
        {
            if adopts && !management.hands_off() && management.of(section) != ManagementMode::Enforce {
                let text = format!("adoption needs {section}: Enforce, because the operator tags what it adopts");
                errors.push(SpecError::new("spec.management", text));
            }
        }
        management
    }

    fn bucket(&self, preset: &Parts, management: &Management, errors: &mut Vec<SpecError>) -> DesiredBucket {
        let (spec, account) = (self.spec, self.account);
        let earlier = self.memory.owned();
        let context = settings::Context {
            preset_cors: preset.cors.clone(),
            preset_statements: &preset.bucket_statements,
            marks: &self.marks,
            earlier: &earlier,
            bucket_arn: &self.bucket_arn,
            account_id: &account.id,
            partition: &account.partition,
            region: &spec.region,
            operator: &self.grant.operator,
        };
        let mut setting_errors = Vec::new();
        let specs = Specs { spec: &spec.settings, bucket: &self.settings };
        let mut settings = settings::Desired::resolve(&specs, &context, &mut setting_errors);
        errors.extend(setting_errors.into_iter().map(|(field, text)| SpecError::new(format!("spec.{field}"), text)));
        settings.ignore(|setting| management.of(setting.name()) == ManagementMode::Ignore);
        for unknown in spec.bucket.allow_weaker.iter().filter(|name| SettingId::named(name).is_none()) {
            let known = SettingId::ALL.iter().map(|setting| setting.name()).collect::<Vec<_>>().join(", ");
            errors.push(SpecError::new("spec.bucket.allowWeaker", format!("{unknown} is not a setting (allowed: {known})")));
        }
        DesiredBucket {
            name: self.bucket_name.clone(),
            arn: self.bucket_arn.clone(),
            prefix: self.prefix.to_owned(),
            settings,
            allow_weaker: spec.bucket.allow_weaker.iter().filter_map(|name| SettingId::named(name)).collect(),
            adopt: spec.bucket.adopt && self.grant.adoption.buckets,
        }
    }

    fn user(&self) -> DesiredUser {
        let (spec, defaults) = (self.spec.user.clone().unwrap_or_default(), &self.grant.defaults);
        // A user keeps its name and path when the account's defaults change.
        let known = self.memory.user.as_ref().and_then(|user| names::path_and_name(&user.arn));
        let name = spec.name.or(known.map(|(_, name)| name.to_owned()));
        let name = name.unwrap_or_else(|| names::default_user(self.object, defaults));
        let path = spec.path.or(known.map(|(path, _)| path.to_owned()));
        let path = path.unwrap_or_else(|| names::default_path(defaults).to_owned());
        let mut tags: Tags = defaults.tags.clone().into_iter().chain(spec.tags).collect();
        tags.insert(names::PRESET_TAG.to_owned(), self.spec.preset.to_string());
        let earlier = self.memory.user.as_ref().map(|user| user.tag_keys.clone()).unwrap_or_default();
        DesiredUser {
            arn: format!("{}:user{path}{name}", self.iam()),
            tags: DesiredTags::new(&tags, &self.marks, &earlier),
            boundary: defaults.permissions_boundary.clone().or(spec.permissions_boundary),
            boundary_of_account: defaults.permissions_boundary.is_some(),
            adopt: spec.adopt && self.grant.adoption.users,
            name,
            path,
        }
    }

    fn policy(&self, user: &DesiredUser, document: Document) -> DesiredPolicy {
        let name = self.policy.name.clone().unwrap_or_else(|| match self.policy.kind {
            PolicyType::Inline => names::INLINE_POLICY.to_owned(),
            PolicyType::Managed => user.name.clone(),
        });
        DesiredPolicy {
            kind: self.policy.kind,
            arn: format!("{}:policy{}{name}", self.iam(), user.path),
            path: user.path.clone(),
            adopt: self.policy.adopt && self.grant.adoption.policies,
            name,
            document,
        }
    }

    fn secret(&self, errors: &mut Vec<SpecError>) -> DesiredSecret {
        let spec = self.spec;
        let existing = spec.existing_secret();
        let name = existing.map_or_else(|| names::secret(self.object), str::to_owned);
        if existing.is_none() && name.len() > names::SECRET_LIMIT {
            let text = format!(
                "the default name {name} is longer than {} characters, and other Secrets of the connection have longer names; set a shorter name",
                names::SECRET_LIMIT
            );
            errors.push(SpecError::new("spec.credentials.secret.name", text));
        }
        let secret = spec.credentials.as_ref().and_then(|credentials| credentials.secret.as_ref());
        DesiredSecret {
            name,
            versioned: secret.is_some_and(|secret| secret.versioned),
            fields: BTreeMap::from([
                ("AWS_REGION", spec.region.clone()),
                ("BUCKET", self.bucket_name.clone()),
                ("PREFIX", self.prefix.to_owned()),
                ("connectionName", names::of(self.object).to_owned()),
                ("region", spec.region.clone()),
                ("partition", self.account.partition.clone()),
            ]),
        }
    }

    fn proofs(&self, document: &Document, management: &Management) -> Proofs {
        let scope = proofs::Scope {
            document,
            bucket_arn: &self.bucket_arn,
            prefix: self.prefix,
            owner: &self.owner,
            kms: self.settings.encryption.as_ref().is_some_and(EncryptionSpec::uses_kms),
            locked: self.spec.bucket.settings.object_lock.is_some(),
            enforced: management.of("credentials") == ManagementMode::Enforce,
            spec: self.spec.verification.as_ref(),
        };
        scope.proofs()
    }

    /// How the ARNs of the account's IAM resources begin.
    fn iam(&self) -> String {
        format!("arn:{}:iam::{}", self.account.partition, self.account.id)
    }
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
