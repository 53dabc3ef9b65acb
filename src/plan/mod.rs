//! Second stage: the steps from the observed to the desired state.
//!
//! Pure, and so specific that execution has nothing left to decide. An empty plan means "in sync". The `plan` subcommand prints the
//! same value that the controller executes. Rules (docs/decisions/0003-ownership.md): the operator changes nothing foreign; it
//! gives no permission and issues no key before the bucket is known to be managed; a failed verification deletes nothing.

mod access;
mod adoption;
pub mod breaker;
mod bucket;
pub mod deletion;
mod existing;
mod keys;
mod modes;
mod policy;
pub mod revocation;
mod user;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::api::ManagementMode;
use crate::api::conditions::{ConditionType, Reason};
use crate::credentials::KeyPair;
use crate::desired::{Desired, Document};
use crate::keys::Move;
use crate::observed::{Grant, Ledger, Observed, Remembered, WorkloadKind};
use crate::problem::{Place, Problem};
use crate::settings::tags::Tags;
use crate::settings::{self, FieldDiff};
pub use adoption::Adoption;

/// What the operator will do, and what blocks it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Steps, each after those that it depends on.
    pub steps: Vec<Step>,
    /// The decisions of the key machine; each of its steps refers to its move.
    pub moves: Vec<Move>,
    /// What blocks a part.
    pub blockers: Vec<Blocker>,
    /// Writes that had no effect several times: held back, unless they are also among the steps for another try.
    pub ineffective: Vec<Step>,
    /// A basic resource is foreign, so the plan changes nothing.
    pub frozen: bool,
    /// Steps of sections that are only observed: differences that stay.
    pub observed: Vec<Step>,
    /// No section is enforced, so the plan changes nothing and manages nothing.
    pub hands_off: bool,
    /// An adoption that waits for approval.
    pub adoption: Option<Adoption>,
    /// Parts of shared settings that become managed when the section's step is done.
    pub adds: BTreeMap<&'static str, Vec<String>>,
    /// Sections that have no step because they are blocked, or could not be read.
    pub open: BTreeSet<&'static str>,
}

impl Plan {
    /// Whether the observed state is the desired state.
    pub fn in_sync(&self) -> bool {
        self.steps.is_empty() && self.blockers.is_empty() && self.observed.is_empty()
    }

    /// The move of the key machine that `step` belongs to.
    pub fn cause(&self, step: &Step) -> Option<&Move> {
        self.moves.get(step.cause?)
    }
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What the step does.
    pub action: Action,
    /// The condition that reports it.
    pub part: ConditionType,
    /// The fields that it changes; secrets never appear.
    pub diffs: Vec<FieldDiff>,
    /// Indexes of the steps that must succeed first.
    pub after: Vec<usize>,
    /// Whether it reverts drift: the desired value is the one that was written last.
    pub drift: bool,
    /// The move of the key machine that it belongs to, as an index into [`Plan::moves`].
    pub cause: Option<usize>,
}

/// What a step does. Bucket, user and account are those of [`Desired`].
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Action {
    CreateBucket {
        tags: Tags,
    },
    WriteSetting {
        field: &'static str,
        write: settings::Write,
    },
    CreateUser {
        tags: Tags,
    },
    /// Sets a managed policy as the permissions boundary of the user.
    SetPermissionsBoundary {
        arn: String,
    },
    TagUser {
        set: Tags,
        remove: Vec<String>,
    },
    PutInlinePolicy {
        name: String,
        document: Document,
    },
    DeleteInlinePolicy {
        name: String,
    },
    CreatePolicy {
        document: Document,
        tags: Tags,
    },
    /// Writes a new default version, after deleting `prune` if the policy has as many versions as AWS allows.
    UpdatePolicy {
        document: Document,
        prune: Option<String>,
    },
    /// Marks a managed policy as owned, or removes the operator's marks.
    TagPolicy {
        arn: String,
        set: Tags,
        remove: Vec<String>,
    },
    AttachPolicy {
        arn: String,
    },
    /// Detaches the policy from the user and deletes it with all its versions.
    RemovePolicy {
        arn: String,
    },
    /// Creates a key and writes it to `secret`: the only step that cannot be repeated. `known` are the existing keys.
    IssueKey {
        secret: String,
        version: Option<i64>,
        known: Vec<String>,
        retire: Vec<String>,
    },
    /// Records on the user, in AWS, which keys are managed, in case status and Secret are lost. If `issued`, the key
    /// that this plan issued is the current one.
    RecordKeys {
        ledger: Ledger,
        issued: bool,
    },
    ActivateKey {
        id: String,
    },
    DeactivateKey {
        id: String,
    },
    /// Asks the API server whether the Secret could be written.
    DryRunSecret {
        name: String,
    },
    DeleteKey {
        id: String,
    },
    /// Writes the key, or the key that this plan issued if it is `None`, to the Secret `name`.
    WriteSecret {
        name: String,
        key: Option<KeyPair>,
        created_at: Option<Timestamp>,
        version: Option<i64>,
    },
    DeleteSecret {
        name: String,
    },
    /// Marks the Secret as retained.
    ReleaseSecret {
        name: String,
    },
    /// Denies the user everything, or only the sessions that began earlier.
    DenyAllAccess {
        sessions_before: Option<Timestamp>,
    },
    RemoveDenyPolicy,
    /// Restarts the pods of a workload, so that they use the key with this id, or the key that this plan issued if it
    /// is `None`.
    Restart {
        kind: WorkloadKind,
        name: String,
        key: Option<String>,
    },
    /// Writes the Role that allows reading the Secrets.
    WriteRole {
        name: String,
        secrets: Vec<String>,
    },
    /// Binds groups to that Role.
    WriteRoleBinding {
        name: String,
        groups: Vec<String>,
    },
    DeleteGrant {
        kind: Grant,
        name: String,
    },
    /// Marks a Role or RoleBinding as retained.
    ReleaseGrant {
        kind: Grant,
        name: String,
    },
    /// Verifies the key as [`Desired`] says; the key that this plan issued if `key` is `None`. If `patient`, retries
    /// while changes propagate.
    Verify {
        key: Option<KeyPair>,
        patient: bool,
    },
    EmptyBucket,
    DeleteBucket,
    DeleteUser,
}

