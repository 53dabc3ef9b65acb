//! `bucketconnection get`.

use std::process::ExitCode;

use futures::StreamExt;
use jiff::Timestamp;
use serde::Serialize;
use tokio::time::{Duration, interval};

use super::interrupted;
use super::read::{Change, Connections, Seen};
use crate::cli::Failure;
use crate::cli::connections::{Selection, absent};
use crate::cli::terminal::{is_terminal, print, print_json, print_on, print_yaml, redraw, screen, warn, width};
use crate::render::connection::{Layout, Overview, table};
use crate::render::screen::Section;

/// How often ages on the screen are brought up to date.
const AGES: Duration = Duration::from_secs(10);

/// List connections: Ready or why not, bucket, key age, next rotation, drift
///
/// Needs only the permission to list bucketconnections in the namespace. On a narrow terminal the table has fewer columns; -o wide has
/// all. The JSON is described in docs/cli.md.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  kubectl bucketconnection get                 # the connections of the current namespace
  kubectl bucketconnection get -A --watch      # of all namespaces, redrawn when one changes
  kubectl bucketconnection get -l team=a -o json")]
pub(in crate::cli) struct Get {
    #[command(flatten)]
    selection: Selection,

    /// Format of the output
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Output,

    /// Stay, and show each change
    #[arg(short, long)]
    watch: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    Table,
    Wide,
    Json,
    Yaml,
    Name,
}

/// What is printed as JSON and YAML.
#[derive(Serialize)]
struct Items<'a> {
    items: &'a [Overview],
}

impl Get {
    pub(in crate::cli) async fn run(&self) -> Result<ExitCode, Failure> {
        let client = self.selection.cluster.client().await?;
        let connections = Connections::of(&client, &self.selection);
        if self.watch {
            return self.follow(&connections).await;
        }
        let (seen, missing) = connections.list().await?;
        let namespace = self.selection.namespace(&client);
        for name in &missing {
            warn(&absent(namespace, name));
        }
        if seen.is_empty() && missing.is_empty() && matches!(self.output, Output::Table | Output::Wide) {
            warn(&self.selection.nothing(&client));
            return Ok(ExitCode::SUCCESS);
        }
        let overviews = overviews(&seen);
        match self.output {
            Output::Table | Output::Wide if seen.is_empty() => {}
            Output::Table | Output::Wide => {
                print(&screen(&[self.table(&overviews)]));
            }
            Output::Json => print_json(&Items { items: &overviews })?,
            Output::Yaml => print_yaml(&Items { items: &overviews })?,
            Output::Name => {
                print(&overviews.iter().map(name).collect::<String>());
            }
        }
        Ok(if missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn table(&self, overviews: &[Overview]) -> Section {
        let layout = Layout {
            wide: self.output == Output::Wide,
            namespaces: self.selection.all_namespaces,
            width: is_terminal().then(|| width().into()),
        };
        table(overviews, layout, Timestamp::now())
    }

    /// Shows each change until Ctrl-C.
    async fn follow(&self, connections: &Connections) -> Result<ExitCode, Failure> {
        let draws = is_terminal() && matches!(self.output, Output::Table | Output::Wide);
        let mut changes = std::pin::pin!(connections.watch());
        let (mut all, mut first, mut ages) = (Vec::new(), true, interval(AGES));
        // Once for all rounds: a signal that comes while the screen is drawn is not lost.
        let mut stop = std::pin::pin!(tokio::signal::ctrl_c());
        loop {
            tokio::select! {
                change = changes.next() => {
                    let Some(change) = change else { return Ok(ExitCode::SUCCESS) };
                    let change = change?;
                    if !draws {
                        if !self.print(&change, first)? {
                            return Ok(ExitCode::SUCCESS);
                        }
                        first = false;
                        continue;
                    }
                    (all, first) = (change.all, false);
                }
                _ = ages.tick() => {}
                signal = &mut stop => {
                    signal?;
                    return Ok(interrupted());
                }
            }
            if draws && !first {
                redraw(&screen(&[self.table(&overviews(&all))]));
            }
        }
    }

    /// Prints a change as lines, one for each object; returns whether there is still a reader.
    fn print(&self, change: &Change, first: bool) -> Result<bool, Failure> {
        let of = overviews(&change.changed);
        let text = match self.output {
            Output::Table | Output::Wide => {
                let mut section = self.table(&of);
                if !first {
                    section.header.clear();
                }
                let gone = change.gone.iter().map(|seen| format!("{} deleted\n", seen.overview(Timestamp::now()).title()));
                format!("{}{}", screen(&[section]), gone.collect::<String>())
            }
            Output::Json => of.iter().map(|of| Ok(serde_json::to_string(of)? + "\n")).collect::<Result<_, Failure>>()?,
            Output::Yaml => {
                of.iter().map(|of| Ok(format!("---\n{}", serde_saphyr::to_string(of)?))).collect::<Result<_, Failure>>()?
            }
            Output::Name => of.iter().map(name).collect(),
        };
        Ok(print_on(&text))
    }
}

fn overviews(seen: &[Seen]) -> Vec<Overview> {
    let now = Timestamp::now();
    seen.iter().map(|seen| seen.overview(now)).collect()
}

/// As `kubectl get -o name` prints it.
fn name(of: &Overview) -> String {
    format!("bucketconnection.bucketconnection.dev/{}\n", of.name)
}
