//! A script: its steps, and the comparison with what they printed.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use crate::support::stack::ROOT;

/// A script of commands.
pub struct Script {
    file: PathBuf,
    recorded: String,
    /// The rest of its first line.
    pub needs: String,
    /// Its comments, commands and actions, in order.
    pub steps: Vec<Step>,
}

/// A part of a script.
pub struct Step {
    /// The lines as they are in the script.
    lines: Vec<String>,
    /// What it does.
    pub work: Work,
    /// What it printed, if it ran.
    pub output: String,
    /// The line with its exit code, if that is not 0.
    pub code: String,
}

/// What a step does.
pub enum Work {
    /// Nothing: a comment or an empty line.
    Comment,
    /// Runs this in a shell.
    Command(String),
    /// Does this from outside.
    Action(String),
}

fn folder() -> PathBuf {
    PathBuf::from(format!("{ROOT}/tests/cli/scripts"))
}

/// The names of all scripts.
pub fn names() -> BTreeSet<String> {
    let files = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    files.map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

impl Script {
    /// Reads a script. Of what was recorded, only the text as a whole matters.
    pub fn read(name: &str) -> Self {
        let file = folder().join(format!("{name}.txt"));
        let recorded = fs::read_to_string(&file).unwrap();
        let mut lines = recorded.lines().peekable();
        let first = lines.next().unwrap_or_default();
        let needs = first.strip_prefix("# needs: ").expect("the first line says what the script needs").to_owned();
        let mut steps = vec![Step::new(first)];
        while let Some(line) = lines.next() {
            let mut step = Step::new(line);
            if let Some(command) = line.strip_prefix("$ ") {
                let mut command = command.to_owned();
                while let Some(more) = lines.next_if(|line| line.starts_with("> ") || *line == ">") {
                    step.lines.push(more.to_owned());
                    let _ = write!(command, "\n{}", more.get(2..).unwrap_or_default());
                }
                step.work = Work::Command(command);
            } else if let Some(action) = line.strip_prefix("% ") {
                step.work = Work::Action(action.to_owned());
            } else if !(line.starts_with('#') || line.is_empty() && steps.last().is_some_and(|step| step.is_comment())) {
                // Recorded output; the output of this run is there instead.
                continue;
            }
            steps.push(step);
        }
        Self { file, recorded, needs, steps }
    }

    /// Compares the script with what it printed, or records that.
    pub fn compare(&self) {
        let text: String = self.steps.iter().map(Step::text).collect();
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&self.file, text).unwrap();
            return;
        }
        let differs = text.lines().zip(self.recorded.lines()).position(|(now, before)| now != before);
        let line = differs.unwrap_or_else(|| text.lines().count().min(self.recorded.lines().count()));
        let shown = |text: &str| text.lines().skip(line.saturating_sub(6)).take(24).collect::<Vec<_>>().join("\n");
        assert!(
            text == self.recorded,
            "{}: line {} differs; UPDATE=1 records it\n--- recorded\n{}\n--- now\n{}",
            self.file.display(),
            line + 1,
            shown(&self.recorded),
            shown(&text)
        );
    }
}

impl Step {
    fn new(line: &str) -> Self {
        Self { lines: vec![line.to_owned()], work: Work::Comment, output: String::new(), code: String::new() }
    }

    fn is_comment(&self) -> bool {
        matches!(self.work, Work::Comment)
    }

    fn text(&self) -> String {
        let mut text: String = self.lines.iter().map(|line| format!("{line}\n")).collect();
        // A blank line ends every output, so that scripts can be read.
        if !self.is_comment() {
            // Indented: a line of output can begin with `#` or `$`.
            for line in self.output.lines() {
                text += format!("    {line}").trim_end();
                text.push('\n');
            }
            text += &self.code;
            text.push('\n');
        }
        text
    }
}
