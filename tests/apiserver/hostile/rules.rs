//! What no entry of the AWSAccount lists is refused, in any spelling.

use serde_json::{Value, json};

use super::{Tenant, harness, refused};
use crate::support::harness::Harness;

/// Attributes that policies depend on, and what cannot be undone: refused without an entry, and before any call to AWS.
#[tokio::test]
async fn a_tenant_gets_nothing_that_no_entry_lists() {
    let harness = Harness::new("plain").await;
    let rule = json!({ "names": [harness.namespace], "buckets": ["plain-*"], "regions": ["us-east-1"], "presets": ["ReadWrite", "IlluminaICA"] });
    let defaults = json!({ "tags": { "team": "platform", "cost-center": "4711" } });
    harness.account(&harness.namespace, json!({ "defaults": defaults, "allowedNamespaces": [rule] })).await;
    let bob = Tenant::new(&harness, "bob", &harness.namespace).await;
    let open = json!({ "blockPublicAcls": false, "blockPublicPolicy": false, "ignorePublicAcls": false, "restrictPublicBuckets": false });
    for (name, spec, expected) in [
        (
            "tags",
            json!({ "user": { "tags": { "clearance": "top", "Team": "security" } }, "bucket": { "tags": { "backup": "never" } } }),
            "bucket.tags backup (tags: none); user.tags Team (the account sets it; needs tags: [Team]); user.tags clearance (tags: none)",
        ),
        (
            "open",
            json!({ "bucket": { "publicAccessBlock": open, "ownership": "ObjectWriter", "allowWeaker": ["publicAccessBlock", "ownership"] } }),
            "needs weaken: [publicAccessBlock]",
        ),
        (
            "locked",
            json!({ "bucket": { "versioning": "Enabled", "objectLock": { "mode": "COMPLIANCE", "years": 100 } } }),
            "needs complianceRetention: true",
        ),
        ("copied", json!({ "preset": "IlluminaICA", "illuminaICA": { "crossAccountCopy": {} } }), "needs crossAccountCopy: true"),
        ("destroyer", json!({ "deletionPolicy": "Delete", "forceDestroy": true }), "needs forceDestroy: true"),
        (
            "unbound",
            json!({ "user": { "permissionsBoundary": "arn:aws:iam::aws:policy/AdministratorAccess" } }),
            "user.permissionsBoundary arn:aws:iam::aws:policy/AdministratorAccess (allowed: none)",
        ),
        (
            "hasty",
            json!({ "resyncInterval": "10s", "credentials": { "rotation": { "interval": "10s" } } }),
            "minRotationInterval: 3600s",
        ),
    ] {
        harness.proxy.take();
        bob.apply(&bob.connection(name, &format!("plain-{name}"), spec)).await.unwrap();
        let (reason, message) = refused(&harness, name).await;
        assert_eq!(reason, "NotAllowed");
        assert!(message.contains(expected), "{name}: {message}");
        assert_eq!(harness.proxy.take(), [], "{name}");
    }
}

/// Deletion ignores the entries, but a tenant who was never allowed to destroy objects must not achieve it by deletion.
#[tokio::test]
async fn force_destroy_cannot_be_added_during_deletion() {
    let mut harness = harness("destroy", json!({ "forceDestroy": false })).await;
    let bob = Tenant::new(&harness, "bob", &harness.namespace).await;
    bob.apply(&bob.connection("c", "destroy-data", json!({ "deletionPolicy": "Delete" }))).await.unwrap();
    harness.ready("c").await;
    harness.s3().put_object().bucket("destroy-data").key("runs/a").send().await.unwrap();
    harness.kill();
    bob.patch("c", json!({ "forceDestroy": true })).await.unwrap();
    bob.objects.delete("c", &Default::default()).await.unwrap();
    harness.start();
    let (reason, message) = refused(&harness, "c").await;
    assert_eq!(reason, "BucketNotEmpty", "{message}");
    assert!(message.contains("the AWSAccount does not allow forceDestroy"), "{message}");
    harness.s3().get_object().bucket("destroy-data").key("runs/a").send().await.unwrap();
}

