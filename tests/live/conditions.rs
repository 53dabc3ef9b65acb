//! The operator's permissions as AWS evaluates them: a user with exactly the operator's policy, under the run's
//! permissions boundary, and what it may not do.

use serde_json::json;

use super::Context;
use super::clients::{boundary_arn, must};
use super::lab::{Lab, eventually};
use super::life::user;
use super::names::PATH;
use super::report::Outcome;
use crate::support::answers::{Pair, code};
use crate::support::harness::told;

const PART: &str = "permissions";
const POLICY: &str = include_str!("../../deploy/iam/operator-policy.json");

/// Creates the operator's user, with exactly deploy/iam/operator-policy.json; returns its key when it works.
pub async fn operator(context: &Context) -> Pair {
    let (iam, name) = (context.aws.iam(), context.run.name("operator"));
    context
        .report
        .say("creating a user for the operator, with exactly deploy/iam/operator-policy.json and the boundary of the run");
    context.new_user(&name, PATH).await;
    let document = POLICY.replace("arn:aws:", &format!("arn:{}:", context.aws.partition));
    let created = iam.create_policy().policy_name(&name).path(PATH).policy_document(document).send().await;
    let arn = must("iam:CreatePolicy", created).policy.and_then(|policy| policy.arn).unwrap();
    let attach = async || iam.attach_user_policy().user_name(&name).policy_arn(&arn).send().await;
    context.known("iam:AttachUserPolicy", attach).await;
    let key = context.new_key(&name).await;
    let with_key = context.aws.with_key(&key);
    let works = async || {
        let buckets = with_key.s3(&with_key.region).list_buckets().prefix(context.run.id()).send().await;
        let missing = with_key.iam().get_user().user_name(context.run.name("missing")).send().await;
        (code(&buckets).is_empty() && code(&missing) == "NoSuchEntity").then_some(())
    };
    let ((), seconds) = eventually(context.limit, context.pause, "the operator's key works", works).await;
    context.report.took("IAM: a key with a managed policy works in S3 and IAM", seconds);
    key
}

/// What the policy and the boundary deny.
pub async fn run(context: &Context, lab: &Lab<'_>, key: Option<&Pair>) {
    denied_bucket(context, lab, key.is_some()).await;
    let Some(key) = key else {
        context.report.not_run(PART, "conditions of the operator's policy", "the operator has the caller's credentials");
        return;
    };
    let report = &context.report;
    report.say("trying with the operator's key what its policy denies");
    let (aws, own) = (context.aws.with_key(key), user(context, "main"));
    let (iam, bucket) = (aws.iam(), context.run.name("life"));
    let elsewhere = iam.create_user().user_name(context.run.name("elsewhere")).path("/elsewhere/").send().await;
    report.is(PART, "the operator creates no user outside its path", code(&elsewhere), "AccessDenied");
    let get = aws.s3(&aws.region).get_object().bucket(&bucket).key("runs/x").send().await;
    report.is(PART, "the operator reads no object", code(&get), "AccessDenied");
    let foreign = boundary_arn(&aws.partition, &aws.account, &context.run);
    let attach = iam.attach_user_policy().user_name(&own).policy_arn(&foreign).send().await;
    condition(context, "the operator attaches no policy outside its path (iam:PolicyARN)", &code(&attach));
    if code(&attach).is_empty() {
        let detach = context.aws.iam().detach_user_policy().user_name(&own).policy_arn(&foreign).send().await;
        must("iam:DetachUserPolicy", detach);
    }
    // Not through the clients of the run, which add the boundary.
    let without = aws_sdk_iam::Client::new(aws.config());
    let without = without.create_user().user_name(context.run.name("unlimited")).path("/bucketconnection/");
    let tag = aws_sdk_iam::types::Tag::builder().key(super::names::TAG).value(context.run.id()).build().unwrap();
    let created = without.tags(tag).send().await;
    condition(context, "under the boundary, no user is created without it (iam:PermissionsBoundary)", &code(&created));
    context.clean(&context.run.name("unlimited")).await;
}

/// The emulator evaluates no conditions.
fn condition(context: &Context, claim: &str, code: &str) {
    if context.emulated && code.is_empty() {
        context.report.add(PART, claim, Outcome::KnownDifference, "AccessDenied", "the emulator evaluates no such condition");
    } else {
        context.report.is(PART, claim, code, "AccessDenied");
    }
}

/// The boundary denies one bucket: what the operator reports then.
async fn denied_bucket(context: &Context, lab: &Lab<'_>, bounded: bool) {
    let claim = "a denial by a permissions boundary is reported as AccessDenied";
    if !bounded {
        context.report.not_run(PART, claim, "the operator has the caller's credentials");
        return;
    }
    context.report.say("connecting a bucket that the boundary denies, to see what the operator reports");
    lab.apply("denied", &context.run.name("denied"), json!({})).await;
    let reported = |object: &bucketconnection::api::BucketConnection| {
        crate::support::harness::condition(object, "Stalled").is_some_and(|c| c.status == "True")
    };
    let object = lab.until("denied", "denial", reported).await;
    let (_, reason, message) = told(&object, "Ready");
    context.report.is(PART, claim, reason.as_str(), "AccessDenied");
    context.report.learned(PART, "message of a denial by a permissions boundary", &message);
    lab.delete("denied", "Delete").await;
}
