//! Specs of every shape that the API server accepts, generated from the CRD's own schema: what a hostile tenant could
//! write.

use std::sync::LazyLock;

use bucketconnection::settings::SettingId;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use crate::merge::merge;

/// The schema of the spec, as installed.
static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let crd: Value = serde_saphyr::from_str(include_str!("../../crds/bucketconnection.dev_bucketconnections.yaml")).unwrap();
    crd.pointer("/spec/versions/0/schema/openAPIV3Schema/properties/spec").unwrap().clone()
});

/// Valid specs, so that a change in one is not always hidden by another error.
fn good() -> Vec<Value> {
    let kms = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    let statement = json!({ "actions": ["s3:*"], "resources": ["arn:aws:s3:::lab-bucket/*"] });
    let specs = [
        json!({}),
        json!({ "preset": "IlluminaICA", "illuminaICA": { "copyTags": true }, "access": { "groups": ["lab-a"] } }),
        json!({ "preset": "Custom", "policy": { "statements": [statement] } }),
        json!({ "preset": "WriteOnly", "policy": { "type": "Managed" }, "verification": { "objects": true } }),
        json!({ "bucket": { "encryption": { "type": "SSE-KMS", "kmsKeyArn": kms }, "versioning": "Enabled", "objectLock": { "mode": "GOVERNANCE", "days": 1 } } }),
        json!({ "bucket": { "lifecycle": { "rules": [{ "id": "tidy", "expiration": { "days": 9 } }] }, "tls": { "minimumVersion": "1.2" } } }),
        json!({ "credentials": { "secret": { "name": "key", "versioned": true }, "rotation": { "interval": "1h", "overlap": "20m" } } }),
    ];
    let whole = |change| {
        let mut spec =
            json!({ "preset": "ReadWrite", "region": "us-east-1", "bucket": { "name": "lab-bucket", "prefix": "runs/" } });
        merge(&mut spec, change);
        spec
    };
    specs.into_iter().map(whole).collect()
}

/// A valid spec with up to four parts of any shape, or any value at all.
pub fn spec() -> impl Strategy<Value = Value> {
    let part =
        select(parts()).prop_flat_map(|(path, schema)| any_of(&schema, &path).prop_map(move |value| (path.clone(), value)));
    let changed = (select(good()), prop::collection::vec(part, 0..5)).prop_map(|(mut spec, parts)| {
        for (path, value) in parts {
            let change = path.split('.').rev().fold(value, |value, name| json!({ name: value }));
            merge(&mut spec, change);
        }
        spec
    });
    prop_oneof![6 => changed, 1 => any_of(&SCHEMA, "spec")]
}

/// Specs with many of the settings, each of any shape, and nothing else.
pub fn settings() -> impl Strategy<Value = Value> {
    let settings = parts().into_iter().filter(|(path, _)| {
        let names = SettingId::ALL.iter().map(|setting| setting.field()).chain(["bucket.tls"]);
        names.into_iter().any(|name| name == path)
    });
    let one = |(path, schema): (String, Value)| {
        let value =
            any_of(&schema, &path).prop_map(move |value| path.split('.').rev().fold(value, |value, name| json!({ name: value })));
        prop::option::weighted(0.7, value)
    };
    settings.map(one).collect::<Vec<_>>().prop_map(|settings| {
        let mut spec = json!({});
        settings.into_iter().flatten().for_each(|setting| merge(&mut spec, setting));
        spec
    })
}

/// Fields of the spec and of the objects in it, with their schemas.
fn parts() -> Vec<(String, Value)> {
    let fields = |schema: &Value| schema["properties"].as_object().cloned().unwrap_or_default();
    let outer = fields(&SCHEMA);
    let inner = outer
        .iter()
        .flat_map(|(name, schema)| fields(schema).into_iter().map(move |(field, schema)| (format!("{name}.{field}"), schema)));
    outer.clone().into_iter().chain(inner.collect::<Vec<_>>()).collect()
}

/// Any value that `schema` accepts; `name` is that of the field, for values with a meaning there.
fn any_of(schema: &Value, name: &str) -> BoxedStrategy<Value> {
    if let Some(values) = schema["enum"].as_array() {
        return select(values.iter().filter(|value| !value.is_null()).cloned().collect::<Vec<_>>()).boxed();
    }
    let number = |field: &str, default: usize| schema[field].as_f64().map_or(default, |number| number as usize);
    match schema["type"].as_str() {
        Some("boolean") => any::<bool>().prop_map(Value::Bool).boxed(),
        Some("integer") => {
            let (least, most) =
                (schema["minimum"].as_f64().unwrap_or_default() as i64, schema["maximum"].as_f64().unwrap_or(1e9) as i64);
            prop_oneof![Just(least), Just(most), least..=most, least..=(least + 40).min(most)]
                .prop_map(|number| json!(number))
                .boxed()
        }
        Some("string") => text(name, number("maxLength", 64)),
        Some("array") => {
            let (least, most) = (number("minItems", 0), number("maxItems", 10));
            let size = prop_oneof![12 => least..=most.min(least + 3), 1 => Just(most.min(60))];
            let item = any_of(&schema["items"], name);
            size.prop_flat_map(move |size| prop::collection::vec(item.clone(), size)).prop_map(Value::Array).boxed()
        }
        _ => object(schema, name),
    }
}

