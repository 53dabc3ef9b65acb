//! One voice for all commands: their help, their options, and their page in the docs.

use std::fmt::Write as _;

use clap::{Arg, Command};

use super::{GROUPS, shell};

const WIDTH: usize = 100;
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/cli.md");
const END: &str = "\n<!-- end -->\n";

fn program() -> Command {
    let mut program = shell::program("bucketconnection").term_width(WIDTH);
    program.build();
    program
}

/// The commands of the help.
fn commands(program: &Command) -> impl Iterator<Item = &Command> {
    program.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help")
}

fn after_help(command: &Command) -> String {
    command.get_after_help().map(ToString::to_string).unwrap_or_default()
}

/// The words of a call in a line of an example, up to a comment or what the shell does with the output.
fn words(line: &str) -> Vec<String> {
    let line = [")", "   ", "  #"].iter().fold(line, |line, end| line.split(end).next().unwrap_or_default());
    let mut words = vec![];
    let (mut word, mut quote) = (String::new(), None);
    for c in format!("{line} ").chars() {
        match quote {
            Some(end) if c == end => quote = None,
            None if "'\"".contains(c) => quote = Some(c),
            None if c.is_whitespace() => words.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty())),
            _ => word.push(c),
        }
    }
    let of_shell = |word: &String| ["|", ">", "<", "&&", ";", "#"].iter().any(|begin| word.starts_with(begin));
    let end = words.iter().position(of_shell).unwrap_or(words.len());
    words.truncate(end);
    words
}

#[test]
fn each_command_has_a_summary_a_paragraph_and_examples_that_run() {
    let program = program();
    for command in commands(&program) {
        let name = command.get_name();
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        assert!(about.starts_with(char::is_uppercase) && !about.ends_with('.'), "{name}: summary: {about:?}");
        let widest = commands(&program).map(|command| command.get_name().len()).max().unwrap();
        assert!(widest + 4 + about.chars().count() <= WIDTH, "{name}: the summary is too long for the help: {about}");
        assert!(command.get_long_about().is_some_and(|long| long.to_string() != about), "{name} has no paragraph about it");
        let text = after_help(command);
        assert!(text.starts_with("Examples:\n"), "{name}: after_help begins with \"Examples:\", not {text:?}");
        let widest = WIDTH - "kubectl ".len();
        assert!(text.lines().all(|line| line.chars().count() <= widest), "{name}: an example is wider than {widest} columns");
        let line = |line: &str| line.find("bucketconnection ").map(|start| words(&line[start..]));
        let lines: Vec<_> = text.lines().filter_map(line).collect();
        assert!(lines.iter().any(|words| words.get(1).is_some_and(|word| word == name)), "{name}: no example calls it: {text}");
        for words in lines {
            let parsed = shell::program("bucketconnection").try_get_matches_from(&words);
            assert!(parsed.is_ok(), "{name}: the example {words:?} is wrong: {}", parsed.unwrap_err());
        }
    }
}

#[test]
fn each_command_is_in_one_group_of_the_help() {
    let program = program();
    let grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    for command in commands(&program) {
        let groups = grouped.iter().filter(|name| **name == command.get_name()).count();
        assert_eq!(groups, 1, "{}: add it to GROUPS in src/cli/mod.rs", command.get_name());
    }
}

/// People type these without reading the help.
#[test]
fn options_are_spelled_as_in_kubectl() {
    const SHORTS: [(&str, char); 6] =
        [("namespace", 'n'), ("all-namespaces", 'A'), ("output", 'o'), ("selector", 'l'), ("filename", 'f'), ("watch", 'w')];
    let program = program();
    for command in commands(&program) {
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            let name = format!("{} {argument}", command.get_name());
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            assert!(!help.is_empty() && !help.ends_with('.'), "{name}: help: {help:?}");
            assert!(!help.starts_with(char::is_lowercase) || help.starts_with("kubeconfig"), "{name}: help: {help:?}");
            // A list of namespaces is not kubectl's -n.
            let list = argument.get_value_delimiter().is_some();
            for (long, short) in SHORTS.into_iter().filter(|_| !list) {
                let (is_long, is_short) = (argument.get_long() == Some(long), argument.get_short() == Some(short));
                assert_eq!(is_long, is_short, "{name}: --{long} and -{short} belong together");
            }
        }
        let longs: Vec<_> = command.get_arguments().filter_map(Arg::get_long).collect();
        for long in ["kubeconfig", "as", "as-group"] {
            assert_eq!(longs.contains(&"context"), longs.contains(&long), "{}: --context and --{long}", command.get_name());
        }
    }
}

