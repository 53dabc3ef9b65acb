//! Flux's own kustomize-controller applies the folders of examples/gitops, with the Kustomizations of examples/gitops/flux unchanged. A
//! small server has the artifacts that source-controller would have; the test writes the status of the source.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::kustomize_controller::{Flux, Ready};
use crate::support::harness::Harness;
use crate::support::stack::{ROOT, Stack};

const TEAM: &str = "team-sequencing";
const CANARY: &str = "apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: { name: canary, namespace: flux-system }
spec:
  interval: 10m
  sourceRef: { kind: GitRepository, name: flux-system }
  path: ./canary
  prune: true
  wait: true
";

#[tokio::test]
async fn a_folder_is_ready_when_its_connections_are() {
    let stack = Stack::start("flux", &["--no-aws"]);
    let mut harness = Harness::idle("flux", &stack, &[]).await;
    harness.whole_cluster = true;
    let flux = Flux::start(&harness, &stack);
    flux.publish("main@sha1:1");
    flux.apply(&example("platform"));
    let checking = |ready: &Ready| ready.status == "Unknown" && ready.progress.starts_with("Running health checks");
    flux.until_so("flux-system", "connections-platform", checking).await;
    // While no operator runs: another folder becomes ready in the meantime, and this one does not.
    flux.apply(CANARY);
    flux.ready("flux-system", "canary").await;
    let platform = flux.state("flux-system", "connections-platform");
    assert!(checking(&platform), "nothing has reconciled the account: {platform:?}");
    harness.start();
    flux.ready("flux-system", "connections-platform").await;
    flux.apply(&example("teams"));
    for (team, connections) in [(TEAM, &["runs", "reference"][..]), ("team-imaging", &["images"])] {
        flux.ready(team, "connections").await;
        for name in connections {
            assert!(flux.is_ready(team, name), "{team}/{name}");
        }
    }
    a_wrong_connection_fails_its_folder_and_names_itself(&flux).await;
    two_cycles_write_nothing(&flux, &mut harness).await;
    what_leaves_the_folder_is_deleted_and_stays_in_aws(&flux, &harness).await;
}

async fn a_wrong_connection_fails_its_folder_and_names_itself(flux: &Flux) {
    let file = flux.repository.join("teams/sequencing/wrong.yaml");
    let right = std::fs::read_to_string(flux.repository.join("teams/sequencing/reference.yaml")).unwrap();
    let right = right.replace("name: reference", "name: wrong").replace("team-sequencing-reference", "team-sequencing-more");
    // The AWSAccount does not allow the team this preset.
    std::fs::write(&file, right.replace("preset: ReadOnly", "preset: WriteOnly")).unwrap();
    flux.publish("main@sha1:2");
    let failed = |ready: &Ready| ready.status == "False" && ready.reason == "HealthCheckFailed";
    let Ready { message, .. } = flux.until_so(TEAM, "connections", failed).await;
    assert!(message.contains("BucketConnection/team-sequencing/wrong status: 'Failed'"), "{message}");
    // The other team's folder has nothing to do with it.
    flux.ready("team-imaging", "connections").await;
    std::fs::write(&file, right).unwrap();
    flux.publish("main@sha1:3");
    flux.applied(TEAM, "main@sha1:3").await;
    assert!(flux.is_ready(TEAM, "wrong"));
}

async fn two_cycles_write_nothing(flux: &Flux, harness: &mut Harness) {
    harness.namespace = TEAM.to_owned();
    for cycle in ["first", "second"] {
        let before = flux.objects(TEAM);
        assert_eq!(before.len(), 3);
        flux.force(TEAM, cycle).await;
        assert_eq!(flux.objects(TEAM), before, "Flux wrote something in its {cycle} cycle");
        // In between, the operator reconciles and writes its status.
        harness.check("runs").await;
        let after = flux.objects(TEAM);
        assert_ne!(after, before, "the operator recorded the request");
        let manager = |objects: &BTreeMap<String, Value>| flux_fields(&objects["runs"]);
        assert_eq!(manager(&after), manager(&before), "the operator took nothing from Flux");
    }
}

async fn what_leaves_the_folder_is_deleted_and_stays_in_aws(flux: &Flux, harness: &Harness) {
    std::fs::remove_file(flux.repository.join("teams/sequencing/wrong.yaml")).unwrap();
    flux.publish("main@sha1:4");
    harness.gone("wrong").await;
    flux.applied(TEAM, "main@sha1:4").await;
    harness.s3().head_bucket().bucket("team-sequencing-more").send().await.unwrap();
}

fn example(name: &str) -> String {
    std::fs::read_to_string(format!("{ROOT}/examples/gitops/flux/{name}.yaml")).unwrap()
}

/// What Flux has applied of an object, as the API server records it.
fn flux_fields(object: &Value) -> Value {
    let fields = object["metadata"]["managedFields"].as_array().unwrap();
    let of_flux = fields.iter().find(|entry| entry["manager"] == "kustomize-controller").expect("Flux applied it");
    of_flux["fieldsV1"].clone()
}
