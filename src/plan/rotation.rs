//! The key after the current one, and the key before it.
//!
//! The next key is proven before the Secret gets it, since whoever reads the Secret must never find a key that AWS does not know yet. Until
//! then it waits in a Secret of its own, so that it is not lost either. The status names that Secret before the key is issued.
//!
//! | next key | then |
//! |---|---|
//! | none, and the current one is due or a rotation was asked for | issue it into its waiting Secret, prove it, publish it |
//! | waits, works | prove it, publish it |
//! | waits, young | the same, patiently |
//! | waits, rejected for good or of another user | it was never published: delete it and its Secret, and begin again |
//! | issued, and its Secret is lost | the same |
//! | is the one in the Secret | it is published: its waiting Secret goes |
//!
//! | key before | then |
//! |---|---|
//! | its time is not over | it works on; workloads that ask for it are restarted |
//! | its time is over | make it Inactive, which can be undone |
//! | Inactive for a while, not used since it was replaced | delete it |
//! | Inactive, was used since | keep it, and say by which service and where, until a rotation after that while needs its place |
//! | Active again | somebody needs it: leave it |
//!
//! Only while the current key works does any of this go on.

use jiff::Timestamp;
use serde_json::json;

use super::key::{Keys, MAX_KEYS};
use super::{Action, Planner, whole};
use crate::api::PreviousKey;
use crate::api::conditions::{ConditionType, Reason};
use crate::credentials::KeyPair;
use crate::desired::{Desired, names};
use crate::observed::{AccessKey, KeyProof, Observed, Remembered, Secret};
use crate::settings::{FieldDiff, Reading};

const PART: ConditionType = ConditionType::RotationComplete;

/// Number of the key in the Secret, where keys were ever kept by version.
pub(super) fn number(keys: &Keys<'_, '_, '_>) -> Option<i64> {
    keys.planner.remembered.number(&keys.observed.secret)
}

/// Number of a key that is issued as the first, or in place of a lost one.
pub(super) fn new_number(keys: &Keys<'_, '_, '_>) -> Option<i64> {
    keys.desired.secret.versioned.then(|| number(keys).unwrap_or_default() + 1)
}

/// Number of the key after the current one, which has one itself as soon as keys are kept by version.
fn next_number(keys: &Keys<'_, '_, '_>) -> Option<i64> {
    keys.desired.secret.versioned.then(|| number(keys).unwrap_or(1) + 1)
}

/// Plans around the current key, which works; `after` are the steps that prove it once more.
pub(super) fn plan(keys: &mut Keys<'_, '_, '_>, current: &KeyPair, after: &[usize]) {
    own_secret(keys, current);
    restart(keys, Some(&current.id), after);
    previous(keys, current);
    if !next(keys, current) {
        begin(keys, current);
    }
}

/// Plans what follows a key that is issued as the first, or in place of a lost one: its own Secret, and new pods.
pub(super) fn issued(keys: &mut Keys<'_, '_, '_>, after: &[usize]) {
    // Of a later key it is written by the next pass, which looks first whether there is one of that name.
    if let (Some(version), None, Secret::Absent) = (new_number(keys), number(keys), &keys.observed.version) {
        let name = names::version(&keys.desired.secret.name, version);
        let action = Action::WriteSecret { name: name.clone(), key: None, created_at: None, version: Some(version) };
        keys.planner.step(ConditionType::CredentialsReady, action, whole(&format!("secret({name})"), false), after);
    }
    restart(keys, None, after);
}

/// Name of the Secret in which the next key waits, or is to wait because the current one is due.
pub fn waiting(desired: &Desired, remembered: &Remembered, secret: &Secret, now: Timestamp) -> Option<String> {
    if let Some(next) = &remembered.credentials.next {
        return Some(next.secret_name.clone());
    }
    let created = remembered.key_created_at(secret);
    let due = |id: &str| created.and_then(|created| desired.rotation.next(id, created)).is_some_and(|at| now >= at);
    if !(remembered.rotate || secret.keys().iter().any(|key| due(&key.id))) {
        return None;
    }
    let number = remembered.number(secret).unwrap_or(1) + 1;
    let name = &desired.secret.name;
    Some(if desired.secret.versioned { names::version(name, number) } else { names::next(name) })
}

/// Takes the key that waits in place of a lost one. Returns whether there is such a key, or it is not known.
pub(super) fn promote(keys: &mut Keys<'_, '_, '_>, listed: &[AccessKey]) -> bool {
    if let Secret::Unreadable(problem) = &keys.observed.next {
        keys.planner.unreadable(ConditionType::CredentialsReady, problem);
        return true;
    }
    let proof = keys.observed.next_proof.clone();
    match &proof {
        KeyProof::Works(key) | KeyProof::Denied(key, _) => publish(keys, Some(key), &[], ConditionType::CredentialsReady),
        KeyProof::Rejected(key, _) if young(keys, key, listed) => {
            publish(keys, Some(key), &[], ConditionType::CredentialsReady);
        }
        KeyProof::Unclear(_, problem) => keys.planner.unreadable(ConditionType::CredentialsReady, problem),
        KeyProof::NotTried | KeyProof::Rejected(..) | KeyProof::OtherUser(..) => return false,
    }
    true
}

