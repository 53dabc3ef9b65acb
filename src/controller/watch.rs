//! Wiring: from the API server's watch to reconciles, one at a time for each object.

use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};

use futures::future::{Ready, ready};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};
use kube::runtime::controller::{self, Action, Controller};
use kube::runtime::reflector::Store;
use kube::runtime::{PredicateConfig, WatchStreamExt, reflector, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::counts::Changes;
use super::forget::trim;
use super::metrics::Work;
use super::progress::Progress;
use super::running::Running;
use super::stages::Stages;
use super::turn::lost_finalizer;
use super::{Context, DeserializeGuard, Metrics, namespaces, turn};
use crate::api::{ACCOUNT_FINALIZER, AWSAccount, BucketConnection, GROUP};
use crate::aws::Sessions;
use crate::execute::Clock;
use crate::fair::Turns;
use crate::fence::Fence;
use crate::kubernetes::{self, Kubernetes};
use crate::observed::Seal;
use crate::telemetry::meters;

/// Parallel reconciles. A reconcile mostly waits, for AWS or for a key to propagate; other limits bound the parallel
/// calls.
const PASSES_AT_ONCE: usize = 500;
/// The longest time until the watch is restarted: also the time until a dead connection is noticed.
const WATCH_SECONDS: u32 = 290;
/// Objects per page of a list. Each may have more than a megabyte.
const PAGE: u32 = 50;

/// The dependencies of an operator.
pub struct Setup {
    /// Access to AWS.
    pub sessions: Sessions,
    /// Kubernetes.
    pub kubernetes: Kubernetes,
    /// Protects the recorded state in statuses from edits.
    pub seal: Seal,
    /// Returns the current time.
    pub clock: Clock,
    /// Whether pure stages run on separate threads, within a time limit. A simulation computes them inline, so that it
    /// is reproducible.
    pub threads: bool,
    /// Restricts the operator to the connections of these namespaces; without any, it reconciles the whole cluster, and
    /// the accounts too.
    pub namespaces: Vec<String>,
    /// The operator does nothing while it is closed.
    pub fence: Fence,
    /// Canceled when the process should end: running reconciles end first.
    pub stop: CancellationToken,
}

/// Runs until it is stopped; `metrics` report what it sees.
pub async fn run(setup: Setup, metrics: &Metrics) {
    let Setup { sessions, kubernetes, seal, clock, threads, namespaces, fence, stop } = setup;
    let (connections, connection_writer) = reflector::store();
    let (accounts, account_writer) = reflector::store();
    let progress = Arc::<Progress>::default();
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
        stages: Stages::new(threads),
        running: Running::default(),
        progress,
        changes: Changes::default(),
        clock,
    });
    metrics.working(Work {
        connections: context.connections.clone(),
        accounts: context.accounts.clone(),
        progress: context.progress.clone(),
        slots: context.slots.clone(),
        fence: context.fence.clone(),
    });

    let (of_seen, of_changed) = (context.clone(), context.clone());
    let events = watch_connections(&client, &namespaces, &context);
    let stream = seen(events, connection_writer, move |event| of_seen.connection_seen(event))
        .predicate_filter(|object: &_| worth_a_pass(object, lost_finalizer(object)), PredicateConfig::default())
        .inspect_ok(move |object| turn::hurry(object, &of_changed));
    let of_woken = context.clone();
    let woken = futures::stream::unfold(woken, |mut woken| async { woken.recv().await.map(|name| (name, woken)) })
        .flat_map(move |account| futures::stream::iter(of_woken.connections_of(&account)));
    let stop = context.stop.clone();
    let on_connections = Controller::for_stream(stream, context.connections.clone())
        .reconcile_on(woken)
        .graceful_shutdown_on(async move { stop.cancelled().await })
        .run(turn::connection, never, context.clone())
        .for_each(telling("bucketconnections", &context));
    let on_connections = run_until_stopped(on_connections, &context.connections, &context.stop);

    let (of_seen, of_account) = (context.clone(), context.clone());
    let stream =
        seen(watch(Api::<DeserializeGuard<AWSAccount>>::all(client)), account_writer, move |event| of_seen.account_seen(event))
            .predicate_filter(|account: &_| worth_a_pass(account, account_lost_finalizer(account)), PredicateConfig::default())
            .inspect_ok(move |account| of_account.account_changed(account));
    let stop = context.stop.clone();
    let ended = async move { stop.cancelled().await };
    if !namespaces.is_empty() {
        let only_seen =
            stream.take_until(ended).map_err(controller::Error::QueueError).for_each(telling("awsaccounts", &context));
        futures::join!(on_connections, only_seen);
        return;
    }
    let on_accounts = Controller::for_stream(stream, context.accounts.clone())
        .graceful_shutdown_on(ended)
        .run(turn::account, never, context.clone())
        .for_each(telling("awsaccounts", &context));
    let on_accounts = run_until_stopped(on_accounts, &context.accounts, &context.stop);
    futures::join!(on_connections, on_accounts);
}

