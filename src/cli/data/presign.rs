//! `bucketconnection presign`.

use std::process::ExitCode;
use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

use super::Where;
use crate::cli::Failure;
use crate::cli::terminal::{print, warn};
use crate::data::{flaw_of_key, key_for};

/// The longest time that a signature of an access key is valid.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Print a link with which anyone can read an object, for a limited time
///
/// The link is signed with the connection's key. It ends when its time has passed, or when the key is deleted: by a rotation after its
/// overlap, or by a revocation.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  bucketconnection presign genomics:42/report.html --expires 1h")]
pub(in crate::cli) struct Presign {
    /// NAME:path or NAME/path, with the name of a BucketConnection
    #[arg(value_name = "NAME:PATH")]
    address: String,

    /// How long the link is valid, such as 30m, 12h or 7d, which is the longest
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = expires)]
    expires: Duration,

    /// A link to write the object, with PUT
    #[arg(long)]
    put: bool,

    #[command(flatten)]
    place: Where,
}

fn expires(text: &str) -> Result<Duration, String> {
    let span: Span = text.parse().map_err(|_| "write a time such as 30m, 12h or 7d".to_owned())?;
    let time = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|error| error.to_string())?;
    match Duration::try_from(time) {
        Ok(time) if (Duration::from_secs(1)..=LONGEST).contains(&time) => Ok(time),
        _ => Err("a link is valid for 1s to 7d".to_owned()),
    }
}

impl Presign {
    pub(in crate::cli) async fn run(&self) -> Result<ExitCode, Failure> {
        let (store, path) = self.place.store(&self.address).await?;
        let key = key_for(&store.prefix, &path);
        let failed = |fault| Failure(format!("{}: {key}: {fault}", store.connection));
        if key.is_empty() {
            return Err(Failure(format!("{}: name an object after the colon", self.address)));
        }
        if let Some(flaw) = flaw_of_key(&key).filter(|_| self.put) {
            return Err(Failure(flaw));
        }
        if !self.put && !store.has(&key).await.map_err(failed)? {
            warn(&format!("note: there is no object {key} yet"));
        }
        print(&format!("{}\n", store.presign(&key, self.expires, self.put).await.map_err(failed)?));
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_valid_for_at_most_seven_days() {
        assert_eq!(expires("90m"), Ok(Duration::from_secs(5_400)));
        assert_eq!(expires("7d"), Ok(LONGEST));
        for wrong in ["8d", "0s", "-1h", "soon", "1y", ""] {
            assert!(expires(wrong).is_err(), "{wrong}");
        }
    }
}
