//! An upload in parts, which continues after an interruption.
//!
//! A record of the upload is kept in the user's state folder: its id, what is uploaded, and each part that S3 has. The
//! record continues only with the same file or object. S3 is asked which parts it has, if the key may ask; and it
//! compares the checksum of the whole object in the end.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::Arc;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumType, CompletedMultipartUpload, CompletedPart, CopyPartResult};
use serde::{Deserialize, Serialize};

use super::checksum::Algorithm;
use super::engine::Kept;
use super::{Engine, Fault, Store, part_size};
use crate::vocabulary::digest::digest;

/// A part of an object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub number: i32,
    pub start: u64,
    pub length: u64,
}

/// A part that S3 has.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Sent {
    number: i32,
    etag: String,
    /// None if S3 copied the part and does not say.
    crc: Option<u64>,
}

/// What the record begins with.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Header {
    bucket: String,
    key: String,
    id: String,
    part: u64,
    source: String,
}

/// Where the parts are sent.
#[derive(Clone)]
pub(super) struct Target {
    store: Arc<Store>,
    key: String,
    id: String,
}

/// An upload in parts.
pub(super) struct Multipart<'a> {
    engine: &'a Engine,
    kept: Kept<'a>,
    target: Target,
    size: u64,
    part: u64,
    sent: BTreeMap<i32, Sent>,
    record: Record,
}

/// The file with the record; without one if the folder cannot be written: then the upload cannot continue later.
struct Record {
    path: PathBuf,
    file: Option<File>,
}

impl Target {
    /// Sends a part.
    pub(super) async fn put(&self, part: Part, body: ByteStream, crc: u64) -> Result<Sent, Fault> {
        let Self { store, key, id } = self;
        let send = store.client.upload_part().bucket(&store.bucket).key(key).upload_id(id).part_number(part.number).body(body);
        let length = i64::try_from(part.length).unwrap_or(i64::MAX);
        let send = send.content_length(length).checksum_crc64_nvme(Algorithm::Crc64Nvme.written(crc));
        let answer = store.call("s3:PutObject", send.customize().disable_payload_signing().send()).await?;
        Ok(Sent { number: part.number, etag: answer.e_tag().unwrap_or_default().to_owned(), crc: Some(crc) })
    }

    /// Lets S3 copy a part from the version `etag` of `source`, a bucket and an encoded key.
    pub(super) async fn copy(&self, part: Part, source: &str, etag: &str) -> Result<Sent, Fault> {
        let Self { store, key, id } = self;
        let send = store.client.upload_part_copy().bucket(&store.bucket).key(key).upload_id(id).part_number(part.number);
        let range = format!("bytes={}-{}", part.start, part.start + part.length - 1);
        let send = send.copy_source(source).copy_source_if_match(etag).copy_source_range(range).send();
        let copied =
            store.call("s3:PutObject", send).await?.copy_part_result.unwrap_or_else(|| CopyPartResult::builder().build());
        let crc = copied.checksum_crc64_nvme().and_then(|text| Algorithm::Crc64Nvme.read(text));
        Ok(Sent { number: part.number, etag: copied.e_tag().unwrap_or_default().to_owned(), crc })
    }

    /// The parts that S3 has, by number with their ETags; `None` if the key may not ask, and a fault if the upload is gone.
    async fn listed(&self) -> Result<Option<BTreeMap<i32, String>>, Fault> {
        let Self { store, key, id } = self;
        let mut pages = store.client.list_parts().bucket(&store.bucket).key(key).upload_id(id).into_paginator().send();
        let mut parts = BTreeMap::new();
        while let Some(page) = pages.next().await {
            let page = match store.call("s3:ListMultipartUploadParts", async { page }).await {
                Err(fault) if fault.is_denied() => return Ok(None),
                page => page?,
            };
            let part = |part: &aws_sdk_s3::types::Part| {
                (part.part_number().unwrap_or_default(), part.e_tag().unwrap_or_default().to_owned())
            };
            parts.extend(page.parts().iter().map(part));
        }
        Ok(Some(parts))
    }

    async fn abort(&self) {
        let Self { store, key, id } = self;
        let send = store.client.abort_multipart_upload().bucket(&store.bucket).key(key).upload_id(id).send();
        // Not all keys may abort; the bucket's lifecycle rule does it then.
        let _ = store.call("s3:AbortMultipartUpload", send).await;
    }
}

impl<'a> Multipart<'a> {
    /// Continues the recorded upload of the same source to this key, or starts one. To restart discards the recorded one.
    pub(super) async fn begin(engine: &'a Engine, store: &Arc<Store>, key: &str, size: u64, source: &str) -> Result<Self, Fault> {
        let (part, record) = (part_size(size), Record::open(store, key)?);
        let target = |id| Target { store: store.clone(), key: key.to_owned(), id };
        if let Some((header, sent)) = record.read() {
            let old = target(header.id.clone());
            let same = header.source == source && header.part == part && header.key == key && header.bucket == store.bucket;
            if !engine.restart && same {
                match old.listed().await {
                    Ok(listed) => {
                        let has = |sent: &Sent| listed.as_ref().is_none_or(|listed| listed.get(&sent.number) == Some(&sent.etag));
                        let sent = sent.into_iter().filter(has).map(|sent| (sent.number, sent)).collect();
                        return Ok(Self::with(engine, old, size, sent, record));
                    }
                    Err(fault) if fault.code() == "NoSuchUpload" => {}
                    Err(fault) => return Err(fault),
                }
            } else {
                old.abort().await;
            }
        }
        let send = store.client.create_multipart_upload().bucket(&store.bucket).key(key);
        let send = send.checksum_algorithm(ChecksumAlgorithm::Crc64Nvme).checksum_type(ChecksumType::FullObject).send();
        let id = store.call("s3:PutObject", send).await?.upload_id.unwrap_or_default();
        let (bucket, key) = (store.bucket.clone(), key.to_owned());
        record.start(&Header { bucket, key, id: id.clone(), part, source: source.to_owned() });
        Ok(Self::with(engine, target(id), size, BTreeMap::new(), record))
    }

