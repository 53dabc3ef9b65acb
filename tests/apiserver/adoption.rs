//! Adopting existing resources, releasing them again, and moving a connection from one namespace to another.

use aws_sdk_s3::types::{
    BucketLifecycleConfiguration, ExpirationStatus, LifecycleExpiration, LifecycleRule, LifecycleRuleAndOperator,
    LifecycleRuleFilter, Tag, Tagging,
};
use bucketconnection::api::BucketConnection;
use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::support::harness::{Harness, drift_count, told, writes};

const BUCKET: &str = "bucket-by-hand";

/// A bucket that someone created by hand, with its own settings.
async fn by_hand(harness: &Harness) {
    let s3 = harness.s3();
    s3.create_bucket().bucket(BUCKET).send().await.unwrap();
    let tag = Tag::builder().key("cost").value("7").build().unwrap();
    s3.put_bucket_tagging().bucket(BUCKET).tagging(Tagging::builder().tag_set(tag).build().unwrap()).send().await.unwrap();
    let rule = LifecycleRule::builder()
        .id("theirs")
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().prefix("old/").build())
        .expiration(LifecycleExpiration::builder().days(30).build())
        .build()
        .unwrap();
    let rules = BucketLifecycleConfiguration::builder().rules(rule).build().unwrap();
    s3.put_bucket_lifecycle_configuration().bucket(BUCKET).lifecycle_configuration(rules).send().await.unwrap();
    let policy = json!({ "Version": "2012-10-17", "Statement": [{
        "Sid": "Theirs", "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::210987654321:root" },
        "Action": "s3:GetObject", "Resource": format!("arn:aws:s3:::{BUCKET}/shared/*"),
    }] });
    s3.put_bucket_policy().bucket(BUCKET).policy(policy.to_string()).send().await.unwrap();
}

/// The foreign parts of it, as AWS returns them.
async fn theirs(harness: &Harness) -> Vec<String> {
    let s3 = harness.s3();
    let tags = s3.get_bucket_tagging().bucket(BUCKET).send().await.unwrap().tag_set;
    let mut theirs: Vec<_> =
        tags.iter().filter(|t| !t.key.starts_with("bucketconnection.dev/")).map(|t| format!("{t:?}")).collect();
    let rules = s3.get_bucket_lifecycle_configuration().bucket(BUCKET).send().await.unwrap();
    theirs.extend(rules.rules().iter().filter(|rule| rule.id() == Some("theirs")).map(|rule| format!("{rule:?}")));
    let policy = s3.get_bucket_policy().bucket(BUCKET).send().await.unwrap().policy.unwrap();
    let policy: Value = serde_json::from_str(&policy).unwrap();
    let statements = policy["Statement"].as_array().cloned().unwrap_or_else(|| vec![policy["Statement"].clone()]);
    theirs.extend(statements.iter().filter(|s| s["Sid"] == "Theirs").map(Value::to_string));
    theirs
}

