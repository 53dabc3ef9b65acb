//! The executor: runs steps as their dependencies allow.

use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};

use super::key::issue;
use super::ports::{Issued, Ports, StepResult};
use super::{Executed, Outcome, Report, StepOutput};
use crate::desired::{Desired, names};
use crate::plan::{Action, Plan, Step, revocation};
use crate::sdk::BucketCalls;
use crate::settings;
use crate::vocabulary::problem::{Class, Problem, Source};

/// Executes `plan`.
///
/// A step starts when all steps that it depends on are done; if one of those was not, it is skipped. Writes to the
/// bucket are sent one after the other, whether or not the previous one succeeded, because S3 refuses parallel ones
/// (409 OperationAborted).
pub async fn execute(ports: &Ports<'_>, desired: &Desired, plan: &Plan) -> Report {
    carry_out(plan, |step, issued| run(ports, desired, step, issued).boxed()).await
}

/// Executes a plan that changes only the IAM user `user`, for an object whose spec may be invalid. Other steps are
/// skipped.
pub async fn execute_on_user(ports: &Ports<'_>, user: &str, plan: &Plan) -> Report {
    carry_out(plan, |step, _| {
        async move {
            match ports.fence.ensure_valid_for(Duration::ZERO) {
                Ok(()) => on_user(ports, user, &step.action).await.unwrap_or_else(|| Outcome::Skipped.into()),
                Err(problem) => Outcome::Failed(problem).into(),
            }
        }
        .boxed()
    })
    .await
}

async fn carry_out<'a>(plan: &'a Plan, run: impl Fn(&'a Step, Option<Issued>) -> BoxFuture<'a, StepResult>) -> Report {
    let mut outcomes: Vec<Option<Outcome>> = vec![None; plan.steps.len()];
    let mut started = vec![false; plan.steps.len()];
    let mut issued: Option<Issued> = None;
    let mut bucket_busy = false;
    let mut running: FuturesUnordered<BoxFuture<'a, (usize, StepResult)>> = FuturesUnordered::new();
    loop {
        for (index, step) in plan.steps.iter().enumerate() {
            if started[index] || (bucket_busy && step.action.writes_bucket()) {
                continue;
            }
            let before: Option<Vec<_>> = step.after.iter().map(|before| outcomes[*before].as_ref()).collect();
            let Some(before) = before else { continue };
            started[index] = true;
            if before.iter().all(|outcome| outcome.is_done()) {
                bucket_busy |= step.action.writes_bucket();
                let ran = run(step, issued.clone());
                running.push(async move { (index, ran.await) }.boxed());
            } else {
                outcomes[index] = Some(Outcome::Skipped);
            }
        }
        match running.next().await {
            Some((index, ran)) => {
                if plan.steps[index].action.writes_bucket() {
                    bucket_busy = false;
                }
                issued = ran.key.or(issued);
                outcomes[index] = Some(ran.outcome);
            }
            // Nothing runs: each step that has not started depends on a skipped step later in the list.
            None if started.iter().all(|started| *started) => break,
            None => {}
        }
    }
    let outcomes = outcomes.into_iter().map(|outcome| outcome.unwrap_or(Outcome::Skipped));
    Report { steps: plan.steps.iter().cloned().zip(outcomes).map(|(step, outcome)| Executed { step, outcome }).collect() }
}

/// Executes steps that need only the name of the user; `None` for all others.
async fn on_user(ports: &Ports<'_>, user: &str, action: &Action) -> Option<StepResult> {
    let aws = ports.aws;
    let done = match action {
        Action::DeleteInlinePolicy { name } => aws.delete_inline_policy(user, name).await,
        Action::ActivateKey { id } => aws.set_active(user, id, true).await,
        Action::DeactivateKey { id } => aws.set_active(user, id, false).await,
        Action::DeleteKey { id } => aws.delete_key(user, id).await,
        Action::DenyAllAccess { sessions_before } => {
            aws.put_inline_policy(user, names::REVOKED, &revocation::denial(*sessions_before)).await
        }
        Action::RemoveDenyPolicy => aws.delete_inline_policy(user, names::REVOKED).await,
        _ => return None,
    };
    Some(done.into())
}

