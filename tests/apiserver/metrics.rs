//! The metrics of a running operator, as Prometheus reads them.

use serde_json::json;

use crate::support::harness::{Harness, LIMIT, Operator};

/// The value of a metric of an object of this harness.
fn value(harness: &Harness, text: &str, metric: &str, name: &str) -> Option<i64> {
    let series = format!("{metric}{{namespace=\"{}\",name=\"{name}\"}} ", harness.namespace);
    text.lines().find_map(|line| line.strip_prefix(&series)).map(|value| value.parse().unwrap())
}

/// Scrapes until `holds`: the watch shows the operator its own status a moment later.
async fn scraped(harness: &Harness, holds: impl Fn(&str) -> bool) -> String {
    let end = std::time::Instant::now() + LIMIT;
    loop {
        let text = harness.operator().get("/metrics").await;
        if holds(&text) {
            return text;
        }
        assert!(std::time::Instant::now() < end, "{text}");
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    }
}

#[tokio::test]
async fn readiness_and_the_age_of_keys() {
    let harness = Harness::new("metrics").await;
    harness.apply(&harness.connection("bucket-metrics", json!({}))).await;
    let mut wrong = harness.connection("bucket-metrics-wrong", json!({ "accountRef": { "name": "nobodys" } }));
    wrong["metadata"]["name"] = json!("wrong");
    harness.apply(&wrong).await;
    let credentials = harness.ready("c").await.status.unwrap().memory.credentials.unwrap();
    harness.condition("wrong", "Ready", "False").await;

    let text = scraped(&harness, |text| {
        value(&harness, text, "bucketconnection_ready", "c") == Some(1)
            && value(&harness, text, "bucketconnection_ready", "wrong") == Some(0)
    })
    .await;
    let created = credentials.created_at.unwrap().0.as_second();
    let metric = "bucketconnection_access_key_created_timestamp_seconds";
    assert_eq!(value(&harness, &text, metric, "c"), Some(created));
    assert_eq!(value(&harness, &text, metric, "wrong"), None);
    assert!(text.contains(&format!("bucketconnection_build_info{{version=\"{}\"}} 1\n", env!("CARGO_PKG_VERSION"))), "{text}");
    assert!(text.starts_with("HTTP/1.0 200 OK") && text.contains("content-type: application/openmetrics-text"), "{text}");
    assert!(text.ends_with("# EOF\n") && text.contains(&format!("# TYPE {metric} gauge\n")), "{text}");
    assert!(!text.contains(&credentials.access_key_id.unwrap()), "a key id in {text}");

    // A deleted object is no longer reported.
    harness.delete("c").await;
    harness.gone("c").await;
    scraped(&harness, |text| !text.contains("name=\"c\"")).await;
}

#[tokio::test]
async fn a_waiting_operator_is_alive_too() {
    let mut harness = Harness::idle("alive", crate::support::stack::Stack::cluster(), &[]).await;
    harness.lease = true;
    let first = harness.spawn();
    first.logs("holds the lease").await;
    let second = harness.spawn();
    second.logs("another operator holds the lease").await;
    assert!(second.get("/healthz").await.starts_with("HTTP/1.0 200 OK"));
    let ready = second.get("/readyz").await;
    assert!(ready.starts_with("HTTP/1.0 200 OK") && ready.ends_with("ok: waits for the lease\n"), "{ready}");
    let text = second.get("/metrics").await;
    assert!(text.contains("bucketconnection_build_info{") && !text.contains("namespace="), "{text}");
    assert!(text.contains("bucketconnection_lease_held 0\n"), "{text}");
    assert!(first.get("/metrics").await.contains("bucketconnection_lease_held 1\n"));
    assert!(second.get("/secrets").await.starts_with("HTTP/1.0 404 "));
}

/// Waits until `GET /readyz` ends with this text.
async fn told_ready(operator: &Operator, status: &str, text: &str) {
    let end = std::time::Instant::now() + LIMIT;
    loop {
        let answer = operator.get("/readyz").await;
        if answer.starts_with(&format!("HTTP/1.0 {status} ")) && answer.contains(text) {
            return;
        }
        assert!(std::time::Instant::now() < end, "{answer}");
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    }
}

#[tokio::test]
async fn ready_means_that_it_reconciles_or_could_take_over() {
    let mut harness = Harness::idle("readyz", crate::support::stack::Stack::cluster(), &[]).await;
    let forwarder = harness.forward();
    forwarder.cut();
    let operator = harness.spawn();
    told_ready(&operator, "503", "get namespaces kube-system").await;
    assert!(operator.get("/healthz").await.starts_with("HTTP/1.0 200 OK"), "a restart would not help");
    forwarder.mend();
    told_ready(&operator, "200", "ok: reconciles").await;
}

#[tokio::test]
async fn series_of_single_connections_can_be_switched_off() {
    let mut harness = Harness::idle("metrics-few", crate::support::stack::Stack::cluster(), &[]).await;
    harness.environment.insert("BUCKETCONNECTION_PER_OBJECT_METRICS".into(), "false".into());
    harness.start();
    harness.apply(&harness.connection("bucket-metrics-few", json!({}))).await;
    harness.ready("c").await;
    let ready = "bucketconnection_connections{account=\"default\",condition=\"Ready\",status=\"True\",reason=\"Connected\"} 1\n";
    // The watch shows the status before the reconcile that wrote it ends.
    let ended = "bucketconnection_reconciles_total{kind=\"BucketConnection\",outcome=\"ready\"} ";
    let text = scraped(&harness, |text| text.contains(ready) && text.contains(ended)).await;
    assert!(!text.contains("name=\"c\""), "{text}");
    assert!(text.contains("bucketconnection_access_keys_issued_total{reason=\"first\"} 1\n"), "{text}");
    assert!(text.contains("bucketconnection_spec_to_ready_seconds_count 1\n"), "{text}");
    assert!(
        text.contains("bucketconnection_aws_calls_total{service=\"iam\",operation=\"CreateUser\",outcome=\"ok\"} 1\n"),
        "{text}"
    );
    assert!(text.contains("bucketconnection_api_requests_total{verb=\"watch\",resource=\"bucketconnections\",code=\"200\"} 1\n"));
}
