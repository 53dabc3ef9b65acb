//! The recorded state of the access keys: [`before`] a plan is executed, so that a crash leaves nothing unexplained,
//! and [`after`] it.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Checked, Reconcile};
use crate::api::{CredentialsStatus, KeyIntent, KeyPhase, LastUsed, PendingKey, PreviousKey, REVOKE_AT, ROTATE_AT};
use crate::desired::Desired;
use crate::execute::{Executed, Outcome, StepOutput};
use crate::keys::{ATTEMPT, Move, Owners, waiting_secret};
use crate::observed::{KeyProof, Ownership, Secret};
use crate::plan::{Action, Plan, Step, revocation};
use crate::settings::Reading;

/// How long after the end of an interrupted attempt its key may still appear: the clocks of AWS and the operator
/// differ, and AWS's lists lag behind.
pub(super) const LATE_SECONDS: i64 = 60;
/// A later use by the same service in the same region is not news within this time.
const SAME_USE_SECONDS: i64 = 3_600;

/// Records in `status`, before `plan` issues a key, what would explain that key after a crash: the existing keys, and
/// the Secret that the pending key goes to.
pub(super) fn before(status: &mut CredentialsStatus, plan: &Plan, desired: &Desired, now: Timestamp) {
    let issues = plan.steps.iter().find_map(|step| match &step.action {
        Action::IssueKey { secret, version, known, .. } => Some((step, secret, *version, known.clone())),
        _ => None,
    });
    let Some((step, secret, version, known_keys)) = issues else { return };
    if plan.cause(step).is_some_and(Move::rotates) {
        status.phase = Some(KeyPhase::Rotating);
        status.pending = Some(PendingKey { secret_name: secret.clone(), access_key_id: None });
    } else {
        status.phase = Some(KeyPhase::Issuing);
        // A pending key that could not be used, and the current key's own Secret, are dropped with it.
        let pending = status.pending.take().map(|next| next.secret_name);
        let own = version.filter(|number| *number > 1).and_then(|number| desired.secret.own(number - 1));
        status.earlier_secrets.extend(pending.into_iter().chain(own));
    }
    // An earlier attempt that is not accounted for stays explained until its key has been searched for and deleted.
    let since = status.intent.take().map_or(Time(now), |earlier| earlier.since);
    let until = Time(now.saturating_add(ATTEMPT).unwrap_or(now));
    let previous = status.previous.as_ref().map(|previous| previous.access_key_id.clone());
    let deleted = plan.steps.iter().filter_map(|step| match &step.action {
        Action::DeleteKey { id } if previous.as_ref() != Some(id) => Some(id.clone()),
        _ => None,
    });
    status.obsolete_keys = deleted.collect();
    status.intent = Some(KeyIntent { since, until, known_keys });
}

/// The recorded state after `reconcile`.
pub(super) fn after(
    before: Option<CredentialsStatus>,
    reconcile: &Reconcile<'_>,
    check: &Checked<'_>,
) -> Option<CredentialsStatus> {
    let mut fold = Keys { reconcile, check, status: before.unwrap_or_default() };
    fold.seen();
    fold.done();
    fold.secrets();
    fold.next();
    fold.previous();
    fold.intent();
    fold.sum_up();
    (fold.status != CredentialsStatus::default()).then_some(fold.status)
}

struct Keys<'a> {
    reconcile: &'a Reconcile<'a>,
    check: &'a Checked<'a>,
    status: CredentialsStatus,
}

