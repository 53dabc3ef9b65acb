//! Waiting for a connection: by a watch, with the progress on standard error.

use std::io::Write;
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{DefaultBackoff, watch_object};
use kube::{Api, Client};

use super::Failure;
use super::terminal::{FAINT, painted};
use crate::api::BucketConnection;
use crate::cli::cluster::explain;
use crate::cli::shell::as_called;
use crate::kubernetes::of_watch;
use crate::render::printable;
use crate::vocabulary::problem::Class;

/// Whether and how long to wait.
#[derive(clap::Args)]
pub(super) struct Waiting {
    /// Return when the request is written, and do not wait for the result
    #[arg(long)]
    pub no_wait: bool,

    /// How long to wait for the result, such as 90s or 10m; the request stays afterwards
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    timeout: Duration,

    /// Do not show the progress on standard error
    #[arg(short, long)]
    quiet: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "write it as 90s, 10m or 1h30m".to_owned();
    let duration: kube::core::duration::Duration = text.parse().map_err(|_| wrong())?;
    let duration = Duration::from(duration);
    if duration.is_zero() { Err(wrong()) } else { Ok(duration) }
}

/// What a command finds when the object has changed.
pub(super) enum Found<T> {
    /// It waits, and for what.
    Waiting(String),
    /// The result.
    Ended(T),
}

impl Waiting {
    /// Waits until `check` ends; it gets each new state of the connection, `None` if there is none.
    pub(super) async fn until<T>(
        &self,
        client: &Client,
        namespace: &str,
        name: &str,
        mut check: impl FnMut(Option<&BucketConnection>) -> Found<T>,
    ) -> Result<T, Failure> {
        let shown = format!("{namespace}/{name}");
        let objects: Api<DeserializeGuard<BucketConnection>> = Api::namespaced(client.clone(), namespace);
        let mut states = pin!(watch_object(objects, name).backoff(DefaultBackoff::default()));
        let mut last = String::new();
        let watched = async {
            while let Some(state) = states.next().await {
                let text = match state {
                    Ok(None) => match check(None) {
                        Found::Ended(result) => return Ok(result),
                        Found::Waiting(text) => text,
                    },
                    Ok(Some(DeserializeGuard(Ok(object)))) => match check(Some(&object)) {
                        Found::Ended(result) => return Ok(result),
                        Found::Waiting(text) => text,
                    },
                    Ok(Some(DeserializeGuard(Err(invalid)))) => format!("it cannot be read: {}", invalid.error),
                    Err(error) => match of_watch("bucketconnections", &error) {
                        problem if problem.class == Class::Denied => {
                            return Err(Failure(format!("{shown}: {}; the request stays", explain(&problem))));
                        }
                        problem => format!("the watch failed and begins again: {}", problem.brief()),
                    },
                };
                if text != last {
                    self.show(&format!("{shown}: {text}"));
                    last = text;
                }
            }
            Err(Failure(format!("{shown}: the watch ended")))
        };
        match tokio::time::timeout(self.timeout, watched).await {
            Ok(ended) => ended,
            Err(_) => {
                let seconds = self.timeout.as_secs();
                Err(Failure(format!(
                    "{shown}: no result after {seconds} s; the request stays. Last: {last}; bucketconnection doctor checks whether the operator works"
                )))
            }
        }
    }

    fn show(&self, text: &str) {
        if !self.quiet {
            let _ = writeln!(anstream::stderr(), "{}", painted(FAINT, printable(&as_called(text))));
        }
    }
}

/// The result of `work`; `None` if the user presses Ctrl-C first.
pub(super) async fn interruptible<T>(work: impl Future<Output = T>) -> Result<Option<T>, Failure> {
    tokio::select! {
        result = work => Ok(Some(result)),
        pressed = tokio::signal::ctrl_c() => pressed.map(|()| None).map_err(Failure::from),
    }
}