/// A key with s3:* on its own bucket could make the bucket another tenant's, or no one's, and manage the KMS key of all
/// tenants.
#[tokio::test]
async fn a_custom_policy_reaches_neither_the_ownership_tag_nor_the_key_of_all_tenants() {
    let harness = Harness::new("trojan").await;
    let kms = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    let rule = harness.rule(json!({ "actions": null }));
    harness.account(&harness.namespace, json!({ "defaults": { "kmsKeyArn": kms }, "allowedNamespaces": [rule] })).await;
    let sam = Tenant::new(&harness, "sam", &harness.namespace).await;
    let custom =
        |statement: Value| json!({ "preset": "Custom", "policy": { "statements": [statement] }, "user": { "name": "sam" } });
    sam.apply(&sam.connection("trojan", "trojan-data", custom(json!({ "actions": ["s3:*"] })))).await.unwrap();
    harness.ready("trojan").await;
    let s3 = harness.s3_with_key("trojan-s3", "us-east-1").await;
    s3.put_object().bucket("trojan-data").key("runs/a").send().await.unwrap();
    let tag = aws_sdk_s3::types::Tag::builder().key("bucketconnection.dev/owner").value("other").build().unwrap();
    let tagging = aws_sdk_s3::types::Tagging::builder().tag_set(tag).build().unwrap();
    let stolen = s3.put_bucket_tagging().bucket("trojan-data").tagging(tagging).send().await;
    assert!(format!("{stolen:?}").contains("AccessDenied"), "{stolen:?}");
    let deleted = s3.delete_bucket_tagging().bucket("trojan-data").send().await;
    assert!(format!("{deleted:?}").contains("AccessDenied"), "{deleted:?}");
    for (statement, expected) in [
        (json!({ "actions": ["s3:PutBucketTagging"] }), "policy.statements[0].actions s3:PutBucketTagging (actions: none)"),
        (json!({ "actions": ["kms:*"], "resources": [kms] }), "kms:* cannot be allowed: of a KMS key only"),
    ] {
        sam.patch("trojan", custom(statement)).await.unwrap();
        let (_, message) = refused(&harness, "trojan").await;
        assert!(message.contains(expected), "{message}");
    }
    sam.patch("trojan", custom(json!({ "actions": ["kms:Decrypt"], "resources": [kms] }))).await.unwrap();
    harness.condition("trojan", "PolicyInSync", "True").await;
    let policy = harness.iam().get_user_policy().user_name("sam").policy_name("bucketconnection").send().await.unwrap();
    let document = percent_encoding::percent_decode_str(policy.policy_document()).decode_utf8().unwrap().into_owned();
    for expected in ["s3.us-east-1.amazonaws.com", "kms:EncryptionContext:aws:s3:arn", "arn:aws:s3:::trojan-data"] {
        assert!(document.contains(expected), "{document}");
    }
}

