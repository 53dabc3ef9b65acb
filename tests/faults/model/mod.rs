//! AWS in memory: the part of the control plane of S3, IAM and STS that the operator and its tests use, as HTTP
//! requests and answers.
//!
//! It is deterministic: time comes from a clock, randomness from a seed. [`Behaviour`] sets how inconsistent it is.
//! `contract` compares it with the emulator.
//!
//! - [`Model::answer`] executes one request, at once.
//! - [`client::http_client`] is the entry point for an AWS SDK in the same process, through a layer of faults.
//! - [`server::serve`] is the entry point over loopback.

#![allow(dead_code, reason = "each part of the suite uses its own")]

pub mod caller;
pub mod client;
pub mod evaluate;
mod groups;
mod iam;
mod objects;
mod policies;
mod s3;
pub mod server;
mod settings;
pub mod state;
mod sts;
mod tests;
pub mod wire;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use jiff::{SignedDuration, Timestamp};

pub use crate::support::answers::Pair;
use crate::support::proxy::s3_action;
use caller::{Caller, Signed};
use state::{Bucket, Key, Owner, PARTITION, Spread, State, User};
use wire::{Answer, Refusal, refuse};

/// Returns the current time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;
/// Called after each executed write with its action and the state. It runs inside the model: it must not call the
/// model.
pub type Hook = Arc<dyn Fn(&str, &State) + Send + Sync>;

/// The delays of the model. By default there are none.
#[derive(Clone, Debug, Default)]
pub struct Behaviour {
    pub seed: u64,
    /// How long S3 and STS do not know a new or activated key; drawn separately for each.
    pub new_keys: Delay,
    /// How long a deleted or deactivated key still works.
    pub old_keys: Delay,
    /// How long until policies, boundaries and tags of a user take effect.
    pub policies: Delay,
    /// The age of the copy of IAM that answers a read: right after CreateUser it has no such user.
    pub reads: Delay,
    /// How long after CreateUser a write does not find the user.
    pub new_users: Delay,
    /// The same for managed policies, after CreatePolicy.
    pub new_policies: Delay,
    /// How long after CreateBucket the answer for its settings and contents is NoSuchBucket.
    pub new_buckets: Delay,
    /// How long the name of a deleted bucket cannot be used again: OperationAborted.
    pub deleted_buckets: Delay,
    /// How long until GetAccessKeyLastUsed reports a use.
    pub last_uses: Delay,
}

/// A random duration between two limits.
#[derive(Clone, Copy, Debug, Default)]
pub struct Delay {
    pub least: Duration,
    pub most: Duration,
}

impl Delay {
    pub const fn exactly(time: Duration) -> Self {
        Self { least: time, most: time }
    }

    pub const fn up_to(most: Duration) -> Self {
        Self { least: Duration::ZERO, most }
    }

    fn draw(self, rng: &mut fastrand::Rng) -> SignedDuration {
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap();
        let drawn = rng.u64(milliseconds(self.least)..=milliseconds(self.most));
        SignedDuration::from_millis(drawn.try_into().unwrap())
    }
}

/// AWS. Clones are the same AWS.
#[derive(Clone)]
pub struct Model {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Clock,
    behaviour: Mutex<Behaviour>,
    state: Mutex<State>,
    hook: Mutex<Option<Hook>>,
}

/// One request, parsed.
pub struct Call<'a> {
    pub request: &'a Request<Bytes>,
    /// As in `s3:PutBucketCORS`.
    pub action: String,
    pub region: String,
    pub now: Timestamp,
    pub behaviour: Behaviour,
    /// Query of S3, form of IAM and STS.
    parameters: Vec<(String, String)>,
}

