//! The proof that a request may carry a credential, and the one place that writes `authorization` for an upstream.
//!
//! And for the command line's calls to a running gateway of its own: a token is a secret like any other.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use zeroize::Zeroizing;

use super::redactor::{Needles, Redactor};
use super::source::{self, SecretFault, Supply, Unread};
use crate::config::SecretRef;

/// A credential made ready to be sent once: only the vault makes one, and injecting it uses it up.
pub struct Authorization {
    header: HeaderValue,
    generation: u64,
    needles: Arc<Needles>,
}

impl Authorization {
    pub(super) fn new(header: HeaderValue, generation: u64, needles: Arc<Needles>) -> Self {
        Self { header, generation, needles }
    }

    /// Which of the credential's successive secrets this is, for [`Vault::suspect`](super::Vault::suspect).
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Writes the header in place of any that is there, and gives what the answer must be scrubbed with.
    pub fn inject(self, headers: &mut HeaderMap) -> Redactor {
        headers.insert(AUTHORIZATION, self.header);
        Redactor::new(self.needles)
    }

    /// How many uses of the same secret there are beside this one, until the end of each answer.
    pub(super) fn uses(&self) -> usize {
        Arc::strong_count(&self.needles).saturating_sub(1)
    }

    /// Whether this is the header that it writes.
    pub(super) fn carries(&self, header: &HeaderValue) -> bool {
        self.header == *header
    }

    /// Another use of the same credential: the header's bytes are shared, not copied.
    pub(super) fn again(&self) -> Self {
        Self { header: self.header.clone(), generation: self.generation, needles: Arc::clone(&self.needles) }
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorization").field("generation", &self.generation).finish_non_exhaustive()
    }
}

/// A token of a gateway on this machine, as its admin API takes it.
pub struct Presented(HeaderValue);

impl Presented {
    /// Reads the token of the setting `key`.
    ///
    /// # Errors
    ///
    /// When there is none where the reference points, or what is there fits into no header.
    pub async fn read(key: &str, reference: &SecretRef, supply: &Supply) -> Result<Self, SecretFault> {
        let found = source::read(reference, supply).await.map_err(|unread| unread.at(key))?;
        let line = Zeroizing::new([b"Bearer ", found.secret.expose()].concat());
        let mut header = HeaderValue::from_maybe_shared(Bytes::from_owner(line))
            .map_err(|_| Unread::new(reference, "holds no token", "a token is visible ASCII characters").at(key))?;
        header.set_sensitive(true);
        Ok(Self(header))
    }

    /// Writes it in place of any that is there.
    pub fn attach(&self, headers: &mut HeaderMap) {
        headers.insert(AUTHORIZATION, self.0.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn injecting_leaves_exactly_one_sensitive_line() {
        let mut secret = HeaderValue::from_static("Bearer planted");
        secret.set_sensitive(true);
        let mut headers = HeaderMap::new();
        headers.append(AUTHORIZATION, HeaderValue::from_static("Basic a"));
        headers.append(AUTHORIZATION, HeaderValue::from_static("Basic b"));
        let authorization = Authorization::new(secret, 7, Arc::default());
        assert_eq!(authorization.generation(), 7);
        assert!(!format!("{authorization:?}").contains("planted"));
        authorization.inject(&mut headers);
        let lines: Vec<_> = headers.get_all(AUTHORIZATION).iter().collect();
        assert_eq!(lines, ["Bearer planted"]);
        assert!(lines[0].is_sensitive());
        assert!(!format!("{headers:?}").contains("planted"));
    }
}
