//! What `cp` and `sync` share: their options, Ctrl-C, and the summary.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;
use futures::future::ready;
use futures::stream::{BoxStream, empty, once};
use indicatif::{DecimalBytes, HumanCount};

use super::progress::{Progress, rate};
use super::{Paths, Stores, Where, ended, note_for_ica, stoppable};
use crate::cli::terminal::{print, print_on, warn};
use crate::cli::{Failure, INTERRUPTED};
use crate::data::{
    Address, COPIED_AT_ONCE, Engine, Fault, Filter, Item, Job, Listed, Origin, Store, Summary, Work, base, files, folder,
    key_for, objects,
};
use crate::render::printable;

/// How objects are transferred.
#[derive(clap::Args)]
pub(super) struct Transfer {
    /// Only objects whose names, below the source, match one of these patterns. `*` matches any characters, also "/"
    #[arg(long, value_name = "PATTERN")]
    pub include: Vec<String>,

    /// Not the objects whose names match one of these patterns
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Vec<String>,

    /// Show what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Requests at a time
    #[arg(long, value_name = "NUMBER", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub parallel: u16,

    /// Begin again instead of continuing an interrupted transfer
    #[arg(long)]
    pub restart: bool,

    /// Largest object, in bytes, that S3 copies in one call: other implementations of S3 can have a lower limit than AWS
    #[arg(long, hide = true, value_name = "BYTES", default_value_t = COPIED_AT_ONCE)]
    pub copied_at_once: u64,

    /// Show failures only
    #[arg(short, long)]
    pub quiet: bool,

    #[command(flatten)]
    pub paths: Paths,

    #[command(flatten)]
    pub place: Where,
}

/// One side of a transfer.
pub(super) enum Side {
    Local(PathBuf),
    Remote(Arc<Store>, String),
}

impl Side {
    pub(super) async fn open(address: &str, stores: &Stores) -> Result<Self, Failure> {
        if address == "-" {
            return Err(Failure("-: standard input and output cannot be copied; ./- names a file".to_owned()));
        }
        Ok(match Address::parse(address) {
            Address::Local(path) => Self::Local(path),
            Address::Remote { connection, path } => Self::Remote(stores.open(&connection).await?, path),
        })
    }

    /// Refuses a target inside of the source: the copy would find its own objects, and never end.
    pub(super) fn refuse_inside(&self, paths: Paths, to: &Self) -> Result<(), Failure> {
        let (Self::Remote(from, path), Self::Remote(store, target)) = (self, to) else { return Ok(()) };
        let key = key_for(&from.prefix, path);
        let source = base(&key, paths.raw);
        if from.bucket == store.bucket && folder(&key_for(&store.prefix, target)).starts_with(&source) {
            let text = format!(
                "the target s3://{0}/{1} is inside of the source s3://{0}/{source}; choose another",
                from.bucket,
                key_for(&store.prefix, target)
            );
            return Err(Failure(text));
        }
        Ok(())
    }

