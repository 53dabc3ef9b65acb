//! What a person can try from their own machine: the key of a connection, with nothing of the operator.

use aws_config::SdkConfig;

use crate::credentials::KeyPair;
use crate::sdk::{Sdk, list_keys};
use crate::vocabulary::problem::Problem;
use crate::vocabulary::sign_in::{AccountCredentials, Budget, SignIn};

/// Calls from this machine.
pub struct FromHere {
    sdk: Sdk,
}

impl FromHere {
    /// Uses the network of `environment`, and of `sign_in` only the region and the endpoints.
    pub async fn new(environment: &SdkConfig, sign_in: &SignIn) -> Self {
        let sign_in = SignIn { credentials: AccountCredentials::default(), ..sign_in.clone() };
        Self { sdk: Sdk::for_account(environment, &sign_in, None, Budget::default()).await }
    }

    /// ARN of the owner of `key`, by STS of `region`.
    pub async fn owner(&self, key: &KeyPair, region: &str) -> Result<String, Problem> {
        let (_, sts) = self.sdk.with_key(key, region);
        let identity = self.sdk.call("sts:GetCallerIdentity", sts.get_caller_identity().send()).await?;
        Ok(identity.arn.unwrap_or_default())
    }

    /// Lists one object of `bucket` under `prefix` with `key`.
    pub async fn list(&self, key: &KeyPair, region: &str, bucket: &str, prefix: &str) -> Result<(), Problem> {
        let (s3, _) = self.sdk.with_key(key, region);
        let call = list_keys(&s3, bucket, prefix).max_keys(1);
        self.sdk.call("s3:ListBucket", call.send()).await.map(drop)
    }
}
