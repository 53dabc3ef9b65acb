//! Specs of every shape that the schema accepts (schema.rs), through all code that reads them: none of it fails, and no
//! spec gets more than it may. More cases with PROPTEST_CASES; `make soak` takes an hour for it.

use std::collections::{BTreeMap, BTreeSet};

use bucketconnection::api::{AWSAccount, BucketConnection, Period};
use bucketconnection::credentials::{AccountKey, Sensitive, keys_in, written_key};
use bucketconnection::desired::tenancy::{self, Labels};
use bucketconnection::desired::{self, Desired, Grant, names};
use bucketconnection::observed::{Ledger, Partial};
use bucketconnection::plan::Action;
use bucketconnection::render;
use bucketconnection::settings::bucket_policy::PolicyText;
use bucketconnection::settings::reserved::is_reserved;
use bucketconnection::settings::tags::{DesiredTags, StoredTags, Tags};
use bucketconnection::settings::{Reading, Write};
use bucketconnection::vocabulary::policy_language::{canonical, canonical_condition, canonical_statement, parts};
use kube::core::DynamicObject;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngSeed, TestRunner};
use serde_json::{Value, json};

use super::connection;
use super::edits::edit;
use super::schema::spec;
use super::world::{CLUSTER, World, account};

/// The same cases each time; PROPTEST_CASES runs others and more. `share` is how many of a thousand.
pub fn cases(share: u32) -> ProptestConfig {
    let more = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse::<u32>().ok());
    ProptestConfig {
        cases: more.unwrap_or(1000).saturating_mul(share) / 1000,
        rng_seed: more.map_or(RngSeed::Fixed(1), |_| RngSeed::Random),
        failure_persistence: None,
        max_shrink_iters: 2000,
        ..ProptestConfig::default()
    }
}

fn object(spec: &Value) -> Value {
    json!({
        "apiVersion": "bucketconnection.dev/v1alpha1", "kind": "BucketConnection",
        "metadata": { "name": "genomics", "namespace": "lab", "uid": "uid", "generation": 1 }, "spec": spec,
    })
}

/// The shortest definition of how AWS matches patterns.
fn stands_for(pattern: &[char], text: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['*', rest @ ..] => (0..=text.len()).any(|at| stands_for(rest, &text[at..])),
        ['?', rest @ ..] => !text.is_empty() && stands_for(rest, &text[1..]),
        [own, rest @ ..] => text.first() == Some(own) && stands_for(rest, &text[1..]),
    }
}

fn any_stands_for(patterns: &[String], text: &str) -> bool {
    let chars = |text: &str| text.to_lowercase().chars().collect::<Vec<_>>();
    // The naive matcher practically never ends for many stars, and several in a row mean the same as one.
    let squeezed = |pattern: &String| {
        let mut pattern = chars(pattern);
        pattern.dedup_by(|next, before| *next == '*' && *before == '*');
        pattern
    };
    patterns
        .iter()
        .map(squeezed)
        .filter(|pattern| pattern.iter().filter(|c| **c == '*').count() <= 4)
        .any(|pattern| stands_for(&pattern, &chars(text)))
}

/// What no policy of a tenant may do, whatever its author wrote, in an account that allows statements and nothing
/// reserved.
fn reaches_no_further(desired: &Desired) -> Result<(), TestCaseError> {
    let statements = &desired.policy.document.statements;
    let (allowed, denied): (Vec<_>, Vec<_>) = statements.iter().partition(|statement| json!(statement.effect) == "Allow");
    let (bucket, within) = (&desired.bucket.arn, format!("{}/", desired.bucket.arn));
    for statement in &allowed {
        let on_key = statement.actions.iter().all(|action| action.to_lowercase().starts_with("kms:"));
        for resource in &statement.resources {
            let own = resource == bucket || resource.starts_with(&within);
            let key = on_key && resource.starts_with("arn:aws:kms:us-east-1:123456789012:key/");
            let wide = resource == "*"
                && statement
                    .actions
                    .iter()
                    .all(|action| ["s3:listallmybuckets", "sts:getfederationtoken"].contains(&action.to_lowercase().as_str()));
            prop_assert!(own || key || wide, "{statement:?}");
        }
        prop_assert!(!on_key || json!(statement.conditions).to_string().contains("kms:ViaService"), "{statement:?}");
    }
    for action in
        ["s3:PutBucketTagging", "s3:TagResource", "s3:UntagResource", "s3:PutBucketPolicy", "s3:DeleteBucket", "s3:PutObjectAcl"]
    {
        prop_assert!(is_reserved(action));
        let allowed = allowed.iter().any(|statement| any_stands_for(&statement.actions, action));
        let denied = denied.iter().any(|statement| {
            statement.conditions.is_empty() && any_stands_for(&statement.actions, action) && statement.resources.contains(bucket)
        });
        prop_assert!(!allowed || denied, "{action}: {statements:?}");
    }
    let tags = [desired.bucket.settings.tags.as_ref().map(|tags| &tags.ours), Some(&desired.user.tags.ours)];
    for tags in tags.into_iter().flatten() {
        prop_assert_eq!(&tags[names::OWNER_TAG], "cluster/lab/genomics");
        let keys: BTreeSet<_> = tags.keys().map(|key| key.to_lowercase()).collect();
        prop_assert!(keys.len() == tags.len() && !keys.iter().any(|key| key.starts_with("aws:")), "{tags:?}");
        let ours = [names::OWNER_TAG, names::PRESET_TAG];
        prop_assert!(tags.keys().all(|key| !key.to_lowercase().starts_with(names::TAG_PREFIX) || ours.contains(&key.as_str())));
    }
    prop_assert!(names::is_object_name(&desired.secret.name) && names::is_object_name(&desired.access.name));
    prop_assert!(!desired.policy.name.eq_ignore_ascii_case(names::REVOKED));
    prop_assert!(desired.user.name.len() <= 64 && desired.bucket.name.len() <= 63);
    Ok(())
}

