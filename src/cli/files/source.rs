//! The files that a command reads.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::cli::Failure;
use crate::manifest::{self, Finding, Manifest, Position};
use crate::render::findings::lines;

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
    pub(in crate::cli) fn texts(&self) -> Texts {
        texts(&self.files, self.recursive)
    }
}

/// The texts of files, each with the name of its file.
#[derive(Default)]
pub(in crate::cli) struct Texts {
    read: Vec<(String, String)>,
    /// The files that cannot be read: they do not prevent that the others are.
    unreadable: Vec<Finding>,
}

/// The texts of `files`, and of the files in those that are directories.
pub(in crate::cli) fn texts(files: &[PathBuf], recursive: bool) -> Texts {
    let mut texts = Texts::default();
    for path in files {
        for file in texts.files_of(path, recursive) {
            match text(&file) {
                Ok(text) => texts.read.push((shown(&file), text)),
                Err((at, message)) => texts.unreadable.push(Finding::of_file(&shown(&file), at, message)),
            }
        }
    }
    texts
}

impl Texts {
    /// The contents; BucketConnections without a namespace are in `namespace`.
    pub(in crate::cli) fn read(&self, namespace: &str) -> Manifest {
        let mut manifest = manifest::read(&self.read, namespace);
        manifest.files.extend(self.unreadable.iter().map(|finding| finding.file.clone()));
        manifest.flaws.extend(self.unreadable.iter().cloned());
        manifest
    }

    /// The same, for commands that need BucketConnections. What is wrong with the texts is in `flaws`.
    pub(in crate::cli) fn connections(&self, namespace: &str) -> Result<Manifest, Failure> {
        let manifest = self.read(namespace);
        if !manifest.connections.is_empty() {
            return Ok(manifest);
        }
        if !manifest.flaws.is_empty() {
            return Err(Failure(format!("no BucketConnection in the files:\n{}", lines(&manifest.flaws))));
        }
        Err(Failure(format!("{}: no BucketConnection in it", manifest.files.join(", "))))
    }

    /// The files of a path: itself, or those of the directory that kubectl would read, sorted by name.
    fn files_of(&mut self, path: &Path, recursive: bool) -> Vec<PathBuf> {
        if !path.is_dir() {
            return vec![path.to_owned()];
        }
        let (mut files, mut folders, before) = (Vec::new(), vec![path.to_owned()], self.unreadable.len());
        while let Some(folder) = folders.pop() {
            let entries = match std::fs::read_dir(&folder).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
                Ok(entries) => entries,
                Err(error) => {
                    self.unreadable.push(Finding::of_file(&shown(&folder), START, error.to_string()));
                    continue;
                }
            };
            for entry in entries {
                let path = entry.path();
                let manifest = path.extension().is_some_and(|end| ["yaml", "yml", "json"].iter().any(|known| end == *known));
                // A link to a directory could lead back.
                if recursive && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    folders.push(path);
                // Also a link that leads nowhere, so that it is reported.
                } else if manifest && path.metadata().map_or(true, |of| of.is_file()) {
                    files.push(path);
                }
            }
        }
        files.sort();
        if files.is_empty() && self.unreadable.len() == before {
            let hint = if recursive { "" } else { "; add -R to read the directories in it" };
            let message = format!("no file *.yaml, *.yml or *.json in it{hint}");
            self.unreadable.push(Finding::of_file(&shown(path), START, message));
        }
        files
    }
}

const START: Position = Position { line: 1, column: 1 };

fn shown(file: &Path) -> String {
    if file.as_os_str() == "-" { "<stdin>".to_owned() } else { file.display().to_string() }
}

/// The text of a file; or why it cannot be read, with the place.
fn text(file: &Path) -> Result<String, (Position, String)> {
    let mut bytes = Vec::new();
    let read = match file.as_os_str() == "-" {
        true => std::io::stdin().read_to_end(&mut bytes).map(drop),
        false => std::fs::read(file).map(|read| bytes = read),
    };
    read.map_err(|error| (START, error.to_string()))?;
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err((START, "the text is in UTF-16; save it in UTF-8".to_owned()));
    }
    if bytes.contains(&0) {
        return Err((START, "not a text, but a binary file".to_owned()));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = String::from_utf8_lossy(&error.as_bytes()[..valid]);
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let at = Position { line: before.matches('\n').count() + 1, column };
        (at, "not in UTF-8; save the file in UTF-8".to_owned())
    })
}
