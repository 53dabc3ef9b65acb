//! Lifecycle rules on the wire.

use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use aws_sdk_s3::types as sdk;

use super::Rules;
use super::rule::{
    AbortIncompleteMultipartUpload, Expiration, Filter, Form, LifecycleRule, NoncurrentVersionExpiration,
    NoncurrentVersionTransition, RuleStatus, StoredRule, Transition,
};
use crate::sdk::{BucketCalls, build, unset};
use crate::vocabulary::problem::{Class, Problem};

const WRITE: &str = "s3:PutLifecycleConfiguration";

pub(crate) async fn read(b: &BucketCalls<'_>) -> Result<Option<Rules>, Problem> {
    let call = b.s3.get_bucket_lifecycle_configuration().bucket(b.name).expected_bucket_owner(b.account);
    let answer = b.sdk.call("s3:GetLifecycleConfiguration", call.send()).await;
    Ok(unset(answer, &["NoSuchLifecycleConfiguration"])?.map(|answer| Rules {
        rules: answer.rules.unwrap_or_default().into_iter().map(stored).collect(),
        minimum_size: answer.transition_default_minimum_object_size.map(|size| size.as_str().to_owned()),
    }))
}

fn text(date: DateTime) -> Option<String> {
    date.fmt(DateTimeFormat::DateTime).ok()
}

fn tags(tags: impl IntoIterator<Item = sdk::Tag>) -> std::collections::BTreeMap<String, String> {
    tags.into_iter().map(|tag| (tag.key, tag.value)).collect()
}

#[allow(deprecated, reason = "a foreign rule may have its prefix in the outdated place")]
fn stored(rule: sdk::LifecycleRule) -> StoredRule {
    let of_filter = |filter: &sdk::LifecycleRuleFilter| -> Vec<String> {
        let tags = filter.and.as_ref().map_or(filter.tag.as_slice(), |and| and.tags());
        tags.iter().map(|tag| tag.key.clone()).collect()
    };
    let tag_order = rule.filter.as_ref().map(of_filter).unwrap_or_default();
    let (filter, form) = match (rule.filter, rule.prefix) {
        (None, None) => (Filter::default(), Form::Nowhere),
        (None, prefix) => (Filter { prefix, ..Filter::default() }, Form::OnRule),
        (Some(sdk::LifecycleRuleFilter { and: Some(and), .. }), _) => {
            let filter = Filter {
                prefix: and.prefix,
                tags: tags(and.tags.unwrap_or_default()),
                object_size_greater_than: and.object_size_greater_than,
                object_size_less_than: and.object_size_less_than,
                ..Filter::default()
            };
            (filter, Form::And)
        }
        (Some(one), _) => {
            let filter = Filter {
                prefix: one.prefix,
                tags: tags(one.tag),
                object_size_greater_than: one.object_size_greater_than,
                object_size_less_than: one.object_size_less_than,
                ..Filter::default()
            };
            (filter, Form::Single)
        }
    };
    let rule = LifecycleRule {
        id: rule.id.unwrap_or_default(),
        status: if rule.status == sdk::ExpirationStatus::Enabled { RuleStatus::Enabled } else { RuleStatus::Disabled },
        filter,
        expiration: rule.expiration.map(|expiration| Expiration {
            days: expiration.days,
            date: expiration.date.and_then(text),
            expired_object_delete_marker: expiration.expired_object_delete_marker,
        }),
        noncurrent_version_expiration: rule.noncurrent_version_expiration.map(|expiration| NoncurrentVersionExpiration {
            noncurrent_days: expiration.noncurrent_days,
            newer_noncurrent_versions: expiration.newer_noncurrent_versions,
        }),
        transitions: rule
            .transitions
            .unwrap_or_default()
            .into_iter()
            .map(|t| Transition {
                days: t.days,
                date: t.date.and_then(text),
                storage_class: t.storage_class.map(|class| class.as_str().to_owned()).unwrap_or_default(),
            })
            .collect(),
        noncurrent_version_transitions: rule
            .noncurrent_version_transitions
            .unwrap_or_default()
            .into_iter()
            .map(|t| NoncurrentVersionTransition {
                noncurrent_days: t.noncurrent_days,
                newer_noncurrent_versions: t.newer_noncurrent_versions,
                storage_class: t.storage_class.map(|class| class.as_str().to_owned()).unwrap_or_default(),
            })
            .collect(),
        abort_incomplete_multipart_upload: rule
            .abort_incomplete_multipart_upload
            .map(|abort| AbortIncompleteMultipartUpload { days_after_initiation: abort.days_after_initiation }),
        ..LifecycleRule::default()
    };
    StoredRule { rule, form, tag_order }
}

