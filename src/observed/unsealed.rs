//! What the command line accepts from a status. It has no key to verify the seal, and a person who can write a status could
//! otherwise widen the operator's own policy, or get a plan for resources that do not exist.
//!
//! It accepts only what this object can have: names in its own account, under its own path, from its own spec.

use kube::ResourceExt;

use crate::api::{AccountDefaults, BucketConnection, PolicyStatus};
use crate::desired::{Account, names};

/// Removes from the status of `object` what it could not have, in `account` with these defaults; returns the removed
/// parts, for people.
pub fn distrust(object: &mut BucketConnection, account: &Account, defaults: &AccountDefaults) -> Vec<String> {
    let Some(mut status) = object.status.take() else { return Vec::new() };
    let memory = &mut status.memory;
    let own = Own::of(object, account, defaults);
    let mut doubts = Vec::new();
    let mut doubt = |field: &str, value: &str| doubts.push(format!("status.{field} {value:?} is not possible for this object"));
    if let Some(bucket) = memory.bucket.take_if(|bucket| bucket.arn != own.bucket) {
        doubt("bucket.arn", &bucket.arn);
    }
    if let Some(user) = memory.user.take_if(|user| !own.has_user(&user.arn)) {
        doubt("user.arn", &user.arn);
    }
    if let Some(policy) = memory.policy.take_if(|policy| !own.has_policy(policy)) {
        doubt("policy", policy.arn.as_ref().unwrap_or(&policy.name));
    }
    memory.earlier_policies.retain(|policy| {
        let believed = own.has_policy(policy);
        if !believed {
            doubt("earlierPolicies", policy.arn.as_ref().unwrap_or(&policy.name));
        }
        believed
    });
    object.status = Some(status);
    doubts
}

/// What an object could have.
struct Own {
    bucket: String,
    /// `arn:<partition>:iam::<account>`.
    iam: String,
    paths: Vec<String>,
    /// Name of the user in the spec.
    name: Option<String>,
    /// Suffix of its default name: the account's prefix may have changed.
    default_name: String,
    /// The same, if it is too long for IAM.
    cut_name: String,
}

impl Own {
    fn of(object: &BucketConnection, account: &Account, defaults: &AccountDefaults) -> Self {
        let Account { id, partition } = account;
        let user = object.spec.user.clone().unwrap_or_default();
        let default_path = names::default_path(defaults).to_owned();
        Self {
            bucket: format!("arn:{partition}:s3:::{}", names::bucket(object, id)),
            iam: format!("arn:{partition}:iam::{id}"),
            paths: user.path.map_or_else(|| vec![default_path, names::DEFAULT_PATH.to_owned()], |path| vec![path]),
            name: user.name,
            default_name: format!("{}.{}", object.namespace().unwrap_or_default(), names::of(object)),
            cut_name: names::default_user(object, defaults),
        }
    }

    fn has_user(&self, arn: &str) -> bool {
        self.named(arn, "user").is_some_and(|name| match &self.name {
            Some(own) => name == own,
            None => name.ends_with(&self.default_name) || name == self.cut_name,
        })
    }

    fn has_policy(&self, policy: &PolicyStatus) -> bool {
        match &policy.arn {
            Some(arn) => self.named(arn, "policy") == Some(policy.name.as_str()),
            None => is_name(&policy.name) && !policy.name.eq_ignore_ascii_case(names::REVOKED),
        }
    }

    /// The name in the ARN of a user or policy in the operator's account and under the operator's path.
    fn named<'a>(&self, arn: &'a str, kind: &str) -> Option<&'a str> {
        let resource = arn.strip_prefix(&format!("{}:{kind}", self.iam))?;
        self.paths.iter().find_map(|path| resource.strip_prefix(path.as_str())).filter(|name| is_name(name))
    }
}

