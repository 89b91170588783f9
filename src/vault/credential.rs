//! From a credential's references to the header that it injects.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderValue;
use zeroize::Zeroizing;

use super::authorization::Authorization;
use super::needle::{self, Form};
use super::redactor::Needles;
use super::secret::Secret;
use super::source::{self, Supply, Unread, Warning};
use crate::config::{Credential, CredentialKind, OAuth2, SecretRef};
use crate::id::CredentialName;

/// One secret of a credential: the setting that refers to it, and how it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slot {
    key: String,
    reference: SecretRef,
    scheme: Scheme,
}

/// How a secret becomes an `authorization` header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scheme {
    /// Basic, the secret as user name, an empty password.
    ApiKey,
    /// Basic, the secret as password.
    Password(String),
    /// Bearer.
    Bearer,
    /// Not at all to an upstream: with it an OAuth app asks for tokens, which are sent as Bearer.
    App(Box<OAuth2>),
}

impl Slot {
    /// The secrets of a credential: the one in use, then the one that may take over.
    pub(super) fn of(name: &CredentialName, credential: &Credential) -> Vec<Self> {
        let (keys, scheme): (&[&str], _) = match &credential.kind {
            CredentialKind::ApiKey { next: None, .. } => (&["api_key"], Scheme::ApiKey),
            CredentialKind::ApiKey { next: Some(_), .. } => (&["api_key.current", "api_key.next"], Scheme::ApiKey),
            CredentialKind::Basic { username, .. } => (&["basic.password"], Scheme::Password(username.clone())),
            CredentialKind::Bearer(_) => (&["bearer"], Scheme::Bearer),
            CredentialKind::OAuth2(app) => (&["oauth2.client_secret"], Scheme::App(app.clone())),
        };
        let slot = |(key, reference): (&&str, &SecretRef)| Self {
            key: format!("credentials.{name}.{key}"),
            reference: reference.clone(),
            scheme: scheme.clone(),
        };
        keys.iter().zip(credential.kind.references()).map(slot).collect()
    }

    /// The setting, such as `credentials.sales.api_key`.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// The app whose secret it is, if it is one's.
    pub(super) fn app(&self) -> Option<&OAuth2> {
        match &self.scheme {
            Scheme::App(app) => Some(app),
            Scheme::ApiKey | Scheme::Password(_) | Scheme::Bearer => None,
        }
    }

    /// Whether a command gives the secret: it may fail now and work later.
    pub(super) fn is_command(&self) -> bool {
        matches!(self.reference, SecretRef::Command { .. })
    }

    /// Whether it may fail to be read now and work later: a command, or a store that does not answer.
    pub(super) fn may_fail(&self) -> bool {
        matches!(self.reference, SecretRef::Command { .. } | SecretRef::Stored { .. })
    }

    /// Whether the secret lies in the store: another one comes with another reference.
    pub(super) fn is_stored(&self) -> bool {
        matches!(self.reference, SecretRef::Stored { .. })
    }

    /// How often the secret is read again while all is well.
    pub(super) fn refresh(&self) -> Option<Duration> {
        match self.reference {
            SecretRef::Command { refresh, .. } => refresh,
            SecretRef::Env(_) | SecretRef::File(_) | SecretRef::Systemd { .. } | SecretRef::Stored { .. } => None,
        }
    }

    /// Reads the secret and makes its header.
    pub(super) async fn read(&self, supply: &Supply) -> Result<(Candidate, Vec<Warning>), Unread> {
        let found = source::read(&self.reference, supply).await?;
        let warnings = found.exposure(&self.key, &self.reference).into_iter().chain(self.short(&found.secret));
        let warnings: Vec<_> = warnings.collect();
        let candidate = self.scheme.candidate(found.secret).ok_or_else(|| {
            Unread::new(
                &self.reference,
                "holds a blank or a character beyond ASCII",
                "is it all of the secret, and only that?",
            )
        })?;
        Ok((candidate, warnings))
    }

    fn short(&self, secret: &Secret) -> Option<Warning> {
        // What no upstream is sent, none sends back.
        (secret.len() < needle::SHORTEST && self.app().is_none()).then(|| Warning {
            key: self.key.clone(),
            what: format!("the secret is shorter than {} bytes, and is not looked for in answers", needle::SHORTEST),
            hint: "use a longer one",
        })
    }
}

impl Scheme {
    /// `None` when the secret cannot stand in the header.
    pub(super) fn candidate(&self, secret: Secret) -> Option<Candidate> {
        let pair = match self {
            Self::Password(username) => Some(joined(&[username.as_bytes(), b":", secret.expose()])),
            _ if !secret.is_visible() => return None,
            Self::Bearer => None,
            Self::ApiKey => Some(joined(&[secret.expose(), b":"])),
            // RFC 6749 2.3.1: each is encoded as in a form.
            Self::App(app) => {
                let (id, secret) = (needle::form(app.client_id.as_bytes()), needle::form(secret.expose()));
                Some(joined(&[&id, b":", &secret]))
            }
        };
        let line = match &pair {
            Some(pair) => basic(pair),
            None => joined(&[b"Bearer ", secret.expose()]),
        };
        let header = sensitive(line)?;
        let forms = match self {
            Self::App(_) => Vec::new(),
            _ => needle::forms(&secret, pair.as_ref().map(|pair| pair.as_slice())),
        };
        let key_id = matches!(self, Self::ApiKey).then(|| key_id(secret.expose())).flatten();
        let kept = matches!(self, Self::App(_)).then(|| Arc::new(secret));
        Some(Candidate { header, forms: forms.into(), kept, key_id })
    }
}

