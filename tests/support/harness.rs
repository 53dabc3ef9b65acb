//! The test harness: a namespace, an AWS emulator behind a recording proxy, and an operator that works only on these,
//! with least privilege on both sides.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use bucketconnection::api::{AWSAccount, BucketConnection, REQUESTED_AT};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use super::forwarder::Forwarder;
use super::merge::merge;
use super::proxy::{Proxy, Request};
use super::stack::{Emulator, ROOT, Scratch, Stack, get, scratch};

/// The only limit of all waits: generous, because it only ends tests that have failed.
pub const LIMIT: Duration = Duration::from_secs(120);
/// Log levels that help to find out why a test failed.
const VERBOSE: &str =
    "bucketconnection=trace,kube=debug,aws_config=trace,aws_runtime=trace,aws_smithy_runtime=trace,aws_sdk_iam=trace,info";
/// Sets the parent-death signal, then becomes the program: it ends with the test, even if the test is killed, also before
/// the signal was set.
const END_WITH_PARENT: &str = "import ctypes, os, sys
if sys.platform == 'linux': ctypes.CDLL(None).prctl(1, 15)
if os.getppid() == int(sys.argv[1]): os.execv(sys.argv[2], sys.argv[2:])";

/// A command for this program, which ends with the process that starts it.
pub fn ends_with_parent(program: &str) -> Command {
    let mut command = Command::new("python3");
    command.args(["-c", END_WITH_PARENT, &std::process::id().to_string(), program]);
    command
}

/// The account `default` of the local stack, opened to all namespaces: each harness has its own.
async fn allow_everything(client: &Client) {
    let text = std::fs::read_to_string(format!("{ROOT}/deploy/local/account.yaml")).unwrap();
    let account: AWSAccount = serde_saphyr::from_str(&text.replace("names: [default]", "names: [\"*\"]")).unwrap();
    let parameters = PatchParams::apply("labs").force();
    Api::<AWSAccount>::all(client.clone()).patch("default", &parameters, &Patch::Apply(&account)).await.unwrap();
}

/// Creates a namespace whose name begins like this; returns the name.
async fn namespace(client: &Client, name: &str) -> String {
    let name = format!("{name}-{}", fastrand::u32(..));
    let object: Namespace = serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap();
    Api::all(client.clone()).create(&PostParams::default(), &object).await.unwrap();
    name
}

pub struct Harness {
    pub namespace: String,
    pub client: Client,
    pub emulator: Emulator,
    pub proxy: Proxy,
    /// Kubeconfig of the operator, and of the administrator.
    pub operator_kubeconfig: String,
    pub kubeconfig: String,
    /// Whether the operator works on all namespaces, and reconciles the accounts: for a harness with its own cluster.
    pub whole_cluster: bool,
    /// Whether the operator acquires a lease first: otherwise a killed operator is replaced at once.
    pub lease: bool,
    /// The operator's log filter.
    pub log: &'static str,
    /// Additional environment of the operator.
    pub environment: BTreeMap<String, String>,
    operator: Option<Operator>,
    starts: usize,
    /// Last: it is removed when nothing writes to it anymore.
    pub directory: Scratch,
}

impl Harness {
    /// A harness with its operator running.
    pub async fn new(name: &str) -> Self {
        let mut harness = Self::idle(name, Stack::cluster(), &[]).await;
        harness.start();
        harness
    }

    /// A harness without an operator.
    pub async fn idle(name: &str, stack: &Stack, emulator: &[&str]) -> Self {
        let emulator = Emulator::start(emulator);
        let kubeconfig = stack.fact("kubeconfig").to_owned();
        let client = client(&kubeconfig).await;
        let namespace = namespace(&client, name).await;
        allow_everything(&client).await;
        Self {
            proxy: Proxy::start(emulator.url()),
            directory: scratch(&namespace),
            operator_kubeconfig: stack.fact("operator_kubeconfig").to_owned(),
            kubeconfig,
            whole_cluster: false,
            lease: false,
            log: VERBOSE,
            environment: BTreeMap::new(),
            operator: None,
            starts: 0,
            namespace,
            client,
            emulator,
        }
    }

