//! Keeps one grant: has it refreshed early, shared by whoever waits, and shows requests what came of it.
//!
//! The work that takes time, a refresh or a question to Close, is done beside it, one piece at a time, and is not
//! dropped with it: tokens may be on their way.

mod questions;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::client::Manner;
use super::grants::{Condition, GrantsFault, Stored};
use super::refresh::{By, Outcome, Setback};
use super::renewal::Renewal;
use super::renewing::refreshed;
use super::tokens::Tokens;
use crate::config::OAuth2;
use crate::origin::Origin;
use crate::task;
use crate::telemetry::{CredentialMeters, Refresh};
use crate::vault::Means;
use crate::vault::authorization::Authorization;
use crate::vault::credential::{Candidate, Slot};
use crate::vault::entry::{Entry, Outage};
use crate::vault::pause::{Pause, SHORTEST_PAUSE, drawn, reached};
use crate::vault::probe::Verdict;
use crate::vault::redactor::Needles;

/// The watch over a grant, and the only writer of how its credential stands.
pub(in crate::vault) struct Keeper {
    entry: Arc<Entry>,
    means: Arc<ArcSwap<Means>>,
    app: OAuth2,
    manner: Manner,
    changes: watch::Receiver<u64>,
    generation: u64,
    held: Option<Held>,
    work: Option<oneshot::Receiver<Done>>,
    /// Where Close refused a token that was new.
    rejected: Option<Origin>,
    pause: Pause,
    /// When it is refreshed, or looked for, next.
    due: Option<Instant>,
    /// Whether the work is a refresh.
    refreshing: bool,
    /// Not before then is the token endpoint asked again, whoever wants it: it failed.
    respite: Instant,
    /// Not before then is Close asked about another suspicion.
    next_question: Instant,
}

/// The tokens in use.
struct Held {
    tokens: Arc<Tokens>,
    candidate: Candidate,
    /// The access token before: an answer may still repeat it.
    before: Option<Candidate>,
    ends: Instant,
    ended: bool,
}

/// A piece of work that is done.
enum Done {
    Refreshed(Outcome),
    /// What Close says of a token.
    Asked(Origin, Candidate, Verdict),
}

enum Event {
    Done(Done),
    Suspected(Origin),
    Wanted(u64),
    Due,
    Ended,
    Changed,
}

impl Keeper {
    /// Takes up the watch over an entry whose first slot is the secret of an app; none when it is something else. Tokens that
    /// its credential had in use before it was changed go on being used, whether or not the store answers.
    pub(in crate::vault) fn begin(
        entry: Arc<Entry>,
        means: Arc<ArcSwap<Means>>,
        kept: Option<Arc<Tokens>>,
    ) -> Option<Self> {
        let app = entry.slots().first().and_then(Slot::app)?.clone();
        let now = Instant::now();
        entry.expect("its tokens are being read", now);
        let changes = means.load().grants.changes();
        let mut keeper = Self {
            entry,
            means,
            app,
            manner: Manner::default(),
            changes,
            generation: 0,
            held: None,
            work: None,
            rejected: None,
            pause: Pause::default(),
            due: Some(now),
            refreshing: false,
            respite: now,
            next_question: now,
        };
        let is_of_app = |kept: &Arc<Tokens>| kept.client_id == keeper.app.client_id && kept.left().is_some();
        if let Some(kept) = kept.filter(is_of_app) {
            keeper.install(kept.again());
            // The store may have others.
            keeper.changes.mark_changed();
        }
        Some(keeper)
    }

    pub(in crate::vault) fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    /// Keeps it, for as long as nobody drops this.
    pub(in crate::vault) async fn run(mut self) {
        loop {
            match self.event().await {
                Event::Done(Done::Refreshed(outcome)) => self.conclude(outcome),
                Event::Done(Done::Asked(origin, asked, verdict)) => self.judge(origin, &asked, &verdict),
                Event::Suspected(origin) => self.question(origin).await,
                Event::Wanted(generation) => self.renew(generation),
                Event::Due if self.held.is_none() => self.look().await,
                Event::Due => self.refresh(),
                Event::Ended => self.lapse(),
                Event::Changed => self.look().await,
            }
        }
    }

