//! A plaintext secret: zeroed when dropped, printed as `[secret]`, readable below `src/vault/` only (invariant 1).

use std::fmt;

use zeroize::Zeroizing;

/// The bytes of a secret.
pub(super) struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes over; the vector is best as long as they are, since growing one leaves copies behind.
    pub(super) fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }

    /// The plaintext.
    pub(in crate::vault) fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Whether every byte is visible ASCII, as a header or a key needs it.
    pub(super) fn is_visible(&self) -> bool {
        self.0.iter().all(u8::is_ascii_graphic)
    }

    /// Its length in bytes.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_as_a_word() {
        let secret = Secret::new(Zeroizing::new(b"planted".to_vec()));
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "[secret] Some([secret])");
    }
}
