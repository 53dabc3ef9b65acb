//! A write that AWS accepts but changes: sent three times, then held back, while everything else continues.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_s3::types::{CorsConfiguration, CorsRule};
use serde_json::{Value, json};

use crate::support::harness::{Harness, LIMIT, s3, told, writes};
use crate::support::proxy::Fault;

const BUCKET: &str = "bucket-converge";
const PATH: &str = "cors.rules[0].allowedOrigins";

fn cors(origin: &str) -> Value {
    json!({ "rules": [{ "allowedMethods": ["GET"], "allowedOrigins": [origin] }] })
}

/// From now on AWS converts the origins in CORS rules to lower case, at the time of the write.
fn rewrites_origins(harness: &Harness) {
    let config = harness.aws("us-east-1");
    let hook = move || {
        let rule = CorsRule::builder().allowed_methods("GET").allowed_origins("https://portal.example.com").build().unwrap();
        let rules = CorsConfiguration::builder().cors_rules(rule).build().unwrap();
        let put = s3(&config).put_bucket_cors().bucket(BUCKET).cors_configuration(rules);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(put.send()).unwrap();
    };
    harness.proxy.fault("s3:PutBucketCORS", Fault::CallAfter(Arc::new(hook)), usize::MAX);
}

/// A reconcile that no one requested: the first one of an operator that was killed and started again.
async fn restarted(harness: &mut Harness) {
    let passes = |harness: &Harness| harness.log().matches("reconcile ended").count();
    harness.kill();
    let before = passes(harness);
    harness.start();
    let end = Instant::now() + LIMIT;
    while passes(harness) == before {
        assert!(Instant::now() < end, "no check");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_write_without_effect_is_held_back() {
    let mut harness = Harness::new("converge").await;
    rewrites_origins(&harness);
    let spec = json!({ "cors": cors("https://Portal.example.com"), "bucket": { "tags": { "team": "a" } } });
    harness.apply(&harness.connection(BUCKET, spec)).await;
    harness.ready("c").await;
    harness.proxy.take();

    // The same write, three times; writes within five seconds count as one.
    for count in 1..=3 {
        tokio::time::sleep(Duration::from_millis(5_100)).await;
        let object = harness.check("c").await;
        assert_eq!(writes(&harness.proxy.take()), ["s3:PutBucketCORS"]);
        let repeats = object.status.unwrap().ineffective_writes;
        assert_eq!((repeats.len(), repeats[0].path.as_str(), repeats[0].count), (1, PATH, count));
    }

    // Then it is held back, by an operator that knows it only from the status.
    restarted(&mut harness).await;
    let object = harness.condition("c", "Stalled", "True").await;
    assert_eq!(writes(&harness.proxy.take()), [""; 0]);
    for kind in ["Stalled", "Ready", "CORSInSync"] {
        let (_, reason, message) = told(&object, kind);
        assert_eq!(reason, "NotConverging");
        let named = format!("{PATH} is [\"https://portal.example.com\"], should be [\"https://Portal.example.com\"]");
        assert!(message.contains(&named), "{message}");
    }
    assert_eq!(told(&object, "BucketReady").0, "True");
    assert!(harness.events("c").await.iter().any(|(kind, reason, _)| kind == "Warning" && reason == "NotConverging"));

    // A further reconcile writes nothing anywhere; other drift is reverted.
    let api = harness.api_writes().len();
    restarted(&mut harness).await;
    assert_eq!(writes(&harness.proxy.take()), [""; 0]);
    assert_eq!(harness.api_writes()[api..], [""; 0]);
    harness.s3().delete_bucket_tagging().bucket(BUCKET).send().await.unwrap();
    restarted(&mut harness).await;
    assert_eq!(writes(&harness.proxy.take()), ["s3:PutBucketTagging"]);

    // A requested reconcile tries it once more.
    let object = harness.check("c").await;
    assert_eq!(writes(&harness.proxy.take()), ["s3:PutBucketCORS"]);
    assert_eq!(told(&object, "Stalled").1, "NotConverging");
    restarted(&mut harness).await;
    assert_eq!(writes(&harness.proxy.take()), [""; 0]);

    // A spec with the value that AWS stores is in sync.
    harness.patch("c", json!({ "spec": { "cors": cors("https://portal.example.com") } })).await;
    let object = harness.ready("c").await;
    assert_eq!(writes(&harness.proxy.take()).iter().filter(|action| *action == "s3:PutBucketCORS").count(), 0);
    assert_eq!((told(&object, "Stalled").0.as_str(), told(&object, "DriftDetected").0.as_str()), ("False", "False"));
    assert_eq!(object.status.unwrap().ineffective_writes, []);
}
