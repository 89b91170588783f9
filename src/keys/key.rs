//! The digest of a key's text, and a map by it.

use std::hash::{BuildHasher, Hasher};

/// SHA-256 of a key's text.
pub type Digest = [u8; 32];

/// The digest of a key's text.
pub fn digest(text: &[u8]) -> Digest {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text);
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.as_ref());
    bytes
}

/// Hashes digests by their first bytes: they are spread evenly already. A random mask keeps the map's layout unknown.
///
/// Equality compares whole digests; how far two of them agree says nothing about the text of either.
#[derive(Clone)]
pub(super) struct DigestState(u64);

impl DigestState {
    pub(super) fn random() -> Self {
        Self(foldhash::fast::RandomState::default().hash_one(0))
    }
}

impl BuildHasher for DigestState {
    type Hasher = DigestHasher;

    fn build_hasher(&self) -> DigestHasher {
        DigestHasher(self.0)
    }
}

pub(super) struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn write(&mut self, bytes: &[u8]) {
        // The length of an array is written apart, as a number.
        if let Some(first) = bytes.first_chunk() {
            self.0 ^= u64::from_ne_bytes(*first);
        }
    }

    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}
