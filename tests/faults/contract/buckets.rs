//! Buckets: creation, regions, owners, objects.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{BucketVersioningStatus, CreateBucketConfiguration, Delete, ObjectIdentifier, VersioningConfiguration};

use super::{Checks, Harness, OLD_REGION, OTHER_ACCOUNT, cases, location, tag};
use crate::support::answers::code;

cases! {
    creating_again_is_an_error,
    creating_again_in_us_east_1_succeeds_without_tags,
    a_location_must_fit_the_endpoint,
    us_east_1_is_not_a_location,
    names_are_global,
    a_bucket_of_another_account_is_denied,
    names_are_checked,
    tags_are_accepted_on_creation,
    the_region_is_reported,
    a_bucket_elsewhere_is_redirected,
    the_expected_owner_is_checked,
    the_expected_owner_must_be_an_account,
    a_missing_bucket_is_distinguished,
    own_buckets_are_listed,
    a_bucket_with_objects_is_not_deleted,
    objects_are_created_and_deleted,
    versions_and_markers_are_kept,
    many_versions_are_deleted_at_once,
    uploads_are_created_and_aborted,
}

async fn creating_again_is_an_error(harness: Harness, checks: &mut Checks) {
    let bucket = harness.new_bucket().await;
    let again = harness.s3().create_bucket().bucket(&bucket).set_create_bucket_configuration(harness.location()).send().await;
    checks.is("there", code(&again), "BucketAlreadyOwnedByYou");
    let elsewhere = harness.s3_as(&harness.admin, OLD_REGION).create_bucket().bucket(&bucket).send().await;
    checks.is("from another region", code(&elsewhere), "BucketAlreadyOwnedByYou");
}

async fn creating_again_in_us_east_1_succeeds_without_tags(harness: Harness, checks: &mut Checks) {
    let (s3, bucket) = (harness.s3_as(&harness.admin, OLD_REGION), harness.bucket());
    for _ in 0..2 {
        checks.is("without tags", code(&s3.create_bucket().bucket(&bucket).send().await), "");
    }
    let tags = CreateBucketConfiguration::builder().tags(tag("a", "b")).build();
    let again = s3.create_bucket().bucket(&bucket).create_bucket_configuration(tags).send().await;
    checks.is("with tags", code(&again), "BucketAlreadyOwnedByYou");
    checks.is("tags then", code(&s3.get_bucket_tagging().bucket(&bucket).send().await), "NoSuchTagSet");
}

async fn a_location_must_fit_the_endpoint(harness: Harness, checks: &mut Checks) {
    let create = harness.s3().create_bucket().bucket(harness.bucket());
    checks.is("none", code(&create.clone().send().await), "IllegalLocationConstraintException");
    let other = create.create_bucket_configuration(location("eu-central-1")).send().await;
    checks.is("another", code(&other), "IllegalLocationConstraintException");
}

async fn us_east_1_is_not_a_location(harness: Harness, checks: &mut Checks) {
    let create = harness.s3_as(&harness.admin, OLD_REGION).create_bucket().bucket(harness.bucket());
    let answer = create.create_bucket_configuration(location(OLD_REGION)).send().await;
    checks.is("code", code(&answer), "InvalidLocationConstraint");
}

async fn names_are_global(harness: Harness, checks: &mut Checks) {
    let bucket = harness.new_bucket().await;
    for region in [harness.region.as_str(), OLD_REGION] {
        let mut create = harness.s3_as(&harness.stranger, region).create_bucket().bucket(&bucket);
        if region == harness.region {
            create = create.set_create_bucket_configuration(harness.location());
        }
        checks.is(region, code(&create.send().await), "BucketAlreadyExists");
    }
}

async fn a_bucket_of_another_account_is_denied(harness: Harness, checks: &mut Checks) {
    let (bucket, s3) = (harness.new_bucket().await, harness.s3_as(&harness.stranger, &harness.region));
    checks.is("setting", code(&s3.get_bucket_cors().bucket(&bucket).send().await), "AccessDenied");
    checks.is("delete", code(&s3.delete_bucket().bucket(&bucket).send().await), "AccessDenied");
    checks.is("list", code(&s3.list_objects_v2().bucket(&bucket).send().await), "AccessDenied");
}

async fn names_are_checked(harness: Harness, checks: &mut Checks) {
    for name in ["Upper-Case", "under_score", "-begins", "ends-"] {
        let create = harness.s3().create_bucket().bucket(name).set_create_bucket_configuration(harness.location());
        checks.is(name, code(&create.send().await), "InvalidBucketName");
    }
}

