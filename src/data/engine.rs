//! Runs many transfers in parallel, and ends them all at once if there is a reason.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::{Fault, Head, Store, copy, download, upload};

/// So many faults of the same cause without a success between them mean that all other objects would fail, too: the key lost its
/// permissions, the network is gone, or the target cannot be written.
const IN_A_ROW: usize = 8;
/// So many are reported together, before the end.
const MOST_HELD: usize = 1_000;

/// The limit of AWS (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html>).
pub const COPIED_AT_ONCE: u64 = 5 << 30;

/// Follows the transfers, to show their progress.
pub trait Watch: Send + Sync {
    /// An object of this size was found.
    fn found(&self, size: u64);
    /// So many bytes of an object were transferred.
    fn moved(&self, bytes: u64);
    /// So many bytes were there already, from an interrupted transfer.
    fn kept(&self, bytes: u64);
    /// An object is complete.
    fn finished(&self);
    /// An object failed.
    fn failed(&self, name: &str, fault: &Fault);
}

/// What transfers share.
pub struct Engine {
    /// Follows the transfers.
    pub watch: Arc<dyn Watch>,
    /// Ends all transfers. What is complete of them is kept.
    pub stop: CancellationToken,
    /// Whether to begin again where an earlier transfer was interrupted.
    pub restart: bool,
    /// The largest object that S3 copies in one call; larger ones are copied in parts.
    pub copied_at_once: u64,
    parallel: usize,
    requests: Arc<Semaphore>,
    unfinished: AtomicUsize,
}

/// Whether parts of an object are kept, until it is complete or they are discarded.
pub(super) struct Kept<'a> {
    engine: &'a Engine,
    some: bool,
}

impl<'a> Kept<'a> {
    pub(super) fn new(engine: &'a Engine) -> Self {
        Self { engine, some: false }
    }

    /// So many bytes are there from an earlier transfer.
    pub(super) fn earlier(&mut self, bytes: u64) {
        if bytes > 0 {
            self.engine.watch.kept(bytes);
            self.some();
        }
    }

    /// There is a part.
    pub(super) fn some(&mut self) {
        self.engine.unfinished.fetch_add(usize::from(!self.some), Ordering::Relaxed);
        self.some = true;
    }

    /// There are none, or not any longer.
    pub(super) fn none(&mut self) {
        self.engine.unfinished.fetch_sub(usize::from(self.some), Ordering::Relaxed);
        self.some = false;
    }
}

/// One transfer.
pub struct Job {
    /// What to call it in a message.
    pub name: String,
    /// The size of the object.
    pub size: u64,
    /// What to do.
    pub work: Work,
}

/// What to do.
pub enum Work {
    /// Write a file to an object.
    Upload {
        /// The file.
        path: PathBuf,
        /// The bucket.
        store: Arc<Store>,
        /// The key.
        key: String,
    },
    /// Write an object to a file.
    Download {
        /// The bucket.
        store: Arc<Store>,
        /// The key.
        key: String,
        /// What was listed: another version of the object is not read.
        listed: Option<Head>,
        /// The folder that nothing is written outside of.
        root: PathBuf,
        /// The name of the file below it.
        name: String,
    },
    /// Write an object to another object.
    Copy {
        /// The bucket to read.
        from: Arc<Store>,
        /// The key to read.
        key: String,
        /// What was listed.
        listed: Option<Head>,
        /// The bucket to write.
        store: Arc<Store>,
        /// The key to write.
        to: String,
    },
}

/// The result of many transfers.
#[derive(Debug, Default)]
pub struct Summary {
    /// Objects that were transferred.
    pub objects: u64,
    /// Their size.
    pub bytes: u64,
    /// Those among them that S3 has no checksum of the whole object for.
    pub unverified: u64,
    /// Objects that failed.
    pub failed: u64,
    /// Why all transfers ended early.
    pub ended: Option<Fault>,
}

impl Summary {
    /// Whether everything was transferred.
    pub fn is_complete(&self) -> bool {
        self.failed == 0 && self.ended.is_none()
    }
}

/// One object that was transferred.
pub(super) struct Transferred {
    pub bytes: u64,
    pub verified: bool,
}

