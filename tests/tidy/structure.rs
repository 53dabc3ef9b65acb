//! The architecture: pure rooms, the order of the rooms, no circles, files that stay readable.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::{ROOT, files, read};

/// The rooms that are pure: no AWS, no Kubernetes client, no clock, no randomness, nothing asynchronous.
const PURE: [&str; 14] = [
    "src/api",
    "src/desired",
    "src/observed",
    "src/keys",
    "src/settings",
    "src/plan",
    "src/status",
    "src/render",
    "src/credentials.rs",
    "src/vocabulary",
    "src/execute/mod.rs",
    "src/execute/report.rs",
    "src/lib.rs",
    "tests/plan",
];
const IMPURE: [&str; 15] = [
    "aws_sdk",
    "aws_config",
    "aws_smithy",
    "tokio",
    "futures",
    "async fn",
    "async move",
    ".await",
    "kube::Client",
    "kube::Api",
    "Timestamp::now",
    "SystemTime",
    "Instant::now",
    "fastrand",
    "std::thread",
];

/// Whether a file is a module `wire` of its own.
pub(super) fn is_wire(file: &Path) -> bool {
    file.ends_with("wire.rs") && file.to_string_lossy().contains("/src/settings/")
}

/// Code without comments, and without the modules `wire` and `wires`, which exist only with the feature `operator`.
fn without_wire(text: &str) -> String {
    let mut kept = Vec::new();
    let mut depth: Option<i32> = None;
    for line in text.lines() {
        let code = line.split("//").next().unwrap_or_default();
        if depth.is_none() && (code.contains("mod wire {") || code.contains("mod wires {")) {
            depth = Some(0);
        }
        match &mut depth {
            None => kept.push(code),
            Some(open) => {
                *open += i32::try_from(code.matches('{').count()).unwrap() - i32::try_from(code.matches('}').count()).unwrap();
                if *open == 0 {
                    depth = None;
                }
            }
        }
    }
    kept.join("\n")
}

#[test]
fn the_core_is_pure() {
    for place in PURE {
        for file in files(place, "rs").into_iter().filter(|file| !is_wire(file)) {
            let code = without_wire(&fs::read_to_string(&file).unwrap());
            for word in IMPURE {
                let allowed = file.ends_with("src/lib.rs");
                assert!(allowed || !code.contains(word), "{} has {word:?}: this room is pure (src/lib.rs)", file.display());
            }
        }
    }
}

#[test]
fn only_aws_sdk_and_the_wires_know_the_sdk() {
    for file in files("src", "rs") {
        let path = file.strip_prefix(ROOT).unwrap().to_str().unwrap().to_owned();
        if !["src/aws/", "src/data/", "src/sdk/"].iter().any(|room| path.starts_with(room)) && !is_wire(&file) {
            let code = without_wire(&fs::read_to_string(&file).unwrap());
            assert!(!code.contains("aws_sdk"), "{path} names the AWS SDK");
        }
    }
}

/// The rooms, from the ground up: each may use those before it. `api` stands above `settings`, because its spec contains theirs.
const FLOORS: [&str; 21] = [
    "vocabulary",
    "credentials",
    "fence",
    "fair",
    "telemetry",
    "sdk",
    "settings",
    "api",
    "desired",
    "manifest",
    "observed",
    "keys",
    "plan",
    "render",
    "aws",
    "kubernetes",
    "execute",
    "status",
    "data",
    "controller",
    "cli",
];

fn floor(room: &str) -> usize {
    FLOORS.iter().position(|floor| *floor == room).unwrap_or_else(|| panic!("{room} is no room that tests/tidy.rs knows"))
}

fn room_of(path: &str) -> &str {
    path.split("::").next().unwrap()
}

/// Each room with the file in which it uses another one.
fn uses() -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    for file in files("src", "rs") {
        let path = file.strip_prefix(format!("{ROOT}/src")).unwrap().to_str().unwrap().replace('/', "::");
        let path = path.trim_end_matches(".rs");
        let room = room_of(path);
        if ["lib", "main"].contains(&room) || path.ends_with("tests") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap().lines().filter(|line| !line.trim_start().starts_with("//"));
        for used in code.flat_map(|line| line.split("crate::").skip(1)) {
            let end = used.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(used.len());
            let used = room_of(&used[..end]);
            if used != room {
                found.push((path.to_owned(), room.to_owned(), used.to_owned()));
            }
        }
    }
    found
}

