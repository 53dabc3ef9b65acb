//! IAM and STS: users, policies, keys, sign-in.

use bucketconnection::desired::{Account, Desired, Grant, resolve};
use bucketconnection::fence::Fence;
use bucketconnection::vocabulary::problem::Class;
use serde_json::{Value, json};

use crate::{Answer, Script, ok, parameters};

fn desired(policy: Value) -> Desired {
    let spec = json!({ "preset": "ReadOnly", "region": "us-east-1", "bucket": { "name": "lab-bucket" }, "user": { "name": "reader" }, "policy": policy });
    let object = json!({ "apiVersion": "bucketconnection.dev/v1alpha1", "kind": "BucketConnection", "metadata": { "name": "c", "namespace": "lab" }, "spec": spec });
    resolve(
        &serde_json::from_value(object).unwrap(),
        "cluster",
        &Account { id: "123456789012".into(), partition: "aws".into() },
        &Grant::default(),
    )
    .unwrap()
}

const NO_SUCH_ENTITY: Answer = Answer(
    404,
    "",
    "<ErrorResponse><Error><Type>Sender</Type><Code>NoSuchEntity</Code><Message>The user with name reader cannot be found.</Message></Error></ErrorResponse>",
);

#[tokio::test]
async fn signing_in_reads_account_and_partition_once() {
    let body = "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws-cn:sts::123456789012:assumed-role/x/y</Arn><UserId>U</UserId><Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>";
    let script = Script::new(vec![ok(body)]);
    for _ in 0..2 {
        let account = script.aws.identity().await.unwrap().account;
        assert_eq!(account, Account { id: "123456789012".into(), partition: "aws-cn".into() });
    }
    assert_eq!(parameters(&script.request()), ["Action=GetCallerIdentity"]);
}

#[tokio::test]
async fn a_failed_sign_in_is_not_repeated_at_once() {
    let script = Script::new(vec![Answer(
        403,
        "",
        "<ErrorResponse><Error><Code>InvalidClientTokenId</Code><Message>x</Message></Error></ErrorResponse>",
    )]);
    for _ in 0..3 {
        assert_eq!(script.aws.identity().await.unwrap_err().class, Class::BadKey);
    }
    script.request();
}

#[tokio::test]
async fn users() {
    let body = "<GetUserResponse><GetUserResult><User><UserId>AIDA1</UserId><Path>/bucketconnection/</Path><UserName>reader</UserName><Arn>arn:aws:iam::123456789012:user/bucketconnection/reader</Arn><CreateDate>2026-11-24T12:00:00Z</CreateDate><Tags><member><Key>team</Key><Value>a</Value></member></Tags></User></GetUserResult></GetUserResponse>";
    let script = Script::new(vec![ok(body)]);
    let user = script.aws.user("reader").await.unwrap().unwrap();
    assert_eq!((user.id.as_str(), user.path.as_str(), user.tags["team"].as_str()), ("AIDA1", "/bucketconnection/", "a"));
    assert_eq!(parameters(&script.request()), ["Action=GetUser", "UserName=reader"]);
    assert_eq!(Script::new(vec![NO_SUCH_ENTITY]).aws.user("reader").await, Ok(None));

    let created = "<CreateUserResponse><CreateUserResult><User><UserId>AIDA1</UserId><Path>/bucketconnection/</Path><UserName>reader</UserName><Arn>a</Arn><CreateDate>2026-11-24T12:00:00Z</CreateDate></User></CreateUserResult></CreateUserResponse>";
    let script = Script::new(vec![ok(created)]);
    let user = desired(json!({})).user;
    assert_eq!(script.aws.create_user(&user, &user.tags.ours).await.unwrap(), "AIDA1");
    assert_eq!(
        parameters(&script.request()),
        [
            "Action=CreateUser",
            "Path=/bucketconnection/",
            "Tags.member.1.Key=bucketconnection.dev/owner",
            "Tags.member.1.Value=cluster/lab/c",
            "Tags.member.2.Key=bucketconnection.dev/preset",
            "Tags.member.2.Value=ReadOnly",
            "UserName=reader"
        ]
    );

    let script = Script::new(vec![ok("<TagUserResponse/>"), ok("<UntagUserResponse/>")]);
    script.aws.tag_user("reader", &[("a".to_owned(), "b c".to_owned())].into(), &["old".to_owned()]).await.unwrap();
    let requests = script.requests();
    assert_eq!(parameters(&requests[0]), ["Action=TagUser", "Tags.member.1.Key=a", "Tags.member.1.Value=b c", "UserName=reader"]);
    assert_eq!(parameters(&requests[1]), ["Action=UntagUser", "TagKeys.member.1=old", "UserName=reader"]);

    assert_eq!(Script::new(vec![NO_SUCH_ENTITY]).aws.delete_user("reader").await, Ok(()));
}

