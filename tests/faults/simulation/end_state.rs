//! The state at the end of a run, without what differs between runs: ids, times, versions.

use std::collections::BTreeMap;

use bucketconnection::desired::names::KEYS_TAG;
use serde_json::{Value, json};

use super::invariants::{ACCOUNT, keys_of, works};
use crate::cluster::Store;
use crate::model::state::State;

/// Both servers.
pub fn end_state(store: &Store, state: &State) -> Value {
    json!({ "kubernetes": kubernetes(store, state), "aws": aws(state) })
}

fn kubernetes(store: &Store, state: &State) -> Value {
    let mut found = BTreeMap::new();
    for ((resource, namespace, name), object) in store.objects() {
        let shown = match resource.as_str() {
            "bucketconnections" => connection(object),
            "secrets" if name == "bucketconnection-seal" => continue,
            "secrets" => secret(object, state),
            "roles" => json!([metadata(object), object["rules"]]),
            "rolebindings" => json!([metadata(object), object["roleRef"], object["subjects"]]),
            "awsaccounts" => json!([object["metadata"]["finalizers"], conditions(object)]),
            _ => continue,
        };
        found.insert(format!("{resource} {namespace}/{name}"), shown);
    }
    json!(found)
}

fn metadata(object: &Value) -> Value {
    let metadata = &object["metadata"];
    let owners: Vec<_> = metadata["ownerReferences"].as_array().into_iter().flatten().map(|owner| &owner["name"]).collect();
    let mut annotations = metadata["annotations"].clone();
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.remove("bucketconnection.dev/key-created-at");
    }
    json!([metadata["labels"], annotations, owners])
}

fn conditions(object: &Value) -> Vec<Value> {
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    // A condition that is reported only after another key was once in progress.
    let conditions = conditions.filter(|c| c["type"] != "RotationComplete" || c["reason"] != "InSync");
    let mut shown: Vec<_> = conditions.map(|c| json!([c["type"], c["status"], c["reason"]])).collect();
    shown.sort_by_key(Value::to_string);
    shown
}

fn connection(object: &Value) -> Value {
    let status = &object["status"];
    let credentials = &status["credentials"];
    let mut spec = object["spec"].clone();
    if let Some(fields) = spec.as_object_mut() {
        fields.remove("approvedPlan");
    }
    // Its creation time differs between runs.
    let mut bucket = status["bucket"].clone();
    if let Some(bucket) = bucket.as_object_mut() {
        bucket.remove("created");
    }
    json!({
        "metadata": [object["metadata"]["finalizers"], object["metadata"]["deletionTimestamp"].is_null()],
        "spec": spec,
        "current": status["observedGeneration"] == object["metadata"]["generation"],
        "conditions": conditions(object),
        "bucket": bucket,
        "user": [status["user"]["arn"], status["user"]["tagKeys"]],
        "policy": [status["policy"]["type"], status["policy"]["name"], status["policy"]["arn"], status["earlierPolicies"]],
        "credentials": [
            credentials["secretName"], credentials["earlierSecrets"], credentials["accessKeyId"].is_null(),
            credentials["createdAt"].is_null(), credentials["phase"], credentials["intent"], credentials["obsoleteKeys"],
            credentials["version"], credentials["pending"], credentials["previous"].is_null(), credentials["revocation"].is_null(),
            credentials["previous"]["secretName"],
        ],
        "access": status["access"],
        "capabilities": status["capabilities"],
    })
}

fn secret(object: &Value, state: &State) -> Value {
    let keys = keys_of(object);
    let working = keys.iter().filter(|key| works(key, state)).count();
    let fields: Vec<_> = object["data"].as_object().into_iter().flatten().map(|(name, _)| name).collect();
    json!([metadata(object), fields, keys.len(), working])
}

fn aws(state: &State) -> Value {
    let account = state.accounts.get(ACCOUNT);
    let policies = account.map(|account| &account.now.policies);
    let policies: BTreeMap<_, _> = policies
        .into_iter()
        .flatten()
        .map(|(arn, policy)| (arn, json!([policy.document(&policy.default), policy.tags])))
        .collect();
    let users: BTreeMap<_, _> = state
        .users(ACCOUNT)
        .map(|user| {
            let keys: Vec<_> = state.keys_of(user).map(|key| json!([key.active(), key.created_by])).collect();
            // The denial of earlier sessions contains its time.
            let inline =
                user.inline.iter().map(|(name, document)| match json!(document).to_string().split_once("TokenIssueTime") {
                    Some((until, _)) => (name, json!(until)),
                    None => (name, json!(document)),
                });
            let mut tags = user.tags.clone();
            // Which keys it records, by whether they exist; not their ids, which are random.
            if let Some(record) = tags.get_mut(KEYS_TAG) {
                for key in state.keys_of(user) {
                    *record = record.replace(&key.id, if key.active() { "(active)" } else { "(inactive)" });
                }
                let what = |entry: &str| {
                    let known = |part: &&str| part.bytes().any(|byte| !byte.is_ascii_hexdigit());
                    entry.split(':').filter(known).collect::<Vec<_>>().join(":")
                };
                *record = record.split('/').map(what).collect::<Vec<_>>().join("/");
            }
            (&user.arn, json!([tags, user.boundary, inline.collect::<BTreeMap<_, _>>(), user.attached, keys]))
        })
        .collect();
    let shown = |bucket: &crate::model::state::Bucket| {
        let objects: Vec<_> = bucket.objects.keys().collect();
        json!({ "of": [bucket.account, bucket.region], "settings": bucket.settings, "objects": objects })
    };
    let buckets: BTreeMap<_, _> = state.buckets.iter().map(|(name, bucket)| (name, shown(bucket))).collect();
    json!({ "policies": policies, "users": users, "buckets": buckets })
}

/// The differences between two end states, by path; empty if there are none.
pub fn differences(expected: &Value, found: &Value) -> Vec<String> {
    fn walk(expected: &Value, found: &Value, path: &str, wrong: &mut Vec<String>) {
        match (expected, found) {
            (Value::Object(a), Value::Object(b)) => {
                let names: std::collections::BTreeSet<_> = a.keys().chain(b.keys()).collect();
                for name in names {
                    let null = Value::Null;
                    walk(a.get(name).unwrap_or(&null), b.get(name).unwrap_or(&null), &format!("{path}/{name}"), wrong);
                }
            }
            (a, b) if a != b => wrong.push(format!("{path}: {a} expected, {b} found")),
            _ => {}
        }
    }
    let mut wrong = Vec::new();
    walk(expected, found, "", &mut wrong);
    wrong
}
