//! What a script does from outside, with the administrator's key of the emulator.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{AccelerateConfiguration, BucketAccelerateStatus, CorsConfiguration, CorsRule};
use serde_json::json;

use crate::support::harness::Harness;

/// | action | does |
/// |---|---|
/// | `create-bucket NAME` | creates a bucket |
/// | `delete-cors BUCKET` | deletes the bucket's CORS rules |
/// | `put-object BUCKET KEY TEXT` | writes an object; the text may have spaces |
/// | `delete-user NAME` | deletes a user and its keys and policies |
/// | `deny ACTION...` | denies the operator these actions |
/// | `ready NAME` | waits until the connection is Ready |
/// | `icas-guide BUCKET USER` | creates a bucket and a user as ICA's guide says, without an access key |
/// | `accelerate BUCKET` | enables transfer acceleration |
/// | `stop` | kills the operator |
pub async fn run(harness: &mut Harness, words: &[&str]) {
    match words {
        ["create-bucket", name] => {
            harness.s3().create_bucket().bucket(*name).send().await.unwrap();
        }
        ["delete-cors", bucket] => {
            harness.s3().delete_bucket_cors().bucket(*bucket).send().await.unwrap();
        }
        ["put-object", bucket, key, text @ ..] => {
            let body = ByteStream::from(text.join(" ").into_bytes());
            harness.s3().put_object().bucket(*bucket).key(*key).body(body).send().await.unwrap();
        }
        ["delete-user", name] => delete_user(harness, name).await,
        ["deny", actions @ ..] => {
            let statement = json!({ "Effect": "Deny", "Action": actions, "Resource": "*" });
            let policy = json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string();
            let call = harness.iam().put_user_policy().user_name("operator").policy_name("deny").policy_document(policy);
            call.send().await.unwrap();
        }
        ["ready", name] => {
            harness.ready(name).await;
        }
        ["icas-guide", bucket, user] => icas_guide(harness, bucket, user).await,
        ["accelerate", bucket] => {
            let on = AccelerateConfiguration::builder().status(BucketAccelerateStatus::Enabled).build();
            let call = harness.s3().put_bucket_accelerate_configuration().bucket(*bucket);
            call.accelerate_configuration(on).send().await.unwrap();
        }
        ["stop"] => harness.kill(),
        _ => panic!("unknown action {words:?}; tests/cli/actions.rs lists them"),
    }
}

async fn delete_user(harness: &Harness, name: &str) {
    let iam = harness.iam();
    for id in harness.keys(name).await {
        iam.delete_access_key().user_name(name).access_key_id(id).send().await.unwrap();
    }
    for policy in iam.list_user_policies().user_name(name).send().await.unwrap().policy_names() {
        iam.delete_user_policy().user_name(name).policy_name(policy).send().await.unwrap();
    }
    iam.delete_user().user_name(name).send().await.unwrap();
}

/// The guide "Connect AWS S3 Bucket", step by step. The user is under the path of the operator, which can then adopt it.
async fn icas_guide(harness: &Harness, bucket: &str, user: &str) {
    const PATH: &str = "/bucketconnection/";
    let (s3, iam) = (harness.s3(), harness.iam());
    s3.create_bucket().bucket(bucket).send().await.unwrap();
    let texts = |texts: &[&str]| Some(texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>());
    let rule = CorsRule::builder()
        .set_allowed_headers(texts(&["*"]))
        .set_allowed_methods(texts(&["HEAD", "GET", "PUT", "POST", "DELETE"]))
        .set_allowed_origins(texts(&["https://ica.illumina.com"]))
        .set_expose_headers(texts(&["ETag", "x-amz-meta-custom-header"]))
        .build()
        .unwrap();
    let rules = CorsConfiguration::builder().cors_rules(rule).build().unwrap();
    s3.put_bucket_cors().bucket(bucket).cors_configuration(rules).send().await.unwrap();
    let arn = format!("arn:aws:s3:::{bucket}");
    let document = json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Resource": [arn], "Action": [
            "s3:PutBucketNotification", "s3:ListBucket", "s3:GetBucketNotification", "s3:GetBucketLocation",
        ] },
        { "Effect": "Allow", "Resource": format!("{arn}/*"), "Action": ["s3:PutObject", "s3:GetObject", "s3:RestoreObject", "s3:DeleteObject"] },
        { "Effect": "Allow", "Resource": "*", "Action": "sts:GetFederationToken" },
    ] });
    let policy = iam.create_policy().policy_name("illumina-ica-admin-policy").path(PATH).policy_document(document.to_string());
    let policy = policy.send().await.unwrap().policy.unwrap();
    iam.create_user().user_name(user).path(PATH).send().await.unwrap();
    iam.attach_user_policy().user_name(user).policy_arn(policy.arn.unwrap()).send().await.unwrap();
}
