//! A proxy between the operator and the API server, on loopback: it records each request by verb, resource and name,
//! and injects faults by the same rules as the proxy before AWS (proxy.rs). It can hold back the data of watches: then
//! the operator's cache is stale.
//!
//! The operator connects to it without TLS; its token passes through.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use k8s_openapi::ByteString;
use kube::config::Kubeconfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::json;

use super::proxy::{Fault, Faults, read_message};

/// A request that passed: verb, resource with its subresource, name, and whether it was a dry run, such as `patch
/// bucketconnections/status c` and `patch secrets c-s3 dry-run`.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiRequest {
    pub action: String,
    pub write: bool,
    pub watch: bool,
    /// The whole request.
    pub text: String,
}

#[derive(Default)]
struct State {
    requests: Mutex<Vec<ApiRequest>>,
    faults: Mutex<Faults>,
    held: Mutex<bool>,
    released: Condvar,
}

pub struct ApiProxy {
    /// A kubeconfig for this proxy.
    pub kubeconfig: String,
    state: Arc<State>,
}

struct Upstream {
    address: String,
    tls: Arc<ClientConfig>,
}

impl ApiProxy {
    /// Listens on a free port and forwards to the server of `kubeconfig`; writes its own kubeconfig into `directory`.
    pub fn start(kubeconfig: &str, directory: &Path) -> Self {
        let cluster = Kubeconfig::read_from(kubeconfig).unwrap().clusters[0].cluster.clone().unwrap();
        let server = cluster.server.unwrap();
        let authority: ByteString = serde_json::from_value(json!(cluster.certificate_authority_data)).unwrap();
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&authority.0) {
            roots.add(certificate.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let tls = Arc::new(tls.with_root_certificates(roots).with_no_client_auth());
        let upstream = Arc::new(Upstream { address: server.trim_start_matches("https://").to_owned(), tls });

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let ours = directory.join(format!("proxied-{}.kubeconfig", address.port()));
        let text = std::fs::read_to_string(kubeconfig).unwrap();
        std::fs::write(&ours, text.replace(&server, &format!("http://{address}"))).unwrap();

        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        // The thread lives as long as the program; its operator ends with its test.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (state, upstream) = (Arc::clone(&shared), Arc::clone(&upstream));
                thread::spawn(move || {
                    let _ = serve(client, &upstream, &state);
                });
            }
        });
        Self { kubeconfig: ours.to_str().unwrap().to_owned(), state }
    }

    /// From now on `action` (all for `*`, all writes for `writes`) fails like this, `times` times, after `skip`
    /// successful times.
    pub fn fault_at(&self, action: &str, skip: usize, fault: Fault, times: usize) {
        self.state.faults.lock().unwrap().add(action, fault, skip, times);
    }

    pub fn heal(&self) {
        self.state.faults.lock().unwrap().heal();
    }

    /// Holds back the data of watches (`true`), or lets it continue.
    pub fn holder(&self) -> impl Fn(bool) + Send + Sync + 'static {
        let state = Arc::clone(&self.state);
        move |held| {
            *state.held.lock().unwrap() = held;
            state.released.notify_all();
        }
    }

    /// Returns the requests so far, and forgets them.
    pub fn take(&self) -> Vec<ApiRequest> {
        std::mem::take(&mut self.state.requests.lock().unwrap())
    }

    pub fn requests(&self) -> Vec<ApiRequest> {
        self.state.requests.lock().unwrap().clone()
    }

    /// The number of requests of this action since the last `take`.
    pub fn count(&self, action: &str) -> usize {
        self.state.requests.lock().unwrap().iter().filter(|request| request.action == action).count()
    }
}

