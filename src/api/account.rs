//! `AWSAccount`: how the operator signs in to one AWS account, and which namespaces may do what in it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::sign_in::{Budget, SignIn};
use super::{Period, Preset};
use crate::settings::tags::{self, Tags};

/// Finalizer on every account: it stays as long as a connection needs it.
pub const ACCOUNT_FINALIZER: &str = "bucketconnection.dev/in-use";

/// How the operator signs in to one AWS account, and which namespaces may do what in it.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[kube(
    group = "bucketconnection.dev",
    version = "v1alpha1",
    kind = "AWSAccount",
    plural = "awsaccounts",
    doc = "An AWSAccount says how the operator signs in to one AWS account, and which namespaces may do what in it. BucketConnections name it in spec.accountRef.",
    status = "AWSAccountStatus",
    derive = "PartialEq",
    derive = "Default",
    shortname = "awsa",
    category = "aws",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Account", type_ = "string", json_path = ".status.accountId"),
    printcolumn(name = "Partition", type_ = "string", json_path = ".status.partition"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Identity", type_ = "string", json_path = ".status.identity", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
pub struct AWSAccountSpec {
    /// The twelve digits of the account that the credentials must belong to. With any other account nothing is touched. Omitted:
    /// whatever account the credentials belong to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]{12}$')").message("accountId must be the twelve digits of an AWS account, in quotes"))]
    #[schemars(length(min = 12, max = 12))]
    pub account_id: Option<String>,

    /// How to sign in.
    #[serde(flatten)]
    pub sign_in: SignIn,

    /// What connections get that do not say otherwise.
    #[serde(default, skip_serializing_if = "AccountDefaults::is_empty")]
    pub defaults: AccountDefaults,

    /// How many AWS calls the operator makes in this account at most.
    #[serde(default)]
    pub budget: Budget,

    /// Which namespaces may do what in this account. A connection is allowed when one entry allows all of it; what no entry
    /// lists is refused. Without any entry nobody may use the account.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub allowed_namespaces: Vec<NamespaceRule>,
}

/// What connections get that do not say otherwise.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AccountDefaults {
    /// Tags of every bucket and user. A connection's own tags of the same key come first.
    #[serde(default, skip_serializing_if = "Tags::is_empty")]
    #[schemars(schema_with = "tags::schema")]
    #[x_kube(validation = tags::sized())]
    #[x_kube(validation = tags::reserved())]
    #[x_kube(validation = tags::unlike())]
    pub tags: Tags,

    /// ARN of the managed policy that bounds the rights of every user; a connection cannot choose another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.matches('^arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/.+$')").message("permissionsBoundary must be the ARN of a managed policy"))]
    #[schemars(length(min = 20, max = 2048))]
    pub permissions_boundary: Option<String>,

    /// IAM path of users and managed policies. Default: /bucketconnection/.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.matches('^/([A-Za-z0-9+=,.@_-]+/)*$')").message("userPath must begin and end with \"/\", such as /bucketconnection/"))]
    #[schemars(length(min = 1, max = 128))]
    pub user_path: Option<String>,

    /// Begins the names of users that a connection does not name: "<namePrefix><namespace>.<name>".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9+=,.@_-]+$')").message("namePrefix may contain letters, digits and + = , . @ _ - only"))]
    #[schemars(length(min = 1, max = 32))]
    pub name_prefix: Option<String>,

    /// Full ARN of the KMS key that encrypts buckets in its region whose connection says nothing about encryption.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.matches('^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$')").message("kmsKeyArn must be the full ARN of a key, such as arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"))]
    #[schemars(length(min = 1, max = 256))]
    pub kms_key_arn: Option<String>,
}

impl AccountDefaults {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What some namespaces may do in the account. Patterns have * for any characters. What is not listed is refused.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[x_kube(validation = Rule::new("has(self.names) || has(self.selector)").message("name the namespaces that are meant: names, a selector on their labels, or both"))]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct NamespaceRule {
    /// Patterns of namespace names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 63)))]
    pub names: Vec<String>,

    /// Labels of the namespaces. With names, both must fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,

    /// Patterns of bucket names, such as lab-a-*. They are for the bucket, and for the one that gets its access logs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 63)))]
    pub buckets: Vec<String>,

    /// Patterns of regions, such as eu-*.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 32)))]
    pub regions: Vec<String>,

