//! A small AWS and Kubernetes in memory, for which plans are made and on which they are executed. Pure, like the core
//! that it tests.

use std::collections::BTreeMap;

use bucketconnection::api::{AccountDefaults, ApprovedBy, BucketConnection, BucketConnectionStatus, SignIn};
use bucketconnection::credentials::{KeyPair, Sensitive, secret_data};
use bucketconnection::desired::{self, Account, Desired, Grant, Proof, SpecError, names};
use bucketconnection::execute::{Executed, Outcome, Report, StepOutput};
use bucketconnection::observed::{
    Access, Held, KeyProof, Observed, OwnBinding, OwnRole, ProbeResult, RbacKind, Remembered, Scope, Secret, User, Workload,
};
use bucketconnection::plan::{self, Action, Plan, deletion};
use bucketconnection::settings::tags::Tags;
use bucketconnection::settings::{Live, Reading, Write};
use bucketconnection::status::{Checked, CutOff, Reconcile, Stage, condition, fold, intend, record};
use bucketconnection::vocabulary::conditions::ConditionType;
use bucketconnection::vocabulary::problem::{Class, Problem};
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
    /// Roles and RoleBindings by their common name.
    pub access: BTreeMap<String, Access>,
    /// Workloads that ask to be restarted after a change of the key.
    pub workloads: Vec<Workload>,
    pub now: Timestamp,
    /// The plans that the account approves, if only the account can approve.
    pub approved: Option<Vec<String>>,
    /// A Secret, or `keys` or `attached policies` of the user, that cannot be read at the moment.
    pub unreadable: Option<String>,
    /// The namespace, by the uids of cluster and namespace; and whether the account lets it inherit.
    pub namespace: Option<String>,
    pub inherits: bool,
    /// Defaults of the account.
    pub defaults: AccountDefaults,
    /// AWS changes the value of each write of CORS rules.
    pub rewrites_cors: bool,
    /// AWS widens each inline policy that is written.
    pub widens_policies: bool,
    /// Optional verification calls that fail.
    pub failing: BTreeMap<Proof, Problem>,
    /// The failure of an existing key that is not managed, if it does not work.
    pub theirs: Option<Class>,
    /// Keys that AWS does not list yet.
    pub late: Vec<TheKey>,
    /// Number of ids created so far.
    count: usize,
}

#[derive(Clone, Debug, Default)]
pub struct TheBucket {
    pub created: Timestamp,
    pub live: Live,
    pub objects: usize,
}

#[derive(Clone, Debug, Default)]
pub struct TheUser {
    pub user: User,
    pub inline: BTreeMap<String, Value>,
    pub attached: Vec<String>,
    pub groups: Vec<String>,
    pub keys: Vec<TheKey>,
}

#[derive(Clone, Debug)]
pub struct TheKey {
    pub id: String,
    pub secret: String,
    pub active: bool,
    pub created_at: Timestamp,
    pub expired: bool,
    pub used_at: Option<Timestamp>,
}

#[derive(Clone, Debug, Default)]
pub struct ThePolicy {
    pub id: String,
    pub tags: Tags,
    /// Oldest first; the default is marked.
    pub versions: Vec<(usize, Value)>,
    pub default: usize,
}

impl ThePolicy {
    /// The document of the default version.
    pub fn document(&self) -> Value {
        self.versions.iter().find(|(number, _)| *number == self.default).unwrap().1.clone()
    }
}

#[derive(Clone, Debug, Default)]
pub struct TheSecret {
    pub data: BTreeMap<String, Sensitive>,
    pub created_at: Option<Timestamp>,
    pub version: Option<i64>,
    pub claimed: bool,
    pub foreign: bool,
}

/// The results of a reconcile.
#[derive(Debug)]
pub struct Reconciled {
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

    pub fn resolve(&self, object: &BucketConnection) -> Result<Desired, Vec<SpecError>> {
        desired::resolve(object, CLUSTER, &account(), &self.authorize())
    }

