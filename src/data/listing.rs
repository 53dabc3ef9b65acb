//! What is there to transfer: the objects of a prefix, or the files of a folder; both in the order of S3.

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use futures::stream::{self, BoxStream, StreamExt};

use super::names::{before_wildcard, is_unfinished, key_for};
use super::{Fault, Filter, Head, Store};
use crate::sdk::{decoded_key, list_keys};
use crate::vocabulary::wildcard::policy_matches;

/// One file or object.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its name below the folder or prefix that was listed.
    pub name: String,
    /// Where it is.
    pub origin: Origin,
    /// Its size in bytes.
    pub size: u64,
    /// When it was last changed, in seconds since 1970.
    pub modified: i64,
}

/// Where a file or object is.
#[derive(Clone, Debug)]
pub enum Origin {
    /// A file.
    File(PathBuf),
    /// An object.
    Object {
        /// Its key.
        key: String,
        /// What S3 said of it.
        head: Head,
    },
}

/// An item, or what failed, with the name of the object.
pub type Listed = Result<Item, (String, Fault)>;

/// One page of a listing by folders.
pub struct Page {
    /// The folders, each with a "/" at the end.
    pub folders: Vec<String>,
    /// The objects.
    pub objects: Vec<Item>,
}

impl Item {
    /// What S3 said of an object.
    pub fn head(&self) -> Option<Head> {
        if let Origin::Object { head, .. } = &self.origin { Some(head.clone()) } else { None }
    }
}

/// The objects in an answer, each with its name below `base`.
fn items(answer: &ListObjectsV2Output, base: &str) -> Vec<Item> {
    let encoded = answer.encoding_type().is_some();
    let item = |object: &aws_sdk_s3::types::Object| {
        let key = decoded_key(object.key().unwrap_or_default(), encoded);
        let name = key.strip_prefix(base).unwrap_or(&key).to_owned();
        let size = u64::try_from(object.size().unwrap_or_default()).unwrap_or_default();
        let modified = object.last_modified().map_or(0, |at| at.secs());
        let head = Head { etag: object.e_tag().map(str::to_owned), size, modified, checksum: None, is_listed: true };
        Item { name, origin: Origin::Object { key, head }, size, modified }
    };
    answer.contents().iter().map(item).collect()
}

/// The folders in an answer.
fn folders(answer: &ListObjectsV2Output) -> Vec<String> {
    let encoded = answer.encoding_type().is_some();
    answer.common_prefixes().iter().filter_map(|folder| Some(decoded_key(folder.prefix()?, encoded))).collect()
}

/// The objects whose keys begin with `prefix`, page by page. With a `delimiter`, those in folders are left out.
pub fn pages<'a>(store: &'a Store, prefix: &str, delimiter: Option<&str>) -> BoxStream<'a, Result<Page, Fault>> {
    let answers =
        list_keys(&store.client, &store.bucket, prefix).set_delimiter(delimiter.map(str::to_owned)).into_paginator().send();
    stream::unfold((answers, prefix.to_owned()), move |(mut answers, prefix)| async move {
        let answer = answers.next().await?;
        let page = store.call("s3:ListBucket", async { answer }).await;
        let page = page.map(|answer| Page { folders: folders(&answer), objects: items(&answer, &prefix) });
        Some((page, (answers, prefix)))
    })
    .boxed()
}

/// All objects below a folder, or all that a pattern matches.
pub fn objects(store: Arc<Store>, path: &str, filter: Filter) -> BoxStream<'static, Listed> {
    let key = key_for(&store.prefix, path);
    let pattern = before_wildcard(&key).filter(|_| !filter.raw).map(|_| key.clone());
    let base = base(&key, filter.raw);
    // The part before the wildcard narrows the listing further than the folder does.
    let listed = pattern.as_ref().map_or(base.clone(), |key| key[..key.find(['*', '?']).unwrap_or(key.len())].to_owned());
    let answers = list_keys(&store.client, &store.bucket, &listed).into_paginator().send();
    let found = stream::unfold((answers, store), move |(mut answers, store)| {
        let base = base.clone();
        async move {
            let answer = answers.next().await?;
            let items: Vec<Listed> = match store.call("s3:ListBucket", async { answer }).await {
                Ok(answer) => items(&answer, &base).into_iter().map(Ok).collect(),
                Err(fault) => vec![Err((base.clone(), fault))],
            };
            Some((stream::iter(items), (answers, store)))
        }
    });
    let wanted = move |listed: &Listed| {
        let Ok(Item { name, origin: Origin::Object { key, .. }, .. }) = listed else { return true };
        pattern.as_ref().is_none_or(|pattern| policy_matches(pattern, key)) && filter.takes(name)
    };
    found.flatten().filter(move |listed| std::future::ready(wanted(listed))).boxed()
}

