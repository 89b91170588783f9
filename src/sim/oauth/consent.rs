//! The page on which a person allows an app what it asks for, or declines (RFC 6749 4.1.1, RFC 7636 4.3).

use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, LOCATION};

use super::authority::Authority;
use super::form;
use crate::sim::answer::{self, Answer};
use crate::sim::api::Request;
use crate::sim::params::Params;
use crate::sim::shared::World;

/// What an app asks a person for.
struct Question {
    client_id: String,
    redirect_uri: String,
    organisation: String,
    state: String,
    challenge: String,
}

/// Why nobody is asked.
enum Fault {
    /// The person must see it: who asks, or where to go back to, is unknown.
    Shown(&'static str),
    /// The app is told: an error code of RFC 6749 4.1.2.1.
    Returned { redirect_uri: String, state: String, error: &'static str },
}

/// Shows the page.
pub(super) fn page(world: &mut World, request: &Request<'_>) -> Answer {
    let params = Params::parse(request.head.query());
    match Question::of(&world.oauth, &params) {
        Ok(question) => shown(StatusCode::OK, &question.page(&params)),
        Err(fault) => fault.answer(),
    }
}

/// Takes what the person decided.
pub(super) fn decide(world: &mut World, request: &Request<'_>) -> Answer {
    let Ok(params) = form::read(request) else { return Fault::Shown("The form is malformed.").answer() };
    let question = match Question::of(&world.oauth, &params) {
        Ok(question) => question,
        Err(fault) => return fault.answer(),
    };
    let Question { client_id, redirect_uri, challenge, state, .. } = question;
    if params.first("decision") != Some("allow") {
        return Fault::Returned { redirect_uri, state, error: "access_denied" }.answer();
    }
    match world.oauth.consented(&client_id, &redirect_uri, &challenge) {
        Ok(code) => back(&redirect_uri, &[("code", &code), ("state", &state)]),
        Err(error) => answer::error(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

impl Question {
    fn of(authority: &Authority, params: &Params) -> Result<Self, Fault> {
        let text = |name: &str| params.first(name).unwrap_or_default().to_owned();
        let client_id = text("client_id");
        let app = authority.app(&client_id).ok_or(Fault::Shown("There is no app with this `client_id`."))?;
        let redirect_uri = params.first("redirect_uri").unwrap_or(&app.redirect_uri).to_owned();
        if redirect_uri != app.redirect_uri || params.repeats() {
            return Err(Fault::Shown("This `redirect_uri` is not the one of the app."));
        }
        let state = text("state");
        let returned = |error| Fault::Returned { redirect_uri: redirect_uri.clone(), state: state.clone(), error };
        if params.first("response_type") != Some("code") {
            return Err(returned("unsupported_response_type"));
        }
        let challenge = text("code_challenge");
        // The SHA-256 of a verifier in Base64.
        let digest = challenge.len() == 43 && params.first("code_challenge_method") == Some("S256");
        if state.is_empty() || !digest {
            return Err(returned("invalid_request"));
        }
        let organisation = app.organisation().to_owned();
        Ok(Self { client_id, redirect_uri: redirect_uri.clone(), organisation, state: state.clone(), challenge })
    }

    fn page(&self, params: &Params) -> String {
        let hidden: String = ASKED
            .iter()
            .filter_map(|name| Some((name, params.first(name)?)))
            .map(|(name, value)| format!("<input type=\"hidden\" name=\"{name}\" value=\"{}\">\n", escape(value)))
            .collect();
        let (app, organisation) = (escape(&self.client_id), escape(&self.organisation));
        format!(
            "<h1>Simulated Close</h1>\n<p>The app <code>{app}</code> asks for full access to the organisation \
             <b>{organisation}</b>.</p>\n<form method=\"post\" action=\"/oauth2/authorize/\">\n{hidden}\
             <button name=\"decision\" value=\"allow\">Allow</button>\n\
             <button name=\"decision\" value=\"decline\">Decline</button>\n</form>\n"
        )
    }
}

impl Fault {
    fn answer(&self) -> Answer {
        match self {
            Self::Shown(what) => shown(StatusCode::BAD_REQUEST, &format!("<h1>Simulated Close</h1>\n<p>{what}</p>\n")),
            Self::Returned { redirect_uri, state, error } => back(redirect_uri, &[("error", error), ("state", state)]),
        }
    }
}

/// Sends the person back to the app.
fn back(redirect_uri: &str, params: &[(&str, &str)]) -> Answer {
    let mut place = redirect_uri.to_owned();
    for (name, value) in params.iter().filter(|(_, value)| !value.is_empty()) {
        place.push(if place.contains('?') { '&' } else { '?' });
        place.push_str(&format!("{name}={}", crate::sim::params::encode(value)));
    }
    let answer = answer::with(answer::whole(StatusCode::FOUND, ""), LOCATION, &place);
    answer::with(answer, CACHE_CONTROL, "no-store")
}

fn shown(status: StatusCode, content: &str) -> Answer {
    let page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Simulated Close</title>\n{content}</html>\n"
    );
    let answer = answer::typed(answer::whole(status, page), "text/html; charset=utf-8");
    let answer = answer::with(answer, CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'");
    answer::with(answer, CACHE_CONTROL, "no-store")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The parameters of a question that the decision repeats.
const ASKED: [&str; 7] =
    ["client_id", "redirect_uri", "response_type", "scope", "state", "code_challenge", "code_challenge_method"];
