//! Lifecycle rules of the bucket. An id identifies each rule.
//!
//! Managed rules are those that the operator wrote, as the sealed status records. All others are foreign, even one with
//! an id that the spec lists. The operator sends foreign rules back in the form in which it read them, together with
//! the bucket's smallest size for transitions.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lifecycle-mgmt.html>

mod rule;
#[cfg(feature = "operator")]
pub(super) mod wire;

use std::collections::{BTreeMap, BTreeSet};

use kube::KubeSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::reach::Reach;
use super::{Change, Context, Docs, Example, FieldDiff, Imported, Setting, SettingId, Unset, object_diffs};
use crate::vocabulary::conditions::ConditionType;
use crate::vocabulary::problem::{Class, Problem};

use rule::STORAGE_CLASSES;
pub use rule::*;

/// The default of S3 for the smallest object that transitions apply to, if a write names none.
const DEFAULT_SIZE: &str = "all_storage_classes_128K";

/// The most rules of a spec.
const MOST: usize = 100;

/// Lifecycle rules, by id. Foreign rules stay. Omitted: all rules are left as they are.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq)]
pub struct LifecycleSpec {
    /// The rules. A rule that you remove from the list is removed from the bucket; an empty list removes all rules that
    /// this list had, and no others.
    // Not a list-map: if a list-map becomes empty, server-side apply removes the field, and an omitted field means
    // "left as it is".
    #[schemars(length(max = MOST))]
    #[x_kube(validation = Rule::new("self.all(rule, self.exists_one(other, other.id == rule.id))").message("each lifecycle rule needs an id of its own"))]
    pub rules: Vec<LifecycleRule>,
}

/// The setting.
pub struct Lifecycle;

/// The desired rules.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DesiredLifecycle {
    /// The desired rules.
    pub rules: Vec<LifecycleRule>,
    /// Ids of rules that were managed and are removed.
    #[serde(skip)]
    pub dropped: Vec<String>,
    /// Ids of the spec that the operator has not written yet: an existing rule with one of these ids is foreign.
    #[serde(skip)]
    pub fresh: BTreeSet<String>,
}

/// All rules of a bucket. An empty list deletes the configuration: S3 has no empty one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    /// The rules, in AWS's order.
    pub rules: Vec<StoredRule>,
    /// The smallest object that transitions apply to by default, a header of the configuration; sent back as it is.
    pub minimum_size: Option<String>,
}

impl Setting for Lifecycle {
    type Spec = LifecycleSpec;
    type Desired = DesiredLifecycle;
    type Live = Rules;
    type Write = Rules;