#[tokio::test]
async fn inline_policies_are_decoded_once_and_not_as_a_form() {
    // "+" stays, and "%253A" is the text "%3A".
    let body = "<GetUserPolicyResponse><GetUserPolicyResult><UserName>reader</UserName><PolicyName>p</PolicyName><PolicyDocument>%7B%22Statement%22%3A%22a+b%253Ac%22%7D</PolicyDocument></GetUserPolicyResult></GetUserPolicyResponse>";
    let script = Script::new(vec![ok(body)]);
    assert_eq!(script.aws.inline_policy("reader", "p").await.unwrap(), Some(json!({ "Statement": "a+b%3Ac" })));
    assert_eq!(parameters(&script.request()), ["Action=GetUserPolicy", "PolicyName=p", "UserName=reader"]);
    assert_eq!(Script::new(vec![NO_SUCH_ENTITY]).aws.inline_policy("reader", "p").await, Ok(None));

    let script = Script::new(vec![ok("<PutUserPolicyResponse/>")]);
    let document = desired(json!({})).policy.document;
    script.aws.put_inline_policy("reader", "p", &document).await.unwrap();
    let request = parameters(&script.request());
    assert_eq!(request[0], "Action=PutUserPolicy");
    let sent: Value = serde_json::from_str(request[1].strip_prefix("PolicyDocument=").unwrap()).unwrap();
    assert_eq!(sent, document.to_json());
}

fn version(default: bool, document: &Value) -> Answer {
    let text = percent_encoding::utf8_percent_encode(&document.to_string(), percent_encoding::NON_ALPHANUMERIC).to_string();
    let body = format!(
        "<GetPolicyVersionResponse><GetPolicyVersionResult><PolicyVersion><Document>{text}</Document><IsDefaultVersion>{default}</IsDefaultVersion><VersionId>v1</VersionId></PolicyVersion></GetPolicyVersionResult></GetPolicyVersionResponse>"
    );
    ok(Box::leak(body.into_boxed_str()))
}

#[tokio::test]
async fn a_known_managed_policy_needs_one_call_and_a_changed_one_is_read_completely() {
    let policy = desired(json!({ "type": "Managed", "name": "guide" })).policy;
    let script = Script::new(vec![version(true, &policy.document.to_json())]);
    let live = script.aws.managed_policy(&policy, Some("v1")).await.unwrap().unwrap();
    assert_eq!((live.version.as_str(), live.tags), ("v1", None));
    let arn = "PolicyArn=arn:aws:iam::123456789012:policy/bucketconnection/guide";
    assert_eq!(parameters(&script.request()), ["Action=GetPolicyVersion", arn, "VersionId=v1"]);

    // v1 is no longer the default: reads the policy, then its default version and its versions in parallel.
    let get = "<GetPolicyResponse><GetPolicyResult><Policy><DefaultVersionId>v10</DefaultVersionId><Tags><member><Key>k</Key><Value>v</Value></member></Tags></Policy></GetPolicyResult></GetPolicyResponse>";
    let script = Script::new(vec![version(false, &policy.document.to_json()), ok(get), NO_SUCH_ENTITY, NO_SUCH_ENTITY]);
    let _ = script.aws.managed_policy(&policy, Some("v1")).await;
    let mut asked: Vec<_> = script.requests().iter().map(|request| parameters(request)[0].clone()).collect();
    asked[2..].sort();
    assert_eq!(asked, ["Action=GetPolicyVersion", "Action=GetPolicy", "Action=GetPolicyVersion", "Action=ListPolicyVersions"]);

    let script = Script::new(vec![NO_SUCH_ENTITY]);
    assert_eq!(script.aws.managed_policy(&policy, None).await, Ok(None));
    assert_eq!(parameters(&script.request()), ["Action=GetPolicy", arn]);
}

