//! A key that the operator did not issue and does not manage: it only verifies the key. It plans no user, policy, key or Secret.

use super::{Action, Planner};
use crate::credentials::written_key;
use crate::desired::Desired;
use crate::observed::{KeyProof, Observed, Secret};
use crate::vocabulary::conditions::{ConditionType, Reason};
use crate::vocabulary::problem::DENIERS;

const PART: ConditionType = ConditionType::CredentialsReady;
const FIELDS: &str = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";

/// Plans to verify the key in the Secret `name`, after `base`.
pub(super) fn plan(planner: &mut Planner<'_>, desired: &Desired, observed: &Observed, name: &str, base: &[usize]) {
    match &observed.secret {
        Secret::Absent => {
            let message = format!("Secret {name} (credentials.existingSecretRef) does not exist; create it with {FIELDS}");
            return planner.stall(PART, Reason::SecretMissing, message);
        }
        Secret::Unreadable(problem) => return planner.unreadable(PART, problem),
        Secret::UserProvided(_) | Secret::NotRead | Secret::Foreign(_) | Secret::Ours(_) => {}
    }
    match &observed.proof {
        KeyProof::NotTried => {
            if let Secret::UserProvided(data) = &observed.secret
                && let Err(why) = written_key(data)
            {
                let message = format!("Secret {name} contains no usable access key: {why}");
                planner.stall(PART, Reason::SecretMissing, message);
            }
        }
        KeyProof::Works(key) | KeyProof::OtherUser(key, _) => {
            let known = &planner.remembered;
            let another = known.credentials.access_key_id.as_ref() != Some(&key.id);
            if another || !known.verified || known.unproven || !base.is_empty() {
                // The key is not new, so nothing has to propagate.
                let action = Action::Verify { key: Some(key.clone()), patient: false };
                planner.step(ConditionType::Verified, action, Vec::new(), base);
            }
        }
        KeyProof::Denied(key, problem) => {
            let message = format!(
                "{} ({}) is denied what preset {} needs ({}); ask the owner of the key to allow it{DENIERS}",
                desired.key(),
                key.id,
                desired.preset,
                problem.brief()
            );
            planner.stall(ConditionType::Verified, Reason::AccessDenied, message);
        }
        KeyProof::Rejected(key, problem) => {
            let message = format!(
                "AWS does not accept {} ({}: {}); put a working access key into the Secret",
                desired.key(),
                key.id,
                problem.code
            );
            planner.stall(ConditionType::Verified, Reason::KeyRejected, message);
        }
        KeyProof::Unclear(_, problem) => planner.unreadable(ConditionType::Verified, problem),
    }
}
