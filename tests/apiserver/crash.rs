//! kill -9 at any moment: the next start ends in the same state as an undisturbed run, with one key and nothing lost.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::json;

use crate::support::harness::{Harness, writes};
use crate::support::proxy::Fault;
use crate::support::stack::Stack;

const BUCKET: &str = "bucket-crash";

/// Kills the operator when it makes the given call: before AWS sees it, or after AWS has executed it.
async fn killed_at(action: &'static str, after: bool) {
    let mut harness = Harness::idle("crash", Stack::cluster(), &[]).await;
    let died = Arc::new(AtomicBool::new(false));
    let pid = Arc::new(Mutex::new(None::<u32>));
    let hook: Arc<dyn Fn() + Send + Sync> = {
        let (died, pid) = (Arc::clone(&died), Arc::clone(&pid));
        Arc::new(move || {
            // Right after the start the process id is not recorded yet.
            let pid = loop {
                if let Some(pid) = *pid.lock().unwrap() {
                    break pid.to_string();
                }
            };
            died.store(true, Ordering::SeqCst);
            std::process::Command::new("kill").args(["-KILL", &pid]).status().unwrap();
        })
    };
    harness.proxy.fault(action, if after { Fault::CallAfter(hook) } else { Fault::CallThenCut(hook) }, 1);
    harness.start();
    *pid.lock().unwrap() = Some(harness.pid());
    let spec = json!({ "preset": "IlluminaICA", "policy": { "type": "Managed" }, "user": { "name": "survivor" } });
    harness.apply(&harness.connection(BUCKET, spec)).await;
    assert!(!harness.ended(), "{action}: it was killed");
    assert!(died.load(Ordering::SeqCst));
    harness.start();
    harness.ready("c").await;
    let keys = harness.keys("survivor").await;
    assert_eq!(keys, [harness.secret("c-s3").await["AWS_ACCESS_KEY_ID"].clone()], "{action}, after: {after}");
    harness.proxy.take();
    harness.check("c").await;
    assert_eq!(writes(&harness.proxy.take()), [""; 0], "{action}, after: {after}");
}

const CALLS: [&str; 8] = [
    "s3:CreateBucket",
    "s3:PutBucketCORS",
    "iam:CreateUser",
    "iam:CreatePolicy",
    "iam:AttachUserPolicy",
    "iam:CreateAccessKey",
    "s3:ListBucket",
    "sts:GetCallerIdentity",
];

#[tokio::test]
async fn before_each_call_of_a_creation() {
    for action in CALLS {
        killed_at(action, false).await;
    }
}

#[tokio::test]
async fn after_each_call_of_a_creation() {
    for action in CALLS {
        killed_at(action, true).await;
    }
}

#[tokio::test]
async fn repeatedly_while_many_are_created() {
    let mut harness = Harness::idle("again", Stack::cluster(), &[]).await;
    harness.start();
    for n in 0..10 {
        let mut object = harness.connection(&format!("bucket-again-{n}"), json!({ "user": { "name": format!("again-{n}") } }));
        object["metadata"]["name"] = json!(format!("c{n}"));
        harness.apply(&object).await;
    }
    // Moments that depend on the operator: after so many calls since the last kill.
    for calls in [3, 11, 19, 7, 13, 5] {
        harness.further_calls(calls).await;
        harness.kill();
        harness.start();
    }
    for n in 0..10 {
        harness.ready(&format!("c{n}")).await;
        let keys = harness.keys(&format!("again-{n}")).await;
        assert_eq!(keys, [harness.secret(&format!("c{n}-s3")).await["AWS_ACCESS_KEY_ID"].clone()], "c{n}");
    }
}
