//! Trying an issued key: with the key itself, never with the operator's rights.

use std::time::Duration;

use futures::future::try_join_all;
use tokio::time::{Instant, sleep};

use super::Aws;
use crate::credentials::KeyPair;
use crate::desired::{Desired, Proof, names};
use crate::observed::KeyProof;
use crate::problem::{Class, Problem};

/// AWS takes seconds to know a new key everywhere; asking every second finds it soonest, backing off would only add to it.
const PAUSE: Duration = Duration::from_secs(1);
/// How long one pass waits for it; the next pass goes on.
const PATIENCE: Duration = Duration::from_secs(60);

impl Aws {
    /// Tries `key` in the way that tells most with one call, and the next of `keys` when AWS does not know it.
    pub async fn probe(&self, desired: &Desired, keys: Vec<KeyPair>, known: impl Fn(&KeyPair) -> bool) -> KeyProof {
        let mut first = KeyProof::NotTried;
        for key in keys {
            // A key that is known to be our user's is tried on the bucket; one that is not must tell first whose it is.
            let usual = desired.proofs.iter().copied().find(|proof| *proof == Proof::List);
            let proof = usual.filter(|_| known(&key)).unwrap_or(Proof::Identity);
            let result = match self.prove(desired, &key, proof).await {
                Ok(()) => return KeyProof::Works(key),
                Err(problem) => match problem.class {
                    // The bucket is not there, which is not the key's fault.
                    Class::Missing => return KeyProof::Works(key),
                    Class::Exists => KeyProof::OtherUser(key, problem.message),
                    Class::BadKey => KeyProof::Rejected(key, problem),
                    Class::Denied => KeyProof::Denied(key, problem),
                    _ => KeyProof::Unclear(key, problem),
                },
            };
            if matches!(first, KeyProof::NotTried) {
                first = result;
            }
        }
        first
    }

    /// Makes every proof with `key`. Patient: as long as AWS may still be spreading the key, asks again each second.
    /// `Err((problem, true))` when it was still spreading in the end.
    pub async fn verify(&self, desired: &Desired, key: &KeyPair, proofs: &[Proof], patient: bool) -> Result<(), (Problem, bool)> {
        let end = Instant::now() + PATIENCE;
        loop {
            let tried = try_join_all(proofs.iter().map(|proof| self.prove(desired, key, *proof))).await;
            let Err(problem) = tried else { return Ok(()) };
            // A wrong signature is no matter of time: the next pass tries the other copy that the Secret may have.
            if problem.code == "SignatureDoesNotMatch" {
                return Err((problem, true));
            }
            let spreads = matches!(
                problem.class,
                Class::BadKey | Class::Denied | Class::Missing | Class::Throttled | Class::Unavailable | Class::Conflict
            );
            if !(patient && spreads) {
                return Err((problem, false));
            }
            if Instant::now() >= end {
                // A denial that lasts is one.
                let still = problem.class != Class::Denied;
                return Err((problem, still));
            }
            sleep(PAUSE).await;
        }
    }

    /// One proof. A key of another user is `Class::Exists`, with that user's ARN.
    async fn prove(&self, desired: &Desired, key: &KeyPair, proof: Proof) -> Result<(), Problem> {
        let (s3, sts) = self.sdk.with_key(key, &desired.region);
        let (bucket, prefix) = (&desired.bucket.name, &desired.bucket.prefix);
        match proof {
            Proof::Identity => {
                let identity = self.sdk.call("sts:GetCallerIdentity", sts.get_caller_identity().send()).await?;
                let arn = identity.arn.unwrap_or_default();
                if arn == desired.user.arn {
                    return Ok(());
                }
                Err(Problem::new(Class::Exists, "sts:GetCallerIdentity", "OtherUser", arn))
            }
            Proof::List => {
                let call = s3.list_objects_v2().bucket(bucket).prefix(prefix).max_keys(1);
                self.sdk.call("s3:ListBucket", call.expected_bucket_owner(&desired.account.id).send()).await.map(drop)
            }
            Proof::Upload => {
                let object = format!("{prefix}{}", names::PROBE_KEY);
                let call = s3.create_multipart_upload().bucket(bucket).key(&object).expected_bucket_owner(&desired.account.id);
                let upload = self.sdk.call("s3:PutObject", call.send()).await?;
                let call = s3.abort_multipart_upload().bucket(bucket).key(&object).set_upload_id(upload.upload_id);
                self.sdk.call("s3:AbortMultipartUpload", call.send()).await.map(drop)
            }
        }
    }
}
