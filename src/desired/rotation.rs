//! When the operator rotates a key, and how long the previous key stays.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::SpecError;
use crate::api::{Period, RotationSpec};

/// Shortest interval between rotations.
const SHORTEST: SignedDuration = SignedDuration::from_secs(10);
/// Default overlap: how long the previous key stays.
const OVERLAP: SignedDuration = SignedDuration::from_hours(24);
/// The most by which a rotation is moved forward, as a fraction of the interval: 1/20 = 5 %.
const SPREAD: i32 = 20;

/// When the operator rotates the key.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DesiredRotation {
    /// Age at which a key is rotated; `None`: only on request.
    pub interval: Option<SignedDuration>,
    /// How long the previous key continues to work.
    pub overlap: SignedDuration,
}

impl DesiredRotation {
    /// The rotation that a spec asks for; its errors go to `errors`.
    pub(super) fn new(spec: Option<&RotationSpec>, errors: &mut Vec<SpecError>) -> Self {
        let length = |period: &Option<Period>| period.as_ref().map(Period::length);
        let interval = spec.and_then(|spec| length(&spec.interval));
        if interval.is_some_and(|interval| interval < SHORTEST) {
            errors.push(SpecError::new("spec.credentials.rotation.interval", "must be at least 10s"));
        }
        let shorter = |interval: SignedDuration| OVERLAP.min(interval / 2);
        let overlap = spec.and_then(|spec| length(&spec.overlap)).unwrap_or_else(|| interval.map_or(OVERLAP, shorter));
        if interval.is_some_and(|interval| overlap >= interval) {
            let text = "must be shorter than rotation.interval: AWS allows a user two access keys, so the operator must delete the previous key before it issues the next one";
            errors.push(SpecError::new("spec.credentials.rotation.overlap", text));
        }
        Self { interval, overlap }
    }

    /// When the key `id`, issued at `created`, is rotated. Each key is rotated a little before the interval ends, by an
    /// offset that its id determines: this spreads the rotations of many objects, and the time of one object never
    /// changes.
    pub fn next(&self, id: &str, created: Timestamp) -> Option<Timestamp> {
        let interval = self.interval?;
        let digest = Sha256::digest(id);
        let share = i32::from(digest[0]) * 256 + i32::from(digest[1]);
        let earlier = interval / SPREAD / 65_536 * share;
        let at = created.checked_add(interval).ok()?.checked_sub(earlier).ok()?;
        // The status has whole seconds.
        Timestamp::from_second(at.as_second()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rotation(interval: &str, overlap: Option<&str>) -> (DesiredRotation, Vec<SpecError>) {
        let spec = RotationSpec { interval: interval.parse().ok(), overlap: overlap.map(|text| text.parse().unwrap()) };
        let mut errors = Vec::new();
        (DesiredRotation::new(Some(&spec), &mut errors), errors)
    }

    #[test]
    fn the_overlap_fits_into_the_interval() {
        assert_eq!(rotation("90d", None).0.overlap, OVERLAP);
        assert_eq!(rotation("2h", None).0.overlap, SignedDuration::from_hours(1));
        assert_eq!(rotation("2h", Some("30m")).1, []);
        assert_eq!(rotation("2h", Some("2h")).1[0].field, "spec.credentials.rotation.overlap");
        assert_eq!(rotation("9s", Some("1s")).1[0].field, "spec.credentials.rotation.interval");
        assert_eq!(DesiredRotation::new(None, &mut Vec::new()), DesiredRotation { interval: None, overlap: OVERLAP });
    }

    #[test]
    fn keys_are_replaced_a_little_earlier_each_at_its_own_time() {
        let (rotation, _) = rotation("100d", None);
        let created = Timestamp::from_second(1_800_000_000).unwrap();
        let days = |id: &str| (rotation.next(id, created).unwrap() - created).total(jiff::Unit::Second).unwrap() / 86_400.0;
        let ages: Vec<_> = (0..200).map(|n| days(&format!("AKIA{n}"))).collect();
        assert!(ages.iter().all(|age| (95.0..=100.0).contains(age)), "{ages:?}");
        assert!(ages.iter().cloned().fold(f64::MAX, f64::min) < 96.0 && ages.iter().cloned().fold(0.0, f64::max) > 99.0);
        assert_eq!(days("AKIA1"), days("AKIA1"));
    }
}
