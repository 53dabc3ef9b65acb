use serde_json::{Value, json};

use super::*;
use crate::api::{PolicyScope, PolicyType};
use crate::observed::User;
use crate::settings::{self, Reading};

const PATH: &str = "/bucketconnection/";

fn account() -> Account {
    Account { id: "123456789012".to_owned(), partition: "aws".to_owned() }
}

fn wish() -> Wish {
    Wish { namespace: Some("lab".to_owned()), name: "genomics".to_owned(), account: "default".to_owned(), ..Wish::default() }
}

fn imported(wish: &Wish, live: &Live, user: Option<&ExistingUser>) -> Import {
    import(wish, &Found { bucket: "lab-bucket", region: "us-east-1", account: &account(), live, user })
}

/// What a reconcile would change in the bucket, without the tags of ownership.
fn changes(import: &Import, live: &Live) -> Vec<String> {
    let desired = resolve(&import.object, &account()).unwrap();
    let (changes, _) = desired.bucket.settings.changes(live);
    let enforced = changes.iter().filter(|change| desired.management.of(change.setting.name()) == ManagementMode::Enforce);
    let paths = enforced.flat_map(|change| change.diffs.iter().map(|diff| diff.path.clone()));
    paths.filter(|path| !path.contains(TAG_PREFIX)).collect()
}

/// The document of the guide "Connect AWS S3 Bucket", as a person pastes it.
fn guide() -> Value {
    json!({ "Version": "2012-10-17", "Statement": [
        { "Sid": "", "Effect": "Allow", "Action": [
            "s3:PutBucketNotification", "s3:ListBucket", "s3:GetBucketNotification", "s3:GetBucketLocation",
        ], "Resource": "arn:aws:s3:::lab-bucket" },
        { "Effect": "Allow", "Action": ["s3:PutObject", "s3:GetObject", "s3:RestoreObject", "s3:DeleteObject"], "Resource": "arn:aws:s3:::lab-bucket/*" },
        { "Effect": "Allow", "Action": "sts:GetFederationToken", "Resource": ["*"] },
    ] })
}

fn user(document: Value) -> ExistingUser {
    let name = "illumina-ica-admin-policy".to_owned();
    let arn = Some(format!("arn:aws:iam::123456789012:policy{PATH}{name}"));
    ExistingUser {
        name: "illumina_ica_admin".to_owned(),
        user: User { path: PATH.to_owned(), ..User::default() },
        policies: vec![ExistingPolicy { kind: PolicyType::Managed, name, arn, document }],
        ..ExistingUser::default()
    }
}

fn ica_bucket() -> Live {
    let mut live = Live::of_new_bucket();
    live.cors = Reading::Set(
        serde_json::from_value(json!([{
            "allowedHeaders": ["*"], "allowedMethods": ["HEAD", "GET", "PUT", "POST", "DELETE"],
            "allowedOrigins": ["https://ica.illumina.com"], "exposeHeaders": ["ETag", "x-amz-meta-custom-header"],
        }]))
        .unwrap(),
    );
    live
}

#[test]
fn the_bucket_and_user_of_icas_guide_become_the_preset() {
    let import = imported(&wish(), &ica_bucket(), Some(&user(guide())));
    let spec = &import.object.spec;
    assert_eq!((spec.preset, spec.bucket.allow_root, &spec.settings.cors), (Preset::IlluminaICA, true, &None));
    assert_eq!(import.notes, [""; 0]);
    assert_eq!(changes(&import, &ica_bucket()), [""; 0]);
    let with_prefix = Wish { prefix: Some("runs/".to_owned()), ..wish() };
    let import = imported(&with_prefix, &ica_bucket(), Some(&user(guide())));
    let policy = import.object.spec.policy.clone().unwrap();
    assert_eq!((import.object.spec.preset, policy.scope, policy.adopt), (Preset::IlluminaICA, PolicyScope::Bucket, true));
}

#[test]
fn another_policy_becomes_statements_and_a_prefix_is_found() {
    let mut narrowed = guide();
    narrowed["Statement"][1]["Resource"] = json!("arn:aws:s3:::lab-bucket/runs/*");
    let import = imported(&wish(), &ica_bucket(), Some(&user(narrowed.clone())));
    assert_eq!((import.object.spec.preset, import.object.spec.bucket.prefix.as_deref()), (Preset::IlluminaICA, Some("runs/")));
    narrowed["Statement"][1]["Action"] = json!("s3:Get*");
    let import = imported(&wish(), &ica_bucket(), Some(&user(narrowed.clone())));
    assert_eq!((import.object.spec.preset, import.notes.len()), (Preset::Custom, 0));
    let desired = resolve(&import.object, &account()).unwrap();
    assert!(desired.policy.document.same_as(&narrowed));
    // The rules are not those of the preset Custom, which has none.
    assert!(import.object.spec.settings.cors.is_some());
    narrowed["Statement"][1]["NotAction"] = json!("s3:Get*");
    let import = imported(&wish(), &ica_bucket(), Some(&user(narrowed)));
    assert!(import.notes[0].starts_with("policy: illumina-ica-admin-policy cannot be expressed: a spec has no NotAction"));
}

