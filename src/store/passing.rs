//! What is remembered for a while and found by the digest of a secret that somebody else holds: OAuth `state`, sessions.

use jiff::Timestamp;
use serde_json::Value as Json;

use super::fault::StoreError;
use super::sealed::Sealed;
use super::sql::Row;
use super::{Store, event, reseal, usage};

/// What something is remembered for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// An authorization that was begun: OAuth's `state`.
    OAuthState,
    /// A link that begins one in the browser that opens it.
    OAuthLink,
    /// What has become of one that somebody waits for.
    OAuthOutcome,
    /// A session of the page.
    Session,
}

/// Something that is remembered until it expires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passing {
    /// Everything about it that is no secret.
    pub body: Json,
    /// Its secret.
    pub sealed: Option<Sealed>,
    /// When it is forgotten.
    pub expires_at: Timestamp,
}

impl Purpose {
    /// Every purpose.
    pub const ALL: [Self; 4] = [Self::OAuthState, Self::OAuthLink, Self::OAuthOutcome, Self::Session];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OAuthState => "oauth_state",
            Self::OAuthLink => "oauth_link",
            Self::OAuthOutcome => "oauth_outcome",
            Self::Session => "session",
        }
    }
}

impl Store {
    /// Remembers something by a digest, in place of what the same digest stood for.
    pub async fn remember(&self, purpose: Purpose, digest: [u8; 32], passing: &Passing) -> Result<(), StoreError> {
        let remembered = async {
            let mut session = self.change().await?;
            reseal::permit(&mut session, passing.sealed.as_ref()).await?;
            let text = "INSERT INTO cg_passing (purpose, digest, body, sealed, expires_at) \
                        VALUES ($1, $2, $3, $4, $5) ON CONFLICT (purpose, digest) DO UPDATE SET \
                        body = excluded.body, sealed = excluded.sealed, expires_at = excluded.expires_at";
            let Passing { body, sealed, expires_at } = passing;
            let key = [purpose.as_str().into(), super::sql::Value::Blob(digest.to_vec())];
            let values = key.into_iter().chain([body.into(), sealed.as_ref().into(), (*expires_at).into()]);
            session.rows(text, values.collect()).await?;
            session.commit().await
        };
        self.heed(remembered.await)
    }

    /// Changes what is no secret of it, and until when it is remembered, if it still is: whether it was. What was forgotten
    /// meanwhile stays so.
    pub async fn renew(
        &self,
        purpose: Purpose,
        digest: [u8; 32],
        body: &Json,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        let renewed = async {
            let Some(mut session) = self.change_known().await? else { return Ok(false) };
            let now = session.now().await?;
            let text = "UPDATE cg_passing SET body = $3, expires_at = $4 \
                        WHERE purpose = $1 AND digest = $2 AND expires_at > $5 RETURNING body";
            let key = [purpose.as_str().into(), super::sql::Value::Blob(digest.to_vec())];
            let values = key.into_iter().chain([body.into(), until.into(), now.into()]);
            let row = session.row(text, values.collect()).await?;
            session.commit().await?;
            Ok(row.is_some())
        };
        self.heed(renewed.await)
    }

    /// Gives it and forgets it: of several that ask at once, one is given it. None once it has expired.
    pub async fn take(&self, purpose: Purpose, digest: [u8; 32]) -> Result<Option<Passing>, StoreError> {
        let taken = async {
            let Some(mut session) = self.change_known().await? else { return Ok(None) };
            let now = session.now().await?;
            let text = "DELETE FROM cg_passing WHERE purpose = $1 AND digest = $2 RETURNING body, sealed, expires_at";
            let values = vec![purpose.as_str().into(), super::sql::Value::Blob(digest.to_vec())];
            let row = session.row(text, values).await?;
            session.commit().await?;
            row.map(|row| passing(&row)).transpose().map(|found| found.filter(|passing| passing.expires_at > now))
        };
        self.heed(taken.await)
    }

    /// Gives it. None once it has expired.
    pub async fn recall(&self, purpose: Purpose, digest: [u8; 32]) -> Result<Option<Passing>, StoreError> {
        let recalled = async {
            let Some(mut session) = self.read().await? else { return Ok(None) };
            let now = session.now().await?;
            let text = "SELECT body, sealed, expires_at FROM cg_passing \
                        WHERE purpose = $1 AND digest = $2 AND expires_at > $3";
            let values = vec![purpose.as_str().into(), super::sql::Value::Blob(digest.to_vec()), now.into()];
            session.row(text, values).await?.map(|row| passing(&row)).transpose()
        };
        self.heed(recalled.await)
    }

    /// Forgets it.
    pub async fn forget(&self, purpose: Purpose, digest: [u8; 32]) -> Result<(), StoreError> {
        self.take(purpose, digest).await.map(drop)
    }

    /// Removes what has expired, old events and old usage. [`Store::follow`] does it every hour.
    pub async fn sweep(&self) -> Result<(), StoreError> {
        let swept = async {
            let Some(mut session) = self.change_known().await? else { return Ok(()) };
            let now = session.now().await?;
            session.rows("DELETE FROM cg_passing WHERE expires_at <= $1", vec![now.into()]).await?;
            event::prune(&mut session).await?;
            usage::prune(&mut session, now).await?;
            session.commit().await
        };
        self.heed(swept.await)
    }
}

fn passing(row: &Row) -> Result<Passing, StoreError> {
    Ok(Passing { body: row.json(0)?, sealed: row.maybe_sealed(1)?, expires_at: row.time(2)? })
}
