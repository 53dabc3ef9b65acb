//! One session for each account: its clients, credentials and budget are shared by all connections that name it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_config::SdkConfig;

use super::Aws;
use crate::api::{Budget, SignIn};
use crate::credentials::AccountKey;
use crate::sdk::Sdk;

/// The sessions, by name of the `AWSAccount`.
pub struct Sessions {
    environment: SdkConfig,
    open: Mutex<HashMap<String, Session>>,
}

struct Session {
    sign_in: SignIn,
    budget: Budget,
    key: Option<AccountKey>,
    aws: Arc<Aws>,
}

impl Sessions {
    /// No session yet; `environment` is what the operator itself was started with.
    pub fn new(environment: SdkConfig) -> Self {
        Self { environment, open: Mutex::default() }
    }

    /// The session of the account `name`, if it was opened for just this sign-in: its key is then known already.
    pub fn known(&self, name: &str, sign_in: &SignIn, budget: Budget) -> Option<Arc<Aws>> {
        let open = self.lock();
        let session = open.get(name).filter(|session| session.sign_in == *sign_in && session.budget == budget);
        session.map(|session| session.aws.clone())
    }

    /// Opens the session of the account `name`, or keeps the one that is open when nothing about it has changed.
    pub async fn open(&self, name: &str, sign_in: &SignIn, budget: Budget, key: Option<AccountKey>) -> Arc<Aws> {
        let same = |session: &Session| session.sign_in == *sign_in && session.budget == budget && session.key == key;
        if let Some(session) = self.lock().get(name).filter(|session| same(session)) {
            return session.aws.clone();
        }
        let aws = Arc::new(Aws::new(Sdk::for_account(&self.environment, sign_in, key.as_ref(), budget).await));
        let mut open = self.lock();
        // Two may have come here at once: the first one's session serves both.
        if let Some(session) = open.get(name).filter(|session| same(session)) {
            return session.aws.clone();
        }
        open.insert(name.to_owned(), Session { sign_in: sign_in.clone(), budget, key, aws: aws.clone() });
        aws
    }

    /// Forgets an account that is gone.
    pub fn close(&self, name: &str) {
        self.lock().remove(name);
    }

    /// How many are open.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
