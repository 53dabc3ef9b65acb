//! Laws for every setting of a bucket, with specs of every shape that the schema accepts (schema.rs). A new setting is
//! tested without a change here. More cases with PROPTEST_CASES.

use std::collections::BTreeSet;

use bucketconnection::api::BucketConnection;
use bucketconnection::settings::reach::Need;
use bucketconnection::settings::tags::Tags;
use bucketconnection::settings::{BucketSettings, Context, Desired, Live, Owned, SettingChange, SettingId, SpecSettings, Specs};
use proptest::prelude::*;
use serde_json::Value;

use super::connection;
use super::fuzz::cases;
use super::schema::settings;

/// Settings with pairs of values that are each weaker than the other: a change in either direction removes protection.
const EACH_WEAKER: [SettingId; 2] = [SettingId::Logging, SettingId::BucketPolicy];

/// Suffixes of fields that name a resource.
const NAMING: [&str; 7] = ["Arn", "Bucket", "Role", "Account", "Topic", "Queue", "Function"];

/// The desired state for the valid settings of a spec, after an earlier spec that had `earlier`.
fn wanted(spec: &SpecSettings, bucket: &BucketSettings, earlier: &Owned) -> Desired {
    let context = Context {
        preset_cors: None,
        preset_statements: &[],
        marks: &Tags::from([("bucketconnection.dev/owner".to_owned(), "cluster/lab/genomics".to_owned())]),
        earlier,
        bucket_arn: "arn:aws:s3:::lab-bucket",
        account_id: "123456789012",
        partition: "aws",
        region: "us-east-1",
        operator: &[],
    };
    Desired::resolve(&Specs { spec, bucket }, &context, &mut Vec::new())
}

fn owned(desired: &Desired) -> Owned {
    desired.owned().into_iter().map(|(name, _, names)| (name.to_owned(), names)).collect()
}

/// The API server refuses empty or duplicate sids and ids, and sids that are not plain or have the operator's prefix.
fn accepted(value: &mut Value) {
    let mut seen = BTreeSet::new();
    let mut good = |item: &Value| {
        let plain = |sid: &str| sid.chars().all(|c| c.is_ascii_alphanumeric()) && !sid.starts_with("BucketConnection");
        let name = item["sid"].as_str().or(item["id"].as_str());
        name.is_none_or(|name| !name.is_empty() && seen.insert(name.to_owned())) && item["sid"].as_str().is_none_or(plain)
    };
    match value {
        Value::Array(items) => {
            items.retain(|item| good(item));
            items.iter_mut().for_each(accepted);
        }
        Value::Object(fields) => fields.values_mut().for_each(accepted),
        _ => {}
    }
}

fn read(mut spec: Value) -> BucketConnection {
    accepted(&mut spec);
    connection(spec)
}

/// Fields that name another resource, and their values.
fn names(value: &Value, field: &str, found: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            // All statements are one reach (`Need::Statements`), whatever they name.
            let fields = fields.iter().filter(|(field, _)| *field != "policyStatements");
            fields.for_each(|(field, value)| names(value, field, found));
        }
        Value::Array(items) => items.iter().for_each(|item| names(item, field, found)),
        Value::String(text) if NAMING.iter().any(|end| field.ends_with(end)) => found.push((field.to_owned(), text.clone())),
        _ => {}
    }
}

/// The changes that a reconcile would make, without foreign parts that it leaves as they are.
fn changes(desired: &Desired, live: &Live) -> Vec<SettingChange> {
    let (mut changes, unread) = desired.changes(live);
    assert_eq!(unread, []);
    changes.retain(|change| change.blocked.is_none() && change.foreign.is_empty());
    changes
}

fn written(live: &Live, changes: &[SettingChange]) -> Live {
    let mut live = live.clone();
    changes.iter().for_each(|change| live.apply(&change.write));
    live
}

