//! People rename the Secret to any of the related names that the operator uses, switch versions on and off, request
//! rotations, retain the object and apply it again, or delete it, at any moment: no published key loses its overlap,
//! and nothing is left behind.

use std::collections::BTreeMap;

use bucketconnection::api::{BucketConnectionStatus, DeletionPolicy, ROTATE_AT};
use bucketconnection::execute::Outcome;
use bucketconnection::plan::Action;
use bucketconnection::vocabulary::problem::{Class, Problem};
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use serde_json::json;

use super::connection;
use super::world::World;

const NAMES: [&str; 5] = ["k", "k-pending", "k-v1", "k-v2", "k-v3"];
const OVERLAP: i64 = 3_600;

#[derive(Clone, Debug)]
enum Event {
    Spec(usize, bool, bool),
    Rotate,
    Retain,
    Wait(i64),
    Killed(usize),
    Reconcile(Option<(usize, bool)>),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => (0..NAMES.len(), any::<bool>(), any::<bool>()).prop_map(|(name, versioned, due)| Event::Spec(name, versioned, due)),
        2 => Just(Event::Rotate),
        1 => Just(Event::Retain),
        1 => prop_oneof![Just(60), Just(1_800), Just(4_000), Just(20_000)].prop_map(Event::Wait),
        2 => (0..8_usize).prop_map(Event::Killed),
        4 => prop_oneof![1 => Just(None), 1 => (0..8_usize, any::<bool>()).prop_map(Some)].prop_map(Event::Reconcile),
    ]
}

fn more() -> Option<u32> {
    std::env::var("PROPTEST_CASES").ok()?.parse().ok()
}

fn works(world: &World, name: &str) -> Option<String> {
    let id = world.secret.get(name)?.data.get("AWS_ACCESS_KEY_ID")?.reveal().to_owned();
    world.user.as_ref()?.keys.iter().any(|key| key.id == id && key.active).then_some(id)
}

fn secret_name(status: &BucketConnectionStatus) -> Option<&String> {
    status.memory.credentials.as_ref()?.secret_name.as_ref()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: more().unwrap_or(100),
        rng_seed: more().map_or(RngSeed::Fixed(1), |_| RngSeed::Random),
        failure_persistence: None,
        max_shrink_iters: 4_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_published_key_loses_its_overlap(events in prop::collection::vec(event(), 0..20)) {
        let mut world = World::new();
        let spec = |name: &str, versioned: bool, due: bool| {
            let mut credentials = json!({ "secret": { "name": name, "versioned": versioned }, "rotation": { "overlap": "1h" } });
            if due {
                credentials["rotation"]["interval"] = json!("2h");
            }
            json!({ "preset": "ReadOnly", "credentials": credentials })
        };
        let mut object = connection(spec("k", false, false));
        world.reconcile(&mut object, |_| None);
        // Until when each key was in the Secret.
        let mut published: BTreeMap<String, Timestamp> = BTreeMap::new();
        let mut retained = false;
        for event in events {
            let name = world.resolve(&object).unwrap().secret.name;
            let before = works(&world, &name);
            if let Some(id) = &before {
                published.insert(id.clone(), world.now);
            }
            let keys: Vec<_> = world.user.iter().flat_map(|user| user.keys.clone()).collect();
            let mut done = false;
            match event {
                // Nothing records the name of a Secret that a retained object left under another name.
                Event::Spec(which, versioned, due) => {
                    let name = if retained { name.as_str() } else { NAMES[which] };
                    let (status, generation) = (object.status.take(), object.metadata.generation.unwrap());
                    let annotations = object.metadata.annotations.take();
                    object = connection(spec(name, versioned, due));
                    (object.status, object.metadata.generation) = (status, Some(generation + 1));
                    object.metadata.annotations = annotations;
                }
                Event::Rotate => {
                    let stamp = world.now.to_string();
                    object.metadata.annotations.get_or_insert_default().insert(ROTATE_AT.into(), stamp);
                }
                Event::Retain if object.status.as_ref().is_some_and(|status| secret_name(status).is_none_or(|known| *known == name)) => {
                    world.retain(&object);
                    // The only ambiguous case: a key that was issued just before an intent that does not know it.
                    world.wait();
                    done = true;
                    object.status = None;
                    retained = true;
                }
                Event::Wait(seconds) => world.now = Timestamp::from_second(world.now.as_second() + seconds).unwrap(),
                Event::Killed(steps) => { world.killed_reconcile(&mut object, steps); done = true }
                Event::Reconcile(fault) => {
                    done = true;
                    let mut step = 0;
                    world.reconcile(&mut object, |action| {
                        step += 1;
                        let (at, lost) = fault?;
                        // A lost call to the API server was executed or not: the events cover both already.
                        let lost = lost && matches!(action, Action::IssueKey { .. });
                        let problem = Problem::new(Class::Unavailable, "test:Action", "Injected", "");
                        (step == at + 1).then_some(if lost { Outcome::Unknown(problem) } else { Outcome::Failed(problem) })
                    });
                }
                _ => {}
            }
            if let Some(id) = before.as_ref().filter(|_| done) {
                let now = works(&world, &name);
                prop_assert!(now.is_some(), "Secret {name} had {id} and has {:?}; {:#?}", world.secret.get(&name), object.status.as_ref().and_then(|s| s.memory.credentials.clone()));
            }
            for key in keys.iter().filter(|key| key.active && done) {
                let Some(at) = published.get(&key.id).filter(|at| world.now.as_second() - at.as_second() < OVERLAP) else { continue };
                let lives = world.user.iter().flat_map(|user| &user.keys).any(|live| live.id == key.id && live.active);
                prop_assert!(lives, "{} was published until {at}, and is gone at {}; {:#?}", key.id, world.now, object.status.as_ref().and_then(|s| s.memory.credentials.clone()));
            }
        }
        object.spec.deletion_policy = DeletionPolicy::Delete;
        object.spec.force_destroy = retained;
        object.spec.bucket.adopt = true;
        for _ in 0..3 {
            if object.status.is_none() {
                break;
            }
            let (desired, plan) = world.plan_deletion(&object);
            let report = world.execute(&desired, &plan, |_| None);
            if plan.blockers.is_empty() && report.undone().next().is_none() {
                prop_assert!(world.user.is_none() && (retained || world.secret.is_empty()), "{:?} {:?}", world.user, world.secret.keys());
                return Ok(());
            }
            object.status = Some(world.fold_deletion(&object, &plan, &report));
        }
        prop_assert!(object.status.is_none(), "{:?} {:?} {:?}", world.secret.keys(), world.user.map(|user| user.keys), object.status.map(|status| status.memory.credentials));
    }
}
