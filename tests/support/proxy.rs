//! A proxy between the operator and AWS, on loopback: it records each request by the name of its IAM action and, by
//! rule, answers instead of AWS, cuts the connection before or after the request was executed, or calls a hook. The
//! Host header stays unchanged, so signatures stay valid. The proxy before the API server (api_proxy.rs) uses `Faults`
//! too.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bucketconnection::settings::SettingId;

use super::harness::LIMIT;

pub type Hook = Arc<dyn Fn() + Send + Sync>;

/// What to do with a request instead of forwarding it.
#[derive(Clone)]
pub enum Fault {
    /// Answer with this status and error code.
    Answer(u16, &'static str),
    /// Close the connection before AWS sees the request.
    Cut,
    /// Let AWS execute the request, and drop its answer.
    LoseAnswer,
    /// Never answer.
    Hang,
    /// Forward the request after this delay.
    Delay(Duration),
    /// Run this, then forward the request.
    Call(Hook),
    /// Run this, then close the connection: AWS never sees the request.
    CallThenCut(Hook),
    /// Forward the request, then run this before returning the answer.
    CallAfter(Hook),
}

impl Fault {
    /// Does what comes before forwarding, and returns whether to forward.
    pub fn before(&self) -> bool {
        match self {
            Self::Cut => return false,
            Self::Hang => loop {
                thread::park();
            },
            Self::Delay(time) => thread::sleep(*time),
            Self::Call(hook) => hook(),
            Self::CallThenCut(hook) => {
                hook();
                return false;
            }
            Self::Answer(..) | Self::LoseAnswer | Self::CallAfter(_) => {}
        }
        true
    }
}

struct Rule {
    action: String,
    fault: Fault,
    skip: usize,
    left: usize,
}

/// The faults, and their times: the first rule that matches a request applies.
#[derive(Default)]
pub struct Faults(Vec<Rule>);

impl Faults {
    /// `action` (all for `*`, all writes for `writes`) fails like this, `times` times, after `skip` successful times.
    pub fn add(&mut self, action: &str, fault: Fault, skip: usize, times: usize) {
        self.0.push(Rule { action: action.to_owned(), fault, skip, left: times });
    }

    pub fn heal(&mut self) {
        self.0.clear();
    }

    /// The fault for this request.
    pub fn met(&mut self, action: &str, write: bool) -> Option<Fault> {
        for rule in self.0.iter_mut().filter(|rule| rule.left > 0) {
            if rule.action == "*" || rule.action == action || (write && rule.action == "writes") {
                if rule.skip > 0 {
                    rule.skip -= 1;
                    continue;
                }
                rule.left -= 1;
                return Some(rule.fault.clone());
            }
        }
        None
    }
}

#[derive(Default)]
struct State {
    requests: Vec<Request>,
    faults: Faults,
    /// Minimum time from each request to its answer.
    floor: Duration,
}

/// A request that passed.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The action, such as `s3:PutBucketCORS`.
    pub action: String,
    /// Whether it changes anything.
    pub write: bool,
    /// Id of the key that signed it.
    pub key: String,
    /// The whole request.
    pub text: String,
}

pub struct Proxy {
    pub url: String,
    state: Arc<Mutex<State>>,
}

