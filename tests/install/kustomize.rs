//! deploy/kubernetes: the base is what the chart prints, and each overlay is what the chart prints with its values.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Output;

use serde_json::Value;

use super::chart::{NAMESPACE, kubectl, succeeded, template};
use crate::support::stack::{ROOT, Stack};

/// The overlays with the values that lead to the same objects.
const OVERLAYS: [(&str, &[&str]); 3] = [
    ("cluster-wide", &[]),
    ("namespaces", &["--set", "watch.namespaces={lab-a,lab-b}"]),
    ("observe-only", &["--set", "observeOnly=true"]),
];
/// In labels: only helm needs these.
const HELM_ONLY: [&str; 2] = ["helm.sh/chart:", "app.kubernetes.io/managed-by: Helm"];

fn folder(path: &str) -> PathBuf {
    PathBuf::from(format!("{ROOT}/deploy/kubernetes/{path}"))
}

/// An object as the chart prints it, with its comments.
struct Document {
    /// The template that printed it.
    file: String,
    text: String,
    object: Value,
}

impl Document {
    fn id(&self) -> String {
        id(&self.object)
    }
}

fn id(object: &Value) -> String {
    let part = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    format!("{} {}/{}", part("/kind"), part("/metadata/namespace"), part("/metadata/name"))
}

/// What the chart prints for plain kubectl.
fn printed(values: &[&str]) -> Vec<Document> {
    let text = template(&[&["--skip-tests", "--set", "crds.install=false"], values].concat());
    let documents = text.split("---\n# Source: bucketconnection/templates/").skip(1);
    documents
        .map(|document| {
            let (file, text) = document.split_once('\n').unwrap();
            let lines = text.trim().lines().filter(|line| !HELM_ONLY.iter().any(|word| line.trim().starts_with(word)));
            let text = lines.map(|line| format!("{}\n", line.trim_end())).collect::<String>();
            let object = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}\n{text}"));
            Document { file: file.to_owned(), text, object }
        })
        .collect()
}

/// Compares a file with what it must contain, or writes it.
fn compare(file: &str, text: &str) {
    if std::env::var("UPDATE").is_ok() {
        fs::write(folder(file), text).unwrap();
    }
    let found = fs::read_to_string(folder(file)).unwrap_or_default();
    assert!(found == text, "deploy/kubernetes/{file} is stale: UPDATE=1 cargo test --test install kustomize:: updates it");
}

#[test]
fn the_files_match_the_chart() {
    let base = printed(&[]);
    let mut files: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for document in &base {
        files.entry(&document.file).or_default().push(&document.text);
    }
    let names: Vec<_> = files.keys().copied().collect();
    assert_eq!(names, ["access.yaml", "confine.yaml", "deployment.yaml", "network.yaml", "rbac.yaml", "restart.yaml"]);
    for (file, texts) in &files {
        compare(&format!("base/{file}"), &texts.join("---\n"));
    }
    for (overlay, values) in &OVERLAYS[1..] {
        let wanted = printed(values);
        let before = |document: &Document| base.iter().find(|other| other.id() == document.id());
        let joined = |texts: Vec<String>| texts.join("---\n");
        let text = |document: &Document| document.text.clone();
        let added = wanted.iter().filter(|document| before(document).is_none()).map(text);
        let changed = wanted.iter().filter(|document| before(document).is_some_and(|other| other.object != document.object));
        let removed = base.iter().filter(|document| !wanted.iter().any(|other| other.id() == document.id()));
        let removed = removed.map(|document| {
            let [version, kind, name] = ["/apiVersion", "/kind", "/metadata/name"].map(|at| document.object.pointer(at).unwrap());
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            format!("$patch: delete\napiVersion: {}\nkind: {}\nmetadata:\n  name: {}\n", text(version), text(kind), text(name))
        });
        compare(&format!("overlays/{overlay}/added.yaml"), &joined(added.collect()));
        compare(&format!("overlays/{overlay}/changed.yaml"), &joined(changed.map(text).collect()));
        compare(&format!("overlays/{overlay}/removed.yaml"), &joined(removed.collect()));
    }
}

fn stack_kubectl(arguments: &[&str]) -> Output {
    kubectl(Stack::cluster(), arguments, None)
}

/// What `kubectl kustomize` prints, by kind, namespace and name.
fn built(path: &str) -> BTreeMap<String, Value> {
    let text = succeeded(stack_kubectl(&["kustomize", folder(path).to_str().unwrap()]));
    let objects = text.split("\n---\n").map(|text| serde_saphyr::from_str::<Value>(text).unwrap());
    objects.map(|object| (id(&object), object)).collect()
}

#[test]
fn each_overlay_is_the_chart_with_its_values() {
    for (overlay, values) in OVERLAYS {
        let mut objects = built(&format!("overlays/{overlay}"));
        let shipped = objects.len();
        objects.retain(|id, _| !id.starts_with("CustomResourceDefinition") && !id.starts_with("Namespace"));
        assert_eq!(shipped - objects.len(), 3, "{overlay}: two CRDs and the namespace");
        let wanted: BTreeMap<_, _> = printed(values).into_iter().map(|document| (document.id(), document.object)).collect();
        assert_eq!(objects.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>(), "{overlay}");
        for (id, object) in &objects {
            assert_eq!(object, &wanted[id], "{overlay}: {id}");
        }
    }
}

#[test]
fn the_api_server_accepts_each_overlay() {
    for namespace in ["lab-a", "lab-b"] {
        super::chart::ensure_namespace(Stack::cluster(), namespace);
    }
    for (overlay, _) in OVERLAYS {
        let place = folder(&format!("overlays/{overlay}"));
        let apply = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "-k", place.to_str().unwrap()];
        let text = succeeded(stack_kubectl(&apply));
        assert!(text.contains(&format!("namespace/{NAMESPACE} serverside-applied")), "{overlay}: {text}");
        assert!(text.contains("deployment.apps/bucketconnection serverside-applied"), "{overlay}: {text}");
    }
    // As docs/install.md says: kubectl apply deletes nothing.
    for overlay in ["namespaces", "observe-only"] {
        let place = folder(&format!("overlays/{overlay}/removed.yaml"));
        let text = succeeded(stack_kubectl(&["delete", "--dry-run=server", "-f", place.to_str().unwrap()]));
        assert!(text.contains("clusterrolebinding.rbac.authorization.k8s.io \"bucketconnection-access\" deleted"), "{text}");
    }
}
