//! Connections of the simulator: read a request, do what is on order for it, answer, and go on.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use serde_json::json;
use tokio::io::DuplexStream;
use tokio::net::{TcpListener, TcpStream};

use super::answer::{self, Answer, Body};
use super::api;
use super::deliver::{deliver, echo};
use super::fault::Trouble;
use super::probe;
use super::seen::Arriving;
use super::shared::{Counted, Shared};
use super::wire::{Framing, Head, Socket, Wire};
use crate::task;

/// Accepts connections until the simulator is stopped, then closes the listener.
pub(super) async fn listen(shared: Arc<Shared>, listener: TcpListener) {
    let open = shared.listening();
    accept_all(&shared, &listener).await;
    drop(listener);
    drop(open);
}

async fn accept_all(shared: &Arc<Shared>, listener: &TcpListener) {
    loop {
        tokio::select! {
            () = shared.stopped() => return,
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => {
                    let (serial, live) = Arc::clone(shared).connected();
                    task::spawn("a connection of the simulator", connection(Arc::clone(shared), socket, serial, live));
                }
                Err(error) => back_off(&error).await,
            }
        }
    }
}

/// A process out of file descriptors must not spin on `accept`.
async fn back_off(error: &io::Error) {
    tracing::warn!(%error, "the simulator cannot accept a connection");
    tokio::time::sleep(Duration::from_millis(20)).await;
}

/// Serves a pipe in memory as if it were a connection, in clear text.
pub(super) fn serve_pipe(shared: &Arc<Shared>, pipe: DuplexStream) {
    let (serial, live) = Arc::clone(shared).connected();
    let shared = Arc::clone(shared);
    task::spawn("a pipe of the simulator", async move {
        until_stopped(&shared, serial, Conversation { shared: &shared, wire: Wire::new(pipe), serial }.run()).await;
        drop(live);
    });
}

async fn connection(shared: Arc<Shared>, socket: TcpStream, serial: usize, live: Counted<Arc<Shared>>) {
    until_stopped(&shared, serial, converse(&shared, socket, serial)).await;
    drop(live);
}

async fn until_stopped(shared: &Shared, serial: usize, conversation: impl Future<Output = io::Result<()>>) {
    tokio::select! {
        () = shared.stopped() => {}
        ended = conversation => if let Err(error) = ended {
            tracing::debug!(serial, %error, "a connection of the simulator ended early");
        }
    }
}

async fn converse(shared: &Shared, socket: TcpStream, serial: usize) -> io::Result<()> {
    socket.set_nodelay(true)?;
    match &shared.tls {
        None => Conversation { shared, wire: Wire::new(socket), serial }.run().await,
        Some(tls) => Conversation { shared, wire: Wire::new(tls.accept(socket).await?), serial }.run().await,
    }
}

/// What becomes of the connection after an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Exchange,
    Close,
    Reset,
}

struct Conversation<'a, S> {
    shared: &'a Shared,
    wire: Wire<S>,
    serial: usize,
}

