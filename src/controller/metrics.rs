//! `GET /metrics`, `GET /healthz` and `GET /readyz`.
//!
//! Gauges about connections are computed on request, from what the watch saw last; the rest is counted in
//! [`crate::telemetry`]. No metric contains a secret or the id of a key.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request, Response, StatusCode};
use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::reflector::{ObjectRef, Store};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;
use strum::VariantArray;
use tokio::net::TcpListener;

use super::DeserializeGuard;
use super::progress::Progress;
use super::server::Server;
use crate::api::{AWSAccount, BucketConnection};
use crate::fair::Turns;
use crate::fence::Fence;
use crate::status;
use crate::telemetry::meters;
use crate::vocabulary::conditions::{ConditionType, find};

/// The metrics of a connection: name, help, and its value if it has one.
type Metric = (&'static str, &'static str, fn(&BucketConnection) -> Option<i64>);
const OF_A_CONNECTION: [Metric; 4] = [
    ("bucketconnection_ready", "Whether the connection is Ready: 1 or 0", |object| {
        Some(object.status.as_ref().is_some_and(|status| status::is_true(status, ConditionType::Ready)).into())
    }),
    ("bucketconnection_access_key_created_timestamp_seconds", "When the access key in the Secret was issued", |object| {
        Some(issued(object)?.as_second())
    }),
    ("bucketconnection_access_key_next_rotation_timestamp_seconds", "When the access key will be rotated", |object| {
        Some(object.status.as_ref()?.memory.credentials.as_ref()?.next_rotation_at.as_ref()?.0.as_second())
    }),
    (
        "bucketconnection_access_key_replaced_timestamp_seconds",
        "When the previous access key was replaced, while it exists",
        |object| Some(object.status.as_ref()?.memory.credentials.as_ref()?.previous.as_ref()?.replaced_at.0.as_second()),
    ),
];

fn issued(object: &BucketConnection) -> Option<Timestamp> {
    Some(object.status.as_ref()?.memory.credentials.as_ref()?.created_at.as_ref()?.0)
}

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the endpoints report about.
pub struct Metrics {
    /// Whether each connection has series of its own.
    per_object: bool,
    /// Before this process works: whether it waits for nothing but the lease, or the reason why it cannot start.
    standby: Mutex<Result<(), String>>,
    /// Empty as long as this process does not work.
    work: OnceLock<Work>,
}

/// What a working operator knows.
pub(super) struct Work {
    /// All connections, as last seen by the watch.
    pub(super) connections: Store<DeserializeGuard<BucketConnection>>,
    /// All accounts, as last seen by the watch.
    pub(super) accounts: Store<DeserializeGuard<AWSAccount>>,
    /// Whether reconciles end.
    pub(super) progress: Arc<Progress>,
    /// The reconciles that wait.
    pub(super) slots: Arc<Turns>,
    /// Whether the lease is held.
    pub(super) fence: Fence,
}

impl Metrics {
    /// Metrics of a process that does not work yet. `per_object` adds series for each connection.
    pub fn new(per_object: bool) -> Self {
        let standby = Mutex::new(Err("the operator has not reached the API server yet".to_owned()));
        Self { per_object, standby, work: OnceLock::new() }
    }

    /// Reports whether this process is ready to work as soon as it has the lease, or why not.
    pub fn standby(&self, ready: Result<(), String>) {
        *self.standby.lock().unwrap_or_else(PoisonError::into_inner) = ready;
    }

    /// Starts to report about this work.
    pub(super) fn working(&self, work: Work) {
        let _ = self.work.set(work);
    }

    /// Serves on `address` as long as the process runs; returns the address that it listens on.
    pub async fn serve(self: &Arc<Self>, address: SocketAddr) -> std::io::Result<SocketAddr> {
        let listener = TcpListener::bind(address).await?;
        let bound = listener.local_addr()?;
        tokio::spawn(Server::new(Arc::clone(self)).listen(listener));
        Ok(bound)
    }

    fn text(&self) -> Result<String, std::fmt::Error> {
        let mut registry = meters().registry();
        let build = Family::<[(&str, &str); 1], Gauge>::default();
        build.get_or_create(&[("version", env!("CARGO_PKG_VERSION"))]).set(1);
        registry.register("bucketconnection_build_info", "Version of the operator", build);
        let held = self.work.get().is_some_and(Work::holds_lease);
        let help = "Whether this process works: 1, or 0 while another operator holds the lease";
        registry.register("bucketconnection_lease_held", help, ConstGauge::new(i64::from(held)));
        if let Some(work) = self.work.get() {
            work.register(&mut registry);
            if self.per_object {
                work.register_connections(&mut registry);
            }
        }
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }

