//! Runs many transfers in parallel, and ends them all at once if there is a reason.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::{Fault, Head, Store, copy, download, upload};

/// So many refusals without a success between them mean that the key lost its permissions.
const DENIED_IN_A_ROW: usize = 8;

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
    parallel: usize,
    requests: Arc<Semaphore>,
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
    pub fn new(parallel: usize, restart: bool, watch: Arc<dyn Watch>) -> Arc<Self> {
        let (stop, requests) = (CancellationToken::new(), Arc::new(Semaphore::new(parallel)));
        Arc::new(Self { watch, stop, restart, parallel, requests })
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
    /// Objects that the key had no permission for. They are reported in the end, unless they are all for one reason.
    denied: Vec<(String, Fault)>,
    /// Such refusals since the last success.
    in_a_row: usize,
    summary: Summary,
}

impl<'a> Tally<'a> {
    fn new(engine: &'a Engine) -> Self {
        Self { engine, denied: Vec::new(), in_a_row: 0, summary: Summary::default() }
    }

    fn add(&mut self, name: String, outcome: Result<Transferred, Fault>) {
        match outcome {
            Ok(done) => {
                self.summary.objects += 1;
                self.summary.bytes += done.bytes;
                self.summary.unverified += u64::from(!done.verified);
                self.engine.watch.finished();
                self.in_a_row = 0;
            }
            Err(fault) if fault.ends_all() => self.summary.ended = Some(fault),
            Err(fault) if fault.is_denied() => {
                self.summary.failed += 1;
                self.in_a_row += 1;
                if self.in_a_row >= DENIED_IN_A_ROW {
                    self.denied.clear();
                    self.summary.ended = Some(fault);
                } else {
                    self.denied.push((name, fault));
                }
            }
            Err(fault) => {
                self.summary.failed += 1;
                self.engine.watch.failed(&name, &fault);
            }
        }
    }

    fn finish(mut self) -> Summary {
        for (name, fault) in self.denied.drain(..) {
            self.engine.watch.failed(&name, &fault);
        }
        self.summary
    }
}
