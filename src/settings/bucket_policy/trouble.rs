//! Foreign statements that block a write of the managed ones: AWS refuses the write without naming them.

use serde_json::Value;

use super::{PolicyText, parsed, sid};
use crate::vocabulary::policy_language::strings;
use crate::vocabulary::problem::join_names;

const OLD: &str = "2008-10-17";
const NEW: &str = "2012-10-17";

impl PolicyText {
    /// Its version. In the old version, which also applies to a policy without a version, policy variables
    /// (`${aws:username}`) are plain text.
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_version.html>
    pub(super) fn version(&self) -> String {
        let text = self.head.iter().chain(&self.tail).find(|part| part.starts_with("\"Version\""));
        let version = text.and_then(|part| parsed(part.split_once(':')?.1).as_str().map(str::to_owned));
        version.unwrap_or_else(|| OLD.to_owned())
    }

    /// Sets the version that supports policy variables.
    pub(super) fn raise(&mut self) {
        let text = format!("\"Version\":\"{NEW}\"");
        match self.head.iter_mut().chain(&mut self.tail).find(|part| part.starts_with("\"Version\"")) {
            Some(part) => *part = text,
            None => self.head.insert(0, text),
        }
    }
}

/// Whether the version of the policy `live` fits the managed statements `ours`, next to which the `foreign` ones stay.
#[derive(Debug, PartialEq)]
pub(super) enum Version {
    /// It stays as it is.
    Stays,
    /// It is raised, from the first to the second: this changes the meaning of no foreign statement.
    Raised(String, &'static str),
    /// It cannot be raised.
    Stuck(String),
}

/// Whether `live` needs another version for the statements `ours`; `foreign` has the number of each foreign statement
/// in the policy.
pub(super) fn version(live: Option<&PolicyText>, ours: &[Value], foreign: &[(usize, &str)]) -> Version {
    let has_variable = |text: &str| text.contains("${");
    let (Some(live), Some(needs)) = (live, ours.iter().find(|statement| has_variable(&statement.to_string()))) else {
        return Version::Stays;
    };
    let version = live.version();
    if version == NEW {
        return Version::Stays;
    }
    match foreign.iter().find(|(_, text)| has_variable(text)) {
        None => Version::Raised(version, NEW),
        Some((number, text)) => Version::Stuck(format!(
            "statement {} contains a policy variable (${{…}}), which needs policy version {NEW}; the policy has version {version}, and raising it would change the meaning of {}, a foreign statement that contains ${{…}} as plain text; correct that statement and the version in AWS, or remove the variable from the spec",
            sid(needs),
            named(*number, &parsed(text))
        )),
    }
}

/// A statement, for people.
fn named(number: usize, statement: &Value) -> String {
    match sid(statement) {
        "" => format!("statement {number}"),
        sid => format!("statement {number} (Sid {sid})"),
    }
}

/// The position of the principal that AWS does not know, as far as the policy that was sent shows it. Once a user or
/// role is deleted, the policy shows its id instead of its ARN, and AWS refuses a policy with such an id.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html>
pub(super) fn unknown_principal(policy: &PolicyText) -> Option<String> {
    let (mut dead, mut doubtful) = (Vec::new(), Vec::new());
    for (index, text) in policy.statements.iter().enumerate() {
        let statement = parsed(text);
        for name in ["Principal", "NotPrincipal"]
            .iter()
            .filter_map(|element| statement.get(element)?.get("AWS"))
            .filter_map(strings)
            .flatten()
        {
            let place = || format!("{name} in {}", named(index + 1, &statement));
            if is_id(&name) {
                dead.push(place());
            } else if name.contains(":user/") || name.contains(":role/") {
                doubtful.push(place());
            }
        }
    }
    let text = match (dead.is_empty(), doubtful.is_empty()) {
        (false, _) => format!(
            "AWS refuses a policy that contains the id of a deleted user or role: {}; remove the id, or the statement",
            join_names(&dead)
        ),
        (true, false) => format!("one of these may not exist: {}", join_names(&doubtful)),
        (true, true) => return None,
    };
    Some(text)
}

/// The unique id of a user or role.
fn is_id(name: &str) -> bool {
    ["AIDA", "AROA"].iter().any(|prefix| name.starts_with(prefix))
        && name.len() >= 16
        && name.bytes().all(|b| b.is_ascii_alphanumeric())
}
