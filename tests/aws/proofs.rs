//! The verification calls, by their wire format, and how their answers are understood.

use bucketconnection::credentials::{KeyPair, Sensitive};
use bucketconnection::desired::Proof;
use bucketconnection::vocabulary::problem::Class;
use serde_json::json;

use crate::s3::desired;
use crate::{Answer, Script, ok, parameters};

const DENIED: Answer = Answer(403, "", "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>");
const NO_KEY: Answer = Answer(404, "", "<Error><Code>NoSuchKey</Code><Message>x</Message></Error>");
const LISTED: &str = "<ListBucketResult><KeyCount>0</KeyCount></ListBucketResult>";

/// Makes these calls once; returns what was sent, and the class of each failure.
async fn tried(proofs: &[Proof], answers: Vec<Answer>) -> (Vec<String>, Vec<(Proof, Option<Class>)>) {
    let script = Script::new(answers);
    let mut desired = desired(json!({ "verification": { "objects": true } }));
    (desired.proofs.required, desired.proofs.optional) = (Vec::new(), proofs.to_vec());
    let key = KeyPair { id: "AKIAISSUED".into(), secret: Sensitive::new("secret".into()) };
    let tried = script.aws.verify(&desired, &key, false).await.unwrap();
    let found = tried.into_iter().map(|tried| (tried.proof, tried.problem.map(|problem| problem.class))).collect();
    (script.requests(), found)
}

#[tokio::test]
async fn an_object_is_put_read_and_deleted_even_if_reading_fails() {
    let proofs = [Proof::Put, Proof::Get, Proof::Delete];
    let (sent, found) = tried(&proofs, vec![ok(""), DENIED, ok("")]).await;
    let key = "/lab-bucket/runs/.bucketconnection-probe-";
    for (request, start) in sent.iter().zip(["PUT", "GET", "DELETE"]) {
        assert!(request.starts_with(&format!("{start} {key}")) && request.contains("owner=123456789012"), "{request}");
    }
    assert_eq!(found, [(Proof::Put, None), (Proof::Get, Some(Class::Denied)), (Proof::Delete, None)]);
    let (sent, found) = tried(&proofs, vec![DENIED]).await;
    assert_eq!((sent.len(), found), (1, vec![(Proof::Put, Some(Class::Denied))]), "what was not put is not read");
}

#[tokio::test]
async fn outside_the_prefix_only_a_denial_passes() {
    let (sent, found) = tried(&[Proof::ListOutside], vec![DENIED]).await;
    assert!(sent[0].starts_with("GET /lab-bucket/?list-type=2&max-keys=1&prefix=.bucketconnection-probe-outside-"), "{sent:?}");
    assert_eq!(found[0].1, None);
    assert_eq!(tried(&[Proof::ListOutside], vec![ok(LISTED)]).await.1[0].1, Some(Class::Allowed));
    assert_eq!(tried(&[Proof::GetOutside], vec![DENIED]).await.1[0].1, None);
    // S3 reports a missing object only to callers that may read it and list the bucket.
    assert_eq!(tried(&[Proof::GetOutside], vec![NO_KEY]).await.1[0].1, Some(Class::Allowed));
    assert_eq!(tried(&[Proof::GetOutside], vec![ok("")]).await.1[0].1, Some(Class::Allowed));
    for (status, code, class) in
        [(503, "SlowDown", Class::Throttled), (404, "NoSuchBucket", Class::Missing), (403, "InvalidAccessKeyId", Class::BadKey)]
    {
        let body = Box::leak(format!("<Error><Code>{code}</Code></Error>").into_boxed_str());
        assert_eq!(tried(&[Proof::GetOutside], vec![Answer(status, "", body)]).await.1[0].1, Some(class), "{code}");
    }
}

#[tokio::test]
async fn a_federation_session_has_no_permissions() {
    let answer = "<GetFederationTokenResponse><GetFederationTokenResult/></GetFederationTokenResponse>";
    let (sent, found) = tried(&[Proof::Federation], vec![ok(answer)]).await;
    assert_eq!(
        parameters(&sent[0]),
        [
            "Action=GetFederationToken",
            "DurationSeconds=900",
            "Name=bucketconnection",
            r#"Policy={"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}"#,
        ]
    );
    assert_eq!(found[0].1, None);
    let denied = "<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>";
    assert_eq!(tried(&[Proof::Federation], vec![Answer(403, "", denied)]).await.1[0].1, Some(Class::Denied));
}
