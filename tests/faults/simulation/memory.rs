//! Scenarios about what Kubernetes loses and AWS records, and about names that others use.

use bucketconnection::api::{FINALIZER, ROTATE_AT};
use serde_json::{Value, json};

use super::edits::{in_aws, in_kubernetes};
use super::invariants::ready;
use super::run::Simulation;
use super::scenarios::{
    Scenario, annotate, connection, created, edit_status, managed, nothing, patch, plain, request, starts, write,
};

/// In the middle of an overlap: two managed keys work.
pub fn overlap(s: &mut Simulation) {
    let credentials = json!({ "rotation": { "overlap": "1d" } });
    created(s, json!({ "credentials": credentials, "access": { "groups": ["lab-a"] } }));
    annotate(s, ROTATE_AT);
    s.settle();
    assert!(s.status("c")["credentials"]["previous"].is_object(), "{}", s.status("c"));
}

fn versioned_overlap(s: &mut Simulation) {
    let credentials = json!({ "secret": { "name": "c-s3", "versioned": true }, "rotation": { "overlap": "1d" } });
    created(s, json!({ "credentials": credentials }));
    annotate(s, ROTATE_AT);
    s.settle();
}

/// The last spec of `c`, even if it was deleted.
pub fn last_spec(s: &Simulation) -> Value {
    s.cluster.look(|store| {
        let last = store.changes.iter().rev().find(|change| change.key.0 == "bucketconnections" && change.key.2 == "c");
        last.map(|change| change.object["spec"].clone()).unwrap_or_default()
    })
}

/// Whether `c` is being deleted, or gone.
pub fn is_leaving(s: &Simulation) -> bool {
    let object = s.cluster.get("bucketconnections", "default", "c");
    object.is_none_or(|object| !object["metadata"]["deletionTimestamp"].is_null())
}

/// Whether nothing exists under names of an earlier spec, so that the spec alone has all names.
pub fn is_settled(s: &Simulation) -> bool {
    let Some(object) = s.cluster.get("bucketconnections", "default", "c") else { return false };
    let status = &object["status"];
    let earlier = [&status["earlierPolicies"], &status["credentials"]["earlierSecrets"]];
    let none = earlier.iter().all(|list| list.as_array().is_none_or(Vec::is_empty));
    let first = object["metadata"]["generation"] == 1;
    object["metadata"]["deletionTimestamp"].is_null() && (first || none && ready(&object))
}

/// Applies `c` again as it was last, unless it exists.
pub fn apply_again(s: &mut Simulation) {
    if s.cluster.get("bucketconnections", "default", "c").is_none() {
        let spec = last_spec(s);
        write(s, spec);
    }
}

/// Removes the object with its status, despite its finalizer.
pub fn take_object(s: &Simulation) {
    s.edit(|cluster| {
        cluster.patch("bucketconnections", "default", "c", json!({ "metadata": { "finalizers": null } }));
        cluster.delete("bucketconnections", "default", "c");
    });
}

/// Removes object, status, Secrets and their readers, and applies the same object again. If `annotated`, it still has
/// its annotations, as an object that is kept in Git with them.
pub fn forget(s: &mut Simulation, annotated: bool) {
    let before = s.cluster.get("bucketconnections", "default", "c").unwrap_or_default();
    in_kubernetes(s, "Secret deleted");
    let grants: Vec<_> = ["roles", "rolebindings"]
        .into_iter()
        .flat_map(|resource| {
            let names = |store: &crate::cluster::Store| {
                store.all(resource).filter_map(|grant| grant["metadata"]["name"].as_str().map(str::to_owned)).collect::<Vec<_>>()
            };
            s.cluster.look(names).into_iter().map(move |name| (resource, name))
        })
        .collect();
    take_object(s);
    for (resource, name) in grants {
        s.edit(|cluster| cluster.delete(resource, "default", &name));
    }
    let mut object = connection(before["spec"].clone());
    if annotated {
        object["metadata"]["annotations"] = before["metadata"]["annotations"].clone();
    } else {
        s.invariants.forget_revocation();
    }
    s.edit(|cluster| cluster.apply("bucketconnections", &object));
}

fn edited(s: &mut Simulation, edit: &'static str) {
    s.act(async |person| in_aws(person, edit).await);
    request(s);
}

/// Some time later, since two buckets of one name are distinguished by the second in which they were created.
fn later(s: &mut Simulation) {
    s.run(std::time::Duration::from_secs(3));
}

pub const MEMORY: [Scenario; 17] = [
    Scenario::new("forgotten", managed, |s| forget(s, false)),
    Scenario::new("forgotten in an overlap", overlap, |s| forget(s, false)),
    Scenario::new("forgotten in an overlap, versioned", versioned_overlap, |s| forget(s, true)),
    Scenario::new("forgotten twice", plain, |s| forget(s, false)).then(|s| forget(s, false)),
    Scenario::new("status deleted", managed, |s| {
        edit_status(s, Value::Null);
        request(s);
    }),
    Scenario::new("status deleted in an overlap", overlap, |s| {
        edit_status(s, Value::Null);
        request(s);
    }),
    Scenario::new("object gone", overlap, |s| take_object(s)).then(apply_again),
    Scenario::new("retained in an overlap, and again", overlap, |s| {
        assert!(s.edit(|cluster| cluster.delete("bucketconnections", "default", "c")));
    })
    .then(apply_again),
    Scenario::new("deleted in the foreground, and again", overlap, |s| {
        assert!(s.edit(|cluster| cluster.delete_in_foreground("bucketconnections", "default", "c")));
    })
    .then(apply_again),
    Scenario::new("finalizer dropped", plain, |s| {
        s.edit(|cluster| cluster.patch("bucketconnections", "default", "c", json!({ "metadata": { "finalizers": null } })));
    }),
    Scenario::new("finalizer preset", nothing, |s| {
        let mut object = connection(json!({}));
        object["metadata"]["finalizers"] = json!([FINALIZER]);
        s.edit(|cluster| cluster.apply("bucketconnections", &object));
        s.start();
    }),
    Scenario::new("bucket deleted", plain, |s| edited(s, "bucket deleted")),
    Scenario::new(
        "bucket recreated",
        |s| {
            plain(s);
            later(s);
        },
        |s| edited(s, "bucket recreated"),
    ),
    Scenario::new(
        "bucket recreated while suspended, then all deleted",
        |s| {
            created(s, json!({ "deletionPolicy": "Delete", "forceDestroy": true }));
            patch(s, json!({ "suspend": true }));
            s.run(std::time::Duration::from_secs(30));
            s.act(async |person| in_aws(person, "bucket recreated").await);
        },
        |s| assert!(s.edit(|cluster| cluster.delete("bucketconnections", "default", "c"))),
    ),
    Scenario::new("bucket's owner tag removed", plain, |s| edited(s, "owner tag removed")),
    Scenario::new(
        "deleted while its user is in a group",
        |s| {
            created(s, json!({ "deletionPolicy": "Delete" }));
            s.act(async |person| in_aws(person, "user in a group").await);
        },
        |s| {
            assert!(s.edit(|cluster| cluster.delete("bucketconnections", "default", "c")));
        },
    )
    .then(|s| s.act(async |person| in_aws(person, "user out of groups").await)),
    Scenario::new("created while S3 does not answer", nothing, |s| {
        s.calls.set_silent(Some("s3"));
        starts(s, json!({}));
        s.run(std::time::Duration::from_secs(100));
        s.calls.set_silent(None);
    }),
];
