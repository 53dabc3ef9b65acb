//! A harness whose operator also has a proxy before the API server. One harness serves many runs: each run has its own
//! namespace, bucket, user and start of the operator, and foreign resources next to them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_s3::types::{Tag, Tagging};
use bucketconnection::api::{BucketConnection, REQUESTED_AT};
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use serde_json::{Value, json};

use super::watch::Watch;
use crate::support::api_proxy::{ApiProxy, ApiRequest};
use crate::support::harness::{Harness, LIMIT, told, writes};
use crate::support::merge::merge;
use crate::support::proxy::{Fault, Request};
use crate::support::stack::Stack;

/// The value with which triggers of scenarios request a reconcile.
pub const ASKED: &str = "asked";

pub struct FaultHarness {
    pub base: Harness,
    pub api: ApiProxy,
    /// Part of every name of this run in AWS.
    pub token: String,
    pub watch: Arc<Watch>,
    /// A key on the user that a person created.
    pub foreign: String,
    /// The operator's connection to the API server without the proxy.
    pub kubeconfig: String,
}

impl FaultHarness {
    pub async fn new(name: &str) -> Self {
        let mut base = Harness::idle(name, Stack::cluster(), &[]).await;
        base.log = "info";
        let api = ApiProxy::start(&base.operator_kubeconfig, &base.directory);
        let kubeconfig = std::mem::replace(&mut base.operator_kubeconfig, api.kubeconfig.clone());
        let watch = Watch::new(&base);
        foreign_in_aws(&base).await;
        Self { base, api, token: String::new(), watch, foreign: String::new(), kubeconfig }
    }

    /// Ends the operator and moves on to the next run.
    pub async fn fresh(&mut self, name: &str) {
        self.base.kill();
        self.base.moved(name).await;
        self.token = format!("{:08x}", fastrand::u32(..));
        self.foreign.clear();
        self.heal();
        self.watch.begin(&self.base.namespace, &self.user());
        let other = json!({ "metadata": { "name": "other" }, "stringData": { "AWS_ACCESS_KEY_ID": "theirs" } });
        let other: Secret = serde_json::from_value(other).unwrap();
        self.base.secrets().create(&PostParams::default(), &other).await.unwrap();
    }

