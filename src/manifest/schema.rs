//! Compares values with the schema of a CRD, field by field, as the API server does, and names what was probably meant.

use std::collections::HashMap;

use jiff::Timestamp;
use regex::Regex;
use serde_json::Value;

use super::yaml::{Kind, Node, Position};

/// Shortest similarity of two names that are offered for each other.
const SIMILAR: f64 = 0.72;
/// Characters of a value that a message shows.
const SHOWN: usize = 60;
/// Most allowed values that a message lists.
const LISTED: usize = 16;

/// A value that breaks the schema.
#[derive(Debug, PartialEq)]
pub(super) struct Violation {
    pub(super) at: Position,
    pub(super) rule: &'static str,
    pub(super) field: String,
    pub(super) message: String,
}

/// A schema of Kubernetes (OpenAPI v3).
pub(super) struct Schema {
    root: Value,
    patterns: HashMap<String, Regex>,
}

impl Schema {
    pub(super) fn new(root: Value) -> Self {
        let mut patterns = HashMap::new();
        collect(&root, &mut patterns);
        Self { root, patterns }
    }

    /// The violations of the value `node` of the field `path`, whose name is at `at`.
    pub(super) fn check(&self, path: &str, at: Position, node: &Node) -> Vec<Violation> {
        let mut walk = Walk { patterns: &self.patterns, found: Vec::new() };
        walk.value(&self.root, path, at, node);
        walk.found
    }

    /// The description of a field, such as `spec.bucket.prefix`.
    pub(super) fn at(&self, path: &str) -> Option<&Value> {
        path.split('.').try_fold(&self.root, |schema, field| schema.get("properties")?.get(field))
    }
}

fn collect(schema: &Value, patterns: &mut HashMap<String, Regex>) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::String(pattern)) = fields.get("pattern")
                && let Ok(regex) = Regex::new(pattern)
            {
                patterns.insert(pattern.clone(), regex);
            }
            fields.values().for_each(|value| collect(value, patterns));
        }
        Value::Array(items) => items.iter().for_each(|value| collect(value, patterns)),
        _ => {}
    }
}

struct Walk<'a> {
    patterns: &'a HashMap<String, Regex>,
    found: Vec<Violation>,
}

impl Walk<'_> {
    fn add(&mut self, at: Position, rule: &'static str, field: &str, message: impl Into<String>) {
        self.found.push(Violation { at, rule, field: field.to_owned(), message: message.into() });
    }

    fn value(&mut self, schema: &Value, path: &str, at: Position, node: &Node) {
        let kind = schema["type"].as_str().unwrap_or_default();
        if node.is_null() {
            let omitted = schema["nullable"] == true || schema.get("default").is_some() || kind.is_empty();
            if !omitted {
                self.add(at, "type", path, format!("has no value; write {}, or remove the field", a(kind)));
            }
            return;
        }
        if schema["x-kubernetes-int-or-string"] == true {
            return;
        }
        match (kind, &node.kind) {
            ("object", Kind::Object(_)) => self.object(schema, path, at, node),
            ("array", Kind::List(items)) => {
                self.count(schema, path, node.at, "Items", items.len(), "items");
                for (index, item) in items.iter().enumerate() {
                    self.value(&schema["items"], &format!("{path}[{index}]"), item.at, item);
                }
                if schema["x-kubernetes-list-type"] == "set" {
                    self.distinct(path, items);
                }
            }
            ("string", Kind::Scalar(Value::String(text))) => self.text(schema, path, node.at, text),
            ("boolean", Kind::Scalar(Value::Bool(_))) | ("", _) => {}
            ("integer", Kind::Scalar(Value::Number(number))) if number.as_f64().is_some_and(|n| n.fract() == 0.0) => {
                self.number(schema, path, node.at, number);
            }
            ("number", Kind::Scalar(Value::Number(number))) => self.number(schema, path, node.at, number),
            _ => {
                let message = format!("is {}, but must be {}{}", described(node), a(kind), hint(kind, node));
                self.add(node.at, "type", path, message);
            }
        }
    }

    fn object(&mut self, schema: &Value, path: &str, at: Position, node: &Node) {
        let properties = schema["properties"].as_object();
        let others = schema.get("additionalProperties").filter(|others| others.is_object());
        let open = schema["x-kubernetes-preserve-unknown-fields"] == true && properties.is_none();
        for entry in node.entries() {
            let field = if others.is_some() { format!("{path}[{}]", entry.key) } else { join(path, &entry.key) };
            match properties.and_then(|properties| properties.get(&entry.key)).or(others) {
                Some(schema) => self.value(schema, &field, entry.at, &entry.node),
                None if open || (properties.is_none() && others.is_none()) => {}
                None => {
                    let known = properties.into_iter().flat_map(|known| known.keys());
                    let meant = meant(&entry.key, known.map(String::as_str), "; correct or remove it");
                    self.add(entry.at, "unknown-field", &field, format!("no such field{meant}"));
                }
            }
        }
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if node.entry(name).is_none() {
                let known = properties.and_then(|properties| properties.get(name));
                let allowed = known.map(allowed).filter(|allowed| !allowed.is_empty());
                let message =
                    format!("required, but missing{}", allowed.map(|all| format!(" (allowed: {all})")).unwrap_or_default());
                self.add(at, "required", &join(path, name), message);
            }
        }
        self.count(schema, path, at, "Properties", node.entries().len(), "fields");
    }

    fn text(&mut self, schema: &Value, path: &str, at: Position, text: &str) {
        if let Some(values) = schema["enum"].as_array() {
            let known: Vec<_> = values.iter().filter_map(Value::as_str).collect();
            if !known.contains(&text) {
                let message = format!("{} is not allowed (allowed: {}){}", quoted(text), allowed(schema), meant(text, known, ""));
                self.add(at, "enum", path, message);
            }
        }
        self.count(schema, path, at, "Length", text.chars().count(), "characters");
        if let Some(pattern) = schema["pattern"].as_str()
            && self.patterns.get(pattern).is_some_and(|regex| !regex.is_match(text))
        {
            self.add(at, "pattern", path, format!("{} must match {pattern}", quoted(text)));
        }
        if schema["format"] == "date-time" && text.parse::<Timestamp>().is_err() {
            self.add(at, "format", path, format!("{} must be a time, such as 2026-01-31T12:00:00Z", quoted(text)));
        }
    }

    fn number(&mut self, schema: &Value, path: &str, at: Position, number: &serde_json::Number) {
        let value = number.as_f64().unwrap_or_default();
        let bounds = match schema["format"].as_str() {
            Some("int32") => (Some(f64::from(i32::MIN)), Some(f64::from(i32::MAX))),
            Some("uint32") => (Some(0.0), Some(f64::from(u32::MAX))),
            Some("uint16") => (Some(0.0), Some(f64::from(u16::MAX))),
            _ => (None, None),
        };
        let least = schema["minimum"].as_f64().or(bounds.0);
        let most = schema["maximum"].as_f64().or(bounds.1);
        if least.is_some_and(|least| value < least) || most.is_some_and(|most| value > most) {
            let range = match (least, most) {
                (Some(least), Some(most)) => format!("from {least} to {most}"),
                (Some(least), None) => format!("at least {least}"),
                (_, most) => format!("at most {}", most.unwrap_or_default()),
            };
            self.add(at, "range", path, format!("{number} must be {range}"));
        }
    }

    /// Compares a count with `min<what>` and `max<what>`.
    fn count(&mut self, schema: &Value, path: &str, at: Position, what: &str, count: usize, unit: &str) {
        let limit = |bound: &str| schema[format!("{bound}{what}")].as_u64().and_then(|limit| usize::try_from(limit).ok());
        if let Some(most) = limit("max").filter(|most| count > *most) {
            self.add(at, "length", path, format!("has {count} {unit}, but may have at most {most}"));
        }
        if let Some(least) = limit("min").filter(|least| count < *least) {
            self.add(at, "length", path, format!("has {count} {unit}, but must have at least {least}"));
        }
    }

    fn distinct(&mut self, path: &str, items: &[std::sync::Arc<Node>]) {
        let mut known = HashMap::new();
        for (index, item) in items.iter().enumerate() {
            if let Some(first) = known.insert(item.value().to_string(), index) {
                self.add(
                    item.at,
                    "duplicate-item",
                    &format!("{path}[{index}]"),
                    format!("is the same as {path}[{first}]; remove one"),
                );
            }
        }
    }
}

