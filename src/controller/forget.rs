//! Drops what is kept for objects when they are deleted: a tenant may create and delete any number of them.

use std::collections::HashSet;
use std::sync::PoisonError;

use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};

use super::{Context, DeserializeGuard, turn};
use crate::api::{AWSAccount, BucketConnection, GROUP};

/// Removes from an object what is never read, to save memory: foreign annotations, such as a copy of the whole object
/// (`kubectl.kubernetes.io/last-applied-configuration`), labels, and managed fields.
pub(super) fn trim<K: Resource>(object: &mut K) {
    let metadata = object.meta_mut();
    metadata.managed_fields = None;
    metadata.labels = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.retain(|name, _| name.split('/').next().is_some_and(|domain| domain.ends_with(GROUP)));
    }
}

impl Context {
    /// Notes a changed spec, and forgets a connection that the watch reports as deleted.
    pub(super) fn connection_seen(&self, event: &Event<DeserializeGuard<BucketConnection>>) {
        match event {
            Event::Apply(object) | Event::InitApply(object) => self.changes.seen(object, (self.clock)()),
            Event::Delete(gone) => {
                let uid = gone.uid().unwrap_or_default();
                self.backoff.forget(&uid);
                self.changes.forget(&uid);
                self.kubernetes.forget(&uid);
                self.progress.forget(&turn::id(gone.namespace().as_deref(), &gone.name_any()));
                if let Ok(gone) = &gone.0 {
                    self.account_left(&gone.spec.account_ref.name);
                }
            }
            // Some may have been deleted while the watch was interrupted.
            Event::InitDone => {
                let there: HashSet<_> = self.connections.state().iter().filter_map(|object| object.uid()).collect();
                self.backoff.forget_all_but(&there);
                self.changes.forget_all_but(&there);
                self.kubernetes.forget_all_but(&there);
                let known: Vec<_> = self.used.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect();
                known.iter().for_each(|account| self.account_left(account));
            }
            Event::Init => {}
        }
    }

    /// Forgets an account that the watch reports as deleted.
    pub(super) fn account_seen(&self, event: &Event<DeserializeGuard<AWSAccount>>) {
        if let Event::Delete(gone) = event {
            self.backoff.forget(&gone.uid().unwrap_or_default());
            self.progress.forget(&turn::id(None, &gone.name_any()));
            self.account_left(&gone.name_any());
        }
    }

