//! What AWS itself records as managed, in three tags on the operator's IAM user: `bucketconnection.dev/keys`,
//! `…/secret` and `…/policy`.
//!
//! Status and Secret can both be lost: a cluster is rebuilt from Git, a namespace is restored in another order. The
//! tags stay with the user, and only the operator may tag users under its path. So the operator trusts them if the
//! ownership tag says that the user is managed (docs/decisions/0011-aws-remembers.md).
//!
//! The value of `keys` is a list of `what:value` entries, separated by slashes, in the characters that IAM allows:
//!
//! ```text
//! current:AKIA…/previous:AKIA…:<replaced at>/pending:AKIA…/issuing:<from>:<to>:AKIA….AKIA…/obsolete:AKIA…/revoked:<request>
//! ```
//!
//! Times are Unix seconds; `revoked` is a hash of the revocation request that was carried out last. The other two tags
//! have the names of Secret and policy: once the status is lost, the spec may have other names.

use std::fmt::{self, Display};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Observed, Ownership, Remembered};
use crate::api::{CredentialsStatus, KeyIntent, PendingKey, PolicyType, PreviousKey};
use crate::desired::{Desired, names};
use crate::settings::Reading;
use crate::settings::tags::Tags;
use crate::vocabulary::digest::digest;

/// Longest value of an IAM tag (<https://docs.aws.amazon.com/IAM/latest/UserGuide/id_tags.html>).
const LONGEST: usize = 256;

/// The contents of the tags.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ledger {
    /// The key in the Secret.
    pub current: Option<String>,
    /// The previous key, and when it was replaced.
    pub previous: Option<(String, Timestamp)>,
    /// The pending key.
    pub pending: Option<String>,
    /// Keys whose secret part is lost.
    pub obsolete: Vec<String>,
    /// An attempt to issue a key that is not accounted for: from, to, and the keys that existed before.
    pub issuing: Option<(Timestamp, Timestamp, Vec<String>)>,
    /// Hash of the revocation request that was carried out last.
    pub revoked: Option<String>,
    /// Name of the Secret.
    pub secret: Option<String>,
    /// Kind and name of the policy.
    pub policy: Option<(PolicyType, String)>,
}

impl Ledger {
    /// What `credentials` knows; it does not know the policy.
    pub fn of(credentials: &CredentialsStatus) -> Self {
        let CredentialsStatus {
            access_key_id,
            previous,
            pending,
            obsolete_keys,
            intent,
            last_handled_revoke_at,
            secret_name,
            ..
        } = credentials;
        Self {
            current: access_key_id.clone(),
            previous: previous.as_ref().map(|key| (key.access_key_id.clone(), key.replaced_at.0)),
            pending: pending.as_ref().and_then(|pending| pending.access_key_id.clone()),
            obsolete: obsolete_keys.clone(),
            issuing: intent.as_ref().map(|intent| (intent.since.0, intent.until.0, intent.known_keys.clone())),
            revoked: last_handled_revoke_at.as_deref().map(hash),
            secret: secret_name.clone(),
            policy: None,
        }
    }

    /// Parses the tags of a user.
    pub fn of_tags(tags: &Tags) -> Self {
        let name = tags.get(names::SECRET_TAG).filter(|name| names::is_object_name(name));
        let policy = tags.get(names::POLICY_TAG).and_then(|value| value.split_once('/'));
        let policy = policy.and_then(|(kind, name)| Some((kind.parse().ok()?, name.to_owned())));
        let keys = tags.get(names::KEYS_TAG).map(|value| Self::parse(value)).unwrap_or_default();
        Self { secret: name.cloned(), policy, ..keys }
    }

    /// The tags for this ledger; an unknown value has no tag, so that the existing tag stays.
    pub fn tags(&self) -> Tags {
        let policy = self.policy.as_ref().map(|(kind, name)| format!("{kind}/{name}"));
        let keys = (names::KEYS_TAG, Some(self.to_string()));
        let all = [keys, (names::SECRET_TAG, self.secret.clone()), (names::POLICY_TAG, policy)];
        all.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
    }

