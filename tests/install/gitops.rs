//! What GitOps needs of the operator: Argo CD's way to apply finds no difference and fights no write; the commands of docs/gitops.md work;
//! the script for pull requests prints the plan.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::support::harness::Harness;
use crate::support::merge::merge;
use crate::support::stack::{ROOT, Stack};

/// Every connection of examples/, in the harness's namespace and account.
fn examples(namespace: &str) -> Vec<Value> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(format!("{ROOT}/examples")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yaml"));
    let read = |file: &PathBuf| serde_saphyr::from_multiple::<Value>(&std::fs::read_to_string(file).unwrap()).unwrap();
    let mut documents: Vec<Value> = files.iter().flat_map(read).collect();
    documents.retain(|document| document["kind"] == "BucketConnection");
    for document in &mut documents {
        document["metadata"]["namespace"] = json!(namespace);
    }
    documents
}

#[tokio::test]
async fn argo_cd_finds_no_difference_and_fights_no_write() {
    let harness = Harness::new("argo").await;
    let documents = examples(&harness.namespace);
    assert!(documents.len() >= 12);
    existing_keys(&harness, &documents).await;
    let file = harness.directory.join("application.yaml");
    std::fs::write(&file, documents.iter().map(|document| format!("---\n{document}\n")).collect::<String>()).unwrap();
    let sync = || {
        let file = file.to_str().unwrap();
        let applied = harness.kubectl(&["apply", "--server-side", "--field-manager=argocd-controller", "-f", file]);
        assert!(applied.status.success(), "{}", text(&applied));
    };
    sync();
    for document in &documents {
        harness.ready(document["metadata"]["name"].as_str().unwrap()).await;
    }
    let synced_without_a_write = || {
        let before = live(&harness);
        sync();
        let record = |objects: &[Value]| objects.iter().map(|object| object["metadata"].clone()).collect::<Vec<_>>();
        assert_eq!(record(&live(&harness)), record(&before), "a sync wrote something");
    };
    synced_without_a_write();
    // In between, the operator reconciles, and writes its status and keeps its finalizer.
    for document in &documents {
        harness.check(document["metadata"]["name"].as_str().unwrap()).await;
    }
    synced_without_a_write();
    let arguments = ["diff", "--server-side", "--field-manager=argocd-controller", "-f", file.to_str().unwrap()];
    let difference = harness.kubectl(&arguments);
    assert_eq!(difference.status.code(), Some(0), "{}", text(&difference));
    without_server_side_apply(&documents, &live(&harness));
}

/// Argo CD's other way to compare: each field of the file has the same value in the stored object, and a list has nothing more.
fn without_server_side_apply(documents: &[Value], live: &[Value]) {
    for document in documents {
        let name = &document["metadata"]["name"];
        let stored = live.iter().find(|object| object["metadata"]["name"] == *name).unwrap();
        let mut merged = stored.clone();
        merge(&mut merged, document.clone());
        assert_eq!(merged, *stored, "{name}");
    }
}

/// The keys that examples take from a Secret.
async fn existing_keys(harness: &Harness, documents: &[Value]) {
    let (id, key) = harness.emulator.key("administrator");
    for name in documents.iter().filter_map(|document| document.pointer("/spec/credentials/existingSecretRef/name")) {
        let name = name.as_str().unwrap();
        let data = json!({ "AWS_ACCESS_KEY_ID": id, "AWS_SECRET_ACCESS_KEY": key });
        let secret: Secret = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "stringData": data,
        }))
        .unwrap();
        harness.secrets().patch(name, &PatchParams::apply("user"), &Patch::Apply(secret)).await.unwrap();
    }
}