    /// Closes the session of a deleted account, if no connection needs it for its own deletion.
    fn account_left(&self, name: &str) {
        let named =
            |object: &DeserializeGuard<BucketConnection>| matches!(&object.0, Ok(object) if object.spec.account_ref.name == name);
        if self.connections.state().iter().any(|object| named(object)) {
            return;
        }
        self.used.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        if self.accounts.get(&kube::runtime::reflector::ObjectRef::new(name)).is_none() {
            self.sessions.close(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use aws_config::{BehaviorVersion, Region, SdkConfig};
    use kube::runtime::reflector::{self, store::Writer};
    use serde_json::{Value, json};

    use super::super::{backoff::Backoff, stages::Stages};
    use super::*;
    use crate::api::{Budget, SignIn};
    use crate::aws::Sessions;
    use crate::credentials::Sensitive;
    use crate::fair::Turns;
    use crate::fence::Fence;
    use crate::kubernetes::Kubernetes;
    use crate::observed::Seal;
    use crate::vocabulary::problem::{Class, Problem};

    fn read<K: Resource + serde::de::DeserializeOwned>(kind: &str, name: &str, spec: Value) -> DeserializeGuard<K> {
        let namespace = (kind == "BucketConnection").then_some("lab");
        let metadata = json!({ "name": name, "namespace": namespace, "uid": name, "labels": { "a": "b" }, "annotations": {
            "kubectl.kubernetes.io/last-applied-configuration": "{…}",
            "reconcile.bucketconnection.dev/requestedAt": "now",
        } });
        let object = json!({ "apiVersion": "bucketconnection.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec });
        serde_json::from_value(object).unwrap()
    }

    fn connection(name: &str, account: &str) -> DeserializeGuard<BucketConnection> {
        let spec = json!({ "preset": "ReadWrite", "region": "us-east-1", "bucket": { "name": "data" }, "accountRef": { "name": account } });
        read("BucketConnection", name, spec)
    }

    struct World {
        context: Context,
        connections: Writer<DeserializeGuard<BucketConnection>>,
        accounts: Writer<DeserializeGuard<AWSAccount>>,
    }

    impl World {
        async fn new() -> Self {
            let unused = tower::service_fn(async |_: http::Request<kube::client::Body>| {
                let namespace = br#"{"apiVersion":"meta.k8s.io/v1","kind":"PartialObjectMetadata","metadata":{"name":"kube-system","uid":"uid"}}"#;
                Ok::<_, std::io::Error>(http::Response::new(kube::client::Body::from(namespace.to_vec())))
            });
            let client = kube::Client::new(unused, "default");
            let kubernetes = Kubernetes::new(client, Some("cluster".to_owned())).await.unwrap();
            let aws = SdkConfig::builder().behavior_version(BehaviorVersion::v2026_01_12()).region(Region::new("us-east-1"));
            let ((connections, connection_writer), (accounts, account_writer)) = (reflector::store(), reflector::store());
            let context = Context {
                sessions: Sessions::new(aws.build()),
                kubernetes,
                seal: Seal::new(Sensitive::new("key".to_owned())),
                connections,
                accounts,
                used: Default::default(),
                wake: tokio::sync::mpsc::unbounded_channel().0,
                stop: Default::default(),
                fence: Fence::open(),
                backoff: Backoff::default(),
                slots: Turns::new(1),
                stages: Stages::new(true),
                running: super::super::running::Running::default(),
                progress: Arc::default(),
                changes: Default::default(),
                clock: jiff::Timestamp::now,
            };
            Self { context, connections: connection_writer, accounts: account_writer }
        }

        fn connection(&mut self, event: Event<DeserializeGuard<BucketConnection>>) {
            self.connections.apply_watcher_event(&event);
            self.context.connection_seen(&event);
        }

        fn account(&mut self, event: Event<DeserializeGuard<AWSAccount>>) {
            self.accounts.apply_watcher_event(&event);
            self.context.account_seen(&event);
        }

        /// As a failed reconcile leaves it.
        async fn reconcile(&mut self, name: &str, account: &str) {
            self.connection(Event::Apply(connection(name, account)));
            let failed = Problem::new(Class::Unavailable, "s3:GetBucketTagging", "", "");
            self.context.backoff.broken(name, &failed);
            self.context.progress.ends(&turn::id(Some("lab"), name), Some(std::time::Duration::from_secs(600)));
            self.context.used.lock().unwrap().insert(account.to_owned(), 1);
            self.context.sessions.open(account, &SignIn::default(), Budget::default(), None).await;
        }

        /// The number of entries kept for connections, and for accounts.
        fn kept(&self) -> (usize, usize, usize) {
            assert!(self.context.changes.len() <= 2);
            (self.context.backoff.len(), self.context.used.lock().unwrap().len(), self.context.sessions.len())
        }
    }

    #[tokio::test]
    async fn objects_that_come_and_go_leave_nothing() {
        let mut world = World::new().await;
        world.account(Event::Apply(read("AWSAccount", "shared", json!({}))));
        for n in 0..10 {
            let (name, account) = (format!("c{n}"), format!("none{n}"));
            world.reconcile(&name, &account).await;
            assert_eq!(world.kept(), (1, 1, 1));
            world.connection(Event::Delete(connection(&name, &account)));
            assert_eq!(world.kept(), (0, 0, 0));
        }
        world.reconcile("a", "shared").await;
        world.reconcile("b", "shared").await;
        world.connection(Event::Delete(connection("a", "shared")));
        world.connection(Event::Delete(connection("b", "shared")));
        assert_eq!(world.kept(), (0, 0, 1), "the account is there");
        world.account(Event::Delete(read("AWSAccount", "shared", json!({}))));
        assert_eq!(world.kept(), (0, 0, 0));
    }

    #[tokio::test]
    async fn an_account_that_is_gone_is_signed_in_to_while_a_connection_needs_it() {
        let mut world = World::new().await;
        world.account(Event::Apply(read("AWSAccount", "shared", json!({}))));
        world.reconcile("a", "shared").await;
        world.account(Event::Delete(read("AWSAccount", "shared", json!({}))));
        assert_eq!(world.kept().2, 1, "to delete a with");
        world.connection(Event::Delete(connection("a", "shared")));
        assert_eq!(world.kept(), (0, 0, 0));
    }

    #[tokio::test]
    async fn what_went_while_nobody_watched_is_forgotten_too() {
        let mut world = World::new().await;
        world.reconcile("a", "none").await;
        for event in [Event::Init, Event::InitApply(connection("b", "other")), Event::InitDone] {
            world.connection(event);
        }
        assert_eq!(world.kept(), (0, 0, 0));
    }

    #[test]
    fn what_is_never_read_is_not_kept() {
        let mut object = connection("a", "b");
        trim(&mut object);
        let kept: Vec<_> = object.annotations().keys().map(String::as_str).collect();
        assert_eq!((kept, object.labels().len()), (vec!["reconcile.bucketconnection.dev/requestedAt"], 0));
    }
}
