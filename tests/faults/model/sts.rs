//! STS: the caller's identity, and federation tokens.

use jiff::SignedDuration;

use super::caller::Caller;
use super::evaluate::Effect;
use super::state::{PARTITION, Session, State};
use super::wire::{Answer, element, refuse, result};
use super::{Call, unknown};

pub(super) fn answer(state: &mut State, call: &Call<'_>, caller: &Caller) -> Answer {
    match call.action.as_str() {
        "sts:GetCallerIdentity" => {
            let inner = element("Arn", &caller.arn) + &element("UserId", &caller.id) + &element("Account", &caller.account);
            result(&call.action, &inner)
        }
        "sts:GetFederationToken" => federation_token(state, call, caller),
        _ => unknown(call),
    }
}

fn federation_token(state: &mut State, call: &Call<'_>, caller: &Caller) -> Answer {
    let name = call.parameter("Name").unwrap_or_default();
    let arn = format!("arn:{PARTITION}:sts::{}:federated-user/{name}", caller.account);
    let Some(user) = caller.user() else {
        return refuse(403, "AccessDenied", "Cannot call GetFederationToken with session credentials");
    };
    if caller.may(&call.action, &arn, &[], call.now) != Effect::Allow {
        return refuse(403, "AccessDenied", format!("User: {} is not authorized to perform: {}", caller.arn, call.action));
    }
    let policy = match call.parameter("Policy").map(serde_json::from_str) {
        Some(Err(_)) => return refuse(400, "MalformedPolicyDocument", "The policy is not in the valid JSON format."),
        Some(Ok(policy)) => Some(policy),
        None => None,
    };
    let seconds = call.parameter("DurationSeconds").and_then(|seconds| seconds.parse().ok()).unwrap_or(43_200);
    if !(900..=129_600).contains(&seconds) {
        return refuse(400, "ValidationError", "durationSeconds must be between 900 and 129600");
    }
    let (id, secret, token) = (state.id("ASIA", 16), state.secret(), state.secret());
    let session = Session {
        secret,
        token,
        name: name.to_owned(),
        account: caller.account.clone(),
        user: user.to_owned(),
        policy,
        issued: call.now,
        expires: call.now + SignedDuration::from_secs(seconds),
    };
    let expires = session.expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let credentials = element("AccessKeyId", &id)
        + &element("SecretAccessKey", &session.secret)
        + &element("SessionToken", &session.token)
        + &element("Expiration", &expires);
    let federated = element("FederatedUserId", &format!("{}:{name}", caller.account)) + &element("Arn", &arn);
    state.sessions.insert(id, session);
    result(
        &call.action,
        &format!(
            "<Credentials>{credentials}</Credentials><FederatedUser>{federated}</FederatedUser><PackedPolicySize>1</PackedPolicySize>"
        ),
    )
}
