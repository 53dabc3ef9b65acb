//! One object, to one file.

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::checksum::{Algorithm, Recorded, recorded};
use super::engine::{Kept, Transferred};
use super::names::{local_path, no_links};
use super::unfinished::{Unfinished, Version};
use super::{Engine, Fault, Head, PART, Store, part_size};
use crate::sdk::cause;
use crate::vocabulary::problem::{Class, Problem};

/// How often reading continues after the connection broke, without progress in between.
const BREAKS: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// A version of an object.
#[derive(Clone)]
pub(super) struct Reading {
    pub store: Arc<Store>,
    pub key: String,
    pub etag: String,
}

impl Reading {
    /// Reads a range of the object piece by piece, or all of it; continues when the connection breaks. Only this version is
    /// read. Returns the checksum that S3 has for the whole, if it was asked for the whole.
    pub(super) async fn read(
        &self,
        range: Range<u64>,
        whole: bool,
        mut take: impl FnMut(u64, &[u8]) -> Result<(), Fault> + Send,
    ) -> Result<Option<Recorded>, Fault> {
        let (mut at, mut breaks, mut checksum) = (range.start, 0, None);
        loop {
            let all = whole && at == range.start;
            let get = self.store.client.get_object().bucket(&self.store.bucket).key(&self.key).if_match(&self.etag);
            let get = if all {
                get.checksum_mode(aws_sdk_s3::types::ChecksumMode::Enabled)
            } else {
                get.range(format!("bytes={at}-{}", range.end - 1))
            };
            let mut answer = self.store.call("s3:GetObject", get.send()).await?;
            if all {
                checksum = recorded!(answer);
            }
            let broke = loop {
                match answer.body.try_next().await {
                    Ok(Some(piece)) => {
                        if at + piece.len() as u64 > range.end {
                            return Err(Fault::Object("S3 sent more than the object has; copy it again".to_owned()));
                        }
                        // Into the page cache: fast enough for a thread that also does other work.
                        take(at, &piece)?;
                        (at, breaks) = (at + piece.len() as u64, 0);
                    }
                    Ok(None) => break "the answer was too short".to_owned(),
                    Err(error) => break cause(&error),
                }
            };
            if at == range.end {
                return Ok(checksum);
            }
            breaks += 1;
            if breaks > BREAKS {
                return Err(Problem::new(Class::Unavailable, "s3:GetObject", "Interrupted", broke).into());
            }
            tokio::time::sleep(FIRST_WAIT * (1 << breaks)).await;
        }
    }
}

/// Whether what was read has the recorded checksum; `false` if S3 has none.
pub(super) fn compare(recorded: Option<&Recorded>, algorithm: Algorithm, crc: u64) -> Result<bool, Fault> {
    let Some(recorded) = recorded.filter(|recorded| recorded.algorithm == algorithm) else { return Ok(false) };
    if recorded.text == algorithm.written(crc) {
        return Ok(true);
    }
    Err(Fault::Object("what was read does not have the checksum that S3 recorded; copy it again".to_owned()))
}

/// Writes the object to the file `name` below `root`. Until it is complete it has another name.
pub(super) async fn download(
    engine: &Engine,
    store: &Arc<Store>,
    key: &str,
    listed: Option<Head>,
    root: &Path,
    name: &str,
) -> Result<Transferred, Fault> {
    let target = local_path(root, name)?;
    no_links(root, &target)?;
    if target.is_dir() {
        return Err(Fault::Object(format!("{} is a folder", target.display())));
    }
    if let Some(folder) = target.parent() {
        // Without the root, no other file can be written either.
        let failed = |error| if root.is_dir() { Fault::writing(folder)(error) } else { Fault::of_all(root)(error) };
        fs::create_dir_all(folder).map_err(failed)?;
    }
    // An answer with the whole object has its checksum; those with its parts do not.
    let head = match listed.filter(|head| head.suffices(PART)) {
        Some(head) => head,
        None => store.head(key).await?,
    };
    let reading = Reading { store: store.clone(), key: key.to_owned(), etag: head.etag.clone().unwrap_or_default() };
    let file = Arc::new(Unfinished::open(&target, head.size, part_size(head.size))?);
    let mut kept = Kept::new(engine);
    let verified = if head.size <= PART {
        whole(engine, &reading, &file, head.size).await
    } else {
        parts(engine, &reading, &file, head.size, head.checksum.clone(), &mut kept).await
    };
    let verified = finish(file, verified, &target, &head, &mut kept)?;
    Ok(Transferred { bytes: head.size, verified })
}

