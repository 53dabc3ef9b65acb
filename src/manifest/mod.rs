//! Files with BucketConnections, and the AWSAccounts and Namespaces next to them: read as kubectl reads them, and checked
//! as the API server and the operator would, with the place of every error.
//!
//! `yaml.rs` reads text into values with positions, `scalar.rs` says what a word is, `schema.rs` compares values with the
//! schema of a CRD, `kinds.rs` makes objects of them, `metadata.rs` checks their names, and `check.rs` finds what is
//! wrong beyond the schema.

mod check;
mod kinds;
mod metadata;
mod scalar;
mod schema;
mod yaml;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;

pub use check::{check, desired, explained};
pub use kinds::{Kind, description};
pub use scalar::is_text;
use yaml::Node;
pub use yaml::Position;

use crate::api::{AWSAccount, BucketConnection};
use crate::desired::SpecError;
use crate::desired::tenancy::Labels;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The API server or the operator refuses the object.
    Error,
    /// It may be refused, or not work as meant.
    Warning,
}

/// Something wrong in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// The file.
    pub file: String,
    /// The place in it.
    #[serde(flatten)]
    pub at: Position,
    /// How bad it is.
    pub severity: Severity,
    /// The rule that is broken; see [`RULES`].
    pub rule: &'static str,
    /// The object, such as `lab/genomics`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// The field, such as `spec.bucket.name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Finding {
    /// Why a file cannot be read.
    pub fn of_file(file: &str, at: Position, message: impl Into<String>) -> Self {
        let (file, message, severity) = (file.to_owned(), message.into(), Severity::Error);
        Self { file, at, severity, rule: "file", object: None, field: None, message }
    }
}

impl fmt::Display for Finding {
    /// The field and the message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            Some(field) => write!(f, "{field}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// The rules, with what each finds.
pub const RULES: [(&str, &str); 18] = [
    ("account", "The AWSAccount in the files does not allow it to the namespace."),
    ("conflict", "Another connection in the files has the same bucket or IAM user."),
    ("duplicate-field", "A field is set twice in one object."),
    ("duplicate-item", "A list that is a set has an item twice."),
    ("duplicate-object", "The files contain an object twice."),
    ("enum", "A value is not one of the allowed values."),
    ("file", "A file cannot be read."),
    ("format", "A text is not a time."),
    ("kind", "An object has no kind or apiVersion, or one that is misspelled."),
    ("length", "A text, list or object is too short or too long."),
    ("pattern", "A text does not have the required form."),
    ("range", "A number is too small or too large."),
    ("required", "A required field is missing."),
    ("rule", "A rule of the CRD does not hold."),
    ("spec", "The operator cannot carry out the spec."),
    ("syntax", "The text is not valid YAML or JSON."),
    ("type", "A value has the wrong type."),
    ("unknown-field", "The API has no field of that name."),
];

/// What the files contain.
#[derive(Default)]
pub struct Manifest {
    /// The BucketConnections, in the order of the files.
    pub connections: Vec<Found<BucketConnection>>,
    /// The AWSAccounts.
    pub accounts: Vec<Found<AWSAccount>>,
    /// The labels of the Namespaces, by name.
    pub labels: BTreeMap<String, Labels>,
    /// The names of the files.
    pub files: Vec<String>,
    /// The number of objects of other kinds.
    pub others: usize,
    /// What is wrong with the texts themselves.
    pub flaws: Vec<Finding>,
}

impl Manifest {
    /// The AWSAccount with this name, if it is in the files.
    pub fn account(&self, name: &str) -> Option<&Found<AWSAccount>> {
        self.accounts.iter().find(|found| found.name.strip_prefix("AWSAccount ") == Some(name))
    }
}

impl Manifest {
    /// The AWSAccount with this name, if it is in the files; or why it cannot be used.
    pub fn usable_account(&self, name: &str) -> Result<Option<&AWSAccount>, Vec<Finding>> {
        let Some(found) = self.account(name) else { return Ok(None) };
        let account = found.usable()?;
        // No API server has checked it, and its names become part of policies.
        let errors = crate::desired::account_errors(account);
        let finding = |error: &SpecError| found.finding("rule", &error.field, &error.message);
        if errors.is_empty() { Ok(Some(account)) } else { Err(errors.iter().map(finding).collect()) }
    }
}

/// One error in each line.
pub fn lines(errors: &[SpecError]) -> String {
    errors.iter().map(|error| format!("\n  {error}")).collect()
}

/// An object of a file.
pub struct Found<K> {
    /// Its name: `namespace/name`, or `AWSAccount name`.
    pub name: String,
    /// The object; none if it cannot be read.
    pub object: Option<K>,
    /// Where the schema is broken.
    pub violations: Vec<Finding>,
    source: Source,
}

impl<K> Found<K> {
    /// The object, if it fits the schema.
    fn valid(&self) -> Option<&K> {
        self.object.as_ref().filter(|_| self.violations.is_empty())
    }

