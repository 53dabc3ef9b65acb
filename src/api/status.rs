//! `status` of a `BucketConnection`: what the operator observed and did. It never contains a secret.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::{AdoptionStatus, Capability, CredentialsStatus, PolicyType, SignIn};

/// `observedGeneration` of an object that the operator has not reconciled yet. The API server sets it, so that kstatus (Flux)
/// reports a new object as in progress: for an object without a status, it would report that all is done.
pub(super) const UNSEEN: i64 = -1;

/// The generation, if the operator has reconciled the object.
pub(super) fn seen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Ok(Option::deserialize(deserializer)?.filter(|generation| *generation != UNSEEN))
}

/// The observed state of a connection.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = { "observedGeneration": UNSEEN }))]
pub struct BucketConnectionStatus {
    /// Generation of the spec that this status describes. -1: the operator has not reconciled the object yet.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "seen")]
    pub observed_generation: Option<i64>,

    /// Ready summarizes all parts. Reconciling and Stalled are for tools (kstatus). Each other condition describes one part of the
    /// connection.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// AWS partition of the account: aws, aws-cn, aws-us-gov, ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,

    /// The recorded state.
    #[serde(flatten)]
    pub memory: Memory,

    /// Shows that the operator itself wrote accountId, signIn, namespaceId, bucket, user, policy, earlierPolicies, credentials,
    /// access, versioning, writing and written. The operator discards these fields of a status that was edited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<String>,

    /// What the key is verified to do, by capability. s3 summarizes the others; list, write, read and delete are about objects
    /// under the prefix; isolation: the key has no access beyond the prefix; kms: the bucket's KMS key; federation: sessions as ICA
    /// makes them; genomicsCloud: the URL in the spec answers. The operator verifies them when a key is issued or the spec changes,
    /// and again while one is Invalid or Pending, not at each reconcile.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub capabilities: BTreeMap<String, Capability>,

    /// Drift that the operator found and reverted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<DriftStatus>,

    /// What an adoption of existing resources would change, while it waits for approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adoption: Option<AdoptionStatus>,

    /// Writes that the next reconcile may find without effect, and writes that the operator holds back because they never had an
    /// effect. Empty again, within an hour, when a reconcile finds that the writes had an effect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ineffective_writes: Vec<IneffectiveWrite>,

    /// Last value of the annotation reconcile.bucketconnection.dev/requestedAt that the operator handled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,

    /// Time of a recent reconcile. Written together with any other change, otherwise at most once an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_checked_at: Option<Time>,
}

/// The recorded state: what the operator must know about AWS and its own objects from one reconcile to the next. It is one value:
/// sealed, cleared and written as a whole (`observed/seal.rs`). In the status its fields are next to the others.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Memory {
    /// Id of the AWS account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,

    /// How the operator signed in to the account, if not with its own environment. The operator can then delete the connection even
    /// if its AWSAccount no longer exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign_in: Option<SignIn>,

    /// Identifies the namespace by two uids: that of the cluster's namespace kube-system, and its own. Managed resources carry it
    /// in the tag bucketconnection.dev/namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_id: Option<String>,

    /// The bucket, when it is managed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<BucketStatus>,

    /// The IAM user, when it is managed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserStatus>,

    /// The policy that the operator wrote last, or is about to write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyStatus>,

    /// Policies of earlier specs that may still exist.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier_policies: Vec<PolicyStatus>,

    /// The access keys and the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<CredentialsStatus>,

    /// Who can read the Secret through this connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<AccessStatus>,

    /// Whether the bucket is versioned, if the user's permissions depend on it (preset IlluminaICA) and the spec does not set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versioning: Option<VersioningStatus>,

    /// Parts of shared settings that the operator is about to write, by the name of the setting. It records them before the write,
    /// in case it stops before it can record them in bucket.owned.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub writing: BTreeMap<String, Vec<String>>,

    /// Fingerprints of the last writes, by section of spec.management. A difference from them is drift. A difference that results
    /// from a change of the spec, or of the AWSAccount's defaults, is not drift.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub written: BTreeMap<String, String>,
}

impl Memory {
    /// The managed parts of shared settings, by the name of the setting, with those that the operator was about to write.
    pub fn owned(&self) -> BTreeMap<String, Vec<String>> {
        let mut owned = self.bucket.as_ref().map(|bucket| bucket.owned.clone()).unwrap_or_default();
        for (setting, names) in &self.writing {
            owned.entry(setting.clone()).or_default().extend(names.iter().cloned());
        }
        owned
    }

    /// Whether nothing is recorded: the operator never executed a plan, so no resources exist that it would have to delete.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The observed versioning of the bucket.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VersioningStatus {
    /// Whether versioning is enabled, or was enabled before.
    pub versioned: bool,
    /// When the operator read it. It reads it again an hour later, and when the spec changes.
    pub read_at: Time,
}

