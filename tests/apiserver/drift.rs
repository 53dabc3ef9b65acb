//! Drift: each change is found in the next reconcile, reverted, counted and reported once, and then nothing is written
//! anymore.

use aws_sdk_s3::types::{
    CorsConfiguration, CorsRule, PublicAccessBlockConfiguration, ServerSideEncryption, ServerSideEncryptionByDefault,
    ServerSideEncryptionConfiguration, ServerSideEncryptionRule, Tag, Tagging,
};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::support::harness::{Harness, drift_count, told, writes};

const BUCKET: &str = "bucket-drift";

async fn connected(name: &str, spec: Value) -> Harness {
    let harness = Harness::new(name).await;
    let mut whole = json!({
        "preset": "IlluminaICA",
        "bucket": { "encryption": { "type": "SSE-S3" }, "tags": { "team": "a" } },
        "user": { "name": "drifter", "tags": { "team": "a" } },
    });
    crate::support::merge::merge(&mut whole, spec);
    harness.apply(&harness.connection(BUCKET, whole)).await;
    harness.ready("c").await;
    harness
}

/// After someone else's change: one reconcile reverts it, and a further one writes nothing anywhere.
async fn reverted(harness: &Harness, what: &str, path: &str) {
    let before = drift_count(&harness.get("c").await);
    let events = harness.events("c").await.into_iter().filter(|(_, reason, _)| reason == "Reverted").count();
    let object = harness.check("c").await;
    assert_eq!(told(&object, "Ready").0, "True", "{what}: {:?}", told(&object, "Ready"));
    assert!(drift_count(&object) > before, "{what}: not counted");
    assert_eq!(told(&object, "DriftDetected").0, "False", "{what}");
    let journal = object.status.unwrap().drift.unwrap().journal;
    assert!(journal.iter().any(|entry| entry.path == path), "{what}: no {path} in {journal:#?}");
    assert!(journal.len() <= 10);

    harness.proxy.take();
    // When this reconcile has ended, the reverting one has reported everything.
    harness.check("c").await;
    let api = harness.api_writes().len();
    let object = harness.check("c").await;
    assert_eq!(writes(&harness.proxy.take()), [""; 0], "{what}: a further check writes");
    assert_eq!(harness.api_writes()[api..], ["patch bucketconnections/status"], "{what}: only the request is answered");
    assert_eq!(object.status.unwrap().drift.unwrap().journal, journal, "{what}");
    let now: Vec<_> = harness.events("c").await.into_iter().filter(|(_, reason, _)| reason == "Reverted").collect();
    assert_eq!(now.len(), events + 1, "{what}: one Event: {now:?}");
    assert!(now[events].2.contains(path), "{what}: {now:?}");
}

#[tokio::test]
async fn settings_of_the_bucket() {
    let harness = connected("settings", json!({})).await;
    let s3 = harness.s3();
    s3.delete_bucket_cors().bucket(BUCKET).send().await.unwrap();
    reverted(&harness, "CORS deleted", "cors.rules[0]").await;

    let rule = CorsRule::builder().allowed_methods("GET").allowed_origins("*").build().unwrap();
    let cors = CorsConfiguration::builder().cors_rules(rule).build().unwrap();
    s3.put_bucket_cors().bucket(BUCKET).cors_configuration(cors).send().await.unwrap();
    reverted(&harness, "CORS edited", "cors.rules[0].allowedOrigins").await;

    let kms = ServerSideEncryptionByDefault::builder().sse_algorithm(ServerSideEncryption::AwsKms).build().unwrap();
    let rule = ServerSideEncryptionRule::builder().apply_server_side_encryption_by_default(kms).build();
    let encryption = ServerSideEncryptionConfiguration::builder().rules(rule).build().unwrap();
    s3.put_bucket_encryption().bucket(BUCKET).server_side_encryption_configuration(encryption).send().await.unwrap();
    reverted(&harness, "encryption edited", "bucket.encryption.type").await;

    s3.delete_public_access_block().bucket(BUCKET).send().await.unwrap();
    reverted(&harness, "public access block deleted", "bucket.publicAccessBlock").await;

    let open = PublicAccessBlockConfiguration::builder()
        .block_public_acls(true)
        .ignore_public_acls(true)
        .block_public_policy(true)
        .build();
    s3.put_public_access_block().bucket(BUCKET).public_access_block_configuration(open).send().await.unwrap();
    reverted(&harness, "public access block edited", "bucket.publicAccessBlock.restrictPublicBuckets").await;

    s3.delete_bucket_tagging().bucket(BUCKET).send().await.unwrap();
    reverted(&harness, "tags deleted", "bucket.tags[team]").await;
    let events = harness.events("c").await;
    let repairs: Vec<_> = events.iter().filter(|(_, reason, _)| reason == "Reverted").collect();
    assert!(repairs.iter().all(|(kind, _, note)| kind == "Warning" && note.starts_with("reverted drift: ")), "{repairs:?}");
}

