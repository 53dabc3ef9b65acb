//! Parses the command line and dispatches.

use std::process::ExitCode;

use bucketconnection::cli;

/// Stack of a thread; only used memory counts. A reconcile compiles and evaluates the CRD's rules, which recurses
/// deeply: unoptimized, the reconcile needs about 2 MiB, the default size.
const STACK: usize = 8 << 20;

fn main() -> std::io::Result<ExitCode> {
    let command = match cli::parse() {
        Ok(command) => command,
        Err(code) => return Ok(code),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(STACK).build()?;
    let code = runtime.block_on(cli::main(command));
    // Does not wait for threads that do not end.
    runtime.shutdown_background();
    Ok(code)
}
