//! The body of an answer, which drives its connection and lays it back into the pool when the body is over.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::link::Link;
use super::pool::Inner;
use super::{BodyFault, Upload};
use crate::clock::Deadline;
use crate::task;

/// An answer's body; dropping it early closes the connection.
pub struct AnswerBody<B: Upload> {
    pool: Rc<Inner<B>>,
    slot: usize,
    incoming: Incoming,
    driver: Driver<B>,
    deadline: Deadline,
    armed: bool,
}

enum Driver<B: Upload> {
    /// The reader of the body drives the connection.
    Reader(Box<Link<B>>),
    /// The request's body is still on its way up while the answer comes down: a task of its own drives both, so that
    /// a client that reads nothing before it has sent everything does not wait for itself.
    Task,
    /// The connection is over.
    Ended,
    /// The body was read to its end.
    Done,
}

impl<B: Upload> AnswerBody<B> {
    pub(super) fn new(
        pool: Rc<Inner<B>>,
        slot: usize,
        link: Box<Link<B>>,
        deadline: Deadline,
        incoming: Incoming,
    ) -> Self {
        let driver = if link.meter.is_uploading() { drive_beside(link) } else { Driver::Reader(link) };
        deadline.clear();
        let mut body = Self { pool, slot, incoming, driver, deadline, armed: false };
        if body.incoming.is_end_stream() {
            body.finish();
        }
        body
    }

    /// A piece that is there already, or one that driving the connection brings.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Driver::Reader(link) = &mut self.driver else {
            return Pin::new(&mut self.incoming).poll_frame(cx);
        };
        // What the reader itself drives needs to wake nobody.
        let quiet = &mut Context::from_waker(Waker::noop());
        let incoming = &mut self.incoming;
        if let ready @ Poll::Ready(_) = link.muted(|| Pin::new(incoming).poll_frame(quiet)) {
            return ready;
        }
        if link.drive(cx).is_ready() {
            self.driver = Driver::Ended;
        }
        Pin::new(&mut self.incoming).poll_frame(quiet)
    }

    fn finish(&mut self) {
        if let Driver::Reader(link) = std::mem::replace(&mut self.driver, Driver::Done) {
            self.pool.give_back(self.slot, link);
        }
    }

    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyFault>>> {
        if matches!(self.driver, Driver::Ended) {
            return Poll::Ready(Some(Err(BodyFault::Ended)));
        }
        if !self.armed {
            self.deadline.set(self.pool.limits.body_timeout);
            self.armed = true;
        }
        match self.deadline.poll_passed(cx) {
            Poll::Ready(()) => Poll::Ready(Some(Err(BodyFault::Timeout))),
            Poll::Pending => Poll::Pending,
        }
    }

    /// The next piece of the body; trailers are dropped.
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyFault>>> {
        loop {
            match self.poll_piece(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    self.armed = false;
                    let Ok(data) = frame.into_data() else { continue };
                    if self.incoming.is_end_stream() {
                        self.finish();
                    }
                    return Poll::Ready(Some(Ok(data)));
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(BodyFault::Cut(error)))),
                Poll::Ready(None) => {
                    self.finish();
                    return Poll::Ready(None);
                }
                Poll::Pending => return self.wait(cx),
            }
        }
    }
}

impl<B: Upload> Body for AnswerBody<B> {
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let data = ready!(self.get_mut().poll_data(cx));
        Poll::Ready(data.map(|data| data.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

fn drive_beside<B: Upload>(link: Box<Link<B>>) -> Driver<B> {
    let mut link = link;
    task::spawn_local(async move { std::future::poll_fn(|cx| link.drive(cx)).await });
    Driver::Task
}
