//! The names in an object's metadata, as the API server checks them
//! (<https://kubernetes.io/docs/concepts/overview/working-with-objects/names/>,
//! <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set>).

use super::schema::quoted;
use super::yaml::{Entry, Kind, Node};
use super::{Finding, Found};
use crate::desired::names;

/// Longest name of a label or annotation without its prefix, longest value of a label, longest namespace.
const SHORT: usize = 63;
/// Longest name of an object, longest prefix of a label or annotation.
const LONG: usize = 253;
/// Most bytes of all annotations of an object, keys and values.
const ANNOTATIONS: usize = 256 * 1024;

/// What is wrong with the names in the metadata of an object.
pub(super) fn check<K>(found: &Found<K>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let node = found.source.node.clone();
    let Some(metadata) = node.get("metadata").filter(|metadata| matches!(metadata.kind, Kind::Object(_))) else {
        return findings;
    };
    let field = |name: &str| metadata.get(name).filter(|node| !node.is_null());
    if field("name").is_none() && field("generateName").is_none() {
        findings.push(found.finding("required", "metadata.name", "required, but missing"));
    }
    for (name, wrong) in [("name", object as fn(&str) -> Option<String>), ("generateName", beginning), ("namespace", label)] {
        let message = field(name).and_then(Node::text).and_then(wrong);
        findings.extend(message.map(|message| found.finding("pattern", &format!("metadata.{name}"), message)));
    }
    let entries = |name: &'static str| field(name).into_iter().flat_map(Node::entries).map(move |entry| (name, entry));
    for (name, Entry { key, at, node }) in entries("labels").chain(entries("annotations")) {
        let path = format!("metadata.{name}[{key}]");
        // Only the prefix of an annotation's key must be in lower case, and of that only what has been written so.
        let wrong = if name == "labels" { qualified(key) } else { qualified(&key.to_lowercase()) };
        findings.extend(
            wrong.map(|wrong| found.finding_at(*at, "pattern", &path, format!("{} is not a valid key; {wrong}", quoted(key)))),
        );
        let value = node.text().filter(|_| name == "labels").and_then(value);
        findings.extend(value.map(|message| found.finding_at(node.at, "pattern", &path, message)));
    }
    let bytes: usize = entries("annotations").map(|(_, entry)| entry.key.len() + entry.node.text().map_or(0, str::len)).sum();
    if bytes > ANNOTATIONS {
        let message = format!("has {bytes} bytes, but may have at most {ANNOTATIONS}");
        findings.push(found.finding("length", "metadata.annotations", message));
    }
    findings
}

fn object(name: &str) -> Option<String> {
    let hint = format!(
        "use lower-case letters, digits, dots and hyphens, at most {LONG}; begin and end each part between dots with a letter or digit"
    );
    (!names::is_object_name(name)).then(|| format!("{} is not a valid name; {hint}", quoted(name)))
}

/// The beginning of a generated name: the API server checks it with an "a" in place of a hyphen at its end and of the
/// character before.
fn beginning(name: &str) -> Option<String> {
    let masked = || name.strip_suffix('-').filter(|rest| !rest.is_empty()).and_then(|rest| rest.get(..rest.len() - 1));
    object(name).filter(|_| !masked().is_some_and(|rest| names::is_object_name(&format!("{rest}a"))))
}

fn label(name: &str) -> Option<String> {
    let fits = names::is_object_name(name) && !name.contains('.') && name.len() <= SHORT;
    let hint = format!("use lower-case letters, digits and hyphens, at most {SHORT}; begin and end with a letter or digit");
    (!fits).then(|| format!("{} is not a valid name; {hint}", quoted(name)))
}

/// What is wrong with the key of a label or annotation.
fn qualified(key: &str) -> Option<String> {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    if prefix.is_some_and(|prefix| !names::is_object_name(prefix)) {
        return Some(format!(
            "the part before \"/\" must be a DNS name in lower case of at most {LONG} characters, such as example.com"
        ));
    }
    (!is_word(name)).then(|| {
        let hint = "use letters, digits, \"-\", \"_\" and \".\"";
        format!(
            "{hint}, at most {SHORT}; begin and end with a letter or digit; one \"/\" may follow a prefix such as example.com"
        )
    })
}

/// What is wrong with the value of a label.
fn value(value: &str) -> Option<String> {
    let hint = format!("use letters, digits, \"-\", \"_\" and \".\", at most {SHORT}; begin and end with a letter or digit");
    (!value.is_empty() && !is_word(value)).then(|| format!("{} is not a valid value of a label; {hint}", quoted(value)))
}

fn is_word(text: &str) -> bool {
    let ends = |c: char| c.is_ascii_alphanumeric();
    let within = |c: char| ends(c) || "-_.".contains(c);
    (1..=SHORT).contains(&text.len()) && text.starts_with(ends) && text.ends_with(ends) && text.chars().all(within)
}