impl Engine {
    /// An engine that sends so many requests at a time.
    pub fn new(parallel: usize, restart: bool, watch: Arc<dyn Watch>) -> Self {
        let (stop, requests) = (CancellationToken::new(), Arc::new(Semaphore::new(parallel)));
        let (copied_at_once, unfinished) = (COPIED_AT_ONCE, AtomicUsize::new(0));
        Self { watch, stop, restart, copied_at_once, parallel, requests, unfinished }
    }

    /// Whether parts of objects that are not complete are kept.
    pub fn keeps_parts(&self) -> bool {
        self.unfinished.load(Ordering::Relaxed) > 0
    }

    /// Runs the jobs as they come. Ends when all are done, or at once if nothing more can succeed.
    pub async fn run(self: &Arc<Self>, mut jobs: BoxStream<'_, Result<Job, (String, Fault)>>) -> Summary {
        let (mut running, mut tally) = (JoinSet::new(), Tally::new(self));
        let mut listed = false;
        while !(listed && running.is_empty()) && tally.summary.ended.is_none() {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => tally.summary.ended = Some(Fault::Stopped),
                Some(done) = running.join_next() => match done {
                    Ok((name, outcome)) => tally.add(name, outcome),
                    Err(error) => tally.add(String::new(), Err(failed_task(&error))),
                },
                job = jobs.next(), if !listed && running.len() < self.parallel => match job {
                    Some(Ok(job)) => {
                        self.watch.found(job.size);
                        let engine = self.clone();
                        running.spawn(async move { (job.name, engine.transfer(job.work).await) });
                    }
                    Some(Err((name, fault))) => tally.add(name, Err(fault)),
                    None => listed = true,
                },
            }
        }
        // Dropping the tasks ends them.
        running.shutdown().await;
        tally.finish()
    }

    async fn transfer(self: Arc<Self>, work: Work) -> Result<Transferred, Fault> {
        match work {
            Work::Upload { path, store, key } => upload::upload(&self, &path, &store, &key).await,
            Work::Download { store, key, listed, root, name } => {
                download::download(&self, &store, &key, listed, &root, &name).await
            }
            Work::Copy { from, key, listed, store, to } => copy::copy(&self, &from, &key, listed, &store, &to).await,
        }
    }

    /// Waits until so many requests may be sent, or as many as can be at a time. At once: two transfers that each wait
    /// for their second turn would wait for each other.
    pub(super) async fn turns(&self, requests: usize) -> Option<tokio::sync::OwnedSemaphorePermit> {
        let requests = u32::try_from(requests.clamp(1, self.parallel)).unwrap_or(1);
        self.requests.clone().acquire_many_owned(requests).await.ok()
    }

    /// Waits until a request may be sent.
    pub(super) async fn turn(&self) -> Option<tokio::sync::OwnedSemaphorePermit> {
        self.requests.clone().acquire_owned().await.ok()
    }

    /// Does the work for each item, each with so many turns of the engine. Ends with the first fault.
    pub(super) async fn each<T, R: Send + 'static, F>(
        &self,
        turns: usize,
        items: impl Iterator<Item = T>,
        work: impl Fn(T) -> F,
        mut done: impl FnMut(R) -> Result<(), Fault>,
    ) -> Result<(), Fault>
    where
        F: Future<Output = Result<R, Fault>> + Send + 'static,
    {
        let turns = u32::try_from(turns.clamp(1, self.parallel)).unwrap_or(1);
        let mut running = JoinSet::new();
        let result = self.feed(turns, items, work, &mut done, &mut running).await;
        // No task may use the file or upload any longer.
        running.shutdown().await;
        result
    }

    async fn feed<T, R: Send + 'static, F>(
        &self,
        turns: u32,
        items: impl Iterator<Item = T>,
        work: impl Fn(T) -> F,
        done: &mut impl FnMut(R) -> Result<(), Fault>,
        running: &mut JoinSet<Result<R, Fault>>,
    ) -> Result<(), Fault>
    where
        F: Future<Output = Result<R, Fault>> + Send + 'static,
    {
        let ended = |ended: Result<Result<R, Fault>, JoinError>| ended.map_err(|error| failed_task(&error))?;
        for item in items {
            let turn = loop {
                tokio::select! {
                    Some(result) = running.join_next() => done(ended(result)?)?,
                    turn = self.requests.clone().acquire_many_owned(turns) => break turn,
                }
            };
            let work = work(item);
            running.spawn(async move {
                let _turn = turn;
                work.await
            });
        }
        while let Some(result) = running.join_next().await {
            done(ended(result)?)?;
        }
        Ok(())
    }
}

