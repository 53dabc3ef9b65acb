//! One simulation: both servers, and the operator in a runtime with virtual time. To kill the operator is to drop that
//! runtime.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use super::calls::Calls;
use super::gate::Gate;
use super::invariants::{ACCOUNT, Invariants, ready};
use super::operator::{NAMESPACE, environment, operate};
use super::{clock, end_state, layers};
use crate::cluster::Cluster;
use crate::model::client::{Calm, config};
use crate::model::{Behaviour, Model, Pair};

/// A simulation has ended when nothing was written for this long: the reconcile that follows a change comes after a
/// minute.
const QUIET: Duration = Duration::from_secs(150);
/// The same if something is still wrong: longer than the longest pause between two reconciles.
const STUCK: Duration = Duration::from_secs(1_500);
/// And in any case after this long.
const LIMIT: Duration = Duration::from_secs(4 * 3_600);
/// The time that Kubernetes takes to start a container again.
const RESTART: Duration = Duration::from_secs(2);

/// The clients of a person: they have no faults.
#[derive(Clone)]
pub struct Person {
    pub iam: aws_sdk_iam::Client,
    pub s3: aws_sdk_s3::Client,
}

pub struct Simulation {
    pub cluster: Cluster,
    pub model: Model,
    pub calls: Calls,
    pub invariants: Invariants,
    key: Pair,
    root: Pair,
    idle: Gate,
    runtime: Runtime,
    operators: Vec<JoinHandle<()>>,
    pub deaths: usize,
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

impl Simulation {
    /// A world without any connection or operator.
    pub fn new(seed: u64, behaviour: Behaviour) -> Self {
        clock::reset();
        fastrand::seed(seed);
        let time: Arc<dyn Fn() -> jiff::Timestamp + Send + Sync> = Arc::new(clock::now);
        let cluster = Cluster::new(time.clone());
        let model = Model::new(Behaviour { seed, ..behaviour }, time);
        let (key, root) = (model.admin(ACCOUNT, "operator"), model.admin(ACCOUNT, "root"));
        let calls = Calls::default();
        cluster.set_layer(layers::of_cluster(calls.clone()));
        let mut this = Self {
            cluster,
            model,
            calls,
            invariants: Invariants::default(),
            key,
            root,
            idle: Gate::default(),
            runtime: runtime(),
            operators: Vec::new(),
            deaths: 0,
        };
        this.furnish();
        this
    }

