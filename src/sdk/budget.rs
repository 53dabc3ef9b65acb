//! How many calls a second go to one account: a token bucket for each service, shared by all connections of the account.

use std::num::NonZeroU32;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use crate::api::sign_in::Budget;

/// Seconds' worth of calls that may go out at once after a quiet time: a few hundred connections are created without waiting.
const BURST_SECONDS: u32 = 25;

/// The limits of one account.
pub(super) struct Limits {
    s3: DefaultDirectRateLimiter,
    iam: DefaultDirectRateLimiter,
}

impl Limits {
    pub(super) fn new(budget: Budget) -> Self {
        let limiter = |calls: u32| {
            let calls = NonZeroU32::new(calls).unwrap_or(NonZeroU32::MIN);
            let burst = calls.saturating_mul(NonZeroU32::new(BURST_SECONDS).unwrap_or(NonZeroU32::MIN));
            RateLimiter::direct(Quota::per_second(calls).allow_burst(burst))
        };
        Self { s3: limiter(budget.s3), iam: limiter(budget.iam) }
    }

    /// Waits until a call of `action`, such as `s3:PutBucketCORS`, fits. STS has limits of its own far above.
    pub(super) async fn wait(&self, action: &str) {
        match action.split(':').next() {
            Some("s3") => self.s3.until_ready().await,
            Some("iam") => self.iam.until_ready().await,
            _ => {}
        }
    }
}
