//! What Tab offers for an argument: names from the cluster and from the kubeconfig.
//!
//! The cluster and the namespace are those of the command line so far. A cluster that does not answer within seconds
//! offers nothing: no error may appear between the words of a command line.

use std::ffi::OsStr;
use std::time::Duration;

use clap::{Arg, ArgAction, Parser};
use clap_complete::engine::{ArgValueCandidates, ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::config::Kubeconfig;
use kube::{Api, Client, ResourceExt};

use crate::api::{AWSAccount, BucketConnection};
use crate::cli::cluster::Namespaced;

/// How long a person waits for Tab.
const PATIENCE: Duration = Duration::from_secs(2);
/// More names than a person reads.
const NAMES: u32 = 1_000;
/// The options that say which cluster and namespace.
const OPTIONS: [&str; 6] = ["-n", "--namespace", "--kubeconfig", "--context", "--as", "--as-group"];

/// Adds to an argument what its values can be.
pub(super) fn of(argument: Arg) -> Arg {
    let takes_value = matches!(argument.get_action(), ArgAction::Set | ArgAction::Append);
    let value = argument.get_value_names().and_then(|names| names.first()).map(ToString::to_string).unwrap_or_default();
    let candidates = match (argument.get_long(), value.as_str()) {
        (Some("context"), _) => ArgValueCandidates::new(contexts),
        (Some("namespace"), _) if takes_value => ArgValueCandidates::new(namespaces),
        (None, "NAME" | "NAME[/PATH]") => ArgValueCandidates::new(connections),
        (None, name) if name.starts_with("NAME:") || name.starts_with("NAME[:") => {
            return argument.add(ArgValueCompleter::new(buckets));
        }
        (None, "SOURCE" | "TARGET") => return argument.add(ArgValueCompleter::new(places)),
        (_, "ACCOUNT") if takes_value => ArgValueCandidates::new(accounts),
        _ => return argument,
    };
    argument.add(candidates)
}

/// The options of the command line so far that say which cluster and namespace.
#[derive(Parser)]
struct Place {
    #[command(flatten)]
    namespaced: Namespaced,
}

impl Place {
    fn of(words: impl Iterator<Item = String>) -> Option<Self> {
        let mut words = words.peekable();
        let mut known = vec![String::new()];
        while let Some(word) = words.next() {
            if OPTIONS.contains(&word.as_str()) {
                known.push(word);
                known.extend(words.next());
            } else if OPTIONS.iter().any(|option| word.starts_with(&format!("{option}="))) {
                known.push(word);
            }
        }
        Self::try_parse_from(known).ok()
    }
}

fn contexts() -> Vec<CompletionCandidate> {
    let file = Place::of(std::env::args()).and_then(|place| place.namespaced.cluster.kubeconfig);
    let kubeconfig = file.map_or_else(Kubeconfig::read, Kubeconfig::read_from);
    let contexts = kubeconfig.map(|kubeconfig| kubeconfig.contexts).unwrap_or_default();
    contexts.into_iter().map(|context| CompletionCandidate::new(context.name)).collect()
}

fn namespaces() -> Vec<CompletionCandidate> {
    listed(|client, _| names(Api::<Namespace>::all(client)))
}

fn accounts() -> Vec<CompletionCandidate> {
    listed(|client, _| names(Api::<AWSAccount>::all(client)))
}

fn connections() -> Vec<CompletionCandidate> {
    listed(|client, namespace| names(Api::<BucketConnection>::namespaced(client, &namespace)))
}

/// Local paths and buckets.
fn places(current: &OsStr) -> Vec<CompletionCandidate> {
    let mut found = PathCompleter::any().complete(current);
    found.extend(buckets(current));
    found
}

/// Connections, with the colon between their name and a path in the bucket.
fn buckets(current: &OsStr) -> Vec<CompletionCandidate> {
    let start = current.to_string_lossy();
    if start.contains(['/', '.', ':']) {
        return Vec::new();
    }
    let named = connections().into_iter().map(|name| name.get_value().to_string_lossy().into_owned() + ":");
    named.filter(|name| name.starts_with(&*start)).map(CompletionCandidate::new).collect()
}

async fn names<K>(objects: Api<K>) -> kube::Result<Vec<String>>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let listed = objects.list_metadata(&ListParams::default().limit(NAMES)).await?;
    Ok(listed.items.iter().map(ResourceExt::name_any).collect())
}

/// What the cluster of the command line answers, if it does in time.
fn listed<F: Future<Output = kube::Result<Vec<String>>>>(list: impl FnOnce(Client, String) -> F) -> Vec<CompletionCandidate> {
    let ask = async {
        let (client, namespace) = Place::of(std::env::args())?.namespaced.client().await.ok()?;
        list(client, namespace).await.ok()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let answer = runtime.map(|runtime| runtime.block_on(async { tokio::time::timeout(PATIENCE, ask).await }));
    let names = answer.ok().and_then(Result::ok).flatten().unwrap_or_default();
    names.into_iter().map(CompletionCandidate::new).collect()
}
