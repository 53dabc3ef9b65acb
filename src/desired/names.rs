//! Names that the operator chooses, and the ownership tag.

use kube::ResourceExt;

use crate::api::{AccountDefaults, BucketConnection, SignIn};
pub use crate::settings::tags::TAG_PREFIX;
use crate::vocabulary::digest::digest;

/// Tag on every managed resource in AWS; its value names the object and the cluster that it belongs to.
pub const OWNER_TAG: &str = "bucketconnection.dev/owner";
/// Tag for the namespace and cluster of that object, by their uids: a namespace name can be given to another tenant.
pub const NAMESPACE_TAG: &str = "bucketconnection.dev/namespace";
/// Replaces the uid of a cluster that the operator is not allowed to read.
pub const UNKNOWN_CLUSTER: &str = "unknown";
/// Tag on managed users: the preset. The permissions boundary in deploy/iam/boundary.json uses it.
pub const PRESET_TAG: &str = "bucketconnection.dev/preset";
/// Tag on managed users: the managed keys (`observed/ledger.rs`).
pub const KEYS_TAG: &str = "bucketconnection.dev/keys";
/// Tag on managed users: the name of the Secret.
pub const SECRET_TAG: &str = "bucketconnection.dev/secret";
/// Tag on managed users: the policy, as `Inline/<name>` or `Managed/<name>`.
pub const POLICY_TAG: &str = "bucketconnection.dev/policy";
/// Tag that a person puts on a managed user in AWS during an incident: as long as it exists, the operator does not
/// change the user's keys.
pub const HOLD_TAG: &str = "bucketconnection.dev/hold";
/// Tag on a bucket whose ownership tag was missing and was restored: it is not emptied or deleted without consent.
pub const RESTORED_TAG: &str = "bucketconnection.dev/owner-restored";
/// Tag on buckets that were adopted: they are never emptied.
pub const ADOPTED_TAG: &str = "bucketconnection.dev/adopted";
/// IAM path of managed users and policies, so that the operator's own policy can be limited to it.
pub const DEFAULT_PATH: &str = "/bucketconnection/";
/// Name of an inline policy.
pub const INLINE_POLICY: &str = "bucketconnection";
/// Name of the inline policy that denies a user everything, or denies its old sessions.
pub const REVOKED: &str = "bucketconnection-revoked";
/// Key, under the prefix, of the upload that is started and aborted to verify that writing works.
pub const PROBE_KEY: &str = ".bucketconnection-probe";

/// Key of the object that is put, read and deleted during verification: one per connection, so that two never collide.
pub fn probe(prefix: &str, owner: &str) -> String {
    format!("{prefix}{PROBE_KEY}-{}", digest(owner, 8))
}

/// Key outside any prefix of a connection, where no object exists: to verify that the key of `owner` has no access
/// there.
pub fn outside(owner: &str) -> String {
    format!("{PROBE_KEY}-outside-{}/", digest(owner, 8))
}

/// Longest name of a bucket.
pub const BUCKET_LIMIT: usize = 63;
/// Longest name of an IAM user (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>).
const USER_LIMIT: usize = 64;
/// Longest name of a managed Secret: the names of its versions (`<name>-v1000000000`) and of the Role of its readers
/// are longer.
pub const SECRET_LIMIT: usize = 240;
/// Longest value of a tag.
const TAG_LIMIT: usize = 256;

