//! The key ring: the role of each access key of a connection, derived once from the observed and the recorded state.
//!
//! The stages of a key are those of AWS Secrets Manager
//! (<https://docs.aws.amazon.com/secretsmanager/latest/userguide/whats-in-a-secret.html>): *current* is the key in the
//! Secret, *pending* the key that will replace it, *previous* the key that it replaced.

use jiff::Timestamp;

use super::owners::Owners;
use crate::api::PendingKey;
use crate::credentials::KeyPair;
use crate::desired::{Desired, names};
use crate::observed::{AccessKey, KeyProof, Observed, Remembered, Secret};
use crate::settings::Reading;
use crate::vocabulary::problem::Problem;

/// How long a new key may take to reach all of AWS (2 to 15 s measured; botocore and Terraform allow 2 minutes).
const PROPAGATION_SECONDS: i64 = 120;
/// AWS attaches policies with this prefix to a user whose key it found in public.
const QUARANTINE: &str = "AWSCompromisedKeyQuarantine";

/// Everything that the decisions about the keys depend on.
#[derive(Clone, Debug, PartialEq)]
pub struct Ring {
    /// The Secret that consumers read.
    pub secret: Slot,
    /// Why the keys must not be changed, whatever their state; an error if AWS did not say whether they may be.
    pub hold: Result<Option<Hold>, Problem>,
    /// The user's keys, without those that a revocation deleted.
    pub list: List,
    /// Who owns them.
    pub owners: Owners,
    /// The key in the Secret.
    pub current: Current,
    /// Id of the current key according to the status.
    pub known_current: Option<String>,
    /// The current key's own Secret.
    pub own_secret: Slot,
    /// The pending key as the status recorded it before it was issued.
    pub noted: Option<PendingKey>,
    /// The Secret that holds the pending key, or will hold it.
    pub waiting: Waiting,
    /// The previous key.
    pub previous: Option<Previous>,
    /// Managed keys that are lost.
    pub obsolete: Vec<String>,
    /// Whether an attempt to issue a key was interrupted, and it was not for a pending key.
    pub interrupted: bool,
    /// Why the current key must be rotated although it works.
    pub rotation: Option<Rotation>,
    /// Whether steps of this plan change the permissions of the user.
    pub rights_change: bool,
    /// Whether the current key needs a full verification.
    pub unproven: bool,
}

/// Whether a Secret may be written.
#[derive(Clone, Debug, PartialEq)]
pub enum Slot {
    /// It is not desired, or was not read.
    None,
    /// It may be written: it is managed, or does not exist.
    Writable,
    /// It is foreign: why.
    Foreign(String),
    /// It could not be read.
    Unreadable(Problem),
}

/// Why keys must not be changed.
#[derive(Clone, Debug, PartialEq)]
pub enum Hold {
    /// A person put the hold tag on the user.
    Tag,
    /// AWS found the key in public and attached this policy.
    Quarantine(String),
}

/// The list of the user's keys.
#[derive(Clone, Debug, PartialEq)]
pub enum List {
    /// It was not read.
    NotAsked,
    /// It could not be read.
    Unreadable(Problem),
    /// The keys.
    Keys(Vec<AccessKey>),
}

/// The key in the Secret.
#[derive(Clone, Debug, PartialEq)]
pub enum Current {
    /// The plan creates the user, so there is none.
    NewUser,
    /// It works.
    Works(KeyPair),
    /// AWS knows it, but denied what the policy should allow.
    Denied(KeyPair, Problem),
    /// No answer says anything about it.
    Unclear(Problem),
    /// AWS rejects it, but it may be too new.
    Propagating(KeyPair),
    /// It is Inactive and managed.
    Inactive(KeyPair),
    /// IAM lists it as active, but S3 rejects it with this code.
    Rejected(KeyPair, String),
    /// AWS rejects it, and the list that would show why is not known.
    NotListed,
    /// It can never work again, or is foreign.
    Broken(Why),
    /// A Secret that may hold it could not be read.
    Unread(Problem),
}

/// Why a key is issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// The user is new.
    NewUser,
    /// No Secret holds a key: its secret part is lost, or there never was one.
    NoKey,
    /// A revocation deleted these keys.
    Revoked(Vec<String>),
    /// AWS no longer lists this key.
    Deleted(String),
    /// This key is Expired.
    Expired(String),
    /// This key is Inactive, and the operator did not issue it.
    InactiveOfOthers(String),
    /// The Secret holds a wrong secret part for this key.
    WrongSecret(String),
    /// The Secret holds this key of another user: its ARN.
    OtherUser(String, String),
    /// The key with this id must be rotated.
    Rotation(String, Rotation),
}

