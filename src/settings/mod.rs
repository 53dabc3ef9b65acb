//! Everything about the settings of a bucket, one file each, and the one list of them.
//!
//! A setting's file has its spec type (what users write), its live type (what AWS answers), the pure rule that compares
//! the two, what an account must allow, its wire calls, what the documentation says of it and its tests. To add one, write that file and
//! add two lines here, the module and its place in `settings!`: the API type, the planner, the executor, the renderer, the status, the
//! CLI, the documentation and the tests that hold for all settings take it from the list.
//!
//! The modules `wire` are the only code here that may touch AWS; they exist with the feature `operator` only.

pub mod acceleration;
pub mod bucket_policy;
mod change;
pub mod cors;
pub mod encryption;
mod facts;
pub mod intelligent_tiering;
pub mod lifecycle;
mod list;
pub mod logging;
pub mod object_lock;
pub mod ownership;
pub mod public_access_block;
pub mod reach;
pub mod request_payment;
pub mod reserved;
pub mod tags;
pub mod versioning;

use std::collections::{BTreeMap, BTreeSet};

use kube::KubeSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::vocabulary::conditions::ConditionType;
use crate::vocabulary::problem::{Problem, join_names};
pub use change::{Change, FieldDiff, Reading};
pub(crate) use change::{map_diffs, object_diffs};
pub use facts::{Docs, Example, Facts, Unset};
use list::settings;
use reach::Reach;

/// What a setting may know when it turns its part of a spec into what is wanted.
pub struct Context<'a> {
    /// The preset's CORS rules.
    pub preset_cors: Option<Vec<cors::CorsRule>>,
    /// The preset's statements of the bucket policy.
    pub preset_statements: &'a [bucket_policy::BucketStatement],
    /// The tags that say whose the bucket is.
    pub marks: &'a tags::Tags,
    /// What of settings that are shared with others we wrote earlier, by the setting's short name.
    pub earlier: &'a Owned,
    /// ARN of the bucket.
    pub bucket_arn: &'a str,
    /// The account, for ARNs to be checked against.
    pub account_id: &'a str,
    /// Its partition.
    pub partition: &'a str,
    /// The region of the bucket.
    pub region: &'a str,
    /// ARNs by which policies know the operator.
    pub operator: &'a [String],
}

impl Context<'_> {
    /// Names in a setting that we wrote earlier.
    fn earlier(&self, setting: SettingId) -> &[String] {
        self.earlier.get(setting.name()).map_or(&[], Vec::as_slice)
    }

    /// Of a setting whose parts have names: those that we wrote earlier and `names` has no more, and those of `names` that we have not
    /// written.
    fn dropped_and_fresh<'n>(
        &self,
        setting: SettingId,
        names: impl Iterator<Item = &'n String>,
    ) -> (Vec<String>, BTreeSet<String>) {
        let (names, earlier): (BTreeSet<_>, BTreeSet<_>) = (names.collect(), self.earlier(setting).iter().collect());
        let only = |these: &BTreeSet<&String>, those| these.difference(those).map(|name| (*name).clone()).collect::<Vec<_>>();
        (only(&earlier, &names), only(&names, &earlier).into_iter().collect())
    }
}

/// The API server must fill in no default inside a list, or a map that belongs to one applier as a whole: what is stored would differ
/// from what was applied, so that each `kubectl apply` changes it, and two appliers of the same object are in conflict.
pub(crate) fn without_default(schema: &mut schemars::Schema) {
    schema.remove("default");
}

/// Fields of an item that its type does not have. The API server keeps them (`x-kubernetes-preserve-unknown-fields`), so that the
/// operator can refuse the item: without a misspelled `conditions` or `filter` it would mean more than what was written, and the API server
/// reports a dropped field only to appliers that ask for strict validation.
pub type Unknown = BTreeMap<String, Value>;

/// What is wrong with an item that has `unknown` fields.
pub(crate) fn wrong_fields(unknown: &Unknown) -> Option<String> {
    let names: Vec<_> = unknown.keys().collect();
    (!names.is_empty())
        .then(|| format!("no such field: {}; correct or remove it (docs/api.md has all fields)", join_names(&names)))
}

/// Names of what is ours in settings that are shared with others (tags, rules, statements), by the setting's short name. The
/// status remembers them, so that what leaves the spec leaves the bucket, and what is foreign stays.
pub type Owned = BTreeMap<String, Vec<String>>;

