use serde_json::{Value, json};

use super::*;
use crate::api::BucketConnection;

fn account() -> Account {
    Account { id: "123456789012".into(), partition: "aws".into() }
}

fn object(name: &str, spec: Value) -> BucketConnection {
    let mut whole =
        json!({ "preset": "ReadWrite", "region": "us-east-1", "bucket": { "name": "lab-bucket", "prefix": "runs/" } });
    for (field, value) in spec.as_object().unwrap() {
        whole[field] = value.clone();
    }
    let metadata = json!({ "name": name, "namespace": "lab", "uid": "uid" });
    serde_json::from_value(
        json!({ "apiVersion": "bucketconnection.dev/v1alpha1", "kind": "BucketConnection", "metadata": metadata, "spec": whole }),
    )
    .unwrap()
}

fn resolved(spec: Value) -> Desired {
    resolve(&object("genomics", spec), "cluster", &account(), &Grant::default()).unwrap()
}

#[test]
fn names_that_nobody_chose() {
    let desired = resolved(json!({}));
    assert_eq!(desired.user.name, "lab.genomics");
    assert_eq!(desired.user.arn, "arn:aws:iam::123456789012:user/bucketconnection/lab.genomics");
    assert_eq!(desired.policy.name, "bucketconnection");
    assert_eq!(desired.secret.name, "genomics-s3");
    assert_eq!(desired.owner, "cluster/lab/genomics");
    let managed = resolved(json!({ "policy": { "type": "Managed" } }));
    assert_eq!(managed.policy.arn, "arn:aws:iam::123456789012:policy/bucketconnection/lab.genomics");
}

#[test]
fn only_settings_can_be_made_weaker() {
    let errors = resolve(
        &object("genomics", json!({ "bucket": { "name": "lab-bucket", "prefix": "runs/", "allowWeaker": ["all"] } })),
        "cluster",
        &account(),
        &Grant::default(),
    );
    let text = errors.unwrap_err()[0].to_string();
    assert!(text.starts_with("spec.bucket.allowWeaker: all is not a setting (allowed: publicAccessBlock, ownership, "), "{text}");
}

#[test]
fn long_names_are_cut_and_stay_apart() {
    let name = "n".repeat(253);
    let long = |last: &str, spec: Value| {
        resolve(&object(&format!("{}{last}", &name[..252]), spec), "cluster", &account(), &Grant::default())
    };
    // A Secret cannot have a name that long.
    let error = long("a", json!({})).unwrap_err().remove(0);
    assert!(error.field == "spec.credentials.secret.name" && error.message.ends_with("set a shorter name"), "{error}");
    let long = |last: &str| long(last, json!({ "credentials": { "secret": { "name": "key" } } })).unwrap();
    let (a, b) = (long("a"), long("b"));
    assert_eq!(a.user.name.len(), 64);
    assert_ne!(a.user.name, b.user.name);
    assert!(a.owner.len() <= 256 && a.owner != b.owner);
}

#[test]
fn partitions() {
    for (region, partition) in [
        ("us-east-1", "aws"),
        ("cn-northwest-1", "aws-cn"),
        ("us-gov-west-1", "aws-us-gov"),
        ("us-iso-east-1", "aws-iso"),
        ("us-isob-east-1", "aws-iso-b"),
        ("eusc-de-east-1", "aws-eusc"),
    ] {
        assert_eq!(names::partition_of(region), partition, "{region}");
    }
}

#[test]
fn the_ica_document_in_both_scopes() {
    let objects = |scope: &str| {
        let desired = resolved(json!({ "preset": "IlluminaICA", "policy": { "scope": scope } }));
        desired.policy.document.to_json()["Statement"][1]["Resource"].clone()
    };
    assert_eq!(objects("Bucket"), json!(["arn:aws:s3:::lab-bucket/*"]));
    assert_eq!(objects("Prefix"), json!(["arn:aws:s3:::lab-bucket/runs/*"]));
}

