//! What can go wrong with a call, as a plain value: its class decides what happens next, its text is for people.
//!
//! Made in [`crate::sdk`] and [`crate::kubernetes`]; read everywhere. Texts are stable: no request id, no time.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::api::conditions::Reason;

/// Where a denial of what a policy allows can come from.
pub(crate) const DENIERS: &str = "; look for a denying bucket policy, SCP, RCP or permissions boundary";
/// Where a right can come from that a policy does not grant.
pub(crate) const GRANTERS: &str = "; look for another policy of the user, a group that it is in, the bucket policy, or ACLs";

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// What kind of failure it is.
    pub class: Class,
    /// The action as IAM and RBAC spell it: `s3:PutBucketCORS`, `patch secrets`. What must be allowed for the call to work.
    pub action: String,
    /// The error code that was answered, or a word for what happened when there was no answer.
    #[serde(default)]
    pub code: String,
    /// The answer's own text.
    #[serde(default)]
    pub message: String,
}

/// Kinds of failure. AWS's codes are sorted into them in [`crate::sdk`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Class {
    /// It is not there.
    Missing,
    /// It is there already, in the same account.
    Exists,
    /// The bucket name belongs to another account.
    NameTaken,
    /// The bucket is in another region: this one, where the answer says so.
    Elsewhere(Option<String>),
    /// The caller may not do this.
    Denied,
    /// The key is unknown, inactive, expired, or its signature is wrong.
    BadKey,
    /// Not empty, or still in use.
    InUse,
    /// Another change is under way.
    Conflict,
    /// A quota is used up.
    Quota,
    /// Asked to slow down.
    Throttled,
    /// Not reached, timed out, or failed on its side.
    Unavailable,
    /// Not denied, though it had to be.
    Allowed,
    /// Refused as invalid, or with a code that we do not know.
    Refused,
}

impl Problem {
    /// A problem of `class` in `action`.
    pub fn new(class: Class, action: &str, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { class, action: action.to_owned(), code: code.into(), message: message.into() }
    }

    /// The condition reason that this problem shows as.
    pub fn reason(&self) -> Reason {
        match self.class {
            Class::Denied => Reason::AccessDenied,
            Class::BadKey => Reason::SignInFailed,
            Class::Allowed => Reason::NotIsolated,
            Class::NameTaken => Reason::BucketNotOwned,
            Class::Elsewhere(_) => Reason::RegionMismatch,
            Class::Conflict | Class::Exists | Class::Missing => Reason::Conflict,
            Class::Quota => Reason::QuotaExceeded,
            Class::Throttled => Reason::Throttled,
            Class::Unavailable => Reason::AWSUnavailable,
            Class::InUse | Class::Refused if !self.action.contains(':') => Reason::KubernetesError,
            Class::InUse | Class::Refused => Reason::RequestRefused,
        }
    }

    /// Whether only a person can mend it.
    pub fn needs_a_person(&self) -> bool {
        matches!(
            self.class,
            Class::Denied
                | Class::Allowed
                | Class::BadKey
                | Class::NameTaken
                | Class::Elsewhere(_)
                | Class::Quota
                | Class::Refused
                | Class::InUse
        )
    }

    /// What a person can do about it; empty when it passes by itself.
    pub fn advice(&self) -> String {
        match &self.class {
            Class::Denied if self.action == "sts:AssumeRole" => {
                "; check the role's ARN, whom its trust policy names, and externalId".to_owned()
            }
            Class::Denied if self.action.contains(':') => {
                format!(
                    "; allow {} to the operator (bucketconnection iam-policy prints the policy it needs), and look for a denying SCP, RCP or bucket policy",
                    self.action
                )
            }
            Class::Denied => "; grant the operator this right (deploy/kubernetes/rbac.yaml)".to_owned(),
            Class::BadKey if self.code == "NoKey" => String::new(),
            Class::BadKey => "; check the operator's own AWS credentials".to_owned(),
            Class::Quota => "; raise the quota in AWS or free some of it".to_owned(),
            _ => String::new(),
        }
    }

    /// What was tried and what was answered, without advice.
    pub fn brief(&self) -> String {
        let text = self.message.trim_end_matches('.');
        if text.is_empty() || text == self.code {
            format!("{}: {}", self.action, self.code)
        } else {
            format!("{}: {}: {text}", self.action, self.code)
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.brief(), self.advice())
    }
}

impl std::error::Error for Problem {}

/// What is gone already is done with.
pub fn gone<T>(answer: Result<T, Problem>) -> Result<(), Problem> {
    match answer {
        Err(problem) if problem.class != Class::Missing => Err(problem),
        _ => Ok(()),
    }
}

/// Names for a message: the first few, and how many more there are.
pub fn listed<T: AsRef<str>>(names: &[T]) -> String {
    const NAMED: usize = 5;
    let named = names.iter().take(NAMED).map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    if names.len() > NAMED { format!("{named} and {} more", names.len() - NAMED) } else { named }
}
