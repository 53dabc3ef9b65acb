//! A length of time in days and shorter units, such as `90d` or `36h`.

use std::fmt;
use std::str::FromStr;

use jiff::SignedDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The format of a period: each unit at most once, larger units first. The parser accepts exactly this, so that every
/// stored object can be read.
const PATTERN: &str = "^([0-9]{1,5}d)?([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?$";
/// The units and their seconds, in the order of the pattern.
const UNITS: [(char, i64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];
/// The most digits of a number.
const DIGITS: usize = 5;

/// A length of time as a spec writes it: `90d`, `36h` or `1d12h`. A day has 24 hours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Period {
    text: String,
    length: SignedDuration,
}

impl Period {
    /// Its length.
    pub fn length(&self) -> SignedDuration {
        self.length
    }
}

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a period: write it like 90d, 36h or 1d12h, each unit once and the larger first");
        let (mut rest, mut seconds) = (text, 0);
        for (unit, length) in UNITS {
            let Some((number, after)) = rest.split_once(unit) else { continue };
            let digits = number.len() <= DIGITS && number.bytes().all(|byte| byte.is_ascii_digit());
            // An empty string is not a number.
            let number = number.parse::<i64>().ok().filter(|_| digits).ok_or_else(wrong)?;
            (rest, seconds) = (after, seconds + number * length);
        }
        if text.is_empty() || !rest.is_empty() {
            return Err(wrong());
        }
        let length = SignedDuration::from_secs(seconds);
        Ok(Self { text: text.to_owned(), length })
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Period {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Period".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": PATTERN, "minLength": 1, "maxLength": 32 })
    }
}

#[cfg(test)]
mod tests {
    use kube::core::cel::{Validator, compile_schema};
    use serde_json::json;

    use super::*;

    #[test]
    fn periods_are_days_and_shorter_units() {
        let hours = |text: &str| text.parse::<Period>().map(|period| period.length().as_hours());
        assert_eq!(hours("90d"), Ok(90 * 24));
        assert_eq!(hours("1d12h"), Ok(36));
        assert_eq!("45s".parse::<Period>().unwrap().length(), SignedDuration::from_secs(45));
        for wrong in ["", "90", "d", "-1d", "+1d", "one day", "12h1d", "1h1h", "1d1d", "60m1h", "123456s", "1d "] {
            assert!(wrong.parse::<Period>().is_err(), "{wrong}");
        }
    }

    /// Compares the pattern, as CEL matches it, with the parser, for all short strings of the relevant characters.
    #[test]
    fn the_pattern_is_what_the_parser_takes() {
        let rule = json!([{ "rule": format!("self == '' || self.matches('{PATTERN}')"), "message": "differs" }]);
        let schema = compile_schema(&json!({ "type": "string", "x-kubernetes-validations": rule }));
        let mut texts = vec![String::new()];
        for _ in 0..5 {
            let longer = texts.iter().flat_map(|text| "1dhms".chars().map(move |character| format!("{text}{character}")));
            texts = std::iter::once(String::new()).chain(longer).collect();
        }
        texts.extend(
            ["12345d", "123456d", "99999d99999h99999m99999s", " 1d", "1d\n", "1D", "\u{661}d", "1.5h", "P1D"].map(str::to_owned),
        );
        for text in &texts {
            let fits = Validator::new().validate_compiled(&schema, &json!(text), None).is_ok() && !text.is_empty();
            assert_eq!(text.parse::<Period>().is_ok(), fits, "{text:?}");
        }
        assert!(texts.len() > 3_900);
    }
}
