//! Keys of objects in the XML that S3 sends and receives. A key can contain characters that XML 1.0 cannot.

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::list_objects_v2::builders::ListObjectsV2FluentBuilder;
use aws_sdk_s3::types::EncodingType;
use percent_encoding::percent_decode_str;

/// A listing of the keys that begin with `prefix`. They come URL-encoded: an answer in XML cannot contain every key.
pub(crate) fn list_keys(s3: &Client, bucket: &str, prefix: &str) -> ListObjectsV2FluentBuilder {
    s3.list_objects_v2().bucket(bucket).prefix(prefix).encoding_type(EncodingType::Url)
}

/// The key, or part of a key, from a list that was requested with `encoding-type=url`. Some servers ignore the request:
/// `encoded` is whether the answer names the encoding.
pub(crate) fn decoded_key(key: &str, encoded: bool) -> String {
    if !encoded {
        return key.to_owned();
    }
    // In this encoding a space is a plus, and a plus is %2B.
    percent_decode_str(&key.replace('+', " ")).decode_utf8_lossy().into_owned()
}

/// Whether a request in XML can contain the key (<https://www.w3.org/TR/xml/#charsets>). A parser turns a carriage return into
/// a line feed, and `Icon\r` of macOS is such a key.
pub(crate) fn is_xml(key: &str) -> bool {
    !key.contains(|c| matches!(c, '\u{0}'..='\u{8}' | '\u{b}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_decoded_only_if_they_were_encoded() {
        for (sent, key) in [("a+b%2Bc%25/%01%C3%BC", "a b+c%/\u{1}ü"), ("plain", "plain"), ("%E6%97%A5", "日")] {
            assert_eq!(decoded_key(sent, true), key);
            assert_eq!(decoded_key(sent, false), sent);
        }
    }

    #[test]
    fn what_xml_cannot_contain_is_known() {
        for key in ["a\u{1}", "Icon\r", "\u{1f}", "\u{fffe}", "\u{0}"] {
            assert!(!is_xml(key), "{key:?}");
        }
        for key in ["a\tb\nc", "ü日 +%&<>\"'", "\u{7f}\u{85}\u{2028}", "😀"] {
            assert!(is_xml(key), "{key:?}");
        }
    }
}
