//! IAM policy documents: how the operator writes them, when two documents mean the same, and what a document allows.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Value, json};

use crate::api::{Effect, PolicyStatement};
use crate::settings::FieldDiff;
use crate::vocabulary::narrowing::{Loss, losses};
use crate::vocabulary::policy_language::{canonical, canonical_statement};
use crate::vocabulary::wildcard::policy_matches;

/// A policy document as the operator sends it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Document {
    /// Its statements, each with actions and resources.
    pub statements: Vec<PolicyStatement>,
}

impl Document {
    /// The document in AWS's policy language, version 2012-10-17.
    pub fn to_json(&self) -> Value {
        let statements: Vec<Value> = self.statements.iter().map(statement_json).collect();
        json!({ "Version": "2012-10-17", "Statement": statements })
    }

    /// Whether `live`, a document as AWS returned it, means the same as this one.
    pub fn same_as(&self, live: &Value) -> bool {
        canonical(&self.to_json()).is_some_and(|ours| canonical(live).as_ref() == Some(&ours))
    }

    /// The differences in `live`, by statement and element; one diff of the whole if `live` is not a policy document.
    pub fn diffs(&self, path: &str, live: &Value) -> Vec<FieldDiff> {
        let ours = self.to_json();
        let mut theirs: Vec<_> = statements(live).into_iter().map(|s| (canonical_statement(&s), s)).collect();
        if theirs.iter().any(|(canonical, _)| canonical.is_none()) || theirs.is_empty() {
            return vec![FieldDiff::new(path, Some(live.clone()), Some(ours))];
        }
        // The order of statements does not matter; statements that differ are compared in order.
        let mut missing = Vec::new();
        for (index, statement) in statements(&ours).into_iter().enumerate() {
            let canonical = canonical_statement(&statement);
            match theirs.iter().position(|(theirs, _)| *theirs == canonical) {
                Some(same) => drop(theirs.remove(same)),
                None => missing.push((index, canonical, statement)),
            }
        }
        let mut diffs = Vec::new();
        let mut theirs = theirs.into_iter();
        for (index, canonical, statement) in missing {
            let path = format!("{path}.statements[{index}]");
            let Some((live_canonical, live)) = theirs.next() else {
                diffs.push(FieldDiff::new(path, None, Some(statement)));
                continue;
            };
            let (ours, theirs) = (canonical.unwrap_or_default(), live_canonical.unwrap_or_default());
            let elements: BTreeSet<_> = ours.keys().chain(theirs.keys()).collect();
            let differing = elements.into_iter().filter(|element| ours.get(*element) != theirs.get(*element));
            diffs.extend(differing.map(|element| {
                let field = element.to_lowercase();
                FieldDiff::new(format!("{path}.{field}"), live.get(element).cloned(), statement.get(element).cloned())
            }));
        }
        diffs.extend(theirs.map(|(_, extra)| FieldDiff::new(format!("{path}.statements[]"), Some(extra), None)));
        if diffs.is_empty() {
            diffs.push(FieldDiff::new(format!("{path}.version"), live.get("Version").cloned(), ours.get("Version").cloned()));
        }
        diffs
    }

    /// The access that this document takes away from a user that has `live`.
    pub fn losses(&self, live: &Value) -> Vec<Loss> {
        losses("policy", &statements(live), &statements(&self.to_json()))
    }

    /// Whether the document allows `action` on `resource`, with `prefix` as the request's `s3:prefix`, if any.
    ///
    /// Used only to choose what to verify with the issued key. Conservative: an Allow with any condition other than on
    /// `s3:prefix` does not count, and a Deny counts whatever its conditions are.
    pub fn allows(&self, action: &str, resource: &str, prefix: Option<&str>) -> bool {
        let mut matching = self.statements.iter().filter(|statement| about(statement, action, resource)).peekable();
        matching.peek().is_some()
            && matching.clone().all(|statement| statement.effect == Effect::Allow)
            && matching.any(|statement| met(statement, prefix, false))
    }

    /// Whether the document could allow the action: the opposite of [`Self::allows`], conservative in the other
    /// direction. If it could not, any answer other than "denied" means that something else grants the action.
    pub fn might_allow(&self, action: &str, resource: &str, prefix: Option<&str>) -> bool {
        let matching = self.statements.iter().filter(|statement| about(statement, action, resource));
        matching.into_iter().any(|statement| statement.effect == Effect::Allow && met(statement, prefix, true))
    }
}

/// The statements of a document.
fn statements(document: &Value) -> Vec<Value> {
    match document.get("Statement") {
        Some(Value::Array(list)) => list.clone(),
        Some(one) => vec![one.clone()],
        None => Vec::new(),
    }
}

fn about(statement: &PolicyStatement, action: &str, resource: &str) -> bool {
    statement.actions.iter().any(|a| policy_matches(&a.to_lowercase(), &action.to_lowercase()))
        && statement.resources.iter().any(|r| policy_matches(r, resource))
}

/// Whether the conditions on `s3:prefix` are met; conditions on other keys evaluate to `unknown`.
fn met(statement: &PolicyStatement, prefix: Option<&str>, unknown: bool) -> bool {
    statement.conditions.iter().all(|(operator, keys)| {
        keys.iter().all(|(key, values)| {
            if operator == "StringLike" && key.eq_ignore_ascii_case("s3:prefix") {
                prefix.is_some_and(|prefix| values.iter().any(|value| policy_matches(value, prefix)))
            } else {
                unknown
            }
        })
    })
}