async fn run(ports: &Ports<'_>, desired: &Desired, step: &Step, issued: Option<Issued>) -> StepResult {
    let Ports { aws, kubernetes, object, stop, fence, .. } = ports;
    if let Err(problem) = fence.ensure_valid_for(Duration::ZERO) {
        return Outcome::Failed(problem).into();
    }
    let user = &desired.user.name;
    if let Some(ran) = on_user(ports, user, &step.action).await {
        return ran;
    }
    let bucket: BucketCalls<'_> = aws.bucket(&desired.region, &desired.bucket.name, &desired.account.id);
    match &step.action {
        Action::CreateBucket { tags } => {
            let from = (ports.clock)();
            bucket.create(&desired.region, tags).await.map(|()| StepOutput::Bucket { from, to: (ports.clock)() }).into()
        }
        Action::WriteSetting(write) => settings::write(&bucket, write).await.into(),
        Action::CreateUser { tags } => aws.create_user(&desired.user, tags).await.map(|id| StepOutput::User { id }).into(),
        Action::SetPermissionsBoundary { arn } => aws.bound_user(user, arn).await.into(),
        Action::TagUser { set, remove } => aws.tag_user(user, set, remove).await.into(),
        Action::PutInlinePolicy { name, document } => aws.put_inline_policy(user, name, document).await.into(),
        Action::CreatePolicy { document, tags } => {
            let created = aws.create_policy(&desired.policy, document, tags).await;
            created.map(|(version, id)| StepOutput::Policy { version, id }).into()
        }
        Action::UpdatePolicy { document, prune } => {
            let updated = aws.update_policy(&desired.policy.arn, document, prune.as_deref()).await;
            updated.map(|version| StepOutput::Policy { version, id: None }).into()
        }
        Action::TagPolicy { arn, set, remove } => aws.tag_policy(arn, set, remove).await.into(),
        Action::AttachPolicy { arn } => aws.attach_policy(user, arn).await.into(),
        Action::RemovePolicy { arn } => aws.remove_policy(user, arn).await.into(),
        Action::IssueKey { secret, version, .. } => issue(ports, user, &desired.secret.named(secret), *version).await,
        Action::RecordKeys { ledger, issued: asked } => {
            let mut ledger = ledger.clone();
            if *asked {
                ledger.current = issued.map(|issued| issued.key.id);
            }
            let tags = ledger.tags();
            aws.tag_user(user, &tags, &[]).await.map(|()| StepOutput::Recorded(tags)).into()
        }
        Action::DryRunSecret { name } => kubernetes.try_secret(object, &desired.secret.named(name)).await.map(drop).into(),
        Action::WriteSecret { name, key, created_at, version } => {
            let (key, created_at) = match (key, issued) {
                (Some(key), _) => (key.clone(), *created_at),
                (None, Some(issued)) => (issued.key, Some(issued.at)),
                (None, None) => return Outcome::Skipped.into(),
            };
            kubernetes.write_secret(object, &desired.secret.named(name), &key, created_at, *version).await.into()
        }
        Action::Restart { kind, name, key } => match key.clone().or(issued.map(|issued| issued.key.id)) {
            Some(key) => kubernetes.restart(object, *kind, name, &key).await.into(),
            None => Outcome::Skipped.into(),
        },
        Action::DeleteSecret { name } => kubernetes.delete_secret(object, name).await.into(),
        Action::ReleaseSecret { name } => kubernetes.release_secret(object, name).await.into(),
        Action::WriteRole { name, secrets } => kubernetes.write_role(object, name, secrets).await.into(),
        Action::WriteRoleBinding { name, groups } => kubernetes.write_role_binding(object, name, groups).await.into(),
        Action::DeleteRbac { kind, name } => kubernetes.delete_rbac(object, *kind, name).await.into(),
        Action::ReleaseRbac { kind, name } => kubernetes.release_rbac(object, *kind, name).await.into(),
        Action::Verify { key, patient } => match key.clone().or(issued.map(|issued| issued.key)) {
            Some(key) => tokio::select! {
                proven = aws.verify(desired, &key, *patient) => match proven {
                    Ok(tried) => Outcome::Done(StepOutput::ProbeResult(tried)).into(),
                    Err((problem, true)) => Outcome::Pending(problem).into(),
                    Err((problem, false)) => Outcome::Failed(problem).into(),
                },
                () = stop.cancelled() => Outcome::Pending(Problem::at(Source::Operator, Class::BadKey, "verify", "Stopping", "")).into(),
            },
            None => Outcome::Skipped.into(),
        },
        Action::EmptyBucket => match bucket.empty().await {
            Ok(true) => Outcome::DONE.into(),
            Ok(false) => {
                let more = Problem::new(Class::Conflict, "s3:DeleteObjectVersion", "MoreToDelete", "there are more objects");
                Outcome::Pending(more).into()
            }
            Err(problem) => Outcome::Failed(problem).into(),
        },
        Action::DeleteBucket => bucket.delete().await.into(),
        Action::DeleteUser => aws.delete_user(user).await.into(),
        // Executed by `on_user`.
        Action::DeleteInlinePolicy { .. }
        | Action::ActivateKey { .. }
        | Action::DeactivateKey { .. }
        | Action::DeleteKey { .. }
        | Action::DenyAllAccess { .. }
        | Action::RemoveDenyPolicy => Outcome::Skipped.into(),
    }
}
