//! The IAM policy that the operator itself needs: for some connections, exactly what they need; for an account, what
//! any connection may need.
//!
//! Names of permissions and their resources:
//! <https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html> and
//! `list_identityandaccessmanagement.html` next to it. The operator makes no KMS calls: S3 sets a key as a bucket's
//! default without a permission on it, and objects are written with the issued key. `sts:GetCallerIdentity` needs no
//! permission.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;
use serde_json::{Value, json};

use crate::api::{DeletionPolicy, PolicyType};
use crate::desired::{Desired, Destroy, names};
use crate::observed::Remembered;
use crate::settings::SettingId;

/// Characters that a managed policy may have, without white space
/// (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>).
pub const LIMIT: usize = 6_144;

/// A policy document.
#[derive(Serialize)]
pub struct Policy {
    #[serde(rename = "Version")]
    version: &'static str,
    #[serde(rename = "Statement")]
    statements: Vec<Statement>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    sid: String,
    effect: &'static str,
    action: Value,
    resource: Value,
    #[serde(skip_serializing_if = "Conditions::is_empty")]
    condition: Conditions,
}

type Conditions = BTreeMap<&'static str, BTreeMap<&'static str, Value>>;

/// A string for a list of one, as AWS writes policies.
fn one_or_many<T: Serialize>(items: impl IntoIterator<Item = T>) -> Value {
    let mut items: Vec<Value> = items.into_iter().map(|item| json!(item)).collect();
    if items.len() == 1 { items.remove(0) } else { Value::Array(items) }
}

impl fmt::Display for Policy {
    /// JSON to paste.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", serde_json::to_string_pretty(self).map_err(|_| fmt::Error)?)
    }
}

impl Policy {
    /// Its characters, as IAM counts them.
    pub fn size(&self) -> usize {
        self.to_string().chars().filter(|c| !c.is_whitespace()).count()
    }
}

/// Everything that connections of an account may reach.
pub struct Scope<'a> {
    /// Partition: `aws`, `aws-cn`, ...
    pub partition: &'a str,
    /// Account id, twelve digits; without it, the account that the policy is in.
    pub account_id: Option<&'a str>,
    /// Path of users and managed policies.
    pub user_path: &'a str,
    /// Patterns of bucket names; empty for all buckets.
    pub buckets: &'a [String],
    /// ARN of the boundary that every user must have.
    pub permissions_boundary: Option<&'a str>,
}

impl Default for Scope<'_> {
    fn default() -> Self {
        Self { partition: "aws", account_id: None, user_path: names::DEFAULT_PATH, buckets: &[], permissions_boundary: None }
    }
}

/// The policy for any connections of an account.
pub fn for_account(scope: &Scope<'_>) -> Policy {
    let arn = format!("arn:{}", scope.partition);
    let iam = format!("{arn}:iam::{}", scope.account_id.unwrap_or("*"));
    let mut grants = Grants::new(scope.account_id, scope.permissions_boundary);
    let all = ["*".to_owned()];
    let buckets = if scope.buckets.is_empty() { &all[..] } else { scope.buckets };
    for bucket in buckets {
        grants.connection(
            &Needs {
                user: true,
                settings: actions_of(SettingId::ALL),
                managed: true,
                adopts_user: true,
                boundary: true,
                delete: true,
                destroy: true,
            },
            &Names {
                bucket: format!("{arn}:s3:::{bucket}"),
                find: vec![format!("{iam}:user/*")],
                user: format!("{iam}:user{}*", scope.user_path),
                policy: format!("{iam}:policy{}*", scope.user_path),
            },
        );
    }
    grants.policy()
}

/// The policy for an identity with which an `AWSAccount` only assumes other roles.
pub fn for_roles(roles: &[String]) -> Policy {
    let (action, resource) = (one_or_many(["sts:AssumeRole"]), one_or_many(roles));
    let statement = Statement { sid: "Roles".to_owned(), effect: "Allow", action, resource, condition: Conditions::new() };
    Policy { version: "2012-10-17", statements: vec![statement] }
}

