//! The command line: one file per subcommand, with only calls to the other modules.
//!
//! | folder | commands |
//! |---|---|
//! | `data/` | about the objects in a bucket |
//! | `files/` | about YAML files, before anything is applied |
//! | `operator/` | for the people who run the operator |
//!
//! The files next to this one are what they share: the options of kubectl (`cluster.rs`), which connections a command
//! is about (`connections.rs`), a connection's key (`key.rs`), and how to print (`terminal.rs`).

#[allow(dead_code, reason = "for the commands that follow")]
mod cluster;
#[allow(dead_code, reason = "for the commands that follow")]
mod connections;
mod data;
mod files;
#[allow(dead_code, reason = "for the commands that follow")]
mod key;
mod operator;
#[allow(dead_code, reason = "for the commands that follow")]
mod terminal;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rustix::process::{Resource as Limit, Rlimit, setrlimit};

use terminal::warn;

/// Connects S3 buckets to the platforms that work on them, and keeps them connected.
#[derive(Parser)]
#[command(name = "bucketconnection", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Run(operator::Run),
    Check(operator::Check),
    Crds(operator::Crds),
    Plan(files::Plan),
    IamPolicy(operator::IamPolicy),
    #[command(flatten)]
    Data(data::Data),
}

/// Why a command failed, for the user.
struct Failure(String);

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// Runs the requested command.
pub async fn main(cli: Cli) -> ExitCode {
    close_memory();
    let result = match cli.command {
        Command::Run(command) => command.run().await,
        Command::Check(command) => command.run().await,
        Command::Crds(command) => command.run(),
        Command::Plan(command) => command.run().await,
        Command::IamPolicy(command) => command.run(),
        Command::Data(command) => command.run().await,
    };
    match result {
        Ok(code) => code,
        Err(Failure(text)) => {
            warn(&text);
            ExitCode::FAILURE
        }
    }
}

/// Keys are in this process's memory: it writes no core dump, and on Linux only root may read its memory.
fn close_memory() {
    let closed = setrlimit(Limit::Core, Rlimit { current: Some(0), maximum: Some(0) });
    #[cfg(target_os = "linux")]
    let closed = closed.and(rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable));
    if let Err(error) = closed {
        warn(&format!("core dumps cannot be switched off: {error}"));
    }
}
