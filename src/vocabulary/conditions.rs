//! Condition types and reasons: closed sets, documented in docs/reference.md.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// The condition of `kind` among `conditions`.
pub fn find(conditions: &[Condition], kind: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|condition| condition.type_ == kind.to_string())
}

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
///
/// The comments are what docs/troubleshooting.md shows: first what the reason means, then what to check and what to do. A
/// reason without the last two needs no action.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::Display, strum::EnumString, strum::EnumMessage, strum::VariantArray,
)]
pub enum Reason {
    /// The whole connection works.
    Connected,
    /// The part matches the spec.
    InSync,
    /// The spec does not manage this part.
    NotManaged,
    /// The operator found no drift.
    NoDrift,
    /// The operator found drift and reverted it (Event).
    ///
    /// Check: `status.drift.journal` has the field, the observed value, the desired value and the time. In
    /// CloudTrail you find the caller that changed it.
    ///
    /// Do: Nothing, if it happens once. If it repeats, find the tool or person that changes the field, or
    /// change the spec.
    Reverted,
    /// The operator found drift and could not revert it yet.
    ///
    /// Check: The condition of the part that drifted says why. `kubectl describe` shows all conditions.
    ///
    /// Do: Fix what that condition names. The operator then reverts the drift.
    NotReverted,
    /// No person must act.
    NotStalled,
    /// No work is in progress.
    Settled,
    /// Work is in progress.
    ///
    /// Check: `Reconciling` says what the operator does or what it retries. A new connection is `Ready` within
    /// seconds.
    ///
    /// Do: Nothing. If it lasts longer than five minutes, the part becomes Unknown or False, and its reason
    /// says what blocks it.
    Progressing,
    /// This part waits for another part.
    ///
    /// Check: The message names the other part. `Ready` shows the reason of the part that all others wait for.
    ///
    /// Do: Fix the part that the message names.
    Waiting,
    /// A new key or policy has not reached all of AWS yet. That takes seconds, rarely minutes.
    ///
    /// Check: The message has the error code of AWS for the last verification call.
    ///
    /// Do: Nothing. If AWS still does not accept the key later, the reason becomes `KeyRejected`.
    KeyPropagating,
    /// There is a difference from the spec, and `spec.management` only observes this part.
    ///
    /// Check: `status.drift.differences` shows each field with the observed and the desired value.
    ///
    /// Do: Nothing, or set the section to `Enforce` in `spec.management`
    /// ([adoption.md](adoption.md#observe-management)).
    Observed,
    /// An adoption would change an existing resource, or a deletion would delete a bucket whose ownership tag
    /// the operator restored. No one has approved that.
    ///
    /// Check: `status.adoption` lists each change, with a hash of all of them.
    ///
    /// Do: Approve the hash that the message names, where the message says: in `adoption.approvedPlans` of the
    /// account's entry (default), or in `spec.approvedPlan` (`approval: Connection`, and for the deletion). For
    /// an adoption you can also edit the spec until it matches the observed state
    /// ([adoption.md](adoption.md#adopt-existing-resources)).
    AwaitingApproval,
    /// The operator issued an access key (Event).
    ///
    /// Check: `status.credentials.accessKeyId` names the key. The Secret contains it.
    ///
    /// Do: If you paste keys by hand, for example into ICA, paste this one.
    KeyIssued,
    /// The operator wrote the pending key to the Secret (Event).
    ///
    /// Check: `status.credentials.previous` names the previous key and when it stops working.
    ///
    /// Do: Switch all consumers to the new key within the overlap. If you pasted the previous key, paste the
    /// new one ([operations.md](operations.md#rotation)).
    KeyRotated,
    /// The operator deleted an access key (Event).
    ///
    /// Check: The message names the key and says why the operator deleted it.
    ///
    /// Do: Nothing.
    KeyDeleted,
    /// The operator deleted all access keys, and AWS denies everything to sessions that were made with them.
    /// Condition and Event.
    ///
    /// Check: `status.credentials.revocation` has the cutoff and the time when the operator removes the policy
    /// that denies old sessions.
    ///
    /// Do: Paste the new key where you pasted the revoked one. Find out how the key leaked
    /// ([operations.md](operations.md#a-leaked-key)).
    KeyRevoked,
    /// A revocation was requested, and the operator cannot carry it out.
    ///
    /// Check: The message of `RevocationComplete` names the key or the policy that is left, and why.
    ///
    /// Do: Follow the message. A key that this operator did not issue must be revoked where it was issued.
    RevocationBlocked,
    /// The operator is issuing and verifying the pending key.
    ///
    /// Check: `RotationComplete` has the last answer of AWS if the pending key does not work yet. The current
    /// key still works.
    ///
    /// Do: Nothing.
    Rotating,
    /// The previous key still works, or it is Inactive and about to be deleted.
    ///
    /// Check: `status.credentials.previous` has the id of the previous key and the time when it stops working.
    ///
    /// Do: Switch all consumers to the key in the Secret before that time
    /// ([operations.md](operations.md#rotation)).
    Overlapping,
    /// The previous key was used after it was replaced. It is Inactive, and the operator does not delete it.
    ///
    /// Check: The message names the AWS service and the region that the key was used in, and
    /// `status.credentials.previous.lastUsed` the time. CloudTrail finds the caller by the key id.
    ///
    /// Do: Move the caller to the key in the Secret, then delete the previous key. If you need time, make it
    /// Active again (`aws iam update-access-key`); the operator does not change that
    /// ([operations.md](operations.md#rotation)).
    PreviousKeyInUse,
    /// The object is being deleted.
    ///
    /// Check: The conditions say what the deletion waits for.
    ///
    /// Do: Nothing. If it lasts, see [operations.md](operations.md#deleting).
    Deleting,
    /// The object is gone (Event). Its resources in AWS were deleted or kept, as its `deletionPolicy` says.
    ///
    /// Check: The message says what was kept.
    ///
    /// Do: Nothing.
    Deleted,
    /// `spec.suspend` is true, so the operator changes nothing.
    ///
    /// Check: The message names the requests (reconcile, rotation) that wait.
    ///
    /// Do: Set `spec.suspend` to false.
    Suspended,
    /// The operator cannot carry out the spec as it is.
    ///
    /// Check: The message names each field that is wrong, its value, and what is allowed.
    ///
    /// Do: Correct these fields. `bucketconnection plan -f FILE` reports the same errors before you apply the
    /// object.
    InvalidSpec,
    /// AWS does not accept the operator's own credentials.
    ///
    /// Check: The message has the answer of AWS. `kubectl get awsaccount` shows whether all connections of the
    /// account are affected.
    ///
    /// Do: Fix the credentials: the IRSA annotation or Pod Identity association, the Secret in
    /// `credentials.secretRef`, or the trust policy of the role in `assumeRole`
    /// ([accounts.md](accounts.md#signing-in)).
    SignInFailed,
    /// There is no AWSAccount of the name in `accountRef`, or it is being deleted and accepts no new
    /// connections.
    ///
    /// Check: `kubectl get awsaccount`. The default name is `default`.
    ///
    /// Do: Create the AWSAccount ([accounts.md](accounts.md)). `accountRef` is immutable, so to name another
    /// account, create a new object.
    AccountNotFound,
    /// The AWSAccount does not allow the namespace what the spec asks for. The operator did not call AWS for
    /// this connection.
    ///
    /// Check: The message names each refused field, its value, what is allowed instead, and the entry that is
    /// closest. `bucketconnection plan -f FILE` prints the decision on each field.
    ///
    /// Do: Use what is allowed, or ask the platform team to allow more in `allowedNamespaces`
    /// ([accounts.md](accounts.md#what-namespaces-can-do)).
    NotAllowed,
    /// The credentials of the account belong to another AWS account than its `accountId`.
    ///
    /// Check: The message names both account ids.
    ///
    /// Do: Correct `accountId`, or the role or Secret that the operator signs in with.
    WrongAccount,
    /// Another BucketConnection has the bucket or user: the one that had it first, or otherwise the older one.
    ///
    /// Check: The message names the other connection if it is in the same namespace. Only the operator's log
    /// names a connection of another namespace.
    ///
    /// Do: Choose another bucket or user name in a new object, or delete the other connection. This one then
    /// connects.
    NameTaken,
    /// AWSAccount: the operator is signed in.
    SignedIn,
    /// AWSAccount: connections still need it, so the operator does not delete it.
    ///
    /// Check: The message names these connections.
    ///
    /// Do: Delete them first ([accounts.md](accounts.md#deleting-an-awsaccount)).
    InUse,
    /// AWS or Kubernetes denied a call.
    ///
    /// Check: The message names every permission that this reconcile missed, and the resource. Service control
    /// policies, resource control policies, permissions boundaries and bucket policies deny too; AWS's own
    /// words in the message often say which one.
    ///
    /// Do: Grant what the message names. `bucketconnection iam-policy` prints the whole policy that the
    /// operator needs ([permissions.md](permissions.md)), and `deploy/kubernetes/base/rbac.yaml` has its permissions
    /// in the cluster.
    AccessDenied,
    /// The bucket is in another region than `spec.region`.
    ///
    /// Check: The message names the region of the bucket.
    ///
    /// Do: Create a new object with that region, or with another bucket name. `region` is immutable.
    RegionMismatch,
    /// A bucket of that name exists and is foreign.
    ///
    /// Check: The message says whether the bucket belongs to another AWS account, to another connection, or has
    /// no ownership tag.
    ///
    /// Do: Use another `bucket.name`. If the bucket is in your account and should be connected, adopt it with
    /// `bucket.adopt: true` ([adoption.md](adoption.md)).
    BucketNotOwned,
    /// The bucket contains objects, so the operator does not delete it.
    ///
    /// Check: `aws s3api list-object-versions --bucket NAME --max-items 10` also shows old versions and delete
    /// markers.
    ///
    /// Do: Empty the bucket, or set `forceDestroy: true` (if the account allows it), or set `deletionPolicy:
    /// Retain`. You can change all of these while the deletion waits.
    BucketNotEmpty,
    /// A change of the spec would weaken the bucket, and `bucket.allowWeaker` does not name the setting.
    ///
    /// Check: The message names the setting and the change.
    ///
    /// Do: Name the setting in `bucket.allowWeaker` if you mean it (the account must allow it with `weaken`),
    /// or undo the change.
    WouldWeaken,
    /// The operator sent the same write three times without effect. It holds this write back and continues with
    /// everything else.
    ///
    /// Check: The message names the fields with their observed and desired values. `status.ineffectiveWrites`
    /// counts. In CloudTrail you find another tool that changes the field.
    ///
    /// Do: Write in the spec what AWS stores in these fields, or stop the other tool
    /// ([operations.md](operations.md#a-write-that-has-no-effect)).
    NotConverging,
    /// An IAM user of that name exists and is foreign, or is under another path.
    ///
    /// Check: The message says which of these it is, and what an adoption of the user would find.
    ///
    /// Do: Create a new object with another `user.name`, or with the `user.path` that the message names. You
    /// can adopt a user that has no permissions and no keys of its own, with `user.adopt: true`
    /// ([adoption.md](adoption.md)).
    UserNotOwned,
    /// The user has a foreign permissions boundary, so the operator changes nothing.
    ///
    /// Check: The message names the boundary.
    ///
    /// Do: Set `user.permissionsBoundary` to the existing boundary, or change the boundary in IAM.
    BoundaryNotOwned,
    /// A managed or inline policy of that name exists and is foreign.
    ///
    /// Check: The message names the policy.
    ///
    /// Do: Use another `policy.name`, or adopt the policy with `policy.adopt: true`
    /// ([adoption.md](adoption.md)).
    PolicyNotOwned,
    /// A Secret of that name exists and is foreign.
    ///
    /// Check: `kubectl get secret NAME -o yaml`: the annotation `bucketconnection.dev/owner` names its owner, if
    /// there is one.
    ///
    /// Do: Use another `credentials.secret.name`, or delete that Secret.
    SecretNotOwned,
    /// The Secret in `credentials.existingSecretRef` does not exist, or contains no usable key.
    ///
    /// Check: The message names the field and the problem: a line break or blank at its start or end, UTF-16,
    /// quotes, base64 applied twice.
    ///
    /// Do: Put `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY` into the Secret. The next reconcile reads it
    /// again.
    SecretMissing,
    /// A Role or RoleBinding `<secret>-readers` exists and is foreign.
    ///
    /// Check: `kubectl get role,rolebinding` in the namespace of the connection.
    ///
    /// Do: Delete it, or use another `credentials.secret.name`.
    AccessNotOwned,
    /// A foreign statement of the bucket policy blocks a statement of the spec: it contains `${…}` as plain
    /// text in a policy of version 2008-10-17, and the statement of the spec needs version 2012-10-17.
    ///
    /// Check: The message names the foreign statement. `aws s3api get-bucket-policy` shows the policy.
    ///
    /// Do: In AWS, correct that statement, and then the version of the policy. Or leave the policy variable out
    /// of the spec.
    ForeignStatement,
    /// A lifecycle rule, an archive configuration or a statement of the bucket policy has an id or Sid from the
    /// spec and is foreign.
    ///
    /// Check: The message names the ids.
    ///
    /// Do: Use another id or Sid, or remove the item in AWS. With `bucket.adopt: true` the operator shows the
    /// change and waits for approval, if the account allows `adoption.buckets` ([adoption.md](adoption.md)).
    RuleNotOwned,
    /// The user has foreign access keys, and they block the operation.
    ///
    /// Check: The message names the key ids. AWS allows two access keys for each user.
    ///
    /// Do: Find out who uses these keys (CloudTrail, `aws iam get-access-key-last-used`), and delete one of
    /// them.
    ForeignAccessKeys,
    /// AWS does not accept the issued key.
    ///
    /// Check: The message has the answer of AWS. `aws iam list-access-keys --user-name USER` shows whether the
    /// key exists and is Active.
    ///
    /// Do: Nothing: the operator retries, and replaces a key that is gone. If it lasts, see
    /// [operations.md](operations.md#the-secret-or-the-key-is-lost). For an existing key, the owner of the
    /// Secret must fix it.
    KeyRejected,
    /// The key has access beyond `bucket.prefix`, which its own policy does not grant.
    ///
    /// Check: The message names the call that AWS should have denied.
    ///
    /// Do: Find what grants the access, and remove it: another policy of the user, a group of the user, the
    /// bucket policy, ACLs.
    NotIsolated,
    /// AWS found the key in public and quarantined the user.
    ///
    /// Check: CloudTrail shows what was done with the key.
    ///
    /// Do: Revoke the key with the annotation `revoke.bucketconnection.dev/requestedAt`, check CloudTrail, then
    /// detach AWS's quarantine policy from the user ([operations.md](operations.md#a-leaked-key)).
    KeyCompromised,
    /// The user has the tag `bucketconnection.dev/hold`, so the operator does not change its keys.
    ///
    /// Check: The value of the tag, and the person who set it (CloudTrail): someone investigates an incident.
    ///
    /// Do: Remove the tag when the investigation is over ([security.md](security.md#in-an-incident)).
    UserOnHold,
    /// AWS refused a request as invalid, or with a code that the operator does not know.
    ///
    /// Check: The message has AWS's own words and names the call.
    ///
    /// Do: Change what AWS names. If the spec is right, report it with the operator's log.
    RequestRefused,
    /// A quota of AWS, or a ResourceQuota of the namespace, is exhausted.
    ///
    /// Check: The message names the quota, or has the words of AWS.
    ///
    /// Do: Raise the quota, or free some of it: delete buckets, users or policies that no one uses.
    QuotaExceeded,
    /// AWS or the API server asked the operator to slow down.
    ///
    /// Check: The operator's metrics and log show how many calls it makes. IAM's limits are for the whole
    /// account, so another tool may use them up.
    ///
    /// Do: Nothing: the operator retries. If it lasts, set `budget` in the AWSAccount, a longer
    /// `resyncInterval`, or slow the other tool down ([accounts.md](accounts.md#budget)).
    Throttled,
    /// The operator could not reach AWS, or AWS failed on its side.
    ///
    /// Check: The message names the call and the failure: no connection, a timeout, a certificate, or an answer
    /// 5xx.
    ///
    /// Do: Nothing: the operator retries. If it lasts, check the network, DNS, `HTTPS_PROXY`, `NO_PROXY` and
    /// `AWS_CA_BUNDLE` of the operator, and `endpoints` of the AWSAccount.
    AWSUnavailable,
    /// The region has not answered for five minutes, and nothing of the connection is in it yet. Or the region
    /// does not know the operator's credentials, which AWS accepts elsewhere.
    ///
    /// Check: `aws account get-region-opt-status --region-name REGION` shows whether the region is enabled.
    ///
    /// Do: Check that `spec.region` (or `spec.region` of the AWSAccount) is right, enable the region in the
    /// account, then check network and proxy.
    RegionUnavailable,
    /// Another change was in progress at the same time.
    ///
    /// Check: The message names the call.
    ///
    /// Do: Nothing: the operator retries. If it lasts, another tool changes the same resource.
    Conflict,
    /// The API server, or an admission policy or webhook of the cluster, refused a request.
    ///
    /// Check: The message has its own words.
    ///
    /// Do: Change the policy, or what it refuses. If the message names an unknown field, the CRDs are older
    /// than the operator ([upgrade.md](upgrade.md)).
    KubernetesError,
    /// The operator could not reach the API server, or the API server failed.
    ///
    /// Check: The operator's log names the request.
    ///
    /// Do: Nothing: the operator retries. If it lasts, check the API server and the network policies of the
    /// operator's namespace.
    KubernetesUnavailable,
    /// The operator did not renew its lease in time, so it stopped making changes. Another replica may be
    /// working.
    ///
    /// Check: `kubectl get lease -n bucketconnection-system` shows the holder and the last renewal.
    ///
    /// Do: Nothing: the operator ends, and starts again. If it repeats, check the API server and the CPU limit
    /// of the operator ([operations.md](operations.md#two-operators)).
    LeaseNotHeld,
    /// To compute the desired state of the spec took more than ten seconds, so the operator does not reconcile
    /// this object. No other object waits for it.
    ///
    /// Check: Long lists and patterns in the spec, and in the entries of the AWSAccount.
    ///
    /// Do: Shorten them, and report it, because no spec should take that long.
    TooExpensive,
    /// The operator failed on this object. No other object is affected.
    ///
    /// Check: The operator's log has the failure and the object.
    ///
    /// Do: Report it with the log. To continue meanwhile, undo the last change of the spec or annotations.
    InternalError,
}
