//! One request upstream, as often as it takes: as whom, when, and whether once more (contract.md 4 "Retries").
//!
//! Most requests are on their way at once. One that must wait first is *held*: a boxed future that waits and then sends.
//! Whether a request is sent again is decided here and nowhere else, by what `again` says of it.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::header::HeaderValue;
use http::{HeaderName, Request, Response, StatusCode};
use hyper::body::Body as HttpBody;
use tower::Service;

use super::Snapshot;
use super::again::Again;
use super::answer::{self, Content};
use super::body::Scrub;
use super::error::ProxyError;
use super::inbound::Inbound;
use super::ledger::Ledger;
use super::outbound::Outbound;
use super::peeked::Peeked;
use super::permit::{Leave, Permit};
use super::respond::REQUEST_ID;
use super::upload::{Upload, UploadBody};
use crate::id::CredentialId;
use crate::keys::Presented;
use crate::pace::{Entry, Lesson, Share, Turn};
use crate::routes::Route;
use crate::telemetry::{Answerer, Retry};
use crate::upstream::{BodyFault, Call, Freshness, Progress, SendError, SendFault, Unprocessed};
use crate::vault::{Authorization, Awaiting, Redactor, Vault};

/// A request that may go out: on its way, or held until it may.
pub(super) enum Sent<F> {
    /// On its way.
    Away(Away<F>),
    /// Not yet: rare, and large.
    Held(Box<Held>),
}

/// A request on its way out, and what its answer will need.
pub(super) struct Away<F> {
    /// In a box: until it is awaited it is handed on from place to place, and it is large.
    exchange: Pin<Box<F>>,
    matter: Matter,
    redactor: Redactor,
    generation: u64,
}

/// A request that waits before it goes out for the first time.
pub(super) struct Held {
    outbound: Outbound,
    body: UploadBody,
    matter: Matter,
    wait: Wait,
}

/// What a held request waits for.
enum Wait {
    /// Its turn.
    Turn(Turn),
    /// The next token of its credential; then its turn.
    Token(Awaiting),
}

/// What stays the same over all attempts of a request.
struct Matter {
    again: Again,
    leave: Leave,
    upload: Option<Upload>,
    share: Share,
}

/// An answer with its head cleaned; its body is still to come.
pub(super) struct Answer<D: HttpBody> {
    pub(super) response: Response<Peeked<D>>,
    pub(super) scrub: Scrub,
}

/// What becomes of a request after an attempt that did not end in an answer to it.
enum Next<D: HttpBody> {
    /// It is sent once more.
    Again { request: Request<UploadBody>, freshness: Freshness, retry: Retry },
    /// This is its answer after all.
    Answer(Response<Peeked<D>>),
}

const CREDENTIAL: HeaderName = HeaderName::from_static("closegate-credential");
const TRACE_ID: HeaderName = HeaderName::from_static("trace-id");

