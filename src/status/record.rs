//! AWS remembers what the status knows of the keys: the tag on the user is compared with the folded status, and written where it
//! differs. Most passes find it as it is; the first key is recorded by the plan itself, beside its proof.

use super::Checked;
use crate::api::conditions::ConditionType;
use crate::api::{BucketConnectionStatus, ManagementMode};
use crate::desired::names;
use crate::execute::{Fact, Outcome};
use crate::observed::Ledger;
use crate::plan::{Action, Step};
use crate::settings::Reading;

/// The step that writes what `after`, the folded status, knows of the keys to the user's tag; `None` where the tag says it already, or
/// the user is not ours to tag.
pub fn record(after: &BucketConnectionStatus, check: &Checked<'_>) -> Option<Step> {
    let Checked { desired, plan, .. } = check;
    let ours = after.memory.user.is_some() && desired.existing.is_none();
    let enforced = desired.management.of("credentials") == ManagementMode::Enforce;
    if plan.frozen || plan.hands_off || !ours || !enforced {
        return None;
    }
    let wanted = Ledger::of(after.memory.credentials.as_ref()?);
    let live = recorded(check)?;
    let action = Action::RecordKeys { ledger: wanted.clone(), issued: false };
    let step = Step { action, part: ConditionType::CredentialsReady, diffs: Vec::new(), after: Vec::new(), drift: false };
    (wanted.to_string() != live).then_some(step)
}

/// What the tag says after this pass; `None` where that is not known.
fn recorded(check: &Checked<'_>) -> Option<String> {
    let steps = check.plan.steps.iter().zip(&check.report.outcomes).rev();
    let written = steps.filter(|(_, outcome)| outcome.is_done()).find_map(|(step, outcome)| match (&step.action, outcome) {
        (_, Outcome::Done(Fact::Recorded(value))) => Some(value.clone()),
        (Action::CreateUser { tags }, _) => Some(tags.get(names::KEYS_TAG).cloned().unwrap_or_default()),
        _ => None,
    });
    written.or_else(|| match &check.observed.user {
        Reading::Set(user) => Some(user.tags.get(names::KEYS_TAG).cloned().unwrap_or_default()),
        _ => None,
    })
}
