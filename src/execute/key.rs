//! Issuing an access key: the only step that cannot be repeated.
//!
//! AWS shows the secret part once, and `CreateAccessKey` has no token that makes it safe to send again. So the order
//! is:
//!
//! 1. Before the plan began, the operator wrote the intent to the status, with the existing keys of the user
//!    (status/intent.rs). That write fails if the object has changed, so two operators never issue a key for one
//!    object.
//! 2. The operator asks the API server whether the Secret could be written.
//! 3. It creates the key: sent once, never retried.
//! 4. It writes the Secret, if that is unchanged since step 2; several times if necessary.
//! 5. If the Secret was not written, it deletes the key: no one has seen it. If the Secret may have been written, the
//!    next reconcile decides.
//!
//! The holder of the lease may change at any moment, and a process may be stopped at any point and continue later. So
//! the operator creates a key only if its lease is valid for longer than the call may take. It writes the Secret only
//! while its lease is valid, and never over what another operator has written since. A key that arrives too late is
//! deleted again, as in step 5.
//!
//! The process may be killed between any two steps. Then the next reconcile finds the intent, and a key that did not
//! exist before it; unless the Secret holds that key, the operator deletes it (keys/).

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::sleep;

use super::ports::{Issued, Ports, StepResult};
use super::{Outcome, StepOutput};
use crate::aws::IssueError;
use crate::credentials::KeyPair;
use crate::desired::DesiredSecret;
use crate::kubernetes::Seen;
use crate::vocabulary::problem::{Class, Problem, Source};

/// Pauses between attempts to write the Secret, about half a minute in total.
const PAUSES: [u64; 6] = [0, 1, 2, 4, 8, 16];

/// Issues a key of `user` into `secret`, with the number `version` if keys are versioned.
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
            // The intent is still recorded, so the next reconcile finds the key and deletes it.
            Err(_) => Outcome::Unknown(problem).into(),
        },
        // Or the next reconcile finds it in the Secret: another operator may have written it by then, and the key may
        // be in use.
        Err(Unstored { problem, doubtful: true }) => Outcome::Unknown(problem).into(),
    }
}

/// The Secret was not written as far as is known; if `doubtful`, an answer is missing, and it may have been written.
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
    let mut last = Problem::at(Source::Operator, Class::Unavailable, "write the Secret", "NotTried", "");
    let mut doubtful = false;
    for pause in PAUSES {
        sleep(Duration::from_secs(pause)).await;
        ports.fence.ensure_valid_for(Duration::ZERO).map_err(|problem| Unstored { problem, doubtful })?;
        match ports.kubernetes.store_key(ports.object, secret, key, issued, seen).await {
            Ok(()) => return Ok(()),
            Err(problem) if problem.is_permanent() => return Err(Unstored { problem, doubtful }),
            // Someone else has written it since, and it does not hold this key: no one has the key.
            Err(problem) if matches!(problem.class, Class::Conflict | Class::Exists) => {
                return Err(Unstored { problem, doubtful: false });
            }
            Err(problem) => {
                doubtful |= problem.class == Class::Unavailable;
                last = problem;
            }
        }
    }
    Err(Unstored { problem: last, doubtful })
}
