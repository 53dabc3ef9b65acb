//! What our own status remembers of earlier passes. It is a hint, never a proof: the tags in AWS are.

use jiff::Timestamp;

use crate::api::conditions::ConditionType;
use crate::api::{BucketConnection, CredentialsStatus, PolicyStatus, UserStatus};

/// What earlier passes found and did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Remembered {
    /// Whether any pass over this object has ended: before the first, creation is optimistic and nothing is looked at.
    pub seen: bool,
    /// ARN of the bucket, once it was ours.
    pub bucket_arn: Option<String>,
    /// The user, once it was ours.
    pub user: Option<UserStatus>,
    /// The policy that was written last.
    pub policy: Option<PolicyStatus>,
    /// The key.
    pub credentials: CredentialsStatus,
    /// Parts that held for the current generation of the spec, or that drifted and could not be put right yet: what differs in
    /// them now was changed by somebody else.
    pub held: Vec<ConditionType>,
    /// Whether the key had a full proof for the current generation.
    pub verified: bool,
}

impl Remembered {
    /// What the status of `object` remembers.
    pub fn of(object: &BucketConnection) -> Self {
        let status = object.status.clone().unwrap_or_default();
        let is = |part: ConditionType, value: &str| {
            status.conditions.iter().any(|condition| {
                condition.type_ == part.to_string()
                    && condition.status == value
                    && condition.observed_generation == object.metadata.generation
            })
        };
        let drifted = is(ConditionType::DriftDetected, "True");
        let held = |part: &ConditionType| is(*part, "True") || (drifted && is(*part, "False"));
        let held: Vec<_> = ConditionType::PARTS.into_iter().filter(held).collect();
        Self {
            seen: status.observed_generation.is_some(),
            bucket_arn: status.bucket.map(|bucket| bucket.arn),
            user: status.user,
            policy: status.policy,
            credentials: status.credentials.unwrap_or_default(),
            verified: is(ConditionType::Verified, "True"),
            held,
        }
    }

    /// When the key that the status names was issued.
    pub fn key_created_at(&self) -> Option<Timestamp> {
        self.credentials.created_at.as_ref().map(|time| time.0)
    }
}
