//! `closegate health`: asks the local gateway whether it is ready, as a container's health check does.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;

use super::print;
use crate::admin;
use crate::config::Admin;

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
    let address = admin::reachable(admin);
    let request = Request::get("/readyz").body(Full::default()).map_err(io::Error::other);
    let answer = match request {
        Ok(request) => admin::call(admin, request, PATIENCE).await,
        Err(error) => Err(error),
    };
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

fn judge(address: SocketAddr, answer: &Response<Bytes>) -> Result<(), HealthFault> {
    let told = serde_json::from_slice::<serde_json::Value>(answer.body()).ok();
    let says_status = told.is_some_and(|told| told["status"].is_string());
    match answer.status() {
        StatusCode::OK if says_status => Ok(()),
        StatusCode::SERVICE_UNAVAILABLE if says_status => {
            Err(HealthFault::NotReady { address, body: String::from_utf8_lossy(answer.body()).into_owned() })
        }
        _ => Err(HealthFault::Foreign { address }),
    }
}

/// Health checks have a patience of their own, often of 3 s.
const PATIENCE: Duration = Duration::from_millis(2500);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::oneshot;

    use super::*;
    use crate::admin::{Details, Health, Phase, Surface};
    use crate::config::Tls;
    use crate::telemetry::{Access, Options, Telemetry};

    #[tokio::test]
    async fn a_gateway_is_healthy_once_it_is_ready() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let health = Arc::new(Health::new(Details::default));
        let telemetry = Telemetry::new(Options { max_key_series: 1, access: Access::Off }, io::sink());
        let (stop, stopped) = oneshot::channel::<()>();
        let served =
            admin::serve(listener, None, Surface::probes(telemetry, health.clone()), async { drop(stopped.await) });
        let admin = Admin { address, ..Admin::default() };
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
        let served =
            admin::serve(listener, Some(tls), Surface::probes(telemetry, health), async { drop(stopped.await) });
        let asked = async {
            probe(&Admin { address, tls: Some(own), ..Admin::default() }).await.unwrap();
            for tls in [Some(other), None] {
                assert!(probe(&Admin { address, tls, ..Admin::default() }).await.is_err());
            }
            stop.send(()).unwrap();
        };
        tokio::join!(async { served.await.unwrap() }, asked);
    }

    #[test]
    fn a_stranger_is_not_taken_for_the_gateway() {
        let address = "127.0.0.1:1".parse().unwrap();
        for (status, body) in
            [(200, "hello"), (404, "{\"status\":404}"), (200, "{}"), (503, ""), (302, "{\"status\":\"ready\"}")]
        {
            let answer = Response::builder().status(status).body(Bytes::from_static(body.as_bytes())).unwrap();
            assert!(matches!(judge(address, &answer), Err(HealthFault::Foreign { .. })), "{status} {body}");
        }
    }
}
