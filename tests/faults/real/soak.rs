//! Every fault at every call of every scenario; writes the figures of each finished scenario into docs/reliability.md.

use std::sync::Mutex;

use super::disturb::{How, Point};
use super::harness::FaultHarness;
use super::scenarios::all;
use super::{Tally, at_each_call};
use crate::support::figures;

/// Each has its own emulator and proxy. A run mostly waits.
const HARNESSES: usize = 4;

const PAGE: &str = "docs/reliability.md";
const MARKER: &str = "real stack: written by make soak";
const HEAD: &str = "| scenario | calls disturbed | runs | kill -9 | other faults | call not come to | invariant checks |\n|---|---|---|---|---|---|---|\n";

/// `SCENARIO=create,adopt` runs only these; `FAULTS=kills` only kills the operator, and only at its writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "soak"]
async fn every_call_of_every_scenario() {
    let only = std::env::var("SCENARIO").ok();
    let chosen = |name: &str| only.as_ref().is_none_or(|only| only.split(',').any(|one| one == name));
    let kills = std::env::var("FAULTS").is_ok_and(|faults| faults == "kills");
    let (ways, points): (&[How], fn(&Point) -> bool) =
        if kills { (&How::KILLS, |point| point.write) } else { (&How::ALL, |_| true) };
    let queue = Mutex::new(all().filter(|scenario| chosen(scenario.name)));
    let wrong = Mutex::new(Vec::new());
    let worker = async || {
        let mut harness = FaultHarness::new("soak").await;
        loop {
            let next = queue.lock().unwrap().next();
            let Some(scenario) = next else { return };
            let tally = Mutex::default();
            at_each_call(&mut harness, scenario, ways, points, &tally).await;
            let tally = tally.into_inner().unwrap();
            let mut wrong = wrong.lock().unwrap();
            if tally.wrong.is_empty() {
                note(scenario.name, &tally);
            }
            wrong.extend(tally.wrong);
        }
    };
    let workers = (0..HARNESSES).map(|_| worker());
    futures::future::join_all(workers).await;
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} runs:\n{}", wrong.len(), wrong.join("\n"));
}

/// Writes the scenario's row into the page.
fn note(name: &str, tally: &Tally) {
    let Tally { calls, runs, killed, others, unmet, checks, .. } = tally;
    let figures = [*calls, *runs, *killed, *others, *unmet, *checks];
    println!("{name}: {figures:?}");
    let names: Vec<_> = all().map(|scenario| scenario.name).collect();
    figures::note(PAGE, MARKER, HEAD, &names, name, &figures);
}
