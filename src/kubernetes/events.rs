//! Events: few, and only on change. A failed Event is logged and never fails a pass.

use kube::Resource;
use kube::runtime::events::{Event, EventType};

use super::{Kubernetes, call};
use crate::api::BucketConnection;
use crate::render::Note;

/// Longest note that the API server takes, in bytes
/// (<https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/>).
const NOTE_LIMIT: usize = 1_024;

impl Kubernetes {
    /// Publishes `note` about `object`.
    pub async fn publish(&self, object: &BucketConnection, note: &Note) {
        let event = Event {
            type_: if note.warning { EventType::Warning } else { EventType::Normal },
            reason: note.reason.to_string(),
            note: Some(shortened(&note.text)),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        let reference = object.object_ref(&());
        if let Err(problem) = call("create events.events.k8s.io", self.recorder.publish(&event, &reference)).await {
            tracing::warn!(%problem, "could not write an Event");
        }
    }
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
