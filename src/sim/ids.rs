//! Identifiers that look like those of Close, and secrets of the shape of an API key.

use std::io;

use aws_lc_rs::rand;

/// Makes the ids of records and traces: unlike each other, and different at every start.
pub(super) struct Ids(u64);

impl Ids {
    /// Begins at a random place.
    pub(super) fn seeded() -> io::Result<Self> {
        let mut seed = [0_u8; 8];
        fill(&mut seed)?;
        Ok(Self(u64::from_le_bytes(seed)))
    }

    /// An object's id: its kind, an underscore and 22 letters and digits.
    pub(super) fn object(&mut self, kind: &str) -> String {
        let (mut high, mut low) = (self.next(), self.next());
        let mut id = format!("{kind}_");
        for _ in 0..LENGTH / 2 {
            id.push(char::from(ALPHABET[(high % 62) as usize]));
            id.push(char::from(ALPHABET[(low % 62) as usize]));
            (high, low) = (high / 62, low / 62);
        }
        id
    }

    /// A trace id: 32 hexadecimal digits.
    pub(super) fn trace(&mut self) -> String {
        format!("{:016x}{:016x}", self.next(), self.next())
    }

    /// The next number of the splitmix64 sequence.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// 22 letters and digits from the system's generator.
pub(super) fn random_text() -> io::Result<String> {
    let mut text = String::with_capacity(LENGTH);
    while text.len() < LENGTH {
        let mut bytes = [0_u8; LENGTH];
        fill(&mut bytes)?;
        let fair = bytes.into_iter().filter(|byte| *byte < 248);
        text.extend(fair.map(|byte| char::from(ALPHABET[usize::from(byte % 62)])).take(LENGTH - text.len()));
    }
    Ok(text)
}

fn fill(bytes: &mut [u8]) -> io::Result<()> {
    rand::fill(bytes).map_err(|_| io::Error::other("the system's random generator failed"))
}

const LENGTH: usize = 22;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_the_shape_of_closes_and_differ() {
        let mut ids = Ids(1);
        let (first, second) = (ids.object("lead"), ids.object("lead"));
        assert_eq!(first.len(), "lead_".len() + 22);
        assert_ne!(first, second);
        assert_eq!(ids.trace().len(), 32);
        assert_eq!(random_text().unwrap().len(), 22);
        assert_ne!(random_text().unwrap(), random_text().unwrap());
    }
}
