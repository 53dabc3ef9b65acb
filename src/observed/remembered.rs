//! What our own status remembers of earlier passes. It is a hint, never a proof: the tags in AWS are.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::api::conditions::{ConditionType, Reason};
use crate::api::{BucketConnection, CredentialsStatus, PolicyStatus, REQUESTED_AT, Repeat, UserStatus};
use crate::desired::Desired;
use crate::observed::Secret;

/// What earlier passes found and did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Remembered {
    /// Whether any pass over this object has ended: before the first, creation is optimistic and nothing is looked at.
    pub seen: bool,
    /// ARN of the bucket, once it was ours.
    pub bucket_arn: Option<String>,
    /// The user, once it was ours.
    pub user: Option<UserStatus>,
    /// Policies that may be there: the one that was written last, and those of earlier specs.
    pub policies: Vec<PolicyStatus>,
    /// The key.
    pub credentials: CredentialsStatus,
    /// Names under which a Role and a RoleBinding of ours may be there.
    pub roles: Vec<String>,
    /// Parts that held for the current generation of the spec, or that drifted and could not be put right yet: what differs in
    /// them now was changed by somebody else.
    pub held: Vec<ConditionType>,
    /// Whether the key had a full proof for the current generation. Where one is being issued, that proof was another key's.
    pub verified: bool,
    /// The generation of the spec.
    pub generation: Option<i64>,
    /// Writes that the look of this pass may find undone.
    pub repeats: Vec<Repeat>,
    /// Whether somebody asked for a check, and this is it.
    pub asked: bool,
}

impl Remembered {
    /// What the status of `object` remembers.
    pub fn of(object: &BucketConnection) -> Self {
        let status = object.status.clone().unwrap_or_default();
        let find = |part: ConditionType, value: &str| {
            status.conditions.iter().find(|condition| {
                condition.type_ == part.to_string()
                    && condition.status == value
                    && condition.observed_generation == object.metadata.generation
            })
        };
        let is = |part: ConditionType, value: &str| find(part, value).is_some();
        let drifted = find(ConditionType::DriftDetected, "True").is_some_and(|c| c.reason == Reason::NotRepaired.to_string());
        // A part with a change that was never allowed did not hold.
        let wrong = |part: ConditionType| {
            find(part, "False")
                .is_some_and(|c| ![Reason::WouldWeaken, Reason::Observed].iter().any(|reason| c.reason == reason.to_string()))
        };
        let held = |part: &ConditionType| is(*part, "True") || (drifted && wrong(*part));
        let held: Vec<_> = ConditionType::PARTS.into_iter().filter(held).collect();
        let request = object.metadata.annotations.as_ref().and_then(|annotations| annotations.get(REQUESTED_AT));
        Self {
            generation: object.metadata.generation,
            asked: request.is_some() && request != status.last_handled_reconcile_at.as_ref(),
            repeats: status.repeats,
            seen: status.observed_generation.is_some(),
            bucket_arn: status.bucket.map(|bucket| bucket.arn),
            user: status.user,
            policies: status.policy.into_iter().chain(status.earlier_policies).collect(),
            verified: is(ConditionType::Verified, "True")
                && status.credentials.as_ref().is_none_or(|credentials| credentials.intent.is_none()),
            credentials: status.credentials.unwrap_or_default(),
            roles: status.permissions.unwrap_or_default().roles,
            held,
        }
    }

    /// Whether the managed policy `arn` was found to be ours.
    pub fn owns_policy(&self, arn: &str) -> bool {
        self.policies.iter().any(|policy| policy.arn.as_deref() == Some(arn) && policy.version.is_some())
    }

    /// Policies that may be there, other than the desired one.
    pub fn earlier_policies(&self, desired: &Desired) -> impl Iterator<Item = &PolicyStatus> {
        let identity = desired.policy.identity();
        self.policies.iter().filter(move |policy| !policy.is(&identity))
    }

    /// Secrets that may be there, other than the desired one.
    pub fn earlier_secrets<'a>(&'a self, desired: &'a Desired) -> impl Iterator<Item = &'a String> {
        let all = self.credentials.secret_name.iter().chain(&self.credentials.earlier_secrets);
        all.filter(|name| **name != desired.secret.name)
    }

    /// Names of Roles and RoleBindings to look at: none where no group is wanted and none was. A Secret that an earlier object
    /// retained may have readers that nobody remembers.
    pub fn access_names(&self, desired: &Desired, secret: &Secret) -> BTreeSet<String> {
        let retained = matches!(secret, Secret::Ours(secret) if !secret.claimed);
        let wanted = (retained || !desired.access.groups.is_empty()).then(|| desired.access.name.clone());
        self.roles.iter().cloned().chain(wanted).collect()
    }

    /// When the key that the status names was issued.
    pub fn key_created_at(&self) -> Option<Timestamp> {
        self.credentials.created_at.as_ref().map(|time| time.0)
    }
}
