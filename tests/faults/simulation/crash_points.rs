//! Every crash point: each fault at each call of each scenario; the run must end in the same state as the undisturbed
//! one.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::calls::{How, Strike};
use super::end_state::differences;
use super::run::Simulation;
use super::scenarios::{self, Scenario, all, named};
use super::tally::Tally;
use crate::model::Behaviour;

/// Runs a scenario with faults, counted from its beginning; returns it at rest, and its calls.
pub fn played(scenario: &Scenario, strikes: &[Strike], behaviour: Behaviour) -> (Simulation, Vec<String>) {
    let mut simulation = scenario.prepared(1, behaviour);
    let base = simulation.calls.count();
    for strike in strikes {
        simulation.calls.strike(Strike { call: base + strike.call, how: strike.how });
    }
    scenario.act(&mut simulation);
    scenario.end(&mut simulation);
    // An interrupted adoption shows the rest of its changes, and waits for approval of them.
    for _ in 0..3 {
        let rest = simulation.status("c")["adoption"]["planHash"].clone();
        if rest.is_null() {
            break;
        }
        scenarios::patch(&simulation, json!({ "approvedPlan": rest }));
        simulation.settle();
    }
    let calls = simulation.calls.made().split_off(base);
    (simulation, calls)
}

/// The errors of a run with faults; `expected` is the end state of the undisturbed one.
fn judged(scenario: &Scenario, strikes: &[Strike], expected: &Value, tally: &Tally) -> Option<String> {
    let (simulation, calls) = played(scenario, strikes, Behaviour::default());
    tally.add(&simulation);
    let mut wrong = simulation.wrong();
    // If a region does not answer, the number of attempts differs by one or two between runs: the last ones may not be
    // reached.
    let reached = strikes.iter().any(|strike| strike.call < calls.len());
    if reached && simulation.calls.struck().is_empty() {
        wrong.push("nothing was struck".to_owned());
    }
    wrong.extend(differences(expected, &simulation.end()));
    if wrong.is_empty() {
        return None;
    }
    let list: Vec<_> = strikes.iter().map(Strike::to_string).collect();
    let at: Vec<_> = strikes.iter().filter_map(|strike| calls.get(strike.call)).collect();
    Some(format!(
        "SIMULATE='{}/{}' cargo test --test faults repeated -- --nocapture  # {at:?}\n    {}",
        scenario.name,
        list.join(","),
        wrong.join("\n    ")
    ))
}

/// Does all of `work` on as many threads as there are processors; each has its own clock and random numbers.
pub fn in_parallel<T: Sync, R: Send>(work: &[T], each: impl Fn(&T) -> Option<R> + Sync) -> Vec<R> {
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(item) = work.get(next.fetch_add(1, Ordering::SeqCst)) {
                    if let Some(result) = each(item) {
                        found.lock().unwrap().push(result);
                    }
                }
            });
        }
    });
    found.into_inner().unwrap()
}

/// Fails with all errors that were found.
pub fn none(found: &[String]) {
    assert!(found.is_empty(), "{} runs ended otherwise than undisturbed:\n{}", found.len(), found.join("\n"));
}

#[test]
fn undisturbed_runs_succeed_and_are_reproducible() {
    none(&in_parallel(&all(), |scenario| {
        let (simulation, calls) = played(scenario, &[], Behaviour::default());
        let (again, other) = played(scenario, &[], Behaviour::default());
        let mut wrong = simulation.wrong();
        wrong.extend((calls != other).then(|| "the same seed, other calls".to_owned()));
        wrong.extend(differences(&simulation.end(), &again.end()));
        (!wrong.is_empty()).then(|| format!("{}: {}\n    {}", scenario.name, simulation.status("c"), wrong.join("\n    ")))
    }));
}

