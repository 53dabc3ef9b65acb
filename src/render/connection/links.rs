//! The chain of a connection: spec, account, bucket, policy, user, key, Secret, verification. Each link depends on
//! those before it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde::Serialize;

use super::act;
use crate::api::{BucketConnection, BucketConnectionStatus, KeyPhase};
use crate::vocabulary::conditions::{ConditionType, Reason, find};

/// One part of the connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Link {
    /// spec, account, bucket, policy, user, key, secret, verified, access, rotation or revocation.
    pub link: &'static str,
    /// Its state.
    pub state: State,
    /// The name of what it is about, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The reason of its condition, if it is not ok.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The message of its condition, if it is not ok.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What to do, if it is broken.
    #[serde(rename = "do", skip_serializing_if = "Option::is_none")]
    pub act: Option<String>,
}

/// State of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, strum::Display)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// As specified.
    #[strum(serialize = "ok")]
    Ok,
    /// Waits for another link, or work is in progress.
    #[strum(serialize = "waiting")]
    Waiting,
    /// Not as specified.
    #[strum(serialize = "broken")]
    Broken,
    /// Not known.
    #[strum(serialize = "unknown")]
    Unknown,
    /// `spec.management` only observes it.
    #[strum(serialize = "observed")]
    Observed,
    /// The spec does not manage it.
    #[strum(serialize = "not managed")]
    NotManaged,
}

impl Link {
    fn fine(link: &'static str, name: Option<String>) -> Self {
        Self { link, state: State::Ok, name, reason: None, message: None, act: None }
    }

    fn because(self, state: State, message: &str) -> Self {
        Self { state, message: Some(message.to_owned()), ..self }
    }

    /// The link that `condition` describes.
    fn of(link: &'static str, name: Option<String>, condition: Option<&Condition>) -> Self {
        let fine = Self::fine(link, name);
        let Some(condition) = condition else { return fine.because(State::Unknown, "not reconciled yet") };
        let state = state(condition);
        if state == State::Ok {
            return fine;
        }
        let act = act(&condition.reason).filter(|_| matches!(state, State::Broken | State::Unknown));
        Self { state, reason: Some(condition.reason.clone()), message: Some(condition.message.clone()), act, ..fine }
    }
}

/// The state that a condition says.
fn state(condition: &Condition) -> State {
    use Reason::{Deleting, KeyPropagating, NotManaged, Observed, Overlapping, Progressing, Rotating, Waiting};
    match (condition.status.as_str(), condition.reason.parse()) {
        (_, Ok(NotManaged)) => State::NotManaged,
        (_, Ok(Observed)) => State::Observed,
        ("True", _) => State::Ok,
        (_, Ok(Deleting | KeyPropagating | Overlapping | Progressing | Rotating | Waiting)) => State::Waiting,
        ("False", _) => State::Broken,
        _ => State::Unknown,
    }
}

/// The chain of `object`.
pub(super) fn links(object: &BucketConnection, status: &BucketConnectionStatus, unreadable: Option<&str>) -> Vec<Link> {
    let condition = |kind| find(&status.conditions, kind);
    let memory = &status.memory;
    let part = |link, name, kind| Link::of(link, name, condition(kind));
    let account = memory.account_id.as_ref().map_or_else(String::new, |id| format!(" ({id})"));
    let account = format!("AWSAccount {}{account}", object.spec.account_ref.name);
    let policy = memory.policy.as_ref().map(|policy| format!("{:?} {}", policy.kind, policy.name));
    let verified = memory.credentials.as_ref().and_then(|credentials| credentials.verified_at.as_ref());
    let mut links = vec![
        spec(object, status, unreadable),
        part("account", Some(account), ConditionType::AccountReady),
        bucket(status),
        part("policy", policy, ConditionType::PolicyInSync),
        part("user", memory.user.as_ref().map(|user| user.arn.clone()), ConditionType::UserReady),
    ];
    links.extend(credentials(object, status));
    links.push(part("verified", verified.map(|at| at.0.to_string()), ConditionType::Verified));
    // These three exist only in some connections.
    let groups = memory.access.as_ref().map(|access| access.groups.join(", ")).filter(|groups| !groups.is_empty());
    links.extend(
        [("access", groups, ConditionType::AccessInSync), ("rotation", None, ConditionType::RotationComplete)]
            .into_iter()
            .chain([("revocation", None, ConditionType::RevocationComplete)])
            .filter(|(_, _, kind)| condition(*kind).is_some_and(|condition| condition.reason != Reason::NotManaged.to_string()))
            .map(|(link, name, kind)| part(link, name, kind)),
    );
    links
}

