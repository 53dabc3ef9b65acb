//! Failures of the SDK, mapped to classes (codes: docs/reference.md, "What AWS answers").

use std::error::Error;

use aws_sdk_sts::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_types::error::ErrorMetadata;
use aws_smithy_types::error::operation::BuildError;

use crate::vocabulary::problem::{Class, Problem};

/// The call may still have been executed.
const NOT_UNDERSTOOD: &str = "the answer could not be understood";

/// Maps one failure.
pub(crate) fn problem<E: ProvideErrorMetadata + Error + 'static>(action: &str, failure: &SdkError<E, HttpResponse>) -> Problem {
    match failure {
        SdkError::ServiceError(answer) => {
            let (status, region) = (answer.raw().status().as_u16(), answer.raw().headers().get("x-amz-bucket-region"));
            if status < 300 {
                return Problem::new(Class::Unavailable, action, "BadResponse", NOT_UNDERSTOOD);
            }
            let code = answer.err().code().map_or_else(|| format!("HTTP {status}"), str::to_owned);
            let message = answer.err().message().unwrap_or_default();
            Problem::new(class(&code, status, region), action, code, message)
        }
        SdkError::TimeoutError(_) => Problem::new(Class::Unavailable, action, "Timeout", "no answer in time"),
        SdkError::DispatchFailure(failure) => {
            let Some(error) = failure.as_connector_error() else { return unsent(action, &[]) };
            role_not_assumed(error).unwrap_or_else(|| unsent(action, &chain(error)))
        }
        SdkError::ResponseError(_) => Problem::new(Class::Unavailable, action, "BadResponse", NOT_UNDERSTOOD),
        // A value that no request can contain, now or later.
        SdkError::ConstructionFailure(_) => {
            let text = failure.source().map(|error| root_cause(error).to_string()).unwrap_or_default();
            Problem::new(Class::Refused, action, "InvalidRequest", text)
        }
        _ => Problem::new(Class::Unavailable, action, "Unknown", "the call failed in an unknown way"),
    }
}

/// A request that was not sent, or got no answer. Each text is the cause of the one before.
fn unsent(action: &str, texts: &[String]) -> Problem {
    let root = texts.last().map(|root| meaning(root)).unwrap_or_default();
    if let Some(why) = no_credentials(texts, root) {
        return Problem::new(Class::BadKey, action, "NoCredentials", why);
    }
    let advice = if root.to_lowercase().contains("certificate") { "; for a private CA set AWS_CA_BUNDLE" } else { "" };
    Problem::new(Class::Unavailable, action, "Unreachable", format!("{root}{advice}"))
}

/// Why there are no credentials, if the texts say so. The SDK lists every source that it has tried, and names the last one
/// alone if that one answered: what it says about the instance metadata helps no one who has no such instance.
fn no_credentials(texts: &[String], root: &str) -> Option<String> {
    let said = texts.join("\n").to_lowercase();
    let says = |text: &str| said.contains(text);
    let unsupported = |what: &str| Some(format!("the profile uses {what}, which this program does not support"));
    match () {
        () if says("feature(s) enabled: sso") => unsupported("IAM Identity Center (SSO)"),
        () if says("feature(s) enabled: credentials-process") => unsupported("credential_process"),
        () if says("no credentials found in chain") || says("imds is disabled") => {
            Some("neither the environment nor a profile nor a role has AWS credentials".to_owned())
        }
        () if says("credential") || says("identity") => {
            Some(format!("no usable AWS credentials: {}", root.lines().next().unwrap_or_default()))
        }
        () => None,
    }
}

