//! One reconcile of one object, as the controller runs it: in its turn, with its duration in the log, and without ever
//! failing.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use tracing::Instrument;

use super::panics::caught_async;
use super::reconcile::{has_begun, reconcile};
use super::{Context, DeserializeGuard, accounts, unreadable};
use crate::api::{AWSAccount, BucketConnection, FINALIZER, REVOKE_AT};
use crate::fair::{Caller, Urgency};
use crate::sdk::counted;
use crate::telemetry::meters;
use crate::vocabulary::conditions::Reason;
use crate::vocabulary::problem::{Class, Problem, Source};

/// The id of an object in `Progress`.
pub(super) fn id(namespace: Option<&str>, name: &str) -> String {
    format!("{}/{name}", namespace.unwrap_or_default())
}

/// Reconciles an account.
pub(super) async fn account(account: Arc<DeserializeGuard<AWSAccount>>, context: Arc<Context>) -> Result<Action, Infallible> {
    let span = tracing::info_span!("reconcile", account = account.name_any());
    let work = async {
        let began = Instant::now();
        let result = match &account.0 {
            Ok(account) => accounts::reconcile(account, &context).await,
            Err(invalid) => accounts::reconcile_unreadable(invalid, &context).await,
        };
        meters().reconcile_took("AWSAccount", began.elapsed());
        result
    };
    Ok(ended("AWSAccount", &*account, work, &context).instrument(span).await)
}

/// Reconciles a connection.
pub(super) async fn connection(
    object: Arc<DeserializeGuard<BucketConnection>>,
    context: Arc<Context>,
) -> Result<Action, Infallible> {
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let span =
        tracing::info_span!("reconcile", namespace, connection = name, calls = tracing::field::Empty, ms = tracing::field::Empty);
    let work = in_turn(&object, &context);
    Ok(ended("BucketConnection", &*object, work, &context).instrument(span).await)
}

/// Runs a reconcile of an object of `kind` to its end, whatever its result, and returns when the next one is due.
async fn ended<K: Resource<DynamicType = ()>>(
    kind: &'static str,
    object: &K,
    work: impl Future<Output = Result<Option<Duration>, Problem>>,
    context: &Context,
) -> Action {
    let id = id(object.namespace().as_deref(), &object.name_any());
    context.progress.begins(&id);
    let ended = caught_async(work).await.unwrap_or_else(|place| {
        let text = format!("panic at {}", place.unwrap_or_default());
        Err(Problem::at(Source::Operator, Class::Refused, "reconcile", "InternalError", text))
    });
    let mut denied = None;
    let next = ended.unwrap_or_else(|problem| {
        tracing::warn!(%problem, "reconcile interrupted");
        meters().reconciled(kind, "interrupted");
        denied = (problem.class == Class::Denied).then(|| problem.to_string());
        Some(context.backoff.broken(&object.uid().unwrap_or_default(), &problem))
    });
    // The operator may not write the status, so that only an Event can name the missing permission.
    if let Some(text) = denied {
        context.kubernetes.publish(object, true, Reason::AccessDenied, &text).await;
    }
    tracing::debug!(?next, "next reconcile");
    context.progress.ends(&id, next);
    next.map_or_else(Action::await_change, Action::requeue)
}

async fn in_turn(object: &DeserializeGuard<BucketConnection>, context: &Context) -> Result<Option<Duration>, Problem> {
    let caller = Caller { urgency: urgency(object), namespace: object.namespace().unwrap_or_default() };
    let name = object.name_any();
    let _slot = tokio::select! {
        slot = context.slots.turn(&caller, &name) => slot,
        () = context.stop.cancelled() => return Ok(None),
    };
    // It may have waited.
    let Some(object) = context.connections.get(&ObjectRef::from_obj(object)) else { return Ok(None) };
    let began = Instant::now();
    let _run = context.running.begins(object.uid().unwrap_or_default(), &context.stop);
    // The revocation itself marks which of its work is immediate.
    let caller = Caller { urgency: caller.urgency.min(Urgency::Prompt), ..caller };
    let (result, calls) = counted(caller.run(Box::pin(readable(&object, context)))).await;
    let span = tracing::Span::current();
    span.record("calls", calls);
    span.record("ms", u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
    meters().reconcile_took("BucketConnection", began.elapsed());
    result
}

/// Work that a user waits for comes before a routine reconcile, and a revocation before everything.
fn urgency(object: &DeserializeGuard<BucketConnection>) -> Urgency {
    let urgent = object.meta().deletion_timestamp.is_some() || lost_finalizer(object);
    let asked = object.annotations().get(REVOKE_AT);
    let Ok(readable) = &object.0 else {
        // The reconcile finds out what is done already.
        return if asked.is_some() {
            Urgency::Immediate
        } else if urgent {
            Urgency::Prompt
        } else {
            Urgency::Routine
        };
    };
    let credentials = readable.status.as_ref().and_then(|status| status.memory.credentials.as_ref());
    let handled = credentials.and_then(|credentials| credentials.last_handled_revoke_at.as_ref());
    if asked.is_some_and(|asked| Some(asked) != handled) {
        return Urgency::Immediate;
    }
    let first_key = credentials.is_none_or(|credentials| credentials.verified_at.is_none());
    if urgent || first_key { Urgency::Prompt } else { Urgency::Routine }
}

/// Moves the waiting reconcile of an object forward if it has become urgent. A running one that only waits ends for a
/// revocation.
pub(super) fn hurry(object: &DeserializeGuard<BucketConnection>, context: &Context) {
    let urgency = urgency(object);
    if urgency == Urgency::Immediate {
        context.running.interrupt(&object.uid().unwrap_or_default());
    }
    if urgency > Urgency::Routine {
        context.slots.hurry(&object.namespace().unwrap_or_default(), &object.name_any());
    }
}

async fn readable(object: &DeserializeGuard<BucketConnection>, context: &Context) -> Result<Option<Duration>, Problem> {
    match &object.0 {
        Ok(object) => reconcile(object, context).await,
        Err(invalid) => unreadable::reconcile(invalid, context).await,
    }
}

/// Whether the operator's finalizer is missing on an object that has something in AWS.
pub(super) fn lost_finalizer(object: &DeserializeGuard<BucketConnection>) -> bool {
    let held = object.finalizers().iter().any(|name| name == FINALIZER);
    !held && object.0.as_ref().map_or(true, has_begun)
}
