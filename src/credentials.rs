//! An access key, and its form in a Secret. Its secret part can be neither printed nor serialized.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::ByteString;
use serde::de::value::StrDeserializer;
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

/// A string that prints as `(secret)`, cannot be serialized and is wiped from memory when dropped.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Sensitive(Zeroizing<String>);

impl Sensitive {
    /// Wraps `text` without a copy.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself: only for the Secret and for signing.
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPair {
    /// Its id; not secret.
    pub id: String,
    /// Its secret part.
    pub secret: Sensitive,
}

/// An access key with which the operator signs in to an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountKey {
    /// The key.
    pub key: KeyPair,
    /// The session token, if the key is temporary.
    pub token: Option<Sensitive>,
}

impl AccountKey {
    /// The key in the `data` of a Secret; or the field that has no part of a key, and why. Only the operator reads it,
    /// so white space at the ends does not matter.
    pub fn in_data(data: &BTreeMap<String, Sensitive>) -> Result<Self, String> {
        let data: BTreeMap<_, _> =
            data.iter().map(|(name, value)| (name.clone(), Sensitive::new(value.reveal().trim().to_owned()))).collect();
        let key = written_key(&data)?;
        let token = data.get(TOKEN).filter(|token| !token.reveal().is_empty());
        match token.and_then(|token| flaw(token.reveal())) {
            Some(flaw) => Err(told(TOKEN, flaw)),
            None => Ok(Self { key, token: token.cloned() }),
        }
    }
}

const ID: &str = "AWS_ACCESS_KEY_ID";
const SECRET: &str = "AWS_SECRET_ACCESS_KEY";
const TOKEN: &str = "AWS_SESSION_TOKEN";
/// An AWS credentials file, to be mounted at the path in `AWS_SHARED_CREDENTIALS_FILE`.
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

/// The keys in a Secret's data: that of the plain fields, and that of the credentials file if it is another. If someone
/// edited the first, the second may still work.
pub fn keys_in(data: &BTreeMap<String, Sensitive>) -> Vec<KeyPair> {
    let plain = match (data.get(ID), data.get(SECRET)) {
        // A line break that an edit left is corrected when the field is written again.
        (Some(id), Some(secret)) => pair(id.reveal().trim(), secret.reveal().trim()),
        _ => None,
    };
    let mut keys: Vec<_> = plain.into_iter().collect();
    keys.extend(in_file(data).filter(|file| keys.first() != Some(file)));
    keys
}

/// The key that a person wrote into a Secret, exactly as other readers of the Secret find it; or the field that has no
/// part of a key, and why. The text never contains the value of the field.
pub fn written_key(data: &BTreeMap<String, Sensitive>) -> Result<KeyPair, String> {
    let (id, secret) = match (data.get(ID), data.get(SECRET)) {
        (None, None) => return in_file(data).ok_or_else(|| format!("it has no {ID} and no {SECRET}")),
        (id, secret) => {
            (id.ok_or_else(|| format!("it has no {ID}"))?.reveal(), secret.ok_or_else(|| format!("it has no {SECRET}"))?.reveal())
        }
    };
    for (name, value) in [(ID, id), (SECRET, secret)] {
        if let Some(flaw) = flaw(value) {
            return Err(told(name, flaw));
        }
    }
    pair(id, secret).ok_or_else(|| told(ID, "is no access key id, which has capital letters and digits only"))
}

fn told(field: &str, flaw: &str) -> String {
    format!("its field {field} {flaw}: write the plain value, as with stringData or kubectl create secret generic --from-literal")
}

/// The error in a part of a key, from a list of what encoders and editors do to it.
fn flaw(value: &str) -> Option<&'static str> {
    let quote = |c: char| c == '"' || c == '\'';
    Some(match value {
        _ if value.trim().is_empty() => "is empty",
        // The bytes were converted to text before.
        _ if value.contains(['\0', '\u{fffd}', '\u{feff}']) => "is no plain text, but UTF-16 or with a byte order mark",
        _ if value.ends_with(['\n', '\r']) => "ends in a line break",
        _ if value.ends_with(char::is_whitespace) => "ends in a blank",
        _ if value.starts_with(char::is_whitespace) => "begins with a blank or line break",
        _ if value.contains(char::is_whitespace) => "has a blank or line break inside",
        _ if value.starts_with(quote) || value.ends_with(quote) => "is in quotes",
        _ if is_encoded(value) => "is base64 still, so it was encoded twice",
        _ => return None,
    })
}

/// Whether it is base64 of text. A secret part may look like base64, but hardly ever decodes to text.
fn is_encoded(value: &str) -> bool {
    let decoded: Result<ByteString, serde::de::value::Error> = ByteString::deserialize(StrDeserializer::new(value));
    decoded.is_ok_and(|bytes| {
        let text = Zeroizing::new(bytes.0);
        text.len() >= 12 && text.iter().all(|b| b.is_ascii_graphic() || b.is_ascii_whitespace())
    })
}

