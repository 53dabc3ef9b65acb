//! Each setting of a bucket: set by the operator, changed by hand, and reverted.

use aws_sdk_s3::types as sdk;
use bucketconnection::aws::Aws as Operator;
use bucketconnection::sdk::Sdk;
use bucketconnection::settings::{self, SettingId};
use serde_json::{Value, json};

use super::Context;
use super::clients::{bucket_tags, must};
use super::lab::{Lab, eventually};
use super::life::journal;
use super::names::Tags;

const PART: &str = "settings";

/// The bucket of the access logs: S3 may write to it.
pub fn logs(partition: &str, bucket: &str) -> Value {
    json!({ "preset": "ReadOnly", "forceDestroy": true, "bucket": { "policyStatements": [{
        "sid": "LogDelivery", "effect": "Allow", "principals": { "Service": ["logging.s3.amazonaws.com"] },
        "actions": ["s3:PutObject"], "resources": [format!("arn:{partition}:s3:::{bucket}/*")],
    }] } })
}

/// Every setting but Object Lock.
pub fn spec(logs: &str, overlap: &str) -> Value {
    json!({
        "resyncInterval": "1h",
        "credentials": { "rotation": { "overlap": overlap } },
        "cors": { "rules": [{ "allowedMethods": ["GET"], "allowedOrigins": ["https://viewer.example.org"] }] },
        "bucket": {
            "publicAccessBlock": { "blockPublicAcls": true, "blockPublicPolicy": true, "ignorePublicAcls": true, "restrictPublicBuckets": true },
            "ownership": "BucketOwnerEnforced",
            "encryption": { "type": "SSE-S3", "blockedTypes": ["SSE-C"] },
            "versioning": "Enabled",
            "acceleration": "Suspended",
            "requestPayment": "BucketOwner",
            "logging": { "targetBucket": logs, "targetPrefix": "life/" },
            "tags": { "team": "a" },
            "tls": { "minimumVersion": "1.2" },
            "policyStatements": [{ "sid": "NoAcl", "effect": "Deny", "principals": { "AWS": ["*"] }, "actions": ["s3:PutObjectAcl"] }],
            "lifecycle": { "rules": [{ "id": "uploads", "abortIncompleteMultipartUpload": { "daysAfterInitiation": 7 } }] },
            "intelligentTiering": { "configurations": [{ "id": "archive", "tierings": [{ "accessTier": "ARCHIVE_ACCESS", "days": 90 }] }] },
        },
    })
}

/// The settings, in the order in which `by_hand` changes them.
const CHANGED: [&str; 12] = [
    "publicAccessBlock",
    "ownership",
    "encryption",
    "tags",
    "versioning",
    "acceleration",
    "logging",
    "requestPayment",
    "lifecycle",
    "intelligentTiering",
    "policy",
    "cors",
];

pub async fn run(context: &Context, lab: &Lab<'_>) {
    let (report, bucket) = (&context.report, context.run.name("life"));
    let operator = Operator::new(Sdk::new(context.aws.config().clone()));
    let calls = operator.bucket(&context.aws.region, &bucket, &context.aws.account);
    let read = async || settings::read(&calls, SettingId::ALL).await;
    // Until the first write, S3 answers nothing, which means the same.
    acceleration(context, &bucket, sdk::BucketAccelerateStatus::Suspended).await;
    let wanted = read().await;
    report.is(PART, "every setting can be read", wanted.problems().len(), 0);
    for setting in CHANGED {
        report.say(&format!("changing {setting} of the bucket by hand; the operator must revert it"));
        by_hand(context, &bucket, setting).await;
        let changed = async || (read().await != wanted).then_some(());
        let ((), seconds) =
            eventually(context.limit, context.pause, &format!("the change of {setting} is visible"), changed).await;
        report.took("S3: a changed setting is visible", seconds);
        let mut reconciles = 0;
        let reverted = async || {
            reconciles += 1;
            let object = lab.check("main").await;
            (read().await == wanted).then(|| journal(&object))
        };
        let (journal, seconds) = eventually(context.limit, context.pause, &format!("{setting} is reverted"), reverted).await;
        report.took("drift: from the change to the reverted setting", seconds);
        let reported = journal.last().cloned().unwrap_or_default();
        report.is(PART, &format!("{setting}: drift is reverted and reported"), reported.is_empty(), false);
        if reconciles > 1 {
            report.learned(PART, &format!("{setting}: reconciles until it was reverted"), &reconciles.to_string());
        }
    }
    report.not_run(PART, "objectLock", "S3 cannot turn it off again, and it would keep objects");
}