#[test]
fn each_setting_is_imported_such_that_nothing_changes() {
    for example in settings::examples() {
        let mut live = Live::of_new_bucket();
        live.apply(&example.write);
        if example.write.setting() == SettingId::ObjectLock {
            live.versioning = Reading::Set("Enabled".to_owned());
        }
        let import = imported(&wish(), &live, None);
        let notes: Vec<_> = import.notes.iter().filter(|note| !note.starts_with("preset:")).collect();
        assert!(notes.is_empty() && import.object.spec.management.is_empty(), "{:?}: {notes:?}", example.write.setting());
        assert_eq!(changes(&import, &live), [""; 0], "{:?}", example.write.setting());
    }
}

#[test]
fn what_a_spec_cannot_say_is_a_note_and_stays() {
    let mut live = Live::of_new_bucket();
    live.acceleration = Reading::Set("Enabled".to_owned());
    live.public_access_block = Reading::Unset;
    live.logging = Reading::Set(serde_json::from_value(json!({ "targetBucket": "lab-bucket", "targetPrefix": "" })).unwrap());
    let import = imported(&wish(), &live, None);
    assert_eq!(changes(&import, &live), [""; 0]);
    let notes = import.notes.join("\n");
    for part in [
        "bucket.acceleration: transfer acceleration is Enabled; the operator can only turn it off: it stays as it is",
        "bucket.logging: left out, and stays as it is: targetBucket is the bucket itself",
        "management: publicAccessBlock is only observed, because bucket.publicAccessBlock is (none)",
    ] {
        assert!(notes.contains(part), "{notes}");
    }
    assert_eq!(import.object.spec.management.get("publicAccessBlock"), Some(&ManagementMode::Observe));
}

/// The guide's own user is not under the path of the operator.
#[test]
fn what_the_operator_cannot_reach_is_named() {
    let mut elsewhere = user(guide());
    elsewhere.user.path = "/".to_owned();
    let import = imported(&wish(), &ica_bucket(), Some(&elsewhere));
    assert!(import.notes.iter().any(|note| note.starts_with("user.path: /: the operator's own IAM policy must allow it")));
    assert!(import.notes.iter().any(|note| note.contains("is not under the path of the user, /: it is not adopted")));
    assert_eq!(import.object.spec.policy, None);
}

#[test]
fn what_another_connection_has_is_named() {
    let mut live = ica_bucket();
    live.tags = Reading::Set([(names::OWNER_TAG.to_owned(), "c/lab/other".to_owned())].into_iter().collect());
    let import = imported(&wish(), &live, None);
    let text = "bucket: it belongs to the connection c/lab/other, and is not adopted before that one releases it";
    assert_eq!((import.notes[0].as_str(), &import.object.spec.bucket.settings.tags), (text, &None));
}

#[test]
fn a_user_with_keys_or_other_permissions_is_named_as_not_adoptable() {
    let mut taken = user(guide());
    taken.groups = vec!["admins".to_owned()];
    let import = imported(&wish(), &ica_bucket(), Some(&taken));
    assert!(import.notes[0].contains("(group admins)"), "{:?}", import.notes);
    let secret = Wish { secret: Some("ica-key".to_owned()), ..wish() };
    let import = imported(&secret, &ica_bucket(), Some(&taken));
    let spec = &import.object.spec;
    assert_eq!((spec.preset, &spec.user, &spec.policy, import.notes.len()), (Preset::IlluminaICA, &None, &None, 0));
    assert_eq!(spec.existing_secret(), Some("ica-key"));
}

#[test]
fn the_yaml_is_short_and_says_the_same() {
    let (account, live) = (account(), ica_bucket());
    let found = Found { bucket: "lab-bucket", region: "us-east-1", account: &account, live: &live, user: None };
    let import = import(&wish(), &found);
    let text = import.yaml(&found).unwrap();
    let again: BucketConnection = serde_saphyr::from_str(&text).unwrap();
    assert_eq!((json!(again.spec), again.metadata), (json!(import.object.spec), import.object.metadata));
    assert!(text.contains("# - preset: IlluminaICA is a guess") && !text.contains("resyncInterval"), "{text}");
}
