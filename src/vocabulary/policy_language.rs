//! The parts of AWS's policy language that IAM and bucket policies share: when two statements mean the same, and where
//! each begins and ends in the text of a document.
//!
//! AWS keeps what was sent, but a person, another tool or AWS itself may write the same in another form: order of
//! statements, actions, resources and principals; a string for a list of one; case of action, condition operator and
//! key; an account's id for the ARN of its root; an empty condition. A Sid counts, because people refer to it.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html>

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Whether a statement allows or denies.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "each name says it, and docs on a variant would change its schema")]
pub enum Effect {
    #[default]
    Allow,
    Deny,
}

/// A statement in a form in which equal values mean the same.
pub type Canonical = BTreeMap<String, Value>;

/// Conditions in that form: operator, key, values.
pub type Conditions = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// Conditions as users write them: operator, key, values.
pub type WrittenConditions = BTreeMap<String, BTreeMap<String, Vec<String>>>;

/// The schema of [`WrittenConditions`]: its limits are far above those of a policy, so that it refuses only nonsense.
pub fn conditions_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": {
            "type": "object",
            "maxProperties": 16,
            "additionalProperties": {
                "type": "array",
                "minItems": 1,
                "maxItems": 500,
                "items": { "type": "string", "maxLength": 1024 },
            },
        },
    })
}

/// The condition operators
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html>).
const OPERATORS: [&str; 27] = [
    "stringequals",
    "stringnotequals",
    "stringequalsignorecase",
    "stringnotequalsignorecase",
    "stringlike",
    "stringnotlike",
    "numericequals",
    "numericnotequals",
    "numericlessthan",
    "numericlessthanequals",
    "numericgreaterthan",
    "numericgreaterthanequals",
    "dateequals",
    "datenotequals",
    "datelessthan",
    "datelessthanequals",
    "dategreaterthan",
    "dategreaterthanequals",
    "bool",
    "binaryequals",
    "ipaddress",
    "notipaddress",
    "arnequals",
    "arnnotequals",
    "arnlike",
    "arnnotlike",
    "null",
];

/// What AWS would refuse in conditions, without naming the field.
pub fn wrong_condition(conditions: &WrittenConditions) -> Option<String> {
    conditions.iter().find_map(|(operator, keys)| {
        let name = operator.to_lowercase();
        let name = name.strip_prefix("forallvalues:").or(name.strip_prefix("foranyvalue:")).unwrap_or(&name);
        let plain = name.strip_suffix("ifexists").filter(|plain| *plain != "null").unwrap_or(name);
        if !OPERATORS.contains(&plain) {
            return Some(format!("{operator:?} is not a condition operator, such as StringLike"));
        }
        if keys.is_empty() {
            return Some(format!("{operator} has no condition key, such as aws:SourceIp"));
        }
        let (key, _) = keys.iter().find(|(key, values)| key.is_empty() || values.is_empty())?;
        Some(format!("{operator} of {key:?} needs a condition key and at least one value"))
    })
}

/// A document in a form in which equal values mean the same; `None` if it is not a policy document.
pub fn canonical(document: &Value) -> Option<(String, Vec<Canonical>)> {
    let version = document.get("Version").and_then(Value::as_str).unwrap_or("2008-10-17").to_owned();
    let mut statements = match document.get("Statement")? {
        Value::Array(list) => list.iter().map(canonical_statement).collect::<Option<Vec<_>>>()?,
        one => vec![canonical_statement(one)?],
    };
    statements.sort_by_cached_key(|statement| json!(statement).to_string());
    Some((version, statements))
}

/// A statement in a form in which equal values mean the same; `None` if it is not a statement.
pub fn canonical_statement(statement: &Value) -> Option<Canonical> {
    let mut canonical = Canonical::new();
    for (key, value) in statement.as_object()? {
        let value = match key.as_str() {
            "Action" | "NotAction" => json!(strings(value)?.iter().map(|a| a.to_lowercase()).collect::<BTreeSet<_>>()),
            "Resource" | "NotResource" => json!(strings(value)?),
            "Principal" | "NotPrincipal" => json!(canonical_principal(value)?),
            "Condition" => json!(canonical_condition(value)?),
            "Effect" => json!(value.as_str()?.to_lowercase()),
            _ => value.clone(),
        };
        let empty = value.as_object().is_some_and(serde_json::Map::is_empty) || value.as_str() == Some("");
        if !empty {
            canonical.insert(key.clone(), value);
        }
    }
    Some(canonical)
}

