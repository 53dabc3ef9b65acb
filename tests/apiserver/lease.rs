//! Two operators for the same objects: one works, and the other acquires the lease when it must.

use std::sync::{Arc, Mutex};

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use serde_json::json;

use crate::support::lab::{Lab, Operator, signal};
use crate::support::proxy::Fault;
use crate::support::stack::Stack;

const HOLDS: &str = "holds the lease";

async fn lab(name: &str) -> Lab {
    let mut lab = Lab::idle(name, Stack::cluster(), &[]).await;
    lab.lease = true;
    lab
}

/// The operator that works, and one that waits.
async fn two(lab: &mut Lab) -> (Operator, Operator) {
    let first = lab.spawn();
    first.logs(HOLDS).await;
    let second = lab.spawn();
    second.logs("another operator holds the lease").await;
    (first, second)
}

/// The lease's holder and how often it changed.
async fn record(lab: &Lab) -> (String, i32) {
    let leases = Api::<Lease>::namespaced(lab.client.clone(), "bucketconnection-system");
    let spec = leases.get(&format!("bucketconnection-{}", lab.namespace)).await.unwrap().spec.unwrap();
    (spec.holder_identity.unwrap(), spec.lease_transitions.unwrap())
}

#[tokio::test]
async fn the_second_waits_until_the_first_gives_the_lease_back() {
    let mut lab = lab("lease-back").await;
    let (first, second) = two(&mut lab).await;
    lab.apply(&lab.connection("bucket-lease-back", json!({}))).await;
    lab.ready("c").await;
    let (holder, changes) = record(&lab).await;
    assert!(first.log().contains(&holder) && changes == 1, "{holder} {changes}");
    assert!(!second.log().contains("reconcile ended"), "whoever waits does nothing");

    first.signal("TERM");
    let log = first.log();
    assert!(first.ended(), "{log}");
    // A released lease need not expire: no operator reports that it waits for this one.
    second.logs(HOLDS).await;
    lab.check("c").await;
    let (holder, changes) = record(&lab).await;
    assert!(second.log().contains(&holder) && changes == 2, "{holder} {changes}");
    second.signal("TERM");
    assert!(second.ended());
    assert_eq!(record(&lab).await, (String::new(), 2));
}

#[tokio::test]
async fn the_second_takes_over_from_one_that_was_killed() {
    let mut lab = lab("lease-killed").await;
    let (first, second) = two(&mut lab).await;
    lab.apply(&lab.connection("bucket-lease-killed", json!({}))).await;
    lab.ready("c").await;
    drop(first);
    second.logs(HOLDS).await;
    lab.check("c").await;
    assert_eq!(lab.proxy.count("iam:CreateAccessKey"), 1);
}

#[tokio::test]
async fn one_that_is_told_to_stop_while_it_waits_ends_well() {
    let mut lab = lab("lease-waits").await;
    let (_first, second) = two(&mut lab).await;
    second.signal("TERM");
    assert!(second.ended());
}

#[tokio::test]
async fn one_whose_lease_was_taken_ends_and_says_so() {
    let mut lab = lab("lease-taken").await;
    let first = lab.spawn();
    first.logs(HOLDS).await;
    let leases = Api::<Lease>::namespaced(lab.client.clone(), "bucketconnection-system");
    let patch = kube::api::Patch::Merge(json!({ "spec": { "holderIdentity": "somebody" } }));
    leases.patch(&format!("bucketconnection-{}", lab.namespace), &Default::default(), &patch).await.unwrap();
    first.logs("was lost: somebody holds it; start the operator again").await;
    assert!(!first.ended());
    assert_eq!(record(&lab).await.0, "somebody", "it gives back only what is its own");
}

#[tokio::test]
async fn one_that_cannot_renew_its_lease_ends_and_says_so() {
    let mut lab = lab("lease-cut-off").await;
    let forwarder = lab.forward();
    let first = lab.spawn();
    first.logs(HOLDS).await;
    forwarder.cut();
    first.logs("was lost: it was not renewed for 10 s; start the operator again").await;
    assert!(!first.ended());
}

