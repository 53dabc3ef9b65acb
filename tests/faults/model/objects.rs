//! The contents of a bucket: objects with their versions, and uploads in progress.

use bytes::Bytes;

use super::s3::Asks;
use super::state::{Bucket, Version};
use super::unknown;
use super::wire::{Answer, Success, element, elements, refuse, text, unescaped};

/// The id of versions that were written without versioning.
const NULL: &str = "null";
const PAGE: usize = 1_000;

/// `id` is the id for what is created.
pub(super) fn answer(bucket: &mut Bucket, asks: &Asks<'_>, key: &str, id: String) -> Answer {
    let call = asks.call;
    match (call.request.method().as_str(), call.action.as_str()) {
        ("GET", "s3:ListBucket") if call.parameter("list-type") == Some("2") => list(bucket, asks),
        ("GET", "s3:ListBucketVersions") => list_versions(bucket, asks),
        ("GET", "s3:ListBucketMultipartUploads") => list_uploads(bucket),
        ("POST", "s3:PutObject") => {
            let inner = element("Bucket", &bucket.name) + &element("Key", key) + &element("UploadId", &id);
            bucket.uploads.insert(id, key.to_owned());
            Ok(Success::xml(format!("<InitiateMultipartUploadResult>{inner}</InitiateMultipartUploadResult>")))
        }
        ("DELETE", "s3:AbortMultipartUpload") => {
            let upload = call.parameter("uploadId").unwrap_or_default();
            match bucket.uploads.remove(upload) {
                Some(_) => Ok(Success::empty(204)),
                None => refuse(404, "NoSuchUpload", "The specified upload does not exist."),
            }
        }
        ("PUT", "s3:PutObject") => {
            let version = bucket.write(key, Some(call.request.body().clone()), &asks.caller.arn, id);
            Ok(Success::empty(200).header("etag", "\"model\"").header("x-amz-version-id", &version))
        }
        ("GET" | "HEAD", "s3:GetObject") => get(bucket, key, call.parameter("versionId")),
        ("DELETE", "s3:DeleteObject") => {
            bucket.remove(key, call.parameter("versionId"), &asks.caller.arn, id);
            Ok(Success::empty(204))
        }
        ("POST", "s3:DeleteObjectVersion") => delete_many(bucket, asks, &id),
        _ => unknown(call),
    }
}

impl Bucket {
    fn write(&mut self, key: &str, body: Option<Bytes>, by: &str, id: String) -> String {
        let id = if self.versioning() == Some("Enabled") { id } else { NULL.to_owned() };
        let versions = self.objects.entry(key.to_owned()).or_default();
        versions.retain(|version| version.id != NULL || id != NULL);
        versions.push(Version { id: id.clone(), body, by: by.to_owned() });
        id
    }

    fn remove(&mut self, key: &str, version: Option<&str>, by: &str, id: String) {
        match version {
            Some(version) => {
                if let Some(versions) = self.objects.get_mut(key) {
                    versions.retain(|kept| kept.id != version);
                }
            }
            None if self.versioning().is_some() => drop(self.write(key, None, by, id)),
            None => drop(self.objects.remove(key)),
        }
        self.objects.retain(|_, versions| !versions.is_empty());
    }

    /// The current object; a delete marker hides it.
    fn latest(&self, key: &str) -> Option<&Bytes> {
        self.objects.get(key)?.last()?.body.as_ref()
    }
}

fn get(bucket: &Bucket, key: &str, version: Option<&str>) -> Answer {
    let body = match version {
        None => bucket.latest(key),
        Some(id) => {
            bucket.objects.get(key).and_then(|versions| versions.iter().find(|v| v.id == id)).and_then(|v| v.body.as_ref())
        }
    };
    match body {
        Some(body) => Ok(Success { status: 200, body: body.clone(), ..Success::default() }),
        None => refuse(404, "NoSuchKey", "The specified key does not exist."),
    }
}

fn list(bucket: &Bucket, asks: &Asks<'_>) -> Answer {
    let prefix = asks.call.parameter("prefix").unwrap_or_default();
    let most = asks.call.parameter("max-keys").and_then(|most| most.parse().ok()).unwrap_or(PAGE);
    let found: Vec<_> = bucket.objects.keys().filter(|key| key.starts_with(prefix) && bucket.latest(key).is_some()).collect();
    let shown = |key: &&String| {
        let size = bucket.latest(key).map_or(0, Bytes::len);
        format!("<Contents>{}{}</Contents>", element("Key", key), element("Size", &size.to_string()))
    };
    let contents: String = found.iter().take(most).map(shown).collect();
    let more = element("IsTruncated", if found.len() > most { "true" } else { "false" });
    let count = element("KeyCount", &found.len().min(most).to_string());
    Ok(Success::xml(format!("<ListBucketResult>{}{more}{count}{contents}</ListBucketResult>", element("Name", &bucket.name))))
}

fn list_versions(bucket: &Bucket, asks: &Asks<'_>) -> Answer {
    let prefix = asks.call.parameter("prefix").unwrap_or_default();
    let mut shown = Vec::new();
    for (key, versions) in bucket.objects.iter().filter(|(key, _)| key.starts_with(prefix)) {
        for (index, version) in versions.iter().enumerate().rev() {
            let kind = if version.body.is_some() { "Version" } else { "DeleteMarker" };
            let latest = if index + 1 == versions.len() { "true" } else { "false" };
            let inner = element("Key", key) + &element("VersionId", &version.id) + &element("IsLatest", latest);
            shown.push(format!("<{kind}>{inner}</{kind}>"));
        }
    }
    let more = element("IsTruncated", if shown.len() > PAGE { "true" } else { "false" });
    shown.truncate(PAGE);
    Ok(Success::xml(format!("<ListVersionsResult>{more}{}</ListVersionsResult>", shown.concat())))
}

fn list_uploads(bucket: &Bucket) -> Answer {
    let shown = |(id, key): (&String, &String)| format!("<Upload>{}{}</Upload>", element("Key", key), element("UploadId", id));
    let uploads: String = bucket.uploads.iter().map(shown).collect();
    Ok(Success::xml(format!(
        "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>{uploads}</ListMultipartUploadsResult>"
    )))
}

/// Each object is allowed or refused separately, inside a successful answer.
fn delete_many(bucket: &mut Bucket, asks: &Asks<'_>, id: &str) -> Answer {
    let mut errors = String::new();
    for (index, object) in elements(asks.call.body(), "Object").into_iter().enumerate() {
        let key = unescaped(text(object, "Key").unwrap_or_default());
        let version = text(object, "VersionId");
        let action = if version.is_some() { "s3:DeleteObjectVersion" } else { "s3:DeleteObject" };
        match asks.allowed(bucket, action, &key) {
            Ok(()) => bucket.remove(&key, version, &asks.caller.arn, format!("{id}{index}")),
            Err(refusal) => {
                let inner = element("Key", &key) + &element("Code", refusal.code) + &element("Message", &refusal.message);
                errors += &format!("<Error>{inner}</Error>");
            }
        }
    }
    Ok(Success::xml(format!("<DeleteResult>{errors}</DeleteResult>")))
}
