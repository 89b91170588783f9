//! Draws request ids: a generator a core, seeded at random once, so that an id costs no system call.
//!
//! The ids are unique, not secret: nothing may be decided by knowing one.

use std::cell::Cell;
use std::hash::{BuildHasher as _, RandomState};

use crate::id::RequestId;

/// xoshiro256++ (Blackman and Vigna, 2019).
pub(super) struct Generator(Cell<[u64; 4]>);

impl Generator {
    /// Seeds from the keys that the standard library draws for its hash maps: another set for each thread and call.
    pub(super) fn seeded() -> Self {
        Self(Cell::new([0_u64, 1, 2, 3].map(|word| RandomState::new().hash_one(word))))
    }

    /// Draws the next id.
    pub(super) fn draw(&self) -> RequestId {
        RequestId::from_bits(u128::from(self.next()) << 64 | u128::from(self.next()))
    }

    fn next(&self) -> u64 {
        let [mut a, mut b, mut c, mut d] = self.0.get();
        let drawn = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let shifted = b << 17;
        c ^= a;
        d ^= b;
        b ^= c;
        a ^= d;
        c ^= shifted;
        d = d.rotate_left(45);
        self.0.set([a, b, c, d]);
        drawn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_the_published_one() {
        let generator = Generator(Cell::new([1, 2, 3, 4]));
        let drawn: Vec<u64> = (0..4).map(|_| generator.next()).collect();
        assert_eq!(drawn, [41_943_041, 58_720_359, 3_588_806_011_781_223, 3_591_011_842_654_386]);
    }

    #[test]
    fn two_cores_draw_different_ids() {
        let (one, two) = (Generator::seeded(), Generator::seeded());
        assert_ne!(one.draw(), two.draw());
        assert_ne!(one.draw(), one.draw());
    }
}
