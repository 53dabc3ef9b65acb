//! Commands for the people who run the operator.

mod check;
mod crds;
mod iam_policy;
mod log;
mod namespaces;
mod run;

pub(in crate::cli) use check::Check;
pub(in crate::cli) use crds::Crds;
pub(in crate::cli) use iam_policy::IamPolicy;
pub(in crate::cli) use run::Run;
