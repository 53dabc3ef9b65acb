//! One HTTP client, one configuration, and the clients made from it.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_sdk_s3::config::{
    Credentials, IdentityCache, RequestChecksumCalculation, ResponseChecksumValidation, SharedCredentialsProvider,
    SharedHttpClient,
};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, Connector};
use aws_types::origin::Origin;
use aws_types::sdk_config;

use super::throttles::Throttles;
use crate::credentials::{AccountKey, KeyPair};
use crate::vocabulary::sign_in::{AssumeRole, Endpoints, SignIn};

/// The SDK itself limits only the time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(3_100);
/// Timeout of one attempt of a call; retries are extra.
pub(crate) const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The SDK waits up to a second before its first retry; reconciles should be short, and the next reconcile is a retry
/// too.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
/// A transfer of hours must survive more than a reconcile, which is repeated anyway.
const TRANSFER_ATTEMPTS: u32 = 6;
const POOL_IDLE: Duration = Duration::from_secs(50);
const POOL_SIZE: usize = 64;
/// The region if the environment names none.
const NO_REGION: Region = Region::from_static("us-east-1");

/// An error in the environment.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// `AWS_CA_BUNDLE` names a file that cannot be read.
    #[error("AWS_CA_BUNDLE={path}: {source}; name a readable PEM file with the certificates to trust, or unset it")]
    CaBundle {
        /// The file.
        path: String,
        /// The error.
        source: std::io::Error,
    },
    /// `AWS_CA_BUNDLE` names a file without a certificate.
    #[error("AWS_CA_BUNDLE={path}: {text}; name a PEM file with the certificates to trust, or unset it")]
    NoCertificate {
        /// The file.
        path: String,
        /// The error.
        text: String,
    },
    /// The SDK would log the answer to `CreateAccessKey`.
    #[error("LOG_SENSITIVE_BODIES is set: the AWS SDK would write secret access keys to the log; unset it")]
    SensitiveBodies,
}

/// Reads the usual environment: credentials by the default chain, `AWS_REGION`, `AWS_ENDPOINT_URL`, `AWS_CA_BUNDLE`,
/// `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`. Does not sign in yet.
pub async fn environment() -> Result<SdkConfig, SetupError> {
    let region = aws_config::meta::region::RegionProviderChain::default_provider().or_else(NO_REGION);
    Ok(loader()?.region(region).load().await)
}

/// Reads of this environment only what concerns the network, for clients with a key and a region of their own. To look for
/// others takes seconds on a machine that has none.
pub async fn network() -> Result<SdkConfig, SetupError> {
    Ok(loader()?.region(NO_REGION).no_credentials().load().await)
}

fn loader() -> Result<ConfigLoader, SetupError> {
    if std::env::var("LOG_SENSITIVE_BODIES").is_ok() {
        return Err(SetupError::SensitiveBodies);
    }
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(CALL_TIMEOUT)
        .build();
    Ok(aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(http_client()?)
        .timeout_config(timeouts)
        .retry_config(RetryConfig::standard().with_initial_backoff(FIRST_BACKOFF)))
}

/// One pool for all clients. Unlike other SDKs, the Rust SDK does not support `AWS_CA_BUNDLE`: if it is set, only the
/// certificates in that file are trusted.
fn http_client() -> Result<SharedHttpClient, SetupError> {
    let context = tls_context()?;
    Ok(Builder::new().pool_idle_timeout(POOL_IDLE).pool_max_idle_per_host(POOL_SIZE).build_with_connector_fn(
        move |settings, components| {
            let mut connector = Connector::builder().proxy_config(ProxyConfig::from_env());
            connector.set_connector_settings(settings.cloned());
            connector.set_sleep_impl(components.and_then(|components| components.sleep_impl()));
            connector.tls_provider(Provider::Rustls(CryptoMode::AwsLc)).tls_context(context.clone()).build()
        },
    ))
}

/// The trusted certificates.
pub fn tls_context() -> Result<TlsContext, SetupError> {
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
    TlsContext::builder().with_trust_store(trust).build().map_err(|error| SetupError::NoCertificate {
        path: std::env::var("AWS_CA_BUNDLE").unwrap_or_default(),
        text: error.to_string(),
    })
}

/// The configuration for an account: `base`, the operator's own, with the account's credentials, region and endpoints.
/// Does not sign in yet: roles are assumed at the first call, and again before they expire.
pub(super) async fn signed_in(base: &SdkConfig, sign_in: &SignIn, key: Option<&AccountKey>) -> SdkConfig {
    let mut builder = base.to_builder().identity_cache(IdentityCache::lazy().build());
    if let Some(region) = &sign_in.region {
        builder = builder.region(Region::new(region.clone()));
    }
    builder.set_use_fips(Some(sign_in.endpoints.fips).filter(|on| *on).or(base.use_fips()));
    builder.set_use_dual_stack(Some(sign_in.endpoints.dual_stack).filter(|on| *on).or(base.use_dual_stack()));
    let Endpoints { url, fips, dual_stack, .. } = &sign_in.endpoints;
    if url.is_some() || *fips || *dual_stack {
        ask_at(&mut builder, url.clone());
    }
    if let Some(AccountKey { key, token }) = key {
        let token = token.as_ref().map(|token| token.reveal().to_owned());
        let credentials = Credentials::new(&key.id, key.secret.reveal(), token, None, "Secret of the AWSAccount");
        builder = builder.credentials_provider(SharedCredentialsProvider::new(credentials));
    }
    let mut config = builder.build();
    for role in &sign_in.credentials.assume_role {
        let provider = assume(&config, role, &sign_in.endpoints).await;
        config = config.to_builder().credentials_provider(SharedCredentialsProvider::new(provider)).build();
    }
    config
}

