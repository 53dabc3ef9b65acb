//! Revocation: whatever the tenant does to its object, the operator carries out a revocation. `remembers.rs` has
//! suspended, invalid and not allowed objects, and those whose bucket became foreign; `unreadable.rs` has those that
//! cannot be read; `load.rs` has another tenant's load.

use aws_sdk_iam::types::{StatusType, Tag};
use bucketconnection::api::{FINALIZER, REQUESTED_AT, REVOKE_AT, ROTATE_AT};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::{Tenant, harness, refused};
use crate::support::harness::{Harness, told};

/// Requests a revocation, as the platform team does; the key in the Secret is deleted, and its sessions are denied.
async fn cut_off(harness: &Harness, name: &str, user: &str, request: &str) {
    harness.patch(name, json!({ "metadata": { "annotations": { REVOKE_AT: request } } })).await;
    let done = harness
        .until(name, "a revocation", |object| {
            let known = object.status.as_ref().and_then(|status| status.memory.credentials.as_ref());
            known.is_some_and(|known| known.last_handled_revoke_at.as_deref() == Some(request))
        })
        .await;
    assert_eq!(told(&done, "RevocationComplete").0, "True", "{request}");
    let denial = harness.iam().get_user_policy().user_name(user).policy_name("bucketconnection-revoked").send().await.unwrap();
    assert!(denial.policy_document().contains("Deny"), "{request}");
}

#[tokio::test]
async fn no_change_of_the_spec_prevents_it() {
    let harness = harness("brake", json!({})).await;
    let bob = Tenant::new(&harness, "bob", &harness.namespace).await;
    let user = format!("{}.c", harness.namespace);
    bob.apply(&bob.connection("c", "brake-data", json!({}))).await.unwrap();
    harness.ready("c").await;
    for (request, spec) in [
        ("observed", json!({ "management": { "default": "Observe" } })),
        ("ignored", json!({ "management": { "default": null, "credentials": "Ignore", "user": "Ignore", "policy": "Ignore" } })),
        ("hidden", json!({ "management": { "default": "Ignore" }, "suspend": true })),
        ("elsewhere", json!({ "suspend": null, "management": null, "credentials": { "secret": { "name": "elsewhere" } } })),
        ("renamed", json!({ "policy": { "name": "another" } })),
        ("managed", json!({ "policy": { "type": "Managed", "name": null } })),
    ] {
        bob.patch("c", spec.clone()).await.unwrap();
        let keys = harness.keys(&user).await;
        cut_off(&harness, "c", &user, request).await;
        let now = harness.keys(&user).await;
        assert!(keys.iter().all(|key| !now.contains(key)), "{request}: {keys:?} {now:?}");
        if request == "elsewhere" || request == "renamed" || request == "managed" {
            harness.ready("c").await;
        }
    }
    // Another key is issued as usual once the object is valid again.
    bob.patch("c", json!({ "policy": null, "credentials": null })).await.unwrap();
    harness.ready("c").await;
    assert_eq!(harness.keys(&user).await.len(), 1);
}

/// Neither a waiting deletion nor a Secret of the tenant that cannot be written delays it.
#[tokio::test]
async fn neither_a_waiting_deletion_nor_the_secret_prevents_it() {
    let harness = harness("waiting", json!({})).await;
    let bob = Tenant::new(&harness, "bob", &harness.namespace).await;
    let user = format!("{}.c", harness.namespace);
    bob.apply(&bob.connection("c", "waiting-data", json!({ "deletionPolicy": "Delete" }))).await.unwrap();
    harness.ready("c").await;
    let old = harness.keys(&user).await;
    let immutable = Patch::Merge(json!({ "immutable": true, "metadata": { "finalizers": ["example.org/hold"] } }));
    bob.secrets.patch("c-s3", &PatchParams::default(), &immutable).await.unwrap();
    cut_off(&harness, "c", &user, "immutable").await;
    assert!(harness.keys(&user).await.iter().all(|key| !old.contains(key)));
    let mutable = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    bob.secrets.patch("c-s3", &PatchParams::default(), &mutable).await.unwrap();
    bob.secrets.delete("c-s3", &Default::default()).await.unwrap();
    harness.check("c").await;
    harness.ready("c").await;

    harness.s3().put_object().bucket("waiting-data").key("runs/a").send().await.unwrap();
    let old = harness.keys(&user).await;
    bob.objects.delete("c", &Default::default()).await.unwrap();
    assert_eq!(refused(&harness, "c").await.0, "BucketNotEmpty");
    let s3 = harness.s3();
    if harness.iam().get_user().user_name(&user).send().await.is_ok() {
        harness.patch("c", json!({ "metadata": { "annotations": { REVOKE_AT: "deleted" } } })).await;
        harness.check("c").await;
        assert!(harness.keys(&user).await.iter().all(|key| !old.contains(key)));
    }
    assert!(harness.get("c").await.metadata.finalizers.unwrap().iter().any(|name| name == FINALIZER));
    s3.delete_object().bucket("waiting-data").key("runs/a").send().await.unwrap();
    bob.annotate("c", REQUESTED_AT, "now").await;
    harness.gone("c").await;
}

