//! Random stories: people edit both servers and the spec, the operator is killed and restarted anywhere, calls fail,
//! watches and keys lag. In every story, once the disturbances end, the operator ends in sync, and deletion leaves
//! nothing.

use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};
use serde_json::{Value, json};

use super::calls::{How, Strike};
use super::crash_points::{in_parallel, none};
use super::invariants::{ACCOUNT, is_theirs, ready};
use super::operator::NAMESPACE;
use super::run::Simulation;
use super::tally::Tally;
use super::{edits, memory, scenarios};
use crate::cluster::Lag;
use crate::model::Behaviour;

/// Tag on a bucket whose ownership tag was missing for a time.
const RESTORED: &str = "bucketconnection.dev/owner-restored";

pub fn specs() -> Vec<Value> {
    vec![
        json!({}),
        json!({ "policy": { "type": "Managed" }, "access": { "groups": ["lab-b", "lab-a"] } }),
        json!({ "policy": { "type": "Managed", "name": "other" }, "bucket": { "encryption": { "type": "SSE-S3" }, "tags": { "team": "a" } } }),
        json!({ "credentials": { "secret": { "name": "renamed" } }, "user": { "tags": { "team": "a" } } }),
        json!({ "preset": "ReadWrite", "bucket": { "versioning": "Enabled", "lifecycle": { "rules": [{ "id": "uploads", "abortIncompleteMultipartUpload": { "daysAfterInitiation": 7 } }] } } }),
        json!({ "credentials": { "secret": { "name": "kept", "versioned": true }, "rotation": { "interval": "5m", "overlap": "20s" } } }),
        json!({ "preset": "WriteOnly", "credentials": { "secret": { "name": "renamed" } }, "access": { "groups": ["lab-a"] } }),
        json!({ "preset": "ReadOnly", "bucket": { "prefix": "other/", "policyStatements": [{ "sid": "Auditors", "effect": "Allow", "principals": { "AWS": ["210987654321"] }, "actions": ["s3:ListBucket"] }] } }),
    ]
}

/// Edits after which the recorded state of the status is lost.
const FORGETTING: [&str; 7] = [
    "status edited",
    "status deleted",
    "forgotten",
    "forgotten, annotations kept",
    "cluster lost",
    "deleted",
    "deleted in the foreground",
];
const SERVICES: [&str; 5] = ["s3", "iam", "sts", "s3 us-east-1", "none"];

/// One event, as one word, so that a story can be repeated in one line.
fn event() -> impl Strategy<Value = String> {
    let how = (0..How::ALL.len()).prop_map(|how| format!("{:?}", How::ALL[how]));
    prop_oneof![
        4 => (0..edits::AWS.len()).prop_map(|edit| format!("aws:{}", edits::AWS[edit])),
        4 => (0..edits::KUBERNETES.len()).prop_map(|edit| format!("kube:{}", edits::KUBERNETES[edit])),
        3 => (0..specs().len()).prop_map(|spec| format!("spec:{spec}")),
        1 => Just("kill:".to_owned()),
        5 => (0..30_usize, how).prop_map(|(call, how)| format!("strike:{call}:{how}")),
        1 => (0..200_u32).prop_map(|chance| format!("chance:{chance}")),
        1 => (0..60_u64, 0..4_u64).prop_map(|(seconds, changes)| format!("lag:{seconds}:{changes}")),
        1 => prop_oneof![Just("watches:cut"), Just("watches:expired")].prop_map(str::to_owned),
        1 => (0..60_u64).prop_map(|seconds| format!("spread:{seconds}")),
        1 => (0..SERVICES.len()).prop_map(|service| format!("silent:{}", SERVICES[service])),
        1 => (0..3_000_u64).prop_map(|milliseconds| format!("slow:{milliseconds}")),
        6 => (0..200_u64).prop_map(|seconds| format!("wait:{seconds}")),
    ]
}

fn story() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(event(), 0..20)
}

/// Whether a key is being issued. Then the only ambiguous case is a key that a person creates by hand at that moment
/// (docs/decisions/0004-keys.md).
fn issuing(simulation: &Simulation) -> bool {
    let status = simulation.status("c");
    !status["credentials"]["intent"].is_null() || status["credentials"]["accessKeyId"].is_null()
}

/// Whether the status was edited or lost, and the operator has not written it again.
fn forgotten(status: &Value) -> bool {
    status["policy"].is_null() || status["user"]["id"] == "AIDAX"
}

