//! The bucket of a connection, as its key reaches it.

use std::future::Future;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::Fault;
use super::checksum::{Algorithm, Recorded, recorded};
use super::names::flaw_of_key;
use crate::credentials::KeyPair;
use crate::sdk;
use crate::vocabulary::problem::{Class, Problem};

/// Objects that one call can delete.
pub(super) const DELETED_AT_ONCE: usize = 1_000;

/// How long S3 may take to answer, with all retries: a page of a list behind many delete markers takes minutes.
const ANSWERED: Duration = Duration::from_secs(5 * 60);
/// How long it may take to receive a part, to copy an object, or to join parts.
const WRITTEN: Duration = Duration::from_secs(30 * 60);

/// The bucket of a connection.
pub struct Store {
    /// The connection, for messages.
    pub connection: String,
    /// Name of the bucket.
    pub bucket: String,
    /// What the key is limited to: empty, or a prefix that ends in "/".
    pub prefix: String,
    /// Whether ICA works on the bucket: its rules apply.
    pub is_ica: bool,
    pub(super) client: Client,
}

/// What is known of an object before it is read.
#[derive(Clone, Debug)]
pub struct Head {
    /// Its ETag.
    pub etag: Option<String>,
    /// Its size in bytes.
    pub size: u64,
    /// When it was written, in seconds since 1970.
    pub modified: i64,
    pub(super) checksum: Option<Recorded>,
    /// Whether it comes from a listing, which has no checksum.
    pub(super) is_listed: bool,
}

impl Head {
    /// Whether it is enough to read an object that is no larger than this.
    pub(super) fn suffices(&self, size: u64) -> bool {
        self.etag.is_some() && (!self.is_listed || self.size <= size)
    }
}

impl Store {
    /// The bucket, with a client that signs with `key`. `endpoint` is that of S3, if it is not AWS's own.
    pub fn new(config: &SdkConfig, endpoint: Option<&str>, key: &KeyPair, region: &str, place: (&str, &str, &str)) -> Self {
        let (connection, bucket, prefix) = place;
        Self {
            connection: connection.to_owned(),
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            is_ica: false,
            client: sdk::transfers(config, endpoint, key, region),
        }
    }

