//! The second half of an exchange: the body is read as its head said; at its end the connection goes back to the pool.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::link::Link;
use super::request::Sending;
use super::response::Framing;
use crate::chunked::{Chunks, Piece};
use crate::clock::Deadline;
use crate::task;
use crate::upstream::lane::Lane;
use crate::upstream::pool::Inner;
use crate::upstream::{BodyFault, Upload};

/// An answer's body; dropping it early closes the connection.
pub(in crate::upstream) struct Reading {
    pool: Rc<Inner>,
    lane: Rc<Lane>,
    source: Source,
    left: Left,
    deadline: Deadline,
    /// Whether the deadline is set for the piece that is waited for.
    armed: bool,
    reusable: bool,
}

enum Source {
    /// The connection is this body's own.
    Own(Box<Link>),
    /// The request's body is still on its way up: a task of its own writes it, so that a client that reads nothing
    /// before it has sent everything does not wait for itself. It ends with this body at the latest.
    Shared { link: Rc<RefCell<Box<Link>>>, _writer: task::Attached },
    /// The body was read to its end, or the connection failed.
    None,
}

/// What is left of the body.
enum Left {
    Length(u64),
    Chunks(Chunks),
    UntilClose,
    Nothing,
}

impl Reading {
    pub(super) fn new<B: Upload>(
        pool: Rc<Inner>,
        lane: Rc<Lane>,
        link: Box<Link>,
        deadline: Deadline,
        framing: Framing,
        upload: Option<Sending<B>>,
        reusable: bool,
    ) -> Self {
        let reusable = reusable && upload.is_none();
        let source = match upload {
            None => Source::Own(link),
            Some(upload) => write_beside(link, upload),
        };
        let left = match framing {
            Framing::Length(0) => Left::Nothing,
            Framing::Length(length) => Left::Length(length),
            Framing::Chunked => Left::Chunks(Chunks::begin()),
            Framing::Close => Left::UntilClose,
        };
        deadline.clear();
        let mut body = Self { pool, lane, source, left, deadline, armed: false, reusable };
        if matches!(body.left, Left::Nothing) {
            body.finish();
        }
        body
    }

    /// The next piece; nothing at the end.
    pub(in crate::upstream) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyFault>>> {
        loop {
            let taken = match &mut self.source {
                Source::None => return Poll::Ready(None),
                Source::Own(link) => self.left.take(link),
                Source::Shared { link, .. } => self.left.take(&mut link.borrow_mut()),
            };
            match taken {
                Err(fault) => return Poll::Ready(Some(Err(self.fail(fault)))),
                Ok(data) => {
                    if matches!(self.left, Left::Nothing) {
                        self.finish();
                    }
                    if !data.is_empty() {
                        self.armed = false;
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
            }
            if matches!(self.source, Source::None) {
                return Poll::Ready(None);
            }
            match self.poll_fill(cx) {
                Poll::Pending => return self.wait(cx),
                Poll::Ready(Ok(0)) if matches!(self.left, Left::UntilClose) => {
                    self.left = Left::Nothing;
                    self.source = Source::None;
                }
                Poll::Ready(Ok(0)) => return Poll::Ready(Some(Err(self.fail(BodyFault::Ended)))),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(self.fail(BodyFault::Cut(error))))),
            }
        }
    }

    /// Whether the body is over.
    pub(in crate::upstream) fn is_over(&self) -> bool {
        matches!(self.left, Left::Nothing)
    }

    /// How much is to come, where that is known.
    pub(in crate::upstream) fn left(&self) -> Option<u64> {
        match self.left {
            Left::Length(left) => Some(left),
            Left::Nothing => Some(0),
            Left::Chunks(_) | Left::UntilClose => None,
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let room = self.left.room();
        match &mut self.source {
            Source::Own(link) => link.poll_fill(cx, room),
            Source::Shared { link, .. } => link.borrow_mut().poll_fill(cx, room),
            Source::None => Poll::Ready(Ok(0)),
        }
    }

    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyFault>>> {
        if !self.armed {
            self.deadline.set(self.pool.limits.body_timeout);
            self.armed = true;
        }
        ready!(self.deadline.poll_passed(cx));
        Poll::Ready(Some(Err(self.fail(BodyFault::Timeout))))
    }

    /// The end of the body: what lies behind it was not asked for, and condemns the connection (security.md 32).
    fn finish(&mut self) {
        if let Source::Own(link) = std::mem::replace(&mut self.source, Source::None)
            && self.reusable
        {
            self.lane.give_back(link, self.pool.sweep.now());
        }
    }

    fn fail(&mut self, fault: BodyFault) -> BodyFault {
        self.source = Source::None;
        fault
    }
}

impl Left {
    /// What of the body lies in the inbox; empty when more must be read.
    fn take(&mut self, link: &mut Link) -> Result<Bytes, BodyFault> {
        let data = match self {
            Self::Nothing => Bytes::new(),
            Self::UntilClose => link.take(link.inbox.len()),
            Self::Length(left) => {
                let here = usize::try_from(*left).map_or(link.inbox.len(), |left| left.min(link.inbox.len()));
                *left -= here as u64;
                link.take(here)
            }
            Self::Chunks(chunks) => {
                let (data, ended) = take_chunk(chunks, link)?;
                if ended {
                    *self = Self::Nothing;
                }
                data
            }
        };
        if matches!(self, Self::Length(0)) {
            *self = Self::Nothing;
        }
        Ok(data)
    }

    /// Room worth reading into.
    fn room(&self) -> usize {
        match self {
            Self::Length(left) => usize::try_from(*left).map_or(MOST, |left| left.clamp(LEAST, MOST)),
            Self::Chunks(_) | Self::UntilClose => MIDDLING,
            Self::Nothing => LEAST,
        }
    }
}

/// The data of the next chunk as far as it is there, and whether the body is over after it.
fn take_chunk(chunks: &mut Chunks, link: &mut Link) -> Result<(Bytes, bool), BodyFault> {
    let step = |chunks: &mut Chunks, link: &mut Link| -> Result<Piece, BodyFault> {
        let piece = chunks.next(&link.inbox).map_err(|(_, fault)| BodyFault::Framing(fault))?;
        drop(link.take(piece.framing));
        Ok(piece)
    };
    let piece = step(chunks, link)?;
    let data = link.take(piece.data);
    if piece.ended || data.is_empty() || link.inbox.is_empty() {
        return Ok((data, piece.ended));
    }
    // Behind the last data mostly lies the end, which would otherwise cost another turn.
    let mut ahead = *chunks;
    match ahead.next(&link.inbox) {
        Ok(Piece { framing, ended: true, .. }) => {
            drop(link.take(framing));
            Ok((data, true))
        }
        _ => Ok((data, false)),
    }
}

fn write_beside<B: Upload>(link: Box<Link>, mut upload: Sending<B>) -> Source {
    let link = Rc::new(RefCell::new(link));
    let own = link.clone();
    let writer = task::spawn_attached(async move {
        // Whether it succeeds shows in the answer; the connection serves no other exchange.
        let _ = std::future::poll_fn(|cx| upload.poll(&mut own.borrow_mut(), cx)).await;
    });
    Source::Shared { link, _writer: writer }
}

const LEAST: usize = 1024;
const MIDDLING: usize = 16 * 1024;
const MOST: usize = 64 * 1024;
