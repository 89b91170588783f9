//! Whether a text that goes further holds a gateway key (security.md 20, 43): as it is, in Base64 or hexadecimal with
//! whatever stands round it, and each of these percent-encoded, up to three times over.
//!
//! A key is known by its shape; one of another shape by its fingerprint, where the gateway knows its text or the request
//! itself presents it.

use std::borrow::Cow;
use std::sync::LazyLock;

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use memchr::memmem::Finder;
use percent_encoding::percent_decode;
use zeroize::Zeroizing;

use super::key::{Exact, digest};
use super::{KeySet, Presented};
use crate::fingerprint::{Fingerprints, SHORTEST};
use crate::keyshape::{self, MARK, TELLING};

/// What is looked for in the texts of one request.
#[derive(Clone, Copy)]
pub struct Sight<'a> {
    keys: &'a KeySet,
    /// The keys that the request presents and of which the gateway knows a digest alone.
    own: Option<&'a Fingerprints>,
}

impl KeySet {
    /// What is looked for in the texts of a request that presents this.
    pub fn sight<'a>(&'a self, presented: Option<&'a Presented>) -> Sight<'a> {
        Sight { keys: self, own: presented.and_then(Presented::unread) }
    }
}

impl Sight<'_> {
    /// Whether a text holds a key.
    pub fn finds_key(&self, text: &[u8]) -> bool {
        shows(text, |text| self.finds_key_shown(text))
    }

    /// Whether a text holds a key that nobody would know by its shape.
    pub fn finds_opaque_key(&self, text: &[u8]) -> bool {
        shows(text, |text| self.knows_opaque() && self.finds_opaque(text, longest_word(text)))
    }

    fn knows_opaque(&self) -> bool {
        !self.keys.opaque.is_empty() || self.own.is_some()
    }

    fn finds_key_shown(&self, text: &[u8]) -> bool {
        // Most values are made of short words: no encoding of a key has room in them.
        let longest = longest_word(text);
        let is_shaped = || {
            keyshape::mentions_key(text)
                || longest >= ENOUGH - PADDING
                    && marks_in_base64(text).any(|encoded| encoded.get(..ENOUGH).is_some_and(shows_key))
                || longest >= 2 * TELLING
                    && marks_in_hexadecimal(text)
                        .any(|digits| hexadecimal(digits).is_some_and(|text| keyshape::mentions_key(&text)))
        };
        longest >= TELLING && is_shaped() || self.knows_opaque() && self.finds_opaque(text, longest)
    }

    /// A key that does not have the shape of one, in a text with a longest word of this length.
    fn finds_opaque(&self, text: &[u8], longest: usize) -> bool {
        if longest < SHORTEST_ENCODED {
            return self.is_opaque_in(text);
        }
        let runs = |marks: &'static [u8; 2], least: usize| {
            let runs = text.split(move |byte| !byte.is_ascii_alphanumeric() && !marks.contains(byte));
            runs.filter(move |run| run.len() >= least)
        };
        let in_base64 = ALPHABETS.iter().enumerate().any(|(number, (engine, marks))| {
            // What has none of the other two is the same in both alphabets.
            let mut fit =
                runs(marks, SHORTEST_ENCODED).filter(|run| number == 0 || run.iter().any(|byte| marks.contains(byte)));
            fit.any(|run| self.is_base64_of_opaque(engine, run))
        });
        let is_hexadecimal = |run: &&[u8]| run.iter().all(u8::is_ascii_hexdigit);
        self.is_opaque_in(text)
            || in_base64
            || runs(&[b'0'; 2], SHORTEST * 2)
                .filter(is_hexadecimal)
                .any(|run| [run, &run[1..]].into_iter().filter_map(hexadecimal).any(|text| self.is_opaque_in(&text)))
    }

    fn is_opaque_in(&self, text: &[u8]) -> bool {
        let confirm = |piece: &[u8]| self.keys.by_digest.contains_key(&Exact(digest(piece)));
        self.keys.opaque.stand_in(text, confirm) || self.own.is_some_and(|own| own.stand_in(text, confirm))
    }

    /// What stands before the key, with nothing between that ends a run, may be of any length.
    fn is_base64_of_opaque(&self, engine: &GeneralPurpose, run: &[u8]) -> bool {
        (0..4).any(|shift| {
            let encoded = &run[shift..];
            // A last letter that no encoder leaves alone is not of it.
            let encoded = if encoded.len() % 4 == 1 { &encoded[..encoded.len() - 1] } else { encoded };
            engine.decode(encoded).is_ok_and(|decoded| self.is_opaque_in(&Zeroizing::new(decoded)))
        })
    }
}

