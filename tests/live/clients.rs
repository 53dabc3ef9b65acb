//! Clients of AWS that send only what the gate lets through, and what to say about errors.

use std::sync::Arc;

use aws_config::retry::RetryConfig;
use aws_config::{Region, SdkConfig};
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};

use super::gate::{Gate, Marks};
use super::names::{PATH, Run, Tags};
use crate::support::answers::{Pair, code};

/// The account, signed in as the caller.
#[derive(Clone)]
pub struct Aws {
    config: SdkConfig,
    pub account: String,
    pub partition: String,
    pub region: String,
    pub gate: Arc<Gate>,
    marks: Option<Marks>,
}

impl Aws {
    /// `config` is the caller's; every request goes through `gate`.
    pub fn new(config: &SdkConfig, account: &str, partition: &str, region: &str, gate: Arc<Gate>) -> Self {
        let region_of = Region::new(region.to_owned());
        let http = Gate::client(&gate, config.http_client().expect("the environment has an HTTP client"));
        let config = config.to_builder().region(region_of).http_client(http).build();
        let marks = gate.run.as_ref().map(|run| Marks::new(run, &boundary_arn(partition, account, run)));
        Self { config, account: account.to_owned(), partition: partition.to_owned(), region: region.to_owned(), gate, marks }
    }

    /// The configuration, for the operator's own calls.
    pub fn config(&self) -> &SdkConfig {
        &self.config
    }

    /// What marks new resources.
    pub fn marks(&self) -> Option<Marks> {
        self.marks.clone()
    }

    /// The same account, signed in with another key, without retries.
    pub fn with_key(&self, key: &Pair) -> Self {
        let credentials = SharedCredentialsProvider::new(Credentials::new(&key.id, &key.secret, None, None, "live"));
        let config = self.config.to_builder().credentials_provider(credentials).retry_config(RetryConfig::disabled());
        Self { config: config.build(), ..self.clone() }
    }

    pub fn s3(&self, region: &str) -> aws_sdk_s3::Client {
        let config = aws_sdk_s3::config::Builder::from(&self.config).region(Region::new(region.to_owned()));
        let mut config = config.force_path_style(true);
        if let Some(marks) = &self.marks {
            config.push_interceptor(marks.shared());
        }
        aws_sdk_s3::Client::from_conf(config.build())
    }

    pub fn iam(&self) -> aws_sdk_iam::Client {
        let mut config = aws_sdk_iam::config::Builder::from(&self.config);
        if let Some(marks) = &self.marks {
            config.push_interceptor(marks.shared());
        }
        aws_sdk_iam::Client::from_conf(config.build())
    }

    pub fn sts(&self) -> aws_sdk_sts::Client {
        aws_sdk_sts::Client::new(&self.config)
    }

    /// How to create a bucket in the region of the run.
    pub fn location(&self) -> Option<CreateBucketConfiguration> {
        let constraint = BucketLocationConstraint::from(self.region.as_str());
        (self.region != "us-east-1").then(|| CreateBucketConfiguration::builder().location_constraint(constraint).build())
    }

    /// Creates a bucket of the run; returns the error code.
    pub async fn create_bucket(&self, name: &str) -> String {
        let create = self.s3(&self.region).create_bucket().bucket(name).set_create_bucket_configuration(self.location());
        code(&create.send().await)
    }
}

/// The permissions boundary of a run.
pub fn boundary_arn(partition: &str, account: &str, run: &Run) -> String {
    format!("arn:{partition}:iam::{account}:policy{PATH}{}", run.name("boundary"))
}

/// What failed: the action, the code and the message, without a request id.
pub fn fail<E: ProvideErrorMetadata, R>(action: &str, error: &SdkError<E, R>) -> String {
    match error {
        SdkError::ServiceError(service) => {
            let error = service.err();
            format!("{action}: {}: {}", error.code().unwrap_or("no code"), error.message().unwrap_or("no message"))
        }
        SdkError::DispatchFailure(failure) => {
            let cause =
                failure.as_connector_error().map(|e| std::error::Error::source(e).map_or(e.to_string(), ToString::to_string));
            format!("{action}: not sent: {}", cause.unwrap_or_default())
        }
        SdkError::TimeoutError(_) => format!("{action}: no answer in time"),
        _ => format!("{action}: AWS's answer cannot be read"),
    }
}

/// The answer; the part of the run ends with the error otherwise.
pub fn must<T, E: ProvideErrorMetadata, R>(action: &str, answer: Result<T, SdkError<E, R>>) -> T {
    answer.unwrap_or_else(|error| panic!("{}", fail(action, &error)))
}

const GONE: [&str; 5] = ["NoSuchBucket", "NoSuchEntity", "NoSuchKey", "NoSuchUpload", "NotFound"];

/// Success also if it does not exist.
pub fn gone<T, E: ProvideErrorMetadata, R>(action: &str, answer: Result<T, SdkError<E, R>>) -> Result<(), String> {
    match &answer {
        Err(error) if !GONE.contains(&code(&answer).as_str()) => Err(fail(action, error)),
        _ => Ok(()),
    }
}

/// The answer, or `None` if it does not exist.
fn existing<T, E: ProvideErrorMetadata, R>(action: &str, answer: Result<T, SdkError<E, R>>) -> Result<Option<T>, String> {
    let missing = GONE.contains(&code(&answer).as_str());
    answer.map(Some).or_else(|error| if missing { Ok(None) } else { Err(fail(action, &error)) })
}

/// The tags of a bucket; `None` if there is no such bucket.
pub async fn bucket_tags(aws: &Aws, name: &str, region: &str) -> Result<Option<Tags>, String> {
    let answer = aws.s3(region).get_bucket_tagging().bucket(name).expected_bucket_owner(&aws.account).send().await;
    if code(&answer) == "NoSuchTagSet" {
        return Ok(Some(Tags::new()));
    }
    let tags = existing("s3:GetBucketTagging", answer)?.map(|answer| answer.tag_set);
    Ok(tags.map(|tags| tags.into_iter().map(|tag| (tag.key, tag.value)).collect()))
}

/// The tags of a user; `None` if there is no such user.
pub async fn user_tags(aws: &Aws, name: &str) -> Result<Option<Tags>, String> {
    let user = existing("iam:GetUser", aws.iam().get_user().user_name(name).send().await)?.and_then(|answer| answer.user);
    Ok(user.map(|user| of_iam(user.tags)))
}

/// The tags of a policy; `None` if there is no such policy.
pub async fn policy_tags(aws: &Aws, arn: &str) -> Result<Option<Tags>, String> {
    let policy = existing("iam:GetPolicy", aws.iam().get_policy().policy_arn(arn).send().await)?.and_then(|answer| answer.policy);
    Ok(policy.map(|policy| of_iam(policy.tags)))
}

fn of_iam(tags: Option<Vec<aws_sdk_iam::types::Tag>>) -> Tags {
    tags.unwrap_or_default().into_iter().map(|tag| (tag.key, tag.value)).collect()
}
