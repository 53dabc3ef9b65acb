use serde_json::{Value, json};

use super::*;
use crate::render::fixture::{SCHEDULE, condition, now, object};
use crate::render::screen::{Cell, Section};

fn set(object: &mut Value, kind: &str, status: &str, reason: &str, message: &str) {
    let conditions = object["status"]["conditions"].as_array_mut().unwrap();
    conditions.retain(|condition| condition["type"] != kind);
    conditions.push(condition(kind, status, reason, message));
}

fn overview(object: &Value) -> Overview {
    Overview::of(&serde_json::from_value(object.clone()).unwrap(), None, &SCHEDULE, now())
}

fn states(of: &Overview) -> Vec<String> {
    of.links.iter().map(|link| format!("{} {}", link.link, link.state)).collect()
}

fn cell(Cell(lines): &Cell) -> String {
    lines.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join(" | ")
}

fn text(sections: &[Section]) -> String {
    let row = |row: &Vec<Cell>| row.iter().map(cell).collect::<Vec<_>>().join("  ");
    let lines = |section: &Section| {
        let heads = [section.title.clone(), section.header.join("  ")];
        heads.into_iter().filter(|head| !head.is_empty()).chain(section.rows.iter().map(row)).collect::<Vec<_>>()
    };
    sections.iter().flat_map(lines).map(|line| line + "\n").collect()
}

