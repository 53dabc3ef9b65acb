//! Replaces what differs between two runs of a script.

use std::collections::BTreeMap;

use regex::{Captures, Regex};

/// The replacements of a script.
pub struct Normal {
    names: Vec<(String, &'static str)>,
    patterns: Vec<(Regex, &'static str)>,
    key: Regex,
    /// The keys in the order in which they appeared.
    keys: BTreeMap<String, usize>,
}

/// A time before its date, and longer ids before shorter ones.
const PATTERNS: [(&str, &str); 8] = [
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<time>"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?( UTC)?", "<time>"),
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "<uid>"),
    (r"\b[0-9a-f]{16,64}\b", "<hash>"),
    // In a column, the spaces after it depend on its length.
    (r"\b(\d+m)?\d+s {3,}", "<age>   "),
    (r"\b(\d+m)?\d+s\b", "<age>"),
    (r"\b\d+ ms\b", "<time>"),
    (r"\b127\.0\.0\.1:\d+", "<address>"),
];

impl Normal {
    /// Replaces these texts by these names, and what always differs.
    pub fn new(names: Vec<(String, &'static str)>) -> Self {
        let patterns = PATTERNS.map(|(pattern, name)| (Regex::new(pattern).unwrap(), name)).into();
        Self { names, patterns, key: Regex::new(r"\bAKIA[A-Z0-9]{16}\b").unwrap(), keys: BTreeMap::new() }
    }

    /// Also replaces this text.
    pub fn and(mut self, text: String, name: &'static str) -> Self {
        self.names.push((text, name));
        self
    }

    /// The text without what differs. The first access key becomes `AKIA1`, the second `AKIA2`.
    pub fn text(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, shown) in &self.names {
            text = text.replace(name, shown);
        }
        for (pattern, shown) in &self.patterns {
            text = pattern.replace_all(&text, *shown).into_owned();
        }
        let keys = &mut self.keys;
        let number = |found: &Captures<'_>| {
            let next = keys.len() + 1;
            format!("AKIA{}", keys.entry(found[0].to_owned()).or_insert(next))
        };
        self.key.replace_all(&text, number).into_owned()
    }
}
