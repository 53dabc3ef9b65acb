//! The key machine: what is done next, decided in one place from the ring alone.

use super::ring::{Current, Health, Hold, List, Previous, PreviousState, Ring, Slot, Waiting, Why};
use crate::credentials::KeyPair;
use crate::observed::AccessKey;
use crate::vocabulary::conditions::ConditionType;
use crate::vocabulary::problem::Problem;

/// Access keys that a user may have, Inactive ones included
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>).
pub const MAX_KEYS: usize = 2;

/// One thing that is done about the keys. Those of one plan are in the order in which they depend on each other.
#[derive(Clone, Debug, PartialEq)]
pub enum Move {
    /// Leave something as it is, and say why.
    Block(Obstacle),
    /// Delete a key that a broken attempt issued and whose secret part was lost.
    DeleteOrphan(String),
    /// Make the Secret right for this key.
    WriteSecret(KeyPair),
    /// Delete the Secrets of earlier names.
    DropEarlierSecrets,
    /// Activate the current key.
    Activate(String),
    /// Make a full proof of the current key.
    Prove(KeyPair),
    /// Make the Secret right that the current key has for itself.
    WriteOwnSecret(KeyPair),
    /// Restart the workloads that do not use this key yet.
    Restart(KeyPair),
    /// Issue a key.
    Issue(Issue),
    /// Make a full proof of the pending key, before anybody reads it.
    ProvePending(KeyPair),
    /// Write the pending key to the Secret.
    Publish {
        /// The key.
        key: KeyPair,
        /// Whether this plan proves it before.
        proven: bool,
    },
    /// Make a key Inactive, which can be undone.
    Deactivate(String),
    /// Delete a key, and the Secret that it has for itself.
    Delete {
        /// Its id.
        id: String,
        /// Name of that Secret.
        secret: Option<String>,
        /// Why nobody needs it.
        because: Because,
    },
    /// Delete a Secret that no key is waiting in any more.
    DropSecret(String),
}

/// A key is issued.
#[derive(Clone, Debug, PartialEq)]
pub struct Issue {
    /// Where it goes.
    pub stage: Stage,
    /// Why.
    pub why: Why,
    /// Keys that are deleted first, so that there is room for it.
    pub room: Vec<String>,
    /// Keys that the user has then.
    pub known: Vec<String>,
    /// Keys of ours that are deleted once it is proven.
    pub obsolete: Vec<String>,
}

/// Where a new key goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Into the Secret: there is no key that works.
    Current,
    /// Into a Secret of its own, until it is proven.
    Pending,
}

/// Why nobody needs a key any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// Another one replaced it, and that is proven first.
    Replaced,
    /// It is pending, does not work, and nobody has read it.
    NeverPublished,
    /// Its overlap is over, and nobody used it since it was replaced.
    Unused,
}

/// What keeps the machine from going on.
#[derive(Clone, Debug, PartialEq)]
pub enum Obstacle {
    /// Something could not be read; the condition that says so.
    Unreadable(ConditionType, Problem),
    /// The Secret belongs to somebody else: why.
    SecretNotOwned(String),
    /// The Secret of the current key alone belongs to somebody else: why.
    OwnSecretNotOwned(String),
    /// The Secret for the pending key belongs to somebody else: why.
    WaitingSecretNotOwned(String),
    /// Keys are left as they are.
    Hold(Hold),
    /// The current key is denied what its policy allows.
    Denied(KeyPair, Problem),
    /// The pending key is denied what its policy allows.
    PendingDenied(KeyPair, Problem),
    /// IAM lists the key as active, and S3 does not accept it: this code.
    Rejected(KeyPair, String),
    /// The user has as many keys as AWS allows, these foreign ones among them, and this one of ours.
    NoRoom {
        /// Foreign keys.
        foreign: Vec<String>,
        /// A key of ours whose overlap is not over.
        ours: Option<String>,
    },
    /// The current key, first, cannot be rotated beside this foreign one.
    NoRoomToRotate(String, String),
}

/// What is done next. Nothing is planned twice, and an empty list means that the keys are at rest.
pub fn next_moves(ring: &Ring) -> Vec<Move> {
    match (&ring.secret, &ring.hold) {
        (Slot::None, _) => Vec::new(),
        (Slot::Unreadable(problem), _) => vec![unreadable(ConditionType::CredentialsReady, problem)],
        (Slot::Foreign(why), _) => vec![Move::Block(Obstacle::SecretNotOwned(why.clone()))],
        (Slot::Writable, Some(hold)) => vec![Move::Block(Obstacle::Hold(hold.clone()))],
        (Slot::Writable, None) => {
            let orphan = ring.orphan().cloned().map(Move::DeleteOrphan);
            orphan.into_iter().chain(ring.of_current()).collect()
        }
    }
}

