//! S3 Intelligent-Tiering: after how many days without access objects of that storage class move to its archive tiers.
//! An id identifies each configuration.
//!
//! Managed configurations are those that the operator wrote, as the sealed status records. Each is written and deleted
//! separately, so the operator never sends foreign ones. A foreign configuration with an id that the spec lists stays
//! as it is. <https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-intelligent-tiering.html>

use std::collections::{BTreeMap, BTreeSet};

use kube::KubeSchema;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::lifecycle::RuleStatus;
use super::reach::Reach;
use super::{Change, Context, Docs, Example, FieldDiff, Imported, Setting, SettingId, Unset, object_diffs, wrong_fields};
use crate::vocabulary::conditions::ConditionType;

const ARCHIVE: &str = "ARCHIVE_ACCESS";
const DEEP_ARCHIVE: &str = "DEEP_ARCHIVE_ACCESS";

/// Archive configurations of S3 Intelligent-Tiering, by id. Foreign configurations stay. Omitted: all are left as they
/// are.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq)]
pub struct IntelligentTieringSpec {
    /// The configurations. One that you remove from the list is removed from the bucket; an empty list removes all that
    /// this list had, and no others.
    // Not a list-map: if a list-map becomes empty, server-side apply removes the field, and an omitted field means
    // "left as it is".
    #[schemars(length(max = 100))]
    #[x_kube(validation = Rule::new("self.all(one, self.exists_one(other, other.id == one.id))").message("each configuration of intelligentTiering needs an id of its own"))]
    pub configurations: Vec<TieringConfiguration>,
}

/// One configuration: which objects go to which archive tier, and when. Objects in an archive tier must be restored before they can be
/// read.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct TieringConfiguration {
    /// Identifies the configuration among all of the bucket.
    #[schemars(length(min = 1, max = 64))]
    pub id: String,
    /// Enabled (default) or Disabled.
    #[serde(default)]
    #[schemars(transform = crate::settings::without_default)]
    pub status: RuleStatus,
    /// The objects that the configuration is for. Omitted: all of them.
    #[serde(default, skip_serializing_if = "TieringFilter::is_empty")]
    pub filter: TieringFilter,
    /// The archive tiers, each at most once.
    #[schemars(length(min = 1, max = 2))]
    #[x_kube(validation = Rule::new("self.all(one, self.exists_one(other, other.accessTier == one.accessTier))").message("tierings has each accessTier at most once"))]
    pub tierings: Vec<Tiering>,
    /// Unknown fields.
    #[serde(flatten)]
    #[schemars(skip)]
    pub unknown: crate::settings::Unknown,
}

/// The objects that a configuration is for: those that meet all of this.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct TieringFilter {
    /// Prefix of their keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub prefix: Option<String>,
    /// Tags that they have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::settings::tags::schema")]
    #[x_kube(validation = crate::settings::tags::sized())]
    pub tags: BTreeMap<String, String>,
    /// Unknown fields.
    #[serde(flatten)]
    #[schemars(skip)]
    pub unknown: crate::settings::Unknown,
}

impl TieringFilter {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// When objects go to an archive tier.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.accessTier != 'DEEP_ARCHIVE_ACCESS' || self.days >= 180").message("accessTier DEEP_ARCHIVE_ACCESS needs days of at least 180"))]
pub struct Tiering {
    /// The tier, as S3 spells it: ARCHIVE_ACCESS or DEEP_ARCHIVE_ACCESS.
    #[schemars(schema_with = "tiers")]
    pub access_tier: String,
    /// Number of days without access: at least 90, for DEEP_ARCHIVE_ACCESS at least 180.
    #[schemars(range(min = 90, max = 730))]
    pub days: i32,
}

/// The tiers that S3 accepts, so that an error lists them. A foreign configuration may have tiers that AWS adds later.
fn tiers(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "enum": [ARCHIVE, DEEP_ARCHIVE] })
}