proptest! {
    #![proptest_config(cases(150))]

    /// After a write the next reconcile has nothing to do, on a new bucket, after an edit of the spec, and after
    /// reverting it.
    #[test]
    fn a_write_reaches_the_desired_state(one in settings(), other in settings()) {
        let (one, other) = (read(one).spec, read(other).spec);
        let first = wanted(&one.settings, &one.bucket.settings, &Owned::new());
        let new = Live::of_new_bucket();
        let live = written(&new, &changes(&first, &new));
        prop_assert_eq!(changes(&first, &live), []);
        let second = wanted(&other.settings, &other.bucket.settings, &owned(&first));
        let edited = written(&live, &changes(&second, &live));
        prop_assert_eq!(changes(&second, &edited), []);
        let back = wanted(&one.settings, &one.bucket.settings, &owned(&second));
        prop_assert_eq!(changes(&back, &written(&edited, &changes(&back, &edited))), []);
    }

    /// The spec that is read from a bucket changes nothing in it.
    #[test]
    fn an_imported_bucket_needs_no_change(one in settings()) {
        let one = read(one).spec;
        let there = wanted(&one.settings, &one.bucket.settings, &Owned::new());
        let live = written(&Live::of_new_bucket(), &changes(&there, &Live::of_new_bucket()));
        let imported = live.imported();
        let again = wanted(&imported.spec, &imported.bucket, &Owned::new());
        prop_assert_eq!(changes(&again, &live), []);
        // Not because it leaves the settings alone: it says what differs from a new bucket. (The generator also makes parts that the
        // API server refuses; these are lost.)
        let managed = again.managed();
        let left: Vec<_> = changes(&there, &Live::of_new_bucket()).into_iter().map(|change| change.setting).collect();
        prop_assert!(!imported.lost.is_empty() || left.iter().all(|setting| managed.contains(setting)), "{left:?}, {managed:?}");
    }

    /// If a change of one field removes protection, the reverse change does not.
    #[test]
    fn weaker_is_antisymmetric(one in settings(), other in settings()) {
        let (one, other) = (read(one).spec, read(other).spec);
        let there = wanted(&one.settings, &one.bucket.settings, &Owned::new());
        let live = written(&Live::of_new_bucket(), &changes(&there, &Live::of_new_bucket()));
        let elsewhere = wanted(&other.settings, &other.bucket.settings, &owned(&there));
        let forth = changes(&elsewhere, &live);
        let back = changes(&wanted(&one.settings, &one.bucket.settings, &owned(&elsewhere)), &written(&live, &forth));
        for change in forth.iter().filter(|change| change.diffs.len() == 1 && !EACH_WEAKER.contains(&change.setting)) {
            let again = back.iter().find(|again| again.setting == change.setting && again.diffs.len() == 1);
            prop_assert!(change.weakens.is_none() || again.is_none_or(|again| again.weakens.is_none()), "{change:?}, {again:?}");
        }
    }

    /// An omitted field removes no protection.
    #[test]
    fn omission_never_weakens(one in settings()) {
        let one = read(one).spec;
        let there = wanted(&one.settings, &one.bucket.settings, &Owned::new());
        let live = written(&Live::of_new_bucket(), &changes(&there, &Live::of_new_bucket()));
        let nothing = wanted(&SpecSettings::default(), &BucketSettings::default(), &owned(&there));
        let weaker: Vec<_> = changes(&nothing, &live).into_iter().filter_map(|change| change.weakens).collect();
        prop_assert_eq!(weaker, [""; 0]);
    }

    /// If a field names another bucket, key or role, its value is in a reach, so that the account must allow it.
    #[test]
    fn an_account_must_allow_what_a_setting_names(one in settings()) {
        let spec = connection(one.clone()).spec;
        let reaches = Specs { spec: &spec.settings, bucket: &spec.bucket.settings }.reaches();
        let mut named = Vec::new();
        names(&one, "", &mut named);
        for (field, value) in named {
            prop_assert!(reaches.iter().any(|reach| reach.to_string().ends_with(&format!(" {value}"))), "{field} names {value} and does not say so");
        }
    }

    /// An account must allow whatever makes a new bucket weaker than S3's defaults.
    #[test]
    fn an_account_must_allow_what_weakens_a_new_bucket(one in settings()) {
        let one = read(one).spec;
        let wanted = wanted(&one.settings, &one.bucket.settings, &Owned::new());
        let reaches = Specs { spec: &one.settings, bucket: &one.bucket.settings }.reaches();
        for change in changes(&wanted, &Live::of_new_bucket()).into_iter().filter(|change| change.weakens.is_some()) {
            let name = change.setting.name();
            let said = |need: &Need| match need {
                Need::Weaker(setting) => setting == name,
                Need::Statements => change.setting == SettingId::BucketPolicy,
                _ => false,
            };
            prop_assert!(reaches.iter().any(|reach| said(&reach.need)), "{name} weakens and does not say so: {change:?}");
        }
    }
}
