//! Parses the command line and dispatches.

use std::process::ExitCode;

use bucketconnection::cli::{self, Cli};
use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    cli::main(Cli::parse()).await
}
