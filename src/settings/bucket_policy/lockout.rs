//! Deny statements that could lock the operator out of the bucket policy: only the account's root user could remove
//! them.
//!
//! A Deny that covers the calls on the policy is accepted only if it certainly does not apply to the operator: its
//! principals exclude the operator, or the operator's requests never meet one of its conditions. Conditions on values
//! that the operator cannot know, such as its network, do not count.

use super::statement::BucketStatement;
use crate::vocabulary::policy_language::Effect;
use crate::vocabulary::wildcard::policy_matches;

const POLICY_CALLS: [&str; 3] = ["s3:getbucketpolicy", "s3:putbucketpolicy", "s3:deletebucketpolicy"];
/// The versions of TLS that the operator speaks.
const NEWEST_TLS: f64 = 1.3;

/// The identity that the operator is signed in as.
pub(super) struct Operator<'a> {
    /// Its account.
    pub(super) account_id: &'a str,
    /// ARNs by which policies can name the operator. `*` replaces an unknown path. Empty if the operator is not signed
    /// in: then nothing locks it out.
    pub(super) arns: &'a [String],
}

/// Whether a statement could lock the operator out of the bucket policy.
pub(super) fn locks_out(statement: &BucketStatement, bucket_arn: &str, operator: &Operator<'_>) -> bool {
    let policy_call = |action: &String| {
        let action = action.to_lowercase();
        POLICY_CALLS.iter().any(|call| policy_matches(&action, call))
    };
    let about = statement.principals.iter().any(|(kind, names)| operator.may_be_among(kind, names));
    let conditions =
        || statement.conditions.iter().flat_map(|(test, keys)| keys.iter().map(move |(key, values)| (test, key, values)));
    statement.effect == Effect::Deny
        && statement.actions.iter().any(policy_call)
        && (statement.resources.is_empty() || statement.resources.iter().any(|resource| resource == bucket_arn))
        && about
        && !conditions().any(|(test, key, values)| operator.never_meets(test, key, values))
}

