//! The objects that `plan` is about, and everything that their plans depend on.

use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::ListParams;
use kube::core::DeserializeGuard;
use kube::{Api, Client, ResourceExt};

use crate::api::{AWSAccount, BucketConnection, BucketConnectionSpec, SignIn};
use crate::aws::Sessions;
use crate::cli::Failure;
use crate::cli::cluster::{explain, not_opened};
use crate::cli::connections::Selection;
use crate::cli::terminal::warn;
use crate::controller::{NotOpened, Others, Preview, PreviewError, preview};
use crate::desired;
use crate::kubernetes::{Kubernetes, NO_CLUSTER, call, find, named};
use crate::manifest::{self, Finding, Found, Manifest, lines};
use crate::render::findings;
use crate::sdk;
use crate::vocabulary::problem::Problem;

/// Objects that are read or planned at the same time.
pub(super) const PARALLEL: usize = 8;

/// One object.
pub(super) struct Subject {
    /// `namespace/name`; of a file that cannot be read, its name.
    pub name: String,
    /// The object; or why it cannot be planned, with its name.
    object: Result<BucketConnection, String>,
    /// Its index among the connections of the files.
    place: usize,
    /// The spec of the object in the cluster, if that of the file is another one.
    pub applied: Option<Box<BucketConnectionSpec>>,
}

impl Subject {
    fn new(name: String, object: Result<BucketConnection, String>, place: usize) -> Self {
        Self { name, object, place, applied: None }
    }
}

/// The objects, and where they are planned.
pub(super) struct Subjects {
    subjects: Vec<Subject>,
    /// The files, if the objects come from files.
    manifest: Option<Manifest>,
    others: Others,
    sessions: Sessions,
    place: Place,
}

enum Place {
    Cluster {
        kubernetes: Kubernetes,
        accounts_from_file: bool,
    },
    /// The id of the cluster that the files are for, if it is known.
    Nowhere(Option<String>),
}

type Planned = (String, Preview, Vec<String>);

impl Subjects {
    /// Objects of the cluster, as they are.
    pub(super) async fn of_cluster(selection: &Selection) -> Result<Self, Failure> {
        let selected = selection.read().await?;
        let kubernetes = Kubernetes::new(selected.client, selection.cluster.cluster_id.clone()).await?;
        let subject = |object: Result<BucketConnection, Failure>| match object {
            Ok(object) => Subject::new(name_of(&object), Ok(object), 0),
            Err(Failure(text)) => Subject::new("BucketConnection".to_owned(), Err(text), 0),
        };
        let subjects = selected.objects.into_iter().map(subject).collect();
        Self::new(subjects, None, kubernetes, false).await
    }

    /// Objects of files, as they will be once the files are applied.
    pub(super) async fn of_files(
        manifest: Manifest,
        client: Client,
        cluster_id: Option<String>,
        accounts_from_file: bool,
    ) -> Result<Self, Failure> {
        let kubernetes = Kubernetes::new(client, cluster_id).await?;
        let joined = subjects(&manifest).into_iter().map(|mut subject| {
            let (kubernetes, manifest) = (&kubernetes, &manifest);
            async move {
                if let Ok(object) = subject.object {
                    let joined = join_live(object, &manifest.connections[subject.place], subject.place, kubernetes).await;
                    let joined = joined.map_err(|text| format!("{}{text}", subject.name));
                    (subject.object, subject.applied) = match joined {
                        Ok((object, applied)) => (Ok(object), applied),
                        Err(text) => (Err(text), None),
                    };
                }
                subject
            }
        });
        let subjects = futures::stream::iter(joined).buffered(PARALLEL).collect().await;
        Self::new(subjects, Some(manifest), kubernetes, accounts_from_file).await
    }

    /// Objects of files, as if no object existed.
    pub(super) async fn without_cluster(manifest: Manifest, cluster_id: Option<String>) -> Result<Self, Failure> {
        let mut subjects = subjects(&manifest);
        let mut others = Others::default();
        others.labels.clone_from(&manifest.labels);
        for (place, object) in subjects.iter_mut().filter_map(|subject| Some((subject.place, subject.object.as_mut().ok()?))) {
            object.status = None;
            object.metadata.creation_timestamp = Some(created(place));
            others.add_connection(object.clone());
            let name = &object.spec.account_ref.name;
            if let Ok(Some(account)) = manifest.usable_account(name) {
                others.accounts.insert(name.clone(), account.clone());
            }
        }
        let sessions = Sessions::new(sdk::environment().await?);
        Ok(Self { subjects, manifest: Some(manifest), others, sessions, place: Place::Nowhere(cluster_id) })
    }