    /// Everything that an account can allow; the spec approves adoptions, unless only the account can.
    fn authorize(&self) -> Grant {
        let mut grant = Grant { defaults: self.defaults.clone(), ..Grant::of_unknown_account() };
        grant.adoption.approval = ApprovedBy::Connection;
        (grant.namespace, grant.inherits) = (self.namespace.clone(), self.inherits);
        if let Some(plans) = &self.approved {
            grant.adoption.approval = ApprovedBy::Account;
            grant.adoption.approved_plans.clone_from(plans);
        }
        grant
    }

    /// The plan of the next reconcile.
    pub fn plan(
        &self,
        object: &mut BucketConnection,
        look: bool,
    ) -> Result<(Desired, Observed, Remembered, Plan), Vec<SpecError>> {
        let desired = self.resolve(object)?;
        let mut remembered = Remembered::of(object);
        let secret = self.secret_of(&desired);
        let optimistic = !look && !remembered.seen && secret == Secret::Absent && desired.may_create_blindly();
        let look = |remembered: &Remembered| match optimistic {
            true => Observed { access: self.readers(&desired, remembered), ..self.secrets(&desired, remembered) },
            false => self.look(&desired, remembered, Scope::Reconcile),
        };
        let mut observed = look(&remembered);
        if remembered.recall_secret(&desired, &observed) {
            observed = look(&remembered);
        }
        remembered.recall(object, &desired, &observed);
        let versioning = match &self.bucket {
            Some(bucket) if observed.asks_versioning(&desired, &remembered, self.now) => bucket.live.versioning.clone(),
            _ => Reading::NotRead,
        };
        let observed = Observed { versioning, ..observed };
        let grant = self.authorize();
        let desired = desired::adapted(desired, observed.versioned(), object, CLUSTER, &grant)?;
        let plan = plan::plan(&desired, &observed, &remembered, self.now);
        Ok((desired, observed, remembered, plan))
    }

    /// One reconcile; `fails` may make a step fail.
    pub fn reconcile(&mut self, object: &mut BucketConnection, mut fails: impl FnMut(&Action) -> Option<Outcome>) -> Reconciled {
        self.now = self.now.checked_add(6.seconds()).unwrap();
        if Remembered::of(object).revoke {
            return self.revoke(object, fails);
        }
        let (desired, observed, remembered, plan) = self.plan(object, false).expect("a good spec");
        if let Some(intended) = intend(object, &desired, &plan, self.now) {
            object.status = Some(intended);
        }
        let mut report = self.execute(&desired, &plan, &mut fails);
        let sign_in = &SignIn::default();
        let (desired, observed, remembered) = (&desired, &observed, &remembered);
        let checked = Checked { began: self.now, sign_in, desired, observed, remembered, plan: &plan, report: &report };
        let known = fold(&Reconcile { object, now: self.now, stage: Stage::Checked(checked) });
        if let Some(step) = record(&known, &checked) {
            let bookkeeping = Plan { steps: vec![step], ..Plan::default() };
            report.steps.extend(self.execute(desired, &bookkeeping, fails).steps);
        }
        let checked = Checked { began: self.now, sign_in, desired, observed, remembered, plan: &plan, report: &report };
        let status = fold(&Reconcile { object, now: self.now, stage: Stage::Checked(checked) });
        object.status = Some(status);
        Reconciled { desired: desired.clone(), plan, report }
    }

    /// The plan of a revocation.
    pub fn plan_revocation(&self, object: &BucketConnection) -> (Remembered, Plan) {
        let remembered = Remembered::of(object);
        let told = object.status.as_ref().and_then(|status| condition(status, ConditionType::RevocationComplete));
        let make_room = told.is_some_and(|told| told.reason == "QuotaExceeded");
        let plan = plan::revocation::cut_off(&remembered, &self.look_at_user(), make_room, self.now);
        (remembered, plan)
    }

