//! Attacks by a tenant: a Kubernetes user with all rights on BucketConnections and Secrets of its own namespace, and none elsewhere.

use bucketconnection::api::BucketConnection;
use kube::api::{Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::support::lab::{Lab, told};
use crate::support::merge::merge;

/// A tenant with a namespace, and the account of its lab.
pub struct Tenant {
    account: String,
    namespace: String,
    pub objects: Api<BucketConnection>,
}

impl Tenant {
    /// The tenant `user` of the namespace `namespace`.
    pub async fn new(lab: &Lab, user: &str, namespace: &str) -> Self {
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
        Self { account: lab.namespace.clone(), namespace: namespace.to_owned(), objects }
    }

    /// A connection in the lab's own account.
    pub fn connection(&self, name: &str, bucket: &str, spec: Value) -> Value {
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

    pub async fn apply(&self, object: &Value) -> Result<BucketConnection, String> {
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
pub async fn refused(lab: &Lab, name: &str) -> (String, String) {
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
pub async fn uid(lab: &Lab) -> String {
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

/// Attributes that policies go by, and what cannot be undone: none of it without a rule, and none of it with a call to AWS.
#[tokio::test]
async fn what_no_rule_lists_a_plain_tenant_does_not_get() {
    let lab = Lab::new("plain").await;
    let rule = json!({ "names": [lab.namespace], "buckets": ["plain-*"], "regions": ["us-east-1"], "presets": ["ReadWrite", "IlluminaICA"] });
    let defaults = json!({ "tags": { "team": "platform", "cost-center": "4711" } });
    lab.account(&lab.namespace, json!({ "defaults": defaults, "allowedNamespaces": [rule] })).await;
    let bob = Tenant::new(&lab, "bob", &lab.namespace).await;
    let open = json!({ "blockPublicAcls": false, "blockPublicPolicy": false, "ignorePublicAcls": false, "restrictPublicBuckets": false });
    for (name, spec, expected) in [
        (
            "tags",
            json!({ "user": { "tags": { "clearance": "top", "Team": "security" } }, "bucket": { "tags": { "backup": "never" } } }),
            "bucket.tags backup (tags: none); user.tags Team (the account sets it; needs tags: [Team]); user.tags clearance (tags: none)",
        ),
        (
            "open",
            json!({ "bucket": { "publicAccessBlock": open, "ownership": "ObjectWriter", "allowWeaker": ["publicAccessBlock", "ownership"] } }),
            "needs weaken: [publicAccessBlock]",
        ),
        (
            "locked",
            json!({ "bucket": { "versioning": "Enabled", "objectLock": { "mode": "COMPLIANCE", "years": 100 } } }),
            "needs complianceRetention: true",
        ),
        ("copied", json!({ "preset": "IlluminaICA", "illuminaICA": { "crossAccountCopy": {} } }), "needs crossAccountCopy: true"),
        ("destroyer", json!({ "deletionPolicy": "Delete", "forceDestroy": true }), "needs forceDestroy: true"),
        (
            "unbound",
            json!({ "user": { "permissionsBoundary": "arn:aws:iam::aws:policy/AdministratorAccess" } }),
            "user.permissionsBoundary arn:aws:iam::aws:policy/AdministratorAccess (allowed: none)",
        ),
        (
            "hasty",
            json!({ "resyncInterval": "10s", "credentials": { "rotation": { "interval": "10s" } } }),
            "minRotationInterval: 3600s",
        ),
    ] {
        lab.proxy.take();
        bob.apply(&bob.connection(name, &format!("plain-{name}"), spec)).await.unwrap();
        let (reason, message) = refused(&lab, name).await;
        assert_eq!(reason, "NotAllowed");
        assert!(message.contains(expected), "{name}: {message}");
        assert_eq!(lab.proxy.take(), [], "{name}");
    }
}

/// Deletion asks no rules, but a tenant who was never allowed to destroy objects must not get there by deleting.
#[tokio::test]
async fn forced_destruction_is_not_to_be_had_in_the_moment_of_deletion() {
    let mut lab = lab("destroy", json!({ "forceDestroy": false })).await;
    let bob = Tenant::new(&lab, "bob", &lab.namespace).await;
    bob.apply(&bob.connection("c", "destroy-data", json!({ "deletionPolicy": "Delete" }))).await.unwrap();
    lab.ready("c").await;
    lab.s3().put_object().bucket("destroy-data").key("runs/a").send().await.unwrap();
    lab.kill();
    bob.patch("c", json!({ "forceDestroy": true })).await.unwrap();
    bob.objects.delete("c", &Default::default()).await.unwrap();
    lab.start();
    let (reason, message) = refused(&lab, "c").await;
    assert_eq!(reason, "BucketNotEmpty", "{message}");
    assert!(message.contains("forceDestroy is not allowed here by the AWSAccount"), "{message}");
    lab.s3().get_object().bucket("destroy-data").key("runs/a").send().await.unwrap();
}

/// A key with s3:* on its own bucket could make the bucket another tenant's, or nobody's, and manage the KMS key of all.
#[tokio::test]
async fn a_custom_policy_reaches_neither_the_ownership_tag_nor_the_key_of_all_tenants() {
    let lab = Lab::new("trojan").await;
    let kms = "arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    let rule = lab.rule(json!({ "actions": null }));
    lab.account(&lab.namespace, json!({ "defaults": { "kmsKeyArn": kms }, "allowedNamespaces": [rule] })).await;
    let sam = Tenant::new(&lab, "sam", &lab.namespace).await;
    let custom =
        |statement: Value| json!({ "preset": "Custom", "policy": { "statements": [statement] }, "user": { "name": "sam" } });
    sam.apply(&sam.connection("trojan", "trojan-data", custom(json!({ "actions": ["s3:*"] })))).await.unwrap();
    lab.ready("trojan").await;
    let s3 = lab.s3_with_key("trojan-s3", "us-east-1").await;
    s3.put_object().bucket("trojan-data").key("runs/a").send().await.unwrap();
    let tag = aws_sdk_s3::types::Tag::builder().key("bucketconnection.dev/owner").value("other").build().unwrap();
    let tagging = aws_sdk_s3::types::Tagging::builder().tag_set(tag).build().unwrap();
    let stolen = s3.put_bucket_tagging().bucket("trojan-data").tagging(tagging).send().await;
    assert!(format!("{stolen:?}").contains("AccessDenied"), "{stolen:?}");
    let deleted = s3.delete_bucket_tagging().bucket("trojan-data").send().await;
    assert!(format!("{deleted:?}").contains("AccessDenied"), "{deleted:?}");
    for (statement, expected) in [
        (json!({ "actions": ["s3:PutBucketTagging"] }), "policy.statements[0].actions s3:PutBucketTagging (actions: none)"),
        (json!({ "actions": ["kms:*"], "resources": [kms] }), "kms:* cannot be allowed: of a KMS key only"),
    ] {
        sam.patch("trojan", custom(statement)).await.unwrap();
        let (_, message) = refused(&lab, "trojan").await;
        assert!(message.contains(expected), "{message}");
    }
    sam.patch("trojan", custom(json!({ "actions": ["kms:Decrypt"], "resources": [kms] }))).await.unwrap();
    lab.condition("trojan", "PolicyInSync", "True").await;
    let policy = lab.iam().get_user_policy().user_name("sam").policy_name("bucketconnection").send().await.unwrap();
    let document = percent_encoding::percent_decode_str(policy.policy_document()).decode_utf8().unwrap().into_owned();
    for expected in ["s3.us-east-1.amazonaws.com", "kms:EncryptionContext:aws:s3:arn", "arn:aws:s3:::trojan-data"] {
        assert!(document.contains(expected), "{document}");
    }
}

/// A user that somebody else made keeps its rights to itself, and a bucket that was there before keeps its objects.
#[tokio::test]
async fn adoption_gives_no_more_than_it_says() {
    let lab = lab("adopter", json!({ "adoption": { "approval": "Account" } })).await;
    let bob = Tenant::new(&lab, "bob", &lab.namespace).await;
    let ci = format!("{}.ci", lab.namespace);
    lab.iam().create_user().user_name(&ci).path("/bucketconnection/").send().await.unwrap();
    let wide = json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Action": "iam:*", "Resource": "*" }] });
    lab.iam().put_user_policy().user_name(&ci).policy_name("admin").policy_document(wide.to_string()).send().await.unwrap();
    bob.apply(&bob.connection("ci", "adopter-new", json!({ "user": { "adopt": true } }))).await.unwrap();
    let (reason, message) = refused(&lab, "ci").await;
    assert!(reason == "UserNotOwned" && message.contains("inline policy admin"), "{message}");
    assert!(lab.keys(&ci).await.is_empty());

    lab.s3().create_bucket().bucket("adopter-archive").send().await.unwrap();
    lab.s3().put_object().bucket("adopter-archive").key("old").send().await.unwrap();
    let spec = json!({ "bucket": { "adopt": true, "versioning": "Enabled" }, "deletionPolicy": "Delete", "forceDestroy": true });
    bob.apply(&bob.connection("archive", "adopter-archive", spec)).await.unwrap();
    let object = lab.until("archive", "a plan", |o| o.status.as_ref().is_some_and(|status| status.adoption.is_some())).await;
    let hash = object.status.unwrap().adoption.unwrap().plan_hash;
    // What a tenant approves for itself, nobody has approved.
    bob.patch("archive", json!({ "approvedPlan": hash })).await.unwrap();
    let (reason, message) = refused(&lab, "archive").await;
    assert!(
        reason == "AwaitingApproval" && message.contains(&format!("have {hash} added to adoption.approvedPlans")),
        "{message}"
    );
    let rule = lab.rule(json!({ "adoption": { "approval": "Account", "approvedPlans": [hash] } }));
    lab.account(&lab.namespace, json!({ "accountId": "123456789012", "allowedNamespaces": [rule] })).await;
    lab.ready("archive").await;
    bob.objects.delete("archive", &Default::default()).await.unwrap();
    let (reason, message) = refused(&lab, "archive").await;
    assert!(reason == "BucketNotEmpty" && message.contains("it was there before this BucketConnection"), "{message}");
    lab.s3().get_object().bucket("adopter-archive").key("old").send().await.unwrap();
}
