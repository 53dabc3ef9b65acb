//! How to sign in to an AWS account, and how many calls to make there.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How to sign in to an AWS account.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SignIn {
    /// Region to sign in at, such as us-east-1. Its partition is that of the account: a region of China, GovCloud, the European
    /// Sovereign Cloud or an isolated partition leads to that partition's IAM and STS. Omitted: AWS_REGION of the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.matches('^[a-z]{2,4}(-[a-z]+)+-[0-9]+$')").message("region must be the code of an AWS region, such as us-east-1 or cn-north-1"))]
    #[schemars(length(min = 1, max = 32))]
    pub region: Option<String>,

    /// Whose rights the operator uses.
    #[serde(default)]
    pub credentials: AccountCredentials,

    /// Where AWS answers, other than at its usual addresses.
    #[serde(default, skip_serializing_if = "Endpoints::is_empty")]
    pub endpoints: Endpoints,
}

/// Whose rights the operator uses in an account.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[x_kube(validation = Rule::new("(self.source == 'Secret') == has(self.secretRef)").message("credentials.secretRef is needed with source Secret, and only then"))]
#[serde(rename_all = "camelCase")]
pub struct AccountCredentials {
    /// Environment: what the AWS SDK finds around the operator, such as IRSA, Pod Identity, an instance's role or environment
    /// variables. Secret: an access key in a Secret.
    #[serde(default)]
    pub source: CredentialSource,

    /// The Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and AWS_SESSION_TOKEN where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretReference>,

    /// Roles to assume from there, one after the other; the last one is in the account.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub assume_role: Vec<AssumeRole>,
}

/// Where the first credentials come from.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[allow(missing_docs)]
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
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)*$')").message("secretRef.name must be lower-case letters, digits, dots and hyphens"))]
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

    /// The external ID that the role's trust policy asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9_+=,.@:/-]+$')").message("externalId may contain letters, digits and _ + = , . @ : / - only"))]
    #[schemars(length(min = 2, max = 1224))]
    pub external_id: Option<String>,

    /// Name of the session, as CloudTrail shows it. Default: bucketconnection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.matches('^[A-Za-z0-9_+=,.@-]+$')").message("sessionName may contain letters, digits and _ + = , . @ - only"))]
    #[schemars(length(min = 2, max = 64))]
    pub session_name: Option<String>,
}

/// Where AWS answers: VPC endpoints, FIPS, dual stack, an emulator.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[x_kube(validation = Rule::new("!((has(self.fips) && self.fips) || (has(self.dualStack) && self.dualStack)) || !(has(self.url) || has(self.s3) || has(self.iam) || has(self.sts))").message("endpoints.fips and dualStack choose among AWS's own addresses: leave them out where url, s3, iam or sts gives one"))]
#[serde(rename_all = "camelCase")]
pub struct Endpoints {
    /// For all services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "endpoint")]
    pub url: Option<String>,
    /// For S3 alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "endpoint")]
    pub s3: Option<String>,
    /// For IAM alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "endpoint")]
    pub iam: Option<String>,
    /// For STS alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "endpoint")]
    pub sts: Option<String>,
    /// Use AWS's FIPS endpoints.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fips: bool,
    /// Use AWS's dual-stack endpoints (IPv4 and IPv6).
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

/// How many AWS calls a second are made in the account at most, after a burst of 25 seconds' worth.
#[derive(KubeSchema, Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    /// Calls to S3 a second.
    #[serde(default = "s3_calls")]
    #[schemars(range(min = 1, max = 10000))]
    pub s3: u32,
    /// Calls to IAM a second. AWS publishes no limit, and all tools in the account share it.
    #[serde(default = "iam_calls")]
    #[schemars(range(min = 1, max = 1000))]
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
