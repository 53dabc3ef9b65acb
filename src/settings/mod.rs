//! Everything about the settings of a bucket, one file each, and the one list of them.
//!
//! A setting's file has its spec type (what users write), its live type (what AWS answers), the pure rule that compares
//! the two, its wire calls and its tests. To add one, write that file and add one line to `settings!` below: the API
//! type, the planner, the executor, the renderer, the status and the CLI take it from the list.
//!
//! The modules `wire` are the only code here that may touch AWS; they exist with the feature `operator` only.

pub mod acceleration;
pub mod bucket_policy;
pub mod cors;
pub mod encryption;
pub mod lifecycle;
pub mod logging;
pub mod object_lock;
pub mod ownership;
pub mod public_access_block;
pub mod reach;
pub mod reserved;
pub mod tags;
pub mod versioning;

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::conditions::ConditionType;
use crate::problem::{Problem, listed};
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
    (!names.is_empty()).then(|| format!("no such field: {}; correct or remove it (docs/api.md has all fields)", listed(&names)))
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
    /// The IAM actions that reading and writing it takes, on the bucket.
    const ACTIONS: &'static [&'static str];

    /// What is wanted; `None` leaves the setting alone. `Err` says what is wrong with the spec.
    fn desired(spec: Option<&Self::Spec>, context: &Context<'_>) -> Result<Option<Self::Desired>, String>;

    /// What to send to a bucket that was created a moment ago, with S3's defaults for new buckets and our tags; `None` when that
    /// is what is wanted already.
    fn on_new_bucket(desired: &Self::Desired) -> Option<Change<Self::Write>>;

    /// What a spec names or weakens that an account must allow. It takes the spec apart field by field, so that a new field is thought of.
    fn reaches(spec: &Self::Spec) -> Vec<Reach>;

    /// What has to change in `live`; `None` when nothing.
    fn change(desired: &Self::Desired, live: Option<&Self::Live>) -> Option<Change<Self::Write>>;

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

/// A write, and what it changes.
#[derive(Clone, Debug, PartialEq)]
pub struct Change<W> {
    /// The fields that change.
    pub diffs: Vec<FieldDiff>,
    /// What to send.
    pub write: W,
    /// The protection that it takes from the bucket, such as "turns blockPublicAcls off": done only where `bucket.allowWeaker`
    /// names the setting.
    pub weakens: Option<String>,
    /// What of others stands in its way, so that it cannot be done.
    pub blocked: Option<String>,
    /// What others have under names of the spec, by path: it is left as it is.
    pub foreign: Vec<String>,
    /// Names that the write adds, where the setting is shared with others: these become ours.
    pub adds: Vec<String>,
}

impl<W> Change<W> {
    /// A change of some fields; `None` where there are none.
    pub fn of(diffs: Vec<FieldDiff>, write: W) -> Option<Self> {
        (!diffs.is_empty()).then_some(Self::new(diffs, write))
    }

    fn new(diffs: Vec<FieldDiff>, write: W) -> Self {
        Self { diffs, write, weakens: None, blocked: None, foreign: Vec::new(), adds: Vec::new() }
    }

    /// A change of one whole field.
    pub fn whole(path: &str, live: Option<Value>, desired: Option<Value>, write: W) -> Self {
        Self::new(vec![FieldDiff::new(path, live, desired)], write)
    }

    /// The same, marked as taking protection away where `weakens` says which.
    pub fn weakening(self, weakens: Option<String>) -> Self {
        Self { weakens, ..self }
    }
}

/// One field that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FieldDiff {
    /// Which field, as the spec spells it where it can.
    pub path: String,
    /// What is there; `None` when nothing.
    pub live: Option<Value>,
    /// What should be there; `None` when nothing.
    pub desired: Option<Value>,
}

impl FieldDiff {
    /// A field that differs.
    pub fn new(path: impl Into<String>, live: Option<Value>, desired: Option<Value>) -> Self {
        Self { path: path.into(), live, desired }
    }

    /// For people: what is there and what should be, as JSON, each cut to `length` characters.
    pub fn shown(&self, length: usize) -> [String; 2] {
        [&self.live, &self.desired].map(|value| {
            let text = value.as_ref().map_or_else(|| "(none)".to_owned(), Value::to_string);
            match text.char_indices().nth(length) {
                Some((end, _)) => format!("{}…", &text[..end]),
                None => text,
            }
        })
    }
}

/// The answer to one read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Reading<T> {
    /// Nobody asked.
    #[default]
    NotLooked,
    /// It is not set.
    Unset,
    /// It is set to this.
    Set(T),
    /// It could not be read. Never taken for "unset".
    Unreadable(Problem),
}

impl<T> Reading<T> {
    /// What it is set to, where it is.
    pub fn set(&self) -> Option<&T> {
        match self {
            Self::Set(value) => Some(value),
            Self::NotLooked | Self::Unset | Self::Unreadable(_) => None,
        }
    }
}

