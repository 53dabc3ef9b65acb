//! `bucketconnection iam-policy`: the printed policy is sufficient for the whole life of its connections.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use aws_sdk_iam::types::StatusType;
use serde_json::{Value, json};

use crate::support::harness::{Harness, drift_count, told};
use crate::support::merge::merge;
use crate::support::stack::{ROOT, Stack, scratch};

/// The command without any cluster or account to call.
fn iam_policy(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bucketconnection"));
    let command = command.arg("iam-policy").args(arguments).env_clear();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn printed(arguments: &[&str], input: &str) -> Value {
    let output = iam_policy(arguments, input);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn example(changes: Value) -> Value {
    let text = std::fs::read_to_string(format!("{ROOT}/examples/illumina-ica.yaml")).unwrap();
    let mut object: Value = serde_saphyr::from_str(&text).unwrap();
    object["metadata"]["name"] = json!("c");
    merge(&mut object["spec"], changes);
    object
}

/// From nothing to Ready, through drift, to nothing again, with exactly the permissions that the command prints.
async fn lives(name: &str, changes: Value) {
    let mut object = example(changes);
    let policy = printed(&["-f", "-", "--account-id", "123456789012"], &serde_saphyr::to_string(&object).unwrap());
    let place = scratch(name);
    let file = place.join("policy.json");
    std::fs::write(&file, policy.to_string()).unwrap();
    let mut harness = Harness::idle(name, Stack::cluster(), &["--policy", file.to_str().unwrap()]).await;
    harness.start();
    object["metadata"]["namespace"] = json!(harness.namespace);
    harness.apply(&object).await;
    harness.ready("c").await;
    let (bucket, user) = ("lab-a-genomics", "illumina_ica_admin");
    let (s3, iam) = (harness.s3(), harness.iam());
    s3.delete_bucket_cors().bucket(bucket).send().await.unwrap();
    s3.delete_public_access_block().bucket(bucket).send().await.unwrap();
    s3.delete_bucket_tagging().bucket(bucket).send().await.unwrap();
    iam.untag_user().user_name(user).tag_keys("bucketconnection.dev/owner").send().await.unwrap();
    let wide =
        json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Action": "s3:*", "Resource": "*" }] }).to_string();
    if object["spec"]["policy"]["type"] == "Managed" {
        let arn = "arn:aws:iam::123456789012:policy/bucketconnection/illumina-ica-admin-policy";
        iam.create_policy_version().policy_arn(arn).policy_document(wide).set_as_default(true).send().await.unwrap();
        iam.detach_user_policy().user_name(user).policy_arn(arn).send().await.unwrap();
    } else {
        let put = iam.put_user_policy().user_name(user).policy_name("illumina-ica-admin-policy");
        put.policy_document(wide).send().await.unwrap();
    }
    let key = harness.keys(user).await.remove(0);
    iam.update_access_key().user_name(user).access_key_id(key).status(StatusType::Inactive).send().await.unwrap();
    harness.check("c").await;
    let object = harness.ready("c").await;
    assert!(drift_count(&object) >= 6, "{:?}", object.status.unwrap().drift);

    // The Secret is lost, so another key replaces the first.
    harness.secrets().delete("genomics-s3", &Default::default()).await.unwrap();
    harness.check("c").await;
    harness.ready("c").await;
    s3.put_object().bucket(bucket).key("runs/a").send().await.unwrap();
    s3.create_multipart_upload().bucket(bucket).key("runs/b").send().await.unwrap();
    harness.delete("c").await;
    // The tag was removed above, so deleting the bucket needs consent.
    let object = harness.until("c", "a question", |object| told(object, "Stalled").1 == "AwaitingApproval").await;
    // Later reconciles read a user that was deleted, which a policy for its path answers as denied.
    assert!(!harness.log().contains("AccessDenied"), "something was denied on the way");
    let message = told(&object, "Stalled").2;
    let hash = message.split_whitespace().find(|word| word.starts_with("plan-")).unwrap().trim_end_matches(';').to_owned();
    harness.patch("c", json!({ "spec": { "approvedPlan": hash } })).await;
    harness.gone("c").await;
    assert!(s3.list_buckets().send().await.unwrap().buckets().is_empty());
    let left = iam.list_users().path_prefix("/bucketconnection/").send().await.unwrap();
    assert!(left.users().is_empty(), "{left:?}");
}

#[tokio::test]
async fn the_policy_is_sufficient_for_the_example() {
    lives("enough", json!({ "deletionPolicy": "Delete", "forceDestroy": true })).await;
}

#[tokio::test]
async fn the_policy_is_sufficient_for_an_inline_policy() {
    lives("inline", json!({ "policy": { "type": "Inline" }, "deletionPolicy": "Delete", "forceDestroy": true })).await;
}

#[test]
fn the_account_id_comes_from_the_output_of_kubectl() {
    let mut first = example(json!({}));
    first["status"] = json!({ "accountId": "210987654321" });
    let mut second = example(json!({ "region": "eu-central-1", "bucket": { "name": "other" }, "user": { "name": "other" } }));
    second["metadata"]["name"] = json!("other");
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": [first, second] }).to_string();
    let text = printed(&["-f", "-"], &list).to_string();
    assert!(text.contains("arn:aws:iam::210987654321:user/bucketconnection/other"), "{text}");
    assert!(text.contains(r#""arn:aws:s3:::lab-a-genomics","arn:aws:s3:::other""#), "{text}");
}

#[test]
fn an_identity_that_only_assumes_roles_needs_no_more() {
    let role = "arn:aws:iam::210987654321:role/bucketconnection";
    let policy = printed(&["--assume-role", role], "");
    let statement = json!([{ "Sid": "Roles", "Effect": "Allow", "Action": "sts:AssumeRole", "Resource": role }]);
    assert_eq!(policy["Statement"], statement);
    assert!(!iam_policy(&["--assume-role", "arn:aws:iam::210987654321:role/*"], "").status.success());
}

#[test]
fn an_invalid_object_is_left_out_of_the_policy() {
    let account = json!({
        "apiVersion": "bucketconnection.dev/v1alpha1", "kind": "AWSAccount", "metadata": { "name": "default" },
        "spec": {
            "accountId": "210987654321",
            "defaults": { "permissionsBoundary": "arn:aws:iam::210987654321:policy/edge", "namePrefix": "x-", "userPath": "/labs/" },
            "allowedNamespaces": [{ "names": ["lab"], "buckets": ["lab-*"], "regions": ["*"], "presets": ["ReadOnly"] }],
        },
    });
    let object = |name: &str, spec: Value| {
        let mut object = json!({
            "apiVersion": "bucketconnection.dev/v1alpha1", "kind": "BucketConnection",
            "metadata": { "name": name, "namespace": "lab" },
            "spec": { "preset": "ReadOnly", "region": "us-east-1", "bucket": { "name": format!("lab-{name}") } },
        });
        merge(&mut object["spec"], spec);
        object
    };
    let mut invalid = object("invalid", json!({}));
    invalid["status"] = json!({ "conditions": [{
        "type": "Ready", "status": "False", "reason": "InvalidSpec", "message": "no", "lastTransitionTime": "2026-01-01T00:00:00Z",
    }] });
    let mut old = object("old", json!({}));
    old["apiVersion"] = json!("bucketconnection.dev/v1");
    let items = json!([
        account,
        object("good", json!({})),
        object("refused", json!({ "bucket": { "name": "other" } })),
        object("typo", json!({ "bucket": { "versionign": "Enabled" } })),
        object("bad", json!({ "bucket": { "prefix": "runs" } })),
        invalid,
        old,
    ]);
    let output = iam_policy(&["-f", "-"], &json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string());
    let (text, warnings) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{warnings}");
    assert!(text.contains("arn:aws:iam::210987654321:user/labs/x-lab.good") && text.contains("policy/edge"), "{text}");
    for (name, expected) in [
        ("refused", "AWSAccount default does not allow namespace lab: bucket.name other"),
        ("typo", "spec.bucket.versionign: no such field; did you mean versioning?"),
        ("bad", "spec.bucket.prefix: bucket.prefix must end in"),
        ("invalid", "its status says InvalidSpec: no"),
        ("old", "write bucketconnection.dev/v1alpha1"),
    ] {
        assert!(!text.contains(&format!("lab-{name}")), "{name}: {text}");
        assert!(warnings.contains(&format!("left out: lab/{name}: ")) && warnings.contains(expected), "{name}: {warnings}");
    }
}

/// A tenant who can write a status must not be able to widen the operator's own policy with it.
#[test]
fn a_forged_status_widens_nothing() {
    let account = json!({
        "apiVersion": "bucketconnection.dev/v1alpha1", "kind": "AWSAccount", "metadata": { "name": "default" },
        "spec": { "accountId": "210987654321", "allowedNamespaces": [{ "names": ["*"], "buckets": ["*"], "regions": ["*"], "presets": ["ReadWrite"] }] },
    });
    let mut forged = json!({
        "apiVersion": "bucketconnection.dev/v1alpha1", "kind": "BucketConnection",
        "metadata": { "name": "imaging", "namespace": "lab-b" },
        "spec": { "preset": "ReadWrite", "region": "us-east-1", "bucket": { "name": "lab-b-data" } },
    });
    let honest = printed(&["-f", "-"], &format!("{account}\n---\n{forged}"));
    forged["status"] = json!({
        "accountId": "123456789012",
        "user": { "name": "*", "arn": "arn:aws:iam::210987654321:user/*", "id": "AIDA" },
        "earlierPolicies": [
            { "type": "Managed", "name": "*", "arn": "arn:aws:iam::*:policy/*" },
            { "type": "Managed", "name": "boundary", "arn": "arn:aws:iam::210987654321:policy/boundary" },
        ],
    });
    let output = iam_policy(&["-f", "-"], &format!("{account}\n---\n{forged}"));
    let warnings = String::from_utf8(output.stderr).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), honest, "{warnings}");
    for field in [
        "user.arn",
        "earlierPolicies \"arn:aws:iam::*:policy/*\"",
        "earlierPolicies \"arn:aws:iam::210987654321:policy/boundary\"",
    ] {
        assert!(warnings.contains(&format!("status discarded: lab-b/imaging: status.{field}")), "{warnings}");
    }
}

#[test]
fn labels_come_from_namespaces_of_the_file() {
    let rule = json!({ "selector": { "matchLabels": { "team": "a" } }, "buckets": ["*"], "regions": ["*"], "users": ["*"], "presets": ["IlluminaICA"] });
    let account = json!({
        "apiVersion": "bucketconnection.dev/v1alpha1", "kind": "AWSAccount", "metadata": { "name": "default" },
        "spec": { "accountId": "210987654321", "allowedNamespaces": [rule] },
    });
    let mut object = example(json!({}));
    object["metadata"]["namespace"] = json!("lab");
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "lab", "labels": { "team": "a" } } });
    let policy = printed(&["-f", "-"], &format!("{account}\n---\n{object}\n---\n{namespace}"));
    assert!(policy.to_string().contains("arn:aws:iam::210987654321:user/"), "{policy}");
    let output = iam_policy(&["-f", "-"], &format!("{account}\n---\n{object}"));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && text.contains("add the Namespace to the file"), "{text}");
}

