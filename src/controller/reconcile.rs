//! One reconcile of one object: resolve, observe, plan, execute, fold. The status reports the result in any case.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::ResourceExt;

use super::Context;
use super::accounts::{self, Opened};
use super::finish::{finish, ports};
use super::observe::{Discovery, Observer, access};
use super::panics::caught_async;
use super::revoke::revoke;
use super::stages::{Unfit, internal_error};
use crate::api::{BucketConnection, DeletionPolicy, FINALIZER};
use crate::desired::claims::{self, Claim, Conflict};
use crate::desired::{self, Desired, Grant, Management};
use crate::execute::{Executed, Outcome, Report, execute};
use crate::observed::Remembered;
use crate::plan::{self, Action, Blocker, Plan, deletion};
use crate::status::{self, Checked, Reconcile, Stage, fold, intend};
use crate::vocabulary::conditions::{ConditionType, Reason};
use crate::vocabulary::problem::{Class, Place, Problem};

/// One reconcile; returns the time until the next one, or `None` if the object is finished. The object also reports a
/// panic, and a permission in Kubernetes that each reconcile needs.
pub(super) async fn reconcile(object: &BucketConnection, context: &Context) -> Result<Option<Duration>, Problem> {
    // Boxed, as every stage is: together in one future they would take a large part of a thread's stack.
    match caught_async(Box::pin(stages(object, context))).await {
        Ok(Err(problem)) if problem.class == Class::Denied => {
            let mut object = context.kubernetes.fresh(object).await?;
            context.seal.check(&mut object);
            let blocker = Blocker::unreadable(ConditionType::Ready, &problem, &Place::default());
            finish(&object, Stage::Refused(&blocker), context).await
        }
        Ok(ended) => ended,
        Err(place) => {
            // The current object: the reconcile may have recorded what it was about to do.
            let mut object = context.kubernetes.fresh(object).await?;
            context.seal.check(&mut object);
            finish(&object, Stage::Refused(&internal_error(place.as_deref())), context).await
        }
    }
}

async fn stages(object: &BucketConnection, context: &Context) -> Result<Option<Duration>, Problem> {
    context.fence.ensure_valid_for(Duration::ZERO)?;
    let mut object = match context.kubernetes.fresh(object).await {
        // The object was deleted in the meantime.
        Err(problem) if problem.class == Class::Missing => {
            forget(object, context);
            return Ok(None);
        }
        fresh => fresh?,
    };
    if let Some(forgotten) = context.seal.check(&mut object) {
        context.kubernetes.forget_status(&object, &forgotten).await?;
    }
    let remembered = Remembered::of(&object);
    if remembered.revoke {
        return Box::pin(revoke(&object, &remembered, context)).await;
    }
    if object.metadata.deletion_timestamp.is_some() {
        // On the heap: it is the largest of all reconciles, and a thread's stack is small.
        return Box::pin(delete(&object, context)).await;
    }
    // Whatever the result of this reconcile: without the finalizer the object could be deleted and leave everything
    // behind.
    let object = &if has_begun(&object) { hold(object, context).await? } else { object };
    if object.spec.suspend {
        return finish(object, Stage::Suspended, context).await;
    }
    let opened = match open(object, context).await {
        Ok(opened) => opened,
        Err(blocker) => return finish(object, Stage::Refused(&blocker), context).await,
    };
    let desired = match resolve(object, &opened, context).await {
        Ok(desired) => desired,
        Err(unfit) => return finish(object, unfit.stage(), context).await,
    };
    // On the heap, too.
    Box::pin(converge(object.clone(), &opened, desired, context)).await
}

