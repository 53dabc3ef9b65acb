//! The access key's part of a plan: the state machine of the key in the Secret. The one after it and the one before it are in
//! rotation.rs, the emergency is in revocation.rs.
//!
//! | Secret holds | AWS says | then |
//! |---|---|---|
//! | a key | it works | rest; write the Secret if its data differ; delete keys that were replaced; go on with a rotation |
//! | a key | denied | policy being repaired: prove again; else say who may deny it |
//! | a key | rejected, young and never proven | wait: it propagates |
//! | a key | rejected, Inactive | activate it; of somebody else: issue another |
//! | a key | rejected, Expired | issue another, then delete the old one |
//! | a key | rejected, not in the list | young: wait, the list may be older; else issue another |
//! | a key | wrong signature, or of another user | the Secret was edited: issue another, then delete the old one |
//! | no key | the next key waits already, and works | take that one |
//! | no key | user has none of ours | issue one |
//! | no key | user has ours | its secret part is lost: issue another, then delete the old one |
//! | no key | one key that an intent explains | the answer to CreateAccessKey was lost: delete that key, issue another |
//! | no key | several that an intent would explain | all but one are foreign, so none is touched |
//!
//! Why no key is lost: a key is issued only after the intent to do so is in the status, with all keys that are there; whatever appears
//! beside them is the one that was issued, and either some Secret of ours holds it or nobody ever saw it. An attempt that was broken off
//! may still be carried out, or be seen, minutes later; so its intent stands until its time is over, however the next attempt ends. Why none is deleted that
//! somebody needs: `DeleteKey` is planned for a key of ours only, when nobody has its secret part any more (`retiring`, the
//! orphan), when the key after it was proven and its own time is over (rotation.rs), or when somebody asked for just that
//! (revocation.rs, deletion.rs). Never more than two keys, never a foreign key touched, nothing deleted because of a failed proof
//! alone.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{Action, Planner, revocation, rotation, whole};
use crate::api::REVOKE_AT;
use crate::api::conditions::{ConditionType, Reason};
use crate::credentials::{KeyPair, secret_data};
use crate::desired::{Desired, names};
use crate::observed::{AccessKey, KeyProof, Ledger, Observed, OwnSecret, Remembered, Secret, announcement};
use crate::problem::{DENIERS, Problem};
use crate::settings::{FieldDiff, Reading};

const PART: ConditionType = ConditionType::CredentialsReady;
/// Access keys that a user may have, inactive ones included.
pub(super) const MAX_KEYS: usize = 2;
/// How long a new key may take to reach all of AWS (facts: 2 to 15 s seen; botocore and Terraform allow 2 minutes).
const PROPAGATION_SECONDS: i64 = 120;
/// How long issuing a key takes at most: the steps before it, the call's timeout, and the attempts to write the Secret.
pub(crate) const ATTEMPT: SignedDuration = SignedDuration::from_mins(5);
/// AWS attaches these to a user whose key it found in public.
const QUARANTINE: &str = "AWSCompromisedKeyQuarantine";

