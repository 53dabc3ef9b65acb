//! Whether policies allow a request: identity policies, boundary, session policy and bucket policy.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::Value;

/// The values of condition keys, by lower-case key.
pub type Context = BTreeMap<String, String>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Allow,
    Deny,
    /// No statement matched.
    Silent,
}

/// The request to evaluate.
pub struct Question<'a> {
    pub action: &'a str,
    pub resource: &'a str,
    pub context: &'a Context,
}

/// The combined effect of the documents. `principals` are the names of the caller, if the documents are resource
/// policies.
pub fn effect<'a>(
    documents: impl IntoIterator<Item = &'a Value>,
    question: &Question<'_>,
    principals: Option<&[&str]>,
) -> Effect {
    let mut effect = Effect::Silent;
    for statement in documents.into_iter().flat_map(|document| list(&document["Statement"])) {
        if !matches(statement, question, principals) {
            continue;
        }
        if statement["Effect"] == "Deny" {
            return Effect::Deny;
        }
        effect = Effect::Allow;
    }
    effect
}

fn matches(statement: &Value, question: &Question<'_>, principals: Option<&[&str]>) -> bool {
    let context = question.context;
    let action = |pattern: &str| glob(&pattern.to_lowercase(), &question.action.to_lowercase());
    let resource = |pattern: &str| glob(&filled(pattern, context), question.resource);
    let any = |name: &str, test: &dyn Fn(&str) -> bool| strings(&statement[name]).iter().any(|pattern| test(pattern));
    let actions = if statement["NotAction"].is_null() { any("Action", &action) } else { !any("NotAction", &action) };
    let resources = if statement["NotResource"].is_null() { any("Resource", &resource) } else { !any("NotResource", &resource) };
    actions
        && resources
        && principals.is_none_or(|names| names_principal(&statement["Principal"], names))
        && statement["Condition"].as_object().is_none_or(|operators| {
            operators.iter().all(|(operator, keys)| {
                keys.as_object().unwrap().iter().all(|(key, wanted)| condition(operator, key, &strings(wanted), context))
            })
        })
}

fn names_principal(principal: &Value, names: &[&str]) -> bool {
    let listed = if principal.is_object() { strings(&principal["AWS"]) } else { strings(principal) };
    listed.iter().any(|listed| listed == "*" || names.contains(&listed.as_str()))
}

fn condition(operator: &str, key: &str, wanted: &[String], context: &Context) -> bool {
    let (base, if_exists) = operator.strip_suffix("IfExists").map_or((operator, false), |base| (base, true));
    let have = context.get(&key.to_lowercase());
    if base == "Null" {
        return wanted.iter().any(|wanted| (wanted == "true") == have.is_none());
    }
    let negated = base.contains("Not");
    let Some(have) = have else { return if_exists || negated };
    let wanted: Vec<_> = wanted.iter().map(|wanted| filled(wanted, context)).collect();
    let any = |test: &dyn Fn(&str) -> bool| wanted.iter().any(|wanted| test(wanted));
    let number = |text: &str| text.parse::<f64>().unwrap_or(f64::NAN);
    let time = |text: &str| text.parse::<Timestamp>().unwrap_or_else(|_| panic!("{text} is no time"));
    match base {
        "StringEquals" => any(&|wanted| wanted == have),
        "StringNotEquals" => !any(&|wanted| wanted == have),
        "StringEqualsIgnoreCase" => any(&|wanted| wanted.eq_ignore_ascii_case(have)),
        "StringLike" | "ArnLike" | "ArnEquals" => any(&|wanted| glob(wanted, have)),
        "StringNotLike" | "ArnNotLike" | "ArnNotEquals" => !any(&|wanted| glob(wanted, have)),
        "Bool" => any(&|wanted| wanted.eq_ignore_ascii_case(have)),
        "NumericLessThan" => any(&|wanted| number(have) < number(wanted)),
        "NumericGreaterThan" => any(&|wanted| number(have) > number(wanted)),
        "DateLessThan" => any(&|wanted| time(have) < time(wanted)),
        "DateLessThanEquals" => any(&|wanted| time(have) <= time(wanted)),
        "DateGreaterThan" => any(&|wanted| time(have) > time(wanted)),
        "DateGreaterThanEquals" => any(&|wanted| time(have) >= time(wanted)),
        // Panics, because otherwise a statement would silently not count.
        _ => panic!("the model does not know the condition operator {operator}"),
    }
}

