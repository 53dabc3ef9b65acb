//! The settings of a bucket: defaults, unset codes, round trips.

use aws_sdk_s3::types::{
    BucketAccelerateStatus, BucketLifecycleConfiguration, BucketLoggingStatus, BucketVersioningStatus, CorsConfiguration,
    CorsRule, ExpirationStatus, LifecycleRule, LifecycleRuleFilter, LoggingEnabled, NoncurrentVersionExpiration,
    ObjectLockConfiguration, ObjectLockEnabled, ServerSideEncryption, ServerSideEncryptionByDefault,
    ServerSideEncryptionConfiguration, ServerSideEncryptionRule, Tagging, TransitionDefaultMinimumObjectSize,
    VersioningConfiguration,
};
use bucketconnection::aws::Aws;
use bucketconnection::sdk::Sdk;
use bucketconnection::settings::{self, Example, Live, SettingId};
use serde_json::json;

use super::{Checks, Harness, cases, policy, statement, tag};
use crate::support::answers::code;

cases! {
    every_setting_comes_back,
    unset_settings_have_codes,
    cors_methods_are_checked,
    lifecycle_comes_back,
    lifecycle_rules_are_unique,
    tags_of_aws_are_refused,
    encryption_comes_back_and_falls_back,
    acceleration_comes_back,
    logging_comes_back,
    logging_needs_a_target,
    object_lock_comes_back,
    object_lock_needs_versioning,
    a_bucket_policy_comes_back,
    a_bucket_policy_may_have_one_statement,
    a_bucket_policy_must_be_json,
    a_bucket_policy_is_about_its_bucket,
    a_public_bucket_policy_is_refused,
}

/// With the operator's own calls: a new bucket is as `of_new_bucket` says, and after a write the next read returns what
/// was written.
async fn every_setting_comes_back(harness: Harness, checks: &mut Checks) {
    let s3 = harness.s3();
    let mut deliver = statement("Allow", "s3:PutObject", "arn:aws:s3:::lab-logs/*");
    deliver["Principal"] = json!({ "Service": "logging.s3.amazonaws.com" });
    for bucket in ["lab-logs", "lab-bucket"] {
        s3.create_bucket().bucket(bucket).set_create_bucket_configuration(harness.location()).send().await.unwrap();
    }
    s3.put_bucket_policy().bucket("lab-logs").policy(policy(&[deliver]).to_string()).send().await.unwrap();
    let aws = Aws::new(Sdk::new(harness.config(&harness.admin, &harness.region)));
    let bucket = aws.bucket(&harness.region, "lab-bucket", &harness.account);
    checks.is("new", settings::read(&bucket, SettingId::ALL).await, Live::of_new_bucket());
    for Example { write, .. } in settings::examples() {
        let (setting, mut live) = (write.setting(), Live::default());
        checks.is(setting.field(), settings::write(&bucket, &write).await, Ok(()));
        live.apply(&write);
        checks.is(setting.field(), settings::read(&bucket, &[setting]).await, live);
    }
}

async fn encryption(harness: &Harness, bucket: &str) -> Option<ServerSideEncryption> {
    let answer = harness.s3().get_bucket_encryption().bucket(bucket).send().await.unwrap();
    let rules = answer.server_side_encryption_configuration.unwrap().rules;
    rules[0].apply_server_side_encryption_by_default().map(|default| default.sse_algorithm().clone())
}

