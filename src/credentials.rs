//! An access key, and the form it has in a Secret. Its secret part can neither be printed nor serialized.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

/// A string that prints as `(secret)`, cannot be serialized and is wiped from memory when dropped.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Sensitive(Zeroizing<String>);

impl Sensitive {
    /// Takes over `text`.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself: for the Secret and for signing only.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Sensitive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl<'de> Deserialize<'de> for Sensitive {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// An access key with its secret part.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct KeyPair {
    /// Its id; not secret.
    pub id: String,
    /// Its secret part.
    pub secret: Sensitive,
}

/// An access key that the operator signs in to an account with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountKey {
    /// The key.
    pub key: KeyPair,
    /// The session token, where it is a temporary one.
    pub token: Option<Sensitive>,
}

impl AccountKey {
    /// The key in the `data` of a Secret; or the name of the field that is missing.
    pub fn in_data(mut data: BTreeMap<String, Sensitive>) -> Result<Self, &'static str> {
        let mut take = |name| data.remove(name).filter(|value| !value.reveal().trim().is_empty());
        let (id, secret) = (take(ID).ok_or(ID)?, take(SECRET).ok_or(SECRET)?);
        let id = id.reveal().trim().to_owned();
        Ok(Self { key: KeyPair { id, secret }, token: take("AWS_SESSION_TOKEN") })
    }
}

const ID: &str = "AWS_ACCESS_KEY_ID";
const SECRET: &str = "AWS_SECRET_ACCESS_KEY";
/// An AWS credentials file, to be mounted where `AWS_SHARED_CREDENTIALS_FILE` points.
const FILE: &str = "credentials";

/// The data of a Secret; a field that contains the secret part is marked.
pub struct Field {
    /// Its value.
    pub value: Sensitive,
    /// Whether it must not be shown.
    pub secret: bool,
}

/// The data of the Secret that holds `key` and the other `fields`.
pub fn secret_data(fields: &BTreeMap<&'static str, String>, key: &KeyPair) -> BTreeMap<&'static str, Field> {
    let file = format!("[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n", key.id, key.secret.reveal());
    let open = |text: &str| Field { value: Sensitive::new(text.to_owned()), secret: false };
    let mut data: BTreeMap<_, _> = fields.iter().map(|(name, value)| (*name, open(value))).collect();
    data.insert(ID, open(&key.id));
    data.insert(SECRET, Field { value: key.secret.clone(), secret: true });
    data.insert(FILE, Field { value: Sensitive::new(file), secret: true });
    data
}

/// The keys that a Secret's data hold: the plain fields', and the credentials file's where it is another. The second gets a
/// chance when somebody edited the first.
pub fn keys_in(data: &BTreeMap<String, Sensitive>) -> Vec<KeyPair> {
    let plain = match (data.get(ID), data.get(SECRET)) {
        (Some(id), Some(secret)) => pair(id.reveal(), secret.reveal()),
        _ => None,
    };
    let file = data.get(FILE).and_then(|file| {
        let value = |name: &str| {
            let mut lines = file.reveal().lines().filter_map(|line| line.split_once('='));
            lines.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim())
        };
        pair(value("aws_access_key_id")?, value("aws_secret_access_key")?)
    });
    let mut keys: Vec<_> = plain.into_iter().collect();
    keys.extend(file.filter(|file| keys.first() != Some(file)));
    keys
}

fn pair(id: &str, secret: &str) -> Option<KeyPair> {
    // An id that is no key id would end in the signature's header, and in the status: the secret part, where somebody has confused the
    // two. Ids have capitals and digits only, which forty characters of a secret part never are.
    let capital = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit();
    let plausible = !id.is_empty() && id.len() <= 128 && id.bytes().all(capital) && !secret.is_empty();
    plausible.then(|| KeyPair { id: id.to_owned(), secret: Sensitive::new(secret.to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: &str, secret: &str) -> KeyPair {
        KeyPair { id: id.into(), secret: Sensitive::new(secret.into()) }
    }

    fn stored(key: &KeyPair) -> BTreeMap<String, Sensitive> {
        let fields = BTreeMap::from([("AWS_REGION", "r".to_owned())]);
        secret_data(&fields, key).into_iter().map(|(name, field)| (name.to_owned(), field.value)).collect()
    }

    #[test]
    fn a_key_is_found_where_it_was_written() {
        assert_eq!(keys_in(&stored(&key("AKIA1", "a/b+c="))), [key("AKIA1", "a/b+c=")]);
    }

    #[test]
    fn the_file_helps_when_a_field_was_edited() {
        let mut data = stored(&key("AKIA1", "right"));
        data.insert(SECRET.into(), Sensitive::new("wrong".into()));
        assert_eq!(keys_in(&data), [key("AKIA1", "wrong"), key("AKIA1", "right")]);
        data.remove(ID);
        assert_eq!(keys_in(&data), [key("AKIA1", "right")]);
        data.insert(FILE.into(), Sensitive::new("nonsense".into()));
        assert_eq!(keys_in(&data), []);
    }

    #[test]
    fn a_secret_part_in_the_place_of_the_id_is_no_key() {
        assert_eq!(keys_in(&stored(&key("wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY12", "AKIA1"))), []);
    }

    #[test]
    fn it_never_prints() {
        assert!(!format!("{:?}", key("AKIA1", "hush")).contains("hush"));
    }
}
