//! A limited number of turns, shared fairly among namespaces.
//!
//! The next turn goes to the namespace that has had the fewest, so a namespace with a thousand objects delays another
//! one by one turn, not by a thousand. Prompt work (a first key, a deletion) and routine reconciles alternate, so
//! neither blocks the other.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

tokio::task_local! {
    static CALLER: Caller;
}

/// The namespace and urgency of some work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The namespace whose share it uses; empty for the operator's own work.
    pub namespace: String,
    /// Its urgency.
    pub urgency: Urgency,
}

/// How soon something must be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// In order.
    #[default]
    Routine,
    /// Before routine work, in order.
    Prompt,
    /// At once: without waiting for a turn, or for the account's budget of calls. For revocations.
    Immediate,
}

impl Caller {
    /// Runs `work` on behalf of this caller.
    pub async fn run<T>(self, work: impl Future<Output = T>) -> T {
        CALLER.scope(self, work).await
    }

    /// The caller of the current work.
    pub fn current() -> Self {
        CALLER.try_with(Clone::clone).unwrap_or_default()
    }
}

/// Runs `work` without waiting for turns or budgets: for revocations, which must not wait for another tenant's work.
pub async fn at_once<T>(work: impl Future<Output = T>) -> T {
    Caller { urgency: Urgency::Immediate, ..Caller::current() }.run(work).await
}

/// A limited number of turns.
pub struct Turns(Mutex<Line>);

/// A turn. It ends when it is dropped.
pub struct Turn(Option<Arc<Turns>>);

#[derive(Default)]
struct Line {
    free: usize,
    /// Number of turns given so far.
    given: u64,
    prompt_was_last: bool,
    /// By namespace.
    shares: BTreeMap<String, Share>,
}

/// The turns of a namespace, and its waiting work.
#[derive(Default)]
struct Share {
    /// Number of turns that it had.
    served: u64,
    /// Number of its last turn.
    last: u64,
    prompt: VecDeque<Ticket>,
    routine: VecDeque<Ticket>,
}

impl Share {
    fn waits(&self) -> bool {
        !(self.prompt.is_empty() && self.routine.is_empty())
    }
}

struct Ticket {
    name: String,
    turn: oneshot::Sender<Turn>,
}

