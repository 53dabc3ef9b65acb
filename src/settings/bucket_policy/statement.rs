//! One statement of a bucket policy: as users write it, the statements that the operator adds, and which statements are
//! public.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::settings::reach::{Need, Reach};
use crate::settings::reserved::is_reserved;
use crate::vocabulary::policy_language::{Canonical, Conditions, Effect, WrittenConditions, canonical_condition, strings};
use crate::vocabulary::rules;

/// Prefix of all Sids that the operator chooses.
pub const OUR_PREFIX: &str = "BucketConnection";
/// Sid of the statement for the role with which ICA copies between projects.
pub const ICA_COPY: &str = "BucketConnectionICACopy";
pub(super) const TLS_ONLY: &str = "BucketConnectionTLSOnly";
pub(super) const TLS_VERSION: &str = "BucketConnectionTLSVersion";

/// A statement of the bucket policy
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/example-bucket-policies.html>).
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct BucketStatement {
    /// Identifies the statement within the bucket policy: letters and digits.
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9]+$') && !self.startsWith('BucketConnection')").message("sid may contain letters and digits only, and must not begin with BucketConnection"))]
    #[schemars(length(min = 1, max = 64))]
    pub sid: String,

    /// Allow or Deny.
    pub effect: Effect,

    /// The principals, by kind: AWS (ARNs, account ids or *), Service, Federated or CanonicalUser.
    #[x_kube(validation = Rule::new("size(self) > 0 && self.all(kind, kind in ['AWS','Service','Federated','CanonicalUser'])").message("principals has at least one of AWS, Service, Federated and CanonicalUser"))]
    #[schemars(schema_with = "principals")]
    pub principals: BTreeMap<String, Vec<String>>,

    /// Actions, such as s3:GetObject or s3:Get*.
    #[x_kube(validation = Rule::new("self.all(a, !a.contains(' ')) && self.join(' ').matches('^(s3:[A-Za-z*?]+( |$))*$')").message("actions must be written like s3:GetObject"))]
    #[schemars(length(min = 1, max = 50), inner(length(max = 128)))]
    pub actions: Vec<String>,

    /// ARNs within this bucket. Omitted: the bucket and all its objects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50), inner(length(min = 1, max = 1100)))]
    pub resources: Vec<String>,

    /// Conditions: operator, then key, then the values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "crate::vocabulary::policy_language::conditions_schema")]
    #[x_kube(validation = Rule::new(rules::CONDITIONS).message("conditions have operators of up to 64 characters and keys of up to 256"))]
    pub conditions: WrittenConditions,

    /// Unknown fields.
    #[serde(flatten)]
    #[schemars(skip)]
    pub unknown: crate::settings::Unknown,
}

fn principals(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 4,
        "additionalProperties": { "type": "array", "minItems": 1, "maxItems": 50, "items": { "type": "string", "minLength": 1, "maxLength": 1024 } },
    })
}

/// How requests must be encrypted in transit.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TlsSpec {
    /// Requests with an older TLS version, or with none, are refused: 1.2 or 1.3.
    pub minimum_version: TlsVersion,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[allow(missing_docs, reason = "each name says it, and docs on a variant would change its schema")]
pub enum TlsVersion {
    #[serde(rename = "1.2")]
    V1_2,
    #[serde(rename = "1.3")]
    V1_3,
}

impl BucketStatement {
    /// What it allows that an account must allow first. A principal that it lets in may be the connection's own user.
    pub(super) fn reaches(&self) -> Vec<Reach> {
        let Self { sid, effect, principals: _, actions, resources: _, conditions: _, unknown: _ } = self;
        let field = format!("bucket.policyStatements[{sid}]");
        let reserved = actions.iter().filter(|action| *effect == Effect::Allow && is_reserved(action));
        reserved.map(|action| Reach::new(&field, Need::Action(action.clone()))).collect()
    }

    /// The statement in AWS's policy language.
    pub(super) fn to_json(&self, bucket_arn: &str) -> Value {
        let resources = if self.resources.is_empty() {
            vec![bucket_arn.to_owned(), format!("{bucket_arn}/*")]
        } else {
            self.resources.clone()
        };
        let mut json = json!({
            "Sid": self.sid,
            "Effect": self.effect,
            "Principal": self.principals,
            "Action": self.actions,
            "Resource": resources,
        });
        if !self.conditions.is_empty() {
            json["Condition"] = json!(self.conditions);
        }
        json
    }
}

