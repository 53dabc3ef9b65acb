//! Alerts and dashboard, read by the real Prometheus that scrapes an operator.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::chart::template;
use crate::support::harness::{Harness, LIMIT};
use crate::support::stack::{ROOT, Stack, get, scratch};
use crate::support::tools::{Running, tool};

const FILES: [&str; 3] = ["deploy/chart/files/alerts.yaml", "deploy/chart/files/dashboard.json", "docs/metrics.md"];

fn read(file: &str) -> String {
    std::fs::read_to_string(format!("{ROOT}/{file}")).unwrap()
}

fn alerts() -> Value {
    serde_saphyr::from_str(&read(FILES[0])).unwrap()
}

fn rules(alerts: &Value) -> &[Value] {
    alerts["groups"][0]["rules"].as_array().unwrap()
}

/// Labels that the Prometheus operator gives each target of a ServiceMonitor, which are also labels of metrics.
const TARGET: [(&str, &str); 2] = [("namespace", "bucketconnection-system"), ("service", "bucketconnection")];

/// Whether the chart's ServiceMonitor keeps the labels of the metrics.
fn honor_labels() -> Value {
    let text = template(&["--show-only", "templates/monitoring.yaml", "--set", "serviceMonitor.enabled=true"]);
    let monitor: Value = serde_saphyr::from_str(&text).unwrap();
    monitor["spec"]["endpoints"][0]["honorLabels"].clone()
}

/// A real Prometheus with the alerts of the chart; it ends with the test.
struct Prometheus {
    _process: Running,
    address: String,
}

