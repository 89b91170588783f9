//! The proof that a request may carry a credential, and the one place that writes `authorization` for an upstream.

use std::fmt;
use std::sync::Arc;

use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};

use super::redactor::{Needles, Redactor};

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
