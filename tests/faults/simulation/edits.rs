//! What people do without the operator, by name.

use aws_sdk_iam::types::StatusType;
use aws_sdk_s3::types::{Tag, Tagging};
use bucketconnection::api::{REQUESTED_AT, ROTATE_AT};
use serde_json::{Value, json};

use super::clock;
use super::invariants::{OWNER_TAG, THEIR_TAG};
use super::run::{Person, Simulation};
use super::scenarios::annotate;

const USER: &str = "user-c";
const BUCKET: &str = "bucket-c";
/// The id of the cluster is the uid of kube-system.
const OUR_TAG: &str = "00000000-0000-4000-8000-000000000002/default/c";
const GROUP: &str = "foreign-group";
const THEIR_POLICY: &str = "foreign-policy";

/// In AWS.
pub const AWS: [&str; 17] = [
    "key deleted",
    "key inactive",
    "foreign key",
    "policies detached",
    "inline policy edited",
    "user deleted",
    "cors deleted",
    "foreign tag",
    "versioning suspended",
    "public access block deleted",
    "object uploaded",
    "bucket deleted",
    "bucket recreated",
    "owner tag changed",
    "owner tag removed",
    "user in a group",
    "inline room taken",
];

/// In the API server.
pub const KUBERNETES: [&str; 20] = [
    "rotation requested",
    "revocation requested",
    "Secret deleted",
    "Secret edited",
    "Secret half edited",
    "Secret disowned",
    "binding deleted",
    "role widened",
    "status edited",
    "status deleted",
    "check requested",
    "forgotten",
    "forgotten, annotations kept",
    "cluster lost",
    "finalizer dropped",
    "deleted",
    "deleted in the foreground",
    "suspended",
    "resumed",
    "rule withdrawn",
];

async fn keys(person: &Person) -> Vec<String> {
    let listed = person.iam.list_access_keys().user_name(USER).send().await;
    listed.map(|listed| listed.access_key_metadata.into_iter().filter_map(|key| key.access_key_id).collect()).unwrap_or_default()
}

