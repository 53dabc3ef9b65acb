//! One statement of an IAM policy, as a user writes it.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::vocabulary::policy_language::{Effect, WrittenConditions};
use crate::vocabulary::rules;

/// A statement of the user's IAM policy
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html>).
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct PolicyStatement {
    /// Identifies the statement: letters and digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9]+$')").message("sid may contain letters and digits only"))]
    #[schemars(length(min = 1, max = 64))]
    pub sid: Option<String>,

    /// Allow (default) or Deny.
    #[serde(default)]
    #[schemars(transform = crate::settings::without_default)]
    pub effect: Effect,

    /// Actions, such as s3:GetObject or s3:Get*.
    #[x_kube(validation = Rule::new("self.all(a, !a.contains(' ')) && self.join(' ').matches('^([a-z0-9-]+:[A-Za-z0-9*?]+( |$))*$')").message("actions must be written like s3:GetObject"))]
    #[schemars(length(min = 1, max = 50), inner(length(max = 128)))]
    pub actions: Vec<String>,

    /// ARNs. Omitted: the bucket and its objects within policy.scope. An Allow can name only this bucket and its objects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), inner(length(min = 1, max = 1100)))]
    pub resources: Vec<String>,

    /// Conditions: operator, then key, then values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::vocabulary::policy_language::conditions_schema")]
    #[x_kube(validation = Rule::new(rules::CONDITIONS).message("conditions have operators of up to 64 characters and keys of up to 256"))]
    pub conditions: WrittenConditions,

    /// Unknown fields.
    #[serde(flatten)]
    #[schemars(skip)]
    pub unknown: crate::settings::Unknown,
}
