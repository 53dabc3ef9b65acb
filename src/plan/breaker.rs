//! Stops sending a write that AWS accepts but that has no effect.
//!
//! If a reconcile plans the same write as the one before, with the same observed and desired values, the earlier write had no
//! effect: AWS normalizes it, or another tool reverts it at once. After [`LIMIT`] such writes in a row the operator holds the write
//! back, also if another write to the same part came in between each time, as when two of them undo each other. The part is then
//! `NotConverging` until a reconcile finds the field in sync, the spec changes, or a retry is due. A retry alone does not change
//! the condition: only the next reconcile can. It also distinguishes drift: it comes within a minute of each write, and a field
//! that it finds as written starts a new count.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::json;

use super::{Action, Plan, Step};
use crate::api::IneffectiveWrite;
use crate::observed::Remembered;
use crate::settings::FieldDiff;
use crate::vocabulary::conditions::ConditionType;
use crate::vocabulary::digest::digest;
use crate::vocabulary::problem::join_names;

/// How often the same write is sent before it is held back.
pub const LIMIT: i64 = 3;
/// A write that is held back is tried again this often.
const RETRY_SECONDS: i64 = 3_600;
/// Longest value that a message shows whole.
const VALUE_LENGTH: usize = 100;

/// The ineffective writes, by fingerprint; whether each is to be tried again in this reconcile.
pub(super) type Ineffective = BTreeMap<String, bool>;

/// The recorded writes that were ineffective. A requested reconcile is also another try.
pub(super) fn ineffective(remembered: &Remembered, now: Timestamp) -> Ineffective {
    let due = |repeat: &IneffectiveWrite| {
        let age = now.as_second() - repeat.last_written_at.0.as_second();
        remembered.asked || !(0..RETRY_SECONDS).contains(&age)
    };
    let ineffective = remembered.ineffective_writes.iter().filter(|repeat| repeat.count >= LIMIT);
    ineffective.map(|repeat| (repeat.fingerprint.clone(), due(repeat))).collect()
}

/// What makes two writes the same: the generation of the spec, and each field with its observed and desired value.
/// `None` for steps that are not counted: steps other than plain writes to AWS, and the first writes to a bucket or
/// user that is being created.
pub fn fingerprint(step: &Step, remembered: &Remembered) -> Option<String> {
    let plain = matches!(
        step.action,
        Action::WriteSetting(_)
            | Action::PutInlinePolicy { .. }
            | Action::UpdatePolicy { .. }
            | Action::TagUser { .. }
            | Action::SetPermissionsBoundary { .. }
    );
    if !plain || !step.after.is_empty() {
        return None;
    }
    Some(digest(json!([remembered.generation, step.diffs]).to_string(), 8))
}

/// The parts with ineffective writes, and the message for each.
pub(super) fn messages(plan: &Plan) -> Vec<(ConditionType, String)> {
    let mut parts: BTreeMap<ConditionType, Vec<String>> = BTreeMap::new();
    for step in &plan.ineffective {
        parts.entry(step.part).or_default().extend(step.diffs.iter().map(told));
    }
    let message = |fields: Vec<String>| {
        let named = join_names(&fields);
        format!(
            "written {LIMIT} times without effect: {named}; AWS stores another value, or another tool reverts the write; set the spec to the value that AWS stores, or find the tool. Retried every hour, on request, and when the spec changes."
        )
    };
    parts.into_iter().map(|(part, fields)| (part, message(fields))).collect()
}

fn told(diff: &FieldDiff) -> String {
    let [live, desired] = diff.shown(VALUE_LENGTH);
    format!("{} is {live}, should be {desired}", diff.path)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn written(live: &str) -> Step {
        let diff = FieldDiff::new("user.permissionsBoundary", Some(json!(live)), Some(json!("wanted")));
        let action = Action::SetPermissionsBoundary { arn: "wanted".into() };
        Step { drift: true, ..Step::new(ConditionType::UserReady, action, vec![diff]) }
    }

    fn remembered(count: i64) -> Remembered {
        let repeat = IneffectiveWrite {
            condition: "UserReady".into(),
            path: "user.permissionsBoundary".into(),
            fingerprint: "it".into(),
            count,
            last_written_at: Time(at(0)),
        };
        Remembered { ineffective_writes: vec![repeat], generation: Some(1), ..Remembered::default() }
    }

    #[test]
    fn what_was_written_often_enough_is_held_back_for_an_hour() {
        let due = |remembered: &Remembered, second| ineffective(remembered, at(second)).get("it").copied();
        assert_eq!(due(&remembered(LIMIT - 1), 60), None);
        assert_eq!(due(&remembered(LIMIT), 60), Some(false));
        assert_eq!(due(&remembered(LIMIT), RETRY_SECONDS - 1), Some(false));
        assert_eq!(due(&remembered(LIMIT), RETRY_SECONDS), Some(true));
        assert_eq!(due(&remembered(LIMIT), -1), Some(true), "a clock that was put back holds nothing back for ever");
        assert_eq!(due(&Remembered { asked: true, ..remembered(LIMIT) }, 60), Some(true));
    }

    #[test]
    fn the_same_write_is_the_same_in_every_value_and_generation() {
        let one = remembered(1);
        let print = |step: &Step| fingerprint(step, &one);
        assert_eq!(print(&written("a")), print(&written("a")));
        assert_ne!(print(&written("a")), print(&written("b")));
        assert_ne!(print(&written("a")), fingerprint(&written("a"), &Remembered { generation: Some(2), ..one.clone() }));
    }

    #[test]
    fn keys_and_first_writes_are_never_held_back() {
        let one = remembered(LIMIT);
        assert_eq!(fingerprint(&Step { after: vec![0], ..written("a") }, &one), None, "it waits for a creation");
        for action in [
            Action::IssueKey { secret: "s".into(), version: None, known: Vec::new(), retire: Vec::new() },
            Action::DeleteKey { id: "AKIA".into() },
            Action::Verify { key: None, patient: true },
            Action::WriteRole { name: "r".into(), secrets: Vec::new() },
        ] {
            assert_eq!(fingerprint(&Step { action, ..written("a") }, &one), None);
        }
    }

    #[test]
    fn messages_are_short_and_one_for_each_part() {
        let many = (0..9).map(|n| FieldDiff::new(format!("f{n}"), None, Some(json!("x".repeat(500))))).collect();
        let plan = Plan { ineffective: vec![written("a"), Step { diffs: many, ..written("a") }], ..Plan::default() };
        let [(part, text)] = &messages(&plan)[..] else { panic!("one part") };
        assert_eq!(*part, ConditionType::UserReady);
        assert!(text.starts_with(
            "written 3 times without effect: user.permissionsBoundary is \"a\", should be \"wanted\", f0 is (none)"
        ));
        assert!(text.contains("… and 5 more; AWS stores another value") && text.len() < 1_000, "{text}");
    }
}
