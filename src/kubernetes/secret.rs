//! The Secret that holds the access key. Always in the object's own namespace; read by name, never listed or watched,
//! so that the operator needs no permission to see every Secret.

use std::collections::BTreeMap;
use std::string::FromUtf8Error;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret as ApiSecret;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::owned::Whose;
use super::{Kubernetes, MANAGER, call, find, named};
use crate::api::BucketConnection;
use crate::credentials::{KeyPair, Sensitive, secret_data};
use crate::desired::{DesiredSecret, names};
use crate::observed::{OwnSecret, Secret};
use crate::vocabulary::problem::{Class, Problem, Source};

/// Annotation of the Secret: when the key in it was issued.
const KEY_CREATED_AT: &str = "bucketconnection.dev/key-created-at";
/// Number of the key, if keys are versioned: `<secret>-v<number>` has the same.
const KEY_VERSION: &str = "bucketconnection.dev/key-version";

/// What existed when the write was tried.
pub enum Seen {
    /// No Secret of that name.
    Nothing,
    /// A Secret, with this version.
    Version(String),
}

fn field_manager() -> String {
    format!("{MANAGER}/secret")
}

/// The data of a Secret as texts.
pub fn secret_texts(data: Option<BTreeMap<String, ByteString>>) -> BTreeMap<String, Sensitive> {
    // Moved, not copied, so that it is wiped in the end.
    let text = |bytes: Vec<u8>| {
        let lossy = |error: FromUtf8Error| String::from_utf8_lossy(error.as_bytes()).into_owned();
        Sensitive::new(String::from_utf8(bytes).unwrap_or_else(lossy))
    };
    data.unwrap_or_default().into_iter().map(|(name, value)| (name, text(value.0))).collect()
}

/// Everyone who can write the Secret can write any number there; a number that no key ever reaches is ignored.
fn key_version(text: &str) -> Option<i64> {
    text.parse().ok().filter(|number| (1..=1_000_000_000).contains(number))
}

impl Kubernetes {
    fn secrets(&self, object: &BucketConnection) -> Api<ApiSecret> {
        Api::namespaced(self.client.clone(), &object.namespace().unwrap_or_default())
    }

    /// Reads the Secret `name`, and determines whether it is managed.
    pub async fn secret(&self, object: &BucketConnection, name: &str) -> Secret {
        let answer = find(&self.secrets(object), "secrets", name).await;
        let secret = match answer {
            Ok(Some(secret)) => secret,
            Ok(None) => return Secret::Absent,
            Err(problem) => return Secret::Unreadable(problem),
        };
        let claimed = match self.whose(&secret.metadata, object) {
            Whose::Ours { claimed } => claimed,
            Whose::Foreign(why) => return Secret::Foreign(why),
        };
        let created = secret.annotations().get(KEY_CREATED_AT).and_then(|text| text.parse::<Timestamp>().ok());
        // The status has whole seconds: anything finer would look like a change in each reconcile.
        let created = created.and_then(|at| Timestamp::from_second(at.as_second()).ok());
        Secret::Ours(OwnSecret {
            key_created_at: created,
            claimed,
            version: secret.annotations().get(KEY_VERSION).and_then(|text| key_version(text)),
            data: secret_texts(secret.data),
        })
    }

    /// Reads the Secret `name`, which the user manages: its owner does not matter, because it is only read, and in the
    /// object's own namespace.
    pub async fn user_provided_secret(&self, object: &BucketConnection, name: &str) -> Secret {
        match find(&self.secrets(object), "secrets", name).await {
            Ok(Some(secret)) => Secret::UserProvided(secret_texts(secret.data)),
            Ok(None) => Secret::Absent,
            Err(problem) => Secret::Unreadable(problem),
        }
    }

    /// Asks the API server, before a key is issued, whether the Secret could be written: permission, quota, admission.
    /// Returns what exists at that point.
    pub async fn try_secret(&self, object: &BucketConnection, secret: &DesiredSecret) -> Result<Seen, Problem> {
        let placeholder = KeyPair { id: "none".to_owned(), secret: Sensitive::new("none".to_owned()) };
        let body = self.body(object, secret, &placeholder, None, None);
        // A dry run for a missing Secret has no version.
        let version = self.apply(object, &secret.name, body, true).await?.metadata.resource_version;
        Ok(version.filter(|version| !version.is_empty()).map_or(Seen::Nothing, Seen::Version))
    }

