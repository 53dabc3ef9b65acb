//! What is known of a setting without a spec and without a bucket: for the documentation, and for what stands in for S3 in tests.

use super::Setting;
use crate::vocabulary::conditions::ConditionType;

/// What S3 answers where a setting is not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unset {
    /// 404 with this error code.
    Code(&'static str),
    /// This element, with nothing in it.
    Empty(&'static str),
}

/// What the documentation says of a setting. It ends in rows of Markdown tables.
#[derive(Clone, Copy, Debug)]
pub struct Docs {
    /// What the setting is; what its actions are for.
    pub purpose: &'static str,
    /// Which changes take protection from the bucket.
    pub weaker: &'static str,
    /// What the operator keeps of what others have set.
    pub kept: &'static str,
}

/// The constants of a [`Setting`], as values.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the constants of the trait have the documentation")]
pub struct Facts {
    pub field: &'static str,
    pub part: ConditionType,
    pub actions: &'static [&'static str],
    pub subresource: &'static str,
    pub unset: Unset,
    pub docs: Docs,
}

impl Facts {
    pub(super) fn of<S: Setting>() -> Self {
        let (field, part, actions) = (S::FIELD, S::PART, S::ACTIONS);
        Self { field, part, actions, subresource: S::SUBRESOURCE, unset: S::UNSET, docs: S::DOCS }
    }
}

/// A write, and how it goes over the wire.
#[derive(Clone, Debug)]
pub struct Example<W> {
    /// The write.
    pub write: W,
    /// The body of its request, without namespace.
    pub body: &'static str,
    /// The body of the answer to a read after it.
    pub answer: &'static str,
}

impl<W> Example<W> {
    /// S3 gives back what it was sent.
    pub(super) fn new(write: W, body: &'static str) -> Self {
        Self { write, body, answer: body }
    }

    pub(super) fn map<V>(self, into: impl Fn(W) -> V) -> Example<V> {
        Example { write: into(self.write), body: self.body, answer: self.answer }
    }
}