pub(crate) async fn write(b: &BucketCalls<'_>, rules: &Rules) -> Result<(), Problem> {
    if rules.rules.is_empty() {
        let call = b.s3.delete_bucket_lifecycle().bucket(b.name).expected_bucket_owner(b.account);
        return b.sdk.call(WRITE, call.send()).await.map(drop);
    }
    let set = rules.rules.iter().map(sent).collect::<Result<Vec<_>, _>>()?;
    let configuration = build(WRITE, sdk::BucketLifecycleConfiguration::builder().set_rules(Some(set)).build())?;
    let size = rules.minimum_size.as_deref().map(sdk::TransitionDefaultMinimumObjectSize::from);
    let call = b.s3.put_bucket_lifecycle_configuration().bucket(b.name).expected_bucket_owner(b.account);
    let call = call.lifecycle_configuration(configuration).set_transition_default_minimum_object_size(size);
    b.sdk.call(WRITE, call.send()).await.map(drop)
}

fn date(text: Option<&String>) -> Result<Option<DateTime>, Problem> {
    let whole = |text: &String| if text.contains('T') { text.clone() } else { format!("{text}T00:00:00Z") };
    let parsed = text.map(|text| DateTime::from_str(&whole(text), DateTimeFormat::DateTime)).transpose();
    parsed.map_err(|error| Problem::new(Class::Refused, WRITE, "InvalidRequest", error.to_string()))
}

#[allow(deprecated, reason = "a foreign rule keeps its prefix in the outdated place")]
fn sent(stored: &StoredRule) -> Result<sdk::LifecycleRule, Problem> {
    let StoredRule { rule, form, .. } = stored;
    let filter = &rule.filter;
    let tags = stored.tags().map(|(key, value)| build(WRITE, sdk::Tag::builder().key(key).value(value).build()));
    let tags = tags.collect::<Result<Vec<_>, _>>()?;
    let builder = sdk::LifecycleRule::builder();
    let builder = match form {
        Form::Nowhere => builder,
        Form::OnRule => builder.set_prefix(filter.prefix.clone()),
        Form::Single => {
            let one = sdk::LifecycleRuleFilter::builder()
                .set_prefix(filter.prefix.clone())
                .set_tag(tags.into_iter().next())
                .set_object_size_greater_than(filter.object_size_greater_than)
                .set_object_size_less_than(filter.object_size_less_than);
            builder.filter(one.build())
        }
        Form::And => {
            let and = sdk::LifecycleRuleAndOperator::builder()
                .set_prefix(filter.prefix.clone())
                .set_tags((!tags.is_empty()).then_some(tags))
                .set_object_size_greater_than(filter.object_size_greater_than)
                .set_object_size_less_than(filter.object_size_less_than);
            builder.filter(sdk::LifecycleRuleFilter::builder().and(and.build()).build())
        }
    };
    let expiration = match &rule.expiration {
        None => None,
        Some(expiration) => Some(
            sdk::LifecycleExpiration::builder()
                .set_days(expiration.days)
                .set_date(date(expiration.date.as_ref())?)
                .set_expired_object_delete_marker(expiration.expired_object_delete_marker)
                .build(),
        ),
    };
    let transition = |t: &Transition| {
        let class = sdk::TransitionStorageClass::from(t.storage_class.as_str());
        let transition = sdk::Transition::builder().set_days(t.days).set_date(date(t.date.as_ref())?).storage_class(class);
        Ok(transition.build())
    };
    let transitions = rule.transitions.iter().map(transition).collect::<Result<Vec<_>, Problem>>()?;
    let noncurrent = rule.noncurrent_version_transitions.iter().map(|t| {
        sdk::NoncurrentVersionTransition::builder()
            .set_noncurrent_days(t.noncurrent_days)
            .set_newer_noncurrent_versions(t.newer_noncurrent_versions)
            .storage_class(sdk::TransitionStorageClass::from(t.storage_class.as_str()))
            .build()
    });
    let noncurrent: Vec<_> = noncurrent.collect();
    let status = match rule.status {
        RuleStatus::Enabled => sdk::ExpirationStatus::Enabled,
        RuleStatus::Disabled => sdk::ExpirationStatus::Disabled,
    };
    let rule = builder
        .set_id((!rule.id.is_empty()).then(|| rule.id.clone()))
        .status(status)
        .set_expiration(expiration)
        .set_transitions((!transitions.is_empty()).then_some(transitions))
        .set_noncurrent_version_transitions((!noncurrent.is_empty()).then_some(noncurrent))
        .set_noncurrent_version_expiration(rule.noncurrent_version_expiration.as_ref().map(|expiration| {
            sdk::NoncurrentVersionExpiration::builder()
                .set_noncurrent_days(expiration.noncurrent_days)
                .set_newer_noncurrent_versions(expiration.newer_noncurrent_versions)
                .build()
        }))
        .set_abort_incomplete_multipart_upload(rule.abort_incomplete_multipart_upload.as_ref().map(|abort| {
            sdk::AbortIncompleteMultipartUpload::builder().set_days_after_initiation(abort.days_after_initiation).build()
        }));
    build(WRITE, rule.build())
}
