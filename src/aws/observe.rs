//! Looking: one round of parallel reads, and a second one only where the first found trouble with the key.

use std::collections::{BTreeMap, BTreeSet};

use futures::FutureExt;
use serde_json::Value;

use super::Aws;
use crate::api::PolicyType;
use crate::credentials::KeyPair;
use crate::desired::{Desired, names};
use crate::observed::{Bucket, ManagedPolicy, Observed, Remembered};
use crate::problem::Problem;
use crate::settings::tags::Tags;
use crate::settings::{self, Reading};

/// Where S3 tells the true date of a bucket's creation.
const HOME: &str = "us-east-1";

/// How much to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// All that the plan for a living object needs.
    Check,
    /// All that its deletion needs.
    Deletion,
}

impl Aws {
    /// Looks at AWS; `seen` is what Kubernetes told before, the Secrets above all.
    pub async fn observe(&self, desired: &Desired, remembered: &Remembered, seen: Observed, look: Look) -> Observed {
        let bucket = self.bucket(&desired.region, &desired.bucket.name, &desired.account.id);
        let (user_name, ours) = (&desired.user.name, desired.existing.is_none());
        let previous = remembered.credentials.previous.as_ref();
        let current = seen.secret.keys();
        let next: Vec<_> = seen.pending.keys().into_iter().filter(|key| current.iter().all(|held| held.id != key.id)).collect();
        let (live, user, policy, earlier_policies, attached, proof, pending_proof, last_used, denial) = futures::join!(
            // Boxed: side by side in one future they would take a good part of a thread's stack.
            settings::read(&bucket, &desired.bucket.settings).boxed(),
            looked(ours, async { reading(self.user(user_name).await) }),
            async { if ours { self.policy(desired, remembered, look).await } else { Default::default() } }.boxed(),
            // Rarely any.
            self.tags_of(remembered.earlier_policies(desired).filter_map(|policy| policy.arn.clone())).boxed(),
            // Also where the policy is inline: AWS attaches its quarantine here.
            looked(ours, async { reading(self.attached_policies(user_name).await) }),
            self.probe(desired, seen.candidates(remembered), |key| known(key, remembered)).boxed(),
            self.probe(desired, next, |_| false).boxed(),
            async {
                match previous {
                    Some(previous) => reading(self.last_used(&previous.access_key_id).await),
                    None => Reading::NotLooked,
                }
            },
            async {
                // An object that was retained may have left one that nobody remembers.
                let unknown = remembered.user.is_none() || look == Look::Deletion;
                if remembered.credentials.revocation.is_some() || (ours && unknown) {
                    reading(self.inline_policy(user_name, names::REVOKED).await)
                } else {
                    Reading::NotLooked
                }
            },
        );
        let (inline_policy, managed_policy) = policy;
        let mut observed = Observed {
            unread: if matches!(live.tags, Reading::Unreadable(_)) { live.problems() } else { Vec::new() },
            bucket: Bucket::from_reads(live),
            user,
            inline_policy,
            managed_policy,
            earlier_policies,
            attached,
            proof,
            pending_proof,
            last_used,
            denial,
            ..seen
        };
        let keys = observed.asks_keys(desired, remembered, look == Look::Deletion);
        let owned = observed.bucket.is_ours(desired);
        let identify = remembered.asks_creation(desired, &observed.bucket);
        let home = if desired.account.partition == "aws" { HOME } else { &desired.region };
        let at_home = self.bucket(home, &desired.bucket.name, &desired.account.id);
        let forgotten = observed.forgot_user(desired, remembered);
        let asks_rights = forgotten || observed.takes_user(desired, remembered);
        let (keys, contents, created, rights, left) = futures::join!(
            async { if keys { reading(self.keys(&desired.user.name).await) } else { Reading::NotLooked } },
            async {
                if owned && look == Look::Deletion { reading(bucket.contents().await.map(Some)) } else { Reading::NotLooked }
            },
            async { if identify { reading(at_home.created().await) } else { Reading::NotLooked } },
            looked(asks_rights, async { reading(self.user_rights(user_name).await) }).boxed(),
            self.tags_of(if forgotten { observed.other_policies(desired) } else { BTreeSet::new() }).boxed(),
        );
        observed.earlier_policies.extend(left);
        (observed.keys, observed.contents, observed.bucket_created, observed.rights) = (keys, contents, created, rights);
        observed
    }

    /// The bucket's versioning, where it is not managed.
    pub async fn versioning(&self, desired: &Desired) -> Reading<String> {
        settings::read_versioning(&self.bucket(&desired.region, &desired.bucket.name, &desired.account.id)).await
    }

    async fn policy(&self, desired: &Desired, remembered: &Remembered, look: Look) -> (Reading<Value>, Reading<ManagedPolicy>) {
        let (user, policy) = (&desired.user.name, &desired.policy);
        match policy.kind {
            PolicyType::Inline => (reading(self.inline_policy(user, &policy.name).await), Reading::NotLooked),
            PolicyType::Managed => {
                // Id and tags are looked at before it is deleted, and where the tags may not name the namespace yet.
                let known =
                    remembered.policy(desired).filter(|_| look == Look::Check && remembered.namespace == desired.namespace.id);
                let version = known.and_then(|known| known.version.as_deref());
                (Reading::NotLooked, reading(self.managed_policy(policy, version).await))
            }
        }
    }
}

impl Aws {
    /// Tags of the managed policies `arns`.
    async fn tags_of(&self, arns: impl IntoIterator<Item = String>) -> BTreeMap<String, Reading<Tags>> {
        let mut found = BTreeMap::new();
        for arn in arns {
            let tags = reading(self.policy_tags(&arn).await);
            found.insert(arn, tags);
        }
        found
    }
}

impl Aws {
    /// Looks at what a revocation needs: the user and its keys.
    pub async fn observe_user(&self, name: &str) -> Observed {
        let (user, keys) = futures::join!(self.user(name), self.keys(name));
        Observed { user: reading(user), keys: reading(keys), ..Observed::default() }
    }
}

/// Whether the key is the one that was proven to be our user's.
fn known(key: &KeyPair, remembered: &Remembered) -> bool {
    remembered.verified && remembered.credentials.access_key_id.as_ref() == Some(&key.id)
}

/// What is not ours is not looked at.
async fn looked<T>(ours: bool, look: impl Future<Output = Reading<T>>) -> Reading<T> {
    if ours { look.await } else { Reading::NotLooked }
}

fn reading<T>(answer: Result<Option<T>, Problem>) -> Reading<T> {
    match answer {
        Ok(Some(value)) => Reading::Set(value),
        Ok(None) => Reading::Unset,
        Err(problem) => Reading::Unreadable(problem),
    }
}
