//! Sealing: AES-256-GCM under a key of each secret's own, derived from a master key; what was sealed for one name opens
//! under no other.
//!
//! A sealed secret is one byte of format, the id of the master key (8 bytes), a random nonce (12) and the ciphertext with
//! its tag (16 more than the plaintext). The key is HKDF-SHA256 (RFC 5869) of the master key over the identity, which
//! stands in the associated data as well, behind format and key id. Plaintexts, keys and what they are read from are
//! zeroized.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use aws_lc_rs::rand;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::secret::Secret;
use crate::store::{KeyId, Sealed};

/// Whose secret it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity<'a> {
    /// What it belongs to, such as `credential`.
    pub(super) kind: &'a str,
    /// The name of that.
    pub(super) name: &'a str,
    /// What it is for, such as `secret`.
    pub(super) purpose: &'a str,
}

/// The master keys that secrets are opened with: the one to seal under first, then those before it.
#[derive(Clone)]
pub(super) struct Keyring(Vec<MasterKey>);

/// Why a text holds no master keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("holds no master key: one is the Base64 of 32 bytes")]
pub(super) struct NoMasterKey;

/// Why something sealed does not open, or a secret cannot be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum SealFault {
    /// It is sealed under a master key that is not at hand.
    #[error("sealed under the master key {0}, which is not at hand")]
    OtherKey(KeyId),
    /// It was changed, or belongs to another name.
    #[error("what was sealed has been changed or moved")]
    Broken,
}

#[derive(Clone)]
struct MasterKey {
    id: KeyId,
    bytes: Zeroizing<[u8; 32]>,
}

impl Keyring {
    /// Keys of the text that a reference gives: Base64, with blanks or line breaks between several.
    pub(super) fn parse(text: &[u8]) -> Result<Self, NoMasterKey> {
        let words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let keys = words.map(MasterKey::parse).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() { Err(NoMasterKey) } else { Ok(Self(keys)) }
    }

    /// A new key, and its text.
    pub(super) fn random() -> Result<(Self, Zeroizing<String>), SealFault> {
        let mut bytes = Zeroizing::new([0; 32]);
        rand::fill(&mut *bytes).map_err(|_| SealFault::Broken)?;
        let key = MasterKey::new(bytes).ok_or(SealFault::Broken)?;
        let text = key.text();
        Ok((Self(vec![key]), text))
    }

    /// The ids of the keys; the first is the one to seal under.
    pub(super) fn ids(&self) -> impl Iterator<Item = KeyId> {
        self.0.iter().map(|key| key.id)
    }

    /// The key to seal under.
    pub(super) fn first(&self) -> KeyId {
        self.0[0].id
    }

    /// Whether a key is at hand.
    pub(super) fn has(&self, id: KeyId) -> bool {
        self.ids().any(|known| known == id)
    }

    /// The same keys, behind those of another ring.
    pub(super) fn behind(&self, first: &Self) -> Self {
        let before = self.0.iter().filter(|key| !first.has(key.id));
        Self(first.0.iter().chain(before).cloned().collect())
    }

    /// The key to seal under, alone.
    pub(super) fn only_first(&self) -> Self {
        Self(self.0[..1].to_vec())
    }

    /// The keys as a text that gives them again, one a line.
    pub(super) fn text(&self) -> Zeroizing<String> {
        // Room for all of it, so that nothing is left behind by growing.
        let mut text = Zeroizing::new(String::with_capacity(self.0.len() * (TEXT + 1)));
        for key in &self.0 {
            text.push_str(&key.text());
            text.push('\n');
        }
        text
    }