impl Turns {
    /// At most `count` turns at a time.
    pub fn new(count: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Line { free: count, ..Line::default() })))
    }

    /// Waits for a turn of `caller`; returns at once for an immediate one. [`Self::hurry`] finds it by `name`.
    pub async fn turn(self: &Arc<Self>, caller: &Caller, name: &str) -> Turn {
        if caller.urgency == Urgency::Immediate {
            return Turn(None);
        }
        let Some(coming) = self.lock().join(caller, name) else { return Turn(Some(Arc::clone(self))) };
        // The sender is only dropped together with the line.
        coming.await.unwrap_or(Turn(None))
    }

    /// How much work waits for a turn.
    pub fn waiting(&self) -> usize {
        self.lock().shares.values().map(|share| share.prompt.len() + share.routine.len()).sum()
    }

    /// Whether there is a free turn, so that nothing waits.
    pub fn is_free(&self) -> bool {
        self.lock().free > 0
    }

    /// Makes the work that waits in `namespace` under this name prompt.
    pub fn hurry(&self, namespace: &str, name: &str) {
        if let Some(share) = self.lock().shares.get_mut(namespace) {
            let place = share.routine.iter().position(|ticket| ticket.name == name);
            share.prompt.extend(place.and_then(|place| share.routine.remove(place)));
        }
    }

    /// Gives a turn that has ended to the next waiting work.
    fn pass_on(self: Arc<Self>) {
        loop {
            let Some(ticket) = self.lock().next() else { return };
            match ticket.turn.send(Turn(Some(Arc::clone(&self)))) {
                Ok(()) => return,
                // The waiting work was canceled.
                Err(mut unwanted) => unwanted.0 = None,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = self.0.take() {
            turns.pass_on();
        }
    }
}

impl Line {
    /// Takes a free turn, or waits for one.
    fn join(&mut self, caller: &Caller, name: &str) -> Option<oneshot::Receiver<Turn>> {
        if self.free > 0 {
            self.free -= 1;
            return None;
        }
        let fewest = self.fewest();
        let share = self.shares.entry(caller.namespace.clone()).or_default();
        // A namespace does not catch up on turns that it did not ask for.
        share.served = share.served.max(fewest);
        let (turn, coming) = oneshot::channel();
        let queue = if caller.urgency == Urgency::Prompt { &mut share.prompt } else { &mut share.routine };
        queue.push_back(Ticket { name: name.to_owned(), turn });
        Some(coming)
    }

    /// The work that gets the turn that has ended; the turn is free if nothing waits.
    fn next(&mut self) -> Option<Ticket> {
        let waits = |queue: fn(&Share) -> &VecDeque<Ticket>| self.shares.values().any(|share| !queue(share).is_empty());
        let (prompt, routine) = (waits(|share| &share.prompt), waits(|share| &share.routine));
        self.prompt_was_last = prompt && !(routine && self.prompt_was_last);
        let queue: fn(&mut Share) -> &mut VecDeque<Ticket> =
            if self.prompt_was_last { |share| &mut share.prompt } else { |share| &mut share.routine };
        let candidates = self.shares.values_mut().filter_map(|share| (!queue(share).is_empty()).then_some(share));
        let Some(share) = candidates.min_by_key(|share| (share.served, share.last)) else {
            self.free += 1;
            self.shares.clear();
            return None;
        };
        self.given += 1;
        (share.served, share.last) = (share.served + 1, self.given);
        let ticket = queue(share).pop_front();
        // A namespace that has had no more than the others is forgotten.
        let fewest = self.fewest();
        self.shares.retain(|_, share| share.waits() || share.served > fewest);
        ticket
    }

    /// The turns of the waiting namespace that had the fewest.
    fn fewest(&self) -> u64 {
        self.shares.values().filter(|share| share.waits()).map(|share| share.served).min().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use tokio::task::LocalSet;

    use super::*;

    fn caller(namespace: &str, urgency: Urgency) -> Caller {
        Caller { namespace: namespace.to_owned(), urgency }
    }

    /// One turn at a time. Each of `workers` asks for turns continuously, until `goal` has had its number of turns;
    /// returns the namespaces of the turns.
    fn turns(workers: &[(Caller, usize)], goal: (Caller, usize)) -> Vec<String> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (line, given) = (Turns::new(1), Rc::new(RefCell::new(Vec::new())));
        let all = given.clone();
        let take = move |caller: Caller| {
            let (line, given) = (line.clone(), all.clone());
            async move {
                let _turn = line.turn(&caller, "").await;
                given.borrow_mut().push(caller.namespace.clone());
                tokio::task::yield_now().await;
            }
        };
        let local = LocalSet::new();
        for (caller, count) in workers {
            for _ in 0..*count {
                let (take, caller) = (take.clone(), caller.clone());
                local.spawn_local(async move {
                    loop {
                        take(caller.clone()).await;
                    }
                });
            }
        }
        local.block_on(&runtime, async {
            while given.borrow().len() < 500 {
                tokio::task::yield_now().await;
            }
            given.borrow_mut().clear();
            for _ in 0..goal.1 {
                take(goal.0.clone()).await;
            }
        });
        given.take()
    }

    /// The first reconcile of a new connection makes about nine calls, one after the other.
    #[test]
    fn a_busy_namespace_delays_another_one_by_a_factor_of_two() {
        use Urgency::{Prompt, Routine};
        for (busy, own) in [(Routine, Prompt), (Routine, Routine), (Prompt, Prompt), (Prompt, Routine)] {
            let given = turns(&[(caller("a", busy), 60)], (caller("b", own), 9));
            assert!(given.len() <= 2 * 9 + 1, "{busy:?} {own:?}: {given:?}");
        }
        let both = [(caller("a", Prompt), 60), (caller("a", Routine), 60)];
        for own in [Prompt, Routine] {
            let given = turns(&both, (caller("b", own), 9));
            assert!(given.len() <= 2 * 9 + 2, "{own:?}: {given:?}");
        }
    }

    /// As after a restart: everything is due.
    #[test]
    fn what_is_prompt_takes_every_second_turn_however_many_namespaces_are_busy() {
        let busy: Vec<_> = (0..100).map(|n| (caller(&format!("busy{n}"), Urgency::Routine), 3)).collect();
        let given = turns(&busy, (caller("b", Urgency::Prompt), 9));
        assert!(given.len() <= 2 * 9 + 1, "{given:?}");
    }

    #[test]
    fn what_is_immediate_waits_for_nothing() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let line = Turns::new(1);
            let _held = line.turn(&Caller::default(), "").await;
            let _turn = at_once(async { line.turn(&Caller::current(), "").await }).await;
        });
    }

    #[test]
    fn a_cancelled_wait_loses_no_turn() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let line = Turns::new(1);
            let held = line.turn(&Caller::default(), "").await;
            let (mut gone, mut late) = (
                Box::pin(async { line.turn(&Caller::default(), "").await }),
                Box::pin(async { line.turn(&Caller::default(), "").await }),
            );
            assert!(futures::poll!(&mut gone).is_pending() && futures::poll!(&mut late).is_pending());
            drop(gone);
            drop(held);
            // It already has the turn, but does not know it yet.
            drop(late);
            line.turn(&Caller::default(), "").await;
        });
    }

    #[test]
    fn what_waits_can_be_hurried() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (line, caller) = (Turns::new(1), caller("a", Urgency::Routine));
            let held = line.turn(&caller, "").await;
            let wait = async |name: &'static str| line.turn(&caller, name).await;
            let (mut first, mut second) = (Box::pin(wait("first")), Box::pin(wait("second")));
            assert!(futures::poll!(&mut first).is_pending() && futures::poll!(&mut second).is_pending());
            line.hurry("a", "second");
            drop(held);
            assert!(futures::poll!(&mut first).is_pending() && futures::poll!(&mut second).is_ready());
        });
    }
}
