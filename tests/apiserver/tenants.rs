//! What a tenant can do in an account, and attempts to get more.

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::support::harness::{Harness, told};

/// A harness with its own account with the entry `rule`; the account has the name of the namespace.
async fn tenant(name: &str, rule: Value) -> Harness {
    let harness = Harness::new(name).await;
    let mut own = json!({ "names": [harness.namespace], "buckets": ["lab-a-*"], "regions": ["us-*"], "presets": ["ReadWrite", "IlluminaICA"] });
    crate::support::merge::merge(&mut own, rule);
    harness.account(&harness.namespace, json!({ "allowedNamespaces": [own] })).await;
    harness
}

fn connection(harness: &Harness, bucket: &str, spec: Value) -> Value {
    let mut object = harness.connection(bucket, spec);
    object["spec"]["accountRef"] = json!({ "name": harness.namespace });
    object
}

/// Applies an object that must be refused without a call to AWS; returns why.
async fn refused(harness: &Harness, name: &str, bucket: &str, spec: Value) -> String {
    harness.proxy.take();
    let mut object = connection(harness, bucket, spec);
    object["metadata"]["name"] = json!(name);
    harness.apply(&object).await;
    let object = harness.condition(name, "Stalled", "True").await;
    let (status, reason, message) = told(&object, "Ready");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "NotAllowed"), "{message}");
    assert_eq!(harness.proxy.take(), [], "{name}");
    message
}

#[tokio::test]
async fn what_no_entry_lists_is_refused_without_a_call() {
    let harness = tenant("refused", json!({})).await;
    let key = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    let statement = json!({ "statements": [{ "actions": ["s3:GetObject"] }] });
    let cases = [
        ("bucket", "lab-b-data", json!({}), "bucket.name lab-b-data (allowed: lab-a-*)"),
        ("region", "lab-a-data", json!({ "region": "eu-west-1" }), "region eu-west-1 (allowed: us-*)"),
        ("preset", "lab-a-data", json!({ "preset": "ReadOnly" }), "preset ReadOnly (allowed: ReadWrite, IlluminaICA)"),
        ("custom", "lab-a-data", json!({ "preset": "Custom", "policy": statement }), "preset Custom"),
        ("statements", "lab-a-data", json!({ "policy": statement }), "statements: true"),
        ("user", "lab-a-data", json!({ "user": { "name": "administrator" } }), "user.name administrator (allowed: none)"),
        ("path", "lab-a-data", json!({ "user": { "path": "/" } }), "user /"),
        ("key", "lab-a-data", json!({ "bucket": { "encryption": { "type": "SSE-KMS", "kmsKeyArn": key } } }), "kmsKeyArn"),
    ];
    for (name, bucket, spec, expected) in cases {
        let message = refused(&harness, name, bucket, spec).await;
        assert!(message.contains(expected), "{name}: {message}");
    }
    // A refused object has changed nothing, so nothing delays its deletion.
    harness.delete("bucket").await;
    harness.gone("bucket").await;
    // The platform team allows it, and it becomes ready without further action.
    let rule = json!({ "names": [harness.namespace], "buckets": ["lab-a-*"], "regions": ["us-*"], "presets": ["ReadOnly"] });
    harness.account(&harness.namespace, json!({ "allowedNamespaces": [rule] })).await;
    harness.ready("preset").await;
}

#[tokio::test]
async fn a_namespace_that_no_entry_names_is_not_read() {
    let harness = tenant("unnamed", json!({ "names": ["another"] })).await;
    let message = refused(&harness, "c", "lab-a-data", json!({})).await;
    assert!(message.contains("allows nothing to namespace"), "{message}");
    assert!(!harness.api_reads().contains(&"get namespaces".to_owned()), "{:?}", harness.api_reads());
}

#[tokio::test]
async fn labels_of_the_namespace_decide() {
    let harness = tenant("labels", json!({ "names": null, "selector": { "matchLabels": { "team": "a" } } })).await;
    let message = refused(&harness, "c", "lab-a-data", json!({})).await;
    assert!(message.contains("allows nothing to namespace"), "{message}");
    assert!(harness.api_reads().contains(&"get namespaces".to_owned()), "{:?}", harness.api_reads());
    let namespaces: kube::Api<k8s_openapi::api::core::v1::Namespace> = kube::Api::all(harness.client.clone());
    let label = Patch::Merge(json!({ "metadata": { "labels": { "team": "a" } } }));
    namespaces.patch(&harness.namespace, &PatchParams::default(), &label).await.unwrap();
    harness.check("c").await;
    harness.ready("c").await;
}

