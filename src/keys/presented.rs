//! What a request presents as its key, taken from wherever a tool would put its own secret.

use std::fmt;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::header::{AUTHORIZATION, HeaderMap, HeaderName};
use zeroize::Zeroizing;

use super::KeySet;
use super::key::{Digest, digest};
use crate::fingerprint::{Fingerprint, Fingerprints};
use crate::keyshape::begins_like_key;

/// What is presented, as digests: the text itself goes no further.
pub enum Presented {
    /// Nothing.
    Absent,
    /// Something that cannot hold a key.
    Unreadable,
    /// What may be the key: the user name, and the password when there is one.
    Candidates {
        /// The digest of the first.
        first: Digest,
        /// The digest of the second.
        second: Option<Digest>,
        /// Whether one of them has the shape of a gateway key.
        shaped: bool,
        /// Those of them that are keys of which nothing but the digest is known otherwise.
        unread: Fingerprints,
    },
}

/// Two `Closegate-Key` lines, or two `Authorization` lines.
#[derive(Debug, PartialEq, Eq)]
pub struct KeyAmbiguous;

const KEY: HeaderName = HeaderName::from_static("closegate-key");

impl Presented {
    /// Reads `Closegate-Key`, which decides where it stands, else `Authorization` as Basic or Bearer.
    pub fn read(headers: &HeaderMap, keys: &KeySet) -> Result<Self, KeyAmbiguous> {
        if let Some(value) = single(headers, KEY)? {
            // Two `Authorization` lines are a fault even where none is read.
            single(headers, AUTHORIZATION)?;
            return Ok(Self::of_texts(value, &[], keys));
        }
        Ok(single(headers, AUTHORIZATION)?.map_or(Self::Absent, |value| Self::of_authorization(value, keys)))
    }

    pub(super) fn candidates(&self) -> impl Iterator<Item = &Digest> {
        let (first, second) = match self {
            Self::Candidates { first, second, .. } => (Some(first), second.as_ref()),
            Self::Absent | Self::Unreadable => (None, None),
        };
        first.into_iter().chain(second)
    }

    /// Whether it has the shape of a gateway key.
    pub(super) fn is_shaped(&self) -> bool {
        matches!(self, Self::Candidates { shaped: true, .. })
    }

    /// Keys of which nothing but the digest is known otherwise.
    pub(super) fn unread(&self) -> Option<&Fingerprints> {
        match self {
            Self::Candidates { unread, .. } if !unread.is_empty() => Some(unread),
            _ => None,
        }
    }

    /// What is made of one text or of two; an empty one is none.
    fn of_texts(one: &[u8], other: &[u8], keys: &KeySet) -> Self {
        let (one, other) = if one.is_empty() { (other, one) } else { (one, other) };
        if one.is_empty() {
            return Self::Absent;
        }
        let first = digest(one);
        let second = (!other.is_empty()).then(|| digest(other));
        let [one_shaped, other_shaped] = [one, other].map(begins_like_key);
        let unread = |text: &[u8], shaped, digest: &Digest| {
            if shaped || !keys.knows_by_digest_alone(digest) { None } else { Fingerprint::of(text) }
        };
        let unread = unread(one, one_shaped, &first)
            .into_iter()
            .chain(second.as_ref().and_then(|digest| unread(other, other_shaped, digest)))
            .collect();
        Self::Candidates { first, second, shaped: one_shaped || other_shaped, unread }
    }

    fn of_authorization(value: &[u8], keys: &KeySet) -> Self {
        if value.is_empty() {
            return Self::Absent;
        }
        let end = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
        let (scheme, rest) = value.split_at(end);
        // RFC 9110 11.4: one or more blanks after the scheme.
        let blanks = rest.iter().take_while(|byte| **byte == b' ').count();
        let rest = &rest[blanks..];
        if scheme.eq_ignore_ascii_case(b"basic") {
            Self::of_basic(rest, keys)
        } else if scheme.eq_ignore_ascii_case(b"bearer") {
            Self::of_texts(rest, &[], keys)
        } else {
            Self::Unreadable
        }
    }

    /// RFC 7617: Base64 of `user:password`; the key may stand in either place.
    fn of_basic(encoded: &[u8], keys: &KeySet) -> Self {
        let (mut near, mut far) = (Zeroizing::new([0; NEAR]), Zeroizing::new(Vec::new()));
        let needed = base64::decoded_len_estimate(encoded.len());
        let buffer = near.get_mut(..needed).unwrap_or_else(|| {
            far.resize(needed, 0);
            &mut far
        });
        let Ok(length) = BASIC.decode_slice(encoded, buffer) else { return Self::Unreadable };
        let decoded = &buffer[..length];
        let colon = decoded.iter().position(|byte| *byte == b':').unwrap_or(decoded.len());
        Self::of_texts(&decoded[..colon], decoded.get(colon + 1..).unwrap_or_default(), keys)
    }
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "absent",
            Self::Unreadable => "unreadable",
            Self::Candidates { .. } => "[key]",
        })
    }
}

