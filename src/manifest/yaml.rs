//! YAML and JSON text as values with their positions.
//!
//! One pass over the parser's events, without recursion: neither deep nesting nor aliases of aliases can take more than
//! time and memory in proportion to the text.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};
use serde_saphyr::granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Span};

use super::scalar;

/// Values that the aliases of one document may add to it.
const ALIASED_LIMIT: usize = 100_000;
/// Deepest nesting of lists and objects. The API has less than half of it.
const DEPTH_LIMIT: usize = 100;
const TOO_DEEP: &str = "lists and objects are nested too deep (at most 100 levels)";

/// A place in a text: line and column, from 1. Columns count characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// A value of a document.
#[derive(Debug)]
pub struct Node {
    /// Where it begins.
    pub at: Position,
    /// What it is.
    pub kind: Kind,
    /// The number of values in it, with the values behind its aliases.
    size: usize,
}

/// What a value is.
#[derive(Debug)]
#[allow(missing_docs, reason = "each name says it")]
pub enum Kind {
    Scalar(Value),
    List(Vec<Arc<Node>>),
    Object(Vec<Entry>),
}

/// A field of an object.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name.
    pub key: String,
    /// Where its name is.
    pub at: Position,
    /// Its value.
    pub node: Arc<Node>,
}

impl Node {
    /// The value of a field of an object.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &*entry.node)
    }

    /// A field of an object.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The fields of an object; none if it is not an object.
    pub fn entries(&self) -> &[Entry] {
        if let Kind::Object(entries) = &self.kind { entries } else { &[] }
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        if let Kind::Scalar(Value::String(text)) = &self.kind { Some(text) } else { None }
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        matches!(self.kind, Kind::Scalar(Value::Null))
    }

    /// The value without positions. A null field is left out, as the API server does with it.
    pub fn value(&self) -> Value {
        match &self.kind {
            Kind::Scalar(value) => value.clone(),
            Kind::List(items) => items.iter().map(|item| item.value()).collect(),
            Kind::Object(entries) => {
                let fields = entries.iter().filter(|entry| !entry.node.is_null());
                Value::Object(fields.map(|entry| (entry.key.clone(), entry.node.value())).collect::<Map<_, _>>())
            }
        }
    }
}

/// An error in a text.
#[derive(Debug, PartialEq)]
pub struct Flaw {
    /// Where.
    pub at: Position,
    /// Which rule of YAML it breaks.
    pub rule: &'static str,
    /// What is wrong.
    pub message: String,
}

impl Flaw {
    pub(super) fn syntax(at: Position, message: impl Into<String>) -> Self {
        Self { at, rule: "syntax", message: message.into() }
    }
}

/// The documents of a text, and its errors. A document with a syntax error is left out; the others are still read.
pub fn parse(text: &str) -> (Vec<Arc<Node>>, Vec<Flaw>) {
    let mut reader = Reader::default();
    match json_stream(text) {
        Some(parts) => parts.into_iter().for_each(|(start, part)| reader.read(part, start)),
        None => reader.read(text, Position { line: 1, column: 1 }),
    }
    (reader.documents, reader.flaws)
}

/// The objects of a text that consists of JSON objects, one after the other, as kubectl accepts it; with their starts.
fn json_stream(text: &str) -> Option<Vec<(Position, &str)>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if !text.trim_start().starts_with('{') {
        return None;
    }
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<serde::de::IgnoredAny>();
    let (mut parts, mut position, mut start) = (Vec::new(), Position { line: 1, column: 1 }, 0);
    while let Some(next) = stream.next() {
        next.ok()?;
        let part = &text[start..stream.byte_offset()];
        parts.push((position, part));
        start = stream.byte_offset();
        let last = part.rsplit('\n').next().unwrap_or_default().chars().count();
        let lines = part.matches('\n').count();
        position.column = if lines == 0 { position.column + last } else { last + 1 };
        position.line += lines;
    }
    Some(parts)
}

/// A list or object that is not complete.
struct Open {
    at: Position,
    anchor: usize,
    size: usize,
    content: Content,
}

