//! A plan as text, for the `plan` subcommand, Events and conditions; what `get`, `status` and `doctor` show; and the
//! operator's own IAM policy. Pure; no text in it contains a secret.

pub mod adoption;
mod age;
mod because;
pub mod connection;
mod consequences;
pub mod diagnosis;
pub mod documents;
pub mod findings;
#[cfg(test)]
mod fixture;
pub mod gitops;
pub mod handoff;
pub mod iam_policy;
pub mod import;
pub mod overview;
pub mod requests;
pub mod screen;
pub mod starter;

use std::fmt::Write;

pub use because::{because, why};
pub use consequences::{Consequences, consequences};

use crate::api::BucketConnectionSpec;
use crate::desired::Desired;
use crate::plan::{Action, Plan, Step};
use crate::settings::FieldDiff;

/// Longest value that is shown whole.
const VALUE_LENGTH: usize = 200;

/// The whole plan, for people. `name` is `namespace/name` of the object, and `applied` its spec in the cluster, if the
/// plan is for another one.
pub fn plan(name: &str, plan: &Plan, desired: &Desired, applied: Option<&BucketConnectionSpec>) -> String {
    let taken = consequences(plan, desired, applied);
    let mut text = format!("{name}: {}\n", counted(plan, &taken));
    for step in &plan.steps {
        let _ = writeln!(text, "\n{} {}", sign(&step.action), printable(&summary(step, desired)));
        let _ = writeln!(text, "    because {}", printable(&because(plan, step)));
        fields(step).for_each(|diff| text.push_str(&field(diff)));
    }
    for step in &plan.observed {
        let _ = writeln!(text, "\n= only observed: {}", printable(&summary(step, desired)));
        fields(step).for_each(|diff| text.push_str(&field(diff)));
    }
    for blocker in &plan.blockers {
        let _ = writeln!(text, "\n! {} ({}): {}", blocker.part, blocker.reason, printable(&blocker.message));
    }
    for diff in plan.adoption.iter().flat_map(|adoption| &adoption.changes) {
        text.push_str(&field(diff));
    }
    for (index, (kind, what)) in taken.lines().enumerate() {
        let _ = writeln!(text, "{}{kind}: {}", if index == 0 { "\n" } else { "" }, printable(what));
    }
    text
}

/// The same text in one line, with control characters, line separators and direction changes escaped: a tenant's text
/// can neither look like a line of the operator nor hide one.
pub fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut line, c| {
        let _ = if moves_text(c) { write!(line, "{}", c.escape_default()) } else { line.write_char(c) };
        line
    })
}

