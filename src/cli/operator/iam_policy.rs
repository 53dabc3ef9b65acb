//! `bucketconnection iam-policy`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use kube::ResourceExt;

use crate::api::{AWSAccount, BucketConnection};
use crate::cli::Failure;
use crate::cli::files;
use crate::cli::terminal::{print, warn};
use crate::desired::tenancy::{self, Labels};
use crate::desired::{self, Account, Grant, names};
use crate::manifest::{Found, Manifest, explained};
use crate::observed::{Remembered, distrust};
use crate::render::findings;
use crate::render::iam_policy::{self, LIMIT, Policy, Scope};
use crate::vocabulary::conditions::Reason;

/// Print the IAM policy that the operator itself needs, as JSON
///
/// With a file, the policy allows only what its BucketConnections need: their buckets, users and policies by name, and only the
/// actions that they use. An AWSAccount in the file supplies its account id, defaults and entries; a Namespace supplies its labels.
/// The command leaves out BucketConnections that are invalid or that their account refuses, and prints a warning. Without a file,
/// the policy allows what any BucketConnection of an account can need. The command calls neither AWS nor Kubernetes.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  # For any BucketConnection with a bucket of the lab
  bucketconnection iam-policy --bucket 'lab-*'

  # For the objects of a folder, and nothing else
  bucketconnection iam-policy -f connections/ --account-id 123456789012

  # For an operator that assumes a role in the account
  bucketconnection iam-policy --assume-role arn:aws:iam::123456789012:role/bucketconnection")]
pub(in crate::cli) struct IamPolicy {
    /// YAML file with BucketConnections, as you write them or as kubectl get -o yaml prints them; or a directory of such files; or -
    /// for standard input
    #[arg(short, long = "filename", value_name = "FILE")]
    file: Option<PathBuf>,

    /// Namespace of objects without one; it is part of a user's name if the spec sets none
    #[arg(short, long, value_name = "NAMESPACE", default_value = "default")]
    namespace: String,

    /// Id of the AWS account; with a file it is required, unless an AWSAccount in the file or the objects' status has it [default: the account that the policy is in]
    #[arg(long, value_name = "ID", value_parser = account_id)]
    account_id: Option<String>,

    /// Partition of the account; with a file, the regions determine it
    #[arg(long, value_name = "NAME", default_value = "aws", conflicts_with = "file",
          value_parser = clap::builder::PossibleValuesParser::new(names::partitions()))]
    partition: String,

    /// IAM path of users and managed policies (user.path)
    #[arg(long, value_name = "PATH", default_value = names::DEFAULT_PATH, conflicts_with = "file", value_parser = user_path)]
    user_path: String,

    /// Pattern of bucket names, such as lab-*; may be repeated [default: *]
    #[arg(long = "bucket", value_name = "PATTERN", conflicts_with = "file", value_parser = bucket)]
    buckets: Vec<String>,

    /// Instead, print the policy of an identity that assumes this role (credentials.assumeRole); may be repeated. The role in the
    /// account needs the policy without this option
    #[arg(long = "assume-role", value_name = "ARN", conflicts_with_all = ["file", "buckets"], value_parser = role)]
    roles: Vec<String>,

    /// ARN of the permissions boundary that every user must have: the operator cannot create users or give permissions without it
    #[arg(long, value_name = "ARN", value_parser = boundary)]
    permissions_boundary: Option<String>,
}

