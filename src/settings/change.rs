//! The result of reading a setting, and the change that it needs.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::vocabulary::narrowing::Loss;
use crate::vocabulary::problem::Problem;

/// A write, and the fields that it changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Change<W> {
    /// The fields that change.
    pub diffs: Vec<FieldDiff>,
    /// What to send.
    pub write: W,
    /// The protection that it removes from the bucket, such as "turns blockPublicAcls off": done only if
    /// `bucket.allowWeaker` names the setting.
    pub weakens: Option<String>,
    /// The access that it takes away by changing statements of the bucket policy.
    pub losses: Vec<Loss>,
    /// The foreign configuration that blocks the write.
    pub blocked: Option<String>,
    /// Foreign parts with names that the spec lists, by path: they are left as they are.
    pub foreign: Vec<String>,
    /// Names that the write adds, if the setting also has foreign parts: these become managed.
    pub adds: Vec<String>,
}

impl<W> Change<W> {
    /// A change of some fields; `None` if there are none.
    pub fn of(diffs: Vec<FieldDiff>, write: W) -> Option<Self> {
        (!diffs.is_empty()).then_some(Self::new(diffs, write))
    }

    pub(super) fn new(diffs: Vec<FieldDiff>, write: W) -> Self {
        Self { diffs, write, weakens: None, losses: Vec::new(), blocked: None, foreign: Vec::new(), adds: Vec::new() }
    }

    /// A change of one whole field.
    pub fn whole(path: &str, live: Option<Value>, desired: Option<Value>, write: W) -> Self {
        Self::new(vec![FieldDiff::new(path, live, desired)], write)
    }

    /// The same change, marked as weakening if `weakens` is set.
    pub fn weakening(self, weakens: Option<String>) -> Self {
        Self { weakens, ..self }
    }
}

/// The spec that describes a setting as it is in AWS.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported<S> {
    /// The spec; `None` leaves the setting as it is.
    pub spec: Option<S>,
    /// What of the setting no spec can express: it stays as it is.
    pub lost: Vec<String>,
}

impl<S> Imported<S> {
    /// The whole setting.
    pub fn whole(spec: S) -> Self {
        Self { spec: Some(spec), lost: Vec::new() }
    }

    /// The part of it that a spec can express.
    pub fn part(spec: Option<S>, lost: Vec<String>) -> Self {
        Self { spec, lost }
    }

    /// Nothing of it.
    pub fn nothing(why: impl Into<String>) -> Self {
        Self { spec: None, lost: vec![why.into()] }
    }
}

/// One field that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FieldDiff {
    /// The field, as the spec spells it if possible.
    pub path: String,
    /// The observed value; `None` if there is none.
    pub live: Option<Value>,
    /// The desired value; `None` if there is none.
    pub desired: Option<Value>,
}

impl FieldDiff {
    /// A field that differs.
    pub fn new(path: impl Into<String>, live: Option<Value>, desired: Option<Value>) -> Self {
        Self { path: path.into(), live, desired }
    }

    /// For people: the observed and the desired value, as JSON, each truncated to `length` characters.
    pub fn shown(&self, length: usize) -> [String; 2] {
        [&self.live, &self.desired].map(|value| {
            let text = value.as_ref().map_or_else(|| "(none)".to_owned(), Value::to_string);
            match text.char_indices().nth(length) {
                Some((end, _)) => format!("{}…", &text[..end]),
                None => text,
            }
        })
    }
}

/// The answer to one read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Reading<T> {
    /// It was not read.
    #[default]
    NotRead,
    /// It is not set.
    Unset,
    /// It is set to this.
    Set(T),
    /// It could not be read. Never treated as "unset".
    Unreadable(Problem),
}

impl<T> Reading<T> {
    /// The value, if it is set.
    pub fn set(&self) -> Option<&T> {
        match self {
            Self::Set(value) => Some(value),
            Self::NotRead | Self::Unset | Self::Unreadable(_) => None,
        }
    }
}

impl<T> From<Option<T>> for Reading<T> {
    fn from(live: Option<T>) -> Self {
        live.map_or(Self::Unset, Self::Set)
    }
}

/// Diffs of two objects, one for each field that differs.
pub(crate) fn object_diffs(path: &str, live: &Value, desired: &Value) -> Vec<FieldDiff> {
    let fields = |object: &Value| object.as_object().cloned().unwrap_or_default();
    let (live, desired) = (fields(live), fields(desired));
    let names: BTreeSet<_> = live.keys().chain(desired.keys()).collect();
    let differ = names.into_iter().filter(|name| live.get(*name) != desired.get(*name));
    differ.map(|name| FieldDiff::new(format!("{path}.{name}"), live.get(name).cloned(), desired.get(name).cloned())).collect()
}

/// Diffs of two maps, one for each key that differs.
pub(crate) fn map_diffs(path: &str, live: &BTreeMap<String, String>, desired: &BTreeMap<String, String>) -> Vec<FieldDiff> {
    let keys: BTreeSet<_> = live.keys().chain(desired.keys()).collect();
    keys.into_iter()
        .filter(|key| live.get(*key) != desired.get(*key))
        .map(|key| {
            let value = |map: &BTreeMap<String, String>| map.get(key).map(|v| Value::String(v.clone()));
            FieldDiff::new(format!("{path}[{key}]"), value(live), value(desired))
        })
        .collect()
}
