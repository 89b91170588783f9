//! Texts that are known by a number alone, found anywhere in another text (Karp and Rabin, 1987).
//!
//! Whoever looks for a secret need not hold it: a fingerprint is the first bytes of the text as a polynomial, at a point
//! that each process draws at random. Whoever finds such a number confirms in another way what stands there.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::LazyLock;

/// The number of a text's first bytes, and how long the text is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint {
    sum: u64,
    length: usize,
}

impl Fingerprint {
    /// The fingerprint of a text, good within this process; none of one that is shorter than [`SHORTEST`].
    pub fn of(text: &[u8]) -> Option<Self> {
        let first = text.get(..SHORTEST)?;
        Some(Self { sum: first.iter().fold(0, |sum, byte| append(sum, *byte)), length: text.len() })
    }
}

/// Printed without the number: who knows the point could try texts against it.
impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[fingerprint of {} bytes]", self.length)
    }
}

/// Texts to look for, in the order of their numbers.
#[derive(Debug, Default)]
pub struct Fingerprints(Vec<Fingerprint>);

impl Fingerprints {
    /// No texts at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the text holds a piece that has one of the fingerprints and that `confirm` takes for one of the texts. The
    /// time grows with the text, and not with how many are looked for.
    pub fn stand_in(&self, text: &[u8], confirm: impl Fn(&[u8]) -> bool) -> bool {
        let Some(Fingerprint { mut sum, .. }) = Fingerprint::of(text).filter(|_| !self.is_empty()) else {
            return false;
        };
        let point = *POINT;
        let lead = (1..SHORTEST).fold(1_u64, |power, _| power.wrapping_mul(point));
        for start in 0.. {
            if self.with(sum).any(|known| text.get(start..start + known.length).is_some_and(&confirm)) {
                return true;
            }
            let Some(next) = text.get(start + SHORTEST) else { break };
            let first = lead.wrapping_mul(u64::from(text[start]) + 1);
            sum = sum.wrapping_sub(first).wrapping_mul(point).wrapping_add(u64::from(*next) + 1);
        }
        false
    }

    /// Those of a number.
    fn with(&self, sum: u64) -> impl Iterator<Item = &Fingerprint> {
        let from = match &self.0[..] {
            // Nearly everybody's case, and nearly always not it.
            [only] => usize::from(only.sum != sum),
            many => many.partition_point(|known| known.sum < sum),
        };
        self.0[from..].iter().take_while(move |known| known.sum == sum)
    }
}

impl FromIterator<Fingerprint> for Fingerprints {
    fn from_iter<I: IntoIterator<Item = Fingerprint>>(fingerprints: I) -> Self {
        let mut sorted: Vec<_> = fingerprints.into_iter().collect();
        sorted.sort_unstable();
        Self(sorted)
    }
}

/// A zero byte counts as well: each is one more than it is.
fn append(sum: u64, byte: u8) -> u64 {
    sum.wrapping_mul(*POINT).wrapping_add(u64::from(byte) + 1)
}

/// How many bytes a text has at least to be found: as many as the shortest gateway key has.
pub const SHORTEST: usize = 16;

/// Where the polynomials are evaluated, odd: drawn at the first use, as the standard library draws the keys of its maps.
static POINT: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0_u64) | 1);

#[cfg(test)]
mod tests {
    use super::*;

    fn found(texts: &[&str], text: &str) -> bool {
        let fingerprints: Fingerprints = texts.iter().filter_map(|text| Fingerprint::of(text.as_bytes())).collect();
        fingerprints.stand_in(text.as_bytes(), |piece| texts.iter().any(|text| text.as_bytes() == piece))
    }

    #[test]
    fn a_text_is_found_wherever_it_stands() {
        let texts = ["one two three four", "one two three fourteen", "sixteen letters!"];
        for text in [
            "one two three four",
            "-one two three four",
            "one two three four-",
            "one two three fourteen",
            "one one two three four",
            "sixteen letters!sixteen",
            "sixteen sixteen letters!",
        ] {
            assert!(found(&texts, text), "{text}");
        }
        for text in [
            "",
            "one two three fou",
            "ne two three four",
            "sixteen letters",
            "one  two three four",
            "ONE TWO THREE FOUR",
        ] {
            assert!(!found(&texts, text), "{text}");
        }
        assert!(!found(&[], "anything that is long enough"));
        assert!(Fingerprint::of(b"fifteen letters").is_none());
    }

    /// Every window of a text has the fingerprint of what it shows, and of nothing else.
    #[test]
    fn a_window_has_the_fingerprint_of_what_it_shows() {
        let text: Vec<u8> =
            (0..600_u32).map(|number| u8::try_from(number * number % 251).unwrap_or_default()).collect();
        for length in [SHORTEST, 17, 61, 600] {
            for start in [0, 1, 300, 600 - length] {
                let Some(piece) = text.get(start..start + length) else { continue };
                let fingerprints: Fingerprints = Fingerprint::of(piece).into_iter().collect();
                assert!(fingerprints.stand_in(&text, |shown| shown == piece), "{length} bytes from {start}");
                // What is asked to be confirmed is what has the number: nothing else was, in all the windows.
                assert!(!fingerprints.stand_in(&text, |shown| shown != piece), "{length} bytes from {start}");
            }
        }
    }

    #[test]
    fn nothing_of_a_text_is_printed() {
        assert_eq!(format!("{:?}", Fingerprint::of(b"sixteen letters!").unwrap()), "[fingerprint of 16 bytes]");
    }
}
