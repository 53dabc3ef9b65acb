//! The recorded state: what the status says about earlier reconciles. It is a hint, not evidence: the tags in AWS
//! decide.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::api::{
    BucketConnection, BucketStatus, CapabilityState, CredentialsStatus, IneffectiveWrite, PolicyStatus, PolicyType, REQUESTED_AT,
    REVOKE_AT, ROTATE_AT, UserStatus, VersioningStatus,
};
use crate::desired::{Desired, names};
use crate::observed::{Bucket, Ledger, Observed, Ownership, Secret, recall};
use crate::settings::Reading;
use crate::settings::tags::Tags;
use crate::vocabulary::conditions::ConditionType;

/// What earlier reconciles found and did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Remembered {
    /// Whether any reconcile of this object has ended: before the first one, creation is optimistic and nothing is
    /// read.
    pub seen: bool,
    /// The namespace, as the tags of managed resources have it.
    pub namespace: Option<String>,
    /// The bucket, once it was managed.
    pub bucket: Option<BucketStatus>,
    /// The user, once it was managed.
    pub user: Option<UserStatus>,
    /// Policies that may exist: the one that was written last, and those of earlier specs.
    pub policies: Vec<PolicyStatus>,
    /// The key.
    pub credentials: CredentialsStatus,
    /// Whether the status has lost what earlier reconciles knew of the user, or they never had a user.
    pub forgotten: bool,
    /// The Secret as AWS records it, where the status has forgotten it.
    pub recalled_secret: Option<String>,
    /// Names of managed Roles and RoleBindings that may exist.
    pub roles: Vec<String>,
    /// Fingerprints of what was written last, by section: a difference from it is drift.
    pub written: BTreeMap<String, String>,
    /// Whether the current or the previous key was fully verified for the current generation.
    pub verified: bool,
    /// Whether a verification is missing: it is tried again.
    pub unproven: bool,
    /// The known versioning of the bucket.
    pub versioning: Option<VersioningStatus>,
    /// The generation of the spec.
    pub generation: Option<i64>,
    /// Writes that this reconcile may find ineffective.
    pub ineffective_writes: Vec<IneffectiveWrite>,
    /// Whether a reconcile was requested, and this is it.
    pub asked: bool,
    /// Whether a rotation was requested.
    pub rotate: bool,
    /// Whether a revocation of all keys and sessions was requested.
    pub revoke: bool,
}

impl Remembered {
    /// What the status of `object` records.
    pub fn of(object: &BucketConnection) -> Self {
        let status = object.status.clone().unwrap_or_default();
        let is = |part: ConditionType, value: &str| {
            status.conditions.iter().any(|condition| {
                condition.type_ == part.to_string()
                    && condition.status == value
                    && condition.observed_generation == object.metadata.generation
            })
        };
        let credentials = status.memory.credentials.unwrap_or_default();
        let seen = status.observed_generation.is_some();
        let asked = |annotation: &str, handled: &Option<String>| {
            let request = object.metadata.annotations.as_ref().and_then(|annotations| annotations.get(annotation));
            request.is_some() && request != handled.as_ref()
        };
        Self {
            generation: object.metadata.generation,
            asked: asked(REQUESTED_AT, &status.last_handled_reconcile_at),
            // A key that was never issued cannot be rotated on request.
            rotate: seen && asked(ROTATE_AT, &credentials.last_handled_rotate_at),
            revoke: status.memory.user.is_some() && asked(REVOKE_AT, &credentials.last_handled_revoke_at),
            ineffective_writes: status.ineffective_writes,
            seen,
            namespace: status.memory.namespace_id,
            bucket: status.memory.bucket,
            forgotten: seen && status.memory.user.is_none(),
            recalled_secret: None,
            user: status.memory.user,
            policies: status.memory.policy.into_iter().chain(status.memory.earlier_policies).collect(),
            roles: status.memory.access.unwrap_or_default().roles,
            verified: is(ConditionType::Verified, "True"),
            credentials,
            unproven: status
                .capabilities
                .values()
                .any(|capability| matches!(capability.state, CapabilityState::Invalid | CapabilityState::Pending)),
            written: status.memory.written,
            versioning: status.memory.versioning,
        }
    }

