//! `bucketconnection du`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use futures::StreamExt;
use indicatif::{DecimalBytes, HumanCount};
use serde::Serialize;

use super::ls::{Output, failure, nothing};
use super::{Paths, Where};
use crate::cli::Failure;
use crate::cli::terminal::{print, print_json, table};
use crate::data::{Filter, base, key_for, objects};
use crate::render::printable;

/// Sum the sizes of the objects in a connection's bucket, by folder
///
/// Lists every object below the path, 1,000 in each call. Old versions and unfinished uploads are not counted.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  bucketconnection du genomics
  bucketconnection du genomics:42 --depth 2")]
pub(in crate::cli) struct Du {
    /// NAME, NAME:path or NAME/path, with the name of a BucketConnection
    #[arg(value_name = "NAME[:PATH]")]
    address: String,

    /// Folders below the path that get a row of their own
    #[arg(short, long, value_name = "LEVELS", default_value_t = 1)]
    depth: usize,

    /// Output
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,

    #[command(flatten)]
    paths: Paths,

    #[command(flatten)]
    place: Where,
}

/// The sum of a folder, in JSON.
#[derive(Clone, Copy, Default, Serialize)]
struct Sum {
    bytes: u64,
    objects: u64,
}

impl Du {
    pub(in crate::cli) async fn run(&self) -> Result<ExitCode, Failure> {
        let (store, path) = self.place.store(&self.address).await?;
        let key = key_for(&store.prefix, &path);
        let root = base(&key, self.paths.raw);
        let mut sums = BTreeMap::from([(String::new(), Sum::default())]);
        let mut listed = objects(store.clone(), &path, Filter { raw: self.paths.raw, ..Filter::default() });
        while let Some(item) = listed.next().await {
            let item = item.map_err(|(_, fault)| failure(&store, &key, &fault))?;
            for row in rows(&item.name, self.depth) {
                let sum = sums.entry(row.to_owned()).or_default();
                *sum = Sum { bytes: sum.bytes + item.size, objects: sum.objects + 1 };
            }
        }
        let shown = |row: &str| format!("s3://{}/{root}{row}", store.bucket);
        if self.output == Output::Json {
            let all: BTreeMap<_, _> = sums.iter().map(|(row, sum)| (shown(row), sum)).collect();
            print_json(&all)?;
        } else if sums.values().all(|sum| sum.objects == 0) {
            return Err(nothing(&store, &key));
        } else {
            let row = |(row, sum): (&String, &Sum)| {
                vec![DecimalBytes(sum.bytes).to_string(), HumanCount(sum.objects).to_string(), printable(&shown(row))]
            };
            print(&table(&["SIZE", "OBJECTS", "FOLDER"], sums.iter().map(row)));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The rows that an object counts for: the whole, and each folder down to the depth.
fn rows(name: &str, depth: usize) -> impl Iterator<Item = &str> {
    let folders = name.match_indices('/').map(|(at, _)| &name[..=at]);
    std::iter::once("").chain(folders.take(depth))
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_object_counts_for_its_folders() {
        let rows = |depth| super::rows("a/b/c", depth).collect::<Vec<_>>();
        assert_eq!((rows(0), rows(1), rows(9)), (vec![""], vec!["", "a/"], vec!["", "a/", "a/b/"]));
    }
}
