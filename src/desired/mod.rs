//! First stage: turns a `BucketConnection` into the desired state of AWS and the Secret, with every name resolved and
//! validated.
//!
//! Pure. It reads nothing that exists.

pub mod claims;
mod document;
mod fingerprint;
pub mod management;
pub mod names;
pub mod presets;
mod proofs;
mod reaches;
mod resolve;
mod rotation;
mod statements;
pub mod tenancy;
mod validate;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::api::{AdoptionRule, ApprovedBy, DeletionPolicy, PolicyStatus, PolicyType, Preset};
use crate::settings::tags::{DesiredTags, Tags};
use crate::settings::{self, SettingId};
use crate::vocabulary::problem::Place;

pub use document::Document;
pub use management::Management;
pub use proofs::{CheckPlan, Proof, Proofs};
pub use resolve::{adapted, resolve};
pub use rotation::DesiredRotation;
pub use tenancy::Grant;
#[cfg(test)]
pub(crate) use validate::{DENIAL_RESERVE, characters};
pub use validate::{SpecError, account_errors, broken_account_rules, broken_connection_rules, change_errors};

/// The AWS account that the operator signs in to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Account {
    /// Account id: twelve digits.
    pub id: String,
    /// Partition: `aws`, `aws-cn`, ...
    pub partition: String,
}

/// The desired state. Every name in it is valid and cannot widen a policy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Desired {
    /// Value of the ownership tag of this connection.
    pub owner: String,
    /// The AWS account.
    pub account: Account,
    /// Region of the bucket.
    pub region: String,
    /// The bucket.
    pub bucket: DesiredBucket,
    /// The namespace. It distinguishes a tenant from an earlier one that had the same namespace name.
    pub namespace: DesiredNamespace,
    /// The IAM user.
    pub user: DesiredUser,
    /// Its policy.
    pub policy: DesiredPolicy,
    /// The preset.
    pub preset: Preset,
    /// Where the access key comes from.
    pub identity: Identity,
    /// The Secret.
    pub secret: DesiredSecret,
    /// When the operator rotates the key.
    pub rotation: DesiredRotation,
    /// Who can read the Secret.
    pub access: DesiredAccess,
    /// What to verify with the key, and what each verification shows.
    pub proofs: Proofs,
    /// What is enforced, observed or ignored.
    pub management: Management,
    /// The adoptions that are approved.
    pub approval: Approval,
    /// Whether the bucket has versions; `None` if that does not matter or the spec says so.
    pub versioned: Option<bool>,
    /// The deletion policy.
    pub deletion: DeletionPolicy,
    /// Whether deletion may destroy objects and foreign keys.
    pub force_destroy: Destroy,
    /// What the preset does not support here; shown, but not an error.
    pub limits: Option<String>,
}

impl Desired {
    /// Whether a new object may be created without reading first: everything is enforced, and nothing is adopted.
    pub fn may_create_blindly(&self) -> bool {
        let adopts = self.bucket.adopt || self.user.adopt || self.policy.adopt;
        self.management.enforces_all() && !adopts && self.identity.is_managed()
    }

    /// The tags that name the owner.
    pub fn marks(&self) -> Tags {
        marks(&self.owner, &self.namespace)
    }

    /// What the hints for a problem depend on.
    pub fn place(&self) -> Place {
        let path = Some(self.user.path.clone()).filter(|path| path != names::DEFAULT_PATH);
        Place { region: self.region.clone(), user_path: path }
    }

    /// A description of the owner in this ownership tag, for people. It never names an owner of another namespace.
    pub fn whose(&self, owner: &str) -> String {
        match (owner.rsplit_once('/'), self.owner.rsplit_once('/')) {
            (Some((theirs, name)), Some((ours, _))) if theirs == ours && ours.contains('/') => {
                format!("BucketConnection {name} of this namespace")
            }
            _ => "another BucketConnection".to_owned(),
        }
    }

    /// The key, for people.
    pub fn key(&self) -> String {
        match &self.identity {
            Identity::Managed => "the issued key".to_owned(),
            Identity::UserProvided { secret } => format!("the key in Secret {secret}"),
        }
    }
}

/// Where the access key comes from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Identity {
    /// The operator manages an IAM user, and issues its key into the connection's Secret.
    Managed,
    /// The user provides the key. The operator only verifies it: it manages no user, policy, Secret or access.
    UserProvided {
        /// Name of the user's Secret.
        secret: String,
    },
}

impl Identity {
    /// Whether the operator manages user, policy, key and Secret.
    pub fn is_managed(&self) -> bool {
        *self == Self::Managed
    }

    /// Name of the Secret with the user's own key.
    pub fn user_provided(&self) -> Option<&str> {
        match self {
            Self::Managed => None,
            Self::UserProvided { secret } => Some(secret),
        }
    }
}

/// The namespace of a connection.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DesiredNamespace {
    /// Value of its tag, `<uid of the cluster>/<uid of the namespace>`; `None` if the uid could not be read, for a
    /// preview.
    pub id: Option<String>,
    /// Whether it may continue to use what an earlier namespace of the same name managed.
    pub inherits: bool,
}

