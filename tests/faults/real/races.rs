//! Stale caches, conflicting writes, and two operators at once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::runtime::Handle;

use super::harness::FaultHarness;
use crate::support::api_proxy::ApiProxy;
use crate::support::harness::{LIMIT, Operator, signal};
use crate::support::proxy::{Fault, Hook, Proxy};

/// A harness at the beginning of a run.
async fn harness(name: &str) -> FaultHarness {
    let mut harness = FaultHarness::new(name).await;
    harness.fresh(name).await;
    harness
}

/// The errors in the keys and the Secret of the connection `name`, whose user is `user`.
async fn wrong(harness: &FaultHarness, name: &str, user: &str) -> Vec<String> {
    let keys = harness.base.keys(user).await;
    let held = harness.base.secret(&format!("{name}-s3")).await["AWS_ACCESS_KEY_ID"].clone();
    let mut wrong = harness.watch.broken();
    if !keys.contains(&held) {
        wrong.push(format!("{name}: the Secret holds {held}, which is not among {keys:?}"));
    }
    let orphans: Vec<_> = keys.iter().filter(|key| **key != held).collect();
    if !orphans.is_empty() {
        wrong.push(format!("{name}: keys that no Secret holds: {orphans:?}"));
    }
    let status = harness.base.get(name).await.status.unwrap().memory.credentials.unwrap();
    if status.access_key_id.as_ref() != Some(&held) {
        wrong.push(format!("{name}: the status tells of {:?}", status.access_key_id));
    }
    wrong
}

/// While the answer to CreateAccessKey is lost, the watch does not show the operator its own writes: its cache has no
/// intent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_cache_after_a_lost_key() {
    let mut harness = harness("stale").await;
    harness.start().await;
    let api = Arc::new(harness.api.holder());
    let hold = Arc::clone(&api);
    harness.api.fault_at("patch bucketconnections c", 0, Fault::Call(Arc::new(move || hold(true))), 1);
    harness.base.proxy.fault("iam:CreateAccessKey", Fault::LoseAnswer, 1);
    harness.watched();
    harness.base.apply(&harness.connection(json!({}))).await;
    harness.base.ready("c").await;
    assert!(harness.api.count("get bucketconnections c") > 0, "it asked for the object as it is");
    // The operator does not see a change in the meantime yet, and nothing is lost by that.
    harness.base.apply(&harness.connection(json!({ "credentials": { "secret": { "name": "renamed" } } }))).await;
    api(false);
    harness.base.ready("c").await;
    harness.quiet().await;
    let keys = harness.base.keys(&harness.user()).await;
    assert_eq!(keys, [harness.base.secret("renamed").await["AWS_ACCESS_KEY_ID"].clone()]);
    assert!(harness.base.secrets().get_opt("c-s3").await.unwrap().is_none());
    assert_eq!(harness.watch.broken(), [""; 0]);
}

/// Someone changes the object just before each of the operator's first writes to it: finalizer, intent, status.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_write_the_object_at_the_same_time() {
    let mut harness = harness("conflicts").await;
    harness.start().await;
    let (objects, handle, count) = (harness.base.objects(), Handle::current(), AtomicUsize::new(0));
    let write: Hook = Arc::new(move || {
        let label = format!("v{}", count.fetch_add(1, Ordering::SeqCst));
        let patch = Patch::Merge(json!({ "metadata": { "labels": { "of": label } } }));
        handle.block_on(objects.patch("c", &PatchParams::default(), &patch)).unwrap();
    });
    for action in ["patch bucketconnections c", "patch bucketconnections/status c"] {
        harness.api.fault_at(action, 0, Fault::Call(Arc::clone(&write)), 3);
        harness.api.fault_at(action, 0, Fault::Answer(409, "Conflict"), 1);
    }
    harness.watched();
    harness.base.apply(&harness.connection(json!({}))).await;
    harness.base.ready("c").await;
    harness.quiet().await;
    assert_eq!(wrong(&harness, "c", &harness.user()).await, [""; 0]);
}

/// A second operator of the same namespace, with its own connections to AWS and to the API server.
struct Second {
    operator: Operator,
    proxy: Proxy,
    api: ApiProxy,
}

