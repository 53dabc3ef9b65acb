//! Statements of a bucket policy as a spec has them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::statement::{BucketStatement, OUR_PREFIX, TLS_ONLY, TLS_VERSION, TlsSpec, TlsVersion, tls};
use super::{sid, wrong_fields};
use crate::vocabulary::policy_language::{
    Effect, WrittenConditions, canonical_condition, canonical_statement, strings, wrong_condition,
};

/// The elements of a statement that a spec has.
const ELEMENTS: [&str; 6] = ["Sid", "Effect", "Principal", "Action", "Resource", "Condition"];

/// The statement in a spec, if that means the same; or why not.
pub(super) fn imported_statement(there: &Value) -> Result<BucketStatement, String> {
    let elements = there.as_object().ok_or("it is no statement")?;
    if let Some(other) = elements.keys().find(|name| !ELEMENTS.contains(&name.as_str())) {
        return Err(format!("a spec has no {other}"));
    }
    let sid = sid(there);
    let named = !sid.is_empty() && sid.len() <= 64 && sid.chars().all(|c| c.is_ascii_alphanumeric());
    if !named || sid.starts_with(OUR_PREFIX) {
        return Err(format!("a spec needs a Sid of letters and digits that does not begin with {OUR_PREFIX}"));
    }
    let list = |element: &str| -> Result<Vec<String>, String> {
        let names = elements.get(element).and_then(strings).filter(|names| !names.is_empty());
        Ok(names.ok_or_else(|| format!("it has no {element}"))?.into_iter().collect())
    };
    let canonical = canonical_statement(there).ok_or("it is no statement")?;
    let statement = BucketStatement {
        sid: sid.to_owned(),
        effect: match canonical.get("Effect").and_then(Value::as_str) {
            Some("allow") => Effect::Allow,
            Some("deny") => Effect::Deny,
            _ => return Err("it has no Effect".to_owned()),
        },
        principals: principals(elements.get("Principal"))?,
        actions: list("Action")?,
        resources: list("Resource")?,
        conditions: conditions(elements.get("Condition"))?,
        unknown: Default::default(),
    };
    let is_s3 = |action: &String| {
        action.strip_prefix("s3:").is_some_and(|name| name.chars().all(|c| c.is_ascii_alphabetic() || "*?".contains(c)))
    };
    if let Some(other) = statement.actions.iter().find(|action| !is_s3(action)) {
        return Err(format!("the action {other} is not written like s3:GetObject"));
    }
    let same = canonical_statement(&statement.to_json("")).is_some_and(|written| written == canonical);
    match wrong_fields(&statement.unknown).or_else(|| wrong_condition(&statement.conditions)) {
        Some(why) => Err(why),
        None if same => Ok(statement),
        None => Err("a spec cannot say the same".to_owned()),
    }
}

fn principals(there: Option<&Value>) -> Result<BTreeMap<String, Vec<String>>, String> {
    let names = |value: &Value| strings(value).map(|names| names.into_iter().collect::<Vec<_>>());
    let all = match there {
        Some(Value::Object(kinds)) => kinds.iter().map(|(kind, value)| Some((kind.clone(), names(value)?))).collect(),
        Some(every) => names(every).map(|every| BTreeMap::from([("AWS".to_owned(), every)])),
        None => None,
    };
    all.filter(|kinds| !kinds.is_empty()).ok_or_else(|| "it has no Principal".to_owned())
}

/// Conditions with the spelling of their keys.
fn conditions(there: Option<&Value>) -> Result<WrittenConditions, String> {
    let Some(there) = there else { return Ok(WrittenConditions::new()) };
    let read = |keys: &Value| {
        let keys = keys.as_object()?.iter();
        keys.map(|(key, values)| Some((key.clone(), strings(values)?.into_iter().collect()))).collect::<Option<BTreeMap<_, _>>>()
    };
    let all = there.as_object().and_then(|all| all.iter().map(|(test, keys)| Some((test.clone(), read(keys)?))).collect());
    // A test or key in two spellings would be one of the two in a spec.
    all.filter(|_| canonical_condition(there).is_some()).ok_or_else(|| "its conditions are not readable".to_owned())
}

/// The field `tls`, if both of its statements are there.
pub(super) fn imported_tls(all: &[Value]) -> Option<TlsSpec> {
    let named = |name: &str| all.iter().find(|statement| sid(statement) == name).and_then(canonical_statement);
    let (only, version) = (named(TLS_ONLY)?, named(TLS_VERSION)?);
    let resources: BTreeSet<_> = only.get("Resource").and_then(strings)?;
    let bucket = resources.iter().find(|arn| !arn.contains('/'))?;
    [TlsVersion::V1_2, TlsVersion::V1_3].into_iter().map(|minimum_version| TlsSpec { minimum_version }).find(|spec| {
        let written = tls(spec).map(|statement| canonical_statement(&statement.to_json(bucket)));
        written == [Some(only.clone()), Some(version.clone())]
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn statement(change: impl Fn(&mut Value)) -> Result<BucketStatement, String> {
        let mut statement = json!({
            "Sid": "Readers", "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::123456789012:role/r" },
            "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*", "Condition": { "Bool": { "aws:SecureTransport": true } },
        });
        change(&mut statement);
        imported_statement(&statement)
    }

    #[test]
    fn a_statement_of_the_console_becomes_one_of_a_spec() {
        let read = statement(|_| ()).unwrap();
        assert_eq!(read.actions, ["s3:GetObject"]);
        assert_eq!(json!(read.conditions), json!({ "Bool": { "aws:SecureTransport": ["true"] } }));
        let public = statement(|s| s["Principal"] = json!("*")).unwrap();
        assert_eq!(json!(public.principals), json!({ "AWS": ["*"] }));
    }

    #[test]
    fn what_a_spec_cannot_say_is_named() {
        type Edit = fn(&mut Value);
        let cases: [(Edit, &str); 5] = [
            (|s| s["NotAction"] = json!("s3:*"), "a spec has no NotAction"),
            (|s| s["Sid"] = json!("no letters"), "a spec needs a Sid"),
            (|s| s["Sid"] = json!("BucketConnectionTLSOnly"), "a spec needs a Sid"),
            (|s| s["Action"] = json!("*"), "the action * is not written like"),
            (|s| s["Resource"] = json!([]), "it has no Resource"),
        ];
        for (change, expected) in cases {
            let told = statement(change);
            assert!(told.as_ref().is_err_and(|text| text.starts_with(expected)), "{told:?}");
        }
    }

    #[test]
    fn the_operators_own_statements_become_the_field_tls() {
        for minimum_version in [TlsVersion::V1_2, TlsVersion::V1_3] {
            let spec = TlsSpec { minimum_version };
            let all = tls(&spec).map(|statement| statement.to_json("arn:aws:s3:::b"));
            assert_eq!(imported_tls(&all), Some(spec));
            assert_eq!(imported_tls(&all[..1]), None);
        }
    }
}