/// Whether a text shows what is looked for, as it is or percent-encoded up to three times over.
fn shows(text: &[u8], finds: impl Fn(&[u8]) -> bool) -> bool {
    if finds(text) {
        return true;
    }
    let mut shown = Cow::Borrowed(text);
    for _ in 0..LAYERS {
        // Borrowed where there was nothing to undo.
        let Cow::Owned(inner) = Cow::from(percent_decode(&shown)) else { return false };
        if finds(&inner) {
            return true;
        }
        shown = Cow::Owned(inner);
    }
    false
}

/// The length of the longest run of what keys of our making, Base64 of either alphabet, and hexadecimal are written in.
fn longest_word(text: &[u8]) -> usize {
    let (mut longest, mut length) = (0_usize, 0_usize);
    for byte in text {
        length = if WORD[usize::from(*byte)] { length + 1 } else { 0 };
        longest = longest.max(length);
    }
    longest
}

/// Where Base64 of something with a key's mark in it may begin to show the key: the mark has one of three looks, as what
/// stands before it fills groups of three bytes or not.
fn marks_in_base64(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    debug_assert_eq!(MARK, b"cgk_");
    // Digits are rare in what clients send: the search stops at few places.
    memchr::memchr2_iter(b'1', b'2', text).filter_map(move |at| {
        let begins = |before: usize, look: &[u8]| {
            let start = at.checked_sub(before)?;
            text[start..].starts_with(look).then_some(start)
        };
        let start = match text[at] {
            // "cgk" fills a group.
            b'2' => begins(1, b"Y2dr").or_else(|| begins(2, b"jZ2tf").and_then(|start| start.checked_sub(3))),
            _ => begins(3, b"Nna1").and_then(|start| start.checked_sub(2)),
        };
        start.map(|start| &text[start..])
    })
}

fn shows_key(encoded: &[u8]) -> bool {
    let mut buffer = Zeroizing::new([0; ENOUGH / 4 * 3]);
    let mut decodes = |engine: &GeneralPurpose| engine.decode_slice(encoded, &mut *buffer).is_ok();
    ALPHABETS.iter().any(|(engine, _)| decodes(engine)) && keyshape::mentions_key(&*buffer)
}

/// Where hexadecimal digits may spell a key.
fn marks_in_hexadecimal(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"63676"));
    FINDER.find_iter(text).filter_map(|at| text[at..].get(..2 * TELLING))
}

/// As many bytes as there are pairs of digits.
fn hexadecimal(digits: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    hex::decode(&digits[..digits.len() / 2 * 2]).ok().map(Zeroizing::new)
}

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);

/// Who reads an alphabet, and what that has beside letters and digits (RFC 4648 4 and 5).
const ALPHABETS: [(GeneralPurpose, [u8; 2]); 2] =
    [(GeneralPurpose::new(&STANDARD, LENIENT), *b"+/"), (GeneralPurpose::new(&URL_SAFE, LENIENT), *b"-_")];

/// Letters of Base64 that show a key, up to two bytes before it.
const ENOUGH: usize = (2 + TELLING).div_ceil(3) * 4;
/// How many of the last letters may be signs that none follows.
const PADDING: usize = 2;

/// How many letters of Base64 a key has at least that does not have the shape of one; of hexadecimal it has more.
const SHORTEST_ENCODED: usize = SHORTEST * 4 / 3;

/// Letters, digits, and what either alphabet of Base64 has beside them.
const WORD: [bool; 256] = {
    let mut word = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        word[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_');
        byte += 1;
    }
    word
};

