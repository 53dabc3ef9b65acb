//! The access keys of a connection: one state machine. [`Ring`] says who is who, [`next_moves`] what is done next. `plan/keys.rs` turns
//! moves into steps, `status/credentials.rs` notes what became of them.
//!
//! The tables say which moves each state leads to; `tests.rs` reads them and compares them with the code.
//!
//! The key in the Secret, by [`Current`]:
//!
//! | state | moves | in words |
//! |---|---|---|
//! | `NewUser` | `Issue` | issue the first key |
//! | `Works` | `WriteSecret` `DropEarlierSecrets` `Restart` | write the Secret if its data differ, restart workloads with an older key; then the tables below |
//! | `Works`, unproven | `WriteSecret` `DropEarlierSecrets` `Prove` `Restart` | and make a full proof |
//! | `Denied` | `Block` `WriteSecret` | say who may deny it |
//! | `Denied`, rights change | `WriteSecret` `DropEarlierSecrets` `Prove` `Restart` | as a key that works, and prove it once the policy is right |
//! | `Unclear` | `Block` | try again later |
//! | `Propagating` | `Prove` | wait for it: it is new |
//! | `Inactive` | `Activate` `Prove` | activate it |
//! | `Rejected` | `Block` | try again later: IAM and S3 disagree |
//! | `NotListed` | | try again later: the list of keys would tell |
//! | `Broken` | `Issue` | issue another key, prove it, delete those that it replaces |
//! | `Broken`, pending key | `Publish` | publish the pending key |
//! | `Unread` | `Block` | try again later: a Secret that cannot be read may hold the key |
//!
//! The pending key, by [`Waiting`], while the current key works:
//!
//! | state | moves | in words |
//! |---|---|---|
//! | none, rotation due | `Issue` | issue it into a Secret of its own, prove it, publish it |
//! | `Holds`, works | `ProvePending` `Publish` | prove it, publish it |
//! | `Holds`, propagating | `ProvePending` `Publish` | the same, with patience |
//! | `Holds`, denied | `Block` | say so |
//! | `Holds`, broken | `Delete` | delete it and its Secret: nobody has read it |
//! | `Empty` | `Delete` | delete it: its secret part is lost, and nobody has read it |
//! | `Published` | `DropSecret` | delete the Secret in which it waited |
//! | `Foreign` | `Block` | say whose Secret that is |
//! | `Unreadable` | `Block` | try again later |
//!
//! The previous key, by [`PreviousState`], while the current key works:
//!
//! | state | moves | in words |
//! |---|---|---|
//! | `Rests` | | its overlap is not over, it was used since, or somebody activated it again |
//! | `Due` | `Deactivate` | make it Inactive, which can be undone |
//! | `Unused` | `Delete` | delete it |
//! | `Gone` | `DropSecret` | delete the Secret that it had for itself |
//! | `Unreadable` | `Block` | try again later |
//!
//! Before all of these: a Secret of somebody else is never written, and a user on hold or in quarantine keeps its keys as they are. A
//! key that a broken attempt issued, and that nobody has, is deleted.
//!
//! Laws, which `tests.rs` checks in every state: a user never has more than two keys; no key that works is deleted unless its time is
//! over; no foreign key is touched; a failed proof alone deletes nothing; from every state, repeated moves come to rest.
//!
//! Why no key is lost: before a key is issued, the status notes the attempt with all keys that the user has. A key that appears beside
//! them while the attempt may be carried out is the one that was issued: either a Secret of ours holds it, or nobody ever saw it.

mod moves;
mod owners;
mod reasons;
mod ring;
#[cfg(test)]
mod tests;

use jiff::{SignedDuration, Timestamp};

use crate::desired::Desired;
use crate::observed::{Remembered, Secret};

pub use moves::{Because, Issue, MAX_KEYS, Move, Obstacle, Stage, next_moves};
pub use owners::Owners;
pub use ring::{Current, Health, Hold, List, Previous, PreviousState, Ring, Rotation, Slot, Waiting, Why};

/// How long issuing a key takes at most: the steps before it, the timeout of the call, and the attempts to write the Secret.
pub const ATTEMPT: SignedDuration = SignedDuration::from_mins(5);

/// Name of the Secret in which the pending key waits, or is to wait because the key in `secret` is due.
pub fn waiting_secret(desired: &Desired, remembered: &Remembered, secret: &Secret, now: Timestamp) -> Option<String> {
    if let Some(noted) = &remembered.credentials.pending {
        return Some(noted.secret_name.clone());
    }
    let created = remembered.key_created_at(secret);
    let due = |id: &str| created.and_then(|created| desired.rotation.next(id, created)).is_some_and(|at| now >= at);
    let begins = remembered.rotate || secret.keys().iter().any(|key| due(&key.id));
    begins.then(|| desired.secret.pending(remembered.number(secret)))
}
