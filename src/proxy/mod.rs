//! The straight line of a request: sanitise, identify, resolve, authorise, attempt, clean.
//!
//! Each step takes what only the step before can make, so that the order of the security steps is the only program
//! that compiles. Round it stands one wrapper that opens and closes the record and turns errors into responses.

mod answer;
mod asks;
mod attempt;
mod body;
mod decode;
mod door;
mod error;
mod explain;
mod fields;
mod inbound;
mod incident;
mod kept;
mod ledger;
mod outbound;
mod peeked;
mod permit;
mod respond;
mod upload;

use std::cell::RefCell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, Version};
use hyper::body::Body as HttpBody;
use pin_project_lite::pin_project;
use tower::Service;

pub use body::{AnswerFault, Body};
pub use decode::CodingFault;
pub use door::Door;
pub use error::ProxyError;
pub use explain::{Checkpoint, Entry, Explanation, Post, Question, Refusal, Way};
pub use permit::Openness;
pub use upload::{UploadBody, UploadFault};

use self::attempt::{Answer, Sent};
use self::ledger::Ledger;
use self::permit::Access;
use self::respond::respond;
use self::upload::Upload;
use crate::config::Redact;
use crate::edge::{Arrival, Drain, Handler, RequestBody};
use crate::keys::KeySet;
use crate::pace::Pace;
use crate::routes::RouteTable;
use crate::telemetry::Core;
use crate::upstream::{BodyFault, Call, SendError};
use crate::vault::Vault;

/// What decides about requests, for as long as nothing is changed; shared by all workers.
pub struct Gate {
    /// Who may do what.
    pub keys: KeySet,
    /// Which prefix leads where.
    pub routes: RouteTable,
    /// The place in the pool of each route, by the route's index.
    pub slots: Vec<usize>,
    /// The credentials.
    pub vault: Arc<Vault>,
    /// How requests keep within Close's rate limits.
    pub pace: Pace,
    /// Where secrets that come back are looked for.
    pub redact: Redact,
}

/// One worker's proxy over an upstream.
pub struct Proxy<U> {
    current: RefCell<Rc<Snapshot<U>>>,
    doors: Rc<[Door]>,
    core: Rc<Core>,
    drain: Rc<Drain>,
}

/// What a request is judged by and where it is sent; it keeps the one that it began with until its end.
struct Snapshot<U> {
    gate: Arc<Gate>,
    upstream: U,
}

