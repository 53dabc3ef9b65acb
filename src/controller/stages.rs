//! The pure stages of a reconcile, on separate threads and within a time limit.
//!
//! A tenant controls their input. All stages should end soon for any input; if one does not, only its object is
//! affected. A thread cannot be stopped, so a stage that exceeds the limit continues in the background, and is not
//! started again for the same spec.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::ResourceExt;
use tokio::time::Instant;

use super::panics::caught;
use crate::api::BucketConnection;
use crate::desired::SpecError;
use crate::fair::{Caller, Turns};
use crate::plan::Blocker;
use crate::status::Stage;
use crate::vocabulary::conditions::{ConditionType, Reason};

/// Stages take milliseconds.
const LIMIT: Duration = Duration::from_secs(10);
/// Maximum number of threads; each has its own stack.
const AT_ONCE: usize = 8;
/// How many objects of a namespace may exceed the limit before its others are not tried.
const OVERDUE: usize = 4;

/// An object and the generation of its spec.
type Job = (String, String, Option<i64>);

/// Runs pure stages.
#[derive(Clone)]
pub(super) struct Stages {
    limit: Duration,
    turns: Arc<Turns>,
    running: Arc<Mutex<HashMap<Job, Instant>>>,
    threads: bool,
}

/// Why a stage has no result.
#[derive(Debug)]
pub(super) enum Unfit {
    /// The spec is invalid.
    Invalid(Vec<SpecError>),
    /// It exceeded the time limit, or the operator failed.
    Refused(Blocker),
}

impl Unfit {
    /// The stage that the reconcile reached.
    pub(super) fn stage(&self) -> Stage<'_> {
        match self {
            Self::Invalid(errors) => Stage::Invalid(errors),
            Self::Refused(blocker) => Stage::Refused(blocker),
        }
    }
}

impl Stages {
    /// On separate threads, or inline: then there is no time limit.
    pub(super) fn new(threads: bool) -> Self {
        Self { limit: LIMIT, turns: Turns::new(AT_ONCE), running: Arc::default(), threads }
    }

    /// Runs a stage for `object`.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        object: &BucketConnection,
        stage: impl FnOnce() -> Result<T, Vec<SpecError>> + Send + 'static,
    ) -> Result<T, Unfit> {
        let job = (object.namespace().unwrap_or_default(), object.name_any(), object.metadata.generation);
        if let Some(refusal) = self.overdue(&job) {
            return Err(Unfit::Refused(refusal));
        }
        let _turn = self.turns.turn(&Caller::current(), &job.1).await;
        if !self.threads {
            return stage().map_err(Unfit::Invalid);
        }
        let ended = Running::new(&self.running, job);
        let running = tokio::task::spawn_blocking(move || {
            let _ended = ended;
            caught(stage)
        });
        match tokio::time::timeout(self.limit, running).await {
            Ok(Ok(Ok(done))) => done.map_err(Unfit::Invalid),
            Ok(Ok(Err(place))) => Err(Unfit::Refused(internal_error(place.as_deref()))),
            // Canceled, which happens only when the process ends.
            Ok(Err(_)) => Err(Unfit::Refused(internal_error(None))),
            Err(_) => Err(Unfit::Refused(self.too_slow())),
        }
    }

    /// Why `job` must not start, if that is so.
    fn overdue(&self, job: &Job) -> Option<Blocker> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.contains_key(job) {
            return Some(self.too_slow());
        }
        let overdue = running.iter().filter(|((namespace, ..), began)| *namespace == job.0 && began.elapsed() >= self.limit);
        (overdue.count() >= OVERDUE).then(|| {
            blocked(Reason::TooExpensive, format!("{OVERDUE} other BucketConnections of this namespace are TooExpensive, so this one is not reconciled; correct or delete those first"))
        })
    }

    fn too_slow(&self) -> Blocker {
        let text = format!(
            "computing the desired state of this spec takes more than {} s, so it is not reconciled; shorten its lists and patterns, and report this as a bug of the operator",
            self.limit.as_secs()
        );
        blocked(Reason::TooExpensive, text)
    }
}