    /// Starts the operator and waits until it watches.
    pub async fn start(&mut self) {
        self.take();
        self.base.start();
        let end = Instant::now() + LIMIT;
        while self.api.count("watch bucketconnections") == 0 || self.api.count("watch awsaccounts") == 0 {
            assert!(Instant::now() < end, "the operator does not watch: {:?}\n{}", self.api.requests(), self.base.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub fn heal(&self) {
        self.base.proxy.heal();
        self.api.heal();
    }

    /// Returns the requests to AWS and to the API server, and forgets them.
    pub fn take(&self) -> (Vec<Request>, Vec<ApiRequest>) {
        (self.base.proxy.take(), self.api.take())
    }

    /// From now on, checks the invariants after each write to AWS that has no other fault.
    pub fn watched(&self) {
        self.base.proxy.fault("writes", Fault::CallAfter(self.watch.hook()), usize::MAX);
    }

    pub fn bucket(&self) -> String {
        format!("bucket-{}", self.token)
    }

    pub fn user(&self) -> String {
        format!("user-{}", self.token)
    }

    /// The Illumina ICA example with a managed policy.
    pub fn connection(&self, spec: Value) -> Value {
        let mut whole = json!({
            "preset": "IlluminaICA",
            "bucket": { "encryption": { "type": "SSE-S3" } },
            "policy": { "type": "Managed", "name": format!("policy-{}", self.token), "scope": "Bucket" },
            "user": { "name": self.user() },
        });
        merge(&mut whole, spec);
        self.base.connection(&self.bucket(), whole)
    }

    /// Connects, and waits until nothing is left to do.
    pub async fn connected(&self, spec: Value) {
        self.base.apply(&self.connection(spec)).await;
        self.base.ready("c").await;
        self.quiet().await;
    }

    /// Creates a key on the managed user as a person does.
    pub async fn foreign_key(&mut self) {
        let made = self.base.iam().create_access_key().user_name(self.user()).send().await.unwrap();
        self.foreign = made.access_key.unwrap().access_key_id;
        self.watch.foreign(&self.foreign);
    }

    /// Requests a reconcile, and does not wait for it.
    pub async fn ask(&self) {
        self.annotate(REQUESTED_AT).await;
    }

    /// Sets the annotation to a new value, which is a request.
    pub async fn annotate(&self, annotation: &str) {
        self.base.patch("c", json!({ "metadata": { "annotations": { annotation: ASKED } } })).await;
    }

    /// Waits until that reconcile has ended with success.
    pub async fn answered(&self) {
        self.base
            .until("c", "answer", |object| {
                let handled = object.status.as_ref().and_then(|status| status.last_handled_reconcile_at.as_deref());
                let ready = crate::support::harness::condition(object, "Ready").is_some_and(|ready| ready.status == "True");
                handled == Some(ASKED) && ready
            })
            .await;
    }

    /// What the operators have logged about this run.
    pub fn told(&self) -> String {
        let log = self.base.log();
        let ours = |line: &&str| line.contains(&self.base.namespace) || line.contains("overflow");
        let lines: Vec<_> = log.lines().filter(ours).collect();
        lines[lines.len().saturating_sub(4)..].join("\n")
    }

    /// Reconciles until one changes nothing in AWS, and the connection is ready.
    pub async fn quiet(&self) {
        self.still().await;
        self.base.ready("c").await;
        // A fault in one of these reconciles is over after a retry.
        let unavailable = |object: &BucketConnection| told(object, "Reconciling").1.ends_with("Unavailable");
        self.base.until("c", "answer from both servers", |object| !unavailable(object)).await;
    }

    /// Reconciles until one changes nothing in AWS.
    pub async fn still(&self) {
        let mut wrote = Vec::new();
        for _ in 0..5 {
            let before = self.base.proxy.len();
            self.base.check("c").await;
            wrote = writes(&self.base.proxy.since(before));
            if wrote.is_empty() {
                return;
            }
        }
        panic!("check after check writes: {wrote:?}");
    }
}

const FOREIGN: &str = "somebody-elses";

async fn foreign_in_aws(base: &Harness) {
    let (s3, iam) = (base.s3(), base.iam());
    s3.create_bucket().bucket(FOREIGN).send().await.unwrap();
    let tag = Tag::builder().key("cost").value("7").build().unwrap();
    s3.put_bucket_tagging().bucket(FOREIGN).tagging(Tagging::builder().tag_set(tag).build().unwrap()).send().await.unwrap();
    iam.create_user().user_name(FOREIGN).send().await.unwrap();
    iam.create_access_key().user_name(FOREIGN).send().await.unwrap();
    let document = json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*" }] }).to_string();
    iam.put_user_policy().user_name(FOREIGN).policy_name("theirs").policy_document(document).send().await.unwrap();
}

/// The foreign resources, as they are now.
pub async fn foreign(base: &Harness) -> Vec<String> {
    let (s3, iam) = (base.s3(), base.iam());
    let tags = s3.get_bucket_tagging().bucket(FOREIGN).send().await.unwrap().tag_set;
    let user = iam.get_user().user_name(FOREIGN).send().await.unwrap().user;
    let policies = iam.list_user_policies().user_name(FOREIGN).send().await.unwrap().policy_names;
    let other = base.secrets().get("other").await.unwrap();
    let managers = other.metadata.managed_fields.unwrap_or_default().len();
    vec![
        format!("{tags:?}"),
        format!("{user:?}"),
        format!("{policies:?}"),
        format!("{:?}", base.keys(FOREIGN).await),
        format!("{:?} {managers}", other.data),
    ]
}