#[test]
fn help_fits_a_terminal() {
    for command in program().get_subcommands_mut() {
        for help in [command.render_help(), command.render_long_help()] {
            for line in help.to_string().lines() {
                assert!(line.chars().count() <= WIDTH, "{}: wider than {WIDTH} columns: {line}", command.get_name());
            }
        }
    }
}

/// A plugin of kubectl names itself as people call it.
#[test]
fn a_plugin_shows_the_name_that_people_type() {
    let mut program = shell::program("kubectl bc");
    program.build();
    for command in program.get_subcommands_mut().filter(|command| command.get_name() != "help") {
        let name = command.get_name().to_owned();
        let help = command.render_long_help().to_string();
        assert!(help.contains(&format!("Usage: kubectl bc {name}")), "{help}");
        assert!(!help.lines().any(|line| line.trim().starts_with("bucketconnection ")), "{help}");
    }
}

/// The synopsis and the options of each command in docs/cli.md are those of the program.
#[test]
fn the_page_of_the_commands_is_current() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let (program, mut current) = (program(), page.clone());
    for command in commands(&program) {
        let name = command.get_name();
        current = section(&current, &format!("## {name}\n"), &format!("\n<!-- usage of {name} -->\n"), &usage(command));
    }
    let cluster = options(program.find_subcommand("plan").unwrap(), |argument| heading(argument) == "Cluster");
    current = section(&current, "## The cluster\n", "\n<!-- options of the cluster -->\n", &cluster);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(PAGE, &current).unwrap();
    } else {
        assert!(page == current, "docs/cli.md is not current: UPDATE=1 cargo test --lib cli:: writes it");
    }
}

/// The page with this text between `begin` and the end mark, below the heading.
fn section(page: &str, title: &str, begin: &str, text: &str) -> String {
    let Some((before, rest)) = page.split_once(title) else {
        return section(&format!("{page}\n{title}"), title, begin, text);
    };
    let (above, below) = match rest.split_once(begin) {
        Some((above, rest)) => (above, rest.split_once(END).unwrap_or_else(|| panic!("{begin}: docs/cli.md lacks{END}")).1),
        None => ("", rest),
    };
    format!("{before}{title}{above}{begin}\n{text}{END}{below}")
}

fn usage(command: &Command) -> String {
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").trim();
    let own = options(command, |argument| heading(argument) != "Cluster");
    let more = command.get_arguments().any(|argument| heading(argument) == "Cluster");
    let more = if more { "\nAlso the [options of the cluster](#the-cluster).\n" } else { "" };
    format!("```text\n{usage}\n```\n{own}{more}")
}

fn heading(argument: &Arg) -> &str {
    argument.get_help_heading().unwrap_or_default()
}

/// A table of the arguments and options.
fn options(command: &Command, which: impl Fn(&Arg) -> bool) -> String {
    let mut table = "\n| option | meaning |\n|---|---|\n".to_owned();
    let shown = |argument: &&Arg| !argument.is_hide_set() && argument.get_id() != "help" && which(argument);
    let rows = table.len();
    for argument in command.get_arguments().filter(shown) {
        let short = argument.get_short().map(|short| format!("`-{short}`, ")).unwrap_or_default();
        let help = argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|");
        // Between backticks these are no markup.
        let plain = |(index, part): (usize, &str)| match index % 2 {
            0 => part.replace('<', "&lt;").replace('*', "\\*"),
            _ => part.to_owned(),
        };
        let help = help.split('`').enumerate().map(plain).collect::<Vec<_>>().join("`");
        let values: Vec<_> = argument.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
        let values = if values.is_empty() || !argument.get_action().takes_values() {
            String::new()
        } else {
            format!(": {}", values.join(", "))
        };
        let default: Vec<_> = argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        let default = if default.is_empty() || !argument.get_action().takes_values() {
            String::new()
        } else {
            format!(" [default: `{}`]", default.join(","))
        };
        let environment = argument.get_env().map(|name| format!(" [env: `{}`]", name.to_string_lossy())).unwrap_or_default();
        let shown = argument.to_string().replace('|', "\\|");
        let _ = writeln!(table, "| {short}`{shown}` | {help}{values}{default}{environment} |");
    }
    if table.len() == rows { String::new() } else { table }
}
