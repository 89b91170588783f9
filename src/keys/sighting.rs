//! Whether a text that goes further holds a gateway key: as it is, percent-encoded, or in Base64 with whatever stands
//! round it (security.md 20, 43).
//!
//! A key is known by its shape; one of another shape by its fingerprint, where the gateway knows its text.

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use super::KeySet;
use super::key::{Exact, digest};
use super::shape::{self, ID, MARK};

impl KeySet {
    /// Whether a text holds a key.
    pub fn stand_in(&self, text: &[u8]) -> bool {
        shape::mentions_key(text)
            || marks_in_base64(text).any(Self::shows_key)
            || !self.opaque.is_empty() && self.holds_opaque(text)
    }

    /// Whether a text holds a key that does not have the shape of one; of no use to look for where there is none.
    pub fn hold_opaque_in(&self, text: &[u8]) -> bool {
        !self.opaque.is_empty() && self.holds_opaque(text)
    }

    /// Whether what begins at a mark is shaped like a key.
    fn shows_key(encoded: &[u8]) -> bool {
        let Some(encoded) = encoded.get(..ENOUGH) else { return false };
        let mut buffer = Zeroizing::new([0; ENOUGH / 4 * 3]);
        ALPHABETS
            .iter()
            .any(|(engine, _)| engine.decode_slice(encoded, &mut *buffer).is_ok() && shape::mentions_key(&*buffer))
    }

    fn holds_opaque(&self, text: &[u8]) -> bool {
        let plain =
            |text: &[u8]| self.opaque.stand_in(text, |piece| self.by_digest.contains_key(&Exact(digest(piece))));
        let undone = |text: &[u8]| memchr::memchr(b'%', text).is_some() && plain(&Zeroizing::new(shape::decoded(text)));
        plain(text) || undone(text) || self.holds_opaque_in_base64(text, plain)
    }

    fn holds_opaque_in_base64(&self, text: &[u8], plain: impl Fn(&[u8]) -> bool) -> bool {
        let shortest = self.opaque.shortest().unwrap_or(usize::MAX);
        ALPHABETS.iter().any(|(engine, marks)| {
            let runs = text.split(|byte| !byte.is_ascii_alphanumeric() && !marks.contains(byte));
            let long = runs.filter(|run| run.len() / 4 * 3 + 3 > shortest);
            // What stands before it, with nothing between that ends a run, may be of any length.
            let shifted = long.flat_map(|run| (0..4).map(move |shift| &run[shift..]));
            shifted.into_iter().any(|encoded| {
                // A last letter that no encoder leaves alone is not of it.
                let encoded = if encoded.len() % 4 == 1 { &encoded[..encoded.len() - 1] } else { encoded };
                engine.decode(encoded).is_ok_and(|decoded| plain(&Zeroizing::new(decoded)))
            })
        })
    }
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

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);

/// Who reads an alphabet, and what that has beside letters and digits (RFC 4648 4 and 5).
const ALPHABETS: [(GeneralPurpose, [u8; 2]); 2] =
    [(GeneralPurpose::new(&STANDARD, LENIENT), *b"+/"), (GeneralPurpose::new(&URL_SAFE, LENIENT), *b"-_")];

/// Letters of Base64 that show a mark, up to two bytes before it and the id behind it.
const ENOUGH: usize = (2 + MARK.len() + ID).div_ceil(3) * 4;

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE};

    use super::super::tests::key;
    use super::*;

    const SHAPED: &str = "cgk_0123abcd_0123456789abcdefghjkmnpqrstvwxyz";
    const OPAQUE: &str = "a~tool's?own>secret";

    fn keys() -> KeySet {
        KeySet::new(vec![key("a", SHAPED, None), key("b", OPAQUE, None)], None).unwrap()
    }

    /// Every form of a key's text, with something before it and behind it.
    fn forms(text: &str) -> Vec<String> {
        let mut forms = Vec::new();
        for before in ["", "a", "id:", "key-"] {
            for behind in ["", ":", "-and more"] {
                let all = format!("{before}{text}{behind}");
                forms.push(format!("x{all}"));
                forms.push(format!("{{\"k\":\"{all}\"}}"));
                forms.push(all.bytes().map(|byte| format!("%{byte:02x}")).collect());
                for encoded in [STANDARD_NO_PAD.encode(&all), URL_SAFE.encode(&all)] {
                    forms.push(format!("Basic {encoded}"));
                    forms.push(format!("tool-1/2+{encoded}"));
                    forms.push(format!("v=\"{encoded}\"; x"));
                    forms.push(encoded);
                }
            }
        }
        forms
    }

    #[test]
    fn a_key_is_seen_in_every_form_wherever_it_stands() {
        let keys = keys();
        for text in [SHAPED, OPAQUE] {
            for form in forms(text) {
                assert!(keys.stand_in(form.as_bytes()), "{form}");
                assert_eq!(keys.hold_opaque_in(form.as_bytes()), text == OPAQUE, "{form}");
            }
        }
    }

    #[test]
    fn what_is_no_key_is_not_seen() {
        let keys = keys();
        let others = ["cgk-0123abcd_0123456789abcdefghjkmnpqrstvwxyz", "a~tool's?own>secres", "b~tool's?own>secret"];
        for form in others.into_iter().flat_map(forms) {
            assert!(!keys.stand_in(form.as_bytes()), "{form}");
        }
        for text in
            ["", "1", "2", "Y2dr", "xY2drX", "Nna1", "jZ2tf", "=jZ2tf0000000000000000000000", "Y2dr!000000000000000"]
        {
            assert!(!keys.stand_in(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn a_key_of_which_the_digest_alone_is_known_is_not_looked_for() {
        let mut unread = key("b", OPAQUE, None);
        unread.fingerprint = None;
        assert!(!KeySet::new(vec![unread], None).unwrap().stand_in(OPAQUE.as_bytes()));
    }
}
