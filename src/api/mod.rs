//! The Kubernetes API `bucketconnection.dev/v1alpha1`: types, conditions, schema rules; no behaviour.
//!
//! Doc comments on fields are what `kubectl explain` shows, so they address the user. Types of the bucket settings live
//! with their setting in [`crate::settings`]. `crds/` is generated from here by `bucketconnection crds`.

mod account;
pub mod conditions;
mod credentials;
mod management;
mod period;
pub mod sign_in;
mod statement;
mod status;
mod verification;

use kube::core::duration::Duration;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::policy_language::Effect;
pub use account::*;
pub use credentials::*;
pub use management::*;
pub use period::Period;
pub use sign_in::*;
pub use statement::PolicyStatement;
pub use status::*;
pub use verification::*;

use crate::settings;

/// API group of all our kinds, annotations, labels, tags and the finalizer.
pub const GROUP: &str = "bucketconnection.dev";
/// Finalizer on every connection: AWS and the Secret are settled before the object goes.
pub const FINALIZER: &str = "bucketconnection.dev/cleanup";
/// Annotation: a new value asks for a check now; shown in `status.lastHandledReconcileAt` once done (Flux's convention).
pub const REQUESTED_AT: &str = "reconcile.bucketconnection.dev/requestedAt";

/// Connects one S3 bucket to a platform that works on it, and keeps it connected.
#[derive(CustomResource, KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq)]
#[kube(
    group = "bucketconnection.dev",
    version = "v1alpha1",
    kind = "BucketConnection",
    doc = "A BucketConnection connects one S3 bucket to a platform that works on it, and keeps it connected: the bucket with its settings, an IAM user with just the rights the platform needs, and a proven access key in a Secret.",
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
        description = "drifted fields found and repaired so far"
    ),
    printcolumn(
        name = "Permissions",
        type_ = "string",
        json_path = ".status.permissions.groups",
        priority = 1,
        description = "Kubernetes groups that may read the Secret through this connection"
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
    .message("preset IlluminaICA works only in a region that ICA has: us-east-1, ca-central-1, eu-central-1, eu-west-2, ap-south-1, ap-southeast-1, ap-southeast-2, ap-southeast-3, ap-northeast-1, ap-northeast-2, il-central-1 or me-central-1")
    .field_path(".region"))]
#[x_kube(validation = Rule::new("self.preset != 'IlluminaICA' || has(self.bucket.prefix) || (has(self.bucket.allowRoot) && self.bucket.allowRoot)")
    .message("ICA cannot use the root of a bucket for several projects: set bucket.prefix, or bucket.allowRoot: true to insist on the root")
    .field_path(".bucket"))]
#[x_kube(validation = Rule::new("!has(self.illuminaICA) || self.preset == 'IlluminaICA'").message("illuminaICA goes with preset IlluminaICA only"))]
#[x_kube(validation = Rule::new("self.preset != 'Custom' || (has(self.policy) && has(self.policy.statements) && size(self.policy.statements) > 0)")
    .message("preset Custom grants nothing by itself: list what the user may do in policy.statements"))]
#[x_kube(validation = Rule::new("(has(self.user) && has(self.user.name)) == (has(oldSelf.user) && has(oldSelf.user.name)) && (has(self.user) && has(self.user.path)) == (has(oldSelf.user) && has(oldSelf.user.path))")
    .message("user.name and user.path cannot be changed: the access key belongs to the user; create another BucketConnection"))]
#[x_kube(validation = Rule::new("(has(self.credentials) && self.credentials.source == 'Existing') == (has(oldSelf.credentials) && oldSelf.credentials.source == 'Existing')")
    .message("credentials.source cannot be changed: a user and its key would be left behind, or made without notice; create another BucketConnection"))]
#[x_kube(validation = Rule::new("!(has(self.credentials) && self.credentials.source == 'Existing') || !(has(self.user) || has(self.policy))")
    .message("with credentials.source: Existing no user and no policy is managed: leave user and policy out"))]
#[x_kube(validation = Rule::new("!(has(self.credentials) && self.credentials.source == 'Existing') || !(has(self.access) && has(self.access.groups) && size(self.access.groups) > 0)")
    .message("access.groups cannot be given a Secret that somebody else keeps (credentials.source: Existing): who may read that is for its keeper to say"))]
#[serde(rename_all = "camelCase")]
pub struct BucketConnectionSpec {
    /// The AWS account to work in. Cannot be changed.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self == oldSelf").message("accountRef cannot be changed: nothing moves from one AWS account to another; create another BucketConnection"))]
    pub account_ref: AccountRef,