#[test]
fn data_flows_one_way() {
    for (path, room, used) in uses() {
        assert!(floor(&used) < floor(&room), "{path} uses {used}, which stands above it");
    }
}

/// The table in ARCHITECTURE.md has the rooms in their order, and the rooms that each uses.
#[test]
fn the_architecture_page_knows_the_rooms() {
    let page = read("ARCHITECTURE.md");
    let table = page.split("| room | purpose |").nth(1).unwrap().split("\n\n").next().unwrap();
    let spans = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let rows: Vec<_> = table.lines().skip(2).map(|row| row.split('|').map(str::trim).collect::<Vec<_>>()).collect();
    assert_eq!(rows.iter().flat_map(|row| spans(row[1])).collect::<Vec<_>>(), FLOORS);
    let uses = uses();
    for (row, room) in rows.iter().zip(FLOORS) {
        let used = |floor: &&str| uses.iter().any(|(_, from, to)| from == room && to == floor);
        let expected: Vec<_> = FLOORS.into_iter().filter(used).collect();
        // A remark, such as "(only `wire`)", names no other room.
        let shown: Vec<_> = spans(row[4].split(" (").next().unwrap());
        assert_eq!(shown, expected, "ARCHITECTURE.md, uses of {room}");
    }
}

#[test]
fn the_purity_test_can_fail() {
    let wire = "use a;\nmod wire {\n    use aws_sdk_s3::x;\n    fn f() {}\n}\nfn g() {} // aws_sdk\n";
    assert_eq!(without_wire(wire), "use a;\nfn g() {} ");
    assert!(without_wire("use aws_sdk_s3::x;").contains("aws_sdk"));
}

#[test]
fn files_stay_readable() {
    for place in ["src", "tests"] {
        for file in files(place, "rs") {
            let lines = fs::read_to_string(&file).unwrap().lines().count();
            assert!(lines <= 600, "{} has {lines} lines: is there a room missing?", file.display());
        }
    }
}

/// Each file of `src/` with the files that it uses, except a `mod.rs`: that declares the files of its folder, and they
/// share its types.
fn used_files() -> BTreeMap<String, BTreeSet<String>> {
    let name = |file: &Path| file.strip_prefix(format!("{ROOT}/src")).unwrap().to_str().unwrap().replace('/', "::");
    let all: Vec<_> = files("src", "rs").into_iter().map(|file| (name(&file).trim_end_matches(".rs").to_owned(), file)).collect();
    let known: BTreeSet<_> = all.iter().map(|(module, _)| module.clone()).collect();
    let mut used = BTreeMap::new();
    for (module, file) in &all {
        if module.ends_with("::mod") || module.ends_with("tests") {
            continue;
        }
        let parent = module.rsplit_once("::").map_or("", |(parent, _)| parent);
        let text = fs::read_to_string(file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap().lines().filter(|line| !line.trim_start().starts_with("//"));
        let mut uses = BTreeSet::new();
        for line in code {
            let own = line.split("super::").skip(1).map(|rest| format!("{parent}::{rest}"));
            let other = line.split("crate::").skip(1).map(str::to_owned);
            for path in own.chain(other) {
                let parts: Vec<_> =
                    path.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).next().unwrap().split("::").collect();
                let longest =
                    (1..=parts.len()).rev().map(|length| parts[..length].join("::")).find(|module| known.contains(module));
                uses.extend(longest.filter(|used| used != module));
            }
        }
        used.insert(module.clone(), uses);
    }
    used
}

/// What `from` uses, also through others.
fn reached<'a>(from: &'a str, used: &'a BTreeMap<String, BTreeSet<String>>, found: &mut BTreeSet<&'a str>) {
    for next in used.get(from).into_iter().flatten() {
        if found.insert(next) {
            reached(next, used, found);
        }
    }
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let used = used_files();
    assert!(used["controller::reconcile"].contains("controller::finish"), "this test no longer reads `use`: {used:?}");
    let circular = |from: &&String| {
        let mut found = BTreeSet::new();
        reached(from, &used, &mut found);
        found.contains(from.as_str())
    };
    assert_eq!(used.keys().filter(circular).collect::<Vec<_>>(), [""; 0], "these files use each other in a circle");
}
