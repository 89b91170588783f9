//! Asks Close whether it still takes a credential: one `GET /api/v1/me/`, which every key may do and which costs little.

use std::convert::Infallible;
use std::error::Error as _;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, HOST, USER_AGENT};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Collected, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};

use super::authorization::Authorization;
use crate::net::{ConnectError, Connector, Offer};
use crate::origin::Origin;

/// What Close says of a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It takes it (2xx).
    Accepted,
    /// It refuses it (401), which nothing else says for certain.
    Rejected,
    /// It said nothing of it.
    Undecided(Undecided),
}

/// Why there is no verdict.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Undecided {
    /// The vault has nothing to send.
    #[error("there is nothing to send: {0}")]
    Unavailable(&'static str),
    /// No connection came about.
    #[error("the upstream cannot be reached: {0}")]
    Unreachable(String),
    /// No answer came within 10 s.
    #[error("the upstream did not answer within 10 s")]
    TimedOut,
    /// The connection ended, or what came was no HTTP.
    #[error("the upstream gave no valid answer")]
    Broken,
    /// An answer that speaks of something else.
    #[error("the upstream answered {0}")]
    Answered(StatusCode),
}

/// Who somebody is at Close, in Close's words; no part of it is a secret, and none of it decides anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Introduction {
    /// The organization.
    pub organization: Option<Named>,
    /// The user.
    pub user: Option<Person>,
}

/// An organization's id and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Close's id.
    pub id: Option<String>,
    /// What it is called.
    pub name: Option<String>,
}

/// A user's id, names and address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Close's id.
    pub id: Option<String>,
    /// First and last name.
    pub name: Option<String>,
    /// The mail address.
    pub email: Option<String>,
}

/// A connection to an upstream.
pub(super) trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// A connection in the making; the text says why there is none.
pub(super) type Dialling<'a> = Pin<Box<dyn Future<Output = Result<Box<dyn Wire>, String>> + Send + 'a>>;

/// How a probe reaches an upstream: over the network, or in memory in the tests of this module.
pub(super) trait Dial: Send + Sync {
    /// Connects to the origin.
    fn dial<'a>(&'a self, origin: &'a Origin) -> Dialling<'a>;
}

impl Dial for Connector {
    fn dial<'a>(&'a self, origin: &'a Origin) -> Dialling<'a> {
        Box::pin(async move {
            let stream = self.connect(origin, Offer::Http1).await.map_err(|error| with_cause(&error))?;
            Ok(Box::new(stream) as Box<dyn Wire>)
        })
    }
}

/// Asks once, within 10 s; no redirect is followed and no body read.
pub(super) async fn ask(dial: &dyn Dial, origin: &Origin, authorization: Authorization) -> Verdict {
    match tokio::time::timeout(LIMIT, exchange(dial, origin, authorization, Want::Status)).await {
        Err(_) => Verdict::Undecided(Undecided::TimedOut),
        Ok(Err(undecided)) => Verdict::Undecided(undecided),
        Ok(Ok((status, _))) => verdict(status),
    }
}

/// The same, and who that is: an answer that is none of Close's says nothing, and is no fault.
pub(super) async fn introduce(
    dial: &dyn Dial,
    origin: &Origin,
    authorization: Authorization,
) -> (Verdict, Option<Introduction>) {
    match tokio::time::timeout(LIMIT, exchange(dial, origin, authorization, Want::Body)).await {
        Err(_) => (Verdict::Undecided(Undecided::TimedOut), None),
        Ok(Err(undecided)) => (Verdict::Undecided(undecided), None),
        Ok(Ok((status, body))) => (verdict(status), body.filter(|_| status.is_success()).and_then(|body| read(&body))),
    }
}

fn verdict(status: StatusCode) -> Verdict {
    match status {
        StatusCode::UNAUTHORIZED => Verdict::Rejected,
        status if status.is_success() => Verdict::Accepted,
        status => Verdict::Undecided(Undecided::Answered(status)),
    }
}

/// How much of an answer is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Want {
    Status,
    Body,
}

