//! Hides what looks like a key in a text that a client chose: `api_…` and `cgk_…` become `api_***` and `cgk_***`.
//!
//! It errs on the side of hiding: a key is found anywhere in the text, in any case, and behind percent-encoding.

use std::borrow::Cow;
use std::ops::Range;

use percent_encoding::percent_decode;

/// A text with every key in it hidden that looks like one.
pub fn masked(text: &[u8]) -> Cow<'_, [u8]> {
    if text.contains(&b'%') { encoded(text) } else { plain(text) }
}

/// A text without percent-encoding, with every key in it hidden.
pub(super) fn plain(text: &[u8]) -> Cow<'_, [u8]> {
    let Some(mut key) = find(text, 0) else { return Cow::Borrowed(text) };
    let (mut masked, mut kept) = (Vec::with_capacity(text.len()), 0);
    loop {
        masked.extend_from_slice(&text[kept..key.start]);
        masked.extend_from_slice(mask(&text[key.clone()]));
        kept = key.end;
        match find(text, kept) {
            Some(next) => key = next,
            None => break,
        }
    }
    masked.extend_from_slice(&text[kept..]);
    Cow::Owned(masked)
}

/// A text with percent-encoding, which hides a key from a search but not from a reader: a segment that holds one once
/// decoded is hidden whole.
pub(super) fn encoded(text: &[u8]) -> Cow<'_, [u8]> {
    let mut masked = Vec::with_capacity(text.len());
    for segment in text.split_inclusive(|byte| matches!(byte, b'/' | b' ')) {
        let decoded = decoded(segment);
        match find(&decoded, 0) {
            Some(key) => {
                masked.extend_from_slice(mask(&decoded[key]));
                masked.extend(segment.last().filter(|byte| matches!(byte, b'/' | b' ')));
            }
            None => masked.extend_from_slice(segment),
        }
    }
    Cow::Owned(masked)
}

/// The first key that begins at `from` or behind it.
fn find(text: &[u8], from: usize) -> Option<Range<usize>> {
    memchr::memchr_iter(b'_', &text[from..]).find_map(|place| {
        let start = (from + place).checked_sub(LEAD).filter(|start| *start >= from)?;
        let lead = &text[start..start + LEAD];
        if !(lead.eq_ignore_ascii_case(b"api") || lead.eq_ignore_ascii_case(b"cgk")) {
            return None;
        }
        let length = text[start..].iter().position(|byte| ends_a_key(*byte)).unwrap_or(text.len() - start);
        (length > LONGEST_WORD).then_some(start..start + length)
    })
}

fn mask(key: &[u8]) -> &'static [u8] {
    if key[0].eq_ignore_ascii_case(&b'a') { b"api_***" } else { b"cgk_***" }
}

fn ends_a_key(byte: u8) -> bool {
    byte <= b' ' || b"/\"'(),;:@&=<>".contains(&byte)
}

/// Percent-decodes, a few times over: nobody reads more layers than that back.
fn decoded(segment: &[u8]) -> Cow<'_, [u8]> {
    let mut text = Cow::Borrowed(segment);
    for _ in 0..LAYERS {
        // Borrowed where there was nothing to undo.
        let Cow::Owned(shorter) = Cow::from(percent_decode(&text)) else { break };
        text = Cow::Owned(shorter);
    }
    text
}

const LEAD: usize = 3;

/// What is not longer is a word such as `api_key` and no key.
const LONGEST_WORD: usize = 12;

const LAYERS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let masked = if text.contains('%') { encoded(text.as_bytes()) } else { plain(text.as_bytes()) };
        String::from_utf8(masked.into_owned()).unwrap()
    }

    #[test]
    fn keys_are_hidden_wherever_they_stand() {
        assert_eq!(shown("/sales/api_7abcDEF123.9xyz/me"), "/sales/api_***/me");
        assert_eq!(shown("/CGK_ab12_secretsecret"), "/cgk_***");
        assert_eq!(shown("/x-api_0123456789abc"), "/x-api_***");
        assert_eq!(shown("tool/1 (key=api_0123456789abc; cgk_0123456789abc)"), "tool/1 (key=api_***; cgk_***)");
        assert_eq!(shown("/api_0123456789abc/api_0123456789abc/"), "/api_***/api_***/");
    }

    #[test]
    fn words_stay() {
        for text in ["/api/v1/api_key/", "/api_short", "_", "/a_b/cgk_", "api_", "", "/my_api_client"] {
            assert_eq!(shown(text), text);
        }
    }

    #[test]
    fn encoding_hides_no_key() {
        for text in ["/%61pi_0123456789abc/x", "/api%5f0123456789abc/x", "/%2561pi%255f0123456789abc/x"] {
            assert_eq!(shown(text), "/api_***/x");
        }
        assert_eq!(shown("/a%20b/%zz/%"), "/a%20b/%zz/%");
    }

    #[test]
    fn a_text_without_a_key_is_not_copied() {
        assert!(matches!(plain(b"/sales/api/v1/lead_status/"), Cow::Borrowed(_)));
    }
}
