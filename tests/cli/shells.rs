//! Tab in a real bash, on a terminal.

use std::process::Command;

use serde_json::json;

use crate::session::Session;
use crate::terminal::{TAB, Terminal};

/// A bash that has read the completion script, and waits for a command line.
fn bash(session: &Session) -> Terminal {
    let mut bash = Command::new("bash");
    bash.args(["--norc", "--noprofile", "-i"]);
    session.set_up(&mut bash);
    bash.env("PS1", "prompt> ").env("INPUTRC", "/dev/null");
    let terminal = Terminal::start(bash, 24, 100);
    terminal.shows("prompt> ");
    // Every match at once, without the bell that comes first.
    terminal.types("bind 'set show-all-if-ambiguous on'; bind 'set enable-bracketed-paste off'; source <(bucketconnection completion bash); clear; echo ready\n");
    terminal.until("ready", |screen| screen.starts_with("ready\n"));
    terminal
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tab_completes_commands_options_values_and_files() {
    let session = Session::new("tab", "nothing").await;
    std::fs::write(session.place("genomics.yaml"), "").unwrap();
    let bash = bash(&session);
    bash.types(&format!("bucketconnection iam{TAB}--perm{TAB}arn:aws:iam::aws:policy/X -f geno{TAB}"));
    bash.shows("bucketconnection iam-policy --permissions-boundary arn:aws:iam::aws:policy/X -f genomics.yaml");
    bash.types("\u{15}bucketconnection completion p");
    bash.types(TAB);
    bash.shows("bucketconnection completion powershell");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tab_completes_names_of_the_cluster_and_of_the_kubeconfig() {
    let session = Session::new("tab-cluster", "cluster without operator").await;
    let harness = session.harness();
    let mut object = harness.connection("bucket-tab", json!({}));
    object["metadata"]["name"] = json!("genomics");
    harness.apply(&object).await;
    let bash = bash(&session);
    let start = &harness.namespace[..harness.namespace.len() - 1];
    bash.types(&format!("bucketconnection plan -n {start}{TAB}--context {TAB}"));
    let context = session.context();
    bash.shows(&format!("plan -n {} --context {context}", harness.namespace));
    // An API server that does not exist adds no error to the line, and no names.
    bash.types(&format!("\u{15}KUBECONFIG=/dev/null bucketconnection plan -n {TAB}{TAB}x"));
    bash.shows("plan -n x");
}
