use serde_json::json;

use super::yaml::parse;
use super::*;

const CONNECTION: &str = "apiVersion: bucketconnection.dev/v1alpha1
kind: BucketConnection
metadata:
  name: genomics
spec:
  preset: ReadOnly
  region: eu-west-1
  bucket:
    name: lab-a-genomics
    prefix: runs/
";
const ACCOUNT: &str = "apiVersion: bucketconnection.dev/v1alpha1
kind: AWSAccount
metadata:
  name: default
spec:
  accountId: \"123456789012\"
  allowedNamespaces:
  - names: [lab]
    buckets: [lab-a-*]
    regions: [eu-west-1]
    presets: [ReadOnly]
";

fn findings(text: &str) -> Vec<Finding> {
    check(&read(&[("f.yaml".to_owned(), text.to_owned())], "lab"))
}

/// The findings of a text, each with its line, column and rule.
fn shown(text: &str) -> Vec<String> {
    let shown = |finding: Finding| format!("{}:{} {} {finding}", finding.at.line, finding.at.column, finding.rule);
    findings(text).into_iter().map(shown).collect()
}

/// The only finding of the connection with `from` replaced by `to`.
fn changed(from: &str, to: &str) -> String {
    assert!(CONNECTION.contains(from), "{from}");
    let found = shown(&CONNECTION.replace(from, to));
    assert_eq!(found.len(), 1, "{to}: {found:#?}");
    found.into_iter().next().unwrap_or_default()
}

#[test]
fn a_good_file_has_no_findings() {
    assert_eq!(shown(CONNECTION), [""; 0]);
    assert_eq!(shown(&format!("{CONNECTION}---\n{ACCOUNT}")), [""; 0]);
    assert_eq!(shown(""), [""; 0]);
    assert_eq!(shown("# only a comment\n---\n---\n"), [""; 0]);
    assert_eq!(shown(&format!("\u{feff}{}", CONNECTION.replace('\n', "\r\n"))), [""; 0], "a BOM, and lines of Windows");
    assert_eq!(shown("apiVersion: v1\nkind: ConfigMap\ndata: {a: b}\n"), [""; 0], "another kind");
}

#[test]
fn each_error_has_its_line_column_and_remedy() {
    let cases = [
        (
            "ReadOnly",
            "Readonly",
            "6:11 enum spec.preset: \"Readonly\" is not allowed (allowed: IlluminaICA, CLCGenomics, ReadOnly, ReadWrite, WriteOnly, Custom); did you mean ReadOnly?",
        ),
        ("region: eu-west-1", "region: no", "7:11 type spec.region: is false, but must be a text; put it in quotes"),
        ("    prefix:", "    prefx:", "10:5 unknown-field spec.bucket.prefx: no such field; did you mean prefix?"),
        ("    prefix:", "    colour:", "10:5 unknown-field spec.bucket.colour: no such field; correct or remove it"),
        ("  region: eu-west-1\n", "", "5:1 required spec.region: required, but missing"),
        ("runs/", "runs", "10:13 rule spec.bucket.prefix: bucket.prefix must end in \"/\", such as runs/"),
        ("    prefix: runs/", "    prefix: [runs/]", "10:13 type spec.bucket.prefix: is a list, but must be a text"),
        ("  bucket:", "  access: [lab]\n  bucket:", "8:11 type spec.access: is a list, but must be an object"),
        (
            "  bucket:",
            "  suspend: \"yes\"\n  bucket:",
            "8:12 type spec.suspend: is the text \"yes\", but must be true or false; remove the quotes, if it has some",
        ),
        (
            "  bucket:",
            "  access: {groups: lab}\n  bucket:",
            "8:20 type spec.access.groups: is the text \"lab\", but must be a list; begin each item with \"- \"",
        ),
        (
            "    name: lab-a-genomics",
            "    name:",
            "8:3 rule spec.bucket: the bucket needs a name or a namePrefix, and only one of them",
        ),
        (
            "  region:",
            "  preset: ReadWrite\n  region:",
            "7:3 duplicate-field the field preset is set twice, first in line 6; remove one of them",
        ),
        (
            "  bucket:",
            "  resyncInterval: 5s\n  bucket:",
            "8:19 rule spec.resyncInterval: resyncInterval must be a duration of at least 10s, written like 30s, 10m or 1h30m",
        ),
        (
            "  bucket:",
            "  management: {crs: Ignore}\n  bucket:",
            "8:3 spec spec.management: crs is not a section (allowed: default, bucket, user, policy, credentials, access, publicAccessBlock, ownership, encryption, tags, versioning, objectLock, acceleration, logging, requestPayment, lifecycle, intelligentTiering, policyStatements, cors)",
        ),
        (
            "name: genomics\n",
            "name: Genomics\n",
            "4:9 pattern metadata.name: \"Genomics\" is not a valid name; use lower-case letters, digits, dots and hyphens, at most 253; begin and end each part between dots with a letter or digit",
        ),
        ("  name: genomics", "  annotations: {a: b}", "3:1 required metadata.name: required, but missing"),
        (
            "  name: genomics",
            "  name: genomics\n  labels: {team: 7}",
            "5:18 type metadata.labels[team]: is the number 7, but must be a text; put it in quotes",
        ),
        (
            "v1alpha1",
            "v1",
            "1:13 kind apiVersion: unknown apiVersion \"bucketconnection.dev/v1\"; write bucketconnection.dev/v1alpha1",
        ),
        (
            "BucketConnection\n",
            "BucketConection\n",
            "2:7 kind kind: \"BucketConection\" is no kind of bucketconnection.dev; did you mean BucketConnection?",
        ),
        ("kind: BucketConnection\n", "", "1:1 kind kind: required, but missing; write BucketConnection or AWSAccount"),
        (
            "  bucket:\n",
            "  bucket:\n    tls: {}\n",
            "9:5 required spec.bucket.tls.minimumVersion: required, but missing (allowed: 1.2, 1.3)",
        ),
        ("spec:", "spc:", "1:1 required spec: required, but missing"),
    ];
    for (from, to, expected) in cases {
        let found = if to == "spc:" { shown(&CONNECTION.replace(from, to)).remove(0) } else { changed(from, to) };
        assert_eq!(found, expected);
    }
}

