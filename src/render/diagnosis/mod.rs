//! What `doctor` finds: each check with its result and the next step. The judgements are here; `cli` only reads.

mod clock;
mod connection;
mod crds;
mod installation;
mod permissions;

use serde::Serialize;

use super::screen::{Cell, Section, Tone};
use crate::vocabulary::problem::{Class, Problem};

pub use clock::{LARGEST_SKEW, clock};
pub use connection::{Secrets, connections, key, listing, region, secret};
pub use crds::crd;
pub use installation::{account, endpoint, heartbeat, leases, no_account, unreadable_account, unusable};
pub use permissions::{Missing, missing, permissions};

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The check: crds, operator, clock, account, permissions, endpoint, region, connections, connection, secret or key.
    pub check: &'static str,
    /// What was checked.
    pub about: String,
    /// The result.
    pub outcome: Outcome,
    /// What was found.
    pub text: String,
    /// The Kubernetes permission that the user lacks for this check.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needs: Option<String>,
    /// The next step, if there is one.
    #[serde(rename = "do", skip_serializing_if = "Option::is_none")]
    pub act: Option<String>,
}

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// As it should be.
    Ok,
    /// The check was not possible, for example because the user lacks a permission. Not a failure.
    NotChecked,
    /// Worth knowing, but not wrong.
    Note,
    /// Something is wrong.
    Wrong,
}

impl Finding {
    fn new(check: &'static str, about: impl Into<String>, outcome: Outcome, text: impl Into<String>) -> Self {
        Self { check, about: about.into(), outcome, text: text.into(), needs: None, act: None }
    }

    fn ok(check: &'static str, about: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(check, about, Outcome::Ok, text)
    }

    fn note(check: &'static str, about: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(check, about, Outcome::Note, text)
    }

    fn wrong(check: &'static str, about: impl Into<String>, text: impl Into<String>, act: impl Into<String>) -> Self {
        Self { act: Some(act.into()).filter(|act| !act.is_empty()), ..Self::new(check, about, Outcome::Wrong, text) }
    }

    /// A check that was not possible.
    pub fn not_checked(check: &'static str, about: impl Into<String>, why: impl Into<String>) -> Self {
        Self::new(check, about, Outcome::NotChecked, why)
    }

    /// A check for which something could not be read; to read it needs the Kubernetes permission `needs`.
    pub fn unread(check: &'static str, about: impl Into<String>, needs: &str, problem: &Problem) -> Self {
        match problem.class {
            Class::Denied => Self { needs: Some(needs.to_owned()), ..Self::not_checked(check, about, format!("needs {needs}")) },
            _ => Self::not_checked(check, about, problem.brief()),
        }
    }

    /// The same finding with this next step.
    fn and(self, act: impl Into<String>) -> Self {
        Self { act: Some(act.into()), ..self }
    }
}

/// All findings, in the order in which a person would check them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Diagnosis {
    /// The findings.
    pub findings: Vec<Finding>,
    /// The permissions that the operator lacks, over all objects; and those that the user lacks.
    pub missing_permissions: Missing,
}

impl Diagnosis {
    /// All findings, and last what the user could not check for lack of permissions.
    pub fn of(mut findings: Vec<Finding>, mut missing: Missing) -> Self {
        missing.yours = findings.iter().filter_map(|finding| finding.needs.clone()).collect();
        findings.extend(permissions::yours(&missing.yours));
        Self { findings, missing_permissions: missing }
    }

    /// Whether something is wrong.
    pub fn is_wrong(&self) -> bool {
        self.findings.iter().any(|finding| finding.outcome == Outcome::Wrong)
    }

    /// The findings for people.
    pub fn screen(&self) -> Vec<Section> {
        let row = |finding: &Finding| {
            let (tone, word) = match finding.outcome {
                Outcome::Ok => (Tone::Good, "ok"),
                Outcome::NotChecked => (Tone::Faint, "not checked"),
                Outcome::Note => (Tone::Changed, "note"),
                Outcome::Wrong => (Tone::Bad, "wrong"),
            };
            let text = if finding.outcome == Outcome::NotChecked { Tone::Faint } else { Tone::Plain };
            let about = if finding.about.is_empty() { finding.check } else { &finding.about };
            let act = finding.act.as_ref().map(|act| format!("Do: {act}"));
            vec![Cell::of(tone, word), Cell::from(about), Cell::of(text, &finding.text).and(Tone::Heading, act)]
        };
        let count = |outcome| self.findings.iter().filter(|finding| finding.outcome == outcome).count();
        let summary = format!(
            "{} ok, {} wrong, {} to note, {} not checked",
            count(Outcome::Ok),
            count(Outcome::Wrong),
            count(Outcome::Note),
            count(Outcome::NotChecked)
        );
        let tone = if self.is_wrong() { Tone::Bad } else { Tone::Good };
        vec![Section::new("", self.findings.iter().map(row).collect()), Section::new("", vec![vec![Cell::of(tone, summary)]])]
    }
}

#[cfg(test)]
mod tests;
