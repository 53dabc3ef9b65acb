//! Rules for the code base that a machine can check: purity of the core, generated files, sizes, documentation.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "tidy/api_page.rs"]
mod api_page;
#[path = "tidy/compatibility.rs"]
mod compatibility;
#[path = "tidy/language.rs"]
mod language;
#[path = "tidy/reasons.rs"]
mod reasons;
#[path = "tidy/structure.rs"]
mod structure;
#[path = "tidy/supply_chain.rs"]
mod supply_chain;

use std::fs;
use std::path::{Path, PathBuf};

use bucketconnection::api::{AWSAccount, BucketConnection};
use bucketconnection::render::iam_policy;
use bucketconnection::settings::{BucketSettings, Facts, SettingId, SpecSettings};
use bucketconnection::vocabulary::conditions::ConditionType;
use kube::CustomResourceExt;
use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(Path::new(ROOT).join(&path)).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

fn files(place: &str, extension: &str) -> Vec<PathBuf> {
    let place = Path::new(ROOT).join(place);
    if place.is_file() {
        return vec![place];
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(&place).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(path.to_str().unwrap(), extension));
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn the_crds_match_the_types() {
    for crd in [BucketConnection::crd(), AWSAccount::crd()] {
        let generated = serde_saphyr::to_string(&crd).unwrap();
        // The chart needs a copy: helm packages only what is in its folder.
        for folder in ["crds", "deploy/chart/files/crds"] {
            let file = format!("{folder}/bucketconnection.dev_{}.yaml", crd.spec.names.plural);
            if std::env::var("UPDATE").is_ok() {
                fs::write(Path::new(ROOT).join(&file), &generated).unwrap();
            }
            assert!(read(&file) == generated, "{file} is stale: run make crds");
        }
    }
}

/// Parts of a schema without a limit: lists, maps and texts of any size, numbers of any value.
fn unlimited(schema: &Value, path: &str, found: &mut Vec<String>) {
    let has = |limits: &[&str]| limits.iter().all(|limit| !schema[*limit].is_null());
    let limited = match schema["type"].as_str() {
        Some("array") => has(&["maxItems"]),
        Some("string") => has(&["maxLength"]) || has(&["enum"]),
        Some("integer" | "number") => has(&["minimum", "maximum"]),
        Some("object") if schema.get("additionalProperties").is_some() => has(&["maxProperties"]),
        _ => true,
    };
    if !limited {
        found.push(path.to_owned());
    }
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        unlimited(property, &format!("{path}.{name}"), found);
    }
    for (inner, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
        if let Some(inner) = schema.get(inner) {
            unlimited(inner, &format!("{path}{mark}"), found);
        }
    }
}

/// The author of a spec decides how much it costs to store and to compare, so the API server refuses what no person
/// would write.
#[test]
fn every_field_of_a_spec_has_a_limit() {
    for crd in [BucketConnection::crd(), AWSAccount::crd()] {
        let crd = serde_json::to_value(crd).unwrap();
        let mut found = Vec::new();
        unlimited(crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec").unwrap(), "spec", &mut found);
        // Kubernetes' own type, in an object that only administrators write.
        found.retain(|path| !path.starts_with("spec.allowedNamespaces[].selector."));
        assert_eq!(found, [""; 0]);
    }
}

/// In a JSON line, the fields of an event are next to these.
const OF_EACH_LINE: [&str; 5] = ["timestamp", "level", "message", "target", "span"];

#[test]
fn a_log_line_has_each_key_once() {
    for file in files("src", "rs") {
        let text = fs::read_to_string(&file).unwrap();
        for event in text.split("tracing::").skip(1).filter(|rest| rest.contains("!(")) {
            let Some((level, fields)) = event.split_once("!(") else { continue };
            if !["trace", "debug", "info", "warn", "error"].contains(&level) {
                continue;
            }
            let fields = fields.split_once('"').map_or(fields, |(before, _)| before).split(");").next().unwrap();
            let names = fields.split(',').map(|field| field.split('=').next().unwrap().trim().trim_start_matches(['%', '?']));
            for name in names {
                assert!(!OF_EACH_LINE.contains(&name), "{} logs a field {name}, which each line has already", file.display());
            }
        }
    }
}

/// Defaults that the API server would fill in inside a list or a map that is compared as a whole.
fn defaults_inside(schema: &Value, path: &str, whole: bool, found: &mut Vec<String>) {
    if whole && schema.get("default").is_some() {
        found.push(path.to_owned());
    }
    let whole = whole || schema["x-kubernetes-map-type"] == "atomic";
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        defaults_inside(property, &format!("{path}.{name}"), whole, found);
    }
    for inner in ["items", "additionalProperties"] {
        if schema[inner].is_object() {
            defaults_inside(&schema[inner], &format!("{path}[]"), whole || inner == "items", found);
        }
    }
}

