//! A seal on the recorded state, so that a person who can edit a status cannot turn a foreign bucket or user into a
//! managed one.
//!
//! Only this operator has the key. The operator discards recorded state without a valid seal as a whole. Then only the
//! tags in AWS count, as for an object that was never reconciled.

use hmac::{Hmac, KeyInit, Mac};
use kube::ResourceExt;
use sha2::Sha256;

use crate::api::{BucketConnection, BucketConnectionStatus, Memory};
use crate::credentials::Sensitive;

/// Bytes of the HMAC that the status shows.
const LENGTH: usize = 16;

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
        let seal = self.mac(object, &status.memory).map(|mac| mac.finalize().into_bytes());
        status.seal = seal.map(|bytes| hex::encode(&bytes[..LENGTH]));
    }

    /// Drops the recorded state of `object` unless it has the operator's seal; returns what was dropped.
    pub fn check(&self, object: &mut BucketConnection) -> Option<Memory> {
        let status = object.status.as_ref()?;
        if status.memory == Memory::default() || self.holds(object, status) {
            return None;
        }
        object.status.as_mut().map(|status| std::mem::take(&mut status.memory))
    }

    fn holds(&self, object: &BucketConnection, status: &BucketConnectionStatus) -> bool {
        let seal = status.seal.as_deref().and_then(|seal| hex::decode(seal).ok()).filter(|seal| seal.len() == LENGTH);
        // Compares in constant time.
        seal.zip(self.mac(object, &status.memory)).is_some_and(|(seal, mac)| mac.verify_truncated_left(&seal).is_ok())
    }

    /// HMAC-SHA-256 over the object's uid and its recorded state; `None`, which is never a valid seal, if that cannot
    /// be serialized.
    fn mac(&self, object: &BucketConnection, memory: &Memory) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.reveal().as_bytes()).ok()?;
        let facts = serde_json::to_value((object.uid(), memory)).ok()?;
        mac.update(facts.to_string().as_bytes());
        Some(mac)
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
            object.status.unwrap().memory.bucket.is_some()
        };
        assert!(remembered(sealed.clone(), &seal));
        assert!(!remembered(object.clone(), &seal), "never sealed");
        let mut edited = sealed.clone();
        edited.status.as_mut().unwrap().memory.bucket.as_mut().unwrap().arn = "arn:aws:s3:::foreign".into();
        assert!(!remembered(edited, &seal));
        let mut copied = sealed.clone();
        copied.metadata.uid = Some("2".into());
        assert!(!remembered(copied, &seal), "another object's status");
        assert!(!remembered(sealed.clone(), &Seal::new(Sensitive::new("other".into()))));
        let mut short = sealed.clone();
        short.status.as_mut().unwrap().seal.as_mut().unwrap().truncate(2);
        assert!(!remembered(short, &seal), "a prefix of the right seal");
        object.status = None;
        seal.check(&mut object);
        assert_eq!(object.status, None);
    }

    /// Every field of the recorded state, including fields that are added later, is under the seal: the state is
    /// dropped as a whole if one byte differs.
    #[test]
    fn every_field_is_sealed() {
        let seal = Seal::new(Sensitive::new("key".into()));
        let schema = serde_json::to_value(schemars::schema_for!(Memory)).unwrap();
        let fields: Vec<_> = schema["properties"].as_object().unwrap().keys().cloned().collect();
        assert!(fields.len() >= 8);
        let full = json!({
            "accountId": "123456789012",
            "signIn": { "region": "eu-west-1" },
            "namespaceId": "cluster/namespace",
            "bucket": { "arn": "arn:aws:s3:::data", "region": "us-east-1" },
            "user": { "name": "u", "arn": "arn:aws:iam::123456789012:user/u", "id": "AIDA1" },
            "policy": { "type": "Inline", "name": "p" },
            "earlierPolicies": [{ "type": "Inline", "name": "q" }],
            "credentials": { "accessKeyId": "AKIA1" },
            "access": { "groups": ["g"] },
            "versioning": { "versioned": true, "readAt": "2026-01-01T00:00:00Z" },
            "written": { "cors": "abcdef" },
            "writing": { "lifecycle": ["tidy"] },
        });
        for field in fields {
            assert!(full.get(&field).is_some(), "give {field} a value in this test");
            let mut object: BucketConnection = serde_json::from_value(json!({
                "apiVersion": "bucketconnection.dev/v1alpha1", "kind": "BucketConnection", "metadata": { "name": "c", "uid": "1" },
                "spec": { "preset": "ReadWrite", "region": "us-east-1", "bucket": { "name": "data" } }, "status": full,
            }))
            .unwrap();
            let mut status = object.status.clone().unwrap();
            seal.mark(&object, &mut status);
            let mut memory = serde_json::to_value(&status.memory).unwrap();
            memory.as_object_mut().unwrap().remove(&field).expect("it is written");
            status.memory = serde_json::from_value(memory).unwrap();
            object.status = Some(status);
            assert!(seal.check(&mut object).is_some(), "{field} is not sealed");
            assert_eq!(object.status.unwrap().memory, Memory::default());
        }
    }
}
