//! The counts of a soak, for docs/reliability.md.

use std::collections::BTreeMap;
use std::sync::Mutex;

use super::calls::How;
use super::run::Simulation;

#[derive(Default)]
struct Counts {
    runs: usize,
    calls: usize,
    strikes: BTreeMap<How, usize>,
    looks: usize,
}

/// Sums over many simulations, from several threads.
#[derive(Default)]
pub struct Tally(Mutex<Counts>);

impl Tally {
    /// Adds a simulation that has ended.
    pub fn add(&self, simulation: &Simulation) {
        let mut counts = self.0.lock().unwrap();
        counts.runs += 1;
        counts.calls += simulation.calls.count();
        counts.looks += simulation.invariants.looks();
        for (how, struck) in simulation.calls.struck() {
            *counts.strikes.entry(how).or_default() += struck;
        }
    }

    /// Runs, calls, the faults of each of these kinds, and checks of the invariants.
    pub fn figures(&self, kinds: &[&[How]]) -> Vec<usize> {
        let counts = self.0.lock().unwrap();
        let struck = |kind: &&[How]| kind.iter().filter_map(|how| counts.strikes.get(how)).sum::<usize>();
        let mut figures = vec![counts.runs, counts.calls];
        figures.extend(kinds.iter().map(struck));
        figures.push(counts.looks);
        figures
    }
}
