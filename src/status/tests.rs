use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use super::*;
use crate::api::{
    AWSAccount, AWSAccountSpec, BucketConnection, BucketConnectionStatus, CredentialsStatus, IneffectiveWrite, REQUESTED_AT,
    ROTATE_AT,
};
use crate::desired::{Account, Grant, SpecError, resolve};
use crate::execute::{Executed, Outcome, Report};
use crate::observed::{Bucket, Observed, Remembered};
use crate::plan::{Action, Blocker, Plan, Step};
use crate::settings::Reading;
use crate::vocabulary::conditions::{ConditionType, Reason, find};
use crate::vocabulary::problem::{Class, Place, Problem};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn object() -> BucketConnection {
    let spec = json!({ "preset": "ReadWrite", "region": "us-east-1", "bucket": { "name": "lab-bucket", "prefix": "runs/" } });
    let metadata = json!({ "name": "genomics", "namespace": "lab", "uid": "uid", "generation": 3 });
    serde_json::from_value(
        json!({ "apiVersion": "bucketconnection.dev/v1alpha1", "kind": "BucketConnection", "metadata": metadata, "spec": spec }),
    )
    .unwrap()
}

fn folded(object: &BucketConnection, seconds: i64, stage: Stage<'_>) -> BucketConnectionStatus {
    fold(&Reconcile { object, now: at(seconds), stage })
}

fn told(status: &BucketConnectionStatus, kind: ConditionType) -> (String, String) {
    let condition = condition(status, kind).unwrap();
    (condition.status.clone(), condition.reason.clone())
}

/// A reconcile that found these blockers, of an object that was healthy before.
fn checked(object: &BucketConnection, seconds: i64, blockers: Vec<Blocker>) -> BucketConnectionStatus {
    seen(object, seconds, blockers, &Observed::default())
}

/// The same, with observed state.
fn seen(object: &BucketConnection, seconds: i64, blockers: Vec<Blocker>, observed: &Observed) -> BucketConnectionStatus {
    let account = Account { id: "123456789012".into(), partition: "aws".into() };
    let desired = resolve(object, "cluster", &account, &Grant::default()).unwrap();
    let (remembered, report) = (Remembered::of(object), Report::default());
    let plan = Plan { blockers, ..Plan::default() };
    folded(
        object,
        seconds,
        Stage::Checked(Checked {
            began: at(seconds),
            sign_in: &SignIn::default(),
            desired: &desired,
            observed,
            remembered: &remembered,
            plan: &plan,
            report: &report,
        }),
    )
}

fn healthy() -> BucketConnection {
    let mut object = object();
    let mut status = BucketConnectionStatus { observed_generation: Some(3), ..BucketConnectionStatus::default() };
    for part in ConditionType::PARTS {
        set(&mut status.conditions, Some(3), at(0), part, Some(true), Reason::InSync, "");
    }
    set(&mut status.conditions, Some(3), at(0), ConditionType::Ready, Some(true), Reason::Connected, "");
    object.status = Some(status);
    object
}

#[test]
fn every_exit_sets_the_three_and_the_generation() {
    let refused = Blocker {
        part: ConditionType::AccountReady,
        reason: Reason::SignInFailed,
        message: "no".into(),
        stalled: true,
        problem: None,
    };
    let errors = [SpecError::new("spec.region", "no")];
    let (plan, report) = (Plan::default(), Report::default());
    for stage in [Stage::Suspended, Stage::Invalid(&errors), Stage::Refused(&refused), Stage::Deleting(&plan, &report)] {
        let status = folded(&object(), 0, stage);
        assert_eq!(status.observed_generation, Some(3));
        for kind in [ConditionType::Ready, ConditionType::Reconciling, ConditionType::Stalled] {
            assert_eq!(condition(&status, kind).unwrap().observed_generation, Some(3), "{kind}");
        }
        assert!(!(is_true(&status, ConditionType::Reconciling) && is_true(&status, ConditionType::Stalled)));
    }
}

