//! Which objects a document contains, and the object of the API that each is.

use std::sync::{Arc, LazyLock};

use kube::{CustomResourceExt, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::metadata;
use super::schema::{Schema, Violation, meant};
use super::yaml::{self, Node};
use super::{Finding, Found, Manifest, Severity, Source};
use crate::api::{AWSAccount, BucketConnection, GROUP};

/// The kinds that files are read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the kinds of the API")]
pub enum Kind {
    BucketConnection,
    AWSAccount,
}

const VERSION: &str = "bucketconnection.dev/v1alpha1";
const KINDS: [&str; 2] = ["BucketConnection", "AWSAccount"];

static CONNECTION: LazyLock<Schema> = LazyLock::new(schema::<BucketConnection>);
static ACCOUNT: LazyLock<Schema> = LazyLock::new(schema::<AWSAccount>);

impl Kind {
    fn schema(self) -> &'static Schema {
        match self {
            Self::BucketConnection => &CONNECTION,
            Self::AWSAccount => &ACCOUNT,
        }
    }
}

/// The description of a field of a kind, such as `spec.bucket.prefix`, as `kubectl explain` shows it.
pub fn description(kind: Kind, field: &str) -> Option<&'static str> {
    kind.schema().at(field)?.get("description")?.as_str()
}

/// The schema of a whole object: that of the CRD, without the status, and with the metadata that Kubernetes has.
fn schema<K: CustomResourceExt>() -> Schema {
    let crd = serde_json::to_value(K::crd()).unwrap_or_default();
    let spec = crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec").cloned().unwrap_or_default();
    let text = json!({ "type": "string" });
    let texts = json!({ "type": "object", "additionalProperties": text, "nullable": true });
    let any = json!({});
    Schema::new(json!({
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": {
            "apiVersion": text, "kind": text, "spec": spec, "status": any,
            "metadata": { "type": "object", "properties": {
                "name": text, "generateName": text, "namespace": text, "labels": texts, "annotations": texts,
                "finalizers": { "type": "array", "items": text, "nullable": true }, "ownerReferences": any, "uid": any, "resourceVersion": any,
                "generation": any, "creationTimestamp": any, "deletionTimestamp": any, "deletionGracePeriodSeconds": any,
                "managedFields": any, "selfLink": any,
            } },
        },
    }))
}

/// Adds the objects of a document to the manifest.
pub(super) fn sort(file: &Arc<str>, document: Arc<Node>, namespace: &str, manifest: &mut Manifest) {
    // An empty document, such as one with only comments.
    if document.is_null() {
        return;
    }
    let kind = text(&document, "kind");
    if let (true, Some(yaml::Kind::List(items))) = (kind.ends_with("List"), document.get("items").map(|items| &items.kind)) {
        // Not recursive: kubectl has no lists of lists.
        items.iter().for_each(|item| object(file, item.clone(), namespace, manifest));
        return;
    }
    object(file, document, namespace, manifest);
}

fn object(file: &Arc<str>, node: Arc<Node>, namespace: &str, manifest: &mut Manifest) {
    let (version, kind) = (text(&node, "apiVersion"), text(&node, "kind"));
    let ours = version.split('/').next() == Some(GROUP);
    match kind {
        "BucketConnection" => {
            let found = connection(file, node, namespace);
            manifest.connections.push(found);
        }
        "AWSAccount" if ours || version.is_empty() => {
            let name = format!("AWSAccount {}", name_of(&node));
            let value = node.value();
            manifest.accounts.push(found(file, node, name, value, Kind::AWSAccount));
        }
        "Namespace" if version == "v1" => {
            let labels = node.get("metadata").and_then(|metadata| metadata.get("labels")).map(Node::value);
            let labels = serde_json::from_value(labels.unwrap_or_default()).unwrap_or_default();
            manifest.labels.insert(name_of(&node).to_owned(), labels);
            manifest.others += 1;
        }
        _ => match flaw(&node, version, kind, ours) {
            Some((field, message)) => {
                let source = Source { file: file.clone(), node };
                let (at, file, severity) = (source.locate(field), file.to_string(), Severity::Error);
                let field = Some(field.to_owned()).filter(|field| !field.is_empty());
                manifest.flaws.push(Finding { file, at, severity, rule: "kind", object: None, field, message });
            }
            None => manifest.others += 1,
        },
    }
}

