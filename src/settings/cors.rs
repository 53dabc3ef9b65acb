//! CORS rules of the bucket: which web pages may use it from a browser.
//!
//! If omitted, the preset's rules apply; an empty list removes all rules.
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/ManageCorsUsing.html>

use std::collections::BTreeSet;

use kube::KubeSchema;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::reach::{Need, Reach};
use super::{Change, Context, Docs, Example, FieldDiff, Imported, Setting, SettingId, Unset};
use crate::vocabulary::conditions::ConditionType;

/// CORS rules of the bucket. Omitted: the preset's, or left as they are where the preset has none.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub struct CorsSpec {
    /// The rules; the first that matches a request counts. An empty list removes all rules.
    #[schemars(length(max = 100))]
    pub rules: Vec<CorsRule>,
}

/// One CORS rule.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CorsRule {
    /// Identifies the rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    pub id: Option<String>,
    /// Headers that a page may send; * is any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(max = 256)))]
    pub allowed_headers: Vec<String>,
    /// Methods that a page may use: GET, PUT, POST, DELETE, HEAD.
    #[schemars(schema_with = "methods")]
    pub allowed_methods: Vec<String>,
    /// Origins of the pages, such as https://ica.illumina.com; at most one * in each.
    #[schemars(length(min = 1, max = 100), inner(length(min = 1, max = 256), regex(pattern = r"^[^*]*[*]?[^*]*$")))]
    pub allowed_origins: Vec<String>,
    /// Headers of the answer that a page may read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(max = 256)))]
    pub expose_headers: Vec<String>,
    /// How long a browser may keep the answer to its preflight request, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub max_age_seconds: Option<i32>,
}

/// The methods that S3 accepts, so that an error lists them.
fn methods(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "minItems": 1,
        "maxItems": 5,
        "items": { "type": "string", "enum": ["GET", "PUT", "POST", "DELETE", "HEAD"] },
    })
}

/// The setting.
pub struct Cors;

impl Setting for Cors {
    type Spec = CorsSpec;
    type Desired = Vec<CorsRule>;
    type Live = Vec<CorsRule>;
    /// An empty list deletes the configuration: S3 has no empty one.
    type Write = Vec<CorsRule>;