#[tokio::test]
async fn a_bucket_is_adopted_as_approved_and_released() {
    let harness = Harness::new("adopt").await;
    by_hand(&harness).await;
    let before = theirs(&harness).await;
    assert_eq!(before.len(), 3);
    harness.apply(&harness.connection(BUCKET, json!({}))).await;
    assert_eq!(told(&harness.condition("c", "Stalled", "True").await, "Ready").1, "BucketNotOwned");

    // The first reconcile only reads, and publishes its plan.
    let spec = json!({ "bucket": {
        "adopt": true,
        "versioning": "Enabled",
        "tls": { "minimumVersion": "1.2" },
        "lifecycle": { "rules": [{ "id": "uploads", "abortIncompleteMultipartUpload": { "daysAfterInitiation": 7 } }] },
    } });
    harness.proxy.take();
    harness.apply(&harness.connection(BUCKET, spec.clone())).await;
    let object = harness.condition("c", "Stalled", "True").await;
    let (_, reason, message) = told(&object, "Ready");
    assert_eq!(reason, "AwaitingApproval");
    let adoption = object.status.unwrap().adoption.unwrap();
    assert!(message.contains(&format!("set spec.approvedPlan: {}", adoption.plan_hash)), "{message}");
    let paths: Vec<_> = adoption.changes.iter().map(|change| change.path.as_str()).collect();
    assert!(paths.contains(&"bucket.versioning") && paths.iter().any(|path| path.contains("lifecycle")), "{paths:?}");
    assert_eq!(writes(&harness.proxy.take()), [""; 0]);

    // Someone changes the bucket in the meantime: the earlier approval does not cover that.
    harness.s3().delete_public_access_block().bucket(BUCKET).send().await.unwrap();
    harness.patch("c", json!({ "spec": { "approvedPlan": adoption.plan_hash } })).await;
    let object = harness.condition("c", "Stalled", "True").await;
    assert_eq!(told(&object, "Ready").1, "AwaitingApproval");
    let adoption = object.status.unwrap().adoption.unwrap();
    harness.patch("c", json!({ "spec": { "approvedPlan": adoption.plan_hash } })).await;
    let object = harness.ready("c").await;
    assert_eq!((object.status.as_ref().unwrap().adoption.is_none(), drift_count(&object)), (true, 0));
    assert_eq!(theirs(&harness).await, before);
    harness.check("c").await;
    harness.proxy.take();
    harness.check("c").await;
    assert_eq!(writes(&harness.proxy.take()), [""; 0], "then it rests");

    // Released, it has no tag of the operator, and everything else stays.
    harness.patch("c", json!({ "spec": { "deletionPolicy": "Release" } })).await;
    harness.delete("c").await;
    harness.gone("c").await;
    let tags = harness.s3().get_bucket_tagging().bucket(BUCKET).send().await.unwrap().tag_set;
    assert_eq!(tags.iter().map(|tag| tag.key.as_str()).collect::<Vec<_>>(), ["cost"]);
    assert_eq!(theirs(&harness).await, before);
    let user = harness.iam().get_user().user_name(format!("{}.c", harness.namespace)).send().await.unwrap().user.unwrap();
    assert_eq!(user.tags().len(), 0);
    let client = harness.s3_with_key("c-s3", "us-east-1").await;
    client.list_objects_v2().bucket(BUCKET).prefix("runs/").send().await.expect("the key continues to work");
}