#[test]
fn objects_of_several_accounts_need_separate_files() {
    let of = |name: &str, id: Option<&str>| {
        let mut object = example(json!({ "accountRef": { "name": name } }));
        object["metadata"]["name"] = json!(name);
        object["status"] = id.map_or(json!({}), |id| json!({ "accountId": id }));
        object.to_string()
    };
    let both = |a: Option<&str>, b: Option<&str>| format!("{}\n---\n{}", of("a", a), of("b", b));
    let (one, two) = (Some("210987654321"), Some("123456789012"));
    let cases: [(&[&str], String, &str); 4] = [
        (&["-f", "-"], both(one, two), "split the file by accountRef"),
        (&["-f", "-"], both(one, None), "nothing shows that b is the same AWS account as the others (default/b)"),
        (&["-f", "-", "--account-id", "210987654321"], both(None, None), "nothing shows that a, b is"),
        (&["-f", "-", "--account-id", "210987654321"], of("a", two), "correct --account-id"),
    ];
    for (arguments, input, expected) in cases {
        let output = iam_policy(arguments, &input);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && output.stdout.is_empty() && text.contains(expected), "{arguments:?}: {text}");
    }
    printed(&["-f", "-"], &both(one, one));
}

#[test]
fn bad_input_is_named() {
    let yaml = |changes: Value| example(changes).to_string();
    let china = yaml(json!({ "preset": "ReadOnly", "region": "cn-north-1" }));
    let two = |one: &str, other: &str| format!("{one}\n---\n{other}");
    let file = ["-f", "-", "--account-id", "123456789012"];
    let cases: [(&[&str], String, &str); 9] = [
        (&["-f", "-"], yaml(json!({})), "--account-id 123456789012"),
        (&file, String::new(), "no BucketConnection in it"),
        (&file, yaml(json!({ "bucket": { "name": "Bad" } })), "default/c: invalid:"),
        (&file, two(&china, &yaml(json!({}))), "several partitions"),
        (&["--account-id", "12"], String::new(), "12 digits"),
        (&["--bucket", "Lab/*"], String::new(), "such as lab-*"),
        (&["--user-path", "lab"], String::new(), "begins and ends"),
        (&["--permissions-boundary", "arn:aws:iam::*:policy/x"], String::new(), "the ARN of a policy"),
        (&["-f", "-", "--bucket", "lab-*"], String::new(), "cannot be used with"),
    ];
    for (arguments, input, expected) in cases {
        let output = iam_policy(arguments, &input);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && output.stdout.is_empty() && text.contains(expected), "{arguments:?}: {text}");
    }
}
