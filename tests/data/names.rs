//! Names that a key or a path cannot have: nothing is written outside of the folder, and nothing gets another name.

use std::fs;

use serde_json::json;

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
    for text in ["is not UTF-8", "a symbolic link to a folder is not followed", "copied 1 object,"] {
        assert!(said.text.contains(text), "{text}: {}", said.text);
    }
    let said = place.run(&["cp", "in/good", "a:x/../y"]);
    assert!(said.code == 1 && said.text.contains("has a part \"..\""), "{}", said.text);
    assert_eq!(place.keys("bucket-a").await, ["runs/k/good"]);
    let said = place.run(&["cp", "in/good", "elsewhere"]);
    assert!(said.code == 1 && said.text.contains("both sides are local"), "{}", said.text);
}