    const FIELD: &'static str = "cors";
    const PART: ConditionType = ConditionType::CORSInSync;
    const ACTIONS: &'static [&'static str] = &["s3:GetBucketCORS", "s3:PutBucketCORS"];
    const SUBRESOURCE: &'static str = "cors";
    const UNSET: Unset = Unset::Code("NoSuchCORSConfiguration");
    const DOCS: Docs = Docs { purpose: "CORS rules", weaker: "", kept: "" };

    fn desired(spec: Option<&CorsSpec>, context: &Context<'_>) -> Result<Option<Vec<CorsRule>>, String> {
        Ok(spec.map(|spec| spec.rules.clone()).or_else(|| context.preset_cors.clone()))
    }

    /// A rule for any origin lets pages of any origin use the bucket from the browser of a user who has a key.
    fn reaches(spec: &CorsSpec) -> Vec<Reach> {
        let CorsSpec { rules } = spec;
        let any = |origin: &String| ["*", "http://*", "https://*"].contains(&origin.as_str());
        let weak = |rule: &CorsRule| {
            let CorsRule {
                id: _,
                allowed_headers: _,
                allowed_methods: _,
                allowed_origins,
                expose_headers: _,
                max_age_seconds: _,
            } = rule;
            allowed_origins.iter().any(any)
        };
        let weaker = rules.iter().any(weak).then(|| Reach::new("cors.rules[].allowedOrigins *", Need::weaker(SettingId::Cors)));
        weaker.into_iter().collect()
    }

    fn of_new_bucket() -> Option<Vec<CorsRule>> {
        None
    }

    fn change(desired: &Vec<CorsRule>, live: Option<&Vec<CorsRule>>) -> Option<Change<Vec<CorsRule>>> {
        let live = live.map_or(&[][..], Vec::as_slice);
        let mut diffs = Vec::new();
        for index in 0..desired.len().max(live.len()) {
            let path = format!("cors.rules[{index}]");
            match (desired.get(index), live.get(index)) {
                (Some(desired), Some(live)) => diffs.extend(rule_diffs(&path, desired, live)),
                (desired, live) => diffs.push(FieldDiff::new(path, live.map(|l| json!(l)), desired.map(|d| json!(d)))),
            }
        }
        Change::of(diffs, desired.clone())
    }

    fn after(write: &Vec<CorsRule>) -> Option<Vec<CorsRule>> {
        (!write.is_empty()).then(|| write.clone())
    }

    fn imported(live: &Vec<CorsRule>) -> Imported<CorsSpec> {
        Imported::whole(CorsSpec { rules: live.clone() })
    }

    fn example() -> Example<Vec<CorsRule>> {
        let list = |items: &[&str]| items.iter().map(|&item| item.to_owned()).collect();
        let rule = CorsRule {
            id: Some("viewer".to_owned()),
            allowed_headers: list(&["*"]),
            allowed_methods: list(&["GET", "HEAD"]),
            allowed_origins: list(&["https://ica.illumina.com"]),
            expose_headers: list(&["ETag"]),
            max_age_seconds: Some(3000),
        };
        let body = "<CORSConfiguration><CORSRule><ID>viewer</ID><AllowedHeader>*</AllowedHeader><AllowedMethod>GET</AllowedMethod>\
            <AllowedMethod>HEAD</AllowedMethod><AllowedOrigin>https://ica.illumina.com</AllowedOrigin><ExposeHeader>ETag</ExposeHeader>\
            <MaxAgeSeconds>3000</MaxAgeSeconds></CORSRule></CORSConfiguration>";
        Example::new(vec![rule], body)
    }
}

/// The fields of a rule that differ. Rules are an ordered list; the lists inside a rule are sets; header names ignore
/// case; an id is compared only if the spec has one.
fn rule_diffs(path: &str, desired: &CorsRule, live: &CorsRule) -> Vec<FieldDiff> {
    let exact = |list: &[String]| list.iter().cloned().collect::<BTreeSet<_>>();
    let headers = |list: &[String]| list.iter().map(|h| h.to_lowercase()).collect::<BTreeSet<_>>();
    let list = |list: &[String]| (!list.is_empty()).then(|| json!(list));
    let mut diffs = Vec::new();
    let mut differ = |same: bool, field: &str, live: Option<Value>, desired: Option<Value>| {
        if !same {
            diffs.push(FieldDiff::new(format!("{path}.{field}"), live, desired));
        }
    };
    differ(
        desired.id.is_none() || desired.id == live.id,
        "id",
        live.id.as_ref().map(|i| json!(i)),
        desired.id.as_ref().map(|i| json!(i)),
    );
    for (field, desired, live, as_set) in [
        ("allowedHeaders", &desired.allowed_headers, &live.allowed_headers, &headers as &dyn Fn(&[String]) -> BTreeSet<String>),
        ("allowedMethods", &desired.allowed_methods, &live.allowed_methods, &exact),
        ("allowedOrigins", &desired.allowed_origins, &live.allowed_origins, &exact),
        ("exposeHeaders", &desired.expose_headers, &live.expose_headers, &headers),
    ] {
        differ(as_set(desired) == as_set(live), field, list(live), list(desired));
    }
    let age = |rule: &CorsRule| rule.max_age_seconds.map(|seconds| json!(seconds));
    differ(age(desired) == age(live), "maxAgeSeconds", age(live), age(desired));
    diffs
}

#[cfg(feature = "operator")]
pub(super) mod wire {
    use aws_sdk_s3::types::{CorsConfiguration, CorsRule as SdkRule};

    use super::CorsRule;
    use crate::sdk::{BucketCalls, build, unset};
    use crate::vocabulary::problem::Problem;

