//! `status` of a `BucketConnection`: what was found and done. Never anything secret.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{AdoptionStatus, Capability, CredentialsStatus, PolicyType, SignIn};

/// What was found and done for a connection.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct BucketConnectionStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Ready sums up; Reconciling and Stalled are for tools (kstatus); the others stand for one part of the connection each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// Its partition: aws, aws-cn, aws-us-gov, ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,

    /// What the operator remembers from one reconcile to the next.
    #[serde(flatten)]
    pub memory: Memory,

    /// Shows that the operator itself wrote accountId, signIn, bucket, user, policy, earlierPolicies, credentials,
    /// permissions, versioning and written. A status that was edited by hand loses them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal: Option<String>,

    /// What the key was proven to do, by capability. s3 sums up; list, write, read and delete are for objects under the prefix; isolation:
    /// the key does not reach beyond it; kms: the bucket's key; federation: sessions as ICA makes them; genomicsCloud: the address that the
    /// spec names answers. Tried when the key is proven
    /// (issued, or spec changed), and again while one is Invalid or Pending, not at each check.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub capabilities: BTreeMap<String, Capability>,

    /// Changes by others that were found and repaired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<DriftStatus>,

    /// What taking over what exists already would change, while that waits for approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adoption: Option<AdoptionStatus>,

    /// Writes that the next check may find undone, and those that are held back because they never took. Empty again, within the
    /// hour, once a check finds that they took.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repeats: Vec<Repeat>,

    /// The value of the annotation reconcile.bucketconnection.dev/requestedAt that was acted on last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_reconcile_at: Option<String>,

    /// A recent check. Written with any other change, and otherwise at most once an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_checked_at: Option<Time>,
}

/// What the operator remembers of AWS and of its own objects from one reconcile to the next. It is one value: sealed, cleared and
/// written as a whole (`observed/seal.rs`). In the status its fields stand beside the others.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Memory {
    /// The AWS account that the operator signs in to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,

    /// How the operator signed in to it, where that is not its own environment: so that the connection can be deleted even when its
    /// AWSAccount is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign_in: Option<SignIn>,

    /// The namespace, by the uids of its cluster (of the namespace kube-system) and its own: the tag bucketconnection.dev/namespace of
    /// what is ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_id: Option<String>,

    /// The bucket, once it is ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<BucketStatus>,

    /// The IAM user, once it is ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserStatus>,

    /// The policy that was written last, or is about to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyStatus>,

    /// Policies of earlier specs that may still be there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier_policies: Vec<PolicyStatus>,

    /// The access key and its Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<CredentialsStatus>,

    /// Who may read the Secret through this connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<PermissionsStatus>,

    /// Whether the bucket has versions, where the user's rights depend on it (preset IlluminaICA) and the spec does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versioning: Option<VersioningStatus>,

    /// What is about to become ours in settings that are shared with others, by the name of the setting: should the operator end before it
    /// can say so in bucket.owned.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub writing: BTreeMap<String, Vec<String>>,

    /// Fingerprints of what was written last, by section of spec.management. What differs from it was changed by something else, and
    /// is drift; what differs because the spec, or the defaults of its AWSAccount, changed is not.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub written: BTreeMap<String, String>,
}

impl Memory {
    /// What is ours in settings that are shared with others, by the name of the setting, with what was about to become ours.
    pub fn owned(&self) -> BTreeMap<String, Vec<String>> {
        let mut owned = self.bucket.as_ref().map(|bucket| bucket.owned.clone()).unwrap_or_default();
        for (setting, names) in &self.writing {
            owned.entry(setting.clone()).or_default().extend(names.iter().cloned());
        }
        owned
    }

    /// Whether nothing is remembered: no plan was ever about to be carried out, so nothing is there that needs to be deleted.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What was found of the bucket's versioning.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VersioningStatus {
    /// Whether versioning is on, or was once.
    pub versioned: bool,
    /// When that was read: it is read again an hour later, and when the spec changes.
    pub read_at: Time,
}

/// The bucket, once it is ours.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct BucketStatus {
    /// ARN of the bucket.
    pub arn: String,
    /// Region of the bucket.
    pub region: String,
    /// When it was created, by AWS: a bucket of the same name that was created at another time is another bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Created>,
    /// What is ours in settings that are shared with others, by the name of the setting: keys of tags, ids of lifecycle rules, Sids
    /// of policy statements. What leaves the spec leaves the bucket; all else is foreign and stays.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub owned: BTreeMap<String, Vec<String>>,
}

