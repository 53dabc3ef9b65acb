//! Changes that people and other tools make in AWS and Kubernetes, by the names that scripts and stories use.

use super::*;
use bucketconnection::observed::User;
use bucketconnection::settings::tags::Tags;

/// Someone writes a key into the first Secret.
fn put(world: &mut World, id: &str, key: &str) {
    let secret = world.secret.values_mut().next().unwrap();
    secret.data.remove("credentials");
    secret.data.insert("AWS_ACCESS_KEY_ID".into(), Sensitive::new(id.into()));
    secret.data.insert("AWS_SECRET_ACCESS_KEY".into(), Sensitive::new(key.into()));
}

/// Someone changes something.
pub fn edit(world: &mut World, what: &str) {
    let bucket = |world: &mut World, change: fn(&mut world::TheBucket)| {
        if let Some(bucket) = &mut world.bucket {
            change(bucket);
        }
    };
    let user = |world: &mut World, change: fn(&mut world::TheUser)| {
        if let Some(user) = &mut world.user {
            change(user);
        }
    };
    let secret = |world: &mut World, change: fn(&mut TheSecret)| {
        if let Some(secret) = world.secret.values_mut().next() {
            change(secret);
        }
    };
    let binding = |world: &mut World, change: fn(&mut Held<OwnBinding>)| {
        for access in world.access.values_mut() {
            change(&mut access.binding);
        }
    };
    match what {
        "AWS writes origins small" => world.rewrites_cors = true,
        "AWS widens policies" => world.widens_policies = true,
        "AWS keeps origins as they are" => world.rewrites_cors = false,
        "their Secret" | "their Secret with another key" | "their Secret without a key" => {
            let id = if what == "their Secret" { "AKIATHEIRS" } else { "AKIAOTHER" };
            let fields = [("AWS_ACCESS_KEY_ID", id), ("AWS_SECRET_ACCESS_KEY", "theirs")];
            let kept = if what.ends_with("without a key") { 0 } else { 2 };
            let data = fields.into_iter().take(kept).map(|(name, value)| (name.to_owned(), Sensitive::new(value.to_owned())));
            let secret = TheSecret { data: data.collect(), foreign: true, ..TheSecret::default() };
            world.secret.insert("clc-key".to_owned(), secret);
        }
        "their key is rejected" => world.theirs = Some(Class::BadKey),
        "their key is denied" => world.theirs = Some(Class::Denied),
        "their key works" => world.theirs = None,
        "cors deleted" => bucket(world, |bucket| bucket.live.cors = Reading::Unset),
        "cors edited" => bucket(world, |bucket| {
            if let Reading::Set(rules) = &mut bucket.live.cors {
                rules.iter_mut().for_each(|rule| rule.allowed_origins = vec!["*".into()]);
            }
        }),
        "encryption to KMS" => bucket(world, |bucket| {
            if let Reading::Set(rule) = &mut bucket.live.encryption {
                rule.algorithm = "aws:kms".into();
            }
        }),
        "public access block deleted" => bucket(world, |bucket| bucket.live.public_access_block = Reading::Unset),
        "public access block opened" => bucket(world, |bucket| {
            if let Reading::Set(block) = &mut bucket.live.public_access_block {
                block.block_public_policy = false;
            }
        }),
        "tags deleted" => bucket(world, |bucket| bucket.live.tags = Reading::Unset),
        "foreign tag" => bucket(world, |bucket| {
            if let Reading::Set(tags) = &mut bucket.live.tags {
                let mut more = (**tags).clone();
                more.insert("foreign".into(), "stays".into());
                *tags = tags.replaced(more);
            }
        }),
        "lifecycle of others" => bucket(world, |bucket| {
            if let Reading::Set(rules) = &mut bucket.live.lifecycle {
                let theirs = json!({ "rule": { "id": "theirs", "filter": { "prefix": "x/" }, "expiration": { "days": 1 } }, "form": "OnRule" });
                rules.rules.retain(|stored| stored.rule.id != "theirs");
                rules.rules.iter_mut().for_each(|stored| stored.rule.status = serde_json::from_value(json!("Disabled")).unwrap());
                rules.rules.insert(0, serde_json::from_value(theirs).unwrap());
            }
        }),
        "bucket policy of others" => bucket(world, |bucket| {
            if let Reading::Set(policy) = &mut bucket.live.bucket_policy {
                policy.statements.iter_mut().for_each(|text| *text = text.replace("ListBucket", "*"));
                policy.statements.retain(|text| !text.contains("Theirs"));
                policy.statements.insert(0, r#"{ "Sid":"Theirs", "Effect":"Deny" }"#.into());
            }
        }),
        "versioning suspended" => bucket(world, |bucket| bucket.live.versioning = Reading::Set("Suspended".into())),
        "versioning enabled" => bucket(world, |bucket| bucket.live.versioning = Reading::Set("Enabled".into())),
        "versioning unreadable" => bucket(world, |bucket| {
            let problem = Problem::new(Class::Denied, "s3:GetBucketVersioning", "AccessDenied", "");
            bucket.live.versioning = Reading::Unreadable(problem);
        }),
        "bucket deleted" => world.bucket = None,
        "bucket of another connection" => bucket(world, |bucket| {
            bucket.live.tags =
                Reading::Set([("bucketconnection.dev/owner".to_owned(), "cluster/lab/other".to_owned())].into_iter().collect());
        }),
        "bucket there before" => {
            world.bucket = Some(world::TheBucket {
                created: world.now,
                live: serde_json::from_value(json!({ "tags": "Unset" })).unwrap(),
                objects: 3,
            });
        }
        "bucket by hand" => {
            let mut live = Live::of_new_bucket();
            live.tags = Reading::Set([("cost".to_owned(), "7".to_owned())].into_iter().collect());
            world.bucket = Some(world::TheBucket { created: world.now, live, objects: 3 });
        }
        "bucket of the same name by others" => {
            let mut live = Live::of_new_bucket();
            live.tags = Reading::Set([("team".to_owned(), "imaging".to_owned())].into_iter().collect());
            world.bucket = Some(world::TheBucket { created: world.now, live, objects: 1 });
        }
        "user by hand" => {
            let tags = [("cost".to_owned(), "7".to_owned())].into();
            world.user = Some(foreign_user("AIDA9", "/bucketconnection/", tags));
        }
        "user by hand elsewhere" => {
            world.user = Some(foreign_user("AIDA9", "/icav2/", Tags::new()));
        }
        "user in a group" => user(world, |user| user.groups.push("administrators".into())),
        "user in no group" => user(world, |user| user.groups.clear()),
        "lockdown lifted" => user(world, |user| drop(user.inline.remove("SecurityLockdown"))),
        "objects in the bucket" => bucket(world, |bucket| bucket.objects = 3),
        "policy edited" => {
            let wide =
                json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Allow", "Action": "s3:*", "Resource": "*" }] });
            if let Some(user) = &mut world.user {
                user.inline.values_mut().for_each(|document| *document = wide.clone());
            }
            for policy in world.policies.values_mut() {
                let next = policy.versions.last().unwrap().0 + 1;
                if policy.versions.len() < 5 {
                    policy.versions.push((next, wide.clone()));
                    policy.default = next;
                }
            }
        }
        "policy deleted" => {
            world.policies.clear();
            user(world, |user| {
                user.inline.clear();
                user.attached.clear();
            });
        }
        "lockdown of others" => {
            let deny = json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Deny", "Action": "*", "Resource": "*" }] });
            drop(world.user.as_mut().unwrap().inline.insert("SecurityLockdown".into(), deny));
        }
        "boundary of others" => user(world, |user| user.user.boundary = Some("arn:aws:iam::123456789012:policy/security".into())),
        "bucket of another namespace" => {
            edit(world, "bucket by hand");
            bucket(world, |bucket| {
                let tags = [("bucketconnection.dev/owner", "cluster/board/acme"), ("project", "merger")];
                bucket.live.tags =
                    Reading::Set(tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into_iter().collect());
            });
        }
        "user of another namespace" => {
            edit(world, "user by hand");
            user(world, |user| drop(user.user.tags.insert("bucketconnection.dev/owner".into(), "cluster/board/acme".into())));
        }
        "policy detached" => user(world, |user| user.attached.clear()),
        "user untagged" => user(world, |user| user.user.tags.clear()),
        "user deleted" => world.user = None,
        "user there before" => world.user = Some(foreign_user("AIDAFOREIGN", "/", Tags::new())),
        "key expired" => user(world, |user| {
            user.keys.iter_mut().for_each(|key| (key.active, key.expired) = (false, true));
        }),
        "old key used" => {
            let now = world.now;
            if let Some(user) = &mut world.user {
                user.keys[0].used_at = Some(now);
            }
        }
        "old key activated" => user(world, |user| user.keys[0].active = true),
        "secret: the first key written into it" => {
            let key = world.user.as_ref().unwrap().keys[0].clone();
            put(world, &key.id, &key.secret);
        }
        "secret: id of the foreign key" => put(world, "AKIAFOREIGN", "wrong"),
        "foreign key inactive" => user(world, |user| {
            user.keys.iter_mut().filter(|key| key.id == "AKIAFOREIGN").for_each(|key| key.active = false);
        }),
        // A list that is older than the keys, while the data plane does not know them yet either.
        "IAM forgets the newest key" => world.late.extend(world.user.as_mut().unwrap().keys.pop()),
        "IAM remembers it" => world.user.as_mut().unwrap().keys.append(&mut world.late),
        "key inactive" => user(world, |user| user.keys.iter_mut().for_each(|key| key.active = false)),
        "keys deleted" => user(world, |user| user.keys.clear()),
        "foreign key" => {
            let now = world.now;
            let one = |user: &world::TheUser| user.keys.len() < 2 && user.keys.iter().all(|key| key.id != "AKIAFOREIGN");
            if world.user.as_ref().is_some_and(one) {
                let key = world::TheKey {
                    id: "AKIAFOREIGN".into(),
                    secret: "theirs".into(),
                    active: true,
                    created_at: now,
                    expired: false,
                    used_at: None,
                };
                world.user.as_mut().unwrap().keys.push(key);
            }
        }
        "quarantine" => user(world, |user| user.attached.push("arn:aws:iam::aws:policy/AWSCompromisedKeyQuarantineV3".into())),
        "policy created again by others" => {
            let deny = json!({ "Version": "2012-10-17", "Statement": [{ "Effect": "Deny", "Action": "*", "Resource": "*" }] });
            let theirs = |policy: &mut world::ThePolicy| {
                *policy = world::ThePolicy {
                    id: "ANPAOTHER".into(),
                    versions: vec![(1, deny.clone())],
                    default: 1,
                    ..Default::default()
                };
            };
            world.policies.values_mut().for_each(theirs);
        }
        "policy untagged" => world.policies.values_mut().for_each(|policy| policy.tags.clear()),
        "genomics-s3 cannot be read" => world.unreadable = Some("genomics-s3".into()),
        "keys cannot be read" => world.unreadable = Some("keys".into()),
        "attached policies cannot be read" => world.unreadable = Some("attached policies".into()),
        "all can be read" => world.unreadable = None,
        "namespace known" => world.namespace = Some("c1/n1".into()),
        "namespace tags deleted" => {
            let bucket = world.bucket.as_mut().unwrap();
            if let Reading::Set(tags) = &bucket.live.tags {
                let mut left = (**tags).clone();
                left.remove(names::NAMESPACE_TAG);
                bucket.live.tags = Reading::Set(left.into());
            }
            let users = world.user.iter_mut().map(|user| &mut user.user.tags);
            users.chain(world.policies.values_mut().map(|policy| &mut policy.tags)).for_each(|tags| {
                tags.remove(names::NAMESPACE_TAG);
            });
        }
        "foreign key deleted" => user(world, |user| user.keys.retain(|key| key.id != "AKIAFOREIGN")),
        "quarantine lifted" => user(world, |user| user.attached.clear()),
        "denial deleted" => user(world, |user| drop(user.inline.remove("bucketconnection-revoked"))),
        "secret: main deleted" => drop(world.secret.pop_first()),
        "secret deleted" => world.secret.clear(),
        "secret of another" => {
            world.secret.insert("genomics-s3".into(), TheSecret { foreign: true, ..TheSecret::default() });
        }
        "secret: field edited" => secret(world, |secret| {
            secret.data.insert("BUCKET".into(), Sensitive::new("other".into()));
        }),
        "secret: one copy of the key edited" => secret(world, |secret| {
            secret.data.insert("AWS_SECRET_ACCESS_KEY".into(), Sensitive::new("wrong".into()));
        }),
        "secret: both copies of the key edited" => secret(world, |secret| {
            secret.data.insert("AWS_SECRET_ACCESS_KEY".into(), Sensitive::new("wrong".into()));
            secret.data.insert("credentials".into(), Sensitive::new("wrong".into()));
        }),
        "secret: taken by another" => secret(world, |secret| *secret = TheSecret { foreign: true, ..TheSecret::default() }),
        "binding: group added" => binding(world, |binding| {
            if let Held::Ours(binding) = binding {
                binding.groups.push("intruders".into());
                binding.others.push("User mallory".into());
            }
        }),
        "binding deleted" => binding(world, |binding| *binding = Held::Absent),
        "binding to another role" => binding(world, |binding| {
            if let Held::Ours(binding) = binding {
                binding.role = "ClusterRole cluster-admin".into();
            }
        }),
        "role widened" => {
            for access in world.access.values_mut() {
                if let Held::Ours(role) = &mut access.role {
                    role.rules = json!([{ "apiGroups": [""], "resources": ["secrets"], "verbs": ["*"] }]);
                }
            }
        }
        "role of another" => {
            let why = || "exists and was not created by this BucketConnection".to_owned();
            world.access.entry("genomics-s3-readers".into()).or_insert_with(world::nobody).role = Held::Foreign(why());
        }
        "role that cannot be read" => {
            let problem = Problem::at(Source::Kubernetes, Class::Denied, "get roles", "Forbidden", "");
            world.access.entry("genomics-s3-readers".into()).or_insert_with(world::nobody).role = Held::Unreadable(problem);
        }
        "binding of another" => {
            let why = "belongs to BucketConnection other".to_owned();
            world.access.entry("genomics-s3-readers".into()).or_insert_with(world::nobody).binding = Held::Foreign(why);
        }
        "roles gone" => world.access.clear(),
        "secret released" => secret(world, |secret| secret.claimed = false),
        _ => panic!("no edit {what:?}"),
    }
}

/// A user that another tool created.
fn foreign_user(id: &str, path: &str, tags: Tags) -> world::TheUser {
    let user = User { id: id.to_owned(), path: path.to_owned(), tags, ..User::default() };
    world::TheUser { user, ..world::TheUser::default() }
}