impl Action {
    /// Whether the step writes to the bucket: such writes are sent one after the other, because parallel ones collide
    /// (409 OperationAborted).
    pub fn writes_bucket(&self) -> bool {
        matches!(self, Self::CreateBucket { .. } | Self::WriteSetting { .. } | Self::EmptyBucket | Self::DeleteBucket)
    }
}

/// Something that blocks a part.
#[derive(Clone, Debug, PartialEq)]
pub struct Blocker {
    /// The part.
    pub part: ConditionType,
    /// Why.
    pub reason: Reason,
    /// Why, and what the user can do.
    pub message: String,
    /// Whether a person must act.
    pub stalled: bool,
    /// The read that failed, if that is the cause.
    pub problem: Option<Problem>,
}

impl Blocker {
    /// A part that could not be read, for a connection that works with `place`.
    pub fn unreadable(part: ConditionType, problem: &Problem, place: &Place) -> Self {
        let (reason, message) = problem.describe(place);
        Self { part, reason, message, stalled: problem.is_permanent(), problem: Some(problem.clone()) }
    }
}

/// Plans the steps from `observed` to `desired`. `now` only distinguishes a new key from an older one, and decides when to try an
/// ineffective write again.
pub fn plan(desired: &Desired, observed: &Observed, remembered: &Remembered, now: Timestamp) -> Plan {
    let ineffective = breaker::ineffective(remembered, now);
    let (place, wanted) = (desired.place(), desired.fingerprints());
    let mut planner = Planner { ineffective, place, wanted, ..Planner::new(remembered) };
    planner.plan.hands_off = desired.management.hands_off();
    let bucket = bucket::plan(&mut planner, desired, observed);
    match &desired.existing {
        Some(secret) => existing::plan(&mut planner, desired, observed, secret, bucket.as_slice()),
        None => identity(&mut planner, desired, observed, now, bucket),
    }
    if planner.plan.hands_off && !planner.foreign {
        // Observing changes nothing, but the plan shows nothing of what belongs to another connection.
        planner.frozen = false;
    }
    if planner.frozen {
        planner.plan.steps.clear();
        planner.plan.ineffective.clear();
        if planner.withdraws && desired.existing.is_none() {
            policy::withdraw(&mut planner, desired, observed);
        }
        return planner.conclude();
    }
    modes::apply_modes(&mut planner.plan, &desired.management);
    adoption::require_approval(&mut planner, desired);
    planner.finish()
}

/// Plans the user, its policy, its key, the Secret and the access to it.
fn identity(planner: &mut Planner<'_>, desired: &Desired, observed: &Observed, now: Timestamp, bucket: Option<usize>) {
    let user = user::plan(planner, desired, observed);
    // A tenant that can name a bucket in the spec must get no permission on it, and no key, before the bucket is known
    // to be managed.
    let base: Vec<usize> = [bucket, user].into_iter().flatten().collect();
    let granted = policy::plan(planner, desired, observed, user.is_some(), &base);
    // The plan does not wait for what is not enforced.
    let granted = if desired.management.of("policy") == ManagementMode::Enforce { granted } else { Vec::new() };
    keys::plan(planner, desired, observed, now, user.is_some(), &base, &granted);
    access::plan(planner, desired, observed);
}

