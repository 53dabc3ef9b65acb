//! The suite `contract` on the model and on the emulator.

use std::sync::Arc;

use jiff::Timestamp;

use crate::contract::{DIFFERENCES, EMULATOR, Harness, MODEL, OTHER_ACCOUNT, PARTS, REGION, credentials, run};
use crate::model::{Behaviour, Model, server};
use crate::support::answers::Pair;
use crate::support::stack::Emulator;

/// Runs all cases on one server; fails if a case differs from AWS without being listed, or is listed but does not
/// differ.
async fn compare(server: &str, harness: &Harness) {
    let mut wrong = Vec::new();
    for case in PARTS.into_iter().flatten() {
        let differences = run(case, Harness { name: case.name.to_owned(), ..harness.clone() }).await;
        let known = DIFFERENCES.iter().find(|(name, on, _)| *name == case.name && *on == server);
        match (differences.is_empty(), known) {
            (false, None) => wrong.push(format!("{}: {}", case.name, differences.join("; "))),
            (true, Some((_, _, why))) => wrong.push(format!("{}: does as AWS does, strike it from the list ({why})", case.name)),
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{server}:\n{}", wrong.join("\n"));
}

fn harness(url: &str, account: &str, admin: &Pair) -> Harness {
    let http = aws_smithy_http_client::Builder::new().build_http();
    let admin = credentials(admin, None);
    Harness {
        url: Some(url.to_owned()),
        account: account.to_owned(),
        region: REGION.to_owned(),
        http,
        stranger: admin.clone(),
        admin,
        interceptor: None,
        prefix: "lab-",
        name: String::new(),
    }
}

#[tokio::test]
async fn the_model_behaves_like_aws() {
    let model = Model::new(Behaviour::default(), Arc::new(Timestamp::now));
    let harness = harness(&server::serve(&model), "123456789012", &model.admin("123456789012", "administrator"));
    let stranger = credentials(&model.admin(OTHER_ACCOUNT, "root"), None);
    compare(MODEL, &Harness { stranger, ..harness }).await;
}

#[tokio::test]
async fn the_emulator_behaves_like_aws() {
    let emulator = Emulator::start(&[]);
    let (id, secret) = emulator.key("administrator");
    let harness = harness(emulator.url(), emulator.facts["account"].as_str().unwrap(), &Pair { id, secret });
    let assume = harness.sts_as(&harness.admin).assume_role().role_session_name("s").external_id("lab-7");
    let assume = assume.role_arn(format!("arn:aws:iam::{OTHER_ACCOUNT}:role/bucketconnection"));
    let given = assume.send().await.unwrap().credentials.unwrap();
    let pair = Pair { id: given.access_key_id, secret: given.secret_access_key };
    let stranger = credentials(&pair, Some(given.session_token));
    compare(EMULATOR, &Harness { stranger, ..harness }).await;
}

#[test]
fn the_differences_name_existing_cases() {
    for (name, server, why) in DIFFERENCES {
        assert!(PARTS.into_iter().flatten().any(|case| case.name == *name), "no case {name}");
        assert!([MODEL, EMULATOR].contains(server) && !why.is_empty(), "{name}");
    }
}
