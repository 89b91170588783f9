//! One connection to an upstream: hyper's codec over a metered stream, polled by whoever uses it.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::time::Instant;

use hyper::body::{Body, Frame, SizeHint};
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::pool::Shared;
use super::{Progress, SendFault, Upload};
use crate::net::Stream;
use crate::telemetry::UpstreamMeters;

/// A connection with its codec.
pub(super) struct Link<B: Upload> {
    pub(super) sender: SendRequest<Tracked<B>>,
    pub(super) connection: Connection<TokioIo<Metered>, Tracked<B>>,
    pub(super) meter: Rc<Meter>,
    /// When it was laid into the pool.
    pub(super) idle_since: Instant,
    /// Whether it has served a request.
    pub(super) reused: bool,
    pub(super) seat: Seat,
    relay: Arc<Relay>,
    /// The relay, as the codec holds it.
    waker: Waker,
}

/// Wakes the task that uses the connection, unless that task is just about to drive it anyway: being woken for what it
/// does itself would have it polled once more for nothing.
#[derive(Default)]
struct Relay {
    task: Mutex<Option<Waker>>,
    muted: AtomicBool,
}

/// What has passed over a connection since its request was handed over.
#[derive(Default)]
pub(super) struct Meter {
    written: Cell<u64>,
    read: Cell<u64>,
    /// Whether the codec still holds the request's body.
    uploading: Cell<bool>,
    /// Whether the next read looks at the socket itself first.
    suspicious: Cell<bool>,
    /// Bytes that may still be read while there is no answer; `None` while that does not matter.
    head: Cell<Option<u64>>,
}

/// A place among the connections that may be open; given back when dropped.
pub(super) struct Seat {
    shared: Arc<Shared>,
    meters: Arc<UpstreamMeters>,
}

impl<B: Upload> Link<B> {
    /// Puts the codec over a stream.
    pub(super) async fn over(stream: Stream, seat: Seat) -> Result<Box<Self>, SendFault> {
        let meter = Rc::new(Meter::default());
        let io = TokioIo::new(Metered { stream, meter: meter.clone() });
        let shaken = Builder::new().max_buf_size(MAX_BUFFER).handshake(io).await;
        let (sender, connection) = shaken.map_err(|error| SendFault::Closed(Some(error)))?;
        let relay = Arc::<Relay>::default();
        let waker = Waker::from(relay.clone());
        let idle_since = Instant::now();
        let mut link = Box::new(Self { sender, connection, meter, idle_since, reused: false, seat, relay, waker });
        if link.lives() { Ok(link) } else { Err(SendFault::Closed(None)) }
    }

    /// Polls the idle connection once: `false` when it was closed, or when bytes came that nobody asked for.
    ///
    /// The reactor's knowledge is enough; no system call is made.
    pub(super) fn lives(&mut self) -> bool {
        let cx = &mut Context::from_waker(Waker::noop());
        Pin::new(&mut self.connection).poll(cx).is_pending() && self.sender.is_ready()
    }

    /// As [`Self::lives`], and the socket itself says that nothing has arrived: for a request that must not be lost.
    pub(super) fn proves_alive(&mut self) -> bool {
        self.meter.suspicious.set(true);
        let lives = self.lives();
        self.meter.suspicious.set(false);
        lives
    }

    /// Moves the exchange on; ready when the connection is over, and then it must not be polled again.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.relay.lead_to(cx.waker());
        Pin::new(&mut self.connection).poll(&mut Context::from_waker(&self.waker)).map(drop)
    }

    /// Does what may wake the codec; [`Self::drive`] must follow before the task waits.
    pub(super) fn muted<T>(&self, work: impl FnOnce() -> T) -> T {
        self.relay.muted.store(true, Ordering::Relaxed);
        let done = work();
        self.relay.muted.store(false, Ordering::Relaxed);
        done
    }
}

impl Relay {
    fn lead_to(&self, task: &Waker) {
        let mut known = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *known {
            Some(known) => known.clone_from(task),
            None => *known = Some(task.clone()),
        }
    }
}

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.muted.load(Ordering::Relaxed)
            && let Some(task) = &*self.task.lock().unwrap_or_else(PoisonError::into_inner)
        {
            task.wake_by_ref();
        }
    }
}

