//! One connection from its first byte to its last: TLS, the version of HTTP, guard, codec, handler.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt, BufReader};

use super::body::RequestBody;
use super::forwarded;
use super::guard::{Guard, Stir, Timeouts};
use super::h2;
use super::head::{HeadLimits, WireFault};
use super::line::{Line, Message};
use super::listen::{Accepted, Doors, Share};
use super::opening::{First, LATECOMER, Opening, Replayed, opening};
use super::stream::{Peer, Stream, Transport};
use super::tls::{self, ServerTls};
use crate::clock::{Deadline, Sweep};

/// What a request came as.
pub struct Arrival {
    /// The guard's verdict; a refused message comes with a stand-in for its request.
    pub verdict: Result<Message, WireFault>,
    /// The connection, for what concerns it as a whole.
    pub line: Rc<Line>,
    /// Which listener it came by, in the order of the configuration.
    pub listener: usize,
    /// Who is at the other end.
    pub peer: Peer,
    /// The listener's doors, when a trusted proxy is at the other end.
    pub(super) behind: Option<Arc<Doors>>,
}

impl Arrival {
    /// The client that a trusted proxy names, and its share of what one client may have at once; none where it has all
    /// of that already. Nothing where nobody speaks for another.
    pub fn forwarded(&self, headers: &HeaderMap) -> Option<(IpAddr, Option<Share>)> {
        let doors = self.behind.as_ref()?;
        let client = forwarded::client(headers, self.peer.ip()?, |address| doors.trusts(address));
        Some((client, doors.share(client)))
    }
}

/// What answers requests.
pub trait Handler: 'static {
    /// The body of its answers.
    type Body: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + Unpin + 'static;

    /// Answers one request; always.
    fn handle(
        self: Rc<Self>,
        arrival: Arrival,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Response<Self::Body>> + 'static;
}

/// Whether a worker's connections shall come to an end.
#[derive(Default)]
pub struct Drain(Cell<Stage>);

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Serving,
    Leaving,
    Draining,
    Gone,
}

impl Drain {
    /// From now on each answer says that it is the last of its connection.
    pub fn announce(&self) {
        self.0.set(Stage::Leaving);
    }

    /// From now on idle connections end, and busy ones after the answer they are at.
    pub fn begin(&self, sweep: &Sweep) {
        self.0.set(Stage::Draining);
        sweep.wake_all();
    }

    /// From now on what is still in flight is dropped, by us and not by the clients.
    pub fn abandon(&self) {
        self.0.set(Stage::Gone);
    }

    /// Whether what is in flight is dropped.
    pub fn is_gone(&self) -> bool {
        self.0.get() == Stage::Gone
    }

    /// Whether answers shall say `Connection: close`.
    pub fn is_leaving(&self) -> bool {
        self.0.get() != Stage::Serving
    }

    /// Whether no further request is taken.
    pub fn is_draining(&self) -> bool {
        matches!(self.0.get(), Stage::Draining | Stage::Gone)
    }
}

/// How the connections of one listener are served.
#[derive(Clone)]
pub struct Rules {
    /// The sizes of heads.
    pub limits: HeadLimits,
    /// How long clients may take.
    pub timeouts: Timeouts,
    /// With it the listener speaks TLS only.
    pub tls: Option<Arc<ServerTls>>,
    /// Who may come in.
    pub doors: Arc<Doors>,
}

/// What the connections of one worker have in common.
pub struct Edge<H> {
    /// Who answers.
    pub handler: Rc<H>,
    /// How connections are served, in the order of the listeners.
    pub rules: Vec<Rules>,
    /// The worker's clock.
    pub sweep: Rc<Sweep>,
    /// Whether it is time to go.
    pub drain: Rc<Drain>,
}

/// Serves one connection to its end.
pub async fn serve<H: Handler>(edge: Rc<Edge<H>>, accepted: Accepted) {
    let Accepted { socket, peer, listener, pass } = accepted;
    let rules = &edge.rules[listener];
    let transport = match Transport::of(socket, peer) {
        Ok(transport) => transport,
        Err(error) => return tracing::warn!(%error, "a connection could not be watched"),
    };
    let served = match &rules.tls {
        None => serve_stream(&edge, rules, Stream::Plain(transport), peer, listener).await,
        // A handshake is rare and its state large: in a box it does not weigh on every other connection.
        Some(tls) => Box::pin(serve_tls(&edge, rules, tls, transport, peer, listener)).await,
    };
    if let Err(error) = served {
        tracing::debug!(?peer, %error, "a connection ended early");
    }
    drop(pass);
}

async fn serve_tls<H: Handler>(
    edge: &Rc<Edge<H>>,
    rules: &Rules,
    tls: &ServerTls,
    transport: Transport,
    peer: Peer,
    listener: usize,
) -> io::Result<()> {
    let io = BufReader::with_capacity(READ_AHEAD, transport);
    let shaken = tokio::time::timeout(rules.timeouts.head, tls.acceptor().accept(io)).await;
    let stream = shaken.map_err(|_| io::ErrorKind::TimedOut)??;
    let speaks_h2 = stream.get_ref().1.alpn_protocol() == Some(tls::H2);
    let stream = Stream::Tls(Box::new(stream));
    if speaks_h2 {
        h2::serve(edge, rules, stream, peer, listener).await;
        return Ok(());
    }
    serve_stream(edge, rules, stream, peer, listener).await
}

