//! What a request presents as its key, taken from wherever a tool would put its own secret.

use std::fmt;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::header::{AUTHORIZATION, HeaderMap, HeaderName};
use zeroize::Zeroizing;

use super::key::{Digest, digest};

/// What is presented, as digests: the text itself goes no further.
pub enum Presented {
    /// Nothing.
    Absent,
    /// Something that cannot hold a key.
    Unreadable,
    /// The digests of what may be the key: the user name, and the password when there is one.
    Candidates(Digest, Option<Digest>),
}

/// Two `Closegate-Key` lines, or two `Authorization` lines.
#[derive(Debug, PartialEq, Eq)]
pub struct KeyAmbiguous;

const KEY: HeaderName = HeaderName::from_static("closegate-key");

impl Presented {
    /// Reads `Closegate-Key`, which decides where it stands, else `Authorization` as Basic or Bearer.
    pub fn read(headers: &HeaderMap) -> Result<Self, KeyAmbiguous> {
        if let Some(value) = single(headers, KEY)? {
            // Two `Authorization` lines are a fault even where none is read.
            single(headers, AUTHORIZATION)?;
            return Ok(Self::of_text(value));
        }
        Ok(single(headers, AUTHORIZATION)?.map_or(Self::Absent, Self::of_authorization))
    }

    pub(super) fn candidates(&self) -> impl Iterator<Item = &Digest> {
        let (first, second) = match self {
            Self::Candidates(first, second) => (Some(first), second.as_ref()),
            Self::Absent | Self::Unreadable => (None, None),
        };
        first.into_iter().chain(second)
    }

    fn of_text(text: &[u8]) -> Self {
        if text.is_empty() { Self::Absent } else { Self::Candidates(digest(text), None) }
    }

    fn of_authorization(value: &[u8]) -> Self {
        if value.is_empty() {
            return Self::Absent;
        }
        let end = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
        let (scheme, rest) = value.split_at(end);
        // RFC 9110 11.4: one or more blanks after the scheme.
        let blanks = rest.iter().take_while(|byte| **byte == b' ').count();
        let rest = &rest[blanks..];
        if scheme.eq_ignore_ascii_case(b"basic") {
            Self::of_basic(rest)
        } else if scheme.eq_ignore_ascii_case(b"bearer") {
            Self::of_text(rest)
        } else {
            Self::Unreadable
        }
    }

    /// RFC 7617: Base64 of `user:password`; the key may stand in either place.
    fn of_basic(encoded: &[u8]) -> Self {
        let (mut near, mut far) = (Zeroizing::new([0; NEAR]), Zeroizing::new(Vec::new()));
        let needed = base64::decoded_len_estimate(encoded.len());
        let buffer = near.get_mut(..needed).unwrap_or_else(|| {
            far.resize(needed, 0);
            &mut far
        });
        let Ok(length) = BASIC.decode_slice(encoded, buffer) else { return Self::Unreadable };
        let decoded = &buffer[..length];
        let colon = decoded.iter().position(|byte| *byte == b':').unwrap_or(decoded.len());
        let (user, password) = (&decoded[..colon], decoded.get(colon + 1..).unwrap_or_default());
        match (user.is_empty(), password.is_empty()) {
            (true, true) => Self::Absent,
            (true, false) => Self::Candidates(digest(password), None),
            (false, true) => Self::Candidates(digest(user), None),
            (false, false) => Self::Candidates(digest(user), Some(digest(password))),
        }
    }
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "absent",
            Self::Unreadable => "unreadable",
            Self::Candidates(..) => "[key]",
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

    fn read(lines: &[(&str, &str)]) -> Result<Vec<Digest>, KeyAmbiguous> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        Presented::read(&headers).map(|presented| presented.candidates().copied().collect())
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
        assert!(matches!(Presented::read(&headers), Ok(Presented::Absent)));
        for (value, absent) in
            [("Basic Og==", true), ("Bearer ", true), ("", true), ("Digest x", false), ("Basic !!!", false)]
        {
            headers.insert(AUTHORIZATION, value.parse().unwrap());
            let read = Presented::read(&headers).unwrap();
            assert_eq!(matches!(read, Presented::Absent), absent, "{value}");
            assert_eq!(read.candidates().count(), 0, "{value}");
        }
    }

    #[test]
    fn what_is_presented_is_not_printed() {
        assert_eq!(format!("{:?}", Presented::of_text(b"the-key")), "[key]");
    }
}
