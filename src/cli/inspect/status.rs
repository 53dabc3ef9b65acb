//! `bucketconnection status`.

use std::process::ExitCode;

use futures::StreamExt;
use futures::stream::select;
use jiff::Timestamp;
use kube::{Client, ResourceExt};
use tokio::time::{Duration, interval};

use super::interrupted;
use super::read::{Change, Connections, Seen, news};
use crate::cli::Failure;
use crate::cli::cluster::Namespaced;
use crate::cli::connections::absent;
use crate::cli::terminal::{is_terminal, print, print_json, print_on, print_yaml, redraw, screen};
use crate::kubernetes::events;
use crate::render::connection::{Event, Overview, changes, screen as sections};
use crate::vocabulary::problem::Class;

/// How often ages on the screen are brought up to date.
const AGES: Duration = Duration::from_secs(10);

/// Show one connection: each part with its state, and what to do about a broken one
///
/// The parts are spec, account, bucket, policy, user, key, Secret and verification, each of which depends on those before it. Also shows
/// what the key can do, who can read the Secret, drift with its values before and after, the next reconcile, and recent Events.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  kubectl bucketconnection status genomics
  kubectl bucketconnection status genomics --watch          # redrawn when it changes
  kubectl bucketconnection status genomics -o json | jq .nextReconcile")]
pub(in crate::cli) struct Status {
    /// Name of the BucketConnection
    name: String,

    #[command(flatten)]
    cluster: Namespaced,

    /// Format of the output
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Output,

    /// Stay, and show each change
    #[arg(short, long)]
    watch: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    Text,
    Json,
    Yaml,
}

/// An overview, and why it has no Events.
type Shown = (Overview, Option<String>);

impl Status {
    pub(in crate::cli) async fn run(&self) -> Result<ExitCode, Failure> {
        let (client, namespace) = self.cluster.client().await?;
        let connections = Connections::named(&client, Some(&namespace), std::slice::from_ref(&self.name));
        let (seen, _) = connections.list().await?;
        let Some(seen) = seen.first() else {
            return Err(Failure(absent(&namespace, &self.name)));
        };
        if self.watch {
            return self.follow(&client, seen.clone(), &connections).await;
        }
        let shown = shown(&client, seen).await?;
        match self.output {
            Output::Text => {
                print(&text(&shown));
            }
            Output::Json => print_json(&shown.0)?,
            Output::Yaml => print_yaml(&shown.0)?,
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Shows each change until the connection is deleted, or Ctrl-C.
    async fn follow(&self, client: &Client, mut seen: Seen, connections: &Connections) -> Result<ExitCode, Failure> {
        let draws = is_terminal() && self.output == Output::Text;
        let (namespace, uid) = (seen.object.namespace().unwrap_or_default(), seen.object.uid().unwrap_or_default());
        let events = news(client, &namespace, &uid).map(|()| Ok(None));
        let watched = connections.watch().map(|change| change.map(Some));
        let mut news = std::pin::pin!(select(watched, events));
        let (mut last, mut ages): (Option<Shown>, _) = (None, interval(AGES));
        // Once for all rounds: a signal that comes while the screen is drawn is not lost.
        let mut stop = std::pin::pin!(tokio::signal::ctrl_c());
        loop {
            tokio::select! {
                new = news.next() => {
                    if let Some(Change { mut all, .. }) = new.transpose()?.flatten() {
                        let Some(found) = all.pop() else {
                            print(&format!("{namespace}/{} deleted\n", self.name));
                            return Ok(ExitCode::SUCCESS);
                        };
                        seen = found;
                    }
                    let new = shown(client, &seen).await?;
                    if !draws && !self.print(last.as_ref().map(|(of, _)| of), &new.0)? {
                        return Ok(ExitCode::SUCCESS);
                    }
                    last = Some(new);
                }
                _ = ages.tick() => {}
                signal = &mut stop => {
                    signal?;
                    return Ok(interrupted());
                }
            }
            if let Some(last) = last.as_ref().filter(|_| draws) {
                redraw(&text(last));
            }
        }
    }

    /// Prints what changed; returns whether there is still a reader.
    fn print(&self, before: Option<&Overview>, after: &Overview) -> Result<bool, Failure> {
        let text = match self.output {
            Output::Text => changes(before, after).into_iter().map(|line| crate::render::printable(&line) + "\n").collect(),
            Output::Json => serde_json::to_string(after)? + "\n",
            Output::Yaml => format!("---\n{}", serde_saphyr::to_string(after)?),
        };
        Ok(print_on(&text))
    }
}

fn text((of, not_read): &Shown) -> String {
    screen(&sections(of, not_read.as_deref(), Timestamp::now()))
}

/// The overview of `seen` with its Events.
async fn shown(client: &Client, seen: &Seen) -> Result<Shown, Failure> {
    let mut of = seen.overview(Timestamp::now());
    let text = |text: Option<String>| text.unwrap_or_default();
    let uid = seen.object.uid().unwrap_or_default();
    match events(client, &of.namespace, &uid).await {
        Ok(events) => {
            let event = events.into_iter().map(|event| Event {
                at: event.event_time.map(|at| at.0).or_else(|| event.deprecated_last_timestamp.map(|at| at.0)),
                kind: text(event.type_),
                reason: text(event.reason),
                note: text(event.note),
            });
            of.events = Some(event.collect());
            Ok((of, None))
        }
        Err(problem) if problem.class == Class::Denied => {
            let why = format!("not read: needs list events.events.k8s.io in {}", of.namespace);
            Ok((of, Some(why)))
        }
        Err(problem) => Err(problem.into()),
    }
}