/// The key in the credentials file.
fn in_file(data: &BTreeMap<String, Sensitive>) -> Option<KeyPair> {
    let file = data.get(FILE)?;
    let value = |name: &str| {
        let mut lines = file.reveal().lines().filter_map(|line| line.split_once('='));
        lines.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim())
    };
    pair(value("aws_access_key_id")?, value("aws_secret_access_key")?)
}

fn pair(id: &str, secret: &str) -> Option<KeyPair> {
    // A value that is not a key id would end up in the signature's header, and in the status: the secret part, if
    // someone has confused the two. Ids have only capitals and digits, which is never true of the 40 characters of a
    // secret part.
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

    /// What happens to keys on their way into a Secret, and the error text: it names the field, and never its value.
    #[test]
    fn a_key_that_was_written_wrong_says_how() {
        let (id, secret) = ("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
        // As bytes that are not UTF-8 become text.
        let utf_16 = |text: &str| text.chars().flat_map(|c| [c, '\0']).collect::<String>();
        let encoded =
            |text: &str| serde_json::to_value(ByteString(text.as_bytes().to_vec())).unwrap().as_str().unwrap().to_owned();
        let table = [
            (format!("{id}\n"), secret.to_owned(), "AWS_ACCESS_KEY_ID ends in a line break"),
            (id.to_owned(), format!("{secret}\n"), "AWS_SECRET_ACCESS_KEY ends in a line break"),
            (format!("{id}\r\n"), format!("{secret}\r\n"), "AWS_ACCESS_KEY_ID ends in a line break"),
            (id.to_owned(), format!("{secret} "), "AWS_SECRET_ACCESS_KEY ends in a blank"),
            (format!(" {id}"), secret.to_owned(), "AWS_ACCESS_KEY_ID begins with a blank"),
            (
                id.to_owned(),
                format!("{}\n{}", &secret[..20], &secret[20..]),
                "AWS_SECRET_ACCESS_KEY has a blank or line break inside",
            ),
            (format!("\"{id}\""), secret.to_owned(), "AWS_ACCESS_KEY_ID is in quotes"),
            (utf_16(id), secret.to_owned(), "AWS_ACCESS_KEY_ID is no plain text, but UTF-16"),
            (format!("\u{fffd}\u{fffd}{}", utf_16(id)), secret.to_owned(), "AWS_ACCESS_KEY_ID is no plain text, but UTF-16"),
            (format!("\u{feff}{id}"), secret.to_owned(), "AWS_ACCESS_KEY_ID is no plain text"),
            (encoded(id), secret.to_owned(), "AWS_ACCESS_KEY_ID is base64 still"),
            (id.to_owned(), encoded(secret), "AWS_SECRET_ACCESS_KEY is base64 still"),
            (id.to_owned(), encoded(&format!("{secret}\n")), "AWS_SECRET_ACCESS_KEY is base64 still"),
            (secret.to_owned(), id.to_owned(), "AWS_ACCESS_KEY_ID is no access key id"),
            (String::new(), secret.to_owned(), "AWS_ACCESS_KEY_ID is empty"),
        ];
        let data = |id: &str, secret: &str| {
            BTreeMap::from([(ID.to_owned(), Sensitive::new(id.into())), (SECRET.to_owned(), Sensitive::new(secret.into()))])
        };
        for (wrong_id, wrong_secret, expected) in table {
            let data = data(&wrong_id, &wrong_secret);
            let said = written_key(&data).unwrap_err();
            assert!(said.contains(expected), "{said}");
            assert!(!said.contains(id) && !said.contains(&secret[..20]), "{said}");
            // Only the operator reads an account's key, so white space around both parts is removed.
            let around = expected.contains("ends in") || expected.contains("begins with");
            match AccountKey::in_data(&data) {
                Ok(account) => assert!(around && account.key == key(id, secret), "{expected}"),
                Err(text) => assert!(!around && text.contains(expected), "{text}"),
            }
        }
        assert_eq!(written_key(&data(id, secret)), Ok(key(id, secret)));
        assert_eq!(written_key(&BTreeMap::new()).unwrap_err(), "it has no AWS_ACCESS_KEY_ID and no AWS_SECRET_ACCESS_KEY");
        let mut half = data(id, secret);
        half.remove(SECRET);
        assert_eq!(written_key(&half).unwrap_err(), "it has no AWS_SECRET_ACCESS_KEY");
    }

    #[test]
    fn a_line_break_in_our_own_secret_loses_no_key() {
        let mut data = stored(&key("AKIA1", "a/b+c="));
        for field in [ID, SECRET] {
            let broken = format!("{}\n", data[field].reveal());
            data.insert(field.into(), Sensitive::new(broken));
        }
        data.remove(FILE);
        assert_eq!(keys_in(&data), [key("AKIA1", "a/b+c=")]);
    }

    #[test]
    fn it_never_prints() {
        assert!(!format!("{:?}", key("AKIA1", "hush")).contains("hush"));
    }
}
