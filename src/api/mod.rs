//! The Kubernetes API `bucketconnection.dev/v1alpha1`: types, conditions and schema rules, without behavior.
//!
//! `kubectl explain` and docs/api.md show the doc comments of fields, so they address the user. The types of the bucket
//! settings are in [`crate::settings`]. `bucketconnection crds` generates `crds/` from these types.

mod account;
mod credentials;
mod management;
mod period;
mod statement;
mod status;
mod verification;

use kube::core::duration::Duration;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::vocabulary::policy_language::Effect;
pub use crate::vocabulary::sign_in::*;
pub use account::*;
pub use credentials::*;
pub use management::*;
pub use period::Period;
pub use statement::PolicyStatement;
pub use status::*;
pub use verification::*;

use crate::settings;
use crate::vocabulary::rules;

/// API group of all kinds, annotations, labels, tags and the finalizer.
pub const GROUP: &str = "bucketconnection.dev";
/// Finalizer on every connection. The operator removes it when it has carried out the deletion policy.
pub const FINALIZER: &str = "bucketconnection.dev/cleanup";
/// Annotation: a new value requests a reconcile now. `status.lastHandledReconcileAt` shows the value when it is done (Flux's
/// convention).
pub const REQUESTED_AT: &str = "reconcile.bucketconnection.dev/requestedAt";

/// Connects one S3 bucket to a platform that works on it, and keeps it connected.
#[derive(CustomResource, KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq)]
#[kube(
    group = "bucketconnection.dev",
    version = "v1alpha1",
    kind = "BucketConnection",
    doc = "A BucketConnection connects one S3 bucket to a platform that works on it, and keeps it connected: the bucket with its settings, an IAM user with only the permissions that the platform needs, and a verified access key in a Secret.",
    namespaced,
    status = "BucketConnectionStatus",
    derive = "PartialEq",
    shortname = "bc",
    category = "aws",
    selectable = ".spec.bucket.name",
    selectable = ".spec.region",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Bucket", type_ = "string", json_path = ".spec.bucket['name','namePrefix']"),
    printcolumn(name = "Region", type_ = "string", json_path = ".spec.region"),
    printcolumn(
        name = "S3",
        type_ = "string",
        json_path = ".status.capabilities.s3.state",
        description = "whether the issued key works on the bucket"
    ),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Preset", type_ = "string", json_path = ".spec.preset", priority = 1),
    printcolumn(name = "Prefix", type_ = "string", json_path = ".spec.bucket.prefix", priority = 1),
    printcolumn(name = "User", type_ = "string", json_path = ".status.user.name", priority = 1),
    printcolumn(name = "Secret", type_ = "string", json_path = ".status.credentials.secretName", priority = 1),
    printcolumn(
        name = "Drift",
        type_ = "integer",
        json_path = ".status.drift.count",
        priority = 1,
        description = "number of drifted fields that the operator reverted"
    ),
    printcolumn(
        name = "Access",
        type_ = "string",
        json_path = ".status.access.groups",
        priority = 1,
        description = "Kubernetes groups that can read the Secret through this connection"
    ),
    printcolumn(name = "Checked", type_ = "date", json_path = ".status.lastCheckedAt", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    )
)]
#[x_kube(validation = Rule::new("self.preset != 'IlluminaICA' || self.region in ['us-east-1','ap-southeast-1','ap-southeast-2','ap-southeast-3','ap-northeast-1','ap-northeast-2','ap-south-1','eu-west-2','eu-central-1','ca-central-1','il-central-1','me-central-1']")
    .message("preset IlluminaICA works only in a region that ICA supports: us-east-1, ca-central-1, eu-central-1, eu-west-2, ap-south-1, ap-southeast-1, ap-southeast-2, ap-southeast-3, ap-northeast-1, ap-northeast-2, il-central-1 or me-central-1")
    .field_path(".region"))]
#[x_kube(validation = Rule::new("self.preset != 'IlluminaICA' || has(self.bucket.prefix) || (has(self.bucket.allowRoot) && self.bucket.allowRoot)")
    .message("ICA cannot use the root of a bucket for several projects: set bucket.prefix, or bucket.allowRoot: true to insist on the root")
    .field_path(".bucket"))]
#[x_kube(validation = Rule::new("!has(self.illuminaICA) || self.preset == 'IlluminaICA'").message("illuminaICA is allowed only with preset IlluminaICA"))]
#[x_kube(validation = Rule::new("self.preset != 'Custom' || (has(self.policy) && has(self.policy.statements) && size(self.policy.statements) > 0)")
    .message("preset Custom allows nothing by itself: list the user's permissions in policy.statements"))]
