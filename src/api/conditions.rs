//! Condition types and reasons: closed sets, documented in docs/reference.md.

use std::fmt;

/// Types of our conditions. `Ready`, `Reconciling` and `Stalled` are those of kstatus
/// (<https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md>); each other type stands for one part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[allow(missing_docs)]
pub enum ConditionType {
    Ready,
    Reconciling,
    Stalled,
    AccountReady,
    RegionMatched,
    BucketReady,
    CORSInSync,
    UserReady,
    PolicyInSync,
    CredentialsReady,
    Verified,
    AccessInSync,
    RotationComplete,
    RevocationComplete,
    DriftDetected,
}

impl ConditionType {
    /// The parts that must all hold for `Ready`, in the order in which a failing one explains the others.
    pub const PARTS: [Self; 9] = [
        Self::AccountReady,
        Self::RegionMatched,
        Self::BucketReady,
        Self::CORSInSync,
        Self::UserReady,
        Self::PolicyInSync,
        Self::CredentialsReady,
        Self::Verified,
        Self::AccessInSync,
    ];
}

impl fmt::Display for ConditionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Reasons of our conditions and Events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum Reason {
    /// The whole connection works.
    Connected,
    /// This part is as the spec wants it.
    InSync,
    /// The spec leaves this part alone.
    NotManaged,
    /// No change by others was found.
    NoDrift,
    /// A change by others was found and put right.
    Repaired,
    /// A change by others was found and could not be put right yet.
    NotRepaired,
    /// Nothing has to be done by a person.
    NotStalled,
    /// Nothing is under way.
    Settled,
    /// Work is under way.
    Progressing,
    /// Waits for another part, which says why.
    Waiting,
    /// The new key has not reached all of AWS yet.
    KeyPropagating,
    /// It differs, and is only observed.
    Observed,
    /// Something that exists already would be changed by taking it over, which nobody has approved.
    AwaitingApproval,
    /// An access key was issued.
    KeyIssued,
    /// The Secret got the next access key.
    KeyRotated,
    /// An access key was deleted.
    KeyDeleted,
    /// All access keys and sessions were cut off.
    KeyRevoked,
    /// A revocation was asked for, and something keeps the operator from carrying it out.
    RevocationBlocked,
    /// The next access key is being issued and proven.
    Rotating,
    /// The access key before this one still works, for its time.
    Overlapping,
    /// The access key before this one was used since it was replaced.
    PreviousKeyInUse,
    /// The object is being deleted.
    Deleting,
    /// The object was deleted, and what was its in AWS with it or kept, as its `deletionPolicy` says.
    Deleted,
    /// `spec.suspend` is true.
    Suspended,
    /// The spec cannot be carried out as it is.
    InvalidSpec,
    /// The operator could not sign in to AWS.
    SignInFailed,
    /// There is no AWSAccount of the name in `accountRef`.
    AccountNotFound,
    /// The AWSAccount does not allow the namespace what the spec asks for.
    NotAllowed,
    /// The credentials belong to another account than `accountId` says.
    WrongAccount,
    /// Another BucketConnection has the bucket or user.
    NameTaken,
    /// An AWSAccount: the operator is signed in.
    SignedIn,
    /// An AWSAccount: connections still need it, so it is not deleted.
    InUse,
    /// AWS denied a call.
    AccessDenied,
    /// The bucket is in another region than the spec says.
    RegionMismatch,
    /// A bucket of that name is there, but not ours.
    BucketNotOwned,
    /// The bucket has objects, so it is not deleted.
    BucketNotEmpty,
    /// A change of the spec would take protection from the bucket, and `bucket.allowWeaker` does not name the setting.
    WouldWeaken,
    /// The same write was sent several times and did not take.
    NotConverging,
    /// A user of that name is there, but not ours.
    UserNotOwned,
    /// The user has a permissions boundary that we did not set.
    BoundaryNotOwned,
    /// A policy of that name is there, but not ours.
    PolicyNotOwned,
    /// A Secret of that name is there, but not ours.
    SecretNotOwned,
    /// The Secret of `existingSecretRef` is not there, or holds no key.
    SecretMissing,
    /// A Role or RoleBinding of that name is there, but not ours.
    AccessNotOwned,
    /// A statement of the bucket policy that is not managed here stands in the way of one that is.
    ForeignStatement,
    /// A lifecycle rule, or a statement of the bucket policy, of that name is there, but not ours.
    RuleNotOwned,
    /// The user has keys that were not issued here.
    ForeignAccessKeys,
    /// AWS does not accept the key.
    KeyRejected,
    /// The key reaches beyond the prefix, though its policy does not say so.
    NotIsolated,
    /// AWS has quarantined the user because its key leaked.
    KeyCompromised,
    /// The user has the tag `bucketconnection.dev/hold`: its keys are left as they are.
    UserOnHold,
    /// AWS refused a request as invalid.
    RequestRefused,
    /// A quota of AWS or of the namespace is used up.
    QuotaExceeded,
    /// AWS or the API server asked to slow down.
    Throttled,
    /// AWS could not be reached, or answered with an error of its own.
    AWSUnavailable,
    /// The region does not answer, or does not know the operator's credentials: it may be misspelled or not enabled.
    RegionUnavailable,
    /// Another change was under way at the same time.
    Conflict,
    /// Kubernetes refused a request.
    KubernetesError,
    /// The API server was not reached, or failed on its side.
    KubernetesUnavailable,
    /// This operator's lease was not renewed in time, so it stopped making changes.
    LeaseNotHeld,
    /// To compute what the spec means took too long.
    TooExpensive,
    /// The operator itself failed on the object.
    InternalError,
}

impl Reason {
    /// Every reason, for the documentation test.
    pub const ALL: [Self; 62] = [
        Self::Connected,
        Self::InSync,
        Self::NotManaged,
        Self::NoDrift,
        Self::Repaired,
        Self::NotRepaired,
        Self::NotStalled,
        Self::Settled,
        Self::Progressing,
        Self::Waiting,
        Self::KeyPropagating,
        Self::Observed,
        Self::AwaitingApproval,
        Self::KeyIssued,
        Self::KeyRotated,
        Self::KeyDeleted,
        Self::KeyRevoked,
        Self::RevocationBlocked,
        Self::Rotating,
        Self::Overlapping,
        Self::PreviousKeyInUse,
        Self::Deleting,
        Self::Deleted,
        Self::Suspended,
        Self::InvalidSpec,
        Self::SignInFailed,
        Self::AccountNotFound,
        Self::NotAllowed,
        Self::WrongAccount,
        Self::NameTaken,
        Self::SignedIn,
        Self::InUse,
        Self::AccessDenied,
        Self::RegionMismatch,
        Self::BucketNotOwned,
        Self::BucketNotEmpty,
        Self::WouldWeaken,
        Self::NotConverging,
        Self::UserNotOwned,
        Self::BoundaryNotOwned,
        Self::PolicyNotOwned,
        Self::SecretNotOwned,
        Self::SecretMissing,
        Self::AccessNotOwned,
        Self::ForeignStatement,
        Self::RuleNotOwned,
        Self::ForeignAccessKeys,
        Self::KeyRejected,
        Self::NotIsolated,
        Self::KeyCompromised,
        Self::UserOnHold,
        Self::RequestRefused,
        Self::QuotaExceeded,
        Self::Throttled,
        Self::AWSUnavailable,
        Self::RegionUnavailable,
        Self::Conflict,
        Self::KubernetesError,
        Self::KubernetesUnavailable,
        Self::LeaseNotHeld,
        Self::TooExpensive,
        Self::InternalError,
    ];
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