fn unreadable(part: ConditionType, problem: &Problem) -> Move {
    Move::Block(Obstacle::Unreadable(part, problem.clone()))
}

impl Ring {
    /// The key that a broken attempt issued and that nobody has.
    fn orphan(&self) -> Option<&String> {
        self.owners.orphan().filter(|_| self.current != Current::NewUser)
    }

    /// The table of `mod.rs`, row by row.
    fn of_current(&self) -> Vec<Move> {
        match &self.current {
            Current::NewUser => vec![self.issue(Why::NewUser, Vec::new(), Vec::new(), Vec::new())],
            Current::Works(key) => self.keep(key),
            Current::Denied(key, _) if self.rights_change => self.keep(key),
            Current::Denied(key, problem) => {
                vec![Move::Block(Obstacle::Denied(key.clone(), problem.clone())), Move::WriteSecret(key.clone())]
            }
            Current::Unclear(problem) => vec![unreadable(ConditionType::Verified, problem)],
            Current::Propagating(key) => vec![Move::Prove(key.clone())],
            // The Secret is not written: this copy of the key is not proven, and another one in it may be the right one.
            Current::Inactive(key) => vec![Move::Activate(key.id.clone()), Move::Prove(key.clone())],
            Current::Rejected(key, code) => vec![Move::Block(Obstacle::Rejected(key.clone(), code.clone()))],
            Current::NotListed => self.without_list(),
            Current::Broken(why) => self.replace(why),
            Current::Unread(problem) => vec![unreadable(ConditionType::CredentialsReady, problem)],
        }
    }

    /// The list of keys is needed, and not known.
    fn without_list(&self) -> Vec<Move> {
        match &self.list {
            List::Unreadable(problem) => vec![unreadable(ConditionType::CredentialsReady, problem)],
            List::NotAsked | List::Keys(_) => Vec::new(),
        }
    }

    /// The current key works, or is about to: the Secret is made right, replaced keys go, a rotation goes on.
    fn keep(&self, key: &KeyPair) -> Vec<Move> {
        let mut moves = vec![Move::WriteSecret(key.clone()), Move::DropEarlierSecrets];
        if self.rights_change || self.unproven {
            moves.push(Move::Prove(key.clone()));
        }
        let replaced = |id| Move::Delete { id, secret: None, because: Because::Replaced };
        moves.extend(self.replaced_by(key).into_iter().map(replaced));
        moves.extend(self.own_secret(key));
        moves.push(Move::Restart(key.clone()));
        moves.extend(self.previous.iter().flat_map(Previous::moves));
        moves.extend(match self.pending(key) {
            Some(moves) => moves,
            None => self.begin_rotation(key),
        });
        moves
    }

    /// Keys of ours that the current key replaced.
    fn replaced_by(&self, key: &KeyPair) -> Vec<String> {
        // The process may have ended after the Secret got its new key and before the status told of it. Not so in a rotation, or
        // where somebody set the Secret back to the previous key: then the other key has time yet.
        let back = self.previous.as_ref().is_some_and(|previous| previous.id == key.id);
        let interrupted = self.known_current.clone().filter(|_| self.interrupted && !back);
        let mut gone: Vec<_> = self.obsolete.iter().cloned().chain(interrupted).filter(|id| *id != key.id).collect();
        gone.sort();
        gone.dedup();
        gone
    }

    fn own_secret(&self, key: &KeyPair) -> Option<Move> {
        match &self.own_secret {
            Slot::None => None,
            Slot::Writable => Some(Move::WriteOwnSecret(key.clone())),
            Slot::Foreign(why) => Some(Move::Block(Obstacle::OwnSecretNotOwned(why.clone()))),
            Slot::Unreadable(problem) => Some(unreadable(ConditionType::CredentialsReady, problem)),
        }
    }