impl Prometheus {
    /// Scrapes `target` each second. The alerts fire as soon as their expressions hold.
    fn start(place: &Path, target: &str) -> Self {
        let mut rules = alerts();
        for rule in rules["groups"][0]["rules"].as_array_mut().unwrap() {
            rule.as_object_mut().unwrap().remove("for");
        }
        std::fs::write(place.join("alerts.yaml"), rules.to_string()).unwrap();
        let config = json!({
            "global": { "scrape_interval": "1s", "evaluation_interval": "1s" },
            "rule_files": [place.join("alerts.yaml")],
            "scrape_configs": [{
                "job_name": "bucketconnection",
                "honor_labels": honor_labels(),
                "static_configs": [{ "targets": [target], "labels": TARGET.into_iter().collect::<BTreeMap<_, _>>() }],
            }],
        });
        std::fs::write(place.join("prometheus.yaml"), config.to_string()).unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let child = Command::new(tool("prometheus"))
            .arg(format!("--config.file={}", place.join("prometheus.yaml").display()))
            .arg(format!("--storage.tsdb.path={}", place.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(place.join("prometheus.log")).unwrap())
            .spawn()
            .unwrap();
        Self { _process: Running(child), address }
    }

    fn is_up(&self) -> bool {
        std::net::TcpStream::connect(&self.address).is_ok() && get(&self.address, "/-/ready").starts_with("HTTP/1.0 200")
    }

    /// The data of an answer of its API.
    fn get(&self, path: &str) -> Value {
        let answer = get(&self.address, path);
        let body: Value =
            serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap_or_else(|_| panic!("{path}: {answer}"));
        assert_eq!(body["status"], "success", "{path}: {body}");
        body["data"].clone()
    }

    /// The samples that a query gives.
    fn query(&self, query: &str) -> Vec<Value> {
        let encoded = utf8_percent_encode(query, NON_ALPHANUMERIC);
        self.get(&format!("/api/v1/query?query={encoded}"))["result"].as_array().unwrap().clone()
    }

    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let end = Instant::now() + LIMIT;
        while !self.is_up() || !holds(self) {
            assert!(Instant::now() < end, "no {what}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Names of metrics in a text.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let ours = words.filter(|word| ["bucketconnection_", "process_"].iter().any(|prefix| word.starts_with(prefix)));
    ours.map(str::to_owned).collect()
}

#[test]
fn every_alert_is_tested_and_has_a_runbook() {
    let place = scratch("alerts");
    for (from, to) in [(FILES[0], "alerts.yaml"), ("tests/install/alerts.test.yaml", "alerts.test.yaml")] {
        std::fs::copy(format!("{ROOT}/{from}"), place.join(to)).unwrap();
    }
    for arguments in [["check", "rules", "alerts.yaml"], ["test", "rules", "alerts.test.yaml"]] {
        let output = Command::new(tool("promtool")).args(arguments).current_dir(&place).env_clear().output().unwrap();
        let text = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
        assert!(output.status.success(), "{text}");
    }
    let tests: Value = serde_saphyr::from_str(&read("tests/install/alerts.test.yaml")).unwrap();
    let cases = tests["tests"].as_array().unwrap().iter().flat_map(|test| test["alert_rule_test"].as_array().unwrap());
    let fired: BTreeSet<_> =
        cases.filter(|case| case["exp_alerts"] != json!([])).map(|case| case["alertname"].as_str().unwrap()).collect();
    let runbooks = read("docs/runbooks.md");
    for rule in rules(&alerts()) {
        let name = rule["alert"].as_str().unwrap();
        assert!(fired.contains(name), "no test fires {name}");
        assert!(runbooks.contains(&format!("\n## {name}\n")), "docs/runbooks.md has no section {name}");
        assert_eq!(rule["annotations"]["runbook"], format!("docs/runbooks.md#{}", name.to_lowercase()));
    }
}

/// One operator with a connection that works, one that does not, drift and a rotation: everything that can be counted
/// is counted, an alert fires, and each panel of the dashboard shows something.
#[tokio::test]
async fn prometheus_understands_what_the_operator_serves() {
    let mut harness = Harness::idle("monitoring", Stack::cluster(), &[]).await;
    harness.start();
    harness
        .apply(&harness.connection("bucket-monitoring", json!({ "credentials": { "rotation": { "interval": "30d" } } })))
        .await;
    let mut wrong = harness.connection("bucket-monitoring-wrong", json!({ "accountRef": { "name": "nobodys" } }));
    wrong["metadata"]["name"] = json!("wrong");
    harness.apply(&wrong).await;
    harness.ready("c").await;
    harness.condition("wrong", "Ready", "False").await;
    let address = harness.operator().address().await;
    let prometheus = Prometheus::start(&harness.directory, &address);
    prometheus.until("first scrape", |prometheus| !prometheus.query("bucketconnection_build_info").is_empty()).await;

    // Traffic between two scrapes.
    harness.s3().delete_public_access_block().bucket("bucket-monitoring").send().await.unwrap();
    harness.check("c").await;
    let rotate = "rotate.bucketconnection.dev/requestedAt";
    harness.patch("c", json!({ "metadata": { "annotations": { rotate: "now" } } })).await;
    harness
        .until("c", "rotation", |object| {
            let credentials = object.status.as_ref().and_then(|status| status.memory.credentials.as_ref());
            credentials.is_some_and(|credentials| credentials.previous.is_some())
        })
        .await;
    let counted = |prometheus: &Prometheus, series: &str| prometheus.query(&format!("{series} > 0")).len() == 1;
    prometheus.until("drift", |prometheus| counted(prometheus, r#"bucketconnection_drift_total{result="reverted"}"#)).await;
    let rotated = r#"bucketconnection_access_keys_issued_total{reason="rotation"}"#;
    prometheus.until("rotation", |prometheus| counted(prometheus, rotated)).await;

    fires(&prometheus, &harness.namespace).await;
    let served = served(&harness).await;
    let documented = names(&read("docs/metrics.md"));
    let base = |name: &String| {
        ["_bucket", "_sum", "_count", "_created"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name).to_owned()
    };
    let missing: Vec<_> = served.iter().map(base).filter(|name| !documented.contains(name)).collect();
    assert!(missing.is_empty(), "docs/metrics.md does not describe {missing:?}");
    shows(&prometheus).await;
}

/// The alert about the connection that is not Ready fires, and about that one only.
async fn fires(prometheus: &Prometheus, namespace: &str) {
    let firing = |prometheus: &Prometheus| {
        let alerts = prometheus.get("/api/v1/alerts")["alerts"].as_array().unwrap().clone();
        alerts.into_iter().filter(|alert| alert["state"] == "firing").collect::<Vec<_>>()
    };
    let is = |alert: &Value, name: &str| alert["labels"]["alertname"] == name;
    prometheus.until("alert", |prometheus| firing(prometheus).iter().any(|alert| is(alert, "BucketConnectionNotReady"))).await;
    let all = firing(prometheus);
    let not_ready: Vec<_> = all.iter().filter(|alert| is(alert, "BucketConnectionNotReady")).collect();
    assert_eq!(not_ready.len(), 1, "{all:?}");
    assert_eq!(not_ready[0]["annotations"]["summary"], format!("Connection {namespace}/wrong is not Ready"));
    for quiet in [
        "BucketConnectionNoOperator",
        "BucketConnectionReconcilesStuck",
        "BucketConnectionKeyCompromised",
        "BucketConnectionWatchFailing",
    ] {
        assert!(!all.iter().any(|alert| is(alert, quiet)), "{quiet}: {all:?}");
    }
}

/// The names of everything that the operator serves, when it serves all that the files name: the operator sees its own
/// status, such as a previous key, a moment later.
async fn served(harness: &Harness) -> BTreeSet<String> {
    let end = Instant::now() + LIMIT;
    loop {
        let served = serves(&harness.operator().get("/metrics").await);
        let named = FILES.iter().flat_map(|file| names(&read(file)).into_iter().map(move |name| (file, name)));
        let missing: Vec<_> =
            named.filter(|(_, name)| !served.contains(name) && !served.contains(&format!("{name}_bucket"))).collect();
        if missing.is_empty() {
            return served;
        }
        assert!(Instant::now() < end, "metrics that the operator does not serve: {missing:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The names in an answer.
fn serves(text: &str) -> BTreeSet<String> {
    names(
        &text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split(['{', ' ']).next().unwrap())
            .collect::<Vec<_>>()
            .join("\n"),
    )
}

/// Every query of the dashboard is valid, and shows something, except for those about failures that did not happen.
async fn shows(prometheus: &Prometheus) {
    const EMPTY: [&str; 2] = ["Requests that fail", "Unreadable"];
    let dashboard: Value = serde_json::from_str(&read(FILES[1])).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut queries = 0;
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().unwrap().replace("$job", ".*").replace("$__rate_interval", "1m");
            queries += 1;
            if EMPTY.contains(&title) {
                prometheus.query(&query);
                continue;
            }
            prometheus.until(&format!("{title}: {query}"), |prometheus| !prometheus.query(&query).is_empty()).await;
        }
    }
    assert!(queries > 30, "{queries} queries");
}