fn finish(
    file: Arc<Unfinished>,
    verified: Result<bool, Fault>,
    target: &Path,
    head: &Head,
    kept: &mut Kept<'_>,
) -> Result<bool, Fault> {
    // The tasks that wrote to it have ended.
    let file = Arc::into_inner(file).ok_or(Fault::Stopped)?;
    match verified {
        Ok(verified) => {
            file.finish(target, head.modified)?;
            kept.none();
            Ok(verified)
        }
        Err(fault) => {
            // Only the parts of a large object are worth keeping, and not if they are wrong.
            if head.size <= PART || matches!(fault, Fault::Object(_)) || fault.code() == "PreconditionFailed" {
                file.discard();
                kept.none();
            }
            Err(fault)
        }
    }
}

async fn whole(engine: &Engine, reading: &Reading, file: &Unfinished, size: u64) -> Result<bool, Fault> {
    let _turn = engine.turn().await;
    file.clear()?;
    // Which checksum S3 has is known only from the answer: all three cost less than another request.
    let mut sums = [Algorithm::Crc64Nvme, Algorithm::Crc32C, Algorithm::Crc32].map(|algorithm| (algorithm, algorithm.start()));
    let take = |at, piece: &[u8]| {
        sums.iter_mut().for_each(|(_, sum)| sum.update(piece));
        engine.watch.moved(piece.len() as u64);
        file.write(at, piece)
    };
    let recorded = reading.read(0..size, true, take).await?;
    let Some(recorded) = recorded else { return Ok(false) };
    let sum = sums.iter().find(|(algorithm, _)| *algorithm == recorded.algorithm);
    compare(Some(&recorded), recorded.algorithm, sum.map_or(0, |(_, sum)| sum.finalize()))
}

async fn parts(
    engine: &Engine,
    reading: &Reading,
    file: &Arc<Unfinished>,
    size: u64,
    recorded: Option<Recorded>,
    kept: &mut Kept<'_>,
) -> Result<bool, Fault> {
    let algorithm = recorded.as_ref().map_or(Algorithm::Crc64Nvme, |recorded| recorded.algorithm);
    let part = part_size(size);
    let length = move |index: u64| part.min(size - index * part);
    let (opened, reading_of, restart) = (file.clone(), reading.clone(), engine.restart);
    let resumed = tokio::task::spawn_blocking(move || {
        let Reading { store, key, etag } = &reading_of;
        opened.resume(&Version { bucket: &store.bucket, key, etag, size, part }, algorithm, restart)
    });
    let mut sums = resumed.await.map_err(|_| Fault::Stopped)??;
    let (there, missing): (Vec<u64>, Vec<u64>) = (0..sums.len() as u64).partition(|index| sums[*index as usize].is_some());
    kept.earlier(there.into_iter().map(length).sum());
    let read = |index: u64| {
        let (reading, file, watch) = (reading.clone(), file.clone(), engine.watch.clone());
        async move {
            let (start, mut sum) = (index * part, algorithm.start());
            let take = |at, piece: &[u8]| {
                sum.update(piece);
                watch.moved(piece.len() as u64);
                file.write(at, piece)
            };
            reading.read(start..start + length(index), false, take).await?;
            let crc = sum.finalize();
            file.done(index, crc)?;
            Ok((index, crc))
        }
    };
    let done = |(index, crc): (u64, u64)| {
        sums[index as usize] = Some(crc);
        kept.some();
        Ok(())
    };
    engine.each(1, missing.into_iter(), read, done).await?;
    let crc = (0u64..).zip(&sums).fold(0, |crc, (index, sum)| algorithm.joined(crc, sum.unwrap_or_default(), length(index)));
    compare(recorded.as_ref(), algorithm, crc)
}
