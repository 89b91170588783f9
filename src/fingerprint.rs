//! Texts that are known by a number alone, found anywhere in another text (Karp and Rabin, 1987).
//!
//! Whoever looks for a secret need not hold it: a fingerprint is the text as a polynomial, at a point that each process
//! draws at random, modulo a prime of 61 bits. That two texts have the same one is next to impossible to bring about
//! without that point; whoever must be sure compares what was found in another way.

use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::LazyLock;

/// The number of one text, and how long the text is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    length: usize,
    sum: u64,
}

impl Fingerprint {
    /// The fingerprint of a text, good within this process.
    pub fn of(text: &[u8]) -> Self {
        Self { length: text.len(), sum: text.iter().fold(0, |sum, byte| append(sum, *byte)) }
    }
}

/// Printed without the number: who knows the point could try texts against it.
impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[fingerprint of {} bytes]", self.length)
    }
}

/// Texts to look for.
#[derive(Debug, Default)]
pub struct Fingerprints {
    /// Those of one length each, the shortest first.
    windows: Vec<Window>,
}

#[derive(Debug)]
struct Window {
    length: usize,
    /// What the first byte of a window of that length is multiplied with.
    lead: u64,
    sums: Vec<u64>,
}

impl Fingerprints {
    /// No texts at all.
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }

    /// How long the shortest of them is, in bytes.
    pub fn shortest(&self) -> Option<usize> {
        self.windows.first().map(|window| window.length)
    }

    /// Whether the text holds a piece that has one of the fingerprints and that `confirm` takes for one of the texts.
    pub fn stand_in(&self, text: &[u8], confirm: impl Fn(&[u8]) -> bool) -> bool {
        self.windows.iter().any(|window| window.slides_over(text, &confirm))
    }
}

impl FromIterator<Fingerprint> for Fingerprints {
    fn from_iter<I: IntoIterator<Item = Fingerprint>>(fingerprints: I) -> Self {
        let mut windows: Vec<Window> = Vec::new();
        for Fingerprint { length, sum } in fingerprints.into_iter().filter(|one| one.length > 0) {
            let at = windows.partition_point(|window| window.length < length);
            if windows.get(at).is_none_or(|window| window.length != length) {
                let lead = (1..length).fold(1, |power, _| times(power, *POINT));
                windows.insert(at, Window { length, lead, sums: Vec::new() });
            }
            windows[at].sums.push(sum);
        }
        for window in &mut windows {
            window.sums.sort_unstable();
        }
        Self { windows }
    }
}

impl Window {
    fn slides_over(&self, text: &[u8], confirm: impl Fn(&[u8]) -> bool) -> bool {
        let Some(first) = text.get(..self.length) else { return false };
        let mut sum = Fingerprint::of(first).sum;
        let mut start = 0;
        loop {
            if self.sums.binary_search(&sum).is_ok() && confirm(&text[start..start + self.length]) {
                return true;
            }
            let Some(next) = text.get(start + self.length) else { return false };
            sum = append(minus(sum, times(self.lead, u64::from(text[start]) + 1)), *next);
            start += 1;
        }
    }
}

/// A zero byte counts as well: each is one more than it is.
fn append(sum: u64, byte: u8) -> u64 {
    below_prime(times(sum, *POINT) + u64::from(byte) + 1)
}

fn minus(sum: u64, subtrahend: u64) -> u64 {
    if sum >= subtrahend { sum - subtrahend } else { sum + PRIME - subtrahend }
}

fn times(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    // 2^61 is 1, modulo the prime: what stands above counts as if it stood below.
    let [low, high] = [product, product >> 61].map(|part| u64::try_from(part & u128::from(PRIME)).unwrap_or_default());
    below_prime(low + high)
}

fn below_prime(sum: u64) -> u64 {
    if sum >= PRIME { sum - PRIME } else { sum }
}

/// The Mersenne prime of 61 bits.
const PRIME: u64 = (1 << 61) - 1;

/// Where the polynomials are evaluated: drawn at the first use, by the keys that the standard library draws for its maps.
static POINT: LazyLock<u64> = LazyLock::new(|| 256 + RandomState::new().hash_one(0_u64) % (PRIME - 256));

#[cfg(test)]
mod tests {
    use super::*;

    fn found(texts: &[&str], text: &str) -> bool {
        let fingerprints: Fingerprints = texts.iter().map(|text| Fingerprint::of(text.as_bytes())).collect();
        fingerprints.stand_in(text.as_bytes(), |piece| texts.iter().any(|text| text.as_bytes() == piece))
    }

    #[test]
    fn a_text_is_found_wherever_it_stands() {
        let texts = ["one two", "three", "four!"];
        for text in ["one two", "-one two", "one two-", "onone twoo", "xxthree", "four!four", "fourfour!"] {
            assert!(found(&texts, text), "{text}");
        }
        for text in ["", "one tw", "ne two", "thre", "hree", "four", "one  two", "ONE TWO"] {
            assert!(!found(&texts, text), "{text}");
        }
        assert!(!found(&[], "anything"));
    }

    /// Every piece of a text, and nothing else, has the fingerprint of that piece.
    #[test]
    fn a_window_has_the_fingerprint_of_what_it_shows() {
        let text: Vec<u8> =
            (0..600_u32).map(|number| u8::try_from(number * number % 251).unwrap_or_default()).collect();
        for length in [1, 2, 16, 61, 600] {
            for start in [0, 1, 300, 600 - length] {
                let Some(piece) = text.get(start..start + length) else { continue };
                let fingerprints = Fingerprints::from_iter([Fingerprint::of(piece)]);
                assert!(fingerprints.stand_in(&text, |shown| shown == piece), "{length} bytes from {start}");
                // What is asked to be confirmed is what has the number: nothing else was, in all the windows.
                assert!(!fingerprints.stand_in(&text, |shown| shown != piece), "{length} bytes from {start}");
            }
        }
    }

    #[test]
    fn nothing_of_a_text_is_printed() {
        assert_eq!(format!("{:?}", Fingerprint::of(b"sixteen letters!")), "[fingerprint of 16 bytes]");
    }
}
