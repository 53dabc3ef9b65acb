//! How long new keys and changed policies take to apply: measured round by round, with a user of its own each time.

use super::Context;
use super::clients::{Aws, must};
use super::lab::eventually;
use crate::support::answers::code;
use serde_json::{Value, json};

const PART: &str = "timing";
/// Requests after the first success of a key: each must succeed too.
const FURTHER: usize = 10;

/// A policy that allows or denies listing buckets of the run.
pub fn listing(context: &Context, effect: &str) -> Value {
    let resource = format!("arn:{}:s3:::{}-*", context.aws.partition, context.run.id());
    json!({ "Version": "2012-10-17", "Statement": [{ "Effect": effect, "Action": "s3:ListBucket", "Resource": resource }] })
}

pub async fn run(context: &Context) {
    let bucket = context.run.name("timing");
    must_be_created(context, &bucket).await;
    for round in 1..=context.rounds {
        context.report.say(&format!("measuring how long keys and policies take: round {round} of {}", context.rounds));
        measure(context, &bucket, &context.run.name(&format!("timing-{round}"))).await;
        context.clean(&context.run.name(&format!("timing-{round}"))).await;
    }
    context.clean(&bucket).await;
}

/// Creates a bucket for a part.
pub async fn must_be_created(context: &Context, bucket: &str) {
    let code = context.aws.create_bucket(bucket).await;
    assert!(code.is_empty(), "s3:CreateBucket: {code}");
}

async fn s3(aws: &Aws, bucket: &str) -> String {
    code(&aws.s3(&aws.region).list_objects_v2().bucket(bucket).expected_bucket_owner(&aws.account).send().await)
}

async fn until(context: &Context, what: &str, answer: impl AsyncFnMut() -> Option<()>) {
    let ((), seconds) = eventually(context.limit, context.pause, what, answer).await;
    context.report.took(&format!("IAM: {what}"), seconds);
}

async fn measure(context: &Context, bucket: &str, user: &str) {
    let (iam, report) = (context.aws.iam(), &context.report);
    context.new_user(user, "/bc-live/").await;
    let put = async |effect: &str| {
        let document = listing(context, effect).to_string();
        let put = async || iam.put_user_policy().user_name(user).policy_name("p").policy_document(&document).send().await;
        context.known("iam:PutUserPolicy", put).await;
    };
    put("Allow").await;
    let key = context.new_key(user).await;
    let with_key = context.aws.with_key(&key);
    let mut early = std::collections::BTreeSet::new();
    until(context, "a new key is known to STS", async || {
        let answer = code(&with_key.sts().get_caller_identity().send().await);
        let works = answer.is_empty().then_some(());
        early.insert(answer);
        works
    })
    .await;
    until(context, "then the key and its policy are known to S3", async || {
        let answer = s3(&with_key, bucket).await;
        let works = answer.is_empty().then_some(());
        early.insert(answer);
        works
    })
    .await;
    let known = ["", "InvalidClientTokenId", "InvalidAccessKeyId", "AccessDenied"];
    let other: Vec<_> = early.iter().filter(|code| !known.contains(&code.as_str())).collect();
    report.is(PART, &format!("before a key works, AWS answers only{}", known.join(" ")), other, Vec::<&String>::new());
    let mut failed = Vec::new();
    for _ in 0..FURTHER {
        failed.push(s3(&with_key, bucket).await);
        tokio::time::sleep(context.pause).await;
    }
    failed.retain(|code| !code.is_empty());
    report.is(PART, "a key that has worked in S3 continues to work", failed, Vec::<String>::new());
    put("Deny").await;
    until(context, "a denial applies in S3", async || (s3(&with_key, bucket).await == "AccessDenied").then_some(())).await;
    put("Allow").await;
    until(context, "an allowance applies in S3", async || s3(&with_key, bucket).await.is_empty().then_some(())).await;
    let status = aws_sdk_iam::types::StatusType::Inactive;
    must("iam:UpdateAccessKey", iam.update_access_key().user_name(user).access_key_id(&key.id).status(status).send().await);
    let refused = async || (s3(&with_key, bucket).await == "InvalidAccessKeyId").then_some(());
    until(context, "an inactive key is refused by S3", refused).await;
    let status = aws_sdk_iam::types::StatusType::Active;
    must("iam:UpdateAccessKey", iam.update_access_key().user_name(user).access_key_id(&key.id).status(status).send().await);
    until(context, "an active key works again in S3", async || s3(&with_key, bucket).await.is_empty().then_some(())).await;
    must("iam:DeleteAccessKey", iam.delete_access_key().user_name(user).access_key_id(&key.id).send().await);
    until(context, "a deleted key is refused by S3", refused).await;
    until(context, "a deleted key is refused by STS", async || {
        (code(&with_key.sts().get_caller_identity().send().await) == "InvalidClientTokenId").then_some(())
    })
    .await;
}
