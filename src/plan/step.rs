//! What a plan consists of: steps, what they do, and what blocks them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::Adoption;
use crate::credentials::KeyPair;
use crate::desired::Document;
use crate::keys::Move;
use crate::observed::{Ledger, RbacKind, WorkloadKind};
use crate::settings::tags::Tags;
use crate::settings::{self, FieldDiff};
use crate::vocabulary::conditions::{ConditionType, Reason};
use crate::vocabulary::narrowing::Loss;
use crate::vocabulary::problem::{Place, Problem};

/// What the operator will do, and what blocks it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Steps, each after those that it depends on.
    pub steps: Vec<Step>,
    /// The decisions of the key machine; each of its steps refers to its move.
    pub moves: Vec<Move>,
    /// What blocks a part.
    pub blockers: Vec<Blocker>,
    /// Writes that had no effect several times: held back, unless they are also among the steps for another try.
    pub ineffective: Vec<Step>,
    /// A basic resource is foreign, so the plan changes nothing.
    pub frozen: bool,
    /// Steps of sections that are only observed: differences that stay.
    pub observed: Vec<Step>,
    /// The plan is for the deletion of the connection.
    pub deletes: bool,
    /// No section is enforced, so the plan changes nothing and manages nothing.
    pub hands_off: bool,
    /// An adoption that waits for approval.
    pub adoption: Option<Adoption>,
    /// Parts of shared settings that become managed when the section's step is done.
    pub adds: BTreeMap<&'static str, Vec<String>>,
    /// Sections that have no step because they are blocked, or could not be read.
    pub open: BTreeSet<&'static str>,
    /// Sections that the next reconcile completes: the step that does it reverts no drift.
    pub unfinished: BTreeSet<&'static str>,
}

impl Plan {
    /// Whether the observed state is the desired state.
    pub fn in_sync(&self) -> bool {
        self.steps.is_empty() && self.blockers.is_empty() && self.observed.is_empty()
    }

    /// The move of the key machine that `step` belongs to.
    pub fn cause(&self, step: &Step) -> Option<&Move> {
        self.moves.get(step.cause?)
    }
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What the step does.
    pub action: Action,
    /// The condition that reports it.
    pub part: ConditionType,
    /// The fields that it changes; secrets never appear.
    pub diffs: Vec<FieldDiff>,
    /// Indexes of the steps that must succeed first.
    pub after: Vec<usize>,
    /// Whether it reverts drift: the desired value is the one that was written last.
    pub drift: bool,
    /// The move of the key machine that it belongs to, as an index into [`Plan::moves`].
    pub cause: Option<usize>,
    /// The protection that it removes from the bucket, which the spec and the account allow.
    pub weakens: Option<String>,
    /// The access that it takes away by changing policy statements.
    pub losses: Vec<Loss>,
}

impl Step {
    /// A step that waits for no other.
    pub fn new(part: ConditionType, action: Action, diffs: Vec<FieldDiff>) -> Self {
        Self { action, part, diffs, after: Vec::new(), drift: false, cause: None, weakens: None, losses: Vec::new() }
    }
}

