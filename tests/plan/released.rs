//! A connection of each released version, with its account, its Secret and what AWS had of it (`make baseline` recorded
//! them): this version reads all of it, accepts the seal, and has nothing to change.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bucketconnection::api::{AWSAccount, BucketConnection, Memory};
use bucketconnection::credentials::Sensitive;
use bucketconnection::desired::tenancy;
use bucketconnection::observed::{Seal, User};
use bucketconnection::settings::Live;
use bucketconnection::settings::Reading::Set;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::world::{TheBucket, TheKey, TheSecret, TheUser, World};

fn releases() -> Vec<PathBuf> {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/released");
    std::fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn recorded<T: DeserializeOwned>(release: &Path, file: &str) -> T {
    let file = release.join(file);
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn fields(secret: Secret) -> BTreeMap<String, Sensitive> {
    let text = |(name, value): (String, k8s_openapi::ByteString)| (name, Sensitive::new(String::from_utf8(value.0).unwrap()));
    secret.data.unwrap().into_iter().map(text).collect()
}

fn of<T: DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

/// The world that the release left behind, one second after its last reconcile.
fn world(release: &Path, object: &BucketConnection) -> World {
    let secret: Secret = recorded(release, "secret.yaml");
    let aws: Value = recorded(release, "aws.yaml");
    let status = object.status.as_ref().unwrap();
    let last = status.last_checked_at.as_ref().unwrap().0;
    let (name, created_at) = (secret.name_any(), secret.annotations()["bucketconnection.dev/key-created-at"].parse().unwrap());
    let data = fields(secret);
    let key = |key: &Value| {
        let current = key["id"] == data["AWS_ACCESS_KEY_ID"].reveal();
        TheKey {
            id: of(&key["id"]),
            secret: if current { data["AWS_SECRET_ACCESS_KEY"].reveal().to_owned() } else { "unknown".to_owned() },
            active: of(&key["active"]),
            created_at: of(&key["createdAt"]),
            expired: false,
            used_at: None,
        }
    };
    let (bucket, user) = (&aws["bucket"], &aws["user"]);
    let live = Live {
        tags: Set(of::<BTreeMap<_, _>>(&bucket["tags"]).into()),
        cors: Set(of(&bucket["cors"])),
        versioning: Set(of(&bucket["versioning"])),
        ..Live::of_new_bucket()
    };
    let mut world = World::new();
    world.now = last.checked_add(jiff::SignedDuration::from_secs(1)).unwrap();
    world.namespace.clone_from(&status.memory.namespace_id);
    world.bucket = Some(TheBucket { created: last, live, objects: 1 });
    world.user = Some(TheUser {
        user: User { id: of(&user["id"]), path: of(&user["path"]), tags: of(&user["tags"]), boundary: None },
        inline: of(&user["inline"]),
        keys: user["keys"].as_array().unwrap().iter().map(key).collect(),
        ..TheUser::default()
    });
    world.secret.insert(name, TheSecret { data, created_at: Some(created_at), claimed: true, ..TheSecret::default() });
    world
}

#[test]
fn nothing_changes_for_a_connection_of_a_released_version() {
    let releases = releases();
    assert!(!releases.is_empty());
    for release in releases {
        let mut object: BucketConnection = recorded(&release, "connection.yaml");
        let seal = Seal::new(fields(recorded(&release, "seal.yaml"))["key"].clone());
        assert_eq!(seal.check(&mut object), None, "the seal of {} is not accepted", release.display());
        let memory = object.status.as_ref().unwrap().memory.clone();
        assert_ne!(memory, Memory::default());
        let account: AWSAccount = recorded(&release, "account.yaml");
        tenancy::authorize(&object, &BTreeMap::new(), &account, 0).unwrap();

        let mut world = world(&release, &object);
        let (_, _, _, plan) = world.plan(&mut object.clone(), true).unwrap();
        assert!(plan.steps.is_empty() && plan.blockers.is_empty(), "{}: {plan:?}", release.display());
        let before = object.status.clone().unwrap();
        world.reconcile(&mut object, |_| None);
        let after = object.status.clone().unwrap();
        assert_eq!((after.conditions, after.memory.written), (before.conditions, before.memory.written));

        // The same world with one difference: the plan above compares all of these.
        type Edit = (&'static str, fn(&mut World));
        let edits: [Edit; 4] = [
            ("tags", |world| world.bucket.as_mut().unwrap().live.tags = Set(BTreeMap::new().into())),
            ("cors", |world| world.bucket.as_mut().unwrap().live.cors = Set(Vec::new())),
            ("policy", |world| world.user.as_mut().unwrap().inline.clear()),
            ("secret", |world| _ = world.secret.values_mut().next().unwrap().data.remove("BUCKET")),
        ];
        for (what, edit) in edits {
            let mut edited = world.clone();
            edit(&mut edited);
            let (_, _, _, plan) = edited.plan(&mut object.clone(), true).unwrap();
            assert!(!plan.steps.is_empty() || !plan.blockers.is_empty(), "{}: {what} is not compared", release.display());
        }
    }
}
