//! What is there to transfer: the objects of a prefix, or the files of a folder; both in the order of S3.

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_sdk_s3::types::Object;
use futures::stream::{self, BoxStream, StreamExt};

use super::names::{before_wildcard, is_unfinished, key_for};
use super::{Fault, Filter, Head, Store};
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

fn item(object: &Object, base: &str) -> Item {
    let key = object.key().unwrap_or_default().to_owned();
    let name = key.strip_prefix(base).unwrap_or(&key).to_owned();
    let size = u64::try_from(object.size().unwrap_or_default()).unwrap_or_default();
    let modified = object.last_modified().map_or(0, |at| at.secs());
    let head = Head { etag: object.e_tag().map(str::to_owned), size, modified, checksum: None, is_listed: true };
    Item { name, origin: Origin::Object { key, head }, size, modified }
}

/// The objects whose keys begin with `prefix`, page by page. With a `delimiter`, those in folders are left out.
pub fn pages<'a>(store: &'a Store, prefix: &str, delimiter: Option<&str>) -> BoxStream<'a, Result<Page, Fault>> {
    let request = store.client.list_objects_v2().bucket(&store.bucket).prefix(prefix).set_delimiter(delimiter.map(str::to_owned));
    let (answers, prefix) = (request.into_paginator().send(), prefix.to_owned());
    stream::unfold((answers, prefix), move |(mut answers, prefix)| async move {
        let answer = answers.next().await?;
        let page = store.call("s3:ListBucket", async { answer }).await.map(|answer| Page {
            folders: answer.common_prefixes().iter().filter_map(|folder| folder.prefix().map(str::to_owned)).collect(),
            objects: answer.contents().iter().map(|object| item(object, &prefix)).collect(),
        });
        Some((page, (answers, prefix)))
    })
    .boxed()
}

/// All objects below a folder, or all that a pattern matches.
pub fn objects(store: Arc<Store>, path: &str, filter: Filter) -> BoxStream<'static, Listed> {
    let key = key_for(&store.prefix, path);
    let pattern = before_wildcard(&key).map(|_| key.clone());
    let base = before_wildcard(&key).map_or_else(|| folder(&key), str::to_owned);
    // The part before the wildcard narrows the listing further than the folder does.
    let listed = pattern.as_ref().map_or(base.clone(), |key| key[..key.find(['*', '?']).unwrap_or(key.len())].to_owned());
    let request = store.client.list_objects_v2().bucket(&store.bucket).prefix(listed);
    let answers = request.into_paginator().send();
    let items = stream::unfold((answers, store), move |(mut answers, store)| {
        let base = base.clone();
        async move {
            let answer = answers.next().await?;
            let items: Vec<Listed> = match store.call("s3:ListBucket", async { answer }).await {
                Ok(answer) => answer.contents().iter().map(|object| Ok(item(object, &base))).collect(),
                Err(fault) => vec![Err((base.clone(), fault))],
            };
            Some((stream::iter(items), (answers, store)))
        }
    });
    let wanted = move |listed: &Listed| {
        let Ok(Item { name, origin: Origin::Object { key, .. }, .. }) = listed else { return true };
        pattern.as_ref().is_none_or(|pattern| policy_matches(pattern, key)) && filter.takes(name)
    };
    items.flatten().filter(move |listed| std::future::ready(wanted(listed))).boxed()
}

/// The key as that of a folder.
pub fn folder(key: &str) -> String {
    if key.is_empty() || key.ends_with('/') { key.to_owned() } else { format!("{key}/") }
}

/// All files below a folder, in the order of their keys. What cannot be an object is reported.
pub fn files(root: PathBuf, filter: Filter) -> BoxStream<'static, Listed> {
    let pending = VecDeque::from([Entry { name: String::new(), path: root, is_folder: true }]);
    stream::iter(Walk { pending })
        .filter(move |listed| std::future::ready(listed.as_ref().map_or(true, |item| filter.takes(&item.name))))
        .boxed()
}

/// A walk that reads one folder at a time.
struct Walk {
    pending: VecDeque<Entry>,
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
                return Some(file(&entry.path, &entry.name));
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
    for entry in fs::read_dir(&place.path).map_err(Fault::at(&place.path))? {
        let entry = entry.map_err(Fault::at(&place.path))?;
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
    let data = fs::metadata(path).map_err(|error| (path.display().to_string(), Fault::at(path)(error)))?;
    if data.is_dir() {
        return failed("a symbolic link to a folder is not followed; copy the folder itself");
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
