//! What looking at the world shows.

use std::collections::BTreeMap;

use bucketconnection::api::{LastUsed, PolicyType};
use bucketconnection::credentials::KeyPair;
use bucketconnection::desired::{Desired, Proof, names};
use bucketconnection::keys::waiting_secret;
use bucketconnection::observed::{
    Access, AccessKey, Bucket, Contents, KeyProof, ManagedPolicy, Observed, OwnSecret, Remembered, Secret, UserRights,
};
use bucketconnection::problem::{Class, Problem};
use bucketconnection::settings::{Live, Reading};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;

use super::world::{TheBucket, TheKey, ThePolicy, TheUser, World, nobody};

impl World {
    /// What a revocation looks at.
    pub(super) fn look_at_user(&self) -> Observed {
        let user = self.user.as_ref();
        Observed {
            user: user.map_or(Reading::Unset, |user| Reading::Set(user.user.clone())),
            keys: user.map_or(Reading::Unset, listed),
            ..Observed::default()
        }
    }

    pub(super) fn secret(&self, name: &str) -> Secret {
        match self.secret.get(name) {
            _ if self.unreadable.as_deref() == Some(name) => {
                Secret::Unreadable(Problem::new(Class::Unavailable, "get secrets", "Timeout", "no answer"))
            }
            None => Secret::Absent,
            Some(secret) if secret.foreign => Secret::Foreign("exists and was not created by this BucketConnection".into()),
            Some(secret) => Secret::Ours(OwnSecret {
                data: secret.data.clone(),
                key_created_at: secret.created_at,
                version: secret.version,
                claimed: secret.claimed,
            }),
        }
    }

    /// The Secrets, by the rules of controller/reconcile.rs.
    pub(super) fn secrets(&self, desired: &Desired, remembered: &Remembered) -> Observed {
        if desired.existing.is_some() {
            return Observed { secret: self.secret_of(desired), ..Observed::default() };
        }
        let secret = self.secret(&desired.secret.name);
        let earlier = remembered.earlier_secrets(desired, &secret).into_iter();
        let earlier = earlier.flat_map(|name| self.secret(&name).own_of(&name).into_iter().chain([name]));
        let look = |name: Option<String>| name.map_or(Secret::NotLooked, |name| self.secret(&name));
        Observed {
            earlier_secrets: earlier.map(|name| (name.clone(), self.secret(&name))).collect(),
            version: look(remembered.own_secret(desired, &secret)),
            pending: look(waiting_secret(desired, remembered, &secret, self.now)),
            secret,
            ..Observed::default()
        }
    }

    /// The Secret of a connection: its own, or one that somebody else keeps.
    pub(super) fn secret_of(&self, desired: &Desired) -> Secret {
        match &desired.existing {
            Some(name) => self.secret.get(name).map_or(Secret::Absent, |secret| Secret::Given(secret.data.clone())),
            None => self.secret(&desired.secret.name),
        }
    }

    fn created(&self, desired: &Desired, remembered: &Remembered) -> Reading<Timestamp> {
        match &self.bucket {
            Some(bucket) if remembered.asks_creation(desired, &Bucket::There(managed(bucket, desired))) => {
                Reading::Set(bucket.created)
            }
            _ => Reading::NotLooked,
        }
    }

    pub(super) fn readers(&self, desired: &Desired, remembered: &Remembered) -> BTreeMap<String, Access> {
        let names = remembered.access_names(desired, &self.secret(&desired.secret.name));
        let live = |name: String| (name.clone(), self.access.get(&name).cloned().unwrap_or_else(nobody));
        names.into_iter().map(live).collect()
    }

    /// What looking at this world shows, by the rules of aws/observe.rs.
    pub(super) fn look(&self, desired: &Desired, remembered: &Remembered, deletion: bool) -> Observed {
        let mut seen = self.secrets(desired, remembered);
        seen.proof = self.proof(desired, seen.candidates(remembered));
        let current = seen.secret.keys();
        let next = seen.pending.keys().into_iter().filter(|key| current.iter().all(|held| held.id != key.id));
        seen.pending_proof = self.proof(desired, next.collect());
        if deletion {
            let all = remembered.all_secrets(desired, &seen).into_iter();
            seen.earlier_secrets.extend(all.map(|name| (name.clone(), self.secret(&name))));
        }
        let previous = remembered.credentials.previous.as_ref();
        let workloads = if seen.key_changes(remembered) { Reading::Set(self.workloads.clone()) } else { Reading::NotLooked };
        let ours = desired.existing.is_none();
        let inline = desired.policy.kind == PolicyType::Inline;
        let user = self.user.as_ref().filter(|_| ours);
        let reading = |value: Option<Value>| value.map_or(Reading::Unset, Reading::Set);
        let attached = || user.map_or(Reading::Unset, |user| Reading::Set(user.attached.clone()));
        let mut observed = Observed {
            unread: Vec::new(),
            bucket_created: self.created(desired, remembered),
            bucket: self.bucket.as_ref().map_or(Bucket::Absent, |bucket| Bucket::There(managed(bucket, desired))),
            contents: self.bucket.as_ref().filter(|_| deletion).map_or(Reading::NotLooked, |bucket| {
                Reading::Set(Contents { versions: bucket.objects, objects: bucket.objects, ..Contents::default() })
            }),
            user: user.map_or(Reading::Unset, |user| Reading::Set(user.user.clone())),
            inline_policy: if inline {
                reading(user.and_then(|user| user.inline.get(&desired.policy.name).cloned()))
            } else {
                Reading::NotLooked
            },
            managed_policy: match self.policies.get(&desired.policy.arn) {
                _ if inline => Reading::NotLooked,
                None => Reading::Unset,
                Some(policy) => Reading::Set(ManagedPolicy {
                    id: Some(policy.id.clone()).filter(|_| deletion || !knows(remembered, policy, desired)),
                    version: format!("v{}", policy.default),
                    document: policy.versions.iter().find(|(n, _)| *n == policy.default).unwrap().1.clone(),
                    tags: Some(policy.tags.clone()).filter(|_| deletion || !knows(remembered, policy, desired)),
                    other_versions: policy
                        .versions
                        .iter()
                        .filter(|(n, _)| *n != policy.default)
                        .map(|(n, _)| format!("v{n}"))
                        .collect(),
                }),
            },
            earlier_policies: remembered
                .earlier_policies(desired)
                .filter_map(|policy| policy.arn.clone())
                .map(|arn| {
                    (arn.clone(), self.policies.get(&arn).map_or(Reading::Unset, |policy| Reading::Set(policy.tags.clone())))
                })
                .collect(),
            attached: attached(),
            rights: user.map_or(Reading::Unset, |user| {
                let inline = user.inline.keys().cloned().collect();
                Reading::Set(UserRights { inline, groups: user.groups.clone() })
            }),
            last_used: previous.map_or(Reading::NotLooked, |previous| self.last_used(&previous.access_key_id)),
            denial: if remembered.credentials.revocation.is_some() || remembered.user.is_none() || deletion {
                reading(user.and_then(|user| user.inline.get(names::REVOKED).cloned()))
            } else {
                Reading::NotLooked
            },
            workloads,
            access: self.readers(desired, remembered),
            ..seen
        };
        if observed.forgot_user(desired, remembered) {
            let others = observed.other_policies(desired);
            let tags = |arn: &String| self.policies.get(arn).map_or(Reading::Unset, |policy| Reading::Set(policy.tags.clone()));
            observed.earlier_policies.extend(others.into_iter().map(|arn| (arn.clone(), tags(&arn))));
        }
        if let Some(user) = user.filter(|_| observed.asks_keys(desired, remembered, deletion)) {
            observed.keys = listed(user);
        }
        observed
    }

