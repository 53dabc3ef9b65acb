//! Errors in a spec: the rules of the CRD again, and what a schema cannot express.
//!
//! The API server has already checked the rules, unless an older or edited CRD is installed. Because names become part
//! of policies, the operator checks the same rules again.

use std::fmt;
use std::sync::LazyLock;

use kube::CustomResourceExt;
use kube::core::cel::{CompiledSchema, ErrorKind, ValidationError, ValidationErrors, Validator, compile_schema};
use serde::Serialize;
use serde_json::Value;

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

static CONNECTION: LazyLock<Option<CompiledSchema>> = LazyLock::new(rules::<BucketConnection>);
static ACCOUNT: LazyLock<Option<CompiledSchema>> = LazyLock::new(rules::<AWSAccount>);

thread_local! {
    /// It registers the functions of CEL, which takes longer than most checks.
    static VALIDATOR: Validator = Validator::new();
}

fn rules<K: CustomResourceExt>() -> Option<CompiledSchema> {
    let crd = serde_json::to_value(K::crd()).ok()?;
    Some(compile_schema(crd.pointer("/spec/versions/0/schema/openAPIV3Schema")?))
}

/// Violations of the rules of the CRD.
pub(super) fn schema(object: &BucketConnection) -> Vec<SpecError> {
    typed(&CONNECTION, object)
}

/// Why the API server would refuse to change `before` to `after`: fields that cannot be changed.
pub fn change_errors(before: &BucketConnection, after: &BucketConnection) -> Vec<SpecError> {
    let (Some(rules), Ok(before), Ok(after)) = (CONNECTION.as_ref(), serde_json::to_value(before), serde_json::to_value(after))
    else {
        return Vec::new();
    };
    let check = VALIDATOR.with(|validator| validator.validate_compiled(rules, &after, Some(&before)));
    sorted(check.err().map(ValidationErrors::into_vec).unwrap_or_default())
}

/// Violations of the rules of its CRD in an account that no API server has checked.
pub fn account_errors(account: &AWSAccount) -> Vec<SpecError> {
    typed(&ACCOUNT, account)
}

/// Violations of the rules of the CRD in a connection that breaks the schema: only the rules that can be evaluated.
pub fn broken_connection_rules(object: &Value) -> Vec<SpecError> {
    sorted(broken(&CONNECTION, object).into_iter().filter(|error| error.kind == ErrorKind::ValidationFailure))
}

/// The same for an account.
pub fn broken_account_rules(object: &Value) -> Vec<SpecError> {
    sorted(broken(&ACCOUNT, object).into_iter().filter(|error| error.kind == ErrorKind::ValidationFailure))
}

fn typed(rules: &Option<CompiledSchema>, object: &impl Serialize) -> Vec<SpecError> {
    match serde_json::to_value(object) {
        Ok(value) if rules.is_some() => sorted(broken(rules, &value)),
        _ => vec![SpecError::new("spec", "could not be checked")],
    }
}

fn broken(rules: &Option<CompiledSchema>, value: &Value) -> Vec<ValidationError> {
    let check = |rules| VALIDATOR.with(|validator| validator.validate_compiled(rules, value, None));
    let broken = rules.as_ref().and_then(|rules| check(rules).err());
    broken.map(ValidationErrors::into_vec).unwrap_or_default()
}

/// The rules have no fixed order, and a condition's message must not change when the operator restarts.
fn sorted(errors: impl IntoIterator<Item = ValidationError>) -> Vec<SpecError> {
    let mut errors: Vec<_> = errors.into_iter().map(|error| SpecError::new(error.field_path, error.message)).collect();
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
