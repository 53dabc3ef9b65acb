//! The real kustomize-controller of Flux, and a source for it: a small server has the artifacts that source-controller would have, and the
//! test writes the status of the source.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bucketconnection::vocabulary::digest::digest;
use serde_json::{Value, json};

use crate::support::harness::{Harness, LIMIT, ends_with_parent};
use crate::support::stack::{ROOT, Stack};
use crate::support::tools::{Running, tool};

const CONFIG_MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: canary, namespace: default }\n";

type Artifacts = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// What a Kustomization says about itself: the condition Ready, and its progress.
#[derive(Debug)]
pub(crate) struct Ready {
    pub status: String,
    pub reason: String,
    pub message: String,
    /// Message of Reconciling, if that is True.
    pub progress: String,
}

/// A kustomize-controller on the cluster of a harness; it ends with the test.
pub(crate) struct Flux {
    /// What the next artifact contains.
    pub repository: PathBuf,
    kubectl: Vec<String>,
    log: PathBuf,
    _process: Running,
    artifacts: Artifacts,
    address: String,
}

impl Flux {
    /// Starts it, with the folders of examples/gitops in its source.
    pub fn start(harness: &Harness, stack: &Stack) -> Self {
        let repository = harness.directory.join("repository");
        std::fs::create_dir_all(repository.join("canary")).unwrap();
        std::fs::write(repository.join("canary/config.yaml"), CONFIG_MAP).unwrap();
        for folder in ["platform", "teams"] {
            run(Command::new("cp").args(["-r", &format!("{ROOT}/examples/gitops/{folder}")]).arg(&repository), "");
        }
        let (artifacts, address) = serve();
        let kubectl = vec![stack.fact("kubectl").to_owned(), "--kubeconfig".to_owned(), harness.kubeconfig.clone()];
        let log = harness.directory.join("kustomize-controller.log");
        for definition in definitions() {
            run(kubectl_of(&kubectl).args(["apply", "--server-side", "-f", "-"]), &definition);
        }
        // kubectl wait fails for a CRD without any condition yet.
        let established = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"];
        let end = Instant::now() + LIMIT;
        while !kubectl_of(&kubectl).args(established).output().unwrap().status.success() {
            assert!(Instant::now() < end, "Flux's CRDs are not established");
        }
        let process = Running(controller(harness, &log));
        let flux = Self { repository, kubectl, log, _process: process, artifacts, address };
        flux.apply(
            "apiVersion: v1\nkind: Namespace\nmetadata: { name: flux-system }\n---\napiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: { name: flux-system, namespace: flux-system }\nspec: { interval: 1m, url: https://git.example.org/platform/connections.git }\n",
        );
        flux
    }

    pub fn apply(&self, objects: &str) {
        run(self.kubectl().args(["apply", "--server-side", "-f", "-"]), objects);
    }

    /// The source has what is now in the repository, as this revision.
    pub fn publish(&self, revision: &str) {
        let archive = Command::new("tar").arg("-czf").arg("-").arg("-C").arg(&self.repository).arg(".").output().unwrap();
        assert!(archive.status.success(), "tar: {}", String::from_utf8_lossy(&archive.stderr));
        let (path, size) = (format!("/{}.tar.gz", digest(revision, 8)), archive.stdout.len());
        let artifact = json!({
            "path": path, "url": format!("http://{}{path}", self.address), "revision": revision, "size": size,
            "digest": format!("sha256:{}", digest(&archive.stdout, 32)), "lastUpdateTime": "2026-11-24T12:00:00Z",
        });
        self.artifacts.lock().unwrap().insert(path, archive.stdout);
        let patch = json!({ "status": { "artifact": artifact } }).to_string();
        let source = ["patch", "gitrepository", "flux-system", "-n", "flux-system", "--subresource=status", "--type=merge", "-p"];
        run(self.kubectl().args(source).arg(patch), "");
    }

    /// The conditions Ready and Reconciling of a Kustomization.
    pub fn state(&self, namespace: &str, name: &str) -> Ready {
        let object = self.get(namespace, "kustomization", name);
        let text = |kind: &str, field: &str| condition(&object, kind)[field].as_str().unwrap_or_default().to_owned();
        Ready {
            status: text("Ready", "status"),
            reason: text("Ready", "reason"),
            message: text("Ready", "message"),
            progress: text("Reconciling", "message"),
        }
    }

    /// Waits until a Kustomization is so.
    pub async fn until_so(&self, namespace: &str, name: &str, holds: impl Fn(&Ready) -> bool) -> Ready {
        self.until(&format!("{namespace}/{name}"), || Some(self.state(namespace, name)).filter(|ready| holds(ready))).await
    }

    pub async fn ready(&self, namespace: &str, name: &str) {
        self.until_so(namespace, name, |ready| ready.status == "True").await;
    }

    /// Waits until the team's folder is ready in this revision.
    pub async fn applied(&self, team: &str, revision: &str) {
        let applied = || {
            let object = self.get(team, "kustomization", "connections");
            (object["status"]["lastAppliedRevision"] == revision && condition(&object, "Ready")["status"] == "True").then_some(())
        };
        self.until(&format!("{revision} in {team}"), applied).await;
    }

