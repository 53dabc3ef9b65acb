//! Attacks by a tenant: a Kubernetes user with all rights on BucketConnections and Secrets of its own namespace, and none elsewhere.

use bucketconnection::api::BucketConnection;
use kube::api::{Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::support::lab::{Lab, told};
use crate::support::merge::merge;

/// A tenant with a namespace.
struct Tenant<'a> {
    lab: &'a Lab,
    namespace: String,
    objects: Api<BucketConnection>,
}

impl<'a> Tenant<'a> {
    /// The tenant `user` of the namespace `namespace`.
    async fn new(lab: &'a Lab, user: &str, namespace: &str) -> Self {
        let rule = |group: &str, resource: &str| json!({ "apiGroups": [group], "resources": [resource], "verbs": ["*"] });
        let metadata = json!({ "name": "tenant", "namespace": namespace });
        let role =
            json!({ "metadata": metadata, "rules": [rule("bucketconnection.dev", "bucketconnections"), rule("", "secrets")] });
        let reference = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "tenant" });
        let subject = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user });
        let binding = json!({ "metadata": metadata, "roleRef": reference, "subjects": [subject] });
        let roles: Api<k8s_openapi::api::rbac::v1::Role> = Api::namespaced(lab.client.clone(), namespace);
        let bindings: Api<k8s_openapi::api::rbac::v1::RoleBinding> = Api::namespaced(lab.client.clone(), namespace);
        roles.create(&PostParams::default(), &serde_json::from_value(role).unwrap()).await.unwrap();
        bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
        let kubeconfig = Kubeconfig::read_from(&lab.kubeconfig).unwrap();
        let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        config.auth_info.impersonate = Some(user.to_owned());
        let objects = Api::namespaced(Client::try_from(config).unwrap(), namespace);
        Self { lab, namespace: namespace.to_owned(), objects }
    }

    /// A connection of the lab's own account, named after its namespace.
    fn connection(&self, name: &str, bucket: &str, spec: Value) -> Value {
        let mut object = self.lab.connection(bucket, json!({ "accountRef": { "name": self.lab.namespace } }));
        object["metadata"] = json!({ "name": name, "namespace": self.namespace });
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
}

/// A lab with an account of its own, with this rule for its namespace.
async fn lab(name: &str, rule: Value) -> Lab {
    let lab = Lab::new(name).await;
    lab.account(&lab.namespace, json!({ "accountId": "123456789012", "allowedNamespaces": [lab.rule(rule)] })).await;
    lab
}

/// Why the object is not ready, once it is not: reason and message.
async fn refused(lab: &Lab, name: &str) -> (String, String) {
    let (_, reason, message) = told(&lab.condition(name, "Stalled", "True").await, "Ready");
    (reason, message)
}