impl Meter {
    pub(super) fn begin(&self, uploading: bool) {
        self.written.set(0);
        self.read.set(0);
        self.uploading.set(uploading);
        self.head.set(Some(MAX_HEAD));
    }

    /// The head of the answer is there: what follows may be as long as it likes.
    pub(super) fn end_head(&self) {
        self.head.set(None);
    }

    /// Whether everything that a head may take was read.
    pub(super) fn is_spent(&self) -> bool {
        self.head.get() == Some(0)
    }

    pub(super) fn is_uploading(&self) -> bool {
        self.uploading.get()
    }

    pub(super) fn written(&self) -> u64 {
        self.written.get()
    }

    fn count_read(&self, bytes: u64) {
        self.read.set(self.read.get() + bytes);
        self.head.set(self.head.get().map(|left| left.saturating_sub(bytes)));
    }

    fn count(&self, poll: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(written)) = poll {
            self.written.set(self.written.get() + written as u64);
        }
        poll
    }

    pub(super) fn progress(&self) -> Progress {
        match (self.written.get(), self.read.get()) {
            (0, 0) => Progress::Nothing,
            (_, 0) => Progress::Written,
            _ => Progress::Answered,
        }
    }
}

impl Seat {
    /// Takes a place, or says that there is none.
    pub(super) fn take(shared: &Arc<Shared>, meters: &Arc<UpstreamMeters>) -> Option<Self> {
        let free = |open: usize| (open < shared.max_connections).then_some(open + 1);
        shared.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).ok()?;
        meters.active.fetch_add(1, Ordering::Relaxed);
        Some(Self { shared: shared.clone(), meters: meters.clone() })
    }

    /// Counts the connection as idle.
    pub(super) fn rest(&self) {
        self.meters.active.fetch_sub(1, Ordering::Relaxed);
        self.meters.idle.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts the connection as active again.
    pub(super) fn rise(&self) {
        self.meters.idle.fetch_sub(1, Ordering::Relaxed);
        self.meters.active.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.shared.open.fetch_sub(1, Ordering::Relaxed);
        self.meters.active.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The stream below the codec, which counts what passes.
pub(super) struct Metered {
    stream: Stream,
    meter: Rc<Meter>,
}

impl Metered {
    /// Whether something lies on the socket, be it the end: the reactor may not have been told yet.
    fn has_arrivals(&self) -> bool {
        let flags = rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT;
        rustix::net::recv(self.stream.socket(), &mut [0_u8; 1], flags) != Err(rustix::io::Errno::AGAIN)
    }
}

impl AsyncRead for Metered {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.meter.suspicious.get() && this.has_arrivals() {
            return Poll::Ready(Ok(()));
        }
        if this.meter.is_spent() {
            // Whoever drives the connection looks at this next: nobody needs to be woken.
            return Poll::Pending;
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        this.meter.count_read((buf.filled().len() - before) as u64);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.meter.count(Pin::new(&mut this.stream).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.meter.count(Pin::new(&mut this.stream).poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// A request's body that notes when the codec lets go of it.
pub(super) struct Tracked<B> {
    inner: Option<B>,
    meter: Rc<Meter>,
}

impl<B: Upload> Tracked<B> {
    pub(super) fn new(inner: B, meter: Rc<Meter>) -> Self {
        Self { inner: Some(inner), meter }
    }

    /// The body itself, of a request that was never sent.
    pub(super) fn into_inner(mut self) -> Option<B> {
        self.inner.take()
    }
}

impl<B> Drop for Tracked<B> {
    fn drop(&mut self) {
        self.meter.uploading.set(false);
    }
}

impl<B: Upload> Body for Tracked<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match &mut self.get_mut().inner {
            Some(inner) => Pin::new(inner).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// Most bytes before the end of an answer's head, interim answers among them (security.md 36).
const MAX_HEAD: u64 = 64 * 1024;
/// The most that the codec buffers of an answer, in bytes.
const MAX_BUFFER: usize = 256 * 1024;
