//! Requests, parsed from path, query and body.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::model::wire::pairs;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Get,
    List,
    Watch,
    Create,
    Merge,
    Apply,
    Delete,
}

/// One request. `resource` is the plural name, which is enough to distinguish the kinds that are stored here.
#[derive(Clone, Debug)]
pub struct Request {
    pub verb: Verb,
    pub resource: String,
    pub namespace: String,
    pub name: String,
    pub status: bool,
    pub query: BTreeMap<String, String>,
    pub metadata_only: bool,
    pub body: Value,
}

impl Request {
    pub fn new(verb: Verb, resource: &str, namespace: &str, name: &str, body: Value) -> Self {
        let text = str::to_owned;
        Self {
            verb,
            resource: text(resource),
            namespace: text(namespace),
            name: text(name),
            status: false,
            query: BTreeMap::new(),
            metadata_only: false,
            body,
        }
    }

    pub fn parse(head: &http::request::Parts, body: &[u8]) -> Self {
        let query: BTreeMap<_, _> = pairs(head.uri.query().unwrap_or_default(), true).into_iter().collect();
        let mut path: Vec<_> = head.uri.path().split('/').filter(|part| !part.is_empty()).collect();
        // api/v1/... or apis/<group>/<version>/...
        path.drain(..if path[0] == "api" { 2 } else { 3 });
        let namespace = match path[..] {
            ["namespaces", namespace, _, ..] => {
                path.drain(..2);
                namespace
            }
            _ => "",
        };
        let header = |name: http::HeaderName| head.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let name = path.get(1).copied().unwrap_or_default();
        let verb = match (head.method.as_str(), name) {
            ("GET", "") if query.get("watch").is_some_and(|watch| watch == "true") => Verb::Watch,
            ("GET", "") => Verb::List,
            ("GET", _) => Verb::Get,
            ("POST", _) => Verb::Create,
            ("PATCH", _) if header(http::header::CONTENT_TYPE).contains("apply-patch") => Verb::Apply,
            ("PATCH", _) => Verb::Merge,
            ("DELETE", _) => Verb::Delete,
            (other, _) => panic!("the API server in memory knows no {other}"),
        };
        let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(body).unwrap() };
        Self {
            status: path.get(2) == Some(&"status"),
            metadata_only: header(http::header::ACCEPT).contains("as=PartialObjectMetadata"),
            query,
            ..Self::new(verb, path[0], namespace, name, body)
        }
    }

    pub fn asked(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    pub fn dry_run(&self) -> bool {
        self.asked("dryRun") == Some("All")
    }

    /// In RBAC's words: `patch secrets`.
    pub fn action(&self) -> String {
        let verb = match self.verb {
            Verb::Get => "get",
            Verb::List => "list",
            Verb::Watch => "watch",
            Verb::Create => "create",
            Verb::Merge | Verb::Apply => "patch",
            Verb::Delete => "delete",
        };
        let dry = if self.dry_run() { " (dry run)" } else { "" };
        format!("{verb} {}{}{dry}", self.resource, if self.status { "/status" } else { "" })
    }
}
