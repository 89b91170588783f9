//! OAuth grants: tokens that change by themselves, and the lease by which one replica at a time renews them.
//!
//! A lease is a promise with an end, so that a replica that died holds nobody up; that its holder still has it is never
//! believed but looked at: each lease has a [`Fence`], which grows, and a change under an older one is refused. Fences are
//! drawn from the counter of all changes of grants: also one that is made anew under a name never sees an old one again.

use std::time::Duration;

use jiff::Timestamp;

use super::event::{self, Event};
use super::fault::StoreError;
use super::sealed::Sealed;
use super::sql::{Row, Session, Value};
use super::{Store, follow, reseal};

/// A grant as it lies in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The name of its credential, of the store or of the configuration file.
    pub name: String,
    /// Its tokens.
    pub sealed: Option<Sealed>,
    /// Which change made it what it is; grows.
    pub generation: u64,
    /// When its access token ends, as far as that was told.
    pub expires_at: Option<Timestamp>,
    /// How it stands.
    pub state: GrantState,
    /// Why it is so, for people; never a secret.
    pub reason: Option<String>,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

/// How a grant stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantState {
    /// It has tokens that may be used and renewed.
    Ready,
    /// Its refresh token is on its way to be used up, and what came back is not stored yet. One that is found so without
    /// a holder was lost on the way: whether its token still works only the token endpoint knows.
    Refreshing,
    /// Somebody has to authorize it.
    NeedsAuthorization,
    /// It is over; the reason says why.
    Dead,
}

/// The right to change a grant, until somebody else has a newer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fence(pub(crate) u64);

/// New tokens of a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// The tokens.
    pub sealed: Sealed,
    /// When the access token ends, if that was told.
    pub expires_at: Option<Timestamp>,
}

impl GrantState {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Refreshing => "refreshing",
            Self::NeedsAuthorization => "needs_authorization",
            Self::Dead => "dead",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        [Self::Ready, Self::Refreshing, Self::NeedsAuthorization, Self::Dead].into_iter().find(|s| s.as_str() == word)
    }
}

impl Store {
    /// One grant.
    pub async fn grant(&self, name: &str) -> Result<Option<Grant>, StoreError> {
        let Some(mut session) = self.read().await? else { return Ok(None) };
        let text = "SELECT name, sealed, generation, expires_at, state, reason, updated_at FROM cg_grants \
                    WHERE name = $1";
        let row = self.heed(session.row(text, vec![name.into()]).await)?;
        row.as_ref().map(grant).transpose()
    }

    /// Every grant, by name.
    pub async fn grants(&self) -> Result<Vec<Grant>, StoreError> {
        let Some(mut session) = self.read().await? else { return Ok(Vec::new()) };
        let text = "SELECT name, sealed, generation, expires_at, state, reason, updated_at FROM cg_grants \
                    ORDER BY name";
        let rows = self.heed(session.rows(text, Vec::new()).await)?;
        rows.iter().map(grant).collect()
    }

    /// Takes over tokens that somebody authorized, in place of whatever there was; a lease that is held is over.
    pub async fn put_grant(&self, name: &str, token: &Token, event: &Event) -> Result<Grant, StoreError> {
        let put = async {
            let mut session = self.change().await?;
            let generation = session.advance(COUNTER).await?;
            reseal::permit(&mut session, Some(&token.sealed)).await?;
            let now = session.now().await?;
            let text = "INSERT INTO cg_grants \
                        (name, sealed, generation, expires_at, state, reason, updated_at, fence, holder, held_until) \
                        VALUES ($1, $2, $3, $4, 'ready', NULL, $5, $3, NULL, 0) \
                        ON CONFLICT (name) DO UPDATE SET sealed = excluded.sealed, generation = excluded.generation, \
                        expires_at = excluded.expires_at, state = excluded.state, reason = NULL, \
                        updated_at = excluded.updated_at, fence = excluded.fence, holder = NULL, held_until = 0";
            let values =
                vec![name.into(), (&token.sealed).into(), generation.into(), token.expires_at.into(), now.into()];
            session.rows(text, values).await?;
            event::record(&mut session, event).await?;
            follow::announce(&mut session).await?;
            session.commit().await?;
            Ok((generation, now))
        };
        let (generation, updated_at) = self.heed(put.await)?;
        self.told_of_grants(generation);
        let Token { sealed, expires_at } = token.clone();
        let (name, state) = (name.to_owned(), GrantState::Ready);
        Ok(Grant { name, sealed: Some(sealed), generation, expires_at, state, reason: None, updated_at })
    }

    /// Proves that a change would be kept now, by making one that changes nothing.
    pub async fn prove_grants(&self) -> Result<(), StoreError> {
        let proved = async {
            let mut session = self.change().await?;
            session.advance(COUNTER).await?;
            session.commit().await
        };
        self.heed(proved.await)
    }

    /// Takes the lease of a grant for some time; none while somebody else has it.
    ///
    /// # Errors
    ///
    /// [`StoreError::NoGrant`] when there is nothing to lease.
    pub async fn lease_grant(&self, name: &str, owner: &str, ttl: Duration) -> Result<Option<Fence>, StoreError> {
        let leased = async {
            let Some(mut session) = self.change_known().await? else { return Err(no_grant(name)) };
            let now = session.now().await?;
            let known = session.row("SELECT held_until FROM cg_grants WHERE name = $1", vec![name.into()]).await?;
            if known.ok_or_else(|| no_grant(name))?.int(0)? > now.as_millisecond() {
                session.commit().await?;
                return Ok(None);
            }
            let drawn = session.advance(COUNTER).await?;
            // Somebody may have been here while the counter was waited for.
            let text = "UPDATE cg_grants SET fence = $5, holder = $2, held_until = $3 \
                        WHERE name = $1 AND held_until <= $4 RETURNING fence";
            let values = vec![name.into(), owner.into(), later(now, ttl), now.into(), drawn.into()];
            let fence = session.row(text, values).await?.map(|row| row.count(0)).transpose()?.map(Fence);
            session.commit().await?;
            Ok(fence)
        };
        self.heed(leased.await)
    }

