//! Serves an operator's listener: HTTP/1.1, few connections, and no patience with slow ones.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::IntoResponse as _;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::Service as _;

use super::api::Api;
use super::health::Health;
use super::patience::Patient;
use super::refusal::Refusal;
use super::respond::{Sources, closed, probes, strict};
use crate::edge::ServerTls;
use crate::task;
use crate::telemetry::Telemetry;

/// What a listener answers.
pub struct Surface {
    telemetry: Arc<Telemetry>,
    health: Arc<Health>,
    api: Option<Api>,
}

/// How a request came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Came {
    /// From where.
    pub(super) peer: IpAddr,
    /// Over TLS of this listener.
    pub(super) tls: bool,
}

impl Surface {
    /// `/metrics`, `/healthz` and `/readyz` alone.
    pub fn probes(telemetry: Arc<Telemetry>, health: Arc<Health>) -> Self {
        Self { telemetry, health, api: None }
    }

    /// The three, and the admin API.
    pub fn with_api(self, api: Api) -> Self {
        Self { api: Some(api), ..self }
    }

    fn router(self) -> Router {
        let probes = probes(Sources { telemetry: self.telemetry, health: self.health });
        match self.api {
            Some(api) => {
                let api = Arc::new(api);
                strict(probes).fallback(move |request| api.clone().answer(request))
            }
            None => closed(probes),
        }
    }
}

/// Serves a surface, over TLS if so said, until `shutdown` is done; then answers what was asked, for a moment.
///
/// It runs on the thread that calls it; a runtime with I/O and time must be entered.
///
/// # Errors
///
/// When the listener cannot be handed to the runtime.
pub async fn serve(
    listener: std::net::TcpListener,
    tls: Option<Arc<ServerTls>>,
    surface: Surface,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let router = surface.router();
    let mut http = http1::Builder::new();
    // Also the time that a connection may lie without a request.
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(MAX_HEAD).keep_alive(true);
    let graceful = GracefulShutdown::new();
    let seats = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut shutdown = pin!(shutdown);
    loop {
        let (seat, stream, peer) = tokio::select! {
            () = &mut shutdown => break,
            seated = accept(&listener, &seats) => seated,
        };
        let (http, watcher) = (http.clone(), graceful.watcher());
        let came = Came { peer: peer.ip().to_canonical(), tls: tls.is_some() };
        let (router, acceptor) = (router.clone(), tls.as_ref().map(|tls| tls.acceptor()));
        task::spawn("operator's connection", async move {
            let conversation = async {
                match acceptor {
                    None => converse(&http, stream, router, came, watcher).await,
                    Some(acceptor) => {
                        let accepted = tokio::time::timeout(HEAD_TIMEOUT, acceptor.accept(stream)).await;
                        let Ok(Ok(stream)) = accepted else { return };
                        converse(&http, stream, router, came, watcher).await;
                    }
                }
            };
            // A client that is slow, broken or gone ends its own connection and nothing else.
            let _ = tokio::time::timeout(LONGEST_CONNECTION, conversation).await;
            drop(seat);
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(SHUTDOWN_GRACE, graceful.shutdown()).await;
    Ok(())
}

/// One connection; each request on it knows how it came.
async fn converse<S>(http: &http1::Builder, stream: S, router: Router, came: Came, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let answer = move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(came);
        let answering = router.clone().call(request);
        async {
            // Whoever leaves takes nothing back: what was begun, at Close above all, is brought to its end.
            let answered = task::concluded("operator's request", answering).await;
            answered.unwrap_or_else(|| Ok(Refusal::internal().into_response()))
        }
    };
    let stream = TokioIo::new(Patient::new(stream, STALL));
    // How it ended is nobody's concern.
    let _ = watcher.watch(http.serve_connection(stream, service_fn(answer))).await;
}

/// Accepts a connection once there is a seat for it; without a free descriptor it waits for one.
async fn accept(
    listener: &TcpListener,
    seats: &Arc<Semaphore>,
) -> (Option<OwnedSemaphorePermit>, TcpStream, SocketAddr) {
    let seat = seats.clone().acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return (seat, stream, peer),
            Err(error) => {
                tracing::debug!(%error, "an operator's connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

const MAX_CONNECTIONS: usize = 256;
const MAX_HEAD: usize = 16 * 1024;

/// To receive a request's head, and for a TLS handshake; a connection without a request may lie as long.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take nothing of an answer.
const STALL: Duration = Duration::from_secs(20);
/// A connection that is used all the time ends as well, some time.
const LONGEST_CONNECTION: Duration = Duration::from_secs(3600);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);
