//! A long answer comes in turns: after each the worker's other tasks have theirs.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// A body whose task goes to the end of the worker's queue after every [`LONGEST`] bytes.
pub(super) struct Turns<D> {
    body: D,
    /// What came since the last turn ended so; that one ended by itself meanwhile does not count.
    given: usize,
}

impl<D> Turns<D> {
    /// In its first turn.
    pub(super) fn of(body: D) -> Self {
        Self { body, given: 0 }
    }
}

impl<D: Body<Data = Bytes> + Unpin> Body for Turns<D> {
    type Data = Bytes;
    type Error = D::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, D::Error>>> {
        let this = self.get_mut();
        if this.given >= LONGEST {
            this.given = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
        this.given += data.map_or(0, Bytes::len);
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The bytes of one turn. hyper's codec of HTTP/1 asks a second time in the same poll of its task, so that it takes up to
/// 128 KiB at once: about a tenth of a millisecond.
const LONGEST: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tokio_test::task;

    use super::*;

    /// Always has some more.
    struct Endless;

    impl Body for Endless {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0; 16 * 1024])))))
        }
    }

    #[test]
    fn a_turn_ends_after_its_bytes_and_the_next_one_comes() {
        let mut body = Turns::of(Endless);
        for _ in 0..3 {
            let mut task = task::spawn(());
            let mut next = || task.enter(|cx, _| Pin::new(&mut body).poll_frame(cx).is_ready());
            assert_eq!(std::iter::repeat_with(&mut next).take_while(|ready| *ready).count(), 4);
            assert!(task.is_woken());
        }
    }
}
