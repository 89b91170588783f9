//! A secret that somebody hands in, on its way to the vault: only the vault opens it.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::{Zeroize as _, Zeroizing};

use super::secret::Secret;

/// A secret in a request or from a terminal: zeroed when dropped, printed as `[secret]`.
///
/// Whoever holds one can pass it on and nothing else. Serialising gives the plaintext, for the one message that hands it
/// on to a running gateway; no answer has a field of this type.
pub struct SecretText(Secret);

impl SecretText {
    /// The longest, in bytes: tokens of JSON Web Token size fit.
    pub const MAX: usize = 16 * 1024;

    /// Takes a text over.
    pub fn new(text: Zeroizing<String>) -> Self {
        let mut text = text;
        Self(Secret::new(Zeroizing::new(std::mem::take(&mut *text).into_bytes())))
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.len() == 0
    }

    /// Whether every byte is visible ASCII, as what goes into a header must be.
    pub fn is_visible(&self) -> bool {
        self.0.is_visible()
    }

    /// The plaintext.
    pub(in crate::vault) fn expose(&self) -> &[u8] {
        self.0.expose()
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for SecretText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = std::str::from_utf8(self.expose()).map_err(|_| serde::ser::Error::custom("not a text"))?;
        serializer.serialize_str(text)
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_string(Text)
    }
}

struct Text;

impl Visitor<'_> for Text {
    type Value = SecretText;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a secret as a text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<SecretText, E> {
        // The fault repeats no byte of it.
        if text.len() > SecretText::MAX {
            return Err(E::custom(format_args!("a secret of more than {} bytes", SecretText::MAX)));
        }
        Ok(SecretText::new(Zeroizing::new(text.to_owned())))
    }

    fn visit_string<E: Error>(self, mut text: String) -> Result<SecretText, E> {
        let secret = self.visit_str(&text);
        text.zeroize();
        secret
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_is_handed_in_prints_as_a_word_and_can_be_handed_on() {
        let secret: SecretText = serde_json::from_str("\"api_planted\\u0021\"").unwrap();
        assert_eq!(format!("{secret:?}"), "[secret]");
        assert_eq!(secret.expose(), b"api_planted!");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"api_planted!\"");
    }

    #[test]
    fn faults_of_a_secret_do_not_repeat_it() {
        let long = format!("\"{}\"", "planted".repeat(SecretText::MAX / 7 + 1));
        let fault = serde_json::from_str::<SecretText>(&long).unwrap_err().to_string();
        assert!(!fault.contains("planted"), "{fault}");
    }
}