/// Runs a controller until it has ended. Before the controller has seen all objects once, it has begun no reconcile,
/// but it does not stop either.
async fn run_until_stopped<K>(controller: impl Future<Output = ()>, seen: &Store<K>, stop: &CancellationToken)
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

type Events<K> = BoxStream<'static, watcher::Result<watcher::Event<K>>>;

/// Watches the connections of these namespaces or, without any, of the whole cluster.
fn watch_connections(client: &Client, namespaces: &[String], context: &Context) -> Events<DeserializeGuard<BucketConnection>> {
    if namespaces.is_empty() {
        return watch(Api::all(client.clone()));
    }
    let watches = namespaces.iter().map(|name| (name.clone(), watch(Api::namespaced(client.clone(), name))));
    namespaces::join(watches.collect(), context.connections.clone()).boxed()
}

fn watch<K>(api: Api<K>) -> Events<K>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + Sync + 'static,
{
    watcher(api, watcher::Config::default().timeout(WATCH_SECONDS).page_size(PAGE)).default_backoff().modify(trim).boxed()
}

/// Keeps what was seen, and then calls `told` for each event.
fn seen<K>(
    events: Events<K>,
    writer: reflector::store::Writer<K>,
    told: impl Fn(&watcher::Event<K>) + Send,
) -> impl Stream<Item = Result<K, watcher::Error>> + Send
where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
{
    events.reflect(writer).inspect_ok(told).applied_objects()
}

/// What wakes the controller: a change of the spec, the beginning of deletion, and a change of the metadata that
/// requests something or that the operator manages, such as a removed finalizer. Not the operator's own status, and not
/// the finalizer that it adds.
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

/// Whether the finalizer is missing on an account that was reconciled before.
fn account_lost_finalizer(account: &DeserializeGuard<AWSAccount>) -> bool {
    let held = account.finalizers().iter().any(|name| name == ACCOUNT_FINALIZER);
    let seen = |account: &AWSAccount| account.status.as_ref().is_some_and(|status| status.observed_generation.is_some());
    !held && account.0.as_ref().map_or(true, seen)
}

/// Logs failures of the controller outside reconciles, such as those of the watch of `resource`.
fn telling<T>(
    resource: &'static str,
    context: &Arc<Context>,
) -> impl FnMut(Result<T, controller::Error<Infallible, watcher::Error>>) -> Ready<()> {
    let context = context.clone();
    move |ended| {
        match ended {
            Ok(_) => {}
            // Its next reconcile was due, but it was deleted.
            Err(controller::Error::ObjectNotFound(gone)) => {
                context.progress.forget(&turn::id(gone.namespace.as_deref(), &gone.name));
            }
            Err(controller::Error::QueueError(error)) => {
                meters().watch_failed();
                let problem = kubernetes::of_watch(resource, &error);
                tracing::warn!(%problem, "watching the API server");
            }
            Err(error) => tracing::warn!(%error, "watching the API server"),
        }
        ready(())
    }
}

/// Reconciles never fail: they report their failures themselves.
fn never<K>(_: Arc<K>, error: &Infallible, _: Arc<Context>) -> Action {
    match *error {}
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::FINALIZER;
    use crate::api::{REQUESTED_AT, REVOKE_AT, ROTATE_AT};

    fn worth(metadata: Value, status: Value) -> Option<u64> {
        let mut object = json!({
            "apiVersion": "bucketconnection.dev/v1alpha1", "kind": "BucketConnection",
            "metadata": { "name": "c", "generation": 1, "finalizers": [FINALIZER], "annotations": { "example.org/note": "1" } },
            "spec": { "preset": "ReadWrite", "region": "us-east-1", "bucket": { "name": "data" } }, "status": status,
        });
        for (name, value) in metadata.as_object().unwrap() {
            object["metadata"][name] = value.clone();
        }
        let object: DeserializeGuard<BucketConnection> = serde_json::from_value(object).unwrap();
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
        // The operator's own writes: the first finalizer, the intent, the status.
        let first = worth(json!({ "finalizers": [] }), json!({}));
        assert_eq!(worth(json!({}), json!({})), first);
        assert_eq!(worth(json!({}), json!({ "credentials": { "secretName": "c-s3" } })), first);
        assert_eq!(usual, first);
    }
}
