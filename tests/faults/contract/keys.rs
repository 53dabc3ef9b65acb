//! Access keys and their identities.

use aws_sdk_iam::types::StatusType;

use super::{Checks, Harness, cases, credentials, policy, statement};
use crate::support::answers::{Pair, code};

cases! {
    a_key_has_an_id_and_a_secret,
    a_user_has_two_keys,
    a_key_identifies_its_user,
    an_inactive_key_is_refused,
    a_deleted_key_is_refused,
    an_unknown_key_is_refused,
    a_wrong_secret_is_refused,
    a_key_of_another_user_is_not_found,
    the_last_use_is_reported,
    an_administrators_identity_is_reported,
}

async fn a_key_has_an_id_and_a_secret(harness: Harness, checks: &mut Checks) {
    let user = harness.new_user().await;
    let (key, _) = harness.new_key(&user).await;
    checks.is("id", (&key.id[..4], key.id.len(), key.secret.len()), ("AKIA", 20, 40));
    let listed = harness.iam().list_access_keys().user_name(&user).send().await.unwrap().access_key_metadata;
    let listed: Vec<_> =
        listed.iter().map(|key| (key.access_key_id(), key.status().cloned(), key.create_date().is_some())).collect();
    checks.is("listed", listed, vec![(Some(key.id.as_str()), Some(StatusType::Active), true)]);
}

async fn a_user_has_two_keys(harness: Harness, checks: &mut Checks) {
    let user = harness.new_user().await;
    let (first, _) = harness.new_key(&user).await;
    harness.new_key(&user).await;
    let create = harness.iam().create_access_key().user_name(&user);
    checks.is("third", code(&create.clone().send().await), "LimitExceeded");
    set(&harness, &user, &first, StatusType::Inactive).await;
    checks.is("inactive counts", code(&create.clone().send().await), "LimitExceeded");
    harness.iam().delete_access_key().user_name(&user).access_key_id(&first.id).send().await.unwrap();
    checks.is("after a deletion", code(&create.send().await), "");
}

async fn set(harness: &Harness, user: &str, key: &Pair, status: StatusType) {
    harness.iam().update_access_key().user_name(user).access_key_id(&key.id).status(status).send().await.unwrap();
}

/// A user that may list the case's bucket, and the answers of S3 and STS to its key.
async fn lister(harness: &Harness) -> (String, Pair) {
    let (bucket, user) = (harness.new_bucket().await, harness.new_user().await);
    harness.put_policy(&user, &policy(&[statement("Allow", "s3:ListBucket", &format!("arn:aws:s3:::{bucket}"))])).await;
    let key = harness.new_key(&user).await.0;
    (user, key)
}

async fn tried(harness: &Harness, key: &Pair) -> [String; 2] {
    let key = credentials(key, None);
    let listed = harness.s3_as(&key, &harness.region).list_objects_v2().bucket(harness.bucket()).send().await;
    [code(&listed), code(&harness.sts_as(&key).get_caller_identity().send().await)]
}

async fn a_key_identifies_its_user(harness: Harness, checks: &mut Checks) {
    let create = harness.iam().create_user().user_name(&harness.name).path("/x/").send().await.unwrap().user.unwrap();
    let (_, key) = harness.new_key(&harness.name).await;
    let identity = harness.sts_as(&key).get_caller_identity().send().await.unwrap();
    let wanted = (Some(create.arn()), Some(create.user_id()), Some(harness.account.as_str()));
    checks.is("identity", (identity.arn(), identity.user_id(), identity.account()), wanted);
}

const REFUSED: [&str; 2] = ["InvalidAccessKeyId", "InvalidClientTokenId"];

async fn an_inactive_key_is_refused(harness: Harness, checks: &mut Checks) {
    let (user, key) = lister(&harness).await;
    checks.is("active", tried(&harness, &key).await, ["", ""]);
    set(&harness, &user, &key, StatusType::Inactive).await;
    checks.is("inactive", tried(&harness, &key).await, REFUSED);
    let listed = harness.iam().list_access_keys().user_name(&user).send().await.unwrap().access_key_metadata;
    checks.is("listed", listed[0].status().cloned(), Some(StatusType::Inactive));
    set(&harness, &user, &key, StatusType::Active).await;
    checks.is("active again", tried(&harness, &key).await, ["", ""]);
}

async fn a_deleted_key_is_refused(harness: Harness, checks: &mut Checks) {
    let (user, key) = lister(&harness).await;
    harness.iam().delete_access_key().user_name(&user).access_key_id(&key.id).send().await.unwrap();
    checks.is("deleted", tried(&harness, &key).await, REFUSED);
    let again = harness.iam().delete_access_key().user_name(&user).access_key_id(&key.id).send().await;
    checks.is("deleted again", code(&again), "NoSuchEntity");
    let update = harness.iam().update_access_key().user_name(&user).access_key_id(&key.id).status(StatusType::Active);
    checks.is("update", code(&update.send().await), "NoSuchEntity");
}

async fn an_unknown_key_is_refused(harness: Harness, checks: &mut Checks) {
    harness.new_bucket().await;
    let key = Pair { id: "AKIAABCDEFGHIJKLMNOP".to_owned(), secret: "secret".to_owned() };
    checks.is("unknown", tried(&harness, &key).await, REFUSED);
    let iam = harness.iam_as(&credentials(&key, None)).list_users().send().await;
    checks.is("to IAM", code(&iam), "InvalidClientTokenId");
}

async fn a_wrong_secret_is_refused(harness: Harness, checks: &mut Checks) {
    let (_, key) = lister(&harness).await;
    let wrong = Pair { secret: "x".repeat(40), ..key };
    checks.is("wrong", tried(&harness, &wrong).await, ["SignatureDoesNotMatch"; 2]);
}

async fn a_key_of_another_user_is_not_found(harness: Harness, checks: &mut Checks) {
    let user = harness.new_user().await;
    let (key, _) = harness.new_key(&user).await;
    let other = format!("{user}-2");
    harness.iam().create_user().user_name(&other).send().await.unwrap();
    let delete = harness.iam().delete_access_key().user_name(&other).access_key_id(&key.id).send().await;
    checks.is("delete", code(&delete), "NoSuchEntity");
    let update = harness.iam().update_access_key().user_name(&other).access_key_id(&key.id).status(StatusType::Inactive);
    checks.is("update", code(&update.send().await), "NoSuchEntity");
}

async fn the_last_use_is_reported(harness: Harness, checks: &mut Checks) {
    let (user, key) = lister(&harness).await;
    let used = async || harness.iam().get_access_key_last_used().access_key_id(&key.id).send().await.unwrap();
    let before = used().await;
    checks.is("user", before.user_name(), Some(user.as_str()));
    let last = before.access_key_last_used.unwrap();
    checks.is("never", (last.last_used_date.is_some(), last.service_name(), last.region()), (false, "N/A", "N/A"));
    harness.s3_as(&credentials(&key, None), &harness.region).list_objects_v2().bucket(harness.bucket()).send().await.unwrap();
    let last = used().await.access_key_last_used.unwrap();
    checks.is("used", (last.last_used_date.is_some(), last.service_name(), last.region()), (true, "s3", harness.region.as_str()));
}

async fn an_administrators_identity_is_reported(harness: Harness, checks: &mut Checks) {
    let identity = harness.sts_as(&harness.admin).get_caller_identity().send().await.unwrap();
    let arn = format!("arn:aws:iam::{}:user/administrator", harness.account);
    checks.is("arn", identity.arn(), Some(arn.as_str()));
}
