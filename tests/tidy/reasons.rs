//! The reasons in docs/reference.md and docs/troubleshooting.md, generated from the comments of `Reason` and from the
//! messages of the recorded plans.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use bucketconnection::render::diagnosis::missing;
use bucketconnection::vocabulary::conditions::Reason;
use bucketconnection::vocabulary::documented::Documented;
use serde_json::json;
use strum::VariantArray;

use super::{ROOT, files, read};

const BEGIN: &str = "<!-- Reasons: UPDATE=1 cargo test --test tidy writes this. -->\n";
const END: &str = "<!-- End of reasons. -->";
/// Parts of messages that only the in-memory AWS of the recorded plans has.
const ARTIFICIAL: [&str; 2] = ["Problem {", "test:Action"];
/// So many recorded messages are shown for each reason, and so many characters of each.
const EXAMPLES: usize = 2;
const WIDTH: usize = 400;

/// Conditions with their messages, as the recorded plans print them, by their reason: messages that differ, from
/// different conditions first.
fn recorded() -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in files("tests/plan", "txt") {
        for line in fs::read_to_string(file).unwrap().lines() {
            let Some((condition, message)) = line.split_once(": ") else { continue };
            let Some((type_, reason)) = condition.split_once(' ') else { continue };
            let artificial = ARTIFICIAL.iter().any(|part| message.contains(part));
            if !type_.contains('=') || reason.parse::<Reason>().is_err() || message.is_empty() || artificial {
                continue;
            }
            let shown = found.entry(reason.to_owned()).or_default();
            let new = shown.iter().all(|line| line.split_once(": ").is_some_and(|(_, other)| other != message));
            // `Ready` and `Stalled` repeat the message of a part, with its name.
            let part = !["Ready", "Stalled", "Reconciling"].contains(&type_.split('=').next().unwrap());
            let known = shown.iter().any(|line| line.contains(message) || message.ends_with(line.as_str()));
            if new && !known && (part || reason == "Connected") {
                let cut = if line.chars().nth(WIDTH).is_some() { "…" } else { "" };
                shown.push(line.chars().take(WIDTH).collect::<String>() + cut);
            }
        }
    }
    found
}

fn section(reason: Reason, examples: &[String]) -> String {
    let Documented { meaning, check, act } = reason.documented();
    let nothing = if act.is_none() { " No action is required." } else { "" };
    let mut text = format!("\n## {reason}\n\n{meaning}{nothing}\n");
    for (title, part) in [("Check", check), ("Do", act)] {
        if let Some(part) = part {
            let _ = write!(text, "\n**{title}:** {part}\n");
        }
    }
    if !examples.is_empty() {
        let _ = write!(text, "\n```text\n{}\n```\n", examples[..examples.len().min(EXAMPLES)].join("\n"));
    }
    text
}

#[test]
fn the_pages_match_the_reasons() {
    let recorded = recorded();
    let mut table = "\n| reason | meaning |\n|---|---|\n".to_owned();
    let mut sections = String::new();
    for reason in Reason::VARIANTS {
        let Documented { meaning, .. } = reason.documented();
        let _ = writeln!(table, "| [`{reason}`](troubleshooting.md#{}) | {meaning} |", reason.to_string().to_lowercase());
        sections += &section(*reason, recorded.get(&reason.to_string()).map_or(&[], Vec::as_slice));
    }
    for (file, generated) in [("docs/reference.md", table), ("docs/troubleshooting.md", sections)] {
        let page = read(file);
        let (before, rest) = page.split_once(BEGIN).unwrap_or_else(|| panic!("{file} has no place for the reasons"));
        let (_, after) = rest.split_once(END).unwrap();
        let written = format!("{before}{BEGIN}{generated}\n{END}{after}");
        if std::env::var("UPDATE").is_ok() {
            fs::write(Path::new(ROOT).join(file), &written).unwrap();
        }
        assert!(read(file) == written, "{file} is stale: UPDATE=1 cargo test --test tidy updates its reasons");
    }
}

/// A reason that a person may have to act on says what to check and what to do; the others say neither.
#[test]
fn every_reason_says_what_to_check_and_what_to_do() {
    let mut needs_nothing = Vec::new();
    for reason in Reason::VARIANTS {
        let Documented { meaning, check, act } = reason.documented();
        assert!(meaning.ends_with('.'), "{reason}: {meaning:?}");
        assert_eq!(check.is_some(), act.is_some(), "{reason} has only one of Check and Do");
        if act.is_none() {
            needs_nothing.push(*reason);
        }
    }
    use Reason::{Connected, InSync, NoDrift, NotManaged, NotStalled, Settled, SignedIn};
    assert_eq!(needs_nothing, [Connected, InSync, NotManaged, NoDrift, NotStalled, Settled, SignedIn]);
}

#[test]
fn comments_have_their_parts() {
    let Documented { meaning, check, act } = Reason::Overlapping.documented();
    assert!(meaning.starts_with("The previous key still works"), "{meaning}");
    assert!(check.unwrap().starts_with("`status.credentials.previous`"));
    assert!(act.unwrap().starts_with("Switch all consumers"));
    let recorded = recorded();
    assert!(recorded["AccessDenied"].len() >= EXAMPLES && recorded["AccessDenied"][0] != recorded["AccessDenied"][1]);
}

/// `doctor` lists the permissions that the operator lacks. It reads them from messages, so it must understand each that
/// is recorded.
#[test]
fn every_denial_names_its_permission() {
    let mut read = 0;
    for file in files("tests/plan", "txt") {
        for line in fs::read_to_string(&file).unwrap().lines() {
            let Some((condition, message)) = line.split_once("=False AccessDenied: ") else { continue };
            // The key is denied something, not the operator; and some recorded calls have no real name.
            let of_key = condition == "Verified" || message.starts_with("Verified: ") || message.contains("the issued key");
            if of_key || message.contains(ARTIFICIAL[1]) {
                continue;
            }
            let condition = json!({
                "type": condition, "status": "False", "reason": "AccessDenied", "message": message,
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            });
            let missing = missing(&[serde_json::from_value(condition).unwrap()]);
            assert!(!(missing.aws.is_empty() && missing.kubernetes.is_empty()), "{}: {message}", file.display());
            let named = |action: &String| message.contains(&format!("{action}: ")) || message.contains(" denied: ");
            assert!(missing.aws.iter().chain(&missing.kubernetes).all(named), "{message}: {missing:?}");
            read += 1;
        }
    }
    assert!(read > 10, "only {read} denials are recorded");
}