    /// A key is issued in place of one whose secret part is lost or wrong, or as the first; unless a pending one can take its place.
    fn replace(&self, why: &Why) -> Vec<Move> {
        let Some(listed) = self.list.keys() else { return self.without_list() };
        match &self.waiting {
            Waiting::Unreadable(problem) => return vec![unreadable(ConditionType::CredentialsReady, problem)],
            Waiting::Holds(_, Health::Unclear(problem)) => return vec![unreadable(ConditionType::CredentialsReady, problem)],
            Waiting::Holds(key, Health::Works | Health::Denied(_) | Health::Propagating) => {
                return vec![Move::Publish { key: key.clone(), proven: false }];
            }
            Waiting::NotLooked | Waiting::Foreign(_) | Waiting::Empty { .. } | Waiting::Published { .. } => {}
            Waiting::Holds(_, Health::Broken) => {}
        }
        let mut obsolete = self.of_no_use(listed);
        let mut left = self.without_orphan(listed);
        // A key whose secret part nobody has any more makes room; the others wait for the proof of the new one.
        let full = left.len().saturating_sub(MAX_KEYS - 1).min(obsolete.len());
        let room: Vec<_> = obsolete.drain(..full).collect();
        left.retain(|id| !room.contains(id));
        if left.len() < MAX_KEYS {
            return vec![self.issue(why.clone(), room, left, obsolete)];
        }
        let (ours, foreign): (Vec<_>, Vec<_>) = left.into_iter().partition(|id| self.owners.ours(id));
        vec![Move::Block(Obstacle::NoRoom { foreign, ours: ours.into_iter().next() })]
    }

    /// Keys of ours, among `listed`, that are of no use once there is a new one.
    fn of_no_use(&self, listed: &[AccessKey]) -> Vec<String> {
        let pending = self.noted.as_ref().and_then(|noted| noted.access_key_id.clone());
        let previous = self.previous.as_ref().filter(|previous| previous.over).map(|previous| previous.id.clone());
        // The Secret had got this key before the process ended, and has lost it since.
        let explained = self.owners.explained().filter(|_| self.orphan().is_none()).cloned();
        let all = self.obsolete.iter().cloned().chain(self.known_current.clone()).chain(pending).chain(previous).chain(explained);
        let mut gone: Vec<_> = all.filter(|id| listed.iter().any(|key| key.id == *id)).collect();
        gone.sort();
        gone.dedup();
        gone
    }

    fn without_orphan(&self, listed: &[AccessKey]) -> Vec<String> {
        listed.iter().map(|key| key.id.clone()).filter(|id| self.orphan() != Some(id)).collect()
    }

    fn issue(&self, why: Why, room: Vec<String>, known: Vec<String>, obsolete: Vec<String>) -> Move {
        Move::Issue(Issue { stage: Stage::Current, why, room, known, obsolete })
    }

    /// The list of keys, where it and the waiting Secret are known and that Secret may be written; else what keeps a rotation waiting.
    fn rotatable(&self) -> Result<&[AccessKey], Vec<Move>> {
        match &self.waiting {
            Waiting::NotLooked => Err(Vec::new()),
            Waiting::Unreadable(problem) => Err(vec![unreadable(ConditionType::RotationComplete, problem)]),
            Waiting::Foreign(why) => Err(vec![Move::Block(Obstacle::WaitingSecretNotOwned(why.clone()))]),
            Waiting::Empty { .. } | Waiting::Published { .. } | Waiting::Holds(..) => {
                self.list.keys().ok_or_else(|| self.without_list())
            }
        }
    }

    /// Goes on with the pending key that the status noted; `None` where there is none, or nothing is left of it.
    fn pending(&self, current: &KeyPair) -> Option<Vec<Move>> {
        let noted = self.noted.as_ref()?;
        let listed = match self.rotatable() {
            Ok(listed) => listed,
            Err(moves) => return Some(moves),
        };
        match &self.waiting {
            Waiting::Published { in_place: true } => Some(Vec::new()),
            Waiting::Published { in_place: false } => Some(vec![Move::DropSecret(noted.secret_name.clone())]),
            Waiting::Holds(key, Health::Works | Health::Propagating) => {
                Some(vec![Move::ProvePending(key.clone()), Move::Publish { key: key.clone(), proven: true }])
            }
            Waiting::Holds(key, Health::Denied(problem)) => {
                Some(vec![Move::Block(Obstacle::PendingDenied(key.clone(), problem.clone()))])
            }
            Waiting::Holds(_, Health::Unclear(problem)) => Some(vec![unreadable(ConditionType::RotationComplete, problem)]),
            waiting => {
                // The process may have ended before the id was noted; then the attempt explains the key that waits.
                let held = match waiting {
                    Waiting::Holds(key, _) => Some(&key.id),
                    _ => None,
                };
                let explained = self.owners.explained().filter(|id| held == Some(*id));
                let id = noted.access_key_id.as_ref().or(explained).filter(|id| **id != current.id);
                let id = id.filter(|id| listed.iter().any(|key| key.id == **id));
                let ours = held.is_some() || *waiting == Waiting::Empty { ours: true };
                let secret = ours.then(|| noted.secret_name.clone());
                match (id, secret) {
                    (Some(id), secret) => Some(vec![Move::Delete { id: id.clone(), secret, because: Because::NeverPublished }]),
                    (None, Some(secret)) => Some(vec![Move::DropSecret(secret)]),
                    (None, None) => None,
                }
            }
        }
    }

