//! The connections of the cluster that a command is about.

use kube::api::ListParams;
use kube::core::DeserializeGuard;
use kube::{Api, Client, ResourceExt};

use super::Failure;
use super::cluster::Cluster;
use crate::api::BucketConnection;
use crate::kubernetes::{call, find};

/// One connection of the cluster.
pub(super) async fn connection(client: &Client, namespace: &str, name: &str) -> Result<BucketConnection, Failure> {
    let objects: Api<DeserializeGuard<BucketConnection>> = Api::namespaced(client.clone(), namespace);
    match find(&objects, "bucketconnections", name).await? {
        Some(object) => object.0.map_err(|invalid| unreadable(namespace, name, &invalid.error)),
        None => Err(Failure(absent(namespace, name))),
    }
}

/// Says that there is no connection of this name.
pub(super) fn absent(namespace: &str, name: &str) -> String {
    format!("no BucketConnection {name} in namespace {namespace}; bucketconnection get -A lists all")
}

fn unreadable(namespace: &str, name: &str, error: &str) -> Failure {
    Failure(format!("BucketConnection {namespace}/{name} cannot be read: {error}; correct it, or use the version of its CRD"))
}

/// Which connections: by name, by labels, or all.
#[derive(clap::Args)]
pub(super) struct Selection {
    /// Names of BucketConnections
    #[arg(value_name = "NAME", conflicts_with = "selector")]
    pub names: Vec<String>,

    /// BucketConnections with these labels, such as team=a,stage!=test
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub selector: Option<String>,

    /// Namespace of the BucketConnections [default: that of the kubeconfig's context]
    #[arg(short, long, value_name = "NAMESPACE", conflicts_with = "all_namespaces")]
    pub namespace: Option<String>,

    /// BucketConnections of all namespaces
    #[arg(short = 'A', long, conflicts_with = "names")]
    pub all_namespaces: bool,

    #[command(flatten)]
    pub cluster: Cluster,
}

/// What the cluster has of a selection.
pub(super) struct Selected {
    /// The client that read them.
    pub client: Client,
    /// The connections, by namespace and name; or for each that is missing or cannot be read, why.
    pub objects: Vec<Result<BucketConnection, Failure>>,
}

impl Selection {
    /// The namespace that is meant, unless it is all of them.
    pub(super) fn namespace<'a>(&'a self, client: &'a Client) -> &'a str {
        self.namespace.as_deref().unwrap_or_else(|| client.default_namespace())
    }

    /// Why nothing is selected, in words.
    pub(super) fn nothing(&self, client: &Client) -> String {
        let labels = self.selector.as_ref().map(|labels| format!(" with the labels {labels}")).unwrap_or_default();
        let place =
            if self.all_namespaces { "any namespace".to_owned() } else { format!("namespace {}", self.namespace(client)) };
        format!("no BucketConnection{labels} in {place}")
    }

    /// Whether it names connections, or selects them by labels.
    pub(super) fn is_narrow(&self) -> bool {
        !self.names.is_empty() || self.selector.is_some()
    }

    /// Reads the connections. Without names and labels: all of the namespace, or of all namespaces. Labels that no
    /// connection has are an error: they may be misspelled.
    pub(super) async fn read(&self) -> Result<Selected, Failure> {
        let client = self.cluster.client().await?;
        let namespace = self.namespace(&client);
        if !self.names.is_empty() {
            let read = self.names.iter().map(|name| connection(&client, namespace, name));
            let objects = futures::future::join_all(read).await;
            return Ok(Selected { client, objects });
        }
        let objects: Api<DeserializeGuard<BucketConnection>> =
            if self.all_namespaces { Api::all(client.clone()) } else { Api::namespaced(client.clone(), namespace) };
        let mut which = ListParams::default();
        which.label_selector.clone_from(&self.selector);
        let listed = call("list bucketconnections", objects.list(&which)).await?;
        let readable = |object: DeserializeGuard<BucketConnection>| {
            let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
            object.0.map_err(|invalid| unreadable(&namespace, &name, &invalid.error))
        };
        if self.selector.is_some() && listed.items.is_empty() {
            return Err(Failure(self.nothing(&client)));
        }
        Ok(Selected { client, objects: listed.items.into_iter().map(readable).collect() })
    }

    /// Reads the connections that a command changes: these must be named or selected.
    pub(super) async fn read_to_change(&self) -> Result<Selected, Failure> {
        if !self.is_narrow() {
            return Err(Failure("name a BucketConnection, or select some with -l".to_owned()));
        }
        self.read().await
    }
}