/// Declares the settings, in the order in which they are written to a bucket.
macro_rules! settings {
    ($(in $group:ident { $($(#[$doc:meta])* $name:ident: $variant:ident,)* })*) => {
        $(settings!(@spec $group { $($(#[$doc])* $name: $variant,)* });)*

        /// What is wanted of each setting; `None` is left alone.
        #[derive(Clone, Debug, Default, PartialEq, Serialize)]
        #[allow(missing_docs)]
        pub struct Desired { $($(pub $name: Option<<$name::$variant as Setting>::Desired>,)*)* }

        /// What AWS answered for each setting.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        #[allow(missing_docs)]
        pub struct Live { $($(pub $name: Reading<<$name::$variant as Setting>::Live>,)*)* }

        impl Live {
            /// The reads that failed.
            pub fn problems(&self) -> Vec<Problem> {
                let mut problems = Vec::new();
                $($(
                    if let Reading::Unreadable(problem) = &self.$name {
                        problems.push(problem.clone());
                    }
                )*)*
                problems
            }
        }

        /// The field of every setting, and the IAM actions that it takes.
        pub const ACTIONS: &[(&str, &[&str])] =
            &[$($((<$name::$variant as Setting>::FIELD, <$name::$variant as Setting>::ACTIONS),)*)*];

        /// A write to one setting.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs)]
        pub enum Write { $($($variant(<$name::$variant as Setting>::Write),)*)* }

        impl Write {
            /// What in it may be why AWS refused it.
            pub fn hint(&self, problem: &Problem) -> Option<String> {
                match self {
                    $($(Self::$variant(write) => <$name::$variant as Setting>::hint(write, problem),)*)*
                }
            }
        }

        impl Specs<'_> {
            /// What the settings name or weaken that an account must allow.
            pub fn reaches(&self) -> Vec<Reach> {
                let mut reaches = Vec::new();
                $($(reaches.extend(self.$group.$name.iter().flat_map(<$name::$variant as Setting>::reaches));)*)*
                reaches
            }
        }

        impl Desired {
            /// How many settings are managed: each takes one call to read.
            pub fn asked(&self) -> usize {
                [$($(self.$name.is_some(),)*)*].into_iter().filter(|managed| *managed).count()
            }

            /// What is wanted by a spec; problems with it go to `errors` as (field, text).
            pub fn resolve(specs: &Specs<'_>, context: &Context<'_>, errors: &mut Vec<(String, String)>) -> Self {
                let mut desired = Self::default();
                $($(
                    match <$name::$variant as Setting>::desired(specs.$group.$name.as_ref(), context) {
                        Ok(value) => desired.$name = value,
                        Err(text) => errors.push((<$name::$variant as Setting>::FIELD.to_owned(), text)),
                    }
                )*)*
                desired
            }

            /// The IAM actions that managing it takes, on the bucket.
            pub fn actions(&self) -> Vec<&'static str> {
                let mut actions = Vec::new();
                $($(
                    if self.$name.is_some() {
                        actions.extend_from_slice(<$name::$variant as Setting>::ACTIONS);
                    }
                )*)*
                actions
            }

            /// Leaves those settings alone whose field `ignored` names. Tags are looked at all the same: they tell whose a bucket is.
            pub fn ignore(&mut self, ignored: impl Fn(&str) -> bool) {
                $($(
                    let field = <$name::$variant as Setting>::FIELD;
                    if field != <tags::BucketTags as Setting>::FIELD && ignored(field) {
                        self.$name = None;
                    }
                )*)*
            }

            /// What to send to a bucket that was created a moment ago.
            pub fn on_new_bucket(&self) -> Vec<SettingChange> {
                let mut changes = Vec::new();
                $($(
                    if let Some(change) = self.$name.as_ref().and_then(<$name::$variant as Setting>::on_new_bucket) {
                        changes.push(settings!(@change $name $variant change));
                    }
                )*)*
                changes
            }

            /// The same for a bucket that is adopted: what others have under names of the spec is replaced.
            pub fn adopting(&self) -> Self {
                let mut desired = self.clone();
                $($(
                    if let Some(desired) = &mut desired.$name {
                        <$name::$variant as Setting>::adopt(desired);
                    }
                )*)*
                desired
            }

            /// What is ours in the managed settings that are shared with others: short name, condition, names.
            pub fn owned(&self) -> Vec<(&'static str, ConditionType, Vec<String>)> {
                let mut owned = Vec::new();
                $($(
                    if let Some(desired) = &self.$name {
                        let names = <$name::$variant as Setting>::owned(desired);
                        owned.push((short_name(<$name::$variant as Setting>::FIELD), <$name::$variant as Setting>::PART, names));
                    }
                )*)*
                owned
            }

            /// What is wanted of the managed settings: short name, and the same value for the same wish.
            pub fn wanted(&self) -> Vec<(&'static str, Value)> {
                let mut wanted = Vec::new();
                $($(
                    if let Some(desired) = &self.$name {
                        wanted.push((short_name(<$name::$variant as Setting>::FIELD), serde_json::json!(desired)));
                    }
                )*)*
                wanted
            }

            /// What has to change in `live`, and what could not be read, by field.
            pub fn changes(&self, live: &Live) -> (Vec<SettingChange>, Vec<(&'static str, ConditionType, Problem)>) {
                let (mut changes, mut unread) = (Vec::new(), Vec::new());
                $($(
                    if let Some(desired) = &self.$name {
                        let change = match &live.$name {
                            Reading::NotLooked => None,
                            Reading::Unset => <$name::$variant as Setting>::change(desired, None),
                            Reading::Set(live) => <$name::$variant as Setting>::change(desired, Some(live)),
                            Reading::Unreadable(problem) => {
                                let (field, part) = (<$name::$variant as Setting>::FIELD, <$name::$variant as Setting>::PART);
                                unread.push((field, part, problem.clone()));
                                None
                            }
                        };
                        changes.extend(change.map(|change| settings!(@change $name $variant change)));
                    }
                )*)*
                (changes, unread)
            }
        }

        impl Live {
            /// The same with only the managed settings, as one reading of the bucket gives it.
            pub fn managed(&self, desired: &Desired) -> Self {
                Self { $($($name: desired.$name.as_ref().map_or(Reading::NotLooked, |_| self.$name.clone()),)*)* }
            }
        }

        #[cfg(feature = "operator")]
        mod wires {
            use super::*;
            use crate::sdk::BucketCalls;

            /// Reads each managed setting, all in parallel.
            pub async fn read(bucket: &BucketCalls<'_>, desired: &Desired) -> Live {
                $($(
                    let $name = async {
                        match &desired.$name {
                            None => Reading::NotLooked,
                            Some(_) => match $name::wire::read(bucket).await {
                                Ok(Some(live)) => Reading::Set(live),
                                Ok(None) => Reading::Unset,
                                Err(problem) => Reading::Unreadable(problem),
                            },
                        }
                    };
                )*)*
                let ($($($name,)*)*) = futures::join!($($($name,)*)*);
                Live { $($($name,)*)* }
            }

            /// Reads the versioning of a bucket of which it is not managed.
            pub async fn read_versioning(bucket: &BucketCalls<'_>) -> Reading<String> {
                match versioning::wire::read(bucket).await {
                    Ok(Some(live)) => Reading::Set(live),
                    Ok(None) => Reading::Unset,
                    Err(problem) => Reading::Unreadable(problem),
                }
            }

            /// Sends one write.
            pub async fn write(bucket: &BucketCalls<'_>, write: &Write) -> Result<(), Problem> {
                match write {
                    $($(Write::$variant(write) => $name::wire::write(bucket, write).await,)*)*
                }
            }
        }
        #[cfg(feature = "operator")]
        pub use wires::{read, read_versioning, write};
    };
    (@spec spec { $($(#[$doc:meta])* $name:ident: $variant:ident,)* }) => {
        /// Settings that stand at the top of the spec.
        #[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
        #[serde(rename_all = "camelCase")]
        #[allow(missing_docs)]
        pub struct SpecSettings { $($(#[$doc])* #[serde(default, skip_serializing_if = "Option::is_none")] pub $name: Option<<$name::$variant as Setting>::Spec>,)* }
    };
    (@spec bucket { $($(#[$doc:meta])* $name:ident: $variant:ident,)* }) => {
        /// Settings that stand under `bucket`.
        #[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
        #[serde(rename_all = "camelCase")]
        #[allow(missing_docs)]
        pub struct BucketSettings { $($(#[$doc])* #[serde(default, skip_serializing_if = "Option::is_none")] pub $name: Option<<$name::$variant as Setting>::Spec>,)* }
    };
    (@change $name:ident $variant:ident $change:ident) => {
        SettingChange {
            field: <$name::$variant as Setting>::FIELD,
            part: <$name::$variant as Setting>::PART,
            diffs: $change.diffs,
            weakens: $change.weakens,
            blocked: $change.blocked,
            foreign: $change.foreign,
            adds: $change.adds,
            write: Write::$variant($change.write),
        }
    };
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
    /// The setting's field.
    pub field: &'static str,
    /// The condition that tells about it.
    pub part: ConditionType,
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
        lifecycle: Lifecycle,
        #[serde(flatten)]
        bucket_policy: BucketPolicy,
    }
    in spec {
        cors: Cors,
    }
}

/// The last part of a setting's field, as `bucket.allowWeaker` and `management` name it.
pub fn short_name(field: &str) -> &str {
    field.rsplit('.').next().unwrap_or(field)
}

/// Diffs of two maps, one for each key that differs.
pub(crate) fn map_diffs(path: &str, live: &BTreeMap<String, String>, desired: &BTreeMap<String, String>) -> Vec<FieldDiff> {
    let keys: std::collections::BTreeSet<_> = live.keys().chain(desired.keys()).collect();
    keys.into_iter()
        .filter(|key| live.get(*key) != desired.get(*key))
        .map(|key| {
            let value = |map: &BTreeMap<String, String>| map.get(key).map(|v| Value::String(v.clone()));
            FieldDiff::new(format!("{path}[{key}]"), value(live), value(desired))
        })
        .collect()
}
