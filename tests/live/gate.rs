//! The gate: every request of this program to AWS passes it, and it refuses what a run must not do. It refuses a write
//! to a bucket, user or policy whose name does not begin with the id of the run, every write to another service, and a
//! seventh bucket or user. It also counts the requests. [`Marks`] adds the run's tag, and the boundary of users.
//!
//! The operator is a separate process. Its permissions boundary and its AWSAccount limit it to the same names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_sdk_s3::config::interceptors::BeforeSerializationInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents, SharedHttpClient, SharedInterceptor};
use aws_sdk_s3::error::BoxError;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use percent_encoding::percent_decode_str;

use super::names::{MOST, PREFIX, Run, TAG};

/// The state of the gate.
#[derive(Debug)]
pub struct Gate {
    /// Without a run, only reads and deletions of what begins with `bc-live-` pass.
    pub run: Option<Run>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Requests by service and kind.
    calls: BTreeMap<String, usize>,
    /// What exists, as far as this program created it: `bucket/name`, `user/name`.
    existing: BTreeSet<String>,
    changed: Option<Instant>,
    settle: Duration,
    /// Id of the caller's key, whose requests do not wait.
    caller: String,
}

/// The fields of a request to IAM that name what it is about, the user first.
const NAMED: [&str; 3] = ["UserName", "NewUserName", "PolicyArn"];
/// The fields of what no run creates: a request with one of these has no name that the gate accepts.
const OTHER: [&str; 3] = ["GroupName", "RoleName", "InstanceProfileName"];

/// What a request would do.
#[derive(Debug, PartialEq, Eq)]
struct Call {
    service: String,
    /// Id of the key that signed it.
    key: String,
    /// `GET`, `PUT` and so on; in IAM and STS the action.
    action: String,
    write: bool,
    /// The names that a write is about.
    names: Vec<String>,
    /// `bucket/name` or `user/name` if it creates, or deletes, that.
    creates: Option<String>,
    deletes: Option<String>,
}

impl Gate {
    pub fn new(run: Option<Run>) -> Arc<Self> {
        Arc::new(Self { run, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests so far, by service and kind.
    pub fn calls(&self) -> BTreeMap<String, usize> {
        self.state().calls.clone()
    }

    /// From now on, requests with a key other than the caller's wait until this long after the last change in IAM.
    pub fn settle(&self, time: Duration) {
        self.state().settle = time;
    }

    /// An HTTP client that sends through `inner` what passes the gate.
    pub fn client(gate: &Arc<Self>, inner: SharedHttpClient) -> SharedHttpClient {
        let gate = gate.clone();
        http_client_fn(move |settings: &HttpConnectorSettings, components: &RuntimeComponents| {
            let inner = inner.http_connector(settings, components);
            SharedHttpConnector::new(Connector { gate: gate.clone(), inner })
        })
    }

    /// Counts the call; refuses it, or returns how long it has to wait.
    fn pass(&self, call: &Call) -> Result<Duration, String> {
        let allowed = self.run.as_ref().map_or(PREFIX, Run::id);
        let mut state = self.state();
        if call.write {
            let foreign = call.names.iter().find(|name| !name.starts_with(allowed));
            if let Some(name) = foreign.map(String::as_str).or_else(|| call.names.is_empty().then_some("no name")) {
                return Err(format!("{} {} on {name}: only names that begin with {allowed}", call.service, call.action));
            }
        }
        if let Some(new) = &call.creates {
            let kind = new.split('/').next().unwrap_or_default();
            let existing = state.existing.iter().filter(|name| name.starts_with(kind)).count();
            if self.run.is_none() || (existing >= MOST && !state.existing.contains(new)) {
                return Err(format!("{new}: a run has at most {MOST} of these at a time"));
            }
        }
        let kind = if call.write { "write" } else { "read" };
        *state.calls.entry(format!("{} {kind}", call.service)).or_default() += 1;
        if state.caller.is_empty() {
            state.caller.clone_from(&call.key);
        }
        if call.service == "iam" && call.write {
            state.changed = Some(Instant::now() + Duration::from_millis(1));
        }
        let since = state.changed.map(|changed| changed.elapsed());
        let waits = call.key != state.caller;
        Ok(since.filter(|_| waits).map_or(Duration::ZERO, |since| state.settle.saturating_sub(since)))
    }

    fn answered(&self, call: &Call, status: u16) {
        let mut state = self.state();
        match (status, &call.creates, &call.deletes) {
            (200, Some(new), _) => drop(state.existing.insert(new.clone())),
            (200 | 204 | 404, _, Some(old)) => drop(state.existing.remove(old)),
            _ => {}
        }
    }
}

#[derive(Debug)]
struct Connector {
    gate: Arc<Gate>,
    inner: SharedHttpConnector,
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (gate, inner) = (self.gate.clone(), self.inner.clone());
        HttpConnectorFuture::new(async move {
            let call = Call::of(&request).map_err(|why| ConnectorError::user(why.into()))?;
            let wait = gate.pass(&call).map_err(|why| ConnectorError::user(format!("refused by the gate: {why}").into()))?;
            tokio::time::sleep(wait).await;
            let answer = inner.call(request).await;
            if let Ok(answer) = &answer {
                gate.answered(&call, answer.status().as_u16());
            }
            answer
        })
    }
}

impl Call {
    fn of(request: &HttpRequest) -> Result<Self, String> {
        let signed = request.headers().get("authorization").and_then(|header| header.split("Credential=").nth(1));
        let mut scope = signed.unwrap_or_default().split(['/', ',']);
        let (key, service) = (scope.next().unwrap_or_default().to_owned(), scope.nth(2).unwrap_or_default().to_owned());
        match service.as_str() {
            "s3" => Ok(Self::s3(key, request.method(), request.uri())),
            "iam" | "sts" => Ok(Self::query(service, key, request.body().bytes().unwrap_or_default())),
            _ => Err(format!("refused by the gate: a request to {service:?}")),
        }
    }

    /// In path style, the bucket is the first part of the path. If it is in the name of the host, a write has no name,
    /// so that the gate refuses it.
    fn s3(key: String, method: &str, uri: &str) -> Self {
        let rest = uri.split_once("://").map_or(uri, |(_, rest)| rest);
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let (bucket, object) = path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_start_matches('/'), ""));
        let whole = object.is_empty() && query.split('&').all(|part| part.is_empty() || part.starts_with("x-id="));
        let about = |verb: &str| (whole && method == verb).then(|| format!("bucket/{bucket}"));
        let write = !["GET", "HEAD"].contains(&method);
        let names = if host.contains(".s3.") || host.contains(".s3-") { vec![] } else { vec![bucket.to_owned()] };
        let (creates, deletes) = (about("PUT"), about("DELETE"));
        Self { service: "s3".to_owned(), key, action: method.to_owned(), write, names, creates, deletes }
    }

