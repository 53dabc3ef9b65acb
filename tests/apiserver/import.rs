//! `bucketconnection import`: what one connection leaves behind becomes the spec of another, which changes nothing.

use serde_json::{Value, json};

use crate::support::harness::{Harness, drift_count, writes};
use crate::support::stack::ROOT;

/// The example has every setting.
#[tokio::test]
async fn every_setting_is_imported_and_adopted_without_an_approval() {
    const BUCKET: &str = "lab-import-records";
    let harness = Harness::new("import").await;
    let example = std::fs::read_to_string(format!("{ROOT}/examples/bucket-settings.yaml")).unwrap();
    let documents: Vec<Value> = serde_saphyr::from_multiple(&example.replace("lab-a-", "lab-import-")).unwrap();
    for mut document in documents {
        document["metadata"]["namespace"] = json!(harness.namespace);
        harness.apply(&document).await;
        harness.ready(document["metadata"]["name"].as_str().unwrap()).await;
    }
    harness.patch("records", json!({ "spec": { "deletionPolicy": "Release" } })).await;
    harness.delete("records").await;
    harness.gone("records").await;

    harness.proxy.take();
    let imported =
        harness.cli(&["import", "--bucket", BUCKET, "--prefix", "records/", "--name", "again", "-n", &harness.namespace]);
    let warnings = String::from_utf8(imported.stderr).unwrap();
    assert!(
        imported.status.success() && warnings.lines().count() == 1 && warnings.contains("ReadWrite is a guess"),
        "{warnings}"
    );
    assert_eq!(writes(&harness.proxy.take()), [""; 0], "it only reads");
    let file = harness.directory.join("again.yaml");
    std::fs::write(&file, &imported.stdout).unwrap();
    let applied = harness.kubectl(&["apply", "-f", file.to_str().unwrap()]);
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));

    let object = harness.ready("again").await;
    assert_eq!((object.status.as_ref().unwrap().adoption.is_none(), drift_count(&object)), (true, 0));
    let all = writes(&harness.proxy.take());
    let on_bucket: Vec<_> = all.iter().filter(|action| action.starts_with("s3:Put") && *action != "s3:PutObject").collect();
    assert_eq!(on_bucket, ["s3:PutBucketTagging"], "{all:?}");
    // The spec manages every setting that the example sets: nothing is only left alone.
    let spec = json!(object.spec);
    for field in [
        "publicAccessBlock",
        "ownership",
        "encryption",
        "versioning",
        "objectLock",
        "lifecycle",
        "intelligentTiering",
        "tls",
        "policyStatements",
        "logging",
        "tags",
    ] {
        assert!(!spec["bucket"][field].is_null(), "{field}: {spec}");
    }
    assert!(!spec["cors"].is_null() && object.spec.management.is_empty(), "{spec}");
}
