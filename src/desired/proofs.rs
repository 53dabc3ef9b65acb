//! What is tried with the key of a connection, and what each trial proves.
//!
//! Nothing is tried that the policy does not allow: what it does not grant is no fault. Without `spec.verification` only the key itself
//! is proven; the rest costs calls, so it is tried where the spec asks, and only when the key is proven, not at each check.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Document, names};
use crate::api::{GenomicsCloudSpec, VerificationSpec};

/// Something to try with the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, strum::Display)]
pub enum Proof {
    /// Ask STS who the key belongs to: works without any permission.
    Identity,
    /// List the bucket under the prefix.
    List,
    /// Begin a multipart upload under the prefix and abort it: proves writing, and no object ever appears.
    Upload,
    /// Put a small object under the prefix.
    Put,
    /// Get that object.
    Get,
    /// Delete that object.
    Delete,
    /// List outside the prefix: must be denied.
    ListOutside,
    /// Get an object outside the prefix that is not there: must be denied, not "not there".
    GetOutside,
    /// Ask STS for a session that may do nothing.
    Federation,
    /// Ask the address that the spec names, without the key.
    GenomicsCloud,
}

/// How a capability is proven.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum CheckPlan {
    /// By these, all of them.
    Run(Vec<Proof>),
    /// Not at all: why, and how to have it proven.
    Skip(String),
}

/// What to try, and what it proves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Proofs {
    /// What the key is proven with. Without these it is not used.
    pub first: Vec<Proof>,
    /// What is tried once these worked.
    pub further: Vec<Proof>,
    /// The capabilities, by name.
    pub capabilities: BTreeMap<&'static str, CheckPlan>,
    /// The address that is asked.
    pub genomics_cloud: Option<GenomicsCloudSpec>,
    /// Key of the object that is put, read and deleted.
    pub object: String,
    /// Whether the key may also delete the version of it that a bucket with versions keeps.
    pub deletes_versions: bool,
}

/// What the proofs go by.
pub(super) struct Scope<'a> {
    pub(super) document: &'a Document,
    pub(super) bucket_arn: &'a str,
    /// The part of the bucket that the connection works on; empty for all.
    pub(super) prefix: &'a str,
    /// Who we are: two connections never use one object.
    pub(super) owner: &'a str,
    /// Whether a KMS key encrypts the bucket.
    pub(super) kms: bool,
    /// Whether objects of the bucket may be locked.
    pub(super) locked: bool,
    /// Whether the key may be tried at all beyond looking (`spec.management`).
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

    /// What the document lets us try.
    pub(super) fn proofs(&self) -> Proofs {
        let lists = self.document.allows("s3:ListBucket", self.bucket_arn, Some(self.prefix));
        let uploads = self.allows(&["s3:PutObject", "s3:AbortMultipartUpload"]);
        // The key is proven by listing, or else by an upload that leaves nothing behind.
        let mut first = vec![Proof::Identity];
        first.extend(lists.then_some(Proof::List).or(uploads.then_some(Proof::Upload)));
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
        let mut further: Vec<_> = capabilities
            .values()
            .filter_map(|means| match means {
                CheckPlan::Run(proofs) => Some(proofs.clone()),
                CheckPlan::Skip(_) => None,
            })
            .flatten()
            .chain(self.cleans_up(&capabilities))
            .filter(|proof| !first.contains(proof))
            .collect();
        further.sort();
        further.dedup();
        Proofs {
            first,
            further,
            capabilities,
            genomics_cloud,
            object: names::probe(self.prefix, self.owner),
            deletes_versions: self.allows(&["s3:DeleteObjectVersion"]),
        }
    }

    /// Writing, reading and deleting objects; and the KMS key, which S3 uses for the first two.
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
            CheckPlan::Skip(format!("not verified: {why}, so an object of the operator would stay"))
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

    /// What was put is deleted, whatever else is proven.
    fn cleans_up(&self, capabilities: &BTreeMap<&'static str, CheckPlan>) -> Option<Proof> {
        capabilities.values().any(|means| *means == CheckPlan::Run(vec![Proof::Put])).then_some(Proof::Delete)
    }

    /// The key must not reach beyond the prefix: tried by what the policy surely does not grant there, and what changes nothing
    /// even where it is allowed. That an object is not there S3 tells only to whom may get it and may list the bucket.
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