#[test]
fn a_connection_that_works_is_one_screen() {
    let mut of = overview(&object());
    of.events = Some(Vec::new());
    let expected = "\
lab/genomics  Ready: Connected | the issued key works on s3://lab-bucket/runs/
connects  ReadWrite on s3://lab-bucket/runs/ in eu-west-1, AWSAccount default
reconciled  5m ago; next: at the latest in 6m
CHAIN
spec  ok  generation 2
account  ok  AWSAccount default (123456789012)
bucket  ok  arn:aws:s3:::lab-bucket in eu-west-1
policy  ok  Inline bucketconnection
user  ok  arn:aws:iam::123456789012:user/bucketconnection/lab.genomics
key  ok  AKIAGENOMICS00000002
secret  ok  genomics-s3
verified  ok  2026-11-25T11:00:00Z
access  ok  lab-readers
CAPABILITIES
s3  Valid  works
others  NotConfigured  read, write: the spec does not ask for it, or the policy does not allow it
KEY
current  AKIAGENOMICS00000002 (Verified)
Secret  genomics-s3
age  4d (issued 2026-11-21T12:00:00Z)
verified  60m ago
next rotation  in 85d (2027-02-18T12:00:00Z), every 90d
WHO CAN READ THE SECRET
lab-readers
DRIFT (1 reverted so far)
STATE  FIELD  BEFORE  AFTER
reverted 30m ago  cors.rules[0].allowedOrigins  [\"*\"]  [\"https://a\"]
EVENTS
none: the API server keeps Events for an hour
";
    assert_eq!(text(&screen(&of, None, now())), expected);
}

/// A broken link has what to do; links that wait for it do not.
#[test]
fn a_broken_link_says_what_to_do() {
    let mut object = object();
    let message = "IAM user lab.genomics exists and is foreign";
    set(&mut object, "UserReady", "False", "UserNotOwned", message);
    set(&mut object, "Ready", "False", "UserNotOwned", &format!("UserReady: {message}"));
    set(&mut object, "Stalled", "True", "UserNotOwned", message);
    for part in ["PolicyInSync", "CredentialsReady", "Verified"] {
        set(&mut object, part, "Unknown", "Waiting", "the operator changes nothing until UserReady is True");
    }
    let of = overview(&object);
    let links = states(&of);
    assert_eq!(links[3..], ["policy waiting", "user broken", "key waiting", "secret waiting", "verified waiting", "access ok"]);
    let user = of.links.iter().find(|link| link.link == "user").unwrap();
    assert!(user.act.as_ref().unwrap().ends_with("(docs/adoption.md)."), "{user:?}");
    let acts = of.links.iter().filter(|link| link.act.is_some()).count();
    assert_eq!((acts, of.stalled, of.is_fine()), (1, true, false));
    assert_eq!(text(&screen(&of, None, now())).matches("Do: ").count(), 1, "the same advice is shown once");
}

/// What `Ready` alone would not show.
#[test]
fn odd_states_are_told() {
    let of = |change: fn(&mut Value)| {
        let mut object = object();
        change(&mut object);
        overview(&object)
    };
    let row = |of: &Overview| {
        let table = table(std::slice::from_ref(of), Layout::default(), now());
        (cell(&table.rows[0][1]), cell(&table.rows[0][2]))
    };
    let told = |of: &Overview| (row(of).0, row(of).1, of.links[0].state.to_string(), of.next_reconcile.text.clone());
    let expect = |of: Overview, ready: &str, reason: &str, spec: &str, next: &str| {
        assert_eq!(told(&of), (ready.to_owned(), reason.to_owned(), spec.to_owned(), next.to_owned()));
    };
    let unseen = of(|object| object["status"] = Value::Null);
    assert!(unseen.message.contains("bucketconnection doctor"), "{}", unseen.message);
    expect(unseen, "Unknown", "NotReconciled", "unknown", "as soon as the operator sees the object");
    let unseen = of(|object| object["status"] = json!({ "observedGeneration": -1 }));
    expect(unseen, "Unknown", "NotReconciled", "unknown", "as soon as the operator sees the object");
    let edited = of(|object| object["metadata"]["generation"] = json!(3));
    assert_eq!(edited.links[0].message.as_deref(), Some("not reconciled yet; the status is that of generation 2"));
    expect(edited, "True", "Connected (earlier spec)", "waiting", "at the latest in 6m");
    let suspended = of(|object| object["spec"]["suspend"] = json!(true));
    expect(suspended, "True", "Connected (suspended)", "waiting", "none while spec.suspend is true");
    let deleting = of(|object| {
        object["metadata"]["deletionTimestamp"] = json!("2026-11-25T11:58:00Z");
        set(object, "Ready", "False", "BucketNotEmpty", "bucket lab-bucket contains 3 objects");
    });
    expect(deleting, "False", "BucketNotEmpty (deleting)", "waiting", "at the latest in 6m");
    let observed = of(|object| {
        set(object, "Verified", "False", "Observed", "only observed");
        set(object, "Ready", "True", "Observed", "no key is issued or verified");
    });
    assert_eq!(states(&observed)[7], "verified observed");
    let invalid = of(|object| set(object, "Ready", "False", "InvalidSpec", "bucket.name: wrong"));
    expect(invalid, "False", "InvalidSpec", "broken", "at the latest in 6m");
}

#[test]
fn an_object_that_this_version_cannot_read_is_shown_as_far_as_possible() {
    let mut object = object();
    object["status"]["conditions"] =
        json!([condition("Ready", "False", "InvalidSpec", "the object cannot be read: unknown variant `Later`")]);
    let read = serde_json::from_value(object).unwrap();
    let of = Overview::of(&read, Some("unknown variant `Later`".to_owned()), &SCHEDULE, now());
    assert_eq!((states(&of)[0].as_str(), of.ready.as_str(), of.name.as_str()), ("spec broken", "False", "genomics"));
    assert!(of.links[0].act.is_some());
}

#[test]
fn an_existing_key_has_an_owner_and_no_rotation() {
    let mut object = object();
    object["spec"]["credentials"] = json!({ "source": "Existing", "existingSecretRef": { "name": "clc-key" } });
    object["status"]["credentials"] =
        json!({ "secretName": "clc-key", "accessKeyId": "AKIA0009", "identity": "arn:aws:iam::123456789012:user/clc" });
    for part in ["UserReady", "PolicyInSync"] {
        set(&mut object, part, "True", "NotManaged", "the key is an existing one");
    }
    let of = overview(&object);
    assert_eq!(states(&of)[3..7], ["policy not managed", "user not managed", "key ok", "secret ok"]);
    let text = text(&screen(&of, None, now()));
    assert!(
        text.contains("Secret  clc-key, which the operator only reads\nidentity  arn:aws:iam::123456789012:user/clc\n"),
        "{text}"
    );
    assert!(text.contains("next rotation  never: the owner of the Secret rotates the key"), "{text}");
}

/// The key and the Secret have one condition: its reason decides which of them is broken.
#[test]
fn a_failing_secret_is_not_a_failing_key() {
    let links = |reason: &str, message: &str| {
        let mut object = object();
        set(&mut object, "CredentialsReady", "False", reason, message);
        states(&overview(&object))[5..7].to_vec()
    };
    assert_eq!(links("SecretNotOwned", "Secret genomics-s3 is foreign"), ["key ok", "secret broken"]);
    assert_eq!(links("AccessDenied", "write Secret genomics-s3: patch secrets: Forbidden"), ["key ok", "secret broken"]);
    assert_eq!(links("ForeignAccessKeys", "the user has foreign keys"), ["key broken", "secret waiting"]);
    let of_key = |reason: &str| {
        let mut object = object();
        object["status"]["credentials"]["phase"] = json!("Rejected");
        set(&mut object, "Verified", "False", reason, "verify the key: no");
        states(&overview(&object))[5..8].to_vec()
    };
    assert_eq!(of_key("KeyRejected"), ["key broken", "secret ok", "verified broken"]);
    assert_eq!(of_key("AccessDenied"), ["key ok", "secret ok", "verified broken"], "AWS knows the key");
}

/// Reconciles that change nothing are recorded once an hour.
#[test]
fn the_next_reconcile_is_a_limit() {
    let next = |last: &str| {
        let mut object = object();
        object["status"]["lastCheckedAt"] = json!(last);
        overview(&object).next_reconcile
    };
    assert_eq!(next("2026-11-25T11:55:00Z").at_the_latest, "2026-11-25T12:06:00Z".parse().ok());
    assert_eq!(next("2026-11-25T11:05:00Z").at_the_latest, "2026-11-25T12:11:00Z".parse().ok());
    let late = next("2026-11-25T09:00:00Z");
    assert!(late.overdue && late.text.starts_with("overdue: no reconcile was recorded for 3h; "), "{late:?}");
    let mut object = object();
    object["status"]["credentials"]["nextRotationAt"] = json!("2026-11-25T12:01:00Z");
    assert_eq!(overview(&object).next_reconcile.text, "at the latest in 60s");
}

#[test]
fn a_narrow_terminal_has_fewer_columns() {
    let of = [overview(&object())];
    let header = |width, wide| table(&of, Layout { wide, namespaces: true, width }, now()).header.join(",");
    let all = "NAMESPACE,NAME,READY,REASON,BUCKET,REGION,KEY AGE,NEXT ROTATION,DRIFT,AGE";
    assert_eq!(header(None, false), all);
    assert_eq!(header(Some(200), false), all);
    assert_eq!(header(Some(80), false), "NAMESPACE,NAME,READY,REASON,BUCKET,REGION,KEY AGE");
    assert_eq!(header(Some(10), false), "NAMESPACE,NAME,READY");
    assert!(header(Some(10), true).ends_with(",RECONCILED,MESSAGE"));
}

#[test]
fn a_watch_without_a_terminal_prints_what_changed() {
    let before = overview(&object());
    assert_eq!(changes(None, &before), ["lab/genomics  Ready=True Connected: the issued key works on s3://lab-bucket/runs/"]);
    assert_eq!(changes(Some(&before), &before), [""; 0]);
    let mut changed = object();
    set(&mut changed, "BucketReady", "False", "BucketNotOwned", "bucket lab-bucket is foreign");
    changed["status"]["drift"]["count"] = json!(2);
    let mut after = overview(&changed);
    after.events =
        Some(vec![Event { at: None, kind: "Warning".into(), reason: "BucketNotOwned".into(), note: "not owned".into() }]);
    assert_eq!(
        changes(Some(&before), &after),
        [
            "lab/genomics  bucket: broken: arn:aws:s3:::lab-bucket in eu-west-1: BucketNotOwned: bucket lab-bucket is foreign",
            "lab/genomics  drift: 2 reverted so far",
            "lab/genomics  Warning BucketNotOwned: not owned",
        ]
    );
}
