//! IAM policies: inline, and managed with their versions.

use aws_sdk_iam::types::Tag;
use percent_encoding::percent_decode_str;

use super::{Checks, Harness, cases, policy, statement};
use crate::support::answers::code;

cases! {
    an_inline_policy_comes_back_encoded,
    a_missing_inline_policy_is_no_such_entity,
    inline_policies_have_a_length,
    a_document_must_be_a_policy,
    a_managed_policy_has_versions,
    policy_names_are_unique,
    a_policy_has_five_versions,
    the_default_version_is_not_deleted,
    another_version_becomes_the_default,
    attaching_is_done_once,
    ten_policies_are_attached,
    a_policy_in_use_is_not_deleted,
    a_missing_policy_is_no_such_entity,
    policy_tags_are_set_and_removed,
}

fn document(action: &str) -> String {
    policy(&[statement("Allow", action, "*")]).to_string()
}

/// The case's managed policy: its ARN.
async fn created(harness: &Harness) -> String {
    let create = harness.iam().create_policy().policy_name(&harness.name).path("/x/").policy_document(document("s3:GetObject"));
    create.send().await.unwrap().policy.unwrap().arn.unwrap()
}

async fn an_inline_policy_comes_back_encoded(harness: Harness, checks: &mut Checks) {
    let user = harness.new_user().await;
    let sent = r#"{"Version":"2012-10-17","Statement":[{"Sid":"A","Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b/a%3A*"}]}"#;
    let put = harness.iam().put_user_policy().user_name(&user).policy_name("p").policy_document(sent);
    checks.is("put", code(&put.send().await), "");
    let found = harness.iam().get_user_policy().user_name(&user).policy_name("p").send().await.unwrap().policy_document;
    checks.is("encoded", found.contains('{'), false);
    checks.is("decoded once", percent_decode_str(&found).decode_utf8_lossy().into_owned(), sent);
    let names = harness.iam().list_user_policies().user_name(&user).send().await.unwrap().policy_names;
    checks.is("listed", names, vec!["p"]);
}

async fn a_missing_inline_policy_is_no_such_entity(harness: Harness, checks: &mut Checks) {
    let user = harness.new_user().await;
    checks.is("get", code(&harness.iam().get_user_policy().user_name(&user).policy_name("p").send().await), "NoSuchEntity");
    checks.is("delete", code(&harness.iam().delete_user_policy().user_name(&user).policy_name("p").send().await), "NoSuchEntity");
}

async fn inline_policies_have_a_length(harness: Harness, checks: &mut Checks) {
    let (user, long) = (harness.new_user().await, document(&format!("s3:{}", "a".repeat(1_900))));
    let put =
        |name: &str, document: &str| harness.iam().put_user_policy().user_name(&user).policy_name(name).policy_document(document);
    checks.is("one", code(&put("a", &long).send().await), "");
    checks.is("again", code(&put("a", &long.replace("aaa\"", "aaa\"   ")).send().await), "");
    checks.is("all together", code(&put("b", &long).send().await), "LimitExceeded");
}

async fn a_document_must_be_a_policy(harness: Harness, checks: &mut Checks) {
    let user = harness.new_user().await;
    for text in ["{", "{}", "[]"] {
        let put = harness.iam().put_user_policy().user_name(&user).policy_name("p").policy_document(text).send().await;
        checks.is(text, code(&put), "MalformedPolicyDocument");
        let create = harness.iam().create_policy().policy_name(&harness.name).policy_document(text).send().await;
        checks.is(text, code(&create), "MalformedPolicyDocument");
    }
}