    /// What the connection is for. It supplies the CORS rules and the rights of the IAM user.
    /// IlluminaICA: Illumina Connected Analytics, exactly as its guide has it. CLCGenomics: QIAGEN CLC Server, read and write
    /// (derived: QIAGEN publishes no policy). ReadOnly, ReadWrite, WriteOnly: objects under the prefix. Custom: only what
    /// policy.statements says.
    pub preset: Preset,

    /// AWS region of the bucket, such as us-east-1. Cannot be changed: a bucket never moves.
    #[x_kube(validation = Rule::new("self == oldSelf").message("region cannot be changed: a bucket never moves; create another BucketConnection"))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z]{2,4}(-[a-z]+)+-[0-9]+$')").message("region must be the code of an AWS region, such as us-east-1 or eu-central-1"))]
    #[schemars(length(min = 1, max = 32))]
    pub region: String,

    /// The bucket and its settings.
    pub bucket: BucketSpec,

    /// Settings that stand beside the bucket.
    #[serde(flatten)]
    pub settings: settings::SpecSettings,

    /// What Illumina Connected Analytics may use beside its guide's plain connection; with preset IlluminaICA only.
    #[serde(default, rename = "illuminaICA", skip_serializing_if = "Option::is_none")]
    pub illumina_ica: Option<IlluminaICASpec>,

    /// The IAM policy that grants the user its rights. Omitted: the preset's rights, inline on the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicySpec>,

    /// The IAM user that the platform signs in as. Omitted: "<namespace>.<name>" under the path /bucketconnection/.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserSpec>,

    /// Where the access key goes. Omitted: a Secret "<name>-s3" in the namespace of this object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<CredentialsSpec>,

    /// Try more with the key than the key itself: writing, isolation from the rest of the bucket, and what the platform needs beside. `{}`
    /// makes only calls that leave nothing behind. Omitted: only who the key belongs to, and listing under the prefix.
    // Atomic, because `{}` means something: server-side apply would make null of it where a field leaves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(merge_strategy = MapMerge::Atomic)]
    pub verification: Option<VerificationSpec>,

    /// Who in Kubernetes may read the Secret. Omitted: nobody but those whom the cluster lets read it anyway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<AccessSpec>,

    /// What happens in AWS when this object is deleted. Retain: everything stays as it is, the Secret too, and applying the same
    /// object again picks it up. Release: the same, and our ownership tags are taken off, so that another connection may adopt what is
    /// there. Delete: the access key, the policy, the user and the Secret are removed, and the bucket if it is
    /// empty.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,

    /// With deletionPolicy Delete: empty the bucket first, every version, delete marker and unfinished upload, and remove keys
    /// of the user that were not issued here. There is no way back.
    #[serde(default)]
    pub force_destroy: bool,

    /// How much is managed, by section. Enforce (default): differences are put right. Observe: they are shown as drift, and nothing is
    /// changed. Ignore: not even looked at. The sections are default (all that are not named), bucket, user, policy, credentials,
    /// access, and each setting by the name of its field, such as cors or lifecycle.
    #[serde(default, skip_serializing_if = "ManagementSpec::is_empty")]
    // Atomic: of a map that loses its last entry server-side apply would make null.
    #[schemars(extend("maxProperties" = 32, "x-kubernetes-map-type" = "atomic"))]
    #[x_kube(validation = Rule::new("self.all(section, size(section) <= 64)").message("management names sections, such as bucket or cors"))]
    pub management: ManagementSpec,

    /// The hash of the takeover's plan that is approved, from status.adoption.planHash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub approved_plan: Option<String>,

    /// Time between two checks against AWS, such as 10m or 1h; at least 10s. Each check is moved by up to 10 % so that many
    /// objects spread out.
    #[serde(default = "default_resync")]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]+([.][0-9]+)?(s|m|h))+$') && duration(self) >= duration('10s')").message("resyncInterval must be a duration of at least 10s, written like 30s, 10m or 1h30m"))]
    #[schemars(length(max = 32))]
    pub resync_interval: Duration,

    /// Stops all checks and changes for this object until it is false again. Deletion still does its work.
    #[serde(default)]
    pub suspend: bool,
}

/// The AWS account to work in.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct AccountRef {
    /// Name of an AWSAccount.
    #[serde(default = "default_account")]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)*$')").message("accountRef.name must be the name of an AWSAccount: lower-case letters, digits, dots and hyphens"))]
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

