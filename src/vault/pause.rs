//! Pauses between tries that fail: they grow, and no two replicas take them in step.

use std::future;
use std::time::Duration;

use tokio::time::Instant;

/// Pauses that double from 1 s to 5 min, each with up to a quarter more.
#[derive(Debug, Default)]
pub(super) struct Pause {
    taken: u32,
}

impl Pause {
    /// The next one.
    pub(super) fn next(&mut self) -> Duration {
        let pause = SHORTEST_PAUSE.saturating_mul(1 << self.taken.min(9)).min(LONGEST_PAUSE);
        self.taken += 1;
        (pause + pause.mul_f64(drawn() / 4.0)).min(LONGEST_PAUSE)
    }
}

/// A number from 0 to 1, at random; without randomness always 0: there is no jitter then, which harms nobody.
pub(super) fn drawn() -> f64 {
    let mut random = [0; 2];
    aws_lc_rs::rand::fill(&mut random).map_or(0.0, |()| f64::from(u16::from_le_bytes(random)) / f64::from(u16::MAX))
}

/// Waits for a moment; for none, for ever.
pub(super) async fn reached(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => future::pending().await,
    }
}

/// The first pause, about.
pub(super) const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_from_a_second_to_five_minutes() {
        let mut pause = Pause::default();
        let pauses: Vec<_> = (0..40).map(|_| pause.next()).collect();
        assert!(pauses[0] >= SHORTEST_PAUSE && pauses[0] <= SHORTEST_PAUSE * 5 / 4);
        assert!(pauses.iter().all(|pause| *pause <= LONGEST_PAUSE));
        assert!(pauses[..8].windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(pauses[39], LONGEST_PAUSE);
    }
}
