//! The state of the model: accounts with their IAM, keys as the services see them, buckets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::Behaviour;

/// The only partition of the model.
pub const PARTITION: &str = "aws";

/// Older copies of IAM answer no request.
const OLDEST: SignedDuration = SignedDuration::from_mins(10);

pub type Tags = BTreeMap<String, String>;

/// The whole state. The hook after each write gets it, and `Model::state` shows it.
#[derive(Default)]
pub struct State {
    /// IAM, by account.
    pub accounts: BTreeMap<String, Account>,
    /// Buckets of all accounts and regions: their names are global.
    pub buckets: BTreeMap<String, Bucket>,
    /// Every long-term key that ever existed, by id.
    pub keys: BTreeMap<String, Key>,
    /// Federation tokens, by key id.
    pub sessions: BTreeMap<String, Session>,
    /// Permissions of every user that ever existed, by user id.
    pub principals: BTreeMap<String, Spread<Rights>>,
    /// Until when names of deleted buckets cannot be used.
    pub(super) deleted: BTreeMap<String, Timestamp>,
    pub(super) rng: fastrand::Rng,
}

/// The control plane of IAM: its current state, and earlier ones for reads that lag behind.
#[derive(Default)]
pub struct Account {
    pub now: Arc<Iam>,
    pub(super) past: Vec<(Timestamp, Arc<Iam>)>,
}

#[derive(Clone, Default, PartialEq)]
pub struct Iam {
    /// By name in lower case: IAM treats names that differ only in case as the same name.
    pub users: BTreeMap<String, User>,
    /// Managed policies, by ARN.
    pub policies: BTreeMap<String, Policy>,
    /// Names of groups.
    pub groups: BTreeSet<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct User {
    pub name: String,
    pub path: String,
    pub id: String,
    pub arn: String,
    pub created: Timestamp,
    pub tags: Tags,
    pub boundary: Option<String>,
    /// Inline policies, by name: the document as it was sent.
    pub inline: BTreeMap<String, String>,
    /// ARNs of the attached policies.
    pub attached: Vec<String>,
    /// Names of its groups.
    pub groups: BTreeSet<String>,
    pub keys: Vec<KeyEntry>,
}

/// A key as IAM lists it.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyEntry {
    pub id: String,
    pub active: bool,
    pub created: Timestamp,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    pub name: String,
    pub path: String,
    pub id: String,
    pub created: Timestamp,
    pub tags: Tags,
    pub default: String,
    /// Documents, by number of the version.
    pub versions: BTreeMap<u32, (String, Timestamp)>,
    pub next: u32,
}

/// A key as the services see it.
#[derive(Clone)]
pub struct Key {
    pub id: String,
    pub secret: String,
    pub owner: Owner,
    /// ARN of its creator.
    pub created_by: String,
    pub created: Timestamp,
    /// Whether it works.
    pub works: Spread<bool>,
    /// The actual last use.
    pub last_used: Option<LastUse>,
    /// The last use as IAM reports it.
    pub(super) told_use: Spread<LastUse>,
}

/// The owner of a key.
#[derive(Clone, Debug, PartialEq)]
pub enum Owner {
    /// An administrator of the account: its root, or an operator's user.
    Admin { account: String, arn: String },
    /// A user that IAM lists, by id.
    User { account: String, id: String, name: String, arn: String },
}

#[derive(Clone, Debug, PartialEq)]
pub struct LastUse {
    pub at: Timestamp,
    pub service: String,
    pub region: String,
}

/// A federation token.
#[derive(Clone)]
pub struct Session {
    pub secret: String,
    pub token: String,
    pub name: String,
    pub account: String,
    /// The user that requested it; the user's permissions are the limit.
    pub user: String,
    pub policy: Option<Value>,
    pub issued: Timestamp,
    pub expires: Timestamp,
}

/// The permissions of a user, and its values for condition keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rights {
    pub identity: Vec<Value>,
    pub boundary: Option<Value>,
    pub tags: Tags,
}

/// A value that takes time to propagate to the services.
#[derive(Clone, Debug)]
pub struct Spread<T> {
    changes: Vec<Change<T>>,
}

#[derive(Clone, Debug)]
struct Change<T> {
    value: T,
    s3: Timestamp,
    /// STS and IAM.
    others: Timestamp,
}

impl<T: Clone + PartialEq> Spread<T> {
    pub fn new() -> Self {
        Self { changes: Vec::new() }
    }

    /// The services see `value` from `s3` and `others` on.
    pub fn set(&mut self, value: T, s3: Timestamp, others: Timestamp) {
        if self.changes.last().is_none_or(|last| last.value != value) {
            self.changes.push(Change { value, s3, others });
        }
    }

    /// Forgets values that no service will see anymore.
    pub fn forget(&mut self, now: Timestamp) {
        if let Some(seen) = self.changes.iter().rposition(|change| change.s3 <= now && change.others <= now) {
            self.changes.drain(..seen);
        }
    }

    /// What the service sees now.
    pub fn seen(&self, service: &str, now: Timestamp) -> Option<&T> {
        let at = |change: &&Change<T>| if service == "s3" { change.s3 } else { change.others };
        self.changes.iter().rev().find(|change| at(change) <= now).map(|change| &change.value)
    }

    /// The value that every service will see in the end.
    pub fn latest(&self) -> Option<&T> {
        self.changes.last().map(|change| &change.value)
    }
}

#[derive(Clone)]
pub struct Bucket {
    pub name: String,
    pub account: String,
    pub region: String,
    pub created: Timestamp,
    /// ARN of its creator.
    pub created_by: String,
    /// Bodies of the settings as AWS answers them, by sub-resource.
    pub settings: BTreeMap<&'static str, String>,
    /// Versions of each object, oldest first.
    pub objects: BTreeMap<String, Vec<Version>>,
    /// Uploads in progress: id and key.
    pub uploads: BTreeMap<String, String>,
}

