//! Whether Close takes the token that is held: asked when an upstream refused it, and ever more rarely while Close does.

use std::sync::atomic::Ordering::Relaxed;

use tokio::time::Instant;

use super::{Done, Keeper};
use crate::origin::Origin;
use crate::vault::credential::Candidate;
use crate::vault::entry::Outage;
use crate::vault::pause::{Pause, SHORTEST_PAUSE};
use crate::vault::probe::Verdict;

impl Keeper {
    /// An upstream answered 401 and another token was not to be had, or was new: Close is asked, at most once a second.
    pub(super) async fn question(&mut self, origin: Origin) {
        tokio::time::sleep_until(self.next_question).await;
        self.ask(origin);
    }

    fn ask(&mut self, origin: Origin) {
        let asked = self.held.as_ref().map(|held| held.candidate.clone());
        let (Some(authorization), Some(asked)) = (self.authorization(), asked) else {
            return self.entry.suspicion().clear();
        };
        let means = self.means();
        self.begin_work("a question to Close", async move {
            let verdict = means.ask(&origin, authorization).await;
            Done::Asked(origin, asked, verdict)
        });
    }

    /// Of tokens other than those that Close refused, Close is asked again; work that is under way ends with that as well.
    pub(super) fn ask_anew(&mut self) {
        if let Some(origin) = self.rejected.clone().filter(|_| self.work.is_none()) {
            self.ask(origin);
        }
    }

    /// What Close says of a token that was held when it was asked.
    pub(super) fn judge(&mut self, origin: Origin, asked: &Candidate, verdict: &Verdict) {
        let now = Instant::now();
        self.next_question = now + SHORTEST_PAUSE;
        self.entry.suspicion().clear();
        if self.held.as_ref().is_none_or(|held| !held.candidate.is_same(asked)) {
            // Of another one it says nothing.
            return self.ask_anew();
        }
        let is_due = self.due.is_some_and(|due| due <= now);
        match (verdict, &self.rejected) {
            (Verdict::Accepted, Some(_)) => {
                tracing::info!(credential = %self.entry.name(), "the credential is available again");
                self.rejected = None;
                self.pause = Pause::default();
                self.admit();
            }
            // Another token is asked for already.
            (Verdict::Rejected, None) if is_due => {}
            (Verdict::Rejected, None) if self.is_replaceable() => self.replace(),
            (Verdict::Rejected, None) => {
                self.entry.meters().rejections.fetch_add(1, Relaxed);
                tracing::warn!(credential = %self.entry.name(), "Close refuses this credential; it is not sent until Close takes it again");
                self.reject(origin);
            }
            (Verdict::Rejected | Verdict::Undecided(_), Some(_)) => self.reject(origin),
            (Verdict::Accepted | Verdict::Undecided(_), None) => {}
        }
    }

    /// A new token was refused: the next one is tried later.
    fn reject(&mut self, origin: Origin) {
        let until = self.respite.max(Instant::now() + self.pause.next());
        self.rejected = Some(origin);
        self.due = Some(until);
        self.entry.withdraw(Outage::Rejected, until);
    }
}
