//! What is asked of AWS and told to it: reads and writes.
//!
//! How a call is made stands in `sdk`; the calls for a bucket's settings stand in `settings::*::wire`.

mod bucket;
mod key;
mod observe;
mod policy;
mod probe;
mod sessions;
mod user;

use std::time::Duration;

use tokio::time::Instant;

use crate::desired::Account;
use crate::problem::{Class, Problem};
use crate::sdk::{BucketCalls, Sdk};

pub use key::IssueError;
pub use observe::Look;
pub use sessions::Sessions;

/// For how long a failed sign-in is not tried again, so that many objects do not try at once.
const SIGN_IN_PAUSE: Duration = Duration::from_secs(5);

/// The operator's way to AWS.
pub struct Aws {
    sdk: Sdk,
    account: tokio::sync::Mutex<SignIn>,
}

enum SignIn {
    NotTried,
    Failed(Instant, Problem),
    Done(Identity),
}

/// Whom the operator is signed in as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The account.
    pub account: Account,
    /// ARN of the user or role.
    pub arn: String,
}

impl Aws {
    /// Goes through `sdk`; signs in to nothing yet.
    pub fn new(sdk: Sdk) -> Self {
        Self { sdk, account: tokio::sync::Mutex::new(SignIn::NotTried) }
    }

    /// Whom the credentials belong to; asked once.
    pub async fn identity(&self) -> Result<Identity, Problem> {
        let mut sign_in = self.account.lock().await;
        match &*sign_in {
            SignIn::Done(identity) => return Ok(identity.clone()),
            SignIn::Failed(when, problem) if when.elapsed() < SIGN_IN_PAUSE => return Err(problem.clone()),
            SignIn::Failed(..) | SignIn::NotTried => {}
        }
        let answer = self.sdk.call("sts:GetCallerIdentity", self.sdk.sts.get_caller_identity().send()).await;
        let identity = answer.and_then(|identity| {
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
        });
        *sign_in = match &identity {
            Ok(identity) => SignIn::Done(identity.clone()),
            Err(problem) => SignIn::Failed(Instant::now(), problem.clone()),
        };
        identity
    }

    /// Calls on `name`, a bucket in `region` that must belong to `account`.
    pub fn bucket<'a>(&'a self, region: &str, name: &'a str, account: &'a str) -> BucketCalls<'a> {
        self.sdk.bucket(region, name, account)
    }
}
