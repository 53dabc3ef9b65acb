//! Checksums as S3 has them: CRCs of a whole object, which can be combined from those of its parts.

use aws_smithy_types::base64;
use crc_fast::{CrcAlgorithm, checksum_combine};

/// A CRC that S3 keeps for a whole object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Crc64Nvme,
    Crc32C,
    Crc32,
}

impl Algorithm {
    fn fast(self) -> CrcAlgorithm {
        match self {
            Self::Crc64Nvme => CrcAlgorithm::Crc64Nvme,
            Self::Crc32C => CrcAlgorithm::Crc32Iscsi,
            Self::Crc32 => CrcAlgorithm::Crc32IsoHdlc,
        }
    }

    pub(super) fn start(self) -> crc_fast::Digest {
        crc_fast::Digest::new(self.fast())
    }

    pub(super) fn of(self, bytes: &[u8]) -> u64 {
        crc_fast::checksum(self.fast(), bytes)
    }

    /// The checksum of bytes with the checksum `first`, followed by `length` bytes with the checksum `then`.
    pub(super) fn joined(self, first: u64, then: u64, length: u64) -> u64 {
        checksum_combine(self.fast(), first, then, length)
    }

    /// As S3 writes it: base64 of the bytes, the highest first.
    pub(super) fn written(self, value: u64) -> String {
        let bytes = value.to_be_bytes();
        match self {
            Self::Crc64Nvme => base64::encode(bytes),
            Self::Crc32C | Self::Crc32 => base64::encode(&bytes[4..]),
        }
    }

    /// What S3 wrote.
    pub(super) fn read(self, text: &str) -> Option<u64> {
        let bytes = base64::decode(text).ok()?;
        Some(bytes.iter().fold(0, |value, byte| (value << 8) | u64::from(*byte))).filter(|value| self.written(*value) == text)
    }
}

/// The checksum of a whole object that S3 recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Recorded {
    pub algorithm: Algorithm,
    pub text: String,
}

impl Recorded {
    /// The first of the checksums in an answer that can be computed from parts. One of the type COMPOSITE is a checksum
    /// of checksums: it depends on the sizes of the parts, and ends in their number.
    pub(super) fn first(crc64: Option<&str>, crc32_c: Option<&str>, crc32: Option<&str>) -> Option<Self> {
        let all = [(Algorithm::Crc64Nvme, crc64), (Algorithm::Crc32C, crc32_c), (Algorithm::Crc32, crc32)];
        let whole = |(algorithm, text): (Algorithm, Option<&str>)| {
            let text = text.filter(|text| !text.contains('-'))?;
            Some(Self { algorithm, text: text.to_owned() })
        };
        all.into_iter().find_map(whole)
    }
}

/// The recorded checksum in an answer of S3.
macro_rules! recorded {
    ($answer:expr) => {
        $crate::data::checksum::Recorded::first(
            $answer.checksum_crc64_nvme(),
            $answer.checksum_crc32_c(),
            $answer.checksum_crc32(),
        )
    };
}
pub(super) use recorded;

#[cfg(test)]
mod tests {
    use super::*;

    /// The check values of the algorithms' definitions: the checksum of "123456789".
    #[test]
    fn checksums_are_those_of_s3() {
        for (algorithm, expected) in
            [(Algorithm::Crc64Nvme, "rosUhgp5mIg="), (Algorithm::Crc32C, "4waSgw=="), (Algorithm::Crc32, "y/Q5Jg==")]
        {
            assert_eq!(algorithm.written(algorithm.of(b"123456789")), expected);
            let joined = algorithm.joined(algorithm.of(b"1234"), algorithm.of(b"56789"), 5);
            assert_eq!(algorithm.written(joined), expected);
            assert_eq!((algorithm.read(expected), algorithm.read("AAAA")), (Some(joined), None));
        }
    }

    #[test]
    fn a_checksum_of_checksums_does_not_count() {
        assert_eq!(Recorded::first(None, None, Some("y/Q5Jg==-3")), None);
        assert_eq!(Recorded::first(None, Some("4waSgw=="), Some("y/Q5Jg==-3")).unwrap().algorithm, Algorithm::Crc32C);
    }
}
