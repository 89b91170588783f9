//! Who asks, and whether they may: before any of the admin API is reached.
//!
//! In this order: the listener's name, the page that asks, a token or a session, the role, and for a session the value
//! that only its own page knows. Without a token can be asked: the page, to sign in, to leave for Close by a link, and to come
//! back from there.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, Method, header};

use super::api::Desk;
use super::attempts::Wrong;
use super::house::Visit;
use super::model::{Actor, Identity, NewEvent, Role, Way};
use super::refusal::{Code, Refusal};
use super::serve::Came;
use super::session::{CookieScheme, Pass};
use super::tokens::Token;

/// Who asks, once that is known.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) identity: Identity,
    pub(super) actor: Actor,
}

/// Lets a request in, or says why not; what comes of it gets the headers that all answers have.
pub(super) async fn admit(State(desk): State<Arc<Desk>>, request: Request, next: Next) -> Response {
    let mut response = match admitted(&desk, request).await {
        Ok(request) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

async fn admitted(desk: &Desk, request: Request) -> Result<Request, Refusal> {
    let (mut parts, body) = request.into_parts();
    let came = *parts.extensions.get::<Came>().ok_or_else(Refusal::internal)?;
    let open = open_to_all(&parts.method, parts.uri.path());
    desk.house.admit(&parts, open.unwrap_or(Visit::Own))?;
    let scheme = if desk.house.is_https(&parts.headers, came) { CookieScheme::Https } else { CookieScheme::Http };
    parts.extensions.insert(scheme);
    if open.is_none() {
        let caller = identify(desk, &parts.headers, came, scheme).await?;
        let (session, changes) = (parts.uri.path() == SESSION, !is_safe(&parts.method));
        if changes && caller.identity.role == Role::Viewer && !session {
            let detail = format!("the token `{}` may see everything and change nothing", caller.identity.name);
            return Err(Refusal::new(Code::Forbidden, detail).hint("it takes a token with `role = \"admin\"`"));
        }
        if changes && caller.identity.way == Way::Session {
            confirm(&parts.headers, scheme)?;
        }
        parts.extensions.insert(caller);
    }
    Ok(Request::from_parts(parts, body))
}

/// What can be asked without a token, and from where.
fn open_to_all(method: &Method, path: &str) -> Option<Visit> {
    match path {
        SESSION if method == Method::POST => Some(Visit::Own),
        CALLBACK if is_safe(method) => Some(Visit::Arrival),
        // Another site that has it opened has somebody authorize what they did not mean to.
        link if link.starts_with(DEPARTURE) && method == Method::GET => Some(Visit::Own),
        // The page is static and holds nothing; links to it may stand anywhere.
        "/" if is_safe(method) => Some(Visit::Arrival),
        part if part.starts_with("/ui/") && is_safe(method) => Some(Visit::Own),
        _ => None,
    }
}

/// By a bearer token; without one by a session's cookie.
async fn identify(desk: &Desk, headers: &HeaderMap, came: Came, scheme: CookieScheme) -> Result<Caller, Refusal> {
    if headers.contains_key(AUTHORIZATION) {
        let text = bearer(headers).unwrap_or_default();
        let token = check(desk, text, came, Way::Token).await?;
        return Ok(caller(token, Way::Token, came, None));
    }
    let Some(pass) = Pass::of(headers, scheme) else {
        return Err(stranger("neither a token nor a session"));
    };
    let session = desk.sessions.find(pass.id()).await?;
    let token = session.as_ref().and_then(|session| {
        let token = desk.tokens.named(&session.token)?;
        session.is_of(token).then_some(token)
    });
    let (Some(session), Some(token)) = (&session, token) else {
        return Err(stranger("the session is over"));
    };
    if let Some(touched) = session.touched() {
        let until = touched.until();
        // Who signed out since it was found is not signed in again by what was asked before.
        if !desk.sessions.prolong(pass.id(), touched, until).await? {
            return Err(stranger("the session is over"));
        }
    }
    Ok(caller(token, Way::Session, came, Some(pass.csrf())))
}

/// The token of a text, at once; a wrong one is noted, and refused in its turn.
pub(super) async fn check<'d>(desk: &'d Desk, text: &[u8], came: Came, way: Way) -> Result<&'d Token, Refusal> {
    if let Some(token) = desk.tokens.find(text) {
        return Ok(token);
    }
    let Wrong { turn, untold } = desk.attempts.wrong(came.peer);
    if let Some(times) = untold {
        let by = Actor { name: "unknown".to_owned(), way, from: Some(came.peer) };
        let detail = [("attempts".to_owned(), times.into())].into_iter().collect();
        let event = NewEvent { by, action: "session.refused", subject: None, detail };
        // A store that is lost lets nobody in, and keeps nobody out.
        if let Err(refusal) = desk.journal.note(event).await {
            tracing::warn!(%refusal, "a refused token could not be noted");
        }
    }
    let Some(turn) = turn else {
        return Err(Refusal::new(Code::TooManyAttempts, "too many wrong tokens")
            .hint("a right one is let in at any time; try this one again in a few seconds"));
    };
    turn.come().await;
    Err(stranger("the token is not known here"))
}

fn caller(token: &Token, way: Way, came: Came, csrf: Option<String>) -> Caller {
    let identity = Identity { name: token.name.clone(), role: token.role, way, csrf };
    Caller { actor: Actor { name: token.name.clone(), way, from: Some(came.peer) }, identity }
}

/// A state-changing request by cookie repeats what only its own page knows.
fn confirm(headers: &HeaderMap, scheme: CookieScheme) -> Result<(), Refusal> {
    if Pass::of(headers, scheme).is_some_and(|pass| pass.is_confirmed_by(headers)) {
        return Ok(());
    }
    let hint = "repeat `csrf` of `GET /api/v1/session` in the header `closegate-csrf`";
    Err(Refusal::new(Code::CsrfMissing, "a session changes something only with its CSRF value").hint(hint))
}

fn stranger(what: &str) -> Refusal {
    let hint = "`Authorization: Bearer TOKEN`, with a token of `[admin.tokens]` or that of `admin.token` in data_dir";
    Refusal::new(Code::Unauthenticated, what).hint(hint)
}

/// The token of exactly one `Authorization: Bearer`.
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let (line, more) = (lines.next()?.as_bytes(), lines.next());
    let (scheme, token) = line.split_at_checked(7)?;
    (more.is_none() && scheme.eq_ignore_ascii_case(b"bearer ")).then(|| token.trim_ascii())
}

fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Where one signs in and out.
pub(super) const SESSION: &str = "/api/v1/session";
/// Where Close sends browsers back to.
pub const CALLBACK: &str = "/oauth/callback";
/// Where browsers begin that follow a link.
pub const DEPARTURE: &str = "/oauth/start/";

/// What every answer has, unless it has another.
const HEADERS: [(HeaderName, &str); 7] = [
    (header::CACHE_CONTROL, "no-store"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];
