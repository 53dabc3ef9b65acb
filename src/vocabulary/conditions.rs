//! Condition types and reasons: closed sets, documented in docs/reference.md.

/// Types of conditions. `Ready`, `Reconciling` and `Stalled` are those of kstatus
/// (<https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md>); each other type describes one part.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    serde::Serialize,
    strum::Display,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
pub enum ConditionType {
    /// The whole connection works.
    Ready,
    /// The operator works on the object, or retries.
    Reconciling,
    /// A person must act.
    Stalled,
    /// The operator can sign in to the account, and the account allows the object.
    AccountReady,
    /// The bucket is in the region of the spec.
    RegionMatched,
    /// The bucket exists, is managed, and is as the spec says.
    BucketReady,
    /// The CORS rules are as the spec says.
    CORSInSync,
    /// The IAM user exists, is managed, and is as the spec says.
    UserReady,
    /// The user has the policy.
    PolicyInSync,
    /// The Secret contains an access key.
    CredentialsReady,
    /// The key was used on the bucket, and worked.
    Verified,
    /// The groups of `spec.access` can read the Secret.
    AccessInSync,
    /// No rotation of the key waits or failed.
    RotationComplete,
    /// The requested revocation is carried out.
    RevocationComplete,
    /// Something in AWS differs from what was last written.
    DriftDetected,
}

impl ConditionType {
    /// The parts that must all be True for `Ready`, in the order in which a failing part explains the others.
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

/// Reasons of conditions and Events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::Display, strum::EnumString, strum::VariantArray)]
pub enum Reason {
    /// The whole connection works.
    Connected,
    /// The part is as specified.
    InSync,
    /// The operator does not manage this part.
    NotManaged,
    /// The operator found no drift.
    NoDrift,
    /// The operator found drift and reverted it.
    Reverted,
    /// The operator found drift and could not revert it yet.
    NotReverted,
    /// No action required.
    NotStalled,
    /// Nothing is in progress.
    Settled,
    /// Work is in progress.
    Progressing,
    /// Waits for another part, whose condition says why.
    Waiting,
    /// Not all of AWS knows the new key yet.
    KeyPropagating,
    /// It differs from the spec, and the operator only observes it.
    Observed,
    /// An adoption would change an existing resource, and no one has approved that.
    AwaitingApproval,
    /// The operator issued an access key.
    KeyIssued,
    /// The Secret has a new access key.
    KeyRotated,
    /// An access key was deleted.
    KeyDeleted,
    /// The operator revoked all access keys and sessions.
    KeyRevoked,
    /// A revocation was requested, and the operator cannot execute it.
    RevocationBlocked,
    /// The operator is issuing and verifying the pending key.
    Rotating,
    /// The previous key still works, until its overlap ends.
    Overlapping,
    /// The previous key was used since it was replaced.
    PreviousKeyInUse,
    /// The object is being deleted.
    Deleting,
    /// The object was deleted; its resources in AWS were deleted or kept, as its `deletionPolicy` says.
    Deleted,
    /// `spec.suspend` is true.
    Suspended,
    /// The operator cannot execute the spec.
    InvalidSpec,
    /// The operator could not sign in to AWS.
    SignInFailed,
    /// The AWSAccount in `accountRef` does not exist.
    AccountNotFound,
    /// The AWSAccount does not allow the namespace what the spec asks for.
    NotAllowed,
    /// The credentials belong to another AWS account than `accountId`.
    WrongAccount,
    /// Another BucketConnection has the bucket or user.
    NameTaken,
    /// An AWSAccount: the operator is signed in.
    SignedIn,
    /// An AWSAccount: connections still need it, so it is not deleted.
    InUse,
    /// AWS denied a call.
    AccessDenied,
    /// The bucket is in another region than the spec.
    RegionMismatch,
    /// A bucket of that name exists and is foreign.
    BucketNotOwned,
    /// The bucket contains objects, so it is not deleted.
    BucketNotEmpty,
    /// A change of the spec would remove protection from the bucket, and `bucket.allowWeaker` does not name the setting.
    WouldWeaken,
    /// The operator sent the same write several times without effect.
    NotConverging,
    /// A user of that name exists and is foreign.
    UserNotOwned,
    /// The user has a foreign permissions boundary.
    BoundaryNotOwned,
    /// A policy of that name exists and is foreign.
    PolicyNotOwned,
    /// A Secret of that name exists and is foreign.
    SecretNotOwned,
    /// The Secret of `existingSecretRef` does not exist, or contains no key.
    SecretMissing,
    /// A Role or RoleBinding of that name exists and is foreign.
    AccessNotOwned,
    /// A foreign statement of the bucket policy blocks a managed one.
    ForeignStatement,
    /// A lifecycle rule, or a statement of the bucket policy, of that name exists and is foreign.
    RuleNotOwned,
    /// The user has foreign access keys.
    ForeignAccessKeys,
    /// AWS does not accept the key.
    KeyRejected,
    /// The key has access beyond the prefix, although its policy does not allow it.
    NotIsolated,
    /// AWS has quarantined the user because its key leaked.
    KeyCompromised,
    /// The user has the tag `bucketconnection.dev/hold`: the operator does not change its keys.
    UserOnHold,
    /// AWS refused a request as invalid.
    RequestRefused,
    /// A quota of AWS or of the namespace is used up.
    QuotaExceeded,
    /// AWS or the API server asked to slow down.
    Throttled,
    /// AWS was not reachable, or failed on its side.
    AWSUnavailable,
    /// The region does not answer, or does not know the operator's credentials: it may be misspelled or not enabled.
    RegionUnavailable,
    /// Another change was in progress at the same time.
    Conflict,
    /// Kubernetes refused a request.
    KubernetesError,
    /// The API server was not reachable, or failed on its side.
    KubernetesUnavailable,
    /// This operator's lease was not renewed in time, so it stopped making changes.
    LeaseNotHeld,
    /// Computing the desired state of the spec took too long.
    TooExpensive,
    /// The operator itself failed on the object.
    InternalError,
}