/// Principals by their kind: `"*"` is every AWS principal, and an account is its id or the ARN of its root.
pub fn canonical_principal(principal: &Value) -> Option<BTreeMap<String, BTreeSet<String>>> {
    let of_aws;
    let kinds = match principal {
        Value::Object(kinds) => kinds,
        names => {
            of_aws = serde_json::Map::from_iter([("AWS".to_owned(), names.clone())]);
            &of_aws
        }
    };
    let account = |name: String| {
        let root =
            name.strip_prefix("arn:").and_then(|rest| rest.split_once(":iam::")).and_then(|(_, of)| of.strip_suffix(":root"));
        root.map(str::to_owned).unwrap_or(name)
    };
    let mut canonical = BTreeMap::new();
    for (kind, names) in kinds {
        let names = strings(names)?;
        if !names.is_empty() {
            canonical.insert(kind.clone(), names.into_iter().map(account).collect());
        }
    }
    Some(canonical)
}

/// Conditions in a form in which equal values mean the same.
pub fn canonical_condition(condition: &Value) -> Option<Conditions> {
    let mut canonical = Conditions::new();
    for (operator, keys) in condition.as_object()? {
        for (key, values) in keys.as_object()? {
            canonical.entry(operator.to_lowercase()).or_default().insert(key.to_lowercase(), strings(values)?);
        }
    }
    Some(canonical)
}

/// A list, or a single value, as a set; booleans and numbers as strings, as AWS compares them.
pub fn strings(value: &Value) -> Option<BTreeSet<String>> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        _ => None,
    };
    match value {
        Value::Array(list) => list.iter().map(text).collect(),
        one => text(one).map(|text| BTreeSet::from([text])),
    }
}

/// The parts of a JSON object (`"key":value`) or array, each as the original text. `text` must be valid JSON.
pub fn parts(text: &str) -> Vec<&str> {
    let inner = text.trim();
    let inner = inner.get(1..inner.len().saturating_sub(1)).unwrap_or_default();
    let (mut depth, mut quoted, mut escaped, mut start) = (0_i32, false, false, 0);
    let mut parts = Vec::new();
    for (at, byte) in inner.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b',' if depth == 0 => {
                parts.push(inner[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(inner[start..].trim());
    parts.retain(|part| !part.is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each pair means the same.
    #[test]
    fn the_same_statement_in_other_words() {
        let table = [
            (json!({ "Action": ["s3:GetObject"] }), json!({ "Action": "S3:getobject" })),
            (json!({ "Action": ["a:B", "a:C"] }), json!({ "Action": ["a:C", "a:B", "a:C"] })),
            (json!({ "Effect": "Deny" }), json!({ "Effect": "deny", "Condition": {} })),
            (json!({ "Resource": ["r"] }), json!({ "Resource": "r", "Sid": "" })),
            (json!({ "Principal": "*" }), json!({ "Principal": { "AWS": ["*"] } })),
            (
                json!({ "Principal": { "AWS": ["123456789012"] } }),
                json!({ "Principal": { "AWS": "arn:aws:iam::123456789012:root", "Service": [] } }),
            ),
            (
                json!({ "Condition": { "Bool": { "aws:SecureTransport": false } } }),
                json!({ "Condition": { "bool": { "AWS:securetransport": ["false"] } } }),
            ),
            (
                json!({ "Condition": { "NumericLessThan": { "s3:TlsVersion": 1.2 } } }),
                json!({ "Condition": { "NumericLessThan": { "s3:TlsVersion": "1.2" } } }),
            ),
        ];
        for (one, other) in table {
            assert_eq!(canonical_statement(&one), canonical_statement(&other), "{one} {other}");
        }
        let different = (json!({ "Principal": { "AWS": "1" } }), json!({ "Principal": { "Service": "1" } }));
        assert_ne!(canonical_statement(&different.0), canonical_statement(&different.1));
    }

    #[test]
    fn parts_are_as_they_are_written() {
        let text = r#" { "Version" : "x,\"y\"" , "Statement": [ {"b":[1,2] , "a": "}]"}, {} ] } "#;
        assert_eq!(parts(text), [r#""Version" : "x,\"y\"""#, r#""Statement": [ {"b":[1,2] , "a": "}]"}, {} ]"#]);
        assert_eq!(parts(r#"[ {"b":[1,2] , "a": "}]"}, {} ]"#), [r#"{"b":[1,2] , "a": "}]"}"#, "{}"]);
        assert_eq!(parts("[]"), [""; 0]);
    }
}
