//! The objects, and the effect of a request on them: no time passes here, and nothing is awaited.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::apply::{Managers, apply, disown};
use super::request::{Request, Verb};
use crate::support::merge::merge;

/// Resource, namespace and name.
pub type Key = (String, String, String);
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Resources with a separate status.
const WITH_STATUS: [&str; 2] = ["bucketconnections", "awsaccounts"];

#[derive(Clone)]
struct Stored {
    object: Value,
    managers: Managers,
}

/// A change, as watches see it.
#[derive(Clone)]
pub struct Change {
    pub version: u64,
    pub at: Timestamp,
    pub key: Key,
    /// ADDED, MODIFIED or DELETED.
    pub kind: &'static str,
    pub object: Value,
}

pub struct Store {
    objects: BTreeMap<Key, Stored>,
    pub changes: Vec<Change>,
    version: u64,
    uids: u64,
    clock: Clock,
}

/// A status code and a body.
pub type Answer = (u16, Value);

pub fn failure(code: u16, reason: &str, message: &str) -> Answer {
    let body = json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
        "code": code, "reason": reason, "message": message,
    });
    (code, body)
}

impl Store {
    pub fn new(clock: Clock) -> Self {
        Self { objects: BTreeMap::new(), changes: Vec::new(), version: 0, uids: 0, clock }
    }

    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<&Value> {
        self.objects.get(&key(resource, namespace, name)).map(|stored| &stored.object)
    }

    /// All objects of a kind.
    pub fn all<'a>(&'a self, resource: &'a str) -> impl Iterator<Item = &'a Value> {
        self.objects.iter().filter(move |(key, _)| key.0 == resource).map(|(_, stored)| &stored.object)
    }

    /// All objects by their keys.
    pub fn objects(&self) -> impl Iterator<Item = (&Key, &Value)> {
        self.objects.iter().map(|(key, stored)| (key, &stored.object))
    }

    /// The objects of a kind as they were at `version`.
    pub fn at(&self, version: u64, resource: &str, namespace: &str) -> Vec<Value> {
        let mut seen: BTreeMap<&Key, &Change> = BTreeMap::new();
        for change in self.changes.iter().take_while(|change| change.version <= version) {
            if change.key.0 == resource && (namespace.is_empty() || change.key.1 == namespace) {
                seen.insert(&change.key, change);
            }
        }
        seen.values().filter(|change| change.kind != "DELETED").map(|change| change.object.clone()).collect()
    }

