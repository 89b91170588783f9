//! One HTTP/2 connection of a lane: streams are claimed on it, and a driver moves their frames until it ends.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::SendStream;
use h2::client::{Builder, Connection, ResponseFuture, SendRequest};
use http::Request;
use tokio::sync::oneshot;

use super::cause;
use super::wire::{Mark, Tap, Wire};
use crate::clock::{Deadline, Sweep};
use crate::net::Stream;
use crate::task;
use crate::upstream::pool::Limits;
use crate::upstream::seat::Seat;
use crate::upstream::{MAX_HEAD, SendFault};

/// A connection that carries streams.
pub(in crate::upstream) struct Trunk {
    /// What begins streams; nothing once no more are to begin. The connection ends with the last stream then.
    sender: RefCell<Option<SendRequest<Bytes>>>,
    wire: Rc<Wire>,
    streams: Cell<usize>,
    /// Whether it has carried a stream.
    reused: Cell<bool>,
    idle_since: Cell<Instant>,
    seat: RefCell<Option<Seat>>,
    sweep: Rc<Sweep>,
}

/// The right to one stream, and that stream's count.
pub(in crate::upstream) struct Claim(Rc<Trunk>);

/// The task of a connection.
struct Driver {
    connection: Connection<Tap, Bytes>,
    trunk: Rc<Trunk>,
    /// Told once the peer has said how many streams it takes.
    settled: Option<oneshot::Sender<()>>,
    idle_timeout: Duration,
    deadline: Deadline,
    /// Whether the deadline is set.
    armed: bool,
}

impl Trunk {
    /// Speaks first, and waits for the peer's settings: they say how many streams it takes.
    pub(in crate::upstream) async fn begin(
        stream: Stream,
        seat: Seat,
        sweep: &Rc<Sweep>,
        limits: Limits,
    ) -> Result<Rc<Self>, SendFault> {
        let wire = Wire::new(stream);
        let shaken = tokio::time::timeout(limits.response_timeout, builder().handshake(Tap(wire.clone()))).await;
        let (sender, connection) =
            shaken.map_err(|_| SendFault::Timeout)?.map_err(|error| SendFault::Closed(Some(cause(error))))?;
        seat.rest();
        let trunk = Rc::new(Self {
            sender: RefCell::new(Some(sender)),
            wire,
            streams: Cell::new(0),
            reused: Cell::new(false),
            idle_since: Cell::new(sweep.now()),
            seat: RefCell::new(Some(seat)),
            sweep: sweep.clone(),
        });
        let (settled, settling) = oneshot::channel();
        task::spawn_local(Driver {
            connection,
            trunk: trunk.clone(),
            settled: Some(settled),
            idle_timeout: limits.idle_timeout,
            deadline: Deadline::new(sweep),
            armed: false,
        });
        let settled = tokio::time::timeout(limits.response_timeout, settling).await;
        let fault = match settled {
            Ok(Ok(())) if trunk.room() > 0 && trunk.lives() => return Ok(trunk),
            Ok(Ok(())) => SendFault::Refused,
            Ok(Err(_)) => SendFault::Malformed,
            Err(_) => SendFault::Timeout,
        };
        trunk.leave();
        Err(fault)
    }

    /// A stream, if the connection lives and has room for one more.
    pub(in crate::upstream) fn claim(self: &Rc<Self>) -> Option<Claim> {
        if self.room() == 0 || !self.lives() {
            return None;
        }
        if self.streams.replace(self.streams.get() + 1) == 0
            && let Some(seat) = &*self.seat.borrow()
        {
            seat.rise();
        }
        Some(Claim(self.clone()))
    }

    /// Whether streams may begin on it, as far as its driver knows.
    pub(in crate::upstream) fn lives(&self) -> bool {
        let cx = &mut Context::from_waker(Waker::noop());
        let mut sender = self.sender.borrow_mut();
        sender.as_mut().is_some_and(|sender| !matches!(sender.poll_ready(cx), Poll::Ready(Err(_))))
    }

    /// As [`Self::lives`], and the socket itself says so: for a request that must not be lost.
    pub(in crate::upstream) fn proves_alive(&self) -> bool {
        self.wire.proves_alive()
    }

