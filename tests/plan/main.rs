//! Recorded plans: command scripts in, compared by their whole output.
//!
//! A script (tests/plan/*.txt) is a story about one object and a small AWS in memory. Lines beginning with `>` are commands,
//! `|` their input, everything else their output. `UPDATE=1 cargo test --test plan` records the scripts again; review the diff.
//!
//! | command | does |
//! |---|---|
//! | `> object` | sets the spec, as YAML over a small default; a change raises the generation |
//! | `> defaults` | sets the defaults of the account, as YAML |
//! | `> plan` | reads, and prints what the next reconcile would do |
//! | `> reconcile` | reconciles, as the controller does; prints the steps that were not done, and the conditions |
//! | `> killed <n>` | reconciles, and is killed after n steps |
//! | `> fail <Action> <Class> <code> [<IAM action>]` | the next such step fails; with `lose` instead of `fail` it is executed, and its answer is lost |
//! | `> edit <what>` | someone changes something: see `edit()` |
//! | `> failing [<Proof> <Class> <code> <IAM action>]` | from now on only this verification call fails |
//! | `> request` | requests a reconcile |
//! | `> ineffective` | prints the writes that are counted or held back |
//! | `> forget`, `> forget status` | object, status and Secrets are lost, and the object is applied again; only the status is lost |
//! | `> ledger` | prints what AWS records about the keys |
//! | `> namespace <cluster>/<uid>` | from now on the object is in that namespace, which was created again under the same name |
//! | `> inherit` | from now on the account lets a namespace inherit from earlier ones of its name |
//! | `> tags` | prints which namespace the tags name |
//! | `> wait` | ten minutes pass |
//! | `> rotate`, `> revoke` | requests a rotation, or a revocation |
//! | `> days <n>` | n days pass |
//! | `> workload <name>` | a Deployment asks to be restarted after a change of the key |
//! | `> policy` | prints the actions of the user's inline policy |
//! | `> phase`, `> secrets`, `> denials` | print the phase of the key, the Secrets and their keys, the policy that denies sessions |
//! | `> retain` | the object is deleted with `deletionPolicy: Retain`, and applied again |
//! | `> delete` | prints the plan of `deletionPolicy: Delete`, and executes it |
//! | `> drift` | prints the drift journal |
//! | `> keys` | prints the user's keys |
//! | `> approve [<hash>]` | from now on only the account can approve adoptions: these |
//! | `> user` | prints the user's permissions boundary and inline policies |
//! | `> capabilities` | prints the capabilities in the status |
//! | `> readers` | prints Roles and RoleBindings, and the access in the status |

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod calls;
mod convergence;
mod edits;
mod fuzz;
mod laws;
mod look;
#[path = "../support/merge.rs"]
mod merge;
mod objects;
mod released;
mod renaming;
mod schema;
mod world;

use std::fmt::Write;
use std::path::Path;

use bucketconnection::api::{BucketConnection, PreviousKey, REQUESTED_AT, REVOKE_AT, ROTATE_AT};
use bucketconnection::credentials::Sensitive;
use bucketconnection::desired::names;
use bucketconnection::execute::{Executed, Outcome};
use bucketconnection::observed::{Held, OwnBinding, Remembered, Workload, WorkloadKind};
use bucketconnection::plan::Action;
use bucketconnection::render;
use bucketconnection::settings::tags::Tags;
use bucketconnection::settings::{Live, Reading};
use bucketconnection::vocabulary::problem::{Class, Problem, Source};
use edits::edit;
use jiff::ToSpan;
use merge::merge;
use serde_json::{Value, json};
use world::{TheSecret, World};

#[test]
fn recorded_plans() {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plan");
    let mut scripts: Vec<_> = std::fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path()).collect();
    scripts.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    scripts.sort();
    assert!(scripts.len() >= 5);
    for script in scripts {
        let recorded = std::fs::read_to_string(&script).unwrap();
        let replayed = Story::new().replay(&recorded);
        if std::env::var("UPDATE").is_ok() {
            std::fs::write(&script, &replayed).unwrap();
        } else if replayed != recorded {
            let line = recorded.lines().zip(replayed.lines()).position(|(a, b)| a != b).unwrap_or_default();
            panic!(
                "{} differs from line {}:\n  recorded: {}\n  now:      {}\nUPDATE=1 cargo test --test plan records it again",
                script.display(),
                line + 1,
                recorded.lines().nth(line).unwrap_or_default(),
                replayed.lines().nth(line).unwrap_or_default()
            );
        }
    }
}

