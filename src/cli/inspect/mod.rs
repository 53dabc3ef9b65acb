//! Commands that show, and change nothing.

mod doctor;
mod get;
mod read;
mod status;

use std::process::ExitCode;

pub(in crate::cli) use doctor::Doctor;
pub(in crate::cli) use get::Get;
pub(in crate::cli) use status::Status;

use super::INTERRUPTED;

/// Something is wrong, or differs.
const FINDINGS: u8 = 2;

/// The exit code of a watch that Ctrl-C ended.
fn interrupted() -> ExitCode {
    ExitCode::from(INTERRUPTED)
}