    /// Why this process cannot reconcile now, and could not reconcile with the lease; `Ok` says what it does.
    fn ready(&self) -> Result<&'static str, String> {
        match self.work.get() {
            Some(work) if !work.sees() => Err("the first list of the objects has not ended yet".to_owned()),
            Some(work) if !work.holds_lease() => Err("the lease was not renewed in time".to_owned()),
            Some(_) => Ok("ok: reconciles"),
            None => self.standby.lock().unwrap_or_else(PoisonError::into_inner).clone().map(|()| "ok: waits for the lease"),
        }
    }

    pub(super) fn answer(&self, request: &Request<Incoming>) -> Response<String> {
        let health = |trouble: Option<String>, fine: &str| match trouble {
            None => (StatusCode::OK, "text/plain", format!("{fine}\n")),
            Some(text) => (StatusCode::SERVICE_UNAVAILABLE, "text/plain", format!("{text}\n")),
        };
        let (status, kind, text) = match (request.method(), request.uri().path()) {
            (&Method::GET | &Method::HEAD, "/metrics") => match self.text() {
                Ok(text) => (StatusCode::OK, OPENMETRICS, text),
                Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, "text/plain", error.to_string()),
            },
            (&Method::GET | &Method::HEAD, "/healthz") => health(self.work.get().and_then(|work| work.progress.stuck()), "ok"),
            (&Method::GET | &Method::HEAD, "/readyz") => {
                let ready = self.ready();
                health(ready.as_ref().err().cloned(), ready.unwrap_or_default())
            }
            (_, "/metrics" | "/healthz" | "/readyz") => (StatusCode::METHOD_NOT_ALLOWED, "text/plain", "GET it\n".to_owned()),
            _ => (StatusCode::NOT_FOUND, "text/plain", "/metrics, /healthz and /readyz are here\n".to_owned()),
        };
        let mut response = Response::new(text);
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
        response
    }
}

impl Work {
    fn holds_lease(&self) -> bool {
        self.fence.ensure_valid_for(Duration::ZERO).is_ok()
    }

    /// Whether the watches have listed all objects once.
    fn sees(&self) -> bool {
        let ready = |listed: Option<bool>| listed.unwrap_or_default();
        ready(self.connections.wait_until_ready().now_or_never().map(|listed| listed.is_ok()))
            && ready(self.accounts.wait_until_ready().now_or_never().map(|listed| listed.is_ok()))
    }

    /// Gauges with a fixed number of series for each account.
    fn register(&self, registry: &mut Registry) {
        let waiting = i64::try_from(self.slots.waiting()).unwrap_or(i64::MAX);
        registry.register("bucketconnection_queue_depth", "Reconciles that wait for a turn", ConstGauge::new(waiting));
        let help = "How long the oldest due reconcile has been due without having ended";
        let oldest = ConstGauge::new(self.progress.oldest().as_secs_f64());
        registry.register("bucketconnection_queue_oldest_seconds", help, oldest);

        let conditions = Family::<[(&str, String); 4], Gauge>::default();
        let mut oldest_keys = BTreeMap::<String, i64>::new();
        let mut unreadable = 0;
        for guarded in self.connections.state() {
            let Ok(object) = &guarded.0 else {
                unreadable += 1;
                continue;
            };
            let account = self.account(object);
            for (kind, value, reason) in status_of(object) {
                let condition = ("condition", kind.to_string());
                let labels = [("account", account.clone()), condition, ("status", value), ("reason", reason)];
                conditions.get_or_create(&labels).inc();
            }
            if let Some(issued) = issued(object) {
                let oldest = oldest_keys.entry(account).or_insert(i64::MAX);
                *oldest = issued.as_second().min(*oldest);
            }
        }
        let keys = Family::<[(&str, String); 1], Gauge>::default();
        for (account, issued) in oldest_keys {
            keys.get_or_create(&[("account", account)]).set(issued);
        }
        let help = "Connections, by account, and by status and reason of each condition";
        registry.register("bucketconnection_connections", help, conditions);
        let help = "Connections that the operator cannot read, because their spec does not fit the schema";
        registry.register("bucketconnection_connections_unreadable", help, ConstGauge::new(unreadable));
        let help = "When the oldest access key of the account's connections was issued";
        registry.register("bucketconnection_oldest_access_key_timestamp_seconds", help, keys);
    }

    /// The name of the connection's account. A tenant may write any name; only those that exist are labels.
    fn account(&self, object: &BucketConnection) -> String {
        let name = &object.spec.account_ref.name;
        if self.accounts.get(&ObjectRef::new(name)).is_some() { name.clone() } else { String::new() }
    }

    /// Gauges of each connection.
    fn register_connections(&self, registry: &mut Registry) {
        let connections = self.connections.state();
        let readable: Vec<_> = connections.iter().filter_map(|guarded| guarded.0.as_ref().ok()).collect();
        for (name, help, value) in OF_A_CONNECTION {
            let family = Family::<[(&str, String); 2], Gauge>::default();
            for object in &readable {
                if let Some(value) = value(object) {
                    let labels = [("namespace", object.namespace().unwrap_or_default()), ("name", object.name_any())];
                    family.get_or_create(&labels).set(value);
                }
            }
            registry.register(name, help, family);
        }
    }
}

/// The operator's conditions of an object: type, status and reason. `Ready` is Unknown before the first reconcile.
fn status_of(object: &BucketConnection) -> Vec<(ConditionType, String, String)> {
    let conditions = object.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let found = ConditionType::VARIANTS.iter().filter_map(|kind| {
        let condition = find(conditions, *kind)?;
        Some((*kind, condition.status.clone(), condition.reason.clone()))
    });
    let found: Vec<_> = found.collect();
    if found.is_empty() { vec![(ConditionType::Ready, "Unknown".to_owned(), "NotReconciled".to_owned())] } else { found }
}