#[test]
fn proofs_are_what_the_policy_lets_us_try() {
    let proofs = |spec: Value| resolved(spec).proofs.required;
    assert_eq!(proofs(json!({ "preset": "ReadOnly" })), [Proof::Identity, Proof::List]);
    assert_eq!(proofs(json!({ "preset": "WriteOnly" })), [Proof::Identity, Proof::Upload]);
    let custom = |actions: Value| json!({ "preset": "Custom", "policy": { "statements": [{ "actions": actions }] } });
    assert_eq!(proofs(custom(json!(["s3:GetObject"]))), [Proof::Identity]);
    assert_eq!(proofs(custom(json!(["s3:Get*", "s3:List*"]))), [Proof::Identity, Proof::List]);
    // A Deny in the spec disables the verification, not the connection.
    let denied = json!({ "policy": { "statements": [{ "effect": "Deny", "actions": ["s3:ListBucket"] }] } });
    assert_eq!(proofs(denied), [Proof::Identity, Proof::Upload]);
}

#[test]
fn kms_rights_go_with_the_key() {
    let key = "arn:aws:kms:us-east-1:123456789012:key/k";
    let encryption = json!({ "name": "lab-bucket", "prefix": "runs/", "encryption": { "type": "SSE-KMS", "kmsKeyArn": key } });
    let last = |preset: &str| {
        let desired = resolved(json!({ "preset": preset, "bucket": encryption }));
        desired.policy.document.to_json()["Statement"].as_array().unwrap().last().unwrap().clone()
    };
    // Only through S3, and only for this bucket: many tenants may share one key.
    let conditions = json!({
        "StringEquals": { "kms:ViaService": ["s3.us-east-1.amazonaws.com"] },
        "StringLike": { "kms:EncryptionContext:aws:s3:arn": ["arn:aws:s3:::lab-bucket", "arn:aws:s3:::lab-bucket/runs/*"] },
    });
    let statement = |actions: Value| json!({ "Effect": "Allow", "Action": actions, "Resource": [key], "Condition": conditions });
    assert_eq!(last("ReadOnly"), statement(json!(["kms:Decrypt"])));
    assert_eq!(last("ReadWrite"), statement(json!(["kms:Decrypt", "kms:GenerateDataKey"])));
    assert_eq!(last("IlluminaICA"), statement(json!(["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"])));
}

/// The plain preset is the guide's; each option adds only its own permissions.
#[test]
fn ica_with_versions_tags_and_copies() {
    let ica = |spec: Value| {
        let mut whole = json!({ "preset": "IlluminaICA" });
        for (field, value) in spec.as_object().unwrap() {
            whole[field] = value.clone();
        }
        resolved(whole)
    };
    let actions = |desired: &Desired| {
        let document = desired.policy.document.to_json();
        [0, 1].map(|at| document["Statement"][at]["Action"].as_array().unwrap().len())
    };
    let plain = ica(json!({}));
    assert_eq!((actions(&plain), plain.bucket.settings.bucket_policy.is_none()), ([4, 4], true));
    let bucket = json!({ "name": "lab-bucket", "prefix": "runs/", "versioning": "Suspended" });
    assert_eq!(actions(&ica(json!({ "bucket": bucket }))), [6, 6]);
    assert_eq!(actions(&ica(json!({ "illuminaICA": { "copyTags": true } }))), [4, 8]);

    let copy = |spec: Value| {
        let policy = ica(spec).bucket.settings.bucket_policy.unwrap();
        assert_eq!(policy.ours[0]["Sid"], "BucketConnectionICACopy");
        (policy.ours[0]["Principal"]["AWS"][0].clone(), policy.ours[0]["Action"].as_array().unwrap().len())
    };
    let known = json!("arn:aws:iam::079623148045:role/ica_use1_crossacct");
    assert_eq!(copy(json!({ "illuminaICA": { "crossAccountCopy": {} } })), (known.clone(), 5));
    assert_eq!(copy(json!({ "illuminaICA": { "crossAccountCopy": {} }, "bucket": bucket })), (known, 11));
    let role = json!("arn:aws:iam::079623148045:role/other");
    let given = json!({ "region": "eu-west-2", "illuminaICA": { "crossAccountCopy": { "roleArn": role } } });
    assert_eq!(copy(given), (role, 5));

    let unknown = json!({ "preset": "IlluminaICA", "region": "eu-west-2", "illuminaICA": { "crossAccountCopy": {} } });
    let errors = resolve(&object("genomics", unknown), "cluster", &account(), &Grant::default()).unwrap_err();
    assert_eq!(errors.len(), 1);
    assert!(
        errors[0].to_string().starts_with("spec.illuminaICA.crossAccountCopy: roleArn is required in eu-west-2"),
        "{}",
        errors[0]
    );
}