#[x_kube(validation = Rule::new("(has(self.user) && has(self.user.name)) == (has(oldSelf.user) && has(oldSelf.user.name)) && (has(self.user) && has(self.user.path)) == (has(oldSelf.user) && has(oldSelf.user.path))")
    .message("user.name and user.path cannot be changed: the access key belongs to the user; create another BucketConnection"))]
#[x_kube(validation = Rule::new("(has(self.credentials) && self.credentials.source == 'Existing') == (has(oldSelf.credentials) && oldSelf.credentials.source == 'Existing')")
    .message("credentials.source cannot be changed: a user and its key would be left behind, or created without notice; create another BucketConnection"))]
#[x_kube(validation = Rule::new("!(has(self.credentials) && self.credentials.source == 'Existing') || !(has(self.user) || has(self.policy))")
    .message("with credentials.source: Existing the operator manages no user and no policy; leave user and policy out"))]
#[x_kube(validation = Rule::new("!(has(self.credentials) && self.credentials.source == 'Existing') || !(has(self.access) && has(self.access.groups) && size(self.access.groups) > 0)")
    .message("access.groups is not allowed with credentials.source: Existing; the owner of the Secret manages access to it"))]
#[serde(rename_all = "camelCase")]
pub struct BucketConnectionSpec {
    /// The AWS account of the connection. Immutable.
    #[serde(default)]
    #[x_kube(validation = Rule::new(rules::IMMUTABLE).message("accountRef cannot be changed: nothing moves from one AWS account to another; create another BucketConnection"))]
    pub account_ref: AccountRef,

    /// The purpose of the connection. It supplies the CORS rules and the permissions of the IAM user. IlluminaICA: Illumina
    /// Connected Analytics, exactly as in its guide. CLCGenomics: QIAGEN CLC Server, read and write (derived: QIAGEN publishes no
    /// policy). ReadOnly, ReadWrite, WriteOnly: objects under the prefix. Custom: only the statements in policy.statements.
    pub preset: Preset,

    /// AWS region of the bucket, such as us-east-1. Immutable: a bucket never moves.
    #[x_kube(validation = Rule::new(rules::IMMUTABLE).message("region cannot be changed: a bucket never moves; create another BucketConnection"))]
    #[x_kube(validation = Rule::new(rules::REGION).message("region must be the code of an AWS region, such as us-east-1 or eu-central-1"))]
    #[schemars(length(min = 1, max = 32))]
    pub region: String,

    /// The bucket and its settings.
    pub bucket: BucketSpec,

    /// Settings of the bucket that are not fields of `bucket`.
    #[serde(flatten)]
    pub settings: settings::SpecSettings,

    /// Options of the preset IlluminaICA, in addition to the plain connection of ICA's guide. Only with that preset.
    #[serde(default, rename = "illuminaICA", skip_serializing_if = "Option::is_none")]
    pub illumina_ica: Option<IlluminaICASpec>,

    /// The IAM policy of the user. Omitted: the preset's statements, inline on the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicySpec>,

    /// The IAM user that the platform signs in as. Omitted: "<namespace>.<name>" under the path /bucketconnection/.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserSpec>,

    /// The access key and its Secret. Omitted: a Secret "<name>-s3" in the namespace of this object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<CredentialsSpec>,

    /// What the operator verifies in addition: writing, isolation from the rest of the bucket, and what the platform also needs.
    /// `{}` makes only calls that leave nothing behind. Omitted: only the identity of the key, and listing under the prefix.
    // Atomic, because `{}` has a meaning: otherwise server-side apply would turn it into null when a field is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(merge_strategy = MapMerge::Atomic)]
    pub verification: Option<VerificationSpec>,

    /// Who in Kubernetes can read the Secret through this connection. Omitted: this connection gives no one access; the cluster's
    /// own roles still apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<AccessSpec>,

    /// What happens in AWS when this object is deleted. Retain: everything stays as it is, also the Secret; if you apply the same
    /// object again, it continues with it. Release: the same, and the operator removes its ownership tags, so that another
    /// connection can adopt the resources. Delete: the operator deletes the access key, the policy, the user and the Secret, and
    /// the bucket if it is empty.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,

    /// With deletionPolicy Delete: first deletes every version, delete marker and unfinished upload in the bucket, and the user's
    /// foreign access keys. This cannot be undone.
    #[serde(default)]
    pub force_destroy: bool,

