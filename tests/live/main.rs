//! The acceptance on a real AWS account: `make live` and `make live-clean` (docs/live.md). Without arguments, the tests
//! of this program itself, with the emulator in AWS's place.
//!
//! | file | contents |
//! |---|---|
//! | `guard.rs` | which account; comes before every other call |
//! | `gate.rs` | every request passes it: only names of the run |
//! | `delete.rs` | everything that is deleted |
//! | `inventory.rs`, `names.rs` | what belongs to a run |
//! | `defaults.rs`, `timing.rs`, `cases.rs`, `life.rs` | the parts of a run; `drift.rs` and `conditions.rs` belong to `life.rs` |
//! | `lab.rs`, `clients.rs`, `report.rs` | the operator, the clients, the report |
//! | `checks/` | the tests of this program |

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::exit,
    reason = "a program for people, and tests"
)]

#[path = "../faults/contract/mod.rs"]
#[allow(dead_code, reason = "its servers are tested by another program")]
mod contract;
#[path = "../support/mod.rs"]
mod support;

mod cases;
mod checks;
mod clients;
mod conditions;
mod defaults;
mod delete;
mod drift;
mod gate;
mod guard;
mod inventory;
mod lab;
mod life;
mod names;
mod report;
mod timing;

use std::collections::BTreeMap;
use std::io::{BufRead, IsTerminal, Write};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use futures::FutureExt;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;

use clients::{Aws, must};
use delete::{Deleted, delete};
use gate::Gate;
use guard::{Caller, Options};
use inventory::{Found, find};
use names::{PATH, PREFIX, Run};
use report::Report;
use support::answers::Pair;
use support::stack::Stack;

const BOUNDARY: &str = include_str!("../../deploy/iam/live-boundary.json");
/// How often what is left is looked up and deleted again: lists of AWS are eventually consistent.
const ATTEMPTS: usize = 6;

/// What the parts of a run share.
pub struct Context {
    pub aws: Aws,
    pub run: Run,
    pub report: Report,
    pub emulated: bool,
    pub own_credentials: bool,
    pub every: usize,
    /// The control plane of the part life, which starts while the other parts run.
    pub stack: Mutex<Option<JoinHandle<Stack>>>,
    pub folder: PathBuf,
    /// How long a previous key works after a rotation.
    pub overlap: &'static str,
    /// The limit of each wait, and the time between two requests of a wait.
    pub limit: Duration,
    pub pause: Duration,
    /// Repetitions of a measurement.
    pub rounds: usize,
    /// The least time that the contract suite waits after a change in IAM.
    pub settle: Duration,
}

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let code = match arguments.first().map(String::as_str) {
        // Flags: `cargo test run` passes its filter to this program too.
        Some("--run") => runtime.block_on(run()),
        Some("--clean") => runtime.block_on(clean()),
        _ => checks::all(&arguments),
    };
    // Not waiting for a thread that still starts a control plane: that ends with this process.
    std::process::exit(code);
}

async fn signed_in() -> Result<(Options, Caller), String> {
    let options = Options::read(|name| std::env::var(name).ok())?;
    let caller = guard::sign_in(&options).await?;
    Ok((options, caller))
}

async fn run() -> i32 {
    let (options, caller) = match signed_in().await {
        Ok(both) => both,
        Err(why) => return refuse(&why),
    };
    let context = Context::new(&options, &caller);
    let (report, id) = (&context.report, context.run.id().to_owned());
    let aws = match caller.config.endpoint_url() {
        None => "AWS",
        Some(_) if caller.emulated => "an emulator",
        Some(url) => url,
    };
    report.say(&format!("{} is signed in to {aws}, account {}, region {}", caller.arn, options.account, options.region));
    report.say(&format!("everything that this run creates has a name that begins with {id}, and the tag {}={id}", names::TAG));
    for (name, value) in [("run", id.as_str()), ("server", aws), ("region", &options.region), ("account", &options.account)] {
        report.fact(name, value);
    }
    report.fact("operator", concat!("bucketconnection ", env!("CARGO_PKG_VERSION")));
    std::panic::set_hook(Box::new(|_| {}));
    let mut signals = signals();
    let interrupted = tokio::select! {
        () = context.parts(&options.parts) => false,
        name = interrupt(&mut signals) => {
            report.say(&format!("{name}: stopping, then deleting what this run created"));
            report.add("run", "the run ends by itself", report::Outcome::Differs, "the end", name);
            true
        }
    };
    report.say("deleting what this run created");
    tokio::select! {
        () = context.clean_up() => {}
        // Not SIGHUP and SIGTERM: a terminal that closes sends SIGHUP more than once.
        _ = signals[0].1.recv() => report.left(&[format!("interrupted while deleting: run `make live-clean` to delete what begins with {id}")]),
    }
    report.requests(context.aws.gate.calls());
    let place = report.write(&context.folder).unwrap();
    let place = place.strip_prefix(support::stack::ROOT).unwrap_or(&place).display();
    let _ = writeln!(std::io::stdout(), "\n{}\n{}\nreport: {place}", report.summary(), report.verdict());
    i32::from(interrupted || !report.good())
}

