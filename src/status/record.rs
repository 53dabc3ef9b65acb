//! Records in AWS what the status knows: compares the tags on the user with the folded status, and writes them if they
//! differ. Most reconciles find them equal. The plan itself records the first key, in parallel with its verification.

use super::Checked;
use crate::api::{BucketConnectionStatus, ManagementMode, PolicyType};
use crate::execute::{Executed, Outcome, StepOutput};
use crate::observed::Ledger;
use crate::plan::{Action, Step};
use crate::settings::tags::Tags;
use crate::vocabulary::conditions::ConditionType;

/// The step that writes the folded status `after` to the user's tags; `None` if the tags are already right, or the user
/// is foreign.
pub fn record(after: &BucketConnectionStatus, check: &Checked<'_>) -> Option<Step> {
    let Checked { desired, plan, .. } = check;
    let ours = after.memory.user.is_some() && desired.identity.is_managed();
    let enforced = desired.management.of("credentials") == ManagementMode::Enforce;
    if plan.frozen || plan.hands_off || !ours || !enforced {
        return None;
    }
    let (credentials, live) = (after.memory.credentials.as_ref()?, recorded(check)?);
    let mut wanted = Ledger::of(credentials);
    wanted.policy = after.memory.policy.as_ref().map(|policy| (policy.kind, policy.name.clone()));
    // The earlier name stays until nothing is left under it: if the status is lost, the spec has the new name.
    let known = Ledger::of_tags(&live);
    let left = |(kind, name): &(PolicyType, String)| {
        after.memory.earlier_policies.iter().any(|policy| (policy.kind, &policy.name) == (*kind, name))
    };
    wanted.secret = known.secret.filter(|name| credentials.earlier_secrets.contains(name)).or(wanted.secret);
    wanted.policy = known.policy.filter(left).or(wanted.policy);
    let missing = wanted.tags().iter().any(|(key, value)| live.get(key) != Some(value));
    let action = Action::RecordKeys { ledger: wanted.clone(), issued: false };
    missing.then(|| Step::new(ConditionType::CredentialsReady, action, Vec::new()))
}

/// The user's tags after this reconcile; `None` if they are not known.
fn recorded(check: &Checked<'_>) -> Option<Tags> {
    let mut live = check.observed.user.set().map(|user| user.tags.clone());
    for Executed { step, outcome } in &check.report.steps {
        match (&step.action, outcome) {
            (_, Outcome::Done(StepOutput::Recorded(tags))) => live.get_or_insert_default().extend(tags.clone()),
            (Action::CreateUser { tags }, Outcome::Done(_)) => live = Some(tags.clone()),
            _ => {}
        }
    }
    live
}
