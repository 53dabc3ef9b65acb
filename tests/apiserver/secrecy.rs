//! No secret anywhere except in the Secret: not in logs at their most verbose, Events, status, arguments, metrics,
//! errors or core dumps.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Write};
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::Patch;
use serde_json::json;

use crate::support::harness::Harness;
use crate::support::proxy::{Fault, read_message};
use crate::support::stack::Stack;

/// The forms in which a secret could leak: plain, in a URL, in the API server's JSON (alone and as part of the file),
/// as bytes.
fn forms((id, secret): &(String, String)) -> Vec<String> {
    let base64 = |text: &str| json!(ByteString(text.as_bytes().to_vec())).as_str().unwrap().to_owned();
    let file = format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
    let bytes = format!("{:?}", secret.as_bytes());
    vec![
        secret.clone(),
        percent_encoding::utf8_percent_encode(secret, percent_encoding::NON_ALPHANUMERIC).to_string(),
        base64(secret),
        base64(&file),
        bytes.trim_matches(['[', ']']).to_owned(),
    ]
}

#[tokio::test]
async fn no_secret_anywhere_but_in_the_secret() {
    let mut harness = Harness::idle("secrecy", Stack::cluster(), &[]).await;
    harness.log = "trace";
    harness.start();
    harness.proxy.fault("s3:ListBucket", Fault::Answer(403, "SignatureDoesNotMatch"), 1);
    harness.apply(&harness.connection("bucket-secrecy", json!({ "preset": "IlluminaICA" }))).await;
    harness.ready("c").await;
    let mut seen = vec![harness.secret("c-s3").await["AWS_SECRET_ACCESS_KEY"].clone()];
    // A wrong secret part in the Secret, a lost Secret, a key whose answer is lost: their messages contain no secret
    // either.
    harness.secrets().delete("c-s3", &Default::default()).await.unwrap();
    harness.check("c").await;
    harness.ready("c").await;
    seen.push(harness.secret("c-s3").await["AWS_SECRET_ACCESS_KEY"].clone());
    let patch = json!({ "stringData": { "AWS_SECRET_ACCESS_KEY": "edited-by-somebody", "credentials": "" } });
    let _: Secret = harness.secrets().patch("c-s3", &Default::default(), &Patch::Merge(patch)).await.unwrap();
    harness.proxy.fault("iam:CreateAccessKey", Fault::LoseAnswer, 1);
    harness.check("c").await;
    harness.ready("c").await;
    seen.push(harness.secret("c-s3").await["AWS_SECRET_ACCESS_KEY"].clone());

    let (administrator, operator) = (harness.emulator.key("administrator"), harness.emulator.key("operator"));
    let mut secrets = harness.emulator.issued();
    secrets.remove(&administrator);
    let known: BTreeSet<_> = secrets.iter().map(|(_, secret)| secret).collect();
    assert!(seen.iter().all(|secret| known.contains(secret)) && secrets.len() >= 5, "the emulator tells of all keys");
    secrets.insert(("NONE".into(), "edited-by-somebody".into()));

    let (pid, log) = (harness.pid(), harness.log());
    for library in ["aws_smithy_runtime", "aws_runtime", "hyper_util", "kube_client", "tower"] {
        assert!(log.contains(library), "the log is verbose enough to prove anything: {library}");
    }
    assert!(log.contains("\"TRACE\""));
    let events = Api::<Event>::namespaced(harness.client.clone(), &harness.namespace).list(&Default::default()).await.unwrap();
    let places = [
        ("log", log),
        ("object", serde_json::to_string(&harness.get("c").await).unwrap()),
        ("Events", serde_json::to_string(&events.items).unwrap()),
        ("arguments", std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default()),
        ("metrics", harness.operator().get("/metrics").await),
        ("plan", format!("{:?}", harness.cli(&["plan", "-f", "/dev/stdin"]))),
        ("environment", environment(pid, &operator.1)),
    ];
    for secret in &secrets {
        for form in forms(secret) {
            for (place, text) in &places {
                assert!(!text.contains(&form), "a secret in {place}");
            }
        }
    }
}

/// The environment of the operator, except its own key, which it received there; empty if no other user can read it.
fn environment(pid: u32, own: &str) -> String {
    match std::fs::read(format!("/proc/{pid}/environ")) {
        Ok(environment) => String::from_utf8_lossy(&environment).replace(own, ""),
        Err(error) if [ErrorKind::PermissionDenied, ErrorKind::NotFound].contains(&error.kind()) => String::new(),
        Err(error) => panic!("{error}"),
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn other_users_cannot_read_the_memory() {
    let harness = Harness::new("memory").await;
    harness.operator().logs("started").await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", harness.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"], "{core}");
    // Linux makes root the owner of the files of a process that is not dumpable; the user that it runs as cannot read
    // its memory.
    let place = format!("/proc/{}/mem", harness.pid());
    let (owner, user) = (std::fs::metadata(&place).unwrap().uid(), std::fs::metadata(&harness.directory).unwrap().uid());
    assert_eq!(owner, 0);
    assert!(user == 0 || std::fs::File::open(&place).is_err());
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_not_logged() {
    const SECRET: &str = "hush-hush";
    let mut harness = Harness::idle("unreadable", Stack::cluster(), &[]).await;
    let place = harness.directory.join("kubeconfig");
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "odd", "cluster": { "server": odd_api_server(SECRET) } }],
        "users": [{ "name": "odd", "user": {} }],
        "contexts": [{ "name": "odd", "context": { "cluster": "odd", "user": "odd" } }],
        "current-context": "odd",
    });
    std::fs::write(&place, kubeconfig.to_string()).unwrap();
    harness.operator_kubeconfig = place.to_str().unwrap().to_owned();
    harness.log = "trace";
    harness.start();
    harness.operator().logs("the answer could not be understood").await;
    assert!(!harness.log().contains(SECRET), "{}", harness.log());
}

/// Answers every request with an object that has a wrong type in its metadata; returns its URL.
fn odd_api_server(secret: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let body = json!({ "data": { "AWS_SECRET_ACCESS_KEY": secret }, "metadata": secret }).to_string();
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            while let Ok(Some(_)) = read_message(&mut client) {
                let _ = client.write_all(answer.as_bytes());
            }
        }
    });
    url
}
