//! The entry point for an AWS SDK in the same process: an HTTP client without a network, and a layer of faults around
//! it.

use std::sync::Arc;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider, SharedHttpClient};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};

use super::caller::Signed;
use super::{Model, Pair, action, is_write, wire};
pub use crate::support::answers::code;

/// A request, as a layer of faults sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// As in `iam:CreateAccessKey`.
    pub action: String,
    pub service: String,
    pub region: String,
    /// Whether it changes anything.
    pub write: bool,
    /// Id of the key that signed it.
    pub key: String,
    /// Path and query of S3, form of IAM and STS.
    pub target: String,
}

/// What happens to a request before it is executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Before {
    Pass,
    /// It gets this status and error code as its answer.
    Answer(u16, &'static str),
    /// The connection is cut.
    Cut,
}

/// What happens to an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum After {
    Pass,
    /// It is lost: the connection is cut.
    Cut,
}

/// A layer of faults. Both functions are awaited: they may sleep first, or never end, and a run may be dropped there.
pub trait Faults: Send + Sync {
    /// Called before the model executes a request.
    fn before(&self, _seen: &Seen) -> BoxFuture<'static, Before> {
        Box::pin(std::future::ready(Before::Pass))
    }

    /// Called after the request was executed, with the status of the answer.
    fn after(&self, _seen: &Seen, _status: u16) -> BoxFuture<'static, After> {
        Box::pin(std::future::ready(After::Pass))
    }
}

/// No faults.
pub struct Calm;

impl Faults for Calm {}

/// An HTTP client that answers from the model, through `faults`.
pub fn http_client(model: &Model, faults: Arc<dyn Faults>) -> SharedHttpClient {
    let connector = SharedHttpConnector::new(Connector { model: model.clone(), faults });
    http_client_fn(move |_, _| connector.clone())
}

/// A configuration of the SDK that reaches the model, through `faults`.
pub fn config(model: &Model, faults: Arc<dyn Faults>, key: &Pair, region: &str) -> SdkConfig {
    base(key, region).to_builder().http_client(http_client(model, faults)).build()
}

/// A configuration that signs with `key`.
pub fn base(key: &Pair, region: &str) -> SdkConfig {
    let credentials = Credentials::new(&key.id, &key.secret, None, None, "model");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(region.to_owned()))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build()
}

struct Connector {
    model: Model,
    faults: Arc<dyn Faults>,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connector")
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (model, faults) = (self.model.clone(), self.faults.clone());
        HttpConnectorFuture::new(async move {
            let request = plain(request).await;
            let seen = Seen::of(&request);
            let answer = match faults.before(&seen).await {
                Before::Pass => model.answer(&request),
                Before::Answer(status, code) => return Ok(sdk(wire::error(&seen.service, status, code))),
                Before::Cut => return Err(cut()),
            };
            match faults.after(&seen, answer.status().as_u16()).await {
                After::Pass => Ok(sdk(answer)),
                After::Cut => Err(cut()),
            }
        })
    }
}

fn cut() -> ConnectorError {
    ConnectorError::io("connection closed before message completed".into())
}

async fn plain(mut request: HttpRequest) -> Request<Bytes> {
    let body = ByteStream::new(request.take_body()).collect().await.expect("a body in memory").into_bytes();
    let mut plain = Request::builder().method(request.method()).uri(request.uri());
    for (name, value) in request.headers() {
        plain = plain.header(name, value);
    }
    plain.body(body).unwrap()
}

fn sdk(answer: Response<Bytes>) -> HttpResponse {
    let mut response = HttpResponse::new(answer.status().as_u16().try_into().unwrap(), SdkBody::from(answer.body().clone()));
    for (name, value) in answer.headers() {
        response.headers_mut().insert(name.as_str().to_owned(), value.to_str().unwrap().to_owned());
    }
    response
}

impl Seen {
    fn of(request: &Request<Bytes>) -> Self {
        let signed = Signed::of(request);
        let (service, region, key) =
            signed.map_or_else(|| ("s3".to_owned(), String::new(), String::new()), |s| (s.service, s.region, s.key));
        let form = std::str::from_utf8(request.body()).unwrap_or_default();
        let action = action(request, &service, &wire::pairs(form, true));
        let path = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let target = if service == "s3" { path } else { form }.to_owned();
        Self { write: is_write(&action), action, service, region, key, target }
    }
}
