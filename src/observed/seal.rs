//! A seal on what our own status remembers of AWS, so that whoever may edit a status cannot make a foreign bucket or user ours.
//!
//! Only this operator has the key. What a status without the right seal says of AWS is forgotten, and the ownership tags in AWS
//! decide alone, as they do for an object that was never seen.

use std::fmt::Write;

use hmac::{Hmac, KeyInit, Mac};
use kube::ResourceExt;
use sha2::Sha256;

use crate::api::{BucketConnection, BucketConnectionStatus};
use crate::credentials::Sensitive;

/// The key to the seals.
#[derive(Clone, Debug)]
pub struct Seal(Sensitive);

impl Seal {
    /// Seals with `key`.
    pub fn new(key: Sensitive) -> Self {
        Self(key)
    }

    /// Seals `status`, which is about to be written to `object`.
    pub fn mark(&self, object: &BucketConnection, status: &mut BucketConnectionStatus) {
        status.seal = Some(self.of(object, status));
    }

    /// Makes the status of `object` forget what is not sealed; returns whether there was anything to forget.
    pub fn check(&self, object: &mut BucketConnection) -> bool {
        let Some(mut status) = object.status.take() else { return false };
        let before = status.clone();
        if status.seal.as_ref() != Some(&self.of(object, &status)) {
            status.account_id = None;
            status.sign_in = None;
            status.bucket = None;
            status.user = None;
            status.policy = None;
            status.earlier_policies.clear();
            status.credentials = None;
            status.permissions = None;
        }
        let forgot = status != before;
        object.status = Some(status);
        forgot
    }

    /// HMAC-SHA-256 over the object's uid and all that later passes take for granted.
    fn of(&self, object: &BucketConnection, status: &BucketConnectionStatus) -> String {
        let BucketConnectionStatus { account_id, sign_in, bucket, user, policy, earlier_policies, .. } = status;
        let BucketConnectionStatus { credentials, permissions, .. } = status;
        let of_aws = serde_json::json!([account_id, sign_in, bucket, user, policy, earlier_policies]);
        let facts = serde_json::json!([object.uid(), of_aws, credentials, permissions]);
        // A key of any length will do for an HMAC.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.0.reveal().as_bytes()) else { return String::new() };
        mac.update(facts.to_string().as_bytes());
        mac.finalize().into_bytes().iter().take(16).fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_edited_by_hand_is_forgotten() {
        let seal = Seal::new(Sensitive::new("key".into()));
        let mut object: BucketConnection = serde_json::from_value(json!({
            "apiVersion": "bucketconnection.dev/v1alpha1", "kind": "BucketConnection", "metadata": { "name": "c", "uid": "1" },
            "spec": { "preset": "ReadWrite", "region": "us-east-1", "bucket": { "name": "data" } },
            "status": { "bucket": { "arn": "arn:aws:s3:::data", "region": "us-east-1" }, "accountId": "123456789012" },
        }))
        .unwrap();
        let written = |object: &BucketConnection| {
            let mut status = object.status.clone().unwrap();
            seal.mark(object, &mut status);
            BucketConnection { status: Some(status), ..object.clone() }
        };
        let sealed = written(&object);
        let remembered = |mut object: BucketConnection, seal: &Seal| {
            seal.check(&mut object);
            object.status.unwrap().bucket.is_some()
        };
        assert!(remembered(sealed.clone(), &seal));
        assert!(!remembered(object.clone(), &seal), "never sealed");
        let mut edited = sealed.clone();
        edited.status.as_mut().unwrap().bucket.as_mut().unwrap().arn = "arn:aws:s3:::foreign".into();
        assert!(!remembered(edited, &seal));
        let mut copied = sealed.clone();
        copied.metadata.uid = Some("2".into());
        assert!(!remembered(copied, &seal), "another object's status");
        assert!(!remembered(sealed, &Seal::new(Sensitive::new("other".into()))));
        object.status = None;
        seal.check(&mut object);
        assert_eq!(object.status, None);
    }
}
