//! Reads connections, also those that this version cannot read as a whole, and watches them.

use std::collections::BTreeMap;

use futures::{Stream, StreamExt};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::events::v1::Event as ApiEvent;
use kube::api::{ApiResource, ListParams};
use kube::core::DynamicObject;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, Client, ResourceExt};

use crate::api::BucketConnection;
use crate::cli::Failure;
use crate::cli::connections::Selection;
use crate::cli::terminal::warn;
use crate::controller::longest;
use crate::kubernetes::{call, find, of_watch};
use crate::observed::Partial;
use crate::render::connection::{Overview, Schedule};
use crate::status::HEARTBEAT_SECONDS;
use crate::vocabulary::problem::{Class, Problem, Source};

/// A connection as it is stored.
#[derive(Clone)]
pub(super) struct Seen {
    /// The object, or the part of it that can be read.
    pub object: BucketConnection,
    /// Why not all of it can be read.
    pub unreadable: Option<String>,
    /// The preset as it is stored, if not all of the object can be read.
    preset: Option<String>,
}

impl Seen {
    fn of(stored: DynamicObject) -> Result<Self, Problem> {
        match stored.clone().try_parse() {
            Ok(object) => Ok(Self { object, unreadable: None, preset: None }),
            Err(error) => {
                let text = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
                let unreadable = |error: serde_json::Error| {
                    Problem::at(Source::Kubernetes, Class::Refused, "read bucketconnections", "BadObject", error.to_string())
                };
                let Partial { object, spec } = Partial::of(stored).map_err(unreadable)?;
                let preset = Some(spec["preset"].as_str().unwrap_or("unknown").to_owned());
                Ok(Self { object, unreadable: Some(text), preset })
            }
        }
    }

    /// What to show of it.
    pub(super) fn overview(&self, now: Timestamp) -> Overview {
        let status = self.object.status.clone().unwrap_or_default();
        let longest = longest(&status, self.object.spec.resync_interval.into());
        let schedule = Schedule {
            longest: SignedDuration::try_from(longest).unwrap_or(SignedDuration::MAX),
            heartbeat: SignedDuration::from_secs(HEARTBEAT_SECONDS),
        };
        let of = Overview::of(&self.object, self.unreadable.clone(), &schedule, now);
        match &self.preset {
            Some(preset) => Overview { preset: preset.clone(), ..of },
            None => of,
        }
    }

    fn key(&self) -> (String, String) {
        (self.object.namespace().unwrap_or_default(), self.object.name_any())
    }
}

/// Which connections to read.
pub(super) struct Connections {
    api: Api<DynamicObject>,
    names: Vec<String>,
    selector: Option<String>,
}

impl Connections {
    /// Those of a selection.
    pub(super) fn of(client: &Client, selection: &Selection) -> Self {
        let namespace = Some(selection.namespace(client)).filter(|_| !selection.all_namespaces);
        Self { selector: selection.selector.clone(), ..Self::named(client, namespace, &selection.names) }
    }

    /// Those with `names` in `namespace`, or all of it; without a namespace, of all namespaces.
    pub(super) fn named(client: &Client, namespace: Option<&str>, names: &[String]) -> Self {
        let resource = ApiResource::erase::<BucketConnection>(&());
        let api = match namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        };
        Self { api, names: names.to_vec(), selector: None }
    }

    /// The connections by namespace and name, and the names that do not exist. Needs only the permission to list, or
    /// for names the permission to get these.
    pub(super) async fn list(&self) -> Result<(Vec<Seen>, Vec<String>), Problem> {
        let mut which = ListParams::default();
        which.label_selector.clone_from(&self.selector);
        which.field_selector = self.field();
        let stored = match call("list bucketconnections", self.api.list(&which)).await {
            Ok(list) => list.items,
            Err(problem) if problem.class == Class::Denied && !self.names.is_empty() => self.get_each().await?,
            Err(problem) => return Err(problem),
        };
        let mut seen = stored.into_iter().map(Seen::of).collect::<Result<Vec<_>, _>>()?;
        seen.retain(|seen| self.includes(&seen.object.name_any()));
        seen.sort_by_key(Seen::key);
        let missing = self.names.iter().filter(|name| !seen.iter().any(|seen| seen.object.name_any() == **name));
        let missing = missing.cloned().collect();
        Ok((seen, missing))
    }

    async fn get_each(&self) -> Result<Vec<DynamicObject>, Problem> {
        let gets = self.names.iter().map(|name| find(&self.api, "bucketconnections", name));
        Ok(futures::future::try_join_all(gets).await?.into_iter().flatten().collect())
    }

    /// A single name can be selected by the API server.
    fn field(&self) -> Option<String> {
        match self.names.as_slice() {
            [name] => Some(format!("metadata.name={name}")),
            _ => None,
        }
    }

    fn includes(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|asked| asked == name)
    }

    /// All connections, whenever one of them has changed; and the ones that changed.
    pub(super) fn watch(&self) -> impl Stream<Item = Result<Change, Failure>> {
        let config =
            watcher::Config { label_selector: self.selector.clone(), field_selector: self.field(), ..Default::default() };
        let names = self.names.clone();
        let mut all = BTreeMap::new();
        let mut listing = Vec::new();
        watch(self.api.clone(), config).default_backoff().filter_map(move |event| {
            let change = changed(event, &names, &mut all, &mut listing);
            std::future::ready(change.transpose())
        })
    }
}