/// Why an object cannot be of another kind: it has none, or one that looks like a misspelled kind of this API.
fn flaw(node: &Node, version: &str, kind: &str, ours: bool) -> Option<(&'static str, String)> {
    if !matches!(node.kind, yaml::Kind::Object(_)) {
        return Some(("", "not an object; an object begins with apiVersion and kind".to_owned()));
    }
    let similar = meant(kind, KINDS, "");
    if kind.is_empty() && version.is_empty() {
        return Some(("", "not an object of Kubernetes: it has neither apiVersion nor kind".to_owned()));
    }
    if kind.is_empty() {
        return Some(("kind", "required, but missing; write BucketConnection or AWSAccount".to_owned()));
    }
    if ours {
        let known = if similar.is_empty() { format!(" (allowed: {})", KINDS.join(", ")) } else { similar };
        return Some(("kind", format!("{kind:?} is no kind of {GROUP}{known}")));
    }
    // Of another group of that kind's name there may be objects: this one has a group that is nearly right.
    let group = version.split('/').next().unwrap_or_default();
    if !similar.is_empty() && (version.is_empty() || !meant(group, [GROUP], "").is_empty()) {
        return Some(("apiVersion", format!("{version:?} has no kind {kind}; write apiVersion: {VERSION}")));
    }
    None
}

fn connection(file: &Arc<str>, node: Arc<Node>, namespace: &str) -> Found<BucketConnection> {
    let own = node.get("metadata").and_then(|metadata| metadata.get("namespace")).and_then(Node::text);
    let namespace = own.filter(|own| !own.is_empty()).unwrap_or(namespace);
    let name = format!("{namespace}/{}", name_of(&node));
    let mut value = node.value();
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("namespace".to_owned(), namespace.into());
    }
    found(file, node, name, value, Kind::BucketConnection)
}

/// The object, and where it breaks the schema.
fn found<K>(file: &Arc<str>, node: Arc<Node>, name: String, value: Value, kind: Kind) -> Found<K>
where
    K: Resource<DynamicType = ()> + DeserializeOwned,
{
    let source = Source { file: file.clone(), node: node.clone() };
    let mut found = Found { name, object: None, violations: Vec::new(), source };
    let violations = kind.schema().check("", node.at, &node);
    found.violations = violations
        .into_iter()
        .map(|Violation { at, rule, field, message }| found.finding_at(at, rule, &field, message))
        .collect();
    found.violations.extend(beyond_schema::<K>(&found, &node));
    match serde_json::from_value(value) {
        Ok(object) => found.object = Some(object),
        Err(error) if found.violations.is_empty() => {
            found.violations.push(found.finding("type", "spec", format!("cannot be read: {error}")));
        }
        Err(_) => {}
    }
    found
}

/// Violations that a schema does not find: the API version, and names.
fn beyond_schema<K: Resource<DynamicType = ()>>(found: &Found<K>, node: &Node) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (version, known) = (text(node, "apiVersion"), K::api_version(&()));
    if !version.is_empty() && version != known {
        findings.push(found.finding("kind", "apiVersion", format!("unknown apiVersion {version:?}; write {known}")));
    }
    findings.extend(metadata::check(found));
    findings
}

fn text<'a>(node: &'a Node, field: &str) -> &'a str {
    node.get(field).and_then(Node::text).unwrap_or_default()
}

fn name_of(node: &Node) -> &str {
    let name = node.get("metadata").and_then(|metadata| metadata.get("name")).and_then(Node::text);
    name.filter(|name| !name.is_empty()).unwrap_or("(without a name)")
}
