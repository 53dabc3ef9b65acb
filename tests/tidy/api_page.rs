//! docs/api.md: generated from the schemas of the CRDs, in the sections below, so that it is readable and always
//! current.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use bucketconnection::api::{AWSAccount, BucketConnection};
use kube::CustomResourceExt;
use serde_json::Value;

use super::language::anchor;
use super::{ROOT, read};

const HEAD: &str = "# API reference

The API group is `bucketconnection.dev`, and the only version is `v1alpha1`. This page is generated from the Rust types
(`UPDATE=1 cargo test --no-default-features --test tidy`). `kubectl explain bc.spec` shows the same texts.

- [BucketConnection](#bucketconnection): what you write to connect a bucket.
- [AWSAccount](#awsaccount): what the platform team writes to allow it.

[reference.md](reference.md) describes conditions, reasons, annotations and Events. [examples/](../examples/README.md) has complete files. `crds/` has all
limits and validation rules.

In the tables, `a.b` is the field `b` of the object `a`, and `a[].b` is the field `b` of each item of the list `a`. The API server refuses an object without a
*required* field, if the object around the field is there.
";

/// A kind, its example (the first document of the kind in the file), and what to read next.
const KINDS: [(&str, &str, &str); 2] = [
    ("BucketConnection", "examples/read-write.yaml", "A BucketConnection is namespaced; its short name is `bc`."),
    ("AWSAccount", "examples/accounts/many.yaml", "An AWSAccount is cluster-scoped. [accounts.md](accounts.md) explains it."),
];

/// Every section, in the order of the page, with its introduction. The table of a section includes the fields of
/// objects and lists that have no section of their own.
const SECTIONS: &[(&str, &str)] = &[
    ("BucketConnection spec", "The desired state. Only `preset`, `region` and `bucket` are required."),
    (
        "BucketConnection spec.bucket",
        "The bucket, and the settings that the operator manages. The operator leaves an omitted setting as it is in AWS. \
         [reference.md](reference.md#settings-of-the-bucket) says which changes weaken a bucket. Example: \
         [bucket-settings.yaml](../examples/bucket-settings.yaml).",
    ),
    ("BucketConnection spec.bucket.publicAccessBlock", "The four blocks of S3 Block Public Access."),
    ("BucketConnection spec.bucket.encryption", "The default encryption of new objects."),
    ("BucketConnection spec.bucket.objectLock", "S3 Object Lock with a default retention. You cannot disable Object Lock again."),
    (
        "BucketConnection spec.bucket.lifecycle.rules[]",
        "Lifecycle rules, identified by `id`. The operator leaves foreign rules as they are.",
    ),
    (
        "BucketConnection spec.bucket.policyStatements[]",
        "Statements of the bucket policy, identified by `sid`. The operator leaves foreign statements as they are.",
    ),
    ("BucketConnection spec.cors", "The CORS rules of the bucket. The preset supplies them by default."),
    (
        "BucketConnection spec.user",
        "The IAM user of the connection. [accounts.md](accounts.md#what-namespaces-can-do) says which names an account allows.",
    ),
    (
        "BucketConnection spec.policy",
        "The IAM policy of the user. The preset supplies its statements. Example: [custom.yaml](../examples/custom.yaml).",
    ),
    ("BucketConnection spec.policy.statements[]", "Statements in addition to those of the preset."),
    (
        "BucketConnection spec.credentials",
        "The access key and its Secret. [operations.md](operations.md#rotation) describes rotation and revocation. Example: \
         [rotation.yaml](../examples/rotation.yaml).",
    ),
    (
        "BucketConnection spec.access",
        "Who in Kubernetes can read the Secret. [permissions.md](permissions.md#in-kubernetes-access-to-a-secret) describes the Role \
         and the RoleBinding. Example: [groups.yaml](../examples/groups.yaml).",
    ),
    (
        "BucketConnection spec.verification",
        "What the operator verifies with the key. [reference.md](reference.md#capabilities) lists the calls.",
    ),
    ("BucketConnection spec.illuminaICA", "Options of the preset `IlluminaICA`."),
    (
        "BucketConnection status",
        "The observed state, as the operator reports it. Do not edit it: the operator discards an edited status.",
    ),
    ("BucketConnection status.bucket", "The bucket, when the connection owns it."),
    ("BucketConnection status.user", "The IAM user, when the connection owns it."),
    ("BucketConnection status.policy", "The policy that the operator wrote last, or is about to write."),
    (
        "BucketConnection status.credentials",
        "The access keys of the connection, and what the operator is doing with them. No field is secret.",
    ),
    ("BucketConnection status.drift", "Drift that the operator reverted, and differences that it only observes."),
    (
        "BucketConnection status.adoption",
        "The changes that an adoption would make, while it waits for approval. See [adoption.md](adoption.md).",
    ),
    (
        "BucketConnection status.ineffectiveWrites[]",
        "Writes without effect. See [operations.md](operations.md#a-write-that-has-no-effect).",
    ),
    ("AWSAccount spec", "How the operator signs in, and what each namespace can do."),
    ("AWSAccount spec.credentials", "How the operator signs in. See [accounts.md](accounts.md#signing-in)."),
    ("AWSAccount spec.endpoints", "Addresses of AWS. See [accounts.md](accounts.md#partitions-and-addresses)."),
    ("AWSAccount spec.defaults", "Defaults of the account's connections. See [accounts.md](accounts.md#defaults)."),
    (
        "AWSAccount spec.allowedNamespaces[]",
        "What each namespace can do in the account. One entry must allow all of a connection. \
         [accounts.md](accounts.md#what-namespaces-can-do) says what each field gives away.",
    ),
    ("AWSAccount status", "Whether the operator can sign in."),
];

/// Objects that another section or page describes, and the text that refers to it.
const ELSEWHERE: [(&str, &str); 3] = [
    ("conditions", "A list of Kubernetes [conditions](https://pkg.go.dev/k8s.io/apimachinery/pkg/apis/meta/v1#Condition)."),
    (
        "selector",
        "A Kubernetes [label selector](https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors).",
    ),
    ("signIn", "The same fields as in [AWSAccount spec](#awsaccount-spec): `region`, `credentials`, `endpoints`."),
];

/// The schema of the object, or of the items of the list, and how a path spells it.
fn inside(property: &Value) -> Option<(&Value, &'static str)> {
    let (inner, mark) = property.get("items").map_or((property, ""), |items| (items, "[]"));
    inner.get("properties").is_some().then_some((inner, mark))
}

fn elsewhere(name: &str) -> Option<&'static str> {
    ELSEWHERE.iter().find(|(field, _)| *field == name).map(|(_, instead)| *instead)
}

fn kind_of(property: &Value) -> String {
    if let Some(values) = property["enum"].as_array() {
        return values.iter().filter_map(Value::as_str).map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ");
    }
    match property["type"].as_str().unwrap_or("any") {
        "array" => match property["items"]["type"].as_str() {
            Some("object") => "list of objects".to_owned(),
            Some(items) => format!("list of {items}s"),
            None => "list".to_owned(),
        },
        "object" if property.get("additionalProperties").is_some() => "map".to_owned(),
        kind => kind.to_owned(),
    }
}

/// Rows for the fields of `schema`, with paths relative to the section `section`, beginning with `way`.
fn rows(schema: &Value, section: &str, way: &str, table: &mut String) {
    let required = |name: &str| schema["required"].as_array().is_some_and(|list| list.iter().any(|required| required == name));
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let way = format!("{way}{name}");
        let path = format!("{section}.{way}");
        let mut text = property["description"].as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
        // A Markdown page would read <name> as an element, and text between two stars as emphasis.
        text = text.replace('<', "&lt;").replace('*', "\\*");
        assert!(!text.is_empty(), "{path} has no description for kubectl explain");
        let mut kind = kind_of(property);
        if required(name) {
            kind += ", required";
        }
        if !property["default"].is_null() {
            let _ = write!(kind, ", default `{}`", property["default"]);
        }
        let inner = inside(property);
        let own = inner.map(|(_, mark)| format!("{path}{mark}")).filter(|path| SECTIONS.iter().any(|(own, _)| own == path));
        let elsewhere = elsewhere(name).filter(|_| inner.is_some());
        if let Some(own) = &own {
            let short = own.split_once(' ').unwrap().1;
            let _ = write!(text, " See [{short}](#{}).", anchor(own));
        } else if let Some(instead) = elsewhere {
            let _ = write!(text, " {instead}");
        }
        let _ = writeln!(table, "| `{way}` | {} | {} |", kind.replace('|', "\\|"), text.replace('|', "\\|"));
        if let Some((inner, mark)) = inner.filter(|_| own.is_none() && elsewhere.is_none()) {
            rows(inner, section, &format!("{way}{mark}."), table);
        }
    }
}

