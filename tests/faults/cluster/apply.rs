//! Server-side apply.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

pub type Path = Vec<String>;
/// The managers of fields.
pub type Managers = BTreeMap<String, BTreeSet<Path>>;

/// Every value that is not a map, and every empty map.
pub fn leaves(value: &Value) -> BTreeMap<Path, Value> {
    fn walk(value: &Value, path: &mut Path, found: &mut BTreeMap<Path, Value>) {
        match value {
            Value::Null => {}
            Value::Object(fields) if !fields.is_empty() => {
                for (name, value) in fields {
                    path.push(name.clone());
                    walk(value, path, found);
                    path.pop();
                }
            }
            leaf => {
                found.insert(path.clone(), leaf.clone());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(value, &mut Vec::new(), &mut found);
    found
}

/// Applies `wanted` for `manager`: sets its fields, and removes those that it applied before and that no other manager
/// has.
pub fn apply(target: &mut Value, managers: &mut Managers, manager: &str, wanted: &Value) {
    let wanted = leaves(wanted);
    let before = managers.remove(manager).unwrap_or_default();
    for path in before.iter().filter(|path| !wanted.contains_key(*path)) {
        let shared = managers.values().any(|paths| paths.contains(path));
        let kept = wanted.keys().any(|other| other.starts_with(path));
        if !shared && !kept {
            remove(target, path);
        }
    }
    for (path, value) in &wanted {
        set(target, path, value);
    }
    for paths in managers.values_mut() {
        paths.retain(|path| !wanted.contains_key(path));
    }
    managers.insert(manager.to_owned(), wanted.into_keys().collect());
}

/// After a write by patch: the changed fields no longer belong to their earlier appliers.
pub fn disown(before: &Value, after: &Value, managers: &mut Managers) {
    let (before, after) = (leaves(before), leaves(after));
    for paths in managers.values_mut() {
        paths.retain(|path| before.get(path) == after.get(path));
    }
}

fn set(target: &mut Value, path: &[String], value: &Value) {
    let Some((first, rest)) = path.split_first() else {
        if !(value.is_object() && target.is_object()) {
            *target = value.clone();
        }
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    if let Value::Object(fields) = target {
        set(fields.entry(first.clone()).or_insert(Value::Null), rest, value);
    }
}

/// Removes a field, and the maps that become empty.
fn remove(target: &mut Value, path: &[String]) {
    let (Some((first, rest)), Value::Object(fields)) = (path.split_first(), target) else { return };
    if rest.is_empty() {
        fields.remove(first);
    } else if let Some(inner) = fields.get_mut(first) {
        remove(inner, rest);
        if inner.as_object().is_some_and(Map::is_empty) {
            fields.remove(first);
        }
    }
}
