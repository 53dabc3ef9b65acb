//! What must hold after every single write, by the operator or a person, and in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bucketconnection::api::REVOKE_AT;
use bucketconnection::credentials::{KeyPair, Sensitive, keys_in};
use bucketconnection::desired::names::KEYS_TAG;
use bucketconnection::observed::Ledger;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use serde_json::{Value, json};

use super::clock;
use crate::cluster::Store;
use crate::model::state::{Bucket, Key, State};

/// Account of the operator, and a foreign one.
pub const ACCOUNT: &str = "123456789012";
const OPERATOR: &str = ":user/operator";
pub const OWNER_TAG: &str = "bucketconnection.dev/owner";
/// The owner of a bucket, in a tag that another team has put on it.
pub const THEIR_TAG: &str = "theirs/default/theirs";

#[derive(Default)]
struct Inner {
    violations: Vec<String>,
    /// After how many writes of the operator both servers were checked.
    looks: usize,
    last_write: Timestamp,
    /// Whether a person is at work: the operator is not responsible for what they break.
    person: bool,
    /// Whether a person has changed anything other than connections and accounts: only then can there be drift.
    interfered: bool,
    /// The objects whose Secret has held a working key since a person last broke it.
    held: BTreeSet<String>,
    /// The foreign resources, which must stay as they are.
    foreign: Option<Value>,
    /// Whether keys that people created on managed users may be deleted, because of `forceDestroy`.
    without_keys: bool,
    /// Keys for which a revocation was requested.
    cut_off: BTreeSet<String>,
    buckets: BTreeSet<String>,
}

/// Checks both servers after each write. A clone is the same.
#[derive(Clone, Default)]
pub struct Invariants(Arc<Mutex<Inner>>);

impl Invariants {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn violations(&self) -> Vec<String> {
        self.lock().violations.clone()
    }

    pub fn looks(&self) -> usize {
        self.lock().looks
    }

    pub fn last_write(&self) -> Timestamp {
        self.lock().last_write
    }

    pub fn person(&self, at_work: bool) {
        self.lock().person = at_work;
    }

    /// Records the foreign resources, which must stay as they are now.
    pub fn keep(&self, store: &Store, state: &State) {
        let mut inner = self.lock();
        inner.foreign = Some(foreign(store, state, inner.without_keys));
    }

    /// From now on keys that people created on managed users may be deleted.
    pub fn forget_foreign_keys(&self, store: &Store, state: &State) {
        self.lock().without_keys = true;
        self.keep(store, state);
    }

    /// Every managed key that works now must be revoked: a revocation is requested.
    pub fn revoke(&self, state: &State) {
        let ours = state.users(ACCOUNT).flat_map(|user| state.keys_of(user)).filter(|key| is_ours(key));
        self.lock().cut_off.extend(ours.map(|key| key.id.clone()));
    }

    /// Whether none of those keys works anymore.
    pub fn is_cut_off(&self, state: &State) -> bool {
        let asked = self.lock().cut_off.clone();
        !asked.is_empty()
            && !state.users(ACCOUNT).flat_map(|user| state.keys_of(user)).any(|key| key.active() && asked.contains(&key.id))
    }

    /// The request was deleted with its object.
    pub fn forget_revocation(&self) {
        self.lock().cut_off.clear();
    }

    pub fn written(&self, what: &str, store: &Store, state: &State) {
        let mut inner = self.lock();
        inner.last_write = clock::now();
        let mut wrong = Vec::new();
        for user in state.users(ACCOUNT).filter(|user| user.keys.len() > 2) {
            wrong.push(format!("user {} has {} keys", user.name, user.keys.len()));
        }
        let (mut held, mut deleting) = (BTreeSet::new(), false);
        for object in store.all("bucketconnections") {
            let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            if !object["metadata"]["deletionTimestamp"].is_null() {
                deleting |= object["spec"]["deletionPolicy"] == "Delete";
                continue;
            }
            // No consumer reads the Secret of the pending key. Revoked keys need not work anymore.
            let read = secrets_of(object, store).into_iter().filter(|secret| !is_waiting(secret));
            if revoking(object) {
            } else if read.flat_map(keys_of).any(|key| works(&key, state)) {
                held.insert(name);
            } else if inner.held.contains(&name) {
                wrong.push(format!("the Secret of {name} no longer holds a key that works"));
            }
        }
        inner.held = held;
        let buckets: BTreeSet<_> = state.buckets.keys().cloned().collect();
        for gone in inner.buckets.difference(&buckets).filter(|_| !deleting) {
            wrong.push(format!("bucket {gone} was deleted"));
        }
        inner.buckets = buckets;
        if let Some(before) = &inner.foreign {
            let now = foreign(store, state, inner.without_keys);
            if now != *before {
                wrong.push(format!("what is foreign was changed: {before} became {now}"));
                inner.foreign = Some(now);
            }
        }
        let asks = |resource: &&str| what.split([' ', '/']).any(|word| word == *resource);
        inner.interfered |= inner.person && !["bucketconnections", "awsaccounts"].iter().any(asks);
        if !inner.person {
            let at = clock::now();
            inner.looks += 1;
            inner.violations.extend(wrong.into_iter().map(|wrong| format!("{at} after {what}: {wrong}")));
        } else if inner.foreign.is_some() {
            inner.foreign = Some(foreign(store, state, inner.without_keys));
        }
    }