impl TieringConfiguration {
    /// Its error, beyond what the schema can express.
    fn wrong(&self) -> Option<String> {
        let fields = wrong_fields(&self.unknown).or_else(|| Some(format!("filter: {}", wrong_fields(&self.filter.unknown)?)));
        Some(format!("configuration {}: {}", self.id, fields?))
    }

    /// In a form in which equal values mean the same.
    fn canonical(&self) -> Self {
        let mut canonical = self.clone();
        canonical.filter.prefix.take_if(|prefix| prefix.is_empty());
        canonical.tierings.sort();
        canonical
    }
}

/// The setting.
pub struct IntelligentTiering;

/// The desired configurations.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DesiredTiering {
    /// The desired configurations.
    pub configurations: Vec<TieringConfiguration>,
    /// Ids of configurations that were managed and are removed.
    #[serde(skip)]
    pub dropped: Vec<String>,
    /// Ids of the spec that the operator has not written yet: an existing configuration with one of these ids is
    /// foreign.
    #[serde(skip)]
    pub fresh: BTreeSet<String>,
}

/// The configurations to send, by id.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TieringWrite {
    /// All configurations of the bucket after the write, including those that are not sent.
    pub configurations: BTreeMap<String, TieringConfiguration>,
    /// Ids of those to write.
    pub put: Vec<String>,
    /// Ids of those to delete.
    pub delete: Vec<String>,
}

impl Setting for IntelligentTiering {
    type Spec = IntelligentTieringSpec;
    type Desired = DesiredTiering;
    type Live = BTreeMap<String, TieringConfiguration>;
    type Write = TieringWrite;

