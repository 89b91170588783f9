//! One exchange as a future: take or open a connection, write the request, read the head of the answer.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};

use super::body::{AnswerBody, Source};
use super::lane::{Flight, Lane, Way, Weight};
use super::pool::Inner;
use super::{Call, Freshness, Progress, SendError, SendFault, Upload, http1, http2};

type Opening = Pin<Box<dyn Future<Output = Result<Way, SendFault>>>>;

/// The future of [`super::Pool`]: ends with the head of the answer.
pub struct Exchange<B: Upload> {
    pool: Rc<Inner>,
    lane: Rc<Lane>,
    flight: Option<Flight>,
    stage: Stage<B>,
}

enum Stage<B: Upload> {
    /// A request that waits for a connection.
    Opening(Opening, Request<B>),
    /// A request that waits for its answer on a connection of its own.
    Link(http1::Waiting<B>),
    /// A request that waits for its answer on a stream.
    Stream(http2::Waiting<B>),
    /// A request that could not be begun.
    Failed(SendError<B>),
    Over,
}

impl<B: Upload> Exchange<B> {
    pub(super) fn new(pool: Rc<Inner>, call: Call<B>) -> Self {
        let Call { request, slot, freshness } = call;
        let lane = pool.lanes[slot].clone();
        let flight = Some(lane.enter());
        let mut exchange = Self { pool, lane, flight, stage: Stage::Over };
        exchange.begin(request, freshness);
        exchange
    }

    fn begin(&mut self, request: Request<B>, freshness: Freshness) {
        let weight = Weight::of(request.body());
        match self.lane.take(freshness, weight) {
            Some(way) => {
                if matches!(way, Way::Stream(_)) && self.lane.lacks_links(weight) {
                    self.pool.prepare_link(&self.lane);
                }
                self.go(way, request);
            }
            None => {
                let opening = Box::pin(self.pool.clone().open(self.lane.clone(), weight));
                self.stage = Stage::Opening(opening, request);
            }
        }
    }

    fn go(&mut self, way: Way, request: Request<B>) {
        self.stage = match way {
            Way::Link(link) => Stage::Link(http1::Waiting::begin(&self.pool, link, request)),
            Way::Stream(claim) => {
                let begun = http2::Waiting::begin(&self.pool, &self.lane, claim, request);
                begun.map_or_else(Stage::Failed, Stage::Stream)
            }
        };
    }

    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Stage::Opening(opening, _) = &mut self.stage else { return Poll::Ready(()) };
        let opened = ready!(opening.as_mut().poll(cx));
        let Stage::Opening(_, request) = std::mem::replace(&mut self.stage, Stage::Over) else {
            return Poll::Ready(());
        };
        match opened {
            Ok(way) => self.go(way, request),
            Err(fault) => {
                let request = Box::new(request.map(Some));
                self.stage = Stage::Failed(SendError { fault, reused: false, progress: Progress::Nothing, request });
            }
        }
        Poll::Ready(())
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<Source<B>>, SendError<B>>> {
        Poll::Ready(match &mut self.stage {
            Stage::Link(waiting) => {
                let outcome = ready!(waiting.poll(cx, &self.pool));
                let Stage::Link(waiting) = std::mem::replace(&mut self.stage, Stage::Over) else {
                    return Poll::Pending;
                };
                match outcome {
                    Ok(head) => Ok(waiting.read(self.pool.clone(), self.lane.clone(), head).map(Source::Link)),
                    Err(fault) => Err(waiting.fail(fault)),
                }
            }
            Stage::Stream(waiting) => {
                let outcome = ready!(waiting.poll(cx, &self.pool));
                let Stage::Stream(waiting) = std::mem::replace(&mut self.stage, Stage::Over) else {
                    return Poll::Pending;
                };
                match outcome {
                    Ok(head) => Ok(waiting.read(&self.pool, head).map(Source::Stream)),
                    Err(failure) => Err(waiting.fail(failure)),
                }
            }
            Stage::Failed(_) => match std::mem::replace(&mut self.stage, Stage::Over) {
                Stage::Failed(error) => Err(error),
                _ => return Poll::Pending,
            },
            Stage::Opening(..) | Stage::Over => return Poll::Pending,
        })
    }
}

impl<B: Upload> Future for Exchange<B> {
    type Output = Result<Response<AnswerBody<B>>, SendError<B>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        ready!(this.poll_open(cx));
        let answer = ready!(this.poll_answer(cx));
        let flight = this.flight.take();
        Poll::Ready(answer.map(|answer| answer.map(|source| AnswerBody::new(source, flight))))
    }
}
