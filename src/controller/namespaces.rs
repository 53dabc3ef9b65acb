//! One watch for each listed namespace, and one store for all of them.
//!
//! A store replaces its whole content when a list ends, so it can follow only one watch. Here the watches of several
//! namespaces become the events of a single one: one list, which ends when each namespace has answered once, and then
//! only changes. A later list of one namespace becomes the changes that it shows. A namespace that cannot be listed,
//! because it does not exist yet or the operator has no permission there, does not block the others.

use std::collections::{BTreeSet, HashMap, HashSet};

use futures::{Stream, StreamExt, stream};
use kube::Resource;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::{self, Event};

/// Joins the watches of several namespaces.
struct Joined<K: Resource<DynamicType = ()> + Clone + 'static> {
    store: Store<K>,
    /// The namespaces that have not answered yet.
    unanswered: BTreeSet<String>,
    /// What was seen until each namespace has answered.
    held: HashMap<ObjectRef<K>, K>,
    /// What the current list of a namespace has shown so far.
    listed: HashMap<String, HashSet<ObjectRef<K>>>,
}

/// The events of all `watches`, which are those of these namespaces, as the events of one watch that fills `store`.
pub(super) fn join<K, W>(watches: Vec<(String, W)>, store: Store<K>) -> impl Stream<Item = watcher::Result<Event<K>>> + use<K, W>
where
    K: Resource<DynamicType = ()> + Clone + Send + 'static,
    W: Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
{
    let (namespaces, watches): (Vec<_>, Vec<_>) = watches.into_iter().unzip();
    let unanswered = namespaces.iter().cloned().collect();
    let mut joined = Joined { store, unanswered, held: HashMap::new(), listed: HashMap::new() };
    let named = watches.into_iter().zip(namespaces);
    let named = named.map(|(watch, namespace)| watch.map(move |event| (namespace.clone(), event)).boxed());
    stream::select_all(named).flat_map(move |(namespace, event)| stream::iter(joined.next(&namespace, event)))
}

impl<K: Resource<DynamicType = ()> + Clone + 'static> Joined<K> {
    /// The events of the one watch that follow from an event of the watch of `namespace`.
    fn next(&mut self, namespace: &str, event: watcher::Result<Event<K>>) -> Vec<watcher::Result<Event<K>>> {
        match event {
            Ok(event) if self.unanswered.is_empty() => self.changes(namespace, event).into_iter().map(Ok).collect(),
            Ok(event) => {
                let answered = matches!(event, Event::InitDone);
                self.hold(namespace, event);
                if answered { self.answered(namespace).into_iter().map(Ok).collect() } else { Vec::new() }
            }
            // An error is an answer: the namespace is watched as soon as it can be.
            Err(error) => [Err(error)].into_iter().chain(self.answered(namespace).into_iter().map(Ok)).collect(),
        }
    }

    /// `namespace` has answered; the list ends with the last one.
    fn answered(&mut self, namespace: &str) -> Vec<Event<K>> {
        if !self.unanswered.remove(namespace) || !self.unanswered.is_empty() {
            return Vec::new();
        }
        let held = std::mem::take(&mut self.held).into_values().map(Event::InitApply);
        [Event::Init].into_iter().chain(held).chain([Event::InitDone]).collect()
    }

    fn hold(&mut self, namespace: &str, event: Event<K>) {
        match event {
            Event::Init => drop(self.listed.insert(namespace.to_owned(), HashSet::new())),
            Event::InitApply(object) => {
                self.list(namespace, &object);
                self.held.insert(ObjectRef::from_obj(&object), object);
            }
            Event::Apply(object) => drop(self.held.insert(ObjectRef::from_obj(&object), object)),
            Event::Delete(object) => drop(self.held.remove(&ObjectRef::from_obj(&object))),
            Event::InitDone => {
                let listed = self.listed.remove(namespace).unwrap_or_default();
                self.held.retain(|name, _| name.namespace.as_deref() != Some(namespace) || listed.contains(name));
            }
        }
    }

    /// After the first list, the store has what was seen last.
    fn changes(&mut self, namespace: &str, event: Event<K>) -> Vec<Event<K>> {
        match event {
            Event::Init => {
                self.listed.insert(namespace.to_owned(), HashSet::new());
                Vec::new()
            }
            Event::InitApply(object) => {
                self.list(namespace, &object);
                // Deleted and created again between two lists.
                let before =
                    self.store.get(&ObjectRef::from_obj(&object)).filter(|before| before.meta().uid != object.meta().uid);
                before.map(|before| Event::Delete((*before).clone())).into_iter().chain([Event::Apply(object)]).collect()
            }
            Event::InitDone => {
                let listed = self.listed.remove(namespace).unwrap_or_default();
                let seen = self.store.state().into_iter();
                let gone = seen.filter(|object| {
                    object.meta().namespace.as_deref() == Some(namespace) && !listed.contains(&ObjectRef::from_obj(&**object))
                });
                gone.map(|object| Event::Delete((*object).clone())).collect()
            }
            change @ (Event::Apply(_) | Event::Delete(_)) => vec![change],
        }
    }

    fn list(&mut self, namespace: &str, object: &K) {
        self.listed.entry(namespace.to_owned()).or_default().insert(ObjectRef::from_obj(object));
    }
}