    pub(super) fn last_used(&self, id: &str) -> Reading<LastUsed> {
        let key = self.user.as_ref().and_then(|user| user.keys.iter().find(|key| key.id == id));
        let used = |at| LastUsed { at: Some(Time(at)), service: "s3".into(), region: "us-east-1".into() };
        key.and_then(|key| key.used_at).map_or(Reading::Unset, |at| Reading::Set(used(at)))
    }

    pub(super) fn proof(&self, desired: &Desired, candidates: Vec<KeyPair>) -> KeyProof {
        if desired.existing.is_some() {
            let problem = |class, code| Problem::new(class, "s3:ListBucket", code, "");
            return match (candidates.into_iter().next(), &self.theirs) {
                (None, _) => KeyProof::NotTried,
                (Some(key), None) => KeyProof::Works(key),
                (Some(key), Some(Class::Denied)) => KeyProof::Denied(key, problem(Class::Denied, "AccessDenied")),
                (Some(key), Some(_)) => KeyProof::Rejected(key, problem(Class::BadKey, "InvalidAccessKeyId")),
            };
        }
        let mut first = KeyProof::NotTried;
        for key in candidates {
            let known = self.user.as_ref().and_then(|user| user.keys.iter().find(|known| known.id == key.id && known.active));
            let rejected = |code| Problem::new(Class::BadKey, "s3:ListBucket", code, "");
            let result = match known {
                Some(known) if known.secret == key.secret.reveal() => {
                    if self.permitted(desired) {
                        return KeyProof::Works(key);
                    }
                    KeyProof::Denied(key, Problem::new(Class::Denied, "s3:ListBucket", "AccessDenied", ""))
                }
                Some(_) => KeyProof::Rejected(key, rejected("SignatureDoesNotMatch")),
                None => KeyProof::Rejected(key, rejected("InvalidAccessKeyId")),
            };
            if first == KeyProof::NotTried {
                first = result;
            }
        }
        first
    }

    /// Whether the user's policies are ours, which is enough to let it list.
    pub(super) fn permitted(&self, desired: &Desired) -> bool {
        if !desired.proofs.first.contains(&Proof::List) {
            return true;
        }
        let Some(user) = &self.user else { return false };
        let denied = |document: &Value| document["Statement"][0].get("Condition").is_none();
        if user.inline.get(names::REVOKED).is_some_and(denied) {
            return false;
        }
        let inline = user.inline.values().cloned();
        let attached = user.attached.iter().filter_map(|arn| self.policies.get(arn));
        let attached = attached.map(|policy| policy.versions.iter().find(|(n, _)| *n == policy.default).unwrap().1.clone());
        inline
            .chain(attached)
            .any(|document| document.to_string().contains("s3:ListBucket") || document.to_string().contains("s3:*"))
    }
}

fn listed(user: &TheUser) -> Reading<Vec<AccessKey>> {
    let key = |key: &TheKey| AccessKey {
        id: key.id.clone(),
        active: key.active,
        expired: key.expired,
        created_at: Some(key.created_at),
    };
    Reading::Set(user.keys.iter().map(key).collect())
}

/// Only managed settings are read; the tags always.
fn managed(bucket: &TheBucket, desired: &Desired) -> Live {
    bucket.live.managed(&desired.bucket.settings)
}

/// Whether the status remembers the managed policy, and it says the same: then nothing but its version is read.
fn knows(remembered: &Remembered, policy: &ThePolicy, desired: &Desired) -> bool {
    let version = remembered.policy(desired).and_then(|known| known.version.clone());
    let (_, document) = policy.versions.iter().find(|(n, _)| *n == policy.default).unwrap();
    version == Some(format!("v{}", policy.default))
        && desired.policy.document.same_as(document)
        && remembered.namespace == desired.namespace.id
}
