//! What to read: decided here without any call, so that the code that reads only answers. A reconcile reads in rounds:
//! [`secrets`] until it asks for nothing more, [`Questions`] to AWS, and [`FollowUp`], which depends on the answers.

use std::collections::BTreeSet;

use super::{Observed, Remembered, Secret};
use crate::api::PolicyType;
use crate::credentials::KeyPair;
use crate::desired::Desired;

/// How much to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All that the plan for a living object needs.
    Reconcile,
    /// All that its deletion needs.
    Deletion,
}

/// The role of an observed Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The Secret that consumers read.
    Main,
    /// A Secret of an earlier name or key.
    Earlier,
    /// The current key's own Secret.
    Own,
    /// The Secret that holds the pending key.
    Pending,
}

/// The Secrets to read next, by name: those of a connection that manages its key. Call it again with the answers in
/// `observed` until it returns nothing more.
pub fn secrets(desired: &Desired, remembered: &Remembered, observed: &Observed, pending: Option<String>) -> Vec<(Place, String)> {
    if observed.secret == Secret::NotRead {
        return vec![(Place::Main, desired.secret.name.clone())];
    }
    let earlier = remembered.earlier_secrets(desired, &observed.secret);
    // A key's own Secret is found through the annotation on the Secret that an earlier spec named.
    let own_of_earlier = observed.earlier_secrets.iter().filter_map(|(name, secret)| secret.own_of(name));
    let earlier = earlier.into_iter().chain(own_of_earlier).filter(|name| !observed.earlier_secrets.contains_key(name));
    let unread = |secret: &Secret| *secret == Secret::NotRead;
    let own = remembered.own_secret(desired, &observed.secret).filter(|_| unread(&observed.own_secret));
    let pending = pending.filter(|_| unread(&observed.pending));
    let earlier = earlier.map(|name| (Place::Earlier, name));
    earlier.chain(own.map(|name| (Place::Own, name))).chain(pending.map(|name| (Place::Pending, name))).collect()
}

impl Observed {
    /// Adds a Secret that was read.
    pub fn put(&mut self, place: &Place, name: String, secret: Secret) {
        match place {
            Place::Main => self.secret = secret,
            Place::Earlier => drop(self.earlier_secrets.insert(name, secret)),
            Place::Own => self.own_secret = secret,
            Place::Pending => self.pending = secret,
        }
    }
}

/// What to read from AWS in the first round, all in parallel. The bucket settings that [`Desired`] manages are read in
/// any case.
#[derive(Clone, Debug, PartialEq)]
pub struct Questions {
    /// Whether to read a managed user and what is attached to it: AWS attaches its quarantine policy there.
    pub user: bool,
    /// The policy of the user.
    pub policy: Option<PolicyQuestion>,
    /// ARNs of managed policies whose tags to read, to see whether they are managed.
    pub policy_tags: BTreeSet<String>,
    /// The key whose last use to read.
    pub last_used: Option<String>,
    /// Whether the inline policy that denies old sessions may exist.
    pub denial: bool,
    /// Keys of the Secret, to try until one works.
    pub keys: Vec<KeyPair>,
    /// Pending keys, to try until one works.
    pub pending: Vec<KeyPair>,
    /// The key that was verified to be the user's. For other keys, the owner must be read first.
    pub known: Option<String>,
}

/// How to read the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyQuestion {
    /// The inline policy of this name.
    Inline(String),
    /// The managed policy; only the document of this version if the status knows the policy, otherwise id and tags too.
    Managed(Option<String>),
}

impl Questions {
    /// The questions about a connection, after its Secrets were read into `seen`.
    pub fn of(desired: &Desired, remembered: &Remembered, seen: &Observed, scope: Scope) -> Self {
        let ours = desired.identity.is_managed();
        let credentials = &remembered.credentials;
        let held = seen.secret.keys();
        // A retained object may have left a denial that is not recorded.
        let unknown = ours && (remembered.user.is_none() || scope == Scope::Deletion);
        Self {
            user: ours,
            policy: ours.then(|| PolicyQuestion::of(desired, remembered, scope)),
            policy_tags: remembered.earlier_policies(desired).filter_map(|policy| policy.arn.clone()).collect(),
            last_used: credentials.previous.as_ref().map(|previous| previous.access_key_id.clone()),
            denial: credentials.revocation.is_some() || unknown,
            keys: seen.candidates(remembered),
            pending: seen.pending.keys().into_iter().filter(|key| held.iter().all(|held| held.id != key.id)).collect(),
            known: credentials.access_key_id.clone().filter(|_| remembered.verified),
        }
    }

    /// The most calls that this takes, if the first key of each Secret works.
    pub fn calls(&self, desired: &Desired) -> usize {
        let policy = match &self.policy {
            None => 0,
            Some(PolicyQuestion::Inline(_) | PolicyQuestion::Managed(Some(_))) => 1,
            // Its id, its tags and its versions, then the document.
            Some(PolicyQuestion::Managed(None)) => 3,
        };
        let flags = [self.last_used.is_some(), self.denial, !self.keys.is_empty(), !self.pending.is_empty()];
        let user = if self.user { 2 } else { 0 };
        desired.bucket.settings.managed().len()
            + user
            + policy
            + self.policy_tags.len()
            + flags.into_iter().filter(|asks| *asks).count()
    }
}

impl PolicyQuestion {
    fn of(desired: &Desired, remembered: &Remembered, scope: Scope) -> Self {
        match desired.policy.kind {
            PolicyType::Inline => Self::Inline(desired.policy.name.clone()),
            PolicyType::Managed => {
                // Id and tags are read before deletion, and if the tags may not name the namespace yet.
                let trusted = scope == Scope::Reconcile && remembered.namespace == desired.namespace.id;
                let known = remembered.policy(desired).filter(|_| trusted);
                Self::Managed(known.and_then(|known| known.version.clone()))
            }
        }
    }
}

/// What to read from AWS in the second round: rarely anything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FollowUp {
    /// The list of the user's keys.
    pub keys: bool,
    /// The contents of the bucket.
    pub contents: bool,
    /// The creation date of the bucket.
    pub created: bool,
    /// Inline policies and groups of the user.
    pub rights: bool,
    /// ARNs of managed policies whose tags to read, to see whether they are managed.
    pub policy_tags: BTreeSet<String>,
}

impl FollowUp {
    /// The questions that the answers of the first round lead to.
    pub fn of(desired: &Desired, remembered: &Remembered, observed: &Observed, scope: Scope) -> Self {
        let forgotten = observed.forgot_user(desired, remembered);
        Self {
            keys: observed.asks_keys(desired, remembered, scope == Scope::Deletion),
            contents: scope == Scope::Deletion && observed.bucket.is_ours(desired),
            created: remembered.asks_creation(desired, &observed.bucket),
            rights: forgotten || observed.takes_user(desired, remembered),
            policy_tags: if forgotten { observed.other_policies(desired) } else { BTreeSet::new() },
        }
    }
}
