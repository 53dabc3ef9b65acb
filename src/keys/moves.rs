//! The key machine: decides the next moves in one place, from the ring alone.

use super::ring::{Current, Health, Hold, List, Previous, PreviousState, Ring, Slot, Waiting, Why};
use crate::credentials::KeyPair;
use crate::observed::AccessKey;
use crate::vocabulary::conditions::ConditionType;
use crate::vocabulary::problem::Problem;

/// Access keys that a user may have, including Inactive ones
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>).
pub const MAX_KEYS: usize = 2;

/// One change to the keys. The moves of a plan are in the order of their dependencies.
#[derive(Clone, Debug, PartialEq)]
pub enum Move {
    /// Leave something as it is, and report why.
    Block(Obstacle),
    /// Delete a lost key that an interrupted attempt issued.
    DeleteOrphan(String),
    /// Write this key to the Secret, or repair its contents.
    WriteSecret(KeyPair),
    /// Delete the Secrets with earlier names.
    DropEarlierSecrets,
    /// Activate the current key.
    Activate(String),
    /// Verify the current key fully.
    Prove(KeyPair),
    /// Write the current key's own Secret, or repair its contents.
    WriteOwnSecret(KeyPair),
    /// Restart the workloads that do not use this key yet.
    Restart(KeyPair),
    /// Issue a key.
    Issue(Issue),
    /// Verify the pending key fully, before any consumer reads it.
    ProvePending(KeyPair),
    /// Write the pending key to the Secret.
    Publish {
        /// The key.
        key: KeyPair,
        /// Whether this plan verifies it first.
        proven: bool,
    },
    /// Deactivate a key, which can be reversed.
    Deactivate(String),
    /// Delete a key and its own Secret.
    Delete {
        /// Its id.
        id: String,
        /// Name of its own Secret.
        secret: Option<String>,
        /// Why it is no longer needed.
        because: Because,
    },
    /// Delete a Secret that no longer holds a pending key.
    DropSecret(String),
}

/// A key to issue.
#[derive(Clone, Debug, PartialEq)]
pub struct Issue {
    /// Where the key is written.
    pub stage: Stage,
    /// The cause.
    pub why: Why,
    /// Keys to delete first, to make room.
    pub room: Vec<String>,
    /// Keys that the user has at that point.
    pub known: Vec<String>,
    /// Managed keys to delete once the new key is verified.
    pub obsolete: Vec<String>,
}

/// Where a new key is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// To the Secret: no key works.
    Current,
    /// To a Secret of its own, until it is verified.
    Pending,
}

/// Why a key is no longer needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// Another key replaced it; that key is verified first.
    Replaced,
    /// It is pending and does not work, and no consumer has read it.
    NeverPublished,
    /// Its overlap is over, and it was not used since it was replaced.
    Unused,
}

/// What blocks the machine.
#[derive(Clone, Debug, PartialEq)]
pub enum Obstacle {
    /// Something could not be read; the condition that reports it.
    Unreadable(ConditionType, Problem),
    /// The Secret is foreign: why.
    SecretNotOwned(String),
    /// The current key's own Secret is foreign: why.
    OwnSecretNotOwned(String),
    /// The Secret for the pending key is foreign: why.
    WaitingSecretNotOwned(String),
    /// Keys are left as they are.
    Hold(Hold),
    /// AWS denies the current key what its policy allows.
    Denied(KeyPair, Problem),
    /// AWS denies the pending key what its policy allows.
    PendingDenied(KeyPair, Problem),
    /// IAM lists the key as active, but S3 rejects it with this code.
    Rejected(KeyPair, String),
    /// The user has the most keys that AWS allows, including these foreign keys and this managed key.
    NoRoom {
        /// Foreign keys.
        foreign: Vec<String>,
        /// A managed key whose overlap is not over.
        ours: Option<String>,
    },
    /// The current key, first, cannot be rotated because this foreign key takes the second place.
    NoRoomToRotate(String, String),
}

