//! Each permission that the operator has, taken away: something says which one is missing, nothing is lost, and
//! everything works once it is back. A permission that no scenario here needs is not shipped.

#![allow(clippy::print_stdout, reason = "which permission took how long, for a person who reads the run")]

mod aws;
mod namespaces;
mod policies;
mod random;
mod roles;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bucketconnection::api::{BucketConnection, REQUESTED_AT, ROTATE_AT};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use crate::support::api_proxy::ApiProxy;
use crate::support::harness::{Harness, LIMIT, condition, told};
use crate::support::proxy::Fault;
use crate::support::stack::{ROOT, Stack};
use roles::{Granted, Role, Verb, listed, shipped, whole_cluster};

/// Where the operator says what is missing.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    /// A condition of the connection.
    Condition,
    /// An Event about the connection: the operator cannot write its status, or not read the object.
    Event,
    /// A condition of an AWSAccount.
    Account,
    /// The log: it is no matter of one connection.
    Log,
}

/// An operator with its own roles, and the connections that it has had so far.
struct Lane {
    harness: Harness,
    granted: Granted,
    proxy: ApiProxy,
    /// Number of the last connection, and of the one before the current case.
    count: usize,
    before: usize,
}

impl Lane {
    async fn new(name: &str, stack: &Stack, roles: impl Fn(&str, &str) -> Vec<Role>) -> Self {
        let mut harness = Harness::idle(name, stack, &[]).await;
        harness.lease = true;
        harness.log = "info";
        let granted = Granted::new(&mut harness, roles).await;
        let proxy = ApiProxy::start(&harness.operator_kubeconfig, &harness.directory);
        harness.operator_kubeconfig = proxy.kubeconfig.clone();
        Self { harness, granted, proxy, count: 0, before: 0 }
    }

    /// Each of `verbs` in turn.
    async fn each(mut self, verbs: impl Fn(&Verb) -> bool) {
        self.harness.start();
        self.connect(json!({})).await;
        let verbs: Vec<_> = self.granted.verbs().into_iter().filter(verbs).collect();
        assert!(!verbs.is_empty());
        for verb in verbs {
            let began = Instant::now();
            self.one(&verb).await;
            println!("{:4} ms  {} {} ({})", began.elapsed().as_millis(), verb.verb, verb.resource, verb.role);
        }
    }

    async fn one(&mut self, verb: &Verb) {
        self.before = self.count;
        let place = self.scenario(verb).await;
        self.says(verb, place).await;
        self.granted.give_back().await;
        self.recovers(verb).await;
        // What was created before works, and so does what is created now.
        self.connect(json!({})).await;
        keys_match(&self.harness).await;
    }

