//! The observed state: facts from AWS and Kubernetes.
//!
//! Pure values. "Could not read", "foreign" and "not read yet" are values of their own and never mean "absent".
//! `aws/observe.rs` and `kubernetes/` read them; the recorded plans (tests/plan) write them by hand.

mod access;
mod existing;
mod ledger;
mod partial;
mod probe_result;
mod questions;
mod remembered;
mod seal;
mod unsealed;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::api::{KeyIntent, LastUsed, PolicyType, VersioningStatus};
use crate::credentials::{KeyPair, Sensitive, keys_in, written_key};
use crate::desired::{Desired, DesiredPolicy, names};
use crate::settings::tags::{StoredTags, Tags};
use crate::settings::{self, Reading};
use crate::vocabulary::problem::{Class, Problem};

pub use access::{Access, Held, OwnBinding, OwnRole, RbacKind};
pub use existing::{ExistingPolicy, ExistingUser};
pub use ledger::{Ledger, announcement, recall};
pub use partial::Partial;
pub use probe_result::ProbeResult;
pub use questions::{FollowUp, Place, PolicyQuestion, Questions, Scope, secrets};
pub use remembered::Remembered;
pub use seal::Seal;
pub use unsealed::distrust;

/// Everything that the planner knows about the world.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// The bucket.
    pub bucket: Bucket,
    /// When it was created; read if it decides whether the bucket is managed, or is not known yet.
    pub bucket_created: Reading<Timestamp>,
    /// Failed reads of its settings, if the bucket itself could not be read.
    pub unread: Vec<Problem>,
    /// Objects in the bucket; read on deletion only.
    pub contents: Reading<Contents>,
    /// The user.
    pub user: Reading<User>,
    /// What gives the user permissions next to attached policies; read before it is adopted.
    pub rights: Reading<UserRights>,
    /// The document of the inline policy, by its desired name.
    pub inline_policy: Reading<Value>,
    /// The managed policy, by its desired ARN.
    pub managed_policy: Reading<ManagedPolicy>,
    /// Tags of the managed policies of earlier specs, by ARN.
    pub earlier_policies: BTreeMap<String, Reading<Tags>>,
    /// ARNs of the managed policies attached to the user.
    pub attached: Reading<Vec<String>>,
    /// The user's access keys; read only when the key in the Secret does not work or is not known.
    pub keys: Reading<Vec<AccessKey>>,
    /// The Secret, by its desired name.
    pub secret: Secret,
    /// The Secrets under the names that earlier specs and keys had.
    pub earlier_secrets: BTreeMap<String, Secret>,
    /// The current key's own Secret, if keys are versioned.
    pub own_secret: Secret,
    /// The Secret that holds the pending key; read while one is expected.
    pub pending: Secret,
    /// The result of verifying the pending key.
    pub pending_proof: KeyProof,
    /// The last use of the previous key; read while there is one.
    pub last_used: Reading<LastUsed>,
    /// The inline policy that denies the user everything, or its old sessions; read while it should exist.
    pub denial: Reading<Value>,
    /// The workloads to restart after a change of the key; read only around such a change.
    pub workloads: Reading<Vec<Workload>>,
    /// Roles and RoleBindings that let groups read the Secret, by their one name.
    pub access: BTreeMap<String, Access>,
    /// The result of verifying the key in the Secret.
    pub proof: KeyProof,
    /// The bucket's versioning, if permissions depend on it and the spec does not manage it; read periodically.
    pub versioning: Reading<String>,
}

/// The most by which the clocks of AWS and the operator may differ.
const CLOCK_SKEW_SECONDS: i64 = 60;

/// How often the bucket's versioning is read, if only permissions depend on it.
const VERSIONING_SECONDS: i64 = 3_600;

/// Whether the known versioning of the bucket need not be read again.
pub fn is_fresh(known: &VersioningStatus, now: Timestamp) -> bool {
    (0..VERSIONING_SECONDS).contains(&(now.as_second() - known.read_at.0.as_second()))
}

