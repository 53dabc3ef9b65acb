//! The access keys of a connection: one state machine. [`Ring`] assigns the roles of the keys, [`next_moves`] decides
//! what to do next. `plan/keys.rs` turns moves into steps, `status/credentials.rs` records their results.
//!
//! The tables show which moves each state leads to; `tests.rs` reads them and compares them with the code.
//!
//! The key in the Secret, by [`Current`]:
//!
//! | state | moves | in words |
//! |---|---|---|
//! | `NewUser` | `Issue` | issue the first key |
//! | `Works` | `WriteSecret` `DropEarlierSecrets` `Restart` | write the Secret if its data differ, restart workloads with an older key; then the tables below apply |
//! | `Works`, unproven | `WriteSecret` `DropEarlierSecrets` `Prove` `Restart` | also verify the key fully |
//! | `Denied` | `Block` `WriteSecret` | report what may deny it |
//! | `Denied`, rights change | `WriteSecret` `DropEarlierSecrets` `Prove` `Restart` | as for a working key, then verify it once the policy is right |
//! | `Unclear` | `Block` | try again later |
//! | `Propagating` | `Prove` | wait until it works: it is new |
//! | `Inactive` | `Activate` `Prove` | activate it |
//! | `Rejected` | `Block` | try again later: IAM and S3 disagree |
//! | `NotListed` | | try again later: the decision needs the list of keys |
//! | `Broken` | `Issue` | issue another key, verify it, delete those that it replaces |
//! | `Broken`, pending key | `Publish` | publish the pending key |
//! | `Unread` | `Block` | try again later: a Secret that cannot be read may hold the key |
//!
//! The pending key, by [`Waiting`], while the current key works:
//!
//! | state | moves | in words |
//! |---|---|---|
//! | none, rotation due | `Issue` | issue it into a Secret of its own, verify it, publish it |
//! | `Holds`, works | `ProvePending` `Publish` | verify it, publish it |
//! | `Holds`, propagating | `ProvePending` `Publish` | the same, with retries |
//! | `Holds`, denied | `Block` | report it |
//! | `Holds`, unclear | `Block` | try again later |
//! | `Holds`, broken | `Delete` | delete it and its Secret: no consumer has read it |
//! | `Empty` | `Delete` | delete it: it is lost, and no consumer has read it |
//! | `Published`, false | `DropSecret` | delete the Secret that held it |
//! | `Published`, true | | that Secret is now the Secret itself, or the key's own |
//! | `Foreign` | `Block` | report that the Secret is foreign |
//! | `Unreadable` | `Block` | try again later |
//!
//! The previous key, by [`PreviousState`], while the current key works:
//!
//! | state | moves | in words |
//! |---|---|---|
//! | `Rests` | | its overlap is not over, it was used since, or someone activated it again |
//! | `Due` | `Deactivate` | deactivate it, which can be reversed |
//! | `Unused` | `Delete` | delete it |
//! | `Gone` | `DropSecret` | delete its own Secret |
//! | `Unreadable` | `Block` | try again later |
//!
//! Before all of these: a foreign Secret is never written, and the keys of a user on hold or in quarantine, or of one
//! that cannot be read, are not changed. A lost key that an interrupted attempt issued is deleted.
//!
//! Laws, which `tests.rs` checks in every state: a user never has more than two keys; no working key is deleted before
//! its overlap is over; no foreign key is changed; a failed verification alone deletes nothing before another key is verified; from every state,
//! repeated moves come to rest.
//!
//! Why every issued key is accounted for: before the operator issues a key, the status records the attempt with all keys that the user has.
//! A key that appears next to them while the attempt may still be executed is the issued key: either a managed Secret
//! holds it, or no one ever saw it.

mod moves;
mod owners;
mod reasons;
mod ring;
// The laws hold for every state, which takes long to test: they run in the pure build only.
#[cfg(all(test, not(feature = "operator")))]
mod tests;

use jiff::{SignedDuration, Timestamp};

use crate::desired::Desired;
use crate::observed::{Remembered, Secret};

pub use moves::{Because, Issue, MAX_KEYS, Move, Obstacle, Stage, next_moves};
pub use owners::Owners;
pub use ring::{Current, Health, Hold, List, Previous, PreviousState, Ring, Rotation, Slot, Waiting, Why};

/// The most time that issuing a key takes: the steps before it, the timeout of the call, and the attempts to write the
/// Secret.
pub const ATTEMPT: SignedDuration = SignedDuration::from_mins(5);

/// Name of the Secret that holds the pending key, or will hold it because the key in `secret` is due.
pub fn waiting_secret(desired: &Desired, remembered: &Remembered, secret: &Secret, now: Timestamp) -> Option<String> {
    if let Some(noted) = &remembered.credentials.pending {
        return Some(noted.secret_name.clone());
    }
    let created = remembered.key_created_at(secret);
    let due = |id: &str| created.and_then(|created| desired.rotation.next(id, created)).is_some_and(|at| now >= at);
    let begins = remembered.rotate || secret.keys().iter().any(|key| due(&key.id));
    begins.then(|| desired.secret.pending(remembered.number(secret)))
}
