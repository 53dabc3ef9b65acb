//! What policies allow an issued key.

use aws_sdk_s3::config::SharedCredentialsProvider;
use aws_sdk_s3::primitives::ByteStream;
use serde_json::{Value, json};

use super::{Checks, Harness, cases, policy, statement};
use crate::support::answers::code;

cases! {
    without_policy_nothing_is_allowed,
    objects_are_allowed_by_prefix,
    listing_is_allowed_by_prefix,
    a_denial_wins,
    other_buckets_are_denied,
    a_user_does_not_manage,
    the_user_name_is_a_variable,
    a_policy_applies_while_it_exists,
    actions_ignore_case,
    a_managed_policy_applies,
    a_boundary_is_the_limit,
    identity_is_reported_even_if_everything_is_denied,
    deletion_of_many_is_checked_object_by_object,
    an_upload_needs_permission_to_put,
    a_bucket_policy_denies,
}

fn arn(harness: &Harness, rest: &str) -> String {
    format!("arn:aws:s3:::{}{rest}", harness.bucket())
}

async fn put(harness: &Harness, key: &SharedCredentialsProvider, object: &str) -> String {
    let put =
        harness.s3_as(key, &harness.region).put_object().bucket(harness.bucket()).key(object).body(ByteStream::from_static(b"x"));
    code(&put.send().await)
}

async fn list(harness: &Harness, key: &SharedCredentialsProvider, prefix: Option<&str>) -> String {
    let list =
        harness.s3_as(key, &harness.region).list_objects_v2().bucket(harness.bucket()).set_prefix(prefix.map(str::to_owned));
    code(&list.send().await)
}

/// The case's bucket, and a key with these statements.
async fn with(harness: &Harness, statements: &[Value]) -> (String, SharedCredentialsProvider) {
    harness.new_bucket().await;
    harness.user_with(&policy(statements)).await
}

async fn without_policy_nothing_is_allowed(harness: Harness, checks: &mut Checks) {
    harness.new_bucket().await;
    let user = harness.new_user().await;
    let (_, key) = harness.new_key(&user).await;
    checks.is("put", put(&harness, &key, "a").await, "AccessDenied");
    checks.is("list", list(&harness, &key, None).await, "AccessDenied");
    let head = harness.s3_as(&key, &harness.region).head_bucket().bucket(harness.bucket()).send().await;
    checks.is("head", head.unwrap_err().raw_response().map(|raw| raw.status().as_u16()), Some(403));
}

async fn objects_are_allowed_by_prefix(harness: Harness, checks: &mut Checks) {
    let (_, key) = with(&harness, &[statement("Allow", "s3:*Object", &arn(&harness, "/in/*"))]).await;
    checks.is("inside", put(&harness, &key, "in/a b").await, "");
    checks.is("outside", put(&harness, &key, "out/a").await, "AccessDenied");
    let s3 = harness.s3_as(&key, &harness.region);
    checks.is("get", code(&s3.get_object().bucket(harness.bucket()).key("in/a b").send().await), "");
    checks.is("delete", code(&s3.delete_object().bucket(harness.bucket()).key("in/a b").send().await), "");
    checks.is("delete outside", code(&s3.delete_object().bucket(harness.bucket()).key("out/a").send().await), "AccessDenied");
}

async fn listing_is_allowed_by_prefix(harness: Harness, checks: &mut Checks) {
    let allowed = json!({ "Effect": "Allow", "Action": "s3:ListBucket", "Resource": arn(&harness, ""), "Condition": { "StringLike": { "s3:prefix": ["in/*", "in"] } } });
    let (_, key) = with(&harness, &[allowed]).await;
    checks.is("inside", list(&harness, &key, Some("in/x")).await, "");
    checks.is("outside", list(&harness, &key, Some("out/")).await, "AccessDenied");
    checks.is("everything", list(&harness, &key, None).await, "AccessDenied");
}

