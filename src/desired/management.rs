//! Which sections of a connection are enforced, observed or ignored.

use serde::Serialize;

use super::SpecError;
use crate::api::{ManagementMode, ManagementSpec};
use crate::settings::SettingId;

const DEFAULT: &str = "default";
/// Sections other than the bucket's settings.
const SECTIONS: [&str; 5] = ["bucket", "user", "policy", "credentials", "access"];

/// The modes of all sections.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Management(ManagementSpec);

impl Management {
    /// The modes of a spec; unknown sections are reported in `errors`.
    pub(super) fn new(spec: &ManagementSpec, errors: &mut Vec<SpecError>) -> Self {
        let known: Vec<_> = [DEFAULT].into_iter().chain(sections()).collect();
        for name in spec.keys().filter(|name| !known.contains(&name.as_str())) {
            let text = format!("{name} is not a section (allowed: {})", known.join(", "));
            errors.push(SpecError::new("spec.management", text));
        }
        Self(spec.clone())
    }

    /// The modes of a spec that may have errors.
    pub fn of_spec(spec: &ManagementSpec) -> Self {
        Self(spec.clone())
    }

    /// The mode of a section: a setting by the last part of its field, or bucket, user, policy, credentials, access.
    pub fn of(&self, section: &str) -> ManagementMode {
        self.0.get(section).or_else(|| self.0.get(DEFAULT)).copied().unwrap_or_default()
    }

    /// Whether nothing is enforced.
    pub fn hands_off(&self) -> bool {
        sections().all(|section| self.of(section) != ManagementMode::Enforce)
    }

    /// Whether everything is enforced: then a new object may be created without reading first.
    pub fn enforces_all(&self) -> bool {
        sections().all(|section| self.of(section) == ManagementMode::Enforce)
    }
}

fn sections() -> impl Iterator<Item = &'static str> {
    SECTIONS.into_iter().chain(SettingId::ALL.iter().map(|setting| setting.name()))
}
