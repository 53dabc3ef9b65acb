//! A length of time in days and shorter units, such as `90d` or `36h`.

use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Span, SpanRelativeTo};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How a period is written.
const PATTERN: &str = "^([0-9]{1,5}(d|h|m|s))+$";

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
        let wrong = || format!("{text:?} is no period: it is written like 90d, 36h or 1d12h");
        let span = Span::from_str(text).map_err(|_| wrong())?;
        let length = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())?;
        if length.is_negative() {
            return Err(wrong());
        }
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
        json_schema!({ "type": "string", "pattern": PATTERN, "maxLength": 32 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_days_and_shorter_units() {
        let hours = |text: &str| text.parse::<Period>().map(|period| period.length().as_hours());
        assert_eq!(hours("90d"), Ok(90 * 24));
        assert_eq!(hours("1d12h"), Ok(36));
        assert_eq!("45s".parse::<Period>().unwrap().length(), SignedDuration::from_secs(45));
        for wrong in ["", "90", "d", "-1d", "one day"] {
            assert!(wrong.parse::<Period>().is_err(), "{wrong}");
        }
    }
}