#[tokio::test]
async fn foreign_tags_stay() {
    let harness = connected("tags", json!({})).await;
    let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build().unwrap();
    let tags = Tagging::builder().tag_set(tag("foreign", "stays")).tag_set(tag("team", "wrong")).build().unwrap();
    harness.s3().put_bucket_tagging().bucket(BUCKET).tagging(tags).send().await.unwrap();
    reverted(&harness, "tags replaced", "bucket.tags[team]").await;
    let tags = harness.s3().get_bucket_tagging().bucket(BUCKET).send().await.unwrap();
    let value = |key: &str| tags.tag_set().iter().find(|tag| tag.key() == key).map(|tag| tag.value().to_owned());
    assert_eq!((value("foreign").as_deref(), value("team").as_deref()), (Some("stays"), Some("a")));

    let iam_tag = aws_sdk_iam::types::Tag::builder().key("foreign").value("stays").build().unwrap();
    harness.iam().tag_user().user_name("drifter").tags(iam_tag).send().await.unwrap();
    harness.iam().untag_user().user_name("drifter").tag_keys("team").tag_keys("bucketconnection.dev/owner").send().await.unwrap();
    reverted(&harness, "user untagged", "user.tags[team]").await;
    let user = harness.iam().get_user().user_name("drifter").send().await.unwrap().user.unwrap();
    assert_eq!(user.tags().len(), 8);
}

#[tokio::test]
async fn an_inline_policy() {
    let harness = connected("inline", json!({})).await;
    let iam = harness.iam();
    let put = iam.put_user_policy().user_name("drifter").policy_name("bucketconnection");
    let wide = json!({ "Version": "2012-10-17", "Statement": { "Effect": "Allow", "Action": "s3:*", "Resource": "*" } });
    put.policy_document(wide.to_string()).send().await.unwrap();
    reverted(&harness, "policy edited", "policy.statements[0].action").await;
    iam.delete_user_policy().user_name("drifter").policy_name("bucketconnection").send().await.unwrap();
    reverted(&harness, "policy deleted", "policy").await;

    // The same in another form is no difference.
    let live = iam.get_user_policy().user_name("drifter").policy_name("bucketconnection").send().await.unwrap();
    let text = percent_encoding::percent_decode_str(live.policy_document()).decode_utf8().unwrap();
    let mut other: Value = serde_json::from_str(&text).unwrap();
    other["Statement"].as_array_mut().unwrap().reverse();
    other["Statement"][0]["Action"] = json!("STS:getfederationtoken");
    other["Statement"][0]["Resource"] = json!("*");
    let put = iam.put_user_policy().user_name("drifter").policy_name("bucketconnection");
    put.policy_document(other.to_string()).send().await.unwrap();
    // A foreign policy on the user stays.
    iam.put_user_policy().user_name("drifter").policy_name("theirs").policy_document(wide.to_string()).send().await.unwrap();
    let before = drift_count(&harness.get("c").await);
    harness.proxy.take();
    assert_eq!(drift_count(&harness.check("c").await), before);
    assert_eq!(writes(&harness.proxy.take()), [""; 0]);
    assert_eq!(iam.list_user_policies().user_name("drifter").send().await.unwrap().policy_names().len(), 2);
}