    const FIELD: &'static str = "bucket.lifecycle";
    const PART: ConditionType = ConditionType::BucketReady;
    const ACTIONS: &'static [&'static str] = &["s3:GetLifecycleConfiguration", "s3:PutLifecycleConfiguration"];
    const SUBRESOURCE: &'static str = "lifecycle";
    const UNSET: Unset = Unset::Code("NoSuchLifecycleConfiguration");
    const DOCS: Docs = Docs {
        purpose: "lifecycle rules",
        weaker: "",
        kept: "rules with other ids, in the form in which they were written; the default minimum object size for transitions",
    };

    fn desired(spec: Option<&LifecycleSpec>, context: &Context<'_>) -> Result<Option<DesiredLifecycle>, String> {
        let Some(spec) = spec else { return Ok(None) };
        if let Some(wrong) = spec.rules.iter().find_map(LifecycleRule::wrong) {
            return Err(wrong);
        }
        let ids = spec.rules.iter().map(|rule| &rule.id);
        let (dropped, fresh) = context.dropped_and_fresh(SettingId::Lifecycle, ids);
        Ok(Some(DesiredLifecycle { rules: spec.rules.clone(), dropped, fresh }))
    }

    /// Rules affect only the objects of this bucket; foreign ones stay.
    fn reaches(spec: &LifecycleSpec) -> Vec<Reach> {
        let LifecycleSpec { rules } = spec;
        rules.iter().for_each(LifecycleRule::reaches_nothing);
        Vec::new()
    }

    fn of_new_bucket() -> Option<Rules> {
        None
    }

    fn change(desired: &DesiredLifecycle, live: Option<&Rules>) -> Option<Change<Rules>> {
        let mut write = live.cloned().unwrap_or_default();
        let mut diffs = Vec::new();
        let dropped: BTreeSet<_> = desired.dropped.iter().collect();
        write.rules.retain(|stored| {
            let stays = !dropped.contains(&stored.rule.id);
            if !stays {
                diffs.push(FieldDiff::new(path(&stored.rule.id), Some(json!(stored.rule)), None));
            }
            stays
        });
        let places: BTreeMap<_, _> = write.rules.iter().enumerate().map(|(at, stored)| (stored.rule.id.clone(), at)).collect();
        let (mut foreign, mut adds) = (Vec::new(), Vec::new());
        for rule in &desired.rules {
            match places.get(&rule.id).map(|at| &mut write.rules[*at]) {
                None => {
                    diffs.push(FieldDiff::new(path(&rule.id), None, Some(json!(rule))));
                    adds.push(rule.id.clone());
                    write.rules.push(StoredRule::of(rule));
                }
                Some(stored) => {
                    let (live, wanted) = (json!(stored.rule.canonical()), json!(rule.canonical()));
                    let differing = object_diffs(&path(&rule.id), &live, &wanted);
                    if differing.is_empty() {
                        continue;
                    }
                    if desired.fresh.contains(&rule.id) {
                        foreign.push(path(&rule.id));
                        continue;
                    }
                    diffs.extend(differing);
                    *stored = StoredRule::of(rule);
                }
            }
        }
        let any = !(diffs.is_empty() && foreign.is_empty());
        any.then(|| Change { foreign, adds, ..Change::new(diffs, write) })
    }

    fn after(write: &Rules) -> Option<Rules> {
        let minimum_size = write.minimum_size.clone().or_else(|| Some(DEFAULT_SIZE.to_owned()));
        (!write.rules.is_empty()).then(|| Rules { minimum_size, ..write.clone() })
    }

    fn imported(live: &Rules) -> Imported<LifecycleSpec> {
        let (mut rules, mut lost) = (Vec::new(), Vec::new());
        for rule in live.rules.iter().map(|stored| stored.rule.canonical()) {
            match rule.inexpressible() {
                None if rules.len() < MOST => rules.push(rule),
                None => lost.push(format!("rule {}: a spec has at most {MOST} rules", rule.id)),
                Some(why) => lost.push(format!("rule {}: {why}", rule.id)),
            }
        }
        Imported::part((!rules.is_empty()).then_some(LifecycleSpec { rules }), lost)
    }

    fn example() -> Example<Rules> {
        let rule = LifecycleRule {
            id: "uploads".to_owned(),
            filter: Filter { prefix: Some("tmp/".to_owned()), ..Filter::default() },
            abort_incomplete_multipart_upload: Some(AbortIncompleteMultipartUpload { days_after_initiation: Some(7) }),
            ..LifecycleRule::default()
        };
        let body = "<LifecycleConfiguration><Rule><ID>uploads</ID><Filter><Prefix>tmp/</Prefix></Filter><Status>Enabled</Status>\
            <AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule>\
            </LifecycleConfiguration>";
        Example::new(Rules { rules: vec![StoredRule::of(&rule)], minimum_size: None }, body)
    }

    /// AWS answers "MalformedXML" to an unknown storage class.
    fn hint(write: &Rules, problem: &Problem) -> Option<String> {
        let (rule, class) = write.rules.iter().find_map(|stored| Some((&stored.rule.id, stored.rule.unknown_class()?)))?;
        let known = STORAGE_CLASSES.join(", ");
        let text = format!("rule {rule}: unknown storage class {class} (known: {known})");
        (problem.class == Class::Refused).then_some(text)
    }

    fn owned(desired: &DesiredLifecycle) -> Vec<String> {
        desired.rules.iter().map(|rule| rule.id.clone()).collect()
    }

    fn adopt(desired: &mut DesiredLifecycle) {
        desired.fresh.clear();
    }
}