    /// A reconcile that executes a revocation, and nothing else.
    fn revoke(&mut self, object: &mut BucketConnection, fails: impl FnMut(&Action) -> Option<Outcome>) -> Reconciled {
        let (remembered, plan) = self.plan_revocation(object);
        let desired = self.resolve(object).expect("a good spec");
        let foreign = plan::revocation::foreign(&remembered, &self.look_at_user());
        let report = self.execute(&desired, &plan, fails);
        let user = &remembered.user.unwrap().name;
        let cut = CutOff { user, plan: &plan, report: &report, foreign: &foreign };
        object.status = Some(fold(&Reconcile { object, now: self.now, stage: Stage::Revoking(&cut) }));
        Reconciled { desired, plan, report }
    }

    /// A reconcile that is killed after `steps` steps: they are executed, and no status records them.
    pub fn killed_reconcile(&mut self, object: &mut BucketConnection, steps: usize) {
        if Remembered::of(object).revoke {
            let mut done = 0;
            let before = object.status.clone();
            self.revoke(object, |_| {
                done += 1;
                (done > steps).then_some(Outcome::Skipped)
            });
            object.status = before;
            return;
        }
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

    /// One reconcile of an object that is being deleted with `Delete`.
    pub fn plan_deletion(&self, object: &BucketConnection) -> (Desired, Plan) {
        let desired = self.resolve(object).expect("a good spec");
        let mut remembered = Remembered::of(object);
        let mut observed = self.look(&desired, &remembered, Scope::Deletion);
        if remembered.recall_secret(&desired, &observed) {
            observed = self.look(&desired, &remembered, Scope::Deletion);
        }
        remembered.recall(&mut object.clone(), &desired, &observed);
        let plan = deletion::delete(&desired, &observed, &remembered);
        (desired, plan)
    }

    /// The object is deleted with `Retain`; its status is gone.
    pub fn retain(&mut self, object: &BucketConnection) {
        let remembered = Remembered::of(object);
        let names = deletion::retained_secrets(object, &remembered);
        let own = |name: &String| self.secret(name).own_of(name);
        let names: Vec<_> = names.iter().filter_map(own).chain(names.iter().cloned()).collect();
        let secrets = names.into_iter().map(|name| (name.clone(), self.secret(&name))).collect();
        let plan = deletion::retain(&remembered, &secrets, &BTreeMap::new());
        let desired = self.resolve(object).expect("a good spec");
        self.execute(&desired, &plan, |_| None);
    }

    pub fn fold_deletion(&self, object: &BucketConnection, plan: &Plan, report: &Report) -> BucketConnectionStatus {
        fold(&Reconcile { object, now: self.now, stage: Stage::Deleting(plan, report) })
    }

    pub fn execute(&mut self, desired: &Desired, plan: &Plan, mut fails: impl FnMut(&Action) -> Option<Outcome>) -> Report {
        let mut report = Report::default();
        let mut issued = None;
        for step in &plan.steps {
            let ready = step.after.iter().all(|before| report.steps[*before].outcome.is_done());
            let outcome = match (ready, fails(&step.action)) {
                (false, _) => Outcome::Skipped,
                (true, Some(Outcome::Unknown(problem))) => {
                    // It was executed, and the answer was lost.
                    if let Action::IssueKey { .. } = &step.action {
                        self.create_key();
                    } else {
                        self.apply(desired, &step.action, &mut issued);
                    }
                    Outcome::Unknown(problem)
                }
                (true, Some(outcome)) => outcome,
                (true, None) => self.apply(desired, &step.action, &mut issued),
            };
            report.steps.push(Executed { step: step.clone(), outcome });
        }
        report
    }

    /// The owner of an existing key that is not managed.
    fn whose(&self, desired: &Desired, proof: &Proof) -> Option<String> {
        let asked = !desired.identity.is_managed() && *proof == Proof::Identity;
        asked.then(|| "arn:aws:iam::210987654321:user/clc".to_owned())
    }

    /// The result of each verification call.
    fn tried(&self, desired: &Desired) -> Vec<ProbeResult> {
        let proofs = desired.proofs.required.iter().chain(&desired.proofs.optional);
        let problem = |proof: &Proof| self.failing.get(proof).cloned();
        proofs.map(|proof| ProbeResult { proof: *proof, found: self.whose(desired, proof), problem: problem(proof) }).collect()
    }

    fn create_key(&mut self) -> KeyPair {
        self.count += 1;
        let key = TheKey {
            id: format!("AKIA{:04}", self.count),
            secret: format!("secret-{}", self.count),
            active: true,
            created_at: self.now,
            expired: false,
            used_at: None,
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
                self.bucket = Some(TheBucket {
                    created: self.now,
                    live: Live { tags: Reading::Set(tags.clone().into()), ..Live::of_new_bucket() },
                    objects: 0,
                });
                return Outcome::Done(StepOutput::Bucket { from: self.now, to: self.now });
            }
            Action::WriteSetting(write) => {
                let rewrites = self.rewrites_cors;
                let Some(bucket) = &mut self.bucket else { return failed(Class::Missing, "NoSuchBucket") };
                let mut write = write.clone();
                if let (true, Write::Cors(rules)) = (rewrites, &mut write) {
                    let small = |origin: &mut String| *origin = origin.to_lowercase();
                    rules.iter_mut().for_each(|rule| rule.allowed_origins.iter_mut().for_each(small));
                }
                bucket.live.apply(&write);
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
                return Outcome::Done(StepOutput::User { id: user.id });
            }
            Action::CreatePolicy { .. } if self.policies.contains_key(&desired.policy.arn) => {
                return failed(Class::Exists, "EntityAlreadyExists");
            }
            Action::CreatePolicy { document, tags } => {
                self.count += 1;
                let id = format!("ANPA{:04}", self.count);
                let versions = vec![(1, document.to_json())];
                let policy = ThePolicy { id: id.clone(), tags: tags.clone(), versions, default: 1 };
                self.policies.insert(desired.policy.arn.clone(), policy);
                return Outcome::Done(StepOutput::Policy { version: "v1".into(), id: Some(id) });
            }
            Action::UpdatePolicy { document, prune } => {
                let policy = self.policies.get_mut(&desired.policy.arn).unwrap();
                policy.versions.retain(|(n, _)| Some(format!("v{n}")) != *prune);
                assert!(policy.versions.len() < 5, "a sixth version is asked for");
                let next = policy.versions.iter().map(|(n, _)| n + 1).max().unwrap();
                policy.versions.push((next, document.to_json()));
                policy.default = next;
                return Outcome::Done(StepOutput::Policy { version: format!("v{next}"), id: None });
            }
            Action::TagPolicy { arn, set, remove } => {
                if let Some(policy) = self.policies.get_mut(arn) {
                    policy.tags.retain(|key, _| !remove.contains(key));
                    policy.tags.extend(set.clone());
                }
            }
            Action::RemovePolicy { arn } => {
                self.policies.remove(arn);
                if let Some(user) = &mut self.user {
                    user.attached.retain(|attached| attached != arn);
                }
            }
            Action::IssueKey { secret, version, .. } => {
                assert!(self.user.is_some(), "a user");
                if self.user.as_ref().is_some_and(|user| user.keys.len() >= 2) {
                    return failed(Class::Quota, "LimitExceeded");
                }
                let key = self.create_key();
                self.write_secret(desired, secret, &key, Some(self.now), *version);
                *issued = Some(key.clone());
                return Outcome::Done(StepOutput::Key { id: key.id, created_at: self.now });
            }
            Action::WriteSecret { name, key, created_at, version } => {
                let issued = issued.clone().map(|issued| (issued, Some(self.now)));
                let (key, created_at) = key.clone().map(|key| (key, *created_at)).or(issued).expect("a key");
                self.write_secret(desired, name, &key, created_at, *version);
            }
            Action::Restart { kind, name, key } => {
                let key = key.clone().or(issued.as_ref().map(|issued| issued.id.clone()));
                let wanted = |workload: &&mut Workload| workload.kind == *kind && workload.name == *name;
                self.workloads.iter_mut().filter(wanted).for_each(|workload| workload.key.clone_from(&key));
            }
            Action::DeleteSecret { name } => {
                self.secret.remove(name);
            }
            Action::ReleaseSecret { name } => self.secret.get_mut(name).unwrap().claimed = false,
            Action::WriteRole { name, secrets } => {
                let role = &mut self.access.entry(name.clone()).or_insert_with(nobody).role;
                assert!(!matches!(role, Held::Foreign(_)), "a foreign Role is overwritten");
                *role = Held::Ours(OwnRole { rules: OwnRole::rules_for(secrets), claimed: true });
            }
            Action::WriteRoleBinding { name, groups } => {
                assert!(
                    self.secret.get(&desired.secret.name).is_some_and(|secret| !secret.foreign),
                    "access to a foreign Secret is granted"
                );
                let live = self.access.entry(name.clone()).or_insert_with(nobody);
                assert!(matches!(live.role, Held::Ours(_)), "bound to a missing or foreign Role");
                let role = OwnBinding::role_of(name);
                if let Held::Ours(binding) = &live.binding {
                    assert_eq!(binding.role, role, "Kubernetes does not allow changing the role of a RoleBinding");
                }
                assert!(!matches!(live.binding, Held::Foreign(_)), "a foreign RoleBinding is overwritten");
                live.binding = Held::Ours(OwnBinding { groups: groups.clone(), others: Vec::new(), role, claimed: true });
            }
            Action::DeleteRbac { kind, name } => {
                let live = self.access.get_mut(name).unwrap();
                match kind {
                    RbacKind::Role => live.role = Held::Absent,
                    RbacKind::RoleBinding => live.binding = Held::Absent,
                }
            }
            Action::ReleaseRbac { .. } | Action::DryRunSecret { .. } => {}
            Action::Verify { key, .. } => {
                let tried = key.clone().or(issued.clone());
                match self.proof(desired, tried.into_iter().collect()) {
                    KeyProof::Works(_) => return Outcome::Done(StepOutput::ProbeResult(self.tried(desired))),
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
                    Action::SetPermissionsBoundary { arn } => user.user.boundary = Some(arn.clone()),
                    Action::TagUser { set, remove } => {
                        user.user.tags.extend(set.clone());
                        user.user.tags.retain(|key, _| !remove.contains(key));
                    }
                    Action::RecordKeys { ledger, issued: asked } => {
                        let mut ledger = ledger.clone();
                        if *asked {
                            ledger.current = issued.as_ref().map(|issued| issued.id.clone());
                        }
                        user.user.tags.extend(ledger.tags());
                        return Outcome::Done(StepOutput::Recorded(ledger.tags()));
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
                    Action::DeactivateKey { id } => {
                        let Some(key) = user.keys.iter_mut().find(|key| key.id == *id) else {
                            return failed(Class::Missing, "NoSuchEntity");
                        };
                        key.active = false;
                    }
                    Action::DenyAllAccess { sessions_before } => {
                        user.inline.insert(names::REVOKED.to_owned(), plan::revocation::denial(*sessions_before).to_json());
                    }
                    Action::RemoveDenyPolicy => {
                        user.inline.remove(names::REVOKED);
                    }
                    Action::DeleteKey { id } => user.keys.retain(|key| key.id != *id),
                    _ => {}
                }
            }
        }
        Outcome::DONE
    }

    fn write_secret(
        &mut self,
        desired: &Desired,
        name: &str,
        key: &KeyPair,
        created_at: Option<Timestamp>,
        version: Option<i64>,
    ) {
        let data = secret_data(&desired.secret.fields, key).into_iter().map(|(name, field)| (name.to_owned(), field.value));
        let secret = self.secret.entry(name.to_owned()).or_default();
        assert!(!secret.foreign, "a foreign Secret is overwritten");
        secret.data.extend(data);
        (secret.created_at, secret.version, secret.claimed) = (created_at, version, true);
    }
}

/// Neither Role nor RoleBinding.
pub fn nobody() -> Access {
    Access { role: Held::Absent, binding: Held::Absent }
}