    /// Parses the tag `keys`; entries that cannot be read are left out.
    pub fn parse(value: &str) -> Self {
        let mut ledger = Self::default();
        let time = |text: Option<&str>| Timestamp::from_second(text?.parse().ok()?).ok();
        let key = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric()) && !text.is_empty();
        for entry in value.split('/') {
            let mut parts = entry.split(':');
            let (what, id) = (parts.next(), parts.next().unwrap_or_default());
            match what {
                Some("current") if key(id) => ledger.current = Some(id.to_owned()),
                Some("previous") if key(id) => ledger.previous = time(parts.next()).map(|at| (id.to_owned(), at)),
                Some("pending") if key(id) => ledger.pending = Some(id.to_owned()),
                Some("obsolete") if key(id) => ledger.obsolete.push(id.to_owned()),
                Some("issuing") => {
                    let known = |text: &str| text.split('.').filter(|id| key(id)).map(str::to_owned).collect();
                    let until = time(parts.next());
                    let known = known(parts.next().unwrap_or_default());
                    ledger.issuing = time(Some(id)).zip(until).map(|(since, until)| (since, until, known));
                }
                Some("revoked") if key(id) => ledger.revoked = Some(id.to_owned()),
                _ => {}
            }
        }
        ledger
    }

    /// Ids of all keys that it names as managed.
    pub fn keys(self) -> impl Iterator<Item = String> {
        let previous = self.previous.map(|(id, _)| id);
        self.current.into_iter().chain(previous).chain(self.pending).chain(self.obsolete)
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Fills in what `credentials`, which has no record of the user, does not know. `desired` and `observed` only show
    /// where a Secret may be.
    fn fill(self, credentials: &mut CredentialsStatus, desired: &Desired, observed: &Observed, remembered: &Remembered) {
        let known: Vec<_> = credentials.keys().cloned().collect();
        let new = |id: &String| !known.contains(id);
        let number = remembered.number(&observed.secret);
        if let Some((id, at)) = self.previous.filter(|(id, _)| credentials.previous.is_none() && new(id)) {
            let until = at.checked_add(desired.rotation.overlap).unwrap_or(at);
            let secret_name = number.filter(|number| *number > 1).and_then(|number| desired.secret.own(number - 1));
            credentials.previous = Some(PreviousKey {
                access_key_id: id,
                secret_name,
                replaced_at: Time(at),
                works_until: Time(until),
                inactive_since: None,
                last_used: None,
            });
        }
        let current = self.current.or(credentials.access_key_id.take());
        let attempt =
            self.issuing.map(|(since, until, known_keys)| KeyIntent { since: Time(since), until: Time(until), known_keys });
        let fits = attempt.as_ref().map(|attempt| observed.explained_by(attempt)).unwrap_or_default();
        let fits = fits.into_iter().filter(|id| new(id) && Some(id) != current.as_ref() && Some(id) != self.pending.as_ref());
        // If there are two, one of them is foreign.
        let mut fits = fits.collect::<Vec<_>>();
        let issued = if fits.len() == 1 { fits.pop() } else { None };
        // An attempt next to the current key may have left its key in the waiting Secret; an attempt next to other keys
        // is not a rotation.
        let beside = attempt.as_ref().zip(current.as_ref()).is_some_and(|(attempt, id)| attempt.known_keys.contains(id));
        let pending = self.pending.or(issued.clone().filter(|_| beside));
        if credentials.pending.is_none() && (pending.is_some() || beside) && pending.as_ref().is_none_or(new) {
            let secret_name = desired.secret.pending(number);
            credentials.pending = Some(PendingKey { secret_name, access_key_id: pending });
        }
        credentials.obsolete_keys.extend(self.obsolete.into_iter().filter(new).chain(issued.filter(|_| !beside)));
        // The call may still be executed.
        credentials.intent = credentials.intent.take().or(attempt);
        // The Secret may hold another key, from a backup: the plan detects that as for any other key.
        credentials.access_key_id = current;
    }
}

