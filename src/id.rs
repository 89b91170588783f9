//! Names that people give to things, and the id of one request: parsed once, then carried as types.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;

/// Why a text is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a name is `[a-z0-9][a-z0-9-]{{0,62}}`: lower-case letters, digits and dashes, at most 63")]
pub struct NameFault;

/// A name as configuration and labels use it: `[a-z0-9][a-z0-9-]{0,62}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Name(Arc<str>);

impl Name {
    fn parse(text: &str) -> Result<Self, NameFault> {
        let bytes = text.as_bytes();
        let letter = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let first_is_letter = bytes.first().is_some_and(letter);
        if first_is_letter && bytes.len() <= 63 && bytes.iter().all(|b| letter(b) || *b == b'-') {
            Ok(Self(text.into()))
        } else {
            Err(NameFault)
        }
    }
}

/// The name of a credential of Close, such as `sales`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CredentialName(Name);

/// The name of a route; a credential without a route of its own has one of the same name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteName(Name);

/// The name of a gateway key, such as `reporting`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(Name);

/// The name of a token of the admin API, such as `ops`; what events call who has it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenName(Name);

/// The name of a listener of the proxy beside `[listen]`, such as `tls`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerName(Name);

impl CredentialName {
    /// Parses a name; the fault says what a name is.
    pub fn parse(text: &str) -> Result<Self, NameFault> {
        Name::parse(text).map(Self)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0.0
    }

    /// The route that a credential without one of its own gets.
    pub fn default_route(&self) -> RouteName {
        RouteName(self.0.clone())
    }
}

impl RouteName {
    /// Parses a name; the fault says what a name is.
    pub fn parse(text: &str) -> Result<Self, NameFault> {
        Name::parse(text).map(Self)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0.0
    }
}

impl KeyName {
    /// Parses a name; the fault says what a name is.
    pub fn parse(text: &str) -> Result<Self, NameFault> {
        Name::parse(text).map(Self)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0.0
    }
}

impl TokenName {
    /// Parses a name; the fault says what a name is.
    pub fn parse(text: &str) -> Result<Self, NameFault> {
        Name::parse(text).map(Self)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0.0
    }
}

impl ListenerName {
    /// What `[listen]` is called.
    pub const DEFAULT: &'static str = "default";

    /// Parses a name that is not the default one's; the fault says what a name is.
    pub fn parse(text: &str) -> Result<Self, NameFault> {
        Name::parse(text).and_then(|name| if &*name.0 == Self::DEFAULT { Err(NameFault) } else { Ok(Self(name)) })
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0.0
    }
}

impl fmt::Display for CredentialName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for RouteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for ListenerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for TokenName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for TokenName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "token `{self}`")
    }
}

impl fmt::Debug for ListenerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "listener `{self}`")
    }
}

impl fmt::Debug for CredentialName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "credential `{self}`")
    }
}

impl fmt::Debug for RouteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "route `{self}`")
    }
}

impl fmt::Debug for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key `{self}`")
    }
}

/// A credential by its place in the vault: what routes carry and the vault understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CredentialId(pub u32);

/// The id of one request: in `closegate-request-id`, in the access record, in an error's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// Longest id of a client that is adopted, in bytes.
    pub const MAX: usize = 128;

    /// Adopts a client's `X-Request-Id` when it is 1 to 128 letters, digits, `-`, `_`, `.`, `:`, and holds no key: the
    /// id is repeated in answers and records.
    pub fn adopt(value: &HeaderValue) -> Option<Self> {
        let bytes = value.as_bytes();
        let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':');
        let valid = !bytes.is_empty() && bytes.len() <= Self::MAX && bytes.iter().all(plain);
        (valid && !holds_key(bytes)).then(|| Self(value.clone()))
    }

    /// Makes an id of 32 hexadecimal digits from 128 bits that the caller draws.
    pub fn from_bits(bits: u128) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0_u8; 32];
        for (at, slot) in text.iter_mut().enumerate() {
            *slot = DIGITS[(bits >> (124 - 4 * at)) as usize & 15];
        }
        // Its owner counts who shares it: no further allocation for the first copy.
        let shared = HeaderValue::from_maybe_shared(Bytes::from_owner(text));
        shared.map_or_else(|_| Self(HeaderValue::from_static("0")), Self)
    }

    /// The id as a header's value.
    pub fn header(&self) -> HeaderValue {
        self.0.clone()
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or("0")
    }
}

/// Whether something in a text is shaped like a key of Close or of the gateway: it must not be repeated.
pub fn holds_key(text: &[u8]) -> bool {
    text.windows(4).any(|lead| lead.eq_ignore_ascii_case(b"api_") || lead.eq_ignore_ascii_case(b"cgk_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_labels() {
        for good in ["a", "0", "sales", "a-b-", &"x".repeat(63)] {
            assert!(CredentialName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "A", "a_b", "a b", "a/b", "é", &"x".repeat(64)] {
            assert!(CredentialName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_clients_request_id_is_adopted_only_when_plain() {
        assert!(RequestId::adopt(&HeaderValue::from_static("req_1.a:B-2")).is_some());
        assert!(RequestId::adopt(&HeaderValue::from_static("a b")).is_none());
        assert!(RequestId::adopt(&HeaderValue::from_static("")).is_none());
        assert!(RequestId::adopt(&HeaderValue::from_static("a\"b")).is_none());
        assert!(RequestId::adopt(&HeaderValue::from_static("req-api_7b8K.secret")).is_none());
        assert!(RequestId::adopt(&HeaderValue::from_static("CGK_0123abcd_secret")).is_none());
    }

    #[test]
    fn a_made_id_is_its_bits_in_hexadecimal() {
        assert_eq!(RequestId::from_bits(0xabc).as_str(), format!("{:032x}", 0xabc));
    }
}