#[test]
fn the_transition_time_moves_only_when_the_status_flips() {
    let mut status = BucketConnectionStatus::default();
    let mut turn = |seconds, value, reason| {
        set(&mut status.conditions, Some(1), at(seconds), ConditionType::Ready, value, reason, "text");
        condition(&status, ConditionType::Ready).unwrap().last_transition_time.0
    };
    assert_eq!(turn(0, Some(false), Reason::Progressing), at(0));
    assert_eq!(turn(9, Some(false), Reason::Throttled), at(0));
    assert_eq!(turn(20, Some(true), Reason::Connected), at(20));
    assert_eq!(turn(30, None, Reason::Waiting), at(30));
}

#[test]
fn conditions_of_others_are_kept() {
    let mut object = object();
    let foreign = json!({ "type": "Theirs", "status": "True", "reason": "X", "message": "", "lastTransitionTime": at(0) });
    object.status = Some(serde_json::from_value(json!({ "conditions": [foreign] })).unwrap());
    let status = folded(&object, 0, Stage::Suspended);
    assert!(status.conditions.iter().any(|condition| condition.type_ == "Theirs"));
    assert_eq!(status.conditions[0].type_, "Ready", "ours first");
}

#[test]
fn a_passing_trouble_leaves_what_held_standing_for_a_while() {
    let problem = Problem::new(Class::Throttled, "s3:GetBucketCORS", "SlowDown", "");
    let blocker = || {
        let part = ConditionType::CORSInSync;
        vec![Blocker {
            part,
            reason: problem.reason(),
            message: problem.to_string(),
            stalled: false,
            problem: Some(problem.clone()),
        }]
    };
    let mut object = healthy();
    let status = checked(&object, 10, blocker());
    assert_eq!(told(&status, ConditionType::CORSInSync), ("True".into(), "InSync".into()));
    assert_eq!(told(&status, ConditionType::Reconciling), ("True".into(), "Throttled".into()));
    object.status = Some(status);
    object.status = Some(checked(&object, 10 + 299, blocker()));
    assert!(is_true(object.status.as_ref().unwrap(), ConditionType::CORSInSync));
    let status = checked(&object, 10 + 300, blocker());
    assert_eq!(told(&status, ConditionType::CORSInSync), ("Unknown".into(), "Throttled".into()));
    assert_eq!(told(&status, ConditionType::Ready).0, "False");
}

#[test]
fn what_a_person_must_mend_shows_at_once() {
    let problem = Problem::new(Class::Denied, "s3:GetBucketCORS", "AccessDenied", "");
    let blocker = Blocker {
        part: ConditionType::CORSInSync,
        reason: problem.reason(),
        message: problem.to_string(),
        stalled: true,
        problem: Some(problem),
    };
    let status = checked(&healthy(), 10, vec![blocker]);
    assert_eq!(told(&status, ConditionType::CORSInSync), ("False".into(), "AccessDenied".into()));
    assert_eq!(told(&status, ConditionType::Stalled), ("True".into(), "AccessDenied".into()));
    assert_eq!(told(&status, ConditionType::Ready), ("False".into(), "AccessDenied".into()));
}

