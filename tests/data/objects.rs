//! Commands about objects that copy nothing.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::place::Place;
use crate::support::stack::get;

fn post(address: &str, path: &str, body: &str) {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.0\r\nHost: {address}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    stream.read_to_string(&mut String::new()).unwrap();
}

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
    assert_eq!(place.run(&["ls", "a:nothing"]).code, 1);
    let sums: Value = serde_json::from_str(&place.ok(&["du", "a", "-o", "json"])).unwrap();
    assert_eq!(sums["s3://bucket-a/runs/"], json!({ "bytes": 65, "objects": 4 }));
    assert_eq!(sums["s3://bucket-a/runs/b/"], json!({ "bytes": 30, "objects": 1 }));

    // The emulator verifies no signatures of links. Without its verification, the link leads to the object.
    let link = place.ok(&["presign", "a:a/x", "--expires", "10m"]);
    assert!(link.contains("X-Amz-Expires=600") && link.contains("X-Amz-Signature="), "{link}");
    let (address, path) = link.trim().trim_start_matches("http://").split_once('/').unwrap();
    post(address, "/moto-api/reset-auth", "inf");
    let answer = get(address, &format!("/{path}"));
    assert!(answer.ends_with("\r\n\r\nxxxxxxxxxx"), "{answer}");
    assert_eq!(place.run(&["presign", "a:a/x", "--expires", "8d"]).code, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_is_meant_is_deleted() {
    let place = Place::new("rm", json!({ "preset": "IlluminaICA" })).await;
    for number in 0..1_200 {
        place.put("bucket-a", &format!("runs/many/{number:04}"), vec![b'x']).await;
    }
    place.put("bucket-a", "runs/many-more", vec![b'x']).await;
    let said = place.run(&["rm", "-r", "a:many"]);
    assert!(said.code == 1 && said.text.contains("add --yes if you are sure"), "{}", said.text);
    assert_eq!(place.ok(&["rm", "-r", "a:many", "--dry-run", "--include", "000*"]).lines().count(), 10);
    let text = place.ok(&["rm", "-r", "a:many", "--yes"]);
    assert!(text.contains("deleted 1,200 objects\n"), "{text}");
    assert_eq!(place.keys("bucket-a").await, ["runs/many-more"]);
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
