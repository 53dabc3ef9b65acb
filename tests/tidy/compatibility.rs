//! The CRDs stay compatible with every released version: an object that one of them accepted stays valid, and means the
//! same. `tests/released/<version>/crds/` has the CRDs of each release.

use std::fmt::Display;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{ROOT, read};

/// Differences that are meant, as this test prints them. CHANGELOG.md says in bold what users must do.
const ACCEPTED: [&str; 0] = [];

/// Any change of these changes what an object means, or who owns which part of it.
const FIXED: [&str; 13] = [
    "type",
    "format",
    "default",
    "not",
    "allOf",
    "anyOf",
    "oneOf",
    "multipleOf",
    "uniqueItems",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-map-type",
];
/// These allow more: they may come, but not go.
const PERMISSIONS: [&str; 2] = ["nullable", "x-kubernetes-preserve-unknown-fields"];
const UPPER: [&str; 4] = ["maximum", "maxLength", "maxItems", "maxProperties"];
const LOWER: [&str; 4] = ["minimum", "minLength", "minItems", "minProperties"];

fn list<'a>(schema: &'a Value, key: &str) -> &'a [Value] {
    schema[key].as_array().map_or(&[], Vec::as_slice)
}

/// What the schema `new` refuses, or understands in another way, of what `old` accepted.
fn compare(path: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    let mut report = |what: &dyn Display| found.push(format!("{path}: {what}"));
    let shown = |value: &Value| if value.is_null() { "nothing".to_owned() } else { value.to_string() };
    for key in FIXED {
        if old[key] != new[key] {
            report(&format_args!("{key} was {}, is {}", shown(&old[key]), shown(&new[key])));
        }
    }
    for key in PERMISSIONS {
        if old[key] == true && new[key] != true {
            report(&format_args!("{key} is gone"));
        }
    }
    let limits = UPPER.map(|key| (key, 1.0)).into_iter().chain(LOWER.map(|key| (key, -1.0)));
    for (key, sign) in limits {
        let (before, now) = (old[key].as_f64(), new[key].as_f64());
        if now.is_some_and(|now| before.is_none_or(|before| now * sign < before * sign)) {
            report(&format_args!("{key} was {}, is {}", shown(&old[key]), shown(&new[key])));
        }
    }
    if !new["pattern"].is_null() && new["pattern"] != old["pattern"] {
        report(&format_args!("pattern was {}, is {}", shown(&old["pattern"]), new["pattern"]));
    }
    if new["enum"].is_array() && old["enum"].is_null() {
        report(&format_args!("allowed any value, allows {}", new["enum"]));
    }
    for value in list(old, "enum").iter().filter(|value| new["enum"].is_array() && !list(new, "enum").contains(value)) {
        report(&format_args!("no longer allows {value}"));
    }
    for name in list(new, "required").iter().filter(|name| !list(old, "required").contains(name)) {
        report(&format_args!("now requires {name}"));
    }
    let rules = |schema: &Value| list(schema, "x-kubernetes-validations").iter().map(|rule| rule["rule"].clone()).collect();
    let (before, now): (Vec<_>, Vec<_>) = (rules(old), rules(new));
    for rule in now.iter().filter(|rule| !before.contains(rule)) {
        report(&format_args!("new rule {rule}"));
    }
    for (name, property) in old["properties"].as_object().into_iter().flatten() {
        match new["properties"].get(name) {
            Some(now) => compare(&format!("{path}.{name}"), property, now, found),
            None => found.push(format!("{path}.{name}: is gone")),
        }
    }
    for (inner, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
        if let Some(before) = old.get(inner) {
            compare(&format!("{path}{mark}"), before, &new[inner], found);
        }
    }
}

