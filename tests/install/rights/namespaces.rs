//! An operator of several listed namespaces, with permissions only there.

use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

use super::roles::{Granted, Role, listed_in};
use crate::support::harness::{Harness, Operator};
use crate::support::stack::Stack;

/// Starts an operator of these namespaces.
fn start(harness: &mut Harness, namespaces: &str) -> Operator {
    let own = std::mem::replace(&mut harness.namespace, namespaces.to_owned());
    let operator = harness.spawn();
    harness.namespace = own;
    operator
}

async fn connect(harness: &Harness) {
    harness.apply(&harness.connection(&harness.namespace, json!({}))).await;
    harness.ready("c").await;
    harness.check("c").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_listed_namespace_is_reconciled_as_soon_as_it_exists() {
    let mut harness = Harness::idle("several", Stack::cluster(), &[]).await;
    harness.lease = true;
    harness.log = "info";
    let (early, late) = (harness.namespace.clone(), format!("{}-late", harness.namespace));
    let in_late = |role: &Role| role.namespace.as_ref() == Some(&late);
    let both = |system: &str| listed_in(&[&early, &late], system);
    let roles = |_: &str, system: &str| both(system).into_iter().filter(|role| !in_late(role)).collect();
    let mut granted = Granted::new(&mut harness, roles).await;
    // The late one is listed first, and does not exist.
    let first = start(&mut harness, &format!("{late},{early}"));
    connect(&harness).await;
    let missing = format!("in the namespace \\\"{late}\\\"; grant the operator this permission");
    first.logs(&missing).await;

    let namespace: Namespace = serde_json::from_value(json!({ "metadata": { "name": late } })).unwrap();
    Api::all(harness.client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
    for role in both(&granted.system).into_iter().filter(in_late) {
        granted.add(role).await;
    }
    harness.namespace = late.clone();
    connect(&harness).await;
    keys_match_of(&harness, &[&early, &late]).await;
    harness.namespace = early.clone();
    harness.check("c").await;

    // An operator whose list overlaps waits, whatever else it lists.
    let second = start(&mut harness, &late);
    second.logs("another operator holds the lease").await;
    assert!(!second.log().contains("reconcile ended"));
    first.signal("TERM");
    assert!(first.ended());
    second.logs("holds the lease").await;
    harness.namespace = late;
    harness.check("c").await;
    assert!(!second.log().contains(&format!("\"namespace\":\"{early}\"")), "it reconciles only its own namespace");
}

/// The keys in AWS are those in the Secrets of these namespaces.
async fn keys_match_of(harness: &Harness, namespaces: &[&str]) {
    for namespace in namespaces {
        let keys = harness.keys(&format!("{namespace}.c")).await;
        let secrets: Api<k8s_openapi::api::core::v1::Secret> = Api::namespaced(harness.client.clone(), namespace);
        let id = secrets.get("c-s3").await.unwrap().data.unwrap()["AWS_ACCESS_KEY_ID"].0.clone();
        assert_eq!(keys, [String::from_utf8(id).unwrap()]);
    }
}

#[test]
fn a_bad_list_of_namespaces_is_named() {
    for (arguments, expected) in [
        (&["--namespace", ""][..], "a name is empty; name at least one namespace, or omit the option for all namespaces"),
        (&["--namespace", "a,,b"], "a name is empty"),
        (&["--namespace", "a,Lab_b"], "not a name of a namespace; use up to 63 lower-case letters, digits and hyphens"),
        (&["--namespace", "b,a", "--namespace", "b"], "--namespace names b more than once; name each namespace once"),
    ] {
        for subcommand in ["run", "check"] {
            let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bucketconnection"));
            let output = command.arg(subcommand).args(arguments).env_clear().output().unwrap();
            let text = String::from_utf8(output.stderr).unwrap();
            assert!(!output.status.success() && text.contains(expected), "{subcommand} {arguments:?}: {text}");
        }
    }
}
