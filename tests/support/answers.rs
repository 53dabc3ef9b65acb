//! What the tests of several programs say about AWS: a key, and the error code of an answer.

use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};

/// A key and its secret part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    pub id: String,
    pub secret: String,
}

/// The code of an error; empty for success, `cut` if no answer came, `none` if it had no code.
pub fn code<T, E: ProvideErrorMetadata, R>(answer: &Result<T, SdkError<E, R>>) -> String {
    match answer {
        Ok(_) => String::new(),
        Err(SdkError::ServiceError(error)) => error.err().code().unwrap_or("none").to_owned(),
        Err(SdkError::DispatchFailure(_)) => "cut".to_owned(),
        Err(_) => "other".to_owned(),
    }
}
