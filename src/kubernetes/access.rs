//! The Role and the RoleBinding that let groups read the Secret; like the Secret, read by name, never listed or
//! watched.
//!
//! Kubernetes allows granting only permissions that the grantor has. The operator may read Secrets, so it needs no
//! permission to escalate.

use std::fmt::Debug;

use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::owned::Whose;
use super::{Kubernetes, MANAGER, call, find, named};
use crate::api::BucketConnection;
use crate::observed::{Access, Held, OwnBinding, OwnRole, RbacKind};
use crate::vocabulary::problem::Problem;

const RBAC: &str = "rbac.authorization.k8s.io";
const GROUP: &str = "Group";

impl Kubernetes {
    /// Reads Role and RoleBinding `name`, and determines their owner.
    pub async fn access(&self, object: &BucketConnection, name: &str) -> Access {
        let (role, binding) = futures::join!(
            self.held(object, RbacKind::Role, name, |role: Role, claimed| OwnRole { rules: json!(role.rules), claimed }),
            self.held(object, RbacKind::RoleBinding, name, |binding: RoleBinding, claimed| {
                let (groups, others): (Vec<_>, Vec<_>) =
                    binding.subjects.unwrap_or_default().into_iter().partition(|subject| subject.kind == GROUP);
                let mut groups: Vec<_> = groups.into_iter().map(|group| group.name).collect();
                groups.sort();
                let others = others.into_iter().map(|other| format!("{} {}", other.kind, other.name)).collect();
                OwnBinding { groups, others, role: format!("{} {}", binding.role_ref.kind, binding.role_ref.name), claimed }
            }),
        );
        Access { role, binding }
    }

    async fn held<K, T>(&self, object: &BucketConnection, kind: RbacKind, name: &str, own: impl Fn(K, bool) -> T) -> Held<T>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let api: Api<K> = self.beside(object);
        match find(&api, resource(kind), name).await {
            Ok(None) => Held::Absent,
            Err(problem) => Held::Unreadable(problem),
            Ok(Some(live)) => match self.whose(live.meta(), object) {
                Whose::Foreign(why) => Held::Foreign(why),
                Whose::Ours { claimed } => Held::Ours(own(live, claimed)),
            },
        }
    }

    /// Writes the Role that allows reading these `secrets`, and marks it as managed.
    pub async fn write_role(&self, object: &BucketConnection, name: &str, secrets: &[String]) -> Result<(), Problem> {
        let rest = json!({ "rules": OwnRole::rules_for(secrets) });
        self.apply_grant::<Role>(object, RbacKind::Role, name, rest).await
    }

    /// Binds `groups`, and no one else, to the Role of the same name.
    pub async fn write_role_binding(&self, object: &BucketConnection, name: &str, groups: &[String]) -> Result<(), Problem> {
        let subject = |group: &String| json!({ "apiGroup": RBAC, "kind": GROUP, "name": group });
        let rest = json!({
            "roleRef": { "apiGroup": RBAC, "kind": RbacKind::Role.to_string(), "name": name },
            "subjects": groups.iter().map(subject).collect::<Vec<_>>(),
        });
        self.apply_grant::<RoleBinding>(object, RbacKind::RoleBinding, name, rest).await
    }

    /// Server-side apply: foreign labels and annotations stay.
    async fn apply_grant<K>(&self, object: &BucketConnection, kind: RbacKind, name: &str, rest: Value) -> Result<(), Problem>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize,
    {
        let mut patch = rest;
        patch["apiVersion"] = json!(format!("{RBAC}/v1"));
        patch["kind"] = json!(kind.to_string());
        patch["metadata"] = self.claim(object, name, std::iter::empty());
        let parameters = PatchParams::apply(&format!("{MANAGER}/access")).force();
        let api: Api<K> = self.beside(object);
        let action = format!("patch {}", resource(kind));
        named(&action, name)?;
        let live = call(&action, api.patch(name, &parameters, &Patch::Apply(patch))).await?;
        self.disown(&api, resource(kind), live.meta()).await
    }

    /// Deletes a Role or RoleBinding, if it is still managed.
    pub async fn delete_rbac(&self, object: &BucketConnection, kind: RbacKind, name: &str) -> Result<(), Problem> {
        match kind {
            RbacKind::Role => self.delete::<Role>(&self.beside(object), resource(kind), object, name).await,
            RbacKind::RoleBinding => self.delete::<RoleBinding>(&self.beside(object), resource(kind), object, name).await,
        }
    }

    /// Marks a Role or RoleBinding as released: it outlives the object.
    pub async fn release_rbac(&self, object: &BucketConnection, kind: RbacKind, name: &str) -> Result<(), Problem> {
        match kind {
            RbacKind::Role => self.release::<Role>(&self.beside(object), resource(kind), object, name).await,
            RbacKind::RoleBinding => self.release::<RoleBinding>(&self.beside(object), resource(kind), object, name).await,
        }
    }

    fn beside<K>(&self, object: &BucketConnection) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &object.namespace().unwrap_or_default())
    }
}

/// The resource as RBAC spells it.
fn resource(kind: RbacKind) -> &'static str {
    match kind {
        RbacKind::Role => "roles",
        RbacKind::RoleBinding => "rolebindings",
    }
}