/// Collects steps and blockers.
struct Planner<'a> {
    remembered: &'a Remembered,
    place: Place,
    /// Fingerprints of the desired state, by section; empty if nothing is reverted.
    wanted: BTreeMap<&'static str, String>,
    plan: Plan,
    ineffective: breaker::Ineffective,
    /// A basic resource is foreign: the plan changes nothing.
    frozen: bool,
    /// A basic resource belongs to another connection.
    foreign: bool,
    /// What is adopted, by the part that reports it.
    adopts: Vec<ConditionType>,
    /// The resource to adopt replaced a managed one of the same name: that needs approval, whatever it changes.
    replaced: bool,
    /// The bucket is foreign: the managed user loses its permissions, although everything else is frozen. The status may no longer
    /// know that it has any.
    withdraws: bool,
}

impl<'a> Planner<'a> {
    fn new(remembered: &'a Remembered) -> Self {
        let (place, plan, ineffective) = (Place::default(), Plan::default(), breaker::Ineffective::new());
        let (wanted, adopts) = (BTreeMap::new(), Vec::new());
        let (frozen, foreign, replaced, withdraws) = (false, false, false, false);
        Self { remembered, place, wanted, plan, ineffective, frozen, foreign, adopts, replaced, withdraws }
    }

    /// Adds a step; returns its index.
    fn step(&mut self, part: ConditionType, action: Action, diffs: Vec<FieldDiff>, after: &[usize]) -> usize {
        // A rotation step is not part of what a connection consists of.
        let lasting = ConditionType::PARTS.contains(&part);
        let drift = !diffs.is_empty() && lasting && self.wrote(action.section());
        self.plan.steps.push(Step { action, part, diffs, after: after.to_vec(), drift, cause: None });
        self.plan.steps.len() - 1
    }

    /// Whether the desired state of a section is what was written last.
    fn wrote(&self, section: &str) -> bool {
        let written = self.remembered.written.get(section);
        written.is_some() && written == self.wanted.get(section)
    }

    /// Adds a write, unless it is ineffective; another try of an ineffective write does not count as reverting drift.
    fn write(&mut self, part: ConditionType, action: Action, diffs: Vec<FieldDiff>, after: &[usize]) -> Option<usize> {
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
    fn stall(&mut self, part: ConditionType, reason: Reason, message: String) {
        self.plan.blockers.push(Blocker { part, reason, message, stalled: true, problem: None });
    }

    /// The same, and the plan changes nothing while it applies.
    fn freeze(&mut self, part: ConditionType, reason: Reason, message: String) {
        self.stall(part, reason, message);
        self.frozen = true;
    }

    /// The same for a resource that belongs to another connection: the plan also shows nothing of it.
    fn freeze_foreign(&mut self, part: ConditionType, reason: Reason, message: String) {
        self.freeze(part, reason, message);
        self.foreign = true;
    }

    /// Adds a part that could not be read.
    fn unreadable(&mut self, part: ConditionType, problem: &Problem) {
        self.plan.blockers.push(Blocker::unreadable(part, problem, &self.place));
    }

    fn finish(mut self) -> Plan {
        if self.frozen {
            self.plan.steps.clear();
            self.plan.ineffective.clear();
        }
        self.conclude()
    }

    fn conclude(mut self) -> Plan {
        for (part, message) in breaker::messages(&self.plan) {
            self.stall(part, Reason::NotConverging, message);
        }
        self.plan.frozen = self.frozen;
        self.plan
    }
}

/// Why `what`, which has the desired name, is foreign.
fn of_earlier_namespace(what: &str) -> String {
    format!(
        "{what} was created for an earlier namespace of this name (tag bucketconnection.dev/namespace), and this one may belong to another tenant: the operator does not change it; choose another name, or set inherit: true for this namespace in the AWSAccount (spec.allowedNamespaces)"
    )
}

/// The diff of something that exists or does not.
fn presence_diff(path: &str, live: bool) -> Vec<FieldDiff> {
    let present = |is: bool| is.then(|| serde_json::json!("present"));
    vec![FieldDiff::new(path, present(live), present(!live))]
}

/// Tag changes for a user, whose tags are set and removed by key.
fn tag_changes(live: &Tags, merged: &Tags) -> (Tags, Vec<String>) {
    let set = merged.iter().filter(|(key, value)| live.get(*key) != Some(*value));
    let set: BTreeMap<_, _> = set.map(|(key, value)| (key.clone(), value.clone())).collect();
    let remove = live.keys().filter(|key| !merged.contains_key(*key)).cloned().collect();
    (set, remove)
}
