//! `bucketconnection mkdir`.

use std::process::ExitCode;

use super::{Where, note_for_ica};
use crate::cli::Failure;
use crate::cli::terminal::{print, warn};
use crate::data::{folder, key_for};
use crate::render::printable;

/// Make an empty folder in a connection's bucket
///
/// S3 has no folders. This writes an empty object whose name ends in "/", as the AWS console does. You need no folder to copy
/// something into it.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  bucketconnection mkdir genomics:43")]
pub(in crate::cli) struct Mkdir {
    /// NAME:path or NAME/path, with the name of a BucketConnection
    #[arg(value_name = "NAME:PATH")]
    address: String,

    #[command(flatten)]
    place: Where,
}

impl Mkdir {
    pub(in crate::cli) async fn run(&self) -> Result<ExitCode, Failure> {
        let (store, path) = self.place.store(&self.address).await?;
        let key = folder(&key_for(&store.prefix, &path));
        if key.is_empty() {
            return Err(Failure(format!("{}: name a folder after the colon", self.address)));
        }
        note_for_ica(&store, &key);
        store.make_folder(&key).await.map_err(|fault| Failure(format!("{}: {key}: {fault}", store.connection)))?;
        print(&format!("made s3://{}/{}\n", store.bucket, printable(&key)));
        if store.is_ica {
            warn("note: ICA does not show an empty folder; it shows it when it contains a file");
        }
        Ok(ExitCode::SUCCESS)
    }
}
