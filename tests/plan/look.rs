//! What the operator reads from the world.

use std::collections::{BTreeMap, BTreeSet};

use bucketconnection::api::LastUsed;
use bucketconnection::credentials::KeyPair;
use bucketconnection::desired::{Desired, Proof, names};
use bucketconnection::keys::waiting_secret;
use bucketconnection::observed::{
    self, Access, AccessKey, Bucket, Contents, FollowUp, KeyProof, ManagedPolicy, Observed, OwnSecret, PolicyQuestion, Questions,
    Remembered, Scope, Secret, UserRights,
};
use bucketconnection::settings::tags::Tags;
use bucketconnection::settings::{Live, Reading};
use bucketconnection::vocabulary::problem::{Class, Problem};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;

use super::world::{TheBucket, TheKey, TheUser, World, nobody};

impl World {
    /// What a revocation reads.
    pub(super) fn look_at_user(&self) -> Observed {
        let user = self.user.as_ref();
        Observed {
            user: user.map_or(Reading::Unset, |user| Reading::Set(user.user.clone())),
            keys: user.map_or(Reading::Unset, listed),
            ..Observed::default()
        }
    }

    /// `reading`, unless `what` cannot be read at the moment.
    fn answered<T>(&self, what: &str, reading: Reading<T>) -> Reading<T> {
        match self.unreadable.as_deref() {
            Some(unreadable) if unreadable == what => {
                let action = if what == "keys" { "iam:ListAccessKeys" } else { "iam:ListAttachedUserPolicies" };
                Reading::Unreadable(Problem::new(Class::Throttled, action, "Throttling", "Rate exceeded"))
            }
            _ => reading,
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

    /// Answers the questions about Secrets.
    pub(super) fn secrets(&self, desired: &Desired, remembered: &Remembered) -> Observed {
        if !desired.identity.is_managed() {
            return Observed { secret: self.secret_of(desired), ..Observed::default() };
        }
        let mut observed = Observed::default();
        loop {
            let pending = waiting_secret(desired, remembered, &observed.secret, self.now);
            let asked = observed::secrets(desired, remembered, &observed, pending);
            if asked.is_empty() {
                return observed;
            }
            for (place, name) in asked {
                let secret = self.secret(&name);
                observed.put(&place, name, secret);
            }
        }
    }

    /// The Secret of a connection: its own, or an existing one.
    pub(super) fn secret_of(&self, desired: &Desired) -> Secret {
        match desired.identity.user_provided() {
            Some(name) => self.secret.get(name).map_or(Secret::Absent, |secret| Secret::UserProvided(secret.data.clone())),
            None => self.secret(&desired.secret.name),
        }
    }

    pub(super) fn readers(&self, desired: &Desired, remembered: &Remembered) -> BTreeMap<String, Access> {
        let names = remembered.access_names(desired, &self.secret(&desired.secret.name));
        let live = |name: String| (name.clone(), self.access.get(&name).cloned().unwrap_or_else(nobody));
        names.into_iter().map(live).collect()
    }

    /// Answers the questions about AWS.
    pub(super) fn look(&self, desired: &Desired, remembered: &Remembered, scope: Scope) -> Observed {
        let seen = self.secrets(desired, remembered);
        let asked = Questions::of(desired, remembered, &seen, scope);
        let user = self.user.as_ref().filter(|_| asked.user);
        let inline = |name: &str| user.and_then(|user| user.inline.get(name).cloned()).map_or(Reading::Unset, Reading::Set);
        let (inline_policy, managed_policy) = match &asked.policy {
            None => (Reading::NotRead, Reading::NotRead),
            Some(PolicyQuestion::Inline(name)) => (inline(name), Reading::NotRead),
            Some(PolicyQuestion::Managed(version)) => (Reading::NotRead, self.managed(desired, version.as_deref())),
        };
        let mut observed = Observed {
            bucket: self.bucket.as_ref().map_or(Bucket::Absent, |bucket| Bucket::There(managed(bucket, desired))),
            user: user.map_or(Reading::Unset, |user| Reading::Set(user.user.clone())),
            inline_policy,
            managed_policy,
            earlier_policies: self.policy_tags(asked.policy_tags),
            attached: self.answered("attached policies", user.map_or(Reading::Unset, |user| Reading::Set(user.attached.clone()))),
            proof: self.proof(desired, asked.keys),
            pending_proof: self.proof(desired, asked.pending),
            last_used: asked.last_used.map_or(Reading::NotRead, |id| self.last_used(&id)),
            denial: if asked.denial { inline(names::REVOKED) } else { Reading::NotRead },
            access: self.readers(desired, remembered),
            ..seen
        };
        let asked = FollowUp::of(desired, remembered, &observed, scope);
        if let (true, Some(bucket)) = (asked.created, &self.bucket) {
            observed.bucket_created = Reading::Set(bucket.created);
        }
        if let (true, Some(bucket)) = (asked.contents, &self.bucket) {
            let objects = bucket.objects;
            observed.contents = Reading::Set(Contents { versions: objects, objects, ..Contents::default() });
        }
        if let (true, Some(user)) = (asked.rights, user) {
            let inline = user.inline.keys().cloned().collect();
            observed.rights = Reading::Set(UserRights { inline, groups: user.groups.clone() });
        }
        if let (true, Some(user)) = (asked.keys, user) {
            observed.keys = self.answered("keys", listed(user));
        }
        observed.earlier_policies.extend(self.policy_tags(asked.policy_tags));
        if scope == Scope::Deletion {
            let all = remembered.all_secrets(desired, &observed).into_iter();
            observed.earlier_secrets.extend(all.map(|name| (name.clone(), self.secret(&name))));
        } else if desired.identity.is_managed() && observed.key_changes(remembered) {
            observed.workloads = Reading::Set(self.workloads.clone());
        }
        observed
    }

    fn policy_tags(&self, arns: BTreeSet<String>) -> BTreeMap<String, Reading<Tags>> {
        let tags = |arn: &String| self.policies.get(arn).map_or(Reading::Unset, |policy| Reading::Set(policy.tags.clone()));
        arns.into_iter().map(|arn| (arn.clone(), tags(&arn))).collect()
    }

    /// The managed policy: complete, unless its document has the known version.
    fn managed(&self, desired: &Desired, known: Option<&str>) -> Reading<ManagedPolicy> {
        let Some(policy) = self.policies.get(&desired.policy.arn) else { return Reading::Unset };
        let (version, document) = (format!("v{}", policy.default), policy.document());
        if known == Some(&version) && desired.policy.document.same_as(&document) {
            return Reading::Set(ManagedPolicy { version, document, ..ManagedPolicy::default() });
        }
        let others = policy.versions.iter().filter(|(n, _)| *n != policy.default);
        Reading::Set(ManagedPolicy {
            id: Some(policy.id.clone()),
            version,
            document,
            tags: Some(policy.tags.clone()),
            other_versions: others.map(|(n, _)| format!("v{n}")).collect(),
        })
    }

    pub(super) fn last_used(&self, id: &str) -> Reading<LastUsed> {
        let key = self.user.as_ref().and_then(|user| user.keys.iter().find(|key| key.id == id));
        let used = |at| LastUsed { at: Some(Time(at)), service: "s3".into(), region: "us-east-1".into() };
        key.and_then(|key| key.used_at).map_or(Reading::Unset, |at| Reading::Set(used(at)))
    }

    pub(super) fn proof(&self, desired: &Desired, candidates: Vec<KeyPair>) -> KeyProof {
        if !desired.identity.is_managed() {
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

    /// Whether the user's policies are managed, which is enough for listing.
    pub(super) fn permitted(&self, desired: &Desired) -> bool {
        if !desired.proofs.required.contains(&Proof::List) {
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
