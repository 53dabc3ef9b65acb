//! What is proven of the key: `spec.verification`, and `status.capabilities`.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is tried with the key beyond the key itself.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct VerificationSpec {
    /// Also put, get and delete a small object under the prefix, ".bucketconnection-probe-…": a platform that watches the bucket may
    /// notice it, and in a bucket with versions a version and a delete marker may stay.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub objects: bool,

    /// An address of CLC Genomics Cloud, or of a CLC server, that is asked whether it answers. The AWSAccount must allow its host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub genomics_cloud: Option<GenomicsCloudSpec>,
}

/// An address that is asked by GET, without any credential, and without following redirects.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct GenomicsCloudSpec {
    /// The address: https, the name of a host, a port if it is not 443, and a path.
    #[x_kube(validation = Rule::new("self.matches('^https://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?$')").message("genomicsCloud.url must be like https://clc.example.org:8443/path: https, the name of a host in lower case, no user, query or fragment"))]
    #[schemars(length(min = 1, max = 512))]
    pub url: String,

    /// The HTTP status that tells that it is as it should be. Default: 200.
    #[serde(default = "ok")]
    #[schemars(range(min = 100, max = 599), transform = crate::settings::without_default)]
    pub expected_status: u16,
}

impl GenomicsCloudSpec {
    /// Host and port as they are written in the address.
    pub fn authority(&self) -> &str {
        let rest = self.url.strip_prefix("https://").unwrap_or_default();
        rest.split('/').next().unwrap_or_default()
    }
}

fn ok() -> u16 {
    200
}

/// One thing that the key was proven to do.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Capability {
    /// Valid: tried, and it works. Invalid: tried, and it does not. Pending: not known yet. NotConfigured: not tried, because the spec does
    /// not ask for it or the policy does not grant it.
    pub state: CapabilityState,
    /// What was tried, and what to do when it failed.
    pub message: String,
}

/// State of a capability.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum CapabilityState {
    Valid,
    Invalid,
    Pending,
    NotConfigured,
}