/// Stops the operator (SIGSTOP) as soon as it makes this call to AWS; the call is executed, and its answer waits.
fn stop_at(lab: &Lab, action: &'static str) -> Arc<Mutex<Option<u32>>> {
    let pid = Arc::new(Mutex::new(None::<u32>));
    let hook: Arc<dyn Fn() + Send + Sync> = {
        let pid = Arc::clone(&pid);
        Arc::new(move || signal(pid.lock().unwrap().unwrap(), "STOP"))
    };
    lab.proxy.fault(action, Fault::CallAfter(hook), 1);
    pid
}

#[tokio::test]
async fn one_that_was_stopped_issues_no_key_when_it_wakes() {
    const COUNT: usize = 12;
    let mut lab = lab("lease-stopped").await;
    // A budget that makes reconciles wait: many are about to issue a key when the first key was issued.
    let spec = |calls: u32| json!({ "budget": { "iam": calls }, "allowedNamespaces": [lab.rule(json!({}))] });
    let (slow, fast, account) = (spec(1), spec(100), lab.namespace.clone());
    lab.account(&account, slow).await;
    let (first, second) = two(&mut lab).await;
    *stop_at(&lab, "iam:CreateAccessKey").lock().unwrap() = Some(first.pid());
    for n in 0..COUNT {
        let user = json!({ "name": format!("stopped-{n}") });
        let mut object =
            lab.connection(&format!("bucket-stopped-{n}"), json!({ "user": user, "accountRef": { "name": account } }));
        object["metadata"]["name"] = json!(format!("c{n}"));
        lab.apply(&object).await;
    }
    second.logs(HOLDS).await;
    lab.account(&account, fast).await;
    for n in 0..COUNT {
        lab.ready(&format!("c{n}")).await;
    }
    let mut issued = Vec::new();
    for n in 0..COUNT {
        issued.push(lab.secret(&format!("c{n}-s3")).await);
    }
    lab.proxy.take();

    first.signal("CONT");
    first.logs("was lost: ").await;
    assert!(first.log().contains("LeaseNotHeld"), "a pass was under way");
    assert!(!first.ended(), "whoever lost the lease ends, and not as if all were well");
    // How many calls were in progress at that moment depends on the machine. Every key that they created is deleted
    // again.
    for (n, issued) in issued.iter().enumerate() {
        // The answer may have been lost at that moment: then the next reconciles find its key through the intent.
        let end = std::time::Instant::now() + crate::support::lab::LIMIT;
        while lab.keys(&format!("stopped-{n}")).await != [issued["AWS_ACCESS_KEY_ID"].clone()] {
            assert!(std::time::Instant::now() < end, "{:?}", lab.keys(&format!("stopped-{n}")).await);
            lab.check(&format!("c{n}")).await;
        }
        assert_eq!(lab.secret(&format!("c{n}-s3")).await, *issued);
    }
    lab.proxy.take();
    lab.check("c0").await;
    assert_eq!(lab.proxy.count("iam:CreateAccessKey"), 0);
}

#[tokio::test]
async fn a_key_whose_answer_comes_too_late_is_not_stored() {
    let mut lab = lab("lease-late").await;
    let (first, second) = two(&mut lab).await;
    *stop_at(&lab, "iam:CreateAccessKey").lock().unwrap() = Some(first.pid());
    lab.apply(&lab.connection("bucket-lease-late", json!({ "user": { "name": "late" } }))).await;
    second.logs(HOLDS).await;
    lab.ready("c").await;
    let issued = lab.secret("c-s3").await;
    assert_eq!(lab.keys("late").await, [issued["AWS_ACCESS_KEY_ID"].clone()]);
    first.signal("CONT");
    first.logs("was lost: ").await;
    assert!(!first.ended());
    lab.check("c").await;
    assert_eq!(lab.keys("late").await, [issued["AWS_ACCESS_KEY_ID"].clone()]);
    assert_eq!(lab.secret("c-s3").await, issued);
}