fn refuse(why: &str) -> i32 {
    eprintln!("make live: {why}");
    2
}

fn signals() -> [(&'static str, Signal); 3] {
    let all = [("Ctrl-C", SignalKind::interrupt()), ("SIGTERM", SignalKind::terminate()), ("SIGHUP", SignalKind::hangup())];
    all.map(|(name, kind)| (name, signal(kind).expect("a handler of signals")))
}

async fn interrupt(signals: &mut [(&'static str, Signal); 3]) -> &'static str {
    let [(a, first), (b, second), (c, third)] = signals;
    tokio::select! {
        _ = first.recv() => *a,
        _ = second.recv() => *b,
        _ = third.recv() => *c,
    }
}

impl Context {
    fn new(options: &Options, caller: &Caller) -> Self {
        let run = Run::new();
        let aws = Aws::new(&caller.config, &options.account, &caller.partition, &options.region, Gate::new(Some(run.clone())));
        let seconds = |emulated: f64, real: f64| Duration::from_secs_f64(if caller.emulated { emulated } else { real });
        Self {
            aws,
            report: Report::new(&options.account, options.show_account, &caller.arn),
            emulated: caller.emulated,
            own_credentials: options.own_credentials,
            every: options.every,
            stack: Mutex::default(),
            folder: Path::new(support::stack::ROOT).join("target/live").join(run.id()),
            run,
            overlap: if caller.emulated { "2s" } else { "60s" },
            limit: seconds(60.0, 600.0),
            pause: seconds(0.05, 0.5),
            rounds: if caller.emulated { 1 } else { 10 },
            settle: seconds(0.0, 5.0),
        }
    }

    /// Runs the parts. A part that panics is reported, and the next one runs.
    async fn parts(&self, parts: &[&'static str]) {
        let boundary = AssertUnwindSafe(self.new_boundary()).catch_unwind().await;
        if self.failed("setup", boundary) {
            return;
        }
        if parts.contains(&"life") {
            self.report.say("starting etcd and kube-apiserver on this machine, for the part life");
            *self.stack.lock().unwrap() = Some(tokio::task::spawn_blocking(|| Stack::start("live", &["--no-aws"])));
        }
        for part in parts {
            let work: futures::future::LocalBoxFuture<'_, ()> = match *part {
                "defaults" => Box::pin(defaults::run(self)),
                "timing" => Box::pin(timing::run(self)),
                "contract" => Box::pin(cases::run(self)),
                _ => Box::pin(life::run(self)),
            };
            let ended = AssertUnwindSafe(work).catch_unwind().await;
            self.failed(part, ended);
        }
    }

    fn failed(&self, part: &str, ended: Result<(), Box<dyn std::any::Any + Send>>) -> bool {
        let Err(panic) = ended else { return false };
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default();
        self.report.add(part, "the part runs to its end", report::Outcome::Differs, "its end", &text);
        true
    }

    /// The permissions boundary of every user of this run.
    async fn new_boundary(&self) {
        self.report.say("creating the permissions boundary that every user of this run gets (deploy/iam/live-boundary.json)");
        let document = BOUNDARY.replace("arn:aws:", &format!("arn:{}:", self.aws.partition));
        let create = self.aws.iam().create_policy().policy_name(self.run.name("boundary")).path(PATH);
        must("iam:CreatePolicy", create.policy_document(document).send().await);
    }

    /// Creates a user with the boundary of the run.
    pub async fn new_user(&self, name: &str, path: &str) {
        let create = async || self.aws.iam().create_user().user_name(name).path(path).send().await;
        self.known("iam:CreateUser", create).await;
    }

    /// Creates a key of a user of the run.
    pub async fn new_key(&self, user: &str) -> Pair {
        let create = async || self.aws.iam().create_access_key().user_name(user).send().await;
        let key = self.known("iam:CreateAccessKey", create).await.access_key.expect("the answer has the key");
        Pair { id: key.access_key_id, secret: key.secret_access_key }
    }

    /// The answer of IAM, when it knows what the call names: something new may not be known everywhere yet.
    pub async fn known<T, E: ProvideErrorMetadata, R>(
        &self,
        action: &str,
        mut call: impl AsyncFnMut() -> Result<T, SdkError<E, R>>,
    ) -> T {
        let answer = async || match call().await {
            Err(error) if error.code() == Some("NoSuchEntity") => None,
            answer => Some(must(action, answer)),
        };
        lab::eventually(self.limit, self.pause, action, answer).await.0
    }

    /// Deletes what begins with this name, which must be one of the run, until nothing is found.
    pub async fn clean(&self, prefix: &str) {
        let left = remove(&self.aws, &self.run, prefix, self.pause, |_| {}).await;
        assert!(left.is_empty(), "not deleted: {}", left.join("; "));
    }

    /// Deletes what is found with this name, once; the end of the run deletes the rest.
    pub async fn sweep(&self, prefix: &str) {
        for found in find(&self.aws, prefix).await.unwrap_or_default() {
            if let Err(why) = delete(&self.aws, &self.run, &found).await {
                self.report.say(&format!("{found} is deleted later: {why}"));
            }
        }
    }

    /// Deletes everything of the run, and reports what is left.
    async fn clean_up(&self) {
        let shown = |found: &Found| self.report.say(&format!("deleting {found}"));
        let left = remove(&self.aws, &self.run, self.run.id(), self.pause.max(self.settle), shown).await;
        left.iter().for_each(|text| self.report.say(&format!("NOT DELETED  {text}")));
        self.report.left(&left);
    }
}

/// Finds and deletes until twice nothing is found; returns what is left, and why.
async fn remove(aws: &Aws, run: &Run, prefix: &str, pause: Duration, shown: impl Fn(&Found)) -> Vec<String> {
    let (mut left, mut empty) = (Vec::new(), false);
    for attempt in 0..ATTEMPTS {
        // A list may not have what was created just before.
        tokio::time::sleep(pause * attempt as u32).await;
        let found = match find(aws, prefix).await {
            Ok(found) => found,
            // The next attempt may get an answer.
            Err(why) => {
                (left, empty) = (vec![format!("cannot read what is left: {why}")], false);
                continue;
            }
        };
        left.clear();
        if found.is_empty() && empty {
            return left;
        }
        empty = found.is_empty();
        for one in &found {
            shown(one);
            match delete(aws, run, one).await {
                Ok(Deleted::Yes | Deleted::AlreadyGone) => {}
                Ok(Deleted::Refused(why)) => left.push(format!("{one}: {why}")),
                Err(why) => left.push(format!("{one}: {why}")),
            }
        }
    }
    left
}

async fn clean() -> i32 {
    let (options, caller) = match signed_in().await {
        Ok(both) => both,
        Err(why) => return refuse(&why),
    };
    let aws = Aws::new(&caller.config, &options.account, &caller.partition, &options.region, Gate::new(None));
    let prefix = options.run.as_ref().map_or(PREFIX, Run::id);
    let found = match find(&aws, prefix).await {
        Ok(found) => found,
        Err(why) => return refuse(&why),
    };
    if found.is_empty() {
        println!("account {} has nothing whose name begins with {prefix}", options.account);
        return 0;
    }
    println!("account {} has these:", options.account);
    found.iter().for_each(|one| println!("  {one}"));
    println!("Only those are deleted whose tag names the same run as their name.");
    if !options.yes && !confirmed() {
        println!("Nothing was deleted. To delete without a question: make live-clean … YES=1");
        return 2;
    }
    let mut runs: BTreeMap<Option<Run>, Vec<&Found>> = BTreeMap::new();
    found.iter().for_each(|one| runs.entry(Run::of(one.name())).or_default().push(one));
    let mut left = Vec::new();
    for (run, found) in runs {
        match run {
            Some(run) => {
                left.extend(remove(&aws, &run, run.id(), Duration::from_millis(500), |one| println!("deleting {one}")).await)
            }
            None => left.extend(found.iter().map(|one| format!("{one}: the name is not one of a run"))),
        }
    }
    left.iter().for_each(|text| println!("not deleted: {text}"));
    i32::from(!left.is_empty())
}

/// Asks at the terminal.
fn confirmed() -> bool {
    print!("Delete them? Type yes: ");
    let _ = std::io::stdout().flush();
    let mut line = String::new();
    std::io::stdin().is_terminal() && std::io::stdin().lock().read_line(&mut line).is_ok() && line.trim() == "yes"
}
