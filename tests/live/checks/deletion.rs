//! Only what belongs to a run is deleted: by its name and its tag.

use std::time::Duration;

use aws_sdk_iam::types::Tag;
use aws_sdk_s3::types as sdk;

use super::{Server, tests, text, wait};
use crate::clients::{Aws, fail};
use crate::delete::{Deleted, delete};
use crate::gate::Gate;
use crate::inventory::{Found, find};
use crate::names::{Run, TAG};
use crate::support::answers::Pair;
use crate::support::harness::s3;
use crate::support::proxy::Fault;
use crate::support::stack::ROOT;

tests! {
    names_and_tags_belong_to_one_run,
    only_what_has_the_name_and_the_tag_is_deleted,
    a_bucket_is_deleted_with_its_versions,
    clean_deletes_only_what_runs_left,
    only_one_file_deletes,
    a_list_without_an_answer_is_tried_again,
    the_name_of_a_bucket_must_be_in_the_path,
}

fn names_and_tags_belong_to_one_run() {
    let run = Run::of("bc-live-abcdefghij-x").unwrap();
    assert_eq!(run.id(), "bc-live-abcdefghij");
    for name in [
        "bc-live-abcdefghij",
        "bc-live-abcdefghij-",
        "bc-live-abcdefghijk",
        "bc-live-abcdefghik-x",
        "x-bc-live-abcdefghij-x",
        "BC-LIVE-abcdefghij-x",
        "",
    ] {
        assert!(!run.has_name(name), "{name}");
    }
    for name in ["bc-live-", "bc-live-abc", "bc-live-ABCDEFGHIJ-x", "bc-live-abcdefghi1-x", "bc-live-abcdefghijxx", "lab"] {
        assert_eq!(Run::of(name), None, "{name}");
    }
    let tags = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into();
    assert!(run.has_tags(&tags(TAG, "bc-live-abcdefghij")));
    assert!(run.has_tags(&tags("bucketconnection.dev/owner", "uid/bc-live-abcdefghij/main")));
    for (key, value) in [
        (TAG, "bc-live-zzzzzzzzzz"),
        ("bucketconnection.dev/owner", "uid/default/bc-live-abcdefghij"),
        ("bucketconnection.dev/owner", ""),
        ("x", "bc-live-abcdefghij"),
    ] {
        assert!(!run.has_tags(&tags(key, value)), "{key}={value}");
    }
    let mut both = tags("bucketconnection.dev/owner", "uid/bc-live-abcdefghij/main");
    both.extend(tags(TAG, "bc-live-zzzzzzzzzz"));
    assert!(!run.has_tags(&both), "the tag of another run");
}

fn only_one_file_deletes() {
    let calls = ["bucket", "user", "policy", "objects"].map(|what| format!(".delete_{what}()"));
    let mut with_calls = Vec::new();
    for file in std::fs::read_dir(format!("{ROOT}/tests/live")).unwrap().map(|file| file.unwrap().path()) {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        if calls.iter().any(|call| text.contains(call)) {
            with_calls.push(file.file_name().unwrap().to_owned());
        }
    }
    assert_eq!(with_calls, ["delete.rs"]);
}