/// Observes, plans, executes and folds: brings AWS and the Secret to the desired state.
async fn converge(
    object: BucketConnection,
    opened: &Opened,
    desired: Desired,
    context: &Context,
) -> Result<Option<Duration>, Problem> {
    // Before anything is created, so that nothing is ever left behind.
    let object = &mut hold(object, context).await?;
    let mut remembered = Remembered::of(object);
    let creation = if desired.may_create_blindly() { Discovery::Optimistic } else { Discovery::Full };
    let began = (context.clock)();
    let observer = Observer { object, desired: &desired, aws: &opened.aws, kubernetes: &context.kubernetes, now: began };
    let observed = Box::pin(observer.observe(&mut remembered, creation)).await;
    remembered.recall(object, &desired, &observed);
    let (own, cluster, grant) = (object.clone(), context.kubernetes.cluster.clone(), opened.grant.clone());
    let planned = context.stages.run(object, move || {
        let desired = desired::adapted(desired, observed.versioned(), &own, &cluster, &grant)?;
        let plan = plan::plan(&desired, &observed, &remembered, began);
        Ok((desired, observed, remembered, plan))
    });
    let (desired, observed, remembered, plan) = match planned.await {
        Ok(planned) => planned,
        Err(unfit) => return finish(object, unfit.stage(), context).await,
    };
    for (what, owner) in observed.foreign(&desired) {
        tracing::info!(what, owner, "belongs to another BucketConnection");
    }
    if let Some(mut intended) = intend(object, &desired, &plan, (context.clock)()) {
        context.seal.mark(object, &mut intended);
        context.fence.ensure_valid_for(Duration::ZERO)?;
        context.kubernetes.write_intent(object, &intended).await?;
        object.status = Some(intended);
    }
    let ports = ports(object, opened, context);
    let mut report = Box::pin(execute(&ports, &desired, &plan)).await;
    let sign_in = &opened.sign_in;
    let checked =
        Checked { began, sign_in, desired: &desired, observed: &observed, remembered: &remembered, plan: &plan, report: &report };
    let known = fold(&Reconcile { object, now: (context.clock)(), stage: Stage::Checked(checked) });
    if let Some(step) = status::record(&known, &checked) {
        let bookkeeping = Plan { steps: vec![step], ..Plan::default() };
        report.steps.extend(execute(&ports, &desired, &bookkeeping).await.steps);
    }
    let checked =
        Checked { began, sign_in, desired: &desired, observed: &observed, remembered: &remembered, plan: &plan, report: &report };
    finish(object, Stage::Checked(checked), context).await
}

/// Resolves the spec, with a copy of everything that this needs.
async fn resolve(object: &BucketConnection, opened: &Opened, context: &Context) -> Result<Desired, Unfit> {
    let (own, cluster) = (object.clone(), context.kubernetes.cluster.clone());
    let (account, grant) = (opened.account.clone(), opened.grant.clone());
    context.stages.run(object, move || desired::resolve(&own, &cluster, &account, &grant)).await
}

/// Makes sure that the object has the operator's finalizer.
async fn hold(object: BucketConnection, context: &Context) -> Result<BucketConnection, Problem> {
    let held = object.finalizers().iter().any(|name| name == FINALIZER);
    if held { Ok(object) } else { context.kubernetes.add_finalizer(&object).await }
}

/// Opens the object's account on its grant, and makes sure that no other object owns or claims the same resources.
async fn open(object: &BucketConnection, context: &Context) -> Result<Opened, Blocker> {
    let account = context.account_of(object).await?;
    let others = context.connections.state();
    let others = || others.iter().filter_map(|guarded| guarded.0.as_ref().ok());
    let earlier = claims::earlier(object, others());
    let tenant = accounts::tenant(object, account.as_ref(), earlier, &context.kubernetes).await;
    let tenant = tenant.map_err(|problem| accounts::failed(&problem))?;
    let opened = accounts::open(object, account.as_ref(), tenant, &context.sessions, &context.kubernetes).await;
    let opened = opened.map_err(|not_opened| not_opened.blocker)?;
    match rival(object, others(), &opened.grant, |other| context.claim(other)) {
        Some(blocker) => Err(blocker),
        None => Ok(opened),
    }
}

/// The first of `others` that conflicts with `object`. An object that is only observed conflicts with none.
pub(super) fn rival<'a>(
    object: &BucketConnection,
    others: impl IntoIterator<Item = &'a BucketConnection>,
    grant: &Grant,
    claim: impl Fn(&BucketConnection) -> Claim,
) -> Option<Blocker> {
    if Management::of_spec(&object.spec.management).hands_off() {
        return None;
    }
    let Conflict { part, message, holder } = claims::conflict_with(object, others, &grant.defaults, claim)?;
    tracing::info!(holder, detail = message, "name taken");
    Some(Blocker { part, reason: Reason::NameTaken, message, stalled: true, problem: None })
}

