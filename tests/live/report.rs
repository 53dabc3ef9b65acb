//! The report of a run: what was compared, what differs, how long AWS took; on the terminal, as Markdown and as JSON.

use std::collections::BTreeMap;
use std::fmt::{Debug, Write as _};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use serde::Serialize;

/// How a comparison ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// As the model says.
    Same,
    /// A fact that the model leaves open.
    Learned,
    /// Differs, as is known of the emulator.
    KnownDifference,
    NotRun,
    Differs,
}

/// One comparison of AWS with the model that the operator was written for.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    pub part: String,
    pub claim: String,
    pub outcome: Outcome,
    pub expected: String,
    pub seen: String,
}

/// The report; every text in it passes `Mask`.
pub struct Report {
    mask: Mask,
    began: Instant,
    state: Mutex<State>,
}

#[derive(Clone, Default, Serialize)]
struct State {
    facts: BTreeMap<&'static str, String>,
    checks: Vec<Check>,
    /// Seconds, by what took them.
    times: BTreeMap<String, Vec<f64>>,
    requests: BTreeMap<String, usize>,
    left: Vec<String>,
}

impl Report {
    pub fn new(account: &str, show_account: bool, caller: &str) -> Self {
        let mask = Mask { account: account.to_owned(), shown: show_account, caller: caller.to_owned() };
        Self { mask, began: Instant::now(), state: Mutex::default() }
    }

    fn edit(&self, edit: impl FnOnce(&mut State)) {
        edit(&mut self.state.lock().unwrap());
    }

    /// Says on the terminal what happens now, and why.
    pub fn say(&self, text: &str) {
        let seconds = self.began.elapsed().as_secs();
        // A closed terminal must not end the run before it has deleted what it created.
        let _ = writeln!(std::io::stdout(), "{:>3}:{:02}  {}", seconds / 60, seconds % 60, self.mask.apply(text));
    }

    /// A fact about the run itself, such as its region.
    pub fn fact(&self, name: &'static str, value: &str) {
        let value = self.mask.report(value);
        self.edit(|state| drop(state.facts.insert(name, value)));
    }

    /// Compares; returns whether it is the same.
    pub fn is<G: Debug + PartialEq<W>, W: Debug>(&self, part: &str, claim: &str, seen: G, expected: W) -> bool {
        let outcome = if seen == expected { Outcome::Same } else { Outcome::Differs };
        self.add(part, claim, outcome, &format!("{expected:?}"), &format!("{seen:?}"));
        outcome == Outcome::Same
    }

    pub fn learned(&self, part: &str, claim: &str, seen: &str) {
        self.add(part, claim, Outcome::Learned, "", seen);
    }

    pub fn not_run(&self, part: &str, claim: &str, why: &str) {
        self.add(part, claim, Outcome::NotRun, "", why);
    }

    pub fn add(&self, part: &str, claim: &str, outcome: Outcome, expected: &str, seen: &str) {
        let check = Check {
            part: part.to_owned(),
            claim: self.mask.report(claim),
            outcome,
            expected: self.mask.report(expected),
            seen: self.mask.report(seen),
        };
        if outcome == Outcome::Differs {
            self.say(&format!("DIFFERS  {claim}: {seen} instead of {expected}"));
        }
        self.edit(|state| state.checks.push(check));
    }

    /// Something took this long.
    pub fn took(&self, what: &str, seconds: f64) {
        self.edit(|state| state.times.entry(what.to_owned()).or_default().push(seconds));
    }

    /// The longest time of all that are for keys and policies.
    pub fn longest(&self) -> f64 {
        let state = self.state.lock().unwrap();
        state.times.iter().filter(|(what, _)| what.starts_with("IAM: ")).flat_map(|(_, times)| times.clone()).fold(0.0, f64::max)
    }

    pub fn requests(&self, requests: BTreeMap<String, usize>) {
        self.edit(|state| state.requests = requests);
    }

    /// What could not be deleted.
    pub fn left(&self, left: &[String]) {
        let left: Vec<_> = left.iter().map(|text| self.mask.report(text)).collect();
        self.edit(|state| state.left = left);
    }

    /// Whether nothing differs and nothing is left.
    pub fn good(&self) -> bool {
        let state = self.state.lock().unwrap();
        state.left.is_empty() && state.checks.iter().all(|check| check.outcome != Outcome::Differs)
    }

    /// One sentence: how the run ended.
    pub fn verdict(&self) -> String {
        let state = self.state.lock().unwrap();
        let differences = state.checks.iter().filter(|check| check.outcome == Outcome::Differs).count();
        let left = if state.left.is_empty() {
            "nothing is left in the account"
        } else {
            "SOMETHING IS LEFT in the account: see the report"
        };
        format!("{} comparisons, {differences} differences; {left}", state.checks.len())
    }

