//! Which cluster, which namespace, and as whom: the options that kubectl has.

use std::path::PathBuf;

use kube::api::{Api, ListParams};
use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, Resource};

use super::Failure;
use crate::kubernetes::call;
use crate::telemetry::Requests;
use crate::vocabulary::problem::Problem;

/// The Kubernetes cluster.
#[derive(clap::Args)]
pub(super) struct Cluster {
    /// kubeconfig file [default: $KUBECONFIG, ~/.kube/config, or the service account of the pod]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig [default: its current context]
    #[arg(long, value_name = "NAME")]
    context: Option<String>,

    /// User to impersonate
    #[arg(long = "as", value_name = "USER")]
    user: Option<String>,

    /// Group to impersonate; may be repeated
    #[arg(long = "as-group", value_name = "GROUP", requires = "user")]
    groups: Vec<String>,

    /// Id that distinguishes this cluster from others that use the same AWS account; it is part of every ownership tag, so keep it if
    /// you rebuild the cluster [default: uid of the namespace kube-system]
    #[arg(long, value_name = "ID", env = "BUCKETCONNECTION_CLUSTER_ID", value_parser = cluster_id)]
    pub cluster_id: Option<String>,
}

fn cluster_id(text: &str) -> Result<String, String> {
    let fits = !text.is_empty() && text.len() <= 64 && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if fits { Ok(text.to_owned()) } else { Err("use up to 64 letters, digits and - _ .".to_owned()) }
}

impl Cluster {
    /// A client of the cluster. Its default namespace is that of the context.
    pub(super) async fn client(&self) -> Result<Client, Failure> {
        let mut config = self.config().await?;
        if self.user.is_some() {
            config.auth_info.impersonate.clone_from(&self.user);
            config.auth_info.impersonate_groups = Some(self.groups.clone()).filter(|groups| !groups.is_empty());
        }
        let builder = ClientBuilder::try_from(config).map_err(|error| Failure(format!("cannot talk to Kubernetes: {error}")))?;
        // It counts its requests.
        Ok(builder.with_layer(&Requests).build())
    }

    async fn config(&self) -> Result<Config, Failure> {
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let config = match &self.kubeconfig {
            Some(file) => {
                let kubeconfig =
                    Kubeconfig::read_from(file).map_err(|error| Failure(format!("--kubeconfig {}: {error}", file.display())))?;
                Config::from_custom_kubeconfig(kubeconfig, &options).await
            }
            None if self.context.is_some() => Config::from_kubeconfig(&options).await,
            None => {
                let hint = "set KUBECONFIG or --kubeconfig, or run in a pod";
                let inferred = Config::infer().await;
                return inferred.map_err(|error| Failure(format!("no Kubernetes cluster to talk to; {hint}: {error}")));
            }
        };
        config.map_err(|error| Failure(format!("the kubeconfig cannot be used: {error}")))
    }
}

/// Whether the API server knows the kind of these objects, and allows listing them. `action` is what to report.
pub(super) async fn listable<K>(objects: &Api<K>, action: &str) -> Result<(), Problem>
where
    K: Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    call(action, async { objects.list_metadata(&ListParams::default().limit(1)).await.map(drop) }).await
}

/// The cluster, and a namespace in it.
#[derive(clap::Args)]
pub(super) struct Namespaced {
    /// Namespace of the BucketConnections [default: that of the kubeconfig's context]
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,

    #[command(flatten)]
    pub cluster: Cluster,
}

impl Namespaced {
    /// A client, and the namespace to use with it.
    pub(super) async fn client(&self) -> Result<(Client, String), Failure> {
        let client = self.cluster.client().await?;
        let namespace = self.namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
        Ok((client, namespace))
    }
}