/// The same again, from an author who has read how it is refused.
#[tokio::test]
async fn no_spelling_widens_a_custom_policy() {
    let harness = harness("spelling", json!({ "actions": null })).await;
    let sam = Tenant::new(&harness, "sam", &harness.namespace).await;
    let (bucket, other) = ("arn:aws:s3:::spelling-data", "arn:aws:s3:::spelling-data-of-others/*");
    let with = |statement: Value| json!({ "preset": "Custom", "policy": { "statements": [statement] } });
    for (statement, expected) in [
        (json!({ "actions": ["S3:pUtBuCkEtTaGgInG"] }), "(actions: none)"),
        (json!({ "actions": ["s3:GetObject"], "resources": [other] }), "cannot be allowed"),
        (json!({ "actions": ["s3:GetObject"], "resources": [format!("{bucket}*")] }), "cannot be allowed"),
        (json!({ "actions": ["s3:GetObject"], "resources": ["arn:aws:s3:::*"] }), "cannot be allowed"),
        (json!({ "actions": ["s3:ListAllMyBuckets", "s3:GetObject"], "resources": ["*"] }), "cannot be allowed"),
        (json!({ "actions": ["s3:ListAllMyBucket?"], "resources": ["*"] }), "cannot be allowed"),
        (json!({ "actions": ["sts:GetFederation*"], "resources": ["*"] }), "cannot be allowed"),
        (json!({ "actions": ["*:*"], "resources": [bucket] }), "actions"),
        (json!({ "actions": ["*"], "resources": [bucket] }), "actions"),
        (json!({ "actions": ["s?:PutBucketTagging"] }), "actions"),
        (json!({ "actions": ["s3:PutBucketTagging\u{212a}"] }), "actions"),
        (json!({ "sid": "BucketConnectionReserved", "effect": "Allow", "actions": ["s3:*"] }), "of the operator's own"),
        (json!({ "actions": ["s3:GetObject"], "resources": [format!("{bucket}/${{aws:PrincipalTag/x}}")] }), "policy variables"),
        (json!({ "actions": ["s3:GetObject"], "notResources": [other] }), "no such field: notResources"),
        (json!({ "notActions": ["s3:GetObject"], "actions": ["s3:GetObject"] }), "no such field: notActions"),
        (json!({ "actions": ["s3:GetObject"], "condition": {} }), "no such field: condition"),
    ] {
        let object = sam.connection("trick", "spelling-data", with(statement.clone()));
        let message = match sam.apply(&object).await {
            Ok(_) => refused(&harness, "trick").await.1,
            Err(message) => message,
        };
        assert!(message.contains(expected) || message.contains("must be written like s3:GetObject"), "{statement}: {message}");
    }
    assert!(harness.s3().list_buckets().send().await.unwrap().buckets().is_empty());
    // For each wildcard that matches it there is the Deny; the order in the policy does not matter.
    for action in ["s3:*", "s3:P*g", "s3:PutBucketTaggin?", "s3:????????????????", "s3:*BUCKETTAGGING"] {
        sam.apply(&sam.connection("trick", "spelling-data", with(json!({ "actions": [action] })))).await.unwrap();
        harness.condition("trick", "PolicyInSync", "True").await;
        let user = format!("{}.trick", harness.namespace);
        let policy = harness.iam().get_user_policy().user_name(user).policy_name("bucketconnection").send().await.unwrap();
        let document = percent_encoding::percent_decode_str(policy.policy_document()).decode_utf8().unwrap().into_owned();
        let document: Value = serde_json::from_str(&document).unwrap();
        let deny = document["Statement"].as_array().unwrap().iter().find(|statement| statement["Effect"] == "Deny").unwrap();
        assert!(deny["Action"].to_string().contains("s3:PutBucket"), "{action}: {document}");
        assert!(deny.get("Condition").is_none(), "{document}");
    }
}

/// Lockouts: a Deny that the operator could not remove, by names and by conditions.
#[tokio::test]
async fn no_statement_locks_the_operator_out() {
    let harness = harness("lockout", json!({})).await;
    let sam = Tenant::new(&harness, "sam", &harness.namespace).await;
    let operator = "arn:aws:iam::123456789012:user/operator";
    let like = |value: &str| json!({ "StringLike": { "aws:PrincipalArn": [value] } });
    for (principals, conditions) in [
        (json!({ "AWS": ["*"] }), json!({})),
        (json!({ "AWS": [operator, "arn:aws:iam::123456789012:user/administrator"] }), json!({})),
        (json!({ "AWS": ["123456789012"] }), json!({})),
        (json!({ "AWS": ["*"] }), like("*")),
        (json!({ "AWS": ["*"] }), like("arn:aws:iam::*:user/op?rator")),
        (json!({ "AWS": ["*"] }), json!({ "Bool": { "aws:SecureTransport": ["true"] } })),
        (json!({ "AWS": ["*"] }), json!({ "StringNotLike": { "aws:PrincipalArn": ["arn:aws:iam::123456789012:user/lab-*"] } })),
        (json!({ "AWS": ["*"] }), json!({ "IpAddress": { "aws:SourceIp": ["127.0.0.1"] } })),
        (json!({ "AWS": ["*"] }), json!({ "Null": { "aws:TokenIssueTime": ["true"] } })),
        (json!({ "AWS": ["*"] }), json!({ "StringLike": { "aws:userid": ["*"] } })),
        (json!({ "CanonicalUser": ["79a59df900b949e55d96a1e698fbacedfd6e09d98eacf8f8d5218e7cd47ef2be"] }), json!({})),
    ] {
        for action in ["s3:*", "s3:PutBucketPolic?", "s3:*POLICY", "*"] {
            let statement = json!({ "sid": "Deny", "effect": "Deny", "principals": principals, "actions": [action], "conditions": conditions });
            let object = sam.connection("c", "lockout-data", json!({ "bucket": { "policyStatements": [statement] } }));
            let message = match sam.apply(&object).await {
                Ok(_) => refused(&harness, "c").await.1,
                Err(message) => message,
            };
            let expected =
                if action == "*" { "actions must be written like" } else { "may deny the operator access to the bucket policy" };
            assert!(message.contains(expected), "{statement}: {message}");
        }
    }
    assert!(harness.s3().list_buckets().send().await.unwrap().buckets().is_empty());
}
