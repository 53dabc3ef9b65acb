//! The state at the end of a run, in AWS and in Kubernetes, without what differs between runs: times, ids, names.

use std::fmt::Debug;

use aws_sdk_iam::types::PolicyScopeType;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::{Api, ResourceExt};
use serde_json::{Map, Value, json};

use super::harness::FaultHarness;

/// Fields of the status that differ between runs: only their presence is compared.
const VARYING: [&str; 20] = [
    "lastTransitionTime",
    "lastCheckedAt",
    "lastDetectedAt",
    "detectedAt",
    "revertedAt",
    "createdAt",
    "readAt",
    "created",
    "verifiedAt",
    "lastWrittenAt",
    "lastHandledReconcileAt",
    "replacedAt",
    "worksUntil",
    "lastUsed",
    "sessionsBefore",
    "endsAt",
    "seal",
    "namespaceId",
    "id",
    "version",
];

/// The whole state, as one value that is equal for runs that ended alike.
pub async fn state(harness: &FaultHarness) -> Value {
    let mut whole =
        json!({ "bucket": bucket(harness).await, "iam": iam(harness).await, "kubernetes": kubernetes(harness).await });
    let status = &mut whole["kubernetes"]["status"];
    without_varying(status);
    // What a killed process had reverted, but could not report.
    if let Some(status) = status.as_object_mut() {
        status.remove("drift");
        // Fingerprints of what was written, which depend on the names of this run.
        status.remove("written");
        // An interrupted attempt to issue a key stays recorded for some minutes.
        if let Some(credentials) = status.get_mut("credentials").and_then(Value::as_object_mut) {
            credentials.remove("intent");
        }
        status.remove("ineffectiveWrites");
        // Reported only after another key was once in progress.
        if let Some(conditions) = status.get_mut("conditions").and_then(Value::as_array_mut) {
            conditions.retain(|condition| condition["type"] != "RotationComplete" || condition["reason"] != "InSync");
        }
    }
    let mut text = whole.to_string();
    for name in ["c-s3", "c-s3-v2", "renamed"] {
        if let Some(secret) = harness.base.secrets().get_opt(name).await.unwrap() {
            let data = secret.data.unwrap_or_default();
            if let Some(id) = data.get("AWS_ACCESS_KEY_ID") {
                text = text.replace(&String::from_utf8_lossy(&id.0).into_owned(), "KEY");
            }
        }
    }
    if !harness.foreign.is_empty() {
        text = text.replace(&harness.foreign, "FOREIGN");
    }
    text = text.replace(&harness.base.namespace, "NAMESPACE").replace(&harness.token, "TOKEN");
    serde_json::from_str(&without_key_ids(&text)).unwrap()
}

/// Ids of keys that are neither managed anymore nor foreign, as the journal has them.
fn without_key_ids(text: &str) -> String {
    const LENGTH: usize = 20;
    let mut parts = text.split("AKIA");
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        whole += "ANOTHER";
        whole += &part[LENGTH - "AKIA".len()..];
    }
    whole
}

fn without_times(message: &str) -> String {
    let word = |word: &str| match word.trim_end_matches([',', ';']).parse::<jiff::Timestamp>() {
        Ok(_) => "TIME".to_owned(),
        Err(_) => word.to_owned(),
    };
    message.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

fn without_varying(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                if VARYING.contains(&name.as_str()) {
                    *value = json!("varies");
                } else if name == "message" {
                    *value = json!(without_times(value.as_str().unwrap_or_default()));
                }
                without_varying(value);
            }
        }
        Value::Array(values) => values.iter_mut().for_each(without_varying),
        _ => {}
    }
}

/// A part of an answer, or a note that there is none.
fn shown<T, E>(answer: Result<T, E>, part: impl Fn(T) -> String) -> Value {
    json!(answer.map_or_else(|_| "none".to_owned(), part))
}

fn debug<T: Debug>(value: T) -> String {
    format!("{value:?}")
}

async fn bucket(harness: &FaultHarness) -> Value {
    let (s3, bucket) = (harness.base.s3(), harness.bucket());
    if s3.head_bucket().bucket(&bucket).send().await.is_err() {
        return json!("none");
    }
    let mut tags = s3.get_bucket_tagging().bucket(&bucket).send().await.map(|answer| answer.tag_set).unwrap_or_default();
    // The cluster and the object are identified by their uids.
    tags.retain(|tag| !tag.value.contains('-') || !tag.key.starts_with("bucketconnection.dev/"));
    tags.sort_by(|a, b| a.key.cmp(&b.key));
    json!({
        "tags": debug(tags),
        "cors": shown(s3.get_bucket_cors().bucket(&bucket).send().await, |a| debug(a.cors_rules)),
        "encryption":
            shown(s3.get_bucket_encryption().bucket(&bucket).send().await, |a| debug(a.server_side_encryption_configuration)),
        "publicAccessBlock":
            shown(s3.get_public_access_block().bucket(&bucket).send().await, |a| debug(a.public_access_block_configuration)),
        "ownership": shown(s3.get_bucket_ownership_controls().bucket(&bucket).send().await, |a| debug(a.ownership_controls)),
        "versioning": shown(s3.get_bucket_versioning().bucket(&bucket).send().await, |a| debug((a.status, a.mfa_delete))),
        "lifecycle":
            shown(s3.get_bucket_lifecycle_configuration().bucket(&bucket).send().await, |a| debug(a.rules)),
        "policy": shown(s3.get_bucket_policy().bucket(&bucket).send().await, |a| debug(a.policy)),
    })
}