struct Story {
    world: World,
    object: BucketConnection,
    failures: Vec<(String, Outcome)>,
}

/// A connection in namespace lab; `spec` is merged over a small one.
pub fn connection(spec: Value) -> BucketConnection {
    let mut object = json!({
        "apiVersion": "bucketconnection.dev/v1alpha1",
        "kind": "BucketConnection",
        "metadata": { "name": "genomics", "namespace": "lab", "uid": "uid", "generation": 1 },
        "spec": { "preset": "ReadWrite", "region": "us-east-1", "bucket": { "name": "lab-bucket", "prefix": "runs/" } },
    });
    merge(&mut object["spec"], spec);
    serde_json::from_value(object).unwrap()
}

impl Story {
    fn new() -> Self {
        Self { world: World::new(), object: connection(json!({})), failures: Vec::new() }
    }

    /// Runs the commands of a script; returns the script with what they print now.
    fn replay(&mut self, script: &str) -> String {
        let mut replayed = String::new();
        let mut lines = script.lines().peekable();
        while let Some(line) = lines.next() {
            if let Some(command) = line.strip_prefix("> ") {
                let mut input = String::new();
                let _ = writeln!(replayed, "{line}");
                while let Some(text) = lines.peek().and_then(|line| line.strip_prefix("| ")) {
                    let _ = writeln!(replayed, "| {text}");
                    input += &format!("{text}\n");
                    lines.next();
                }
                replayed += &self.command(command, &input);
                replayed.push('\n');
            } else if line.starts_with('#') {
                let _ = writeln!(replayed, "{line}");
                if lines.peek().is_some_and(|next| next.is_empty()) {
                    replayed.push('\n');
                }
            }
        }
        let unused: Vec<_> = self.failures.iter().map(|(action, _)| action).collect();
        assert!(unused.is_empty(), "the script lets {unused:?} fail, and no plan has such a step");
        replayed.trim_end().to_owned() + "\n"
    }

