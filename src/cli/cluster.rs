//! Which cluster, which namespace, and as whom: the options that kubectl has.

use std::path::PathBuf;

use kube::api::{Api, ListParams};
use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config, Resource};

use super::Failure;
use crate::controller::NotOpened;
use crate::kubernetes::call;
use crate::telemetry::Requests;
use crate::vocabulary::problem::{Class, Problem, Source};

/// The heading of these options in the help. `next_help_heading` would also be that of the options that follow.
const HEADING: &str = "Cluster";

/// The Kubernetes cluster.
#[derive(clap::Args)]
pub(super) struct Cluster {
    /// kubeconfig file [default: $KUBECONFIG, ~/.kube/config, or the service account of the pod]
    #[arg(help_heading = HEADING, long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// Context of the kubeconfig [default: its current context]
    #[arg(help_heading = HEADING, long, value_name = "NAME")]
    context: Option<String>,

    /// User to impersonate
    #[arg(help_heading = HEADING, long = "as", value_name = "USER")]
    user: Option<String>,

    /// Group to impersonate; may be repeated
    #[arg(help_heading = HEADING, long = "as-group", value_name = "GROUP", requires = "user")]
    groups: Vec<String>,

    /// Id that distinguishes this cluster from others that use the same AWS account; it is part of every ownership tag, so keep it if
    /// you rebuild the cluster [default: uid of the namespace kube-system]
    #[arg(help_heading = HEADING, long, value_name = "ID", env = "BUCKETCONNECTION_CLUSTER_ID", value_parser = cluster_id)]
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
        let program = config.auth_info.exec.as_ref().and_then(|exec| exec.command.clone());
        let hint =
            program.map(|program| format!("; check that {program} runs: it signs in for the kubeconfig")).unwrap_or_default();
        let builder = ClientBuilder::try_from(config);
        let builder = builder.map_err(|error| Failure(format!("cannot sign in to Kubernetes: {error}{hint}")))?;
        // It counts its requests.
        Ok(builder.with_layer(&Requests).build())
    }

    /// The server and the credentials of the options, of the kubeconfig, or of the pod.
    async fn config(&self) -> Result<Config, Failure> {
        let set = std::env::var_os("KUBECONFIG").is_some_and(|files| !files.is_empty());
        if self.kubeconfig.is_none() && self.context.is_none() && !set {
            let hint = "set KUBECONFIG or --kubeconfig, or run in a pod";
            let inferred = Config::infer().await;
            return inferred.map_err(|error| Failure(format!("no Kubernetes cluster to talk to; {hint}: {error}")));
        }
        let (source, read) = match &self.kubeconfig {
            Some(file) => ("--kubeconfig", Kubeconfig::read_from(file)),
            None if set => ("KUBECONFIG", Kubeconfig::read()),
            None => ("kubeconfig", Kubeconfig::read()),
        };
        let kubeconfig = read.map_err(|error| Failure(format!("{source}: {}", unusable(&error))))?;
        let context = self.context.clone().or_else(|| kubeconfig.current_context.clone());
        let known: Vec<_> = kubeconfig.contexts.iter().map(|context| context.name.as_str()).collect();
        if let Some(context) = context.filter(|context| !known.contains(&context.as_str())) {
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(Failure(format!("the kubeconfig has no context {context}; select one with --context: {known}")));
        }
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
        config.map_err(|error| Failure(format!("{source}: {}", unusable(&error))))
    }
}

/// Why a kubeconfig cannot be used. The parser's own text can quote lines of the file, which contains credentials.
fn unusable(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::ReadConfig(error, file) => format!("{}: {error}", file.display()),
        _ => error.to_string().lines().next().unwrap_or_default().to_owned(),
    }
}

