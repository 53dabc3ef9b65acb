//! Changes of the spec, valid and invalid ones, in any order: the end state depends only on the last valid spec, not on
//! the earlier ones; except for what omission never weakens.

use serde_json::{Value, json};

use super::crash_points::{in_parallel, none};
use super::end_state::differences;
use super::run::Simulation;
use super::scenarios;
use super::tally::Tally;
use crate::model::Behaviour;
use crate::support::merge::merge;

/// Parts of a spec, each with some values.
fn parts() -> Vec<Vec<Value>> {
    vec![
        vec![json!({}), json!({ "preset": "ReadWrite" }), json!({ "preset": "ReadOnly" }), json!({ "preset": "CLCGenomics" })],
        vec![
            json!({}),
            json!({ "policy": { "name": "one" } }),
            json!({ "policy": { "type": "Managed" } }),
            json!({ "policy": { "type": "Managed", "name": "two" } }),
            json!({ "policy": { "scope": "Bucket", "statements": [{ "effect": "Allow", "actions": ["s3:GetObjectTagging"], "resources": ["arn:aws:s3:::bucket-c/*"] }] } }),
        ],
        vec![json!({}), json!({ "bucket": { "prefix": "other/" } })],
        vec![json!({}), json!({ "credentials": { "secret": { "name": "renamed" } } })],
        vec![json!({}), json!({ "access": { "groups": ["lab-a"] } }), json!({ "access": { "groups": ["lab-b", "lab-c"] } })],
        vec![
            json!({}),
            json!({ "bucket": { "tags": { "team": "a" } } }),
            json!({ "bucket": { "lifecycle": { "rules": [{ "id": "uploads", "abortIncompleteMultipartUpload": { "daysAfterInitiation": 7 } }] } } }),
            json!({ "bucket": { "policyStatements": [{ "sid": "Auditors", "effect": "Allow", "principals": { "AWS": ["210987654321"] }, "actions": ["s3:ListBucket"] }] } }),
            json!({ "cors": { "rules": [] } }),
        ],
        vec![
            json!({}),
            json!({ "user": { "tags": { "team": "a", "cost": "1" } } }),
            json!({ "user": { "tags": { "team": "b" } } }),
        ],
    ]
}

/// Specs that the operator itself refuses.
fn invalid() -> Vec<Value> {
    vec![
        json!({ "bucket": { "prefix": "runs" } }),
        json!({ "bucket": { "prefix": "runs*/../" } }),
        json!({ "policy": { "statements": [{ "effect": "Allow", "actions": ["iam:*"], "resources": ["*"] }] } }),
        json!({ "policy": { "statements": [{ "effect": "Allow", "actions": ["s3:*"], "resources": ["arn:aws:s3:::foreign/*"] }] } }),
        json!({ "preset": "Custom" }),
        json!({ "region": "eu-west-3", "preset": "IlluminaICA" }),
        json!({ "credentials": { "secret": { "name": "Not A Name" } } }),
    ]
}

pub fn spec(random: &mut fastrand::Rng) -> Value {
    let mut spec = json!({});
    for values in parts() {
        merge(&mut spec, values[random.usize(..values.len())].clone());
    }
    spec
}

/// Whether a difference is only that a setting that the last spec omits stayed as an earlier one had it: omitting a
/// setting never changes the bucket (docs/api.md).
fn retained(difference: &str, last: &Value) -> bool {
    let unsaid = |part: &Value, setting: &str, owned: &str| {
        let about = [format!("/bucket-c/settings/{setting}:"), format!("/bucket/owned/{owned}:")];
        part.is_null() && about.iter().any(|path| difference.contains(path))
    };
    let bucket = &last["bucket"];
    let cors = if matches!(last["preset"].as_str(), None | Some("IlluminaICA")) { &json!(true) } else { &last["cors"] };
    unsaid(cors, "cors", "cors")
        || unsaid(&bucket["lifecycle"], "lifecycle", "lifecycle")
        || unsaid(&bucket["policyStatements"], "policy", "policyStatements")
}

/// Changes the spec several times, and then compares with a fresh application of the last one.
fn changed(seed: u64, tally: &Tally) -> Option<String> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut simulation = Simulation::new(seed, Behaviour::default());
    scenarios::write(&simulation, spec(&mut random));
    simulation.start();
    for _ in 0..random.usize(1..4) {
        let pause = random.u64(0..150);
        simulation.run(std::time::Duration::from_secs(pause));
        let mut next = spec(&mut random);
        if random.u8(0..3) == 0 {
            let refused = invalid();
            merge(&mut next, refused[random.usize(..refused.len())].clone());
        }
        scenarios::write(&simulation, next);
    }
    let last = spec(&mut random);
    scenarios::write(&simulation, last.clone());
    simulation.settle();

    let mut fresh = Simulation::new(seed, Behaviour::default());
    scenarios::write(&fresh, last.clone());
    fresh.start();
    fresh.settle();
    let mut wrong = simulation.wrong();
    tally.add(&simulation);
    wrong.extend(differences(&fresh.end(), &simulation.end()).into_iter().filter(|difference| !retained(difference, &last)));
    (!wrong.is_empty())
        .then(|| format!("CHANGES={seed} cargo test --test faults changes  # {last}\n    {}", wrong.join("\n    ")))
}

/// Plays the sequences of these seeds.
pub fn many(seeds: &[u64], tally: &Tally) -> Vec<String> {
    in_parallel(seeds, |seed| changed(*seed, tally))
}

/// CHANGES=<seed> plays one sequence.
#[test]
fn earlier_specs_do_not_matter() {
    let one = std::env::var("CHANGES").ok().and_then(|seed| seed.parse().ok());
    let seeds: Vec<u64> = one.map_or_else(|| (0..16).collect(), |seed| vec![seed]);
    none(&many(&seeds, &Tally::default()));
}