#[tokio::test]
async fn names_cannot_widen_anything() {
    let harness = tenant("widen", json!({ "buckets": ["*"], "users": ["*"], "statements": true })).await;
    let foreign = json!({ "policy": { "statements": [{ "actions": ["s3:*"], "resources": ["arn:aws:s3:::lab-b-data/*"] }] } });
    let iam = json!({ "policy": { "statements": [{ "actions": ["iam:*"], "resources": ["*"] }] } });
    let federation = json!({ "policy": { "statements": [{ "actions": ["sts:GetFederationToken"], "resources": ["*"] }] } });
    let variable = json!({ "policy": { "statements": [{ "actions": ["s3:GetObject"], "resources": ["arn:aws:s3:::lab-a-data/${aws:username}"] }] } });
    for (spec, expected) in [
        (foreign, "arn:aws:s3:::lab-b-data/* cannot be allowed"),
        (iam, "iam:* cannot be allowed"),
        (federation, "sts:GetFederationToken cannot be allowed"),
        (variable, "policy variables"),
    ] {
        harness.apply(&connection(&harness, "lab-a-data", spec)).await;
        let (_, reason, message) = told(&harness.condition("c", "Stalled", "True").await, "Ready");
        assert_eq!(reason, "InvalidSpec");
        assert!(message.contains(expected), "{message}");
    }
    // What the API server itself refuses.
    for (bucket, spec) in [
        ("lab-*", json!({})),
        ("lab-a-data", json!({ "bucket": { "prefix": "*/" } })),
        ("lab-a-data", json!({ "bucket": { "prefix": "${aws:username}/" } })),
        ("lab-a-data", json!({ "bucket": { "prefix": "../other/" } })),
        ("lab-a-data", json!({ "user": { "name": "*" } })),
        ("lab-a-data", json!({ "user": { "path": "/*/" } })),
        ("lab-a-data", json!({ "bucket": { "tags": { "bucketconnection.dev/owner": "me" } } })),
        ("lab-a-data", json!({ "user": { "tags": { "bucketconnection.dev/preset": "IlluminaICA" } } })),
        ("lab-a-data", json!({ "bucket": { "encryption": { "type": "SSE-KMS", "kmsKeyArn": "alias/theirs" } } })),
    ] {
        let object = connection(&harness, bucket, spec.clone());
        let refused = harness.objects().patch("bad", &PatchParams::apply("user").force(), &Patch::Apply(&object)).await;
        assert!(refused.is_err(), "{bucket} {spec}");
    }
    assert!(harness.s3().list_buckets().send().await.unwrap().buckets().is_empty());
}

#[tokio::test]
async fn a_key_of_another_account_or_region_is_refused() {
    let harness = tenant("keys", json!({ "kmsKeys": ["*"] })).await;
    for key in ["arn:aws:kms:us-east-1:210987654321:key/k", "arn:aws:kms:eu-west-1:123456789012:key/k"] {
        let encryption = json!({ "bucket": { "encryption": { "type": "SSE-KMS", "kmsKeyArn": key } } });
        harness.apply(&connection(&harness, "lab-a-data", encryption)).await;
        let (_, reason, message) = told(&harness.condition("c", "Stalled", "True").await, "Ready");
        assert_eq!(reason, "InvalidSpec");
        assert!(message.contains("not a key in the region and account of the bucket"), "{message}");
    }
}

#[tokio::test]
async fn an_edited_status_makes_nothing_managed() {
    let harness = tenant("forged", json!({ "users": ["*"], "forceDestroy": true })).await;
    harness.s3().create_bucket().bucket("lab-a-foreign").send().await.unwrap();
    let id =
        harness.iam().create_user().user_name("foreign").path("/bucketconnection/").send().await.unwrap().user.unwrap().user_id;
    harness
        .apply(&connection(
            &harness,
            "lab-a-foreign",
            json!({ "user": { "name": "foreign" }, "deletionPolicy": "Delete", "forceDestroy": true }),
        ))
        .await;
    let object = harness.condition("c", "Stalled", "True").await;
    assert_eq!(told(&object, "Ready").1, "BucketNotOwned");
    // The seal of this status, which is the operator's own, and facts that are not.
    let seal = object.status.unwrap().seal.unwrap();
    let forged = json!({ "status": {
        "seal": seal,
        "accountId": "123456789012",
        "bucket": { "arn": "arn:aws:s3:::lab-a-foreign", "region": "us-east-1" },
        "user": { "name": "foreign", "arn": "arn:aws:iam::123456789012:user/bucketconnection/foreign", "id": id },
    } });
    for manager in ["bucketconnection/status", "user"] {
        let parameters = PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() };
        harness.objects().patch_status("c", &parameters, &Patch::Merge(&forged)).await.unwrap();
        let object = harness.check("c").await;
        assert_eq!(told(&object, "Ready").1, "BucketNotOwned");
        assert!(object.status.unwrap().memory.bucket.is_none(), "the operator has forgotten it");
    }
    let tags = harness.s3().get_bucket_tagging().bucket("lab-a-foreign").send().await;
    assert!(tags.is_err(), "the foreign bucket has no tag of the operator: {tags:?}");
    harness.delete("c").await;
    harness.gone("c").await;
    assert_eq!(harness.s3().list_buckets().send().await.unwrap().buckets().len(), 1);
    assert!(harness.iam().get_user().user_name("foreign").send().await.is_ok());
}

