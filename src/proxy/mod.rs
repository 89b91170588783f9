//! The straight line of a request: sanitise, identify, resolve, authorise, attempt, clean.
//!
//! Each step takes what only the step before can make, so that the order of the security steps is the only program
//! that compiles. Round it stands one wrapper that opens and closes the record and turns errors into responses.

mod answer;
mod asks;
mod body;
mod decode;
mod door;
mod error;
mod explain;
mod fields;
mod inbound;
mod incident;
mod introspection;
mod ledger;
mod letter;
mod outbound;
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
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue};
use http::request::Parts;
use http::{HeaderName, Method, Request, Response, StatusCode, Version};
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

use self::answer::Content;
use self::body::Scrub;
use self::inbound::Inbound;
use self::ledger::Ledger;
use self::letter::Letter;
use self::outbound::Outbound;
use self::permit::{Access, Decision, Leave, Permit};
use self::respond::{REQUEST_ID, respond};
use self::upload::Upload;
use crate::config::Redact;
use crate::edge::{Arrival, Drain, Handler, RequestBody};
use crate::keys::KeySet;
use crate::routes::{Route, RouteTable};
use crate::telemetry::{Answerer, Core};
use crate::upstream::{BodyFault, Call, Freshness, Progress, SendError, SendFault};
use crate::vault::{Authorization, Redactor, Vault};

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

