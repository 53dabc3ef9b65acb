//! `bucketconnection completion`, and the answers to the shells that use it.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap_complete::engine::{self, CompletionCandidate};
use clap_complete::env::{Bash, CompleteEnv, EnvCompleter, Fish, Powershell, Zsh};

use super::program::program;
use crate::cli::Failure;
use crate::cli::terminal::print;

/// The variable in which a shell asks for completions.
const VARIABLE: &str = "BUCKETCONNECTION_COMPLETE";
/// How kubectl calls the program that completes the command line of a plugin.
const KUBECTL: &str = "kubectl_complete-";
const PROGRAM: &str = "bucketconnection";

/// Print the script that completes command lines in your shell
///
/// The script asks the program itself for completions: names of BucketConnections and namespaces come from the cluster, contexts from
/// the kubeconfig. If the cluster does not answer within 2 seconds, Tab offers no names. kubectl needs no script for the plugin, only
/// the program under the name kubectl_complete-bucketconnection on the PATH.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  # In ~/.bashrc
  source <(bucketconnection completion bash)

  # In ~/.zshrc, after compinit
  source <(bucketconnection completion zsh)

  # Once, for fish
  bucketconnection completion fish > ~/.config/fish/completions/bucketconnection.fish

  # In the profile of PowerShell
  bucketconnection completion powershell | Out-String | Invoke-Expression

  # For kubectl bucketconnection, with the completion of kubectl itself
  ln -s \"$(command -v bucketconnection)\" /usr/local/bin/kubectl_complete-bucketconnection")]
pub(in crate::cli) struct Completion {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
    Powershell,
}

impl Completion {
    pub(in crate::cli) fn run(&self) -> Result<ExitCode, Failure> {
        let shell: &dyn EnvCompleter = match self.shell {
            Shell::Bash => &Bash,
            Shell::Zsh => &Zsh,
            Shell::Fish => &Fish,
            Shell::Powershell => &Powershell,
        };
        let mut script = Vec::new();
        shell.write_registration(VARIABLE, PROGRAM, PROGRAM, PROGRAM, &mut script)?;
        print(&String::from_utf8_lossy(&script));
        Ok(ExitCode::SUCCESS)
    }
}

/// Answers a shell, or kubectl, that asks for completions; false if it is none that called the program.
pub(in crate::cli) fn answered() -> bool {
    let mut words = std::env::args_os();
    let called = words.next().unwrap_or_default();
    let file = Path::new(&called).file_name().and_then(|file| file.to_str()).unwrap_or_default();
    let directory = std::env::current_dir().ok();
    if file.starts_with(KUBECTL) {
        let words = std::iter::once(OsString::from(PROGRAM)).chain(words).collect::<Vec<_>>();
        let index = words.len() - 1;
        let found = engine::complete(&mut program(PROGRAM), words, index, directory.as_deref());
        let _ = std::io::stdout().write_all(for_kubectl(&found.unwrap_or_default()).as_bytes());
        return true;
    }
    let environment = CompleteEnv::with_factory(|| program(PROGRAM)).var(VARIABLE);
    // A line that cannot be completed gets no completions, and no error in the middle of it.
    environment.try_complete(std::env::args_os(), directory.as_deref()).unwrap_or(true)
}

/// In the form of the library that kubectl uses for its own completions: a value and its meaning on each line, and a
/// sum of directives at the end.
fn for_kubectl(found: &[CompletionCandidate]) -> String {
    const NO_SPACE: u8 = 2;
    const NO_FILES: u8 = 4;
    let mut text = String::new();
    let mut directives = NO_FILES;
    for candidate in found {
        let value = candidate.get_value().to_string_lossy();
        if value.ends_with(['/', '=', ':']) {
            directives |= NO_SPACE;
        }
        text += &value;
        if let Some(help) = candidate.get_help().map(ToString::to_string) {
            text += "\t";
            text += help.lines().next().unwrap_or_default();
        }
        text += "\n";
    }
    format!("{text}:{directives}\n")
}
