//! IAM policies: inline, and managed with their versions.

use serde_json::Value;

use super::iam::{Request, shown_tags, time};
use super::state::{Policy, User};
use super::wire::{Answer, Refusal, element, encoded, refuse, result};

const VERSIONS_PER_POLICY: usize = 5;
const POLICIES_PER_USER: usize = 10;
/// Characters without white space: all inline policies of a user, and one managed policy.
const INLINE_LENGTH: usize = 2_048;
const MANAGED_LENGTH: usize = 6_144;

pub(super) fn answer(iam: &mut Request<'_>) -> Answer {
    match iam.call.action.split(':').nth(1).unwrap_or_default() {
        "PutUserPolicy" => put_inline(iam),
        "GetUserPolicy" => get_inline(iam),
        "ListUserPolicies" => list_inline(iam),
        "DeleteUserPolicy" => delete_inline(iam),
        "ListAttachedUserPolicies" => list_attached(iam),
        "AttachUserPolicy" => attach(iam),
        "DetachUserPolicy" => detach(iam),
        "CreatePolicy" => create(iam),
        "GetPolicy" => get(iam),
        "DeletePolicy" => delete(iam),
        "TagPolicy" | "UntagPolicy" => tag(iam),
        "CreatePolicyVersion" => create_version(iam),
        "GetPolicyVersion" => get_version(iam),
        "ListPolicyVersions" => list_versions(iam),
        "DeletePolicyVersion" => delete_version(iam),
        "SetDefaultPolicyVersion" => set_default(iam),
        _ => iam.unknown(),
    }
}

/// The document that was sent, if it is valid.
fn document(iam: &Request<'_>) -> Result<String, Refusal> {
    let text = iam.needed("PolicyDocument")?;
    let statements =
        |value: &Value| value["Version"] == "2012-10-17" && (value["Statement"].is_array() || value["Statement"].is_object());
    if serde_json::from_str::<Value>(text).is_ok_and(|value| statements(&value)) {
        return Ok(text.to_owned());
    }
    refuse(400, "MalformedPolicyDocument", "Syntax errors in policy.")
}

fn length(document: &str) -> usize {
    document.chars().filter(|c| !c.is_whitespace()).count()
}

fn put_inline(iam: &mut Request<'_>) -> Answer {
    let (name, document) = (iam.needed("PolicyName")?, document(iam)?);
    let user = iam.user()?;
    let others = user.inline.iter().filter(|(other, _)| other.as_str() != name).map(|(_, text)| length(text));
    if others.sum::<usize>() + length(&document) > INLINE_LENGTH {
        return refuse(
            409,
            "LimitExceeded",
            format!("Maximum policy size of {INLINE_LENGTH} bytes exceeded for user {}", user.name),
        );
    }
    user.inline.insert(name.to_owned(), document);
    iam.done()
}

fn get_inline(iam: &mut Request<'_>) -> Answer {
    let (name, user) = (iam.needed("PolicyName")?, iam.seen_user()?);
    let Some(document) = user.inline.get(name) else { return no_policy(name) };
    let inner = element("UserName", &user.name) + &element("PolicyName", name) + &element("PolicyDocument", &encoded(document));
    result(&iam.call.action, &inner)
}

fn list_inline(iam: &mut Request<'_>) -> Answer {
    let user = iam.seen_user()?;
    let names: String = user.inline.keys().map(|name| element("member", name)).collect();
    result(&iam.call.action, &format!("<PolicyNames>{names}</PolicyNames><IsTruncated>false</IsTruncated>"))
}

fn delete_inline(iam: &mut Request<'_>) -> Answer {
    let name = iam.needed("PolicyName")?;
    match iam.user()?.inline.remove(name) {
        Some(_) => iam.done(),
        None => no_policy(name),
    }
}

fn list_attached(iam: &mut Request<'_>) -> Answer {
    let user = iam.seen_user()?;
    let shown = |arn: &String| {
        let name = arn.rsplit('/').next().unwrap_or_default();
        format!("<member>{}{}</member>", element("PolicyName", name), element("PolicyArn", arn))
    };
    let members: String = user.attached.iter().map(shown).collect();
    result(&iam.call.action, &format!("<AttachedPolicies>{members}</AttachedPolicies><IsTruncated>false</IsTruncated>"))
}

