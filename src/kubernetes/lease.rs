//! The lease of the operator: of several replicas, only the one that holds it works.
//!
//! As in client-go, the holder renews the lease every two seconds, and gives up after ten seconds without success.
//! Another replica acquires it after it has seen no renewal for fifteen seconds by its own clock: the times in the
//! record are for people. Every write carries the version that was read, so if two replicas acquire it at once, one
//! fails. Code that two operators must never run at the same time checks the [`Fence`], which is open for fifteen
//! seconds from the moment at which the last successful renewal was sent: no other replica can have acquired the lease
//! by then.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease as ApiLease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{MANAGER, call};
use crate::fence::{Fence, now};
use crate::vocabulary::problem::{Class, Problem, Source};

/// Another replica may acquire a lease that was not renewed for this long.
const SECONDS: i32 = 15;
const DURATION: Duration = Duration::from_secs(15);
/// The holder gives up if it could not renew for this long.
const DEADLINE: Duration = Duration::from_secs(10);
const PERIOD: Duration = Duration::from_secs(2);
/// Timeout of one attempt, so that there is time for another.
const ATTEMPT: Duration = Duration::from_secs(5);

/// A lease that is held, or that the process waits for.
pub struct Lease {
    api: Api<ApiLease>,
    /// `namespace/name`, for people.
    title: String,
    name: String,
    identity: String,
    fence: Fence,
    /// Another replica's record, and when it was first seen.
    seen: Option<(ApiLease, Duration)>,
    /// The operator's own record, and when its write was sent.
    held: Option<(ApiLease, Duration)>,
}

impl Lease {
    /// The lease `name` in `namespace`, not yet held.
    pub fn new(client: Client, namespace: &str, name: String) -> Self {
        // In a pod the host name is the pod's name. The suffix distinguishes a process from the one before it.
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self {
            api: Api::namespaced(client, namespace),
            title: format!("{namespace}/{name}"),
            identity: format!("{host}_{:016x}", fastrand::u64(..)),
            name,
            fence: Fence::closed(),
            seen: None,
            held: None,
        }
    }

    /// Open while the lease is held.
    pub fn fence(&self) -> Fence {
        self.fence.clone()
    }

    /// Waits until it is held. `tried` hears whether each other attempt was answered.
    pub async fn acquire(&mut self, tried: impl Fn(Result<(), &Problem>)) {
        loop {
            match bounded(ATTEMPT, self.try_to_acquire()).await {
                Ok(true) => {
                    tracing::info!(lease = self.title, identity = self.identity, "holds the lease");
                    return;
                }
                Ok(false) => tried(Ok(())),
                Err(problem) => {
                    tracing::warn!(lease = self.title, %problem, "waiting for the lease");
                    tried(Err(&problem));
                }
            }
            // As in client-go: waiting replicas do not all try at the same time.
            sleep(PERIOD.mul_f64(1.0 + fastrand::f64() * 0.2)).await;
        }
    }

    async fn try_to_acquire(&mut self) -> Result<bool, Problem> {
        let began = now();
        let Some(live) = call("get leases", self.api.get_opt(&self.name)).await? else {
            let labels = [("app.kubernetes.io/managed-by".to_owned(), MANAGER.to_owned())].into();
            let metadata = ObjectMeta { name: Some(self.name.clone()), labels: Some(labels), ..ObjectMeta::default() };
            let lease = self.record(ApiLease { metadata, spec: None });
            return self.took(call("create leases", self.api.create(&PostParams::default(), &lease)).await, began);
        };
        if let Some(holder) = holder(&live).filter(|holder| *holder != self.identity) {
            match &self.seen {
                Some((seen, since)) if seen.metadata.resource_version == live.metadata.resource_version => {
                    if began.saturating_sub(*since) < duration(&live) {
                        return Ok(false);
                    }
                }
                seen => {
                    if seen.as_ref().and_then(|(seen, _)| self::holder(seen)) != Some(holder) {
                        tracing::info!(lease = self.title, holder, "waiting: another operator holds the lease");
                    }
                    self.seen = Some((live, now()));
                    return Ok(false);
                }
            }
        }
        let lease = self.record(live);
        self.took(self.write(&lease).await, began)
    }

    /// Handles the answer to an attempt: either this process now holds the lease, or another was faster.
    fn took(&mut self, answer: Result<ApiLease, Problem>, began: Duration) -> Result<bool, Problem> {
        match answer {
            Ok(lease) => {
                self.holds(lease, began);
                Ok(true)
            }
            Err(problem) if matches!(problem.class, Class::Exists | Class::Conflict) => Ok(false),
            Err(problem) => Err(problem),
        }
    }

