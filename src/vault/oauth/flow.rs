//! The authorization of a credential by a person: there by a URL, back by a code (RFC 6749 4.1, RFC 7636, RFC 9700).
//!
//! The `state` is 256 random bits, good for ten minutes and once; of it the store has a digest. The verifier behind the
//! challenge is sealed beside it.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use zeroize::Zeroizing;

use super::fault::FlowFault;
use super::grants::{Flow, Verifier};
use crate::config::OAuth2;
use crate::id::CredentialId;
use crate::vault::Vault;
use crate::vault::credential::{Slot, joined};
use crate::vault::needle;
use crate::vault::secret::Secret;

/// What a person is to open.
pub struct Consent {
    /// The page of consent, with a `state` in it: whoever opens it within ten minutes authorizes the credential.
    pub url: String,
    /// Where it sends people back to.
    pub redirect_uri: String,
    /// The `state`, to bind the browser that comes back to the one that left.
    pub state: Zeroizing<String>,
    /// Until when.
    pub expires: Timestamp,
}

/// What a person comes back with.
pub struct Returned {
    pub(super) state: Zeroizing<String>,
    /// The code, or the word of an error.
    pub(super) outcome: Result<Secret, String>,
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
    /// [`Vault::finish_authorization`]. `begun_by` is who asks for it, for the events.
    pub async fn begin_authorization(&self, id: CredentialId, begun_by: &str) -> Result<Consent, FlowFault> {
        let app = self.entry(id).slots().first().and_then(Slot::app).ok_or(FlowFault::OtherKind)?;
        let (state, verifier) = (random()?, random()?);
        let (redirect_uri, url) = (app.redirect_uri.to_string(), page_of_consent(app, &state, verifier.as_bytes()));
        let expires = Timestamp::now().saturating_add(LIFETIME).unwrap_or(Timestamp::MAX);
        let verifier = Verifier(Secret::new(joined(&[verifier.as_bytes()])));
        let (credential, client_id) = (self.name(id).clone(), app.client_id.clone());
        let begun_by = begun_by.to_owned();
        let flow = Flow { credential, client_id, redirect_uri: redirect_uri.clone(), begun_by, verifier };
        self.means().grants.remember(digest_of(&state), &flow, expires).await?;
        Ok(Consent { url, redirect_uri, state, expires })
    }
}

/// The page of consent of an app, for a state and what is behind its challenge (RFC 6749 4.1.1, RFC 7636 4.3).
pub(super) fn page_of_consent(app: &OAuth2, state: &str, verifier: &[u8]) -> String {
    let challenge = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier));
    let redirect_uri = app.redirect_uri.to_string();
    let mut url = app.authorization_url.to_string();
    let asked = [
        ("client_id", app.client_id.as_str()),
        ("response_type", "code"),
        ("redirect_uri", &redirect_uri),
        ("state", state),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    for (name, value) in asked {
        url.push(if url.contains('?') { '&' } else { '?' });
        let value = needle::form(value.as_bytes());
        url.extend([name, "=", &String::from_utf8_lossy(&value)]);
    }
    url
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
pub(super) fn random() -> Result<Zeroizing<String>, FlowFault> {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    aws_lc_rs::rand::fill(&mut *bytes).map_err(|_| FlowFault::NoRandomness)?;
    let mut text = Zeroizing::new(String::with_capacity(43));
    URL_SAFE_NO_PAD.encode_string(bytes.as_slice(), &mut text);
    Ok(text)
}

/// What the store knows a `state` by, or what begins one.
pub fn digest_of(state: &str) -> [u8; 32] {
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
