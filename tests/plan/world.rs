//! A small AWS and Kubernetes in memory: the truth that plans are made for and carried out on. Pure, like the core that it tests.

use std::collections::BTreeMap;

use bucketconnection::api::{BucketConnection, BucketConnectionStatus, PolicyType, SignIn};
use bucketconnection::credentials::{KeyPair, Sensitive, keys_in, secret_data};
use bucketconnection::desired::{self, Account, Desired, Proof, SpecError, Terms};
use bucketconnection::execute::{Fact, Outcome, Report};
use bucketconnection::observed::{
    Access, AccessKey, Bucket, Contents, Grant, Held, KeyProof, ManagedPolicy, Observed, OwnBinding, OwnRole, OwnSecret,
    Remembered, Secret, Tried, User,
};
use bucketconnection::plan::{self, Action, Plan, deletion};
use bucketconnection::problem::{Class, Problem};
use bucketconnection::settings::tags::Tags;
use bucketconnection::settings::{Live, Reading, Write};
use bucketconnection::status::{Checked, Pass, Stage, fold, intend};
use jiff::{Timestamp, ToSpan};
use serde_json::Value;

pub const CLUSTER: &str = "cluster";

pub fn account() -> Account {
    Account { id: "123456789012".into(), partition: "aws".into() }
}

#[derive(Clone, Debug, Default)]
pub struct World {
    pub bucket: Option<TheBucket>,
    pub user: Option<TheUser>,
    pub policies: BTreeMap<String, ThePolicy>,
    pub secret: BTreeMap<String, TheSecret>,
    /// Roles and RoleBindings by their one name.
    pub access: BTreeMap<String, Access>,
    pub now: Timestamp,
    /// AWS makes something else of each write of CORS rules.
    pub rewrites_cors: bool,
    /// AWS widens each inline policy that is written.
    pub widens_policies: bool,
    /// Further proofs that fail.
    pub failing: BTreeMap<Proof, Problem>,
    /// What AWS says to a key that somebody else keeps, where it does not work.
    pub theirs: Option<Class>,
    /// Ids given out so far.
    count: usize,
}

#[derive(Clone, Debug, Default)]
pub struct TheBucket {
    pub live: Live,
    pub objects: usize,
}

#[derive(Clone, Debug, Default)]
pub struct TheUser {
    pub user: User,
    pub inline: BTreeMap<String, Value>,
    pub attached: Vec<String>,
    pub keys: Vec<TheKey>,
}

#[derive(Clone, Debug)]
pub struct TheKey {
    pub id: String,
    pub secret: String,
    pub active: bool,
    pub created_at: Timestamp,
}

#[derive(Clone, Debug)]
pub struct ThePolicy {
    pub tags: Tags,
    /// Oldest first; the default is marked.
    pub versions: Vec<(usize, Value)>,
    pub default: usize,
}

#[derive(Clone, Debug, Default)]
pub struct TheSecret {
    pub data: BTreeMap<String, Sensitive>,
    pub created_at: Option<Timestamp>,
    pub claimed: bool,
    pub foreign: bool,
}

/// What a pass did.
pub struct Passed {
    pub desired: Desired,
    pub plan: Plan,
    pub report: Report,
}

impl World {
    pub fn new() -> Self {
        Self { now: "2026-11-24T12:00:00Z".parse().unwrap(), ..Self::default() }
    }

    /// Ten minutes pass.
    pub fn wait(&mut self) {
        self.now = self.now.checked_add(10.minutes()).unwrap();
    }

    pub fn resolve(object: &BucketConnection) -> Result<Desired, Vec<SpecError>> {
        desired::resolve(object, CLUSTER, &account(), &Terms { adoption: true, ..Terms::default() })
    }

    /// What the next pass would do.
    pub fn plan(&self, object: &BucketConnection, look: bool) -> Result<(Desired, Observed, Remembered, Plan), Vec<SpecError>> {
        let desired = Self::resolve(object)?;
        let remembered = Remembered::of(object);
        let secret = self.secret_of(&desired);
        let optimistic = !look && !remembered.seen && secret == Secret::Absent && desired.may_create_blindly();
        let access = self.readers(&desired, &remembered);
        let observed =
            if optimistic { Observed { secret, access, ..Observed::default() } } else { self.look(&desired, &remembered, false) };
        let plan = plan::plan(&desired, &observed, &remembered, self.now);
        Ok((desired, observed, remembered, plan))
    }

