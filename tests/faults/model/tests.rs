//! What the model itself promises: delays, lost answers, the hook.

#![cfg(test)]

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};

use super::client::{After, Before, Calm, Faults, Seen, config};
use super::{Behaviour, Delay, Model, Pair};

const ACCOUNT: &str = "123456789012";
const REGION: &str = "eu-west-1";
const POLICY: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:ListBucket","Resource":"*"}}"#;

/// A model with a clock that is set by hand.
struct Lab {
    model: Model,
    seconds: Arc<AtomicI64>,
    admin: Pair,
}

impl Lab {
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

    /// What S3 and STS say to the key; empty when they take it.
    async fn tried(&self, key: &Pair) -> [String; 2] {
        let sts = aws_sdk_sts::Client::new(&config(&self.model, Arc::new(Calm), key, REGION));
        let listed = self.s3(key).list_objects_v2().bucket("lab").send().await;
        [code(&listed), code(&sts.get_caller_identity().send().await)]
    }
}

fn code<T, E: ProvideErrorMetadata, R>(answer: &Result<T, SdkError<E, R>>) -> String {
    match answer {
        Ok(_) => String::new(),
        Err(SdkError::ServiceError(error)) => error.err().code().unwrap_or("none").to_owned(),
        Err(SdkError::DispatchFailure(_)) => "cut".to_owned(),
        Err(_) => "other".to_owned(),
    }
}

fn seconds(delay: u64) -> Delay {
    Delay::exactly(Duration::from_secs(delay))
}

#[tokio::test]
async fn without_delays_a_key_works_at_once_and_no_longer_than_it_lives() {
    let lab = Lab::new(Behaviour::default());
    let key = lab.create().await;
    assert_eq!(lab.tried(&key).await, ["", ""]);
    lab.iam().delete_access_key().user_name("u").access_key_id(&key.id).send().await.unwrap();
    assert_eq!(lab.tried(&key).await, ["InvalidAccessKeyId", "InvalidClientTokenId"]);
}