impl Observed {
    /// Every Secret that was read: the desired one first.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        [&self.secret, &self.pending, &self.own_secret].into_iter().chain(self.earlier_secrets.values())
    }

    /// The keys to try: those in the Secret; if it has none, those in other Secrets that held the key. A deleted key
    /// still works for some seconds; a revoked key is not tried.
    pub fn candidates(&self, remembered: &Remembered) -> Vec<KeyPair> {
        let revoked = &remembered.credentials.revoked;
        let valid = |keys: Vec<KeyPair>| keys.into_iter().filter(|key| !revoked.contains(&key.id)).collect::<Vec<_>>();
        let here = valid(self.secret.keys());
        let others = || valid(self.earlier_secrets.values().chain([&self.own_secret]).flat_map(Secret::keys).collect());
        if here.is_empty() { others() } else { here }
    }

    /// Keys that `intent` explains: unknown before it, and issued while it was executed.
    pub fn explained_by(&self, intent: &KeyIntent) -> Vec<String> {
        let Reading::Set(keys) = &self.keys else { return Vec::new() };
        // AWS reports the time in whole seconds.
        let window = intent.since.0.as_second() - CLOCK_SKEW_SECONDS..=intent.until.0.as_second() + CLOCK_SKEW_SECONDS;
        let explained = |key: &&AccessKey| {
            !intent.known_keys.contains(&key.id) && key.created_at.is_none_or(|created| window.contains(&created.as_second()))
        };
        keys.iter().filter(explained).map(|key| key.id.clone()).collect()
    }

    /// Whether the bucket's versioning is to be read.
    pub fn asks_versioning(&self, desired: &Desired, remembered: &Remembered, now: Timestamp) -> bool {
        let known = remembered.versioning.as_ref().filter(|_| remembered.verified);
        let fresh = known.is_some_and(|known| is_fresh(known, now));
        desired.versioned.is_some() && matches!(self.bucket, Bucket::There(_)) && !fresh
    }

    /// Whether the bucket was found to have versions.
    pub fn versioned(&self) -> Option<bool> {
        match &self.versioning {
            Reading::Set(_) => Some(true),
            Reading::Unset => Some(false),
            Reading::NotRead | Reading::Unreadable(_) => None,
        }
    }

    /// Resources that belong to other connections, with the owner in their tag: for the operator's log, since a tenant
    /// does not see it.
    pub fn foreign(&self, desired: &Desired) -> Vec<(&'static str, String)> {
        let tags = [
            ("bucket", self.bucket.tags().map(|tags| (*tags).clone())),
            ("user", self.user.set().map(|user| user.tags.clone())),
            ("policy", self.managed_policy.set().and_then(|policy| policy.tags.clone())),
        ];
        let owner = |tags: Option<Tags>| match Ownership::of(&tags?, desired) {
            Ownership::Foreign(owner) => Some(owner),
            Ownership::Ours | Ownership::EarlierNamespace | Ownership::Untagged => None,
        };
        tags.into_iter().filter_map(|(what, tags)| Some((what, owner(tags)?))).collect()
    }

    /// Whether the user has no owner and is to be adopted, unless an adoption is in progress already.
    pub fn takes_user(&self, desired: &Desired, remembered: &Remembered) -> bool {
        let nobodys = |user: &User| {
            let known = remembered.user.as_ref().is_some_and(|known| known.id == user.id);
            Ownership::of(&user.tags, desired) == Ownership::Untagged && !known
        };
        desired.user.adopt && remembered.credentials.intent.is_none() && self.user.set().is_some_and(nobodys)
    }

    /// Whether the user is managed by its tags, but the status has no record of it: then the operator searches for what
    /// earlier specs gave it.
    pub fn forgot_user(&self, desired: &Desired, remembered: &Remembered) -> bool {
        let ours = |user: &User| Ownership::of(&user.tags, desired) == Ownership::Ours;
        remembered.user.is_none() && self.user.set().is_some_and(ours)
    }

    /// ARNs of the managed policies that are not the desired one, under the operator's path: those that are attached to the user,
    /// and the one that AWS records.
    pub fn other_policies(&self, desired: &Desired) -> BTreeSet<String> {
        let DesiredPolicy { kind, name, arn, .. } = &desired.policy;
        let place = arn.strip_suffix(name.as_str()).unwrap_or(arn);
        let recorded = match self.user.set().and_then(|user| Ledger::of_tags(&user.tags).policy) {
            Some((PolicyType::Managed, name)) => Some(format!("{place}{name}")),
            _ => None,
        };
        let attached = self.attached.set().into_iter().flatten().filter(|attached| attached.starts_with(place)).cloned();
        let other = |found: &String| !(*kind == PolicyType::Managed && found == arn);
        attached.chain(recorded).filter(other).collect()
    }

    /// Whether the user's keys must be listed, once everything else of it was read: for a deletion, for changes to the
    /// key, and before the user gets permissions, because all its keys get them.
    pub fn asks_keys(&self, desired: &Desired, remembered: &Remembered, deletion: bool) -> bool {
        let settled = matches!(self.proof, KeyProof::Works(_))
            && remembered.credentials.intent.is_none()
            && remembered.credentials.previous.is_none()
            && remembered.user.is_some()
            && self.pending == Secret::NotRead;
        matches!(self.user, Reading::Set(_)) && (!settled || deletion || self.lacks_rights(desired))
    }

    /// Whether the user's policy differs from the desired one.
    fn lacks_rights(&self, desired: &Desired) -> bool {
        let DesiredPolicy { kind, document, arn, .. } = &desired.policy;
        match kind {
            PolicyType::Inline => match &self.inline_policy {
                Reading::Set(live) => !document.same_as(live),
                live => *live == Reading::Unset,
            },
            PolicyType::Managed => {
                let written = self.managed_policy.set().is_some_and(|live| document.same_as(&live.document));
                !written || self.attached.set().is_none_or(|arns| !arns.contains(arn))
            }
        }
    }

    /// Whether the key has changed, or is about to change, so that workloads may use an old one.
    pub fn key_changes(&self, remembered: &Remembered) -> bool {
        let known = &remembered.credentials;
        let rests = matches!(&self.proof, KeyProof::Works(key) if known.access_key_id.as_ref() == Some(&key.id));
        let rotates = known.previous.is_some() || self.pending != Secret::NotRead || !known.revoked.is_empty();
        (known.access_key_id.is_some() || !known.revoked.is_empty()) && (rotates || !rests)
    }
}

