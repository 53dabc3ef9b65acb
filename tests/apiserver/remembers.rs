//! What holds when recorded state in Kubernetes is lost, when a bucket is replaced by another of the same name, and
//! when a key must be revoked whatever else is wrong.

use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use crate::support::lab::{Lab, told, writes};

/// The cluster is rebuilt: object and Secret disappear without the operator.
async fn forget(lab: &mut Lab) {
    lab.kill();
    let none = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    lab.objects().patch("c", &PatchParams::default(), &none).await.unwrap();
    let _ = lab.objects().delete("c", &DeleteParams::default()).await;
    lab.gone("c").await;
    let _ = lab.secrets().delete("c-s3", &DeleteParams::default()).await;
    lab.start();
}

#[tokio::test]
async fn a_rebuilt_cluster_finds_its_keys() {
    let mut lab = Lab::new("rebuilt").await;
    let object = lab.connection("bucket-rebuilt", json!({ "preset": "ReadWrite", "user": { "name": "rebuilt" } }));
    lab.apply(&object).await;
    lab.ready("c").await;
    for _ in 0..3 {
        forget(&mut lab).await;
        lab.apply(&object).await;
        lab.ready("c").await;
        let id = lab.secret("c-s3").await["AWS_ACCESS_KEY_ID"].clone();
        assert_eq!(lab.keys("rebuilt").await, [id]);
    }
    // A foreign key is not changed.
    let theirs = lab.iam().create_access_key().user_name("rebuilt").send().await.unwrap().access_key.unwrap().access_key_id;
    forget(&mut lab).await;
    lab.apply(&object).await;
    lab.ready("c").await;
    let id = lab.secret("c-s3").await["AWS_ACCESS_KEY_ID"].clone();
    let mut keys = lab.keys("rebuilt").await;
    keys.sort();
    let mut expected = vec![id, theirs];
    expected.sort();
    assert_eq!(keys, expected);
}

#[tokio::test]
async fn a_bucket_that_others_created_again_is_theirs() {
    let lab = Lab::new("recreated").await;
    let spec =
        json!({ "preset": "ReadWrite", "user": { "name": "recreated" }, "deletionPolicy": "Delete", "forceDestroy": true });
    lab.apply(&lab.connection("bucket-recreated", spec)).await;
    lab.ready("c").await;
    let s3 = lab.s3();
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
    lab.proxy.take();
    lab.check("c").await;
    let object = lab.condition("c", "Stalled", "True").await;
    assert_eq!(told(&object, "BucketReady").1, "BucketNotOwned");
    assert_eq!(writes(&lab.proxy.take()), ["iam:DeleteUserPolicy"], "nothing is written, and the key loses its rights");
    let tags = s3.get_bucket_tagging().bucket("bucket-recreated").send().await.unwrap();
    assert_eq!(tags.tag_set().len(), 1, "it carries no tag of ours");
    lab.delete("c").await;
    lab.gone("c").await;
    s3.head_object().bucket("bucket-recreated").key("runs/theirs").send().await.expect("their data is still there");
}