#[tokio::test]
async fn a_lockdown_and_a_boundary_of_the_security_team_stay() {
    let lab = lab("lockdown", json!({})).await;
    let bob = Tenant::new(&lab, "bob", &lab.namespace).await;
    bob.apply(&bob.connection("imaging", "lockdown-data", json!({ "user": { "name": "imaging" } }))).await.unwrap();
    lab.ready("imaging").await;
    let (iam, s3) = (lab.iam(), lab.s3_with_key("imaging-s3", "us-east-1").await);
    let works = async || s3.delete_object().bucket("lockdown-data").key("runs/x").send().await.is_ok();
    assert!(works().await);
    // Not of what the key is proven with: else each check would be patient with it.
    let deny = json!({ "Effect": "Deny", "Action": "s3:DeleteObject", "Resource": "*" });
    let deny = json!({ "Version": "2012-10-17", "Statement": [deny] }).to_string();
    iam.put_user_policy().user_name("imaging").policy_name("SecurityLockdown").policy_document(&deny).send().await.unwrap();
    assert!(!works().await);

    bob.patch("imaging", json!({ "policy": { "name": "SecurityLockdown" } })).await.unwrap();
    let (reason, message) = refused(&lab, "imaging").await;
    assert_eq!(reason, "PolicyNotOwned", "{message}");
    bob.patch("imaging", json!({ "policy": null })).await.unwrap();
    lab.ready("imaging").await;
    let live = iam.get_user_policy().user_name("imaging").policy_name("SecurityLockdown").send().await.unwrap();
    assert!(live.policy_document().contains("Deny") && !works().await);
    let error = bob.patch("imaging", json!({ "policy": { "name": "bucketconnection-REVOKED" } })).await.unwrap_err();
    assert!(error.contains("policy.name must not be bucketconnection-revoked"), "{error}");

    iam.delete_user_policy().user_name("imaging").policy_name("SecurityLockdown").send().await.unwrap();
    let document = json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Action": "s3:*", "Resource": "*" }] });
    let policy = iam.create_policy().policy_name("security-boundary").policy_document(document.to_string()).send().await.unwrap();
    let arn = policy.policy.unwrap().arn.unwrap();
    iam.put_user_permissions_boundary().user_name("imaging").permissions_boundary(&arn).send().await.unwrap();
    lab.check("imaging").await;
    bob.patch("imaging", json!({ "user": { "permissionsBoundary": "arn:aws:iam::aws:policy/AdministratorAccess" } }))
        .await
        .unwrap();
    let (reason, message) = refused(&lab, "imaging").await;
    assert_eq!(reason, "BoundaryNotOwned", "{message}");
    let live = iam.get_user().user_name("imaging").send().await.unwrap().user.unwrap();
    assert_eq!(live.permissions_boundary.unwrap().permissions_boundary_arn, Some(arn));
}

#[tokio::test]
async fn observing_shows_nothing_of_another_tenants_bucket() {
    let lab = lab("observed", json!({ "names": ["*"] })).await;
    let owner = format!("{}/board/merger-with-acme", uid(&lab).await);
    lab.s3().create_bucket().bucket("observed-data").send().await.unwrap();
    let tag = |key: &str, value: &str| aws_sdk_s3::types::Tag::builder().key(key).value(value).build().unwrap();
    let tags = aws_sdk_s3::types::Tagging::builder()
        .tag_set(tag("bucketconnection.dev/owner", &owner))
        .tag_set(tag("project", "merger with ACME"))
        .build()
        .unwrap();
    lab.s3().put_bucket_tagging().bucket("observed-data").tagging(tags).send().await.unwrap();
    let bob = Tenant::new(&lab, "bob", &lab.namespace).await;
    bob.apply(&bob.connection("spy", "observed-data", json!({ "management": { "default": "Observe" } }))).await.unwrap();
    let (reason, message) = refused(&lab, "spy").await;
    assert_eq!(reason, "BucketNotOwned", "{message}");
    let status = json!(lab.get("spy").await.status).to_string().to_lowercase();
    assert!(!status.contains("merger") && !status.contains("board"), "{status}");
    // The operator's log tells whose it is.
    assert!(lab.log().contains("board/merger-with-acme"));
}

/// The cluster's id in ownership tags.
async fn uid(lab: &Lab) -> String {
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(lab.client.clone());
    namespaces.get("kube-system").await.unwrap().metadata.uid.unwrap()
}

#[tokio::test]
async fn an_object_that_can_never_become_valid_holds_no_name() {
    let lab = lab("squatter", json!({})).await;
    let bob = Tenant::new(&lab, "bob", &lab.namespace).await;
    let nonsense = json!({ "management": { "nonsense": "Ignore" } });
    bob.apply(&bob.connection("squatter", "squatted-data", nonsense)).await.unwrap();
    assert_eq!(refused(&lab, "squatter").await.0, "InvalidSpec");
    bob.apply(&bob.connection("honest", "squatted-data", json!({}))).await.unwrap();
    lab.ready("honest").await;
}