#[test]
fn every_denied_read_is_told_at_once() {
    let denied = |action: &str| Problem::new(Class::Denied, action, "AccessDenied", "");
    let problem = denied("s3:GetBucketTagging");
    let message = "bucket lab-bucket belongs to another AWS account, or the operator is not allowed to read it".to_owned();
    let part = ConditionType::BucketReady;
    let blocker = Blocker { part, reason: problem.reason(), message, stalled: true, problem: Some(problem.clone()) };
    let alone = seen(&healthy(), 10, vec![blocker.clone()], &Observed { unread: vec![problem.clone()], ..Observed::default() });
    let text = |status: &BucketConnectionStatus, kind| condition(status, kind).unwrap().message.clone();
    assert!(text(&alone, ConditionType::Ready).starts_with("BucketReady: bucket lab-bucket belongs to another AWS account"));

    // Denied reads other than the first blocker, in any order, and a failed read that blocks nothing.
    let mut observed = Observed {
        bucket: Bucket::Unreadable(problem.clone()),
        unread: vec![denied("s3:GetBucketCORS"), problem, Problem::new(Class::Throttled, "s3:GetLifecycle", "SlowDown", "")],
        attached: Reading::Unreadable(denied("iam:ListAttachedUserPolicies")),
        ..Observed::default()
    };
    let all = seen(&healthy(), 10, vec![blocker.clone()], &observed);
    for kind in [ConditionType::Ready, ConditionType::Stalled] {
        assert_eq!(
            text(&all, kind),
            "AWS denied: iam:ListAttachedUserPolicies, s3:GetBucketCORS, s3:GetBucketTagging; allow the operator these actions (bucketconnection iam-policy prints the policy that it needs), and look for a denying SCP, RCP or bucket policy; if bucket lab-bucket belongs to another AWS account, choose another bucket.name"
        );
    }
    // The user cannot be read, and may be missing.
    let hidden = Observed {
        user: Reading::Unreadable(denied("iam:GetUser")),
        attached: Reading::Unreadable(denied("iam:ListAttachedUserPolicies")),
        unread: vec![denied("iam:GetUser"), denied("s3:GetBucketCORS")],
        ..Observed::default()
    };
    let told = text(&seen(&healthy(), 10, vec![blocker.clone()], &hidden), ConditionType::Ready);
    assert!(told.starts_with("AWS denied: iam:GetUser, s3:GetBucketCORS, s3:GetBucketTagging; "), "{told}");
    // What AWS names as the cause counts if it is the same for all.
    let boundary = |action: &str| {
        let message = format!("no permissions boundary allows the {action} action");
        Problem::new(Class::Denied, action, "AccessDenied", message)
    };
    let (tagging, cors) = (boundary("s3:GetBucketTagging"), boundary("s3:GetBucketCORS"));
    let blocked = vec![Blocker { problem: Some(tagging.clone()), ..blocker.clone() }];
    let bounded = Observed { bucket: Bucket::Unreadable(tagging.clone()), unread: vec![cors, tagging], ..Observed::default() };
    let named = "first in the permissions boundary, which AWS names as the cause";
    let told = text(&seen(&healthy(), 10, blocked.clone(), &bounded), ConditionType::Ready);
    assert!(told.contains(named), "{told}");
    let mixed = Observed { attached: Reading::Unreadable(denied("iam:ListAttachedUserPolicies")), ..bounded };
    let told = text(&seen(&healthy(), 10, blocked, &mixed), ConditionType::Ready);
    assert!(!told.contains(named) && told.contains("look for a denying SCP"), "{told}");
    observed.unread.reverse();
    assert_eq!(seen(&healthy(), 10, vec![blocker.clone()], &observed), all);
    // Reads of a missing user say nothing.
    observed.user = Reading::Unset;
    assert!(!text(&seen(&healthy(), 10, vec![blocker], &observed), ConditionType::Ready).contains("iam:"));
}

/// A user whose policy cannot be read, and so is not detached, cannot be deleted.
#[test]
fn a_deletion_names_the_missing_permission_and_not_what_follows_from_it() {
    let denied = Problem::new(Class::Denied, "iam:GetPolicyVersion", "AccessDenied", "");
    let blocker = Blocker::unreadable(ConditionType::PolicyInSync, &denied, &Place::default());
    let conflict = Problem::new(Class::InUse, "iam:DeleteUser", "DeleteConflict", "must detach all policies first");
    let part = ConditionType::UserReady;
    let step = Step::new(part, Action::DeleteUser, vec![]);
    let report = Report { steps: vec![Executed { step, outcome: Outcome::Failed(conflict) }] };
    let plan = Plan { blockers: vec![blocker], ..Plan::default() };
    let trouble = deletion_trouble(&plan, &report).unwrap();
    assert!(trouble.stalled && trouble.reason == Reason::AccessDenied, "{trouble:?}");
    assert!(trouble.message.contains("allow the operator iam:GetPolicyVersion"), "{}", trouble.message);
    // Without a denial, the conflict is the cause.
    let alone = deletion_trouble(&Plan::default(), &report).unwrap();
    assert!(alone.message.contains("DeleteConflict"), "{}", alone.message);
}

