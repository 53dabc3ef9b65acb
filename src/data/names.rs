//! Addresses on the command line, keys of S3, and local paths: what of one can be the other.

use std::path::{Path, PathBuf};

use super::Fault;
use crate::vocabulary::digest::digest;
use crate::vocabulary::wildcard::policy_matches;

/// The longest name of a file, in bytes, on the file systems in use.
const LONGEST_NAME: usize = 255;
/// The longest key of S3, in bytes (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html>).
const LONGEST_KEY: usize = 1_024;
/// How the name of a file that is not complete ends.
const UNFINISHED: &str = ".bucketconnection";

/// What an address names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A local file or folder.
    Local(PathBuf),
    /// A place in the bucket of a connection.
    Remote {
        /// The connection.
        connection: String,
        /// The text after the colon.
        path: String,
    },
}

impl Address {
    /// Understands `NAME:path`. Everything else is a local path, also `./name:path` and `/name:path`.
    pub fn parse(text: &str) -> Self {
        match text.split_once(':') {
            Some((name, path)) if is_name(name) => Self::Remote { connection: name.to_owned(), path: path.to_owned() },
            _ => Self::Local(PathBuf::from(text)),
        }
    }

    /// Understands `NAME`, `NAME:path` and `NAME/path`, where only a place in a bucket makes sense.
    pub fn parse_remote(text: &str) -> Result<(String, String), Fault> {
        let (name, path) = text.split_once([':', '/']).unwrap_or((text, ""));
        if is_name(name) {
            return Ok((name.to_owned(), path.to_owned()));
        }
        Err(Fault::Object(format!("{text}: write NAME:path, with the name of a BucketConnection")))
    }
}

/// Whether it can be the name of a Kubernetes object.
fn is_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    !text.is_empty() && text.len() <= 253 && text.chars().all(allowed) && text.starts_with(|c: char| c.is_ascii_alphanumeric())
}

/// The key for `path`: below the prefix of the connection; or, after a "/", from the root of the bucket.
pub fn key_for(prefix: &str, path: &str) -> String {
    match path.strip_prefix('/') {
        Some(key) => key.to_owned(),
        None => format!("{prefix}{path}"),
    }
}

/// Why S3 or a platform cannot use this key, if so.
pub fn flaw_of_key(key: &str) -> Option<String> {
    if key.len() > LONGEST_KEY {
        return Some(format!("the key has {} bytes (S3 allows {LONGEST_KEY})", key.len()));
    }
    key.split('/').find(|segment| matches!(*segment, "." | "..")).map(|segment| {
        format!("the key has a part {segment:?}: S3 and its clients resolve it, and ICA cannot read it; use another name")
    })
}

/// The place below `root` for an object with this name. Never outside of `root`, and never under another name.
pub(super) fn local_path(root: &Path, name: &str) -> Result<PathBuf, Fault> {
    let mut path = root.to_path_buf();
    for segment in name.split('/') {
        let flaw = match segment {
            "" => "has an empty part (\"//\", or a \"/\" at an end)",
            "." | ".." => "has a part \".\" or \"..\"",
            _ if segment.contains(['\0', '\\']) => "has a backslash or a null character",
            _ if segment.len() > LONGEST_NAME => "has a part of more than 255 bytes",
            _ => {
                path.push(segment);
                continue;
            }
        };
        return Err(Fault::Object(format!("its name {flaw}, which no local path can have; copy it to another key first")));
    }
    Ok(path)
}

/// Refuses a symbolic link between `root` and the file: it could lead out of the folder.
pub(super) fn no_links(root: &Path, path: &Path) -> Result<(), Fault> {
    let below = path.strip_prefix(root).unwrap_or(Path::new(""));
    let mut place = root.to_path_buf();
    for part in below.parent().into_iter().flat_map(Path::components) {
        place.push(part);
        if std::fs::symlink_metadata(&place).is_ok_and(|data| data.is_symlink()) {
            return Err(Fault::Object(format!("{} is a symbolic link; nothing is written through it", place.display())));
        }
    }
    Ok(())
}

/// Where a download is kept until it is complete: hidden, next to the file.
pub(super) fn unfinished(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // The names of two files must not become the same when they are shortened.
    let short: String = name.chars().take(40).collect();
    path.with_file_name(format!(".{short}.{}{UNFINISHED}", digest(name.as_bytes(), 6)))
}