    fn holds(&mut self, lease: ApiLease, began: Duration) {
        self.held = Some((lease, began));
        self.fence.set(began + DURATION);
    }

    /// Renews the lease until `ended`; then releases it, so that the next replica need not wait. Ends early, with the
    /// reason, if the lease is lost.
    pub async fn keep(mut self, lost: CancellationToken, ended: CancellationToken) -> Result<(), String> {
        let kept = tokio::select! {
            why = self.renewed() => Err(why),
            () = ended.cancelled() => Ok(()),
        };
        if let Err(why) = &kept {
            tracing::error!(lease = self.title, why, "lost the lease; stopping");
            lost.cancel();
            ended.cancelled().await;
        }
        self.release().await;
        kept.map_err(|why| format!("the lease {} was lost: {why}; start the operator again", self.title))
    }

    /// Renews it as long as it can, and returns why it cannot.
    async fn renewed(&mut self) -> String {
        let mut last = String::new();
        loop {
            sleep(PERIOD).await;
            let renewed = self.held.as_ref().map(|(_, began)| *began).unwrap_or_default();
            let left = DEADLINE.saturating_sub(now().saturating_sub(renewed));
            if left.is_zero() {
                return format!("it was not renewed for {} s{last}", DEADLINE.as_secs());
            }
            match bounded(left.min(ATTEMPT), self.renew()).await {
                Ok(None) => last.clear(),
                Ok(Some(why)) => {
                    self.fence.set(Duration::ZERO);
                    return why;
                }
                Err(problem) => {
                    tracing::warn!(lease = self.title, %problem, "the lease is not renewed");
                    last = format!(" ({problem})");
                }
            }
        }
    }

    /// Renews it once; returns why it is no longer held.
    async fn renew(&mut self) -> Result<Option<String>, Problem> {
        let Some((held, _)) = self.held.clone() else { return Ok(Some("it was never held".to_owned())) };
        let began = now();
        let lease = self.record(held);
        match self.write(&lease).await {
            Ok(lease) => {
                self.holds(lease, began);
                return Ok(None);
            }
            Err(problem) if matches!(problem.class, Class::Conflict | Class::Missing) => {}
            Err(problem) => return Err(problem),
        }
        // Someone else's write, or a write of this process whose answer was lost.
        let Some(live) = call("get leases", self.api.get_opt(&self.name)).await? else {
            return Ok(Some("it was deleted".to_owned()));
        };
        if holder(&live) != Some(&self.identity) {
            return Ok(Some(format!("{} holds it", holder(&live).unwrap_or("no one"))));
        }
        let lease = self.record(live);
        let lease = self.write(&lease).await?;
        self.holds(lease, began);
        Ok(None)
    }

    /// Releases it, if it is unchanged since the operator's last write; otherwise it expires.
    async fn release(&mut self) {
        self.fence.set(Duration::ZERO);
        let Some((mut lease, _)) = self.held.take() else { return };
        let spec = lease.spec.get_or_insert_default();
        (spec.holder_identity, spec.lease_duration_seconds) = (Some(String::new()), Some(1));
        spec.renew_time = Some(MicroTime(Timestamp::now()));
        match bounded(ATTEMPT, self.write(&lease)).await {
            Ok(_) => tracing::info!(lease = self.title, "released the lease"),
            Err(problem) => tracing::debug!(lease = self.title, %problem, "the lease is not released, and expires"),
        }
    }

    /// Fails if anyone has written it since it was read.
    async fn write(&self, lease: &ApiLease) -> Result<ApiLease, Problem> {
        call("update leases", self.api.replace(&self.name, &PostParams::default(), lease)).await
    }

    /// The record with this process as its holder.
    fn record(&self, mut lease: ApiLease) -> ApiLease {
        let time = Some(MicroTime(Timestamp::now()));
        let before = lease.spec.take().unwrap_or_default();
        let taken = before.holder_identity.as_ref() != Some(&self.identity);
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(SECONDS),
            renew_time: time.clone(),
            acquire_time: if taken { time } else { before.acquire_time },
            lease_transitions: Some(before.lease_transitions.unwrap_or_default().saturating_add(i32::from(taken))),
            ..before
        });
        lease
    }
}

fn holder(lease: &ApiLease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

/// How long its holder may go without renewing it, as the holder itself wrote.
fn duration(lease: &ApiLease) -> Duration {
    let seconds = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
    seconds.and_then(|seconds| u64::try_from(seconds).ok()).map_or(DURATION, Duration::from_secs)
}

async fn bounded<T>(limit: Duration, work: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
    let late = || {
        Problem::at(Source::Kubernetes, Class::Unavailable, "update leases", "Timeout", "the API server did not answer in time")
    };
    timeout(limit, work).await.unwrap_or_else(|_| Err(late()))
}
