//! `bucketconnection cp`.

use std::collections::HashSet;
use std::process::ExitCode;

use futures::stream::{self, BoxStream, StreamExt};

use super::transfer::{Side, Transfer, job, note};
use crate::cli::Failure;
use crate::data::{Fault, Item, Job, Listed, Origin, file, key_for};
use crate::vocabulary::problem::Class;

/// Copy files to a connection's bucket, from it, or between connections
///
/// NAME:path is an object in the bucket of the BucketConnection NAME: below its prefix, or from the root of the bucket if the path
/// begins with "/". Everything else is a local path; write ./NAME:path for a file with a colon. With several sources, or if the target
/// ends in "/" or is a folder, each source keeps its name in the target. A source with * or ? copies all objects that match.
///
/// A copy that was interrupted continues when you repeat the command. Checksums are compared end to end. Exit code 0: everything was
/// copied. 1: something failed. 130: Ctrl-C.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  bucketconnection cp sample.bam genomics:incoming/
  bucketconnection cp -r genomics:42 ./run-42 --include '*.bam'
  bucketconnection cp -r genomics:42 archive:42")]
pub(in crate::cli) struct Cp {
    /// Copy everything below the source into the target
    #[arg(short, long)]
    recursive: bool,

    /// Sources: local paths, or NAME:path
    #[arg(required = true, value_name = "SOURCE")]
    sources: Vec<String>,

    /// Target: a local path, or NAME:path
    #[arg(value_name = "TARGET")]
    target: String,

    #[command(flatten)]
    transfer: Transfer,
}

impl Cp {
    pub(in crate::cli) async fn run(&self) -> Result<ExitCode, Failure> {
        let stores = self.transfer.place.stores().await?;
        let to = Side::open(&self.target, &stores).await?;
        let mut from = Vec::new();
        for source in &self.sources {
            from.push(Side::open(source, &stores).await?);
        }
        if from.iter().any(|from| matches!((from, &to), (Side::Local(_), Side::Local(_)))) {
            return Err(Failure(
                "both sides are local paths; write NAME:path for a place in the bucket of a BucketConnection".to_owned(),
            ));
        }
        for from in from.iter().filter(|from| self.many(from)) {
            from.refuse_inside(self.transfer.paths, &to)?;
        }
        let into = self.recursive || from.len() > 1 || to.is_folder();
        note(&to, into);
        let mut jobs: Vec<BoxStream<'_, Result<Job, (String, Fault)>>> = Vec::new();
        for from in &from {
            jobs.push(self.jobs(from, &to, into).await?);
        }
        refuse_same_names(&from, |from| self.many(from) && !self.recursive)?;
        let sides: Vec<_> = from.iter().chain([&to]).collect();
        Ok(self.transfer.run(stream::iter(jobs).flatten().boxed(), &sides, &to).await.0)
    }

    /// Whether a source is everything below a place, or all that matches.
    fn many(&self, from: &Side) -> bool {
        self.recursive || matches!(from, Side::Remote(_, path) if self.transfer.paths.is_pattern(path))
    }

    /// The transfers from one source.
    async fn jobs<'a>(
        &self,
        from: &'a Side,
        to: &'a Side,
        into: bool,
    ) -> Result<BoxStream<'a, Result<Job, (String, Fault)>>, Failure> {
        // Of several folders, each keeps its name in the target.
        let folder = if self.recursive && self.sources.len() > 1 { from.last() } else { String::new() };
        let each = move |listed: Listed| {
            let name = listed.as_ref().map(|item| item.name.clone()).unwrap_or_default();
            let name = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            listed.and_then(|item| job(from, item, to, &name)).transpose()
        };
        if self.many(from) {
            return Ok(from.list_some(self.transfer.filter()).filter_map(move |listed| std::future::ready(each(listed))).boxed());
        }
        let filter = self.transfer.filter();
        let listed = single(from).await;
        if listed.as_ref().is_ok_and(|item| !filter.takes(&item.name)) {
            return Ok(stream::empty().boxed());
        }
        if let (Ok(item), false) = (&listed, into) {
            let (parent, name) = split(to)?;
            let job = job(from, item.clone(), &parent, &name).transpose();
            return Ok(stream::iter(job).boxed());
        }
        Ok(stream::iter(each(listed)).boxed())
    }
}

/// One file or object. Its name is the last part of its path.
async fn single(from: &Side) -> Listed {
    match from {
        Side::Local(path) if path.is_dir() => {
            Err((path.display().to_string(), Fault::Object("it is a folder; add -r to copy what is in it".to_owned())))
        }
        Side::Local(path) => file(path, &path.file_name().unwrap_or_default().to_string_lossy()),
        Side::Remote(store, path) => {
            let key = key_for(&store.prefix, path);
            if key.is_empty() || key.ends_with('/') {
                return Err((key, Fault::Object("it is a folder; add -r to copy what is in it".to_owned())));
            }
            match store.head(&key).await {
                Ok(head) => Ok(Item {
                    name: key.rsplit('/').next().unwrap_or(&key).to_owned(),
                    size: head.size,
                    modified: head.modified,
                    origin: Origin::Object { key, head },
                }),
                Err(Fault::Call(problem)) if problem.class == Class::Missing => {
                    Err((key, Fault::Object("there is no such object; if it is a folder, add -r".to_owned())))
                }
                Err(fault) => Err((key, fault)),
            }
        }
    }
}

/// Two sources of the same name would overwrite each other in the target.
fn refuse_same_names(from: &[Side], has_names_of_its_own: impl Fn(&Side) -> bool) -> Result<(), Failure> {
    let mut names = HashSet::new();
    for name in from.iter().filter(|from| !has_names_of_its_own(from)).map(Side::last) {
        if !names.insert(name.clone()) {
            return Err(Failure(format!(
                "two sources are called {name:?}, and would overwrite each other; copy them one at a time"
            )));
        }
    }
    Ok(())
}

/// A target that is not a folder: the folder that it is in, and its name there.
fn split(to: &Side) -> Result<(Side, String), Failure> {
    match to {
        Side::Local(path) => {
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.ok_or_else(|| Failure(format!("{}: not the name of a file", path.display())))?;
            Ok((Side::Local(path.parent().unwrap_or(std::path::Path::new("")).to_owned()), name.to_owned()))
        }
        Side::Remote(store, path) => {
            let (folder, name) = path.rfind('/').map_or(("", path.as_str()), |slash| path.split_at(slash + 1));
            Ok((Side::Remote(store.clone(), folder.to_owned()), name.to_owned()))
        }
    }
}
