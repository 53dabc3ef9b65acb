//! The CRD on a real API server: what it refuses, with messages that name the field and the allowed values, and what
//! `kubectl explain` shows.

use std::collections::BTreeSet;

use bucketconnection::api::{AWSAccount, BucketConnection};
use kube::Api;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

use crate::support::harness::Harness;
use crate::support::merge::merge;
use crate::support::stack::Stack;

/// Applies `spec` over a good one, as a dry run; returns the API server's message, or nothing if it accepts.
async fn words(harness: &Harness, spec: Value) -> String {
    let mut object = harness.connection("bucket-valid", json!({}));
    merge(&mut object["spec"], spec);
    let parameters = PatchParams { dry_run: true, ..PatchParams::apply("user").force() };
    let applied: kube::Result<BucketConnection> = harness.objects().patch("c", &parameters, &Patch::Apply(&object)).await;
    match applied {
        Ok(_) => String::new(),
        Err(kube::Error::Api(status)) => status.message.clone(),
        Err(error) => panic!("{error}"),
    }
}

/// A spec with an existing key.
fn existing(change: Value) -> Value {
    let mut spec = json!({ "credentials": { "source": "Existing", "existingSecretRef": { "name": "theirs" } } });
    merge(&mut spec, change);
    spec
}

/// A map with so many entries.
fn many(count: usize, value: Value) -> Value {
    (0..count).map(|n| (format!("entry{n}"), value.clone())).collect::<serde_json::Map<_, _>>().into()
}

