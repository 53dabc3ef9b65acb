//! Why a transfer failed, in words for the person who started it.

use std::io;
use std::path::Path;

use crate::vocabulary::problem::{Class, Problem};

/// Why one object was not transferred, or why nothing more can be.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Fault {
    /// S3 refused a call, or did not answer. The text names the object.
    #[error("{}", told(.0))]
    Call(Box<Problem>),
    /// The file system refused something.
    #[error("{text}")]
    Local {
        /// What failed.
        text: String,
        /// Nothing else can work either: the disk is full.
        full: bool,
    },
    /// Something about this object alone: its name, or that it changed.
    #[error("{0}")]
    Object(String),
    /// Ctrl-C, or a fault of another object that ends everything.
    #[error("stopped")]
    Stopped,
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Self::Call(Box::new(problem))
    }
}

impl Fault {
    /// An error of the file system at `path`.
    pub(super) fn at(path: &Path) -> impl Fn(io::Error) -> Self + '_ {
        move |error| {
            let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
            Self::Local { text: format!("{}: {error}", path.display()), full }
        }
    }

    /// Whether every further transfer would fail for the same reason.
    pub(super) fn ends_all(&self) -> bool {
        match self {
            Self::Call(problem) => {
                problem.class == Class::BadKey || matches!(problem.class, Class::Elsewhere(_)) || problem.code == "NoSuchBucket"
            }
            Self::Local { full, .. } => *full,
            Self::Object(_) => false,
            Self::Stopped => true,
        }
    }

    /// Whether the key lacks a permission: for this object alone, or since the key was revoked.
    pub(super) fn is_denied(&self) -> bool {
        matches!(self, Self::Call(problem) if problem.class == Class::Denied)
    }

    pub(super) fn code(&self) -> &str {
        if let Self::Call(problem) = self { &problem.code } else { "" }
    }
}

/// The answer of S3, with what to do about it.
fn told(problem: &Problem) -> String {
    let hint = match problem.code.as_str() {
        "PreconditionFailed" | "ConditionalRequestConflict" => "; the object changed while it was read: copy it again",
        "InvalidObjectState" => "; the object is archived: restore it first",
        "BadDigest" => "; the file changed while it was read: copy it again",
        "NoSuchBucket" => "; bucketconnection status shows the state of the bucket",
        "RequestTimeTooSkewed" => "; set the clock of this machine",
        _ => match problem.class {
            Class::Denied => "; the policy of the connection does not allow this, or something else denies it",
            Class::BadKey => {
                "; the key was deleted, rotated or revoked: bucketconnection status shows which. Repeat the command to use the current key"
            }
            _ => "",
        },
    };
    format!("{}{hint}", problem.brief())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_of_one_object_does_not_end_all() {
        let call = |class, code: &str| Fault::from(Problem::new(class, "s3:GetObject", code, ""));
        assert!(call(Class::BadKey, "InvalidAccessKeyId").ends_all());
        assert!(call(Class::Missing, "NoSuchBucket").ends_all());
        assert!(!call(Class::Missing, "NoSuchKey").ends_all());
        assert!(!call(Class::Denied, "AccessDenied").ends_all());
        let disk = |kind: io::ErrorKind| Fault::at(Path::new("/x"))(kind.into());
        assert!(disk(io::ErrorKind::StorageFull).ends_all() && !disk(io::ErrorKind::PermissionDenied).ends_all());
    }
}