#[tokio::test]
async fn a_managed_policy() {
    let harness = connected("managed", json!({ "policy": { "type": "Managed", "name": "guide-policy" } })).await;
    let iam = harness.iam();
    let arn = "arn:aws:iam::123456789012:policy/bucketconnection/guide-policy";
    let wide =
        json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Action": "s3:*", "Resource": "*" }] }).to_string();
    // Often enough to reach the five versions that AWS keeps.
    for _ in 0..3 {
        let version = iam.create_policy_version().policy_arn(arn).policy_document(&wide);
        version.set_as_default(true).send().await.unwrap();
        reverted(&harness, "new default version", "policy.statements[0].action").await;
        let versions = iam.list_policy_versions().policy_arn(arn).send().await.unwrap();
        if versions.versions().len() == 5 {
            let oldest = versions.versions().iter().find(|version| !version.is_default_version).unwrap();
            iam.delete_policy_version().policy_arn(arn).version_id(oldest.version_id().unwrap()).send().await.unwrap();
        }
    }
    let first = iam.list_policy_versions().policy_arn(arn).send().await.unwrap();
    let wide_version =
        first.versions().iter().find(|version| !version.is_default_version).unwrap().version_id().unwrap().to_owned();
    iam.set_default_policy_version().policy_arn(arn).version_id(wide_version).send().await.unwrap();
    let switched = iam.get_policy().policy_arn(arn).send().await.unwrap().policy.unwrap().default_version_id.unwrap();
    let document = iam.get_policy_version().policy_arn(arn).version_id(switched).send().await.unwrap().policy_version.unwrap();
    if document.document().unwrap().contains("s3%3A%2A") {
        reverted(&harness, "another version made default", "policy.statements[0].action").await;
    }

    iam.detach_user_policy().user_name("drifter").policy_arn(arn).send().await.unwrap();
    reverted(&harness, "policy detached", "policy.attachment").await;

    iam.detach_user_policy().user_name("drifter").policy_arn(arn).send().await.unwrap();
    for version in iam.list_policy_versions().policy_arn(arn).send().await.unwrap().versions() {
        if !version.is_default_version {
            iam.delete_policy_version().policy_arn(arn).version_id(version.version_id().unwrap()).send().await.unwrap();
        }
    }
    iam.delete_policy().policy_arn(arn).send().await.unwrap();
    reverted(&harness, "policy deleted", "policy").await;
}

#[tokio::test]
async fn the_key_the_user_and_the_bucket() {
    let harness = connected("identity", json!({})).await;
    let iam = harness.iam();
    let key = || async { harness.keys("drifter").await.remove(0) };
    let first = key().await;
    let inactive = aws_sdk_iam::types::StatusType::Inactive;
    iam.update_access_key().user_name("drifter").access_key_id(&first).status(inactive).send().await.unwrap();
    reverted(&harness, "key inactive", "accessKey").await;
    assert_eq!(harness.keys("drifter").await, std::slice::from_ref(&first), "the key itself is kept");

    iam.delete_access_key().user_name("drifter").access_key_id(&first).send().await.unwrap();
    reverted(&harness, "key deleted", "accessKey").await;
    let second = key().await;
    assert_ne!(first, second);
    assert_eq!(harness.secret("c-s3").await["AWS_ACCESS_KEY_ID"], second);

    iam.delete_access_key().user_name("drifter").access_key_id(&second).send().await.unwrap();
    iam.delete_user_policy().user_name("drifter").policy_name("bucketconnection").send().await.unwrap();
    iam.delete_user().user_name("drifter").send().await.unwrap();
    reverted(&harness, "user deleted", "user").await;
    assert_eq!(harness.secret("c-s3").await["AWS_ACCESS_KEY_ID"], key().await);

    harness.s3().delete_bucket().bucket(BUCKET).send().await.unwrap();
    reverted(&harness, "bucket deleted", "bucket").await;
    assert_eq!(harness.s3().get_bucket_cors().bucket(BUCKET).send().await.unwrap().cors_rules().len(), 1);
}

