//! Names that we choose, and the ownership tag.

use std::fmt::Write;

use kube::ResourceExt;
use sha2::{Digest, Sha256};

use crate::api::BucketConnection;

/// Tag on everything of ours in AWS; its value tells which object of which cluster it belongs to.
pub const OWNER_TAG: &str = "bucketconnection.dev/owner";
/// IAM path of our users and managed policies, so that the operator's own policy can be narrowed to it.
pub const DEFAULT_PATH: &str = "/bucketconnection/";
/// Name of an inline policy.
pub const INLINE_POLICY: &str = "bucketconnection";
/// Key, under the prefix, of the upload that is begun and aborted to prove that writing works.
pub const PROBE_KEY: &str = ".bucketconnection-probe";

/// Longest name of an IAM user (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>).
const USER_LIMIT: usize = 64;
/// Longest value of a tag.
const TAG_LIMIT: usize = 256;

/// Name of the object; the API server gives every object one.
pub fn of(object: &BucketConnection) -> &str {
    object.metadata.name.as_deref().unwrap_or_default()
}

/// Value of the ownership tag: `<cluster>/<namespace>/<name>`, or its hash where that is longer than a tag may be.
pub fn owner(object: &BucketConnection, cluster: &str) -> String {
    let owner = format!("{cluster}/{}/{}", object.namespace().unwrap_or_default(), of(object));
    if owner.len() <= TAG_LIMIT { owner } else { format!("{cluster}/{}", hash(&owner, 32)) }
}

/// Name of the user where the spec has none: `<namespace>.<name>`, cut and hashed where that is too long.
pub fn default_user(object: &BucketConnection) -> String {
    let name = format!("{}.{}", object.namespace().unwrap_or_default(), of(object));
    if name.len() <= USER_LIMIT { name } else { format!("{}-{}", &name[..USER_LIMIT - 9], hash(&name, 4)) }
}

/// Name of the Role and the RoleBinding by which groups read the Secret `secret`.
pub fn readers(secret: &str) -> String {
    format!("{secret}-readers")
}

/// Partition of a region, by its first letters
/// (<https://docs.aws.amazon.com/general/latest/gr/rande.html>, botocore's partitions.json).
pub fn partition_of(region: &str) -> &'static str {
    const PREFIXES: [(&str, &str); 7] = [
        ("cn-", "aws-cn"),
        ("us-gov-", "aws-us-gov"),
        ("us-iso-", "aws-iso"),
        ("us-isob-", "aws-iso-b"),
        ("eu-isoe-", "aws-iso-e"),
        ("us-isof-", "aws-iso-f"),
        ("eusc-", "aws-eusc"),
    ];
    PREFIXES.iter().find(|(prefix, _)| region.starts_with(prefix)).map_or("aws", |(_, partition)| partition)
}

fn hash(text: &str, bytes: usize) -> String {
    Sha256::digest(text).iter().take(bytes).fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}
