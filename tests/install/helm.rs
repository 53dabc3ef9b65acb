//! The real helm on a control plane of its own: install, test, upgrade, rollback, uninstall; and the operator at work with only what the
//! chart installed.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::chart::{CHART, NAMESPACE, ensure_namespace, helm, kubectl, succeeded};
use crate::support::harness::{Harness, LIMIT};
use crate::support::stack::{ROOT, Scratch, Stack, scratch};
use crate::support::tools::tool;

/// A control plane on which helm installs the chart.
struct Cluster {
    stack: Stack,
    home: Scratch,
}

impl Cluster {
    fn start() -> Self {
        let mut stack = Stack::start("helm", &["--no-aws", "--bare"]);
        let home = scratch("helm-home");
        ensure_namespace(&stack, NAMESPACE);
        let enforce = ["label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted"];
        succeeded(kubectl(&stack, &enforce, None));
        stack.facts["operator_kubeconfig"] = json!(home.join("operator.kubeconfig"));
        Self { stack, home }
    }

    /// Runs a helm command on the release.
    fn helm(&self, command: &[&str], options: &[&str]) -> Output {
        let arguments = [command, &["--namespace", NAMESPACE], options].concat();
        helm(self.stack.fact("kubeconfig"), &self.home, &arguments)
    }

    fn kubectl(&self, arguments: &[&str]) -> String {
        succeeded(kubectl(&self.stack, arguments, None))
    }

    /// A field of an object, by its JSONPath.
    fn field(&self, object: &[&str], path: &str) -> String {
        self.kubectl(&[&["get"], object, &["-o", &format!("jsonpath={{{path}}}")]].concat())
    }

    /// Gives the operator's process a token of the installed ServiceAccount.
    fn sign_in(&self) {
        token_kubeconfig(&self.stack, "bucketconnection", Path::new(self.stack.fact("operator_kubeconfig")));
    }