/// AWS refuses such a document as a whole, and names no field.
#[test]
fn a_deny_is_checked_too() {
    let error = |change: Value| {
        let mut statement =
            json!({ "effect": "Deny", "actions": ["s3:DeleteObject"], "resources": ["arn:aws:s3:::lab-bucket/x"] });
        for (field, value) in change.as_object().unwrap() {
            statement[field] = value.clone();
        }
        let object = object("genomics", json!({ "policy": { "statements": [statement] } }));
        resolve(&object, "cluster", &account(), &Grant::default()).err().map(|errors| errors[0].to_string())
    };
    let conditions = |operator: &str| error(json!({ "conditions": { operator: { "aws:SourceIp": ["10.0.0.0/8"] } } }));
    for operator in ["NotIpAddress", "ForAnyValue:StringLike", "ForAllValues:StringEqualsIfExists", "bool"] {
        assert_eq!(conditions(operator), None, "{operator}");
    }
    for operator in ["Liek", "", "ForAll:StringLike", "NullIfExists"] {
        let text = conditions(operator).unwrap();
        assert_eq!(
            text,
            format!("spec.policy.statements[0].conditions: {operator:?} is not a condition operator, such as StringLike")
        );
    }
    let text = error(json!({ "resources": ["arn:aws:s3:::lab-bucket/${aws:username}/*"] })).unwrap();
    assert!(text.starts_with("spec.policy.statements[0].resources: policy variables"), "{text}");
}

#[test]
fn a_date_is_a_day_of_the_calendar() {
    let error = |rule: Value| {
        let bucket = json!({ "name": "lab-bucket", "prefix": "runs/", "lifecycle": { "rules": [rule] } });
        resolve(&object("genomics", json!({ "bucket": bucket })), "cluster", &account(), &Grant::default()).err()
    };
    for date in ["2028-02-29", "2030-01-31T00:00:00Z"] {
        assert_eq!(error(json!({ "id": "tidy", "expiration": { "date": date } })), None, "{date}");
    }
    for date in ["2030-02-31", "2030-13-01T00:00:00Z", "soon", "0000-01-01"] {
        let expiration = error(json!({ "id": "tidy", "expiration": { "date": date } })).unwrap();
        let expected = format!("spec.bucket.lifecycle: rule tidy: expiration.date: {date} is not a date from 1970 on");
        assert!(expiration[0].to_string().starts_with(&expected), "{expiration:?}");
        let transitions = json!([{ "days": 30, "storageClass": "GLACIER" }, { "date": date, "storageClass": "DEEP_ARCHIVE" }]);
        let transitions = error(json!({ "id": "tidy", "transitions": transitions })).unwrap();
        assert!(transitions[0].to_string().contains("rule tidy: transitions.date: "), "{transitions:?}");
    }
}

#[test]
fn icas_limits_are_told() {
    let desired = resolved(json!({ "preset": "IlluminaICA", "region": "ap-northeast-2" }));
    assert!(desired.limits.unwrap().contains("BaseSpace"));
    assert_eq!(resolved(json!({ "region": "ap-northeast-2" })).limits, None);
}

/// A name that becomes part of a policy or path cannot widen it, even if the CRD lets it pass.
#[test]
fn nothing_in_a_name_widens_a_policy() {
    let bucket = |name: &str, prefix: &str| json!({ "bucket": { "name": name, "prefix": prefix } });
    let bad = [
        bucket("*", "runs/"),
        bucket("lab-*", "runs/"),
        bucket("lab/other", "runs/"),
        bucket("lab-bucket", "*/"),
        bucket("lab-bucket", "${aws:username}/"),
        bucket("lab-bucket", "a?/"),
        json!({ "user": { "name": "a/b" } }),
        json!({ "user": { "path": "/*/" } }),
        json!({ "policy": { "type": "Managed", "name": "*" } }),
        json!({ "region": "us-east-1/*" }),
    ];
    for spec in bad {
        let result = resolve(&object("genomics", spec.clone()), "cluster", &account(), &Grant::default());
        assert!(result.is_err(), "{spec}");
    }
}

