use serde_json::{Value, json};

use super::*;

fn object(spec: Value) -> BucketConnection {
    let mut whole =
        json!({ "preset": "ReadWrite", "region": "eu-west-1", "bucket": { "name": "lab-a-data", "prefix": "runs/" } });
    for (field, value) in spec.as_object().unwrap() {
        whole[field] = value.clone();
    }
    serde_json::from_value(json!({
        "apiVersion": "bucketconnection.dev/v1alpha1", "kind": "BucketConnection",
        "metadata": { "name": "c", "namespace": "lab-a" }, "spec": whole,
    }))
    .unwrap()
}

fn account(rules: Value) -> AWSAccountSpec {
    serde_json::from_value(json!({ "allowedNamespaces": rules })).unwrap()
}

fn rule(change: Value) -> AWSAccountSpec {
    let mut rule =
        json!({ "names": ["lab-a"], "buckets": ["lab-a-*"], "regions": ["eu-*"], "presets": ["ReadWrite", "IlluminaICA"] });
    for (field, value) in change.as_object().unwrap() {
        rule[field] = value.clone();
    }
    account(json!([rule]))
}

fn asked(object: &BucketConnection, account: &AWSAccountSpec) -> Result<Grant, String> {
    let account = AWSAccount::new("research", account.clone());
    authorize(object, &Labels::from([("team".to_owned(), "a".to_owned())]), &account, 0).map_err(|refusal| refusal.message)
}

fn bucket(settings: Value) -> Value {
    let mut bucket = json!({ "name": "lab-a-data" });
    for (field, value) in settings.as_object().unwrap() {
        bucket[field] = value.clone();
    }
    json!({ "bucket": bucket })
}

fn cloud(rest: &str) -> Value {
    json!({ "verification": { "genomicsCloud": { "url": format!("https://{rest}") } } })
}

fn let_in(actions: Value) -> Value {
    let statement = json!({ "sid": "A", "effect": "Allow", "principals": { "AWS": ["*"] }, "actions": actions });
    bucket(json!({ "policyStatements": [statement] }))
}

fn copy(copy: Value) -> Value {
    json!({ "preset": "IlluminaICA", "illuminaICA": { "crossAccountCopy": copy } })
}