impl Operator<'_> {
    /// The exception that a statement must make, for people.
    pub(super) fn exception(&self) -> String {
        let arns: Vec<_> = self.arns.iter().map(String::as_str).collect();
        format!("ArnNotLike aws:PrincipalArn [{}]", arns.join(", "))
    }

    fn may_be_among(&self, kind: &str, names: &[String]) -> bool {
        match kind {
            "AWS" => names.iter().any(|name| {
                let account =
                    name == "*" || name == self.account_id || name.ends_with(&format!(":iam::{}:root", self.account_id));
                let other_account = name.len() == 12 && name.chars().all(|c| c.is_ascii_digit());
                account || self.may_be(name) || !(name.starts_with("arn:") || other_account)
            }),
            "Service" => false,
            // CanonicalUser (the account itself by its canonical id) and Federated (roles that are assumed with a web
            // identity).
            _ => true,
        }
    }

    /// Whether no request of the operator can meet a condition.
    fn never_meets(&self, test: &str, key: &str, values: &[String]) -> bool {
        let test = test.to_lowercase();
        let test = test.strip_suffix("ifexists").unwrap_or(&test);
        let negated = test.contains("not");
        match (key.to_lowercase().as_str(), test) {
            ("aws:principalarn", "stringlike" | "stringequals" | "arnlike" | "arnequals") => {
                !values.iter().any(|value| self.may_be(value))
            }
            ("aws:principalarn", "stringnotlike" | "stringnotequals" | "arnnotlike" | "arnnotequals") if negated => {
                values.iter().any(|value| self.surely_is(value, test))
            }
            ("aws:principalaccount", "stringequals") => {
                values.iter().all(|value| value != self.account_id && !value.contains("${"))
            }
            ("aws:principalaccount", "stringnotequals") => values.iter().any(|value| value == self.account_id),
            ("aws:securetransport", "bool") => values.iter().all(|value| value == "false"),
            ("s3:tlsversion", "numericlessthan") => {
                values.iter().all(|value| value.parse::<f64>().is_ok_and(|version| version <= NEWEST_TLS))
            }
            _ => false,
        }
    }

    /// Whether a pattern could match the operator.
    fn may_be(&self, pattern: &str) -> bool {
        let role = |arn: &String| {
            let name = arn.rsplit('/').next().unwrap_or_default();
            let session = pattern.split_once(":assumed-role/").and_then(|(_, rest)| rest.split('/').next());
            let of_role = pattern.split_once(":role/").is_some_and(|(_, resource)| {
                let unknown = arn.contains('*');
                resource.rsplit('/').next() == Some(name) || (unknown && resource.contains(['*', '?']))
            });
            arn.contains(":role/") && (session == Some(name) || of_role)
        };
        !self.arns.is_empty() && (pattern.contains("${") || self.arns.iter().any(|arn| policy_matches(pattern, arn) || role(arn)))
    }

    /// Whether a pattern matches the operator for certain, whatever the unknown parts of its ARN are.
    fn surely_is(&self, pattern: &str, test: &str) -> bool {
        let stands_for = |arn: &String| match test {
            "stringnotequals" => pattern == arn,
            "stringnotlike" => policy_matches(pattern, arn),
            // Each of the six parts of an ARN is compared separately.
            _ => {
                let (ours, theirs): (Vec<_>, Vec<_>) = (arn.splitn(6, ':').collect(), pattern.splitn(6, ':').collect());
                ours.len() == theirs.len() && theirs.iter().zip(ours).all(|(pattern, part)| policy_matches(pattern, part))
            }
        };
        !pattern.contains("${") && self.arns.iter().all(stands_for)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ARN: &str = "arn:aws:s3:::b";
    const USER: &str = "arn:aws:iam::123456789012:user/platform/operator";

    fn locked(change: &Value, operator: &[&str]) -> bool {
        let mut statement = json!({ "sid": "Guard", "effect": "Deny", "principals": { "AWS": ["*"] }, "actions": ["s3:*"] });
        for (field, value) in change.as_object().unwrap() {
            statement[field] = value.clone();
        }
        let arns: Vec<_> = operator.iter().map(|&arn| arn.to_owned()).collect();
        let operator = Operator { account_id: "123456789012", arns: &arns };
        locks_out(&serde_json::from_value(statement).unwrap(), ARN, &operator)
    }

    #[test]
    fn by_name() {
        for (principals, expected) in [
            (json!({ "AWS": ["*"] }), true),
            (json!({ "AWS": ["123456789012"] }), true),
            (json!({ "AWS": ["arn:aws:iam::123456789012:root"] }), true),
            (json!({ "AWS": ["arn:aws:iam::123456789012:user/a", USER] }), true),
            (json!({ "AWS": ["AIDAEXAMPLE"] }), true),
            (json!({ "CanonicalUser": ["79a59d"] }), true),
            (json!({ "Federated": ["arn:aws:iam::123456789012:oidc-provider/x"] }), true),
            (json!({ "Service": ["logging.s3.amazonaws.com"] }), false),
            (json!({ "AWS": ["210987654321"] }), false),
            (json!({ "AWS": ["arn:aws:iam::123456789012:user/operator"] }), false),
        ] {
            assert_eq!(locked(&json!({ "principals": principals }), &[USER]), expected, "{principals}");
        }
        let role = ["arn:aws:iam::123456789012:role/operator", "arn:aws:iam::123456789012:role/*/operator"];
        for (name, expected) in [
            ("arn:aws:sts::123456789012:assumed-role/operator/session", true),
            ("arn:aws:iam::123456789012:role/any/path/operator", true),
            ("arn:aws:iam::123456789012:role/operator", true),
            ("arn:aws:iam::123456789012:role/other", false),
            ("arn:aws:sts::123456789012:assumed-role/other/operator", false),
        ] {
            assert_eq!(locked(&json!({ "principals": { "AWS": [name] } }), &role), expected, "{name}");
        }
    }

    #[test]
    fn by_conditions() {
        let one = |test: &str, key: &str, value: &str| json!({ "conditions": { test: { key: [value] } } });
        for (statement, expected) in [
            (one("StringLike", "aws:PrincipalArn", "*"), true),
            (one("arnlike", "AWS:principalarn", "arn:aws:iam::123456789012:user/*"), true),
            (one("StringLike", "aws:PrincipalArn", "arn:aws:iam::123456789012:user/lab/*"), false),
            (one("StringEquals", "aws:PrincipalArn", "${aws:PrincipalArn}"), true),
            (one("ArnNotEquals", "aws:PrincipalArn", USER), false),
            (one("ArnNotLike", "aws:PrincipalArn", "arn:aws:iam::*:user/platform/*"), false),
            (one("ArnNotLike", "aws:PrincipalArn", "arn:*operator"), true),
            (one("StringNotEquals", "aws:PrincipalArn", "arn:aws:iam::123456789012:user/*"), true),
            (one("StringNotLike", "aws:PrincipalArn", "${aws:PrincipalArn}"), true),
            (one("ForAllValues:StringNotEquals", "aws:PrincipalArn", USER), true),
            (one("StringEquals", "aws:PrincipalAccount", "123456789012"), true),
            (one("StringEquals", "aws:PrincipalAccount", "210987654321"), false),
            (one("StringNotEquals", "aws:PrincipalAccount", "123456789012"), false),
            (one("Bool", "aws:SecureTransport", "false"), false),
            (one("BoolIfExists", "aws:SecureTransport", "false"), false),
            (one("Bool", "aws:SecureTransport", "true"), true),
            (one("NumericLessThan", "s3:TlsVersion", "1.2"), false),
            (one("NumericLessThan", "s3:TlsVersion", "9"), true),
            (one("StringNotEquals", "aws:SourceVpce", "vpce-none"), true),
            (one("NotIpAddress", "aws:SourceIp", "10.0.0.0/8"), true),
            (one("DateGreaterThan", "aws:CurrentTime", "2020-01-01T00:00:00Z"), true),
        ] {
            assert_eq!(locked(&statement, &[USER]), expected, "{statement}");
        }
        // One condition that is never met is enough.
        let both = json!({ "conditions": { "NotIpAddress": { "aws:SourceIp": ["10.0.0.0/8"] }, "ArnNotEquals": { "aws:PrincipalArn": [USER] } } });
        assert!(!locked(&both, &[USER]));
        // A role with an unknown path is excepted on any path, or not at all.
        let role = ["arn:aws:iam::123456789012:role/operator", "arn:aws:iam::123456789012:role/*/operator"];
        for (pattern, expected) in [
            ("arn:aws:iam::123456789012:role/operator", true),
            ("arn:aws:iam::123456789012:role/bogus/operator", true),
            ("arn:aws:iam::123456789012:role/*operator", false),
        ] {
            assert_eq!(locked(&one("ArnNotLike", "aws:PrincipalArn", pattern), &role), expected, "{pattern}");
        }
        let path = &role[..1];
        assert!(!locked(&one("ArnNotEquals", "aws:PrincipalArn", path[0]), path), "assumed by its whole ARN");
    }

    #[test]
    fn what_does_not_reach_the_policy_or_is_no_deny() {
        for statement in [
            json!({ "actions": ["s3:DeleteObject*", "s3:PutBucketPolicyX"] }),
            json!({ "resources": ["arn:aws:s3:::b/*"] }),
            json!({ "effect": "Allow" }),
        ] {
            assert!(!locked(&statement, &[USER]), "{statement}");
        }
        assert!(locked(&json!({ "actions": ["s3:Put*"], "resources": [ARN] }), &[USER]));
        // If the operator is not signed in, only a Deny for all principals is reported.
        assert!(locked(&json!({}), &[]));
        assert!(!locked(&json!({ "principals": { "AWS": [USER] } }), &[]));
    }
}
