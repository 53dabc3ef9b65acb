//! Commands for the people who run the operator.

mod check;
mod crds;
mod iam_policy;
mod log;
mod run;

use super::Failure;

pub(in crate::cli) use check::Check;
pub(in crate::cli) use crds::Crds;
pub(in crate::cli) use iam_policy::{IamPolicy, account_id};
pub(in crate::cli) use run::Run;

/// The value of one `--namespace`.
fn namespace(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    match text {
        "" => Err("a name is empty; name at least one namespace, or omit the option for all namespaces".to_owned()),
        _ if text.len() > 63 || !text.chars().all(fits) || text.starts_with('-') || text.ends_with('-') => {
            Err("not a name of a namespace; use up to 63 lower-case letters, digits and hyphens".to_owned())
        }
        _ => Ok(text.to_owned()),
    }
}

/// The values of `--namespace`, in alphabetical order; none for the whole cluster.
fn distinct(names: &[String]) -> Result<Vec<String>, Failure> {
    let mut names = names.to_vec();
    names.sort();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Failure(format!("--namespace names {} more than once; name each namespace once", pair[0]))),
        None => Ok(names),
    }
}