/// The policy for exactly these connections, all of one account.
pub fn for_connections(connections: &[(Desired, Remembered)], permissions_boundary: Option<&str>) -> Policy {
    let account = connections.first().map(|(desired, _)| desired.account.id.as_str());
    let mut grants = Grants::new(account, permissions_boundary);
    for (desired, remembered) in connections {
        let delete = desired.deletion == DeletionPolicy::Delete;
        let iam = format!("arn:{}:iam::{}", desired.account.partition, desired.account.id);
        let user = &desired.user.name;
        let names = Names {
            bucket: desired.bucket.arn.clone(),
            // On every path: AWS does not know the path of a missing user, and a user of this name may have another
            // path.
            find: vec![format!("{iam}:user/{user}"), format!("{iam}:user/*/{user}")],
            user: desired.user.arn.clone(),
            policy: desired.policy.arn.clone(),
        };
        let needs = Needs {
            user: desired.identity.is_managed(),
            settings: settings_of(desired),
            managed: desired.policy.kind == PolicyType::Managed,
            adopts_user: desired.user.adopt,
            boundary: desired.user.boundary.is_some(),
            delete,
            destroy: delete && desired.force_destroy == Destroy::Yes,
        };
        grants.connection(&needs, &names);
        // Policies of earlier specs are deleted when the new one is in place.
        for earlier in remembered.earlier_policies(desired) {
            match &earlier.arn {
                Some(arn) => grants.remove_policy(&names.user, arn),
                None => grants.allow(Purpose::UserRights, &["iam:DeleteUserPolicy"], &names.user),
            }
        }
    }
    grants.policy()
}

fn actions_of(settings: &[SettingId]) -> Vec<&'static str> {
    settings.iter().flat_map(|setting| setting.facts().actions).copied().collect()
}

fn settings_of(desired: &Desired) -> Vec<&'static str> {
    let mut actions = actions_of(&desired.bucket.settings.managed());
    actions.extend(desired.versioned.map(|_| SettingId::Versioning.facts().actions[0]));
    actions
}

/// What the operator does for a connection.
struct Needs {
    /// Whether it has a managed user.
    user: bool,
    /// Actions of the managed settings, and of those that are only read.
    settings: Vec<&'static str>,
    managed: bool,
    adopts_user: bool,
    boundary: bool,
    delete: bool,
    destroy: bool,
}

/// ARNs, or patterns of them.
struct Names {
    bucket: String,
    find: Vec<String>,
    user: String,
    policy: String,
}

/// The purpose of a statement, in the order of statements. Each has its own condition.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, strum::Display)]
enum Purpose {
    CreateBuckets,
    CreationDates,
    Buckets,
    BucketsOnDelete,
    ObjectsOnForcedDelete,
    UsersByName,
    Users,
    UserRights,
    UserPolicies,
    Policies,
}

/// Collects the allowed actions, each with its resources.
struct Grants<'a> {
    account_id: Option<&'a str>,
    boundary: Option<&'a str>,
    allowed: Vec<(Purpose, &'static str, BTreeSet<String>)>,
    /// Managed policies that users may get.
    policies: BTreeSet<String>,
}

impl<'a> Grants<'a> {
    fn new(account_id: Option<&'a str>, boundary: Option<&'a str>) -> Self {
        Self { account_id, boundary, allowed: Vec::new(), policies: BTreeSet::new() }
    }

