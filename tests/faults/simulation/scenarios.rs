//! Scenarios: the state of the world before a run, and what happens then.

use bucketconnection::api::{REQUESTED_AT, REVOKE_AT, ROTATE_AT};
use serde_json::{Value, json};

use super::emergency::EMERGENCY;
use super::memory::MEMORY;
use super::run::Simulation;
use crate::cluster::{Request, Verb};
use crate::model::Behaviour;
use crate::support::merge::merge;

#[derive(Clone, Copy)]
pub struct Scenario {
    pub name: &'static str,
    /// Comes to rest before anything is counted.
    prepare: fn(&mut Simulation),
    act: fn(&mut Simulation),
    /// What people do after that.
    then: fn(&mut Simulation),
}

/// All scenarios.
pub fn all() -> Vec<Scenario> {
    ALL.into_iter().chain(MEMORY).chain(EMERGENCY).collect()
}

pub fn named(name: &str) -> Scenario {
    all().into_iter().find(|scenario| scenario.name == name).unwrap_or_else(|| panic!("no scenario {name}"))
}

impl Scenario {
    pub const fn new(name: &'static str, prepare: fn(&mut Simulation), act: fn(&mut Simulation)) -> Self {
        Self { name, prepare, act, then: nothing }
    }

    pub const fn then(self, then: fn(&mut Simulation)) -> Self {
        Self { then, ..self }
    }

    /// A simulation before its `then`.
    pub fn prepared(&self, seed: u64, behaviour: Behaviour) -> Simulation {
        let mut simulation = Simulation::new(seed, behaviour);
        (self.prepare)(&mut simulation);
        simulation
    }

    pub fn act(&self, simulation: &mut Simulation) {
        (self.act)(simulation);
    }

    /// Comes to rest, and to the end state.
    pub fn end(&self, simulation: &mut Simulation) {
        simulation.settle();
        if self.then as usize != nothing as fn(&mut Simulation) as usize {
            (self.then)(simulation);
            simulation.settle();
        }
    }
}

/// The connection `c`; `spec` is merged over the defaults.
pub fn connection(spec: Value) -> Value {
    let mut object = json!({
        "apiVersion": "bucketconnection.dev/v1alpha1",
        "kind": "BucketConnection",
        "metadata": { "name": "c", "namespace": "default" },
        "spec": { "preset": "IlluminaICA", "region": "us-east-1", "bucket": { "name": "bucket-c", "prefix": "runs/" }, "user": { "name": "user-c" } },
    });
    merge(&mut object["spec"], spec);
    object
}

/// Writes the whole spec of `c`, as `kubectl replace` does.
pub fn write(simulation: &Simulation, spec: Value) {
    let object = connection(spec);
    simulation.edit(|cluster| cluster.apply("bucketconnections", &object));
}

/// Changes the spec of `c`.
pub fn patch(simulation: &Simulation, spec: Value) {
    assert!(simulation.edit(|cluster| cluster.patch("bucketconnections", "default", "c", json!({ "spec": spec }))));
}

pub fn created(simulation: &mut Simulation, spec: Value) {
    write(simulation, spec);
    simulation.start();
    simulation.settle();
    assert_eq!(simulation.wrong(), Vec::<String>::new());
}

pub fn nothing(_: &mut Simulation) {}

pub fn plain(simulation: &mut Simulation) {
    created(simulation, json!({}));
}

pub fn managed(simulation: &mut Simulation) {
    created(simulation, json!({ "policy": { "type": "Managed" } }));
}

pub fn starts(simulation: &mut Simulation, spec: Value) {
    write(simulation, spec);
    simulation.start();
}

/// Requests a reconcile now.
pub fn request(simulation: &Simulation) {
    annotate(simulation, REQUESTED_AT);
}

/// Sets the annotation to a new value, which is a request.
pub fn annotate(simulation: &Simulation, annotation: &str) {
    let now = super::clock::now().to_string();
    let patch = json!({ "metadata": { "annotations": { annotation: now } } });
    simulation.edit(|cluster| cluster.patch("bucketconnections", "default", "c", patch));
}

fn keys(simulation: &mut Simulation, work: fn(aws_sdk_iam::Client, String) -> futures::future::BoxFuture<'static, ()>) {
    simulation.act(async |person| {
        let listed = person.iam.list_access_keys().user_name("user-c").send().await.unwrap();
        for key in listed.access_key_metadata {
            work(person.iam.clone(), key.access_key_id.unwrap()).await;
        }
    });
    request(simulation);
}

/// Each key has its own Secret, which groups read.
fn versioned(s: &mut Simulation) {
    let credentials = json!({ "secret": { "name": "c-s3", "versioned": true }, "rotation": { "overlap": "1d" } });
    created(s, json!({ "credentials": credentials, "access": { "groups": ["lab-a"] } }));
}

