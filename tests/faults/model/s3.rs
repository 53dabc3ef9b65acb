//! S3: buckets. `settings` has their settings, `objects` their contents.

use serde_json::Value;

use super::caller::Caller;
use super::evaluate::Effect;
use super::state::{Bucket, PARTITION, State};
use super::wire::{Answer, Refusal, Success, element, refuse, tags, text};
use super::{Call, iam, objects, settings};

/// The only region whose name S3 does not accept as a location.
const NO_LOCATION: &str = "us-east-1";
/// Regions opened after 20 March 2019 answer 400 to requests for buckets elsewhere; older ones redirect.
const YOUNG_REGIONS: [&str; 5] = ["af-south-1", "ap-east-1", "eu-south-1", "me-central-1", "me-south-1"];

/// Bucket and object that a path names.
fn names(path: &str) -> (String, String) {
    let (bucket, key) = path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_start_matches('/'), ""));
    (super::wire::decoded(bucket), super::wire::decoded(key))
}

pub(super) fn answer(state: &mut State, call: &Call<'_>, caller: &Caller) -> Answer {
    let (name, key) = names(call.request.uri().path());
    check_endpoint(call)?;
    if name.is_empty() {
        return list_buckets(state, call, caller);
    }
    if call.action == "s3:CreateBucket" {
        return create(state, call, caller, &name);
    }
    let missing = || refuse(404, "NoSuchBucket", format!("The specified bucket {name} does not exist"));
    let unknown = call.behaviour.new_buckets.draw(&mut state.rng);
    let Some(bucket) = state.buckets.get(&name) else { return missing() };
    // HeadBucket finds a new bucket first.
    if bucket.created + unknown > call.now && call.request.method() != "HEAD" {
        return missing();
    }
    check_region(call, bucket)?;
    match call.header("x-amz-expected-bucket-owner") {
        Some(owner) if owner.len() != 12 || !owner.bytes().all(|digit| digit.is_ascii_digit()) => {
            return refuse(
                400,
                "InvalidBucketOwnerAWSAccountID",
                "The value of the expected bucket owner parameter must be an AWS account ID",
            );
        }
        Some(owner) if owner != bucket.account => return refuse(403, "AccessDenied", "Access Denied"),
        _ => {}
    }
    let asks = Asks { call, caller };
    // Each object of a DeleteObjects is checked separately.
    if call.action != "s3:DeleteObjectVersion" || call.request.method() != "POST" {
        let action = if call.parameter("versionId").is_some() { format!("{}Version", call.action) } else { call.action.clone() };
        asks.allowed(bucket, &action, &key)?;
    }
    if let Some(answer) = settings::answer(state, call, &name) {
        return answer;
    }
    match (call.request.method().as_str(), call.action.as_str()) {
        ("HEAD", "s3:ListBucket") => Ok(Success::empty(200).header("x-amz-bucket-region", &state.buckets[&name].region)),
        ("DELETE", "s3:DeleteBucket") => delete(state, call, &name),
        _ => {
            let id = state.id("", 16);
            objects::answer(state.buckets.get_mut(&name).unwrap(), &asks, &key, id)
        }
    }
}

/// The caller and its request.
pub(super) struct Asks<'a> {
    pub call: &'a Call<'a>,
    pub caller: &'a Caller,
}

impl Asks<'_> {
    /// Refuses unless the caller's policies or the bucket's allow it, and none denies it.
    pub fn allowed(&self, bucket: &Bucket, action: &str, key: &str) -> Result<(), Refusal> {
        let Self { call, caller } = self;
        let resource = format!("arn:{PARTITION}:s3:::{}", bucket.name);
        let resource = if key.is_empty() { resource } else { format!("{resource}/{key}") };
        let mut context = vec![("aws:ResourceAccount", bucket.account.clone()), ("s3:ResourceAccount", bucket.account.clone())];
        for (parameter, key) in [("prefix", "s3:prefix"), ("delimiter", "s3:delimiter"), ("max-keys", "s3:max-keys")] {
            context.extend(call.parameter(parameter).map(|value| (key, value.to_owned())));
        }
        let own = caller.may(action, &resource, &context, call.now);
        let policy = bucket.settings.get("policy").and_then(|text| serde_json::from_str::<Value>(text).ok());
        let its = policy.map_or(Effect::Silent, |policy| caller.by_resource(&policy, action, &resource, &context, call.now));
        let granted = own == Effect::Allow && caller.account == bucket.account || its == Effect::Allow;
        if granted && own != Effect::Deny && its != Effect::Deny {
            return Ok(());
        }
        refuse(
            403,
            "AccessDenied",
            format!("User: {} is not authorized to perform: {action} on resource: {resource}", caller.arn),
        )
    }
}

/// The regional endpoint accepts only signatures for its region.
fn check_endpoint(call: &Call<'_>) -> Result<(), Refusal> {
    let host = call.request.uri().host().or_else(|| call.header("host")).unwrap_or_default();
    let region = host.strip_prefix("s3.").and_then(|rest| rest.split_once(".amazonaws")).map(|(region, _)| region);
    match region {
        Some(region) if region != call.region => elsewhere(400, "AuthorizationHeaderMalformed", region),
        _ => Ok(()),
    }
}