    /// How each section is managed. Enforce (default): the operator reverts differences. Observe: it shows them as drift, and
    /// changes nothing. Ignore: it does not report them. The sections are default (all that are not named), bucket, user, policy,
    /// credentials, access, and each setting by the name of its field, such as cors or lifecycle.
    #[serde(default, skip_serializing_if = "ManagementSpec::is_empty")]
    // Atomic: otherwise server-side apply would make a map null when its last entry is removed.
    #[schemars(extend("maxProperties" = 32, "x-kubernetes-map-type" = "atomic"))]
    #[x_kube(validation = Rule::new("self.all(section, size(section) <= 64)").message("management names sections, such as bucket or cors"))]
    pub management: ManagementSpec,

    /// Hash of the adoption plan that you approve, from status.adoption.planHash. It counts if the AWSAccount has approval:
    /// Connection for the namespace, and always for deleting a bucket whose ownership tag the operator restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub approved_plan: Option<String>,

    /// Time between two reconciles, such as 10m or 1h; at least 10s. The operator shifts each reconcile by up to 10 %, so that many
    /// objects spread out.
    #[serde(default = "default_resync")]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+([.][0-9]+)?(s|m|h))+$') && duration(self) >= duration('10s')").message("resyncInterval must be a duration of at least 10s, written like 30s, 10m or 1h30m"))]
    #[schemars(length(max = 32))]
    pub resync_interval: Duration,

    /// Stops all reconciles of this object until it is false again. Deletion still works.
    #[serde(default)]
    pub suspend: bool,
}

/// The AWS account of a connection.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AccountRef {
    /// Name of an AWSAccount.
    #[serde(default = "default_account")]
    #[x_kube(validation = Rule::new(rules::OBJECT_NAME).message("accountRef.name must be the name of an AWSAccount: lower-case letters, digits, dots and hyphens"))]
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

impl Default for AccountRef {
    fn default() -> Self {
        Self { name: default_account() }
    }
}

fn default_account() -> String {
    "default".to_owned()
}

/// The purpose of a connection.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq, strum::Display)]
#[allow(missing_docs, reason = "each name says it, and docs on a variant would change its schema")]
pub enum Preset {
    IlluminaICA,
    CLCGenomics,
    ReadOnly,
    ReadWrite,
    WriteOnly,
    Custom,
}

/// The bucket and its settings.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq)]
#[x_kube(validation = Rule::new("has(self.name) != has(self.namePrefix)").message("the bucket needs a name or a namePrefix, and only one of them"))]
#[x_kube(validation = Rule::new("has(self.name) == has(oldSelf.name)").message("bucket.name cannot be changed: create another BucketConnection"))]
#[x_kube(validation = Rule::new("!has(self.objectLock) || (has(self.versioning) && self.versioning == 'Enabled')").message("objectLock needs versioning: Enabled").field_path(".versioning"))]
#[serde(rename_all = "camelCase")]
pub struct BucketSpec {
    /// Name of the bucket: 3 to 63 lower-case letters, digits, dots and hyphens. Names are global in AWS. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(rules::IMMUTABLE).message("bucket.name cannot be changed: create another BucketConnection"))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$') && !self.contains('..') && !self.matches('^[0-9]+([.][0-9]+){3}$')").message("bucket.name must be 3 to 63 lower-case letters, digits, dots and hyphens, begin and end with a letter or digit, have no two dots in a row and not look like an IP address"))]
    #[x_kube(validation = Rule::new("!self.startsWith('xn--') && !self.startsWith('sthree-') && !self.startsWith('amzn-s3-demo-') && !self.endsWith('-s3alias') && !self.endsWith('--ol-s3') && !self.endsWith('.mrap') && !self.endsWith('--x-s3') && !self.endsWith('--table-s3')").message("bucket.name begins or ends with something that AWS reserves (xn--, sthree-, amzn-s3-demo-, -s3alias, --ol-s3, .mrap, --x-s3, --table-s3)"))]
    #[schemars(length(min = 3, max = 63))]
    pub name: Option<String>,