/// Keeps the current key in the Secret that it has for itself.
fn own_secret(keys: &mut Keys<'_, '_, '_>, current: &KeyPair) {
    if !keys.desired.secret.versioned {
        return;
    }
    let number = number(keys).unwrap_or(1);
    let name = names::version(&keys.desired.secret.name, number);
    let observed = keys.observed;
    match &observed.version {
        Secret::NotLooked | Secret::Given(_) => {}
        Secret::Unreadable(problem) => keys.planner.unreadable(ConditionType::CredentialsReady, problem),
        Secret::Foreign(why) => foreign(keys, ConditionType::CredentialsReady, &name, why),
        live @ (Secret::Absent | Secret::Ours(_)) => {
            let created = keys.created_at();
            keys.write(&name, live.ours(), current, created, Some(number), &[]);
        }
    }
}

fn foreign(keys: &mut Keys<'_, '_, '_>, part: ConditionType, name: &str, why: &str) {
    let message =
        format!("Secret {name} {why}: it is never overwritten; delete that Secret, or choose another credentials.secret.name");
    keys.planner.stall(part, Reason::SecretNotOwned, message);
}

/// Restarts workloads that were not yet for this key.
fn restart(keys: &mut Keys<'_, '_, '_>, key: Option<&String>, after: &[usize]) {
    let Reading::Set(workloads) = &keys.observed.workloads else { return };
    for workload in workloads.iter().filter(|workload| key.is_none() || workload.key.as_ref() != key) {
        let path = format!("{:?}({}).key", workload.kind, workload.name);
        let diff = FieldDiff::new(path, workload.key.as_ref().map(|key| json!(key)), key.map(|key| json!(key)));
        let action = Action::Restart { kind: workload.kind, name: workload.name.clone(), key: key.cloned() };
        let step = keys.planner.step(PART, action, vec![diff], after);
        keys.planner.plan.steps[step].drift = false;
    }
}

/// The key before: Inactive when its time is over, deleted when nobody used it since.
fn previous(keys: &mut Keys<'_, '_, '_>, current: &KeyPair) {
    let Some(mut previous) = keys.planner.remembered.credentials.previous.clone() else { return };
    previous.secret_name = previous.secret_name.filter(|name| *name != keys.desired.secret.name);
    let id = previous.access_key_id.clone();
    let (true, Reading::Set(listed)) = (id != current.id, &keys.observed.keys) else { return };
    let Some(entry) = listed.iter().find(|key| key.id == id).cloned() else {
        if let Some(secret) = previous.secret_name {
            drop_secret(keys, &secret, &[]);
        }
        return;
    };
    if keys.now < previous.works_until.0 {
        return;
    }
    if entry.active && previous.inactive_since.is_none() {
        let diff = FieldDiff::new("accessKey", Some(json!(format!("{id} (replaced)"))), Some(json!("Inactive")));
        step(keys, Action::DeactivateKey { id }, vec![diff], &[]);
        return;
    }
    let settled = previous.settled_at().is_some_and(|at| keys.now >= at);
    match &keys.observed.last_used {
        _ if entry.active || !settled => {}
        Reading::Unreadable(problem) => keys.planner.unreadable(PART, problem),
        Reading::Set(used) if used.at.as_ref().is_some_and(|at| at.0 > previous.replaced_at.0) => {}
        Reading::NotLooked => {}
        Reading::Set(_) | Reading::Unset => {
            let gone = delete(keys, id, &[]);
            if let Some(secret) = previous.secret_name {
                drop_secret(keys, &secret, &[gone]);
            }
        }
    }
}

