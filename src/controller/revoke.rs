//! Revocation: a requested revocation comes first in a reconcile, whatever else is wrong.
//!
//! It needs the sealed recorded state (the user and its account), a session in that account and the user itself. It
//! does not need a valid spec, the account's rules, `suspend`, the bucket, or a free budget of the account
//! (docs/operations.md, "A leaked key").

use std::time::Duration;

use kube::ResourceExt;

use super::Context;
use super::accounts::{self, Opened};
use super::finish::{finish, ports};
use crate::api::BucketConnection;
use crate::execute::{Report, execute_on_user};
use crate::fair::at_once;
use crate::observed::Remembered;
use crate::plan::{Blocker, Plan, revocation};
use crate::status::{CutOff, Stage, condition};
use crate::vocabulary::conditions::{ConditionType, Reason};
use crate::vocabulary::problem::Problem;

/// Revokes what `object` had issued, and ends the reconcile. A part that failed is retried soon; other work on the
/// object waits until all parts are done.
pub(super) async fn revoke(
    object: &BucketConnection,
    remembered: &Remembered,
    context: &Context,
) -> Result<Option<Duration>, Problem> {
    let user = remembered.user.as_ref().map(|user| user.name.clone()).unwrap_or_default();
    let blocked = |blocker: Blocker| (Plan { blockers: vec![blocker], ..Plan::default() }, Report::default(), Vec::new());
    let (plan, report, foreign) = match open(object, context).await {
        Ok(opened) => cut_off(object, remembered, &user, &opened, context).await,
        Err(blocker) => blocked(blocker),
    };
    let cut = CutOff { user: &user, plan: &plan, report: &report, foreign: &foreign };
    finish(object, Stage::Revoking(&cut), context).await
}

async fn cut_off(
    object: &BucketConnection,
    remembered: &Remembered,
    user: &str,
    opened: &Opened,
    context: &Context,
) -> (Plan, Report, Vec<String>) {
    // The previous attempt found no room for the denial.
    let told = object.status.as_ref().and_then(|status| condition(status, ConditionType::RevocationComplete));
    let make_room = told.is_some_and(|told| told.reason == Reason::QuotaExceeded.to_string());
    let observed = at_once(opened.aws.observe_user(user)).await;
    let plan = revocation::cut_off(remembered, &observed, make_room, (context.clock)());
    let report = at_once(execute_on_user(&ports(object, opened, context), user, &plan)).await;
    let foreign = revocation::foreign(remembered, &observed);
    tracing::warn!(user, keys = plan.steps.len().saturating_sub(2), "revocation");
    (plan, report, foreign)
}

/// Opens the account: as its AWSAccount is now or, if that was deleted or cannot be read, as the recorded state has it.
async fn open(object: &BucketConnection, context: &Context) -> Result<Opened, Blocker> {
    let account = context.account_of(object).await.unwrap_or_default();
    let opened = accounts::open_remembered(object, account.as_ref(), &context.sessions, &context.kubernetes).await?;
    let known = object.status.as_ref().and_then(|status| status.memory.account_id.as_ref());
    if known.is_some_and(|known| *known != opened.account.id) {
        let message = format!(
            "the user is in account {}, but AWSAccount {} now signs in to account {}: correct its credentials",
            known.map_or("", String::as_str),
            object.spec.account_ref.name,
            opened.account.id
        );
        let part = ConditionType::AccountReady;
        return Err(Blocker { part, reason: Reason::WrongAccount, message, stalled: true, problem: None });
    }
    tracing::debug!(connection = object.name_any(), "account opened for a revocation");
    Ok(opened)
}
