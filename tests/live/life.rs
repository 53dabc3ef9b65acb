//! The life of a connection, with the operator: create, use, change each setting by hand, rotate, revoke, release,
//! adopt, delete.

use std::time::Instant;

use aws_sdk_s3::primitives::ByteStream;
use bucketconnection::api::{BucketConnection, CredentialsStatus, REVOKE_AT, ROTATE_AT};
use serde_json::json;

use super::clients::{Aws, bucket_tags, must, user_tags};
use super::lab::{Lab, eventually};
use super::names::{TAG, Tags};
use super::{Context, conditions, delete, drift};
use crate::support::answers::{Pair, code};
use crate::support::harness::{condition, told};

const PART: &str = "life";

pub async fn run(context: &Context) {
    let key = if context.own_credentials { None } else { Some(conditions::operator(context).await) };
    let lab = Lab::start(context, key.as_ref()).await;
    create(context, &lab).await;
    use_key(context, &lab).await;
    drift::run(context, &lab).await;
    conditions::run(context, &lab, key.as_ref()).await;
    rotate(context, &lab).await;
    revoke(context, &lab).await;
    release(context, &lab).await;
    adopt(context, &lab).await;
    remove(context, &lab).await;
}

/// The connection's user.
pub fn user(context: &Context, connection: &str) -> String {
    format!("{}.{connection}", context.run.id())
}

async fn create(context: &Context, lab: &Lab<'_>) {
    let (report, bucket, logs) = (&context.report, context.run.name("life"), context.run.name("logs"));
    report.say("creating two connections: one for a bucket with every setting, one for the bucket of its access logs");
    let began = Instant::now();
    lab.apply("logs", &logs, drift::logs(&context.aws.partition, &logs)).await;
    lab.ready("logs").await;
    report.took("connection: from kubectl apply to Ready", began.elapsed().as_secs_f64());
    let began = Instant::now();
    lab.apply("main", &bucket, drift::spec(&logs, context.overlap)).await;
    let object = lab.ready("main").await;
    report.took("connection with every setting: from kubectl apply to Ready", began.elapsed().as_secs_f64());
    report.is(PART, "a new connection becomes Ready", told(&object, "Ready").0, "True");
    for (connection, bucket) in [("logs", &logs), ("main", &bucket)] {
        mark(context, bucket, &user(context, connection)).await;
    }
    lab.check("main").await;
    let object = lab.check("main").await;
    report.is(PART, "after two more reconciles nothing has drifted", journal(&object), Vec::<String>::new());
}

/// Adds the run's tag to a bucket and a user of the operator, so that they are found after a release too.
async fn mark(context: &Context, bucket: &str, user: &str) {
    let aws = &context.aws;
    let mut tags = bucket_tags(aws, bucket, &aws.region).await.unwrap().unwrap_or_default();
    tags.insert(TAG.to_owned(), context.run.id().to_owned());
    drift::put_tags(context, bucket, &tags).await;
    let tag = aws_sdk_iam::types::Tag::builder().key(TAG).value(context.run.id()).build().unwrap();
    must("iam:TagUser", aws.iam().tag_user().user_name(user).tags(tag).send().await);
}

/// The fields that the operator has reverted.
pub fn journal(object: &BucketConnection) -> Vec<String> {
    let drift = object.status.as_ref().and_then(|status| status.drift.clone()).unwrap_or_default();
    drift.journal.into_iter().map(|entry| entry.path).collect()
}

async fn list(aws: &Aws, bucket: &str, prefix: &str) -> String {
    code(&aws.s3(&aws.region).list_objects_v2().bucket(bucket).prefix(prefix).send().await)
}