    /// Seals a secret under one of the keys.
    pub(super) fn seal(&self, under: KeyId, identity: Identity<'_>, plaintext: &[u8]) -> Result<Sealed, SealFault> {
        let key = self.derive(under, identity)?;
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).map_err(|_| SealFault::Broken)?;
        let head = head(under);
        // Room for the tag, so that the plaintext is not left behind by growing; it is overwritten where it stands.
        let mut text = Zeroizing::new(Vec::with_capacity(plaintext.len() + AES_256_GCM.tag_len()));
        text.extend_from_slice(plaintext);
        let aad = Aad::from(associated(&head, identity));
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad, &mut *text)
            .map_err(|_| SealFault::Broken)?;
        Sealed::parse([&head[..], &nonce, &text].concat()).ok_or(SealFault::Broken)
    }

    /// Opens what was sealed for this identity.
    pub(super) fn open(&self, identity: Identity<'_>, sealed: &Sealed) -> Result<Secret, SealFault> {
        if sealed.format() != FORMAT {
            return Err(SealFault::Broken);
        }
        let key = self.derive(sealed.key(), identity)?;
        let (nonce, text) = sealed.as_bytes()[Sealed::HEAD..].split_at_checked(NONCE_LEN).ok_or(SealFault::Broken)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealFault::Broken)?;
        let mut text = Zeroizing::new(text.to_vec());
        let aad = Aad::from(associated(&head(sealed.key()), identity));
        let length = key.open_in_place(nonce, aad, &mut text).map_err(|_| SealFault::Broken)?.len();
        text.truncate(length);
        Ok(Secret::new(text))
    }

    fn derive(&self, id: KeyId, identity: Identity<'_>) -> Result<LessSafeKey, SealFault> {
        let key = self.0.iter().find(|key| key.id == id).ok_or(SealFault::OtherKey(id))?;
        let mut derived = Zeroizing::new([0; 32]);
        expand(&key.prk(), &[b"closegate seal 1", &identity.encode()], &mut *derived).ok_or(SealFault::Broken)?;
        let key = UnboundKey::new(&AES_256_GCM, &*derived).map_err(|_| SealFault::Broken)?;
        Ok(LessSafeKey::new(key))
    }
}

impl MasterKey {
    fn new(bytes: Zeroizing<[u8; 32]>) -> Option<Self> {
        let mut key = Self { id: KeyId([0; KeyId::LENGTH]), bytes };
        let mut id = [0; KeyId::LENGTH];
        expand(&key.prk(), &[b"closegate key id"], &mut id)?;
        key.id = KeyId(id);
        Some(key)
    }

    fn parse(word: &[u8]) -> Result<Self, NoMasterKey> {
        let mut bytes = Zeroizing::new([0; 32]);
        // Longer by what the decoder may touch beyond it.
        let mut room = Zeroizing::new([0; 36]);
        let length = STANDARD.decode_slice(word, &mut *room).map_err(|_| NoMasterKey)?;
        if length != bytes.len() {
            return Err(NoMasterKey);
        }
        bytes.copy_from_slice(&room[..length]);
        Self::new(bytes).ok_or(NoMasterKey)
    }

    fn text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(TEXT));
        STANDARD.encode_string(self.bytes.as_slice(), &mut text);
        text
    }

    fn prk(&self) -> Prk {
        Salt::new(HKDF_SHA256, b"closegate master key").extract(&*self.bytes)
    }
}

impl Identity<'_> {
    /// Each part behind its length, so that no two identities read alike.
    fn encode(&self) -> Vec<u8> {
        let mut whole = Vec::new();
        for part in [self.kind, self.name, self.purpose] {
            whole.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            whole.extend_from_slice(part.as_bytes());
        }
        whole
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ids()).finish()
    }
}

fn head(key: KeyId) -> [u8; Sealed::HEAD] {
    let mut head = [0; Sealed::HEAD];
    head[0] = FORMAT;
    head[1..].copy_from_slice(&key.0);
    head
}

fn associated(head: &[u8], identity: Identity<'_>) -> Vec<u8> {
    [head, &identity.encode()].concat()
}

