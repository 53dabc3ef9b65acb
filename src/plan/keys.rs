//! The access keys' part of a plan: turns the moves of the key machine (`keys/`) into steps.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Action, Blocker, Planner, presence_diff, revocation};
use crate::api::REVOKE_AT;
use crate::credentials::{KeyPair, secret_data};
use crate::desired::{Desired, names};
use crate::keys::{ATTEMPT, Because, Hold, Issue, MAX_KEYS, Move, Obstacle, Ring, Stage, Why, next_moves};
use crate::observed::{Ledger, Observed, OwnSecret, Secret, announcement};
use crate::settings::{FieldDiff, Reading};
use crate::vocabulary::conditions::{ConditionType, Reason};
use crate::vocabulary::problem::DENIERS;

const PART: ConditionType = ConditionType::CredentialsReady;
const ROTATION: ConditionType = ConditionType::RotationComplete;

/// The steps before those for the key.
pub(super) struct Before {
    /// The plan creates the user.
    pub(super) new_user: bool,
    /// The steps after which bucket and user are managed: no key is issued before them.
    pub(super) base: Vec<usize>,
    /// The steps after which the user has its permissions.
    pub(super) granted: Vec<usize>,
}

/// Plans keys and Secrets.
pub(super) fn plan(planner: &mut Planner<'_>, desired: &Desired, observed: &Observed, now: Timestamp, before: &Before) {
    let Before { new_user, base, granted } = before;
    // A new user has no earlier sessions.
    if !*new_user {
        revocation::keep(planner, observed, now);
    }
    let ring = Ring::read(desired, observed, planner.remembered, now, (*new_user, !granted.is_empty()));
    let after_grant = base.iter().chain(granted).copied().collect();
    let mut steps = Steps {
        planner,
        desired,
        observed,
        now,
        base: base.clone(),
        after_grant,
        orphan: None,
        ready: Vec::new(),
        proven: Vec::new(),
        pending: Vec::new(),
    };
    for next in next_moves(&ring) {
        let first = steps.planner.plan.steps.len();
        steps.planner.plan.moves.push(next.clone());
        let cause = steps.planner.plan.moves.len() - 1;
        steps.carry_out(next);
        steps.planner.plan.steps[first..].iter_mut().for_each(|step| step.cause = Some(cause));
    }
}

/// Turns moves into steps.
struct Steps<'p, 'r, 'd> {
    planner: &'p mut Planner<'r>,
    desired: &'d Desired,
    observed: &'d Observed,
    now: Timestamp,
    base: Vec<usize>,
    after_grant: Vec<usize>,
    /// The step that deletes an orphan.
    orphan: Option<usize>,
    /// Steps after which the current key can be verified: the Secret is right, the key active.
    ready: Vec<usize>,
    /// The step that verifies the current key.
    proven: Vec<usize>,
    /// The step that verifies the pending key.
    pending: Vec<usize>,
}

