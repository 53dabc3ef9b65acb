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
    /// No session yet; `environment` is the configuration of the operator process.
    pub fn new(environment: SdkConfig) -> Self {
        Self { environment, open: Mutex::default() }
    }

    /// The session of the account `name`, if it was opened for the same sign-in: then its key is already known.
    pub fn known(&self, name: &str, sign_in: &SignIn, budget: Budget) -> Option<Arc<Aws>> {
        let open = self.lock();
        let session = open.get(name).filter(|session| session.sign_in == *sign_in && session.budget == budget);
        session.map(|session| session.aws.clone())
    }

    /// Opens the session of the account `name`, or keeps the open one if nothing has changed.
    pub async fn open(&self, name: &str, sign_in: &SignIn, budget: Budget, key: Option<AccountKey>) -> Arc<Aws> {
        let same = |session: &Session| session.sign_in == *sign_in && session.budget == budget && session.key == key;
        if let Some(session) = self.lock().get(name).filter(|session| same(session)) {
            return session.aws.clone();
        }
        let aws = Arc::new(Aws::new(Sdk::for_account(&self.environment, sign_in, key.as_ref(), budget).await));
        let mut open = self.lock();
        // Two callers may arrive here at once: both use the first one's session.
        if let Some(session) = open.get(name).filter(|session| same(session)) {
            return session.aws.clone();
        }
        open.insert(name.to_owned(), Session { sign_in: sign_in.clone(), budget, key, aws: aws.clone() });
        aws
    }

    /// Forgets an account that was deleted.
    pub fn close(&self, name: &str) {
        self.lock().remove(name);
    }

    /// The number of open sessions.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
