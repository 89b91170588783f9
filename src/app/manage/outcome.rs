//! Authorizations that somebody waits for: the link that begins one in a browser, and what becomes of it, told to whoever asks
//! at whatever gateway on the store.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::Instant;

use super::authorization::started;
use super::ground::Ground;
use super::{Manager, events, refuse, stored};
use crate::admin::model::{Actor, Outcome, Progress, Started};
use crate::admin::{CALLBACK, Code, DEPARTURE, Refusal};
use crate::id::CredentialName;
use crate::store::{Passing, Purpose};
use crate::vault::{self, Consent, FlowFault, Vault};

/// What the store has of an authorization that is waited for.
#[derive(Serialize, Deserialize)]
struct Waiting {
    credential: String,
    /// Until when somebody may come back.
    until: Timestamp,
    progress: Progress,
}

impl Manager {
    /// Has an authorization be waited for, and draws the link to it: where a gateway runs that browsers come back to.
    pub(super) async fn lend(
        &self,
        vault: &Vault,
        name: &CredentialName,
        consent: &Consent,
    ) -> Result<Option<String>, Refusal> {
        let waiting =
            Waiting { credential: name.to_string(), until: consent.expires, progress: Progress::of(Outcome::Waiting) };
        self.note_progress(vault::state_digest(&consent.state), &waiting).await?;
        let base = consent.redirect_uri.strip_suffix(CALLBACK);
        let (Ground::Running { .. }, Some(base)) = (&self.ground, base) else { return Ok(None) };
        let ticket = vault.lend_link(consent).await.map_err(|fault| refuse::by_flow(&fault))?;
        Ok(Some(format!("{base}{DEPARTURE}{}", *ticket)))
    }

    /// A browser opened a link.
    pub(super) async fn depart(&self, ticket: &str) -> Result<Started, Refusal> {
        let effective = self.effective().await?;
        let vault = self.ground.vault(&effective)?;
        let consent = vault.follow_link(ticket).await.map_err(|fault| refuse::by_flow(&fault))?;
        Ok(started(consent))
    }

    /// What has become of an authorization; while nothing has, that is told after a while.
    pub(super) async fn progress(&self, name: &CredentialName, state: &str) -> Result<Progress, Refusal> {
        let (mark, until) = (vault::state_digest(state), Instant::now() + PATIENCE);
        loop {
            let told = self.concluded.notified();
            tokio::pin!(told);
            // What is told from here on is not missed.
            told.as_mut().enable();
            let waiting = self.waiting(mark).await?.filter(|waiting| waiting.credential == name.as_str());
            let progress = waiting.ok_or_else(unknown)?.now();
            if progress.outcome != Outcome::Waiting || Instant::now() >= until {
                return Ok(progress);
            }
            // Another gateway on the store may be told of it.
            let _ = tokio::time::timeout_at(until.min(Instant::now() + LOOK), told).await;
        }
    }

    /// The browser that had left for an authorization came back with another one.
    pub(super) async fn give_up(&self, state: &str, by: &Actor) -> Result<(), Refusal> {
        let mark = vault::state_digest(state);
        if self.waiting(mark).await?.is_none() {
            return Ok(());
        }
        let effective = self.effective().await?;
        let vault = self.ground.vault(&effective)?;
        let given_up = vault.give_up_authorization(state).await.map_err(|fault| refuse::by_flow(&fault))?;
        if let Some(name) = given_up {
            let detail = json!({ "error": "state_mismatch" });
            self.note(events::event(by, "credential.declined", name.as_str(), detail)).await;
            self.conclude(mark, &Progress::refused(&refuse::by_flow(&FlowFault::Mismatch))).await;
        }
        Ok(())
    }

    /// Tells whoever waits what has become of an authorization.
    pub(super) async fn conclude(&self, mark: [u8; 32], progress: &Progress) {
        let told = async {
            let Some(waiting) = self.waiting(mark).await? else { return Ok(()) };
            self.note_progress(mark, &Waiting { progress: progress.clone(), ..waiting }).await
        };
        if let Err(refusal) = told.await {
            let refusal: Refusal = refusal;
            tracing::warn!(%refusal, "what became of an authorization could not be noted: who waits for it is told nothing");
        }
        self.concluded.notify_waiters();
    }

    async fn waiting(&self, mark: [u8; 32]) -> Result<Option<Waiting>, Refusal> {
        let found = self.store().recall(Purpose::OAuthOutcome, mark).await;
        let found = found.map_err(|fault| refuse::by_store(&fault))?;
        // What another version has noted is nothing to this one.
        Ok(found.and_then(|passing| serde_json::from_value(passing.body).ok()))
    }

    async fn note_progress(&self, mark: [u8; 32], waiting: &Waiting) -> Result<(), Refusal> {
        let expires_at = waiting.until.saturating_add(KEPT).unwrap_or(Timestamp::MAX);
        let passing = Passing { body: stored(waiting)?, sealed: None, expires_at };
        let noted = self.store().remember(Purpose::OAuthOutcome, mark, &passing).await;
        noted.map_err(|fault| refuse::by_store(&fault))
    }
}

impl Waiting {
    /// How it stands now: whoever came back in the last moment may still be waiting for Close.
    fn now(self) -> Progress {
        let late = Timestamp::now() > self.until.saturating_add(GRACE).unwrap_or(Timestamp::MAX);
        match self.progress.outcome {
            Outcome::Waiting if late => Progress::of(Outcome::Expired),
            _ => self.progress,
        }
    }
}

fn unknown() -> Refusal {
    Refusal::new(Code::AuthorizationRefused, "nobody waits for this authorization")
        .hint("begin it with `{\"link\": {}}`, and ask with its `state`")
}

/// How long one question waits for an answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks at what another gateway may have noted.
const LOOK: Duration = Duration::from_secs(1);
/// How long the exchange of a code may take.
const GRACE: Duration = Duration::from_secs(30);
/// How long what became of it is known.
const KEPT: Duration = Duration::from_secs(600);
