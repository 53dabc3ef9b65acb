//! The invariants of keys, checked in the emulator after each write to AWS, before the operator gets the answer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bucketconnection::api::{BucketConnection, REVOKE_AT};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, ResourceExt};
use tokio::runtime::Handle;

use crate::support::harness::Harness;
use crate::support::proxy::Hook;

#[derive(Default)]
struct Now {
    namespace: String,
    user: String,
    foreign: Option<String>,
    /// Secrets whose key has been valid, with that key's id.
    valid: BTreeMap<String, String>,
    broken: Vec<String>,
}

pub struct Watch {
    handle: Handle,
    iam: aws_sdk_iam::Client,
    client: Client,
    now: Mutex<Now>,
    checks: AtomicUsize,
}

impl Watch {
    pub fn new(base: &Harness) -> Arc<Self> {
        Arc::new(Self {
            handle: Handle::current(),
            iam: base.iam(),
            client: base.client.clone(),
            now: Mutex::default(),
            checks: AtomicUsize::new(0),
        })
    }

    pub fn begin(&self, namespace: &str, user: &str) {
        let (namespace, user) = (namespace.to_owned(), user.to_owned());
        *self.now.lock().unwrap() = Now { namespace, user, ..Now::default() };
    }

    pub fn foreign(&self, key: &str) {
        self.now.lock().unwrap().foreign = Some(key.to_owned());
    }

    /// A person is about to break the key in the Secret, or deletes the object: the invariant is suspended until a key
    /// works again.
    pub fn excused(&self) {
        self.now.lock().unwrap().valid.clear();
    }

    /// The violations.
    pub fn broken(&self) -> Vec<String> {
        self.now.lock().unwrap().broken.clone()
    }

    /// How often the invariants were checked.
    pub fn checks(&self) -> usize {
        self.checks.load(Ordering::SeqCst)
    }

    pub fn hook(self: &Arc<Self>) -> Hook {
        let watch = Arc::clone(self);
        Arc::new(move || watch.handle.clone().block_on(watch.look()))
    }

    async fn look(&self) {
        let (namespace, user) = {
            let now = self.now.lock().unwrap();
            (now.namespace.clone(), now.user.clone())
        };
        // The keys first: a key that a Secret holds later, and that was valid before, must have been among them.
        let listed = self.iam.list_access_keys().user_name(&user).send().await;
        let listed = listed.map(|keys| keys.access_key_metadata).unwrap_or_default();
        let secrets = Api::<Secret>::namespaced(self.client.clone(), &namespace).list(&Default::default()).await.unwrap();
        let objects =
            Api::<BucketConnection>::namespaced(self.client.clone(), &namespace).list(&Default::default()).await.unwrap();
        let active: BTreeSet<_> = listed
            .iter()
            .filter(|key| key.status.as_ref().is_some_and(|status| status.as_str() == "Active"))
            .filter_map(|key| key.access_key_id.clone())
            .collect();
        let mut now = self.now.lock().unwrap();
        if now.namespace != namespace {
            return;
        }
        self.checks.fetch_add(1, Ordering::SeqCst);
        if listed.len() > 2 {
            now.broken.push(format!("{} keys", listed.len()));
        }
        if let Some(foreign) = now.foreign.clone().filter(|foreign| !active.contains(foreign)) {
            now.broken.push(format!("the foreign key {foreign} no longer exists"));
        }
        if objects.items.iter().any(revoking) {
            now.valid.clear();
            return;
        }
        for secret in secrets.items.iter().filter(|secret| secret.name_any() != "other") {
            let id = secret.data.as_ref().and_then(|data| data.get("AWS_ACCESS_KEY_ID"));
            let Some(id) = id.map(|id| String::from_utf8_lossy(&id.0).into_owned()) else { continue };
            if active.contains(&id) {
                now.valid.insert(secret.name_any(), id);
            } else if now.valid.get(&secret.name_any()) == Some(&id) {
                let text = format!("Secret {} holds {id}, which no longer works", secret.name_any());
                now.broken.push(text);
            }
        }
    }
}

/// Whether a revocation is requested and not done yet: until then it may be repeated.
fn revoking(object: &BucketConnection) -> bool {
    let credentials = object.status.as_ref().and_then(|status| status.memory.credentials.as_ref());
    let handled = credentials.and_then(|credentials| credentials.last_handled_revoke_at.as_ref());
    object.annotations().get(REVOKE_AT).is_some_and(|asked| Some(asked) != handled)
}
