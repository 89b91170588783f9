//! A request on its way out: its head becomes fields (RFC 9113 8.3.1), its body streams as fast as the peer's windows allow.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http::header::{CONTENT_LENGTH, HOST, HeaderValue};
use http::uri::{Parts, Scheme};
use http::{Method, Request, Uri, Version};

use crate::origin::{self, Origin};
use crate::upstream::{Announced, Broken, Owed, Upload};

/// What is left to be sent of a request's body.
pub(super) struct Sending<B> {
    stream: SendStream<Bytes>,
    body: B,
    owed: Owed,
    /// A piece of the body that is not wholly handed over.
    piece: Bytes,
    /// Bytes handed over.
    sent: u64,
    /// Whether the body was asked for a piece: then the request cannot be sent again.
    touched: bool,
    /// Whether the next move is the client's.
    waits: bool,
    done: bool,
}

/// Why a request was not sent to its end.
#[derive(Debug)]
pub(super) enum Unsent {
    /// The stream does not take more; why shows in the answer.
    Stream,
    /// Its own body ended early, or is not as long as was said.
    Body,
}

impl From<Broken> for Unsent {
    fn from(Broken: Broken) -> Self {
        Self::Body
    }
}

/// The head as fields: names are in lower case already, and what `Host` said is `:authority`.
pub(super) fn head<B: Upload>(request: &Request<()>, body: &B, origin: &Origin) -> Request<()> {
    let mut parts = Parts::default();
    parts.scheme = Some(match origin.scheme() {
        origin::Scheme::Https => Scheme::HTTPS,
        origin::Scheme::Http => Scheme::HTTP,
    });
    parts.authority = Some(origin.uri_authority().clone());
    parts.path_and_query = request.uri().path_and_query().cloned();
    let mut headers = request.headers().clone();
    headers.remove(HOST);
    if let Announced::Length(length) = Announced::of(request.method(), body) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    let mut head = Request::new(());
    *head.method_mut() = request.method().clone();
    // Scheme, authority and a path make a URI.
    *head.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    *head.version_mut() = Version::HTTP_2;
    *head.headers_mut() = headers;
    head
}

impl<B: Upload> Sending<B> {
    /// The body of a request whose head has gone; `done` when the head said that there is none.
    pub(super) fn new(stream: SendStream<Bytes>, method: &Method, body: B, done: bool) -> Self {
        let owed = Owed::of(&Announced::of(method, &body));
        Self { stream, body, owed, piece: Bytes::new(), sent: 0, touched: false, waits: false, done }
    }

    /// Bytes that the stream has taken.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// Whether the next move is the client's: a piece of the body has not come yet.
    pub(super) fn waits_for_body(&self) -> bool {
        self.waits
    }

    /// Whether the stream has all of it.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// The body, if nothing of it was taken: then the request may be sent again.
    pub(super) fn into_untouched(self) -> Option<B> {
        (!self.touched).then_some(self.body)
    }

    /// Sends no more, and tells the peer why, unless it has everything.
    pub(super) fn stop(&mut self, reason: Reason) {
        if !self.done {
            self.stream.send_reset(reason);
            self.done = true;
        }
    }

    /// Hands over until everything is handed over; one piece is held at a time.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Unsent>> {
        while !self.done {
            if self.piece.is_empty() {
                ready!(self.poll_piece(cx))?;
            } else {
                ready!(self.poll_hand_over(cx))?;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Gets the next piece of the body, or ends the stream with the body.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Unsent>> {
        if self.body.is_end_stream() {
            return Poll::Ready(self.end());
        }
        self.touched = true;
        self.waits = true;
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        self.waits = false;
        match frame {
            Some(Ok(frame)) => {
                // Trailers do not go on.
                self.piece = frame.into_data().unwrap_or_default();
                self.owed.keep(self.piece.len())?;
                Poll::Ready(Ok(()))
            }
            Some(Err(_)) => Poll::Ready(Err(Unsent::Body)),
            None => Poll::Ready(self.end()),
        }
    }

    fn end(&mut self) -> Result<(), Unsent> {
        self.owed.end()?;
        self.done = true;
        self.stream.send_data(Bytes::new(), true).map_err(|_| Unsent::Stream)
    }

    /// Hands over as much of the piece as there is room for.
    fn poll_hand_over(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Unsent>> {
        self.stream.reserve_capacity(self.piece.len());
        while self.stream.capacity() == 0 {
            match ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Poll::Ready(Err(Unsent::Stream)),
            }
        }
        let part = self.piece.split_to(self.stream.capacity().min(self.piece.len()));
        self.sent += part.len() as u64;
        self.done = self.piece.is_empty() && self.body.is_end_stream();
        Poll::Ready(self.stream.send_data(part, self.done).map_err(|_| Unsent::Stream))
    }
}
