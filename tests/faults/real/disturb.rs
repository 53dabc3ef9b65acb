//! One run of a scenario, without a fault or with one fault at one call, and its invariants.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::harness::{FaultHarness, foreign};
use super::scenarios::{Ends, Scenario};
use super::state::{differences, state};
use crate::support::proxy::{Fault, Hook, Request};

/// The most time that a run with a fault may take: generous, because a busy machine makes it long.
const PATIENCE: Duration = Duration::from_secs(300);

/// A call of the operator: the n-th of its kind after the trigger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// Whether it is a call to AWS; otherwise to the API server.
    pub aws: bool,
    pub action: String,
    pub nth: usize,
    pub write: bool,
}

/// What happens at that call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// kill -9 before the server sees it.
    KilledBefore,
    /// kill -9 after the server has executed it, before the answer arrives.
    KilledAfter,
    /// The connection ends before the server sees it.
    Cut,
    /// The server executes it, and the answer is lost.
    AnswerLost,
    /// The server is busy.
    Throttled,
    /// The API server refuses a write because of another one. Once.
    Conflict,
}

impl How {
    pub const ALL: [Self; 6] =
        [Self::KilledBefore, Self::KilledAfter, Self::Cut, Self::AnswerLost, Self::Throttled, Self::Conflict];
    pub const KILLS: [Self; 2] = [Self::KilledBefore, Self::KilledAfter];

    pub fn kills(self) -> bool {
        Self::KILLS.contains(&self)
    }

    /// Whether this fault can happen there. Only writes to the object itself can conflict.
    pub fn fits(self, point: &Point) -> bool {
        self != Self::Conflict || (!point.aws && point.write && point.action.contains("bucketconnections"))
    }

    fn fault(self, point: &Point, hook: Hook) -> Fault {
        match self {
            Self::KilledBefore => Fault::CallThenCut(hook),
            Self::KilledAfter => Fault::CallAfter(hook),
            Self::Cut => Fault::Cut,
            Self::AnswerLost => Fault::LoseAnswer,
            Self::Conflict => Fault::Answer(409, "Conflict"),
            Self::Throttled if !point.aws => Fault::Answer(429, "TooManyRequests"),
            Self::Throttled if point.action.starts_with("s3:") => Fault::Answer(503, "SlowDown"),
            Self::Throttled => Fault::Answer(400, "Throttling"),
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (nr. {})", self.action, self.nth + 1)
    }
}

/// The result of a run.
pub struct Ran {
    pub state: Value,
    pub points: Vec<Point>,
    /// Whether the run made the call with the fault at all.
    pub met: bool,
}

/// Runs the scenario without a fault.
pub async fn undisturbed(harness: &mut FaultHarness, scenario: &Scenario) -> Ran {
    run(harness, scenario, None).await.unwrap_or_else(|wrong| panic!("{}, undisturbed: {wrong}", scenario.name))
}

/// Runs the scenario with a fault at one call; the error says what is wrong with the end state, or what was wrong
/// before it.
pub async fn disturbed(
    harness: &mut FaultHarness,
    scenario: &Scenario,
    expected: &Value,
    point: &Point,
    how: How,
) -> Result<bool, String> {
    let wrong = |what: String| format!("{}, {how:?} at {point}: {what}", scenario.name);
    let ran = tokio::time::timeout(PATIENCE, run(harness, scenario, Some((point, how)))).await;
    let ran = ran.unwrap_or_else(|_| Err(format!("no end in time\n{}", harness.told()))).map_err(wrong)?;
    let differing = differences(expected, &ran.state);
    if differing.is_empty() { Ok(ran.met) } else { Err(wrong(differing.join("\n    "))) }
}

async fn run(harness: &mut FaultHarness, scenario: &Scenario, fault: Option<(&Point, How)>) -> Result<Ran, String> {
    harness.fresh(scenario.name).await;
    harness.start().await;
    (scenario.setup)(harness).await;
    let before = foreign(&harness.base).await;
    let met = Arc::new(AtomicBool::new(false));
    harness.take();
    if let Some((point, how)) = fault {
        arm(harness, point, how, &met);
    }
    harness.watched();
    (scenario.trigger)(harness).await;
    let mut requests = Vec::new();
    let undisturbed = tokio::select! {
        made = ended(harness, scenario, &mut requests) => Some(made),
        () = died(&met, fault) => None,
    };
    let made = match undisturbed {
        Some(made) => made,
        None if harness.base.ended() => return Err("it ended well when killed".into()),
        None => {
            harness.start().await;
            ended(harness, scenario, &mut requests).await
        }
    };
    let mut wrong = harness.watch.broken();
    requests.extend(harness.base.proxy.take());
    if scenario.ends != Ends::Gone && requests.iter().any(|request| request.action == "s3:DeleteBucket") {
        wrong.push("it would have deleted the bucket".into());
    }
    if foreign(&harness.base).await != before {
        wrong.push(format!("what is foreign has changed: {before:?} to {:?}", foreign(&harness.base).await));
    }
    if !wrong.is_empty() {
        return Err(wrong.join("\n    "));
    }
    let met = match fault {
        Some((_, how)) if how.kills() => met.load(Ordering::SeqCst),
        _ => true,
    };
    Ok(Ran { state: state(harness).await, points: made, met })
}

/// Waits until the operator has done its work, and is quiet; returns the calls that it made for the work.
async fn ended(harness: &mut FaultHarness, scenario: &Scenario, requests: &mut Vec<Request>) -> Vec<Point> {
    (scenario.end)(harness).await;
    let (aws, api) = harness.take();
    requests.extend(aws.clone());
    match scenario.ends {
        Ends::Ready => harness.quiet().await,
        Ends::Refused => harness.still().await,
        Ends::Gone => {}
    }
    let aws = aws.into_iter().map(|request| (true, request.action, request.write));
    let api = api.into_iter().filter(|request| !request.watch && !request.action.starts_with("list "));
    numbered(aws.chain(api.map(|request| (false, request.action, request.write))))
}

fn arm(harness: &FaultHarness, point: &Point, how: How, met: &Arc<AtomicBool>) {
    let (pid, met) = (harness.base.pid().to_string(), Arc::clone(met));
    let hook: Hook = Arc::new(move || {
        std::process::Command::new("kill").args(["-KILL", &pid]).status().unwrap();
        met.store(true, Ordering::SeqCst);
    });
    let fault = how.fault(point, hook);
    if point.aws {
        harness.base.proxy.fault_at(&point.action, point.nth, fault, 1);
    } else {
        harness.api.fault_at(&point.action, point.nth, fault, 1);
    }
}

/// Ends when the operator has been killed.
async fn died(met: &AtomicBool, fault: Option<(&Point, How)>) {
    while !(fault.is_some_and(|(_, how)| how.kills()) && met.load(Ordering::SeqCst)) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn numbered(calls: impl Iterator<Item = (bool, String, bool)>) -> Vec<Point> {
    let mut seen: BTreeMap<(bool, String), usize> = BTreeMap::new();
    calls
        .map(|(aws, action, write)| {
            let count = seen.entry((aws, action.clone())).or_default();
            *count += 1;
            Point { aws, action, nth: *count - 1, write }
        })
        .collect()
}
