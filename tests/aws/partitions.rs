//! The hosts that the clients of an account call and the regions that they sign for: in each partition, and with the
//! account's own endpoints. Nothing is sent.

use std::sync::{Arc, Mutex};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_types::sdk_config::SharedTimeSource;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};
use bucketconnection::api::{Budget, SignIn};
use bucketconnection::sdk::Sdk;
use serde_json::{Value, json};

/// Records the host of each request and the region that it is signed for, and fails the request.
#[derive(Clone, Debug, Default)]
struct Recorder(Arc<Mutex<Vec<(String, String)>>>);

impl HttpConnector for Recorder {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let host = request.uri().split('/').nth(2).unwrap().to_owned();
        // Credential=AKIA…/20261124/us-east-1/iam/aws4_request
        let scope = request.headers().get("authorization").and_then(|value| value.split('/').nth(2)).unwrap_or_default();
        self.0.lock().unwrap().push((host, scope.to_owned()));
        HttpConnectorFuture::ready(Err(ConnectorError::user("recorded".into())))
    }
}

/// An environment with `AWS_ENDPOINT_URL`.
#[derive(Debug)]
struct Environment;

impl LoadServiceConfig for Environment {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        (key.env() == "AWS_ENDPOINT_URL").then(|| "https://environment.example.org".to_owned())
    }
}

/// Host and signing region of a call to IAM, STS and S3, for a bucket in the region `bucket`, in an account with this
/// sign-in.
async fn asked(sign_in: Value, bucket: &str) -> [(String, String); 3] {
    let recorder = Recorder::default();
    asked_by(operator(&recorder).build(), &recorder, sign_in, bucket).await
}

fn operator(recorder: &Recorder) -> aws_types::sdk_config::Builder {
    let connector = SharedHttpConnector::new(recorder.clone());
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new("us-east-1"))
        .time_source(SharedTimeSource::default())
        .http_client(http_client_fn(move |_, _| connector.clone()))
        .retry_config(RetryConfig::disabled())
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new("AKIAOPERATOR", "secret", None, None, "test")))
}

/// The same, for an operator with this environment.
async fn asked_by(operator: SdkConfig, recorder: &Recorder, sign_in: Value, bucket: &str) -> [(String, String); 3] {
    let sign_in: SignIn = serde_json::from_value(sign_in).unwrap();
    let sdk = Sdk::for_account(&operator, &sign_in, None, Budget::default()).await;
    sdk.iam.get_user().send().await.unwrap_err();
    sdk.sts.get_caller_identity().send().await.unwrap_err();
    sdk.bucket(bucket, "lab", "123456789012").s3.head_bucket().bucket("lab").send().await.unwrap_err();
    let recorded = recorder.0.lock().unwrap().clone();
    recorded.try_into().unwrap()
}

fn pairs(expected: [(&str, &str); 3]) -> [(String, String); 3] {
    expected.map(|(host, region)| (host.to_owned(), region.to_owned()))
}

/// The endpoints are those of AWS's partitions.json; IAM has one in each partition, whatever the region.
#[tokio::test]
async fn each_partition_has_its_own_hosts_and_iam_signing_region() {
    for (region, iam, iam_region, suffix) in [
        ("us-east-1", "iam.amazonaws.com", "us-east-1", "amazonaws.com"),
        ("eu-central-1", "iam.amazonaws.com", "us-east-1", "amazonaws.com"),
        ("cn-northwest-1", "iam.cn-north-1.amazonaws.com.cn", "cn-north-1", "amazonaws.com.cn"),
        ("us-gov-east-1", "iam.us-gov.amazonaws.com", "us-gov-west-1", "amazonaws.com"),
        ("eusc-de-east-1", "iam.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1", "amazonaws.eu"),
        ("us-iso-west-1", "iam.us-iso-east-1.c2s.ic.gov", "us-iso-east-1", "c2s.ic.gov"),
        ("us-isob-east-1", "iam.us-isob-east-1.sc2s.sgov.gov", "us-isob-east-1", "sc2s.sgov.gov"),
        ("eu-isoe-west-1", "iam.eu-isoe-west-1.cloud.adc-e.uk", "eu-isoe-west-1", "cloud.adc-e.uk"),
        ("us-isof-east-1", "iam.us-isof-south-1.csp.hci.ic.gov", "us-isof-south-1", "csp.hci.ic.gov"),
    ] {
        let (sts, s3) = (format!("sts.{region}.{suffix}"), format!("s3.{region}.{suffix}"));
        let expected = pairs([(iam, iam_region), (&sts, region), (&s3, region)]);
        assert_eq!(asked(json!({ "region": region }), region).await, expected, "{region}");
    }
}

