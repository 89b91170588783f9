//! The origin: a process that speaks TLS as Close does, and HTTP/2 to whom offers it.
//!
//! It answers 401 unless the injected credential is exactly right.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::Result;
use crate::certificate;
use crate::contenders::{Stopped, injected};

/// The origin's process.
pub(crate) struct Origin {
    port: u16,
    clear: u16,
    _process: Stopped,
}

impl Origin {
    /// Writes certificates into the folder, and starts a process that serves with them.
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        certify(folder)?;
        Self::another(folder)
    }

    /// Starts one more process that serves with the certificates of the folder.
    pub(crate) fn another(folder: &Path) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("origin").arg(folder).stdout(Stdio::piped());
        let mut process = Stopped(command.spawn()?);
        let mut line = String::new();
        BufReader::new(process.stdout()?).read_line(&mut line)?;
        let (port, clear) = line.trim().split_once(' ').ok_or("the origin does not say where it listens")?;
        Ok(Self { port: port.parse()?, clear: clear.parse()?, _process: process })
    }

    /// Where it listens on loopback, with TLS.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Where it listens without.
    pub(crate) fn clear(&self) -> u16 {
        self.clear
    }

    /// How many requests it has seen.
    pub(crate) fn seen(&self) -> Result<u64> {
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.clear))?;
        stream.write_all(b"GET /seen HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let answer = io::read_to_string(stream)?;
        Ok(answer.lines().last().ok_or("the origin says nothing")?.parse()?)
    }
}

/// Serves until the process is ended; its two ports go to stdout.
pub(crate) fn serve(folder: &Path) -> Result<()> {
    let chain = vec![CertificateDer::from_pem_file(folder.join("origin.pem"))?];
    let key = PrivateKeyDer::from_pem_file(folder.join("origin.key"))?;
    let mut tls = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let close = Rc::new(Close { expected: injected(), seen: Cell::new(0), bodies: RefCell::default() });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(LocalSet::new().run_until(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let clear = TcpListener::bind("127.0.0.1:0").await?;
        println!("{} {}", listener.local_addr()?.port(), clear.local_addr()?.port());
        loop {
            // A contender that ends closes its connections as it likes: its errors are counted at the driver.
            tokio::select! {
                accepted = listener.accept() => {
                    let (stream, acceptor, close) = (accepted?.0, acceptor.clone(), Rc::clone(&close));
                    closegate::task::spawn_local(async move { drop(secure(stream, acceptor, close).await) });
                }
                accepted = clear.accept() => {
                    let (stream, close) = (accepted?.0, Rc::clone(&close));
                    stream.set_nodelay(true)?;
                    closegate::task::spawn_local(async move { drop(messages(stream, close).await) });
                }
            }
        }
    }))
}

async fn secure(stream: TcpStream, acceptor: TlsAcceptor, close: Rc<Close>) -> Result<()> {
    stream.set_nodelay(true)?;
    let stream = acceptor.accept(stream).await?;
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        return streams(stream, close).await;
    }
    messages(stream, close).await
}

/// HTTP/1.1.
async fn messages(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, close: Rc<Close>) -> Result<()> {
    let service = service_fn(|request: Request<Incoming>| {
        let close = Rc::clone(&close);
        async move {
            let (head, body) = request.into_parts();
            body.collect().await?;
            hyper::Result::Ok(close.answer(&head).map(Full::new))
        }
    });
    http1::Builder::new().serve_connection(TokioIo::new(stream), service).await?;
    Ok(())
}

/// HTTP/2.
async fn streams(stream: TlsStream<TcpStream>, close: Rc<Close>) -> Result<()> {
    let mut connection = h2::server::handshake(stream).await?;
    while let Some(accepted) = connection.accept().await {
        let (request, respond) = accepted?;
        let (head, body) = request.into_parts();
        let exchange = exchange(head, body, respond, Rc::clone(&close));
        closegate::task::spawn_local(async move { drop(exchange.await) });
    }
    Ok(())
}

async fn exchange(head: Parts, mut body: RecvStream, mut respond: SendResponse<Bytes>, close: Rc<Close>) -> Result<()> {
    while let Some(chunk) = body.data().await {
        body.flow_control().release_capacity(chunk?.len())?;
    }
    let (head, body) = close.answer(&head).into_parts();
    respond.send_response(Response::from_parts(head, ()), false)?.send_data(body, true)?;
    Ok(())
}

/// After one request here the credential has used up its limit for some minutes, as the answer says.
pub(crate) const EXHAUSTED: &str = "/api/v1/contact/";
const NOTHING_LEFT: &str = "limit=100000, remaining=0, reset=250";
const PLENTY_LEFT: &str = "limit=1000000, remaining=999999, reset=1";

/// What plays Close.
struct Close {
    /// The one `Authorization` that it takes.
    expected: String,
    seen: Cell<u64>,
    /// Bodies, by their size.
    bodies: RefCell<HashMap<usize, Bytes>>,
}

impl Close {
    /// `?size=N` is answered with that many bytes of JSON and what is left of a limit, if the credential is right.
    fn answer(&self, request: &Parts) -> Response<Bytes> {
        if request.uri.path() == "/seen" {
            return Response::new(Bytes::from(self.seen.get().to_string()));
        }
        self.seen.set(self.seen.get() + 1);
        let mut presented = request.headers.get_all(AUTHORIZATION).iter();
        let authorised = presented.next().is_some_and(|value| *value == self.expected) && presented.next().is_none();
        let size = request.uri.query().and_then(|query| query.strip_prefix("size=")?.parse::<usize>().ok());
        let (status, body) = match size {
            Some(size) if authorised => (StatusCode::OK, self.body(size)),
            Some(_) => (StatusCode::UNAUTHORIZED, Bytes::new()),
            None => (StatusCode::NOT_FOUND, Bytes::new()),
        };
        let length = HeaderValue::from(body.len());
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_LENGTH, length);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let left = if request.uri.path() == EXHAUSTED { NOTHING_LEFT } else { PLENTY_LEFT };
        headers.insert("ratelimit", HeaderValue::from_static(left));
        response
    }

    fn body(&self, size: usize) -> Bytes {
        let json = || Bytes::from(format!("{{\"data\":\"{}\"}}", "x".repeat(size.saturating_sub(11))));
        self.bodies.borrow_mut().entry(size).or_insert_with(json).clone()
    }
}

/// What it shows: `origin.pem` and `origin.key`.
fn certify(folder: &Path) -> Result<()> {
    let (leaf, key) = certificate::issue(folder)?;
    fs::write(folder.join("origin.pem"), leaf.pem())?;
    fs::write(folder.join("origin.key"), key.serialize_pem())?;
    Ok(())
}
