//! S3: the settings that a bucket shares with others, and those that are rarely set.

use bucketconnection::problem::Problem;
use bucketconnection::settings::acceleration::Acceleration;
use bucketconnection::settings::bucket_policy::PolicyText;
use bucketconnection::settings::lifecycle::{Form, LifecycleRule, Rules, StoredRule};
use bucketconnection::settings::logging::{Grant, KeyFormat, LiveLogging};
use bucketconnection::settings::object_lock::Retention;
use bucketconnection::settings::versioning::Versioning;
use bucketconnection::settings::{self, Desired, Live, Reading, Write};
use serde_json::json;

use crate::{Answer, Script, ok};

const ACCOUNT: &str = "123456789012";
const XMLNS: &str = " xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"";

async fn sent(write: Write) -> String {
    let script = Script::new(vec![ok("")]);
    let bucket = script.aws.bucket("us-east-1", "lab-bucket", ACCOUNT);
    settings::write(&bucket, &write).await.unwrap();
    drop(bucket);
    script.request().replace(XMLNS, "")
}

async fn read(wanted: Desired, answer: Answer) -> (Live, String) {
    let script = Script::new(vec![answer]);
    let bucket = script.aws.bucket("us-east-1", "lab-bucket", ACCOUNT);
    let live = settings::read(&bucket, &wanted).await;
    drop(bucket);
    (live, script.request())
}

fn error(code: &str) -> Answer {
    Answer(404, "", Box::leak(format!("<Error><Code>{code}</Code></Error>").into_boxed_str()))
}

fn problem<T>(reading: Reading<T>) -> Problem {
    match reading {
        Reading::Unreadable(problem) => problem,
        _ => panic!("it was read"),
    }
}

#[tokio::test]
async fn versioning() {
    let wanted = || Desired { versioning: Some(Versioning::Enabled), ..Desired::default() };
    let expected = "PUT /lab-bucket/?versioning owner=123456789012\n<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    assert_eq!(sent(Write::Versioning(Versioning::Enabled)).await, expected);
    let body = "<VersioningConfiguration><Status>Suspended</Status><MfaDelete>Enabled</MfaDelete></VersioningConfiguration>";
    let (live, request) = read(wanted(), ok(body)).await;
    assert_eq!(request, "GET /lab-bucket/?versioning owner=123456789012");
    assert_eq!(live.versioning, Reading::Set("Suspended".into()));
    assert_eq!(read(wanted(), ok("<VersioningConfiguration/>")).await.0.versioning, Reading::Unset);
    assert_eq!(problem(read(wanted(), error("NoSuchBucket")).await.0.versioning).code, "NoSuchBucket");
}

#[tokio::test]
async fn acceleration() {
    let wanted = || Desired { acceleration: Some(Acceleration::Suspended), ..Desired::default() };
    let expected = "PUT /lab-bucket/?accelerate owner=123456789012\n<AccelerateConfiguration><Status>Suspended</Status></AccelerateConfiguration>";
    assert_eq!(sent(Write::Acceleration(Acceleration::Suspended)).await, expected);
    let (live, request) = read(wanted(), ok("<AccelerateConfiguration><Status>Enabled</Status></AccelerateConfiguration>")).await;
    assert_eq!(request, "GET /lab-bucket/?accelerate owner=123456789012");
    assert_eq!(live.acceleration, Reading::Set("Enabled".into()));
    assert_eq!(read(wanted(), ok("<AccelerateConfiguration/>")).await.0.acceleration, Reading::Unset);
    assert_eq!(read(wanted(), error("MethodNotAllowed")).await.0.acceleration, Reading::Unset, "a region without it");
}

#[tokio::test]
async fn logging() {
    let live = LiveLogging {
        target_bucket: "logs".into(),
        target_prefix: "a/".into(),
        key_format: Some(KeyFormat::Partitioned(Some("EventTime".into()))),
        grants: vec![Grant {
            permission: Some("READ".into()),
            kind: Some("Group".into()),
            uri: Some("http://acs.amazonaws.com/groups/s3/LogDelivery".into()),
            ..Grant::default()
        }],
    };
    let body = "<BucketLoggingStatus><LoggingEnabled><TargetBucket>logs</TargetBucket><TargetGrants><Grant>\
        <Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"Group\"><URI>http://acs.amazonaws.com/groups/s3/LogDelivery</URI></Grantee>\
        <Permission>READ</Permission></Grant></TargetGrants><TargetPrefix>a/</TargetPrefix><TargetObjectKeyFormat><PartitionedPrefix>\
        <PartitionDateSource>EventTime</PartitionDateSource></PartitionedPrefix></TargetObjectKeyFormat></LoggingEnabled></BucketLoggingStatus>";
    let spec = serde_json::from_value(json!({ "targetBucket": "logs" })).unwrap();
    let wanted = || Desired { logging: Some(Clone::clone(&spec)), ..Desired::default() };
    let (read_back, request) = read(wanted(), ok(body)).await;
    assert_eq!(request, "GET /lab-bucket/?logging owner=123456789012");
    assert_eq!(read_back.logging, Reading::Set(live.clone()));
    assert_eq!(read(wanted(), ok("<BucketLoggingStatus/>")).await.0.logging, Reading::Unset);
    // What was read goes back as it came.
    assert_eq!(sent(Write::Logging(live)).await, format!("PUT /lab-bucket/?logging owner=123456789012\n{body}"));
}