    /// Moves to another namespace with that name; the emulator and its contents stay.
    pub async fn moved(&mut self, name: &str) {
        self.namespace = namespace(&self.client, name).await;
    }

    pub fn start(&mut self) {
        self.operator = Some(self.spawn());
    }

    /// Another operator of this harness, next to the existing one.
    pub fn spawn(&mut self) -> Operator {
        let (kubeconfig, url) = (self.operator_kubeconfig.clone(), self.proxy.url.clone());
        self.spawn_on(&kubeconfig, &url)
    }

    /// An operator with its own connections to the API server and to AWS.
    pub fn spawn_on(&mut self, kubeconfig: &str, aws_url: &str) -> Operator {
        self.starts += 1;
        let log = File::create(self.log_file(self.starts)).unwrap();
        let (id, secret) = self.emulator.key("operator");
        let operator = ends_with_parent(env!("CARGO_BIN_EXE_bucketconnection"))
            .arg("run")
            .args(["--log", self.log])
            .args(["--metrics-address", "127.0.0.1:0"])
            .args(if self.lease { vec![] } else { vec!["--no-lease"] })
            .args(if self.whole_cluster { vec![] } else { vec!["--namespace", &self.namespace] })
            .env_clear()
            .env("PATH", std::env::var("PATH").unwrap_or_default())
            .env("KUBECONFIG", kubeconfig)
            .env("AWS_ENDPOINT_URL", aws_url)
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", id)
            .env("AWS_SECRET_ACCESS_KEY", secret)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .envs(&self.environment)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("python3 runs");
        Operator { child: operator, log: self.log_file(self.starts) }
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.operator = None;
    }

    /// Process id of the operator.
    pub fn pid(&self) -> u32 {
        self.operator().pid()
    }

    /// The operator.
    pub fn operator(&self) -> &Operator {
        self.operator.as_ref().unwrap()
    }

    /// Waits until the operator has ended without a signal; returns whether it exited with success.
    pub fn ended(&mut self) -> bool {
        self.operator.take().unwrap().ended()
    }

    fn log_file(&self, number: usize) -> PathBuf {
        self.directory.join(format!("operator-{number}.log"))
    }

    /// The log of all operators of this harness.
    pub fn log(&self) -> String {
        (1..=self.starts).map(|n| std::fs::read_to_string(self.log_file(n)).unwrap_or_default()).collect()
    }

    /// Makes operators that start from now on connect to the API server through the returned forwarder.
    pub fn forward(&mut self) -> Forwarder {
        let kubeconfig = std::fs::read_to_string(&self.operator_kubeconfig).unwrap();
        let server = kubeconfig.split("https://").nth(1).unwrap().split('"').next().unwrap().to_owned();
        let forwarder = Forwarder::start(&server);
        let place = self.directory.join("kubeconfig");
        std::fs::write(&place, kubeconfig.replace(&server, &forwarder.address)).unwrap();
        self.operator_kubeconfig = place.to_str().unwrap().to_owned();
        forwarder
    }

    pub fn objects(&self) -> Api<BucketConnection> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// A connection named `c` to the bucket `bucket`; `spec` is merged over the defaults.
    pub fn connection(&self, bucket: &str, spec: Value) -> Value {
        let mut object = json!({
            "apiVersion": "bucketconnection.dev/v1alpha1",
            "kind": "BucketConnection",
            "metadata": { "name": "c", "namespace": self.namespace },
            "spec": { "preset": "ReadWrite", "region": "us-east-1", "bucket": { "name": bucket, "prefix": "runs/" } },
        });
        merge(&mut object["spec"], spec);
        object
    }

    /// Applies an object as a user does: server-side.
    pub async fn apply(&self, object: &Value) -> BucketConnection {
        let name = object["metadata"]["name"].as_str().unwrap();
        let patch = Patch::Apply(object);
        self.objects().patch(name, &PatchParams::apply("user").force(), &patch).await.unwrap()
    }

    pub async fn get(&self, name: &str) -> BucketConnection {
        self.objects().get(name).await.unwrap()
    }