async fn exchange(
    dial: &dyn Dial,
    origin: &Origin,
    authorization: Authorization,
    want: Want,
) -> Result<(StatusCode, Option<Bytes>), Undecided> {
    let stream = dial.dial(origin).await.map_err(Undecided::Unreachable)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|_| Undecided::Broken)?;
    let request = question(origin, authorization).map_err(|_| Undecided::Broken)?;
    let driven = async {
        // Its end, good or bad, also ends the request; that is where it is judged.
        drop(connection.await);
        std::future::pending::<Infallible>().await
    };
    let asked = async {
        let answer = sender.send_request(request).await.map_err(|_| Undecided::Broken)?;
        let status = answer.status();
        let body = match want {
            Want::Status => None,
            // The status is there: a body that breaks off or is too long says nothing more.
            Want::Body => Limited::new(answer.into_body(), LONGEST).collect().await.ok().map(Collected::to_bytes),
        };
        Ok((status, body))
    };
    tokio::select! {
        answer = asked => answer,
        never = driven => match never {},
    }
}

/// Close's answer to `GET /api/v1/me/`: the user, and the organization of the credential, which is the only one or the
/// one of the membership. What is longer than a name should be is cut.
fn read(body: &[u8]) -> Option<Introduction> {
    let me: Value = serde_json::from_slice(body).ok()?;
    let text = |value: &Value, key: &str| {
        let text = value.get(key)?.as_str()?.trim();
        let text: String = text.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect();
        (!text.is_empty()).then_some(text)
    };
    let names = [text(&me, "first_name"), text(&me, "last_name")];
    let name = names.into_iter().flatten().collect::<Vec<_>>().join(" ");
    let user =
        Person { id: text(&me, "id"), name: Some(name).filter(|name| !name.is_empty()), email: text(&me, "email") };
    let organization = me.get("organizations").and_then(|all| all.get(0));
    let organization = organization.map(|one| Named { id: text(one, "id"), name: text(one, "name") });
    Some(Introduction {
        organization: organization.filter(|one| one.id.is_some() || one.name.is_some()),
        user: Some(user).filter(|user| user.id.is_some() || user.name.is_some() || user.email.is_some()),
    })
}

/// The fault and what is behind it.
fn with_cause(error: &ConnectError) -> String {
    error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

fn question(origin: &Origin, authorization: Authorization) -> http::Result<Request<Empty<Bytes>>> {
    let mut request = Request::get(format!("{}/api/v1/me/", origin.base()))
        .header(HOST, origin.authority())
        .header(ACCEPT, HeaderValue::from_static("application/json"))
        .header(USER_AGENT, HeaderValue::from_static(concat!("closegate/", env!("CARGO_PKG_VERSION"))))
        .body(Empty::new())?;
    authorization.inject(request.headers_mut());
    Ok(request)
}

const LIMIT: Duration = Duration::from_secs(10);
/// The longest answer that is read, in bytes.
const LONGEST: usize = 256 * 1024;
/// The longest name that is remembered, in characters.
const LONGEST_NAME: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_introduction_is_what_close_says_and_no_more() {
        let me = br#"{"id": "user_1", "first_name": "Ada", "last_name": "L.", "email": "a@example.com", "image": "x",
            "organizations": [{"id": "orga_1", "name": "Sales\nInc", "currency": "USD"}], "memberships": []}"#;
        let said = read(me).unwrap();
        let name = |text: &str| Some(text.to_owned());
        assert_eq!(said.user, Some(Person { id: name("user_1"), name: name("Ada L."), email: name("a@example.com") }));
        assert_eq!(said.organization, Some(Named { id: name("orga_1"), name: name("SalesInc") }));
        assert_eq!(read(b"{}").unwrap(), Introduction::default());
        assert_eq!(read(b"<html>"), None);
        let long = format!("{{\"id\": \"{}\"}}", "x".repeat(1000));
        assert_eq!(read(long.as_bytes()).unwrap().user.unwrap().id.unwrap().len(), LONGEST_NAME);
    }
}
