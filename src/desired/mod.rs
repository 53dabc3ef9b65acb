//! First stage: a `BucketConnection` becomes what is wanted of AWS and of the Secret, with every name fixed and checked.
//!
//! Pure. What it does not do: look at anything that exists.

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
pub use tenancy::Terms;
#[cfg(test)]
pub(crate) use validate::{DENIAL_RESERVE, characters};
pub use validate::{SpecError, account_errors};

/// The AWS account that the operator signs in to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Account {
    /// Twelve digits.
    pub id: String,
    /// `aws`, `aws-cn`, ...
    pub partition: String,
}

/// What is wanted. Every name in it is valid and can widen no policy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Desired {
    /// Who we are: value of the ownership tag.
    pub owner: String,
    /// Where.
    pub account: Account,
    /// Region of the bucket.
    pub region: String,
    /// The bucket.
    pub bucket: DesiredBucket,
    /// The namespace, by which a tenant is told from one that had the name before.
    pub namespace: DesiredNamespace,
    /// The IAM user.
    pub user: DesiredUser,
    /// Its policy.
    pub policy: DesiredPolicy,
    /// What the connection is for.
    pub preset: Preset,
    /// Where the access key comes from.
    pub identity: Identity,
    /// The Secret.
    pub secret: DesiredSecret,
    /// When the key is replaced.
    pub rotation: DesiredRotation,
    /// Who may read the Secret.
    pub access: DesiredAccess,
    /// What to try with the key, and what that proves.
    pub proofs: Proofs,
    /// What is enforced, observed or ignored.
    pub management: Management,
    /// The takeovers that are approved.
    pub approval: Approval,
    /// Whether the bucket is taken to have versions; `None` where that does not matter, or the spec says so.
    pub versioned: Option<bool>,
    /// What to do on deletion.
    pub deletion: DeletionPolicy,
    /// Whether deletion may destroy objects and foreign keys.
    pub force_destroy: Destroy,
    /// What the preset cannot give here; shown, no error.
    pub limits: Option<String>,
}

impl Desired {
    /// Whether a brand-new object may be created without looking first: everything is enforced, and nothing taken over.
    pub fn may_create_blindly(&self) -> bool {
        let adopts = self.bucket.adopt || self.user.adopt || self.policy.adopt;
        self.management.enforces_all() && !adopts && self.identity.is_managed()
    }

    /// The tags that say whose something is.
    pub fn marks(&self) -> Tags {
        marks(&self.owner, &self.namespace)
    }

    /// What the advice on a problem depends on.
    pub fn place(&self) -> Place {
        let path = Some(self.user.path.clone()).filter(|path| path != names::DEFAULT_PATH);
        Place { region: self.region.clone(), user_path: path }
    }

    /// Whose something is that has this ownership tag, for people: a tenant is told no names of other namespaces.
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
    /// Value of its tag, `<uid of the cluster>/<uid of the namespace>`; `None` where the uid could not be read, for a preview.
    pub id: Option<String>,
    /// Whether it may go on with what an earlier namespace of its name had.
    pub inherits: bool,
}

impl DesiredNamespace {
    /// Whether what is tagged like this is of this namespace, or of the same one in a cluster that was built again. A tag that is missing
    /// says nothing.
    pub fn is(&self, tags: &Tags) -> bool {
        let Some(id) = self.id.as_ref().filter(|_| !self.inherits) else { return true };
        let Some(tag) = tags.get(names::NAMESPACE_TAG) else { return false };
        let (Some(here), Some(there)) = (id.split_once('/'), tag.split_once('/')) else { return false };
        let known = here.0 != names::UNKNOWN_CLUSTER && there.0 != names::UNKNOWN_CLUSTER;
        // No two namespaces have the same uid, in whatever clusters.
        here.1 == there.1 || (known && here.0 != there.0)
    }
}

fn marks(owner: &str, namespace: &DesiredNamespace) -> Tags {
    let owner = std::iter::once((names::OWNER_TAG.to_owned(), owner.to_owned()));
    owner.chain(namespace.id.clone().map(|id| (names::NAMESPACE_TAG.to_owned(), id))).collect()
}

/// Who approves takeovers, and which are approved.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Approval {
    /// Whether the account's keeper approves, or the author of the connection.
    pub by: ApprovedBy,
    /// The hash of the plan that the author of the connection approves.
    pub own: Option<String>,
    /// Hashes of the plans that the account's keeper approves.
    pub keepers: Vec<String>,
}

impl Approval {
    fn of(own: Option<&String>, rule: &AdoptionRule) -> Self {
        Self { by: rule.approval, own: own.cloned(), keepers: rule.approved_plans.clone() }
    }

    /// Whether the plan with this hash may take something over.
    pub fn covers(&self, hash: &String) -> bool {
        self.keepers.contains(hash) || (self.by == ApprovedBy::Connection && self.own.as_ref() == Some(hash))
    }
}

/// Whether deletion may destroy what is in a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Destroy {
    /// The spec does not ask for it.
    No,
    /// The spec asks for it, and the account does not allow it.
    NotAllowed,
    /// It may.
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

/// The bucket that is wanted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DesiredBucket {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// The part of it that the connection works on; empty for all.
    pub prefix: String,
    /// Its settings.
    pub settings: settings::Desired,
    /// Settings that may be made weaker.
    pub allow_weaker: Vec<SettingId>,
    /// Whether one that exists may be taken over.
    pub adopt: bool,
}

/// The user that is wanted.
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
    /// ARN of the managed policy that bounds its rights; `None` leaves that alone.
    pub boundary: Option<String>,
    /// Whether it is the account that sets it.
    pub boundary_of_account: bool,
    /// Whether one that exists may be taken over.
    pub adopt: bool,
}

/// The policy that is wanted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DesiredPolicy {
    /// Inline or managed.
    pub kind: PolicyType,
    /// Its name.
    pub name: String,
    /// Its path, for a managed one.
    pub path: String,
    /// Its ARN, for a managed one.
    pub arn: String,
    /// Its document.
    pub document: Document,
    /// Whether a managed one that exists may be taken over.
    pub adopt: bool,
}

impl DesiredPolicy {
    /// The policy as the status names it, of no known version.
    pub fn identity(&self) -> PolicyStatus {
        let arn = (self.kind == PolicyType::Managed).then(|| self.arn.clone());
        PolicyStatus { kind: self.kind, name: self.name.clone(), arn, id: None, version: None }
    }
}

/// The Secret that is wanted, without the key.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DesiredSecret {
    /// Its name.
    pub name: String,
    /// Whether each key is kept in a Secret of its own too.
    pub versioned: bool,
    /// Its fields that are not secret.
    pub fields: BTreeMap<&'static str, String>,
}

impl DesiredSecret {
    /// Name of the Secret that the key of this number has for itself, where keys are kept by version.
    pub fn own(&self, number: i64) -> Option<String> {
        self.versioned.then(|| names::version(&self.name, number))
    }

    /// Name of the Secret in which the pending key waits beside the current one, which has this number.
    pub fn pending(&self, number: Option<i64>) -> String {
        number.unwrap_or(1).checked_add(1).and_then(|next| self.own(next)).unwrap_or_else(|| names::pending(&self.name))
    }

    /// The same under another name.
    pub fn named(&self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self.clone() }
    }
}

/// Who may read the Secret, by a Role and a RoleBinding of one name.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DesiredAccess {
    /// Their name.
    pub name: String,
    /// Kubernetes groups, sorted; none: neither of the two is wanted.
    pub groups: Vec<String>,
}

#[cfg(test)]
mod tests;
