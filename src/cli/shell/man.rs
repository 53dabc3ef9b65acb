//! `bucketconnection man`, for people who package the program.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Command;
use clap_mangen::roff::{Roff, roman};

use super::program::program;
use crate::cli::Failure;
use crate::cli::terminal::print;

/// Write the man pages into a folder
///
/// One page for the program, and one for each command: bucketconnection.1, bucketconnection-plan.1.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  bucketconnection man --dir /usr/local/share/man/man1")]
pub(in crate::cli) struct Man {
    /// The folder; it is created if it does not exist
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

impl Man {
    pub(in crate::cli) fn run(&self) -> Result<ExitCode, Failure> {
        std::fs::create_dir_all(&self.dir).map_err(|error| failed(&self.dir, &error))?;
        let mut program = program("bucketconnection").disable_help_subcommand(true);
        program.build();
        let commands = program.get_subcommands().filter(|command| !command.is_hide_set());
        for command in std::iter::once(&program).chain(commands) {
            self.write(command)?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn write(&self, command: &Command) -> Result<(), Failure> {
        let (name, page) = page(command)?;
        let file = self.dir.join(name);
        std::fs::write(&file, page).map_err(|error| failed(&file, &error))?;
        print(&format!("{}\n", file.display()));
        Ok(())
    }
}

fn failed(place: &Path, error: &std::io::Error) -> Failure {
    Failure(format!("--dir: {}: {error}", place.display()))
}

/// The file name and the text of the page of one command.
fn page(command: &Command) -> Result<(String, Vec<u8>), Failure> {
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    // What follows the options has headings and lines of its own.
    let man = clap_mangen::Man::new(command.clone().after_help("").help_template(""));
    let man = man.manual("BucketConnection").source(format!("bucketconnection {}", env!("CARGO_PKG_VERSION")));
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    sections(&after).to_writer(&mut page)?;
    Ok((man.get_filename(), page))
}

/// The text after the options: a line that ends with a colon is a heading, and the lines below it stay as they are.
fn sections(text: &str) -> Roff {
    let mut roff = Roff::default();
    let mut open = false;
    for line in text.lines() {
        match line.strip_suffix(':').filter(|heading| !heading.starts_with(' ')) {
            Some(heading) => {
                if open {
                    roff.control("fi", []);
                }
                roff.control("SH", [heading.to_uppercase().as_str()]);
                roff.control("nf", []);
                open = true;
            }
            None => {
                roff.text([roman(line)]);
            }
        }
    }
    if open {
        roff.control("fi", []);
    }
    roff
}
