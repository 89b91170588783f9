//! The first bytes of a connection: HTTP/2 with prior knowledge begins with its preface (RFC 9113 3.4), all else is
//! HTTP/1's affair.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::guard::Timeouts;
use super::serve::Drain;
use crate::clock::{Deadline, Sweep};

/// What a connection begins with; the bytes that told so are to be read again.
pub(super) enum Opening {
    /// HTTP/1, or what its guard will refuse.
    H1(First),
    /// The preface of HTTP/2.
    H2(Vec<u8>),
    /// Nothing at all.
    Nothing,
}

/// The first bytes of HTTP/1.
pub(super) struct First {
    pub(super) bytes: Vec<u8>,
    /// By when the head must be there, where that was set for a part of it already.
    pub(super) deadline: Option<Deadline>,
}

/// Reads until it is clear what a connection speaks, or that it will not say.
pub(super) async fn opening<IO: AsyncRead + Unpin>(
    io: &mut IO,
    timeouts: Timeouts,
    sweep: &Rc<Sweep>,
    drain: &Drain,
) -> io::Result<Opening> {
    let deadline = Deadline::new(sweep);
    deadline.set(timeouts.idle);
    let mut seen = Vec::new();
    let (mut begun, mut hurried) = (false, false);
    let speaks_h2 = poll_fn(|cx| {
        loop {
            match poll_piece(io, &mut seen, cx)? {
                // The end of a connection, perhaps in the middle of its first head.
                Poll::Ready(0) => return Poll::Ready(io::Result::Ok(false)),
                Poll::Ready(_) if seen.starts_with(PREFACE) => return Poll::Ready(Ok(true)),
                Poll::Ready(_) if !PREFACE.starts_with(&seen) => return Poll::Ready(Ok(false)),
                Poll::Ready(_) if !std::mem::replace(&mut begun, true) => deadline.set(timeouts.head),
                Poll::Ready(_) => {}
                Poll::Pending => break,
            }
        }
        if drain.is_draining() && !std::mem::replace(&mut hurried, true) {
            // A client that has just come may be about to ask; one that does not is not waited for.
            deadline.set(LATECOMER.min(timeouts.idle));
        }
        ready!(deadline.poll_passed(cx));
        // The guard tells the client of a head that did not come in time.
        Poll::Ready(Ok(false))
    })
    .await?;
    Ok(match speaks_h2 {
        true => Opening::H2(seen),
        false if seen.is_empty() => Opening::Nothing,
        false => Opening::H1(First { bytes: seen, deadline: begun.then_some(deadline) }),
    })
}

/// Reads what is there; an idle connection owns no buffer.
fn poll_piece<IO: AsyncRead + Unpin>(io: &mut IO, seen: &mut Vec<u8>, cx: &mut Context<'_>) -> io::Result<Poll<usize>> {
    let mut piece = [MaybeUninit::uninit(); PIECE];
    let mut piece = ReadBuf::uninit(&mut piece);
    match Pin::new(io).poll_read(cx, &mut piece) {
        Poll::Pending => Ok(Poll::Pending),
        Poll::Ready(Err(error)) => Err(error),
        Poll::Ready(Ok(())) => {
            seen.extend_from_slice(piece.filled());
            Ok(Poll::Ready(piece.filled().len()))
        }
    }
}

/// A connection some of whose bytes are read a second time.
pub(super) struct Replayed<IO> {
    first: Vec<u8>,
    at: usize,
    io: IO,
}

impl<IO> Replayed<IO> {
    pub(super) fn new(first: Vec<u8>, io: IO) -> Self {
        Self { first, at: 0, io }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Replayed<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let left = &this.first[this.at..];
        if left.is_empty() {
            return Pin::new(&mut this.io).poll_read(cx, buf);
        }
        let count = left.len().min(buf.remaining());
        buf.put_slice(&left[..count]);
        this.at += count;
        if this.at == this.first.len() {
            (this.first, this.at) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Replayed<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How much is read at once.
const PIECE: usize = 4096;
/// How long a connection without a request is waited for once the gateway drains.
pub(super) const LATECOMER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::future::Future as _;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn opened(pieces: &[&[u8]]) -> (Opening, Vec<u8>) {
        let (mut client, mut server) = tokio::io::duplex(64 * 1024);
        let sweep = Sweep::new();
        let hour = Duration::from_secs(3600);
        let timeouts = Timeouts { head: hour, body: hour, idle: hour };
        for piece in pieces {
            client.write_all(piece).await.unwrap();
        }
        drop(client);
        let opening = opening(&mut server, timeouts, &sweep, &Drain::default()).await.unwrap();
        let first = match &opening {
            Opening::H1(first) => &first.bytes,
            Opening::H2(first) => first,
            Opening::Nothing => return (opening, Vec::new()),
        };
        let mut all = Vec::new();
        Replayed::new(first.clone(), server).read_to_end(&mut all).await.unwrap();
        (opening, all)
    }

    #[tokio::test]
    async fn the_preface_is_told_from_requests_and_nothing_is_lost() {
        let (opening, all) = opened(&[PREFACE, b"frames"]).await;
        assert!(matches!(opening, Opening::H2(_)));
        assert_eq!(all, [PREFACE, b"frames"].concat());
        for text in ["POST / HTTP/1.1\r\n", "PRI * HTTP/1.1\r\n", "P", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r", "\x16\x03\x01"]
        {
            let (opening, all) = opened(&[text.as_bytes()]).await;
            assert!(matches!(opening, Opening::H1(_)), "{text:?}");
            assert_eq!(all, text.as_bytes());
        }
        assert!(matches!(opened(&[]).await.0, Opening::Nothing));
    }

    /// security.md 34: what looks like the preface takes no longer than a head may, however it comes.
    #[tokio::test]
    async fn the_time_for_a_head_runs_from_its_first_byte() {
        let (mut client, mut server) = tokio::io::duplex(1024);
        let (sweep, drain) = (Sweep::new(), Drain::default());
        let minute = Duration::from_secs(60);
        let timeouts = Timeouts { head: minute, body: minute, idle: 60 * minute };
        let mut opened = Box::pin(opening(&mut server, timeouts, &sweep, &drain));
        let cx = &mut Context::from_waker(std::task::Waker::noop());
        for piece in [&b"P"[..], b"R", b"I"] {
            client.write_all(piece).await.unwrap();
            assert!(opened.as_mut().poll(cx).is_pending());
            sweep.pass(minute / 3);
        }
        sweep.pass(Duration::from_secs(1));
        let Poll::Ready(Ok(Opening::H1(first))) = opened.as_mut().poll(cx) else { panic!("still waits") };
        assert_eq!(first.bytes, b"PRI");
        // The guard does not wait once more.
        assert!(first.deadline.is_some_and(|deadline| deadline.poll_passed(cx).is_ready()));
    }
}
