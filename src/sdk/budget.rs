//! How many calls a second go to one account: a token bucket for each service, shared by all connections of the account.

use std::num::NonZeroU32;
use std::sync::Arc;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use crate::api::sign_in::Budget;
use crate::fair::{Caller, Turns, Urgency};

/// Seconds' worth of calls that may go out at once after a quiet time: a few hundred connections are created without waiting.
const BURST_SECONDS: u32 = 25;

/// The limits of one account.
pub(super) struct Limits {
    s3: Limit,
    iam: Limit,
}

/// One call at a time waits for the limiter, and namespaces take turns at that.
struct Limit {
    limiter: DefaultDirectRateLimiter,
    turns: Arc<Turns>,
}

impl Limits {
    pub(super) fn new(budget: Budget) -> Self {
        let limiter = |calls: u32| {
            let calls = NonZeroU32::new(calls).unwrap_or(NonZeroU32::MIN);
            let burst = calls.saturating_mul(NonZeroU32::new(BURST_SECONDS).unwrap_or(NonZeroU32::MIN));
            Limit { limiter: RateLimiter::direct(Quota::per_second(calls).allow_burst(burst)), turns: Turns::new(1) }
        };
        Self { s3: limiter(budget.s3), iam: limiter(budget.iam) }
    }

    /// Waits until a call of `action`, such as `s3:PutBucketCORS`, fits. STS has limits of its own far above.
    pub(super) async fn wait(&self, action: &str, caller: &Caller) {
        let limit = match action.split(':').next() {
            Some("s3") => &self.s3,
            Some("iam") => &self.iam,
            _ => return,
        };
        // An immediate call goes out at once, and is missing from the budget of those that come after it.
        if caller.urgency == Urgency::Immediate {
            let _ = limit.limiter.check();
            return;
        }
        // Turns are for those that must wait.
        if limit.turns.is_free() && limit.limiter.check().is_ok() {
            return;
        }
        let _turn = limit.turns.turn(caller, action).await;
        limit.limiter.until_ready().await;
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn an_immediate_call_waits_for_no_budget() {
        let limits = Limits::new(Budget { s3: 1, iam: 1 });
        let caller = |urgency| Caller { namespace: "a".into(), urgency };
        let goes_out = |urgency| limits.wait("iam:DeleteAccessKey", &caller(urgency)).now_or_never().is_some();
        for _ in 0..BURST_SECONDS {
            assert!(goes_out(Urgency::Routine));
        }
        assert!(!goes_out(Urgency::Routine) && !goes_out(Urgency::Prompt));
        assert!(goes_out(Urgency::Immediate));
    }
}
