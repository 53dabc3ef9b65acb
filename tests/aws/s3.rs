//! S3: the bucket and its settings.

use bucketconnection::desired::{Account, Desired, Grant, resolve};
use bucketconnection::observed::{Bucket, Contents};
use bucketconnection::settings::cors::CorsRule;
use bucketconnection::settings::encryption::EncryptionRule;
use bucketconnection::settings::ownership::Ownership;
use bucketconnection::settings::public_access_block::PublicAccessBlock;
use bucketconnection::settings::{self, Reading, Write};
use bucketconnection::vocabulary::problem::Class;
use serde_json::{Value, json};

use crate::{Answer, Script, ok};

const ACCOUNT: &str = "123456789012";

pub(crate) fn desired(spec: Value) -> Desired {
    let mut whole =
        json!({ "preset": "IlluminaICA", "region": "us-east-1", "bucket": { "name": "lab-bucket", "prefix": "runs/" } });
    for (field, value) in spec.as_object().unwrap() {
        whole[field] = value.clone();
    }
    let object = json!({ "apiVersion": "bucketconnection.dev/v1alpha1", "kind": "BucketConnection", "metadata": { "name": "c", "namespace": "lab" }, "spec": whole });
    resolve(
        &serde_json::from_value(object).unwrap(),
        "cluster",
        &Account { id: ACCOUNT.into(), partition: "aws".into() },
        &Grant::default(),
    )
    .unwrap()
}

async fn sent(write: Write) -> String {
    let script = Script::new(vec![ok("")]);
    let bucket = script.aws.bucket("us-east-1", "lab-bucket", ACCOUNT);
    settings::write(&bucket, &write).await.unwrap();
    drop(bucket);
    script.request()
}

/// Reads the one desired setting and the tags; answers come in any order, so only one is scripted.
async fn read_tags(answer: Answer) -> Bucket {
    let script = Script::new(vec![answer]);
    let bucket = script.aws.bucket("us-east-1", "lab-bucket", ACCOUNT);
    let wanted = settings::Desired { tags: desired(json!({})).bucket.settings.tags, ..settings::Desired::default() };
    let live = settings::read(&bucket, &wanted.managed()).await;
    drop(bucket);
    assert_eq!(script.request(), "GET /lab-bucket/?tagging owner=123456789012");
    Bucket::from_reads(live)
}

#[tokio::test]
async fn create_bucket_sends_tags_and_location() {
    let tags = [("team".to_owned(), "a".to_owned())].into();
    let script = Script::new(vec![ok("")]);
    script.aws.bucket("us-east-1", "lab-bucket", ACCOUNT).create("us-east-1", &tags).await.unwrap();
    let expected = "PUT /lab-bucket/\n<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Tags><Tag><Key>team</Key><Value>a</Value></Tag></Tags></CreateBucketConfiguration>";
    assert_eq!(script.request(), expected);
    let script = Script::new(vec![ok("")]);
    script.aws.bucket("eu-west-1", "lab-bucket", ACCOUNT).create("eu-west-1", &tags).await.unwrap();
    assert!(script.request().contains("<LocationConstraint>eu-west-1</LocationConstraint><Tags>"));
}

#[tokio::test]
async fn answers_to_create_bucket() {
    for (status, code, class) in [
        (409, "BucketAlreadyOwnedByYou", Class::Exists),
        (409, "BucketAlreadyExists", Class::NameTaken),
        (409, "OperationAborted", Class::Conflict),
        (400, "TooManyBuckets", Class::Quota),
        (400, "IllegalLocationConstraintException", Class::Refused),
        (403, "AccessDenied", Class::Denied),
        (503, "SlowDown", Class::Throttled),
    ] {
        let body: &'static str =
            Box::leak(format!("<Error><Code>{code}</Code><Message>Text.</Message></Error>").into_boxed_str());
        let script = Script::new(vec![Answer(status, "", body)]);
        let bucket = script.aws.bucket("us-east-1", "lab-bucket", ACCOUNT);
        let problem = bucket.create("us-east-1", &Default::default()).await.unwrap_err();
        assert_eq!((problem.class.clone(), problem.code.as_str(), problem.message.as_str()), (class, code, "Text."), "{code}");
        assert_eq!(problem.action, "s3:CreateBucket");
    }
}

