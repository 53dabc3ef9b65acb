//! AWSAccounts: sign-in by Secret and by roles, the wrong account, deletion while in use, and after the account is
//! gone.

use std::time::{Duration, Instant};

use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::support::harness::{Harness, LIMIT, actions, drift_count, told, writes};
use crate::support::proxy::Proxy;
use crate::support::stack::{ROOT, Stack, scratch};

const SECOND: &str = "210987654321";

/// A harness with its own cluster, whose operator works on the whole cluster and may assume roles.
pub(crate) async fn harness(name: &str) -> Harness {
    let directory = scratch(&format!("{name}-policy"));
    let mut policy: Value =
        serde_json::from_str(&std::fs::read_to_string(format!("{ROOT}/deploy/iam/operator-policy.json")).unwrap()).unwrap();
    let assume = json!({ "Sid": "Roles", "Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "arn:aws:iam::*:role/*" });
    policy["Statement"].as_array_mut().unwrap().push(assume);
    let file = directory.join("policy.json");
    std::fs::write(&file, policy.to_string()).unwrap();
    let stack = Box::leak(Box::new(Stack::start(name, &["--no-aws"])));
    let mut harness = Harness::idle(name, stack, &["--policy", file.to_str().unwrap()]).await;
    harness.whole_cluster = true;
    harness.start();
    harness
}

/// The operator sees an account with a short delay: waits until `holds`.
async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    let end = Instant::now() + LIMIT;
    while !holds().await {
        assert!(Instant::now() < end, "no {what} in time");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn secret(harness: &Harness, name: &str, data: Value) {
    let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "stringData": data });
    harness.secrets().patch(name, &PatchParams::apply("user").force(), &Patch::Apply(secret)).await.unwrap();
}

#[tokio::test]
async fn every_way_to_sign_in() {
    let harness = harness("signin").await;
    let (account, message) = harness.account_told("default", "SignedIn").await;
    assert_eq!(message, "signed in to account 123456789012 (aws) as arn:aws:iam::123456789012:user/operator");
    // Counted after the status was written.
    let duration = "bucketconnection_reconcile_duration_seconds_count{kind=\"AWSAccount\"} ";
    eventually("duration of an account", async || harness.operator().get("/metrics").await.contains(duration)).await;
    let status = account.status.unwrap();
    assert_eq!((status.account_id.as_deref(), status.partition.as_deref()), (Some("123456789012"), Some("aws")));

    // With a Secret: missing, incomplete, wrong, right.
    let reference = json!({ "namespace": harness.namespace, "name": "key" });
    let by_secret =
        json!({ "credentials": { "source": "Secret", "secretRef": reference }, "allowedNamespaces": [harness.rule(json!({}))] });
    harness.account("by-secret", by_secret).await;
    let (_, message) = harness.account_told("by-secret", "SignInFailed").await;
    assert!(message.contains(&format!("Secret {}/key does not exist", harness.namespace)), "{message}");
    let object = harness.connection("bucket-by-secret", json!({ "accountRef": { "name": "by-secret" } }));
    harness.apply(&object).await;
    let (_, reason, message) = told(&harness.condition("c", "Stalled", "True").await, "AccountReady");
    assert_eq!(reason, "SignInFailed");
    assert!(message.contains("does not exist"), "{message}");
    let (id, key) = harness.emulator.key("operator");
    secret(&harness, "key", json!({ "AWS_ACCESS_KEY_ID": id, "AWS_SECRET_ACCESS_KEY": format!("\"{key}\"") })).await;
    let again = async |calls: u32| {
        let credentials = json!({ "source": "Secret", "secretRef": reference });
        let rules = json!([harness.rule(json!({}))]);
        let spec = json!({ "credentials": credentials, "budget": { "s3": calls }, "allowedNamespaces": rules });
        harness.account("by-secret", spec).await
    };
    again(101).await;
    let (_, message) = harness.account_told("by-secret", "SignInFailed").await;
    assert!(
        message.contains(&format!(
            "Secret {}/key contains no usable access key: its field AWS_SECRET_ACCESS_KEY is in quotes",
            harness.namespace
        )),
        "{message}"
    );
    secret(&harness, "key", json!({ "AWS_ACCESS_KEY_ID": id, "AWS_SECRET_ACCESS_KEY": "wrong" })).await;
    again(102).await;
    let (_, message) = harness.account_told("by-secret", "SignInFailed").await;
    assert!(message.ends_with(&format!("; check the access key in Secret {}/key", harness.namespace)), "{message}");
    // A line break after each part, as an editor leaves it.
    secret(&harness, "key", json!({ "AWS_ACCESS_KEY_ID": format!("{id}\n"), "AWS_SECRET_ACCESS_KEY": format!("{key}\n") })).await;
    // The operator finds it without a request, and wakes the connection.
    harness.account_told("by-secret", "SignedIn").await;
    harness.ready("c").await;

    // Through two roles, one after the other, into another account that requires an external ID.
    let hop = json!({ "roleArn": "arn:aws:iam::123456789012:role/hop" });
    let target = |id: &str| json!({ "roleArn": format!("arn:aws:iam::{SECOND}:role/bucketconnection"), "externalId": id, "sessionName": "lab" });
    let spec = |id: &str| {
        let roles = json!({ "assumeRole": [hop, target(id)] });
        json!({ "accountId": SECOND, "region": "us-east-1", "credentials": roles, "allowedNamespaces": [harness.rule(json!({}))] })
    };
    harness.account("by-role", spec("wrong")).await;
    let (_, message) = harness.account_told("by-role", "AccessDenied").await;
    assert!(message.contains("sts:AssumeRole: AccessDenied") && message.contains("check the role's ARN"), "{message}");
    harness.account("by-role", spec("lab-7")).await;
    let (account, message) = harness.account_told("by-role", "SignedIn").await;
    assert!(message.ends_with(&format!("as arn:aws:sts::{SECOND}:assumed-role/bucketconnection/lab")), "{message}");
    assert_eq!(account.status.unwrap().account_id.as_deref(), Some(SECOND));
    let mut second =
        harness.connection("bucket-by-role", json!({ "accountRef": { "name": "by-role" }, "deletionPolicy": "Delete" }));
    second["metadata"]["name"] = json!("second");
    harness.apply(&second).await;
    let object = harness.ready("second").await;
    let status = object.status.unwrap();
    assert_eq!(status.memory.account_id.as_deref(), Some(SECOND));
    assert!(status.memory.user.unwrap().arn.starts_with(&format!("arn:aws:iam::{SECOND}:user/")));
    assert_eq!(
        harness.iam().list_users().send().await.unwrap().users().iter().filter(|u| u.user_name().contains("second")).count(),
        0
    );

    // The account is deleted although it is in use, despite its finalizer: the connection can still delete its
    // resources.
    harness.accounts().delete("by-role", &DeleteParams::default()).await.unwrap();
    let (_, message) = harness.account_told("by-role", "InUse").await;
    assert!(
        message.contains(&format!("BucketConnections need it: {}/second; delete them first", harness.namespace)),
        "{message}"
    );
    // It accepts no new connections, because otherwise it could never be deleted; existing ones continue.
    let mut late = harness.connection("bucket-late", json!({ "accountRef": { "name": "by-role" } }));
    late["metadata"]["name"] = json!("late");
    harness.apply(&late).await;
    let (_, reason, message) = told(&harness.condition("late", "Stalled", "True").await, "AccountReady");
    assert!(reason == "AccountNotFound" && message.contains("is being deleted and takes no new connections"), "{message}");
    harness.delete("late").await;
    harness.gone("late").await;
    harness.check("second").await;
    harness.ready("second").await;
    let none = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    harness.accounts().patch("by-role", &PatchParams::default(), &none).await.unwrap();
    eventually("word that the account is gone", async || {
        told(&harness.check("second").await, "AccountReady").1 == "AccountNotFound"
    })
    .await;
    harness.proxy.take();
    harness.delete("second").await;
    harness.gone("second").await;
    let deleted = writes(&harness.proxy.take());
    for action in ["s3:DeleteBucket", "iam:DeleteUser", "iam:DeleteAccessKey"] {
        assert!(deleted.iter().any(|write| write == action), "{deleted:?}");
    }

    // An account that no connection uses anymore is deleted at once.
    harness.delete("c").await;
    harness.gone("c").await;
    harness.accounts().delete("by-secret", &DeleteParams::default()).await.unwrap();
    while harness.accounts().get_opt("by-secret").await.unwrap().is_some() {
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    }
}

#[tokio::test]
async fn nothing_is_changed_in_the_wrong_account() {
    let harness = Harness::new("wrong").await;
    let name =
        harness.account("wrong-account", json!({ "accountId": SECOND, "allowedNamespaces": [harness.rule(json!({}))] })).await;
    harness.apply(&harness.connection("bucket-wrong", json!({ "accountRef": { "name": name } }))).await;
    let object = harness.condition("c", "Stalled", "True").await;
    let (_, reason, message) = told(&object, "Ready");
    assert_eq!(reason, "WrongAccount");
    assert!(
        message.contains(&format!(
            "AWSAccount wrong-account has accountId {SECOND}, but its credentials belong to account 123456789012"
        )),
        "{message}"
    );
    assert!(harness.proxy.take().iter().all(|request| request.action == "sts:GetCallerIdentity"));
    assert!(object.metadata.finalizers.unwrap_or_default().is_empty(), "it can be deleted at once");
    harness.delete("c").await;
    harness.gone("c").await;
}

#[tokio::test]
async fn a_new_account_wakes_its_connections() {
    let harness = Harness::new("late").await;
    harness.apply(&harness.connection("bucket-late", json!({ "accountRef": { "name": "late-account" } }))).await;
    let (_, reason, message) = told(&harness.condition("c", "Stalled", "True").await, "Ready");
    assert_eq!(reason, "AccountNotFound");
    assert!(message.contains("there is no AWSAccount late-account"), "{message}");
    assert_eq!(harness.proxy.take(), [], "nothing is asked of AWS");
    harness.account("late-account", json!({ "allowedNamespaces": [harness.rule(json!({}))] })).await;
    harness.ready("c").await;
}

#[tokio::test]
async fn defaults_apply_and_can_change() {
    let harness = Harness::new("defaults").await;
    let rule = harness.rule(json!({ "tags": ["team"] }));
    let spec = |defaults: Value| json!({ "defaults": defaults, "allowedNamespaces": [rule.clone()] });
    let defaults = json!({ "tags": { "cost": "7", "team": "x" }, "userPath": "/bucketconnection/labs/", "namePrefix": "bc-" });
    harness.account("with-defaults", spec(defaults)).await;
    harness
        .apply(&harness.connection(
            "bucket-defaults",
            json!({ "accountRef": { "name": "with-defaults" }, "bucket": { "tags": { "team": "a" } } }),
        ))
        .await;
    let user = harness.ready("c").await.status.unwrap().memory.user.unwrap();
    assert!(user.arn.ends_with(&format!(":user/bucketconnection/labs/bc-{}.c", harness.namespace)), "{}", user.arn);
    let tags = harness.s3().get_bucket_tagging().bucket("bucket-defaults").send().await.unwrap().tag_set;
    let tag = |key: &str| tags.iter().find(|tag| tag.key == key).map(|tag| tag.value.clone());
    assert_eq!((tag("cost"), tag("team")), (Some("7".into()), Some("a".into())));
    // New defaults apply to existing resources, but never rename a user that has a key.
    harness.account("with-defaults", spec(json!({ "tags": { "cost": "8" }, "namePrefix": "other-" }))).await;
    let cost = async || {
        let tags = harness.s3().get_bucket_tagging().bucket("bucket-defaults").send().await.unwrap().tag_set;
        tags.into_iter().find(|tag| tag.key == "cost").map(|tag| tag.value)
    };
    eventually("the other tag", async || cost().await.as_deref() == Some("8")).await;
    let object = harness.check("c").await;
    assert_eq!(drift_count(&object), 0, "the platform's own change is no drift");
    let now = object.status.unwrap().memory.user.unwrap();
    assert_eq!((now.arn, now.id), (user.arn, user.id));
}

/// Credentials of one account must not be sent to the host of another.
#[tokio::test]
async fn the_endpoints_of_an_account_take_precedence_over_the_environment() {
    let harness = Harness::new("addresses").await;
    let own = Proxy::start(harness.emulator.url());
    let spec = json!({ "endpoints": { "url": own.url }, "allowedNamespaces": [harness.rule(json!({}))] });
    harness.account("own-addresses", spec).await;
    harness.apply(&harness.connection("bucket-addressed", json!({ "accountRef": { "name": "own-addresses" } }))).await;
    harness.ready("c").await;
    assert_eq!(harness.proxy.take(), [], "AWS_ENDPOINT_URL of the operator");
    let asked = actions(&own.take());
    for action in ["sts:GetCallerIdentity", "iam:CreateUser", "s3:CreateBucket"] {
        assert!(asked.iter().any(|asked| asked == action), "{action}: {asked:?}");
    }
}

#[tokio::test]
async fn a_boundary_applies_to_every_user_and_stays() {
    let harness = Harness::new("boundary").await;
    let document = std::fs::read_to_string(format!("{ROOT}/deploy/iam/boundary.json")).unwrap();
    let policy = harness.iam().create_policy().policy_name("edge").policy_document(document).send().await.unwrap();
    let arn = policy.policy.unwrap().arn.unwrap();
    let rule = harness.rule(json!({}));
    harness.account("bounded", json!({ "defaults": { "permissionsBoundary": arn }, "allowedNamespaces": [rule] })).await;
    let spec = json!({ "accountRef": { "name": "bounded" }, "preset": "IlluminaICA", "user": { "name": "sequencer" } });
    harness.apply(&harness.connection("bucket-bounded", spec)).await;
    harness.ready("c").await;
    let boundary = async |user: &str| {
        let user = harness.iam().get_user().user_name(user).send().await.unwrap().user.unwrap();
        user.permissions_boundary.and_then(|boundary| boundary.permissions_boundary_arn)
    };
    assert_eq!(boundary("sequencer").await.as_ref(), Some(&arn));
    // Removing the default removes the boundary from no user.
    harness.account("bounded", json!({ "allowedNamespaces": [harness.rule(json!({}))] })).await;
    harness.check("c").await;
    assert_eq!(boundary("sequencer").await.as_ref(), Some(&arn));
    // What the boundary denies to all users except ICA's, whatever their policy is.
    harness
        .account("bounded", json!({ "defaults": { "permissionsBoundary": arn }, "allowedNamespaces": [harness.rule(json!({}))] }))
        .await;
    let statements = json!([{ "actions": ["sts:GetFederationToken"], "resources": ["*"] }]);
    let spec = json!({ "accountRef": { "name": "bounded" }, "preset": "Custom", "policy": { "statements": statements }, "user": { "name": "other" } });
    let mut object = harness.connection("bucket-bounded-2", spec);
    object["metadata"]["name"] = json!("other");
    harness.apply(&object).await;
    harness.ready("other").await;
    eventually("the boundary", async || boundary("other").await.as_ref() == Some(&arn)).await;
    let federate = async |secret: &str| {
        let sts = harness.sts_with_key(secret).await;
        sts.get_federation_token().name("x").send().await.map(drop).map_err(|error| format!("{error:?}"))
    };
    assert!(federate("c-s3").await.is_ok());
    assert!(federate("other-s3").await.unwrap_err().contains("AccessDenied"));
}
