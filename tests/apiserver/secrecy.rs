//! No secret anywhere but in the Secret: not in logs at their most verbose, Events, status, arguments or errors.

use serde_json::json;

use crate::support::lab::Lab;
use crate::support::proxy::Fault;

#[tokio::test]
async fn no_secret_in_logs_events_status_or_arguments() {
    let lab = Lab::new("secrecy").await;
    lab.proxy.fault("s3:ListBucket", Fault::Answer(403, "SignatureDoesNotMatch"), 1);
    lab.apply(&lab.connection("bucket-secrecy", json!({ "preset": "IlluminaICA" }))).await;
    lab.ready("c").await;
    let mut secrets = vec![lab.secret("c-s3").await["AWS_SECRET_ACCESS_KEY"].clone()];
    // A wrong secret in the Secret, a lost Secret, a refused status: what is told about them has no secret either.
    lab.secrets().delete("c-s3", &Default::default()).await.unwrap();
    lab.check("c").await;
    lab.ready("c").await;
    secrets.push(lab.secret("c-s3").await["AWS_SECRET_ACCESS_KEY"].clone());
    let patch = json!({ "stringData": { "AWS_SECRET_ACCESS_KEY": "edited-by-somebody", "credentials": "" } });
    let _: k8s_openapi::api::core::v1::Secret =
        lab.secrets().patch("c-s3", &Default::default(), &kube::api::Patch::Merge(patch)).await.unwrap();
    secrets.push("edited-by-somebody".into());
    lab.check("c").await;
    lab.ready("c").await;
    secrets.push(lab.secret("c-s3").await["AWS_SECRET_ACCESS_KEY"].clone());
    secrets.push(lab.emulator.key("operator").1);
    assert_eq!(secrets.iter().collect::<std::collections::BTreeSet<_>>().len(), 5);

    let object = serde_json::to_string(&lab.get("c").await).unwrap();
    let events = format!("{:?}", lab.events("c").await);
    let arguments = std::fs::read_to_string(format!("/proc/{}/cmdline", lab.pid())).unwrap_or_default();
    let plan = lab.cli(&["plan", "-f", "/dev/stdin"]);
    let log = lab.log();
    assert!(log.contains("TRACE") && log.contains("aws_smithy_runtime"), "the log is verbose enough to prove anything");
    let places = [("log", log), ("object", object), ("events", events), ("arguments", arguments), ("plan", format!("{plan:?}"))];
    for secret in &secrets {
        let encoded = percent_encoding::utf8_percent_encode(secret, percent_encoding::NON_ALPHANUMERIC).to_string();
        for (place, text) in &places {
            assert!(!text.contains(secret.as_str()), "a secret in {place}");
            assert!(!text.contains(&encoded), "an encoded secret in {place}");
        }
    }
}
