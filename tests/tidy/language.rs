//! The prose of pages and comments: words that docs/messages.md refuses, broken links, and pages without a link.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bucketconnection::api::{AWSAccount, BucketConnection};
use bucketconnection::desired::{self, Account, Grant};
use serde_json::Value;

use super::{ROOT, files, read};

/// The pages for people: files, and folders with everything in them.
const PAGES: [&str; 8] =
    ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "docs", "examples", "tests/README.md"];
/// The page that lists the words.
const EXEMPT: [&str; 1] = ["docs/messages.md"];
/// Code whose comments are for people too: files and folders, by extension.
const CODE: [(&str, &str); 6] =
    [("src", "rs"), ("tests", "rs"), ("benches", "rs"), ("tests", "py"), ("deploy", "py"), ("deploy", "yaml")];
/// Files whose comments still have refused words.
const CODE_EXEMPT: [&str; 2] = ["deploy/local/run.py", "deploy/local/stack.py"];
/// Refused in pages only: a row of the table of the key machine (src/keys/mod.rs) has this word as part of its name.
const PAGES_ONLY: [&str; 1] = ["rights"];

fn pages() -> BTreeSet<PathBuf> {
    PAGES.iter().flat_map(|place| files(place, "md")).collect()
}

fn name(file: &Path) -> String {
    file.strip_prefix(ROOT).unwrap().to_str().unwrap().to_owned()
}

/// A page without code blocks, without tables that other tests write and, unless `spans`, without code spans.
fn prose(text: &str, spans: bool) -> String {
    let mut kept = String::new();
    let (mut fenced, mut may_indent, mut figures) = (false, true, false);
    for line in text.lines() {
        figures = (figures || line.contains(": written by make ")) && line != "<!-- end -->";
        let indented = may_indent && line.starts_with("    ");
        may_indent = indented || line.is_empty();
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced && !indented && !figures {
            let outside = line.split('`').enumerate().filter(|(part, _)| spans || part % 2 == 0).map(|(_, text)| text);
            kept.push_str(&outside.collect::<Vec<_>>().join(if spans { "" } else { " " }));
        }
        kept.push('\n');
    }
    kept
}

/// The comments of a YAML file.
fn comments(text: &str) -> String {
    text.lines().map(|line| line.split_once("# ").map_or("", |(_, comment)| comment)).collect::<Vec<_>>().join("\n")
}

/// The comments of a Rust file, without their code spans and code blocks; each in its line.
fn rust_comments(text: &str) -> String {
    let comment = |line: &str| {
        let trimmed = line.trim_start();
        if let Some(comment) = trimmed.strip_prefix("//") {
            return comment.trim_start_matches(['/', '!']).strip_prefix(' ').unwrap_or_default().to_owned();
        }
        // After code; a string may contain two slashes.
        let after = trimmed.split_once(" // ").filter(|(code, _)| code.matches('"').count() % 2 == 0);
        after.map_or(String::new(), |(_, comment)| comment.to_owned())
    };
    prose(&text.lines().map(comment).collect::<Vec<_>>().join("\n"), false)
}

/// The comments and docstrings of a Python file; each in its line.
fn python_comments(text: &str) -> String {
    let mut quoted = false;
    let comment = |line: &str| {
        let marks = line.matches("\"\"\"").count();
        let inside = quoted || marks > 0;
        quoted ^= marks % 2 == 1;
        if inside { line.trim_start().to_owned() } else { comments(line) }
    };
    prose(&text.lines().map(comment).collect::<Vec<_>>().join("\n"), false)
}

/// The words in the table between the markers, in their order.
fn refused() -> Vec<String> {
    let page = read("docs/messages.md");
    let table = page.split("<!-- refused words -->").nth(1).and_then(|rest| rest.split("<!-- end -->").next()).expect("markers");
    let rows = table.lines().filter(|line| line.starts_with("| ")).skip(1);
    rows.flat_map(|row| row.split('|').nth(1).unwrap().split(',')).map(|word| word.trim().to_owned()).collect()
}

/// Text in which words can be found, with its line breaks: a line break may split a phrase.
struct Searchable {
    lines: String,
    flat: String,
}

impl Searchable {
    fn new(text: &str) -> Self {
        let lines = text.to_lowercase().replace('’', "'");
        Self { flat: lines.replace('\n', " "), lines }
    }
}

