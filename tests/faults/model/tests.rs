//! The model's own guarantees: delays, lost answers, the hook.

#![cfg(test)]

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

use super::client::{After, Before, Calm, Faults, Seen, base, code, config};
use super::{Behaviour, Delay, Model, Pair, server};
use crate::support::proxy::{Fault, Proxy};

const ACCOUNT: &str = "123456789012";
const REGION: &str = "eu-west-1";
const POLICY: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:ListBucket","Resource":"*"}}"#;

/// A model with a clock that is set by hand.
struct Harness {
    model: Model,
    seconds: Arc<AtomicI64>,
    admin: Pair,
}

impl Harness {
    fn new(behaviour: Behaviour) -> Self {
        let seconds = Arc::new(AtomicI64::new(0));
        let shown = seconds.clone();
        let began: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let clock = move || began + SignedDuration::from_secs(shown.load(Ordering::SeqCst));
        let model = Model::new(behaviour, Arc::new(clock));
        let admin = model.admin(ACCOUNT, "operator");
        Self { model, seconds, admin }
    }

    fn later(&self, seconds: i64) {
        self.seconds.fetch_add(seconds, Ordering::SeqCst);
    }

    fn through(&self, faults: impl Faults + 'static) -> SdkConfig {
        config(&self.model, Arc::new(faults), &self.admin, REGION)
    }

    fn iam(&self) -> aws_sdk_iam::Client {
        aws_sdk_iam::Client::new(&self.through(Calm))
    }

    /// A bucket, and a user with a key and a policy on it.
    async fn create(&self) -> Pair {
        let (iam, s3) = (self.iam(), self.s3(&self.admin));
        let location = aws_sdk_s3::types::CreateBucketConfiguration::builder().location_constraint(REGION.into()).build();
        s3.create_bucket().bucket("lab").create_bucket_configuration(location).send().await.unwrap();
        iam.create_user().user_name("u").send().await.unwrap();
        iam.put_user_policy().user_name("u").policy_name("p").policy_document(POLICY).send().await.unwrap();
        self.issue().await
    }

    async fn issue(&self) -> Pair {
        let key = self.iam().create_access_key().user_name("u").send().await.unwrap().access_key.unwrap();
        Pair { id: key.access_key_id, secret: key.secret_access_key }
    }

    fn s3(&self, key: &Pair) -> aws_sdk_s3::Client {
        let config = config(&self.model, Arc::new(Calm), key, REGION);
        aws_sdk_s3::Client::from_conf(aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build())
    }

    /// The answers of S3 and STS to the key; empty if they accept it.
    async fn tried(&self, key: &Pair) -> [String; 2] {
        let sts = aws_sdk_sts::Client::new(&config(&self.model, Arc::new(Calm), key, REGION));
        let listed = self.s3(key).list_objects_v2().bucket("lab").send().await;
        [code(&listed), code(&sts.get_caller_identity().send().await)]
    }
}

fn seconds(delay: u64) -> Delay {
    Delay::exactly(Duration::from_secs(delay))
}

#[tokio::test]
async fn without_delays_a_key_works_exactly_while_it_exists() {
    let harness = Harness::new(Behaviour::default());
    let key = harness.create().await;
    assert_eq!(harness.tried(&key).await, ["", ""]);
    harness.iam().delete_access_key().user_name("u").access_key_id(&key.id).send().await.unwrap();
    assert_eq!(harness.tried(&key).await, ["InvalidAccessKeyId", "InvalidClientTokenId"]);
}

#[tokio::test]
async fn new_keys_propagate_slowly() {
    let harness = Harness::new(Behaviour { new_keys: seconds(5), ..Behaviour::default() });
    let key = harness.create().await;
    harness.later(4);
    assert_eq!(harness.tried(&key).await, ["InvalidAccessKeyId", "InvalidClientTokenId"]);
    harness.later(1);
    assert_eq!(harness.tried(&key).await, ["", ""]);
}

