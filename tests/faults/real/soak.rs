//! Every call of every scenario, disturbed in every way; the figures go into docs/reliability.md.

use std::fmt::Write;
use std::sync::Mutex;

use super::disturb::How;
use super::rig::Rig;
use super::scenarios::SCENARIOS;
use super::{Tally, at_each_call};
use crate::support::figures;

/// Each has an emulator and a proxy of its own. A run mostly waits.
const RIGS: usize = 4;

/// `SCENARIO=create,adopt` runs only these.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "soak"]
async fn every_call_of_every_scenario() {
    let only = std::env::var("SCENARIO").ok();
    let chosen = |name: &str| only.as_ref().is_none_or(|only| only.split(',').any(|one| one == name));
    let queue = Mutex::new(SCENARIOS.iter().enumerate().filter(|(_, scenario)| chosen(scenario.name)));
    let rows = Mutex::new(Vec::new());
    let worker = async || {
        let mut rig = Rig::new("soak").await;
        loop {
            let next = queue.lock().unwrap().next();
            let Some((index, scenario)) = next else { return };
            let tally = Mutex::default();
            at_each_call(&mut rig, scenario, &How::ALL, |_| true, &tally).await;
            let tally = tally.into_inner().unwrap();
            println!("{}", row(scenario.name, &tally));
            rows.lock().unwrap().push((index, scenario.name, tally));
        }
    };
    let workers = (0..RIGS).map(|_| worker());
    futures::future::join_all(workers).await;
    let mut rows = rows.into_inner().unwrap();
    rows.sort_by_key(|(index, ..)| *index);
    let mut whole = Tally::default();
    let mut table = String::from(
        "| scenario | calls | runs | kill -9 | other faults | call not come to | looks at the invariants |\n|---|---|---|---|---|---|---|\n",
    );
    for (_, name, tally) in rows {
        let _ = writeln!(table, "{}", row(name, &tally));
        whole.add(tally);
    }
    let _ = writeln!(table, "{}", row("all", &whole));
    assert!(whole.wrong.is_empty(), "{} of {} runs:\n{}", whole.wrong.len(), whole.runs, whole.wrong.join("\n"));
    figures::write("docs/reliability.md", "real stack: written by make soak", &table);
}

fn row(name: &str, tally: &Tally) -> String {
    let Tally { calls, runs, killed, others, unmet, checks, .. } = tally;
    format!("| {name} | {calls} | {runs} | {killed} | {others} | {unmet} | {checks} |")
}
