//! Files and objects arrive as they were.

use std::fs;

use serde_json::json;

use crate::place::{Place, content, files};

const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_go_to_a_bucket_and_come_back() {
    let place = Place::new("copies", json!({})).await;
    let names = ["in/empty", "in/small", "in/a b/ü+%&=?#.bam", "in/a b/*.txt", "in/large", "in/~x'\"$(y)"];
    for name in names {
        place.write(
            name,
            if name.ends_with("large") {
                20 * MIB + 7
            } else if name.ends_with("empty") {
                0
            } else {
                300_000
            },
        );
    }
    let text = place.ok(&["cp", "-r", "in", "a:42"]);
    assert!(text.contains("copied 6 objects"), "{text}");
    for name in names {
        let key = name.replacen("in/", "runs/42/", 1);
        assert_eq!(place.object("bucket-a", &key).await.as_deref(), Some(&fs::read(place.path(name)).unwrap()[..]), "{key}");
    }
    // In three parts, without the whole in one request.
    let parts = place.harness.proxy.take().into_iter().filter(|request| request.text.contains("partNumber=")).count();
    assert_eq!(parts, 3);

    place.ok(&["cp", "-r", "a:42", "out"]);
    let expected: Vec<_> = files(&place.path("in"));
    assert_eq!(files(&place.path("out")), expected);
    for name in &expected {
        assert_eq!(fs::read(place.path("in").join(name)).unwrap(), fs::read(place.path("out").join(name)).unwrap(), "{name}");
    }

    // One object, by its name and into a folder; objects by a pattern.
    place.ok(&["cp", "a:42/small", "one"]);
    place.ok(&["cp", "a:42/small", "a:42/empty", "some/"]);
    place.ok(&["cp", "a:42/*.bam", "bams"]);
    assert_eq!(fs::read(place.path("one")).unwrap(), content("in/small", 300_000));
    assert_eq!(files(&place.path("some")), ["empty", "small"]);
    assert_eq!(files(&place.path("bams")), ["a b/ü+%&=?#.bam"]);
    place.ok(&["cp", "-r", "in", "a:filtered", "--include", "*.bam", "--include", "s*", "--exclude", "small"]);
    let filtered: Vec<_> = place.keys("bucket-a").await.into_iter().filter(|key| key.starts_with("runs/filtered/")).collect();
    assert_eq!(filtered, ["runs/filtered/a b/ü+%&=?#.bam"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_go_from_one_connection_to_another() {
    let place = Place::new("between", json!({})).await;
    let (large, small) = (content("large", 17 * MIB), content("small", 1_000));
    place.put("bucket-a", "runs/x/a b/large", large.clone()).await;
    place.put("bucket-a", "runs/x/small", small.clone()).await;
    place.ok(&["cp", "-r", "a:x", "b:y"]);
    assert_eq!(place.object("bucket-b", "runs/y/a b/large").await, Some(large.clone()));
    assert_eq!(place.object("bucket-b", "runs/y/small").await, Some(small));
    // Each key is used for its own bucket only.
    let keys = |bucket: &str| {
        let requests = place.harness.proxy.since(0).into_iter().filter(|request| request.text.contains(&format!(" /{bucket}")));
        requests.map(|request| request.key).collect::<std::collections::BTreeSet<_>>()
    };
    let (a, b) = (keys("bucket-a"), keys("bucket-b"));
    assert!(a.len() == 1 && b.len() == 1 && a != b, "{a:?} {b:?}");
    // Within a connection, S3 copies: in one call, or in parts.
    for (name, at_once, parts) in [("copy", "20000000", 0), ("parts", "10000000", 3)] {
        let before = place.harness.proxy.len();
        let text = place.ok(&["cp", "a:x/a b/large", &format!("a:x/{name}"), "--copied-at-once", at_once]);
        assert!(text.contains("copied 1 object") && !text.contains("not verified"), "{text}");
        assert_eq!(place.object("bucket-a", &format!("runs/x/{name}")).await.as_ref(), Some(&large));
        let sent = place.harness.proxy.since(before);
        let count =
            |text: &str| sent.iter().filter(|request| request.text.lines().next().unwrap_or_default().contains(text)).count();
        assert_eq!((count("GET /bucket-a/runs"), count("partNumber=")), (0, parts), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sync_copies_what_differs() {
    let place = Place::new("sync", json!({})).await;
    for name in ["in/a", "in/b/c", "in/b.d"] {
        place.write(name, 1_000);
    }
    let plan = place.ok(&["sync", "in", "a:s", "--dry-run"]);
    assert!(plan.contains("would copy 3 objects") && place.keys("bucket-a").await.is_empty(), "{plan}");
    assert!(place.ok(&["sync", "in", "a:s"]).contains("copied 3 objects"));
    assert!(place.ok(&["sync", "in", "a:s"]).contains("copied 0 objects"));
    assert!(place.ok(&["sync", "a:s", "out"]).contains("copied 3 objects"));
    // The times of the files are those of the objects.
    assert!(place.ok(&["sync", "a:s", "out"]).contains("copied 0 objects"));

    // The same size, and older than the object: only the content tells.
    let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
    fs::write(place.path("in/a"), content("other", 1_000)).unwrap();
    fs::File::options().write(true).open(place.path("in/a")).unwrap().set_modified(old).unwrap();
    assert!(place.ok(&["sync", "in", "a:s"]).contains("copied 0 objects"));
    assert!(place.ok(&["sync", "in", "a:s", "--checksum", "--include", "a"]).contains("copied 1 object,"));
    assert_eq!(place.object("bucket-a", "runs/s/a").await, Some(content("other", 1_000)));

    // Nothing is deleted unless asked for, and not if something failed.
    fs::remove_file(place.path("in/b.d")).unwrap();
    place.write("in/new", 10);
    place.ok(&["sync", "in", "a:s"]);
    assert_eq!(place.keys("bucket-a").await.len(), 4);
    std::os::unix::fs::symlink("nowhere", place.path("in/broken")).unwrap();
    let said = place.run(&["sync", "in", "a:s", "--delete"]);
    assert!(said.code == 1 && said.text.contains("nothing was deleted"), "{}", said.text);
    fs::remove_file(place.path("in/broken")).unwrap();
    let shown = place.ok(&["sync", "in", "a:s", "--delete", "--dry-run"]);
    assert!(shown.contains("would delete s3://bucket-a/runs/s/b.d"), "{shown}");
    assert!(place.ok(&["sync", "in", "a:s", "--delete"]).contains("deleted 1 object\n"));
    assert_eq!(place.keys("bucket-a").await, ["runs/s/a", "runs/s/b/c", "runs/s/new"]);
}

/// Nothing behind a link in the target is compared or deleted, and it does not block what else `--delete` deletes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sync_leaves_links_in_its_target() {
    let place = Place::new("links", json!({})).await;
    place.put("bucket-a", "runs/s/kept", b"x".to_vec()).await;
    place.write("elsewhere/file", 10);
    place.write("out/extra", 10);
    std::os::unix::fs::symlink(place.path("elsewhere"), place.path("out/folder")).unwrap();
    std::os::unix::fs::symlink("nowhere", place.path("out/broken")).unwrap();
    let said = place.ok(&["sync", "a:s", "out", "--delete"]);
    assert!(said.contains("deleted 1 object\n"), "{said}");
    for text in
        ["out/folder: a symbolic link to a folder, which is not followed", "out/broken: a symbolic link that leads to no file"]
    {
        assert!(said.contains(&format!("note: left as it is: {text}")), "{text}: {said}");
    }
    assert_eq!(files(&place.path("out")), ["broken", "folder/file", "kept"]);
    // What is excluded is not reported either.
    assert!(!place.ok(&["sync", "a:s", "out", "--exclude", "folder", "--exclude", "broken"]).contains("note"));
}