#[tokio::test]
async fn the_secret() {
    let harness = connected("secret", json!({})).await;
    let edit = |patch: Value| {
        let secrets = harness.secrets();
        async move {
            let _: Secret = secrets.patch("c-s3", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
        }
    };
    let first = harness.keys("drifter").await;

    edit(json!({ "stringData": { "BUCKET": "another" } })).await;
    reverted(&harness, "open field edited", "secret[BUCKET]").await;
    edit(json!({ "data": { "AWS_REGION": null } })).await;
    reverted(&harness, "open field removed", "secret[AWS_REGION]").await;
    edit(json!({ "data": { "AWS_SECRET_ACCESS_KEY": null } })).await;
    reverted(&harness, "secret field removed", "secret[AWS_SECRET_ACCESS_KEY]").await;
    edit(json!({ "stringData": { "AWS_ACCESS_KEY_ID": "AKIANOSUCHKEY", "AWS_SECRET_ACCESS_KEY": "wrong" } })).await;
    reverted(&harness, "both fields edited", "secret[AWS_ACCESS_KEY_ID]").await;
    assert_eq!(harness.keys("drifter").await, first, "the credentials file still had the key: none was issued");

    edit(json!({ "stringData": { "AWS_SECRET_ACCESS_KEY": "wrong", "credentials": "wrong" } })).await;
    reverted(&harness, "the secret part is lost", "secret[AWS_SECRET_ACCESS_KEY]").await;
    let second = harness.keys("drifter").await;
    assert!(second.len() == 1 && second != first, "one key, and a new one: {first:?} {second:?}");

    harness.secrets().delete("c-s3", &Default::default()).await.unwrap();
    reverted(&harness, "Secret deleted", "secret(c-s3)").await;
    let third = harness.keys("drifter").await;
    assert!(third.len() == 1 && third != second, "{second:?} {third:?}");
    assert_eq!(harness.secret("c-s3").await["AWS_ACCESS_KEY_ID"], third[0]);

    // A foreign field of the Secret stays, and so do foreign labels.
    edit(json!({ "stringData": { "theirs": "stays" }, "metadata": { "labels": { "theirs": "stays" } } })).await;
    edit(json!({ "data": { "PREFIX": null } })).await;
    reverted(&harness, "field removed next to a foreign one", "secret[PREFIX]").await;
    assert_eq!(harness.secret("c-s3").await["theirs"], "stays");
    let secret = harness.secrets().get("c-s3").await.unwrap();
    assert_eq!(secret.metadata.labels.unwrap()["theirs"], "stays");
}

#[tokio::test]
async fn the_platforms_parts_stay() {
    let harness = connected("platform", json!({})).await;
    let queue = aws_sdk_s3::types::QueueConfiguration::builder()
        .queue_arn("arn:aws:sqs:us-east-1:079623148045:ica")
        .events(aws_sdk_s3::types::Event::S3ObjectCreated)
        .build()
        .unwrap();
    let configuration = aws_sdk_s3::types::NotificationConfiguration::builder().queue_configurations(queue).build();
    let put = harness.s3().put_bucket_notification_configuration().bucket(BUCKET).notification_configuration(configuration);
    put.skip_destination_validation(true).send().await.unwrap();
    harness.s3().delete_bucket_cors().bucket(BUCKET).send().await.unwrap();
    reverted(&harness, "CORS deleted", "cors.rules[0]").await;
    let live = harness.s3().get_bucket_notification_configuration().bucket(BUCKET).send().await.unwrap();
    assert_eq!(live.queue_configurations().len(), 1);
}

#[tokio::test]
async fn a_change_of_the_spec_is_not_drift() {
    let harness = connected("change", json!({})).await;
    harness.patch("c", json!({ "spec": { "bucket": { "tags": { "team": "b" } }, "cors": { "rules": [] } } })).await;
    let object = harness.ready("c").await;
    assert_eq!(drift_count(&object), 0);
    assert!(harness.s3().get_bucket_cors().bucket(BUCKET).send().await.is_err());

    // From inline to managed: the new policy exists before the old one is deleted.
    harness.proxy.take();
    harness.patch("c", json!({ "spec": { "policy": { "type": "Managed" } } })).await;
    harness
        .until("c", "managed policy", |object| {
            object.status.as_ref().and_then(|s| s.memory.policy.as_ref()).is_some_and(|policy| policy.arn.is_some())
        })
        .await;
    let object = harness.ready("c").await;
    assert_eq!(drift_count(&object), 0);
    let done = writes(&harness.proxy.take());
    let at = |action: &str| done.iter().position(|done| done == action).unwrap_or_else(|| panic!("no {action} in {done:?}"));
    assert!(at("iam:AttachUserPolicy") < at("iam:DeleteUserPolicy"));

    // And back, with another Secret: same key.
    let keys = harness.keys("drifter").await;
    harness
        .patch("c", json!({ "spec": { "policy": { "type": "Inline" }, "credentials": { "secret": { "name": "renamed" } } } }))
        .await;
    harness
        .until("c", "renamed Secret", |object| {
            object.status.as_ref().and_then(|s| s.memory.credentials.as_ref()).and_then(|c| c.secret_name.as_deref())
                == Some("renamed")
        })
        .await;
    let object = harness.ready("c").await;
    assert_eq!(drift_count(&object), 0);
    assert_eq!(harness.keys("drifter").await, keys);
    assert_eq!(harness.secret("renamed").await["AWS_ACCESS_KEY_ID"], keys[0]);
    assert!(harness.secrets().get_opt("c-s3").await.unwrap().is_none());
    assert!(
        harness
            .iam()
            .list_policies()
            .scope(aws_sdk_iam::types::PolicyScopeType::Local)
            .send()
            .await
            .unwrap()
            .policies()
            .is_empty()
    );
    harness.proxy.take();
    harness.check("c").await;
    assert_eq!(writes(&harness.proxy.take()), [""; 0]);
}
