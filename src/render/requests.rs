//! How far the operator is with what an annotation of a connection requests: for the commands that wait for it.

use std::collections::BTreeSet;

use kube::ResourceExt;
use serde::Serialize;

use crate::api::{BucketConnection, CredentialsStatus, Preset, REQUESTED_AT, REVOKE_AT, ROTATE_AT};
use crate::vocabulary::conditions::{ConditionType, Reason};

/// What an annotation requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Request {
    /// Another access key.
    Rotate,
    /// The end of all access keys and sessions.
    Revoke,
    /// A reconcile.
    Reconcile,
}

impl Request {
    /// The annotations that request it with the value `at`. A reconcile is requested too: when the operator has handled that, the
    /// conditions are about this request, and not about an earlier one.
    pub fn annotations(self, at: &str) -> Vec<(&'static str, String)> {
        let own = match self {
            Self::Rotate => Some(ROTATE_AT),
            Self::Revoke => Some(REVOKE_AT),
            Self::Reconcile => None,
        };
        own.into_iter().chain([REQUESTED_AT]).map(|annotation| (annotation, at.to_owned())).collect()
    }

    /// Why the operator could not carry it out on `object`; `None` if it could.
    pub fn refused(self, object: &BucketConnection) -> Option<String> {
        let spec = &object.spec;
        if object.metadata.deletion_timestamp.is_some() && self != Self::Revoke {
            return Some("it is being deleted".to_owned());
        }
        if self != Self::Reconcile
            && let Some(secret) = spec.existing_secret()
        {
            return Some(format!(
                "credentials.source is Existing: this operator does not manage the key; replace it where it was issued, and then in Secret {secret}"
            ));
        }
        let waits = spec.suspend && self != Self::Revoke;
        waits.then(|| {
            "spec.suspend is true: the operator would not handle the request; resume it first: bucketconnection resume".to_owned()
        })
    }
}

/// How far a request is.
#[derive(Debug, PartialEq)]
pub enum Progress {
    /// The operator works on it, or has not begun.
    Waiting(String),
    /// It is done.
    Done(Box<Answer>),
    /// It cannot be done before someone acts, or before something else ends.
    Blocked(String),
}

/// The result of a request.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// Namespace of the connection.
    pub namespace: String,
    /// Name of the connection.
    pub name: String,
    /// What was requested.
    pub request: Request,
    /// Value of the annotation.
    pub requested_at: String,
    /// Whether the connection is Ready: True, False or Unknown.
    pub ready: String,
    /// The reason of `Ready`.
    pub reason: String,
    /// Its message.
    pub message: String,
    /// Name of the Secret with the current key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Id of the current key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<String>,
    /// Ids of the keys that it replaces.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub replaced_keys: Vec<String>,
    /// Until when the previous key works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_key_works_until: Option<String>,
    /// The option of `export` for the platform.
    #[serde(skip)]
    pub target: &'static str,
    /// Until when sessions that began before the revocation are denied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessions_denied_until: Option<String>,
}

/// How far the request with the value `at` is in `now`; `before` is the object before it was requested.
pub fn progress(request: Request, at: &str, before: &BucketConnection, now: &BucketConnection) -> Progress {
    let status = now.status.as_ref();
    let seen = status.is_some_and(|status| status.last_handled_reconcile_at.as_deref() == Some(at));
    match request {
        Request::Reconcile if seen => done(request, at, before, now),
        Request::Reconcile => unseen(now),
        Request::Rotate => rotation(at, before, now, seen),
        Request::Revoke => revocation(at, before, now, seen),
    }
}

fn rotation(at: &str, before: &BucketConnection, now: &BucketConnection, seen: bool) -> Progress {
    let (old, new) = (credentials(before), credentials(now));
    let handled = new.last_handled_rotate_at.as_deref() == Some(at);
    if handled && new.pending.is_none() && new.access_key_id.is_some() && new.access_key_id != old.access_key_id {
        return done(Request::Rotate, at, before, now);
    }
    if !seen && !handled {
        return unseen(now);
    }
    let rotation = condition(now, ConditionType::RotationComplete).filter(|(status, ..)| *status == "False");
    match rotation {
        // The previous rotation is not over: that can last as long as the overlap.
        Some((_, reason, message))
            if !handled && [Reason::Overlapping, Reason::PreviousKeyInUse].iter().any(|known| known.to_string() == reason) =>
        {
            Progress::Blocked(message.to_owned())
        }
        _ if is_stalled(now) => Progress::Blocked(ready_message(now)),
        Some((.., message)) => Progress::Waiting(message.to_owned()),
        None => Progress::Waiting(ready_message(now)),
    }
}