    /// What must hold when nothing happens anymore.
    pub fn at_rest(&self, store: &Store, state: &State) -> Vec<String> {
        let mut wrong = self.violations();
        let mut explained = BTreeMap::new();
        for object in store.all("bucketconnections") {
            let (name, status) = (&object["metadata"]["name"], &object["status"]);
            // If the bucket is foreign, nothing is done, and an attempt to issue a key is handled once the bucket is
            // managed again.
            let conditions = status["conditions"].as_array().cloned().unwrap_or_default();
            let frozen = conditions.iter().any(|c| c["type"] == "BucketReady" && c["reason"] == "BucketNotOwned");
            if !status["credentials"]["intent"].is_null() && !frozen {
                wrong.push(format!("{name} still intends to issue a key"));
            }
            if let Some(obsolete) = status["credentials"]["obsoleteKeys"].as_array().filter(|keys| !keys.is_empty()) {
                wrong.push(format!("{name} still has obsolete keys {obsolete:?}"));
            }
            let credentials = &status["credentials"];
            if let Some(user) = status["user"]["name"].as_str() {
                let known = [&credentials["accessKeyId"], &credentials["previous"]["accessKeyId"]];
                let known: BTreeSet<_> = known.into_iter().filter_map(|id| id.as_str().map(str::to_owned)).collect();
                explained.insert(user.to_owned(), known);
            }
            if !credentials["pending"].is_null() {
                wrong.push(format!("{name} still has a pending key: {}", credentials["pending"]));
            }
            if !status["drift"].is_null() && !self.lock().interfered {
                wrong.push(format!("{name} reports its own changes as drift: {}", status["drift"]));
            }
            let held: Vec<_> = secrets_of(object, store).into_iter().flat_map(keys_of).collect();
            if ready(object) && !held.iter().any(|key| works(key, state)) {
                wrong.push(format!("{name} is Ready, and no Secret of it holds a key that works"));
            }
        }
        for user in state.users(ACCOUNT) {
            let ours: Vec<_> = state.keys_of(user).filter(|key| is_ours(key)).collect();
            // What no status records, because the object cannot be reconciled yet, AWS itself records.
            let recorded = || Ledger::parse(user.tags.get(KEYS_TAG).map_or("", String::as_str)).keys().collect();
            let expected = explained.get(&user.name).cloned().unwrap_or_else(recorded);
            let found: Vec<_> = ours.iter().map(|key| &key.id).collect();
            // The operator notices keys that people have deleted once the object can be reconciled again.
            let settled = store.all("bucketconnections").all(ready);
            let as_known = found.iter().all(|id| expected.contains(*id)) && (!settled || found.len() == expected.len());
            if !as_known && !retained(store, state, &found) {
                wrong.push(format!("user {} has the managed keys {found:?}, but {expected:?} are recorded", user.name));
            }
            for key in ours.iter().filter(|key| key.active() && self.lock().cut_off.contains(&key.id)) {
                wrong.push(format!("key {} works, although its revocation was requested", key.id));
            }
        }
        wrong.extend(orphans(store, state));
        wrong.extend(rights_on_foreign_buckets(state));
        wrong
    }
}

/// Users, buckets and policies in AWS that neither people created nor an object explains; `Retain` leaves those of a
/// deleted object.
fn orphans(store: &Store, state: &State) -> Vec<String> {
    let objects: Vec<_> = store.all("bucketconnections").collect();
    if objects.is_empty() {
        return Vec::new();
    }
    let is = |value: &Value, name: &str| value.as_str() == Some(name);
    let explained = |holds: &dyn Fn(&Value) -> bool| objects.iter().any(|object| holds(object));
    let users = state.users(ACCOUNT).filter(|user| user.tags.contains_key(OWNER_TAG));
    let users = users.filter(|user| !explained(&|object| is(&object["spec"]["user"]["name"], &user.name)));
    let buckets = state.buckets.values().filter(|bucket| bucket.created_by.ends_with(OPERATOR));
    let buckets = buckets.filter(|bucket| !explained(&|object| is(&object["spec"]["bucket"]["name"], &bucket.name)));
    let policies = state.accounts.get(ACCOUNT).into_iter().flat_map(|account| account.now.policies.keys());
    let policies = policies.filter(|arn| {
        let earlier = |object: &Value| object["status"]["earlierPolicies"].to_string().contains(arn.as_str());
        !explained(&|object| is(&object["status"]["policy"]["arn"], arn) || earlier(object) || !ready(object))
    });
    let users = users.map(|user| format!("orphaned: user {}", user.name));
    let buckets = buckets.map(|bucket| format!("orphaned: bucket {}", bucket.name));
    users.chain(buckets).chain(policies.map(|arn| format!("orphaned: policy {arn}"))).collect()
}

