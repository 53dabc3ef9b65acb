//! The operator as a process: on a real control plane on this machine, and in the account of the run.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use aws_sdk_s3::config::ProvideCredentials;
use bucketconnection::api::{AWSAccount, BucketConnection, REQUESTED_AT};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

use super::Context;
use super::clients::boundary_arn;
use crate::support::answers::Pair;
use crate::support::harness::{client, condition, ends_with_parent};
use crate::support::merge::merge;
use crate::support::stack::Stack;

/// From the caller's environment: what the operator needs to reach AWS.
const NETWORK: [&str; 8] =
    ["AWS_CA_BUNDLE", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy", "PATH"];

/// The control plane and the operator. Dropping it ends both.
pub struct Lab<'a> {
    context: &'a Context,
    client: Client,
    operator: Child,
    checks: std::cell::Cell<usize>,
    _stack: Stack,
}

impl Drop for Lab<'_> {
    fn drop(&mut self) {
        let _ = self.operator.kill();
        let _ = self.operator.wait();
    }
}

impl<'a> Lab<'a> {
    /// Starts both. Without a key, the operator has the caller's credentials.
    pub async fn start(context: &'a Context, key: Option<&Pair>) -> Self {
        let starting = context.stack.lock().unwrap().take().expect("it was started before the parts");
        let stack = starting.await.unwrap();
        let client = client(stack.fact("kubeconfig")).await;
        let run = context.run.id();
        let namespace: Namespace = serde_json::from_value(json!({ "metadata": { "name": run } })).unwrap();
        Api::all(client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
        let account = json!({ "apiVersion": "bucketconnection.dev/v1alpha1", "kind": "AWSAccount", "metadata": { "name": "default" }, "spec": account(context) });
        let parameters = PatchParams::apply("live").force();
        Api::<AWSAccount>::all(client.clone()).patch("default", &parameters, &Patch::Apply(account)).await.unwrap();
        context.report.say("starting the operator, which may use only the names of this run");
        let log = context.folder.join("operator.log");
        std::fs::create_dir_all(&context.folder).unwrap();
        let operator = spawn(context, stack.fact("operator_kubeconfig"), &log, &credentials(context, key).await);
        Self { context, client, operator, checks: 0.into(), _stack: stack }
    }

    fn objects(&self) -> Api<BucketConnection> {
        Api::namespaced(self.client.clone(), self.context.run.id())
    }

    /// Applies a connection; `spec` is merged over a `ReadWrite` connection to this bucket.
    pub async fn apply(&self, name: &str, bucket: &str, spec: Value) {
        let mut object = json!({
            "apiVersion": "bucketconnection.dev/v1alpha1",
            "kind": "BucketConnection",
            "metadata": { "name": name, "namespace": self.context.run.id() },
            "spec": { "preset": "ReadWrite", "region": self.context.aws.region, "bucket": { "name": bucket, "prefix": "runs/" } },
        });
        merge(&mut object["spec"], spec);
        self.objects().patch(name, &PatchParams::apply("live").force(), &Patch::Apply(&object)).await.unwrap();
    }

    pub async fn patch(&self, name: &str, patch: Value) {
        self.objects().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }

    /// Sets a deletion policy, deletes the connection, and waits until it is gone.
    pub async fn delete(&self, name: &str, policy: &str) {
        self.patch(name, json!({ "spec": { "deletionPolicy": policy } })).await;
        self.objects().delete(name, &DeleteParams::default()).await.unwrap();
        let end = Instant::now() + self.context.limit;
        while let Some(object) = self.objects().get_opt(name).await.unwrap() {
            assert!(Instant::now() < end, "connection {name}: not deleted in time: {}", conditions(&object));
            tokio::time::sleep(self.context.pause).await;
        }
    }

    /// Waits until `holds` is true for the connection.
    pub async fn until(&self, name: &str, what: &str, holds: impl Fn(&BucketConnection) -> bool) -> BucketConnection {
        let end = Instant::now() + self.context.limit;
        loop {
            let object = self.objects().get(name).await.unwrap();
            if holds(&object) {
                return object;
            }
            let log = "operator.log next to this report";
            assert!(Instant::now() < end, "connection {name}: no {what} in time: {} ({log})", conditions(&object));
            tokio::time::sleep(self.context.pause).await;
        }
    }

    /// Waits until it is Ready for its current spec.
    pub async fn ready(&self, name: &str) -> BucketConnection {
        let ready = |object: &BucketConnection| {
            condition(object, "Ready").is_some_and(|c| c.status == "True" && c.observed_generation == object.metadata.generation)
        };
        self.until(name, "Ready", ready).await
    }

    /// Requests a reconcile, and waits until it has ended.
    pub async fn check(&self, name: &str) -> BucketConnection {
        self.checks.set(self.checks.get() + 1);
        let stamp = format!("check {}", self.checks.get());
        self.patch(name, json!({ "metadata": { "annotations": { REQUESTED_AT: stamp } } })).await;
        let handled = |object: &BucketConnection| {
            object.status.as_ref().and_then(|status| status.last_handled_reconcile_at.as_ref()) == Some(&stamp)
        };
        self.until(name, "reconcile", handled).await
    }

    /// The key in the connection's Secret.
    pub async fn key(&self, name: &str) -> Pair {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), self.context.run.id());
        let data = secrets.get(&format!("{name}-s3")).await.unwrap().data.unwrap_or_default();
        let text = |field: &str| String::from_utf8(data[field].0.clone()).unwrap();
        Pair { id: text("AWS_ACCESS_KEY_ID"), secret: text("AWS_SECRET_ACCESS_KEY") }
    }
}