#[tokio::test]
async fn writing_managed_policies() {
    let policy = desired(json!({ "type": "Managed", "name": "guide" })).policy;
    let created = "<CreatePolicyResponse><CreatePolicyResult><Policy><PolicyId>ANPA1</PolicyId><DefaultVersionId>v1</DefaultVersionId></Policy></CreatePolicyResult></CreatePolicyResponse>";
    let script = Script::new(vec![ok(created)]);
    let tags = [("t".to_owned(), "x".to_owned())].into();
    let made = script.aws.create_policy(&policy, &policy.document, &tags).await.unwrap();
    assert_eq!(made, ("v1".to_owned(), Some("ANPA1".to_owned())));
    let request = parameters(&script.request());
    assert_eq!((request[0].as_str(), request[1].as_str()), ("Action=CreatePolicy", "Path=/bucketconnection/"));
    assert!(
        request.contains(&"PolicyName=guide".to_owned()) && request.contains(&"Tags.member.1.Value=x".to_owned()),
        "{request:?}"
    );

    let updated = "<CreatePolicyVersionResponse><CreatePolicyVersionResult><PolicyVersion><VersionId>v6</VersionId></PolicyVersion></CreatePolicyVersionResult></CreatePolicyVersionResponse>";
    let script = Script::new(vec![ok("<DeletePolicyVersionResponse/>"), ok(updated)]);
    assert_eq!(script.aws.update_policy(&policy.arn, &policy.document, Some("v2")).await.unwrap(), "v6");
    let requests = script.requests();
    assert!(parameters(&requests[0]).contains(&"VersionId=v2".to_owned()));
    assert!(parameters(&requests[1]).contains(&"SetAsDefault=true".to_owned()));

    // Detaches, deletes versions other than the default, then the policy.
    let get = "<GetPolicyResponse><GetPolicyResult><Policy><DefaultVersionId>v10</DefaultVersionId></Policy></GetPolicyResult></GetPolicyResponse>";
    let list = "<ListPolicyVersionsResponse><ListPolicyVersionsResult><Versions><member><VersionId>v10</VersionId></member><member><VersionId>v9</VersionId></member></Versions></ListPolicyVersionsResult></ListPolicyVersionsResponse>";
    let script = Script::new(vec![NO_SUCH_ENTITY, ok(get), ok(list), ok("<x/>"), ok("<x/>")]);
    script.aws.remove_policy("reader", &policy.arn).await.unwrap();
    let asked: Vec<_> = script.requests().iter().map(|request| parameters(request)[0].clone()).collect();
    assert_eq!(
        asked,
        [
            "Action=DetachUserPolicy",
            "Action=GetPolicy",
            "Action=ListPolicyVersions",
            "Action=DeletePolicyVersion",
            "Action=DeletePolicy"
        ]
    );
}

#[tokio::test]
async fn attachments() {
    let list = "<ListAttachedUserPoliciesResponse><ListAttachedUserPoliciesResult><AttachedPolicies><member><PolicyName>p</PolicyName><PolicyArn>arn:p</PolicyArn></member></AttachedPolicies></ListAttachedUserPoliciesResult></ListAttachedUserPoliciesResponse>";
    let script = Script::new(vec![ok(list)]);
    assert_eq!(script.aws.attached_policies("reader").await.unwrap(), Some(vec!["arn:p".to_owned()]));
    script.request();
    let script = Script::new(vec![ok("<AttachUserPolicyResponse/>")]);
    script.aws.attach_policy("reader", "arn:p").await.unwrap();
    assert_eq!(parameters(&script.request()), ["Action=AttachUserPolicy", "PolicyArn=arn:p", "UserName=reader"]);
}

