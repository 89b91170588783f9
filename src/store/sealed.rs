//! Secrets as the store keeps them: bytes of which it knows the key's id, and nothing else.

use std::fmt;

/// Tells master keys apart; safe to show.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; KeyId::LENGTH]);

impl KeyId {
    /// How long one is, in bytes.
    pub const LENGTH: usize = 8;
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// A sealed secret: a format, the id of the key that it is sealed under, and what only that key opens.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed(Vec<u8>);

impl Sealed {
    /// One byte of format and the key's id stand in front.
    pub const HEAD: usize = 1 + KeyId::LENGTH;

    /// Takes bytes that have a head; none when they are too short for one.
    pub fn parse(bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() >= Self::HEAD).then_some(Self(bytes))
    }

    /// How it is sealed.
    pub fn format(&self) -> u8 {
        self.0[0]
    }

    /// The key that it is sealed under.
    pub fn key(&self) -> KeyId {
        let mut id = [0; KeyId::LENGTH];
        id.copy_from_slice(&self.0[1..Self::HEAD]);
        KeyId(id)
    }

    /// All of it, as it lies in the database.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes under {})", self.0.len(), self.key())
    }
}
