//! What holds when recorded state in Kubernetes is lost, when a bucket is replaced by another of the same name, and
//! when a key must be revoked whatever else is wrong.

use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use crate::support::harness::{Harness, told, writes};

/// The cluster is rebuilt: object and Secret disappear without the operator.
async fn forget(harness: &mut Harness) {
    harness.kill();
    let none = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    harness.objects().patch("c", &PatchParams::default(), &none).await.unwrap();
    let _ = harness.objects().delete("c", &DeleteParams::default()).await;
    harness.gone("c").await;
    let _ = harness.secrets().delete("c-s3", &DeleteParams::default()).await;
    harness.start();
}

#[tokio::test]
async fn a_rebuilt_cluster_finds_its_keys() {
    let mut harness = Harness::new("rebuilt").await;
    let object = harness.connection("bucket-rebuilt", json!({ "preset": "ReadWrite", "user": { "name": "rebuilt" } }));
    harness.apply(&object).await;
    harness.ready("c").await;
    for _ in 0..3 {
        forget(&mut harness).await;
        harness.apply(&object).await;
        harness.ready("c").await;
        let id = harness.secret("c-s3").await["AWS_ACCESS_KEY_ID"].clone();
        assert_eq!(harness.keys("rebuilt").await, [id]);
    }
    // A foreign key is not changed.
    let theirs = harness.iam().create_access_key().user_name("rebuilt").send().await.unwrap().access_key.unwrap().access_key_id;
    forget(&mut harness).await;
    harness.apply(&object).await;
    harness.ready("c").await;
    let id = harness.secret("c-s3").await["AWS_ACCESS_KEY_ID"].clone();
    let mut keys = harness.keys("rebuilt").await;
    keys.sort();
    let mut expected = vec![id, theirs];
    expected.sort();
    assert_eq!(keys, expected);
}

#[tokio::test]
async fn a_bucket_that_others_created_again_is_foreign() {
    let harness = Harness::new("recreated").await;
    let spec =
        json!({ "preset": "ReadWrite", "user": { "name": "recreated" }, "deletionPolicy": "Delete", "forceDestroy": true });
    harness.apply(&harness.connection("bucket-recreated", spec)).await;
    harness.ready("c").await;
    let s3 = harness.s3();
    // S3 reports whole seconds: wait for the next one, by its own clock.
    let created = |buckets: &aws_sdk_s3::operation::list_buckets::ListBucketsOutput| {
        buckets.buckets().iter().find(|b| b.name() == Some("bucket-recreated")).and_then(|b| b.creation_date().copied())
    };
    let before = created(&s3.list_buckets().send().await.unwrap());
    loop {
        s3.delete_bucket().bucket("bucket-recreated").send().await.unwrap();
        s3.create_bucket().bucket("bucket-recreated").send().await.unwrap();
        let now = created(&s3.list_buckets().send().await.unwrap());
        if now.zip(before).is_some_and(|(now, before)| now.secs() > before.secs() + 2) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    let tag = aws_sdk_s3::types::Tag::builder().key("team").value("imaging").build().unwrap();
    let tagging = aws_sdk_s3::types::Tagging::builder().tag_set(tag).build().unwrap();
    s3.put_bucket_tagging().bucket("bucket-recreated").tagging(tagging).send().await.unwrap();
    s3.put_object().bucket("bucket-recreated").key("runs/theirs").body(vec![1].into()).send().await.unwrap();
    harness.proxy.take();
    harness.check("c").await;
    let object = harness.condition("c", "Stalled", "True").await;
    assert_eq!(told(&object, "BucketReady").1, "BucketNotOwned");
    assert_eq!(writes(&harness.proxy.take()), ["iam:DeleteUserPolicy"], "nothing is written, and the key loses its rights");
    let tags = s3.get_bucket_tagging().bucket("bucket-recreated").send().await.unwrap();
    assert_eq!(tags.tag_set().len(), 1, "it has no tag of the operator");
    harness.delete("c").await;
    harness.gone("c").await;
    s3.head_object().bucket("bucket-recreated").key("runs/theirs").send().await.expect("their data is still there");
}
