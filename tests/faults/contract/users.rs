//! IAM users.

use aws_sdk_iam::types::Tag;

use super::{Checks, Harness, cases, policy, statement};
use crate::support::answers::code;

cases! {
    a_user_has_path_and_tags,
    a_user_id_has_a_form,
    any_text_may_stand_in_a_tag,
    user_names_ignore_case,
    user_names_are_checked,
    user_tags_are_set_and_removed,
    users_are_listed_by_path,
    a_missing_user_is_no_such_entity,
    a_user_with_a_policy_is_not_deleted,
    a_user_with_a_key_is_not_deleted,
    a_user_with_an_attached_policy_is_not_deleted,
    a_user_in_a_group_is_not_deleted,
    a_user_created_again_is_another,
    a_boundary_is_shown,
}

fn tag(key: &str, value: &str) -> Tag {
    Tag::builder().key(key).value(value).build().unwrap()
}

async fn a_user_has_path_and_tags(harness: Harness, checks: &mut Checks) {
    let create = harness.iam().create_user().user_name(&harness.name).path("/x/y/").tags(tag("a", "b")).tags(tag("d", ""));
    let user = create.send().await.unwrap().user.unwrap();
    checks.is("arn", user.arn(), format!("arn:aws:iam::{}:user/x/y/{}", harness.account, harness.name));
    let found = harness.iam().get_user().user_name(&harness.name).send().await.unwrap().user.unwrap();
    checks.is("found", (found.path(), found.user_id(), found.arn()), ("/x/y/", user.user_id(), user.arn()));
    checks.is("tags", found.tags(), vec![tag("a", "b"), tag("d", "")]);
}

async fn a_user_id_has_a_form(harness: Harness, checks: &mut Checks) {
    let user = harness.iam().create_user().user_name(&harness.name).send().await.unwrap().user.unwrap();
    checks.is("id", (&user.user_id()[..4], user.user_id().len()), ("AIDA", 21));
}

async fn any_text_may_stand_in_a_tag(harness: Harness, checks: &mut Checks) {
    let create = harness.iam().create_user().user_name(&harness.name).tags(tag("a", "b c+&=%20ä"));
    checks.is("create", code(&create.send().await), "");
    let found = harness.iam().get_user().user_name(&harness.name).send().await.map(|found| found.user.unwrap());
    checks.is("tags", found.map(|user| user.tags().to_vec()).ok(), Some(vec![tag("a", "b c+&=%20ä")]));
}

async fn user_names_ignore_case(harness: Harness, checks: &mut Checks) {
    let user = harness.new_user().await;
    checks.is("again", code(&harness.iam().create_user().user_name(&user).send().await), "EntityAlreadyExists");
    let elsewhere = harness.iam().create_user().user_name(&user).path("/elsewhere/").send().await;
    checks.is("on another path", code(&elsewhere), "EntityAlreadyExists");
    let upper = harness.iam().create_user().user_name(user.to_uppercase()).send().await;
    checks.is("in upper case", code(&upper), "EntityAlreadyExists");
}

async fn user_names_are_checked(harness: Harness, checks: &mut Checks) {
    checks.is("slash", code(&harness.iam().create_user().user_name("a/b").send().await), "ValidationError");
    checks.is("length", code(&harness.iam().create_user().user_name("a".repeat(65)).send().await), "ValidationError");
}

async fn user_tags_are_set_and_removed(harness: Harness, checks: &mut Checks) {
    let user = harness.new_user().await;
    harness.iam().tag_user().user_name(&user).tags(tag("a", "1")).tags(tag("b", "2")).send().await.unwrap();
    harness.iam().tag_user().user_name(&user).tags(tag("a", "3")).send().await.unwrap();
    harness.iam().untag_user().user_name(&user).tag_keys("b").tag_keys("c").send().await.unwrap();
    let found = harness.iam().get_user().user_name(&user).send().await.unwrap().user.unwrap();
    checks.is("tags", found.tags(), vec![tag("a", "3")]);
}

async fn users_are_listed_by_path(harness: Harness, checks: &mut Checks) {
    harness.iam().create_user().user_name(&harness.name).path("/listed/").send().await.unwrap();
    let listed = harness.iam().list_users().path_prefix("/listed/").send().await.unwrap().users;
    checks.is("listed", listed.iter().map(|user| user.user_name()).collect::<Vec<_>>(), vec![harness.name.as_str()]);
}