/// How often percent-encoding is undone: nobody reads more layers than that back.
const LAYERS: usize = 3;

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE};
    use http::HeaderMap;

    use super::super::tests::key;
    use super::*;

    const SHAPED: &str = "cgk_0123abcd_0123456789abcdefghjkmnpqrstvwxyz";
    /// Not of the shape, though it begins so.
    const NEARLY: &str = "cgk_my-tools-secret-01";
    const OPAQUE: &str = "a~tool's?own>secret";
    const OF_DIGEST: &str = "a-legacy-tool's-password";

    fn keys() -> KeySet {
        let mut of_digest = key("d", OF_DIGEST, None);
        of_digest.fingerprint = None;
        KeySet::new(vec![key("a", SHAPED, None), key("b", OPAQUE, None), key("c", NEARLY, None), of_digest], None)
            .unwrap()
    }

    fn finds(keys: &KeySet, text: &str) -> bool {
        keys.sight(None).finds_key(text.as_bytes())
    }

    fn percent(text: &str) -> String {
        text.bytes().map(|byte| format!("%{byte:02x}")).collect()
    }

    /// Every form of a key's text, with something before it and behind it.
    fn forms(text: &str) -> Vec<String> {
        let mut forms = Vec::new();
        for before in ["", "a", "id:", "key-"] {
            for behind in ["", ":", "-and more"] {
                let all = format!("{before}{text}{behind}");
                forms.push(format!("x{all}"));
                forms.push(format!("{{\"k\":\"{all}\"}}"));
                forms.push(percent(&all));
                forms.push(percent(&percent(&all)));
                let digits: String = all.bytes().map(|byte| format!("{byte:02x}")).collect();
                forms.push(format!("key={digits}&x"));
                forms.push(digits.to_uppercase());
                for encoded in [STANDARD_NO_PAD.encode(&all), URL_SAFE.encode(&all)] {
                    forms.push(format!("Basic {encoded}"));
                    forms.push(format!("tool-1/2+{encoded}"));
                    forms.push(format!("v=\"{encoded}\"; x"));
                    forms.push(format!("a=Basic%20{}", percent(&encoded)));
                    forms.push(encoded.replace('+', "%2B").replace('/', "%2F"));
                    forms.push(encoded);
                }
            }
        }
        forms
    }

    #[test]
    fn a_key_is_seen_in_every_form_wherever_it_stands() {
        let keys = keys();
        for form in [SHAPED, OPAQUE, NEARLY].into_iter().flat_map(forms) {
            assert!(finds(&keys, &form), "{form}");
        }
    }

    #[test]
    fn a_key_of_which_a_digest_is_known_is_seen_where_the_request_presents_it() {
        let keys = keys();
        let mut headers = HeaderMap::new();
        headers.insert("closegate-key", OF_DIGEST.parse().unwrap());
        let presented = Presented::read(&headers, &keys).unwrap();
        for form in forms(OF_DIGEST) {
            assert!(keys.sight(Some(&presented)).finds_key(form.as_bytes()), "{form}");
            assert!(!finds(&keys, &form), "{form}");
        }
        // Not what anybody presents: it is no key.
        headers.insert("closegate-key", "a-password-of-nobody".parse().unwrap());
        let presented = Presented::read(&headers, &keys).unwrap();
        assert!(!keys.sight(Some(&presented)).finds_key(b"a-password-of-nobody"));
    }

    #[test]
    fn what_is_no_key_is_not_seen() {
        let keys = keys();
        let others = ["cgk-0123abcd_0123456789abcdefghjkmnpqrstvwxyz", "a~tool's?own>secres", "b~tool's?own>secret"];
        for form in others.into_iter().flat_map(forms) {
            assert!(!finds(&keys, &form), "{form}");
        }
        for text in [
            "",
            "1",
            "2",
            "%",
            "%2",
            "Y2dr",
            "xY2drX",
            "Nna1",
            "jZ2tf",
            "=jZ2tf0000000000000000000000000000",
            "Y2dr!0000000000000000000000000",
            "63676b5f",
            "cgk_monitoring/1.0",
            "eyJhIjoxfQ9xcGk_abcDEF12345zz",
        ] {
            assert!(!finds(&keys, text), "{text}");
        }
    }
}