impl DesiredNamespace {
    /// Whether a resource with these tags belongs to this namespace, or to the same namespace in a cluster that was
    /// built again. A missing tag says nothing.
    pub fn is(&self, tags: &Tags) -> bool {
        let Some(id) = self.id.as_ref().filter(|_| !self.inherits) else { return true };
        let Some(tag) = tags.get(names::NAMESPACE_TAG) else { return false };
        let (Some(here), Some(there)) = (id.split_once('/'), tag.split_once('/')) else { return false };
        let known = here.0 != names::UNKNOWN_CLUSTER && there.0 != names::UNKNOWN_CLUSTER;
        // No two namespaces have the same uid, not even in different clusters.
        here.1 == there.1 || (known && here.0 != there.0)
    }
}

fn marks(owner: &str, namespace: &DesiredNamespace) -> Tags {
    let owner = std::iter::once((names::OWNER_TAG.to_owned(), owner.to_owned()));
    owner.chain(namespace.id.clone().map(|id| (names::NAMESPACE_TAG.to_owned(), id))).collect()
}

/// Who approves adoptions, and which adoptions are approved.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Approval {
    /// Whether the platform team approves, or the author of the connection.
    pub by: ApprovedBy,
    /// The hash of the plan that the author of the connection approved.
    pub own: Option<String>,
    /// Hashes of the plans that the platform team approved.
    pub keepers: Vec<String>,
}

impl Approval {
    fn of(own: Option<&String>, rule: &AdoptionRule) -> Self {
        Self { by: rule.approval, own: own.cloned(), keepers: rule.approved_plans.clone() }
    }

    /// Whether the plan with this hash may adopt something.
    pub fn covers(&self, hash: &String) -> bool {
        self.keepers.contains(hash) || (self.by == ApprovedBy::Connection && self.own.as_ref() == Some(hash))
    }
}

/// Whether deletion may destroy the contents of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Destroy {
    /// The spec does not ask for it.
    No,
    /// The spec asks for it, and the account does not allow it.
    NotAllowed,
    /// The spec asks for it, and the account allows it.
    Yes,
}

impl Destroy {
    fn of(asked: bool, allowed: bool) -> Self {
        match (asked, allowed) {
            (false, _) => Self::No,
            (true, false) => Self::NotAllowed,
            (true, true) => Self::Yes,
        }
    }
}

/// The desired bucket.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DesiredBucket {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// The key prefix that the connection is limited to; empty for the whole bucket.
    pub prefix: String,
    /// Its settings.
    pub settings: settings::Desired,
    /// Settings that may be weakened.
    pub allow_weaker: Vec<SettingId>,
    /// Whether an existing bucket may be adopted.
    pub adopt: bool,
}

/// The desired user.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DesiredUser {
    /// Its name.
    pub name: String,
    /// Its path.
    pub path: String,
    /// Its ARN.
    pub arn: String,
    /// Its tags.
    pub tags: DesiredTags,
    /// ARN of the managed policy that is its permissions boundary; `None` leaves the boundary unchanged.
    pub boundary: Option<String>,
    /// Whether the boundary comes from the account.
    pub boundary_of_account: bool,
    /// Whether an existing user may be adopted.
    pub adopt: bool,
}

/// The desired policy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DesiredPolicy {
    /// Inline or managed.
    pub kind: PolicyType,
    /// Its name.
    pub name: String,
    /// Its path, for a managed policy.
    pub path: String,
    /// Its ARN, for a managed policy.
    pub arn: String,
    /// Its document.
    pub document: Document,
    /// Whether an existing managed policy may be adopted.
    pub adopt: bool,
}

impl DesiredPolicy {
    /// The policy as the status names it, without a version.
    pub fn identity(&self) -> PolicyStatus {
        let arn = (self.kind == PolicyType::Managed).then(|| self.arn.clone());
        PolicyStatus { kind: self.kind, name: self.name.clone(), arn, id: None, version: None }
    }
}

/// The desired Secret, without the key.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DesiredSecret {
    /// Its name.
    pub name: String,
    /// Whether each key also has a Secret of its own.
    pub versioned: bool,
    /// Its fields that are not secret.
    pub fields: BTreeMap<&'static str, String>,
}

impl DesiredSecret {
    /// Name of the key's own Secret for the key with this number, if keys are versioned.
    pub fn own(&self, number: i64) -> Option<String> {
        self.versioned.then(|| names::version(&self.name, number))
    }

    /// Name of the Secret that holds the pending key while the current key has this number.
    pub fn pending(&self, number: Option<i64>) -> String {
        number.unwrap_or(1).checked_add(1).and_then(|next| self.own(next)).unwrap_or_else(|| names::pending(&self.name))
    }

    /// The same Secret under another name.
    pub fn named(&self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self.clone() }
    }
}

/// Who can read the Secret, through a Role and a RoleBinding of the same name.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DesiredAccess {
    /// Name of both.
    pub name: String,
    /// Kubernetes groups, sorted; if empty, neither object is desired.
    pub groups: Vec<String>,
}

#[cfg(test)]
mod tests;