/// The bucket.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Bucket {
    /// It was not read.
    #[default]
    NotRead,
    /// S3 finds no bucket with that name.
    Absent,
    /// It is in another region, named here if AWS names it.
    Elsewhere(Option<String>),
    /// It could not be read, or only in part.
    Unreadable(Problem),
    /// It is there.
    There(settings::Live),
}

/// The owner of a bucket, user or policy, by its ownership tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// Managed by its tag.
    Ours,
    /// Owned by a connection of the same name in an earlier namespace of the same name: possibly another tenant's.
    EarlierNamespace,
    /// Without any ownership tag.
    Untagged,
    /// Foreign: the value of the tag. Not for messages: see [`Desired::whose`].
    Foreign(String),
}

impl Ownership {
    /// Reads the tags that name the owner.
    pub fn of(tags: &Tags, desired: &Desired) -> Self {
        match tags.get(names::OWNER_TAG) {
            None => Self::Untagged,
            Some(owner) if *owner == desired.owner && desired.namespace.is(tags) => Self::Ours,
            Some(owner) if *owner == desired.owner => Self::EarlierNamespace,
            Some(owner) => Self::Foreign(owner.clone()),
        }
    }
}

impl Bucket {
    /// What the reads of the settings say about the bucket itself.
    pub fn from_reads(live: settings::Live) -> Self {
        match &live.tags {
            Reading::Unreadable(problem) => match &problem.class {
                Class::Missing => Self::Absent,
                Class::Elsewhere(region) => Self::Elsewhere(region.clone()),
                _ => Self::Unreadable(problem.clone()),
            },
            _ => Self::There(live),
        }
    }

    /// Whether it exists, and is managed by its tags.
    pub fn is_ours(&self, desired: &Desired) -> bool {
        self.tags().is_some_and(|tags| Ownership::of(&tags, desired) == Ownership::Ours)
    }

    /// Its tags, when it is there.
    pub fn tags(&self) -> Option<StoredTags> {
        match self {
            Self::There(settings::Live { tags: Reading::Set(tags), .. }) => Some(tags.clone()),
            Self::There(_) => Some(StoredTags::default()),
            _ => None,
        }
    }
}

/// What is in a bucket.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Contents {
    /// Object versions and delete markers that were counted.
    pub versions: usize,
    /// Objects among them: latest versions that are not delete markers.
    pub objects: usize,
    /// Unfinished multipart uploads.
    pub uploads: usize,
    /// Whether there are more than were counted.
    pub more: bool,
}

