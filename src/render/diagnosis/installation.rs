//! The operator, the accounts and the network.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use kube::ResourceExt;

use super::Finding;
use crate::api::AWSAccount;
use crate::render::age::duration;
use crate::render::connection::{Overview, State, act};
use crate::vocabulary::conditions::{ConditionType, find};
use crate::vocabulary::problem::Problem;

/// A lease that was not renewed for this much longer than its duration has no holder: clocks differ, and the network
/// takes time.
const SLACK: SignedDuration = SignedDuration::from_secs(15);
/// An object without a status after this time waits for an operator.
const FIRST_RECONCILE: SignedDuration = SignedDuration::from_mins(2);

/// The leases of the operator in `namespace`, at `now` by the clock of the API server.
pub fn leases(leases: &[Lease], namespace: &str, now: Timestamp) -> Vec<Finding> {
    if leases.is_empty() {
        let text = format!(
            "no lease in namespace {namespace}: the operator runs with --no-lease, has its leases in another namespace, or does not run"
        );
        let act = "Name its namespace with --operator-namespace, or check its Deployment";
        return vec![Finding::note("operator", "lease of the operator", text).and(act)];
    }
    leases.iter().map(|found| lease(found, namespace, now)).collect()
}

fn lease(lease: &Lease, namespace: &str, now: Timestamp) -> Finding {
    let about = format!("lease {namespace}/{}", lease.name_any());
    let act = format!("Check the operator's pods and their log: kubectl get pods -n {namespace}");
    let spec = lease.spec.clone().unwrap_or_default();
    let Some(holder) = spec.holder_identity.filter(|holder| !holder.is_empty()) else {
        return Finding::wrong("operator", about, "no operator holds it", act);
    };
    let Some(renewed) = spec.renew_time.map(|at| at.0) else {
        return Finding::wrong("operator", about, format!("{holder} never renewed it"), act);
    };
    let ago = now.duration_since(renewed);
    let limit = SignedDuration::from_secs(spec.lease_duration_seconds.unwrap_or_default().into()) + SLACK;
    if ago > limit {
        return Finding::wrong("operator", about, format!("{holder} renewed it {} ago, and no longer does", duration(ago)), act);
    }
    Finding::ok("operator", about, format!("{holder} holds it, and renewed it {} ago", duration(ago)))
}

/// Whether objects are reconciled, as their statuses show it. `None`: no object could be read.
pub fn heartbeat(objects: Option<&[Overview]>, now: Timestamp) -> Finding {
    let about = "reconciles of the operator";
    let Some(objects) = objects else {
        return Finding::not_checked("operator", about, "no connection could be read whose status would show it");
    };
    let waits = |of: &&Overview| {
        let unseen = of.reason.is_none() && of.created_at.is_some_and(|at| now.duration_since(at) > FIRST_RECONCILE);
        !of.suspended && (of.next_reconcile.overdue || unseen)
    };
    let overdue: Vec<_> = objects.iter().filter(waits).map(Overview::title).collect();
    let newest = objects.iter().filter_map(|of| of.last_reconcile_at).max();
    let newest = newest.map(|at| format!("; the newest record is {} old", duration(now.duration_since(at)))).unwrap_or_default();
    if let [first, ..] = overdue.as_slice() {
        let text = format!("{} of {} connections are overdue, such as {first}{newest}", overdue.len(), objects.len());
        let act = "Check whether the operator runs, and whether it reconciles this namespace (--namespace)";
        return Finding::wrong("operator", about, text, act);
    }
    if objects.is_empty() {
        return Finding::not_checked("operator", about, "there is no connection whose status would show it");
    }
    Finding::ok("operator", about, format!("no connection is overdue{newest}"))
}

/// The sign-in to an account. An operator of listed namespaces does not reconcile accounts: then the connections among
/// `objects` show whether it can sign in.
pub fn account(account: &AWSAccount, objects: &[Overview]) -> Finding {
    let name = account.name_any();
    let about = format!("AWSAccount {name}");
    let status = account.status.clone().unwrap_or_default();
    let Some(ready) = find(&status.conditions, ConditionType::Ready) else {
        let state = |state| {
            let is = |of: &&Overview| of.links.iter().any(|link| link.link == "account" && link.state == state);
            objects.iter().filter(|of| of.account == name).find(is)
        };
        return match (state(State::Broken), state(State::Ok)) {
            (Some(of), _) => Finding::wrong("account", about, of.message.clone(), of.act.clone().unwrap_or_default()),
            (None, Some(of)) => Finding::ok("account", about, format!("the operator is signed in to it for {}", of.title())),
            (None, None) => Finding::note("account", about, "no operator has reconciled it yet"),
        };
    };
    let text = format!("{}: {}", ready.reason, ready.message);
    match ready.status.as_str() {
        "True" => {
            let id = status.account_id.unwrap_or_default();
            Finding::ok("account", about, format!("signed in to {id} as {}", status.identity.unwrap_or_default()))
        }
        _ => Finding::wrong("account", about, text, act(&ready.reason).unwrap_or_default()),
    }
}

/// An account that this version cannot read.
pub fn unreadable_account(text: &str) -> Finding {
    Finding::wrong("account", "AWSAccount", text, "Correct it, or install the CRDs of this version")
}

/// There is no account.
pub fn no_account() -> Finding {
    Finding::wrong("account", "AWSAccount", "there is none", "Create one (docs/accounts.md); the default name is default")
}

/// The environment of this machine allows no call to AWS: why, with what to do.
pub fn unusable(why: &str) -> Finding {
    Finding::wrong("endpoint", "environment of this machine", why, "")
}

/// Whether an endpoint of AWS answers here: `answer` is the HTTP status and the time it took.
pub fn endpoint(service: &str, url: &str, answer: Result<(u16, Duration), &Problem>) -> Finding {
    let about = format!("endpoint of {service}");
    match answer {
        Ok((status @ 500.., took)) => {
            let act = "Ask the owner of the endpoint, or of the proxy of this machine; see https://health.aws.amazon.com for AWS itself";
            let text = format!("{url}: answers HTTP {status} after {} ms: it, or a proxy before it, fails", took.as_millis());
            Finding::wrong("endpoint", about, text, act)
        }
        Ok((status, took)) => {
            let how = if url.starts_with("https:") { "DNS, TLS and HTTP work" } else { "answers without TLS" };
            Finding::ok("endpoint", about, format!("{url}: {how} (HTTP {status} after {} ms)", took.as_millis()))
        }
        Err(problem) => {
            let act = "Check DNS, HTTPS_PROXY, NO_PROXY and AWS_CA_BUNDLE here, spec.region, and endpoints of the AWSAccount";
            Finding::wrong("endpoint", about, format!("{url}: {}", problem.message), act)
        }
    }
}
