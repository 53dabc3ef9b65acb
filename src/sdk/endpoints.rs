//! Which hosts the calls of an account reach, and whether they answer here.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_config::SdkConfig;
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeTransmitInterceptorContextRef;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use jiff::Timestamp;
use jiff::fmt::rfc2822;

use super::{Sdk, tls_context};
use crate::credentials::{AccountKey, KeyPair, Sensitive};
use crate::vocabulary::problem::{Class, Problem};
use crate::vocabulary::sign_in::{AccountCredentials, Budget, SignIn};

const TIMEOUT: Duration = Duration::from_secs(5);

/// Keeps the address of a request, and does not send it.
#[derive(Clone, Debug, Default)]
struct Address(Arc<Mutex<String>>);

impl Intercept for Address {
    fn name(&self) -> &'static str {
        "Address"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        context.request().uri().clone_into(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
        Err("only the address matters".into())
    }
}

impl Address {
    /// The address without its path.
    fn origin(&self) -> String {
        let address = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (scheme, rest) = address.split_once("://").unwrap_or_default();
        format!("{scheme}://{}/", rest.split(['/', '?']).next().unwrap_or_default())
    }
}

/// The endpoints of S3 in `region`, IAM and STS for an account with this sign-in, as the SDK would use them: with the
/// account's endpoints, the environment and the partition. Sends nothing.
pub async fn endpoints(environment: &SdkConfig, sign_in: &SignIn, region: &str) -> [(&'static str, String); 3] {
    let sign_in = SignIn { credentials: AccountCredentials::default(), ..sign_in.clone() };
    // A request needs a key before it has an address.
    let key = KeyPair { id: "AKIAIOSFODNN7EXAMPLE".to_owned(), secret: Sensitive::new("none".to_owned()) };
    let sdk = Sdk::for_account(environment, &sign_in, Some(&AccountKey { key, token: None }), Budget::default()).await;
    let (s3, iam, sts) = (Address::default(), Address::default(), Address::default());
    let _ = sdk.s3(region).list_buckets().customize().interceptor(s3.clone()).send().await;
    let _ = sdk.iam.get_user().customize().interceptor(iam.clone()).send().await;
    let _ = sdk.sts.get_caller_identity().customize().interceptor(sts.clone()).send().await;
    [("S3", s3.origin()), ("IAM", iam.origin()), ("STS", sts.origin())]
}

/// The answer of an endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Reached {
    /// Its HTTP status: an endpoint refuses a request without a signature, and so answers.
    pub status: u16,
    /// How long it took.
    pub took: Duration,
    /// Its clock.
    pub date: Option<Timestamp>,
    /// This machine's clock when the answer arrived.
    pub at: Timestamp,
}

/// Sends a request without a signature to `url`, through the proxy of the environment, and returns the answer.
pub async fn reach(url: &str) -> Result<Reached, Problem> {
    let failed = |code: &str, text: String| Problem::new(Class::Unavailable, "GET", code, text);
    let trust = tls_context().map_err(|error| failed("NoCertificate", error.to_string()))?;
    let builder = Connector::builder().proxy_config(ProxyConfig::from_env());
    let connector = builder.tls_provider(Provider::Rustls(CryptoMode::AwsLc)).tls_context(trust).build();
    let mut request = HttpRequest::empty();
    request.set_uri(url).map_err(|error| failed("BadAddress", error.to_string()))?;
    let began = Instant::now();
    match tokio::time::timeout(TIMEOUT, connector.call(request)).await {
        Ok(Ok(response)) => {
            let date = response.headers().get("date").and_then(http_date);
            Ok(Reached { status: response.status().as_u16(), took: began.elapsed(), date, at: Timestamp::now() })
        }
        Ok(Err(error)) => Err(failed("Unreachable", super::error::root_cause(&error).to_string())),
        Err(_) => Err(failed("Timeout", format!("no answer in {} s", TIMEOUT.as_secs()))),
    }
}

/// The time in a header `Date`.
pub fn http_date(text: &str) -> Option<Timestamp> {
    rfc2822::parse(text).ok().map(|date| date.timestamp())
}

#[cfg(test)]
mod tests {
    use aws_config::{BehaviorVersion, Region};

    use super::*;
    use crate::vocabulary::sign_in::Endpoints;

    async fn of(sign_in: SignIn, region: &str) -> [String; 3] {
        let config =
            SdkConfig::builder().behavior_version(BehaviorVersion::v2026_01_12()).region(Region::new("us-east-1")).build();
        endpoints(&config, &sign_in, region).await.map(|(_, url)| url)
    }

    /// The hosts of AWS's own documentation, without sending anything.
    #[tokio::test]
    async fn endpoints_are_those_of_the_calls() {
        let usual = of(SignIn::default(), "eu-west-1").await;
        let expected =
            ["https://s3.eu-west-1.amazonaws.com/", "https://iam.amazonaws.com/", "https://sts.us-east-1.amazonaws.com/"];
        assert_eq!(usual, expected);
        let china = of(SignIn { region: Some("cn-north-1".to_owned()), ..SignIn::default() }, "cn-northwest-1").await;
        assert_eq!(china[0], "https://s3.cn-northwest-1.amazonaws.com.cn/");
        assert_eq!(china[1], "https://iam.cn-north-1.amazonaws.com.cn/");
        let own = Endpoints { s3: Some("http://127.0.0.1:9/".to_owned()), ..Endpoints::default() };
        let own = of(SignIn { endpoints: own, ..SignIn::default() }, "eu-west-1").await;
        assert_eq!((own[0].as_str(), own[1].as_str()), ("http://127.0.0.1:9/", "https://iam.amazonaws.com/"));
    }

    #[tokio::test]
    async fn an_endpoint_that_does_not_exist_says_why() {
        let problem = reach("http://127.0.0.1:1/").await.unwrap_err();
        assert!(problem.message.to_lowercase().contains("refused"), "{problem}");
        let problem = reach("https://no-such-host.invalid/").await.unwrap_err();
        assert_eq!((problem.code.as_str(), problem.class), ("Unreachable", Class::Unavailable));
    }

    #[test]
    fn dates_of_headers_are_times() {
        assert_eq!(http_date("Sun, 06 Nov 1994 08:49:37 GMT"), "1994-11-06T08:49:37Z".parse().ok());
        assert_eq!(http_date("yesterday"), None);
    }
}
