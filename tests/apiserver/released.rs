//! What each released version left behind: its objects are accepted by the present CRDs, and `make baseline` records
//! those of this version. tests/plan/released.rs brings them forward.

use std::fs;
use std::path::Path;

use bucketconnection::api::{AWSAccount, BucketConnection, ROTATE_AT};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Api, CustomResourceExt, Resource};
use serde::Serialize;
use serde_json::{Value, json};

use crate::support::harness::Harness;
use crate::support::stack::{ROOT, Stack};

const BUCKET: &str = "released-genomics";

/// Compares what a server keeps of a part with what the release had.
async fn accepted<K: Resource<DynamicType = ()> + CustomResourceExt>(
    harness: &Harness,
    namespace: Option<&str>,
    recorded: &Value,
) {
    let resource = ApiResource::erase::<K>(&());
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(harness.client.clone(), namespace, &resource),
        None => Api::all_with(harness.client.clone(), &resource),
    };
    let name = recorded["metadata"]["name"].as_str().unwrap();
    let parameters = PatchParams::apply("released").force().validation_strict();
    let mut object = recorded.clone();
    let metadata = object["metadata"].as_object_mut().unwrap();
    metadata.retain(|key, _| ["name", "namespace"].contains(&key.as_str()));
    let status = object.as_object_mut().unwrap().remove("status").unwrap();
    api.patch(name, &parameters, &Patch::Apply(&object)).await.unwrap();
    object["status"] = status;
    let kept = api.patch_status(name, &parameters, &Patch::Apply(&object)).await.unwrap();
    assert_eq!(kept.data["spec"], recorded["spec"], "{name}");
    assert_eq!(kept.data["status"], recorded["status"], "{name}");
}

#[tokio::test]
async fn the_crds_keep_every_field_of_released_objects() {
    let harness = Harness::idle("released", Stack::cluster(), &[]).await;
    for release in fs::read_dir(format!("{ROOT}/tests/released")).unwrap().map(|entry| entry.unwrap().path()) {
        let recorded = |file: &str| -> Value {
            let file = release.join(file);
            serde_saphyr::from_str(&fs::read_to_string(&file).unwrap()).unwrap()
        };
        let connection = recorded("connection.yaml");
        let namespace = connection["metadata"]["namespace"].as_str().unwrap();
        let object: Namespace = serde_json::from_value(json!({ "metadata": { "name": namespace } })).unwrap();
        Api::all(harness.client.clone()).create(&PostParams::default(), &object).await.unwrap();
        accepted::<AWSAccount>(&harness, None, &recorded("account.yaml")).await;
        accepted::<BucketConnection>(&harness, Some(namespace), &connection).await;
    }
}

fn write(place: &Path, object: &impl Serialize) {
    let mut object = serde_json::to_value(object).unwrap();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|name, _| !["managedFields", "resourceVersion"].contains(&name.as_str()));
    }
    fs::write(place, serde_saphyr::to_string(&object).unwrap()).unwrap();
}