async fn a_managed_policy_has_versions(harness: Harness, checks: &mut Checks) {
    let (iam, arn) = (harness.iam(), created(&harness).await);
    checks.is("arn", &arn, &format!("arn:aws:iam::{}:policy/x/{}", harness.account, harness.name));
    let second = iam.create_policy_version().policy_arn(&arn).policy_document(document("s3:PutObject")).set_as_default(true);
    let second = second.send().await.unwrap().policy_version.unwrap();
    checks.is("second", (second.version_id(), second.is_default_version()), (Some("v2"), true));
    let found = iam.get_policy().policy_arn(&arn).send().await.unwrap().policy.unwrap();
    checks.is("default", (found.default_version_id(), found.attachment_count()), (Some("v2"), Some(0)));
    for (version, default, action) in [("v1", false, "s3:GetObject"), ("v2", true, "s3:PutObject")] {
        let get = iam.get_policy_version().policy_arn(&arn).version_id(version).send().await.unwrap().policy_version.unwrap();
        let text = percent_decode_str(get.document().unwrap()).decode_utf8_lossy().into_owned();
        checks.is(version, (get.is_default_version(), text), (default, document(action)));
    }
    iam.delete_policy_version().policy_arn(&arn).version_id("v1").send().await.unwrap();
    let third = iam.create_policy_version().policy_arn(&arn).policy_document(document("s3:*")).send().await.unwrap();
    checks.is("numbers go on", third.policy_version.unwrap().version_id(), Some("v3"));
    let listed = iam.list_policy_versions().policy_arn(&arn).send().await.unwrap();
    let mut ids: Vec<_> = listed.versions().iter().filter_map(|version| version.version_id()).collect();
    ids.sort_unstable();
    checks.is("listed", ids, vec!["v2", "v3"]);
}

async fn policy_names_are_unique(harness: Harness, checks: &mut Checks) {
    created(&harness).await;
    let again =
        harness.iam().create_policy().policy_name(&harness.name).path("/x/").policy_document(document("s3:*")).send().await;
    checks.is("again", code(&again), "EntityAlreadyExists");
}

async fn a_policy_has_five_versions(harness: Harness, checks: &mut Checks) {
    let (iam, arn) = (harness.iam(), created(&harness).await);
    let create = iam.create_policy_version().policy_arn(&arn).policy_document(document("s3:*"));
    for _ in 0..4 {
        checks.is("fits", code(&create.clone().send().await), "");
    }
    checks.is("sixth", code(&create.clone().send().await), "LimitExceeded");
    iam.delete_policy_version().policy_arn(&arn).version_id("v2").send().await.unwrap();
    checks.is("fits again", code(&create.send().await), "");
}

async fn the_default_version_is_not_deleted(harness: Harness, checks: &mut Checks) {
    let arn = created(&harness).await;
    let delete = harness.iam().delete_policy_version().policy_arn(&arn).version_id("v1").send().await;
    checks.is("code", code(&delete), "DeleteConflict");
}

async fn another_version_becomes_the_default(harness: Harness, checks: &mut Checks) {
    let (iam, arn) = (harness.iam(), created(&harness).await);
    let default = async || iam.get_policy().policy_arn(&arn).send().await.unwrap().policy.unwrap().default_version_id;
    iam.create_policy_version().policy_arn(&arn).policy_document(document("s3:*")).send().await.unwrap();
    checks.is("not unless asked for", default().await.as_deref(), Some("v1"));
    iam.set_default_policy_version().policy_arn(&arn).version_id("v2").send().await.unwrap();
    checks.is("then", default().await.as_deref(), Some("v2"));
    let missing = iam.set_default_policy_version().policy_arn(&arn).version_id("v7").send().await;
    checks.is("missing", code(&missing), "NoSuchEntity");
}

async fn attaching_is_done_once(harness: Harness, checks: &mut Checks) {
    let (iam, user, arn) = (harness.iam(), harness.new_user().await, created(&harness).await);
    for _ in 0..2 {
        checks.is("attach", code(&iam.attach_user_policy().user_name(&user).policy_arn(&arn).send().await), "");
    }
    let listed = iam.list_attached_user_policies().user_name(&user).send().await.unwrap().attached_policies.unwrap_or_default();
    checks.is("listed", listed.iter().filter_map(|policy| policy.policy_arn()).collect::<Vec<_>>(), vec![arn.as_str()]);
    let count = async || iam.get_policy().policy_arn(&arn).send().await.unwrap().policy.unwrap().attachment_count();
    checks.is("count", count().await, Some(1));
    iam.detach_user_policy().user_name(&user).policy_arn(&arn).send().await.unwrap();
    checks.is("count then", count().await, Some(0));
    checks.is("detach again", code(&iam.detach_user_policy().user_name(&user).policy_arn(&arn).send().await), "NoSuchEntity");
}