#[tokio::test]
async fn tags_show_whether_the_bucket_exists() {
    let set = ok(
        "<Tagging><TagSet><Tag><Key>team</Key><Value>a</Value></Tag><Tag><Key>empty</Key><Value></Value></Tag></TagSet></Tagging>",
    );
    let tags = read_tags(set).await.tags().unwrap();
    assert_eq!(tags, [("team".to_owned(), "a".to_owned()), ("empty".to_owned(), String::new())].into_iter().collect());
    let error = |status, headers, code: &str| {
        Answer(status, headers, Box::leak(format!("<Error><Code>{code}</Code></Error>").into_boxed_str()))
    };
    assert_eq!(read_tags(error(404, "", "NoSuchTagSet")).await.tags(), Some(Default::default()));
    assert_eq!(read_tags(error(404, "", "NoSuchBucket")).await, Bucket::Absent);
    let there = "x-amz-bucket-region: eu-west-1\r\n";
    assert_eq!(read_tags(error(301, there, "PermanentRedirect")).await, Bucket::Elsewhere(Some("eu-west-1".into())));
    assert_eq!(read_tags(error(400, there, "AuthorizationHeaderMalformed")).await, Bucket::Elsewhere(Some("eu-west-1".into())));
    assert!(
        matches!(read_tags(error(403, "", "AccessDenied")).await, Bucket::Unreadable(problem) if problem.class == Class::Denied)
    );
}

#[tokio::test]
async fn put_and_delete_cors() {
    let rules = desired(json!({})).bucket.settings.cors.unwrap();
    let expected = "PUT /lab-bucket/?cors owner=123456789012\n<CORSConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><CORSRule>\
        <AllowedHeader>*</AllowedHeader><AllowedMethod>HEAD</AllowedMethod><AllowedMethod>GET</AllowedMethod><AllowedMethod>PUT</AllowedMethod>\
        <AllowedMethod>POST</AllowedMethod><AllowedMethod>DELETE</AllowedMethod><AllowedOrigin>https://ica.illumina.com</AllowedOrigin>\
        <ExposeHeader>ETag</ExposeHeader><ExposeHeader>x-amz-meta-custom-header</ExposeHeader></CORSRule></CORSConfiguration>";
    assert_eq!(sent(Write::Cors(rules)).await, expected);
    assert_eq!(sent(Write::Cors(vec![])).await, "DELETE /lab-bucket/?cors owner=123456789012");
}

#[tokio::test]
async fn put_encryption_keeps_blocked_types() {
    let rule = EncryptionRule {
        algorithm: "aws:kms".into(),
        kms_key: Some("arn:aws:kms:us-east-1:123456789012:key/k".into()),
        bucket_key: true,
        blocked: vec!["SSE-C".into()],
    };
    let expected = "PUT /lab-bucket/?encryption owner=123456789012\n<ServerSideEncryptionConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Rule>\
        <ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>arn:aws:kms:us-east-1:123456789012:key/k</KMSMasterKeyID>\
        </ApplyServerSideEncryptionByDefault><BucketKeyEnabled>true</BucketKeyEnabled><BlockedEncryptionTypes><EncryptionType>SSE-C</EncryptionType>\
        </BlockedEncryptionTypes></Rule></ServerSideEncryptionConfiguration>";
    assert_eq!(sent(Write::Encryption(rule)).await, expected);
    let layers = EncryptionRule { algorithm: "aws:kms:dsse".into(), ..EncryptionRule::default() };
    assert!(sent(Write::Encryption(layers)).await.contains("<SSEAlgorithm>aws:kms:dsse</SSEAlgorithm>"));
}

