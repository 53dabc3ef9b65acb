use std::collections::BTreeMap;
use std::time::Duration;

use jiff::SignedDuration;
use kube::CustomResourceExt;
use serde_json::{Value, json};

use super::*;
use crate::api::{AWSAccount, BucketConnection};
use crate::credentials::{KeyPair, Sensitive};
use crate::render::connection::Overview;
use crate::render::fixture::{self, SCHEDULE, condition, now};
use crate::vocabulary::problem::{Class, Problem, Source};

/// The connection with these conditions alone, and a revoked key.
fn object(conditions: &[Value]) -> BucketConnection {
    let mut object = fixture::object();
    object["status"]["conditions"] = json!(conditions);
    object["status"]["credentials"]["revoked"] = json!(["AKIAGENOMICS00000001"]);
    serde_json::from_value(object).unwrap()
}

fn overview(object: &BucketConnection) -> Overview {
    Overview::of(object, None, &SCHEDULE, now())
}

fn works() -> Overview {
    overview(&object(&[condition("Ready", "True", "Connected", "works")]))
}

#[test]
fn crds_of_another_version_are_told_by_their_fields() {
    let ours = BucketConnection::crd();
    let told = |live| {
        let found = crd(live, &ours, "0.2.0");
        (found.outcome, found.text)
    };
    assert_eq!(told(None), (Outcome::Wrong, "not installed".to_owned()));
    assert_eq!(told(Some(&ours)), (Outcome::Ok, "v1alpha1 as in version 0.2.0".to_owned()));
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut live = serde_json::to_value(&ours).unwrap();
        change(&mut live["spec"]["versions"][0]);
        serde_json::from_value(live).unwrap()
    };
    let spec = "/schema/openAPIV3Schema/properties/spec/properties";
    let older = changed(&|version| drop(version.pointer_mut(spec).unwrap().as_object_mut().unwrap().remove("suspend")));
    assert_eq!(
        told(Some(&older)),
        (Outcome::Wrong, "of another version than this program (0.2.0): it lacks spec.suspend".to_owned())
    );
    let newer = changed(&|version| version.pointer_mut(spec).unwrap()["later"] = json!({ "type": "string" }));
    assert_eq!(told(Some(&newer)), (Outcome::Note, "newer than this program (0.2.0): it also has spec.later".to_owned()));
    let other = changed(&|version| version.pointer_mut(spec).unwrap()["suspend"]["description"] = json!("other"));
    assert_eq!(told(Some(&other)).0, Outcome::Note);
    let gone = changed(&|version| version["served"] = json!(false));
    assert_eq!(told(Some(&gone)), (Outcome::Wrong, "the API server does not serve v1alpha1".to_owned()));
}

#[test]
fn a_lease_without_a_living_holder_is_wrong() {
    let told = |spec: Value| {
        let lease = json!({ "metadata": { "name": "bucketconnection" }, "spec": spec });
        let found = leases(&[serde_json::from_value(lease).unwrap()], "system", now());
        (found[0].outcome, found[0].text.clone())
    };
    let held = |at: &str| json!({ "holderIdentity": "pod-1", "leaseDurationSeconds": 15, "renewTime": at });
    let (outcome, text) = told(held("2026-11-25T11:59:58.000000Z"));
    assert_eq!((outcome, text.as_str()), (Outcome::Ok, "pod-1 holds it, and renewed it 2s ago"));
    let (outcome, text) = told(held("2026-11-25T11:59:00.000000Z"));
    assert_eq!((outcome, text.as_str()), (Outcome::Wrong, "pod-1 renewed it 60s ago, and no longer does"));
    assert_eq!(told(json!({ "holderIdentity": "", "renewTime": "2026-11-25T11:59:58.000000Z" })).0, Outcome::Wrong);
    assert_eq!(leases(&[], "system", now())[0].outcome, Outcome::Note);
}

#[test]
fn connections_that_no_operator_reconciles_are_overdue() {
    assert_eq!(heartbeat(Some(&[works()]), now()).outcome, Outcome::Ok);
    assert_eq!([Some([].as_slice()), None].map(|objects| heartbeat(objects, now()).outcome), [Outcome::NotChecked; 2]);
    let mut unseen = object(&[]);
    unseen.status = None;
    let found = heartbeat(Some(&[works(), overview(&unseen)]), now());
    assert_eq!(found.outcome, Outcome::Wrong);
    assert!(found.text.starts_with("1 of 2 connections are overdue, such as lab/genomics"), "{found:?}");
    unseen.spec.suspend = true;
    assert_eq!(heartbeat(Some(&[overview(&unseen)]), now()).outcome, Outcome::Ok);
}

