//! What the cluster says: its clock, the CRDs, the leases, the accounts.

use http::StatusCode;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::ListParams;
use kube::client::Body;
use kube::core::DeserializeGuard;
use kube::{Api, Client, CustomResourceExt, ResourceExt};

use super::Patient;
use crate::api::{AWSAccount, BucketConnection};
use crate::cli::Failure;
use crate::kubernetes::{MANAGER, call, find};
use crate::render::connection::Overview;
use crate::render::diagnosis::{self, Finding, Missing, crd, heartbeat, leases};
use crate::sdk::http_date;
use crate::vocabulary::problem::{Class, Problem, Source};
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
    const ASKS: &str = "get /version";
    let answer = call(ASKS, client.send(request)).await?;
    let status = answer.status();
    let failed = |class, code: String| Problem::at(Source::Kubernetes, class, ASKS, code, "");
    if status == StatusCode::UNAUTHORIZED {
        return Err(failed(Class::Denied, "Unauthorized".to_owned()).into());
    }
    if status.is_server_error() {
        return Err(failed(Class::Unavailable, format!("HTTP {}", status.as_u16())).into());
    }
    let there = answer.headers().get("date").and_then(|date| http_date(date.to_str().ok()?));
    Ok(Clock { finding: diagnosis::clock("the API server", there, Timestamp::now()), there })
}

/// The installed CRDs, compared with those of this program.
pub(super) async fn crds(client: &Client) -> Vec<Finding> {
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    let mut findings = Vec::new();
    for ours in [BucketConnection::crd(), AWSAccount::crd()] {
        let about = format!("CRD {}", ours.spec.names.plural);
        findings.push(match find(&crds, "customresourcedefinitions", &ours.name_any()).await {
            Ok(live) => crd(live.as_ref(), &ours, VERSION),
            Err(problem) => Finding::unread("crds", about, "get customresourcedefinitions", &problem),
        });
    }
    findings
}

/// Whether the operator lives: its leases in `operator`, those for `namespace` if the question is about it, and the
/// reconciles of `objects`, if they could be read.
pub(super) async fn operator(
    client: &Client,
    operator: &str,
    namespace: Option<&str>,
    objects: Option<&[Overview]>,
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
            let needs = format!("list leases in {operator}");
            vec![Finding::unread("operator", "lease of the operator", &needs, &problem)]
        }
    };
    findings.push(heartbeat(objects, now));
    findings
}

/// The accounts that the user can read.
pub(super) struct Accounts {
    /// The permission that reading them needs.
    needs: &'static str,
    read: Result<Vec<Result<AWSAccount, String>>, Problem>,
}

/// Reads all accounts, or only that of `patient`.
pub(super) async fn accounts(client: &Client, patient: Option<&Patient>) -> Accounts {
    let api: Api<DeserializeGuard<AWSAccount>> = Api::all(client.clone());
    let readable = |account: DeserializeGuard<AWSAccount>| {
        let name = account.name_any();
        account.0.map_err(|invalid| format!("AWSAccount {name} cannot be read: {}", invalid.error))
    };
    let found = match patient {
        Some(patient) => find(&api, "awsaccounts", &patient.of.account).await.map(|found| found.into_iter().collect::<Vec<_>>()),
        None => call("list awsaccounts", api.list(&ListParams::default())).await.map(|found| found.items),
    };
    let needs = if patient.is_some() { "get awsaccounts" } else { "list awsaccounts" };
    Accounts { needs, read: found.map(|found| found.into_iter().map(readable).collect()) }
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
            Err(problem) => vec![self.unread("account", "sign-in to AWS accounts", problem)],
        }
    }

    fn unread(&self, check: &'static str, about: &str, problem: &Problem) -> Finding {
        Finding::unread(check, about, self.needs, problem)
    }

    /// Whether there are accounts that can be read.
    pub(super) fn are_read(&self) -> bool {
        self.readable().next().is_some()
    }

    /// The permissions that the operator lacks, by the conditions of `objects` and of the accounts.
    pub(super) fn missing(&self, objects: &[&BucketConnection]) -> Missing {
        let of_objects = objects.iter().filter_map(|object| object.status.as_ref()).flat_map(|status| &status.conditions);
        let of_accounts = self.readable().filter_map(|account| account.status.as_ref()).flat_map(|status| &status.conditions);
        diagnosis::missing(of_objects.chain(of_accounts))
    }

    /// How the operator signs in for `object`: by its account, or as the status recorded it. Without either, a check that
    /// depends on the endpoints of the account is not possible: why.
    pub(super) fn sign_in(&self, object: &BucketConnection) -> Result<SignIn, Finding> {
        let account = self.readable().find(|account| account.name_any() == object.spec.account_ref.name);
        // A status with an account and no sign-in was written with the default one.
        let memory = object.status.as_ref().map(|status| &status.memory).filter(|memory| memory.account_id.is_some());
        let recorded = || memory.map(|memory| memory.sign_in.clone().unwrap_or_default());
        match (account.map(|account| account.spec.sign_in.clone()).or_else(recorded), &self.read) {
            (Some(sign_in), _) => Ok(sign_in),
            // There is no such account: AWS's own endpoints.
            (None, Ok(_)) => Ok(SignIn::default()),
            (None, Err(problem)) => Err(self.unread("endpoint", "endpoints of AWS", problem)),
        }
    }
}
