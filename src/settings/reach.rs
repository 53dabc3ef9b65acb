//! What a spec names or weakens beyond a plain connection. The rules of an AWSAccount must allow each of these
//! (`desired/tenancy/`).

use std::fmt;
use std::time::Duration;

use super::SettingId;

/// One field of a spec that names or weakens something.
#[derive(Clone, Debug, PartialEq)]
pub struct Reach {
    /// The field, as users spell it.
    pub field: String,
    /// What the rule must allow.
    pub need: Need,
}

impl Reach {
    /// `field` needs this to be allowed.
    pub fn new(field: impl Into<String>, need: Need) -> Self {
        Self { field: field.into(), need }
    }
}

/// What a rule must allow.
#[derive(Clone, Debug, PartialEq)]
pub enum Need {
    /// A bucket of this name.
    Bucket(String),
    /// A region.
    Region(String),
    /// A preset, by its name.
    Preset(String),
    /// A name of a user or managed policy, with the path where that is chosen too.
    User(String),
    /// A permissions boundary, by its ARN.
    PermissionsBoundary(String),
    /// A KMS key, by its ARN.
    KmsKey(String),
    /// A tag, by its key.
    Tag(String),
    /// A host that the operator asks.
    Host(String),
    /// An S3 action that statements may not allow without more (`settings/reserved.rs`).
    Action(String),
    /// Statements beyond the preset's.
    Statements,
    /// A policy that is written as a whole.
    CustomPolicy,
    /// Access for ICA's role of another account.
    CrossAccountCopy,
    /// To have a setting, by its short name, weaker than a new bucket has it, or than it is.
    Weaker(String),
    /// A retention that nobody can end.
    ComplianceRetention,
    /// To empty the bucket before it is deleted.
    ForceDestroy,
    /// To take over what exists.
    Adoption(Adopted),
    /// To be one more connection of the namespace, after so many others.
    Connection(usize),
    /// A time between two reconciles.
    ResyncInterval(Duration),
    /// A time between two access keys.
    RotationInterval(Duration),
}

impl Need {
    /// To have a setting weaker than a new bucket has it.
    pub(super) fn weaker(setting: SettingId) -> Self {
        Self::Weaker(setting.name().to_owned())
    }
}

/// What is taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each name says it, and docs on a variant would change its schema")]
pub enum Adopted {
    Bucket,
    User,
    Policy,
}

impl fmt::Display for Reach {
    /// The field and its value, for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, need } = self;
        match need {
            Need::Bucket(value)
            | Need::Region(value)
            | Need::Preset(value)
            | Need::User(value)
            | Need::PermissionsBoundary(value)
            | Need::KmsKey(value)
            | Need::Tag(value)
            | Need::Host(value)
            | Need::Action(value) => write!(f, "{field} {value}"),
            Need::ResyncInterval(time) | Need::RotationInterval(time) => write!(f, "{field} {}s", time.as_secs()),
            Need::Connection(earlier) => write!(f, "{field} {}", earlier + 1),
            Need::Weaker(_)
            | Need::Statements
            | Need::CustomPolicy
            | Need::CrossAccountCopy
            | Need::ComplianceRetention
            | Need::ForceDestroy
            | Need::Adoption(_) => f.write_str(field),
        }
    }
}