    /// Everything below it.
    pub(super) fn list(&self, filter: Filter) -> BoxStream<'static, Listed> {
        match self {
            Self::Local(path) => files(path.clone(), filter),
            Self::Remote(store, path) => objects(store.clone(), path, filter),
        }
    }

    /// Everything below it that `sync` can replace or delete. Local files that no object can be are left as they are, and added to
    /// `left`: `--delete` never reaches what is behind a symbolic link to a folder.
    pub(super) fn list_target(&self, filter: Filter, left: &Arc<Mutex<Vec<String>>>) -> BoxStream<'static, Listed> {
        let Self::Local(path) = self else { return self.list(filter) };
        if !path.exists() {
            return empty().boxed();
        }
        let left = left.clone();
        let takes = move |listed: Listed| match listed {
            Err((name, fault @ Fault::Object(_))) => {
                left.lock().unwrap_or_else(PoisonError::into_inner).push(fault.about(&name));
                None
            }
            listed => Some(listed),
        };
        self.list(filter).filter_map(move |listed| ready(takes(listed))).boxed()
    }

    /// Everything below it; if nothing is in the bucket there, that is a failure: the place may be misspelled.
    pub(super) fn list_some(&self, filter: Filter) -> BoxStream<'static, Listed> {
        let Self::Remote(..) = self else { return self.list(filter) };
        let (found, shown) = (Arc::new(AtomicBool::new(false)), self.shown(""));
        let finds = found.clone();
        let listed = self.list(filter).inspect(move |_| finds.store(true, Ordering::Relaxed));
        let end = move || {
            let nothing = || Err((shown, Fault::Object("nothing is there, or nothing matches".to_owned())));
            (!found.load(Ordering::Relaxed)).then(nothing)
        };
        listed.chain(once(async { end() }).filter_map(ready)).boxed()
    }

    /// The last part of its path.
    pub(super) fn last(&self) -> String {
        match self {
            Self::Local(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            Self::Remote(_, path) => path.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned(),
        }
    }

    fn connection(&self) -> Option<&str> {
        if let Self::Remote(store, _) = self { Some(&store.connection) } else { None }
    }

    /// The same place as a folder.
    pub(super) fn is_folder(&self) -> bool {
        match self {
            Self::Local(path) => path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/"),
            Self::Remote(_, path) => path.is_empty() || path.ends_with('/'),
        }
    }

    /// How to write a name below this place.
    pub(super) fn shown(&self, name: &str) -> String {
        match self {
            Self::Local(path) => path.join(name).display().to_string(),
            Self::Remote(store, path) => format!("s3://{}/{}{name}", store.bucket, folder(&key_for(&store.prefix, path))),
        }
    }
}

/// A transfer of `item` to the name below `to`; or `None` for the marker of a folder, which no file can be.
pub(super) fn job(from: &Side, item: Item, to: &Side, name: &str) -> Result<Option<Job>, (String, Fault)> {
    let (size, listed) = (item.size, item.head());
    let shown = match &item.origin {
        Origin::File(path) => path.display().to_string(),
        Origin::Object { key, .. } => key.clone(),
    };
    let work = match (from, item.origin, to) {
        (_, Origin::File(path), Side::Remote(store, folder)) => {
            Work::Upload { path, store: store.clone(), key: key_for(&store.prefix, &below(folder, name)) }
        }
        // Consoles make folders visible by empty objects whose keys end in "/".
        (Side::Remote(..), Origin::Object { .. }, Side::Local(_)) if size == 0 && (name.is_empty() || name.ends_with('/')) => {
            return Ok(None);
        }
        (Side::Remote(store, _), Origin::Object { key, .. }, Side::Local(root)) => {
            let (store, root, name) = (store.clone(), root.clone(), name.to_owned());
            Work::Download { store, key, listed, root, name }
        }
        (Side::Remote(from, _), Origin::Object { key, .. }, Side::Remote(store, folder)) => {
            let to = key_for(&store.prefix, &below(folder, name));
            Work::Copy { from: from.clone(), key, listed, store: store.clone(), to }
        }
        _ => return Err((shown, Fault::Object("one side must be a connection".to_owned()))),
    };
    Ok(Some(Job { name: shown, size, work }))
}

/// The path of a name below a folder.
fn below(path: &str, name: &str) -> String {
    if path == "/" { format!("/{name}") } else { format!("{}{name}", folder(path)) }
}

/// Notes about rules of a platform, before anything is written into a folder or as one object.
pub(super) fn note(to: &Side, into: bool) {
    if let Side::Remote(store, path) = to {
        let path = if into { folder(path) } else { path.clone() };
        note_for_ica(store, &key_for(&store.prefix, &path));
    }
}

impl Transfer {
    pub(super) fn filter(&self) -> Filter {
        Filter { include: self.include.clone(), exclude: self.exclude.clone(), raw: self.paths.raw }
    }