/// As the API server has them; the cases are those of its own tests of names, labels and annotations.
#[test]
fn names_in_the_metadata_are_checked() {
    let (label, name) = ("a".repeat(63), format!("{}.b", "a".repeat(251)));
    let good = [
        format!("name: {name}"),
        "name: 1.a-b".to_owned(),
        "generateName: a-".to_owned(),
        format!("name: a, namespace: {label}"),
        format!("name: a, labels: {{example.com/{label}: {label}, A_b.c: \"\", a.b/1: A_b.c-1}}"),
        format!("name: a, annotations: {{Example.COM/{label}: \"any text, {label}{label}\"}}"),
    ];
    let bad = [
        (format!("name: {name}b"), "pattern", "metadata.name"),
        ("name: -a".to_owned(), "pattern", "metadata.name"),
        ("name: a..b".to_owned(), "pattern", "metadata.name"),
        ("name: a/b".to_owned(), "pattern", "metadata.name"),
        ("generateName: a.-.-".to_owned(), "pattern", "metadata.generateName"),
        (format!("name: a, namespace: {label}a"), "pattern", "metadata.namespace"),
        ("name: a, namespace: a.b".to_owned(), "pattern", "metadata.namespace"),
        (format!("name: a, labels: {{{label}a: b}}"), "pattern", &*format!("metadata.labels[{label}a]")),
        ("name: a, labels: {Example.com/a: b}".to_owned(), "pattern", "metadata.labels[Example.com/a]"),
        ("name: a, labels: {/a: b}".to_owned(), "pattern", "metadata.labels[/a]"),
        ("name: a, labels: {a/b/c: b}".to_owned(), "pattern", "metadata.labels[a/b/c]"),
        ("name: a, labels: {a b: c}".to_owned(), "pattern", "metadata.labels[a b]"),
        (format!("name: a, labels: {{a: {label}a}}"), "pattern", "metadata.labels[a]"),
        ("name: a, labels: {a: -b}".to_owned(), "pattern", "metadata.labels[a]"),
        ("name: a, labels: {a: \"b c\"}".to_owned(), "pattern", "metadata.labels[a]"),
        ("name: a, annotations: {-a: b}".to_owned(), "pattern", "metadata.annotations[-a]"),
        (format!("name: a, annotations: {{a: {}}}", "b".repeat(256 * 1024)), "length", "metadata.annotations"),
    ];
    let found = |metadata: &str| {
        let mut found = findings(&CONNECTION.replace("\n  name: genomics\n", &format!(" {{{metadata}}}\n")));
        // The default name of the Secret is longer than the name.
        found.retain(|finding| finding.rule != "spec");
        found
    };
    for metadata in good {
        assert_eq!(found(&metadata), [], "{metadata}");
    }
    for (metadata, rule, field) in bad {
        let found = found(&metadata);
        let shown: Vec<_> = found.iter().map(|finding| (finding.rule, finding.field.as_deref().unwrap_or_default())).collect();
        assert_eq!(shown, [(rule, field)], "{}", &metadata[..metadata.len().min(100)]);
        assert!(found[0].message.len() < 400 && found[0].at.line == 3, "{found:?}");
    }
}

