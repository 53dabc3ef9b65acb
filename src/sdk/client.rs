//! One HTTP client, one configuration, clients made from it.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::{Credentials, IdentityCache, SharedCredentialsProvider, SharedHttpClient};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, Connector};

use crate::credentials::KeyPair;

/// The SDK itself sets no limit but the one on connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(3_100);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The SDK waits up to a second before its first retry; a pass is short, and the next pass is a retry too.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const POOL_IDLE: Duration = Duration::from_secs(50);
const POOL_SIZE: usize = 64;

/// What is wrong with the environment.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// `AWS_CA_BUNDLE` names a file that cannot be read.
    #[error("AWS_CA_BUNDLE={path}: {source}; name a readable PEM file with the certificates to trust, or unset it")]
    CaBundle {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// `AWS_CA_BUNDLE` names a file that holds no certificate.
    #[error("AWS_CA_BUNDLE={path}: {text}; name a PEM file with the certificates to trust, or unset it")]
    NoCertificate {
        /// The file.
        path: String,
        /// What is wrong with it.
        text: String,
    },
    /// The SDK would log the answer to `CreateAccessKey`.
    #[error("LOG_SENSITIVE_BODIES is set: the AWS SDK would write secret access keys to the log; unset it")]
    SensitiveBodies,
}

/// Reads the usual environment: credentials by the default chain, `AWS_REGION`, `AWS_ENDPOINT_URL`, `AWS_CA_BUNDLE`,
/// `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`.
pub(super) async fn load() -> Result<SdkConfig, SetupError> {
    if std::env::var("LOG_SENSITIVE_BODIES").is_ok() {
        return Err(SetupError::SensitiveBodies);
    }
    let region = aws_config::meta::region::RegionProviderChain::default_provider().or_else(Region::from_static("us-east-1"));
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(CALL_TIMEOUT)
        .build();
    let config = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .region(region)
        .http_client(http_client()?)
        .timeout_config(timeouts)
        .retry_config(RetryConfig::standard().with_initial_backoff(FIRST_BACKOFF))
        .load()
        .await;
    Ok(config)
}

/// One pool for all clients. The Rust SDK knows no `AWS_CA_BUNDLE`, which every other SDK does: with it, only the
/// certificates in that file are trusted.
fn http_client() -> Result<SharedHttpClient, SetupError> {
    let trust = match std::env::var("AWS_CA_BUNDLE") {
        Ok(path) if !path.is_empty() => {
            let pem = std::fs::read(&path).map_err(|source| SetupError::CaBundle { path: path.clone(), source })?;
            if !String::from_utf8_lossy(&pem).contains("-----BEGIN CERTIFICATE-----") {
                return Err(SetupError::NoCertificate { path, text: "no certificate in it".to_owned() });
            }
            TrustStore::empty().with_pem_certificate(pem)
        }
        _ => TrustStore::default(),
    };
    let context = TlsContext::builder().with_trust_store(trust).build().map_err(|error| SetupError::NoCertificate {
        path: std::env::var("AWS_CA_BUNDLE").unwrap_or_default(),
        text: error.to_string(),
    })?;
    Ok(Builder::new().pool_idle_timeout(POOL_IDLE).pool_max_idle_per_host(POOL_SIZE).build_with_connector_fn(
        move |settings, components| {
            let mut connector = Connector::builder().proxy_config(ProxyConfig::from_env());
            connector.set_connector_settings(settings.cloned());
            connector.set_sleep_impl(components.and_then(|components| components.sleep_impl()));
            connector.tls_provider(Provider::Rustls(CryptoMode::AwsLc)).tls_context(context.clone()).build()
        },
    ))
}

/// A client for buckets in `region`. Path style: one host, so one pool of connections, for all buckets of a region.
pub(super) fn s3(config: &SdkConfig, region: Region) -> aws_sdk_s3::Client {
    let config = aws_sdk_s3::config::Builder::from(config).region(region).force_path_style(true).build();
    aws_sdk_s3::Client::from_conf(config)
}

/// Clients that sign with an issued key, in the region of the bucket: never with the operator's rights.
pub(super) fn with_key(config: &SdkConfig, key: &KeyPair, region: &str) -> (aws_sdk_s3::Client, aws_sdk_sts::Client) {
    let credentials = Credentials::new(&key.id, key.secret.reveal(), None, None, "issued key");
    let config = config
        .to_builder()
        .region(Region::new(region.to_owned()))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .identity_cache(IdentityCache::no_cache())
        .build();
    let s3 = aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build();
    (aws_sdk_s3::Client::from_conf(s3), aws_sdk_sts::Client::new(&config))
}
