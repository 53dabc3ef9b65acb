//! Commands about objects that copy nothing.

use serde_json::{Value, json};

use crate::place::Place;
use crate::support::proxy::Fault;
use crate::support::stack::get;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_are_listed_summed_and_linked() {
    let place = Place::new("list", json!({})).await;
    for (key, size) in [("runs/top", 5), ("runs/a/x", 10), ("runs/a/y", 20), ("runs/b/c/z", 30), ("elsewhere", 1)] {
        place.put("bucket-a", key, vec![b'x'; size]).await;
    }
    let names = |text: &str| text.lines().map(|line| line.split_whitespace().last().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&place.ok(&["ls", "a"])), ["a/", "b/", "top"]);
    // Without a terminal.
    assert_eq!(place.ok(&["browse", "a"]), place.ok(&["ls", "a:"]));
    assert_eq!(names(&place.ok(&["ls", "a/a"])), ["x", "y"]);
    assert_eq!(names(&place.ok(&["ls", "-r", "a:"])), ["a/x", "a/y", "b/c/z", "top"]);
    assert_eq!(names(&place.ok(&["ls", "a:*y"])), ["a/y"]);
    assert_eq!(names(&place.ok(&["ls", "a:/else*"])), ["elsewhere"]);
    let listed: Value = serde_json::from_str(&place.ok(&["ls", "a:top", "-o", "json"])).unwrap();
    assert_eq!((&listed[0]["key"], &listed[0]["size"]), (&json!("runs/top"), &json!(5)));
    for command in ["ls", "du"] {
        let said = place.run(&[command, "a:nothing"]);
        assert!(said.code == 1 && said.text.contains("nothing at s3://bucket-a/runs/nothing"), "{}", said.text);
    }
    // The hint about the prefix is for what is outside of it.
    let deny = |place: &Place| place.harness.proxy.fault("s3:ListBucket", Fault::Answer(403, "AccessDenied"), 1);
    for (path, hint) in [("a:/", true), ("a:", false)] {
        deny(&place);
        let said = place.run(&["ls", path]);
        assert_eq!((said.code, said.text.contains("can list what is below")), (1, hint), "{}", said.text);
    }
    let sums: Value = serde_json::from_str(&place.ok(&["du", "a", "-o", "json"])).unwrap();
    assert_eq!(sums["s3://bucket-a/runs/"], json!({ "bytes": 65, "objects": 4 }));
    assert_eq!(sums["s3://bucket-a/runs/b/"], json!({ "bytes": 30, "objects": 1 }));

    let link = place.ok(&["presign", "a:a/x", "--expires", "10m"]);
    assert!(link.contains("X-Amz-Expires=600"), "{link}");
    let (address, path) = link.trim().trim_start_matches("http://").split_once('/').unwrap();
    let answer = get(address, &format!("/{path}"));
    assert!(answer.ends_with("\r\n\r\nxxxxxxxxxx"), "{answer}");
    // The link is for this object only.
    let answer = get(address, &format!("/{}", path.replace("a/x", "a/y")));
    assert!(answer.contains("SignatureDoesNotMatch"), "{answer}");
    assert_eq!(place.run(&["presign", "a:a/x", "--expires", "8d"]).code, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_is_meant_is_deleted() {
    let place = Place::new("rm", json!({ "preset": "IlluminaICA" })).await;
    for number in 0..1_200 {
        place.put("bucket-a", &format!("runs/many/{number:04}"), vec![b'x']).await;
    }
    place.put("bucket-a", "runs/many-more", vec![b'x']).await;
    // Without a reader, the second page is not requested.
    let (before, (reader, writer)) = (place.harness.proxy.len(), std::io::pipe().unwrap());
    drop(reader);
    let ended = tokio::task::block_in_place(|| place.command(&["ls", "-r", "a:many"]).stdout(writer).output()).unwrap();
    assert!(ended.status.success() && ended.stderr.is_empty(), "{ended:?}");
    assert_eq!(place.harness.proxy.since(before).len(), 1);
    let said = place.run(&["rm", "-r", "a:many"]);
    assert!(said.code == 1 && said.text.contains("add --yes if you are sure"), "{}", said.text);
    assert_eq!(place.ok(&["rm", "-r", "a:many", "--dry-run", "--include", "000*"]).lines().count(), 10);
    let text = place.ok(&["rm", "-r", "a:many", "--yes"]);
    assert!(text.contains("deleted 1,200 objects\n"), "{text}");
    assert_eq!(place.keys("bucket-a").await, ["runs/many-more"]);
    // The key reaches only what is below the prefix.
    place.put("bucket-a", "elsewhere/x", vec![b'x']).await;
    let said = place.run(&["rm", "-r", "a:/", "--yes"]);
    assert!(said.code == 1 && said.text.contains("elsewhere/x: s3:DeleteObject: AccessDenied"), "{}", said.text);
    assert!(said.text.contains("deleted 1 object\n"), "{}", said.text);
    assert_eq!(place.keys("bucket-a").await, ["elsewhere/x"]);
    let said = place.run(&["rm", "a:typo"]);
    assert!(said.code == 1 && said.text.contains("no object s3://bucket-a/runs/typo"), "{}", said.text);

    let text = place.ok(&["mkdir", "a:new"]);
    assert!(text.contains("ICA does not show an empty folder"), "{text}");
    assert_eq!(place.object("bucket-a", "runs/new/").await, Some(Vec::new()));
    let text = place.ok(&["mkdir", "a/again/"]);
    assert!(text.contains("made s3://bucket-a/runs/again/"), "{text}");

    // What a versioned bucket keeps is said.
    use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
    let versioned = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    place.harness.s3().put_bucket_versioning().bucket("bucket-b").versioning_configuration(versioned).send().await.unwrap();
    place.put("bucket-b", "runs/x", vec![b'x']).await;
    let text = place.ok(&["rm", "b:x"]);
    assert!(text.contains("earlier versions of 1 object stay"), "{text}");
}
