//! A private CA (`AWS_CA_BUNDLE`) and a proxy (`HTTPS_PROXY`) between the operator and AWS.

use std::io::{Read, Write, copy};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::json;

use crate::support::harness::{Harness, told};
use crate::support::stack::{Stack, scratch};

/// A harness whose emulator uses TLS with a certificate of an unknown CA.
async fn private(name: &str) -> (Harness, String) {
    let place = scratch(&format!("ca-{name}"));
    let mut harness = Harness::idle(name, Stack::cluster(), &["--tls", place.to_str().unwrap()]).await;
    harness.environment.insert("AWS_ENDPOINT_URL".into(), harness.emulator.url().to_owned());
    let ca = harness.directory.join("ca.pem");
    std::fs::copy(place.join("ca.pem"), &ca).unwrap();
    (harness, ca.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_private_ca() {
    let (mut harness, ca) = private("ca").await;
    harness.start();
    harness.apply(&harness.connection("bucket-ca", json!({}))).await;
    let object = harness.condition("c", "Reconciling", "True").await;
    let (_, reason, message) = told(&object, "AccountReady");
    assert_eq!(reason, "AWSUnavailable");
    assert!(message.contains("certificate") && message.contains("set AWS_CA_BUNDLE"), "{message}");
    harness.kill();
    harness.environment.insert("AWS_CA_BUNDLE".into(), ca);
    harness.start();
    harness.ready("c").await;
}

#[tokio::test]
async fn a_proxy() {
    let (mut harness, ca) = private("proxy").await;
    let (address, tunnels) = connect_proxy();
    harness.environment.insert("AWS_CA_BUNDLE".into(), ca);
    harness.environment.insert("HTTPS_PROXY".into(), format!("http://{address}"));
    harness.environment.insert("NO_PROXY".into(), "127.0.0.1".into());
    harness.start();
    harness.apply(&harness.connection("bucket-proxy", json!({}))).await;
    harness.ready("c").await;
    assert!(tunnels.load(Ordering::SeqCst) > 0, "AWS was reached past the proxy");
}

/// A proxy with CONNECT; returns its address and the number of tunnels that it has opened.
fn connect_proxy() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let tunnels = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&tunnels);
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let count = Arc::clone(&count);
            thread::spawn(move || tunnel(client, &count));
        }
    });
    (address, tunnels)
}

fn tunnel(mut client: TcpStream, count: &AtomicUsize) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let target = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).unwrap_or_default();
    let mut server = TcpStream::connect(target)?;
    count.fetch_add(1, Ordering::SeqCst);
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || copy(&mut from, &mut to));
    copy(&mut server, &mut client)?;
    Ok(())
}