    const FIELD: &'static str = "bucket.intelligentTiering";
    const PART: ConditionType = ConditionType::BucketReady;
    const ACTIONS: &'static [&'static str] = &["s3:GetIntelligentTieringConfiguration", "s3:PutIntelligentTieringConfiguration"];
    const SUBRESOURCE: &'static str = "intelligent-tiering";
    const UNSET: Unset = Unset::Empty("ListBucketIntelligentTieringConfigurationsOutput");
    const DOCS: Docs =
        Docs { purpose: "archive configurations of S3 Intelligent-Tiering", weaker: "", kept: "configurations with other ids" };

    fn desired(spec: Option<&IntelligentTieringSpec>, context: &Context<'_>) -> Result<Option<DesiredTiering>, String> {
        let Some(spec) = spec else { return Ok(None) };
        if let Some(wrong) = spec.configurations.iter().find_map(TieringConfiguration::wrong) {
            return Err(wrong);
        }
        let ids = spec.configurations.iter().map(|configuration| &configuration.id);
        let (dropped, fresh) = context.dropped_and_fresh(SettingId::IntelligentTiering, ids);
        Ok(Some(DesiredTiering { configurations: spec.configurations.clone(), dropped, fresh }))
    }

    /// Configurations affect only the objects of this bucket; foreign ones stay.
    fn reaches(spec: &IntelligentTieringSpec) -> Vec<Reach> {
        let IntelligentTieringSpec { configurations } = spec;
        for TieringConfiguration { id: _, status: _, filter, tierings, unknown: _ } in configurations {
            let TieringFilter { prefix: _, tags: _, unknown: _ } = filter;
            tierings.iter().for_each(|Tiering { access_tier: _, days: _ }| ());
        }
        Vec::new()
    }

    fn of_new_bucket() -> Option<Self::Live> {
        None
    }

    fn change(desired: &DesiredTiering, live: Option<&Self::Live>) -> Option<Change<TieringWrite>> {
        let mut write = TieringWrite { configurations: live.cloned().unwrap_or_default(), ..TieringWrite::default() };
        let (mut diffs, mut foreign, mut adds) = (Vec::new(), Vec::new(), Vec::new());
        for id in &desired.dropped {
            if let Some(there) = write.configurations.remove(id) {
                diffs.push(FieldDiff::new(path(id), Some(json!(there)), None));
                write.delete.push(id.clone());
            }
        }
        for wanted in &desired.configurations {
            let id = &wanted.id;
            match write.configurations.get(id).map(TieringConfiguration::canonical) {
                Some(there) if there == wanted.canonical() => continue,
                Some(_) if desired.fresh.contains(id) => {
                    foreign.push(path(id));
                    continue;
                }
                Some(there) => diffs.extend(object_diffs(&path(id), &json!(there), &json!(wanted.canonical()))),
                None => {
                    diffs.push(FieldDiff::new(path(id), None, Some(json!(wanted))));
                    adds.push(id.clone());
                }
            }
            write.put.push(id.clone());
            write.configurations.insert(id.clone(), wanted.clone());
        }
        let any = !(diffs.is_empty() && foreign.is_empty());
        any.then(|| Change { foreign, adds, ..Change::new(diffs, write) })
    }

    fn after(write: &TieringWrite) -> Option<Self::Live> {
        (!write.configurations.is_empty()).then(|| write.configurations.clone())
    }

    fn imported(live: &Self::Live) -> Imported<IntelligentTieringSpec> {
        let known = |one: &&TieringConfiguration| {
            one.tierings.iter().all(|tiering| [ARCHIVE, DEEP_ARCHIVE].contains(&&*tiering.access_tier))
        };
        let (fit, other): (Vec<_>, Vec<_>) = live.values().partition(known);
        let lost = other.iter().map(|one| format!("configuration {}: a tier that the operator does not know", one.id)).collect();
        let configurations: Vec<_> = fit.into_iter().map(TieringConfiguration::canonical).collect();
        Imported::part((!configurations.is_empty()).then_some(IntelligentTieringSpec { configurations }), lost)
    }

    fn example() -> Example<TieringWrite> {
        let cold = TieringConfiguration {
            id: "cold".to_owned(),
            filter: TieringFilter { prefix: Some("runs/".to_owned()), ..TieringFilter::default() },
            tierings: vec![Tiering { access_tier: ARCHIVE.to_owned(), days: 90 }],
            ..TieringConfiguration::default()
        };
        let (configurations, put) = (BTreeMap::from([(cold.id.clone(), cold)]), vec!["cold".to_owned()]);
        Example {
            write: TieringWrite { configurations, put, delete: Vec::new() },
            body: "<IntelligentTieringConfiguration><Id>cold</Id><Filter><Prefix>runs/</Prefix></Filter><Status>Enabled</Status>\
                <Tiering><Days>90</Days><AccessTier>ARCHIVE_ACCESS</AccessTier></Tiering></IntelligentTieringConfiguration>",
            answer: "<ListBucketIntelligentTieringConfigurationsOutput><IsTruncated>false</IsTruncated><IntelligentTieringConfiguration>\
                <Id>cold</Id><Filter><Prefix>runs/</Prefix></Filter><Status>Enabled</Status><Tiering><AccessTier>ARCHIVE_ACCESS</AccessTier>\
                <Days>90</Days></Tiering></IntelligentTieringConfiguration></ListBucketIntelligentTieringConfigurationsOutput>",
        }
    }

    fn owned(desired: &DesiredTiering) -> Vec<String> {
        desired.configurations.iter().map(|configuration| configuration.id.clone()).collect()
    }

    fn adopt(desired: &mut DesiredTiering) {
        desired.fresh.clear();
    }
}

fn path(id: &str) -> String {
    format!("bucket.intelligentTiering.configurations[{id}]")
}

#[cfg(feature = "operator")]
pub(super) mod wire {
    use std::collections::BTreeMap;

    use aws_sdk_s3::types as sdk;

    use super::{RuleStatus, Tiering, TieringConfiguration, TieringFilter, TieringWrite};
    use crate::sdk::{BucketCalls, build, unset};
    use crate::vocabulary::problem::{Class, Problem};

    const READ: &str = "s3:GetIntelligentTieringConfiguration";
    const WRITE: &str = "s3:PutIntelligentTieringConfiguration";
    /// AWS allows 1,000 configurations and lists 100 per page; a server that returns more pages is not S3.
    const PAGES: usize = 20;