    /// Holds a lease for longer: from now on for so long.
    pub async fn renew_lease(&self, name: &str, fence: Fence, ttl: Duration) -> Result<(), StoreError> {
        let renewed = async {
            let Some(mut session) = self.change_known().await? else { return Err(stale(name)) };
            let now = session.now().await?;
            let text = "UPDATE cg_grants SET held_until = $3 \
                        WHERE name = $1 AND fence = $2 AND held_until > 0 RETURNING fence";
            let row = session.row(text, vec![name.into(), fence.0.into(), later(now, ttl)]).await?;
            row.ok_or_else(|| stale(name))?;
            session.commit().await
        };
        self.heed(renewed.await)
    }

    /// Stores renewed tokens: when this returns they are durable. The lease goes on.
    ///
    /// A lease that has run out and that nobody has taken since is still good for it: the tokens exist, and would be
    /// lost.
    ///
    /// # Errors
    ///
    /// [`StoreError::Stale`] when the lease is somebody else's or was given back. After [`StoreError::Unreachable`] the
    /// tokens may be stored or not: it may be called again with the same fence.
    pub async fn store_grant(&self, name: &str, token: &Token, fence: Fence) -> Result<Grant, StoreError> {
        let text = "UPDATE cg_grants SET generation = $3, updated_at = $4, sealed = $5, expires_at = $6, \
                    state = 'ready', reason = NULL WHERE name = $1 AND fence = $2 AND held_until > 0 \
                    RETURNING name, sealed, generation, expires_at, state, reason, updated_at";
        let values = vec![(&token.sealed).into(), token.expires_at.into()];
        self.write(name, fence, text, values, Some(&token.sealed)).await
    }

    /// Notes how a grant stands, and why; its tokens stay. Durable when this returns.
    pub async fn mark_grant(
        &self,
        name: &str,
        state: GrantState,
        reason: Option<&str>,
        fence: Fence,
    ) -> Result<Grant, StoreError> {
        let text = "UPDATE cg_grants SET generation = $3, updated_at = $4, state = $5, reason = $6 \
                    WHERE name = $1 AND fence = $2 AND held_until > 0 \
                    RETURNING name, sealed, generation, expires_at, state, reason, updated_at";
        let values = vec![state.as_str().into(), Value::MaybeText(reason.map(str::to_owned))];
        self.write(name, fence, text, values, None).await
    }

    /// Gives a lease back; one that is somebody else's by now stays with them.
    pub async fn release_grant(&self, name: &str, fence: Fence) -> Result<(), StoreError> {
        let released = async {
            let Some(mut session) = self.change_known().await? else { return Ok(()) };
            let text = "UPDATE cg_grants SET holder = NULL, held_until = 0 WHERE name = $1 AND fence = $2";
            session.rows(text, vec![name.into(), fence.0.into()]).await?;
            session.commit().await
        };
        self.heed(released.await)
    }

    async fn write(
        &self,
        name: &str,
        fence: Fence,
        text: &'static str,
        values: Vec<Value>,
        sealed: Option<&Sealed>,
    ) -> Result<Grant, StoreError> {
        let written = async {
            let Some(mut session) = self.change_known().await? else { return Err(stale(name)) };
            let generation = session.advance(COUNTER).await?;
            reseal::permit(&mut session, sealed).await?;
            let now = session.now().await?;
            let mut all = vec![name.into(), fence.0.into(), generation.into(), now.into()];
            all.extend(values);
            let row = session.row(text, all).await?.ok_or_else(|| stale(name))?;
            follow::announce(&mut session).await?;
            session.commit().await?;
            grant(&row)
        };
        let grant = self.heed(written.await)?;
        self.told_of_grants(grant.generation);
        Ok(grant)
    }
}

/// Removes a grant as part of a transaction, if there is one; then the counter has moved on.
pub(super) async fn remove(session: &mut Session, name: &str) -> Result<Option<u64>, StoreError> {
    let known = session.row("SELECT name FROM cg_grants WHERE name = $1", vec![name.into()]).await?;
    if known.is_none() {
        return Ok(None);
    }
    // First the counter, as everywhere: whoever changes grants waits there.
    let generation = session.advance(COUNTER).await?;
    session.rows("DELETE FROM cg_grants WHERE name = $1", vec![name.into()]).await?;
    Ok(Some(generation))
}

fn later(now: Timestamp, ttl: Duration) -> Value {
    let ttl = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
    Value::Int(now.as_millisecond().saturating_add(ttl))
}

fn no_grant(name: &str) -> StoreError {
    StoreError::NoGrant { name: name.to_owned() }
}

fn stale(name: &str) -> StoreError {
    StoreError::Stale { name: name.to_owned() }
}

fn grant(row: &Row) -> Result<Grant, StoreError> {
    let state = GrantState::parse(&row.text(4)?).ok_or_else(|| StoreError::corrupt("an unknown state of a grant"))?;
    Ok(Grant {
        name: row.text(0)?,
        sealed: row.maybe_sealed(1)?,
        generation: row.count(2)?,
        expires_at: row.maybe_time(3)?,
        state,
        reason: row.maybe_text(5)?,
        updated_at: row.time(6)?,
    })
}

/// Moved on by every change of grants.
pub(super) const COUNTER: &str = "grants";