/// What AWS has of the connection, in AWS's own words.
async fn in_aws(harness: &Harness, user: &str) -> Value {
    let (s3, iam) = (harness.s3(), harness.iam());
    let tags = s3.get_bucket_tagging().bucket(BUCKET).send().await.unwrap();
    let tags: Vec<_> = tags.tag_set().iter().map(|tag| (tag.key(), tag.value())).collect();
    let cors = s3.get_bucket_cors().bucket(BUCKET).send().await.unwrap();
    let rule = |rule: &aws_sdk_s3::types::CorsRule| {
        json!({ "allowedHeaders": rule.allowed_headers(), "allowedMethods": rule.allowed_methods(),
            "allowedOrigins": rule.allowed_origins(), "exposeHeaders": rule.expose_headers() })
    };
    let versioning = s3.get_bucket_versioning().bucket(BUCKET).send().await.unwrap();
    let found = iam.get_user().user_name(user).send().await.unwrap();
    let found = found.user().unwrap();
    let user_tags = found.tags().iter().map(|tag| (tag.key().to_owned(), json!(tag.value())));
    let names = iam.list_user_policies().user_name(user).send().await.unwrap();
    let mut inline = serde_json::Map::new();
    for name in names.policy_names() {
        let policy = iam.get_user_policy().user_name(user).policy_name(name).send().await.unwrap();
        let document = percent_encoding::percent_decode_str(policy.policy_document()).decode_utf8().unwrap();
        inline.insert(name.clone(), serde_json::from_str(&document).unwrap());
    }
    let keys = iam.list_access_keys().user_name(user).send().await.unwrap();
    let key = |key: &aws_sdk_iam::types::AccessKeyMetadata| {
        json!({ "id": key.access_key_id(), "active": key.status().unwrap().as_str() == "Active",
            "createdAt": key.create_date().unwrap().to_string() })
    };
    json!({
        "bucket": {
            "tags": tags.into_iter().map(|(key, value)| (key.to_owned(), json!(value))).collect::<serde_json::Map<_, _>>(),
            "cors": cors.cors_rules().iter().map(rule).collect::<Vec<_>>(),
            "versioning": versioning.status().map(|status| status.as_str().to_owned()),
        },
        "user": {
            "id": found.user_id(), "path": found.path(), "tags": user_tags.collect::<serde_json::Map<_, _>>(), "inline": inline,
            "keys": keys.access_key_metadata().iter().map(key).collect::<Vec<_>>(),
        },
    })
}

/// Records an ICA connection of this version in an overlap, with everything that the operator keeps of it.
#[tokio::test]
#[ignore = "make baseline runs this once for each version"]
async fn record_this_version() {
    let place = Path::new(ROOT).join("tests/released").join(env!("CARGO_PKG_VERSION"));
    fs::create_dir_all(place.join("crds")).unwrap();
    for file in fs::read_dir(format!("{ROOT}/crds")).unwrap().map(|entry| entry.unwrap()) {
        fs::copy(file.path(), place.join("crds").join(file.file_name())).unwrap();
    }
    let stack = Box::leak(Box::new(Stack::start("record", &["--no-aws"])));
    let mut harness = Harness::idle("lab", stack, &[]).await;
    harness.environment.insert("BUCKETCONNECTION_CLUSTER_ID".into(), "cluster".into());
    harness.whole_cluster = true;
    harness.start();
    let spec = json!({
        "preset": "IlluminaICA", "accountRef": { "name": "released" }, "bucket": { "tags": { "team": "a" }, "versioning": "Enabled" },
        "credentials": { "rotation": { "interval": "90d", "overlap": "36h" } },
    });
    let rule = json!({ "names": [harness.namespace], "buckets": ["released-*"], "regions": ["us-east-1"], "presets": ["IlluminaICA"],
        "tags": ["team"] });
    let account = json!({ "accountId": "123456789012", "allowedNamespaces": [rule] });
    harness.account("released", account).await;
    harness.apply(&harness.connection(BUCKET, spec)).await;
    harness.ready("c").await;
    harness.patch("c", json!({ "metadata": { "annotations": { ROTATE_AT: "once" } } })).await;
    let overlaps = |object: &BucketConnection| {
        let memory = object.status.as_ref().and_then(|status| status.memory.credentials.as_ref());
        memory.is_some_and(|credentials| credentials.previous.is_some())
    };
    harness.until("c", "overlap", overlaps).await;
    let object = harness.check("c").await;
    let account = harness.account_told("released", "SignedIn").await.0;
    write(&place.join("connection.yaml"), &object);
    write(&place.join("account.yaml"), &account);
    write(&place.join("secret.yaml"), &harness.secrets().get("c-s3").await.unwrap());
    let seals: Api<Secret> = Api::namespaced(harness.client.clone(), "bucketconnection-system");
    write(&place.join("seal.yaml"), &seals.get("bucketconnection-seal").await.unwrap());
    let user = object.status.unwrap().memory.user.unwrap().name;
    write(&place.join("aws.yaml"), &in_aws(&harness, &user).await);
}
