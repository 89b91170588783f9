//! HTTP/2 in front (RFC 9113): the same requests for the same handler, within bounds that no flood gets past.
//!
//! The codec refuses what is malformed on the wire. Here a request is given the form of an HTTP/1 one, its sizes are
//! held to the listener's limits, and time is kept: for a connection without requests, and for a client that takes
//! nothing of an answer.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderValue};
use http::uri::{PathAndQuery, Uri};
use http::{Method, Request, Response};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite};

use super::body::RequestBody;
use super::head::{self, HeadLimits, WireFault};
use super::line::{Line, Message};
use super::opening::LATECOMER;
use super::serve::{Arrival, Edge, Handler, Rules};
use super::stream::Peer;
use crate::clock::{Deadline, Sweep};
use crate::task;

/// Serves one connection to its end.
pub(super) async fn serve<H: Handler, IO: AsyncRead + AsyncWrite + Unpin>(
    edge: &Rc<Edge<H>>,
    rules: &Rules,
    io: IO,
    peer: Peer,
    listener: usize,
) {
    let streams = Streams::new(&edge.sweep, rules.timeouts.idle);
    let behind = rules.behind(peer);
    let line = Line::new(Rc::new(Deadline::new(&edge.sweep)), rules.timeouts.idle);
    let number = Cell::new(0);
    let service = service_fn(|request: Request<Incoming>| {
        number.set(number.get() + 1);
        let message = Message { number: number.get(), at: Instant::now() };
        let scope = if request.method() == Method::HEAD { Scope::Head } else { Scope::Whole };
        let (request, verdict) = admit(request, &rules.limits);
        let arrival =
            Arrival { verdict: verdict.map(|()| message), line: line.clone(), listener, peer, behind: behind.clone() };
        let body = |incoming| RequestBody::of_stream(incoming, || Deadline::new(&edge.sweep), rules.timeouts.body);
        let answer = edge.handler.clone().handle(arrival, request.map(body));
        let last = streams.0.last.clone();
        async move {
            let mut answer = answer.await;
            // A connection is ended by a frame (RFC 9113 8.2.2).
            answer.headers_mut().remove(CONNECTION);
            if scope == Scope::Head {
                tell_length(&mut answer);
            }
            Ok::<_, Infallible>(answer.map(|body| Noted { body, scope, last }))
        }
    });
    let connection = codec(&rules.limits, &streams).serve_connection(TokioIo::new(io), service);
    let mut connection = pin!(connection);
    let rest = Deadline::new(&edge.sweep);
    let mut stage = Stage::Serving;
    let mut resting = false;
    let ended = poll_fn(|cx| {
        if edge.drain.is_leaving() && stage == Stage::Serving {
            // Whoever rests already does so for as long as one that is told to go.
            (stage, resting) = (Stage::Ending, false);
            connection.as_mut().graceful_shutdown();
        }
        loop {
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                return Poll::Ready(ended);
            }
            streams.0.connection.replace(Some(cx.waker().clone()));
            match (streams.0.live.get() == 0, resting) {
                (true, false) => rest.set(match (stage, number.get()) {
                    (Stage::Serving, _) => rules.timeouts.idle,
                    (Stage::Ending, 0) => LATECOMER,
                    (Stage::Ending, _) => LINGER,
                }),
                (false, true) => rest.clear(),
                _ => {}
            }
            resting = streams.0.live.get() == 0;
            if rest.poll_passed(cx).is_pending() {
                return Poll::Pending;
            }
            if stage == Stage::Ending {
                return Poll::Ready(Ok(()));
            }
            (stage, resting) = (Stage::Ending, false);
            connection.as_mut().graceful_shutdown();
        }
    });
    if let Err(error) = ended.await {
        tracing::debug!(?peer, %error, "a connection ended early");
    }
}

/// Where a connection is in its life.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Serving,
    /// The client was told to go.
    Ending,
}