fn path(id: &str) -> String {
    format!("bucket.lifecycle.rules[{id}]")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn rule(rule: Value) -> LifecycleRule {
        serde_json::from_value(rule).unwrap()
    }

    fn desired(rules: Vec<LifecycleRule>, dropped: &[&str]) -> DesiredLifecycle {
        DesiredLifecycle { rules, dropped: dropped.iter().map(|&id| id.to_owned()).collect(), fresh: BTreeSet::new() }
    }

    fn live(rules: &[(LifecycleRule, Form)]) -> Rules {
        let stored =
            |(rule, form): &(LifecycleRule, Form)| StoredRule { rule: rule.clone(), form: *form, ..StoredRule::of(rule) };
        let rules = rules.iter().map(stored).collect();
        Rules { rules, minimum_size: Some("varies_by_storage_class".into()) }
    }

    #[test]
    fn foreign_rules_stay_as_they_are_and_dropped_ones_go() {
        let ours = rule(json!({ "id": "tidy", "abortIncompleteMultipartUpload": { "daysAfterInitiation": 7 } }));
        let foreign = rule(json!({ "id": "theirs", "filter": { "prefix": "old/" }, "expiration": { "days": 1 } }));
        let earlier = rule(json!({ "id": "earlier", "expiration": { "days": 1 } }));
        let before = live(&[(foreign, Form::OnRule), (earlier, Form::Single)]);
        let wanted = desired(vec![ours.clone()], &["earlier"]);
        let change = Lifecycle::change(&wanted, Some(&before)).unwrap();
        let paths: Vec<_> = change.diffs.iter().map(|diff| diff.path.as_str()).collect();
        assert_eq!(paths, ["bucket.lifecycle.rules[earlier]", "bucket.lifecycle.rules[tidy]"]);
        assert_eq!(change.write.rules, [before.rules[0].clone(), StoredRule::of(&ours)]);
        assert_eq!(change.write.minimum_size, before.minimum_size);
        assert_eq!(Lifecycle::change(&wanted, Some(&change.write)), None);
        assert_eq!(Lifecycle::owned(&wanted), ["tidy"]);
    }

    #[test]
    fn a_rule_of_others_is_not_replaced_by_naming_it() {
        let theirs = rule(json!({ "id": "hold", "transitions": [{ "days": 1, "storageClass": "GLACIER" }] }));
        let ours = rule(json!({ "id": "hold", "expiration": { "days": 1 } }));
        let (before, same) = (live(&[(theirs.clone(), Form::OnRule)]), desired(vec![theirs], &[]));
        let mut wanted = DesiredLifecycle { fresh: BTreeSet::from(["hold".to_owned()]), ..desired(vec![ours], &[]) };
        let change = Lifecycle::change(&wanted, Some(&before)).unwrap();
        assert_eq!((change.foreign, change.diffs, change.write), (vec![path("hold")], Vec::new(), before.clone()));
        assert_eq!(Lifecycle::change(&same, Some(&before)), None);
        Lifecycle::adopt(&mut wanted);
        assert_eq!(Lifecycle::change(&wanted, Some(&before)).unwrap().diffs.len(), 2);
    }

    #[test]
    fn the_last_rule_goes_and_then_it_rests() {
        let ours = rule(json!({ "id": "tidy", "expiration": { "days": 1 } }));
        let change = Lifecycle::change(&desired(vec![], &["tidy"]), Some(&live(&[(ours, Form::Single)]))).unwrap();
        assert!(change.write.rules.is_empty());
        assert_eq!(Lifecycle::change(&desired(vec![], &["tidy"]), None), None);
    }

    /// The rule of the spec, and other forms in which AWS may return it.
    #[test]
    fn the_same_in_other_words_is_no_difference() {
        let table = [
            (json!({ "expiration": { "days": 3 } }), json!({ "filter": { "prefix": "" }, "expiration": { "days": 3 } })),
            (json!({ "expiration": { "days": 3 } }), json!({ "expiration": { "days": 3, "expiredObjectDeleteMarker": false } })),
            (json!({ "expiration": { "date": "2030-01-01" } }), json!({ "expiration": { "date": "2030-01-01T00:00:00Z" } })),
            (
                json!({ "transitions": [{ "days": 90, "storageClass": "GLACIER" }, { "days": 30, "storageClass": "STANDARD_IA" }] }),
                json!({ "transitions": [{ "days": 30, "storageClass": "STANDARD_IA" }, { "days": 90, "storageClass": "GLACIER" }] }),
            ),
        ];
        for (mut spec, mut there) in table {
            (spec["id"], there["id"]) = (json!("a"), json!("a"));
            let change = Lifecycle::change(&desired(vec![rule(spec.clone())], &[]), Some(&live(&[(rule(there), Form::Single)])));
            assert_eq!(change, None, "{spec}");
        }
    }

    #[test]
    fn a_field_that_differs_is_one_diff_and_the_form_is_ours() {
        let wanted =
            rule(json!({ "id": "a", "filter": { "prefix": "runs/", "tags": { "k": "v" } }, "expiration": { "days": 3 } }));
        let there =
            rule(json!({ "id": "a", "filter": { "prefix": "runs/" }, "status": "Disabled", "expiration": { "days": 3 } }));
        let change = Lifecycle::change(&desired(vec![wanted.clone()], &[]), Some(&live(&[(there, Form::OnRule)]))).unwrap();
        let paths: Vec<_> = change.diffs.iter().map(|diff| diff.path.as_str()).collect();
        assert_eq!(paths, ["bucket.lifecycle.rules[a].filter", "bucket.lifecycle.rules[a].status"]);
        assert_eq!(change.write.rules, [StoredRule { rule: wanted, form: Form::And, tag_order: vec!["k".into()] }]);
    }

    #[test]
    fn an_unknown_storage_class_is_named_when_aws_refuses() {
        let hint = |class: &str, refused| {
            let rule = rule(json!({ "id": "cold", "transitions": [{ "days": 1, "storageClass": class }] }));
            let problem = Problem::new(refused, "s3:PutLifecycleConfiguration", "MalformedXML", "");
            Lifecycle::hint(&live(&[(rule, Form::Single)]), &problem)
        };
        let text = hint("GLACIER_INSTANT_RETRIEVAL", Class::Refused).unwrap();
        assert!(text.starts_with("rule cold: unknown storage class GLACIER_INSTANT_RETRIEVAL (known: STANDARD_IA"), "{text}");
        assert_eq!(hint("GLACIER_IR", Class::Refused), None);
        assert_eq!(hint("GLACIER_INSTANT_RETRIEVAL", Class::Throttled), None);
    }
}