/// Whether the operator has read the spec and accepts it.
fn spec(object: &BucketConnection, status: &BucketConnectionStatus, unreadable: Option<&str>) -> Link {
    let generation = object.metadata.generation.unwrap_or_default();
    let link = Link::fine("spec", Some(format!("generation {generation}")));
    let ready = find(&status.conditions, ConditionType::Ready);
    if let Some(text) = unreadable {
        let act = act(&Reason::InvalidSpec.to_string());
        let reason = Some(Reason::InvalidSpec.to_string());
        return Link { reason, act, ..link.because(State::Broken, &format!("this version cannot read the object: {text}")) };
    }
    match (ready, status.observed_generation) {
        (Some(ready), _) if ready.reason == Reason::InvalidSpec.to_string() => Link::of(link.link, link.name, Some(ready)),
        _ if object.metadata.deletion_timestamp.is_some() => link.because(State::Waiting, "the object is being deleted"),
        _ if object.spec.suspend => link.because(State::Waiting, "spec.suspend is true: the operator reads and changes nothing"),
        (_, None) => link.because(State::Unknown, "the operator has not reconciled this object yet"),
        (_, Some(seen)) if seen != generation => {
            link.because(State::Waiting, &format!("not reconciled yet; the status is that of generation {seen}"))
        }
        _ => link,
    }
}

/// The bucket has three conditions: the first that is not ok says most.
fn bucket(status: &BucketConnectionStatus) -> Link {
    let kinds = [ConditionType::RegionMatched, ConditionType::BucketReady, ConditionType::CORSInSync];
    let name = status.memory.bucket.as_ref().map(|bucket| format!("{} in {}", bucket.arn, bucket.region));
    let links = kinds.map(|kind| Link::of("bucket", name.clone(), find(&status.conditions, kind)));
    // What is broken explains what waits.
    let rank = |link: &Link| match link.state {
        State::Broken => 0,
        State::Unknown => 1,
        State::Waiting => 2,
        State::Observed => 3,
        State::Ok => 4,
        State::NotManaged => 5,
    };
    links.into_iter().min_by_key(rank).unwrap_or_else(|| Link::fine("bucket", name))
}

/// The key and the Secret share a condition; its reason says which of them it is about.
fn credentials(object: &BucketConnection, status: &BucketConnectionStatus) -> [Link; 2] {
    use Reason::{SecretMissing, SecretNotOwned};
    let credentials = status.memory.credentials.clone().unwrap_or_default();
    let secret = credentials.secret_name.clone().or_else(|| object.spec.existing_secret().map(str::to_owned));
    let condition = find(&status.conditions, ConditionType::CredentialsReady);
    let id = credentials.access_key_id.as_ref().map(|id| match &credentials.identity {
        Some(identity) => format!("{id} of {identity}"),
        None => id.clone(),
    });
    let both = [Link::of("key", id.clone(), condition), Link::of("secret", secret.clone(), condition)];
    let [key, of_secret] = both;
    let about_secret = matches!(condition.map(|condition| condition.reason.parse()), Some(Ok(SecretMissing | SecretNotOwned)))
        || condition.is_some_and(|condition| condition.message.contains(" secrets: "));
    let rejected =
        find(&status.conditions, ConditionType::Verified).filter(|verified| verified.reason == Reason::KeyRejected.to_string());
    let key = match (key.state, rejected, credentials.phase) {
        (State::Ok, Some(verified), _) => Link::of("key", id, Some(verified)),
        (State::Ok, None, Some(KeyPhase::Issuing | KeyPhase::Propagating)) => {
            key.because(State::Waiting, "not all of AWS knows it yet")
        }
        (State::Broken | State::Unknown, ..) if about_secret => match id {
            Some(_) => Link::fine("key", id),
            None => Link::fine("key", None).because(State::Waiting, "waits for the Secret"),
        },
        _ => key,
    };
    let secret = match of_secret.state {
        State::Broken | State::Unknown if !about_secret && condition.is_some() => {
            Link::fine("secret", secret).because(State::Waiting, "waits for the key")
        }
        _ => of_secret,
    };
    [key, secret]
}