#[test]
fn all_errors_are_found_at_once() {
    let text = CONNECTION.replace("ReadOnly", "ReadAll").replace("    prefix: runs/", "    prefix: runs\n    size: 3");
    let more = format!("{text}---\na: [\n---\n{}", CONNECTION.replace("eu-west-1", "Mars").replace("genomics", "other"));
    let places: Vec<_> = findings(&more).iter().map(|finding| (finding.at.line, finding.rule)).collect();
    assert_eq!(places, [(6, "enum"), (10, "rule"), (11, "unknown-field"), (13, "syntax"), (21, "rule")]);
}

#[test]
fn broken_text_has_a_place_and_the_other_documents_are_read() {
    let cases = [
        ("spec:\n\tpreset: ReadOnly\n", "2:2", "indent with spaces, not with tabs"),
        ("a: \"b\n", "1:4", "quoted scalar"),
        ("a: *b\n", "1:4", "unknown anchor"),
        ("a: &a [*a]\n", "1:8", "part of"),
        ("name: {{ .Values.name }}\n", "1:8", "render the template first"),
        ("b: 1\n<<<<<<< HEAD\na: b\n", "2:", "merge conflict"),
        ("a: !!python/object:x y\n", "1:", "unknown tag"),
        ("- a\n", "1:1", "not an object"),
        ("{\"a\": 1}\n", "1:1", "neither apiVersion nor kind"),
        ("{}\n", "1:1", "neither apiVersion nor kind"),
        ("hello\n", "1:1", "not an object"),
    ];
    for (text, place, message) in cases {
        let all = shown(&format!("{text}---\n{}", CONNECTION.replace("runs/", "runs")));
        assert!(all.iter().any(|line| line.starts_with(place) && line.contains(message)), "{text}: {all:#?}");
        assert!(all.iter().any(|line| line.contains("bucket.prefix must end")), "{text}: {all:#?}");
    }
}

#[test]
fn json_and_lists_are_read_as_kubectl_reads_them() {
    let value = |name: &str| {
        json!({ "apiVersion": "bucketconnection.dev/v1alpha1", "kind": "BucketConnection", "metadata": { "name": name },
                "spec": { "preset": "ReadOnly", "region": "eu-west-1", "bucket": { "name": format!("bucket-{name}"), "prefx": "a/" } } })
    };
    let tabs = |text: String| text.replace("  ", "\t");
    let stream = [value("a"), value("b")].map(|value| tabs(serde_json::to_string_pretty(&value).unwrap_or_default())).join("\n");
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": [value("a"), value("b")] });
    for text in [stream, list.to_string(), tabs(serde_json::to_string_pretty(&list).unwrap_or_default())] {
        let found = findings(&text);
        assert_eq!(found.len(), 2, "{found:#?}");
        for finding in found {
            let line = text.lines().nth(finding.at.line - 1).unwrap_or_default();
            let rest: String = line.chars().skip(finding.at.column - 1).collect();
            assert!(rest.starts_with("\"prefx\""), "{rest}");
        }
    }
}

#[test]
fn anchors_and_merge_keys_are_resolved() {
    let text = "items:
- &first {apiVersion: bucketconnection.dev/v1alpha1, kind: BucketConnection, metadata: {name: first}, spec: &spec {preset: ReadOnly, region: eu-west-1, bucket: {name: bucket-a}}}
- <<: *first
  metadata: {name: second}
  spec:
    <<: *spec
    bucket: {name: bucket-b, prefix: runs}
kind: List
";
    assert_eq!(shown(text), ["7:38 rule spec.bucket.prefix: bucket.prefix must end in \"/\", such as runs/"]);
}

