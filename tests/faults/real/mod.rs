//! The operator as a process, on a real API server and an AWS emulator, with a fault at each of its calls to either.
//!
//! `make soak` injects every fault at every call of every scenario; `cargo test --test faults real` only at the calls
//! around the key.

mod disturb;
mod harness;
mod memory;
mod races;
mod scenarios;
mod soak;
mod state;
mod watch;

use std::panic::AssertUnwindSafe;
use std::sync::Mutex;

use disturb::{How, Point, disturbed, undisturbed};
use futures::FutureExt;
use harness::FaultHarness;
use scenarios::{Scenario, all};

/// The runs so far.
#[derive(Default)]
struct Tally {
    /// Calls of the scenario with a fault.
    calls: usize,
    runs: usize,
    killed: usize,
    others: usize,
    /// Runs that did not reach the call at which they were to be killed.
    unmet: usize,
    checks: usize,
    wrong: Vec<String>,
}

/// Injects each of these faults at each of the scenario's calls that `chosen` selects.
async fn at_each_call(
    harness: &mut FaultHarness,
    scenario: &Scenario,
    ways: &[How],
    chosen: fn(&Point) -> bool,
    tally: &Mutex<Tally>,
) {
    let checks = harness.watch.checks();
    let first = undisturbed(harness, scenario).await;
    for point in first.points.iter().filter(|point| chosen(point)) {
        tally.lock().unwrap().calls += 1;
        for how in ways.iter().copied().filter(|how| how.fits(point)) {
            let run = AssertUnwindSafe(disturbed(harness, scenario, &first.state, point, how)).catch_unwind().await;
            let mut tally = tally.lock().unwrap();
            tally.runs += 1;
            *(if how.kills() { &mut tally.killed } else { &mut tally.others }) += 1;
            match run {
                Ok(Ok(met)) => tally.unmet += usize::from(!met),
                Ok(Err(wrong)) => {
                    println!("{wrong}");
                    tally.wrong.push(wrong);
                }
                Err(panic) => {
                    let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                    let text = format!("{}, {how:?} at {point}: {text}", scenario.name);
                    println!("{text}");
                    tally.wrong.push(text);
                }
            }
        }
    }
    tally.lock().unwrap().checks += harness.watch.checks() - checks;
}

/// The calls around the key: from the intent to the status that records the key.
fn around_the_key(point: &Point) -> bool {
    const AWS: [&str; 4] = ["iam:CreateUser", "iam:CreateAccessKey", "iam:DeleteAccessKey", "s3:ListBucket"];
    if point.aws { AWS.contains(&point.action.as_str()) } else { point.write && !point.action.contains("events") }
}

fn scenario(name: &str) -> &'static Scenario {
    all().find(|scenario| scenario.name == name).unwrap()
}

async fn sample(name: &str) {
    let mut harness = FaultHarness::new(name).await;
    let tally = Mutex::default();
    at_each_call(&mut harness, scenario(name), &How::KILLS, around_the_key, &tally).await;
    let tally = tally.into_inner().unwrap();
    assert!(tally.wrong.is_empty(), "{}", tally.wrong.join("\n"));
    assert_eq!(tally.unmet, 0, "every call was made in every run");
    assert!(tally.checks > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_around_the_first_key() {
    sample("create").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_around_another_key() {
    sample("secret-lost").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_it_deletes() {
    sample("delete").await;
}
