//! What people type by mistake, and what others prepare for them: nothing is lost, and nothing is written elsewhere.

use std::fs;
use std::os::unix::fs::symlink;

use bucketconnection::vocabulary::digest::digest;
use serde_json::json;

use crate::place::{Place, files};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planted_link_is_not_written_through() {
    let place = Place::new("planted", json!({})).await;
    place.put("bucket-a", "runs/a", b"object".to_vec()).await;
    place.write("victim", 10);
    let before = fs::read(place.path("victim")).unwrap();
    fs::create_dir(place.path("got")).unwrap();
    let hidden = place.path("got").join(format!(".a.{}.bucketconnection", digest(b"a", 6)));
    symlink(place.path("victim"), &hidden).unwrap();
    let said = place.run(&["cp", "a:a", "got/"]);
    assert!(said.code == 1 && said.text.contains("is a symbolic link; delete it"), "{}", said.text);
    assert_eq!(fs::read(place.path("victim")).unwrap(), before);
    assert!(!place.path("got/a").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_misspelled_source_deletes_nothing() {
    let place = Place::new("misspelled", json!({})).await;
    place.write("kept/file", 10);
    place.put("bucket-a", "runs/s/file", b"x".to_vec()).await;
    let said = place.run(&["sync", "a:typo", "kept", "--delete"]);
    assert!(said.code == 1 && said.text.contains("nothing at a:typo; --delete deleted nothing"), "{}", said.text);
    assert_eq!(files(&place.path("kept")), ["file"]);
    let said = place.run(&["cp", "-r", "a:typo", "there"]);
    assert!(said.code == 1 && said.text.contains("nothing is there, or nothing matches"), "{}", said.text);
    let said = place.run(&["cp", "a:s", "there"]);
    assert!(said.code == 1 && said.text.contains("there is no such object; if it is a folder, add -r"), "{}", said.text);
    let said = place.run(&["rm", "a:s/file", "--include", "*.tmp"]);
    assert!(said.code == 1 && said.text.contains("--include and --exclude need -r"), "{}", said.text);
    let said = place.run(&["cp", "a:s/file", "-"]);
    assert!(said.code == 1 && said.text.contains("standard input and output cannot be copied"), "{}", said.text);
    for arguments in [["mkdir", "a:x/../y"], ["presign", "a:x/../y"]] {
        let put = if arguments[0] == "presign" { &["--put"][..] } else { &[] };
        let said = place.run(&[&arguments[..], put].concat());
        assert!(said.code == 1 && said.text.contains("has a part \"..\""), "{}", said.text);
    }
    assert_eq!(place.keys("bucket-a").await, ["runs/s/file"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sources_do_not_overwrite_each_other() {
    let place = Place::new("same-names", json!({})).await;
    place.write("x/f", 10);
    place.write("y/f", 20);
    place.ok(&["cp", "-r", "x", "y", "a:both"]);
    assert_eq!(place.keys("bucket-a").await, ["runs/both/x/f", "runs/both/y/f"]);
    let said = place.run(&["cp", "x/f", "y/f", "a:one/"]);
    assert!(said.code == 1 && said.text.contains("two sources are called \"f\""), "{}", said.text);
    assert_eq!(place.keys("bucket-a").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_never_finds_its_own_objects() {
    let place = Place::new("inside", json!({})).await;
    place.put("bucket-a", "runs/x/f", b"x".to_vec()).await;
    for arguments in [["cp", "-r", "a:x", "a:x/y"], ["cp", "-r", "a:", "a:x"]] {
        let said = place.run(&arguments);
        assert!(said.code == 1 && said.text.contains("is inside of the source"), "{}", said.text);
    }
    let said = place.run(&["sync", "a:", "a:backup"]);
    assert!(said.code == 1 && said.text.contains("is inside of the source"), "{}", said.text);
    // A folder whose name only begins alike.
    place.ok(&["cp", "-r", "a:x", "a:x2"]);
    assert_eq!(place.keys("bucket-a").await, ["runs/x/f", "runs/x2/f"]);
}

/// Each copy between two buckets needs two requests: also if only one may be sent at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_do_not_wait_for_each_other() {
    let place = Place::new("turns", json!({})).await;
    for number in 0..6 {
        place.put("bucket-a", &format!("runs/t/{number}"), b"x".to_vec()).await;
    }
    for parallel in ["1", "2"] {
        place.ok(&["cp", "-r", "--parallel", parallel, "a:t", &format!("b:t{parallel}")]);
    }
    assert_eq!(place.keys("bucket-b").await.len(), 12);
}
