//! Everything that deletes buckets, users and policies, for a run and for `make live-clean`; a test shows that no other
//! file of `tests/live/` does. Other files delete keys, settings and objects that they have just created, and the cases
//! of the contract suite delete what they create. The gate keeps those to the names of the run.
//!
//! `delete` first reads the tags again. It deletes only if the name begins with the id of the run, and the tags name
//! the same run. Each call on a bucket also names the account that must own it.

use aws_sdk_s3::types::{Delete, ObjectIdentifier};

use super::clients::{Aws, bucket_tags, fail, gone, policy_tags, user_tags};
use super::inventory::Found;
use super::names::{Run, Tags};

/// What `delete` did.
#[derive(Debug, PartialEq, Eq)]
pub enum Deleted {
    Yes,
    AlreadyGone,
    /// It may not be deleted, for this reason.
    Refused(String),
}

/// Why something of this name, with these tags, may not be deleted for this run.
fn refusal(run: &Run, name: &str, tags: &Tags) -> Option<String> {
    if !run.has_name(name) {
        return Some(format!("{name}: the name is not one of {}", run.id()));
    }
    (!run.has_tags(tags)).then(|| format!("{name}: has no tag of {}", run.id()))
}

/// Deletes a bucket with its contents, a user with its keys and policies, or a policy with its versions, if it belongs
/// to the run.
pub async fn delete(aws: &Aws, run: &Run, found: &Found) -> Result<Deleted, String> {
    let (name, tags) = match found {
        Found::Bucket { name, region } => (name, bucket_tags(aws, name, region).await?),
        Found::User { name } => (name, user_tags(aws, name).await?),
        Found::Policy { name, arn } if arn.ends_with(&format!("/{name}")) => (name, policy_tags(aws, arn).await?),
        Found::Policy { name, arn } => return Ok(Deleted::Refused(format!("{name}: is not the name in {arn}"))),
    };
    let Some(tags) = tags else { return Ok(Deleted::AlreadyGone) };
    if let Some(why) = refusal(run, name, &tags) {
        return Ok(Deleted::Refused(why));
    }
    match found {
        Found::Bucket { name, region } => bucket(aws, name, region).await?,
        Found::User { name } => user(aws, name).await?,
        Found::Policy { arn, .. } => policy(aws, arn).await?,
    }
    Ok(Deleted::Yes)
}

/// Deletes what is in a bucket of the run.
pub async fn empty(aws: &Aws, run: &Run, name: &str) -> Result<(), String> {
    let tags = bucket_tags(aws, name, &aws.region).await?.unwrap_or_default();
    match refusal(run, name, &tags) {
        Some(why) => Err(why),
        None => contents(aws, name, &aws.region).await,
    }
}

/// Deletes the contents and the bucket.
async fn bucket(aws: &Aws, name: &str, region: &str) -> Result<(), String> {
    contents(aws, name, region).await?;
    let delete = aws.s3(region).delete_bucket().bucket(name).expected_bucket_owner(&aws.account);
    gone("s3:DeleteBucket", delete.send().await)
}

/// Deletes unfinished uploads and all versions.
async fn contents(aws: &Aws, name: &str, region: &str) -> Result<(), String> {
    let (s3, owner) = (aws.s3(region), aws.account.as_str());
    let uploads = s3.list_multipart_uploads().bucket(name).expected_bucket_owner(owner).send().await;
    for upload in uploads.map_err(|e| fail("s3:ListBucketMultipartUploads", &e))?.uploads() {
        let abort = s3.abort_multipart_upload().bucket(name).expected_bucket_owner(owner);
        let abort = abort.set_key(upload.key.clone()).set_upload_id(upload.upload_id.clone()).send().await;
        gone("s3:AbortMultipartUpload", abort)?;
    }
    loop {
        let page = s3.list_object_versions().bucket(name).expected_bucket_owner(owner).max_keys(1000).send().await;
        let page = page.map_err(|e| fail("s3:ListBucketVersions", &e))?;
        let versions = page.versions().iter().map(|version| (version.key(), version.version_id()));
        let markers = page.delete_markers().iter().map(|marker| (marker.key(), marker.version_id()));
        let id = |(key, version): (Option<&str>, Option<&str>)| {
            ObjectIdentifier::builder().key(key.unwrap_or_default()).set_version_id(version.map(str::to_owned)).build().ok()
        };
        let ids: Vec<_> = versions.chain(markers).filter_map(id).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let objects = Delete::builder().set_objects(Some(ids)).quiet(true).build().map_err(|e| e.to_string())?;
        let answer = s3.delete_objects().bucket(name).expected_bucket_owner(owner).delete(objects).send().await;
        let answer = answer.map_err(|e| fail("s3:DeleteObject", &e))?;
        if let Some(error) = answer.errors().first() {
            return Err(format!("s3:DeleteObject: {}: {}", error.key().unwrap_or_default(), error.code().unwrap_or_default()));
        }
    }
}

/// Deletes the keys and inline policies, detaches the managed ones, and deletes the user.
async fn user(aws: &Aws, name: &str) -> Result<(), String> {
    let iam = aws.iam();
    let keys = iam.list_access_keys().user_name(name).send().await.map_err(|e| fail("iam:ListAccessKeys", &e))?;
    for key in keys.access_key_metadata() {
        let delete = iam.delete_access_key().user_name(name).set_access_key_id(key.access_key_id.clone());
        gone("iam:DeleteAccessKey", delete.send().await)?;
    }
    let inline = iam.list_user_policies().user_name(name).send().await.map_err(|e| fail("iam:ListUserPolicies", &e))?;
    for policy in inline.policy_names() {
        gone("iam:DeleteUserPolicy", iam.delete_user_policy().user_name(name).policy_name(policy).send().await)?;
    }
    let attached = iam.list_attached_user_policies().user_name(name).send().await;
    for policy in attached.map_err(|e| fail("iam:ListAttachedUserPolicies", &e))?.attached_policies() {
        let detach = iam.detach_user_policy().user_name(name).set_policy_arn(policy.policy_arn.clone());
        gone("iam:DetachUserPolicy", detach.send().await)?;
    }
    gone("iam:DeleteUser", iam.delete_user().user_name(name).send().await)
}

/// Deletes all versions of the policy but the default one, and the policy.
async fn policy(aws: &Aws, arn: &str) -> Result<(), String> {
    let iam = aws.iam();
    let versions = iam.list_policy_versions().policy_arn(arn).send().await.map_err(|e| fail("iam:ListPolicyVersions", &e))?;
    for version in versions.versions().iter().filter(|version| !version.is_default_version()) {
        let delete = iam.delete_policy_version().policy_arn(arn).set_version_id(version.version_id.clone());
        gone("iam:DeletePolicyVersion", delete.send().await)?;
    }
    gone("iam:DeletePolicy", iam.delete_policy().policy_arn(arn).send().await)
}
