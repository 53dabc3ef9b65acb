//! What the documentation says about a reason: the comment of its variant, which docs/troubleshooting.md shows too.

use strum::EnumMessage;

use super::conditions::Reason;

/// The comment of a reason, by its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Documented {
    /// What the reason means.
    pub meaning: String,
    /// What to check.
    pub check: Option<String>,
    /// What to do.
    pub act: Option<String>,
}

impl Reason {
    /// What the documentation says about it.
    pub fn documented(self) -> Documented {
        let (mut meaning, mut check, mut act) = (Vec::new(), None, None);
        let text = self.get_documentation().unwrap_or_default();
        for paragraph in text.split("\n\n").map(|lines| lines.split_whitespace().collect::<Vec<_>>().join(" ")) {
            match paragraph.split_once(": ") {
                Some(("Check", rest)) => check = Some(rest.to_owned()),
                Some(("Do", rest)) => act = Some(rest.to_owned()),
                _ => meaning.push(paragraph),
            }
        }
        Documented { meaning: meaning.join(" "), check, act }
    }
}

/// The same text for a terminal: `[text](page.md#part)` becomes `docs/page.md#part`.
pub fn without_links(text: &str) -> String {
    let (mut plain, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once('[') {
        let Some((_, (target, after))) = after.split_once("](").and_then(|(name, after)| Some((name, after.split_once(')')?)))
        else {
            break;
        };
        plain += before;
        plain += "docs/";
        plain += target;
        rest = after;
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use strum::VariantArray;

    use super::*;

    #[test]
    fn links_are_paths_on_a_terminal() {
        let text = Reason::Throttled.documented().act.unwrap();
        assert!(text.ends_with("([accounts.md](accounts.md#budget))."), "{text}");
        assert!(without_links(&text).ends_with("(docs/accounts.md#budget)."), "{}", without_links(&text));
        for reason in Reason::VARIANTS {
            let text = without_links(&reason.documented().act.unwrap_or_default());
            assert!(!text.contains("]("), "{reason}: {text}");
        }
        assert_eq!(without_links("rules[0] and [x"), "rules[0] and [x");
    }
}
