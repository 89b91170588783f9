//! One refresh, step by step, so that whoever dies at any of them leaves a grant that works, or a word about it.
//!
//! | dies | what is left |
//! |---|---|
//! | before the mark | the grant as it was |
//! | after the mark, before the request | the grant as it was, and a mark that promises too much |
//! | after the request, before the answer | a mark, and a token that may be spent: the one window nobody can close |
//! | after the answer, before the store has it | the same |
//! | after that | the new tokens |
//!
//! A lease keeps others away meanwhile. It is short and held on to, so that whoever died holds nobody up.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::client::{Client, Trouble};
use super::grants::{Condition, Death, Doubt, Grants, GrantsFault, Sharing, Stored};
use super::tokens::{Given, Tokens, copy};
use crate::id::CredentialName;
use crate::store::Fence;

/// A refresh to be carried out.
pub(super) struct Errand {
    pub(super) name: CredentialName,
    pub(super) grants: Arc<dyn Grants>,
    pub(super) client: Client,
    /// The tokens that are to be replaced; others are as good as new ones.
    pub(super) stale: Option<Arc<Tokens>>,
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Outcome {
    /// There are new tokens, and the store has them.
    Renewed(Tokens, By),
    /// There is nothing to refresh.
    Nothing,
    /// The grant is over.
    Dead(Death),
    /// Nothing has changed; it is to be tried again.
    Later(Setback),
}

/// Who refreshed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// This errand.
    Us,
    /// Somebody else, meanwhile.
    Others,
}

/// Why it is to be tried again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Setback {
    /// The store did not do its part; nothing was sent.
    #[error("{0}")]
    Store(#[from] GrantsFault),
    /// The token endpoint did not do its part.
    #[error("{0}")]
    Endpoint(#[from] Trouble),
    /// Another process has the lease.
    #[error("another process is refreshing it")]
    Elsewhere,
    /// The secret of the app cannot be had.
    #[error("{0}")]
    Secret(String),
    /// The errand came to no end.
    #[error("the refresh panicked")]
    Broken,
}

impl Setback {
    /// For people who ask why requests are refused.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Store(_) => "its access token has ended, and the store cannot take another one",
            Self::Endpoint(Trouble::Client) => {
                "its access token has ended, and the token endpoint does not take its client id and secret"
            }
            Self::Endpoint(_) => "its access token has ended, and the token endpoint gives no other one",
            Self::Elsewhere => "its access token has ended, and another process is refreshing it",
            Self::Secret(_) => "its access token has ended, and its client secret cannot be read",
            Self::Broken => "its access token has ended, and could not be refreshed",
        }
    }

    /// How long to wait at least.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Endpoint(trouble) => trouble.retry_after(),
            _ => None,
        }
    }
}

/// What is under way in a vault and must not be dropped.
#[derive(Debug, Default)]
pub(in crate::vault) struct Under(watch::Sender<usize>);

/// One thing under way.
pub(super) struct Way(Arc<Under>);

impl Under {
    /// Something is under way until this is dropped.
    pub(super) fn way(self: &Arc<Self>) -> Way {
        self.0.send_modify(|count| *count += 1);
        Way(Arc::clone(self))
    }

    /// Waits until nothing is under way.
    pub(in crate::vault) async fn over(&self) {
        // The sender lives as long as `self`.
        let _ = self.0.subscribe().wait_for(|count| *count == 0).await;
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}

impl Errand {
    /// Takes the lease, or waits for what its holder makes of it.
    pub(super) async fn run(self) -> Outcome {
        let deadline = Instant::now() + LONGEST_WAIT;
        let owner = owner();
        let mut patience = PATIENCE_WITH_A_HOLDER;
        let mut changes = self.grants.changes();
        while Instant::now() < deadline {
            let stored = match self.look().await {
                Ok(stored) => stored,
                Err(outcome) => return outcome,
            };
            // Who is answered and cannot reach the store for a moment holds a token that is good: it comes first.
            let doubtful = matches!(stored.condition, Condition::Doubtful(Doubt::Unfinished));
            if doubtful && self.grants.sharing() == Sharing::Shared && !patience.is_zero() {
                patience = patience.saturating_sub(LOOK);
            } else {
                match self.grants.lease(&self.name, &owner, self.lease()).await {
                    Ok(Some(fence)) => return self.run_under(fence).await,
                    Ok(None) => {}
                    Err(fault) => return later(fault),
                }
            }
            // Whether it changed or only time has passed: it is looked at again.
            let _ = tokio::time::timeout(LOOK, changes.changed()).await;
        }
        Outcome::Later(Setback::Elsewhere)
    }