    /// One pass; `fails` may make a step fail instead of being done.
    pub fn pass(&mut self, object: &mut BucketConnection, fails: impl FnMut(&Action) -> Option<Outcome>) -> Passed {
        self.now = self.now.checked_add(6.seconds()).unwrap();
        let (desired, observed, remembered, plan) = self.plan(object, false).expect("a good spec");
        if let Some(intended) = intend(object, &desired, &plan, self.now) {
            object.status = Some(intended);
        }
        let report = self.execute(&desired, &plan, fails);
        let checked = Checked {
            sign_in: &SignIn::default(),
            desired: &desired,
            observed: &observed,
            remembered: &remembered,
            plan: &plan,
            report: &report,
        };
        let status = fold(&Pass { object, now: self.now, stage: Stage::Checked(checked) });
        object.status = Some(status);
        Passed { desired, plan, report }
    }

    /// A pass that is killed after `steps` steps: what was done is done, and no status tells of it.
    pub fn killed_pass(&mut self, object: &mut BucketConnection, steps: usize) {
        let (desired, _, _, plan) = self.plan(object, false).expect("a good spec");
        if let Some(intended) = intend(object, &desired, &plan, self.now) {
            object.status = Some(intended);
        }
        let mut done = 0;
        self.execute(&desired, &plan, |_| {
            done += 1;
            (done > steps).then_some(Outcome::Skipped)
        });
    }

    /// One pass over an object that is being deleted with `Delete`.
    pub fn plan_deletion(&self, object: &BucketConnection) -> (Desired, Plan) {
        let desired = Self::resolve(object).expect("a good spec");
        let remembered = Remembered::of(object);
        let observed = self.look(&desired, &remembered, true);
        let plan = deletion::delete(&desired, &observed, &remembered);
        (desired, plan)
    }

    pub fn fold_deletion(&self, object: &BucketConnection, plan: &Plan, report: &Report) -> BucketConnectionStatus {
        fold(&Pass { object, now: self.now, stage: Stage::Deleting(plan, report) })
    }

    fn secret(&self, name: &str) -> Secret {
        match self.secret.get(name) {
            None => Secret::Absent,
            Some(secret) if secret.foreign => Secret::Foreign("exists and was not created by this BucketConnection".into()),
            Some(secret) => {
                Secret::Ours(OwnSecret { data: secret.data.clone(), key_created_at: secret.created_at, claimed: secret.claimed })
            }
        }
    }

    /// The Secret of a connection: its own, or one that somebody else keeps.
    fn secret_of(&self, desired: &Desired) -> Secret {
        match &desired.existing {
            Some(name) => self.secret.get(name).map_or(Secret::Absent, |secret| Secret::Given(secret.data.clone())),
            None => self.secret(&desired.secret.name),
        }
    }

    fn readers(&self, desired: &Desired, remembered: &Remembered) -> BTreeMap<String, Access> {
        let names = remembered.access_names(desired, &self.secret(&desired.secret.name));
        let live = |name: String| (name.clone(), self.access.get(&name).cloned().unwrap_or_else(nobody));
        names.into_iter().map(live).collect()
    }