fn single(headers: &HeaderMap, name: HeaderName) -> Result<Option<&[u8]>, KeyAmbiguous> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (first, None) => Ok(first.map(|value| value.as_bytes())),
        _ => Err(KeyAmbiguous),
    }
}

/// Up to this many bytes are decoded without an allocation.
const NEAR: usize = 256;

/// Standard Base64; some clients leave the padding out.
const BASIC: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD as ENCODE;

    use super::*;

    fn nobody() -> KeySet {
        KeySet::new(Vec::new(), None).unwrap()
    }

    fn read(lines: &[(&str, &str)]) -> Result<Vec<Digest>, KeyAmbiguous> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        Presented::read(&headers, &nobody()).map(|presented| presented.candidates().copied().collect())
    }

    fn basic(text: &str) -> String {
        format!("Basic {}", ENCODE.encode(text))
    }

    #[test]
    fn a_key_is_read_wherever_a_tool_puts_its_own() {
        let key = digest(b"the-key");
        for value in [
            basic("the-key:"),
            basic("the-key"),
            basic(":the-key"),
            "Bearer the-key".to_owned(),
            "bEARER  the-key".to_owned(),
        ] {
            assert_eq!(read(&[("authorization", &value)]), Ok(vec![key]), "{value}");
        }
        assert_eq!(read(&[("authorization", &basic("the-key:x"))]), Ok(vec![key, digest(b"x")]));
        let long = "x".repeat(4000);
        assert_eq!(
            read(&[("authorization", &basic(&format!("the-key:{long}")))]),
            Ok(vec![key, digest(long.as_bytes())])
        );
        assert_eq!(read(&[("authorization", "basic dGhlLWtleTo")]), Ok(vec![key]), "without padding");
        assert_eq!(read(&[("closegate-key", "the-key"), ("authorization", "Bearer other")]), Ok(vec![key]));
    }

    #[test]
    fn two_lines_are_ambiguous() {
        for name in ["authorization", "closegate-key"] {
            assert_eq!(read(&[(name, "Bearer a"), (name, "Bearer a")]), Err(KeyAmbiguous));
        }
        let lines = [("closegate-key", "a"), ("authorization", "Bearer a"), ("authorization", "Bearer b")];
        assert_eq!(read(&lines), Err(KeyAmbiguous));
    }

    /// security.md 21: altered, doubled, wrong-case, NUL- and blank-suffixed, in every place that a key may stand.
    #[test]
    fn what_differs_by_a_byte_is_another_key() {
        let key = digest(b"the-key");
        for text in [
            "The-key",
            "the-key\0",
            "the-key\t",
            "the-key\n",
            "the-key ",
            " the-key",
            "\0the-key",
            "the-ke",
            "the-keyy",
            "the-keythe-key",
            "the-key,the-key",
            "the-key the-key",
            "\"the-key\"",
            "the%2dkey",
        ] {
            for pair in [format!("{text}:"), format!("x:{text}"), format!(":{text}")] {
                assert!(!read(&[("authorization", &basic(&pair))]).unwrap().contains(&key), "{text:?}");
            }
            if !text.contains(['\0', '\n']) && text != " the-key" {
                assert!(!read(&[("authorization", &format!("Bearer {text}"))]).unwrap().contains(&key), "{text:?}");
                assert!(!read(&[("closegate-key", text)]).unwrap().contains(&key), "{text:?}");
            }
        }
    }

    #[test]
    fn what_is_not_quite_basic_or_bearer_holds_no_key() {
        let encoded = ENCODE.encode("the-key:");
        for value in [
            "the-key".to_owned(),
            "Token the-key".to_owned(),
            "Bearer\tthe-key".to_owned(),
            "Basic the-key".to_owned(),
            format!("Basic{encoded}"),
            format!("Basic {encoded}="),
            format!("Basic {encoded} "),
            format!("Basic {encoded},Basic {encoded}"),
            format!("Basic {}", encoded.replace('=', "!")),
        ] {
            assert!(!read(&[("authorization", &value)]).unwrap().contains(&digest(b"the-key")), "{value}");
        }
    }

    #[test]
    fn nothing_and_nonsense_are_told_apart() {
        let mut headers = HeaderMap::new();
        assert!(matches!(Presented::read(&headers, &nobody()), Ok(Presented::Absent)));
        for (value, absent) in
            [("Basic Og==", true), ("Bearer ", true), ("", true), ("Digest x", false), ("Basic !!!", false)]
        {
            headers.insert(AUTHORIZATION, value.parse().unwrap());
            let read = Presented::read(&headers, &nobody()).unwrap();
            assert_eq!(matches!(read, Presented::Absent), absent, "{value}");
            assert_eq!(read.candidates().count(), 0, "{value}");
        }
    }

    #[test]
    fn what_is_presented_is_not_printed() {
        assert_eq!(format!("{:?}", Presented::of_texts(b"the-key", &[], &nobody())), "[key]");
    }
}
