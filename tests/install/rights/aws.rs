//! Each action of the operator's IAM policy, taken away: the connection says which one is missing, no key is lost, and
//! the connection continues once the action is back. An action that no part of this life needs is not in the policy.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use aws_sdk_iam::types::{StatusType, Tag};
use aws_sdk_s3::types::{
    AccelerateConfiguration, BucketAccelerateStatus, ObjectOwnership, OwnershipControls, OwnershipControlsRule, Payer,
    RequestPaymentConfiguration,
};
use bucketconnection::api::{BucketConnection, REQUESTED_AT, ROTATE_AT};
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::keys_match;
use crate::support::harness::{Harness, LIMIT, condition, told};
use crate::support::stack::{ROOT, Stack};

/// Actions that AWS requires and the emulator does not check, with the page that says so.
const UNCHECKED: [(&str, &str); 2] = [
    // CreateBucket with tags; https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html
    ("s3:TagResource", "s3:CreateBucket"),
    // DeleteObjects with version ids; https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html
    ("s3:DeleteObjectVersion", "s3:DeleteObject"),
];

fn policy() -> Value {
    serde_json::from_str(&std::fs::read_to_string(format!("{ROOT}/deploy/iam/operator-policy.json")).unwrap()).unwrap()
}

/// All actions of the shipped policy.
pub fn actions() -> BTreeSet<String> {
    let list = |value: &Value| match value {
        Value::Array(items) => items.iter().map(|item| item.as_str().unwrap().to_owned()).collect(),
        one => vec![one.as_str().unwrap().to_owned()],
    };
    policy()["Statement"].as_array().unwrap().iter().flat_map(|statement| list(&statement["Action"])).collect()
}

/// Gives the operator the shipped policy, without these actions.
pub async fn allow_all_but(harness: &Harness, missing: &BTreeSet<String>) {
    let mut document = policy();
    for statement in document["Statement"].as_array_mut().unwrap() {
        let actions = match statement["Action"].take() {
            Value::Array(items) => items,
            one => vec![one],
        };
        let kept: Vec<_> = actions.into_iter().filter(|action| !missing.contains(action.as_str().unwrap())).collect();
        statement["Action"] = if kept.is_empty() { json!("none:None") } else { json!(kept) };
    }
    let put = harness.iam().put_user_policy().user_name("operator").policy_name("policy");
    put.policy_document(document.to_string()).send().await.unwrap();
}

/// The life of three connections, which needs every action once.
struct Life<'a> {
    harness: &'a Harness,
    number: usize,
    /// The action that is missing, until the connection has said so.
    missing: Option<String>,
}