    /// How long a lease is good for; it is renewed while its errand lasts. Where nobody else serves, all that it keeps away is
    /// the command line, and a gateway that starts after one that was killed need not wait for long.
    fn lease(&self) -> Duration {
        match self.grants.sharing() {
            Sharing::Alone => SHORT_LEASE,
            Sharing::Shared => LEASE,
        }
    }

    /// What the store has, unless that is an outcome by itself.
    async fn look(&self) -> Result<Stored, Outcome> {
        let stored = self.grants.stored(&self.name).await.map_err(later)?.ok_or(Outcome::Nothing)?;
        if let Condition::Dead(death) = stored.condition {
            return Err(Outcome::Dead(death));
        }
        if stored.tokens.client_id != self.client.app.client_id {
            return Err(Outcome::Nothing);
        }
        let other = self.stale.as_ref().is_none_or(|stale| !stale.is_same(&stored.tokens));
        if other && stored.tokens.left().is_some_and(|left| left > HARDLY_ANY) {
            return Err(Outcome::Renewed(stored.tokens, By::Others));
        }
        Ok(stored)
    }

    async fn run_under(&self, fence: Fence) -> Outcome {
        let outcome = self.refresh(fence).await;
        // Who cannot give it back lets it run out.
        let _ = self.grants.release(&self.name, fence).await;
        outcome
    }

    async fn refresh(&self, fence: Fence) -> Outcome {
        // Somebody may have been here between the look and the lease.
        let stored = match self.look().await {
            Ok(stored) => stored,
            Err(outcome) => return outcome,
        };
        if let Err(fault) = self.grants.mark(&self.name, Condition::Doubtful(Doubt::Unfinished), fence).await {
            return later(fault);
        }
        // Marking may have taken its time, and another may have the lease now.
        if let Err(fault) = self.grants.renew(&self.name, fence, self.lease()).await {
            return later(fault);
        }
        let answer = self.holding(fence, self.client.refresh(&stored.tokens.refresh)).await;
        match answer {
            Ok(given) => self.keep(given, &stored.tokens, fence).await,
            Err(Trouble::Grant) => self.refused(&stored, fence).await,
            Err(trouble) => {
                let condition =
                    if trouble.is_doubtful() { Condition::Doubtful(Doubt::Unanswered) } else { stored.condition };
                // A mark that stays says that nothing is known, which is true.
                let _ = self.grants.mark(&self.name, condition, fence).await;
                Outcome::Later(trouble.into())
            }
        }
    }

    /// Does something while the lease is held on to.
    async fn holding<T>(&self, fence: Fence, doing: impl Future<Output = T>) -> T {
        tokio::pin!(doing);
        let mut turns = tokio::time::interval_at(Instant::now() + self.lease() / 3, self.lease() / 3);
        loop {
            tokio::select! {
                done = &mut doing => return done,
                // A store that does not answer gives the lease to nobody else either.
                _ = turns.tick() => drop(self.grants.renew(&self.name, fence, self.lease()).await),
            }
        }
    }