#[tokio::test]
async fn object_lock() {
    let retention = Retention { mode: Some("COMPLIANCE".into()), days: None, years: Some(1), event_hold: None };
    let body = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>COMPLIANCE</Mode>\
        <Years>1</Years></DefaultRetention></Rule></ObjectLockConfiguration>";
    let expected = format!("PUT /lab-bucket/?object-lock owner=123456789012\n{body}");
    assert_eq!(sent(Write::ObjectLock(retention.clone())).await, expected);
    let spec = serde_json::from_value(json!({ "mode": "COMPLIANCE", "years": 1 })).unwrap();
    let wanted = || Desired { object_lock: Some(Clone::clone(&spec)), ..Desired::default() };
    let (live, request) = read(wanted(), ok(body)).await;
    assert_eq!(request, "GET /lab-bucket/?object-lock owner=123456789012");
    assert_eq!(live.object_lock, Reading::Set(retention));
    let bare = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>";
    assert_eq!(read(wanted(), ok(bare)).await.0.object_lock, Reading::Set(Retention::default()));
    assert_eq!(read(wanted(), error("ObjectLockConfigurationNotFoundError")).await.0.object_lock, Reading::Unset);
}

/// Each form in which a rule may be written comes back as it went.
#[tokio::test]
async fn lifecycle_rules_go_back_as_they_came() {
    let body = "<LifecycleConfiguration>\
        <Rule><Expiration><Days>1</Days></Expiration><ID>old</ID><Prefix>a/</Prefix><Status>Enabled</Status></Rule>\
        <Rule><Expiration><Date>2030-01-01T00:00:00Z</Date></Expiration><ID>one</ID><Filter><Tag><Key>k</Key><Value>v</Value></Tag></Filter><Status>Disabled</Status></Rule>\
        <Rule><Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration><ID>all</ID><Filter></Filter><Status>Enabled</Status></Rule>\
        <Rule><ID>and</ID><Filter><And><Prefix>b/</Prefix><Tag><Key>k</Key><Value>v</Value></Tag><Tag><Key>a</Key><Value>w</Value></Tag><ObjectSizeGreaterThan>1</ObjectSizeGreaterThan><ObjectSizeLessThan>9</ObjectSizeLessThan></And></Filter>\
        <Status>Enabled</Status><Transition><Days>30</Days><StorageClass>STANDARD_IA</StorageClass></Transition>\
        <NoncurrentVersionTransition><NoncurrentDays>7</NoncurrentDays><StorageClass>GLACIER</StorageClass><NewerNoncurrentVersions>2</NewerNoncurrentVersions></NoncurrentVersionTransition>\
        <NoncurrentVersionExpiration><NoncurrentDays>9</NoncurrentDays><NewerNoncurrentVersions>3</NewerNoncurrentVersions></NoncurrentVersionExpiration>\
        <AbortIncompleteMultipartUpload><DaysAfterInitiation>5</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule>\
        </LifecycleConfiguration>";
    let wanted = || Desired {
        lifecycle: Some(settings::lifecycle::DesiredLifecycle { rules: vec![], dropped: vec![], fresh: Default::default() }),
        ..Desired::default()
    };
    let headers = "x-amz-transition-default-minimum-object-size: varies_by_storage_class\r\n";
    let (live, request) = read(wanted(), Answer(200, headers, body)).await;
    assert_eq!(request, "GET /lab-bucket/?lifecycle owner=123456789012");
    let Reading::Set(rules) = live.lifecycle else { panic!("{:?}", live.lifecycle) };
    assert_eq!(rules.minimum_size.as_deref(), Some("varies_by_storage_class"));
    assert_eq!(
        rules.rules.iter().map(|rule| rule.form).collect::<Vec<_>>(),
        [Form::OnRule, Form::Single, Form::Single, Form::And]
    );
    let back = sent(Write::Lifecycle(rules)).await;
    assert_eq!(back, format!("PUT /lab-bucket/?lifecycle owner=123456789012\n{body}"));

    assert_eq!(read(wanted(), error("NoSuchLifecycleConfiguration")).await.0.lifecycle, Reading::Unset);
    assert_eq!(sent(Write::Lifecycle(Rules::default())).await, "DELETE /lab-bucket/?lifecycle owner=123456789012");
    let ours: LifecycleRule = serde_json::from_value(json!({ "id": "a", "expiration": { "date": "2030-01-01" } })).unwrap();
    let one = sent(Write::Lifecycle(Rules { rules: vec![StoredRule::of(&ours)], minimum_size: None })).await;
    let rule = "<Rule><Expiration><Date>2030-01-01T00:00:00Z</Date></Expiration><ID>a</ID><Filter><Prefix></Prefix></Filter><Status>Enabled</Status></Rule>";
    assert!(one.contains(rule), "{one}");
}

#[tokio::test]
async fn bucket_policy() {
    let text = r#"{"Version":"2012-10-17","Statement":[{ "Sid":"Theirs", "Effect" : "Deny","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::lab-bucket"}]}"#;
    let policy = PolicyText::parse(text).unwrap();
    assert_eq!(sent(Write::BucketPolicy(policy.clone())).await, format!("PUT /lab-bucket/?policy owner=123456789012\n{text}"));
    let none = sent(Write::BucketPolicy(PolicyText::default())).await;
    assert_eq!(none, "DELETE /lab-bucket/?policy owner=123456789012");
    let wanted = || Desired { bucket_policy: Some(Default::default()), ..Desired::default() };

    let (live, request) = read(wanted(), ok(text)).await;
    assert_eq!(request, "GET /lab-bucket/?policy owner=123456789012");
    assert_eq!(live.bucket_policy, Reading::Set(policy));
    assert_eq!(read(wanted(), error("NoSuchBucketPolicy")).await.0.bucket_policy, Reading::Unset);
    assert_eq!(problem(read(wanted(), ok("<html>")).await.0.bucket_policy).code, "InvalidAnswer");
}
