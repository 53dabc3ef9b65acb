//! Files and objects that change while they are read, and keys that are revoked.

use std::fs;
use std::sync::Arc;

use serde_json::json;
use tokio::runtime::Handle;

use crate::place::{Place, content, files};
use crate::support::proxy::{Fault, Hook};

const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_changes_is_mixed() {
    let place = Place::new("changing", json!({})).await;
    // An object, between two of its parts.
    place.put("bucket-a", "runs/object", content("old", 18 * MIB)).await;
    let (runtime, s3) = (Handle::current(), place.harness.s3());
    let replace: Hook = Arc::new(move || {
        let put = s3.put_object().bucket("bucket-a").key("runs/object").body(content("new", 18 * MIB).into()).send();
        runtime.block_on(put).unwrap();
    });
    place.harness.proxy.fault_at("s3:GetObject", 2, Fault::Call(replace), 1);
    let said = place.run(&["cp", "a:object", "got/object", "--parallel", "1"]);
    assert!(said.code == 1 && said.text.contains("the object changed while it was read: copy it again"), "{}", said.text);
    assert_eq!(files(&place.path("got")), Vec::<String>::new());
    place.ok(&["cp", "a:object", "got/object"]);
    assert_eq!(fs::read(place.path("got/object")).unwrap(), content("new", 18 * MIB));

    // A file, between two of its parts.
    place.write("file", 18 * MIB);
    let path = place.path("file");
    let append: Hook = Arc::new(move || fs::write(&path, content("new", 19 * MIB)).unwrap());
    place.harness.proxy.fault_at("s3:PutObject", 1, Fault::Call(append), 1);
    let said = place.run(&["cp", "file", "a:file", "--parallel", "1"]);
    assert!(said.code == 1 && said.text.contains("the file changed while it was read"), "{}", said.text);
    assert_eq!(place.object("bucket-a", "runs/file").await, None);
    let path = place.path("file");
    let truncate: Hook = Arc::new(move || fs::write(&path, "short").unwrap());
    place.harness.proxy.fault_at("s3:PutObject", 1, Fault::Call(truncate), 1);
    let said = place.run(&["cp", "file", "a:file", "--parallel", "1"]);
    assert!(said.code == 1 && said.text.contains("the file changed while it was read"), "{}", said.text);
    let open = place.harness.s3().list_multipart_uploads().bucket("bucket-a").send().await.unwrap();
    assert_eq!(open.uploads().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_key_ends_everything_with_one_message() {
    let place = Place::new("revoked", json!({})).await;
    for number in 0..300 {
        place.write(&format!("in/{number:03}"), 100);
    }
    // The permissions are gone: the key still works, for nothing.
    place.harness.proxy.fault_at("s3:PutObject", 40, Fault::Answer(403, "AccessDenied"), 1_000);
    let said = place.run(&["cp", "-r", "in", "a:denied"]);
    place.harness.proxy.heal();
    one_message(&place, &said, "s3:PutObject: AccessDenied");
    // The key is gone.
    let (runtime, iam) = (Handle::current(), place.harness.iam());
    let id = place.harness.keys("a").await.remove(0);
    let delete: Hook = Arc::new(move || {
        runtime.block_on(iam.delete_access_key().user_name("a").access_key_id(&id).send()).unwrap();
    });
    place.harness.proxy.fault_at("s3:PutObject", 40, Fault::Call(delete), 1);
    let said = place.run(&["cp", "-r", "in", "a:deleted"]);
    one_message(&place, &said, "InvalidAccessKeyId");
    assert!(said.text.contains("Repeat the command to use the current key"), "{}", said.text);
}

fn one_message(place: &Place, said: &crate::place::Said, code: &str) {
    assert_eq!(said.code, 1, "{}", said.text);
    assert_eq!(said.text.matches(code).count(), 1, "{}", said.text);
    assert!(said.text.contains(&format!("{}/a: stopped: ", place.harness.namespace)), "{}", said.text);
    assert!(said.text.lines().count() <= 3, "{}", said.text);
}

/// What no other object can succeed in either ends everything with one message, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_concerns_all_objects_is_said_once() {
    let place = Place::new("all", json!({})).await;
    for number in 0..40 {
        place.write(&format!("in/{number:02}"), 100);
    }
    let said = place.run(&["cp", "-r", "in", "a:x", "--endpoint-url", "http://127.0.0.1:1"]);
    one_message(&place, &said, "s3:PutObject: Unreachable");
    place.harness.proxy.fault("s3:PutObject", Fault::Cut, 1_000);
    let said = place.run(&["cp", "-r", "in", "a:x"]);
    place.harness.proxy.heal();
    one_message(&place, &said, "s3:PutObject: Unreachable: the other side closed the connection without an answer");
    place.ok(&["cp", "-r", "in", "a:x"]);
    // A folder that cannot be made, and one in which nothing can be made, also by root.
    let said = place.run(&["cp", "-r", "a:x", "in/00/folder"]);
    one_message(&place, &said, "in/00/folder: ");
    let said = place.run(&["cp", "-r", "a:x", "/proc"]);
    one_message(&place, &said, "No such file or directory");
    assert!(!said.text.contains("kept"), "{}", said.text);
}

/// A single refusal is about its object.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_object_that_fails_ends_nothing_else() {
    let place = Place::new("one", json!({})).await;
    for number in 0..30 {
        place.write(&format!("in/{number:02}"), 100);
    }
    place.harness.proxy.fault_at("s3:PutObject", 5, Fault::Answer(403, "AccessDenied"), 1);
    std::os::unix::fs::symlink("nowhere", place.path("in/broken")).unwrap();
    let said = place.run(&["cp", "-r", "in", "a:x"]);
    assert!(said.code == 1 && said.text.contains("copied 29 objects") && said.text.contains("2 objects failed"), "{}", said.text);
    assert!(said.text.contains("in/broken: a symbolic link that leads to no file\n"), "{}", said.text);
    assert_eq!(place.keys("bucket-a").await.len(), 29);
}