/// A request that was not sent because the operator could not assume a role for its credentials: the answer of STS.
fn role_not_assumed(error: &(dyn Error + 'static)) -> Option<Problem> {
    let metadata = root_cause(error).downcast_ref::<ErrorMetadata>()?;
    let (code, message) = (metadata.code()?, metadata.message().unwrap_or_default());
    Some(Problem::new(class(code, 0, None), "sts:AssumeRole", code, message))
}

/// What the HTTP client says, and what that means.
const MEANINGS: [(&str, &str); 6] = [
    ("connection closed before message completed", "the other side closed the connection without an answer"),
    ("end of file before message length reached", "the other side closed the connection before the end of the answer"),
    ("unexpected eof", "the other side closed the connection before the end of the answer"),
    ("minimum throughput was specified", "the other side stopped sending or receiving"),
    ("invalid HTTP version parsed", "the other side does not speak HTTP"),
    ("Connection reset by peer", "the other side broke the connection"),
];

/// Why a connection failed, in words that need no knowledge of the HTTP client.
pub(crate) fn cause(error: &(dyn Error + 'static)) -> String {
    meaning(&root_cause(error).to_string()).to_owned()
}

fn meaning(text: &str) -> &str {
    MEANINGS.iter().find(|(part, _)| text.contains(part)).map_or(text, |(_, meaning)| meaning)
}

/// The texts of an error and its causes.
fn chain(error: &(dyn Error + 'static)) -> Vec<String> {
    std::iter::successors(Some(error), |&error| error.source()).map(ToString::to_string).collect()
}

pub(super) fn root_cause<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error
}

/// The class of an error code. Sources: the S3 and IAM API references, and facts collected in docs/reference.md.
pub(super) fn class(code: &str, status: u16, region: Option<&str>) -> Class {
    let elsewhere = || Class::Elsewhere(region.map(str::to_owned));
    match code {
        "PermanentRedirect" | "TemporaryRedirect" | "AuthorizationHeaderMalformed" | "IncorrectEndpoint" => elsewhere(),
        "NoSuchBucket" | "NoSuchEntity" | "NotFound" | "NoSuchKey" | "NoSuchUpload" => Class::Missing,
        "BucketAlreadyOwnedByYou" | "EntityAlreadyExists" => Class::Exists,
        "BucketAlreadyExists" => Class::NameTaken,
        "AccessDenied" | "AccessDeniedException" | "AllAccessDisabled" | "UnauthorizedAccess" | "MethodNotAllowed" => {
            Class::Denied
        }
        "InvalidClientTokenId"
        | "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "TokenRefreshRequired"
        | "UnrecognizedClientException"
        | "InvalidToken"
        | "OptInRequired"
        | "RegionDisabledException"
        | "RequestTimeTooSkewed"
        | "RequestExpired"
        | "NotSignedUp" => Class::BadKey,
        "BucketNotEmpty" | "DeleteConflict" => Class::InUse,
        "OperationAborted" | "ConcurrentModification" | "EntityTemporarilyUnmodifiable" | "ConditionalRequestConflict" => {
            Class::Conflict
        }
        "LimitExceeded" | "TooManyBuckets" => Class::Quota,
        "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "TooManyRequestsException"
        | "RequestLimitExceeded"
        | "BandwidthLimitExceeded"
        | "SlowDown"
        | "PriorRequestNotComplete" => Class::Throttled,
        "InternalError"
        | "InternalFailure"
        | "ServiceUnavailable"
        | "ServiceFailure"
        | "ServiceFailureException"
        | "RequestTimeout" => Class::Unavailable,
        _ => match status {
            301 | 307 => elsewhere(),
            400 if region.is_some() => elsewhere(),
            403 => Class::Denied,
            404 => Class::Missing,
            429 => Class::Throttled,
            500.. => Class::Unavailable,
            _ => Class::Refused,
        },
    }
}

/// "Not set" is an answer, not a failure: one of `codes` becomes `None`.
pub(crate) fn unset<T>(answer: Result<T, Problem>, codes: &[&str]) -> Result<Option<T>, Problem> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(problem) if codes.contains(&problem.code.as_str()) => Ok(None),
        Err(problem) => Err(problem),
    }
}

