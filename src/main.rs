//! Parses the command line and dispatches.

use std::process::ExitCode;

use bucketconnection::cli::{self, Cli};
use clap::Parser;

/// Memory of which a thread uses what it needs. A reconcile compiles and evaluates the CRD's rules, which recurses deeply:
/// unoptimized, that and the reconcile around it come to 2 MiB, which is what a thread would get.
const STACK: usize = 8 << 20;

fn main() -> std::io::Result<ExitCode> {
    let command = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(STACK).build()?;
    let code = runtime.block_on(cli::main(command));
    // A thread that does not end is not waited for.
    runtime.shutdown_background();
    Ok(code)
}
