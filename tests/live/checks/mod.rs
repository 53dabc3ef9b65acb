//! The tests of this program: it runs as `make live` runs it, with the emulator in AWS's place and a caller who has
//! exactly deploy/iam/live-policy.json. The test program has no libtest, because `make live` needs its own signals.

mod deletion;
mod refusals;
mod runs;

use std::panic::catch_unwind;
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};

use super::clients::Aws;
use super::gate::Gate;
use super::names::Run;
use crate::support::answers::Pair;
use crate::support::proxy::Proxy;
use crate::support::stack::{Emulator, ROOT, Scratch, scratch};

const ACCOUNT: &str = "123456789012";
const POLICY: &str = include_str!("../../../deploy/iam/live-policy.json");

/// A test: its name, and what it does.
type Test = (&'static str, fn());

/// Declares the tests of a file.
macro_rules! tests {
    ($($name:ident,)*) => { pub(super) const TESTS: &[super::Test] = &[$((stringify!($name), $name),)*]; };
}
use tests;

/// Runs the tests whose names contain one of the arguments, in parallel; returns the exit code.
pub fn all(arguments: &[String]) -> i32 {
    let filters: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let chosen = [deletion::TESTS, refusals::TESTS, runs::TESTS].concat();
    let chosen = chosen.into_iter().filter(|(name, _)| filters.is_empty() || filters.iter().any(|filter| name.contains(*filter)));
    let began = Instant::now();
    let started: Vec<_> = chosen.map(|(name, test)| (name, std::thread::spawn(move || catch_unwind(test).is_ok()))).collect();
    let mut counts = [0, 0];
    for (name, thread) in started {
        let passed = thread.join().unwrap_or(false);
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        counts[usize::from(!passed)] += 1;
    }
    let [passed, failed] = counts;
    let word = if failed == 0 { "ok" } else { "FAILED" };
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "\ntest result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out; finished in {seconds:.2}s"
    );
    i32::from(failed > 0)
}

/// Runs asynchronous code in a test.
fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(work)
}

/// An emulator, and a caller who may do only what the policy says.
struct Server {
    emulator: Emulator,
    proxy: Proxy,
    caller: Pair,
    home: Scratch,
}

impl Server {
    fn new(name: &str) -> Self {
        let emulator = Emulator::start(&[]);
        let (id, secret) = emulator.key("administrator");
        let iam = aws_sdk_iam::Client::new(&config(emulator.url(), &Pair { id, secret }));
        let caller = wait(async {
            iam.create_user().user_name("person").send().await.unwrap();
            let created = iam.create_policy().policy_name("person").policy_document(POLICY).send().await.unwrap();
            let arn = created.policy.unwrap().arn.unwrap();
            iam.attach_user_policy().user_name("person").policy_arn(arn).send().await.unwrap();
            let key = iam.create_access_key().user_name("person").send().await.unwrap().access_key.unwrap();
            Pair { id: key.access_key_id, secret: key.secret_access_key }
        });
        Self { proxy: Proxy::start(emulator.url()), emulator, caller, home: scratch(name) }
    }

    /// The account as the program sees it, with a gate for this run.
    fn aws(&self, run: Option<Run>) -> Aws {
        self.signed_in(&self.caller, run)
    }

    fn signed_in(&self, key: &Pair, run: Option<Run>) -> Aws {
        Aws::new(&config(self.emulator.url(), key), ACCOUNT, "aws", "eu-west-1", Gate::new(run))
    }

    /// Clients without a gate, with all permissions.
    fn administrator(&self) -> SdkConfig {
        let (id, secret) = self.emulator.key("administrator");
        config(self.emulator.url(), &Pair { id, secret })
    }

    /// The program, as `make live` starts it, with these changes of its environment. An empty value removes a variable.
    fn command(&self, argument: &str, changes: &[(&str, &str)]) -> Command {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg(argument).env_clear().current_dir(ROOT).stdin(Stdio::null());
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", path).env("HOME", &self.home).env("AWS_EC2_METADATA_DISABLED", "true");
        command.env("ACCOUNT", ACCOUNT).env("REGION", "eu-west-1").env("AWS_ENDPOINT_URL", &self.proxy.url);
        command.env("AWS_ACCESS_KEY_ID", &self.caller.id).env("AWS_SECRET_ACCESS_KEY", &self.caller.secret);
        for (name, value) in changes {
            if value.is_empty() {
                command.env_remove(name)
            } else {
                command.env(name, value)
            };
        }
        command
    }

    fn run(&self, argument: &str, changes: &[(&str, &str)]) -> Output {
        self.command(argument, changes).output().unwrap()
    }

    /// Starts it with its standard output in a pipe.
    fn start(&self, argument: &str, changes: &[(&str, &str)]) -> Child {
        self.command(argument, changes).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// What the account has with a name that begins with this.
    fn found(&self, prefix: &str) -> Vec<String> {
        let found = wait(super::inventory::find(&self.aws(None), prefix)).unwrap();
        found.iter().map(ToString::to_string).collect()
    }
}

fn config(url: &str, key: &Pair) -> SdkConfig {
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("eu-west-1"))
        .endpoint_url(url)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new(&key.id, &key.secret, None, None, "live")))
        .build()
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