    async fn event(&mut self) -> Event {
        let ends = self.held.as_ref().filter(|held| !held.ended).map(|held| held.ends);
        let idle = self.work.is_none();
        let due = self.due.filter(|_| idle);
        let entry = Arc::clone(&self.entry);
        let wanted = async {
            match entry.renewal() {
                Some(renewal) => renewal.wanted().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            done = finished(&mut self.work) => Event::Done(done),
            () = reached(ends) => Event::Ended,
            generation = wanted => Event::Wanted(generation),
            () = reached(due) => Event::Due,
            origin = entry.suspicion().raised(), if idle => Event::Suspected(origin),
            // Its sender lives in the grants, which live in the means.
            Ok(()) = self.changes.changed() => Event::Changed,
        }
    }

    /// Reads what the store has, and puts it to use.
    async fn look(&mut self) {
        let grants = Arc::clone(&self.means().grants);
        match grants.stored(self.entry.name()).await {
            Ok(Some(Stored { condition: Condition::Dead(death), .. })) => self.withdraw(Outage::Dead(death)),
            Ok(Some(stored)) if stored.tokens.client_id == self.app.client_id => {
                self.take(stored.tokens);
                self.ask_anew();
            }
            Ok(_) => self.withdraw(Outage::NeedsAuthorization),
            Err(fault) => self.missed(&fault),
        }
    }

    /// The store did not tell; what is held goes on being used.
    fn missed(&mut self, fault: &GrantsFault) {
        if self.held.is_some() {
            return;
        }
        tracing::warn!(credential = %self.entry.name(), "its tokens cannot be read: {fault}");
        let until = Instant::now() + self.pause.next().min(LONGEST_PAUSE);
        self.due = Some(until);
        self.entry.expect("its tokens cannot be read from the store", until);
    }

    /// Takes tokens that are others, or the same with a longer life: those go on being carried as they are.
    fn take(&mut self, tokens: Tokens) {
        match &mut self.held {
            Some(held) if held.tokens.is_same(&tokens) && held.tokens.expires() >= tokens.expires() => {}
            Some(held) if held.tokens.is_same(&tokens) && !held.ended => {
                let now = Instant::now();
                held.ends = now + tokens.left().unwrap_or_default();
                self.due = Some(now + early(tokens.lifetime()).saturating_sub(tokens.age()));
                self.entry.meters().token_expiry.store(tokens.expires().as_second(), Relaxed);
                held.tokens = Arc::new(tokens);
                let kept = Arc::clone(&held.tokens);
                self.renewal(|renewal| renewal.keep(Some(kept)));
                self.recover();
            }
            _ => self.install(tokens),
        }
    }

    /// Has requests carry another token, which the store has.
    fn install(&mut self, tokens: Tokens) {
        // What was parsed can be sent.
        let Some(candidate) = Candidate::token(&tokens.access) else { return };
        let now = Instant::now();
        let (left, age) = (tokens.left(), tokens.age());
        let tokens = Arc::new(tokens);
        let before = self
            .held
            .take()
            .and_then(|held| if held.tokens.is_same(&tokens) { held.before } else { Some(held.candidate) });
        self.entry.meters().token_expiry.store(tokens.expires().as_second(), Relaxed);
        self.renewal(|renewal| renewal.keep(Some(Arc::clone(&tokens))));
        self.recover();
        self.due = Some(now + early(tokens.lifetime()).saturating_sub(age));
        let ends = now + left.unwrap_or_default();
        self.held = Some(Held { tokens, candidate, before, ends, ended: left.is_none() });
        if left.is_none() {
            self.due = Some(now);
            self.entry.expect(ENDED, now);
        } else if self.rejected.is_none() {
            self.admit();
        }
    }

    /// There are tokens: what had failed has not any more. What Close refuses is asked about ever more rarely all the same,
    /// whatever new tokens there are.
    fn recover(&mut self) {
        self.respite = Instant::now();
        if self.rejected.is_none() {
            self.pause = Pause::default();
        }
    }

    /// Has requests carry the token that is held.
    fn admit(&mut self) {
        if let Some(authorization) = self.authorization() {
            self.generation += 1;
            self.renewal(|renewal| renewal.replaced(self.generation));
            self.entry.admit(authorization);
        }
    }

    /// The token that is held, as the next generation; the answers to it are searched for the one before as well.
    fn authorization(&self) -> Option<Authorization> {
        let held = self.held.as_ref().filter(|held| !held.ended)?;
        let forms = std::iter::once(&held.candidate).chain(&held.before).flat_map(Candidate::forms);
        let needles = Needles::of(forms);
        Some(held.candidate.authorization(self.generation + 1, Arc::new(needles)))
    }

    /// The access token has ended; requests wait for the next one, which is asked for at once.
    fn lapse(&mut self) {
        if let Some(held) = &mut self.held {
            held.ended = true;
        }
        let now = Instant::now();
        self.due = Some(now);
        if self.rejected.is_none() {
            self.entry.expect(ENDED, now);
        }
    }

    /// A request was refused with the token of a generation.
    fn renew(&mut self, generation: u64) {
        if generation != self.generation || self.held.is_none() {
            return self.renewal(Renewal::moved);
        }
        if self.refreshing {
            // Its end tells whoever waits.
        } else if self.is_replaceable() {
            self.replace();
        } else {
            // What came to nothing just now is not tried again for every request that is refused meanwhile.
            self.renewal(Renewal::failed);
        }
    }

    /// Whether another token may be asked for in the place of the one in use: it did not come in the place of another just
    /// now, that was not tried in vain just now, and the token endpoint is not to be left alone.
    fn is_replaceable(&self) -> bool {
        let lately = |renewal: &Renewal| renewal.is_replacement(self.generation) || renewal.was_tried(self.generation);
        self.respite <= Instant::now() && !self.entry.renewal().is_some_and(lately)
    }

    /// Asks for another token in the place of one that was refused, after the work that is under way.
    fn replace(&mut self) {
        self.renewal(|renewal| renewal.replacing(self.generation));
        match self.work {
            None => self.refresh(),
            Some(_) => self.due = Some(Instant::now()),
        }
    }

    /// Begins a refresh beside.
    fn refresh(&mut self) {
        let means = self.means();
        let entry = Arc::clone(&self.entry);
        let (app, manner) = (self.app.clone(), self.manner.clone());
        let stale = self.held.as_ref().map(|held| Arc::clone(&held.tokens));
        self.refreshing = true;
        self.begin_work(
            "a refresh",
            async move { Done::Refreshed(refreshed(&means, &entry, app, manner, stale).await) },
        );
    }

    fn begin_work(&mut self, name: &'static str, doing: impl Future<Output = Done> + Send + 'static) {
        let (sender, receiver) = oneshot::channel();
        let way = self.means().under.way();
        self.work = Some(receiver);
        task::spawn(name, async move {
            // A keeper that is gone is not told: another one reads it from the store.
            let _ = sender.send(doing.await);
            drop(way);
        });
    }

    fn conclude(&mut self, outcome: Outcome) {
        self.refreshing = false;
        let name = self.entry.name().clone();
        match outcome {
            Outcome::Renewed(tokens, by) => {
                if by == By::Us {
                    self.count(Refresh::Success);
                    tracing::info!(credential = %name, "its access token is renewed");
                }
                self.take(tokens);
                // A store that has what was held already has nothing newer.
                self.renewal(Renewal::failed);
                self.ask_anew();
            }
            Outcome::Nothing => self.withdraw(Outage::NeedsAuthorization),
            Outcome::Dead(death) => {
                self.count(Refresh::Refused);
                tracing::error!(credential = %name, "the grant is over: {}", death.reason());
                self.withdraw(Outage::Dead(death));
            }
            Outcome::Later(setback) => self.put_off(&setback),
        }
    }

    /// A refresh came to nothing: it is tried again later, and what is held goes on being used.
    fn put_off(&mut self, setback: &Setback) {
        self.count(Refresh::Failure);
        let pause =
            self.pause.next().min(LONGEST_PAUSE).max(setback.retry_after().unwrap_or_default().min(LONGEST_RETRY));
        let now = Instant::now();
        let mut next = now + pause;
        self.respite = next;
        tracing::warn!(credential = %self.entry.name(), "its access token is not renewed, and is tried again in {} s: {setback}", pause.as_secs());
        match &self.held {
            Some(held) if !held.ended => next = next.min(held.ends.max(now + SHORTEST_PAUSE)),
            _ if self.rejected.is_none() => self.entry.expect(setback.reason(), next),
            _ => {}
        }
        self.due = Some(next);
        self.renewal(Renewal::failed);
    }

    /// There is nothing to send until somebody does something, which the store will tell of.
    fn withdraw(&mut self, outage: Outage) {
        self.held = None;
        self.renewal(|renewal| renewal.keep(None));
        self.rejected = None;
        self.due = None;
        self.entry.meters().token_expiry.store(0, Relaxed);
        self.entry.withdraw(outage, Instant::now() + LONGEST_PAUSE);
    }

    fn count(&self, refresh: Refresh) {
        let CredentialMeters { refreshes, .. } = self.entry.meters();
        refreshes.add(refresh);
    }

    fn renewal(&self, told: impl FnOnce(&Renewal)) {
        if let Some(renewal) = self.entry.renewal() {
            told(renewal);
        }
    }

    fn means(&self) -> Arc<Means> {
        self.means.load_full()
    }
}

/// Waits for work that was begun; for none, for ever.
async fn finished(work: &mut Option<oneshot::Receiver<Done>>) -> Done {
    let Some(receiver) = work else { return std::future::pending().await };
    let done = receiver.await.unwrap_or(Done::Refreshed(Outcome::Later(Setback::Broken)));
    *work = None;
    done
}

/// When, of its lifetime, a token is renewed: at 80 to 90 of 100, so that replicas do not do it in step.
fn early(lifetime: Duration) -> Duration {
    lifetime.mul_f64(0.8 + drawn() / 10.0)
}

const ENDED: &str = "its access token has ended";
/// However often a refresh failed, it is tried again after a minute.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The longest that a token endpoint may ask to be left alone.
const LONGEST_RETRY: Duration = Duration::from_secs(300);
