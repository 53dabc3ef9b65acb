//! What ends in the middle continues, and leaves no half file under its name.

use std::sync::{Arc, Mutex};
use std::{fs, thread};

use serde_json::json;

use crate::place::{Place, Said, content, files};
use crate::support::proxy::Fault;

const MIB: usize = 1 << 20;

/// Runs a command that gets a signal at the request after `skip` others of this action.
fn signaled(place: &Place, arguments: &[&str], action: &str, skip: usize, signal: &'static str) -> Said {
    let pid = Arc::new(Mutex::new(None));
    let known = pid.clone();
    let send = move || {
        // The request can come before the process's id is known here.
        let pid = loop {
            if let Some(pid) = *known.lock().unwrap() {
                break pid;
            }
            thread::yield_now();
        };
        assert!(std::process::Command::new("kill").args([signal, &format!("{pid}")]).status().unwrap().success());
    };
    let hook: Arc<dyn Fn() + Send + Sync> = Arc::new(send);
    place.harness.proxy.fault_at(action, skip, Fault::CallThenCut(hook), 1);
    let child = place.command(arguments).spawn().unwrap();
    *pid.lock().unwrap() = Some(child.id());
    let said = tokio::task::block_in_place(|| child.wait_with_output()).unwrap().into();
    place.harness.proxy.heal();
    said
}

fn sent(place: &Place, since: usize, text: &str) -> usize {
    place
        .harness
        .proxy
        .since(since)
        .iter()
        .filter(|request| request.text.lines().next().unwrap_or_default().contains(text))
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_continues_where_it_ended() {
    let place = Place::new("up", json!({})).await;
    let large = place.write("large", 25 * MIB);
    // The request that begins the upload and that for the first part succeed.
    let upload = ["cp", "large", "a:large", "--parallel", "1"];
    for (signal, code) in [("-KILL", -1), ("-INT", 130)] {
        let before = place.harness.proxy.len();
        let said = signaled(&place, &upload, "s3:PutObject", 2, signal);
        assert_eq!(said.code, code, "{}", said.text);
        if signal == "-INT" {
            assert!(said.text.contains("S3 keeps the parts of unfinished uploads: repeat the command"), "{}", said.text);
        }
        assert_eq!(place.object("bucket-a", "runs/large").await, None);
        assert!(sent(&place, before, "partNumber=") >= 1);
        let before = place.harness.proxy.len();
        let text = place.ok(&upload);
        assert_eq!(sent(&place, before, "partNumber="), 3, "{text}");
        assert!(text.contains("8.39 MB were there from an interrupted run"), "{text}");
        assert_eq!(place.object("bucket-a", "runs/large").await.as_ref(), Some(&large));
        place.harness.s3().delete_object().bucket("bucket-a").key("runs/large").send().await.unwrap();
    }
    // Another content under the same name is sent as a whole, and the old parts are discarded.
    signaled(&place, &upload, "s3:PutObject", 2, "-KILL");
    fs::write(place.path("large"), content("other", 25 * MIB)).unwrap();
    let before = place.harness.proxy.len();
    place.ok(&upload);
    assert_eq!(sent(&place, before, "partNumber="), 4);
    assert_eq!(place.object("bucket-a", "runs/large").await, Some(content("other", 25 * MIB)));
    let open = place.harness.s3().list_multipart_uploads().bucket("bucket-a").send().await.unwrap();
    assert_eq!(open.uploads().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_continues_where_it_ended() {
    let place = Place::new("down", json!({})).await;
    let large = content("large", 25 * MIB);
    place.put("bucket-a", "runs/large", large.clone()).await;
    let download = ["cp", "a:large", "got/large", "--parallel", "1"];
    // The first request asks what S3 knows of the object; that for the first part succeeds, too.
    for (signal, code) in [("-KILL", -1), ("-INT", 130)] {
        let said = signaled(&place, &download, "s3:GetObject", 2, signal);
        assert_eq!(said.code, code, "{}", said.text);
        let left = files(&place.path("got"));
        assert!(left.len() == 1 && left[0].ends_with(".bucketconnection"), "{left:?}");
        let before = place.harness.proxy.len();
        place.ok(&download);
        assert_eq!(sent(&place, before, "GET /bucket-a/runs"), 3);
        assert_eq!(files(&place.path("got")), ["large"]);
        assert_eq!(fs::read(place.path("got/large")).unwrap(), large);
        fs::remove_file(place.path("got/large")).unwrap();
    }
    // A new version of the object is read as a whole.
    signaled(&place, &download, "s3:GetObject", 2, "-KILL");
    place.put("bucket-a", "runs/large", content("other", 25 * MIB)).await;
    let before = place.harness.proxy.len();
    place.ok(&download);
    assert_eq!(sent(&place, before, "GET /bucket-a/runs"), 4);
    assert_eq!(fs::read(place.path("got/large")).unwrap(), content("other", 25 * MIB));
}

/// The limit on the size of files fails as a full disk does, and needs no permissions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_cannot_be_written_leaves_nothing() {
    let place = Place::new("room", json!({})).await;
    for (name, size) in [("large", 17 * MIB), ("middle", 6 * MIB), ("small", 1_000)] {
        place.put("bucket-a", &format!("runs/r/{name}"), content(name, size)).await;
    }
    let run = |arguments: &[&str]| {
        let program = place.command(arguments);
        let mut limited = std::process::Command::new("sh");
        limited.args(["-c", "trap '' XFSZ; ulimit -f 4096; exec \"$0\" \"$@\""]).arg(program.get_program());
        limited.args(program.get_args()).current_dir(&place.folder).env_clear();
        limited.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Said::from(tokio::task::block_in_place(|| limited.output()).unwrap())
    };
    let said = run(&["cp", "-r", "a:r", "got"]);
    assert!(said.code == 1 && said.text.contains("copied 1 object,") && said.text.contains("2 objects failed"), "{}", said.text);
    assert_eq!(said.text.matches("File too large").count(), 2, "{}", said.text);
    assert!(!place.path("got/large").exists() && !place.path("got/middle").exists());
    place.ok(&["cp", "-r", "a:r", "got"]);
    assert_eq!(files(&place.path("got")), ["large", "middle", "small"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_breaks_is_no_failure() {
    let place = Place::new("cut", json!({})).await;
    let large = place.write("large", 17 * MIB);
    for action in ["s3:PutObject", "s3:GetObject"] {
        place.harness.proxy.fault_at(action, 1, Fault::Cut, 2);
        place.harness.proxy.fault_at(action, 1, Fault::Answer(503, "SlowDown"), 1);
    }
    place.ok(&["cp", "large", "a:large"]);
    place.ok(&["cp", "a:large", "got"]);
    assert_eq!(fs::read(place.path("got")).unwrap(), large);
}