async fn use_key(context: &Context, lab: &Lab<'_>) {
    let (report, bucket) = (&context.report, context.run.name("life"));
    report.say("using the key of the Secret: inside its prefix, and outside");
    let aws = context.aws.with_key(&lab.key("main").await);
    let s3 = aws.s3(&aws.region);
    let put = async |key: &str| code(&s3.put_object().bucket(&bucket).key(key).body(ByteStream::from_static(b"x")).send().await);
    report.is(PART, "the key writes under its prefix", put("runs/live").await, "");
    report.is(PART, "the key lists under its prefix", list(&aws, &bucket, "runs/").await, "");
    let delete = s3.delete_object().bucket(&bucket).key("runs/live").send().await;
    report.is(PART, "the key deletes under its prefix", code(&delete), "");
    report.is(PART, "the key does not write outside its prefix", put("live").await, "AccessDenied");
    let cors = s3.get_bucket_cors().bucket(&bucket).send().await;
    report.is(PART, "the key does not read settings", code(&cors), "AccessDenied");
    let iam = aws.iam().get_user().user_name(user(context, "main")).send().await;
    report.is(PART, "the key does not use IAM", code(&iam), "AccessDenied");
    // Versioning keeps what was deleted.
    delete::empty(&context.aws, &context.run, &bucket).await.unwrap();
    let claim = "a request without TLS is denied by the bucket policy of tls";
    if context.emulated {
        report.not_run(PART, claim, "the emulator has no TLS and ignores the condition");
        return;
    }
    // The request is signed: it shows the id of the key, not its secret part. The key is deleted later in this run.
    let suffix = if aws.partition == "aws-cn" { "amazonaws.com.cn" } else { "amazonaws.com" };
    let plain = aws_sdk_s3::config::Builder::from(aws.config()).force_path_style(true);
    let plain = plain.endpoint_url(format!("http://s3.{}.{suffix}", aws.region)).build();
    let answer = aws_sdk_s3::Client::from_conf(plain).list_objects_v2().bucket(&bucket).prefix("runs/").send().await;
    report.is(PART, claim, code(&answer), "AccessDenied");
}

fn known(object: &BucketConnection) -> CredentialsStatus {
    object.status.as_ref().and_then(|status| status.memory.credentials.clone()).unwrap_or_default()
}

async fn annotate(lab: &Lab<'_>, annotation: &str) {
    lab.patch("main", json!({ "metadata": { "annotations": { annotation: "1" } } })).await;
}

async fn rotate(context: &Context, lab: &Lab<'_>) {
    let (report, bucket) = (&context.report, context.run.name("life"));
    report.say("rotating the key; the previous one works until the overlap ends");
    let (old, began) = (lab.key("main").await, Instant::now());
    annotate(lab, ROTATE_AT).await;
    let rotated =
        |object: &BucketConnection| known(object).pending.is_none() && known(object).access_key_id.is_some_and(|id| id != old.id);
    lab.until("main", "other key", rotated).await;
    report.took("rotation: from the request to another key in the Secret", began.elapsed().as_secs_f64());
    let new = lab.key("main").await;
    report.is(PART, "a rotation replaces the key in the Secret", new.id == old.id, false);
    report.is(PART, "the new key works at once", list(&context.aws.with_key(&new), &bucket, "runs/").await, "");
    let ended = |object: &BucketConnection| condition(object, "RotationComplete").is_some_and(|c| c.status == "True");
    lab.until("main", "end of the overlap", ended).await;
    report.took("rotation: from the request to the deletion of the previous key", began.elapsed().as_secs_f64());
    report.is(PART, "after the overlap, IAM has only the current key", keys(context, "main").await, vec![new.id]);
    refused(context, &old, &bucket, "the previous key is refused after the overlap").await;
}

async fn keys(context: &Context, connection: &str) -> Vec<String> {
    let listed = context.aws.iam().list_access_keys().user_name(user(context, connection)).send().await;
    must("iam:ListAccessKeys", listed).access_key_metadata.into_iter().filter_map(|key| key.access_key_id).collect()
}

/// Waits until S3 refuses the key.
async fn refused(context: &Context, key: &Pair, bucket: &str, claim: &str) {
    let aws = context.aws.with_key(key);
    let refused = async || (list(&aws, bucket, "runs/").await == "InvalidAccessKeyId").then_some(());
    let ((), seconds) = eventually(context.limit, context.pause, claim, refused).await;
    context.report.took(&format!("IAM: {claim}"), seconds);
    context.report.is(PART, claim, "InvalidAccessKeyId", "InvalidAccessKeyId");
}

