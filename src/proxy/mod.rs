//! The straight line of a request: sanitise, identify, resolve, authorise, attempt, clean.
//!
//! Each step takes what only the step before can make, so that the order of the security steps is the only program
//! that compiles. Round it stands one wrapper that opens and closes the record and turns errors into responses.

mod again;
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
mod introspection;
mod kept;
mod ledger;
mod letter;
mod outbound;
mod peeked;
mod permit;
mod respond;
mod turns;
mod upload;

use std::cell::RefCell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, Version};
use hyper::body::Body as HttpBody;
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower::Service;

pub use body::{AnswerFault, Body};
pub use decode::CodingFault;
pub use door::{Door, Exposure};
pub use error::ProxyError;
pub use explain::{Checkpoint, Entry, Explanation, Post, Question, Refusal, Way};
pub use inbound::{Inbound, Shown};
pub use permit::{Found, Openness, Permit, Steps};
pub use upload::{UploadBody, UploadFault};

use self::attempt::{Answer, Sent};
use self::ledger::Ledger;
use self::letter::Letter;
use self::permit::{Access, Decision};
use self::respond::respond;
use self::upload::Upload;
use crate::config::Redact;
use crate::edge::{Arrival, Drain, Handler, RequestBody};
use crate::keys::{Admission, KeySet, Wait};
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
    in_force: InForce,
    doors: Rc<[Door]>,
    core: Rc<Core>,
    drain: Rc<Drain>,
}

/// What a request is judged by and where it is sent; it keeps the one that it began with until its end.
struct Snapshot<U> {
    gate: Arc<Gate>,
    upstream: U,
    in_force: InForce,
}

/// What decides now, for requests that have waited since they were judged.
type InForce = Rc<RefCell<Arc<Gate>>>;

