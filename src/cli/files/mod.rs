//! Commands about YAML files, before anything is applied.

mod init;
mod plan;
mod render;
mod source;
mod subjects;
mod validate;

pub(in crate::cli) use init::Init;
pub(in crate::cli) use plan::Plan;
pub(in crate::cli) use render::Render;
pub(in crate::cli) use source::{Files, texts};
pub(in crate::cli) use validate::Validate;