impl Second {
    async fn start(harness: &mut FaultHarness) -> Self {
        let kubeconfig = harness.kubeconfig.clone();
        let (proxy, api) = (Proxy::start(harness.base.emulator.url()), ApiProxy::start(&kubeconfig, &harness.base.directory));
        proxy.fault("writes", Fault::CallAfter(harness.watch.hook()), usize::MAX);
        let operator = harness.base.spawn_on(&api.kubeconfig, &proxy.url);
        Self { operator, proxy, api }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_operators_at_once() {
    const COUNT: usize = 6;
    let mut harness = harness("two").await;
    harness.start().await;
    let second = Second::start(&mut harness).await;
    harness.watched();
    let user = |harness: &FaultHarness, n: usize| format!("{}-{n}", harness.user());
    for n in 0..COUNT {
        let policy = format!("policy-{}-{n}", harness.token);
        let mut object = harness.connection(json!({ "user": { "name": user(&harness, n) }, "policy": { "name": policy } }));
        object["metadata"]["name"] = json!(format!("c{n}"));
        object["spec"]["bucket"]["name"] = json!(format!("{}-{n}", harness.bucket()));
        harness.base.apply(&object).await;
    }
    for n in 0..COUNT {
        harness.base.ready(&format!("c{n}")).await;
    }
    let mut all = Vec::new();
    for n in 0..COUNT {
        let name = format!("c{n}");
        // One of the two answers first, and the other may still be active: how long that takes depends on the machine.
        let end = Instant::now() + LIMIT;
        let left = loop {
            harness.base.check(&name).await;
            harness.base.ready(&name).await;
            let found = wrong(&harness, &name, &user(&harness, n)).await;
            if found.is_empty() || Instant::now() > end {
                break found;
            }
        };
        all.extend(left);
    }
    drop(second);
    assert_eq!(all, [""; 0]);
}

/// The state of the call when the first operator is stopped.
#[derive(Clone, Copy)]
enum Stopped {
    /// The call was not sent: it reaches the server when the operator continues.
    Before,
    /// The server has executed it: its answer waits for the operator.
    After,
}

/// One operator stops at a call (a node that hangs, a process that is paused); another one does the work; the first
/// continues. Returns what is wrong in the end, and before.
async fn stopped_at(aws: bool, action: &str, stopped: Stopped) -> Vec<String> {
    let mut harness = harness("stopped").await;
    harness.base.lease = true;
    harness.start().await;
    let pid = harness.base.pid();
    let (halted, goes_on) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let hook: Hook = {
        let (halted, goes_on) = (Arc::clone(&halted), Arc::clone(&goes_on));
        Arc::new(move || {
            signal(pid, "STOP");
            halted.store(true, Ordering::SeqCst);
            while !goes_on.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
        })
    };
    let fault = match stopped {
        Stopped::Before => Fault::Call(hook),
        Stopped::After => Fault::CallAfter(hook),
    };
    if aws {
        harness.base.proxy.fault(action, fault, 1);
    } else {
        harness.api.fault_at(action, 0, fault, 1);
    }
    harness.watched();
    harness.base.apply(&harness.connection(json!({}))).await;
    until("the first operator stops", || halted.load(Ordering::SeqCst)).await;
    let second = Second::start(&mut harness).await;
    harness.base.ready("c").await;
    let calls = harness.api.requests().len();
    signal(pid, "CONT");
    goes_on.store(true, Ordering::SeqCst);
    // It ends its reconcile, or finds that it must not work anymore and exits.
    until("the first operator continues", || {
        let further = harness.api.requests().split_off(calls);
        further.iter().any(|request| request.action.starts_with("patch bucketconnections/status")) || ended(pid)
    })
    .await;
    let mut found: BTreeSet<_> = harness.watch.broken().into_iter().collect();
    // Whether the Secret's key works at that moment.
    found.extend(wrong(&harness, "c", &harness.user()).await.into_iter().map(|what| format!("at once: {what}")));
    harness.quiet().await;
    found.extend(wrong(&harness, "c", &harness.user()).await);
    let _ = (&second.operator, &second.proxy, &second.api);
    found.into_iter().collect()
}

/// Whether the process has ended; its parent may still have to wait for it.
fn ended(pid: u32) -> bool {
    let state = std::process::Command::new("ps").args(["-o", "stat=", "-p", &pid.to_string()]).output().unwrap();
    let state = String::from_utf8_lossy(&state.stdout).trim().to_owned();
    state.is_empty() || state.starts_with('Z')
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + LIMIT;
    while !holds() {
        assert!(Instant::now() < end, "{what}: not in time");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_while_a_key_is_created() {
    assert_eq!(stopped_at(true, "iam:CreateAccessKey", Stopped::After).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_before_the_key_is_requested() {
    // The call was sent and cannot be canceled: its key exists until the next reconcile finds it.
    let mut wrong = stopped_at(true, "iam:CreateAccessKey", Stopped::Before).await;
    wrong.retain(|what| !what.starts_with("at once: c: keys that no Secret holds"));
    assert_eq!(wrong, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_before_the_secret_is_written() {
    assert_eq!(stopped_at(false, "create secrets", Stopped::Before).await, [""; 0]);
}