#[tokio::test]
async fn keys() {
    let list = "<ListAccessKeysResponse><ListAccessKeysResult><AccessKeyMetadata><member><AccessKeyId>A1</AccessKeyId><Status>Active</Status><CreateDate>2026-11-24T12:00:00Z</CreateDate></member><member><AccessKeyId>A2</AccessKeyId><Status>Expired</Status></member></AccessKeyMetadata></ListAccessKeysResult></ListAccessKeysResponse>";
    let script = Script::new(vec![ok(list)]);
    let keys = script.aws.keys("reader").await.unwrap().unwrap();
    assert_eq!(keys.iter().map(|key| (key.id.as_str(), key.active)).collect::<Vec<_>>(), [("A1", true), ("A2", false)]);
    assert_eq!(keys[0].created_at.unwrap().to_string(), "2026-11-24T12:00:00Z");
    assert_eq!(parameters(&script.request()), ["Action=ListAccessKeys", "UserName=reader"]);

    let script = Script::new(vec![ok("<UpdateAccessKeyResponse/>"), NO_SUCH_ENTITY]);
    script.aws.set_active("reader", "A1", true).await.unwrap();
    script.aws.delete_key("reader", "A1").await.unwrap();
    let requests = script.requests();
    assert_eq!(parameters(&requests[0]), ["AccessKeyId=A1", "Action=UpdateAccessKey", "Status=Active", "UserName=reader"]);
    assert_eq!(parameters(&requests[1]), ["AccessKeyId=A1", "Action=DeleteAccessKey", "UserName=reader"]);
}

#[tokio::test]
async fn issuing_a_key_distinguishes_refused_from_unknown() {
    let body = "<CreateAccessKeyResponse><CreateAccessKeyResult><AccessKey><UserName>reader</UserName><AccessKeyId>A1</AccessKeyId><Status>Active</Status><SecretAccessKey>s3cr3t</SecretAccessKey></AccessKey></CreateAccessKeyResult></CreateAccessKeyResponse>";
    let script = Script::new(vec![ok(body)]);
    let key = script.aws.create_key("reader", &Fence::open()).await.ok().unwrap();
    assert_eq!((key.id.as_str(), key.secret.reveal()), ("A1", "s3cr3t"));
    assert_eq!(parameters(&script.request()), ["Action=CreateAccessKey", "UserName=reader"]);

    let error = |status, code: &str| {
        Answer(
            status,
            "",
            Box::leak(format!("<ErrorResponse><Error><Code>{code}</Code></Error></ErrorResponse>").into_boxed_str()),
        )
    };
    for (answer, doubtful) in [
        (error(409, "LimitExceeded"), false),
        (error(403, "AccessDenied"), false),
        (error(404, "NoSuchEntity"), false),
        (error(400, "Throttling"), false),
        (error(500, "ServiceFailure"), true),
        (error(503, "ServiceUnavailable"), true),
        (ok("<CreateAccessKeyResponse/>"), true),
        (ok("no answer at all"), true),
    ] {
        let script = Script::new(vec![answer]);
        match script.aws.create_key("reader", &Fence::open()).await {
            Err(bucketconnection::aws::IssueError::Unknown(problem)) => assert!(doubtful, "{problem}"),
            Err(bucketconnection::aws::IssueError::Refused(problem)) => assert!(!doubtful, "{problem}"),
            Ok(_) => panic!("no key was issued"),
        }
        script.request();
    }
    // Without the lease nothing is sent at all.
    let script = Script::new(vec![]);
    let refused = script.aws.create_key("reader", &Fence::closed()).await;
    assert!(matches!(refused, Err(bucketconnection::aws::IssueError::Refused(problem)) if problem.code == "LeaseNotHeld"));
    assert_eq!(script.requests().len(), 0);
}