/// Each reach is refused if its field of the entry is omitted, and allowed if only that field lists it.
#[test]
fn nothing_is_allowed_that_is_not_listed() {
    let key = "arn:aws:kms:eu-west-1:123456789012:key/k";
    let boundary = "arn:aws:iam::aws:policy/AdministratorAccess";
    let statement = json!([{ "actions": ["s3:GetObject"] }]);
    let origins = json!([{ "allowedMethods": ["GET"], "allowedOrigins": ["*"] }]);
    let rotation = json!({ "credentials": { "rotation": { "interval": "10s" } } });
    let cases = [
        (bucket(json!({ "name": "lab-b-data" })), json!({ "buckets": ["*"] }), "bucket.name lab-b-data (allowed: lab-a-*)"),
        (
            bucket(json!({ "logging": { "targetBucket": "logs" } })),
            json!({ "buckets": ["*"] }),
            "bucket.logging.targetBucket logs (allowed: lab-a-*)",
        ),
        (json!({ "region": "us-east-1" }), json!({ "regions": ["*"] }), "region us-east-1 (allowed: eu-*)"),
        (json!({ "preset": "ReadOnly" }), json!({ "presets": ["ReadOnly"] }), "preset ReadOnly (allowed: ReadWrite, Illumina"),
        (
            json!({ "preset": "Custom" }),
            json!({ "presets": ["Custom"], "customPolicy": true }),
            "preset Custom (needs customPolicy: true)",
        ),
        (json!({ "user": { "name": "admin" } }), json!({ "users": ["admin"] }), "user.name admin (allowed: none)"),
        (json!({ "user": { "path": "/admins/" } }), json!({ "users": ["*a.c"] }), "user /admins/lab-a.c (allowed: none)"),
        (json!({ "policy": { "type": "Managed", "name": "x" } }), json!({ "users": ["x"] }), "policy.name x (allowed: none)"),
        (
            json!({ "user": { "permissionsBoundary": boundary } }),
            json!({ "permissionsBoundaries": ["arn:aws:iam::aws:policy/*"] }),
            "user.permissionsBoundary arn:aws:iam::aws:policy/AdministratorAccess (allowed: none)",
        ),
        (
            bucket(json!({ "encryption": { "type": "SSE-KMS", "kmsKeyArn": key } })),
            json!({ "kmsKeys": ["*"] }),
            "bucket.encryption.kmsKeyArn arn:aws:kms:",
        ),
        (
            bucket(json!({ "encryption": { "type": "SSE-S3", "blockedTypes": ["NONE"] } })),
            json!({ "weaken": ["encryption"] }),
            "bucket.encryption.blockedTypes (needs weaken: [encryption])",
        ),
        (bucket(json!({ "tags": { "clearance": "top" } })), json!({ "tags": ["clear*"] }), "bucket.tags clearance (tags: none)"),
        (
            json!({ "user": { "tags": { "Clearance": "top" } } }),
            json!({ "tags": ["clearance"] }),
            "user.tags Clearance (tags: none)",
        ),
        (
            json!({ "policy": { "statements": statement } }),
            json!({ "statements": true }),
            "policy.statements (needs statements: true)",
        ),
        (let_in(json!(["s3:GetObject"])), json!({ "statements": true }), "bucket.policyStatements (needs statements: true)"),
        (
            bucket(json!({ "allowWeaker": ["cors"] })),
            json!({ "weaken": ["*"] }),
            "bucket.allowWeaker cors (needs weaken: [cors])",
        ),
        (
            bucket(json!({ "publicAccessBlock": { "blockPublicAcls": false } })),
            json!({ "weaken": ["publicAccessBlock"] }),
            "bucket.publicAccessBlock (needs weaken: [publicAccessBlock])",
        ),
        (
            bucket(json!({ "ownership": "ObjectWriter" })),
            json!({ "weaken": ["ownership"] }),
            "bucket.ownership (needs weaken: [ownership])",
        ),
        (
            json!({ "cors": { "rules": origins } }),
            json!({ "weaken": ["cors"] }),
            "cors.rules[].allowedOrigins * (needs weaken: [cors])",
        ),
        (
            bucket(json!({ "versioning": "Enabled", "objectLock": { "mode": "COMPLIANCE", "years": 100 } })),
            json!({ "complianceRetention": true }),
            "bucket.objectLock.mode COMPLIANCE (needs complianceRetention: true)",
        ),
        (copy(json!({})), json!({ "crossAccountCopy": true }), "illuminaICA.crossAccountCopy (needs crossAccountCopy: true)"),
        (json!({ "forceDestroy": true }), json!({ "forceDestroy": true }), "forceDestroy (needs forceDestroy: true)"),
        (
            bucket(json!({ "adopt": true })),
            json!({ "adoption": { "buckets": true } }),
            "bucket.adopt (needs adoption.buckets: true)",
        ),
        (
            json!({ "user": { "adopt": true } }),
            json!({ "adoption": { "users": true } }),
            "user.adopt (needs adoption.users: true)",
        ),
        (
            json!({ "policy": { "adopt": true } }),
            json!({ "adoption": { "policies": true } }),
            "policy.adopt (needs adoption.policies: true)",
        ),
        (
            cloud("clc.example.org"),
            json!({ "hosts": ["*.example.org"] }),
            "verification.genomicsCloud.url clc.example.org (allowed: none)",
        ),
        (
            json!({ "resyncInterval": "10s" }),
            json!({ "minResyncInterval": "10s" }),
            "resyncInterval 10s (minResyncInterval: 60s)",
        ),
        (rotation, json!({ "minRotationInterval": "10s" }), "credentials.rotation.interval 10s (minRotationInterval: 3600s)"),
    ];
    for (spec, change, expected) in cases {
        let object = object(spec.clone());
        let text = asked(&object, &rule(json!({}))).unwrap_err();
        assert!(text.contains(expected), "{spec}: {text}");
        assert_eq!(asked(&object, &rule(change.clone())).err(), None, "{spec} {change}");
    }
}

