//! The access key of a connection, and when it is rotated. Never its secret part.

use jiff::Timestamp;
use serde::Serialize;

use crate::api::{BucketConnection, BucketConnectionStatus, KeyPhase, PendingKey, PreviousKey, Revocation};
use crate::render::age::age;

/// The access key.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Key {
    /// Id of the current key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Whether the operator issued it, or the user provides it.
    pub existing: bool,
    /// Name of the Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
    /// ARN of the owner of an existing key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// Its phase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<KeyPhase>,
    /// When it was issued.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued_at: Option<Timestamp>,
    /// Its age, as kubectl shows ages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age: Option<String>,
    /// When it was last verified completely.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified_at: Option<Timestamp>,
    /// `credentials.rotation.interval` of the spec; omitted: rotated only on request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation_interval: Option<String>,
    /// When the operator will rotate it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_rotation_at: Option<Timestamp>,
    /// The pending key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<PendingKey>,
    /// The previous key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<PreviousKey>,
    /// The last revocation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revocation: Option<Revocation>,
}

/// The key of `object`, if the status has one or the spec names one.
pub(super) fn key(object: &BucketConnection, status: &BucketConnectionStatus, now: Timestamp) -> Option<Key> {
    let existing = object.spec.existing_secret();
    let credentials = match (&status.memory.credentials, existing) {
        (None, None) => return None,
        (credentials, _) => credentials.clone().unwrap_or_default(),
    };
    let rotation = object.spec.credentials.as_ref().and_then(|credentials| credentials.rotation.as_ref());
    let issued_at = credentials.created_at.as_ref().map(|at| at.0);
    Some(Key {
        id: credentials.access_key_id,
        existing: existing.is_some(),
        secret_name: credentials.secret_name.or_else(|| existing.map(str::to_owned)),
        identity: credentials.identity,
        phase: credentials.phase,
        issued_at,
        age: issued_at.map(|at| age(at, now)),
        verified_at: credentials.verified_at.as_ref().map(|at| at.0),
        rotation_interval: rotation.and_then(|rotation| rotation.interval.as_ref()).map(ToString::to_string),
        next_rotation_at: credentials.next_rotation_at.as_ref().map(|at| at.0),
        pending: credentials.pending,
        previous: credentials.previous,
        revocation: credentials.revocation,
    })
}
