//! The emergency: all keys and sessions of the user are revoked, before anything else in a reconcile.
//!
//! A session made with a key (`sts:GetFederationToken`) outlives the key by up to 36 hours, and deleting a key takes seconds to
//! spread. What works at once on all of them is a Deny in a policy of the user. So:
//!
//! 1. the user is denied everything, and every managed key is deleted; neither waits for the other;
//! 2. once both are done, the denial is narrowed to the sessions that began before, which the new key has none of;
//! 3. the next reconcile issues another key (keys/);
//! 4. once the last session has ended by itself, the denial goes.
//!
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_temp_control-access_disable-perms.html>)

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use super::{Action, Plan, Planner};
use crate::api::{Effect, PolicyStatement, Revocation};
use crate::desired::Document;
use crate::keys::Owners;
use crate::observed::{AccessKey, Observed, Remembered};
use crate::settings::{FieldDiff, Reading};
use crate::vocabulary::conditions::ConditionType;

const PART: ConditionType = ConditionType::CredentialsReady;
/// How long a deleted key may still make sessions somewhere in AWS.
const SPREADING: SignedDuration = SignedDuration::from_mins(2);
/// How long a federation session lives at most
/// (<https://docs.aws.amazon.com/STS/latest/APIReference/API_GetFederationToken.html>).
const LONGEST_SESSION: SignedDuration = SignedDuration::from_hours(36);

/// The policy that denies everything, or only to sessions that began before. A key itself has no `aws:TokenIssueTime`.
pub fn denial(sessions_before: Option<Timestamp>) -> Document {
    let before =
        |before: Timestamp| ("DateLessThan".to_owned(), [("aws:TokenIssueTime".to_owned(), vec![before.to_string()])].into());
    let statement = PolicyStatement {
        sid: Some("Revoked".to_owned()),
        effect: Effect::Deny,
        actions: vec!["*".to_owned()],
        resources: vec!["*".to_owned()],
        conditions: sessions_before.map(before).into_iter().collect(),
        unknown: Default::default(),
    };
    Document { statements: vec![statement] }
}

/// Plans to revoke every key and session of the user that `remembered` knows. It needs nothing but the user and its keys: not the
/// spec, the account's rules, the bucket or the policy.
///
/// `observed` has the user and its keys. With `make_room` the denial did not fit next to the user's other inline policies: the
/// operator's, which grants, goes first. Keys do not wait for the denial, nor the denial for them.
pub fn cut_off(remembered: &Remembered, observed: &Observed, make_room: bool, now: Timestamp) -> Plan {
    let mut planner = Planner::new(remembered);
    match &observed.user {
        Reading::Set(user) if remembered.user.as_ref().is_some_and(|known| known.id == user.id) => {}
        Reading::Unreadable(problem) => {
            planner.unreadable(PART, problem);
            return planner.finish();
        }
        // The user is gone, or another one has its name: all managed keys and sessions went with it.
        _ => return planner.finish(),
    }
    let diff = |live: &str, wanted: &str| vec![FieldDiff::new("user.access", Some(json!(live)), Some(json!(wanted)))];
    let own = remembered.policies.iter().filter(|policy| make_room && policy.arn.is_none());
    let mut step = |action, diffs, after: &[usize]| planner.step(PART, action, diffs, after);
    let room: Vec<_> = own.map(|own| step(Action::DeleteInlinePolicy { name: own.name.clone() }, Vec::new(), &[])).collect();
    let mut done = vec![step(Action::DenyAllAccess { sessions_before: None }, diff("as granted", "denied"), &room)];
    let owners = Owners::of(remembered, observed);
    for key in listed(observed).iter().filter(|key| owners.accounted_for(&key.id)) {
        let diff = FieldDiff::new("accessKey", Some(json!(key.id)), None);
        done.push(step(Action::DeleteKey { id: key.id.clone() }, vec![diff], &[]));
    }
    if let Reading::Unreadable(problem) = &observed.keys {
        planner.unreadable(PART, problem);
        return planner.finish();
    }
    let narrowed = Action::DenyAllAccess { sessions_before: Some(sessions_before(now)) };
    planner.step(PART, narrowed, diff("denied", "denied to earlier sessions"), &done);
    for step in &mut planner.plan.steps {
        step.drift = false;
    }
    planner.finish()
}

fn listed(observed: &Observed) -> &[AccessKey] {
    match &observed.keys {
        Reading::Set(keys) => keys,
        _ => &[],
    }
}

/// Ids of keys on the user that are foreign.
pub fn foreign(remembered: &Remembered, observed: &Observed) -> Vec<String> {
    let owners = Owners::of(remembered, observed);
    listed(observed).iter().map(|key| key.id.clone()).filter(|id| !owners.accounted_for(id)).collect()
}

/// What is recorded while sessions from `before` may live.
pub fn revocation(before: Timestamp) -> Revocation {
    let ends_at = before.checked_add(LONGEST_SESSION).unwrap_or(before);
    Revocation { sessions_before: Time(before), ends_at: Time(ends_at) }
}

/// Sessions that began before this are revoked.
pub fn sessions_before(now: Timestamp) -> Timestamp {
    let seconds = now.as_second() + SPREADING.as_secs();
    Timestamp::from_second(seconds).unwrap_or(now)
}

/// Keeps the denial of earlier sessions as it should be, until it is not needed any longer.
pub(super) fn keep(planner: &mut Planner<'_>, observed: &Observed, now: Timestamp) {
    let revocation = match (&planner.remembered.credentials.revocation, &observed.denial) {
        (Some(known), _) => known.clone(),
        // The status lost it: every session that began before now is denied.
        (None, Reading::Set(_)) => revocation(sessions_before(now)),
        (None, _) => return,
    };
    let before = revocation.sessions_before.0;
    let wanted = denial(Some(before));
    match &observed.denial {
        Reading::Unreadable(problem) => planner.unreadable(PART, problem),
        Reading::Set(_) if now >= revocation.ends_at.0 => {
            let diff = FieldDiff::new("user.access", Some(json!("denied to earlier sessions")), None);
            let step = planner.step(PART, Action::RemoveDenyPolicy, vec![diff], &[]);
            planner.plan.steps[step].drift = false;
        }
        Reading::Set(live) if wanted.same_as(live) => {}
        _ if now >= revocation.ends_at.0 => {}
        Reading::Set(live) => {
            planner.step(PART, Action::DenyAllAccess { sessions_before: Some(before) }, wanted.diffs("denial", live), &[]);
        }
        Reading::Unset => {
            let diff = FieldDiff::new("denial", None, Some(wanted.to_json()));
            planner.step(PART, Action::DenyAllAccess { sessions_before: Some(before) }, vec![diff], &[]);
        }
        Reading::NotLooked => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desired::{DENIAL_RESERVE, characters};

    #[test]
    fn room_is_kept_for_the_denial() {
        assert!(characters(&denial(Some(Timestamp::MAX))) <= DENIAL_RESERVE);
        assert!(characters(&denial(None)) <= DENIAL_RESERVE);
    }
}
