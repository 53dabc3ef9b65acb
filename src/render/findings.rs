//! What `validate` found, for people and for machines: text, GitHub annotations and SARIF.

use std::fmt::Write;

use serde_json::{Value, json};

use super::{plural, printable};
use crate::manifest::{Finding, RULES, Severity};

/// A finding in one line, as compilers write it. `word` is how to write the severity.
pub fn line(finding: &Finding, word: &str) -> String {
    let Finding { file, at, object, .. } = finding;
    let object = object.as_ref().map(|object| format!("{object}: ")).unwrap_or_default();
    format!("{}:{}:{}: {word}: {}", printable(file), at.line, at.column, printable(&format!("{object}{finding}")))
}

/// Findings as an error of a command: each in a line.
pub fn lines(findings: &[Finding]) -> String {
    findings.iter().map(|finding| line(finding, word(finding.severity))).collect::<Vec<_>>().join("\n")
}

/// The name of a severity.
pub fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// What was checked and found, in one line.
pub fn summary(findings: &[Finding], checked: usize, others: usize) -> String {
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let mut text = match checked {
        0 => "no object checked".to_owned(),
        count => format!("{} checked", plural(count, "object")),
    };
    if others > 0 {
        let _ = write!(text, ", {others} of other kinds skipped");
    }
    match (errors, warnings) {
        (0, 0) => text + ": no errors",
        (0, warnings) => format!("{text}: no errors, {}", plural(warnings, "warning")),
        (errors, 0) => format!("{text}: {}", plural(errors, "error")),
        (errors, warnings) => format!("{text}: {}, {}", plural(errors, "error"), plural(warnings, "warning")),
    }
}

/// A workflow command of GitHub, which shows the finding in the diff of a pull request
/// (<https://docs.github.com/actions/reference/workflow-commands-for-github-actions>).
pub fn github(finding: &Finding) -> String {
    let data = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    let Finding { file, at, severity, rule, object, .. } = finding;
    let object = object.as_ref().map(|object| format!("{object}: ")).unwrap_or_default();
    format!(
        "::{} file={},line={},col={},title={}::{}\n",
        word(*severity),
        property(file),
        at.line,
        at.column,
        property(rule),
        data(&printable(&format!("{object}{finding}")))
    )
}

/// The findings as a SARIF 2.1.0 log (<https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>).
pub fn sarif(findings: &[Finding], version: &str) -> Value {
    let rules: Vec<_> = RULES.iter().map(|(id, text)| json!({ "id": id, "shortDescription": { "text": text } })).collect();
    let results: Vec<_> = findings.iter().map(result).collect();
    json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "bucketconnection", "version": version, "rules": rules } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn result(finding: &Finding) -> Value {
    let Finding { file, at, severity, rule, object, .. } = finding;
    let place = json!({
        "artifactLocation": { "uri": uri(file) },
        "region": { "startLine": at.line, "startColumn": at.column },
    });
    let mut location = json!({ "physicalLocation": place });
    if let Some(object) = object {
        location["logicalLocations"] = json!([{ "fullyQualifiedName": object }]);
    }
    json!({
        "ruleId": rule,
        "ruleIndex": RULES.iter().position(|(id, _)| id == rule),
        "level": word(*severity),
        "message": { "text": finding.to_string() },
        "locations": [location],
    })
}

/// A path as a relative or absolute URI reference.
fn uri(path: &str) -> String {
    let mut uri = String::with_capacity(path.len());
    for byte in path.trim_start_matches("./").bytes() {
        let plain = byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
        let _ = if plain { write!(uri, "{}", char::from(byte)) } else { write!(uri, "%{byte:02X}") };
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Position;

    fn finding() -> Finding {
        Finding {
            file: "./a b,c.yaml".to_owned(),
            at: Position { line: 3, column: 7 },
            severity: Severity::Error,
            rule: "enum",
            object: Some("lab/x".to_owned()),
            field: Some("spec.preset".to_owned()),
            message: "100%\n::error::forged".to_owned(),
        }
    }

    #[test]
    fn an_annotation_cannot_be_forged() {
        let expected = "::error file=./a b%2Cc.yaml,line=3,col=7,title=enum::lab/x: spec.preset: 100%25\\n::error::forged\n";
        assert_eq!(github(&finding()), expected);
        assert_eq!(line(&finding(), "error"), "./a b,c.yaml:3:7: error: lab/x: spec.preset: 100%\\n::error::forged");
    }

    #[test]
    fn the_properties_of_an_annotation_are_escaped() {
        let finding = Finding { file: "50%:a\r\nb.yaml".to_owned(), ..finding() };
        assert!(
            github(&finding).starts_with("::error file=50%25%3Aa%0D%0Ab.yaml,line=3,col=7,title=enum::"),
            "{}",
            github(&finding)
        );
    }

    /// What the schema of SARIF 2.1.0 requires of these objects, and the properties of theirs that it knows: it allows
    /// no others.
    const SHAPES: [(&str, &[&str], &[&str]); 11] = [
        ("", &["version", "runs"], &["$schema"]),
        ("/runs/0", &["tool"], &["columnKind", "results"]),
        ("/runs/0/tool", &["driver"], &[]),
        ("/runs/0/tool/driver", &["name"], &["version", "rules"]),
        ("/runs/0/tool/driver/rules/0", &["id"], &["shortDescription"]),
        ("/runs/0/results/0", &["message"], &["ruleId", "ruleIndex", "level", "locations"]),
        ("/runs/0/results/0/message", &["text"], &[]),
        ("/runs/0/results/0/locations/0", &[], &["physicalLocation", "logicalLocations"]),
        ("/runs/0/results/0/locations/0/physicalLocation", &["artifactLocation"], &["region"]),
        ("/runs/0/results/0/locations/0/physicalLocation/artifactLocation", &["uri"], &[]),
        ("/runs/0/results/0/locations/0/physicalLocation/region", &["startLine"], &["startColumn"]),
    ];

    #[test]
    fn sarif_has_the_shape_of_its_schema() {
        let log = sarif(&[finding()], "1.0.0");
        for (place, required, optional) in SHAPES {
            let object = log.pointer(place).and_then(Value::as_object).unwrap_or_else(|| panic!("{place}: {log}"));
            let known = |name: &&String| required.contains(&name.as_str()) || optional.contains(&name.as_str());
            assert_eq!(object.keys().find(|name| !known(name)), None, "{place}");
            assert_eq!(required.iter().find(|name| !object.contains_key(**name)), None, "{place}");
        }
        assert_eq!((&log["version"], &log["runs"][0]["columnKind"]), (&json!("2.1.0"), &json!("unicodeCodePoints")));
        let result = &log["runs"][0]["results"][0];
        assert!(["none", "note", "warning", "error"].iter().any(|level| result["level"] == *level));
        let region = &result["locations"][0]["physicalLocation"]["region"];
        assert!(["startLine", "startColumn"].iter().all(|field| region[field].as_u64() >= Some(1)), "they count from 1");
    }

    #[test]
    fn sarif_refers_to_its_rules() {
        let log = sarif(&[finding()], "1.0.0");
        let result = &log["runs"][0]["results"][0];
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(log["runs"][0]["tool"]["driver"]["rules"][index]["id"], result["ruleId"]);
        assert_eq!(result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"], "a%20b%2Cc.yaml");
    }
}
