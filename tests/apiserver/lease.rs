//! Two operators for the same objects: one works, and the other acquires the lease when it must.

use std::sync::{Arc, Mutex};

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use serde_json::json;

use crate::support::harness::{Harness, Operator, signal};
use crate::support::proxy::Fault;
use crate::support::stack::Stack;

const HOLDS: &str = "holds the lease";

async fn harness(name: &str) -> Harness {
    let mut harness = Harness::idle(name, Stack::cluster(), &[]).await;
    harness.lease = true;
    harness
}

/// The operator that works, and one that waits.
async fn two(harness: &mut Harness) -> (Operator, Operator) {
    let first = harness.spawn();
    first.logs(HOLDS).await;
    let second = harness.spawn();
    second.logs("another operator holds the lease").await;
    (first, second)
}

/// The lease's holder and how often it changed.
async fn record(harness: &Harness) -> (String, i32) {
    let leases = Api::<Lease>::namespaced(harness.client.clone(), "bucketconnection-system");
    let spec = leases.get(&format!("bucketconnection-{}", harness.namespace)).await.unwrap().spec.unwrap();
    (spec.holder_identity.unwrap(), spec.lease_transitions.unwrap())
}

#[tokio::test]
async fn the_second_waits_until_the_first_releases_the_lease() {
    let mut harness = harness("lease-back").await;
    let (first, second) = two(&mut harness).await;
    harness.apply(&harness.connection("bucket-lease-back", json!({}))).await;
    harness.ready("c").await;
    let (holder, changes) = record(&harness).await;
    assert!(first.log().contains(&holder) && changes == 1, "{holder} {changes}");
    assert!(!second.log().contains("reconcile ended"), "a waiting operator does nothing");

    first.signal("TERM");
    let log = first.log();
    assert!(first.ended(), "{log}");
    // A released lease need not expire: no operator reports that it waits for this one.
    second.logs(HOLDS).await;
    harness.check("c").await;
    let (holder, changes) = record(&harness).await;
    assert!(second.log().contains(&holder) && changes == 2, "{holder} {changes}");
    second.signal("TERM");
    assert!(second.ended());
    assert_eq!(record(&harness).await, (String::new(), 2));
}

#[tokio::test]
async fn the_second_acquires_the_lease_of_a_killed_one() {
    let mut harness = harness("lease-killed").await;
    let (first, second) = two(&mut harness).await;
    harness.apply(&harness.connection("bucket-lease-killed", json!({}))).await;
    harness.ready("c").await;
    drop(first);
    second.logs(HOLDS).await;
    harness.check("c").await;
    assert_eq!(harness.proxy.count("iam:CreateAccessKey"), 1);
}

#[tokio::test]
async fn a_waiting_operator_stops_on_request() {
    let mut harness = harness("lease-waits").await;
    let (_first, second) = two(&mut harness).await;
    second.signal("TERM");
    assert!(second.ended());
}

#[tokio::test]
async fn an_operator_that_loses_its_lease_exits_and_logs_it() {
    let mut harness = harness("lease-taken").await;
    let first = harness.spawn();
    first.logs(HOLDS).await;
    let leases = Api::<Lease>::namespaced(harness.client.clone(), "bucketconnection-system");
    let patch = kube::api::Patch::Merge(json!({ "spec": { "holderIdentity": "somebody" } }));
    leases.patch(&format!("bucketconnection-{}", harness.namespace), &Default::default(), &patch).await.unwrap();
    first.logs("was lost: somebody holds it; start the operator again").await;
    assert!(!first.ended());
    assert_eq!(record(&harness).await.0, "somebody", "it releases only its own lease");
}

#[tokio::test]
async fn an_operator_that_cannot_renew_its_lease_exits_and_logs_it() {
    let mut harness = harness("lease-cut-off").await;
    let forwarder = harness.forward();
    let first = harness.spawn();
    first.logs(HOLDS).await;
    forwarder.cut();
    first.logs("was lost: it was not renewed for 10 s (update leases: ").await;
    assert!(!first.ended());
}