fn failed_task(error: &JoinError) -> Fault {
    if error.is_panic() { Fault::Object("this program failed; report it as a bug".to_owned()) } else { Fault::Stopped }
}

/// Counts, and decides when to end.
struct Tally<'a> {
    engine: &'a Engine,
    /// Faults that others may have too. They are reported in the end: by one message if everything ended for their cause.
    held: Vec<(String, Fault)>,
    /// The cause of the last of them, and how often it came since the last success.
    in_a_row: (Option<&'static str>, usize),
    summary: Summary,
}

impl<'a> Tally<'a> {
    fn new(engine: &'a Engine) -> Self {
        Self { engine, held: Vec::new(), in_a_row: (None, 0), summary: Summary::default() }
    }

    fn add(&mut self, name: String, outcome: Result<Transferred, Fault>) {
        match outcome {
            Ok(done) => {
                self.summary.objects += 1;
                self.summary.bytes += done.bytes;
                self.summary.unverified += u64::from(!done.verified);
                self.engine.watch.finished();
                self.in_a_row = (None, 0);
            }
            Err(fault) if fault.ends_all() => self.summary.ended = Some(fault),
            Err(fault) => {
                self.summary.failed += 1;
                match fault.cause() {
                    None => self.engine.watch.failed(&name, &fault),
                    cause => self.hold(cause, name, fault),
                }
            }
        }
    }

    fn hold(&mut self, cause: Option<&'static str>, name: String, fault: Fault) {
        let before = if self.in_a_row.0 == cause { self.in_a_row.1 } else { 0 };
        self.in_a_row = (cause, before + 1);
        if before + 1 >= IN_A_ROW {
            self.held.retain(|(_, held)| held.cause() != cause);
            self.summary.ended = Some(fault);
            return;
        }
        self.held.push((name, fault));
        if self.held.len() >= MOST_HELD {
            self.report();
        }
    }

    fn report(&mut self) {
        for (name, fault) in self.held.drain(..) {
            self.engine.watch.failed(&name, &fault);
        }
    }

    fn finish(mut self) -> Summary {
        self.report();
        self.summary
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::vocabulary::problem::{Class, Problem};

    #[derive(Default)]
    struct Reports(Mutex<Vec<String>>);

    impl Watch for Reports {
        fn found(&self, _: u64) {}
        fn moved(&self, _: u64) {}
        fn kept(&self, _: u64) {}
        fn finished(&self) {}
        fn failed(&self, name: &str, fault: &Fault) {
            self.0.lock().unwrap().push(format!("{name} {}", fault.code()));
        }
    }

    /// How many faults are reported for these outcomes, and the code of the one that ends everything.
    fn reported(outcomes: &[(&Class, &str, usize)]) -> (usize, Option<String>) {
        let reports = Arc::new(Reports::default());
        let engine = Engine::new(1, false, reports.clone());
        let mut tally = Tally::new(&engine);
        for (class, code, times) in outcomes {
            for _ in 0..*times {
                let fault = || Fault::from(Problem::new((*class).clone(), "s3:GetObject", *code, ""));
                let done = || Transferred { bytes: 1, verified: true };
                tally.add("x".to_owned(), if code.is_empty() { Ok(done()) } else { Err(fault()) });
            }
        }
        let ended = tally.finish().ended.map(|fault| fault.code().to_owned());
        (reports.0.lock().unwrap().len(), ended)
    }

    #[test]
    fn only_the_same_cause_in_a_row_ends_everything() {
        let few = IN_A_ROW - 1;
        let denied = (&Class::Denied, "AccessDenied", few);
        let (gone, slow) = ((&Class::Unavailable, "Unreachable", few), (&Class::Unavailable, "Timeout", 1));
        let success = (&Class::Missing, "", 1);
        // A timeout and a refused connection have the same cause.
        assert_eq!(reported(&[gone, slow]), (0, Some("Timeout".to_owned())));
        assert_eq!(reported(&[gone, success, gone, denied]), (3 * few, None));
        assert_eq!(reported(&[denied, success, gone, slow]), (few, Some("Timeout".to_owned())));
        assert_eq!(reported(&[(&Class::Missing, "NoSuchKey", 100)]), (100, None));
    }
}
