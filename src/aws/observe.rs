//! Answers the questions of `observed/questions.rs`: one round of parallel reads, and a second one only if the first
//! leads to more questions.

use std::collections::{BTreeMap, BTreeSet};

use futures::FutureExt;
use serde_json::Value;

use super::Aws;
use crate::desired::{Desired, names};
use crate::observed::{Bucket, FollowUp, ManagedPolicy, Observed, PolicyQuestion, Questions, Remembered, Scope};
use crate::settings::tags::Tags;
use crate::settings::{self, Reading, SettingId};
use crate::vocabulary::problem::Problem;

/// Where S3 returns the true date of a bucket's creation.
const HOME: &str = "us-east-1";

impl Aws {
    /// Reads AWS; `seen` is what was read from Kubernetes before, mainly the Secrets.
    pub async fn observe(&self, desired: &Desired, remembered: &Remembered, seen: Observed, scope: Scope) -> Observed {
        let asked = Questions::of(desired, remembered, &seen, scope);
        let bucket = self.bucket(&desired.region, &desired.bucket.name, &desired.account.id);
        let managed = desired.bucket.settings.managed();
        let user_name = &desired.user.name;
        let (live, user, policy, earlier_policies, attached, proof, pending_proof, last_used, denial) = futures::join!(
            // Boxed: together in one future they would take a large part of a thread's stack.
            settings::read(&bucket, &managed).boxed(),
            looked(asked.user, async { reading(self.user(user_name).await) }),
            self.policy(desired, asked.policy.as_ref()).boxed(),
            self.tags_of(&asked.policy_tags).boxed(),
            looked(asked.user, async { reading(self.attached_policies(user_name).await) }),
            self.probe(desired, &asked.keys, asked.known.as_ref()).boxed(),
            self.probe(desired, &asked.pending, None).boxed(),
            async {
                match &asked.last_used {
                    Some(id) => reading(self.last_used(id).await),
                    None => Reading::NotRead,
                }
            },
            looked(asked.denial, async { reading(self.inline_policy(user_name, names::REVOKED).await) }),
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
        let asked = FollowUp::of(desired, remembered, &observed, scope);
        let home = if desired.account.partition == "aws" { HOME } else { &desired.region };
        let at_home = self.bucket(home, &desired.bucket.name, &desired.account.id);
        let (keys, contents, created, rights, left) = futures::join!(
            looked(asked.keys, async { reading(self.keys(user_name).await) }),
            looked(asked.contents, async { reading(bucket.contents().await.map(Some)) }),
            looked(asked.created, async { reading(at_home.created().await) }),
            looked(asked.rights, async { reading(self.user_rights(user_name).await) }).boxed(),
            self.tags_of(&asked.policy_tags).boxed(),
        );
        observed.earlier_policies.extend(left);
        (observed.keys, observed.contents, observed.bucket_created, observed.rights) = (keys, contents, created, rights);
        observed
    }

    /// The bucket's versioning, if it is not managed.
    pub async fn versioning(&self, desired: &Desired) -> Reading<String> {
        let bucket = self.bucket(&desired.region, &desired.bucket.name, &desired.account.id);
        settings::read(&bucket, &[SettingId::Versioning]).await.versioning
    }

    async fn policy(&self, desired: &Desired, asked: Option<&PolicyQuestion>) -> (Reading<Value>, Reading<ManagedPolicy>) {
        match asked {
            None => Default::default(),
            Some(PolicyQuestion::Inline(name)) => (reading(self.inline_policy(&desired.user.name, name).await), Reading::NotRead),
            Some(PolicyQuestion::Managed(version)) => {
                (Reading::NotRead, reading(self.managed_policy(&desired.policy, version.as_deref()).await))
            }
        }
    }

    /// Tags of the managed policies `arns`: usually none.
    async fn tags_of(&self, arns: &BTreeSet<String>) -> BTreeMap<String, Reading<Tags>> {
        let mut found = BTreeMap::new();
        for arn in arns {
            found.insert(arn.clone(), reading(self.policy_tags(arn).await));
        }
        found
    }
}

impl Aws {
    /// Reads what a revocation needs: the user and its keys.
    pub async fn observe_user(&self, name: &str) -> Observed {
        let (user, keys) = futures::join!(self.user(name), self.keys(name));
        Observed { user: reading(user), keys: reading(keys), ..Observed::default() }
    }
}

/// Reads only if `asked`.
async fn looked<T>(asked: bool, look: impl Future<Output = Reading<T>>) -> Reading<T> {
    if asked { look.await } else { Reading::NotRead }
}

fn reading<T>(answer: Result<Option<T>, Problem>) -> Reading<T> {
    match answer {
        Ok(Some(value)) => Reading::Set(value),
        Ok(None) => Reading::Unset,
        Err(problem) => Reading::Unreadable(problem),
    }
}
