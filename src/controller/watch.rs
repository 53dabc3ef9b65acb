//! Wiring: from the API server's watch to passes, one at a time for each object.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use futures::{Stream, StreamExt, TryStreamExt};
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{PredicateConfig, WatchStreamExt, reflector, watcher};
use kube::{Api, Resource, ResourceExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::backoff::Backoff;
use super::reconcile::{has_begun, reconcile};
use super::{Context, Guarded, Metrics, accounts, unreadable};
use crate::api::{ACCOUNT_FINALIZER, AWSAccount, BucketConnection, FINALIZER, GROUP, REVOKE_AT};
use crate::aws::Sessions;
use crate::execute::Clock;
use crate::fair::{Caller, Turns, Urgency};
use crate::fence::Fence;
use crate::kubernetes::Kubernetes;
use crate::observed::Seal;
use crate::problem::Problem;
use crate::sdk::counted;

/// Passes at once. Most of a pass is waiting, for AWS or for a key to spread; how many calls run at once is bounded elsewhere.
const PASSES_AT_ONCE: usize = 500;
/// How often the watch is started anew at the latest: also the time in which a dead connection is noticed.
const WATCH_SECONDS: u32 = 290;

/// What an operator works with.
pub struct Setup {
    /// The ways to AWS.
    pub sessions: Sessions,
    /// Kubernetes.
    pub kubernetes: Kubernetes,
    /// Keeps what statuses remember from being edited.
    pub seal: Seal,
    /// What time it is.
    pub clock: Clock,
    /// Works on the connections of that namespace only, and leaves the accounts' own conditions to an operator of the whole cluster.
    pub namespace: Option<String>,
    /// Nothing is done while it is closed.
    pub fence: Fence,
    /// Cancelled when the process should end: running passes end first.
    pub stop: CancellationToken,
}

/// Works until it is stopped; `metrics` tell of what it sees.
pub async fn run(setup: Setup, metrics: &Metrics) {
    let Setup { sessions, kubernetes, seal, clock, namespace, fence, stop } = setup;
    let (connections, connection_writer) = reflector::store();
    let (accounts, account_writer) = reflector::store();
    metrics.tell_of(connections.clone());
    let (wake, woken) = mpsc::unbounded_channel();
    let backoff = Backoff::default();
    let client = kubernetes.client.clone();
    let context = Arc::new(Context {
        sessions,
        kubernetes,
        seal,
        connections,
        accounts,
        used: Mutex::default(),
        wake,
        stop,
        fence,
        backoff,
        slots: Turns::new(PASSES_AT_ONCE),
        clock,
    });

    let of_connections: Api<Guarded<BucketConnection>> = match &namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    };
    let of_changed = context.clone();
    let stream = seen(of_connections, connection_writer)
        .predicate_filter(|object: &_| worth_a_pass(object, lost_finalizer(object)), PredicateConfig::default())
        .inspect_ok(move |object| of_changed.hurry(object));
    let of_woken = context.clone();
    let woken = futures::stream::unfold(woken, |mut woken| async { woken.recv().await.map(|name| (name, woken)) })
        .flat_map(move |account| futures::stream::iter(of_woken.connections_of(&account)));
    let stop = context.stop.clone();
    let on_connections = Controller::for_stream(stream, context.connections.clone())
        .reconcile_on(woken)
        .graceful_shutdown_on(async move { stop.cancelled().await })
        .run(pass, failed, context.clone())
        .for_each(async |ended| told(ended.err()));
    let on_connections = to_the_end(on_connections, &context.connections, &context.stop);

    let of_account = context.clone();
    let stream = seen(Api::<Guarded<AWSAccount>>::all(client), account_writer)
        .predicate_filter(|account: &_| worth_a_pass(account, account_lost_finalizer(account)), PredicateConfig::default())
        .inspect_ok(move |account| of_account.account_changed(account));
    let stop = context.stop.clone();
    let ended = async move { stop.cancelled().await };
    if namespace.is_some() {
        let only_seen = stream.take_until(ended).for_each(async |account| {
            told(account.err().map(controller::Error::<Failure, _>::QueueError));
        });
        futures::join!(on_connections, only_seen);
        return;
    }
    let on_accounts = Controller::for_stream(stream, context.accounts.clone())
        .graceful_shutdown_on(ended)
        .run(account_pass, account_failed, context.clone())
        .for_each(async |ended| told(ended.err()));
    let on_accounts = to_the_end(on_accounts, &context.accounts, &context.stop);
    futures::join!(on_connections, on_accounts);
}

