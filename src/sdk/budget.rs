//! The rate limits of calls to one account: a token bucket for each service, shared by all connections of the account.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Instant;

use governor::clock::DefaultClock;
use governor::state::keyed::HashMapStateStore;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use crate::fair::{Caller, Turns, Urgency};
use crate::telemetry::meters;
use crate::vocabulary::sign_in::Budget;

/// The burst after an idle time, in seconds' worth of calls: a few hundred connections are created without waiting.
const BURST_SECONDS: u32 = 25;

/// The limits of one account.
pub(super) struct Limits {
    s3: Limit,
    iam: Limit,
}

/// Immediate calls of a namespace in a burst, and then one more each second: revocations of dozens of keys. Further
/// calls wait for a turn, since a namespace could otherwise use up the limits of the account.
const IMMEDIATE: NonZeroU32 = NonZeroU32::new(200).unwrap();
/// Namespaces whose immediate calls are recorded, before those that made none recently are forgotten.
const REMEMBERED: usize = 1_000;

/// One call at a time waits for the limiter, and namespaces take turns to wait.
struct Limit {
    limiter: DefaultDirectRateLimiter,
    turns: Arc<Turns>,
    immediate: RateLimiter<String, HashMapStateStore<String>, DefaultClock>,
}

impl Limits {
    pub(super) fn new(budget: Budget) -> Self {
        let limiter = |calls: u32| {
            let calls = NonZeroU32::new(calls).unwrap_or(NonZeroU32::MIN);
            let burst = calls.saturating_mul(NonZeroU32::new(BURST_SECONDS).unwrap_or(NonZeroU32::MIN));
            Limit {
                limiter: RateLimiter::direct(Quota::per_second(calls).allow_burst(burst)),
                turns: Turns::new(1),
                immediate: RateLimiter::hashmap(Quota::per_second(NonZeroU32::MIN).allow_burst(IMMEDIATE)),
            }
        };
        Self { s3: limiter(budget.s3), iam: limiter(budget.iam) }
    }

    /// Waits until a call of `action`, such as `s3:PutBucketCORS`, is within the limit. STS has its own limits, which
    /// are far higher.
    pub(super) async fn wait(&self, action: &'static str, caller: &Caller) {
        let limit = match action.split(':').next() {
            Some("s3") => &self.s3,
            Some("iam") => &self.iam,
            _ => return,
        };
        // An immediate call is sent at once, and reduces the budget of later calls.
        if caller.urgency == Urgency::Immediate && limit.immediate.check_key(&caller.namespace).is_ok() {
            let _ = limit.limiter.check();
            if limit.immediate.len() > REMEMBERED {
                limit.immediate.retain_recent();
            }
            return;
        }
        // Turns are only for calls that must wait.
        if limit.turns.is_free() && limit.limiter.check().is_ok() {
            return;
        }
        let began = Instant::now();
        let _turn = limit.turns.turn(&Caller { urgency: caller.urgency.min(Urgency::Prompt), ..caller.clone() }, action).await;
        limit.limiter.until_ready().await;
        meters().waited_for_budget(action, began.elapsed());
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
        for _ in 0..IMMEDIATE.get() {
            assert!(goes_out(Urgency::Immediate));
        }
    }

    /// A tenant may request any number of revocations.
    #[test]
    fn immediate_calls_have_an_end_for_each_namespace() {
        let limits = Limits::new(Budget { s3: 1, iam: 1 });
        let goes_out = |namespace: &str| {
            let caller = Caller { namespace: namespace.into(), urgency: Urgency::Immediate };
            limits.wait("iam:DeleteAccessKey", &caller).now_or_never().is_some()
        };
        // One more is allowed each second, so the count may be slightly higher on a slow machine.
        let went = (0..100 * IMMEDIATE.get()).take_while(|_| goes_out("a")).count();
        assert!(went >= IMMEDIATE.get() as usize && went < 50 * IMMEDIATE.get() as usize);
        assert!(goes_out("b"));
    }
}
