//! Asks Close whether it still takes a credential: one `GET /api/v1/me/`, which every key may do and which costs little.

use std::convert::Infallible;
use std::error::Error as _;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, HOST, USER_AGENT};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
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
    match tokio::time::timeout(LIMIT, exchange(dial, origin, authorization)).await {
        Err(_) => Verdict::Undecided(Undecided::TimedOut),
        Ok(Err(undecided)) => Verdict::Undecided(undecided),
        Ok(Ok(StatusCode::UNAUTHORIZED)) => Verdict::Rejected,
        Ok(Ok(status)) if status.is_success() => Verdict::Accepted,
        Ok(Ok(status)) => Verdict::Undecided(Undecided::Answered(status)),
    }
}

async fn exchange(dial: &dyn Dial, origin: &Origin, authorization: Authorization) -> Result<StatusCode, Undecided> {
    let stream = dial.dial(origin).await.map_err(Undecided::Unreachable)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|_| Undecided::Broken)?;
    let request = question(origin, authorization).map_err(|_| Undecided::Broken)?;
    let driven = async {
        // Its end, good or bad, also ends the request; that is where it is judged.
        drop(connection.await);
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        answer = sender.send_request(request) => answer.map(|answer| answer.status()).map_err(|_| Undecided::Broken),
        never = driven => match never {},
    }
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