async fn tags_are_accepted_on_creation(harness: Harness, checks: &mut Checks) {
    let configuration = CreateBucketConfiguration::builder().location_constraint(harness.region.as_str().into());
    let configuration = configuration.tags(tag("a", "b & <c>")).tags(tag("d", "")).build();
    let create = harness.s3().create_bucket().bucket(harness.bucket()).create_bucket_configuration(configuration);
    checks.is("created", code(&create.send().await), "");
    let tags = harness.s3().get_bucket_tagging().bucket(harness.bucket()).send().await.unwrap().tag_set;
    checks.is("tags", tags, vec![tag("a", "b & <c>"), tag("d", "")]);
}

async fn the_region_is_reported(harness: Harness, checks: &mut Checks) {
    let head = harness.s3().head_bucket().bucket(harness.new_bucket().await).send().await.unwrap();
    checks.is("region", head.bucket_region(), Some(harness.region.as_str()));
}

async fn a_bucket_elsewhere_is_redirected(harness: Harness, checks: &mut Checks) {
    let bucket = harness.new_bucket().await;
    let answer = harness.s3_as(&harness.admin, OLD_REGION).get_bucket_cors().bucket(&bucket).send().await;
    checks.is("code", code(&answer), "PermanentRedirect");
    let raw = answer
        .unwrap_err()
        .raw_response()
        .map(|raw| (raw.status().as_u16(), raw.headers().get("x-amz-bucket-region").map(str::to_owned)));
    checks.is("answer", raw, Some((301, Some(harness.region.clone()))));
}

async fn the_expected_owner_is_checked(harness: Harness, checks: &mut Checks) {
    let bucket = harness.new_bucket().await;
    let get = harness.s3().get_bucket_versioning().bucket(&bucket);
    checks.is("ours", code(&get.clone().expected_bucket_owner(&harness.account).send().await), "");
    checks.is("another", code(&get.expected_bucket_owner(OTHER_ACCOUNT).send().await), "AccessDenied");
    let put = harness.s3().delete_bucket().bucket(&bucket).expected_bucket_owner(OTHER_ACCOUNT).send().await;
    checks.is("write", code(&put), "AccessDenied");
    checks.is("still there", code(&harness.s3().head_bucket().bucket(&bucket).send().await), "");
}

async fn the_expected_owner_must_be_an_account(harness: Harness, checks: &mut Checks) {
    let get = harness.s3().get_bucket_versioning().bucket(harness.new_bucket().await).expected_bucket_owner("me");
    checks.is("code", code(&get.send().await), "InvalidBucketOwnerAWSAccountID");
}

async fn a_missing_bucket_is_distinguished(harness: Harness, checks: &mut Checks) {
    let (s3, bucket) = (harness.s3(), harness.bucket());
    checks.is("setting", code(&s3.get_bucket_cors().bucket(&bucket).send().await), "NoSuchBucket");
    checks.is("list", code(&s3.list_objects_v2().bucket(&bucket).send().await), "NoSuchBucket");
    checks.is("delete", code(&s3.delete_bucket().bucket(&bucket).send().await), "NoSuchBucket");
    checks.is("head", code(&s3.head_bucket().bucket(&bucket).send().await), "NotFound");
}

async fn own_buckets_are_listed(harness: Harness, checks: &mut Checks) {
    let bucket = harness.new_bucket().await;
    let listed = harness.s3().list_buckets().send().await.unwrap().buckets.unwrap_or_default();
    checks.is("listed", listed.iter().any(|found| found.name() == Some(&bucket)), true);
}

async fn a_bucket_with_objects_is_not_deleted(harness: Harness, checks: &mut Checks) {
    let (s3, bucket) = (harness.s3(), harness.new_bucket().await);
    s3.put_object().bucket(&bucket).key("k").body(ByteStream::from_static(b"x")).send().await.unwrap();
    checks.is("full", code(&s3.delete_bucket().bucket(&bucket).send().await), "BucketNotEmpty");
    s3.delete_object().bucket(&bucket).key("k").send().await.unwrap();
    checks.is("empty", code(&s3.delete_bucket().bucket(&bucket).send().await), "");
    checks.is("gone", code(&s3.get_bucket_cors().bucket(&bucket).send().await), "NoSuchBucket");
}

