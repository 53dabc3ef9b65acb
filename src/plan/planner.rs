//! Collects the steps and blockers of a plan.

use std::collections::BTreeMap;

use super::{Action, Blocker, Plan, Step, breaker};
use crate::observed::{KeyProof, Observed, Remembered};
use crate::settings::FieldDiff;
use crate::settings::tags::Tags;
use crate::vocabulary::conditions::{ConditionType, Reason};
use crate::vocabulary::problem::{Place, Problem};

/// Collects steps and blockers.
pub(super) struct Planner<'a> {
    pub(super) remembered: &'a Remembered,
    pub(super) place: Place,
    /// Fingerprints of the desired state, by section; empty if nothing is reverted.
    pub(super) wanted: BTreeMap<&'static str, String>,
    pub(super) plan: Plan,
    pub(super) ineffective: breaker::Ineffective,
    /// A basic resource is foreign: the plan changes nothing.
    pub(super) frozen: bool,
    /// A basic resource belongs to another connection.
    pub(super) foreign: bool,
    /// What is adopted, by the part that reports it.
    pub(super) adopts: Vec<ConditionType>,
    /// The resource to adopt replaced a managed one of the same name: that needs approval, whatever it changes.
    pub(super) replaced: bool,
    /// The bucket is foreign: the managed user loses its permissions, although everything else is frozen. The status may no longer
    /// know that it has any.
    pub(super) withdraws: bool,
}

impl<'a> Planner<'a> {
    pub(super) fn new(remembered: &'a Remembered) -> Self {
        let (place, plan, ineffective) = (Place::default(), Plan::default(), breaker::Ineffective::new());
        let (wanted, adopts) = (BTreeMap::new(), Vec::new());
        let (frozen, foreign, replaced, withdraws) = (false, false, false, false);
        Self { remembered, place, wanted, plan, ineffective, frozen, foreign, adopts, replaced, withdraws }
    }

    /// Adds a step; returns its index.
    pub(super) fn step(&mut self, part: ConditionType, action: Action, diffs: Vec<FieldDiff>, after: &[usize]) -> usize {
        // A rotation step is not part of what a connection consists of.
        let lasting = ConditionType::PARTS.contains(&part);
        let drift = !diffs.is_empty() && lasting && self.wrote(action.section());
        self.plan.steps.push(Step { after: after.to_vec(), drift, ..Step::new(part, action, diffs) });
        self.plan.steps.len() - 1
    }

    /// Whether the desired state of a section is what was written last.
    pub(super) fn wrote(&self, section: &str) -> bool {
        let written = self.remembered.written.get(section);
        written.is_some() && written == self.wanted.get(section)
    }

    /// Whether the status records the current key. If not, the operator issued it in a reconcile that it did not end, and
    /// has to complete what belongs to that key.
    pub(super) fn records_key(&self, observed: &Observed) -> bool {
        let recorded = self.remembered.credentials.access_key_id.as_ref();
        matches!(&observed.proof, KeyProof::Works(key) | KeyProof::Denied(key, _) if Some(&key.id) == recorded)
    }

    /// Adds a write, unless it is ineffective; another try of an ineffective write does not count as reverting drift.
    pub(super) fn write(&mut self, part: ConditionType, action: Action, diffs: Vec<FieldDiff>, after: &[usize]) -> Option<usize> {
        let index = self.step(part, action, diffs, after);
        let step = &mut self.plan.steps[index];
        let Some(retry) = breaker::fingerprint(step, self.remembered).and_then(|print| self.ineffective.get(&print)) else {
            return Some(index);
        };
        self.plan.ineffective.push(step.clone());
        step.drift = false;
        if !retry {
            self.plan.steps.pop();
        }
        retry.then_some(index)
    }

    /// Adds a blocker that a person must remove.
    pub(super) fn stall(&mut self, part: ConditionType, reason: Reason, message: String) {
        self.plan.blockers.push(Blocker { part, reason, message, stalled: true, problem: None });
    }

    /// The same, and the plan changes nothing while it applies.
    pub(super) fn freeze(&mut self, part: ConditionType, reason: Reason, message: String) {
        self.stall(part, reason, message);
        self.frozen = true;
    }

    /// The same for a resource that belongs to another connection: the plan also shows nothing of it.
    pub(super) fn freeze_foreign(&mut self, part: ConditionType, reason: Reason, message: String) {
        self.freeze(part, reason, message);
        self.foreign = true;
    }

    /// Adds a part that could not be read.
    pub(super) fn unreadable(&mut self, part: ConditionType, problem: &Problem) {
        self.plan.blockers.push(Blocker::unreadable(part, problem, &self.place));
    }

    pub(super) fn finish(mut self) -> Plan {
        if self.frozen {
            self.plan.steps.clear();
            self.plan.ineffective.clear();
        }
        self.conclude()
    }

    pub(super) fn conclude(mut self) -> Plan {
        for (part, message) in breaker::messages(&self.plan) {
            self.stall(part, Reason::NotConverging, message);
        }
        self.plan.frozen = self.frozen;
        self.plan
    }
}

/// Why `what`, which has the desired name, is foreign.
pub(super) fn of_earlier_namespace(what: &str) -> String {
    format!(
        "{what} belongs to a deleted namespace of the same name (tag bucketconnection.dev/namespace), which may have been another tenant's, so the operator does not change it; choose another name, or set inherit: true for this namespace in the AWSAccount (spec.allowedNamespaces)"
    )
}

/// The diff of something that exists or does not.
pub(super) fn presence_diff(path: &str, live: bool) -> Vec<FieldDiff> {
    let present = |is: bool| is.then(|| serde_json::json!("present"));
    vec![FieldDiff::new(path, present(live), present(!live))]
}

/// Tag changes for a user, whose tags are set and removed by key.
pub(super) fn tag_changes(live: &Tags, merged: &Tags) -> (Tags, Vec<String>) {
    let set = merged.iter().filter(|(key, value)| live.get(*key) != Some(*value));
    let set: BTreeMap<_, _> = set.map(|(key, value)| (key.clone(), value.clone())).collect();
    let remove = live.keys().filter(|key| !merged.contains_key(*key)).cloned().collect();
    (set, remove)
}
