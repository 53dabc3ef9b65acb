//! Counts the answers that ask to slow down: the SDK retries them, so a call that succeeded may hide several.

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::FinalizerInterceptorContextRef;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;

use super::error::class;
use crate::telemetry::meters;
use crate::vocabulary::problem::Class;

/// Watches the answers of one service.
#[derive(Debug)]
pub(super) struct Throttles(pub(super) &'static str);

impl Intercept for Throttles {
    fn name(&self) -> &'static str {
        "Throttles"
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if context.response().is_some_and(|response| asks(response.status().as_u16(), response.body().bytes())) {
            meters().throttled(self.0);
        }
        Ok(())
    }
}

/// Whether an answer asks to slow down. IAM and STS do so with the status 400.
fn asks(status: u16, body: Option<&[u8]>) -> bool {
    if status < 400 {
        return false;
    }
    let text = String::from_utf8_lossy(body.unwrap_or_default());
    let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>")).map_or("", |(code, _)| code);
    class(code, status, None) == Class::Throttled
}

#[cfg(test)]
mod tests {
    use super::asks;

    #[test]
    fn only_answers_that_ask_to_slow_down_count() {
        let iam = b"<ErrorResponse><Error><Type>Sender</Type><Code>Throttling</Code></Error></ErrorResponse>";
        for (status, body, expected) in [
            (400, &iam[..], true),
            (503, b"<Error><Code>SlowDown</Code></Error>", true),
            (429, b"", true),
            (503, b"<Error><Code>ServiceUnavailable</Code></Error>", false),
            (400, b"<Error><Code>MalformedXML</Code></Error>", false),
            (200, b"<Code>SlowDown</Code>", false),
        ] {
            assert_eq!(asks(status, Some(body)), expected, "{status} {}", String::from_utf8_lossy(body));
        }
        assert!(!asks(503, None));
    }
}