impl IamPolicy {
    pub(in crate::cli) fn run(&self) -> Result<ExitCode, Failure> {
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
            warn(&format!(
                "the policy has {} characters, a managed policy may have {LIMIT}: split the file, or leave it out and use --bucket",
                policy.size()
            ));
        }
        Ok(ExitCode::SUCCESS)
    }

    fn for_file(&self, file: &Path) -> Result<Policy, Failure> {
        let shown = file.display();
        let contents = files::texts(&[file.to_owned()], false).connections(&self.namespace)?;
        if !contents.flaws.is_empty() {
            return Err(Failure(format!("{shown} is invalid:\n{}", findings::lines(&contents.flaws))));
        }
        let mut granted = Vec::new();
        for entry in &contents.connections {
            let object = entry.usable().cloned().map_err(|errors| format!("invalid:\n{}", findings::lines(&errors)));
            match object.and_then(|object| self.authorize(&object, &contents).map(|grant| (object, grant))) {
                Ok((object, grant)) => granted.push(Granted { entry, object, grant }),
                Err(text) => left_out(&entry.name, &text),
            }
        }
        let account_id = self.account_of(&granted, &contents).map_err(|text| Failure(format!("{shown}: {text}")))?;
        let mut connections = Vec::new();
        let mut boundaries: BTreeSet<_> = self.permissions_boundary.iter().cloned().map(Some).collect();
        for Granted { entry, object, grant } in &mut granted {
            let name = &entry.name;
            let account = contents.usable_account(&object.spec.account_ref.name).ok().flatten();
            let region = account.and_then(|account| account.spec.sign_in.region.as_ref()).unwrap_or(&object.spec.region);
            let account = Account { id: account_id.clone(), partition: names::partition_of(region).to_owned() };
            for doubt in distrust(object, &account, &grant.defaults) {
                warn(&format!("status discarded: {name}: {doubt}"));
            }
            match desired::resolve(object, "", &account, grant) {
                Ok(desired) => {
                    boundaries.insert(grant.defaults.permissions_boundary.clone());
                    connections.push((desired, Remembered::of(object)));
                }
                Err(errors) => left_out(name, &format!("invalid:\n{}", findings::lines(&explained(entry, &errors)))),
            }
        }
        if connections.is_empty() {
            return Err(Failure(format!("{shown}: no BucketConnection is left to print a policy for")));
        }
        let partitions: BTreeSet<_> = connections.iter().map(|(desired, _)| &desired.account.partition).collect();
        if partitions.len() > 1 {
            return Err(Failure(format!(
                "{shown}: regions of several partitions ({partitions:?}), but an account is in one partition"
            )));
        }
        if boundaries.len() > 1 {
            let all: Vec<_> = boundaries.into_iter().map(|boundary| boundary.unwrap_or_else(|| "none".to_owned())).collect();
            return Err(Failure(format!(
                "{shown}: several permissions boundaries ({}), and a policy has one: correct --permissions-boundary, or split the file",
                all.join(", ")
            )));
        }
        let boundary = boundaries.into_iter().next().flatten();
        Ok(iam_policy::for_connections(&connections, boundary.as_deref()))
    }

    /// The grant of the account, if it is in the file; or why the operator would refuse `object`.
    fn authorize(&self, object: &BucketConnection, contents: &Manifest) -> Result<Grant, String> {
        let conditions = object.status.iter().flat_map(|status| &status.conditions);
        let refused = |reason: &str| REFUSED.iter().any(|refused| refused.to_string() == reason);
        if let Some(condition) = conditions.into_iter().find(|condition| refused(&condition.reason)) {
            return Err(format!("its status says {}: {}", condition.reason, condition.message));
        }
        let name = &object.spec.account_ref.name;
        let mut grant = Grant::of_unknown_account();
        let account = contents.usable_account(name);
        if let Some(account) = account.map_err(|errors| format!("AWSAccount {name} is invalid:\n{}", findings::lines(&errors)))? {
            let namespace = object.namespace().unwrap_or_default();
            let labels = contents.labels.get(&namespace);
            grant = tenancy::authorize(object, labels.unwrap_or(&Labels::new()), account, 0).map_err(|refusal| {
                let unknown = labels.is_none() && tenancy::asks_labels(&account.spec, &namespace);
                let hint = if unknown { "; a selector decides: add the Namespace to the file, with its labels" } else { "" };
                format!("{}{hint}", refusal.message)
            })?;
        }
        let defaults = &mut grant.defaults;
        defaults.permissions_boundary = defaults.permissions_boundary.take().or_else(|| self.permissions_boundary.clone());
        Ok(grant)
    }

    /// The account for the ARNs: without an account id the policy would not be least privilege, and one policy is for
    /// one account. The status of a connection counts only if its AWSAccount does not have the id.
    fn account_of(&self, objects: &[Granted<'_>], contents: &Manifest) -> Result<String, String> {
        let mut known: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for Granted { object, .. } in objects {
            let name = &object.spec.account_ref.name;
            let account = contents.usable_account(name).ok().flatten();
            let of_status = || object.status.as_ref()?.memory.account_id.clone().filter(|id| account_id(id).is_ok());
            let id = account.and_then(account_id_of).or_else(of_status);
            known.entry(name).or_default().extend(id);
        }
        let mut ids: BTreeSet<_> = known.values().flatten().cloned().collect();
        ids.extend(self.account_id.clone());
        let unknown: Vec<_> = known.iter().filter(|(_, ids)| ids.is_empty()).map(|(name, _)| *name).collect();
        let mut all = ids.iter();
        match (all.next(), all.next()) {
            (_, Some(_)) => Err(format!(
                "several AWS accounts ({}), and each has a policy of its own: split the file by accountRef, or correct --account-id",
                ids.iter().cloned().collect::<Vec<_>>().join(", ")
            )),
            _ if known.len() > 1 && !unknown.is_empty() => {
                let of_unknown = |object: &&Granted<'_>| unknown.contains(&object.object.spec.account_ref.name.as_str());
                Err(format!(
                    "objects of several AWSAccounts, and nothing shows that {} is the same AWS account as the others ({}): split the file by accountRef, or add the AWSAccounts with their accountId",
                    unknown.join(", "),
                    objects.iter().filter(of_unknown).map(|object| object.entry.name.as_str()).collect::<Vec<_>>().join(", ")
                ))
            }
            (Some(id), None) => Ok(id.clone()),
            (None, _) if objects.is_empty() => Err("no BucketConnection is left to print a policy for".to_owned()),
            (None, _) => {
                Err("no status or AWSAccount in it has the id of the AWS account; pass it, such as --account-id 123456789012"
                    .to_owned())
            }
        }
    }
}

/// The account id in the spec of an account, or in its status.
fn account_id_of(account: &AWSAccount) -> Option<String> {
    account.spec.account_id.clone().or_else(|| account.status.as_ref()?.account_id.clone())
}

/// An object that the operator would reconcile, as far as the file shows.
struct Granted<'a> {
    entry: &'a Found<BucketConnection>,
    object: BucketConnection,
    grant: Grant,
}

/// Reasons in the status of an object that the operator does not reconcile until its spec or its account changes.
const REFUSED: [Reason; 3] = [Reason::NotAllowed, Reason::InvalidSpec, Reason::AccountNotFound];

/// An invalid object must not prevent a policy for the others.
fn left_out(name: &str, text: &str) {
    warn(&format!("left out: {name}: {text}"));
}

pub(in crate::cli) fn account_id(text: &str) -> Result<String, String> {
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
