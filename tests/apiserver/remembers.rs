//! What holds when Kubernetes forgets, when a bucket is another one of the same name, and when a key must go whatever else is wrong.

use bucketconnection::api::{FINALIZER, REVOKE_AT};
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::support::lab::{Lab, told, writes};
use crate::support::proxy::Fault;

/// The cluster is rebuilt: object and Secret go without the operator.
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
    // A key that no one here issued is not touched.
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
    // S3 tells whole seconds: wait for another one, by its own clock.
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

/// A revocation is carried out, and the object stays as it is otherwise.
async fn cut_off(lab: &Lab, user: &str, request: &str) {
    lab.patch("c", json!({ "metadata": { "annotations": { REVOKE_AT: request } } })).await;
    let done = lab
        .until("c", "a revocation", |object| {
            let known = object.status.as_ref().and_then(|status| status.memory.credentials.as_ref());
            known.is_some_and(|known| known.last_handled_revoke_at.as_deref() == Some(request))
        })
        .await;
    assert_eq!(told(&done, "RevocationComplete").0, "True");
    let denial = lab.iam().get_user_policy().user_name(user).policy_name("bucketconnection-revoked").send().await.unwrap();
    assert!(denial.policy_document.contains("TokenIssueTime"), "{}", denial.policy_document);
}

async fn revoked_in(name: &str, break_it: Value, reason: &str) {
    let lab = Lab::new(name).await;
    let (bucket, user) = (format!("bucket-{name}"), format!("user-{name}"));
    lab.apply(&lab.connection(&bucket, json!({ "preset": "ReadWrite", "user": { "name": user } }))).await;
    lab.ready("c").await;
    lab.patch("c", break_it).await;
    lab.until("c", reason, |object| ["Ready", "Reconciling"].iter().any(|kind| told(object, kind).1 == reason)).await;
    cut_off(&lab, &user, "1").await;
    assert_eq!(lab.keys(&user).await, [""; 0], "{name}");
    let object =
        lab.until("c", reason, |object| ["Ready", "Reconciling"].iter().any(|kind| told(object, kind).1 == reason)).await;
    assert_eq!(told(&object, "Ready").0, "False");
}

#[tokio::test]
async fn a_suspended_connection_is_cut_off() {
    revoked_in("cutsuspend", json!({ "spec": { "suspend": true } }), "Suspended").await;
}

#[tokio::test]
async fn an_invalid_connection_is_cut_off() {
    revoked_in("cutinvalid", json!({ "spec": { "management": { "nonsense": "Ignore" } } }), "InvalidSpec").await;
}

#[tokio::test]
async fn a_connection_that_is_not_allowed_any_more_is_cut_off() {
    let lab = Lab::new("cutrule").await;
    let account = lab.namespace.clone();
    lab.account(&account, json!({ "allowedNamespaces": [lab.rule(json!({}))] })).await;
    let spec = json!({ "preset": "ReadWrite", "user": { "name": "user-cutrule" }, "accountRef": { "name": account } });
    lab.apply(&lab.connection("bucket-cutrule", spec)).await;
    lab.ready("c").await;
    lab.account(&account, json!({ "allowedNamespaces": [] })).await;
    lab.until("c", "NotAllowed", |object| told(object, "Ready").1 == "NotAllowed").await;
    cut_off(&lab, "user-cutrule", "1").await;
    assert_eq!(lab.keys("user-cutrule").await, [""; 0]);
}

#[tokio::test]
async fn a_connection_whose_bucket_is_taken_is_cut_off() {
    let lab = Lab::new("cutbucket").await;
    lab.apply(&lab.connection("bucket-cutbucket", json!({ "preset": "ReadWrite", "user": { "name": "user-cutbucket" } }))).await;
    lab.ready("c").await;
    let tag = aws_sdk_s3::types::Tag::builder().key("bucketconnection.dev/owner").value("another").build().unwrap();
    let tagging = aws_sdk_s3::types::Tagging::builder().tag_set(tag).build().unwrap();
    lab.s3().put_bucket_tagging().bucket("bucket-cutbucket").tagging(tagging).send().await.unwrap();
    lab.check("c").await;
    lab.until("c", "BucketNotOwned", |object| told(object, "Ready").1 == "BucketNotOwned").await;
    cut_off(&lab, "user-cutbucket", "1").await;
    assert_eq!(lab.keys("user-cutbucket").await, [""; 0]);
    assert!(lab.get("c").await.metadata.finalizers.unwrap().iter().any(|name| name == FINALIZER));
}

/// A reconcile that waits for a key to spread does not keep a revocation waiting.
#[tokio::test]
async fn a_connection_whose_key_spreads_is_cut_off() {
    let lab = Lab::new("spreading").await;
    lab.proxy.fault("s3:ListBucket", Fault::Answer(403, "AccessDenied"), usize::MAX);
    lab.apply(&lab.connection("bucket-spreading", json!({ "preset": "ReadWrite", "user": { "name": "spreading" } }))).await;
    while lab.proxy.count("s3:ListBucket") < 3 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let tried = lab.proxy.count("s3:ListBucket");
    cut_off(&lab, "spreading", "1").await;
    assert!(lab.proxy.count("s3:ListBucket") <= tried + 3, "it went on trying the key");
}
