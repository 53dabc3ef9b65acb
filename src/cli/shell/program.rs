//! The tree of commands as people see it: the name that they called the program by, groups of commands, and examples.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::OnceLock;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
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

/// The name by which this program was called.
pub(in crate::cli) fn called() -> &'static str {
    static CALLED: OnceLock<String> = OnceLock::new();
    CALLED.get_or_init(|| name(&std::env::args().next().unwrap_or_default()))
}

/// A text with the commands in it as the user types them: `bucketconnection get` becomes `kubectl bc get`. Texts in the
/// code have the program's own name.
pub(in crate::cli) fn as_called(text: &str) -> String {
    renamed(text, called())
}

/// The same error, with a tip if options are before the command: kubectl itself accepts them there.
pub(in crate::cli) fn with_tip(mut error: clap::Error, arguments: &[OsString]) -> clap::Error {
    let command = |argument: &OsString| commands().any(|name| argument.to_str() == Some(name));
    let (Some(first), place) = (arguments.get(1), arguments.iter().position(command)) else { return error };
    if error.kind() == ErrorKind::UnknownArgument && first.to_str().is_some_and(|first| first.starts_with('-')) {
        let shown =
            |arguments: &[OsString]| arguments.iter().map(|argument| format!(" {}", argument.display())).collect::<String>();
        let (options, rest) = arguments.split_at(place.unwrap_or(arguments.len()));
        let command = if rest.is_empty() { " COMMAND".to_owned() } else { shown(rest) };
        let tip = format!("options come after the command: {}{command}{}", called(), shown(&options[1..]));
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

/// The whole tree of commands, for a program that was called by this name.
pub(in crate::cli) fn program(name: &str) -> Command {
    let mut program = Cli::command().bin_name(name).after_help(AFTER).mut_subcommands(|mut command| {
        let renamed = |text: Option<&StyledStr>| text.map(|text| renamed(&text.to_string(), name));
        if let Some(about) = renamed(command.get_long_about()) {
            command = command.long_about(about);
        }
        if let Some(examples) = renamed(command.get_after_help()) {
            command = command.after_help(examples);
        }
        command.mut_args(candidates::of)
    });
    let template = template(&mut program);
    program.help_template(template)
}

/// The names of all commands.
fn commands() -> impl Iterator<Item = &'static str> {
    GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).chain(["man"])
}

/// A text as people who called the program by this name type the commands in it.
fn renamed(text: &str, name: &str) -> String {
    // Most texts, such as the cells of a long table, name no command.
    if !text.contains(PROGRAM) {
        return text.to_owned();
    }
    let plain = text.replace("kubectl bucketconnection ", "bucketconnection ");
    commands().fold(plain, |text, command| text.replace(&format!("{PROGRAM} {command}"), &format!("{name} {command}")))
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

    #[test]
    fn hints_name_commands_as_the_user_types_them() {
        let text = "no connection; bucketconnection get -A lists all (or kubectl bucketconnection status genomics), see bucketconnection.dev";
        let expected = "no connection; kubectl bc get -A lists all (or kubectl bc status genomics), see bucketconnection.dev";
        assert_eq!(renamed(text, "kubectl bc"), expected);
        assert_eq!(renamed(expected, "kubectl bc"), expected);
        assert_eq!(renamed("kubectl bucketconnection export c --env", PROGRAM), "bucketconnection export c --env");
    }

    /// Otherwise `as_called` does not find them.
    #[test]
    fn texts_have_the_name_of_the_program() {
        let others = [["kubectl", "bc "].join(" "), ["kubectl", "get bc"].join(" "), ["kubectl", "bucketconnection "].join(" ")];
        let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if entry.is_dir() {
                    folders.push(entry);
                    continue;
                }
                // These replace them, and test that.
                if ["cli/shell/program.rs", "cli/tests.rs"].iter().any(|file| entry.ends_with(file)) {
                    continue;
                }
                let text = std::fs::read_to_string(&entry).unwrap();
                // Examples begin with two spaces, and are renamed as a whole.
                let example = |line: &str| line.starts_with("  ") && !line.starts_with("   ");
                let named = |line: &&str| line.contains('"') && !example(line) && others.iter().any(|other| line.contains(other));
                let found: Vec<_> = text.lines().filter(named).collect();
                assert!(found.is_empty(), "{}: write \"bucketconnection COMMAND\" in {found:#?}", entry.display());
            }
        }
    }
}
