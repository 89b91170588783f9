//! `/oauth/callback`: where Close sends a browser back to, once a person has agreed or declined (RFC 6749 4.1.2).
//!
//! The browser must be the one that began: it shows the `state` in a cookie. What it is answered is a page without a
//! script, which repeats nothing of the address.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::Extension;
use axum::extract::State;
use axum::response::{AppendHeaders, Html, IntoResponse as _, Response};
use cookie::{Cookie, SameSite};
use http::header::{COOKIE, HeaderMap, SET_COOKIE};
use http::{StatusCode, Uri};
use serde::Deserialize;
use utoipa::IntoParams;

use super::Desk;
use crate::admin::model::{Actor, Returned, Way};
use crate::admin::refusal::{Code, Refusal};
use crate::admin::serve::Came;
use crate::admin::session::CookieScheme;

/// What Close says in the address.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it describes the address, which is read as a whole")]
pub(super) struct CallbackQuery {
    /// What is exchanged for tokens.
    code: Option<String>,
    /// Which authorization it is.
    #[param(min_length = 1)]
    state: String,
    /// Why there is no code.
    error: Option<String>,
}

/// Come back from Close
///
/// For browsers only, and for the one in which the authorization was begun.
#[utoipa::path(get, path = "/oauth/callback", operation_id = "oauth_callback", tag = "session", security(()),
    params(CallbackQuery), responses(
        (status = 200, description = "The credential is authorized", body = String, content_type = "text/html"),
        (status = 400, description = "The address does not say which authorization it is of", body = String, content_type = "text/html"),
        (status = 409, description = "The authorization is unknown, over or refused, or the browser is another", body = String, content_type = "text/html"),
        (status = 503, description = "Close or the store cannot be reached", body = String, content_type = "text/html")))]
pub(super) async fn returned(
    State(desk): State<Arc<Desk>>,
    Extension(came): Extension<Came>,
    Extension(scheme): Extension<CookieScheme>,
    headers: HeaderMap,
    uri: Uri,
) -> Response {
    let outcome = complete(&desk, came, scheme, &headers, &uri).await;
    let (status, page) = match &outcome {
        Ok(name) => (StatusCode::OK, page("Authorized", &format!("The credential {name} is authorized."), DONE)),
        Err(refusal) => {
            let hint = refusal.hint.as_deref().unwrap_or("Begin again where the credential is shown.");
            (refusal.code.status(), page("Not authorized", &refusal.detail, hint))
        }
    };
    // The cookie has done its work; where it is another browser's, nothing of it is here.
    let cookie = scheme.without(scheme.authorization(), SameSite::Lax);
    (status, AppendHeaders([(SET_COOKIE, cookie)]), Html(page)).into_response()
}

async fn complete(
    desk: &Desk,
    came: Came,
    scheme: CookieScheme,
    headers: &HeaderMap,
    uri: &Uri,
) -> Result<String, Refusal> {
    let query = uri.query().unwrap_or_default();
    let returned = Returned::parse(query).ok_or_else(|| {
        let code = if has_state(query) { Code::AuthorizationRefused } else { Code::Malformed };
        Refusal::new(code, "This is not an address that Close sends a browser to.")
    })?;
    let by = Actor { name: "browser".to_owned(), way: Way::Session, from: Some(came.peer) };
    if let Err(Stranger { left_with }) = began(headers, scheme, returned.state()) {
        if let Some(state) = left_with {
            desk.management.mismatch(&state, &by).await?;
        }
        let hint = "Open the credential in this browser and begin again, or paste this page's address where you began.";
        let what = "This authorization was not begun in this browser.";
        return Err(Refusal::new(Code::AuthorizationRefused, what).hint(hint));
    }
    Ok(desk.management.complete_authorization(None, returned, &by).await?.name)
}

/// Whether an address says once which authorization it is of.
fn has_state(query: &str) -> bool {
    let mut states = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "state");
    states.next().is_some_and(|(_, state)| !state.is_empty()) && states.next().is_none()
}

/// A browser that is not the one that began.
struct Stranger {
    /// The `state` of another authorization, which it left for.
    left_with: Option<String>,
}

/// Whether this browser has the cookie of that `state`, and no other.
fn began(headers: &HeaderMap, scheme: CookieScheme, state: &str) -> Result<(), Stranger> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let cookies = lines.flat_map(|line| Cookie::split_parse(line.to_owned()).filter_map(Result::ok));
    let mut own = cookies.filter(|cookie| cookie.name() == scheme.authorization());
    let (Some(cookie), None) = (own.next(), own.next()) else { return Err(Stranger { left_with: None }) };
    match verify_slices_are_equal(cookie.value().as_bytes(), state.as_bytes()) {
        Ok(()) => Ok(()),
        Err(_) => Err(Stranger { left_with: Some(cookie.value().to_owned()) }),
    }
}

/// A page for a person, in HTML alone.
pub(super) fn page(title: &str, what: &str, then: &str) -> String {
    let (title, what, then) = (escaped(title), escaped(what), escaped(then));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>{title} - closegate</title></head>\n\
         <body>\n<main>\n<h1>{title}</h1>\n<p>{what}</p>\n<p>{then}</p>\n<p><a href=\"/\">closegate</a></p>\n</main>\n\
         </body>\n</html>\n"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

const DONE: &str = "You can close this page.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_makes_no_markup_of_what_it_tells() {
        let page = page("a", "<script>alert('x')</script>", "\"&");
        assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)") && page.contains("&quot;&amp;"), "{page}");
        assert!(!page.contains("<script"), "{page}");
    }
}
