//! `bucketconnection export`.

use std::io::{IsTerminal, stderr, stdin};
use std::path::PathBuf;
use std::process::ExitCode;

use kube::ResourceExt;
use zeroize::Zeroizing;

use super::handover;
use crate::cli::Failure;
use crate::cli::cluster::Namespaced;
use crate::cli::connections::connection;
use crate::cli::key::Access;
use crate::cli::terminal::{confirm, is_terminal, print};
use crate::credentials::Sensitive;
use crate::render::handoff::{Handoff, Piece, Target, quoted};

/// Show a connection as a platform or a program wants it
///
/// Prints the fields of the platform's dialogs in their order, or a configuration file. Reads the key in the connection's Secret with
/// your own permissions. The secret part is shown as (secret), unless you add --show-secret: then it goes to a file that only you
/// can read (-o), to the clipboard (--clipboard), or to another program. On a terminal, the command asks first.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  kubectl bucketconnection export genomics --ica

  # Then paste it into Secret Access Key
  kubectl bucketconnection export genomics --ica --show-secret --clipboard

  kubectl bucketconnection export genomics --rclone --show-secret -o genomics.conf
  eval \"$(kubectl bucketconnection export genomics --env --show-secret)\"")]
#[command(group = clap::ArgGroup::new("target").required(true))]
pub(in crate::cli) struct Export {
    /// Name of the BucketConnection
    #[arg(value_name = "NAME")]
    name: String,

    /// Illumina Connected Analytics: storage credential, then storage configuration
    #[arg(long, group = "target")]
    ica: bool,

    /// QIAGEN CLC Server: the dialog Add AWS Connection
    #[arg(long, group = "target")]
    clc: bool,

    /// A profile for ~/.aws/config, for the AWS CLI and the AWS SDKs
    #[arg(long, group = "target")]
    aws_config: bool,

    /// A remote for rclone.conf
    #[arg(long, group = "target")]
    rclone: bool,

    /// Variables for a POSIX shell
    #[arg(long, group = "target")]
    env: bool,

    /// Show the secret part of the key
    #[arg(long)]
    show_secret: bool,

    /// Write to a new file that only you can read (mode 0600)
    #[arg(short, long, value_name = "FILE", requires = "show_secret", conflicts_with = "clipboard")]
    output: Option<PathBuf>,

    /// With -o: replace the file if it exists
    #[arg(long, requires = "output")]
    force: bool,

    /// Copy to the clipboard: with --ica and --clc only the secret part, otherwise the whole text
    #[arg(long, requires = "show_secret")]
    clipboard: bool,

    /// Show the secret part on the terminal without a question
    #[arg(long, requires = "show_secret", conflicts_with_all = ["output", "clipboard"])]
    to_terminal: bool,

    #[command(flatten)]
    cluster: Namespaced,
}

impl Export {
    pub(in crate::cli) async fn run(&self) -> Result<ExitCode, Failure> {
        let (client, namespace) = self.cluster.client().await?;
        let object = connection(&client, &namespace, &self.name).await?;
        let access = Access::read(&client, &object).await?;
        let handoff = Handoff {
            name: object.name_any(),
            bucket: access.bucket.clone(),
            region: access.region.clone(),
            prefix: access.prefix.clone(),
            partition: access.partition.clone(),
            key_id: access.key.id.clone(),
            kms_key: Handoff::kms_key(&object),
        };
        let pieces = handoff.pieces(self.target());
        let (open, whole) = (shown(&pieces, "(secret)"), || filled(&pieces, &access.key.secret));
        if !self.show_secret {
            print(&open);
        } else if let Some(file) = &self.output {
            handover::to_file(file, &whole(), self.force)?;
            print(&format!("{}: written, with the secret part of {}\n", file.display(), access.key.id));
        } else if self.clipboard {
            let (text, what) = match self.target() {
                Target::Ica | Target::Clc => (Zeroizing::new(access.key.secret.reveal().to_owned()), "the secret part"),
                Target::AwsConfig | Target::Rclone | Target::Env => (whole(), "the whole text"),
            };
            let program = handover::to_clipboard(&text)?;
            print(&shown(&pieces, "(in the clipboard)"));
            print(&format!("\n{what} of {} is in the clipboard ({program}); clear it when you have pasted it\n", access.key.id));
        } else {
            self.may_show(&access.key.id).await?;
            print(&whole());
        }
        Ok(ExitCode::SUCCESS)
    }

    fn target(&self) -> Target {
        match self {
            Self { ica: true, .. } => Target::Ica,
            Self { clc: true, .. } => Target::Clc,
            Self { aws_config: true, .. } => Target::AwsConfig,
            Self { rclone: true, .. } => Target::Rclone,
            _ => Target::Env,
        }
    }

    /// A pipe or a file may have the secret; a terminal, whose lines others may see and keep, only if the user says so.
    async fn may_show(&self, id: &str) -> Result<(), Failure> {
        if !is_terminal() || self.to_terminal {
            return Ok(());
        }
        if !(stdin().is_terminal() && stderr().is_terminal()) {
            let text =
                "standard output is a terminal; add --to-terminal to show the secret part on it, or use -o FILE or --clipboard";
            return Err(Failure(text.to_owned()));
        }
        let question = format!("The terminal keeps what it shows. Show the secret part of {id} on it?");
        if confirm(&question, "yes", "--to-terminal").await? {
            return Ok(());
        }
        Err(Failure("the secret part is not shown; -o FILE and --clipboard do not show it on the terminal".to_owned()))
    }
}

/// The text with `secret` in the place of the secret part.
fn shown(pieces: &[Piece], secret: &str) -> String {
    let text = |piece: &Piece| match piece {
        Piece::Text(text) => text.clone(),
        Piece::Secret => secret.to_owned(),
        Piece::QuotedSecret => quoted(secret),
    };
    pieces.iter().map(text).collect()
}

/// The text with the secret part; it is wiped from memory.
fn filled(pieces: &[Piece], secret: &Sensitive) -> Zeroizing<String> {
    let mut parts = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => parts.push(text.as_str()),
            Piece::Secret => parts.push(secret.reveal()),
            // In parts: `quoted` would leave a copy behind.
            Piece::QuotedSecret => {
                parts.push("'");
                for (index, part) in secret.reveal().split('\'').enumerate() {
                    parts.extend((index > 0).then_some(r"'\''"));
                    parts.push(part);
                }
                parts.push("'");
            }
        }
    }
    // With the whole size from the start: a string that grows leaves copies behind too.
    let mut whole = Zeroizing::new(String::with_capacity(parts.iter().map(|part| part.len()).sum()));
    parts.iter().for_each(|part| whole.push_str(part));
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_part_is_one_word_of_the_shell() {
        let pieces = [Piece::Text("a=".to_owned()), Piece::QuotedSecret, Piece::Text("\nb=".to_owned()), Piece::Secret];
        for secret in ["wJal+/K7", "it's'"] {
            let expected = format!("a={}\nb={secret}", quoted(secret));
            assert_eq!(*filled(&pieces, &Sensitive::new(secret.to_owned())), expected);
        }
    }
}
