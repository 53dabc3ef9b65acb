//! What Kubernetes loses and AWS records, and what others remove: scenarios about the owner of a key or a bucket.

use aws_sdk_iam::types::StatusType;
use aws_sdk_s3::types::{Tag, Tagging};
use bucketconnection::api::{BucketConnection, FINALIZER, REVOKE_AT, ROTATE_AT};
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::harness::{ASKED, FaultHarness};
use super::scenarios::{CONNECTED, Ends, READY, Scenario, Step, revoked, rotated};
use crate::support::harness::{signal, told};

/// Garbage collectors remove it when they are done.
const FOREGROUND: &str = "foregroundDeletion";
/// Longer than the second in which two buckets of one name cannot be distinguished.
const ANOTHER_SECOND: std::time::Duration = std::time::Duration::from_millis(1_500);

const HELD: Step = |harness| Box::pin(async { harness.connected(spec()).await });
const IN_AN_OVERLAP: Step = |harness| Box::pin(overlap(harness));
const FORGOTTEN: Step = |harness| Box::pin(forgotten(harness));
const AGAIN: Step = |harness| Box::pin(again(harness));

pub static MEMORY: [Scenario; 6] = [
    Scenario { name: "forgotten", setup: HELD, trigger: FORGOTTEN, end: READY, ends: Ends::Ready },
    Scenario { name: "forgotten-in-overlap", setup: IN_AN_OVERLAP, trigger: FORGOTTEN, end: READY, ends: Ends::Ready },
    Scenario {
        name: "retained-in-overlap-and-again",
        setup: IN_AN_OVERLAP,
        trigger: |harness| Box::pin(async { harness.base.delete("c").await }),
        end: AGAIN,
        ends: Ends::Ready,
    },
    Scenario {
        name: "deleted-in-foreground-and-again",
        setup: HELD,
        trigger: |harness| {
            Box::pin(async {
                harness.base.objects().delete("c", &DeleteParams::foreground()).await.unwrap();
            })
        },
        end: AGAIN,
        ends: Ends::Ready,
    },
    Scenario {
        name: "bucket-recreated",
        setup: CONNECTED,
        trigger: |harness| Box::pin(recreated(harness)),
        end: |harness| Box::pin(left_alone(harness)),
        ends: Ends::Refused,
    },
    Scenario {
        name: "revoke-suspended",
        setup: |harness| Box::pin(suspended(harness)),
        trigger: |harness| Box::pin(async { harness.annotate(REVOKE_AT).await }),
        end: |harness| Box::pin(resumed(harness)),
        ends: Ends::Ready,
    },
];

fn spec() -> Value {
    json!({ "credentials": { "rotation": { "overlap": "1h" } }, "access": { "groups": ["lab-a"] } })
}

/// Two keys that work: the current and the previous one.
async fn overlap(harness: &FaultHarness) {
    harness.connected(spec()).await;
    harness.annotate(ROTATE_AT).await;
    rotated(harness).await;
    harness.quiet().await;
}

/// Applies the same object again; the annotation distinguishes the two.
async fn apply_again(harness: &FaultHarness) {
    let mut object = harness.connection(spec());
    object["metadata"]["annotations"] = json!({ "again": "yes" });
    harness.base.apply(&object).await;
}

/// The object is removed with its status and all its Secrets, and applied again, while the operator is stopped.
async fn forgotten(harness: &mut FaultHarness) {
    harness.watch.excused();
    signal(harness.base.pid(), "STOP");
    harness.base.patch("c", json!({ "metadata": { "finalizers": null } })).await;
    harness.base.delete("c").await;
    for secret in ours(harness).await {
        harness.base.secrets().delete(&secret.name_any(), &DeleteParams::default()).await.unwrap();
    }
    apply_again(harness).await;
    signal(harness.base.pid(), "CONT");
}

async fn ours(harness: &FaultHarness) -> Vec<Secret> {
    let label = ListParams::default().labels("app.kubernetes.io/managed-by=bucketconnection");
    harness.base.secrets().list(&label).await.unwrap().items
}

/// Waits until the deleted object is gone, applies it again, and waits until that one is ready.
fn again(harness: &mut FaultHarness) -> BoxFuture<'_, ()> {
    Box::pin(async move {
        let is_again = |object: &BucketConnection| object.annotations().contains_key("again");
        loop {
            match harness.base.objects().get_opt("c").await.unwrap() {
                None => apply_again(harness).await,
                Some(object) if is_again(&object) => break,
                Some(object) => collected(harness, &object).await,
            }
            tokio::time::sleep(std::time::Duration::from_millis(30)).await;
        }
        harness.base.ready("c").await;
    })
}

