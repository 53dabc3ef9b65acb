//! What Flux and Argo CD say about recorded objects, computed by their own code: kstatus of Flux, and the Lua machine of Argo CD with the
//! scripts of `deploy/gitops/argocd`, which have the layout of Argo CD's own repository.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::support::harness::Harness;
use crate::support::stack::{ROOT, Stack};
use crate::support::tools::tool;

/// What a person expects: the recorded object, the status by kstatus, the health by Argo CD.
const CONNECTIONS: [(&str, &str, &str); 30] = [
    ("degraded_account_not_found", "Failed", "Degraded"),
    ("degraded_awaiting_approval", "Failed", "Degraded"),
    ("degraded_bucket_not_owned", "Failed", "Degraded"),
    ("degraded_deletion_blocked", "Terminating", "Degraded"),
    ("degraded_denied", "Failed", "Degraded"),
    ("degraded_drift_not_reverted", "Failed", "Degraded"),
    ("degraded_invalid_spec", "Failed", "Degraded"),
    ("degraded_key_compromised", "Failed", "Degraded"),
    ("degraded_not_allowed", "Failed", "Degraded"),
    ("degraded_unreadable", "Failed", "Degraded"),
    ("degraded_user_not_owned", "Failed", "Degraded"),
    ("healthy_connected", "Current", "Healthy"),
    ("healthy_drift_reverted", "Current", "Healthy"),
    ("healthy_observe_only", "Current", "Healthy"),
    ("healthy_revoked_with_another_key", "Current", "Healthy"),
    ("healthy_rotation_overlap", "Current", "Healthy"),
    // The connection works; Flux waits until the operator could read AWS again.
    ("healthy_throttled", "InProgress", "Healthy"),
    ("progressing_changed", "InProgress", "Progressing"),
    ("progressing_corrected", "InProgress", "Progressing"),
    ("progressing_creating", "InProgress", "Progressing"),
    ("progressing_deleting", "Terminating", "Progressing"),
    ("progressing_deletion_requested", "Terminating", "Progressing"),
    ("progressing_drift_throttled", "InProgress", "Progressing"),
    ("progressing_key_unknown_to_aws", "InProgress", "Progressing"),
    ("progressing_new", "InProgress", "Progressing"),
    ("progressing_revoked", "InProgress", "Progressing"),
    ("progressing_throttled", "InProgress", "Progressing"),
    ("progressing_unavailable_for_ten_minutes", "InProgress", "Progressing"),
    // kstatus has no word for it: what was last known counts.
    ("suspended_connected", "Current", "Suspended"),
    ("suspended_new", "InProgress", "Suspended"),
];

const ACCOUNTS: [(&str, &str, &str); 5] = [
    ("degraded_in_use", "Terminating", "Degraded"),
    ("degraded_sign_in_failed", "Failed", "Degraded"),
    ("healthy_signed_in", "Current", "Healthy"),
    ("progressing_new", "InProgress", "Progressing"),
    ("progressing_unavailable", "InProgress", "Progressing"),
];

#[test]
fn flux_and_argo_cd_say_what_a_person_expects() {
    for (kind, expected) in [("BucketConnection", &CONNECTIONS[..]), ("AWSAccount", &ACCOUNTS[..])] {
        let files = recorded(kind);
        let names: Vec<_> = files.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            expected.iter().map(|(name, ..)| *name).collect::<Vec<_>>(),
            "every recorded {kind} has an expectation"
        );
        let stream = files.values().cloned().collect::<Vec<_>>().join("---\n");
        let answers = answered(Command::new(tool("kstatus")), &stream);
        let answers: Vec<Value> = answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(answers.len(), expected.len());
        for ((name, kstatus, argo), answer) in expected.iter().zip(answers) {
            assert_eq!(answer["status"], *kstatus, "kstatus of {kind} {name}: {answer}");
            let health = lua(&place(kind).join("health.lua"), &files[*name]);
            assert_eq!(health["status"], *argo, "health of {kind} {name}: {health}");
        }
    }
}