#[test]
fn what_takes_more_than_one_field_of_a_rule() {
    let named = |actions: Value| json!({ "policy": { "statements": [{ "actions": actions }] } });
    let statements = json!({ "statements": true });
    let cases = [
        (named(json!(["s3:PutBucketCORS"])), statements.clone(), "policy.statements[0].actions s3:PutBucketCORS (actions: none)"),
        (
            named(json!(["s3:putbuckettagging"])),
            json!({ "statements": true, "actions": ["s3:PutBucketC*"] }),
            "policy.statements[0].actions s3:putbuckettagging (actions: s3:PutBucketC*)",
        ),
        (named(json!(["s3:PutBucketCORS"])), json!({ "statements": true, "actions": ["s3:PutBucketCors"] }), ""),
        // For a wildcard in the user's policy the operator adds a Deny; in a bucket policy it cannot.
        (named(json!(["s3:*"])), statements.clone(), ""),
        (let_in(json!(["s3:*"])), statements.clone(), "bucket.policyStatements[A] s3:* (actions: none)"),
        (let_in(json!(["s3:*"])), json!({ "statements": true, "actions": ["s3:*"] }), ""),
        (
            copy(json!({ "roleArn": "arn:aws:iam::210987654321:role/x" })),
            json!({ "crossAccountCopy": true }),
            "illuminaICA.crossAccountCopy.roleArn (needs statements: true)",
        ),
        (cloud("clc.example.org/x"), json!({ "hosts": ["*.example.org"] }), ""),
        (cloud("clc.example.org:22"), json!({ "hosts": ["clc.example.org"] }), "url clc.example.org:22 (allowed:"),
        (cloud("other.org/.example.org"), json!({ "hosts": ["*.example.org"] }), "url other.org (allowed:"),
        (json!({ "user": { "path": "/admins/" } }), json!({ "users": ["lab-a*"] }), "user /admins/lab-a.c (allowed: lab-a*)"),
        (json!({}), json!({ "names": ["lab-b", "lab"] }), "allows nothing to namespace lab-a"),
        (json!({}), json!({ "buckets": [] }), "bucket.name lab-a-data (allowed: none)"),
        (json!({}), json!({ "maxConnection": 5 }), "everything (the entry allows nothing: no such field: maxConnection;"),
    ];
    for (spec, change, expected) in cases {
        match asked(&object(spec.clone()), &rule(change.clone())) {
            Ok(_) => assert_eq!(expected, "", "{spec} {change}"),
            Err(text) => assert!(!expected.is_empty() && text.contains(expected), "{spec} {change}: {text}"),
        }
    }
}

/// Policies can depend on the platform's tags.
#[test]
fn tags_of_the_account_are_overridden_only_where_they_are_listed() {
    let mut account = rule(json!({ "tags": ["*"] }));
    account.defaults.tags = [("cost-center".to_owned(), "4711".to_owned())].into();
    let own = |key: &str| object(json!({ "user": { "tags": { key: "0815" } } }));
    assert!(asked(&own("team"), &account).is_ok());
    let text = asked(&own("Cost-Center"), &account).unwrap_err();
    assert!(text.contains("user.tags Cost-Center (the account sets it; needs tags: [Cost-Center])"), "{text}");
    account.allowed_namespaces[0].tags.push("cost-center".to_owned());
    assert!(asked(&own("Cost-Center"), &account).is_ok());
}

#[test]
fn what_was_taken_over_is_ours_by_now() {
    let mut adopted = object(json!({ "bucket": { "name": "lab-a-data", "adopt": true }, "user": { "adopt": true } }));
    assert!(asked(&adopted, &rule(json!({}))).is_err());
    let user = json!({ "name": "u", "arn": "a", "id": "i" });
    let bucket = json!({ "arn": "arn:aws:s3:::lab-a-data", "region": "eu-west-1" });
    adopted.status = serde_json::from_value(json!({ "bucket": bucket, "user": user })).unwrap();
    assert!(asked(&adopted, &rule(json!({}))).is_ok());
}

#[test]
fn a_namespace_has_so_many_connections() {
    let account = |most: Value| AWSAccount::new("research", rule(json!({ "maxConnections": most })));
    let asked = |account: &AWSAccount, earlier| authorize(&object(json!({})), &Labels::new(), account, earlier).is_ok();
    assert!(asked(&account(json!(2)), 1) && !asked(&account(json!(2)), 2));
    assert!(asked(&account(json!(null)), 99) && !asked(&account(json!(null)), 100));
}

/// Deletion ignores the entries, except for what destroys objects.
#[test]
fn what_is_destroyed_on_deletion_is_for_the_rules_to_say() {
    let allowed = |change: Value| {
        let account = AWSAccount::new("research", rule(change));
        deletion_grant(&object(json!({ "region": "us-east-1" })), &Labels::new(), &account).force_destroy
    };
    assert!(!allowed(json!({})));
    assert!(allowed(json!({ "forceDestroy": true })), "whatever else is not allowed any more");
    assert!(!allowed(json!({ "forceDestroy": true, "names": ["lab-b"] })));
}

