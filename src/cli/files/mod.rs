//! Commands about YAML files, before anything is applied.

mod file;
mod plan;
mod source;
mod validate;

pub(in crate::cli) use file::{Contents, lines, read};
pub(in crate::cli) use plan::Plan;
pub(in crate::cli) use source::Files;
pub(in crate::cli) use validate::Validate;