impl Model {
    pub fn new(behaviour: Behaviour, clock: Clock) -> Self {
        let state = State { rng: fastrand::Rng::with_seed(behaviour.seed), ..State::default() };
        let inner = Inner { clock, behaviour: Mutex::new(behaviour), state: Mutex::new(state), hook: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    /// A new key of an administrator of `account`: `root`, or the name of a user that IAM does not list.
    pub fn admin(&self, account: &str, name: &str) -> Pair {
        let mut state = self.lock();
        let arn = if name == "root" {
            format!("arn:{PARTITION}:iam::{account}:root")
        } else {
            format!("arn:{PARTITION}:iam::{account}:user/{name}")
        };
        let now = self.now();
        let mut works = Spread::new();
        works.set(true, now, now);
        let (id, secret) = (state.id("AKIA", 16), state.secret());
        let owner = Owner::Admin { account: account.to_owned(), arn: arn.clone() };
        let key = Key {
            id: id.clone(),
            secret: secret.clone(),
            owner,
            created_by: arn,
            created: now,
            works,
            last_used: None,
            told_use: Spread::new(),
        };
        state.keys.insert(id.clone(), key);
        Pair { id, secret }
    }

    /// Executes one request.
    pub fn answer(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let Some(signed) = Signed::of(request) else {
            return wire::response("s3", request.method().as_str(), refuse(403, "AccessDenied", "anonymous"));
        };
        let call = Call::new(request, &signed, self.now(), self.behaviour());
        let mut state = self.lock();
        let answer = execute(&mut state, &call, &signed);
        if call.is_write() && answer.is_ok() {
            let hook = self.inner.hook.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(hook) = hook {
                hook(&call.action, &state);
            }
        }
        drop(state);
        wire::response(&signed.service, request.method().as_str(), answer)
    }

    /// The actual state, for checks.
    pub fn state<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.lock())
    }

    /// The users of an account that exist now.
    pub fn users(&self, account: &str) -> Vec<User> {
        self.state(|state| state.users(account).cloned().collect())
    }

    /// The current keys of the user, with what only the model knows: secret part and creator.
    pub fn keys_of(&self, user: &User) -> Vec<Key> {
        self.state(|state| state.keys_of(user).cloned().collect())
    }

    /// The current state of a bucket.
    pub fn bucket(&self, name: &str) -> Option<Bucket> {
        self.state(|state| state.buckets.get(name).cloned())
    }

    /// Calls the hook after each executed write from now on.
    pub fn on_write(&self, hook: impl Fn(&str, &State) + Send + Sync + 'static) {
        *self.inner.hook.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(hook));
    }

    /// Sets the behavior from now on; the seed stays.
    pub fn behave(&self, behaviour: Behaviour) {
        *self.inner.behaviour.lock().unwrap_or_else(PoisonError::into_inner) = behaviour;
    }

    pub fn behaviour(&self) -> Behaviour {
        self.inner.behaviour.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn now(&self) -> Timestamp {
        (self.inner.clock)()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn execute(state: &mut State, call: &Call<'_>, signed: &Signed) -> Answer {
    let caller = Caller::of(state, signed, call)?;
    match signed.service.as_str() {
        "s3" => s3::answer(state, call, &caller),
        "iam" => iam::answer(state, call, &caller),
        "sts" => sts::answer(state, call, &caller),
        _ => unknown(call),
    }
}

/// An operation that the model does not have: a test that needs it must fail.
fn unknown<T>(call: &Call<'_>) -> Result<T, Refusal> {
    refuse(501, "NotImplemented", format!("the model does not know {}: {}", call.action, call.request.uri()))
}

impl<'a> Call<'a> {
    fn new(request: &'a Request<Bytes>, signed: &Signed, now: Timestamp, behaviour: Behaviour) -> Self {
        let form = signed.service != "s3";
        let text = if form {
            std::str::from_utf8(request.body()).unwrap_or_default()
        } else {
            request.uri().query().unwrap_or_default()
        };
        let parameters = wire::pairs(text, form);
        let action = action(request, &signed.service, &parameters);
        Self { request, action, region: signed.region.clone(), now, behaviour, parameters }
    }

    /// A parameter of the query or form.
    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.request.headers().get(name)?.to_str().ok()
    }

    fn body(&self) -> &str {
        std::str::from_utf8(self.request.body()).unwrap_or_default()
    }

    fn is_write(&self) -> bool {
        is_write(&self.action)
    }
}

fn action(request: &Request<Bytes>, service: &str, parameters: &[(String, String)]) -> String {
    if service == "s3" {
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        return s3_action(request.method().as_str(), target);
    }
    let name = parameters.iter().find(|(key, _)| key == "Action").map(|(_, value)| value.as_str());
    format!("{service}:{}", name.unwrap_or_default())
}

fn is_write(action: &str) -> bool {
    let name = action.split(':').nth(1).unwrap_or_default();
    // A federation token is new each time, but it is no stored state.
    !["Get", "List", "Head"].iter().any(|verb| name.starts_with(verb))
}
