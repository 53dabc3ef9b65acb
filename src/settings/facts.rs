//! What is known of a setting without a spec or a bucket: for the documentation, and for the replacements of S3 in
//! tests.

use super::Setting;
use crate::vocabulary::conditions::ConditionType;

/// What S3 answers if a setting is not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unset {
    /// 404 with this error code.
    Code(&'static str),
    /// This element, empty.
    Empty(&'static str),
}

/// What the documentation says about a setting. The texts become rows of Markdown tables.
#[derive(Clone, Copy, Debug)]
pub struct Docs {
    /// What the setting is; what its actions are for.
    pub purpose: &'static str,
    /// Which changes remove protection from the bucket.
    pub weaker: &'static str,
    /// Which foreign configuration the operator keeps.
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

/// A write, and its form on the wire.
#[derive(Clone, Debug)]
pub struct Example<W> {
    /// The write.
    pub write: W,
    /// The body of its request, without the XML namespace.
    pub body: &'static str,
    /// The body of the answer to a read after it.
    pub answer: &'static str,
}

impl<W> Example<W> {
    /// S3 returns exactly what it was sent.
    pub(super) fn new(write: W, body: &'static str) -> Self {
        Self { write, body, answer: body }
    }

    pub(super) fn map<V>(self, into: impl Fn(W) -> V) -> Example<V> {
        Example { write: into(self.write), body: self.body, answer: self.answer }
    }
}
