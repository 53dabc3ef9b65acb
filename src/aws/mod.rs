//! Reads from and writes to AWS.
//!
//! `sdk` defines how a call is made; the calls for a bucket's settings are in `settings::*::wire`.

mod bucket;
mod existing;
mod from_here;
mod key;
mod observe;
mod policy;
mod probe;
mod sessions;
mod user;

use std::time::Duration;

use tokio::time::Instant;

use crate::desired::Account;
use crate::sdk::{BucketCalls, Sdk};
use crate::vocabulary::problem::{Class, Problem};

pub use from_here::FromHere;
pub use key::IssueError;
pub use sessions::Sessions;

/// How long a failed sign-in is not retried, so that many objects do not retry at once.
const SIGN_IN_PAUSE: Duration = Duration::from_secs(5);
/// How long one object waits for another object's sign-in: longer than the longest call.
const SIGN_IN_WAIT: Duration = Duration::from_secs(40);

/// The operator's access to AWS.
pub struct Aws {
    sdk: Sdk,
    account: tokio::sync::Mutex<SignIn>,
}

enum SignIn {
    NotTried,
    Failed(Instant, Problem),
    Done(Identity),
}

/// The identity that the operator is signed in as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The account.
    pub account: Account,
    /// ARN of the user or role.
    pub arn: String,
}

impl Aws {
    /// Uses `sdk`; does not sign in yet.
    pub fn new(sdk: Sdk) -> Self {
        Self { sdk, account: tokio::sync::Mutex::new(SignIn::NotTried) }
    }

    /// The identity of the credentials; read once. A call for one object that hangs blocks no other object.
    pub async fn identity(&self) -> Result<Identity, Problem> {
        let Ok(mut sign_in) = tokio::time::timeout(SIGN_IN_WAIT, self.account.lock()).await else {
            return self.ask_identity().await;
        };
        match &*sign_in {
            SignIn::Done(identity) => return Ok(identity.clone()),
            SignIn::Failed(when, problem) if when.elapsed() < SIGN_IN_PAUSE => return Err(problem.clone()),
            SignIn::Failed(..) | SignIn::NotTried => {}
        }
        let identity = self.ask_identity().await;
        *sign_in = match &identity {
            Ok(identity) => SignIn::Done(identity.clone()),
            Err(problem) => SignIn::Failed(Instant::now(), problem.clone()),
        };
        identity
    }

    async fn ask_identity(&self) -> Result<Identity, Problem> {
        let answer = self.sdk.call("sts:GetCallerIdentity", self.sdk.sts.get_caller_identity().send()).await;
        answer.and_then(|identity| {
            let arn = identity.arn.unwrap_or_default();
            match (arn.split(':').nth(1), identity.account) {
                (Some(partition), Some(id)) => {
                    let account = Account { id, partition: partition.to_owned() };
                    Ok(Identity { account, arn })
                }
                _ => Err(Problem::new(
                    Class::Refused,
                    "sts:GetCallerIdentity",
                    "NoAccount",
                    format!("unexpected identity {arn:?}"),
                )),
            }
        })
    }

    /// Calls on `name`, a bucket in `region` that must belong to `account`.
    pub fn bucket<'a>(&'a self, region: &str, name: &'a str, account: &'a str) -> BucketCalls<'a> {
        self.sdk.bucket(region, name, account)
    }
}

#[cfg(test)]
mod tests {
    use aws_config::{BehaviorVersion, Region, SdkConfig};

    use super::*;

    /// Time is virtual: the test waits for nothing.
    #[tokio::test(start_paused = true)]
    async fn a_sign_in_that_hangs_holds_up_no_other() {
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("us-east-1"))
            .endpoint_url("http://127.0.0.1:1")
            .build();
        let aws = Aws::new(Sdk::new(config));
        let _hangs = aws.account.lock().await;
        assert!(aws.identity().await.is_err(), "it asks by itself, and here nothing answers");
    }
}
