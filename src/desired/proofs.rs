//! What the operator verifies with the key of a connection, and what each call shows.
//!
//! The operator tries nothing that the policy does not allow: a missing permission in the spec is not a failure.
//! Without `spec.verification` it verifies only the key itself. The rest costs calls, so it runs only if the spec asks
//! for it, and only when the key is verified, not in each reconcile.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Document, names};
use crate::api::{GenomicsCloudSpec, VerificationSpec};

/// A call to make with the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, strum::Display)]
pub enum Proof {
    /// Ask STS who owns the key: needs no permission.
    Identity,
    /// List the bucket under the prefix.
    List,
    /// Start a multipart upload under the prefix and abort it: verifies writing, and no object ever appears.
    Upload,
    /// Put a small object under the prefix.
    Put,
    /// Get that object.
    Get,
    /// Delete that object.
    Delete,
    /// List outside the prefix: must be denied.
    ListOutside,
    /// Get a missing object outside the prefix: must be denied, not "not found".
    GetOutside,
    /// Ask STS for a session without permissions.
    Federation,
    /// Call the URL that the spec names, without the key.
    GenomicsCloud,
}

/// How a capability is verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum CheckPlan {
    /// By all of these calls.
    Run(Vec<Proof>),
    /// Not verified: why, and how to have it verified.
    Skip(String),
}

/// The calls to make, and what they show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Proofs {
    /// The calls that verify the key itself. If one fails, the key is not used.
    pub required: Vec<Proof>,
    /// The calls to make after these succeeded.
    pub optional: Vec<Proof>,
    /// The capabilities, by name.
    pub capabilities: BTreeMap<&'static str, CheckPlan>,
    /// The URL to call.
    pub genomics_cloud: Option<GenomicsCloudSpec>,
    /// Key of the object that is put, read and deleted.
    pub object: String,
    /// Whether the key may also delete the version of the object that a bucket with versions keeps.
    pub deletes_versions: bool,
}

/// What the choice of calls depends on.
pub(super) struct Scope<'a> {
    pub(super) document: &'a Document,
    pub(super) bucket_arn: &'a str,
    /// The key prefix that the connection is limited to; empty for the whole bucket.
    pub(super) prefix: &'a str,
    /// Owner of the connection: two connections never use the same object.
    pub(super) owner: &'a str,
    /// Whether a KMS key encrypts the bucket.
    pub(super) kms: bool,
    /// Whether objects of the bucket may be locked.
    pub(super) locked: bool,
    /// Whether the operator may make more than read calls with the key (`spec.management`).
    pub(super) enforced: bool,
    pub(super) spec: Option<&'a VerificationSpec>,
}

const ASK: &str = "not verified: set spec.verification to verify it";
const ASK_OBJECTS: &str = "not verified: set spec.verification.objects to verify it; an object then appears for a moment";