/// It is not documented whether the TLS version alone also refuses plain HTTP, so there are two statements.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/amazon-s3-policy-keys.html#example-object-tls-version>
pub(super) fn tls(spec: &TlsSpec) -> [BucketStatement; 2] {
    let version = json!(spec.minimum_version).as_str().unwrap_or_default().to_owned();
    let deny = |sid: &str, operator: &str, key: &str, value: String| BucketStatement {
        sid: sid.to_owned(),
        effect: Effect::Deny,
        principals: [("AWS".to_owned(), vec!["*".to_owned()])].into(),
        actions: vec!["s3:*".to_owned()],
        resources: Vec::new(),
        conditions: [(operator.to_owned(), [(key.to_owned(), vec![value])].into())].into(),
        unknown: Default::default(),
    };
    [
        deny(TLS_ONLY, "Bool", "aws:SecureTransport", "false".to_owned()),
        deny(TLS_VERSION, "NumericLessThan", "s3:TlsVersion", version),
    ]
}

/// The condition keys that make a statement for everyone non-public if their values are fixed.
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-control-block-public-access.html#access-control-block-public-access-policy-status>
const NARROWING: [&str; 14] = [
    "aws:sourceip",
    "aws:sourcearn",
    "aws:sourcevpc",
    "aws:sourcevpce",
    "aws:sourceowner",
    "aws:sourceaccount",
    "aws:userid",
    "aws:principalorgid",
    "aws:principalorgpaths",
    "aws:principalaccount",
    "aws:principalarn",
    "s3:x-amz-server-side-encryption-aws-kms-key-id",
    "s3:dataaccesspointarn",
    "s3:dataaccesspointaccount",
];

/// Whether a statement is public as AWS defines it: an Allow for `*` that no condition with fixed values narrows.
pub(super) fn is_public(statement: &Canonical) -> bool {
    let everyone = statement.get("NotPrincipal").is_some()
        || statement.get("Principal").and_then(Value::as_object).is_some_and(|kinds| kinds.values().any(has_star));
    let conditions = statement.get("Condition").and_then(canonical_condition).unwrap_or_default();
    statement.get("Effect") == Some(&json!("allow")) && everyone && !narrowed(&conditions)
}

fn has_star(names: &Value) -> bool {
    names.as_array().is_some_and(|names| names.contains(&json!("*")))
}

/// A condition without values narrows nothing.
fn narrowed(conditions: &Conditions) -> bool {
    let positive = ["stringequals", "stringequalsignorecase", "stringlike", "arnequals", "arnlike", "ipaddress"];
    conditions.iter().filter(|(operator, _)| positive.contains(&operator.as_str())).any(|(_, keys)| {
        keys.iter().any(|(key, values)| {
            NARROWING.contains(&key.as_str()) && !values.is_empty() && values.iter().all(|value| is_fixed(key, value))
        })
    })
}

/// A value that matches only some callers; AWS treats ranges wider than /8 (/32 with IPv6) as public.
fn is_fixed(key: &str, value: &str) -> bool {
    if value.contains(['*', '?']) || value.contains("${") {
        return false;
    }
    let widest = if value.contains(':') { 32 } else { 8 };
    key != "aws:sourceip" || value.split_once('/').is_none_or(|(_, bits)| bits.parse::<u8>().is_ok_and(|bits| bits >= widest))
}

/// Whether the new Deny certainly refuses everything that the old one refuses: more actions and resources, and
/// otherwise equal, except for a higher TLS version.
pub(super) fn covers(new: &Canonical, old: &Canonical) -> bool {
    let same = |element: &str| new.get(element) == old.get(element);
    let list = |statement: &Canonical, element: &str| statement.get(element).and_then(strings).unwrap_or_default();
    let more = |element: &str| list(new, element).is_superset(&list(old, element));
    let stricter = || {
        let version = |statement: &Canonical| {
            let conditions = statement.get("Condition").and_then(canonical_condition)?;
            let values = conditions.get("numericlessthan")?.get("s3:tlsversion")?;
            let single = values.iter().next().filter(|_| conditions.len() == 1 && values.len() == 1)?;
            single.parse::<f64>().ok()
        };
        matches!((version(new), version(old)), (Some(new), Some(old)) if new >= old)
    };
    let elements = ["Effect", "Principal", "NotPrincipal", "NotAction", "NotResource"];
    elements.into_iter().all(same) && more("Action") && more("Resource") && (same("Condition") || stricter())
}
