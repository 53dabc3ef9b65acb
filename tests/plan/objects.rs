//! Objects in every state, as Flux and Argo CD see them: recorded where the health check for Argo CD has its test data. `tests/install`
//! runs the code of Flux and of Argo CD over them.

use std::path::Path;

use bucketconnection::api::AWSAccount;
use bucketconnection::desired::Account;
use bucketconnection::plan::Blocker;
use bucketconnection::status::{self, Finding, Reconcile, Stage, fold, fold_account};
use bucketconnection::vocabulary::conditions::{ConditionType, Reason};
use bucketconnection::vocabulary::problem::{Class, Place, Problem};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Serialize;
use serde_json::json;

use super::Story;

/// Where Argo CD's own repository has its health checks.
const PLACE: &str = "deploy/gitops/argocd/resource_customizations/bucketconnection.dev";
const NEW: &str = "> object\n| preset: IlluminaICA\n";
const CREATED: &str = "> object\n| preset: IlluminaICA\n\n> reconcile\n\n";

/// Connections that a story leads to: the state, and the story after the connection became ready.
const LATER: [(&str, &str); 11] = [
    ("healthy_connected", ""),
    ("healthy_drift_reverted", "> wait\n\n> edit cors deleted\n\n> reconcile\n"),
    (
        "degraded_drift_not_reverted",
        "> edit cors deleted\n\n> fail WriteSetting Denied AccessDenied s3:PutBucketCORS\n\n> reconcile\n",
    ),
    ("progressing_drift_throttled", "> edit cors deleted\n\n> fail WriteSetting Throttled SlowDown\n\n> reconcile\n"),
    ("degraded_bucket_not_owned", "> edit bucket of another connection\n\n> reconcile\n"),
    ("degraded_key_compromised", "> edit keys deleted\n\n> edit quarantine\n\n> reconcile\n"),
    ("degraded_user_not_owned", "> edit user there before\n\n> reconcile\n"),
    ("healthy_rotation_overlap", "> rotate\n\n> reconcile\n"),
    ("progressing_revoked", "> revoke\n\n> reconcile\n"),
    ("healthy_revoked_with_another_key", "> revoke\n\n> reconcile\n\n> reconcile\n"),
    ("progressing_key_unknown_to_aws", "> edit keys deleted\n\n> fail Verify BadKey InvalidAccessKeyId\n\n> reconcile\n"),
];

/// Connections that never became ready: the state, and the whole story.
const NEVER: [(&str, &str); 6] = [
    ("progressing_creating", "> object\n| preset: IlluminaICA\n\n> killed 2\n"),
    ("progressing_throttled", "> object\n| preset: IlluminaICA\n\n> fail CreateUser Throttled Throttling\n\n> reconcile\n"),
    (
        "degraded_denied",
        "> object\n| preset: IlluminaICA\n\n> fail CreateUser Denied AccessDenied iam:CreateUser\n\n> fail CreateBucket Denied AccessDenied s3:CreateBucket\n\n> reconcile\n",
    ),
    (
        "progressing_corrected",
        "> object\n| preset: IlluminaICA\n\n> fail CreateUser Denied AccessDenied iam:CreateUser\n\n> reconcile\n\n> object\n| preset: ReadWrite\n\n> killed 1\n",
    ),
    ("healthy_observe_only", "> object\n| management: {default: Observe}\n\n> reconcile\n"),
    (
        "degraded_awaiting_approval",
        "> edit bucket by hand\n\n> approve\n\n> object\n| bucket: {adopt: true, tags: {cost: \"8\"}}\n\n> reconcile\n",
    ),
];

#[test]
fn recorded_objects() {
    let mut connections: Vec<(&str, String)> = Vec::new();
    connections.extend(NEVER.map(|(name, script)| (name, text(&story(script).object))));
    connections.extend(LATER.map(|(name, script)| (name, text(&story(&format!("{CREATED}{script}")).object))));
    connections.extend(unsettled());
    connections.extend(refused());
    connections.extend(deleted());
    record("BucketConnection", connections);
    record("AWSAccount", accounts());
}

fn story(script: &str) -> Story {
    let mut story = Story::new();
    story.replay(script);
    story
}

fn text(object: &impl Serialize) -> String {
    serde_saphyr::to_string(object).unwrap()
}

/// An object as the API server stores it before its first reconcile: with the default in the CRD.
fn unseen(object: &impl Serialize) -> String {
    text(object) + "status:\n  observedGeneration: -1\n"
}

fn folded(story: &mut Story, stage: Stage<'_>) -> String {
    let status = fold(&Reconcile { object: &story.object, now: story.world.now, stage });
    story.object.status = Some(status);
    text(&story.object)
}

/// What the operator has not seen yet, or leaves as it is.
fn unsettled() -> Vec<(&'static str, String)> {
    let mut changed = story(CREATED);
    changed.command("object", "preset: IlluminaICA\nbucket: {tags: {team: a}}\n");
    let suspended = |script: &str| {
        let mut story = story(script);
        story.object.spec.suspend = true;
        folded(&mut story, Stage::Suspended)
    };
    vec![
        ("progressing_new", unseen(&story(NEW).object)),
        ("progressing_changed", text(&changed.object)),
        ("suspended_connected", suspended(CREATED)),
        ("suspended_new", suspended(NEW)),
    ]
}

