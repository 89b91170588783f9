//! What the simulated Close knows of OAuth: apps, codes that wait to be exchanged, grants.

use std::fmt;
use std::io;
use std::time::Duration;

use tokio::time::Instant;

use super::app::OAuthApp;
use super::grant::{self, State};

/// A grant as it stands.
#[derive(Clone, PartialEq, Eq)]
pub struct Grant {
    /// Of which app.
    pub client_id: String,
    /// The newest access token.
    pub access_token: String,
    /// The refresh token that works.
    pub refresh_token: String,
    /// How often it was refreshed.
    pub refreshes: usize,
    /// Whether it was revoked, or ended because a spent token was used.
    pub over: bool,
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client_id, refreshes, over, .. } = self;
        write!(f, "a grant of `{client_id}`, refreshed {refreshes} times, over: {over}")
    }
}

/// What a code will be exchanged for, and by whom.
pub(super) struct Code {
    text: String,
    pub(super) client_id: String,
    pub(super) redirect_uri: String,
    pub(super) challenge: String,
    expires: Instant,
    /// The grant that it was exchanged for.
    grant: Option<usize>,
}

/// Apps, codes and grants.
#[derive(Default)]
pub(in crate::sim) struct Authority {
    apps: Vec<OAuthApp>,
    codes: Vec<Code>,
    grants: Vec<State>,
}

/// Why a refresh token or a code gives nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InvalidGrant;

impl Authority {
    /// Knows an app from now on, in place of one of the same id.
    pub(in crate::sim) fn register(&mut self, app: OAuthApp) {
        self.apps.retain(|known| known.client_id != app.client_id);
        self.apps.push(app);
    }

    /// The app with that id.
    pub(super) fn app(&self, client_id: &str) -> Option<&OAuthApp> {
        self.apps.iter().find(|app| app.client_id == client_id)
    }

    /// The organisation that an access token opens.
    pub(in crate::sim) fn organisation_of(&self, access: &str) -> Option<&str> {
        let grant = self.grants.iter().find(|grant| grant.admits(access))?;
        self.app(&grant.client_id).map(OAuthApp::organisation)
    }

    /// A grant that nobody had to consent to.
    pub(in crate::sim) fn grant(&mut self, client_id: &str) -> io::Result<Grant> {
        let app = self.app(client_id).ok_or(io::ErrorKind::NotFound)?;
        self.grants.push(State::new(client_id, app.lifetime)?);
        self.grants().pop().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Every grant, oldest first.
    pub(in crate::sim) fn grants(&self) -> Vec<Grant> {
        self.grants.iter().map(shown).collect()
    }

    /// Ends the life of every access token.
    pub(in crate::sim) fn expire(&mut self) {
        self.grants.iter_mut().for_each(State::expire);
    }

    /// Ends every grant.
    pub(in crate::sim) fn revoke_all(&mut self) {
        self.grants.iter_mut().for_each(State::end);
    }

    /// A code for the consent of a person, good for a minute.
    pub(super) fn consented(&mut self, client_id: &str, redirect_uri: &str, challenge: &str) -> io::Result<String> {
        let text = grant::token()?;
        self.codes.push(Code {
            text: text.clone(),
            client_id: client_id.to_owned(),
            redirect_uri: redirect_uri.to_owned(),
            challenge: challenge.to_owned(),
            expires: Instant::now() + CODE_LIFETIME,
            grant: None,
        });
        Ok(text)
    }

    /// Exchanges a code, once; `fits` says whether the exchange is the one that the code was made for. A second
    /// exchange ends what came of the first (RFC 6749 4.1.2).
    pub(super) fn exchange(
        &mut self,
        code: &str,
        fits: impl Fn(&Code) -> bool,
    ) -> io::Result<Result<Grant, InvalidGrant>> {
        let now = Instant::now();
        let Some(at) = self.codes.iter().position(|known| known.text == code) else { return Ok(Err(InvalidGrant)) };
        if let Some(grant) = self.codes[at].grant {
            self.grants[grant].end();
            return Ok(Err(InvalidGrant));
        }
        if self.codes[at].expires <= now || !fits(&self.codes[at]) {
            return Ok(Err(InvalidGrant));
        }
        self.codes[at].grant = Some(self.grants.len());
        let client_id = self.codes[at].client_id.clone();
        self.grant(&client_id).map(Ok)
    }

    /// Exchanges a refresh token for new tokens.
    pub(super) fn refresh(&mut self, app: &OAuthApp, token: &str) -> io::Result<Result<Grant, InvalidGrant>> {
        let own = |grant: &&mut State| grant.client_id == app.client_id && grant.standing(token).is_some();
        let Some(grant) = self.grants.iter_mut().find(own) else { return Ok(Err(InvalidGrant)) };
        match (grant.standing(token), app.reuse) {
            (Some(grant::Standing::Current), _) => {
                grant.rotate(app.lifetime)?;
                Ok(Ok(shown(grant)))
            }
            (Some(grant::Standing::Spent), super::Reuse::EndsGrant) => {
                grant.end();
                Ok(Err(InvalidGrant))
            }
            _ => Ok(Err(InvalidGrant)),
        }
    }

    /// Ends the grant of a token; an unknown one is no fault (RFC 7009 2.2).
    pub(super) fn revoke(&mut self, client_id: &str, token: &str) {
        let own = |grant: &&mut State| grant.client_id == client_id && grant.has_token(token);
        self.grants.iter_mut().filter(own).for_each(State::end);
    }
}

fn shown(grant: &State) -> Grant {
    Grant {
        client_id: grant.client_id.clone(),
        access_token: grant.access_token().to_owned(),
        refresh_token: grant.refresh_token().to_owned(),
        refreshes: grant.refreshes(),
        over: grant.is_over(),
    }
}

const CODE_LIFETIME: Duration = Duration::from_secs(60);
