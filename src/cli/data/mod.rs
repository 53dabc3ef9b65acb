//! Commands about the data in a bucket, with the connection's own key.

mod browse;
mod cp;
mod du;
mod ls;
mod mkdir;
mod presign;
mod progress;
mod rm;
mod sync;
mod transfer;

use std::process::ExitCode;
use std::sync::Arc;

use aws_config::SdkConfig;
use clap::Subcommand;
use kube::{Api, Client};
use tokio::signal::unix::{SignalKind, signal};

use super::cluster::Namespaced;
use super::connections::connection;
use super::key::Access;
use super::terminal::warn;
use super::{Failure, INTERRUPTED};
use crate::api::{AWSAccount, Preset};
use crate::data::{self, Engine, Fault, Store};
use crate::kubernetes::find;
use crate::sdk;

/// Commands about the data in a bucket.
#[derive(Subcommand)]
pub(super) enum Data {
    Browse(browse::Browse),
    Ls(ls::Ls),
    Cp(cp::Cp),
    Sync(sync::Sync),
    Rm(rm::Rm),
    Mkdir(mkdir::Mkdir),
    Presign(presign::Presign),
    Du(du::Du),
}

impl Data {
    pub(super) async fn run(&self) -> Result<ExitCode, Failure> {
        match self {
            Self::Browse(command) => command.run().await,
            Self::Ls(command) => command.run().await,
            Self::Cp(command) => command.run().await,
            Self::Sync(command) => command.run().await,
            Self::Rm(command) => command.run().await,
            Self::Mkdir(command) => command.run().await,
            Self::Presign(command) => command.run().await,
            Self::Du(command) => command.run().await,
        }
    }
}

/// Where connections are.
#[derive(clap::Args)]
struct Where {
    /// Endpoint of S3 [default: that of the AWSAccount, if you may read it; otherwise AWS's own]
    #[arg(long, value_name = "URL")]
    endpoint_url: Option<String>,

    #[command(flatten)]
    namespaced: Namespaced,
}

/// How to understand a path in a bucket.
#[derive(clap::Args, Clone, Copy, Default)]
struct Paths {
    /// Take `*` and `?` in a path as characters, not as a pattern
    #[arg(long)]
    raw: bool,
}

impl Paths {
    /// Whether a path means all objects that match it.
    fn is_pattern(self, path: &str) -> bool {
        !self.raw && path.contains(['*', '?'])
    }
}

/// Opens the buckets of connections.
struct Stores {
    client: Client,
    namespace: String,
    config: SdkConfig,
    endpoint: Option<String>,
}

impl Where {
    async fn stores(&self) -> Result<Stores, Failure> {
        let (client, namespace) = self.namespaced.client().await?;
        Ok(Stores { client, namespace, config: sdk::network().await?, endpoint: self.endpoint_url.clone() })
    }

    /// The bucket of the connection that an address names, and the path in it.
    async fn store(&self, address: &str) -> Result<(Arc<Store>, String), Failure> {
        let (name, path) = data::Address::parse_remote(address)?;
        Ok((self.stores().await?.open(&name).await?, path))
    }
}

impl Stores {
    /// Opens the bucket of a connection. Reads its Secret with the permissions of the user of the command.
    async fn open(&self, name: &str) -> Result<Arc<Store>, Failure> {
        let object = connection(&self.client, &self.namespace, name).await?;
        let access = Access::read(&self.client, &object).await?;
        let endpoint = match &self.endpoint {
            Some(url) => Some(url.clone()),
            None => self.endpoint_of(&object.spec.account_ref.name).await,
        };
        let place = (access.connection.as_str(), access.bucket.as_str(), access.prefix.as_str());
        let mut store = Store::new(&self.config, endpoint.as_deref(), &access.key, &access.region, place);
        store.is_ica = object.spec.preset == Preset::IlluminaICA;
        Ok(Arc::new(store))
    }

    /// The endpoint in the AWSAccount. Most users may not read AWSAccounts, and need not.
    async fn endpoint_of(&self, account: &str) -> Option<String> {
        let accounts: Api<AWSAccount> = Api::all(self.client.clone());
        let account = find(&accounts, "awsaccounts", account).await.ok()??;
        let endpoints = account.spec.sign_in.endpoints;
        endpoints.s3.or(endpoints.url)
    }
}

/// Lets Ctrl-C stop the engine.
fn stoppable(engine: Engine) -> Arc<Engine> {
    let stop = engine.stop.clone();
    if let Ok(mut interrupts) = signal(SignalKind::interrupt()) {
        tokio::spawn(async move {
            interrupts.recv().await;
            stop.cancel();
        });
    }
    Arc::new(engine)
}

/// Says on standard error what holds for ICA.
fn note_for_ica(store: &Store, key: &str) {
    if store.is_ica && !key.contains('/') {
        warn(
            "note: this is at the root of the bucket. An ICA project that uses the root blocks the bucket for all other projects; use a folder",
        );
    }
}

/// The exit code, and the text for people, when something ended a command early.
fn ended(fault: &Fault, connections: &[&str]) -> ExitCode {
    match fault {
        Fault::Stopped => ExitCode::from(INTERRUPTED),
        fault => {
            warn(&format!("{}: stopped: {fault}", connections.join(", ")));
            ExitCode::FAILURE
        }
    }
}