/// The line of the first occurrence of `word`.
fn first(text: &Searchable, word: &str) -> Option<usize> {
    let part = |c: char| c.is_alphanumeric() || "_-/".contains(c);
    let Searchable { lines, flat } = text;
    let whole = |(start, _): &(usize, &str)| {
        let (before, after) = (flat[..*start].chars().next_back(), flat[start + word.len()..].chars().next());
        !before.is_some_and(part) && !after.is_some_and(part)
    };
    let (start, _) = flat.match_indices(word).find(whole)?;
    Some(lines[..start].matches('\n').count() + 1)
}

#[test]
fn the_prose_has_no_refused_words() {
    let words = refused();
    assert!(words.len() > 50, "docs/messages.md lists {} words only", words.len());
    let mut found = Vec::new();
    let mut read_all = |file: &Path, text: String| {
        let text = Searchable::new(&text);
        for word in words.iter().filter(|_| !EXEMPT.contains(&name(file).as_str())) {
            found.extend(first(&text, word).map(|line| format!("{}:{line}: {word:?}", name(file))));
        }
    };
    for file in pages() {
        let text = std::fs::read_to_string(&file).unwrap();
        read_all(&file, prose(&text, false));
    }
    for file in files("examples", "yaml") {
        let text = std::fs::read_to_string(&file).unwrap();
        read_all(&file, comments(&text));
    }
    assert!(found.is_empty(), "words that docs/messages.md refuses:\n{}", found.join("\n"));
}

/// Lines of a page that Markdown shows as something else: a table without a second line, and a command outside of a code block.
fn broken_markdown(text: &str) -> Vec<usize> {
    let (mut code, mut before, mut found) = (false, [""; 2], Vec::new());
    for (number, line) in text.lines().enumerate() {
        code ^= line.trim_start().starts_with("```");
        let separator = line.starts_with('|') && line.chars().all(|c| "|-: ".contains(c));
        let second = before[1].starts_with('|') && !before[0].starts_with('|') && line.starts_with('|');
        let alone = before[1].starts_with('|') && !before[0].starts_with('|') && !line.starts_with('|');
        if !code && ((second && !separator) || alone || line.starts_with("$ ")) {
            found.push(number + 1);
        }
        before = [before[1], if code { "" } else { line }];
    }
    found
}

#[test]
fn tables_and_commands_are_shown_as_such() {
    for file in pages() {
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(broken_markdown(&text), [0_usize; 0], "lines of {}", name(&file));
    }
    assert_eq!(broken_markdown("a\n\n| `x` | y |\n| `z` | w |\n\n$ ls\n"), [4, 6]);
    assert_eq!(broken_markdown("| a | b |\n|---|:-:|\n| c | d |\n\n```console\n$ ls | wc\n```\n"), [0_usize; 0]);
}

#[test]
fn the_comments_have_no_refused_words() {
    let words: Vec<_> = refused().into_iter().filter(|word| !PAGES_ONLY.contains(&word.as_str())).collect();
    let mut found = Vec::new();
    for (place, extension) in CODE {
        for file in files(place, extension).into_iter().filter(|file| !CODE_EXEMPT.contains(&name(file).as_str())) {
            let text = std::fs::read_to_string(&file).unwrap();
            let text = Searchable::new(&match extension {
                "rs" => rust_comments(&text),
                "py" => python_comments(&text),
                _ => comments(&text),
            });
            for word in &words {
                found.extend(first(&text, word).map(|line| format!("{}:{line}: {word:?}", name(&file))));
            }
        }
    }
    assert!(found.is_empty(), "words that docs/messages.md refuses, in comments:\n{}", found.join("\n"));
}

#[test]
fn a_refused_word_is_found() {
    let words = refused();
    let find = |text: &str| {
        let text = Searchable::new(text);
        words.iter().find_map(|word| Some((first(&text, word)?, word.as_str())))
    };
    assert_eq!(find("Fine.\n\nIt is for Whoever reads it.\n"), Some((3, "whoever")));
    assert_eq!(find("The bucket is taken\nover.\n"), Some((1, "taken over")));
    assert_eq!(find("Your bucket, four hours, the hour-glass.\n"), None);
    assert_eq!(find(&prose("`whoever` is code, and\n```\nso is somebody\n```\n", false)), None);
    assert_eq!(find(&comments("name: whoever # for nobody\n")), Some((1, "nobody")));
    assert_eq!(find(&rust_comments("let whoever = 1;\n    /// For `nobody`, or\n    /// somebody.\n")), Some((3, "somebody")));
    let [in_text, comment] = ["f(\"nobody / x\");", "g(); / ours"].map(|line| line.replace(" / ", " // "));
    assert_eq!(find(&rust_comments(&format!("{in_text}\n{comment}\n"))), Some((2, "ours")));
    assert_eq!(find(&rust_comments("let text = \"whoever\";\n//! It is taken\n//! over.\n")), Some((2, "taken over")));
    assert_eq!(find(&python_comments("whoever = 1\ndef f():\n    \"\"\"One.\n\n    For nobody.\"\"\"\n")), Some((5, "nobody")));
    assert_eq!(find(&python_comments("ours = f() # `ours`\n")), None);
}

