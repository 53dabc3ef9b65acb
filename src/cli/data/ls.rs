//! `bucketconnection ls`.

use std::process::ExitCode;
use std::sync::Arc;

use futures::StreamExt;
use indicatif::DecimalBytes;
use jiff::Timestamp;
use serde::Serialize;

use super::{Paths, Where};
use crate::cli::Failure;
use crate::cli::terminal::{print_json, print_on};
use crate::data::{Fault, Filter, Item, Origin, Store, folder, key_for, objects, pages};
use crate::render::printable;

/// List the objects in a connection's bucket
///
/// Begins at the prefix of the connection: its key can list nothing else. A path that begins with "/" is from the root of the bucket.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  bucketconnection ls genomics
  bucketconnection ls -r genomics:42
  bucketconnection ls 'genomics:42/*.bam' -o json")]
pub(in crate::cli) struct Ls {
    /// NAME, NAME:path or NAME/path, with the name of a BucketConnection
    #[arg(value_name = "NAME[:PATH]")]
    address: String,

    #[command(flatten)]
    how: How,

    #[command(flatten)]
    place: Where,
}

/// What to list, and how.
#[derive(clap::Args, Default)]
pub(super) struct How {
    /// Also what is in folders
    #[arg(short, long)]
    recursive: bool,

    /// Sizes in bytes
    #[arg(short, long)]
    bytes: bool,

    #[command(flatten)]
    paths: Paths,

    /// Output
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// How to print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Output {
    /// For people.
    #[default]
    Text,
    /// One JSON array.
    Json,
}

/// An object or folder, in JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    modified: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
}

impl Ls {
    pub(in crate::cli) async fn run(&self) -> Result<ExitCode, Failure> {
        let (store, path) = self.place.store(&self.address).await?;
        list(&store, &path, &self.how).await
    }
}

impl How {
    fn line(&self, entry: &Entry, base: &str) -> String {
        let size = match entry.size {
            Some(size) if self.bytes => size.to_string(),
            Some(size) => DecimalBytes(size).to_string(),
            None => "folder".to_owned(),
        };
        let modified = entry.modified.map(|at| at.to_string()).unwrap_or_default();
        let name = entry.key.strip_prefix(base).filter(|name| !name.is_empty()).unwrap_or(&entry.key);
        format!("{modified:<20}  {size:>12}  {}\n", printable(name))
    }
}

/// Prints what is at the path.
pub(super) async fn list(store: &Arc<Store>, path: &str, how: &How) -> Result<ExitCode, Failure> {
    let key = key_for(&store.prefix, path);
    let (mut all, mut found) = (Vec::new(), false);
    // Returns whether there is still a reader.
    let mut show = |entry: Entry, base: &str| {
        found = true;
        if how.output == Output::Json {
            all.push(entry);
            return true;
        }
        print_on(&how.line(&entry, base))
    };
    if how.recursive || how.paths.is_pattern(path) {
        let mut listed = objects(store.clone(), path, Filter { raw: how.paths.raw, ..Filter::default() });
        let base = if how.paths.is_pattern(path) { store.prefix.clone() } else { folder(&key) };
        while let Some(item) = listed.next().await {
            if !show(of(item.map_err(|(_, fault)| failure(store, &key, &fault))?), &base) {
                return Ok(ExitCode::SUCCESS);
            }
        }
    } else {
        // Without a "/" at the end, the path may be an object, or a folder.
        let base = folder(&key);
        let mut listed = pages(store, &base, Some("/"));
        while let Some(page) = listed.next().await {
            let page = page.map_err(|fault| failure(store, &key, &fault))?;
            let folders = page.folders.into_iter().map(|key| Entry { key, size: None, modified: None, etag: None });
            if !folders.chain(page.objects.into_iter().map(of)).all(|entry| show(entry, &base)) {
                return Ok(ExitCode::SUCCESS);
            }
        }
        let mut parent = pages(store, &key, Some("/"));
        if base != key
            && let Some(page) = parent.next().await
        {
            let page = page.map_err(|fault| failure(store, &key, &fault))?;
            if let Some(entry) = page.objects.into_iter().map(of).find(|entry| entry.key == key) {
                show(entry, "");
            }
        }
    }
    if how.output == Output::Json {
        print_json(&all)?;
    } else if !found {
        return Err(nothing(store, &key));
    }
    Ok(ExitCode::SUCCESS)
}

fn of(item: Item) -> Entry {
    let (key, etag) = match item.origin {
        Origin::Object { key, head } => (key, head.etag),
        Origin::File(path) => (path.display().to_string(), None),
    };
    Entry { key, etag, size: Some(item.size), modified: Timestamp::from_second(item.modified).ok() }
}

/// S3 has no folders: that nothing is there is all that a misspelled path can lead to.
pub(super) fn nothing(store: &Store, key: &str) -> Failure {
    Failure(format!("nothing at s3://{}/{key} ({})", store.bucket, store.connection))
}

/// A listing of `key` that failed. If it is outside of the prefix, this says so.
pub(super) fn failure(store: &Store, key: &str, fault: &Fault) -> Failure {
    let hint = if !fault.is_denied() || key.starts_with(&store.prefix) {
        String::new()
    } else {
        format!(
            "; the key of {0} can list what is below {1:?} only: a path without a \"/\" at its beginning is below it",
            store.connection, store.prefix
        )
    };
    Failure(format!("{}: {fault}{hint}", store.connection))
}