/// A secret as its header and the forms it may come back in; the secret itself is gone, but for that of an app.
#[derive(Clone)]
pub(super) struct Candidate {
    header: HeaderValue,
    forms: Arc<[Form]>,
    kept: Option<Arc<Secret>>,
    key_id: Option<Arc<str>>,
}

/// What Close shows of an API key.
fn key_id(secret: &[u8]) -> Option<Arc<str>> {
    let text = std::str::from_utf8(secret).ok()?;
    let (id, rest) = text.split_once('.')?;
    (id.starts_with("api_") && !rest.is_empty()).then(|| id.into())
}

impl Candidate {
    /// An access token.
    pub(super) fn token(token: &Secret) -> Option<Self> {
        let header = sensitive(joined(&[b"Bearer ", token.expose()])).filter(|_| token.is_visible())?;
        Some(Self { header, forms: needle::forms(token, None).into(), kept: None, key_id: None })
    }

    /// The secret of an app, which a body may have to carry.
    pub(super) fn app_secret(&self) -> Option<&Secret> {
        self.kept.as_deref()
    }

    /// The part of an API key that Close shows and calls its id: what stands before the dot. A key without a dot has none.
    pub(super) fn key_id(&self) -> Option<&Arc<str>> {
        self.key_id.as_ref()
    }

    /// The header with which it is sent.
    pub(super) fn header(&self) -> HeaderValue {
        self.header.clone()
    }

    /// Whether both would send the same.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.header == other.header
    }

    /// What a request with this secret carries.
    pub(super) fn authorization(&self, generation: u64, needles: Arc<Needles>) -> Authorization {
        Authorization::new(self.header.clone(), generation, needles)
    }

    /// The forms of this secret.
    pub(super) fn forms(&self) -> impl Iterator<Item = &Form> {
        self.forms.iter()
    }
}

impl fmt::Debug for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// A line as a header's value that nobody prints.
fn sensitive(line: Zeroizing<Vec<u8>>) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_maybe_shared(Bytes::from_owner(line)).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// `Basic` and the Base64 of user name and password (RFC 7617).
fn basic(pair: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut line = Zeroizing::new(String::with_capacity("Basic ".len() + pair.len().div_ceil(3) * 4));
    line.push_str("Basic ");
    STANDARD.encode_string(pair, &mut line);
    joined(&[line.as_bytes()])
}

/// The parts in one vector of exactly their length.
pub(super) fn joined(parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let mut whole = Zeroizing::new(Vec::with_capacity(parts.iter().map(|part| part.len()).sum()));
    for part in parts {
        whole.extend_from_slice(part);
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(joined(&[text.as_bytes()]))
    }

    fn header(scheme: &Scheme, text: &str) -> Option<String> {
        let candidate = scheme.candidate(secret(text))?;
        assert!(candidate.header.is_sensitive());
        assert_eq!(format!("{candidate:?} {:?}", candidate.header), "[secret] Sensitive");
        Some(candidate.header.to_str().unwrap().to_owned())
    }

    #[test]
    fn each_scheme_makes_its_header() {
        assert_eq!(header(&Scheme::ApiKey, "api_a.b").unwrap(), "Basic YXBpX2EuYjo=");
        assert_eq!(header(&Scheme::Bearer, "tok/en=").unwrap(), "Bearer tok/en=");
        assert_eq!(header(&Scheme::Password("u".to_owned()), "p é").unwrap(), "Basic dTpwIMOp");
    }

    #[test]
    fn a_key_or_token_is_visible_ascii() {
        for bad in ["a b", "é", "a\u{7f}"] {
            assert!(header(&Scheme::ApiKey, bad).is_none(), "{bad:?}");
            assert!(header(&Scheme::Bearer, bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn a_pair_of_keys_has_two_settings() {
        let name = CredentialName::parse("sales").unwrap();
        let (current, next) = (SecretRef::Env("A".into()), Some(SecretRef::Env("B".into())));
        let keys = |kind| {
            let slots = Slot::of(&name, &Credential { description: None, organization: None, kind });
            slots.iter().map(|slot| slot.key.clone()).collect::<Vec<_>>()
        };
        let pair = keys(CredentialKind::ApiKey { current: current.clone(), next });
        assert_eq!(pair, ["credentials.sales.api_key.current", "credentials.sales.api_key.next"]);
        assert_eq!(keys(CredentialKind::ApiKey { current, next: None }), ["credentials.sales.api_key"]);
    }
}
