//! An operator with its own ServiceAccount, token and roles, and roles that lack one verb.

use std::path::Path;
use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::config::Kubeconfig;
use kube::{Api, Client};
use serde_json::{Value, json};

use super::super::chart::{NAMESPACE, template};
use crate::support::harness::{Harness, LIMIT};
use crate::support::stack::ROOT;

const RBAC: &str = "rbac.authorization.k8s.io";
/// Name of the ServiceAccount, as in the shipped manifests.
const NAME: &str = "bucketconnection";

/// The rules of the shipped (Cluster)Role of this name. Overlays of other modes repeat names, so they do not count.
pub fn shipped(kind: &str, name: &str) -> Vec<PolicyRule> {
    let mut found = Vec::new();
    collect(Path::new(&format!("{ROOT}/deploy/kubernetes")), &mut found);
    let mut fit = found.into_iter().filter(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    let rules = fit.next().unwrap_or_else(|| panic!("deploy/kubernetes has no {kind} {name}"))["rules"].take();
    assert!(fit.next().is_none(), "deploy/kubernetes has several {kind}s {name}");
    serde_json::from_value(rules).unwrap()
}

fn collect(folder: &Path, found: &mut Vec<Value>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let place = entry.unwrap().path();
        if place.is_dir() && place.file_name().unwrap() != "overlays" {
            collect(&place, found);
        } else if place.extension().is_some_and(|end| end == "yaml") {
            found.extend(serde_saphyr::from_multiple::<Value>(&std::fs::read_to_string(&place).unwrap()).unwrap());
        }
    }
}

/// A verb that a role allows.
#[derive(Clone, Debug, PartialEq)]
pub struct Verb {
    pub role: String,
    pub group: String,
    pub resource: String,
    pub verb: String,
    /// The only objects, by name, for which the operator has it; all, if there are none.
    pub names: Vec<String>,
    /// Namespace in which the operator has it; the whole cluster, if there is none.
    pub namespace: Option<String>,
}

impl Verb {
    /// How the API server says that it is missing.
    pub fn missing(&self) -> String {
        // The API server names the namespace itself as the place.
        if self.resource == "namespaces" {
            return format!("cannot {} resource \"namespaces\" in API group \"\" in the namespace \"", self.verb);
        }
        let place =
            self.namespace.as_ref().map_or("at the cluster scope".to_owned(), |name| format!("in the namespace \"{name}\""));
        format!("cannot {} resource \"{}\" in API group \"{}\" {place}", self.verb, self.resource, self.group)
    }
}

/// A role of the operator: bound in a namespace or, without one, in the whole cluster.
#[derive(Clone)]
pub struct Role {
    pub name: &'static str,
    pub namespace: Option<String>,
    pub rules: Vec<PolicyRule>,
}

impl Role {
    pub fn verbs(&self) -> Vec<Verb> {
        let mut verbs = Vec::new();
        for rule in &self.rules {
            for resource in rule.resources.iter().flatten() {
                verbs.extend(rule.verbs.iter().map(|verb| Verb {
                    role: self.name.to_owned(),
                    group: rule.api_groups.clone().unwrap().concat(),
                    resource: resource.clone(),
                    verb: verb.clone(),
                    names: rule.resource_names.clone().unwrap_or_default(),
                    namespace: self.namespace.clone(),
                }));
            }
        }
        verbs
    }

    /// The rules, without some verbs.
    fn without(&self, missing: &[Verb]) -> Vec<Value> {
        let kept = self.verbs().into_iter().filter(|verb| !missing.contains(verb));
        let rule = |verb: Verb| {
            let mut rule = json!({ "apiGroups": [verb.group], "resources": [verb.resource], "verbs": [verb.verb] });
            if !verb.names.is_empty() {
                rule["resourceNames"] = json!(verb.names);
            }
            rule
        };
        kept.map(rule).collect()
    }
}