impl Steps<'_, '_, '_> {
    fn carry_out(&mut self, next: Move) {
        let part = next.part();
        match next {
            Move::Block(obstacle) => self.block(part, obstacle),
            Move::DeleteOrphan(id) => self.orphan = Some(self.delete(PART, id, &[])),
            Move::WriteSecret(key) => {
                let written = self.write_secret(&key);
                self.ready.extend(written);
            }
            Move::DropEarlierSecrets => {
                let ready = self.ready.clone();
                self.drop_earlier_secrets(ready);
            }
            Move::Activate(id) => {
                let diffs = account(&id, "Inactive");
                let active = self.planner.step(PART, Action::ActivateKey { id }, diffs, &[]);
                self.ready.push(active);
            }
            Move::Prove(key) => {
                let after = [self.after_grant.as_slice(), &self.ready].concat();
                self.proven = vec![self.verify(part, Some(key), &after)];
            }
            Move::WriteOwnSecret(key) => {
                let number = self.number().unwrap_or(1);
                if let Some(name) = self.desired.secret.own(number)
                    && let Some(written) = self.write(&name, self.observed.own_secret.ours(), &key, Some(number))
                {
                    self.planner.plan.steps[written].drift &= self.planner.records_key(self.observed);
                }
            }
            Move::Restart(key) => {
                let proven = self.proven.clone();
                self.restart(Some(&key.id), &proven);
            }
            Move::Issue(issue) => match issue.stage {
                Stage::Current => self.issue(issue),
                Stage::Pending => self.issue_pending(issue),
            },
            Move::ProvePending(key) => {
                let after = self.after_grant.clone();
                self.pending = vec![self.verify(ROTATION, Some(key), &after)];
            }
            Move::Publish { key, proven } => {
                let after = if proven { [self.after_grant.as_slice(), &self.pending].concat() } else { Vec::new() };
                self.publish(part, Some(key), &after);
            }
            Move::Deactivate(id) => {
                let diff = FieldDiff::new("accessKey", Some(json!(format!("{id} (replaced)"))), Some(json!("Inactive")));
                self.quiet(part, Action::DeactivateKey { id }, vec![diff], &[]);
            }
            Move::Delete { id, secret, because } => {
                let after = if because == Because::Replaced { self.proven.clone() } else { Vec::new() };
                let gone = self.delete(part, id, &after);
                if let Some(secret) = secret {
                    self.drop_secret(part, &secret, &[gone]);
                }
            }
            Move::DropSecret(name) => {
                self.drop_secret(part, &name, &[]);
            }
        }
    }

    fn block(&mut self, part: ConditionType, obstacle: Obstacle) {
        let (user, main) = (&self.desired.user.name, &self.desired.secret.name);
        let not_owned = |name: &str, why: &str| {
            format!(
                "Secret {name} {why}, so the operator does not overwrite it; delete that Secret, or choose another credentials.secret.name"
            )
        };
        let (reason, message) = match obstacle {
            Obstacle::Unreadable(part, problem) => return self.planner.unreadable(part, &problem),
            Obstacle::SecretNotOwned(why) => {
                // If no key can continue to work, no other step makes sense.
                self.planner.frozen |= self.planner.remembered.credentials.access_key_id.is_none();
                let message = format!(
                    "Secret {main} {why}, so the operator does not overwrite it; choose another credentials.secret.name, or delete that Secret"
                );
                (Reason::SecretNotOwned, message)
            }
            Obstacle::OwnSecretNotOwned(why) => {
                let own = self.desired.secret.own(self.number().unwrap_or(1)).unwrap_or_default();
                (Reason::SecretNotOwned, not_owned(&own, &why))
            }
            Obstacle::WaitingSecretNotOwned(why) => (Reason::SecretNotOwned, not_owned(&self.waiting_secret(), &why)),
            Obstacle::Hold(Hold::Tag) => (
                Reason::UserOnHold,
                format!(
                    "IAM user {user} has the tag {}: the operator leaves its access keys as they are; remove the tag when the incident is over",
                    names::HOLD_TAG
                ),
            ),
            Obstacle::Hold(Hold::Quarantine(arn)) => (
                Reason::KeyCompromised,
                format!(
                    "AWS attached {arn} to IAM user {user} because its access key leaked; revoke its keys and sessions (a new value of the annotation {REVOKE_AT}), review in CloudTrail what they did, then detach that policy"
                ),
            ),
            Obstacle::Denied(key, problem) => {
                let message = format!("AWS denies access key {} what its policy allows ({}){DENIERS}", key.id, problem.brief());
                (Reason::AccessDenied, message)
            }
            Obstacle::PendingDenied(key, problem) => {
                let message =
                    format!("AWS denies the pending access key {} what its policy allows ({})", key.id, problem.brief());
                (Reason::AccessDenied, message)
            }
            Obstacle::Rejected(key, code) => {
                let message = format!(
                    "IAM lists access key {} as Active, but S3 does not accept it yet ({code}); the operator retries",
                    key.id
                );
                let reason = Reason::KeyRejected;
                return self.planner.plan.blockers.push(Blocker { part, reason, message, stalled: false, problem: None });
            }
            Obstacle::NoRoom { foreign, ours } => (Reason::ForeignAccessKeys, no_room(user, &foreign, ours.as_deref())),
            Obstacle::NoRoomToRotate(current, other) => (
                Reason::ForeignAccessKeys,
                format!(
                    "IAM user {user} already has {MAX_KEYS} access keys ({current} managed, {other} not created by this operator), the IAM limit, so {current} cannot be rotated; delete {other}"
                ),
            ),
        };
        self.planner.stall(part, reason, message);
    }

    /// Issues a key into the Secret: as the first key, or in place of a lost one.
    fn issue(&mut self, issue: Issue) {
        let diffs = self.why(&issue.why);
        let mut after: Vec<usize> = self.orphan.into_iter().collect();
        if !issue.room.is_empty() {
            // Such a key may still be in use somewhere else, so it is deleted only if the new key has a Secret.
            let name = self.desired.secret.name.clone();
            let tried = self.planner.step(PART, Action::DryRunSecret { name }, Vec::new(), &[]);
            after.extend(issue.room.into_iter().map(|id| self.delete(PART, id, &[tried])).collect::<Vec<_>>());
        }
        let announced = self.announce(PART, &issue.known, &after);
        let before: Vec<_> = self.base.iter().chain(&after).copied().chain(announced).collect();
        let mut ledger = Ledger::of(&self.planner.remembered.credentials);
        ledger.previous = ledger.previous.filter(|(id, _)| issue.known.contains(id) && !issue.obsolete.contains(id));
        (ledger.pending, ledger.obsolete) = (None, issue.obsolete.clone());
        let version = self.desired.secret.versioned.then(|| self.number().unwrap_or_default() + 1);
        let action = Action::IssueKey {
            secret: self.desired.secret.name.clone(),
            version,
            known: issue.known,
            retire: issue.obsolete.clone(),
        };
        let issued = match issue.why {
            // The operator deleted the key itself.
            Why::Revoked(_) => self.quiet(PART, action, diffs, &before),
            _ => self.planner.step(PART, action, diffs, &before),
        };
        // In parallel with the verification, which takes longer.
        self.quiet(PART, Action::RecordKeys { ledger, issued: true }, Vec::new(), &[issued]);
        let after = [self.after_grant.as_slice(), &[issued]].concat();
        let proven = self.verify(ConditionType::Verified, None, &after);
        for id in issue.obsolete {
            self.delete(PART, id, &[proven]);
        }
        self.drop_earlier_secrets(vec![issued]);
        if let (Some(version), None, Secret::Absent) = (version, self.number(), &self.observed.own_secret) {
            let name = self.desired.secret.own(version).unwrap_or_default();
            let action = Action::WriteSecret { name: name.clone(), key: None, created_at: None, version: Some(version) };
            self.planner.step(PART, action, presence_diff(&format!("secret({name})"), false), &[proven]);
        } else if version.is_some() {
            // For a later key the next reconcile writes it, after it has read whether a Secret of that name exists.
            self.planner.plan.unfinished.insert("credentials");
        }
        self.restart(None, &[proven]);
    }

    /// Issues the pending key into its waiting Secret, verifies it there, and publishes it.
    fn issue_pending(&mut self, issue: Issue) {
        let diffs = self.why(&issue.why);
        let mut before = self.base.clone();
        before.extend(self.orphan);
        before.extend(issue.room.into_iter().map(|id| self.delete(ROTATION, id, &[])).collect::<Vec<_>>());
        before.extend(self.announce(ROTATION, &issue.known, &before));
        let secret = self.desired.secret.pending(self.number());
        let version = self.next_number();
        let action = Action::IssueKey { secret, version, known: issue.known, retire: Vec::new() };
        let issued = self.quiet(ROTATION, action, diffs, &before);
        let after = [self.after_grant.as_slice(), &[issued]].concat();
        let proven = self.verify(ROTATION, None, &after);
        self.publish(ROTATION, None, &[proven]);
    }

    /// Records on the user that a key is about to be issued next to `known`: for a new user in the call that creates
    /// it, otherwise by a separate step.
    fn announce(&mut self, part: ConditionType, known: &[String], after: &[usize]) -> Option<usize> {
        let mut ledger = announcement(&self.planner.remembered.credentials, known, self.now, ATTEMPT);
        let creates = self.planner.plan.steps.iter_mut().find_map(|step| match &mut step.action {
            Action::CreateUser { tags } => Some(tags),
            _ => None,
        });
        if let Some(tags) = creates {
            let policy = &self.desired.policy;
            (ledger.secret, ledger.policy) = (Some(self.desired.secret.name.clone()), Some((policy.kind, policy.name.clone())));
            tags.extend(ledger.tags());
            return None;
        }
        Some(self.quiet(part, Action::RecordKeys { ledger, issued: false }, Vec::new(), after))
    }

    /// Writes the pending key to the Secret, and deletes its waiting Secret unless that is the key's own.
    fn publish(&mut self, part: ConditionType, key: Option<KeyPair>, after: &[usize]) {
        let (name, version) = (self.desired.secret.name.clone(), self.next_number());
        let created_at = self.observed.pending.ours().and_then(|next| next.key_created_at);
        let live = self.observed.secret.ours().map(|_| json!("(replaced)"));
        let diff = FieldDiff::new(format!("secret({name})"), live, Some(json!("(pending key)")));
        let action = Action::WriteSecret { name, key: key.clone(), created_at, version };
        let id = key.as_ref().map(|key| key.id.clone());
        let written = if part == ROTATION {
            self.quiet(part, action, vec![diff], after)
        } else {
            let written = self.planner.step(part, action, vec![diff], after);
            let after = [self.after_grant.as_slice(), &[written]].concat();
            self.verify(ConditionType::Verified, key, &after);
            written
        };
        let waiting = self.waiting_secret();
        if version.and_then(|version| self.desired.secret.own(version)).as_ref() != Some(&waiting) {
            self.drop_secret(ROTATION, &waiting, &[written]);
        }
        self.restart(id.as_ref(), &[written]);
    }

    /// Name of the Secret that holds the pending key, or will hold it.
    fn waiting_secret(&self) -> String {
        let noted = self.planner.remembered.credentials.pending.as_ref().map(|noted| noted.secret_name.clone());
        noted.unwrap_or_else(|| self.desired.secret.pending(self.number()))
    }

    /// Number of the current key, if keys were ever versioned.
    fn number(&self) -> Option<i64> {
        self.planner.remembered.number(&self.observed.secret)
    }

    /// Number of the pending key: the current key has one as soon as keys are versioned.
    fn next_number(&self) -> Option<i64> {
        self.desired.secret.versioned.then(|| self.number().unwrap_or(1) + 1)
    }

    /// Writes `key` to the Secret, if its contents differ.
    fn write_secret(&mut self, key: &KeyPair) -> Option<usize> {
        let number = self.number();
        let number = if self.desired.secret.versioned { Some(number.unwrap_or(1)) } else { number };
        let name = self.desired.secret.name.clone();
        self.write(&name, self.observed.secret.ours(), key, number)
    }

    /// Writes `key` to the Secret `name`, which is `live`, if its data differ from the desired data for `key`, or if it
    /// is not marked as managed.
    fn write(&mut self, name: &str, live: Option<&OwnSecret>, key: &KeyPair, version: Option<i64>) -> Option<usize> {
        let differs = self.differences(live, key);
        let same_version = live.is_some_and(|secret| secret.version == version);
        if differs.is_empty() && same_version && live.is_some_and(|secret| secret.claimed) {
            return None;
        }
        let claims = differs.is_empty() && same_version;
        let diffs = match live {
            None => presence_diff(&format!("secret({name})"), false),
            Some(_) if !differs.is_empty() => differs,
            Some(secret) if !same_version => {
                vec![FieldDiff::new("secret.version", secret.version.map(|v| json!(v)), Some(json!(version)))]
            }
            Some(_) => vec![FieldDiff::new("secret.metadata", Some(json!("released")), Some(json!("owned")))],
        };
        let created_at = self.planner.remembered.key_created_at(&self.observed.secret);
        let action = Action::WriteSecret { name: name.to_owned(), key: Some(key.clone()), created_at, version };
        // A Secret that was retained, or restored from a backup, is not drift.
        Some(if claims { self.quiet(PART, action, diffs, &[]) } else { self.planner.step(PART, action, diffs, &[]) })
    }

    fn differences(&self, live: Option<&OwnSecret>, key: &KeyPair) -> Vec<FieldDiff> {
        let mut diffs = Vec::new();
        for (name, field) in &secret_data(&self.desired.secret.fields, key) {
            let held = live.and_then(|secret| secret.data.get(*name));
            if held != Some(&field.value) {
                let shown = |text: &str, hidden: &str| json!(if field.secret { hidden } else { text });
                let held = held.map(|held| shown(held.reveal(), "(differs)"));
                diffs.push(FieldDiff::new(format!("secret[{name}]"), held, Some(shown(field.value.reveal(), "(secret)"))));
            }
        }
        diffs
    }

    /// Secrets with earlier names are deleted once the new one holds the key.
    fn drop_earlier_secrets(&mut self, mut after: Vec<usize>) {
        // A key's own Secret is deleted before the Secret whose annotation names it.
        let main = &self.desired.secret.name;
        let ours = |(name, secret): &(&String, &Secret)| *name != main && matches!(secret, Secret::Ours(_));
        for (name, _) in self.observed.earlier_secrets.iter().rev().filter(ours) {
            after = vec![self.drop_secret(PART, name, &after)];
        }
    }

    /// Restarts workloads that do not use the key with this id yet, or all if this plan issues the key.
    fn restart(&mut self, key: Option<&String>, after: &[usize]) {
        let Reading::Set(workloads) = &self.observed.workloads else { return };
        for workload in workloads.iter().filter(|workload| key.is_none() || workload.key.as_ref() != key) {
            let path = format!("{}({}).key", workload.kind, workload.name);
            let diff = FieldDiff::new(path, workload.key.as_ref().map(|key| json!(key)), key.map(|key| json!(key)));
            let action = Action::Restart { kind: workload.kind, name: workload.name.clone(), key: key.cloned() };
            self.quiet(ROTATION, action, vec![diff], after);
        }
    }

    fn verify(&mut self, part: ConditionType, key: Option<KeyPair>, after: &[usize]) -> usize {
        self.planner.step(part, Action::Verify { key, patient: true }, Vec::new(), after)
    }

    fn delete(&mut self, part: ConditionType, id: String, after: &[usize]) -> usize {
        let diff = FieldDiff::new("accessKey", Some(json!(id)), None);
        self.quiet(part, Action::DeleteKey { id }, vec![diff], after)
    }

    fn drop_secret(&mut self, part: ConditionType, name: &str, after: &[usize]) -> usize {
        let diffs = vec![FieldDiff::new(format!("secret({name})"), Some(json!("present")), None)];
        self.quiet(part, Action::DeleteSecret { name: name.to_owned() }, diffs, after)
    }

    /// Adds a step that reverts no drift: changes by the key machine to its own keys are not drift.
    fn quiet(&mut self, part: ConditionType, action: Action, diffs: Vec<FieldDiff>, after: &[usize]) -> usize {
        let step = self.planner.step(part, action, diffs, after);
        self.planner.plan.steps[step].drift = false;
        step
    }

    /// Why a key is issued, as a diff.
    fn why(&self, why: &Why) -> Vec<FieldDiff> {
        let secret =
            |field: &str, live: Value| vec![FieldDiff::new(format!("secret[{field}]"), Some(live), Some(json!("(secret)")))];
        match why {
            Why::NewUser | Why::NoKey => presence_diff(&format!("secret({})", self.desired.secret.name), false),
            Why::Revoked(ids) => {
                let live = json!(format!("{} (revoked)", ids.join(", ")));
                vec![FieldDiff::new("accessKey", Some(live), Some(json!("(new key)")))]
            }
            Why::Deleted(id) => account(id, "deleted"),
            Why::Expired(id) => account(id, "Expired"),
            Why::InactiveOfOthers(id) => account(id, "foreign, Inactive"),
            Why::WrongSecret(_) => secret("AWS_SECRET_ACCESS_KEY", json!("(wrong)")),
            Why::OtherUser(id, arn) => {
                vec![FieldDiff::new("secret[AWS_ACCESS_KEY_ID]", Some(json!(format!("{id} of {arn}"))), None)]
            }
            Why::Rotation(id, _) => vec![FieldDiff::new("accessKey", Some(json!(id)), Some(json!("(new key)")))],
        }
    }
}