/// A bucket, a user and a policy with this name and tag, created by an administrator.
fn create(server: &Server, name: &str, tag: Option<&str>) {
    let config = server.administrator();
    let (s3, iam) = (s3(&config), aws_sdk_iam::Client::new(&config));
    let document = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}"#;
    wait(async {
        let location = server.aws(None).location().unwrap();
        let mut created = sdk::CreateBucketConfiguration::builder().set_location_constraint(location.location_constraint);
        let (mut user, mut policy) = (iam.create_user().user_name(name), iam.create_policy().policy_name(name));
        if let Some(value) = tag {
            created = created.tags(sdk::Tag::builder().key(TAG).value(value).build().unwrap());
            let tag = Tag::builder().key(TAG).value(value).build().unwrap();
            (user, policy) = (user.tags(tag.clone()), policy.tags(tag));
        }
        s3.create_bucket().bucket(name).create_bucket_configuration(created.build()).send().await.unwrap();
        user.send().await.unwrap();
        let arn = policy.policy_document(document).send().await.unwrap().policy.unwrap().arn.unwrap();
        iam.create_access_key().user_name(name).send().await.unwrap();
        iam.attach_user_policy().user_name(name).policy_arn(&arn).send().await.unwrap();
        iam.put_user_policy().user_name(name).policy_name("inline").policy_document(document).send().await.unwrap();
        iam.create_policy_version().policy_arn(&arn).policy_document(document).send().await.unwrap();
    });
}

const RUN: &str = "bc-live-abcdefghij";
const OTHERS: [(&str, Option<&str>); 6] = [
    ("lab-genomics", Some(RUN)),
    ("bc-live", Some(RUN)),
    ("bc-live-abcdefghik-x", Some(RUN)),
    ("bc-live-abcdefghij-untagged", None),
    ("bc-live-abcdefghij-foreign", Some("bc-live-zzzzzzzzzz")),
    ("bc-live-abcdefghijk-x", Some(RUN)),
];

fn only_what_has_the_name_and_the_tag_is_deleted() {
    let (server, run) = (Server::new("live-delete"), Run::of("bc-live-abcdefghij-x").unwrap());
    create(&server, "bc-live-abcdefghij-own", Some(RUN));
    OTHERS.iter().for_each(|(name, tag)| create(&server, name, *tag));
    // With all permissions and the widest gate: only `delete` itself refuses.
    let (id, secret) = server.emulator.key("administrator");
    let aws = server.signed_in(&crate::support::answers::Pair { id, secret }, None);
    let all = wait(find(&aws, "")).unwrap();
    let mut deleted = Vec::new();
    for found in &all {
        match wait(delete(&aws, &run, found)).unwrap() {
            Deleted::Yes => deleted.push(found.name()),
            Deleted::Refused(why) => assert!(why.starts_with(found.name()), "{why}"),
            Deleted::AlreadyGone => panic!("{found} is gone"),
        }
    }
    assert_eq!(deleted, ["bc-live-abcdefghij-own"; 3], "bucket, user, policy");
    let left = wait(find(&aws, "")).unwrap();
    assert_eq!(left.len(), all.len() - 3);
    for (name, _) in OTHERS {
        assert_eq!(left.iter().filter(|found| found.name() == name).count(), 3, "{name}");
    }
    // A name that is not the policy's.
    let arn = format!("arn:aws:iam::{}:policy/lab-genomics", super::ACCOUNT);
    let disguised = Found::Policy { name: "bc-live-abcdefghij-own".to_owned(), arn };
    assert!(matches!(wait(delete(&aws, &run, &disguised)).unwrap(), Deleted::Refused(_)));
}

fn a_bucket_is_deleted_with_its_versions() {
    let (server, run) = (Server::new("live-versions"), Run::of("bc-live-abcdefghij-x").unwrap());
    create(&server, "bc-live-abcdefghij-own", Some(RUN));
    let (s3, name) = (s3(&server.administrator()), "bc-live-abcdefghij-own");
    wait(async {
        let on = sdk::VersioningConfiguration::builder().status(sdk::BucketVersioningStatus::Enabled).build();
        s3.put_bucket_versioning().bucket(name).versioning_configuration(on).send().await.unwrap();
        for key in ["a", "a", "b"] {
            s3.put_object().bucket(name).key(key).send().await.unwrap();
        }
        s3.delete_object().bucket(name).key("b").send().await.unwrap();
        s3.create_multipart_upload().bucket(name).key("c").send().await.unwrap();
    });
    let bucket = Found::Bucket { name: name.to_owned(), region: "eu-west-1".to_owned() };
    let aws = server.aws(Some(run.clone()));
    assert_eq!(wait(delete(&aws, &run, &bucket)), Ok(Deleted::Yes));
    assert_eq!(wait(delete(&aws, &run, &bucket)), Ok(Deleted::AlreadyGone));
}

