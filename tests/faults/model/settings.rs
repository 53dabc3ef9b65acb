//! The settings of a bucket: each is stored as the body that was sent, which S3 returns.

use std::collections::{BTreeMap, BTreeSet};

use bucketconnection::settings::{SettingId, Unset};
use serde_json::Value;

use super::Call;
use super::evaluate::{is_public, list, strings};
use super::state::{Bucket, PARTITION, State, Tags};
use super::wire::{Answer, Refusal, Success, element, elements, refuse, tags, text, unescaped};

/// Exists only together with the lifecycle rules.
const MINIMUM_SIZE: &str = "x-amz-transition-default-minimum-object-size";
const SSE_S3: &str = "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault><BucketKeyEnabled>false</BucketKeyEnabled><BlockedEncryptionTypes><EncryptionType>SSE-C</EncryptionType></BlockedEncryptionTypes></Rule></ServerSideEncryptionConfiguration>";
const BLOCKS: [&str; 4] = ["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"];

pub(super) fn of_new_buckets() -> BTreeMap<&'static str, String> {
    [
        ("encryption", SSE_S3.to_owned()),
        ("publicAccessBlock", public_access_block(|_| true)),
        ("ownershipControls", ownership("BucketOwnerEnforced")),
    ]
    .into()
}

pub(super) fn of_locked_buckets() -> BTreeMap<&'static str, String> {
    let locked = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>";
    let versioned = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    [("object-lock", locked.to_owned()), ("versioning", versioned.to_owned())].into()
}

pub(super) fn ownership(value: &str) -> String {
    format!("<OwnershipControls><Rule>{}</Rule></OwnershipControls>", element("ObjectOwnership", value))
}

pub(super) fn tagging(tags: &Tags) -> String {
    let one = |(key, value): (&String, &String)| format!("<Tag>{}{}</Tag>", element("Key", key), element("Value", value));
    format!("<Tagging><TagSet>{}</TagSet></Tagging>", tags.iter().map(one).collect::<String>())
}

fn public_access_block(is_on: impl Fn(&str) -> bool) -> String {
    let flags = BLOCKS.map(|name| element(name, if is_on(name) { "true" } else { "false" }));
    format!("<PublicAccessBlockConfiguration>{}</PublicAccessBlockConfiguration>", flags.concat())
}

/// Answers a request for a setting; `None` if it is for something else.
pub(super) fn answer(state: &mut State, call: &Call<'_>, name: &str) -> Option<Answer> {
    let setting = SettingId::ALL.iter().map(|setting| setting.facts()).find(|it| call.parameter(it.subresource).is_some())?;
    let (sub, unset) = (setting.subresource, setting.unset);
    if let Some(id) = call.parameter("id") {
        return one_of_many(state.buckets.get_mut(name).unwrap(), sub, unset, call, id);
    }
    let bucket = &state.buckets[name];
    let answer = match call.request.method().as_str() {
        "GET" => return Some(read(bucket, sub, unset)),
        "PUT" => checked(state, bucket, sub, call).map(Some),
        // A bucket is never unencrypted.
        "DELETE" => Ok((sub == "encryption").then(|| SSE_S3.to_owned())),
        _ => return None,
    };
    let settings = &mut state.buckets.get_mut(name).unwrap().settings;
    Some(answer.map(|body| {
        if sub == "lifecycle" {
            settings.remove(MINIMUM_SIZE);
            if let Some(size) = call.header(MINIMUM_SIZE).filter(|_| body.is_some()) {
                settings.insert(MINIMUM_SIZE, size.to_owned());
            }
        }
        match body.filter(|body| !body.is_empty()) {
            Some(body) => settings.insert(sub, body),
            None => settings.remove(sub),
        };
        Success::empty(if call.request.method() == "PUT" && sub != "policy" { 200 } else { 204 })
    }))
}

/// A setting of which a bucket has many, by id: stored as the answer that lists them.
fn one_of_many(bucket: &mut Bucket, sub: &'static str, unset: Unset, call: &Call<'_>, id: &str) -> Option<Answer> {
    const ONE: &str = "IntelligentTieringConfiguration";
    let (Unset::Empty(list), put) = (unset, call.request.method() == "PUT") else { return None };
    let kept = bucket.settings.remove(sub).unwrap_or_default();
    let others = elements(&kept, ONE).into_iter().filter(|one| text(one, "Id") != Some(id));
    let sent = elements(call.body(), ONE).into_iter().filter(|_| put);
    let all: Vec<_> = others.chain(sent).map(|one| format!("<{ONE}>{one}</{ONE}>")).collect();
    if !all.is_empty() {
        bucket.settings.insert(sub, format!("<{list}>{}</{list}>", all.concat()));
    }
    Some(Ok(Success::empty(if put { 200 } else { 204 })))
}