/// The next moves. No move is planned twice, and an empty list means that nothing is left to do.
pub fn next_moves(ring: &Ring) -> Vec<Move> {
    match (&ring.secret, &ring.hold) {
        (Slot::None, _) => Vec::new(),
        (Slot::Unreadable(problem), _) => vec![unreadable(ConditionType::CredentialsReady, problem)],
        (Slot::Foreign(why), _) => vec![Move::Block(Obstacle::SecretNotOwned(why.clone()))],
        (Slot::Writable, Err(problem)) => vec![unreadable(ConditionType::CredentialsReady, problem)],
        (Slot::Writable, Ok(Some(hold))) => vec![Move::Block(Obstacle::Hold(hold.clone()))],
        (Slot::Writable, Ok(None)) => {
            let orphan = ring.orphan().cloned().map(Move::DeleteOrphan);
            orphan.into_iter().chain(ring.of_current()).collect()
        }
    }
}

fn unreadable(part: ConditionType, problem: &Problem) -> Move {
    Move::Block(Obstacle::Unreadable(part, problem.clone()))
}

impl Ring {
    /// The lost key that an interrupted attempt issued.
    fn orphan(&self) -> Option<&String> {
        self.owners.orphan().filter(|_| self.current != Current::NewUser)
    }

    /// The first table of `mod.rs`.
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
            // The Secret is not written: this copy of the key is not verified, and the Secret may hold another key that
            // is right.
            Current::Inactive(key) => vec![Move::Activate(key.id.clone()), Move::Prove(key.clone())],
            Current::Rejected(key, code) => vec![Move::Block(Obstacle::Rejected(key.clone(), code.clone()))],
            Current::NotListed => self.without_list(ConditionType::CredentialsReady),
            Current::Broken(why) => self.replace(why),
            Current::Unread(problem) => vec![unreadable(ConditionType::CredentialsReady, problem)],
        }
    }

    /// The list of keys is needed for `part`, but not known.
    fn without_list(&self, part: ConditionType) -> Vec<Move> {
        match &self.list {
            List::Unreadable(problem) => vec![unreadable(part, problem)],
            List::NotAsked | List::Keys(_) => Vec::new(),
        }
    }

    /// The current key works, or will with the new policy: write the Secret, delete replaced keys, continue a rotation.
    fn keep(&self, key: &KeyPair) -> Vec<Move> {
        let mut moves = vec![Move::WriteSecret(key.clone()), Move::DropEarlierSecrets];
        if self.rights_change || self.unproven {
            moves.push(Move::Prove(key.clone()));
        }
        let replaced = |id| Move::Delete { id, secret: None, because: Because::Replaced };
        moves.extend(self.replaced_by(key).into_iter().map(replaced));
        moves.extend(self.own_secret(key));
        moves.push(Move::Restart(key.clone()));
        let previous = self.previous.iter().filter(|previous| previous.id != key.id);
        moves.extend(previous.flat_map(Previous::moves));
        moves.extend(match self.pending(key) {
            Some(moves) => moves,
            None => self.begin_rotation(key),
        });
        moves
    }

    /// Managed keys that the current key replaced.
    fn replaced_by(&self, key: &KeyPair) -> Vec<String> {
        // The operator may have crashed after it wrote the new key to the Secret and before it wrote the status. Except
        // in a rotation, or if the Secret was set back to the previous key: then the other key keeps its time.
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

    /// Issues a key to replace one whose secret part is lost or wrong, or as the first key; unless a pending key can
    /// replace it.
    fn replace(&self, why: &Why) -> Vec<Move> {
        let Some(listed) = self.list.keys() else { return self.without_list(ConditionType::CredentialsReady) };
        match &self.waiting {
            Waiting::Unreadable(problem) => return vec![unreadable(ConditionType::CredentialsReady, problem)],
            Waiting::Holds(_, Health::Unclear(problem)) => return vec![unreadable(ConditionType::CredentialsReady, problem)],
            Waiting::Holds(key, Health::Works | Health::Denied(_) | Health::Propagating) => {
                return vec![Move::Publish { key: key.clone(), proven: false }];
            }
            Waiting::NotRead | Waiting::Foreign(_) | Waiting::Empty { .. } | Waiting::Published { .. } => {}
            Waiting::Holds(_, Health::Broken) => {}
        }
        let mut left = self.without_orphan(listed);
        // A lost key makes room; the others are deleted after the new key is verified. A key that only S3 refuses may
        // not be lost: a proxy that changes requests breaks signatures, too.
        let lost = |id: &String| *why != Why::WrongSecret(id.clone()) || !is_active(listed, id);
        let (mut obsolete, may_work): (Vec<_>, Vec<_>) = self.of_no_use(listed).into_iter().partition(lost);
        let full = left.len().saturating_sub(MAX_KEYS - 1).min(obsolete.len());
        let room: Vec<_> = obsolete.drain(..full).collect();
        obsolete.extend(may_work);
        left.retain(|id| !room.contains(id));
        if left.len() < MAX_KEYS {
            return vec![self.issue(why.clone(), room, left, obsolete)];
        }
        let (ours, foreign): (Vec<_>, Vec<_>) = left.into_iter().partition(|id| self.owners.ours(id));
        vec![Move::Block(Obstacle::NoRoom { foreign, ours: ours.into_iter().next() })]
    }

    /// Managed keys among `listed` that are useless once there is a new key.
    fn of_no_use(&self, listed: &[AccessKey]) -> Vec<String> {
        let pending = self.noted.as_ref().and_then(|noted| noted.access_key_id.clone());
        let previous = self.previous.as_ref().filter(|previous| previous.over).map(|previous| previous.id.clone());
        // The Secret held this key before the operator crashed, and has lost it since.
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

    /// The list of keys, if it and the waiting Secret are known and that Secret may be written; otherwise the moves
    /// that report what blocks a rotation.
    fn rotatable(&self) -> Result<&[AccessKey], Vec<Move>> {
        match &self.waiting {
            Waiting::NotRead => Err(Vec::new()),
            Waiting::Unreadable(problem) => Err(vec![unreadable(ConditionType::RotationComplete, problem)]),
            Waiting::Foreign(why) => Err(vec![Move::Block(Obstacle::WaitingSecretNotOwned(why.clone()))]),
            Waiting::Empty { .. } | Waiting::Published { .. } | Waiting::Holds(..) => {
                self.list.keys().ok_or_else(|| self.without_list(ConditionType::RotationComplete))
            }
        }
    }

    /// Continues with the pending key that the status records; `None` if there is none, or nothing is left of it.
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
                // The operator may have crashed before it recorded the id; then the attempt explains the key that
                // waits.
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

    /// Issues a pending key if it is due.
    fn begin_rotation(&self, current: &KeyPair) -> Vec<Move> {
        // The status must record the current key first, so that it stays managed whatever happens next.
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

    /// Whether `other` is the previous key and has been Inactive long enough that a consumer which still used it had
    /// time to switch. It is deleted no sooner than without a rotation: until then it can be activated again.
    fn makes_room(&self, other: &str, listed: &[AccessKey]) -> bool {
        !is_active(listed, other) && self.previous.as_ref().is_some_and(|previous| previous.id == other && previous.settled)
    }

    fn no_room_beside(&self, current: &KeyPair, other: &String) -> Vec<Move> {
        // A key that an earlier object left waiting is recorded as the pending key at the end of this reconcile.
        let waits = matches!(&self.waiting, Waiting::Holds(key, Health::Works | Health::Denied(_)) if key.id == *other);
        if waits || self.owners.issued_here(other) {
            return Vec::new();
        }
        vec![Move::Block(Obstacle::NoRoomToRotate(current.id.clone(), other.clone()))]
    }
}

fn is_active(listed: &[AccessKey], id: &str) -> bool {
    listed.iter().any(|key| key.id == id && key.active)
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
    /// Whether the move is part of a rotation: it handles the pending key, while the current one works.
    pub fn rotates(&self) -> bool {
        matches!(
            self,
            Self::Issue(Issue { stage: Stage::Pending, .. }) | Self::ProvePending(_) | Self::Publish { proven: true, .. }
        )
    }

    /// The condition that reports the move. The current key works whatever the result of a rotation is.
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