impl<U, D> Snapshot<U>
where
    U: Service<Call<UploadBody>, Response = Response<D>, Error = SendError<UploadBody>> + Clone + 'static,
    D: HttpBody<Data = Bytes, Error = BodyFault> + Unpin + 'static,
{
    /// Makes the request of its credential and hands it to the upstream, or to those that wait.
    pub(super) fn dispatch(
        &self,
        ledger: &mut Ledger,
        mut inbound: Inbound,
        permit: Permit,
        body: UploadBody,
        upload: Option<Upload>,
    ) -> Result<Sent<U::Future>, ProxyError> {
        ledger.present(std::mem::replace(&mut inbound.presented, Presented::Absent));
        let credential = permit.route().credential;
        let authorization = match self.authorization(permit.route()) {
            Ok(authorization) => Ok(authorization),
            Err(unavailable) => Err(self.gate.vault.awaited(credential).ok_or(unavailable)?),
        };
        let again = Again::of(inbound.asks.effective(), &body);
        let outbound = Outbound::new(inbound, &permit)?;
        let may_go_again = again.idempotent || self.gate.pace.waits() || self.gate.vault.renews(credential);
        if let Some(upload) = upload.as_ref().filter(|_| may_go_again) {
            upload.keep();
        }
        let matter = Matter { again, leave: permit.leave(), upload, share: ledger.share() };
        let authorization = match authorization {
            Ok(authorization) => authorization,
            Err(awaiting) => {
                let wait = Wait::Token(awaiting);
                return Ok(Sent::Held(Box::new(Held { outbound, body, matter, wait })));
            }
        };
        match self.gate.pace.enter(matter.credential(), matter.share, ledger.record.paced) {
            Entry::Free(place) => {
                ledger.place = place;
                Ok(Sent::Away(self.send_off(ledger, outbound, body, matter, authorization)))
            }
            Entry::Held(turn) => {
                ledger.hold();
                let wait = Wait::Turn(turn);
                Ok(Sent::Held(Box::new(Held { outbound, body, matter, wait })))
            }
            Entry::Refused(exhausted) => Err(exhausted.into()),
        }
    }

    fn send_off(
        &self,
        ledger: &mut Ledger,
        outbound: Outbound,
        body: UploadBody,
        matter: Matter,
        authorization: Authorization,
    ) -> Away<U::Future> {
        let generation = authorization.generation();
        let (request, redactor) = outbound.authorized(authorization, body);
        let call = self.call(request, matter.leave.route(), matter.again.freshness());
        ledger.record.attempts = 1;
        let exchange = Box::pin(self.upstream.clone().call(call));
        Away { exchange, matter, redactor, generation }
    }

    /// Waits until a held request may go out, sends it, and waits for the answer.
    pub(super) async fn release(&self, ledger: &mut Ledger, held: Held) -> Result<Answer<D>, ProxyError> {
        let Held { outbound, body, matter, wait } = held;
        match wait {
            Wait::Turn(turn) => {
                ledger.place = Some(turn.await?);
                ledger.release();
            }
            Wait::Token(awaiting) => {
                drop(awaiting.token().await?);
                self.take_turn(ledger, &matter).await?;
            }
        }
        let authorization = self.authorization_now(ledger, &matter).await.inspect_err(|_| ledger.give_back())?;
        let away = self.send_off(ledger, outbound, body, matter, authorization);
        self.answer(ledger, away).await
    }

    /// Waits for the answer, sends the request once more where that is safe, and cleans what comes back.
    pub(super) async fn answer(&self, ledger: &mut Ledger, away: Away<U::Future>) -> Result<Answer<D>, ProxyError> {
        let Away { exchange, matter, redactor, generation } = away;
        match exchange.await {
            Ok(response) if !Unprocessed::is_told_by(response.status()) => {
                self.learn(ledger, &matter, &Lesson::read(response.status(), response.headers()));
                self.accept(ledger, response.map(Peeked::whole), redactor, &matter, generation)
            }
            // Rare, and large: in a box it does not weigh on every other request.
            outcome => Box::pin(self.go_on(ledger, outcome, matter, redactor, generation)).await,
        }
    }

    /// Goes on after an attempt that may not have been the last.
    async fn go_on(
        &self,
        ledger: &mut Ledger,
        mut outcome: Result<Response<D>, SendError<UploadBody>>,
        mut matter: Matter,
        mut redactor: Redactor,
        mut generation: u64,
    ) -> Result<Answer<D>, ProxyError> {
        loop {
            let next = match outcome {
                Err(error) => self.after_failure(ledger, &matter, error)?,
                Ok(response) if response.status() == StatusCode::UNAUTHORIZED => {
                    self.after_refusal(ledger, &matter, response, generation).await?
                }
                Ok(response) => self.after_answer(ledger, &matter, response).await?,
            };
            let (mut request, freshness, retry) = match next {
                Next::Again { request, freshness, retry } => (request, freshness, retry),
                Next::Answer(response) => return self.accept(ledger, response, redactor, &matter, generation),
            };
            let route = matter.leave.route();
            let authorization = self.authorization_now(ledger, &matter).await.inspect_err(|_| {
                if retry == Retry::RateLimited {
                    ledger.give_back();
                }
            })?;
            generation = authorization.generation();
            redactor = authorization.inject(request.headers_mut());
            let call = self.call(request, route, freshness);
            matter.again.made.add(retry);
            ledger.record.retries.add(retry);
            ledger.record.attempts += 1;
            outcome = self.upstream.clone().call(call).await;
        }
    }

    /// After an exchange that failed: once, and a POST is seen at most once (security.md 31).
    fn after_failure(
        &self,
        ledger: &mut Ledger,
        matter: &Matter,
        error: SendError<UploadBody>,
    ) -> Result<Next<D>, ProxyError> {
        let retry = matter.again.after_failure(&error);
        let SendError { fault, request, progress, .. } = error;
        match (retry, retry.and_then(|_| matter.whole(*request))) {
            (Some(retry), Some(request)) => Ok(Next::Again { request, freshness: Freshness::New, retry }),
            _ => {
                if progress == Progress::Nothing {
                    ledger.nothing_sent();
                }
                ledger.place = None;
                Err(explain(fault, matter.upload.as_ref()))
            }
        }
    }

    /// After an answer: once more when it says that the request was not processed, and what kept it from that passes.
    async fn after_answer(
        &self,
        ledger: &mut Ledger,
        matter: &Matter,
        response: Response<D>,
    ) -> Result<Next<D>, ProxyError> {
        let mut lesson = Lesson::read(response.status(), response.headers());
        if response.status() != StatusCode::TOO_MANY_REQUESTS || !self.gate.pace.waits() {
            self.learn(ledger, matter, &lesson);
            return Ok(Next::Answer(response.map(Peeked::whole)));
        }
        let (mut parts, data) = response.into_parts();
        let mut data = Peeked::whole(data);
        if lesson.is_open() {
            lesson.read_body(data.peek().await);
        }
        self.learn(ledger, matter, &lesson);
        let head = parts.extensions.remove::<Unprocessed>();
        let Some(request) = head.and_then(|head| matter.once_more(Retry::RateLimited, head)) else {
            return Ok(Next::Answer(Response::from_parts(parts, data)));
        };
        match self.gate.pace.enter(matter.credential(), matter.share, ledger.record.paced) {
            Entry::Free(place) => ledger.place = place,
            Entry::Held(turn) => {
                drop(data);
                ledger.hold();
                ledger.place = Some(turn.await?);
                ledger.release();
            }
            // The wait does not fit: what the upstream says goes on as it came.
            Entry::Refused(_) => return Ok(Next::Answer(Response::from_parts(parts, data))),
        }
        Ok(Next::Again { request, freshness: matter.again.freshness(), retry: Retry::RateLimited })
    }

    /// After a 401: once more with another token, of a credential that has some, unless the refused one was new.
    async fn after_refusal(
        &self,
        ledger: &mut Ledger,
        matter: &Matter,
        response: Response<D>,
        generation: u64,
    ) -> Result<Next<D>, ProxyError> {
        let (mut parts, data) = response.into_parts();
        self.learn(ledger, matter, &Lesson::read(parts.status, &parts.headers));
        let head = parts.extensions.remove::<Unprocessed>();
        let renewed = self.gate.vault.renewed(matter.credential(), generation);
        let request =
            head.zip(renewed).and_then(|(head, renewed)| Some((matter.once_more(Retry::Renewed, head)?, renewed)));
        let Some((request, renewed)) = request else {
            return Ok(Next::Answer(Response::from_parts(parts, Peeked::whole(data))));
        };
        // Without another token the refusal is the answer; so it is when there is no turn for it any more.
        if renewed.token().await.is_err() || self.take_turn(ledger, matter).await.is_err() {
            return Ok(Next::Answer(Response::from_parts(parts, Peeked::whole(data))));
        }
        Ok(Next::Again { request, freshness: matter.again.freshness(), retry: Retry::Renewed })
    }

    /// Waits for the turn of a request that waited for something else before.
    async fn take_turn(&self, ledger: &mut Ledger, matter: &Matter) -> Result<(), ProxyError> {
        match self.gate.pace.enter(matter.credential(), matter.share, ledger.record.paced) {
            Entry::Free(place) => ledger.place = place,
            Entry::Held(turn) => {
                ledger.hold();
                ledger.place = Some(turn.await?);
                ledger.release();
            }
            Entry::Refused(exhausted) => return Err(exhausted.into()),
        }
        Ok(())
    }

    fn learn(&self, ledger: &mut Ledger, matter: &Matter, lesson: &Lesson) {
        self.gate.pace.learn(matter.credential(), matter.share.group, ledger.place.take(), lesson);
    }

    fn call(&self, request: Request<UploadBody>, route: &Route, freshness: Freshness) -> Call<UploadBody> {
        Call { request, slot: self.gate.slots[route.index as usize], freshness }
    }

    fn authorization(&self, route: &Route) -> Result<Authorization, ProxyError> {
        Ok(self.gate.vault.authorization(route.credential)?)
    }

    /// The same for a request that has waited, by what is in force now: its key or its credential may be so no more.
    /// Of a token that has ended meanwhile it is the next one.
    async fn authorization_now(&self, ledger: &Ledger, matter: &Matter) -> Result<Authorization, ProxyError> {
        let (vault, credential) = self.standing(ledger, matter)?;
        match (vault.authorization(credential), vault.awaited(credential)) {
            (Err(_), Some(awaiting)) => {
                let authorization = awaiting.token().await?;
                self.standing(ledger, matter)?;
                Ok(authorization)
            }
            (authorization, _) => Ok(authorization?),
        }
    }

    /// The credential that a request which has waited goes out as, and the vault that has it now.
    fn standing(&self, ledger: &Ledger, matter: &Matter) -> Result<(Arc<Vault>, CredentialId), ProxyError> {
        let gate = Arc::clone(&self.in_force.borrow());
        let caller = ledger.caller(&gate.keys);
        let credential = matter.leave.stands_by(&gate.keys, &gate.routes, &caller)?.credential;
        if gate.vault.name(credential) != self.gate.vault.name(matter.credential()) {
            return Err(ProxyError::NoRoute);
        }
        Ok((Arc::clone(&gate.vault), credential))
    }

    fn accept(
        &self,
        ledger: &mut Ledger,
        response: Response<Peeked<D>>,
        mut redactor: Redactor,
        matter: &Matter,
        generation: u64,
    ) -> Result<Answer<D>, ProxyError> {
        if let Some(upload) = &matter.upload {
            upload.settle();
        }
        ledger.note_first_byte();
        let (mut parts, data) = response.into_parts();
        ledger.record.origin = Answerer::Upstream;
        ledger.record.status = parts.status.as_u16();
        answer::clean(&mut parts, &matter.leave, &mut redactor);
        ledger.record.upstream_trace_id = parts.headers.get(TRACE_ID).cloned();
        ledger.record.redactions = redactor.redactions();
        if parts.status == StatusCode::UNAUTHORIZED {
            let route = matter.leave.route();
            self.gate.vault.suspect(route.credential, generation, &route.origin);
            parts.headers.insert(CREDENTIAL, HeaderValue::from_static("suspect"));
        }
        parts.headers.insert(REQUEST_ID, ledger.record.request_id.header());
        let content = if data.is_end_stream() { Content::None } else { Content::Some };
        let scrub = answer::scrub(self.gate.redact, &mut parts, content, redactor)?;
        Ok(Answer { response: Response::from_parts(parts, data), scrub })
    }
}

impl Matter {
    fn credential(&self) -> CredentialId {
        self.leave.route().credential
    }

    /// A request that was not sent to its end, with its body from the beginning, if that can still be had.
    fn whole(&self, request: Request<Option<UploadBody>>) -> Option<Request<UploadBody>> {
        let (head, untouched) = request.into_parts();
        let body = untouched.or_else(|| self.upload.as_ref()?.replay())?;
        Some(Request::from_parts(head, body))
    }

    /// The request once more after an answer that gave its head back, if it was not sent again for this reason yet and
    /// its body is still there.
    fn once_more(&self, retry: Retry, head: Unprocessed) -> Option<Request<UploadBody>> {
        if self.again.made.contains(retry) {
            return None;
        }
        let body = match &self.upload {
            None => UploadBody::Empty,
            Some(upload) => upload.replay()?,
        };
        Some(Request::from_parts(head.0, body))
    }
}

/// An exchange that failed because the request's own body did is no fault of the upstream.
fn explain(fault: SendFault, upload: Option<&Upload>) -> ProxyError {
    upload.and_then(Upload::fault).map_or(ProxyError::Send(fault), ProxyError::from)
}
