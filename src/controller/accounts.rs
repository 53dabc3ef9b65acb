//! Accounts: opens a session in AWS for the account that a connection names, by the account's grant; and reconciles the
//! accounts themselves.

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use kube::core::error_boundary::InvalidObject;

use super::Context;
use super::counts::outcome;
use crate::api::{
    ACCOUNT_FINALIZER, AWSAccount, AWSAccountStatus, BucketConnection, Budget, CredentialSource, SecretReference, SignIn,
};
use crate::aws::{Aws, Identity, Sessions};
use crate::desired::tenancy::{self, Labels, Report};
use crate::desired::{Account, Grant, names};
use crate::kubernetes::Kubernetes;
use crate::plan::Blocker;
use crate::status::{Finding, fold_account};
use crate::telemetry::meters;
use crate::vocabulary::conditions::{ConditionType, Reason, find};
use crate::vocabulary::problem::{Class, Place, Problem, Source};

/// How often an account is reconciled: also the time after which a new key in its Secret is used.
const CHECK: Duration = Duration::from_secs(600);
/// The same, while the account has an error or its deletion is blocked.
const CHECK_TROUBLED: Duration = Duration::from_secs(15);

/// An account that the operator is signed in to.
pub(super) struct Opened {
    /// Access to AWS.
    pub aws: Arc<Aws>,
    /// The account.
    pub account: Account,
    /// What it allows.
    pub grant: Grant,
    /// How the operator signed in.
    pub sign_in: SignIn,
}

/// Opens the account that `object` names, if it allows `tenant` what `object` asks for.
pub(super) async fn open(
    object: &BucketConnection,
    account: Option<&AWSAccount>,
    tenant: Tenant,
    sessions: &Sessions,
    kubernetes: &Kubernetes,
) -> Result<Opened, NotOpened> {
    let account = account.ok_or_else(|| not_found(object))?;
    let grant = tenancy::authorize(object, &tenant.labels, account, tenant.earlier)
        .map_err(|refused| NotOpened { blocker: refusal(refused.reason, refused.message), report: refused.report })?;
    let (aws, identity) = sign_in(account, sessions, kubernetes, Fresh::No).await?;
    let sign_in = account.spec.sign_in.clone();
    let grant = Grant { operator: names::principals(&identity.arn, &sign_in), namespace: tenant.namespace, ..grant };
    Ok(Opened { aws, account: identity.account, grant, sign_in })
}

/// The facts about a namespace that an account's entries depend on.
#[derive(Default)]
pub(super) struct Tenant {
    /// Its labels, if entries depend on them.
    pub labels: Labels,
    /// Its identity, as tags have it.
    pub namespace: Option<String>,
    /// How many of its connections in the account are older than the object.
    pub earlier: usize,
}

/// The tenant of `object`. The namespace is read once per object, and whenever entries depend on labels.
pub(super) async fn tenant(
    object: &BucketConnection,
    account: Option<&AWSAccount>,
    earlier: usize,
    kubernetes: &Kubernetes,
) -> Result<Tenant, Problem> {
    let name = object.namespace().unwrap_or_default();
    let known = object.status.as_ref().and_then(|status| status.memory.namespace_id.clone());
    let asks = account.is_some_and(|account| tenancy::asks_labels(&account.spec, &name));
    let admitted = account.is_some_and(|account| tenancy::admits(&account.spec, &name));
    // A namespace that no entry names is refused, so it need not be read.
    if !admitted || (known.is_some() && !asks) {
        return Ok(Tenant { namespace: known, earlier, ..Tenant::default() });
    }
    let (labels, id) = kubernetes.namespace(&name).await?;
    Ok(Tenant { labels, namespace: Some(known.unwrap_or(id)), earlier })
}

/// Why an account is not opened.
pub struct NotOpened {
    /// What blocks it.
    pub blocker: Blocker,
    /// The decisions of the account's entry, if they are the cause.
    pub report: Report,
}

impl From<Blocker> for NotOpened {
    fn from(blocker: Blocker) -> Self {
        Self { blocker, report: Report::default() }
    }
}