#[tokio::test]
async fn invalid_specs_are_refused_with_the_field_and_the_allowed_values() {
    let harness = Harness::idle("bad", Stack::cluster(), &[]).await;
    let key = "arn:aws:kms:us-east-1:123456789012:key/1234abcd";
    let cases = [
        (
            json!({ "preset": "Illumina" }),
            vec!["spec.preset", "\"IlluminaICA\", \"CLCGenomics\", \"ReadOnly\", \"ReadWrite\", \"WriteOnly\", \"Custom\""],
        ),
        (json!({ "preset": null }), vec!["spec.preset", "Required"]),
        (json!({ "region": "Frankfurt" }), vec!["spec.region", "must be the code of an AWS region"]),
        (json!({ "region": null }), vec!["spec.region", "Required"]),
        (json!({ "preset": "IlluminaICA", "region": "eu-north-1" }), vec!["spec.region", "eu-central-1, eu-west-2"]),
        (json!({ "preset": "IlluminaICA", "bucket": { "prefix": null } }), vec!["spec.bucket", "allowRoot: true"]),
        (json!({ "bucket": { "name": "Upper" } }), vec!["spec.bucket.name", "3 to 63 lower-case letters"]),
        (json!({ "bucket": { "name": "a" } }), vec!["spec.bucket.name", "at least 3 chars"]),
        (json!({ "bucket": { "name": "double..dot" } }), vec!["spec.bucket.name", "no two dots"]),
        (json!({ "bucket": { "name": "192.168.1.1" } }), vec!["spec.bucket.name", "IP address"]),
        (json!({ "bucket": { "name": "xn--bucket" } }), vec!["spec.bucket.name", "AWS reserves"]),
        (json!({ "bucket": { "name": "bucket*" } }), vec!["spec.bucket.name"]),
        (json!({ "bucket": { "name": "bucket-${aws" } }), vec!["spec.bucket.name"]),
        (json!({ "credentials": { "rotation": { "interval": "12h1d" } } }), vec!["spec.credentials.rotation.interval"]),
        (json!({ "credentials": { "rotation": { "interval": "1d1d" } } }), vec!["spec.credentials.rotation.interval"]),
        (json!({ "credentials": { "rotation": { "overlap": "" } } }), vec!["spec.credentials.rotation.overlap"]),
        (json!({ "bucket": { "prefix": "/runs/" } }), vec!["spec.bucket.prefix", "must not begin with"]),
        (json!({ "bucket": { "prefix": "runs" } }), vec!["spec.bucket.prefix", "must end in"]),
        (json!({ "bucket": { "prefix": "./" } }), vec!["spec.bucket.prefix", "./"]),
        (json!({ "bucket": { "prefix": "a/../b/" } }), vec!["spec.bucket.prefix", "../"]),
        (json!({ "bucket": { "prefix": "a//b/" } }), vec!["spec.bucket.prefix", "//"]),
        (json!({ "bucket": { "prefix": "runs/*/" } }), vec!["spec.bucket.prefix", "cannot widen a policy"]),
        (json!({ "bucket": { "prefix": "${aws:username}/" } }), vec!["spec.bucket.prefix", "cannot widen a policy"]),
        (
            json!({ "bucket": { "encryption": { "type": "SSE-C" } } }),
            vec!["spec.bucket.encryption.type", "\"SSE-S3\", \"SSE-KMS\""],
        ),
        (json!({ "bucket": { "encryption": { "type": "SSE-KMS" } } }), vec!["spec.bucket.encryption", "kmsKeyArn is needed"]),
        (
            json!({ "bucket": { "encryption": { "type": "SSE-S3", "kmsKeyArn": key } } }),
            vec!["spec.bucket.encryption", "only then"],
        ),
        (json!({ "bucket": { "encryption": { "type": "SSE-KMS", "kmsKeyArn": "alias/mine" } } }), vec!["kmsKeyArn", "full ARN"]),
        (
            json!({ "bucket": { "encryption": { "type": "DSSE-KMS", "kmsKeyArn": key, "bucketKey": true } } }),
            vec!["spec.bucket.encryption", "goes with type SSE-KMS only"],
        ),
        (
            json!({ "bucket": { "lifecycle": { "rules": [{ "id": "a", "transitions": [{ "storageClass": "GLACIER" }] }] } } }),
            vec!["spec.bucket.lifecycle.rules[0].transitions[0]", "set days: 0"],
        ),
        (json!({ "bucket": { "ownership": "Me" } }), vec!["spec.bucket.ownership", "\"BucketOwnerEnforced\""]),
        (json!({ "bucket": { "tags": { "aws:x": "y" } } }), vec!["spec.bucket.tags", "aws:"]),
        (
            json!({ "bucket": { "tags": { "bucketconnection.dev/owner": "y" } } }),
            vec!["spec.bucket.tags", "must not begin with aws: or bucketconnection.dev/"],
        ),
        (
            json!({ "user": { "tags": { "BucketConnection.dev/preset": "IlluminaICA" } } }),
            vec!["spec.user.tags", "must not begin with aws: or bucketconnection.dev/, in any case"],
        ),
        (json!({ "user": { "tags": { "AWS:x": "y" } } }), vec!["spec.user.tags", "must not begin with aws:"]),
        (json!({ "user": { "tags": { "team": "a", "Team": "b" } } }), vec!["spec.user.tags", "must not differ in case only"]),
        (
            json!({ "policy": { "name": "BucketConnection-Revoked" } }),
            vec!["spec.policy.name", "must not be bucketconnection-revoked"],
        ),
        (
            json!({ "cors": { "rules": [{ "allowedMethods": ["PATCH"], "allowedOrigins": ["*"] }] } }),
            vec!["spec.cors.rules[0].allowedMethods[0]", "\"GET\", \"PUT\", \"POST\", \"DELETE\", \"HEAD\""],
        ),
        (json!({ "cors": { "rules": [{ "allowedMethods": ["GET"] }] } }), vec!["allowedOrigins", "Required"]),
        (json!({ "policy": { "type": "Group" } }), vec!["spec.policy.type", "\"Inline\", \"Managed\""]),
        (json!({ "policy": { "name": "a/b" } }), vec!["spec.policy.name", "letters, digits"]),
        (
            json!({ "policy": { "statements": [{ "actions": ["GetObject"] }] } }),
            vec!["spec.policy.statements[0].actions", "like s3:GetObject"],
        ),
        (json!({ "preset": "Custom" }), vec!["spec", "policy.statements"]),
        (json!({ "user": { "name": "a/b" } }), vec!["spec.user.name", "letters, digits"]),
        (json!({ "user": { "path": "lab" } }), vec!["spec.user.path", "begin and end with"]),
        (json!({ "credentials": { "secret": { "name": "Upper" } } }), vec!["spec.credentials.secret.name", "lower-case"]),
        (
            existing(json!({ "credentials": { "existingSecretRef": null } })),
            vec!["required with source: Existing, and allowed only with it"],
        ),
        (
            existing(json!({ "credentials": { "source": "Issue" } })),
            vec!["required with source: Existing, and allowed only with it"],
        ),
        (existing(json!({ "credentials": { "secret": { "name": "x" } } })), vec!["for keys that the operator issues"]),
        (existing(json!({ "credentials": { "rotation": { "interval": "90d" } } })), vec!["for keys that the operator issues"]),
        (existing(json!({ "credentials": { "existingSecretRef": { "name": "Upper" } } })), vec!["existingSecretRef.name"]),
        (existing(json!({ "user": { "name": "x" } })), vec!["leave user and policy out"]),
        (existing(json!({ "policy": { "type": "Managed" } })), vec!["leave user and policy out"]),
        (
            existing(json!({ "access": { "groups": ["lab"] } })),
            vec!["access.groups is not allowed with credentials.source: Existing"],
        ),
        (json!({ "access": { "groups": ["system:authenticated"] } }), vec!["spec.access.groups", "the whole cluster"]),
        (json!({ "access": { "groups": ["system:unauthenticated"] } }), vec!["spec.access.groups", "the whole cluster"]),
        (json!({ "access": { "groups": ["lab", "system:serviceaccounts"] } }), vec!["system:serviceaccounts:<namespace>"]),
        (json!({ "access": { "groups": ["system:serviceaccounts:"] } }), vec!["system:serviceaccounts:<namespace>"]),
        (json!({ "access": { "groups": [" lab"] } }), vec!["spec.access.groups", "without a space at either end"]),
        (json!({ "access": { "groups": ["a\nb"] } }), vec!["spec.access.groups", "control characters"]),
        (json!({ "access": { "groups": [""] } }), vec!["spec.access.groups[0]", "at least 1 chars"]),
        (json!({ "deletionPolicy": "Orphan" }), vec!["spec.deletionPolicy", "\"Retain\", \"Release\", \"Delete\""]),
        (
            json!({ "policy": { "statements": [{ "actions": ["s3:GetObject s3:PutObject"] }] } }),
            vec!["spec.policy.statements[0].actions", "like s3:GetObject"],
        ),
        (
            json!({ "policy": { "statements": [{ "actions": ["s3:*"], "conditions": many(17, json!({ "aws:a": ["b"] })) }] } }),
            vec!["spec.policy.statements[0].conditions", "at most 16 items"],
        ),
        (
            json!({ "policy": { "statements": [{ "actions": ["s3:*"], "conditions": { "StringLike": many(17, json!(["b"])) } }] } }),
            vec!["spec.policy.statements[0].conditions.StringLike", "at most 16 items"],
        ),
        (
            json!({ "policy": { "statements": [{ "actions": ["s3:*"], "conditions": { "StringLike": { "aws:a": ["b".repeat(1025)] } } }] } }),
            vec!["spec.policy.statements[0].conditions.StringLike.aws:a[0]", "1024"],
        ),
        (
            json!({ "policy": { "statements": [{ "actions": ["s3:*"], "conditions": { "StringLike": { "k".repeat(257): ["b"] } } }] } }),
            vec!["spec.policy.statements[0].conditions", "keys of up to 256"],
        ),
        (json!({ "management": { "s".repeat(65): "Ignore" } }), vec!["spec.management", "names sections"]),
        (
            json!({ "bucket": { "lifecycle": { "rules": [{ "id": "a", "expiration": { "days": 1_000_000_001 } }] } } }),
            vec!["spec.bucket.lifecycle.rules[0].expiration.days", "less than or equal to 1000000000"],
        ),
        (json!({ "resyncInterval": "1s" }), vec!["spec.resyncInterval", "at least 10s"]),
        (json!({ "resyncInterval": "soon" }), vec!["spec.resyncInterval", "30s, 10m or 1h30m"]),
    ];
    for (spec, expected) in cases {
        let text = words(&harness, spec.clone()).await;
        for part in expected {
            assert!(text.contains(part), "{spec}: no {part:?} in {text:?}");
        }
    }
}