    /// What looking at this world shows, by the rules of aws/observe.rs.
    fn look(&self, desired: &Desired, remembered: &Remembered, deletion: bool) -> Observed {
        let secret = self.secret_of(desired);
        let earlier_secrets: BTreeMap<_, _> =
            remembered.earlier_secrets(desired).map(|name| (name.clone(), self.secret(name))).collect();
        let proof = self.proof(desired, &secret, &earlier_secrets);
        let settled = matches!(proof, KeyProof::Works(_)) && remembered.credentials.intent.is_none();
        let ours = desired.existing.is_none();
        let keys = self.user.as_ref().filter(|_| ours && (!settled || deletion));
        let inline = desired.policy.kind == PolicyType::Inline;
        let user = self.user.as_ref().filter(|_| ours);
        let reading = |value: Option<Value>| value.map_or(Reading::Unset, Reading::Set);
        let attached = || user.map_or(Reading::Unset, |user| Reading::Set(user.attached.clone()));
        Observed {
            unread: Vec::new(),
            bucket: self.bucket.as_ref().map_or(Bucket::Absent, |bucket| Bucket::There(managed(bucket, desired))),
            contents: self.bucket.as_ref().filter(|_| deletion).map_or(Reading::NotLooked, |bucket| {
                Reading::Set(Contents { versions: bucket.objects, objects: bucket.objects, ..Contents::default() })
            }),
            user: user.map_or(Reading::Unset, |user| Reading::Set(user.user.clone())),
            inline_policy: if inline {
                reading(user.and_then(|user| user.inline.get(&desired.policy.name).cloned()))
            } else {
                Reading::NotLooked
            },
            managed_policy: match self.policies.get(&desired.policy.arn) {
                _ if inline => Reading::NotLooked,
                None => Reading::Unset,
                Some(policy) => Reading::Set(ManagedPolicy {
                    version: format!("v{}", policy.default),
                    document: policy.versions.iter().find(|(n, _)| *n == policy.default).unwrap().1.clone(),
                    tags: Some(policy.tags.clone()),
                    other_versions: policy
                        .versions
                        .iter()
                        .filter(|(n, _)| *n != policy.default)
                        .map(|(n, _)| format!("v{n}"))
                        .collect(),
                }),
            },
            earlier_policies: remembered
                .earlier_policies(desired)
                .filter_map(|policy| policy.arn.clone())
                .map(|arn| {
                    (arn.clone(), self.policies.get(&arn).map_or(Reading::Unset, |policy| Reading::Set(policy.tags.clone())))
                })
                .collect(),
            attached: attached(),
            keys: keys.map_or(Reading::NotLooked, |user| {
                let key = |key: &TheKey| AccessKey { id: key.id.clone(), active: key.active, created_at: Some(key.created_at) };
                Reading::Set(user.keys.iter().map(key).collect())
            }),
            secret,
            earlier_secrets,
            access: self.readers(desired, remembered),
            proof,
        }
    }

    fn proof(&self, desired: &Desired, secret: &Secret, earlier: &BTreeMap<String, Secret>) -> KeyProof {
        let held = |secret: &Secret| match secret {
            Secret::Ours(secret) => keys_in(&secret.data),
            Secret::Given(data) => keys_in(data),
            _ => Vec::new(),
        };
        if desired.existing.is_some() {
            let problem = |class, code| Problem::new(class, "s3:ListBucket", code, "");
            return match (held(secret).into_iter().next(), &self.theirs) {
                (None, _) => KeyProof::NotTried,
                (Some(key), None) => KeyProof::Works(key),
                (Some(key), Some(Class::Denied)) => KeyProof::Denied(key, problem(Class::Denied, "AccessDenied")),
                (Some(key), Some(_)) => KeyProof::Rejected(key, problem(Class::BadKey, "InvalidAccessKeyId")),
            };
        }
        let mut candidates = held(secret);
        if candidates.is_empty() {
            candidates = earlier.values().flat_map(held).collect();
        }
        let mut first = KeyProof::NotTried;
        for key in candidates {
            let known = self.user.as_ref().and_then(|user| user.keys.iter().find(|known| known.id == key.id && known.active));
            let rejected = |code| Problem::new(Class::BadKey, "s3:ListBucket", code, "");
            let result = match known {
                Some(known) if known.secret == key.secret.reveal() => {
                    if self.permitted(desired) {
                        return KeyProof::Works(key);
                    }
                    KeyProof::Denied(key, Problem::new(Class::Denied, "s3:ListBucket", "AccessDenied", ""))
                }
                Some(_) => KeyProof::Rejected(key, rejected("SignatureDoesNotMatch")),
                None => KeyProof::Rejected(key, rejected("InvalidAccessKeyId")),
            };
            if first == KeyProof::NotTried {
                first = result;
            }
        }
        first
    }