/// What ends before AWS is read.
fn refused() -> Vec<(&'static str, String)> {
    let mut invalid = story("> object\n| bucket: {prefix: /runs}\n");
    let errors = invalid.world.resolve(&invalid.object).unwrap_err();
    let blocker = |reason: Reason, message: &str| Blocker {
        part: ConditionType::AccountReady,
        reason,
        message: message.to_owned(),
        stalled: true,
        problem: None,
    };
    let no_account = blocker(
        Reason::AccountNotFound,
        "there is no AWSAccount default: create it (docs/accounts.md), or set accountRef to another one",
    );
    let not_allowed = blocker(
        Reason::NotAllowed,
        "AWSAccount default does not allow namespace lab: bucket.name: lab-bucket (allowed: lab-a-*)",
    );
    let (mut throttled, mut unavailable) = (story(CREATED), story(CREATED));
    let failed = |class: Class, code: &str| {
        let problem = Problem::new(class, "sts:GetCallerIdentity", code, "");
        Blocker::unreadable(ConditionType::AccountReady, &problem, &Place::default())
    };
    let no_answer = failed(Class::Unavailable, "Timeout");
    folded(&mut unavailable, Stage::Refused(&no_answer));
    unavailable.world.wait();
    let mut unreadable = story(CREATED);
    let problem = "the object cannot be read: unknown variant `Nonsense`; correct it, or install the CRDs of this version";
    unreadable.object.status = Some(status::unreadable(&unreadable.object, problem, unreadable.world.now).1);
    vec![
        ("degraded_invalid_spec", folded(&mut invalid, Stage::Invalid(&errors))),
        ("degraded_account_not_found", folded(&mut story(CREATED), Stage::Refused(&no_account))),
        ("degraded_not_allowed", folded(&mut story(NEW), Stage::Refused(&not_allowed))),
        ("healthy_throttled", folded(&mut throttled, Stage::Refused(&failed(Class::Throttled, "Throttling")))),
        ("progressing_unavailable_for_ten_minutes", folded(&mut unavailable, Stage::Refused(&no_answer))),
        ("degraded_unreadable", text(&unreadable.object)),
    ]
}

/// What is being deleted.
fn deleted() -> Vec<(&'static str, String)> {
    let deleted = |script: &str| {
        let mut story = story(&format!("{CREATED}{script}"));
        let metadata = &mut story.object.metadata;
        (metadata.deletion_timestamp, metadata.finalizers) =
            (Some(Time(story.world.now)), Some(vec!["bucketconnection.dev/cleanup".into()]));
        text(&story.object)
    };
    vec![
        ("progressing_deletion_requested", deleted("")),
        ("progressing_deleting", deleted("> fail DeleteUser Throttled Throttling\n\n> delete\n")),
        ("degraded_deletion_blocked", deleted("> edit objects in the bucket\n\n> delete\n")),
    ]
}

fn accounts() -> Vec<(&'static str, String)> {
    let new: AWSAccount = serde_json::from_value(json!({
        "apiVersion": "bucketconnection.dev/v1alpha1", "kind": "AWSAccount",
        "metadata": { "name": "research", "uid": "uid", "generation": 1 },
        "spec": { "accountId": "123456789012", "allowedNamespaces": [{ "names": ["lab"], "buckets": ["lab-*"] }] },
    }))
    .unwrap();
    let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
    let folded = |found: &Finding<'_>, deleted: bool| {
        let mut account = new.clone();
        account.metadata.deletion_timestamp = deleted.then_some(Time(now));
        account.status = Some(fold_account(&account, found, now));
        text(&account)
    };
    let failed = |class: Class, code: &str| {
        let problem = Problem::new(class, "sts:GetCallerIdentity", code, "");
        folded(&Finding::Failed(&Blocker::unreadable(ConditionType::AccountReady, &problem, &Place::default())), false)
    };
    let found = Account { id: "123456789012".into(), partition: "aws".into() };
    let identity = "arn:aws:sts::123456789012:assumed-role/bucketconnection/operator";
    vec![
        ("progressing_new", unseen(&new)),
        ("healthy_signed_in", folded(&Finding::SignedIn(&found, identity), false)),
        ("degraded_sign_in_failed", failed(Class::BadKey, "InvalidClientTokenId")),
        ("progressing_unavailable", failed(Class::Unavailable, "Timeout")),
        ("degraded_in_use", folded(&Finding::InUse(&["lab/genomics".into()]), true)),
    ]
}

/// Compares the objects with the recorded files; `UPDATE=1` records them again.
fn record(kind: &str, objects: Vec<(&str, String)>) {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join(PLACE).join(kind).join("testdata");
    let update = std::env::var("UPDATE").is_ok();
    if update {
        let _ = std::fs::remove_dir_all(&place);
        std::fs::create_dir_all(&place).unwrap();
    }
    for (name, text) in &objects {
        let file = place.join(format!("{name}.yaml"));
        if update {
            std::fs::write(&file, text).unwrap();
        } else {
            let recorded = std::fs::read_to_string(&file).unwrap_or_default();
            assert_eq!(&recorded, text, "{}: UPDATE=1 cargo test --test plan records it again", file.display());
        }
    }
    assert_eq!(std::fs::read_dir(&place).unwrap().count(), objects.len(), "{} has other files", place.display());
}