#[test]
fn a_suspended_object_keeps_what_was_known() {
    let status = folded(&healthy(), 10, Stage::Suspended);
    assert_eq!(told(&status, ConditionType::Ready), ("True".into(), "Connected".into()));
    assert_eq!(told(&status, ConditionType::Stalled).0, "False");
}

fn repeat(count: i64) -> IneffectiveWrite {
    IneffectiveWrite {
        condition: "CORSInSync".into(),
        path: "cors.rules[0]".into(),
        fingerprint: "it".into(),
        count,
        last_written_at: Time(at(0)),
    }
}

#[test]
fn that_a_write_took_is_forgotten_without_a_write_of_its_own() {
    let forgotten = |count| {
        let old = BucketConnectionStatus {
            ineffective_writes: vec![repeat(count)],
            last_checked_at: Some(Time(at(0))),
            ..Default::default()
        };
        worth_writing(&old, &BucketConnectionStatus { ineffective_writes: Vec::new(), ..old.clone() }, at(60))
    };
    assert!(!forgotten(1), "as after any change that took");
    assert!(forgotten(2), "so that the next such drift is counted anew");
}

#[test]
fn what_was_written_is_remembered_while_it_cannot_be_seen() {
    let mut object = healthy();
    object.status.as_mut().unwrap().ineffective_writes = vec![repeat(2)];
    let unread = |part, class| {
        let problem = Problem::new(class, "s3:GetBucketCORS", "SlowDown", "");
        Blocker { part, reason: problem.reason(), message: String::new(), stalled: false, problem: Some(problem) }
    };
    let after = |blockers| checked(&object, 10, blockers).ineffective_writes;
    assert_eq!(after(Vec::new()), [], "in sync");
    for part in [ConditionType::CORSInSync, ConditionType::BucketReady] {
        assert_eq!(after(vec![unread(part, Class::Throttled)]), [repeat(2)]);
    }
    assert_eq!(after(vec![unread(ConditionType::PolicyInSync, Class::Throttled)]), []);
}

#[test]
fn a_request_is_answered_and_remembered() {
    let mut object = object();
    let errors = [SpecError::new("spec.region", "no")];
    object.metadata.annotations = Some([(REQUESTED_AT.to_owned(), "one".to_owned())].into());
    let status = folded(&object, 0, Stage::Invalid(&errors));
    assert_eq!(status.last_handled_reconcile_at.as_deref(), Some("one"));
    object.metadata.annotations = None;
    object.status = Some(status);
    assert_eq!(folded(&object, 1, Stage::Suspended).last_handled_reconcile_at.as_deref(), Some("one"));
}

#[test]
fn a_suspended_object_says_what_waits_for_it() {
    let mut object = healthy();
    let mut said = |annotations: &[&str]| {
        object.metadata.annotations = Some(annotations.iter().map(|name| ((*name).to_owned(), "now".to_owned())).collect());
        object.status = Some(folded(&object, 10, Stage::Suspended));
        let status = object.status.as_ref().unwrap();
        assert_eq!(status.last_handled_reconcile_at, None, "nothing was checked");
        condition(status, ConditionType::Reconciling).unwrap().message.clone()
    };
    let plain = "spec.suspend is true: the operator reads and changes nothing";
    let waits = |what: &str| format!("{plain}; {what} was requested, and waits until spec.suspend is false");
    assert_eq!(said(&[]), plain);
    assert_eq!(said(&[REQUESTED_AT]), waits("a reconcile"));
    assert_eq!(said(&[ROTATE_AT, REQUESTED_AT]), waits("a reconcile and another access key"));
}

