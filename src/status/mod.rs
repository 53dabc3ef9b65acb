//! Last stage: folds what was wanted, found and done into the object's status. Runs on every exit, failures included.
//!
//! Pure; `now` is an argument. Texts are stable, so a check that finds what the last one found writes nothing.

mod conditions;
mod intent;
mod parts;
mod pass;

pub use conditions::{condition, is_true, set};
pub use intent::intend;
pub use parts::Verdict;
pub use pass::{Checked, Pass, Stage, fold};

use jiff::Timestamp;

use crate::api::BucketConnectionStatus;

/// A healthy object's status is written at least this often, so that a dead operator shows.
pub const HEARTBEAT_SECONDS: i64 = 3_600;

/// Whether `new` should be written over `old`: something but the time of the check differs, or that is due.
pub fn worth_writing(old: &BucketConnectionStatus, new: &BucketConnectionStatus, now: Timestamp) -> bool {
    let last = old.last_checked_at.as_ref().map(|time| time.0.as_second());
    let mut same_time = new.clone();
    same_time.last_checked_at = old.last_checked_at.clone();
    same_time != *old || last.is_none_or(|last| now.as_second() - last >= HEARTBEAT_SECONDS)
}

#[cfg(test)]
mod tests;