/// What a connection is for.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[allow(missing_docs)]
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
    /// Name of the bucket: 3 to 63 lower-case letters, digits, dots and hyphens. Names are global in AWS. Cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self == oldSelf").message("bucket.name cannot be changed: create another BucketConnection"))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$') && !self.contains('..') && !self.matches('^[0-9]+([.][0-9]+){3}$')").message("bucket.name must be 3 to 63 lower-case letters, digits, dots and hyphens, begin and end with a letter or digit, have no two dots in a row and not look like an IP address"))]
    #[x_kube(validation = Rule::new("!self.startsWith('xn--') && !self.startsWith('sthree-') && !self.startsWith('amzn-s3-demo-') && !self.endsWith('-s3alias') && !self.endsWith('--ol-s3') && !self.endsWith('.mrap') && !self.endsWith('--x-s3') && !self.endsWith('--table-s3')").message("bucket.name begins or ends with something that AWS keeps for itself (xn--, sthree-, amzn-s3-demo-, -s3alias, --ol-s3, .mrap, --x-s3, --table-s3)"))]
    #[schemars(length(min = 3, max = 63))]
    pub name: Option<String>,

    /// In place of a name: the bucket is called "<namePrefix>-<account>-<region>-an", a name in the account's own namespace that
    /// nobody else can ever take. Cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self == oldSelf").message("bucket.namePrefix cannot be changed: create another BucketConnection"))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9][a-z0-9-]*$') && !self.startsWith('xn--') && !self.startsWith('sthree-') && !self.startsWith('amzn-s3-demo-')").message("bucket.namePrefix must be lower-case letters, digits and hyphens, and begin with a letter or digit (xn--, sthree- and amzn-s3-demo- are AWS's own)"))]
    #[schemars(length(min = 1, max = 37))]
    pub name_prefix: Option<String>,

    /// The part of the bucket that the connection works on, such as runs/. Ends in "/"; omitted, it is the whole bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.endsWith('/')").message("bucket.prefix must end in \"/\", such as runs/"))]
    #[x_kube(validation = Rule::new("!self.startsWith('/') && !self.contains('//')").message("bucket.prefix must not begin with \"/\" or contain \"//\": S3 keys have no leading slash"))]
    #[x_kube(validation = Rule::new("!('/' + self).contains('/./') && !('/' + self).contains('/../')").message("bucket.prefix must not contain \"./\" or \"../\": S3 refuses such keys"))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9!_.()/ @=+,:-]*$') && !self.contains('$')").message("bucket.prefix may contain letters, digits, spaces and ! _ . ( ) / @ = + , : - only, so that it cannot widen a policy"))]
    #[schemars(length(min = 1, max = 512))]
    pub prefix: Option<String>,

    /// Take over a bucket of that name that exists in the account and belongs to no other connection, if the account allows it. What the
    /// takeover would change is shown in status.adoption first, and done once spec.approvedPlan names its hash.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopt: bool,

    /// Preset IlluminaICA: let the connection use the root of the bucket. ICA then blocks the bucket for other projects.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_root: bool,

    /// Settings that may be made weaker than they are in AWS, by the name of their field, such as publicAccessBlock. What would
    /// take protection from the bucket is not done without it. Omitting a setting never weakens it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(min = 1, max = 64)))]
    pub allow_weaker: Vec<String>,

    /// The bucket's settings.
    #[serde(flatten)]
    pub settings: settings::BucketSettings,
}

/// What Illumina Connected Analytics may use beside its guide's plain connection. A bucket with versions gets the rights on versions
/// without more: bucket.versioning says so, or the bucket itself, which is read once an hour and when the spec changes.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct IlluminaICASpec {
    /// Let ICA read and write tags of objects: copying an object that has tags fails without.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub copy_tags: bool,

    /// Let Illumina's role reach the bucket, by a statement of the bucket policy: ICA needs it to copy or move data between
    /// projects, of both buckets. Needs ownership BucketOwnerEnforced, as new buckets have it.
    // Atomic, because `{}` means something: server-side apply would make null of it where roleArn leaves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(merge_strategy = MapMerge::Atomic)]
    pub cross_account_copy: Option<CrossAccountCopySpec>,
}

/// The role with which ICA copies between projects.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CrossAccountCopySpec {
    /// ARN of the role. It may be omitted in us-east-1 and ap-southeast-2, where it is known; elsewhere, ask Illumina.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.matches('^arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]+$')").message("roleArn must be the ARN of a role, such as arn:aws:iam::123456789012:role/name"))]
    #[schemars(length(min = 1, max = 512))]
    pub role_arn: Option<String>,
}

