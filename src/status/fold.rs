//! The fold itself.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::access::access;
use super::capabilities::capabilities;
use super::conditions::{condition, is_true, set};
use super::credentials;
use super::deletion::deletion_trouble;
use super::denials::denials;
use super::existing;
use super::ineffective::ineffective_writes;
use super::parts::verdict;
use super::revocation;
use super::rotation::rotation;
use super::verdict::Verdict;
use super::written::written;
use super::{Checked, Reconcile, Stage};
use crate::api::{
    AdoptionStatus, BucketConnectionStatus, BucketStatus, Created, DriftDifference, DriftEntry, DriftStatus, JOURNAL_LENGTH,
    ManagementMode, PolicyStatus, REQUESTED_AT, ROTATE_AT, SignIn, UserStatus, VersioningStatus,
};
use crate::execute::{Executed, Outcome, Report, StepOutput};
use crate::observed::{Bucket, is_fresh};
use crate::plan::{Action, Blocker, Plan};
use crate::settings::bucket_policy::OUR_PREFIX;
use crate::settings::{FieldDiff, Reading, SettingId};
use crate::vocabulary::conditions::{ConditionType, Reason};

/// Folds `reconcile` into the new status of the object.
pub fn fold(reconcile: &Reconcile<'_>) -> BucketConnectionStatus {
    let mut status = reconcile.object.status.clone().unwrap_or_default();
    // A suspended object is not read, so its requests wait.
    if !matches!(reconcile.stage, Stage::Suspended) {
        status.last_handled_reconcile_at = reconcile.object.request(REQUESTED_AT).or(status.last_handled_reconcile_at);
    }
    status.last_checked_at = Some(Time(reconcile.now));
    let seen = status.observed_generation.is_some();
    status.observed_generation = reconcile.object.metadata.generation;
    let mut fold = Fold { reconcile, status };
    match &reconcile.stage {
        Stage::Suspended => fold.suspended(),
        Stage::Invalid(errors) => {
            let text = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            fold.stalled(ConditionType::Ready, Reason::InvalidSpec, &text);
        }
        Stage::Refused(blocker) => fold.refused(blocker),
        Stage::Checked(check) => fold.checked(check),
        Stage::Deleting(plan, report) => fold.deleting(plan, report),
        Stage::Revoking(cut) => revocation::revoked(&mut fold.status, reconcile, cut),
    }
    if !matches!(reconcile.stage, Stage::Revoking(_)) {
        revocation::unbegun(&mut fold.status, reconcile, seen);
    }
    fold.status
}

pub(super) struct Fold<'a> {
    pub(super) reconcile: &'a Reconcile<'a>,
    pub(super) status: BucketConnectionStatus,
}

