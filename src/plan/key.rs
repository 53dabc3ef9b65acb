//! The access key's part of a plan: the key state machine.
//!
//! | Secret holds | AWS says | then |
//! |---|---|---|
//! | a key | it works | rest; write the Secret if its data differ; delete keys that were replaced |
//! | a key | denied | policy being repaired: prove again; else say who may deny it |
//! | a key | rejected, young and never proven | wait: it propagates |
//! | a key | rejected, Inactive | activate it |
//! | a key | rejected, not in the list | issue another |
//! | a key | wrong signature, or of another user | the Secret was edited: issue another, then delete the old one |
//! | no key | user has none of ours | issue one |
//! | no key | user has ours | its secret part is lost: issue another, then delete the old one |
//! | no key | one key that an intent explains | the answer to CreateAccessKey was lost: delete that key, issue another |
//! | no key | several that an intent would explain | all but one are foreign, so none is touched |
//!
//! Never more than two keys, never a foreign key touched, nothing deleted because of a failed proof alone.

use jiff::Timestamp;
use serde_json::json;

use super::{Action, Planner, whole};
use crate::api::conditions::{ConditionType, Reason};
use crate::credentials::{KeyPair, keys_in, secret_data};
use crate::desired::Desired;
use crate::observed::{AccessKey, KeyProof, Observed, OwnSecret, Secret};
use crate::problem::DENIERS;
use crate::settings::{FieldDiff, Reading};

const PART: ConditionType = ConditionType::CredentialsReady;
/// Access keys that a user may have, inactive ones included.
const MAX_KEYS: usize = 2;
/// How long a new key may take to reach all of AWS (facts: 2 to 15 s seen; botocore and Terraform allow 2 minutes).
const PROPAGATION_SECONDS: i64 = 120;
const CLOCK_SKEW_SECONDS: i64 = 60;
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
    let secret = match usable_secret(planner, desired, observed) {
        Some(secret) => secret,
        None => return,
    };
    let mut after_grant = base.to_vec();
    after_grant.extend(granted);
    let mut keys = Keys { planner, desired, observed, secret, now, base, after_grant, orphan: None };
    if keys.compromised() {
        return;
    }
    if new_user {
        let diffs = whole(&format!("secret({})", desired.secret.name), false);
        return keys.issue(Vec::new(), Vec::new(), &[], diffs);
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
        KeyProof::NotTried => keys.replace(whole(&format!("secret({})", desired.secret.name), false)),
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

struct Keys<'p, 'r, 'd> {
    planner: &'p mut Planner<'r>,
    desired: &'d Desired,
    observed: &'d Observed,
    secret: Option<&'d OwnSecret>,
    now: Timestamp,
    base: &'d [usize],
    after_grant: Vec<usize>,
    /// The key that an intent of ours explains, and the step that deletes it.
    orphan: Option<(String, usize)>,
}