/// Runs a controller until it has ended. Until it has seen all objects once it has begun no pass, but would not stop, either.
async fn to_the_end<K>(controller: impl Future<Output = ()>, seen: &Store<K>, stop: &CancellationToken)
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    let stopped_too_soon = async {
        tokio::select! {
            biased;
            _ = seen.wait_until_ready() => std::future::pending().await,
            () = stop.cancelled() => {}
        }
    };
    tokio::select! {
        () = controller => {}
        () = stopped_too_soon => {}
    }
}

/// Watches, and keeps what was seen.
fn seen<K>(api: Api<K>, writer: reflector::store::Writer<K>) -> impl Stream<Item = Result<K, watcher::Error>> + Send
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + Sync + 'static,
{
    watcher(api, watcher::Config::default().timeout(WATCH_SECONDS))
        .default_backoff()
        .modify(|object| object.meta_mut().managed_fields = None)
        .reflect(writer)
        .applied_objects()
}

/// What wakes the controller: another spec, the beginning of deletion, and what is ours in the metadata, which is how people ask for
/// something; also a finalizer of ours that somebody took away. Not our own status, and not the finalizer that we add.
fn worth_a_pass<K: ResourceExt>(object: &K, lost_finalizer: bool) -> Option<u64> {
    let mut hash = DefaultHasher::new();
    let metadata = object.meta();
    let ours = |(name, _): &(&String, &String)| {
        let domain = name.split('/').next().unwrap_or_default();
        domain.strip_suffix(GROUP).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    for ours in [object.annotations(), object.labels()].map(|noted| noted.iter().filter(ours)) {
        ours.collect::<Vec<_>>().hash(&mut hash);
    }
    (metadata.generation, metadata.deletion_timestamp.is_some(), lost_finalizer).hash(&mut hash);
    (metadata.deletion_timestamp.as_ref().map(|_| &metadata.finalizers)).hash(&mut hash);
    Some(hash.finish())
}

/// Whether our finalizer is missing on an object that has something in AWS.
fn lost_finalizer(object: &Guarded<BucketConnection>) -> bool {
    let held = object.finalizers().iter().any(|name| name == FINALIZER);
    !held && object.0.as_ref().map_or(true, has_begun)
}

/// The same of an account that was reconciled before.
fn account_lost_finalizer(account: &Guarded<AWSAccount>) -> bool {
    let held = account.finalizers().iter().any(|name| name == ACCOUNT_FINALIZER);
    !held && account.0.as_ref().map_or(true, |account| account.status.is_some())
}

impl Context {
    /// Lets the pass of an object that waits for its turn come sooner, where it has become urgent meanwhile.
    fn hurry(&self, object: &Guarded<BucketConnection>) {
        if urgency(object) == Urgency::Prompt {
            self.slots.hurry(&object.namespace().unwrap_or_default(), &object.name_any());
        }
    }
}

/// Says what went wrong around the passes; those that failed have said so themselves.
fn told<E: std::error::Error>(error: Option<controller::Error<E, watcher::Error>>) {
    match error {
        None | Some(controller::Error::ObjectNotFound(_) | controller::Error::ReconcilerFailed(..)) => {}
        Some(error) => tracing::warn!(%error, "watching the API server"),
    }
}

async fn account_pass(account: Arc<Guarded<AWSAccount>>, context: Arc<Context>) -> Result<Action, Failure> {
    let span = tracing::info_span!("pass", account = account.name_any());
    async {
        match &account.0 {
            Ok(account) => accounts::reconcile(account, &context).await,
            Err(invalid) => accounts::reconcile_unreadable(invalid, &context).await,
        }
        .inspect_err(|problem| tracing::warn!(%problem, "pass broken off"))
        .map_err(Failure)
        .map(|next| next.map_or_else(Action::await_change, Action::requeue))
    }
    .instrument(span)
    .await
}

fn account_failed(account: Arc<Guarded<AWSAccount>>, Failure(problem): &Failure, context: Arc<Context>) -> Action {
    Action::requeue(context.backoff.broken(&account.uid().unwrap_or_default(), problem))
}

async fn pass(object: Arc<Guarded<BucketConnection>>, context: Arc<Context>) -> Result<Action, Failure> {
    let reference = ObjectRef::from_obj(&*object);
    let (namespace, name) = (reference.namespace.clone().unwrap_or_default(), reference.name.clone());
    let span =
        tracing::info_span!("pass", namespace, connection = name, calls = tracing::field::Empty, ms = tracing::field::Empty);
    async {
        let caller = Caller { urgency: urgency(&object), namespace };
        let _slot = tokio::select! {
            slot = context.slots.turn(&caller, &name) => slot,
            () = context.stop.cancelled() => return Ok(Action::await_change()),
        };
        // It may have waited.
        let Some(object) = context.connections.get(&reference) else { return Ok(Action::await_change()) };
        let began = Instant::now();
        let (result, calls) = counted(caller.run(Box::pin(one_pass(&object, &context)))).await;
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

/// What somebody waits for comes before a routine check.
fn urgency(object: &Guarded<BucketConnection>) -> Urgency {
    let (deleted, lost) = (object.meta().deletion_timestamp.is_some(), lost_finalizer(object));
    let asked = object.0.as_ref().is_ok_and(|object| {
        let credentials = object.status.as_ref().and_then(|status| status.memory.credentials.as_ref());
        let handled = credentials.and_then(|credentials| credentials.last_handled_revoke_at.as_ref());
        let revoked = object.annotations().get(REVOKE_AT).is_some_and(|asked| Some(asked) != handled);
        revoked || credentials.is_none_or(|credentials| credentials.verified_at.is_none())
    });
    if deleted || lost || asked { Urgency::Prompt } else { Urgency::Routine }
}

async fn one_pass(object: &Guarded<BucketConnection>, context: &Context) -> Result<Action, Failure> {
    let next = match &object.0 {
        Ok(object) => reconcile(object, context).await,
        Err(invalid) => unreadable::reconcile(invalid, context).await,
    };
    Ok(next.map_err(Failure)?.map_or_else(Action::await_change, Action::requeue))
}

/// A pass that could not write what it found.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Failure(Problem);

fn failed(object: Arc<Guarded<BucketConnection>>, Failure(problem): &Failure, context: Arc<Context>) -> Action {
    Action::requeue(context.backoff.broken(&object.uid().unwrap_or_default(), problem))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::{REQUESTED_AT, ROTATE_AT};

    fn worth(metadata: Value, status: Value) -> Option<u64> {
        let mut object = json!({
            "apiVersion": "bucketconnection.dev/v1alpha1", "kind": "BucketConnection",
            "metadata": { "name": "c", "generation": 1, "finalizers": [FINALIZER], "annotations": { "example.org/note": "1" } },
            "spec": { "preset": "ReadWrite", "region": "us-east-1", "bucket": { "name": "data" } }, "status": status,
        });
        for (name, value) in metadata.as_object().unwrap() {
            object["metadata"][name] = value.clone();
        }
        let object: Guarded<BucketConnection> = serde_json::from_value(object).unwrap();
        worth_a_pass(&object, lost_finalizer(&object))
    }

    #[test]
    fn metadata_that_matters_wakes_and_our_own_writes_do_not() {
        let begun = json!({ "accountId": "123456789012" });
        let usual = worth(json!({}), begun.clone());
        for ours in [REQUESTED_AT, ROTATE_AT, REVOKE_AT, "bucketconnection.dev/later"] {
            assert_ne!(worth(json!({ "annotations": { ours: "x" } }), begun.clone()), usual, "{ours}");
            assert_ne!(worth(json!({ "labels": { ours: "x" } }), begun.clone()), usual, "{ours}");
        }
        for theirs in ["example.org/note", "notbucketconnection.dev/x", "bucketconnection.dev.example.org/x"] {
            assert_eq!(worth(json!({ "annotations": { theirs: "2" } }), begun.clone()), usual, "{theirs}");
        }
        assert_ne!(worth(json!({ "generation": 2 }), begun.clone()), usual);
        assert_ne!(worth(json!({ "deletionTimestamp": "2026-01-01T00:00:00Z" }), begun.clone()), usual);
        assert_ne!(worth(json!({ "finalizers": [] }), begun.clone()), usual, "kubectl replace");
        assert_eq!(worth(json!({ "finalizers": [FINALIZER, "example.org/theirs"] }), begun), usual);
        // Our own writes: the first finalizer, the intent, the status.
        let first = worth(json!({ "finalizers": [] }), json!({}));
        assert_eq!(worth(json!({}), json!({})), first);
        assert_eq!(worth(json!({}), json!({ "credentials": { "secretName": "c-s3" } })), first);
        assert_eq!(usual, first);
    }
}
