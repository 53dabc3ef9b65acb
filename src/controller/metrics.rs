//! `GET /metrics`, for Prometheus, and `GET /healthz`.
//!
//! Metrics are computed on request, from what the watch saw last: nothing is counted or stored for them. No metric
//! contains a secret or the id of a key.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request, Response, StatusCode};
use kube::ResourceExt;
use kube::runtime::reflector::Store;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;

use super::DeserializeGuard;
use super::progress::Progress;
use super::server::Server;
use crate::api::BucketConnection;
use crate::status;
use crate::vocabulary::conditions::ConditionType;

/// The metrics of a connection: name, help, and its value if it has one.
type Metric = (&'static str, &'static str, fn(&BucketConnection) -> Option<i64>);
const OF_A_CONNECTION: [Metric; 4] = [
    ("bucketconnection_ready", "Whether the connection is Ready: 1 or 0", |object| {
        Some(object.status.as_ref().is_some_and(|status| status::is_true(status, ConditionType::Ready)).into())
    }),
    ("bucketconnection_access_key_created_timestamp_seconds", "When the access key in the Secret was issued", |object| {
        Some(object.status.as_ref()?.memory.credentials.as_ref()?.created_at.as_ref()?.0.as_second())
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

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The input of the metrics.
#[derive(Default)]
pub struct Metrics {
    /// Empty as long as another operator is active.
    connections: OnceLock<Store<DeserializeGuard<BucketConnection>>>,
    progress: OnceLock<Arc<Progress>>,
}

impl Metrics {
    /// Starts to report these connections, and whether their reconciles end.
    pub(super) fn set_store(&self, connections: Store<DeserializeGuard<BucketConnection>>, progress: Arc<Progress>) {
        let _ = self.connections.set(connections);
        let _ = self.progress.set(progress);
    }

    /// Serves on `address` as long as the process runs; returns the address that it listens on.
    pub async fn serve(self: &Arc<Self>, address: SocketAddr) -> std::io::Result<SocketAddr> {
        let listener = TcpListener::bind(address).await?;
        let bound = listener.local_addr()?;
        tokio::spawn(Server::new(Arc::clone(self)).listen(listener));
        Ok(bound)
    }

    fn text(&self) -> Result<String, std::fmt::Error> {
        let mut registry = Registry::default();
        let build = Family::<[(&str, &str); 1], Gauge>::default();
        build.get_or_create(&[("version", env!("CARGO_PKG_VERSION"))]).set(1);
        registry.register("bucketconnection_build_info", "Version of the operator", build);
        let connections = self.connections.get().map(Store::state).unwrap_or_default();
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
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }

    pub(super) fn answer(&self, request: &Request<Incoming>) -> Response<String> {
        let (status, kind, text) = match (request.method(), request.uri().path()) {
            (&Method::GET | &Method::HEAD, "/metrics") => match self.text() {
                Ok(text) => (StatusCode::OK, OPENMETRICS, text),
                Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, "text/plain", error.to_string()),
            },
            (&Method::GET | &Method::HEAD, "/healthz") => match self.progress.get().and_then(|progress| progress.stuck()) {
                None => (StatusCode::OK, "text/plain", "ok\n".to_owned()),
                Some(text) => (StatusCode::SERVICE_UNAVAILABLE, "text/plain", text),
            },
            (_, "/metrics" | "/healthz") => (StatusCode::METHOD_NOT_ALLOWED, "text/plain", "GET it\n".to_owned()),
            _ => (StatusCode::NOT_FOUND, "text/plain", "/metrics and /healthz are here\n".to_owned()),
        };
        let mut response = Response::new(text);
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
        response
    }
}
