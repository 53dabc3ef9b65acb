//! The access key: `spec.credentials` and `status.credentials`.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::period::Period;
use crate::vocabulary::rules;

/// Annotation: a new value requests another access key now. `status.credentials.lastHandledRotateAt` shows the value when the key
/// is issued.
pub const ROTATE_AT: &str = "rotate.bucketconnection.dev/requestedAt";
/// Annotation: a new value revokes all access keys and all sessions that were made with them at once, and requests a
/// new key.
pub const REVOKE_AT: &str = "revoke.bucketconnection.dev/requestedAt";
/// Label of a Deployment, StatefulSet or DaemonSet: name of the BucketConnection whose new key restarts it.
pub const RESTART_LABEL: &str = "bucketconnection.dev/restart";

/// The access key.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[x_kube(validation = Rule::new("(self.source == 'Existing') == has(self.existingSecretRef)").message("credentials.existingSecretRef is required with source: Existing, and allowed only with it"))]
#[x_kube(validation = Rule::new("self.source != 'Existing' || !(has(self.secret) || has(self.rotation))").message("credentials.secret and credentials.rotation are for keys that the operator issues; leave them out with source: Existing"))]
#[serde(rename_all = "camelCase")]
pub struct CredentialsSpec {
    /// Issue: the operator creates an IAM user, and issues an access key for it into a Secret. Existing: the key is in a Secret
    /// that you manage; the operator verifies it, and creates, changes and deletes no user, policy, key or Secret. Immutable.
    #[serde(default)]
    pub source: KeySource,

    /// The Secret with an existing key. Only with source Existing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existing_secret_ref: Option<ExistingSecretRef>,

    /// The Secret that holds the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretSpec>,

    /// When the operator rotates the key. Omitted: only on request, by a new value of the annotation
    /// rotate.bucketconnection.dev/requestedAt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<RotationSpec>,
}

/// Where the key comes from.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[allow(missing_docs, reason = "each name says it, and docs on a variant would change its schema")]
pub enum KeySource {
    #[default]
    Issue,
    Existing,
}

/// A Secret that the operator does not manage.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ExistingSecretRef {
    /// Name of the Secret, in the namespace of this object. It has the fields AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. The
    /// operator only reads it.
    #[x_kube(validation = Rule::new(rules::OBJECT_NAME).message("credentials.existingSecretRef.name must be lower-case letters, digits, dots and hyphens"))]
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// The Secret that holds the key.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SecretSpec {
    /// Name of the Secret, in the namespace of this object. The operator never overwrites a foreign Secret of that name.
    #[x_kube(validation = Rule::new(rules::OBJECT_NAME).message("credentials.secret.name must be lower-case letters, digits, dots and hyphens"))]
    #[schemars(length(min = 1, max = 240))]
    pub name: String,

    /// Also stores each key in a separate Secret, "<name>-v1", "<name>-v2" and so on, which exists as long as its key works. The
    /// Secret "<name>" always has the current key. A consumer that refers to a version never gets another key there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub versioned: bool,
}

/// When the operator rotates the key.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RotationSpec {
    /// Age at which the operator replaces the key, such as 90d; at least 10s. It replaces each key up to 5 % earlier, so that the
    /// keys of many objects spread out. Omitted: only on request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Period>,

    /// How long the previous key continues to work, such as 24h, so that consumers can change to the current key. Then the operator
    /// deactivates it, and deletes it when AWS reports that it was not used since it was replaced. Default: 24h, or half the
    /// interval if that is shorter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Period>,
}