impl Scope<'_> {
    fn allows(&self, actions: &[&str]) -> bool {
        let object = format!("{}/{}", self.bucket_arn, names::probe(self.prefix, self.owner));
        actions.iter().all(|action| self.document.allows(action, &object, None))
    }

    /// The calls that the document allows.
    pub(super) fn proofs(&self) -> Proofs {
        let lists = self.document.allows("s3:ListBucket", self.bucket_arn, Some(self.prefix));
        let uploads = self.allows(&["s3:PutObject", "s3:AbortMultipartUpload"]);
        // Listing verifies the key, or else an upload that leaves nothing behind.
        let mut required = vec![Proof::Identity];
        required.extend(lists.then_some(Proof::List).or(uploads.then_some(Proof::Upload)));
        let list = if lists { CheckPlan::Run(vec![Proof::List]) } else { not_granted("s3:ListBucket") };
        let mut capabilities = BTreeMap::from([("list", list)]);
        capabilities.extend(self.objects(uploads && !lists, uploads));
        capabilities.insert("isolation", self.when_asked(self.isolation()));
        if self.document.allows("sts:GetFederationToken", "*", None) {
            capabilities.insert("federation", self.when_asked(CheckPlan::Run(vec![Proof::Federation])));
        }
        let genomics_cloud = self.spec.and_then(|spec| spec.genomics_cloud.clone());
        let cloud = match genomics_cloud {
            Some(_) => self.when_enforced(CheckPlan::Run(vec![Proof::GenomicsCloud])),
            None => CheckPlan::Skip("not verified: set spec.verification.genomicsCloud to verify a URL".to_owned()),
        };
        capabilities.insert("genomicsCloud", cloud);
        let mut optional: Vec<_> = capabilities
            .values()
            .filter_map(|means| match means {
                CheckPlan::Run(proofs) => Some(proofs.clone()),
                CheckPlan::Skip(_) => None,
            })
            .flatten()
            .chain(self.cleans_up(&capabilities))
            .filter(|proof| !required.contains(proof))
            .collect();
        optional.sort();
        optional.dedup();
        Proofs {
            required,
            optional,
            capabilities,
            genomics_cloud,
            object: names::probe(self.prefix, self.owner),
            deletes_versions: self.allows(&["s3:DeleteObjectVersion"]),
        }
    }

    /// Writing, reading and deleting objects; and the KMS key, which S3 uses for writing and reading.
    fn objects(&self, uploaded: bool, uploads: bool) -> BTreeMap<&'static str, CheckPlan> {
        let asked = self.spec.is_some_and(|spec| spec.objects);
        let (put, delete) = (self.allows(&["s3:PutObject"]), self.allows(&["s3:DeleteObject"]));
        let whole = put && delete && !self.locked;
        let by = |proof: Proof| CheckPlan::Run(vec![proof]);
        let no_object = || {
            let why = if self.locked {
                "objects of the bucket may be locked"
            } else {
                "the policy does not allow both s3:PutObject and s3:DeleteObject"
            };
            CheckPlan::Skip(format!("not verified: {why}, so the operator could not delete its test object"))
        };
        let object = |action: &str, proof: Proof| match (self.allows(&[action]), asked, whole) {
            (false, ..) => not_granted(action),
            (true, false, _) => CheckPlan::Skip(ASK_OBJECTS.to_owned()),
            (true, true, false) => no_object(),
            (true, true, true) => self.when_enforced(by(proof)),
        };
        let write = match object("s3:PutObject", Proof::Put) {
            CheckPlan::Skip(_) if uploaded => by(Proof::Upload),
            CheckPlan::Skip(_) if uploads => self.when_asked(by(Proof::Upload)),
            other => other,
        };
        let mut found = BTreeMap::from([
            ("write", write),
            ("read", object("s3:GetObject", Proof::Get)),
            ("delete", object("s3:DeleteObject", Proof::Delete)),
        ]);
        if self.kms {
            let uses = [("write", Proof::Put), ("read", Proof::Get)];
            let proven: Vec<_> =
                uses.into_iter().filter(|(name, proof)| found[name] == by(*proof)).map(|(_, proof)| proof).collect();
            let kms = if proven.is_empty() {
                CheckPlan::Skip(
                    "not verified: S3 uses the KMS key when an object is put and read, which needs spec.verification.objects"
                        .to_owned(),
                )
            } else {
                CheckPlan::Run(proven)
            };
            found.insert("kms", kms);
        }
        found
    }

    /// Deletes the object that was put, whatever else is verified.
    fn cleans_up(&self, capabilities: &BTreeMap<&'static str, CheckPlan>) -> Option<Proof> {
        capabilities.values().any(|means| *means == CheckPlan::Run(vec![Proof::Put])).then_some(Proof::Delete)
    }

    /// The key must have no access outside the prefix. The operator makes a call that the policy surely does not allow
    /// there, and that changes nothing if it is allowed. S3 returns 404 instead of 403 for a missing object only to
    /// callers with s3:GetObject and s3:ListBucket.
    fn isolation(&self) -> CheckPlan {
        if self.prefix.is_empty() {
            return CheckPlan::Skip(
                "not verified: without bucket.prefix the connection has access to the whole bucket".to_owned(),
            );
        }
        let outside = names::outside(self.owner);
        let granted = |action: &str, resource: &str| self.document.might_allow(action, resource, Some(&outside));
        if !granted("s3:ListBucket", self.bucket_arn) {
            CheckPlan::Run(vec![Proof::ListOutside])
        } else if self.document.allows("s3:ListBucket", self.bucket_arn, None)
            && !granted("s3:GetObject", &format!("{}/{outside}", self.bucket_arn))
        {
            CheckPlan::Run(vec![Proof::GetOutside])
        } else {
            CheckPlan::Skip(
                "not verified: the policy itself allows access beyond bucket.prefix (policy.scope, policy.statements)".to_owned(),
            )
        }
    }

    fn when_asked(&self, means: CheckPlan) -> CheckPlan {
        if self.spec.is_none() && matches!(means, CheckPlan::Run(_)) {
            return CheckPlan::Skip(ASK.to_owned());
        }
        self.when_enforced(means)
    }

    fn when_enforced(&self, means: CheckPlan) -> CheckPlan {
        if !self.enforced && matches!(means, CheckPlan::Run(_)) {
            return CheckPlan::Skip("not verified: spec.management does not enforce credentials".to_owned());
        }
        means
    }
}

fn not_granted(action: &str) -> CheckPlan {
    CheckPlan::Skip(format!("not verified: the policy does not allow {action}"))
}
