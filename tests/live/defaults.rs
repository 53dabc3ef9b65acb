//! What a new bucket is like, and what S3 answers to calls that follow each other quickly.

use std::collections::BTreeSet;

use aws_sdk_s3::types as sdk;
use bucketconnection::aws::Aws as Operator;
use bucketconnection::sdk::Sdk;
use bucketconnection::settings::{self, Live, SettingId};
use serde_json::json;

use super::Context;
use super::clients::must;
use super::timing::must_be_created;
use crate::support::answers::code;

const PART: &str = "defaults";

pub async fn run(context: &Context) {
    let (report, bucket) = (&context.report, context.run.name("defaults"));
    report.say("creating a bucket, to read the settings of a new one");
    must_be_created(context, &bucket).await;
    compare(context, &bucket).await;
    blocked_types(context, &bucket).await;
    at_once(context, &bucket).await;
    again(context, &bucket).await;
    context.clean(&bucket).await;
}

/// Reads each setting as the operator does.
async fn compare(context: &Context, bucket: &str) {
    let operator = Operator::new(Sdk::new(context.aws.config().clone()));
    let calls = operator.bucket(&context.aws.region, bucket, &context.aws.account);
    let seen = json!(settings::read(&calls, SettingId::ALL).await);
    for (setting, expected) in json!(Live::of_new_bucket()).as_object().unwrap() {
        // The run's own tag is on every bucket.
        if setting != "tags" {
            context.report.is(PART, &format!("{setting} of a new bucket"), &seen[setting], expected);
        }
    }
}

/// Whether a write that omits the blocked encryption types keeps them.
async fn blocked_types(context: &Context, bucket: &str) {
    let s3 = context.aws.s3(&context.aws.region);
    let default = sdk::ServerSideEncryptionByDefault::builder().sse_algorithm(sdk::ServerSideEncryption::Aes256);
    let rule = sdk::ServerSideEncryptionRule::builder().apply_server_side_encryption_by_default(default.build().unwrap());
    let configuration = sdk::ServerSideEncryptionConfiguration::builder().rules(rule.build()).build().unwrap();
    let put = s3.put_bucket_encryption().bucket(bucket).server_side_encryption_configuration(configuration).send().await;
    must("s3:PutEncryptionConfiguration", put);
    let found = must("s3:GetEncryptionConfiguration", s3.get_bucket_encryption().bucket(bucket).send().await);
    let rules = found.server_side_encryption_configuration.map(|found| found.rules).unwrap_or_default();
    let blocked: Vec<_> = rules.iter().filter_map(|rule| rule.blocked_encryption_types()).collect();
    context.report.learned(PART, "blocked encryption types after a PutBucketEncryption that omits them", &format!("{blocked:?}"));
}

/// Writes of several settings at the same time.
async fn at_once(context: &Context, bucket: &str) {
    context.report.say("writing several settings of the bucket at the same time, to see whether S3 aborts one");
    let (s3, mut codes) = (context.aws.s3(&context.aws.region), BTreeSet::new());
    let versioning = sdk::VersioningConfiguration::builder().status(sdk::BucketVersioningStatus::Suspended).build();
    let payment = sdk::RequestPaymentConfiguration::builder().payer(sdk::Payer::BucketOwner).build().unwrap();
    let block = sdk::PublicAccessBlockConfiguration::builder().block_public_acls(true).block_public_policy(true);
    let block = block.ignore_public_acls(true).restrict_public_buckets(true).build();
    for _ in 0..context.rounds {
        let answers = tokio::join!(
            s3.put_bucket_versioning().bucket(bucket).versioning_configuration(versioning.clone()).send(),
            s3.put_bucket_request_payment().bucket(bucket).request_payment_configuration(payment.clone()).send(),
            s3.put_public_access_block().bucket(bucket).public_access_block_configuration(block.clone()).send(),
        );
        codes.extend([code(&answers.0), code(&answers.1), code(&answers.2)]);
    }
    context.report.learned(PART, "answers to writes of several settings at the same time", &named(&codes));
    codes.retain(|code| !["", "OperationAborted"].contains(&code.as_str()));
    context.report.is(PART, "writes at the same time succeed, or are OperationAborted", codes, BTreeSet::<String>::new());
}

/// Deletes the bucket, and creates it again at once.
async fn again(context: &Context, bucket: &str) {
    context.report.say("deleting the bucket and creating it again at once, to see how long S3 refuses that");
    context.clean(bucket).await;
    let (mut codes, began) = (BTreeSet::new(), std::time::Instant::now());
    while began.elapsed() < context.limit {
        let code = context.aws.create_bucket(bucket).await;
        codes.insert(code.clone());
        if code != "OperationAborted" {
            break;
        }
        tokio::time::sleep(context.pause).await;
    }
    context.report.took("S3: a deleted bucket can be created again", began.elapsed().as_secs_f64());
    context.report.learned(PART, "answers to CreateBucket after DeleteBucket", &named(&codes));
    codes.retain(|code| !["", "OperationAborted"].contains(&code.as_str()));
    context.report.is(
        PART,
        "a deleted bucket can be created again, after OperationAborted at most",
        codes,
        BTreeSet::<String>::new(),
    );
}

fn named(codes: &BTreeSet<String>) -> String {
    codes.iter().map(|code| if code.is_empty() { "success" } else { code }).collect::<Vec<_>>().join(", ")
}
