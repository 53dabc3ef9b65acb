//! Every call of the operator, to AWS and to the API server, counted in the order in which they are made; and what strikes it there.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// Less than any timeout.
const LATE: Duration = Duration::from_secs(2);

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum How {
    /// The operator is killed before the call is carried out, and with it all that runs beside it.
    KilledBefore,
    /// The operator is killed after it was carried out, and never sees the answer.
    KilledAfter,
    /// The call hangs, what runs beside it goes on, and then the operator is killed.
    KilledLate,
    /// It is carried out, and the answer is lost.
    Lost,
    /// It is not carried out: an error inside the server.
    Broken,
    /// It is not carried out: too many requests.
    Busy,
    /// The operator stands still before the call is carried out, until it is woken.
    AsleepBefore,
    /// It stands still after that.
    AsleepAfter,
}

impl How {
    pub const ALL: [Self; 6] = [Self::KilledBefore, Self::KilledAfter, Self::KilledLate, Self::Lost, Self::Broken, Self::Busy];
}

/// Which of the two servers a call goes to.
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

/// A strike at one call.
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
    /// Nothing is carried out any more until the operator has started again.
    dying: bool,
    /// How many in a thousand calls are struck, and by what.
    chance: u32,
    /// How long each call takes on its way, at most.
    slow: Duration,
    /// The service, and region, that does not answer.
    silent: Option<String>,
}

/// The calls of one simulation. A copy is the same.
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

    /// How many strikes of each kind have struck.
    pub fn struck(&self) -> BTreeMap<How, usize> {
        self.lock().struck.clone()
    }

    pub fn strike(&self, strike: Strike) {
        self.lock().strikes.insert(strike.call, strike.how);
    }

    /// Strikes that have not struck yet never will.
    pub fn forget(&self) {
        self.lock().strikes.clear();
    }

    /// From now on, so many in a thousand calls are struck.
    pub fn set_chance(&self, chance: u32) {
        self.lock().chance = chance;
    }

    /// From now on, each call takes up to so long.
    pub fn set_slow(&self, slow: Duration) {
        self.lock().slow = slow;
    }

    /// From now on this service does not answer: `s3`, or `s3 us-east-1` for one region of it.
    pub fn set_silent(&self, silent: Option<&str>) {
        self.lock().silent = silent.map(str::to_owned);
    }

    /// Waits for as long as the service does not answer there.
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

    /// Resolves when the operator is to be killed.
    pub async fn killed(&self) {
        self.killed.notified().await;
    }

    /// Before a call is carried out. `request` is the same as in `after`.
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

    /// After it was.
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
