//! The files that a command reads.

use std::fmt::Display;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::cli::Failure;
use crate::manifest::{self, Manifest};

/// Files with BucketConnections, and the AWSAccounts and Namespaces next to them.
#[derive(clap::Args)]
pub(in crate::cli) struct Files {
    /// YAML or JSON file with BucketConnections, or a directory of such files; or - for standard input. May be repeated
    #[arg(short, long = "filename", value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// Also read the directories in a directory
    #[arg(short = 'R', long, requires = "files")]
    pub recursive: bool,
}

impl Files {
    /// The texts of the files, read once: standard input has no second time.
    pub(in crate::cli) fn texts(&self) -> Result<Texts, Failure> {
        texts(&self.files, self.recursive)
    }
}

/// The texts of files, each with the name of its file.
pub(in crate::cli) struct Texts(Vec<(String, String)>);

/// The texts of `files`, and of the files in those that are directories.
pub(in crate::cli) fn texts(files: &[PathBuf], recursive: bool) -> Result<Texts, Failure> {
    let mut texts = Vec::new();
    for file in files {
        for file in files_of(file, recursive)? {
            texts.push((shown(&file), text(&file)?));
        }
    }
    Ok(Texts(texts))
}

impl Texts {
    /// The contents; BucketConnections without a namespace are in `namespace`.
    pub(in crate::cli) fn read(&self, namespace: &str) -> Manifest {
        manifest::read(&self.0, namespace)
    }

    /// The same, for commands that need BucketConnections in readable files.
    pub(in crate::cli) fn connections(&self, namespace: &str) -> Result<Manifest, Failure> {
        let manifest = self.read(namespace);
        if !manifest.flaws.is_empty() {
            let flaws = manifest.flaws.iter().map(|flaw| format!("{}:{}:{}: {flaw}", flaw.file, flaw.at.line, flaw.at.column));
            return Err(Failure(flaws.collect::<Vec<_>>().join("\n")));
        }
        if manifest.connections.is_empty() {
            let files: Vec<_> = self.0.iter().map(|(file, _)| file.as_str()).collect();
            return Err(Failure(format!("{}: no BucketConnection in it", files.join(", "))));
        }
        Ok(manifest)
    }
}

/// The files of a path: itself, or those of the directory that kubectl would read, sorted by name.
fn files_of(path: &Path, recursive: bool) -> Result<Vec<PathBuf>, Failure> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let (mut files, mut folders) = (Vec::new(), vec![path.to_owned()]);
    while let Some(folder) = folders.pop() {
        let read = std::fs::read_dir(&folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        for entry in read.map_err(|error| Failure(format!("{}: {error}", folder.display())))? {
            let path = entry.path();
            let manifest = path.extension().is_some_and(|end| ["yaml", "yml", "json"].iter().any(|known| end == *known));
            // A link to a directory could lead back.
            if recursive && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(path);
            } else if manifest && path.is_file() {
                files.push(path);
            }
        }
    }
    files.sort();
    if files.is_empty() {
        let hint = if recursive { "" } else { "; add -R to read the directories in it" };
        return Err(Failure(format!("{}: no file *.yaml, *.yml or *.json in it{hint}", path.display())));
    }
    Ok(files)
}

fn shown(file: &Path) -> String {
    if file.as_os_str() == "-" { "<stdin>".to_owned() } else { file.display().to_string() }
}

/// The text of a file.
fn text(file: &Path) -> Result<String, Failure> {
    let failed = |error: &dyn Display| Failure(format!("{}: {error}", shown(file)));
    let mut bytes = Vec::new();
    let read = match file.as_os_str() == "-" {
        true => std::io::stdin().read_to_end(&mut bytes).map(drop),
        false => std::fs::read(file).map(|read| bytes = read),
    };
    read.map_err(|error| failed(&error))?;
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(failed(&"the text is in UTF-16; save it in UTF-8"));
    }
    if bytes.contains(&0) {
        return Err(failed(&"not a text, but a binary file"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        failed(&format!("line {line} is not in UTF-8; save the file in UTF-8"))
    })
}