    /// Instead of a name: the bucket is named "<namePrefix>-<account>-<region>-an", in the account's own namespace, where no other
    /// account can create buckets. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(rules::IMMUTABLE).message("bucket.namePrefix cannot be changed: create another BucketConnection"))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9][a-z0-9-]*$') && !self.startsWith('xn--') && !self.startsWith('sthree-') && !self.startsWith('amzn-s3-demo-')").message("bucket.namePrefix must be lower-case letters, digits and hyphens, and begin with a letter or digit (AWS reserves xn--, sthree- and amzn-s3-demo-)"))]
    #[schemars(length(min = 1, max = 37))]
    pub name_prefix: Option<String>,

    /// Part of the bucket that the connection works on, such as runs/. Ends in "/". Omitted: the whole bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.endsWith('/')").message("bucket.prefix must end in \"/\", such as runs/"))]
    #[x_kube(validation = Rule::new("!self.startsWith('/') && !self.contains('//')").message("bucket.prefix must not begin with \"/\" or contain \"//\": S3 keys have no leading slash"))]
    #[x_kube(validation = Rule::new("!('/' + self).contains('/./') && !('/' + self).contains('/../')").message("bucket.prefix must not contain \"./\" or \"../\": S3 refuses such keys"))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9!_.()/ @=+,:-]*$') && !self.contains('$')").message("bucket.prefix may contain letters, digits, spaces and ! _ . ( ) / @ = + , : - only, so that it cannot widen a policy"))]
    #[schemars(length(min = 1, max = 512))]
    pub prefix: Option<String>,

    /// Adopts an existing bucket of that name in the account, if no other connection owns it and the AWSAccount allows it.
    /// status.adoption first shows what the adoption would change; the operator makes these changes when their hash is approved.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopt: bool,

    /// Preset IlluminaICA: allows the connection to use the root of the bucket. ICA then blocks the bucket for other projects.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_root: bool,

    /// Settings that the operator may make weaker than they are in AWS, by the name of their field, such as publicAccessBlock.
    /// Without this, the operator does not remove protection from the bucket. Omitting a setting never weakens it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(min = 1, max = 64)))]
    pub allow_weaker: Vec<String>,

    /// The bucket's settings.
    #[serde(flatten)]
    pub settings: settings::BucketSettings,
}

/// Options of Illumina Connected Analytics, in addition to the plain connection of its guide. A versioned bucket gets the
/// permissions on versions without an option: if bucket.versioning is not set, the operator reads the bucket's versioning once an
/// hour and when the spec changes.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct IlluminaICASpec {
    /// Allows ICA to read and write tags of objects. Without it, copying an object that has tags fails.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub copy_tags: bool,

    /// Gives Illumina's role access to the bucket, in a statement of the bucket policy. ICA needs it on both buckets to copy or
    /// move data between projects. Requires ownership BucketOwnerEnforced, the default of new buckets.
    // Atomic, because `{}` has a meaning: otherwise server-side apply would turn it into null when roleArn is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(merge_strategy = MapMerge::Atomic)]
    pub cross_account_copy: Option<CrossAccountCopySpec>,
}

/// The role that ICA uses to copy between projects.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CrossAccountCopySpec {
    /// ARN of the role. Omitted: the known role, in us-east-1 and ap-southeast-2; elsewhere it is required, and Illumina tells you
    /// the ARN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.matches('^arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]+$')").message("roleArn must be the ARN of a role, such as arn:aws:iam::123456789012:role/name"))]
    #[schemars(length(min = 1, max = 512))]
    pub role_arn: Option<String>,
}

/// The IAM policy of the user.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PolicySpec {
    /// Inline (default): part of the user. Managed: a separate policy that is attached to the user, for documents over 2,048
    /// characters, or if a guide asks for it.
    #[serde(default, rename = "type")]
    pub kind: PolicyType,

    /// Name of the policy. Omitted: "bucketconnection" for an inline policy, the name of the user for a managed policy.
    /// "bucketconnection-revoked", in any case, is reserved for the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(rules::IAM_NAME).message("policy.name may contain letters, digits and + = , . @ _ - only"))]
    #[x_kube(validation = Rule::new("self.lowerAscii() != 'bucketconnection-revoked'").message("policy.name must not be bucketconnection-revoked: the operator reserves that name for the policy that denies revoked sessions"))]
    #[schemars(length(min = 1, max = 128))]
    pub name: Option<String>,

    /// Adopts an existing policy of that name, under the same conditions as bucket.adopt.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopt: bool,

    /// Prefix (default): objects under bucket.prefix. Bucket: all objects of the bucket, as in the document of the ICA guide.
    #[serde(default)]
    pub scope: PolicyScope,

    /// Statements in addition to the preset's. They can allow only S3 actions on this bucket.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub statements: Vec<PolicyStatement>,
}