    async fn new(
        subjects: Vec<Subject>,
        manifest: Option<Manifest>,
        kubernetes: Kubernetes,
        accounts_from_file: bool,
    ) -> Result<Self, Failure> {
        let sessions = Sessions::new(sdk::environment().await?);
        let others = others(&subjects, &kubernetes).await.unwrap_or_else(|problem| {
            warn(&format!("cannot read whether other BucketConnections have these buckets or users: {}", explain(&problem)));
            Others::default()
        });
        Ok(Self { subjects, manifest, others, sessions, place: Place::Cluster { kubernetes, accounts_from_file } })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Subject> {
        self.subjects.iter()
    }

    /// The plan for one object, with its title and notes; or why there is none, with the object's name.
    pub(super) async fn preview(&self, subject: &Subject) -> Result<Planned, String> {
        let object = subject.object.clone()?;
        let name = &subject.name;
        if object.metadata.deletion_timestamp.is_some() {
            return Err(format!("{name} is being deleted: its deletionPolicy applies, and this command plans no deletion"));
        }
        let mut notes = Vec::new();
        if object.spec.suspend {
            notes.push("suspended: the operator does nothing until spec.suspend is false".to_owned());
        }
        let (title, mut planned) = match &self.place {
            Place::Cluster { kubernetes, accounts_from_file } => {
                self.in_cluster(subject, object, kubernetes, *accounts_from_file, &mut notes).await?
            }
            Place::Nowhere(cluster) => self.without(subject, object, cluster.as_deref()).await?,
        };
        let (unknown, known): (Vec<_>, _) = planned
            .plan
            .blockers
            .into_iter()
            .partition(|blocker| blocker.problem.as_ref().is_some_and(|problem| problem.code == NO_CLUSTER));
        planned.plan.blockers = known;
        if !unknown.is_empty() {
            let what = "the Secret, the access key in it, and who can read it";
            notes.push(format!("without a cluster, the plan does not know {what}: it has no steps for them"));
        }
        Ok((title, planned, notes))
    }

    async fn in_cluster(
        &self,
        subject: &Subject,
        object: BucketConnection,
        kubernetes: &Kubernetes,
        accounts_from_file: bool,
        notes: &mut Vec<String>,
    ) -> Result<(String, Preview), String> {
        let (name, account_name) = (&subject.name, object.spec.account_ref.name.clone());
        let live = kubernetes.account(&account_name).await.map_err(|problem| format!("{name}: {}", explain(&problem)))?;
        let (title, account) = match live {
            Some(account) => {
                notes.extend(self.differs(&account));
                (name.clone(), Some(account))
            }
            None => match self.account_of_files(name, &account_name)?.cloned() {
                Some(_) if !accounts_from_file => {
                    return Err(format!(
                        "{name}: the cluster has no AWSAccount {account_name}: apply the one in the file first, or sign in with the one in the file with --accounts-from-file, if you trust the file"
                    ));
                }
                Some(account) => (format!("{name} (with AWSAccount {account_name} of the file)"), Some(account)),
                None => (name.clone(), None),
            },
        };
        let planned = preview(object, account.as_ref(), &self.others, &self.sessions, kubernetes, Timestamp::now()).await;
        planned.map(|planned| (title, planned)).map_err(|error| self.explained(subject, error))
    }

    /// That the files have another version of an account of the cluster, which is the one that counts.
    fn differs(&self, live: &AWSAccount) -> Option<String> {
        let name = live.name_any();
        let own = self.manifest.as_ref()?.usable_account(&name).ok()??;
        let text = format!(
            "AWSAccount {name} of the files differs from that of the cluster, and the plan uses that of the cluster; apply the file first"
        );
        (own.spec != live.spec).then_some(text)
    }

    /// The account of the files with this name, for the connection `name`.
    fn account_of_files(&self, name: &str, account: &str) -> Result<Option<&AWSAccount>, String> {
        let Some(manifest) = &self.manifest else { return Ok(None) };
        manifest
            .usable_account(account)
            .map_err(|errors| format!("{name}: its account is invalid:\n{}", findings::lines(&errors)))
    }

    fn explained(&self, subject: &Subject, error: PreviewError) -> String {
        let name = &subject.name;
        match error {
            PreviewError::Refused(refused) => {
                let NotOpened { blocker, report } = &refused;
                let report =
                    if report.decisions.is_empty() { String::new() } else { format!("\n{}", report.to_string().trim_end()) };
                format!("{name}: {} ({}){report}", not_opened(&refused), blocker.reason)
            }
            PreviewError::Invalid(errors) => {
                match self.manifest.as_ref().and_then(|manifest| manifest.connections.get(subject.place)) {
                    Some(found) => invalid(name, &manifest::explained(found, &errors)),
                    None => format!("{name} is invalid:{}", lines(&errors)),
                }
            }
        }
    }

    /// A plan without a cluster. What a new connection has in the cluster is known: nothing. A connection that exists in AWS has
    /// a Secret that is not known.
    async fn without(
        &self,
        subject: &Subject,
        object: BucketConnection,
        cluster: Option<&str>,
    ) -> Result<(String, Preview), String> {
        let (name, account_name) = (&subject.name, &object.spec.account_ref.name);
        let Some(account) = self.account_of_files(name, account_name)? else {
            return Err(format!("{name}: AWSAccount {account_name} is not in the files: without a cluster, add it to them"));
        };
        let mut account = account.clone();
        // Who runs the command signs in, and nothing in a file leads elsewhere.
        account.spec.sign_in = SignIn { region: account.spec.sign_in.region.take(), ..SignIn::default() };
        let plan = async |cluster: String, unknown| {
            let kubernetes = Kubernetes::absent(cluster, unknown);
            preview(object.clone(), Some(&account), &self.others, &self.sessions, &kubernetes, Timestamp::now()).await
        };
        let title = format!("{name} (without a cluster)");
        let first = plan(cluster.unwrap_or_default().to_owned(), false).await.map_err(|error| self.explained(subject, error))?;
        // The tag of the bucket names the cluster of a connection with this name.
        let of_tag = first.owner.as_deref().and_then(|owner| owner.strip_suffix(&format!("/{name}")));
        let cluster = cluster.or(of_tag).unwrap_or_default().to_owned();
        if !first.has_user && cluster.is_empty() {
            return Ok((title, first));
        }
        plan(cluster, first.has_user).await.map(|planned| (title, planned)).map_err(|error| self.explained(subject, error))
    }
}

fn name_of(object: &BucketConnection) -> String {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}

/// The objects of the files, and then what is wrong with the texts themselves.
fn subjects(manifest: &Manifest) -> Vec<Subject> {
    let connections = manifest.connections.iter().enumerate().map(|(place, found)| {
        let object = found.usable().cloned().map_err(|errors| invalid(&found.name, &errors));
        Subject::new(found.name.clone(), object, place)
    });
    let flaw = |flaw: &Finding| {
        Subject::new(flaw.file.clone(), Err(findings::lines(std::slice::from_ref(flaw))), manifest.connections.len())
    };
    connections.chain(manifest.flaws.iter().map(flaw)).collect()
}

fn invalid(name: &str, errors: &[Finding]) -> String {
    format!("{name} is invalid:\n{}", findings::lines(errors))
}

/// When an object of a file is created: after all existing ones, and after those before it.
fn created(place: usize) -> Time {
    Time(Timestamp::now() + SignedDuration::from_secs(i64::try_from(place).unwrap_or_default()))
}

/// The object with uid, age and status of the object in the cluster, if it exists: the plan is for that object with the
/// file's spec. An object that does not exist counts as younger than all existing ones, and than those before it in the
/// file. Also the spec of the object in the cluster, if it is another one.
async fn join_live(
    mut object: BucketConnection,
    found: &Found<BucketConnection>,
    place: usize,
    kubernetes: &Kubernetes,
) -> Result<(BucketConnection, Option<Box<BucketConnectionSpec>>), String> {
    let namespace = object.namespace().unwrap_or_default();
    let failed = |problem: Problem| format!(": {}", explain(&problem));
    named("get bucketconnections", &namespace).map_err(failed)?;
    let objects: Api<BucketConnection> = Api::namespaced(kubernetes.client.clone(), &namespace);
    let live = find(&objects, "bucketconnections", &object.name_any()).await.map_err(failed)?;
    if let Some(live) = live {
        let same = live.spec == object.spec;
        let errors = if same { Vec::new() } else { desired::change_errors(&live, &object) };
        if !errors.is_empty() {
            return Err(format!(" cannot be applied:\n{}", findings::lines(&manifest::explained(found, &errors))));
        }
        object.metadata.deletion_timestamp = live.metadata.deletion_timestamp;
        object.metadata.uid = live.metadata.uid;
        object.metadata.generation = live.metadata.generation.map(|generation| if same { generation } else { generation + 1 });
        object.status = live.status;
        object.metadata.creation_timestamp = live.metadata.creation_timestamp;
        return Ok((object, (!same).then(|| Box::new(live.spec))));
    }
    object.metadata.creation_timestamp = Some(created(place));
    Ok((object, None))
}

/// All connections as they will be once the files are applied, and the accounts of the cluster.
async fn others(subjects: &[Subject], kubernetes: &Kubernetes) -> Result<Others, Problem> {
    let connections: Api<DeserializeGuard<BucketConnection>> = Api::all(kubernetes.client.clone());
    let accounts: Api<DeserializeGuard<AWSAccount>> = Api::all(kubernetes.client.clone());
    let all = ListParams::default();
    let live = call("list bucketconnections", connections.list(&all)).await?;
    let accounts = call("list awsaccounts", accounts.list(&all)).await?;
    let mut others = Others::default();
    let live = live.items.into_iter().filter_map(|object| object.0.ok());
    for object in live.chain(subjects.iter().filter_map(|subject| subject.object.clone().ok())) {
        others.add_connection(object);
    }
    others.accounts = accounts.items.into_iter().filter_map(|account| account.0.ok()).map(|a| (a.name_any(), a)).collect();
    Ok(others)
}