#[tokio::test]
async fn deleted_and_inactive_keys_work_for_a_while() {
    let harness = Harness::new(Behaviour { old_keys: seconds(4), ..Behaviour::default() });
    let (first, second) = (harness.create().await, harness.issue().await);
    harness.iam().delete_access_key().user_name("u").access_key_id(&first.id).send().await.unwrap();
    let inactive = aws_sdk_iam::types::StatusType::Inactive;
    harness.iam().update_access_key().user_name("u").access_key_id(&second.id).status(inactive).send().await.unwrap();
    let listed = harness.iam().list_access_keys().user_name("u").send().await.unwrap().access_key_metadata;
    assert_eq!(listed.len(), 1);
    harness.later(3);
    assert_eq!((harness.tried(&first).await, harness.tried(&second).await), (Default::default(), Default::default()));
    harness.later(1);
    for key in [&first, &second] {
        assert_eq!(harness.tried(key).await, ["InvalidAccessKeyId", "InvalidClientTokenId"]);
    }
}

#[tokio::test]
async fn policies_propagate_slowly_in_both_directions() {
    let harness = Harness::new(Behaviour { policies: seconds(3), ..Behaviour::default() });
    let key = harness.create().await;
    assert_eq!(harness.tried(&key).await, ["AccessDenied", ""]);
    harness.later(3);
    assert_eq!(harness.tried(&key).await, ["", ""]);
    harness.iam().delete_user_policy().user_name("u").policy_name("p").send().await.unwrap();
    harness.later(2);
    assert_eq!(harness.tried(&key).await, ["", ""]);
    harness.later(1);
    assert_eq!(harness.tried(&key).await, ["AccessDenied", ""]);
}

#[tokio::test]
async fn reads_are_answered_by_old_copies() {
    let harness = Harness::new(Behaviour { reads: seconds(10), ..Behaviour::default() });
    harness.create().await;
    assert_eq!(code(&harness.iam().get_user().user_name("u").send().await), "NoSuchEntity");
    harness.later(9);
    harness.issue().await;
    assert_eq!(code(&harness.iam().list_access_keys().user_name("u").send().await), "NoSuchEntity");
    harness.later(1);
    let count = async || harness.iam().list_access_keys().user_name("u").send().await.unwrap().access_key_metadata.len();
    assert_eq!(count().await, 1);
    harness.later(9);
    assert_eq!(count().await, 2);
    harness.model.behave(Behaviour::default());
    assert_eq!(code(&harness.iam().get_user().user_name("nobody").send().await), "NoSuchEntity");
}

#[tokio::test]
async fn a_new_user_is_unknown_to_writes_for_a_while() {
    let harness = Harness::new(Behaviour { new_users: seconds(2), ..Behaviour::default() });
    harness.iam().create_user().user_name("u").send().await.unwrap();
    assert_eq!(code(&harness.iam().create_access_key().user_name("u").send().await), "NoSuchEntity");
    harness.later(2);
    harness.issue().await;
}

#[tokio::test]
async fn a_new_policy_is_unknown_to_writes_for_a_while() {
    let harness = Harness::new(Behaviour { new_policies: seconds(2), ..Behaviour::default() });
    harness.create().await;
    let created = harness.iam().create_policy().policy_name("m").policy_document(POLICY).send().await.unwrap();
    let arn = created.policy.unwrap().arn.unwrap();
    let iam = harness.iam();
    let attach = iam.attach_user_policy().user_name("u").policy_arn(arn);
    assert_eq!(code(&attach.clone().send().await), "NoSuchEntity");
    harness.later(2);
    assert_eq!(code(&attach.send().await), "");
}

#[tokio::test]
async fn a_new_bucket_is_unknown_to_other_calls_for_a_while() {
    let harness = Harness::new(Behaviour { new_buckets: seconds(5), ..Behaviour::default() });
    harness.create().await;
    let s3 = harness.s3(&harness.admin);
    assert_eq!(code(&s3.head_bucket().bucket("lab").send().await), "");
    assert_eq!(code(&s3.get_bucket_cors().bucket("lab").send().await), "NoSuchBucket");
    harness.later(5);
    assert_eq!(code(&s3.get_bucket_cors().bucket("lab").send().await), "NoSuchCORSConfiguration");
}

#[tokio::test]
async fn the_last_use_is_reported_late() {
    let harness = Harness::new(Behaviour { last_uses: seconds(600), ..Behaviour::default() });
    let key = harness.create().await;
    assert_eq!(harness.tried(&key).await, ["", ""]);
    let told = async || {
        let used = harness.iam().get_access_key_last_used().access_key_id(&key.id).send().await.unwrap();
        used.access_key_last_used.unwrap().service_name
    };
    harness.later(599);
    assert_eq!(told().await, "N/A");
    harness.later(1);
    assert_eq!(told().await, "sts");
}