/// The access keys and the Secret.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct CredentialsStatus {
    /// Name of the Secret, in the namespace of the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
    /// Secrets of earlier specs that may still exist.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier_secrets: Vec<String>,
    /// Version of the current key, if credentials.secret.versioned stores each key in a separate Secret: "<secretName>-v<version>".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// Id of the current access key. Not secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<String>,
    /// ARN of the owner of the key, with credentials.source Existing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// When the current key was issued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Time>,
    /// When the operator last verified the key completely (identity and bucket).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_at: Option<Time>,
    /// When the operator will rotate the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_rotation_at: Option<Time>,
    /// Phase of the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<KeyPhase>,
    /// The attempt to issue a key, recorded before the call, so that the operator can tell its own key from a foreign one after a
    /// crash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<KeyIntent>,
    /// Managed keys whose secret part is no longer in a Secret. The operator deletes them when the new key is verified.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub obsolete_keys: Vec<String>,
    /// Keys of the last revocation, until another key is in the Secret. The operator does not use them, whatever AWS still reports
    /// about them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revoked: Vec<String>,
    /// The pending key, from before it is issued until it is in the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<PendingKey>,
    /// The previous key, until it is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<PreviousKey>,
    /// The last revocation, as long as a session that began before it can exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocation: Option<Revocation>,
    /// Last value of the annotation rotate.bucketconnection.dev/requestedAt that the operator handled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_rotate_at: Option<String>,
    /// Last value of the annotation revoke.bucketconnection.dev/requestedAt that the operator handled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_revoke_at: Option<String>,
}

impl CredentialsStatus {
    /// Ids of all keys that are known to be managed.
    pub fn keys(&self) -> impl Iterator<Item = &String> {
        let next = self.pending.as_ref().and_then(|next| next.access_key_id.as_ref());
        let previous = self.previous.as_ref().map(|previous| &previous.access_key_id);
        self.access_key_id.iter().chain(&self.obsolete_keys).chain(next).chain(previous)
    }
}

/// Phase of a key.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
pub enum KeyPhase {
    /// The operator is issuing it.
    Issuing,
    /// Not all of AWS knows it yet.
    Propagating,
    /// It is verified.
    Verified,
    /// AWS does not accept it.
    Rejected,
    /// It works, and the operator is issuing and verifying the pending key.
    Rotating,
    /// It is verified, and the previous key still exists.
    Overlapping,
}

/// An attempt to issue a key. A key that was created between these times, and is not in `known_keys`, is managed even if no status
/// recorded it.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct KeyIntent {
    /// When the first attempt began whose result is unknown.
    pub since: Time,
    /// When the last attempt has certainly ended.
    pub until: Time,
    /// Ids of the keys that the user had before the attempt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub known_keys: Vec<String>,
}

/// The pending key. It is in a separate Secret until the operator has verified it and put it into the connection's Secret.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PendingKey {
    /// Name of the Secret with the pending key.
    pub secret_name: String,
    /// Id of the pending key, when it is issued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<String>,
}

/// The previous key, which the current key replaced.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PreviousKey {
    /// Id of the previous key.
    pub access_key_id: String,
    /// Name of its separate Secret, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
    /// When the current key replaced it in the Secret.
    pub replaced_at: Time,
    /// End of the overlap: until then it works.
    pub works_until: Time,
    /// When it became Inactive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inactive_since: Option<Time>,
    /// Its last use, as AWS reports it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<LastUsed>,
}

/// The last use of a key, as AWS reports it.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct LastUsed {
    /// Time of the use.
    pub at: Option<Time>,
    /// AWS service, such as s3.
    pub service: String,
    /// Region.
    pub region: String,
}

/// A revocation, and when it ends.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Revocation {
    /// All sessions that began before this time are denied everything.
    pub sessions_before: Time,
    /// When the last of these sessions has expired, and the operator removes the denial.
    pub ends_at: Time,
}

/// The minimum time that an Inactive key is kept, unless the overlap is shorter: AWS reports the last use with a delay.
const SETTLING: SignedDuration = SignedDuration::from_hours(4);

impl PreviousKey {
    /// When the operator may delete it, once it is Inactive.
    pub fn settled_at(&self) -> Option<Timestamp> {
        let overlap = self.works_until.0.duration_since(self.replaced_at.0);
        self.inactive_since.as_ref()?.0.checked_add(SETTLING.min(overlap)).ok()
    }

    /// Its last use, if that was after it was replaced.
    pub fn used_since(&self) -> Option<&LastUsed> {
        self.last_used.as_ref().filter(|used| used.at.as_ref().is_some_and(|at| at.0 > self.replaced_at.0))
    }
}