/// What a step does. Bucket, user, policy and account are those of [`Desired`](crate::desired::Desired); each variant names its call.
#[derive(Clone, Debug, PartialEq, strum::IntoStaticStr)]
pub enum Action {
    /// Creates the bucket: `s3:CreateBucket`.
    CreateBucket {
        /// Its tags; they make it managed.
        tags: Tags,
    },
    /// Writes one setting of the bucket, such as `s3:PutBucketCors`.
    WriteSetting(settings::Write),
    /// Creates the user: `iam:CreateUser`.
    CreateUser {
        /// Its tags; they make it managed.
        tags: Tags,
    },
    /// Sets the permissions boundary of the user: `iam:PutUserPermissionsBoundary`.
    SetPermissionsBoundary {
        /// ARN of a managed policy.
        arn: String,
    },
    /// Changes tags of the user: `iam:TagUser`, `iam:UntagUser`.
    TagUser {
        /// Tags to set.
        set: Tags,
        /// Keys of tags to remove.
        remove: Vec<String>,
    },
    /// Writes an inline policy of the user: `iam:PutUserPolicy`.
    PutInlinePolicy {
        /// Its name.
        name: String,
        /// Its document.
        document: Document,
    },
    /// Deletes an inline policy of the user: `iam:DeleteUserPolicy`.
    DeleteInlinePolicy {
        /// Its name.
        name: String,
    },
    /// Creates the managed policy: `iam:CreatePolicy`.
    CreatePolicy {
        /// Its document.
        document: Document,
        /// Its tags; they make it managed.
        tags: Tags,
    },
    /// Writes a new default version of the managed policy: `iam:CreatePolicyVersion`.
    UpdatePolicy {
        /// The document of the new version.
        document: Document,
        /// The version to delete first, if the policy has as many as AWS allows.
        prune: Option<String>,
    },
    /// Changes tags of a managed policy: `iam:TagPolicy`, `iam:UntagPolicy`.
    TagPolicy {
        /// ARN of the policy.
        arn: String,
        /// Tags to set.
        set: Tags,
        /// Keys of tags to remove.
        remove: Vec<String>,
    },
    /// Attaches a managed policy to the user: `iam:AttachUserPolicy`.
    AttachPolicy {
        /// ARN of the policy.
        arn: String,
    },
    /// Detaches a managed policy from the user, and deletes it with all its versions.
    RemovePolicy {
        /// ARN of the policy.
        arn: String,
    },
    /// Creates an access key and writes it to a Secret: the only step that cannot be repeated.
    IssueKey {
        /// Name of the Secret.
        secret: String,
        /// The number of the key, if each key has a Secret of its own.
        version: Option<i64>,
        /// Ids of the keys that the user has: a key that is none of these is the new one.
        known: Vec<String>,
        /// Ids of the managed keys that the new one replaces.
        retire: Vec<String>,
    },
    /// Records in tags of the user which keys are managed, so that this is known when status and Secret are lost.
    RecordKeys {
        /// What to record.
        ledger: Ledger,
        /// Whether the key that this plan issues is the current one.
        issued: bool,
    },
    /// Makes a key Active: `iam:UpdateAccessKey`.
    ActivateKey {
        /// Its id.
        id: String,
    },
    /// Makes a key Inactive: `iam:UpdateAccessKey`.
    DeactivateKey {
        /// Its id.
        id: String,
    },
    /// Asks the API server, by a dry run, whether the operator can write the Secret.
    DryRunSecret {
        /// Its name.
        name: String,
    },
    /// Deletes a key: `iam:DeleteAccessKey`.
    DeleteKey {
        /// Its id.
        id: String,
    },
    /// Writes a key to a Secret.
    WriteSecret {
        /// Name of the Secret.
        name: String,
        /// The key; `None`: the one that this plan issues.
        key: Option<KeyPair>,
        /// When AWS created the key, if that is known.
        created_at: Option<Timestamp>,
        /// The number of the key, if each key has a Secret of its own.
        version: Option<i64>,
    },
    /// Deletes a Secret.
    DeleteSecret {
        /// Its name.
        name: String,
    },
    /// Marks a Secret as retained: it stays, and no connection owns it.
    ReleaseSecret {
        /// Its name.
        name: String,
    },
    /// Writes an inline policy that denies the user everything.
    DenyAllAccess {
        /// Denies only sessions that began before this.
        sessions_before: Option<Timestamp>,
    },
    /// Deletes that policy.
    RemoveDenyPolicy,
    /// Restarts a workload, so that its pods take the new key.
    Restart {
        /// Its kind.
        kind: WorkloadKind,
        /// Its name.
        name: String,
        /// Id of the key, for the annotation; `None`: of the one that this plan issues.
        key: Option<String>,
    },
    /// Writes the Role that can read the Secrets.
    WriteRole {
        /// Its name.
        name: String,
        /// Names of the Secrets.
        secrets: Vec<String>,
    },
    /// Binds groups to that Role.
    WriteRoleBinding {
        /// Name of the Role and of the RoleBinding.
        name: String,
        /// Kubernetes groups.
        groups: Vec<String>,
    },
    /// Deletes a Role or RoleBinding.
    DeleteRbac {
        /// Which of the two.
        kind: RbacKind,
        /// Its name.
        name: String,
    },
    /// Marks a Role or RoleBinding as retained: it stays, and no connection owns it.
    ReleaseRbac {
        /// Which of the two.
        kind: RbacKind,
        /// Its name.
        name: String,
    },
    /// Verifies a key by the probes of the desired state.
    Verify {
        /// The key; `None`: the one that this plan issues.
        key: Option<KeyPair>,
        /// Whether to retry while AWS propagates the key.
        patient: bool,
    },
    /// Deletes every object and version in the bucket.
    EmptyBucket,
    /// Deletes the bucket: `s3:DeleteBucket`.
    DeleteBucket,
    /// Deletes the user: `iam:DeleteUser`.
    DeleteUser,
}

impl Action {
    /// Whether the step writes to the bucket: such writes are sent one after the other, because parallel ones collide
    /// (409 OperationAborted).
    pub fn writes_bucket(&self) -> bool {
        matches!(self, Self::CreateBucket { .. } | Self::WriteSetting(_) | Self::EmptyBucket | Self::DeleteBucket)
    }
}

/// Something that blocks a part.
#[derive(Clone, Debug, PartialEq)]
pub struct Blocker {
    /// The part.
    pub part: ConditionType,
    /// Why.
    pub reason: Reason,
    /// Why, and what the user can do.
    pub message: String,
    /// Whether a person must act.
    pub stalled: bool,
    /// The read that failed, if that is the cause.
    pub problem: Option<Problem>,
}

impl Blocker {
    /// A part that could not be read, for a connection that works with `place`.
    pub fn unreadable(part: ConditionType, problem: &Problem, place: &Place) -> Self {
        let (reason, message) = problem.describe(place);
        Self { part, reason, message, stalled: problem.is_permanent(), problem: Some(problem.clone()) }
    }
}
