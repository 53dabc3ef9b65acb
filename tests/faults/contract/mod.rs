//! One suite of documented behavior of AWS, for the model and for the emulator (`contract_servers.rs`), so that the model does
//! not only agree with its author, and for AWS itself (`tests/live/`). `DIFFERENCES` lists known differences of a server; a case in that list must really differ.

mod buckets;
mod federation;
mod keys;
mod policies;
mod rights;
mod settings;
mod users;

use std::fmt::Debug;
use std::panic::AssertUnwindSafe;

use aws_config::retry::RetryConfig;
use aws_config::{Region, SdkConfig};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider, SharedHttpClient, SharedInterceptor};
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration, Tag};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::support::answers::Pair;

pub const MODEL: &str = "model";
pub const EMULATOR: &str = "emulator";
pub const OTHER_ACCOUNT: &str = "210987654321";
const OLD_REGION: &str = "us-east-1";
/// The region of the model and the emulator.
pub const REGION: &str = "eu-west-1";

/// Case, server, and why it differs from AWS.
pub const DIFFERENCES: &[(&str, &str, &str)] = &[
    ("names_are_global", EMULATOR, "denies every call on a bucket of another account, creation too"),
    ("names_are_checked", EMULATOR, "checks no names of buckets"),
    ("the_expected_owner_must_be_an_account", EMULATOR, "only compares the owner"),
    ("lifecycle_rules_are_unique", EMULATOR, "takes two rules of one ID"),
    ("a_bucket_policy_must_be_json", EMULATOR, "takes any text"),
    ("a_bucket_policy_is_about_its_bucket", EMULATOR, "takes any resource"),
    ("a_public_bucket_policy_is_refused", EMULATOR, "BlockPublicPolicy blocks nothing"),
    ("a_user_id_has_a_form", EMULATOR, "20 random characters"),
    ("user_names_ignore_case", EMULATOR, "tells names apart by their case"),
    ("user_names_are_checked", EMULATOR, "checks no names of users"),
    ("a_user_in_a_group_is_not_deleted", EMULATOR, "deletes the user"),
    ("a_user_with_a_key_is_not_deleted", EMULATOR, "deletes the user, and its key"),
    ("inline_policies_have_a_length", EMULATOR, "has no limit"),
    ("attaching_is_done_once", EMULATOR, "counts twice"),
    ("ten_policies_are_attached", EMULATOR, "has no limit"),
    ("the_user_name_is_a_variable", EMULATOR, "knows no policy variables"),
    ("actions_ignore_case", EMULATOR, "tells actions apart by their case"),
    ("a_bucket_policy_denies", EMULATOR, "answers in another form"),
    ("a_token_allows_what_user_and_session_policy_allow", EMULATOR, "takes no federation tokens"),
    ("a_token_outlives_its_key", EMULATOR, "takes no federation tokens"),
    ("a_denial_of_the_user_denies_its_tokens", EMULATOR, "takes no federation tokens"),
    ("tokens_are_denied_by_their_time", EMULATOR, "takes no federation tokens"),
];

pub const PARTS: [&[Case]; 7] =
    [buckets::CASES, settings::CASES, users::CASES, policies::CASES, keys::CASES, rights::CASES, federation::CASES];

/// One behavior of AWS.
pub struct Case {
    pub name: &'static str,
    run: for<'a> fn(Harness, &'a mut Checks) -> BoxFuture<'a, ()>,
}

/// A list of cases: each is an async function of a `Harness` and its `Checks`.
macro_rules! cases {
    ($($name:ident,)*) => {
        pub(super) const CASES: &[super::Case] =
            &[$(super::Case { name: stringify!($name), run: |harness, checks| Box::pin($name(harness, checks)) },)*];
    };
}
use cases;

/// The differences that a case found.
#[derive(Default)]
pub struct Checks(Vec<String>);

impl Checks {
    fn is<G: Debug + PartialEq<W>, W: Debug>(&mut self, what: &str, got: G, wanted: W) {
        if got != wanted {
            self.0.push(format!("{what}: {got:?} instead of {wanted:?}"));
        }
    }
}

/// A server, as one case sees it.
#[derive(Clone)]
pub struct Harness {
    /// Omitted: AWS.
    pub url: Option<String>,
    pub account: String,
    pub region: String,
    pub http: SharedHttpClient,
    /// May do everything.
    pub admin: SharedCredentialsProvider,
    /// May create buckets in another account.
    pub stranger: SharedCredentialsProvider,
    /// Sees every call before it is sent.
    pub interceptor: Option<SharedInterceptor>,
    /// Prefix of the names of buckets.
    pub prefix: &'static str,
    /// The name of the case, which is part of the names that it creates.
    pub name: String,
}

