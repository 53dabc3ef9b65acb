//! Stale caches, conflicting writes, and two operators at once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::runtime::Handle;

use super::rig::Rig;
use crate::support::api_proxy::ApiProxy;
use crate::support::lab::{LIMIT, Operator, signal};
use crate::support::proxy::{Fault, Hook, Proxy};

/// A harness at the beginning of a run.
async fn rig(name: &str) -> Rig {
    let mut rig = Rig::new(name).await;
    rig.fresh(name).await;
    rig
}

/// The errors in the keys and the Secret of the connection `name`, whose user is `user`.
async fn wrong(rig: &Rig, name: &str, user: &str) -> Vec<String> {
    let keys = rig.lab.keys(user).await;
    let held = rig.lab.secret(&format!("{name}-s3")).await["AWS_ACCESS_KEY_ID"].clone();
    let mut wrong = rig.watch.broken();
    if !keys.contains(&held) {
        wrong.push(format!("{name}: the Secret holds {held}, which is not among {keys:?}"));
    }
    let orphans: Vec<_> = keys.iter().filter(|key| **key != held).collect();
    if !orphans.is_empty() {
        wrong.push(format!("{name}: keys that no Secret holds: {orphans:?}"));
    }
    let status = rig.lab.get(name).await.status.unwrap().memory.credentials.unwrap();
    if status.access_key_id.as_ref() != Some(&held) {
        wrong.push(format!("{name}: the status tells of {:?}", status.access_key_id));
    }
    wrong
}

/// While the answer to CreateAccessKey is lost, the watch does not show the operator its own writes: its cache has no
/// intent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_cache_after_a_lost_key() {
    let mut rig = rig("stale").await;
    rig.start().await;
    let api = Arc::new(rig.api.holder());
    let hold = Arc::clone(&api);
    rig.api.fault_at("patch bucketconnections c", 0, Fault::Call(Arc::new(move || hold(true))), 1);
    rig.lab.proxy.fault("iam:CreateAccessKey", Fault::LoseAnswer, 1);
    rig.watched();
    rig.lab.apply(&rig.connection(json!({}))).await;
    rig.lab.ready("c").await;
    assert!(rig.api.count("get bucketconnections c") > 0, "it asked for the object as it is");
    // The operator does not see a change in the meantime yet, and nothing is lost by that.
    rig.lab.apply(&rig.connection(json!({ "credentials": { "secret": { "name": "renamed" } } }))).await;
    api(false);
    rig.lab.ready("c").await;
    rig.quiet().await;
    let keys = rig.lab.keys(&rig.user()).await;
    assert_eq!(keys, [rig.lab.secret("renamed").await["AWS_ACCESS_KEY_ID"].clone()]);
    assert!(rig.lab.secrets().get_opt("c-s3").await.unwrap().is_none());
    assert_eq!(rig.watch.broken(), [""; 0]);
}

/// Someone changes the object just before each of the operator's first writes to it: finalizer, intent, status.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_write_the_object_at_the_same_time() {
    let mut rig = rig("conflicts").await;
    rig.start().await;
    let (objects, handle, count) = (rig.lab.objects(), Handle::current(), AtomicUsize::new(0));
    let write: Hook = Arc::new(move || {
        let label = format!("v{}", count.fetch_add(1, Ordering::SeqCst));
        let patch = Patch::Merge(json!({ "metadata": { "labels": { "of": label } } }));
        handle.block_on(objects.patch("c", &PatchParams::default(), &patch)).unwrap();
    });
    for action in ["patch bucketconnections c", "patch bucketconnections/status c"] {
        rig.api.fault_at(action, 0, Fault::Call(Arc::clone(&write)), 3);
        rig.api.fault_at(action, 0, Fault::Answer(409, "Conflict"), 1);
    }
    rig.watched();
    rig.lab.apply(&rig.connection(json!({}))).await;
    rig.lab.ready("c").await;
    rig.quiet().await;
    assert_eq!(wrong(&rig, "c", &rig.user()).await, [""; 0]);
}