/// The roles of an operator of the whole cluster.
pub fn whole_cluster(system: &str) -> Vec<Role> {
    vec![
        Role { name: "cluster", namespace: None, rules: shipped("ClusterRole", NAME) },
        Role { name: "system", namespace: Some(system.to_owned()), rules: shipped("Role", NAME) },
    ]
}

/// The roles of an operator of one listed namespace.
pub fn listed(namespace: &str, system: &str) -> Vec<Role> {
    listed_in(&[namespace], system)
}

/// The roles of an operator of listed namespaces, as the bindings of the chart grant them.
pub fn listed_in(namespaces: &[&str], system: &str) -> Vec<Role> {
    let list = namespaces.join(",");
    let (watch, restart) = (format!("watch.namespaces={{{list}}}"), format!("restart.namespaces={{{list}}}"));
    let text = template(&["--skip-tests", "--set", "crds.install=false", "--set", &watch, "--set", &restart]);
    let objects = serde_saphyr::from_multiple::<Value>(&text).unwrap();
    let bindings = objects.iter().filter(|object| object["kind"].as_str().unwrap_or_default().ends_with("RoleBinding"));
    bindings
        .map(|binding| {
            let subject = json!({ "kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE });
            assert_eq!(binding["subjects"], json!([subject]));
            let (reference, place) = (&binding["roleRef"], &binding["metadata"]["namespace"]);
            let bound = |role: &&Value| {
                let here = role["kind"] == "ClusterRole" || role["metadata"]["namespace"] == *place;
                here && role["kind"] == reference["kind"] && role["metadata"]["name"] == reference["name"]
            };
            let role = objects.iter().find(bound).unwrap_or_else(|| panic!("no role for {binding}"));
            let namespace = place.as_str().map(|place| if place == NAMESPACE { system } else { place }.to_owned());
            let name = match (reference["name"].as_str().unwrap(), &namespace) {
                ("bucketconnection", None) => "reads",
                ("bucketconnection", Some(_)) => "system",
                ("bucketconnection-connections", _) => "connections",
                ("bucketconnection-access", _) => "access",
                ("bucketconnection-restart", _) => "restart",
                (other, _) => panic!("another role: {other}"),
            };
            Role { name, namespace, rules: serde_json::from_value(role["rules"].clone()).unwrap() }
        })
        .collect()
}

/// The roles of one operator, as granted.
pub struct Granted {
    client: Client,
    /// Part of the names of its cluster-wide objects.
    prefix: String,
    /// Its own namespace.
    pub system: String,
    pub roles: Vec<Role>,
}

impl Granted {
    /// Creates the operator's own namespace and ServiceAccount, grants it the roles, and makes the harness's operators use
    /// it.
    pub async fn new(harness: &mut Harness, roles: impl Fn(&str, &str) -> Vec<Role>) -> Self {
        let system = format!("{}-system", harness.namespace);
        let namespace: k8s_openapi::api::core::v1::Namespace =
            serde_json::from_value(json!({ "metadata": { "name": system } })).unwrap();
        Api::all(harness.client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
        let roles = roles(&harness.namespace, &system);
        let granted = Self { client: harness.client.clone(), prefix: harness.namespace.clone(), system, roles };
        let accounts: Api<ServiceAccount> = Api::namespaced(harness.client.clone(), &granted.system);
        let account: ServiceAccount = serde_json::from_value(json!({ "metadata": { "name": NAME } })).unwrap();
        accounts.create(&PostParams::default(), &account).await.unwrap();
        let token: TokenRequest = serde_json::from_value(json!({ "spec": { "audiences": [] } })).unwrap();
        let token = accounts.create_token_request(NAME, &PostParams::default(), &token).await.unwrap().status.unwrap().token;
        let mut kubeconfig = serde_json::to_value(Kubeconfig::read_from(&harness.kubeconfig).unwrap()).unwrap();
        kubeconfig["users"][0]["user"] = json!({ "token": token });
        let place = harness.directory.join("own.kubeconfig");
        std::fs::write(&place, kubeconfig.to_string()).unwrap();
        harness.operator_kubeconfig = place.to_str().unwrap().to_owned();
        harness.environment.insert("BUCKETCONNECTION_OPERATOR_NAMESPACE".to_owned(), granted.system.clone());
        for role in &granted.roles {
            granted.bind(role).await;
        }
        granted.give_back().await;
        granted
    }

    /// Grants another role.
    pub async fn add(&mut self, role: Role) {
        self.bind(&role).await;
        self.roles.push(role);
        self.give_back().await;
    }

    pub fn verbs(&self) -> Vec<Verb> {
        self.roles.iter().flat_map(Role::verbs).collect()
    }

    /// Removes these verbs, until the API server denies them.
    pub async fn remove(&self, missing: &[Verb]) {
        for role in self.roles.iter().filter(|role| missing.iter().any(|verb| verb.role == role.name)) {
            self.write(role, &role.without(missing)).await;
        }
        for verb in missing {
            self.wait_until(verb, false).await;
        }
    }

    /// Grants everything again, until the API server allows it.
    pub async fn give_back(&self) {
        for role in &self.roles {
            self.write(role, &role.without(&[])).await;
        }
        for verb in self.verbs() {
            self.wait_until(&verb, true).await;
        }
    }

    async fn write(&self, role: &Role, rules: &[Value]) {
        self.apply(role, if role.namespace.is_some() { "Role" } else { "ClusterRole" }, json!({ "rules": rules })).await;
    }

    async fn bind(&self, role: &Role) {
        let (kind, of) = if role.namespace.is_some() { ("RoleBinding", "Role") } else { ("ClusterRoleBinding", "ClusterRole") };
        let reference = json!({ "apiGroup": RBAC, "kind": of, "name": self.name(role) });
        let subject = json!({ "kind": "ServiceAccount", "name": NAME, "namespace": self.system });
        self.apply(role, kind, json!({ "roleRef": reference, "subjects": [subject] })).await;
    }

    fn name(&self, role: &Role) -> String {
        format!("{}-{}", self.prefix, role.name)
    }

    async fn apply(&self, role: &Role, kind: &str, mut object: Value) {
        object["apiVersion"] = json!(format!("{RBAC}/v1"));
        object["kind"] = json!(kind);
        object["metadata"] = json!({ "name": self.name(role) });
        let resource = ApiResource {
            group: RBAC.to_owned(),
            version: "v1".to_owned(),
            api_version: format!("{RBAC}/v1"),
            kind: kind.to_owned(),
            plural: format!("{}s", kind.to_lowercase()),
        };
        let api: Api<DynamicObject> = match &role.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        };
        api.patch(&self.name(role), &PatchParams::apply("test").force(), &Patch::Apply(&object)).await.unwrap();
    }

    /// The API server reads roles from a cache.
    async fn wait_until(&self, verb: &Verb, allowed: bool) {
        let (resource, subresource) = verb.resource.split_once('/').unwrap_or((&verb.resource, ""));
        let attributes = ResourceAttributes {
            group: Some(verb.group.clone()),
            resource: Some(resource.to_owned()),
            subresource: Some(subresource.to_owned()),
            verb: Some(verb.verb.clone()),
            namespace: verb.namespace.clone(),
            name: verb.names.last().cloned(),
            ..ResourceAttributes::default()
        };
        let spec = SubjectAccessReviewSpec {
            user: Some(format!("system:serviceaccount:{}:{NAME}", self.system)),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        };
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let end = Instant::now() + LIMIT;
        while Api::all(self.client.clone()).create(&PostParams::default(), &review).await.unwrap().status.unwrap().allowed
            != allowed
        {
            assert!(Instant::now() < end, "{verb:?} is not {}", if allowed { "allowed" } else { "denied" });
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
