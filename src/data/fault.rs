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
        /// Which other objects it concerns.
        reach: Reach,
    },
    /// Something about this object alone: its name, or that it changed.
    #[error("{0}")]
    Object(String),
    /// Ctrl-C, or a fault of another object that ends everything.
    #[error("stopped")]
    Stopped,
}

/// Which objects a fault of the file system concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// One file.
    One,
    /// Perhaps all files of the folder that is written: it is read-only, or the disk is broken.
    Target,
    /// All: the disk is full.
    All,
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Self::Call(Box::new(problem))
    }
}

impl Fault {
    /// An error of the file system in reading `path`.
    pub(super) fn reading(path: &Path) -> impl Fn(io::Error) -> Self + '_ {
        move |error| Self::Local { text: format!("{}: {error}", path.display()), reach: Reach::One }
    }

    /// An error of the file system in writing `path`.
    pub(super) fn writing(path: &Path) -> impl Fn(io::Error) -> Self + '_ {
        use io::ErrorKind::*;
        move |error| {
            let reach = match error.kind() {
                StorageFull | QuotaExceeded => Reach::All,
                // These depend on the name or on the size.
                InvalidFilename | InvalidInput | NotADirectory | IsADirectory | AlreadyExists | FileTooLarge => Reach::One,
                _ => Reach::Target,
            };
            Self::Local { text: format!("{}: {error}", path.display()), reach }
        }
    }

    /// An error of the file system at the folder `path`, which contains everything that is written.
    pub(super) fn of_all(path: &Path) -> impl Fn(io::Error) -> Self + '_ {
        move |error| Self::Local { text: format!("{}: {error}", path.display()), reach: Reach::All }
    }

    /// The text, after the name of what failed if it does not begin with it.
    pub fn about(&self, name: &str) -> String {
        let text = self.to_string();
        if text.starts_with(&format!("{name}: ")) { text } else { format!("{name}: {text}") }
    }

    /// Whether every further transfer would fail for the same reason.
    pub(super) fn ends_all(&self) -> bool {
        match self {
            Self::Call(problem) => {
                problem.class == Class::BadKey || matches!(problem.class, Class::Elsewhere(_)) || problem.code == "NoSuchBucket"
            }
            Self::Local { reach, .. } => *reach == Reach::All,
            Self::Object(_) => false,
            Self::Stopped => true,
        }
    }

    /// What other objects may fail for too; `None` if the fault is about this object alone.
    pub(super) fn cause(&self) -> Option<&'static str> {
        match self {
            Self::Call(problem) => match problem.class {
                Class::Denied => Some("denied"),
                Class::Unavailable | Class::Throttled => Some("unavailable"),
                _ if problem.code.starts_with("KMS.") => Some("kms"),
                _ => None,
            },
            Self::Local { reach: Reach::Target, .. } => Some("target"),
            _ => None,
        }
    }

    /// Whether the key lacks a permission: for this object alone, or since the key was revoked.
    pub fn is_denied(&self) -> bool {
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
        let disk = |kind: io::ErrorKind| Fault::writing(Path::new("/x"))(kind.into());
        assert!(disk(io::ErrorKind::StorageFull).ends_all() && !disk(io::ErrorKind::PermissionDenied).ends_all());
        assert!(disk(io::ErrorKind::ReadOnlyFilesystem).cause().is_some() && disk(io::ErrorKind::IsADirectory).cause().is_none());
        let unreadable = Fault::reading(Path::new("/x"))(io::ErrorKind::PermissionDenied.into());
        assert_eq!(unreadable.cause(), None);
        assert_eq!(unreadable.about("/x"), "/x: permission denied");
        assert_eq!(unreadable.about("y"), "y: /x: permission denied");
    }
}
