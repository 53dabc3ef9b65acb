//! The causes of moves, in words: for the plan and for Events.

use std::fmt;

use super::moves::{Because, Issue, Move};
use super::ring::{Rotation, Why};

impl Move {
    /// Why the move acts on the key `id`, or why a key is issued if that is `None`. `None` if the move needs no
    /// explanation.
    pub fn why(&self, id: Option<&str>) -> Option<String> {
        match (self, id) {
            (Self::Issue(Issue { why, .. }), None) => Some(why.to_string()),
            (Self::Issue(Issue { room, .. }), Some(id)) if room.iter().any(|gone| gone == id) => {
                Some("it makes room for the new key".to_owned())
            }
            (Self::Issue(_), Some(_)) => Some(Because::Replaced.to_string()),
            (Self::DeleteOrphan(_), _) => {
                Some("an interrupted attempt issued it, and no Secret has its secret access key".to_owned())
            }
            (Self::Delete { because, .. }, _) => Some(because.to_string()),
            (Self::Deactivate(_), _) => Some("its overlap has ended".to_owned()),
            (Self::Activate(_), _) => Some("the Secret holds it".to_owned()),
            _ => None,
        }
    }
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Replaced => "another key has replaced it",
            Self::NeverPublished => "it does not work, and was never published",
            Self::Unused => "its overlap has ended, and it was not used since it was replaced",
        })
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NewUser => f.write_str("the user is new"),
            Self::NoKey => f.write_str("no Secret holds a key of the user"),
            Self::Revoked(ids) if ids.len() > 1 => write!(f, "access keys {} were revoked", ids.join(", ")),
            Self::Revoked(ids) => write!(f, "access key {} was revoked", ids.join(", ")),
            Self::Deleted(id) => write!(f, "access key {id} was deleted"),
            Self::Expired(id) => write!(f, "access key {id} has expired"),
            Self::InactiveOfOthers(id) => {
                write!(f, "access key {id} in the Secret is Inactive, and this operator did not create it")
            }
            Self::WrongSecret(id) => write!(f, "the Secret holds a wrong secret access key for {id}"),
            Self::OtherUser(id, arn) => write!(f, "access key {id} in the Secret belongs to {arn}"),
            Self::Rotation(id, Rotation::Due) => write!(f, "access key {id} is due for rotation"),
            Self::Rotation(id, Rotation::Requested) => write!(f, "a rotation of access key {id} was requested"),
        }
    }
}
