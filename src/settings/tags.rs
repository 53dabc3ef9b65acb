//! Tags of the bucket. The operator manages the keys that the spec lists and the ownership tag; all other tags stay as
//! they are.
//!
//! Always managed, because the ownership tag distinguishes a managed bucket from a foreign one.

use std::collections::BTreeMap;

use kube::core::Rule;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::reach::{Need, Reach};
use super::{Change, Context, Docs, Example, FieldDiff, Imported, Setting, SettingId, Unset, map_diffs};
use crate::vocabulary::conditions::ConditionType;

/// Tags by key.
pub type Tags = BTreeMap<String, String>;

/// Prefix of the keys of all tags that the operator manages whatever the spec says.
pub const TAG_PREFIX: &str = "bucketconnection.dev/";

/// The tags of a bucket, in their own order, in which foreign tags are sent back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StoredTags {
    tags: Tags,
    order: Vec<String>,
}

impl StoredTags {
    /// `tags` in the order of these: existing keys keep their place, new ones are appended.
    pub fn replaced(&self, tags: Tags) -> Self {
        let stay = self.order.iter().filter(|key| tags.contains_key(*key));
        let new = tags.keys().filter(|key| !self.contains_key(*key));
        let order = stay.chain(new).cloned().collect();
        Self { tags, order }
    }

    /// The tags in their order.
    pub fn in_order(&self) -> impl Iterator<Item = (&String, &String)> {
        self.order.iter().filter_map(|key| self.get_key_value(key))
    }
}

impl std::ops::Deref for StoredTags {
    type Target = Tags;

    fn deref(&self) -> &Tags {
        &self.tags
    }
}

impl FromIterator<(String, String)> for StoredTags {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(tags: I) -> Self {
        let (order, tags) = tags.into_iter().map(|(key, value)| (key.clone(), (key, value))).unzip();
        Self { tags, order }
    }
}

impl From<Tags> for StoredTags {
    fn from(tags: Tags) -> Self {
        tags.into_iter().collect()
    }
}

/// The setting.
pub struct BucketTags;

/// The most tags of a spec.
const MOST: usize = 40;

/// At most 40 tags, so that with the operator's and foreign tags the total stays below AWS's limit of 50; values of up
/// to 256 characters. Atomic: otherwise server-side apply would make a map null when its last entry is removed, and
/// then refuse it.
pub(crate) fn schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "x-kubernetes-map-type": "atomic",
        "maxProperties": MOST,
        "additionalProperties": { "type": "string", "maxLength": 256 },
    })
}

/// A rule of the schema of tags: the maximum length of keys.
pub(crate) fn sized() -> Rule {
    Rule::new("self.all(key, size(key) >= 1 && size(key) <= 128)").message("tags have keys of 1 to 128 characters")
}

/// A rule of the schema of tags: the keys that specs must not use. IAM ignores the case of keys.
pub(crate) fn reserved() -> Rule {
    Rule::new("self.all(key, !key.lowerAscii().startsWith('aws:') && !key.lowerAscii().startsWith('bucketconnection.dev/'))")
        .message("the keys of tags must not begin with aws: or bucketconnection.dev/, in any case")
}

/// A rule of the schema of tags: IAM treats keys that differ only in case as the same key.
pub(crate) fn unlike() -> Rule {
    Rule::new("self.all(key, self.exists_one(other, other.lowerAscii() == key.lowerAscii()))")
        .message("two keys of tags must not differ in case only")
}

/// The keys of tags; an account must allow each, because policies can depend on them.
pub(crate) fn reaches(field: &str, tags: &Tags) -> Vec<Reach> {
    tags.keys().map(|key| Reach::new(field, Need::Tag(key.clone()))).collect()
}

/// The tags that a spec can have, and what is left out: reserved keys without a word, the others with the cause.
pub fn imported(live: &Tags) -> (Tags, Vec<String>) {
    let lower = |key: &String| key.to_lowercase();
    let reserved = |key: &String| ["aws:", TAG_PREFIX].iter().any(|prefix| lower(key).starts_with(prefix));
    let (mut tags, mut lost) = (Tags::new(), Vec::new());
    for (key, value) in live.iter().filter(|(key, _)| !reserved(key)) {
        if live.keys().any(|other| other != key && lower(other) == lower(key)) {
            lost.push(format!("tag {key}: another key differs from it in case only"));
        } else if tags.len() == MOST {
            lost.push(format!("tag {key}: a spec has at most {MOST} tags"));
        } else {
            tags.insert(key.clone(), value.clone());
        }
    }
    (tags, lost)
}

/// The desired tags.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DesiredTags {
    /// The managed tags, including those that name the owner.
    pub ours: Tags,
    /// Keys that were managed and are removed.
    #[serde(skip)]
    pub dropped: Vec<String>,
}

impl DesiredTags {
    /// The tags of the spec, the `marks` that name the owner, and the keys of earlier specs. A mark is never dropped.
    pub fn new(spec: &Tags, marks: &Tags, earlier: &[String]) -> Self {
        let ours: Tags = spec.iter().chain(marks).map(|(key, value)| (key.clone(), value.clone())).collect();
        let gone = |key: &&String| !ours.contains_key(*key) && !key.starts_with(TAG_PREFIX);
        let dropped = earlier.iter().filter(gone).cloned().collect();
        Self { ours, dropped }
    }