    /// Whether the user's policies are ours, which is enough to let it list.
    fn permitted(&self, desired: &Desired) -> bool {
        if !desired.proofs.first.contains(&Proof::List) {
            return true;
        }
        let Some(user) = &self.user else { return false };
        let inline = user.inline.values().cloned();
        let attached = user.attached.iter().filter_map(|arn| self.policies.get(arn));
        let attached = attached.map(|policy| policy.versions.iter().find(|(n, _)| *n == policy.default).unwrap().1.clone());
        inline
            .chain(attached)
            .any(|document| document.to_string().contains("s3:ListBucket") || document.to_string().contains("s3:*"))
    }

    pub fn execute(&mut self, desired: &Desired, plan: &Plan, mut fails: impl FnMut(&Action) -> Option<Outcome>) -> Report {
        let mut report = Report::default();
        let mut issued = None;
        for step in &plan.steps {
            let ready = step.after.iter().all(|before| report.outcomes[*before].is_done());
            let outcome = match (ready, fails(&step.action)) {
                (false, _) => Outcome::Skipped,
                (true, Some(Outcome::Doubtful(problem))) => {
                    // It was executed, and the answer was lost.
                    if let Action::IssueKey { .. } = &step.action {
                        self.create_key();
                    } else {
                        self.apply(desired, &step.action, &mut issued);
                    }
                    Outcome::Doubtful(problem)
                }
                (true, Some(outcome)) => outcome,
                (true, None) => self.apply(desired, &step.action, &mut issued),
            };
            report.outcomes.push(outcome);
        }
        report
    }

    /// Whose key it is that somebody else keeps.
    fn whose(&self, desired: &Desired, proof: &Proof) -> Option<String> {
        let asked = desired.existing.is_some() && *proof == Proof::Identity;
        asked.then(|| "arn:aws:iam::210987654321:user/clc".to_owned())
    }

    /// What came of each proof.
    fn tried(&self, desired: &Desired) -> Vec<Tried> {
        let proofs = desired.proofs.first.iter().chain(&desired.proofs.further);
        let problem = |proof: &Proof| self.failing.get(proof).cloned();
        proofs.map(|proof| Tried { proof: *proof, found: self.whose(desired, proof), problem: problem(proof) }).collect()
    }

    fn create_key(&mut self) -> KeyPair {
        self.count += 1;
        let key = TheKey {
            id: format!("AKIA{:04}", self.count),
            secret: format!("secret-{}", self.count),
            active: true,
            created_at: self.now,
        };
        let pair = KeyPair { id: key.id.clone(), secret: Sensitive::new(key.secret.clone()) };
        let user = self.user.as_mut().expect("a user");
        assert!(user.keys.len() < 2, "a third key is asked for");
        user.keys.push(key);
        pair
    }