/// Says that there are new Events about the object with this uid. Ends if the user cannot watch Events.
pub(super) fn news(client: &Client, namespace: &str, uid: &str) -> impl Stream<Item = ()> {
    let events: Api<ApiEvent> = Api::namespaced(client.clone(), namespace);
    let config = watcher::Config::default().fields(&format!("regarding.uid={uid}"));
    let changes = watch(events, config).default_backoff();
    let allowed = |event: &Result<Event<ApiEvent>, watcher::Error>| {
        let denied = event.as_ref().is_err_and(|error| of_watch("events.events.k8s.io", error).class == Class::Denied);
        std::future::ready(!denied)
    };
    let new = |event| std::future::ready(matches!(event, Ok(Event::Apply(_))).then_some(()));
    changes.take_while(allowed).filter_map(new)
}

/// A change of the watched connections.
pub(super) struct Change {
    /// All of them, after it.
    pub all: Vec<Seen>,
    /// Those that changed.
    pub changed: Vec<Seen>,
    /// Those that were deleted.
    pub gone: Vec<Seen>,
}

type All = BTreeMap<(String, String), Seen>;

fn changed(
    event: Result<Event<DynamicObject>, watcher::Error>,
    names: &[String],
    all: &mut All,
    listing: &mut Vec<Seen>,
) -> Result<Option<Change>, Failure> {
    let wanted = |seen: &Seen| names.is_empty() || names.contains(&seen.object.name_any());
    let (changed, gone) = match event {
        Ok(Event::Init) => {
            listing.clear();
            return Ok(None);
        }
        Ok(Event::InitApply(stored)) => {
            listing.push(Seen::of(stored)?);
            return Ok(None);
        }
        Ok(Event::InitDone) => {
            let new: All = listing.drain(..).filter(wanted).map(|seen| (seen.key(), seen)).collect();
            let version = |seen: &Seen| seen.object.resource_version();
            let changed = new.iter().filter(|(key, seen)| all.get(*key).map(version) != Some(version(seen)));
            let changed = changed.map(|(_, seen)| seen.clone()).collect();
            let gone = all.iter().filter(|(key, _)| !new.contains_key(*key)).map(|(_, seen)| seen.clone()).collect();
            *all = new;
            (changed, gone)
        }
        Ok(Event::Apply(stored)) => {
            let seen = Seen::of(stored)?;
            if !wanted(&seen) {
                return Ok(None);
            }
            all.insert(seen.key(), seen.clone());
            (vec![seen], Vec::new())
        }
        Ok(Event::Delete(stored)) => {
            let seen = Seen::of(stored)?;
            match all.remove(&seen.key()) {
                Some(_) => (Vec::new(), vec![seen]),
                None => return Ok(None),
            }
        }
        Err(error) => {
            let problem = of_watch("bucketconnections", &error);
            if matches!(problem.class, Class::Denied | Class::Missing) {
                return Err(problem.into());
            }
            warn(&format!("{}; still trying", problem.brief()));
            return Ok(None);
        }
    };
    Ok(Some(Change { all: all.values().cloned().collect(), changed, gone }))
}
