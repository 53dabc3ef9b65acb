//! What the program refuses before it makes a call, and what its gate and its policy refuse later.

use std::collections::BTreeMap;

use super::{ACCOUNT, POLICY, Server, tests, text, wait};
use crate::cases;
use crate::contract::PARTS;
use crate::guard::{Options, refusal};
use crate::names::{MOST, Run};
use crate::report::masked;
use crate::support::answers::code;

tests! {
    refusals_come_before_any_other_call,
    credentials_of_the_root_user_are_refused,
    only_names_of_runs_can_be_written,
    policies_fit_into_a_managed_policy,
    cases_that_are_left_out_exist,
    reports_show_no_account_key_or_request,
}

fn refusals_come_before_any_other_call() {
    let server = Server::new("live-refusals");
    wrong_options_are_refused(&server);
    another_account_is_refused(&server);
    missing_credentials_are_refused(&server);
}

fn wrong_options_are_refused(server: &Server) {
    let wrong = [
        ("ACCOUNT", "", "ACCOUNT is missing"),
        ("ACCOUNT", "12345678901", "is not an account id"),
        ("ACCOUNT", "12345678901x", "is not an account id"),
        ("REGION", "", "REGION is missing"),
        ("REGION", "Frankfurt", "is not a region"),
        ("REGION", "eu-west-1/../x", "is not a region"),
        ("PARTS", "life,everything", "no part everything"),
        ("OPERATOR_CREDENTIALS", "mine", "set it to own"),
        ("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1", "STS has an endpoint of its own"),
        ("RUN", "bc-live-", "RUN=bc-live-: is not the id of a run"),
        ("LOG_SENSITIVE_BODIES", "true", "LOG_SENSITIVE_BODIES is set"),
    ];
    for argument in ["--run", "--clean"] {
        for (name, value, message) in wrong {
            let output = server.run(argument, &[(name, value)]);
            assert_eq!(output.status.code(), Some(2), "{name}={value}: {}", text(&output));
            assert!(text(&output).contains(message), "{name}={value}: {}", text(&output));
        }
    }
    let file = server.home.join("config");
    let services = "services = other\n[services other]\ns3 =\n  endpoint_url = http://127.0.0.1:1\n";
    std::fs::write(&file, format!("[default]\nendpoint_url = {}\n{services}", server.proxy.url)).unwrap();
    let output = server.run("--run", &[("AWS_ENDPOINT_URL", ""), ("AWS_CONFIG_FILE", file.to_str().unwrap())]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(text(&output).contains("S3 has an endpoint of its own"), "{}", text(&output));
    assert_eq!(server.proxy.take().len(), 0, "a refused run calls AWS");
}

fn another_account_is_refused(server: &Server) {
    for argument in ["--run", "--clean"] {
        let output = server.run(argument, &[("ACCOUNT", "210987654321"), ("YES", "1")]);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output));
        let message = format!("the credentials belong to account {ACCOUNT}, not to ACCOUNT=210987654321");
        assert!(text(&output).contains(&message), "{}", text(&output));
        let calls: Vec<_> = server.proxy.take().into_iter().map(|request| request.action).collect();
        assert_eq!(calls, ["sts:GetCallerIdentity"]);
    }
}