/// Why a working key is rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// It has reached the age in `credentials.rotation.interval`.
    Due,
    /// The annotation requests it.
    Requested,
}

/// The Secret that holds the pending key.
#[derive(Clone, Debug, PartialEq)]
pub enum Waiting {
    /// It was not read.
    NotRead,
    /// It is foreign: why.
    Foreign(String),
    /// It could not be read.
    Unreadable(Problem),
    /// It does not exist, or holds no key. `ours`: it exists.
    Empty {
        /// Whether it exists.
        ours: bool,
    },
    /// It holds the current key, so that key is published.
    Published {
        /// Whether it is now the Secret itself, or the current key's own Secret.
        in_place: bool,
    },
    /// It holds a key.
    Holds(KeyPair, Health),
}

/// The state of a pending key.
#[derive(Clone, Debug, PartialEq)]
pub enum Health {
    /// It works.
    Works,
    /// AWS rejects it, but it may be too new.
    Propagating,
    /// AWS knows it, but denied what the policy should allow.
    Denied(Problem),
    /// No answer says anything about it.
    Unclear(Problem),
    /// It does not work, or belongs to another user.
    Broken,
}

/// The previous key.
#[derive(Clone, Debug, PartialEq)]
pub struct Previous {
    /// Its id.
    pub id: String,
    /// Its own Secret.
    pub secret: Option<String>,
    /// Whether its overlap is over.
    pub over: bool,
    /// Whether it has been Inactive long enough to be deleted.
    pub settled: bool,
    /// The action that it needs.
    pub state: PreviousState,
}

/// The action that the previous key needs.
#[derive(Clone, Debug, PartialEq)]
pub enum PreviousState {
    /// None: its overlap is not over, it was deactivated only recently, it was used since, or someone activated it again.
    Rests,
    /// AWS no longer lists it.
    Gone,
    /// Its overlap is over, and it is Active.
    Due,
    /// It is Inactive, and was not used since it was replaced.
    Unused,
    /// Its overlap is over, and AWS did not report the list of keys or its last use.
    Unreadable(Problem),
}

impl Ring {
    /// Reads the ring. `new_user`: the plan creates the user; `rights_change`: the plan changes its permissions.
    pub fn read(
        desired: &Desired,
        observed: &Observed,
        remembered: &Remembered,
        now: Timestamp,
        (new_user, rights_change): (bool, bool),
    ) -> Self {
        let known = &remembered.credentials;
        let list = List::of(observed, remembered);
        let owners = Owners::of(remembered, observed);
        let facts = Facts { desired, observed, remembered, now, list: &list, owners: &owners };
        let current = if new_user { Current::NewUser } else { facts.current() };
        let waiting = facts.waiting(current.key());
        let previous = facts.previous(current.key());
        let unproven = !remembered.verified || remembered.unproven || !current.key().is_some_and(|key| facts.proven(&key.id));
        Self {
            secret: Slot::of(&observed.secret),
            hold: hold(observed),
            known_current: known.access_key_id.clone(),
            own_secret: if desired.secret.versioned { Slot::of(&observed.own_secret) } else { Slot::None },
            noted: known.pending.clone(),
            obsolete: known.obsolete_keys.clone(),
            interrupted: known.intent.is_some() && known.pending.is_none(),
            rotation: current.key().and_then(|key| facts.rotation(&key.id)),
            current,
            waiting,
            previous,
            rights_change,
            unproven,
            list,
            owners,
        }
    }
}

impl List {
    fn of(observed: &Observed, remembered: &Remembered) -> Self {
        match &observed.keys {
            // The list may be older than a revocation.
            Reading::Set(keys) => {
                let cut_off = |key: &&AccessKey| !remembered.credentials.revoked.contains(&key.id);
                Self::Keys(keys.iter().filter(cut_off).cloned().collect())
            }
            Reading::Unset => Self::Keys(Vec::new()),
            Reading::NotRead => Self::NotAsked,
            Reading::Unreadable(problem) => Self::Unreadable(problem.clone()),
        }
    }

    /// The keys, if they are known.
    pub fn keys(&self) -> Option<&[AccessKey]> {
        match self {
            Self::Keys(keys) => Some(keys),
            Self::NotAsked | Self::Unreadable(_) => None,
        }
    }

    fn find(&self, id: &str) -> Option<&AccessKey> {
        self.keys()?.iter().find(|key| key.id == id)
    }
}