async fn a_denial_wins(harness: Harness, checks: &mut Checks) {
    let statements = [statement("Allow", "s3:*", "*"), statement("Deny", "s3:PutObject", &arn(&harness, "/no/*"))];
    let (_, key) = with(&harness, &statements).await;
    checks.is("elsewhere", put(&harness, &key, "yes/a").await, "");
    checks.is("denied", put(&harness, &key, "no/a").await, "AccessDenied");
}

async fn other_buckets_are_denied(harness: Harness, checks: &mut Checks) {
    let (_, key) = with(&harness, &[statement("Allow", "s3:*", &arn(&harness, "-other"))]).await;
    checks.is("list", list(&harness, &key, None).await, "AccessDenied");
    let create = harness
        .s3_as(&key, &harness.region)
        .create_bucket()
        .bucket("lab-may-not")
        .set_create_bucket_configuration(harness.location());
    checks.is("create", code(&create.send().await), "AccessDenied");
}

async fn a_user_does_not_manage(harness: Harness, checks: &mut Checks) {
    let (user, key) = with(&harness, &[statement("Allow", "s3:*Object", "*")]).await;
    let (s3, iam) = (harness.s3_as(&key, &harness.region), harness.iam_as(&key));
    checks.is("tags", code(&s3.get_bucket_tagging().bucket(harness.bucket()).send().await), "AccessDenied");
    checks.is("encryption", code(&s3.delete_bucket_encryption().bucket(harness.bucket()).send().await), "AccessDenied");
    checks.is("bucket", code(&s3.delete_bucket().bucket(harness.bucket()).send().await), "AccessDenied");
    checks.is("user", code(&iam.get_user().user_name(&user).send().await), "AccessDenied");
    checks.is("key", code(&iam.create_access_key().user_name(&user).send().await), "AccessDenied");
}

async fn the_user_name_is_a_variable(harness: Harness, checks: &mut Checks) {
    let (user, key) = with(&harness, &[statement("Allow", "s3:PutObject", &arn(&harness, "/${aws:username}/*"))]).await;
    checks.is("own", put(&harness, &key, &format!("{user}/a")).await, "");
    checks.is("other", put(&harness, &key, "other/a").await, "AccessDenied");
}

async fn a_policy_applies_while_it_exists(harness: Harness, checks: &mut Checks) {
    let (user, key) = with(&harness, &[statement("Allow", "s3:PutObject", "*")]).await;
    checks.is("there", put(&harness, &key, "a").await, "");
    harness.put_policy(&user, &policy(&[statement("Deny", "*", "*")])).await;
    checks.is("replaced", put(&harness, &key, "a").await, "AccessDenied");
    harness.put_policy(&user, &policy(&[statement("Allow", "s3:PutObject", "*")])).await;
    checks.is("again", put(&harness, &key, "a").await, "");
    harness.iam().delete_user_policy().user_name(&user).policy_name("p").send().await.unwrap();
    checks.is("gone", put(&harness, &key, "a").await, "AccessDenied");
}

async fn actions_ignore_case(harness: Harness, checks: &mut Checks) {
    let (_, key) = with(&harness, &[statement("Allow", "S3:putobject", "*")]).await;
    checks.is("put", put(&harness, &key, "a").await, "");
}

async fn a_managed_policy_applies(harness: Harness, checks: &mut Checks) {
    harness.new_bucket().await;
    let user = harness.new_user().await;
    let (_, key) = harness.new_key(&user).await;
    let document = policy(&[statement("Allow", "s3:PutObject", "*")]).to_string();
    let created = harness.iam().create_policy().policy_name(&harness.name).policy_document(document).send().await.unwrap();
    let arn = created.policy.unwrap().arn.unwrap();
    harness.iam().attach_user_policy().user_name(&user).policy_arn(&arn).send().await.unwrap();
    checks.is("attached", put(&harness, &key, "a").await, "");
    let nothing = policy(&[statement("Allow", "s3:GetObject", "*")]).to_string();
    let version = harness.iam().create_policy_version().policy_arn(&arn).policy_document(nothing).set_as_default(true);
    version.send().await.unwrap();
    checks.is("another default", put(&harness, &key, "a").await, "AccessDenied");
}

