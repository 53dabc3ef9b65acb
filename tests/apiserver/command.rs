//! `bucketconnection plan`: exactly the plan that the controller would execute, its exit codes, and its messages for
//! bad input.

use std::process::Output;

use serde_json::{Value, json};

use crate::support::harness::{Harness, writes};
use crate::support::stack::Stack;

fn text(output: &Output) -> (i32, String, String) {
    let utf8 = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), utf8(&output.stdout), utf8(&output.stderr))
}

fn plan(harness: &Harness, object: &Value) -> (i32, String, String) {
    let file = harness.directory.join("plan.yaml");
    std::fs::write(&file, serde_saphyr::to_string(object).unwrap()).unwrap();
    text(&harness.cli(&["plan", "-f", file.to_str().unwrap()]))
}

#[tokio::test]
async fn before_during_and_after() {
    let harness = Harness::new("plan").await;
    let object = harness.connection("bucket-plan", json!({ "preset": "IlluminaICA", "user": { "name": "planned" } }));
    let (code, out, err) = plan(&harness, &object);
    assert_eq!((code, err.as_str()), (2, ""), "{out}");
    let expected = format!(
        "{ns}/c: 7 steps

+ create bucket bucket-plan in us-east-1
    because no bucket has this name

~ write cors of bucket bucket-plan
    because a new bucket does not have it
    cors.rules[0]: (none) -> {{\"allowedHeaders\":[\"*\"],\"allowedMethods\":[\"HEAD\",\"GET\",\"PUT\",\"POST\",\"DELETE\"],\"allowedOrigins\":[\"https://ica.illumina.com\"],\"exposeHeaders\":[\"ETag\",\"x-amz-meta-custom-header\"]}}

+ create IAM user /bucketconnection/planned
    because no IAM user has this name

~ write inline policy bucketconnection of user planned
",
        ns = harness.namespace
    );
    assert!(out.starts_with(&expected), "{out}");
    assert!(out.contains("+ issue an access key for user planned into Secret c-s3\n"), "{out}");
    let allowed = "? verify the key: Identity, List\n    because a connection is Ready only with a verified key\n\nAWSAccount default, spec.allowedNamespaces[0]:\n    allowed: bucket.name bucket-plan (buckets: *)\n";
    assert!(out.contains(allowed) && out.contains("    allowed: user.name planned (users: *)\n"), "{out}");
    assert_eq!(writes(&harness.proxy.take()), [""; 0], "it only looks");

    harness.apply(&object).await;
    harness.ready("c").await;
    assert_eq!(plan(&harness, &object).0, 0);
    harness.s3().delete_bucket_cors().bucket("bucket-plan").send().await.unwrap();
    let (code, out, _) = plan(&harness, &object);
    assert_eq!(code, 2);
    assert!(
        out.starts_with(&format!(
            "{}/c: 1 step\n\n~ write cors of bucket bucket-plan\n    because something else changed it since the operator wrote it\n    cors.rules[0]: (none) -> ",
            harness.namespace
        )),
        "{out}"
    );
    harness.check("c").await;
    let (code, out, _) = plan(&harness, &object);
    let in_sync = format!("{}/c: in sync, nothing to change\n\nAWSAccount default, ", harness.namespace);
    assert!(code == 0 && out.starts_with(&in_sync), "{out}");

    let changed = harness.connection(
        "bucket-plan",
        json!({ "preset": "IlluminaICA", "user": { "name": "planned" }, "bucket": { "tags": { "team": "a" } } }),
    );
    let (code, out, _) = plan(&harness, &changed);
    assert_eq!(code, 2);
    assert!(out.contains("    bucket.tags[team]: (none) -> \"a\"\n"), "{out}");
}

#[tokio::test]
async fn problems_are_part_of_the_plan() {
    let harness = Harness::idle("problem", Stack::cluster(), &[]).await;
    harness.s3().create_bucket().bucket("bucket-taken").send().await.unwrap();
    let (code, out, _) = plan(&harness, &harness.connection("bucket-taken", json!({})));
    assert_eq!(code, 2);
    assert!(out.contains("1 problem, nothing will be changed"), "{out}");
    assert!(out.contains("! BucketReady (BucketNotOwned): bucket bucket-taken exists"), "{out}");
}

/// In the operator's words, before any call to AWS.
#[tokio::test]
async fn what_another_connection_owns_is_reported_as_taken() {
    let harness = Harness::new("taken").await;
    harness.apply(&harness.connection("bucket-first", json!({ "user": { "name": "first" } }))).await;
    harness.ready("c").await;
    harness.proxy.take();
    let other = |bucket: &str, user: &str| {
        let mut object = harness.connection(bucket, json!({ "user": { "name": user } }));
        object["metadata"]["name"] = json!("other");
        object
    };
    for object in [other("bucket-first", "second"), other("bucket-second", "first")] {
        let (code, out, err) = plan(&harness, &object);
        assert_eq!((code, out.as_str()), (1, ""), "{err}");
        let expected = format!("belongs to BucketConnection {}/c: ", harness.namespace);
        assert!(err.contains(&expected) && err.trim_end().ends_with("(NameTaken)"), "{err}");
    }
    assert_eq!(plan(&harness, &other("bucket-second", "second")).0, 2);
    // The object does not conflict with itself.
    assert_eq!(plan(&harness, &harness.connection("bucket-first", json!({ "user": { "name": "first" } }))).0, 0);
}

#[tokio::test]
async fn the_files_of_a_directory() {
    let harness = Harness::idle("directory", Stack::cluster(), &[]).await;
    let place = harness.directory.join("objects");
    std::fs::create_dir(&place).unwrap();
    let write = |file: &str, name: &str, bucket: &str| {
        let mut object = harness.connection(bucket, json!({}));
        object["metadata"]["name"] = json!(name);
        std::fs::write(place.join(file), serde_saphyr::to_string(&object).unwrap()).unwrap();
    };
    let planned = || text(&harness.cli(&["plan", "-f", place.to_str().unwrap()]));
    let (code, _, err) = planned();
    assert!(code == 1 && err.contains("no file *.yaml, *.yml or *.json in it"), "{err}");
    write("b.yml", "second", "bucket-b");
    write("a.yaml", "first", "bucket-a");
    std::fs::write(place.join("README.md"), "not: [yaml").unwrap();
    let (code, out, err) = planned();
    assert_eq!((code, err.as_str()), (2, ""), "{out}");
    let at = |name: &str| out.find(&format!("{}/{name}: ", harness.namespace)).unwrap();
    assert!(at("first") < at("second"), "{out}");
    // Of two new ones, the one that is applied first gets the bucket.
    write("c.json", "another", "bucket-a");
    let (code, _, err) = planned();
    let expected = format!("{ns}/another: bucket bucket-a belongs to BucketConnection {ns}/first: ", ns = harness.namespace);
    assert!(code == 1 && err.contains(&expected), "{err}");
    std::fs::write(place.join("d.yaml"), "a: [1").unwrap();
    let (code, _, err) = planned();
    assert!(code == 1 && err.contains("d.yaml:1:4: error: not valid YAML"), "{err}");
}

#[tokio::test]
async fn bad_input_is_named() {
    let harness = Harness::idle("input", Stack::cluster(), &[]).await;
    let file = |name: &str, content: &str| {
        let file = harness.directory.join(name);
        std::fs::write(&file, content).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let cases = [
        ("/no/such/file.yaml".to_owned(), "/no/such/file.yaml:1:1: error: No such file"),
        (file("broken.yaml", "a: [1"), "broken.yaml:1:4: error: not valid YAML"),
        (file("empty.yaml", ""), "no BucketConnection in it"),
        (file("other.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\n"), "no BucketConnection in it"),
        (
            file(
                "preset.yaml",
                "apiVersion: bucketconnection.dev/v1alpha1\nkind: BucketConnection\nmetadata: {name: wrong}\nspec: {preset: Nope, region: us-east-1, bucket: {name: b-b}}\n",
            ),
            "/wrong: spec.preset: \"Nope\" is not allowed (allowed: IlluminaICA,",
        ),
        (
            file(
                "name.yaml",
                "apiVersion: bucketconnection.dev/v1alpha1\nkind: BucketConnection\nmetadata: {name: wrong}\nspec: {preset: ReadOnly, region: us-east-1, bucket: {name: Bucket, prefix: runs}}\n",
            ),
            "spec.bucket.prefix: bucket.prefix must end in",
        ),
        (
            file(
                "unknown.yaml",
                "apiVersion: bucketconnection.dev/v1alpha1\nkind: BucketConnection\nmetadata: {name: wrong}\nspec: {preset: ReadOnly, region: us-east-1, bucket: {name: b-b, lifecycle: {rules: [{id: a, expiration: {day: 1}}]}}}\n",
            ),
            "/wrong: spec.bucket.lifecycle.rules[0].expiration.day: no such field; did you mean days?",
        ),
        (
            file("version.yaml", "apiVersion: bucketconnection.dev/v1\nkind: BucketConnection\nmetadata: {name: wrong}\n"),
            "apiVersion: unknown apiVersion \"bucketconnection.dev/v1\"; write bucketconnection.dev/v1alpha1",
        ),
    ];
    for (file, expected) in cases {
        let (code, out, err) = text(&harness.cli(&["plan", "-f", &file]));
        assert_eq!((code, out.as_str()), (1, ""), "{file}");
        assert!(err.contains(expected), "{file}: {err}");
    }
    let (code, _, err) = text(&harness.cli(&["plan"]));
    assert!(code != 0 && err.contains("pass files with -f"), "{err}");
}

#[tokio::test]
async fn several_objects_in_one_file_and_standard_input() {
    let harness = Harness::idle("several", Stack::cluster(), &[]).await;
    let mut second = harness.connection("bucket-several-second", json!({}));
    second["metadata"]["name"] = json!("second");
    let file = harness.directory.join("two.yaml");
    let yaml = |object: &Value| serde_saphyr::to_string(object).unwrap();
    let other = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n---\n";
    std::fs::write(&file, yaml(&harness.connection("bucket-several-first", json!({}))) + other + &yaml(&second)).unwrap();
    let (code, out, err) = text(&harness.cli(&["plan", "-f", file.to_str().unwrap()]));
    assert_eq!((code, err.as_str()), (2, ""));
    assert!(out.contains("create bucket bucket-several-first") && out.contains("create bucket bucket-several-second"), "{out}");
}

#[tokio::test]
async fn an_invalid_object_does_not_block_others_and_an_account_of_the_file_needs_the_option() {
    let harness = Harness::idle("mixed", Stack::cluster(), &[]).await;
    let named = |name: &str, spec: Value| {
        let mut object = harness.connection(&format!("bucket-{name}"), spec);
        object["metadata"]["name"] = json!(name);
        object
    };
    let account = json!({
        "apiVersion": "bucketconnection.dev/v1alpha1", "kind": "AWSAccount", "metadata": { "name": "mixed-of-file" },
        "spec": { "allowedNamespaces": [{ "names": ["*"], "buckets": ["bucket-n*"], "regions": ["*"], "presets": ["ReadWrite"] }] },
    });
    let of_file = json!({ "accountRef": { "name": "mixed-of-file" } });
    let items = json!([
        named("invalid", json!({ "bucket": { "prefix": "runs" } })),
        named("refused", of_file.clone()),
        named("nowhere", json!({ "accountRef": { "name": "mixed-nowhere" } })),
        account,
        named("new", of_file),
        named("last", json!({})),
    ]);
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
    let (code, out, err) = plan(&harness, &list);
    let ns = &harness.namespace;
    // The author of the file chooses where to sign in, and with which key: the caller must ask for that explicitly.
    assert!(err.contains(&format!("{ns}/new: the cluster has no AWSAccount mixed-of-file: ")), "{err}");
    assert!(code == 1 && !out.contains("/new") && err.contains("--accounts-from-file"), "{out}{err}");
    let file = harness.directory.join("plan.yaml");
    let (code, out, err) = text(&harness.cli(&["plan", "--accounts-from-file", "-f", file.to_str().unwrap()]));
    assert_eq!(code, 1, "{out}{err}");
    assert!(out.contains(&format!("{ns}/new (with AWSAccount mixed-of-file of the file): ")), "{out}{err}");
    assert!(out.contains(&format!("{ns}/last: ")) && out.contains("create bucket bucket-last"), "{out}");
    for expected in ["invalid is invalid:", "refused: AWSAccount mixed-of-file does not allow", "nowhere: there is no AWSAccount"]
    {
        assert!(err.contains(&format!("{ns}/{expected}")), "{err}");
    }
    assert!(err.contains("    refused: bucket.name bucket-refused (allowed: bucket-n*)\n    allowed: region us-east-1"), "{err}");
}
