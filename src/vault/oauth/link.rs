//! The link that begins an authorization in a browser of which nothing is known yet: whoever opens it first, within the time
//! of the authorization, is sent to the page of consent, and comes back as the one that left.
//!
//! What stands in it are 256 random bits, of which the store has a digest; the `state` that they stand for is sealed beside it.

use zeroize::Zeroizing;

use super::fault::FlowFault;
use super::flow::{Consent, digest_of, page_of_consent, random};
use crate::id::CredentialName;
use crate::vault::Vault;
use crate::vault::credential::Slot;

impl Vault {
    /// Draws what a link to this authorization ends in. It is good once.
    pub async fn lend_link(&self, consent: &Consent) -> Result<Zeroizing<String>, FlowFault> {
        let ticket = random()?;
        self.means().grants.lend(digest_of(&ticket), &consent.state, consent.expires).await?;
        Ok(ticket)
    }

    /// Takes what a link ends in, and gives the authorization that it begins, if that still waits for somebody and its
    /// credential has the same app.
    pub async fn follow_link(&self, ticket: &str) -> Result<Consent, FlowFault> {
        let state = self.means().grants.redeem(digest_of(ticket)).await?.ok_or(FlowFault::UnknownLink)?;
        let known = self.means().grants.look(digest_of(&state)).await?;
        let (flow, expires) = known.ok_or(FlowFault::UnknownLink)?;
        let id = self.find(&flow.credential).ok_or(FlowFault::Changed)?;
        let app = self.entry(id).slots().first().and_then(Slot::app).ok_or(FlowFault::Changed)?;
        if app.client_id != flow.client_id || app.redirect_uri.to_string() != flow.redirect_uri {
            return Err(FlowFault::Changed);
        }
        let url = page_of_consent(app, &state, flow.verifier.0.expose());
        Ok(Consent { url, redirect_uri: flow.redirect_uri, state, expires })
    }

    /// Gives an authorization up: nothing that comes back for it is taken any more. Whose it was, if it waited.
    pub async fn give_up_authorization(&self, state: &str) -> Result<Option<CredentialName>, FlowFault> {
        let flow = self.means().grants.take(digest_of(state)).await?;
        Ok(flow.map(|flow| flow.credential))
    }
}