    /// The object, or what is wrong with it.
    pub fn usable(&self) -> Result<&K, Vec<Finding>> {
        self.valid().ok_or_else(|| self.violations.clone())
    }

    /// A finding in this object.
    fn finding(&self, rule: &'static str, field: &str, message: impl Into<String>) -> Finding {
        self.finding_at(self.source.locate(field), rule, field, message)
    }

    fn finding_at(&self, at: Position, rule: &'static str, field: &str, message: impl Into<String>) -> Finding {
        let (file, severity) = (self.source.file.to_string(), Severity::Error);
        let (object, field) = (Some(self.name.clone()), Some(field.to_owned()).filter(|field| !field.is_empty()));
        Finding { file, at, severity, rule, object, field, message: message.into() }
    }
}

/// Where an object comes from.
struct Source {
    file: Arc<str>,
    node: Arc<Node>,
}

impl Source {
    /// The place of a field, such as `spec.bucket.tags[team]`; of the nearest one around it if it is missing.
    fn locate(&self, field: &str) -> Position {
        let (mut node, mut at, mut rest) = (&self.node, self.node.at, field);
        loop {
            rest = rest.trim_start_matches(['.', '[']);
            let next = match &node.kind {
                yaml::Kind::List(items) => {
                    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
                    let item = rest[..digits].parse::<usize>().ok().and_then(|index| items.get(index));
                    item.map(|item| (item, item.at, digits))
                }
                _ => node
                    .entries()
                    .iter()
                    .filter(|entry| begins(rest, &entry.key))
                    .max_by_key(|entry| entry.key.len())
                    .map(|entry| (&entry.node, entry.at, entry.key.len())),
            };
            let Some((inner, place, length)) = next else { return at };
            (node, at, rest) = (inner, place, rest[length..].trim_start_matches(']'));
            if rest.is_empty() {
                return if matches!(node.kind, yaml::Kind::Scalar(_)) { node.at } else { at };
            }
        }
    }
}

/// Whether a path begins with this key.
fn begins(path: &str, key: &str) -> bool {
    !key.is_empty() && path.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[', ']', ' ']))
}

/// Reads `files`, each a name and a text. Connections without a namespace are in `namespace`.
pub fn read(files: &[(String, String)], namespace: &str) -> Manifest {
    let mut manifest = Manifest::default();
    for (name, text) in files {
        let file: Arc<str> = name.as_str().into();
        manifest.files.push(name.clone());
        let (documents, flaws) = yaml::parse(text);
        manifest.flaws.extend(flaws.into_iter().map(|flaw| {
            let yaml::Flaw { at, rule, message } = flaw;
            Finding { file: name.clone(), at, severity: Severity::Error, rule, object: None, field: None, message }
        }));
        for document in documents {
            kinds::sort(&file, document, namespace, &mut manifest);
        }
    }
    manifest
}

#[cfg(test)]
mod tests;