#[tokio::test]
async fn good_examples_are_accepted() {
    let harness = Harness::idle("good", Stack::cluster(), &[]).await;
    let cases = [
        json!({}),
        existing(json!({})),
        json!({ "verification": {} }),
        json!({ "preset": "IlluminaICA", "region": "eu-west-2" }),
        json!({ "preset": "IlluminaICA", "bucket": { "prefix": null, "allowRoot": true } }),
        json!({ "bucket": { "name": "dotted.name-1", "prefix": "a b/c=d/" } }),
        json!({ "bucket": { "encryption": { "type": "SSE-S3", "bucketKey": false } } }),
        json!({ "bucket": { "encryption": { "type": "DSSE-KMS", "kmsKeyArn": "arn:aws:kms:us-east-1:123456789012:key/1234abcd" } } }),
        json!({ "region": "us-gov-west-1" }),
        json!({ "region": "eusc-de-east-1" }),
        json!({ "cors": { "rules": [] } }),
        json!({ "access": { "groups": ["lab-a", "oidc:CN=Lab Ä,OU=x", "a", "system:serviceaccounts:clc-server"] } }),
        json!({ "access": {} }),
        json!({ "resyncInterval": "1h30m" }),
        json!({ "user": { "name": "illumina_ica_admin", "path": "/" } }),
        json!({ "preset": "Custom", "policy": { "statements": [{ "effect": "Deny", "actions": ["s3:*"], "conditions": { "Bool": { "aws:SecureTransport": ["false"] } } }] } }),
    ];
    for spec in cases {
        assert_eq!(words(&harness, spec.clone()).await, "", "{spec}");
    }
}

