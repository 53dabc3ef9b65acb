//! The controller: watches the objects, runs at most one reconcile of each at a time, and decides when the next one is
//! due.

mod accounts;
mod backoff;
mod counts;
mod finish;
mod forget;
mod metrics;
mod namespaces;
mod observe;
mod panics;
mod preview;
mod progress;
mod reconcile;
mod revoke;
mod running;
mod server;
mod stages;
mod turn;
mod unreadable;
mod watch;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use kube::core::DeserializeGuard;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Resource, ResourceExt};
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

use crate::api::{AWSAccount, BucketConnection, FINALIZER};
use crate::aws::Sessions;
use crate::desired::claims::{self, Claim};
use crate::desired::names;
use crate::execute::Clock;
use crate::fair::Turns;
use crate::fence::Fence;
use crate::kubernetes::Kubernetes;
use crate::observed::Seal;
use crate::plan::Blocker;
use crate::vocabulary::conditions::{ConditionType, Reason};
use crate::vocabulary::problem::Place;

pub use accounts::{NotOpened, open_account};
pub use backoff::longest;
pub use metrics::Metrics;
pub use panics::log_panics;
pub use preview::{Others, Preview, PreviewError, preview};
pub use watch::{Setup, run};

/// What every reconcile shares.
struct Context {
    /// Access to AWS.
    sessions: Sessions,
    /// Kubernetes.
    kubernetes: Kubernetes,
    /// Protects the recorded state in statuses from edits.
    seal: Seal,
    /// All connections, as last seen by the watch.
    connections: Store<DeserializeGuard<BucketConnection>>,
    /// All accounts, as last seen by the watch.
    accounts: Store<DeserializeGuard<AWSAccount>>,
    /// The generation of each account that reconciles used last; 0 if there was none.
    used: Mutex<HashMap<String, i64>>,
    /// Receives names of accounts whose connections should be reconciled.
    wake: UnboundedSender<String>,
    /// Canceled when the process should end: reconciles that only wait end early.
    stop: CancellationToken,
    /// Closed when another operator may be active.
    fence: Fence,
    backoff: backoff::Backoff,
    /// Limits the parallel reconciles.
    slots: Arc<Turns>,
    stages: stages::Stages,
    running: running::Running,
    progress: Arc<progress::Progress>,
    changes: counts::Changes,
    /// Returns the current time.
    clock: Clock,
}

impl Context {
    /// The account that `object` names. An account that the watch has not seen is read: it may have been created just
    /// now.
    async fn account_of(&self, object: &BucketConnection) -> Result<Option<AWSAccount>, Blocker> {
        let name = &object.spec.account_ref.name;
        let found = self.find_account(name).await?;
        let generation = found.as_ref().and_then(|account| account.metadata.generation).unwrap_or_default();
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), generation);
        Ok(found)
    }

    async fn find_account(&self, name: &str) -> Result<Option<AWSAccount>, Blocker> {
        let part = ConditionType::AccountReady;
        if !names::is_object_name(name) {
            let message = format!(
                "accountRef.name {name:?} is not a valid name of an AWSAccount; use lower-case letters, digits, dots and hyphens"
            );
            return Err(Blocker { part, reason: Reason::InvalidSpec, message, stalled: true, problem: None });
        }
        let seen = self.accounts.get(&ObjectRef::new(name));
        match seen.as_ref().map(|guarded| &guarded.0) {
            Some(Ok(account)) => Ok(Some(account.clone())),
            Some(Err(invalid)) => {
                let message = format!(
                    "AWSAccount {name} cannot be read: {}; correct it, or install the CRDs of this version",
                    invalid.error
                );
                Err(Blocker { part, reason: Reason::AccountNotFound, message, stalled: true, problem: None })
            }
            None => self.kubernetes.account(name).await.map_err(|problem| Blocker::unreadable(part, &problem, &Place::default())),
        }
    }

    /// The claim of another object. Its status counts only if it has the operator's seal.
    fn claim(&self, other: &BucketConnection) -> Claim {
        if !claims::wants(other) && !other.owns_resources() {
            return Claim::None;
        }
        let mut other = other.clone();
        self.seal.check(&mut other);
        let account = self.accounts.get(&ObjectRef::new(&other.spec.account_ref.name));
        claims::claim(&other, account.as_ref().and_then(|account| account.0.as_ref().ok()))
    }

    /// The connections that need the account for their deletion: those that may have something in AWS.
    fn users_of(&self, account: &str) -> Vec<String> {
        // An object may be created with a finalizer; a finalizer alone does not need the account.
        let held = |object: &BucketConnection| {
            let (held, mut object) = (object.finalizers().iter().any(|name| name == FINALIZER), object.clone());
            self.seal.check(&mut object);
            held && reconcile::has_begun(&object)
        };
        let found = self.connections_of(account).into_iter().filter(|reference| {
            let object = self.connections.get(reference);
            object.is_some_and(|object| object.0.as_ref().is_ok_and(held))
        });
        found.map(|found| format!("{}/{}", found.namespace.unwrap_or_default(), found.name)).collect()
    }

    /// Reconciles the connections of an account, if their last reconciles used another generation of it.
    fn account_changed(&self, account: &DeserializeGuard<AWSAccount>) {
        let (name, generation) = (account.name_any(), account.meta().generation.unwrap_or_default());
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner).get(&name).copied();
        if used.is_some_and(|used| used != generation) {
            let _ = self.wake.send(name);
        }
    }

    /// The connections that name the account.
    fn connections_of(&self, account: &str) -> Vec<ObjectRef<DeserializeGuard<BucketConnection>>> {
        let named = |guarded: &DeserializeGuard<BucketConnection>| matches!(&guarded.0, Ok(object) if object.spec.account_ref.name == account);
        let mut found: Vec<_> = self
            .connections
            .state()
            .iter()
            .filter(|guarded| named(guarded))
            .map(|guarded| ObjectRef::from_obj(&**guarded))
            .collect();
        found.sort_by_key(|reference| (reference.namespace.clone(), reference.name.clone()));
        found
    }
}
