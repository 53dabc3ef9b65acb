//! The figures of docs/benchmarks.md: AWS calls, API-server writes, times and memory, on the local stack with a release build.
//!
//! No answer of AWS comes sooner than 50 ms after its request, so that times count round trips and not the emulator.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a program for developers, which uses some of the tests' support"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::fmt::Write;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::harness::{Harness, writes};
use support::stack::Stack;

const FLOOR: Duration = Duration::from_millis(50);

/// Whatever the objects settle to, each row is one line of the table.
struct Row(&'static str, String, &'static str);

#[tokio::main]
async fn main() {
    let mut rows = Vec::new();
    idle(&mut rows).await;
    one(&mut rows).await;
    many(&mut rows).await;
    let mut table = String::from("| what | measured | target or best peer |\n|---|---|---|\n");
    for Row(what, measured, target) in rows {
        let _ = writeln!(table, "| {what} | {measured} | {target} |");
    }
    println!("{table}");
    support::figures::write("docs/benchmarks.md", "figures: written by make bench", &table);
}

fn ica(harness: &Harness, name: &str) -> Value {
    let spec = json!({
        "preset": "IlluminaICA",
        "policy": { "type": "Managed", "scope": "Bucket" },
        "bucket": { "encryption": { "type": "SSE-S3" } },
    });
    let mut object = harness.connection(&format!("bench-{name}"), spec);
    object["metadata"]["name"] = json!(name);
    object
}

async fn operator() -> Harness {
    let mut harness = Harness::idle("bench", Stack::cluster(), &[]).await;
    harness.log = "info";
    harness.start();
    // Signed in and warm, as an operator that has been running for a while.
    harness.apply(&ica(&harness, "warm")).await;
    harness.ready("warm").await;
    harness.proxy.floor(FLOOR);
    harness
}

async fn idle(rows: &mut Vec<Row>) {
    let mut harness = Harness::idle("bench", Stack::cluster(), &[]).await;
    harness.log = "info";
    harness.start();
    tokio::time::sleep(Duration::from_secs(5)).await;
    rows.push(Row("memory (RSS), no object", format!("{} MiB", rss(&harness)), "≤ 25 MiB; 113 (ACK), 132 (Crossplane)"));
}

async fn one(rows: &mut Vec<Row>) {
    let harness = operator().await;
    let (mut times, mut created) = (Vec::new(), Vec::new());
    for n in 0..5 {
        let name = format!("one-{n}");
        harness.proxy.take();
        let began = Instant::now();
        harness.apply(&ica(&harness, &name)).await;
        harness.ready(&name).await;
        times.push(began.elapsed().as_secs_f64());
        created = harness.proxy.take();
    }
    times.sort_by(f64::total_cmp);
    let path = FLOOR.as_secs_f64() * 3.0;
    rows.push(Row(
        "apply → Ready with a verified Secret, ICA example, 1 object, 50 ms a call",
        format!("{:.2} s (median of 5; {:.1} × the 3 round trips of the chain)", times[2], times[2] / path),
        "≤ 1.5 ×; Crossplane 22 ×, ACK 25 × without a key",
    ));
    rows.push(Row(
        "AWS calls to create it",
        format!("{} ({} writes)", created.len(), writes(&created).len()),
        "≤ 9; 80 (ACK), 85 (Crossplane)",
    ));
    harness.check("one-0").await;
    let before = harness.api_writes().len();
    let began = Instant::now();
    harness.apply(&ica(&harness, "counted")).await;
    harness.ready("counted").await;
    harness.check("counted").await;
    let elapsed = began.elapsed();
    assert!(elapsed < Duration::from_secs(60));
    // The check that was asked for is one of them.
    rows.push(Row(
        "API-server writes to create it",
        (harness.api_writes().len() - before - 1).to_string(),
        "≤ 6; 14 (ACK), 43 (Crossplane)",
    ));

    harness.proxy.take();
    let before = harness.api_writes().len();
    harness.check("one-0").await;
    let checked = harness.proxy.take();
    rows.push(Row(
        "AWS calls of a check that changes nothing",
        format!("{} ({} writes)", checked.len(), writes(&checked).len()),
        "≤ 8, 0 writes; 28 (ACK), 24 and a write (Crossplane)",
    ));
    rows.push(Row(
        "API-server writes of such a check",
        format!("{} (besides answering the request for it)", harness.api_writes().len() - before - 1),
        "0",
    ));
    rows.push(Row("memory (RSS), 7 objects", format!("{} MiB", rss(&harness)), "–"));
}

async fn many(rows: &mut Vec<Row>) {
    const COUNT: usize = 100;
    let harness = operator().await;
    let before = cpu(&harness);
    let began = Instant::now();
    for n in 0..COUNT {
        harness.apply(&ica(&harness, &format!("many-{n}"))).await;
    }
    for n in 0..COUNT {
        harness.ready(&format!("many-{n}")).await;
    }
    rows.push(Row(
        "apply → all Ready, 100 objects, 50 ms a call",
        format!("{:.1} s (moto answers some 500 requests a second, so 900 take 1.8 s of it)", began.elapsed().as_secs_f64()),
        "≤ 2 s; 15 s without a key (ACK, tuned), 101 s (Crossplane)",
    ));
    rows.push(Row("CPU time for that", format!("{:.1} s", cpu(&harness) - before), "4 s (ACK), 14 s (Crossplane)"));
    rows.push(Row("memory (RSS), 100 objects", format!("{} MiB", rss(&harness)), "142 MiB (ACK), 232 MiB (Crossplane)"));
}

/// Resident memory of the operator in MiB.
fn rss(harness: &Harness) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", harness.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// CPU time of the operator in seconds; the kernel counts in hundredths.
fn cpu(harness: &Harness) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", harness.pid())).unwrap();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11..=12].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / 100.0
}