impl Fold<'_> {
    pub(super) fn set(&mut self, kind: ConditionType, value: impl Into<Option<bool>>, reason: Reason, message: &str) {
        set(
            &mut self.status.conditions,
            self.reconcile.object.metadata.generation,
            self.reconcile.now,
            kind,
            value.into(),
            reason,
            message,
        );
    }

    /// The status at the start of the reconcile.
    pub(super) fn before(&self) -> BucketConnectionStatus {
        self.reconcile.object.status.clone().unwrap_or_default()
    }

    /// Ready=False and Stalled=True for one cause, which `part` shows too.
    fn stalled(&mut self, part: ConditionType, reason: Reason, message: &str) {
        for kind in [part, ConditionType::Ready] {
            self.set(kind, false, reason, message);
        }
        self.set(ConditionType::Stalled, true, reason, message);
        self.set(ConditionType::Reconciling, false, reason, message);
    }

    /// What was known stays as it is: a suspended object is not unhealthy.
    fn suspended(&mut self) {
        let handled = self.status.last_handled_reconcile_at.as_ref();
        let rotated = self.status.memory.credentials.as_ref().and_then(|credentials| credentials.last_handled_rotate_at.as_ref());
        let waits = |annotation, handled: Option<&String>| {
            let request = self.reconcile.object.request(annotation);
            request.is_some() && request.as_ref() != handled
        };
        let requests = [("a reconcile", REQUESTED_AT, handled), ("another access key", ROTATE_AT, rotated)];
        let waiting: Vec<_> =
            requests.into_iter().filter(|(_, annotation, handled)| waits(annotation, *handled)).map(|(what, ..)| what).collect();
        let mut message = "spec.suspend is true: the operator reads and changes nothing".to_owned();
        if !waiting.is_empty() {
            message += &format!("; {} was requested, and waits until spec.suspend is false", waiting.join(" and "));
        }
        self.set(ConditionType::Reconciling, false, Reason::Suspended, &message);
        self.set(ConditionType::Stalled, false, Reason::Suspended, &message);
        if revocation::without_key(&self.status) {
            let (text, _) = revocation::consequence(self.reconcile.object);
            self.set(ConditionType::Ready, false, Reason::KeyRevoked, text);
        } else if condition(&self.status, ConditionType::Ready).is_none() {
            self.set(ConditionType::Ready, None, Reason::Suspended, &message);
        }
    }

    /// Nothing was read.
    fn refused(&mut self, blocker: &Blocker) {
        if blocker.stalled {
            return self.stalled(blocker.part, blocker.reason, &blocker.message);
        }
        let Blocker { part, reason, message, .. } = blocker.clone();
        self.sum_up(&[(part, Verdict { holds: Some(false), reason, message, stalled: false, transient: true })], None);
    }

    fn deleting(&mut self, plan: &Plan, report: &Report) {
        let text = "deleted, or being deleted";
        for part in ConditionType::PARTS.into_iter().filter(|part| *part != ConditionType::AccountReady) {
            self.set(part, false, Reason::Deleting, text);
        }
        self.status.capabilities.clear();
        match deletion_trouble(plan, report) {
            Some(Blocker { part, reason, message, stalled: true, .. }) => self.stalled(part, reason, &message),
            trouble => {
                let (reason, message) = match trouble {
                    Some(Blocker { reason, message, .. }) => (reason, format!("deletion continues: {message}")),
                    None => (Reason::Deleting, "deletion in progress".to_owned()),
                };
                self.set(ConditionType::Ready, false, reason, &message);
                self.set(ConditionType::Reconciling, true, reason, &message);
                self.set(ConditionType::Stalled, false, Reason::NotStalled, "");
            }
        }
    }

    fn checked(&mut self, check: &Checked<'_>) {
        self.status.memory.account_id = Some(check.desired.account.id.clone());
        self.status.memory.namespace_id = check.desired.namespace.id.clone();
        self.status.partition = Some(check.desired.account.partition.clone());
        self.status.memory.sign_in = Some(check.sign_in.clone()).filter(|sign_in| *sign_in != SignIn::default());
        let verdicts: Vec<_> = ConditionType::PARTS.into_iter().map(|part| (part, verdict(check, part))).collect();
        self.identities(check);
        let before = self.status.memory.credentials.take();
        self.status.memory.credentials = match check.desired.identity.user_provided() {
            Some(secret) => Some(existing::credentials(before.unwrap_or_default(), secret, check, self.reconcile.now)),
            None => credentials::after(before, self.reconcile, check),
        };
        if let Some(verdict) = rotation(&self.status, self.reconcile, check) {
            self.set(ConditionType::RotationComplete, verdict.holds, verdict.reason, &verdict.message);
        }
        self.status.memory.access = access(self.status.memory.access.take(), check);
        self.status.memory.written = written(std::mem::take(&mut self.status.memory.written), check);
        self.versioning(check);
        self.drift(check);
        self.status.ineffective_writes = ineffective_writes(check, self.reconcile.now);
        self.sum_up(&verdicts, denials(check.plan, check.report, Some(check)));
        let verified = verdicts.iter().find(|(part, _)| *part == ConditionType::Verified);
        if let Some((_, verdict)) = verified {
            // A call that failed transiently says nothing new about a working key.
            let stands = verdict.transient && is_true(&self.status, ConditionType::Verified);
            self.status.capabilities = capabilities(&self.status.capabilities, verdict, stands, check);
        }
    }

    /// Records names and ids that later reconciles need: only of managed resources.
    fn identities(&mut self, check: &Checked<'_>) {
        let Checked { desired, observed, .. } = check;
        if check.plan.frozen {
            // Of all recorded resources, only permissions that were withdrawn no longer exist.
            let memory = &mut self.status.memory;
            memory.policy.take_if(|policy| removed(check, policy) == Some(true));
            memory.earlier_policies.retain(|policy| removed(check, policy) != Some(true));
        }
        if check.plan.frozen || check.plan.hands_off {
            return;
        }
        let report = check.report;
        let bucket_made = report.did(|action| matches!(action, Action::CreateBucket { .. }));
        if bucket_made || matches!(observed.bucket, Bucket::There(_)) {
            // A bucket that was created again keeps no earlier names.
            let earlier_names = self.status.memory.owned();
            self.status.memory.writing.clear();
            let before = self.status.memory.bucket.take().filter(|before| !bucket_made && before.arn == desired.bucket.arn);
            let made = report.outputs().find_map(|output| match output {
                StepOutput::Bucket { from, to } => Some(Created::between(*from, *to)),
                _ => None,
            });
            let seen = match &observed.bucket_created {
                Reading::Set(at) => Some(Created::between(*at, *at)),
                _ => None,
            };
            let created = made.or(seen).or(before.as_ref().and_then(|before| before.created.clone()));
            let mut owned = before.map(|before| before.owned).unwrap_or_default();
            for (name, part, ours) in desired.bucket.settings.owned() {
                let failed = |undone: &Executed| undone.step.action.section() == name;
                let ours = claimed(name, ours, earlier_names.get(name), check);
                let open = desired.management.of(name) != ManagementMode::Enforce
                    || report.undone().any(failed)
                    || check.plan.blockers.iter().any(|blocker| blocker.part == part);
                let earlier = owned.remove(name);
                let ours = merged(ours, earlier, open);
                if !ours.is_empty() {
                    owned.insert(name.to_owned(), ours);
                }
            }
            let (arn, region) = (desired.bucket.arn.clone(), desired.region.clone());
            self.status.memory.bucket = Some(BucketStatus { arn, region, created, owned });
        }
        let made = report.outputs().find_map(|output| match output {
            StepOutput::User { id } => Some(id.clone()),
            _ => None,
        });
        let seen = match &observed.user {
            Reading::Set(user) => Some(user.id.clone()),
            _ => None,
        };
        if let Some(id) = made.or(seen) {
            let tags_failed = desired.management.of("user") != ManagementMode::Enforce
                || report.undone().any(|undone| matches!(undone.step.action, Action::TagUser { .. }));
            let earlier = self.status.memory.user.take();
            let permissions_boundaries = boundaries(check, earlier.as_ref());
            let tag_keys =
                merged(desired.user.tags.ours.keys().cloned().collect(), earlier.map(|user| user.tag_keys), tags_failed);
            let (name, arn) = (desired.user.name.clone(), desired.user.arn.clone());
            self.status.memory.user = Some(UserStatus { name, arn, id, tag_keys, permissions_boundaries });
        }
        self.policy(check);
    }

    /// Whether the bucket has versions, as read now or before.
    fn versioning(&mut self, check: &Checked<'_>) {
        let memory = &mut self.status.memory;
        let found = check.observed.versioned().map(|versioned| VersioningStatus { versioned, read_at: Time(self.reconcile.now) });
        // If nothing is verified, versioning is read in each reconcile; an unchanged value is not news.
        let stands = |known: &VersioningStatus| {
            let same = found.as_ref().is_none_or(|found| found.versioned == known.versioned);
            same && (found.is_none() || is_fresh(known, self.reconcile.now))
        };
        let known = memory.versioning.take().filter(stands);
        memory.versioning = known.or(found).filter(|_| check.desired.versioned.is_some());
    }

    fn policy(&mut self, check: &Checked<'_>) {
        let Checked { desired, observed, remembered, .. } = check;
        let identity = desired.policy.identity();
        let report = check.report;
        let written = report.outputs().find_map(|output| match output {
            StepOutput::Policy { version, id } => Some((version.clone(), id.clone())),
            _ => None,
        });
        let live = observed.managed_policy.set().filter(|_| identity.arn.is_some());
        let known = remembered.policy(desired).and_then(|known| known.id.clone());
        let (version, made) = written.unzip();
        let version = version.or(live.map(|policy| policy.version.clone())).filter(|_| identity.arn.is_some());
        let id = made.flatten().or(live.and_then(|policy| policy.id.clone())).or(known).filter(|_| version.is_some());
        let in_place = matches!(observed.inline_policy, Reading::Set(_))
            || version.is_some()
            || report.did(|action| matches!(action, Action::PutInlinePolicy { .. }));
        let unanswered = report.undone().any(|Executed { step, outcome }| {
            let writes = matches!(step.action, Action::PutInlinePolicy { .. } | Action::CreatePolicy { .. });
            writes && matches!(outcome, Outcome::Unknown(_))
        });
        if in_place {
            self.status.memory.policy = Some(PolicyStatus { id, version, ..identity });
        } else if !unanswered && remembered.policy(desired).is_none() {
            // It was announced but never written: a policy that appears with that name later is foreign.
            self.status.memory.policy = remembered.policies.first().cloned();
        }
        let still_there = |policy: &&PolicyStatus| {
            match removed(check, policy) {
                Some(removed) => !removed,
                // It was deleted, was foreign, was deleted with its user, or could not be read.
                None => policy
                    .arn
                    .as_ref()
                    .is_some_and(|arn| matches!(observed.earlier_policies.get(arn), Some(Reading::Unreadable(_)))),
            }
        };
        let current = |policy: &&PolicyStatus| self.status.memory.policy.as_ref().is_some_and(|current| current.is(policy));
        let earlier = remembered.earlier_policies(desired).filter(still_there).filter(|policy| !current(policy));
        let earlier: Vec<_> = earlier.cloned().collect();
        self.status.memory.earlier_policies = earlier;
    }

    fn drift(&mut self, check: &Checked<'_>) {
        let found: Vec<_> = check.report.done().filter(|step| step.drift).flat_map(|step| &step.diffs).collect();
        if !found.is_empty() {
            let drift = self.status.drift.get_or_insert_default();
            drift.count = drift.count.saturating_add(i64::try_from(found.len()).unwrap_or(i64::MAX));
            drift.last_detected_at = Some(Time(self.reconcile.now));
            let entry = |diff: &&crate::settings::FieldDiff| {
                DriftEntry::reverted(&diff.path, diff.live.as_ref(), diff.desired.as_ref(), self.reconcile.now)
            };
            let journal: Vec<_> = found.iter().map(entry).chain(drift.journal.drain(..)).take(JOURNAL_LENGTH).collect();
            drift.journal = journal;
        }
        self.differences(check);
        let undone = check.report.undone().map(|executed| &executed.step);
        let open = undone.chain(&check.plan.ineffective).filter(|step| step.drift);
        let paths: Vec<_> = open.flat_map(|step| &step.diffs).map(|diff| diff.path.as_str()).collect();
        let observed: Vec<_> = check.plan.observed.iter().flat_map(|step| &step.diffs).map(|diff| diff.path.as_str()).collect();
        if paths.is_empty() && !observed.is_empty() {
            let message = format!("differs from the spec, only observed: {}", observed.join(", "));
            self.set(ConditionType::DriftDetected, true, Reason::Observed, &message);
        } else if paths.is_empty() {
            self.set(ConditionType::DriftDetected, false, Reason::NoDrift, "nothing differs from the spec");
        } else {
            let message = format!("drift, not reverted yet: {}", paths.join(", "));
            self.set(ConditionType::DriftDetected, true, Reason::NotReverted, &message);
        }
    }

    /// The differences in observed sections, and what an adoption would change: as they are now.
    fn differences(&mut self, check: &Checked<'_>) {
        let shown = |diffs: &mut dyn Iterator<Item = &FieldDiff>| -> Vec<DriftDifference> {
            let shown = diffs.map(|diff| DriftDifference::new(&diff.path, diff.live.as_ref(), diff.desired.as_ref()));
            shown.take(DriftDifference::MOST).collect()
        };
        let differences = shown(&mut check.plan.observed.iter().flat_map(|step| &step.diffs));
        if !differences.is_empty() || self.status.drift.is_some() {
            self.status.drift.get_or_insert_default().differences = differences;
        }
        self.status.drift = self.status.drift.take().filter(|drift| *drift != DriftStatus::default());
        self.status.adoption = check
            .plan
            .adoption
            .as_ref()
            .map(|adoption| AdoptionStatus { plan_hash: adoption.hash.clone(), changes: shown(&mut adoption.changes.iter()) });
    }
}