#[test]
fn no_list_has_defaults_inside() {
    let mut found = Vec::new();
    for crd in [BucketConnection::crd(), AWSAccount::crd()] {
        let schema = serde_json::to_value(&crd.spec.versions[0].schema).unwrap();
        defaults_inside(&schema["openAPIV3Schema"]["properties"]["spec"], "spec", false, &mut found);
    }
    assert_eq!(found, [""; 0], "src/settings/mod.rs, without_default, says why");
}

#[test]
fn every_condition_is_documented() {
    let reference = read("docs/reference.md");
    let mut kinds = vec![ConditionType::Ready, ConditionType::Reconciling, ConditionType::Stalled, ConditionType::DriftDetected];
    kinds.extend(ConditionType::PARTS);
    for kind in kinds {
        assert!(reference.contains(&format!("| `{kind}` |")), "docs/reference.md has no row for the condition {kind}");
    }
}

const SETTINGS_BEGIN: &str = "<!-- Settings of the bucket: UPDATE=1 cargo test --test tidy writes this table. -->\n";
const SETTINGS_END: &str = "<!-- End. -->";

#[test]
fn the_tables_of_settings_match_the_settings() {
    let settings = || SettingId::ALL.iter().map(|setting| (setting.name(), setting.facts()));
    let mut permissions = "\n| action | for the setting |\n|---|---|\n".to_owned();
    let mut reference = "\n| setting | purpose | what weakens it | what the operator preserves |\n|---|---|---|---|\n".to_owned();
    for (name, Facts { actions, docs, .. }) in settings() {
        let actions: Vec<_> = actions.iter().map(|action| format!("`{action}`")).collect();
        permissions += &format!("| {} | {} |\n", actions.join(", "), docs.purpose);
        reference += &format!("| `{name}` | {} | {} | {} |\n", docs.purpose, docs.weaker, docs.kept)
            .replace("|  |", "| |")
            .replace("|  |", "| |");
    }
    for (file, table) in [("docs/permissions.md", permissions), ("docs/reference.md", reference)] {
        let page = read(file);
        let (before, rest) = page.split_once(SETTINGS_BEGIN).unwrap_or_else(|| panic!("{file} has no place for the settings"));
        let (_, after) = rest.split_once(SETTINGS_END).unwrap();
        let written = format!("{before}{SETTINGS_BEGIN}{table}\n{SETTINGS_END}{after}");
        if std::env::var("UPDATE").is_ok() {
            fs::write(Path::new(ROOT).join(file), &written).unwrap();
        }
        assert!(read(file) == written, "{file} is stale: UPDATE=1 cargo test --test tidy updates its table of settings");
    }
}

/// With `..`, a new field that names another bucket, key or role would be missed.
#[test]
fn reaches_destructure_every_field() {
    let settings = files("src/settings", "rs").into_iter().filter(|file| !structure::is_wire(file) && !file.ends_with("list.rs"));
    for file in settings.chain(files("src/desired/reaches.rs", "rs")) {
        let text = fs::read_to_string(&file).unwrap();
        let functions = text.split("fn ").filter(|rest| rest.starts_with("reaches") || rest.starts_with("of_"));
        for function in functions.filter_map(|rest| rest.split("\n    }\n").next()) {
            assert!(!function.contains(", .. }") && !function.contains("{ .. }"), "{}: fn {function}", file.display());
        }
    }
}