fn revocation(at: &str, before: &BucketConnection, now: &BucketConnection, seen: bool) -> Progress {
    let new = credentials(now);
    if new.last_handled_revoke_at.as_deref() == Some(at) {
        let another = new.access_key_id.as_ref().is_some_and(|id| !new.revoked.contains(id));
        let never = now.spec.suspend || now.metadata.deletion_timestamp.is_some();
        return match another || never {
            true => done(Request::Revoke, at, before, now),
            false if is_stalled(now) => {
                Progress::Blocked(format!("every access key is revoked, but no other was issued: {}", ready_message(now)))
            }
            false => Progress::Waiting("every access key is revoked; the operator issues another one".to_owned()),
        };
    }
    let told = condition(now, ConditionType::RevocationComplete).filter(|(status, ..)| *status == "False");
    match told {
        Some((_, reason, message)) if seen && (is_stalled(now) || reason == Reason::RevocationBlocked.to_string()) => {
            Progress::Blocked(message.to_owned())
        }
        Some((.., message)) if seen => Progress::Waiting(message.to_owned()),
        _ => unseen(now),
    }
}

fn unseen(now: &BucketConnection) -> Progress {
    let never = now.status.as_ref().is_none_or(|status| status.observed_generation.is_none());
    let text = if never { "no operator has reconciled it yet" } else { "the operator has not handled the request yet" };
    Progress::Waiting(text.to_owned())
}

fn done(request: Request, at: &str, before: &BucketConnection, now: &BucketConnection) -> Progress {
    let (old, new) = (credentials(before), credentials(now));
    let (ready, reason, message) = condition(now, ConditionType::Ready).unwrap_or(("Unknown", "", ""));
    let mut replaced: Vec<_> = match request {
        Request::Rotate => new.previous.iter().map(|previous| previous.access_key_id.clone()).collect(),
        Request::Revoke => old.keys().cloned().collect(),
        Request::Reconcile => Vec::new(),
    };
    let mut seen = BTreeSet::new();
    replaced.retain(|id| seen.insert(id.clone()));
    let (keys, revokes) = (request != Request::Reconcile, request == Request::Revoke);
    let time = |at: &jiff::Timestamp| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    Progress::Done(Box::new(Answer {
        namespace: now.namespace().unwrap_or_default(),
        name: now.name_any(),
        request,
        requested_at: at.to_owned(),
        ready: ready.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        secret: new.secret_name.clone().filter(|_| keys),
        access_key_id: new.access_key_id.clone().filter(|_| keys),
        replaced_keys: replaced,
        previous_key_works_until: new.previous.as_ref().filter(|_| keys).map(|previous| time(&previous.works_until.0)),
        target: match now.spec.preset {
            Preset::IlluminaICA => "--ica",
            Preset::CLCGenomics => "--clc",
            _ => "--env",
        },
        sessions_denied_until: new.revocation.as_ref().filter(|_| revokes).map(|revocation| time(&revocation.ends_at.0)),
    }))
}

impl Answer {
    /// Whether the connection works.
    pub fn is_ready(&self) -> bool {
        self.ready == "True"
    }

