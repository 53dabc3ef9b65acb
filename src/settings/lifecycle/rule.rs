//! One lifecycle rule: as users write it, and as it is stored.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::settings::wrong_fields;

/// Storage classes that objects can move to (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_Transition.html>).
/// AWS adds classes, so the operator sends others too.
pub(super) const STORAGE_CLASSES: [&str; 6] =
    ["STANDARD_IA", "INTELLIGENT_TIERING", "ONEZONE_IA", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE"];

/// One lifecycle rule. It has at least one of expiration, noncurrentVersionExpiration, transitions, noncurrentVersionTransitions
/// and abortIncompleteMultipartUpload.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[x_kube(validation = Rule::new("has(self.expiration) || has(self.noncurrentVersionExpiration) || has(self.transitions) || has(self.noncurrentVersionTransitions) || has(self.abortIncompleteMultipartUpload)").message("a lifecycle rule needs at least one of expiration, noncurrentVersionExpiration, transitions, noncurrentVersionTransitions and abortIncompleteMultipartUpload"))]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct LifecycleRule {
    /// Identifies the rule within the bucket, and distinguishes it from foreign rules, which are left as they are.
    #[schemars(length(min = 1, max = 255))]
    pub id: String,
    /// Enabled (default) or Disabled.
    #[serde(default)]
    #[schemars(transform = crate::settings::without_default)]
    pub status: RuleStatus,
    /// The objects that the rule is for. Omitted: all of them.
    #[serde(default, skip_serializing_if = "Filter::is_empty")]
    pub filter: Filter,
    /// When objects expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiration: Option<Expiration>,
    /// When noncurrent versions expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noncurrent_version_expiration: Option<NoncurrentVersionExpiration>,
    /// When objects move to other storage classes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub transitions: Vec<Transition>,
    /// When versions that are not the current one go to other storage classes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20))]
    pub noncurrent_version_transitions: Vec<NoncurrentVersionTransition>,
    /// When unfinished uploads are deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort_incomplete_multipart_upload: Option<AbortIncompleteMultipartUpload>,
    /// Unknown fields.
    #[serde(flatten)]
    #[schemars(skip)]
    pub unknown: crate::settings::Unknown,
}

/// Whether a rule is in effect.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[allow(missing_docs, reason = "each name says it, and docs on a variant would change its schema")]
pub enum RuleStatus {
    #[default]
    Enabled,
    Disabled,
}

/// The objects that a rule is for: those that meet all of this.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct Filter {
    /// Prefix of their keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub prefix: Option<String>,
    /// Tags that they have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::settings::tags::schema")]
    #[x_kube(validation = Rule::new("self.all(key, size(key) >= 1 && size(key) <= 128)").message("tags have keys of 1 to 128 characters"))]
    pub tags: BTreeMap<String, String>,
    /// Minimum size, exclusive, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000_000_000_000_i64))]
    pub object_size_greater_than: Option<i64>,
    /// Maximum size, exclusive, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000_000_000_i64))]
    pub object_size_less_than: Option<i64>,
    /// Unknown fields.
    #[serde(flatten)]
    #[schemars(skip)]
    pub unknown: crate::settings::Unknown,
}

impl Filter {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn criteria(&self) -> usize {
        let others = [self.prefix.is_some(), self.object_size_greater_than.is_some(), self.object_size_less_than.is_some()];
        self.tags.len() + others.into_iter().filter(|there| *there).count()
    }
}

/// When objects expire: one of the three.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[x_kube(validation = Rule::new("[has(self.days), has(self.date), has(self.expiredObjectDeleteMarker)].exists_one(there, there)").message("expiration needs exactly one of days, date and expiredObjectDeleteMarker"))]
#[serde(rename_all = "camelCase")]
pub struct Expiration {
    /// Number of days after the object was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub days: Option<i32>,
    /// Date, such as 2030-01-01, at midnight UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(T00:00:00(\.0+)?Z)?$"))]
    pub date: Option<String>,
    /// Deletes delete markers that have no other versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expired_object_delete_marker: Option<bool>,
}

/// When noncurrent versions expire.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NoncurrentVersionExpiration {
    /// Number of days after the version became noncurrent.
    #[schemars(required, range(min = 1, max = 1_000_000_000))]
    pub noncurrent_days: Option<i32>,
    /// Number of the newest noncurrent versions to keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub newer_noncurrent_versions: Option<i32>,
}

/// When objects move to another storage class.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[x_kube(validation = Rule::new("has(self.days) != has(self.date)").message("a transition needs either days or date; for an immediate transition, set days: 0"))]
#[serde(rename_all = "camelCase")]
pub struct Transition {
    /// Number of days after the object was created; 0: immediately.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub days: Option<i32>,
    /// Date, such as 2030-01-01, at midnight UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(T00:00:00(\.0+)?Z)?$"))]
    pub date: Option<String>,
    /// The class, as S3 spells it: STANDARD_IA, INTELLIGENT_TIERING, ONEZONE_IA, GLACIER_IR, GLACIER, DEEP_ARCHIVE.
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Z_]+$"))]
    pub storage_class: String,
}

/// When noncurrent versions move to another storage class.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct NoncurrentVersionTransition {
    /// Number of days after the version became noncurrent.
    #[schemars(required, range(min = 0, max = 1_000_000_000))]
    pub noncurrent_days: Option<i32>,
    /// Number of the newest noncurrent versions to keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub newer_noncurrent_versions: Option<i32>,
    /// The class, as S3 spells it: STANDARD_IA, INTELLIGENT_TIERING, ONEZONE_IA, GLACIER_IR, GLACIER, DEEP_ARCHIVE.
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Z_]+$"))]
    pub storage_class: String,
}

