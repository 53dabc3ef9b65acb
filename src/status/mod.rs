//! Last stage: folds what was wanted, found and done into the object's status. Runs on every exit, failures included.
//!
//! Pure; `now` is an argument. Texts are stable, so a check that finds what the last one found writes nothing.

mod access;
mod account;
mod capabilities;
mod conditions;
mod credentials;
mod deletion;
mod denials;
mod existing;
mod fold;
mod ineffective;
mod intent;
mod notes;
mod parts;
mod record;
mod revocation;
mod rotation;
mod silence;
mod written;

pub use account::{Finding, fold_account};
pub use conditions::{condition, find, is_true, set};
pub use deletion::deletion_trouble;
pub use fold::fold;
pub use intent::intend;
pub use notes::{Note, notes};
pub use parts::Verdict;
pub use record::record;
pub use revocation::pending as pending_revocation;
pub use rotation::{due, rotates};

use jiff::Timestamp;

use crate::api::conditions::{ConditionType, Reason};
use crate::api::{BucketConnection, BucketConnectionStatus, SignIn};
use crate::desired::{Desired, SpecError};
use crate::execute::Report;
use crate::observed::{Observed, Remembered};
use crate::plan::{Blocker, Plan};

/// A healthy object's status is written at least this often, so that a dead operator shows.
pub const HEARTBEAT_SECONDS: i64 = 3_600;

/// One pass over one object, as far as it came.
pub struct Pass<'a> {
    /// The object, with the status that the pass began with.
    pub object: &'a BucketConnection,
    /// The end of the pass.
    pub now: Timestamp,
    /// How far it came.
    pub stage: Stage<'a>,
}

/// How far a pass came.
pub enum Stage<'a> {
    /// `spec.suspend` is true.
    Suspended,
    /// The spec cannot be carried out.
    Invalid(&'a [SpecError]),
    /// It may not have what it asks for, or the operator could not sign in to its account: nothing was looked at.
    Refused(&'a Blocker),
    /// A revocation was asked for: it was carried out, or as much of it as could be, and nothing else.
    Revoking(&'a CutOff<'a>),
    /// It was compared with AWS, and the plan executed.
    Checked(Checked<'a>),
    /// It is being deleted and something stands in the way: these, or what is left of the plan.
    Deleting(&'a Plan, &'a Report),
}

/// A revocation, as far as it came.
pub struct CutOff<'a> {
    /// Name of the user.
    pub user: &'a str,
    /// What was to be done.
    pub plan: &'a Plan,
    /// What was done.
    pub report: &'a Report,
    /// Ids of keys on the user that are not ours: they stay.
    pub foreign: &'a [String],
}

/// A pass that came to its end.
#[derive(Clone, Copy)]
pub struct Checked<'a> {
    /// How the operator signed in to the account.
    pub sign_in: &'a SignIn,
    /// What was wanted.
    pub desired: &'a Desired,
    /// What was there.
    pub observed: &'a Observed,
    /// What earlier passes knew.
    pub remembered: &'a Remembered,
    /// What was to be done.
    pub plan: &'a Plan,
    /// What was done.
    pub report: &'a Report,
}

/// What the status says of an object that cannot be read, before and after a reconcile that found `text`: nothing else in it changes.
pub fn unreadable(object: &BucketConnection, text: &str, now: Timestamp) -> (BucketConnectionStatus, BucketConnectionStatus) {
    const TOLD: [(ConditionType, bool); 3] =
        [(ConditionType::Ready, false), (ConditionType::Stalled, true), (ConditionType::Reconciling, false)];
    let status = object.status.clone().unwrap_or_default();
    let told = |kind: &str| TOLD.iter().any(|(told, _)| told.to_string() == kind);
    let conditions = status.conditions.into_iter().filter(|condition| told(&condition.type_)).collect();
    let before = BucketConnectionStatus {
        observed_generation: status.observed_generation,
        conditions,
        ..BucketConnectionStatus::default()
    };
    let generation = object.metadata.generation;
    let mut after = BucketConnectionStatus { observed_generation: generation, ..before.clone() };
    for (kind, value) in TOLD {
        set(&mut after.conditions, generation, now, kind, Some(value), Reason::InvalidSpec, text);
    }
    (before, after)
}

/// Whether `new` should be written over `old`: something but the time of the check differs, or that is due.
pub fn worth_writing(old: &BucketConnectionStatus, new: &BucketConnectionStatus, now: Timestamp) -> bool {
    let last = old.last_checked_at.as_ref().map(|time| time.0.as_second());
    let mut same_time = new.clone();
    same_time.last_checked_at = old.last_checked_at.clone();
    // That the one write before took is no news: it is forgotten with the next ones.
    if new.ineffective_writes.is_empty() && old.ineffective_writes.iter().all(|repeat| repeat.count == 1) {
        same_time.ineffective_writes = old.ineffective_writes.clone();
    }
    same_time != *old || last.is_none_or(|last| now.as_second() - last >= HEARTBEAT_SECONDS)
}

#[cfg(test)]
mod tests;