#[tokio::test]
async fn the_same_seed_gives_the_same_run() {
    let mut stories = Vec::new();
    for seed in [1, 1, 2] {
        let delay = Delay::up_to(Duration::from_secs(9));
        let harness = Harness::new(Behaviour { seed, new_keys: delay, policies: delay, reads: delay, ..Behaviour::default() });
        let key = harness.create().await;
        let mut story = vec![[key.id.clone(), key.secret.clone()]];
        for _ in 0..10 {
            story.push(harness.tried(&key).await);
            harness.later(1);
        }
        stories.push(story);
    }
    assert_eq!(stories[0], stories[1]);
    assert_ne!(stories[0], stories[2]);
}

/// Applies the same fault to every request, and records the requests.
struct Each {
    before: Before,
    after: After,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Faults for Each {
    fn before(&self, seen: &Seen) -> BoxFuture<'static, Before> {
        self.seen.lock().unwrap().push(seen.clone());
        Box::pin(std::future::ready(self.before.clone()))
    }

    fn after(&self, _: &Seen, _: u16) -> BoxFuture<'static, After> {
        Box::pin(std::future::ready(self.after.clone()))
    }
}

/// The result of a CreateAccessKey without the SDK's retries: its error, and the number of keys.
async fn issued(before: Before, after: After) -> (String, usize) {
    let harness = Harness::new(Behaviour::default());
    harness.iam().create_user().user_name("u").send().await.unwrap();
    let seen = Arc::<Mutex<Vec<Seen>>>::default();
    let config = harness.through(Each { before, after, seen: seen.clone() });
    let once = aws_sdk_iam::config::Builder::from(&config).retry_config(aws_config::retry::RetryConfig::disabled()).build();
    let answer = aws_sdk_iam::Client::from_conf(once).create_access_key().user_name("u").send().await;
    let seen = seen.lock().unwrap();
    assert_eq!((seen.len(), seen[0].action.as_str(), seen[0].write), (1, "iam:CreateAccessKey", true));
    assert_eq!(seen[0].key, harness.admin.id);
    (code(&answer), harness.model.state(|state| state.users(ACCOUNT).map(|user| user.keys.len()).sum()))
}

#[tokio::test]
async fn a_fault_before_executes_nothing_and_a_lost_answer_was_executed() {
    assert_eq!(issued(Before::Pass, After::Pass).await, (String::new(), 1));
    assert_eq!(issued(Before::Cut, After::Pass).await, ("cut".to_owned(), 0));
    assert_eq!(issued(Before::Answer(400, "Throttling"), After::Pass).await, ("Throttling".to_owned(), 0));
    assert_eq!(issued(Before::Answer(500, "ServiceFailure"), After::Pass).await, ("ServiceFailure".to_owned(), 0));
    assert_eq!(issued(Before::Pass, After::Cut).await, ("cut".to_owned(), 1));
}

/// Holds a request, or its answer, forever, and notifies when it does.
struct Stuck {
    before: bool,
    held: Arc<Notify>,
}

impl Stuck {
    fn hold<T: Send + 'static>(&self) -> BoxFuture<'static, T> {
        self.held.notify_one();
        Box::pin(std::future::pending())
    }
}

impl Faults for Stuck {
    fn before(&self, _: &Seen) -> BoxFuture<'static, Before> {
        if self.before { self.hold() } else { Box::pin(std::future::ready(Before::Pass)) }
    }

    fn after(&self, _: &Seen, _: u16) -> BoxFuture<'static, After> {
        self.hold()
    }
}

#[tokio::test]
async fn a_run_can_be_dropped_before_and_after_execution() {
    for (before, users) in [(true, 0), (false, 1)] {
        let (harness, held) = (Harness::new(Behaviour::default()), Arc::new(Notify::new()));
        let iam = aws_sdk_iam::Client::new(&harness.through(Stuck { before, held: held.clone() }));
        tokio::select! {
            _ = iam.create_user().user_name("u").send() => panic!("the call must not end"),
            () = held.notified() => {}
        }
        assert_eq!(harness.model.state(|state| state.users(ACCOUNT).count()), users);
    }
}