/// The recorded new objects are what the API server stores: before the first reconcile they are not ready.
#[tokio::test]
async fn a_new_object_is_in_progress() {
    let harness = Harness::idle("new", Stack::cluster(), &[]).await;
    harness.apply(&harness.connection("bucket-new", json!({}))).await;
    let account = harness.account(&harness.namespace, json!({})).await;
    for (kind, name) in [("BucketConnection", "c"), ("AWSAccount", &account)] {
        let stored = harness.kubectl(&["get", kind, name, "-o", "json"]);
        let stored = String::from_utf8(stored.stdout).unwrap();
        let kstatus = answered(Command::new(tool("kstatus")), &stored);
        assert!(kstatus.contains(r#""status":"InProgress""#), "{kind}: {kstatus}");
        assert_eq!(lua(&place(kind).join("health.lua"), &stored)["status"], "Progressing", "{kind}");
    }
}

/// The file that Argo CD's own tests read: `UPDATE=1` writes it.
#[test]
fn the_health_tests_of_argo_cd_hold() {
    for kind in ["BucketConnection", "AWSAccount"] {
        let test = |(name, object): (&String, &String)| {
            let health = lua(&place(kind).join("health.lua"), object);
            assert!(health["message"].as_str().is_some_and(|message| !message.is_empty()), "{kind} {name} has no message");
            json!({ "healthStatus": health, "inputPath": format!("testdata/{name}.yaml") })
        };
        let tests: Vec<_> = recorded(kind).iter().map(test).collect();
        let (text, file) = (serde_saphyr::to_string(&json!({ "tests": tests })).unwrap(), place(kind).join("health_test.yaml"));
        if std::env::var("UPDATE").is_ok() {
            std::fs::write(&file, text).unwrap();
        } else {
            assert_eq!(std::fs::read_to_string(&file).unwrap(), text, "{}: UPDATE=1 writes it", file.display());
        }
    }
}

#[test]
fn the_action_tests_of_argo_cd_hold() {
    let actions = place("BucketConnection").join("actions");
    let tests = yaml(&std::fs::read_to_string(actions.join("action_test.yaml")).unwrap());
    let read = |test: &Value, field: &str| std::fs::read_to_string(actions.join(test[field].as_str().unwrap())).unwrap();
    for test in tests["discoveryTests"].as_array().unwrap() {
        let offered = lua(&actions.join("discovery.lua"), &read(test, "inputPath"));
        let expected = test["result"].as_array().unwrap().iter();
        let expected =
            expected.map(|action| (action["name"].as_str().unwrap().to_owned(), json!({ "disabled": action["disabled"] })));
        assert_eq!(offered, Value::Object(expected.collect()), "{}", test["inputPath"]);
    }
    let tests = tests["actionTests"].as_array().unwrap();
    let tried: Vec<_> = tests.iter().map(|test| test["action"].as_str().unwrap()).collect();
    assert_eq!(tried, ["reconcile", "rotate", "suspend", "resume"]);
    for test in tests {
        let script = actions.join(test["action"].as_str().unwrap()).join("action.lua");
        let (done, expected) = (lua(&script, &read(test, "inputPath")), yaml(&read(test, "expectedOutputPath")));
        assert_eq!(done, expected, "{}", test["action"]);
    }
}

/// A script in argocd-cm has no standard libraries: the same scripts run there, so the ConfigMap is made of them.
#[test]
fn the_config_map_for_argo_cd_has_the_same_scripts() {
    let file = Path::new(ROOT).join("deploy/gitops/argocd/argocd-cm.yaml");
    let script = |path: &str| std::fs::read_to_string(place("").join(path)).unwrap();
    let action =
        |name: &str| json!({ "name": name, "action.lua": script(&format!("BucketConnection/actions/{name}/action.lua")) });
    let definitions = ["reconcile", "rotate", "suspend", "resume"].map(action);
    let actions = json!({ "discovery.lua": script("BucketConnection/actions/discovery.lua"), "definitions": definitions });
    let expected = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "argocd-cm", "namespace": "argocd", "labels": { "app.kubernetes.io/part-of": "argocd" } },
        "data": {
            "resource.customizations.health.bucketconnection.dev_AWSAccount": script("AWSAccount/health.lua"),
            "resource.customizations.health.bucketconnection.dev_BucketConnection": script("BucketConnection/health.lua"),
            "resource.customizations.actions.bucketconnection.dev_BucketConnection": serde_saphyr::to_string(&actions).unwrap(),
        },
    });
    if std::env::var("UPDATE").is_ok() {
        let note = "# Health and actions of connections for an Argo CD that does not have them yet: kubectl patch configmap argocd-cm -n argocd --patch-file\n# Generated from resource_customizations by a test.\n";
        std::fs::write(&file, note.to_owned() + &serde_saphyr::to_string(&expected).unwrap()).unwrap();
    }
    assert_eq!(yaml(&std::fs::read_to_string(&file).unwrap()), expected, "{}: UPDATE=1 writes it", file.display());
}

fn place(kind: &str) -> PathBuf {
    Path::new(ROOT).join("deploy/gitops/argocd/resource_customizations/bucketconnection.dev").join(kind)
}

/// The recorded objects: name of the file, and text. `tests/plan/objects.rs` records them.
fn recorded(kind: &str) -> BTreeMap<String, String> {
    let files = std::fs::read_dir(place(kind).join("testdata")).unwrap().map(|entry| entry.unwrap().path());
    let named = |file: PathBuf| (file.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(file).unwrap());
    files.map(named).collect()
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

/// What a script returns for an object.
fn lua(script: &Path, object: &str) -> Value {
    let mut command = Command::new(tool("lua"));
    command.arg(script);
    serde_json::from_str(&answered(command, object)).unwrap()
}

/// What a program writes after it has read `input`.
fn answered(mut command: Command, input: &str) -> String {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || std::io::Write::write_all(&mut stdin, input.as_bytes()).unwrap());
        let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
        assert!(status.success(), "{command:?}: {}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).unwrap()
    })
}