/// A second operator of the same namespace, with its own connections to AWS and to the API server.
struct Second {
    operator: Operator,
    proxy: Proxy,
    api: ApiProxy,
}

impl Second {
    async fn start(rig: &mut Rig) -> Self {
        let kubeconfig = rig.kubeconfig.clone();
        let (proxy, api) = (Proxy::start(rig.lab.emulator.url()), ApiProxy::start(&kubeconfig, &rig.lab.directory));
        proxy.fault("writes", Fault::CallAfter(rig.watch.hook()), usize::MAX);
        let operator = rig.lab.spawn_on(&api.kubeconfig, &proxy.url);
        Self { operator, proxy, api }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_operators_at_once() {
    const COUNT: usize = 6;
    let mut rig = rig("two").await;
    rig.start().await;
    let second = Second::start(&mut rig).await;
    rig.watched();
    let user = |rig: &Rig, n: usize| format!("{}-{n}", rig.user());
    for n in 0..COUNT {
        let policy = format!("policy-{}-{n}", rig.token);
        let mut object = rig.connection(json!({ "user": { "name": user(&rig, n) }, "policy": { "name": policy } }));
        object["metadata"]["name"] = json!(format!("c{n}"));
        object["spec"]["bucket"]["name"] = json!(format!("{}-{n}", rig.bucket()));
        rig.lab.apply(&object).await;
    }
    for n in 0..COUNT {
        rig.lab.ready(&format!("c{n}")).await;
    }
    let mut all = Vec::new();
    for n in 0..COUNT {
        let name = format!("c{n}");
        // One of the two answers first, and the other may still be active: how long that takes depends on the machine.
        let end = Instant::now() + LIMIT;
        let left = loop {
            rig.lab.check(&name).await;
            rig.lab.ready(&name).await;
            let found = wrong(&rig, &name, &user(&rig, n)).await;
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
    let mut rig = rig("stopped").await;
    rig.lab.lease = true;
    rig.start().await;
    let pid = rig.lab.pid();
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
        rig.lab.proxy.fault(action, fault, 1);
    } else {
        rig.api.fault_at(action, 0, fault, 1);
    }
    rig.watched();
    rig.lab.apply(&rig.connection(json!({}))).await;
    until("the first operator stops", || halted.load(Ordering::SeqCst)).await;
    let second = Second::start(&mut rig).await;
    rig.lab.ready("c").await;
    let calls = rig.api.requests().len();
    signal(pid, "CONT");
    goes_on.store(true, Ordering::SeqCst);
    // It ends its reconcile, or finds that it must not work anymore and exits.
    until("the first operator goes on", || {
        let further = rig.api.requests().split_off(calls);
        further.iter().any(|request| request.action.starts_with("patch bucketconnections/status")) || ended(pid)
    })
    .await;
    let mut found: BTreeSet<_> = rig.watch.broken().into_iter().collect();
    // Whether the Secret's key works at that moment.
    found.extend(wrong(&rig, "c", &rig.user()).await.into_iter().map(|what| format!("at once: {what}")));
    rig.quiet().await;
    found.extend(wrong(&rig, "c", &rig.user()).await);
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
async fn stopped_with_a_key_on_its_way() {
    assert_eq!(stopped_at(true, "iam:CreateAccessKey", Stopped::After).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_before_the_key_is_asked_for() {
    // The call was sent and cannot be canceled: its key exists until the next reconcile finds it.
    let mut wrong = stopped_at(true, "iam:CreateAccessKey", Stopped::Before).await;
    wrong.retain(|what| !what.starts_with("at once: c: keys that no Secret holds"));
    assert_eq!(wrong, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_before_the_secret_is_written() {
    assert_eq!(stopped_at(false, "create secrets", Stopped::Before).await, [""; 0]);
}
