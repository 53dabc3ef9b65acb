//! Clocks: AWS refuses requests that are signed with another time.

use jiff::{SignedDuration, Timestamp};

use super::Finding;
use crate::render::age::duration;

/// The largest difference that AWS accepts: five minutes for IAM and STS, fifteen for S3
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html>).
pub const LARGEST_SKEW: SignedDuration = SignedDuration::from_mins(5);
/// Smaller differences are the time that an answer takes.
const WORTH_KNOWING: SignedDuration = SignedDuration::from_secs(60);

/// Compares the clock of `server`, which said `there`, with this machine's, which said `here` when the answer arrived.
pub fn clock(server: &str, there: Option<Timestamp>, here: Timestamp) -> Finding {
    let about = format!("clock of {server}");
    let Some(there) = there else { return Finding::not_checked("clock", about, "no answer with a Date") };
    let skew = there.duration_since(here);
    let direction = if skew.is_negative() { "ahead of" } else { "behind" };
    let text = format!("this machine's clock is {} {direction} it", duration(skew.abs()));
    if skew.abs() <= WORTH_KNOWING {
        return Finding::ok("clock", about, "within a minute of this machine's clock");
    }
    let act = "Set the clock of this machine, and check that of the operator's nodes (NTP)";
    if skew.abs() <= LARGEST_SKEW {
        return Finding::note("clock", about, text).and(act);
    }
    Finding::wrong("clock", about, format!("{text}: AWS accepts at most 5m"), act)
}
