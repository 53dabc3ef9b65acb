//! Attacks by a tenant: a Kubernetes user with all permissions on BucketConnections and Secrets of its own namespace,
//! and none elsewhere.

mod brake;
mod cluster;
mod foreign;
mod load;
mod names;
mod namespaces;
mod rules;

use bucketconnection::api::BucketConnection;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::support::harness::{Harness, told};
use crate::support::merge::merge;

/// A tenant with a namespace, and the account of its harness.
struct Tenant {
    account: String,
    namespace: String,
    client: Client,
    objects: Api<BucketConnection>,
    secrets: Api<Secret>,
}

impl Tenant {
    /// A tenant of the namespace `namespace`: a user whose name begins with `user`.
    async fn new(harness: &Harness, user: &str, namespace: &str) -> Self {
        let user = &format!("{user}-{namespace}");
        let rule = |group: &str, resource: &str| json!({ "apiGroups": [group], "resources": [resource], "verbs": ["*"] });
        let metadata = json!({ "name": "tenant", "namespace": namespace });
        let role =
            json!({ "metadata": metadata, "rules": [rule("bucketconnection.dev", "bucketconnections"), rule("", "secrets")] });
        let reference = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "tenant" });
        let subject = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user });
        let binding = json!({ "metadata": metadata, "roleRef": reference, "subjects": [subject] });
        let roles: Api<k8s_openapi::api::rbac::v1::Role> = Api::namespaced(harness.client.clone(), namespace);
        let bindings: Api<k8s_openapi::api::rbac::v1::RoleBinding> = Api::namespaced(harness.client.clone(), namespace);
        roles.create(&PostParams::default(), &serde_json::from_value(role).unwrap()).await.unwrap();
        bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
        let client = client_as(harness, user).await;
        let (objects, secrets) = (Api::namespaced(client.clone(), namespace), Api::namespaced(client.clone(), namespace));
        Self { account: harness.namespace.clone(), namespace: namespace.to_owned(), client, objects, secrets }
    }

    /// A connection in the harness's own account.
    fn connection(&self, name: &str, bucket: &str, spec: Value) -> Value {
        let mut object = json!({
            "apiVersion": "bucketconnection.dev/v1alpha1",
            "kind": "BucketConnection",
            "metadata": { "name": name, "namespace": self.namespace },
            "spec": {
                "accountRef": { "name": self.account },
                "preset": "ReadWrite", "region": "us-east-1", "bucket": { "name": bucket, "prefix": "runs/" },
            },
        });
        merge(&mut object["spec"], spec);
        object
    }

    async fn apply(&self, object: &Value) -> Result<BucketConnection, String> {
        let name = object["metadata"]["name"].as_str().unwrap();
        let parameters = PatchParams::apply("tenant").force();
        self.objects.patch(name, &parameters, &Patch::Apply(object)).await.map_err(|error| error.to_string())
    }

    async fn patch(&self, name: &str, spec: Value) -> Result<BucketConnection, String> {
        let patch = Patch::Merge(json!({ "spec": spec }));
        self.objects.patch(name, &PatchParams::default(), &patch).await.map_err(|error| error.to_string())
    }

    /// Sets an annotation of an object.
    async fn annotate(&self, name: &str, annotation: &str, value: &str) {
        let patch = Patch::Merge(json!({ "metadata": { "annotations": { annotation: value } } }));
        self.objects.patch(name, &PatchParams::default(), &patch).await.unwrap();
    }
}

/// A client that acts as `user`.
async fn client_as(harness: &Harness, user: &str) -> Client {
    let kubeconfig = Kubeconfig::read_from(&harness.kubeconfig).unwrap();
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    config.auth_info.impersonate = Some(user.to_owned());
    Client::try_from(config).unwrap()
}

/// A harness with its own account, with this entry for its namespace.
async fn harness(name: &str, rule: Value) -> Harness {
    let harness = Harness::new(name).await;
    harness.account(&harness.namespace, json!({ "accountId": "123456789012", "allowedNamespaces": [harness.rule(rule)] })).await;
    harness
}

/// Reason and message of the object, once it is not ready.
async fn refused(harness: &Harness, name: &str) -> (String, String) {
    let (_, reason, message) = told(&harness.condition(name, "Stalled", "True").await, "Ready");
    (reason, message)
}

/// The cluster's id in ownership tags.
async fn uid(harness: &Harness) -> String {
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(harness.client.clone());
    namespaces.get("kube-system").await.unwrap().metadata.uid.unwrap()
}
