//! An IAM user that no connection manages, as `import` reads it.

use serde_json::Value;

use super::{AccessKey, User};
use crate::api::PolicyType;

/// The user, and what gives it permissions.
#[derive(Clone, Debug, Default)]
pub struct ExistingUser {
    /// Its name.
    pub name: String,
    /// The user itself.
    pub user: User,
    /// Its inline policies and the managed policies that are attached to it.
    pub policies: Vec<ExistingPolicy>,
    /// Groups that it is in.
    pub groups: Vec<String>,
    /// Its access keys.
    pub keys: Vec<AccessKey>,
}

/// A policy of the user.
#[derive(Clone, Debug)]
pub struct ExistingPolicy {
    /// Inline or managed.
    pub kind: PolicyType,
    /// Its name.
    pub name: String,
    /// ARN of a managed policy.
    pub arn: Option<String>,
    /// Its document.
    pub document: Value,
}
