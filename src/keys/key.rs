//! The digest of a key's text, and a map by it.

use std::hash::{BuildHasher, Hash, Hasher};

use aws_lc_rs::constant_time::verify_slices_are_equal;

/// SHA-256 of a key's text.
pub type Digest = [u8; 32];

/// The digest of a key's text.
pub fn digest(text: &[u8]) -> Digest {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text);
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.as_ref());
    bytes
}

/// A digest that is compared over all its bytes in constant time (security.md 21).
#[derive(Clone, Copy, Eq)]
pub(super) struct Exact(pub(super) Digest);

impl PartialEq for Exact {
    fn eq(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl Hash for Exact {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

/// Hashes digests by their first bytes: they are spread evenly already. A random mask keeps the map's layout unknown.
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
        if let Some(first) = bytes.first_chunk() {
            self.0 ^= u64::from_ne_bytes(*first);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
