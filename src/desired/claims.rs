//! Two connections that name the same bucket or user: one of them wins, and the other reports a conflict.
//!
//! The connection that already owns the resource wins, then the older one. The tags in AWS would keep them apart too.
//! This check finds the conflict before any call to AWS, so that the winner does not depend on which connection is
//! reconciled first.

use kube::ResourceExt;

use super::management::Management;
use super::tenancy::{self, Grant, Labels};
use super::{Account, names, resolve};
use crate::api::{AWSAccount, AccountDefaults, BucketConnection, ManagementMode};
use crate::vocabulary::conditions::ConditionType;

/// The relation of an object to the bucket and user that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It owns its bucket or user: its status says so, under the operator's seal.
    Owner,
    /// It may create or adopt them, and nothing prevents that.
    Claimant,
    /// It must not have them, or does not manage them: no other connection has to wait for it.
    None,
}

/// Whether an object that owns nothing yet will create or adopt what it names.
pub fn wants(object: &BucketConnection) -> bool {
    let enforced = Management::of_spec(&object.spec.management).of("bucket") == ManagementMode::Enforce;
    enforced && !object.spec.suspend && object.metadata.deletion_timestamp.is_none()
}

/// The claim of an object with a verified status. For the rules of its `account`, an entry counts only if it does not
/// depend on namespace labels.
pub fn claim(object: &BucketConnection, account: Option<&AWSAccount>) -> Claim {
    if object.owns_resources() {
        return Claim::Owner;
    }
    let allowed = account.is_some_and(|account| {
        let namespace = object.namespace().unwrap_or_default();
        let known = !tenancy::asks_labels(&account.spec, &namespace);
        known && tenancy::authorize(object, &Labels::new(), account, 0).is_ok_and(|grant| is_valid(object, account, &grant))
    });
    if wants(object) && allowed { Claim::Claimant } else { Claim::None }
}

/// Whether an object can be reconciled in its account, as far as that is known before the operator signs in. No
/// connection has to wait for an object that can never be reconciled.
fn is_valid(object: &BucketConnection, account: &AWSAccount, grant: &Grant) -> bool {
    let status = account.status.clone().unwrap_or_default();
    let Some(id) = status.account_id.or_else(|| account.spec.account_id.clone()) else { return true };
    let region = account.spec.sign_in.region.as_ref().unwrap_or(&object.spec.region);
    let partition = status.partition.unwrap_or_else(|| names::partition_of(region).to_owned());
    resolve(object, "", &Account { id, partition }, grant).is_ok()
}

/// How many connections of its namespace in the same account are older than `object`.
pub fn earlier<'a>(object: &BucketConnection, others: impl IntoIterator<Item = &'a BucketConnection>) -> usize {
    let same = |other: &&BucketConnection| {
        other.namespace() == object.namespace()
            && other.spec.account_ref == object.spec.account_ref
            && other.uid() != object.uid()
    };
    others.into_iter().filter(same).filter(|other| age(other) < age(object)).count()
}

/// A bucket or user that another connection owns or claims.
#[derive(Clone, Debug, PartialEq)]
pub struct Conflict {
    /// The condition that reports it.
    pub part: ConditionType,
    /// The cause, for people. It never names a connection of another namespace.
    pub message: String,
    /// Namespace and name of the other connection, for the operator's log.
    pub holder: String,
}