/// The tests below are useful only if many of the specs are valid, and many are not.
#[test]
fn some_specs_are_good_and_some_are_not() {
    let mut runner = TestRunner::deterministic();
    let specs: Vec<_> = (0..150).map(|_| spec().new_tree(&mut runner).unwrap().current()).collect();
    let readable: Vec<BucketConnection> = specs.iter().filter_map(|spec| serde_json::from_value(object(spec)).ok()).collect();
    let resolved = readable.iter().filter(|object| desired::resolve(object, CLUSTER, &account(), &Grant::default()).is_ok());
    let (readable, resolved) = (readable.len(), resolved.count());
    assert!(readable > 120 && (25..=125).contains(&resolved), "of 150 specs {readable} can be read and {resolved} carried out");
    let longest = specs.iter().map(|spec| spec.to_string().len()).max();
    assert!(longest > Some(20_000), "{longest:?}");
}

proptest! {
    #![proptest_config(cases(400))]

    /// An object that the schema accepts is resolved, or its errors are reported, and it reaches no further than it
    /// may.
    #[test]
    fn any_object_is_resolved_or_refused(spec in spec()) {
        let stored = object(&spec);
        let partial = Partial::of(serde_json::from_value::<DynamicObject>(stored.clone()).unwrap()).unwrap();
        prop_assert_eq!(&partial.spec, &spec);
        let Ok(object) = serde_json::from_value::<BucketConnection>(stored) else { return Ok(()) };
        // If the whole object can be read, the partial reader returns all of it.
        prop_assert_eq!(&partial.object.spec, &object.spec);
        let grant = Grant::default();
        let Ok(desired) = desired::resolve(&object, CLUSTER, &account(), &grant) else { return Ok(()) };
        reaches_no_further(&desired)?;
        // Nothing grows beyond what was written, or beyond what AWS accepts.
        let (written, wanted) = (spec.to_string().len(), desired.policy.document.to_json().to_string().len());
        prop_assert!(wanted <= 7_000 && json!(desired.bucket.settings).to_string().len() <= 30_000 + 4 * written);
        for versioned in [None, Some(true), Some(false)] {
            if let Ok(adapted) = desired::adapted(desired.clone(), versioned, &object, CLUSTER, &grant) {
                reaches_no_further(&adapted)?;
            }
        }
    }

    /// What no entry lists is refused, in any combination: a plain account allows a plain connection, and nothing else.
    #[test]
    fn a_plain_account_allows_nothing_but_plain_connections(spec in spec()) {
        let Ok(object) = serde_json::from_value::<BucketConnection>(object(&spec)) else { return Ok(()) };
        let rule = json!({ "names": ["lab"], "buckets": ["lab-*"], "regions": ["us-east-1"], "presets": ["ReadWrite", "IlluminaICA"] });
        let plain: AWSAccount = serde_json::from_value(json!({
            "apiVersion": "bucketconnection.dev/v1alpha1", "kind": "AWSAccount", "metadata": { "name": "default" },
            "spec": { "allowedNamespaces": [rule] },
        })).unwrap();
        let Ok(grant) = tenancy::authorize(&object, &Labels::new(), &plain, 0) else { return Ok(()) };
        let spec = &object.spec;
        let Ok(desired) = desired::resolve(&object, CLUSTER, &account(), &grant) else { return Ok(()) };
        prop_assert!(desired.bucket.name.starts_with("lab-") && desired.region == "us-east-1");
        prop_assert!(spec.bucket.settings.tags.as_ref().is_none_or(BTreeMap::is_empty) && spec.bucket.allow_weaker.is_empty());
        prop_assert!(desired.user.arn.starts_with("arn:aws:iam::123456789012:user/bucketconnection/lab.genomics"), "{}", desired.user.arn);
        prop_assert!(desired.user.boundary.is_none() && !desired.user.adopt && !desired.bucket.adopt && !desired.policy.adopt);
        prop_assert!(spec.policy.as_ref().is_none_or(|policy| policy.statements.is_empty()) && !spec.force_destroy);
        let block = desired.bucket.settings.public_access_block.as_ref();
        prop_assert!(block.is_none_or(|block| !json!(block).to_string().contains("false")), "{block:?}");
        prop_assert!(!json!(desired.bucket.settings).to_string().contains("COMPLIANCE"));
    }
}