fn serve(mut client: TcpStream, upstream: &Upstream, state: &State) -> std::io::Result<()> {
    let Some(raw) = read_message(&mut client)? else { return Ok(()) };
    let request = parse(&raw);
    state.requests.lock().unwrap().push(request.clone());
    let fault = state.faults.lock().unwrap().met(&request.action, request.write);
    match fault {
        Some(Fault::Answer(status, reason)) => return client.write_all(refusal(status, reason).as_bytes()),
        Some(ref fault) if !fault.before() => return Ok(()),
        _ => {}
    }
    let mut server = upstream.connect()?;
    server.write_all(&closing(&raw))?;
    server.flush()?;
    if request.watch {
        return stream(client, server, state);
    }
    let mut answer = Vec::new();
    while let Some(count) = read_some(&mut server, &mut answer)? {
        if count == 0 {
            break;
        }
    }
    match fault {
        Some(Fault::LoseAnswer) => return Ok(()),
        Some(Fault::CallAfter(hook)) => hook(),
        _ => {}
    }
    client.write_all(&answer)
}

/// Forwards the data of a watch while it is not held back.
fn stream(mut client: TcpStream, mut server: StreamOwned<ClientConnection, TcpStream>, state: &State) -> std::io::Result<()> {
    // When the operator is gone, its watch ends too.
    let (mut gone, wire) = (client.try_clone()?, server.sock.try_clone()?);
    thread::spawn(move || {
        let _ = gone.read(&mut [0]);
        let _ = wire.shutdown(Shutdown::Both);
    });
    let mut buffer = Vec::new();
    while read_some(&mut server, &mut buffer)?.is_some_and(|count| count > 0) {
        let mut held = state.held.lock().unwrap();
        while *held {
            held = state.released.wait(held).unwrap();
        }
        drop(held);
        client.write_all(&buffer)?;
        buffer.clear();
    }
    client.shutdown(Shutdown::Both)
}

/// Reads the available data; `None` if the other side has closed without a close notification.
fn read_some(server: &mut StreamOwned<ClientConnection, TcpStream>, to: &mut Vec<u8>) -> std::io::Result<Option<usize>> {
    let mut buffer = [0; 16_384];
    match server.read(&mut buffer) {
        Ok(count) => {
            to.extend_from_slice(&buffer[..count]);
            Ok(Some(count))
        }
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

impl Upstream {
    fn connect(&self) -> std::io::Result<StreamOwned<ClientConnection, TcpStream>> {
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let connection = ClientConnection::new(Arc::clone(&self.tls), name).map_err(std::io::Error::other)?;
        let wire = TcpStream::connect(&self.address)?;
        wire.set_nodelay(true)?;
        Ok(StreamOwned::new(connection, wire))
    }
}

/// The same request, as the only one of its connection.
fn closing(raw: &[u8]) -> Vec<u8> {
    let line = raw.windows(2).position(|pair| pair == b"\r\n").unwrap_or(0) + 2;
    [&raw[..line], b"Connection: close\r\n", &raw[line..]].concat()
}

fn refusal(status: u16, reason: &str) -> String {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "injected", "reason": reason, "code": status,
    })
    .to_string();
    let length = body.len();
    format!(
        "HTTP/1.1 {status} Injected\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

fn parse(raw: &[u8]) -> ApiRequest {
    let text = String::from_utf8_lossy(raw).into_owned();
    let mut words = text.split_whitespace();
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let parts: Vec<_> = path.trim_matches('/').split('/').collect();
    // /api/v1/… or /apis/<group>/<version>/…, then optionally namespaces/<name>/…
    let mut parts = &parts[(if parts[0] == "api" { 2 } else { 3 }).min(parts.len())..];
    if parts.len() > 2 && parts[0] == "namespaces" {
        parts = &parts[2..];
    }
    let part = |index: usize| parts.get(index).copied().unwrap_or_default();
    let (resource, name, subresource) = (part(0), part(1), part(2));
    let watch = query.contains("watch=true") || query.contains("watch=1");
    let verb = match method {
        "GET" if watch => "watch",
        "GET" if name.is_empty() => "list",
        "GET" => "get",
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        _ => "delete",
    };
    let mut action = format!("{verb} {resource}");
    if !subresource.is_empty() {
        action += &format!("/{subresource}");
    }
    // Names of Events are random.
    if !name.is_empty() && resource != "events" {
        action += &format!(" {name}");
    }
    if query.contains("dryRun=") {
        action += " dry-run";
    }
    ApiRequest { action, write: !matches!(verb, "get" | "list" | "watch"), watch, text }
}