fn attach(iam: &mut Request<'_>) -> Answer {
    let arn = iam.needed("PolicyArn")?;
    // All of AWS's own policies exist, and grant nothing here.
    if !arn.contains("::aws:policy/") {
        known(iam, arn)?;
    }
    let user = iam.user()?;
    if user.attached.iter().any(|attached| attached == arn) {
        return iam.done();
    }
    if user.attached.len() >= POLICIES_PER_USER {
        return refuse(409, "LimitExceeded", format!("Cannot exceed quota for PoliciesPerUser: {POLICIES_PER_USER}"));
    }
    user.attached.push(arn.to_owned());
    iam.done()
}

fn detach(iam: &mut Request<'_>) -> Answer {
    let arn = iam.needed("PolicyArn")?;
    let user = iam.user()?;
    if !user.attached.iter().any(|attached| attached == arn) {
        return no_policy(arn);
    }
    user.attached.retain(|attached| attached != arn);
    iam.done()
}

/// Refuses a write that names a policy which does not exist, or not yet.
fn known(iam: &mut Request<'_>, arn: &str) -> Result<(), Refusal> {
    let unknown = iam.call.behaviour.new_policies.draw(&mut iam.state.rng);
    match iam.current().policies.get(arn) {
        Some(policy) if policy.created + unknown <= iam.call.now => Ok(()),
        _ => no_policy(arn),
    }
}

/// The policy that a write names, to be changed.
fn policy<'a>(iam: &'a mut Request<'_>) -> Result<&'a mut Policy, Refusal> {
    let arn = iam.needed("PolicyArn")?;
    known(iam, arn)?;
    Ok(iam.change().policies.get_mut(arn).unwrap())
}

/// The policy that a read names, and the number of users that it is attached to.
fn seen_policy(iam: &mut Request<'_>) -> Result<(Policy, usize), Refusal> {
    let arn = iam.needed("PolicyArn")?;
    let seen = iam.read();
    let holds = |user: &&User| user.attached.iter().any(|attached| attached == arn);
    let attached = seen.users.values().filter(holds).count();
    seen.policies.get(arn).cloned().map_or_else(|| no_policy(arn), |policy| Ok((policy, attached)))
}

fn managed_document(iam: &Request<'_>) -> Result<String, Refusal> {
    let document = document(iam)?;
    if length(&document) > MANAGED_LENGTH {
        return refuse(409, "LimitExceeded", format!("Cannot exceed quota for PolicySize: {MANAGED_LENGTH}"));
    }
    Ok(document)
}

fn create(iam: &mut Request<'_>) -> Answer {
    let (name, path) = (iam.needed("PolicyName")?, iam.call.parameter("Path").unwrap_or("/"));
    let (document, arn) = (managed_document(iam)?, iam.arn("policy", path, name));
    // As for users, names are unique regardless of case and path.
    if iam.current().policies.values().any(|policy| policy.name.eq_ignore_ascii_case(name)) {
        return refuse(
            409,
            "EntityAlreadyExists",
            format!("A policy called {name} already exists. Duplicate names are not allowed."),
        );
    }
    let policy = Policy {
        name: name.to_owned(),
        path: path.to_owned(),
        id: iam.state.id("ANPA", 17),
        created: iam.call.now,
        tags: iam.tags(),
        default: "v1".to_owned(),
        versions: [(1, (document, iam.call.now))].into(),
        next: 2,
    };
    let shown = shown_policy(&arn, &policy, 0);
    iam.change().policies.insert(arn, policy);
    result(&iam.call.action, &shown)
}

fn shown_policy(arn: &str, policy: &Policy, attached: usize) -> String {
    let inner = element("PolicyName", &policy.name)
        + &element("PolicyId", &policy.id)
        + &element("Arn", arn)
        + &element("Path", &policy.path)
        + &element("DefaultVersionId", &policy.default)
        + &element("AttachmentCount", &attached.to_string())
        + &element("IsAttachable", "true")
        + &element("CreateDate", &time(policy.created))
        + &shown_tags(&policy.tags);
    format!("<Policy>{inner}</Policy>")
}

