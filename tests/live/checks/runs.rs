//! Whole runs, as processes: to the end, interrupted, and killed.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::Child;

use super::{ACCOUNT, Server, tests, text};
use crate::names::{PREFIX, Run};
use crate::support::harness::{LIMIT, signal};
use crate::support::proxy::Fault;
use crate::support::stack::ROOT;

tests! {
    a_run_finds_no_difference_and_leaves_nothing,
    a_difference_is_reported,
    an_interrupted_run_leaves_nothing,
    what_a_killed_run_leaves_is_cleaned,
}

/// The folder of the report, from the last line of a run.
fn folder(output: &str) -> PathBuf {
    let place = output.lines().find_map(|line| line.strip_prefix("report: ")).unwrap_or_else(|| panic!("no report:\n{output}"));
    PathBuf::from(ROOT).join(place).parent().unwrap().to_owned()
}

/// Whether a text has a word in the form of a secret access key: 40 characters, of three kinds.
fn has_secret(text: &str) -> bool {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && !"/+".contains(c));
    let mixed = |word: &str| {
        let kinds = [char::is_uppercase as fn(char) -> bool, char::is_lowercase, |c| c.is_ascii_digit()];
        kinds.iter().all(|kind| word.chars().any(kind))
    };
    words.into_iter().any(|word| word.len() == 40 && mixed(word))
}

fn a_run_finds_no_difference_and_leaves_nothing() {
    let server = Server::new("live-run");
    let output = server.run("--run", &[("EVERY", "7")]);
    let told = text(&output);
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert_eq!(server.found(PREFIX), [""; 0]);
    let folder = folder(&told);
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let (markdown, json, log) = (read("report.md"), read("report.json"), read("operator.log"));
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(has_secret(&format!("\"{}\"", server.caller.secret)), "the search for secrets finds none");
    for text in [&told, &markdown, &json, &log] {
        assert!(!has_secret(text), "a secret in\n{text}");
    }
    assert!(!markdown.contains(ACCOUNT) && !json.contains(ACCOUNT), "{markdown}");
    assert!(markdown.contains("********9012") && markdown.contains("Nothing is left."), "{markdown}");
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    let checks = report["checks"].as_array().unwrap();
    for part in ["defaults", "timing", "contract", "life", "settings", "permissions"] {
        let same = checks.iter().filter(|check| check["part"] == part && check["outcome"] == "same").count();
        assert!(same > 1, "{part}: {same} comparisons\n{markdown}");
    }
    // As the operator's user, not with the caller's permissions.
    let keys: std::collections::BTreeSet<_> =
        server.proxy.take().into_iter().filter(|r| r.action == "iam:CreateUser").map(|r| r.key).collect();
    assert!(keys.len() >= 2, "{keys:?}");
}

/// An AWS whose new buckets have no public access block.
fn a_difference_is_reported() {
    let server = Server::new("live-difference");
    let missing = Fault::Answer(404, "NoSuchPublicAccessBlockConfiguration");
    server.proxy.fault("s3:GetBucketPublicAccessBlock", missing, usize::MAX);
    let output = server.run("--run", &[("PARTS", "defaults")]);
    let told = text(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("DIFFERS  publicAccessBlock of a new bucket: ") && told.contains("nothing is left"), "{told}");
    let folder = folder(&told);
    let markdown = std::fs::read_to_string(folder.join("report.md")).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let differences = markdown.split("## ").find(|section| section.starts_with("Differences")).unwrap();
    assert!(differences.contains("| defaults | publicAccessBlock of a new bucket |"), "{markdown}");
}

/// Reads the output of a run up to a line that contains `text`.
fn until(run: &mut Child, text: &str) -> BufReader<std::process::ChildStdout> {
    let mut output = BufReader::new(run.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains(text) {
        line.clear();
        assert!(output.read_line(&mut line).unwrap() > 0, "the run ends before {text:?}");
    }
    output
}

/// A closed terminal sends SIGHUP twice: only a second Ctrl-C stops the deletion.
fn an_interrupted_run_leaves_nothing() {
    let server = Server::new("live-interrupted");
    for name in ["INT", "TERM", "HUP"] {
        let mut run = server.start("--run", &[("PARTS", "timing,contract")]);
        let mut output = until(&mut run, "running the contract suite");
        assert!(!server.found(PREFIX).is_empty(), "nothing to clean");
        signal(run.id(), name);
        let mut rest = String::new();
        while !rest.contains("deleting what this run created\n") {
            assert!(output.read_line(&mut rest).unwrap() > 0, "{rest}");
        }
        if name != "INT" {
            signal(run.id(), name);
        }
        output.read_to_string(&mut rest).unwrap();
        assert_eq!(run.wait().unwrap().code(), Some(1), "{rest}");
        assert!(rest.contains("stopping, then deleting") && rest.contains("nothing is left in the account"), "{rest}");
        assert_eq!(server.found(PREFIX), [""; 0]);
        std::fs::remove_dir_all(folder(&rest)).unwrap();
    }
}

/// How many processes have this text among their arguments.
fn processes(text: &str) -> usize {
    let all = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let arguments = all.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    arguments.filter(|arguments| String::from_utf8_lossy(arguments).split('\0').any(|one| one == text)).count()
}

fn what_a_killed_run_leaves_is_cleaned() {
    let server = Server::new("live-killed");
    let mut run = server.start("--run", &[("PARTS", "life")]);
    let _output = until(&mut run, "creating two connections");
    run.kill().unwrap();
    run.wait().unwrap();
    let found = server.found(PREFIX);
    let id = found.iter().find_map(|found| Run::of(found.split(' ').nth(1)?)).expect("nothing to clean").id().to_owned();
    // The operator ends too: nothing may create keys after the program.
    let end = std::time::Instant::now() + LIMIT;
    while processes(&id) > 0 {
        assert!(std::time::Instant::now() < end, "an operator of {id} still runs");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    std::fs::remove_dir_all(format!("{ROOT}/target/live/{id}")).unwrap();
    let other = server.run("--clean", &[("YES", "1"), ("RUN", "bc-live-zzzzzzzzzz")]);
    assert!(text(&other).contains("has nothing whose name begins with bc-live-zzzzzzzzzz"), "{}", text(&other));
    let cleaned = server.run("--clean", &[("YES", "1")]);
    assert_eq!(cleaned.status.code(), Some(0), "{}", text(&cleaned));
    assert_eq!(server.found(PREFIX), [""; 0]);
}