/// What a list omits is not filled in, so that applying the same object again changes nothing, for every applier.
#[tokio::test]
async fn the_same_object_again_changes_nothing() {
    let harness = Harness::idle("again", Stack::cluster(), &[]).await;
    let spec = json!({
        "policy": { "statements": [{ "actions": ["s3:GetObject"] }] },
        "bucket": { "lifecycle": { "rules": [{ "id": "tidy", "expiration": { "days": 1 } }] } },
        "verification": { "genomicsCloud": { "url": "https://clc.example.org/" } },
    });
    let place = harness.directory.join("object.yaml");
    std::fs::write(&place, harness.connection("bucket-again", spec).to_string()).unwrap();
    let file = place.to_str().unwrap();
    let said = |arguments: &[&str]| {
        let output = harness.kubectl(arguments);
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    assert!(said(&["apply", "-f", file]).0.contains("created"));
    let (again, trouble) = said(&["apply", "-f", file]);
    assert!(again.contains("unchanged"), "{again}{trouble}");
    for manager in ["flux", "argo"] {
        let field_manager = format!("--field-manager={manager}");
        let name = ["delete", "-f", file];
        if manager == "flux" {
            assert!(said(&name).0.contains("deleted"));
        }
        let (applied, conflict) = said(&["apply", "--server-side", &field_manager, "-f", file]);
        assert!(applied.contains("serverside-applied") && conflict.is_empty(), "{manager}: {applied}{conflict}");
    }
}

/// Without strict validation too: a dropped field would make a statement, or a rule, mean more.
#[tokio::test]
async fn an_unknown_field_is_refused_if_it_would_widen_the_spec() {
    let harness = Harness::new("unknown").await;
    let deny = json!({ "sid": "Guard", "effect": "Deny", "principals": { "AWS": ["*"] }, "actions": ["s3:DeleteObject"] });
    let with = |field: &str, value: Value| {
        let mut statement = deny.clone();
        statement[field] = value;
        json!({ "bucket": { "policyStatements": [statement] } })
    };
    let cases = [
        (with("notResources", json!(["arn:aws:s3:::bucket-unknown/x"])), "Guard: no such field: notResources"),
        (with("notPrincipals", json!({ "AWS": ["123456789012"] })), "Guard: no such field: notPrincipals"),
        (
            json!({ "policy": { "statements": [{ "actions": ["s3:GetObject"], "condition": {} }] } }),
            "spec.policy.statements[0]: no such field: condition",
        ),
        (
            json!({ "bucket": { "lifecycle": { "rules": [{ "id": "a", "filters": {}, "expiration": { "days": 1 } }] } } }),
            "rule a: no such field: filters",
        ),
    ];
    for (number, (spec, expected)) in cases.into_iter().enumerate() {
        let mut object = harness.connection("bucket-unknown", spec);
        object["metadata"]["name"] = json!(format!("c{number}"));
        let place = harness.directory.join("object.yaml");
        std::fs::write(&place, object.to_string()).unwrap();
        let applied = harness.kubectl(&["apply", "--validate=false", "-f", place.to_str().unwrap()]);
        assert!(applied.status.success(), "{applied:?}");
        let object = harness.condition(&format!("c{number}"), "Stalled", "True").await;
        let (_, reason, message) = crate::support::harness::told(&object, "Ready");
        assert!(reason == "InvalidSpec" && message.contains(expected), "{reason}: {message}");
        harness.delete(&format!("c{number}")).await;
        harness.gone(&format!("c{number}")).await;
    }
    assert_eq!(harness.proxy.count("s3:CreateBucket"), 0);
}

#[tokio::test]
async fn immutable_fields_say_so() {
    let harness = Harness::idle("immutable", Stack::cluster(), &[]).await;
    harness.apply(&harness.connection("bucket-valid", json!({ "user": { "name": "one" } }))).await;
    let cases = [
        (json!({ "region": "us-west-2" }), "region cannot be changed"),
        (json!({ "bucket": { "name": "another" } }), "bucket.name cannot be changed"),
        (json!({ "user": { "name": "two" } }), "user.name cannot be changed"),
        (json!({ "user": null }), "user.name and user.path cannot be changed"),
        (existing(json!({})), "credentials.source cannot be changed"),
        (json!({ "user": { "name": "one", "path": "/x/" } }), "user.name and user.path cannot be changed"),
    ];
    for (change, expected) in cases {
        let mut spec = json!({ "user": { "name": "one" } });
        merge(&mut spec, change.clone());
        let text = words(&harness, spec).await;
        assert!(text.contains(expected), "{change}: {text:?}");
    }
    assert_eq!(words(&harness, json!({ "user": { "name": "one", "tags": { "a": "b" } } })).await, "");
}

#[tokio::test]
async fn kubectl_explains_and_lists() {
    let harness = Harness::idle("kubectl", Stack::cluster(), &[]).await;
    for (field, expected) in [
        ("bc.spec", "deletionPolicy"),
        ("bc.spec.preset", "IlluminaICA"),
        ("bc.spec.bucket.prefix", "Ends in"),
        ("bc.spec.bucket.tags", "Other tags"),
        ("bc.spec.cors", "Omitted: the preset's"),
        ("bc.spec.access.groups", "can read this one Secret"),
        ("bc.status.credentials.obsoleteKeys", "no longer in a Secret"),
    ] {
        let explained = harness.kubectl(&["explain", field]);
        let text = String::from_utf8(explained.stdout).unwrap();
        assert!(text.contains(expected), "{field}: {text}");
        assert!(!text.contains("<no description>"), "{field}: {text}");
    }
    harness.apply(&harness.connection("bucket-valid", json!({}))).await;
    let table = String::from_utf8(harness.kubectl(&["get", "bc"]).stdout).unwrap();
    let header: Vec<_> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(header, ["NAME", "READY", "BUCKET", "REGION", "S3", "REASON", "AGE"]);
    let wide = String::from_utf8(harness.kubectl(&["get", "bc", "-o", "wide"]).stdout).unwrap();
    for column in ["PRESET", "PREFIX", "USER", "SECRET", "DRIFT", "ACCESS", "CHECKED", "MESSAGE"] {
        assert!(wide.lines().next().unwrap().contains(column), "{column}: {wide}");
    }
    assert!(String::from_utf8(harness.kubectl(&["get", "aws"]).stdout).unwrap().contains("bucket-valid"));
}

#[tokio::test]
async fn the_status_reports_what_the_schema_cannot_check() {
    let harness = Harness::new("resolve").await;
    let key = "arn:aws:kms:eu-west-1:123456789012:key/k";
    let cases = [
        (
            "kms",
            json!({ "bucket": { "encryption": { "type": "SSE-KMS", "kmsKeyArn": key } } }),
            "spec.bucket.encryption: kmsKeyArn",
        ),
        ("admin", json!({ "policy": { "statements": [{ "actions": ["iam:*"] }] } }), "iam:* cannot be allowed"),
        (
            "other",
            json!({ "policy": { "statements": [{ "actions": ["s3:*"], "resources": ["arn:aws:s3:::another/*"] }] } }),
            "arn:aws:s3:::another/* cannot be allowed",
        ),
        (
            "wide",
            json!({ "policy": { "statements": [{ "actions": ["s3:*"], "resources": ["arn:aws:s3:::bucket-valid*"] }] } }),
            "cannot be allowed",
        ),
        ("all", json!({ "policy": { "statements": [{ "actions": ["s3:*"], "resources": ["*"] }] } }), "* cannot be allowed"),
        (
            "variable",
            json!({ "policy": { "statements": [{ "actions": ["s3:*"], "resources": ["arn:aws:s3:::bucket-valid/${aws:username}"] }] } }),
            "policy variables",
        ),
        (
            "size",
            json!({ "policy": { "statements": [{ "actions": ["s3:GetObject"], "resources": (0..50).map(|n| format!("arn:aws:s3:::bucket-valid/{n:040}")).collect::<Vec<_>>() }] } }),
            "set policy.type: Managed",
        ),
    ];
    for (name, spec, expected) in cases {
        let mut object = harness.connection("bucket-valid", spec);
        object["metadata"]["name"] = json!(name);
        harness.apply(&object).await;
        let object = harness.condition(name, "Stalled", "True").await;
        let (status, reason, message) = crate::support::harness::told(&object, "Ready");
        assert_eq!((status.as_str(), reason.as_str()), ("False", "InvalidSpec"), "{name}");
        assert!(message.contains(expected), "{name}: {message}");
        harness.delete(name).await;
        harness.gone(name).await;
    }
    let aws: Vec<_> = harness.proxy.take().into_iter().filter(|request| request.action != "sts:GetCallerIdentity").collect();
    assert_eq!(aws, [], "nothing was asked of AWS for them");
}

/// Server-side apply makes a map null when its last entry is removed, unless the map is atomic. Objects without a
/// meaning when empty may become null; they are nullable.
#[tokio::test]
async fn an_emptied_field_is_accepted_and_keeps_its_meaning() {
    let harness = Harness::idle("empty", Stack::cluster(), &[]).await;
    let (tags, none) = (json!({ "tags": { "a": "b" } }), json!({ "tags": {} }));
    let copy = |copy: Value| json!({ "preset": "IlluminaICA", "illuminaICA": { "crossAccountCopy": copy } });
    let block = |block: Value| json!({ "bucket": { "publicAccessBlock": block } });
    let rule = |tags: &Value| json!({ "bucket": { "lifecycle": { "rules": [{ "id": "a", "expiration": { "days": 1 }, "filter": tags }] } } });
    let cases = [
        ("bucket-tags", json!({ "bucket": tags }), json!({ "bucket": none })),
        ("user-tags", json!({ "user": tags }), json!({ "user": none })),
        ("rule-tags", rule(&tags), rule(&none)),
        ("user", json!({ "user": tags }), json!({ "user": {} })),
        ("access", json!({ "access": { "groups": ["a"] } }), json!({ "access": {} })),
        ("block", block(json!({ "ignorePublicAcls": true })), block(json!({}))),
        ("policy", json!({ "policy": { "name": "a" } }), json!({ "policy": {} })),
        ("credentials", json!({ "credentials": { "secret": { "name": "a" } } }), json!({ "credentials": {} })),
        ("copy", copy(json!({ "roleArn": "arn:aws:iam::123456789012:role/x" })), copy(json!({}))),
    ];
    for (name, full, empty) in cases {
        for spec in [&full, &empty, &empty] {
            let mut object = harness.connection("bucket-valid", spec.clone());
            object["metadata"]["name"] = json!(name);
            harness.apply(&object).await;
        }
    }
    let spec = harness.get("bucket-tags").await.spec;
    assert_eq!(spec.bucket.settings.tags, Some(Default::default()));
    assert!(harness.get("user-tags").await.spec.user.unwrap().tags.is_empty());
    let options = harness.get("copy").await.spec.illumina_ica.unwrap();
    assert_eq!(options.cross_account_copy, Some(Default::default()), "an empty crossAccountCopy is not an omitted one");

    // The tags of an account, too.
    for tags in [json!({ "a": "b" }), json!({}), json!({})] {
        harness.account("empty-tags", json!({ "defaults": { "tags": tags } })).await;
    }
}

#[tokio::test]
async fn custom_endpoints_exclude_fips_and_dual_stack() {
    let harness = Harness::idle("addresses", Stack::cluster(), &[]).await;
    let apply = async |endpoints: Value| {
        let account = json!({ "apiVersion": "bucketconnection.dev/v1alpha1", "kind": "AWSAccount", "metadata": { "name": "addresses" }, "spec": { "endpoints": endpoints } });
        let parameters = PatchParams { dry_run: true, ..PatchParams::apply("user").force() };
        harness.accounts().patch("addresses", &parameters, &Patch::Apply(account)).await.map(drop)
    };
    assert!(apply(json!({ "fips": true, "dualStack": true })).await.is_ok());
    assert!(apply(json!({ "url": "https://aws.example.org", "s3": "https://s3.example.org", "fips": false })).await.is_ok());
    for endpoints in
        [json!({ "fips": true, "s3": "https://s3.example.org" }), json!({ "dualStack": true, "url": "https://a.example.org" })]
    {
        let refused = apply(endpoints).await.unwrap_err().to_string();
        assert!(refused.contains("select AWS's own endpoints"), "{refused}");
    }
}

/// Names become part of a request's path unescaped.
#[tokio::test]
async fn names_in_an_account_are_validated() {
    let harness = Harness::idle("account-names", Stack::cluster(), &[]).await;
    for (reference, expected) in [
        (json!({ "namespace": "a", "name": "../b" }), "secretRef.name must be"),
        (json!({ "namespace": "a", "name": "b?x=y" }), "secretRef.name must be"),
        (json!({ "namespace": "a/../b", "name": "c" }), "secretRef.namespace must be"),
    ] {
        let spec = json!({ "credentials": { "source": "Secret", "secretRef": reference } });
        let account = json!({ "apiVersion": "bucketconnection.dev/v1alpha1", "kind": "AWSAccount", "metadata": { "name": "names" }, "spec": spec });
        let parameters = PatchParams { dry_run: true, ..PatchParams::apply("user").force() };
        let refused = harness.accounts().patch("names", &parameters, &Patch::Apply(account)).await.unwrap_err().to_string();
        assert!(refused.contains(expected), "{refused}");
    }
}

/// Values for a field: limits of numbers, and texts that a pattern might accept.
fn others(value: &Value) -> Vec<Value> {
    match value {
        Value::String(_) => {
            ["", "x", "X_1", "0", "0s", "1h1h", "12h1d", "99999h", "1.5h", "999999999999999999999h", "2030-01-01", "2030-13-41"]
                .map(Value::from)
                .to_vec()
        }
        Value::Number(_) => {
            let whole = [0_i64, 1, -1, 1 << 16, 1 << 31, 1 << 32, i64::MAX].map(Value::from);
            whole.into_iter().chain([json!(1.0), json!(1.5), json!(1e30)]).collect()
        }
        Value::Bool(on) => vec![json!(!on), json!("true")],
        _ => Vec::new(),
    }
}

/// JSON pointers of all values without parts.
fn leaves(value: &Value, pointer: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, field)| leaves(field, &format!("{pointer}/{}", name.replace('/', "~1")), found))
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| leaves(item, &format!("{pointer}/{index}"), found))
        }
        _ => found.push(pointer.to_owned()),
    }
}

