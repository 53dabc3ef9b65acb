//! Wiring: from the API server's watch to passes, one at a time for each object.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use jiff::Timestamp;
use kube::core::DeserializeGuard;
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{PredicateConfig, WatchStreamExt, reflector, watcher};
use kube::{Api, Resource, ResourceExt};
use tracing::Instrument;

use super::Context;
use super::reconcile::reconcile;
use crate::api::{BucketConnection, REQUESTED_AT};
use crate::problem::Problem;
use crate::sdk::counted;
use crate::status;

type Guarded = DeserializeGuard<BucketConnection>;

/// Passes at once. Most of a pass is waiting, for AWS or for a key to spread; how many calls run at once is bounded elsewhere.
const PASSES_AT_ONCE: u16 = 500;
/// How often the watch is started anew at the latest: also the time in which a dead connection is noticed.
const WATCH_SECONDS: u32 = 290;

/// Works until `context.stop` is cancelled, and lets running passes end.
pub async fn run(context: Arc<Context>) {
    let objects: Api<Guarded> = match &context.namespace {
        Some(namespace) => Api::namespaced(context.kubernetes.client.clone(), namespace),
        None => Api::all(context.kubernetes.client.clone()),
    };
    let (store, writer) = reflector::store();
    let stream = watcher(objects, watcher::Config::default().timeout(WATCH_SECONDS))
        .default_backoff()
        .modify(|object| object.managed_fields_mut().clear())
        .reflect(writer)
        .applied_objects()
        .predicate_filter(worth_a_pass, PredicateConfig::default());
    let stop = context.stop.clone();
    Controller::for_stream(stream, store)
        .with_config(controller::Config::default().concurrency(PASSES_AT_ONCE))
        .graceful_shutdown_on(async move { stop.cancelled().await })
        .run(pass, failed, context)
        .for_each(|ended| async {
            match ended {
                Ok(_) | Err(controller::Error::ObjectNotFound(_)) | Err(controller::Error::ReconcilerFailed(..)) => {}
                Err(error) => tracing::warn!(%error, "watching the API server"),
            }
        })
        .await;
}

/// What wakes the controller: another spec, the beginning of deletion, or somebody asking. Not our own status.
fn worth_a_pass(object: &Guarded) -> Option<u64> {
    let mut hash = DefaultHasher::new();
    let metadata = object.meta();
    (metadata.generation, metadata.deletion_timestamp.is_some(), object.annotations().get(REQUESTED_AT)).hash(&mut hash);
    (metadata.deletion_timestamp.as_ref().map(|_| &metadata.finalizers)).hash(&mut hash);
    Some(hash.finish())
}

async fn pass(object: Arc<Guarded>, context: Arc<Context>) -> Result<Action, Failure> {
    let reference = ObjectRef::from_obj(&*object);
    let (namespace, name) = (reference.namespace.clone().unwrap_or_default(), reference.name.clone());
    let span =
        tracing::info_span!("pass", namespace, connection = name, calls = tracing::field::Empty, ms = tracing::field::Empty);
    async {
        let began = Instant::now();
        let (result, calls) = counted(one_pass(&object, &context)).await;
        let span = tracing::Span::current();
        span.record("calls", calls);
        span.record("ms", u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
        match &result {
            Ok(next) => tracing::debug!(?next, "next pass"),
            Err(Failure(problem)) => tracing::warn!(%problem, "pass broken off"),
        }
        result
    }
    .instrument(span)
    .await
}

async fn one_pass(object: &Guarded, context: &Context) -> Result<Action, Failure> {
    match &object.0 {
        Ok(object) => Ok(reconcile(object, context).await.map_err(Failure)?.map_or_else(Action::await_change, Action::requeue)),
        Err(invalid) => {
            // One object that cannot be read must not stop the others, and its owner should see why.
            let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
            let text = format!("the object cannot be read: {}; correct it, or install the CRDs of this version", invalid.error);
            tracing::warn!(%text);
            let status = status::unreadable(object.meta().generation, &text, Timestamp::now());
            context.kubernetes.write_unreadable(&namespace, &name, &status).await.map_err(Failure)?;
            Ok(Action::requeue(Duration::from_secs(600)))
        }
    }
}

/// A pass that could not write what it found.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Failure(Problem);

fn failed(object: Arc<Guarded>, _: &Failure, context: Arc<Context>) -> Action {
    Action::requeue(context.backoff.broken(&object.uid().unwrap_or_default()))
}
