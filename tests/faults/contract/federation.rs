//! Federation tokens: they have the permissions of their user, and outlive its key.

use aws_sdk_s3::config::SharedCredentialsProvider;
use serde_json::{Value, json};

use super::{Checks, Harness, cases, credentials, policy, statement};
use crate::support::answers::{Pair, code};

cases! {
    requesting_a_token_needs_permission,
    a_token_allows_what_user_and_session_policy_allow,
    a_token_outlives_its_key,
    a_denial_of_the_user_denies_its_tokens,
    tokens_are_denied_by_their_time,
    a_denial_of_tokens_denies_no_key,
    a_token_is_not_for_iam,
}

/// The case's bucket and a user that may do these things and request tokens; its name, key and a token.
async fn token(harness: &Harness, session: &Value) -> (String, Pair, SharedCredentialsProvider) {
    harness.new_bucket().await;
    let user = harness.new_user().await;
    harness.put_policy(&user, &granted(&[])).await;
    let (pair, key) = harness.new_key(&user).await;
    let asked = harness.sts_as(&key).get_federation_token().name("t").policy(session.to_string()).duration_seconds(900);
    let given = asked.send().await.unwrap().credentials.unwrap();
    let token = Pair { id: given.access_key_id, secret: given.secret_access_key };
    (user, pair, credentials(&token, Some(given.session_token)))
}

fn granted(more: &[Value]) -> Value {
    let mut statements = vec![statement("Allow", "s3:ListBucket", "*"), statement("Allow", "sts:GetFederationToken", "*")];
    statements.extend_from_slice(more);
    policy(&statements)
}

fn everything() -> Value {
    policy(&[statement("Allow", "*", "*")])
}

async fn list(harness: &Harness, key: &SharedCredentialsProvider) -> String {
    code(&harness.s3_as(key, &harness.region).list_objects_v2().bucket(harness.bucket()).send().await)
}

async fn requesting_a_token_needs_permission(harness: Harness, checks: &mut Checks) {
    let (_, key) = harness.user_with(&policy(&[statement("Allow", "s3:*", "*")])).await;
    checks.is("code", code(&harness.sts_as(&key).get_federation_token().name("t").send().await), "AccessDenied");
}

async fn a_token_allows_what_user_and_session_policy_allow(harness: Harness, checks: &mut Checks) {
    let (_, _, token) = token(&harness, &everything()).await;
    checks.is("both", list(&harness, &token).await, "");
    let tags = harness.s3_as(&token, &harness.region).get_bucket_tagging().bucket(harness.bucket()).send().await;
    checks.is("only the session", code(&tags), "AccessDenied");
    let identity = harness.sts_as(&token).get_caller_identity().send().await.unwrap();
    let arn = format!("arn:aws:sts::{}:federated-user/t", harness.account);
    checks.is("identity", identity.arn(), Some(arn.as_str()));
}

async fn a_token_outlives_its_key(harness: Harness, checks: &mut Checks) {
    let (user, key, token) = token(&harness, &everything()).await;
    harness.iam().delete_access_key().user_name(&user).access_key_id(&key.id).send().await.unwrap();
    checks.is("key", list(&harness, &credentials(&key, None)).await, "InvalidAccessKeyId");
    checks.is("token", list(&harness, &token).await, "");
}

async fn a_denial_of_the_user_denies_its_tokens(harness: Harness, checks: &mut Checks) {
    let (user, _, token) = token(&harness, &everything()).await;
    harness.put_policy(&user, &granted(&[statement("Deny", "*", "*")])).await;
    checks.is("token", list(&harness, &token).await, "AccessDenied");
}

/// The permissions of the user, except for tokens from before that time.
fn granted_since(time: &str) -> Value {
    let condition = json!({ "DateLessThan": { "aws:TokenIssueTime": time } });
    granted(&[json!({ "Effect": "Deny", "Action": "*", "Resource": "*", "Condition": condition })])
}

async fn tokens_are_denied_by_their_time(harness: Harness, checks: &mut Checks) {
    let (user, _, token) = token(&harness, &everything()).await;
    for (time, denied) in [("2000-01-01T00:00:00Z", ""), ("2100-01-01T00:00:00Z", "AccessDenied")] {
        harness.put_policy(&user, &granted_since(time)).await;
        checks.is(time, list(&harness, &token).await, denied);
    }
}

async fn a_denial_of_tokens_denies_no_key(harness: Harness, checks: &mut Checks) {
    harness.new_bucket().await;
    let (_, key) = harness.user_with(&granted_since("2100-01-01T00:00:00Z")).await;
    checks.is("the key itself", list(&harness, &key).await, "");
}

async fn a_token_is_not_for_iam(harness: Harness, checks: &mut Checks) {
    let (user, _, token) = token(&harness, &everything()).await;
    checks.is("code", code(&harness.iam_as(&token).get_user().user_name(user).send().await), "InvalidClientTokenId");
}
