//! How any AWS call is made: clients, limits, counting, error classes.
//!
//! Every call goes through `Sdk::call`, which limits the number of parallel calls, counts them, and turns every failure
//! into a [`Problem`]. `client` sets timeouts and retries in one place. `aws` and the modules `settings::*::wire`
//! decide which calls to make.

mod budget;
mod client;
mod endpoints;
mod error;
mod object_keys;
mod probe_url;
mod throttles;

use std::cell::Cell;
use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use aws_config::{Region, SdkConfig};
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use futures::future::BoxFuture;
use tracing::field::Empty;
use tracing::{Instrument, Span};

use crate::credentials::{AccountKey, KeyPair};
use crate::fair::{Caller, Turns};
use crate::telemetry::{TRACE, meters};
use crate::vocabulary::problem::{Class, Problem};
use crate::vocabulary::sign_in::{Budget, Endpoints, SignIn};

use budget::Limits;
pub(crate) use client::ATTEMPT_TIMEOUT;
pub(crate) use client::transfers;
pub use client::{SetupError, environment, network, tls_context};
pub use endpoints::{Reached, endpoints, http_date, reach};
pub(crate) use error::{build, cause, problem, unset};
pub(crate) use object_keys::{decoded_key, is_xml, list_keys};
pub use probe_url::{Allowed, is_allowed_address, probe_url};

/// Maximum number of parallel AWS calls. Waiting for a key to propagate does not count.
const CALLS_AT_ONCE: usize = 64;

/// Maximum number of regions with a client: more than AWS has.
const REGIONS: usize = 64;

tokio::task_local! {
    static CALLS: Cell<usize>;
}

/// The class of an error code that an answer lists for one of several items.
pub(crate) fn class_of(code: &str) -> Class {
    error::class(code, 400, None)
}

/// Counts the AWS calls made by `work`.
pub async fn counted<T>(work: impl Future<Output = T>) -> (T, usize) {
    CALLS.scope(Cell::new(0), async { (work.await, CALLS.with(Cell::get)) }).await
}

/// Clients that sign with one set of credentials.
pub struct Sdk {
    config: SdkConfig,
    endpoints: Endpoints,
    budget: Option<Limits>,
    /// IAM.
    pub iam: aws_sdk_iam::Client,
    /// STS.
    pub sts: aws_sdk_sts::Client,
    s3: Mutex<HashMap<String, aws_sdk_s3::Client>>,
    permits: Arc<Turns>,
}

/// Calls on one bucket.
pub struct BucketCalls<'a> {
    /// Access to AWS.
    pub sdk: &'a Sdk,
    /// A client of the bucket's region.
    pub s3: aws_sdk_s3::Client,
    /// Name of the bucket.
    pub name: &'a str,
    /// Its account: sent with every call, so that a bucket of the same name in another account is never changed.
    pub account: &'a str,
}

/// The span of a call of `action`, in traces
/// (<https://opentelemetry.io/docs/specs/semconv/cloud-providers/aws-sdk/>).
fn span(action: &'static str) -> Span {
    let (service, method) = action.split_once(':').unwrap_or_default();
    tracing::info_span!(
        target: TRACE, "AWS call", otel.name = action, otel.kind = "client", rpc.system = "aws-api", rpc.service = service,
        rpc.method = method, otel.status_code = Empty, error.type = Empty
    )
}

impl Sdk {
    /// Makes the clients from `config`.
    pub fn new(config: SdkConfig) -> Self {
        Self::with(config, Endpoints::default(), None)
    }

    /// Makes the clients for one account: from `config`, with the account's credentials and endpoints, and within its
    /// budget.
    pub async fn for_account(config: &SdkConfig, sign_in: &SignIn, key: Option<&AccountKey>, budget: Budget) -> Self {
        let config = client::signed_in(config, sign_in, key).await;
        Self::with(config, sign_in.endpoints.clone(), Some(Limits::new(budget)))
    }

    fn with(config: SdkConfig, endpoints: Endpoints, budget: Option<Limits>) -> Self {
        Self {
            iam: client::iam(&config, &endpoints),
            sts: client::sts(&config, &endpoints),
            s3: Mutex::default(),
            permits: Turns::new(CALLS_AT_ONCE),
            config,
            endpoints,
            budget,
        }
    }

    /// Calls on `name`, a bucket in `region` that must belong to `account`.
    pub fn bucket<'a>(&'a self, region: &str, name: &'a str, account: &'a str) -> BucketCalls<'a> {
        BucketCalls { sdk: self, s3: self.s3(region), name, account }
    }

    fn s3(&self, region: &str) -> aws_sdk_s3::Client {
        let mut clients = self.s3.lock().unwrap_or_else(PoisonError::into_inner);
        // A tenant chooses the name of a region, and the region may not exist.
        if clients.len() >= REGIONS && !clients.contains_key(region) {
            clients.clear();
        }
        clients
            .entry(region.to_owned())
            .or_insert_with(|| client::s3(&self.config, &self.endpoints, Region::new(region.to_owned())))
            .clone()
    }

    /// Clients that sign with an issued key, in the region of the bucket: never with the operator's permissions.
    pub fn with_key(&self, key: &KeyPair, region: &str) -> (aws_sdk_s3::Client, aws_sdk_sts::Client) {
        client::with_key(&self.config, &self.endpoints, key, region)
    }

    /// Makes one call. `action` is the permission that IAM must allow, such as `s3:PutBucketCORS`. The call waits for a
    /// turn and for the account's budget, on behalf of the [`Caller`]; within [`crate::fair::at_once`] it waits for
    /// neither.
    ///
    /// Boxed at once: the SDK's futures have many kilobytes, and a reconcile nests dozens of them.
    pub(crate) fn call<'a, T, E: ProvideErrorMetadata + std::error::Error + 'static>(
        &'a self,
        action: &'static str,
        send: impl Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, Problem>> {
        let send = Box::pin(send);
        Box::pin(async move {
            let caller = Caller::current();
            if let Some(budget) = &self.budget {
                budget.wait(action, &caller).await;
            }
            let _permit = self.permits.turn(&caller, action).await;
            let _ = CALLS.try_with(|calls| calls.set(calls.get() + 1));
            let (span, began) = (span(action), Instant::now());
            let answer = send.instrument(span.clone()).await.map_err(|failure| error::problem(action, &failure));
            meters().aws_call(action, began.elapsed(), answer.as_ref().err());
            match &answer {
                Ok(_) => tracing::debug!(action, "AWS call"),
                Err(problem) => {
                    span.record("otel.status_code", "ERROR").record("error.type", &problem.code);
                    tracing::debug!(action, code = problem.code, detail = problem.message, "AWS call failed");
                }
            }
            answer
        })
    }
}
