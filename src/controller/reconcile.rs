//! One pass over one object: resolve, observe, plan, execute, fold. Whatever happens, the status tells.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;

use super::Context;
use crate::api::conditions::Reason;
use crate::api::{BucketConnection, BucketConnectionStatus, DeletionPolicy, FINALIZER};
use crate::aws::{Aws, Look};
use crate::desired::{self, Desired, SpecError};
use crate::execute::{Outcome, Ports, Report, execute};
use crate::kubernetes::Kubernetes;
use crate::observed::{Access, Observed, Remembered, Secret};
use crate::plan::{self, Action, Plan, deletion};
use crate::problem::{Class, Problem};
use crate::status::{Checked, Pass, Stage, fold, intend, notes, worth_writing};

/// One pass; returns the time until the next one, or `None` when the object is done with.
pub(super) async fn reconcile(object: &BucketConnection, context: &Context) -> Result<Option<Duration>, Problem> {
    let object = &match context.kubernetes.fresh(object).await {
        // Deleted meanwhile.
        Err(problem) if problem.class == Class::Missing => {
            forget(object, context);
            return Ok(None);
        }
        fresh => fresh?,
    };
    if object.metadata.deletion_timestamp.is_some() {
        return delete(object, context).await;
    }
    if object.spec.suspend {
        return finish(object, Stage::Suspended, context).await;
    }
    let account = match context.aws.account().await {
        Ok(account) => account,
        Err(problem) => return finish(object, Stage::NoAccount(&problem), context).await,
    };
    let desired = match desired::resolve(object, &context.kubernetes.cluster, &account) {
        Ok(desired) => desired,
        Err(errors) => return finish(object, Stage::Invalid(&errors), context).await,
    };
    // Before anything is created, so that nothing is ever left behind.
    let held = object.finalizers().iter().any(|name| name == FINALIZER);
    let mut object = if held { object.clone() } else { context.kubernetes.add_finalizer(object).await? };
    let object = &mut object;
    let remembered = Remembered::of(object);
    let observed = observe(object, &desired, &remembered, &context.aws, &context.kubernetes, Creation::Optimistic).await;
    let plan = plan::plan(&desired, &observed, &remembered, Timestamp::now());
    if let Some(intended) = intend(object, &desired, &plan, Timestamp::now()) {
        context.kubernetes.write_intent(object, &intended).await?;
        object.status = Some(intended);
    }
    let report = execute(&ports(object, context), &desired, &plan).await;
    let checked = Checked { desired: &desired, observed: &observed, remembered: &remembered, plan: &plan, report: &report };
    finish(object, Stage::Checked(checked), context).await
}

/// What the next pass would do to `object`, for the `plan` subcommand. Looks, and changes nothing.
pub async fn preview(object: &BucketConnection, aws: &Aws, kubernetes: &Kubernetes) -> Result<(Desired, Plan), PreviewError> {
    let account = aws.account().await.map_err(PreviewError::SignIn)?;
    let desired = desired::resolve(object, &kubernetes.cluster, &account).map_err(PreviewError::Invalid)?;
    let remembered = Remembered::of(object);
    let observed = observe(object, &desired, &remembered, aws, kubernetes, Creation::Looked).await;
    let plan = plan::plan(&desired, &observed, &remembered, Timestamp::now());
    Ok((desired, plan))
}

/// Why there is no plan.
pub enum PreviewError {
    /// The operator's credentials do not work.
    SignIn(Problem),
    /// The spec cannot be carried out.
    Invalid(Vec<SpecError>),
}

#[derive(PartialEq, Eq)]
enum Creation {
    /// A brand-new object is created without looking first; "it is there already" ends that branch, and the next pass looks.
    Optimistic,
    /// Everything is looked at.
    Looked,
}

async fn observe(
    object: &BucketConnection,
    desired: &Desired,
    remembered: &Remembered,
    aws: &Aws,
    kubernetes: &Kubernetes,
    creation: Creation,
) -> Observed {
    let (secret, earlier) = secrets(object, desired, remembered, kubernetes).await;
    let access = access(object, remembered.access_names(desired, &secret), kubernetes).await;
    if creation == Creation::Optimistic && !remembered.seen && matches!(secret, Secret::Absent) {
        return Observed { secret, access, ..Observed::default() };
    }
    Observed { access, ..aws.observe(desired, remembered, secret, earlier, Look::Check).await }
}

/// The Secret, and those of earlier specs' names: rarely any.
async fn secrets(
    object: &BucketConnection,
    desired: &Desired,
    remembered: &Remembered,
    kubernetes: &Kubernetes,
) -> (Secret, BTreeMap<String, Secret>) {
    let mut earlier = BTreeMap::new();
    for name in remembered.earlier_secrets(desired) {
        earlier.insert(name.clone(), kubernetes.secret(object, name).await);
    }
    (kubernetes.secret(object, &desired.secret.name).await, earlier)
}

/// Who may read the Secret: two reads for each of `names`, which are none for an object that names no groups.
async fn access(
    object: &BucketConnection,
    names: impl IntoIterator<Item = String>,
    kubernetes: &Kubernetes,
) -> BTreeMap<String, Access> {
    let mut found = BTreeMap::new();
    for name in names {
        let live = kubernetes.access(object, &name).await;
        found.insert(name, live);
    }
    found
}

