//! The tokens of operators: known by their digests, compared in constant time, guessed slowly.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::model::Role;
use super::refusal::{Code, Refusal};

/// A token, without its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What events call who has it.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The SHA-256 of its text.
    pub digest: [u8; 32],
}

/// The tokens of a listener.
pub struct Tokens(Vec<Token>);

impl Tokens {
    /// These, and no others.
    pub fn new(tokens: Vec<Token>) -> Self {
        Self(tokens)
    }

    /// The token of a text: the same work for each text of one length, known or not.
    pub(super) fn find(&self, text: &[u8]) -> Option<&Token> {
        let presented = sha256(text);
        let mut found = None;
        for token in &self.0 {
            if verify_slices_are_equal(&presented, &token.digest).is_ok() {
                found = Some(token);
            }
        }
        found
    }

    /// A token that may do everything.
    pub(super) fn of_an_admin(&self) -> Option<&Token> {
        self.0.iter().find(|token| token.role == Role::Admin)
    }

    /// The token of a name.
    pub(super) fn named(&self, name: &str) -> Option<&Token> {
        self.0.iter().find(|token| token.name == name)
    }
}

/// Draws a token of 256 random bits; none when the system gives no random bytes.
pub fn draw_token() -> Option<Zeroizing<String>> {
    let mut bytes = Zeroizing::new([0; 32]);
    rand::fill(bytes.as_mut_slice()).ok()?;
    Some(Zeroizing::new(format!("cga_{}", *Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_slice())))))
}

/// The SHA-256 of some bytes.
pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut sum = [0; 32];
    sum.copy_from_slice(digest(&SHA256, bytes).as_ref());
    sum
}

/// Who has presented wrong tokens of late: theirs are looked at one after the other, five a second.
#[derive(Default)]
pub(super) struct Attempts(Mutex<HashMap<IpAddr, Suspect>>);

#[derive(Clone, Copy)]
struct Suspect {
    /// When the next of its tokens is looked at.
    next: Instant,
    /// When it was last told of.
    noted: Option<Instant>,
    /// How many were wrong since then.
    wrong: u64,
}

impl Attempts {
    /// Waits until a token from there may be looked at.
    pub(super) async fn turn(&self, from: IpAddr) -> Result<(), Refusal> {
        let turn = self.with(from, |suspect, now| {
            let turn = suspect.next.max(now);
            if turn - now > PATIENCE {
                return Err(Refusal::new(Code::TooManyAttempts, "too many wrong tokens from this address")
                    .hint("try again in a few seconds, with the right one"));
            }
            suspect.next = turn + PAUSE;
            Ok(turn)
        });
        if let Some(turn) = turn {
            tokio::time::sleep_until(turn?).await;
        }
        Ok(())
    }

    /// Notes a wrong token. How many there were since that was last worth an event, if it is again: once a minute.
    pub(super) fn wrong(&self, from: IpAddr) -> Option<u64> {
        let now = Instant::now();
        let mut suspects = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if suspects.len() >= MOST_SUSPECTS {
            suspects.retain(|_, suspect| now < suspect.next || suspect.is_quiet(now));
        }
        let fresh = Suspect { next: now, noted: None, wrong: 0 };
        let suspect = suspects.entry(network(from)).or_insert(fresh);
        suspect.next = suspect.next.max(now + PAUSE);
        suspect.wrong += 1;
        if suspect.is_quiet(now) {
            return None;
        }
        suspect.noted = Some(now);
        Some(std::mem::replace(&mut suspect.wrong, 0))
    }

    /// What to do about somebody, if there was a wrong token from there.
    fn with<T>(&self, from: IpAddr, act: impl FnOnce(&mut Suspect, Instant) -> T) -> Option<T> {
        let mut suspects = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        suspects.get_mut(&network(from)).map(|suspect| act(suspect, Instant::now()))
    }
}

impl Suspect {
    /// Whether it was told of a moment ago.
    fn is_quiet(&self, now: Instant) -> bool {
        self.noted.is_some_and(|noted| now < noted + QUIET)
    }
}

/// Who has one address of IPv6 has its /64.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(six) => Ipv6Addr::from(u128::from(six) >> 64 << 64).into(),
    }
}

/// Between two looks at tokens from one address, once one was wrong.
const PAUSE: Duration = Duration::from_millis(200);
/// How long a request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two events about one address.
const QUIET: Duration = Duration::from_secs(60);
const MOST_SUSPECTS: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_all_of_its_bytes() {
        let token = |name: &str, text: &str| Token {
            name: name.to_owned(),
            role: Role::Admin,
            digest: sha256(text.as_bytes()),
        };
        let tokens = Tokens::new(vec![token("ops", "planted-token-of-ops"), token("ci", "planted-token-of-ci")]);
        assert_eq!(tokens.find(b"planted-token-of-ci").unwrap().name, "ci");
        for wrong in ["", "planted-token-of-c", "planted-token-of-ci ", "Planted-token-of-ci", "planted-token-of-ci\0"]
        {
            assert!(tokens.find(wrong.as_bytes()).is_none(), "{wrong:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_are_guessed_slowly_and_from_one_address_at_a_time() {
        let attempts = Attempts::default();
        let (bad, good) = ([192, 0, 2, 7].into(), [192, 0, 2, 8].into());
        let began = Instant::now();
        for _ in 0..50 {
            attempts.turn(bad).await.unwrap();
            attempts.wrong(bad);
        }
        assert!(began.elapsed() >= PAUSE * 49, "{:?}", began.elapsed());
        let before = Instant::now();
        attempts.turn(good).await.unwrap();
        assert_eq!(before.elapsed(), Duration::ZERO);
        // Many at once: those for whom it would take too long are refused.
        let all = futures_util::future::join_all((0..100).map(|_| attempts.turn(bad))).await;
        let served = all.iter().filter(|turn| turn.is_ok()).count();
        assert!((20..30).contains(&served), "{served}");
    }

    #[tokio::test(start_paused = true)]
    async fn wrong_tokens_are_told_of_once_a_minute() {
        let attempts = Attempts::default();
        let from = "2001:db8::1".parse().unwrap();
        assert_eq!(attempts.wrong(from), Some(1));
        assert_eq!(attempts.wrong("2001:db8::2".parse().unwrap()), None, "the same network");
        assert_eq!(attempts.wrong("2001:db8:0:1::1".parse().unwrap()), Some(1), "another");
        tokio::time::sleep(QUIET).await;
        assert_eq!(attempts.wrong(from), Some(2));
    }
}