    /// `helm test`, with this test as the kubelet: it runs the pod's container as a process, with the pod's arguments, environment and
    /// identity, and reports its end. `operator` is where the Service leads to.
    fn test(&self, operator: &str) -> (Output, String) {
        let child = Command::new(tool("helm"))
            .args(["test", "bucketconnection", "--namespace", NAMESPACE, "--timeout", "2m"])
            .env_clear()
            .env("HOME", &self.home)
            .env("KUBECONFIG", self.stack.fact("kubeconfig"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let pod = self.pending_pod();
        let output = run_container(&pod, self.stack.fact("operator_kubeconfig"), operator);
        let phase = if output.status.success() { "Succeeded" } else { "Failed" };
        let status = json!({ "status": { "phase": phase } }).to_string();
        let name = pod["metadata"]["name"].as_str().unwrap();
        self.kubectl(&["-n", NAMESPACE, "patch", "pod", name, "--subresource=status", "--type=merge", "-p", &status]);
        let printed = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
        (child.wait_with_output().unwrap(), printed)
    }

    /// Waits for the pod of `helm test`.
    fn pending_pod(&self) -> Value {
        let end = Instant::now() + LIMIT;
        let get = ["-n", NAMESPACE, "get", "pods", "--field-selector=status.phase=Pending", "-o", "json"];
        loop {
            let pods: Value = serde_json::from_str(&self.kubectl(&get)).unwrap();
            if pods["items"][0].is_object() {
                return pods["items"][0].clone();
            }
            assert!(Instant::now() < end, "helm test creates no pod");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Writes a kubeconfig with a token of a ServiceAccount, as a pod has it.
pub fn token_kubeconfig(stack: &Stack, account: &str, place: &Path) {
    let create = ["--namespace", NAMESPACE, "create", "token", account, "--duration=1h"];
    let token = succeeded(kubectl(stack, &create, None));
    let text = std::fs::read_to_string(stack.fact("kubeconfig")).unwrap();
    let mut kubeconfig: Value = serde_json::from_str(&text).unwrap();
    kubeconfig["users"][0]["user"]["token"] = json!(token.trim());
    std::fs::write(place, kubeconfig.to_string()).unwrap();
}

/// Runs the pod's container, whose image has the operator's binary.
fn run_container(pod: &Value, kubeconfig: &str, operator: &str) -> Output {
    let container = &pod["spec"]["containers"][0];
    let service = format!("bucketconnection.{NAMESPACE}.svc:8080");
    let arguments = container["args"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap());
    let arguments: Vec<_> = arguments.map(|argument| if argument == service { operator } else { argument }).collect();
    assert!(arguments.contains(&operator), "the pod names no Service {service}: {arguments:?}");
    let environment = container["env"].as_array().unwrap().iter().map(|variable| {
        let value = match variable.pointer("/valueFrom/fieldRef/fieldPath").and_then(Value::as_str) {
            Some("metadata.namespace") => &pod["metadata"]["namespace"],
            Some("metadata.name") => &pod["metadata"]["name"],
            _ => &variable["value"],
        };
        (variable["name"].as_str().unwrap(), value.as_str().unwrap())
    });
    Command::new(env!("CARGO_BIN_EXE_bucketconnection"))
        .args(arguments)
        .env_clear()
        .env("KUBECONFIG", kubeconfig)
        .envs(environment)
        .output()
        .unwrap()
}

/// A copy of the chart of a later version, whose CRD has one more field.
fn later_chart(home: &Path) -> String {
    let place = home.join("later");
    assert!(Command::new("cp").arg("-r").arg(format!("{ROOT}/{CHART}")).arg(&place).status().unwrap().success());
    for (file, before, after) in [
        ("Chart.yaml", "version: 0.2.0", "version: 0.2.1"),
        (
            "files/crds/bucketconnection.dev_bucketconnections.yaml",
            "\n              management:\n",
            "\n              later:\n                type: string\n              management:\n",
        ),
    ] {
        let text = std::fs::read_to_string(place.join(file)).unwrap();
        assert!(text.contains(before), "{file}");
        std::fs::write(place.join(file), text.replacen(before, after, 1)).unwrap();
    }
    place.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn install_test_upgrade_rollback_uninstall() {
    let cluster = Cluster::start();
    let release =
        |command: &str, chart: &str, options: &[&str]| succeeded(cluster.helm(&[command, "bucketconnection", chart], options));
    // The CRDs were installed with kubectl before: helm adopts them on request only.
    cluster.kubectl(&["apply", "--server-side", "-f", &format!("{ROOT}/crds")]);
    let refused = cluster.helm(&["install", "bucketconnection", CHART], &[]);
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("invalid ownership metadata"));
    let notes = release("install", CHART, &["--take-ownership"]);
    cluster.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "-f", &format!("{ROOT}/crds")]);
    the_notes_can_be_applied(&cluster, &notes);
    cluster.sign_in();
    let mut harness = Harness::idle("helm", &cluster.stack, &[]).await;
    (harness.whole_cluster, harness.lease) = (true, true);
    harness.start();
    harness.apply(&harness.connection("helm-data", json!({}))).await;
    harness.ready("c").await;
    tests_say_whether_it_works(&cluster, &harness).await;

    // An upgrade changes the CRDs too.
    let namespace = harness.namespace.clone();
    let connection = ["-n", &namespace, "bucketconnection/c"];
    let later = later_chart(&cluster.home);
    let set = |value: &str| {
        let patch = json!({ "spec": { "later": value } }).to_string();
        cluster.kubectl(&["-n", &namespace, "patch", "bucketconnection/c", "--type=merge", "-p", &patch]);
        cluster.field(&connection, ".spec.later")
    };
    let deployment = ["-n", NAMESPACE, "deployment/bucketconnection"];
    assert_eq!(set("before"), "", "the field does not exist yet");
    let refused = cluster.helm(&["upgrade", "bucketconnection", &later], &["--set", "replicas=3"]);
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("conflict with \"kubectl\": .spec.versions"),
        "kubectl owns the CRDs too"
    );
    release("upgrade", &later, &["--set", "replicas=3", "--force-conflicts"]);
    eventually(|| set("after") == "after");
    assert_eq!(cluster.field(&deployment, ".spec.replicas"), "3");

    // Back to the earlier version with the later CRDs, as docs/install.md says; then with everything.
    release("upgrade", CHART, &["--set", "crds.install=false"]);
    assert_eq!(cluster.field(&deployment, ".spec.replicas"), "2");
    assert_eq!(cluster.field(&connection, ".spec.later"), "after", "the later CRDs stay, with their values");
    succeeded(cluster.helm(&["rollback", "bucketconnection", "1"], &[]));
    eventually(|| set("again").is_empty());
    assert_eq!(harness.check("c").await.metadata.name.as_deref(), Some("c"));

    // CRDs and connections stay after helm uninstall; a second installation finds them.
    succeeded(cluster.helm(&["uninstall", "bucketconnection"], &[]));
    let left = cluster.kubectl(&["-n", NAMESPACE, "get", "deployments,services,roles,serviceaccounts", "-o", "name"]);
    assert!(!left.contains("/bucketconnection"), "{left}");
    let left = cluster.kubectl(&["get", "clusterroles,clusterrolebindings,validatingadmissionpolicies", "-o", "name"]);
    assert!(!left.contains("/bucketconnection"), "{left}");
    assert_eq!(cluster.field(&connection, ".spec.bucket.name"), "helm-data");
    release("install", CHART, &[]);
    cluster.sign_in();
    harness.start();
    harness.check("c").await;
    harness.ready("c").await;
}

/// The objects that NOTES.txt shows.
fn the_notes_can_be_applied(cluster: &Cluster, notes: &str) {
    ensure_namespace(&cluster.stack, "lab-a");
    let lines = notes.lines().map(|line| line.strip_prefix("     ").unwrap_or_default());
    let text = lines.map(|line| format!("{line}\n")).collect::<String>();
    let objects: Vec<_> = text.split("\n\n").filter(|block| block.trim_start().starts_with("apiVersion:")).collect();
    assert_eq!(objects.len(), 2, "{notes}");
    let apply = ["apply", "--server-side", "--dry-run=server", "-f", "-"];
    let applied = succeeded(kubectl(&cluster.stack, &apply, Some(&objects.join("\n---\n"))));
    assert!(applied.contains("awsaccount") && applied.contains("bucketconnection"), "{applied}");
}

/// `helm test` succeeds, and fails if a permission of the operator is missing or no operator answers.
async fn tests_say_whether_it_works(cluster: &Cluster, harness: &Harness) {
    harness.operator().logs("serves /metrics").await;
    let log = harness.operator().log();
    let address = log.split("\"address\":\"").nth(1).unwrap().split('"').next().unwrap();
    let (tested, printed) = cluster.test(address);
    succeeded(tested);
    for line in ["list bucketconnections in all namespaces: allowed", "list awsaccounts: allowed", ": healthy"] {
        assert!(printed.contains(line), "{printed}");
    }
    cluster.kubectl(&["delete", "clusterrolebinding", "bucketconnection"]);
    let mut printed = String::new();
    eventually(|| {
        let (tested, text) = cluster.test(address);
        printed = text;
        !tested.status.success()
    });
    assert!(printed.contains("get namespaces kube-system"), "{printed}");
    // An upgrade restores what someone deleted.
    succeeded(cluster.helm(&["upgrade", "bucketconnection", CHART], &[]));
    let check = ["check", "--operator", "127.0.0.1:1", "--timeout", "0"];
    eventually(|| {
        let checked = harness.cli(&check);
        assert!(!checked.status.success());
        String::from_utf8_lossy(&checked.stderr).contains("--operator 127.0.0.1:1: GET /healthz: Connection refused")
    });
}

/// Waits until it is true.
fn eventually(mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < end, "not in time");
        std::thread::sleep(Duration::from_millis(100));
    }
}
