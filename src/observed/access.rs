//! The Role and the RoleBinding that let groups read the Secret.

use serde::Serialize;
use serde_json::{Value, json};

use crate::vocabulary::problem::Problem;

/// One of the two objects of a grant, which have the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, strum::Display)]
#[allow(missing_docs, reason = "each name says it")]
pub enum RbacKind {
    Role,
    RoleBinding,
}

/// What exists under one name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Access {
    /// The Role.
    pub role: Held<OwnRole>,
    /// The RoleBinding.
    pub binding: Held<OwnBinding>,
}

impl Access {
    /// Whether any of it is managed.
    pub fn is_ours(&self) -> bool {
        matches!(self.role, Held::Ours(_)) || matches!(self.binding, Held::Ours(_))
    }
}

/// An object in Kubernetes that may be managed.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Held<T> {
    /// It was not read.
    #[default]
    NotRead,
    /// There is none of that name.
    Absent,
    /// It exists and is foreign: why.
    Foreign(String),
    /// It could not be read.
    Unreadable(Problem),
    /// Managed.
    Ours(T),
}

/// A managed Role.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OwnRole {
    /// Its rules, as Kubernetes writes them.
    pub rules: Value,
    /// Whether labels, annotations and owner references are as the operator writes them.
    pub claimed: bool,
}

impl OwnRole {
    /// The rules of a Role that allows reading these `secrets`, and nothing else.
    pub fn rules_for(secrets: &[String]) -> Value {
        json!([{ "apiGroups": [""], "resources": ["secrets"], "resourceNames": secrets, "verbs": ["get"] }])
    }
}

/// A managed RoleBinding.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OwnBinding {
    /// The groups that it names, sorted.
    pub groups: Vec<String>,
    /// Other subjects that it names, as `<kind> <name>`.
    pub others: Vec<String>,
    /// The role that it grants, as `<kind> <name>`. Kubernetes does not allow changing it.
    pub role: String,
    /// Whether labels, annotations and owner references are as the operator writes them.
    pub claimed: bool,
}

impl OwnBinding {
    /// The role that a RoleBinding to the Role `name` grants.
    pub fn role_of(name: &str) -> String {
        format!("{} {name}", RbacKind::Role)
    }
}