/// Reconciles an object that is being deleted.
async fn delete(object: &BucketConnection, context: &Context) -> Result<Option<Duration>, Problem> {
    if !object.finalizers().iter().any(|name| name == FINALIZER) {
        return Ok(None);
    }
    let mut remembered = Remembered::of(object);
    let (plan, report) = if object.spec.deletion_policy == DeletionPolicy::Retain {
        retain(object, context).await
    } else {
        let opened = match open_for_deletion(object, context).await {
            Ok(opened) => opened,
            // There is nothing to delete.
            Err(blocker) if blocker.stalled && !has_begun(object) => {
                return done(object, context).await;
            }
            Err(blocker) => return finish(object, Stage::Refused(&blocker), context).await,
        };
        match resolve(object, &opened, context).await {
            Ok(desired) => {
                let now = (context.clock)();
                let observer = Observer { object, desired: &desired, aws: &opened.aws, kubernetes: &context.kubernetes, now };
                let observed = Box::pin(observer.observe_for_deletion(&mut remembered)).await;
                let plan = match object.spec.deletion_policy {
                    DeletionPolicy::Release => deletion::release(&desired, &observed, &remembered),
                    DeletionPolicy::Delete | DeletionPolicy::Retain => deletion::delete(&desired, &observed, &remembered),
                };
                let report = execute(&ports(object, &opened, context), &desired, &plan).await;
                (plan, report)
            }
            // A spec that was never valid has left nothing behind.
            Err(Unfit::Invalid(_)) if remembered.bucket.is_none() && remembered.user.is_none() => Default::default(),
            Err(unfit) => return finish(object, unfit.stage(), context).await,
        }
    };
    if !completed(&plan, &report) {
        return finish(object, Stage::Deleting(&plan, &report), context).await;
    }
    done(object, context).await
}

/// Whether nothing is left to do.
pub(super) fn completed(plan: &Plan, report: &Report) -> bool {
    plan.blockers.is_empty() && report.undone().next().is_none()
}

/// Releases what `object` has in Kubernetes; needs neither AWS nor a readable spec.
pub(super) async fn retain(object: &BucketConnection, context: &Context) -> (Plan, Report) {
    let remembered = Remembered::of(object);
    let mut secrets = BTreeMap::new();
    for name in deletion::retained_secrets(object, &remembered) {
        let live = context.kubernetes.secret(object, &name).await;
        // The status may not record the key's own Secret yet.
        if let Some(own) = live.own_of(&name) {
            let of_key = context.kubernetes.secret(object, &own).await;
            secrets.insert(own, of_key);
        }
        secrets.insert(name, live);
    }
    let readers = access(object, remembered.roles.clone(), &context.kubernetes).await;
    let plan = deletion::retain(&remembered, &secrets, &readers);
    let report = release(object, context, &plan).await;
    (plan, report)
}

/// The account's rules do not block the deletion of what was created under them. If nothing was created, they apply as
/// always: the object may have been created with the finalizer.
async fn open_for_deletion(object: &BucketConnection, context: &Context) -> Result<Opened, Blocker> {
    if !has_begun(object) {
        return open(object, context).await;
    }
    let account = context.account_of(object).await?;
    let opened = accounts::open_remembered(object, account.as_ref(), &context.sessions, &context.kubernetes).await;
    opened.map_err(|blocker| Blocker {
        message: format!(
            "cannot sign in to AWS to delete the resources there (deletionPolicy Delete): {}; to delete only the object and keep everything in AWS, set deletionPolicy: Retain",
            blocker.message
        ),
        ..blocker
    })
}

/// The end of deletion.
pub(super) async fn done(object: &BucketConnection, context: &Context) -> Result<Option<Duration>, Problem> {
    let text = match object.spec.deletion_policy {
        DeletionPolicy::Retain => "retained: bucket, user, policy, key and Secret stay as they are",
        DeletionPolicy::Release => {
            "released: the operator's tags are removed, and another connection can adopt bucket, user and policy"
        }
        DeletionPolicy::Delete => "deleted, with its resources in AWS",
    };
    context.kubernetes.publish(object, false, Reason::Deleted, text).await;
    context.kubernetes.remove_finalizer(object).await?;
    forget(object, context);
    Ok(None)
}

/// Whether a plan for `object` was ever about to be executed, so that there may be something in AWS.
pub(super) fn has_begun(object: &BucketConnection) -> bool {
    object.status.as_ref().is_some_and(|status| !status.memory.is_empty())
}

fn forget(object: &BucketConnection, context: &Context) {
    let uid = object.uid().unwrap_or_default();
    context.backoff.forget(&uid);
    context.kubernetes.forget(&uid);
}

/// Executes the steps of `Retain`, which need neither AWS nor a valid spec.
async fn release(object: &BucketConnection, context: &Context, plan: &Plan) -> Report {
    let kubernetes = &context.kubernetes;
    let mut report = Report::default();
    for step in &plan.steps {
        let released = match &step.action {
            Action::ReleaseSecret { name } => kubernetes.release_secret(object, name).await,
            Action::ReleaseRbac { kind, name } => kubernetes.release_rbac(object, *kind, name).await,
            _ => continue,
        };
        let outcome = released.map_or_else(Outcome::Failed, |()| Outcome::DONE);
        report.steps.push(Executed { step: step.clone(), outcome });
    }
    report
}
