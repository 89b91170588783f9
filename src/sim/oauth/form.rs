//! Forms: who an app is, by its body or by Basic (RFC 6749 2.3.1), and what it asks for.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::app::{ClientAuthentication, OAuthApp};
use super::authority::Authority;
use crate::sim::api::Request;
use crate::sim::params::{Params, decode};

/// Why nothing is given (RFC 6749 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// `invalid_request`
    Request,
    /// `invalid_client`
    Client,
    /// `invalid_grant`
    Grant,
    /// `unsupported_grant_type`
    GrantType,
}

/// A form of the body.
pub(super) fn read(request: &Request<'_>) -> Result<Params, Refusal> {
    let media_type = request.head.text("content-type").unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    let text = std::str::from_utf8(request.body).map_err(|_| Refusal::Request)?;
    if !media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(Refusal::Request);
    }
    let form = Params::parse(text);
    if form.repeats() { Err(Refusal::Request) } else { Ok(form) }
}

/// The app that a form is of, when it shows that it is, and in the way that it may.
pub(super) fn client(authority: &Authority, request: &Request<'_>, form: &Params) -> Result<OAuthApp, Refusal> {
    let by_basic = request.head.text("authorization").map(|line| basic(line).ok_or(Refusal::Client)).transpose()?;
    let in_body = form.first("client_secret").map(str::to_owned);
    let (id, secret, way) = match (by_basic, in_body) {
        (Some(_), Some(_)) => return Err(Refusal::Request),
        (Some((id, secret)), None) => (id, secret, ClientAuthentication::Basic),
        (None, Some(secret)) => {
            (form.first("client_id").unwrap_or_default().to_owned(), secret, ClientAuthentication::Body)
        }
        (None, None) => return Err(Refusal::Client),
    };
    let app = authority.app(&id).filter(|app| app.client_secret == secret).ok_or(Refusal::Client)?;
    let permitted = app.authentication == ClientAuthentication::Either || app.authentication == way;
    if permitted { Ok(app.clone()) } else { Err(Refusal::Client) }
}

fn basic(line: &str) -> Option<(String, String)> {
    let pair = STANDARD.decode(line.strip_prefix("Basic ")?).ok()?;
    let (id, secret) = std::str::from_utf8(&pair).ok()?.split_once(':')?;
    Some((decode(id), decode(secret)))
}