    pub fn answer(&mut self, request: &Request) -> Answer {
        let key = key(&request.resource, &request.namespace, &request.name);
        match request.verb {
            Verb::Get => match self.objects.get(&key) {
                Some(stored) if request.metadata_only => (200, metadata_of(&stored.object)),
                Some(stored) => (200, stored.object.clone()),
                None => missing(request),
            },
            Verb::List => self.list(request, self.version),
            Verb::Watch => panic!("watches are streams"),
            Verb::Create => self.create(request),
            Verb::Merge => {
                let Some(stored) = self.objects.get(&key).cloned() else { return missing(request) };
                if let Some(conflict) = conflict(&request.body["metadata"], &stored.object) {
                    return conflict;
                }
                let mut patch = request.body.clone();
                if let Some(metadata) = patch.get_mut("metadata").and_then(Value::as_object_mut) {
                    metadata.remove("resourceVersion");
                }
                let mut next = stored.clone();
                merge(&mut next.object, own_part(request, &patch));
                disown(&stored.object, &next.object, &mut next.managers);
                self.put(key, Some(&stored), next, request)
            }
            Verb::Apply => {
                let stored = self.objects.get(&key).cloned();
                match &stored {
                    Some(stored) => {
                        if let Some(conflict) = conflict(&request.body["metadata"], &stored.object) {
                            return conflict;
                        }
                    }
                    None if request.status || self.no_namespace(request) => return missing(request),
                    None => {}
                }
                let mut next = stored.clone().unwrap_or_else(|| self.fresh(&request.body, request));
                let manager =
                    format!("{}{}", request.asked("fieldManager").unwrap(), if request.status { "#status" } else { "" });
                let mut wanted = own_part(request, &request.body);
                if let Some(fields) = wanted.as_object_mut() {
                    fields.remove("apiVersion");
                    fields.remove("kind");
                }
                if let Some(metadata) = wanted.get_mut("metadata").and_then(Value::as_object_mut) {
                    metadata
                        .retain(|name, _| ["labels", "annotations", "ownerReferences", "finalizers"].contains(&name.as_str()));
                }
                apply(&mut next.object, &mut next.managers, &manager, &wanted);
                self.put(key, stored.as_ref(), next, request)
            }
            Verb::Delete => {
                let Some(stored) = self.objects.get(&key).cloned() else { return missing(request) };
                if let Some(conflict) = conflict(&request.body["preconditions"], &stored.object) {
                    return conflict;
                }
                let mut next = stored.clone();
                let metadata = &mut next.object["metadata"];
                if metadata["deletionTimestamp"].is_null() {
                    metadata["deletionTimestamp"] = json!(self.now());
                    metadata["deletionGracePeriodSeconds"] = json!(0);
                    if let Some(generation) = metadata["generation"].as_i64() {
                        metadata["generation"] = json!(generation + 1);
                    }
                }
                let uid = next.object["metadata"]["uid"].clone();
                self.put(key, Some(&stored), next, request);
                if request.body["propagationPolicy"] == "Foreground" {
                    self.collect(&uid);
                }
                (200, json!({ "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Success" }))
            }
        }
    }

    /// The list as it was at `version`.
    pub fn list(&self, request: &Request, version: u64) -> Answer {
        let mut items = self.at(version, &request.resource, &request.namespace);
        if let Some(selector) = request.asked("labelSelector") {
            let wanted: Vec<_> = selector.split(',').filter_map(|pair| pair.split_once('=')).collect();
            items.retain(|item| wanted.iter().all(|(name, value)| item["metadata"]["labels"][name] == *value));
        }
        if request.metadata_only {
            items = items.iter().map(metadata_of).collect();
        }
        let kind = if request.metadata_only { "PartialObjectMetadataList" } else { "List" };
        (200, json!({ "apiVersion": "v1", "kind": kind, "metadata": { "resourceVersion": version.to_string() }, "items": items }))
    }

    fn create(&mut self, request: &Request) -> Answer {
        let mut next = self.fresh(&request.body, request);
        let metadata = &mut next.object["metadata"];
        if metadata["name"].is_null() {
            let prefix = metadata["generateName"].as_str().unwrap_or_default().to_owned();
            self.uids += 1;
            metadata["name"] = json!(format!("{prefix}{:05}", self.uids));
        }
        let name = metadata["name"].as_str().unwrap().to_owned();
        let key = key(&request.resource, &request.namespace, &name);
        if self.objects.contains_key(&key) {
            return failure(409, "AlreadyExists", &format!("{} {name:?} already exists", request.resource));
        }
        if self.no_namespace(request) {
            return failure(404, "NotFound", &format!("namespaces {:?} not found", request.namespace));
        }
        merge(&mut next.object, own_part(request, &request.body));
        self.put(key, None, next, request)
    }

    /// An object that is not stored yet.
    fn fresh(&mut self, body: &Value, request: &Request) -> Stored {
        self.uids += 1;
        let mut metadata = json!({
            "name": body["metadata"]["name"],
            "uid": format!("00000000-0000-4000-8000-{:012}", self.uids),
            "creationTimestamp": self.now(),
        });
        if !request.namespace.is_empty() {
            metadata["namespace"] = json!(request.namespace);
        }
        if WITH_STATUS.contains(&request.resource.as_str()) {
            metadata["generation"] = json!(1);
        }
        let object = json!({ "apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": metadata });
        Stored { object, managers: Managers::new() }
    }

