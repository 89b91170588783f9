//! How often a key may ask: the generic cell rate algorithm, by the crate `governor`, which no other file names.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::{Clock, MonotonicClock};
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::{Quota, RateLimiter};

use crate::config;

/// A rate and where it stands; shared by all workers through one atomic.
pub(super) struct Rate<C: Clock = MonotonicClock> {
    limiter: RateLimiter<Act, Arrival, C, StateInformationMiddleware>,
}

/// What is done to the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Act {
    /// A request is let through.
    Take,
    /// Somebody wants to know what is left.
    Look,
}

/// When the next request would be due if all came evenly, in nanoseconds; 0: none has come.
struct Arrival(AtomicU64);

impl Rate {
    /// A rate that nobody has used yet.
    pub(super) fn new(rate: &config::Rate) -> Self {
        Self::by(rate, MonotonicClock)
    }
}

impl<C: Clock> Rate<C> {
    fn by(rate: &config::Rate, clock: C) -> Self {
        let period = rate.per.duration() / rate.count.get();
        let quota = Quota::with_period(period.max(Duration::from_nanos(1)));
        let quota = quota.unwrap_or_else(|| Quota::per_second(rate.count)).allow_burst(rate.burst);
        Self { limiter: RateLimiter::new(quota, Arrival(AtomicU64::new(0)), clock) }
    }

    /// Lets a request through, or says how long it is until the next may be.
    pub(super) fn take(&self) -> Result<(), Duration> {
        let taken = self.limiter.check_key(&Act::Take);
        taken.map(drop).map_err(|refused| refused.wait_time_from(self.limiter.clock().now()))
    }

    /// How many requests could come at once now.
    pub(super) fn left(&self) -> u32 {
        self.limiter.check_key(&Act::Look).map_or(0, |looked| looked.remaining_burst_capacity().saturating_add(1))
    }
}

impl StateStore for Arrival {
    type Key = Act;

    fn measure_and_replace<T, F, E>(&self, act: &Act, judge: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut known = self.0.load(Ordering::Relaxed);
        loop {
            let (judged, next) = judge((known != 0).then(|| Nanos::from(known)))?;
            if *act == Act::Look {
                return Ok(judged);
            }
            match self.0.compare_exchange_weak(known, next.into(), Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(judged),
                Err(changed) => known = changed,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use governor::clock::FakeRelativeClock;

    use super::*;
    use crate::config::Per;

    fn rate(count: u32, per: Per, burst: u32) -> (Rate<FakeRelativeClock>, FakeRelativeClock) {
        let [count, burst] = [count, burst].map(|number| NonZeroU32::new(number).unwrap());
        let clock = FakeRelativeClock::default();
        // Not at the very beginning of time, which stands for nothing having come.
        clock.advance(Duration::from_secs(1));
        (Rate::by(&config::Rate { count, per, burst }, clock.clone()), clock)
    }

    #[test]
    fn a_burst_is_let_through_and_then_the_rate() {
        let (rate, clock) = rate(20, Per::Second, 40);
        for left in (0..40).rev() {
            assert_eq!(rate.take(), Ok(()));
            assert_eq!(rate.left(), left);
        }
        assert_eq!(rate.take(), Err(Duration::from_millis(50)));
        clock.advance(Duration::from_millis(49));
        assert_eq!(rate.take(), Err(Duration::from_millis(1)));
        clock.advance(Duration::from_millis(1));
        assert_eq!((rate.left(), rate.take(), rate.left()), (1, Ok(()), 0));
        clock.advance(Duration::from_secs(3600));
        assert_eq!(rate.left(), 40, "what is not used is not saved up");
    }

    #[test]
    fn hours_are_hours() {
        let (rate, clock) = rate(2, Per::Hour, 1);
        assert_eq!(rate.take(), Ok(()));
        clock.advance(Duration::from_secs(1799));
        assert_eq!(rate.take(), Err(Duration::from_secs(1)));
        clock.advance(Duration::from_secs(1));
        assert_eq!(rate.take(), Ok(()));
    }

    #[test]
    fn threads_share_it() {
        let (rate, _clock) = rate(1, Per::Hour, 1000);
        let taken = |_| (0..1000).filter(|_| rate.take().is_ok()).count();
        let sum: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|number| scope.spawn(move || taken(number))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(sum, 1000);
    }
}