#[test]
fn the_report_says_which_rule_allowed_what() {
    let account = AWSAccount::new(
        "research",
        account(json!([
            { "names": ["*"], "buckets": ["none"] },
            { "names": ["lab-*"], "buckets": ["lab-b-*", "lab-a-*"], "regions": ["eu-*"], "presets": ["ReadWrite"] },
        ])),
    );
    let allowed = authorize(&object(json!({})), &Labels::new(), &account, 3).unwrap().report.to_string();
    let expected = "AWSAccount research, spec.allowedNamespaces[1]:
    allowed: bucket.name lab-a-data (buckets: lab-a-*)
    allowed: region eu-west-1 (regions: eu-*)
    allowed: preset ReadWrite (presets: ReadWrite)
    allowed: connection number 4 (maxConnections: 100)
    allowed: resyncInterval 600s (minResyncInterval: 60s)
";
    assert_eq!(allowed, expected);
    let refusal = authorize(&object(json!({ "forceDestroy": true })), &Labels::new(), &account, 0).unwrap_err();
    let which = "ask the platform team to allow it in spec.allowedNamespaces[1], the entry that allows most of it";
    assert!(refusal.message.ends_with(which), "{}", refusal.message);
    assert!(refusal.report.to_string().contains("    refused: forceDestroy (needs forceDestroy: true)\n"));
    let nobody = authorize(&object(json!({})), &Labels::new(), &AWSAccount::default(), 0).unwrap_err();
    assert!(nobody.message.ends_with("; ask the platform team to allow it in spec.allowedNamespaces"), "{}", nobody.message);
}

#[test]
fn one_entry_must_allow_all_of_it() {
    let halves = account(json!([
        { "names": ["*"], "buckets": ["*"], "presets": ["ReadWrite"] },
        { "names": ["*"], "regions": ["*"], "presets": ["ReadWrite"] },
    ]));
    let text = asked(&object(json!({})), &halves).unwrap_err();
    assert!(text.contains("region eu-west-1 (allowed: none)") && !text.contains("bucket.name"), "{text}");
}

#[test]
fn labels_select_namespaces() {
    let by = |selector: Value| asked(&object(json!({})), &rule(json!({ "names": [], "selector": selector }))).is_ok();
    assert!(by(json!({ "matchLabels": { "team": "a" } })));
    assert!(!by(json!({ "matchLabels": { "team": "b" } })));
    assert!(by(json!({ "matchExpressions": [{ "key": "team", "operator": "In", "values": ["a", "b"] }] })));
    assert!(!by(json!({ "matchExpressions": [{ "key": "team", "operator": "DoesNotExist" }] })));
    assert!(by(json!({ "matchExpressions": [{ "key": "x", "operator": "NotIn", "values": ["a"] }] })));
    assert!(!by(json!({ "matchExpressions": [{ "key": "team", "operator": "Unknown" }] })));
    let both = rule(json!({ "names": ["lab-b"], "selector": { "matchLabels": { "team": "a" } } }));
    assert!(asked(&object(json!({})), &both).is_err() && !asks_labels(&both, "lab-a"));
}

#[test]
fn the_accounts_boundary_cannot_be_replaced() {
    let mut account = rule(json!({}));
    account.defaults.permissions_boundary = Some("arn:aws:iam::123456789012:policy/edge".into());
    let own = object(json!({ "user": { "permissionsBoundary": "arn:aws:iam::aws:policy/AdministratorAccess" } }));
    assert!(asked(&own, &account).unwrap_err().contains("the account sets arn:aws:iam::123456789012:policy/edge"));
}

#[test]
fn an_account_that_is_being_deleted_takes_no_new_connections() {
    let mut account = AWSAccount::new("research", rule(json!({})));
    let mut object = object(json!({}));
    assert!(authorize(&object, &Labels::new(), &account, 0).is_ok());
    account.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    let refusal = authorize(&object, &Labels::new(), &account, 0).unwrap_err();
    assert_eq!(refusal.reason, Reason::AccountNotFound);
    assert!(refusal.message.starts_with("AWSAccount research is being deleted and takes no new connections: "));
    // A connection that owns something continues until it is deleted itself.
    object.status =
        serde_json::from_value(json!({ "bucket": { "arn": "arn:aws:s3:::lab-a-data", "region": "eu-west-1" } })).unwrap();
    assert!(authorize(&object, &Labels::new(), &account, 0).is_ok());
}

#[test]
fn a_generated_bucket_name_is_checked_whole() {
    let generated = object(json!({ "bucket": { "namePrefix": "lab-a" } }));
    assert!(asked(&generated, &rule(json!({}))).is_ok());
    assert!(asked(&generated, &rule(json!({ "buckets": ["lab-a-*-eu-west-1-an"] }))).is_ok());
    assert!(asked(&generated, &rule(json!({ "buckets": ["lab-b-*"] }))).is_err());
}