#[test]
fn clocks_may_differ_as_much_as_aws_accepts() {
    let at = |seconds| now().checked_add(SignedDuration::from_secs(seconds)).ok();
    let outcome = |seconds| clock("AWS", at(seconds), now()).outcome;
    let found = [0, -60, 61, -300, 301].map(outcome);
    assert_eq!(found, [Outcome::Ok, Outcome::Ok, Outcome::Note, Outcome::Note, Outcome::Wrong]);
    assert!(clock("AWS", at(400), now()).text.starts_with("this machine's clock is 6m40s behind it"));
    assert_eq!(clock("AWS", None, now()).outcome, Outcome::NotChecked);
}

#[test]
fn missing_permissions_are_one_list() {
    let denied = |action: &str| {
        format!("write cors: {action}: AccessDenied; allow the operator {action} (bucketconnection iam-policy prints it)")
    };
    let first = object(&[condition("CORSInSync", "False", "AccessDenied", &denied("s3:PutBucketCORS"))]);
    let text = "write Secret: patch secrets: Forbidden; grant the operator this permission (deploy/kubernetes/base/rbac.yaml)";
    let second = object(&[
        condition("UserReady", "False", "AccessDenied", &denied("iam:CreateUser")),
        condition("CredentialsReady", "False", "AccessDenied", text),
        // The connection's key lacks this, not the operator.
        condition("Verified", "False", "AccessDenied", &denied("s3:ListBucket")),
    ]);
    let conditions = [first, second].map(|object| object.status.unwrap().conditions);
    let missing = missing(conditions.iter().flatten());
    let texts: Vec<_> = permissions(&missing, &["a connection"]).into_iter().map(|finding| finding.text).collect();
    assert_eq!(texts, ["AWS denied: iam:CreateUser, s3:PutBucketCORS", "Kubernetes denied: patch secrets"]);
    let none = Missing::default();
    assert_eq!(
        [["a connection"].as_slice(), &[]].map(|read| permissions(&none, read)[0].outcome),
        [Outcome::Ok, Outcome::NotChecked]
    );
}

#[test]
fn what_the_user_lacks_is_one_list() {
    let problem = |class| Problem::at(Source::Kubernetes, class, "list leases", "Forbidden", "no");
    let denied = |needs: &str| Finding::unread("operator", "lease", needs, &problem(Class::Denied));
    let of = Diagnosis::of(
        vec![
            denied("list leases in system"),
            denied("get secrets in lab"),
            denied("get secrets in lab"),
            Finding::unread("account", "accounts", "list awsaccounts", &problem(Class::Unavailable)),
        ],
        Missing::default(),
    );
    let (last, others) = of.findings.split_last().unwrap();
    assert_eq!((last.outcome, last.text.as_str()), (Outcome::Note, "you lack: get secrets in lab, list leases in system"));
    assert!(others.iter().all(|finding| finding.outcome == Outcome::NotChecked), "{others:?}");
    assert!(!of.is_wrong(), "what the user cannot see is no failure");
    assert_eq!(Diagnosis::of(Vec::new(), Missing::default()).findings, []);
}

#[test]
fn an_account_that_no_operator_reconciles_is_judged_by_its_connections() {
    let account_of = |status: Value| -> AWSAccount {
        let account =
            json!({ "apiVersion": "x", "kind": "AWSAccount", "metadata": { "name": "default" }, "spec": {}, "status": status });
        serde_json::from_value(account).unwrap()
    };
    let failed = condition("Ready", "False", "SignInFailed", "no credentials");
    let told = |status, objects: &[Overview]| account(&account_of(status), objects).outcome;
    assert_eq!(told(json!({ "conditions": [failed] }), &[]), Outcome::Wrong);
    assert_eq!(told(json!({ "conditions": [condition("Ready", "True", "SignedIn", "")] }), &[]), Outcome::Ok);
    assert_eq!(told(json!({}), &[]), Outcome::Note);
    let with = |status, reason| overview(&object(&[condition("AccountReady", status, reason, "m")]));
    assert_eq!(told(json!({}), &[with("True", "SignedIn")]), Outcome::Ok);
    assert_eq!(told(json!({}), &[with("True", "SignedIn"), with("False", "SignInFailed")]), Outcome::Wrong);
}

fn data(id: &str, region: &str) -> BTreeMap<String, Sensitive> {
    let fields = [
        ("AWS_ACCESS_KEY_ID", id),
        ("AWS_SECRET_ACCESS_KEY", "0123456789012345678901234567890123456789"),
        ("AWS_REGION", region),
        ("BUCKET", "lab-bucket"),
        ("PREFIX", "runs/"),
    ];
    fields.map(|(name, value)| (name.to_owned(), Sensitive::new(value.to_owned()))).into()
}

