//! From a request to Close's answer: the slash redirect, who may, how often, and what each endpoint does.

use http::header::{ALLOW, LOCATION};
use http::{Method, StatusCode};
use serde_json::Value;

use super::accepted::Accepted;
use super::answer::{self, Answer};
use super::oauth;
use super::params::Params;
use super::probe;
use super::records::{Failure, Fields, Resource};
use super::shared::World;
use super::wire::Head;

/// A request whose body has arrived.
pub(super) struct Request<'a> {
    pub(super) head: &'a Head,
    pub(super) body: &'a [u8],
    /// `https` on a simulator that speaks TLS.
    pub(super) scheme: &'static str,
}

/// The whole answer, with the headers that every answer of Close carries.
pub(super) fn answer(world: &mut World, request: &Request<'_>) -> Answer {
    let mut answer = route(world, request);
    let trace = world.ids.trace();
    answer::dress(answer.headers_mut(), &trace);
    answer
}

fn route(world: &mut World, request: &Request<'_>) -> Answer {
    if let Some(answer) = oauth::answer(world, request) {
        return answer;
    }
    let path = with_single_slashes(request.head.path());
    let Some(endpoint) = Endpoint::find(&path) else { return unknown_url() };
    if !path.ends_with('/') && !matches!(endpoint, Endpoint::Probe(_)) {
        return slash_redirect(request, &path);
    }
    let caller = world.identify(request.head);
    let standing = world.count(caller.as_ref(), &format!("{} {}", request.head.method, endpoint.group()));
    let mut answer = match caller {
        None => answer::error(StatusCode::UNAUTHORIZED, "Unauthorized"),
        Some(_) if standing.exceeded => {
            answer::json(StatusCode::TOO_MANY_REQUESTS, &standing.refusal(world.rate.style))
        }
        Some(caller) => serve(world, &caller, &endpoint, request),
    };
    standing.announce(world.rate.style, answer.headers_mut());
    answer
}

