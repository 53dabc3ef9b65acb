//! The status of an `AWSAccount`.

use jiff::Timestamp;

use super::conditions::set;
use super::silence::outlasts;
use crate::api::{AWSAccount, AWSAccountStatus};
use crate::desired::Account;
use crate::plan::Blocker;
use crate::settings::wrong_fields;
use crate::vocabulary::conditions::{ConditionType, Reason};
use crate::vocabulary::problem::join_names;

/// The result of reading an account.
pub enum Finding<'a> {
    /// The operator is signed in, as this ARN.
    SignedIn(&'a Account, &'a str),
    /// It could not sign in, or not to the right account.
    Failed(&'a Blocker),
    /// It is being deleted, and these connections need it.
    InUse(&'a [String]),
}

/// The status that `account` should have.
pub fn fold_account(account: &AWSAccount, finding: &Finding<'_>, now: Timestamp) -> AWSAccountStatus {
    let mut status = account.status.clone().unwrap_or_default();
    let generation = account.metadata.generation;
    status.observed_generation = generation;
    let (ready, reason, message, stalled) = match finding {
        Finding::SignedIn(found, identity) => {
            status.account_id = Some(found.id.clone());
            status.partition = Some(found.partition.clone());
            status.identity = Some((*identity).to_owned());
            let rules = account.spec.allowed_namespaces.len();
            let nobody = if rules == 0 { "; no namespace may use it: spec.allowedNamespaces is empty" } else { "" };
            let void = account.spec.allowed_namespaces.iter().enumerate().filter_map(|(index, rule)| {
                Some(format!("; allowedNamespaces[{index}] has no effect: {}", wrong_fields(&rule.unknown)?))
            });
            let void: String = void.collect();
            (
                true,
                Reason::SignedIn,
                format!("signed in to account {} ({}) as {identity}{nobody}{void}", found.id, found.partition),
                false,
            )
        }
        Finding::Failed(blocker)
            if blocker.reason == Reason::AWSUnavailable && status.identity.is_none() && outlasts(&status.conditions, now) =>
        {
            let advice = "AWS does not answer, and the operator never signed in here: check spec.region and spec.endpoints, then network and proxy";
            (false, Reason::RegionUnavailable, format!("{}; {advice}", blocker.message), true)
        }
        Finding::Failed(blocker) => (false, blocker.reason, blocker.message.clone(), blocker.stalled),
        Finding::InUse(connections) => {
            let named = join_names(connections);
            let message = format!("not deleted yet, because BucketConnections need it: {named}; delete them first");
            (false, Reason::InUse, message, true)
        }
    };
    let conditions = &mut status.conditions;
    set(conditions, generation, now, ConditionType::Ready, Some(ready), reason, &message);
    let (other, text) = if ready { (Reason::Settled, "nothing is in progress") } else { (reason, message.as_str()) };
    set(conditions, generation, now, ConditionType::Reconciling, Some(!ready && !stalled), other, text);
    let (other, text) = if stalled { (reason, message.as_str()) } else { (Reason::NotStalled, "no action required") };
    set(conditions, generation, now, ConditionType::Stalled, Some(stalled), other, text);
    status
}