    /// Whether AWS records a Secret with another name, if the status has no record of the user: then that Secret must
    /// be read too.
    pub fn recall_secret(&mut self, desired: &Desired, observed: &Observed) -> bool {
        let tags = observed.user.set().filter(|_| observed.forgot_user(desired, self)).map(|user| &user.tags);
        let recorded = tags.and_then(|tags| Ledger::of_tags(tags).secret);
        self.recalled_secret = recorded.filter(|name| *name != desired.secret.name && desired.identity.is_managed());
        self.recalled_secret.is_some()
    }

    /// Adds what AWS records (`ledger.rs`), if the status has no record of the user; `object` gets the same recorded
    /// state, as if its status had never lost it.
    pub fn recall(&mut self, object: &mut BucketConnection, desired: &Desired, observed: &Observed) {
        if observed.forgot_user(desired, self) {
            let found = left_policies(desired, observed);
            if !found.is_empty() {
                object.status.get_or_insert_default().memory.earlier_policies.extend(found.clone());
                self.policies.extend(found);
            }
        }
        let requested = object.metadata.annotations.as_ref().and_then(|annotations| annotations.get(REVOKE_AT));
        let credentials = recall(self, desired, observed, requested);
        if credentials != self.credentials {
            object.status.get_or_insert_default().memory.credentials = Some(credentials.clone());
            self.credentials = credentials;
        }
    }

    /// Whether to ask AWS for the creation date of the bucket: it is managed, or is about to be, and its date is not
    /// known yet; or it was managed, and its tag no longer says so.
    pub fn asks_creation(&self, desired: &Desired, bucket: &Bucket) -> bool {
        let known = self.bucket.as_ref().filter(|known| known.arn == desired.bucket.arn);
        match bucket.tags().map(|tags| Ownership::of(&tags, desired)) {
            // Observing alone records nothing.
            Some(Ownership::Ours) => known.is_none_or(|known| known.created.is_none()) && !desired.management.hands_off(),
            Some(Ownership::Untagged) => known.is_some() || desired.bucket.adopt,
            Some(Ownership::EarlierNamespace) => known.is_some(),
            Some(Ownership::Foreign(_)) | None => false,
        }
    }

    /// Whether the managed policy `arn`, with that id if it was read, is recorded as managed.
    pub fn owns_policy(&self, arn: &str, id: Option<&String>) -> bool {
        let same = |known: &PolicyStatus| known.id.as_ref().zip(id).is_none_or(|(known, id)| known == id);
        self.policies.iter().any(|known| known.arn.as_deref() == Some(arn) && known.version.is_some() && same(known))
    }

    /// The desired policy, if it may exist.
    pub fn policy(&self, desired: &Desired) -> Option<&PolicyStatus> {
        let identity = desired.policy.identity();
        self.policies.iter().find(|policy| policy.is(&identity))
    }

    /// Policies that may exist, other than the desired one.
    pub fn earlier_policies(&self, desired: &Desired) -> impl Iterator<Item = &PolicyStatus> {
        let identity = desired.policy.identity();
        self.policies.iter().filter(move |policy| !policy.is(&identity))
    }

    /// Secrets of earlier specs and of deleted keys that may exist, other than the desired one.
    pub fn earlier_secrets(&self, desired: &Desired, secret: &Secret) -> BTreeSet<String> {
        let credentials = &self.credentials;
        // In an interrupted rotation the current key's own Secret is about to become that of the previous key.
        let last = self.version_secret().filter(|_| credentials.pending.is_none());
        let own = self.own_secret(desired, secret);
        // The key's own Secret under another name may have been written just before a crash: no number reports it.
        let renamed =
            credentials.secret_name.as_ref().filter(|name| **name != desired.secret.name && credentials.version.is_none());
        let first = renamed.map(|name| names::version(name, 1));
        let named = credentials.secret_name.iter().chain(&credentials.earlier_secrets).chain(&self.recalled_secret);
        let all = named.cloned().chain(last).chain(first);
        all.filter(|name| *name != desired.secret.name && Some(name) != own.as_ref()).collect()
    }