/// What managed users may do in a bucket that another team has created with the name of the managed one.
fn rights_on_foreign_buckets(state: &State) -> Vec<String> {
    let mut wrong = Vec::new();
    for bucket in state.buckets.values().filter(|bucket| is_theirs(bucket)) {
        for user in state.users(ACCOUNT).filter(|user| user.tags.contains_key(OWNER_TAG)) {
            let rights = state.principals.get(&user.id).and_then(|rights| rights.latest());
            let named = format!(":::{}", bucket.name);
            let granted = rights.is_some_and(|rights| rights.identity.iter().any(|policy| policy.to_string().contains(&named)));
            if granted {
                wrong.push(format!("user {} has rights on another team's bucket {}", user.name, bucket.name));
            }
        }
    }
    wrong
}

/// Whether another team created the bucket, or tagged it as its own.
pub fn is_theirs(bucket: &Bucket) -> bool {
    let tags = bucket.tags();
    bucket.created_by.ends_with(":root") && tags.get("team").is_some_and(|team| team == "imaging")
        || tags.get(OWNER_TAG).is_some_and(|owner| owner == THEIR_TAG)
}

fn is_ours(key: &Key) -> bool {
    key.created_by.ends_with(OPERATOR)
}

/// Keys of a deleted object that left its Secret behind.
fn retained(store: &Store, state: &State, found: &[&String]) -> bool {
    let kept: Vec<_> = store.all("secrets").flat_map(keys_of).filter(|key| works(key, state)).collect();
    found.len() == 1
        && found.iter().all(|id| kept.iter().any(|key| key.id == **id))
        && store.all("bucketconnections").next().is_none()
}

fn is_waiting(secret: &Value) -> bool {
    secret["metadata"]["name"].as_str().is_some_and(|name| name.ends_with("-pending"))
}

/// Whether a revocation is requested and not done yet.
fn revoking(object: &Value) -> bool {
    let asked = &object["metadata"]["annotations"][REVOKE_AT];
    !asked.is_null() && *asked != object["status"]["credentials"]["lastHandledRevokeAt"]
}

pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    object["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == kind)
}

/// Whether a condition is true for the current spec.
pub fn is_true(object: &Value, kind: &str) -> bool {
    let generation = &object["metadata"]["generation"];
    condition(object, kind).is_some_and(|found| found["status"] == "True" && found["observedGeneration"] == *generation)
}

pub fn ready(object: &Value) -> bool {
    is_true(object, "Ready")
}

pub fn secrets_of<'a>(object: &Value, store: &'a Store) -> Vec<&'a Value> {
    let name = format!("/{}/{}", object["metadata"]["namespace"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap());
    let owned = |secret: &&Value| {
        let owner = secret["metadata"]["annotations"]["bucketconnection.dev/owner"].as_str();
        owner.is_some_and(|owner| owner.ends_with(&name))
    };
    store.all("secrets").filter(owned).collect()
}

pub fn keys_of(secret: &Value) -> Vec<KeyPair> {
    let data: BTreeMap<String, ByteString> = serde_json::from_value(secret["data"].clone()).unwrap_or_default();
    let text = |bytes: ByteString| Sensitive::new(String::from_utf8_lossy(&bytes.0).into_owned());
    keys_in(&data.into_iter().map(|(name, value)| (name, text(value))).collect())
}

/// Whether AWS accepts the key, or will once it has propagated.
pub fn works(key: &KeyPair, state: &State) -> bool {
    let listed = state.users(ACCOUNT).flat_map(|user| &user.keys).any(|listed| listed.id == key.id && listed.active);
    listed && state.keys.get(&key.id).is_some_and(|known| known.secret == key.secret.reveal())
}

/// Everything that is called foreign-..., and everything without a mark of the operator.
fn foreign(store: &Store, state: &State, without_keys: bool) -> Value {
    let named = |name: &str| name.starts_with("foreign");
    let objects: Vec<_> = store.objects().filter(|(key, _)| named(&key.2)).map(|(_, object)| object).collect();
    let buckets: Vec<_> = state.buckets.values().filter(|bucket| named(&bucket.name) || is_theirs(bucket)).collect();
    let buckets: BTreeMap<_, _> = buckets
        .into_iter()
        .map(|bucket| (&bucket.name, json!([bucket.settings, bucket.objects.keys().collect::<Vec<_>>()])))
        .collect();
    let users = state.users(ACCOUNT).filter(|user| named(&user.name));
    let users: BTreeMap<_, _> = users.map(|user| (&user.name, format!("{user:?}"))).collect();
    // Keys and tags that people put on managed resources.
    let keys: Vec<_> =
        state.users(ACCOUNT).flat_map(|user| state.keys_of(user)).filter(|key| key.created_by.ends_with(":root")).collect();
    let keys: Vec<_> = keys.into_iter().map(|key| json!([key.id, key.active()])).filter(|_| !without_keys).collect();
    let tags = state.buckets.values().flat_map(|bucket| bucket.tags()).filter(|(name, _)| named(name) && !without_keys);
    json!({ "objects": objects, "buckets": buckets, "users": users, "keys": keys, "tags": tags.collect::<Vec<_>>() })
}
