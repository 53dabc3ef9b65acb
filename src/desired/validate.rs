//! Errors in a spec: the rules of the CRD again, and what a schema cannot express.
//!
//! The API server has already checked the rules, unless an older or edited CRD is installed. Because names become part
//! of policies, the operator checks the same rules again.

use std::fmt;
use std::sync::LazyLock;

use kube::CustomResourceExt;
use kube::core::cel::{CompiledSchema, Validator, compile_schema};
use serde::Serialize;

use super::Document;
use crate::api::{AWSAccount, BucketConnection, PolicyType};

/// An error in a spec.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpecError {
    /// The field.
    pub field: String,
    /// What is wrong, and which values are allowed.
    pub message: String,
}

impl SpecError {
    /// An error in `field`.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

static RULES: LazyLock<Option<CompiledSchema>> = LazyLock::new(rules::<BucketConnection>);

fn rules<K: CustomResourceExt>() -> Option<CompiledSchema> {
    let crd = serde_json::to_value(K::crd()).ok()?;
    Some(compile_schema(crd.pointer("/spec/versions/0/schema/openAPIV3Schema")?))
}

/// Violations of the rules of the CRD.
pub(super) fn schema(object: &BucketConnection) -> Vec<SpecError> {
    broken(RULES.as_ref(), object)
}

/// Violations of the rules of its CRD in an account that no API server has checked.
pub fn account_errors(account: &AWSAccount) -> Vec<SpecError> {
    broken(rules::<AWSAccount>().as_ref(), account)
}

fn broken(rules: Option<&CompiledSchema>, object: &impl Serialize) -> Vec<SpecError> {
    let (Some(rules), Ok(value)) = (rules, serde_json::to_value(object)) else {
        return vec![SpecError::new("spec", "could not be checked")];
    };
    let broken = Validator::new().validate_compiled(rules, &value, None).err().map(|errors| errors.into_vec());
    let broken = broken.unwrap_or_default().into_iter();
    let mut errors: Vec<_> = broken.map(|error| SpecError::new(error.field_path, error.message)).collect();
    // The rules have no fixed order, and a condition's message must not change when the operator restarts.
    errors.sort();
    errors
}

/// Largest documents in characters without white space
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>).
const INLINE_LIMIT: usize = 2_048;
const MANAGED_LIMIT: usize = 6_144;

/// Most characters that the policy which denies old sessions takes.
pub(crate) const DENIAL_RESERVE: usize = 200;

/// Characters of a document as IAM counts them: without white space.
pub(crate) fn characters(document: &Document) -> usize {
    document.to_json().to_string().chars().filter(|c| !c.is_whitespace()).count()
}

pub(super) fn document_size(document: &Document, kind: PolicyType) -> Option<SpecError> {
    let size = characters(document);
    // All inline policies of a user share one limit, and the policy that revokes a leaked key must fit next to this
    // one.
    let (limit, advice) = match kind {
        PolicyType::Inline => (
            INLINE_LIMIT - DENIAL_RESERVE,
            "the rest is kept for revocations; set policy.type: Managed, or shorten policy.statements",
        ),
        PolicyType::Managed => (MANAGED_LIMIT, "shorten policy.statements"),
    };
    (size > limit).then(|| {
        SpecError::new("spec.policy", format!("the policy has {size} characters, and at most {limit} are possible: {advice}"))
    })
}
