//! The number of AWS calls of a reconcile that changes nothing, computed without any call: for every preset and every
//! example. The end-to-end tests see the same numbers at a proxy (tests/apiserver/create.rs).

use std::path::Path;

use bucketconnection::api::{BucketConnection, CredentialsStatus, PolicyStatus, UserStatus};
use bucketconnection::credentials::Sensitive;
use bucketconnection::observed::{Observed, OwnSecret, Questions, Remembered, Scope, Secret};
use serde_json::{Value, json};

use super::world::World;

/// A connection at rest: its key is verified, and there is no pending or previous key.
fn at_rest() -> (Remembered, Observed) {
    let user: UserStatus = serde_json::from_value(json!({ "name": "lab.genomics", "arn": "a", "id": "AIDA" })).unwrap();
    let credentials = CredentialsStatus { access_key_id: Some("AKIA1".into()), ..CredentialsStatus::default() };
    let remembered = Remembered { seen: true, verified: true, user: Some(user), credentials, ..Remembered::default() };
    let data = [("AWS_ACCESS_KEY_ID", "AKIA1"), ("AWS_SECRET_ACCESS_KEY", "secret")];
    let data = data.map(|(name, value)| (name.to_owned(), Sensitive::new(value.into()))).into();
    let secret = Secret::Ours(OwnSecret { data, claimed: true, ..OwnSecret::default() });
    (remembered, Observed { secret, ..Observed::default() })
}

/// The calls of a reconcile of `object`, with this recorded state and these Secrets.
fn calls(object: &BucketConnection, remembered: &Remembered, scope: Scope) -> usize {
    let desired = World::new().resolve(object).unwrap_or_else(|wrong| panic!("{wrong:?}"));
    let (_, seen) = at_rest();
    let policy = PolicyStatus { version: Some("v1".into()), ..desired.policy.identity() };
    let namespace = desired.namespace.id.clone();
    let remembered = Remembered { policies: vec![policy], namespace, ..remembered.clone() };
    Questions::of(&desired, &remembered, &seen, scope).calls(&desired)
}

fn connection(spec: Value) -> BucketConnection {
    let mut whole =
        json!({ "preset": "IlluminaICA", "region": "us-east-1", "bucket": { "name": "lab-data", "prefix": "runs/" } });
    for (field, value) in spec.as_object().unwrap() {
        whole[field] = value.clone();
    }
    serde_json::from_value(json!({
        "apiVersion": "bucketconnection.dev/v1alpha1", "kind": "BucketConnection",
        "metadata": { "name": "genomics", "namespace": "lab" }, "spec": whole,
    }))
    .unwrap()
}

#[test]
fn calls_of_every_preset() {
    let custom = json!({ "statements": [{ "actions": ["s3:GetObject"] }] });
    for (spec, expected) in [
        (json!({ "preset": "IlluminaICA" }), 8),
        (json!({ "preset": "CLCGenomics" }), 7),
        (json!({ "preset": "ReadOnly" }), 7),
        (json!({ "preset": "ReadWrite" }), 7),
        (json!({ "preset": "WriteOnly" }), 7),
        (json!({ "preset": "Custom", "policy": custom }), 7),
        (json!({ "preset": "ReadOnly", "bucket": { "name": "lab-data", "versioning": "Enabled" } }), 8),
    ] {
        assert_eq!(calls(&connection(spec.clone()), &at_rest().0, Scope::Reconcile), expected, "{spec}");
    }
}

#[test]
fn calls_of_every_example() {
    let mut found = Vec::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "yaml")) {
        let documents = serde_saphyr::from_multiple::<Value>(&std::fs::read_to_string(file).unwrap()).unwrap();
        for document in documents.into_iter().filter(|document| document["kind"] == "BucketConnection") {
            let object: BucketConnection = serde_json::from_value(document).unwrap();
            let name = object.metadata.name.clone().unwrap();
            found.push((name, calls(&object, &at_rest().0, Scope::Reconcile)));
        }
    }
    let expected = EXAMPLES.map(|(name, calls)| (name.to_owned(), calls));
    assert_eq!(found, expected);
}

#[test]
fn deletion_and_lost_state_need_more_calls() {
    let (remembered, object) = (at_rest().0, connection(json!({})));
    let rest = calls(&object, &remembered, Scope::Reconcile);
    assert_eq!(calls(&object, &remembered, Scope::Deletion), rest + 1);
    assert_eq!(calls(&object, &Remembered { user: None, ..remembered }, Scope::Reconcile), rest + 1);
}

/// By the name of the connection, in the order of the files.
const EXAMPLES: [(&str, usize); 14] = [
    ("archive-2019", 7),
    ("logs", 8),
    ("records", 17),
    ("clc-existing-key", 4),
    ("clc", 7),
    ("archive", 7),
    ("analysis", 7),
    ("genomics-shared", 9),
    ("genomics", 8),
    ("look", 8),
    ("reports", 7),
    ("work", 7),
    ("rotation", 7),
    ("sequencer", 8),
];
