//! A tenant that only names a foreign resource in AWS does not get it.

use serde_json::json;

use super::{Tenant, harness, refused};

#[tokio::test]
async fn a_lockdown_and_a_boundary_of_the_security_team_stay() {
    let harness = harness("lockdown", json!({})).await;
    let bob = Tenant::new(&harness, "bob", &harness.namespace).await;
    bob.apply(&bob.connection("imaging", "lockdown-data", json!({ "user": { "name": "imaging" } }))).await.unwrap();
    harness.ready("imaging").await;
    let (iam, s3) = (harness.iam(), harness.s3_with_key("imaging-s3", "us-east-1").await);
    let works = async || s3.delete_object().bucket("lockdown-data").key("runs/x").send().await.is_ok();
    assert!(works().await);
    // Not a Deny of the calls that verify the key: otherwise each reconcile would wait for it.
    let deny = json!({ "Effect": "Deny", "Action": "s3:DeleteObject", "Resource": "*" });
    let deny = json!({ "Version": "2012-10-17", "Statement": [deny] }).to_string();
    iam.put_user_policy().user_name("imaging").policy_name("SecurityLockdown").policy_document(&deny).send().await.unwrap();
    assert!(!works().await);

    bob.patch("imaging", json!({ "policy": { "name": "SecurityLockdown" } })).await.unwrap();
    let (reason, message) = refused(&harness, "imaging").await;
    assert_eq!(reason, "PolicyNotOwned", "{message}");
    bob.patch("imaging", json!({ "policy": null })).await.unwrap();
    harness.ready("imaging").await;
    let live = iam.get_user_policy().user_name("imaging").policy_name("SecurityLockdown").send().await.unwrap();
    assert!(live.policy_document().contains("Deny") && !works().await);
    let error = bob.patch("imaging", json!({ "policy": { "name": "bucketconnection-REVOKED" } })).await.unwrap_err();
    assert!(error.contains("policy.name must not be bucketconnection-revoked"), "{error}");

    iam.delete_user_policy().user_name("imaging").policy_name("SecurityLockdown").send().await.unwrap();
    let document = json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Action": "s3:*", "Resource": "*" }] });
    let policy = iam.create_policy().policy_name("security-boundary").policy_document(document.to_string()).send().await.unwrap();
    let arn = policy.policy.unwrap().arn.unwrap();
    iam.put_user_permissions_boundary().user_name("imaging").permissions_boundary(&arn).send().await.unwrap();
    harness.check("imaging").await;
    bob.patch("imaging", json!({ "user": { "permissionsBoundary": "arn:aws:iam::aws:policy/AdministratorAccess" } }))
        .await
        .unwrap();
    let (reason, message) = refused(&harness, "imaging").await;
    assert_eq!(reason, "BoundaryNotOwned", "{message}");
    let live = iam.get_user().user_name("imaging").send().await.unwrap().user.unwrap();
    assert_eq!(live.permissions_boundary.unwrap().permissions_boundary_arn, Some(arn));
}

/// A user that someone else created keeps its permissions to itself, and a bucket that existed before keeps its
/// objects.
#[tokio::test]
async fn adoption_gives_no_more_than_it_says() {
    let harness = harness("adopter", json!({ "adoption": { "approval": "Account" } })).await;
    let bob = Tenant::new(&harness, "bob", &harness.namespace).await;
    let ci = format!("{}.ci", harness.namespace);
    harness.iam().create_user().user_name(&ci).path("/bucketconnection/").send().await.unwrap();
    let wide = json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Action": "iam:*", "Resource": "*" }] });
    harness.iam().put_user_policy().user_name(&ci).policy_name("admin").policy_document(wide.to_string()).send().await.unwrap();
    bob.apply(&bob.connection("ci", "adopter-new", json!({ "user": { "adopt": true } }))).await.unwrap();
    let (reason, message) = refused(&harness, "ci").await;
    assert!(reason == "UserNotOwned" && message.contains("inline policy admin"), "{message}");
    assert!(harness.keys(&ci).await.is_empty());

    harness.s3().create_bucket().bucket("adopter-archive").send().await.unwrap();
    harness.s3().put_object().bucket("adopter-archive").key("old").send().await.unwrap();
    let spec = json!({ "bucket": { "adopt": true, "versioning": "Enabled" }, "deletionPolicy": "Delete", "forceDestroy": true });
    bob.apply(&bob.connection("archive", "adopter-archive", spec)).await.unwrap();
    let object = harness.until("archive", "a plan", |o| o.status.as_ref().is_some_and(|status| status.adoption.is_some())).await;
    let hash = object.status.unwrap().adoption.unwrap().plan_hash;
    // A tenant's own approval does not count.
    bob.patch("archive", json!({ "approvedPlan": hash })).await.unwrap();
    let (reason, message) = refused(&harness, "archive").await;
    assert!(
        reason == "AwaitingApproval" && message.contains(&format!("have {hash} added to adoption.approvedPlans")),
        "{message}"
    );
    let rule = harness.rule(json!({ "adoption": { "approval": "Account", "approvedPlans": [hash] } }));
    harness.account(&harness.namespace, json!({ "accountId": "123456789012", "allowedNamespaces": [rule] })).await;
    harness.ready("archive").await;
    bob.objects.delete("archive", &Default::default()).await.unwrap();
    let (reason, message) = refused(&harness, "archive").await;
    assert!(reason == "BucketNotEmpty" && message.contains("it existed before this BucketConnection"), "{message}");
    harness.s3().get_object().bucket("adopter-archive").key("old").send().await.unwrap();
}