/// Names of users and policies: no wildcards and no path.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "+=,.@_-".contains(c))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn believed(spec: Value, status: Value) -> (Value, Vec<String>) {
        let mut whole = json!({ "preset": "ReadWrite", "region": "us-east-1", "bucket": { "name": "lab-b-data" } });
        for (field, value) in spec.as_object().unwrap() {
            whole[field] = value.clone();
        }
        let mut object: BucketConnection = serde_json::from_value(json!({
            "apiVersion": "bucketconnection.dev/v1alpha1", "kind": "BucketConnection",
            "metadata": { "name": "imaging", "namespace": "lab-b" }, "spec": whole, "status": status,
        }))
        .unwrap();
        let account = Account { id: "123456789012".into(), partition: "aws".into() };
        let defaults = AccountDefaults { user_path: Some("/labs/".into()), ..AccountDefaults::default() };
        let doubts = distrust(&mut object, &account, &defaults);
        (serde_json::to_value(object.status).unwrap(), doubts)
    }

    #[test]
    fn users() {
        let iam = "arn:aws:iam::123456789012";
        let named = json!({ "user": { "name": "one" } });
        for (spec, arn, expected) in [
            (json!({}), format!("{iam}:user/labs/lab-b.imaging"), true),
            (json!({}), format!("{iam}:user/bucketconnection/cluster-1.lab-b.imaging"), true),
            (json!({}), format!("{iam}:user/*"), false),
            (json!({}), format!("{iam}:user/labs/*lab-b.imaging"), false),
            (json!({}), format!("{iam}:user/labs/administrator"), false),
            (json!({}), format!("{iam}:user/administrators/lab-b.imaging"), false),
            (json!({}), "arn:aws:iam::210987654321:user/labs/lab-b.imaging".to_owned(), false),
            (json!({}), "arn:aws:iam::*:user/labs/lab-b.imaging".to_owned(), false),
            (named.clone(), format!("{iam}:user/labs/one"), true),
            (named.clone(), format!("{iam}:user/labs/lab-b.imaging"), false),
            (json!({ "user": { "name": "one", "path": "/own/" } }), format!("{iam}:user/own/one"), true),
            (json!({ "user": { "name": "one", "path": "/own/" } }), format!("{iam}:user/labs/one"), false),
        ] {
            let (status, doubts) = believed(spec, json!({ "user": { "name": "x", "arn": arn, "id": "AIDA" } }));
            assert_eq!((status["user"].is_object(), doubts.is_empty()), (expected, expected), "{arn}");
        }
    }

    #[test]
    fn policies_and_buckets() {
        let managed = |name: &str, arn: &str| json!({ "type": "Managed", "name": name, "arn": arn });
        for (policy, expected) in [
            (managed("a", "arn:aws:iam::123456789012:policy/labs/a"), true),
            (managed("a", "arn:aws:iam::123456789012:policy/labs/b"), false),
            (managed("*", "arn:aws:iam::123456789012:policy/labs/*"), false),
            (managed("*", "arn:aws:iam::*:policy/*"), false),
            (managed("AdministratorAccess", "arn:aws:iam::aws:policy/AdministratorAccess"), false),
            (managed("boundary", "arn:aws:iam::123456789012:policy/boundary"), false),
            (json!({ "type": "Inline", "name": "mine" }), true),
            (json!({ "type": "Inline", "name": "BucketConnection-revoked" }), false),
        ] {
            let (status, doubts) = believed(json!({}), json!({ "policy": policy, "earlierPolicies": [policy] }));
            let left = (status["policy"].is_object(), status["earlierPolicies"].is_array(), doubts.is_empty());
            assert_eq!(left, (expected, expected, expected), "{policy}");
        }
        let (status, doubts) = believed(json!({}), json!({ "bucket": { "arn": "arn:aws:s3:::other", "region": "us-east-1" } }));
        assert_eq!(status["bucket"], Value::Null);
        assert_eq!(doubts, [r#"status.bucket.arn "arn:aws:s3:::other" is not possible for this object"#]);
    }
}