impl Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut entries = Vec::new();
        entries.extend(self.current.as_ref().map(|id| format!("current:{id}")));
        entries.extend(self.previous.as_ref().map(|(id, at)| format!("previous:{id}:{}", at.as_second())));
        entries.extend(self.pending.as_ref().map(|id| format!("pending:{id}")));
        entries.extend(
            self.issuing
                .as_ref()
                .map(|(since, until, known)| format!("issuing:{}:{}:{}", since.as_second(), until.as_second(), known.join("."))),
        );
        entries.extend(self.obsolete.iter().map(|id| format!("obsolete:{id}")));
        entries.extend(self.revoked.as_ref().map(|hash| format!("revoked:{hash}")));
        // A user has two keys, so everything fits; otherwise the least important entries are left out.
        while entries.iter().map(|entry| entry.len() + 1).sum::<usize>() > LONGEST + 1 {
            entries.pop();
        }
        f.write_str(&entries.join("/"))
    }
}

/// A hash of a request, eight hexadecimal digits.
fn hash(request: &str) -> String {
    digest(request, 4)
}

/// The recorded state of the keys once the user was read: `remembered`, or what AWS records if the status has no record
/// of the user. `requested` is the revocation that is requested.
pub fn recall(remembered: &Remembered, desired: &Desired, observed: &Observed, requested: Option<&String>) -> CredentialsStatus {
    let mut credentials = remembered.credentials.clone();
    let Reading::Set(user) = &observed.user else { return credentials };
    if remembered.user.is_some() || Ownership::of(&user.tags, desired) != Ownership::Ours {
        return credentials;
    }
    let ledger = Ledger::of_tags(&user.tags);
    if ledger.is_empty() {
        return credentials;
    }
    if requested.is_some_and(|request| ledger.revoked == Some(hash(request))) {
        credentials.last_handled_revoke_at = requested.cloned();
    }
    ledger.fill(&mut credentials, desired, observed, remembered);
    credentials
}

/// The value that announces that a key is about to be issued next to `known`, between `now` and `until`.
pub fn announcement(credentials: &CredentialsStatus, known: &[String], now: Timestamp, attempt: SignedDuration) -> Ledger {
    let since = credentials.intent.as_ref().map_or(now, |earlier| earlier.since.0);
    let until = now.checked_add(attempt).unwrap_or(now);
    Ledger { issuing: Some((since, until, known.to_vec())), ..Ledger::of(credentials) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        let id = |n: u8| format!("AKIAIOSFODNN7EXAMPL{n}");
        let full = Ledger {
            current: Some(id(1)),
            previous: Some((id(2), at(1_790_000_000))),
            pending: None,
            obsolete: vec![id(3)],
            issuing: Some((at(1_790_000_000), at(1_790_000_300), vec![id(1), id(2)])),
            revoked: Some(hash("now")),
            secret: None,
            policy: None,
        };
        let value = full.to_string();
        assert!(value.len() <= LONGEST, "{} {value}", value.len());
        assert!(value.chars().all(|c| c.is_ascii_alphanumeric() || "_.:/=+-@".contains(c)), "{value}");
        for ledger in [full, Ledger::default(), Ledger { pending: Some(id(4)), ..Ledger::default() }] {
            assert_eq!(Ledger::parse(&ledger.to_string()), ledger);
        }
        let many =
            Ledger { obsolete: (0..20).map(|n| format!("AKIA{n:016}")).collect(), current: Some(id(1)), ..Ledger::default() };
        assert!(many.to_string().len() <= LONGEST);
        assert_eq!(Ledger::parse(&many.to_string()).current, Some(id(1)));
    }

    #[test]
    fn names_are_written_and_read() {
        let named = Ledger {
            current: Some("AKIAIOSFODNN7EXAMPLE".into()),
            secret: Some("c-s3".into()),
            policy: Some((PolicyType::Managed, "lab.c".into())),
            ..Ledger::default()
        };
        assert_eq!(Ledger::of_tags(&named.tags()), named);
        let tag = |key: &str, value: &str| Tags::from([(key.to_owned(), value.to_owned())]);
        for tags in [tag(names::SECRET_TAG, "../x"), tag(names::POLICY_TAG, "Other/x"), tag(names::POLICY_TAG, "x")] {
            assert!(Ledger::of_tags(&tags).is_empty(), "{tags:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        for value in [
            "",
            " ",
            "current:",
            "current:a b",
            "previous:AKIA1",
            "previous:AKIA1:x",
            "issuing:1",
            "pending",
            "x:y",
            "obsolete:é",
        ] {
            assert!(Ledger::parse(value).is_empty(), "{value:?}");
        }
    }
}