    fn apply(&mut self, desired: &Desired, action: &Action, issued: &mut Option<KeyPair>) -> Outcome {
        let failed = |class, code: &str| Outcome::Failed(Problem::new(class, "test:Action", code, ""));
        match action {
            Action::CreateBucket { .. } if self.bucket.is_some() => return failed(Class::Exists, "BucketAlreadyOwnedByYou"),
            Action::CreateBucket { tags } => {
                self.bucket =
                    Some(TheBucket { live: Live { tags: Reading::Set(tags.clone().into()), ..defaults() }, objects: 0 });
            }
            Action::WriteSetting { write, .. } => {
                let rewrites = self.rewrites_cors;
                let Some(bucket) = &mut self.bucket else { return failed(Class::Missing, "NoSuchBucket") };
                match write.clone() {
                    Write::Cors(rules) if rules.is_empty() => bucket.live.cors = Reading::Unset,
                    Write::Cors(mut rules) => {
                        let small = |origin: &mut String| *origin = origin.to_lowercase();
                        rules.iter_mut().filter(|_| rewrites).for_each(|rule| rule.allowed_origins.iter_mut().for_each(small));
                        bucket.live.cors = Reading::Set(rules);
                    }
                    Write::Encryption(rule) => bucket.live.encryption = Reading::Set(rule),
                    Write::PublicAccessBlock(block) => bucket.live.public_access_block = Reading::Set(block),
                    Write::Ownership(ownership) => {
                        bucket.live.ownership = Reading::Set(serde_json::to_value(ownership).unwrap().as_str().unwrap().into());
                    }
                    Write::BucketTags(tags) => bucket.live.tags = Reading::Set(tags),
                    Write::Versioning(status) => bucket.live.versioning = Reading::Set(format!("{status:?}")),
                    Write::ObjectLock(retention) => bucket.live.object_lock = Reading::Set(retention),
                    Write::Acceleration(status) => bucket.live.acceleration = Reading::Set(format!("{status:?}")),
                    Write::Lifecycle(rules) if rules.rules.is_empty() => bucket.live.lifecycle = Reading::Unset,
                    Write::Lifecycle(rules) => bucket.live.lifecycle = Reading::Set(rules),
                    Write::BucketPolicy(policy) if policy.statements.is_empty() => bucket.live.bucket_policy = Reading::Unset,
                    Write::BucketPolicy(policy) => bucket.live.bucket_policy = Reading::Set(policy),
                    Write::Logging(logging) => bucket.live.logging = Reading::Set(logging),
                }
            }
            Action::CreateUser { .. } if self.user.is_some() => return failed(Class::Exists, "EntityAlreadyExists"),
            Action::CreateUser { tags } => {
                self.count += 1;
                let user = User {
                    id: format!("AIDA{:04}", self.count),
                    path: desired.user.path.clone(),
                    tags: tags.clone(),
                    boundary: desired.user.boundary.clone(),
                };
                self.user = Some(TheUser { user: user.clone(), ..TheUser::default() });
                return Outcome::Done(Fact::User { id: user.id });
            }
            Action::CreatePolicy { .. } if self.policies.contains_key(&desired.policy.arn) => {
                return failed(Class::Exists, "EntityAlreadyExists");
            }
            Action::CreatePolicy { document, tags } => {
                let policy = ThePolicy { tags: tags.clone(), versions: vec![(1, document.to_json())], default: 1 };
                self.policies.insert(desired.policy.arn.clone(), policy);
                return Outcome::Done(Fact::PolicyVersion("v1".into()));
            }
            Action::UpdatePolicy { document, prune } => {
                let policy = self.policies.get_mut(&desired.policy.arn).unwrap();
                policy.versions.retain(|(n, _)| Some(format!("v{n}")) != *prune);
                assert!(policy.versions.len() < 5, "a sixth version is asked for");
                let next = policy.versions.iter().map(|(n, _)| n + 1).max().unwrap();
                policy.versions.push((next, document.to_json()));
                policy.default = next;
                return Outcome::Done(Fact::PolicyVersion(format!("v{next}")));
            }
            Action::RemovePolicy { arn } => {
                self.policies.remove(arn);
                if let Some(user) = &mut self.user {
                    user.attached.retain(|attached| attached != arn);
                }
            }
            Action::IssueKey { .. } => {
                let key = self.create_key();
                self.write_secret(desired, &key, Some(self.now));
                *issued = Some(key.clone());
                return Outcome::Done(Fact::Key { id: key.id, created_at: self.now });
            }
            Action::WriteSecret { key, created_at } => self.write_secret(desired, key, *created_at),
            Action::DeleteSecret { name } => {
                self.secret.remove(name);
            }
            Action::ReleaseSecret { name } => self.secret.get_mut(name).unwrap().claimed = false,
            Action::WriteRole { name } => {
                let role = &mut self.access.entry(name.clone()).or_insert_with(nobody).role;
                assert!(!matches!(role, Held::Foreign(_)), "a foreign Role is overwritten");
                *role = Held::Ours(OwnRole { rules: OwnRole::rules_for(&desired.secret.name), claimed: true });
            }
            Action::WriteRoleBinding { name, groups } => {
                assert!(
                    self.secret.get(&desired.secret.name).is_some_and(|secret| !secret.foreign),
                    "a Secret not ours is given"
                );
                let live = self.access.entry(name.clone()).or_insert_with(nobody);
                assert!(matches!(live.role, Held::Ours(_)), "bound to a Role that is not there or not ours");
                let role = OwnBinding::role_of(name);
                if let Held::Ours(binding) = &live.binding {
                    assert_eq!(binding.role, role, "Kubernetes lets nobody change what a RoleBinding grants");
                }
                assert!(!matches!(live.binding, Held::Foreign(_)), "a foreign RoleBinding is overwritten");
                live.binding = Held::Ours(OwnBinding { groups: groups.clone(), others: Vec::new(), role, claimed: true });
            }
            Action::DeleteGrant { kind, name } => {
                let live = self.access.get_mut(name).unwrap();
                match kind {
                    Grant::Role => live.role = Held::Absent,
                    Grant::RoleBinding => live.binding = Held::Absent,
                }
            }
            Action::ReleaseGrant { .. } => {}
            Action::Verify { .. } => {
                let secret = self.secret_of(desired);
                match self.proof(desired, &secret, &BTreeMap::new()) {
                    KeyProof::Works(_) => return Outcome::Done(Fact::Tried(self.tried(desired))),
                    KeyProof::Denied(_, problem) => return Outcome::Failed(problem),
                    other => return Outcome::Pending(Problem::new(Class::BadKey, "test:Verify", format!("{other:?}"), "")),
                }
            }
            Action::EmptyBucket => self.bucket.as_mut().unwrap().objects = 0,
            Action::DeleteBucket => self.bucket = None,
            Action::DeleteUser => {
                let user = self.user.as_ref().unwrap();
                if !user.keys.is_empty() || !user.inline.is_empty() || !user.attached.is_empty() {
                    return failed(Class::InUse, "DeleteConflict");
                }
                self.user = None;
            }
            on_user => {
                let widens = self.widens_policies;
                let Some(user) = &mut self.user else { return failed(Class::Missing, "NoSuchEntity") };
                match on_user {
                    Action::BoundUser { arn } => user.user.boundary = Some(arn.clone()),
                    Action::TagUser { set, remove } => {
                        user.user.tags.extend(set.clone());
                        user.user.tags.retain(|key, _| !remove.contains(key));
                    }
                    Action::PutInlinePolicy { name, document } => {
                        let mut document = document.to_json();
                        if widens {
                            document["Statement"][0]["Resource"] = "*".into();
                        }
                        user.inline.insert(name.clone(), document);
                    }
                    Action::DeleteInlinePolicy { name } => {
                        user.inline.remove(name);
                    }
                    Action::AttachPolicy { arn } if !user.attached.contains(arn) => user.attached.push(arn.clone()),
                    Action::ActivateKey { id } => {
                        let Some(key) = user.keys.iter_mut().find(|key| key.id == *id) else {
                            return failed(Class::Missing, "NoSuchEntity");
                        };
                        key.active = true;
                    }
                    Action::DeleteKey { id } => user.keys.retain(|key| key.id != *id),
                    _ => {}
                }
            }
        }
        Outcome::DONE
    }