    fn allow(&mut self, purpose: Purpose, actions: &[&'static str], resource: &str) {
        for action in actions {
            let known = self.allowed.iter_mut().find(|(p, a, _)| (*p, *a) == (purpose, *action));
            match known {
                Some((_, _, resources)) => drop(resources.insert(resource.to_owned())),
                None => self.allowed.push((purpose, action, BTreeSet::from([resource.to_owned()]))),
            }
        }
    }

    fn connection(&mut self, needs: &Needs, names: &Names) {
        let Names { bucket, find, user, policy } = names;
        self.allow(Purpose::CreateBuckets, &["s3:CreateBucket", "s3:TagResource"], bucket);
        self.allow(Purpose::CreationDates, &["s3:ListAllMyBuckets"], "*");
        self.allow(Purpose::Buckets, &needs.settings, bucket);
        if needs.delete {
            let actions = ["s3:DeleteBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads"];
            self.allow(Purpose::BucketsOnDelete, &actions, bucket);
        }
        if needs.destroy {
            let actions = ["s3:DeleteObject", "s3:DeleteObjectVersion", "s3:AbortMultipartUpload"];
            self.allow(Purpose::ObjectsOnForcedDelete, &actions, &format!("{bucket}/*"));
        }
        if !needs.user {
            return;
        }
        for pattern in find {
            self.allow(Purpose::UsersByName, &["iam:GetUser"], pattern);
        }
        let actions = [
            "iam:TagUser",
            "iam:UntagUser",
            "iam:ListAttachedUserPolicies",
            "iam:CreateAccessKey",
            "iam:ListAccessKeys",
            "iam:UpdateAccessKey",
            "iam:DeleteAccessKey",
            "iam:GetAccessKeyLastUsed",
            "iam:GetUserPolicy",
        ];
        self.allow(Purpose::Users, &actions, user);
        if needs.adopts_user {
            self.allow(Purpose::Users, &["iam:ListUserPolicies", "iam:ListGroupsForUser"], user);
        }
        self.allow(Purpose::UserRights, &["iam:CreateUser"], user);
        if needs.boundary {
            self.allow(Purpose::UserRights, &["iam:PutUserPermissionsBoundary"], user);
        }
        if needs.delete {
            self.allow(Purpose::Users, &["iam:DeleteUser"], user);
        }
        // The inline policy, and the policy that denies revoked sessions.
        self.allow(Purpose::UserRights, &["iam:PutUserPolicy", "iam:DeleteUserPolicy"], user);
        if needs.managed {
            self.allow(Purpose::UserPolicies, &["iam:AttachUserPolicy"], user);
            let actions = [
                "iam:CreatePolicy",
                "iam:TagPolicy",
                "iam:UntagPolicy",
                "iam:GetPolicy",
                "iam:GetPolicyVersion",
                "iam:ListPolicyVersions",
                "iam:CreatePolicyVersion",
                "iam:DeletePolicyVersion",
            ];
            self.allow(Purpose::Policies, &actions, policy);
            self.policies.insert(policy.clone());
            if needs.delete {
                self.remove_policy(user, policy);
            }
        }
    }

    fn remove_policy(&mut self, user: &str, policy: &str) {
        self.allow(Purpose::UserPolicies, &["iam:DetachUserPolicy"], user);
        let actions = ["iam:GetPolicy", "iam:ListPolicyVersions", "iam:DeletePolicyVersion", "iam:DeletePolicy"];
        self.allow(Purpose::Policies, &actions, policy);
        self.policies.insert(policy.to_owned());
    }

    /// Actions with the same purpose and resources share one statement.
    fn policy(mut self) -> Policy {
        let mut grouped: Vec<(Purpose, Vec<&'static str>, BTreeSet<String>)> = Vec::new();
        for (purpose, action, resources) in std::mem::take(&mut self.allowed) {
            match grouped.iter_mut().find(|(p, _, r)| *p == purpose && *r == resources) {
                Some((_, actions, _)) => actions.push(action),
                None => grouped.push((purpose, vec![action], resources)),
            }
        }
        grouped.sort_by_key(|(purpose, ..)| *purpose);
        let mut statements: Vec<Statement> = Vec::new();
        let mut last = None;
        let mut number = 1;
        for (purpose, action, resource) in grouped {
            number = if last == Some(purpose) { number + 1 } else { 1 };
            last = Some(purpose);
            let sid = if number == 1 { purpose.to_string() } else { format!("{purpose}{number}") };
            let (action, resource) = (one_or_many(action), one_or_many(resource));
            statements.push(Statement { sid, effect: "Allow", action, resource, condition: self.condition(purpose) });
        }
        Policy { version: "2012-10-17", statements }
    }

    fn condition(&self, purpose: Purpose) -> Conditions {
        let mut conditions = Conditions::new();
        let mut require = |operator, key, value| {
            conditions.entry(operator).or_default().insert(key, value);
        };
        match purpose {
            // A bucket of that name may belong to another account. IfExists: a missing bucket is in no account, and
            // must be reported as missing, not as denied. A new bucket is always in the caller's own account.
            Purpose::Buckets | Purpose::BucketsOnDelete | Purpose::ObjectsOnForcedDelete => {
                let own = self.account_id.unwrap_or("${aws:PrincipalAccount}");
                require("StringEqualsIfExists", "aws:ResourceAccount", json!(own));
            }
            Purpose::UserRights | Purpose::UserPolicies => {
                if let Some(boundary) = self.boundary {
                    require("StringEquals", "iam:PermissionsBoundary", json!(boundary));
                }
                // An identity that may attach any policy to a user could make itself administrator.
                if purpose == Purpose::UserPolicies {
                    require("ArnLike", "iam:PolicyARN", one_or_many(&self.policies));
                }
            }
            Purpose::CreateBuckets | Purpose::CreationDates | Purpose::UsersByName | Purpose::Users | Purpose::Policies => {}
        }
        conditions
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::BucketConnection;
    use crate::desired::{Account, Grant, resolve};

    fn connection(spec: Value, status: Value) -> (Desired, Remembered) {
        let mut object = json!({
            "apiVersion": "bucketconnection.dev/v1alpha1",
            "kind": "BucketConnection",
            "metadata": { "name": "c", "namespace": "lab" },
            "spec": { "preset": "ReadWrite", "region": "us-east-1", "bucket": { "name": "lab-bucket" } },
            "status": status,
        });
        for (name, value) in spec.as_object().unwrap() {
            object["spec"][name] = value.clone();
        }
        let object: BucketConnection = serde_json::from_value(object).unwrap();
        let account = Account { id: "123456789012".into(), partition: names::partition_of(&object.spec.region).to_owned() };
        (resolve(&object, "", &account, &Grant::of_unknown_account()).unwrap(), Remembered::of(&object))
    }

    /// Each action, with its resources and the condition of its statement.
    fn granted(policy: &Policy) -> BTreeMap<String, (Value, Value)> {
        let document: Value = serde_json::from_str(&policy.to_string()).unwrap();
        let mut granted = BTreeMap::new();
        for statement in document["Statement"].as_array().unwrap() {
            let actions = &statement["Action"];
            for action in actions.as_array().unwrap_or(&vec![actions.clone()]) {
                let twice = granted
                    .insert(action.as_str().unwrap().to_owned(), (statement["Resource"].clone(), statement["Condition"].clone()));
                assert_eq!(twice, None, "{action} is granted twice");
            }
        }
        granted
    }

    fn one(spec: Value) -> BTreeMap<String, (Value, Value)> {
        granted(&for_connections(&[connection(spec, Value::Null)], None))
    }

    #[test]
    fn only_what_the_spec_takes() {
        let cases = [
            (
                json!({}),
                vec!["s3:PutBucketPublicAccessBlock", "iam:PutUserPolicy"],
                vec![
                    "s3:PutBucketCORS",
                    "s3:DeleteBucket",
                    "iam:CreatePolicy",
                    "iam:DeleteUser",
                    "s3:PutBucketOwnershipControls",
                ],
            ),
            (json!({ "cors": { "rules": [] } }), vec!["s3:PutBucketCORS"], vec![]),
            (
                json!({ "policy": { "type": "Managed" } }),
                vec!["iam:CreatePolicy", "iam:AttachUserPolicy"],
                vec!["iam:DetachUserPolicy", "iam:DeletePolicy"],
            ),
            (
                json!({ "deletionPolicy": "Delete" }),
                vec!["s3:DeleteBucket", "iam:DeleteUser", "iam:DeleteUserPolicy"],
                vec!["s3:DeleteObjectVersion", "iam:DetachUserPolicy"],
            ),
            (
                json!({ "deletionPolicy": "Delete", "policy": { "type": "Managed" } }),
                vec!["iam:DetachUserPolicy", "iam:DeletePolicy"],
                vec![],
            ),
            (
                json!({ "deletionPolicy": "Delete", "forceDestroy": true }),
                vec!["s3:DeleteObjectVersion", "s3:DeleteObject"],
                vec![],
            ),
            (
                json!({ "deletionPolicy": "Delete", "credentials": { "source": "Existing", "existingSecretRef": { "name": "x" } } }),
                vec!["s3:DeleteBucket"],
                vec!["iam:GetUser", "iam:CreateUser", "iam:PutUserPolicy", "iam:ListAccessKeys", "iam:DeleteUser"],
            ),
            (json!({ "forceDestroy": true }), vec![], vec!["s3:DeleteObjectVersion", "s3:DeleteBucket"]),
        ];
        for (spec, has, has_not) in cases {
            let granted = one(spec.clone());
            assert!(has.iter().all(|action| granted.contains_key(*action)), "{spec}: {granted:#?}");
            assert!(!has_not.iter().any(|action| granted.contains_key(*action)), "{spec}: {granted:#?}");
        }
    }

    #[test]
    fn each_action_reaches_just_its_own() {
        let first = connection(json!({ "cors": { "rules": [] } }), Value::Null);
        let mut second = connection(
            json!({ "region": "us-west-2", "policy": { "type": "Managed" }, "user": { "name": "b", "path": "/x/" } }),
            Value::Null,
        );
        second.0.bucket.arn = "arn:aws:s3:::other".into();
        let granted = granted(&for_connections(&[first, second], None));
        assert_eq!(granted["s3:PutBucketCORS"].0, "arn:aws:s3:::lab-bucket");
        assert_eq!(granted["s3:PutBucketTagging"].0, json!(["arn:aws:s3:::lab-bucket", "arn:aws:s3:::other"]));
        assert_eq!(
            granted["s3:PutBucketTagging"].1,
            json!({ "StringEqualsIfExists": { "aws:ResourceAccount": "123456789012" } })
        );
        let users = ["arn:aws:iam::123456789012:user/bucketconnection/lab.c", "arn:aws:iam::123456789012:user/x/b"];
        assert_eq!(granted["iam:PutUserPolicy"].0, json!(users));
        assert_eq!(granted["iam:CreatePolicy"].0, "arn:aws:iam::123456789012:policy/x/b");
        assert_eq!(
            granted["iam:AttachUserPolicy"].1,
            json!({ "ArnLike": { "iam:PolicyARN": "arn:aws:iam::123456789012:policy/x/b" } })
        );
        // AWS has no narrower resource for it.
        let mut narrow = granted.iter().filter(|(action, _)| **action != "s3:ListAllMyBuckets").map(|(_, granted)| granted);
        assert!(narrow.all(|(resource, _)| resource != "*" && !resource.to_string().contains(":user/*\"")));
    }

    #[test]
    fn every_right_that_a_boundary_can_bound_is_bound() {
        let boundary = "arn:aws:iam::123456789012:policy/boundary";
        let policy = for_account(&Scope { permissions_boundary: Some(boundary), ..Scope::default() });
        let granted = granted(&policy);
        for action in [
            "CreateUser",
            "PutUserPermissionsBoundary",
            "PutUserPolicy",
            "DeleteUserPolicy",
            "AttachUserPolicy",
            "DetachUserPolicy",
        ] {
            assert_eq!(granted[&format!("iam:{action}")].1["StringEquals"]["iam:PermissionsBoundary"], boundary, "{action}");
        }
        assert!(!granted.contains_key("iam:DeleteUserPermissionsBoundary"));
        assert!(
            !granted.iter().any(|(_, (resources, _))| resources.to_string().contains(boundary)),
            "nobody may write the boundary"
        );
    }

    #[test]
    fn an_account_can_be_narrowed() {
        let buckets = ["lab-*".to_owned(), "ica-*".to_owned()];
        let policy = for_account(&Scope {
            partition: "aws-cn",
            account_id: Some("210987654321"),
            user_path: "/lab/",
            buckets: &buckets,
            ..Scope::default()
        });
        let granted = granted(&policy);
        assert_eq!(granted["s3:CreateBucket"].0, json!(["arn:aws-cn:s3:::ica-*", "arn:aws-cn:s3:::lab-*"]));
        assert_eq!(granted["iam:CreateUser"].0, "arn:aws-cn:iam::210987654321:user/lab/*");
        assert!(!policy.to_string().contains("arn:aws:"));
        assert!(policy.size() < LIMIT);
    }

    #[test]
    fn what_an_earlier_spec_left_may_be_removed() {
        let earlier =
            json!([{ "type": "Managed", "name": "old", "arn": "arn:aws:iam::123456789012:policy/bucketconnection/old" }]);
        let granted = granted(&for_connections(&[connection(json!({}), json!({ "earlierPolicies": earlier }))], None));
        assert_eq!(granted["iam:DeletePolicy"].0, "arn:aws:iam::123456789012:policy/bucketconnection/old");
        assert!(granted.contains_key("iam:DetachUserPolicy") && !granted.contains_key("iam:CreatePolicy"));
    }
}
