//! Scenarios of a revocation in each state of a connection, and of services that do not answer.

use std::time::Duration;

use bucketconnection::api::{REVOKE_AT, ROTATE_AT};
use serde_json::json;

use super::edits::in_aws;
use super::memory::{forget, overlap};
use super::run::Simulation;
use super::scenarios::{Scenario, annotate, created, managed, patch, plain, request, write};

/// Requests a revocation, if the object exists; `invariants` checks it.
pub fn revoke(s: &Simulation) {
    if s.cluster.get("bucketconnections", "default", "c").is_none() {
        return;
    }
    s.look(|_, state| s.invariants.revoke(state));
    annotate(s, REVOKE_AT);
}

fn wait(s: &mut Simulation) {
    s.run(Duration::from_secs(30));
}

fn suspended(s: &mut Simulation) {
    plain(s);
    patch(s, json!({ "suspend": true }));
    wait(s);
}

fn edited(s: &mut Simulation, edit: &'static str) {
    s.act(async |person| in_aws(person, edit).await);
    request(s);
    wait(s);
}

pub const EMERGENCY: [Scenario; 14] = [
    Scenario::new("revoke while suspended", suspended, |s| revoke(s)).then(|s| patch(s, json!({ "suspend": null }))),
    Scenario::new(
        "revoke with an invalid spec",
        |s| {
            plain(s);
            write(s, json!({ "bucket": { "prefix": "runs" } }));
            wait(s);
        },
        |s| revoke(s),
    )
    .then(|s| write(s, json!({}))),
    Scenario::new(
        "revoke while the account does not allow it",
        |s| {
            plain(s);
            s.withdraw_rule();
            wait(s);
        },
        |s| revoke(s),
    )
    .then(|s| s.restore_rule()),
    Scenario::new(
        "revoke without an account",
        |s| {
            plain(s);
            s.edit(|cluster| cluster.patch("awsaccounts", "", "default", json!({ "metadata": { "finalizers": null } })));
            s.edit(|cluster| cluster.delete("awsaccounts", "", "default"));
            wait(s);
        },
        |s| revoke(s),
    )
    .then(|s| s.restore_rule()),
    Scenario::new(
        "revoke while the bucket is another's",
        |s| {
            plain(s);
            edited(s, "owner tag changed");
        },
        |s| revoke(s),
    )
    .then(|s| edited(s, "obstacles removed")),
    Scenario::new("revoke in an overlap", overlap, |s| revoke(s)),
    Scenario::new(
        "revoke in a rotation",
        |s| created(s, json!({ "credentials": { "rotation": { "overlap": "40s" } } })),
        |s| {
            annotate(s, ROTATE_AT);
            s.run(Duration::from_millis(300));
            revoke(s);
        },
    ),
    Scenario::new(
        "revoke, and the object is deleted",
        |s| created(s, json!({ "deletionPolicy": "Delete" })),
        |s| {
            revoke(s);
            assert!(s.edit(|cluster| cluster.delete("bucketconnections", "default", "c")));
        },
    ),
    Scenario::new("revoke after all was forgotten", overlap, |s| {
        revoke(s);
        forget(s, true);
    }),
    Scenario::new(
        "revoke with the room of inline policies taken",
        |s| {
            plain(s);
            edited(s, "inline room taken");
        },
        |s| revoke(s),
    )
    .then(|s| edited(s, "obstacles removed")),
    Scenario::new(
        "revoke without any room",
        |s| {
            managed(s);
            edited(s, "inline room taken");
        },
        |s| revoke(s),
    )
    .then(|s| edited(s, "obstacles removed")),
    Scenario::new("revoke while S3 does not answer", plain, |s| {
        s.calls.set_silent(Some("s3"));
        revoke(s);
        s.run(Duration::from_secs(60));
        s.look(|_, state| assert!(s.invariants.is_cut_off(state), "S3 is not asked for a revocation"));
        s.calls.set_silent(None);
    }),
    Scenario::new("IAM does not answer", plain, |s| {
        s.calls.set_silent(Some("iam"));
        annotate(s, ROTATE_AT);
        s.run(Duration::from_secs(100));
        s.calls.set_silent(None);
    }),
    Scenario::new(
        "another region does not answer",
        |s| created(s, json!({ "region": "eu-central-1", "preset": "ReadWrite" })),
        |s| {
            s.calls.set_silent(Some("s3 us-east-1"));
            edited(s, "owner tag removed");
            s.run(Duration::from_secs(70));
            s.calls.set_silent(None);
        },
    ),
];
