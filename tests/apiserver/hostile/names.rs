//! Names: what they refer to, who owns them, and what a tenant can learn from them.

use std::collections::BTreeMap;

use bucketconnection::api::FINALIZER;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

use super::{Tenant, lab, refused, uid};
use crate::accounts;
use crate::support::lab::Lab;

#[tokio::test]
async fn observing_shows_nothing_of_another_tenants_bucket() {
    let lab = lab("observed", json!({ "names": ["*"] })).await;
    let owner = format!("{}/board/merger-with-acme", uid(&lab).await);
    lab.s3().create_bucket().bucket("observed-data").send().await.unwrap();
    let tag = |key: &str, value: &str| aws_sdk_s3::types::Tag::builder().key(key).value(value).build().unwrap();
    let tags = aws_sdk_s3::types::Tagging::builder()
        .tag_set(tag("bucketconnection.dev/owner", &owner))
        .tag_set(tag("project", "merger with ACME"))
        .build()
        .unwrap();
    lab.s3().put_bucket_tagging().bucket("observed-data").tagging(tags).send().await.unwrap();
    let bob = Tenant::new(&lab, "bob", &lab.namespace).await;
    bob.apply(&bob.connection("spy", "observed-data", json!({ "management": { "default": "Observe" } }))).await.unwrap();
    let (reason, message) = refused(&lab, "spy").await;
    assert_eq!(reason, "BucketNotOwned", "{message}");
    let status = json!(lab.get("spy").await.status).to_string().to_lowercase();
    assert!(!status.contains("merger") && !status.contains("board"), "{status}");
    // The operator's log names the owner.
    assert!(lab.log().contains("board/merger-with-acme"));
}

#[tokio::test]
async fn an_object_that_can_never_become_valid_holds_no_name() {
    let lab = lab("squatter", json!({})).await;
    let bob = Tenant::new(&lab, "bob", &lab.namespace).await;
    let nonsense = json!({ "management": { "nonsense": "Ignore" } });
    bob.apply(&bob.connection("squatter", "squatted-data", nonsense)).await.unwrap();
    assert_eq!(refused(&lab, "squatter").await.0, "InvalidSpec");
    bob.apply(&bob.connection("honest", "squatted-data", json!({}))).await.unwrap();
    lab.ready("honest").await;
}

/// Each of these became part of a request path that the operator uses with its own identity.
#[tokio::test]
async fn no_name_of_a_spec_leads_to_another_request() {
    let lab = lab("paths", json!({})).await;
    let bob = Tenant::new(&lab, "bob", &lab.namespace).await;
    let account = &lab.namespace;
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
    lab.ready("honest").await;
    let asked = lab.api_addresses();
    assert!(!asked.iter().any(|address| address.contains("..") || address.contains("anything=1") || address.contains("%2e")));
}

/// Regions and buckets are parts of host names, users of paths in IAM.
#[tokio::test]
async fn no_name_of_a_spec_leads_to_another_host_or_path() {
    let lab = lab("hosts", json!({})).await;
    let bob = Tenant::new(&lab, "bob", &lab.namespace).await;
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
        lab.proxy.take();
        match bob.apply(&bob.connection("trick", "hosts-data", spec.clone())).await {
            Ok(_) => {
                refused(&lab, "trick").await;
                assert_eq!(lab.proxy.take(), [], "{spec}");
                bob.objects.delete("trick", &Default::default()).await.unwrap();
                lab.gone("trick").await;
            }
            Err(message) => assert!(message.contains("Invalid") || message.contains("invalid"), "{spec}: {message}"),
        }
    }
}

/// Secrets and groups: foreign ones of the namespace, and groups that include everyone.
#[tokio::test]
async fn a_secret_of_others_is_neither_overwritten_nor_shown_nor_shared() {
    let lab = lab("password", json!({})).await;
    let bob = Tenant::new(&lab, "bob", &lab.namespace).await;
    let data = BTreeMap::from([("password", "hush-hush-of-the-database")]);
    let theirs = json!({ "metadata": { "name": "db-password" }, "stringData": data });
    let theirs: Secret = lab.secrets().create(&PostParams::default(), &serde_json::from_value(theirs).unwrap()).await.unwrap();
    let spec = json!({ "credentials": { "secret": { "name": "db-password" } }, "access": { "groups": ["lab-b"] } });
    bob.apply(&bob.connection("thief", "password-data", spec)).await.unwrap();
    let (reason, message) = refused(&lab, "thief").await;
    assert_eq!(reason, "SecretNotOwned", "{message}");
    assert_eq!(lab.secrets().get("db-password").await.unwrap(), theirs);
    let roles: Api<k8s_openapi::api::rbac::v1::Role> = Api::namespaced(lab.client.clone(), &lab.namespace);
    assert!(roles.get_opt("db-password-readers").await.unwrap().is_none(), "nobody is given it");

    let spec = json!({ "credentials": { "source": "Existing", "existingSecretRef": { "name": "db-password" } } });
    bob.apply(&bob.connection("reader", "password-other", spec)).await.unwrap();
    assert_eq!(refused(&lab, "reader").await.0, "SecretMissing");
    let told = json!(lab.get("reader").await).to_string() + &json!(lab.events("reader").await).to_string() + &lab.log();
    assert!(!told.contains("hush-hush"), "its content is told");

    for group in ["system:masters", "system:authenticated", "system:nodes", "system:serviceaccounts", " system:masters", ""] {
        let applied = bob.apply(&bob.connection("wide", "password-wide", json!({ "access": { "groups": [group] } }))).await;
        assert!(applied.is_err(), "{group:?}");
    }
}

/// Objects of tenants without any permission do not block the deletion of an AWSAccount, and an account that is being
/// deleted accepts no new ones.
#[tokio::test]
async fn an_account_is_held_by_those_who_use_it_only() {
    let lab = accounts::lab("held").await;
    lab.account("held-account", json!({ "allowedNamespaces": [lab.rule(json!({ "buckets": ["held-*"] }))] })).await;
    lab.account_told("held-account", "SignedIn").await;
    let carol = Tenant { account: "held-account".to_owned(), ..Tenant::new(&lab, "carol", &lab.namespace).await };
    let mut squat = carol.connection("squat", "of-others", json!({ "deletionPolicy": "Delete", "forceDestroy": true }));
    squat["metadata"]["finalizers"] = json!([FINALIZER]);
    carol.apply(&squat).await.unwrap();
    assert_eq!(refused(&lab, "squat").await.0, "NotAllowed");
    carol.apply(&carol.connection("user", "held-data", json!({}))).await.unwrap();
    lab.ready("user").await;
    lab.accounts().delete("held-account", &Default::default()).await.unwrap();
    let (_, message) = lab.account_told("held-account", "InUse").await;
    assert!(message.contains("user") && !message.contains("squat"), "{message}");
    carol.apply(&carol.connection("late", "held-late", json!({}))).await.unwrap();
    assert_eq!(refused(&lab, "late").await.0, "AccountNotFound");
    bucket_is_not_there(&lab, "held-late").await;
    carol.objects.delete("user", &Default::default()).await.unwrap();
    lab.gone("user").await;
    while lab.accounts().get_opt("held-account").await.unwrap().is_some() {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    // Without an account there is nothing to sign in with, not even the operator's own environment.
    lab.proxy.take();
    carol.objects.delete("squat", &Default::default()).await.unwrap();
    lab.gone("squat").await;
    assert_eq!(lab.proxy.take(), []);
}

async fn bucket_is_not_there(lab: &Lab, name: &str) {
    assert!(lab.s3().head_bucket().bucket(name).send().await.is_err(), "{name} was created");
}