/// What a path names.
enum Endpoint<'p> {
    Me,
    Search,
    Collection(Resource),
    Item(Resource, &'p str),
    Recording(&'p str),
    Probe(&'p str),
}

impl<'p> Endpoint<'p> {
    fn find(path: &'p str) -> Option<Self> {
        if let Some(probe) = path.strip_prefix("/sim/") {
            return Some(Self::Probe(probe));
        }
        let segments: Vec<_> = path.trim_matches('/').split('/').collect();
        match segments.as_slice() {
            ["call", id, "recording"] => Some(Self::Recording(id)),
            ["api", "v1", "me"] => Some(Self::Me),
            ["api", "v1", "data", "search"] => Some(Self::Search),
            ["api", "v1", "activity"] => Some(Self::Collection(Resource::Activity)),
            ["api", "v1", "activity", kind] => Some(Self::Collection(activity(kind)?)),
            ["api", "v1", "activity", kind, id] => Some(Self::Item(activity(kind)?, id)),
            ["api", "v1", kind] => Some(Self::Collection(object(kind)?)),
            ["api", "v1", kind, id] => Some(Self::Item(object(kind)?, id)),
            _ => None,
        }
    }

    /// The part of an endpoint group that the path decides.
    fn group(&self) -> String {
        match self {
            Self::Me => "me".to_owned(),
            Self::Search => "search".to_owned(),
            Self::Recording(_) => "recording".to_owned(),
            Self::Probe(_) => "probe".to_owned(),
            Self::Collection(resource) => format!("{resource:?}"),
            Self::Item(resource, _) => format!("{resource:?} item"),
        }
    }
}

fn object(kind: &str) -> Option<Resource> {
    match kind {
        "lead" => Some(Resource::Lead),
        "contact" => Some(Resource::Contact),
        "opportunity" => Some(Resource::Opportunity),
        _ => None,
    }
}

fn activity(kind: &str) -> Option<Resource> {
    match kind {
        "note" => Some(Resource::Note),
        "call" => Some(Resource::Call),
        _ => None,
    }
}

fn serve(world: &mut World, caller: &Accepted, endpoint: &Endpoint<'_>, request: &Request<'_>) -> Answer {
    if let Endpoint::Probe(what) = endpoint {
        return probe::answer(what, request.head, caller);
    }
    let Some(method) = effective_method(request.head) else {
        return answer::error(StatusCode::BAD_REQUEST, "Invalid method override.");
    };
    match operate(world, caller, endpoint, &method, request) {
        Ok(Some(answer)) => answer,
        Ok(None) => method_not_allowed(endpoint),
        Err(failure) => answer::json(failure.status, &failure.body),
    }
}

/// The method as `X-HTTP-Method-Override` on a POST leaves it (close-api.md 5.8); HEAD is answered as GET.
fn effective_method(head: &Head) -> Option<Method> {
    let overriding = if head.method == "POST" { head.text("x-http-method-override") } else { None };
    match overriding.unwrap_or(&head.method) {
        "HEAD" if overriding.is_none() => Some(Method::GET),
        written if overriding.is_some() && !matches!(written, "GET" | "POST" | "PUT" | "DELETE") => None,
        written => Method::from_bytes(written.as_bytes()).ok(),
    }
}

/// Does what the endpoint does for a method; none when it does not know the method.
fn operate(
    world: &mut World,
    caller: &Accepted,
    endpoint: &Endpoint<'_>,
    method: &Method,
    request: &Request<'_>,
) -> Result<Option<Answer>, Failure> {
    let body = parse_body(request.body)?;
    let mut params = Params::parse(request.head.query());
    params.absorb(body.get("_params").unwrap_or(&Value::Null));
    let Some((organisation, ids)) = world.open(caller) else { return Ok(None) };
    let value = match (endpoint, method.as_str()) {
        (Endpoint::Me, "GET") => organisation.me(),
        (Endpoint::Search, "POST") => organisation.search(&Value::Object(body))?,
        (Endpoint::Recording(id), "GET") => {
            organisation.read(Resource::Call, id)?;
            return Ok(Some(recording(id)));
        }
        (Endpoint::Collection(resource), "GET") => organisation.list(*resource, &params)?,
        (Endpoint::Item(resource, id), "GET") => organisation.read(*resource, id)?,
        (Endpoint::Collection(resource), "POST") if resource.is_writable() => {
            organisation.create(*resource, body, ids)?
        }
        (Endpoint::Item(resource, id), "PUT") if resource.is_writable() => organisation.update(*resource, id, body)?,
        (Endpoint::Item(resource, id), "DELETE") if resource.is_writable() => organisation.delete(*resource, id)?,
        _ => return Ok(None),
    };
    Ok(Some(answer::json(StatusCode::OK, &value)))
}

fn parse_body(body: &[u8]) -> Result<Fields, Failure> {
    if body.is_empty() {
        return Ok(Fields::new());
    }
    serde_json::from_slice(body).map_err(|_| Failure::bad("The request body is not a JSON object."))
}

/// Recordings lie elsewhere, under a signed URL.
fn recording(id: &str) -> Answer {
    let place = format!("https://recordings.s3.example/{id}.mp3?X-Amz-Expires=60&X-Amz-Signature=0f1e2d3c");
    answer::with(answer::whole(StatusCode::FOUND, ""), LOCATION, &place)
}

/// A missing trailing slash is answered as Werkzeug does: 308 to an absolute URL of the host that was asked.
fn slash_redirect(request: &Request<'_>, path: &str) -> Answer {
    let host = request.head.text("host").unwrap_or("localhost");
    let query = request.head.query();
    let mark = if query.is_empty() { "" } else { "?" };
    let place = format!("{}://{host}{path}/{mark}{query}", request.scheme);
    let text = "<!doctype html>\n<html lang=en>\n<title>Redirecting...</title>\n<h1>Redirecting...</h1>\n";
    let answer = answer::typed(answer::whole(StatusCode::PERMANENT_REDIRECT, text), "text/html; charset=utf-8");
    answer::with(answer, LOCATION, &place)
}

fn unknown_url() -> Answer {
    let text = "The requested URL was not found on the server. If you entered the URL manually please check your \
                spelling and try again.";
    answer::error(StatusCode::NOT_FOUND, text)
}

fn method_not_allowed(endpoint: &Endpoint<'_>) -> Answer {
    let allowed = match endpoint {
        Endpoint::Collection(resource) if resource.is_writable() => "GET, HEAD, POST",
        Endpoint::Item(resource, _) if resource.is_writable() => "DELETE, GET, HEAD, PUT",
        Endpoint::Search => "POST",
        _ => "GET, HEAD",
    };
    let text = "The method is not allowed for the requested URL.";
    answer::with(answer::error(StatusCode::METHOD_NOT_ALLOWED, text), ALLOW, allowed)
}

/// The path with every run of slashes as one, as Close is taken to read it (close-api.md 1.4).
fn with_single_slashes(path: &str) -> String {
    let mut single = String::with_capacity(path.len());
    for letter in path.chars() {
        if letter != '/' || !single.ends_with('/') {
            single.push(letter);
        }
    }
    single
}