    /// Removes the verb, and does what needs it; returns where the operator must say so.
    async fn scenario(&mut self, verb: &Verb) -> Place {
        let missing = std::slice::from_ref(verb);
        let groups = json!({ "access": { "groups": ["lab-a"] } });
        match (verb.role.as_str(), verb.resource.as_str(), verb.verb.as_str()) {
            // Needed at the start, before any connection is read.
            ("system", "leases" | "secrets", _)
            | (_, "awsaccounts" | "bucketconnections", "list" | "watch")
            | (_, "namespaces", "get") => {
                self.restart_without(verb).await;
                Place::Log
            }
            // The watch lags behind the operator's own writes.
            (_, "bucketconnections", "get") => {
                self.harness.proxy.fault("*", Fault::Answer(503, "ServiceUnavailable"), usize::MAX);
                let name = self.apply(json!({})).await;
                self.harness.until(&name, "failure", |object| condition(object, "Ready").is_some()).await;
                self.proxy.holder()(true);
                self.granted.remove(missing).await;
                self.harness.proxy.heal();
                self.harness.proxy.fault("*", Fault::Answer(503, "SlowDown"), usize::MAX);
                Place::Event
            }
            (_, "bucketconnections/status", "patch") => {
                self.granted.remove(missing).await;
                self.apply(json!({})).await;
                Place::Event
            }
            (_, "bucketconnections", "patch") | ("connections", "secrets", "create") => {
                self.granted.remove(missing).await;
                self.apply(json!({})).await;
                Place::Condition
            }
            ("connections", "secrets", "get") => {
                self.granted.remove(missing).await;
                self.nudge().await;
                Place::Condition
            }
            ("connections", "secrets", "patch") => {
                let name = self.connect(json!({})).await;
                self.granted.remove(missing).await;
                let drift = Patch::Merge(json!({ "data": { "BUCKET": null } }));
                self.harness.secrets().patch(&format!("{name}-s3"), &PatchParams::default(), &drift).await.unwrap();
                self.nudge().await;
                Place::Condition
            }
            ("connections", "secrets", "delete") => {
                let name = self.connect(json!({ "deletionPolicy": "Delete" })).await;
                self.granted.remove(missing).await;
                self.harness.delete(&name).await;
                Place::Condition
            }
            (_, "events", "create") => {
                self.granted.remove(missing).await;
                self.apply(json!({})).await;
                Place::Log
            }
            (_, "awsaccounts", "get") => {
                self.granted.remove(missing).await;
                let account = format!("{}-{}", self.harness.namespace, self.count + 1);
                self.apply(json!({ "accountRef": { "name": account } })).await;
                Place::Condition
            }
            (_, "awsaccounts" | "awsaccounts/status", "patch") => {
                self.granted.remove(missing).await;
                self.new_account().await;
                if verb.resource == "awsaccounts" { Place::Account } else { Place::Log }
            }
            ("access", _, "get") => {
                self.connect(groups).await;
                self.granted.remove(missing).await;
                self.nudge().await;
                Place::Condition
            }
            ("access", _, "create") => {
                self.granted.remove(missing).await;
                self.apply(groups).await;
                Place::Condition
            }
            ("access", resource, "patch") => {
                let name = self.connect(groups).await;
                self.granted.remove(missing).await;
                let drift = if resource == "roles" { json!({ "rules": [] }) } else { json!({ "subjects": [] }) };
                self.access(resource)
                    .patch(&format!("{name}-s3-readers"), &PatchParams::default(), &Patch::Merge(drift))
                    .await
                    .unwrap();
                self.nudge().await;
                Place::Condition
            }
            ("access", _, "delete") => {
                let name = self.connect(groups).await;
                self.granted.remove(missing).await;
                self.harness.patch(&name, json!({ "spec": { "access": null } })).await;
                Place::Condition
            }
            ("restart", kind, "list" | "patch") => {
                let secret = format!("c{}-s3", self.count + 1);
                let name = self.connect(json!({ "credentials": { "secret": { "name": secret, "versioned": true } } })).await;
                self.workload(kind, &name).await;
                self.granted.remove(missing).await;
                self.harness.patch(&name, json!({ "metadata": { "annotations": { ROTATE_AT: "now" } } })).await;
                Place::Condition
            }
            _ => panic!("no scenario needs {verb:?}: remove it from the role, in deploy/kubernetes and docs/permissions.md"),
        }
    }

    /// Stops the operator, removes the verb and what would make it unnecessary, and starts another.
    async fn restart_without(&mut self, verb: &Verb) {
        self.harness.operator().signal("TERM");
        assert!(self.harness.ended(), "{}", self.harness.log());
        if verb.verb == "create" {
            let kind = if verb.resource == "leases" { ("coordination.k8s.io", "Lease") } else { ("", "Secret") };
            let api = dynamic(&self.harness, kind, Some(&self.granted.system));
            for object in api.list(&ListParams::default()).await.unwrap() {
                api.delete(&object.name_any(), &DeleteParams::default()).await.unwrap();
            }
        }
        self.granted.remove(std::slice::from_ref(verb)).await;
        self.harness.start();
    }

