//! Whose the access keys of a user are: the one place that knows.

use crate::observed::{AccessKey, Ledger, Observed, Remembered, Secret};
use crate::settings::Reading;

/// What is known of the keys of one user, by their ids.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Owners {
    /// In the memory of the status.
    remembered: Vec<String>,
    /// In the tag of the user.
    tagged: Vec<String>,
    /// In a Secret of ours. Tenants may write Secrets, so this alone allows nothing that could harm.
    held: Vec<String>,
    /// Appeared while an attempt to issue a key was under way.
    fitting: Vec<String>,
    /// The status knows no current key, so it can contradict nothing.
    forgotten: bool,
}

impl Owners {
    /// Reads who is who from the memory, the Secrets, and the user with its list of keys.
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

    /// The one key that an attempt of ours explains. Where several fit, all but one are foreign, so none is taken.
    pub fn explained(&self) -> Option<&String> {
        one(self.fitting.iter())
    }

    /// The one key that an attempt of ours explains, and that nothing else knows: nobody has its secret part.
    pub fn orphan(&self) -> Option<&String> {
        let known = |id: &&String| self.remembered.contains(id) || self.held.contains(id);
        one(self.fitting.iter().filter(|id| !known(id)))
    }

    /// Whether the key is ours.
    pub fn ours(&self, id: &String) -> bool {
        self.remembered.contains(id) || self.held.contains(id) || self.explained() == Some(id)
    }

    /// Whether more than a Secret says that the key is ours, where anything is known.
    pub fn issued_here(&self, id: &String) -> bool {
        self.forgotten || self.remembered.contains(id) || self.explained() == Some(id)
    }

    /// Whether the key is ours by the memory, the user's tag or an attempt; Secrets are not asked.
    pub fn accounted_for(&self, id: &String) -> bool {
        let known = |id: &String| self.remembered.contains(id) || self.tagged.contains(id);
        known(id) || one(self.fitting.iter().filter(|id| !known(id))) == Some(id)
    }

    /// Ids of the active keys on the user that nothing accounts for: they would get the rights that the user gets.
    pub fn strangers(&self, listed: &Reading<Vec<AccessKey>>) -> Vec<String> {
        let active = listed.set().into_iter().flatten().filter(|key| key.active).map(|key| key.id.clone());
        active.filter(|id| !self.accounted_for(id) && !self.held.contains(id)).collect()
    }
}

fn one<'a>(mut of: impl Iterator<Item = &'a String>) -> Option<&'a String> {
    let first = of.next()?;
    of.next().is_none().then_some(first)
}

#[cfg(test)]
impl Owners {
    /// What is known, for tests of the machine.
    pub(super) fn for_tests(remembered: &[&str], held: &[&str], fitting: &[&str]) -> Self {
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
        Self { remembered: ids(remembered), tagged: Vec::new(), held: ids(held), fitting: ids(fitting), forgotten: false }
    }
}