    fn query(service: String, key: String, form: &[u8]) -> Self {
        let form = String::from_utf8_lossy(form);
        let pairs = form.split('&').filter_map(|pair| pair.split_once('='));
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let fields: BTreeMap<_, _> = pairs.map(|(name, value)| (name, decoded(value))).collect();
        let action = fields.get("Action").cloned().unwrap_or_default();
        let whom = NAMED.iter().filter_map(|field| fields.get(field));
        let mut names: Vec<_> = whom.map(|name| name.rsplit('/').next().unwrap_or_default().to_owned()).collect();
        // A policy of a user has a name too, which matters only if there is no user.
        if names.is_empty() {
            names.extend(fields.get("PolicyName").cloned());
        }
        if OTHER.iter().any(|field| fields.contains_key(field)) {
            names.clear();
        }
        let reads = action.starts_with("Get") || action.starts_with("List");
        let about = |wanted: &str| (action == wanted).then(|| format!("user/{}", names.first().cloned().unwrap_or_default()));
        let (creates, deletes) = (about("CreateUser"), about("DeleteUser"));
        Self { service, key, write: !reads, names, creates, deletes, action }
    }
}

/// Adds the run's tag to new buckets, users and policies, and the run's permissions boundary to new users.
#[derive(Clone, Debug)]
pub struct Marks {
    id: String,
    boundary: String,
}

impl Marks {
    pub fn new(run: &Run, boundary: &str) -> Self {
        Self { id: run.id().to_owned(), boundary: boundary.to_owned() }
    }

    pub fn shared(&self) -> SharedInterceptor {
        SharedInterceptor::new(self.clone())
    }
}

#[dyn_dispatch_hint]
impl Intercept for Marks {
    fn name(&self) -> &'static str {
        "Marks"
    }

    fn modify_before_serialization(
        &self,
        context: &mut BeforeSerializationInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        use aws_sdk_iam::operation::{create_policy::CreatePolicyInput, create_user::CreateUserInput};
        use aws_sdk_s3::operation::create_bucket::CreateBucketInput;
        let input = context.input_mut();
        let tag = aws_sdk_iam::types::Tag::builder().key(TAG).value(&self.id).build()?;
        if let Some(bucket) = input.downcast_mut::<CreateBucketInput>() {
            let tag = aws_sdk_s3::types::Tag::builder().key(TAG).value(&self.id).build()?;
            let empty = aws_sdk_s3::types::CreateBucketConfiguration::builder().build();
            let configuration = bucket.create_bucket_configuration.get_or_insert(empty);
            configuration.tags.get_or_insert_default().push(tag);
        } else if let Some(user) = input.downcast_mut::<CreateUserInput>() {
            user.tags.get_or_insert_default().push(tag);
            user.permissions_boundary.get_or_insert_with(|| self.boundary.clone());
        } else if let Some(policy) = input.downcast_mut::<CreatePolicyInput>() {
            policy.tags.get_or_insert_default().push(tag);
        }
        Ok(())
    }
}