async fn a_boundary_is_the_limit(harness: Harness, checks: &mut Checks) {
    let (user, key) = with(&harness, &[statement("Allow", "s3:*", "*")]).await;
    let document = policy(&[statement("Allow", "s3:ListBucket", "*")]).to_string();
    let created = harness.iam().create_policy().policy_name(&harness.name).policy_document(document).send().await.unwrap();
    let arn = created.policy.unwrap().arn.unwrap();
    harness.iam().put_user_permissions_boundary().user_name(&user).permissions_boundary(arn).send().await.unwrap();
    checks.is("inside", list(&harness, &key, None).await, "");
    checks.is("outside", put(&harness, &key, "a").await, "AccessDenied");
}

async fn identity_is_reported_even_if_everything_is_denied(harness: Harness, checks: &mut Checks) {
    let (_, key) = harness.user_with(&policy(&[statement("Deny", "*", "*")])).await;
    checks.is("identity", code(&harness.sts_as(&key).get_caller_identity().send().await), "");
}

async fn deletion_of_many_is_checked_object_by_object(harness: Harness, checks: &mut Checks) {
    use aws_sdk_s3::types::{Delete, ObjectIdentifier};
    let (_, key) = with(&harness, &[statement("Allow", "s3:DeleteObject", &arn(&harness, "/in/*"))]).await;
    let ids = ["in/a", "out/a"].map(|key| ObjectIdentifier::builder().key(key).build().unwrap());
    let delete = Delete::builder().set_objects(Some(ids.to_vec())).build().unwrap();
    let answer = harness.s3_as(&key, &harness.region).delete_objects().bucket(harness.bucket()).delete(delete).send().await;
    checks.is("code", code(&answer), "");
    let errors: Vec<_> =
        answer.unwrap().errors().iter().map(|error| (error.key().map(str::to_owned), error.code().map(str::to_owned))).collect();
    checks.is("errors", errors, vec![(Some("out/a".to_owned()), Some("AccessDenied".to_owned()))]);
}

async fn an_upload_needs_permission_to_put(harness: Harness, checks: &mut Checks) {
    let statements =
        [statement("Allow", "s3:PutObject", &arn(&harness, "/in/*")), statement("Allow", "s3:AbortMultipartUpload", "*")];
    let (_, key) = with(&harness, &statements).await;
    let s3 = harness.s3_as(&key, &harness.region);
    let upload = s3.create_multipart_upload().bucket(harness.bucket()).key("in/a").send().await;
    checks.is("inside", code(&upload), "");
    let abort = s3.abort_multipart_upload().bucket(harness.bucket()).key("in/a").set_upload_id(upload.unwrap().upload_id);
    checks.is("abort", code(&abort.send().await), "");
    checks.is("outside", code(&s3.create_multipart_upload().bucket(harness.bucket()).key("out/a").send().await), "AccessDenied");
}

async fn a_bucket_policy_denies(harness: Harness, checks: &mut Checks) {
    let (_, key) = with(&harness, &[statement("Allow", "s3:*", "*")]).await;
    let denied = json!({ "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": arn(&harness, "/no/*") });
    let insecure = json!({ "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": [arn(&harness, ""), arn(&harness, "/*")], "Condition": { "NumericLessThan": { "s3:TlsVersion": "1.2" } } });
    harness
        .s3()
        .put_bucket_policy()
        .bucket(harness.bucket())
        .policy(policy(&[denied, insecure]).to_string())
        .send()
        .await
        .unwrap();
    checks.is("elsewhere", put(&harness, &key, "yes/a").await, "");
    checks.is("denied", put(&harness, &key, "no/a").await, "AccessDenied");
}