fn get(iam: &mut Request<'_>) -> Answer {
    let (policy, attached) = seen_policy(iam)?;
    result(&iam.call.action, &shown_policy(iam.needed("PolicyArn")?, &policy, attached))
}

fn delete(iam: &mut Request<'_>) -> Answer {
    let arn = iam.needed("PolicyArn")?;
    let current = iam.current();
    let Some(policy) = current.policies.get(arn) else { return no_policy(arn) };
    if current.users.values().any(|user| user.attached.iter().any(|attached| attached == arn)) {
        return refuse(409, "DeleteConflict", "Cannot delete a policy attached to entities.");
    }
    if policy.versions.len() > 1 {
        return refuse(
            409,
            "DeleteConflict",
            "This policy has more than one version. Before you delete a policy, you must delete the policy's versions.",
        );
    }
    iam.change().policies.remove(arn);
    iam.done()
}

fn tag(iam: &mut Request<'_>) -> Answer {
    let (set, removed) = (iam.tags(), iam.tag_keys());
    let policy = policy(iam)?;
    policy.tags.extend(set);
    policy.tags.retain(|key, _| !removed.contains(key));
    iam.done()
}

fn create_version(iam: &mut Request<'_>) -> Answer {
    let (document, now) = (managed_document(iam)?, iam.call.now);
    let default = iam.call.parameter("SetAsDefault") == Some("true");
    let policy = policy(iam)?;
    if policy.versions.len() >= VERSIONS_PER_POLICY {
        return refuse(
            409,
            "LimitExceeded",
            "A managed policy can have up to 5 versions. Before you create a new version, you must delete an existing version.",
        );
    }
    let number = policy.next;
    policy.next += 1;
    policy.versions.insert(number, (document, now));
    let version = format!("v{number}");
    if default {
        policy.default.clone_from(&version);
    }
    let shown = shown_version(policy, number, false);
    result(&iam.call.action, &format!("<PolicyVersion>{shown}</PolicyVersion>"))
}

fn shown_version(policy: &Policy, number: u32, whole: bool) -> String {
    let (document, created) = &policy.versions[&number];
    let version = format!("v{number}");
    let document = if whole { element("Document", &encoded(document)) } else { String::new() };
    document
        + &element("VersionId", &version)
        + &element("IsDefaultVersion", if policy.default == version { "true" } else { "false" })
        + &element("CreateDate", &time(*created))
}

/// The number of the named version, if the policy has it.
fn number(policy: &Policy, version: &str) -> Result<u32, Refusal> {
    let number = version.strip_prefix('v').and_then(|number| number.parse().ok());
    number.filter(|number| policy.versions.contains_key(number)).map_or_else(|| no_policy(version), Ok)
}

fn get_version(iam: &mut Request<'_>) -> Answer {
    let (policy, _) = seen_policy(iam)?;
    let number = number(&policy, iam.needed("VersionId")?)?;
    result(&iam.call.action, &format!("<PolicyVersion>{}</PolicyVersion>", shown_version(&policy, number, true)))
}

fn list_versions(iam: &mut Request<'_>) -> Answer {
    let (policy, _) = seen_policy(iam)?;
    let newest_first = policy.versions.keys().rev();
    let members: String =
        newest_first.map(|number| format!("<member>{}</member>", shown_version(&policy, *number, false))).collect();
    result(&iam.call.action, &format!("<Versions>{members}</Versions><IsTruncated>false</IsTruncated>"))
}

fn delete_version(iam: &mut Request<'_>) -> Answer {
    let version = iam.needed("VersionId")?;
    let policy = policy(iam)?;
    let number = number(policy, version)?;
    if policy.default == version {
        return refuse(409, "DeleteConflict", "Cannot delete the default version of a policy.");
    }
    policy.versions.remove(&number);
    iam.done()
}

fn set_default(iam: &mut Request<'_>) -> Answer {
    let version = iam.needed("VersionId")?;
    let policy = policy(iam)?;
    number(policy, version)?;
    version.clone_into(&mut policy.default);
    iam.done()
}

fn no_policy<T>(name: &str) -> Result<T, Refusal> {
    refuse(404, "NoSuchEntity", format!("Policy {name} does not exist or is not attachable."))
}