/// A setting of a bucket.
pub trait Setting {
    /// What users write. Omitted is `None`.
    type Spec;
    /// What is wanted.
    type Desired;
    /// What AWS has; a setting that is not set at all is `None` to [`Setting::change`].
    type Live;
    /// What a write sends: complete, with what must be kept of the live setting.
    type Write;

    /// The field as users spell it; it begins every path of a diff.
    const FIELD: &'static str;
    /// The condition that tells about this setting.
    const PART: ConditionType;
    /// The IAM actions that it takes, on the bucket: the one that reads it, the one that writes it, and the one that deletes it where that
    /// has one of its own.
    const ACTIONS: &'static [&'static str];
    /// The sub-resource of the bucket that has it.
    const SUBRESOURCE: &'static str;
    /// What S3 answers where it is not set.
    const UNSET: Unset;
    /// What the documentation says of it.
    const DOCS: Docs;

    /// What is wanted; `None` leaves the setting alone. `Err` says what is wrong with the spec.
    fn desired(spec: Option<&Self::Spec>, context: &Context<'_>) -> Result<Option<Self::Desired>, String>;

    /// What a spec names or weakens that an account must allow: another bucket, a key, a role. It takes the spec apart field by field,
    /// without `..`, so that a new field is thought of.
    fn reaches(spec: &Self::Spec) -> Vec<Reach>;

    /// What S3 gives a new bucket; `None` where it is not set.
    fn of_new_bucket() -> Option<Self::Live>;

    /// What has to change in `live`; `None` when nothing.
    fn change(desired: &Self::Desired, live: Option<&Self::Live>) -> Option<Change<Self::Write>>;

    /// What a read answers after `write`; `None` where that unsets it.
    fn after(write: &Self::Write) -> Option<Self::Live>;

    /// A write, and how it goes over the wire in the words of AWS's API reference: tests compare.
    fn example() -> Example<Self::Write>;

    /// What in a write may be why AWS refused it, where AWS's own words name no field.
    fn hint(_: &Self::Write, _: &Problem) -> Option<String> {
        None
    }

    /// What of it is ours, where it is shared with others.
    fn owned(_: &Self::Desired) -> Vec<String> {
        Vec::new()
    }

    /// Takes what others have under names of the spec for ours: the bucket is adopted, and the changes are approved.
    fn adopt(_: &mut Self::Desired) {}
}

/// The places of a spec where settings stand.
pub struct Specs<'a> {
    /// At the top.
    pub spec: &'a SpecSettings,
    /// Under `bucket`.
    pub bucket: &'a BucketSettings,
}

/// A change of one setting.
#[derive(Clone, Debug, PartialEq)]
pub struct SettingChange {
    /// The setting.
    pub setting: SettingId,
    /// The fields that change.
    pub diffs: Vec<FieldDiff>,
    /// The protection that it takes from the bucket.
    pub weakens: Option<String>,
    /// What of others stands in its way.
    pub blocked: Option<String>,
    /// What others have under names of the spec.
    pub foreign: Vec<String>,
    /// Names that become ours by it.
    pub adds: Vec<String>,
    /// What to send.
    pub write: Write,
}

settings! {
    in bucket {
        public_access_block: PublicAccessBlock,
        ownership: Ownership,
        encryption: Encryption,
        /// Tags of the bucket in AWS. Other tags on it are left alone.
        #[schemars(schema_with = "tags::schema")]
        #[x_kube(validation = tags::sized())]
        #[x_kube(validation = tags::reserved())]
        #[x_kube(validation = tags::unlike())]
        tags: BucketTags,
        versioning: Versioning,
        object_lock: ObjectLock,
        acceleration: Acceleration,
        logging: Logging,
        request_payment: RequestPayment,
        lifecycle: Lifecycle,
        intelligent_tiering: IntelligentTiering,
        #[serde(flatten)]
        bucket_policy: BucketPolicy,
    }
    in spec {
        cors: Cors,
    }
}

impl SettingId {
    /// The field as users spell it.
    pub fn field(self) -> &'static str {
        self.facts().field
    }

    /// The last part of it, as `bucket.allowWeaker` and `management` name it.
    pub fn name(self) -> &'static str {
        let field = self.field();
        field.rsplit('.').next().unwrap_or(field)
    }

    /// The setting of this short name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|setting| setting.name() == name)
    }
}

impl Serialize for SettingId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