impl Proxy {
    /// Listens on a free port; forwards to `upstream`.
    pub fn start(upstream: &str) -> Self {
        let upstream = upstream.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        // The thread lives as long as the program; its operator ends with its test.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (state, upstream) = (Arc::clone(&shared), upstream.clone());
                thread::spawn(move || {
                    let _ = serve(client, &upstream, &state);
                });
            }
        });
        Self { url, state }
    }

    /// From now on `action` (all for `*`) fails like this, `times` times.
    pub fn fault(&self, action: &str, fault: Fault, times: usize) {
        self.fault_at(action, 0, fault, times);
    }

    /// The same, after `skip` successful times.
    pub fn fault_at(&self, action: &str, skip: usize, fault: Fault, times: usize) {
        self.state.lock().unwrap().faults.add(action, fault, skip, times);
    }

    /// From now on each answer takes at least this long: then times count round trips.
    pub fn floor(&self, floor: Duration) {
        self.state.lock().unwrap().floor = floor;
    }

    pub fn heal(&self) {
        self.state.lock().unwrap().faults.heal();
    }

    /// Returns the requests so far, and forgets them.
    pub fn take(&self) -> Vec<Request> {
        std::mem::take(&mut self.state.lock().unwrap().requests)
    }

    /// The requests since the last `take`, without the first `count`.
    pub fn since(&self, count: usize) -> Vec<Request> {
        self.state.lock().unwrap().requests[count..].to_vec()
    }

    /// The number of requests since the last `take`.
    pub fn len(&self) -> usize {
        self.state.lock().unwrap().requests.len()
    }

    /// Waits until there were so many requests of this action.
    pub async fn sees(&self, action: &str, count: usize) {
        let end = Instant::now() + LIMIT;
        while self.count(action) < count {
            assert!(Instant::now() < end, "{} requests of {action}", self.count(action));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub fn count(&self, action: &str) -> usize {
        self.state.lock().unwrap().requests.iter().filter(|request| request.action == action).count()
    }
}

fn serve(mut client: TcpStream, upstream: &str, state: &Mutex<State>) -> std::io::Result<()> {
    while let Some(raw) = read_message(&mut client)? {
        let (request, began) = (parse(&raw), Instant::now());
        let (fault, floor) = {
            let mut state = state.lock().unwrap();
            let floor = state.floor;
            state.requests.push(request.clone());
            let fault = state.faults.met(&request.action, request.write);
            (fault, floor)
        };
        match fault {
            Some(Fault::Answer(status, code)) => {
                let query = !request.action.starts_with("s3:");
                client.write_all(error(status, code, query).as_bytes())?;
                continue;
            }
            Some(ref fault) if !fault.before() => return Ok(()),
            _ => {}
        }
        let mut server = TcpStream::connect(upstream)?;
        server.write_all(&raw)?;
        let mut answer = Vec::new();
        // The emulator closes the connection after each answer.
        server.read_to_end(&mut answer)?;
        match fault {
            Some(Fault::LoseAnswer) => return Ok(()),
            Some(Fault::CallAfter(hook)) => hook(),
            _ => {}
        }
        thread::sleep(floor.saturating_sub(began.elapsed()));
        client.write_all(&answer)?;
        return Ok(());
    }
    Ok(())
}

/// Head and body of one HTTP message; `None` if the other side has closed.
pub fn read_message(stream: &mut TcpStream) -> std::io::Result<Option<Vec<u8>>> {
    let mut raw = Vec::new();
    let mut buffer = [0; 16_384];
    loop {
        if let Some(end) = raw.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&raw[..end]).to_lowercase();
            if head.contains("expect: 100-continue") && raw.len() == end + 4 {
                stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            }
            let length =
                head.lines().find_map(|line| line.strip_prefix("content-length:")).map_or(0, |l| l.trim().parse().unwrap_or(0));
            if raw.len() >= end + 4 + length {
                return Ok(Some(raw));
            }
        }
        match stream.read(&mut buffer)? {
            0 => return Ok(None),
            count => raw.extend_from_slice(&buffer[..count]),
        }
    }
}

fn error(status: u16, code: &str, query: bool) -> String {
    let inner = format!("<Error><Code>{code}</Code><Message>injected</Message></Error>");
    let body = if query { format!("<ErrorResponse>{inner}<RequestId>r</RequestId></ErrorResponse>") } else { inner };
    format!("HTTP/1.1 {status} Injected\r\ncontent-type: application/xml\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// Sub-resources of a bucket other than its settings: the action that reads them and the one that writes them.
const SUBRESOURCES: [(&str, &str, &str); 4] = [
    ("versions", "s3:ListBucketVersions", ""),
    ("uploads", "s3:ListBucketMultipartUploads", "s3:PutObject"),
    ("list-type", "s3:ListBucket", ""),
    ("delete", "", "s3:DeleteObjectVersion"),
];

fn parse(raw: &[u8]) -> Request {
    let text = String::from_utf8_lossy(raw).into_owned();
    let mut words = text.split_whitespace();
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let credential = text.split("Credential=").nth(1).unwrap_or_default();
    let scope: Vec<_> = credential.split(['/', ',']).collect();
    let (key, service) = (scope.first().copied().unwrap_or_default(), scope.get(3).copied().unwrap_or_default());
    let action = if service == "s3" {
        s3_action(method, target)
    } else {
        let action = text.split("Action=").nth(1).and_then(|rest| rest.split('&').next()).unwrap_or_default();
        format!("{service}:{action}")
    };
    let name = action.split(':').nth(1).unwrap_or_default();
    let write = !["Get", "List", "Head"].iter().any(|verb| name.starts_with(verb));
    Request { action, write, key: key.to_owned(), text }
}

/// The action of a request to S3, which IAM must allow.
pub fn s3_action(method: &str, target: &str) -> String {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let keys: BTreeMap<_, _> = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
    if let Some(setting) = SettingId::ALL.iter().map(|setting| setting.facts()).find(|it| keys.contains_key(it.subresource)) {
        let (read, write) = (setting.actions[0], setting.actions[1]);
        let action = match method {
            "GET" | "HEAD" => read,
            "DELETE" => setting.actions.get(2).unwrap_or(&write),
            _ => write,
        };
        return action.to_owned();
    }
    for (name, read, write) in SUBRESOURCES {
        if keys.contains_key(name) {
            return if matches!(method, "GET" | "HEAD") { read } else { write }.to_owned();
        }
    }
    let object = path.trim_matches('/').contains('/');
    match (method, object) {
        ("PUT", false) => "s3:CreateBucket",
        ("DELETE", false) => "s3:DeleteBucket",
        ("DELETE", true) if keys.contains_key("uploadId") => "s3:AbortMultipartUpload",
        ("GET", false) if path == "/" => "s3:ListAllMyBuckets",
        ("GET" | "HEAD", false) => "s3:ListBucket",
        ("PUT", true) => "s3:PutObject",
        ("GET" | "HEAD", true) => "s3:GetObject",
        ("DELETE", true) => "s3:DeleteObject",
        _ => "s3:other",
    }
    .to_owned()
}
