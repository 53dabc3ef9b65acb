//! `AWSAccount`: how the operator signs in to one AWS account, and what each namespace can do in it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::status::{UNSEEN, seen};
use super::{Period, Preset};
use crate::settings::tags::{self, Tags};
use crate::vocabulary::rules;
use crate::vocabulary::sign_in::{Budget, SignIn};

/// Finalizer on every account: the account stays as long as a connection needs it.
pub const ACCOUNT_FINALIZER: &str = "bucketconnection.dev/in-use";

/// How the operator signs in to one AWS account, and what each namespace can do in it.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[kube(
    group = "bucketconnection.dev",
    version = "v1alpha1",
    kind = "AWSAccount",
    plural = "awsaccounts",
    doc = "An AWSAccount says how the operator signs in to one AWS account, and what each namespace can do in it. BucketConnections refer to it in spec.accountRef.",
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
    /// Id of the AWS account, 12 digits in quotes. If the credentials belong to another account, the operator makes no changes.
    /// Omitted: the account of the credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]{12}$')").message("accountId must be the twelve digits of an AWS account, in quotes"))]
    #[schemars(length(min = 12, max = 12))]
    pub account_id: Option<String>,

    /// How to sign in.
    #[serde(flatten)]
    pub sign_in: SignIn,

    /// Values for connections that do not set their own.
    #[serde(default, skip_serializing_if = "AccountDefaults::is_empty")]
    pub defaults: AccountDefaults,

    /// Maximum rate of AWS calls that the operator makes in this account.
    #[serde(default)]
    pub budget: Budget,

    /// What each namespace can do in this account. A connection is allowed if one entry allows all of it. The operator refuses what
    /// the entry does not list. Without entries, no namespace can use the account.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub allowed_namespaces: Vec<NamespaceRule>,
}

/// Values for connections that do not set their own.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AccountDefaults {
    /// Tags of every bucket and user. A connection's own tag with the same key takes precedence.
    #[serde(default, skip_serializing_if = "Tags::is_empty")]
    #[schemars(schema_with = "tags::schema")]
    #[x_kube(validation = tags::sized())]
    #[x_kube(validation = tags::reserved())]
    #[x_kube(validation = tags::unlike())]
    pub tags: Tags,

    /// ARN of the managed policy that limits the permissions of every user. A connection cannot choose another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(rules::POLICY_ARN).message("permissionsBoundary must be the ARN of a managed policy"))]
    #[schemars(length(min = 20, max = 2048))]
    pub permissions_boundary: Option<String>,

    /// IAM path of users and managed policies. Default: /bucketconnection/.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(rules::IAM_PATH).message("userPath must begin and end with \"/\", such as /bucketconnection/"))]
    #[schemars(length(min = 1, max = 128))]
    pub user_path: Option<String>,

    /// Prefix of the names of users that a connection does not name: "<namePrefix><namespace>.<name>".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(rules::IAM_NAME).message("namePrefix may contain letters, digits and + = , . @ _ - only"))]
    #[schemars(length(min = 1, max = 32))]
    pub name_prefix: Option<String>,

    /// Full ARN of the KMS key that encrypts buckets in its region, if their connection does not set encryption.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(rules::KMS_KEY_ARN).message("kmsKeyArn must be the full ARN of a key, such as arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"))]
    #[schemars(length(min = 1, max = 256))]
    pub kms_key_arn: Option<String>,
}

impl AccountDefaults {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What some namespaces can do in the account. In patterns, * matches any characters. The operator refuses what is not listed.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[x_kube(validation = Rule::new("has(self.names) || has(self.selector)").message("select the namespaces: by names, by a selector on their labels, or by both"))]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct NamespaceRule {
    /// Patterns of namespace names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 63)))]
    pub names: Vec<String>,

    /// Labels of the namespaces. With names, both must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,

    /// Patterns of bucket names, such as lab-a-*. They apply to the bucket, and to the target bucket of its access logs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 63)))]
    pub buckets: Vec<String>,

    /// Patterns of regions, such as eu-*.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 32)))]
    pub regions: Vec<String>,

    /// Presets. The preset Custom, which has no statements of its own, also needs customPolicy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub presets: Vec<Preset>,

    /// Patterns of names of IAM users and managed policies that a connection can choose. If the connection sets a path, the pattern
    /// must match path and name, such as /labs/a/*. Names derived from namespace and name are always allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
    pub users: Vec<String>,

