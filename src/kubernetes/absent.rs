//! A cluster that is not there: for plans without a cluster.

use std::convert::Infallible;

use http::{Response, StatusCode};
use kube::Client;
use kube::client::Body;
use serde_json::json;

use super::{Kubernetes, object};
use crate::desired::names;

/// The code of every problem of a cluster that is not there.
pub const NO_CLUSTER: &str = "NoCluster";

impl Kubernetes {
    /// A cluster in which nothing exists, or, if `unknown`, of which nothing can be read. It makes no calls.
    pub fn absent(cluster: String, unknown: bool) -> Self {
        let answer = move |request: http::Request<Body>| {
            let namespace = request.uri().path().starts_with("/api/v1/namespaces/")
                && request.uri().path().trim_end_matches('/').matches('/').count() == 4;
            async move { Ok::<_, Infallible>(answer(unknown || namespace)) }
        };
        let client = Client::new(tower::service_fn(answer), "default");
        Self { client, cluster, uid: names::UNKNOWN_CLUSTER.to_owned(), written: object::Written::default() }
    }
}

fn answer(unknown: bool) -> Response<Body> {
    // 401, because a preview can do without what it may not read.
    let (code, reason) = if unknown { (StatusCode::UNAUTHORIZED, NO_CLUSTER) } else { (StatusCode::NOT_FOUND, "NotFound") };
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code.as_u16(), "reason": reason,
        "message": "the plan is without a cluster",
    });
    let mut response = Response::new(Body::from(status.to_string().into_bytes()));
    *response.status_mut() = code;
    response
}