fn codec(limits: &HeadLimits, streams: &Streams) -> http2::Builder<Streams> {
    let mut builder = http2::Builder::new(streams.clone());
    // A list that is too large for the codec is refused without a record: it gets room, and ours is the tighter bound.
    let list = limits.bytes + limits.lines * ENTRY + HEAD_ROOM;
    builder
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_local_error_reset_streams(MAX_RESETS)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_header_list_size(u32::try_from(list).unwrap_or(u32::MAX));
    builder
}

/// The request in the form of HTTP/1: origin form, the authority as `Host`; or what is wrong with it.
fn admit(request: Request<Incoming>, limits: &HeadLimits) -> (Request<Incoming>, Result<(), WireFault>) {
    let (mut parts, body) = request.into_parts();
    let verdict = judge(&parts, limits);
    if let (Ok(()), Some(authority)) = (&verdict, parts.uri.authority())
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        parts.headers.insert(HOST, host);
    }
    let target = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    parts.uri = Uri::from(target);
    (Request::from_parts(parts, body), verdict)
}

fn judge(parts: &http::request::Parts, limits: &HeadLimits) -> Result<(), WireFault> {
    if parts.method == Method::CONNECT {
        return Err(WireFault::Method);
    }
    if !head::is_method(parts.method.as_str().as_bytes()) {
        return Err(WireFault::Malformed("the method is not of the letters A to Z"));
    }
    let target = parts.uri.path_and_query().map_or("", PathAndQuery::as_str);
    if target.len() > limits.uri {
        return Err(WireFault::UriTooLong);
    }
    let fields = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD_REST);
    let bytes = parts.method.as_str().len() + target.len() + fields.sum::<usize>();
    if parts.headers.len() > limits.lines || bytes > limits.bytes {
        return Err(WireFault::HeadTooLarge);
    }
    if !parts.uri.scheme_str().is_none_or(|scheme| matches!(scheme, "http" | "https")) {
        return Err(WireFault::Malformed("the scheme is neither `http` nor `https`"));
    }
    judge_authority(parts)?;
    judge_fields(&parts.headers)?;
    head::judge_target(target.as_bytes())
}

/// What the codec lets through: blanks round a value (RFC 9113 8.2.1), and lengths in more than one way.
fn judge_fields(headers: &HeaderMap) -> Result<(), WireFault> {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    if headers.values().any(|value| is_blank(value.as_bytes().first()) || is_blank(value.as_bytes().last())) {
        return Err(WireFault::Malformed("a header's value begins or ends with a blank"));
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let Some(length) = lengths.next() else { return Ok(()) };
    head::judge_length(length.as_bytes())?;
    lengths.next().map_or(Ok(()), |_| Err(head::TWO_LENGTHS))
}

/// RFC 9113 8.3.1: `:authority` and `Host` are one thing said twice.
fn judge_authority(parts: &http::request::Parts) -> Result<(), WireFault> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    let named = match (authority, host) {
        (_, Some(_)) if second.is_some() => return Err(head::TWO_HOSTS),
        (Some(authority), Some(host)) if !host.as_bytes().eq_ignore_ascii_case(authority.as_bytes()) => {
            return Err(WireFault::Malformed("`:authority` and Host differ"));
        }
        (Some(authority), _) => authority.as_bytes(),
        (None, Some(host)) => host.as_bytes(),
        (None, None) => return Err(WireFault::Malformed("there is neither `:authority` nor Host")),
    };
    if head::judge_authority(named) { Ok(()) } else { Err(WireFault::Malformed("the authority is none")) }
}

/// The streams of one connection, each a task of its own.
#[derive(Clone)]
struct Streams(Rc<State>);

struct State {
    live: Cell<usize>,
    /// What the body did that was polled last.
    last: Rc<Cell<Option<Handed>>>,
    sweep: Rc<Sweep>,
    idle: Duration,
    /// Who wants to know when no stream is left.
    connection: RefCell<Option<Waker>>,
}

