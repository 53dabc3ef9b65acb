//! Files with BucketConnections, and the AWSAccounts and Namespaces next to them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kube::{CustomResourceExt, Resource};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::api::{AWSAccount, BucketConnection, GROUP};
use crate::cli::Failure;
use crate::desired::tenancy::Labels;
use crate::desired::{self, SpecError};

/// The objects of a YAML file, not parsed further.
pub(in crate::cli) struct File(Vec<Value>);

/// The contents of a file. An invalid object is the text of its error, so that the others can still be used.
pub(in crate::cli) struct Contents {
    /// The BucketConnections, in the file's order.
    pub connections: Vec<Entry>,
    /// The AWSAccounts, by name.
    accounts: BTreeMap<String, Result<AWSAccount, String>>,
    /// The labels of the Namespaces, by name.
    pub labels: BTreeMap<String, Labels>,
}

/// A BucketConnection of a file.
pub(in crate::cli) struct Entry {
    /// `namespace/name`.
    pub name: String,
    /// The object, with its namespace; or its error.
    pub object: Result<BucketConnection, String>,
}

/// Reads a YAML or JSON file, including a List as kubectl prints it, or the files of a directory; `-` is standard
/// input.
pub(in crate::cli) fn read(file: &Path) -> Result<File, Failure> {
    let shown = file.display();
    let files = if file.is_dir() { files_of(file)? } else { vec![file.to_owned()] };
    let mut objects = Vec::new();
    for file in files {
        objects.extend(documents(&file)?.into_iter().flat_map(items));
    }
    if !objects.iter().any(|object| text_at(object, "/kind") == "BucketConnection") {
        return Err(Failure(format!("{shown}: no BucketConnection in it")));
    }
    Ok(File(objects))
}

/// The files of a directory that kubectl would read, sorted by name.
fn files_of(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let shown = directory.display();
    let read = std::fs::read_dir(directory).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries = read.map_err(|error| Failure(format!("{shown}: {error}")))?;
    let manifest = |file: &PathBuf| file.extension().is_some_and(|end| ["yaml", "yml", "json"].iter().any(|known| end == *known));
    let mut files: Vec<_> =
        entries.into_iter().map(|entry| entry.path()).filter(|file| manifest(file) && file.is_file()).collect();
    files.sort();
    if files.is_empty() { Err(Failure(format!("{shown}: no file *.yaml, *.yml or *.json in it"))) } else { Ok(files) }
}

fn documents(file: &Path) -> Result<Vec<Value>, Failure> {
    let shown = file.display();
    let text = if file.as_os_str() == "-" { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(file) };
    let text = text.map_err(|error| Failure(format!("{shown}: {error}")))?;
    serde_saphyr::from_multiple(&text).map_err(|error| Failure(format!("{shown}: not YAML: {error}")))
}

impl File {
    /// The contents of the file; BucketConnections without a namespace are in `namespace`.
    pub(in crate::cli) fn contents(self, namespace: &str) -> Contents {
        let mut contents = Contents { connections: Vec::new(), accounts: BTreeMap::new(), labels: BTreeMap::new() };
        for mut document in self.0 {
            let name = text_at(&document, "/metadata/name").to_owned();
            match text_at(&document, "/kind") {
                "BucketConnection" => {
                    if text_at(&document, "/metadata/namespace").is_empty() && document["metadata"].is_object() {
                        document["metadata"]["namespace"] = namespace.into();
                    }
                    let shown = if name.is_empty() { "(without a name)" } else { &name };
                    let name = format!("{}/{shown}", text_at(&document, "/metadata/namespace"));
                    contents.connections.push(Entry { name, object: object(document) });
                }
                "AWSAccount" if text_at(&document, "/apiVersion").split('/').next() == Some(GROUP) => {
                    let account = object(document).and_then(checked).map_err(|text| format!("AWSAccount {name}: {text}"));
                    contents.accounts.insert(name, account);
                }
                "Namespace" => {
                    let labels = document.pointer_mut("/metadata/labels").map(Value::take).unwrap_or_default();
                    contents.labels.insert(name, serde_json::from_value(labels).unwrap_or_default());
                }
                _ => {}
            }
        }
        contents
    }
}

impl Contents {
    /// The AWSAccount `name`, if it is in the file; or its error.
    pub(in crate::cli) fn account(&self, name: &str) -> Result<Option<&AWSAccount>, String> {
        self.accounts.get(name).map(|account| account.as_ref().map_err(Clone::clone)).transpose()
    }
}

/// One problem per line.
pub(in crate::cli) fn lines(errors: &[SpecError]) -> String {
    errors.iter().map(|error| format!("\n  {error}")).collect()
}

/// No API server has checked an account from a file, and its names become part of policies.
fn checked(account: AWSAccount) -> Result<AWSAccount, String> {
    let errors = desired::account_errors(&account);
    if errors.is_empty() { Ok(account) } else { Err(format!("cannot be used:{}", lines(&errors))) }
}

/// The object in a document, as the API server would accept it.
fn object<K: Resource<DynamicType = ()> + CustomResourceExt + DeserializeOwned>(document: Value) -> Result<K, String> {
    let (version, known) = (text_at(&document, "/apiVersion"), K::api_version(&()));
    if version != known {
        return Err(format!("unknown apiVersion {version:?}; write {known}"));
    }
    if text_at(&document, "/metadata/name").is_empty() {
        return Err("it needs metadata.name".to_owned());
    }
    let crd = serde_json::to_value(K::crd()).unwrap_or_default();
    let schema = crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec").cloned().unwrap_or_default();
    let mut unknown = Vec::new();
    for key in document.as_object().into_iter().flat_map(serde_json::Map::keys) {
        if !["apiVersion", "kind", "metadata", "spec", "status"].contains(&key.as_str()) {
            unknown.push(key.clone());
        }
    }
    find_unknown(&document["spec"], &schema, "spec", &mut unknown);
    if !unknown.is_empty() {
        return Err(format!("no such field: {}; correct or remove it (docs/api.md has all fields)", unknown.join(", ")));
    }
    serde_json::from_value(document).map_err(|error| error.to_string())
}

/// Paths of the fields of `value` that `schema` does not have: the API server would drop them.
fn find_unknown(value: &Value, schema: &Value, path: &str, unknown: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            let (properties, others) = (schema.get("properties"), schema.get("additionalProperties"));
            for (name, value) in fields {
                let path = format!("{path}.{name}");
                match properties.and_then(|properties| properties.get(name)).or(others) {
                    Some(schema) => find_unknown(value, schema, &path, unknown),
                    None if properties.is_some() => unknown.push(path),
                    None => {}
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                find_unknown(item, &schema["items"], &format!("{path}[{index}]"), unknown);
            }
        }
        _ => {}
    }
}

fn text_at<'a>(document: &'a Value, pointer: &str) -> &'a str {
    document.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn items(mut document: Value) -> Vec<Value> {
    let list = document.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"));
    match document.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) if list => items,
        _ => vec![document],
    }
}
