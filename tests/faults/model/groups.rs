//! IAM groups, only with their users: they grant nothing here.

use super::iam::Request;
use super::wire::{Answer, element, refuse, result};

pub(super) fn answer(iam: &mut Request<'_>) -> Answer {
    match iam.call.action.split(':').nth(1).unwrap_or_default() {
        "CreateGroup" => create(iam),
        "AddUserToGroup" => add(iam),
        "RemoveUserFromGroup" => remove(iam),
        "ListGroupsForUser" => list_of_user(iam),
        _ => iam.unknown(),
    }
}

fn create(iam: &mut Request<'_>) -> Answer {
    let name = iam.needed("GroupName")?;
    if iam.current().groups.contains(name) {
        return refuse(409, "EntityAlreadyExists", format!("Group with name {name} already exists."));
    }
    iam.change().groups.insert(name.to_owned());
    let shown = shown(iam, name);
    result(&iam.call.action, &format!("<Group>{shown}</Group>"))
}

fn add(iam: &mut Request<'_>) -> Answer {
    let name = known(iam)?;
    iam.user()?.groups.insert(name);
    iam.done()
}

fn remove(iam: &mut Request<'_>) -> Answer {
    let name = known(iam)?;
    iam.user()?.groups.remove(&name);
    iam.done()
}

fn known(iam: &Request<'_>) -> Result<String, super::wire::Refusal> {
    let name = iam.needed("GroupName")?;
    if iam.current().groups.contains(name) {
        return Ok(name.to_owned());
    }
    refuse(404, "NoSuchEntity", format!("The group with name {name} cannot be found."))
}

fn list_of_user(iam: &mut Request<'_>) -> Answer {
    let user = iam.seen_user()?;
    let members: String = user.groups.iter().map(|name| format!("<member>{}</member>", shown(iam, name))).collect();
    result(&iam.call.action, &format!("<Groups>{members}</Groups><IsTruncated>false</IsTruncated>"))
}

fn shown(iam: &Request<'_>, name: &str) -> String {
    element("Path", "/")
        + &element("GroupName", name)
        + &element("GroupId", "AGPAAAAAAAAAAAAAAAAAA")
        + &element("Arn", &iam.arn("group", "/", name))
        + &element("CreateDate", "2026-01-01T00:00:00Z")
}