#[test]
fn an_example_has_every_setting() {
    let text = read("examples/bucket-settings.yaml");
    let has = |schema: schemars::Schema, pointer: &str| {
        for name in schema.as_value()["properties"].as_object().unwrap().keys() {
            let found = text.split("\n---\n").any(|document| {
                let object: Value = serde_saphyr::from_str(document).unwrap();
                object.pointer(&format!("{pointer}/{name}")).is_some()
            });
            assert!(found, "examples/bucket-settings.yaml does not show {pointer}/{name}");
        }
    };
    has(schemars::schema_for!(BucketSettings), "/spec/bucket");
    has(schemars::schema_for!(SpecSettings), "/spec");
}

#[test]
fn the_operators_policies_match_the_command() {
    let printed = iam_policy::for_account(&iam_policy::Scope::default()).to_string();
    for (name, policy) in [("operator", printed.clone()), ("observe", reads(&printed))] {
        let file = format!("deploy/iam/{name}-policy.json");
        if std::env::var("UPDATE").is_ok() {
            fs::write(Path::new(ROOT).join(&file), &policy).unwrap();
        }
        assert!(read(&file) == policy, "{file} is stale: UPDATE=1 cargo test --test tidy updates it");
    }
}

/// The statements of a policy that allow reads, with only these actions: for an operator that only observes.
fn reads(policy: &str) -> String {
    let mut policy: Value = serde_json::from_str(policy).unwrap();
    let statements = policy["Statement"].as_array_mut().unwrap();
    for statement in statements.iter_mut() {
        let actions = statement["Action"].as_array().cloned().unwrap_or_else(|| vec![statement["Action"].clone()]);
        let read = |action: &Value| {
            ["Get", "List"].iter().any(|verb| action.as_str().unwrap().split(':').nth(1).unwrap().starts_with(verb))
        };
        statement["Action"] = actions.into_iter().filter(read).collect();
    }
    // What only a deletion reads is left out too.
    statements.retain(|statement| statement["Action"] != Value::Array(vec![]) && statement["Sid"] != "BucketsOnDelete");
    format!("{policy:#}\n")
}

#[test]
fn the_documented_permissions_match_the_calls() {
    let policy: Value = serde_json::from_str(&iam_policy::for_account(&iam_policy::Scope::default()).to_string()).unwrap();
    let mut granted = std::collections::BTreeSet::new();
    for statement in policy["Statement"].as_array().unwrap() {
        let actions = &statement["Action"];
        let one = std::slice::from_ref(actions);
        granted.extend(actions.as_array().map_or(one, Vec::as_slice).iter().map(|action| action.as_str().unwrap().to_owned()));
    }
    // What the code names as the action of a call. GetCallerIdentity needs no permission, and verification and `doctor`
    // use the issued key.
    let with_key = |file: &Path| file.ends_with("src/aws/probe.rs") || file.ends_with("src/aws/from_here.rs");
    let mut used = std::collections::BTreeSet::new();
    for file in files("src", "rs").into_iter().filter(|file| !with_key(file)) {
        let path = file.to_str().unwrap().to_owned();
        if path.contains("/src/aws/") || path.contains("/src/settings/") {
            let text = fs::read_to_string(&file).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap();
            // A setting also names actions in policies: only calls count.
            let called = |line: &&str| path.contains("/src/aws/") || line.contains(".call(\"") || line.contains(": &str = \"");
            let code = code.lines().filter(called).collect::<Vec<_>>().join("\n");
            for word in code.split('"').filter(|word| word.starts_with("s3:") || word.starts_with("iam:")) {
                used.insert(word.to_owned());
            }
        }
    }
    for Facts { field, actions, .. } in SettingId::ALL.iter().map(|setting| setting.facts()) {
        for action in actions {
            assert!(used.contains(*action), "{field} says that it takes {action}, but does not call it");
        }
    }
    // Needed in addition to the called action: for tags in CreateBucket and CreatePolicy, and for objects without
    // versions.
    for extra in ["s3:TagResource", "s3:DeleteObject", "iam:TagPolicy"] {
        used.insert(extra.to_owned());
    }
    assert_eq!(granted, used);
    let documented = read("docs/permissions.md");
    // The actions of settings are in a generated table.
    let of_settings: Vec<_> = SettingId::ALL.iter().flat_map(|setting| setting.facts().actions).copied().collect();
    for action in granted.iter().filter(|action| !of_settings.contains(&action.as_str())) {
        assert!(documented.contains(&format!("`{action}`")), "docs/permissions.md does not explain {action}");
    }
}
