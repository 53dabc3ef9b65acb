//! `make run`, as a user would run it whose shell is set up for real accounts and clusters.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::stack::{ROOT, scratch};

#[test]
fn make_run_shows_the_whole_job_and_leaves_nothing_running() {
    let directory = scratch("make-run");
    let mut run = Command::new("python3")
        .arg(format!("{ROOT}/deploy/local/run.py"))
        .arg("--dir")
        .arg(&directory)
        .env("KUBECONFIG", "/nonexistent")
        .env("AWS_PROFILE", "production")
        .env("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        .env("HTTPS_PROXY", "http://127.0.0.1:9")
        .env("HTTP_PROXY", "http://127.0.0.1:9")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(run.stdout.take().unwrap());
    let mut text = String::new();
    while !text.contains("Ctrl-C ends it") && stdout.read_line(&mut text).unwrap() > 0 {}
    let interrupted = Command::new("kill").arg("-INT").arg(run.id().to_string()).status().unwrap();
    stdout.read_to_string(&mut text).unwrap();
    let mut errors = String::new();
    run.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    let status = run.wait().unwrap();
    assert!(interrupted.success() && status.success(), "{status}\n{text}\n{errors}");
    for shown in [
        "genomics   True    lab-a-genomics",
        "Verified          True   InSync",
        "AWS_SECRET_ACCESS_KEY",
        "CORS    HEAD, GET, PUT, POST, DELETE from https://ica.illumina.com",
        "user    arn:aws:iam::123456789012:user/bucketconnection/illumina_ica_admin",
        "policy  arn:aws:iam::123456789012:policy/bucketconnection/illumina-ica-admin-policy",
        "kubectl delete bc genomics",
    ] {
        assert!(text.contains(shown), "{shown}\n{text}");
    }
    let files = private_files(&directory);
    assert!(
        files.iter().any(|file| file.ends_with("env")) && files.iter().any(|file| file.ends_with("cluster/admin.kubeconfig"))
    );
    // Both pipes are at their end, so no process that could write to them is left.
}

/// All files in a directory: they contain keys and tokens, so other users of the machine must not be able to read them.
fn private_files(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let (path, metadata) = (entry.path(), entry.metadata().unwrap());
        if metadata.is_dir() {
            found.extend(private_files(&path));
        } else {
            assert_eq!(metadata.permissions().mode() & 0o077, 0, "{} is not for its owner alone", path.display());
            found.push(path.display().to_string());
        }
    }
    found
}
