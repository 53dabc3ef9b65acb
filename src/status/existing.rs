//! The status of a key that the operator did not issue and does not manage.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::Checked;
use super::capabilities::tried;
use super::verdict::Verdict;
use crate::api::{CredentialsStatus, KeyPhase};
use crate::execute::Outcome;
use crate::observed::{KeyProof, Secret};
use crate::plan::Action;
use crate::vocabulary::conditions::{ConditionType, Reason};

/// The key in the Secret `name`, after a check that began with `before`.
pub(super) fn credentials(before: CredentialsStatus, name: &str, check: &Checked<'_>, now: Timestamp) -> CredentialsStatus {
    let key = check.observed.proof.key().map(|key| key.id.clone());
    let known = before.access_key_id == key;
    let mut now_known = CredentialsStatus {
        secret_name: Some(name.to_owned()),
        verified_at: before.verified_at.filter(|_| known),
        identity: before.identity.filter(|_| known),
        phase: before.phase.filter(|_| known),
        access_key_id: key,
        ..CredentialsStatus::default()
    };
    match check.report.outcome(|action| matches!(action, Action::Verify { .. })) {
        Some(Outcome::Done(_)) => {
            now_known.phase = Some(KeyPhase::Verified);
            now_known.verified_at = Some(Time(now));
        }
        Some(Outcome::Failed(problem)) if problem.is_permanent() => now_known.phase = Some(KeyPhase::Rejected),
        _ => {}
    }
    if matches!(check.observed.proof, KeyProof::Rejected(..)) {
        now_known.phase = Some(KeyPhase::Rejected);
    }
    now_known.identity = identity(check).map(str::to_owned).or(now_known.identity);
    now_known
}

/// ARN of the key's owner, if this reconcile has asked for it.
fn identity<'a>(check: &'a Checked<'_>) -> Option<&'a str> {
    tried(check)?.iter().find_map(|tried| tried.found.as_deref())
}

/// The verdict on a part, if it differs because the key in the Secret `name` is not managed.
pub(super) fn verdict(check: &Checked<'_>, name: &str, part: ConditionType) -> Option<Verdict> {
    let left = |what: &str| Some(Verdict::holds(Reason::NotManaged, format!("credentials.source is Existing: {what}")));
    match part {
        ConditionType::UserReady => left("the operator manages no IAM user"),
        ConditionType::PolicyInSync => left("the owner of the key manages its permissions"),
        ConditionType::AccessInSync => left("the owner of the Secret manages access to it"),
        ConditionType::CredentialsReady if matches!(check.observed.secret, Secret::UserProvided(_)) => {
            check.observed.proof.key()?;
            Some(Verdict::holds(Reason::InSync, format!("Secret {name} contains an access key, which the operator only reads")))
        }
        ConditionType::Verified if check.observed.proof.key().is_none() => {
            Some(Verdict::unknown(Reason::Waiting, format!("waits for Secret {name}")))
        }
        _ => None,
    }
}

/// The owner of the key that was used, for the condition `Verified`.
pub(super) fn whose(check: &Checked<'_>) -> String {
    let Some(arn) = identity(check).or(check.remembered.credentials.identity.as_deref()) else { return String::new() };
    let account = arn.split(':').nth(4).unwrap_or_default();
    let other = if account == check.desired.account.id { "" } else { ", in another AWS account than the bucket" };
    format!("; it belongs to {arn}{other}")
}