/// A failure of one request at the end must not leave everything of the run, with its keys.
fn a_list_without_an_answer_is_tried_again() {
    let (server, run) = (Server::new("live-again"), Run::of("bc-live-abcdefghij-x").unwrap());
    create(&server, "bc-live-abcdefghij-own", Some(RUN));
    // Also for the retries of the SDK.
    server.proxy.fault("iam:ListUsers", Fault::Answer(503, "ServiceUnavailable"), 3);
    let config = super::config(&server.proxy.url, &server.caller);
    let aws = Aws::new(&config, super::ACCOUNT, "aws", "eu-west-1", Gate::new(Some(run.clone())));
    let left = wait(crate::remove(&aws, &run, run.id(), Duration::from_millis(10), |_| {}));
    assert_eq!(left, [""; 0]);
    assert_eq!(server.found("bc-live-abcdefghij-own"), [""; 0]);
}

/// The gate reads names from paths. In a name of a host, it would take the key of an object for a bucket.
fn the_name_of_a_bucket_must_be_in_the_path() {
    let run = Run::of("bc-live-abcdefghij-x").unwrap();
    let key = Pair { id: "AKIAABCDEFGHIJKLMNOP".to_owned(), secret: "x".to_owned() };
    let config = super::config("http://s3.eu-west-1.localhost:1", &key);
    let aws = Aws::new(&config, super::ACCOUNT, "aws", "eu-west-1", Gate::new(Some(run.clone())));
    // Not in path style.
    let s3 = aws_sdk_s3::Client::new(aws.config());
    let answer = wait(s3.delete_object().bucket("lab-genomics").key(run.name("x")).send());
    let why = fail("s3:DeleteObject", &answer.unwrap_err());
    assert!(why.contains("refused by the gate: s3 DELETE on no name"), "{why}");
}

fn clean_deletes_only_what_runs_left() {
    let server = Server::new("live-clean");
    create(&server, "bc-live-abcdefghij-own", Some(RUN));
    create(&server, "bc-live-qqqqqqqqqq-own", Some("bc-live-qqqqqqqqqq"));
    OTHERS.iter().for_each(|(name, tag)| create(&server, name, *tag));
    server.proxy.take();
    let asked = server.run("--clean", &[]);
    assert_eq!(asked.status.code(), Some(2), "{}", text(&asked));
    assert!(
        text(&asked).contains("  bucket bc-live-abcdefghij-own in eu-west-1\n") && text(&asked).contains("Nothing was deleted")
    );
    assert!(server.proxy.take().iter().all(|request| !request.write), "it deletes without an answer");
    let cleaned = server.run("--clean", &[("YES", "1")]);
    assert_eq!(cleaned.status.code(), Some(1), "something is left: {}", text(&cleaned));
    let told = text(&cleaned);
    for line in [
        "deleting user bc-live-qqqqqqqqqq-own",
        "not deleted: user bc-live-abcdefghij-untagged: bc-live-abcdefghij-untagged: has no tag of bc-live-abcdefghij",
        "not deleted: bucket bc-live-abcdefghijk-x in eu-west-1: the name is not one of a run",
    ] {
        assert!(told.contains(line), "{line:?} is missing in\n{told}");
    }
    assert!(!told.contains("lab-genomics"), "{told}");
    assert!(server.found("").iter().all(|found| !found.contains("-own")), "{:?}", server.found("bc-live-"));
    let others = OTHERS.iter().map(|(name, _)| server.found("").iter().filter(|found| found.contains(name)).count());
    assert!(others.clone().all(|count| count >= 3), "{:?}", others.collect::<Vec<_>>());
}
