//! `closegate health`: asks the local gateway whether it is ready, as a container's health check does.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::config::{Admin, Tls};
use crate::net::pinned;

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
pub(super) async fn probe(admin: &Admin) -> Result<(), HealthFault> {
    let address = reachable(admin.address);
    let answer = tokio::time::timeout(PATIENCE, ask(address, admin.tls.as_ref())).await;
    let answer = answer.map_err(|_| io::ErrorKind::TimedOut.into()).flatten();
    judge(address, &answer.map_err(|source| HealthFault::Unreachable { address, source })?)
}

/// Probes on a runtime of its own; says on stderr why the gateway is not ready.
pub(super) fn run(admin: &Admin) -> ExitCode {
    let address = admin.address;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = runtime
        .map_err(|source| HealthFault::Unreachable { address, source })
        .and_then(|runtime| runtime.block_on(probe(admin)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            print::fault(format_args!("error: {fault}"));
            ExitCode::FAILURE
        }
    }
}

async fn ask(address: SocketAddr, tls: Option<&Tls>) -> io::Result<String> {
    let stream = TcpStream::connect(address).await?;
    let Some(tls) = tls else { return exchange(address, stream).await };
    // Whoever listens there must have the certificate that is configured; its name and dates are for others.
    let pinned = pinned(&tls.cert).map_err(io::Error::other)?;
    let name = ServerName::from(address.ip());
    exchange(address, TlsConnector::from(pinned).connect(name, stream).await?).await
}

async fn exchange(address: SocketAddr, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<String> {
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
        let admin = Admin { address, tls: None };
        let asked = async {
            let fault = probe(&admin).await.unwrap_err();
            assert!(matches!(&fault, HealthFault::NotReady { body, .. } if body.contains("starting")), "{fault}");
            health.enter(Phase::Ready);
            probe(&admin).await.unwrap();
            stop.send(()).unwrap();
        };
        tokio::join!(async { served.await.unwrap() }, asked);
        assert!(matches!(probe(&admin).await, Err(HealthFault::Unreachable { .. })));
    }

    #[tokio::test]
    async fn over_tls_only_the_configured_certificate_is_the_gateways() {
        let folder = tempfile::tempdir().unwrap();
        let identity = |name: &str| {
            // The name and the dates are not this machine's.
            let mut params = rcgen::CertificateParams::new(vec!["gate.example".to_owned()]).unwrap();
            params.not_after = rcgen::date_time_ymd(2020, 1, 1);
            let key = rcgen::KeyPair::generate().unwrap();
            let (cert, path) = (folder.path().join(format!("{name}.crt")), folder.path().join(format!("{name}.key")));
            std::fs::write(&cert, params.self_signed(&key).unwrap().pem()).unwrap();
            std::fs::write(&path, key.serialize_pem()).unwrap();
            Tls { cert, key: path, client_ca: None }
        };
        let (own, other) = (identity("own"), identity("other"));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let health = Arc::new(Health::new(Details::default));
        health.enter(Phase::Ready);
        let telemetry = Telemetry::new(Options { max_key_series: 1, access: Access::Off }, io::sink());
        let tls = crate::edge::ServerTls::new(&own, crate::edge::Offer::H1).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = admin::serve(listener, Some(tls), telemetry, health, async { drop(stopped.await) });
        let asked = async {
            probe(&Admin { address, tls: Some(own) }).await.unwrap();
            for tls in [Some(other), None] {
                assert!(probe(&Admin { address, tls }).await.is_err());
            }
            stop.send(()).unwrap();
        };
        tokio::join!(async { served.await.unwrap() }, asked);
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
