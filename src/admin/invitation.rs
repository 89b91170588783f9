//! The link of the first run: whoever follows it is signed in, once, within an hour, and while there is no credential.
//!
//! A gateway without a credential prints it, so that nobody has to look for a token first. The text of the link stands
//! behind the `#`, which browsers do not send and proxies do not log; it is known here by its digest only.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::refusal::Refusal;
use super::tokens::sha256;

/// Lets one person in.
pub struct Invitation(Mutex<Option<Open>>);

struct Open {
    digest: [u8; 32],
    until: Instant,
}

impl Invitation {
    /// Draws one of 256 random bits, and gives the end of its link: `#/start/…`.
    ///
    /// # Errors
    ///
    /// When the system gives no random bytes.
    pub fn draw() -> Result<(Self, Zeroizing<String>), Refusal> {
        let mut bytes = Zeroizing::new([0; 32]);
        rand::fill(bytes.as_mut_slice()).map_err(|_| Refusal::internal())?;
        let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_slice()));
        let open = Open { digest: sha256(text.as_bytes()), until: Instant::now() + LASTS };
        Ok((Self(Mutex::new(Some(open))), Zeroizing::new(format!("#/start/{}", *text))))
    }

    /// Whether a text is that of the link.
    pub(super) fn fits(&self, text: &[u8]) -> bool {
        self.open().as_ref().is_some_and(|open| open.fits(text))
    }

    /// Whether a text is that of the link. It is used up with that.
    pub(super) fn accept(&self, text: &[u8]) -> bool {
        self.open().take_if(|open| open.fits(text)).is_some()
    }

    /// Ends the link: the first run is over.
    pub(super) fn end(&self) {
        *self.open() = None;
    }

    fn open(&self) -> MutexGuard<'_, Option<Open>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn fits(&self, text: &[u8]) -> bool {
        let same = verify_slices_are_equal(&sha256(text), &self.digest).is_ok();
        same && Instant::now() < self.until
    }
}

const LASTS: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_link_lets_one_person_in_and_within_its_time() {
        let (invitation, link) = Invitation::draw().unwrap();
        let text = link.strip_prefix("#/start/").unwrap();
        assert!(!invitation.accept(b"") && !invitation.accept(&text.as_bytes()[1..]));
        assert!(invitation.fits(text.as_bytes()) && invitation.accept(text.as_bytes()));
        assert!(!invitation.fits(text.as_bytes()) && !invitation.accept(text.as_bytes()), "it was used");

        let (ended, link) = Invitation::draw().unwrap();
        ended.end();
        assert!(!ended.accept(link.strip_prefix("#/start/").unwrap().as_bytes()), "there is a credential");

        let (late, link) = Invitation::draw().unwrap();
        tokio::time::advance(LASTS).await;
        assert!(!late.accept(link.strip_prefix("#/start/").unwrap().as_bytes()));
    }
}
