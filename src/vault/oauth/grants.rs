//! Where grants lie: the store of the process, as far as a refresh needs it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::tokens::{Tokens, copy};
use crate::id::CredentialName;
use crate::store::{Event, Fence};
use crate::vault::secret::Secret;

/// Something that is done in the store.
pub type Doing<'a, T> = Pin<Box<dyn Future<Output = Result<T, GrantsFault>> + Send + 'a>>;

/// Why the store did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantsFault {
    /// It does not answer; what was asked may have been done or not.
    #[error("the store cannot be reached: {0}")]
    Unreachable(String),
    /// Somebody else has the lease by now.
    #[error("the lease of the grant is over")]
    Stale,
    /// There is no such grant.
    #[error("there is no such grant")]
    Absent,
    /// What it holds cannot be used, or not be opened.
    #[error("the grant cannot be used: {0}")]
    Unusable(String),
}

/// A grant as it lies in the store.
pub struct Stored {
    /// Its tokens.
    pub tokens: Tokens,
    /// How it stands.
    pub condition: Condition,
}

/// How a grant stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Its tokens may be used, and renewed.
    Ready,
    /// A refresh was begun, and its end is not known.
    Doubtful(Doubt),
    /// It is over.
    Dead(Death),
}

/// What is not known of a refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// How it ended: it is under way, or its process ended before it did.
    Unfinished,
    /// What it was answered.
    Unanswered,
}

/// What ended a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// Close refused its refresh token.
    Refused,
    /// The same, after a refresh during which the process had ended.
    AfterUnfinished,
    /// The same, after a refresh whose answer had not come.
    AfterUnanswered,
}

/// An authorization that somebody began, until it comes back.
pub struct Flow {
    /// Of which credential.
    pub credential: CredentialName,
    /// By which app.
    pub client_id: String,
    /// Where it comes back to.
    pub redirect_uri: String,
    /// Who began it, for the events.
    pub begun_by: String,
    /// The secret behind its challenge (RFC 7636).
    pub verifier: Verifier,
}

/// A code verifier of RFC 7636.
pub struct Verifier(pub(in crate::vault) Secret);

impl Flow {
    /// A copy.
    pub(super) fn again(&self) -> Self {
        Self {
            credential: self.credential.clone(),
            client_id: self.client_id.clone(),
            redirect_uri: self.redirect_uri.clone(),
            begun_by: self.begun_by.clone(),
            verifier: Verifier(copy(&self.verifier.0)),
        }
    }
}

impl Doubt {
    /// For people.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Unfinished => "a refresh is under way, or its process ended before it did",
            Self::Unanswered => "the answer to a refresh was lost",
        }
    }

    /// The one with that reason.
    pub fn of(reason: Option<&str>) -> Self {
        if reason == Some(Self::Unanswered.reason()) { Self::Unanswered } else { Self::Unfinished }
    }
}

impl Death {
    /// For people.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Refused => "Close refused its refresh token (`invalid_grant`): it must be authorized again",
            Self::AfterUnfinished => {
                "Close refused its refresh token (`invalid_grant`): a refresh was under way when the process ended, and its answer was lost; it must be authorized again"
            }
            Self::AfterUnanswered => {
                "Close refused its refresh token (`invalid_grant`): the answer to the refresh before was lost; it must be authorized again"
            }
        }
    }

    /// The one with that reason.
    pub fn of(reason: Option<&str>) -> Self {
        let told =
            [Self::AfterUnfinished, Self::AfterUnanswered].into_iter().find(|death| reason == Some(death.reason()));
        told.unwrap_or(Self::Refused)
    }
}

impl From<Condition> for Death {
    /// What ends a grant that stood like this, when its token is refused.
    fn from(condition: Condition) -> Self {
        match condition {
            Condition::Ready => Self::Refused,
            Condition::Doubtful(Doubt::Unfinished) => Self::AfterUnfinished,
            Condition::Doubtful(Doubt::Unanswered) => Self::AfterUnanswered,
            Condition::Dead(death) => death,
        }
    }
}

/// Grants that outlive the process, shared by all that serve from one store.
pub trait Grants: Send + Sync {
    /// A grant; none when there are no tokens.
    fn stored<'a>(&'a self, name: &'a CredentialName) -> Doing<'a, Option<Stored>>;

    /// Takes the lease of a grant for some time; none while somebody else has it. `owner` tells people who.
    fn lease<'a>(&'a self, name: &'a CredentialName, owner: &'a str, time: Duration) -> Doing<'a, Option<Fence>>;

    /// Holds a lease from now on for so long.
    fn renew<'a>(&'a self, name: &'a CredentialName, fence: Fence, time: Duration) -> Doing<'a, ()>;

    /// Gives a lease back.
    fn release<'a>(&'a self, name: &'a CredentialName, fence: Fence) -> Doing<'a, ()>;

    /// Notes how a grant stands; durable when it returns.
    fn mark<'a>(&'a self, name: &'a CredentialName, condition: Condition, fence: Fence) -> Doing<'a, ()>;

    /// Stores renewed tokens, which are ready then; durable when it returns.
    fn keep<'a>(&'a self, name: &'a CredentialName, tokens: &'a Tokens, fence: Fence) -> Doing<'a, ()>;

    /// Stores tokens of a new grant, whoever has the lease of the one before; durable when it returns.
    fn put<'a>(&'a self, name: &'a CredentialName, tokens: &'a Tokens, event: &'a Event) -> Doing<'a, ()>;

    /// Proves that tokens would be stored now: before something is spent on them.
    fn prove<'a>(&'a self, name: &'a CredentialName) -> Doing<'a, ()>;

    /// Remembers a flow by the digest of its state.
    fn remember<'a>(&'a self, state: [u8; 32], flow: &'a Flow, until: Timestamp) -> Doing<'a, ()>;

    /// Gives a flow and until when it may come back; it goes on waiting.
    fn look(&self, state: [u8; 32]) -> Doing<'_, Option<(Flow, Timestamp)>>;

    /// Remembers the state of a flow by the digest of what begins it in a browser.
    fn lend<'a>(&'a self, ticket: [u8; 32], state: &'a str, until: Timestamp) -> Doing<'a, ()>;

    /// Gives that state and forgets it.
    fn redeem(&self, ticket: [u8; 32]) -> Doing<'_, Option<Zeroizing<String>>>;

    /// Gives a flow and forgets it.
    fn take(&self, state: [u8; 32]) -> Doing<'_, Option<Flow>>;

    /// Moves with every change of a grant, of other processes too.
    fn changes(&self) -> watch::Receiver<u64>;

    /// Whether other processes may hold leases.
    fn sharing(&self) -> Sharing;
}

/// Who serves from a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// This process alone.
    Alone,
    /// Several.
    Shared,
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stored").field("tokens", &self.tokens).field("condition", &self.condition).finish()
    }
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[an authorization of {:?}]", self.credential)
    }
}
