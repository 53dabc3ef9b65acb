//! Names that a key or a path cannot have: nothing is written outside of the folder, and nothing gets another name.

use std::fs;

use serde_json::{Value, json};

use crate::place::{Place, files};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_stays_in_its_folder() {
    let place = Place::new("names", json!({})).await;
    let good = ["a b", "ü/日本語", "...", "-rf", "a:b"];
    let bad = ["x//y", "x/../../../evil", "../evil", "x/./y", "back\\slash"];
    for name in good.iter().chain(&bad) {
        place.put("bucket-a", &format!("runs/n/{name}"), b"x".to_vec()).await;
    }
    place.put("bucket-a", "runs/n/marker/", Vec::new()).await;
    let stored = place.keys("bucket-a").await.len();
    let said = place.run(&["cp", "-r", "a:n", "deep/er/got"]);
    assert_eq!(said.code, 1, "{}", said.text);
    let mut expected = good.to_vec();
    expected.sort_unstable();
    assert_eq!(files(&place.path("deep")).iter().map(|name| name.trim_start_matches("er/got/")).collect::<Vec<_>>(), expected);
    assert!(!place.path("evil").exists() && !place.path("deep/evil").exists());
    // One line for each that has no place; a marker of a folder is none.
    let refused = said.text.matches("which no local path can have").count();
    assert_eq!(refused, stored - good.len() - 1, "{}", said.text);

    // A link that is there already leads nowhere.
    fs::create_dir_all(place.path("other")).unwrap();
    fs::create_dir_all(place.path("linked")).unwrap();
    std::os::unix::fs::symlink(place.path("other"), place.path("linked/ü")).unwrap();
    let said = place.run(&["cp", "-r", "a:n", "linked", "--include", "ü/*"]);
    assert!(said.code == 1 && said.text.contains("is a symbolic link; nothing is written through it"), "{}", said.text);
    assert_eq!(files(&place.path("other")), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_says_what_no_key_can_be() {
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new("keys", json!({})).await;
    place.write("in/good", 1);
    fs::write(place.path("in").join(std::ffi::OsStr::from_bytes(b"\xff")), "x").unwrap();
    std::os::unix::fs::symlink(place.path("in"), place.path("in/circle")).unwrap();
    let said = place.run(&["cp", "-r", "in", "a:k"]);
    assert_eq!(said.code, 1, "{}", said.text);
    for text in ["is not UTF-8", "a symbolic link to a folder, which is not followed", "copied 1 object,"] {
        assert!(said.text.contains(text), "{text}: {}", said.text);
    }
    let said = place.run(&["cp", "in/good", "a:x/../y"]);
    assert!(said.code == 1 && said.text.contains("has a part \"..\""), "{}", said.text);
    assert_eq!(place.keys("bucket-a").await, ["runs/k/good"]);
    let said = place.run(&["cp", "in/good", "elsewhere"]);
    assert!(said.code == 1 && said.text.contains("both sides are local"), "{}", said.text);
}

/// An answer or request in XML cannot contain some of these characters.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_name_is_listed_copied_and_deleted() {
    let place = Place::new("characters", json!({})).await;
    let names = ["\u{1}\u{2}", "\u{1b}[31m", "Icon\r", "\u{7f}", "a+b c%41%", "<&>'\"", "日本/ü", "\u{ffff}", "*?"];
    for name in names {
        place.put("bucket-a", &format!("runs/n/{name}"), b"x".to_vec()).await;
    }
    let mut sorted = names.map(str::to_owned).to_vec();
    sorted.sort();
    let json = place.ok(&["ls", "-r", "a:n", "-o", "json"]);
    let listed: Vec<Value> = serde_json::from_str(&json).unwrap();
    let listed: Vec<_> =
        listed.iter().map(|entry| entry["key"].as_str().unwrap().trim_start_matches("runs/n/").to_owned()).collect();
    assert_eq!(listed, sorted);
    // What is shown on a terminal has no control characters.
    let shown = place.ok(&["ls", "-r", "a:n"]);
    assert_eq!(shown.lines().count(), names.len(), "{shown:?}");
    assert!(![json, shown].concat().replace('\n', "").contains(char::is_control));
    assert!(place.ok(&["ls", "a:n/"]).contains("日本/"));

    place.ok(&["cp", "-r", "a:n", "got"]);
    assert_eq!(files(&place.path("got")), sorted);
    place.ok(&["cp", "-r", "got", "a:back"]);
    assert_eq!(place.ok(&["sync", "a:n", "got"]).matches("copied 0 objects").count(), 1);
    place.ok(&["rm", "a:n/\u{1}\u{2}"]);
    let said = place.ok(&["rm", "-r", "a:", "--yes"]);
    assert!(said.contains("deleted 17 objects\n"), "{said}");
    assert_eq!(place.harness.s3().list_objects_v2().bucket("bucket-a").send().await.unwrap().key_count(), Some(0));
}

/// A large file is uploaded in parts: the answers of S3 name its key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_object_can_have_any_name() {
    let place = Place::new("large-name", json!({})).await;
    let large = place.write("in/\u{1}", 9 << 20);
    place.ok(&["cp", "-r", "in", "a:x"]);
    assert_eq!(place.object("bucket-a", "runs/x/\u{1}").await, Some(large));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wildcards_can_be_characters() {
    let place = Place::new("raw", json!({})).await;
    for name in ["a*", "ab", "w?/x*", "wo/x1"] {
        place.put("bucket-a", &format!("runs/{name}"), b"x".to_vec()).await;
    }
    assert_eq!(place.ok(&["ls", "a:a*"]).lines().count(), 2);
    assert_eq!(place.ok(&["ls", "a:a*", "--raw"]).lines().count(), 1);
    assert!(place.ok(&["du", "a:w?", "--raw", "-o", "json"]).contains("runs/w?/\""));
    place.ok(&["cp", "--raw", "-r", "a:w?", "got"]);
    place.ok(&["cp", "--raw", "a:a*", "one"]);
    assert_eq!((files(&place.path("got")), place.path("one").is_file()), (vec!["x*".to_owned()], true));
    place.ok(&["sync", "--raw", "a:w?", "synced"]);
    assert_eq!(files(&place.path("synced")), ["x*"]);
    place.ok(&["rm", "--raw", "a:a*"]);
    place.ok(&["rm", "--raw", "-r", "a:w?", "--yes"]);
    assert_eq!(place.keys("bucket-a").await, ["runs/ab", "runs/wo/x1"]);
}
