//! One file, to one object.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_sdk_s3::primitives::{ByteStream, Length};

use super::checksum::Algorithm;
use super::engine::Transferred;
use super::multipart::{Multipart, Part};
use super::names::flaw_of_key;
use super::{Engine, Fault, PART, Store};

/// Files up to this size are held in memory while they are sent.
const SMALL: u64 = 256 << 10;
/// How much of a file is read at a time.
const PIECE: usize = 256 << 10;

/// A file as it was when it was opened.
struct Source {
    path: PathBuf,
    file: File,
    data: Metadata,
}

impl Source {
    fn open(path: &Path) -> Result<Self, Fault> {
        let file = File::open(path).map_err(Fault::reading(path))?;
        let data = file.metadata().map_err(Fault::reading(path))?;
        Ok(Self { path: path.to_owned(), file, data })
    }

    /// Size, time and identity: these change when the file does.
    fn fingerprint(data: &Metadata) -> String {
        format!("{} {}.{:09} {}:{}", data.len(), data.mtime(), data.mtime_nsec(), data.dev(), data.ino())
    }

    /// Fails if the file changed, or if another file now has its name.
    fn unchanged(&self) -> Result<(), Fault> {
        let now = std::fs::metadata(&self.path).map_err(Fault::reading(&self.path))?;
        if Self::fingerprint(&now) == Self::fingerprint(&self.data) {
            return Ok(());
        }
        Err(Fault::Object("the file changed while it was read; copy it again when nothing writes to it".to_owned()))
    }
}

/// The checksum of a file.
pub(super) fn file_checksum(path: &Path, algorithm: Algorithm) -> Result<u64, Fault> {
    let source = Source::open(path)?;
    checksum(&source.file, algorithm, 0, source.data.len()).map_err(Fault::reading(path))
}

/// The checksum of a part of a file.
fn checksum(file: &File, algorithm: Algorithm, start: u64, length: u64) -> io::Result<u64> {
    let (mut sum, mut piece, mut at) = (algorithm.start(), vec![0; PIECE.min(length as usize)], start);
    while at < start + length {
        let next = piece.len().min((start + length - at) as usize);
        file.read_exact_at(&mut piece[..next], at)?;
        sum.update(&piece[..next]);
        at += next as u64;
    }
    Ok(sum.finalize())
}

/// Sends the file. A large one in parts; if it was interrupted before, only the parts that are missing.
pub(super) async fn upload(engine: &Engine, path: &Path, store: &Arc<Store>, key: &str) -> Result<Transferred, Fault> {
    if let Some(flaw) = flaw_of_key(key) {
        return Err(Fault::Object(flaw));
    }
    let source = Arc::new(Source::open(path)?);
    let bytes = source.data.len();
    let file = source.clone();
    let sent = if bytes <= PART { put(engine, source, store, key).await } else { parts(engine, source, store, key).await };
    match sent {
        Ok(verified) => Ok(Transferred { bytes, verified }),
        // What a file that became shorter does to a request says less.
        Err(fault) if !fault.ends_all() => Err(file.unchanged().err().unwrap_or(fault)),
        Err(fault) => Err(fault),
    }
}

async fn put(engine: &Engine, source: Arc<Source>, store: &Arc<Store>, key: &str) -> Result<bool, Fault> {
    let _turn = engine.turn().await;
    let (body, crc) = content(source.clone(), 0, source.data.len()).await?;
    source.unchanged()?;
    let crc = Algorithm::Crc64Nvme.written(crc);
    let send = store.client.put_object().bucket(&store.bucket).key(key).body(body).checksum_crc64_nvme(&crc);
    let length = i64::try_from(source.data.len()).unwrap_or(i64::MAX);
    let send = send.content_length(length).customize().disable_payload_signing().send();
    let answer = store.call("s3:PutObject", send).await?;
    engine.watch.moved(source.data.len());
    Ok(answer.checksum_crc64_nvme() == Some(crc.as_str()))
}

/// A part of the file as the body of a request, and its checksum. It is read twice, so that it need not be in memory;
/// S3 refuses what does not have this checksum. The signature covers the checksum, and so the body.
async fn content(source: Arc<Source>, start: u64, length: u64) -> Result<(ByteStream, u64), Fault> {
    if length <= SMALL {
        let mut bytes = vec![0; length as usize];
        source.file.read_exact_at(&mut bytes, start).map_err(Fault::reading(&source.path))?;
        let crc = Algorithm::Crc64Nvme.of(&bytes);
        return Ok((ByteStream::from(bytes), crc));
    }
    let from = source.clone();
    let crc = tokio::task::spawn_blocking(move || checksum(&from.file, Algorithm::Crc64Nvme, start, length)).await;
    let crc = crc.map_err(|_| Fault::Stopped)?.map_err(Fault::reading(&source.path))?;
    let body = ByteStream::read_from().path(&source.path).offset(start).length(Length::Exact(length)).buffer_size(PIECE);
    let body = body.build().await.map_err(|error| Fault::Object(error.to_string()))?;
    Ok((body, crc))
}

async fn parts(engine: &Engine, source: Arc<Source>, store: &Arc<Store>, key: &str) -> Result<bool, Fault> {
    let (size, fingerprint) = (source.data.len(), Source::fingerprint(&source.data));
    let mut upload = Multipart::begin(engine, store, key, size, &fingerprint).await?;
    let (missing, target) = (upload.missing(), upload.target());
    let send = |part: Part| {
        let (source, target) = (source.clone(), target.clone());
        async move {
            let (body, crc) = content(source, part.start, part.length).await?;
            target.put(part, body, crc).await
        }
    };
    let done = |sent| {
        upload.add(sent);
        Ok(())
    };
    let result = engine.each(1, missing.into_iter(), send, done).await;
    match result.and_then(|()| source.unchanged()) {
        Ok(()) => upload.complete().await,
        Err(fault) => {
            // Parts of a file that has changed are worth nothing.
            if source.unchanged().is_err() {
                upload.abort().await;
            }
            Err(fault)
        }
    }
}