/// The schema at `path`, such as `spec.cors.rules[]`.
fn at<'a>(schema: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(schema, |schema, name| {
        let property = schema["properties"].get(name.trim_end_matches("[]"))?;
        inside(property).filter(|(_, mark)| name.ends_with(mark)).map(|(inner, _)| inner)
    })
}

/// The first document of the kind in the file, without the comments before it.
fn example(kind: &str, file: &str) -> String {
    let text = read(file);
    let of_kind = |document: &&str| document.lines().any(|line| line == format!("kind: {kind}"));
    let document = text.split("---\n").find(of_kind).unwrap_or_else(|| panic!("{file} has no {kind}"));
    let body: Vec<_> = document.lines().skip_while(|line| line.starts_with('#')).collect();
    format!("```yaml\n{}\n```\n\nThis example is from [{file}](../{file}).\n", body.join("\n").trim())
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    for ((kind, file, note), crd) in KINDS.iter().zip([BucketConnection::crd(), AWSAccount::crd()]) {
        let crd = serde_json::to_value(crd).unwrap();
        let schema = crd.pointer("/spec/versions/0/schema/openAPIV3Schema").unwrap();
        let described = schema["description"].as_str().unwrap();
        let _ = write!(page, "\n## {kind}\n\n{described} {note}\n\n{}", example(kind, file));
        for (section, text) in SECTIONS {
            let Some(path) = section.strip_prefix(kind).and_then(|rest| rest.strip_prefix(' ')) else { continue };
            let inner =
                at(schema, path).unwrap_or_else(|| panic!("tests/tidy/api_page.rs has a section {section}, which is no object"));
            let mut table = String::new();
            rows(inner, section, "", &mut table);
            let level = if path.matches('.').count() < 2 { "###" } else { "####" };
            let _ = write!(page, "\n{level} {section}\n\n{text}\n\n| field | type | description |\n|---|---|---|\n{table}");
        }
    }
    page
}