    /// Makes a call. Boxed, because the SDK's futures have many kilobytes. The SDK notices a body that stalls, but not a server
    /// that never answers.
    pub(super) async fn call<T, E: ProvideErrorMetadata + std::error::Error + 'static>(
        &self,
        action: &'static str,
        send: impl Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
    ) -> Result<T, Fault> {
        let limit = if action == "s3:PutObject" { WRITTEN } else { ANSWERED };
        match tokio::time::timeout(limit, Box::pin(send)).await {
            Ok(answer) => answer.map_err(|failure| sdk::problem(action, &failure).into()),
            Err(_) => {
                let text = format!("no answer within {} minutes", limit.as_secs() / 60);
                Err(Problem::new(Class::Unavailable, action, "Timeout", text).into())
            }
        }
    }

    /// What S3 knows of an object.
    pub async fn head(&self, key: &str) -> Result<Head, Fault> {
        use aws_sdk_s3::types::ChecksumMode::Enabled;
        let send = self.client.head_object().bucket(&self.bucket).key(key).checksum_mode(Enabled).send();
        let answer = self.call("s3:GetObject", send).await?;
        Ok(Head {
            etag: answer.e_tag().map(str::to_owned),
            size: u64::try_from(answer.content_length().unwrap_or_default()).unwrap_or_default(),
            modified: answer.last_modified().map_or(0, |at| at.secs()),
            checksum: recorded!(answer),
            is_listed: false,
        })
    }

    /// Whether there is an object with this key.
    pub async fn has(&self, key: &str) -> Result<bool, Fault> {
        match self.head(key).await {
            Ok(_) => Ok(true),
            Err(Fault::Call(problem)) if problem.class == Class::Missing => Ok(false),
            Err(fault) => Err(fault),
        }
    }

    /// Writes an empty object whose key ends in "/": consoles show it as a folder.
    pub async fn make_folder(&self, key: &str) -> Result<(), Fault> {
        if let Some(flaw) = flaw_of_key(key) {
            return Err(Fault::Object(flaw));
        }
        let crc = Algorithm::Crc64Nvme.written(Algorithm::Crc64Nvme.of(b""));
        let send = self.client.put_object().bucket(&self.bucket).key(key).checksum_crc64_nvme(crc).send();
        self.call("s3:PutObject", send).await.map(drop)
    }

    /// Deletes up to 1,000 objects. Returns how many of them keep their versions, and what failed, by key.
    pub(super) async fn delete(&self, keys: Vec<String>) -> Result<(usize, Vec<(String, Fault)>), Fault> {
        let (together, alone): (Vec<_>, Vec<_>) = keys.into_iter().partition(|key| sdk::is_xml(key));
        let (mut kept, mut failed) = match together.is_empty() {
            true => (0, Vec::new()),
            false => self.delete_together(&together).await?,
        };
        for key in alone {
            let send = self.client.delete_object().bucket(&self.bucket).key(&key).send();
            match self.call("s3:DeleteObject", send).await {
                Ok(answer) => kept += usize::from(answer.delete_marker() == Some(true)),
                Err(fault) => failed.push((key, fault)),
            }
        }
        Ok((kept, failed))
    }

    /// The same, for keys that a request in XML can contain.
    async fn delete_together(&self, keys: &[String]) -> Result<(usize, Vec<(String, Fault)>), Fault> {
        let unset = |_| Fault::Object("a key is missing".to_owned());
        let objects: Result<Vec<_>, _> = keys.iter().map(|key| ObjectIdentifier::builder().key(key).build()).collect();
        let delete = Delete::builder().set_objects(Some(objects.map_err(unset)?)).build().map_err(unset)?;
        let send = self.client.delete_objects().bucket(&self.bucket).delete(delete).send();
        let answer = self.call("s3:DeleteObject", send).await?;
        let kept = answer.deleted().iter().filter(|deleted| deleted.delete_marker() == Some(true)).count();
        let failed = answer.errors().iter().map(|error| {
            let (code, text) = (error.code().unwrap_or("Unknown"), error.message().unwrap_or_default());
            let class = sdk::class_of(code);
            (error.key().unwrap_or_default().to_owned(), Problem::new(class, "s3:DeleteObject", code, text).into())
        });
        Ok((kept, failed.collect()))
    }

    /// A link with which anyone can read the object, or write it, until the time has passed.
    pub async fn presign(&self, key: &str, expires: Duration, put: bool) -> Result<String, Fault> {
        let config = PresigningConfig::expires_in(expires).map_err(|error| Fault::Object(error.to_string()))?;
        let request = if put {
            let send = self.client.put_object().bucket(&self.bucket).key(key).presigned(config);
            self.call("s3:PutObject", send).await?
        } else {
            let send = self.client.get_object().bucket(&self.bucket).key(key).presigned(config);
            self.call("s3:GetObject", send).await?
        };
        Ok(request.uri().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use aws_config::BehaviorVersion;
    use aws_sdk_s3::operation::get_object::{GetObjectError, GetObjectOutput};

    use super::*;
    use crate::credentials::Sensitive;

    #[tokio::test(start_paused = true)]
    async fn a_server_that_never_answers_is_not_waited_for_forever() {
        let config = SdkConfig::builder().behavior_version(BehaviorVersion::v2026_01_12()).build();
        let key = KeyPair { id: "AKIA".into(), secret: Sensitive::new("secret".into()) };
        let store = Store::new(&config, None, &key, "us-east-1", ("a", "bucket", ""));
        for (action, minutes) in [("s3:GetObject", 5), ("s3:PutObject", 30)] {
            let silence = pending::<Result<GetObjectOutput, SdkError<GetObjectError, HttpResponse>>>();
            let fault = store.call(action, silence).await.unwrap_err();
            assert_eq!(fault.to_string(), format!("{action}: Timeout: no answer within {minutes} minutes"));
        }
    }
}