#[tokio::test]
async fn the_hook_sees_each_executed_write() {
    let harness = Harness::new(Behaviour::default());
    let (seen, most) = (Arc::<Mutex<Vec<String>>>::default(), Arc::new(AtomicUsize::new(0)));
    let (seen_there, most_there) = (seen.clone(), most.clone());
    harness.model.on_write(move |action, state| {
        seen_there.lock().unwrap().push(action.to_owned());
        let keys = state.users(ACCOUNT).map(|user| state.keys_of(user).filter(|key| key.active()).count()).max();
        most_there.fetch_max(keys.unwrap_or_default(), Ordering::SeqCst);
    });
    harness.create().await;
    assert_eq!(code(&harness.iam().delete_user().user_name("u").send().await), "DeleteConflict");
    assert_eq!(code(&harness.iam().get_user().user_name("u").send().await), "");
    assert_eq!(*seen.lock().unwrap(), ["s3:CreateBucket", "iam:CreateUser", "iam:PutUserPolicy", "iam:CreateAccessKey"]);
    assert_eq!(most.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn the_name_of_a_deleted_bucket_is_reserved_for_a_while() {
    let harness = Harness::new(Behaviour { deleted_buckets: seconds(60), ..Behaviour::default() });
    harness.create().await;
    let location = aws_sdk_s3::types::CreateBucketConfiguration::builder().location_constraint(REGION.into()).build();
    let create = harness.s3(&harness.admin).create_bucket().bucket("lab").create_bucket_configuration(location);
    harness.s3(&harness.admin).delete_bucket().bucket("lab").send().await.unwrap();
    assert_eq!(code(&create.clone().send().await), "OperationAborted");
    harness.later(60);
    assert_eq!(code(&create.send().await), "");
}

#[tokio::test]
async fn the_proxy_works_in_front_of_the_served_model() {
    let harness = Harness::new(Behaviour::default());
    harness.iam().create_user().user_name("u").send().await.unwrap();
    let proxy = Proxy::start(&server::serve(&harness.model));
    proxy.fault("iam:CreateAccessKey", Fault::LoseAnswer, 1);
    let config = base(&harness.admin, REGION).to_builder().endpoint_url(&proxy.url).build();
    let once = aws_sdk_iam::config::Builder::from(&config).retry_config(aws_config::retry::RetryConfig::disabled()).build();
    let iam = aws_sdk_iam::Client::from_conf(once);
    assert_eq!(code(&iam.create_access_key().user_name("u").send().await), "cut");
    let known = iam.list_access_keys().user_name("u").send().await.unwrap().access_key_metadata;
    assert_eq!(known.len(), 1);
    let keys = harness.model.keys_of(&harness.model.users(ACCOUNT)[0]);
    assert_eq!(
        (keys[0].id.as_str(), keys[0].created_by.as_str()),
        (known[0].access_key_id().unwrap(), "arn:aws:iam::123456789012:user/operator")
    );
}

#[tokio::test]
async fn federation_tokens_end() {
    let harness = Harness::new(Behaviour::default());
    let key = harness.create().await;
    let ask =
        r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":["s3:*","sts:GetFederationToken"],"Resource":"*"}}"#;
    harness.iam().put_user_policy().user_name("u").policy_name("p").policy_document(ask).send().await.unwrap();
    let sts = aws_sdk_sts::Client::new(&config(&harness.model, Arc::new(Calm), &key, REGION));
    let given =
        sts.get_federation_token().name("t").policy(POLICY).duration_seconds(900).send().await.unwrap().credentials.unwrap();
    let token = Credentials::new(given.access_key_id, given.secret_access_key, Some(given.session_token), None, "test");
    let config = harness.through(Calm).to_builder().credentials_provider(SharedCredentialsProvider::new(token)).build();
    let s3 = aws_sdk_s3::Client::from_conf(aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build());
    harness.later(899);
    assert_eq!(code(&s3.list_objects_v2().bucket("lab").send().await), "");
    harness.later(1);
    assert_eq!(code(&s3.list_objects_v2().bucket("lab").send().await), "ExpiredToken");
}