    /// Creates what exists before the operator, and stays.
    fn furnish(&mut self) {
        for name in ["default", "kube-system", NAMESPACE] {
            self.cluster.apply("namespaces", &json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } }));
        }
        self.restore_rule();
        let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "foreign", "namespace": "default" }, "data": { "a": "eA==" } });
        self.cluster.apply("secrets", &secret);
        self.act(async |person| {
            person.s3.create_bucket().bucket("foreign").send().await.unwrap();
            person.iam.create_user().user_name("foreign").send().await.unwrap();
            person.iam.create_access_key().user_name("foreign").send().await.unwrap();
        });
        self.look(|store, state| self.invariants.keep(store, state));
        let (invariants, model) = (self.invariants.clone(), self.model.clone());
        self.cluster.set_hook(Arc::new(move |action, store| model.state(|state| invariants.written(action, store, state))));
        let (invariants, cluster) = (self.invariants.clone(), self.cluster.clone());
        self.model.on_write(move |action, state| cluster.look(|store| invariants.written(action, store, state)));
    }

    /// Removes the entry: the account allows nothing to the namespace anymore.
    pub fn withdraw_rule(&self) {
        let nothing = json!({ "spec": { "allowedNamespaces": [] } });
        assert!(self.edit(|cluster| cluster.patch("awsaccounts", "", "default", nothing)));
    }

    /// Creates the account, which allows everything to the namespace.
    pub fn restore_rule(&self) {
        let text = include_str!("../../../deploy/local/account.yaml");
        let mut account: Value = serde_saphyr::from_str(text).unwrap();
        // The budget waits in real time, so it must never have to.
        account["spec"]["budget"] = json!({ "s3": 10_000_000, "iam": 10_000_000 });
        self.edit(|cluster| cluster.apply("awsaccounts", &account));
    }

    /// Lets a person work on AWS; the operator pauses in the meantime, and no time passes.
    pub fn act<T>(&mut self, work: impl AsyncFnOnce(Person) -> T) -> T {
        let config = config(&self.model, Arc::new(Calm), &self.root, "us-east-1");
        let s3 = aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build();
        let person = Person { iam: aws_sdk_iam::Client::new(&config), s3: aws_sdk_s3::Client::from_conf(s3) };
        self.invariants.person(true);
        self.idle.close();
        let done = self.block(work(person));
        self.idle.open();
        self.invariants.person(false);
        done
    }

    /// Lets a person work on the API server.
    pub fn edit<T>(&self, work: impl FnOnce(&Cluster) -> T) -> T {
        self.invariants.person(true);
        let done = work(&self.cluster);
        self.invariants.person(false);
        done
    }

    pub fn look<T>(&self, look: impl FnOnce(&crate::cluster::Store, &crate::model::state::State) -> T) -> T {
        self.cluster.look(|store| self.model.state(|state| look(store, state)))
    }

    pub fn end(&self) -> Value {
        self.look(end_state::end_state)
    }

    /// Starts an operator: the first, or another one in parallel.
    pub fn start(&mut self) {
        let operator = operate(self.cluster.clone(), environment(&self.model, &self.calls, &self.key));
        // Only the first can be paused.
        let asleep = if self.operators.is_empty() { self.calls.gate.clone() } else { Gate::default() };
        let operator = self.idle.guard(asleep.guard(operator));
        self.operators.push(self.runtime.spawn(operator));
    }

    fn block<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(async {
            clock::resume();
            let done = work.await;
            clock::pause();
            done
        })
    }

    /// Kills all operators, and starts one.
    pub fn kill(&mut self) {
        self.deaths += 1;
        self.operators.clear();
        self.calls.gate.open();
        // Everything that they were waiting for is dropped.
        self.runtime = runtime();
        self.calls.revive();
        self.block(async { tokio::time::sleep(RESTART).await });
        self.start();
    }

    /// Lets time pass; an operator that is killed starts again.
    pub fn run(&mut self, time: Duration) {
        let end = clock::now() + jiff::SignedDuration::try_from(time).unwrap();
        loop {
            let left = end.duration_since(clock::now());
            if left <= jiff::SignedDuration::ZERO {
                return;
            }
            let calls = self.calls.clone();
            let killed = self.block(async move {
                tokio::select! {
                    biased;
                    () = calls.killed() => true,
                    () = tokio::time::sleep(left.unsigned_abs()) => false,
                }
            });
            assert!(self.operators.iter().all(|operator| !operator.is_finished()), "the operator has ended: it panicked");
            if killed {
                self.kill();
            }
        }
    }

    /// Whether each object is in its desired state.
    fn settled(&self) -> bool {
        self.cluster.look(|store| {
            store.all("bucketconnections").all(|object| {
                let intends = !object["status"]["credentials"]["intent"].is_null();
                object["metadata"]["deletionTimestamp"].is_null()
                    && !intends
                    && (ready(object) || object["spec"]["suspend"] == true)
            })
        })
    }

    /// Runs until nothing happens anymore.
    pub fn settle(&mut self) {
        let began = clock::now();
        self.run(Duration::from_secs(20));
        loop {
            let still = clock::now().duration_since(self.invariants.last_write().max(began)).unsigned_abs();
            if still >= STUCK || (still >= QUIET && self.settled() && !self.calls.gate.is_closed()) {
                return;
            }
            if clock::now().duration_since(began).unsigned_abs() > LIMIT {
                return;
            }
            self.run(Duration::from_secs(10));
        }
    }

    /// The errors at rest.
    pub fn wrong(&self) -> Vec<String> {
        self.look(|store, state| self.invariants.at_rest(store, state))
    }

    /// The status of a connection, for messages.
    pub fn status(&self, name: &str) -> Value {
        self.cluster.get("bucketconnections", "default", name).map(|object| object["status"].clone()).unwrap_or_default()
    }
}
