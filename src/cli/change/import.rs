//! `bucketconnection import`.

use std::process::ExitCode;
use std::sync::Arc;

use crate::api::{Budget, Preset, SignIn};
use crate::aws::{Aws, Identity, Sessions};
use crate::cli::Failure;
use crate::cli::cluster::{Namespaced, explain, not_opened};
use crate::cli::terminal::{print, warn};
use crate::controller::open_account;
use crate::desired::names;
use crate::kubernetes::Kubernetes;
use crate::render::import::{Found, Wish, import};
use crate::sdk;
use crate::vocabulary::problem::Class;

/// The region in which a bucket is searched for first, if the environment names none.
const REGION: &str = "us-east-1";
/// The AWSAccount in the YAML without a cluster.
const ACCOUNT: &str = "default";

/// Write the YAML of what exists in AWS, such that adopting it changes nothing
///
/// Reads every setting of the bucket, and with --user the IAM user and its policy, and prints a BucketConnection that describes them:
/// with the preset whose policy the user has, or else with the policy's statements. Adoption then adds only ownership tags. What a spec
/// cannot express stays as it is; comments in the YAML and warnings name it. Changes nothing, and reads no secret. Signs in with your
/// own AWS credentials, or with --account as the operator does.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  bucketconnection import --bucket lab-a-genomics --user illumina_ica_admin > genomics.yaml
  kubectl bucketconnection import --bucket lab-a --account default --prefix runs/ > lab.yaml
  kubectl bucketconnection plan -f genomics.yaml

See docs/adoption.md.")]
pub(in crate::cli) struct Import {
    /// Name of the bucket
    #[arg(long, value_name = "NAME")]
    bucket: String,

    /// Name of the IAM user that the platform signs in as; without it, the operator creates a new user
    // Another id: `user` is that of --as.
    #[arg(id = "iam-user", long = "user", value_name = "NAME")]
    user: Option<String>,

    /// Sign in through this AWSAccount of the cluster, and name it in accountRef [default: your own AWS credentials, and the AWSAccount
    /// default]
    #[arg(long, value_name = "ACCOUNT")]
    account: Option<String>,

    /// Keep using an existing key that is in this Secret: the operator then manages no user, no policy and no key
    #[arg(long, value_name = "NAME")]
    secret: Option<String>,

    /// Preset [default: the one whose policy the user has, or a guess]
    #[arg(long, value_name = "PRESET", value_parser = preset)]
    preset: Option<Preset>,

    /// Prefix of the connection, such as runs/ [default: the one in the user's policy, or the whole bucket]
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,

    /// Name of the BucketConnection [default: the name of the bucket]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    #[command(flatten)]
    cluster: Namespaced,
}

fn preset(text: &str) -> Result<Preset, String> {
    let known = "IlluminaICA, CLCGenomics, ReadOnly, ReadWrite, WriteOnly or Custom";
    serde_json::from_value(text.into()).map_err(|_| format!("use {known}"))
}

impl Import {
    pub(in crate::cli) async fn run(&self) -> Result<ExitCode, Failure> {
        let name = self.name.clone().unwrap_or_else(|| self.bucket.clone());
        if !names::is_object_name(&name) {
            return Err(Failure(format!("--name {name}: use lower-case letters, digits, dots and hyphens")));
        }
        let environment = sdk::environment().await?;
        let region = environment.region().map_or(REGION, |region| region.as_ref()).to_owned();
        let sessions = Sessions::new(environment);
        let (aws, identity, namespace) = self.sign_in(&sessions).await?;
        let account = &identity.account;
        let found = aws.existing_bucket(&region, &self.bucket, &account.id).await?;
        let missing = || {
            Failure(format!(
                "the account {} has no bucket {}: correct --bucket, or sign in to another account",
                account.id, self.bucket
            ))
        };
        let (region, live) = found.ok_or_else(missing)?;
        let user = match &self.user {
            Some(name) => {
                let hint = "correct --user, or leave it out for a new user";
                let missing = || Failure(format!("the account {} has no IAM user {name}: {hint}", account.id));
                let read = aws.existing_user(name).await.map_err(|problem| {
                    let hint = "; the operator's policy covers its own path only: sign in with your own AWS credentials, without --account";
                    let denied = problem.class == Class::Denied && self.account.is_some();
                    Failure(format!("IAM user {name}: {}{}", explain(&problem), if denied { hint } else { "" }))
                });
                Some(read?.ok_or_else(missing)?)
            }
            None => None,
        };
        let wish = Wish {
            namespace,
            name,
            account: self.account.clone().unwrap_or_else(|| ACCOUNT.to_owned()),
            preset: self.preset,
            prefix: self.prefix.clone(),
            secret: self.secret.clone(),
        };
        let found = Found { bucket: &self.bucket, region: &region, account, live: &live, user: user.as_ref() };
        let import = import(&wish, &found);
        import.notes.iter().for_each(|note| warn(note));
        print(&import.yaml(&found).map_err(Failure)?);
        Ok(ExitCode::SUCCESS)
    }

    /// Signs in; also the namespace to write.
    async fn sign_in(&self, sessions: &Sessions) -> Result<(Arc<Aws>, Identity, Option<String>), Failure> {
        let Some(name) = &self.account else {
            let aws = sessions.open("", &SignIn::default(), Budget::default(), None).await;
            let identity = aws.identity().await?;
            return Ok((aws, identity, self.cluster.namespace.clone()));
        };
        let (client, namespace) = self.cluster.client().await?;
        let kubernetes = Kubernetes::new(client, self.cluster.cluster.cluster_id.clone()).await?;
        let account = kubernetes.account(name).await?;
        let account =
            account.ok_or_else(|| Failure(format!("the cluster has no AWSAccount {name}: kubectl get awsaccount lists all")))?;
        let opened = open_account(&account, sessions, &kubernetes).await;
        let (aws, identity) = opened.map_err(|refused| Failure(format!("AWSAccount {name}: {}", not_opened(&refused))))?;
        Ok((aws, identity, Some(namespace)))
    }
}