    fn with(engine: &'a Engine, target: Target, size: u64, sent: BTreeMap<i32, Sent>, record: Record) -> Self {
        let mut upload = Self { engine, kept: Kept::new(engine), target, size, part: part_size(size), sent, record };
        upload.kept.earlier(upload.sent.keys().map(|number| upload.nth(*number).length).sum());
        upload
    }

    pub(super) fn target(&self) -> Target {
        self.target.clone()
    }

    fn nth(&self, number: i32) -> Part {
        let start = u64::try_from(number - 1).unwrap_or_default() * self.part;
        Part { number, start, length: self.part.min(self.size.saturating_sub(start)) }
    }

    /// The parts that S3 does not have.
    pub(super) fn missing(&self) -> Vec<Part> {
        let count = i32::try_from(self.size.div_ceil(self.part)).unwrap_or(i32::MAX);
        (1..=count).filter(|number| !self.sent.contains_key(number)).map(|number| self.nth(number)).collect()
    }

    /// Records a part.
    pub(super) fn add(&mut self, sent: Sent) {
        self.record.append(&sent);
        self.engine.watch.moved(self.nth(sent.number).length);
        self.kept.some();
        self.sent.insert(sent.number, sent);
    }

    /// Makes the parts an object, if they have the checksum of the whole. Returns whether S3 says that it compared.
    pub(super) async fn complete(mut self) -> Result<bool, Fault> {
        let Target { store, key, id } = &self.target;
        let join = |crc, sent: &Sent| Some(Algorithm::Crc64Nvme.joined(crc, sent.crc?, self.nth(sent.number).length));
        let crc = self.sent.values().try_fold(0, join).map(|crc| Algorithm::Crc64Nvme.written(crc));
        let part = |sent: &Sent| {
            let part = CompletedPart::builder().part_number(sent.number).e_tag(&sent.etag);
            part.set_checksum_crc64_nvme(sent.crc.map(|crc| Algorithm::Crc64Nvme.written(crc))).build()
        };
        let parts = CompletedMultipartUpload::builder().set_parts(Some(self.sent.values().map(part).collect())).build();
        let send = store.client.complete_multipart_upload().bucket(&store.bucket).key(key).upload_id(id).multipart_upload(parts);
        let send = send.checksum_type(ChecksumType::FullObject).set_checksum_crc64_nvme(crc.clone());
        let send = send.mpu_object_size(i64::try_from(self.size).unwrap_or(i64::MAX)).send();
        match store.call("s3:PutObject", send).await {
            Ok(answer) => {
                self.record.remove();
                self.kept.none();
                Ok(crc.is_some() && answer.checksum_crc64_nvme() == crc.as_deref())
            }
            Err(fault) => {
                // S3 does not accept these parts, also not later.
                if matches!(fault.code(), "BadDigest" | "InvalidPart" | "InvalidRequest" | "NoSuchUpload" | "EntityTooSmall") {
                    self.abort().await;
                }
                Err(fault)
            }
        }
    }

    /// Discards the parts.
    pub(super) async fn abort(mut self) {
        self.target.abort().await;
        self.record.remove();
        self.kept.none();
    }
}

impl Record {
    /// Opens the record for a key. Two processes must not upload to the same key at a time.
    fn open(store: &Store, key: &str) -> Result<Self, Fault> {
        let folder = folder();
        let path = folder.join(format!("{}.jsonl", digest(format!("{}\0{key}", store.bucket), 16)));
        let opened = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .and_then(|()| OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path));
        let Ok(file) = opened else { return Ok(Self { path, file: None }) };
        if file.try_lock().is_err() {
            return Err(Fault::Object("another process uploads to this key".to_owned()));
        }
        Ok(Self { path, file: Some(file) })
    }

    fn read(&self) -> Option<(Header, Vec<Sent>)> {
        let mut lines = BufReader::new(File::open(&self.path).ok()?).lines();
        let header = serde_json::from_str(&lines.next()?.ok()?).ok()?;
        // A process that was killed can leave half a line at the end.
        Some((header, lines.map_while(|line| serde_json::from_str(&line.ok()?).ok()).collect()))
    }

    fn start(&self, header: &Header) {
        if let Some(file) = &self.file {
            let _ = file.set_len(0);
        }
        self.append(header);
    }

    /// What cannot be recorded is sent again the next time.
    fn append(&self, line: &impl Serialize) {
        let write =
            |mut file: &File| -> io::Result<()> { file.write_all(format!("{}\n", serde_json::to_string(line)?).as_bytes()) };
        let _ = self.file.as_ref().map(write);
    }

    fn remove(&self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Where records are kept (<https://specifications.freedesktop.org/basedir-spec/latest/>).
fn folder() -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = variable("XDG_STATE_HOME").or_else(|| variable("HOME").map(|home| home.join(".local/state")));
    state.unwrap_or_else(std::env::temp_dir).join("bucketconnection").join("uploads")
}
