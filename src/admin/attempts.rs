//! Wrong tokens: answered slowly, told of rarely, and no hindrance to whoever has a right one.
//!
//! A token is compared before anything else, and a right one is never held up, be it from an address that is full of wrong
//! ones. Those are answered one after the other, five a second from one network, and refused at once where too many wait.
//! How many networks are remembered, how many answers wait and how many events tell of it is bounded, whoever asks.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// The wrong tokens of late.
pub(super) struct Attempts {
    book: Mutex<Book>,
    /// A place for each answer that waits.
    places: Semaphore,
}

/// What becomes of a wrong token.
pub(super) struct Wrong<'a> {
    /// When it is answered; none where too many wait already.
    pub(super) turn: Option<Turn<'a>>,
    /// How many there were that no event has told of, when it is time for one.
    pub(super) untold: Option<u64>,
}

/// When a wrong token is answered.
pub(super) struct Turn<'a> {
    at: Instant,
    _place: SemaphorePermit<'a>,
}

struct Book {
    suspects: HashMap<IpAddr, Suspect>,
    /// All of those for whom there was no room.
    others: Suspect,
    /// When nothing would be left of the events that were noted, at one a minute.
    told_until: Instant,
}

#[derive(Clone, Copy)]
struct Suspect {
    /// When the next of its tokens is answered.
    next: Instant,
    /// When it was last told of.
    told: Option<Instant>,
    /// How many were wrong since then.
    wrong: u64,
}

impl Attempts {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        let book = Book { suspects: HashMap::new(), others: Suspect::at(now), told_until: now };
        Self { book: Mutex::new(book), places: Semaphore::new(MOST_WAITING) }
    }

    /// Notes a wrong token.
    pub(super) fn wrong(&self, from: IpAddr) -> Wrong<'_> {
        let now = Instant::now();
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let may_tell = book.may_tell(now);
        let suspect = book.suspect(network(from), now);
        suspect.wrong += 1;
        let untold = if may_tell { suspect.tell(now) } else { None };
        let turn = self.turn(suspect, now);
        if untold.is_some() {
            book.told(now);
        }
        Wrong { turn, untold }
    }

    fn turn(&self, suspect: &mut Suspect, now: Instant) -> Option<Turn<'_>> {
        let at = suspect.next.max(now) + PAUSE;
        if at - now > PATIENCE {
            return None;
        }
        let place = self.places.try_acquire().ok()?;
        suspect.next = at;
        Some(Turn { at, _place: place })
    }
}

impl Turn<'_> {
    /// Waits until the token may be answered.
    pub(super) async fn come(self) {
        tokio::time::sleep_until(self.at).await;
    }
}

impl Book {
    /// Who asks from a network; where there is no room for another one, they are all one.
    fn suspect(&mut self, network: IpAddr, now: Instant) -> &mut Suspect {
        if !self.suspects.contains_key(&network) && self.suspects.len() >= MOST_SUSPECTS {
            self.suspects.retain(|_, suspect| now < suspect.next || suspect.is_quiet(now));
            if self.suspects.len() >= MOST_SUSPECTS {
                return &mut self.others;
            }
        }
        self.suspects.entry(network).or_insert(Suspect::at(now))
    }

    /// Whether there may be another event, of whomever.
    fn may_tell(&self, now: Instant) -> bool {
        self.told_until <= now + QUIET * (MOST_EVENTS - 1)
    }

    fn told(&mut self, now: Instant) {
        self.told_until = self.told_until.max(now) + QUIET;
    }
}

impl Suspect {
    fn at(now: Instant) -> Self {
        Self { next: now, told: None, wrong: 0 }
    }

    /// How many to tell of, unless that was done a moment ago.
    fn tell(&mut self, now: Instant) -> Option<u64> {
        if self.is_quiet(now) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.wrong))
    }

    fn is_quiet(&self, now: Instant) -> bool {
        self.told.is_some_and(|told| now < told + QUIET)
    }
}

/// Who has one address of IPv6 has its /64.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(six) => Ipv6Addr::from(u128::from(six) >> 64 << 64).into(),
    }
}

/// Between two answers to wrong tokens of one network.
const PAUSE: Duration = Duration::from_millis(200);
/// How long an answer waits for its turn.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many answers wait at once: the listener has more seats than that.
const MOST_WAITING: usize = 64;
/// Between two events about one network, and in the long run between any two.
const QUIET: Duration = Duration::from_secs(60);
/// How many events may come at once after a pause.
const MOST_EVENTS: u32 = 20;
const MOST_SUSPECTS: usize = 4096;

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[tokio::test(start_paused = true)]
    async fn wrong_tokens_are_answered_slowly_by_network() {
        let attempts = Attempts::new();
        let began = Instant::now();
        for _ in 0..50 {
            attempts.wrong(address(7)).turn.unwrap().come().await;
        }
        assert!(began.elapsed() >= PAUSE * 50, "{:?}", began.elapsed());
        let before = Instant::now();
        attempts.wrong(address(8)).turn.unwrap().come().await;
        assert_eq!(before.elapsed(), PAUSE, "somebody else waits for nobody");
        // Many at once: those for whom it would take too long are refused.
        let turns: Vec<_> = (0..100).filter_map(|_| attempts.wrong(address(7)).turn).collect();
        assert_eq!(turns.len(), 25);
        let before = Instant::now();
        join_all(turns.into_iter().map(Turn::come)).await;
        assert_eq!(before.elapsed(), PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_answers_wait_at_once() {
        let attempts = Attempts::new();
        let ask = || (0..u8::MAX).filter_map(|last| attempts.wrong(address(last)).turn).collect::<Vec<_>>();
        let turns = ask();
        assert_eq!(turns.len(), MOST_WAITING);
        drop(turns);
        assert_eq!(ask().len(), MOST_WAITING, "who does not wait any more leaves its place");
    }

    #[tokio::test(start_paused = true)]
    async fn one_network_is_told_of_once_a_minute() {
        let attempts = Attempts::new();
        let from = "2001:db8::1".parse().unwrap();
        assert_eq!(attempts.wrong(from).untold, Some(1));
        assert_eq!(attempts.wrong("2001:db8::2".parse().unwrap()).untold, None, "the same network");
        assert_eq!(attempts.wrong("2001:db8:0:1::1".parse().unwrap()).untold, Some(1), "another");
        tokio::time::sleep(QUIET).await;
        assert_eq!(attempts.wrong(from).untold, Some(2));
    }

    #[tokio::test(start_paused = true)]
    async fn however_many_networks_ask_there_are_few_events_and_few_are_remembered() {
        let attempts = Attempts::new();
        let flood = || {
            let networks = (0..10_000_u32).map(|number| IpAddr::from((0x0a00_0000 + number).to_be_bytes()));
            networks.filter(|from| attempts.wrong(*from).untold.is_some()).count()
        };
        assert_eq!(flood(), 20);
        assert!(attempts.book.lock().unwrap().suspects.len() <= MOST_SUSPECTS);
        tokio::time::sleep(QUIET).await;
        assert_eq!(flood(), 1, "one a minute from then on");
        assert!(attempts.book.lock().unwrap().suspects.len() <= MOST_SUSPECTS);
        tokio::time::sleep(QUIET * MOST_EVENTS).await;
        assert_eq!(flood(), 20);
    }
}