    fn write_secret(&mut self, desired: &Desired, key: &KeyPair, created_at: Option<Timestamp>) {
        let data = secret_data(&desired.secret.fields, key).into_iter().map(|(name, field)| (name.to_owned(), field.value));
        let secret = self.secret.entry(desired.secret.name.clone()).or_default();
        assert!(!secret.foreign, "a foreign Secret is overwritten");
        secret.data.extend(data);
        (secret.created_at, secret.claimed) = (created_at, true);
    }
}

/// Neither Role nor RoleBinding.
pub fn nobody() -> Access {
    Access { role: Held::Absent, binding: Held::Absent }
}

/// What S3 gives a new bucket.
pub fn defaults() -> Live {
    let yaml = "{publicAccessBlock: {Set: {}}, encryption: {Set: {algorithm: AES256, blocked: [SSE-C]}}, ownership: {Set: BucketOwnerEnforced}, cors: Unset, versioning: Unset, objectLock: Unset, acceleration: Unset, logging: Unset, lifecycle: Unset, bucketPolicy: Unset}";
    let value: Value = serde_saphyr::from_str(yaml).unwrap();
    serde_json::from_value(value).unwrap()
}

/// Only managed settings are read; the tags always.
fn managed(bucket: &TheBucket, desired: &Desired) -> Live {
    bucket.live.managed(&desired.bucket.settings)
}
