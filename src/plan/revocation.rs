//! The emergency: all keys and sessions of the user are cut off.
//!
//! A session made with a key (`sts:GetFederationToken`) outlives the key by up to 36 hours, and deleting a key takes seconds to
//! spread. What works at once on all of them is a Deny in a policy of the user. So, in this order:
//!
//! 1. the user is denied everything;
//! 2. every key of ours is deleted;
//! 3. the denial is narrowed to the sessions that began before, which the next key has none of;
//! 4. another key is issued (plan/key.rs);
//! 5. once the last session has ended by itself, the denial goes.
//!
//! (<https://docs.aws.amazon.com/IAM/latest/UserGuide/id_credentials_temp_control-access_disable-perms.html>)

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use super::{Action, Planner};
use crate::api::conditions::ConditionType;
use crate::api::{Effect, PolicyStatement, Revocation};
use crate::desired::{Desired, Document};
use crate::observed::{AccessKey, Observed};
use crate::settings::{FieldDiff, Reading};

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

/// Plans to cut everything off; returns the steps after which another key may be issued. `ours` are the keys of ours that are there.
pub(super) fn plan(planner: &mut Planner<'_>, desired: &Desired, ours: &[AccessKey], now: Timestamp) -> Vec<usize> {
    let diff = |live: &str, wanted: &str| vec![FieldDiff::new("user.access", Some(json!(live)), Some(json!(wanted)))];
    let denied = planner.step(PART, Action::Deny { sessions_before: None }, diff("as granted", "denied"), &[]);
    let mut gone: Vec<_> = ours.iter().map(|key| delete(planner, &key.id, &[denied])).collect();
    gone.push(denied);
    let narrowed = Action::Deny { sessions_before: Some(sessions_before(now)) };
    let narrowed = planner.step(PART, narrowed, diff("denied", "denied to earlier sessions"), &gone);
    let next = planner.remembered.credentials.next.as_ref().map(|next| next.secret_name.clone());
    if let Some(name) = next.filter(|name| *name != desired.secret.name) {
        let diff = FieldDiff::new(format!("secret({name})"), Some(json!("present")), None);
        planner.step(PART, Action::DeleteSecret { name }, vec![diff], &gone);
    }
    for step in &mut planner.plan.steps {
        // Whoever asked for it is nobody else.
        step.drift &= step.part != PART;
    }
    vec![narrowed]
}

/// What is remembered while sessions from `before` may live.
pub fn revocation(before: Timestamp) -> Revocation {
    let ends_at = before.checked_add(LONGEST_SESSION).unwrap_or(before);
    Revocation { sessions_before: Time(before), ends_at: Time(ends_at) }
}

/// Sessions that began before this are cut off.
pub fn sessions_before(now: Timestamp) -> Timestamp {
    let seconds = now.as_second() + SPREADING.as_secs();
    Timestamp::from_second(seconds).unwrap_or(now)
}

/// Keeps the denial of earlier sessions as it should be, until it is not needed any more.
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
            let step = planner.step(PART, Action::LiftDenial, vec![diff], &[]);
            planner.plan.steps[step].drift = false;
        }
        Reading::Set(live) if wanted.same_as(live) => {}
        _ if now >= revocation.ends_at.0 => {}
        Reading::Set(live) => {
            planner.step(PART, Action::Deny { sessions_before: Some(before) }, wanted.diffs("denial", live), &[]);
        }
        Reading::Unset => {
            let diff = FieldDiff::new("denial", None, Some(wanted.to_json()));
            planner.step(PART, Action::Deny { sessions_before: Some(before) }, vec![diff], &[]);
        }
        Reading::NotLooked => {}
    }
}

fn delete(planner: &mut Planner<'_>, id: &str, after: &[usize]) -> usize {
    let diff = FieldDiff::new("accessKey", Some(json!(id)), None);
    planner.step(PART, Action::DeleteKey { id: id.to_owned() }, vec![diff], after)
}
