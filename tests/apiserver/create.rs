//! From one YAML to a verified connection.

use serde_json::{Value, json};

use crate::support::harness::{Harness, actions, told, writes};
use crate::support::stack::ROOT;

/// The guide's CORS configuration (section "Configure Bucket CORS Permission").
fn guide_cors() -> Value {
    json!([{
        "AllowedHeaders": ["*"],
        "AllowedMethods": ["HEAD", "GET", "PUT", "POST", "DELETE"],
        "AllowedOrigins": ["https://ica.illumina.com"],
        "ExposeHeaders": ["ETag", "x-amz-meta-custom-header"],
    }])
}

/// The guide's policy document (section "Create AWS IAM Policy").
fn guide_policy(bucket: &str) -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["s3:PutBucketNotification", "s3:ListBucket", "s3:GetBucketNotification", "s3:GetBucketLocation"],
                "Resource": [format!("arn:aws:s3:::{bucket}")],
            },
            {
                "Effect": "Allow",
                "Action": ["s3:PutObject", "s3:GetObject", "s3:RestoreObject", "s3:DeleteObject"],
                "Resource": format!("arn:aws:s3:::{bucket}/*"),
            },
            { "Effect": "Allow", "Action": ["sts:GetFederationToken"], "Resource": ["*"] },
        ],
    })
}

/// A string for a list of one, as IAM accepts it.
fn one_form(mut document: Value) -> Value {
    for statement in document["Statement"].as_array_mut().unwrap() {
        for element in ["Action", "Resource"] {
            if statement[element].is_string() {
                statement[element] = json!([statement[element]]);
            }
        }
    }
    document
}

fn example(harness: &Harness, name: &str) -> Value {
    let text = std::fs::read_to_string(format!("{ROOT}/examples/{name}")).unwrap();
    let mut object: Value = serde_saphyr::from_str(&text).unwrap();
    object["metadata"]["namespace"] = json!(harness.namespace);
    object
}

#[tokio::test]
async fn the_ica_example_has_the_result_of_the_guide() {
    let harness = Harness::new("guide").await;
    harness.apply(&example(&harness, "illumina-ica.yaml")).await;
    let waited = harness.kubectl(&["wait", "--for=condition=Ready", "bucketconnection/genomics", "--timeout=120s"]);
    assert!(waited.status.success(), "{waited:?}");
    let (bucket, user) = ("lab-a-genomics", "illumina_ica_admin");

    let cors = harness.s3().get_bucket_cors().bucket(bucket).send().await.unwrap();
    let rules: Vec<_> = cors
        .cors_rules()
        .iter()
        .map(|rule| {
            assert_eq!(rule.max_age_seconds(), None);
            json!({
                "AllowedHeaders": rule.allowed_headers(),
                "AllowedMethods": rule.allowed_methods(),
                "AllowedOrigins": rule.allowed_origins(),
                "ExposeHeaders": rule.expose_headers(),
            })
        })
        .collect();
    assert_eq!(json!(rules), guide_cors());

    let iam = harness.iam();
    let attached = iam.list_attached_user_policies().user_name(user).send().await.unwrap();
    let [policy] = attached.attached_policies() else { panic!("{attached:?}") };
    assert_eq!(policy.policy_name(), Some("illumina-ica-admin-policy"));
    let arn = policy.policy_arn().unwrap();
    let version = iam.get_policy().policy_arn(arn).send().await.unwrap().policy.unwrap().default_version_id.unwrap();
    let version = iam.get_policy_version().policy_arn(arn).version_id(version).send().await.unwrap().policy_version.unwrap();
    let document = percent_encoding::percent_decode_str(version.document().unwrap()).decode_utf8().unwrap();
    assert_eq!(one_form(serde_json::from_str(&document).unwrap()), one_form(guide_policy(bucket)));
    assert!(iam.list_user_policies().user_name(user).send().await.unwrap().policy_names().is_empty());

    let data = harness.secret("genomics-s3").await;
    assert_eq!(harness.keys(user).await, [data["AWS_ACCESS_KEY_ID"].clone()]);
    let object = harness.get("genomics").await;
    assert_eq!(told(&object, "Ready").1, "Connected");
}

#[tokio::test]
async fn creation_takes_nine_calls_and_the_next_check_writes_nothing() {
    let harness = Harness::new("calls").await;
    harness.apply(&example(&harness, "illumina-ica.yaml")).await;
    harness.ready("genomics").await;
    let created = harness.proxy.take();
    // One more for signing in: once per operator, not per object.
    assert_eq!(
        actions(&created),
        [
            "iam:AttachUserPolicy",
            "iam:CreateAccessKey",
            "iam:CreatePolicy",
            "iam:CreateUser",
            "iam:TagUser",
            "s3:CreateBucket",
            "s3:ListBucket",
            "s3:PutBucketCORS",
            "sts:GetCallerIdentity",
            "sts:GetCallerIdentity",
        ]
    );
    // When a further reconcile has ended, the creation has reported everything.
    harness.check("genomics").await;
    let before = harness.api_writes();
    assert!(before.len() <= 6 + 1, "{before:?}");

    harness.proxy.take();
    let object = harness.check("genomics").await;
    let checked = harness.proxy.take();
    assert_eq!(
        actions(&checked),
        [
            "iam:GetPolicyVersion",
            "iam:GetUser",
            "iam:ListAttachedUserPolicies",
            "s3:GetBucketCORS",
            "s3:GetBucketPublicAccessBlock",
            "s3:GetBucketTagging",
            "s3:GetEncryptionConfiguration",
            "s3:ListBucket",
        ]
    );
    assert_eq!(writes(&checked), [""; 0]);
    // The status answers the request itself; nothing else is written.
    assert_eq!(harness.api_writes()[before.len()..], ["patch bucketconnections/status"]);
    assert_eq!(object.status.unwrap().drift, None);
}
