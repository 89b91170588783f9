//! Grants in the archive: sealed, and shared by all that serve from its store.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::grants::{Condition, Death, Doing, Doubt, Flow, Grants, GrantsFault, Sharing, Stored, Verifier};
use super::tokens::Tokens;
use crate::id::CredentialName;
use crate::store::{Content, Event, Fence, GrantState, Passing, Purpose, StoreError};
use crate::vault::archive::{Archive, ArchiveFault};

impl Grants for Archive {
    fn stored<'a>(&'a self, name: &'a CredentialName) -> Doing<'a, Option<Stored>> {
        Box::pin(async move {
            let Some((grant, Some(tokens))) = self.grant(name).await? else { return Ok(None) };
            let reason = grant.reason.as_deref();
            let condition = match grant.state {
                GrantState::Ready => Condition::Ready,
                GrantState::Refreshing => Condition::Doubtful(Doubt::of(reason)),
                GrantState::Dead => Condition::Dead(Death::of(reason)),
                GrantState::NeedsAuthorization => return Ok(None),
            };
            let unusable = || GrantsFault::Unusable(format!("the tokens of `{name}` are none of this version"));
            let tokens = Tokens::from_bytes(tokens.expose()).ok_or_else(unusable)?;
            Ok(Some(Stored { tokens, condition }))
        })
    }

    fn lease<'a>(&'a self, name: &'a CredentialName, owner: &'a str, time: Duration) -> Doing<'a, Option<Fence>> {
        Box::pin(async move { Ok(self.store().lease_grant(name.as_str(), owner, time).await?) })
    }

    fn renew<'a>(&'a self, name: &'a CredentialName, fence: Fence, time: Duration) -> Doing<'a, ()> {
        Box::pin(async move { Ok(self.store().renew_lease(name.as_str(), fence, time).await?) })
    }

    fn release<'a>(&'a self, name: &'a CredentialName, fence: Fence) -> Doing<'a, ()> {
        Box::pin(async move { Ok(self.store().release_grant(name.as_str(), fence).await?) })
    }

    fn mark<'a>(&'a self, name: &'a CredentialName, condition: Condition, fence: Fence) -> Doing<'a, ()> {
        Box::pin(async move {
            let (state, reason) = match condition {
                Condition::Ready => (GrantState::Ready, None),
                Condition::Doubtful(doubt) => (GrantState::Refreshing, Some(doubt.reason())),
                Condition::Dead(death) => (GrantState::Dead, Some(death.reason())),
            };
            self.store().mark_grant(name.as_str(), state, reason, fence).await?;
            Ok(())
        })
    }

    fn keep<'a>(&'a self, name: &'a CredentialName, tokens: &'a Tokens, fence: Fence) -> Doing<'a, ()> {
        Box::pin(async move {
            self.store_grant(name, &tokens.to_bytes(), Some(tokens.expires()), fence).await?;
            Ok(())
        })
    }

    fn put<'a>(&'a self, name: &'a CredentialName, tokens: &'a Tokens, event: &'a Event) -> Doing<'a, ()> {
        Box::pin(async move {
            self.put_grant(name, &tokens.to_bytes(), Some(tokens.expires()), event).await?;
            Ok(())
        })
    }

    fn prove<'a>(&'a self, name: &'a CredentialName) -> Doing<'a, ()> {
        Box::pin(async move {
            self.seal(&Content::Grant(name.to_string()), b"").await?;
            Ok(self.store().prove_grants().await?)
        })
    }

    fn remember<'a>(&'a self, state: [u8; 32], flow: &'a Flow, until: Timestamp) -> Doing<'a, ()> {
        Box::pin(async move {
            let body = json!({
                "credential": flow.credential.as_str(),
                "client_id": flow.client_id,
                "redirect_uri": flow.redirect_uri,
                "begun_by": flow.begun_by,
            });
            let sealed = self.seal(&Content::Passing(Purpose::OAuthState, state), flow.verifier.0.expose()).await?;
            let passing = Passing { body, sealed: Some(sealed), expires_at: until };
            Ok(self.store().remember(Purpose::OAuthState, state, &passing).await?)
        })
    }

    fn look(&self, state: [u8; 32]) -> Doing<'_, Option<(Flow, Timestamp)>> {
        Box::pin(async move {
            let Some(passing) = self.store().recall(Purpose::OAuthState, state).await? else { return Ok(None) };
            Ok(Some((opened(self, state, &passing).await?, passing.expires_at)))
        })
    }

    fn lend<'a>(&'a self, ticket: [u8; 32], state: &'a str, until: Timestamp) -> Doing<'a, ()> {
        Box::pin(async move {
            let sealed = self.seal(&Content::Passing(Purpose::OAuthLink, ticket), state.as_bytes()).await?;
            let passing = Passing { body: json!({}), sealed: Some(sealed), expires_at: until };
            Ok(self.store().remember(Purpose::OAuthLink, ticket, &passing).await?)
        })
    }

    fn redeem(&self, ticket: [u8; 32]) -> Doing<'_, Option<Zeroizing<String>>> {
        Box::pin(async move {
            let Some(passing) = self.store().take(Purpose::OAuthLink, ticket).await? else { return Ok(None) };
            let sealed = passing.sealed.as_ref().ok_or_else(unusable)?;
            let state = self.unseal(&Content::Passing(Purpose::OAuthLink, ticket), sealed).await?;
            let state = std::str::from_utf8(state.expose()).map_err(|_| unusable())?;
            Ok(Some(Zeroizing::new(state.to_owned())))
        })
    }

    fn take(&self, state: [u8; 32]) -> Doing<'_, Option<Flow>> {
        Box::pin(async move {
            let Some(passing) = self.store().take(Purpose::OAuthState, state).await? else { return Ok(None) };
            opened(self, state, &passing).await.map(Some)
        })
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.store().grant_changes()
    }

    fn sharing(&self) -> Sharing {
        if self.store().is_shared() { Sharing::Shared } else { Sharing::Alone }
    }
}

/// A flow as it was remembered.
async fn opened(archive: &Archive, state: [u8; 32], passing: &Passing) -> Result<Flow, GrantsFault> {
    let text = |field: &str| passing.body.get(field).and_then(|value| value.as_str()).ok_or_else(unusable);
    let credential = CredentialName::parse(text("credential")?).map_err(|_| unusable())?;
    let (client_id, redirect_uri) = (text("client_id")?.to_owned(), text("redirect_uri")?.to_owned());
    let sealed = passing.sealed.as_ref().ok_or_else(unusable)?;
    let begun_by = text("begun_by")?.to_owned();
    let verifier = Verifier(archive.unseal(&Content::Passing(Purpose::OAuthState, state), sealed).await?);
    Ok(Flow { credential, client_id, redirect_uri, begun_by, verifier })
}

fn unusable() -> GrantsFault {
    GrantsFault::Unusable("an authorization that was begun by another version".to_owned())
}

impl From<StoreError> for GrantsFault {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unreachable { what } | StoreError::Full { what } => Self::Unreachable(what),
            StoreError::Stale { .. } => Self::Stale,
            StoreError::NoGrant { .. } => Self::Absent,
            other => Self::Unusable(other.to_string()),
        }
    }
}

impl From<ArchiveFault> for GrantsFault {
    fn from(fault: ArchiveFault) -> Self {
        match fault {
            ArchiveFault::Store(error) => error.into(),
            other => Self::Unusable(other.to_string()),
        }
    }
}
