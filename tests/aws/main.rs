//! Each AWS call by its wire format: the request that is sent, and the answers that are understood. The server replays
//! a script of answers in the format of AWS's API references; the tests compare the requests that it received.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod iam;
mod partitions;
mod proofs;
mod s3;
mod settings;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use bucketconnection::aws::Aws;
use bucketconnection::sdk::Sdk;

/// An answer: status, extra headers, body.
pub(crate) struct Answer(pub(crate) u16, pub(crate) &'static str, pub(crate) &'static str);

pub(crate) fn ok(body: &'static str) -> Answer {
    Answer(200, "", body)
}

/// Serves the answers in order, one per request; afterwards returns the requests: request line without version, and
/// body.
pub(crate) struct Script {
    pub(crate) aws: Aws,
    server: JoinHandle<Vec<String>>,
}

impl Script {
    pub(crate) fn new(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let mut requests = Vec::new();
            for Answer(status, headers, body) in answers {
                let (mut stream, _) = listener.accept().unwrap();
                requests.push(receive(&mut stream));
                let length = body.len();
                let answer =
                    format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}");
                stream.write_all(answer.as_bytes()).unwrap();
            }
            requests
        });
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("us-east-1"))
            .endpoint_url(url)
            .retry_config(RetryConfig::disabled())
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new("AKIAOPERATOR", "secret", None, None, "test")))
            .build();
        Self { aws: Aws::new(Sdk::new(config)), server }
    }

    pub(crate) fn requests(self) -> Vec<String> {
        self.server.join().unwrap()
    }

    /// The only request.
    pub(crate) fn request(self) -> String {
        let requests = self.requests();
        assert_eq!(requests.len(), 1);
        requests.into_iter().next().unwrap()
    }
}

fn receive(stream: &mut TcpStream) -> String {
    let mut raw = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some(end) = raw.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&raw[..end]).into_owned();
            let header = |name: &str| {
                let mut lines = head.lines().filter_map(|line| line.split_once(": "));
                lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
            };
            let length = header("content-length").map_or(0, |length| length.parse().unwrap());
            if raw.len() >= end + 4 + length {
                let line = head.lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
                // The header that prevents calls on foreign buckets, for each call that supports it.
                let owner = header("x-amz-expected-bucket-owner").map(|owner| format!(" owner={owner}")).unwrap_or_default();
                let body = String::from_utf8_lossy(&raw[end + 4..]).into_owned();
                return format!("{line}{owner}\n{body}").trim_end().to_owned();
            }
        }
        match stream.read(&mut buffer).unwrap() {
            0 => return String::from_utf8_lossy(&raw).into_owned(),
            count => raw.extend_from_slice(&buffer[..count]),
        }
    }
}

/// An IAM or STS request as its parameters, sorted, without the version.
pub(crate) fn parameters(request: &str) -> Vec<String> {
    let body = request.lines().nth(1).unwrap_or_default();
    let decoded = |text: &str| percent_encoding::percent_decode_str(&text.replace('+', " ")).decode_utf8().unwrap().into_owned();
    let mut pairs: Vec<_> = body.split('&').map(decoded).filter(|pair| !pair.starts_with("Version=")).collect();
    pairs.sort();
    pairs
}