impl<S: Socket> Conversation<'_, S> {
    async fn run(mut self) -> io::Result<()> {
        loop {
            match self.exchange().await {
                Ok(Next::Exchange) => {}
                Ok(Next::Close) => return self.wire.finish().await,
                Ok(Next::Reset) => {
                    self.wire.reset();
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidData => return self.refuse(&error).await,
                Err(error) => return Err(error),
            }
        }
    }

    async fn exchange(&mut self) -> io::Result<Next> {
        let Some(head) = self.wire.head().await? else { return Ok(Next::Close) };
        let number = self.shared.ledger().enter(&head, self.serial);
        self.shared.announce();
        let framing = head.framing().map_err(|fault| io::Error::new(io::ErrorKind::InvalidData, fault))?;
        let trouble = self.judge(&head).or_else(|| self.shared.faults().take(&head));
        if let Some(Trouble::EarlyAnswer(status)) = trouble {
            self.deliver(&head, self.plain(status, Bytes::new()), None).await?;
            self.receive(number, framing).await?;
            return Ok(after(&head));
        }
        if matches!(trouble, Some(Trouble::CloseUnread)) {
            return Ok(Next::Reset);
        }
        if head.expects_continue() && framing != Framing::Ended {
            self.wire.send(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        if trouble.is_none() && probe::streams(&head) {
            return self.stream(&head, number, framing).await;
        }
        let body = self.receive(number, framing).await?;
        self.answer(&head, body, trouble).await
    }

    /// Answers as the trouble has it.
    async fn answer(&mut self, head: &Head, body: Bytes, trouble: Option<Trouble>) -> io::Result<Next> {
        match trouble {
            Some(Trouble::CloseBeforeAnswer) => return Ok(Next::Close),
            Some(Trouble::LoseAnswer) => {
                drop(self.ordinary(head, &body));
                return Ok(Next::Close);
            }
            Some(Trouble::ResetConnection) => return Ok(Next::Reset),
            Some(Trouble::GarbageHead) => return self.close_with(b"\x16\x03\x01 \xffnot HTTP at all\r\n\r\n").await,
            Some(Trouble::Http09) => return self.close_with(b"{\"data\": [], \"has_more\": false}\n").await,
            Some(Trouble::Status101) => return self.switch_protocols().await,
            Some(Trouble::NoAnswer) if !self.pass_gate().await => return Ok(Next::Close),
            _ => {}
        }
        let answer = match trouble.clone() {
            Some(Trouble::Status(status, body)) => self.plain(status, body),
            Some(Trouble::Answer(answer)) => answer.map(Body::Whole),
            Some(Trouble::HugeHead(length)) => {
                answer::with(answer::whole(StatusCode::OK, ""), FILLER, &"x".repeat(length))
            }
            _ => whole_echo(self.ordinary(head, &body), body),
        };
        if matches!(trouble, Some(Trouble::HoldAnswer)) && !self.pass_gate().await {
            return Ok(Next::Close);
        }
        self.deliver(head, answer, trouble.as_ref()).await?;
        match trouble {
            Some(Trouble::CloseAfterAnswer) => Ok(Next::Close),
            Some(Trouble::StrayBytesAfterAnswer) => {
                self.wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nstray").await?;
                Ok(after(head))
            }
            _ => Ok(after(head)),
        }
    }

    /// Remembers and refuses what should not have come.
    fn judge(&self, head: &Head) -> Option<Trouble> {
        let violation = self.shared.expectations.violation(head)?;
        let body = json!({ "error": violation }).to_string();
        self.shared.ledger().violated(violation);
        Some(Trouble::Status(StatusCode::BAD_REQUEST, body.into()))
    }

    /// What Close would answer.
    fn ordinary(&self, head: &Head, body: &[u8]) -> Answer {
        let scheme = if self.shared.tls.is_some() { "https" } else { "http" };
        api::answer(&mut self.shared.world(), &api::Request { head, body, scheme })
    }

    /// An answer of an ordered status, under ordinary headers.
    fn plain(&self, status: StatusCode, body: Bytes) -> Answer {
        let mut answer = answer::typed(answer::whole(status, body), "application/json");
        let trace = self.shared.world().ids.trace();
        answer::dress(answer.headers_mut(), &trace);
        answer
    }

    /// Sends the body back while it comes, when the request may have an echo.
    async fn stream(&mut self, head: &Head, number: usize, mut framing: Framing) -> io::Result<Next> {
        let answer = self.ordinary(head, b"");
        if !matches!(answer.body(), Body::Echo) || head.minor_version == 0 {
            let body = self.receive(number, framing).await?;
            self.deliver(head, whole_echo(answer, body), None).await?;
            return Ok(after(head));
        }
        let mut arriving = Arriving::new();
        let echoed = echo(&mut self.wire, head, &answer, &mut framing, &mut arriving).await;
        self.enter_body(number, arriving, echoed.is_ok());
        echoed.map(|()| after(head))
    }

    /// Reads the body to its end and enters it; of a very large one only the beginning is handed on.
    async fn receive(&mut self, number: usize, mut framing: Framing) -> io::Result<Bytes> {
        let mut arriving = Arriving::new();
        let mut body = BytesMut::new();
        loop {
            match self.wire.piece(&mut framing).await {
                Ok(Some(piece)) => {
                    arriving.add(&piece);
                    let room = MAX_BODY - body.len();
                    body.extend_from_slice(&piece[..piece.len().min(room)]);
                }
                Ok(None) => break,
                Err(error) => {
                    self.enter_body(number, arriving, false);
                    return Err(error);
                }
            }
        }
        self.enter_body(number, arriving, true);
        Ok(body.freeze())
    }

    fn enter_body(&mut self, number: usize, arriving: Arriving, complete: bool) {
        let trailers = complete.then(|| std::mem::take(&mut self.wire.trailers));
        self.shared.ledger().body(number, arriving, trailers);
        self.shared.announce();
    }

    async fn deliver(&mut self, head: &Head, answer: Answer, trouble: Option<&Trouble>) -> io::Result<()> {
        deliver(self.shared, &mut self.wire, head, answer, trouble).await
    }

    async fn close_with(&mut self, bytes: &[u8]) -> io::Result<Next> {
        self.wire.send(bytes).await?;
        Ok(Next::Close)
    }

    async fn switch_protocols(&mut self) -> io::Result<Next> {
        let head = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n";
        self.wire.send(head).await?;
        self.wire.gone().await;
        Ok(Next::Close)
    }

    /// Waits at the gate; false when the client left meanwhile.
    async fn pass_gate(&mut self) -> bool {
        tokio::select! {
            () = self.shared.pass_gate() => true,
            () = self.wire.gone() => false,
        }
    }

    /// A message whose framing is in doubt: remembered, answered, and the connection ends.
    async fn refuse(mut self, fault: &io::Error) -> io::Result<()> {
        self.shared.ledger().violated(format!("malformed request: {fault}"));
        self.shared.announce();
        self.wire.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await?;
        self.wire.finish().await
    }
}

/// An echo of a body that has arrived whole.
fn whole_echo(answer: Answer, body: Bytes) -> Answer {
    answer.map(|old| if matches!(old, Body::Echo) { Body::Whole(body) } else { old })
}

fn after(head: &Head) -> Next {
    if head.keeps_alive() { Next::Exchange } else { Next::Close }
}

const FILLER: http::HeaderName = http::HeaderName::from_static("x-filler");
const MAX_BODY: usize = 64 * 1024 * 1024;