#[tokio::test]
async fn foreign_parts_keep_their_order_and_text() {
    const BUCKET: &str = "bucket-ordered";
    const FOREIGN: &str = r#"{ "Sid":"Theirs","Principal":{"AWS":"arn:aws:iam::210987654321:root"}, "Effect":"Allow","Action":["s3:PutObject","s3:GetObject"],"Resource":"arn:aws:s3:::bucket-ordered/*"}"#;
    let harness = Harness::new("adopt-ordered").await;
    let s3 = harness.s3();
    s3.create_bucket().bucket(BUCKET).send().await.unwrap();
    let tag = |key: &str| Tag::builder().key(key).value("7").build().unwrap();
    let tagging = Tagging::builder().tag_set(tag("zeta")).tag_set(tag("beta")).build().unwrap();
    s3.put_bucket_tagging().bucket(BUCKET).tagging(tagging).send().await.unwrap();
    let rule = |id: &str| {
        let and = LifecycleRuleAndOperator::builder().prefix("old/").tags(tag("zeta")).tags(tag("beta")).build();
        let rule = LifecycleRule::builder().id(id).filter(LifecycleRuleFilter::builder().and(and).build());
        let expiration = LifecycleExpiration::builder().days(30).build();
        rule.status(ExpirationStatus::Enabled).expiration(expiration).build().unwrap()
    };
    let rules = BucketLifecycleConfiguration::builder().rules(rule("their-z")).rules(rule("their-b")).build().unwrap();
    s3.put_bucket_lifecycle_configuration().bucket(BUCKET).lifecycle_configuration(rules).send().await.unwrap();
    let text = |statement: &str| format!(r#"{{"Version":"2012-10-17","Statement":{statement},"Id":"theirs"}}"#);
    s3.put_bucket_policy().bucket(BUCKET).policy(text(FOREIGN)).send().await.unwrap();
    let read = async || {
        let tags = s3.get_bucket_tagging().bucket(BUCKET).send().await.unwrap().tag_set;
        let rules = s3.get_bucket_lifecycle_configuration().bucket(BUCKET).send().await.unwrap().rules.unwrap();
        (tags, rules, s3.get_bucket_policy().bucket(BUCKET).send().await.unwrap().policy.unwrap())
    };
    let before = read().await;

    let mut spec = json!({ "bucket": {
        "adopt": true,
        "tags": { "alpha": "a" },
        "lifecycle": { "rules": [{ "id": "a", "abortIncompleteMultipartUpload": { "daysAfterInitiation": 7 } }] },
        "policyStatements": [{ "sid": "Mine", "effect": "Allow", "principals": { "AWS": ["210987654321"] }, "actions": ["s3:GetObject"] }],
    } });
    harness.apply(&harness.connection(BUCKET, spec.clone())).await;
    let object = harness.until("c", "a plan", |o| o.status.as_ref().is_some_and(|status| status.adoption.is_some())).await;
    spec["approvedPlan"] = json!(object.status.unwrap().adoption.unwrap().plan_hash);
    harness.apply(&harness.connection(BUCKET, spec.clone())).await;
    harness.ready("c").await;
    let (tags, rules, policy) = read().await;
    assert_eq!(tags[..2], before.0);
    let new: Vec<_> = tags[2..].iter().map(|tag| tag.key.as_str()).collect();
    assert_eq!(new, ["alpha", "bucketconnection.dev/namespace", "bucketconnection.dev/owner", "bucketconnection.dev/adopted"]);
    assert_eq!((&rules[..2], rules[2].id()), (&before.1[..], Some("a")));
    assert!(policy.starts_with(&format!(r#"{{"Version":"2012-10-17","Statement":[{FOREIGN},{{"#)), "{policy}");
    assert!(policy.ends_with(r#"],"Id":"theirs"}"#), "{policy}");

    spec["bucket"] = json!({ "adopt": true, "lifecycle": { "rules": [] }, "policyStatements": [] });
    spec["deletionPolicy"] = json!("Release");
    harness.apply(&harness.connection(BUCKET, spec)).await;
    harness.ready("c").await;
    let (tags, rules, policy) = read().await;
    assert_eq!((&tags[..2], tags.len()), (&before.0[..], 5), "our own tags stay");
    assert_eq!(rules, before.1);
    assert_eq!(policy, text(&format!("[{FOREIGN}]")), "that it was no list is not remembered");
    harness.delete("c").await;
    harness.gone("c").await;
    assert_eq!(read().await, (before.0, before.1, policy));
}

#[tokio::test]
async fn an_adoption_without_changes_needs_no_approval() {
    let harness = Harness::new("adopt-same").await;
    harness.s3().create_bucket().bucket(BUCKET).send().await.unwrap();
    harness.apply(&harness.connection(BUCKET, json!({ "bucket": { "adopt": true } }))).await;
    harness.ready("c").await;
    // A bucket that belongs to another connection cannot be adopted.
    let tag = |value: &str| Tag::builder().key("bucketconnection.dev/owner").value(value).build().unwrap();
    harness.s3().create_bucket().bucket("bucket-theirs").send().await.unwrap();
    let tagging = Tagging::builder().tag_set(tag("other/lab/c")).build().unwrap();
    harness.s3().put_bucket_tagging().bucket("bucket-theirs").tagging(tagging).send().await.unwrap();
    let mut other = harness.connection("bucket-theirs", json!({ "bucket": { "adopt": true } }));
    other["metadata"]["name"] = json!("other");
    harness.apply(&other).await;
    assert_eq!(told(&harness.condition("other", "Stalled", "True").await, "Ready").1, "BucketNotOwned");
}

#[tokio::test]
async fn user_and_policy_are_adopted_only_if_the_account_allows_it() {
    let harness = Harness::new("adopt-user").await;
    let rule = harness.rule(json!({ "adoption": null }));
    harness.account(&harness.namespace, json!({ "allowedNamespaces": [rule] })).await;
    let iam = harness.iam();
    let owner = |key: &str| aws_sdk_iam::types::Tag::builder().key(key).value("7").build().unwrap();
    iam.create_user().user_name("veteran").path("/bucketconnection/").tags(owner("cost")).send().await.unwrap();
    let document = json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Action": "s3:*", "Resource": "*" }] });
    iam.create_policy()
        .policy_name("veterans")
        .path("/bucketconnection/")
        .policy_document(document.to_string())
        .send()
        .await
        .unwrap();
    let theirs = iam.create_access_key().user_name("veteran").send().await.unwrap().access_key.unwrap().access_key_id;
    let spec = json!({
        "accountRef": { "name": harness.namespace },
        "user": { "name": "veteran", "adopt": true },
        "policy": { "type": "Managed", "name": "veterans", "adopt": true },
    });
    harness.apply(&harness.connection("bucket-fresh", spec)).await;
    let (_, reason, message) = told(&harness.condition("c", "Stalled", "True").await, "Ready");
    assert_eq!(reason, "NotAllowed");
    for needed in ["user.adopt (needs adoption.users: true)", "policy.adopt (needs adoption.policies: true)"] {
        assert!(message.contains(needed), "{message}");
    }
    harness.account(&harness.namespace, json!({ "allowedNamespaces": [harness.rule(json!({}))] })).await;
    // Anyone who has its key would have the permissions of the connection.
    let what = "its key in the way";
    let told_key = |o: &BucketConnection| told(o, "Ready").2.contains(&format!("access key {theirs}"));
    harness.until("c", what, told_key).await;
    iam.delete_access_key().user_name("veteran").access_key_id(&theirs).send().await.unwrap();
    harness.check("c").await;
    let object = harness.until("c", "a plan", |o| o.status.as_ref().is_some_and(|status| status.adoption.is_some())).await;
    let adoption = object.status.unwrap().adoption.unwrap();
    let paths: Vec<_> = adoption.changes.iter().map(|change| change.path.as_str()).collect();
    assert!(paths.contains(&"policy.statements[0].action") && paths.contains(&"policy.attachment"), "{paths:?}");
    harness.patch("c", json!({ "spec": { "approvedPlan": adoption.plan_hash } })).await;
    harness.ready("c").await;
    let user = iam.get_user().user_name("veteran").send().await.unwrap().user.unwrap();
    assert!(user.tags().iter().any(|tag| tag.key() == "cost") && user.tags().len() == 7, "{:?}", user.tags());
    let theirs = iam.create_access_key().user_name("veteran").send().await.unwrap().access_key.unwrap().access_key_id;
    // A key that someone else creates later stays, even if an edited status lists it as managed in any way.
    let now = jiff::Timestamp::now();
    let intent = json!({ "since": now, "until": now, "knownKeys": [] });
    for credentials in [json!({ "obsoleteKeys": [theirs] }), json!({ "accessKeyId": theirs }), json!({ "intent": intent })] {
        let forged = Patch::Merge(json!({ "status": { "credentials": credentials } }));
        harness.objects().patch_status("c", &PatchParams::default(), &forged).await.unwrap();
        harness.check("c").await;
        harness.ready("c").await;
        assert!(harness.keys("veteran").await.contains(&theirs), "{credentials}");
        let status = harness.get("c").await.status.unwrap().memory.credentials.unwrap();
        assert!(status.obsolete_keys.is_empty() && status.intent.is_none() && status.access_key_id.as_ref() != Some(&theirs));
    }
    // Permission to adopt is needed only for the adoption itself.
    let rule = harness.rule(json!({ "adoption": null }));
    harness.account(&harness.namespace, json!({ "allowedNamespaces": [rule] })).await;
    harness.check("c").await;
    harness.ready("c").await;
    let arn = "arn:aws:iam::123456789012:policy/bucketconnection/veterans";
    let tags = iam.list_policy_tags().policy_arn(arn).send().await.unwrap();
    assert!(tags.tags().iter().any(|tag| tag.key() == "bucketconnection.dev/owner"));
}

#[tokio::test]
async fn a_connection_moves_to_another_namespace() {
    let mut harness = Harness::idle("move", crate::support::stack::Stack::cluster(), &[]).await;
    let other = format!("{}-new", harness.namespace);
    let namespace =
        Namespace { metadata: kube::api::ObjectMeta { name: Some(other.clone()), ..Default::default() }, ..Default::default() };
    Api::<Namespace>::all(harness.client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
    harness.start();
    let spec = json!({ "user": { "name": "mover" }, "policy": { "type": "Managed", "name": "moving" } });
    harness.apply(&harness.connection("bucket-moving", spec)).await;
    harness.ready("c").await;
    harness.s3().put_object().bucket("bucket-moving").key("runs/a").send().await.unwrap();
    let old_key = harness.keys("mover").await.remove(0);
    harness.patch("c", json!({ "spec": { "deletionPolicy": "Release" } })).await;
    harness.delete("c").await;
    harness.gone("c").await;

    // The same object elsewhere, with adopt for the bucket and a user of its own: consumers with the old key continue
    // to use it.
    harness.kill();
    harness.namespace = other;
    harness.start();
    let spec = json!({ "bucket": { "adopt": true }, "user": { "name": "moved" }, "policy": { "type": "Managed" } });
    harness.apply(&harness.connection("bucket-moving", spec)).await;
    harness.ready("c").await;
    assert_eq!(harness.keys("mover").await, [old_key], "the old key still works");
    assert_eq!(harness.keys("moved").await.len(), 1);
    harness.s3().get_object().bucket("bucket-moving").key("runs/a").send().await.unwrap();
}