proptest! {
    #![proptest_config(cases(100))]

    /// From any state to any spec: a plan, its execution, and a status; foreign resources stay as they are.
    #[test]
    fn any_object_is_planned_and_executed(
        spec in spec(),
        edits in prop::collection::vec(select(vec!["lifecycle of others", "bucket policy of others", "policy edited", "foreign tag", "tags deleted", "keys deleted", "secret: field edited", "bucket deleted", "key inactive", "foreign key"]), 0..4),
        passes in 1..3_usize,
    ) {
        let mut world = World::new();
        let start = json!({ "bucket": {
            "lifecycle": { "rules": [{ "id": "tidy", "expiration": { "days": 9 } }] },
            "policyStatements": [{ "sid": "Auditors", "effect": "Allow", "principals": { "AWS": ["210987654321"] }, "actions": ["s3:ListBucket"] }],
        } });
        let mut known = connection(start);
        world.reconcile(&mut known, |_| None);
        edits.iter().for_each(|what| edit(&mut world, what));
        let Ok(mut changed) = serde_json::from_value::<BucketConnection>(object(&spec)) else { return Ok(()) };
        changed.spec.bucket.adopt = false;
        (changed.status, changed.metadata.generation) = (known.status, Some(2));
        let of_others = |world: &World| {
            let live = world.bucket.as_ref().map(|bucket| bucket.live.clone()).unwrap_or_default();
            let rule = live.lifecycle.set().and_then(|rules| rules.rules.iter().find(|stored| stored.rule.id == "theirs").cloned());
            let statement = live.bucket_policy.set().and_then(|policy| policy.statements.iter().find(|text| text.contains("Theirs")).cloned());
            (rule, statement)
        };
        let before = of_others(&world);
        for _ in 0..passes {
            let Ok((desired, _, _, plan)) = world.plan(&mut changed.clone(), true) else { return Ok(()) };
            prop_assert!(plan.steps.iter().enumerate().all(|(at, step)| step.after.iter().all(|before| *before < at)));
            render::plan("lab/genomics", &plan, &desired, None);
            for step in &plan.steps {
                if let Action::WriteSetting(Write::BucketTags(tags)) = &step.action {
                    prop_assert!(tags.contains_key(names::OWNER_TAG));
                }
            }
            world.reconcile(&mut changed, |_| None);
            world.wait();
        }
        if world.bucket.is_some() && !edits.contains(&"bucket deleted") {
            // If no foreign part had one of these names, the spec may have created it.
            let (rule, statement) = of_others(&world);
            prop_assert!(before.0.is_none() || rule == before.0, "{rule:?}");
            prop_assert!(before.1.is_none() || statement == before.1, "{statement:?}");
        }
        let tags = world.bucket.as_ref().map(|bucket| bucket.live.tags.clone());
        prop_assert!(matches!(tags, None | Some(Reading::Set(_) | Reading::Unset)));
    }
}

/// Any JSON, not too deep.
fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(|number| json!(number)),
        "[a-zA-Z:*{}\\[\\]\",\\\\é]{0,12}".prop_map(Value::String),
        select(vec!["Allow", "deny", "*", "s3:GetObject", "arn:aws:iam::123456789012:root", ""]).prop_map(|text| json!(text)),
    ];
    let name = prop_oneof![
        select(vec!["Action", "NotAction", "Resource", "Principal", "AWS", "Condition", "Effect", "Sid", "Statement", "Version"])
            .prop_map(str::to_owned),
        "[a-z,\"\\\\{]{0,6}"
    ];
    leaf.prop_recursive(4, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            prop::collection::btree_map(name.clone(), inner, 0..5).prop_map(|map| json!(map)),
        ]
    })
}