/// Where the policy document is stored.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq, strum::Display, strum::EnumString)]
#[allow(missing_docs, reason = "each name says it, and docs on a variant would change its schema")]
pub enum PolicyType {
    #[default]
    Inline,
    Managed,
}

/// Which objects the policy covers.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[allow(missing_docs, reason = "each name says it, and docs on a variant would change its schema")]
pub enum PolicyScope {
    #[default]
    Prefix,
    Bucket,
}

/// The IAM user.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct UserSpec {
    /// Name of the IAM user. Unique in the AWS account, regardless of case. Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(rules::IMMUTABLE).message("user.name cannot be changed: the access key belongs to the user; create another BucketConnection"))]
    #[x_kube(validation = Rule::new(rules::IAM_NAME).message("user.name may contain letters, digits and + = , . @ _ - only"))]
    #[schemars(length(min = 1, max = 64))]
    pub name: Option<String>,

    /// Adopts an existing IAM user of that name, under the same conditions as bucket.adopt. The user must have no permissions and
    /// no access keys of its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopt: bool,

    /// IAM path of the user and of its managed policy. The operator's own policy must allow it. Default: /bucketconnection/.
    /// Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(rules::IMMUTABLE).message("user.path cannot be changed: the operator's own permissions depend on it; create another BucketConnection"))]
    #[x_kube(validation = Rule::new(rules::IAM_PATH).message("user.path must begin and end with \"/\", such as /bucketconnection/"))]
    #[schemars(length(min = 1, max = 128))]
    pub path: Option<String>,

    /// ARN of a managed policy that limits the permissions of the user. If the AWSAccount sets a boundary, that one applies. The
    /// operator never removes a boundary that is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(rules::POLICY_ARN).message("user.permissionsBoundary must be the ARN of a managed policy"))]
    #[schemars(length(min = 20, max = 2048))]
    pub permissions_boundary: Option<String>,

    /// Tags of the user in AWS. Other tags on it stay as they are.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    #[schemars(schema_with = "settings::tags::schema")]
    #[x_kube(validation = settings::tags::sized())]
    #[x_kube(validation = settings::tags::reserved())]
    #[x_kube(validation = settings::tags::unlike())]
    pub tags: settings::tags::Tags,
}

/// Who in Kubernetes can read the Secret.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AccessSpec {
    /// Kubernetes groups that can read this one Secret, and nothing else, through a Role and a RoleBinding "<secret>-readers". A
    /// group that you remove from the list loses access. Kubernetes' own groups (system:...) cover the whole cluster and are
    /// refused, except the service accounts of one namespace, system:serviceaccounts:<namespace>.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = Rule::new("self.all(group, !group.startsWith('system:') || group.matches('^system:serviceaccounts:[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'))").message("access.groups must not name a group of Kubernetes itself, such as system:authenticated: it would let the whole cluster read the access key; name a group of people, or system:serviceaccounts:<namespace> for the service accounts of one namespace"))]
    #[x_kube(validation = Rule::new("self.all(group, group.matches('^[^[:cntrl:][:space:]]([^[:cntrl:]]*[^[:cntrl:][:space:]])?$'))").message("access.groups must be names without control characters and without a space at either end"))]
    #[schemars(length(max = 50), inner(length(min = 1, max = 256)))]
    pub groups: Vec<String>,
}

/// What happens in AWS when the object is deleted.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[allow(missing_docs, reason = "each name says it, and docs on a variant would change its schema")]
pub enum DeletionPolicy {
    #[default]
    Retain,
    Release,
    Delete,
}

impl BucketConnection {
    /// The value of an annotation that requests something; a new value is a new request.
    pub fn request(&self, annotation: &str) -> Option<String> {
        self.metadata.annotations.as_ref()?.get(annotation).cloned()
    }

    /// Whether it owns a bucket or user, according to its status, which must have been verified.
    pub fn owns_resources(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.memory.bucket.is_some() || status.memory.user.is_some())
    }
}

impl BucketConnectionSpec {
    /// Name of the Secret with a key that the operator does not manage; `None` if the operator issues the keys.
    pub fn existing_secret(&self) -> Option<&str> {
        let credentials = self.credentials.as_ref().filter(|credentials| credentials.source == KeySource::Existing)?;
        credentials.existing_secret_ref.as_ref().map(|reference| reference.name.as_str())
    }
}

fn default_resync() -> Duration {
    std::time::Duration::from_secs(600).into()
}