fn check_region(call: &Call<'_>, bucket: &Bucket) -> Result<(), Refusal> {
    if bucket.region == call.region {
        Ok(())
    } else if YOUNG_REGIONS.contains(&bucket.region.as_str()) {
        elsewhere(400, "AuthorizationHeaderMalformed", &bucket.region)
    } else {
        elsewhere(301, "PermanentRedirect", &bucket.region)
    }
}

fn elsewhere<T>(status: u16, code: &'static str, region: &str) -> Result<T, Refusal> {
    let message = format!("the bucket or endpoint is in {region}");
    Err(Refusal { status, code, message, region: Some(region.to_owned()) })
}

fn list_buckets(state: &State, call: &Call<'_>, caller: &Caller) -> Answer {
    if caller.may("s3:ListAllMyBuckets", "*", &[], call.now) != Effect::Allow {
        return refuse(403, "AccessDenied", "Access Denied");
    }
    let shown = |bucket: &Bucket| {
        let inner = element("Name", &bucket.name)
            + &element("CreationDate", &iam::time(bucket.created))
            + &element("BucketRegion", &bucket.region);
        format!("<Bucket>{inner}</Bucket>")
    };
    let prefix = call.parameter("prefix").unwrap_or_default();
    let own = state.buckets.values().filter(|bucket| bucket.account == caller.account && bucket.name.starts_with(prefix));
    let buckets: String = own.map(shown).collect();
    Ok(Success::xml(format!("<ListAllMyBucketsResult><Buckets>{buckets}</Buckets></ListAllMyBucketsResult>")))
}

fn create(state: &mut State, call: &Call<'_>, caller: &Caller, name: &str) -> Answer {
    let resource = format!("arn:{PARTITION}:s3:::{name}");
    if caller.may("s3:CreateBucket", &resource, &[], call.now) != Effect::Allow {
        return refuse(403, "AccessDenied", "Access Denied");
    }
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    if !(3..=63).contains(&name.len()) || !name.chars().all(allowed) || name.starts_with(['-', '.']) || name.ends_with(['-', '.'])
    {
        return refuse(400, "InvalidBucketName", "The specified bucket is not valid.");
    }
    let region = location(call)?;
    let tags = tags(call.body());
    if let Some(bucket) = state.buckets.get(name) {
        if bucket.account != caller.account {
            return refuse(409, "BucketAlreadyExists", "The requested bucket name is not available.");
        }
        // The legacy behavior of us-east-1, which does not apply to requests with tags.
        if bucket.region != NO_LOCATION || region != NO_LOCATION || !tags.is_empty() {
            return refuse(
                409,
                "BucketAlreadyOwnedByYou",
                "Your previous request to create the named bucket succeeded and you already own it.",
            );
        }
        return Ok(Success::empty(200).header("location", &format!("/{name}")));
    }
    if state.deleted.get(name).is_some_and(|until| *until > call.now) {
        return refuse(
            409,
            "OperationAborted",
            "A conflicting conditional operation is currently in progress against this resource.",
        );
    }
    let mut bucket = Bucket {
        name: name.to_owned(),
        account: caller.account.clone(),
        region,
        created: call.now,
        created_by: caller.arn.clone(),
        settings: settings::of_new_buckets(),
        objects: Default::default(),
        uploads: Default::default(),
    };
    if !tags.is_empty() {
        bucket.settings.insert("tagging", settings::tagging(&tags));
    }
    if call.header("x-amz-bucket-object-lock-enabled").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        bucket.settings.extend(settings::of_locked_buckets());
    }
    if let Some(ownership) = call.header("x-amz-object-ownership") {
        bucket.settings.insert("ownershipControls", settings::ownership(ownership));
    }
    state.buckets.insert(name.to_owned(), bucket);
    Ok(Success::empty(200).header("location", &format!("/{name}")))
}

/// The region of a new bucket.
fn location(call: &Call<'_>) -> Result<String, Refusal> {
    let location = text(call.body(), "LocationConstraint").filter(|location| !location.is_empty());
    match location {
        None if call.region == NO_LOCATION => Ok(NO_LOCATION.to_owned()),
        Some(NO_LOCATION) if call.region == NO_LOCATION => {
            refuse(400, "InvalidLocationConstraint", "The specified location-constraint is not valid")
        }
        Some(location) if call.region == NO_LOCATION || call.region == location => Ok(location.to_owned()),
        _ => refuse(
            400,
            "IllegalLocationConstraintException",
            format!(
                "The {} location constraint is incompatible for the region specific endpoint this request was sent to.",
                location.unwrap_or("unspecified")
            ),
        ),
    }
}

fn delete(state: &mut State, call: &Call<'_>, name: &str) -> Answer {
    if state.buckets[name].objects.values().any(|versions| !versions.is_empty()) {
        return refuse(409, "BucketNotEmpty", "The bucket you tried to delete is not empty");
    }
    state.buckets.remove(name);
    let until = call.now + call.behaviour.deleted_buckets.draw(&mut state.rng);
    state.deleted.insert(name.to_owned(), until);
    Ok(Success::empty(204))
}
