//! `bucketconnection rotate`, `revoke` and `reconcile`: annotations that request something, and the wait for its result.

use std::process::ExitCode;

use futures::stream::{self, StreamExt};
use jiff::Timestamp;
use kube::{Client, ResourceExt};
use serde_json::json;

use super::{patch, shown};
use crate::api::BucketConnection;
use crate::cli::connections::Selection;
use crate::cli::terminal::{GOOD, confirm, painted, print, print_json, print_yaml, say, warn};
use crate::cli::wait::{Found, Waiting, interruptible};
use crate::cli::{Failure, INTERRUPTED};
use crate::render::requests::{Answer, Progress, Request};
use crate::render::{printable, requests};

/// How many connections are waited for at the same time.
const AT_ONCE: usize = 16;

/// Replace the access key now
///
/// The operator issues another key, verifies it, and puts it into the Secret. The previous key works until the end of the overlap
/// (credentials.rotation.overlap), so that you can paste the new one. Waits for the result, and prints both key ids.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  kubectl bucketconnection rotate genomics
  kubectl bucketconnection rotate -n lab-a -l team=sequencing --timeout 15m")]
pub(in crate::cli) struct Rotate {
    #[command(flatten)]
    selection: Selection,

    #[command(flatten)]
    how: How,
}

/// Delete all access keys of a connection, and deny all sessions made with them
///
/// For a key that someone else may have. Everything that uses the key or a session made with it stops at once: also running uploads
/// and analyses. The operator then issues another key. Asks before it does that; --yes answers.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  kubectl bucketconnection revoke genomics
  kubectl bucketconnection revoke genomics -n lab-a --yes

See docs/operations.md, \"A leaked key\".")]
pub(in crate::cli) struct Revoke {
    #[command(flatten)]
    selection: Selection,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,

    #[command(flatten)]
    how: How,
}

/// Reconcile now, and not at the next interval
///
/// Waits for the reconcile, and prints whether the connection is Ready. The exit code is 1 if it is not.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  kubectl bucketconnection reconcile genomics
  kubectl bucketconnection reconcile -A --all --timeout 10m")]
pub(in crate::cli) struct Reconcile {
    #[command(flatten)]
    selection: Selection,

    /// All BucketConnections of the namespace, or with -A of all namespaces
    #[arg(long, conflicts_with_all = ["names", "selector"])]
    all: bool,

    #[command(flatten)]
    how: How,
}

/// How to wait, and how to print the results.
#[derive(clap::Args)]
struct How {
    #[command(flatten)]
    waiting: Waiting,

    /// Format of the results, for programs
    #[arg(short, long, value_name = "FORMAT", conflicts_with = "no_wait")]
    output: Option<Output>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Output {
    Json,
    Yaml,
}

impl Rotate {
    pub(in crate::cli) async fn run(&self) -> Result<ExitCode, Failure> {
        let selected = self.selection.read_to_change().await?;
        self.how.run(Request::Rotate, &selected.client, selected.objects).await
    }
}

impl Revoke {
    pub(in crate::cli) async fn run(&self) -> Result<ExitCode, Failure> {
        let selected = self.selection.read_to_change().await?;
        let found: Vec<_> = selected.objects.iter().flatten().collect();
        for object in found.iter().filter(|object| Request::Revoke.refused(object).is_none()) {
            print(&format!("{}\n", requests::consequences(object)));
        }
        let expected = found.iter().map(|object| object.name_any()).collect::<Vec<_>>().join(" ");
        if !(self.yes || found.is_empty() || confirm("Revoke all of this?", &expected, "--yes").await?) {
            return Err(Failure("nothing is revoked: the answer was another one".to_owned()));
        }
        self.how.run(Request::Revoke, &selected.client, selected.objects).await
    }
}

impl Reconcile {
    pub(in crate::cli) async fn run(&self) -> Result<ExitCode, Failure> {
        if !(self.all || self.selection.is_narrow()) {
            return Err(Failure("name a BucketConnection, select some with -l, or add --all".to_owned()));
        }
        let selected = self.selection.read().await?;
        self.how.run(Request::Reconcile, &selected.client, selected.objects).await
    }
}

impl How {
    /// Requests it for all `objects`, and prints the results in their order.
    async fn run(
        &self,
        request: Request,
        client: &Client,
        objects: Vec<Result<BucketConnection, Failure>>,
    ) -> Result<ExitCode, Failure> {
        let at = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
        let work = async {
            let each = objects.into_iter().map(async |object| self.request(request, &at, client, &object?).await);
            let mut results = stream::iter(each).buffered(AT_ONCE);
            let (mut answers, mut failed) = (Vec::new(), false);
            while let Some(result) = results.next().await {
                match result {
                    Ok(Some(answer)) => {
                        failed |= request == Request::Reconcile && !answer.is_ready();
                        if self.output.is_none() {
                            show(&answer);
                        }
                        answers.push(answer);
                    }
                    Ok(None) => {}
                    Err(Failure(text)) => {
                        failed = true;
                        warn(&text);
                    }
                }
            }
            (answers, failed)
        };
        let Some((answers, failed)) = interruptible(work).await? else {
            warn("stopped waiting; what was requested stays, and the operator carries it out");
            return Ok(ExitCode::from(INTERRUPTED));
        };
        match self.output {
            Some(Output::Json) => print_json(&answers)?,
            Some(Output::Yaml) => print_yaml(&answers)?,
            None => {}
        }
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    /// Requests it for one connection; its result, unless no one waits for it.
    async fn request(
        &self,
        request: Request,
        at: &str,
        client: &Client,
        object: &BucketConnection,
    ) -> Result<Option<Answer>, Failure> {
        let name = shown(object);
        if let Some(why) = request.refused(object) {
            return Err(Failure(format!("{name}: {why}")));
        }
        let annotations: serde_json::Map<_, _> =
            request.annotations(at).into_iter().map(|(annotation, at)| (annotation.to_owned(), at.into())).collect();
        patch(client, object, json!({ "metadata": { "annotations": annotations } })).await?;
        if self.waiting.no_wait {
            print(&format!("{name}: requested\n"));
            return Ok(None);
        }
        let (namespace, own) = (object.namespace().unwrap_or_default(), object.name_any());
        let ended = self.waiting.until(client, &namespace, &own, |now| {
            let Some(now) = now else { return Found::Ended(Err("it was deleted".to_owned())) };
            match requests::progress(request, at, object, now) {
                Progress::Waiting(text) => Found::Waiting(text),
                Progress::Done(answer) => Found::Ended(Ok(*answer)),
                Progress::Blocked(text) => Found::Ended(Err(format!("{text}; the request stays"))),
            }
        });
        ended.await?.map(Some).map_err(|text| Failure(format!("{name}: {text}")))
    }
}

fn show(answer: &Answer) {
    let text = answer.text();
    let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let first = printable(first);
    let first = if answer.is_ready() { painted(GOOD, first) } else { first };
    let rest = rest.lines().fold(String::new(), |all, line| all + &printable(line) + "\n");
    say(&format!("{first}\n{rest}"));
}