    /// Since when it has had no stream; nothing while it has one.
    pub(in crate::upstream) fn idle_since(&self) -> Option<Instant> {
        (self.streams.get() == 0).then(|| self.idle_since.get())
    }

    /// No more streams begin; the connection ends with the last one.
    pub(in crate::upstream) fn retire(&self) {
        drop(self.sender.take());
    }

    /// Ends at once what has no streams, as far as others are concerned: its place is free.
    pub(in crate::upstream) fn leave(&self) {
        self.retire();
        drop(self.seat.take());
    }

    /// How many more streams may begin.
    fn room(&self) -> usize {
        let sender = self.sender.borrow();
        let most = sender.as_ref().map_or(0, |sender| sender.current_max_send_streams().min(MOST_STREAMS));
        most.saturating_sub(self.streams.get())
    }

    /// The driver is gone, and the connection with it.
    fn end(&self) {
        self.leave();
        self.wire.close();
    }
}

impl Claim {
    /// Begins the stream.
    pub(super) fn send(
        &self,
        head: Request<()>,
        ends: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), Option<h2::Error>> {
        let mut sender = self.0.sender.borrow_mut();
        sender.as_mut().ok_or(None)?.send_request(head, ends).map_err(Some)
    }

    /// Whether the connection has carried a stream before this one, which counts from now on.
    pub(super) fn reuses(&self) -> bool {
        self.0.reused.replace(true)
    }

    /// How much has passed over the connection.
    pub(super) fn mark(&self) -> Mark {
        self.0.wire.mark()
    }

    /// A stream waited in vain, and nothing at all came since the mark: others shall not wait on this connection.
    pub(super) fn give_up(&self, since: Mark) {
        if self.mark().read == since.read {
            self.0.retire();
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let trunk = &self.0;
        trunk.streams.set(trunk.streams.get() - 1);
        if trunk.streams.get() == 0 {
            trunk.idle_since.set(trunk.sweep.now());
            if let Some(seat) = &*trunk.seat.borrow() {
                seat.rest();
            }
        }
    }
}

impl Driver {
    /// An idle connection ends when its time is up, and one that is ending is waited for only so long.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.trunk.streams.get() > 0 {
            if std::mem::take(&mut self.armed) {
                self.deadline.clear();
            }
            return Poll::Pending;
        }
        let ending = self.trunk.sender.borrow().is_none();
        if !self.armed {
            self.deadline.set(if ending { CLOSING } else { self.idle_timeout });
            self.armed = true;
        }
        if self.deadline.poll_passed(cx).is_pending() {
            return Poll::Pending;
        }
        if ending {
            return Poll::Ready(());
        }
        // The connection notices, and wakes this task.
        self.trunk.retire();
        self.armed = false;
        Poll::Pending
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        this.trunk.wire.begin_turn();
        if Pin::new(&mut this.connection).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if this.connection.max_concurrent_send_streams() != UNSETTLED
            && let Some(settled) = this.settled.take()
        {
            // Whoever waited may have left.
            let _ = settled.send(());
        }
        this.poll_idle(cx)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.trunk.end();
    }
}

/// What is said to the peer first.
///
/// Each stream has a window of its own, and the connection one for all of them together: however many readers stall,
/// they cannot starve the others, and none holds more than its window (security.md 35).
fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(STREAM_WINDOW * MOST_STREAMS as u32)
        .max_header_list_size(MAX_HEAD)
        .max_send_buffer_size(SEND_BUFFER)
        .initial_max_send_streams(UNSETTLED)
        // Frames of streams that clients left are still on their way, and no fault of the peer.
        .max_concurrent_reset_streams(1024)
        .reset_stream_duration(Duration::from_secs(30));
    builder
}

/// Most streams at once, whatever the peer would take.
const MOST_STREAMS: usize = 100;
/// Unread bytes of one answer.
const STREAM_WINDOW: u32 = 512 * 1024;
/// Bytes of one request's body that wait to be written.
const SEND_BUFFER: usize = 64 * 1024;
/// No peer's limit: it has not said one yet.
const UNSETTLED: usize = usize::MAX >> 1;
/// How long a connection may take to end.
const CLOSING: Duration = Duration::from_secs(5);
