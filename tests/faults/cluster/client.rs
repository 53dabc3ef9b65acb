//! The entry point: a tower service that kube's client uses as its network, with network faults.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
use http_body::{Body, Frame};
use jiff::Timestamp;
use kube::client::retry::RetryPolicy;
use serde_json::{Value, json};
use tokio::sync::watch;
use tower::retry::Retry;

use super::request::{Request, Verb};
use super::store::{Answer, Clock, Store, failure};

/// When a fault happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The server has not seen the request.
    Before,
    /// The server has executed it.
    After,
}

/// The effect of a fault on a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Another answer: status code and reason.
    Answer(u16, &'static str),
    /// No answer: the connection is cut.
    Cut,
}

/// Called before and after each request, which has a number and an action; may wait for any time.
pub type Layer = Arc<dyn Fn(Moment, u64, String) -> BoxFuture<'static, Option<Fault>> + Send + Sync>;
/// Called after each executed write, with the resulting objects.
pub type Hook = Arc<dyn Fn(&str, &Store) + Send + Sync>;

/// How far watches lag behind.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lag {
    /// A watch shows a change this long after it was made.
    pub time: Duration,
    /// A list that may come from a cache is this many changes old.
    pub changes: u64,
}

/// The API server. A clone is the same server.
#[derive(Clone)]
pub struct Cluster {
    store: Arc<Mutex<Store>>,
    version: Arc<watch::Sender<u64>>,
    layer: Arc<Mutex<Option<Layer>>>,
    hook: Arc<Mutex<Option<Hook>>>,
    lag: Arc<Mutex<Lag>>,
    /// How often all open watches were cut.
    cuts: Arc<watch::Sender<u64>>,
    /// A watch from an older version is too old.
    oldest: Arc<AtomicU64>,
    requests: Arc<AtomicU64>,
    clock: Clock,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cluster {
    pub fn new(clock: Clock) -> Self {
        Self {
            store: Arc::new(Mutex::new(Store::new(clock.clone()))),
            version: Arc::new(watch::Sender::new(0)),
            layer: Arc::default(),
            hook: Arc::default(),
            lag: Arc::default(),
            cuts: Arc::new(watch::Sender::new(0)),
            oldest: Arc::default(),
            requests: Arc::default(),
            clock,
        }
    }

    pub fn set_layer(&self, layer: Layer) {
        *lock(&self.layer) = Some(layer);
    }

    pub fn set_hook(&self, hook: Hook) {
        *lock(&self.hook) = Some(hook);
    }

    pub fn set_lag(&self, lag: Lag) {
        *lock(&self.lag) = lag;
    }

    /// Cuts all open watches.
    pub fn cut_watches(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Forgets the changes so far, as a server does after some minutes: a watch from an older version gets an error,
    /// and must list again.
    pub fn forget_changes(&self) {
        self.oldest.store(self.look(Store::version), Ordering::SeqCst);
    }

    /// kube's client, with the same retries as the operator's.
    pub fn client(&self) -> kube::Client {
        kube::Client::new(Retry::new(RetryPolicy::server_retry(), self.clone()), "default")
    }

    /// Reads the objects.
    pub fn look<T>(&self, look: impl FnOnce(&Store) -> T) -> T {
        look(&lock(&self.store))
    }

    /// The object, if it exists.
    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        self.look(|store| store.get(resource, namespace, name).cloned())
    }

    /// Executes a request at once, as a person does, without faults.
    pub fn answer(&self, request: &Request) -> Answer {
        let mut store = lock(&self.store);
        let before = store.version();
        let answer = store.answer(request);
        if store.version() != before {
            if let Some(hook) = lock(&self.hook).clone() {
                hook(&request.action(), &store);
            }
            self.version.send_replace(store.version());
        }
        answer
    }

    /// Applies an object as a person does.
    pub fn apply(&self, resource: &str, object: &Value) {
        let part = |name: &str| object["metadata"][name].as_str().unwrap_or_default().to_owned();
        let mut request = Request::new(Verb::Apply, resource, &part("namespace"), &part("name"), object.clone());
        request.query.insert("fieldManager".to_owned(), "person".to_owned());
        let (code, body) = self.answer(&request);
        assert!(code < 300, "{code} {body}");
    }

    /// Patches an object as a person does; returns whether it existed.
    pub fn patch(&self, resource: &str, namespace: &str, name: &str, patch: Value) -> bool {
        self.answer(&Request::new(Verb::Merge, resource, namespace, name, patch)).0 < 300
    }

    /// Deletes an object as a person does; returns whether it existed.
    pub fn delete(&self, resource: &str, namespace: &str, name: &str) -> bool {
        self.answer(&Request::new(Verb::Delete, resource, namespace, name, Value::Null)).0 < 300
    }

    /// Deletes an object in the foreground: the objects that it owns are deleted first.
    pub fn delete_in_foreground(&self, resource: &str, namespace: &str, name: &str) -> bool {
        let options = serde_json::json!({ "propagationPolicy": "Foreground" });
        self.answer(&Request::new(Verb::Delete, resource, namespace, name, options)).0 < 300
    }

    async fn serve(self, request: http::Request<kube::client::Body>) -> std::io::Result<http::Response<Lines>> {
        let (head, body) = request.into_parts();
        let body = body.collect_bytes().await.map_err(std::io::Error::other)?;
        let request = Request::parse(&head, &body);
        let layer = lock(&self.layer).clone();
        let number = self.requests.fetch_add(1, Ordering::SeqCst);
        let fault = async |moment: Moment| match &layer {
            Some(layer) => layer(moment, number, request.action()).await,
            None => None,
        };
        if let Some(fault) = fault(Moment::Before).await {
            return faulty(fault);
        }
        let response = match request.verb {
            Verb::Watch => self.watch(&request),
            Verb::List if request.asked("resourceVersion") == Some("0") => {
                let old = lock(&self.lag).changes;
                whole(self.look(|store| store.list(&request, store.version().saturating_sub(old))))
            }
            _ => whole(self.answer(&request)),
        };
        match fault(Moment::After).await {
            Some(fault) => faulty(fault),
            None => Ok(response),
        }
    }

    /// The changes since a version, as they happen, until the requested timeout.
    fn watch(&self, request: &Request) -> http::Response<Lines> {
        let from: u64 = request.asked("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or_default();
        if from < self.oldest.load(Ordering::SeqCst) {
            // In the stream, as a real server reports it.
            let (_, status) = failure(410, "Expired", "too old resource version");
            return whole((200, json!({ "type": "ERROR", "object": status })));
        }
        let seconds = request.asked("timeoutSeconds").and_then(|seconds| seconds.parse().ok()).unwrap_or(290);
        let end = tokio::time::Instant::now() + Duration::from_secs(seconds);
        let (resource, namespace) = (request.resource.clone(), request.namespace.clone());
        let (told, cuts) = (self.version.subscribe(), self.cuts.subscribe());
        let lines = stream::unfold((self.clone(), from, told, cuts), move |(cluster, from, mut told, mut cuts)| {
            let (resource, namespace) = (resource.clone(), namespace.clone());
            async move {
                loop {
                    told.borrow_and_update();
                    let fits = |place: &super::store::Key| place.0 == resource && (namespace.is_empty() || place.1 == namespace);
                    let next = cluster.look(|store| {
                        let mut later = store.changes.iter().skip_while(|change| change.version <= from);
                        later.find(|change| fits(&change.key)).cloned()
                    });
                    if let Some(change) = next {
                        let due = cluster.due(change.at);
                        if !due.is_zero() {
                            tokio::time::sleep(due).await;
                        }
                        let line = json!({ "type": change.kind, "object": change.object });
                        return Some((line, (cluster, change.version, told, cuts)));
                    }
                    let seen = cluster.look(Store::version);
                    tokio::select! {
                        biased;
                        _ = cuts.changed() => return None,
                        changed = told.changed() => changed.ok()?,
                        () = tokio::time::sleep_until(end) => {
                            if seen == from {
                                return None;
                            }
                            // So that the next watch continues from here.
                            let object = json!({ "apiVersion": "v1", "kind": "Bookmark", "metadata": { "resourceVersion": seen.to_string() } });
                            return Some((json!({ "type": "BOOKMARK", "object": object }), (cluster, seen, told, cuts)));
                        }
                    }
                }
            }
        });
        let lines = lines.map(|line| Bytes::from(format!("{line}\n"))).boxed();
        http::Response::builder().status(200).body(Lines(lines)).unwrap()
    }

    /// How long watches do not see a change that was made at `at`.
    fn due(&self, at: Timestamp) -> Duration {
        let age = (self.clock)().duration_since(at).unsigned_abs();
        lock(&self.lag).time.saturating_sub(age)
    }
}

fn whole((code, body): Answer) -> http::Response<Lines> {
    let body = stream::once(async move { Bytes::from(body.to_string()) }).boxed();
    http::Response::builder().status(code).header("content-type", "application/json").body(Lines(body)).unwrap()
}

fn faulty(fault: Fault) -> std::io::Result<http::Response<Lines>> {
    match fault {
        Fault::Answer(code, reason) => Ok(whole(failure(code, reason, "injected"))),
        Fault::Cut => Err(std::io::Error::new(std::io::ErrorKind::ConnectionReset, "the connection was cut")),
    }
}

impl tower::Service<http::Request<kube::client::Body>> for Cluster {
    type Response = http::Response<Lines>;
    type Error = tower::BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<kube::client::Body>) -> Self::Future {
        let served = self.clone().serve(request);
        Box::pin(async move { served.await.map_err(Into::into) })
    }
}

/// A body that arrives in pieces.
pub struct Lines(BoxStream<'static, Bytes>);

impl Body for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_next_unpin(context).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }
}