/// Replaces the tags of a bucket.
pub async fn put_tags(context: &Context, bucket: &str, tags: &Tags) {
    let tags = tags.iter().map(|(key, value)| sdk::Tag::builder().key(key).value(value).build().unwrap());
    let tagging = sdk::Tagging::builder().set_tag_set(Some(tags.collect())).build().unwrap();
    let put = context.aws.s3(&context.aws.region).put_bucket_tagging().bucket(bucket).tagging(tagging).send().await;
    must("s3:PutBucketTagging", put);
}

async fn acceleration(context: &Context, bucket: &str, status: sdk::BucketAccelerateStatus) {
    let status = sdk::AccelerateConfiguration::builder().status(status).build();
    let s3 = context.aws.s3(&context.aws.region);
    let put = s3.put_bucket_accelerate_configuration().bucket(bucket).accelerate_configuration(status).send().await;
    must("s3:PutAccelerateConfiguration", put);
}

/// Changes one setting, as a person would in the console.
async fn by_hand(context: &Context, bucket: &str, setting: &str) {
    let s3 = context.aws.s3(&context.aws.region);
    match setting {
        "publicAccessBlock" => drop(must(setting, s3.delete_public_access_block().bucket(bucket).send().await)),
        "ownership" => {
            let rule = sdk::OwnershipControlsRule::builder().object_ownership(sdk::ObjectOwnership::BucketOwnerPreferred);
            let controls = sdk::OwnershipControls::builder().rules(rule.build().unwrap()).build().unwrap();
            must(setting, s3.put_bucket_ownership_controls().bucket(bucket).ownership_controls(controls).send().await);
        }
        "encryption" => {
            let default = sdk::ServerSideEncryptionByDefault::builder().sse_algorithm(sdk::ServerSideEncryption::Aes256);
            let unblocked = sdk::BlockedEncryptionTypes::builder().encryption_type(sdk::EncryptionType::None).build();
            let rule = sdk::ServerSideEncryptionRule::builder().blocked_encryption_types(unblocked);
            let rule = rule.apply_server_side_encryption_by_default(default.build().unwrap()).build();
            let all = sdk::ServerSideEncryptionConfiguration::builder().rules(rule).build().unwrap();
            must(setting, s3.put_bucket_encryption().bucket(bucket).server_side_encryption_configuration(all).send().await);
        }
        "tags" => {
            let mut tags = bucket_tags(&context.aws, bucket, &context.aws.region).await.unwrap().unwrap_or_default();
            tags.remove("team");
            put_tags(context, bucket, &tags).await;
        }
        "versioning" => {
            let off = sdk::VersioningConfiguration::builder().status(sdk::BucketVersioningStatus::Suspended).build();
            must(setting, s3.put_bucket_versioning().bucket(bucket).versioning_configuration(off).send().await);
        }
        "acceleration" => acceleration(context, bucket, sdk::BucketAccelerateStatus::Enabled).await,
        "logging" => {
            let off = sdk::BucketLoggingStatus::builder().build();
            must(setting, s3.put_bucket_logging().bucket(bucket).bucket_logging_status(off).send().await);
        }
        "requestPayment" => {
            let other = sdk::RequestPaymentConfiguration::builder().payer(sdk::Payer::Requester).build().unwrap();
            must(setting, s3.put_bucket_request_payment().bucket(bucket).request_payment_configuration(other).send().await);
        }
        "lifecycle" => drop(must(setting, s3.delete_bucket_lifecycle().bucket(bucket).send().await)),
        "intelligentTiering" => {
            let delete = s3.delete_bucket_intelligent_tiering_configuration().bucket(bucket).id("archive");
            must(setting, delete.send().await);
        }
        "policy" => drop(must(setting, s3.delete_bucket_policy().bucket(bucket).send().await)),
        "cors" => drop(must(setting, s3.delete_bucket_cors().bucket(bucket).send().await)),
        _ => unreachable!("CHANGED has no {setting}"),
    }
}
