//! `bucketconnection adopt`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use super::{patch, shown};
use crate::api::{AWSAccount, ApprovedBy, BucketConnection, REQUESTED_AT};
use crate::cli::cluster::Namespaced;
use crate::cli::connections::connection;
use crate::cli::terminal::{confirm, print, say, warn};
use crate::cli::wait::{Found, Waiting, interruptible};
use crate::cli::{Failure, INTERRUPTED};
use crate::desired::tenancy;
use crate::kubernetes::{find, find_metadata};
use crate::render::adoption::{self, Adoption};
use crate::render::gitops;

/// Show what the adoption of existing AWS resources would change, ask, and approve it
///
/// Reconciles the connection, shows the plan that waits for approval (status.adoption), and approves exactly this plan in
/// spec.approvedPlan. If the resources change in between, the command shows the new plan and asks again. The AWSAccount must let
/// connections approve (adoption.approval: Connection); otherwise the command prints what the platform team has to approve.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  kubectl bucketconnection adopt genomics

  # Without a question, if this is still the plan
  kubectl bucketconnection adopt genomics --plan plan-b14f7821eedfb11a

See docs/adoption.md.")]
pub(in crate::cli) struct Adopt {
    /// Name of the BucketConnection
    #[arg(value_name = "NAME")]
    name: String,

    /// Approve the plan with this hash without a question; no other plan is approved
    #[arg(long, value_name = "HASH")]
    plan: Option<String>,

    #[command(flatten)]
    waiting: Waiting,

    #[command(flatten)]
    cluster: Namespaced,
}

impl Adopt {
    pub(in crate::cli) async fn run(&self) -> Result<ExitCode, Failure> {
        let (client, namespace) = self.cluster.client().await?;
        let object = connection(&client, &namespace, &self.name).await?;
        match interruptible(self.adopt(&client, object)).await? {
            Some(done) => done.map(|()| ExitCode::SUCCESS),
            None => {
                warn("stopped waiting; a plan that you approved stays approved");
                Ok(ExitCode::from(INTERRUPTED))
            }
        }
    }

    async fn adopt(&self, client: &Client, mut object: BucketConnection) -> Result<(), Failure> {
        let name = shown(&object);
        let mut approved = None;
        self.reconciled(client, &object).await?;
        loop {
            let plan = match self.state(client, &object, approved.clone()).await? {
                Adoption::Asks(plan) => plan,
                Adoption::Blocked(text) => return Err(Failure(format!("{name}: {text}"))),
                Adoption::Done | Adoption::Waiting(_) => break,
            };
            object = connection(client, &object.namespace().unwrap_or_default(), &self.name).await?;
            say(&adoption::plan(&object, &plan));
            let hash = plan.plan_hash;
            if let Some(text) = platform_team_approves(client, &object, &hash).await? {
                return Err(Failure(format!("{name}: {text}")));
            }
            self.ask(&name, &hash).await?;
            patch(client, &object, json!({ "spec": { "approvedPlan": hash } })).await?;
            if let Some(text) = gitops::reverts(object.managed_fields(), &["spec", "approvedPlan"]) {
                warn(&format!("{name}: {text}"));
            }
            if self.waiting.no_wait {
                print(&format!("{name}: approved {hash}\n"));
                return Ok(());
            }
            approved = Some(hash);
        }
        print(&match approved {
            Some(hash) => format!("{name}: adopted ({hash}); Ready\n"),
            None => format!("{name}: Ready; no adoption waits for approval\n"),
        });
        Ok(())
    }

    async fn ask(&self, name: &str, hash: &String) -> Result<(), Failure> {
        match &self.plan {
            Some(plan) if plan == hash => Ok(()),
            Some(plan) => Err(Failure(format!(
                "{name}: the plan is {hash}, not {plan}: nothing is approved; read the plan above, and pass its hash"
            ))),
            None if confirm(&format!("Approve {hash}?"), "yes", &format!("--plan {hash}")).await? => Ok(()),
            None => Err(Failure(format!("{name}: nothing is approved: the answer was another one"))),
        }
    }

    /// Waits for a reconcile, so that the plan is about what is in AWS now.
    async fn reconciled(&self, client: &Client, object: &BucketConnection) -> Result<(), Failure> {
        if object.spec.suspend {
            return Err(Failure(format!("{}: spec.suspend is true; resume it first: bucketconnection resume", shown(object))));
        }
        let at = Timestamp::now().to_string();
        patch(client, object, json!({ "metadata": { "annotations": { REQUESTED_AT: at } } })).await?;
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let reconciled = |now: Option<&BucketConnection>| {
            let handled = now.and_then(|now| now.status.as_ref()).and_then(|status| status.last_handled_reconcile_at.as_ref());
            match now {
                Some(_) if handled != Some(&at) => Found::Waiting("the operator has not reconciled it yet".to_owned()),
                Some(_) => Found::Ended(Ok(())),
                None => Found::Ended(Err(Failure(format!("{namespace}/{name} was deleted")))),
            }
        };
        self.waiting.until(client, &namespace, &name, reconciled).await?
    }

    async fn state(&self, client: &Client, object: &BucketConnection, approved: Option<String>) -> Result<Adoption, Failure> {
        let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
        let state = |now: Option<&BucketConnection>| {
            let Some(now) = now else { return Found::Ended(Adoption::Blocked("it was deleted".to_owned())) };
            match adoption::state(now, approved.as_deref()) {
                Adoption::Waiting(text) => Found::Waiting(text),
                ended => Found::Ended(ended),
            }
        };
        self.waiting.until(client, &namespace, &name, state).await
    }
}

/// What to do if the approval of a connection does not count in its account. Without the permission to read the account, the
/// operator's answer to the approval shows that.
async fn platform_team_approves(client: &Client, object: &BucketConnection, hash: &str) -> Result<Option<String>, Failure> {
    let accounts: Api<AWSAccount> = Api::all(client.clone());
    let name = &object.spec.account_ref.name;
    let Ok(Some(account)) = find(&accounts, "awsaccounts", name).await else { return Ok(None) };
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace = find_metadata(&namespaces, "namespaces", &object.namespace().unwrap_or_default()).await;
    let labels: BTreeMap<_, _> = namespace.ok().flatten().and_then(|metadata| metadata.labels).unwrap_or_default();
    let Ok(grant) = tenancy::authorize(object, &labels, &account, 0) else { return Ok(None) };
    // An adoption is always approved where the account says so; only a deletion also counts a connection's own approval.
    let theirs = grant.adoption.approval == ApprovedBy::Account && object.metadata.deletion_timestamp.is_none();
    Ok(theirs.then(|| {
        format!(
            "the platform team approves adoptions here: ask it to add {hash} to adoption.approvedPlans of your entry in AWSAccount {name}; then run this command again"
        )
    }))
}