    /// `live` with the managed tags set and the dropped ones removed; foreign ones are kept.
    pub fn merged(&self, live: &Tags) -> Tags {
        let mut merged = live.clone();
        merged.retain(|key, _| !self.dropped.contains(key));
        merged.extend(self.ours.clone());
        merged
    }

    /// The differences in `live`.
    pub fn diffs(&self, path: &str, live: &Tags) -> Vec<FieldDiff> {
        map_diffs(path, live, &self.merged(live))
    }
}

impl Setting for BucketTags {
    type Spec = Tags;
    type Desired = DesiredTags;
    type Live = StoredTags;
    type Write = StoredTags;

    const FIELD: &'static str = "bucket.tags";
    const PART: ConditionType = ConditionType::BucketReady;
    const ACTIONS: &'static [&'static str] = &["s3:GetBucketTagging", "s3:PutBucketTagging"];
    const SUBRESOURCE: &'static str = "tagging";
    const UNSET: Unset = Unset::Code("NoSuchTagSet");
    const DOCS: Docs =
        Docs { purpose: "tags; the ownership tag names the owner of the bucket", weaker: "", kept: "tags with other keys" };

    fn desired(spec: Option<&Tags>, context: &Context<'_>) -> Result<Option<DesiredTags>, String> {
        let none = Tags::new();
        Ok(Some(DesiredTags::new(spec.unwrap_or(&none), context.marks, context.earlier(SettingId::BucketTags))))
    }

    fn reaches(spec: &Tags) -> Vec<Reach> {
        reaches(Self::FIELD, spec)
    }

    fn of_new_bucket() -> Option<StoredTags> {
        None
    }

    fn change(desired: &DesiredTags, live: Option<&StoredTags>) -> Option<Change<StoredTags>> {
        let none = StoredTags::default();
        let live = live.unwrap_or(&none);
        Change::of(desired.diffs(Self::FIELD, live), live.replaced(desired.merged(live)))
    }

    fn after(write: &StoredTags) -> Option<StoredTags> {
        (!write.is_empty()).then(|| write.clone())
    }

    fn imported(live: &StoredTags) -> Imported<Tags> {
        let (tags, lost) = imported(live);
        Imported::part((!tags.is_empty()).then_some(tags), lost)
    }

    fn example() -> Example<StoredTags> {
        let tags = [("zeta", "z"), ("a b", "<&>")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        let body = "<Tagging><TagSet><Tag><Key>zeta</Key><Value>z</Value></Tag><Tag><Key>a b</Key><Value>&lt;&amp;&gt;</Value></Tag>\
            </TagSet></Tagging>";
        Example::new(tags.into_iter().collect(), body)
    }

    fn owned(desired: &DesiredTags) -> Vec<String> {
        desired.ours.keys().cloned().collect()
    }
}

#[cfg(feature = "operator")]
pub(super) mod wire {
    use aws_sdk_s3::types::{Tag, Tagging};

    use super::StoredTags;
    use crate::sdk::{BucketCalls, build, unset};
    use crate::vocabulary::problem::Problem;

    pub(crate) async fn read(b: &BucketCalls<'_>) -> Result<Option<StoredTags>, Problem> {
        let call = b.s3.get_bucket_tagging().bucket(b.name).expected_bucket_owner(b.account);
        let answer = b.sdk.call("s3:GetBucketTagging", call.send()).await;
        let set = unset(answer, &["NoSuchTagSet"])?;
        Ok(set.map(|tagging| tagging.tag_set.into_iter().map(|tag| (tag.key, tag.value)).collect()))
    }

    /// PutBucketTagging replaces the whole set, so `tags` includes the foreign tags.
    pub(crate) async fn write(b: &BucketCalls<'_>, tags: &StoredTags) -> Result<(), Problem> {
        const ACTION: &str = "s3:PutBucketTagging";
        if tags.is_empty() {
            let call = b.s3.delete_bucket_tagging().bucket(b.name).expected_bucket_owner(b.account);
            return b.sdk.call(ACTION, call.send()).await.map(drop);
        }
        let set = tags.in_order().map(|(key, value)| build(ACTION, Tag::builder().key(key).value(value).build()));
        let tagging = build(ACTION, Tagging::builder().set_tag_set(Some(set.collect::<Result<_, _>>()?)).build())?;
        let call = b.s3.put_bucket_tagging().bucket(b.name).expected_bucket_owner(b.account).tagging(tagging);
        b.sdk.call(ACTION, call.send()).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags<T: FromIterator<(String, String)>>(pairs: &[(&str, &str)]) -> T {
        pairs.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect()
    }

    #[test]
    fn foreign_tags_stay_and_dropped_ones_go() {
        let desired = DesiredTags::new(&tags(&[("team", "a")]), &tags(&[("owner", "me")]), &["team".into(), "old".into()]);
        let live = tags(&[("team", "b"), ("old", "x"), ("foreign", "y"), ("aws:cloudformation:stack-id", "z")]);
        let change = BucketTags::change(&desired, Some(&live)).unwrap();
        assert_eq!(change.write, tags(&[("team", "a"), ("foreign", "y"), ("aws:cloudformation:stack-id", "z"), ("owner", "me")]));
        let paths: Vec<_> = change.diffs.iter().map(|d| d.path.as_str()).collect();
        assert_eq!(paths, ["bucket.tags[old]", "bucket.tags[owner]", "bucket.tags[team]"]);
        assert_eq!(BucketTags::change(&desired, Some(&change.write)), None);
    }
}