#[derive(Clone, Debug)]
pub struct Version {
    pub id: String,
    /// `None` is a delete marker.
    pub body: Option<bytes::Bytes>,
    /// ARN of its author.
    pub by: String,
}

impl Bucket {
    pub fn tags(&self) -> Tags {
        self.settings.get("tagging").map(|body| super::wire::tags(body)).unwrap_or_default()
    }

    pub fn versioning(&self) -> Option<&str> {
        let body = self.settings.get("versioning")?;
        super::wire::text(body, "Status").filter(|status| ["Enabled", "Suspended"].contains(status))
    }
}

impl Key {
    /// Whether every service will accept it in the end.
    pub fn active(&self) -> bool {
        self.works.latest() == Some(&true)
    }
}

impl Owner {
    pub fn account(&self) -> &str {
        let (Self::Admin { account, .. } | Self::User { account, .. }) = self;
        account
    }

    pub fn arn(&self) -> &str {
        let (Self::Admin { arn, .. } | Self::User { arn, .. }) = self;
        arn
    }
}

/// The users whose permissions a write to IAM may have changed.
pub(super) enum Named<'a> {
    User(&'a str),
    Policy(&'a str),
}

impl State {
    /// The current users of an account.
    pub fn users(&self, account: &str) -> impl Iterator<Item = &User> {
        self.accounts.get(account).into_iter().flat_map(|account| account.now.users.values())
    }

    /// The current keys of the user, with what only the model knows: secret part and creator.
    pub fn keys_of<'a>(&'a self, user: &'a User) -> impl Iterator<Item = &'a Key> {
        user.keys.iter().map(|entry| &self.keys[&entry.id])
    }

    pub(super) fn id(&mut self, prefix: &str, length: usize) -> String {
        const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let random = (0..length).map(|_| char::from(ALPHABET[self.rng.usize(..ALPHABET.len())]));
        prefix.chars().chain(random).collect()
    }

    pub(super) fn secret(&mut self) -> String {
        (0..40).map(|_| self.rng.alphanumeric()).collect()
    }

    /// Changes IAM; the earlier state stays for reads that lag behind.
    pub(super) fn iam(&mut self, account: &str, now: Timestamp, lag: bool) -> &mut Iam {
        let account = self.accounts.entry(account.to_owned()).or_default();
        if lag {
            account.past.retain(|(until, _)| *until + OLDEST > now);
            account.past.push((now, account.now.clone()));
        }
        Arc::make_mut(&mut account.now)
    }

    /// IAM as a read sees it that a copy of this age answers.
    pub(super) fn read(&self, account: &str, now: Timestamp, age: Duration) -> Arc<Iam> {
        let Some(account) = self.accounts.get(account) else { return Arc::default() };
        // `past` has each state with its end.
        let then = now - SignedDuration::try_from(age).unwrap();
        let past = account.past.iter().find(|(until, _)| *until > then);
        past.map_or_else(|| account.now.clone(), |(_, iam)| iam.clone())
    }

    /// Updates permissions to the current state of IAM: those of the user that a write named, or of the users with the
    /// policy.
    pub(super) fn spread_rights(&mut self, account: &str, named: Named<'_>, now: Timestamp, behaviour: &Behaviour) {
        let iam = self.accounts.entry(account.to_owned()).or_default().now.clone();
        let has = |user: &User, arn: &str| user.attached.iter().chain(&user.boundary).any(|attached| attached == arn);
        match named {
            Named::User(name) => match iam.user(name) {
                Some(user) => self.spread(&user.id, iam.rights(user), now, behaviour),
                None => {
                    for id in self.ids(account, name) {
                        self.spread(&id, Rights::default(), now, behaviour);
                    }
                }
            },
            Named::Policy(arn) => {
                for user in iam.users.values().filter(|user| has(user, arn)) {
                    self.spread(&user.id, iam.rights(user), now, behaviour);
                }
            }
        }
    }

    /// Ids of all users of that name that ever had a key.
    fn ids(&self, account: &str, of: &str) -> Vec<String> {
        let owners = self.keys.values().filter_map(|key| match &key.owner {
            Owner::User { account: its, id, name, .. } if its == account && name.eq_ignore_ascii_case(of) => Some(id.clone()),
            _ => None,
        });
        owners.collect()
    }

    fn spread(&mut self, user: &str, rights: Rights, now: Timestamp, behaviour: &Behaviour) {
        let known = self.principals.entry(user.to_owned()).or_insert_with(Spread::new);
        if known.latest() != Some(&rights) {
            let (s3, others) = (behaviour.policies.draw(&mut self.rng), behaviour.policies.draw(&mut self.rng));
            known.set(rights, now + s3, now + others);
        }
    }
}

impl Iam {
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.get(&name.to_lowercase())
    }

    fn rights(&self, user: &User) -> Rights {
        let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let managed = |arn: &String| self.policies.get(arn).map(|policy| parsed(policy.document(&policy.default).unwrap()));
        let mut identity: Vec<_> = user.inline.values().map(|text| parsed(text)).collect();
        identity.extend(user.attached.iter().filter_map(managed));
        let boundary = user.boundary.as_ref().map(|arn| managed(arn).unwrap_or(Value::Null));
        Rights { identity, boundary, tags: user.tags.clone() }
    }
}

impl Policy {
    /// The document of version `v<n>`.
    pub fn document(&self, version: &str) -> Option<&str> {
        let number = version.strip_prefix('v')?.parse().ok()?;
        self.versions.get(&number).map(|(document, _)| document.as_str())
    }
}