/// Opens the account of what `object` already owns: regardless of its current rules, and from the recorded state if the
/// account was deleted.
pub(super) async fn open_remembered(
    object: &BucketConnection,
    account: Option<&AWSAccount>,
    sessions: &Sessions,
    kubernetes: &Kubernetes,
) -> Result<Opened, Blocker> {
    let status = object.status.clone().unwrap_or_default();
    let remembered = || {
        let mut account = AWSAccount { spec: Default::default(), ..AWSAccount::default() };
        account.metadata.name = Some(object.spec.account_ref.name.clone());
        account.spec.sign_in = status.memory.sign_in.clone().unwrap_or_default();
        account.spec.account_id = status.memory.account_id.clone();
        account
    };
    let account = account.cloned().unwrap_or_else(remembered);
    let (aws, identity) = Box::pin(sign_in(&account, sessions, kubernetes, Fresh::No)).await?;
    // Without entries that allow it, nothing is destroyed.
    let Tenant { labels, namespace, .. } = tenant(object, Some(&account), 0, kubernetes).await.unwrap_or_default();
    let grant = Grant { namespace, ..tenancy::deletion_grant(object, &labels, &account) };
    Ok(Opened { aws, account: identity.account, grant, sign_in: account.spec.sign_in })
}

/// Signs in to `account` for a command that reads AWS and is about no connection.
pub async fn open_account(
    account: &AWSAccount,
    sessions: &Sessions,
    kubernetes: &Kubernetes,
) -> Result<(Arc<Aws>, Identity), NotOpened> {
    sign_in(account, sessions, kubernetes, Fresh::Yes).await.map_err(NotOpened::from)
}

#[derive(PartialEq, Eq)]
enum Fresh {
    /// The key that was read last is good enough.
    No,
    /// The Secret is read again.
    Yes,
}

/// Signs in to `account`, and verifies that the credentials belong to the account that it names.
async fn sign_in(
    account: &AWSAccount,
    sessions: &Sessions,
    kubernetes: &Kubernetes,
    fresh: Fresh,
) -> Result<(Arc<Aws>, Identity), Blocker> {
    let (name, sign_in, budget) = (account.name_any(), &account.spec.sign_in, account.spec.budget);
    let known = sessions.known(&name, sign_in, budget).filter(|_| fresh == Fresh::No);
    let aws = match known {
        Some(aws) => aws,
        // On the heap: signing in uses much stack, and may be the first thing that a deletion does after a start.
        None => Box::pin(session(&name, sign_in, budget, sessions, kubernetes)).await.map_err(|problem| failed(&problem))?,
    };
    let identity = aws.identity().await.map_err(|problem| not_signed_in(&problem, sign_in))?;
    match &account.spec.account_id {
        Some(expected) if *expected != identity.account.id => Err(refusal(
            Reason::WrongAccount,
            format!(
                "AWSAccount {name} has accountId {expected}, but its credentials belong to account {} ({}): the operator changes nothing; correct accountId or the credentials",
                identity.account.id, identity.arn
            ),
        )),
        _ => Ok((aws, identity)),
    }
}

async fn session(
    name: &str,
    sign_in: &SignIn,
    budget: Budget,
    sessions: &Sessions,
    kubernetes: &Kubernetes,
) -> Result<Arc<Aws>, Problem> {
    let key = match (&sign_in.credentials.source, &sign_in.credentials.secret_ref) {
        (CredentialSource::Secret, Some(reference)) => Some(kubernetes.account_key(reference).await?),
        _ => None,
    };
    Ok(sessions.open(name, sign_in, budget, key).await)
}

fn not_found(object: &BucketConnection) -> Blocker {
    let name = &object.spec.account_ref.name;
    refusal(
        Reason::AccountNotFound,
        format!("there is no AWSAccount {name}: create it (docs/accounts.md), or set accountRef to another one"),
    )
}

fn refusal(reason: Reason, message: String) -> Blocker {
    Blocker { part: ConditionType::AccountReady, reason, message, stalled: true, problem: None }
}

