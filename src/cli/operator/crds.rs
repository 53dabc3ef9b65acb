//! `bucketconnection crds`.

use std::process::ExitCode;

use kube::CustomResourceExt;

use crate::api::{AWSAccount, BucketConnection};
use crate::cli::Failure;
use crate::cli::terminal::print;

/// Print the CustomResourceDefinitions as YAML
///
/// The CRDs of this version, which the operator of this version needs.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  bucketconnection crds | kubectl apply --server-side -f -")]
pub(in crate::cli) struct Crds {}

impl Crds {
    pub(in crate::cli) fn run(&self) -> Result<ExitCode, Failure> {
        print(&format!(
            "{}---\n{}",
            serde_saphyr::to_string(&BucketConnection::crd())?,
            serde_saphyr::to_string(&AWSAccount::crd())?
        ));
        Ok(ExitCode::SUCCESS)
    }
}
