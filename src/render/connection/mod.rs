//! A connection as a person wants to see it: what `get` and `status` show, as values.
//!
//! [`Overview`] is also the stable JSON of both commands (docs/cli.md).

mod changes;
mod key;
mod links;
mod next;
mod screen;
mod table;

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::ResourceExt;
use serde::Serialize;

use crate::api::{AdoptionStatus, BucketConnection, BucketConnectionStatus, Capability, DriftStatus, IneffectiveWrite};
use crate::desired::names;
use crate::vocabulary::conditions::{ConditionType, Reason, find};
use crate::vocabulary::documented::without_links;

pub use changes::changes;
pub use key::Key;
pub use links::{Link, State};
pub use next::{Next, Schedule};
pub use screen::screen;
pub use table::{Layout, table};

/// Everything about one connection that `get` and `status` show.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// When it was created.
    pub created_at: Option<Timestamp>,
    /// Status of the condition `Ready`: True, False or Unknown.
    pub ready: String,
    /// Reason of the condition `Ready`; omitted if the operator has not reconciled the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Message of the condition `Ready`, or why there is none.
    pub message: String,
    /// What to do, if the connection is not ready.
    #[serde(rename = "do", skip_serializing_if = "Option::is_none")]
    pub act: Option<String>,
    /// Whether a person must act.
    pub stalled: bool,
    /// Whether `spec.suspend` stops all reconciles.
    pub suspended: bool,
    /// Whether the object is being deleted.
    pub deleting: bool,
    /// Whether the status describes an older spec.
    pub outdated: bool,
    /// Why this version cannot read the object as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
    /// Name of the AWSAccount.
    pub account: String,
    /// The preset.
    pub preset: String,
    /// Region of the bucket.
    pub region: String,
    /// Name of the bucket, when it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// The prefix that the connection is limited to; empty for the whole bucket.
    pub prefix: String,
    /// The parts of the connection, in the order in which they depend on each other.
    pub links: Vec<Link>,
    /// What the key is verified to do.
    pub capabilities: BTreeMap<String, Capability>,
    /// Kubernetes groups that can read the Secret through this connection.
    pub access_groups: Vec<String>,
    /// The access key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
    /// Drift, with the journal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drift: Option<DriftStatus>,
    /// An adoption that waits for approval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adoption: Option<AdoptionStatus>,
    /// Writes without effect.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ineffective_writes: Vec<IneffectiveWrite>,
    /// Time of a recent reconcile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_reconcile_at: Option<Timestamp>,
    /// When the next reconcile begins.
    pub next_reconcile: Next,
    /// Recent Events, newest first; omitted if they were not read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<Event>>,
}

/// An Event of the object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// When it was written.
    pub at: Option<Timestamp>,
    /// Normal or Warning.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its reason.
    pub reason: String,
    /// Its text.
    pub note: String,
}

impl Overview {
    /// The overview of `object` at `now`. `unreadable` says why a part of it could not be read; `schedule` when it is
    /// reconciled.
    pub fn of(object: &BucketConnection, unreadable: Option<String>, schedule: &Schedule, now: Timestamp) -> Self {
        let status = object.status.clone().unwrap_or_default();
        let ready = find(&status.conditions, ConditionType::Ready);
        let unseen = "the operator has not reconciled this object yet; if that lasts, check whether it is running: bucketconnection doctor";
        let message = match (ready, &unreadable) {
            (Some(ready), _) => ready.message.clone(),
            (None, Some(text)) => format!("this version cannot read the object: {text}"),
            (None, None) => unseen.to_owned(),
        };
        let failing = ready.filter(|ready| ready.status != "True");
        Self {
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            created_at: object.metadata.creation_timestamp.as_ref().map(|at| at.0),
            ready: ready.map_or("Unknown", |ready| ready.status.as_str()).to_owned(),
            reason: ready.map(|ready| ready.reason.clone()),
            message,
            act: failing.and_then(|ready| act(&ready.reason)),
            stalled: find(&status.conditions, ConditionType::Stalled).is_some_and(|stalled| stalled.status == "True"),
            suspended: object.spec.suspend,
            deleting: object.metadata.deletion_timestamp.is_some(),
            outdated: status.observed_generation.is_some() && status.observed_generation != object.metadata.generation,
            account: object.spec.account_ref.name.clone(),
            preset: object.spec.preset.to_string(),
            region: object.spec.region.clone(),
            bucket: bucket(object, &status),
            prefix: object.spec.bucket.prefix.clone().unwrap_or_default(),
            links: links::links(object, &status, unreadable.as_deref()),
            access_groups: status.memory.access.as_ref().map(|access| access.groups.clone()).unwrap_or_default(),
            key: key::key(object, &status, now),
            last_reconcile_at: status.last_checked_at.as_ref().map(|at| at.0),
            next_reconcile: next::next(object, &status, schedule, now),
            capabilities: status.capabilities,
            drift: status.drift,
            adoption: status.adoption,
            ineffective_writes: status.ineffective_writes,
            unreadable,
            events: None,
        }
    }

    /// `namespace/name`.
    pub fn title(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// Whether the connection works as it is specified now.
    pub fn is_fine(&self) -> bool {
        self.ready == "True" && !self.outdated && !self.deleting && self.unreadable.is_none()
    }
}

/// What the documentation says to do about `reason`.
pub fn act(reason: &str) -> Option<String> {
    let reason: Reason = reason.parse().ok()?;
    reason.documented().act.map(|text| without_links(&text))
}

fn bucket(object: &BucketConnection, status: &BucketConnectionStatus) -> Option<String> {
    let recorded = status.memory.bucket.as_ref().and_then(|bucket| bucket.arn.rsplit(':').next()).map(str::to_owned);
    let named = || status.memory.account_id.as_ref().map(|account| names::bucket(object, account));
    object.spec.bucket.name.clone().or(recorded).or_else(named).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests;
