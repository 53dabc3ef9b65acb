//! Reconciles an object that cannot be read as a whole. The operator does what needs no spec: a revocation, and a
//! deletion that retains the resources in AWS. The status reports the error.

use std::time::Duration;

use kube::ResourceExt;
use kube::core::error_boundary::InvalidObject;

use super::Context;
use super::reconcile::{completed, done, has_begun, retain};
use super::revoke::revoke;
use crate::api::{BucketConnection, DeletionPolicy, FINALIZER};
use crate::observed::Remembered;
use crate::status::{self, deletion_trouble};
use crate::vocabulary::problem::Problem;

/// Time until the next reconcile: only a change of the spec or an operator upgrade helps, and both wake one.
const CHECK: Duration = Duration::from_secs(600);
/// The same while the release of the object is blocked.
const CHECK_TROUBLED: Duration = Duration::from_secs(15);

/// One reconcile; returns the time until the next one, or `None` if the object is finished.
pub(super) async fn reconcile(invalid: &InvalidObject, context: &Context) -> Result<Option<Duration>, Problem> {
    context.fence.ensure_valid_for(Duration::ZERO)?;
    let (namespace, name) = (&invalid.metadata.namespace, &invalid.metadata.name);
    let read = context.kubernetes.partial(namespace.as_deref().unwrap_or_default(), name.as_deref().unwrap_or_default());
    let Some(mut partial) = read.await? else { return Ok(None) };
    // The status counts here without a seal: it can only prevent a release that would be too early.
    let begun = has_begun(&partial.object);
    context.seal.check(&mut partial.object);
    let object = &partial.object;
    let remembered = Remembered::of(object);
    if remembered.revoke {
        return Box::pin(revoke(object, &remembered, context)).await;
    }
    let held = object.finalizers().iter().any(|name| name == FINALIZER);
    let text = format!("the object cannot be read: {}; correct it, or install the CRDs of this version", invalid.error);
    if object.metadata.deletion_timestamp.is_none() {
        if begun && !held {
            context.kubernetes.add_finalizer(object).await?;
        }
        return tell(object, &text, CHECK, context).await;
    }
    if !held {
        return Ok(None);
    }
    // If the deletion policy cannot be read either, the default applies, which retains everything.
    if object.spec.deletion_policy != DeletionPolicy::Retain && begun {
        let text = format!("{text}; or set deletionPolicy: Retain to delete the object and keep its resources in AWS");
        return tell(object, &text, CHECK, context).await;
    }
    let (plan, report) = retain(object, context).await;
    if completed(&plan, &report) {
        return done(object, context).await;
    }
    let text = deletion_trouble(&plan, &report).map_or(text, |trouble| trouble.message);
    tell(object, &text, CHECK_TROUBLED, context).await
}

async fn tell(object: &BucketConnection, text: &str, next: Duration, context: &Context) -> Result<Option<Duration>, Problem> {
    tracing::warn!(text);
    let (before, after) = status::unreadable(object, text, (context.clock)());
    if before != after {
        context.kubernetes.write_unreadable(object, &after).await?;
    }
    Ok(Some(next))
}