/// Plans key and Secret; `granted` are the steps after which the user has its rights.
pub(super) fn plan(
    planner: &mut Planner<'_>,
    desired: &Desired,
    observed: &Observed,
    now: Timestamp,
    new_user: bool,
    base: &[usize],
    granted: &[usize],
) {
    let mut after_grant = base.to_vec();
    after_grant.extend(granted);
    let mut keys = Keys { planner, desired, observed, secret: None, now, base, after_grant, orphan: None };
    // A new user has no sessions from before.
    if !new_user {
        revocation::keep(keys.planner, observed, now);
    }
    keys.secret = match usable_secret(keys.planner, desired, observed) {
        Some(secret) => secret,
        None => return,
    };
    if keys.on_hold() || keys.compromised() {
        return;
    }
    let lost = || whole(&format!("secret({})", desired.secret.name), false);
    if new_user {
        return keys.issue(Vec::new(), Vec::new(), &[], lost());
    }
    keys.delete_orphan();
    match &observed.proof {
        KeyProof::Works(key) => keys.keep(key, !granted.is_empty()),
        KeyProof::Denied(key, problem) => {
            if granted.is_empty() {
                let message =
                    format!("the issued key {} is denied what its policy allows ({}){DENIERS}", key.id, problem.brief());
                keys.planner.stall(ConditionType::Verified, Reason::AccessDenied, message);
                keys.write_secret(key, &[]);
            } else {
                keys.keep(key, true);
            }
        }
        KeyProof::Unclear(_, problem) => keys.planner.unreadable(ConditionType::Verified, problem),
        KeyProof::Rejected(key, problem) => keys.rejected(key, &problem.code),
        KeyProof::OtherUser(key, arn) => {
            if keys.listed().is_some() {
                let diff = FieldDiff::new("secret[AWS_ACCESS_KEY_ID]", Some(json!(format!("{} of {arn}", key.id))), None);
                keys.replace(vec![diff]);
            }
        }
        KeyProof::NotTried => match unread(observed) {
            // It may hold the key that works.
            Some(problem) => keys.planner.unreadable(PART, problem),
            None => keys.replace(lost()),
        },
    }
}

/// The Secret that may be written; `None` when it is not ours or not known.
fn usable_secret<'o>(planner: &mut Planner<'_>, desired: &Desired, observed: &'o Observed) -> Option<Option<&'o OwnSecret>> {
    let name = &desired.secret.name;
    match &observed.secret {
        Secret::Ours(secret) => Some(Some(secret)),
        Secret::Absent => Some(None),
        Secret::NotLooked | Secret::Given(_) => None,
        Secret::Unreadable(problem) => {
            planner.unreadable(PART, problem);
            None
        }
        Secret::Foreign(why) => {
            let message = format!(
                "Secret {name} {why}: it is never overwritten; choose another credentials.secret.name, or delete that Secret"
            );
            planner.stall(PART, Reason::SecretNotOwned, message);
            planner.frozen |= planner.remembered.credentials.access_key_id.is_none();
            None
        }
    }
}

pub(super) struct Keys<'p, 'r, 'd> {
    pub(super) planner: &'p mut Planner<'r>,
    pub(super) desired: &'d Desired,
    pub(super) observed: &'d Observed,
    /// The Secret, where it is ours and there.
    pub(super) secret: Option<&'d OwnSecret>,
    pub(super) now: Timestamp,
    pub(super) base: &'d [usize],
    pub(super) after_grant: Vec<usize>,
    /// The key that an intent of ours explains, and the step that deletes it.
    pub(super) orphan: Option<(String, usize)>,
}