    /// Presets. Custom, which writes its whole policy itself, also needs customPolicy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub presets: Vec<Preset>,

    /// Patterns of names of IAM users and managed policies that a connection may choose; with a path of its own, of path and name, such as /labs/a/*.
    /// The names that it gets otherwise, from namespace and name, are always allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
    pub users: Vec<String>,

    /// Patterns of ARNs of permissions boundaries that a connection may choose. Where the account has a default, that one alone is
    /// allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 2048)))]
    pub permissions_boundaries: Vec<String>,

    /// Patterns of ARNs of KMS keys. The account's default key is always allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
    pub kms_keys: Vec<String>,

    /// Patterns of keys of tags on bucket and user, in any case. A key that defaults.tags has may be overridden only where it is listed here
    /// by itself: no pattern stands for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 128)))]
    pub tags: Vec<String>,

    /// Patterns of hosts that verification.genomicsCloud.url may name, with the port where the address has one. The operator asks them from
    /// its own network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253)))]
    pub hosts: Vec<String>,

    /// Whether the connection may add statements to its user's policy and to its bucket's policy.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub statements: bool,

    /// Whether the preset Custom may be used.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub custom_policy: bool,

    /// Patterns of S3 actions that statements may allow although they change the configuration of the bucket, who may reach its objects, or
    /// retention, such as s3:PutBucketCORS. With s3:PutBucketTagging, s3:TagResource or s3:UntagResource a key can make its bucket another
    /// connection's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 128)))]
    pub actions: Vec<String>,

    /// Settings of the bucket, as bucket.allowWeaker names them, that may be weaker than a new bucket has them, or than they are, such as
    /// publicAccessBlock; * stands for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(min = 1, max = 64)))]
    pub weaken: Vec<String>,

    /// Whether objects may be locked with mode COMPLIANCE, which not even the account's root user can end before its time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub compliance_retention: bool,

    /// Whether Illumina's role of another AWS account may be let in by illuminaICA.crossAccountCopy. A roleArn of one's own also
    /// needs statements.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cross_account_copy: bool,

    /// Whether forceDestroy may be used: also while an object is being deleted, when no other rule counts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force_destroy: bool,

    /// Whether a namespace goes on with the buckets, users and policies that a deleted namespace of the same name left in AWS. Without
    /// it they are another tenant's. A cluster that was built again needs no leave.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inherit: bool,

    /// What exists already and may be taken over.
    #[serde(default, skip_serializing_if = "AdoptionRule::is_empty")]
    pub adoption: AdoptionRule,

    /// How many connections a namespace may have in the account; the oldest ones count. Default: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000000))]
    pub max_connections: Option<u32>,

    /// The shortest resyncInterval. Default: 1m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_resync_interval: Option<Period>,

    /// The shortest credentials.rotation.interval. Default: 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_rotation_interval: Option<Period>,

    /// Fields that a rule does not have.
    #[serde(flatten)]
    #[schemars(skip)]
    pub unknown: crate::settings::Unknown,
}

/// What exists already and may be taken over, where the connection asks for it. What belongs to another connection never may.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AdoptionRule {
    /// Buckets, and single tags, lifecycle rules and policy statements on the connection's own bucket.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub buckets: bool,

    /// IAM users, without policies, groups and access keys of their own; and single tags on the connection's own user.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub users: bool,

    /// Managed policies, and inline policies of the connection's own user.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub policies: bool,

    /// Who approves the changes that a takeover makes. Account (default): approvedPlans here. Connection: spec.approvedPlan of the
    /// connection too, so that its author does.
    #[serde(default, skip_serializing_if = "ApprovedBy::is_account")]
    #[schemars(transform = crate::settings::without_default)]
    pub approval: ApprovedBy,

    /// Hashes of plans that are approved, as status.adoption.planHash of a connection has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 64)))]
    pub approved_plans: Vec<String>,
}

impl AdoptionRule {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Who approves a takeover.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ApprovedBy {
    #[default]
    Account,
    Connection,
}

impl ApprovedBy {
    fn is_account(&self) -> bool {
        *self == Self::Account
    }
}

/// What was found about an account.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AWSAccountStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Ready: the operator can sign in. Reconciling and Stalled are for tools (kstatus).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// The account that the operator is signed in to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,

    /// Its partition: aws, aws-cn, aws-us-gov, ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,

    /// ARN of whom the operator is signed in as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
}
