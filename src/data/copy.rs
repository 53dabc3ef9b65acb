//! One object, to another object: by S3 itself within a connection, through this machine between two.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_s3::primitives::ByteStream;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::checksum::{Algorithm, Recorded};
use super::download::{Reading, compare};
use super::engine::Transferred;
use super::multipart::{Multipart, Part};
use super::names::flaw_of_key;
use super::{Engine, Fault, Head, PART, Store, part_size};

/// In `x-amz-copy-source`: everything but the separators of a key is encoded.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Copies an object. The key of each connection is used for its own bucket only.
pub(super) async fn copy(
    engine: &Engine,
    from: &Arc<Store>,
    key: &str,
    listed: Option<Head>,
    store: &Arc<Store>,
    to: &str,
) -> Result<Transferred, Fault> {
    if let Some(flaw) = flaw_of_key(to) {
        return Err(Fault::Object(flaw));
    }
    let within = from.connection == store.connection;
    if within && key == to {
        return Err(Fault::Object("source and target are the same object".to_owned()));
    }
    let head = match listed.filter(|head| head.suffices(if within { u64::MAX } else { PART })) {
        Some(head) => head,
        None => from.head(key).await?,
    };
    let etag = head.etag.clone().unwrap_or_default();
    if within {
        let source = CopySource { name: format!("{}/{}", store.bucket, utf8_percent_encode(key, PATH)), etag };
        return source.copy(engine, store, to, head.size).await;
    }
    let reading = Reading { store: from.clone(), key: key.to_owned(), etag };
    let verified = if head.size <= PART {
        whole(engine, &reading, head.size, store, to).await?
    } else {
        parts(engine, &reading, &head, store, to).await?
    };
    Ok(Transferred { bytes: head.size, verified })
}

/// A version of an object that S3 copies in itself, and compares its own checksums of.
struct CopySource {
    /// The bucket and the encoded key.
    name: String,
    etag: String,
}

impl CopySource {
    async fn copy(self, engine: &Engine, store: &Arc<Store>, to: &str, bytes: u64) -> Result<Transferred, Fault> {
        if bytes > engine.copied_at_once {
            return self.copy_parts(engine, store, to, bytes).await;
        }
        let _turn = engine.turn().await;
        let send = store.client.copy_object().bucket(&store.bucket).key(to);
        let send = send.copy_source(self.name).copy_source_if_match(self.etag);
        store.call("s3:PutObject", send.send()).await?;
        engine.watch.moved(bytes);
        Ok(Transferred { bytes, verified: true })
    }

    async fn copy_parts(self, engine: &Engine, store: &Arc<Store>, to: &str, bytes: u64) -> Result<Transferred, Fault> {
        let mut upload = Multipart::begin(engine, store, to, bytes, &format!("{} {}", self.name, self.etag)).await?;
        let (missing, target, source) = (upload.missing(), upload.target(), Arc::new(self));
        let send = |part: Part| {
            let (target, source) = (target.clone(), source.clone());
            async move { target.copy(part, &source.name, &source.etag).await }
        };
        let done = |sent| {
            upload.add(sent);
            Ok(())
        };
        let result = engine.each(1, missing.into_iter(), send, done).await;
        if let Err(fault) = result {
            if fault.code() == "PreconditionFailed" {
                upload.abort().await;
            }
            return Err(fault);
        }
        upload.complete().await?;
        Ok(Transferred { bytes, verified: true })
    }
}

/// What was read, and the checksum to send with it.
async fn content(reading: &Reading, start: u64, length: u64, whole: bool) -> Result<(Vec<u8>, Option<Recorded>), Fault> {
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    let take = |at: u64, piece: &[u8]| {
        debug_assert_eq!(at - start, bytes.len() as u64);
        bytes.extend_from_slice(piece);
        Ok(())
    };
    let recorded = reading.read(start..start + length, whole, take).await?;
    Ok((bytes, recorded))
}

async fn whole(engine: &Engine, reading: &Reading, size: u64, store: &Store, to: &str) -> Result<bool, Fault> {
    // It is in memory.
    let _turns = engine.turns(2).await;
    let (bytes, recorded) = content(reading, 0, size, true).await?;
    let verified = match &recorded {
        Some(recorded) => compare(Some(recorded), recorded.algorithm, recorded.algorithm.of(&bytes))?,
        None => false,
    };
    let crc = Algorithm::Crc64Nvme.written(Algorithm::Crc64Nvme.of(&bytes));
    let send = store.client.put_object().bucket(&store.bucket).key(to).body(ByteStream::from(bytes)).checksum_crc64_nvme(&crc);
    let answer = store.call("s3:PutObject", send.customize().disable_payload_signing().send()).await?;
    engine.watch.moved(size);
    Ok(verified && answer.checksum_crc64_nvme() == Some(crc.as_str()))
}

async fn parts(engine: &Engine, reading: &Reading, head: &Head, store: &Arc<Store>, to: &str) -> Result<bool, Fault> {
    let source = format!("{}/{} {}", reading.store.bucket, reading.key, reading.etag);
    let mut upload = Multipart::begin(engine, store, to, head.size, &source).await?;
    let (missing, target) = (upload.missing(), upload.target());
    let recorded = head.checksum.as_ref();
    let algorithm = recorded.map(|recorded| recorded.algorithm);
    // The checksum of the source may be another than the one to send.
    let sums = Arc::new(Mutex::new(vec![None; usize::try_from(head.size.div_ceil(part_size(head.size))).unwrap_or_default()]));
    let send = |part: Part| {
        let (reading, target, sums) = (reading.clone(), target.clone(), sums.clone());
        async move {
            let (bytes, _) = content(&reading, part.start, part.length, false).await?;
            if let (Some(algorithm), Ok(index)) = (algorithm, usize::try_from(part.number - 1)) {
                let sum = (algorithm.of(&bytes), part.length);
                sums.lock().unwrap_or_else(PoisonError::into_inner)[index] = Some(sum);
            }
            let crc = Algorithm::Crc64Nvme.of(&bytes);
            target.put(part, ByteStream::from(bytes), crc).await
        }
    };
    let done = |sent| {
        upload.add(sent);
        Ok(())
    };
    // Each part is in memory: in 4 MiB pieces they take turns.
    let turns = usize::try_from(part_size(head.size) >> 22).unwrap_or(usize::MAX);
    let result = engine.each(turns, missing.into_iter(), send, done).await;
    if let Err(fault) = result {
        if fault.code() == "PreconditionFailed" {
            upload.abort().await;
        }
        return Err(fault);
    }
    // Parts that an earlier run sent are covered by the checksum of what is written only.
    let sums: Option<Vec<(u64, u64)>> = sums.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
    let read = match (algorithm, sums) {
        (Some(algorithm), Some(sums)) => {
            let crc = sums.iter().fold(0, |crc, (sum, length)| algorithm.joined(crc, *sum, *length));
            match compare(recorded, algorithm, crc) {
                Ok(equal) => equal,
                Err(fault) => {
                    upload.abort().await;
                    return Err(fault);
                }
            }
        }
        _ => false,
    };
    Ok(upload.complete().await? && read)
}