    /// Waits until the operator says which permission is missing, and what to do.
    async fn says(&self, verb: &Verb, place: Place) {
        let (missing, end) = (verb.missing(), Instant::now() + LIMIT);
        loop {
            let texts = self.texts(place).await;
            if texts.iter().any(|text| text.contains(&missing) && text.contains("grant the operator this permission")) {
                return;
            }
            assert!(Instant::now() < end, "no {place:?} says {missing:?}:\n{}", texts.join("\n"));
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    async fn texts(&self, place: Place) -> Vec<String> {
        let account = || format!("{}-{}", self.harness.namespace, self.count);
        match place {
            Place::Log => self.harness.log().replace("\\\"", "\"").lines().map(str::to_owned).collect(),
            Place::Event => self.harness.events(&self.name()).await.into_iter().map(|(_, _, note)| note).collect(),
            Place::Condition => {
                let mut texts = Vec::new();
                for object in self.current().await {
                    let conditions = object.status.into_iter().flat_map(|status| status.conditions);
                    texts.extend(conditions.map(|condition| condition.message));
                }
                texts
            }
            Place::Account => {
                let account = self.harness.accounts().get(&account()).await.unwrap();
                account.status.into_iter().flat_map(|status| status.conditions).map(|condition| condition.message).collect()
            }
        }
    }

    /// After the permission is back, all connections become Ready, or end if they are being deleted.
    async fn recovers(&mut self, verb: &Verb) {
        self.proxy.holder()(false);
        self.harness.proxy.heal();
        if verb.resource == "awsaccounts" && verb.verb == "get" {
            let name = self.name();
            self.nudge().await;
            self.harness.until(&name, "AccountNotFound", |object| told(object, "Ready").1 == "AccountNotFound").await;
            self.account(&self.account_name()).await;
        }
        if verb.resource.starts_with("awsaccounts") && verb.verb == "patch" {
            self.harness.account_told(&self.account_name(), "SignedIn").await;
        }
        self.nudge().await;
        for object in self.current().await {
            match object.metadata.deletion_timestamp {
                Some(_) => self.harness.gone(&object.name_any()).await,
                None => drop(self.harness.ready(&object.name_any()).await),
            }
        }
        if verb.role == "restart" {
            self.restarted().await;
        }
    }

    /// Applies another connection; returns its name.
    async fn apply(&mut self, spec: Value) -> String {
        self.count += 1;
        let name = self.name();
        let mut object = self.harness.connection(&format!("{}-{}", self.harness.namespace, self.count), spec);
        object["metadata"]["name"] = json!(name);
        self.harness.apply(&object).await;
        name
    }

    /// The same, until it is Ready.
    async fn connect(&mut self, spec: Value) -> String {
        let name = self.apply(spec).await;
        self.harness.ready(&name).await;
        name
    }

    fn name(&self) -> String {
        format!("c{}", self.count)
    }

    /// The connections of the current case, and the one before.
    async fn current(&self) -> Vec<BucketConnection> {
        let mut objects = self.harness.objects().list(&ListParams::default()).await.unwrap().items;
        objects.retain(|object| object.name_any().trim_start_matches('c').parse::<usize>().unwrap() >= self.before);
        objects
    }

    /// Requests a reconcile of each of them.
    async fn nudge(&self) {
        let patch = Patch::Merge(json!({ "metadata": { "annotations": { REQUESTED_AT: format!("{}", fastrand::u64(..)) } } }));
        for object in self.current().await {
            // One that is being deleted may be gone by now.
            match self.harness.objects().patch(&object.name_any(), &PatchParams::default(), &patch).await {
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                patched => drop(patched.unwrap()),
            }
        }
    }

    fn account_name(&self) -> String {
        format!("{}-{}", self.harness.namespace, self.count)
    }

    async fn new_account(&mut self) {
        self.count += 1;
        self.account(&self.account_name()).await;
    }

    async fn account(&self, name: &str) {
        let spec = json!({ "accountId": "123456789012", "allowedNamespaces": [self.harness.rule(json!({}))] });
        self.harness.account(name, spec).await;
    }

    fn access(&self, resource: &str) -> Api<DynamicObject> {
        let kind = if resource == "roles" { "Role" } else { "RoleBinding" };
        dynamic(&self.harness, ("rbac.authorization.k8s.io", kind), Some(&self.harness.namespace))
    }

    /// A workload that asks to be restarted with each key of the connection.
    async fn workload(&self, resource: &str, connection: &str) {
        let pod =
            json!({ "metadata": { "labels": { "app": connection } }, "spec": { "containers": [{ "name": "c", "image": "i" }] } });
        let metadata = json!({ "name": connection, "labels": { "bucketconnection.dev/restart": connection } });
        let spec = json!({ "selector": { "matchLabels": { "app": connection } }, "serviceName": "s", "template": pod });
        let mut object = json!({ "metadata": metadata, "spec": spec });
        if resource != "statefulsets" {
            object["spec"].as_object_mut().unwrap().remove("serviceName");
        }
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        self.workloads(resource).create(&PostParams::default(), &object).await.unwrap();
    }

    fn workloads(&self, resource: &str) -> Api<DynamicObject> {
        let kind = match resource {
            "deployments" => "Deployment",
            "statefulsets" => "StatefulSet",
            _ => "DaemonSet",
        };
        dynamic(&self.harness, ("apps", kind), Some(&self.harness.namespace))
    }

    /// Each workload runs with the current key of its connection.
    async fn restarted(&self) {
        let end = Instant::now() + LIMIT;
        for resource in ["deployments", "statefulsets", "daemonsets"] {
            for workload in self.workloads(resource).list(&ListParams::default()).await.unwrap() {
                let name = workload.name_any();
                loop {
                    let live = self.workloads(resource).get(&name).await.unwrap();
                    let key = &live.data["spec"]["template"]["metadata"]["annotations"]["bucketconnection.dev/access-key-id"];
                    if *key == json!(self.harness.secret(&format!("{name}-s3")).await["AWS_ACCESS_KEY_ID"]) {
                        break;
                    }
                    assert!(Instant::now() < end, "{resource} {name} is not restarted: {key}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

/// Nothing is lost: the keys in AWS become exactly those in Secrets. They are read one after the other, while the
/// operator may be deleting one.
async fn keys_match(harness: &Harness) {
    let end = Instant::now() + LIMIT;
    loop {
        let (in_aws, in_secrets) = keys(harness).await;
        if in_aws == in_secrets {
            return;
        }
        assert!(Instant::now() < end, "keys in AWS: {in_aws:?}, in Secrets: {in_secrets:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The keys in AWS, and those in Secrets.
async fn keys(harness: &Harness) -> (BTreeSet<String>, BTreeSet<String>) {
    let mut in_aws = BTreeSet::new();
    let users = harness.iam().list_users().path_prefix("/bucketconnection/").send().await.unwrap();
    for user in users.users() {
        in_aws.extend(harness.keys(user.user_name()).await);
    }
    let managed = ListParams::default().labels("app.kubernetes.io/managed-by=bucketconnection");
    let secrets = harness.secrets().list(&managed).await.unwrap();
    let id = |secret: Secret| secret.data.and_then(|mut data| data.remove("AWS_ACCESS_KEY_ID"));
    (in_aws, secrets.into_iter().filter_map(id).map(|id| String::from_utf8(id.0).unwrap()).collect())
}

fn dynamic(harness: &Harness, (group, kind): (&str, &str), namespace: Option<&str>) -> Api<DynamicObject> {
    let api_version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
    let plural = format!("{}s", kind.to_lowercase());
    let resource = ApiResource { group: group.to_owned(), version: "v1".to_owned(), api_version, kind: kind.to_owned(), plural };
    match namespace {
        Some(namespace) => Api::namespaced_with(harness.client.clone(), namespace, &resource),
        None => Api::all_with(harness.client.clone(), &resource),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_permission_on_connections_and_secrets_is_needed() {
    let lane = Lane::new("rights", Stack::cluster(), listed).await;
    lane.each(|verb| verb.role == "connections").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_optional_permission_is_needed() {
    let lane = Lane::new("options", Stack::cluster(), listed).await;
    lane.each(|verb| verb.role == "access" || verb.role == "restart").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_permission_outside_the_listed_namespaces_is_needed() {
    let lane = Lane::new("outside", Stack::cluster(), listed).await;
    lane.each(|verb| verb.role == "reads" || verb.role == "system").await;
}

/// The verbs that only an operator of the whole cluster has, or has there in another way. The others are those of a
/// listed namespace, whose roles are made of the same rules.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_permission_in_the_whole_cluster_is_needed() {
    let stack = Stack::start("whole", &["--no-aws"]);
    let mut lane = Lane::new("whole", &stack, |_, system| whole_cluster(system)).await;
    lane.harness.whole_cluster = true;
    let cluster_wide = |verb: &Verb| verb.resource.starts_with("awsaccounts") || verb.resource == "namespaces";
    lane.each(|verb| {
        cluster_wide(verb) || verb.resource == "bucketconnections" && ["list", "watch"].contains(&verb.verb.as_str())
    })
    .await;
}

/// docs/permissions.md says what each verb is for; it lists those of the shipped roles, and no others.
#[test]
fn the_page_of_permissions_lists_the_shipped_verbs() {
    let page = std::fs::read_to_string(format!("{ROOT}/docs/permissions.md")).unwrap();
    let section = page.split("## In Kubernetes: the operator").nth(1).unwrap().split("\n## ").next().unwrap();
    let mut listed = Vec::new();
    for row in section.lines().filter(|line| line.starts_with("| `")) {
        let (resources, verbs) = row.trim_start_matches("| ").split(" | ").next().unwrap().rsplit_once(": ").unwrap();
        for resource in resources.split('`').skip(1).step_by(2) {
            listed.extend(verbs.split(", ").map(|verb| format!("{verb} {resource}")));
        }
    }
    let roles = [
        ("ClusterRole", "bucketconnection"),
        ("Role", "bucketconnection"),
        ("ClusterRole", "bucketconnection-access"),
        ("ClusterRole", "bucketconnection-restart"),
    ];
    let verbs = |(kind, name)| Role { name, namespace: None, rules: shipped(kind, name) }.verbs();
    let mut shipped: Vec<_> = roles.into_iter().flat_map(verbs).map(|verb| format!("{} {}", verb.verb, verb.resource)).collect();
    listed.sort();
    shipped.sort();
    assert_eq!(listed, shipped);
}
