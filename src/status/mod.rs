//! Last stage: folds the desired state, the observed state and the result of the plan into the object's status. Runs on every exit,
//! also after failures.
//!
//! Pure; `now` is an argument. Texts are stable, so a reconcile that observes the same as the last one writes nothing.

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
mod summary;
mod verdict;
mod written;

pub use account::{Finding, fold_account};
pub use conditions::{condition, is_true, set};
pub use deletion::deletion_trouble;
pub use fold::fold;
pub use intent::intend;
pub use notes::{Note, notes};
pub use record::record;
pub use revocation::pending as pending_revocation;
pub use rotation::{due, rotates};
pub use verdict::Verdict;

use jiff::Timestamp;

use crate::api::{BucketConnection, BucketConnectionStatus, SignIn};
use crate::desired::{Desired, SpecError};
use crate::execute::Report;
use crate::observed::{Observed, Remembered};
use crate::plan::{Blocker, Plan};
use crate::vocabulary::conditions::{ConditionType, Reason};

/// The status of a healthy object is written at least this often, so that a stopped operator is visible.
pub const HEARTBEAT_SECONDS: i64 = 3_600;

/// One reconcile of one object, up to the point that it reached.
pub struct Reconcile<'a> {
    /// The object, with the status at the start of the reconcile.
    pub object: &'a BucketConnection,
    /// The end of the reconcile.
    pub now: Timestamp,
    /// The point that it reached.
    pub stage: Stage<'a>,
}

/// The point that a reconcile reached.
pub enum Stage<'a> {
    /// `spec.suspend` is true.
    Suspended,
    /// The operator cannot execute the spec.
    Invalid(&'a [SpecError]),
    /// The account refuses the object, or the operator could not sign in to it: nothing was read.
    Refused(&'a Blocker),
    /// A revocation was requested: the operator did that, as far as possible, and nothing else.
    Revoking(&'a CutOff<'a>),
    /// The operator compared it with AWS, and executed the plan.
    Checked(Checked<'a>),
    /// The object is being deleted, and something blocks that: this, or the rest of the plan.
    Deleting(&'a Plan, &'a Report),
}

/// A revocation, as far as it was executed.
pub struct CutOff<'a> {
    /// Name of the user.
    pub user: &'a str,
    /// The plan.
    pub plan: &'a Plan,
    /// The results of its steps.
    pub report: &'a Report,
    /// Ids of foreign keys on the user: they stay.
    pub foreign: &'a [String],
}

/// A reconcile that reached its end.
#[derive(Clone, Copy)]
pub struct Checked<'a> {
    /// When the operator began to observe. The plan was made for this time: what became due since is for the next
    /// reconcile.
    pub began: Timestamp,
    /// How the operator signed in to the account.
    pub sign_in: &'a SignIn,
    /// The desired state.
    pub desired: &'a Desired,
    /// The observed state.
    pub observed: &'a Observed,
    /// The recorded state.
    pub remembered: &'a Remembered,
    /// The plan.
    pub plan: &'a Plan,
    /// The results of its steps.
    pub report: &'a Report,
}

/// The status of an object that cannot be read, before and after a reconcile that found `text`: nothing else in it
/// changes.
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

/// Whether to write `new` over `old`: something other than the time of the reconcile differs, or a write is due.
pub fn worth_writing(old: &BucketConnectionStatus, new: &BucketConnectionStatus, now: Timestamp) -> bool {
    let last = old.last_checked_at.as_ref().map(|time| time.0.as_second());
    let mut same_time = new.clone();
    same_time.last_checked_at = old.last_checked_at.clone();
    // That a single earlier write was effective is not news: the next write of the status drops it.
    if new.ineffective_writes.is_empty() && old.ineffective_writes.iter().all(|repeat| repeat.count == 1) {
        same_time.ineffective_writes = old.ineffective_writes.clone();
    }
    same_time != *old || last.is_none_or(|last| now.as_second() - last >= HEARTBEAT_SECONDS)
}

#[cfg(test)]
mod tests;
