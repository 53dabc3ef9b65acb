//! What a script does from outside, with the administrator's key of the emulator.

use aws_sdk_s3::primitives::ByteStream;

use crate::support::harness::Harness;

/// | action | does |
/// |---|---|
/// | `create-bucket NAME` | creates a bucket |
/// | `delete-cors BUCKET` | deletes the bucket's CORS rules |
/// | `put-object BUCKET KEY TEXT` | writes an object; the text may have spaces |
/// | `delete-user NAME` | deletes a user and its keys and policies |
/// | `ready NAME` | waits until the connection is Ready |
/// | `stop` | kills the operator |
pub async fn run(harness: &mut Harness, words: &[&str]) {
    match words {
        ["create-bucket", name] => {
            harness.s3().create_bucket().bucket(*name).send().await.unwrap();
        }
        ["delete-cors", bucket] => {
            harness.s3().delete_bucket_cors().bucket(*bucket).send().await.unwrap();
        }
        ["put-object", bucket, key, text @ ..] => {
            let body = ByteStream::from(text.join(" ").into_bytes());
            harness.s3().put_object().bucket(*bucket).key(*key).body(body).send().await.unwrap();
        }
        ["delete-user", name] => delete_user(harness, name).await,
        ["ready", name] => {
            harness.ready(name).await;
        }
        ["stop"] => harness.kill(),
        _ => panic!("unknown action {words:?}; tests/cli/actions.rs lists them"),
    }
}

async fn delete_user(harness: &Harness, name: &str) {
    let iam = harness.iam();
    for id in harness.keys(name).await {
        iam.delete_access_key().user_name(name).access_key_id(id).send().await.unwrap();
    }
    for policy in iam.list_user_policies().user_name(name).send().await.unwrap().policy_names() {
        iam.delete_user_policy().user_name(name).policy_name(policy).send().await.unwrap();
    }
    iam.delete_user().user_name(name).send().await.unwrap();
}
