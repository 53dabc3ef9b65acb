//! The only matcher for patterns: those of AWS's policy language, and those of an AWSAccount's entries.
//!
//! Tenants write patterns and texts, so a match must cost at most the length of the pattern times that of the text. It
//! needs no recursion: once a later `*` is reached, the match of an earlier one need not be changed, because the
//! leftmost place for the characters between two stars leaves the most for the rest.

/// Whether a pattern of AWS's policy language matches `text`; `*` matches any characters, `?` one character.
pub fn policy_matches(pattern: &str, text: &str) -> bool {
    stands_for(pattern, text, |own, other| own == '?' || own == other)
}

/// Whether a pattern of AWS's policy language matches everything that the pattern `other` matches. It can return false
/// for patterns with `?` next to `*` of which that is true.
pub fn policy_covers(pattern: &str, other: &str) -> bool {
    stands_for(pattern, other, |own, other| own == '?' && other != '*' || own == other)
}

/// Whether a pattern of an AWSAccount's entry matches `text`; `*` matches any characters, every other character itself.
pub fn rule_matches(pattern: &str, text: &str) -> bool {
    stands_for(pattern, text, |own, other| own == other)
}

/// Whether `pattern` matches `text`; `same` compares a character of the pattern other than `*` with one of the text.
fn stands_for(pattern: &str, text: &str, mut same: impl FnMut(char, char) -> bool) -> bool {
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    // What follows the last `*`, and the place in the text where it was tried.
    let mut last_star = None;
    loop {
        let (mut rest, mut after) = (pattern.clone(), text.clone());
        match (rest.next(), after.next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                last_star = Some((rest.clone(), text.clone()));
                pattern = rest;
            }
            (Some(own), Some(other)) if same(own, other) => (pattern, text) = (rest, after),
            // The text has ended: from a later place there would be even less of it.
            (Some(_), None) => return false,
            (_, Some(_)) => match &mut last_star {
                // A `*` at the very end matches whatever is left.
                Some((rest, _)) if rest.as_str().is_empty() => return true,
                Some((rest, tried)) => {
                    tried.next();
                    (pattern, text) = (rest.clone(), tried.clone());
                }
                None => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The shortest definition of a match; takes exponential time.
    fn naive(pattern: &[char], text: &[char]) -> bool {
        match pattern {
            [] => text.is_empty(),
            ['*', rest @ ..] => (0..=text.len()).any(|at| naive(rest, &text[at..])),
            ['?', rest @ ..] => !text.is_empty() && naive(rest, &text[1..]),
            [own, rest @ ..] => text.first() == Some(own) && naive(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn the_same_as_the_naive_matcher(pattern in "[abé*?]{0,9}", text in "[abé]{0,9}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(policy_matches(&pattern, &text), naive(&chars(&pattern), &chars(&text)));
            if !pattern.contains('?') {
                prop_assert_eq!(rule_matches(&pattern, &text), policy_matches(&pattern, &text));
            }
        }
    }

    #[test]
    fn patterns() {
        let table = [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("**", "a", true),
            ("lab-*", "lab-", true),
            ("lab-*-x", "lab-a-x-x", true),
            ("lab-*-x", "lab-x", false),
            ("lab", "lab-a", false),
            ("*ä*", "xäy", true),
        ];
        for (pattern, text, expected) in table {
            assert_eq!((policy_matches(pattern, text), rule_matches(pattern, text)), (expected, expected), "{pattern} {text}");
        }
        assert!(policy_matches("s3:Get?bject", "s3:GetObject") && !rule_matches("s3:Get?bject", "s3:GetObject"));
        for (pattern, other, expected) in
            [("*", "a*?", true), ("a*b", "a*b", true), ("a?", "a*", false), ("a?", "a?", true), ("a*", "*", false)]
        {
            assert_eq!(policy_covers(pattern, other), expected, "{pattern} {other}");
        }
        assert!(!policy_matches("?", "") && policy_matches("?", "é") && rule_matches("?", "?"));
    }

    fn comparisons(pattern: &str, text: &str) -> usize {
        let mut count = 0;
        stands_for(pattern, text, |own, other| {
            count += 1;
            own == '?' || own == other
        });
        count
    }

    /// Counted, not timed: a backtracking matcher would practically never finish the first of these.
    #[test]
    fn stars_cost_no_more_than_the_text_is_long() {
        let text = "a".repeat(4_000);
        for pattern in ["*".repeat(3_999) + "z", "*a".repeat(1_999) + "*z", "*?".repeat(2_000), "a*".repeat(2_000)] {
            let count = comparisons(&pattern, &text);
            assert!(count <= 2 * text.len(), "{count} comparisons for {} characters", pattern.len());
        }
    }

    #[test]
    fn no_pattern_costs_more_than_its_length_times_the_texts() {
        let text = "a".repeat(4_000);
        for length in [1, 10, 100, 1_000, 3_000] {
            let stretch = "a".repeat(length) + "z";
            let pattern = format!("*{stretch}").repeat(4_000 / (length + 2));
            let count = comparisons(&pattern, &text);
            assert!(count <= (length + 1) * text.len(), "{count} comparisons for stretches of {length}");
        }
    }
}