    pub(crate) async fn read(b: &BucketCalls<'_>) -> Result<Option<BTreeMap<String, TieringConfiguration>>, Problem> {
        let (mut all, mut token) = (BTreeMap::new(), None);
        for _ in 0..PAGES {
            let call = b.s3.list_bucket_intelligent_tiering_configurations().bucket(b.name).expected_bucket_owner(b.account);
            let answer = b.sdk.call(READ, call.set_continuation_token(token).send()).await?;
            let listed = answer.intelligent_tiering_configuration_list.unwrap_or_default();
            all.extend(listed.into_iter().map(read_one).map(|one| (one.id.clone(), one)));
            token = answer.next_continuation_token.filter(|_| answer.is_truncated == Some(true));
            if token.is_none() {
                return Ok((!all.is_empty()).then_some(all));
            }
        }
        Err(Problem::new(Class::Refused, READ, "InvalidAnswer", "the list of Intelligent-Tiering configurations has no end"))
    }

    fn read_one(one: sdk::IntelligentTieringConfiguration) -> TieringConfiguration {
        let filter = one.filter.map_or_else(TieringFilter::default, |filter| {
            let (prefix, tags) = match filter.and {
                Some(and) => (and.prefix, and.tags.unwrap_or_default()),
                None => (filter.prefix, filter.tag.into_iter().collect()),
            };
            let tags = tags.into_iter().map(|tag| (tag.key, tag.value)).collect();
            TieringFilter { prefix, tags, ..TieringFilter::default() }
        });
        let tiering =
            |tiering: sdk::Tiering| Tiering { days: tiering.days, access_tier: tiering.access_tier.as_str().to_owned() };
        let enabled = one.status == sdk::IntelligentTieringStatus::Enabled;
        TieringConfiguration {
            id: one.id,
            status: if enabled { RuleStatus::Enabled } else { RuleStatus::Disabled },
            filter,
            tierings: one.tierings.into_iter().map(tiering).collect(),
            ..TieringConfiguration::default()
        }
    }

    /// One call per configuration: after a failure, the next reconcile continues with the rest.
    pub(crate) async fn write(b: &BucketCalls<'_>, write: &TieringWrite) -> Result<(), Problem> {
        for id in &write.delete {
            let call = b.s3.delete_bucket_intelligent_tiering_configuration().bucket(b.name).expected_bucket_owner(b.account);
            unset(b.sdk.call(WRITE, call.id(id).send()).await, &["NoSuchConfiguration"])?;
        }
        for one in write.put.iter().filter_map(|id| write.configurations.get(id)) {
            let call = b.s3.put_bucket_intelligent_tiering_configuration().bucket(b.name).expected_bucket_owner(b.account);
            let call = call.id(&one.id).intelligent_tiering_configuration(sent(one)?);
            b.sdk.call(WRITE, call.send()).await?;
        }
        Ok(())
    }

    fn sent(one: &TieringConfiguration) -> Result<sdk::IntelligentTieringConfiguration, Problem> {
        let status = match one.status {
            RuleStatus::Enabled => sdk::IntelligentTieringStatus::Enabled,
            RuleStatus::Disabled => sdk::IntelligentTieringStatus::Disabled,
        };
        let tiering = |tiering: &Tiering| {
            let tier = sdk::IntelligentTieringAccessTier::from(tiering.access_tier.as_str());
            build(WRITE, sdk::Tiering::builder().access_tier(tier).days(tiering.days).build())
        };
        let tierings = one.tierings.iter().map(tiering).collect::<Result<_, _>>()?;
        let builder = sdk::IntelligentTieringConfiguration::builder().id(&one.id).status(status).set_filter(filter(&one.filter)?);
        build(WRITE, builder.set_tierings(Some(tierings)).build())
    }

