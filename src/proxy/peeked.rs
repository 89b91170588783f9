//! An answer's body of which a beginning was read before anybody decided what becomes of it.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, SizeHint};

/// A body that begins with what was read of it.
pub(super) struct Peeked<D: Body> {
    /// Nothing of nearly all bodies.
    ahead: Option<Box<Ahead<D::Error>>>,
    rest: D,
}

/// What was read and not given on yet.
struct Ahead<E> {
    read: BytesMut,
    /// Why there is no more behind it.
    fault: Option<E>,
}

impl<D: Body<Data = Bytes> + Unpin> Peeked<D> {
    /// A body of which nothing was read.
    pub(super) fn whole(rest: D) -> Self {
        Self { ahead: None, rest }
    }

    /// Reads the body to its end, if that is near and does not take long, and shows what was read.
    pub(super) async fn peek(&mut self) -> &[u8] {
        let ahead = self.ahead.insert(Box::new(Ahead { read: BytesMut::new(), fault: None }));
        let rest = &mut self.rest;
        let whole = async {
            while ahead.read.len() < ENOUGH {
                match poll_fn(|cx| Pin::new(&mut *rest).poll_frame(cx)).await {
                    Some(Ok(frame)) => ahead.read.extend_from_slice(&frame.into_data().unwrap_or_default()),
                    Some(Err(fault)) => return ahead.fault = Some(fault),
                    None => return,
                }
            }
        };
        // Whoever does not send it is not waited for.
        let _ = tokio::time::timeout(PATIENCE, whole).await;
        self.ahead.as_ref().map_or(&[], |ahead| &ahead.read)
    }
}

impl<D: Body<Data = Bytes> + Unpin> Body for Peeked<D> {
    type Data = Bytes;
    type Error = D::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, D::Error>>> {
        let this = self.get_mut();
        if let Some(Ahead { read, fault }) = this.ahead.as_deref_mut() {
            if !read.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(read.split().freeze()))));
            }
            if let Some(fault) = fault.take() {
                return Poll::Ready(Some(Err(fault)));
            }
            this.ahead = None;
        }
        Pin::new(&mut this.rest).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        let nothing = self.ahead.as_ref().is_none_or(|ahead| ahead.read.is_empty() && ahead.fault.is_none());
        nothing && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.size_hint();
        match (&self.ahead, rest.exact()) {
            (Some(ahead), Some(exact)) => SizeHint::with_exact(exact + ahead.read.len() as u64),
            _ => rest,
        }
    }
}

/// The body of a 429 is a few hundred bytes.
const ENOUGH: usize = 8 * 1024;
const PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// Pieces, then a fault, an end, or nothing for ever.
    struct Script {
        pieces: VecDeque<&'static str>,
        then: Option<Result<(), &'static str>>,
    }

    impl Body for Script {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            if let Some(piece) = self.pieces.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(piece.as_bytes())))));
            }
            match self.then {
                None => Poll::Pending,
                Some(Ok(())) => Poll::Ready(None),
                Some(Err(fault)) => {
                    self.then = Some(Ok(()));
                    Poll::Ready(Some(Err(fault)))
                }
            }
        }
    }

    async fn rest(body: &mut Peeked<Script>) -> (String, Option<&'static str>) {
        let mut text = String::new();
        loop {
            match poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
                None => return (text, None),
                Some(Err(fault)) => return (text, Some(fault)),
                Some(Ok(frame)) => text.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap()),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_read_is_given_on_and_a_cut_stays_a_cut() {
        for then in [Ok(()), Err("cut")] {
            let mut body = Peeked::whole(Script { pieces: ["ab", "cd"].into(), then: Some(then) });
            assert_eq!(body.peek().await, b"abcd");
            assert!(!body.is_end_stream());
            assert_eq!(rest(&mut body).await, ("abcd".to_owned(), then.err()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_or_does_not_end_is_not_waited_for() {
        let mut body = Peeked::whole(Script { pieces: ["ab"].into(), then: None });
        assert_eq!(body.peek().await, b"ab");
        let long = "0123456789".repeat(100).leak();
        let mut body = Peeked::whole(Script { pieces: vec![&*long; 20].into(), then: Some(Ok(())) });
        assert_eq!(body.peek().await.len(), ENOUGH.div_ceil(1000) * 1000);
        assert_eq!(rest(&mut body).await.0.len(), 20_000);
    }
}
