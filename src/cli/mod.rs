//! The command line: one file per subcommand, with only calls to the other modules.
//!
//! | folder | commands |
//! |---|---|
//! | `change/` | that change connections of the cluster |
//! | `data/` | about the objects in a bucket |
//! | `files/` | about YAML files, before anything is applied |
//! | `inspect/` | what connections and the installation are like |
//! | `operator/` | for the people who run the operator |
//! | `shell/` | the program as a shell has it: names, help, completions, man pages |
//!
//! The files next to this one are what they share: the options of kubectl (`cluster.rs`), which connections a command
//! is about (`connections.rs`), a connection's key (`key.rs`), and how to print (`terminal.rs`),
//! and how to wait (`wait.rs`).

mod change;
mod cluster;
mod connections;
mod data;
mod files;
mod inspect;
mod key;
mod operator;
mod shell;
mod terminal;
#[cfg(test)]
mod tests;
mod wait;

use std::process::ExitCode;

use clap::{FromArgMatches, Parser, Subcommand};
use rustix::process::{Resource as Limit, Rlimit, setrlimit};

use terminal::{lost, warn};

/// Exit code after Ctrl-C: 128 and the number of the signal, as shells have it.
const INTERRUPTED: u8 = 130;

/// Connects S3 buckets to the platforms that work on them, and keeps them connected.
#[derive(Parser)]
#[command(name = "bucketconnection", version, max_term_width = 100)]
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
    Init(files::Init),
    Validate(files::Validate),
    Render(files::Render),
    IamPolicy(operator::IamPolicy),
    Completion(shell::Completion),
    #[command(hide = true)]
    Man(shell::Man),
    Get(inspect::Get),
    Status(inspect::Status),
    Doctor(inspect::Doctor),
    Rotate(change::Rotate),
    Revoke(change::Revoke),
    Reconcile(change::Reconcile),
    Suspend(change::Suspend),
    Resume(change::Resume),
    Adopt(change::Adopt),
    Release(change::Release),
    Import(change::Import),
    Export(change::Export),
    #[command(flatten)]
    Data(data::Data),
}

/// The commands in the help, in groups.
const GROUPS: [(&str, &[&str]); 6] = [
    ("Files", &["init", "validate", "plan", "render"]),
    ("Look", &["get", "status", "doctor"]),
    ("Change", &["reconcile", "suspend", "resume", "rotate", "revoke", "adopt", "release", "import", "export"]),
    ("Data", &["browse", "ls", "cp", "sync", "rm", "mkdir", "presign", "du"]),
    ("Operator", &["run", "check", "crds", "iam-policy"]),
    ("Shell", &["completion"]),
];

/// Why a command failed, for the user.
struct Failure(String);

/// The text of the failure that is Ctrl-C.
const CTRL_C: &str = "interrupted";

impl<E: std::error::Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let error: &dyn std::error::Error = &error;
        Self(error.downcast_ref().map_or_else(|| error.to_string(), cluster::explain))
    }
}

/// Parses the command line. Otherwise the exit code: the program has printed help, completions or an error.
pub fn parse() -> Result<Cli, ExitCode> {
    if shell::answered() {
        return Err(ExitCode::SUCCESS);
    }
    let arguments: Vec<_> = std::env::args_os().collect();
    let parsed = shell::program(shell::called()).try_get_matches_from(&arguments);
    parsed.and_then(|matches| Cli::from_arg_matches(&matches)).map_err(|error| {
        let error = shell::with_tip(error, &arguments);
        let _ = error.print();
        // Not clap's code 2: that means changes or problems.
        if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    })
}

/// Runs the requested command.
pub async fn main(cli: Cli) -> ExitCode {
    close_memory();
    let result = match cli.command {
        Command::Run(command) => command.run().await,
        Command::Check(command) => command.run().await,
        Command::Crds(command) => command.run(),
        Command::Plan(command) => command.run().await,
        Command::Init(command) => command.run().await,
        Command::Validate(command) => command.run(),
        Command::Render(command) => command.run(),
        Command::IamPolicy(command) => command.run(),
        Command::Completion(command) => command.run(),
        Command::Man(command) => command.run(),
        Command::Get(command) => command.run().await,
        Command::Status(command) => command.run().await,
        Command::Doctor(command) => command.run().await,
        Command::Rotate(command) => command.run().await,
        Command::Revoke(command) => command.run().await,
        Command::Reconcile(command) => command.run().await,
        Command::Suspend(command) => command.run().await,
        Command::Resume(command) => command.run().await,
        Command::Adopt(command) => command.run().await,
        Command::Release(command) => command.run().await,
        Command::Import(command) => command.run().await,
        Command::Export(command) => command.run().await,
        Command::Data(command) => command.run().await,
    };
    match result {
        Ok(code) => match lost() {
            Some(error) => {
                warn(&format!("standard output: {error}"));
                ExitCode::FAILURE
            }
            None => code,
        },
        Err(Failure(text)) => {
            warn(&text);
            if text == CTRL_C { ExitCode::from(INTERRUPTED) } else { ExitCode::FAILURE }
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