/// When unfinished uploads are deleted.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AbortIncompleteMultipartUpload {
    /// Number of days after the upload was started.
    #[schemars(required, range(min = 1, max = 1_000_000_000))]
    pub days_after_initiation: Option<i32>,
}

impl LifecycleRule {
    /// Its error, beyond what the schema can express.
    pub(super) fn wrong(&self) -> Option<String> {
        let fields = wrong_fields(&self.unknown).or_else(|| Some(format!("filter: {}", wrong_fields(&self.filter.unknown)?)));
        fields.map(|text| format!("rule {}: {text}", self.id)).or_else(|| self.wrong_date())
    }

    /// Destructures the rule, so that the author of a new field must think of it: no field names anything outside the
    /// bucket.
    pub(super) fn reaches_nothing(&self) {
        let Self {
            id: _,
            status: _,
            filter: Filter { prefix: _, tags: _, object_size_greater_than: _, object_size_less_than: _, unknown: _ },
            expiration,
            noncurrent_version_expiration: expired,
            transitions,
            noncurrent_version_transitions: versions,
            abort_incomplete_multipart_upload: uploads,
            unknown: _,
        } = self;
        expiration.iter().for_each(|Expiration { days: _, date: _, expired_object_delete_marker: _ }| ());
        expired.iter().for_each(|NoncurrentVersionExpiration { noncurrent_days: _, newer_noncurrent_versions: _ }| ());
        transitions.iter().for_each(|Transition { days: _, date: _, storage_class: _ }| ());
        versions
            .iter()
            .for_each(|NoncurrentVersionTransition { noncurrent_days: _, newer_noncurrent_versions: _, storage_class: _ }| ());
        uploads.iter().for_each(|AbortIncompleteMultipartUpload { days_after_initiation: _ }| ());
    }

    /// A date that is not in the calendar: the schema checks only its digits.
    fn wrong_date(&self) -> Option<String> {
        let expiration = self.expiration.iter().map(|expiration| ("expiration", &expiration.date));
        let transitions = self.transitions.iter().map(|transition| ("transitions", &transition.date));
        // A date such as 0000-01-01, which no request can carry.
        let is_day = |date: &str| {
            let day = date.get(.."2030-01-01".len()).and_then(|day| day.parse::<jiff::civil::Date>().ok());
            day.is_some_and(|day| day.year() >= 1970)
        };
        let (field, date) = expiration
            .chain(transitions)
            .filter_map(|(field, date)| Some((field, date.as_ref()?)))
            .find(|(_, date)| !is_day(date))?;
        Some(format!("rule {}: {field}.date: {date} is not a date from 1970 on; use a date such as 2030-01-01", self.id))
    }

    /// A storage class of the rule that S3 is not known to accept.
    pub(super) fn unknown_class(&self) -> Option<&str> {
        let current = self.transitions.iter().map(|transition| &transition.storage_class);
        let mut all = current.chain(self.noncurrent_version_transitions.iter().map(|transition| &transition.storage_class));
        all.find(|class| !STORAGE_CLASSES.contains(&class.as_str())).map(String::as_str)
    }

    /// Why no spec can express a rule that AWS returned.
    pub(super) fn inexpressible(&self) -> Option<&'static str> {
        let acts = self.expiration.is_some()
            || self.noncurrent_version_expiration.is_some()
            || self.abort_incomplete_multipart_upload.is_some()
            || !(self.transitions.is_empty() && self.noncurrent_version_transitions.is_empty());
        match acts {
            _ if self.id.is_empty() => Some("it has no id"),
            false => Some("it has no action that the operator knows"),
            true => None,
        }
    }

    /// In a form in which equal values mean the same.
    pub(super) fn canonical(&self) -> Self {
        let mut rule = self.clone();
        rule.filter.prefix = rule.filter.prefix.filter(|prefix| !prefix.is_empty());
        let day = |date: &mut Option<String>| {
            // S3 accepts only midnight.
            if let Some(date) = date {
                date.truncate("2030-01-01".len());
            }
        };
        if let Some(expiration) = &mut rule.expiration {
            expiration.expired_object_delete_marker = expiration.expired_object_delete_marker.filter(|on| *on);
            day(&mut expiration.date);
        }
        for transition in &mut rule.transitions {
            day(&mut transition.date);
        }
        rule.transitions.sort_by_key(|t| (t.days, t.date.clone(), t.storage_class.clone()));
        rule.noncurrent_version_transitions.sort_by_key(|t| (t.noncurrent_days, t.storage_class.clone()));
        rule
    }
}

/// A rule as it is stored, so that a foreign rule is sent back exactly as it was read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredRule {
    /// The rule.
    pub rule: LifecycleRule,
    /// The form of its filter.
    pub form: Form,
    /// The keys of its filter's tags, in their order.
    #[serde(default)]
    pub tag_order: Vec<String>,
}

/// The forms in which a rule can select objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Form {
    /// No filter.
    Nowhere,
    /// The outdated form: a prefix on the rule instead of a filter.
    OnRule,
    /// A filter with one criterion, or none.
    Single,
    /// A filter with several criteria.
    And,
}

impl StoredRule {
    /// The form in which the operator writes a rule.
    pub fn of(rule: &LifecycleRule) -> Self {
        let form = if rule.filter.criteria() > 1 { Form::And } else { Form::Single };
        let mut rule = rule.clone();
        if rule.filter.is_empty() {
            // For all objects: servers treat an empty filter differently.
            rule.filter.prefix = Some(String::new());
        }
        let tag_order = rule.filter.tags.keys().cloned().collect();
        Self { rule, form, tag_order }
    }

    /// The tags of its filter, in their order.
    pub fn tags(&self) -> impl Iterator<Item = (&String, &String)> {
        self.tag_order.iter().filter_map(|key| self.rule.filter.tags.get_key_value(key))
    }
}
