//! `bucketconnection validate`.

use std::process::ExitCode;

use clap::ValueEnum;
use serde_json::json;

use super::Files;
use crate::cli::Failure;
use crate::cli::terminal::{BAD, CHANGED, GOOD, painted, print, print_json};
use crate::manifest::{self, Finding, Severity};
use crate::render::findings::{self, line, word};

/// Find the errors in files, with line and column
///
/// Checks BucketConnections and AWSAccounts as the API server and the operator would: schema, rules, unknown fields, and what the
/// AWSAccount allows, if it is in the files. It reports all errors at once, calls neither AWS nor Kubernetes, and takes
/// milliseconds. It skips objects of other kinds. Exit code 0: no errors. 1: errors.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  bucketconnection validate -f connections/ -R
  kustomize build . | bucketconnection validate -f -
  bucketconnection validate -f connections/ -o github     # in a GitHub workflow
  bucketconnection validate -f connections/ -o sarif > bucketconnection.sarif")]
pub(in crate::cli) struct Validate {
    #[command(flatten)]
    files: Files,

    /// Namespace of objects without one
    #[arg(short, long, value_name = "NAMESPACE", default_value = "default")]
    namespace: String,

    /// Format of the output
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
    Sarif,
    Github,
}

impl Validate {
    pub(in crate::cli) fn run(&self) -> Result<ExitCode, Failure> {
        if self.files.files.is_empty() {
            return Err(Failure("pass the files to check with -f".to_owned()));
        }
        let manifest = self.files.texts().read(&self.namespace);
        let findings = manifest::check(&manifest);
        let checked = manifest.connections.len() + manifest.accounts.len();
        let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
        match self.output {
            Output::Text => {
                findings.iter().for_each(|finding| print(&format!("{}\n", line(finding, &colored(finding)))));
                let summary = findings::summary(&findings, checked, manifest.others);
                print(&format!("{}\n", painted(if errors > 0 { BAD } else { GOOD }, summary)));
            }
            Output::Json => {
                let counts = json!({ "checked": checked, "skipped": manifest.others });
                print_json(&json!({ "valid": errors == 0, "objects": counts, "findings": findings }))?;
            }
            Output::Sarif => print_json(&findings::sarif(&findings, env!("CARGO_PKG_VERSION")))?,
            Output::Github => findings.iter().for_each(|finding| print(&findings::github(finding))),
        }
        Ok(if errors > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

fn colored(finding: &Finding) -> String {
    let style = if finding.severity == Severity::Error { BAD } else { CHANGED };
    painted(style, word(finding.severity))
}
