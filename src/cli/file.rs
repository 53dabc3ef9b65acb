//! Files with BucketConnections.

use std::path::Path;

use serde_json::Value;

use super::Failure;
use crate::api::BucketConnection;

/// The BucketConnections of a YAML file, also those in a List as kubectl prints it; `-` is standard input.
pub(super) fn read(file: &Path) -> Result<Vec<BucketConnection>, Failure> {
    let shown = file.display();
    let text = if file.as_os_str() == "-" { std::io::read_to_string(std::io::stdin()) } else { std::fs::read_to_string(file) };
    let text = text.map_err(|error| Failure(format!("{shown}: {error}")))?;
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(&text).map_err(|error| Failure(format!("{shown}: not YAML: {error}")))?;
    let mut objects = Vec::new();
    for document in documents.into_iter().flat_map(items) {
        if document.get("kind").and_then(Value::as_str) != Some("BucketConnection") {
            continue;
        }
        let name = document.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("(without a name)").to_owned();
        let object =
            serde_json::from_value(document).map_err(|error| Failure(format!("{shown}: BucketConnection {name}: {error}")))?;
        objects.push(object);
    }
    if objects.is_empty() {
        return Err(Failure(format!("{shown}: no BucketConnection in it")));
    }
    Ok(objects)
}

fn items(mut document: Value) -> Vec<Value> {
    let list = document.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"));
    match document.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) if list => items,
        _ => vec![document],
    }
}
