//! A secret that somebody hands in, made ready to be asked about before it is kept or used.

use std::fmt;
use std::sync::Arc;

use super::SecretText;
use super::authorization::Authorization;
use super::credential::{Candidate, Scheme};
use super::secret::Secret;
use crate::config::OAuth2;

/// A secret that is not in use: Close can be asked about it, and it can be sealed.
pub struct Trial(Candidate);

/// The secret cannot stand in a header: it is empty, has a blank, a line break or a character beyond ASCII.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a secret of visible ASCII characters on one line")]
pub struct Unfit;

impl Trial {
    /// An API key: Basic, the key as user name.
    pub fn api_key(secret: &SecretText) -> Result<Self, Unfit> {
        Self::of(&Scheme::ApiKey, secret)
    }

    /// A token made elsewhere.
    pub fn bearer(secret: &SecretText) -> Result<Self, Unfit> {
        Self::of(&Scheme::Bearer, secret)
    }

    /// The password of a user name.
    pub fn password(username: &str, secret: &SecretText) -> Result<Self, Unfit> {
        Self::of(&Scheme::Password(username.to_owned()), secret)
    }

    /// The secret of an app, which is shown at its token endpoint alone.
    pub fn app_secret(app: &OAuth2, secret: &SecretText) -> Result<Self, Unfit> {
        Self::of(&Scheme::App(Box::new(app.clone())), secret)
    }

    /// An access token that was just given.
    pub(super) fn token(candidate: Candidate) -> Self {
        Self(candidate)
    }

    fn of(scheme: &Scheme, secret: &SecretText) -> Result<Self, Unfit> {
        let fit = Some(secret).filter(|secret| !secret.is_empty() && secret.is_visible()).ok_or(Unfit)?;
        let secret = Secret::new(fit.expose().to_vec().into());
        let candidate = scheme.candidate(secret).ok_or(Unfit)?;
        Ok(Self(candidate))
    }

    /// The part of an API key that Close shows and calls its id: what stands before the dot. A key without a dot has none.
    pub fn key_id(&self) -> Option<&str> {
        self.0.key_id().map(AsRef::as_ref)
    }

    pub(super) fn authorization(&self) -> Authorization {
        self.0.authorization(0, Arc::default())
    }

    pub(super) fn candidate(&self) -> &Candidate {
        &self.0
    }

    /// Whether a request with that authorization carries this secret.
    pub(super) fn is_what_carries(&self, authorization: &Authorization) -> bool {
        authorization.carries(&self.0.header())
    }
}

impl fmt::Debug for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    fn secret(text: &str) -> SecretText {
        SecretText::new(Zeroizing::new(text.to_owned()))
    }

    #[test]
    fn only_what_close_shows_of_a_key_is_its_id() {
        let id = |text: &str| Trial::api_key(&secret(text)).unwrap().key_id().map(str::to_owned);
        assert_eq!(id("api_planted.secret").as_deref(), Some("api_planted"));
        for whole in ["api_planted", "planted.secret", "api_planted."] {
            assert_eq!(id(whole), None, "{whole}");
        }
        assert_eq!(Trial::bearer(&secret("api_planted.secret")).unwrap().key_id(), None);
    }

    #[test]
    fn what_no_header_can_carry_is_refused() {
        for text in ["", "a b", "a\nb", "schlüssel"] {
            assert_eq!(Trial::api_key(&secret(text)).err(), Some(Unfit), "{text:?}");
            assert_eq!(Trial::bearer(&secret(text)).err(), Some(Unfit), "{text:?}");
            assert_eq!(Trial::password("u", &secret(text)).err(), Some(Unfit), "{text:?}");
        }
    }
}