#[test]
fn the_same_again_is_written_once_an_hour() {
    let object = {
        let mut object = healthy();
        object.status = Some(folded(&object, 0, Stage::Suspended));
        object
    };
    let before = object.status.clone().unwrap();
    let after = |seconds| folded(&object, seconds, Stage::Suspended);
    assert!(!worth_writing(&before, &after(3_599), at(3_599)));
    assert!(worth_writing(&before, &after(3_600), at(3_600)));
    assert!(worth_writing(&before, &folded(&object, 1, Stage::Invalid(&[SpecError::new("f", "m")])), at(1)));
    assert!(at(0).checked_add(SignedDuration::from_hours(1)).unwrap() == at(HEARTBEAT_SECONDS));
}

/// The end of an overlap does not wait for the resync interval.
#[test]
fn what_becomes_due_during_a_reconcile_is_due_at_once() {
    let mut status = BucketConnectionStatus::default();
    let previous = json!({ "accessKeyId": "AKIAOLD", "replacedAt": at(0), "worksUntil": at(100) });
    let previous = Some(serde_json::from_value(previous).unwrap());
    status.memory.credentials = Some(CredentialsStatus { previous, ..CredentialsStatus::default() });
    let due = |began, now| due(&status, at(began), at(now)).map(|due| due.as_secs());
    assert_eq!(due(90, 95), Some(5));
    assert_eq!(due(99, 101), Some(0), "the plan was made before");
    assert_eq!(due(100, 101), None, "the plan has considered it");
}

/// A misspelled region looks like a permanent outage.
#[test]
fn a_region_that_never_answers_stalls_after_a_while() {
    let unreachable = |part| {
        let problem = Problem::new(Class::Unavailable, "s3:GetBucketTagging", "Unreachable", "Name or service not known");
        vec![Blocker::unreadable(part, &problem, &Place::default())]
    };
    let bucket = || unreachable(ConditionType::BucketReady);
    let mut object = object();
    let mut at = |seconds, blockers| {
        object.status = Some(checked(&object, seconds, blockers));
        told(object.status.as_ref().unwrap(), ConditionType::Stalled)
    };
    assert_eq!(at(0, bucket()), ("False".into(), "NotStalled".into()));
    assert_eq!(at(299, bucket()).0, "False");
    for later in [300, 301, 4_000] {
        assert_eq!(at(later, bucket()), ("True".into(), "RegionUnavailable".into()), "and stays so");
    }
    let text = condition(object.status.as_ref().unwrap(), ConditionType::Ready).unwrap().message.clone();
    assert!(text.ends_with("S3 in region us-east-1 does not answer, and this connection has no bucket there yet: check that us-east-1 is the right region, and enabled for the account (AWS console, Account, AWS Regions), then network and proxy"), "{text}");
    // If the bucket was seen before, it is an outage.
    let mut known = healthy();
    let bucket_known = json!({ "arn": "arn:aws:s3:::lab-bucket", "region": "us-east-1" });
    known.status.as_mut().unwrap().memory.bucket = Some(serde_json::from_value(bucket_known).unwrap());
    for seconds in [0, 400] {
        known.status = Some(checked(&known, seconds, bucket()));
        assert_eq!(told(known.status.as_ref().unwrap(), ConditionType::Stalled).0, "False");
    }
}

#[test]
fn an_account_that_never_answers_stalls_after_a_while() {
    let problem = Problem::new(Class::Unavailable, "sts:GetCallerIdentity", "Unreachable", "Name or service not known");
    let blocker = Blocker::unreadable(ConditionType::AccountReady, &problem, &Place::default());
    let mut account = AWSAccount::new("research", AWSAccountSpec::default());
    let mut stalled = |seconds| {
        account.status = Some(fold_account(&account, &Finding::Failed(&blocker), at(seconds)));
        find(&account.status.as_ref().unwrap().conditions, ConditionType::Stalled).unwrap().clone()
    };
    assert_eq!([stalled(0), stalled(299)].map(|condition| condition.status), ["False", "False"]);
    let told = [stalled(300), stalled(900)].map(|condition| condition.reason);
    assert_eq!(told, ["RegionUnavailable", "RegionUnavailable"]);
}