    pub async fn patch(&self, name: &str, patch: Value) {
        self.objects().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    pub async fn delete(&self, name: &str) {
        self.objects().delete(name, &DeleteParams::default()).await.unwrap();
    }

    pub fn accounts(&self) -> Api<AWSAccount> {
        Api::all(self.client.clone())
    }

    /// Applies an AWSAccount of this name; returns the name.
    pub async fn account(&self, name: &str, spec: Value) -> String {
        let kind = json!({ "apiVersion": "bucketconnection.dev/v1alpha1", "kind": "AWSAccount" });
        let mut account = json!({ "metadata": { "name": name }, "spec": spec });
        merge(&mut account, kind);
        self.accounts().patch(name, &PatchParams::apply("user").force(), &Patch::Apply(account)).await.unwrap();
        name.to_owned()
    }

    /// An entry of allowedNamespaces that allows everything to this namespace, except for `change`.
    pub fn rule(&self, change: Value) -> Value {
        let mut rule = json!({
            "names": [self.namespace], "buckets": ["*"], "regions": ["*"], "users": ["*"], "permissionsBoundaries": ["*"],
            "kmsKeys": ["*"], "tags": ["*"], "hosts": ["*"],
            "presets": ["IlluminaICA", "CLCGenomics", "ReadOnly", "ReadWrite", "WriteOnly", "Custom"],
            "statements": true, "customPolicy": true, "actions": ["*"], "weaken": ["*"], "complianceRetention": true,
            "crossAccountCopy": true, "forceDestroy": true,
            "adoption": { "buckets": true, "users": true, "policies": true, "approval": "Connection" },
            "minResyncInterval": "10s", "minRotationInterval": "10s",
        });
        merge(&mut rule, change);
        rule
    }

    /// Waits until the account's condition Ready has this reason for the current generation; returns status and
    /// message.
    pub async fn account_told(&self, name: &str, reason: &str) -> (AWSAccount, String) {
        let end = Instant::now() + LIMIT;
        loop {
            let account = self.accounts().get(name).await.unwrap();
            let ready = account.status.as_ref().and_then(|s| s.conditions.iter().find(|c| c.type_ == "Ready"));
            if let Some(ready) = ready.filter(|c| c.reason == reason && c.observed_generation == account.metadata.generation) {
                let message = ready.message.clone();
                return (account, message);
            }
            assert!(Instant::now() < end, "{name} is not {reason}: {}", json!(account.status));
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// Waits until `holds` is true for the object.
    pub async fn until(&self, name: &str, what: &str, holds: impl Fn(&BucketConnection) -> bool) -> BucketConnection {
        let end = Instant::now() + LIMIT;
        loop {
            let object = self.objects().get(name).await.unwrap();
            if holds(&object) {
                return object;
            }
            if Instant::now() > end {
                let log: Vec<_> = self
                    .log()
                    .lines()
                    .filter(|l| l.contains("\"WARN\"") || l.contains("reconcile ended"))
                    .map(str::to_owned)
                    .collect();
                panic!(
                    "{name}: no {what} in time; status {}\n{}",
                    json!(object.status),
                    log[log.len().saturating_sub(12)..].join("\n")
                );
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// Waits until the condition has this status for the current generation.
    pub async fn condition(&self, name: &str, type_: &str, status: &str) -> BucketConnection {
        let what = format!("{type_}={status}");
        self.until(name, &what, |object| {
            let condition = condition(object, type_);
            condition.is_some_and(|c| c.status == status && c.observed_generation == object.metadata.generation)
        })
        .await
    }

    pub async fn ready(&self, name: &str) -> BucketConnection {
        self.condition(name, "Ready", "True").await
    }

    /// Waits until the object is gone.
    pub async fn gone(&self, name: &str) {
        let end = Instant::now() + LIMIT;
        while let Some(object) = self.objects().get_opt(name).await.unwrap() {
            assert!(Instant::now() < end, "{name} is not deleted: {}", json!(object.status));
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// Requests a reconcile and waits until it has ended.
    pub async fn check(&self, name: &str) -> BucketConnection {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let stamp = format!("check {}", COUNT.fetch_add(1, Ordering::SeqCst));
        self.patch(name, json!({ "metadata": { "annotations": { REQUESTED_AT: stamp } } })).await;
        self.until(name, &stamp, |object| {
            object.status.as_ref().and_then(|status| status.last_handled_reconcile_at.as_ref()) == Some(&stamp)
        })
        .await
    }

    /// Waits until the operator has made so many further calls to AWS.
    pub async fn further_calls(&self, calls: usize) {
        let (goal, end) = (self.proxy.len() + calls, Instant::now() + LIMIT);
        while self.proxy.len() < goal {
            assert!(Instant::now() < end, "only {} calls\n{}", self.proxy.len(), self.log());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// The data of the Secret, as text.
    pub async fn secret(&self, name: &str) -> BTreeMap<String, String> {
        let secret = self.secrets().get(name).await.unwrap();
        let text = |(name, value): (String, k8s_openapi::ByteString)| (name, String::from_utf8(value.0).unwrap());
        secret.data.unwrap_or_default().into_iter().map(text).collect()
    }

    /// Events about the object: (type, reason, note).
    pub async fn events(&self, name: &str) -> Vec<(String, String, String)> {
        let events: Api<k8s_openapi::api::events::v1::Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let mut events = events.list(&Default::default()).await.unwrap().items;
        events.retain(|event| event.regarding.as_ref().and_then(|r| r.name.as_deref()) == Some(name));
        events.sort_by_key(|event| event.event_time.as_ref().map(|time| time.0));
        let text = |text: Option<String>| text.unwrap_or_default();
        events.into_iter().map(|event| (text(event.type_), text(event.reason), text(event.note))).collect()
    }

    /// The operator's writes to the API server in this namespace so far, from the server's own audit log: "verb
    /// resource".
    pub fn api_writes(&self) -> Vec<String> {
        self.api_requests().into_iter().filter(|request| !request.starts_with("get ")).collect()
    }

    /// Its reads there by name, other than the connections themselves: "get resource".
    pub fn api_reads(&self) -> Vec<String> {
        let reads = |request: &String| request.starts_with("get ") && request != "get bucketconnections";
        self.api_requests().into_iter().filter(reads).collect()
    }

    /// The path of each request to the API server.
    pub fn api_addresses(&self) -> Vec<String> {
        self.audit().into_iter().map(|entry| entry["requestURI"].as_str().unwrap_or_default().to_owned()).collect()
    }

    fn audit(&self) -> Vec<Value> {
        let place = PathBuf::from(&self.kubeconfig).with_file_name("audit.log");
        let log = std::fs::read_to_string(place).unwrap();
        log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    fn api_requests(&self) -> Vec<String> {
        let entries = self.audit().into_iter();
        let ours = entries.filter(|entry| entry["objectRef"]["namespace"] == self.namespace.as_str());
        let real = ours.filter(|entry| !entry["requestURI"].as_str().unwrap_or_default().contains("dryRun"));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        real.map(|entry| {
            let reference = &entry["objectRef"];
            let subresource = text(&reference["subresource"]);
            let slash = if subresource.is_empty() { "" } else { "/" };
            format!("{} {}{slash}{subresource}", text(&entry["verb"]), text(&reference["resource"]))
        })
        .collect()
    }

    /// The emulator with the administrator's key, without the proxy.
    pub fn aws(&self, region: &str) -> SdkConfig {
        let (id, secret) = self.emulator.key("administrator");
        sdk(self.emulator.url(), region, &id, &secret)
    }

    pub fn s3(&self) -> aws_sdk_s3::Client {
        s3(&self.aws("us-east-1"))
    }

    pub fn iam(&self) -> aws_sdk_iam::Client {
        aws_sdk_iam::Client::new(&self.aws("us-east-1"))
    }

    /// S3 with the key of the Secret.
    pub async fn s3_with_key(&self, secret: &str, region: &str) -> aws_sdk_s3::Client {
        let data = self.secret(secret).await;
        s3(&sdk(self.emulator.url(), region, &data["AWS_ACCESS_KEY_ID"], &data["AWS_SECRET_ACCESS_KEY"]))
    }

    /// STS with the key of the Secret.
    pub async fn sts_with_key(&self, secret: &str) -> aws_sdk_sts::Client {
        let data = self.secret(secret).await;
        let config = sdk(self.emulator.url(), "us-east-1", &data["AWS_ACCESS_KEY_ID"], &data["AWS_SECRET_ACCESS_KEY"]);
        aws_sdk_sts::Client::new(&config)
    }

    /// Ids of the user's keys.
    pub async fn keys(&self, user: &str) -> Vec<String> {
        let keys = self.iam().list_access_keys().user_name(user).send().await.unwrap();
        keys.access_key_metadata().iter().map(|key| key.access_key_id().unwrap().to_owned()).collect()
    }

    pub fn kubectl(&self, arguments: &[&str]) -> Output {
        let kubectl = Stack::cluster().fact("kubectl");
        let command = ["--namespace", &self.namespace, "--kubeconfig", &self.kubeconfig];
        let mut kubectl = Command::new(kubectl);
        // kubectl diff runs diff.
        kubectl.env_clear().env("HOME", &self.directory).env("PATH", std::env::var("PATH").unwrap_or_default());
        kubectl.args(command).args(arguments).output().unwrap()
    }

    /// The operator's binary as a command line tool, signed in as the operator.
    pub fn cli(&self, arguments: &[&str]) -> Output {
        let (id, secret) = self.emulator.key("operator");
        Command::new(env!("CARGO_BIN_EXE_bucketconnection"))
            .args(arguments)
            .env_clear()
            .env("KUBECONFIG", &self.operator_kubeconfig)
            .env("AWS_ENDPOINT_URL", &self.proxy.url)
            .env("AWS_ACCESS_KEY_ID", id)
            .env("AWS_SECRET_ACCESS_KEY", secret)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .envs(&self.environment)
            .output()
            .unwrap()
    }
}

/// An operator process; dropping it kills the process.
pub struct Operator {
    child: Child,
    log: PathBuf,
}

impl Operator {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// The address and port of its metrics.
    pub async fn address(&self) -> String {
        self.logs("serves /metrics").await;
        self.log().split("\"address\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned()
    }

    /// The answer to GET `path` at its own address: status line, headers and body.
    pub async fn get(&self, path: &str) -> String {
        get(&self.address().await, path)
    }

    /// Waits until its log contains this.
    pub async fn logs(&self, text: &str) {
        let end = Instant::now() + LIMIT;
        while !self.log().contains(text) {
            assert!(Instant::now() < end, "it does not log {text:?}, but:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// Sends it a signal, such as TERM.
    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Waits until it has ended without a signal; returns whether it exited with success.
    pub fn ended(mut self) -> bool {
        let end = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.success();
            }
            assert!(Instant::now() < end, "the operator does not end; it logged:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a process a signal, such as KILL.
pub fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status().unwrap();
    assert!(sent.success(), "{pid} gets no {name}");
}

/// Writes among the requests, without those made with the issued key.
pub fn writes(requests: &[Request]) -> Vec<String> {
    requests.iter().filter(|request| request.write).map(|request| request.action.clone()).collect()
}

pub fn actions(requests: &[Request]) -> Vec<String> {
    let mut actions: Vec<_> = requests.iter().map(|request| request.action.clone()).collect();
    actions.sort();
    actions
}

pub fn condition<'a>(
    object: &'a BucketConnection,
    type_: &str,
) -> Option<&'a k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition> {
    object.status.as_ref()?.conditions.iter().find(|condition| condition.type_ == type_)
}

/// (status, reason, message) of a condition.
pub fn told(object: &BucketConnection, type_: &str) -> (String, String, String) {
    let condition = condition(object, type_).unwrap_or_else(|| panic!("no {type_} in {}", object.name_any()));
    (condition.status.clone(), condition.reason.clone(), condition.message.clone())
}

pub fn drift_count(object: &BucketConnection) -> i64 {
    object.status.as_ref().and_then(|status| status.drift.as_ref()).map_or(0, |drift| drift.count)
}

pub async fn client(kubeconfig: &str) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

fn sdk(url: &str, region: &str, id: &str, secret: &str) -> SdkConfig {
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(region.to_owned()))
        .endpoint_url(url)
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new(id, secret, None, None, "test")))
        .build()
}

pub fn s3(config: &SdkConfig) -> aws_sdk_s3::Client {
    aws_sdk_s3::Client::from_conf(aws_sdk_s3::config::Builder::from(config).force_path_style(true).build())
}