fn statement_json(statement: &PolicyStatement) -> Value {
    let mut json = serde_json::Map::new();
    if let Some(sid) = &statement.sid {
        json.insert("Sid".into(), json!(sid));
    }
    json.insert("Effect".into(), json!(statement.effect));
    json.insert("Action".into(), json!(statement.actions));
    json.insert("Resource".into(), json!(statement.resources));
    if !statement.conditions.is_empty() {
        json.insert("Condition".into(), json!(statement.conditions));
    }
    Value::Object(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(statements: Value) -> Document {
        Document { statements: serde_json::from_value(statements).unwrap() }
    }

    #[test]
    fn same_meaning_in_other_words_is_the_same() {
        let ours = document(json!([
            { "actions": ["s3:GetObject", "s3:PutObject"], "resources": ["arn:aws:s3:::b/*"] },
            { "sid": "List", "actions": ["s3:ListBucket"], "resources": ["arn:aws:s3:::b"], "conditions": { "StringLike": { "s3:prefix": ["runs/*"] } } },
        ]));
        let same = [json!({ "Version": "2012-10-17", "Statement": [
            { "Sid": "List", "Effect": "Allow", "Action": "S3:listbucket", "Resource": "arn:aws:s3:::b", "Condition": { "stringLike": { "S3:Prefix": "runs/*" } } },
            { "Sid": "", "Effect": "Allow", "Action": ["s3:PutObject", "s3:getobject", "s3:PutObject"], "Resource": "arn:aws:s3:::b/*", "Condition": {} },
        ]})];
        for live in same {
            assert!(ours.same_as(&live), "{live}");
        }
    }

    #[test]
    fn other_meaning_differs() {
        let ours = document(json!([{ "sid": "A", "actions": ["s3:GetObject"], "resources": ["arn:aws:s3:::b/*"] }]));
        let statement = |change: fn(&mut Value)| {
            let mut live = ours.to_json();
            change(&mut live);
            live
        };
        let different = [
            statement(|d| d["Statement"][0]["Effect"] = json!("Deny")),
            statement(|d| d["Statement"][0]["Resource"] = json!("arn:aws:s3:::B/*")),
            statement(|d| d["Statement"][0]["Action"] = json!(["s3:GetObject", "s3:DeleteObject"])),
            statement(|d| d["Statement"][0]["Sid"] = json!("B")),
            statement(|d| d["Statement"][0]["Condition"] = json!({ "Bool": { "aws:SecureTransport": true } })),
            statement(|d| d["Statement"] = json!([d["Statement"][0].clone(), d["Statement"][0].clone()])),
            statement(|d| d["Version"] = json!("2008-10-17")),
            json!({}),
            json!("text"),
            json!({ "Statement": [7] }),
        ];
        for live in different {
            assert!(!ours.same_as(&live), "{live}");
        }
    }

    #[test]
    fn diffs_name_statement_and_element() {
        let ours = document(json!([
            { "sid": "A", "actions": ["s3:GetObject"], "resources": ["arn:aws:s3:::b/*"] },
            { "sid": "B", "actions": ["s3:ListBucket"], "resources": ["arn:aws:s3:::b"] },
        ]));
        let diffs = |change: fn(&mut Value)| {
            let mut live = ours.to_json();
            change(&mut live);
            ours.diffs("policy", &live).into_iter().map(|d| (d.path, d.live, d.desired)).collect::<Vec<_>>()
        };
        let path = |path: &str| path.to_owned();
        assert_eq!(
            diffs(|d| d["Statement"][1]["Action"] = json!("s3:*")),
            [(path("policy.statements[1].action"), Some(json!("s3:*")), Some(json!(["s3:ListBucket"])))]
        );
        let b = || ours.to_json()["Statement"][1].clone();
        assert_eq!(
            diffs(|d| drop(d["Statement"].as_array_mut().unwrap().pop())),
            [(path("policy.statements[1]"), None, Some(b()))]
        );
        assert_eq!(
            diffs(|d| d["Statement"].as_array_mut().unwrap().push(json!({ "Effect": "Deny", "Action": "*", "Resource": "*" }))),
            [(path("policy.statements[]"), Some(json!({ "Effect": "Deny", "Action": "*", "Resource": "*" })), None)]
        );
        assert_eq!(diffs(|d| d["Version"] = json!("2008-10-17"))[0].0, "policy.version");
        assert_eq!(diffs(|d| *d = json!("text"))[0].0, "policy");
    }

    #[test]
    fn allows_what_the_statements_say() {
        let policy = document(json!([
            { "actions": ["s3:List*"], "resources": ["arn:aws:s3:::b"], "conditions": { "StringLike": { "s3:prefix": ["runs/*"] } } },
            { "actions": ["s3:*"], "resources": ["arn:aws:s3:::b/runs/*"] },
            { "effect": "Deny", "actions": ["s3:DeleteObject"], "resources": ["arn:aws:s3:::b/*"] },
            { "actions": ["s3:GetBucketLocation"], "resources": ["*"], "conditions": { "Bool": { "aws:SecureTransport": ["true"] } } },
        ]));
        let cases = [
            ("s3:ListBucket", "arn:aws:s3:::b", Some("runs/"), true),
            ("s3:ListBucket", "arn:aws:s3:::b", Some("other/"), false),
            ("s3:ListBucket", "arn:aws:s3:::b", None, false),
            ("s3:putobject", "arn:aws:s3:::b/runs/1", None, true),
            ("s3:PutObject", "arn:aws:s3:::b/x", None, false),
            ("s3:DeleteObject", "arn:aws:s3:::b/runs/1", None, false),
            ("s3:GetBucketLocation", "arn:aws:s3:::b", None, false),
        ];
        for (action, resource, prefix, expected) in cases {
            assert_eq!(policy.allows(action, resource, prefix), expected, "{action} {resource} {prefix:?}");
        }
    }
}