fn happen(simulation: &mut Simulation, event: &str) {
    let (kind, rest) = event.split_once(':').unwrap();
    let number = |text: &str| text.parse::<u64>().unwrap();
    match kind {
        "aws" if rest == "foreign key" && issuing(simulation) => {}
        // Only the user's tags name a managed policy that the status has forgotten.
        "aws" if rest == "user deleted" && forgotten(&simulation.status("c")) => {}
        "aws" => {
            if rest == "bucket recreated" {
                // Two buckets of one name are distinguished by the second in which they were created.
                simulation.run(Duration::from_secs(3));
            }
            simulation.act(async |person| edits::in_aws(person, rest).await);
        }
        // What only the status recorded is lost with it: policies and Secrets with names of the previous spec
        // (docs/decisions/0011-aws-remembers.md).
        "kube" if FORGETTING.contains(&rest) && !memory::is_settled(simulation) => {}
        "kube" => match rest {
            "forgotten" => memory::forget(simulation, false),
            "forgotten, annotations kept" => memory::forget(simulation, true),
            "cluster lost" => {
                simulation.edit(|cluster| cluster.delete("secrets", NAMESPACE, "bucketconnection-seal"));
                memory::forget(simulation, true);
                simulation.kill();
            }
            edit => edits::in_kubernetes(simulation, edit),
        },
        // If it is applied again, it is the same.
        "spec" if memory::is_leaving(simulation) => memory::apply_again(simulation),
        "spec" => scenarios::write(simulation, specs()[rest.parse::<usize>().unwrap()].clone()),
        "kill" => simulation.kill(),
        "strike" => {
            let (call, how) = rest.split_once(':').unwrap();
            let how = How::ALL.into_iter().find(|known| format!("{known:?}") == how).unwrap();
            let call = simulation.calls.count() + call.parse::<usize>().unwrap();
            simulation.calls.strike(Strike { call, how });
        }
        "chance" => simulation.calls.set_chance(rest.parse().unwrap()),
        "lag" => {
            let (seconds, changes) = rest.split_once(':').unwrap();
            simulation.cluster.set_lag(Lag { time: Duration::from_secs(number(seconds)), changes: number(changes) });
        }
        "watches" => {
            if rest == "expired" {
                simulation.cluster.forget_changes();
            }
            simulation.cluster.cut_watches();
        }
        "spread" => {
            let delay = crate::model::Delay::up_to(Duration::from_secs(number(rest)));
            simulation.model.behave(Behaviour { new_keys: delay, policies: delay, old_keys: delay, ..Behaviour::default() });
        }
        "silent" => simulation.calls.set_silent(Some(rest)),
        "slow" => simulation.calls.set_slow(Duration::from_millis(number(rest))),
        "wait" => simulation.run(Duration::from_secs(number(rest))),
        other => panic!("unknown event {other}"),
    }
}

/// Ends all disturbances: what was applied exists, is enforced and allowed.
fn calm(simulation: &mut Simulation) {
    simulation.calls.set_chance(0);
    simulation.calls.forget();
    simulation.calls.set_slow(Duration::ZERO);
    simulation.calls.set_silent(None);
    simulation.cluster.set_lag(Lag::default());
    simulation.model.behave(Behaviour::default());
    simulation.restore_rule();
    edits::in_kubernetes(simulation, "resumed");
    if memory::is_leaving(simulation) {
        simulation.settle();
        memory::apply_again(simulation);
    }
}

fn is_ready(simulation: &Simulation) -> bool {
    simulation.cluster.get("bucketconnections", "default", "c").is_some_and(|object| ready(&object))
}

/// Removes what people created to block the operator, including keys on the managed user.
fn tidied(simulation: &mut Simulation) {
    let by_persons: Vec<String> = simulation.look(|_, state| {
        let user = state.users(ACCOUNT).filter(|user| user.name == "user-c");
        let keys = user.flat_map(|user| state.keys_of(user)).filter(|key| key.created_by.ends_with(":root"));
        keys.map(|key| key.id.clone()).collect()
    });
    simulation.act(async |person| {
        for id in &by_persons {
            person.iam.delete_access_key().user_name("user-c").access_key_id(id).send().await.unwrap();
        }
        edits::in_aws(person, "obstacles removed").await;
    });
    edits::in_kubernetes(simulation, "check requested");
}

/// Approves the deletion of a bucket that had lost its tag: the hash is in the message.
fn approve(simulation: &Simulation) {
    let conditions = simulation.status("c")["conditions"].to_string();
    let Some((_, rest)) = conditions.split_once("set spec.approvedPlan: ") else { return };
    let restored =
        simulation.look(|_, state| state.buckets.get("bucket-c").is_some_and(|bucket| bucket.tags().contains_key(RESTORED)));
    assert!(restored, "asks for approval of what was never in doubt: {conditions}");
    scenarios::patch(simulation, json!({ "approvedPlan": rest.split(';').next() }));
}

/// The managed resources that are left once everything is deleted.
fn left(store: &crate::cluster::Store, state: &crate::model::state::State) -> Vec<String> {
    let secrets = store.all("secrets").map(|secret| &secret["metadata"]["name"]);
    let secrets =
        secrets.filter(|name| *name != "foreign" && *name != "bucketconnection-seal").map(|name| format!("left: Secret {name}"));
    let users = state.users(ACCOUNT).filter(|user| user.name != "foreign").map(|user| format!("left: user {}", user.name));
    let buckets = state.buckets.values().filter(|bucket| bucket.name != "foreign" && !is_theirs(bucket));
    let buckets = buckets.map(|bucket| format!("left: bucket {}", bucket.name));
    let policies = state.accounts.get(ACCOUNT).into_iter().flat_map(|account| account.now.policies.keys());
    let policies = policies.map(|arn| format!("left: policy {arn}"));
    let grants = store.all("roles").chain(store.all("rolebindings")).map(|grant| format!("left: {}", grant["metadata"]["name"]));
    secrets.chain(users).chain(buckets).chain(policies).chain(grants).collect()
}