impl Keys<'_> {
    fn main(&self) -> &str {
        &self.check.desired.secret.name
    }

    fn request(&self, annotation: &str) -> Option<String> {
        self.reconcile.object.metadata.annotations.as_ref()?.get(annotation).cloned()
    }

    fn did(&self, is: impl Fn(&Action) -> bool) -> bool {
        self.check.report.did(is)
    }

    /// The own Secret of the key that was found.
    fn own(&self) -> Option<String> {
        let Checked { desired, observed, remembered, .. } = self.check;
        let wrote = |own: &str| self.did(|action| matches!(action, Action::WriteSecret { name, .. } if name == own));
        let live = remembered.own_secret(desired, &observed.secret);
        let live = live.filter(|own| observed.own_secret.ours().is_some() || wrote(own));
        live.or_else(|| remembered.version_secret())
    }

    /// The Secret holds this key in place of the recorded one, whose own Secret is `own`.
    fn replaced(&mut self, id: &str, version: Option<i64>, own: Option<String>) {
        let old = self.status.access_key_id.replace(id.to_owned()).filter(|old| old != id);
        self.status.revoked.clear();
        (self.status.created_at, self.status.verified_at) = (None, None);
        if let Some(old) = old {
            let next =
                self.status.pending.as_ref().is_some_and(|next| next.access_key_id.as_deref().is_none_or(|next| next == id));
            // The Secret was set back to the previous key, perhaps from a backup.
            let back = self.status.previous.as_ref().is_some_and(|previous| previous.access_key_id == id);
            if next || back {
                // Consumers that have read it may use it for a while. The key before it is dropped to make room, and
                // its own Secret too.
                let earlier = self.status.previous.take().and_then(|previous| previous.secret_name);
                self.status.earlier_secrets.extend(earlier);
                self.status.previous = Some(PreviousKey {
                    access_key_id: old,
                    secret_name: own,
                    replaced_at: Time(self.reconcile.now),
                    works_until: Time(self.reconcile.now),
                    inactive_since: None,
                    last_used: None,
                });
            } else {
                // The key is lost: the operator crashed between the Secret and the status, or someone changed the
                // Secret.
                self.status.obsolete_keys.push(old);
            }
        }
        self.status.version = version;
        self.status.last_handled_rotate_at = self.request(ROTATE_AT);
    }

    /// Whether there can be no earlier managed key: the user is new, or not managed yet. The user of an object that was
    /// retained or forgotten may have keys that must be revoked.
    fn had_no_key(&self) -> bool {
        let Checked { desired, observed, .. } = self.check;
        let others = matches!(&observed.user, Reading::Set(user) if Ownership::of(&user.tags, desired) != Ownership::Ours);
        !desired.identity.is_managed() || others || self.did(|action| matches!(action, Action::CreateUser { .. }))
    }

    /// What was read from the Secret. A key that AWS rejects is not recorded: anyone may have written it there.
    fn seen(&mut self) {
        let Checked { observed, plan, remembered, .. } = self.check;
        if !remembered.seen {
            // A key that was never issued cannot be rotated on request.
            self.status.last_handled_rotate_at = self.request(ROTATE_AT);
        }
        if remembered.user.is_none() && self.had_no_key() {
            self.status.last_handled_revoke_at = self.request(REVOKE_AT);
        }
        let (KeyProof::Works(key) | KeyProof::Denied(key, _)) = &observed.proof else { return };
        if plan.frozen || plan.hands_off {
            return;
        }
        let live = observed.secret.ours();
        let version = live.and_then(|secret| secret.version).or(self.status.version);
        if self.status.access_key_id.as_ref() != Some(&key.id) {
            // The operator may have crashed in the reconcile that wrote the first key's own Secret.
            let before = version.filter(|number| *number > 1).and_then(|number| self.check.desired.secret.own(number - 1));
            self.replaced(&key.id, version, remembered.version_secret().or(before));
        }
        self.status.version = version;
        self.status.created_at = live.and_then(|secret| secret.key_created_at).map(Time).or(self.status.created_at.take());
    }

    /// The results of the steps.
    fn done(&mut self) {
        let Checked { plan, report, .. } = self.check;
        let rotates = |step: &Step| plan.cause(step).is_some_and(Move::rotates);
        let mut issued = None;
        for Executed { step, outcome } in &report.steps {
            match (&step.action, outcome) {
                (Action::IssueKey { secret, version, retire, .. }, Outcome::Done(StepOutput::Key { id, created_at })) => {
                    issued = Some((id, *created_at));
                    if !rotates(step) {
                        let gone = self.own().into_iter().chain(self.check.remembered.version_secret());
                        self.status.earlier_secrets.extend(gone);
                        self.status.access_key_id = None;
                        self.replaced(id, *version, None);
                        self.status.created_at = Some(Time(*created_at));
                        self.status.phase = Some(KeyPhase::Propagating);
                        self.status.obsolete_keys = retire.clone();
                    } else {
                        self.status.pending = Some(PendingKey { secret_name: secret.clone(), access_key_id: Some(id.clone()) });
                    }
                    // This attempt is accounted for; an earlier one may not be.
                    self.status.intent = self.check.remembered.credentials.intent.clone();
                }
                // No key was issued for certain, so there is nothing to search for, unless an earlier attempt is not
                // accounted for.
                (Action::IssueKey { .. }, Outcome::Failed(_) | Outcome::Skipped) => {
                    self.status.intent = self.check.remembered.credentials.intent.clone();
                    self.status.pending = self.check.remembered.credentials.pending.clone();
                    self.status.phase = self.status.phase.filter(|phase| *phase != KeyPhase::Issuing);
                }
                (Action::WriteSecret { name, key, created_at, version }, Outcome::Done(_)) if name == self.main() => {
                    let written = key.as_ref().map(|key| (&key.id, *created_at)).or(issued.map(|(id, at)| (id, Some(at))));
                    let Some((id, created_at)) = written else { continue };
                    if self.status.access_key_id.as_ref() != Some(id) {
                        self.replaced(id, *version, self.own());
                        // It was verified before.
                        let proven = rotates(step);
                        self.status.verified_at = proven.then_some(Time(self.reconcile.now));
                    }
                    self.status.version = *version;
                    self.status.created_at = created_at.map(Time).or(self.status.created_at.take());
                }
                // A pending key is not recorded as verified yet.
                (Action::Verify { .. }, _) if rotates(step) => {}
                (Action::Verify { .. }, Outcome::Done(_)) => {
                    self.status.phase = Some(KeyPhase::Verified);
                    self.status.verified_at = Some(Time(self.reconcile.now));
                }
                (Action::Verify { .. }, Outcome::Pending(_)) => self.status.phase = Some(KeyPhase::Propagating),
                (Action::Verify { .. }, Outcome::Failed(problem)) if problem.is_permanent() => {
                    self.status.phase = Some(KeyPhase::Rejected);
                }
                (Action::DeleteKey { id }, Outcome::Done(_)) => self.status.obsolete_keys.retain(|obsolete| obsolete != id),
                (Action::DeleteKey { id }, _) if !self.noted(id) => self.status.obsolete_keys.push(id.clone()),
                (Action::CreateUser { .. } | Action::RemoveDenyPolicy, Outcome::Done(_)) => self.status.revocation = None,
                (Action::DenyAllAccess { sessions_before: Some(before) }, Outcome::Done(_)) => {
                    self.status.revocation = Some(revocation::revocation(*before));
                }
                _ => {}
            }
        }
    }

    /// Whether the key is recorded elsewhere.
    fn noted(&self, id: &String) -> bool {
        let next = self.status.pending.as_ref().is_some_and(|next| next.access_key_id.as_ref() == Some(id));
        let previous = self.status.previous.as_ref().is_some_and(|previous| previous.access_key_id == *id);
        next || previous || self.status.obsolete_keys.contains(id)
    }

    /// Names of Secrets.
    fn secrets(&mut self) {
        let Checked { desired, observed, remembered, .. } = self.check;
        let main = desired.secret.name.as_str();
        let written = self.did(|action| match action {
            Action::IssueKey { secret: name, .. } | Action::WriteSecret { name, .. } => name == main,
            _ => false,
        });
        if written || matches!(observed.secret, Secret::Ours(_)) {
            self.status.secret_name = Some(main.to_owned());
        }
        let dropped = |name: &str| {
            let drops = |action: &Action| matches!(action, Action::DeleteSecret { name: dropped } if dropped == name);
            match self.check.report.outcome(drops) {
                Some(outcome) => outcome.is_done(),
                None => match observed.earlier_secrets.get(name) {
                    Some(live) => !matches!(live, Secret::Ours(_) | Secret::Unreadable(_)),
                    // It became an earlier Secret in this reconcile.
                    None => !self.status.earlier_secrets.iter().any(|earlier| earlier == name),
                },
            }
        };
        let mut earlier = remembered.earlier_secrets(desired, &observed.secret);
        earlier.extend(self.status.earlier_secrets.clone());
        earlier.extend(observed.earlier_secrets.keys().cloned());
        let own = self.status.version.and_then(|number| desired.secret.own(number));
        earlier.retain(|name| name != main && Some(name) != own.as_ref() && !dropped(name));
        self.status.earlier_secrets = earlier.into_iter().collect();
    }

    fn drops(&self, secret: &str) -> bool {
        self.did(|action| matches!(action, Action::DeleteSecret { name } if name == secret))
    }

    /// Whether the key is gone for certain.
    fn key_gone(&self, id: &str) -> bool {
        let listed = match &self.check.observed.keys {
            Reading::Set(keys) => Some(keys.iter().any(|key| key.id == id)),
            _ => None,
        };
        let deleted = self.did(|action| matches!(action, Action::DeleteKey { id: deleted } if deleted == id));
        let issued = self.check.report.outputs().any(|output| matches!(output, StepOutput::Key { id: new, .. } if new == id));
        deleted || (listed == Some(false) && !issued)
    }

    /// A key that a retained object left waiting: it is the pending key.
    fn left_waiting(&mut self) {
        let Checked { desired, observed, remembered, plan, .. } = self.check;
        let (None, Reading::Set(keys)) = (&remembered.credentials.pending, &observed.keys) else { return };
        if self.status.pending.is_some() || plan.frozen || plan.hands_off {
            return;
        }
        let (KeyProof::Works(key) | KeyProof::Denied(key, _)) = &observed.pending_proof else { return };
        let ours = &self.status;
        let known = Some(&key.id) == ours.access_key_id.as_ref()
            || ours.obsolete_keys.contains(&key.id)
            || ours.previous.as_ref().is_some_and(|previous| previous.access_key_id == key.id);
        let name = waiting_secret(desired, remembered, &observed.secret, self.check.began);
        if let Some(name) = name.filter(|name| !known && !self.drops(name) && keys.iter().any(|listed| listed.id == key.id)) {
            self.status.pending = Some(PendingKey { secret_name: name, access_key_id: Some(key.id.clone()) });
        }
    }

    /// The pending key: recorded until the Secret holds it and nothing is left in its waiting Secret, or until it is
    /// deleted.
    fn next(&mut self) {
        self.left_waiting();
        let Some(mut next) = self.status.pending.clone() else { return };
        let desired = self.check.desired;
        if let (None, KeyProof::Works(key) | KeyProof::Denied(key, _)) = (&next.access_key_id, &self.check.observed.pending_proof)
        {
            next.access_key_id = Some(key.id.clone());
            self.status.pending = Some(next.clone());
        }
        // The operator may have crashed before it recorded the id; then the waiting Secret has it.
        let waits = self.check.observed.pending.keys().into_iter().map(|key| key.id);
        let published = next.access_key_id.clone().into_iter().chain(waits).any(|id| Some(id) == self.status.access_key_id);
        let own = self.status.version.and_then(|number| desired.secret.own(number));
        // The Secret itself may have been given this name.
        let in_place = next.secret_name == *self.main() || own.as_ref() == Some(&next.secret_name);
        let empty = matches!(self.check.observed.pending, Secret::Absent);
        let gone = match &next.access_key_id {
            Some(id) => self.key_gone(id) || published,
            // Its id was never recorded. It does not exist anywhere once the Secret holds only the known key.
            None => match &self.check.observed.secret {
                Secret::Unreadable(_) => false,
                secret => secret.keys().iter().all(|key| Some(&key.id) == self.status.access_key_id.as_ref()),
            },
        };
        let issuing = self.check.report.steps.iter().any(|Executed { step, outcome }| {
            matches!(&step.action, Action::IssueKey { secret, .. } if *secret == next.secret_name)
                && !matches!(outcome, Outcome::Failed(_) | Outcome::Skipped)
        });
        if self.drops(&next.secret_name) || (published && in_place) || (empty && gone && !issuing) {
            self.status.pending = None;
        }
    }

    /// The previous key: recorded until it is deleted together with its own Secret.
    fn previous(&mut self) {
        let Some(mut previous) = self.status.previous.take() else { return };
        let Checked { desired, observed, .. } = self.check;
        let dropped = previous.secret_name.as_ref().is_none_or(|secret| secret == self.main() || self.drops(secret));
        if (self.key_gone(&previous.access_key_id) && dropped)
            || self.status.access_key_id.as_ref() == Some(&previous.access_key_id)
        {
            return;
        }
        let until = previous.replaced_at.0.checked_add(desired.rotation.overlap).unwrap_or(previous.replaced_at.0);
        previous.works_until = Time(Timestamp::from_second(until.as_second()).unwrap_or(until));
        let deactivated = self.did(|action| matches!(action, Action::DeactivateKey { .. }));
        let inactive = match &observed.keys {
            Reading::Set(keys) => keys.iter().any(|key| key.id == previous.access_key_id && !key.active),
            _ => false,
        };
        if previous.inactive_since.is_none() && (deactivated || inactive) {
            previous.inactive_since = Some(Time(self.reconcile.now));
        }
        if let Reading::Set(used) = &observed.last_used
            && previous.last_used.as_ref().is_none_or(|known| is_news(known, used))
        {
            previous.last_used = Some(used.clone());
        }
        self.status.previous = Some(previous);
    }

    /// When the time of an interrupted attempt is over, its key has been searched for, and was handled or not found. If
    /// several keys would fit, the attempt ends at once, so that the last of them does not become managed later.
    fn intent(&mut self) {
        let Checked { observed, remembered, plan, .. } = self.check;
        let Some(intent) = &self.status.intent else { return };
        let about_key = |step: &Step| matches!(step.action, Action::IssueKey { .. } | Action::DeleteKey { .. });
        let mut about_keys = self.check.report.steps.iter().filter(|executed| about_key(&executed.step)).peekable();
        // A hold, or a Secret that cannot be written: the machine did nothing about any key.
        let left = matches!(plan.moves[..], [Move::Block(_)]);
        let works = matches!(observed.proof, KeyProof::Works(_)) && !left;
        // As long as the pending key waits without being recorded, only the intent explains it.
        let unnoted = self.status.pending.as_ref().is_some_and(|next| next.access_key_id.is_none());
        let several = Owners::of(remembered, observed).ambiguous();
        let looked = works || about_keys.peek().is_some() || several;
        let over = several || self.check.began.as_second() > intent.until.0.as_second() + LATE_SECONDS;
        if over
            && !unnoted
            && matches!(observed.keys, Reading::Set(_))
            && looked
            && about_keys.all(|executed| executed.outcome.is_done())
        {
            self.status.intent = None;
        }
    }

    fn sum_up(&mut self) {
        let status = &mut self.status;
        status.obsolete_keys.retain(|id| status.access_key_id.as_ref() != Some(id));
        status.obsolete_keys.sort();
        status.obsolete_keys.dedup();
        let created = status.created_at.as_ref().map(|created| created.0);
        let rotation = &self.check.desired.rotation;
        status.next_rotation_at =
            status.access_key_id.as_ref().zip(created).and_then(|(id, created)| rotation.next(id, created)).map(Time);
        let ended = status.revocation.as_ref().is_some_and(|revoked| self.check.began >= revoked.ends_at.0);
        if ended && self.check.observed.denial == Reading::Unset {
            status.revocation = None;
        }
        status.phase = match (status.phase, &status.pending, &status.previous) {
            (Some(KeyPhase::Verified | KeyPhase::Overlapping), Some(_), _) => Some(KeyPhase::Rotating),
            (Some(KeyPhase::Verified | KeyPhase::Rotating), None, Some(_)) => Some(KeyPhase::Overlapping),
            (Some(KeyPhase::Rotating | KeyPhase::Overlapping), None, None) => Some(KeyPhase::Verified),
            (phase, _, _) => phase,
        };
    }
}

fn is_news(known: &LastUsed, used: &LastUsed) -> bool {
    let second = |used: &LastUsed| used.at.as_ref().map(|at| at.0.as_second()).unwrap_or_default();
    (&known.service, &known.region) != (&used.service, &used.region) || second(used) - second(known) >= SAME_USE_SECONDS
}
