//! Random permissions, in Kubernetes and in AWS, are missing during a life and come back: nothing is lost, the operator
//! names one of the missing, and everything converges afterwards.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bucketconnection::api::ROTATE_AT;
use fastrand::Rng;
use serde_json::json;

use super::aws::{actions, allow_all_but, rests};
use super::roles::{Verb, listed};
use super::{Lane, Place, keys_match};
use crate::support::harness::LIMIT;
use crate::support::stack::Stack;

/// What happens in a life, in this order.
#[derive(Clone, Copy, Debug)]
enum Stage {
    Create,
    Rotate,
    Groups,
    Delete,
}

/// Verbs that can be missing while the operator runs. Without a Lease it ends, and what it needs only at the start has
/// its own test.
fn removable(verb: &Verb) -> bool {
    verb.role != "system" && verb.role != "restart" && !["list", "watch"].contains(&verb.verb.as_str())
}

/// Some of `all`.
fn some<T: Clone>(random: &mut Rng, mut all: Vec<T>, most: usize) -> Vec<T> {
    random.shuffle(&mut all);
    all.truncate(random.usize(0..=most));
    all
}

/// Begins the stage; returns the name of its connection.
async fn begin(lane: &mut Lane, stage: Stage) -> String {
    let name = lane.name();
    match stage {
        Stage::Create => {
            let spec = json!({
                "deletionPolicy": "Delete", "forceDestroy": true, "policy": { "type": "Managed" },
                "credentials": { "rotation": { "interval": "365d", "overlap": "1s" } },
            });
            return lane.apply(spec).await;
        }
        Stage::Rotate => lane.harness.patch(&name, json!({ "metadata": { "annotations": { ROTATE_AT: "now" } } })).await,
        Stage::Groups => lane.harness.patch(&name, json!({ "spec": { "access": { "groups": ["lab-a"] } } })).await,
        Stage::Delete => lane.harness.delete(&name).await,
    }
    name
}

/// Waits until the connection rests or is gone (`false`), or until the operator names something that is missing.
async fn named(lane: &Lane, name: &str, since: usize, missing: &[String]) -> bool {
    let end = Instant::now() + LIMIT;
    loop {
        let object = lane.harness.objects().get_opt(name).await.unwrap();
        if object.as_ref().is_none_or(rests) {
            return false;
        }
        let mut texts = lane.texts(Place::Condition).await;
        texts.extend(lane.texts(Place::Event).await);
        texts.extend(lane.texts(Place::Log).await.into_iter().skip(since));
        if missing.iter().any(|missing| texts.iter().any(|text| text.contains(missing))) {
            return true;
        }
        assert!(Instant::now() < end, "{name} neither rests nor names one of {missing:?}:\n{}", texts.join("\n"));
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

/// One life; returns how often the operator named something.
async fn life(lane: &mut Lane, seed: u64) -> usize {
    let (mut random, mut count) = (Rng::with_seed(seed), 0);
    for stage in [Stage::Create, Stage::Rotate, Stage::Groups, Stage::Delete] {
        let verbs = some(&mut random, lane.granted.verbs().into_iter().filter(removable).collect(), 4);
        let calls: BTreeSet<_> = some(&mut random, actions().into_iter().collect(), 12).into_iter().collect();
        // Several missing permissions are listed by verb and resource only.
        let verb = |verb: &Verb| [verb.missing(), format!("{} {}", verb.verb, verb.resource)];
        let missing: Vec<_> = verbs.iter().flat_map(verb).chain(calls.iter().cloned()).collect();
        println!("seed {seed}: {stage:?} without {missing:?}");
        lane.granted.remove(&verbs).await;
        allow_all_but(&lane.harness, &calls).await;
        let since = lane.texts(Place::Log).await.len();
        let name = begin(lane, stage).await;
        count += usize::from(named(lane, &name, since, &missing).await);
        lane.granted.give_back().await;
        allow_all_but(&lane.harness, &BTreeSet::new()).await;
        lane.nudge().await;
        let gone = matches!(stage, Stage::Delete);
        let end = Instant::now() + LIMIT;
        while lane.harness.objects().get_opt(&name).await.unwrap().is_some_and(|object| gone || !rests(&object)) {
            assert!(
                Instant::now() < end,
                "seed {seed}: {name} does not converge after {stage:?}:\n{:?}",
                lane.texts(Place::Condition).await
            );
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        keys_match(&lane.harness).await;
    }
    count
}

async fn lives(seeds: impl IntoIterator<Item = u64>) {
    let mut lane = Lane::new("random", Stack::cluster(), listed).await;
    lane.harness.start();
    let mut count = 0;
    for seed in seeds {
        count += life(&mut lane, seed).await;
    }
    assert!(count > 0, "nothing that was missing was needed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_permissions_are_named_and_nothing_is_lost() {
    lives([1, 2]).await;
}

/// SEED=<n> repeats one life.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "part of make soak: some minutes"]
async fn many_random_permissions_are_named_and_nothing_is_lost() {
    match std::env::var("SEED") {
        Ok(seed) => lives([seed.parse().unwrap()]).await,
        Err(_) => lives(0..50).await,
    }
}
