//! What `doctor` finds: each check with its result and the next step. The judgements are here; `cli` only reads.

mod clock;
mod connection;
mod crds;
mod installation;
mod permissions;

use serde::Serialize;

use super::screen::{Cell, Section, Tone};

pub use clock::{LARGEST_SKEW, clock};
pub use connection::{Secrets, connections, key, listing, region, secret};
pub use crds::crd;
pub use installation::{account, endpoint, heartbeat, leases, no_account, unreadable_account};
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
        Self { check, about: about.into(), outcome, text: text.into(), act: None }
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
    /// The permissions that the operator lacks, over all objects.
    pub missing_permissions: Missing,
}

impl Diagnosis {
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