async fn unset_settings_have_codes(harness: Harness, checks: &mut Checks) {
    let (s3, bucket) = (harness.s3(), harness.new_bucket().await);
    checks.is("tags", code(&s3.get_bucket_tagging().bucket(&bucket).send().await), "NoSuchTagSet");
    checks.is("cors", code(&s3.get_bucket_cors().bucket(&bucket).send().await), "NoSuchCORSConfiguration");
    let lifecycle = s3.get_bucket_lifecycle_configuration().bucket(&bucket).send().await;
    checks.is("lifecycle", code(&lifecycle), "NoSuchLifecycleConfiguration");
    checks.is("policy", code(&s3.get_bucket_policy().bucket(&bucket).send().await), "NoSuchBucketPolicy");
    let lock = s3.get_object_lock_configuration().bucket(&bucket).send().await;
    checks.is("object lock", code(&lock), "ObjectLockConfigurationNotFoundError");
    for _ in 0..2 {
        checks.is("delete tags", code(&s3.delete_bucket_tagging().bucket(&bucket).send().await), "");
        checks.is("delete cors", code(&s3.delete_bucket_cors().bucket(&bucket).send().await), "");
        checks.is("delete lifecycle", code(&s3.delete_bucket_lifecycle().bucket(&bucket).send().await), "");
        checks.is("delete policy", code(&s3.delete_bucket_policy().bucket(&bucket).send().await), "");
        checks.is("delete block", code(&s3.delete_public_access_block().bucket(&bucket).send().await), "");
        checks.is("delete ownership", code(&s3.delete_bucket_ownership_controls().bucket(&bucket).send().await), "");
    }
    let block = s3.get_public_access_block().bucket(&bucket).send().await;
    checks.is("block", code(&block), "NoSuchPublicAccessBlockConfiguration");
    let ownership = s3.get_bucket_ownership_controls().bucket(&bucket).send().await;
    checks.is("ownership", code(&ownership), "OwnershipControlsNotFoundError");
}

fn cors(id: &str, methods: &[&str]) -> CorsRule {
    let rule = CorsRule::builder().id(id).allowed_origins("https://b.example").allowed_origins("https://a.example");
    let rule = rule.allowed_headers("X-B").allowed_headers("*").expose_headers("ETag").max_age_seconds(60);
    rule.set_allowed_methods(Some(methods.iter().map(|method| (*method).to_owned()).collect())).build().unwrap()
}

async fn cors_methods_are_checked(harness: Harness, checks: &mut Checks) {
    let configuration = CorsConfiguration::builder().cors_rules(cors("a", &["PATCH"])).build().unwrap();
    let put = harness.s3().put_bucket_cors().bucket(harness.new_bucket().await).cors_configuration(configuration).send().await;
    checks.is("code", code(&put), "InvalidRequest");
}

fn lifecycle_rule(id: &str) -> LifecycleRule {
    let versions = NoncurrentVersionExpiration::builder().noncurrent_days(7).newer_noncurrent_versions(2).build();
    let filter = LifecycleRuleFilter::builder().prefix("tmp/").build();
    let rule = LifecycleRule::builder().id(id).status(ExpirationStatus::Enabled).filter(filter);
    rule.noncurrent_version_expiration(versions).build().unwrap()
}

async fn lifecycle_comes_back(harness: Harness, checks: &mut Checks) {
    let (s3, bucket) = (harness.s3(), harness.new_bucket().await);
    let rules = vec![lifecycle_rule("b"), lifecycle_rule("a")];
    let configuration = BucketLifecycleConfiguration::builder().set_rules(Some(rules.clone())).build().unwrap();
    let size = TransitionDefaultMinimumObjectSize::VariesByStorageClass;
    let put = s3.put_bucket_lifecycle_configuration().bucket(&bucket).lifecycle_configuration(configuration);
    put.transition_default_minimum_object_size(size.clone()).send().await.unwrap();
    let found = s3.get_bucket_lifecycle_configuration().bucket(&bucket).send().await.unwrap();
    checks.is("rules", found.rules(), rules);
    checks.is("size", found.transition_default_minimum_object_size(), Some(&size));
    s3.delete_bucket_lifecycle().bucket(&bucket).send().await.unwrap();
    let deleted = s3.get_bucket_lifecycle_configuration().bucket(&bucket).send().await;
    checks.is("deleted", code(&deleted), "NoSuchLifecycleConfiguration");
}

async fn lifecycle_rules_are_unique(harness: Harness, checks: &mut Checks) {
    let rules = vec![lifecycle_rule("a"), lifecycle_rule("a")];
    let configuration = BucketLifecycleConfiguration::builder().set_rules(Some(rules)).build().unwrap();
    let put = harness.s3().put_bucket_lifecycle_configuration().bucket(harness.new_bucket().await);
    checks.is("code", code(&put.lifecycle_configuration(configuration).send().await), "InvalidArgument");
}

async fn tags_of_aws_are_refused(harness: Harness, checks: &mut Checks) {
    let tagging = Tagging::builder().tag_set(tag("aws:a", "1")).build().unwrap();
    let put = harness.s3().put_bucket_tagging().bucket(harness.new_bucket().await).tagging(tagging).send().await;
    checks.is("code", code(&put), "InvalidTag");
}

