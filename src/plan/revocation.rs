//! Revocation: in an emergency, all keys and sessions of the user are revoked, before anything else in a reconcile.
//!
//! A session made with a key (`sts:GetFederationToken`) outlives the key by up to 36 hours, and the deletion of a key
//! takes seconds to propagate. A Deny in a policy of the user works at once on all of them. So:
//!
//! 1. the operator denies the user everything and deletes every managed key, in parallel;
//! 2. once both are done, it limits the denial to the sessions that began before; the new key has none;
//! 3. the next reconcile issues another key (keys/);
//! 4. once the last session has expired, the operator removes the denial.
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
/// How long a deleted key may still create sessions somewhere in AWS.
const SPREADING: SignedDuration = SignedDuration::from_mins(2);
/// Longest lifetime of a federation session
/// (<https://docs.aws.amazon.com/STS/latest/APIReference/API_GetFederationToken.html>).
const LONGEST_SESSION: SignedDuration = SignedDuration::from_hours(36);

/// The policy that denies everything, or denies only sessions that began before a time. Requests with a key itself have
/// no `aws:TokenIssueTime`.
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

/// Plans to revoke every key and session of the user that `remembered` knows. It needs only the user and its keys: not
/// the spec, the account's rules, the bucket or the policy.
///
/// `observed` has the user and its keys. If `make_room`, the denial did not fit next to the user's other inline
/// policies: the operator's own policy, which grants, is deleted first. The deletion of keys and the denial do not wait
/// for each other.
pub fn cut_off(remembered: &Remembered, observed: &Observed, make_room: bool, now: Timestamp) -> Plan {
    let mut planner = Planner::new(remembered);
    match &observed.user {
        Reading::Set(user) if remembered.user.as_ref().is_some_and(|known| known.id == user.id) => {}
        Reading::Unreadable(problem) => {
            planner.unreadable(PART, problem);
            return planner.finish();
        }
        // The user is gone, or another user has its name: all managed keys and sessions were deleted with the user.
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

/// Keeps the denial of earlier sessions in place until it is no longer needed.
pub(super) fn keep(planner: &mut Planner<'_>, observed: &Observed, now: Timestamp) {
    let revocation = match (&planner.remembered.credentials.revocation, &observed.denial) {
        (Some(known), _) => known.clone(),
        // The status was lost: every session that began before now is denied.
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
        Reading::NotRead => {}
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