#[cfg(test)]
mod tests {
    use futures::channel::mpsc::{UnboundedSender, unbounded};
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::ResourceExt;
    use kube::runtime::reflector::{self, store::Writer};

    use super::*;

    type Sent = watcher::Result<Event<ConfigMap>>;

    fn object(namespace: &str, name: &str, uid: &str) -> ConfigMap {
        let metadata = serde_json::json!({ "namespace": namespace, "name": name, "uid": uid });
        serde_json::from_value(serde_json::json!({ "metadata": metadata })).unwrap()
    }

    /// The watches of the namespaces a and b, and the store that they fill.
    struct World {
        watches: [UnboundedSender<Sent>; 2],
        joined: std::pin::Pin<Box<dyn Stream<Item = Sent>>>,
        writer: Writer<ConfigMap>,
        store: Store<ConfigMap>,
    }

    impl World {
        fn new() -> Self {
            let (store, writer) = reflector::store();
            let ((a, of_a), (b, of_b)) = (unbounded(), unbounded());
            let joined = join(vec![("a".to_owned(), of_a), ("b".to_owned(), of_b)], store.clone());
            Self { watches: [a, b], joined: Box::pin(joined), writer, store }
        }

        /// One event of a watch, and the number of events that follow.
        fn send(&mut self, watch: usize, event: Sent) -> usize {
            self.watches[watch].unbounded_send(event).unwrap();
            let mut count = 0;
            while let Some(Some(event)) = futures::FutureExt::now_or_never(self.joined.next()) {
                event.into_iter().for_each(|event| self.writer.apply_watcher_event(&event));
                count += 1;
            }
            count
        }

        fn list(&mut self, watch: usize, objects: &[ConfigMap]) {
            self.send(watch, Ok(Event::Init));
            for object in objects {
                self.send(watch, Ok(Event::InitApply(object.clone())));
            }
            self.send(watch, Ok(Event::InitDone));
        }

        fn seen(&self) -> Vec<String> {
            let mut seen: Vec<_> =
                self.store.state().iter().map(|o| format!("{}/{}", o.namespace().unwrap(), o.uid().unwrap())).collect();
            seen.sort();
            seen
        }

        fn is_ready(&self) -> bool {
            futures::FutureExt::now_or_never(self.store.wait_until_ready()).is_some()
        }
    }

    #[test]
    fn the_list_ends_when_each_namespace_has_answered() {
        let mut world = World::new();
        world.list(0, &[object("a", "x", "1"), object("a", "y", "2")]);
        // Before the other namespace has answered.
        world.send(0, Ok(Event::Delete(object("a", "x", "1"))));
        world.send(0, Ok(Event::Apply(object("a", "z", "3"))));
        assert!(!world.is_ready() && world.seen().is_empty());
        world.list(1, &[object("b", "x", "4")]);
        assert!(world.is_ready());
        assert_eq!(world.seen(), ["a/2", "a/3", "b/4"]);
    }

    #[test]
    fn a_namespace_that_cannot_be_listed_does_not_block_the_others() {
        let mut world = World::new();
        world.list(0, &[object("a", "x", "1")]);
        assert_eq!(world.send(1, Err(watcher::Error::NoResourceVersion)), 4, "the error is reported, and the list ends");
        assert!(world.is_ready());
        assert_eq!(world.send(1, Err(watcher::Error::NoResourceVersion)), 1);
        assert_eq!(world.seen(), ["a/1"]);
        // It exists now.
        world.list(1, &[object("b", "x", "2")]);
        assert_eq!(world.seen(), ["a/1", "b/2"]);
    }

    #[test]
    fn a_second_list_of_one_namespace_deletes_nothing_of_another() {
        let mut world = World::new();
        world.list(0, &[object("a", "x", "1"), object("a", "y", "2")]);
        world.list(1, &[object("b", "x", "3")]);
        world.send(0, Ok(Event::Init));
        world.send(0, Ok(Event::InitApply(object("a", "y", "4"))));
        assert_eq!(world.seen(), ["a/1", "a/4", "b/3"], "nothing is missing while the list continues");
        world.send(0, Ok(Event::InitDone));
        assert_eq!(world.seen(), ["a/4", "b/3"]);
        world.list(1, &[]);
        assert_eq!(world.seen(), ["a/4"]);
    }
}