    pub(crate) async fn read(b: &BucketCalls<'_>) -> Result<Option<Vec<CorsRule>>, Problem> {
        let call = b.s3.get_bucket_cors().bucket(b.name).expected_bucket_owner(b.account);
        let answer = b.sdk.call("s3:GetBucketCORS", call.send()).await;
        let rules = unset(answer, &["NoSuchCORSConfiguration"])?.and_then(|answer| answer.cors_rules);
        Ok(rules.map(|rules| {
            let rule = |rule: SdkRule| CorsRule {
                id: rule.id,
                allowed_headers: rule.allowed_headers.unwrap_or_default(),
                allowed_methods: rule.allowed_methods,
                allowed_origins: rule.allowed_origins,
                expose_headers: rule.expose_headers.unwrap_or_default(),
                max_age_seconds: rule.max_age_seconds,
            };
            rules.into_iter().map(rule).collect()
        }))
    }

    pub(crate) async fn write(b: &BucketCalls<'_>, rules: &[CorsRule]) -> Result<(), Problem> {
        const ACTION: &str = "s3:PutBucketCORS";
        if rules.is_empty() {
            let call = b.s3.delete_bucket_cors().bucket(b.name).expected_bucket_owner(b.account);
            return b.sdk.call(ACTION, call.send()).await.map(drop);
        }
        let list = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
        let rule = |rule: &CorsRule| {
            let sdk = SdkRule::builder()
                .set_id(rule.id.clone())
                .set_allowed_headers(list(&rule.allowed_headers))
                .set_allowed_methods(list(&rule.allowed_methods))
                .set_allowed_origins(list(&rule.allowed_origins))
                .set_expose_headers(list(&rule.expose_headers))
                .set_max_age_seconds(rule.max_age_seconds);
            build(ACTION, sdk.build())
        };
        let rules = rules.iter().map(rule).collect::<Result<_, _>>()?;
        let configuration = build(ACTION, CorsConfiguration::builder().set_cors_rules(Some(rules)).build())?;
        let call = b.s3.put_bucket_cors().bucket(b.name).expected_bucket_owner(b.account);
        b.sdk.call(ACTION, call.cors_configuration(configuration).send()).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(methods: &[&str], headers: &[&str]) -> CorsRule {
        let list = |items: &[&str]| items.iter().map(|&i| i.to_owned()).collect();
        CorsRule {
            allowed_methods: list(methods),
            allowed_headers: list(headers),
            allowed_origins: list(&["https://a"]),
            ..CorsRule::default()
        }
    }

    #[test]
    fn order_and_case_inside_a_rule_do_not_count() {
        let desired = vec![rule(&["GET", "PUT"], &["ETag", "X-Custom"])];
        let live = vec![CorsRule { id: Some("made-by-console".into()), ..rule(&["PUT", "GET"], &["x-custom", "etag"]) }];
        assert_eq!(Cors::change(&desired, Some(&live)), None);
    }

    #[test]
    fn order_of_rules_counts() {
        let (a, b) = (rule(&["GET"], &[]), rule(&["PUT"], &[]));
        let change = Cors::change(&vec![a.clone(), b.clone()], Some(&vec![b, a])).unwrap();
        let paths: Vec<_> = change.diffs.iter().map(|d| d.path.as_str()).collect();
        assert_eq!(paths, ["cors.rules[0].allowedMethods", "cors.rules[1].allowedMethods"]);
    }

    #[test]
    fn an_empty_list_removes_and_then_rests() {
        let change = Cors::change(&vec![], Some(&vec![rule(&["GET"], &[])])).unwrap();
        assert!(change.write.is_empty());
        assert_eq!(Cors::change(&vec![], None), None);
    }

    #[test]
    fn a_missing_rule_shows_whole() {
        let wanted = rule(&["GET"], &[]);
        let change = Cors::change(&vec![wanted.clone()], None).unwrap();
        assert_eq!(change.diffs, [FieldDiff::new("cors.rules[0]", None, Some(json!(wanted)))]);
    }
}