/// AWS would also refuse a request that the SDK refuses to build.
pub(crate) fn build<T>(action: &str, built: Result<T, BuildError>) -> Result<T, Problem> {
    built.map_err(|error| Problem::new(Class::Refused, action, "InvalidRequest", error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_before_status() {
        let cases = [
            ("BucketAlreadyOwnedByYou", 409, None, Class::Exists),
            ("BucketAlreadyExists", 409, None, Class::NameTaken),
            ("NoSuchBucket", 404, None, Class::Missing),
            ("OperationAborted", 409, None, Class::Conflict),
            ("LimitExceeded", 409, None, Class::Quota),
            ("Throttling", 400, None, Class::Throttled),
            ("SlowDown", 503, None, Class::Throttled),
            ("InvalidClientTokenId", 403, None, Class::BadKey),
            ("AccessDenied", 403, None, Class::Denied),
            ("PermanentRedirect", 301, Some("eu-west-1"), Class::Elsewhere(Some("eu-west-1".into()))),
            ("HTTP 400", 400, Some("eu-south-2"), Class::Elsewhere(Some("eu-south-2".into()))),
            ("InvalidToken", 400, None, Class::BadKey),
            ("OptInRequired", 403, None, Class::BadKey),
            ("SomethingNew", 400, None, Class::Refused),
            ("SomethingNew", 403, None, Class::Denied),
            ("SomethingNew", 500, None, Class::Unavailable),
            ("SomethingNew", 599, None, Class::Unavailable),
            ("HTTP 429", 429, None, Class::Throttled),
        ];
        for (code, status, region, expected) in cases {
            assert_eq!(class(code, status, region), expected, "{code} {status}");
        }
    }

    /// Otherwise the operator would retry it forever, and blame AWS.
    #[test]
    fn what_no_request_can_carry_is_refused() {
        type Failure = SdkError<aws_sdk_sts::operation::get_caller_identity::GetCallerIdentityError, HttpResponse>;
        let found = problem("s3:PutLifecycleConfiguration", &Failure::construction_failure("a date before the year 1"));
        assert_eq!((found.class, found.message.as_str()), (Class::Refused, "a date before the year 1"));
    }

    #[test]
    fn unset_is_an_answer_and_a_missing_bucket_is_not() {
        let answer = |class, code: &str| Err::<(), _>(Problem::new(class, "s3:GetBucketCORS", code, ""));
        assert_eq!(unset(answer(Class::Missing, "NoSuchCORSConfiguration"), &["NoSuchCORSConfiguration"]), Ok(None));
        assert!(unset(answer(Class::Missing, "NoSuchBucket"), &["NoSuchCORSConfiguration"]).is_err());
    }

    #[test]
    fn missing_credentials_say_what_to_set() {
        let none = "neither the environment nor a profile nor a role has AWS credentials";
        let table = [
            (&["no credentials found in chain. Attempted:\n  Environment: the credential provider was not enabled"][..], none),
            (&["request forbidden: IMDS is disabled or the caller has insufficient permissions"], none),
            (&["an error occurred while loading credentials", "IMDS is disabled"], none),
            (
                &["ProfileFile provider could not be built: This behavior requires following cargo feature(s) enabled: sso. "],
                "the profile uses IAM Identity Center (SSO), which this program does not support",
            ),
            (&["the credential provider was not enabled"], "no usable AWS credentials: the credential provider was not enabled"),
            (&["an error occurred while loading credentials", "timed out"], "no usable AWS credentials: timed out"),
        ];
        for (texts, expected) in table {
            let problem = unsent("sts:GetCallerIdentity", &owned(texts));
            assert_eq!((problem.class.clone(), problem.message.as_str()), (Class::BadKey, expected));
            assert!(problem.to_string().contains("AWS_ACCESS_KEY_ID"), "{problem}");
        }
        assert_eq!(unsent("sts:GetCallerIdentity", &owned(&["Connection refused"])).class, Class::Unavailable);
    }

    #[test]
    fn a_broken_connection_is_described_in_words() {
        let problem = unsent("s3:GetObject", &owned(&["dispatch failure", "connection closed before message completed"]));
        assert_eq!((problem.code.as_str(), problem.class), ("Unreachable", Class::Unavailable));
        assert_eq!(problem.message, "the other side closed the connection without an answer");
    }

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }
}