/// Goes on with the next key, where there is to be one; returns whether no other may be begun in this pass.
fn next(keys: &mut Keys<'_, '_, '_>, current: &KeyPair) -> bool {
    let Some(next) = keys.planner.remembered.credentials.next.clone() else { return false };
    let name = next.secret_name;
    let observed = keys.observed;
    match &observed.next {
        Secret::NotLooked | Secret::Given(_) => return true,
        Secret::Unreadable(problem) => {
            keys.planner.unreadable(PART, problem);
            return true;
        }
        Secret::Foreign(why) => {
            foreign(keys, PART, &name, why);
            return true;
        }
        Secret::Absent | Secret::Ours(_) => {}
    }
    let Some(listed) = keys.listed() else { return true };
    let waits = observed.next.keys();
    if waits.iter().any(|key| key.id == current.id) {
        // The spec may have given the Secret this very name meanwhile.
        if name != keys.desired.secret.name && Some(&name) != own_name(keys, number(keys)).as_ref() {
            drop_secret(keys, &name, &[]);
        }
        return true;
    }
    let usable = match &observed.next_proof {
        KeyProof::Works(key) => Some(key),
        KeyProof::Rejected(key, _) if young(keys, key, &listed) => Some(key),
        KeyProof::Denied(key, problem) => {
            let message = format!("the next key {} is denied what its policy allows ({})", key.id, problem.brief());
            keys.planner.stall(PART, Reason::AccessDenied, message);
            return true;
        }
        KeyProof::Unclear(_, problem) => {
            keys.planner.unreadable(PART, problem);
            return true;
        }
        KeyProof::NotTried | KeyProof::Rejected(..) | KeyProof::OtherUser(..) => None,
    };
    if let Some(key) = usable {
        let mut after = keys.after_grant.clone();
        after.push(verify(keys, Some(key)));
        publish(keys, Some(key), &after, PART);
        return true;
    }
    // Nobody has seen it but its waiting Secret, so nobody misses it.
    // The process may have ended before its id was noted; then the intent explains the key that waits.
    let explained = keys.explained().filter(|id| waits.iter().any(|key| key.id == *id));
    let id = next.access_key_id.or(explained).filter(|id| *id != current.id && listed.iter().any(|key| key.id == *id));
    let gone: Vec<_> = id.map(|id| delete(keys, id, &[])).into_iter().collect();
    let held = matches!(observed.next, Secret::Ours(_));
    if held {
        drop_secret(keys, &name, &gone);
    }
    held || !gone.is_empty()
}

/// Issues the next key, if it is time.
fn begin(keys: &mut Keys<'_, '_, '_>, current: &KeyPair) {
    let created = keys.created_at();
    let due = created.and_then(|created| keys.desired.rotation.next(&current.id, created)).is_some_and(|at| keys.now >= at);
    if !(due || keys.planner.remembered.rotate) {
        return;
    }
    // The status must name the current key first, so that it is known as ours whatever comes.
    if keys.planner.remembered.credentials.access_key_id.as_ref() != Some(&current.id) {
        return;
    }
    let version = next_number(keys);
    let secret = own_name(keys, version).unwrap_or_else(|| names::next(&keys.desired.secret.name));
    let observed = keys.observed;
    match &observed.next {
        Secret::Absent | Secret::Ours(_) => {}
        Secret::NotLooked | Secret::Given(_) => return,
        Secret::Unreadable(problem) => return keys.planner.unreadable(PART, problem),
        Secret::Foreign(why) => return foreign(keys, PART, &secret, why),
    }
    let Some(listed) = keys.listed() else { return };
    let orphan: Vec<_> = keys.orphan.clone().into_iter().collect();
    let mut left: Vec<_> = listed.iter().filter(|key| orphan.iter().all(|(gone, _)| *gone != key.id)).cloned().collect();
    let mut before = keys.base.to_vec();
    before.extend(orphan.into_iter().map(|(_, step)| step));
    if left.len() >= MAX_KEYS {
        let known = keys.planner.remembered.credentials.clone();
        let over = |id: &String| {
            let previous = known.previous.as_ref().filter(|previous| previous.access_key_id == *id);
            // Not sooner than it would be deleted otherwise: until then whoever needs it can have it back.
            previous.and_then(PreviousKey::settled_at).is_some_and(|at| keys.now >= at)
        };
        let Some(other) = left.iter().find(|key| key.id != current.id).cloned() else { return };
        if !other.active && over(&other.id) {
            // Whoever used it after it was replaced had all this time to take another.
            before.push(delete(keys, other.id.clone(), &[]));
            left.retain(|key| key.id != other.id);
        } else {
            // One that an object before this one left waiting is noted as the next one at the end of this pass.
            let waits = matches!(&observed.next_proof, KeyProof::Works(key) | KeyProof::Denied(key, _) if key.id == other.id);
            let ours = waits || keys.issued_here(&other.id);
            if !ours {
                let message = format!(
                    "IAM user {} has the access key {}, which was not issued here, and AWS allows {MAX_KEYS}: the key {} cannot be replaced; delete the other one",
                    keys.desired.user.name, other.id, current.id
                );
                keys.planner.stall(PART, Reason::ForeignAccessKeys, message);
            }
            return;
        }
    }
    let known: Vec<_> = left.into_iter().map(|key| key.id).collect();
    if let Some(announced) = keys.announce(&known, &before) {
        before.push(of_rotation(keys, announced));
    }
    let diff = FieldDiff::new("accessKey", Some(json!(format!("{} (due)", current.id))), Some(json!("another")));
    let issue = Action::IssueKey { secret, version, known, retire: Vec::new() };
    let mut after = keys.after_grant.clone();
    after.push(step(keys, issue, vec![diff], &before));
    let proven = verify_after(keys, None, &after);
    publish(keys, None, &[proven], PART);
}