    /// Stores what was given, however long that takes: these tokens are nowhere else, and nobody uses them before.
    async fn keep(&self, given: Given, used: &Tokens, mut fence: Fence) -> Outcome {
        let tokens = Tokens::of(given, &used.refresh, &self.client.app.client_id);
        let mut told = false;
        loop {
            match self.grants.keep(&self.name, &tokens, fence).await {
                Ok(()) => return Outcome::Renewed(tokens, By::Us),
                Err(GrantsFault::Absent) => return self.disown(&tokens).await,
                Err(GrantsFault::Stale) => match self.lease_again(used).await {
                    Ok(newer) => fence = newer,
                    Err(Outcome::Nothing) => return self.disown(&tokens).await,
                    Err(outcome) => return outcome,
                },
                Err(fault) => {
                    if !told {
                        tracing::error!(credential = %self.name, "its new tokens cannot be stored, and are not used before they are: {fault}");
                    }
                    told = true;
                    tokio::time::sleep(LOOK).await;
                }
            }
        }
    }

    /// The credential was removed meanwhile, and its grant ended with a token that is spent: these are ended as well.
    async fn disown(&self, tokens: &Tokens) -> Outcome {
        if let Err(trouble) = self.client.revoke(&tokens.refresh).await {
            tracing::warn!(credential = %self.name, "the grant of a credential that was removed lives on at Close: {trouble}");
        }
        Outcome::Nothing
    }

    /// A lease anew, for tokens that were given under one that is over; unless others have others by now.
    async fn lease_again(&self, used: &Tokens) -> Result<Fence, Outcome> {
        let owner = owner();
        loop {
            match self.grants.stored(&self.name).await {
                Ok(Some(stored)) if !stored.tokens.is_same(used) => {
                    return Err(Outcome::Renewed(stored.tokens, By::Others));
                }
                Ok(None) => return Err(Outcome::Nothing),
                Ok(Some(_)) | Err(_) => {}
            }
            if let Ok(Some(fence)) = self.grants.lease(&self.name, &owner, self.lease()).await {
                return Ok(fence);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// `invalid_grant`: the store is read once more, and only then the grant is over.
    async fn refused(&self, used: &Stored, fence: Fence) -> Outcome {
        match self.grants.stored(&self.name).await {
            Ok(Some(stored)) if !stored.tokens.is_same(&used.tokens) => {
                return Outcome::Renewed(stored.tokens, By::Others);
            }
            Ok(Some(_)) => {}
            Ok(None) => return Outcome::Nothing,
            Err(fault) => return later(fault),
        }
        let death = Death::from(used.condition);
        match self.grants.mark(&self.name, Condition::Dead(death), fence).await {
            // One that is not noted as dead is refused again.
            Err(GrantsFault::Stale) => Outcome::Later(Setback::Elsewhere),
            Ok(()) | Err(_) => Outcome::Dead(death),
        }
    }
}

fn later(fault: GrantsFault) -> Outcome {
    match fault {
        GrantsFault::Absent => Outcome::Nothing,
        fault => Outcome::Later(fault.into()),
    }
}

/// Who has a lease, for people; a lease is good for one errand.
fn owner() -> String {
    let mut random = [0; 8];
    // Without randomness they look alike, which harms nobody: the fence tells them apart.
    let _ = aws_lc_rs::rand::fill(&mut random);
    format!("{}-{:016x}", std::process::id(), u64::from_le_bytes(random))
}

/// The tokens that a new grant begins with.
pub(super) fn first(given: Given, client: &Client) -> Option<Tokens> {
    let refresh = copy(given.refresh.as_ref()?);
    Some(Tokens::of(given, &refresh, &client.app.client_id))
}

const LEASE: Duration = Duration::from_secs(6);
const SHORT_LEASE: Duration = Duration::from_secs(2);
/// How often others are looked after.
const LOOK: Duration = Duration::from_millis(250);
/// How long a refresh that is under way elsewhere, or was, is left alone: for as long as a holder may need that was
/// answered while the database was away.
const PATIENCE_WITH_A_HOLDER: Duration = Duration::from_secs(3);
/// How long others may take.
const LONGEST_WAIT: Duration = Duration::from_secs(20);
/// A token that lives no longer than this is as good as ended.
const HARDLY_ANY: Duration = Duration::from_secs(1);
