//! New gateway keys: `cgk_<id>_<secret>`, in lower-case Crockford Base32.

use aws_lc_rs::rand;
use zeroize::Zeroizing;

use super::key::{Digest, digest};
use crate::keyshape::{ID, SECRET};

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

/// Digits and letters without `i`, `l`, `o`, `u`.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyshape;

    #[test]
    fn a_new_key_has_the_shape_of_one() {
        let (one, other) = (generate().unwrap(), generate().unwrap());
        assert_ne!(one.text, other.text);
        let parts: Vec<&str> = one.text.split('_').collect();
        assert_eq!((parts[0], parts[1].len(), parts[2].len()), ("cgk", ID, SECRET));
        assert!(parts[1..].concat().bytes().all(|byte| ALPHABET.contains(&byte)));
        assert_eq!(one.digest, digest(one.text.as_bytes()));
        assert!(keyshape::begins_like_key(one.text.as_bytes()));
    }
}
