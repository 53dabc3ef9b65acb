use super::*;
use crate::settings::Owned;
use crate::settings::tags::Tags;

const ARN: &str = "arn:aws:s3:::b";

fn desired(spec: Value, earlier: &[&str]) -> Option<DesiredPolicy> {
    resolved(spec, earlier).unwrap()
}

fn resolved(spec: Value, earlier: &[&str]) -> Result<Option<DesiredPolicy>, String> {
    let spec: BucketPolicySpec = serde_json::from_value(spec).unwrap();
    let earlier = Owned::from([("policyStatements".to_owned(), earlier.iter().map(|&name| name.to_owned()).collect())]);
    let context = Context {
        preset_cors: None,
        preset_statements: &[],
        marks: &Tags::new(),
        earlier: &earlier,
        bucket_arn: ARN,
        account_id: "123456789012",
        partition: "aws",
        region: "us-east-1",
        operator: &["arn:aws:iam::123456789012:user/operator".to_owned()],
    };
    BucketPolicy::desired(Some(&spec), &context)
}

fn statement(sid: &str, effect: &str) -> Value {
    json!({ "sid": sid, "effect": effect, "principals": { "AWS": ["123456789012"] }, "actions": ["s3:GetObject", "s3:PutObject"] })
}

fn policy(statements: &[&str]) -> PolicyText {
    PolicyText::parse(&format!(r#"{{"Version":"2012-10-17","Statement":[{}]}}"#, statements.join(","))).unwrap()
}

fn change(spec: Value, earlier: &[&str], live: &PolicyText) -> Option<Change<PolicyText>> {
    BucketPolicy::change(&desired(spec, earlier).unwrap(), Some(live))
}

const FOREIGN: &str = r#"{ "Resource":"arn:aws:s3:::b", "Sid" : "Theirs","Effect":"Allow", "Action":"s3:ListBucket","Principal":{"AWS":"AIDAEXAMPLE"}}"#;

#[test]
fn omitted_is_not_managed_and_the_memory_stays() {
    assert_eq!(desired(json!({}), &["Mine", "BucketConnectionTLSOnly"]), None);
    let tls = desired(json!({ "tls": { "minimumVersion": "1.2" } }), &["Mine"]).unwrap();
    assert_eq!(BucketPolicy::owned(&tls), ["BucketConnectionTLSOnly", "BucketConnectionTLSVersion", "Mine"]);
}

#[test]
fn foreign_statements_go_back_in_their_own_words() {
    let live = PolicyText::parse(&format!(r#"{{"Id":"x","Version":"2008-10-17","Statement":{FOREIGN}}}"#)).unwrap();
    let change = change(json!({ "policyStatements": [statement("Mine", "Allow")] }), &[], &live).unwrap();
    assert_eq!(change.write.head, live.head);
    assert_eq!(change.write.statements[0], FOREIGN);
    assert!(change.write.text().starts_with(&format!(r#"{{"Id":"x","Version":"2008-10-17","Statement":[{FOREIGN},{{"#)));
    assert_eq!(change.diffs[0].path, "bucket.policyStatements[Mine]");
    assert_eq!(change.weakens, None);
}

#[test]
fn what_stands_beside_the_statements_keeps_its_place() {
    for text in [
        format!(r#"{{"Id":"x","Version":"2008-10-17","Statement":[{FOREIGN}]}}"#),
        format!(r#"{{"Version":"2008-10-17","Statement":[{FOREIGN}],"Id":"x"}}"#),
        format!(r#"{{"Statement":[{FOREIGN}],"Version":"2008-10-17"}}"#),
        format!(r#"{{"Statement":[{FOREIGN}]}}"#),
    ] {
        let mine = json!({ "policyStatements": [statement("Mine", "Allow")] });
        let with = change(mine, &[], &PolicyText::parse(&text).unwrap()).unwrap().write.text();
        let without = change(json!({ "policyStatements": [] }), &["Mine"], &PolicyText::parse(&with).unwrap()).unwrap();
        assert_eq!(without.write.text(), text);
    }
}

#[test]
fn the_last_statement_that_goes_takes_the_policy_with_it() {
    let spec = json!({ "policyStatements": [statement("Mine", "Allow")] });
    let written = BucketPolicy::change(&desired(spec.clone(), &[]).unwrap(), None).unwrap().write;
    assert_eq!(change(spec, &["Mine"], &written), None);
    let removal = change(json!({ "policyStatements": [] }), &["Mine"], &written).unwrap();
    assert!(removal.write.statements.is_empty() && removal.weakens.is_none());
    assert_eq!(BucketPolicy::change(&desired(json!({ "policyStatements": [] }), &["Mine"]).unwrap(), None), None);
}

/// The statement of the spec, and other forms in which AWS may return it.
#[test]
fn the_same_in_other_words_is_no_difference() {
    let live = policy(&[
        r#"{"Action":"s3:*","Principal":"*","Effect":"Deny","Resource":["arn:aws:s3:::b/*","arn:aws:s3:::b"],"Condition":{"Bool":{"aws:SecureTransport":"false"}},"Sid":"BucketConnectionTLSOnly"}"#,
        r#"{"Sid":"Mine","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:root"},"Action":["s3:PutObject","s3:getobject"],"Resource":["arn:aws:s3:::b","arn:aws:s3:::b/*"]}"#,
        r#"{"Sid":"BucketConnectionTLSVersion","Effect":"Deny","Principal":{"AWS":"*"},"Action":"s3:*","Resource":["arn:aws:s3:::b","arn:aws:s3:::b/*"],"Condition":{"NumericLessThan":{"s3:TlsVersion":"1.2"}}}"#,
    ]);
    let spec = json!({ "tls": { "minimumVersion": "1.2" }, "policyStatements": [statement("Mine", "Allow")] });
    assert_eq!(change(spec, &[], &live), None);
}

#[test]
fn what_weakens() {
    let tls = |version: &str| json!({ "tls": { "minimumVersion": version } });
    let written = |spec: Value| BucketPolicy::change(&desired(spec, &[]).unwrap(), None).unwrap().write;
    let deny = json!({ "policyStatements": [statement("Guard", "Deny")] });
    let mut wider = deny.clone();
    wider["policyStatements"][0]["actions"] = json!(["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]);
    let mut narrower = deny.clone();
    narrower["policyStatements"][0]["actions"] = json!(["s3:GetObject"]);
    let none = json!({ "policyStatements": [] });
    let table = [
        (tls("1.3"), written(tls("1.2")), None),
        (tls("1.2"), written(tls("1.3")), Some("changes the Deny statement BucketConnectionTLSVersion")),
        (wider, written(deny.clone()), None),
        (narrower, written(deny.clone()), Some("changes the Deny statement Guard")),
        (none.clone(), written(deny), Some("removes the Deny statement Guard")),
        (
            none,
            written(tls("1.2")),
            Some("removes the Deny statement BucketConnectionTLSOnly, removes the Deny statement BucketConnectionTLSVersion"),
        ),
    ];
    for (spec, live, weakens) in table {
        let earlier = ["Guard", "BucketConnectionTLSOnly", "BucketConnectionTLSVersion"];
        assert_eq!(change(spec.clone(), &earlier, &live).unwrap().weakens.as_deref(), weakens, "{spec}");
    }
}

#[test]
fn public_statements() {
    let public = |conditions: Value, principals: Value| {
        let spec = json!({ "policyStatements": [{ "sid": "Open", "effect": "Allow", "principals": principals, "actions": ["s3:GetObject"], "conditions": conditions }] });
        BucketPolicy::change(&desired(spec, &[]).unwrap(), None).unwrap().weakens.is_some()
    };
    let everyone = || json!({ "AWS": ["*"] });
    for (conditions, expected) in [
        (json!({}), true),
        (json!({ "IpAddress": { "aws:SourceIp": ["10.0.0.0/8"] } }), false),
        (json!({ "IpAddress": { "aws:SourceIp": ["0.0.0.0/1"] } }), true),
        (json!({ "NotIpAddress": { "aws:SourceIp": ["10.0.0.0/8"] } }), true),
        (json!({ "StringEquals": { "aws:PrincipalOrgID": ["o-1"] } }), false),
        (json!({ "StringLike": { "aws:PrincipalArn": ["arn:aws:iam::*:role/x"] } }), true),
        (json!({ "StringEqualsIfExists": { "aws:SourceVpce": ["vpce-1"] } }), true),
        (json!({ "StringEquals": { "s3:prefix": ["a/"] } }), true),
    ] {
        assert_eq!(public(conditions.clone(), everyone()), expected, "{conditions}");
    }
    for kind in ["AWS", "Federated", "Service", "CanonicalUser"] {
        assert!(public(json!({}), json!({ kind: ["*"] })), "{kind}");
    }
    // Forms that a spec cannot have, but a policy may.
    let empty = json!({ "Effect": "Allow", "Principal": "*", "Condition": { "StringEquals": { "aws:SourceArn": [] } } });
    assert!(is_public(&canonical_statement(&empty).unwrap()));
    assert!(!public(json!({}), json!({ "AWS": ["123456789012"], "Service": ["logging.s3.amazonaws.com"] })));
}

#[test]
fn what_no_statement_may_say() {
    let deny = |change: Value| {
        let mut statement = json!({ "sid": "Guard", "effect": "Deny", "principals": { "AWS": ["*"] }, "actions": ["s3:*"] });
        for (field, value) in change.as_object().unwrap() {
            statement[field] = value.clone();
        }
        resolved(json!({ "policyStatements": [statement] }), &[]).err()
    };
    let locked = "Guard may deny the operator access to the bucket policy";
    let table = [
        (json!({}), Some(locked)),
        (json!({ "conditions": { "Bool": { "aws:SecureTransport": ["false"] } } }), None),
        (
            json!({ "conditions": { "StringLiek": { "aws:SourceArn": ["a"] } } }),
            Some("conditions of Guard: \"StringLiek\" is not"),
        ),
        (json!({ "conditions": { "StringLike": { "aws:SourceArn": [] } } }), Some("conditions of Guard: StringLike of")),
        (json!({ "conditions": { "StringLike": {} } }), Some("conditions of Guard: StringLike has no")),
    ];
    for (change, expected) in table {
        let error = deny(change.clone());
        let fits = expected.map_or(error.is_none(), |expected| error.as_ref().is_some_and(|error| error.starts_with(expected)));
        assert!(fits, "{change}: {error:?}");
    }
}

#[test]
fn a_changed_element_is_one_diff() {
    let spec = json!({ "policyStatements": [statement("Mine", "Allow")] });
    let mut live = desired(spec.clone(), &[]).unwrap().ours.remove(0);
    live["Action"] = json!("s3:*");
    let change = change(spec, &["Mine"], &policy(&[&live.to_string()])).unwrap();
    assert_eq!(change.diffs.len(), 1);
    assert_eq!(change.diffs[0].path, "bucket.policyStatements[Mine].actions");
}

#[test]
fn a_statement_of_others_is_not_replaced_by_naming_it() {
    let spec = json!({ "policyStatements": [statement("Theirs", "Allow"), statement("Mine", "Allow")] });
    let live = policy(&[FOREIGN]);
    let beside = change(spec.clone(), &[], &live).unwrap();
    assert_eq!((beside.foreign, beside.adds), (vec!["bucket.policyStatements[Theirs]".to_owned()], vec!["Mine".to_owned()]));
    assert_eq!((beside.write.statements.len(), beside.write.statements[0].as_str()), (2, FOREIGN));
    assert_eq!(change(spec.clone(), &["Theirs", "Mine"], &live).unwrap().foreign, [""; 0]);
    let mut adopting = desired(spec, &[]).unwrap();
    BucketPolicy::adopt(&mut adopting);
    let replaced = BucketPolicy::change(&adopting, Some(&live)).unwrap();
    assert!(replaced.foreign.is_empty() && !replaced.write.statements.contains(&FOREIGN.to_owned()));
}

/// A policy variable is plain text in a policy of the old version, and the version also applies to foreign statements.
#[test]
fn a_variable_needs_the_version_that_has_them() {
    let spec = || {
        let mut mine = statement("Mine", "Allow");
        mine["resources"] = json!([format!("{ARN}/${{aws:username}}/*")]);
        json!({ "policyStatements": [mine] })
    };
    let plain =
        json!({ "Sid": "Theirs", "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": format!("{ARN}/x") });
    let mut literal = plain.clone();
    literal["Resource"] = json!(format!("{ARN}/${{x}}"));
    let (plain, literal) = (plain.to_string(), literal.to_string());
    let old = |head: &[&str], statements: &[&str]| PolicyText {
        head: head.iter().map(|&part| part.to_owned()).collect(),
        ..policy(statements)
    };
    let version = "\"Version\":\"2008-10-17\"";
    // Raised, and reported; the Id stays in its place.
    for (head, raised) in [
        (vec!["\"Id\":\"x\"", version], vec!["\"Id\":\"x\"", "\"Version\":\"2012-10-17\""]),
        (vec![], vec!["\"Version\":\"2012-10-17\""]),
    ] {
        let change = change(spec(), &[], &old(&head, &[&plain])).unwrap();
        assert_eq!((change.blocked, &change.write.head), (None, &raised.iter().map(|&part| part.to_owned()).collect()));
        assert_eq!(change.diffs[0].path, "bucket.policyStatements.version");
        assert_eq!(change.diffs[0].live, Some(json!("2008-10-17")));
        assert_eq!(self::change(spec(), &[], &change.write), None, "and then it rests");
    }
    // The version comes after the statements.
    let tail = PolicyText { tail: vec![version.to_owned()], ..old(&[], &[&plain]) };
    assert_eq!(change(spec(), &[], &tail).unwrap().write.tail, ["\"Version\":\"2012-10-17\""]);
    // A new version would change what the foreign statement means, even if the managed one is already there.
    let mine = desired(spec(), &[]).unwrap().ours.remove(0).to_string();
    for statements in [vec![plain.as_str(), literal.as_str()], vec![plain.as_str(), literal.as_str(), mine.as_str()]] {
        let blocked = change(spec(), &[], &old(&[version], &statements)).unwrap().blocked.unwrap();
        assert!(
            blocked.starts_with("statement Mine contains a policy variable (${…}), which needs policy version 2012-10-17"),
            "{blocked}"
        );
        assert!(blocked.contains("statement 2 (Sid Theirs), a foreign statement that contains ${…} as plain text"), "{blocked}");
    }
    // Without a variable in a managed statement, or with the new version, none of this matters.
    let without = json!({ "policyStatements": [statement("Mine", "Allow")] });
    let change_of = change(without, &[], &old(&[version], &[&literal])).unwrap();
    assert_eq!((change_of.blocked, change_of.write.head), (None, vec![version.to_owned()]));
    assert_eq!(change(spec(), &[], &policy(&[&literal])).unwrap().blocked, None);
}

#[test]
fn the_principal_that_aws_does_not_know_is_named() {
    let principal = |sid: &str, principal: Value| json!({ "Sid": sid, "Effect": "Allow", "Principal": principal }).to_string();
    let hint = |statements: &[&str], code: &str| {
        let problem =
            Problem::new(crate::vocabulary::problem::Class::Refused, "s3:PutBucketPolicy", code, "Invalid principal in policy");
        BucketPolicy::hint(&policy(statements), &problem)
    };
    let everyone = principal("", json!("*"));
    let dead = principal("", json!({ "AWS": ["123456789012", "AROAEXAMPLEEXAMPLE123"] }));
    let gone = principal("Old", json!({ "AWS": "AIDAEXAMPLEEXAMPLE123" }));
    let role = principal("Mine", json!({ "AWS": "arn:aws:iam::123456789012:role/typo" }));
    assert_eq!(hint(&[&everyone, &dead], "SlowDown"), None);
    assert_eq!(hint(&[&everyone], "MalformedPolicy"), None);
    assert_eq!(
        hint(&[&everyone, &dead, &gone, &role], "MalformedPolicy").unwrap(),
        "AWS refuses a policy that contains the id of a deleted user or role: AROAEXAMPLEEXAMPLE123 in statement 2, AIDAEXAMPLEEXAMPLE123 in statement 3 (Sid Old); remove the id, or the statement"
    );
    assert_eq!(
        hint(&[&everyone, &role], "MalformedPolicy").unwrap(),
        "one of these may not exist: arn:aws:iam::123456789012:role/typo in statement 2 (Sid Mine)"
    );
}
