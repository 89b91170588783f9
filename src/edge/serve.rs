//! One connection from its first byte to its last: guard, codec, handler.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::guard::{Guard, Timeouts};
use super::head::{HeadLimits, WireFault};
use super::line::{Line, Message};
use super::listen::Accepted;
use crate::clock::Sweep;

/// What a request came as.
pub struct Arrival {
    /// The guard's verdict; a refused message comes with a stand-in for its request.
    pub verdict: Result<Message, WireFault>,
    /// The connection, for what concerns it as a whole.
    pub line: Rc<Line>,
    /// Which listener it came by, in the order of the configuration.
    pub listener: usize,
    /// Who is at the other end.
    pub peer: SocketAddr,
}

/// What answers requests.
pub trait Handler: 'static {
    /// The body of its answers.
    type Body: Body<Data = Bytes, Error: std::error::Error + Send + Sync + 'static> + 'static;

    /// Answers one request; always.
    fn handle(
        self: Rc<Self>,
        arrival: Arrival,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Self::Body>>;
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

/// What the connections of one worker have in common.
pub struct Edge<H> {
    /// Who answers.
    pub handler: Rc<H>,
    /// The sizes of heads.
    pub limits: HeadLimits,
    /// How long clients may take.
    pub timeouts: Timeouts,
    /// The worker's clock.
    pub sweep: Rc<Sweep>,
    /// Whether it is time to go.
    pub drain: Rc<Drain>,
}

/// Serves one connection to its end.
pub async fn serve<H: Handler>(edge: Rc<Edge<H>>, accepted: Accepted) {
    let Accepted { stream, peer, listener, pass } = accepted;
    let stream = match TcpStream::from_std(stream) {
        Ok(stream) => stream,
        Err(error) => return tracing::warn!(%error, "a connection could not be watched"),
    };
    let guard = Guard::new(stream, edge.limits, edge.timeouts, &edge.sweep);
    let line = guard.line();
    let service = service_fn(|request| {
        // The codec hands over one request for each verdict; without one it made the request up.
        let verdict = line.pop().unwrap_or(Err(WireFault::Malformed("the request was not seen on the wire")));
        let arrival = Arrival { verdict, line: line.clone(), listener, peer };
        let answer = edge.handler.clone().handle(arrival, request);
        async { Ok::<_, Infallible>(answer.await) }
    });
    let connection = codec(&edge.limits).serve_connection(TokioIo::new(guard), service);
    let mut connection = pin!(connection);
    let mut told = false;
    let ended = poll_fn(|cx| {
        if edge.drain.is_draining() && !told {
            told = true;
            line.hurry();
            connection.as_mut().graceful_shutdown();
        }
        connection.as_mut().poll(cx)
    });
    if let Err(error) = ended.await {
        tracing::debug!(%peer, %error, "a connection ended early");
    }
    drop(pass);
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
