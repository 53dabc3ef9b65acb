//! Which names and tags belong to a run. Everything that a run creates has a name that begins with its id, and a tag
//! with its id. Nothing else may be changed or deleted.

use std::collections::BTreeMap;

/// Every id, and so every name, begins with this.
pub const PREFIX: &str = "bc-live-";
/// The tag: its value is the id of the run.
pub const TAG: &str = "bc-live";
/// IAM path of the run's own users and policies; those of connections are under the operator's path.
pub const PATH: &str = "/bc-live/";
/// Buckets, and users, that a run may have at a time.
pub const MOST: usize = 6;
/// The operator's ownership tag, `<cluster>/<namespace>/<name>`. The namespace of a run is its id.
const OWNER_TAG: &str = "bucketconnection.dev/owner";
const RANDOM: usize = 10;

pub type Tags = BTreeMap<String, String>;

/// A run, by its id: `bc-live-` and ten random characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Run(String);

impl Run {
    /// A new run.
    pub fn new() -> Self {
        let random: String = (0..RANDOM).map(|_| fastrand::char('a'..='z')).collect();
        Self(format!("{PREFIX}{random}"))
    }

    /// The run that something of this name would belong to.
    pub fn of(name: &str) -> Option<Self> {
        let random = name.strip_prefix(PREFIX)?.get(..RANDOM)?;
        let run = Self(format!("{PREFIX}{random}"));
        (random.chars().all(|c| c.is_ascii_lowercase()) && run.has_name(name)).then_some(run)
    }

    pub fn id(&self) -> &str {
        &self.0
    }

    /// A name for something of this run.
    pub fn name(&self, part: &str) -> String {
        format!("{}-{part}", self.0)
    }

    /// Whether the name is one of this run: its id, then a hyphen or, in a user of a connection, a dot.
    pub fn has_name(&self, name: &str) -> bool {
        name.strip_prefix(&self.0).is_some_and(|rest| rest.len() > 1 && rest.starts_with(['-', '.']))
    }

    /// Whether the tags are those of this run: its own tag, or the operator's ownership tag for the run's namespace.
    pub fn has_tags(&self, tags: &Tags) -> bool {
        match tags.get(TAG) {
            Some(id) => *id == self.0,
            None => tags.get(OWNER_TAG).and_then(|owner| owner.split('/').nth(1)) == Some(&self.0),
        }
    }
}