proptest! {
    #![proptest_config(cases(2000))]

    /// Policies as AWS may return them, whatever someone wrote there.
    #[test]
    fn any_document_is_read(document in json_value()) {
        let (once, again) = (canonical_statement(&document), canonical_statement(&document));
        prop_assert_eq!(&once, &again);
        if let Some(canonical) = once {
            // Documents that mean the same stay the same in the canonical form.
            let written = json!(canonical);
            prop_assert_eq!(canonical_statement(&written), Some(canonical));
        }
        canonical(&document);
        canonical_condition(&document);
        let text = document.to_string();
        for text in [text.clone(), text.replace(',', " , "), format!(" {text} ")] {
            if document.is_object() || document.is_array() {
                let joined = parts(&text).join(",");
                let whole = if document.is_object() { format!("{{{joined}}}") } else { format!("[{joined}]") };
                prop_assert_eq!(serde_json::from_str::<Value>(&whole).unwrap(), serde_json::from_str::<Value>(&text).unwrap());
            }
            if let Some(policy) = PolicyText::parse(&text) {
                let again = PolicyText::parse(&policy.text()).unwrap();
                prop_assert_eq!(&again.statements, &policy.statements);
            }
        }
    }

    /// Text from a Secret, a tag, or a period.
    #[test]
    fn any_text_is_read(text in "\\PC{0,60}|[0-9dhms]{0,20}|[a-z=.,;:0-9AKI ]{0,60}|\\[default\\]\n(aws_[a-z_]+ ?= ?[A-Za-z0-9\\[\\]\u{0}\r]*\n){0,4}", other in "\\PC{0,20}") {
        if let Ok(period) = text.parse::<Period>() {
            prop_assert_eq!(period.to_string(), text.clone());
            prop_assert!(!period.length().is_negative() && text.len() <= 24);
        }
        let data = BTreeMap::from(["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "credentials", "AWS_SESSION_TOKEN"].map(|name| {
            (name.to_owned(), Sensitive::new(if name.len() > 12 { text.clone() } else { other.clone() }))
        }));
        for key in keys_in(&data).into_iter().chain(written_key(&data)).chain(AccountKey::in_data(&data).map(|key| key.key)) {
            // The id becomes part of a request header.
            prop_assert!(key.id.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{:?}", key.id);
        }
        let ledger = Ledger::parse(&text);
        prop_assert_eq!(Ledger::parse(&ledger.to_string()), ledger);
        prop_assert!(!render::printable(&text).chars().any(char::is_control));
        let label = |label: &str| {
            let ends = |end: Option<char>| end.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
            ends(label.chars().next()) && ends(label.chars().last()) && label.chars().all(|c| ends(Some(c)) || c == '-')
        };
        prop_assert_eq!(names::is_object_name(&text), text.len() <= 253 && text.split('.').all(label));
    }

    /// Foreign tags stay, in their order; managed ones are set, and dropped ones are removed.
    #[test]
    fn foreign_tags_stay(live in prop::collection::vec(("[a-f]", "[x-z]"), 0..6), wanted in prop::collection::btree_map("[a-f]", "[x-z]", 0..4), earlier in prop::collection::vec("[a-f]", 0..4)) {
        let keys: BTreeSet<_> = live.iter().map(|(key, _)| key.clone()).collect();
        let live: Vec<_> = keys.iter().map(|key| live.iter().find(|(name, _)| name == key).unwrap().clone()).rev().collect();
        let stored: StoredTags = live.iter().cloned().collect();
        let desired = DesiredTags::new(&wanted, &Tags::from([("owner".to_owned(), "me".to_owned())]), &earlier);
        let merged = stored.replaced(desired.merged(&stored));
        let expected: Tags = live.iter().filter(|(key, _)| !earlier.contains(key)).cloned().chain(wanted.clone()).chain([("owner".to_owned(), "me".to_owned())]).collect();
        prop_assert_eq!(&*merged, &expected);
        let order: Vec<_> = merged.in_order().map(|(key, _)| key).filter(|key| stored.contains_key(*key)).collect();
        let before: Vec<_> = live.iter().map(|(key, _)| key).filter(|key| merged.contains_key(*key)).collect();
        prop_assert_eq!(order, before);
        prop_assert!(desired.diffs("t", &merged).is_empty());
    }

    /// No two objects have the same user, and every name is valid.
    #[test]
    fn names_are_valid_and_distinct(a in ("[a-c-]{1,3}|[a-c]{60}[ab]{3}", "[a-c.-]{1,4}|[a-c]{200}"), b in ("[a-c-]{1,3}|[a-c]{60}[ab]{3}", "[a-c.-]{1,4}|[a-c]{200}")) {
        let named = |(namespace, name): &(String, String)| {
            let mut object = connection(json!({}));
            (object.metadata.namespace, object.metadata.name) = (Some(namespace.clone()), Some(name.clone()));
            let user = names::default_user(&object, &Default::default());
            (user, names::owner(&object, "9f0c8f4e-9d0c-4a9e-8f0e-000000000000"))
        };
        let (one, other) = (named(&a), named(&b));
        prop_assert!(one.0.len() <= 64 && one.1.len() <= 256);
        prop_assert_eq!(a == b, one.0 == other.0);
        prop_assert_eq!(a == b, one.1 == other.1);
    }
}
