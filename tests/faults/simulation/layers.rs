//! The fault layers of the two servers, which share one count of calls.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::calls::{Calls, Side, Verdict};
use crate::cluster::{Fault, Layer, Moment};
use crate::model::client::{After, Before, Faults, Seen};

/// For the API server.
pub fn of_cluster(calls: Calls) -> Layer {
    Arc::new(move |moment, number, action| {
        let calls = calls.clone();
        Box::pin(async move {
            let verdict = match moment {
                Moment::Before => calls.before(Side::Kubernetes, number.to_string(), action).await,
                Moment::After => calls.after(Side::Kubernetes, number.to_string()).await,
            };
            match verdict {
                Verdict::Pass => None,
                Verdict::Cut => Some(Fault::Cut),
                Verdict::Broken => Some(Fault::Answer(500, "InternalError")),
                Verdict::Busy => Some(Fault::Answer(429, "TooManyRequests")),
            }
        })
    })
}

/// For AWS.
pub struct OfAws(pub Calls);

impl Faults for OfAws {
    fn before(&self, seen: &Seen) -> BoxFuture<'static, Before> {
        let (calls, request, seen) = (self.0.clone(), format!("{seen:?}"), seen.clone());
        Box::pin(async move {
            let verdict = calls.before(Side::Aws, request, seen.action).await;
            calls.answers(&seen.service, &seen.region).await;
            match verdict {
                Verdict::Pass => Before::Pass,
                Verdict::Cut => Before::Cut,
                Verdict::Broken => Before::Answer(500, if seen.service == "s3" { "InternalError" } else { "ServiceFailure" }),
                Verdict::Busy if seen.service == "s3" => Before::Answer(503, "SlowDown"),
                Verdict::Busy => Before::Answer(400, "Throttling"),
            }
        })
    }

    fn after(&self, seen: &Seen, _: u16) -> BoxFuture<'static, After> {
        let (calls, request) = (self.0.clone(), format!("{seen:?}"));
        Box::pin(async move {
            match calls.after(Side::Aws, request).await {
                Verdict::Pass => After::Pass,
                _ => After::Cut,
            }
        })
    }
}