fn join(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

/// The allowed values of a field, for people.
fn allowed(schema: &Value) -> String {
    let values: Vec<_> = schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let more = if values.len() > LISTED { ", ..." } else { "" };
    format!("{}{more}", values.iter().take(LISTED).copied().collect::<Vec<_>>().join(", "))
}

/// A type with its article.
fn a(kind: &str) -> &str {
    match kind {
        "object" => "an object",
        "array" => "a list",
        "string" => "a text",
        "boolean" => "true or false",
        "integer" => "a whole number",
        "number" => "a number",
        _ => "a value",
    }
}

fn described(node: &Node) -> String {
    match &node.kind {
        Kind::Object(_) => "an object".to_owned(),
        Kind::List(_) => "a list".to_owned(),
        Kind::Scalar(Value::String(text)) => format!("the text {}", quoted(text)),
        Kind::Scalar(Value::Number(number)) => format!("the number {number}"),
        Kind::Scalar(value) => value.to_string(),
    }
}

/// A text in quotes; its beginning if it is long.
pub(super) fn quoted(text: &str) -> String {
    let short: String = text.chars().take(SHOWN).collect();
    format!("{short:?}{}", if short.len() < text.len() { "…" } else { "" })
}

fn hint(kind: &str, node: &Node) -> &'static str {
    match (kind, &node.kind) {
        ("string", Kind::Scalar(Value::Bool(_) | Value::Number(_))) => "; put it in quotes",
        ("boolean" | "integer" | "number", Kind::Scalar(Value::String(_))) => "; remove the quotes, if it has some",
        ("array", Kind::Scalar(_) | Kind::Object(_)) => "; begin each item with \"- \"",
        _ => "",
    }
}

/// `; did you mean …?` if a known name is similar to `name`; otherwise `or_else`.
pub(super) fn meant<'k>(name: &str, known: impl IntoIterator<Item = &'k str>, or_else: &str) -> String {
    let (name, mut best) = (name.to_lowercase(), (SIMILAR, None));
    for known in known.into_iter().filter(|_| name.len() <= SHOWN) {
        let similar = strsim::normalized_damerau_levenshtein(&name, &known.to_lowercase());
        if similar > best.0 {
            best = (similar, Some(known));
        }
    }
    best.1.map_or_else(|| or_else.to_owned(), |known| format!("; did you mean {known}?"))
}
