//! Observes a connection: its Secrets and access in Kubernetes, then its resources in AWS.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::api::BucketConnection;
use crate::aws::Aws;
use crate::desired::Desired;
use crate::keys::waiting_secret;
use crate::kubernetes::Kubernetes;
use crate::observed::{self, Access, Observed, Remembered, Scope, Secret};
use crate::settings::Reading;

/// How much a reconcile reads.
#[derive(PartialEq, Eq)]
pub(super) enum Discovery {
    /// The operator creates the resources of a new object without reading AWS first. A call that answers "exists" ends
    /// its branch of the plan, and the next reconcile reads.
    Optimistic,
    /// Everything.
    Full,
}

/// What the operator reads about one object, and where.
pub(super) struct Observer<'a> {
    pub(super) object: &'a BucketConnection,
    pub(super) desired: &'a Desired,
    pub(super) aws: &'a Aws,
    pub(super) kubernetes: &'a Kubernetes,
    pub(super) now: Timestamp,
}

impl Observer<'_> {
    /// The observed state for a reconcile.
    pub(super) async fn observe(&self, remembered: &mut Remembered, discovery: Discovery) -> Observed {
        let seen = Box::pin(self.cluster(remembered)).await;
        if discovery == Discovery::Optimistic && !remembered.seen && matches!(seen.secret, Secret::Absent) {
            return seen;
        }
        let observed = Box::pin(self.account(remembered, seen, Scope::Reconcile)).await;
        let changes = self.desired.identity.is_managed() && observed.key_changes(remembered);
        let workloads = if changes { self.kubernetes.workloads(self.object).await } else { Reading::NotRead };
        let versioning = match observed.asks_versioning(self.desired, remembered, self.now) {
            true => self.aws.versioning(self.desired).await,
            false => Reading::NotRead,
        };
        Observed { workloads, versioning, ..observed }
    }

    /// The observed state for the deletion of the object: all its Secrets, and in AWS only what deletion needs.
    pub(super) async fn observe_for_deletion(&self, remembered: &mut Remembered) -> Observed {
        let seen = Box::pin(self.cluster(remembered)).await;
        let mut observed = Box::pin(self.account(remembered, seen, Scope::Deletion)).await;
        remembered.recall(&mut self.object.clone(), self.desired, &observed);
        let mut others = remembered.all_secrets(self.desired, &observed);
        others.retain(|name| !observed.earlier_secrets.contains_key(name));
        for name in others {
            let live = self.kubernetes.secret(self.object, &name).await;
            observed.earlier_secrets.insert(name, live);
        }
        observed
    }

    /// Reads AWS, after `seen` was read from Kubernetes. Reads both again if AWS names a Secret that the status has
    /// forgotten.
    async fn account(&self, remembered: &mut Remembered, seen: Observed, scope: Scope) -> Observed {
        let observed = self.aws.observe(self.desired, remembered, seen, scope).await;
        if !remembered.recall_secret(self.desired, &observed) {
            return observed;
        }
        let seen = self.cluster(remembered).await;
        self.aws.observe(self.desired, remembered, seen, scope).await
    }

    /// Reads the Secrets, and the access to them.
    async fn cluster(&self, remembered: &Remembered) -> Observed {
        let seen = self.secrets(remembered).await;
        let names = remembered.access_names(self.desired, &seen.secret);
        Observed { access: access(self.object, names, self.kubernetes).await, ..seen }
    }

    /// Reads the Secret and, if there are any, the other Secrets of the connection.
    async fn secrets(&self, remembered: &Remembered) -> Observed {
        if let Some(name) = self.desired.identity.user_provided() {
            let secret = self.kubernetes.user_provided_secret(self.object, name).await;
            return Observed { secret, ..Observed::default() };
        }
        let mut observed = Observed::default();
        loop {
            let pending = waiting_secret(self.desired, remembered, &observed.secret, self.now);
            let asked = observed::secrets(self.desired, remembered, &observed, pending);
            if asked.is_empty() {
                return observed;
            }
            for (place, name) in asked {
                let secret = self.kubernetes.secret(self.object, &name).await;
                observed.put(&place, name, secret);
            }
        }
    }
}

/// Reads who can read the Secret: two reads for each of `names`, of which an object without groups has none.
pub(super) async fn access(
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