/// When a bucket was created: within these two seconds, which are one where AWS was asked. AWS tells whole seconds.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Created {
    /// Not before.
    pub from: Time,
    /// Not after.
    pub to: Time,
}

impl Created {
    /// Between `from` and `to`.
    pub fn between(from: Timestamp, to: Timestamp) -> Self {
        let whole = |at: Timestamp| Time(Timestamp::from_second(at.as_second()).unwrap_or(at));
        Self { from: whole(from), to: whole(to) }
    }

    /// Whether a bucket that was created `at` that time may be this one.
    pub fn fits(&self, at: Timestamp) -> bool {
        (self.from.0.as_second()..=self.to.0.as_second()).contains(&at.as_second())
    }
}

/// The IAM user, once it is ours.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct UserStatus {
    /// Name of the user.
    pub name: String,
    /// ARN of the user.
    pub arn: String,
    /// The id that AWS never gives to another user, even of the same name.
    pub id: String,
    /// Keys of the tags that we set, so that a tag that leaves the spec leaves the user.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tag_keys: Vec<String>,
    /// ARN of the permissions boundary that we set; several while it is not known which of them. One that somebody else set is never
    /// replaced.
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
    /// Id of a managed policy, which AWS never gives to another one of its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Default version of a managed policy, once it is known to be ours. A version's document never changes, so one read tells
    /// whether all is as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

impl PolicyStatus {
    /// Whether both are one policy, whatever its version.
    pub fn is(&self, other: &Self) -> bool {
        (self.kind, &self.name, &self.arn) == (other.kind, &other.name, &other.arn)
    }
}

/// Who may read the Secret through this connection.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PermissionsStatus {
    /// Kubernetes groups that may read it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Names under which a Role and a RoleBinding of ours may be there: more than one while they move with the Secret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
}

/// Changes by others that were found and repaired.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DriftStatus {
    /// Drifted fields found and repaired so far.
    pub count: i64,
    /// When drift was found last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_detected_at: Option<Time>,
    /// What differs now and is only observed (spec.management), up to 50 fields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<DriftDifference>,
    /// The last ten, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub journal: Vec<DriftEntry>,
}

/// One drifted field.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DriftEntry {
    /// Which field, as the spec spells it where it can.
    pub path: String,
    /// What was found, as JSON, cut to 256 characters; absent when nothing was there. Secrets are never shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<String>,
    /// What it should be, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<String>,
    /// When it was found.
    pub detected_at: Time,
    /// When it was put right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repaired_at: Option<Time>,
}

/// One field that differs.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct DriftDifference {
    /// Which field, as the spec spells it where it can.
    pub path: String,
    /// What is there, as JSON, cut to 256 characters; absent when nothing is. Secrets are never shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<String>,
    /// What the spec wants, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<String>,
}

impl DriftDifference {
    /// Differences that a status shows at most.
    pub const MOST: usize = 50;

    /// A field that differs.
    pub fn new(path: &str, live: Option<&Value>, desired: Option<&Value>) -> Self {
        Self { path: path.to_owned(), live: live.map(short), desired: desired.map(short) }
    }
}

/// Longest value that the status keeps, in characters.
const VALUE_LENGTH: usize = 256;

fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(VALUE_LENGTH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// A write that the next check may find undone.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Repeat {
    /// The condition that tells about it.
    pub condition: String,
    /// The first of the fields that it changes.
    pub path: String,
    /// Of the generation of the spec, and of all fields with what was found and what is wanted.
    pub fingerprint: String,
    /// How often it was sent, one check after the other, at most three times; then it is held back, and tried again once an hour.
    pub count: i64,
    /// When it was sent last.
    pub last_written_at: Time,
}

/// Entries that the drift journal keeps.
pub const JOURNAL_LENGTH: usize = 10;

impl DriftEntry {
    /// An entry for a field that was found drifted and repaired at `now`.
    pub fn repaired(path: &str, live: Option<&Value>, desired: Option<&Value>, now: Timestamp) -> Self {
        Self {
            path: path.to_owned(),
            live: live.map(short),
            desired: desired.map(short),
            detected_at: Time(now),
            repaired_at: Some(Time(now)),
        }
    }
}
