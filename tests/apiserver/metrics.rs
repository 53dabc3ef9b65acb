//! The metrics of a running operator, as Prometheus reads them.

use serde_json::json;

use crate::support::lab::{LIMIT, Lab};

/// The value of a metric of an object of this harness.
fn value(lab: &Lab, text: &str, metric: &str, name: &str) -> Option<i64> {
    let series = format!("{metric}{{namespace=\"{}\",name=\"{name}\"}} ", lab.namespace);
    text.lines().find_map(|line| line.strip_prefix(&series)).map(|value| value.parse().unwrap())
}

/// Scrapes until `holds`: the watch shows the operator its own status a moment later.
async fn scraped(lab: &Lab, holds: impl Fn(&str) -> bool) -> String {
    let end = std::time::Instant::now() + LIMIT;
    loop {
        let text = lab.operator().get("/metrics").await;
        if holds(&text) {
            return text;
        }
        assert!(std::time::Instant::now() < end, "{text}");
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    }
}

#[tokio::test]
async fn readiness_and_the_age_of_keys() {
    let lab = Lab::new("metrics").await;
    lab.apply(&lab.connection("bucket-metrics", json!({}))).await;
    let mut wrong = lab.connection("bucket-metrics-wrong", json!({ "accountRef": { "name": "nobodys" } }));
    wrong["metadata"]["name"] = json!("wrong");
    lab.apply(&wrong).await;
    let credentials = lab.ready("c").await.status.unwrap().memory.credentials.unwrap();
    lab.condition("wrong", "Ready", "False").await;

    let text = scraped(&lab, |text| {
        value(&lab, text, "bucketconnection_ready", "c") == Some(1)
            && value(&lab, text, "bucketconnection_ready", "wrong") == Some(0)
    })
    .await;
    let created = credentials.created_at.unwrap().0.as_second();
    let metric = "bucketconnection_access_key_created_timestamp_seconds";
    assert_eq!(value(&lab, &text, metric, "c"), Some(created));
    assert_eq!(value(&lab, &text, metric, "wrong"), None);
    assert!(text.contains(&format!("bucketconnection_build_info{{version=\"{}\"}} 1\n", env!("CARGO_PKG_VERSION"))), "{text}");
    assert!(text.starts_with("HTTP/1.0 200 OK") && text.contains("content-type: application/openmetrics-text"), "{text}");
    assert!(text.ends_with("# EOF\n") && text.contains(&format!("# TYPE {metric} gauge\n")), "{text}");
    assert!(!text.contains(&credentials.access_key_id.unwrap()), "a key id in {text}");

    // A deleted object is no longer reported.
    lab.delete("c").await;
    lab.gone("c").await;
    scraped(&lab, |text| !text.contains("name=\"c\"")).await;
}

#[tokio::test]
async fn one_that_waits_is_alive_too() {
    let mut lab = Lab::idle("alive", crate::support::stack::Stack::cluster(), &[]).await;
    lab.lease = true;
    let first = lab.spawn();
    first.logs("holds the lease").await;
    let second = lab.spawn();
    second.logs("another operator holds the lease").await;
    assert!(second.get("/healthz").await.starts_with("HTTP/1.0 200 OK"));
    let text = second.get("/metrics").await;
    assert!(text.contains("bucketconnection_build_info{") && !text.contains("namespace="), "{text}");
    assert!(second.get("/secrets").await.starts_with("HTTP/1.0 404 "));
}