async fn ten_policies_are_attached(harness: Harness, checks: &mut Checks) {
    let (iam, user) = (harness.iam(), harness.new_user().await);
    for number in 0..11 {
        let create = iam.create_policy().policy_name(format!("{}-{number}", harness.name)).policy_document(document("s3:*"));
        let arn = create.send().await.unwrap().policy.unwrap().arn.unwrap();
        let attach = iam.attach_user_policy().user_name(&user).policy_arn(arn).send().await;
        checks.is(&number.to_string(), code(&attach), if number < 10 { "" } else { "LimitExceeded" });
    }
}

async fn a_policy_in_use_is_not_deleted(harness: Harness, checks: &mut Checks) {
    let (iam, user, arn) = (harness.iam(), harness.new_user().await, created(&harness).await);
    iam.create_policy_version().policy_arn(&arn).policy_document(document("s3:*")).send().await.unwrap();
    checks.is("with versions", code(&iam.delete_policy().policy_arn(&arn).send().await), "DeleteConflict");
    iam.delete_policy_version().policy_arn(&arn).version_id("v2").send().await.unwrap();
    iam.attach_user_policy().user_name(&user).policy_arn(&arn).send().await.unwrap();
    checks.is("attached", code(&iam.delete_policy().policy_arn(&arn).send().await), "DeleteConflict");
    iam.detach_user_policy().user_name(&user).policy_arn(&arn).send().await.unwrap();
    checks.is("free", code(&iam.delete_policy().policy_arn(&arn).send().await), "");
    checks.is("gone", code(&iam.get_policy().policy_arn(&arn).send().await), "NoSuchEntity");
}

async fn a_missing_policy_is_no_such_entity(harness: Harness, checks: &mut Checks) {
    let (iam, user) = (harness.iam(), harness.new_user().await);
    let arn = format!("arn:aws:iam::{}:policy/x/nothing", harness.account);
    checks.is("get", code(&iam.get_policy().policy_arn(&arn).send().await), "NoSuchEntity");
    checks.is("delete", code(&iam.delete_policy().policy_arn(&arn).send().await), "NoSuchEntity");
    checks.is("version", code(&iam.get_policy_version().policy_arn(&arn).version_id("v1").send().await), "NoSuchEntity");
    checks.is("versions", code(&iam.list_policy_versions().policy_arn(&arn).send().await), "NoSuchEntity");
    checks.is("attach", code(&iam.attach_user_policy().user_name(&user).policy_arn(&arn).send().await), "NoSuchEntity");
    let there = created(&harness).await;
    let version = iam.get_policy_version().policy_arn(there).version_id("v9").send().await;
    checks.is("missing version", code(&version), "NoSuchEntity");
}

async fn policy_tags_are_set_and_removed(harness: Harness, checks: &mut Checks) {
    let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build().unwrap();
    let create = harness.iam().create_policy().policy_name(&harness.name).policy_document(document("s3:*")).tags(tag("a", "1"));
    let arn = create.send().await.unwrap().policy.unwrap().arn.unwrap();
    harness.iam().tag_policy().policy_arn(&arn).tags(tag("b", "2")).send().await.unwrap();
    harness.iam().untag_policy().policy_arn(&arn).tag_keys("a").send().await.unwrap();
    let found = harness.iam().get_policy().policy_arn(&arn).send().await.unwrap().policy.unwrap();
    checks.is("tags", found.tags(), vec![tag("b", "2")]);
}
