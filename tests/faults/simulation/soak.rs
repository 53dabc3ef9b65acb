//! All of what the other tests here sample; writes the figures into docs/reliability.md.

use std::time::Instant;

use super::calls::How;
use super::crash_points::{each_struck, pairs_struck};
use super::scenarios::all;
use super::tally::Tally;
use super::{changes, stories, two_operators};
use crate::support::figures;

const PAGE: &str = "docs/reliability.md";
const MARKER: &str = "simulation: written by make soak";
const HEAD: &str = "| what | runs | calls | killed before | killed after | killed during other calls | answer lost | error 500 | throttled | stopped, and woken late | writes after which the invariants were checked |\n|---|---|---|---|---|---|---|---|---|---|---|\n";
const KINDS: [&[How]; 7] = [
    &[How::KilledBefore],
    &[How::KilledAfter],
    &[How::KilledLate],
    &[How::Lost],
    &[How::Broken],
    &[How::Busy],
    &[How::AsleepBefore, How::AsleepAfter],
];

/// Numbers of random runs for SOAK=1: about ten minutes on two cores in total.
const PAIRS: usize = 1_000;
const STORIES: u32 = 600;
const CHANGES: u64 = 500;

/// A part of the soak: gets a seed, and a factor for its size. Returns the errors.
type Part = (&'static str, fn(&Tally, u64, u32) -> Vec<String>);

const PARTS: [Part; 5] = [
    ("each call of each scenario, in each way", |tally, _, _| each_struck(tally, |_, _| true)),
    ("each call of each scenario, two operators", |tally, _, _| two_operators::each_asleep(tally, |_, _| true)),
    ("pairs of faults", |tally, seed, times| pairs_struck(tally, seed, PAIRS * times as usize)),
    ("sequences of spec changes", |tally, seed, times| {
        // Short numbers, since one of them repeats a sequence.
        let first = seed % 1_000_000_000;
        changes::many(&(first..first + CHANGES * u64::from(times)).collect::<Vec<_>>(), tally)
    }),
    ("stories", |tally, seed, times| stories::many(tally, seed, STORIES * times)),
];

fn variable<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

/// `SOAK=<n>` draws n times as many; `SEED=<n>` draws the same again. `PART=stories` runs only that part.
#[test]
#[ignore = "soak"]
fn everything_simulated() {
    let times = variable("SOAK").unwrap_or(1);
    let seed = variable("SEED").unwrap_or_else(|| fastrand::u64(..1_000_000_000));
    println!("SEED={seed} SOAK={times}");
    let (mut wrong, names) = (0, PARTS.map(|(name, _)| name));
    let all = all();
    let scenarios = all.iter().map(|scenario| scenario.name).collect::<Vec<_>>().join(", ");
    let head = format!("The {} scenarios: {scenarios}.\n\n{HEAD}", all.len());
    let only = variable::<String>("PART");
    for (name, part) in PARTS.into_iter().filter(|(name, _)| only.as_ref().is_none_or(|only| only == name)) {
        let (tally, began) = (Tally::default(), Instant::now());
        let found = part(&tally, seed, times);
        let figures = tally.figures(&KINDS);
        println!("{name}: {} runs in {:.0?}, {} wrong", figures[0], began.elapsed(), found.len());
        found.iter().for_each(|found| println!("{found}"));
        if found.is_empty() {
            figures::note(PAGE, MARKER, &head, &names, name, &figures);
        }
        wrong += found.len();
    }
    assert_eq!(wrong, 0, "runs that ended otherwise than undisturbed: see above");
}
