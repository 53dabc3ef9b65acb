//! Everything about the settings of a bucket, one file each, and the list of them.
//!
//! The file of a setting has its spec type (what users write), its live type (what AWS returns), the pure rule that
//! compares the two, what an account must allow, its wire calls, its documentation and its tests. To add a setting,
//! write that file and add two lines here: the module, and its place in `settings!`. The API type, the planner, the
//! executor, the renderer, the status, the CLI, the documentation and the tests for all settings use the list.
//!
//! The modules `wire` are the only code here that may call AWS; they exist only with the feature `operator`.

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
use crate::vocabulary::narrowing::Loss;
use crate::vocabulary::problem::{Problem, join_names};
pub use change::{Change, FieldDiff, Imported, Reading};
pub(crate) use change::{map_diffs, object_diffs};
pub use facts::{Docs, Example, Facts, Unset};
use list::settings;
use reach::Reach;

/// The context in which a setting resolves its part of a spec into the desired state.
pub struct Context<'a> {
    /// The preset's CORS rules.
    pub preset_cors: Option<Vec<cors::CorsRule>>,
    /// The preset's statements of the bucket policy.
    pub preset_statements: &'a [bucket_policy::BucketStatement],
    /// The tags that name the owner of the bucket.
    pub marks: &'a tags::Tags,
    /// What the operator wrote earlier in settings that also have foreign parts, by the setting's short name.
    pub earlier: &'a Owned,
    /// ARN of the bucket.
    pub bucket_arn: &'a str,
    /// The account id, to check ARNs.
    pub account_id: &'a str,
    /// Its partition.
    pub partition: &'a str,
    /// The region of the bucket.
    pub region: &'a str,
    /// ARNs by which policies can name the operator.
    pub operator: &'a [String],
}

impl Context<'_> {
    /// Names in a setting that the operator wrote earlier.
    fn earlier(&self, setting: SettingId) -> &[String] {
        self.earlier.get(setting.name()).map_or(&[], Vec::as_slice)
    }

    /// For a setting with named parts: names that the operator wrote earlier and that are no longer in `names`, and
    /// those of `names` that it has not written yet.
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

/// The API server must not fill in a default inside a list, or inside a map that belongs to one applier as a whole.
/// Otherwise the stored value would differ from the applied one: each `kubectl apply` would change it, and two appliers
/// of the same object would conflict.
pub(crate) fn without_default(schema: &mut schemars::Schema) {
    schema.remove("default");
}

/// Unknown fields of an item. The API server keeps them (`x-kubernetes-preserve-unknown-fields`), so that the operator
/// can refuse the item. Without a misspelled `conditions` or `filter` the item would mean more than its author wrote,
/// and the API server reports a dropped field only to appliers that ask for strict validation.
pub type Unknown = BTreeMap<String, Value>;

/// The error in an item that has `unknown` fields.
pub(crate) fn wrong_fields(unknown: &Unknown) -> Option<String> {
    let names: Vec<_> = unknown.keys().collect();
    (!names.is_empty())
        .then(|| format!("no such field: {}; correct or remove it (docs/api.md has all fields)", join_names(&names)))
}

/// Names of what is managed in settings that also have foreign parts (tags, rules, statements), by the setting's short
/// name. The status records them, so that the operator removes from the bucket what is removed from the spec, and keeps
/// what is foreign.
pub type Owned = BTreeMap<String, Vec<String>>;

/// A setting of a bucket.
pub trait Setting {
    /// What users write; `None` if omitted.
    type Spec;
    /// The desired state.
    type Desired;
    /// What AWS returns; [`Setting::change`] receives `None` if the setting is not set.
    type Live;
    /// What a write sends: the complete setting, including what must be kept of the live one.
    type Write;

    /// The field as users spell it; the prefix of every path in a diff.
    const FIELD: &'static str;
    /// The condition that reports this setting.
    const PART: ConditionType;
    /// The IAM actions that it needs on the bucket: one to read, one to write, and one to delete if deletion needs
    /// another action.
    const ACTIONS: &'static [&'static str];
    /// The sub-resource of the bucket.
    const SUBRESOURCE: &'static str;
    /// What S3 answers if it is not set.
    const UNSET: Unset;
    /// What the documentation says about it.
    const DOCS: Docs;

    /// The desired state; `None` leaves the setting as it is. `Err` describes the error in the spec.
    fn desired(spec: Option<&Self::Spec>, context: &Context<'_>) -> Result<Option<Self::Desired>, String>;

    /// What a spec names or weakens that an account must allow: another bucket, a key, a role. Implementations
    /// destructure the spec without `..`, so that the author of a new field must think of it.
    fn reaches(spec: &Self::Spec) -> Vec<Reach>;

    /// The value of a new bucket; `None` if it is not set.
    fn of_new_bucket() -> Option<Self::Live>;

    /// The change that `live` needs; `None` if there is none.
    fn change(desired: &Self::Desired, live: Option<&Self::Live>) -> Option<Change<Self::Write>>;

    /// What a read returns after `write`; `None` if the write unsets the setting.
    fn after(write: &Self::Write) -> Option<Self::Live>;

    /// A write, and its form on the wire according to AWS's API reference: tests compare them.
    fn example() -> Example<Self::Write>;

    /// The part of a write that could be why AWS refused it, if AWS's error names no field.
    fn hint(_: &Self::Write, _: &Problem) -> Option<String> {
        None
    }

    /// The spec that describes `live`, and what of it no spec can express.
    fn imported(live: &Self::Live) -> Imported<Self::Spec>;

    /// The names that are managed, if the setting also has foreign parts.
    fn owned(_: &Self::Desired) -> Vec<String> {
        Vec::new()
    }

    /// Makes foreign parts with names that the spec lists managed: the bucket is adopted, and the changes are approved.
    fn adopt(_: &mut Self::Desired) {}
}

/// The parts of a spec that contain settings.
pub struct Specs<'a> {
    /// Settings at the top.
    pub spec: &'a SpecSettings,
    /// Settings under `bucket`.
    pub bucket: &'a BucketSettings,
}

/// A change of one setting.
#[derive(Clone, Debug, PartialEq)]
pub struct SettingChange {
    /// The setting.
    pub setting: SettingId,
    /// The fields that change.
    pub diffs: Vec<FieldDiff>,
    /// The protection that it removes from the bucket.
    pub weakens: Option<String>,
    /// The access that it takes away by changing statements of the bucket policy.
    pub losses: Vec<Loss>,
    /// The foreign configuration that blocks it.
    pub blocked: Option<String>,
    /// Foreign parts with names that the spec lists.
    pub foreign: Vec<String>,
    /// Names that become managed by it.
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

    /// The setting with this short name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|setting| setting.name() == name)
    }
}

impl Serialize for SettingId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
