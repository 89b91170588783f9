//! A grant that is gained, by the code that a person brings or by a refresh token that somebody had, and one that is ended.

use std::sync::Arc;
use std::time::Duration;

use super::client::{Client, Manner};
use super::fault::FlowFault;
use super::flow::{Returned, digest_of};
use super::grants::GrantsFault;
use super::refresh;
use super::tokens::{Tokens, copy};
use crate::id::{CredentialId, CredentialName};
use crate::store::Event;
use crate::vault::credential::{Candidate, joined};
use crate::vault::secret::Secret;
use crate::vault::{SecretText, Trial, Vault};

/// A grant that was gained, and is stored.
#[derive(Debug)]
pub struct Authorized {
    /// Of which credential.
    pub credential: CredentialName,
    /// With its access token Close can be asked who that is.
    pub trial: Trial,
    /// What was noted of it.
    pub event: Event,
}

/// What ends a grant at Close; taken out of the store before it is forgotten there.
pub struct Revocation {
    client: Client,
    token: Secret,
}

impl Vault {
    /// Ends an authorization, once: exchanges the code, and stores the tokens, which are put to use wherever the
    /// credential is served. `of` is the credential that it must have been begun for, if that is known; `event` says who
    /// ends it, and is told here of what.
    pub async fn finish_authorization(
        &self,
        returned: Returned,
        of: Option<&CredentialName>,
        event: Event,
    ) -> Result<Authorized, FlowFault> {
        let flow = self.means().grants.take(digest_of(&returned.state)).await?.ok_or(FlowFault::Unknown)?;
        if of.is_some_and(|of| *of != flow.credential) {
            return Err(FlowFault::OtherCredential);
        }
        let declined = |error| FlowFault::Declined { credential: flow.credential.clone(), error };
        let code = returned.outcome.map_err(declined)?;
        let id = self.find(&flow.credential).ok_or(FlowFault::Changed)?;
        let client = self.client(id).await?;
        if client.app.client_id != flow.client_id {
            return Err(FlowFault::Changed);
        }
        let way = self.means().under.way();
        let given = client.exchange(&code, &flow.verifier.0, &flow.redirect_uri).await?;
        let lacking = || FlowFault::Refused("the token endpoint gave no refresh token".to_owned());
        let tokens = refresh::first(given, &client).ok_or_else(lacking)?;
        let event = event.with(serde_json::json!({ "by": "consent", "begun_by": flow.begun_by }));
        let authorized = self.gain(id, tokens, event).await;
        drop(way);
        authorized
    }

    /// Takes over a grant that exists already, by its refresh token, which is used up at once: from now on it is the
    /// vault that renews it, and nobody else may. When it is refused, what was there before stays.
    pub async fn adopt(&self, id: CredentialId, token: &SecretText, event: Event) -> Result<Authorized, FlowFault> {
        let token = token.expose();
        let token = token.strip_suffix(b"\n").map_or(token, |line| line.strip_suffix(b"\r").unwrap_or(line));
        let token = Secret::new(joined(&[token]));
        if token.len() == 0 || !token.is_visible() {
            return Err(FlowFault::NoToken);
        }
        let client = self.client(id).await?;
        let way = self.means().under.way();
        self.means().grants.prove(self.name(id)).await?;
        let given = client.refresh(&token).await?;
        let tokens = Tokens::of(given, &token, &client.app.client_id);
        let authorized = self.gain(id, tokens, event.with(serde_json::json!({ "by": "refresh_token" }))).await;
        drop(way);
        authorized
    }

    async fn gain(&self, id: CredentialId, tokens: Tokens, event: Event) -> Result<Authorized, FlowFault> {
        let credential = self.name(id).clone();
        let event = Event { subject: credential.to_string(), ..event };
        // What was parsed can be sent.
        let candidate = Candidate::token(&tokens.access).ok_or(FlowFault::NoToken)?;
        self.put(&credential, &tokens, &event).await?;
        Ok(Authorized { credential, trial: Trial::token(candidate), event })
    }

    /// Stores what was given, however long the store takes to come back: what it was given for is spent.
    async fn put(&self, credential: &CredentialName, tokens: &Tokens, event: &Event) -> Result<(), GrantsFault> {
        let mut told = false;
        loop {
            match self.means().grants.put(credential, tokens, event).await {
                Err(fault @ (GrantsFault::Unreachable(_) | GrantsFault::Unusable(_))) => {
                    if !told {
                        tracing::error!(%credential, "its first tokens cannot be stored, and are not used before they are: {fault}");
                    }
                    told = true;
                    tokio::time::sleep(BETWEEN_TRIES).await;
                }
                put => return put,
            }
        }
    }

    /// Waits until requests carry the tokens of a grant that was gained: whoever serves the credential reads them from the
    /// store. Not for long, since one that is out of use for another reason stays so.
    pub async fn taken_up(&self, authorized: &Authorized) {
        let entry = self.find(&authorized.credential).map(|id| self.entry(id));
        let Some((entry, renewal)) = entry.and_then(|entry| Some((entry, entry.renewal()?))) else { return };
        let mut moves = renewal.moves();
        let taken = async {
            while !entry.authorization().is_ok_and(|now| authorized.trial.is_what_carries(&now)) {
                // The entry holds the sender.
                let _ = moves.changed().await;
            }
        };
        let _ = tokio::time::timeout(TAKING_UP, taken).await;
    }

    /// What ends the grant of a credential at Close; none where there is no grant. The inner fault says why Close cannot
    /// be told.
    pub async fn revocation(&self, id: CredentialId) -> Result<Option<Result<Revocation, FlowFault>>, FlowFault> {
        if self.entry(id).renewal().is_none() {
            return Ok(None);
        }
        let stored = match self.means().grants.stored(self.name(id)).await {
            Ok(Some(stored)) => stored,
            Ok(None) => return Ok(None),
            // What does not open keeps no credential.
            Err(fault @ GrantsFault::Unusable(_)) => return Ok(Some(Err(fault.into()))),
            Err(fault) => return Err(fault.into()),
        };
        let client = self.client(id).await;
        Ok(Some(client.map(|client| Revocation { client, token: copy(&stored.tokens.refresh) })))
    }

    /// The app of a credential, with its secret as it is now.
    async fn client(&self, id: CredentialId) -> Result<Client, FlowFault> {
        let (entry, means) = (self.entry(id), self.means());
        let slot = entry.slots().first().ok_or(FlowFault::OtherKind)?;
        let app = slot.app().ok_or(FlowFault::OtherKind)?.clone();
        let secret = match entry.known(0) {
            Some(known) => known,
            None => means.read(slot).await.map_err(|unread| FlowFault::Secret(unread.what))?,
        };
        Ok(Client { app, secret, manner: Manner::default(), dial: Arc::clone(&means.dial) })
    }
}

impl Revocation {
    /// Tells Close (RFC 7009).
    pub async fn carry_out(self) -> Result<(), FlowFault> {
        Ok(self.client.revoke(&self.token).await?)
    }
}

/// How long the tokens of a new grant may take to be read by who serves them.
const TAKING_UP: Duration = Duration::from_secs(3);
/// Between two tries to store them.
const BETWEEN_TRIES: Duration = Duration::from_millis(250);
