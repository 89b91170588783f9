//! The authorization of a credential by a person: there by a URL, back by a code (RFC 6749 4.1, RFC 7636, RFC 9700).
//!
//! The `state` is 256 random bits, good for ten minutes and once; of it the store has a digest. The verifier behind the
//! challenge is sealed beside it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use zeroize::Zeroizing;

use super::client::{Client, Manner, Trouble};
use super::grants::{Flow, GrantsFault, Verifier};
use super::refresh;
use crate::id::{CredentialId, CredentialName};
use crate::vault::Vault;
use crate::vault::credential::{Slot, joined};
use crate::vault::needle;
use crate::vault::secret::Secret;

/// What a person is to open.
pub struct Consent {
    /// The page of consent, with a `state` in it: whoever opens it within ten minutes authorizes the credential.
    pub url: String,
    /// The `state`, to bind the browser that comes back to the one that left.
    pub state: Zeroizing<String>,
    /// Until when.
    pub expires: Timestamp,
}

/// What a person comes back with.
pub struct Returned {
    state: Zeroizing<String>,
    outcome: Result<Secret, String>,
}

/// Why a credential was not authorized.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlowFault {
    /// It is no credential of OAuth 2.0.
    #[error("the credential is none of OAuth 2.0")]
    OtherKind,
    /// What came back is no answer of an authorization.
    #[error("this is not where an authorization comes back to: it has no `state`, or no `code` and no `error`")]
    Malformed,
    /// Nobody began it, or it was begun more than ten minutes ago, or it has come back already.
    #[error("nobody waits for this authorization: it was begun more than ten minutes ago, or has come back before")]
    Unknown,
    /// The credential has another app by now, or is gone.
    #[error("the credential has changed since its authorization was begun")]
    Changed,
    /// The person declined, or the app is refused.
    #[error("Close gave no authorization: `{0}`")]
    Declined(String),
    /// The refresh token is no text that could be one.
    #[error("this is no refresh token: it is empty, or holds a blank or a character beyond ASCII")]
    NoToken,
    /// The token endpoint gave no tokens.
    #[error("{0}")]
    Endpoint(String),
    /// The store could not be asked, or did not take it.
    #[error(transparent)]
    Store(#[from] GrantsFault),
    /// The client secret cannot be read.
    #[error("{0}")]
    Secret(String),
    /// There was no randomness.
    #[error("the system gives no random numbers")]
    NoRandomness,
}

impl FlowFault {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::OtherKind => "only `oauth2` credentials are authorized; for others give a new secret",
            Self::Malformed => "paste the whole URL that the browser was sent to after the consent",
            Self::Unknown | Self::Changed => "begin the authorization again",
            Self::Declined(_) => "begin again, and allow it; for another code see RFC 6749 4.1.2.1",
            Self::NoToken => "give the refresh token alone, on one line",
            Self::Endpoint(_) => "are client id, client secret and redirect URI those that Close shows?",
            Self::Store(_) => "is the store reachable? see its message",
            Self::Secret(_) => "see the reference of `client_secret`",
            Self::NoRandomness => "does the kernel's generator work?",
        }
    }
}

impl From<Trouble> for FlowFault {
    fn from(trouble: Trouble) -> Self {
        Self::Endpoint(trouble.to_string())
    }
}

impl Returned {
    /// Reads the query of the callback: `state`, and `code` or `error`.
    pub fn parse(query: &str) -> Result<Self, FlowFault> {
        let (mut state, mut code, mut error) = (None, None, None);
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let place = match name {
                "state" => &mut state,
                "code" => &mut code,
                "error" => &mut error,
                _ => continue,
            };
            if place.replace(decoded(value).ok_or(FlowFault::Malformed)?).is_some() {
                return Err(FlowFault::Malformed);
            }
        }
        let state = state.filter(|state| !state.is_empty()).ok_or(FlowFault::Malformed)?;
        let outcome = match (code, error) {
            (Some(code), None) if !code.is_empty() => Ok(Secret::new(joined(&[code.as_bytes()]))),
            (None, Some(error)) => Err(word(&error)),
            _ => return Err(FlowFault::Malformed),
        };
        Ok(Self { state, outcome })
    }

    /// Reads the URL that a person pastes.
    pub fn of_url(url: &str) -> Result<Self, FlowFault> {
        let (_, query) = url.trim().split_once('?').ok_or(FlowFault::Malformed)?;
        Self::parse(query.split_once('#').map_or(query, |(query, _)| query))
    }

    /// The `state`, to compare with that of the browser that left.
    pub fn state(&self) -> &str {
        &self.state
    }
}

