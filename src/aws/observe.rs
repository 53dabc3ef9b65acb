//! Looking: one round of parallel reads, and a second one only where the first found trouble with the key.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Aws;
use crate::api::PolicyType;
use crate::credentials::{KeyPair, keys_in};
use crate::desired::Desired;
use crate::observed::{Bucket, KeyProof, ManagedPolicy, Observed, Ownership, Remembered, Secret};
use crate::problem::Problem;
use crate::settings::tags::Tags;
use crate::settings::{self, Reading};

/// How much to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// All that the plan for a living object needs.
    Check,
    /// All that its deletion needs.
    Deletion,
}

impl Aws {
    /// Looks at AWS; what the Secret holds was read before.
    pub async fn observe(
        &self,
        desired: &Desired,
        remembered: &Remembered,
        secret: Secret,
        earlier_secrets: BTreeMap<String, Secret>,
        look: Look,
    ) -> Observed {
        let bucket = self.bucket(&desired.region, &desired.bucket.name, &desired.account.id);
        let ours = desired.existing.is_none();
        let (live, user, policy, earlier_policies, attached, proof) = futures::join!(
            settings::read(&bucket, &desired.bucket.settings),
            looked(ours, async { reading(self.user(&desired.user.name).await) }),
            async { if ours { self.policy(desired, remembered).await } else { Default::default() } },
            self.earlier_policies(desired, remembered),
            // Also where the policy is inline: AWS attaches its quarantine here.
            looked(ours, async { reading(self.attached_policies(&desired.user.name).await) }),
            self.probe(desired, candidates(&secret, &earlier_secrets), |key| known(key, remembered)),
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
            secret,
            earlier_secrets,
            proof,
            ..Observed::default()
        };
        let settled = matches!(observed.proof, KeyProof::Works(_)) && remembered.credentials.intent.is_none();
        let keys = matches!(observed.user, Reading::Set(_)) && (!settled || look == Look::Deletion);
        let owned = observed.bucket.tags().is_some_and(|tags| Ownership::of(&tags, desired) == Ownership::Ours);
        let (keys, contents) = futures::join!(
            async { if keys { reading(self.keys(&desired.user.name).await) } else { Reading::NotLooked } },
            async {
                if owned && look == Look::Deletion { reading(bucket.contents().await.map(Some)) } else { Reading::NotLooked }
            },
        );
        (observed.keys, observed.contents) = (keys, contents);
        observed
    }

    async fn policy(&self, desired: &Desired, remembered: &Remembered) -> (Reading<Value>, Reading<ManagedPolicy>) {
        let (user, policy) = (&desired.user.name, &desired.policy);
        match policy.kind {
            PolicyType::Inline => (reading(self.inline_policy(user, &policy.name).await), Reading::NotLooked),
            PolicyType::Managed => {
                let known = remembered.policies.iter().find(|known| known.is(&policy.identity()));
                let version = known.and_then(|known| known.version.as_deref());
                (Reading::NotLooked, reading(self.managed_policy(policy, version).await))
            }
        }
    }
}

impl Aws {
    /// Managed policies of earlier specs: rarely any.
    async fn earlier_policies(&self, desired: &Desired, remembered: &Remembered) -> BTreeMap<String, Reading<Tags>> {
        let mut found = BTreeMap::new();
        for arn in remembered.earlier_policies(desired).filter_map(|policy| policy.arn.as_ref()) {
            found.insert(arn.clone(), reading(self.policy_tags(arn).await));
        }
        found
    }
}

/// The keys that the Secret holds; those of its earlier name while the new one holds none.
fn candidates(secret: &Secret, earlier: &BTreeMap<String, Secret>) -> Vec<KeyPair> {
    let keys = |secret: &Secret| match secret {
        Secret::Ours(secret) => keys_in(&secret.data),
        Secret::Given(data) => keys_in(data),
        _ => Vec::new(),
    };
    let here = keys(secret);
    if here.is_empty() { earlier.values().flat_map(keys).collect() } else { here }
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