/// Replaces policy variables, such as `${aws:username}`; their names ignore case. An unknown variable stays as it is,
/// and matches nothing.
fn filled(pattern: &str, context: &Context) -> String {
    let mut parts = pattern.split("${");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once('}').and_then(|(name, rest)| Some((context.get(&name.to_lowercase())?, rest))) {
            Some((value, rest)) => text += &(value.clone() + rest),
            None => text += &format!("${{{part}"),
        }
    }
    text
}

/// `*` matches any text, `?` any character.
pub fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut seen, mut star) = (0, 0, None);
    while seen < text.len() {
        if at < pattern.len() && pattern[at] == '*' {
            star = Some((at, seen));
            at += 1;
        } else if at < pattern.len() && (pattern[at] == '?' || pattern[at] == text[seen]) {
            (at, seen) = (at + 1, seen + 1);
        } else if let Some((back, from)) = star {
            star = Some((back, from + 1));
            (at, seen) = (back + 1, from + 1);
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|rest| *rest == '*')
}

/// A value or a list of values, as a list.
pub fn list(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(values) => values.iter().collect(),
        Value::Null => Vec::new(),
        one => vec![one],
    }
}

pub fn strings(value: &Value) -> Vec<String> {
    list(value).into_iter().map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)).collect()
}

/// Whether a bucket policy is public: an Allow for all principals, without any condition.
pub fn is_public(document: &Value) -> bool {
    list(&document["Statement"]).into_iter().any(|statement| {
        statement["Effect"] == "Allow" && statement["Condition"].is_null() && names_principal(&statement["Principal"], &[])
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(statements: Value, context: &[(&str, &str)]) -> Effect {
        let context = context.iter().map(|(key, value)| (key.to_lowercase(), (*value).to_owned())).collect();
        let question = Question { action: "s3:GetObject", resource: "arn:aws:s3:::b/k", context: &context };
        effect([&json!({ "Statement": statements })], &question, None)
    }

    #[test]
    fn wildcards() {
        for (pattern, text) in [("*", ""), ("a*c", "abbc"), ("a?c", "abc"), ("*a*b", "xaxbxb"), ("s3:Get*", "s3:GetObject")] {
            assert!(glob(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("", "a"), ("a?c", "ac"), ("a*c", "ab"), ("abc", "ab")] {
            assert!(!glob(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn conditions() {
        let under = |condition: Value, context: &[(&str, &str)]| {
            said(json!({ "Effect": "Allow", "Action": "*", "Resource": "*", "Condition": condition }), context) == Effect::Allow
        };
        assert!(under(json!({ "StringEquals": { "s3:prefix": ["a", "b"] } }), &[("s3:prefix", "b")]));
        assert!(!under(json!({ "StringEquals": { "s3:prefix": "b*" } }), &[("s3:prefix", "bc")]));
        assert!(under(json!({ "StringLike": { "s3:prefix": "b*" } }), &[("s3:prefix", "bc")]));
        assert!(!under(json!({ "StringLike": { "s3:prefix": "*" } }), &[]));
        assert!(under(json!({ "StringLikeIfExists": { "s3:prefix": "b" } }), &[]));
        assert!(under(json!({ "StringNotEquals": { "s3:prefix": "b" } }), &[]));
        assert!(under(json!({ "Null": { "aws:TokenIssueTime": "true" } }), &[]));
        let account = json!({ "StringEquals": { "aws:ResourceAccount": "${aws:PrincipalAccount}" } });
        assert!(under(account.clone(), &[("aws:ResourceAccount", "1"), ("aws:PrincipalAccount", "1")]));
        assert!(!under(account, &[("aws:ResourceAccount", "1"), ("aws:PrincipalAccount", "2")]));
        let old = json!({ "DateLessThan": { "aws:TokenIssueTime": "2026-11-24T12:00:00Z" } });
        assert!(under(old.clone(), &[("aws:TokenIssueTime", "2026-11-24T11:59:59Z")]));
        assert!(!under(old.clone(), &[("aws:TokenIssueTime", "2026-11-24T12:00:00Z")]));
        assert!(!under(old, &[]));
    }

    #[test]
    fn statements() {
        let allow = json!({ "Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::b/*" });
        let deny = json!({ "Effect": "Deny", "NotAction": "s3:PutObject", "Resource": "*" });
        assert_eq!(said(json!([allow.clone()]), &[]), Effect::Allow);
        assert_eq!(said(json!([allow, deny]), &[]), Effect::Deny);
        assert_eq!(said(json!({ "Effect": "Allow", "Action": "s3:*", "Resource": "arn:aws:s3:::c/*" }), &[]), Effect::Silent);
        assert_eq!(said(json!({ "Effect": "Allow", "Action": "*", "NotResource": "arn:aws:s3:::b/*" }), &[]), Effect::Silent);
    }
}