/// The stored objects, with the record of who wrote which field.
fn live(harness: &Harness) -> Vec<Value> {
    let list = harness.kubectl(&["get", "bucketconnections", "-o", "json", "--show-managed-fields"]);
    let list: Value = serde_json::from_slice(&list.stdout).unwrap();
    list["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn the_commands_of_the_page_work() {
    // Its own cluster: an operator for one namespace does not reconcile the accounts.
    let stack = Stack::start("recipes", &["--no-aws"]);
    let mut harness = Harness::idle("recipes", &stack, &[]).await;
    harness.whole_cluster = true;
    harness.start();
    let mut object = harness.connection("bucket-recipes", json!({}));
    object["metadata"]["name"] = json!("genomics");
    harness.apply(&object).await;
    let page = std::fs::read_to_string(format!("{ROOT}/docs/gitops.md")).unwrap();
    let section = page.split("\n## kubectl wait\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let commands: Vec<_> = section.lines().filter_map(|line| line.strip_prefix("$ kubectl ")).collect();
    assert_eq!(commands.len(), 9, "{commands:?}");
    let names = [stack.fact("kubectl"), "--kubeconfig", &harness.kubeconfig, "--namespace", &harness.namespace];
    for command in commands {
        let line = format!("{} {command}", names.join(" "));
        let done = Command::new("sh").args(["-c", &line]).env_clear().env("HOME", &harness.directory).output().unwrap();
        assert!(done.status.success(), "kubectl {command}: {}", text(&done));
    }
}

#[tokio::test]
async fn a_pull_request_gets_the_plan() {
    let mut harness = Harness::idle("request", Stack::cluster(), &[]).await;
    let place = |folder: &str| {
        let place = harness.directory.join(folder);
        std::fs::create_dir_all(&place).unwrap();
        place
    };
    let (changed, invalid) = (place("teams/one"), place("teams/two"));
    let object = harness.connection("bucket-request", json!({}));
    std::fs::write(changed.join("c.yaml"), object.to_string()).unwrap();
    let mut wrong = harness.connection("bucket-request-two", json!({ "bucket": { "prefix": "/runs" } }));
    wrong["metadata"]["name"] = json!("wrong");
    std::fs::write(invalid.join("c.yaml"), wrong.to_string()).unwrap();

    let (code, comment) = pull_request(&harness, &["teams/one"]);
    assert_eq!(code, 0, "{comment}");
    let title = format!("<details><summary><b>{}/c</b>: 6 steps</summary>\n\n```diff\n", harness.namespace);
    assert!(comment.starts_with("### `teams/one`\n\n**Plan:** 1 to change; 6 steps\n") && comment.contains(&title), "{comment}");
    assert!(comment.contains("\n+ create bucket bucket-request in us-east-1\n"), "{comment}");

    let (code, comment) = pull_request(&harness, &["teams/one", "teams/two"]);
    assert_eq!(code, 1, "{comment}");
    assert!(
        comment.contains("### `teams/one`\n\n**Plan:** 1 to change") && comment.contains("### `teams/two`\n\n**Plan:** 1 failed"),
        "{comment}"
    );
    assert!(comment.contains("bucket.prefix must not begin with"), "{comment}");

    harness.start();
    harness.apply(&object).await;
    harness.ready("c").await;
    let (code, comment) = pull_request(&harness, &["teams/one"]);
    assert!(code == 0 && comment.starts_with("### `teams/one`\n\n**Plan:** 1 in sync; 0 steps\n"), "{comment}");
}

/// Runs the script in the harness's folder, with the real binary; returns exit code and comment.
fn pull_request(harness: &Harness, folders: &[&str]) -> (i32, String) {
    let programs = harness.directory.join("bin");
    if !programs.exists() {
        std::fs::create_dir(&programs).unwrap();
        symlink(Path::new(env!("CARGO_BIN_EXE_bucketconnection")), programs.join("bucketconnection")).unwrap();
    }
    let (id, secret) = harness.emulator.key("operator");
    let path = std::env::var("PATH").unwrap_or_default();
    let done = Command::new("sh")
        .arg(format!("{ROOT}/examples/gitops/ci/plan.sh"))
        .args(folders)
        .current_dir(&harness.directory)
        .env_clear()
        .env("PATH", format!("{}:{path}", programs.display()))
        .env("KUBECONFIG", &harness.operator_kubeconfig)
        .env("AWS_ENDPOINT_URL", &harness.proxy.url)
        .env("AWS_ACCESS_KEY_ID", id)
        .env("AWS_SECRET_ACCESS_KEY", secret)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .output()
        .unwrap();
    assert!(done.stderr.is_empty(), "{}", text(&done));
    (done.status.code().unwrap(), text(&done))
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}
