//! An OAuth app, and how strict Close is with it.

use std::time::Duration;
use std::{fmt, io};

use crate::sim::ids::random_text;

/// How an app may show its id and secret at the token endpoint (RFC 6749 2.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuthentication {
    /// In the body or by Basic.
    Either,
    /// In the body alone.
    Body,
    /// By Basic alone.
    Basic,
}

/// What becomes of a grant when one of its spent refresh tokens is used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// It ends: somebody has stolen a token (RFC 9700 4.14.2).
    EndsGrant,
    /// Nothing: the request alone is refused.
    IsRefused,
}

/// An OAuth app of an organisation.
#[derive(Clone)]
pub struct OAuthApp {
    pub(super) organisation: String,
    pub(super) client_id: String,
    pub(super) client_secret: String,
    pub(super) redirect_uri: String,
    pub(super) lifetime: Duration,
    pub(super) authentication: ClientAuthentication,
    pub(super) reuse: Reuse,
}

impl OAuthApp {
    /// An app with a made-up id and secret, whose access tokens live for an hour.
    pub fn new(organisation: &str, redirect_uri: &str) -> io::Result<Self> {
        Ok(Self {
            organisation: organisation.to_owned(),
            client_id: format!("oa2client_{}", random_text()?),
            client_secret: format!("{}{}", random_text()?, random_text()?),
            redirect_uri: redirect_uri.to_owned(),
            lifetime: Duration::from_secs(3600),
            authentication: ClientAuthentication::Either,
            reuse: Reuse::EndsGrant,
        })
    }

    /// With an id and a secret of one's own.
    pub fn known_as(self, client_id: &str, client_secret: &str) -> Self {
        Self { client_id: client_id.to_owned(), client_secret: client_secret.to_owned(), ..self }
    }

    /// With another place to send people back to.
    pub fn returning_to(self, redirect_uri: &str) -> Self {
        Self { redirect_uri: redirect_uri.to_owned(), ..self }
    }

    /// With access tokens that live so long.
    pub fn lifetime(self, lifetime: Duration) -> Self {
        Self { lifetime, ..self }
    }

    /// With one way alone to show id and secret.
    pub fn authenticating(self, authentication: ClientAuthentication) -> Self {
        Self { authentication, ..self }
    }

    /// With another answer to a spent refresh token.
    pub fn reuse(self, reuse: Reuse) -> Self {
        Self { reuse, ..self }
    }

    /// The name of the organisation that its tokens open.
    pub fn organisation(&self) -> &str {
        &self.organisation
    }

    /// Its public id.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Its secret.
    pub fn client_secret(&self) -> &str {
        &self.client_secret
    }
}

impl fmt::Debug for OAuthApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the app `{}` of `{}`: [secret]", self.client_id, self.organisation)
    }
}
