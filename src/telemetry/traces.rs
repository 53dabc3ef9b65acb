//! Traces: one span for each reconcile, with one span for each AWS call in it, sent by OTLP over HTTP. Only if the
//! environment names a collector
//! (<https://opentelemetry.io/docs/specs/otel/protocol/exporter/>).
//!
//! Spans have names, durations and error codes. They contain no log lines, and no text of an answer.

use std::time::Duration;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tokio::runtime::Handle;

/// Target of the spans that only traces contain: log lines do not show them.
pub const TRACE: &str = "bucketconnection::trace";

const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why traces cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// The environment asks for another protocol.
    #[error(
        "{name}={value}: the operator sends traces by http/protobuf only; unset it, and use the HTTP port of the collector (4318)"
    )]
    Protocol {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
    },
    /// The URL is not valid.
    #[error("{name}={value} is not a URL; write it as http://collector:4318, or unset it")]
    Endpoint {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
    },
    /// No certificates to trust.
    #[error("cannot send traces: {0}")]
    Setup(String),
}

/// Sends traces as long as it exists.
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// Makes spans.
    pub fn tracer(&self) -> SdkTracer {
        self.0.tracer("bucketconnection")
    }

    /// Sends what is left, and ends. Blocks the thread.
    pub fn end(self) {
        if let Err(error) = self.0.shutdown() {
            tracing::warn!(%error, "the last traces could not be sent");
        }
    }
}

/// Starts to send traces, if the environment names a collector. Must be called on the runtime.
pub fn traces() -> Result<Option<Traces>, TracesError> {
    let set = |name: &'static str| std::env::var(name).ok().filter(|value| !value.is_empty()).map(|value| (name, value));
    let Some((name, value)) = ENDPOINTS.into_iter().find_map(set) else { return Ok(None) };
    let url = value.parse::<http::Uri>();
    if !url.is_ok_and(|url| matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some()) {
        return Err(TracesError::Endpoint { name, value });
    }
    if let Some((name, value)) = PROTOCOLS.into_iter().find_map(set).filter(|(_, value)| value != "http/protobuf") {
        return Err(TracesError::Protocol { name, value });
    }
    let setup = |error: &dyn std::error::Error| TracesError::Setup(error.to_string());
    let connector = HttpsConnectorBuilder::new().with_native_roots().map_err(|error| setup(&error))?;
    let connector = connector.https_or_http().enable_http1().build();
    let client = OnRuntime { client: HyperClient::new(connector, TIMEOUT, None), runtime: Handle::current() };
    let exporter = SpanExporter::builder().with_http().with_http_client(client).build().map_err(|error| setup(&error))?;
    // OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win.
    let named = set("OTEL_SERVICE_NAME").is_some();
    let resource = Resource::builder();
    let resource = if named { resource } else { resource.with_service_name("bucketconnection") };
    Ok(Some(Traces(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build()).build())))
}

/// The exporter has a thread of its own, without a runtime; the requests run on the operator's.
#[derive(Debug)]
struct OnRuntime {
    client: HyperClient<HttpsConnector<HttpConnector>>,
    runtime: Handle,
}

#[async_trait::async_trait]
impl HttpClient for OnRuntime {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        self.runtime.spawn(async move { client.send_bytes(request).await }).await?
    }
}
