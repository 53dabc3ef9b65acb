//! Every call of the operator, to AWS and to the API server, counted in order; and the faults at these calls.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// Less than any timeout.
const LATE: Duration = Duration::from_secs(2);

/// The faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum How {
    /// The operator is killed before the call is executed, together with everything that runs in parallel.
    KilledBefore,
    /// The operator is killed after the call was executed, and never sees the answer.
    KilledAfter,
    /// The call hangs, what runs in parallel continues, and then the operator is killed.
    KilledLate,
    /// It is executed, and the answer is lost.
    Lost,
    /// It is not executed: an error inside the server.
    Broken,
    /// It is not executed: too many requests.
    Busy,
    /// The operator pauses before the call is executed, until it is woken.
    AsleepBefore,
    /// It pauses after that.
    AsleepAfter,
}

impl How {
    pub const ALL: [Self; 6] = [Self::KilledBefore, Self::KilledAfter, Self::KilledLate, Self::Lost, Self::Broken, Self::Busy];
}

/// The server of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    Aws,
    Kubernetes,
}

/// What a layer does to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    Cut,
    Broken,
    Busy,
}

/// A fault at one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strike {
    pub call: usize,
    pub how: How,
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:?}", self.call, self.how)
    }
}

#[derive(Default)]
struct Inner {
    made: Vec<String>,
    running: HashMap<(Side, String), Vec<usize>>,
    strikes: BTreeMap<usize, How>,
    struck: BTreeMap<How, usize>,
    /// Nothing is executed until the operator has started again.
    dying: bool,
    /// How many of a thousand calls have a fault, and which.
    chance: u32,
    /// The most time that each call takes.
    slow: Duration,
    /// The service, and region, that does not answer.
    silent: Option<String>,
}

/// The calls of one simulation. A clone is the same.
#[derive(Clone, Default)]
pub struct Calls {
    inner: Arc<Mutex<Inner>>,
    killed: Arc<Notify>,
    pub gate: super::gate::Gate,
}

impl Calls {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls so far.
    pub fn made(&self) -> Vec<String> {
        self.lock().made.clone()
    }

    pub fn count(&self) -> usize {
        self.lock().made.len()
    }

    /// How many faults of each kind have happened.
    pub fn struck(&self) -> BTreeMap<How, usize> {
        self.lock().struck.clone()
    }

    pub fn strike(&self, strike: Strike) {
        self.lock().strikes.insert(strike.call, strike.how);
    }

    /// Cancels the faults that have not happened yet.
    pub fn forget(&self) {
        self.lock().strikes.clear();
    }

    /// From now on, so many of a thousand calls have a fault.
    pub fn set_chance(&self, chance: u32) {
        self.lock().chance = chance;
    }

    /// From now on, each call takes up to this long.
    pub fn set_slow(&self, slow: Duration) {
        self.lock().slow = slow;
    }

    /// From now on this service does not answer: `s3`, or `s3 us-east-1` for one region of it.
    pub fn set_silent(&self, silent: Option<&str>) {
        self.lock().silent = silent.map(str::to_owned);
    }

    /// Waits as long as the service does not answer there.
    pub async fn answers(&self, service: &str, region: &str) {
        let silent =
            || self.lock().silent.as_ref().is_some_and(|silent| *silent == service || *silent == format!("{service} {region}"));
        while silent() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// After a kill.
    pub fn revive(&self) {
        self.lock().dying = false;
    }

    /// Resolves when the operator must be killed.
    pub async fn killed(&self) {
        self.killed.notified().await;
    }

    /// Before a call is executed. `request` is the same as in `after`.
    pub async fn before(&self, side: Side, request: String, action: String) -> Verdict {
        if self.lock().dying {
            return std::future::pending().await;
        }
        let (how, slow) = {
            let mut inner = self.lock();
            let call = inner.made.len();
            inner.made.push(action);
            inner.running.entry((side, request)).or_default().push(call);
            if inner.chance > 0 && fastrand::u32(0..1000) < inner.chance {
                let how = How::ALL[fastrand::usize(0..How::ALL.len())];
                inner.strikes.insert(call, how);
            }
            let how = inner.strikes.get(&call).copied();
            if let Some(how) = how {
                *inner.struck.entry(how).or_default() += 1;
            }
            (how, inner.slow)
        };
        if !slow.is_zero() {
            tokio::time::sleep(slow.mul_f64(fastrand::f64())).await;
        }
        match how {
            Some(How::KilledBefore) => self.die().await,
            Some(How::KilledLate) => {
                tokio::time::sleep(LATE).await;
                self.die().await;
            }
            Some(How::AsleepBefore) => self.gate.sleep().await,
            Some(How::Broken) => return Verdict::Broken,
            Some(How::Busy) => return Verdict::Busy,
            _ => {}
        }
        Verdict::Pass
    }

    /// After it was executed.
    pub async fn after(&self, side: Side, request: String) -> Verdict {
        let how = {
            let mut inner = self.lock();
            let call = inner.running.get_mut(&(side, request)).and_then(Vec::pop);
            call.and_then(|call| inner.strikes.get(&call).copied())
        };
        match how {
            Some(How::KilledAfter) => self.die().await,
            Some(How::AsleepAfter) => self.gate.sleep().await,
            Some(How::Lost) => return Verdict::Cut,
            _ => {}
        }
        Verdict::Pass
    }

    async fn die(&self) {
        self.lock().dying = true;
        self.killed.notify_one();
        std::future::pending().await
    }
}
