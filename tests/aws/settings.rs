//! S3: the settings that also have foreign parts, and those that are rarely set.

use bucketconnection::settings::bucket_policy::PolicyText;
use bucketconnection::settings::intelligent_tiering::TieringWrite;
use bucketconnection::settings::lifecycle::{Form, LifecycleRule, Rules, StoredRule};
use bucketconnection::settings::logging::{Grant, KeyFormat, LiveLogging};
use bucketconnection::settings::object_lock::Retention;
use bucketconnection::settings::{self, Example, Live, Reading, SettingId, Unset, Write};
use bucketconnection::vocabulary::problem::Problem;
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

async fn read(wanted: &[SettingId], answer: Answer) -> (Live, String) {
    let script = Script::new(vec![answer]);
    let bucket = script.aws.bucket("us-east-1", "lab-bucket", ACCOUNT);
    let live = settings::read(&bucket, wanted).await;
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

/// Part of S3's answer about lifecycle rules; nothing else reads it.
const MINIMUM_SIZE: &str = "x-amz-transition-default-minimum-object-size: all_storage_classes_128K\r\n";

/// Each setting is sent in the format of AWS's API reference and read back; "not set" is recognized, and no other error
/// counts as "not set".
#[tokio::test]
async fn every_setting_is_written_and_read_back() {
    for Example { write, body, answer } in settings::examples() {
        let (id, facts) = (write.setting(), write.setting().facts());
        let (line, sent_body) = sent(write.clone()).await.split_once('\n').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        let place = format!("/lab-bucket/?{}", facts.subresource);
        assert!(line.starts_with(&format!("PUT {place}")) && line.ends_with(" owner=123456789012"), "{line}");
        assert_eq!(sent_body, body, "{line}");
        let (live, request) = read(&[id], Answer(200, MINIMUM_SIZE, answer)).await;
        assert!(request.starts_with(&format!("GET {place}")) && request.ends_with(" owner=123456789012"), "{request}");
        let mut expected = Live::default();
        expected.apply(&write);
        assert_eq!(live, expected);
        let unset = match facts.unset {
            Unset::Code(code) => error(code),
            Unset::Empty(root) => ok(Box::leak(format!("<{root}/>").into_boxed_str())),
        };
        assert_eq!(told(&read(&[id], unset).await.0), "Unset", "{}", facts.field);
        assert!(told(&read(&[id], error("NoSuchBucket")).await.0).contains("NoSuchBucket"), "{}", facts.field);
    }
}

/// The value of the only setting that was read.
fn told(live: &Live) -> String {
    let live = serde_json::to_value(live).unwrap();
    let mut read = live.as_object().unwrap().values().filter(|reading| **reading != "NotRead");
    let one = read.next().unwrap();
    assert!(read.next().is_none());
    one.as_str().map_or_else(|| one.to_string(), str::to_owned)
}

#[tokio::test]
async fn acceleration() {
    let (live, _) =
        read(&[SettingId::Acceleration], ok("<AccelerateConfiguration><Status>Enabled</Status></AccelerateConfiguration>")).await;
    assert_eq!(live.acceleration, Reading::Set("Enabled".into()));
    let elsewhere = read(&[SettingId::Acceleration], error("MethodNotAllowed")).await.0.acceleration;
    assert_eq!(elsewhere, Reading::Unset, "a region without it");
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
    assert_eq!(read(&[SettingId::Logging], ok(body)).await.0.logging, Reading::Set(live.clone()));
    // A setting is sent back exactly as it was read.
    assert_eq!(sent(Write::Logging(live)).await, format!("PUT /lab-bucket/?logging owner=123456789012\n{body}"));
}

#[tokio::test]
async fn object_lock() {
    let bare = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>";
    let live = read(&[SettingId::ObjectLock], ok(bare)).await.0.object_lock;
    assert_eq!(live, Reading::Set(Retention::default()), "on, without a default retention");
}

/// Each form of a rule is sent back as it was read.
#[tokio::test]
async fn lifecycle_rules_are_sent_back_as_they_were_read() {
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
    let headers = "x-amz-transition-default-minimum-object-size: varies_by_storage_class\r\n";
    let (live, _) = read(&[SettingId::Lifecycle], Answer(200, headers, body)).await;
    let Reading::Set(rules) = live.lifecycle else { panic!("{:?}", live.lifecycle) };
    assert_eq!(rules.minimum_size.as_deref(), Some("varies_by_storage_class"));
    assert_eq!(
        rules.rules.iter().map(|rule| rule.form).collect::<Vec<_>>(),
        [Form::OnRule, Form::Single, Form::Single, Form::And]
    );
    let back = sent(Write::Lifecycle(rules)).await;
    assert_eq!(back, format!("PUT /lab-bucket/?lifecycle owner=123456789012\n{body}"));

    assert_eq!(sent(Write::Lifecycle(Rules::default())).await, "DELETE /lab-bucket/?lifecycle owner=123456789012");
    let ours: LifecycleRule = serde_json::from_value(json!({ "id": "a", "expiration": { "date": "2030-01-01" } })).unwrap();
    let one = sent(Write::Lifecycle(Rules { rules: vec![StoredRule::of(&ours)], minimum_size: None })).await;
    let rule = "<Rule><Expiration><Date>2030-01-01T00:00:00Z</Date></Expiration><ID>a</ID><Filter><Prefix></Prefix></Filter><Status>Enabled</Status></Rule>";
    assert!(one.contains(rule), "{one}");
}

#[tokio::test]
async fn bucket_policy() {
    let none = sent(Write::BucketPolicy(PolicyText::default())).await;
    assert_eq!(none, "DELETE /lab-bucket/?policy owner=123456789012");
    assert_eq!(problem(read(&[SettingId::BucketPolicy], ok("<html>")).await.0.bucket_policy).code, "InvalidAnswer");
}

/// Each configuration is sent and deleted separately, and the list has pages.
#[tokio::test]
async fn intelligent_tiering() {
    let body = "<IntelligentTieringConfiguration><Id>a</Id><Filter><And><Prefix>x/</Prefix><Tag><Key>k</Key><Value>v</Value></Tag></And></Filter>\
        <Status>Disabled</Status><Tiering><Days>180</Days><AccessTier>DEEP_ARCHIVE_ACCESS</AccessTier></Tiering></IntelligentTieringConfiguration>";
    let page = |more: &str| {
        let list = format!(
            "<ListBucketIntelligentTieringConfigurationsOutput>{more}{body}</ListBucketIntelligentTieringConfigurationsOutput>"
        );
        ok(Box::leak(list.into_boxed_str()))
    };
    let first = page("<IsTruncated>true</IsTruncated><NextContinuationToken>more</NextContinuationToken>");
    let answers = vec![first, page(""), error("NoSuchConfiguration"), ok("")];
    let script = Script::new(answers);
    let bucket = script.aws.bucket("us-east-1", "lab-bucket", ACCOUNT);
    let live = settings::read(&bucket, &[SettingId::IntelligentTiering]).await.intelligent_tiering;
    let Reading::Set(configurations) = live else { panic!("{live:?}") };
    let write = TieringWrite { configurations, put: vec!["a".into()], delete: vec!["gone already".into()] };
    settings::write(&bucket, &Write::IntelligentTiering(write)).await.unwrap();
    drop(bucket);
    let requests = script.requests();
    assert!(requests[1].contains("continuation-token=more"), "{}", requests[1]);
    let place = "/lab-bucket/?intelligent-tiering&id";
    assert_eq!(requests[2], format!("DELETE {place}=gone%20already owner=123456789012"));
    assert_eq!(requests[3].replace(XMLNS, ""), format!("PUT {place}=a owner=123456789012\n{body}"));
}