async fn a_missing_user_is_no_such_entity(harness: Harness, checks: &mut Checks) {
    let (iam, user) = (harness.iam(), &harness.name);
    let document = policy(&[statement("Allow", "s3:*", "*")]).to_string();
    checks.is("get", code(&iam.get_user().user_name(user).send().await), "NoSuchEntity");
    checks.is("delete", code(&iam.delete_user().user_name(user).send().await), "NoSuchEntity");
    checks.is("create key", code(&iam.create_access_key().user_name(user).send().await), "NoSuchEntity");
    checks.is("list keys", code(&iam.list_access_keys().user_name(user).send().await), "NoSuchEntity");
    let key = iam.delete_access_key().user_name(user).access_key_id("AKIAABCDEFGHIJKLMNOP").send().await;
    checks.is("delete key", code(&key), "NoSuchEntity");
    let put = iam.put_user_policy().user_name(user).policy_name("p").policy_document(document).send().await;
    checks.is("put policy", code(&put), "NoSuchEntity");
    checks.is("policy", code(&iam.get_user_policy().user_name(user).policy_name("p").send().await), "NoSuchEntity");
    checks.is("attached", code(&iam.list_attached_user_policies().user_name(user).send().await), "NoSuchEntity");
    checks.is("groups", code(&iam.list_groups_for_user().user_name(user).send().await), "NoSuchEntity");
    checks.is("tag", code(&iam.tag_user().user_name(user).tags(tag("a", "b")).send().await), "NoSuchEntity");
}

async fn a_user_with_a_policy_is_not_deleted(harness: Harness, checks: &mut Checks) {
    let user = harness.new_user().await;
    harness.put_policy(&user, &policy(&[statement("Allow", "s3:*", "*")])).await;
    checks.is("with policy", code(&harness.iam().delete_user().user_name(&user).send().await), "DeleteConflict");
    harness.iam().delete_user_policy().user_name(&user).policy_name("p").send().await.unwrap();
    checks.is("without", code(&harness.iam().delete_user().user_name(&user).send().await), "");
}

async fn a_user_with_a_key_is_not_deleted(harness: Harness, checks: &mut Checks) {
    let user = harness.new_user().await;
    let (key, _) = harness.new_key(&user).await;
    checks.is("with key", code(&harness.iam().delete_user().user_name(&user).send().await), "DeleteConflict");
    harness.iam().delete_access_key().user_name(&user).access_key_id(&key.id).send().await.unwrap();
    checks.is("without", code(&harness.iam().delete_user().user_name(&user).send().await), "");
}

async fn a_user_with_an_attached_policy_is_not_deleted(harness: Harness, checks: &mut Checks) {
    let (user, document) = (harness.new_user().await, policy(&[statement("Allow", "s3:*", "*")]).to_string());
    let created = harness.iam().create_policy().policy_name(&harness.name).policy_document(document).send().await.unwrap();
    let arn = created.policy.unwrap().arn.unwrap();
    harness.iam().attach_user_policy().user_name(&user).policy_arn(&arn).send().await.unwrap();
    checks.is("attached", code(&harness.iam().delete_user().user_name(&user).send().await), "DeleteConflict");
    harness.iam().detach_user_policy().user_name(&user).policy_arn(&arn).send().await.unwrap();
    checks.is("detached", code(&harness.iam().delete_user().user_name(&user).send().await), "");
}

async fn a_user_in_a_group_is_not_deleted(harness: Harness, checks: &mut Checks) {
    let (iam, user) = (harness.iam(), harness.new_user().await);
    let group = format!("{user}-group");
    checks.is("missing", code(&iam.add_user_to_group().user_name(&user).group_name(&group).send().await), "NoSuchEntity");
    checks.is("create", code(&iam.create_group().group_name(&group).send().await), "");
    checks.is("again", code(&iam.create_group().group_name(&group).send().await), "EntityAlreadyExists");
    for _ in 0..2 {
        checks.is("add", code(&iam.add_user_to_group().user_name(&user).group_name(&group).send().await), "");
    }
    let listed = iam.list_groups_for_user().user_name(&user).send().await.unwrap().groups;
    checks.is("listed", listed.iter().map(|group| group.group_name()).collect::<Vec<_>>(), vec![group.as_str()]);
    checks.is("held", code(&iam.delete_user().user_name(&user).send().await), "DeleteConflict");
    checks.is("remove", code(&iam.remove_user_from_group().user_name(&user).group_name(&group).send().await), "");
    checks.is("delete", code(&iam.delete_user().user_name(&user).send().await), "");
}

async fn a_user_created_again_is_another(harness: Harness, checks: &mut Checks) {
    let create = harness.iam().create_user().user_name(&harness.name);
    let first = create.clone().send().await.unwrap().user.unwrap().user_id;
    harness.iam().delete_user().user_name(&harness.name).send().await.unwrap();
    let second = create.send().await.unwrap().user.unwrap().user_id;
    checks.is("same id", first == second, false);
}

async fn a_boundary_is_shown(harness: Harness, checks: &mut Checks) {
    let document = policy(&[statement("Allow", "s3:*", "*")]).to_string();
    let created = harness.iam().create_policy().policy_name(&harness.name).policy_document(document).send().await.unwrap();
    let arn = created.policy.unwrap().arn.unwrap();
    let user = harness.iam().create_user().user_name(&harness.name).permissions_boundary(&arn).send().await;
    checks.is("created", code(&user), "");
    let found = harness.iam().get_user().user_name(&harness.name).send().await.unwrap().user.unwrap();
    let shown = found.permissions_boundary.and_then(|boundary| boundary.permissions_boundary_arn);
    checks.is("shown", shown, Some(arn.clone()));
    let put = harness.iam().put_user_permissions_boundary().user_name(&harness.name).permissions_boundary(&arn).send().await;
    checks.is("put", code(&put), "");
}
