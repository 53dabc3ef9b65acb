//! Names: what they refer to, who owns them, and what a tenant can learn from them.

use std::collections::BTreeMap;

use bucketconnection::api::FINALIZER;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

use super::{Tenant, harness, refused, uid};
use crate::accounts;
use crate::support::harness::Harness;

#[tokio::test]
async fn observing_shows_nothing_of_another_tenants_bucket() {
    let harness = harness("observed", json!({ "names": ["*"] })).await;
    let owner = format!("{}/board/merger-with-acme", uid(&harness).await);
    harness.s3().create_bucket().bucket("observed-data").send().await.unwrap();
    let tag = |key: &str, value: &str| aws_sdk_s3::types::Tag::builder().key(key).value(value).build().unwrap();
    let tags = aws_sdk_s3::types::Tagging::builder()
        .tag_set(tag("bucketconnection.dev/owner", &owner))
        .tag_set(tag("project", "merger with ACME"))
        .build()
        .unwrap();
    harness.s3().put_bucket_tagging().bucket("observed-data").tagging(tags).send().await.unwrap();
    let bob = Tenant::new(&harness, "bob", &harness.namespace).await;
    bob.apply(&bob.connection("spy", "observed-data", json!({ "management": { "default": "Observe" } }))).await.unwrap();
    let (reason, message) = refused(&harness, "spy").await;
    assert_eq!(reason, "BucketNotOwned", "{message}");
    let status = json!(harness.get("spy").await.status).to_string().to_lowercase();
    assert!(!status.contains("merger") && !status.contains("board"), "{status}");
    // The operator's log names the owner.
    assert!(harness.log().contains("board/merger-with-acme"));
}

#[tokio::test]
async fn an_object_that_can_never_become_valid_claims_no_name() {
    let harness = harness("squatter", json!({})).await;
    let bob = Tenant::new(&harness, "bob", &harness.namespace).await;
    let nonsense = json!({ "management": { "nonsense": "Ignore" } });
    bob.apply(&bob.connection("squatter", "squatted-data", nonsense)).await.unwrap();
    assert_eq!(refused(&harness, "squatter").await.0, "InvalidSpec");
    bob.apply(&bob.connection("honest", "squatted-data", json!({}))).await.unwrap();
    harness.ready("honest").await;
}

/// Each of these became part of a request path that the operator uses with its own identity.
#[tokio::test]
async fn no_name_of_a_spec_leads_to_another_request() {
    let harness = harness("paths", json!({})).await;
    let bob = Tenant::new(&harness, "bob", &harness.namespace).await;
    let account = &harness.namespace;
    let tricks = [
        "../../etc".to_owned(),
        "..".to_owned(),
        ".".to_owned(),
        "a/b?x=y".to_owned(),
        format!("{account}?anything=1"),
        format!("{account}/"),
        format!("{account}/status"),
        format!("{account}#"),
        format!("{account}%2e"),
        format!("{account}%00"),
        format!("./{account}"),
        format!("{account}\n"),
        format!(" {account}"),
        format!("{account};v=1"),
        account.to_uppercase(),
        "ａｂ".to_owned(),
        String::new(),
        "a".repeat(254),
    ];
    for name in &tricks {
        for spec in [
            json!({ "accountRef": { "name": name } }),
            json!({ "credentials": { "secret": { "name": name } } }),
            json!({ "credentials": { "source": "Existing", "existingSecretRef": { "name": name } } }),
        ] {
            let applied = bob.apply(&bob.connection("trick", "paths-data", spec.clone())).await;
            assert!(applied.is_err(), "{spec}");
        }
    }
    bob.apply(&bob.connection("honest", "paths-data", json!({}))).await.unwrap();
    harness.ready("honest").await;
    let asked = harness.api_addresses();
    assert!(!asked.iter().any(|address| address.contains("..") || address.contains("anything=1") || address.contains("%2e")));
}

/// Regions and buckets are parts of host names, users of paths in IAM.
#[tokio::test]
async fn no_name_of_a_spec_leads_to_another_host_or_path() {
    let harness = harness("hosts", json!({})).await;
    let bob = Tenant::new(&harness, "bob", &harness.namespace).await;
    for spec in [
        json!({ "region": "us-east-1.example.com" }),
        json!({ "region": "us-east-1/" }),
        json!({ "region": "us-east-1@example.com" }),
        json!({ "region": "us-east-1\n" }),
        json!({ "bucket": { "name": "hosts/data" } }),
        json!({ "bucket": { "name": "hosts..data" } }),
        json!({ "bucket": { "name": "127.0.0.1" } }),
        json!({ "bucket": { "name": "arn:aws:s3:us-east-1:123456789012:accesspoint" } }),
        json!({ "bucket": { "name": "hosts-data?acl" } }),
        json!({ "bucket": { "prefix": "/" } }),
        json!({ "user": { "path": "/*/" } }),
        json!({ "user": { "name": "a/b" } }),
        json!({ "policy": { "name": "a/b" } }),
    ] {
        harness.proxy.take();
        match bob.apply(&bob.connection("trick", "hosts-data", spec.clone())).await {
            Ok(_) => {
                refused(&harness, "trick").await;
                assert_eq!(harness.proxy.take(), [], "{spec}");
                bob.objects.delete("trick", &Default::default()).await.unwrap();
                harness.gone("trick").await;
            }
            Err(message) => assert!(message.contains("Invalid") || message.contains("invalid"), "{spec}: {message}"),
        }
    }
}

