//! The site of docs/, built by the real mdBook: every link in it leads somewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::stack::ROOT;

/// All files of a folder, by their path in it.
fn files(place: &Path, name: &str, found: &mut BTreeMap<PathBuf, PathBuf>) {
    for entry in fs::read_dir(place).unwrap().map(|entry| entry.unwrap()) {
        let name = Path::new(name).join(entry.file_name());
        if entry.path().is_dir() {
            files(&entry.path(), name.to_str().unwrap(), found);
        } else {
            found.insert(name, entry.path());
        }
    }
}

/// The values of an attribute.
fn values<'a>(html: &'a str, attribute: &str) -> Vec<&'a str> {
    let begin = format!(" {attribute}=\"");
    html.split(begin.as_str()).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

/// Without `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => _ = normal.pop(),
            std::path::Component::Normal(part) => normal.push(part),
            _ => {}
        }
    }
    normal
}

/// The links of the pages that lead to no file or to no anchor; external links are not followed.
fn broken(pages: &BTreeMap<PathBuf, String>, exists: impl Fn(&Path) -> bool) -> Vec<String> {
    let ids: BTreeMap<_, BTreeSet<_>> =
        pages.iter().map(|(name, html)| (name, values(html, "id").into_iter().collect())).collect();
    let mut broken = Vec::new();
    for (page, html) in pages {
        let links = values(html, "href").into_iter().chain(values(html, "src"));
        for link in
            links.filter(|link| !["http://", "https://", "mailto:", "data:"].iter().any(|scheme| link.starts_with(scheme)))
        {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let to = if path.is_empty() { page.clone() } else { normal(&page.parent().unwrap().join(path)) };
            let lost = !anchor.is_empty() && ids.get(&to).is_some_and(|ids| !ids.contains(anchor));
            if !exists(&to) || lost {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    broken
}

#[test]
fn every_link_of_the_site_works() {
    let built = Command::new("python3").arg(format!("{ROOT}/docs/site.py")).output().expect("python3 runs");
    let output = [built.stdout, built.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
    assert!(built.status.success() && !output.contains("WARN") && !output.contains("ERROR"), "{output}");
    let mut all = BTreeMap::new();
    files(&Path::new(ROOT).join("target/book"), "", &mut all);
    let html = |(name, file): (&PathBuf, &PathBuf)| {
        name.extension().is_some_and(|extension| extension == "html").then(|| (name.clone(), fs::read_to_string(file).unwrap()))
    };
    let pages: BTreeMap<_, _> = all.iter().filter_map(html).collect();
    assert_eq!(broken(&pages, |file| all.contains_key(file)), [""; 0]);

    // Each page of docs/ has a place in the site, and the table of contents on each page leads there.
    let contents = &pages[Path::new("toc.html")];
    let mut sources = BTreeMap::new();
    files(&Path::new(ROOT).join("docs"), "docs", &mut sources);
    let is_page = |name: &&PathBuf| name.extension().is_some_and(|extension| extension == "md") && !name.ends_with("SUMMARY.md");
    for page in sources.keys().filter(is_page).map(|page| page.with_extension("html")) {
        assert!(pages.contains_key(&page), "docs/SUMMARY.md does not name the page of {}", page.display());
        assert!(values(contents, "href").contains(&page.to_str().unwrap()), "{} is not in the contents", page.display());
    }
    let reasons = values(&pages[Path::new("docs/troubleshooting.html")], "id").len();
    assert!(reasons > 50, "docs/troubleshooting.html has only {reasons} anchors: this test no longer reads the pages");
}

#[test]
fn a_broken_link_is_found() {
    let pages = [
        ("a.html", "<h1 id=\"top\"></h1><a href=\"docs/b.html#c\">"),
        ("docs/b.html", "<a href=\"../a.html#top\"> <img src=\"d.png\">"),
    ];
    let pages: BTreeMap<_, _> = pages.map(|(name, html)| (PathBuf::from(name), html.to_owned())).into();
    assert_eq!(broken(&pages, |file| pages.contains_key(file)), ["a.html: docs/b.html#c", "docs/b.html: d.png"]);
}