/// The first claim of `object` that conflicts with one of `others`. The status of `object` must be verified. `claim`
/// returns the claim of another object; it is called only for objects that name the same bucket or user.
pub fn conflict_with<'a>(
    object: &BucketConnection,
    others: impl IntoIterator<Item = &'a BucketConnection>,
    defaults: &AccountDefaults,
    claim: impl Fn(&BucketConnection) -> Claim,
) -> Option<Conflict> {
    if object.owns_resources() {
        return None;
    }
    let (bucket, user) = (bucket(object), user(object, defaults));
    let same_bucket = |other: &BucketConnection| self::bucket(other) == bucket;
    let same_user = |other: &BucketConnection| {
        other.spec.account_ref == object.spec.account_ref && user.is_some() && self::user(other, defaults) == user
    };
    let mut rivals: Vec<_> =
        others.into_iter().filter(|other| (same_bucket(other) || same_user(other)) && other.uid() != object.uid()).collect();
    // The likely winner first: even if many objects name the same resource, `claim` is called for few of them.
    rivals.sort_by_cached_key(|other| (!other.owns_resources(), age(other)));
    for other in rivals {
        match claim(other) {
            Claim::Owner => {}
            Claim::Claimant if age(other) < age(object) => {}
            Claim::Claimant | Claim::None if !other.owns_resources() && age(other) > age(object) => break,
            Claim::Claimant | Claim::None => continue,
        }
        let own_bucket = same_bucket(other);
        let holder = format!("{}/{}", other.namespace().unwrap_or_default(), names::of(other));
        let neighbor = other.namespace() == object.namespace();
        let whose = if neighbor { format!("BucketConnection {holder}") } else { "another BucketConnection".to_owned() };
        let (part, message) = if own_bucket {
            let name = names::bucket(object, "<account>");
            let or = if neighbor { ", or delete that one first" } else { "" };
            (ConditionType::BucketReady, format!("bucket {name} belongs to {whose}: choose another bucket.name{or}"))
        } else {
            let name = object.spec.user.as_ref().and_then(|user| user.name.clone());
            let name = name.unwrap_or_else(|| names::default_user(object, defaults));
            let advice = "create this BucketConnection with another user.name";
            (ConditionType::UserReady, format!("IAM user {name} belongs to {whose}: {advice}"))
        };
        return Some(Conflict { part, message, holder });
    }
    None
}

/// What `object` claims, as keys: objects without a key in common have no conflict.
pub fn claimed(object: &BucketConnection, defaults: &AccountDefaults) -> Vec<String> {
    let user = user(object, defaults).map(|user| format!("user {} {user}", object.spec.account_ref.name));
    std::iter::once(format!("bucket {:?}", bucket(object))).chain(user).collect()
}

/// Bucket names are global, except in an account's own namespace.
fn bucket(object: &BucketConnection) -> (Option<&String>, Option<(&String, &String, &String)>) {
    let spec = &object.spec;
    let own = spec.bucket.name_prefix.as_ref().map(|prefix| (&spec.account_ref.name, &spec.region, prefix));
    (spec.bucket.name.as_ref(), own)
}

/// IAM treats names that differ only in case as the same name. A connection with an existing key claims no user.
fn user(object: &BucketConnection, defaults: &AccountDefaults) -> Option<String> {
    if object.spec.existing_secret().is_some() {
        return None;
    }
    let name = object.spec.user.as_ref().and_then(|user| user.name.clone());
    Some(name.unwrap_or_else(|| names::default_user(object, defaults)).to_lowercase())
}

