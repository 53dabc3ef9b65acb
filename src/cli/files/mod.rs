//! Commands about YAML files, before anything is applied.

mod file;
mod plan;

pub(in crate::cli) use file::{Contents, lines, read};
pub(in crate::cli) use plan::Plan;