async fn revoke(context: &Context, lab: &Lab<'_>) {
    let (report, bucket) = (&context.report, context.run.name("life"));
    report.say("revoking: the key is deleted, sessions are denied, and another key is issued");
    let (old, began) = (lab.key("main").await, Instant::now());
    annotate(lab, REVOKE_AT).await;
    let revoked = |object: &BucketConnection| known(object).last_handled_revoke_at.as_deref() == Some("1");
    let object = lab.until("main", "revocation", revoked).await;
    report.took("revocation: from the request to its end", began.elapsed().as_secs_f64());
    report.is(PART, "a revocation is complete", told(&object, "RevocationComplete").0, "True");
    refused(context, &old, &bucket, "a revoked key is refused").await;
    let another = |object: &BucketConnection| known(object).access_key_id.is_some_and(|id| id != old.id);
    lab.until("main", "another key", another).await;
    lab.ready("main").await;
    report.took("revocation: from the request to another key", began.elapsed().as_secs_f64());
    let denial = context.aws.iam().get_user_policy().user_name(user(context, "main")).policy_name("bucketconnection-revoked");
    let denial = must("iam:GetUserPolicy", denial.send().await).policy_document;
    report.is(PART, "after a revocation, a policy denies earlier sessions", denial.contains("TokenIssueTime"), true);
}

async fn release(context: &Context, lab: &Lab<'_>) {
    let (report, bucket, key) = (&context.report, context.run.name("life"), lab.key("main").await);
    report.say("releasing the connection: everything stays, without the operator's tags");
    lab.delete("main", "Release").await;
    let tags = bucket_tags(&context.aws, &bucket, &context.aws.region).await.unwrap().unwrap_or_default();
    report.is(PART, "a released bucket has no tag of the operator", operators(&tags), Vec::<&String>::new());
    report.is(PART, "a released bucket keeps foreign tags", tags.contains_key(TAG), true);
    let tags = user_tags(&context.aws, &user(context, "main")).await.unwrap().unwrap_or_default();
    report.is(PART, "a released user has no tag of the operator", operators(&tags), Vec::<&String>::new());
    report.is(PART, "a released key continues to work", list(&context.aws.with_key(&key), &bucket, "runs/").await, "");
}

/// The keys of the operator's own tags.
fn operators(tags: &Tags) -> Vec<&String> {
    tags.keys().filter(|key| key.starts_with("bucketconnection.dev/")).collect()
}

async fn adopt(context: &Context, lab: &Lab<'_>) {
    let (report, bucket) = (&context.report, context.run.name("life"));
    report.say("adopting the bucket with another connection, after an approval");
    lab.apply(
        "again",
        &bucket,
        json!({ "bucket": { "adopt": true, "requestPayment": "Requester", "allowWeaker": ["requestPayment"] } }),
    )
    .await;
    let planned = |object: &BucketConnection| object.status.as_ref().is_some_and(|status| status.adoption.is_some());
    let object = lab.until("again", "plan of the adoption", planned).await;
    report.is(PART, "an adoption with changes waits for an approval", told(&object, "Ready").1, "AwaitingApproval");
    let hash = object.status.and_then(|status| status.adoption).unwrap().plan_hash;
    lab.patch("again", json!({ "spec": { "approvedPlan": hash } })).await;
    let object = lab.ready("again").await;
    report.is(PART, "an approved adoption becomes Ready", told(&object, "Ready").0, "True");
    mark(context, &bucket, &user(context, "again")).await;
}

async fn remove(context: &Context, lab: &Lab<'_>) {
    let report = &context.report;
    report.say("deleting the connections with their buckets and users");
    for (connection, bucket) in [("again", context.run.name("life")), ("logs", context.run.name("logs"))] {
        let began = Instant::now();
        lab.delete(connection, "Delete").await;
        report.took("deletion: from kubectl delete to the end", began.elapsed().as_secs_f64());
        let missing = async || bucket_tags(&context.aws, &bucket, &context.aws.region).await.unwrap().is_none().then_some(());
        let ((), seconds) = eventually(context.limit, context.pause, "a deleted bucket is missing", missing).await;
        report.took("S3: a deleted bucket is missing", seconds);
        let user = user(context, connection);
        let missing = async || user_tags(&context.aws, &user).await.unwrap().is_none().then_some(());
        eventually(context.limit, context.pause, "a deleted user is missing", missing).await;
        report.is(PART, &format!("the deletion of {connection} deletes its bucket and user"), true, true);
    }
}
