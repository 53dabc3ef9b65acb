//! Standard output and standard error: colors only where a person sees them, tables that fit the terminal, and questions.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;

use anstyle::{AnsiColor, Style};
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use super::shell::as_called;
use super::{CTRL_C, Failure};
use crate::render::screen::{Cell, Section, Tone};
use crate::render::{moves_text, printable};

/// Something that is as it should be.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
/// Something that changes, or that needs attention.
pub(super) const CHANGED: Style = AnsiColor::Yellow.on_default();
/// Something that failed, or is deleted.
pub(super) const BAD: Style = AnsiColor::Red.on_default();
/// A heading.
pub(super) const HEADING: Style = Style::new().bold();
/// Something less important.
pub(super) const FAINT: Style = Style::new().dimmed();

/// Blanks between two columns. Those after the last one are not written.
const GAP: u16 = 3;

/// Columns of a table if the terminal does not say its width.
const WIDTH: u16 = 120;

static LOST: OnceLock<String> = OnceLock::new();

/// The text in this style. `print` removes the style where no terminal shows it.
pub(super) fn painted(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Writes to standard output, with styles only on a terminal and without `NO_COLOR`. A closed pipe is not an error.
pub(super) fn print(text: &str) {
    print_on(text);
}

/// Prints a text for people, which can name commands.
pub(super) fn say(text: &str) {
    print(&as_called(text));
}

/// Writes to standard output like `print`, for a command that continues; returns whether there is still a reader.
pub(super) fn print_on(text: &str) -> bool {
    let mut output = anstream::stdout();
    let written = output.write_all(text.as_bytes()).and_then(|()| output.flush());
    if let Err(error) = &written
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        let _ = LOST.set(error.to_string());
    }
    written.is_ok()
}

/// Why standard output could not be written, such as a full disk: then no command succeeds.
pub(super) fn lost() -> Option<&'static str> {
    LOST.get().map(String::as_str)
}

/// Prints a warning or an error to standard error. Control characters are escaped: part of the text can be foreign.
pub(super) fn warn(text: &str) {
    let text = as_called(text);
    let lines: Vec<_> = text.split('\n').map(printable).collect();
    let _ = io::stderr().write_all(format!("bucketconnection: {}\n", lines.join("\n")).as_bytes());
}

/// Prints a value as JSON. Its strings can be foreign: what a terminal would act on is escaped, also where JSON does not require it.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)?;
    let mut escaped = String::with_capacity(text.len() + 1);
    for c in text.chars() {
        match c {
            c if c != '\n' && moves_text(c) => escaped += &format!("\\u{:04x}", u32::from(c)),
            c => escaped.push(c),
        }
    }
    print(&format!("{escaped}\n"));
    Ok(())
}

/// Prints a value as YAML.
pub(super) fn print_yaml(value: &impl Serialize) -> Result<(), Failure> {
    print(&serde_saphyr::to_string(value)?);
    Ok(())
}

/// Whether a person sees standard output.
pub(super) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// The width of the terminal in columns.
pub(super) fn width() -> u16 {
    let given = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    given.or_else(|| terminal_size::terminal_size().map(|(width, _)| width.0)).unwrap_or(WIDTH)
}

/// A table as kubectl prints one; without `header`, only its rows. On a terminal, long cells are wrapped so that it fits.
pub(super) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    arranged(header, rows, is_terminal())
}

fn arranged(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>, fits: bool) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    if !header.is_empty() {
        table.set_header(header.iter().copied());
    }
    if fits {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width().saturating_add(GAP));
    }
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, GAP));
    }
    let lines = table.lines().map(|line| format!("{}\n", line.trim_end()));
    lines.collect()
}

/// Sections as text: each with its title, and its rows as a table.
pub(super) fn screen(sections: &[Section]) -> String {
    let line = |(tone, text): &(Tone, String)| painted(style(*tone), printable(&as_called(text)));
    let cell = |Cell(lines): &Cell| lines.iter().map(line).collect::<Vec<_>>().join("\n");
    let section = |section: &Section| {
        let title =
            if section.title.is_empty() { String::new() } else { format!("{}\n", painted(HEADING, printable(&section.title))) };
        let rows = section.rows.iter().map(|row| row.iter().map(cell).collect());
        title + &arranged(&section.header, rows, is_terminal() && !section.overflows)
    };
    sections.iter().map(section).collect::<Vec<_>>().join("\n")
}

fn style(tone: Tone) -> Style {
    match tone {
        Tone::Plain => Style::new(),
        Tone::Good => GOOD,
        Tone::Changed => CHANGED,
        Tone::Bad => BAD,
        Tone::Heading => HEADING,
        Tone::Faint => FAINT,
    }
}

/// Replaces what the terminal shows by the first lines of `text`, as many as it has, and of each line what fits.
pub(super) fn redraw(text: &str) {
    const HOME: &str = "\u{1b}[H";
    const REST_OF_LINE: &str = "\u{1b}[K";
    const REST_OF_SCREEN: &str = "\u{1b}[J";
    let height = terminal_size::terminal_size().map_or(usize::MAX, |(_, height)| usize::from(height.0).saturating_sub(1));
    // `print` would remove these where colors are off.
    let control = |code: &str| drop(io::stdout().write_all(code.as_bytes()));
    control(HOME);
    for line in text.lines().take(height) {
        print(&console::truncate_str(line, width().into(), ""));
        control(REST_OF_LINE);
        print("\n");
    }
    control(REST_OF_SCREEN);
    let _ = io::stdout().flush();
}

/// Asks a question that a person must answer with `expected`. Without a terminal to ask on, `option` must be given.
/// Ctrl-C ends the question with [`CTRL_C`], also if another part of the command listens for it.
pub(super) async fn confirm(question: &str, expected: &str, option: &str) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        let question = question.trim_end_matches('?');
        return Err(Failure(format!("{question}: no terminal to ask on; add {option} if you are sure")));
    }
    let mut error = anstream::stderr();
    write!(error, "{question} Type {}: ", painted(HEADING, expected))?;
    error.flush()?;
    let answer = tokio::task::spawn_blocking(|| io::stdin().lines().next().transpose());
    tokio::select! {
        answer = answer => Ok(answer??.is_some_and(|answer| answer.trim() == expected)),
        pressed = tokio::signal::ctrl_c() => {
            pressed?;
            writeln!(error)?;
            Err(Failure(CTRL_C.to_owned()))
        }
    }
}