impl Slot {
    fn of(secret: &Secret) -> Self {
        match secret {
            Secret::NotRead | Secret::UserProvided(_) => Self::None,
            Secret::Absent | Secret::Ours(_) => Self::Writable,
            Secret::Foreign(why) => Self::Foreign(why.clone()),
            Secret::Unreadable(problem) => Self::Unreadable(problem.clone()),
        }
    }
}

impl Current {
    /// The key, if it works or would work with the right policy.
    pub fn key(&self) -> Option<&KeyPair> {
        match self {
            Self::Works(key) | Self::Denied(key, _) => Some(key),
            _ => None,
        }
    }
}

fn hold(observed: &Observed) -> Result<Option<Hold>, Problem> {
    match &observed.user {
        Reading::Unreadable(problem) => return Err(problem.clone()),
        Reading::Set(user) if user.tags.contains_key(names::HOLD_TAG) => return Ok(Some(Hold::Tag)),
        Reading::Set(_) => {}
        // AWS denies reads about a user that does not exist: it knows no path that permissions could match.
        Reading::Unset | Reading::NotRead => return Ok(None),
    }
    let quarantine = |arn: &&String| arn.rsplit('/').next().is_some_and(|name| name.starts_with(QUARANTINE));
    match &observed.attached {
        Reading::Unreadable(problem) => Err(problem.clone()),
        attached => Ok(attached.set().into_iter().flatten().find(quarantine).cloned().map(Hold::Quarantine)),
    }
}

/// The input from which the states of the keys are derived.
struct Facts<'a> {
    desired: &'a Desired,
    observed: &'a Observed,
    remembered: &'a Remembered,
    now: Timestamp,
    list: &'a List,
    owners: &'a Owners,
}

