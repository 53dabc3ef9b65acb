//! What the next reconcile would do, for the `plan` subcommand: the same stages, up to the plan.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::ResourceExt;

use super::accounts::{self, NotOpened, Opened, Tenant};
use super::observe::{Discovery, Observer};
use super::reconcile::rival;
use crate::api::{AWSAccount, BucketConnection};
use crate::aws::Sessions;
use crate::desired::claims::{self, Claim};
use crate::desired::tenancy::{self, Labels, Report};
use crate::desired::{self, Desired, SpecError, names};
use crate::kubernetes::Kubernetes;
use crate::observed::{Remembered, distrust};
use crate::plan::{self, Plan, revocation};
use crate::settings::Reading;
use crate::vocabulary::problem::Class;

/// The other connections and accounts. Their statuses count without a seal.
#[derive(Default)]
pub struct Others {
    connections: BTreeMap<(String, String), BucketConnection>,
    /// The accounts, by name.
    pub accounts: BTreeMap<String, AWSAccount>,
    /// Labels of namespaces, for those that cannot be read.
    pub labels: BTreeMap<String, Labels>,
}

impl Others {
    /// Adds a connection, replacing one of the same name.
    pub fn add_connection(&mut self, mut object: BucketConnection) {
        let name = (object.namespace().unwrap_or_default(), object.name_any());
        object.metadata.uid.get_or_insert_with(|| format!("{}/{} to be", name.0, name.1));
        self.connections.insert(name, object);
    }

    fn beside<'a>(&'a self, object: &BucketConnection) -> impl Iterator<Item = &'a BucketConnection> {
        let name = (object.namespace().unwrap_or_default(), object.name_any());
        self.connections.iter().filter(move |(other, _)| **other != name).map(|(_, object)| object)
    }

    fn claim(&self, other: &BucketConnection) -> Claim {
        claims::claim(other, self.accounts.get(&other.spec.account_ref.name))
    }
}

/// What the next reconcile would do to an object.
pub struct Preview {
    /// The desired state.
    pub desired: Desired,
    /// The plan.
    pub plan: Plan,
    /// The parts of the status that are not trusted, for people.
    pub doubts: Vec<String>,
    /// The entry of the account that allows it.
    pub report: Report,
    /// The owner in the tags of the bucket.
    pub owner: Option<String>,
    /// Whether the IAM user exists, or could not be read.
    pub has_user: bool,
}

/// What the next reconcile would do to `object` with the account that it names, next to `others`, for the `plan`
/// subcommand, if it runs at `now`. It reads, and changes nothing.
pub async fn preview(
    mut object: BucketConnection,
    account: Option<&AWSAccount>,
    others: &Others,
    sessions: &Sessions,
    kubernetes: &Kubernetes,
    now: Timestamp,
) -> Result<Preview, PreviewError> {
    let earlier = claims::earlier(&object, others.beside(&object));
    let name = object.namespace().unwrap_or_default();
    let asks = account.is_some_and(|account| tenancy::asks_labels(&account.spec, &name));
    let tenant = match accounts::tenant(&object, account, earlier, kubernetes).await {
        // Authors of connections often may not read namespaces: then it stays open whether this namespace is a later
        // one of the same name.
        Err(problem) if problem.class == Class::Denied && (!asks || others.labels.contains_key(&name)) => {
            Tenant { earlier, labels: others.labels.get(&name).cloned().unwrap_or_default(), namespace: None }
        }
        tenant => tenant.map_err(|problem| PreviewError::Refused(accounts::failed(&problem).into()))?,
    };
    let opened = accounts::open(&object, account, tenant, sessions, kubernetes).await.map_err(PreviewError::Refused)?;
    let Opened { aws, account, grant, .. } = opened;
    let doubts = distrust(&mut object, &account, &grant.defaults);
    if let Some(blocker) = rival(&object, others.beside(&object), &grant, |other| others.claim(other)) {
        return Err(PreviewError::Refused(blocker.into()));
    }
    let desired = desired::resolve(&object, &kubernetes.cluster, &account, &grant).map_err(PreviewError::Invalid)?;
    let mut remembered = Remembered::of(&object);
    if let Some(user) = remembered.user.as_ref().filter(|_| remembered.revoke) {
        let observed = aws.observe_user(&user.name).await;
        let plan = revocation::cut_off(&remembered, &observed, false, now);
        return Ok(Preview { desired, plan, doubts, report: grant.report, owner: None, has_user: true });
    }
    let observer = Observer { object: &object, desired: &desired, aws: &aws, kubernetes, now };
    let observed = observer.observe(&mut remembered, Discovery::Full).await;
    remembered.recall(&mut object, &desired, &observed);
    let adapted = desired::adapted(desired, observed.versioned(), &object, &kubernetes.cluster, &grant);
    let desired = adapted.map_err(PreviewError::Invalid)?;
    let plan = plan::plan(&desired, &observed, &remembered, now);
    let owner = observed.bucket.tags().and_then(|tags| tags.get(names::OWNER_TAG).cloned());
    let has_user = matches!(observed.user, Reading::Set(_) | Reading::Unreadable(_));
    Ok(Preview { desired, plan, doubts, report: grant.report, owner, has_user })
}

/// Why there is no plan.
pub enum PreviewError {
    /// The account does not allow it, or the operator could not sign in to it.
    Refused(NotOpened),
    /// The spec is invalid.
    Invalid(Vec<SpecError>),
}