    fn no_namespace(&self, request: &Request) -> bool {
        !request.namespace.is_empty() && !self.objects.contains_key(&key("namespaces", "", &request.namespace))
    }

    /// Stores `next`, or removes it if it is being deleted and has no finalizers left.
    fn put(&mut self, key: Key, before: Option<&Stored>, mut next: Stored, request: &Request) -> Answer {
        if before.is_some_and(|before| before.object == next.object && before.managers == next.managers) {
            return (200, next.object);
        }
        if before.is_some_and(|before| before.object["spec"] != next.object["spec"]) {
            let generation = next.object["metadata"]["generation"].as_i64();
            if let Some(generation) = generation {
                next.object["metadata"]["generation"] = json!(generation + 1);
            }
        }
        let status = if before.is_some() { 200 } else { 201 };
        if request.dry_run() {
            // For the current version, or for none.
            return (status, next.object);
        }
        let version = self.version + 1;
        next.object["metadata"]["resourceVersion"] = json!(version.to_string());
        let answer = (status, next.object.clone());
        self.version = version;
        let metadata = &next.object["metadata"];
        let held = metadata["finalizers"].as_array().is_some_and(|names| !names.is_empty());
        let gone = !metadata["deletionTimestamp"].is_null() && !held;
        let kind = if gone { "DELETED" } else { before.map_or("ADDED", |_| "MODIFIED") };
        let uid = metadata["uid"].clone();
        self.changes.push(Change { version, at: (self.clock)(), key: key.clone(), kind, object: next.object.clone() });
        if gone {
            self.objects.remove(&key);
            self.collect(&uid);
        } else {
            self.objects.insert(key, next);
        }
        answer
    }

    /// Deletes the dependents of the owner `uid`, which was deleted or waits for a foreground deletion.
    fn collect(&mut self, uid: &Value) {
        let owners = |object: &Value| object["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
        let owned = |stored: &&Stored| owners(&stored.object).iter().any(|owner| owner["uid"] == *uid);
        let is = |other: &Stored, owner: &Value| other.object["metadata"]["uid"] == owner["uid"] && owner["uid"] != *uid;
        let lives =
            |stored: &Stored| owners(&stored.object).iter().any(|owner| self.objects.values().any(|other| is(other, owner)));
        let orphans: Vec<_> =
            self.objects.iter().filter(|(_, stored)| owned(stored) && !lives(stored)).map(|(key, _)| key.clone()).collect();
        for (resource, namespace, name) in orphans {
            self.answer(&Request::new(Verb::Delete, &resource, &namespace, &name, Value::Null));
        }
    }

    /// Whole seconds, as metadata has them.
    fn now(&self) -> String {
        Timestamp::from_second((self.clock)().as_second()).unwrap().to_string()
    }
}

pub fn key(resource: &str, namespace: &str, name: &str) -> Key {
    (resource.to_owned(), namespace.to_owned(), name.to_owned())
}

/// The part that a request may write: the status only through its own path, and everything else only through the other.
fn own_part(request: &Request, body: &Value) -> Value {
    let mut body = body.clone();
    if let Some(fields) = body.as_object_mut().filter(|_| WITH_STATUS.contains(&request.resource.as_str())) {
        fields.retain(|name, _| (name == "status") == request.status);
    }
    body
}

fn metadata_of(object: &Value) -> Value {
    json!({ "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object["metadata"] })
}

fn missing(request: &Request) -> Answer {
    failure(404, "NotFound", &format!("{} {:?} not found", request.resource, request.name))
}

fn conflict(expected: &Value, object: &Value) -> Option<Answer> {
    let differs = |name: &str| !expected[name].is_null() && expected[name] != object["metadata"][name];
    let text = "the object has been modified; please apply your changes to the latest version and try again";
    (differs("resourceVersion") || differs("uid")).then(|| failure(409, "Conflict", text))
}