/// The boundaries of the user that the operator set: the one written now, an existing one if it is the account's, or
/// the recorded ones. A call without an answer may have been executed.
fn boundaries(check: &Checked<'_>, earlier: Option<&UserStatus>) -> Vec<String> {
    let Checked { desired, observed, .. } = check;
    let wanted = desired.user.boundary.clone();
    let sets = |action: &Action| matches!(action, Action::CreateUser { .. } | Action::SetPermissionsBoundary { .. });
    let written = check.report.outcome(sets);
    let live = observed.user.set().and_then(|user| user.boundary.clone());
    let of_account = desired.user.boundary_of_account && live == wanted;
    let mut known = earlier.map(|user| user.permissions_boundaries.clone()).unwrap_or_default();
    if of_account || written.is_some_and(Outcome::is_done) {
        known.clear();
    }
    if of_account || written.is_some_and(|outcome| outcome.is_done() || matches!(outcome, Outcome::Unknown(_))) {
        known.extend(wanted.filter(|wanted| !known.contains(wanted)));
    }
    known
}

/// Those of `ours` that the operator wrote, in this reconcile or earlier. Something foreign may have the same name and
/// value, so a value that already matches does not become managed, unless the bucket is adopted. Tag keys are managed
/// by the rules of the account.
fn claimed(section: &str, ours: Vec<String>, earlier: Option<&Vec<String>>, check: &Checked<'_>) -> Vec<String> {
    if check.desired.bucket.adopt || section == SettingId::BucketTags.name() {
        return ours;
    }
    let mut of_section = check.report.steps.iter().filter(|executed| executed.step.action.section() == section);
    let written = of_section.any(|executed| matches!(executed.outcome, Outcome::Done(_) | Outcome::Unknown(_)));
    let adds = check.plan.adds.get(section).filter(|_| written);
    // Neither a spec nor anyone else uses a Sid with this prefix.
    let own = |name: &String| section == SettingId::BucketPolicy.name() && name.starts_with(OUR_PREFIX);
    let known = |name: &String| own(name) || earlier.into_iter().chain(adds).flatten().any(|known| known == name);
    ours.into_iter().filter(known).collect()
}

/// Keys that are managed now and, while a write of them is open, those that were.
fn merged(mut now: Vec<String>, earlier: Option<Vec<String>>, open: bool) -> Vec<String> {
    if open {
        now.extend(earlier.unwrap_or_default());
        now.sort();
        now.dedup();
    }
    now
}

/// Whether the policy was removed; `None` if no step of the plan removes it.
fn removed(check: &Checked<'_>, policy: &PolicyStatus) -> Option<bool> {
    let removes = |action: &Action| match action {
        Action::RemovePolicy { arn } => policy.arn.as_ref() == Some(arn),
        Action::DeleteInlinePolicy { name } => policy.arn.is_none() && policy.name == *name,
        _ => false,
    };
    check.report.outcome(removes).map(Outcome::is_done)
}