impl Life<'_> {
    /// Lives; ends early when the action was missing and is back.
    async fn live(mut self) -> Result<(), String> {
        let missing = self.missing.clone();
        if let Some(action) = &missing {
            allow_all_but(self.harness, &[action.clone()].into()).await;
        }
        for stage in 0..=12 {
            let name = self.stage(stage).await;
            self.settles(&name).await;
            if missing.is_some() && self.missing.is_none() {
                keys_match(self.harness).await;
                return Ok(());
            }
        }
        keys_match(self.harness).await;
        missing.map_or(Ok(()), |action| Err(format!("nothing needs {action}: remove it from src/render/iam_policy.rs")))
    }

    fn bucket(&self, part: &str) -> String {
        format!("{}-{}{part}", self.harness.namespace, self.number)
    }

    fn user(&self, part: &str) -> String {
        format!("{}.{}", self.harness.namespace, self.name(part))
    }

    fn name(&self, part: &str) -> String {
        format!("{part}{}", self.number)
    }

    async fn apply(&self, part: &str, spec: Value) {
        let mut object = self.harness.connection(&self.bucket(part), spec);
        object["metadata"]["name"] = json!(self.name(part));
        self.harness.apply(&object).await;
    }

    async fn patch(&self, part: &str, spec: Value) {
        self.harness.patch(&self.name(part), json!({ "spec": spec })).await;
    }

    /// One stage; returns the name of its connection.
    async fn stage(&self, stage: usize) -> String {
        let (s3, iam) = (self.harness.s3(), self.harness.iam());
        match stage {
            0 => {
                self.logs().await;
                self.apply("a", self.all_settings()).await;
                self.name("a")
            }
            1 => {
                self.drift().await;
                // Tags that others removed, and a key that others deactivated.
                s3.delete_bucket_tagging().bucket(self.bucket("a")).send().await.unwrap();
                iam.untag_user().user_name(self.user("a")).tag_keys("bucketconnection.dev/owner").send().await.unwrap();
                let key = self.harness.keys(&self.user("a")).await.remove(0);
                let user = iam.update_access_key().user_name(self.user("a")).access_key_id(key);
                user.status(StatusType::Inactive).send().await.unwrap();
                let attached = iam.list_attached_user_policies().user_name(self.user("a")).send().await.unwrap();
                let arn = attached.attached_policies()[0].policy_arn().unwrap().to_owned();
                iam.untag_policy().policy_arn(&arn).tag_keys("bucketconnection.dev/owner").send().await.unwrap();
                self.name("a")
            }
            2 => {
                self.patch("a", json!({ "policy": { "scope": "Bucket" } })).await;
                self.name("a")
            }
            3 => {
                self.harness.delete(&self.name("a")).await;
                self.name("a")
            }
            4 => {
                let statement = json!({ "sid": "Auditors", "effect": "Allow", "principals": { "AWS": ["210987654321"] }, "actions": ["s3:GetObject"] });
                self.apply("b", json!({
                    "bucket": { "policyStatements": [statement], "versioning": "Enabled" }, "deletionPolicy": "Delete", "forceDestroy": true,
                    "user": { "tags": { "team": "a" } }, "credentials": { "rotation": { "interval": "365d", "overlap": "1s" } },
                })).await;
                self.name("b")
            }
            5 => {
                let boundary = "arn:aws:iam::123456789012:policy/boundary";
                self.patch(
                    "b",
                    json!({ "bucket": { "policyStatements": [] }, "user": { "tags": null, "permissionsBoundary": boundary } }),
                )
                .await;
                self.name("b")
            }
            6 => {
                self.patch("b", json!({ "policy": { "type": "Managed" } })).await;
                self.name("b")
            }
            7 => {
                self.patch("b", json!({ "policy": { "type": "Inline" } })).await;
                self.name("b")
            }
            8 => {
                self.harness.patch(&self.name("b"), json!({ "metadata": { "annotations": { ROTATE_AT: "now" } } })).await;
                self.name("b")
            }
            9 => {
                s3.put_object().bucket(self.bucket("b")).key("runs/a").send().await.unwrap();
                s3.create_multipart_upload().bucket(self.bucket("b")).key("runs/b").send().await.unwrap();
                self.harness.delete(&self.name("b")).await;
                self.name("b")
            }
            10 => {
                let user = self.user("c");
                let owner = Tag::builder().key("cost").value("1").build().unwrap();
                iam.create_user().user_name(&user).path("/bucketconnection/").tags(owner).send().await.unwrap();
                self.apply("c", json!({ "user": { "adopt": true, "name": user }, "policy": { "type": "Managed" } })).await;
                self.name("c")
            }
            11 => {
                self.patch("c", json!({ "deletionPolicy": "Release" })).await;
                self.name("c")
            }
            _ => {
                self.harness.delete(&self.name("c")).await;
                self.name("c")
            }
        }
    }

    /// Changes the settings that a new bucket has as the spec says.
    async fn drift(&self) {
        let (s3, bucket) = (self.harness.s3(), self.bucket("a"));
        s3.delete_public_access_block().bucket(&bucket).send().await.unwrap();
        let rule = OwnershipControlsRule::builder().object_ownership(ObjectOwnership::ObjectWriter).build().unwrap();
        let controls = OwnershipControls::builder().rules(rule).build().unwrap();
        s3.put_bucket_ownership_controls().bucket(&bucket).ownership_controls(controls).send().await.unwrap();
        let fast = AccelerateConfiguration::builder().status(BucketAccelerateStatus::Enabled).build();
        s3.put_bucket_accelerate_configuration().bucket(&bucket).accelerate_configuration(fast).send().await.unwrap();
        let payer = RequestPaymentConfiguration::builder().payer(Payer::Requester).build().unwrap();
        s3.put_bucket_request_payment().bucket(&bucket).request_payment_configuration(payer).send().await.unwrap();
    }

    /// A bucket for logs, which allows S3 to deliver them.
    async fn logs(&self) {
        let (s3, logs) = (self.harness.s3(), self.bucket("logs"));
        s3.create_bucket().bucket(&logs).send().await.unwrap();
        let service = json!({ "Service": "logging.s3.amazonaws.com" });
        let statement = json!({ "Effect": "Allow", "Principal": service, "Action": "s3:PutObject", "Resource": format!("arn:aws:s3:::{logs}/*") });
        let document = json!({ "Version": "2012-10-17", "Statement": [statement] });
        s3.put_bucket_policy().bucket(&logs).policy(document.to_string()).send().await.unwrap();
    }

    /// A spec with every setting: the example of all settings.
    fn all_settings(&self) -> Value {
        let text = std::fs::read_to_string(format!("{ROOT}/examples/bucket-settings.yaml")).unwrap();
        let mut spec = serde_saphyr::from_multiple::<Value>(&text).unwrap().remove(1)["spec"].take();
        spec["bucket"]["name"] = json!(self.bucket("a"));
        spec["bucket"]["logging"]["targetBucket"] = json!(self.bucket("logs"));
        spec["policy"] = json!({ "type": "Managed" });
        spec["deletionPolicy"] = json!("Delete");
        spec
    }

    /// Waits until the connection is Ready or gone; if it says that the action is missing, gives it back.
    async fn settles(&mut self, name: &str) {
        self.nudge(name).await;
        let end = Instant::now() + LIMIT;
        loop {
            let Some(object) = self.harness.objects().get_opt(name).await.unwrap() else { return };
            let conditions = object.status.iter().flat_map(|status| &status.conditions);
            let says = |action: &String| {
                conditions.clone().any(|c| c.message.contains(action.as_str()) && c.message.contains("allow the operator"))
            };
            if self.missing.as_ref().is_some_and(says) {
                self.missing = None;
                allow_all_but(self.harness, &BTreeSet::new()).await;
                self.nudge(name).await;
            }
            let status = object.status.clone().unwrap_or_default();
            if condition(&object, "Ready").is_some() && told(&object, "Ready").1 == "AwaitingApproval" {
                let approved = status.adoption.as_ref().map(|adoption| adoption.plan_hash.clone()).unwrap_or_else(|| {
                    let message = told(&object, "Ready").2;
                    message.split_whitespace().find(|word| word.starts_with("plan-")).unwrap().trim_end_matches(';').to_owned()
                });
                self.try_patch(name, json!({ "spec": { "approvedPlan": approved } })).await;
            }
            if rests(&object) {
                return;
            }
            assert!(Instant::now() < end, "{name} without {:?} does not settle: {}", self.missing, json!(status));
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    async fn nudge(&self, name: &str) {
        let stamp = format!("{}", fastrand::u64(..));
        self.try_patch(name, json!({ "metadata": { "annotations": { REQUESTED_AT: stamp } } })).await;
    }

    /// Patches the connection, which may be gone.
    async fn try_patch(&self, name: &str, patch: Value) {
        let _ = self.harness.objects().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
    }
}

/// Whether the connection is Ready, and all that was requested is done.
pub fn rests(object: &BucketConnection) -> bool {
    let Some(status) = &object.status else { return false };
    let requested = |name: &str| object.annotations().get(name);
    let key = status.memory.credentials.as_ref();
    let rotated = key.is_none_or(|key| key.previous.is_none() && key.last_handled_rotate_at.as_ref() == requested(ROTATE_AT));
    let ready = condition(object, "Ready");
    ready.is_some_and(|ready| ready.status == "True" && ready.observed_generation == object.metadata.generation)
        && status.last_handled_reconcile_at.as_ref() == requested(REQUESTED_AT)
        && rotated
        && object.metadata.deletion_timestamp.is_none()
}

/// A life without each of these actions, in one harness.
async fn lives(lane: &str, missing: impl IntoIterator<Item = Option<String>>) -> Harness {
    let mut harness = Harness::idle(&format!("aws-{lane}"), Stack::cluster(), &[]).await;
    harness.log = "info";
    harness.start();
    let boundary = std::fs::read_to_string(format!("{ROOT}/deploy/iam/boundary.json")).unwrap();
    let boundary = harness.iam().create_policy().policy_name("boundary").policy_document(boundary);
    boundary.send().await.unwrap();
    let mut unneeded = Vec::new();
    for (number, missing) in missing.into_iter().enumerate() {
        let began = Instant::now();
        let shown = missing.clone().unwrap_or_default();
        unneeded.extend(Life { harness: &harness, number, missing }.live().await.err());
        println!("{:5} ms  without {shown}", began.elapsed().as_millis());
    }
    assert!(unneeded.is_empty(), "{unneeded:#?}");
    harness
}

/// The calls of a whole life are the actions of the policy: none is missing, and none is left over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_life_needs_each_action_and_no_other() {
    let harness = lives("whole", [None]).await;
    let (operator, _) = harness.emulator.key("operator");
    let called = harness.proxy.take().into_iter().filter(|request| request.key == operator).map(|request| request.action);
    let mut used: BTreeSet<_> = called.filter(|action| action != "sts:GetCallerIdentity").collect();
    for (action, with) in UNCHECKED {
        if used.contains(with) || used.contains(action) {
            used.extend([action.to_owned(), with.to_owned()]);
        }
    }
    let allowed = actions();
    assert_eq!(used.difference(&allowed).collect::<Vec<_>>(), Vec::<&String>::new(), "called and not allowed");
    assert_eq!(allowed.difference(&used).collect::<Vec<_>>(), Vec::<&String>::new(), "allowed and not called");
}

/// `make soak` removes every action.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_action_is_named() {
    let sample = ["s3:CreateBucket", "s3:GetBucketCORS", "iam:PutUserPermissionsBoundary", "iam:CreateAccessKey"];
    lives("sample", sample.map(|action| Some(action.to_owned()))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "part of make soak: some minutes"]
async fn each_missing_action_is_named() {
    let unchecked = UNCHECKED.map(|(action, _)| action);
    let all: Vec<_> = actions().into_iter().filter(|action| !unchecked.contains(&action.as_str())).collect();
    let lanes: Vec<Vec<_>> = (0..3).map(|lane| all.iter().skip(lane).step_by(3).cloned().map(Some).collect()).collect();
    let lanes = lanes
        .into_iter()
        .enumerate()
        .map(|(lane, missing)| tokio::spawn(async move { lives(&format!("lane{lane}"), missing).await.namespace.clone() }));
    for lane in lanes.collect::<Vec<_>>() {
        lane.await.unwrap();
    }
}