#[test]
fn a_secret_agrees_with_its_connection() {
    let (object, of) = (object(&[]), works());
    let told = |data: &BTreeMap<_, _>| {
        let found = secret(&object, &of, "genomics-s3", &Secrets::Data(data));
        assert!(!format!("{found:?}").contains("0123456789"), "no finding has a secret");
        (found.outcome, found.text)
    };
    assert_eq!(told(&data("AKIAGENOMICS00000002", "eu-west-1")).0, Outcome::Ok);
    let (outcome, text) = told(&data("AKIAGENOMICS00000003", "eu-west-1"));
    assert_eq!(
        (outcome, text.as_str()),
        (Outcome::Wrong, "contains the key AKIAGENOMICS00000003, but the current key is AKIAGENOMICS00000002")
    );
    assert_eq!(told(&data("AKIAGENOMICS00000001", "eu-west-1")).1, "contains the revoked key AKIAGENOMICS00000001");
    assert_eq!(told(&data("AKIAGENOMICS00000002", "us-east-1")).1, "its field AWS_REGION is not \"eu-west-1\"");
    assert!(told(&BTreeMap::new()).1.starts_with("contains no usable key: "));
    let absent = |of: &Overview| secret(&object, of, "genomics-s3", &Secrets::Absent).outcome;
    assert_eq!(absent(&of), Outcome::Wrong);
    assert_eq!(absent(&Overview { key: None, ..of.clone() }), Outcome::Note, "spec.management only observes it");
}

#[test]
fn a_key_is_judged_by_what_aws_says_here() {
    let pair = KeyPair { id: "AKIAGENOMICS00000002".to_owned(), secret: Sensitive::new("s".to_owned()) };
    let problem = |class, code: &str| Problem::new(class, "sts:GetCallerIdentity", code, "");
    let told = |answer: Result<String, Problem>| key(&works(), &pair, Some("arn:user/a"), &answer).outcome;
    assert_eq!(told(Ok("arn:user/a".to_owned())), Outcome::Ok);
    assert_eq!(told(Ok("arn:user/b".to_owned())), Outcome::Wrong);
    assert_eq!(told(Err(problem(Class::BadKey, "InvalidClientTokenId"))), Outcome::Wrong);
    assert_eq!(told(Err(problem(Class::Unavailable, "Unreachable"))), Outcome::NotChecked, "the endpoint is wrong, not the key");
    let listed = |answer: Option<Result<(), Problem>>| listing(&works(), answer.as_ref()).outcome;
    assert_eq!(listed(None), Outcome::NotChecked);
    assert_eq!(listed(Some(Err(problem(Class::Denied, "AccessDenied")))), Outcome::Wrong);
    let enabled = |of: &Overview, answer: Option<Result<String, Problem>>| region(of, answer.as_ref()).outcome;
    assert_eq!(enabled(&works(), Some(Err(problem(Class::BadKey, "OptInRequired")))), Outcome::Wrong);
    assert_eq!(enabled(&works(), None), Outcome::Ok);
    let off = overview(&object(&[condition("Ready", "False", "RegionUnavailable", "no answer")]));
    assert_eq!(enabled(&off, None), Outcome::Wrong);
    assert_eq!(enabled(&overview(&object(&[])), None), Outcome::NotChecked);
}

#[test]
fn an_endpoint_says_how_it_answers() {
    let took = Duration::from_millis(12);
    let found = endpoint("S3", "https://s3.eu-west-1.amazonaws.com/", Ok((307, took)));
    assert_eq!(found.text, "https://s3.eu-west-1.amazonaws.com/: DNS, TLS and HTTP work (HTTP 307 after 12 ms)");
    let found = endpoint("S3", "https://s3.example/", Ok((503, took)));
    assert_eq!(
        (found.outcome, found.text.as_str()),
        (Outcome::Wrong, "https://s3.example/: answers HTTP 503 after 12 ms: it, or a proxy before it, fails")
    );
    let problem = Problem::new(Class::Unavailable, "GET", "Unreachable", "invalid peer certificate: UnknownIssuer");
    let found = endpoint("S3", "https://s3.example/", Err(&problem));
    assert_eq!(
        (found.outcome, found.text.as_str()),
        (Outcome::Wrong, "https://s3.example/: invalid peer certificate: UnknownIssuer")
    );
}

#[test]
fn many_connections_are_a_summary() {
    let stalled = [condition("Ready", "False", "NotAllowed", "no"), condition("Stalled", "True", "NotAllowed", "no")];
    let mut objects = vec![works(); 3];
    objects.extend(vec![overview(&object(&stalled)); 25]);
    let found = connections(&objects, None);
    assert_eq!((found[0].outcome, found[0].text.as_str()), (Outcome::Note, "3 of 28 are Ready"));
    assert_eq!((found.len(), found[1].outcome), (22, Outcome::Wrong));
    assert_eq!(found[21].text, "5 more are not Ready; bucketconnection get -A shows all");
    let progressing = overview(&object(&[condition("Ready", "False", "Progressing", "creating")]));
    let of_namespace = connections(&[progressing], Some("lab"));
    assert_eq!((of_namespace[0].text.as_str(), of_namespace[1].outcome), ("0 of 1 in namespace lab are Ready", Outcome::Note));
    assert_eq!(connections(&[], Some("lab"))[0].outcome, Outcome::NotChecked);
    assert!(Diagnosis::of(found, Missing::default()).is_wrong());
}