enum Content {
    List(Vec<Arc<Node>>),
    Object {
        entries: Vec<Entry>,
        /// Index of each field, by its name.
        known: HashMap<String, usize>,
        /// The name of the field whose value comes next.
        key: Option<(String, Position)>,
        /// Objects that `<<` adds.
        merged: Vec<Arc<Node>>,
    },
}

#[derive(Default)]
struct Reader {
    documents: Vec<Arc<Node>>,
    flaws: Vec<Flaw>,
    open: Vec<Open>,
    anchors: HashMap<usize, Arc<Node>>,
    /// Values that aliases added to the document.
    aliased: usize,
    /// The text has the marks of a merge conflict.
    conflict: bool,
    /// Where the text that is read begins.
    start: Position,
}

impl Reader {
    fn read(&mut self, text: &str, start: Position) {
        self.start = start;
        self.conflict = text.lines().any(|line| line.starts_with("<<<<<<< "));
        // JSON may be indented by tabs, YAML may not. No JSON text can contain one.
        let json = text.trim_start().starts_with('{').then(|| text.replace('\t', " "));
        let mut parser = Parser::new_from_str(json.as_deref().unwrap_or(text));
        loop {
            match parser.next_event() {
                None | Some(Ok((Event::StreamEnd, _))) => return,
                Some(Ok((event, span))) => {
                    let Err(flaw) = self.event(event, span) else { continue };
                    self.flaws.push(flaw);
                }
                Some(Err(error)) => {
                    let flaw = self.syntax(&error, text);
                    self.flaws.push(flaw);
                }
            }
            self.begin();
            if !parser.proceed_next_document().unwrap_or(false) {
                return;
            }
        }
    }

    fn begin(&mut self) {
        self.open.clear();
        self.anchors.clear();
        self.aliased = 0;
    }

    /// A position of the parser in the whole text.
    fn position(&self, line: usize, column: usize) -> Position {
        let first = if line <= 1 { self.start.column - 1 } else { 0 };
        Position { line: self.start.line + line.max(1) - 1, column: column + 1 + first }
    }

    fn at(&self, span: Span) -> Position {
        self.position(span.start.line(), span.start.col())
    }

