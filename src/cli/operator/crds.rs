//! `bucketconnection crds`.

use std::process::ExitCode;

use kube::CustomResourceExt;

use crate::api::{AWSAccount, BucketConnection};
use crate::cli::Failure;
use crate::cli::terminal::print;

/// Print the CustomResourceDefinitions as YAML, for kubectl apply --server-side -f -
#[derive(clap::Args)]
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