#[test]
fn the_api_reference_matches_the_types() {
    let page = page();
    if std::env::var("UPDATE").is_ok() {
        std::fs::write(Path::new(ROOT).join("docs/api.md"), &page).unwrap();
    }
    assert!(read("docs/api.md") == page, "docs/api.md is stale: UPDATE=1 cargo test --test tidy updates it");
}

/// The paths of all fields, as sections and rows spell them, except those that are described elsewhere.
fn paths(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        if let Some((inner, mark)) = inside(property).filter(|_| elsewhere(name).is_none()) {
            paths(inner, &format!("{path}{mark}"), found);
        }
        found.insert(path);
    }
}

#[test]
fn each_field_has_one_row_in_the_api_reference() {
    let page = page();
    let (mut shown, mut section) = (Vec::new(), "");
    for line in page.lines() {
        section = line.trim_start_matches('#').strip_prefix(' ').filter(|_| line.starts_with('#')).unwrap_or(section);
        if let Some(way) = line.strip_prefix("| `").and_then(|row| row.split('`').next()) {
            shown.push(format!("{section}.{way}"));
        }
    }
    shown.sort();
    let mut expected = BTreeSet::new();
    for (kind, crd) in [("BucketConnection", BucketConnection::crd()), ("AWSAccount", AWSAccount::crd())] {
        let crd = serde_json::to_value(crd).unwrap();
        for part in ["spec", "status"] {
            let schema = crd.pointer(&format!("/spec/versions/0/schema/openAPIV3Schema/properties/{part}")).unwrap();
            paths(schema, &format!("{kind} {part}"), &mut expected);
        }
    }
    assert_eq!(shown, expected.into_iter().collect::<Vec<_>>());
}