fn object(schema: &Value, name: &str) -> BoxedStrategy<Value> {
    let required = |name: &String| schema["required"].as_array().is_some_and(|list| list.iter().any(|field| field == name));
    let fields = schema["properties"].as_object().cloned().unwrap_or_default();
    let fields: Vec<_> = fields
        .into_iter()
        .map(|(field, schema)| {
            let value = any_of(&schema, &field);
            let value = if required(&field) { value.prop_map(Some).boxed() } else { prop::option::weighted(0.25, value).boxed() };
            value.prop_map(move |value| value.map(|value| (field.clone(), value))).boxed()
        })
        .collect();
    let unknown = match schema["x-kubernetes-preserve-unknown-fields"] == true {
        true => prop::option::weighted(0.05, (text("", 20), text("", 20))).boxed(),
        false => Just(None).boxed(),
    };
    let more = match &schema["additionalProperties"] {
        Value::Object(_) => {
            let entry = (text(&format!("{name} key"), 64), any_of(&schema["additionalProperties"], name));
            let most = schema["maxProperties"].as_f64().unwrap_or(4.0) as usize;
            prop::collection::vec(entry, 0..=most.min(4)).boxed()
        }
        _ => Just(Vec::new()).boxed(),
    };
    (fields, more, unknown)
        .prop_map(|(fields, more, unknown)| {
            let named = |(name, value): (Value, Value)| Some((name.as_str()?.to_owned(), value));
            let all = fields.into_iter().flatten().chain(more.into_iter().chain(unknown).filter_map(named));
            Value::Object(all.collect::<Map<_, _>>())
        })
        .boxed()
}

/// A text: a meaningful one for the field, one that no person would write, or one of maximum length.
fn text(name: &str, most: usize) -> BoxedStrategy<Value> {
    let cut = move |text: String| json!(text.chars().take(most).collect::<String>());
    let meant = meant(name.rsplit('.').next().unwrap_or(name));
    let odd = select(vec![
        "",
        " ",
        "*",
        "?",
        "\u{0}",
        "\r\nx-amz-acl: public-read",
        "${aws:username}",
        "../..",
        "'\"`<>&",
        "é\u{202e}\u{1F600}",
        "%2e%2e",
        "null",
        "0x7f000001",
    ]);
    let long = (select(vec!["*", "*a", "?*", "a", "A.", "-", "*:", "é"]), any::<bool>()).prop_map(move |(piece, last)| {
        piece.repeat(most / piece.chars().count() - usize::from(last)) + if last { "z" } else { "" }
    });
    prop_oneof![
        8 => select(meant).prop_map(str::to_owned),
        1 => odd.prop_map(str::to_owned),
        1 => "\\PC{0,24}",
        1 => "[a-zA-Z0-9*?:/._-]{1,24}",
        1 => long,
    ]
    .prop_map(cut)
    .boxed()
}

/// Meaningful values for a field of this name.
fn meant(field: &str) -> Vec<&'static str> {
    match field {
        "region" => vec!["us-east-1", "eu-central-1", "cn-north-1"],
        "actions" => vec![
            "s3:GetObject",
            "s3:*",
            "s3:Put*",
            "s3:?*Tagging",
            "s3:PutBucketTagging",
            "kms:Decrypt",
            "kms:*",
            "sts:GetFederationToken",
            "s3:ListBucket",
            "s3:ListAllMyBuckets",
        ],
        "resources" => vec![
            "arn:aws:s3:::lab-bucket",
            "arn:aws:s3:::lab-bucket/*",
            "arn:aws:s3:::lab-bucket/runs/*",
            "arn:aws:s3:::other/*",
            "*",
        ],
        "principals" => vec![
            "*",
            "123456789012",
            "210987654321",
            "arn:aws:iam::123456789012:user/*",
            "arn:aws:iam::210987654321:root",
            "ec2.amazonaws.com",
        ],
        "principals key" => vec!["AWS", "Service", "Federated", "CanonicalUser"],
        "conditions" => vec!["runs/*", "true", "1.2", "arn:aws:iam::123456789012:user/operator", "*"],
        "conditions key" => vec![
            "StringLike",
            "StringEquals",
            "ArnNotLike",
            "Bool",
            "NumericLessThan",
            "s3:prefix",
            "aws:PrincipalArn",
            "aws:SecureTransport",
            "kms:ViaService",
            "s3:TlsVersion",
        ],
        "kmsKeyArn" => vec!["arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"],
        "interval" | "overlap" => vec!["1h", "90d", "1d12h", "99999d99999h99999m99999s", "0s", "1s"],
        "date" => vec!["2027-01-01", "9999-12-31", "0000-01-01", "2026-02-30T00:00:00Z"],
        "storageClass" => vec!["GLACIER", "STANDARD_IA", "NO_SUCH_CLASS"],
        "permissionsBoundary" => vec!["arn:aws:iam::123456789012:policy/boundary", "arn:aws:iam::aws:policy/AdministratorAccess"],
        "roleArn" => vec!["arn:aws:iam::079623148045:role/copy"],
        "path" => vec!["/", "/bucketconnection/", "/a/../"],
        "prefix" | "targetPrefix" => vec!["runs/", "a/b/", "p"],
        "url" => vec!["https://clc.example.org:8443/path", "https://localhost"],
        "allowedOrigins" => vec!["https://lab.example", "*", "https://*.lab.example"],
        "resyncInterval" => vec!["600s", "10m", "2562047h", "1ns"],
        "management key" => vec!["default", "user", "policy", "credentials", "lifecycle", "tags", "cors", "nonsense"],
        "allowWeaker" => vec!["encryption", "policyStatements", "publicAccessBlock", "ownership", "cors"],
        "tags key" => vec!["team", "Team", "aws:x", "bucketconnection.dev/owner"],
        "id" => vec!["tidy", "theirs"],
        "sid" => vec!["Mine", "Theirs", "BucketConnectionReserved", "BucketConnectionTLSOnly"],
        "groups" => vec!["lab-a", "lab-b", "system:serviceaccounts:clc"],
        _ => vec!["lab-bucket", "name", "a", "other-name"],
    }
}
