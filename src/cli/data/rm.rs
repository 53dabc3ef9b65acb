//! `bucketconnection rm`.

use std::process::ExitCode;
use std::sync::Arc;

use futures::stream::{StreamExt, iter};
use indicatif::DecimalBytes;

use super::ls::{failure, nothing};
use super::progress::Progress;
use super::transfer::count;
use super::{Paths, Where, ended, stoppable};
use crate::cli::Failure;
use crate::cli::terminal::{confirm, print, warn};
use crate::data::{Engine, Filter, Origin, Store, folder, key_for, objects, remove};
use crate::render::printable;

/// Delete objects from a connection's bucket
///
/// A folder, or a path with * or ?, needs a confirmation, or --yes. In a versioned bucket the old versions
/// stay.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  bucketconnection rm genomics:42/sample.bam
  bucketconnection rm -r genomics:42
  bucketconnection rm 'genomics:*.tmp' --dry-run")]
pub(in crate::cli) struct Rm {
    /// NAME:path or NAME/path, with the name of a BucketConnection; a path with * or ? means all objects that match
    #[arg(value_name = "NAME:PATH")]
    address: String,

    /// Everything below the path
    #[arg(short, long)]
    recursive: bool,

    /// With -r: only objects whose names match one of these patterns
    #[arg(long, value_name = "PATTERN")]
    include: Vec<String>,

    /// With -r: not the objects whose names match one of these patterns
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,

    /// Show what would be deleted, and delete nothing
    #[arg(long)]
    dry_run: bool,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,

    #[command(flatten)]
    paths: Paths,

    #[command(flatten)]
    place: Where,
}

impl Rm {
    pub(in crate::cli) async fn run(&self) -> Result<ExitCode, Failure> {
        let (store, path) = self.place.store(&self.address).await?;
        let many = self.recursive || self.paths.is_pattern(&path);
        let filters = self.include.len() + self.exclude.len();
        if !many && filters > 0 {
            return Err(Failure("--include and --exclude need -r, or a path with * or ?; nothing was deleted".to_owned()));
        }
        let keys = if many { self.listed(&store, &path).await? } else { one(&store, &path).await? };
        if self.dry_run {
            keys.iter().for_each(|key| print(&format!("would delete s3://{}/{}\n", store.bucket, printable(key))));
            return Ok(ExitCode::SUCCESS);
        }
        let progress = Progress::start(true);
        let engine = stoppable(Engine::new(1, false, progress));
        let removed = remove(&engine, &store, iter(keys).boxed()).await;
        print(&format!("deleted {}\n", count(removed.objects as u64)));
        if removed.kept > 0 {
            warn(&format!(
                "the bucket is versioned: earlier versions of {} stay, and AWS bills them",
                count(removed.kept as u64)
            ));
        }
        match removed.ended {
            Some(fault) => Ok(ended(&fault, &[&store.connection])),
            None => Ok(ExitCode::from(u8::from(removed.failed > 0))),
        }
    }

    /// The keys of everything that is meant, after a person has confirmed.
    async fn listed(&self, store: &Arc<Store>, path: &str) -> Result<Vec<String>, Failure> {
        let key = key_for(&store.prefix, path);
        let filter = Filter { include: self.include.clone(), exclude: self.exclude.clone(), raw: self.paths.raw };
        let mut listed = objects(store.clone(), path, filter);
        let (mut keys, mut bytes) = (Vec::new(), 0);
        while let Some(item) = listed.next().await {
            let item = item.map_err(|(_, fault)| failure(store, &key, &fault))?;
            bytes += item.size;
            if let Origin::Object { key, .. } = item.origin {
                keys.push(key);
            }
        }
        if keys.is_empty() {
            return Err(nothing(store, &key));
        }
        let question = format!("Delete {} ({}) at s3://{}/{key}?", count(keys.len() as u64), DecimalBytes(bytes), store.bucket);
        if self.dry_run || self.yes || confirm(&question, "yes", "--yes").await? {
            Ok(keys)
        } else {
            Err(Failure("nothing was deleted".to_owned()))
        }
    }
}

/// The key of one object, which must exist.
async fn one(store: &Store, path: &str) -> Result<Vec<String>, Failure> {
    let key = key_for(&store.prefix, path);
    let hint = if key.is_empty() || key.ends_with('/') { "; add -r to delete what is in the folder" } else { "" };
    if key.is_empty() || !store.has(&key).await.map_err(|fault| Failure(format!("{key}: {fault}")))? {
        let folder = folder(&key);
        return Err(Failure(format!(
            "no object s3://{}/{key} ({}){hint}; ls -r lists what is in {folder:?}",
            store.bucket, store.connection
        )));
    }
    Ok(vec![key])
}