    fn command(&mut self, command: &str, input: &str) -> String {
        let words: Vec<_> = command.split(' ').collect();
        match words[..] {
            ["object"] => {
                let spec: Value = serde_saphyr::from_str(input).unwrap();
                let (status, generation) = (self.object.status.take(), self.object.metadata.generation.unwrap());
                self.object = connection(spec);
                (self.object.metadata.generation, self.object.status) = (Some(generation + 1), status);
                String::new()
            }
            ["defaults"] => {
                let text = if input.is_empty() { "{}" } else { input };
                self.world.defaults = serde_saphyr::from_str(text).unwrap();
                String::new()
            }
            ["failing", ref failing @ ..] => {
                self.world.failing.clear();
                if let [proof, class, code, action] = failing {
                    let known = |text: &str| Value::String(text.to_owned());
                    let class: Class = serde_json::from_value(known(class)).unwrap();
                    let proof = serde_json::from_value(known(proof)).unwrap();
                    self.world.failing.insert(proof, Problem::new(class, action, *code, ""));
                }
                String::new()
            }
            ["capabilities"] => {
                let capabilities = self.object.status.as_ref().map(|status| status.capabilities.clone()).unwrap_or_default();
                capabilities.iter().map(|(name, c)| format!("{name} {:?}: {}\n", c.state, c.message)).collect()
            }
            ["ineffective"] => {
                let writes = self.object.status.as_ref().map(|status| status.ineffective_writes.clone()).unwrap_or_default();
                writes.iter().map(|r| format!("{} {}: {}\n", r.condition, r.path, r.count)).collect()
            }
            ["request"] => {
                let stamp = self.world.now.to_string();
                self.object.metadata.annotations.get_or_insert_default().insert(REQUESTED_AT.into(), stamp);
                String::new()
            }
            ["rotate" | "revoke"] => {
                let annotation = if words[0] == "rotate" { ROTATE_AT } else { REVOKE_AT };
                let stamp = self.world.now.to_string();
                self.object.metadata.annotations.get_or_insert_default().insert(annotation.into(), stamp);
                String::new()
            }
            ["days", days] => {
                self.world.now = self.world.now.checked_add((24 * days.parse::<i64>().unwrap()).hours()).unwrap();
                String::new()
            }
            ["workload", name] => {
                let workload = Workload { kind: WorkloadKind::Deployment, name: name.to_owned(), key: None };
                self.world.workloads.push(workload);
                String::new()
            }
            ["secrets"] => {
                let key = |secret: &TheSecret| secret.data["AWS_ACCESS_KEY_ID"].reveal().to_owned();
                self.world.secret.iter().map(|(name, secret)| format!("{name}: {}\n", key(secret))).collect()
            }
            ["denials"] => {
                let user = self.world.user.as_ref().unwrap();
                user.inline.get("bucketconnection-revoked").map_or("none\n".to_owned(), |denial| format!("{denial}\n"))
            }
            ["policy"] => {
                let user = self.world.user.as_ref().unwrap();
                let actions = |statement: &Value| format!("{}\n", statement["Action"]);
                user.inline.values().flat_map(|policy| policy["Statement"].as_array().unwrap()).map(actions).collect()
            }
            ["phase"] => {
                let credentials =
                    self.object.status.as_ref().and_then(|status| status.memory.credentials.clone()).unwrap_or_default();
                let shown = |key: &PreviousKey| key.access_key_id.clone();
                let at = credentials.next_rotation_at.map_or("never".to_owned(), |at| at.0.to_string());
                let previous = credentials.previous.as_ref().map(shown);
                format!("{:?}, key {:?}, before {previous:?}, next at {at}\n", credentials.phase, credentials.access_key_id)
            }
            ["plan"] if Remembered::of(&self.object).revoke => {
                let (_, plan) = self.world.plan_revocation(&self.object);
                render::plan("lab/genomics", &plan, &self.world.resolve(&self.object).unwrap(), None)
            }
            ["plan"] => match self.world.plan(&mut self.object.clone(), true) {
                Ok((desired, _, _, plan)) => render::plan("lab/genomics", &plan, &desired, None),
                Err(errors) => errors.iter().map(|error| format!("{error}\n")).collect(),
            },
            ["reconcile"] => {
                let failures = &mut self.failures;
                let done = self.world.reconcile(&mut self.object, |action| failure(failures, action));
                let mut text = String::new();
                for Executed { step, outcome } in done.report.undone() {
                    let why = outcome.problem().map_or_else(|| "skipped".to_owned(), |problem| problem.code.clone());
                    let _ = writeln!(text, "not done: {} ({why})", render::summary(step, &done.desired));
                }
                text + &self.conditions()
            }
            ["fail" | "lose", action, class, code, ref called @ ..] => {
                let class: Class = serde_json::from_value(json!(class)).unwrap();
                // A verb and a resource, as RBAC has them.
                let source = if called.len() > 1 { Source::Kubernetes } else { Source::Aws };
                let called = if called.is_empty() { "test:Action".to_owned() } else { called.join(" ") };
                let problem = Problem::at(source, class, &called, code, "");
                let outcome = if words[0] == "lose" { Outcome::Unknown(problem) } else { Outcome::Failed(problem) };
                self.failures.push((action.to_owned(), outcome));
                String::new()
            }
            ["edit", ref what @ ..] => {
                edit(&mut self.world, &what.join(" "));
                String::new()
            }
            ["killed", steps] => {
                self.world.killed_reconcile(&mut self.object, steps.parse().unwrap());
                String::new()
            }
            ["retain"] => {
                self.world.retain(&self.object);
                self.object.status = None;
                String::new()
            }
            ["forget"] => {
                // The cluster is rebuilt from Git: no status, no Secret, no Role; AWS as it was.
                self.object.status = None;
                self.world.secret.clear();
                self.world.access.clear();
                String::new()
            }
            ["forget", "status"] => {
                let status = self.object.status.as_mut().unwrap();
                status.memory = Default::default();
                String::new()
            }
            ["ledger"] => {
                let tags = self.world.user.as_ref().map(|user| user.user.tags.clone()).unwrap_or_default();
                format!("{}\n", tags.get("bucketconnection.dev/keys").map_or("none", String::as_str))
            }
            ["wait"] => {
                self.world.wait();
                String::new()
            }
            ["delete"] => {
                let (desired, plan) = self.world.plan_deletion(&self.object);
                let text = render::plan("lab/genomics", &plan, &desired, None);
                let failures = &mut self.failures;
                let report = self.world.execute(&desired, &plan, |action| failure(failures, action));
                if !plan.blockers.is_empty() || report.undone().next().is_some() {
                    self.object.status = Some(self.world.fold_deletion(&self.object, &plan, &report));
                    return text + &self.conditions();
                }
                text
            }
            ["drift"] => {
                let drift = self.object.status.as_ref().and_then(|status| status.drift.clone()).unwrap_or_default();
                let entry = |text: &Option<String>| text.clone().unwrap_or_else(|| "(none)".into());
                let lines = drift.journal.iter().map(|e| format!("{}: {} -> {}\n", e.path, entry(&e.live), entry(&e.desired)));
                format!("{} in all\n{}", drift.count, lines.collect::<String>())
            }
            ["readers"] => {
                let mut text = String::new();
                for (name, access) in &self.world.access {
                    let bound = match &access.binding {
                        Held::Ours(bound) => format!("{}: {}", bound.role, bound.groups.join(", ")),
                        other => format!("{other:?}"),
                    };
                    let role =
                        if let Held::Ours(role) = &access.role { role.rules.to_string() } else { format!("{:?}", access.role) };
                    let _ = writeln!(text, "{name}\n  {bound}\n  {role}");
                }
                let status = self.object.status.as_ref().and_then(|status| status.memory.access.clone()).unwrap_or_default();
                text + &format!("status: {} by {}\n", status.groups.join(", "), status.roles.join(", "))
            }
            ["namespace", id] => {
                self.world.namespace = Some(id.to_owned());
                self.object.metadata.uid = Some(format!("uid in {id}"));
                self.command("forget", "")
            }
            ["inherit"] => {
                self.world.inherits = true;
                String::new()
            }
            ["tags"] => {
                let value = |tags: &Tags| tags.get(names::NAMESPACE_TAG).cloned().unwrap_or_else(|| "none".into());
                let bucket = self.world.bucket.as_ref().map(|bucket| match &bucket.live.tags {
                    Reading::Set(tags) => value(tags),
                    _ => "none".into(),
                });
                let user = self.world.user.as_ref().map(|user| value(&user.user.tags));
                let policies = self.world.policies.values().map(|policy| value(&policy.tags));
                let lines = [("bucket", bucket), ("user", user)].into_iter().filter_map(|(what, tag)| Some((what, tag?)));
                let lines = lines.chain(policies.map(|tag| ("policy", tag)));
                lines.map(|(what, tag)| format!("{what}: {tag}\n")).collect()
            }
            ["approve", ref hashes @ ..] => {
                self.world.approved = Some(hashes.iter().map(|&hash| hash.to_owned()).collect());
                String::new()
            }
            ["user"] => {
                let user = self.world.user.clone().unwrap_or_default();
                let boundary = user.user.boundary.unwrap_or_else(|| "none".into());
                let policies: String = user.inline.iter().map(|(name, document)| format!("{name}: {document}\n")).collect();
                format!("boundary: {boundary}\n{policies}")
            }
            ["keys"] => {
                let keys = self.world.user.as_ref().map(|user| user.keys.clone()).unwrap_or_default();
                let state = |active: bool| if active { "" } else { " Inactive" };
                keys.iter().map(|key| format!("{}{}\n", key.id, state(key.active))).collect()
            }
            _ => panic!("no command {command:?}"),
        }
    }

    /// Ready, and whatever else is not as it should be.
    fn conditions(&self) -> String {
        let status = self.object.status.as_ref().unwrap();
        let good = |type_: &str| if matches!(type_, "Reconciling" | "Stalled" | "DriftDetected") { "False" } else { "True" };
        let worth = status.conditions.iter().filter(|c| c.type_ == "Ready" || c.status != good(&c.type_));
        worth.map(|c| format!("{}={} {}: {}\n", c.type_, c.status, c.reason, c.message)).collect()
    }
}

/// The failure that was ordered for `action`.
fn failure(failures: &mut Vec<(String, Outcome)>, action: &Action) -> Option<Outcome> {
    let name = format!("{action:?}");
    let at = failures.iter().position(|(failing, _)| name.starts_with(failing.as_str()))?;
    Some(failures.remove(at).1)
}