/// The conditions, as text.
pub fn conditions(object: &BucketConnection) -> String {
    let all = object.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let texts: Vec<_> = all.iter().map(|c| format!("{}={} {}: {}", c.type_, c.status, c.reason, c.message)).collect();
    texts.join("; ")
}

/// The spec of the AWSAccount: this account, and only names of this run.
fn account(context: &Context) -> Value {
    let (aws, run) = (&context.aws, context.run.id());
    let boundary = boundary_arn(&aws.partition, &aws.account, &context.run);
    json!({
        "accountId": aws.account,
        "defaults": { "permissionsBoundary": boundary },
        "allowedNamespaces": [{
            "names": [run], "buckets": [format!("{run}-*")], "regions": [aws.region], "users": [format!("{run}-*")],
            "permissionsBoundaries": [boundary], "tags": ["*"], "presets": ["ReadOnly", "ReadWrite"], "statements": true,
            "weaken": ["*"], "forceDestroy": true, "maxConnections": 5,
            "adoption": { "buckets": true, "users": true, "policies": true, "approval": "Connection" },
            "minResyncInterval": "10s", "minRotationInterval": "10s",
        }],
    })
}

/// The operator's credentials, as its environment.
async fn credentials(context: &Context, key: Option<&Pair>) -> Vec<(&'static str, String)> {
    let given = match key {
        Some(key) => (key.id.clone(), key.secret.clone(), None),
        None => {
            let provider = context.aws.config().credentials_provider().unwrap();
            let own = provider.provide_credentials().await.unwrap();
            let token = own.session_token().map(str::to_owned);
            (own.access_key_id().to_owned(), own.secret_access_key().to_owned(), token)
        }
    };
    let mut all = vec![("AWS_ACCESS_KEY_ID", given.0), ("AWS_SECRET_ACCESS_KEY", given.1)];
    all.extend(given.2.map(|token| ("AWS_SESSION_TOKEN", token)));
    all
}

fn spawn(context: &Context, kubeconfig: &str, log: &Path, credentials: &[(&str, String)]) -> Child {
    let network = NETWORK.iter().filter_map(|name| std::env::var(name).ok().map(|value| (name, value)));
    // Killed with this program, it must not work on in the account.
    ends_with_parent(env!("CARGO_BIN_EXE_bucketconnection"))
        .args(["run", "--no-lease", "--metrics-address", "127.0.0.1:0", "--namespace", context.run.id()])
        .env_clear()
        .envs(network)
        .env("KUBECONFIG", kubeconfig)
        .env("AWS_REGION", &context.aws.region)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .envs(context.aws.config().endpoint_url().map(|url| ("AWS_ENDPOINT_URL", url)))
        .envs(credentials.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(log).unwrap())
        .spawn()
        .expect("the operator is built")
}

/// Waits until `answer` gives a value, and returns it with the seconds that this took.
pub async fn eventually<T>(limit: Duration, pause: Duration, what: &str, mut answer: impl AsyncFnMut() -> Option<T>) -> (T, f64) {
    let began = Instant::now();
    loop {
        if let Some(value) = answer().await {
            return (value, began.elapsed().as_secs_f64());
        }
        assert!(began.elapsed() < limit, "{what}: not within {} s", limit.as_secs());
        tokio::time::sleep(pause).await;
    }
}