/// Plays a story to its end; returns the errors.
fn told(story: &[String], tally: &Tally) -> Vec<String> {
    let mut simulation = Simulation::new(1, Behaviour::default());
    scenarios::write(&simulation, specs()[0].clone());
    simulation.start();
    for event in story {
        happen(&mut simulation, event);
    }
    calm(&mut simulation);
    // By then everything has propagated, such as the end of a key; and changes that people made wake no reconcile.
    simulation.run(Duration::from_secs(90));
    edits::in_kubernetes(&simulation, "check requested");
    simulation.settle();
    // Some objects are deleted while the bucket is another team's.
    let theirs = simulation.look(|_, state| state.buckets.get("bucket-c").is_some_and(is_theirs));
    let blocked = !(is_ready(&simulation) || theirs && story.len().is_multiple_of(2));
    // While something that people created blocks the connection, replaced keys wait for the verification of the new one.
    let mut wrong = if blocked { simulation.invariants.violations() } else { simulation.wrong() };
    if blocked {
        tidied(&mut simulation);
        simulation.settle();
        wrong.extend(simulation.wrong());
        if !is_ready(&simulation) {
            wrong.push(format!("not Ready: {}", simulation.status("c")["conditions"]));
        }
    }
    // Deletion leaves no managed resource.
    simulation.look(|store, state| simulation.invariants.forget_foreign_keys(store, state));
    scenarios::patch(&simulation, json!({ "deletionPolicy": "Delete", "forceDestroy": true }));
    edits::in_kubernetes(&simulation, "deleted");
    simulation.settle();
    // Obstacles that people created may be reported before the request for approval.
    for _ in 0..2 {
        if simulation.cluster.get("bucketconnections", "default", "c").is_some() {
            approve(&simulation);
            tidied(&mut simulation);
            simulation.settle();
        }
    }
    if simulation.cluster.get("bucketconnections", "default", "c").is_some() {
        wrong.push(format!("not deleted: {}", simulation.status("c")["conditions"]));
    }
    wrong.extend(simulation.look(left));
    wrong.extend(simulation.invariants.violations());
    tally.add(&simulation);
    wrong.dedup();
    wrong
}

fn line(story: &[String]) -> String {
    format!("STORY='{}' cargo test --test faults told_again -- --nocapture", story.join(", "))
}

/// Plays so many stories, drawn from `seed`; a failing one is shortened as far as possible.
pub fn many(tally: &Tally, seed: u64, count: u32) -> Vec<String> {
    let shares: Vec<u64> = (0..2).map(|share| seed.wrapping_add(share)).collect();
    in_parallel(&shares, |share| {
        let config = ProptestConfig {
            cases: count.div_ceil(2),
            rng_seed: RngSeed::Fixed(*share),
            failure_persistence: None,
            max_shrink_iters: 60,
            ..ProptestConfig::default()
        };
        let told = TestRunner::new(config).run(&story(), |story| {
            let wrong = told(&story, tally);
            prop_assert!(wrong.is_empty(), "{}\n    {}", line(&story), wrong.join("\n    "));
            Ok(())
        });
        told.err().map(|wrong| wrong.to_string())
    })
}

#[test]
fn any_story_ends_in_sync() {
    none(&many(&Tally::default(), 1, 16));
}

/// Stories that once left something behind: the status is lost just when the spec gives Secret, readers or policy
/// another name.
#[test]
fn names_that_only_aws_remembers() {
    const STORIES: [&str; 7] = [
        "wait:1, kube:status edited, spec:5",
        "spec:3, wait:1, kube:status edited, spec:5",
        "spec:5, wait:1, kube:status edited, spec:3",
        "spec:6, wait:1, kube:status edited, spec:0",
        "spec:1, wait:1, kube:status edited, spec:3",
        "spec:2, wait:1, kube:status edited, spec:0",
        "spec:5, wait:1, kube:status edited, spec:3, kube:deleted",
    ];
    none(&in_parallel(&STORIES, |story| {
        let story: Vec<_> = story.split(", ").map(str::to_owned).collect();
        let wrong = told(&story, &Tally::default());
        (!wrong.is_empty()).then(|| format!("{}\n    {}", line(&story), wrong.join("\n    ")))
    }));
}

/// Repeats one story: STORY='<event>, <event>, ...'.
#[test]
fn told_again() {
    let Ok(story) = std::env::var("STORY") else { return };
    let story: Vec<_> = story.split(", ").map(str::to_owned).collect();
    let wrong = told(&story, &Tally::default());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