/// Why an account is not opened, if a call failed.
pub(super) fn failed(problem: &Problem) -> Blocker {
    let reason = match problem.reason() {
        reason if !problem.is_permanent() || reason == Reason::AccessDenied => reason,
        _ => Reason::SignInFailed,
    };
    Blocker { reason, ..Blocker::unreadable(ConditionType::AccountReady, problem, &Place::default()) }
}

/// The same, with the Secret whose key AWS rejects.
fn not_signed_in(problem: &Problem, sign_in: &SignIn) -> Blocker {
    let blocker = failed(problem);
    match &sign_in.credentials.secret_ref {
        Some(SecretReference { namespace, name }) if problem.class == Class::BadKey && problem.source == Source::Aws => {
            let message = format!("{}; check the access key in Secret {namespace}/{name}", problem.brief());
            Blocker { message, ..blocker }
        }
        _ => blocker,
    }
}

/// One reconcile over an account; returns the time until the next one.
pub(super) async fn reconcile(account: &AWSAccount, context: &Context) -> Result<Option<Duration>, Problem> {
    context.fence.ensure_valid_for(Duration::ZERO)?;
    let name = account.name_any();
    let held = account.finalizers().iter().any(|finalizer| finalizer == ACCOUNT_FINALIZER);
    if account.metadata.deletion_timestamp.is_some() {
        let users = context.users_of(&name);
        if users.is_empty() {
            context.sessions.close(&name);
            if held {
                context.kubernetes.hold_account(&account.metadata, false).await?;
            }
            return Ok(None);
        }
        return write(account, &Finding::InUse(&users), context).await;
    }
    if !held && let Err(problem) = context.kubernetes.hold_account(&account.metadata, true).await {
        return match problem.class {
            Class::Denied => write(account, &Finding::Failed(&failed(&problem)), context).await,
            _ => Err(problem),
        };
    }
    match sign_in(account, &context.sessions, &context.kubernetes, Fresh::Yes).await {
        Ok((_, identity)) => write(account, &Finding::SignedIn(&identity.account, &identity.arn), context).await,
        Err(blocker) => write(account, &Finding::Failed(&blocker), context).await,
    }
}

/// The same for an account that cannot be read: it is released once no connection needs it.
pub(super) async fn reconcile_unreadable(invalid: &InvalidObject, context: &Context) -> Result<Option<Duration>, Problem> {
    context.fence.ensure_valid_for(Duration::ZERO)?;
    tracing::warn!(error = %invalid.error, "the AWSAccount cannot be read; correct it, or install the CRDs of this version");
    let metadata = &invalid.metadata;
    if metadata.deletion_timestamp.is_none() {
        return Ok(None);
    }
    if !context.users_of(metadata.name.as_deref().unwrap_or_default()).is_empty() {
        return Ok(Some(CHECK_TROUBLED));
    }
    context.kubernetes.hold_account(metadata, false).await?;
    Ok(None)
}

async fn write(account: &AWSAccount, finding: &Finding<'_>, context: &Context) -> Result<Option<Duration>, Problem> {
    let status = fold_account(account, finding, (context.clock)());
    if account.status.as_ref() != Some(&status) {
        // The account became what its connections waited for.
        let is = |status: &AWSAccountStatus, value: &str| {
            find(&status.conditions, ConditionType::Ready).is_some_and(|ready| ready.status == value)
        };
        if account.status.as_ref().is_some_and(|before| is(before, "False")) && is(&status, "True") {
            let _ = context.wake.send(account.name_any());
        }
        context.kubernetes.write_account_status(&account.name_any(), &status).await?;
    }
    meters().reconciled("AWSAccount", outcome(&status.conditions));
    if let Some(ready) = find(&status.conditions, ConditionType::Ready) {
        tracing::info!(ready = ready.status, reason = ready.reason, detail = ready.message, "account checked");
    }
    Ok(Some(if matches!(finding, Finding::SignedIn(..)) { CHECK } else { CHECK_TROUBLED }))
}