/// Gives the Secret the next key; its waiting Secret goes, unless it is the one that the key has for itself.
fn publish(keys: &mut Keys<'_, '_, '_>, key: Option<&KeyPair>, after: &[usize], part: ConditionType) {
    let version = next_number(keys);
    let name = keys.desired.secret.name.clone();
    let created_at = keys.observed.next.ours().and_then(|next| next.key_created_at);
    let live = if keys.secret.is_some() { Some(json!("(replaced)")) } else { None };
    let diff = FieldDiff::new(format!("secret({name})"), live, Some(json!("(next key)")));
    let action = Action::WriteSecret { name, key: key.cloned(), created_at, version };
    let written = keys.planner.step(part, action, vec![diff], after);
    if part == PART {
        keys.planner.plan.steps[written].drift = false;
    } else {
        // It could not be proven before.
        let mut after = keys.after_grant.clone();
        after.push(written);
        keys.verify(key, &after, true);
    }
    let waiting = keys.planner.remembered.credentials.next.as_ref().map(|next| next.secret_name.clone());
    let own = own_name(keys, version);
    let waiting = waiting.unwrap_or_else(|| own.clone().unwrap_or_else(|| names::next(&keys.desired.secret.name)));
    if own.as_ref() != Some(&waiting) {
        drop_secret(keys, &waiting, &[written]);
    }
    restart(keys, key.map(|key| &key.id), &[written]);
}

/// Name of the Secret that the key has for itself once the plan so far is carried out, if it is sure to be ours.
pub(super) fn own_after(planner: &Planner<'_>, desired: &Desired, observed: &Observed) -> Option<String> {
    let main = &desired.secret.name;
    let steps = || planner.plan.steps.iter().map(|step| &step.action);
    let published = steps().find_map(|action| match action {
        Action::IssueKey { secret: name, version, .. } | Action::WriteSecret { name, version, .. } if name == main => *version,
        _ => None,
    });
    let now = planner.remembered.number(&observed.secret);
    let own = names::version(main, published.or(now).filter(|_| desired.secret.versioned)?);
    let written = steps().any(|action| match action {
        Action::IssueKey { secret: name, .. } | Action::WriteSecret { name, .. } => *name == own,
        _ => false,
    });
    let live = if published.is_some_and(|number| Some(number) != now) { &observed.next } else { &observed.version };
    (written || live.ours().is_some()).then_some(own)
}

/// Name of the Secret that the key of this number has for itself.
fn own_name(keys: &Keys<'_, '_, '_>, number: Option<i64>) -> Option<String> {
    let number = number.filter(|_| keys.desired.secret.versioned)?;
    Some(names::version(&keys.desired.secret.name, number))
}

fn verify(keys: &mut Keys<'_, '_, '_>, key: Option<&KeyPair>) -> usize {
    let after = keys.after_grant.clone();
    verify_after(keys, key, &after)
}

fn verify_after(keys: &mut Keys<'_, '_, '_>, key: Option<&KeyPair>, after: &[usize]) -> usize {
    let step = keys.verify(key, after, true);
    of_rotation(keys, step)
}

fn delete(keys: &mut Keys<'_, '_, '_>, id: String, after: &[usize]) -> usize {
    let step = keys.delete(id, after);
    of_rotation(keys, step)
}

fn drop_secret(keys: &mut Keys<'_, '_, '_>, name: &str, after: &[usize]) -> usize {
    let step = keys.drop_secret(name, after);
    of_rotation(keys, step)
}

/// The current key works whatever comes of the step.
fn of_rotation(keys: &mut Keys<'_, '_, '_>, step: usize) -> usize {
    keys.planner.plan.steps[step].part = PART;
    step
}

fn step(keys: &mut Keys<'_, '_, '_>, action: Action, diffs: Vec<FieldDiff>, after: &[usize]) -> usize {
    let step = keys.planner.step(PART, action, diffs, after);
    keys.planner.plan.steps[step].drift = false;
    step
}

fn young(keys: &Keys<'_, '_, '_>, key: &KeyPair, listed: &[AccessKey]) -> bool {
    match listed.iter().find(|entry| entry.id == key.id) {
        Some(entry) => entry.active && keys.young(entry),
        // A list may be older than the key.
        None => keys.observed.next.ours().and_then(|next| next.key_created_at).is_some_and(|created| keys.is_new(created)),
    }
}
