//! The first YAML of a connection, with comments from the descriptions of the fields.

use std::fmt::Write;

use crate::api::Preset;
use crate::manifest::{Kind, description, is_text};

/// Columns of a comment.
const WIDTH: usize = 100;

/// What to connect.
#[derive(Clone, Debug)]
pub struct Starter {
    /// Name of the BucketConnection.
    pub name: String,
    /// Its namespace; none leaves it to who applies the file.
    pub namespace: Option<String>,
    /// The preset.
    pub preset: Preset,
    /// The region.
    pub region: String,
    /// Name of the bucket.
    pub bucket: String,
    /// The prefix; empty for the whole bucket.
    pub prefix: String,
}

/// Settings that are shown as comments, with an example: the ones that most people add next.
const MORE: [(&str, &str); 6] = [
    ("spec.bucket.adopt", "  bucket:\n    adopt: true"),
    (
        "spec.bucket.encryption",
        "  bucket:\n    encryption:\n      type: SSE-KMS\n      kmsKeyArn: arn:aws:kms:us-east-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
    ),
    ("spec.access", "  access:\n    groups: [lab-a]"),
    ("spec.credentials.rotation", "  credentials:\n    rotation:\n      interval: 90d"),
    ("spec.verification", "  verification:\n    objects: true"),
    ("spec.deletionPolicy", "  deletionPolicy: Delete"),
];

impl Starter {
    /// The YAML, which `validate` accepts if the answers are valid.
    pub fn yaml(&self) -> String {
        let mut text = String::new();
        text.push_str("apiVersion: bucketconnection.dev/v1alpha1\nkind: BucketConnection\nmetadata:\n");
        let _ = writeln!(text, "  name: {}", quoted(&self.name));
        if let Some(namespace) = &self.namespace {
            let _ = writeln!(text, "  namespace: {}", quoted(namespace));
        }
        text.push_str("spec:\n");
        field(&mut text, 2, "spec.preset", &self.preset.to_string());
        field(&mut text, 2, "spec.region", &quoted(&self.region));
        comment(&mut text, 2, "spec.bucket");
        text.push_str("  bucket:\n");
        field(&mut text, 4, "spec.bucket.name", &quoted(&self.bucket));
        match self.prefix.as_str() {
            "" if self.preset == Preset::IlluminaICA => field(&mut text, 4, "spec.bucket.allowRoot", "true"),
            "" => {}
            prefix => field(&mut text, 4, "spec.bucket.prefix", &quoted(prefix)),
        }
        text.push_str("\n# More fields, to uncomment and merge into the spec above (docs/api.md has all):\n");
        for (path, example) in MORE {
            text.push_str("#\n");
            let mut described = String::new();
            comment(&mut described, 0, path);
            text.push_str(&described);
            text.extend(example.lines().map(|line| format!("# {line}\n")));
        }
        text
    }
}

/// A field with its description.
fn field(text: &mut String, indent: usize, path: &str, value: &str) {
    comment(text, indent, path);
    let name = path.rsplit('.').next().unwrap_or(path);
    let _ = writeln!(text, "{:indent$}{name}: {value}", "");
}

/// The description of a field as a comment.
fn comment(text: &mut String, indent: usize, path: &str) {
    let description = description(Kind::BucketConnection, path).unwrap_or_default();
    let mut line = String::new();
    for word in description.split_whitespace() {
        if !line.is_empty() && indent + 2 + line.len() + 1 + word.len() > WIDTH {
            let _ = writeln!(text, "{:indent$}# {line}", "");
            line.clear();
        }
        let _ = write!(line, "{}{word}", if line.is_empty() { "" } else { " " });
    }
    if !line.is_empty() {
        let _ = writeln!(text, "{:indent$}# {line}", "");
    }
}

/// A text of YAML, in quotes if it needs them.
fn quoted(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "/_.-".contains(c));
    if plain && is_text(text) { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{check, read};

    fn starter(preset: Preset, prefix: &str) -> Starter {
        let (name, region, bucket) = ("genomics".to_owned(), "us-east-1".to_owned(), "lab-a-genomics".to_owned());
        Starter { name, namespace: Some("lab".to_owned()), preset, region, bucket, prefix: prefix.to_owned() }
    }

    #[test]
    fn what_it_writes_is_valid() {
        let presets = [Preset::IlluminaICA, Preset::CLCGenomics, Preset::ReadOnly, Preset::ReadWrite, Preset::WriteOnly];
        for preset in presets {
            for prefix in ["", "runs/", "no/", "a b: c/", "007/"] {
                let text = starter(preset, prefix).yaml();
                let manifest = read(&[("f".to_owned(), text.clone())], "default");
                assert_eq!(check(&manifest), [], "{text}");
                let spec = &manifest.connections[0].object.as_ref().unwrap().spec;
                assert_eq!((spec.preset, spec.bucket.prefix.as_deref().unwrap_or_default()), (preset, prefix));
            }
        }
    }

    #[test]
    fn a_name_that_looks_like_a_number_stays_a_text() {
        let starter = Starter { name: "no".to_owned(), bucket: "0123".to_owned(), ..starter(Preset::ReadOnly, "") };
        assert_eq!(check(&read(&[("f".to_owned(), starter.yaml())], "default")), []);
    }

    /// Each example is valid too, once it is uncommented.
    #[test]
    fn the_examples_in_comments_are_valid() {
        let text = starter(Preset::ReadWrite, "runs/").yaml();
        for (path, example) in MORE {
            assert!(description(Kind::BucketConnection, path).is_some(), "{path}");
            let example = example.strip_prefix("  bucket:\n");
            let (own, bucket) = (example.is_none(), example.unwrap_or_default());
            let added = MORE.iter().find(|(known, _)| *known == path).map(|(_, whole)| *whole).unwrap_or_default();
            let whole = match own {
                true => text.replacen("spec:\n", &format!("spec:\n{added}\n"), 1),
                false => text.replacen("  bucket:\n", &format!("  bucket:\n{bucket}\n"), 1),
            };
            assert_eq!(check(&read(&[("f".to_owned(), whole.clone())], "default")), [], "{whole}");
        }
    }

    #[test]
    fn comments_are_the_descriptions_of_the_fields() {
        let text = starter(Preset::IlluminaICA, "runs/").yaml();
        let words: Vec<_> = text.split_whitespace().filter(|word| *word != "#").collect();
        for path in ["spec.preset", "spec.region", "spec.bucket.prefix", "spec.deletionPolicy"] {
            let described: Vec<_> = description(Kind::BucketConnection, path).unwrap().split_whitespace().collect();
            assert!(words.windows(described.len()).any(|window| window == described), "{path}");
        }
        assert!(text.lines().all(|line| line.len() <= WIDTH + 20), "{text}");
    }
}