/// Stops the operator (SIGSTOP) as soon as it makes this call to AWS; the call is executed, and its answer waits.
fn stop_at(harness: &Harness, action: &'static str) -> Arc<Mutex<Option<u32>>> {
    let pid = Arc::new(Mutex::new(None::<u32>));
    let hook: Arc<dyn Fn() + Send + Sync> = {
        let pid = Arc::clone(&pid);
        Arc::new(move || signal(pid.lock().unwrap().unwrap(), "STOP"))
    };
    harness.proxy.fault(action, Fault::CallAfter(hook), 1);
    pid
}

#[tokio::test]
async fn a_paused_operator_issues_no_key_when_it_continues() {
    const COUNT: usize = 12;
    let mut harness = harness("lease-stopped").await;
    // A budget that makes reconciles wait: many are about to issue a key when the first key was issued.
    let spec = |calls: u32| json!({ "budget": { "iam": calls }, "allowedNamespaces": [harness.rule(json!({}))] });
    let (slow, fast, account) = (spec(1), spec(100), harness.namespace.clone());
    harness.account(&account, slow).await;
    let (first, second) = two(&mut harness).await;
    *stop_at(&harness, "iam:CreateAccessKey").lock().unwrap() = Some(first.pid());
    for n in 0..COUNT {
        let user = json!({ "name": format!("stopped-{n}") });
        let mut object =
            harness.connection(&format!("bucket-stopped-{n}"), json!({ "user": user, "accountRef": { "name": account } }));
        object["metadata"]["name"] = json!(format!("c{n}"));
        harness.apply(&object).await;
    }
    second.logs(HOLDS).await;
    harness.account(&account, fast).await;
    for n in 0..COUNT {
        harness.ready(&format!("c{n}")).await;
    }
    let mut issued = Vec::new();
    for n in 0..COUNT {
        issued.push(harness.secret(&format!("c{n}-s3")).await);
    }
    harness.proxy.take();

    first.signal("CONT");
    first.logs("was lost: ").await;
    assert!(first.log().contains("LeaseNotHeld"), "a pass was under way");
    assert!(!first.ended(), "an operator that lost the lease exits with an error");
    // How many calls were in progress at that moment depends on the machine. Every key that they created is deleted
    // again.
    for (n, issued) in issued.iter().enumerate() {
        // The answer may have been lost at that moment: then the next reconciles find its key through the intent.
        let end = std::time::Instant::now() + crate::support::harness::LIMIT;
        while harness.keys(&format!("stopped-{n}")).await != [issued["AWS_ACCESS_KEY_ID"].clone()] {
            assert!(std::time::Instant::now() < end, "{:?}", harness.keys(&format!("stopped-{n}")).await);
            harness.check(&format!("c{n}")).await;
        }
        assert_eq!(harness.secret(&format!("c{n}-s3")).await, *issued);
    }
    harness.proxy.take();
    harness.check("c0").await;
    assert_eq!(harness.proxy.count("iam:CreateAccessKey"), 0);
}

#[tokio::test]
async fn a_key_that_arrives_too_late_is_not_stored() {
    let mut harness = harness("lease-late").await;
    let (first, second) = two(&mut harness).await;
    *stop_at(&harness, "iam:CreateAccessKey").lock().unwrap() = Some(first.pid());
    harness.apply(&harness.connection("bucket-lease-late", json!({ "user": { "name": "late" } }))).await;
    second.logs(HOLDS).await;
    harness.ready("c").await;
    let issued = harness.secret("c-s3").await;
    assert_eq!(harness.keys("late").await, [issued["AWS_ACCESS_KEY_ID"].clone()]);
    first.signal("CONT");
    first.logs("was lost: ").await;
    assert!(!first.ended());
    harness.check("c").await;
    assert_eq!(harness.keys("late").await, [issued["AWS_ACCESS_KEY_ID"].clone()]);
    assert_eq!(harness.secret("c-s3").await, issued);
}
