//! Issuing an access key: the one step that cannot be repeated.
//!
//! AWS shows the secret part once, and `CreateAccessKey` has no token that would make it safe to send again. So, in this order:
//!
//! 1. The intent has been written to the status, with the keys that the user has, before the plan began (status/intent.rs); that
//!    fails if anyone changed the object, so two operators never issue a key for one object.
//! 2. The API server is asked whether the Secret could be written.
//! 3. The key is created: sent once, never retried.
//! 4. The Secret is written, if it still is as it was then; several times if need be.
//! 5. If it is not written, the key is deleted again: no one has seen it. If it may have been written, the next reconcile looks.
//!
//! Who holds the lease may change at any moment, and a process may be stopped at any point and wake up later. So the key is asked
//! for only while the lease holds for longer than the call may take, and the Secret is written only while it holds at all, and
//! never over what another operator has written since. A key that comes too late is deleted again, as in 5.
//!
//! The process may be killed between any two of these. Then the next reconcile finds the intent, and a key that was not there before
//! it; unless the Secret holds that key, it is deleted (keys/).

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::sleep;

use super::ports::{Issued, Ports, StepResult};
use super::{Outcome, StepOutput};
use crate::aws::IssueError;
use crate::credentials::KeyPair;
use crate::desired::DesiredSecret;
use crate::kubernetes::Seen;
use crate::vocabulary::problem::{Class, Problem};

/// Pauses between attempts to write the Secret, about half a minute in all.
const PAUSES: [u64; 6] = [0, 1, 2, 4, 8, 16];

/// Issues a key of `user` into `secret`, as the key of number `version` where keys are kept by version.
pub(super) async fn issue(ports: &Ports<'_>, user: &str, secret: &DesiredSecret, version: Option<i64>) -> StepResult {
    let Ports { aws, kubernetes, object, fence, .. } = ports;
    let seen = match kubernetes.try_secret(object, secret).await {
        Ok(seen) => seen,
        Err(problem) => return Outcome::Failed(problem).into(),
    };
    let key = match aws.create_key(user, fence).await {
        Ok(key) => key,
        Err(IssueError::Refused(problem)) => return Outcome::Failed(problem).into(),
        Err(IssueError::Unknown(problem)) => return Outcome::Unknown(problem).into(),
    };
    let created_at = (ports.clock)();
    match store(ports, secret, &key, (created_at, version), &seen).await {
        Ok(()) => {
            let outcome = Outcome::Done(StepOutput::Key { id: key.id.clone(), created_at });
            StepResult { outcome, key: Some(Issued { key, at: created_at }) }
        }
        Err(Unstored { problem, doubtful: false }) => match aws.delete_key(user, &key.id).await {
            Ok(()) => Outcome::Failed(problem).into(),
            // The intent stands on, so the next reconcile finds the key and deletes it.
            Err(_) => Outcome::Unknown(problem).into(),
        },
        // Or finds it in the Secret: another operator may have done so by now, and the key may be in use.
        Err(Unstored { problem, doubtful: true }) => Outcome::Unknown(problem).into(),
    }
}

/// The Secret was not written as far as is known; where an answer is missing, it may have been.
struct Unstored {
    problem: Problem,
    doubtful: bool,
}

async fn store(
    ports: &Ports<'_>,
    secret: &DesiredSecret,
    key: &KeyPair,
    issued: (Timestamp, Option<i64>),
    seen: &Seen,
) -> Result<(), Unstored> {
    let (mut last, mut doubtful) = (None, false);
    for pause in PAUSES {
        sleep(Duration::from_secs(pause)).await;
        ports.fence.ensure_valid_for(Duration::ZERO).map_err(|problem| Unstored { problem, doubtful })?;
        match ports.kubernetes.store_key(ports.object, secret, key, issued, seen).await {
            Ok(()) => return Ok(()),
            Err(problem) if problem.is_permanent() => return Err(Unstored { problem, doubtful }),
            // Someone else has written it meanwhile, and it does not hold this key: no one has that.
            Err(problem) if matches!(problem.class, Class::Conflict | Class::Exists) => {
                return Err(Unstored { problem, doubtful: false });
            }
            Err(problem) => {
                doubtful |= problem.class == Class::Unavailable;
                last = Some(problem);
            }
        }
    }
    match last {
        Some(problem) => Err(Unstored { problem, doubtful }),
        None => Ok(()),
    }
}