/// Each text would take minutes or gigabytes if it were read naively.
#[test]
fn hostile_text_takes_little() {
    let laughs = (1..40).fold("a0: &a0 [x, x]\n".to_owned(), |text, n| {
        let before = format!("*a{}", n - 1);
        format!("{text}a{n}: &a{n} [{before}, {before}, {before}]\n")
    });
    let merges =
        (1..2000).fold("a0: &a0 {k: 1}\n".to_owned(), |text, n| format!("{text}a{n}: &a{n} {{<<: *a{}, k{n}: 1}}\n", n - 1));
    for text in [laughs, merges] {
        let found = shown(&text);
        assert!(found.len() == 1 && found[0].contains("more than 100000 values"), "{found:?}");
    }
    for text in ["[".repeat(100_000), "{a: ".repeat(100_000), (0..500).map(|n| format!("{}a:\n", " ".repeat(n))).collect()] {
        let found = shown(&text);
        assert!(found.len() == 1 && found[0].contains("nested too deep"), "{found:?}");
    }
    let unknown: String = (0..3000).map(|n| format!("  field{n}: 1\n")).collect();
    assert_eq!(findings(&format!("{CONNECTION}{unknown}")).len(), 3000);
    assert_eq!(findings(&"a: [\n---\n".repeat(1000)).len(), 1000);
    let long = changed("ReadOnly", &"x".repeat(1_000_000));
    assert!(long.len() < 300, "{}", long.len());
}

#[test]
fn random_text_never_panics() {
    let alphabet: Vec<char> = "abk:-[]{}&*!|>'\"#%@` \n\t,?~0.9<\u{feff}ä\u{1f600}".chars().collect();
    let mut seed = 7_u64;
    for _ in 0..3000 {
        let text: String = (0..40)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                alphabet[usize::try_from(seed >> 33).unwrap_or_default() % alphabet.len()]
            })
            .collect();
        let (documents, flaws) = parse(&text);
        for flaw in flaws {
            assert!(flaw.at.line >= 1 && flaw.at.column >= 1, "{text:?}");
        }
        documents.iter().for_each(|document| drop(document.value()));
    }
}

#[test]
fn an_account_in_the_files_is_applied() {
    let both = |connection: &str| shown(&format!("{ACCOUNT}---\n{connection}"));
    let refused = both(&CONNECTION.replace("lab-a-genomics", "lab-b").replace("eu-west-1", "eu-north-1"));
    assert_eq!(
        refused,
        [
            "19:11 account spec.region: region eu-north-1 is not allowed to namespace lab: allowed: eu-west-1 (AWSAccount default, spec.allowedNamespaces[0])",
            "21:11 account spec.bucket.name: bucket.name lab-b is not allowed to namespace lab: allowed: lab-a-* (AWSAccount default, spec.allowedNamespaces[0])",
        ]
    );
    let other = both(&CONNECTION.replace("  name: genomics\n", "  name: genomics\n  namespace: other\n"));
    assert_eq!(other, ["18:1 account spec.accountRef: AWSAccount default allows nothing to namespace other"]);
    let selector = ACCOUNT.replace("names: [lab]", "selector: {matchLabels: {team: a}}");
    let open = findings(&format!("{selector}---\n{CONNECTION}"));
    assert_eq!(open.iter().map(|finding| finding.severity).collect::<Vec<_>>(), [Severity::Warning], "{open:#?}");
    let labels = "apiVersion: v1\nkind: Namespace\nmetadata: {name: lab, labels: {team: a}}\n";
    assert_eq!(shown(&format!("{selector}---\n{CONNECTION}---\n{labels}")), [""; 0]);
    let misspelled = shown(&ACCOUNT.replace("buckets:", "bukets:"));
    assert_eq!(misspelled, ["9:5 unknown-field spec.allowedNamespaces[0].bukets: no such field; did you mean buckets?"]);
}

#[test]
fn objects_that_exclude_each_other_are_named() {
    let twice = shown(&format!("{CONNECTION}---\n{CONNECTION}"));
    assert_eq!(twice, ["15:9 duplicate-object metadata.name: the same object is also in f.yaml:4; remove one of them"]);
    let same_bucket = shown(&format!("{CONNECTION}---\n{}", CONNECTION.replace("name: genomics", "name: other")));
    assert_eq!(
        same_bucket,
        [
            "20:11 conflict spec.bucket.name: bucket lab-a-genomics belongs to BucketConnection lab/genomics: choose another bucket.name, or delete that one first (lab/genomics is before it)",
        ]
    );
}

/// The order of the table is that of the documentation, and SARIF refers to it by index.
#[test]
fn the_rules_are_sorted() {
    assert!(RULES.is_sorted_by_key(|(id, _)| *id));
    let page = include_str!("../../docs/cli.md");
    for (id, text) in RULES {
        assert!(page.contains(&format!("| `{id}` | {text} |")), "docs/cli.md: {id}");
    }
}