    /// An engine that Ctrl-C stops.
    pub(super) fn engine(&self, progress: &Arc<Progress>) -> Arc<Engine> {
        let mut engine = Engine::new(usize::from(self.parallel), self.restart, progress.clone());
        engine.copied_at_once = self.copied_at_once;
        stoppable(engine)
    }

    /// Runs the jobs, or prints them. Returns the exit code with what was done.
    pub(super) async fn run(
        &self,
        jobs: BoxStream<'_, Result<Job, (String, Fault)>>,
        sides: &[&Side],
        to: &Side,
    ) -> (ExitCode, Summary) {
        if self.dry_run {
            let summary = would(jobs).await;
            return (ExitCode::from(u8::from(summary.failed > 0)), summary);
        }
        let progress = Progress::start(self.quiet);
        let engine = self.engine(&progress);
        let summary = engine.run(jobs).await;
        progress.end();
        if !self.quiet {
            print(&format!("{}\n", told(&summary, &progress)));
        }
        (report(&summary, engine.keeps_parts(), sides, to), summary)
    }
}

/// Says why the transfers ended early, and what is kept of those that are not complete. Returns the exit code.
fn report(summary: &Summary, keeps_parts: bool, sides: &[&Side], to: &Side) -> ExitCode {
    let Some(fault) = &summary.ended else { return ExitCode::from(u8::from(summary.failed > 0)) };
    let connections: Vec<_> = sides.iter().filter_map(|side| side.connection()).collect();
    let code = ended(fault, &connections);
    let what = match to {
        _ if !keeps_parts => "nothing is kept of unfinished objects",
        Side::Local(_) => "parts of unfinished files are kept next to them, hidden: repeat the command to continue",
        Side::Remote(..) => "S3 keeps the parts of unfinished uploads: repeat the command to continue",
    };
    if code == ExitCode::from(INTERRUPTED) {
        warn(&format!("interrupted; {what}"));
    } else if keeps_parts {
        warn(&format!("{what} when the cause is removed"));
    }
    code
}

/// Prints what would be done.
async fn would(mut jobs: BoxStream<'_, Result<Job, (String, Fault)>>) -> Summary {
    let mut summary = Summary::default();
    while let Some(job) = jobs.next().await {
        match job {
            Ok(job) => {
                summary.objects += 1;
                summary.bytes += job.size;
                if !print_on(&format!("would copy {} to {}\n", printable(&job.name), printable(&target(&job.work)))) {
                    return summary;
                }
            }
            Err((name, fault)) => {
                summary.failed += 1;
                warn(&printable(&fault.about(&name)));
            }
        }
    }
    print(&format!("would copy {}, {}\n", count(summary.objects), DecimalBytes(summary.bytes)));
    summary
}

fn target(work: &Work) -> String {
    match work {
        Work::Upload { store, key, .. } => format!("s3://{}/{key}", store.bucket),
        Work::Copy { store, to, .. } => format!("s3://{}/{to}", store.bucket),
        Work::Download { root, name, .. } => Path::new(root).join(name).display().to_string(),
    }
}

/// A number of objects.
pub(super) fn count(objects: u64) -> String {
    if objects == 1 { "1 object".to_owned() } else { format!("{} objects", HumanCount(objects)) }
}

fn told(summary: &Summary, progress: &Progress) -> String {
    let time = progress.elapsed();
    let moved = summary.bytes.saturating_sub(progress.kept_bytes());
    let mut text = format!(
        "copied {}, {} in {:.1} s ({}/s)",
        count(summary.objects),
        DecimalBytes(summary.bytes),
        time.as_secs_f64(),
        DecimalBytes(rate(moved, time))
    );
    if progress.kept_bytes() > 0 {
        text += &format!("; {} were there from an interrupted run", DecimalBytes(progress.kept_bytes()));
    }
    match summary.unverified {
        0 => {}
        some if some == summary.objects => text += "; not verified: S3 returned no checksum of the whole object",
        some => text += &format!("; {} not verified: S3 returned no checksum of the whole object", count(some)),
    }
    if summary.failed > 0 {
        text += &format!("; {} failed", count(summary.failed));
    }
    text
}