const ALL: [Scenario; 15] = [
    Scenario::new("create", nothing, |s| starts(s, json!({}))),
    Scenario {
        name: "create managed",
        prepare: nothing,
        act: |s| {
            starts(
                s,
                json!({ "policy": { "type": "Managed" }, "access": { "groups": ["lab-a"] }, "bucket": { "encryption": { "type": "SSE-S3" } } }),
            )
        },
        then: nothing,
    },
    Scenario {
        name: "Secret lost",
        prepare: plain,
        act: |s| {
            s.edit(|cluster| cluster.delete("secrets", "default", "c-s3"));
            request(s);
        },
        then: nothing,
    },
    Scenario {
        name: "key deleted",
        prepare: plain,
        act: |s| {
            keys(s, |iam, id| {
                Box::pin(async move { drop(iam.delete_access_key().user_name("user-c").access_key_id(id).send().await.unwrap()) })
            })
        },
        then: nothing,
    },
    Scenario {
        name: "key inactive",
        prepare: plain,
        act: |s| {
            keys(s, |iam, id| {
                let inactive = aws_sdk_iam::types::StatusType::Inactive;
                Box::pin(async move {
                    drop(iam.update_access_key().user_name("user-c").access_key_id(id).status(inactive).send().await.unwrap())
                })
            });
        },
        then: nothing,
    },
    Scenario {
        name: "user deleted",
        prepare: managed,
        act: |s| {
            s.act(async |person| {
                for key in person.iam.list_access_keys().user_name("user-c").send().await.unwrap().access_key_metadata {
                    let id = key.access_key_id.unwrap();
                    person.iam.delete_access_key().user_name("user-c").access_key_id(id).send().await.unwrap();
                }
                let attached = person.iam.list_attached_user_policies().user_name("user-c").send().await.unwrap();
                for policy in attached.attached_policies.unwrap_or_default() {
                    person
                        .iam
                        .detach_user_policy()
                        .user_name("user-c")
                        .policy_arn(policy.policy_arn.unwrap())
                        .send()
                        .await
                        .unwrap();
                }
                person.iam.delete_user().user_name("user-c").send().await.unwrap();
            });
            request(s);
        },
        then: nothing,
    },
    Scenario {
        name: "rotate",
        prepare: |s| created(s, json!({ "credentials": { "rotation": { "overlap": "40s" } } })),
        act: |s| annotate(s, ROTATE_AT),
        then: nothing,
    },
    Scenario::new("rotate versioned", versioned, |s| annotate(s, ROTATE_AT)),
    Scenario::new("revoke", plain, |s| annotate(s, REVOKE_AT)),
    Scenario::new("revoke versioned", versioned, |s| annotate(s, REVOKE_AT)),
    Scenario {
        name: "delete",
        prepare: |s| {
            created(s, json!({ "policy": { "type": "Managed" }, "deletionPolicy": "Delete", "access": { "groups": ["lab-a"] } }))
        },
        act: |s| assert!(s.edit(|cluster| cluster.delete("bucketconnections", "default", "c"))),
        then: nothing,
    },
    Scenario {
        name: "retain",
        prepare: |s| created(s, json!({ "access": { "groups": ["lab-a"] } })),
        act: |s| assert!(s.edit(|cluster| cluster.delete("bucketconnections", "default", "c"))),
        then: nothing,
    },
    Scenario {
        name: "adopt",
        prepare: |s| {
            s.act(async |person| {
                person.s3.create_bucket().bucket("bucket-c").send().await.unwrap();
                person.iam.create_user().user_name("user-c").path("/bucketconnection/").send().await.unwrap();
            });
            write(s, json!({ "bucket": { "adopt": true }, "user": { "adopt": true } }));
            s.start();
            s.settle();
        },
        act: |s| {
            let hash = s.status("c")["adoption"]["planHash"].clone();
            assert!(hash.is_string(), "{}", s.status("c"));
            patch(s, json!({ "approvedPlan": hash }));
        },
        then: nothing,
    },
    Scenario {
        name: "policy changed",
        prepare: |s| created(s, json!({ "policy": { "name": "one" } })),
        act: |s| patch(s, json!({ "policy": { "type": "Managed", "name": "two" }, "bucket": { "prefix": "other/" } })),
        then: nothing,
    },
    Scenario {
        name: "Secret renamed",
        prepare: |s| created(s, json!({ "access": { "groups": ["lab-a"] } })),
        act: |s| patch(s, json!({ "credentials": { "secret": { "name": "renamed" } } })),
        then: nothing,
    },
];

/// Writes the status of `c` as another field manager: for tests of what a person may do to it.
pub fn edit_status(simulation: &Simulation, status: Value) {
    let request =
        Request { status: true, ..Request::new(Verb::Merge, "bucketconnections", "default", "c", json!({ "status": status })) };
    simulation.edit(|cluster| cluster.answer(&request));
}