async fn encryption_comes_back_and_falls_back(harness: Harness, checks: &mut Checks) {
    let (s3, bucket) = (harness.s3(), harness.new_bucket().await);
    let key = format!("arn:aws:kms:eu-west-1:{}:key/1234abcd-12ab-34cd-56ef-1234567890ab", harness.account);
    let default = ServerSideEncryptionByDefault::builder().sse_algorithm(ServerSideEncryption::AwsKms).kms_master_key_id(&key);
    let rule = ServerSideEncryptionRule::builder().bucket_key_enabled(true);
    let rule = rule.apply_server_side_encryption_by_default(default.build().unwrap()).build();
    let configuration = ServerSideEncryptionConfiguration::builder().rules(rule).build().unwrap();
    s3.put_bucket_encryption().bucket(&bucket).server_side_encryption_configuration(configuration).send().await.unwrap();
    let found = s3.get_bucket_encryption().bucket(&bucket).send().await.unwrap();
    let rule = &found.server_side_encryption_configuration.unwrap().rules[0];
    let default = rule.apply_server_side_encryption_by_default().unwrap();
    checks.is("key", (default.kms_master_key_id(), rule.bucket_key_enabled()), (Some(key.as_str()), Some(true)));
    s3.delete_bucket_encryption().bucket(&bucket).send().await.unwrap();
    checks.is("deleted", encryption(&harness, &bucket).await, Some(ServerSideEncryption::Aes256));
}

async fn versioning(harness: &Harness, bucket: &str, status: BucketVersioningStatus) {
    let configuration = VersioningConfiguration::builder().status(status).build();
    harness.s3().put_bucket_versioning().bucket(bucket).versioning_configuration(configuration).send().await.unwrap();
}

async fn acceleration_comes_back(harness: Harness, checks: &mut Checks) {
    let (s3, bucket) = (harness.s3(), harness.new_bucket().await);
    for status in [BucketAccelerateStatus::Enabled, BucketAccelerateStatus::Suspended] {
        let configuration = aws_sdk_s3::types::AccelerateConfiguration::builder().status(status.clone()).build();
        s3.put_bucket_accelerate_configuration().bucket(&bucket).accelerate_configuration(configuration).send().await.unwrap();
        let found = s3.get_bucket_accelerate_configuration().bucket(&bucket).send().await.unwrap();
        checks.is("status", found.status(), Some(&status));
    }
}

fn logging(target: &str) -> BucketLoggingStatus {
    let enabled = LoggingEnabled::builder().target_bucket(target).target_prefix("log/").build().unwrap();
    BucketLoggingStatus::builder().logging_enabled(enabled).build()
}

async fn logging_comes_back(harness: Harness, checks: &mut Checks) {
    let (s3, bucket) = (harness.s3(), harness.new_bucket().await);
    let mut deliver = statement("Allow", "s3:PutObject", &format!("arn:aws:s3:::{bucket}/*"));
    deliver["Principal"] = json!({ "Service": "logging.s3.amazonaws.com" });
    s3.put_bucket_policy().bucket(&bucket).policy(policy(&[deliver]).to_string()).send().await.unwrap();
    let put = s3.put_bucket_logging().bucket(&bucket);
    put.clone().bucket_logging_status(logging(&bucket)).send().await.unwrap();
    let found = s3.get_bucket_logging().bucket(&bucket).send().await.unwrap().logging_enabled.unwrap();
    checks.is("target", (found.target_bucket(), found.target_prefix()), (bucket.as_str(), "log/"));
    put.bucket_logging_status(BucketLoggingStatus::builder().build()).send().await.unwrap();
    checks.is("off", s3.get_bucket_logging().bucket(&bucket).send().await.unwrap().logging_enabled, None);
}

async fn logging_needs_a_target(harness: Harness, checks: &mut Checks) {
    let put = harness.s3().put_bucket_logging().bucket(harness.new_bucket().await).bucket_logging_status(logging("lab-nowhere"));
    checks.is("code", code(&put.send().await), "InvalidTargetBucketForLogging");
}

fn locked() -> ObjectLockConfiguration {
    ObjectLockConfiguration::builder().object_lock_enabled(ObjectLockEnabled::Enabled).build()
}

