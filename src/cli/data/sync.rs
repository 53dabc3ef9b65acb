//! `bucketconnection sync`.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures::stream::{StreamExt, iter};

use super::progress::Progress;
use super::transfer::{Side, Transfer, count, job, note};
use crate::cli::Failure;
use crate::cli::terminal::{print, warn};
use crate::data::{Compare, Difference, Item, Origin, differences, is_same, remove};
use crate::render::printable;

/// Copy what differs between a folder and a connection's bucket, or two connections
///
/// Copies what the target does not have, what has another size, and what is newer in the source; with --checksum, what has another
/// content. NAME:path is a folder in the bucket of the BucketConnection NAME, below its prefix.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  bucketconnection sync ./run-42 genomics:42
  bucketconnection sync genomics: ./runs --delete --dry-run")]
pub(in crate::cli) struct Sync {
    /// Source: a local folder, or NAME:path
    source: String,

    /// Target: a local folder, or NAME:path
    target: String,

    /// Compare the contents of what has the same size, not the times. Objects without a CRC of the whole are copied
    #[arg(long)]
    checksum: bool,

    /// Delete from the target what the source does not have. Nothing is deleted if anything failed
    #[arg(long)]
    delete: bool,

    #[command(flatten)]
    transfer: Transfer,
}

impl Sync {
    pub(in crate::cli) async fn run(&self) -> Result<ExitCode, Failure> {
        let stores = self.transfer.place.stores().await?;
        let (from, to) = (Side::open(&self.source, &stores).await?, Side::open(&self.target, &stores).await?);
        match (&from, &to) {
            (Side::Local(_), Side::Local(_)) => {
                return Err(Failure(
                    "both sides are local folders; write NAME:path for a place in the bucket of a BucketConnection".to_owned(),
                ));
            }
            (Side::Local(path), _) if !path.is_dir() => {
                return Err(Failure(format!("{}: not a folder; use cp for a file", path.display())));
            }
            // A target that does not exist is empty.
            (_, Side::Local(path)) if !self.transfer.dry_run => {
                std::fs::create_dir_all(path).map_err(|error| Failure(format!("{}: {error}", path.display())))?
            }
            _ => {}
        }
        from.refuse_inside(self.transfer.paths, &to)?;
        note(&to, true);
        let extra = Arc::new(Mutex::new(Vec::new()));
        let found = Arc::new(AtomicBool::new(false));
        let (filter, compare) = (self.transfer.filter(), if self.checksum { Compare::Size } else { Compare::Newer });
        let left = Arc::default();
        let target = to.list_target(filter.clone(), &left);
        let finds = found.clone();
        let source = from
            .list(filter)
            .inspect(move |listed| {
                if listed.is_ok() {
                    finds.store(true, Ordering::Relaxed);
                }
            })
            .boxed();
        let (from_ref, to_ref, kept) = (&from, &to, &extra);
        let each = |difference| async move {
            let item = match difference {
                Difference::Failed(name, fault) => return Some(Err((name, fault))),
                Difference::Copy(item, _) => item,
                Difference::Same(source, target) if self.checksum => match self.differs(from_ref, to_ref, &source, &target).await
                {
                    Ok(true) => source,
                    Ok(false) => return None,
                    Err(fault) => return Some(Err((source.name, fault))),
                },
                Difference::Same(..) => return None,
                Difference::Extra(item) => {
                    kept.lock().unwrap_or_else(PoisonError::into_inner).push(item);
                    return None;
                }
            };
            let name = item.name.clone();
            job(from_ref, item, to_ref, &name).transpose()
        };
        let at_once = usize::from(self.transfer.parallel);
        let jobs = differences(source, target, compare).map(each).buffered(at_once).filter_map(std::future::ready).boxed();
        let (code, summary) = self.transfer.run(jobs, &[&from, &to], &to).await;
        for text in left.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            warn(&printable(&format!("note: left as it is: {text}")));
        }
        let extra = std::mem::take(&mut *extra.lock().unwrap_or_else(PoisonError::into_inner));
        if !self.delete || extra.is_empty() {
            return Ok(code);
        }
        if !summary.is_complete() {
            warn("--delete: nothing was deleted, because not everything was copied");
            return Ok(code);
        }
        // A misspelled source looks like an empty one.
        if !found.load(Ordering::Relaxed) {
            return Err(Failure(format!("nothing at {}; --delete deleted nothing, use rm to delete everything", self.source)));
        }
        self.delete(&to, extra).await
    }

    async fn differs(&self, from: &Side, to: &Side, source: &Item, target: &Item) -> Result<bool, crate::data::Fault> {
        let store = |side: &Side| if let Side::Remote(store, _) = side { Some(store.clone()) } else { None };
        Ok(!is_same(store(from).as_ref(), source, store(to).as_ref(), target).await?)
    }

    /// Deletes what only the target has.
    async fn delete(&self, to: &Side, extra: Vec<Item>) -> Result<ExitCode, Failure> {
        if self.transfer.dry_run {
            for item in &extra {
                print(&format!("would delete {}\n", printable(&to.shown(&item.name))));
            }
            return Ok(ExitCode::SUCCESS);
        }
        let number = extra.len() as u64;
        let mut failed = 0;
        match to {
            Side::Local(_) => {
                for item in extra {
                    let Origin::File(path) = item.origin else { continue };
                    if let Err(error) = std::fs::remove_file(&path) {
                        failed += 1;
                        warn(&format!("{}: {error}", path.display()));
                    }
                }
            }
            Side::Remote(store, _) => {
                let progress = Progress::start(true);
                let engine = self.transfer.engine(&progress);
                let keys = extra
                    .into_iter()
                    .filter_map(|item| if let Origin::Object { key, .. } = item.origin { Some(key) } else { None });
                let removed = remove(&engine, store, iter(keys).boxed()).await;
                if let Some(fault) = &removed.ended {
                    return Ok(super::ended(fault, &[&store.connection]));
                }
                failed = removed.failed as u64;
            }
        }
        print(&format!("deleted {}\n", count(number - failed)));
        Ok(ExitCode::from(u8::from(failed > 0)))
    }
}