/// With the tag `bucketconnection.dev/hold` on the user, its keys stay as a person left them; a revocation still works.
#[tokio::test]
async fn a_key_on_hold_is_not_changed() {
    let harness = harness("hold", json!({})).await;
    let bob = Tenant::new(&harness, "bob", &harness.namespace).await;
    let user = format!("{}.c", harness.namespace);
    bob.apply(&bob.connection("c", "hold-data", json!({}))).await.unwrap();
    harness.ready("c").await;
    let iam = harness.iam();
    let key = harness.keys(&user).await.remove(0);
    let tag = Tag::builder().key("bucketconnection.dev/hold").value("INC-1").build().unwrap();
    iam.tag_user().user_name(&user).tags(tag).send().await.unwrap();
    let off = || iam.update_access_key().user_name(&user).access_key_id(&key).status(StatusType::Inactive);
    off().send().await.unwrap();
    harness.check("c").await;
    let object = harness.condition("c", "Stalled", "True").await;
    assert_eq!(told(&object, "Ready").1, "UserOnHold");
    // A deleted key is not replaced, and no request of the tenant changes keys.
    harness.patch("c", json!({ "metadata": { "annotations": { ROTATE_AT: "1" } } })).await;
    harness.check("c").await;
    assert_eq!(harness.keys(&user).await, std::slice::from_ref(&key));
    let listed = iam.list_access_keys().user_name(&user).send().await.unwrap();
    assert_eq!(listed.access_key_metadata()[0].status(), Some(&StatusType::Inactive));
    cut_off(&harness, "c", &user, "1").await;
    harness.check("c").await;
    assert_eq!(harness.keys(&user).await, [""; 0], "revoked, and no other is issued");
    iam.untag_user().user_name(&user).tag_keys("bucketconnection.dev/hold").send().await.unwrap();
    harness.check("c").await;
    harness.ready("c").await;
    assert_eq!(harness.keys(&user).await.len(), 1);
}

/// What a person changes in AWS during an incident stays: another Deny, a boundary, AWS's own quarantine.
#[tokio::test]
async fn a_denial_in_aws_stays() {
    let harness = harness("incident", json!({})).await;
    let bob = Tenant::new(&harness, "bob", &harness.namespace).await;
    let user = format!("{}.c", harness.namespace);
    bob.apply(&bob.connection("c", "incident-data", json!({}))).await.unwrap();
    harness.ready("c").await;
    let (iam, s3) = (harness.iam(), harness.s3_with_key("c-s3", "us-east-1").await);
    let deny =
        json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Deny", "Action": "s3:DeleteObject", "Resource": "*" }] });
    iam.put_user_policy().user_name(&user).policy_name("Incident").policy_document(deny.to_string()).send().await.unwrap();
    let edits: [Value; 4] = [
        json!({ "policy": { "name": "Incident" } }),
        json!({ "policy": { "name": "incident-2" } }),
        json!({ "policy": null, "preset": "WriteOnly" }),
        json!({ "preset": "ReadWrite", "user": { "tags": { "a": "b" } } }),
    ];
    for spec in edits {
        bob.patch("c", spec).await.unwrap();
        harness.check("c").await;
        assert!(s3.delete_object().bucket("incident-data").key("runs/a").send().await.is_err(), "the Deny counts no more");
        assert!(
            iam.get_user_policy()
                .user_name(&user)
                .policy_name("Incident")
                .send()
                .await
                .unwrap()
                .policy_document()
                .contains("Deny")
        );
    }
}