    /// Patterns of ARNs of permissions boundaries that a connection can choose. If the account has a default boundary, only that
    /// one is allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 2048)))]
    pub permissions_boundaries: Vec<String>,

    /// Patterns of ARNs of KMS keys. The account's default key is always allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
    pub kms_keys: Vec<String>,

    /// Patterns of keys of tags on bucket and user, regardless of case. A connection can override a key of defaults.tags only if
    /// the key is listed here literally: no pattern matches it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 128)))]
    pub tags: Vec<String>,

    /// Patterns of hosts in verification.genomicsCloud.url, with the port if the URL has one. The operator sends the requests from
    /// its own network.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253)))]
    pub hosts: Vec<String>,

    /// Allows statements in the user's policy and in the bucket policy.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub statements: bool,

    /// Allows the preset Custom.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub custom_policy: bool,

    /// Patterns of S3 actions that statements can allow although they change the configuration of the bucket, the access to its
    /// objects, or retention, such as s3:PutBucketCORS. s3:PutBucketTagging, s3:TagResource and s3:UntagResource let a key give its
    /// bucket to another connection.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 128)))]
    pub actions: Vec<String>,

    /// Settings of the bucket, named as in bucket.allowWeaker, that a connection can make weaker than a new bucket's, or than they
    /// are, such as publicAccessBlock. * matches all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(min = 1, max = 64)))]
    pub weaken: Vec<String>,

    /// Allows Object Lock in mode COMPLIANCE. Not even the account's root user can delete an object before its retention ends.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub compliance_retention: bool,

    /// Allows illuminaICA.crossAccountCopy, which gives a role in Illumina's AWS account access. A roleArn also needs statements.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cross_account_copy: bool,

    /// Allows forceDestroy. The operator also requires it while an object is being deleted, when no other field of the entry
    /// applies.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub force_destroy: bool,

    /// Lets a namespace continue with the buckets, users and policies that a deleted namespace of the same name left in AWS.
    /// Otherwise they are another tenant's. A rebuilt cluster does not need this.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inherit: bool,

    /// Existing resources that a connection can adopt.
    #[serde(default, skip_serializing_if = "AdoptionRule::is_empty")]
    pub adoption: AdoptionRule,

    /// Maximum number of connections of a namespace in the account. If there are more, the oldest ones are allowed. Default: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000000), extend("format" = "int32"))]
    pub max_connections: Option<u32>,

    /// The shortest resyncInterval. Default: 1m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_resync_interval: Option<Period>,

    /// The shortest credentials.rotation.interval. Default: 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_rotation_interval: Option<Period>,

    /// Fields that an entry does not have.
    #[serde(flatten)]
    #[schemars(skip)]
    pub unknown: crate::settings::Unknown,
}

/// Existing resources that a connection can adopt if it asks for it. It can never adopt a resource of another connection.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AdoptionRule {
    /// Buckets; and single tags, lifecycle rules and policy statements on the connection's own bucket.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub buckets: bool,

    /// IAM users that have no policies, groups and access keys; and single tags on the connection's own user.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub users: bool,

    /// Managed policies, and inline policies of the connection's own user.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub policies: bool,

    /// Who approves the changes of an adoption. Account (default): approvedPlans in this entry. Connection: also spec.approvedPlan
    /// of the connection, so its author can approve.
    #[serde(default, skip_serializing_if = "ApprovedBy::is_account")]
    #[schemars(transform = crate::settings::without_default)]
    pub approval: ApprovedBy,

    /// Hashes of approved plans, from status.adoption.planHash of a connection.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 64)))]
    pub approved_plans: Vec<String>,
}

impl AdoptionRule {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Who approves an adoption.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[allow(missing_docs, reason = "each name says it, and docs on a variant would change its schema")]
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

/// The observed state of an account.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = { "observedGeneration": UNSEEN }))]
pub struct AWSAccountStatus {
    /// Generation of the spec that this status describes. -1: the operator has not reconciled the object yet.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "seen")]
    pub observed_generation: Option<i64>,

    /// Ready: the operator can sign in. Reconciling and Stalled are for tools (kstatus).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// Id of the AWS account that the operator is signed in to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,

    /// AWS partition of the account: aws, aws-cn, aws-us-gov, ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,

    /// ARN of the identity that the operator is signed in as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
}
