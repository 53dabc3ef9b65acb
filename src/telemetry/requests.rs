//! Counts the requests to the API server, as a layer of kube's client: also its lists and watches.

use std::task::{Context, Poll};
use std::time::Instant;

use futures::future::BoxFuture;
use http::{Method, Request, Response};
use tower::{Layer, Service};

use super::meters;

/// The resources that the operator uses; all others together are `other`.
const RESOURCES: [&str; 12] = [
    "awsaccounts",
    "bucketconnections",
    "daemonsets",
    "deployments",
    "events",
    "leases",
    "namespaces",
    "rolebindings",
    "roles",
    "secrets",
    "statefulsets",
    "other",
];

/// Counts each request, its status code and the time until it was answered.
#[derive(Clone, Copy)]
pub struct Requests;

impl<S> Layer<S> for Requests {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted(inner)
    }
}

/// A client whose requests are counted.
#[derive(Clone)]
pub struct Counted<S>(S);

impl<S, In, Out> Service<Request<In>> for Counted<S>
where
    S: Service<Request<In>, Response = Response<Out>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<In>) -> Self::Future {
        let (verb, resource) = named(request.method(), request.uri().path(), request.uri().query().unwrap_or_default());
        let began = Instant::now();
        let answer = self.0.call(request);
        Box::pin(async move {
            let answer = answer.await;
            let code = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
            meters().api_request(verb, resource, code, began.elapsed());
            if code == 200 && matches!(verb, "list" | "watch") {
                meters().watch_opened(resource);
            }
            answer
        })
    }
}

/// Verb and resource of a request, as RBAC names them
/// (<https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris>).
fn named(method: &Method, path: &str, query: &str) -> (&'static str, &'static str) {
    let mut parts = path.trim_matches('/').split('/').skip_while(|part| *part == "api" || *part == "apis");
    if path.starts_with("/apis/") {
        parts.next();
    }
    // The version is left out, too.
    let parts: Vec<_> = parts.skip(1).collect();
    let (resource, name) = match parts.as_slice() {
        ["namespaces", _, resource, rest @ ..] => (*resource, rest.first()),
        [resource, rest @ ..] => (*resource, rest.first()),
        [] => ("other", None),
    };
    let watches = query.split('&').any(|part| part.starts_with("watch=") && part != "watch=false");
    let verb = match method.as_str() {
        "GET" | "HEAD" if watches => "watch",
        "GET" | "HEAD" if name.is_none() => "list",
        "GET" | "HEAD" => "get",
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "other",
    };
    (verb, RESOURCES.into_iter().find(|known| *known == resource).unwrap_or("other"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_and_resources_are_those_of_rbac() {
        let ours = "/apis/bucketconnection.dev/v1alpha1";
        for (method, path, query, verb, resource) in [
            ("GET", "/api/v1/namespaces/lab/secrets/c-s3", "", "get", "secrets"),
            ("GET", "/api/v1/namespaces/kube-system", "", "get", "namespaces"),
            ("GET", "/api/v1/namespaces/namespaces/secrets/namespaces", "", "get", "secrets"),
            ("GET", &format!("{ours}/bucketconnections"), "limit=50&watch=false", "list", "bucketconnections"),
            ("GET", &format!("{ours}/bucketconnections"), "watch=true&timeoutSeconds=290", "watch", "bucketconnections"),
            ("GET", &format!("{ours}/namespaces/lab/bucketconnections"), "", "list", "bucketconnections"),
            ("PATCH", &format!("{ours}/namespaces/lab/bucketconnections/c/status"), "", "patch", "bucketconnections"),
            ("POST", "/apis/events.k8s.io/v1/namespaces/lab/events", "", "create", "events"),
            ("PUT", "/apis/coordination.k8s.io/v1/namespaces/a/leases/b", "", "update", "leases"),
            ("DELETE", "/api/v1/namespaces/lab/secrets/c-s3", "", "delete", "secrets"),
            ("GET", "/api/v1/pods", "", "list", "other"),
            ("GET", "/version", "", "list", "other"),
            ("GET", "/", "", "list", "other"),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(named(&method, path, query), (verb, resource), "{method} {path}?{query}");
        }
    }
}
