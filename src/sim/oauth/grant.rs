//! One grant: what a person allowed an app, and the tokens that came of it.

use std::io;
use std::time::Duration;

use tokio::time::Instant;

use crate::sim::ids::random_text;

/// A grant under way.
pub(super) struct State {
    pub(super) client_id: String,
    /// The refresh token that works.
    refresh: String,
    /// Those that did, oldest first.
    spent: Vec<String>,
    access: Vec<Access>,
    refreshes: usize,
    ended: bool,
}

struct Access {
    token: String,
    expires: Instant,
}

/// What an app asks for with a refresh token.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is the one that works.
    Current,
    /// It worked once.
    Spent,
    /// The grant is over.
    Over,
}

impl State {
    /// A grant with its first tokens.
    pub(super) fn new(client_id: &str, lifetime: Duration) -> io::Result<Self> {
        let mut state = Self {
            client_id: client_id.to_owned(),
            refresh: token()?,
            spent: Vec::new(),
            access: Vec::new(),
            refreshes: 0,
            ended: false,
        };
        state.add_access(lifetime)?;
        Ok(state)
    }

    /// New tokens in place of the refresh token, which is spent; access tokens live on to their end.
    pub(super) fn rotate(&mut self, lifetime: Duration) -> io::Result<()> {
        let next = token()?;
        self.spent.push(std::mem::replace(&mut self.refresh, next));
        self.refreshes += 1;
        self.add_access(lifetime)
    }

    fn add_access(&mut self, lifetime: Duration) -> io::Result<()> {
        let now = Instant::now();
        self.access.retain(|access| access.expires > now);
        self.access.push(Access { token: token()?, expires: now + lifetime });
        Ok(())
    }

    /// How a refresh token stands; none when it is of another grant.
    pub(super) fn standing(&self, refresh: &str) -> Option<Standing> {
        let current = self.refresh == refresh;
        let known = current || self.spent.iter().any(|spent| spent == refresh);
        let standing = if current { Standing::Current } else { Standing::Spent };
        known.then_some(if self.ended { Standing::Over } else { standing })
    }

    /// Whether an access token is one of this grant and works.
    pub(super) fn admits(&self, token: &str) -> bool {
        !self.ended && self.access.iter().any(|access| access.token == token && access.expires > Instant::now())
    }

    /// Whether a token of any kind is or was one of this grant.
    pub(super) fn has_token(&self, token: &str) -> bool {
        self.standing(token).is_some() || self.access.iter().any(|access| access.token == token)
    }

    pub(super) fn expire(&mut self) {
        let now = Instant::now();
        self.access.iter_mut().for_each(|access| access.expires = now);
    }

    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    pub(super) fn is_over(&self) -> bool {
        self.ended
    }

    pub(super) fn refreshes(&self) -> usize {
        self.refreshes
    }

    /// The refresh token that works.
    pub(super) fn refresh_token(&self) -> &str {
        &self.refresh
    }

    /// The newest access token.
    pub(super) fn access_token(&self) -> &str {
        self.access.last().map_or("", |access| &access.token)
    }
}

/// A token or a code: 44 letters and digits.
pub(super) fn token() -> io::Result<String> {
    Ok(format!("{}{}", random_text()?, random_text()?))
}