/// Does it; a missing resource cannot be broken.
pub async fn in_aws(person: Person, edit: &str) {
    let Person { iam, s3 } = &person;
    match edit {
        "key deleted" => {
            for id in keys(&person).await {
                let _ = iam.delete_access_key().user_name(USER).access_key_id(id).send().await;
            }
        }
        "key inactive" => {
            for id in keys(&person).await {
                let _ = iam.update_access_key().user_name(USER).access_key_id(id).status(StatusType::Inactive).send().await;
            }
        }
        "foreign key" => drop(iam.create_access_key().user_name(USER).send().await),
        "policies detached" => {
            let attached = iam.list_attached_user_policies().user_name(USER).send().await;
            for policy in attached.ok().and_then(|attached| attached.attached_policies).unwrap_or_default() {
                let _ = iam.detach_user_policy().user_name(USER).policy_arn(policy.policy_arn.unwrap_or_default()).send().await;
            }
        }
        "inline policy edited" => {
            // A person would have to remove a policy of their own before the user can be deleted.
            let policy = iam.get_user_policy().user_name(USER).policy_name("bucketconnection").send().await;
            if policy.is_err() {
                return;
            }
            let document =
                json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Action": "s3:*", "Resource": "*" }] });
            let call = iam.put_user_policy().user_name(USER).policy_name("bucketconnection");
            let _ = call.policy_document(document.to_string()).send().await;
        }
        "user deleted" => {
            for id in keys(&person).await {
                let _ = iam.delete_access_key().user_name(USER).access_key_id(id).send().await;
            }
            let attached = iam.list_attached_user_policies().user_name(USER).send().await;
            for policy in attached.ok().and_then(|attached| attached.attached_policies).unwrap_or_default() {
                let _ = iam.detach_user_policy().user_name(USER).policy_arn(policy.policy_arn.unwrap_or_default()).send().await;
            }
            let inline = iam.list_user_policies().user_name(USER).send().await;
            for name in inline.map(|inline| inline.policy_names).unwrap_or_default() {
                let _ = iam.delete_user_policy().user_name(USER).policy_name(name).send().await;
            }
            let _ = iam.remove_user_from_group().group_name(GROUP).user_name(USER).send().await;
            let _ = iam.delete_user().user_name(USER).send().await;
        }
        "cors deleted" => drop(s3.delete_bucket_cors().bucket(BUCKET).send().await),
        "foreign tag" => {
            let Ok(tags) = s3.get_bucket_tagging().bucket(BUCKET).send().await else { return };
            let tag = |key: &str| aws_sdk_s3::types::Tag::builder().key(key).value("x").build().unwrap();
            let mut tags = tags.tag_set;
            tags.retain(|tag| tag.key != "foreign");
            tags.push(tag("foreign"));
            let tags = aws_sdk_s3::types::Tagging::builder().set_tag_set(Some(tags)).build().unwrap();
            let _ = s3.put_bucket_tagging().bucket(BUCKET).tagging(tags).send().await;
        }
        "versioning suspended" => {
            let suspended = aws_sdk_s3::types::VersioningConfiguration::builder()
                .status(aws_sdk_s3::types::BucketVersioningStatus::Suspended)
                .build();
            let _ = s3.put_bucket_versioning().bucket(BUCKET).versioning_configuration(suspended).send().await;
        }
        "public access block deleted" => drop(s3.delete_public_access_block().bucket(BUCKET).send().await),
        "object uploaded" => {
            let call = s3.put_object().bucket(BUCKET).key("runs/1.txt");
            let _ = call.body(aws_sdk_s3::primitives::ByteStream::from_static(b"x")).send().await;
        }
        "bucket deleted" => delete_bucket(s3).await,
        "bucket recreated" => {
            if s3.head_bucket().bucket(BUCKET).send().await.is_err() {
                return;
            }
            delete_bucket(s3).await;
            s3.create_bucket().bucket(BUCKET).send().await.unwrap();
            tag_bucket(s3, "team", Some("imaging")).await;
            let theirs = aws_sdk_s3::primitives::ByteStream::from_static(b"theirs");
            s3.put_object().bucket(BUCKET).key("runs/theirs").body(theirs).send().await.unwrap();
        }
        "owner tag changed" => tag_bucket(s3, OWNER_TAG, Some(THEIR_TAG)).await,
        "owner tag removed" => tag_bucket(s3, OWNER_TAG, None).await,
        "user in a group" => {
            let _ = iam.create_group().group_name(GROUP).send().await;
            let _ = iam.add_user_to_group().group_name(GROUP).user_name(USER).send().await;
        }
        "user out of groups" => drop(iam.remove_user_from_group().group_name(GROUP).user_name(USER).send().await),
        "inline room taken" => {
            // As much as fits next to the existing policies.
            for length in (1..=40).rev() {
                let filler = "a".repeat(length * 50);
                let statement =
                    json!({ "Effect": "Deny", "Action": "s3:DeleteBucket", "Resource": format!("arn:aws:s3:::{filler}") });
                let document = json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string();
                let call = iam.put_user_policy().user_name(USER).policy_name(THEIR_POLICY).policy_document(document);
                if call.send().await.is_ok() {
                    break;
                }
            }
        }
        "obstacles removed" => remove_obstacles(&person).await,
        other => panic!("unknown edit {other}"),
    }
}

/// Empties and deletes the bucket, if it exists.
async fn delete_bucket(s3: &aws_sdk_s3::Client) {
    let Ok(listed) = s3.list_object_versions().bucket(BUCKET).send().await else { return };
    let versions = listed.versions().iter().map(|version| (version.key(), version.version_id()));
    let markers = listed.delete_markers().iter().map(|marker| (marker.key(), marker.version_id()));
    for (key, id) in versions.chain(markers) {
        let call = s3.delete_object().bucket(BUCKET).key(key.unwrap_or_default()).set_version_id(id.map(str::to_owned));
        call.send().await.unwrap();
    }
    s3.delete_bucket().bucket(BUCKET).send().await.unwrap();
}

/// Sets or removes one tag of the bucket, if it exists.
async fn tag_bucket(s3: &aws_sdk_s3::Client, key: &str, value: Option<&str>) {
    if s3.head_bucket().bucket(BUCKET).send().await.is_err() {
        return;
    }
    let tags = s3.get_bucket_tagging().bucket(BUCKET).send().await.map(|answer| answer.tag_set).unwrap_or_default();
    let mut tags: Vec<_> = tags.into_iter().filter(|tag| tag.key != key).collect();
    tags.extend(value.map(|value| Tag::builder().key(key).value(value).build().unwrap()));
    let tagging = Tagging::builder().set_tag_set(Some(tags)).build().unwrap();
    s3.put_bucket_tagging().bucket(BUCKET).tagging(tagging).send().await.unwrap();
}