/// The IAM policy of the user.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PolicySpec {
    /// Inline: part of the user (default). Managed: a policy of its own, attached to the user, for documents over 2,048
    /// characters or where a guide asks for it.
    #[serde(default, rename = "type")]
    pub kind: PolicyType,

    /// Name of the policy. Omitted: "bucketconnection" for an inline policy, the name of the user for a managed one.
    /// "bucketconnection-revoked", in any case, is the operator's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9+=,.@_-]+$')").message("policy.name may contain letters, digits and + = , . @ _ - only"))]
    #[x_kube(validation = Rule::new("self.lowerAscii() != 'bucketconnection-revoked'").message("policy.name must not be bucketconnection-revoked: by the inline policy of that name the operator denies what was revoked"))]
    #[schemars(length(min = 1, max = 128))]
    pub name: Option<String>,

    /// Take over a policy of that name that exists already, likewise (see bucket.adopt).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopt: bool,

    /// Prefix: objects under bucket.prefix (default). Bucket: all objects of the bucket, as the ICA guide's document has it.
    #[serde(default)]
    pub scope: PolicyScope,

    /// Statements in addition to the preset's. They may only allow S3 actions on this bucket.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub statements: Vec<PolicyStatement>,
}

/// Where the policy document lives.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum PolicyType {
    #[default]
    Inline,
    Managed,
}

/// Which objects the policy reaches.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum PolicyScope {
    #[default]
    Prefix,
    Bucket,
}

/// The IAM user.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct UserSpec {
    /// Name of the IAM user. Unique in the AWS account, whatever the case. Cannot be changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self == oldSelf").message("user.name cannot be changed: the access key belongs to the user; create another BucketConnection"))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9+=,.@_-]+$')").message("user.name may contain letters, digits and + = , . @ _ - only"))]
    #[schemars(length(min = 1, max = 64))]
    pub name: Option<String>,

    /// Take over an IAM user of that name that exists already, likewise (see bucket.adopt). Its keys stay.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopt: bool,

    /// IAM path of the user and of its managed policy. The operator's own policy must allow it. Default: /bucketconnection/.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self == oldSelf").message("user.path cannot be changed: the operator's own rights depend on it; create another BucketConnection"))]
    #[x_kube(validation = Rule::new("self.matches('^/([A-Za-z0-9+=,.@_-]+/)*$')").message("user.path must begin and end with \"/\", such as /bucketconnection/"))]
    #[schemars(length(min = 1, max = 128))]
    pub path: Option<String>,

    /// ARN of a managed policy that bounds the rights of the user. Where the account sets one, that one counts. Once set it is
    /// never taken away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.matches('^arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/.+$')").message("user.permissionsBoundary must be the ARN of a managed policy"))]
    #[schemars(length(min = 20, max = 2048))]
    pub permissions_boundary: Option<String>,

    /// Tags of the user in AWS. Other tags on it are left alone.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    #[schemars(schema_with = "settings::tags::schema")]
    #[x_kube(validation = settings::tags::sized())]
    #[x_kube(validation = settings::tags::reserved())]
    #[x_kube(validation = settings::tags::unlike())]
    pub tags: settings::tags::Tags,
}

/// Who in Kubernetes may read the Secret.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AccessSpec {
    /// Kubernetes groups that may read this one Secret, and nothing else, by a Role and a RoleBinding "<secret>-readers". A group
    /// that leaves this list loses the right. Kubernetes' own groups (system:...) reach over the whole cluster and are refused,
    /// but for the service accounts of one namespace, system:serviceaccounts:<namespace>.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = Rule::new("self.all(group, !group.startsWith('system:') || group.matches('^system:serviceaccounts:[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'))").message("access.groups must not name a group of Kubernetes itself, such as system:authenticated: it would let the whole cluster read the access key; name a group of people, or system:serviceaccounts:<namespace> for the service accounts of one namespace"))]
    #[x_kube(validation = Rule::new("self.all(group, group.matches('^[^[:cntrl:][:space:]]([^[:cntrl:]]*[^[:cntrl:][:space:]])?$'))").message("access.groups must be names without control characters and without a space at either end"))]
    #[schemars(length(max = 50), inner(length(min = 1, max = 256)))]
    pub groups: Vec<String>,
}

/// What happens in AWS when the object is deleted.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum DeletionPolicy {
    #[default]
    Retain,
    Release,
    Delete,
}

impl BucketConnection {
    /// What an annotation asks for; a new value is a new request.
    pub fn request(&self, annotation: &str) -> Option<String> {
        self.metadata.annotations.as_ref()?.get(annotation).cloned()
    }
}

impl BucketConnectionSpec {
    /// Name of the Secret with a key that somebody else keeps; `None` where keys are issued.
    pub fn existing_secret(&self) -> Option<&str> {
        let credentials = self.credentials.as_ref().filter(|credentials| credentials.source == KeySource::Existing)?;
        credentials.existing_secret_ref.as_ref().map(|reference| reference.name.as_str())
    }
}

fn default_resync() -> Duration {
    std::time::Duration::from_secs(600).into()
}