impl Facts<'_> {
    fn current(&self) -> Current {
        match &self.observed.proof {
            KeyProof::Works(key) => Current::Works(key.clone()),
            KeyProof::Denied(key, problem) => Current::Denied(key.clone(), problem.clone()),
            KeyProof::Unclear(_, problem) => Current::Unclear(problem.clone()),
            KeyProof::Rejected(key, problem) => self.rejected(key, &problem.code),
            KeyProof::OtherUser(..) if self.list.keys().is_none() => Current::NotListed,
            KeyProof::OtherUser(key, arn) => Current::Broken(Why::OtherUser(key.id.clone(), arn.clone())),
            KeyProof::NotTried => match self.unread() {
                Some(problem) => Current::Unread(problem),
                None => Current::Broken(self.without_key()),
            },
        }
    }

    /// Why no Secret holds a key that could work. One that a revocation deleted is not tried.
    fn without_key(&self) -> Why {
        match self.remembered.credentials.revoked.as_slice() {
            [] => Why::NoKey,
            revoked => Why::Revoked(revoked.to_vec()),
        }
    }

    /// Why a Secret could not be read: it may hold the working key.
    fn unread(&self) -> Option<Problem> {
        self.observed.secrets().find_map(|secret| match secret {
            Secret::Unreadable(problem) => Some(problem.clone()),
            _ => None,
        })
    }

    /// AWS rejects the key: the list of keys decides.
    fn rejected(&self, key: &KeyPair, code: &str) -> Current {
        if self.list.keys().is_none() {
            return Current::NotListed;
        }
        let id = key.id.clone();
        match self.list.find(&id) {
            // The list may be older than the key.
            None if self.is_young(&id, self.created_at()) => Current::Propagating(key.clone()),
            None => Current::Broken(Why::Deleted(id)),
            Some(entry) if entry.expired => Current::Broken(Why::Expired(id)),
            // A tenant that can write the Secret must not be able to activate a foreign key by its id alone.
            Some(entry) if !entry.active && !self.owners.issued_here(&id) => Current::Broken(Why::InactiveOfOthers(id)),
            Some(entry) if !entry.active => Current::Inactive(key.clone()),
            Some(entry) if self.is_young(&id, entry.created_at.or_else(|| self.created_at())) => {
                Current::Propagating(key.clone())
            }
            Some(_) if code == "SignatureDoesNotMatch" => Current::Broken(Why::WrongSecret(id)),
            Some(_) => Current::Rejected(key.clone(), code.to_owned()),
        }
    }

    fn waiting(&self, current: Option<&KeyPair>) -> Waiting {
        let secret = match &self.observed.pending {
            Secret::NotRead | Secret::UserProvided(_) => return Waiting::NotRead,
            Secret::Foreign(why) => return Waiting::Foreign(why.clone()),
            Secret::Unreadable(problem) => return Waiting::Unreadable(problem.clone()),
            Secret::Absent => return Waiting::Empty { ours: false },
            secret @ Secret::Ours(_) => secret,
        };
        if current.is_some_and(|current| secret.keys().iter().any(|key| key.id == current.id)) {
            return Waiting::Published { in_place: self.waits_in_place() };
        }
        match &self.observed.pending_proof {
            KeyProof::Works(key) => Waiting::Holds(key.clone(), Health::Works),
            KeyProof::Denied(key, problem) => Waiting::Holds(key.clone(), Health::Denied(problem.clone())),
            KeyProof::Unclear(key, problem) => Waiting::Holds(key.clone(), Health::Unclear(problem.clone())),
            KeyProof::Rejected(key, _) if self.is_young_pending(key) => Waiting::Holds(key.clone(), Health::Propagating),
            KeyProof::Rejected(key, _) | KeyProof::OtherUser(key, _) => Waiting::Holds(key.clone(), Health::Broken),
            KeyProof::NotTried => match secret.keys().into_iter().next() {
                Some(key) => Waiting::Holds(key, Health::Broken),
                None => Waiting::Empty { ours: true },
            },
        }
    }

    /// Whether the spec gave the Secret the name under which the pending key waited, or that Secret is now the current
    /// key's own.
    fn waits_in_place(&self) -> bool {
        let secret = &self.desired.secret;
        let own = self.remembered.number(&self.observed.secret).and_then(|number| secret.own(number));
        let name = self.remembered.credentials.pending.as_ref().map(|noted| &noted.secret_name);
        name.is_some_and(|name| *name == secret.name || Some(name) == own.as_ref())
    }

    fn is_young_pending(&self, key: &KeyPair) -> bool {
        match self.list.find(&key.id) {
            Some(entry) => entry.active && self.is_young(&key.id, entry.created_at.or_else(|| self.created_at())),
            None => self.observed.pending.ours().and_then(|next| next.key_created_at).is_some_and(|at| self.is_new(at)),
        }
    }

    fn previous(&self, current: Option<&KeyPair>) -> Option<Previous> {
        let known = self.remembered.credentials.previous.as_ref()?;
        let id = known.access_key_id.clone();
        let over = self.now >= known.works_until.0;
        let settled = known.settled_at().is_some_and(|at| self.now >= at);
        let is_current = current.is_some_and(|current| current.id == id);
        let state = match (self.list.keys(), self.list.find(&id)) {
            _ if is_current => PreviousState::Rests,
            (None, _) => match self.list {
                List::Unreadable(problem) if over => PreviousState::Unreadable(problem.clone()),
                _ => PreviousState::Rests,
            },
            (Some(_), None) => PreviousState::Gone,
            (Some(_), Some(_)) if !over => PreviousState::Rests,
            (Some(_), Some(entry)) if entry.active && known.inactive_since.is_none() => PreviousState::Due,
            (Some(_), Some(entry)) if entry.active || !settled => PreviousState::Rests,
            (Some(_), Some(_)) => match &self.observed.last_used {
                Reading::Unreadable(problem) => PreviousState::Unreadable(problem.clone()),
                Reading::Set(used) if used.at.as_ref().is_some_and(|at| at.0 > known.replaced_at.0) => PreviousState::Rests,
                Reading::NotRead => PreviousState::Rests,
                Reading::Set(_) | Reading::Unset => PreviousState::Unused,
            },
        };
        let secret = known.secret_name.clone().filter(|name| *name != self.desired.secret.name);
        Some(Previous { id, secret, over, settled, state })
    }

    fn rotation(&self, current: &str) -> Option<Rotation> {
        let due = self.created_at().and_then(|created| self.desired.rotation.next(current, created));
        match due {
            Some(at) if self.now >= at => Some(Rotation::Due),
            _ => self.remembered.rotate.then_some(Rotation::Requested),
        }
    }

    /// Whether the status records a full verification of this key.
    fn proven(&self, id: &str) -> bool {
        let known = &self.remembered.credentials;
        known.access_key_id.as_deref() == Some(id) && known.verified_at.is_some()
    }

    /// Whether a rejected key may only be too new. A key that was verified is not too new.
    fn is_young(&self, id: &str, created: Option<Timestamp>) -> bool {
        !self.proven(id) && created.is_some_and(|created| self.is_new(created))
    }

    fn is_new(&self, created: Timestamp) -> bool {
        self.now.as_second() - created.as_second() < PROPAGATION_SECONDS
    }

    fn created_at(&self) -> Option<Timestamp> {
        self.remembered.key_created_at(&self.observed.secret)
    }
}