/// What keeps objects of the CRD `old` from being objects of `new`.
fn breaks(old: &Value, new: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let (old, new) = (&old["spec"], &new["spec"]);
    for path in ["/group", "/scope", "/names/kind", "/names/plural"] {
        if old.pointer(path) != new.pointer(path) {
            let shown = |value: Option<&Value>| value.map_or("nothing".to_owned(), Value::to_string);
            found.push(format!(
                "spec{}: was {}, is {}",
                path.replace('/', "."),
                shown(old.pointer(path)),
                shown(new.pointer(path))
            ));
        }
    }
    for name in list(&old["names"], "shortNames").iter().filter(|name| !list(&new["names"], "shortNames").contains(name)) {
        found.push(format!("spec.names.shortNames: {name} is gone"));
    }
    for before in list(old, "versions").iter().filter(|version| version["served"] == true) {
        let name = before["name"].as_str().unwrap();
        let Some(now) = list(new, "versions").iter().find(|now| now["name"] == name && now["served"] == true) else {
            found.push(format!("{name}: is no longer served"));
            continue;
        };
        for field in list(before, "selectableFields").iter().filter(|field| !list(now, "selectableFields").contains(field)) {
            found.push(format!("{name}: the field selector {} is gone", field["jsonPath"]));
        }
        if before["subresources"] != now["subresources"] {
            found.push(format!("{name}: subresources were {}, are {}", before["subresources"], now["subresources"]));
        }
        let schema = |version: &Value| version["schema"]["openAPIV3Schema"].clone();
        let mut differences = Vec::new();
        compare("", &schema(before), &schema(now), &mut differences);
        found.extend(differences.into_iter().map(|text| format!("{name}: {}", text.trim_start_matches('.'))));
    }
    found
}

#[test]
fn the_crds_are_compatible_with_every_release() {
    let releases = Path::new(ROOT).join("tests/released");
    let mut found = Vec::new();
    let mut compared = 0;
    for release in fs::read_dir(releases).unwrap().map(|entry| entry.unwrap()) {
        for file in fs::read_dir(release.path().join("crds")).unwrap().map(|entry| entry.unwrap()) {
            let file_name = file.file_name().into_string().unwrap();
            let old: Value = serde_saphyr::from_str(&fs::read_to_string(file.path()).unwrap()).unwrap();
            let new: Value = serde_saphyr::from_str(&read(format!("crds/{file_name}"))).unwrap();
            let kind = old["spec"]["names"]["kind"].as_str().unwrap();
            let version = release.file_name().into_string().unwrap();
            found.extend(breaks(&old, &new).into_iter().map(|text| format!("{version}: {kind} {text}")));
            compared += 1;
        }
    }
    assert!(compared >= 2, "tests/released/<version>/crds/ has {compared} CRDs");
    let unknown: Vec<_> = ACCEPTED.iter().filter(|accepted| !found.iter().any(|text| text == *accepted)).collect();
    assert!(unknown.is_empty(), "ACCEPTED lists what does not differ: {unknown:?}");
    found.retain(|text| !ACCEPTED.contains(&text.as_str()));
    assert!(
        found.is_empty(),
        "objects of a released version are no longer valid, or mean something else:\n  {}\nUndo this, or see \"Breaking changes\" in \
         docs/upgrade.md. If that version has no tag yet, `make baseline` records it again.",
        found.join("\n  ")
    );
}

/// A CRD with this schema of `spec`.
fn crd(spec: Value) -> Value {
    let schema = json!({ "openAPIV3Schema": { "type": "object", "properties": { "spec": spec } } });
    let version = json!({
        "name": "v1", "served": true, "schema": schema, "subresources": { "status": {} },
        "selectableFields": [{ "jsonPath": ".spec.region" }],
    });
    json!({ "spec": {
        "group": "g", "scope": "Namespaced", "names": { "kind": "K", "plural": "ks", "shortNames": ["k"] }, "versions": [version],
    } })
}

fn spec() -> Value {
    json!({ "type": "object", "required": ["region"], "properties": {
        "region": { "type": "string", "maxLength": 20, "minLength": 2, "enum": ["a", "b"], "pattern": "^x" },
        "list": { "type": "array", "maxItems": 3, "items": { "type": "integer", "minimum": 1, "nullable": true } },
        "map": { "type": "object", "additionalProperties": { "type": "string" }, "x-kubernetes-map-type": "atomic" },
        "mode": { "type": "string", "default": "Enforce", "x-kubernetes-validations": [{ "rule": "self == oldSelf" }] },
    } })
}