async fn object_lock_comes_back(harness: Harness, checks: &mut Checks) {
    let (s3, bucket) = (harness.s3(), harness.bucket());
    let create = s3.create_bucket().bucket(&bucket).set_create_bucket_configuration(harness.location());
    create.object_lock_enabled_for_bucket(true).send().await.unwrap();
    let found = s3.get_object_lock_configuration().bucket(&bucket).send().await.unwrap().object_lock_configuration;
    checks.is("from creation", found.and_then(|found| found.object_lock_enabled), Some(ObjectLockEnabled::Enabled));
    let versioning = s3.get_bucket_versioning().bucket(&bucket).send().await.unwrap().status;
    checks.is("versioning", versioning, Some(BucketVersioningStatus::Enabled));
    let put = s3.put_object_lock_configuration().bucket(&bucket).object_lock_configuration(locked()).send().await;
    checks.is("again", code(&put), "");
}

async fn object_lock_needs_versioning(harness: Harness, checks: &mut Checks) {
    let bucket = harness.new_bucket().await;
    let put = harness.s3().put_object_lock_configuration().bucket(&bucket).object_lock_configuration(locked());
    checks.is("without", code(&put.clone().send().await), "InvalidBucketState");
    versioning(&harness, &bucket, BucketVersioningStatus::Enabled).await;
    checks.is("with", code(&put.send().await), "");
}

async fn a_bucket_policy_comes_back(harness: Harness, checks: &mut Checks) {
    let (s3, bucket) = (harness.s3(), harness.new_bucket().await);
    let mut denied = statement("Deny", "s3:PutObject", &format!("arn:aws:s3:::{bucket}/*"));
    denied["Principal"] = json!("*");
    denied["Condition"] = json!({ "Bool": { "aws:SecureTransport": "false" } });
    let sent = policy(&[denied]);
    s3.put_bucket_policy().bucket(&bucket).policy(sent.to_string()).send().await.unwrap();
    let found = s3.get_bucket_policy().bucket(&bucket).send().await.unwrap().policy.unwrap();
    checks.is("policy", serde_json::from_str::<serde_json::Value>(&found).unwrap(), sent);
    s3.delete_bucket_policy().bucket(&bucket).send().await.unwrap();
    checks.is("deleted", code(&s3.get_bucket_policy().bucket(&bucket).send().await), "NoSuchBucketPolicy");
}

async fn a_bucket_policy_may_have_one_statement(harness: Harness, checks: &mut Checks) {
    let bucket = harness.new_bucket().await;
    let mut one = statement("Deny", "s3:PutObject", &format!("arn:aws:s3:::{bucket}/*"));
    one["Principal"] = json!("*");
    let document = json!({ "Version": "2012-10-17", "Statement": one }).to_string();
    checks.is("code", code(&harness.s3().put_bucket_policy().bucket(&bucket).policy(document).send().await), "");
}

async fn a_bucket_policy_must_be_json(harness: Harness, checks: &mut Checks) {
    let put = harness.s3().put_bucket_policy().bucket(harness.new_bucket().await).policy("{").send().await;
    checks.is("code", code(&put), "MalformedPolicy");
}

async fn a_bucket_policy_is_about_its_bucket(harness: Harness, checks: &mut Checks) {
    let mut other = statement("Deny", "s3:PutObject", "arn:aws:s3:::lab-other/*");
    other["Principal"] = json!("*");
    let put =
        harness.s3().put_bucket_policy().bucket(harness.new_bucket().await).policy(policy(&[other]).to_string()).send().await;
    checks.is("code", code(&put), "MalformedPolicy");
}

async fn a_public_bucket_policy_is_refused(harness: Harness, checks: &mut Checks) {
    let bucket = harness.new_bucket().await;
    let mut public = statement("Allow", "s3:GetObject", &format!("arn:aws:s3:::{bucket}/*"));
    public["Principal"] = json!("*");
    let put = harness.s3().put_bucket_policy().bucket(&bucket).policy(policy(&[public]).to_string());
    checks.is("blocked", code(&put.clone().send().await), "AccessDenied");
    harness.s3().delete_public_access_block().bucket(&bucket).send().await.unwrap();
    checks.is("not blocked", code(&put.send().await), "");
}