/// Serves what the first bytes say that it is.
async fn serve_stream<H: Handler>(
    edge: &Rc<Edge<H>>,
    rules: &Rules,
    mut stream: Stream,
    peer: Peer,
    listener: usize,
) -> io::Result<()> {
    match opening(&mut stream, rules.timeouts, &edge.sweep, &edge.drain).await? {
        Opening::Nothing => {}
        Opening::H1(first) => serve_h1(edge, rules, stream, first, peer, listener).await,
        Opening::H2(first) => {
            // Large, and not everybody's.
            Box::pin(h2::serve(edge, rules, Replayed::new(first, stream), peer, listener)).await;
        }
    }
    Ok(())
}

/// Serves HTTP/1; between two spells of requests a connection owns neither a codec nor its buffers.
async fn serve_h1<H: Handler>(
    edge: &Rc<Edge<H>>,
    rules: &Rules,
    stream: Stream,
    first: First,
    peer: Peer,
    listener: usize,
) {
    let mut guard = Guard::new(stream, first, rules.limits, rules.timeouts, &edge.sweep);
    // In a box, which is gone while the connection rests.
    while let Some(resting) = Box::pin(converse(edge, rules, guard, peer, listener)).await {
        guard = resting;
        if rest(edge, &mut guard).await == Stir::End {
            // Whoever has left does not hear it.
            let _ = guard.shutdown().await;
            return;
        }
    }
}

/// Waits for the next request, as long as the guard allows and the worker goes on.
async fn rest<H: Handler>(edge: &Edge<H>, guard: &mut Guard<Stream>) -> Stir {
    poll_fn(|cx| {
        let stir = guard.poll_stir(cx);
        if stir.is_pending() && edge.drain.is_draining() {
            guard.line().hurry();
            return Poll::Ready(Stir::End);
        }
        stir
    })
    .await
}

/// Serves requests until the connection has ended, or for a while had none; then it is given back.
async fn converse<H: Handler>(
    edge: &Rc<Edge<H>>,
    rules: &Rules,
    guard: Guard<Stream>,
    peer: Peer,
    listener: usize,
) -> Option<Guard<Stream>> {
    let line = guard.line();
    let behind = rules.behind(peer);
    let service = service_fn(|request: Request<Incoming>| {
        // The codec hands over one request for each verdict; without one it made the request up.
        let verdict = line.pop().unwrap_or(Err(WireFault::Malformed("the request was not seen on the wire")));
        let number = verdict.map_or(0, |message| message.number);
        let arrival = Arrival { verdict, line: line.clone(), listener, peer, behind: behind.clone() };
        let request = request.map(|incoming| RequestBody::guarded(incoming, &line, number));
        let answer = edge.handler.clone().handle(arrival, request);
        async { Ok::<_, Infallible>(answer.await) }
    });
    let mut connection = codec(&rules.limits).serve_connection(TokioIo::new(guard), service);
    let (mut told, mut patience) = (false, None);
    let mut idleness = Idleness { deadline: Deadline::new(&edge.sweep), after: 0 };
    let ended = poll_fn(|cx| {
        loop {
            if let Poll::Ready(ended) = Pin::new(&mut connection).poll(cx) {
                return Poll::Ready(Some(ended));
            }
            if told || !edge.drain.is_draining() {
                return idleness.poll_passed(&line, cx).map(|()| None);
            }
            if line.judged() == 0 {
                // Told now it would close on a client that is about to ask; one that does not is not waited for.
                let patience = patience.get_or_insert_with(|| {
                    let deadline = Deadline::new(&edge.sweep);
                    deadline.set(LATECOMER);
                    deadline
                });
                ready!(patience.poll_passed(cx));
            }
            told = true;
            line.hurry();
            Pin::new(&mut connection).graceful_shutdown();
        }
    })
    .await;
    match ended {
        None => {
            let parts = connection.into_parts();
            let mut guard = parts.io.into_inner();
            guard.take_back(&parts.read_buf);
            return Some(guard);
        }
        Some(Err(error)) => tracing::debug!(?peer, %error, "a connection ended early"),
        Some(Ok(())) => {}
    }
    None
}

/// How long a connection has been idle.
struct Idleness {
    deadline: Deadline,
    /// After how many requests the deadline was set.
    after: u64,
}

impl Idleness {
    /// Ready once the connection has been idle for [`REST_AFTER`].
    fn poll_passed(&mut self, line: &Line, cx: &mut Context<'_>) -> Poll<()> {
        if !line.is_idle() {
            return Poll::Pending;
        }
        if self.after != line.judged() {
            self.after = line.judged();
            self.deadline.set(REST_AFTER);
        }
        self.deadline.poll_passed(cx)
    }
}

impl Rules {
    /// The doors, when a trusted proxy is at the other end.
    pub(super) fn behind(&self, peer: Peer) -> Option<Arc<Doors>> {
        peer.ip().filter(|address| self.doors.trusts(*address)).map(|_| self.doors.clone())
    }
}

fn codec(limits: &HeadLimits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    // Time is the guard's: the codec's own head time-out would end idle connections as well.
    builder.header_read_timeout(None).max_buf_size(BUFFER.max(limits.bytes + BUFFER / 4));
    if limits.lines > CODEC_LINES {
        builder.max_headers(limits.lines);
    }
    builder
}

/// The most that the codec buffers, in bytes.
const BUFFER: usize = 256 * 1024;
/// The header lines that the codec takes without allocating for them.
const CODEC_LINES: usize = 100;
/// How long a connection is idle before its codec is let go: making another costs little, keeping it 16 KB.
const REST_AFTER: Duration = Duration::from_secs(1);
/// How much is read at once below TLS: more than the largest record.
const READ_AHEAD: usize = 32 * 1024;