#[tokio::test]
async fn the_bucket_may_be_in_another_region_than_the_sign_in() {
    let expected = pairs([
        ("iam.us-gov.amazonaws.com", "us-gov-west-1"),
        ("sts.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("s3.us-gov-east-1.amazonaws.com", "us-gov-east-1"),
    ]);
    assert_eq!(asked(json!({ "region": "us-gov-west-1" }), "us-gov-east-1").await, expected);
}

#[tokio::test]
async fn the_accounts_endpoints_apply() {
    for (endpoints, iam, sts, s3) in [
        (
            json!({ "fips": true }),
            "iam-fips.amazonaws.com",
            "sts-fips.us-east-2.amazonaws.com",
            "s3-fips.us-east-2.amazonaws.com",
        ),
        (json!({ "dualStack": true }), "iam.global.api.aws", "sts.us-east-2.api.aws", "s3.dualstack.us-east-2.amazonaws.com"),
        (
            json!({ "fips": true, "dualStack": true }),
            "iam-fips.global.api.aws",
            "sts-fips.us-east-2.api.aws",
            "s3-fips.dualstack.us-east-2.amazonaws.com",
        ),
        (json!({ "url": "https://aws.example.org" }), "aws.example.org", "aws.example.org", "aws.example.org"),
        (
            json!({ "url": "https://aws.example.org", "s3": "https://s3.vpce.example.org:8443" }),
            "aws.example.org",
            "aws.example.org",
            "s3.vpce.example.org:8443",
        ),
        (
            json!({ "iam": "https://iam.vpce.example.org", "sts": "https://sts.vpce.example.org" }),
            "iam.vpce.example.org",
            "sts.vpce.example.org",
            "s3.us-east-2.amazonaws.com",
        ),
    ] {
        let got = asked(json!({ "region": "us-east-2", "endpoints": endpoints }), "us-east-2").await;
        let hosts = got.each_ref().map(|(host, _)| host.as_str());
        assert_eq!(hosts, [iam, sts, s3], "{endpoints}");
        // A custom endpoint changes the host, not the signing region.
        let signed = got.each_ref().map(|(_, region)| region.as_str());
        assert_eq!(signed, ["us-east-1", "us-east-2", "us-east-2"], "{endpoints}");
    }
    let url = json!({ "region": "us-gov-east-1", "endpoints": { "url": "https://aws.example.org" } });
    assert_eq!(asked(url, "us-gov-east-1").await[0].1, "us-gov-west-1");
}

/// `AWS_ENDPOINT_URL` of the operator applies only if the account sets no endpoint: otherwise the credentials of one
/// account would go to the host of another.
#[tokio::test]
async fn the_accounts_endpoints_take_precedence_over_the_environment() {
    const ENVIRONMENT: &str = "environment.example.org";
    let own = "own.example.org";
    let role = json!({ "assumeRole": [{ "roleArn": "arn:aws:iam::123456789012:role/lab" }] });
    for (endpoints, credentials, expected) in [
        (json!({}), json!({}), [ENVIRONMENT; 3]),
        (json!({ "url": "https://own.example.org" }), json!({}), [own; 3]),
        (json!({ "iam": "https://own.example.org" }), json!({}), [own, ENVIRONMENT, ENVIRONMENT]),
        (
            json!({ "fips": true }),
            json!({}),
            ["iam-fips.amazonaws.com", "sts-fips.us-east-2.amazonaws.com", "s3-fips.us-east-2.amazonaws.com"],
        ),
        (
            json!({ "dualStack": true }),
            json!({}),
            ["iam.global.api.aws", "sts.us-east-2.api.aws", "s3.dualstack.us-east-2.amazonaws.com"],
        ),
        // The role is assumed there too, which fails here: each call gets no further.
        (json!({ "url": "https://own.example.org" }), role.clone(), [own; 3]),
        (json!({ "url": "https://aws.example.org", "sts": "https://own.example.org" }), role.clone(), [own; 3]),
        (json!({ "sts": "https://own.example.org" }), role, [own; 3]),
    ] {
        let recorder = Recorder::default();
        let operator = operator(&recorder).service_config(Environment).build();
        let sign_in = json!({ "region": "us-east-2", "endpoints": endpoints, "credentials": credentials });
        let got = asked_by(operator, &recorder, sign_in, "us-east-2").await;
        assert_eq!(got.each_ref().map(|(host, _)| host.as_str()), expected, "{endpoints}");
    }
}
