//! What transfers share: who watches and stops them, and how many requests are sent at a time.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::Fault;

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
    pub(super) parallel: usize,
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

pub(super) fn failed_task(error: &JoinError) -> Fault {
    if error.is_panic() { Fault::Object("this program failed; report it as a bug".to_owned()) } else { Fault::Stopped }
}
