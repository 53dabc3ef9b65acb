//! The counters and histograms.

use std::sync::LazyLock;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::process;
use crate::vocabulary::conditions::ConditionType;
use crate::vocabulary::problem::Problem;

/// Names and values of labels, all from fixed sets.
type Labels<const N: usize> = [(&'static str, &'static str); N];
type Counters<const N: usize> = Family<Labels<N>, Counter>;
type Histograms<const N: usize> = Family<Labels<N>, Histogram, fn() -> Histogram>;

/// The services that have limits on the rate of calls.
const SERVICES: [&str; 3] = ["iam", "s3", "sts"];

/// Everything that the process counts. One value for the process: [`meters`].
pub struct Meters {
    reconciles: Counters<2>,
    reconcile_seconds: Histograms<1>,
    aws_calls: Counters<3>,
    aws_seconds: Histograms<2>,
    aws_throttles: Counters<1>,
    budget_seconds: Histograms<1>,
    api_requests: Family<[(&'static str, String); 3], Counter>,
    api_seconds: Histograms<2>,
    watch_opened: Family<Labels<1>, Gauge<f64, AtomicU64>>,
    watch_failures: Counter,
    drift: Counters<2>,
    keys_issued: Counters<1>,
    keys_deleted: Counter,
    ready_seconds: Histogram,
}

/// The counters of this process.
pub fn meters() -> &'static Meters {
    static METERS: LazyLock<Meters> = LazyLock::new(Meters::new);
    &METERS
}

/// Buckets for one call.
fn calls() -> Histogram {
    Histogram::new([0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0])
}

/// Buckets for a reconcile: a check takes parts of a second, a new key up to a minute.
fn reconciles() -> Histogram {
    Histogram::new([0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0])
}

/// Buckets for what a person waits for.
fn waits() -> Histogram {
    Histogram::new([0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0])
}

impl Meters {
    fn new() -> Self {
        let this = Self {
            reconciles: Family::default(),
            reconcile_seconds: Family::new_with_constructor(reconciles),
            aws_calls: Family::default(),
            aws_seconds: Family::new_with_constructor(calls),
            aws_throttles: Family::default(),
            budget_seconds: Family::new_with_constructor(calls),
            api_requests: Family::default(),
            api_seconds: Family::new_with_constructor(calls),
            watch_opened: Family::default(),
            watch_failures: Counter::default(),
            drift: Family::default(),
            keys_issued: Family::default(),
            keys_deleted: Counter::default(),
            ready_seconds: waits(),
        };
        // A counter that appears with its first event has no rate for that event.
        for service in SERVICES {
            drop(this.aws_throttles.get_or_create(&[("service", service)]));
            drop(this.budget_seconds.get_or_create(&[("service", service)]));
        }
        for reason in ["first", "rotation", "replacement"] {
            drop(this.keys_issued.get_or_create(&[("reason", reason)]));
        }
        for result in ["reverted", "failed"] {
            drop(this.drift.get_or_create(&[("condition", ConditionType::BucketReady.into()), ("result", result)]));
        }
        this
    }

    /// Everything that is counted, under the names that Prometheus reads. The registry shares the counters.
    pub fn registry(&self) -> Registry {
        let mut to = Registry::default();
        let ours = to.sub_registry_with_prefix("bucketconnection");
        ours.register("reconciles", "Reconciles, by kind of object and outcome", self.reconciles.clone());
        ours.register("reconcile_duration_seconds", "How long reconciles took", self.reconcile_seconds.clone());
        ours.register("spec_to_ready_seconds", "Time from a change of a spec to Ready", self.ready_seconds.clone());
        ours.register("aws_calls", "AWS calls, by permission and outcome", self.aws_calls.clone());
        ours.register("aws_call_duration_seconds", "How long AWS calls took, with retries", self.aws_seconds.clone());
        ours.register(
            "aws_throttles",
            "Answers of AWS that ask to slow down, also those that are retried",
            self.aws_throttles.clone(),
        );
        let help = "How long AWS calls waited for the budget of their account";
        ours.register("aws_budget_wait_seconds", help, self.budget_seconds.clone());
        ours.register("api_requests", "Requests to the API server, by status code", self.api_requests.clone());
        let help = "How long the API server took to answer, except for watches";
        ours.register("api_request_duration_seconds", help, self.api_seconds.clone());
        let help = "When a list or watch of the resource was last answered";
        ours.register("watch_opened_timestamp_seconds", help, self.watch_opened.clone());
        ours.register("watch_failures", "Lists and watches that failed", self.watch_failures.clone());
        ours.register("drift", "Drift found, by condition and by whether it was reverted", self.drift.clone());
        ours.register("access_keys_issued", "Access keys issued", self.keys_issued.clone());
        ours.register("access_keys_deleted", "Access keys deleted", self.keys_deleted.clone());
        process::register(&mut to);
        to
    }