/// Removes what other teams created: their bucket, tag, group, policy and keys.
async fn remove_obstacles(person: &Person) {
    let Person { iam, s3 } = person;
    let tags = s3.get_bucket_tagging().bucket(BUCKET).send().await.map(|answer| answer.tag_set).unwrap_or_default();
    if tags.iter().any(|tag| tag.key == "team" && tag.value == "imaging") {
        delete_bucket(s3).await;
    } else if !tags.iter().any(|tag| tag.key == OWNER_TAG && tag.value != THEIR_TAG) {
        tag_bucket(s3, OWNER_TAG, Some(OUR_TAG)).await;
    }
    let _ = iam.remove_user_from_group().group_name(GROUP).user_name(USER).send().await;
    let _ = iam.delete_user_policy().user_name(USER).policy_name(THEIR_POLICY).send().await;
}

/// The names of all Secrets of `c`.
fn secrets(simulation: &Simulation) -> Vec<String> {
    simulation.cluster.look(|store| {
        let object = store.get("bucketconnections", "default", "c");
        let found = object.map(|object| super::invariants::secrets_of(object, store)).unwrap_or_default();
        found.iter().filter_map(|secret| secret["metadata"]["name"].as_str().map(str::to_owned)).collect()
    })
}

pub fn in_kubernetes(simulation: &Simulation, edit: &str) {
    let names = secrets(simulation);
    let patch = |resource: &str, name: &str, patch: Value| {
        simulation.edit(|cluster| cluster.patch(resource, "default", name, patch));
    };
    match edit {
        "rotation requested" => annotate(simulation, ROTATE_AT),
        "revocation requested" => super::emergency::revoke(simulation),
        "Secret deleted" => {
            for name in names {
                simulation.edit(|cluster| cluster.delete("secrets", "default", &name));
            }
        }
        "Secret edited" => {
            let data = json!({ "AWS_ACCESS_KEY_ID": "QUtJQVdST05H", "AWS_SECRET_ACCESS_KEY": "eA==", "credentials": "eA==" });
            names.iter().for_each(|name| patch("secrets", name, json!({ "data": data })));
        }
        "Secret half edited" => {
            names.iter().for_each(|name| patch("secrets", name, json!({ "data": { "AWS_SECRET_ACCESS_KEY": "eA==" } })));
        }
        "Secret disowned" => {
            let marks = json!({ "labels": null, "annotations": { "bucketconnection.dev/state": null } });
            names.iter().for_each(|name| patch("secrets", name, json!({ "metadata": marks })));
        }
        "binding deleted" => {
            for name in names {
                simulation.edit(|cluster| cluster.delete("rolebindings", "default", &format!("{name}-readers")));
            }
        }
        "role widened" => {
            let rules = json!([{ "apiGroups": [""], "resources": ["secrets"], "verbs": ["*"] }]);
            names.iter().for_each(|name| patch("roles", &format!("{name}-readers"), json!({ "rules": rules })));
        }
        "status edited" => {
            let user = json!({ "name": "foreign", "arn": "arn:aws:iam::123456789012:user/foreign", "id": "AIDAX" });
            let bucket = json!({ "arn": "arn:aws:s3:::foreign", "region": "us-east-1" });
            super::scenarios::edit_status(simulation, json!({ "bucket": bucket, "user": user }));
        }
        "status deleted" => super::scenarios::edit_status(simulation, Value::Null),
        "check requested" => {
            patch("bucketconnections", "c", json!({ "metadata": { "annotations": { REQUESTED_AT: clock::now().to_string() } } }));
        }
        "finalizer dropped" => patch("bucketconnections", "c", json!({ "metadata": { "finalizers": null } })),
        "deleted" => drop(simulation.edit(|cluster| cluster.delete("bucketconnections", "default", "c"))),
        "deleted in the foreground" => {
            simulation.edit(|cluster| cluster.delete_in_foreground("bucketconnections", "default", "c"));
        }
        "suspended" => patch("bucketconnections", "c", json!({ "spec": { "suspend": true } })),
        "resumed" => patch("bucketconnections", "c", json!({ "spec": { "suspend": null } })),
        "rule withdrawn" => simulation.withdraw_rule(),
        other => panic!("unknown edit {other}"),
    }
}