    /// Writes report.md and report.json into this folder; returns the Markdown file.
    pub fn write(&self, folder: &Path) -> std::io::Result<PathBuf> {
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join("report.json"), serde_json::to_string_pretty(&*self.state.lock().unwrap())? + "\n")?;
        let place = folder.join("report.md");
        std::fs::write(&place, self.markdown())?;
        Ok(place)
    }

    /// The summary for the terminal: one line for each part.
    pub fn summary(&self) -> String {
        let state = self.state.lock().unwrap();
        let mut counts: BTreeMap<&str, [usize; 5]> = BTreeMap::new();
        for check in &state.checks {
            counts.entry(&check.part).or_default()[check.outcome as usize] += 1;
        }
        let mut text = format!("{:<12}{:>6}{:>9}{:>8}{:>9}{:>9}\n", "part", "same", "learned", "known", "not run", "differs");
        for (part, [same, learned, known, not_run, differs]) in counts {
            let _ = writeln!(text, "{part:<12}{same:>6}{learned:>9}{known:>8}{not_run:>9}{differs:>9}");
        }
        text
    }

    fn markdown(&self) -> String {
        let state = self.state.lock().unwrap().clone();
        let mut text = "# `make live`: AWS compared with the model of the operator\n\n".to_owned();
        for (name, value) in &state.facts {
            let _ = writeln!(text, "- {name}: {value}");
        }
        let _ = writeln!(text, "\n```\n{}```", self.summary());
        let sections = [
            (Outcome::Differs, "Differences"),
            (Outcome::Learned, "Facts that the model leaves open"),
            (Outcome::KnownDifference, "Known differences of the emulator"),
            (Outcome::NotRun, "Not run"),
        ];
        for (outcome, title) in sections {
            let checks: Vec<_> = state.checks.iter().filter(|check| check.outcome == outcome).collect();
            let _ = writeln!(text, "\n## {title}\n");
            if checks.is_empty() {
                text.push_str("None.\n");
                continue;
            }
            text.push_str("| part | claim | expected | seen |\n|---|---|---|---|\n");
            for Check { part, claim, expected, seen, .. } in checks {
                let _ = writeln!(text, "| {part} | {} | {} | {} |", cell(claim), cell(expected), cell(seen));
            }
        }
        text.push_str("\n## Times, in seconds\n\n| what | runs | least | median | most |\n|---|---|---|---|---|\n");
        for (what, mut times) in state.times {
            times.sort_by(f64::total_cmp);
            let (least, median, most) = (times[0], times[times.len() / 2], times[times.len() - 1]);
            let _ = writeln!(text, "| {what} | {} | {least:.1} | {median:.1} | {most:.1} |", times.len());
        }
        let _ = writeln!(text, "\n## Requests of this program, without those of the operator\n");
        for (kind, count) in &state.requests {
            let _ = writeln!(text, "- {kind}: {count}");
        }
        let _ = writeln!(text, "\n## Not deleted\n");
        if state.left.is_empty() {
            text.push_str("Nothing is left.\n");
        }
        for left in &state.left {
            let _ = writeln!(text, "- {left}");
        }
        text
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

/// Removes from a text what a public issue must not show: the account id, who ran it, ids of keys and of requests.
struct Mask {
    account: String,
    shown: bool,
    /// ARN of the caller, which often contains an address of a person.
    caller: String,
}

impl Mask {
    fn report(&self, text: &str) -> String {
        self.apply(&text.replace(&self.caller, "(caller)"))
    }

    /// For the terminal, which shows the caller.
    fn apply(&self, text: &str) -> String {
        let end = &self.account[self.account.len() - 4..];
        let text = if self.shown { text.to_owned() } else { text.replace(&self.account, &format!("********{end}")) };
        let mut masked = String::new();
        let mut word = String::new();
        for c in text.chars().chain([' ']) {
            if c.is_ascii_alphanumeric() || c == '-' {
                word.push(c);
                continue;
            }
            masked.push_str(&masked_word(&word));
            masked.push(c);
            word.clear();
        }
        masked.pop();
        masked
    }
}

/// A key id keeps its last four characters; a request id, of 16 upper-case characters or a UUID, none.
fn masked_word(word: &str) -> String {
    let upper = word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
    let uuid = word.len() == 36 && word.chars().filter(|c| *c == '-').count() == 4;
    if upper && word.len() >= 20 && (word.starts_with("AKIA") || word.starts_with("ASIA") || word.starts_with("AIDA")) {
        format!("{}…{}", &word[..4], &word[word.len() - 4..])
    } else if uuid || (upper && word.len() == 16 && word.chars().any(|c| c.is_ascii_digit())) {
        "(id)".to_owned()
    } else if word.len() == 40 && word.chars().any(|c| c.is_ascii_uppercase()) {
        "(removed)".to_owned()
    } else {
        word.to_owned()
    }
}

/// What `apply` does to a text, for the tests.
pub fn masked(account: &str, caller: &str, text: &str) -> String {
    Mask { account: account.to_owned(), shown: false, caller: caller.to_owned() }.report(text)
}