    /// Counts a reconcile of an object of this kind.
    pub fn reconciled(&self, kind: &'static str, outcome: &'static str) {
        self.reconciles.get_or_create(&[("kind", kind), ("outcome", outcome)]).inc();
    }

    /// Records how long a reconcile of an object of this kind took.
    pub fn reconcile_took(&self, kind: &'static str, took: Duration) {
        self.reconcile_seconds.get_or_create(&[("kind", kind)]).observe(took.as_secs_f64());
    }

    /// Records how long it took from the change of a spec until the object was Ready.
    pub fn became_ready(&self, after: Duration) {
        self.ready_seconds.observe(after.as_secs_f64());
    }

    /// Counts a call of `action`, such as `s3:PutBucketCORS`.
    pub fn aws_call(&self, action: &'static str, took: Duration, failed: Option<&Problem>) {
        let (service, operation) = action.split_once(':').unwrap_or(("other", action));
        let outcome = failed.map_or("ok", |problem| (&problem.class).into());
        self.aws_calls.get_or_create(&[("service", service), ("operation", operation), ("outcome", outcome)]).inc();
        self.aws_seconds.get_or_create(&[("service", service), ("operation", operation)]).observe(took.as_secs_f64());
    }

    /// Counts an answer of `service` that asks to slow down.
    pub fn throttled(&self, service: &'static str) {
        self.aws_throttles.get_or_create(&[("service", service)]).inc();
    }

    /// Records how long a call to the service of `action` waited for its account's budget.
    pub fn waited_for_budget(&self, action: &'static str, waited: Duration) {
        let service = action.split(':').next().unwrap_or(action);
        self.budget_seconds.get_or_create(&[("service", service)]).observe(waited.as_secs_f64());
    }

    /// Counts a request to the API server, by its status code; 0 is no answer.
    pub(super) fn api_request(&self, verb: &'static str, resource: &'static str, code: u16, took: Duration) {
        let code = ("code", code.to_string());
        self.api_requests.get_or_create(&[("verb", verb.to_owned()), ("resource", resource.to_owned()), code]).inc();
        if verb != "watch" {
            self.api_seconds.get_or_create(&[("verb", verb), ("resource", resource)]).observe(took.as_secs_f64());
        }
    }

    /// Records that a list or watch of `resource` was answered now.
    pub(super) fn watch_opened(&self, resource: &'static str) {
        self.watch_opened.get_or_create(&[("resource", resource)]).set(Timestamp::now().as_duration().as_secs_f64());
    }

    /// Counts a failed list or watch.
    pub fn watch_failed(&self) {
        self.watch_failures.inc();
    }

    /// Counts a deviation that the condition reports.
    pub fn drift(&self, condition: ConditionType, reverted: bool) {
        let result = if reverted { "reverted" } else { "failed" };
        self.drift.get_or_create(&[("condition", condition.into()), ("result", result)]).inc();
    }

    /// Counts an issued key. `reason` is `first`, `rotation` or `replacement`.
    pub fn key_issued(&self, reason: &'static str) {
        self.keys_issued.get_or_create(&[("reason", reason)]).inc();
    }

    /// Counts a deleted key.
    pub fn key_deleted(&self) {
        self.keys_deleted.inc();
    }
}
