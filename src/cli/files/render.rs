//! `bucketconnection render`.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use kube::ResourceExt;
use serde_json::{Map, Value};

use super::Files;
use crate::api::BucketConnection;
use crate::cli::Failure;
use crate::cli::operator::account_id;
use crate::cli::terminal::{print_json, warn};
use crate::desired::Desired;
use crate::manifest::{self, Found, Manifest};
use crate::render::documents;
use crate::render::findings::{line, word};

/// Print a document that the operator would write, as JSON
///
/// Prints exactly what the operator writes for the BucketConnections of files, to compare it with a guide or for a security review:
/// names, defaults of the AWSAccount in the files and the statements of the preset are filled in. For several BucketConnections, the
/// output is an object with a document for each. A document that the operator does not write is null. The command calls neither AWS
/// nor Kubernetes.
#[derive(Args)]
#[command(after_help = "Examples:
  bucketconnection render policy -f connection.yaml
  bucketconnection render cors -f connection.yaml | diff - guide.json
  bucketconnection render policy -f connections/ lab-a/genomics
  bucketconnection iam-policy -f connection.yaml       # what the operator itself needs")]
pub(in crate::cli) struct Render {
    #[command(subcommand)]
    document: Document,
}

#[derive(Subcommand)]
enum Document {
    /// The policy of the IAM user, as it is sent to IAM
    #[command(visible_alias = "iam-policy")]
    Policy(Which),
    /// The CORS rules of the bucket, as the S3 console shows them
    Cors(Which),
    /// The policy that a bucket without a policy of its own gets
    BucketPolicy(Which),
    /// The Secret, with the secrets left out
    Secret(Which),
}

#[derive(Args)]
struct Which {
    #[command(flatten)]
    files: Files,

    /// Only these BucketConnections of the files, as name or namespace/name
    #[arg(value_name = "NAME")]
    names: Vec<String>,

    /// Namespace of objects without one; it is part of a user's name if the spec sets none
    #[arg(short, long, value_name = "NAMESPACE", default_value = "default")]
    namespace: String,

    /// Id of the AWS account [default: that of the AWSAccount in the files]
    #[arg(long, value_name = "ID", value_parser = account_id)]
    account_id: Option<String>,
}

impl Render {
    pub(in crate::cli) fn run(&self) -> Result<ExitCode, Failure> {
        let (which, document): (_, fn(&Desired, &str) -> Value) = match &self.document {
            Document::Policy(which) => (which, |desired, _| documents::policy(desired)),
            Document::Cors(which) => (which, |desired, _| documents::cors(desired)),
            Document::BucketPolicy(which) => (which, |desired, _| documents::bucket_policy(desired)),
            Document::Secret(which) => (which, documents::secret),
        };
        let manifest = which.manifest()?;
        let chosen = which.chosen(&manifest)?;
        let (mut rendered, mut findings) = (Map::new(), manifest.flaws.clone());
        for found in &chosen {
            let namespace = found.object.as_ref().and_then(ResourceExt::namespace).unwrap_or_default();
            match manifest::desired(&manifest, found, which.account_id.as_deref()) {
                Ok(desired) => drop(rendered.insert(found.name.clone(), document(&desired, &namespace))),
                Err(errors) => findings.extend(errors),
            }
        }
        match chosen.len() {
            1 => rendered.values().try_for_each(print_json)?,
            _ => print_json(&rendered)?,
        }
        findings.iter().for_each(|finding| warn(&line(finding, word(finding.severity))));
        Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Which {
    fn manifest(&self) -> Result<Manifest, Failure> {
        if self.files.files.is_empty() {
            return Err(Failure("pass the files with -f".to_owned()));
        }
        self.files.texts().connections(&self.namespace)
    }

    fn chosen<'m>(&self, manifest: &'m Manifest) -> Result<Vec<&'m Found<BucketConnection>>, Failure> {
        if self.names.is_empty() {
            return Ok(manifest.connections.iter().collect());
        }
        let mut chosen = Vec::new();
        for name in &self.names {
            let is = |found: &&Found<BucketConnection>| found.name == *name || found.name.rsplit('/').next() == Some(name);
            let before = chosen.len();
            chosen.extend(manifest.connections.iter().filter(is));
            if chosen.len() == before {
                return Err(Failure(format!("no BucketConnection {name} in the files")));
            }
        }
        Ok(chosen)
    }
}