/// Each edit of the schema at a path, and what the test reports.
#[test]
fn a_field_that_goes_and_a_rule_that_tightens_are_found() {
    let gone = Value::Null;
    let cases = [
        ("/properties/list", gone.clone(), "v1: spec.list: is gone"),
        ("/properties/region/type", json!("integer"), "v1: spec.region: type was \"string\", is \"integer\""),
        ("/properties/mode/default", json!("Observe"), "v1: spec.mode: default was \"Enforce\", is \"Observe\""),
        ("/properties/mode/default", gone.clone(), "v1: spec.mode: default was \"Enforce\", is nothing"),
        ("/properties/region/default", json!("a"), "v1: spec.region: default was nothing, is \"a\""),
        ("/properties/region/enum", json!(["a", "c"]), "v1: spec.region: no longer allows \"b\""),
        ("/properties/mode/enum", json!(["Enforce"]), "v1: spec.mode: allowed any value, allows [\"Enforce\"]"),
        ("/properties/region/pattern", json!("^y"), "v1: spec.region: pattern was \"^x\", is \"^y\""),
        ("/properties/mode/pattern", json!("^y"), "v1: spec.mode: pattern was nothing, is \"^y\""),
        ("/properties/region/maxLength", json!(19), "v1: spec.region: maxLength was 20, is 19"),
        ("/properties/region/minLength", json!(3), "v1: spec.region: minLength was 2, is 3"),
        ("/properties/list/maxItems", json!(2), "v1: spec.list: maxItems was 3, is 2"),
        ("/properties/list/items/maximum", json!(9), "v1: spec.list[]: maximum was nothing, is 9"),
        ("/properties/list/items/minimum", json!(2), "v1: spec.list[]: minimum was 1, is 2"),
        ("/properties/list/items/nullable", gone.clone(), "v1: spec.list[]: nullable is gone"),
        ("/properties/map/additionalProperties/format", json!("date"), "v1: spec.map{}: format was nothing, is \"date\""),
        ("/properties/map/x-kubernetes-map-type", gone, "v1: spec.map: x-kubernetes-map-type was \"atomic\", is nothing"),
        ("/required", json!(["region", "mode"]), "v1: spec: now requires \"mode\""),
        ("/properties/mode/x-kubernetes-validations", json!([{ "rule": "false" }]), "v1: spec.mode: new rule \"false\""),
        ("/anyOf", json!([{ "required": ["list"] }]), "v1: spec: anyOf was nothing, is [{\"required\":[\"list\"]}]"),
    ];
    for (path, value, expected) in cases {
        let mut edited = spec();
        let (parent, name) = path.rsplit_once('/').unwrap();
        let parent = edited.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        if value.is_null() {
            parent.remove(name).unwrap();
        } else {
            parent.insert(name.to_owned(), value);
        }
        assert_eq!(breaks(&crd(spec()), &crd(edited)), [expected]);
    }
}

#[test]
fn a_new_field_and_a_rule_that_loosens_are_compatible() {
    let mut edited = spec();
    let properties = edited["properties"].as_object_mut().unwrap();
    properties.insert("new".into(), json!({ "type": "string", "default": "x", "pattern": "^x" }));
    properties["region"] = json!({ "type": "string", "maxLength": 21, "minLength": 1, "enum": ["a", "b", "c"] });
    properties["list"]["items"] = json!({ "type": "integer", "minimum": 0, "nullable": true });
    properties["mode"].as_object_mut().unwrap().remove("x-kubernetes-validations");
    edited["required"] = json!([]);
    assert_eq!(breaks(&crd(spec()), &crd(edited)), [""; 0]);
}

#[test]
fn a_crd_that_serves_less_is_found() {
    let cases = [
        ("/spec/scope", json!("Cluster"), "spec.scope: was \"Namespaced\", is \"Cluster\""),
        ("/spec/names/shortNames", json!([]), "spec.names.shortNames: \"k\" is gone"),
        ("/spec/versions/0/served", json!(false), "v1: is no longer served"),
        ("/spec/versions/0/selectableFields", json!([]), "v1: the field selector \".spec.region\" is gone"),
        ("/spec/versions/0/subresources", json!({}), "v1: subresources were {\"status\":{}}, are {}"),
    ];
    for (path, value, expected) in cases {
        let mut edited = crd(spec());
        *edited.pointer_mut(path).unwrap() = value;
        assert_eq!(breaks(&crd(spec()), &edited), [expected]);
    }
}

/// The API server warns about any other format, each time that a person applies the CRDs.
#[test]
fn kubernetes_knows_every_format() {
    for file in ["awsaccounts", "bucketconnections"] {
        let text = read(format!("crds/bucketconnection.dev_{file}.yaml"));
        let mut formats = text.lines().filter_map(|line| line.trim().strip_prefix("format: ")).peekable();
        assert!(formats.peek().is_some());
        let unknown = formats.find(|format| !["date-time", "int32", "int64"].contains(format));
        assert_eq!(unknown, None, "crds/bucketconnection.dev_{file}.yaml");
    }
}