/// Whether a local file is a download that is not complete.
pub(super) fn is_unfinished(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(UNFINISHED)
}

/// Which objects or files a command is about, by patterns. `*` matches any characters, also "/"; `?` matches one.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// If there are some, only what one of them matches.
    pub include: Vec<String>,
    /// Not what one of these matches.
    pub exclude: Vec<String>,
    /// `*` and `?` in the path of the source are characters of the key.
    pub raw: bool,
}

impl Filter {
    /// Whether the name, relative to the source, is meant. A pattern without "/" is also compared with the last part.
    pub fn takes(&self, name: &str) -> bool {
        let last = name.rsplit('/').next().unwrap_or(name);
        let matches =
            |pattern: &String| policy_matches(pattern, name) || (!pattern.contains('/') && policy_matches(pattern, last));
        (self.include.is_empty() || self.include.iter().any(matches)) && !self.exclude.iter().any(matches)
    }
}

/// The folder part of a pattern: everything up to the last "/" before its first wildcard.
pub fn before_wildcard(key: &str) -> Option<&str> {
    let first = key.find(['*', '?'])?;
    Some(key[..first].rfind('/').map_or("", |slash| &key[..=slash]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_and_a_colon_is_a_connection() {
        let remote = |connection: &str, path: &str| Address::Remote { connection: connection.into(), path: path.into() };
        assert_eq!(Address::parse("lab:a b/ü:1"), remote("lab", "a b/ü:1"));
        assert_eq!(Address::parse("lab:"), remote("lab", ""));
        assert_eq!(Address::parse("lab:/x"), remote("lab", "/x"));
        for local in ["./lab:x", "/lab:x", "lab", "Lab:x", ":x", "../a:b", "a b:c"] {
            assert_eq!(Address::parse(local), Address::Local(local.into()), "{local}");
        }
        assert_eq!(Address::parse_remote("lab/runs/a").unwrap(), ("lab".into(), "runs/a".into()));
        assert_eq!(Address::parse_remote("lab").unwrap(), ("lab".into(), String::new()));
        assert!(Address::parse_remote("./x").is_err());
    }

    #[test]
    fn a_path_is_below_the_prefix_unless_it_begins_at_the_root() {
        for (path, key) in [("", "runs/"), ("a/b", "runs/a/b"), ("/a", "a"), ("//a", "/a"), ("/", "")] {
            assert_eq!(key_for("runs/", path), key, "{path:?}");
        }
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        let root = Path::new("/r");
        for name in ["../x", "a/../../x", "..", ".", "./x", "/x", "a//b", "a/", "", "a/./b", "a\\..\\b", "a\0b", &"x".repeat(256)]
        {
            assert!(local_path(root, name).is_err(), "{name:?}");
        }
        for name in ["a b/ü", "...", "..a", " ", "a:b", "-rf", "~", &"x".repeat(255)] {
            assert_eq!(local_path(root, name).unwrap(), root.join(name), "{name:?}");
        }
    }

    #[test]
    fn an_unfinished_file_has_a_name_of_its_own() {
        let long = |end: &str| Path::new("/r").join("ü".repeat(120) + end);
        let of = |path: PathBuf| unfinished(&path).file_name().unwrap().to_str().unwrap().to_owned();
        assert!(of(long("a")) != of(long("b")) && of(long("a")).len() < LONGEST_NAME && is_unfinished(&of(long("a"))));
        assert!(!is_unfinished("a.bucketconnection") && !is_unfinished(".bashrc"));
    }

    #[test]
    fn patterns_select() {
        let filter = Filter { include: vec!["*.bam".into(), "a/*".into()], exclude: vec!["tmp*".into()], raw: false };
        for (name, expected) in
            [("x.bam", true), ("d/x.bam", true), ("a/x", true), ("b/a/x", false), ("d/tmp.bam", false), ("x", false)]
        {
            assert_eq!(filter.takes(name), expected, "{name}");
        }
        assert_eq!(before_wildcard("runs/a/*.bam"), Some("runs/a/"));
        assert_eq!((before_wildcard("*"), before_wildcard("runs/a")), (Some(""), None));
    }
}
