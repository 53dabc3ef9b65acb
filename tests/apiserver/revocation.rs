//! A revocation in every state (docs/operations.md, "A leaked key"): each row of the table there is a test here, or in
//! unreadable.rs and existing.rs.

use bucketconnection::api::{FINALIZER, REVOKE_AT, ROTATE_AT};
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::support::harness::{Harness, told};
use crate::support::proxy::Fault;

/// The operator carries out a revocation, and the object stays as it is otherwise.
async fn cut_off(harness: &Harness, user: &str, request: &str) {
    harness.patch("c", json!({ "metadata": { "annotations": { REVOKE_AT: request } } })).await;
    let done = harness
        .until("c", "a revocation", |object| {
            let known = object.status.as_ref().and_then(|status| status.memory.credentials.as_ref());
            known.is_some_and(|known| known.last_handled_revoke_at.as_deref() == Some(request))
        })
        .await;
    assert_eq!(told(&done, "RevocationComplete").0, "True");
    let denial = harness.iam().get_user_policy().user_name(user).policy_name("bucketconnection-revoked").send().await.unwrap();
    assert!(denial.policy_document.contains("TokenIssueTime"), "{}", denial.policy_document);
}

/// A connection that is Ready, with names that no other test has.
async fn connected(name: &str, spec: Value) -> (Harness, String) {
    let harness = Harness::new(name).await;
    let user = format!("user-{name}");
    let mut whole = json!({ "preset": "ReadWrite", "user": { "name": user } });
    crate::support::merge::merge(&mut whole, spec);
    harness.apply(&harness.connection(&format!("bucket-{name}"), whole)).await;
    harness.ready("c").await;
    (harness, user)
}

/// The same, in its own account, whose name is returned.
async fn connected_to(name: &str) -> (Harness, String, String) {
    let harness = Harness::new(name).await;
    let (account, user) = (harness.namespace.clone(), format!("user-{name}"));
    harness.account(&account, json!({ "allowedNamespaces": [harness.rule(json!({}))] })).await;
    let spec = json!({ "preset": "ReadWrite", "user": { "name": user }, "accountRef": { "name": account } });
    harness.apply(&harness.connection(&format!("bucket-{name}"), spec)).await;
    harness.ready("c").await;
    (harness, user, account)
}

async fn revoked_in(name: &str, break_it: Value, reason: &str) {
    let (harness, user) = connected(name, json!({})).await;
    harness.patch("c", break_it).await;
    harness.until("c", reason, |object| ["Ready", "Reconciling"].iter().any(|kind| told(object, kind).1 == reason)).await;
    cut_off(&harness, &user, "1").await;
    assert_eq!(harness.keys(&user).await, [""; 0], "{name}");
    let object =
        harness.until("c", reason, |object| ["Ready", "Reconciling"].iter().any(|kind| told(object, kind).1 == reason)).await;
    assert_eq!(told(&object, "Ready").0, "False");
}

#[tokio::test]
async fn a_suspended_connection_is_revoked() {
    revoked_in("cutsuspend", json!({ "spec": { "suspend": true } }), "Suspended").await;
}

#[tokio::test]
async fn an_invalid_connection_is_revoked() {
    revoked_in("cutinvalid", json!({ "spec": { "management": { "nonsense": "Ignore" } } }), "InvalidSpec").await;
}

#[tokio::test]
async fn a_connection_that_is_no_longer_allowed_is_revoked() {
    let (harness, user, account) = connected_to("cutrule").await;
    harness.account(&account, json!({ "allowedNamespaces": [] })).await;
    harness.until("c", "NotAllowed", |object| told(object, "Ready").1 == "NotAllowed").await;
    cut_off(&harness, &user, "1").await;
    assert_eq!(harness.keys(&user).await, [""; 0]);
}

#[tokio::test]
async fn a_connection_whose_bucket_became_foreign_is_revoked() {
    let (harness, user) = connected("cutbucket", json!({})).await;
    let tag = aws_sdk_s3::types::Tag::builder().key("bucketconnection.dev/owner").value("another").build().unwrap();
    let tagging = aws_sdk_s3::types::Tagging::builder().tag_set(tag).build().unwrap();
    harness.s3().put_bucket_tagging().bucket("bucket-cutbucket").tagging(tagging).send().await.unwrap();
    harness.check("c").await;
    harness.until("c", "BucketNotOwned", |object| told(object, "Ready").1 == "BucketNotOwned").await;
    cut_off(&harness, &user, "1").await;
    assert_eq!(harness.keys(&user).await, [""; 0]);
    assert!(harness.get("c").await.metadata.finalizers.unwrap().iter().any(|name| name == FINALIZER));
}

/// A reconcile that waits for a key to propagate does not delay a revocation.
#[tokio::test]
async fn a_connection_whose_key_propagates_is_revoked() {
    let harness = Harness::new("spreading").await;
    harness.proxy.fault("s3:ListBucket", Fault::Answer(403, "AccessDenied"), usize::MAX);
    harness
        .apply(&harness.connection("bucket-spreading", json!({ "preset": "ReadWrite", "user": { "name": "spreading" } })))
        .await;
    while harness.proxy.count("s3:ListBucket") < 3 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let tried = harness.proxy.count("s3:ListBucket");
    cut_off(&harness, "spreading", "1").await;
    assert!(harness.proxy.count("s3:ListBucket") <= tried + 3, "it went on trying the key");
}

