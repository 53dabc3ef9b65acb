//! The access key: `spec.credentials`, and what the status tells of it.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::period::Period;

/// Annotation: a new value asks for another access key now; shown in `status.credentials.lastHandledRotateAt` once it is issued.
pub const ROTATE_AT: &str = "rotate.bucketconnection.dev/requestedAt";
/// Annotation: a new value asks for all access keys, and all sessions made with them, to be cut off at once, and for a new key.
pub const REVOKE_AT: &str = "revoke.bucketconnection.dev/requestedAt";
/// Label of a Deployment, StatefulSet or DaemonSet: name of the BucketConnection after whose key it is to be restarted.
pub const RESTART_LABEL: &str = "bucketconnection.dev/restart";

/// The access key.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[x_kube(validation = Rule::new("(self.source == 'Existing') == has(self.existingSecretRef)").message("credentials.existingSecretRef goes with source: Existing, and only with it"))]
#[x_kube(validation = Rule::new("self.source != 'Existing' || !(has(self.secret) || has(self.rotation))").message("credentials.secret and rotation are for keys that are issued here; with source: Existing somebody else keeps Secret and key"))]
#[serde(rename_all = "camelCase")]
pub struct CredentialsSpec {
    /// Issue: an access key of a user of our own, issued into a Secret of our own. Existing: a key that somebody else issued and keeps in a
    /// Secret; it is tried, and no user, policy, key or Secret is created, changed or deleted. Cannot be changed.
    #[serde(default)]
    pub source: KeySource,

    /// The Secret with a key that somebody else keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existing_secret_ref: Option<ExistingSecretRef>,

    /// The Secret that holds the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretSpec>,

    /// When the key is replaced by a new one. Omitted: only when it is asked for, by a new value of the annotation
    /// rotate.bucketconnection.dev/requestedAt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<RotationSpec>,
}

/// Where the key comes from.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum KeySource {
    #[default]
    Issue,
    Existing,
}

/// A Secret that somebody else keeps.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ExistingSecretRef {
    /// Name of the Secret, in the namespace of this object. It has the fields AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and is only
    /// read.
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)*$')").message("credentials.existingSecretRef.name must be lower-case letters, digits, dots and hyphens"))]
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// The Secret that holds the key.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SecretSpec {
    /// Name of the Secret, in the namespace of this object. A Secret of that name that is not ours is never overwritten.
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)*$')").message("credentials.secret.name must be lower-case letters, digits, dots and hyphens"))]
    #[schemars(length(min = 1, max = 240))]
    pub name: String,

    /// Keep each key also in a Secret of its own, "<name>-v1", "<name>-v2" and so on, which stays as long as its key works; the Secret
    /// "<name>" always has the newest. Whoever names a version is never given another key in between.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub versioned: bool,
}

/// When the key is replaced by a new one.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RotationSpec {
    /// Age at which the key is replaced, such as 90d; at least 10s. Each key is replaced up to 5 % earlier, so that the keys of many
    /// objects spread out. Omitted: only on request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Period>,

    /// For how long the key before it goes on working, such as 24h, so that whoever has read it can take the new one. Then it is made
    /// Inactive, and deleted once AWS says that nobody used it since it was replaced. Default: 24h, or half the interval where
    /// that is shorter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Period>,
}

/// The access key and its Secret.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CredentialsStatus {
    /// Name of the Secret, in the namespace of the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
    /// Secrets of earlier specs that may still be there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier_secrets: Vec<String>,
    /// Number of the key where credentials.secret.versioned keeps each in a Secret of its own: "<secretName>-v<version>".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// Id of the access key in the Secret. Not secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<String>,
    /// ARN of whom the key belongs to, where somebody else keeps it (credentials.source Existing).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// When the key was issued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Time>,
    /// When the key was last proven by a full proof (identity and bucket).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_at: Option<Time>,
    /// When it will be replaced by a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_rotation_at: Option<Time>,
    /// Where the key is in its life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<KeyPhase>,
    /// Written before a key is issued, so that a crash in between can be told from a foreign key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<KeyIntent>,
    /// Keys of ours whose secret part nobody has any more: they are deleted once the new one is proven.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retiring: Vec<String>,
    /// Keys that were cut off last, until another key is in the Secret: whatever AWS still says of them, they are not used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revoked: Vec<String>,
    /// The next key, from before it is issued until the Secret has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<NextKey>,
    /// The key before this one, until it is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<PreviousKey>,
    /// What was cut off last, as long as a session from before may live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocation: Option<Revocation>,
    /// The value of the annotation rotate.bucketconnection.dev/requestedAt that was acted on last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_rotate_at: Option<String>,
    /// The value of the annotation revoke.bucketconnection.dev/requestedAt that was acted on last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_revoke_at: Option<String>,
}

impl CredentialsStatus {
    /// Ids of all keys that are known to be ours.
    pub fn keys(&self) -> impl Iterator<Item = &String> {
        let next = self.next.as_ref().and_then(|next| next.access_key_id.as_ref());
        let previous = self.previous.as_ref().map(|previous| &previous.access_key_id);
        self.access_key_id.iter().chain(&self.retiring).chain(next).chain(previous)
    }
}

/// Where a key is in its life.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
pub enum KeyPhase {
    /// It is being issued.
    Issuing,
    /// It has not reached all of AWS yet.
    Propagating,
    /// It was proven.
    Verified,
    /// AWS does not accept it.
    Rejected,
    /// It works, and the next one is being issued and proven.
    Rotating,
    /// It was proven, and the key before it is still there.
    Overlapping,
}

/// A key that was issued between these times, and is not among these, is ours even though nobody noted it.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct KeyIntent {
    /// When the first attempt began that is not accounted for.
    pub since: Time,
    /// When the last attempt has surely ended.
    pub until: Time,
    /// Ids of the keys that the user had before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub known_keys: Vec<String>,
}

/// The next key. It is proven before the Secret gets it, and waits in a Secret of its own until then.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NextKey {
    /// Name of the Secret in which it waits.
    pub secret_name: String,
    /// Its id, once it is issued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<String>,
}

/// The key before the one in the Secret.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PreviousKey {
    /// Its id.
    pub access_key_id: String,
    /// Name of its own Secret, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
    /// When the Secret got the next one.
    pub replaced_at: Time,
    /// Until when it goes on working.
    pub works_until: Time,
    /// Since when it is Inactive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inactive_since: Option<Time>,
    /// What AWS says of its last use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<LastUsed>,
}

/// What AWS says of the last use of a key.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct LastUsed {
    /// When.
    pub at: Option<Time>,
    /// Of which service, such as s3.
    pub service: String,
    /// In which region.
    pub region: String,
}

/// What was cut off, and when that ends.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Revocation {
    /// Sessions that began before are denied everything.
    pub sessions_before: Time,
    /// When the last of them has ended by itself, and the denial is taken away.
    pub ends_at: Time,
}

/// How long an Inactive key is kept at least, where the overlap is no shorter: what AWS says of its last use lags behind.
const SETTLING: SignedDuration = SignedDuration::from_hours(4);

impl PreviousKey {
    /// When it may be deleted, once it is Inactive.
    pub fn settled_at(&self) -> Option<Timestamp> {
        let overlap = self.works_until.0.duration_since(self.replaced_at.0);
        self.inactive_since.as_ref()?.0.checked_add(SETTLING.min(overlap)).ok()
    }

    /// Its last use, if it was used since it was replaced.
    pub fn used_since(&self) -> Option<&LastUsed> {
        self.last_used.as_ref().filter(|used| used.at.as_ref().is_some_and(|at| at.0 > self.replaced_at.0))
    }
}