/// What a body gave when it was asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Handed {
    /// A piece: the next move is the client's.
    Piece,
    /// Nothing yet.
    Nothing,
}

impl Streams {
    fn new(sweep: &Rc<Sweep>, idle: Duration) -> Self {
        Self(Rc::new(State {
            live: Cell::new(0),
            last: Rc::default(),
            sweep: sweep.clone(),
            idle,
            connection: RefCell::default(),
        }))
    }
}

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, future: F) {
        self.0.live.set(self.0.live.get() + 1);
        let live = Live(self.0.clone());
        task::spawn_local(Stream { future, live, stalled: None });
    }
}

/// A stream that is counted while it lives.
struct Live(Rc<State>);

impl Drop for Live {
    fn drop(&mut self) {
        self.0.live.set(self.0.live.get() - 1);
        if self.0.live.get() == 0
            && let Some(connection) = self.0.connection.take()
        {
            connection.wake();
        }
    }
}

pin_project! {
    /// The task of a stream; it ends, and with it the stream, when the client takes nothing for the idle time.
    struct Stream<F> {
        #[pin]
        future: F,
        live: Live,
        stalled: Option<Deadline>,
    }
}

impl<F: Future<Output = ()>> Future for Stream<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let state = &this.live.0;
        state.last.set(None);
        if this.future.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        match state.last.get() {
            Some(Handed::Piece) => {
                let deadline = this.stalled.get_or_insert_with(|| Deadline::new(&state.sweep));
                deadline.set(state.idle);
            }
            Some(Handed::Nothing) => *this.stalled = None,
            // It was not asked: whatever held up still does.
            None => {}
        }
        this.stalled.as_ref().map_or(Poll::Pending, |deadline| deadline.poll_passed(cx))
    }
}

/// How much of an answer is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    Whole,
    /// Its head alone: the codec does not know that HEAD asks for no more (RFC 9110 9.3.2).
    Head,
}

/// Says how long the body is that is not sent, where that is known and not said.
fn tell_length<B: Body>(answer: &mut Response<B>) {
    if let Some(length @ 1..) = answer.body().size_hint().exact() {
        answer.headers_mut().entry(CONTENT_LENGTH).or_insert_with(|| length.into());
    }
}

/// An answer's body that notes what it gave.
struct Noted<B> {
    body: B,
    scope: Scope,
    last: Rc<Cell<Option<Handed>>>,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Noted<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        if this.scope == Scope::Head {
            return Poll::Ready(None);
        }
        let frame = Pin::new(&mut this.body).poll_frame(cx);
        this.last.set(Some(if frame.is_ready() { Handed::Piece } else { Handed::Nothing }));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.scope == Scope::Head || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.scope {
            Scope::Whole => self.body.size_hint(),
            // The codec would say that it is 0 bytes long.
            Scope::Head => SizeHint::default(),
        }
    }
}

/// Requests at once on one connection.
const MAX_STREAMS: u32 = 100;
/// How much of one request's body is taken before somebody reads it, in bytes.
const STREAM_WINDOW: u32 = 256 * 1024;
/// The same for all requests of a connection.
const CONNECTION_WINDOW: u32 = 2 * 1024 * 1024;
/// How much of one answer waits for a client that does not take it, in bytes.
const SEND_BUFFER: usize = 64 * 1024;
/// Streams that the codec had to reset for the client's faults before it ends the connection (CVE-2025-8671).
const MAX_RESETS: usize = 64;
/// Streams that the client opened and reset before they were looked at (CVE-2023-44487).
const PENDING_RESETS: usize = 20;
/// What HPACK counts for an entry beside its name and value (RFC 7541 4.1).
const ENTRY: usize = 32;
/// What the codec takes beyond our own bound, in bytes.
const HEAD_ROOM: usize = 256 * 1024;
/// What a header line has beside its name and value: `: ` and the end of the line.
const FIELD_REST: usize = 4;
/// How long a client that has asked for something and was told to go is waited for.
const LINGER: Duration = Duration::from_secs(5);