#[tokio::test]
async fn put_public_access_block_ownership_and_tags() {
    let block = PublicAccessBlock {
        block_public_acls: true,
        ignore_public_acls: true,
        block_public_policy: false,
        restrict_public_buckets: true,
    };
    let expected = "PUT /lab-bucket/?publicAccessBlock owner=123456789012\n<PublicAccessBlockConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
        <BlockPublicAcls>true</BlockPublicAcls><IgnorePublicAcls>true</IgnorePublicAcls><BlockPublicPolicy>false</BlockPublicPolicy>\
        <RestrictPublicBuckets>true</RestrictPublicBuckets></PublicAccessBlockConfiguration>";
    assert_eq!(sent(Write::PublicAccessBlock(block)).await, expected);
    let ownership = sent(Write::Ownership(Ownership::BucketOwnerEnforced)).await;
    assert!(ownership.starts_with("PUT /lab-bucket/?ownershipControls owner=123456789012\n"), "{ownership}");
    assert!(ownership.contains("<Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule>"), "{ownership}");
    let set = [("zeta", "z"), ("a b", "<&>")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    let tags = sent(Write::BucketTags(set.into_iter().collect())).await;
    assert!(tags.starts_with("PUT /lab-bucket/?tagging owner=123456789012\n"), "{tags}");
    assert!(
        tags.contains(
            "<TagSet><Tag><Key>zeta</Key><Value>z</Value></Tag><Tag><Key>a b</Key><Value>&lt;&amp;&gt;</Value></Tag></TagSet>"
        ),
        "{tags}"
    );
}

/// One read of each setting, set and unset.
#[tokio::test]
async fn set_and_unset_settings() {
    let none = settings::Desired::default;
    let all =
        desired(json!({ "bucket": { "name": "lab-bucket", "prefix": "runs/", "ownership": "ObjectWriter" } })).bucket.settings;
    let read = |wanted: settings::Desired, answer: Answer| async move {
        let script = Script::new(vec![answer]);
        let bucket = script.aws.bucket("us-east-1", "lab-bucket", ACCOUNT);
        let live = settings::read(&bucket, &wanted.managed()).await;
        drop(bucket);
        (live, script.request())
    };
    let unset = |code: &str| Answer(404, "", Box::leak(format!("<Error><Code>{code}</Code></Error>").into_boxed_str()));

    let cors = || settings::Desired { cors: all.cors.clone(), ..none() };
    let (live, request) = read(cors(), ok("<CORSConfiguration><CORSRule><ID>x</ID><AllowedMethod>GET</AllowedMethod><AllowedOrigin>*</AllowedOrigin><MaxAgeSeconds>3000</MaxAgeSeconds></CORSRule></CORSConfiguration>")).await;
    assert_eq!(request, "GET /lab-bucket/?cors owner=123456789012");
    let rule = CorsRule {
        id: Some("x".into()),
        allowed_methods: vec!["GET".into()],
        allowed_origins: vec!["*".into()],
        max_age_seconds: Some(3000),
        ..CorsRule::default()
    };
    assert_eq!(live.cors, Reading::Set(vec![rule]));
    assert_eq!(read(cors(), unset("NoSuchCORSConfiguration")).await.0.cors, Reading::Unset);
    assert!(matches!(read(cors(), unset("NoSuchBucket")).await.0.cors, Reading::Unreadable(_)), "another 404 than unset");

    let encryption = || settings::Desired { encryption: all.encryption.clone(), ..none() };
    let body = "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault><BucketKeyEnabled>false</BucketKeyEnabled><BlockedEncryptionTypes><EncryptionType>SSE-C</EncryptionType></BlockedEncryptionTypes></Rule></ServerSideEncryptionConfiguration>";
    let (live, request) = read(encryption(), ok(body)).await;
    assert_eq!(request, "GET /lab-bucket/?encryption owner=123456789012");
    assert_eq!(
        live.encryption,
        Reading::Set(EncryptionRule { algorithm: "AES256".into(), blocked: vec!["SSE-C".into()], ..Default::default() })
    );
    assert_eq!(read(encryption(), unset("ServerSideEncryptionConfigurationNotFoundError")).await.0.encryption, Reading::Unset);

    let block = || settings::Desired { public_access_block: all.public_access_block, ..none() };
    let body = "<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls></PublicAccessBlockConfiguration>";
    let (live, request) = read(block(), ok(body)).await;
    assert_eq!(request, "GET /lab-bucket/?publicAccessBlock owner=123456789012");
    let expected = PublicAccessBlock {
        block_public_acls: true,
        ignore_public_acls: false,
        block_public_policy: false,
        restrict_public_buckets: false,
    };
    assert_eq!(live.public_access_block, Reading::Set(expected));
    assert_eq!(read(block(), unset("NoSuchPublicAccessBlockConfiguration")).await.0.public_access_block, Reading::Unset);

    let ownership = || settings::Desired { ownership: all.ownership, ..none() };
    let (live, request) =
        read(ownership(), ok("<OwnershipControls><Rule><ObjectOwnership>BrandNew</ObjectOwnership></Rule></OwnershipControls>"))
            .await;
    assert_eq!(request, "GET /lab-bucket/?ownershipControls owner=123456789012");
    assert_eq!(live.ownership, Reading::Set("BrandNew".into()));
    assert_eq!(read(ownership(), unset("OwnershipControlsNotFoundError")).await.0.ownership, Reading::Unset);
}

#[tokio::test]
async fn counting_and_deleting() {
    // Both lists are requested in parallel, so the answer serves either.
    const BOTH: &str = "<x><IsTruncated>false</IsTruncated><Version><Key>a</Key><VersionId>1</VersionId><IsLatest>true</IsLatest></Version>\
        <Version><Key>a</Key><VersionId>0</VersionId><IsLatest>false</IsLatest></Version><DeleteMarker><Key>b</Key><VersionId>2</VersionId></DeleteMarker>\
        <Upload><Key>c</Key><UploadId>u</UploadId></Upload></x>";
    let listing = |name: &str| BOTH.replacen("<x>", &format!("<{name}>"), 1).replacen("</x>", &format!("</{name}>"), 1);
    let leak = |text: String| -> &'static str { Box::leak(text.into_boxed_str()) };
    let answers = vec![ok(leak(listing("ListVersionsResult"))), ok(leak(listing("ListVersionsResult")))];
    let script = Script::new(answers);
    let contents = script.aws.bucket("us-east-1", "lab-bucket", ACCOUNT).contents().await;
    let mut requests = script.requests();
    requests.sort();
    assert_eq!(
        requests,
        [
            "GET /lab-bucket/?uploads&encoding-type=url owner=123456789012",
            "GET /lab-bucket/?versions&encoding-type=url owner=123456789012"
        ]
    );
    if let Ok(contents) = contents {
        assert_eq!((contents.versions, contents.objects), (3, 1));
        assert_ne!(contents, Contents::default());
    }

    let script = Script::new(vec![Answer(204, "", "")]);
    script.aws.bucket("us-east-1", "lab-bucket", ACCOUNT).delete().await.unwrap();
    assert_eq!(script.request(), "DELETE /lab-bucket/ owner=123456789012");
    let script = Script::new(vec![Answer(404, "", "<Error><Code>NoSuchBucket</Code></Error>")]);
    script.aws.bucket("us-east-1", "lab-bucket", ACCOUNT).delete().await.unwrap();
    let script = Script::new(vec![Answer(409, "", "<Error><Code>BucketNotEmpty</Code></Error>")]);
    assert_eq!(script.aws.bucket("us-east-1", "lab-bucket", ACCOUNT).delete().await.unwrap_err().class, Class::InUse);
}

/// XML has no control characters, so such keys are listed encoded and deleted one by one.
#[tokio::test]
async fn objects_with_any_key_are_deleted() {
    const UPLOADS: &str = "<ListMultipartUploadsResult><EncodingType>url</EncodingType><Upload><Key>a+%01</Key><UploadId>u</UploadId></Upload></ListMultipartUploadsResult>";
    const PAGE: &str = "<ListVersionsResult><EncodingType>url</EncodingType><Version><Key>Icon%01%0B</Key><VersionId>1</VersionId></Version><Version><Key>a+b%2B%25</Key><VersionId>2</VersionId></Version></ListVersionsResult>";
    let script = Script::new(vec![ok(UPLOADS), ok(""), ok(PAGE), ok(""), ok("<DeleteResult/>"), ok("<ListVersionsResult/>")]);
    assert!(script.aws.bucket("us-east-1", "lab-bucket", ACCOUNT).empty().await.unwrap());
    let requests = script.requests();
    assert!(requests[0].contains("encoding-type=url") && requests[2].contains("encoding-type=url"), "{requests:?}");
    assert!(requests[1].starts_with("DELETE /lab-bucket/a%20%01?"), "{}", requests[1]);
    assert!(requests[3].starts_with("DELETE /lab-bucket/Icon%01%0B?") && requests[3].contains("versionId=1"), "{}", requests[3]);
    assert!(requests[4].contains("<Object><Key>a b+%</Key><VersionId>2</VersionId></Object><Quiet>"), "{}", requests[4]);
}

#[tokio::test]
async fn emptying_works_by_pages_and_stops_at_a_locked_object() {
    const NOTHING: &str = "<ListMultipartUploadsResult></ListMultipartUploadsResult>";
    const PAGE: &str = "<ListVersionsResult><Version><Key>a&amp;b</Key><VersionId>1</VersionId></Version><DeleteMarker><Key>c</Key><VersionId>null</VersionId></DeleteMarker></ListVersionsResult>";
    let script = Script::new(vec![ok(NOTHING), ok(PAGE), ok("<DeleteResult/>"), ok("<ListVersionsResult/>")]);
    assert!(script.aws.bucket("us-east-1", "lab-bucket", ACCOUNT).empty().await.unwrap());
    let requests = script.requests();
    assert!(requests[2].starts_with("POST /lab-bucket/?delete owner=123456789012\n"), "{}", requests[2]);
    assert!(requests[2].contains("<Object><Key>a&amp;b</Key><VersionId>1</VersionId></Object><Object><Key>c</Key><VersionId>null</VersionId></Object><Quiet>true</Quiet>"), "{}", requests[2]);

    let locked = "<DeleteResult><Error><Key>c</Key><Code>AccessDenied</Code><Message>protected by object lock</Message></Error></DeleteResult>";
    let script = Script::new(vec![ok(NOTHING), ok(PAGE), ok(locked)]);
    let problem = script.aws.bucket("us-east-1", "lab-bucket", ACCOUNT).empty().await.unwrap_err();
    assert_eq!(problem.class, Class::Denied);
    assert!(problem.message.contains("object c: protected by object lock"), "{problem}");
}
