//! What a word of YAML is: text, number, truth value or nothing; exactly as kubectl reads it (go-yaml, YAML 1.1), so that
//! `region: no` is the truth value there and here.

use serde_json::{Number, Value};

const TRUE: [&str; 11] = ["y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"];
const FALSE: [&str; 11] = ["n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"];
const NULL: [&str; 5] = ["", "~", "null", "Null", "NULL"];

/// The value of a scalar. `plain` is one without quotes; `tag` is its tag of YAML's core schema, if it has any tag.
pub(super) fn resolve(text: &str, plain: bool, tag: Option<&str>) -> Result<Value, String> {
    match tag {
        Some("str") => Ok(Value::String(text.to_owned())),
        None if !plain => Ok(Value::String(text.to_owned())),
        None => Ok(word(text)),
        Some("null") if NULL.contains(&text) => Ok(Value::Null),
        Some("bool") if word(text).is_boolean() => Ok(word(text)),
        Some("int" | "float") if word(text).is_number() => Ok(word(text)),
        Some("null" | "bool" | "int" | "float") => Err(format!("{text} does not fit its tag !!{}", tag.unwrap_or_default())),
        Some(_) => Err("an unknown tag; a value of Kubernetes has none".to_owned()),
    }
}

/// Whether a word without quotes is a text.
pub fn is_text(word: &str) -> bool {
    self::word(word).is_string()
}

fn word(text: &str) -> Value {
    if TRUE.contains(&text) {
        return Value::Bool(true);
    }
    if FALSE.contains(&text) {
        return Value::Bool(false);
    }
    if NULL.contains(&text) {
        return Value::Null;
    }
    number(text).map_or_else(|| Value::String(text.to_owned()), Value::Number)
}

fn number(text: &str) -> Option<Number> {
    if !text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) {
        return None;
    }
    let plain = text.replace('_', "");
    let (sign, digits) = match plain.strip_prefix(['-', '+']) {
        Some(digits) => (&plain[..1], digits),
        None => ("", plain.as_str()),
    };
    let integer = |radix, digits: &str| {
        let signless = !digits.starts_with(['+', '-']);
        let signed = || i64::from_str_radix(&format!("{sign}{digits}"), radix).ok().map(Number::from);
        let unsigned = || u64::from_str_radix(digits, radix).ok().filter(|_| sign != "-").map(Number::from);
        signless.then(|| signed().or_else(unsigned)).flatten()
    };
    let lower = digits.to_ascii_lowercase();
    let of_radix = [("0x", 16), ("0o", 8), ("0b", 2)]
        .into_iter()
        .find_map(|(prefix, radix)| lower.strip_prefix(prefix).map(|digits| integer(radix, digits)));
    match of_radix {
        Some(found) => found,
        // An octal number of C; 09 is none, and becomes a float.
        None if lower.len() > 1 && lower.starts_with('0') && integer(8, &lower).is_some() => integer(8, &lower),
        None if lower.starts_with('0') && lower.len() > 1 => float(&plain, digits),
        None => integer(10, &lower).or_else(|| float(&plain, digits)),
    }
}

/// A float as YAML writes it: digits, a point, an exponent.
fn float(text: &str, digits: &str) -> Option<Number> {
    let first = digits.strip_prefix('.').unwrap_or(digits).starts_with(|c: char| c.is_ascii_digit());
    let known = digits.chars().all(|c| c.is_ascii_digit() || ".eE+-".contains(c));
    let value: f64 = (first && known).then(|| text.parse().ok()).flatten()?;
    // kubectl sends JSON, in which 1e3 is 1000.
    let whole = (value.fract() == 0.0 && value.abs() < 1e15).then(|| format!("{value:.0}").parse::<i64>().ok()).flatten();
    whole.map(Number::from).or_else(|| Number::from_f64(value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_are_what_kubectl_reads() {
        // The expected values are the answers of sigs.k8s.io/yaml, which kubectl uses.
        let cases = [
            ("no", json!(false)),
            ("On", json!(true)),
            ("oN", json!("oN")),
            ("y", json!(true)),
            ("~", json!(null)),
            ("", json!(null)),
            ("12", json!(12)),
            ("-12", json!(-12)),
            ("+12", json!(12)),
            ("1_000", json!(1000)),
            ("010", json!(8)),
            ("0o10", json!(8)),
            ("09", json!(9)),
            ("0x1F", json!(31)),
            ("0b11", json!(3)),
            ("1.5", json!(1.5)),
            (".5", json!(0.5)),
            ("1e3", json!(1000)),
            ("1.2.3", json!("1.2.3")),
            ("1d", json!("1d")),
            ("12h", json!("12h")),
            ("2026-01-02", json!("2026-01-02")),
            ("123456789012", json!(123_456_789_012_u64)),
            ("012345678901", json!(12_345_678_901_u64)),
            ("18446744073709551615", json!(u64::MAX)),
            ("us-east-1", json!("us-east-1")),
            ("1.", json!(1)),
            ("1e", json!("1e")),
            ("1e400", json!("1e400")),
            ("-0x10", json!(-16)),
            ("0O17", json!(15)),
            ("0x_1", json!(1)),
            ("_1", json!("_1")),
            ("1_", json!(1)),
            ("0_8", json!(8)),
            ("08.5", json!(8.5)),
            ("00", json!(0)),
            ("0b2", json!("0b2")),
            ("+0b1", json!(1)),
            ("1:30", json!("1:30")),
            ("1,000", json!("1,000")),
            (".", json!(".")),
            ("0x", json!("0x")),
            ("--1", json!("--1")),
        ];
        for (text, expected) in cases {
            assert_eq!(resolve(text, true, None), Ok(expected), "{text}");
            assert_eq!(resolve(text, false, None), Ok(json!(text)), "{text} in quotes");
        }
        assert_eq!(resolve("12", true, Some("str")), Ok(json!("12")));
        assert!(resolve("a", true, Some("int")).is_err());
        assert!(resolve("a", true, Some("?")).is_err());
    }
}
