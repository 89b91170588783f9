//! `/api/v1/session`: a browser signs in with a token, and gets a cookie for it.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::{AppendHeaders, IntoResponse as _, Response};
use cookie::SameSite;
use http::StatusCode;
use http::header::{HeaderMap, SET_COOKIE};
use serde::Deserialize;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::Desk;
use super::page::done;
use super::request::Json;
use crate::admin::gate::{Caller, check};
use crate::admin::model::{Actor, Identity, NewEvent, Way};
use crate::admin::refusal::Refusal;
use crate::admin::respond::{JSON, json};
use crate::admin::serve::Came;
use crate::admin::session::{CookieScheme, Pass, Session};

type Answered = Result<Response, Refusal>;

/// A token to sign in with.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SignIn {
    /// The token.
    #[schema(value_type = String, format = Password)]
    #[serde(deserialize_with = "zeroizing")]
    token: Zeroizing<String>,
}

fn zeroizing<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(deserializer).map(Zeroizing::new)
}

/// Sign in
///
/// Gives a session for a token: a cookie that no script reads. What is changed with it repeats `csrf` in the header
/// `closegate-csrf`.
#[utoipa::path(post, path = "/api/v1/session", operation_id = "open_session", tag = "session", security(()),
    request_body = SignIn, responses((status = 200, description = "Signed in", body = Identity)))]
pub(super) async fn open(
    State(desk): State<Arc<Desk>>,
    Extension(came): Extension<Came>,
    Extension(scheme): Extension<CookieScheme>,
    headers: HeaderMap,
    Json(sign_in): Json<SignIn>,
) -> Answered {
    let text = sign_in.token.as_bytes();
    let (token, by) = match desk.invited(text).await? {
        Some(token) => (token, "link"),
        None => (check(&desk, text, came, Way::Session).await?, "token"),
    };
    let (pass, session) = (Pass::draw()?, Session::begin(token));
    let until = session.until();
    desk.sessions.keep(pass.id(), session, until).await?;
    // The session that this browser had is over: nobody else may go on with it.
    if let Some(before) = Pass::of(&headers, scheme) {
        desk.sessions.forget(before.id()).await?;
    }
    let actor = Actor { name: token.name.clone(), way: Way::Session, from: Some(came.peer) };
    let detail = [("by".to_owned(), by.into())].into_iter().collect();
    desk.journal.note(NewEvent { by: actor, action: "session.open", subject: None, detail }).await?;
    let identity = Identity { name: token.name.clone(), role: token.role, way: Way::Session, csrf: Some(pass.csrf()) };
    let cookie = AppendHeaders([(SET_COOKIE, pass.cookie(scheme))]);
    Ok((cookie, json(StatusCode::OK, JSON, &identity)).into_response())
}

/// Who am I
#[utoipa::path(get, path = "/api/v1/session", operation_id = "show_session", tag = "session",
    responses((status = 200, description = "Who asks", body = Identity)))]
pub(super) async fn show(Extension(caller): Extension<Caller>) -> Answered {
    Ok(json(StatusCode::OK, JSON, &caller.identity))
}

/// Sign out
///
/// Ends the session of the cookie; a token has none to end.
#[utoipa::path(delete, path = "/api/v1/session", operation_id = "close_session", tag = "session",
    responses((status = 204, description = "Signed out")))]
pub(super) async fn close(
    State(desk): State<Arc<Desk>>,
    Extension(caller): Extension<Caller>,
    Extension(scheme): Extension<CookieScheme>,
    headers: HeaderMap,
) -> Answered {
    if caller.identity.way != Way::Session {
        return Ok(done());
    }
    if let Some(pass) = Pass::of(&headers, scheme) {
        desk.sessions.forget(pass.id()).await?;
    }
    let detail = serde_json::Map::new();
    desk.journal.note(NewEvent { by: caller.actor, action: "session.close", subject: None, detail }).await?;
    let cookie = AppendHeaders([(SET_COOKIE, scheme.without(scheme.session(), SameSite::Strict))]);
    Ok((cookie, done()).into_response())
}
