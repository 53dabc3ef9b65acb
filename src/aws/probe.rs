//! Verifies an issued key: with the key itself, never with the operator's permissions.

use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use futures::future::{join_all, try_join_all};
use tokio::time::{Instant, sleep};

use super::Aws;
use crate::credentials::KeyPair;
use crate::desired::{Desired, Proof, names};
use crate::observed::{KeyProof, ProbeResult};
use crate::sdk::{is_allowed_address, list_keys, probe_url, tls_context};
use crate::vocabulary::problem::{Class, Problem, Source};

/// A new key takes seconds to propagate in AWS. Trying every second finds out soonest; backing off would only add
/// delay.
const PAUSE: Duration = Duration::from_secs(1);
/// How long one reconcile waits for that; the next reconcile continues.
const PATIENCE: Duration = Duration::from_secs(60);

/// Pauses before the optional verification calls, 15 seconds in total: a change of the policy may still be propagating.
const FURTHER_PAUSES: [u64; 5] = [0, 1, 2, 4, 8];
/// The shortest lifetime of a session of GetFederationToken, in seconds.
const SHORTEST_SESSION: i32 = 900;
/// A session policy that allows nothing.
const NOTHING: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}"#;

impl Aws {
    /// Tries each of `keys`, with the one call that says most, until one works. `known` is the key that was verified to
    /// be the user's: it is tried on the bucket; for other keys the owner is read first.
    pub async fn probe(&self, desired: &Desired, keys: &[KeyPair], known: Option<&String>) -> KeyProof {
        let mut first = KeyProof::NotTried;
        for key in keys.iter().cloned() {
            let usual = desired.proofs.required.iter().copied().find(|proof| *proof == Proof::List);
            let proof = usual.filter(|_| known == Some(&key.id)).unwrap_or(Proof::Identity);
            let result = match self.prove(desired, &key, proof).await {
                Ok(_) => return KeyProof::Works(key),
                Err(problem) => match problem.class {
                    // The bucket does not exist, which says nothing against the key.
                    Class::Missing => return KeyProof::Works(key),
                    Class::OtherUser => KeyProof::OtherUser(key, problem.message),
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

    /// Makes every verification call with `key`; returns the results of the optional ones. If `patient`, retries every
    /// second while the key may still be propagating. Returns `Err((problem, true))` if it was still propagating at the
    /// end.
    pub async fn verify(&self, desired: &Desired, key: &KeyPair, patient: bool) -> Result<Vec<ProbeResult>, (Problem, bool)> {
        let end = Instant::now() + PATIENCE;
        let first = &desired.proofs.required;
        let found = loop {
            let tried = try_join_all(first.iter().map(|proof| self.prove(desired, key, *proof))).await;
            let problem = match tried {
                Ok(found) => break found,
                Err(problem) => problem,
            };
            // Waiting does not fix a wrong signature: the next reconcile tries the other copy of the key that the
            // Secret may have.
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
                // A denial that persists is a denial.
                let still = problem.class != Class::Denied;
                return Err((problem, still));
            }
            sleep(PAUSE).await;
        };
        let proven = first.iter().zip(found).map(|(proof, found)| ProbeResult { proof: *proof, found, problem: None });
        Ok(proven.chain(self.optional(desired, key, patient).await).collect())
    }

    /// The optional verification calls, once the key works: S3 and STS now know its policy, or nearly.
    async fn optional(&self, desired: &Desired, key: &KeyPair, patient: bool) -> Vec<ProbeResult> {
        let pauses: &[u64] = if patient { &FURTHER_PAUSES } else { &[0] };
        let mut tried = Vec::new();
        for pause in pauses.iter().filter(|_| !desired.proofs.optional.is_empty()) {
            sleep(Duration::from_secs(*pause)).await;
            tried = self.try_optional(desired, key).await;
            // The URL in the spec does not depend on propagation in AWS.
            if tried.iter().all(|tried| tried.problem.is_none() || tried.proof == Proof::GenomicsCloud) {
                break;
            }
        }
        tried
    }

    async fn try_optional(&self, desired: &Desired, key: &KeyPair) -> Vec<ProbeResult> {
        let further = &desired.proofs.optional;
        let (on_object, others): (Vec<Proof>, Vec<Proof>) =
            further.iter().partition(|proof| matches!(proof, Proof::Put | Proof::Get | Proof::Delete));
        let others = join_all(others.into_iter().map(|proof| async move {
            ProbeResult { proof, found: None, problem: self.prove(desired, key, proof).await.err() }
        }));
        let (others, on_object) = futures::join!(others, self.object(desired, key, &on_object));
        others.into_iter().chain(on_object).collect()
    }

    /// Puts an object, reads it and deletes it; deletes it even if reading it failed.
    async fn object(&self, desired: &Desired, key: &KeyPair, proofs: &[Proof]) -> Vec<ProbeResult> {
        let (s3, _) = self.sdk.with_key(key, &desired.region);
        let (bucket, owner) = (&desired.bucket.name, Some(desired.account.id.clone()));
        let object = &desired.proofs.object;
        let mut tried = Vec::new();
        let mut version = None;
        for proof in proofs {
            let result = match proof {
                Proof::Put => {
                    let call = s3.put_object().bucket(bucket).key(object).set_expected_bucket_owner(owner.clone());
                    let call = call.body(ByteStream::from_static(b"BucketConnection tries whether this works\n"));
                    let put = self.sdk.call("s3:PutObject", call.send()).await;
                    put.map(|put| version = put.version_id)
                }
                Proof::Get => {
                    let call = s3.get_object().bucket(bucket).key(object).set_expected_bucket_owner(owner.clone());
                    self.sdk.call("s3:GetObject", call.send()).await.map(drop)
                }
                _ => {
                    let call = s3.delete_object().bucket(bucket).key(object).set_expected_bucket_owner(owner.clone());
                    self.sdk.call("s3:DeleteObject", call.send()).await.map(drop)
                }
            };
            let absent = *proof == Proof::Put && result.is_err();
            tried.push(ProbeResult { proof: *proof, found: None, problem: result.err() });
            if absent {
                // If the put failed, nothing can be read, and a deletion would show nothing.
                break;
            }
        }
        self.remove_version(desired, &s3, version).await;
        tried
    }

    /// In a bucket with versions, also deletes the version, if the policy allows it. Nothing depends on that.
    async fn remove_version(&self, desired: &Desired, s3: &aws_sdk_s3::Client, version: Option<String>) {
        let Some(version) = version.filter(|_| desired.proofs.deletes_versions) else { return };
        let call = s3.delete_object().bucket(&desired.bucket.name).key(&desired.proofs.object).version_id(version);
        let _ = self.sdk.call("s3:DeleteObjectVersion", call.expected_bucket_owner(&desired.account.id).send()).await;
    }

    /// One verification call, and its result. Fails with `Class::OtherUser` for a key of another user.
    async fn prove(&self, desired: &Desired, key: &KeyPair, proof: Proof) -> Result<Option<String>, Problem> {
        let (s3, sts) = self.sdk.with_key(key, &desired.region);
        let (bucket, prefix, account) = (&desired.bucket.name, &desired.bucket.prefix, &desired.account.id);
        match proof {
            Proof::Identity => {
                let identity = self.sdk.call("sts:GetCallerIdentity", sts.get_caller_identity().send()).await?;
                let arn = identity.arn.unwrap_or_default();
                if arn == desired.user.arn || !desired.identity.is_managed() {
                    return Ok(Some(arn));
                }
                Err(Problem::new(Class::OtherUser, "sts:GetCallerIdentity", "OtherUser", arn))
            }
            Proof::List => {
                let call = list_keys(&s3, bucket, prefix).max_keys(1);
                self.sdk.call("s3:ListBucket", call.expected_bucket_owner(account).send()).await.map(|_| None)
            }
            Proof::Upload => {
                let object = format!("{prefix}{}", names::PROBE_KEY);
                let call = s3.create_multipart_upload().bucket(bucket).key(&object).expected_bucket_owner(account);
                let upload = self.sdk.call("s3:PutObject", call.send()).await?;
                let call = s3.abort_multipart_upload().bucket(bucket).key(&object).set_upload_id(upload.upload_id);
                self.sdk.call("s3:AbortMultipartUpload", call.send()).await.map(|_| None)
            }
            Proof::ListOutside => {
                let outside = names::outside(&desired.owner);
                let call = s3.list_objects_v2().bucket(bucket).prefix(&outside).max_keys(1);
                denied(
                    "s3:ListBucket",
                    &outside,
                    self.sdk.call("s3:ListBucket", call.expected_bucket_owner(account).send()).await,
                )
            }
            Proof::GetOutside => {
                let outside = names::outside(&desired.owner);
                let call = s3.get_object().bucket(bucket).key(&outside);
                denied("s3:GetObject", &outside, self.sdk.call("s3:GetObject", call.expected_bucket_owner(account).send()).await)
            }
            Proof::Federation => {
                let call = sts.get_federation_token().name("bucketconnection").duration_seconds(SHORTEST_SESSION);
                // The token gives no permissions, and is discarded.
                self.sdk.call("sts:GetFederationToken", call.policy(NOTHING).send()).await.map(|_| None)
            }
            Proof::GenomicsCloud => genomics_cloud(desired).await,
            // These are made together, in order.
            Proof::Put | Proof::Get | Proof::Delete => Ok(None),
        }
    }
}

/// Calls the URL in the spec. It sends no key and no token.
async fn genomics_cloud(desired: &Desired) -> Result<Option<String>, Problem> {
    let Some(cloud) = &desired.proofs.genomics_cloud else { return Ok(None) };
    let refused = |code: String, text: String| Problem::at(Source::Endpoint, Class::Refused, "GET", code, text);
    let trust = tls_context().map_err(|error| refused("NoCertificate".to_owned(), error.to_string()))?;
    let host = cloud.authority().split(':').next().unwrap_or_default();
    match probe_url(&cloud.url, host, is_allowed_address, trust).await? {
        status if status == cloud.expected_status => Ok(None),
        status => Err(refused(
            format!("HTTP {status}"),
            format!("{} answered with this status instead of {}", cloud.url, cloud.expected_status),
        )),
    }
}

/// A denial is the expected answer. S3 returns 404 for a missing object only to callers that may read it.
fn denied<T>(action: &str, outside: &str, answer: Result<T, Problem>) -> Result<Option<String>, Problem> {
    match answer {
        Err(problem) if problem.class == Class::Denied => Ok(None),
        Err(problem) if problem.code != "NoSuchKey" => Err(problem),
        _ => Err(Problem::new(Class::Allowed, action, "Allowed", format!("on {outside}"))),
    }
}