    fn syntax(&self, error: &ScanError, text: &str) -> Flaw {
        let (marker, kind) = (error.marker(), error.kind());
        let at = self.position(marker.line(), marker.col());
        if *kind == ErrorKind::RecursionLimitExceeded {
            return Flaw::syntax(at, TOO_DEEP);
        }
        // Not by counting lines: many documents may each have an error.
        let offset = marker.byte_offset().filter(|offset| text.is_char_boundary(*offset)).unwrap_or_default();
        let start = text[..offset].rfind('\n').map_or(0, |newline| newline + 1);
        let line = text[start..].lines().next().unwrap_or_default();
        let indentation = &line[..line.len() - line.trim_start().len()];
        let hint = match line.trim_start() {
            _ if indentation.contains('\t') => "; indent with spaces, not with tabs",
            rest if rest.starts_with("{{") || rest.contains(": {{") => "; render the template first, such as with helm template",
            _ if self.conflict => "; resolve the merge conflict first",
            _ => "",
        };
        Flaw::syntax(at, format!("not valid YAML: {}{hint}", error.info()))
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Flaw> {
        let at = self.at(span);
        match event {
            Event::DocumentStart(..) => self.begin(),
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                let tag = tag.as_deref().map(|tag| tag.core_suffix().unwrap_or("?").to_owned());
                if plain && tag.is_none() && text == "<<" && self.awaits_key() {
                    self.name("<<".to_owned(), at, true);
                    return Ok(());
                }
                let value = scalar::resolve(&text, plain, tag.as_deref()).map_err(|message| Flaw::syntax(at, message))?;
                self.complete(Arc::new(Node { at, kind: Kind::Scalar(value), size: 1 }), anchor);
            }
            Event::SequenceStart(_, anchor, _) => self.enter(at, anchor, Content::List(Vec::new()))?,
            Event::MappingStart(_, anchor, _) => {
                let content = Content::Object { entries: Vec::new(), known: HashMap::new(), key: None, merged: Vec::new() };
                self.enter(at, anchor, content)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.leave(),
            Event::Alias(id) => {
                let Some(node) = self.anchors.get(&id).cloned() else {
                    return Err(Flaw::syntax(at, "an alias to the value that it is part of"));
                };
                self.add(node.size, at)?;
                self.complete(node, 0);
            }
            _ => {}
        }
        Ok(())
    }

    /// Counts values that an alias adds.
    fn add(&mut self, size: usize, at: Position) -> Result<(), Flaw> {
        self.aliased = self.aliased.saturating_add(size);
        if self.aliased <= ALIASED_LIMIT {
            return Ok(());
        }
        Err(Flaw::syntax(at, format!("the aliases of this document stand for more than {ALIASED_LIMIT} values; write them out")))
    }

    fn enter(&mut self, at: Position, anchor: usize, content: Content) -> Result<(), Flaw> {
        if self.open.len() >= DEPTH_LIMIT {
            return Err(Flaw::syntax(at, TOO_DEEP));
        }
        self.open.push(Open { at, anchor, size: 1, content });
        Ok(())
    }

    fn leave(&mut self) {
        let Some(Open { at, anchor, size, content }) = self.open.pop() else { return };
        let kind = match content {
            Content::List(items) => Kind::List(items),
            Content::Object { mut entries, mut known, merged, .. } => {
                for entry in merged.iter().flat_map(|node| node.entries()) {
                    if !known.contains_key(&entry.key) {
                        known.insert(entry.key.clone(), entries.len());
                        entries.push(entry.clone());
                    }
                }
                Kind::Object(entries)
            }
        };
        self.complete(Arc::new(Node { at, kind, size }), anchor);
    }

    fn awaits_key(&self) -> bool {
        matches!(self.open.last(), Some(Open { content: Content::Object { key: None, .. }, .. }))
    }

    /// Remembers the name of the next field, and reports a second field of that name.
    fn name(&mut self, name: String, at: Position, merges: bool) {
        let Some(Open { content: Content::Object { entries, known, key, .. }, .. }) = self.open.last_mut() else { return };
        if let Some(index) = known.get(&name).filter(|_| !merges) {
            let first = entries[*index].at.line;
            let message = format!("the field {name} is set twice, first in line {first}; remove one of them");
            self.flaws.push(Flaw { at, rule: "duplicate-field", message });
        }
        *key = Some((name, at));
    }

    /// A value is complete: it is a document, an item, the name of a field, or its value.
    fn complete(&mut self, node: Arc<Node>, anchor: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let awaits_key = self.awaits_key();
        let Some(open) = self.open.last_mut() else {
            return self.documents.push(node);
        };
        if awaits_key {
            let name = match &node.kind {
                Kind::Scalar(Value::String(text)) => text.clone(),
                Kind::Scalar(value) => value.to_string(),
                _ => {
                    self.flaws.push(Flaw::syntax(
                        node.at,
                        "the name of a field must be a text; put {{ ... }} in quotes, or render the template first",
                    ));
                    String::new()
                }
            };
            return self.name(name, node.at, false);
        }
        open.size = open.size.saturating_add(node.size);
        match &mut open.content {
            Content::List(items) => items.push(node),
            Content::Object { entries, known, key, merged } => match key.take() {
                Some((name, at)) if name == "<<" => {
                    let parts = if let Kind::List(items) = &node.kind { items.clone() } else { vec![node] };
                    if let Some(wrong) = parts.iter().find(|part| !matches!(part.kind, Kind::Object(_))) {
                        self.flaws.push(Flaw::syntax(wrong.at.max(at), "<< merges objects only"));
                    }
                    merged.extend(parts);
                }
                Some((key, at)) => {
                    let entry = Entry { key: key.clone(), at, node };
                    match known.get(&key) {
                        Some(index) => entries[*index] = entry,
                        None => {
                            known.insert(key, entries.len());
                            entries.push(entry);
                        }
                    }
                }
                None => {}
            },
        }
    }
}