/// Whether a terminal acts on this character, or shows others at another place.
pub(crate) fn moves_text(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A count with its noun.
pub(crate) fn plural(count: usize, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

fn counted(plan: &Plan, taken: &Consequences) -> String {
    let steps = plural(plan.steps.len(), "step");
    match plan.blockers.len() {
        0 if plan.in_sync() && taken.is_empty() => "in sync, nothing to change".to_owned(),
        0 => steps,
        n if plan.steps.is_empty() && !plan.frozen => plural(n, "problem"),
        n if plan.frozen => format!("{}, nothing will be changed", plural(n, "problem")),
        n => format!("{steps}, {}", plural(n, "problem")),
    }
}

/// `+` creates, `~` changes, `-` removes, `?` only tries.
fn sign(action: &Action) -> char {
    match action {
        Action::CreateBucket { .. }
        | Action::CreateUser { .. }
        | Action::CreatePolicy { .. }
        | Action::AttachPolicy { .. }
        | Action::IssueKey { .. } => '+',
        Action::WriteSetting(_)
        | Action::SetPermissionsBoundary { .. }
        | Action::TagPolicy { .. }
        | Action::TagUser { .. }
        | Action::PutInlinePolicy { .. }
        | Action::UpdatePolicy { .. }
        | Action::RecordKeys { .. }
        | Action::ActivateKey { .. }
        | Action::DeactivateKey { .. }
        | Action::DenyAllAccess { .. }
        | Action::Restart { .. }
        | Action::WriteSecret { .. }
        | Action::WriteRole { .. }
        | Action::WriteRoleBinding { .. }
        | Action::ReleaseRbac { .. }
        | Action::ReleaseSecret { .. } => '~',
        Action::DeleteRbac { .. }
        | Action::DeleteInlinePolicy { .. }
        | Action::RemovePolicy { .. }
        | Action::DeleteKey { .. }
        | Action::RemoveDenyPolicy
        | Action::DeleteSecret { .. }
        | Action::EmptyBucket
        | Action::DeleteBucket
        | Action::DeleteUser => '-',
        Action::Verify { .. } | Action::DryRunSecret { .. } => '?',
    }
}

/// The fields of a step, if they say more than the step itself.
fn fields(step: &Step) -> impl Iterator<Item = &FieldDiff> {
    step.diffs.iter().filter(|_| shows_fields(&step.action))
}

fn shows_fields(action: &Action) -> bool {
    matches!(
        action,
        Action::WriteSetting(_)
            | Action::SetPermissionsBoundary { .. }
            | Action::TagUser { .. }
            | Action::PutInlinePolicy { .. }
            | Action::CreatePolicy { .. }
            | Action::UpdatePolicy { .. }
            | Action::WriteSecret { .. }
            | Action::WriteRole { .. }
            | Action::WriteRoleBinding { .. }
            | Action::ActivateKey { .. }
            | Action::IssueKey { .. }
    )
}

/// One step as one line.
pub fn summary(step: &Step, desired: &Desired) -> String {
    let (bucket, user) = (&desired.bucket.name, &desired.user.name);
    match &step.action {
        Action::CreateBucket { .. } => format!("create bucket {bucket} in {}", desired.region),
        Action::WriteSetting(write) => format!("write {} of bucket {bucket}", write.setting().field()),
        Action::CreateUser { .. } => format!("create IAM user {}{user}", desired.user.path),
        Action::SetPermissionsBoundary { arn } => format!("set the permissions boundary {arn} on IAM user {user}"),
        Action::TagUser { .. } => format!("tag IAM user {user}"),
        Action::RecordKeys { issued: false, ledger } if ledger.issuing.is_some() => {
            format!("record in the tags of IAM user {user} that a key is being issued")
        }
        Action::RecordKeys { .. } => format!("record the access keys in the tags of IAM user {user}"),
        Action::PutInlinePolicy { name, .. } => format!("write inline policy {name} of user {user}"),
        Action::DeleteInlinePolicy { name } => format!("delete inline policy {name} of user {user}"),
        Action::CreatePolicy { .. } => format!("create managed policy {}{}", desired.policy.path, desired.policy.name),
        Action::UpdatePolicy { prune: None, .. } => format!("write a new version of managed policy {}", desired.policy.name),
        Action::UpdatePolicy { prune: Some(oldest), .. } => {
            format!("write a new version of managed policy {}, deleting its oldest, {oldest}", desired.policy.name)
        }
        Action::TagPolicy { arn, .. } => format!("tag managed policy {arn}"),
        Action::AttachPolicy { arn } => format!("attach {arn} to user {user}"),
        Action::RemovePolicy { arn } => format!("detach {arn} from user {user} and delete it"),
        Action::IssueKey { secret, .. } => format!("issue an access key for user {user} into Secret {secret}"),
        Action::ActivateKey { id } => format!("activate access key {id} of user {user}"),
        Action::DryRunSecret { name } => format!("verify with a dry run that Secret {name} can be written"),
        Action::DeactivateKey { id } => format!("deactivate access key {id} of user {user}"),
        Action::DeleteKey { id } => format!("delete access key {id} of user {user}"),
        Action::DenyAllAccess { sessions_before: None } => format!("deny user {user} everything"),
        Action::DenyAllAccess { sessions_before: Some(before) } => {
            format!("deny everything to sessions of user {user} that began before {before}")
        }
        Action::RemoveDenyPolicy => format!("remove the policy that denies earlier sessions of user {user}"),
        Action::Restart { kind, name, .. } => format!("restart {kind} {name}"),
        Action::WriteSecret { name, .. } => format!("write Secret {name}"),
        Action::DeleteSecret { name } => format!("delete Secret {name}"),
        Action::ReleaseSecret { name } => format!("release Secret {name}"),
        Action::WriteRole { name, secrets } => format!("write Role {name}: get Secret {}", secrets.join(", ")),
        Action::WriteRoleBinding { name, groups } => {
            format!("let {} read Secret {}, by RoleBinding {name}", groups.join(", "), desired.secret.name)
        }
        Action::DeleteRbac { kind, name } => format!("delete {kind} {name}"),
        Action::ReleaseRbac { kind, name } => format!("release {kind} {name}"),
        Action::Verify { .. } => {
            let proofs = desired.proofs.required.iter().chain(&desired.proofs.optional);
            format!("verify the key: {}", proofs.map(|proof| proof.to_string()).collect::<Vec<_>>().join(", "))
        }
        Action::EmptyBucket => format!("delete every object, version and upload in bucket {bucket}"),
        Action::DeleteBucket => format!("delete bucket {bucket}"),
        Action::DeleteUser => format!("delete IAM user {user}"),
    }
}

fn field(diff: &FieldDiff) -> String {
    let [live, desired] = diff.shown(VALUE_LENGTH);
    format!("    {}\n", printable(&format!("{}: {live} -> {desired}", diff.path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenants_words_are_no_line_of_the_plan() {
        let forged = FieldDiff::new("bucket.lifecycle.rules[x\n+ create user\u{1b}[2K]", None, Some("\u{202e}\r".into()));
        assert_eq!(field(&forged), "    bucket.lifecycle.rules[x\\n+ create user\\u{1b}[2K]: (none) -> \"\\u{202e}\\r\"\n");
    }
}