/// What a person at a terminal can do about a failed call. The problem's own advice is for the operator.
pub(super) fn explain(problem: &Problem) -> String {
    let reads = problem.action.starts_with("list ") || problem.action.starts_with("watch ");
    let advice = match (problem.source, &problem.class) {
        (Source::Kubernetes, Class::Denied) if problem.code == "Unauthorized" => {
            "sign in again: the API server does not accept the credentials of the kubeconfig, or no longer"
        }
        (Source::Kubernetes, Class::Denied) if reads && problem.action.ends_with(" bucketconnections") => {
            "ask an administrator of the cluster for this permission, or name a namespace with -n that you can read"
        }
        (Source::Kubernetes, Class::Denied) => "ask an administrator of the cluster for this permission",
        (Source::Kubernetes, Class::Missing) if reads => {
            "are the CRDs installed? bucketconnection crds | kubectl apply --server-side -f -"
        }
        (Source::Kubernetes, Class::Unavailable) => {
            "check that the API server runs, and that you can reach the server of the kubeconfig's context"
        }
        (Source::Aws, Class::Denied) if problem.action != "sts:AssumeRole" => {
            "allow this action for the identity that you sign in as; aws sts get-caller-identity shows which that is"
        }
        (Source::Aws, Class::BadKey) => match problem.code.as_str() {
            "NoCredentials" => {
                "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; with SSO, run aws sso login, then eval \"$(aws configure export-credentials --format env)\""
            }
            "ExpiredToken" | "ExpiredTokenException" => "sign in to AWS again: these temporary credentials have expired",
            "RequestTimeTooSkewed" => "set the clock of this machine",
            "RegionDisabledException" => return problem.to_string(),
            _ => "check the AWS credentials here: AWS_PROFILE, or AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN",
        },
        _ => return problem.to_string(),
    };
    format!("{}; {advice}", problem.brief())
}

/// Why the operator would not open an account; the credentials are those of the person at the terminal, unless the account
/// names others.
pub(super) fn not_opened(NotOpened { blocker, .. }: &NotOpened) -> String {
    match &blocker.problem {
        Some(problem) if blocker.message == problem.to_string() => explain(problem),
        _ => blocker.message.clone(),
    }
}

/// Whether the API server knows the kind of these objects, and allows listing them. `action` is what to report.
pub(super) async fn listable<K>(objects: &Api<K>, action: &str) -> Result<(), Problem>
where
    K: Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    call(action, async { objects.list_metadata(&ListParams::default().limit(1)).await.map(drop) }).await
}

/// Where the operator runs.
#[derive(clap::Args)]
pub(super) struct OperatorNamespace {
    /// Namespace of the operator itself, with its leases and the key that seals the statuses
    #[arg(
        id = "operator-namespace",
        long = "operator-namespace",
        value_name = "NAMESPACE",
        env = "BUCKETCONNECTION_OPERATOR_NAMESPACE",
        default_value = "bucketconnection-system"
    )]
    pub namespace: String,
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A person at a terminal has another kubeconfig and other credentials than the operator.
    #[test]
    fn advice_is_for_the_person_at_the_terminal() {
        let of_cluster = |class, action| explain(&Problem::at(Source::Kubernetes, class, action, "Code", ""));
        let of_aws = |class, action, code: &str| explain(&Problem::new(class, action, code, ""));
        let table = [
            (of_cluster(Class::Denied, "list bucketconnections"), "name a namespace with -n"),
            (of_cluster(Class::Denied, "list awsaccounts"), "ask an administrator of the cluster for this permission"),
            (of_cluster(Class::Missing, "list bucketconnections"), "are the CRDs installed?"),
            (of_cluster(Class::Missing, "patch bucketconnections"), "patch bucketconnections: Code"),
            (of_cluster(Class::Unavailable, "get secrets"), "check that the API server runs"),
            (of_aws(Class::BadKey, "sts:GetCallerIdentity", "NoCredentials"), "set AWS_PROFILE, or AWS_ACCESS_KEY_ID"),
            (of_aws(Class::BadKey, "sts:GetCallerIdentity", "InvalidClientTokenId"), "check the AWS credentials here"),
            (of_aws(Class::BadKey, "sts:GetCallerIdentity", "ExpiredToken"), "sign in to AWS again"),
            (of_aws(Class::Denied, "s3:GetBucketCORS", "AccessDenied"), "the identity that you sign in as"),
            (of_aws(Class::Denied, "sts:AssumeRole", "AccessDenied"), "trust policy"),
        ];
        for (text, advice) in table {
            assert!(text.contains(advice) && !text.contains("operator's own"), "{text}: without {advice:?}");
        }
    }
}