/// The bucket, when it is managed.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct BucketStatus {
    /// ARN of the bucket.
    pub arn: String,
    /// Region of the bucket.
    pub region: String,
    /// When AWS created the bucket. A bucket of the same name with another creation time is another bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Created>,
    /// The managed parts of settings that other tools also write, by the name of the setting: keys of tags, ids of lifecycle rules,
    /// Sids of policy statements. The operator removes a part that you remove from the spec. All other parts are foreign and stay.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub owned: BTreeMap<String, Vec<String>>,
}

/// When a bucket was created: within these two seconds, which are equal if AWS reported the time. AWS reports whole seconds.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Created {
    /// Not before this time.
    pub from: Time,
    /// Not after this time.
    pub to: Time,
}

impl Created {
    /// From `from` to `to`.
    pub fn between(from: Timestamp, to: Timestamp) -> Self {
        let whole = |at: Timestamp| Time(Timestamp::from_second(at.as_second()).unwrap_or(at));
        Self { from: whole(from), to: whole(to) }
    }

    /// Whether a bucket that was created `at` that time can be this one.
    pub fn fits(&self, at: Timestamp) -> bool {
        (self.from.0.as_second()..=self.to.0.as_second()).contains(&at.as_second())
    }
}

/// The IAM user, when it is managed.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct UserStatus {
    /// Name of the user.
    pub name: String,
    /// ARN of the user.
    pub arn: String,
    /// Unique id of the user. AWS never gives it to another user, not even of the same name.
    pub id: String,
    /// Keys of the tags that the operator set. It removes the tag from the user when you remove it from the spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tag_keys: Vec<String>,
    /// ARN of the permissions boundary that the operator set; several while it is unknown which of them applies. The operator never
    /// replaces a foreign boundary.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub permissions_boundaries: Vec<String>,
}

/// A policy of the user.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// Inline or Managed.
    #[serde(rename = "type")]
    pub kind: PolicyType,
    /// Name of the policy.
    pub name: String,
    /// ARN of a managed policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arn: Option<String>,
    /// Unique id of a managed policy. AWS never gives it to another policy, not even of the same name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Default version of a managed policy, when it is known to be managed. The document of a version never changes, so one call
    /// shows whether the policy changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

impl PolicyStatus {
    /// Whether both are the same policy, in any version.
    pub fn is(&self, other: &Self) -> bool {
        (self.kind, &self.name, &self.arn) == (other.kind, &other.name, &other.arn)
    }
}

/// Who can read the Secret through this connection.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AccessStatus {
    /// Kubernetes groups that can read the Secret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Names of managed Roles and RoleBindings that may exist: more than one while they move with the Secret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
}

/// Drift that the operator found and reverted.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DriftStatus {
    /// Number of drifted fields that the operator reverted so far.
    pub count: i64,
    /// When the operator last found drift.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_detected_at: Option<Time>,
    /// Current differences in sections that the operator only observes (spec.management), up to 50 fields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<DriftDifference>,
    /// The last ten reverted fields, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub journal: Vec<DriftEntry>,
}

/// One field that drifted.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DriftEntry {
    /// The field, spelled as in the spec if possible.
    pub path: String,
    /// The observed value as JSON, up to 256 characters. Omitted: there was none. Secrets are never shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<String>,
    /// The desired value as JSON, up to 256 characters. Omitted: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<String>,
    /// When the operator found the drift.
    pub detected_at: Time,
    /// When the operator reverted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reverted_at: Option<Time>,
}

/// One field that differs.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DriftDifference {
    /// The field, spelled as in the spec if possible.
    pub path: String,
    /// The observed value as JSON, up to 256 characters. Omitted: there is none. Secrets are never shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<String>,
    /// The desired value as JSON, up to 256 characters. Omitted: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<String>,
}

impl DriftDifference {
    /// Maximum number of differences in a status.
    pub const MOST: usize = 50;

    /// A field that differs.
    pub fn new(path: &str, live: Option<&Value>, desired: Option<&Value>) -> Self {
        Self { path: path.to_owned(), live: live.map(short), desired: desired.map(short) }
    }
}

/// Maximum length of a value in the status, in characters.
const VALUE_LENGTH: usize = 256;

fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(VALUE_LENGTH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// A write that the next reconcile may find without effect.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct IneffectiveWrite {
    /// Type of the condition that reports it.
    pub condition: String,
    /// The first field that the write changes.
    pub path: String,
    /// Hash of the spec's generation and of all fields with their observed and desired values.
    pub fingerprint: String,
    /// How often the operator sent the write in consecutive reconciles, up to three times. Then it holds the write back, and tries
    /// it once an hour.
    pub count: i64,
    /// When the operator sent it last.
    pub last_written_at: Time,
}

/// Maximum number of entries in the drift journal.
pub const JOURNAL_LENGTH: usize = 10;

impl DriftEntry {
    /// An entry for a field whose drift was found and reverted at `now`.
    pub fn reverted(path: &str, live: Option<&Value>, desired: Option<&Value>, now: Timestamp) -> Self {
        Self {
            path: path.to_owned(),
            live: live.map(short),
            desired: desired.map(short),
            detected_at: Time(now),
            reverted_at: Some(Time(now)),
        }
    }
}
