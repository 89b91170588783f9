//! A refresh with whatever secret the app has: the one that is known, and once more the one that is there by then.

use std::sync::Arc;

use super::client::{Client, Manner, Trouble};
use super::refresh::{Errand, Outcome, Setback};
use super::tokens::Tokens;
use crate::config::OAuth2;
use crate::vault::Means;
use crate::vault::credential::Candidate;
use crate::vault::entry::Entry;

/// A refresh with the secret of the app as it is, and once more as it has become when it is not taken.
pub(super) async fn refreshed(
    means: &Means,
    entry: &Entry,
    app: OAuth2,
    manner: Manner,
    stale: Option<Arc<Tokens>>,
) -> Outcome {
    let mut tried: Option<Candidate> = None;
    loop {
        let secret = match secret(means, entry, tried.as_ref()).await {
            Ok(secret) => secret,
            Err(outcome) => return outcome,
        };
        let client =
            Client { app: app.clone(), secret: secret.clone(), manner: manner.clone(), dial: Arc::clone(&means.dial) };
        let errand =
            Errand { name: entry.name().clone(), grants: Arc::clone(&means.grants), client, stale: stale.clone() };
        match errand.run().await {
            Outcome::Later(Setback::Endpoint(Trouble::Client)) if tried.is_none() => tried = Some(secret),
            outcome => return outcome,
        }
    }
}

/// The secret of an app: what is known, or, when that was not taken, what is there now, if it is another one.
async fn secret(means: &Means, entry: &Entry, tried: Option<&Candidate>) -> Result<Candidate, Outcome> {
    if let Some(known) = entry.known(0).filter(|_| tried.is_none()) {
        return Ok(known);
    }
    let slot = entry.slots().first().ok_or(Outcome::Nothing)?;
    let read = means.read(slot).await.map_err(|unread| Outcome::Later(Setback::Secret(unread.what)))?;
    entry.remember(0, Some(read.clone()));
    match tried {
        Some(tried) if tried.is_same(&read) => Err(Outcome::Later(Setback::Endpoint(Trouble::Client))),
        _ => Ok(read),
    }
}
