//! The tree of commands as people see it: the name that they called the program by, groups of commands, and examples.

use std::fmt::Write as _;
use std::path::Path;

use clap::{Command, CommandFactory};

use super::candidates;
use crate::cli::{Cli, GROUPS};

/// The name of the program.
const PROGRAM: &str = "bucketconnection";

const AFTER: &str = "\
Exit codes:
  0    Success, and nothing to report
  1    An error: standard error says which
  2    Only of commands that say so: there are changes, differences or problems
  130  Ctrl-C

Environment:
  KUBECONFIG  kubeconfig files, separated by colons
  NO_COLOR    If it is set and not empty: no colors
  COLUMNS     Width of tables, if it is not that of the terminal

As a kubectl plugin, the program is kubectl bucketconnection, or kubectl bc: docs/cli.md shows how to install it.";

/// The name by which the program was called: `bucketconnection`, or `kubectl bucketconnection` for the file
/// `kubectl-bucketconnection`, which is how kubectl finds a plugin.
pub(in crate::cli) fn name(file: &str) -> String {
    let file = Path::new(file).file_name().and_then(|name| name.to_str()).unwrap_or(PROGRAM);
    match file.strip_prefix("kubectl-") {
        Some(plugin) if !plugin.is_empty() => format!("kubectl {}", plugin.replace('_', "-")),
        _ => PROGRAM.to_owned(),
    }
}

/// The whole tree of commands, for a program that was called by this name.
pub(in crate::cli) fn program(name: &str) -> Command {
    let program = Cli::command().bin_name(name).after_help(AFTER);
    let commands: Vec<_> = program.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    let mut program = program.mut_subcommands(|command| {
        let examples = command.get_after_help().map(|text| renamed(&text.to_string(), &commands, name));
        let command = match examples {
            Some(examples) => command.after_help(examples),
            None => command,
        };
        command.mut_args(candidates::of)
    });
    let template = template(&mut program);
    program.help_template(template)
}

/// Examples as people who called the program by this name type them.
fn renamed(examples: &str, commands: &[String], name: &str) -> String {
    let plain = examples.replace("kubectl bucketconnection ", "bucketconnection ");
    commands.iter().fold(plain, |text, command| text.replace(&format!("{PROGRAM} {command}"), &format!("{name} {command}")))
}

/// The help of the program, with its commands in groups.
fn template(program: &mut Command) -> String {
    let header = *program.get_styles().get_header();
    let literal = *program.get_styles().get_literal();
    let mut text = "{about-with-newline}\n{usage-heading} {usage}\n".to_owned();
    let commands: Vec<_> = program.get_subcommands().filter(|command| !command.is_hide_set()).collect();
    let width = commands.iter().map(|command| command.get_name().len()).max().unwrap_or_default();
    for (group, names) in GROUPS {
        let mut members = names.iter().filter_map(|name| commands.iter().find(|command| command.get_name() == *name)).peekable();
        if members.peek().is_some() {
            let _ = write!(text, "\n{header}{group}:{header:#}\n");
        }
        for command in members {
            let about = command.get_about().cloned().unwrap_or_default();
            let _ = writeln!(text, "  {literal}{:width$}{literal:#}  {about}", command.get_name());
        }
    }
    let _ = write!(text, "\n{header}Options:{header:#}\n{{options}}{{after-help}}\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubectl_finds_plugins_by_the_name_of_their_file() {
        let table = [
            ("bucketconnection", "bucketconnection"),
            ("/usr/local/bin/bucketconnection", "bucketconnection"),
            ("/usr/local/bin/kubectl-bc", "kubectl bc"),
            ("kubectl-bucketconnection", "kubectl bucketconnection"),
            ("kubectl-bucket_connection", "kubectl bucket-connection"),
            ("kubectl-", "bucketconnection"),
            ("", "bucketconnection"),
        ];
        for (file, expected) in table {
            assert_eq!(name(file), expected, "{file}");
        }
    }
}