/// An IAM user.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// The id, which AWS never reuses for another user.
    pub id: String,
    /// Its path.
    pub path: String,
    /// Its tags.
    pub tags: Tags,
    /// ARN of the managed policy that is its permissions boundary.
    pub boundary: Option<String>,
}

/// What gives a user permissions, other than the managed policies that are attached to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UserRights {
    /// Names of its inline policies.
    pub inline: Vec<String>,
    /// Names of its groups.
    pub groups: Vec<String>,
}

/// A managed policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ManagedPolicy {
    /// The id, which AWS never reuses for another policy; `None` if only the version was read.
    pub id: Option<String>,
    /// Its default version, such as v3.
    pub version: String,
    /// The document of that version.
    pub document: Value,
    /// Its tags; `None` if only the version was read, because the status records the policy as managed.
    pub tags: Option<Tags>,
    /// Other versions, oldest first; empty when only the default version was read.
    pub other_versions: Vec<String>,
}

/// An access key of the user.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AccessKey {
    /// Its id.
    pub id: String,
    /// Whether it is Active; AWS rejects Inactive and Expired keys.
    pub active: bool,
    /// Whether it is Expired: it can never be made Active again.
    pub expired: bool,
    /// When it was issued.
    pub created_at: Option<Timestamp>,
}

/// A Secret.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Secret {
    /// It was not read.
    #[default]
    NotRead,
    /// There is none of that name.
    Absent,
    /// It exists and is foreign: why.
    Foreign(String),
    /// It could not be read.
    Unreadable(Problem),
    /// A foreign Secret with an existing key that the spec names: its data, only to be read.
    UserProvided(BTreeMap<String, Sensitive>),
    /// Managed.
    Ours(OwnSecret),
}

/// A managed Secret.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OwnSecret {
    /// All its data.
    pub data: BTreeMap<String, Sensitive>,
    /// When the key was issued, by the annotation that was written with it.
    pub key_created_at: Option<Timestamp>,
    /// Number of the key, from an annotation, if keys are versioned.
    pub version: Option<i64>,
    /// Whether labels, annotations and owner references are as the operator writes them; false after `Retain`.
    pub claimed: bool,
}

/// A Deployment, StatefulSet or DaemonSet that asks to be restarted after a change of the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Workload {
    /// Its kind.
    pub kind: WorkloadKind,
    /// Its name.
    pub name: String,
    /// Id of the key for which it was last restarted.
    pub key: Option<String>,
}

/// Kinds that can be restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, strum::Display)]
#[allow(missing_docs, reason = "each name says it")]
pub enum WorkloadKind {
    Deployment,
    StatefulSet,
    DaemonSet,
}

/// The result of verifying the key in the Secret.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum KeyProof {
    /// There was no key to verify.
    #[default]
    NotTried,
    /// It works.
    Works(KeyPair),
    /// AWS does not know it, or its signature is wrong.
    Rejected(KeyPair, Problem),
    /// AWS knows it, but denied what the policy should allow.
    Denied(KeyPair, Problem),
    /// It belongs to another user: this ARN.
    OtherUser(KeyPair, String),
    /// No answer says anything about the key.
    Unclear(KeyPair, Problem),
}

impl Secret {
    /// The keys in the Secret, if it is managed or provided by the user.
    pub fn keys(&self) -> Vec<KeyPair> {
        match self {
            Self::Ours(secret) => keys_in(&secret.data),
            Self::UserProvided(data) => written_key(data).into_iter().collect(),
            Self::NotRead | Self::Absent | Self::Foreign(_) | Self::Unreadable(_) => Vec::new(),
        }
    }

    /// Name of the key's own Secret, if this Secret is called `name` and is managed.
    pub fn own_of(&self, name: &str) -> Option<String> {
        Some(names::version(name, self.ours()?.version?))
    }

    /// The Secret, if it is managed.
    pub fn ours(&self) -> Option<&OwnSecret> {
        match self {
            Self::Ours(secret) => Some(secret),
            _ => None,
        }
    }
}

impl KeyProof {
    /// The key that was verified.
    pub fn key(&self) -> Option<&KeyPair> {
        match self {
            Self::NotTried => None,
            Self::Works(key)
            | Self::Rejected(key, _)
            | Self::Denied(key, _)
            | Self::OtherUser(key, _)
            | Self::Unclear(key, _) => Some(key),
        }
    }
}