/// Secrets and groups: foreign ones of the namespace, and groups that include everyone.
#[tokio::test]
async fn a_foreign_secret_is_neither_overwritten_nor_shown_nor_shared() {
    let harness = harness("password", json!({})).await;
    let bob = Tenant::new(&harness, "bob", &harness.namespace).await;
    let data = BTreeMap::from([("password", "hush-hush-of-the-database")]);
    let theirs = json!({ "metadata": { "name": "db-password" }, "stringData": data });
    let theirs: Secret =
        harness.secrets().create(&PostParams::default(), &serde_json::from_value(theirs).unwrap()).await.unwrap();
    let spec = json!({ "credentials": { "secret": { "name": "db-password" } }, "access": { "groups": ["lab-b"] } });
    bob.apply(&bob.connection("thief", "password-data", spec)).await.unwrap();
    let (reason, message) = refused(&harness, "thief").await;
    assert_eq!(reason, "SecretNotOwned", "{message}");
    assert_eq!(harness.secrets().get("db-password").await.unwrap(), theirs);
    let roles: Api<k8s_openapi::api::rbac::v1::Role> = Api::namespaced(harness.client.clone(), &harness.namespace);
    assert!(roles.get_opt("db-password-readers").await.unwrap().is_none(), "no one gets access to it");

    let spec = json!({ "credentials": { "source": "Existing", "existingSecretRef": { "name": "db-password" } } });
    bob.apply(&bob.connection("reader", "password-other", spec)).await.unwrap();
    assert_eq!(refused(&harness, "reader").await.0, "SecretMissing");
    let told =
        json!(harness.get("reader").await).to_string() + &json!(harness.events("reader").await).to_string() + &harness.log();
    assert!(!told.contains("hush-hush"), "its content is shown");

    for group in ["system:masters", "system:authenticated", "system:nodes", "system:serviceaccounts", " system:masters", ""] {
        let applied = bob.apply(&bob.connection("wide", "password-wide", json!({ "access": { "groups": [group] } }))).await;
        assert!(applied.is_err(), "{group:?}");
    }
}

/// Objects of tenants without any permission do not block the deletion of an AWSAccount, and an account that is being
/// deleted accepts no new ones.
#[tokio::test]
async fn only_connections_with_access_block_the_deletion_of_an_account() {
    let harness = accounts::harness("held").await;
    harness.account("held-account", json!({ "allowedNamespaces": [harness.rule(json!({ "buckets": ["held-*"] }))] })).await;
    harness.account_told("held-account", "SignedIn").await;
    let carol = Tenant { account: "held-account".to_owned(), ..Tenant::new(&harness, "carol", &harness.namespace).await };
    let mut squat = carol.connection("squat", "of-others", json!({ "deletionPolicy": "Delete", "forceDestroy": true }));
    squat["metadata"]["finalizers"] = json!([FINALIZER]);
    carol.apply(&squat).await.unwrap();
    assert_eq!(refused(&harness, "squat").await.0, "NotAllowed");
    carol.apply(&carol.connection("user", "held-data", json!({}))).await.unwrap();
    harness.ready("user").await;
    harness.accounts().delete("held-account", &Default::default()).await.unwrap();
    let (_, message) = harness.account_told("held-account", "InUse").await;
    assert!(message.contains("user") && !message.contains("squat"), "{message}");
    carol.apply(&carol.connection("late", "held-late", json!({}))).await.unwrap();
    assert_eq!(refused(&harness, "late").await.0, "AccountNotFound");
    bucket_is_not_there(&harness, "held-late").await;
    carol.objects.delete("user", &Default::default()).await.unwrap();
    harness.gone("user").await;
    while harness.accounts().get_opt("held-account").await.unwrap().is_some() {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    // Without an account there is nothing to sign in with, not even the operator's own environment.
    harness.proxy.take();
    carol.objects.delete("squat", &Default::default()).await.unwrap();
    harness.gone("squat").await;
    assert_eq!(harness.proxy.take(), []);
}

async fn bucket_is_not_there(harness: &Harness, name: &str) {
    assert!(harness.s3().head_bucket().bucket(name).send().await.is_err(), "{name} was created");
}