#[tokio::test]
async fn a_connection_whose_account_was_deleted_is_revoked() {
    let (harness, user, account) = connected_to("cutaccount").await;
    harness.accounts().delete(&account, &DeleteParams::default()).await.unwrap();
    harness.until("c", "AccountNotFound", |object| told(object, "Ready").1 == "AccountNotFound").await;
    cut_off(&harness, &user, "1").await;
    assert_eq!(harness.keys(&user).await, [""; 0]);
}

#[tokio::test]
async fn a_connection_in_an_overlap_is_revoked() {
    let (harness, user) = connected("cutoverlap", json!({ "credentials": { "rotation": { "overlap": "1d" } } })).await;
    let first = harness.keys(&user).await;
    harness.patch("c", json!({ "metadata": { "annotations": { ROTATE_AT: "1" } } })).await;
    let rotated = |object: &bucketconnection::api::BucketConnection| {
        let known = object.status.as_ref().and_then(|status| status.memory.credentials.as_ref());
        known.is_some_and(|known| known.previous.is_some() && known.pending.is_none())
    };
    harness.until("c", "an overlap", rotated).await;
    let both = harness.keys(&user).await;
    assert_eq!(both.len(), 2);
    cut_off(&harness, &user, "1").await;
    harness.ready("c").await;
    let left = harness.keys(&user).await;
    assert!(left.len() == 1 && !both.contains(&left[0]) && !first.contains(&left[0]), "{both:?} {left:?}");
}

#[tokio::test]
async fn a_quarantined_connection_is_revoked() {
    let (harness, user) = connected("cutleaked", json!({})).await;
    let iam = harness.iam();
    let deny = json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Deny", "Action": "ec2:*", "Resource": "*" }] });
    let policy = iam.create_policy().policy_name("AWSCompromisedKeyQuarantineV2").policy_document(deny.to_string()).send().await;
    let arn = policy.unwrap().policy.unwrap().arn.unwrap();
    iam.attach_user_policy().user_name(&user).policy_arn(&arn).send().await.unwrap();
    harness.check("c").await;
    harness.until("c", "KeyCompromised", |object| told(object, "Ready").1 == "KeyCompromised").await;
    cut_off(&harness, &user, "1").await;
    harness.until("c", "KeyCompromised", |object| told(object, "Ready").1 == "KeyCompromised").await;
    assert_eq!(harness.keys(&user).await, [""; 0], "no key is issued before AWS's policy is detached");
    iam.detach_user_policy().user_name(&user).policy_arn(&arn).send().await.unwrap();
    harness.check("c").await;
    harness.ready("c").await;
}

#[tokio::test]
async fn a_connection_that_is_being_deleted_is_revoked() {
    let (harness, user) = connected("cutdeleted", json!({ "deletionPolicy": "Delete" })).await;
    harness.s3().put_object().bucket("bucket-cutdeleted").key("runs/x").body(vec![1].into()).send().await.unwrap();
    // A foreign key keeps the user, the object keeps the bucket.
    harness.iam().create_access_key().user_name(&user).send().await.unwrap();
    harness.delete("c").await;
    harness.until("c", "a report of what blocks it", |object| told(object, "Stalled").0 == "True").await;
    cut_off(&harness, &user, "1").await;
    assert_eq!(harness.keys(&user).await.len(), 1, "the key of others stays, and is denied what was before");
    let stays = harness.until("c", "the deletion", |object| told(object, "Stalled").0 == "True").await;
    assert!(told(&stays, "RevocationComplete").2.contains("foreign access keys stay"));
}

/// No recorded state is left: the operator recognizes the user by its tags, and then revokes its keys.
#[tokio::test]
async fn a_connection_whose_status_was_lost_is_revoked() {
    let (harness, user) = connected("cutforgotten", json!({})).await;
    let before = harness.keys(&user).await;
    let forged = kube::api::Patch::Merge(json!({ "status": { "user": { "name": "another" } } }));
    harness.objects().patch_status("c", &Default::default(), &forged).await.unwrap();
    cut_off(&harness, &user, "1").await;
    harness.ready("c").await;
    let after = harness.keys(&user).await;
    assert!(after.len() == 1 && after != before, "{before:?} {after:?}");
}

/// Others filled the room for inline policies: the keys are still deleted, the status reports it, and the operator's
/// own policy makes room.
#[tokio::test]
async fn a_user_without_room_for_the_denial_is_revoked() {
    let (harness, user) = connected("cutquota", json!({})).await;
    harness.proxy.fault("iam:PutUserPolicy", Fault::Answer(409, "LimitExceeded"), 1);
    harness.proxy.take();
    cut_off(&harness, &user, "1").await;
    let requests: Vec<_> = crate::support::harness::writes(&harness.proxy.take());
    let place = |action: &str| requests.iter().position(|request| request == action);
    assert!(place("iam:DeleteAccessKey") < place("iam:DeleteUserPolicy"), "{requests:?}");
    harness.ready("c").await;
    assert_eq!(harness.keys(&user).await.len(), 1);
}