impl Harness {
    fn config(&self, credentials: &SharedCredentialsProvider, region: &str) -> SdkConfig {
        let mut config = SdkConfig::builder();
        config.set_endpoint_url(self.url.clone());
        config
            .behavior_version(aws_config::BehaviorVersion::v2026_01_12())
            .region(Region::new(region.to_owned()))
            .credentials_provider(credentials.clone())
            .http_client(self.http.clone())
            .retry_config(RetryConfig::disabled())
            .build()
    }

    fn s3_as(&self, credentials: &SharedCredentialsProvider, region: &str) -> aws_sdk_s3::Client {
        let mut config = aws_sdk_s3::config::Builder::from(&self.config(credentials, region)).force_path_style(true);
        if let Some(interceptor) = &self.interceptor {
            config.push_interceptor(interceptor.clone());
        }
        aws_sdk_s3::Client::from_conf(config.build())
    }

    fn s3(&self) -> aws_sdk_s3::Client {
        self.s3_as(&self.admin, &self.region)
    }

    fn iam(&self) -> aws_sdk_iam::Client {
        self.iam_as(&self.admin)
    }

    fn iam_as(&self, credentials: &SharedCredentialsProvider) -> aws_sdk_iam::Client {
        let mut config = aws_sdk_iam::config::Builder::from(&self.config(credentials, OLD_REGION));
        if let Some(interceptor) = &self.interceptor {
            config.push_interceptor(interceptor.clone());
        }
        aws_sdk_iam::Client::from_conf(config.build())
    }

    pub fn sts_as(&self, credentials: &SharedCredentialsProvider) -> aws_sdk_sts::Client {
        aws_sdk_sts::Client::new(&self.config(credentials, &self.region))
    }

    /// A name for the case's bucket.
    fn bucket(&self) -> String {
        format!("{}{}", self.prefix, self.name.replace('_', "-"))
    }

    /// How to create a bucket in the harness's region. AWS refuses the name of its first region.
    fn location(&self) -> Option<CreateBucketConfiguration> {
        (self.region != OLD_REGION).then(|| location(&self.region))
    }

    /// The case's bucket, created in the harness's region.
    async fn new_bucket(&self) -> String {
        let name = self.bucket();
        let create = self.s3().create_bucket().bucket(&name).set_create_bucket_configuration(self.location());
        create.send().await.unwrap();
        name
    }

    /// The case's user, created.
    async fn new_user(&self) -> String {
        self.iam().create_user().user_name(&self.name).send().await.unwrap();
        self.name.clone()
    }

    /// A key of `user`.
    async fn new_key(&self, user: &str) -> (Pair, SharedCredentialsProvider) {
        let key = self.iam().create_access_key().user_name(user).send().await.unwrap().access_key.unwrap();
        let pair = Pair { id: key.access_key_id, secret: key.secret_access_key };
        let credentials = credentials(&pair, None);
        (pair, credentials)
    }

    /// The case's user with this inline policy, and its key.
    async fn user_with(&self, policy: &serde_json::Value) -> (String, SharedCredentialsProvider) {
        let user = self.new_user().await;
        self.put_policy(&user, policy).await;
        let key = self.new_key(&user).await.1;
        (user, key)
    }

    async fn put_policy(&self, user: &str, policy: &serde_json::Value) {
        let put = self.iam().put_user_policy().user_name(user).policy_name("p").policy_document(policy.to_string());
        put.send().await.unwrap();
    }
}

pub fn credentials(pair: &Pair, token: Option<String>) -> SharedCredentialsProvider {
    SharedCredentialsProvider::new(Credentials::new(&pair.id, &pair.secret, token, None, "contract"))
}

fn location(region: &str) -> CreateBucketConfiguration {
    CreateBucketConfiguration::builder().location_constraint(BucketLocationConstraint::from(region)).build()
}

fn tag(key: &str, value: &str) -> Tag {
    Tag::builder().key(key).value(value).build().unwrap()
}

fn statement(effect: &str, action: &str, resource: &str) -> serde_json::Value {
    serde_json::json!({ "Effect": effect, "Action": action, "Resource": resource })
}

fn policy(statements: &[serde_json::Value]) -> serde_json::Value {
    serde_json::json!({ "Version": "2012-10-17", "Statement": statements })
}

/// Runs one case; returns the differences from AWS.
pub async fn run(case: &Case, harness: Harness) -> Vec<String> {
    let mut checks = Checks::default();
    if let Err(panic) = AssertUnwindSafe((case.run)(harness, &mut checks)).catch_unwind().await {
        let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
        checks.0.push(text.chars().take(300).collect());
    }
    checks.0
}