    /// Issues a pending key, if it is time.
    fn begin_rotation(&self, current: &KeyPair) -> Vec<Move> {
        // The status must know the current key first, so that it is ours whatever comes.
        let Some(rotation) = self.rotation.filter(|_| self.known_current.as_ref() == Some(&current.id)) else {
            return Vec::new();
        };
        let listed = match self.rotatable() {
            Ok(listed) => listed,
            Err(moves) => return moves,
        };
        let mut known = self.without_orphan(listed);
        let other = known.iter().find(|id| **id != current.id).cloned().filter(|_| known.len() >= MAX_KEYS);
        if let Some(other) = &other {
            if !self.makes_room(other, listed) {
                return self.no_room_beside(current, other);
            }
            known.retain(|id| id != other);
        } else if known.len() >= MAX_KEYS {
            return Vec::new();
        }
        let why = Why::Rotation(current.id.clone(), rotation);
        let room = other.into_iter().collect();
        vec![Move::Issue(Issue { stage: Stage::Pending, why, room, known, obsolete: Vec::new() })]
    }

    /// Whether `other` is the previous key, Inactive for so long that whoever used it since had time to take another. It goes no sooner
    /// than it would be deleted otherwise: until then it can be activated again.
    fn makes_room(&self, other: &str, listed: &[AccessKey]) -> bool {
        let inactive = listed.iter().any(|key| key.id == other && !key.active);
        inactive && self.previous.as_ref().is_some_and(|previous| previous.id == other && previous.settled)
    }

    fn no_room_beside(&self, current: &KeyPair, other: &String) -> Vec<Move> {
        // One that an earlier object left waiting is noted as the pending key at the end of this reconcile.
        let waits = matches!(&self.waiting, Waiting::Holds(key, Health::Works | Health::Denied(_)) if key.id == *other);
        if waits || self.owners.issued_here(other) {
            return Vec::new();
        }
        vec![Move::Block(Obstacle::NoRoomToRotate(current.id.clone(), other.clone()))]
    }
}

impl Previous {
    fn moves(&self) -> Option<Move> {
        let (id, secret) = (self.id.clone(), self.secret.clone());
        match &self.state {
            PreviousState::Rests => None,
            PreviousState::Gone => secret.map(Move::DropSecret),
            PreviousState::Due => Some(Move::Deactivate(id)),
            PreviousState::Unused => Some(Move::Delete { id, secret, because: Because::Unused }),
            PreviousState::Unreadable(problem) => Some(unreadable(ConditionType::RotationComplete, problem)),
        }
    }
}

impl Move {
    /// Whether it is part of a rotation: it handles the pending key, and the current one works meanwhile.
    pub fn rotates(&self) -> bool {
        matches!(
            self,
            Self::Issue(Issue { stage: Stage::Pending, .. }) | Self::ProvePending(_) | Self::Publish { proven: true, .. }
        )
    }

    /// The condition that tells about it. The current key works whatever becomes of a rotation.
    pub fn part(&self) -> ConditionType {
        match self {
            Self::Issue(Issue { stage: Stage::Pending, .. })
            | Self::ProvePending(_)
            | Self::Publish { proven: true, .. }
            | Self::Restart(_)
            | Self::Deactivate(_)
            | Self::DropSecret(_)
            | Self::Delete { because: Because::NeverPublished | Because::Unused, .. } => ConditionType::RotationComplete,
            Self::Block(Obstacle::Unreadable(part, _)) => *part,
            Self::Block(Obstacle::Denied(..) | Obstacle::Rejected(..)) | Self::Prove(_) => ConditionType::Verified,
            Self::Block(Obstacle::WaitingSecretNotOwned(_) | Obstacle::PendingDenied(..) | Obstacle::NoRoomToRotate(..)) => {
                ConditionType::RotationComplete
            }
            Self::Block(_)
            | Self::DeleteOrphan(_)
            | Self::WriteSecret(_)
            | Self::DropEarlierSecrets
            | Self::Activate(_)
            | Self::WriteOwnSecret(_)
            | Self::Issue(Issue { stage: Stage::Current, .. })
            | Self::Publish { proven: false, .. }
            | Self::Delete { because: Because::Replaced, .. } => ConditionType::CredentialsReady,
        }
    }
}
