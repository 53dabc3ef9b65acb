//! Events: few, and only on change. A failed Event is logged and never fails a reconcile.

use k8s_openapi::api::events::v1::Event as ApiEvent;
use kube::api::ListParams;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Api, Client, Resource};

use super::{Kubernetes, MANAGER, call};
use crate::vocabulary::conditions::Reason;
use crate::vocabulary::problem::Problem;

/// Longest note that the API server accepts, in bytes
/// (<https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/>).
const NOTE_LIMIT: usize = 1_024;

impl Kubernetes {
    /// Publishes an Event about `object`.
    pub async fn publish(&self, object: &impl Resource<DynamicType = ()>, warning: bool, reason: Reason, text: &str) {
        let event = Event {
            type_: if warning { EventType::Warning } else { EventType::Normal },
            reason: reason.to_string(),
            note: Some(shortened(text)),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        let reference = object.object_ref(&());
        let reporter = Reporter { controller: MANAGER.to_owned(), instance: std::env::var("POD_NAME").ok() };
        // A new recorder each time: a recorder that is kept would count Events of the same reason, and continue to show
        // the first note. There are few Events, since only changes are reported.
        let recorder = Recorder::new(self.client.clone(), reporter);
        if let Err(problem) = call("create events.events.k8s.io", recorder.publish(&event, &reference)).await {
            tracing::warn!(%problem, "could not write an Event");
        }
    }
}

/// The Events about the object with this uid in `namespace`, newest first.
pub async fn events(client: &Client, namespace: &str, uid: &str) -> Result<Vec<ApiEvent>, Problem> {
    let events: Api<ApiEvent> = Api::namespaced(client.clone(), namespace);
    let which = ListParams::default().fields(&format!("regarding.uid={uid}"));
    let mut found = call("list events.events.k8s.io", events.list(&which)).await?.items;
    found.sort_by_key(|event| std::cmp::Reverse(event.event_time.as_ref().map(|at| at.0)));
    Ok(found)
}

fn shortened(text: &str) -> String {
    if text.len() <= NOTE_LIMIT {
        return text.to_owned();
    }
    let end = (0..=NOTE_LIMIT - 3).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_fit_and_stay_text() {
        let long = "ü".repeat(2_000);
        assert!(shortened(&long).len() <= NOTE_LIMIT);
        assert_eq!(shortened("short"), "short");
    }
}