fn read(bucket: &Bucket, sub: &str, unset: Unset) -> Answer {
    match (bucket.settings.get(sub), unset) {
        (Some(body), _) if sub == "lifecycle" => {
            let size = bucket.settings.get(MINIMUM_SIZE).map_or("all_storage_classes_128K", String::as_str);
            Ok(Success::xml(body).header(MINIMUM_SIZE, size))
        }
        (Some(body), _) => Ok(Success::xml(body)),
        (None, Unset::Code(code)) => refuse(404, code, format!("{sub} is not set")),
        (None, Unset::Empty(root)) => Ok(Success::xml(format!("<{root}/>"))),
    }
}

/// The part of a PUT body that is stored; empty if it unsets the setting.
fn checked(state: &State, bucket: &Bucket, sub: &str, call: &Call<'_>) -> Result<String, Refusal> {
    let body = call.body();
    let malformed = || {
        refuse(400, "MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
    };
    let has = |name: &str| !elements(body, name).is_empty();
    match sub {
        "tagging" => {
            let (listed, tags) = (elements(body, "Tag").len(), tags(body));
            if tags.keys().any(|key| key.starts_with("aws:")) || tags.len() != listed {
                return refuse(400, "InvalidTag", "System tags cannot be added/updated by requester, and no key may occur twice");
            }
            if listed > 50 {
                return refuse(400, "BadRequest", "Bucket tag count cannot be greater than 50");
            }
            // In their order; without the namespace, which the tags of a creation do not have.
            let kept: String = elements(body, "Tag").iter().map(|tag| format!("<Tag>{tag}</Tag>")).collect();
            return Ok(if tags.is_empty() { String::new() } else { format!("<Tagging><TagSet>{kept}</TagSet></Tagging>") });
        }
        "cors" => {
            if !has("CORSRule") {
                return malformed();
            }
            let unknown = |method: &&str| !["GET", "PUT", "POST", "DELETE", "HEAD"].contains(method);
            if let Some(method) = elements(body, "AllowedMethod").into_iter().find(unknown) {
                return refuse(
                    400,
                    "InvalidRequest",
                    format!("Found unsupported HTTP method in CORS config. Unsupported method is {method}"),
                );
            }
        }
        "encryption" if elements(body, "Rule").len() != 1 => return malformed(),
        "publicAccessBlock" => return Ok(public_access_block(|name| text(body, name) == Some("true"))),
        "lifecycle" => {
            if !has("Rule") {
                return malformed();
            }
            let ids = elements(body, "ID");
            if ids.iter().collect::<BTreeSet<_>>().len() != ids.len() {
                return refuse(400, "InvalidArgument", "Rule ID must be unique. Found same ID for more than one rule");
            }
        }
        "policy" => check_policy(bucket, body)?,
        "object-lock" if bucket.versioning() != Some("Enabled") => {
            return refuse(
                409,
                "InvalidBucketState",
                "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration",
            );
        }
        "versioning" if bucket.settings.contains_key("object-lock") && text(body, "Status") != Some("Enabled") => {
            return refuse(
                409,
                "InvalidBucketState",
                "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.",
            );
        }
        "logging" => {
            let Some(target) = text(body, "TargetBucket").map(unescaped) else { return Ok(String::new()) };
            let fits = |target: &Bucket| target.account == bucket.account && target.region == bucket.region;
            if !state.buckets.get(&target).is_some_and(fits) {
                return refuse(
                    400,
                    "InvalidTargetBucketForLogging",
                    "The target bucket for logging does not exist or is not accessible",
                );
            }
        }
        _ => {}
    }
    Ok(body.to_owned())
}

fn check_policy(bucket: &Bucket, body: &str) -> Result<(), Refusal> {
    let Ok(document) = serde_json::from_str::<Value>(body) else {
        return refuse(400, "MalformedPolicy", "This policy contains invalid Json");
    };
    let statements = list(&document["Statement"]);
    if statements.is_empty() {
        return refuse(400, "MalformedPolicy", "Missing required field Statement");
    }
    let arn = format!("arn:{PARTITION}:s3:::{}", bucket.name);
    let ours = |resource: &String| *resource == arn || resource.starts_with(&format!("{arn}/"));
    for statement in statements {
        let resources = strings(&statement["Resource"]);
        if resources.is_empty() || !resources.iter().all(ours) {
            return refuse(400, "MalformedPolicy", "Policy has invalid resource");
        }
    }
    let blocked = bucket.settings.get("publicAccessBlock").is_some_and(|body| text(body, "BlockPublicPolicy") == Some("true"));
    if blocked && is_public(&document) {
        return refuse(
            403,
            "AccessDenied",
            "public policies are prevented by the BlockPublicPolicy setting in S3 Block Public Access",
        );
    }
    Ok(())
}
