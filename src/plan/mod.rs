//! Second stage: the steps from the observed to the desired state.
//!
//! Pure, and so specific that execution has nothing left to decide. An empty plan means "in sync". The `plan` subcommand prints the
//! same value that the controller executes. Rules (docs/decisions/0003-ownership.md): the operator changes nothing foreign; it
//! gives no permission and issues no key before the bucket is known to be managed; a failed verification deletes nothing.

mod access;
mod adoption;
pub mod breaker;
mod bucket;
pub mod deletion;
mod existing;
mod keys;
mod modes;
mod planner;
mod policy;
pub mod revocation;
mod step;
mod user;

use jiff::Timestamp;

use crate::api::ManagementMode;
use crate::desired::Desired;
use crate::observed::{Observed, Remembered};
pub use adoption::Adoption;
use planner::{Planner, of_earlier_namespace, presence_diff, tag_changes};
pub use step::{Action, Blocker, Plan, Step};

/// Plans the steps from `observed` to `desired`. `now` only distinguishes a new key from an older one, and decides when to try an
/// ineffective write again.
pub fn plan(desired: &Desired, observed: &Observed, remembered: &Remembered, now: Timestamp) -> Plan {
    let ineffective = breaker::ineffective(remembered, now);
    let (place, wanted) = (desired.place(), desired.fingerprints());
    let mut planner = Planner { ineffective, place, wanted, ..Planner::new(remembered) };
    planner.plan.hands_off = desired.management.hands_off();
    let bucket = bucket::plan(&mut planner, desired, observed);
    match desired.identity.user_provided() {
        Some(secret) => existing::plan(&mut planner, desired, observed, secret, bucket.as_slice()),
        None => identity(&mut planner, desired, observed, now, bucket),
    }
    if planner.plan.hands_off && !planner.foreign {
        // Observing changes nothing, but the plan shows nothing of what belongs to another connection.
        planner.frozen = false;
    }
    if planner.frozen {
        planner.plan.steps.clear();
        planner.plan.ineffective.clear();
        if planner.withdraws && desired.identity.is_managed() {
            policy::withdraw(&mut planner, desired, observed);
        }
        return planner.conclude();
    }
    modes::apply_modes(&mut planner.plan, &desired.management);
    adoption::require_approval(&mut planner, desired);
    planner.finish()
}

/// Plans the user, its policy, its key, the Secret and the access to it.
fn identity(planner: &mut Planner<'_>, desired: &Desired, observed: &Observed, now: Timestamp, bucket: Option<usize>) {
    let user = user::plan(planner, desired, observed);
    // A tenant that can name a bucket in the spec must get no permission on it, and no key, before the bucket is known
    // to be managed.
    let base: Vec<usize> = [bucket, user].into_iter().flatten().collect();
    let granted = policy::plan(planner, desired, observed, user.is_some(), &base);
    // The plan does not wait for what is not enforced.
    let granted = if desired.management.of("policy") == ManagementMode::Enforce { granted } else { Vec::new() };
    keys::plan(planner, desired, observed, now, &keys::Before { new_user: user.is_some(), base, granted });
    access::plan(planner, desired, observed);
}