    /// The result for people, in lines without a break at the end.
    pub fn text(&self) -> String {
        let name = format!("{}/{}", self.namespace, self.name);
        let (key, secret) = (self.access_key_id.as_deref(), self.secret.as_deref().unwrap_or("?"));
        let export = format!("bucketconnection export {} -n {} {}", self.name, self.namespace, self.target);
        let mut lines = match (self.request, key) {
            (Request::Reconcile, _) => {
                vec![format!("{name}: reconciled; Ready={} ({}): {}", self.ready, self.reason, self.message)]
            }
            (Request::Rotate, _) if self.replaced_keys.is_empty() => {
                vec![format!("{name}: there was no key to replace; the operator issued the first one")]
            }
            (Request::Rotate, _) => vec![format!("{name}: rotated")],
            (Request::Revoke, Some(_)) => vec![format!("{name}: revoked; another key is issued")],
            (Request::Revoke, None) => vec![format!("{name}: revoked; no other key is issued: {}", self.message)],
        };
        for id in self.replaced_keys.iter().filter(|_| self.request == Request::Revoke) {
            lines.push(format!("  revoked key   {id}"));
        }
        if let Some(until) = &self.sessions_denied_until {
            lines.push(format!("  sessions      those from before the revocation are denied until {until}"));
        }
        if let Some(id) = key {
            lines.push(format!("  current key   {id}, in Secret {secret}"));
        }
        for id in self.replaced_keys.iter().filter(|_| self.request == Request::Rotate) {
            let until = self.previous_key_works_until.as_deref().unwrap_or("it is deleted");
            lines.push(format!("  previous key  {id}, works until {until}"));
        }
        let first = self.replaced_keys.is_empty();
        if self.request != Request::Reconcile && key.is_some() {
            let paste = if first { "Hand the key over" } else { "Paste the current key where you pasted the previous one" };
            lines.push(format!("{paste}: {export}"));
        }
        lines.join("\n")
    }
}

/// What a revocation of the connection does, before it is requested.
pub fn consequences(object: &BucketConnection) -> String {
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let keys: Vec<_> = credentials(object).keys().cloned().collect();
    let keys = if keys.is_empty() { "none is recorded".to_owned() } else { keys.join(", ") };
    let another = if object.spec.suspend {
        "issues no other key: spec.suspend is true"
    } else {
        "then issues another key into the Secret; paste it where you pasted the previous one"
    };
    format!(
        "{namespace}/{name}: the operator\n  - deletes every managed access key ({keys})\n  \
         - denies all sessions that were made with them; running uploads and analyses fail\n  - {another}"
    )
}

fn credentials(object: &BucketConnection) -> CredentialsStatus {
    object.status.as_ref().and_then(|status| status.memory.credentials.clone()).unwrap_or_default()
}

/// Status, reason and message of a condition.
fn condition(object: &BucketConnection, kind: ConditionType) -> Option<(&str, &str, &str)> {
    let kind = kind.to_string();
    let conditions = object.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let found = conditions.iter().find(|condition| condition.type_ == kind)?;
    Some((&found.status, &found.reason, &found.message))
}

fn is_stalled(object: &BucketConnection) -> bool {
    condition(object, ConditionType::Stalled).is_some_and(|(status, ..)| status == "True")
}