impl Keys<'_, '_, '_> {
    /// Somebody put the user on hold in AWS during an incident: no key is issued, activated or deleted.
    fn on_hold(&mut self) -> bool {
        let held = self.observed.user.set().is_some_and(|user| user.tags.contains_key(names::HOLD_TAG));
        if held {
            let message = format!(
                "IAM user {} has the tag {}: its access keys are left as they are; remove the tag when the incident is over",
                self.desired.user.name,
                names::HOLD_TAG
            );
            self.planner.stall(PART, Reason::UserOnHold, message);
        }
        held
    }

    /// AWS found the key in public and quarantined the user: handling keys now would help whoever has it.
    fn compromised(&mut self) -> bool {
        let Reading::Set(attached) = &self.observed.attached else { return false };
        let Some(arn) = attached.iter().find(|arn| arn.rsplit('/').next().is_some_and(|name| name.starts_with(QUARANTINE)))
        else {
            return false;
        };
        let message = format!(
            "AWS attached {arn} to user {}: its access key was found in public; have its keys and sessions cut off (a new value of the annotation {REVOKE_AT}), look at what they did, then detach that policy",
            self.desired.user.name
        );
        self.planner.stall(PART, Reason::KeyCompromised, message);
        true
    }

    /// Ids of every key that is ours, by the status, by a Secret of ours or by an intent.
    pub(super) fn ours(&self) -> Vec<String> {
        self.ours_for_sure().into_iter().chain(self.explained()).collect()
    }

    /// The same without what an intent explains.
    fn ours_for_sure(&self) -> Vec<String> {
        self.planner.remembered.credentials.keys().cloned().chain(held(self.observed)).collect()
    }

    /// Whether the key is known from more than the Secret, where anything is.
    pub(super) fn issued_here(&self, id: &str) -> bool {
        let known = &self.planner.remembered.credentials;
        known.access_key_id.is_none() || known.keys().any(|known| known == id) || self.explained().as_deref() == Some(id)
    }

    /// The key works, or is about to: the Secret is made right, a proof is asked for where one is due, replaced keys go.
    fn keep(&mut self, key: &KeyPair, changed: bool) {
        let written = self.write_secret(key, &[]);
        self.drop_earlier_secrets(written);
        // The condition may tell of the key before this one: the process ended before the status told of this one's proof.
        let due = changed || !self.planner.remembered.verified || self.planner.remembered.unproven || !self.proven(&key.id);
        let proven = due.then(|| {
            let mut after = self.after_grant.clone();
            after.extend(written);
            self.verify(Some(key), &after, true)
        });
        let after: Vec<usize> = proven.into_iter().collect();
        let known = &self.planner.remembered.credentials;
        let mut gone = known.retiring.clone();
        // The process ended after the Secret got its new key and before the status told of it: the old one is to be replaced. Not so
        // in a rotation, or where somebody set the Secret back to the key before: then the old one has time yet.
        let back = known.previous.as_ref().is_some_and(|previous| previous.access_key_id == key.id);
        gone.extend(known.access_key_id.clone().filter(|_| known.intent.is_some() && known.next.is_none() && !back));
        gone.retain(|id| *id != key.id);
        gone.sort();
        gone.dedup();
        for id in gone {
            self.delete(id, &after);
        }
        rotation::plan(self, key, &after);
    }

    /// AWS does not accept the key: what its list of keys says decides.
    fn rejected(&mut self, key: &KeyPair, code: &str) {
        let Some(listed) = self.listed() else { return };
        let entry = listed.iter().find(|listed| listed.id == key.id).cloned();
        let diff =
            |live: &str| vec![FieldDiff::new("accessKey", Some(json!(format!("{} ({live})", key.id))), Some(json!("active")))];
        match entry {
            // A list may be older than the key.
            None if self.young(&AccessKey { id: key.id.clone(), active: true, expired: false, created_at: None }) => {
                let after = self.after_grant.clone();
                self.verify(Some(key), &after, true);
            }
            None => self.replace(diff("deleted")),
            Some(entry) if entry.expired => self.replace(diff("Expired")),
            // Whoever may write the Secret must not switch on a key of somebody else's by its id alone.
            Some(entry) if !entry.active && !self.issued_here(&key.id) => self.replace(diff("of somebody else, Inactive")),
            // The Secret is not written here: this copy of the key is not proven, and another one in it may be the right one.
            Some(entry) if !entry.active => {
                let on = self.planner.step(PART, Action::ActivateKey { id: key.id.clone() }, diff("Inactive"), &[]);
                let mut after = self.after_grant.clone();
                after.push(on);
                self.verify(Some(key), &after, true);
            }
            Some(entry) if self.young(&entry) => {
                let after = self.after_grant.clone();
                self.verify(Some(key), &after, true);
            }
            Some(_) if code == "SignatureDoesNotMatch" => {
                self.replace(vec![FieldDiff::new(
                    "secret[AWS_SECRET_ACCESS_KEY]",
                    Some(json!("(wrong)")),
                    Some(json!("(secret)")),
                )]);
            }
            Some(_) => {
                let message =
                    format!("IAM lists the key {} as active, but S3 does not accept it yet ({code}); it is tried again", key.id);
                self.planner.plan.blockers.push(super::Blocker {
                    part: ConditionType::Verified,
                    reason: Reason::KeyRejected,
                    message,
                    stalled: false,
                    problem: None,
                });
            }
        }
    }

    /// Issues a key in place of one whose secret part is lost or wrong, or as the first.
    fn replace(&mut self, diffs: Vec<FieldDiff>) {
        let Some(listed) = self.listed() else { return };
        if rotation::promote(self, &listed) {
            return;
        }
        let ours = &self.planner.remembered.credentials;
        let mut retire: Vec<String> = ours.retiring.clone();
        retire.extend(ours.access_key_id.clone());
        // One that waited to become the next and cannot, and one whose time is over.
        retire.extend(ours.next.as_ref().and_then(|next| next.access_key_id.clone()));
        retire.extend(ours.previous.as_ref().filter(|key| self.now >= key.works_until.0).map(|key| key.access_key_id.clone()));
        // The Secret had got its key before the process ended, and has lost it since.
        retire.extend(self.explained().filter(|_| self.orphan.is_none()));
        retire.retain(|id| listed.iter().any(|key| key.id == *id));
        retire.sort();
        retire.dedup();
        let mut deleted: Vec<_> = self.orphan.clone().into_iter().collect();
        let mut left: Vec<String> =
            listed.iter().map(|key| key.id.clone()).filter(|id| deleted.iter().all(|(gone, _)| gone != id)).collect();
        // There must be room for the new key. A key whose secret part nobody has any more makes it; it may still be in use where it was
        // pasted, so it goes only if there is a Secret for the new one.
        let mut tried = None;
        while left.len() >= MAX_KEYS && !retire.is_empty() {
            let id = retire.remove(0);
            left.retain(|known| *known != id);
            let name = self.desired.secret.name.clone();
            let tried = *tried.get_or_insert_with(|| self.planner.step(PART, Action::TrySecret { name }, Vec::new(), &[]));
            deleted.push((id.clone(), self.delete(id, &[tried])));
        }
        let after: Vec<usize> = deleted.into_iter().map(|(_, step)| step).collect();
        self.issue_if_room(left, retire, &after, diffs);
    }

    fn issue_if_room(&mut self, known: Vec<String>, retire: Vec<String>, after: &[usize], diffs: Vec<FieldDiff>) {
        if known.len() < MAX_KEYS {
            return self.issue(known, retire, after, diffs);
        }
        let ours = self.ours();
        let (ours, foreign): (Vec<_>, Vec<_>) = known.iter().cloned().partition(|id| ours.contains(id));
        let theirs = format!("access keys that were not issued here ({})", foreign.join(", "));
        let message = match ours.first() {
            None => format!("{} {theirs}, and AWS allows {MAX_KEYS}: delete one of them", known.len()),
            Some(ours) => {
                format!("{theirs} beside {ours}, which still has its time, and AWS allows {MAX_KEYS}: delete one of them")
            }
        };
        let message = format!("IAM user {} has {message}", self.desired.user.name);
        self.planner.stall(PART, Reason::ForeignAccessKeys, message);
    }

    fn issue(&mut self, known: Vec<String>, retire: Vec<String>, after: &[usize], diffs: Vec<FieldDiff>) {
        let mut before = self.base.to_vec();
        before.extend(after);
        before.extend(self.announce(&known, after));
        let mut ledger = Ledger::of(&self.planner.remembered.credentials);
        ledger.previous = ledger.previous.filter(|(id, _)| known.contains(id) && !retire.contains(id));
        (ledger.next, ledger.retiring) = (None, retire.clone());
        let action = Action::IssueKey {
            secret: self.desired.secret.name.clone(),
            version: rotation::new_number(self),
            known,
            retire: retire.clone(),
        };
        let issued = self.planner.step(PART, action, diffs, &before);
        // Beside the proof, which takes longer.
        self.record(Action::RecordKeys { ledger, issued: true }, &[issued]);
        let mut after = self.after_grant.clone();
        after.push(issued);
        let proven = self.verify(None, &after, true);
        for id in retire {
            self.delete(id, &[proven]);
        }
        self.drop_earlier_secrets(Some(issued));
        rotation::issued(self, &[proven]);
    }

    /// Notes on the user, before a key is issued beside `known`, that this is about to happen: on a new user in the call that creates
    /// it, else by a step of its own.
    pub(super) fn announce(&mut self, known: &[String], after: &[usize]) -> Option<usize> {
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
        Some(self.record(Action::RecordKeys { ledger, issued: false }, after))
    }

    fn record(&mut self, action: Action, after: &[usize]) -> usize {
        let step = self.planner.step(PART, action, Vec::new(), after);
        self.planner.plan.steps[step].drift = false;
        step
    }

    pub(super) fn delete(&mut self, id: String, after: &[usize]) -> usize {
        let diff = FieldDiff::new("accessKey", Some(json!(id)), None);
        let step = self.planner.step(PART, Action::DeleteKey { id }, vec![diff], after);
        // Our own replaced key is no drift.
        self.planner.plan.steps[step].drift = false;
        step
    }

    pub(super) fn verify(&mut self, key: Option<&KeyPair>, after: &[usize], patient: bool) -> usize {
        let action = Action::Verify { key: key.cloned(), patient };
        self.planner.step(ConditionType::Verified, action, Vec::new(), after)
    }

    /// Writes the Secret where its data differ from what `key` makes of it, or where it is not marked as ours.
    fn write_secret(&mut self, key: &KeyPair, after: &[usize]) -> Option<usize> {
        let created_at = self.created_at();
        let number = rotation::number(self);
        let number = if self.desired.secret.versioned { Some(number.unwrap_or(1)) } else { number };
        self.write(&self.desired.secret.name, self.secret, key, created_at, number, after)
    }

    /// Writes `key` to the Secret `name`, which is `live`, where that is not as it should be.
    pub(super) fn write(
        &mut self,
        name: &str,
        live: Option<&OwnSecret>,
        key: &KeyPair,
        created_at: Option<Timestamp>,
        version: Option<i64>,
        after: &[usize],
    ) -> Option<usize> {
        let wanted = secret_data(&self.desired.secret.fields, key);
        let (mut diffs, mut claims) = (Vec::new(), false);
        for (field_name, field) in &wanted {
            let held = live.and_then(|secret| secret.data.get(*field_name));
            if held != Some(&field.value) {
                let shown = |text: &str, hidden: &str| json!(if field.secret { hidden } else { text });
                diffs.push(FieldDiff::new(
                    format!("secret[{field_name}]"),
                    held.map(|held| shown(held.reveal(), "(differs)")),
                    Some(shown(field.value.reveal(), "(secret)")),
                ));
            }
        }
        if live.is_some_and(|secret| diffs.is_empty() && secret.claimed && secret.version == version) {
            return None;
        }
        if live.is_none() {
            diffs = whole(&format!("secret({name})"), false);
        } else if diffs.is_empty() && live.is_some_and(|secret| secret.version != version) {
            diffs = vec![FieldDiff::new(
                "secret.version",
                live.and_then(|secret| secret.version).map(|v| json!(v)),
                Some(json!(version)),
            )];
        } else if diffs.is_empty() {
            diffs = vec![FieldDiff::new("secret.metadata", Some(json!("released")), Some(json!("owned")))];
            claims = true;
        }
        let action = Action::WriteSecret { name: name.to_owned(), key: Some(key.clone()), created_at, version };
        let step = self.planner.step(PART, action, diffs, after);
        // A Secret that was retained, or restored from a backup, has not drifted.
        self.planner.plan.steps[step].drift &= !claims;
        Some(step)
    }

    /// Secrets of earlier names go once the new one holds the key.
    fn drop_earlier_secrets(&mut self, after: Option<usize>) {
        let mut after: Vec<usize> = after.into_iter().collect();
        // One that a key has for itself before the one by whose mark it is found.
        let main = &self.desired.secret.name;
        let ours = |(name, secret): &(&String, &Secret)| *name != main && matches!(secret, Secret::Ours(_));
        for (name, _) in self.observed.earlier_secrets.iter().rev().filter(ours) {
            after = vec![self.drop_secret(name, &after)];
        }
    }

    pub(super) fn drop_secret(&mut self, name: &str, after: &[usize]) -> usize {
        let diffs = vec![FieldDiff::new(format!("secret({name})"), Some(json!("present")), None)];
        let step = self.planner.step(PART, Action::DeleteSecret { name: name.to_owned() }, diffs, after);
        self.planner.plan.steps[step].drift = false;
        step
    }

    /// The user's keys; when they are not known, says so and returns `None`.
    pub(super) fn listed(&mut self) -> Option<Vec<AccessKey>> {
        match &self.observed.keys {
            // A list may be older than a revocation.
            Reading::Set(keys) => {
                let revoked = &self.planner.remembered.credentials.revoked;
                Some(keys.iter().filter(|key| !revoked.contains(&key.id)).cloned().collect())
            }
            Reading::Unset => Some(Vec::new()),
            Reading::NotLooked => None,
            Reading::Unreadable(problem) => {
                self.planner.unreadable(PART, problem);
                None
            }
        }
    }

    /// Deletes the key that an intent of ours explains, unless it is known otherwise: then it is no orphan. Where several would be one,
    /// none is taken: all but one are somebody else's.
    fn delete_orphan(&mut self) {
        let known = self.ours_for_sure();
        let fitting = self.fitting().into_iter().filter(|id| !known.contains(id)).collect::<Vec<_>>();
        if let [id] = &fitting[..] {
            let step = self.delete(id.clone(), &[]);
            self.orphan = Some((id.clone(), step));
        }
    }

    /// The one key that an intent of ours explains.
    pub(super) fn explained(&self) -> Option<String> {
        let fitting = self.fitting();
        (fitting.len() == 1).then(|| fitting.into_iter().next()).flatten()
    }

    fn fitting(&self) -> Vec<String> {
        fitting(self.planner.remembered, self.observed)
    }

    /// Whether the status tells of a full proof of this very key.
    fn proven(&self, id: &str) -> bool {
        let known = &self.planner.remembered.credentials;
        known.access_key_id.as_deref() == Some(id) && known.verified_at.is_some()
    }

    /// Whether a key that AWS does not accept may only be too new. One that has been proven is not.
    pub(super) fn young(&self, key: &AccessKey) -> bool {
        if self.proven(&key.id) {
            return false;
        }
        let created = key.created_at.or_else(|| self.created_at());
        created.is_some_and(|created| self.is_new(created))
    }

    /// When the key in the Secret was issued.
    pub(super) fn created_at(&self) -> Option<Timestamp> {
        self.planner.remembered.key_created_at(&self.observed.secret)
    }

    pub(super) fn is_new(&self, created: Timestamp) -> bool {
        self.now.as_second() - created.as_second() < PROPAGATION_SECONDS
    }
}

/// Why a Secret could not be read.
fn unread(observed: &Observed) -> Option<&Problem> {
    observed.secrets().find_map(|secret| match secret {
        Secret::Unreadable(problem) => Some(problem),
        _ => None,
    })
}

/// Ids of the keys that Secrets of ours hold.
fn held(observed: &Observed) -> Vec<String> {
    observed.secrets().flat_map(Secret::keys).map(|key| key.id).collect()
}

/// Ids of active keys on the user that are in neither memory, tag nor Secret: the rights that the user gets would be theirs too.
pub(super) fn unaccounted(remembered: &Remembered, observed: &Observed) -> Vec<String> {
    let (foreign, held) = (revocation::foreign(remembered, observed), held(observed));
    let listed = observed.keys.set().into_iter().flatten();
    let active = listed.filter(|key| key.active).map(|key| key.id.clone());
    active.filter(|id| foreign.contains(id) && !held.contains(id)).collect()
}

/// Keys that an intent of ours would explain.
pub(super) fn fitting(remembered: &Remembered, observed: &Observed) -> Vec<String> {
    remembered.credentials.intent.as_ref().map(|intent| observed.explained_by(intent)).unwrap_or_default()
}