    /// Writes the Secret with `key`, which was issued at `created_at` and has the number `version`, and marks it as
    /// managed; overwrites the current contents.
    pub async fn write_secret(
        &self,
        object: &BucketConnection,
        secret: &DesiredSecret,
        key: &KeyPair,
        created_at: Option<Timestamp>,
        version: Option<i64>,
    ) -> Result<(), Problem> {
        let body = self.body(object, secret, key, created_at, version);
        let live = self.apply(object, &secret.name, body, false).await?;
        self.disown(&self.secrets(object), "secrets", &live.metadata).await
    }

    /// The same for a key that was just issued, if the Secret is still as `seen`: another operator that acquired the
    /// lease since has written its own. A write of an earlier attempt whose answer was lost counts as success.
    pub async fn store_key(
        &self,
        object: &BucketConnection,
        secret: &DesiredSecret,
        key: &KeyPair,
        (created_at, version): (Timestamp, Option<i64>),
        seen: &Seen,
    ) -> Result<(), Problem> {
        let mut body = self.body(object, secret, key, Some(created_at), version);
        let secrets = self.secrets(object);
        let written = match seen {
            Seen::Version(seen) => {
                body["metadata"]["resourceVersion"] = json!(seen);
                self.apply(object, &secret.name, body, false).await
            }
            Seen::Nothing => match serde_json::from_value(body) {
                Ok(new) => {
                    let parameters = PostParams { field_manager: Some(field_manager()), ..PostParams::default() };
                    call("create secrets", secrets.create(&parameters, &new)).await
                }
                Err(error) => {
                    Err(Problem::at(Source::Kubernetes, Class::Refused, "create secrets", "Invalid", error.to_string()))
                }
            },
        };
        match written {
            Err(problem) if matches!(problem.class, Class::Conflict | Class::Exists) => {
                match self.secret(object, &secret.name).await {
                    // It is not known whether the Secret holds the key.
                    Secret::Unreadable(problem) => Err(problem),
                    live if live.keys().iter().any(|held| held.id == key.id) => Ok(()),
                    _ => Err(problem),
                }
            }
            written => written.map(drop),
        }
    }

    fn body(
        &self,
        object: &BucketConnection,
        secret: &DesiredSecret,
        key: &KeyPair,
        created_at: Option<Timestamp>,
        version: Option<i64>,
    ) -> Value {
        let bytes = |value: Sensitive| ByteString(value.reveal().as_bytes().to_vec());
        let data: BTreeMap<_, _> =
            secret_data(&secret.fields, key).into_iter().map(|(name, field)| (name, bytes(field.value))).collect();
        let annotations =
            [("bucketconnection.dev/description", format!("Access key for BucketConnection {}", names::of(object)))];
        let created = created_at.map(|at| (KEY_CREATED_AT, at.to_string()));
        let version = version.map(|number| (KEY_VERSION, number.to_string()));
        json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": self.claim(object, &secret.name, annotations.into_iter().chain(created).chain(version)),
            "data": data,
        })
    }

    /// Server-side apply: fields and keys that others put on the operator's Secret stay.
    async fn apply(&self, object: &BucketConnection, name: &str, body: Value, dry_run: bool) -> Result<ApiSecret, Problem> {
        named("patch secrets", name)?;
        let parameters = PatchParams { dry_run, ..PatchParams::apply(&field_manager()).force() };
        call("patch secrets", self.secrets(object).patch(name, &parameters, &Patch::Apply(body))).await
    }

    /// Marks the Secret as released: it outlives the object, and the key in it continues to work.
    pub async fn release_secret(&self, object: &BucketConnection, name: &str) -> Result<(), Problem> {
        self.release(&self.secrets(object), "secrets", object, name).await
    }

    /// Deletes the Secret, if it is still the one that was found to be managed.
    pub async fn delete_secret(&self, object: &BucketConnection, name: &str) -> Result<(), Problem> {
        self.delete(&self.secrets(object), "secrets", object, name).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_a_number_that_a_key_may_have() {
        for (text, number) in [("1", Some(1)), ("1000000000", Some(1_000_000_000)), ("007", Some(7))] {
            assert_eq!(key_version(text), number);
        }
        for text in ["0", "-1", "1000000001", "9223372036854775807", "9223372036854775808", "1e9", "1.0", " 1", "", "x"] {
            assert_eq!(key_version(text), None, "{text}");
        }
    }
}
