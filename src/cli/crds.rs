//! `bucketconnection crds`.

use std::process::ExitCode;

use kube::CustomResourceExt;

use super::{Failure, print};
use crate::api::{AWSAccount, BucketConnection};

/// Print the CustomResourceDefinitions as YAML, for kubectl apply --server-side -f -
#[derive(clap::Args)]
pub(super) struct Crds {}

impl Crds {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        print(&format!(
            "{}---\n{}",
            serde_saphyr::to_string(&BucketConnection::crd())?,
            serde_saphyr::to_string(&AWSAccount::crd())?
        ));
        Ok(ExitCode::SUCCESS)
    }
}
