//! The shape of a gateway key: `cgk_<id>_<secret>`, in lower-case Crockford Base32.

use aws_lc_rs::rand;
use zeroize::Zeroizing;

use super::key::{Digest, digest};

/// A key that was just made; its text is shown once and kept nowhere.
pub struct NewKey {
    /// The text.
    pub text: Zeroizing<String>,
    /// Its digest.
    pub digest: Digest,
}

/// No random bytes could be had.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random bytes")]
pub struct NoRandomness;

/// Makes a key of 160 random bits behind an id of 40.
pub fn generate() -> Result<NewKey, NoRandomness> {
    loop {
        let mut bytes = Zeroizing::new([0_u8; ID + SECRET]);
        rand::fill(bytes.as_mut_slice()).map_err(|_| NoRandomness)?;
        let letters = Zeroizing::new(
            bytes.iter().map(|byte| ALPHABET[usize::from(byte & 31)]).map(char::from).collect::<String>(),
        );
        let text = Zeroizing::new(format!("cgk_{}_{}", &letters[..ID], &letters[ID..]));
        // Clients refuse keys that look like a placeholder.
        if !["todo", "example"].iter().any(|word| text.contains(word)) {
            return Ok(NewKey { digest: digest(text.as_bytes()), text });
        }
    }
}

/// Whether a text holds what is shaped like a gateway key, in any case, also percent-encoded.
pub(super) fn mentions_key(bytes: &[u8]) -> bool {
    let mut at = 0;
    while let Some(found) = memchr::memchr3(b'c', b'C', b'%', &bytes[at..]) {
        at += found;
        if begins_like_key(&bytes[at..]) {
            return true;
        }
        at += 1;
    }
    false
}

fn begins_like_key(bytes: &[u8]) -> bool {
    let mut letters = Decoded(bytes);
    let marked = MARK.iter().all(|expected| letters.next().is_some_and(|byte| byte.eq_ignore_ascii_case(expected)));
    marked && letters.take(ID).filter(|byte| byte.is_ascii_alphanumeric() || *byte == b'_').count() == ID
}

/// Bytes with their percent-encoding undone, once.
pub(super) fn decoded(bytes: &[u8]) -> Vec<u8> {
    Decoded(bytes).collect()
}

/// Bytes with their percent-encoding undone.
struct Decoded<'a>(&'a [u8]);

impl Iterator for Decoded<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let (byte, rest) = match *self.0 {
            [b'%', high, low, ref rest @ ..] => match (digit(high), digit(low)) {
                (Some(high), Some(low)) => (u8::try_from(high << 4 | low).ok()?, rest),
                _ => (b'%', &self.0[1..]),
            },
            [byte, ref rest @ ..] => (byte, rest),
            [] => return None,
        };
        self.0 = rest;
        Some(byte)
    }
}

/// Digits and letters without `i`, `l`, `o`, `u`.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// What a key begins with.
pub(super) const MARK: &[u8] = b"cgk_";
/// Letters of the id.
pub(super) const ID: usize = 8;
/// Letters of the secret, five bits each.
const SECRET: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_has_the_shape_of_one() {
        let (one, other) = (generate().unwrap(), generate().unwrap());
        assert_ne!(one.text, other.text);
        let parts: Vec<&str> = one.text.split('_').collect();
        assert_eq!((parts[0], parts[1].len(), parts[2].len()), ("cgk", ID, SECRET));
        assert!(parts[1..].concat().bytes().all(|byte| ALPHABET.contains(&byte)));
        assert_eq!(one.digest, digest(one.text.as_bytes()));
        assert!(mentions_key(format!("/api/v1/lead/?key={}", *one.text).as_bytes()));
    }

    #[test]
    fn a_key_in_a_target_is_seen_in_every_encoding() {
        for target in [
            "/cgk_0123abcd_x",
            "/a?b=CGK_0123abcd_x",
            "/a?b=%63gk%5f0123abcd",
            "/a?ccgk_01234567",
            "/?a=%2cgk_id_secret",
        ] {
            assert!(mentions_key(target.as_bytes()), "{target}");
        }
        for target in ["/", "/cgk", "/a?b=cgk_short", "/a?cgk=1", "/a?b=%6", "/cgk-0123abcd"] {
            assert!(!mentions_key(target.as_bytes()), "{target}");
        }
    }
}
