//! What the operator verifies with the key: `spec.verification` and `status.capabilities`.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator verifies in addition to the key itself.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VerificationSpec {
    /// Also puts, gets and deletes a small object ".bucketconnection-probe-…" under the prefix. A platform that watches the bucket
    /// may notice it; in a versioned bucket a version and a delete marker may stay.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub objects: bool,

    /// A URL of CLC Genomics Cloud, or of a CLC server, that must answer. The AWSAccount must allow its host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub genomics_cloud: Option<GenomicsCloudSpec>,
}

/// A URL that the operator requests with GET, without credentials, and without following redirects.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct GenomicsCloudSpec {
    /// The URL: https, a host name, a port if it is not 443, and a path.
    #[x_kube(validation = Rule::new("self.matches('^https://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?$')").message("genomicsCloud.url must be like https://clc.example.org:8443/path: https, the name of a host in lower case, no user, query or fragment"))]
    #[schemars(length(min = 1, max = 512))]
    pub url: String,

    /// HTTP status that the URL must answer with. Default: 200.
    #[serde(default = "ok")]
    #[schemars(range(min = 100, max = 599), transform = crate::settings::without_default, extend("format" = "int32"))]
    pub expected_status: u16,
}

impl GenomicsCloudSpec {
    /// Host and port as they are written in the URL.
    pub fn authority(&self) -> &str {
        let rest = self.url.strip_prefix("https://").unwrap_or_default();
        rest.split('/').next().unwrap_or_default()
    }
}

fn ok() -> u16 {
    200
}

/// The result of verifying one capability.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Capability {
    /// Valid: verified, and it works. Invalid: verified, and it does not work. Pending: not known yet. NotConfigured: not verified,
    /// because the spec does not ask for it or the policy does not allow it.
    pub state: CapabilityState,
    /// What the operator verified, and what you can do if it failed.
    pub message: String,
}

/// State of a capability.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[allow(missing_docs, reason = "each name says it, and docs on a variant would change its schema")]
pub enum CapabilityState {
    Valid,
    Invalid,
    Pending,
    NotConfigured,
}
