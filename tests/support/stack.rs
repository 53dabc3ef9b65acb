//! The local stack of deploy/local: one control plane for all tests of a program, one emulator per test.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};

pub const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// In the folder of a stack: it stays (deploy/local/stack.py).
const KEEP: &str = "keep";

static CLUSTER: OnceLock<Stack> = OnceLock::new();

/// A `stack.py serve` process: it ends when its standard input closes, which the operating system ensures however the
/// test ends. It then removes its folder, unless a test has failed.
pub struct Stack {
    pub facts: Value,
    pub directory: PathBuf,
    stdin: Option<ChildStdin>,
    child: Child,
}

impl Stack {
    pub fn start(name: &str, options: &[&str]) -> Self {
        let directory = new_folder(name);
        let mut child = Command::new("python3")
            .arg(format!("{ROOT}/deploy/local/stack.py"))
            .args(["serve", "--temporary", "--dir"])
            .arg(&directory)
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 runs");
        let stdin = child.stdin.take();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let facts = serde_json::from_str(&line).unwrap_or_else(|_| panic!("the local stack did not start: {line}"));
        Self { facts, directory, stdin, child }
    }

    /// The control plane that all tests of this program share; it ends with the program.
    pub fn cluster() -> &'static Self {
        CLUSTER.get_or_init(|| Self::start("cluster", &["--no-aws"]))
    }

    /// Keeps the folder.
    fn keep(&self) {
        let _ = std::fs::write(self.directory.join(KEEP), "");
    }

    pub fn fact(&self, name: &str) -> &str {
        self.facts.pointer(&format!("/{}", name.replace('.', "/"))).and_then(Value::as_str).unwrap_or_else(|| panic!("no {name}"))
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.keep();
        }
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}

/// The answer to GET `path`: status line, headers and body.
pub fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// A folder that is removed when the test ends, unless it fails: what is in it then helps to find out why.
pub struct Scratch(PathBuf);

/// Creates a folder under target/ for one test.
pub fn scratch(name: &str) -> Scratch {
    Scratch(new_folder(name))
}

impl Deref for Scratch {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl AsRef<OsStr> for Scratch {
    fn as_ref(&self) -> &OsStr {
        self.0.as_ref()
    }
}

impl AsRef<Path> for Scratch {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.0);
        } else if let Some(cluster) = CLUSTER.get() {
            cluster.keep();
        }
    }
}

fn new_folder(name: &str) -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&place);
    std::fs::create_dir_all(&place).unwrap();
    place
}

/// A separate AWS emulator; it ends with this value, or with the test.
pub struct Emulator {
    pub facts: Value,
    /// The emulator ends when it closes.
    connection: TcpStream,
}

impl Emulator {
    pub fn start(options: &[&str]) -> Self {
        let policy = format!("{ROOT}/deploy/iam/operator-policy.json");
        let options = [&["--policy", &policy], options].concat();
        let mut connection = TcpStream::connect(Self::server()).expect("the server of emulators runs");
        writeln!(connection, "{}", json!(options)).unwrap();
        let mut line = String::new();
        BufReader::new(&connection).read_line(&mut line).unwrap();
        let facts = serde_json::from_str(&line).unwrap_or_else(|_| panic!("the emulator did not start: {line}"));
        Self { facts, connection }
    }

    /// The address of the process that starts emulators, one for all tests of this program: it has imported everything already.
    fn server() -> &'static str {
        static SERVER: OnceLock<(Child, String)> = OnceLock::new();
        let (_, address) = SERVER.get_or_init(|| {
            let venv = std::env::var("BUCKETCONNECTION_VENV").unwrap_or_else(|_| format!("{ROOT}/target/local/venv"));
            let mut child = Command::new(format!("{venv}/bin/python"))
                .args([&format!("{ROOT}/deploy/local/aws.py"), "--copies"])
                .env_clear()
                .env("PATH", std::env::var("PATH").unwrap_or_default())
                // It ends when this closes: with the test program.
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .expect("the emulator is installed: make test does it");
            let mut line = String::new();
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
            let facts: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no server of emulators: {line}"));
            (child, facts["address"].as_str().unwrap().to_owned())
        });
        address
    }

    pub fn url(&self) -> &str {
        self.facts["url"].as_str().unwrap()
    }

    /// Every access key that was ever created, including deleted ones: id and secret part.
    pub fn issued(&self) -> BTreeSet<(String, String)> {
        let answer = get(self.url().trim_start_matches("http://"), "/moto-api/data.json");
        let state: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        let part = |key: &Value, name: &str| key[name].as_str().unwrap().to_owned();
        let keys = state["iam"]["AccessKey"].as_array().unwrap().iter();
        keys.map(|key| (part(key, "access_key_id"), part(key, "secret_access_key"))).collect()
    }

    pub fn key(&self, user: &str) -> (String, String) {
        let part = |name: &str| self.facts[user][name].as_str().unwrap().to_owned();
        (part("id"), part("secret"))
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // It closes its end when it ends.
        let _ = self.connection.shutdown(Shutdown::Write);
        let _ = self.connection.read(&mut [0]);
    }
}
