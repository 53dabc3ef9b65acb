//! The bucket itself: create, count, empty, delete.

use aws_sdk_s3::operation::list_multipart_uploads::ListMultipartUploadsOutput;
use aws_sdk_s3::operation::list_object_versions::ListObjectVersionsOutput;
use aws_sdk_s3::types::{
    BucketLocationConstraint, BucketNamespace, CreateBucketConfiguration, Delete, EncodingType, ObjectIdentifier, Tag as S3Tag,
};
use jiff::Timestamp;

use crate::observed::Contents;
use crate::sdk::{BucketCalls, build, decoded_key, is_xml};
use crate::settings::tags::Tags;
use crate::vocabulary::problem::{Class, Problem, ignore_not_found};

/// The only region whose name S3 does not accept as a location.
const NO_LOCATION: &str = "us-east-1";
/// Buckets per page: those whose names begin with the requested name, which comes first.
const PAGE: i32 = 1_000;
const DELETE_VERSION: &str = "s3:DeleteObjectVersion";
/// How many pages of a thousand one reconcile removes; a larger bucket needs several reconciles.
const PAGES_AT_ONCE: usize = 100;

impl BucketCalls<'_> {
    /// Creates the bucket and its tags in one call, so that it is managed from the start. In a call with tags, S3 never
    /// answers that it created a bucket that already existed, not even in us-east-1.
    pub async fn create(&self, region: &str, tags: &Tags) -> Result<(), Problem> {
        const ACTION: &str = "s3:CreateBucket";
        let tags = tags.iter().map(|(key, value)| build(ACTION, S3Tag::builder().key(key).value(value).build()));
        let configuration = CreateBucketConfiguration::builder()
            .set_location_constraint((region != NO_LOCATION).then(|| BucketLocationConstraint::from(region)))
            .set_tags(Some(tags.collect::<Result<_, _>>()?))
            .build();
        // A name of this form is in the account's own namespace, where only the account can create buckets.
        let own = self.name.ends_with(&format!("-{}-{region}-an", self.account));
        let call = self.s3.create_bucket().bucket(self.name).create_bucket_configuration(configuration);
        let call = call.set_bucket_namespace(own.then_some(BucketNamespace::AccountRegional));
        self.sdk.call(ACTION, call.send()).await.map(drop)
    }

    /// When the bucket was created; `None` if the account has no bucket with that name. Call it in us-east-1, or the
    /// equivalent region of other partitions: elsewhere the date changes with some settings
    /// (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_Bucket.html>).
    pub async fn created(&self) -> Result<Option<Timestamp>, Problem> {
        let call = self.s3.list_buckets().prefix(self.name).max_buckets(PAGE);
        let page = self.sdk.call("s3:ListAllMyBuckets", call.send()).await?;
        let bucket = page.buckets().iter().find(|bucket| bucket.name() == Some(self.name));
        Ok(bucket.and_then(|bucket| Timestamp::from_second(bucket.creation_date()?.secs()).ok()))
    }

    /// Counts the contents of the bucket, up to a thousand of each kind.
    pub async fn contents(&self) -> Result<Contents, Problem> {
        let (versions, uploads) = futures::try_join!(self.versions(), self.uploads())?;
        Ok(Contents {
            versions: versions.versions().len() + versions.delete_markers().len(),
            objects: versions.versions().iter().filter(|version| version.is_latest == Some(true)).count(),
            uploads: uploads.uploads().len(),
            more: versions.is_truncated == Some(true) || uploads.is_truncated == Some(true),
        })
    }

    /// Deletes every version, delete marker and upload; `Ok(false)` if more is left for the next reconcile.
    pub async fn empty(&self) -> Result<bool, Problem> {
        self.abort_uploads().await?;
        for _ in 0..PAGES_AT_ONCE {
            let page = self.versions().await?;
            let encoded = page.encoding_type().is_some();
            let versions = page.versions().iter().map(|v| (v.key(), v.version_id()));
            let markers = page.delete_markers().iter().map(|m| (m.key(), m.version_id()));
            let found = versions.chain(markers).filter_map(|(key, version)| Some((decoded_key(key?, encoded), version)));
            let (batch, alone): (Vec<_>, Vec<_>) = found.partition(|(key, _)| is_xml(key));
            if batch.is_empty() && alone.is_empty() {
                return Ok(true);
            }
            for (key, version) in alone {
                self.delete_object(&key, version).await?;
            }
            self.delete_objects(batch).await?;
        }
        Ok(false)
    }

    async fn abort_uploads(&self) -> Result<(), Problem> {
        let page = self.uploads().await?;
        let encoded = page.encoding_type().is_some();
        for upload in page.uploads() {
            let call = self.s3.abort_multipart_upload().bucket(self.name).expected_bucket_owner(self.account);
            let call = call.set_key(upload.key().map(|key| decoded_key(key, encoded))).set_upload_id(upload.upload_id.clone());
            ignore_not_found(self.sdk.call("s3:AbortMultipartUpload", call.send()).await)?;
        }
        Ok(())
    }

    /// The first versions and delete markers. Keys are URL-encoded: an answer in XML cannot contain every key.
    async fn versions(&self) -> Result<ListObjectVersionsOutput, Problem> {
        let call = self.s3.list_object_versions().bucket(self.name).expected_bucket_owner(self.account);
        self.sdk.call("s3:ListBucketVersions", call.encoding_type(EncodingType::Url).send()).await
    }

    /// The first unfinished uploads, with encoded keys.
    async fn uploads(&self) -> Result<ListMultipartUploadsOutput, Problem> {
        let call = self.s3.list_multipart_uploads().bucket(self.name).expected_bucket_owner(self.account);
        self.sdk.call("s3:ListBucketMultipartUploads", call.encoding_type(EncodingType::Url).send()).await
    }

    /// Deletes one version, named in the URL: for a key that a request in XML cannot contain.
    async fn delete_object(&self, key: &str, version: Option<&str>) -> Result<(), Problem> {
        let call = self.s3.delete_object().bucket(self.name).expected_bucket_owner(self.account).key(key);
        ignore_not_found(self.sdk.call(DELETE_VERSION, call.set_version_id(version.map(str::to_owned)).send()).await.map(drop))
    }

    /// Deletes up to a thousand versions. A successful answer can contain refusals of single objects, such as locked
    /// ones.
    async fn delete_objects(&self, versions: Vec<(String, Option<&str>)>) -> Result<(), Problem> {
        if versions.is_empty() {
            return Ok(());
        }
        let ids = versions.into_iter().map(|(key, version)| {
            build(DELETE_VERSION, ObjectIdentifier::builder().key(key).set_version_id(version.map(str::to_owned)).build())
        });
        let ids = ids.collect::<Result<Vec<_>, _>>()?;
        let delete = build(DELETE_VERSION, Delete::builder().set_objects(Some(ids)).quiet(true).build())?;
        let call = self.s3.delete_objects().bucket(self.name).expected_bucket_owner(self.account).delete(delete);
        let answer = self.sdk.call(DELETE_VERSION, call.send()).await?;
        match answer.errors().first() {
            None => Ok(()),
            Some(error) => {
                let class = if error.code() == Some("AccessDenied") { Class::Denied } else { Class::Unavailable };
                let text = format!("object {}: {}", error.key().unwrap_or_default(), error.message().unwrap_or_default());
                Err(Problem::new(class, DELETE_VERSION, error.code().unwrap_or_default(), text))
            }
        }
    }

    /// Deletes the bucket; a missing bucket counts as deleted.
    pub async fn delete(&self) -> Result<(), Problem> {
        let call = self.s3.delete_bucket().bucket(self.name).expected_bucket_owner(self.account);
        ignore_not_found(self.sdk.call("s3:DeleteBucket", call.send()).await)
    }
}