fn expand(prk: &Prk, info: &[&[u8]], into: &mut [u8]) -> Option<()> {
    prk.expand(info, Length(into.len())).ok()?.fill(into).ok()
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

const FORMAT: u8 = 1;
/// The length of a key's Base64.
const TEXT: usize = 44;

#[cfg(test)]
mod tests {
    use super::*;

    const SALES: Identity<'_> = Identity { kind: "credential", name: "sales", purpose: "secret" };

    fn ring(byte: u8) -> Keyring {
        Keyring::parse(STANDARD.encode([byte; 32]).as_bytes()).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_for_its_own_identity_and_under_its_own_key() {
        let ring = ring(1);
        let sealed = ring.seal(ring.first(), SALES, b"planted").unwrap();
        assert_eq!(ring.open(SALES, &sealed).unwrap().expose(), b"planted");
        assert!(!sealed.as_bytes().windows(7).any(|window| window == b"planted"));
        let others = [
            Identity { name: "partner", ..SALES },
            Identity { kind: "key", ..SALES },
            Identity { purpose: "grant", ..SALES },
            Identity { name: "salessecret", purpose: "", ..SALES },
        ];
        for other in others {
            assert_eq!(ring.open(other, &sealed).unwrap_err(), SealFault::Broken, "{other:?}");
        }
        let (stranger, _) = Keyring::random().unwrap();
        assert_eq!(stranger.open(SALES, &sealed).unwrap_err(), SealFault::OtherKey(ring.first()));
    }

    #[test]
    fn a_changed_bit_anywhere_does_not_open() {
        let ring = ring(1);
        let sealed = ring.seal(ring.first(), SALES, b"planted").unwrap();
        for at in 0..sealed.as_bytes().len() {
            let mut bytes = sealed.as_bytes().to_vec();
            bytes[at] ^= 1;
            assert!(ring.open(SALES, &Sealed::parse(bytes).unwrap()).is_err(), "byte {at}");
        }
        for length in Sealed::HEAD..sealed.as_bytes().len() {
            let cut = Sealed::parse(sealed.as_bytes()[..length].to_vec()).unwrap();
            assert_eq!(ring.open(SALES, &cut).unwrap_err(), SealFault::Broken, "{length}");
        }
    }

    #[test]
    fn the_same_secret_never_looks_the_same() {
        let ring = ring(1);
        let seal = || ring.seal(ring.first(), SALES, b"planted").unwrap();
        assert_ne!(seal(), seal());
    }

    #[test]
    fn keys_are_the_base64_of_32_bytes_each() {
        let (one, two) = (STANDARD.encode([1; 32]), STANDARD.encode([2; 32]));
        let both = Keyring::parse(format!("{two}\n{one}\n").as_bytes()).unwrap();
        assert_eq!(both.ids().collect::<Vec<_>>(), [ring(2).first(), ring(1).first()]);
        assert_eq!(ring(1).behind(&ring(2)).text(), both.text());
        assert_eq!(both.behind(&ring(2)).ids().count(), 2);
        let sealed = ring(1).seal(ring(1).first(), SALES, b"planted").unwrap();
        assert_eq!(both.open(SALES, &sealed).unwrap().expose(), b"planted");
        let (short, long) = (STANDARD.encode([1; 31]), STANDARD.encode([1; 33]));
        for bad in ["", "\n", "planted", &short, &long, &format!("{one} planted"), &one[..43]] {
            assert_eq!(Keyring::parse(bad.as_bytes()).unwrap_err(), NoMasterKey, "{bad}");
        }
        let (random, text) = Keyring::random().unwrap();
        assert_eq!(Keyring::parse(text.as_bytes()).unwrap().first(), random.first());
        assert!(!format!("{both:?} {random:?}").contains(&*text));
    }

    #[test]
    fn the_format_stays_what_it_is() {
        let ring = ring(1);
        assert_eq!(ring.first().to_string(), KEY_ID);
        let sealed: Vec<u8> =
            (0..SEALED.len() / 2).map(|at| u8::from_str_radix(&SEALED[at * 2..at * 2 + 2], 16).unwrap()).collect();
        assert_eq!(ring.open(SALES, &Sealed::parse(sealed).unwrap()).unwrap().expose(), b"planted");
    }

    /// Made of the key of 32 bytes 0x01 with the nonce of 12 bytes 0x02, by an implementation of another hand.
    const KEY_ID: &str = "50ab13d99d521533";
    const SEALED: &str = "0150ab13d99d5215330202020202020202020202028033f9475fdaf4acbe3930c82bf7d8b40a65408960bd97";
}
