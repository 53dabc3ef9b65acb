//! Every file under examples/, applied unchanged with kubectl: the API server accepts it, the operator signs in to
//! every account, and every connection becomes Ready. A new example is included automatically. Their accounts, roles
//! and external IDs are those of the emulator (deploy/local/aws.py), so the test substitutes nothing. It only adds the
//! keys that an AWSAccount or a connection takes from a Secret, which no example can contain.

use std::path::{Path, PathBuf};

use bucketconnection::api::{AWSAccount, BucketConnection};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::accounts;
use crate::support::stack::ROOT;

/// Objects of other programs, which this cluster does not have: tests/install applies those of Flux.
const ELSEWHERE: [&str; 3] = ["examples/gitops/flux", "examples/gitops/argocd", "examples/gitops/ci"];

fn files(place: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(place).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if ELSEWHERE.iter().any(|folder| path.ends_with(folder)) {
                continue;
            }
            found.extend(files(&path));
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// All documents of all examples.
pub fn all() -> Vec<Value> {
    let text = |file: &PathBuf| std::fs::read_to_string(file).unwrap();
    files(Path::new(&format!("{ROOT}/examples")))
        .iter()
        .flat_map(|file| serde_saphyr::from_multiple::<Value>(&text(file)).unwrap())
        .collect()
}

fn kind(document: &Value) -> &str {
    document["kind"].as_str().unwrap_or_default()
}

/// Puts a key into a Secret.
async fn put(client: &Client, namespace: &str, name: &str, id: &str, key: &str) {
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name },
        "stringData": { "AWS_ACCESS_KEY_ID": id, "AWS_SECRET_ACCESS_KEY": key },
    });
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    secrets.patch(name, &PatchParams::apply("user"), &Patch::Apply(secret)).await.unwrap();
}

#[tokio::test]
async fn every_example_works_unchanged() {
    let mut harness = accounts::harness("examples").await;
    let (id, key) = harness.emulator.key("operator");
    let (mut accounts, mut connections) = (Vec::new(), Vec::new());
    for file in files(Path::new(&format!("{ROOT}/examples"))) {
        let shown = file.strip_prefix(ROOT).unwrap().display().to_string();
        let applied =
            harness.kubectl(&["apply", "--server-side", "--force-conflicts", "--namespace=", "-f", file.to_str().unwrap()]);
        assert!(applied.status.success(), "{shown}: {}", String::from_utf8_lossy(&applied.stderr));
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("# "), "{shown} does not begin by saying for whom it is");
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
        for document in documents {
            match kind(&document) {
                "AWSAccount" => {
                    let account: AWSAccount = serde_json::from_value(document).unwrap();
                    accounts.push(account.metadata.name.unwrap());
                    let Some(reference) = account.spec.sign_in.credentials.secret_ref else { continue };
                    put(&harness.client, &reference.namespace, &reference.name, &id, &key).await;
                }
                "BucketConnection" => {
                    let object: BucketConnection = serde_json::from_value(document).unwrap();
                    if let Some(name) = object.spec.existing_secret() {
                        let (id, key) = harness.emulator.key("administrator");
                        put(&harness.client, object.metadata.namespace.as_ref().unwrap(), name, &id, &key).await;
                    }
                    connections.push((object.metadata.namespace.unwrap(), object.metadata.name.unwrap(), shown.clone()));
                }
                _ => {}
            }
        }
    }
    let index = std::fs::read_to_string(format!("{ROOT}/examples/README.md")).unwrap();
    let mut names: Vec<_> = connections.iter().map(|(namespace, name, _)| (namespace, name)).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), connections.len(), "two examples have an object of the same name");
    for account in accounts {
        harness.account_told(&account, "SignedIn").await;
    }
    for (namespace, name, file) in connections {
        let named = file.strip_prefix("examples/").unwrap();
        assert!(index.contains(&format!("({named})")), "examples/README.md has no row for {file}");
        harness.namespace = namespace;
        harness.ready(&name).await;
    }
}
