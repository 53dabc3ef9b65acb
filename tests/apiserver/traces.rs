//! Traces, as a collector receives them.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::json;

use crate::support::harness::{Harness, LIMIT};
use crate::support::stack::Stack;

/// An OTLP collector: accepts spans by HTTP and keeps them.
struct Collector {
    url: String,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let spans = Arc::<Mutex<Vec<Span>>>::default();
        let kept = spans.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let kept = kept.clone();
                std::thread::spawn(move || while receive(&stream, &kept).is_some() {});
            }
        });
        Self { url, spans }
    }

    /// Waits for the spans of a finished creation: a reconcile with the call that creates the user in it.
    async fn creation(&self) -> (Span, Vec<Span>) {
        let end = Instant::now() + LIMIT;
        loop {
            let spans = self.spans.lock().unwrap().clone();
            let within = |parent: &Span| spans.iter().filter(|span| span.parent_span_id == parent.span_id).cloned().collect();
            let reconciles = spans.iter().filter(|span| span.name == "reconcile");
            let mut with_calls = reconciles.map(|reconcile| (reconcile.clone(), within(reconcile)));
            if let Some(found) =
                with_calls.find(|(_, calls): &(Span, Vec<Span>)| calls.iter().any(|call| call.name == "iam:CreateUser"))
            {
                return found;
            }
            assert!(Instant::now() < end, "{spans:?}");
            tokio::time::sleep(std::time::Duration::from_millis(30)).await;
        }
    }
}

/// Reads one request from the connection, and keeps its spans.
fn receive(mut stream: &TcpStream, kept: &Mutex<Vec<Span>>) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    assert!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
    let length = head.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    let request = ExportTraceServiceRequest::decode(body.as_slice()).unwrap();
    let service = &request.resource_spans[0].resource.as_ref().unwrap().attributes;
    assert!(service.iter().any(|attribute| format!("{attribute:?}").contains("\"bucketconnection\"")), "{service:?}");
    let spans = request.resource_spans.into_iter().flat_map(|spans| spans.scope_spans).flat_map(|spans| spans.spans);
    kept.lock().unwrap().extend(spans);
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()
}

#[tokio::test]
async fn a_reconcile_is_a_span_with_its_aws_calls() {
    let collector = Collector::start();
    let mut harness = Harness::idle("traces", Stack::cluster(), &[]).await;
    harness.environment.insert("OTEL_EXPORTER_OTLP_ENDPOINT".into(), collector.url.clone());
    harness.environment.insert("OTEL_BSP_SCHEDULE_DELAY".into(), "100".into());
    harness.start();
    harness.apply(&harness.connection("bucket-traces", json!({}))).await;
    harness.ready("c").await;

    let (reconcile, calls) = collector.creation().await;
    let text = format!("{reconcile:?}");
    assert!(text.contains(&harness.namespace) && text.contains("\"connection\""), "{text}");
    assert!(calls.iter().all(|call| call.trace_id == reconcile.trace_id && call.events.is_empty()), "{calls:?}");
    assert!(calls.iter().any(|call| call.name == "s3:CreateBucket"), "{calls:?}");
    let all = format!("{:?}", collector.spans.lock().unwrap());
    let data = harness.secret("c-s3").await;
    assert!(!all.contains(&data["AWS_SECRET_ACCESS_KEY"]) && !all.contains(&data["AWS_ACCESS_KEY_ID"]), "{all}");
    // The spans of calls are not in the log.
    harness.operator().logs("reconcile ended").await;
    assert!(!harness.log().contains("\"otel.name\":\"iam:CreateUser\""));
}

#[tokio::test]
async fn a_wrong_collector_is_refused_and_a_missing_one_stops_nothing() {
    let mut harness = Harness::idle("traces-wrong", Stack::cluster(), &[]).await;
    for (name, value, told) in [
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "collector:4317",
            "OTEL_EXPORTER_OTLP_ENDPOINT=collector:4317 is not a URL; write it as http://",
        ),
        (
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "grpc",
            "OTEL_EXPORTER_OTLP_PROTOCOL=grpc: the operator sends traces by http/protobuf only",
        ),
    ] {
        harness.environment.insert("OTEL_EXPORTER_OTLP_ENDPOINT".into(), "http://127.0.0.1:9".into());
        harness.environment.insert(name.into(), value.into());
        let output = harness.cli(&["run"]);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && text.contains(told), "{text}");
        harness.environment.clear();
    }
    // Nothing listens on the port for discard.
    harness.environment.insert("OTEL_EXPORTER_OTLP_ENDPOINT".into(), "http://127.0.0.1:9".into());
    harness.start();
    harness.apply(&harness.connection("bucket-no-collector", json!({}))).await;
    harness.ready("c").await;
}
