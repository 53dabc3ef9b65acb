//! `bucketconnection plan`.

use std::process::ExitCode;

use clap::ValueEnum;
use futures::StreamExt;

use super::Files;
use super::subjects::{PARALLEL, Subject, Subjects};
use crate::cli::Failure;
use crate::cli::connections::Selection;
use crate::cli::terminal::{BAD, CHANGED, FAINT, GOOD, HEADING, painted, print, print_json, print_yaml, say, warn};
use crate::controller::Preview;
use crate::render;
use crate::render::overview::{Object, Overview, View};

/// Show what the operator would change, and change nothing
///
/// Compares BucketConnections with AWS, and prints the steps that the operator would execute: the very plan of the next reconcile, why
/// each step is part of it, each field that differs, and what the plan destroys, weakens or cuts off. The BucketConnections are those
/// of files, or those of the cluster that you name or select. It reports an object on standard error if the object is invalid or
/// refused, or if another BucketConnection has its bucket or user; it plans the others. Exit code 0: everything is in sync. 2: there
/// are changes or problems. 1: no plan was possible for at least one object, or a file is invalid.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  bucketconnection plan -f connection.yaml
  bucketconnection plan genomics -n lab-a   # what the operator would do now
  bucketconnection plan -l team=a -A
  kustomize build . | bucketconnection plan -f -
  bucketconnection plan -f connections/ -o markdown > comment.md
  bucketconnection plan -f connections/ --no-cluster")]
pub(in crate::cli) struct Plan {
    #[command(flatten)]
    files: Files,

    #[command(flatten)]
    selection: Selection,

    /// If the cluster has no AWSAccount of that name, sign in with the one in the files: with its Secret, roles and endpoints, and with
    /// your own permissions. Use it only for files that you trust
    #[arg(long, requires = "files")]
    accounts_from_file: bool,

    /// Use no cluster: take the AWSAccounts from the files, and sign in to AWS with the credentials of the environment. The plan then
    /// knows no Secret, no status and no other BucketConnections, and says what it cannot know
    #[arg(long, requires = "files", conflicts_with_all = ["kubeconfig", "context", "user", "accounts_from_file"])]
    no_cluster: bool,

    /// Format of the output
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
    Yaml,
    Markdown,
}

/// There are changes or problems.
const CHANGES: u8 = 2;

impl Plan {
    pub(in crate::cli) async fn run(&self) -> Result<ExitCode, Failure> {
        let subjects = self.subjects().await?;
        let mut overview = Overview::default();
        let mut plans = futures::stream::iter(subjects.iter()).map(|subject| planned(subject, &subjects)).buffered(PARALLEL);
        while let Some((object, text)) = plans.next().await {
            if self.output == Output::Text {
                object.notes.iter().for_each(|note| warn(&format!("{}: {note}", object.name)));
                object.error.iter().for_each(|error| warn(error));
                say(&text);
            }
            overview.add(object);
        }
        let summary = overview.summary;
        match self.output {
            Output::Text if overview.objects.len() > 1 => print(&format!("{}\n", painted(HEADING, summary.line()))),
            Output::Text => {}
            Output::Json => print_json(&overview)?,
            Output::Yaml => print_yaml(&overview)?,
            Output::Markdown => print(&overview.markdown()),
        }
        Ok(match (summary.failed, summary.to_change + summary.blocked) {
            (0, 0) => ExitCode::SUCCESS,
            (0, _) => ExitCode::from(CHANGES),
            _ => ExitCode::FAILURE,
        })
    }

    async fn subjects(&self) -> Result<Subjects, Failure> {
        let selection = &self.selection;
        if self.files.files.is_empty() {
            if !(selection.is_narrow() || selection.all_namespaces) {
                return Err(Failure(
                    "pass files with -f, or name BucketConnections of the cluster, or select some with -l or -A".to_owned(),
                ));
            }
            return Subjects::of_cluster(selection).await;
        }
        if selection.is_narrow() || selection.all_namespaces {
            return Err(Failure("pass either files with -f, or BucketConnections of the cluster".to_owned()));
        }
        let texts = self.files.texts();
        let namespace = selection.namespace.as_deref();
        // The errors of the files need no cluster.
        let assumed = namespace.unwrap_or("default");
        let manifest = texts.connections(assumed)?;
        if self.no_cluster {
            return Subjects::without_cluster(manifest, selection.cluster.cluster_id.clone()).await;
        }
        let client = selection.cluster.client().await;
        let client = client.map_err(|Failure(text)| Failure(format!("{text}\nTo plan without a cluster, add --no-cluster")))?;
        let known = namespace.unwrap_or(client.default_namespace());
        let manifest = if known == assumed { manifest } else { texts.connections(known)? };
        Subjects::of_files(manifest, client, selection.cluster.cluster_id.clone(), self.accounts_from_file).await
    }
}

/// The plan of one object, and its text.
async fn planned(subject: &Subject, subjects: &Subjects) -> (Object, String) {
    let (name, applied) = (subject.name.clone(), subject.applied.as_deref());
    match subjects.preview(subject).await {
        Err(error) => (Object { name, error: Some(error), notes: Vec::new(), plan: None }, String::new()),
        Ok((title, Preview { desired, plan, doubts, report, .. }, mut notes)) => {
            notes.extend(doubts.iter().map(|doubt| format!("status discarded: {doubt}")));
            let text = format!("{}\n{}\n", colored(&render::plan(&title, &plan, &desired, applied)), painted(FAINT, &report));
            (Object { name, error: None, notes, plan: Some(View::of(&plan, &desired, &report, applied)) }, text)
        }
    }
}

/// The text of a plan with colors: each line by its first characters, which no text of a tenant can begin.
fn colored(text: &str) -> String {
    let mut lines = text.lines();
    let title = lines.next().map(|title| format!("{}\n", painted(HEADING, title)));
    let rest = lines.map(|line| {
        let style = match line.chars().next() {
            Some('+') => GOOD,
            Some('~' | '?' | '=') => CHANGED,
            Some('-' | '!') => BAD,
            Some('d' | 'w' | 'c') => BAD.bold(),
            _ if line.starts_with("    because ") => FAINT,
            _ => return format!("{line}\n"),
        };
        format!("{}\n", painted(style, line))
    });
    title.into_iter().chain(rest).collect()
}
