//! The worst objects that a tenant can write, and their effect on another tenant: only a wait that ends.

use std::time::Instant;

use bucketconnection::api::REVOKE_AT;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::{Tenant, harness};
use crate::accounts;
use crate::support::harness::{Harness, condition, told};

/// Patterns on which a backtracking matcher would practically never end, in each place where patterns are matched.
fn patterns(harness: &Harness) -> Vec<Value> {
    let (stars, bucket) = ("*".repeat(60), format!("arn:aws:s3:::{}-redos", harness.namespace));
    let action = format!("s3:{stars}z");
    let statement = |actions: &str, conditions: Value| json!({ "sid": "Slow", "effect": "Deny", "principals": { "AWS": [format!("arn:aws:iam::123456789012:user/{stars}z")] }, "actions": [actions], "conditions": conditions });
    let like = |key: &str| json!({ "StringLike": { key: [format!("{}z", "*a".repeat(500))] } });
    // Never executed: the emulator's own policy matcher backtracks.
    let invalid = |mut spec: Value| {
        spec["management"] = json!({ "nonsense": "Ignore" });
        spec
    };
    let specs = vec![
        json!({ "policy": { "statements": [{ "actions": [action] }] } }),
        json!({ "policy": { "statements": [{ "actions": ["s3:GetObject"], "resources": [format!("{bucket}/{}z", "*a".repeat(500))] }] } }),
        json!({ "policy": { "statements": [{ "actions": ["s3:ListBucket"], "conditions": like("s3:prefix") }] } }),
        json!({ "bucket": { "policyStatements": [statement(&action, json!({}))] } }),
        json!({ "bucket": { "policyStatements": [statement("s3:*", like("aws:PrincipalArn"))] } }),
    ];
    specs.into_iter().map(invalid).collect()
}

/// The largest object that the API server accepts, with respect to this field.
fn largest() -> Vec<Value> {
    let resources: Vec<_> = (0..50).map(|n| format!("arn:aws:s3:::largest/{n}{}", "*a".repeat(500))).collect();
    let actions = |n: usize| (0..50).map(|m| format!("s3:{}{}*", "?*".repeat(50), ["a", "b"][(n + m) % 2])).collect::<Vec<_>>();
    let values: Vec<_> = (0..400).map(|n| format!("{n}{}", "*a".repeat(100))).collect();
    let statement = |n: usize| json!({ "sid": format!("S{n}"), "actions": actions(n), "resources": resources });
    let rule = |n: usize| json!({ "id": format!("r{n}"), "filter": { "prefix": "p".repeat(1000) }, "expiration": { "days": 1 } });
    let cors = |n: usize| json!({ "allowedMethods": ["GET"], "allowedOrigins": (0..50).map(|m| format!("https://{n}-{m}.example")).collect::<Vec<_>>() });
    vec![
        json!({ "policy": { "statements": (0..10).map(statement).collect::<Vec<_>>() } }),
        json!({ "policy": { "statements": [{ "actions": ["s3:ListBucket"], "conditions": { "StringLike": { "s3:prefix": values } } }] } }),
        json!({ "bucket": { "lifecycle": { "rules": (0..100).map(rule).collect::<Vec<_>>() } } }),
        json!({ "cors": { "rules": (0..100).map(cors).collect::<Vec<_>>() } }),
        json!({ "management": (0..20).map(|n| (format!("nonsense{n}"), json!("Ignore"))).collect::<serde_json::Map<_, _>>() }),
    ]
}

/// The account of both tenants; the namespaces match `worst*`.
async fn shared(harness: &Harness) -> String {
    harness.account("worst-account", json!({ "allowedNamespaces": [harness.rule(json!({ "names": ["worst*"] }))] })).await
}

/// The worst objects, and some that are always busy.
async fn attack(harness: &Harness, mallory: &Tenant) {
    let mut worst = patterns(harness);
    worst.extend(largest());
    for (n, spec) in worst.into_iter().enumerate() {
        let object = mallory.connection(&format!("worst{n}"), &format!("worst-bucket-{n}"), spec);
        mallory.apply(&object).await.unwrap_or_else(|error| panic!("{n}: {error}"));
    }
    for n in 0..10 {
        let busy = json!({ "resyncInterval": "10s", "credentials": { "rotation": { "interval": "10s", "overlap": "1s" } } });
        mallory.apply(&mallory.connection(&format!("busy{n}"), &format!("worst-busy-{n}"), busy)).await.unwrap();
    }
}

/// A connection is created, revoked and deleted.
async fn life(harness: &Harness, bob: &Tenant, bucket: &str) {
    bob.apply(&bob.connection("c", bucket, json!({ "deletionPolicy": "Delete" }))).await.unwrap();
    harness.ready("c").await;
    let user = format!("{}.c", harness.namespace);
    let old = harness.keys(&user).await;
    bob.annotate("c", REVOKE_AT, "now").await;
    harness
        .until("c", "a revocation", |object| {
            let known = object.status.as_ref().and_then(|status| status.memory.credentials.as_ref());
            known.is_some_and(|known| known.last_handled_revoke_at.as_deref() == Some("now"))
        })
        .await;
    assert!(harness.keys(&user).await.iter().all(|key| !old.contains(key)));
    bob.objects.delete("c", &Default::default()).await.unwrap();
    harness.gone("c").await;
}