/// A bucket policy and lifecycle rules have foreign parts, distinguished by names that a tenant chooses.
#[tokio::test]
async fn a_rule_of_the_legal_department_is_not_adopted_by_its_name() {
    let harness = harness("legal", json!({ "adoption": { "approval": "Account" } })).await;
    let bob = Tenant::new(&harness, "bob", &harness.namespace).await;
    bob.apply(&bob.connection("c", "legal-data", json!({}))).await.unwrap();
    harness.ready("c").await;
    let s3 = harness.s3();
    let held = || async {
        let rules = s3.get_bucket_lifecycle_configuration().bucket("legal-data").send().await.unwrap();
        let policy = s3.get_bucket_policy().bucket("legal-data").send().await.unwrap().policy.unwrap();
        let hold = rules.rules().iter().find(|rule| rule.id() == Some("legal-hold")).unwrap().clone();
        let guard = policy.contains("arn:aws:iam::999988887777:root") && policy.contains("Deny") && policy.contains("Guard");
        hold.transitions().len() == 1 && hold.expiration().is_none() && guard
    };
    hold(&s3).await;
    assert!(held().await);

    let rules = |id: &str, days: usize| json!({ "rules": [{ "id": id, "expiration": { "days": days } }] });
    let statement =
        json!([{ "sid": "Guard", "effect": "Allow", "principals": { "AWS": ["999988887777"] }, "actions": ["s3:GetObject"] }]);
    let own =
        json!({ "id": "legal-hold", "filter": { "prefix": "" }, "transitions": [{ "days": 1, "storageClass": "GLACIER" }] });
    for (what, bucket) in [
        ("lifecycle", json!({ "lifecycle": rules("legal-hold", 1) })),
        ("policy", json!({ "lifecycle": null, "policyStatements": statement, "allowWeaker": ["policyStatements"] })),
        // The same text at first, so that it looks managed.
        ("copy", json!({ "policyStatements": null, "lifecycle": { "rules": [own] } })),
        ("copied", json!({ "lifecycle": rules("legal-hold", 1) })),
    ] {
        bob.patch("c", json!({ "bucket": bucket })).await.unwrap();
        if what == "copy" {
            harness.ready("c").await;
        } else {
            let (reason, message) = refused(&harness, "c").await;
            assert_eq!(reason, "RuleNotOwned", "{what}: {message}");
        }
        assert!(held().await, "{what}");
    }
    // What is removed from the spec was never managed, so it stays.
    bob.patch("c", json!({ "bucket": { "lifecycle": rules("mine", 1), "policyStatements": [] } })).await.unwrap();
    harness.ready("c").await;
    assert!(held().await);
    // Only the platform team can approve the adoption.
    bob.patch("c", json!({ "bucket": { "adopt": true, "lifecycle": rules("legal-hold", 1) } })).await.unwrap();
    let (reason, message) = refused(&harness, "c").await;
    assert!(reason == "AwaitingApproval" && message.contains("adoption.approvedPlans"), "{message}");
    assert!(held().await);
}

/// A lifecycle rule and a statement that only their authors should change.
async fn hold(s3: &aws_sdk_s3::Client) {
    use aws_sdk_s3::types::{
        BucketLifecycleConfiguration, ExpirationStatus, LifecycleRule, LifecycleRuleFilter, Transition, TransitionStorageClass,
    };
    let rule = LifecycleRule::builder()
        .id("legal-hold")
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().prefix("").build())
        .transitions(Transition::builder().days(1).storage_class(TransitionStorageClass::Glacier).build())
        .build()
        .unwrap();
    let rules = BucketLifecycleConfiguration::builder().rules(rule).build().unwrap();
    s3.put_bucket_lifecycle_configuration().bucket("legal-data").lifecycle_configuration(rules).send().await.unwrap();
    let deny = json!({ "Sid": "Guard", "Effect": "Deny", "Principal": { "AWS": "arn:aws:iam::999988887777:root" }, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::legal-data/*" });
    let policy = json!({ "Version": "2012-10-17", "Statement": [deny] }).to_string();
    s3.put_bucket_policy().bucket("legal-data").policy(policy).send().await.unwrap();
}