impl Keys<'_, '_, '_> {
    /// AWS found the key in public and quarantined the user: handling keys now would help whoever has it.
    fn compromised(&mut self) -> bool {
        let Reading::Set(attached) = &self.observed.attached else { return false };
        let Some(arn) = attached.iter().find(|arn| arn.rsplit('/').next().is_some_and(|name| name.starts_with(QUARANTINE)))
        else {
            return false;
        };
        let message = format!(
            "AWS attached {arn} to user {}: its access key was found in public; delete the key, look at what it did, then detach that policy",
            self.desired.user.name
        );
        self.planner.stall(PART, Reason::KeyCompromised, message);
        true
    }

    /// The key works, or is about to: the Secret is made right, a proof is asked for where one is due, replaced keys go.
    fn keep(&mut self, key: &KeyPair, changed: bool) {
        let written = self.write_secret(key, &[]);
        self.drop_earlier_secrets(written);
        let due = changed || !self.planner.remembered.verified || self.planner.remembered.unproven;
        let proven = due.then(|| {
            let mut after = self.after_grant.clone();
            after.extend(written);
            self.verify(Some(key), &after, true)
        });
        let after: Vec<usize> = proven.into_iter().collect();
        let known = &self.planner.remembered.credentials;
        let mut gone = known.retiring.clone();
        // The process ended after the Secret got its new key and before the status told of it: the old one is to be replaced.
        gone.extend(known.access_key_id.clone().filter(|_| known.intent.is_some()));
        gone.retain(|id| *id != key.id);
        gone.sort();
        gone.dedup();
        for id in gone {
            self.delete(id, &after);
        }
    }

    /// AWS does not accept the key: what its list of keys says decides.
    fn rejected(&mut self, key: &KeyPair, code: &str) {
        let Some(listed) = self.listed() else { return };
        let entry = listed.iter().find(|listed| listed.id == key.id).cloned();
        let diff =
            |live: &str| vec![FieldDiff::new("accessKey", Some(json!(format!("{} ({live})", key.id))), Some(json!("active")))];
        match entry {
            None => self.replace(diff("deleted")),
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
        let ours = &self.planner.remembered.credentials;
        let mut retire: Vec<String> = ours.retiring.clone();
        retire.extend(ours.access_key_id.clone());
        // The Secret had got its key before the process ended, and has lost it since.
        retire.extend(self.explained().filter(|_| self.orphan.is_none()));
        retire.retain(|id| listed.iter().any(|key| key.id == *id));
        retire.sort();
        retire.dedup();
        let mut deleted: Vec<_> = self.orphan.clone().into_iter().collect();
        let mut left: Vec<String> =
            listed.iter().map(|key| key.id.clone()).filter(|id| deleted.iter().all(|(gone, _)| gone != id)).collect();
        // There must be room for the new key. A key whose secret part nobody has any more makes it.
        while left.len() >= MAX_KEYS && !retire.is_empty() {
            let id = retire.remove(0);
            left.retain(|known| *known != id);
            deleted.push((id.clone(), self.delete(id, &[])));
        }
        if left.len() >= MAX_KEYS {
            let message = format!(
                "IAM user {} has {} access keys that were not issued here ({}), and AWS allows {MAX_KEYS}: delete one of them",
                self.desired.user.name,
                left.len(),
                left.join(", ")
            );
            return self.planner.stall(PART, Reason::ForeignAccessKeys, message);
        }
        let after: Vec<usize> = deleted.into_iter().map(|(_, step)| step).collect();
        self.issue(left, retire, &after, diffs);
    }

    fn issue(&mut self, known: Vec<String>, retire: Vec<String>, after: &[usize], diffs: Vec<FieldDiff>) {
        let mut before = self.base.to_vec();
        before.extend(after);
        let issued = self.planner.step(PART, Action::IssueKey { known, retire: retire.clone() }, diffs, &before);
        let mut after = self.after_grant.clone();
        after.push(issued);
        let proven = self.verify(None, &after, true);
        for id in retire {
            self.delete(id, &[proven]);
        }
        self.drop_earlier_secrets(Some(issued));
    }

    fn delete(&mut self, id: String, after: &[usize]) -> usize {
        let diff = FieldDiff::new("accessKey", Some(json!(id)), None);
        let step = self.planner.step(PART, Action::DeleteKey { id }, vec![diff], after);
        // Our own replaced key is no drift.
        self.planner.plan.steps[step].drift = false;
        step
    }

    fn verify(&mut self, key: Option<&KeyPair>, after: &[usize], patient: bool) -> usize {
        let action = Action::Verify { key: key.cloned(), patient };
        self.planner.step(ConditionType::Verified, action, Vec::new(), after)
    }

    /// Writes the Secret where its data differ from what `key` makes of it, or where it is not marked as ours.
    fn write_secret(&mut self, key: &KeyPair, after: &[usize]) -> Option<usize> {
        let wanted = secret_data(&self.desired.secret.fields, key);
        let mut diffs = Vec::new();
        for (name, field) in &wanted {
            let live = self.secret.and_then(|secret| secret.data.get(*name));
            if live != Some(&field.value) {
                let shown = |text: &str, hidden: &str| json!(if field.secret { hidden } else { text });
                diffs.push(FieldDiff::new(
                    format!("secret[{name}]"),
                    live.map(|live| shown(live.reveal(), "(differs)")),
                    Some(shown(field.value.reveal(), "(secret)")),
                ));
            }
        }
        if self.secret.is_some_and(|secret| diffs.is_empty() && secret.claimed) {
            return None;
        }
        if self.secret.is_none() {
            diffs = whole(&format!("secret({})", self.desired.secret.name), false);
        } else if diffs.is_empty() {
            diffs = vec![FieldDiff::new("secret.metadata", Some(json!("released")), Some(json!("owned")))];
        }
        let written = self.secret.and_then(|secret| secret.key_created_at);
        let created_at = written.or_else(|| self.planner.remembered.key_created_at());
        Some(self.planner.step(PART, Action::WriteSecret { key: key.clone(), created_at }, diffs, after))
    }

    /// Secrets of earlier names go once the new one holds the key.
    fn drop_earlier_secrets(&mut self, after: Option<usize>) {
        let after: Vec<usize> = after.into_iter().collect();
        for (name, _) in self.observed.earlier_secrets.iter().filter(|(_, secret)| matches!(secret, Secret::Ours(_))) {
            let diffs = vec![FieldDiff::new(format!("secret({name})"), Some(json!("present")), None)];
            let step = self.planner.step(PART, Action::DeleteSecret { name: name.clone() }, diffs, &after);
            self.planner.plan.steps[step].drift = false;
        }
    }

    /// The user's keys; when they are not known, says so and returns `None`.
    fn listed(&mut self) -> Option<Vec<AccessKey>> {
        match &self.observed.keys {
            Reading::Set(keys) => Some(keys.clone()),
            Reading::Unset => Some(Vec::new()),
            Reading::NotLooked => None,
            Reading::Unreadable(problem) => {
                self.planner.unreadable(PART, problem);
                None
            }
        }
    }

    /// Deletes the key that an intent of ours explains, unless the Secret has got it.
    fn delete_orphan(&mut self) {
        let held = self.secret.map(|secret| keys_in(&secret.data)).unwrap_or_default();
        let credentials = &self.planner.remembered.credentials;
        let known = |id: &String| {
            held.iter().any(|key| key.id == *id)
                || credentials.access_key_id.as_ref() == Some(id)
                || credentials.retiring.contains(id)
        };
        if let Some(id) = self.explained().filter(|id| !known(id)) {
            let step = self.delete(id.clone(), &[]);
            self.orphan = Some((id, step));
        }
    }

    /// The key that an intent of ours explains: unknown before it, and issued while it was being carried out. Where several would
    /// fit, none is taken: all but one are somebody else's.
    fn explained(&self) -> Option<String> {
        let (Some(intent), Reading::Set(keys)) = (&self.planner.remembered.credentials.intent, &self.observed.keys) else {
            return None;
        };
        // AWS tells the time in whole seconds, and its clock is not ours.
        let window = intent.since.0.as_second() - CLOCK_SKEW_SECONDS..=intent.until.0.as_second() + CLOCK_SKEW_SECONDS;
        let unexplained = |key: &&AccessKey| {
            !intent.known_keys.contains(&key.id) && key.created_at.is_none_or(|created| window.contains(&created.as_second()))
        };
        let mut fitting = keys.iter().filter(unexplained);
        let first = fitting.next()?;
        fitting.next().is_none().then(|| first.id.clone())
    }

    /// Whether a key that AWS does not accept may only be too new. One that has been proven is not.
    fn young(&self, key: &AccessKey) -> bool {
        let known = &self.planner.remembered.credentials;
        if known.access_key_id.as_ref() == Some(&key.id) && known.verified_at.is_some() {
            return false;
        }
        let written = self.secret.and_then(|secret| secret.key_created_at);
        let created = key.created_at.or(written).or_else(|| self.planner.remembered.key_created_at());
        created.is_some_and(|created| self.now.as_second() - created.as_second() < PROPAGATION_SECONDS)
    }
}