async fn iam(harness: &FaultHarness) -> Value {
    let (iam, user) = (harness.base.iam(), harness.user());
    let mut users = Map::new();
    let listed = iam.list_users().max_items(1000).send().await.unwrap();
    for name in listed.users.iter().map(|user| &user.user_name).filter(|name| name.contains(&harness.token)) {
        let mut inline = Map::new();
        for policy in iam.list_user_policies().user_name(name).send().await.unwrap().policy_names {
            let found = iam.get_user_policy().user_name(name).policy_name(&policy).send().await.unwrap();
            // It contains the time of the denial.
            let document = found.policy_document.split("TokenIssueTime").next().unwrap_or_default();
            inline.insert(policy, json!(document));
        }
        let attached = iam.list_attached_user_policies().user_name(name).send().await.unwrap().attached_policies;
        let mut keys = iam.list_access_keys().user_name(name).send().await.unwrap().access_key_metadata;
        keys.sort_by_key(|key| key.access_key_id.clone() == Some(harness.foreign.clone()));
        let keys: Vec<_> = keys.into_iter().map(|key| debug((key.access_key_id, key.status))).collect();
        let tags = iam.list_user_tags().user_name(name).send().await.unwrap().tags.len();
        users.insert(name.clone(), json!({ "inline": inline, "attached": debug(attached), "keys": keys, "tags": tags }));
    }
    let mut policies = Map::new();
    let listed = iam.list_policies().scope(PolicyScopeType::Local).max_items(1000).send().await.unwrap();
    for policy in listed.policies.unwrap_or_default() {
        let (arn, version) = (policy.arn.unwrap_or_default(), policy.default_version_id.unwrap_or_default());
        if !arn.contains(&harness.token) && !arn.contains(&user) {
            continue;
        }
        let found = iam.get_policy_version().policy_arn(&arn).version_id(version).send().await.unwrap().policy_version;
        policies.insert(arn, json!(found.and_then(|version| version.document)));
    }
    json!({ "users": users, "policies": policies })
}

async fn kubernetes(harness: &FaultHarness) -> Value {
    let base = &harness.base;
    let mut secrets = Map::new();
    for secret in base.secrets().list(&Default::default()).await.unwrap() {
        let mut data: Map<_, _> = Map::new();
        for (name, value) in secret.data.clone().unwrap_or_default() {
            let text = String::from_utf8_lossy(&value.0).into_owned();
            // The secret part is different each time.
            let hidden = name.contains("SECRET") || text.contains("secret_access_key") || text.contains("aws_secret");
            data.insert(name, if hidden { json!("hidden") } else { json!(text) });
        }
        let owners: Vec<_> = secret.owner_references().iter().map(|owner| format!("{} {}", owner.kind, owner.name)).collect();
        let annotations: Vec<_> = secret.annotations().keys().collect();
        let found = json!({ "data": data, "labels": secret.labels(), "annotations": annotations, "owners": owners, "type": secret.type_ });
        secrets.insert(secret.name_any(), found);
    }
    let mut grants = Map::new();
    for role in Api::<Role>::namespaced(base.client.clone(), &base.namespace).list(&Default::default()).await.unwrap() {
        grants.insert(format!("Role {}", role.name_any()), json!(role.rules));
    }
    for binding in Api::<RoleBinding>::namespaced(base.client.clone(), &base.namespace).list(&Default::default()).await.unwrap() {
        grants.insert(format!("RoleBinding {}", binding.name_any()), json!([binding.role_ref, binding.subjects]));
    }
    let object = base.objects().get_opt("c").await.unwrap();
    let generation = object.as_ref().and_then(|object| object.metadata.generation);
    let (status, finalizers) = object.map(|object| (json!(object.status), object.metadata.finalizers)).unwrap_or_default();
    // A second approval is another generation.
    let (now, current) =
        (format!("\"observedGeneration\":{}", generation.unwrap_or_default()), "\"observedGeneration\":\"current\"");
    let status: Value = serde_json::from_str(&status.to_string().replace(&now, current)).unwrap();
    json!({ "secrets": secrets, "grants": grants, "status": status, "finalizers": finalizers })
}

/// The differences between two states, one per line.
pub fn differences(expected: &Value, found: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    compare("", expected, found, &mut lines);
    lines
}

fn compare(path: &str, expected: &Value, found: &Value, lines: &mut Vec<String>) {
    match (expected, found) {
        (Value::Object(a), Value::Object(b)) => {
            let names: std::collections::BTreeSet<_> = a.keys().chain(b.keys()).collect();
            for name in names {
                let (a, b) = (a.get(name).unwrap_or(&Value::Null), b.get(name).unwrap_or(&Value::Null));
                compare(&format!("{path}/{name}"), a, b, lines);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                compare(&format!("{path}/{index}"), a, b, lines);
            }
        }
        (a, b) if a != b => lines.push(format!("{path}: {a} undisturbed, now {b}")),
        _ => {}
    }
}