/// A connection of another tenant goes through its whole life while these exist.
#[tokio::test]
async fn the_worst_objects_block_no_other_connection() {
    // One operator for both tenants.
    let mut harness = accounts::harness("worst").await;
    let (account, hostile) = (shared(&harness).await, harness.namespace.clone());
    let mallory = Tenant { account: account.clone(), ..Tenant::new(&harness, "mallory", &hostile).await };
    attack(&harness, &mallory).await;
    harness.moved("worstvictim").await;
    let bob = Tenant { account, ..Tenant::new(&harness, "bob", &harness.namespace).await };
    life(&harness, &bob, "worst-victim").await;
    assert!(harness.operator().get("/healthz").await.contains("200 OK"));
    // Each of them also ended: no stage reached its time limit.
    harness.namespace = hostile;
    for n in 0..10 {
        let object = harness.until(&format!("worst{n}"), "an end", |object| condition(object, "Ready").is_some()).await;
        let reason = told(&object, "Ready").1;
        assert!(!["TooExpensive", "InternalError"].contains(&reason.as_str()), "worst{n}: {reason}");
    }
    assert!(!harness.log().contains("panicked"), "{}", harness.log());
}

/// How much longer it takes than without them: a figure that `make soak` prints, on an idle machine. The emulator, a
/// single process, is shared too; AWS is not.
#[tokio::test]
#[ignore = "by the clock: make soak"]
async fn delay_by_the_worst_objects_by_the_clock() {
    let mut harness = accounts::harness("worstclock").await;
    let (account, hostile) = (shared(&harness).await, harness.namespace.clone());
    harness.moved("worstclockvictim").await;
    let bob = Tenant { account: account.clone(), ..Tenant::new(&harness, "bob", &harness.namespace).await };
    let times = async |harness: &Harness, name: &str| {
        let mut times = Vec::new();
        for n in 0..5 {
            let begun = Instant::now();
            life(harness, &bob, &format!("worst-clock-{name}-{n}")).await;
            times.push(begun.elapsed());
        }
        times.sort();
        times[2]
    };
    let alone = times(&harness, "alone").await;
    let mallory = Tenant { account, ..Tenant::new(&harness, "mallory", &hostile).await };
    attack(&harness, &mallory).await;
    let beside = times(&harness, "beside").await;
    println!("connected, revoked and deleted: {alone:?} alone, {beside:?} next to the worst objects");
}

/// A tenant can write any text into its own Secret; the operator must not rely on its numbers and times.
#[tokio::test]
async fn nothing_in_the_secret_makes_the_operator_fail() {
    let harness = harness("secretly", json!({})).await;
    let bob = Tenant::new(&harness, "bob", &harness.namespace).await;
    let rotation = json!({ "interval": "99999d", "overlap": "9999d" });
    let spec = json!({ "credentials": { "secret": { "name": "c-s3", "versioned": true }, "rotation": rotation } });
    bob.apply(&bob.connection("c", "secretly-data", spec)).await.unwrap();
    harness.ready("c").await;
    let annotations = [
        ("key-created-at", vec!["9999-12-30T22:00:00Z", "-009999-01-02T01:59:59Z", "0000-00-00", "\u{0}", "tomorrow", "1e99"]),
        ("key-version", vec!["1000000000", "-1", "9223372036854775807", "", "1\n2"]),
        ("state", vec!["retained", "../..", ""]),
    ];
    for (name, value) in annotations.iter().flat_map(|(name, values)| values.iter().map(move |value| (name, value))) {
        let patch = json!({ "metadata": { "annotations": { format!("bucketconnection.dev/{name}"): value } } });
        bob.secrets.patch("c-s3", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
        let object = harness.check("c").await;
        assert_ne!(told(&object, "Ready").1, "InternalError", "{name}: {value:?}");
    }
    let long = "A".repeat(500_000);
    for data in [
        json!({ "AWS_ACCESS_KEY_ID": long, "AWS_SECRET_ACCESS_KEY": long }),
        json!({ "AWS_ACCESS_KEY_ID": "AKIA\r\nx-amz-acl: public-read", "AWS_SECRET_ACCESS_KEY": "\n" }),
        json!({ "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "credentials": "[default\n" }),
        json!({ "AWS_ACCESS_KEY_ID": "*", "credentials": "[\u{0}]\naws_access_key_id = ${x}" }),
    ] {
        bob.secrets.patch("c-s3", &PatchParams::default(), &Patch::Merge(json!({ "stringData": data }))).await.unwrap();
        harness.check("c").await;
        harness.ready("c").await;
    }
    assert!(!harness.log().contains("panicked"), "{}", harness.log());
    // A key whose Secret says that it is old is rotated, and the previous key works for the overlap.
    assert!(harness.keys(&format!("{}.c", harness.namespace)).await.len() <= 2);
}

/// Names at the limits of Kubernetes, IAM and labels.
#[tokio::test]
async fn the_longest_names_work() {
    let harness = harness("longest", json!({})).await;
    let bob = Tenant::new(&harness, "bob", &harness.namespace).await;
    let long = "a".repeat(253);
    for (name, bucket) in [(long.as_str(), "longest-253"), ("a.b.c", "longest-dots"), (&long[..240], "longest-240")] {
        if bob.apply(&bob.connection(name, bucket, json!({}))).await.is_err() {
            continue;
        }
        let object = harness
            .until(name, "an end", |object| condition(object, "Ready").is_some_and(|ready| ready.reason != "Progressing"))
            .await;
        let (ready, reason, message) = told(&object, "Ready");
        assert!(ready == "True" || reason == "InvalidSpec", "{}: {reason}: {message}", name.len());
        bob.objects.delete(name, &Default::default()).await.unwrap();
        harness.gone(name).await;
    }
}
