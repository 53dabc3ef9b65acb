//! The program as a shell has it: its names, its help, its completions and its man pages.

mod candidates;
mod completion;
mod man;
mod program;

pub(in crate::cli) use completion::{Completion, answered};
pub(in crate::cli) use man::Man;
pub(in crate::cli) use program::{as_called, called, program, with_tip};
