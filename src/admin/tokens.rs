//! The tokens of operators: known by their digests, compared in constant time.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::model::Role;

/// A token, without its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What events call who has it.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The SHA-256 of its text.
    pub digest: [u8; 32],
}

impl Token {
    /// One of an admin whose text nobody has: for who is let in without it, as by the link of a first run. None when the system
    /// gives no random bytes.
    pub fn of_nobody(name: &str) -> Option<Self> {
        let text = draw_token()?;
        Some(Self { name: name.to_owned(), role: Role::Admin, digest: sha256(text.as_bytes()) })
    }
}

/// The tokens of a listener.
pub struct Tokens(Vec<Token>);

impl Tokens {
    /// These, and no others.
    pub fn new(tokens: Vec<Token>) -> Self {
        Self(tokens)
    }

    /// The token of a text: the same work for each text of one length, known or not.
    pub(super) fn find(&self, text: &[u8]) -> Option<&Token> {
        let presented = sha256(text);
        let mut found = None;
        for token in &self.0 {
            if verify_slices_are_equal(&presented, &token.digest).is_ok() {
                found = Some(token);
            }
        }
        found
    }

    /// A token that may do everything.
    pub(super) fn of_an_admin(&self) -> Option<&Token> {
        self.0.iter().find(|token| token.role == Role::Admin)
    }

    /// The token of a name.
    pub(super) fn named(&self, name: &str) -> Option<&Token> {
        self.0.iter().find(|token| token.name == name)
    }
}

/// Draws a token of 256 random bits; none when the system gives no random bytes.
pub fn draw_token() -> Option<Zeroizing<String>> {
    let mut bytes = Zeroizing::new([0; 32]);
    rand::fill(bytes.as_mut_slice()).ok()?;
    Some(Zeroizing::new(format!("cga_{}", *Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_slice())))))
}

/// The SHA-256 of some bytes.
pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut sum = [0; 32];
    sum.copy_from_slice(digest(&SHA256, bytes).as_ref());
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_all_of_its_bytes() {
        let token = |name: &str, text: &str| Token {
            name: name.to_owned(),
            role: Role::Admin,
            digest: sha256(text.as_bytes()),
        };
        let tokens = Tokens::new(vec![token("ops", "planted-token-of-ops"), token("ci", "planted-token-of-ci")]);
        assert_eq!(tokens.find(b"planted-token-of-ci").unwrap().name, "ci");
        for wrong in ["", "planted-token-of-c", "planted-token-of-ci ", "Planted-token-of-ci", "planted-token-of-ci\0"]
        {
            assert!(tokens.find(wrong.as_bytes()).is_none(), "{wrong:?}");
        }
    }
}