#[tokio::test]
async fn the_older_of_two_connections_gets_the_bucket_or_user() {
    let harness = tenant("claims", json!({ "users": ["shared", "Shared"] })).await;
    let named = |name: &str, bucket: &str, user: &str| {
        let mut object = connection(&harness, bucket, json!({ "user": { "name": user }, "deletionPolicy": "Delete" }));
        object["metadata"]["name"] = json!(name);
        object
    };
    harness.apply(&named("first", "lab-a-one", "shared")).await;
    harness.ready("first").await;
    harness.apply(&named("bucket", "lab-a-one", "other")).await;
    // The user "other" is not allowed, which is reported first.
    assert_eq!(told(&harness.condition("bucket", "Stalled", "True").await, "Ready").1, "NotAllowed");
    let mut same_bucket = connection(&harness, "lab-a-one", json!({}));
    same_bucket["metadata"]["name"] = json!("same-bucket");
    for (object, part) in [(same_bucket, "BucketReady"), (named("same-user", "lab-a-two", "Shared"), "UserReady")] {
        harness.proxy.take();
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        harness.apply(&object).await;
        let object = harness.condition(&name, "Stalled", "True").await;
        let (_, reason, message) = told(&object, part);
        assert_eq!(reason, "NameTaken");
        assert!(message.contains(&format!("belongs to BucketConnection {}/first", harness.namespace)), "{message}");
        assert_eq!(harness.proxy.take(), []);
    }
    // The loser's deletion takes nothing from the winner; the winner's deletion makes room.
    harness.delete("same-bucket").await;
    harness.gone("same-bucket").await;
    harness.check("first").await;
    harness.ready("first").await;
    harness.delete("first").await;
    harness.gone("first").await;
    harness.check("same-user").await;
    harness.ready("same-user").await;
}

#[tokio::test]
async fn a_refused_or_observing_connection_claims_nothing() {
    let harness = tenant("squat", json!({ "users": ["wanted"] })).await;
    let named = |name: &str, bucket: &str, spec: Value| {
        let mut object = connection(&harness, bucket, spec);
        object["metadata"]["name"] = json!(name);
        object
    };
    // Refused and suspended; suspended; only observed.
    let forbidden = json!({ "suspend": true, "user": { "name": "forbidden" } });
    harness.apply(&named("refused", "lab-a-one", forbidden)).await;
    harness.apply(&named("suspended", "lab-a-one", json!({ "suspend": true }))).await;
    harness.apply(&named("looks", "lab-a-one", json!({ "management": { "default": "Observe" } }))).await;
    harness.ready("looks").await;
    let forged = json!({ "status": { "bucket": { "arn": "arn:aws:s3:::lab-a-one", "region": "us-east-1" }, "conditions": [] } });
    harness.objects().patch_status("suspended", &PatchParams::default(), &Patch::Merge(&forged)).await.unwrap();
    harness.apply(&named("wants", "lab-a-one", json!({ "user": { "name": "wanted" } }))).await;
    harness.ready("wants").await;
    harness.check("wants").await;
    harness.ready("wants").await;
    // Managed policies have names, too.
    let policy = json!({ "policy": { "type": "Managed", "name": "lab-b.data" } });
    let message = refused(&harness, "policy", "lab-a-two", policy).await;
    assert!(message.contains("policy.name lab-b.data (allowed: wanted)"), "{message}");
}

#[tokio::test]
async fn a_bucket_in_the_accounts_own_namespace() {
    let harness = tenant("own", json!({})).await;
    let mut object = connection(&harness, "x-x-x", json!({ "deletionPolicy": "Delete" }));
    object["spec"]["bucket"] = json!({ "namePrefix": "lab-a", "prefix": "runs/" });
    harness.apply(&object).await;
    let ready = harness.ready("c").await;
    assert_eq!(ready.status.unwrap().memory.bucket.unwrap().arn, "arn:aws:s3:::lab-a-123456789012-us-east-1-an");
    assert_eq!(harness.secret("c-s3").await["BUCKET"], "lab-a-123456789012-us-east-1-an");
    let created = harness.proxy.take().into_iter().find(|request| request.action == "s3:CreateBucket").unwrap();
    assert!(created.text.to_lowercase().contains("x-amz-bucket-namespace: account-regional"), "{}", created.text);
    let table = String::from_utf8(harness.kubectl(&["get", "bc"]).stdout).unwrap();
    assert!(table.contains(" lab-a "), "{table}");
    object["spec"]["bucket"] = json!({ "namePrefix": "lab-a-other", "prefix": "runs/" });
    let refused = harness.objects().patch("c", &PatchParams::apply("user").force(), &Patch::Apply(&object)).await.unwrap_err();
    assert!(refused.to_string().contains("bucket.namePrefix cannot be changed"), "{refused}");
    harness.delete("c").await;
    harness.gone("c").await;
}