/// Injects each fault that `chosen` selects at each call of each scenario; it gets the number of the scenario.
pub fn each_struck(tally: &Tally, chosen: impl Fn(usize, &Strike) -> bool) -> Vec<String> {
    let ends = undisturbed();
    let points = ends
        .iter()
        .enumerate()
        .flat_map(|(number, (_, _, calls))| (0..*calls).flat_map(move |call| How::ALL.map(|how| (number, Strike { call, how }))));
    let points: Vec<_> = points.filter(|(number, strike)| chosen(*number, strike)).collect();
    in_parallel(&points, |(number, strike)| judged(&ends[*number].0, &[*strike], &ends[*number].1, tally))
}

/// Each scenario with its end state without faults, and the number of its calls.
fn undisturbed() -> Vec<(Scenario, Value, usize)> {
    let mut ends = in_parallel(&all(), |scenario| {
        let (simulation, calls) = played(scenario, &[], Behaviour::default());
        Some((*scenario, simulation.end(), calls.len()))
    });
    let order: Vec<_> = all().iter().map(|scenario| scenario.name).collect();
    ends.sort_by_key(|(scenario, ..)| order.iter().position(|name| *name == scenario.name));
    ends
}

/// Two faults in one run, so many times: the second is often at a call that only happens after the first one.
pub fn pairs_struck(tally: &Tally, seed: u64, count: usize) -> Vec<String> {
    let ends = undisturbed();
    let mut random = fastrand::Rng::with_seed(seed);
    let mut pairs = Vec::new();
    for _ in 0..count {
        let number = random.usize(..ends.len());
        let mut strike = |from: usize, within: usize| Strike {
            call: from + random.usize(..within),
            how: How::ALL[random.usize(..How::ALL.len())],
        };
        let first = strike(0, ends[number].2);
        pairs.push((number, [first, strike(first.call + 1, 20)]));
    }
    in_parallel(&pairs, |(number, strikes)| judged(&ends[*number].0, strikes, &ends[*number].1, tally))
}

#[test]
fn a_fault_at_each_call() {
    // One call in twelve gets one of the faults here; over the scenarios, all of them.
    let ways = How::ALL.len();
    let chosen = |number: usize, strike: &Strike| strike.call % (12 * ways) == (12 * strike.how as usize + number) % (12 * ways);
    none(&each_struck(&Tally::default(), chosen));
}

#[test]
fn two_faults_in_one_run() {
    none(&pairs_struck(&Tally::default(), 1, 40));
}

/// Killed after the pending key was published and before the status recorded it; then the Secret could not be read at
/// first: the previous key still has its overlap.
#[test]
fn a_published_key_stays_recorded() {
    let scenario = &named("rotate");
    let (undisturbed, calls) = played(scenario, &[], Behaviour::default());
    let call = calls.iter().position(|call| call == "delete secrets").unwrap();
    // The start makes seven calls before that.
    let strikes = [Strike { call, how: How::KilledAfter }, Strike { call: call + 8, how: How::Broken }];
    let wrong = judged(scenario, &strikes, &undisturbed.end(), &Tally::default());
    none(&wrong.into_iter().collect::<Vec<_>>());
}

/// Repeats one run: SIMULATE='<scenario>/<call>:<how>,...'.
#[test]
fn repeated() {
    let Ok(told) = std::env::var("SIMULATE") else { return };
    let (name, strikes) = told.split_once('/').unwrap();
    let scenario = &named(name);
    let how = |text: &str| How::ALL.into_iter().find(|how| format!("{how:?}") == text).unwrap();
    let strikes: Vec<_> = strikes.split(',').filter_map(|strike| strike.split_once(':')).collect();
    let strikes: Vec<_> =
        strikes.into_iter().map(|(call, text)| Strike { call: call.parse().unwrap(), how: how(text) }).collect();
    let expected = played(scenario, &[], Behaviour::default()).0.end();
    let (simulation, calls) = played(scenario, &strikes, Behaviour::default());
    for (number, call) in calls.iter().enumerate() {
        println!("{number:4} {call}");
    }
    println!("{}", serde_json::to_string_pretty(&simulation.status("c")).unwrap());
    none(&judged(scenario, &strikes, &expected, &Tally::default()).into_iter().collect::<Vec<_>>());
}