impl<U, D> Proxy<U>
where
    U: Service<Call<UploadBody>, Response = Response<D>, Error = SendError<UploadBody>> + Clone + 'static,
    D: HttpBody<Data = Bytes, Error = BodyFault> + Unpin + 'static,
{
    /// A proxy that sends what the gate permits to the upstream; one door for each listener, in the order of
    /// [`Arrival::listener`].
    pub fn new(gate: Arc<Gate>, doors: Rc<[Door]>, core: Rc<Core>, upstream: U, drain: Rc<Drain>) -> Rc<Self> {
        let current = RefCell::new(Rc::new(Snapshot { gate, upstream }));
        Rc::new(Self { current, doors, core, drain })
    }

    /// From now on requests are judged by this gate and sent to this upstream; those in flight end as they began.
    pub fn renew(&self, gate: Arc<Gate>, upstream: U) {
        *self.current.borrow_mut() = Rc::new(Snapshot { gate, upstream });
    }

    /// The straight line, up to the request that is on its way out, or waits until it may go.
    fn send(
        &self,
        snapshot: &Snapshot<U>,
        ledger: &mut Ledger,
        arrival: &Arrival,
        parts: Parts,
        incoming: RequestBody,
    ) -> Result<Sent<U::Future>, ProxyError> {
        let message = arrival.verdict?;
        if ledger.is_crowded() {
            return Err(ProxyError::Crowded);
        }
        // What a client asks first it asked before it could know; HTTP/2 tells it by a frame which requests still count.
        if self.drain.is_draining() && message.number > 1 && parts.version < Version::HTTP_2 {
            return Err(ProxyError::Draining);
        }
        let door = &self.doors[arrival.listener];
        let gate = &snapshot.gate;
        let uid = arrival.peer.uid();
        let access = Access { keys: &gate.keys, routes: &gate.routes, door, uid };
        let mut inbound = access.admit(parts)?;
        if gate.redact == Redact::Decode {
            inbound.ask_for_all();
        }
        let target = inbound.target.clone();
        let permit = access.decide(&inbound, &target, ledger)?;
        let (body, upload) = Upload::watch(incoming, door.max_body)?;
        if let Some(upload) = &upload {
            ledger.watch(upload.clone());
        }
        snapshot.dispatch(ledger, inbound, permit, body, upload)
    }

    fn conclude(
        &self,
        mut ledger: Box<Ledger>,
        outcome: Result<Answer<D>, ProxyError>,
        asked: &Asked,
    ) -> Response<Body<D>> {
        let unbounded = |answer: &Answer<D>| answer.scrub.size_of(answer.response.body()).exact().is_none();
        let ends_with_connection = asked.old && outcome.as_ref().is_ok_and(unbounded);
        let mut response = match outcome {
            Ok(Answer { response, scrub }) => {
                response.map(|data| Body::streaming(data, scrub, ledger, ends_with_connection))
            }
            Err(error) => {
                let response = respond(&error, &ledger.record.request_id);
                ledger.refuse(&error, if asked.head { 0 } else { response.body().len() });
                response.map(Body::whole)
            }
        };
        // hyper would promise an HTTP/1.0 client to keep a connection whose end is the body's end.
        if self.drain.is_leaving() || ends_with_connection {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl<U, D> Handler for Proxy<U>
where
    U: Service<Call<UploadBody>, Response = Response<D>, Error = SendError<UploadBody>> + Clone + 'static,
    D: HttpBody<Data = Bytes, Error = BodyFault> + Unpin + 'static,
{
    type Body = Body<D>;

    fn handle(
        self: Rc<Self>,
        arrival: Arrival,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Response<Self::Body>> {
        let (parts, incoming) = request.into_parts();
        let asked = Asked { head: parts.method == Method::HEAD, old: parts.version == Version::HTTP_10 };
        let mut ledger = Ledger::open(&self.core, &self.drain, &arrival, &parts);
        // Everything before the exchange is done at once: what the future carries stays small.
        let snapshot = self.current.borrow().clone();
        let sent = catch_unwind(AssertUnwindSafe(|| self.send(&snapshot, &mut ledger, &arrival, parts, incoming)));
        async move {
            let outcome = match sent.unwrap_or(Err(ProxyError::Internal)) {
                Ok(Sent::Away(away)) => caught(snapshot.answer(&mut ledger, away)).await,
                // Rare, and large: in a box it does not weigh on every other request.
                Ok(Sent::Held(held)) => caught(Box::pin(snapshot.release(&mut ledger, *held))).await,
                Err(error) => Err(error),
            };
            self.conclude(ledger, outcome, &asked)
        }
    }
}

/// What an answer must know of its request.
struct Asked {
    /// HEAD: the answer has no body.
    head: bool,
    /// HTTP/1.0: the end of the connection may be the end of the body.
    old: bool,
}

/// The future's outcome, or a fault of our own when it panicked: one request fails, connection and worker go on.
fn caught<T, F: Future<Output = Result<T, ProxyError>>>(future: F) -> Caught<F> {
    Caught { future }
}

pin_project! {
    struct Caught<F> {
        #[pin]
        future: F,
    }
}

impl<T, F: Future<Output = Result<T, ProxyError>>> Future for Caught<F> {
    type Output = Result<T, ProxyError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let future = self.project().future;
        catch_unwind(AssertUnwindSafe(|| future.poll(cx))).unwrap_or(Poll::Ready(Err(ProxyError::Internal)))
    }
}
