//! A short hash of the desired state of each section. It distinguishes drift from a change of the spec or its account.

use crate::vocabulary::digest::digest;
use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Desired;

/// Bytes of a fingerprint.
const LENGTH: usize = 6;

impl Desired {
    /// Fingerprints by section (see `Action::section`).
    pub fn fingerprints(&self) -> BTreeMap<&'static str, String> {
        let mut wanted = self.bucket.settings.wanted();
        wanted.push(("bucket", json!(self.bucket.arn)));
        if self.identity.is_managed() {
            wanted.extend(self.identity());
        }
        wanted.into_iter().map(|(section, wanted)| (section, fingerprint(&wanted))).collect()
    }

    /// What identifies a managed key.
    fn identity(&self) -> [(&'static str, Value); 4] {
        let Self { user, policy, secret, access, .. } = self;
        [
            ("user", json!([user.arn, user.tags, user.boundary])),
            ("policy", json!([policy.identity(), policy.document])),
            ("credentials", json!(secret)),
            ("access", json!(access)),
        ]
    }
}

fn fingerprint(wanted: &Value) -> String {
    digest(wanted.to_string(), LENGTH)
}
