//! Two operators at once: one pauses at a call, another acquires the lease and works, and then the first one wakes up
//! and continues where it was. A lease cannot prevent that: a paused process does not know that its lease has expired.

use super::calls::{How, Strike};
use super::crash_points::{in_parallel, none, played};
use super::end_state::differences;
use super::scenarios::{Scenario, all};
use super::tally::Tally;
use crate::model::Behaviour;

/// The errors once both have come to rest.
fn woken(scenario: &Scenario, strike: Strike, expected: &serde_json::Value, tally: &Tally) -> Option<String> {
    let mut simulation = scenario.prepared(1, Behaviour::default());
    let base = simulation.calls.count();
    simulation.calls.strike(Strike { call: base + strike.call, how: strike.how });
    scenario.act(&mut simulation);
    simulation.run(std::time::Duration::from_secs(1));
    if !simulation.calls.gate.is_closed() {
        scenario.end(&mut simulation);
    }
    simulation.start();
    scenario.end(&mut simulation);
    let between = simulation.wrong();
    simulation.calls.gate.open();
    simulation.settle();
    let mut wrong: Vec<_> = between.into_iter().map(|wrong| format!("while the first stands still: {wrong}")).collect();
    wrong.extend(simulation.wrong());
    wrong.extend(differences(expected, &simulation.end()));
    tally.add(&simulation);
    (!wrong.is_empty()).then(|| format!("{} at {strike}: {}", scenario.name, wrong.join("\n    ")))
}

/// Pauses the first operator at each call that `chosen` selects, by the numbers of the scenario and of the call.
pub fn each_asleep(tally: &Tally, chosen: impl Fn(usize, &Strike) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for (number, scenario) in all().iter().enumerate() {
        let (undisturbed, calls) = played(scenario, &[], Behaviour::default());
        let expected = undisturbed.end();
        let ways = [How::AsleepBefore, How::AsleepAfter];
        let strikes = (0..calls.len()).flat_map(|call| ways.map(|how| Strike { call, how }));
        let strikes: Vec<_> = strikes.filter(|strike| chosen(number, strike)).collect();
        found.extend(in_parallel(&strikes, |strike| {
            woken(scenario, *strike, &expected, tally).map(|text| format!("{text}\n    # {}", calls[strike.call]))
        }));
    }
    found
}

#[test]
fn the_first_operator_continues_late() {
    none(&each_asleep(&Tally::default(), |number, strike| (strike.call + strike.how as usize) % 48 == number));
}