fn missing_credentials_are_refused(server: &Server) {
    let output = server.run("--run", &[("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "")]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(text(&output).contains("no AWS credentials"), "{}", text(&output));
    assert_eq!(server.proxy.take().len(), 0);
    let output = server.run("--run", &[("AWS_SECRET_ACCESS_KEY", "wrong")]);
    assert!(
        text(&output).contains("AWS does not accept the credentials: sts:GetCallerIdentity: SignatureDoesNotMatch"),
        "{}",
        text(&output)
    );
    assert_eq!(output.status.code(), Some(2));
}

fn credentials_of_the_root_user_are_refused() {
    let environment = BTreeMap::from([("ACCOUNT", ACCOUNT), ("REGION", "eu-west-1")]);
    let options = Options::read(|name| environment.get(name).map(ToString::to_string)).unwrap();
    let root = refusal(ACCOUNT, &format!("arn:aws:iam::{ACCOUNT}:root"), &options).unwrap();
    assert!(root.contains("the root user"), "{root}");
    assert_eq!(refusal(ACCOUNT, &format!("arn:aws:iam::{ACCOUNT}:user/root"), &options), None);
}

fn only_names_of_runs_can_be_written() {
    let server = Server::new("live-gate");
    the_gate_passes_only_names_of_the_run(&server);
    the_gate_refuses_a_seventh_bucket(&server);
    the_policy_of_the_caller_ends_at_the_names_of_runs(&server);
}

fn the_gate_passes_only_names_of_the_run(server: &Server) {
    let run = Run::new();
    let (id, secret) = server.emulator.key("administrator");
    let aws = server.signed_in(&crate::support::answers::Pair { id, secret }, Some(run.clone()));
    wait(async {
        let (s3, iam) = (aws.s3("eu-west-1"), aws.iam());
        let refused = |answer: String| assert!(answer == "cut", "the gate passes it: {answer:?}");
        for name in ["person", "bc-live-zzzzzzzzzz-x"] {
            refused(aws.create_bucket(name).await);
            refused(code(&s3.delete_bucket().bucket(name).send().await));
            refused(code(&s3.delete_object().bucket(name).key(run.name("x")).send().await));
            refused(code(&s3.delete_bucket_policy().bucket(name).send().await));
            refused(code(&iam.create_user().user_name(name).send().await));
            refused(code(&iam.delete_user().user_name(name).send().await));
            refused(code(&iam.delete_access_key().user_name(name).access_key_id("AKIAABCDEFGHIJKLMNOP").send().await));
            refused(code(&iam.delete_user_policy().user_name(name).policy_name(run.name("x")).send().await));
            let arn = format!("arn:aws:iam::{ACCOUNT}:policy/{name}");
            refused(code(&iam.delete_policy().policy_arn(&arn).send().await));
            refused(code(&iam.attach_user_policy().user_name(run.name("x")).policy_arn(&arn).send().await));
        }
        refused(code(&iam.create_access_key().send().await));
        refused(code(&iam.create_group().group_name(run.name("g")).send().await));
        refused(code(&iam.add_user_to_group().user_name(run.name("x")).group_name("Administrators").send().await));
        refused(code(&iam.update_user().user_name(run.name("x")).new_user_name("person").send().await));
        refused(code(&iam.create_role().role_name(run.name("x")).assume_role_policy_document("{}").path("/").send().await));
        refused(code(&aws.sts().assume_role().role_arn("arn:aws:iam::123456789012:role/x").role_session_name("x").send().await));
        assert_eq!(code(&iam.get_user().user_name("person").send().await), "", "reading passes");
        assert_eq!(aws.create_bucket(&run.name("x")).await, "");
        let tags = crate::clients::bucket_tags(&aws, &run.name("x"), "eu-west-1").await.unwrap().unwrap();
        assert!(run.has_tags(&tags), "{tags:?}");
    });
}

fn the_gate_refuses_a_seventh_bucket(server: &Server) {
    let run = Run::new();
    let aws = server.aws(Some(run.clone()));
    wait(async {
        for number in 0..MOST {
            assert_eq!(aws.create_bucket(&run.name(&number.to_string())).await, "");
        }
        assert_eq!(aws.create_bucket(&run.name("seventh")).await, "cut");
        assert_eq!(code(&aws.s3("eu-west-1").delete_bucket().bucket(run.name("0")).send().await), "");
        assert_eq!(aws.create_bucket(&run.name("seventh")).await, "");
    });
}

/// Without the gate, AWS itself refuses what the policy does not allow.
fn the_policy_of_the_caller_ends_at_the_names_of_runs(server: &Server) {
    let config = super::config(server.emulator.url(), &server.caller);
    let s3 = crate::support::harness::s3(&config);
    let iam = aws_sdk_iam::Client::new(&config);
    wait(async {
        let create = s3.create_bucket().bucket("lab-a").set_create_bucket_configuration(server.aws(None).location());
        assert_eq!(code(&create.send().await), "AccessDenied");
        assert_eq!(code(&iam.create_user().user_name("x").send().await), "AccessDenied");
        assert_eq!(code(&iam.create_access_key().user_name("operator").send().await), "AccessDenied");
        assert_eq!(code(&iam.delete_user().user_name("operator").send().await), "AccessDenied");
        let own = iam.put_user_policy().user_name("person").policy_name("p").policy_document(POLICY).send().await;
        assert_eq!(code(&own), "AccessDenied");
        let bounded = format!("arn:aws:iam::{ACCOUNT}:policy/bc-live/bc-live-x-boundary");
        let create = iam.create_user().user_name("bc-live-x").permissions_boundary(bounded).send().await;
        assert_eq!(code(&create), "");
    });
}

fn policies_fit_into_a_managed_policy() {
    for document in [POLICY, crate::BOUNDARY] {
        let length = document.chars().filter(|c| !c.is_whitespace()).count();
        assert!(length <= 6_144, "{length} characters");
        assert!(!document.contains("\"iam:*\"") && !document.contains("\"Action\": \"*\""));
    }
}

fn cases_that_are_left_out_exist() {
    for name in cases::named() {
        assert!(PARTS.into_iter().flatten().any(|case| case.name == name), "no case {name}");
    }
}

fn reports_show_no_account_key_or_request() {
    let text = "arn:aws:iam::123456789012:user/x AKIAABCDEFGHIJKL2345 4442587FB7D0A2F9 1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed AccessDenied";
    let wanted = "arn:aws:iam::********9012:user/x AKIA…2345 (id) (id) AccessDenied";
    let caller = "arn:aws:sts::123456789012:assumed-role/Tests/jane@example.org";
    assert_eq!(masked(ACCOUNT, caller, text), wanted);
    let denied = masked(ACCOUNT, caller, &format!("User: {caller} is not authorized to perform: iam:CreateUser"));
    assert_eq!(denied, "User: (caller) is not authorized to perform: iam:CreateUser");
}
