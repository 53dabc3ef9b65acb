//! Which access keys of a user are managed: the only place that decides this.

use crate::observed::{AccessKey, Ledger, Observed, Remembered, Secret};
use crate::settings::Reading;

/// What is known of the keys of one user, by their ids.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Owners {
    /// Keys in the recorded state.
    remembered: Vec<String>,
    /// Keys in the tag of the user.
    tagged: Vec<String>,
    /// Keys in a managed Secret. Tenants may write Secrets, so this alone allows no action that could do harm.
    held: Vec<String>,
    /// Keys that appeared while an attempt to issue a key was in progress.
    fitting: Vec<String>,
    /// The status knows no current key, so it cannot contradict anything.
    forgotten: bool,
}

impl Owners {
    /// Reads the owners from the recorded state, the Secrets, and the user with its list of keys.
    pub fn of(remembered: &Remembered, observed: &Observed) -> Self {
        let credentials = &remembered.credentials;
        let tags = observed.user.set().map(|user| Ledger::of_tags(&user.tags));
        Self {
            remembered: credentials.keys().cloned().collect(),
            tagged: tags.into_iter().flat_map(Ledger::keys).collect(),
            held: observed.secrets().flat_map(Secret::keys).map(|key| key.id).collect(),
            fitting: credentials.intent.as_ref().map(|intent| observed.explained_by(intent)).unwrap_or_default(),
            forgotten: credentials.access_key_id.is_none(),
        }
    }

    /// The one key that an attempt of the operator explains. If several keys fit, all but one are foreign, so none is
    /// chosen.
    pub fn explained(&self) -> Option<&String> {
        one(self.fitting.iter())
    }

    /// The one key that an attempt of the operator explains, and that is recorded nowhere else: its secret part is
    /// lost.
    pub fn orphan(&self) -> Option<&String> {
        one(self.unrecorded())
    }

    /// The keys that fit an attempt, and that are recorded nowhere else.
    fn unrecorded(&self) -> impl Iterator<Item = &String> {
        self.fitting.iter().filter(|id| !self.remembered.contains(id) && !self.held.contains(id))
    }

    /// Whether several keys fit an attempt, so that none of them counts as issued by it.
    pub fn ambiguous(&self) -> bool {
        self.unrecorded().count() > 1
    }

    /// Whether the key is managed.
    pub fn ours(&self, id: &String) -> bool {
        self.remembered.contains(id) || self.held.contains(id) || self.explained() == Some(id)
    }

    /// Whether more than a Secret says that the key is managed, if anything is recorded.
    pub fn issued_here(&self, id: &String) -> bool {
        self.forgotten || self.remembered.contains(id) || self.explained() == Some(id)
    }

    /// Whether the key is managed according to the recorded state, the user's tag or an attempt; Secrets do not count.
    pub fn accounted_for(&self, id: &String) -> bool {
        let known = |id: &String| self.remembered.contains(id) || self.tagged.contains(id);
        known(id) || one(self.fitting.iter().filter(|id| !known(id))) == Some(id)
    }

    /// Ids of active keys on the user that nothing accounts for: they would get the permissions of the user.
    pub fn strangers(&self, listed: &Reading<Vec<AccessKey>>) -> Vec<String> {
        let active = listed.set().into_iter().flatten().filter(|key| key.active).map(|key| key.id.clone());
        active.filter(|id| !self.accounted_for(id) && !self.held.contains(id)).collect()
    }
}

fn one<'a>(mut of: impl Iterator<Item = &'a String>) -> Option<&'a String> {
    let first = of.next()?;
    of.next().is_none().then_some(first)
}

#[cfg(all(test, not(feature = "operator")))]
impl Owners {
    /// Known keys, for tests of the machine.
    pub(super) fn for_tests(remembered: &[&str], held: &[&str], fitting: &[&str]) -> Self {
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
        Self { remembered: ids(remembered), tagged: Vec::new(), held: ids(held), fitting: ids(fitting), forgotten: false }
    }
}