/// An object that the API server stores but the operator cannot read does nothing, and a person must help to delete it.
#[tokio::test]
async fn the_operator_can_read_what_the_schema_accepts() {
    let harness = Harness::idle("readable", Stack::cluster(), &[]).await;
    let parameters = PatchParams { dry_run: true, ..PatchParams::apply("user").force() };
    let (mut seen, mut taken, mut wrong) = (BTreeSet::new(), 0, Vec::new());
    for object in crate::examples::all() {
        let kind = object["kind"].as_str().unwrap();
        let place = match kind {
            "BucketConnection" => ApiResource::erase::<BucketConnection>(&()),
            "AWSAccount" => ApiResource::erase::<AWSAccount>(&()),
            _ => continue,
        };
        let api: Api<DynamicObject> = match kind {
            "AWSAccount" => Api::all_with(harness.client.clone(), &place),
            _ => Api::namespaced_with(harness.client.clone(), &harness.namespace, &place),
        };
        let mut pointers = Vec::new();
        leaves(&object["spec"], "/spec", &mut pointers);
        pointers.retain(|pointer| seen.insert((kind.to_owned(), pointer.clone())));
        for pointer in pointers {
            for value in others(object.pointer(&pointer).unwrap()) {
                let mut changed = object.clone();
                changed["metadata"] = json!({ "name": "readable" });
                *changed.pointer_mut(&pointer).unwrap() = value.clone();
                let Ok(stored) = api.patch("readable", &parameters, &Patch::Apply(&changed)).await else { continue };
                taken += 1;
                let stored = serde_json::to_value(stored).unwrap();
                let read = match kind {
                    "AWSAccount" => serde_json::from_value::<AWSAccount>(stored).map(drop),
                    _ => serde_json::from_value::<BucketConnection>(stored).map(drop),
                };
                wrong.extend(read.err().map(|error| format!("{kind} {pointer}: {value}: {error}")));
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
    assert!(taken > 300, "only {taken} were taken");
}
