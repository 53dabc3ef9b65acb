//! How the operator signs in to an AWS account, and how many calls it makes there.

use super::rules;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How to sign in to an AWS account.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SignIn {
    /// Region to sign in to, such as us-east-1. It determines the partition of the account (AWS, China, GovCloud, European
    /// Sovereign Cloud, isolated), and so the endpoints of IAM and STS. Omitted: AWS_REGION of the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(rules::REGION).message("region must be the code of an AWS region, such as us-east-1 or cn-north-1"))]
    #[schemars(length(min = 1, max = 32))]
    pub region: Option<String>,

    /// Credentials that the operator uses.
    #[serde(default)]
    pub credentials: AccountCredentials,

    /// Endpoints of AWS, if they are not the usual ones.
    #[serde(default, skip_serializing_if = "Endpoints::is_empty")]
    pub endpoints: Endpoints,
}

/// Credentials that the operator uses in an account.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[x_kube(validation = Rule::new("(self.source == 'Secret') == has(self.secretRef)").message("credentials.secretRef is required with source Secret, and allowed only with it"))]
#[serde(rename_all = "camelCase")]
pub struct AccountCredentials {
    /// Environment: what the AWS SDK finds in the operator's environment, such as IRSA, Pod Identity, an instance role or
    /// environment variables. Secret: an access key in a Secret.
    #[serde(default)]
    pub source: CredentialSource,

    /// The Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and optionally AWS_SESSION_TOKEN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretReference>,

    /// Roles that the operator assumes, one after the other. The last one is in the account.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub assume_role: Vec<AssumeRole>,
}

/// Source of the first credentials.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[allow(missing_docs, reason = "each name says it, and docs on a variant would change its schema")]
pub enum CredentialSource {
    #[default]
    Environment,
    Secret,
}

/// A Secret.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SecretReference {
    /// Namespace of the Secret.
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')").message("secretRef.namespace must be lower-case letters, digits and hyphens"))]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    /// Name of the Secret.
    #[x_kube(validation = Rule::new(rules::OBJECT_NAME).message("secretRef.name must be lower-case letters, digits, dots and hyphens"))]
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// A role to assume (<https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>).
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct AssumeRole {
    /// ARN of the role.
    #[x_kube(validation = Rule::new("self.matches('^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$')").message("roleArn must be the ARN of a role, such as arn:aws:iam::123456789012:role/bucketconnection"))]
    #[schemars(length(min = 20, max = 2048))]
    pub role_arn: String,

    /// The external ID that the role's trust policy requires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9_+=,.@:/-]+$')").message("externalId may contain letters, digits and _ + = , . @ : / - only"))]
    #[schemars(length(min = 2, max = 1224))]
    pub external_id: Option<String>,

    /// Name of the session in CloudTrail. Default: bucketconnection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9_+=,.@-]+$')").message("sessionName may contain letters, digits and _ + = , . @ - only"))]
    #[schemars(length(min = 2, max = 64))]
    pub session_name: Option<String>,
}

/// Endpoints of AWS: VPC endpoints, FIPS, dual stack, an emulator.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[x_kube(validation = Rule::new("!((has(self.fips) && self.fips) || (has(self.dualStack) && self.dualStack)) || !(has(self.url) || has(self.s3) || has(self.iam) || has(self.sts))").message("endpoints.fips and dualStack select AWS's own endpoints: leave them out if url, s3, iam or sts is set"))]
#[serde(rename_all = "camelCase")]
pub struct Endpoints {
    /// Endpoint of all services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "endpoint")]
    pub url: Option<String>,
    /// Endpoint of S3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "endpoint")]
    pub s3: Option<String>,
    /// Endpoint of IAM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "endpoint")]
    pub iam: Option<String>,
    /// Endpoint of STS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "endpoint")]
    pub sts: Option<String>,
    /// Uses AWS's FIPS endpoints.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fips: bool,
    /// Uses AWS's dual-stack endpoints (IPv4 and IPv6).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dual_stack: bool,
}

fn endpoint(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "string", "pattern": "^https?://[^/?#]+/?$", "maxLength": 253 })
}

impl Endpoints {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Maximum number of AWS calls per second in the account, after a burst of 25 seconds' worth.
#[derive(KubeSchema, Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    /// S3 calls per second.
    #[serde(default = "s3_calls")]
    #[schemars(range(min = 1, max = 10000), extend("format" = "int32"))]
    pub s3: u32,
    /// IAM calls per second. AWS publishes no limit, and all tools in the account share it.
    #[serde(default = "iam_calls")]
    #[schemars(range(min = 1, max = 1000), extend("format" = "int32"))]
    pub iam: u32,
}

fn s3_calls() -> u32 {
    100
}

fn iam_calls() -> u32 {
    20
}

impl Default for Budget {
    fn default() -> Self {
        Self { s3: s3_calls(), iam: iam_calls() }
    }
}