/// A pass over an object that is being deleted.
async fn delete(object: &BucketConnection, context: &Context) -> Result<Option<Duration>, Problem> {
    if !object.finalizers().iter().any(|name| name == FINALIZER) {
        return Ok(None);
    }
    let remembered = Remembered::of(object);
    let (plan, report) = if object.spec.deletion_policy == DeletionPolicy::Retain {
        let secret = context.kubernetes.secret(object, &deletion::secret_name(object, &remembered)).await;
        let readers = access(object, remembered.roles.clone(), &context.kubernetes).await;
        let plan = deletion::retain(object, &remembered, &secret, &readers);
        let report = release(object, context, &plan).await;
        (plan, report)
    } else {
        let account = match context.aws.account().await {
            Ok(account) => account,
            Err(problem) => return finish(object, Stage::NoAccount(&problem), context).await,
        };
        match desired::resolve(object, &context.kubernetes.cluster, &account) {
            Ok(desired) => {
                let (secret, earlier) = secrets(object, &desired, &remembered, &context.kubernetes).await;
                let access = access(object, remembered.access_names(&desired, &secret), &context.kubernetes).await;
                let observed = context.aws.observe(&desired, &remembered, secret, earlier, Look::Deletion).await;
                let observed = Observed { access, ..observed };
                let plan = deletion::delete(&desired, &observed, &remembered);
                let report = execute(&ports(object, context), &desired, &plan).await;
                (plan, report)
            }
            // A spec that could never be carried out has left nothing behind.
            Err(_) if remembered.bucket_arn.is_none() && remembered.user.is_none() => Default::default(),
            Err(errors) => return finish(object, Stage::Invalid(&errors), context).await,
        }
    };
    if !plan.blockers.is_empty() || report.outcomes.iter().any(|outcome| !outcome.is_done()) {
        return finish(object, Stage::Deleting(&plan, &report), context).await;
    }
    let text = match object.spec.deletion_policy {
        DeletionPolicy::Retain => "released: bucket, user, policy, key and Secret stay as they are",
        DeletionPolicy::Delete => "deleted, with what it had in AWS",
    };
    context.kubernetes.publish(object, false, Reason::Deleted, text).await;
    context.kubernetes.remove_finalizer(object).await?;
    forget(object, context);
    Ok(None)
}

fn forget(object: &BucketConnection, context: &Context) {
    context.backoff.forget(&object.uid().unwrap_or_default());
    context.kubernetes.forget(object);
}

/// Carries out the steps of `Retain`, which need neither AWS nor a valid spec.
async fn release(object: &BucketConnection, context: &Context, plan: &Plan) -> Report {
    let kubernetes = &context.kubernetes;
    let mut report = Report::default();
    for step in &plan.steps {
        let released = match &step.action {
            Action::ReleaseSecret { name } => kubernetes.release_secret(object, name).await,
            Action::ReleaseGrant { kind, name } => kubernetes.release_grant(object, *kind, name).await,
            _ => continue,
        };
        report.outcomes.push(released.map_or_else(Outcome::Failed, |()| Outcome::DONE));
    }
    report
}

fn ports<'a>(object: &'a BucketConnection, context: &'a Context) -> Ports<'a> {
    Ports { aws: &context.aws, kubernetes: &context.kubernetes, object, stop: &context.stop }
}

/// The end of every pass: fold, write the status if it says anything new, tell in Events, and choose the time of the next pass.
async fn finish(object: &BucketConnection, stage: Stage<'_>, context: &Context) -> Result<Option<Duration>, Problem> {
    let suspended = matches!(stage, Stage::Suspended);
    let pass = Pass { object, now: Timestamp::now(), stage };
    let before = object.status.clone().unwrap_or_default();
    let after = fold(&pass);
    let done = match &pass.stage {
        Stage::Checked(check) => Some((check.desired, check.plan, check.report)),
        _ => None,
    };
    if worth_writing(&before, &after, pass.now) {
        context.kubernetes.write_status(object, &after).await.or_else(|problem| match problem.class {
            // Deleted meanwhile: there is nobody to tell.
            Class::Missing => Ok(()),
            _ => Err(problem),
        })?;
    }
    for note in notes(&before, &after, done) {
        context.kubernetes.publish(object, note.warning, note.reason, &note.text).await;
    }
    log(&after, done);
    let uid = object.uid().unwrap_or_default();
    if suspended {
        context.backoff.forget(&uid);
        return Ok(None);
    }
    let resync = Duration::from(object.spec.resync_interval);
    Ok(Some(context.backoff.next(&uid, &after, done.map(|(_, _, report)| report), resync)))
}

fn log(status: &BucketConnectionStatus, done: Option<(&Desired, &Plan, &Report)>) {
    if let Some((desired, plan, report)) = done {
        for (step, outcome) in plan.steps.iter().zip(&report.outcomes) {
            let what = crate::render::summary(step, desired);
            match outcome.problem() {
                Some(problem) => tracing::warn!(step = what, %problem, "not done"),
                None => tracing::info!(step = what, drift = step.drift, done = outcome.is_done(), "step"),
            }
        }
    }
    if let Some(ready) = crate::status::condition(status, crate::api::conditions::ConditionType::Ready) {
        tracing::info!(ready = ready.status, reason = ready.reason, message = ready.message, "pass ended");
    }
}
