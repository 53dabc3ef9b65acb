//! Lengths of time as kubectl shows them.

use jiff::{SignedDuration, Timestamp};

/// A length of time with at most two units, as `kubectl get` shows an age: `45s`, `3m20s`, `7h`, `2d5h`, `90d`.
pub fn duration(length: SignedDuration) -> String {
    let seconds = length.as_secs().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    let two = |large: i64, unit: char, small: i64, part: char| {
        if small == 0 { format!("{large}{unit}") } else { format!("{large}{unit}{small}{part}") }
    };
    match (seconds, minutes, hours, days) {
        (..120, ..) => format!("{seconds}s"),
        (_, ..10, ..) => two(minutes, 'm', seconds % 60, 's'),
        (_, ..180, ..) => format!("{minutes}m"),
        (_, _, ..8, _) => two(hours, 'h', minutes % 60, 'm'),
        (_, _, ..48, _) => format!("{hours}h"),
        (.., ..8) => two(days, 'd', hours % 24, 'h'),
        (.., ..730) => format!("{days}d"),
        (.., ..2_920) => two(days / 365, 'y', days % 365, 'd'),
        _ => format!("{}y", days / 365),
    }
}

/// How long ago `at` was.
pub fn age(at: Timestamp, now: Timestamp) -> String {
    duration(now.duration_since(at))
}

/// When something is: `in 3h` or `5m ago`.
pub fn when(at: Timestamp, now: Timestamp) -> String {
    let length = at.duration_since(now);
    if length.is_negative() { format!("{} ago", duration(length.abs())) } else { format!("in {}", duration(length)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rules of `HumanDuration` in k8s.io/apimachinery/pkg/util/duration.
    #[test]
    fn ages_are_those_of_kubectl() {
        let (minute, hour, day) = (60, 3_600, 86_400);
        let table = [
            (0, "0s"),
            (119, "119s"),
            (2 * minute, "2m"),
            (2 * minute + 5, "2m5s"),
            (10 * minute + 5, "10m"),
            (179 * minute, "179m"),
            (3 * hour, "3h"),
            (7 * hour + 9 * minute, "7h9m"),
            (8 * hour + 9 * minute, "8h"),
            (47 * hour, "47h"),
            (2 * day, "2d"),
            (2 * day + 5 * hour, "2d5h"),
            (8 * day + 5 * hour, "8d"),
            (729 * day, "729d"),
            (730 * day, "2y"),
            (735 * day, "2y5d"),
            (3_000 * day, "8y"),
        ];
        for (seconds, text) in table {
            assert_eq!(duration(SignedDuration::from_secs(seconds)), text, "{seconds}");
        }
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!((when(at(100), at(160)).as_str(), when(at(160), at(100)).as_str()), ("60s ago", "in 60s"));
    }
}