    /// Requests a cycle, as `flux reconcile` does, and waits for its end.
    pub async fn force(&self, team: &str, stamp: &str) {
        let annotation = format!("reconcile.fluxcd.io/requestedAt={stamp}");
        run(self.kubectl().args(["annotate", "--overwrite", "-n", team, "kustomization", "connections", &annotation]), "");
        let handled = || {
            let object = self.get(team, "kustomization", "connections");
            (object["status"]["lastHandledReconcileAt"] == stamp && condition(&object, "Ready")["status"] == "True").then_some(())
        };
        self.until(&format!("cycle {stamp} in {team}"), handled).await;
    }

    pub fn is_ready(&self, namespace: &str, name: &str) -> bool {
        let object = self.get(namespace, "bucketconnection", name);
        let ready = condition(&object, "Ready");
        ready["status"] == "True" && ready["observedGeneration"] == object["metadata"]["generation"]
    }

    /// The connections of a namespace with all their metadata, by name.
    pub fn objects(&self, namespace: &str) -> BTreeMap<String, Value> {
        let list = self.get(namespace, "bucketconnections", "");
        let named = |object: &Value| (object["metadata"]["name"].as_str().unwrap().to_owned(), object.clone());
        list["items"].as_array().unwrap().iter().map(named).collect()
    }

    fn get(&self, namespace: &str, kind: &str, name: &str) -> Value {
        let mut command = self.kubectl();
        command.args(["get", kind, "-n", namespace, "-o", "json", "--show-managed-fields", "--ignore-not-found"]);
        let text = run(command.args(Some(name).filter(|name| !name.is_empty())), "");
        serde_json::from_str(&text).unwrap_or_default()
    }

    async fn until<T>(&self, what: &str, found: impl Fn() -> Option<T>) -> T {
        let end = Instant::now() + LIMIT;
        loop {
            if let Some(found) = found() {
                return found;
            }
            let log = || std::fs::read_to_string(&self.log).unwrap_or_default();
            assert!(Instant::now() < end, "not in time: {what}\n{}", log());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    fn kubectl(&self) -> Command {
        kubectl_of(&self.kubectl)
    }
}

fn condition(object: &Value, kind: &str) -> Value {
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.into_iter().find(|condition| condition["type"] == kind).unwrap_or_default()
}

fn kubectl_of(command: &[String]) -> Command {
    let mut kubectl = Command::new(&command[0]);
    kubectl.args(&command[1..]).env_clear().env("HOME", Path::new(&command[2]).parent().unwrap());
    kubectl
}

/// What a program writes after it has read `input`; it succeeds.
fn run(command: &mut Command, input: &str) -> String {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn controller(harness: &Harness, log: &Path) -> Child {
    let log = File::create(log).unwrap();
    ends_with_parent(tool("kustomize-controller").to_str().unwrap())
        .args(["--metrics-addr=0", "--health-addr=0", "--requeue-dependency=1s"])
        .env_clear()
        .env("PATH", std::env::var("PATH").unwrap_or_default())
        .env("KUBECONFIG", &harness.kubeconfig)
        .env("HOME", &harness.directory)
        .env("TMPDIR", &harness.directory)
        .env("RUNTIME_NAMESPACE", "flux-system")
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .expect("python3 runs")
}

/// Flux's own CRD of a Kustomization, and the kinds of sources: of these, Flux reads only `status.artifact`.
fn definitions() -> Vec<String> {
    let mut go = Command::new("go");
    go.args(["list", "-m", "-f", "{{.Dir}}", "github.com/fluxcd/kustomize-controller"])
        .current_dir(format!("{ROOT}/tests/tools"));
    let module = run(&mut go, "");
    let file = Path::new(module.trim()).join("config/crd/bases/kustomize.toolkit.fluxcd.io_kustomizations.yaml");
    let source = |kind: &str, plural: &str| {
        let open = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": { "name": format!("{plural}.source.toolkit.fluxcd.io") },
            "spec": {
                "group": "source.toolkit.fluxcd.io", "scope": "Namespaced",
                "names": { "kind": kind, "plural": plural, "singular": kind.to_lowercase(), "listKind": format!("{kind}List") },
                "versions": [{
                    "name": "v1", "served": true, "storage": true,
                    "schema": { "openAPIV3Schema": open }, "subresources": { "status": {} },
                }],
            },
        })
        .to_string()
    };
    let sources = [("GitRepository", "gitrepositories"), ("OCIRepository", "ocirepositories"), ("Bucket", "buckets")];
    let mut definitions = vec![std::fs::read_to_string(file).unwrap()];
    definitions.extend(sources.map(|(kind, plural)| source(kind, plural)));
    definitions
}

/// Serves artifacts by their path, until the program ends.
fn serve() -> (Artifacts, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (artifacts, address) = (Artifacts::default(), listener.local_addr().unwrap().to_string());
    let served = Arc::clone(&artifacts);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = answer(stream, &served);
        }
    });
    (artifacts, address)
}

fn answer(mut stream: TcpStream, artifacts: &Artifacts) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    // The rest of the request.
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let artifact = request.split(' ').nth(1).and_then(|path| artifacts.lock().unwrap().get(path).cloned());
    let (status, body) = artifact.map_or(("404 Not Found", Vec::new()), |body| ("200 OK", body));
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    stream.write_all(&body)
}