/// Whether the API server could have an object of this name. Names become part of a request's path unescaped, so a name
/// with other characters could address another object.
pub fn is_object_name(name: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let label = |label: &str| {
        label.starts_with(alphanumeric) && label.ends_with(alphanumeric) && label.chars().all(|c| alphanumeric(c) || c == '-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// Name of the object; the API server gives every object one.
pub fn of(object: &BucketConnection) -> &str {
    object.metadata.name.as_deref().unwrap_or_default()
}

/// Value of the ownership tag: `<cluster>/<namespace>/<name>`, or its hash where that is longer than a tag may be.
pub fn owner(object: &BucketConnection, cluster: &str) -> String {
    let owner = format!("{cluster}/{}/{}", object.namespace().unwrap_or_default(), of(object));
    if owner.len() <= TAG_LIMIT { owner } else { format!("{cluster}/{}", digest(&owner, 32)) }
}

/// Name of the bucket. A name from a prefix is in the account's own namespace, where no other account can create it:
/// `<prefix>-<account>-<region>-an` (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/gpbucketnamespaces.html>).
pub fn bucket(object: &BucketConnection, account_id: &str) -> String {
    let (bucket, region) = (&object.spec.bucket, &object.spec.region);
    match (&bucket.name, &bucket.name_prefix) {
        (None, Some(prefix)) => format!("{prefix}-{account_id}-{region}-an"),
        (name, _) => name.clone().unwrap_or_default(),
    }
}

/// IAM path of users and managed policies if the spec sets none.
pub fn default_path(defaults: &AccountDefaults) -> &str {
    defaults.user_path.as_deref().unwrap_or(DEFAULT_PATH)
}

/// Name of the user if the spec sets none: `<namespace>.<name>`, after the account's prefix; truncated and hashed if it
/// is too long.
pub fn default_user(object: &BucketConnection, defaults: &AccountDefaults) -> String {
    let prefix = defaults.name_prefix.as_deref().unwrap_or_default();
    let name = format!("{prefix}{}.{}", object.namespace().unwrap_or_default(), of(object));
    if name.len() <= USER_LIMIT { name } else { format!("{}-{}", &name[..USER_LIMIT - 9], digest(&name, 4)) }
}

/// Path and name in the ARN of a user, `arn:…:user/path/name`.
pub fn path_and_name(arn: &str) -> Option<(&str, &str)> {
    let resource = arn.splitn(6, ':').nth(5)?.strip_prefix("user")?;
    let name = resource.rfind('/')? + 1;
    Some((&resource[..name], &resource[name..]))
}

/// Name of the Secret in the spec.
pub fn secret(object: &BucketConnection) -> String {
    let spec = object.spec.credentials.as_ref().and_then(|credentials| credentials.secret.as_ref());
    spec.map_or_else(|| format!("{}-s3", of(object)), |secret| secret.name.clone())
}

/// Name of the key's own Secret for the key with this number. The Secret `secret` always holds the current key.
pub fn version(secret: &str, number: i64) -> String {
    format!("{secret}-v{number}")
}

/// Name of the Secret that holds the pending key until it is verified.
pub fn pending(secret: &str) -> String {
    format!("{secret}-pending")
}

/// Name of the Role and the RoleBinding that let groups read the Secret `secret`.
pub fn readers(secret: &str) -> String {
    format!("{secret}-readers")
}

/// AWS's partitions, with the prefixes of their regions and the suffixes of their hosts (botocore's partitions.json).
const PARTITIONS: [(&str, &str, &str); 8] = [
    ("aws-cn", "cn-", "amazonaws.com.cn"),
    ("aws-us-gov", "us-gov-", "amazonaws.com"),
    ("aws-iso", "us-iso-", "c2s.ic.gov"),
    ("aws-iso-b", "us-isob-", "sc2s.sgov.gov"),
    ("aws-iso-e", "eu-isoe-", "cloud.adc-e.uk"),
    ("aws-iso-f", "us-isof-", "csp.hci.ic.gov"),
    ("aws-eusc", "eusc-", "amazonaws.eu"),
    ("aws", "", "amazonaws.com"),
];

/// The names of all partitions.
pub fn partitions() -> impl Iterator<Item = &'static str> {
    PARTITIONS.iter().map(|(name, ..)| *name)
}

/// The partition of a region (<https://docs.aws.amazon.com/general/latest/gr/rande.html>).
pub fn partition_of(region: &str) -> &'static str {
    PARTITIONS.iter().find(|(_, prefix, _)| region.starts_with(prefix)).map_or("aws", |(name, ..)| name)
}

/// Suffix of the host names of AWS services in a partition.
pub fn dns_suffix(partition: &str) -> &'static str {
    PARTITIONS.iter().find(|(name, ..)| *name == partition).map_or("amazonaws.com", |(.., suffix)| suffix)
}

/// ARNs by which policies can name the operator: `identity` is the ARN that STS reports, `sign_in` how the operator
/// signed in. STS does not report the path of an assumed role, so if the account does not name the role, `*` matches
/// any path.
pub fn principals(identity: &str, sign_in: &SignIn) -> Vec<String> {
    if let Some(role) = sign_in.credentials.assume_role.last() {
        return vec![role.role_arn.clone()];
    }
    let parts: Vec<_> = identity.splitn(6, ':').collect();
    match (parts.as_slice(), identity.split('/').collect::<Vec<_>>().as_slice()) {
        (["arn", partition, "sts", _, account, resource], [_, name, _]) if resource.starts_with("assumed-role/") => {
            let role = format!("arn:{partition}:iam::{account}:role");
            vec![format!("{role}/{name}"), format!("{role}/*/{name}")]
        }
        _ => vec![identity.to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_operator_has_these_names_in_policies() {
        let signed_in = |sign_in: Value, identity: &str| principals(identity, &serde_json::from_value(sign_in).unwrap());
        let user = "arn:aws:iam::123456789012:user/platform/operator";
        assert_eq!(signed_in(json!({}), user), [user]);
        let session = "arn:aws-cn:sts::123456789012:assumed-role/operator/botocore";
        assert_eq!(
            signed_in(json!({}), session),
            ["arn:aws-cn:iam::123456789012:role/operator", "arn:aws-cn:iam::123456789012:role/*/operator"]
        );
        let role = "arn:aws-cn:iam::123456789012:role/teams/operator";
        assert_eq!(signed_in(json!({ "credentials": { "assumeRole": [{ "roleArn": role }] } }), session), [role]);
    }
}