/// The blocker for an object on which the operator itself failed.
pub(super) fn internal_error(place: Option<&str>) -> Blocker {
    let place = place.map(|place| format!(" ({place})")).unwrap_or_default();
    let text = format!(
        "the operator failed on this object{place}; other objects are not affected: report it with the operator's log, and undo the last change of spec and annotations"
    );
    blocked(Reason::InternalError, text)
}

fn blocked(reason: Reason, message: String) -> Blocker {
    Blocker { part: ConditionType::Ready, reason, message, stalled: true, problem: None }
}

/// Records that a job runs, until it is dropped.
struct Running(Arc<Mutex<HashMap<Job, Instant>>>, Job);

impl Running {
    fn new(running: &Arc<Mutex<HashMap<Job, Instant>>>, job: Job) -> Self {
        running.lock().unwrap_or_else(PoisonError::into_inner).insert(job.clone(), Instant::now());
        Self(Arc::clone(running), job)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use serde_json::json;

    use super::*;

    fn object(namespace: &str, name: &str, generation: i64) -> BucketConnection {
        serde_json::from_value(json!({
            "apiVersion": "bucketconnection.dev/v1alpha1", "kind": "BucketConnection",
            "metadata": { "namespace": namespace, "name": name, "generation": generation },
            "spec": { "preset": "ReadWrite", "region": "us-east-1", "bucket": { "name": "data" } },
        }))
        .unwrap()
    }

    /// The same stages with a limit that passes soon, and with one that never does.
    fn stages() -> (Stages, Stages) {
        let patient = Stages { limit: Duration::from_secs(1_000_000), ..Stages::new(true) };
        (Stages { limit: Duration::from_millis(10), ..patient.clone() }, patient)
    }

    /// A stage that does not end before the other side is dropped.
    fn hanging(released: mpsc::Receiver<()>) -> impl FnOnce() -> Result<(), Vec<SpecError>> {
        move || {
            let _ = released.recv();
            Ok(())
        }
    }

    fn refusal(ran: Result<(), Unfit>) -> Option<Blocker> {
        ran.err().map(|unfit| match unfit {
            Unfit::Refused(blocker) => blocker,
            Unfit::Invalid(errors) => panic!("{errors:?}"),
        })
    }

    fn reason(ran: Result<(), Unfit>) -> Option<Reason> {
        refusal(ran).map(|blocker| blocker.reason)
    }

    #[tokio::test]
    async fn a_stage_that_does_not_end_is_told_and_holds_up_nothing_else() {
        let (impatient, patient) = stages();
        let (release, released) = mpsc::channel::<()>();
        let ran = impatient.run(&object("a", "slow", 1), hanging(released)).await;
        let blocker = refusal(ran).unwrap();
        assert!(blocker.stalled && blocker.reason == Reason::TooExpensive, "{}", blocker.message);
        let slow = async |generation| reason(patient.run(&object("a", "slow", generation), || Ok(())).await);
        assert_eq!(slow(1).await, Some(Reason::TooExpensive), "it still runs");
        assert_eq!(slow(2).await, None, "another spec is another try");
        assert_eq!(reason(patient.run(&object("a", "other", 1), || Ok(())).await), None);
        drop(release);
        while slow(1).await.is_some() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_namespace_gets_a_few_threads_that_do_not_end_and_no_more() {
        let (impatient, patient) = stages();
        let (releases, released): (Vec<_>, Vec<_>) = (0..OVERDUE).map(|_| mpsc::channel::<()>()).unzip();
        for (n, released) in released.into_iter().enumerate() {
            let ran = impatient.run(&object("a", &format!("slow{n}"), 1), hanging(released)).await;
            assert_eq!(reason(ran), Some(Reason::TooExpensive));
        }
        let ran = impatient.run(&object("a", "other", 1), || Ok(())).await;
        assert!(refusal(ran).unwrap().message.contains("correct or delete those first"));
        assert_eq!(reason(patient.run(&object("b", "other", 1), || Ok(())).await), None);
        drop(releases);
    }

    #[tokio::test]
    async fn a_panic_is_told_of_the_object() {
        let ran = stages().1.run(&object("a", "b", 1), || panic!("in a test")).await;
        assert_eq!(reason(ran), Some(Reason::InternalError));
    }
}
