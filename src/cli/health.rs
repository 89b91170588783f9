//! `closegate health`: asks the local gateway whether it is ready, as a container's health check does.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::print;

/// Why the gateway does not count as ready.
#[derive(Debug, thiserror::Error)]
pub(super) enum HealthFault {
    /// Nobody answered, or the answer broke off.
    #[error("no answer from `{address}`\nhint: is the gateway running, with `admin.address` set to this?")]
    Unreachable {
        /// Who was asked.
        address: SocketAddr,
        /// What went wrong.
        source: io::Error,
    },
    /// The gateway is alive and not ready.
    #[error("the gateway at `{address}` is not ready: {body}")]
    NotReady {
        /// Who was asked.
        address: SocketAddr,
        /// What it said of itself.
        body: String,
    },
    /// What answered is no gateway.
    #[error("what answers at `{address}` is not the gateway's admin listener")]
    Foreign {
        /// Who was asked.
        address: SocketAddr,
    },
}

/// Asks `/readyz` at the admin listener's address, on loopback when it listens on every address.
///
/// # Errors
///
/// When nobody answers in time, or the answer is not that of a gateway that is ready.
pub(super) async fn probe(address: SocketAddr) -> Result<(), HealthFault> {
    let address = reachable(address);
    let answer = tokio::time::timeout(PATIENCE, ask(address)).await;
    let answer = answer.map_err(|_| io::ErrorKind::TimedOut.into()).flatten();
    judge(address, &answer.map_err(|source| HealthFault::Unreachable { address, source })?)
}

/// Probes on a runtime of its own; says on stderr why the gateway is not ready.
pub(super) fn run(address: SocketAddr) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = runtime
        .map_err(|source| HealthFault::Unreachable { address, source })
        .and_then(|runtime| runtime.block_on(probe(address)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            print::fault(format_args!("error: {fault}"));
            ExitCode::FAILURE
        }
    }
}

async fn ask(address: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn judge(address: SocketAddr, answer: &str) -> Result<(), HealthFault> {
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(HealthFault::Foreign { address })?;
    let told = serde_json::from_str::<serde_json::Value>(body).ok();
    let says_status = told.is_some_and(|told| told["status"].is_string());
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|head| head.get(..3));
    match status {
        Some("200") if says_status => Ok(()),
        Some("503") if says_status => Err(HealthFault::NotReady { address, body: body.to_owned() }),
        _ => Err(HealthFault::Foreign { address }),
    }
}

/// An unspecified address is one to listen on, not one to call.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    address
}

/// Health checks have a patience of their own, often of 3 s.
const PATIENCE: Duration = Duration::from_millis(2500);
const MAX_ANSWER: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::oneshot;

    use super::*;
    use crate::admin::{self, Details, Health, Phase};
    use crate::telemetry::{Access, Options, Telemetry};

    #[test]
    fn an_unspecified_address_is_called_on_loopback() {
        for (given, called) in
            [("0.0.0.0:9464", "127.0.0.1:9464"), ("[::]:9464", "[::1]:9464"), ("192.0.2.7:9464", "192.0.2.7:9464")]
        {
            assert_eq!(reachable(given.parse().unwrap()), called.parse().unwrap());
        }
    }

    #[tokio::test]
    async fn a_gateway_is_healthy_once_it_is_ready() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let health = Arc::new(Health::new(Details::default));
        let telemetry = Telemetry::new(Options { max_key_series: 1, access: Access::Off }, io::sink());
        let (stop, stopped) = oneshot::channel::<()>();
        let served = admin::serve(listener, None, telemetry, health.clone(), async { drop(stopped.await) });
        let asked = async {
            let fault = probe(address).await.unwrap_err();
            assert!(matches!(&fault, HealthFault::NotReady { body, .. } if body.contains("starting")), "{fault}");
            health.enter(Phase::Ready);
            probe(address).await.unwrap();
            stop.send(()).unwrap();
        };
        tokio::join!(async { served.await.unwrap() }, asked);
        assert!(matches!(probe(address).await, Err(HealthFault::Unreachable { .. })));
    }

    #[test]
    fn a_stranger_is_not_taken_for_the_gateway() {
        let address = "127.0.0.1:1".parse().unwrap();
        for answer in
            ["", "HTTP/1.1 200 OK\r\n\r\nhello", "HTTP/1.1 404 Not Found\r\n\r\n{\"status\":404}", "SSH-2.0\r\n"]
        {
            assert!(matches!(judge(address, answer), Err(HealthFault::Foreign { .. })), "{answer}");
        }
    }
}
