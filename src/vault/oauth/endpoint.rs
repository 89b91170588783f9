//! One question to a token endpoint: a form there, a small answer back, within 10 s, and no redirect is followed.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use zeroize::Zeroizing;

use crate::config::Endpoint;
use crate::vault::needle;
use crate::vault::probe::Dial;

/// What came back.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// How long it asks to be left alone.
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Zeroizing<Vec<u8>>,
}

/// Why nothing came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Silence {
    /// No byte of the question was sent.
    Unasked(String),
    /// Whether it was heard is not known.
    Unanswered(&'static str),
}

/// A form in the making.
pub(super) struct Form(Zeroizing<Vec<u8>>);

impl Form {
    pub(super) fn new() -> Self {
        Self(Zeroizing::new(Vec::with_capacity(LARGEST_FORM)))
    }

    /// The form with a value more.
    pub(super) fn with(mut self, name: &str, value: &[u8]) -> Self {
        if !self.0.is_empty() {
            self.0.push(b'&');
        }
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(b'=');
        self.0.extend_from_slice(&needle::form(value));
        self
    }
}

/// Sends a form, with `authorization` if there is one.
pub(super) async fn post(
    dial: &dyn Dial,
    to: &Endpoint,
    form: Form,
    authorization: Option<HeaderValue>,
) -> Result<Answer, Silence> {
    let stream = dial.dial(to.origin()).await.map_err(Silence::Unasked)?;
    let shaken = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(|_| Silence::Unasked("the connection was closed".to_owned()))?;
    let request = question(to, form, authorization).map_err(|error| Silence::Unasked(error.to_string()))?;
    let driven = async {
        // Its end, good or bad, also ends the exchange; that is where it is judged.
        drop(connection.await);
        std::future::pending::<Infallible>().await
    };
    let asked = async {
        let answer = sender.send_request(request).await.map_err(|_| Silence::Unanswered("gave no valid answer"))?;
        let (head, body) = answer.into_parts();
        let retry_after = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let body = Limited::new(body, LARGEST_ANSWER).collect().await;
        let body = body.map_err(|_| Silence::Unanswered("gave an answer that is cut or too long"))?.to_bytes();
        Ok(Answer {
            status: head.status,
            retry_after: retry_after.map(Duration::from_secs),
            body: Zeroizing::new(body.to_vec()),
        })
    };
    tokio::select! {
        answer = asked => answer,
        never = driven => match never {},
    }
}

fn question(to: &Endpoint, form: Form, authorization: Option<HeaderValue>) -> http::Result<Request<Full<Bytes>>> {
    let mut request = Request::post(to.target())
        .header(HOST, to.origin().authority())
        .header(ACCEPT, HeaderValue::from_static("application/json"))
        .header(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"))
        .header(USER_AGENT, HeaderValue::from_static(concat!("closegate/", env!("CARGO_PKG_VERSION"))))
        .body(Full::new(Bytes::from_owner(form.0)))?;
    request.headers_mut().extend(authorization.map(|value| (AUTHORIZATION, value)));
    Ok(request)
}

/// Room for two tokens and more, so that a form never moves and leaves a copy behind.
const LARGEST_FORM: usize = 64 * 1024;
const LARGEST_ANSWER: usize = 64 * 1024;
