//! Short digests, as names and fingerprints use them.

use sha2::{Digest, Sha256};

/// The first `length` bytes of the SHA-256 of `text`, as hexadecimal digits.
pub fn digest(text: impl AsRef<[u8]>, length: usize) -> String {
    hex::encode(&Sha256::digest(text)[..length])
}
