//! The dependencies of the operator, according to deny.toml: licenses, sources, bans and duplicates, without a tool
//! other than cargo.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use super::{ROOT, read};

fn run(command: &str, arguments: &[&str]) -> String {
    let output = Command::new(command).args(arguments).current_dir(ROOT).output().unwrap();
    assert!(output.status.success(), "{command} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Every crate that is built on this machine, including those for tests.
fn packages() -> Vec<Value> {
    let version = run("rustc", &["-vV"]);
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    // The crates of this build are downloaded already, so nothing is fetched.
    let arguments = ["metadata", "--locked", "--offline", "--format-version", "1", "--filter-platform", host];
    let metadata: Value = serde_json::from_str(&run(env!("CARGO"), &arguments)).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

fn text<'a>(package: &'a Value, field: &str) -> &'a str {
    package[field].as_str().unwrap_or_default()
}

/// The texts in the list `name` of deny.toml.
fn listed(name: &str) -> BTreeSet<String> {
    let deny = read("deny.toml");
    let start = format!("\n{name} = [");
    let list = deny.split(&start).nth(1).unwrap_or_else(|| panic!("deny.toml has no list {name}")).split("\n]").next().unwrap();
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Whether one of the licenses of the SPDX expression can be chosen so that all of its parts are allowed.
fn acceptable(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ").replace(" WITH ", "+WITH+");
    let words: Vec<_> = spaced.split_whitespace().map(|word| word.replace("+WITH+", " WITH ")).collect();
    let mut words = words.iter().map(String::as_str).peekable();
    let holds = any(&mut words, allowed);
    holds && words.next().is_none()
}

fn any<'a, I: Iterator<Item = &'a str>>(words: &mut std::iter::Peekable<I>, allowed: &BTreeSet<String>) -> bool {
    let mut holds = all(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        holds |= all(words, allowed);
    }
    holds
}

fn all<'a, I: Iterator<Item = &'a str>>(words: &mut std::iter::Peekable<I>, allowed: &BTreeSet<String>) -> bool {
    let mut holds = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        holds &= one(words, allowed);
    }
    holds
}

fn one<'a, I: Iterator<Item = &'a str>>(words: &mut std::iter::Peekable<I>, allowed: &BTreeSet<String>) -> bool {
    match words.next() {
        Some("(") => {
            let holds = any(words, allowed);
            words.next() == Some(")") && holds
        }
        Some(licence) => allowed.contains(licence),
        None => false,
    }
}

#[test]
fn licenses_are_permissive() {
    let allowed = listed("allow");
    for package in packages() {
        let licence = text(&package, "license");
        assert!(acceptable(licence, &allowed), "{} has the licence {licence:?}: see deny.toml", text(&package, "name"));
    }
    for (expression, expected) in [
        ("MIT", true),
        ("GPL-3.0-only", false),
        ("MIT OR GPL-3.0-only", true),
        ("MIT AND GPL-3.0-only", false),
        ("(MIT OR GPL-3.0-only) AND ISC", true),
        ("MIT/Apache-2.0", true),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("GPL-2.0-only WITH Classpath-exception-2.0", false),
        ("MIT GPL-3.0-only", false),
        ("", false),
    ] {
        assert_eq!(acceptable(expression, &allowed), expected, "{expression}");
    }
}

#[test]
fn everything_comes_from_crates_io_with_a_checksum() {
    let lock = read("Cargo.lock");
    for package in lock.split("[[package]]").skip(1) {
        let field = |name: &str| {
            package.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = ").map(|text| text.trim_matches('"')))
        };
        let name = field("name").unwrap();
        if name != "bucketconnection" {
            assert_eq!(field("source"), Some("registry+https://github.com/rust-lang/crates.io-index"), "{name}");
            assert_eq!(field("checksum").map(str::len), Some(64), "{name}");
        }
    }
}

#[test]
fn nothing_is_banned_or_duplicated() {
    let (banned, skipped) = (listed("deny"), listed("skip"));
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in packages() {
        let name = text(&package, "name");
        assert!(!banned.contains(name), "{name} is banned in deny.toml");
        versions.entry(name.to_owned()).or_default().insert(text(&package, "version").to_owned());
    }
    let one = |(name, versions): (String, BTreeSet<String>)| {
        let more: Vec<_> =
            versions.iter().map(|version| format!("{name}@{version}")).filter(|crate_| !skipped.contains(crate_)).collect();
        (more.len() > 1).then_some(more)
    };
    let twice: Vec<_> = versions.clone().into_iter().filter_map(one).collect();
    assert!(twice.is_empty(), "{twice:?}: move to one version, or add the older one to skip in deny.toml");
    for skip in skipped {
        let (name, version) = skip.split_once('@').unwrap();
        assert!(versions.get(name).is_some_and(|all| all.len() > 1 && all.contains(version)), "{skip} need not be in deny.toml");
    }
}

/// What runs with the operator, and nothing that only tests need.
#[test]
fn the_sbom_is_complete() {
    let printed: Value = serde_json::from_str(&run("python3", &["deploy/sbom.py"])).unwrap();
    assert_eq!((text(&printed, "bomFormat"), text(&printed, "specVersion")), ("CycloneDX", "1.6"));
    let components = printed["components"].as_array().unwrap();
    let names: BTreeSet<_> = components.iter().map(|component| text(component, "name")).collect();
    for needed in ["kube", "aws-sdk-iam", "rustls", "hmac", "serde_derive"] {
        assert!(names.contains(needed), "{needed}");
    }
    assert!(!names.contains("proptest"), "it is for tests only");
    let hash = |component: &Value| component["hashes"][0]["content"].as_str().is_some_and(|hash| hash.len() == 64);
    assert!(components.iter().all(|component| hash(component) && text(component, "purl").starts_with("pkg:cargo/")));
    let refs: BTreeSet<_> = components.iter().map(|component| text(component, "bom-ref")).collect();
    for dependency in printed["dependencies"].as_array().unwrap() {
        for on in dependency["dependsOn"].as_array().unwrap() {
            assert!(refs.contains(on.as_str().unwrap()), "{on}");
        }
    }
}
