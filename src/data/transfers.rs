//! Runs many transfers in parallel, and ends them all at once if there is a reason.

use std::path::PathBuf;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::task::JoinSet;

use super::engine::{Transferred, failed_task};
use super::{Engine, Fault, Head, Store, copy, download, upload};

/// So many faults of the same cause without a success between them mean that all other objects would fail, too: the key lost its
/// permissions, the network is gone, or the target cannot be written.
const IN_A_ROW: usize = 8;
/// So many are reported together, before the end.
const MOST_HELD: usize = 1_000;

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

impl Engine {
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
    use crate::data::Watch;
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
