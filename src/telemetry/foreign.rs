//! Copies a text that somebody else chose into a line, so that it shows no key, stays inside its JSON string and leaves
//! a terminal alone.

use std::io::Write as _;

use super::mask;

/// Appends the text, masked and escaped; the usual text takes one look and one copy.
pub(super) fn write(line: &mut Vec<u8>, text: &[u8]) {
    let seen = classes(text);
    if seen == 0 {
        return line.extend_from_slice(text);
    }
    let masked = if seen & PERCENT == 0 { mask::plain(text) } else { mask::encoded(text) };
    if seen & ESCAPED == 0 {
        return line.extend_from_slice(&masked);
    }
    escape(line, &masked);
}

/// Appends a text with `"`, `\` and controls escaped as JSON has it, and with what is no UTF-8 replaced.
pub(super) fn escape(line: &mut Vec<u8>, text: &[u8]) {
    for chunk in text.utf8_chunks() {
        chunk.valid().chars().for_each(|char| escape_char(line, char));
        if !chunk.invalid().is_empty() {
            escape_char(line, char::REPLACEMENT_CHARACTER);
        }
    }
}

fn escape_char(line: &mut Vec<u8>, char: char) {
    if matches!(char, '"' | '\\') {
        line.extend_from_slice(&[b'\\', char as u8]);
    } else if char.is_control() {
        let _ = write!(line, "\\u{:04x}", u32::from(char));
    } else {
        line.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

/// The classes of bytes that occur, sixteen bytes at a time: without branches it becomes a handful of vector instructions.
fn classes(text: &[u8]) -> u8 {
    let (chunks, rest) = text.as_chunks::<LANES>();
    let seen = chunks.iter().fold([0; LANES], |seen, chunk| with(seen, *chunk));
    // What is left over is looked at together with what lies before it, where there is something.
    let last = text.last_chunk::<LANES>().copied().unwrap_or_else(|| {
        let mut padded = [b' '; LANES];
        padded[..rest.len()].copy_from_slice(rest);
        padded
    });
    with(seen, last).into_iter().fold(0, |all, class| all | class)
}

#[inline(always)]
fn with(mut seen: [u8; LANES], chunk: [u8; LANES]) -> [u8; LANES] {
    for (seen, byte) in seen.iter_mut().zip(chunk) {
        *seen |= class(byte);
    }
    seen
}

#[inline(always)]
fn class(byte: u8) -> u8 {
    let escaped = !(b' '..0x7f).contains(&byte) | (byte == b'"') | (byte == b'\\');
    let (percent, score) = (u8::from(byte == b'%') * PERCENT, u8::from(byte == b'_') * SCORE);
    (u8::from(escaped) * ESCAPED) | percent | score
}

const LANES: usize = 16;

/// Does not stand in a JSON string as it is, or is not ASCII.
const ESCAPED: u8 = 1;
/// May be the beginning of an escape of a URL.
const PERCENT: u8 = 2;
/// May be the underscore of a key.
const SCORE: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_escaped_as_json_has_it() {
        let every: Vec<u8> = (0..=u8::MAX).collect();
        let mut line = vec![b'"'];
        write(&mut line, &every);
        line.push(b'"');
        let read: String = serde_json::from_slice(&line).unwrap();
        assert_eq!(read, String::from_utf8_lossy(&every));
    }

    #[test]
    fn a_byte_is_seen_wherever_it_lies() {
        for length in 1..50 {
            for place in 0..length {
                let mut text = vec![b'a'; length];
                assert_eq!(classes(&text), 0);
                text[place] = b'"';
                assert_eq!(classes(&text), ESCAPED);
                text[place] = b'%';
                assert_eq!(classes(&text), PERCENT);
                text[place] = b'_';
                assert_eq!(classes(&text), SCORE);
            }
        }
    }
}