/// The input that once stopped the operator for all objects.
#[test]
fn an_action_of_many_stars_is_resolved_like_any_other() {
    let action = format!("s3:{}z", "*".repeat(60));
    let statements =
        json!([{ "actions": [action], "conditions": { "StringLike": { "s3:prefix": [format!("{}z", "*".repeat(200))] } } }]);
    let desired = resolved(json!({ "preset": "Custom", "policy": { "statements": statements } }));
    assert_eq!(desired.proofs.required, [Proof::Identity], "it allows nothing that could be tried");
}

/// Without strict validation the API server would silently drop such a field, and the rest would allow more.
#[test]
fn what_no_type_knows_is_refused() {
    let error = |spec: Value| {
        let errors = resolve(&object("genomics", spec), "cluster", &account(), &Grant::default()).unwrap_err();
        errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let deny = json!({ "effect": "Deny", "actions": ["s3:DeleteObject"], "notResources": ["arn:aws:s3:::lab-bucket/x"] });
    let text = error(json!({ "policy": { "statements": [deny] } }));
    assert_eq!(text, "spec.policy.statements[0]: no such field: notResources; correct or remove it (docs/api.md has all fields)");
    let bucket = |fields: Value| {
        let mut bucket = json!({ "name": "lab-bucket", "prefix": "runs/" });
        bucket.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        error(json!({ "bucket": bucket }))
    };
    let statement = json!({ "sid": "Others", "effect": "Deny", "principals": { "AWS": ["*"] }, "actions": ["s3:GetObject"], "notPrincipals": {}, "condition": {} });
    let text = bucket(json!({ "policyStatements": [statement] }));
    assert!(text.starts_with("spec.bucket.policyStatements: Others: no such field: condition, notPrincipals;"), "{text}");
    let rule = |rule: Value| bucket(json!({ "lifecycle": { "rules": [rule] } }));
    let text = rule(json!({ "id": "tidy", "filters": { "prefix": "tmp/" }, "expiration": { "days": 1 } }));
    assert!(text.starts_with("spec.bucket.lifecycle: rule tidy: no such field: filters;"), "{text}");
    let text = rule(json!({ "id": "tidy", "filter": { "prefx": "tmp/" }, "expiration": { "days": 1 } }));
    assert!(text.starts_with("spec.bucket.lifecycle: rule tidy: filter: no such field: prefx;"), "{text}");
}

#[test]
fn each_sid_is_there_once() {
    let errors = |preset: &str, sids: &[&str]| {
        let statement = |sid: &&str| json!({ "sid": sid, "actions": ["s3:GetObject"] });
        let statements: Vec<_> = sids.iter().map(statement).collect();
        let object = object("genomics", json!({ "preset": preset, "policy": { "statements": statements } }));
        let errors = resolve(&object, "cluster", &account(), &Grant::default()).err().unwrap_or_default();
        errors.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(errors("ReadWrite", &["One", "Two", "one"]), [""; 0], "case counts");
    assert_eq!(
        errors("ReadWrite", &["List", "Mine", "Mine"]),
        [
            "spec.policy.statements[0].sid: List is already the sid of a statement of preset ReadWrite; choose another sid, or omit it",
            "spec.policy.statements[2].sid: Mine is already the sid of another statement; choose another sid, or omit it",
        ]
    );
    assert_eq!(errors("Custom", &["List"]), [""; 0]);
}

/// DNS subdomains (<https://kubernetes.io/docs/concepts/overview/working-with-objects/names/>), and nothing that could
/// change the path of a request.
#[test]
fn names_that_the_api_server_may_have() {
    for name in ["a", "0", "default", "a-b.c-d.e", &"a".repeat(253)] {
        assert!(names::is_object_name(name), "{name}");
    }
    for name in [
        "",
        ".",
        "..",
        "../../etc",
        "a/b?x=y",
        "small?anything=1",
        "a b",
        "A",
        "a_b",
        "-a",
        "a-",
        "a..b",
        "a%2fb",
        "a#b",
        "é",
        "a\n",
        &"a".repeat(254),
    ] {
        assert!(!names::is_object_name(name), "{name}");
    }
}
