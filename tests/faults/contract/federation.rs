//! Federation tokens: they have the permissions of their user, and outlive its key.

use aws_sdk_s3::config::SharedCredentialsProvider;
use serde_json::{Value, json};

use super::{Checks, Lab, REGION, cases, credentials, policy, statement};
use crate::model::Pair;
use crate::model::client::code;

cases! {
    a_token_needs_the_right_to_ask_for_it,
    a_token_has_what_user_and_session_allow,
    a_token_outlives_its_key,
    a_denial_of_the_user_denies_its_tokens,
    tokens_are_denied_by_their_time,
    a_denial_of_tokens_denies_no_key,
    a_token_is_not_for_iam,
}

/// The case's bucket and a user that may do these things and request tokens; its name, key and a token.
async fn token(lab: &Lab, session: &Value) -> (String, Pair, SharedCredentialsProvider) {
    lab.new_bucket().await;
    let user = lab.new_user().await;
    lab.put_policy(&user, &granted(&[])).await;
    let (pair, key) = lab.new_key(&user).await;
    let asked = lab.sts_as(&key).get_federation_token().name("t").policy(session.to_string()).duration_seconds(900);
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

async fn list(lab: &Lab, key: &SharedCredentialsProvider) -> String {
    code(&lab.s3_as(key, REGION).list_objects_v2().bucket(lab.bucket()).send().await)
}

async fn a_token_needs_the_right_to_ask_for_it(lab: Lab, checks: &mut Checks) {
    let (_, key) = lab.user_with(&policy(&[statement("Allow", "s3:*", "*")])).await;
    checks.is("code", code(&lab.sts_as(&key).get_federation_token().name("t").send().await), "AccessDenied");
}

async fn a_token_has_what_user_and_session_allow(lab: Lab, checks: &mut Checks) {
    let (_, _, token) = token(&lab, &everything()).await;
    checks.is("both", list(&lab, &token).await, "");
    let tags = lab.s3_as(&token, REGION).get_bucket_tagging().bucket(lab.bucket()).send().await;
    checks.is("only the session", code(&tags), "AccessDenied");
    let identity = lab.sts_as(&token).get_caller_identity().send().await.unwrap();
    let arn = format!("arn:aws:sts::{}:federated-user/t", lab.account);
    checks.is("identity", identity.arn(), Some(arn.as_str()));
}

async fn a_token_outlives_its_key(lab: Lab, checks: &mut Checks) {
    let (user, key, token) = token(&lab, &everything()).await;
    lab.iam().delete_access_key().user_name(&user).access_key_id(&key.id).send().await.unwrap();
    checks.is("key", list(&lab, &credentials(&key, None)).await, "InvalidAccessKeyId");
    checks.is("token", list(&lab, &token).await, "");
}

async fn a_denial_of_the_user_denies_its_tokens(lab: Lab, checks: &mut Checks) {
    let (user, _, token) = token(&lab, &everything()).await;
    lab.put_policy(&user, &granted(&[statement("Deny", "*", "*")])).await;
    checks.is("token", list(&lab, &token).await, "AccessDenied");
}

/// The permissions of the user, except for tokens from before that time.
fn granted_since(time: &str) -> Value {
    let condition = json!({ "DateLessThan": { "aws:TokenIssueTime": time } });
    granted(&[json!({ "Effect": "Deny", "Action": "*", "Resource": "*", "Condition": condition })])
}

async fn tokens_are_denied_by_their_time(lab: Lab, checks: &mut Checks) {
    let (user, _, token) = token(&lab, &everything()).await;
    for (time, denied) in [("2000-01-01T00:00:00Z", ""), ("2100-01-01T00:00:00Z", "AccessDenied")] {
        lab.put_policy(&user, &granted_since(time)).await;
        checks.is(time, list(&lab, &token).await, denied);
    }
}

async fn a_denial_of_tokens_denies_no_key(lab: Lab, checks: &mut Checks) {
    lab.new_bucket().await;
    let (_, key) = lab.user_with(&granted_since("2100-01-01T00:00:00Z")).await;
    checks.is("the key itself", list(&lab, &key).await, "");
}

async fn a_token_is_not_for_iam(lab: Lab, checks: &mut Checks) {
    let (user, _, token) = token(&lab, &everything()).await;
    checks.is("code", code(&lab.iam_as(&token).get_user().user_name(user).send().await), "InvalidClientTokenId");
}