/// Does the work of the garbage collector for an object that is deleted in the foreground: this cluster has none.
async fn collected(harness: &FaultHarness, object: &BucketConnection) {
    let finalizers = object.finalizers();
    if object.metadata.deletion_timestamp.is_none() || !finalizers.iter().any(|name| name == FOREGROUND) {
        return;
    }
    for secret in ours(harness).await {
        if secret.owner_references().iter().any(|owner| Some(&owner.uid) == object.metadata.uid.as_ref()) {
            harness.base.secrets().delete(&secret.name_any(), &DeleteParams::default()).await.unwrap();
        }
    }
    let others: Vec<_> = finalizers.iter().filter(|name| *name != FOREGROUND).collect();
    let patch = json!({ "metadata": { "finalizers": others, "resourceVersion": object.resource_version() } });
    // The operator may have been faster.
    let _ = harness.base.objects().patch("c", &PatchParams::default(), &Patch::Merge(patch)).await;
}

/// Another team deletes the bucket, and creates its own with that name.
async fn recreated(harness: &FaultHarness) {
    let (s3, bucket) = (harness.base.s3(), harness.bucket());
    tokio::time::sleep(ANOTHER_SECOND).await;
    s3.delete_bucket().bucket(&bucket).send().await.unwrap();
    s3.create_bucket().bucket(&bucket).send().await.unwrap();
    let team = Tag::builder().key("team").value("imaging").build().unwrap();
    let tags = Tagging::builder().tag_set(team).build().unwrap();
    s3.put_bucket_tagging().bucket(&bucket).tagging(tags).send().await.unwrap();
    s3.put_object().bucket(&bucket).key("runs/theirs").body(b"theirs".to_vec().into()).send().await.unwrap();
    harness.ask().await;
}

/// The other team's bucket still has its tag and its object, and the managed user has no policy that grants anything.
async fn left_alone(harness: &FaultHarness) {
    harness
        .base
        .until("c", "answer", |object| {
            let handled = object.status.as_ref().and_then(|status| status.last_handled_reconcile_at.as_deref());
            handled == Some(ASKED) && told(object, "Ready").1 == "BucketNotOwned"
        })
        .await;
    let (s3, iam, bucket, user) = (harness.base.s3(), harness.base.iam(), harness.bucket(), harness.user());
    let tags = s3.get_bucket_tagging().bucket(&bucket).send().await.unwrap().tag_set;
    assert_eq!(tags.iter().map(|tag| (tag.key(), tag.value())).collect::<Vec<_>>(), [("team", "imaging")]);
    assert!(s3.get_object().bucket(&bucket).key("runs/theirs").send().await.is_ok());
    let attached = iam.list_attached_user_policies().user_name(&user).send().await.unwrap();
    let inline = iam.list_user_policies().user_name(&user).send().await.unwrap();
    assert_eq!((attached.attached_policies().len(), inline.policy_names().len()), (0, 0), "rights on another team's bucket");
}

async fn suspended(harness: &FaultHarness) {
    harness.connected(json!({})).await;
    harness.base.patch("c", json!({ "spec": { "suspend": true } })).await;
    harness.base.until("c", "suspension", |object| told(object, "Stalled").1 == "Suspended").await;
}

/// No key works while it is suspended; then it is resumed, and gets another.
async fn resumed(harness: &FaultHarness) {
    let done = |object: &BucketConnection| {
        let credentials = object.status.as_ref().and_then(|status| status.memory.credentials.clone()).unwrap_or_default();
        credentials.last_handled_revoke_at.as_deref() == Some(ASKED)
    };
    let object = harness.base.until("c", "revocation", done).await;
    if object.spec.suspend {
        let keys = harness.base.iam().list_access_keys().user_name(harness.user()).send().await.unwrap();
        let active = keys.access_key_metadata().iter().filter(|key| key.status() == Some(&StatusType::Active));
        assert_eq!(active.count(), 0, "keys work after the revocation");
        assert!(object.finalizers().iter().any(|name| name == FINALIZER));
        harness.base.patch("c", json!({ "spec": { "suspend": false } })).await;
    }
    revoked(harness).await;
}