    /// Number of the key in `secret`, if keys were ever versioned.
    pub fn number(&self, secret: &Secret) -> Option<i64> {
        secret.ours().and_then(|secret| secret.version).or(self.credentials.version)
    }

    /// Name of the own Secret of the key in `secret`, if keys are versioned.
    pub fn own_secret(&self, desired: &Desired, secret: &Secret) -> Option<String> {
        desired.secret.own(self.number(secret).unwrap_or(1))
    }

    /// Last known name of the current key's own Secret.
    pub fn version_secret(&self) -> Option<String> {
        let credentials = &self.credentials;
        Some(names::version(credentials.secret_name.as_ref()?, credentials.version?))
    }

    /// Every managed Secret that may exist, other than the desired one: also those that were written just before a
    /// crash, under names that follow from the known ones.
    pub fn all_secrets(&self, desired: &Desired, observed: &Observed) -> BTreeSet<String> {
        let main = &desired.secret.name;
        let known = std::iter::once((main, &observed.secret)).chain(&observed.earlier_secrets);
        let beside = known.flat_map(|(name, secret)| {
            let number = self.number(secret).unwrap_or(1);
            [names::version(name, number), names::version(name, number - 1), names::pending(name)]
        });
        self.secrets().into_iter().chain(beside).filter(|name| name != main).collect()
    }

    /// Every managed Secret that may exist.
    pub fn secrets(&self) -> BTreeSet<String> {
        let CredentialsStatus { secret_name, earlier_secrets, pending, previous, .. } = &self.credentials;
        let pending = pending.as_ref().map(|pending| pending.secret_name.clone());
        let previous = previous.as_ref().and_then(|previous| previous.secret_name.clone());
        let named = secret_name.clone().into_iter().chain(earlier_secrets.clone());
        named.chain(self.version_secret()).chain(previous).chain(pending).collect()
    }

    /// Names of Roles and RoleBindings to read: none if no group is desired and none was. A Secret that an earlier
    /// object retained, or that was written before the recorded state was lost, may have readers that are not recorded.
    pub fn access_names(&self, desired: &Desired, secret: &Secret) -> BTreeSet<String> {
        let retained = matches!(secret, Secret::Ours(secret) if !secret.claimed);
        let wanted = retained || self.forgotten || !desired.access.groups.is_empty();
        let wanted = wanted.then(|| desired.access.name.clone());
        let recalled = self.recalled_secret.as_ref().map(|secret| names::readers(secret));
        self.roles.iter().cloned().chain(wanted).chain(recalled).collect()
    }

    /// When the key in `secret` was issued.
    pub fn key_created_at(&self, secret: &Secret) -> Option<Timestamp> {
        let written = secret.ours().and_then(|secret| secret.key_created_at);
        written.or_else(|| self.credentials.created_at.as_ref().map(|time| time.0))
    }
}

/// Policies of earlier specs on a managed user, if the status has no record of the user: a managed policy by its tags,
/// an inline one by the operator's default name, or by the name that AWS records.
fn left_policies(desired: &Desired, observed: &Observed) -> Vec<PolicyStatus> {
    let identity = desired.policy.identity();
    let recorded = observed.user.set().and_then(|user| Ledger::of_tags(&user.tags).policy);
    let recorded = recorded.filter(|(kind, _)| *kind == PolicyType::Inline).map(|(_, name)| name);
    let named = |name: &&String| *name == names::INLINE_POLICY || Some(*name) == recorded.as_ref();
    let inline = observed.rights.set().into_iter().flat_map(|rights| &rights.inline).filter(named);
    let inline = inline.map(|name| (PolicyType::Inline, name.clone(), None));
    let ours = |tags: &Reading<Tags>| tags.set().is_some_and(|tags| Ownership::of(tags, desired) == Ownership::Ours);
    let managed = observed.earlier_policies.iter().filter(|(_, tags)| ours(tags)).map(|(arn, _)| {
        let name = arn.rsplit('/').next().unwrap_or_default().to_owned();
        (PolicyType::Managed, name, Some(arn.clone()))
    });
    let found = inline.chain(managed).map(|(kind, name, arn)| PolicyStatus { kind, name, arn, id: None, version: None });
    found.filter(|policy| !policy.is(&identity)).collect()
}
