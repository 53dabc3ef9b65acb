//! What the cluster says: its clock, the CRDs, the leases, the accounts.

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::ListParams;
use kube::client::Body;
use kube::core::DeserializeGuard;
use kube::{Api, Client, CustomResourceExt, ResourceExt};

use super::{Patient, unknown};
use crate::api::{AWSAccount, BucketConnection};
use crate::cli::Failure;
use crate::kubernetes::{MANAGER, call, find};
use crate::render::connection::Overview;
use crate::render::diagnosis::{self, Finding, Missing, crd, heartbeat, leases};
use crate::sdk::http_date;
use crate::vocabulary::problem::{Class, Problem};
use crate::vocabulary::sign_in::SignIn;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The clock of the API server.
pub(super) struct Clock {
    pub finding: Finding,
    pub there: Option<Timestamp>,
}

/// Asks the API server for its version, which shows that it answers, and its clock.
pub(super) async fn clock(client: &Client) -> Result<Clock, Failure> {
    let request = http::Request::get("/version").body(Body::empty())?;
    let answer = call("get /version", client.send(request)).await?;
    let there = answer.headers().get("date").and_then(|date| http_date(date.to_str().ok()?));
    Ok(Clock { finding: diagnosis::clock("the API server", there, Timestamp::now()), there })
}

/// The installed CRDs, compared with those of this program.
pub(super) async fn crds(client: &Client) -> Vec<Finding> {
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    let mut findings = Vec::new();
    for ours in [BucketConnection::crd(), AWSAccount::crd()] {
        let about = format!("CRD {}", ours.spec.names.plural);
        let action = "get customresourcedefinitions";
        findings.push(match find(&crds, "customresourcedefinitions", &ours.name_any()).await {
            Ok(live) => crd(live.as_ref(), &ours, VERSION),
            Err(problem) => Finding::not_checked("crds", about, needs(action, &problem)),
        });
    }
    findings
}

/// What is not possible without a permission of the user.
pub(super) fn needs(permission: &str, problem: &Problem) -> String {
    match problem.class {
        Class::Denied => format!("needs {permission}"),
        _ => problem.brief(),
    }
}

/// Whether the operator lives: its leases in `operator`, those for `namespace` if the question is about it, and the
/// reconciles of `objects`.
pub(super) async fn operator(
    client: &Client,
    operator: &str,
    namespace: Option<&str>,
    objects: &[Overview],
    now: Timestamp,
) -> Vec<Finding> {
    let api: Api<Lease> = Api::namespaced(client.clone(), operator);
    let which = ListParams::default().labels(&format!("app.kubernetes.io/managed-by={MANAGER}"));
    let mut findings = match call("list leases", api.list(&which)).await {
        Ok(mut found) => {
            let of_namespace = namespace.map(|namespace| format!("{MANAGER}-{namespace}"));
            let concerns = |lease: &Lease| {
                let name = lease.name_any();
                of_namespace.as_ref().is_none_or(|of| name == *of || name == MANAGER)
            };
            found.items.retain(concerns);
            leases(&found.items, operator, now)
        }
        Err(problem) => {
            let why = needs(&format!("list leases in {operator}"), &problem);
            vec![Finding::not_checked("operator", "lease of the operator", why)]
        }
    };
    findings.push(heartbeat(objects, now));
    findings
}

/// The accounts that the user can read.
pub(super) struct Accounts {
    read: Result<Vec<Result<AWSAccount, String>>, String>,
}

/// Reads all accounts, or only that of `patient`.
pub(super) async fn accounts(client: &Client, patient: Option<&Patient>) -> Accounts {
    let api: Api<DeserializeGuard<AWSAccount>> = Api::all(client.clone());
    let readable = |account: DeserializeGuard<AWSAccount>| {
        let name = account.name_any();
        account.0.map_err(|invalid| format!("AWSAccount {name} cannot be read: {}", invalid.error))
    };
    let read = match patient {
        Some(patient) => {
            let found = find(&api, "awsaccounts", &patient.of.account).await;
            found.map(|found| found.into_iter().map(readable).collect()).map_err(|problem| needs("get awsaccounts", &problem))
        }
        None => {
            let found = call("list awsaccounts", api.list(&ListParams::default())).await;
            found
                .map(|found| found.items.into_iter().map(readable).collect())
                .map_err(|problem| needs("list awsaccounts", &problem))
        }
    };
    Accounts { read }
}

impl Accounts {
    fn readable(&self) -> impl Iterator<Item = &AWSAccount> {
        self.read.iter().flatten().filter_map(|account| account.as_ref().ok())
    }

    pub(super) fn findings(&self, objects: &[Overview]) -> Vec<Finding> {
        let finding = |account: &Result<AWSAccount, String>| match account {
            Ok(account) => diagnosis::account(account, objects),
            Err(text) => diagnosis::unreadable_account(text),
        };
        match &self.read {
            Ok(accounts) if accounts.is_empty() => vec![diagnosis::no_account()],
            Ok(accounts) => accounts.iter().map(finding).collect(),
            Err(why) => vec![Finding::not_checked("account", "sign-in to AWS accounts", why)],
        }
    }

    /// The permissions that the operator lacks, by the conditions of `objects` and of the accounts.
    pub(super) fn missing(&self, objects: &[&BucketConnection]) -> Missing {
        let of_objects = objects.iter().filter_map(|object| object.status.as_ref()).flat_map(|status| &status.conditions);
        let of_accounts = self.readable().filter_map(|account| account.status.as_ref()).flat_map(|status| &status.conditions);
        diagnosis::missing(of_objects.chain(of_accounts))
    }

    /// How the operator signs in for `object`: by its account, or as the status recorded it.
    pub(super) fn sign_in(&self, object: &BucketConnection) -> SignIn {
        let account = self.readable().find(|account| account.name_any() == object.spec.account_ref.name);
        let recorded = || object.status.as_ref().and_then(|status| status.memory.sign_in.clone());
        account.map(|account| account.spec.sign_in.clone()).or_else(recorded).unwrap_or_else(unknown)
    }
}