fn ready_message(object: &BucketConnection) -> String {
    let (_, reason, message) = condition(object, ConditionType::Ready).unwrap_or(("", "", "no condition Ready yet"));
    if reason.is_empty() { message.to_owned() } else { format!("{message} ({reason})") }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::render::fixture::{condition as told, with_status as object};

    fn waits(progress: Progress) -> String {
        match progress {
            Progress::Waiting(text) => text,
            other => panic!("{other:?}"),
        }
    }

    fn blocked(progress: Progress) -> String {
        match progress {
            Progress::Blocked(text) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_rotation_is_done_when_the_secret_has_another_key() {
        let before = object(json!({ "observedGeneration": 1, "credentials": { "accessKeyId": "OLD" } }));
        let at = |status| progress(Request::Rotate, "2", &before, &object(status));
        assert_eq!(waits(at(json!({ "observedGeneration": 1 }))), "the operator has not handled the request yet");
        let pending = json!({ "accessKeyId": "OLD", "lastHandledRotateAt": "2", "pending": { "secretName": "c-s3-pending" } });
        let rotating = told("RotationComplete", "False", "Rotating", "it is being verified");
        assert_eq!(waits(at(json!({ "credentials": pending, "conditions": [rotating] }))), "it is being verified");
        let previous =
            json!({ "accessKeyId": "OLD", "replacedAt": "2026-01-01T00:00:00Z", "worksUntil": "2026-01-02T00:00:00Z" });
        let new = json!({ "accessKeyId": "NEW", "lastHandledRotateAt": "2", "previous": previous, "secretName": "c-s3" });
        let Progress::Done(answer) = at(json!({ "credentials": new })) else { panic!("not done") };
        assert_eq!(
            answer.text(),
            "lab/c: rotated\n  current key   NEW, in Secret c-s3\n  previous key  OLD, works until 2026-01-02T00:00:00Z\n\
             Paste the current key where you pasted the previous one: bucketconnection export c -n lab --env"
        );
    }

    #[test]
    fn the_first_key_replaces_none() {
        let new = json!({ "accessKeyId": "NEW", "lastHandledRotateAt": "2", "secretName": "c-s3" });
        let found = progress(Request::Rotate, "2", &object(json!({})), &object(json!({ "credentials": new })));
        let Progress::Done(answer) = found else { panic!("not done") };
        assert_eq!(
            answer.text(),
            "lab/c: there was no key to replace; the operator issued the first one\n  current key   NEW, in Secret c-s3\n\
             Hand the key over: bucketconnection export c -n lab --env"
        );
    }

    /// The conditions of an earlier reconcile say nothing about this request.
    #[test]
    fn what_blocks_a_rotation_counts_once_the_operator_has_seen_the_request() {
        let stalled = json!([
            told("Stalled", "True", "AccessDenied", "x"),
            told("Ready", "False", "AccessDenied", "denied"),
            told("RotationComplete", "False", "Overlapping", "the previous key works"),
        ]);
        let before = object(json!({ "observedGeneration": 1 }));
        let at = |handled: &str, conditions: &Value| {
            let status = json!({ "observedGeneration": 1, "lastHandledReconcileAt": handled, "conditions": conditions });
            progress(Request::Rotate, "2", &before, &object(status))
        };
        assert_eq!(waits(at("1", &stalled)), "the operator has not handled the request yet");
        assert_eq!(blocked(at("2", &stalled)), "the previous key works");
        assert_eq!(blocked(at("2", &json!([stalled[0], stalled[1]]))), "denied (AccessDenied)");
    }

    #[test]
    fn a_revocation_is_done_when_another_key_is_issued_or_none_will_be() {
        let before =
            object(json!({ "observedGeneration": 1, "credentials": { "accessKeyId": "OLD", "obsoleteKeys": ["OLDER"] } }));
        let revoked = json!({ "lastHandledRevokeAt": "2", "revoked": ["OLD"] });
        let now = |credentials: Value| object(json!({ "observedGeneration": 1, "credentials": credentials }));
        let at = |now: &BucketConnection| progress(Request::Revoke, "2", &before, now);
        assert_eq!(waits(at(&now(json!({})))), "the operator has not handled the request yet");
        assert!(waits(at(&now(revoked.clone()))).starts_with("every access key is revoked"));
        let mut suspended = now(revoked);
        suspended.spec.suspend = true;
        let Progress::Done(answer) = at(&suspended) else { panic!("not done") };
        assert_eq!((&answer.access_key_id, answer.replaced_keys.len()), (&None, 2));
        let Progress::Done(answer) = at(&now(json!({ "lastHandledRevokeAt": "2", "accessKeyId": "NEW" }))) else { panic!() };
        assert_eq!(answer.access_key_id.as_deref(), Some("NEW"));
    }

    #[test]
    fn what_cannot_be_requested_is_refused_with_the_field() {
        let mut object = object(json!({}));
        assert_eq!(Request::Rotate.refused(&object), None);
        object.spec.suspend = true;
        assert!(Request::Reconcile.refused(&object).is_some_and(|text| text.contains("spec.suspend")));
        assert_eq!(Request::Revoke.refused(&object), None);
        let existing = json!({ "source": "Existing", "existingSecretRef": { "name": "mine" } });
        object.spec.credentials = serde_json::from_value(existing).unwrap();
        assert!(Request::Revoke.refused(&object).is_some_and(|text| text.contains("Secret mine")));
    }
}