impl<U, D> Proxy<U>
where
    U: Service<Call<UploadBody>, Response = Response<D>, Error = SendError<UploadBody>> + Clone + 'static,
    D: HttpBody<Data = Bytes, Error = BodyFault> + Unpin + 'static,
{
    /// A proxy that sends what the gate permits to the upstream; one door for each listener, in the order of
    /// [`Arrival::listener`].
    pub fn new(gate: Arc<Gate>, doors: Rc<[Door]>, core: Rc<Core>, upstream: U, drain: Rc<Drain>) -> Rc<Self> {
        let in_force: InForce = Rc::new(RefCell::new(Arc::clone(&gate)));
        let current = RefCell::new(Rc::new(Snapshot { gate, upstream, in_force: Rc::clone(&in_force) }));
        Rc::new(Self { current, in_force, doors, core, drain })
    }

    /// From now on requests are judged by this gate and sent to this upstream; those in flight end as they began,
    /// but that nothing is sent any more for a key or with a credential that is out of force.
    pub fn renew(&self, gate: Arc<Gate>, upstream: U) {
        *self.in_force.borrow_mut() = Arc::clone(&gate);
        *self.current.borrow_mut() = Rc::new(Snapshot { gate, upstream, in_force: Rc::clone(&self.in_force) });
    }

    /// The straight line, up to the request that is on its way out, or waits until it may go.
    fn send(
        &self,
        snapshot: &Snapshot<U>,
        ledger: &mut Ledger,
        arrival: &Arrival,
        parts: Parts,
        shown: Shown,
        incoming: RequestBody,
    ) -> Result<Launch<U::Future>, ProxyError> {
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
        let mut inbound = access.admit(parts, shown, ledger)?;
        if gate.redact == Redact::Decode {
            inbound.ask_for_all();
        }
        let decision = access.decide(&inbound, ledger)?;
        match decision.admit()? {
            Admission::Given(slot) => ledger.occupy(slot),
            Admission::Awaited(wait) => {
                let letter = Letter { inbound, body: incoming, listener: arrival.listener, uid };
                return Ok(Launch::Unallotted(Box::new((letter, wait))));
            }
        }
        match decision {
            Decision::Permitted(permit) => {
                snapshot.forward(ledger, inbound, permit, incoming, door.max_body).map(Launch::Sent)
            }
            Decision::Sealed(_) => {
                let letter = Letter { inbound, body: incoming, listener: arrival.listener, uid };
                Ok(Launch::Sealed(Box::new(letter)))
            }
            Decision::Introspection(key) => {
                let id = &ledger.record.request_id;
                Ok(Launch::Own(introspection::introspection(&key, &gate.routes, SystemTime::now(), id)))
            }
        }
    }

    /// Goes on once a part of the day's quota is there, by what is in force then; or, where that takes too long, without.
    async fn go_on(&self, ledger: &mut Ledger, letter: Letter, mut wait: Wait) -> Result<Answer<D>, ProxyError> {
        let door = &self.doors[letter.listener];
        let until = Instant::now() + ALLOTMENT;
        loop {
            let told = wait.over(until).await;
            let snapshot = self.current.borrow().clone();
            let access = Access { keys: &snapshot.gate.keys, routes: &snapshot.gate.routes, door, uid: letter.uid };
            let decision = access.decide(&letter.inbound, &mut ledger.again())?;
            let admission = if told { decision.admit()? } else { Admission::Given(decision.admit_at_last()?) };
            match admission {
                Admission::Given(slot) => ledger.occupy(slot),
                Admission::Awaited(again) => {
                    wait = again;
                    continue;
                }
            }
            return match decision {
                Decision::Permitted(permit) => {
                    let Letter { inbound, body, .. } = letter;
                    self.launch(&snapshot, ledger, inbound, permit, body, door).await
                }
                Decision::Sealed(_) => self.open(ledger, letter).await,
                // Its path has not changed.
                Decision::Introspection(_) => Err(ProxyError::Internal),
            };
        }
    }

    /// Decides on what the body says, by what is in force once that is known, and goes on from there.
    async fn open(&self, ledger: &mut Ledger, mut letter: Letter) -> Result<Answer<D>, ProxyError> {
        let door = &self.doors[letter.listener];
        let scope = letter.read(door).await?;
        let Letter { inbound, body, uid, .. } = letter;
        ledger.record.scope = Some(scope.as_str());
        let snapshot = self.current.borrow().clone();
        let access = Access { keys: &snapshot.gate.keys, routes: &snapshot.gate.routes, door, uid };
        let permit = access.decide_anew(&inbound, scope, &mut ledger.again())?;
        self.launch(&snapshot, ledger, inbound, permit, body, door).await
    }

    /// Sends a request that had to wait for its permit, and waits for the answer.
    async fn launch(
        &self,
        snapshot: &Snapshot<U>,
        ledger: &mut Ledger,
        inbound: Inbound,
        permit: Permit,
        body: RequestBody,
        door: &Door,
    ) -> Result<Answer<D>, ProxyError> {
        match snapshot.forward(ledger, inbound, permit, body, door.max_body)? {
            Sent::Away(away) => snapshot.answer(ledger, away).await,
            Sent::Held(held) => snapshot.release(ledger, *held).await,
        }
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
            Ok(Answer { response, scrub }) => response.map(|data| Body::streaming(data, scrub, ledger, asked.old)),
            Err(error) => {
                let response = respond(&error, &ledger.record.request_id);
                ledger.refuse(&error, if asked.head { 0 } else { response.body().len() });
                response.map(Body::whole)
            }
        };
        self.part(&mut response, ends_with_connection);
        response
    }

    /// The gateway's own answer, to a request that it did not refuse.
    fn tell(&self, mut ledger: Box<Ledger>, response: Response<Bytes>, asked: &Asked) -> Response<Body<D>> {
        ledger.answer(response.status(), if asked.head { 0 } else { response.body().len() });
        let mut response = response.map(Body::whole);
        self.part(&mut response, false);
        response
    }

    /// Says so where an answer is the last of its connection.
    fn part(&self, response: &mut Response<Body<D>>, ends_with_connection: bool) {
        // hyper would promise an HTTP/1.0 client to keep a connection whose end is the body's end.
        if self.drain.is_leaving() || ends_with_connection {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

impl<U, D> Snapshot<U>
where
    U: Service<Call<UploadBody>, Response = Response<D>, Error = SendError<UploadBody>> + Clone + 'static,
    D: HttpBody<Data = Bytes, Error = BodyFault> + Unpin + 'static,
{
    /// Sends a request that may be sent, with its body.
    fn forward(
        &self,
        ledger: &mut Ledger,
        inbound: Inbound,
        permit: Permit,
        incoming: RequestBody,
        max_body: u64,
    ) -> Result<Sent<U::Future>, ProxyError> {
        let (body, upload) = Upload::watch(incoming, max_body)?;
        if let Some(upload) = &upload {
            ledger.watch(upload.clone());
        }
        self.dispatch(ledger, inbound, permit, body, upload)
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
        let snapshot = self.current.borrow().clone();
        let keys = &snapshot.gate.keys;
        let shown = Shown::of(&parts, keys);
        let mut ledger = Ledger::open(&self.core, &self.drain, &arrival, &parts, &shown, keys);
        // Everything before the exchange is done at once: what the future carries stays small.
        let sent =
            catch_unwind(AssertUnwindSafe(|| self.send(&snapshot, &mut ledger, &arrival, parts, shown, incoming)));
        async move {
            let outcome = match sent.unwrap_or(Err(ProxyError::Internal)) {
                Ok(Launch::Sent(Sent::Away(away))) => caught(snapshot.answer(&mut ledger, away)).await,
                // Rare, and large: in a box it does not weigh on every other request.
                Ok(Launch::Sent(Sent::Held(held))) => caught(Box::pin(snapshot.release(&mut ledger, *held))).await,
                Ok(Launch::Sealed(letter)) => caught(Box::pin(self.open(&mut ledger, *letter))).await,
                Ok(Launch::Unallotted(waiting)) => {
                    let (letter, wait) = *waiting;
                    caught(Box::pin(self.go_on(&mut ledger, letter, wait))).await
                }
                Ok(Launch::Own(response)) => return self.tell(ledger, response, &asked),
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

/// What has become of a request that is not refused.
enum Launch<F> {
    /// It is on its way, or waits for its turn.
    Sent(Sent<F>),
    /// Its body has yet to say whether it may be sent.
    Sealed(Box<Letter>),
    /// A part of its key's day has yet to be given.
    Unallotted(Box<(Letter, Wait)>),
    /// The gateway itself answers it.
    Own(Response<Bytes>),
}

/// How long a request waits for a part of its key's day; then it goes ahead of it.
const ALLOTMENT: Duration = Duration::from_secs(1);

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
