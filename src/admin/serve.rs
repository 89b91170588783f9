//! Serves an operator's listener: HTTP/1.1, few connections, and no patience with slow ones.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::health::Health;
use super::respond::{Sources, router};
use crate::edge::ServerTls;
use crate::task;
use crate::telemetry::Telemetry;

/// Serves `/metrics`, `/healthz` and `/readyz`, over TLS if so said, until `shutdown` is done; then answers what was asked, for a moment.
///
/// It runs on the thread that calls it; a runtime with I/O and time must be entered.
///
/// # Errors
///
/// When the listener cannot be handed to the runtime.
pub async fn serve(
    listener: std::net::TcpListener,
    tls: Option<Arc<ServerTls>>,
    telemetry: Arc<Telemetry>,
    health: Arc<Health>,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    let service = TowerToHyperService::new(router(Sources { telemetry, health }));
    let mut http = http1::Builder::new();
    // One exchange a connection: then one time-out bounds a slow reader as well as a slow writer.
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(MAX_HEAD).keep_alive(false);
    let graceful = GracefulShutdown::new();
    let seats = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut shutdown = pin!(shutdown);
    loop {
        let (seat, stream) = tokio::select! {
            () = &mut shutdown => break,
            seated = accept(&listener, &seats) => seated,
        };
        let (http, service, watcher) = (http.clone(), service.clone(), graceful.watcher());
        let acceptor = tls.as_ref().map(|tls| tls.acceptor());
        task::spawn("operator's connection", async move {
            let exchange = async {
                match acceptor {
                    None => drop(watcher.watch(http.serve_connection(TokioIo::new(stream), service)).await),
                    Some(acceptor) => {
                        let Ok(stream) = acceptor.accept(stream).await else { return };
                        drop(watcher.watch(http.serve_connection(TokioIo::new(stream), service)).await);
                    }
                }
            };
            // A client that is slow, broken or gone ends its own connection and nothing else.
            let _ = tokio::time::timeout(EXCHANGE_TIMEOUT, exchange).await;
            drop(seat);
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(SHUTDOWN_GRACE, graceful.shutdown()).await;
    Ok(())
}

/// Accepts a connection once there is a seat for it; without a free descriptor it waits for one.
async fn accept(listener: &TcpListener, seats: &Arc<Semaphore>) -> (Option<OwnedSemaphorePermit>, TcpStream) {
    let seat = seats.clone().acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (seat, stream),
            Err(error) => {
                tracing::debug!(%error, "an operator's connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

const MAX_CONNECTIONS: usize = 256;
const MAX_HEAD: usize = 16 * 1024;

/// To receive a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// For a whole exchange, from the accepted connection to its end.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(30);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);
