//! `bucketconnection iam-policy`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use kube::ResourceExt;

use super::{Failure, file, print};
use crate::api::BucketConnection;
use crate::desired::{self, Account, Terms, names};
use crate::observed::Remembered;
use crate::render::iam_policy::{self, LIMIT, Policy, Scope};

/// Print the IAM policy that the operator itself needs, as JSON to paste
///
/// For the BucketConnections of a file, exactly what these need: their buckets, users and policies by name, and no action that
/// none of them takes. Without a file, what any BucketConnection of an account may need. Asks nothing of AWS or Kubernetes.
#[derive(clap::Args)]
pub(super) struct IamPolicy {
    /// YAML file with BucketConnections, as you write them or as kubectl get -o yaml prints them; - reads standard input
    #[arg(short, long = "filename", value_name = "FILE")]
    file: Option<PathBuf>,

    /// Namespace of objects that name none; it is part of a user's name where the spec has none
    #[arg(short, long, value_name = "NAMESPACE", default_value = "default")]
    namespace: String,

    /// AWS account; with a file it must be known, from here or from the objects' status [default: the account that the policy is in]
    #[arg(long, value_name = "ID", value_parser = account_id)]
    account_id: Option<String>,

    /// Partition of the account; with a file its regions tell
    #[arg(long, value_name = "NAME", default_value = "aws", conflicts_with = "file",
          value_parser = ["aws", "aws-cn", "aws-us-gov", "aws-eusc", "aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f"])]
    partition: String,

    /// IAM path of users and managed policies (user.path)
    #[arg(long, value_name = "PATH", default_value = names::DEFAULT_PATH, conflicts_with = "file", value_parser = user_path)]
    user_path: String,

    /// Pattern of bucket names, such as lab-*; may be repeated [default: *]
    #[arg(long = "bucket", value_name = "PATTERN", conflicts_with = "file", value_parser = bucket)]
    buckets: Vec<String>,

    /// Instead: the policy for an identity from which an AWSAccount goes on to this role (credentials.assumeRole); may be repeated. The
    /// role in the account is what needs the rest
    #[arg(long = "assume-role", value_name = "ARN", conflicts_with_all = ["file", "buckets"], value_parser = role)]
    roles: Vec<String>,

    /// ARN of the permissions boundary that every user must have: without it no user is created and no right is given
    #[arg(long, value_name = "ARN", value_parser = boundary)]
    permissions_boundary: Option<String>,
}

impl IamPolicy {
    pub(super) fn run(&self) -> Result<ExitCode, Failure> {
        let policy = match &self.file {
            Some(file) => self.for_file(file)?,
            None if !self.roles.is_empty() => iam_policy::for_roles(&self.roles),
            None => iam_policy::for_account(&Scope {
                partition: &self.partition,
                account_id: self.account_id.as_deref(),
                user_path: &self.user_path,
                buckets: &self.buckets,
                permissions_boundary: self.permissions_boundary.as_deref(),
            }),
        };
        print(&policy.to_string());
        if policy.size() > LIMIT {
            let text = format!(
                "bucketconnection: the policy has {} characters, a managed policy may have {LIMIT}: split the file, or leave it out and use --bucket\n",
                policy.size()
            );
            let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
        }
        Ok(ExitCode::SUCCESS)
    }

    fn for_file(&self, file: &Path) -> Result<Policy, Failure> {
        let mut objects = file::read(file)?;
        let account_id = self.account_of(&objects, file)?;
        let mut connections = Vec::new();
        for object in &mut objects {
            object.metadata.namespace.get_or_insert_with(|| self.namespace.clone());
            let account = Account { id: account_id.clone(), partition: names::partition_of(&object.spec.region).to_owned() };
            let mut terms = Terms::default();
            terms.defaults.permissions_boundary.clone_from(&self.permissions_boundary);
            let desired = desired::resolve(object, "", &account, &terms).map_err(|errors| {
                let lines: Vec<_> = errors.iter().map(|error| format!("\n  {error}")).collect();
                Failure(format!("{} cannot be carried out:{}", object.name_any(), lines.concat()))
            })?;
            connections.push((desired, Remembered::of(object)));
        }
        let partitions: BTreeSet<_> = connections.iter().map(|(desired, _)| &desired.account.partition).collect();
        if partitions.len() > 1 {
            return Err(Failure(format!(
                "{}: regions of several partitions ({partitions:?}), which no account spans",
                file.display()
            )));
        }
        Ok(iam_policy::for_connections(&connections, self.permissions_boundary.as_deref()))
    }

    /// The account that the ARNs name: a policy that names none would be no least privilege.
    fn account_of(&self, objects: &[BucketConnection], file: &Path) -> Result<String, Failure> {
        if let Some(id) = &self.account_id {
            return Ok(id.clone());
        }
        let known: BTreeSet<_> = objects.iter().filter_map(|object| object.status.as_ref()?.account_id.clone()).collect();
        let mut ids = known.iter();
        match (ids.next(), ids.next()) {
            (Some(id), None) => Ok(id.clone()),
            (None, _) => Err(Failure(format!(
                "{}: no object has a status that tells the AWS account; name it, such as --account-id 123456789012",
                file.display()
            ))),
            (Some(_), Some(_)) => Err(Failure(format!(
                "{}: the objects are in several AWS accounts ({}), and each has a policy of its own: split the file",
                file.display(),
                known.iter().cloned().collect::<Vec<_>>().join(", ")
            ))),
        }
    }
}

fn account_id(text: &str) -> Result<String, String> {
    let fits = text.len() == 12 && text.chars().all(|c| c.is_ascii_digit());
    if fits { Ok(text.to_owned()) } else { Err("an account id has 12 digits".to_owned()) }
}

fn user_path(text: &str) -> Result<String, String> {
    let fits =
        text.starts_with('/') && text.ends_with('/') && text.chars().all(|c| c.is_ascii_alphanumeric() || "+=,.@_-/".contains(c));
    if fits { Ok(text.to_owned()) } else { Err("a path begins and ends with \"/\", such as /bucketconnection/".to_owned()) }
}

fn bucket(text: &str) -> Result<String, String> {
    let fits = !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.*?".contains(c));
    if fits { Ok(text.to_owned()) } else { Err("use the characters of bucket names, and * or ?, such as lab-*".to_owned()) }
}

fn role(text: &str) -> Result<String, String> {
    let fits =
        text.starts_with("arn:aws") && text.contains(":iam::") && text.contains(":role/") && !text.contains(['*', '?', '$']);
    if fits {
        Ok(text.to_owned())
    } else {
        Err("use the ARN of a role, such as arn:aws:iam::123456789012:role/bucketconnection".to_owned())
    }
}

fn boundary(text: &str) -> Result<String, String> {
    let mut parts = text.splitn(6, ':');
    let arn = parts.next() == Some("arn")
        && parts.next().is_some_and(|partition| partition.starts_with("aws"))
        && parts.next() == Some("iam")
        && parts.next() == Some("")
        && parts.next().is_some_and(|account| account == "aws" || account_id(account).is_ok())
        && parts.next().is_some_and(|name| name.starts_with("policy/") && !name.contains(['*', '?', '$']));
    if arn {
        Ok(text.to_owned())
    } else {
        Err("use the ARN of a policy, such as arn:aws:iam::123456789012:policy/boundary".to_owned())
    }
}