/// Sets the endpoint for all services; `None` is AWS's own. The SDK prefers `AWS_ENDPOINT_URL` of the environment to an
/// endpoint of unknown origin, so this sets the origin too.
fn ask_at(builder: &mut sdk_config::Builder, url: Option<String>) {
    builder.set_endpoint_url(url);
    builder.insert_origin("endpoint_url", Origin::shared_config());
}

async fn assume(config: &SdkConfig, role: &AssumeRole, endpoints: &Endpoints) -> AssumeRoleProvider {
    let mut sts = config.to_builder();
    if let Some(url) = &endpoints.sts {
        ask_at(&mut sts, Some(url.clone()));
    }
    let mut provider = AssumeRoleProvider::builder(&role.role_arn)
        .session_name(role.session_name.as_deref().unwrap_or("bucketconnection"))
        .configure(&sts.build());
    if let Some(id) = &role.external_id {
        provider = provider.external_id(id);
    }
    match config.credentials_provider() {
        Some(from) => provider.build_from_provider(from).await,
        None => provider.build().await,
    }
}

/// A client for buckets in `region`. Path style: one host, so one pool of connections, for all buckets of a region.
pub(super) fn s3(config: &SdkConfig, endpoints: &Endpoints, region: Region) -> aws_sdk_s3::Client {
    let mut config = aws_sdk_s3::config::Builder::from(config).region(region).force_path_style(true).interceptor(Throttles("s3"));
    if let Some(url) = &endpoints.s3 {
        config = config.endpoint_url(url);
    }
    aws_sdk_s3::Client::from_conf(config.build())
}

/// A client of IAM, which has one endpoint in each partition.
pub(super) fn iam(config: &SdkConfig, endpoints: &Endpoints) -> aws_sdk_iam::Client {
    let region = iam_region(config.region().map(AsRef::as_ref).unwrap_or_default());
    let mut config = aws_sdk_iam::config::Builder::from(config).region(Region::from_static(region)).interceptor(Throttles("iam"));
    if let Some(url) = &endpoints.iam {
        config = config.endpoint_url(url);
    }
    aws_sdk_iam::Client::from_conf(config.build())
}

/// The region for signing IAM calls in the partition of `region`. For IAM's own endpoint the SDK knows it; for another,
/// such as a VPC endpoint, it would sign for the region of the account, which IAM refuses
/// (<https://docs.aws.amazon.com/general/latest/gr/iam-service.html>, botocore's partitions.json).
fn iam_region(region: &str) -> &'static str {
    const REGIONS: [(&str, &str); 7] = [
        ("cn-", "cn-north-1"),
        ("us-gov-", "us-gov-west-1"),
        ("us-iso-", "us-iso-east-1"),
        ("us-isob-", "us-isob-east-1"),
        ("eu-isoe-", "eu-isoe-west-1"),
        ("us-isof-", "us-isof-south-1"),
        ("eusc-", "eusc-de-east-1"),
    ];
    REGIONS.iter().find(|(prefix, _)| region.starts_with(prefix)).map_or("us-east-1", |(_, region)| region)
}

/// A client of STS.
pub(super) fn sts(config: &SdkConfig, endpoints: &Endpoints) -> aws_sdk_sts::Client {
    let mut config = aws_sdk_sts::config::Builder::from(config).interceptor(Throttles("sts"));
    if let Some(url) = &endpoints.sts {
        config = config.endpoint_url(url);
    }
    aws_sdk_sts::Client::from_conf(config.build())
}

/// Clients that sign with an issued key, in the region of the bucket: never with the operator's permissions.
pub(super) fn with_key(
    config: &SdkConfig,
    endpoints: &Endpoints,
    key: &KeyPair,
    region: &str,
) -> (aws_sdk_s3::Client, aws_sdk_sts::Client) {
    let credentials = Credentials::new(&key.id, key.secret.reveal(), None, None, "issued key");
    let config = config
        .to_builder()
        .region(Region::new(region.to_owned()))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .identity_cache(IdentityCache::no_cache())
        .build();
    (s3(&config, endpoints, Region::new(region.to_owned())), sts(&config, endpoints))
}

/// A client for the data in a bucket: it signs with an issued key, and a call may take as long as its body needs. The
/// SDK's protection against streams that stall stays on. The caller computes and compares the checksums.
pub(crate) fn transfers(config: &SdkConfig, endpoint: Option<&str>, key: &KeyPair, region: &str) -> aws_sdk_s3::Client {
    let credentials = Credentials::new(&key.id, key.secret.reveal(), None, None, "key of the connection");
    let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).build();
    let mut builder = config
        .to_builder()
        .region(Region::new(region.to_owned()))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .retry_config(RetryConfig::standard().with_max_attempts(TRANSFER_ATTEMPTS).with_initial_backoff(FIRST_BACKOFF))
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    builder.set_timeout_config(Some(timeouts));
    let endpoints = Endpoints { s3: endpoint.map(str::to_owned), ..Endpoints::default() };
    s3(&builder.build(), &endpoints, Region::new(region.to_owned()))
}