const CREDENTIAL: HeaderName = HeaderName::from_static("closegate-credential");
const TRACE_ID: HeaderName = HeaderName::from_static("trace-id");

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

    /// The straight line, up to the request that is on its way out.
    fn send(
        &self,
        snapshot: &Snapshot<U>,
        ledger: &mut Ledger,
        arrival: &Arrival,
        parts: Parts,
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
        let mut inbound = access.admit(parts)?;
        if gate.redact == Redact::Decode {
            inbound.ask_for_all();
        }
        let permit = match access.decide(&inbound, ledger)? {
            Decision::Permitted(permit) => permit,
            Decision::Sealed(sealed) => {
                ledger.hold(sealed.admit()?);
                let letter = Letter { inbound, sealed, body: incoming, max_body: door.max_body };
                return Ok(Launch::Sealed(Box::new(letter)));
            }
            Decision::Introspection(key) => {
                let id = &ledger.record.request_id;
                return Ok(Launch::Own(introspection::introspection(&key, &gate.routes, SystemTime::now(), id)));
            }
        };
        ledger.hold(permit.admit()?);
        snapshot.dispatch(ledger, inbound, permit, incoming, door.max_body).map(Launch::Sent)
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
    /// Makes the request of its credential and hands it to the upstream.
    fn dispatch(
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
        let authorization = self.authorization(permit.route())?;
        let generation = authorization.generation();
        let again = Again::of(inbound.asks.effective(), &body);
        let outbound = Outbound::new(inbound, &permit)?;
        let (request, redactor) = outbound.authorized(authorization, body);
        let call = self.call(request, permit.route(), again.freshness());
        ledger.record.attempts = 1;
        let exchange = self.upstream.clone().call(call);
        Ok(Sent { exchange, again, redactor, leave: permit.leave(), upload, generation })
    }

    /// Decides on what the body says, and goes on from there.
    async fn open(&self, ledger: &mut Ledger, mut letter: Letter) -> Result<Answer<D>, ProxyError> {
        let scope = letter.read().await?;
        let Letter { inbound, sealed, body, max_body } = letter;
        ledger.record.scope = Some(scope.as_str());
        let permit = sealed.open(scope, ledger)?;
        let sent = self.dispatch(ledger, inbound, permit, body, max_body)?;
        self.answer(ledger, sent).await
    }

    /// Waits for the answer, sends the request once more where that is safe, and cleans what comes back.
    async fn answer(&self, ledger: &mut Ledger, sent: Sent<U::Future>) -> Result<Answer<D>, ProxyError> {
        let Sent { exchange, again, mut redactor, leave, upload, mut generation } = sent;
        let response = match exchange.await {
            Ok(response) => response,
            Err(error) => {
                let refused = matches!(error.fault, SendFault::Refused);
                let call;
                (call, redactor, generation) = self.resend(&again, error, leave.route(), upload.as_ref())?;
                ledger.record.attempts = 2;
                ledger.record.retries = 1;
                ledger.record.retry_reason = Some(if refused { "refused" } else { "closed" });
                // Rare, and large: in a box it does not weigh on every other request.
                let sent = Box::pin(self.upstream.clone().call(call)).await;
                sent.map_err(|error| explain(error.fault, upload.as_ref()))?
            }
        };
        ledger.record.upstream_first_byte = Some(ledger.record.started.elapsed());
        self.accept(ledger, response, redactor, &leave, generation)
    }

    fn call(&self, request: Request<UploadBody>, route: &Route, freshness: Freshness) -> Call<UploadBody> {
        Call { request, slot: self.gate.slots[route.index as usize], freshness }
    }

    fn authorization(&self, route: &Route) -> Result<Authorization, ProxyError> {
        self.gate.vault.authorization(route.credential).map_err(|unavailable| ProxyError::CredentialUnavailable {
            reason: unavailable.reason,
            retry_after: unavailable.retry_after,
        })
    }

    /// The safe-retry rule (contract.md 4 "Retries", security.md 31): once, and a POST is seen at most once.
    fn resend(
        &self,
        again: &Again,
        error: SendError<UploadBody>,
        route: &Route,
        upload: Option<&Upload>,
    ) -> Result<(Call<UploadBody>, Redactor, u64), ProxyError> {
        let again_at_all = match error.fault {
            SendFault::Refused => true,
            SendFault::Closed(_) => error.reused,
            _ => false,
        };
        let request = error.request.filter(|_| again_at_all && again.is_safe_after(error.progress));
        let mut request = request.ok_or_else(|| explain(error.fault, upload))?;
        let authorization = self.authorization(route)?;
        let generation = authorization.generation();
        let redactor = authorization.inject(request.headers_mut());
        Ok((self.call(*request, route, Freshness::New), redactor, generation))
    }

    fn accept(
        &self,
        ledger: &mut Ledger,
        response: Response<D>,
        mut redactor: Redactor,
        leave: &Leave,
        generation: u64,
    ) -> Result<Answer<D>, ProxyError> {
        let (mut parts, data) = response.into_parts();
        ledger.record.origin = Answerer::Upstream;
        ledger.record.status = parts.status.as_u16();
        answer::clean(&mut parts, leave, &mut redactor);
        ledger.record.upstream_trace_id = parts.headers.get(TRACE_ID).cloned();
        ledger.record.redactions = redactor.redactions();
        if parts.status == StatusCode::UNAUTHORIZED {
            let route = leave.route();
            self.gate.vault.suspect(route.credential, generation, &route.origin);
            parts.headers.insert(CREDENTIAL, HeaderValue::from_static("suspect"));
        }
        parts.headers.insert(REQUEST_ID, ledger.record.request_id.header());
        let content = if data.is_end_stream() { Content::None } else { Content::Some };
        let scrub = answer::scrub(self.gate.redact, &mut parts, content, redactor)?;
        Ok(Answer { response: Response::from_parts(parts, data), scrub })
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
                Ok(Launch::Sent(sent)) => caught(snapshot.answer(&mut ledger, sent)).await,
                // Rare, and large.
                Ok(Launch::Sealed(letter)) => caught(Box::pin(snapshot.open(&mut ledger, *letter))).await,
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

/// What has become of a request that is not refused, as far as nothing needs to be waited for.
enum Launch<F> {
    /// It is on its way.
    Sent(Sent<F>),
    /// Its body has yet to say whether it may be sent.
    Sealed(Box<Letter>),
    /// The gateway itself answers it.
    Own(Response<Bytes>),
}

/// A request on its way out, and what its answer will need.
struct Sent<F> {
    exchange: F,
    again: Again,
    redactor: Redactor,
    leave: Leave,
    upload: Option<Upload>,
    generation: u64,
}

/// An answer with its head cleaned; its body is still to come.
struct Answer<D> {
    response: Response<D>,
    scrub: Scrub,
}

/// Whether a request may be sent again.
struct Again {
    idempotent: bool,
    empty: bool,
}

impl Again {
    /// Doing it twice is doing it once (RFC 9110 9.2.2), by the method that is carried out.
    fn of(effective: &Method, body: &UploadBody) -> Self {
        Self { idempotent: effective.is_idempotent(), empty: matches!(body, UploadBody::Empty) }
    }

    /// What cannot be sent again takes a connection that is known to live.
    fn freshness(&self) -> Freshness {
        if self.idempotent && self.empty { Freshness::Pooled } else { Freshness::Proven }
    }

    fn is_safe_after(&self, progress: Progress) -> bool {
        match progress {
            Progress::Nothing => true,
            Progress::Written => self.idempotent,
            Progress::Answered => false,
        }
    }
}

/// An exchange that failed because the request's own body did is no fault of the upstream.
fn explain(fault: SendFault, upload: Option<&Upload>) -> ProxyError {
    upload.and_then(Upload::fault).map_or(ProxyError::Send(fault), ProxyError::from)
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