async fn objects_are_created_and_deleted(harness: Harness, checks: &mut Checks) {
    let (s3, bucket) = (harness.s3(), harness.new_bucket().await);
    for key in ["a/one two", "a/three", "b/+%"] {
        s3.put_object().bucket(&bucket).key(key).body(ByteStream::from(key.as_bytes().to_vec())).send().await.unwrap();
    }
    let body = s3.get_object().bucket(&bucket).key("b/+%").send().await.unwrap().body.collect().await.unwrap();
    checks.is("body", body.into_bytes().as_ref(), b"b/+%".as_slice());
    let page = s3.list_objects_v2().bucket(&bucket).prefix("a/").max_keys(1).send().await.unwrap();
    let keys: Vec<_> = page.contents().iter().filter_map(|object| object.key()).collect();
    checks.is("page", (keys, page.is_truncated()), (vec!["a/one two"], Some(true)));
    s3.delete_object().bucket(&bucket).key("a/three").send().await.unwrap();
    checks.is("gone", code(&s3.get_object().bucket(&bucket).key("a/three").send().await), "NoSuchKey");
    checks.is("twice", code(&s3.delete_object().bucket(&bucket).key("a/three").send().await), "");
}

async fn versioned(harness: &Harness) -> String {
    let bucket = harness.new_bucket().await;
    let on = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    harness.s3().put_bucket_versioning().bucket(&bucket).versioning_configuration(on).send().await.unwrap();
    bucket
}

async fn versions_and_markers_are_kept(harness: Harness, checks: &mut Checks) {
    let (s3, bucket) = (harness.s3(), versioned(&harness).await);
    for body in [b"1", b"2"] {
        s3.put_object().bucket(&bucket).key("k").body(ByteStream::from_static(body)).send().await.unwrap();
    }
    s3.delete_object().bucket(&bucket).key("k").send().await.unwrap();
    checks.is("hidden", code(&s3.get_object().bucket(&bucket).key("k").send().await), "NoSuchKey");
    let page = s3.list_object_versions().bucket(&bucket).send().await.unwrap();
    let latest: Vec<_> = page.versions().iter().map(|version| version.is_latest()).collect();
    checks.is("versions", latest, vec![Some(false), Some(false)]);
    checks.is("marker", page.delete_markers().iter().map(|marker| marker.is_latest()).collect::<Vec<_>>(), vec![Some(true)]);
    checks.is("delete", code(&s3.delete_bucket().bucket(&bucket).send().await), "BucketNotEmpty");
    let marker = page.delete_markers()[0].version_id().unwrap();
    s3.delete_object().bucket(&bucket).key("k").version_id(marker).send().await.unwrap();
    let body = s3.get_object().bucket(&bucket).key("k").send().await.unwrap().body.collect().await.unwrap();
    checks.is("shown again", body.into_bytes().as_ref(), b"2".as_slice());
}

async fn many_versions_are_deleted_at_once(harness: Harness, checks: &mut Checks) {
    let (s3, bucket) = (harness.s3(), versioned(&harness).await);
    for key in ["a", "b&c"] {
        s3.put_object().bucket(&bucket).key(key).body(ByteStream::from_static(b"x")).send().await.unwrap();
    }
    let page = s3.list_object_versions().bucket(&bucket).send().await.unwrap();
    let ids = page.versions().iter().map(|version| {
        ObjectIdentifier::builder().key(version.key().unwrap()).version_id(version.version_id().unwrap()).build().unwrap()
    });
    let delete = Delete::builder().set_objects(Some(ids.collect())).quiet(true).build().unwrap();
    let answer = s3.delete_objects().bucket(&bucket).delete(delete).send().await.unwrap();
    checks.is("errors", answer.errors().len(), 0);
    checks.is("bucket", code(&s3.delete_bucket().bucket(&bucket).send().await), "");
}

async fn uploads_are_created_and_aborted(harness: Harness, checks: &mut Checks) {
    let (s3, bucket) = (harness.s3(), harness.new_bucket().await);
    let id = s3.create_multipart_upload().bucket(&bucket).key("k").send().await.unwrap().upload_id.unwrap();
    let uploads = s3.list_multipart_uploads().bucket(&bucket).send().await.unwrap();
    let listed: Vec<_> = uploads.uploads().iter().map(|upload| (upload.key(), upload.upload_id())).collect();
    checks.is("listed", listed, vec![(Some("k"), Some(id.as_str()))]);
    let abort = s3.abort_multipart_upload().bucket(&bucket).key("k").upload_id(&id);
    checks.is("aborted", code(&abort.clone().send().await), "");
    checks.is("again", code(&abort.send().await), "NoSuchUpload");
}