/// Sorts the older object first.
fn age(object: &BucketConnection) -> impl Ord + use<> {
    (object.creation_timestamp().map(|time| time.0), object.namespace(), object.name_any())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn object(name: &str, minute: u32, spec: Value, status: Value) -> BucketConnection {
        let mut whole = json!({ "preset": "ReadWrite", "region": "eu-west-1", "bucket": { "name": "data", "prefix": "runs/" } });
        for (field, value) in spec.as_object().unwrap() {
            whole[field] = value.clone();
        }
        let metadata = json!({ "name": name, "namespace": "lab", "uid": name, "creationTimestamp": format!("2026-01-01T00:{minute:02}:00Z") });
        serde_json::from_value(json!({
            "apiVersion": "bucketconnection.dev/v1alpha1", "kind": "BucketConnection",
            "metadata": metadata, "spec": whole, "status": status,
        }))
        .unwrap()
    }

    fn claim(object: &BucketConnection) -> Claim {
        match &object.status {
            Some(status) if status.memory.bucket.is_some() => Claim::Owner,
            Some(status) if status.memory.account_id.is_some() => Claim::None,
            _ => Claim::Claimant,
        }
    }

    #[test]
    fn the_older_one_wins_unless_the_younger_has_it() {
        let (older, younger) = (object("a", 1, json!({}), json!({})), object("b", 2, json!({}), json!({})));
        let none = AccountDefaults::default();
        assert_eq!(conflict_with(&older, [&older, &younger], &none, claim), None);
        let found = conflict_with(&younger, [&older, &younger], &none, claim).unwrap();
        assert_eq!(found.part, ConditionType::BucketReady);
        assert!(found.message.starts_with("bucket data belongs to BucketConnection lab/a: "), "{}", found.message);
        let has = object("b", 2, json!({}), json!({ "bucket": { "arn": "arn:aws:s3:::data", "region": "eu-west-1" } }));
        assert_eq!(conflict_with(&has, [&older, &has], &none, claim), None);
        assert!(conflict_with(&older, [&older, &has], &none, claim).is_some());
        let nothing = object("a", 1, json!({}), json!({ "accountId": "here for: it claims nothing" }));
        assert_eq!(conflict_with(&younger, [&nothing, &younger], &none, claim), None);
    }

    /// A tenant decides how many objects name the same bucket.
    #[test]
    fn of_many_that_claim_the_same_few_are_looked_at() {
        let has = json!({ "bucket": { "arn": "arn:aws:s3:::data", "region": "eu-west-1" } });
        let none = AccountDefaults::default();
        let looked_at = |status: Value, object: &BucketConnection| {
            let mut others: Vec<_> = (0..1000).map(|n| self::object(&format!("n{n}"), 5, json!({}), json!({}))).collect();
            others.push(self::object("z", 6, json!({}), status));
            let count = std::cell::Cell::new(0);
            let found = conflict_with(object, &others, &none, |other| {
                count.set(count.get() + 1);
                claim(other)
            });
            (found.is_some(), count.get())
        };
        let (oldest, youngest) = (object("a", 1, json!({}), json!({})), object("b", 9, json!({}), json!({})));
        assert_eq!(looked_at(has.clone(), &oldest), (true, 1), "one has it");
        assert_eq!(looked_at(json!({}), &youngest), (true, 1), "the oldest claims it");
        assert_eq!(looked_at(json!({}), &oldest), (false, 1), "all are younger");
    }

    #[test]
    fn a_connection_of_another_namespace_is_not_named() {
        let none = AccountDefaults::default();
        let mut theirs = object("merger-with-acme", 1, json!({ "user": { "name": "x" } }), json!({}));
        theirs.metadata.namespace = Some("board".into());
        let one = |bucket: &str, user: &str| json!({ "bucket": { "name": bucket, "prefix": "runs/" }, "user": { "name": user } });
        for (spec, expected) in [
            (one("data", "y"), "bucket data belongs to another BucketConnection: choose another bucket.name"),
            (
                one("other", "X"),
                "IAM user X belongs to another BucketConnection: create this BucketConnection with another user.name",
            ),
        ] {
            let found = conflict_with(&object("b", 2, spec, json!({})), [&theirs], &none, claim).unwrap();
            assert_eq!((found.message.as_str(), found.holder.as_str()), (expected, "board/merger-with-acme"));
        }
    }

    #[test]
    fn an_object_that_can_never_be_carried_out_claims_nothing() {
        let account: AWSAccount = serde_json::from_value(json!({
            "apiVersion": "bucketconnection.dev/v1alpha1", "kind": "AWSAccount", "metadata": { "name": "default" },
            "spec": { "accountId": "123456789012", "allowedNamespaces": [
                { "names": ["lab"], "buckets": ["data"], "regions": ["eu-west-1"], "presets": ["ReadWrite"] },
            ] },
        }))
        .unwrap();
        let claim_of = |spec: Value| super::claim(&object("a", 1, spec, json!({})), Some(&account));
        assert_eq!(claim_of(json!({})), Claim::Claimant);
        assert_eq!(claim_of(json!({ "management": { "nonsense": "Ignore" } })), Claim::None);
        assert_eq!(claim_of(json!({ "bucket": { "name": "data", "prefix": "runs" } })), Claim::None);
        assert_eq!(claim_of(json!({ "region": "us-east-1" })), Claim::None, "not allowed");
    }

    #[test]
    fn users_are_per_account_and_buckets_are_not() {
        let spec = |bucket: &str, user: &str, account: &str| json!({ "bucket": { "name": bucket, "prefix": "runs/" }, "user": { "name": user }, "accountRef": { "name": account } });
        let none = AccountDefaults::default();
        let first = object("a", 1, spec("one", "Lab", "x"), json!({}));
        let part = |spec: Value| conflict_with(&object("b", 2, spec, json!({})), [&first], &none, claim).map(|taken| taken.part);
        assert_eq!(part(spec("two", "lab", "x")), Some(ConditionType::UserReady));
        assert_eq!(part(spec("two", "lab", "y")), None);
        assert_eq!(part(spec("one", "other", "y")), Some(ConditionType::BucketReady));
    }
}