/// The state of a key in AWS, which should be active.
fn account(id: &str, live: &str) -> Vec<FieldDiff> {
    vec![FieldDiff::new("accessKey", Some(json!(format!("{id} ({live})"))), Some(json!("active")))]
}

fn no_room(user: &str, foreign: &[String], ours: Option<&str>) -> String {
    let theirs = foreign.join(", ");
    match ours {
        None => format!(
            "IAM user {user} already has {} access keys that this operator did not create ({theirs}), and the IAM limit is {MAX_KEYS}; delete one of them",
            foreign.len()
        ),
        Some(ours) => format!(
            "IAM user {user} already has {MAX_KEYS} access keys ({ours} managed, in its overlap; {theirs} not created by this operator), the IAM limit; delete {theirs}"
        ),
    }
}

/// Name of the key's own Secret once the plan so far is executed, if that Secret is certain to be managed.
pub(super) fn own_after(planner: &Planner<'_>, desired: &Desired, observed: &Observed) -> Option<String> {
    let main = &desired.secret.name;
    let steps = || planner.plan.steps.iter().map(|step| &step.action);
    let published = steps().find_map(|action| match action {
        Action::IssueKey { secret: name, version, .. } | Action::WriteSecret { name, version, .. } if name == main => *version,
        _ => None,
    });
    let now = planner.remembered.number(&observed.secret);
    let own = desired.secret.own(published.or(now)?)?;
    let written = steps().any(|action| match action {
        Action::IssueKey { secret: name, .. } | Action::WriteSecret { name, .. } => *name == own,
        _ => false,
    });
    let live = if published.is_some_and(|number| Some(number) != now) { &observed.pending } else { &observed.own_secret };
    (written || live.ours().is_some()).then_some(own)
}