impl Vault {
    /// Begins the authorization of an OAuth credential: the page that a person is to open, and what comes back is for
    /// [`Vault::finish_authorization`].
    pub async fn begin_authorization(&self, id: CredentialId) -> Result<Consent, FlowFault> {
        let app = self.entry(id).slots().first().and_then(Slot::app).ok_or(FlowFault::OtherKind)?;
        let (state, verifier) = (random()?, random()?);
        let challenge = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.as_bytes()));
        let redirect_uri = app.redirect_uri.to_string();
        let mut url = app.authorization_url.to_string();
        let asked = [
            ("client_id", app.client_id.as_str()),
            ("response_type", "code"),
            ("redirect_uri", &redirect_uri),
            ("state", &state),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        for (name, value) in asked {
            url.push(if url.contains('?') { '&' } else { '?' });
            let value = needle::form(value.as_bytes());
            url.extend([name, "=", &String::from_utf8_lossy(&value)]);
        }
        let expires = Timestamp::now().saturating_add(LIFETIME).unwrap_or(Timestamp::MAX);
        let verifier = Verifier(Secret::new(joined(&[verifier.as_bytes()])));
        let (credential, client_id) = (self.name(id).clone(), app.client_id.clone());
        let flow = Flow { credential, client_id, redirect_uri, verifier };
        self.means().grants.remember(digest_of(&state), &flow, expires).await?;
        Ok(Consent { url, state, expires })
    }

    /// Ends an authorization, once: exchanges the code, and stores the tokens, which are put to use wherever the
    /// credential is served. Gives the credential; `actor` is who did it, for the events.
    pub async fn finish_authorization(&self, returned: Returned, actor: &str) -> Result<CredentialName, FlowFault> {
        let grants = Arc::clone(&self.means().grants);
        let flow = grants.take(digest_of(&returned.state)).await?.ok_or(FlowFault::Unknown)?;
        let code = returned.outcome.map_err(FlowFault::Declined)?;
        let id = self.find(&flow.credential).ok_or(FlowFault::Changed)?;
        let client = self.client(id).await?;
        if client.app.client_id != flow.client_id {
            return Err(FlowFault::Changed);
        }
        let way = self.means().under.way();
        let given = client.exchange(&code, &flow.verifier.0, &flow.redirect_uri).await?;
        let lacking = || FlowFault::Endpoint("the token endpoint gave no refresh token".to_owned());
        let tokens = refresh::first(given, &client).ok_or_else(lacking)?;
        grants.put(&flow.credential, &tokens, actor).await?;
        drop(way);
        Ok(flow.credential)
    }

    /// Takes over a grant that exists already, by its refresh token, which is used up at once: from now on it is the
    /// vault that renews it, and nobody else may. When it is refused, what was there before stays.
    pub async fn adopt(&self, id: CredentialId, token: &[u8], actor: &str) -> Result<(), FlowFault> {
        let token = token.strip_suffix(b"\n").map_or(token, |line| line.strip_suffix(b"\r").unwrap_or(line));
        let token = Secret::new(joined(&[token]));
        if token.len() == 0 || !token.is_visible() {
            return Err(FlowFault::NoToken);
        }
        let client = self.client(id).await?;
        let way = self.means().under.way();
        let given = client.refresh(&token).await?;
        let tokens = super::Tokens::of(given, &token, &client.app.client_id);
        self.means().grants.put(self.name(id), &tokens, actor).await?;
        drop(way);
        Ok(())
    }

    /// Ends the grant of a credential at Close, as far as Close can be reached, and forgets its tokens in any case. What
    /// Close said is the inner result; no grant is none to end.
    pub async fn revoke(&self, id: CredentialId, actor: &str) -> Result<Result<(), FlowFault>, FlowFault> {
        let grants = Arc::clone(&self.means().grants);
        let name = self.name(id);
        let Some(stored) = grants.stored(name).await? else { return Ok(Ok(())) };
        let told = match self.client(id).await {
            Ok(client) => client.revoke(&stored.tokens.refresh).await.map_err(FlowFault::from),
            Err(fault) => Err(fault),
        };
        match grants.remove(name, actor).await {
            Ok(()) | Err(GrantsFault::Absent) => Ok(told),
            Err(fault) => Err(fault.into()),
        }
    }

    /// The app of a credential, with its secret as it is now.
    async fn client(&self, id: CredentialId) -> Result<Client, FlowFault> {
        let (entry, means) = (self.entry(id), self.means());
        let slot = entry.slots().first().ok_or(FlowFault::OtherKind)?;
        let app = slot.app().ok_or(FlowFault::OtherKind)?.clone();
        let secret = match entry.known(0) {
            Some(known) => known,
            None => means.read(slot).await.map_err(|unread| FlowFault::Secret(unread.what))?,
        };
        Ok(Client { app, secret, manner: Manner::default(), dial: Arc::clone(&means.dial) })
    }
}

impl fmt::Debug for Consent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consent").field("expires", &self.expires).finish_non_exhaustive()
    }
}

impl fmt::Debug for Returned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.outcome.is_ok() { "[a code]" } else { "[an error]" })
    }
}

/// 256 bits in Base64: 43 characters, which is also the least that RFC 7636 4.1 wants.
fn random() -> Result<Zeroizing<String>, FlowFault> {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    aws_lc_rs::rand::fill(&mut *bytes).map_err(|_| FlowFault::NoRandomness)?;
    let mut text = Zeroizing::new(String::with_capacity(43));
    URL_SAFE_NO_PAD.encode_string(bytes.as_slice(), &mut text);
    Ok(text)
}

pub(super) fn digest_of(state: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, state.as_bytes()).as_ref());
    bytes
}

/// Undoes `%XX` and `+`; none when that gives no text.
fn decoded(value: &str) -> Option<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(value.len()));
    let mut rest = value.as_bytes();
    while let [first, tail @ ..] = rest {
        let digit = |at: usize| char::from(*tail.get(at)?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        (rest, _) = match first {
            b'%' => (tail.get(2..)?, bytes.push(digit(0)? << 4 | digit(1)?)),
            b'+' => (tail, bytes.push(b' ')),
            other => (tail, bytes.push(*other)),
        };
    }
    std::str::from_utf8(&bytes).ok().map(|text| Zeroizing::new(text.to_owned()))
}

/// What may be repeated of an error that somebody else wrote (RFC 6749 4.1.2.1): a word.
fn word(error: &str) -> String {
    let plain = (1..=40).contains(&error.len()) && error.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if plain { error.to_owned() } else { "an error".to_owned() }
}

const LIFETIME: Duration = Duration::from_secs(600);