/// What the names of the objects at a key are below: the key as a folder, or the folder part of a pattern.
pub fn base(key: &str, raw: bool) -> String {
    before_wildcard(key).filter(|_| !raw).map_or_else(|| folder(key), str::to_owned)
}

/// The key as that of a folder.
pub fn folder(key: &str) -> String {
    if key.is_empty() || key.ends_with('/') { key.to_owned() } else { format!("{key}/") }
}

/// All files below a folder, in the order of their keys. What cannot be an object is reported.
pub fn files(root: PathBuf, filter: Filter) -> BoxStream<'static, Listed> {
    let pending = VecDeque::from([Entry { name: String::new(), path: root, is_folder: true }]);
    stream::iter(Walk { pending, filter }).boxed()
}

/// A walk that reads one folder at a time.
struct Walk {
    pending: VecDeque<Entry>,
    filter: Filter,
}

struct Entry {
    name: String,
    path: PathBuf,
    is_folder: bool,
}

impl Iterator for Walk {
    type Item = Listed;

    fn next(&mut self) -> Option<Listed> {
        loop {
            let entry = self.pending.pop_front()?;
            if !entry.is_folder {
                if self.filter.takes(&entry.name) {
                    return Some(file(&entry.path, &entry.name));
                }
                continue;
            }
            match folder_entries(&entry) {
                Ok(entries) => {
                    for entry in entries.into_iter().rev() {
                        self.pending.push_front(entry);
                    }
                }
                Err(fault) => return Some(Err((entry.path.display().to_string(), fault))),
            }
        }
    }
}

/// The entries of a folder, as S3 sorts their keys: a folder by its name with a "/".
fn folder_entries(place: &Entry) -> Result<Vec<Entry>, Fault> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(&place.path).map_err(Fault::reading(&place.path))? {
        let entry = entry.map_err(Fault::reading(&place.path))?;
        let path = entry.path();
        // A name that is not UTF-8 is reported when its turn comes; a link to a folder is none.
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if !is_folder && is_unfinished(&name) {
            continue;
        }
        let end = if is_folder { "/" } else { "" };
        entries.push(Entry { name: format!("{}{name}{end}", place.name), path, is_folder });
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// One file. A link to a file is read; a link to a folder could lead to a circle, and is reported.
pub fn file(path: &Path, name: &str) -> Listed {
    let failed = |text: &str| Err((path.display().to_string(), Fault::Object(text.to_owned())));
    if path.file_name().is_some_and(|name| name.to_str().is_none()) {
        return failed("its name is not UTF-8, which the key of an object must be; rename it");
    }
    let data = match fs::metadata(path) {
        Err(_) if path.is_symlink() => return failed("a symbolic link that leads to no file"),
        data => data.map_err(|error| (path.display().to_string(), Fault::reading(path)(error)))?,
    };
    if data.is_dir() {
        return failed("a symbolic link to a folder, which is not followed");
    }
    if !data.is_file() {
        return failed("not a regular file");
    }
    Ok(Item { name: name.to_owned(), origin: Origin::File(path.to_owned()), size: data.len(), modified: data.mtime() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn files_come_in_the_order_of_s3() {
        let root = std::env::temp_dir().join(format!("bucketconnection-walk-{}", std::process::id()));
        let names = ["a-b", "a/x", "a/y/z", "a.b", "b", "ü", "B"];
        for name in names.iter().chain([&"a/.x.1.bucketconnection"]) {
            fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            fs::write(root.join(name), name).unwrap();
        }
        std::os::unix::fs::symlink(root.join("a"), root.join("loop")).unwrap();
        let found: Vec<_> = files(root.clone(), Filter::default()).collect().await;
        fs::remove_dir_all(&root).unwrap();
        let taken: Vec<_> = found.iter().filter_map(|listed| listed.as_ref().ok().map(|item| item.name.clone())).collect();
        let mut expected: Vec<_> = names.map(str::to_owned).into();
        expected.sort();
        assert_eq!(taken, expected);
        let failed: Vec<_> = found.iter().filter_map(|listed| listed.as_ref().err()).collect();
        assert!(failed.len() == 1 && failed[0].0.ends_with("loop"), "{failed:?}");
    }
}
