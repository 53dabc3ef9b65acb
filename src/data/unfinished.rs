//! A download that is not complete: a hidden file next to the target, with its progress behind the content.
//!
//! The content comes first, at its final place. Behind it are a header, which says of which object and version it is,
//! and a record for each part: its checksum, once it was written. A download continues only with the same object and
//! ETag, and with the parts whose content still has its checksum, so a crash of the machine does no harm either.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::Fault;
use super::checksum::Algorithm;
use super::names::unfinished;

/// Room for the header; longer than a bucket, a key and an ETag.
const HEADER: u64 = 8 << 10;
/// A mark, then the checksum.
const RECORD: u64 = 16;
const MARK: u64 = 0x6263_7061_7274_0001;
#[expect(clippy::cast_possible_wrap, reason = "a bit of a C int")]
const NO_LINK: i32 = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
const PIECE: usize = 256 << 10;

/// What must be the same for a download to continue.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Version<'a> {
    pub bucket: &'a str,
    pub key: &'a str,
    pub etag: &'a str,
    pub size: u64,
    pub part: u64,
}

/// The file.
pub(super) struct Unfinished {
    path: PathBuf,
    pub file: File,
    size: u64,
    part: u64,
}

impl Unfinished {
    /// Opens the file for `target`. No two processes write to it at a time.
    pub(super) fn open(target: &Path, size: u64, part: u64) -> Result<Self, Fault> {
        let path = unfinished(target);
        let mut options = OpenOptions::new();
        // Others may be able to write into the folder, and the name can be guessed: nothing is written through a link.
        let options = options.read(true).write(true).create(true).truncate(false).custom_flags(NO_LINK);
        let file = options.open(&path).map_err(|error| match fs::symlink_metadata(&path) {
            Ok(found) if found.is_symlink() => {
                Fault::Object(format!("{} is a symbolic link; delete it: nothing is written through it", path.display()))
            }
            _ => Fault::writing(&path)(error),
        })?;
        if !file.metadata().map_err(Fault::writing(&path))?.is_file() {
            return Err(Fault::Object(format!("{} is not a file; delete it", path.display())));
        }
        if file.try_lock().is_err() {
            return Err(Fault::Object("another process downloads to this file".to_owned()));
        }
        // The process that had the lock may have given the file its final name in the meantime.
        if !path.exists() {
            return Err(Fault::Object("another process downloaded this file just now".to_owned()));
        }
        Ok(Self { path, file, size, part })
    }

    fn failed(&self) -> impl Fn(std::io::Error) -> Fault + '_ {
        Fault::writing(&self.path)
    }

    /// Discards what is there. An empty file is not truncated again: ext4 would write all of it to the disk when it is closed.
    pub(super) fn clear(&self) -> Result<(), Fault> {
        match self.file.metadata().map_err(self.failed())?.len() {
            0 => Ok(()),
            _ => self.file.set_len(0).map_err(self.failed()),
        }
    }

    /// The checksums of the parts that are there already. If they are of another version, begins again.
    pub(super) fn resume(&self, version: &Version<'_>, algorithm: Algorithm, restart: bool) -> Result<Vec<Option<u64>>, Fault> {
        let count = self.size.div_ceil(self.part);
        let header = serde_json::to_vec(version).map_err(|error| Fault::Object(error.to_string()))?;
        let mut found = vec![0; header.len()];
        let same = self.file.read_exact_at(&mut found, self.size).is_ok() && found == header;
        if same && !restart {
            return (0..count).map(|index| self.kept(index, algorithm)).collect();
        }
        self.clear()?;
        self.file.set_len(self.size + HEADER + count * RECORD).map_err(self.failed())?;
        self.file.write_all_at(&header, self.size).map_err(self.failed())?;
        Ok(vec![None; usize::try_from(count).unwrap_or_default()])
    }

    /// The recorded checksum of a part, if its content has it.
    fn kept(&self, index: u64, algorithm: Algorithm) -> Result<Option<u64>, Fault> {
        let mut record = [0; RECORD as usize];
        self.file.read_exact_at(&mut record, self.record(index)).map_err(self.failed())?;
        let [mark, crc] = [&record[..8], &record[8..]].map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap_or_default()));
        if mark != MARK {
            return Ok(None);
        }
        let (mut at, end) = (index * self.part, ((index + 1) * self.part).min(self.size));
        let (mut sum, mut piece) = (algorithm.start(), vec![0; PIECE]);
        while at < end {
            let next = piece.len().min((end - at) as usize);
            self.file.read_exact_at(&mut piece[..next], at).map_err(self.failed())?;
            sum.update(&piece[..next]);
            at += next as u64;
        }
        Ok(Some(crc).filter(|crc| *crc == sum.finalize()))
    }

    fn record(&self, index: u64) -> u64 {
        self.size + HEADER + index * RECORD
    }

    pub(super) fn write(&self, at: u64, bytes: &[u8]) -> Result<(), Fault> {
        self.file.write_all_at(bytes, at).map_err(self.failed())
    }

    /// Records that a part was written.
    pub(super) fn done(&self, index: u64, crc: u64) -> Result<(), Fault> {
        let record = [MARK.to_le_bytes(), crc.to_le_bytes()].concat();
        self.file.write_all_at(&record, self.record(index)).map_err(self.failed())
    }

    /// Gives the file its final name, and the time of the object.
    pub(super) fn finish(self, target: &Path, modified: i64) -> Result<(), Fault> {
        self.file.set_len(self.size).map_err(self.failed())?;
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(modified).unwrap_or_default());
        self.file.set_modified(time).map_err(self.failed())?;
        fs::rename(&self.path, target).map_err(Fault::writing(target))
    }

    /// Deletes the file.
    pub(super) fn discard(self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_intact_and_of_the_same_version_is_kept() {
        let target = std::env::temp_dir().join(format!("bucketconnection-unfinished-{}", std::process::id()));
        let version = |etag: &'static str| Version { bucket: "b", key: "k", etag, size: 10, part: 4 };
        let (one, crc) = (Algorithm::Crc64Nvme, Algorithm::Crc64Nvme.of(b"abcd"));
        let open = || Unfinished::open(&target, 10, 4).unwrap();
        let file = open();
        assert_eq!(file.resume(&version("1"), one, false).unwrap(), [None; 3]);
        assert!(Unfinished::open(&target, 10, 4).is_err(), "two processes write");
        file.write(0, b"abcdabcdx").unwrap();
        file.done(0, crc).unwrap();
        file.done(1, crc).unwrap();
        drop(file);
        assert_eq!(open().resume(&version("1"), one, false).unwrap(), [Some(crc), Some(crc), None]);
        open().write(5, b"?").unwrap();
        assert_eq!(open().resume(&version("1"), one, false).unwrap(), [Some(crc), None, None]);
        assert_eq!(open().resume(&version("2"), one, false).unwrap(), [None; 3]);
        let file = open();
        file.write(0, b"0123456789").unwrap();
        file.finish(&target, 1_000_000_000).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"0123456789");
        assert!(!unfinished(&target).exists());
        fs::remove_file(&target).unwrap();
    }
}