/// The anchor of a heading, as code hosts generate it.
pub(crate) fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase().chars().filter(|c| c.is_alphanumeric() || "-_ ".contains(*c)).collect::<String>();
    kept.replace(' ', "-")
}

fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text, true);
    headings.lines().filter_map(|line| line.strip_prefix('#')?.trim_start_matches('#').strip_prefix(' ').map(anchor)).collect()
}

/// The targets of the links of a page, without URLs.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text, false);
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets.filter(|target| !target.contains("://")).map(str::to_owned).collect()
}

#[test]
fn links_work_and_every_page_is_linked() {
    let mut linked = BTreeSet::new();
    let mut broken = Vec::new();
    for file in pages() {
        let text = std::fs::read_to_string(&file).unwrap();
        for target in links(&text) {
            let (path, fragment) = target.split_once('#').unwrap_or((&target, ""));
            let to = if path.is_empty() { file.clone() } else { file.parent().unwrap().join(path) };
            let Ok(to) = to.canonicalize() else {
                broken.push(format!("{}: {target}", name(&file)));
                continue;
            };
            let page = to.extension().is_some_and(|extension| extension == "md");
            if page && !fragment.is_empty() && !anchors(&std::fs::read_to_string(&to).unwrap()).contains(fragment) {
                broken.push(format!("{}: {target} is no heading", name(&file)));
            }
            if to != file {
                linked.insert(to);
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
    let lost: Vec<_> = pages().iter().filter_map(|page| page.canonicalize().ok()).filter(|page| !linked.contains(page)).collect();
    assert!(lost.iter().all(|page| page.ends_with("README.md") || page.ends_with("SUMMARY.md")), "no page links these: {lost:?}");
}

/// The YAML blocks of a page that are objects of this operator.
fn objects(text: &str) -> Vec<Value> {
    let blocks = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    let ours = blocks.filter(|block| block.contains("apiVersion: bucketconnection.dev/"));
    ours.map(|block| serde_saphyr::from_str(block).unwrap_or_else(|error| panic!("{error}:\n{block}"))).collect()
}

/// Examples in files are applied (tests/apiserver/examples.rs); those in pages are resolved.
#[test]
fn the_objects_in_pages_are_valid() {
    let account = Account { id: "123456789012".into(), partition: "aws".into() };
    let mut resolved = BTreeSet::new();
    for page in pages() {
        for object in objects(&std::fs::read_to_string(&page).unwrap()) {
            let kind = object["kind"].as_str().unwrap().to_owned();
            let invalid = |error: &dyn std::fmt::Debug| -> ! { panic!("{}: {error:?}", name(&page)) };
            match kind.as_str() {
                "AWSAccount" => drop(serde_json::from_value::<AWSAccount>(object).unwrap_or_else(|error| invalid(&error))),
                _ => {
                    let object: BucketConnection = serde_json::from_value(object).unwrap_or_else(|error| invalid(&error));
                    let resolve = desired::resolve(&object, "cluster", &account, &Grant::of_unknown_account());
                    resolve.unwrap_or_else(|errors| invalid(&errors));
                }
            }
            resolved.insert(name(&page));
        }
    }
    assert!(["README.md", "docs/first-connection.md"].iter().all(|page| resolved.contains(*page)), "{resolved:?}");
}

#[test]
fn anchors_match_headings() {
    assert_eq!(
        anchors("# A `b.c` d\n\n### In AWS: the operator\n\n```\n# no\n```\n"),
        BTreeSet::from(["a-bc-d".into(), "in-aws-the-operator".into()])
    );
    assert_eq!(links("[a](b.md#c) [d](https://e) `[f](g)`"), ["b.md#c"]);
}