    /// S3 has a separate form for several criteria.
    fn filter(filter: &TieringFilter) -> Result<Option<sdk::IntelligentTieringFilter>, Problem> {
        let tag = |(key, value)| build(WRITE, sdk::Tag::builder().key(key).value(value).build());
        let mut tags = filter.tags.iter().map(tag).collect::<Result<Vec<_>, _>>()?;
        let builder = sdk::IntelligentTieringFilter::builder();
        Ok(match (&filter.prefix, tags.len()) {
            (None, 0) => None,
            (Some(prefix), 0) => Some(builder.prefix(prefix).build()),
            (None, 1) => Some(builder.set_tag(tags.pop()).build()),
            (prefix, _) => {
                let and = sdk::IntelligentTieringAndOperator::builder().set_prefix(prefix.clone()).set_tags(Some(tags));
                Some(builder.and(and.build()).build())
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(id: &str, days: i32) -> TieringConfiguration {
        let tierings = vec![Tiering { access_tier: ARCHIVE.to_owned(), days }];
        TieringConfiguration { id: id.to_owned(), tierings, ..TieringConfiguration::default() }
    }

    fn desired(configurations: &[TieringConfiguration], dropped: &[&str], fresh: &[&str]) -> DesiredTiering {
        let [dropped, fresh] = [dropped, fresh].map(|ids| ids.iter().map(|&id| id.to_owned()).collect::<Vec<_>>());
        DesiredTiering { configurations: configurations.to_vec(), dropped, fresh: fresh.into_iter().collect() }
    }

    fn live(configurations: &[TieringConfiguration]) -> BTreeMap<String, TieringConfiguration> {
        configurations.iter().map(|one| (one.id.clone(), one.clone())).collect()
    }

    #[test]
    fn only_what_differs_is_sent_and_what_is_foreign_stays() {
        let before = live(&[one("theirs", 90), one("same", 100), one("edited", 100), one("gone", 100)]);
        let wanted = desired(&[one("same", 100), one("edited", 200), one("new", 90)], &["gone", "gone-already"], &[]);
        let change = IntelligentTiering::change(&wanted, Some(&before)).unwrap();
        let paths: Vec<_> = change.diffs.iter().map(|diff| diff.path.as_str()).collect();
        let of = |rest: &str| format!("bucket.intelligentTiering.configurations{rest}");
        assert_eq!(paths, [of("[gone]"), of("[edited].tierings"), of("[new]")]);
        assert_eq!(
            (&change.write.put[..], &change.write.delete[..]),
            (&["edited".to_owned(), "new".to_owned()][..], &["gone".to_owned()][..])
        );
        assert_eq!((change.adds, change.weakens), (vec!["new".to_owned()], None));
        assert_eq!(change.write.configurations["theirs"], before["theirs"]);
        assert_eq!(IntelligentTiering::change(&wanted, IntelligentTiering::after(&change.write).as_ref()), None);
    }

    #[test]
    fn one_of_others_is_not_replaced_by_naming_it() {
        let before = live(&[one("cold", 90)]);
        let mut wanted = desired(&[one("cold", 100)], &[], &["cold"]);
        let change = IntelligentTiering::change(&wanted, Some(&before)).unwrap();
        assert_eq!((change.foreign, change.diffs.len(), change.write.put.len()), (vec![path("cold")], 0, 0));
        assert_eq!(IntelligentTiering::change(&desired(&[one("cold", 90)], &[], &["cold"]), Some(&before)), None);
        IntelligentTiering::adopt(&mut wanted);
        assert_eq!(IntelligentTiering::change(&wanted, Some(&before)).unwrap().write.put, ["cold"]);
    }

    #[test]
    fn order_of_tiers_and_an_empty_prefix_do_not_count() {
        let deep = Tiering { access_tier: DEEP_ARCHIVE.to_owned(), days: 180 };
        let mut there = one("cold", 90);
        there.tierings.insert(0, deep.clone());
        there.filter.prefix = Some(String::new());
        let mut wanted = one("cold", 90);
        wanted.tierings.push(deep);
        assert_eq!(IntelligentTiering::change(&desired(&[wanted], &[], &[]), Some(&live(&[there]))), None);
    }
}
