//! The operator's listener, asked over real connections.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use http::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::{Details, Health, Phase, Surface, serve};
use crate::telemetry::{Access, Options, Telemetry};

struct Answer {
    status: StatusCode,
    head: String,
    body: String,
}

async fn ask(address: SocketAddr, method: &str, path: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: any.example\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head[9..12].parse().unwrap();
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

/// Serves while `asked` runs, then ends.
async fn while_serving<F: Future<Output = ()>>(health: Health, asked: impl FnOnce(SocketAddr, Arc<Health>) -> F) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let health = Arc::new(health);
    let telemetry = Telemetry::new(Options { max_key_series: 9, access: Access::Off }, io::sink());
    let (stop, stopped) = oneshot::channel::<()>();
    let served = serve(listener, None, Surface::probes(telemetry, health.clone()), async { drop(stopped.await) });
    let asked = async {
        asked(address, health).await;
        stop.send(()).unwrap();
    };
    let (served, ()) = tokio::join!(served, asked);
    served.unwrap();
}

#[tokio::test]
async fn readiness_follows_the_phase_and_shows_what_is_down() {
    let down = || Details { credentials_down: vec!["sales".to_owned()], store_down: None };
    while_serving(Health::new(down), async |address, health: Arc<Health>| {
        let starting = ask(address, "GET", "/readyz").await;
        assert_eq!(starting.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(starting.body, r#"{"status":"starting","credentials_down":["sales"]}"#);

        health.enter(Phase::Ready);
        let ready = ask(address, "GET", "/readyz").await;
        assert_eq!(ready.status, StatusCode::OK, "a dead credential does not make the gateway unready");
        assert_eq!(ready.body, r#"{"status":"ready","credentials_down":["sales"]}"#);

        health.enter(Phase::Draining);
        let draining = ask(address, "GET", "/readyz").await;
        assert_eq!(draining.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(ask(address, "GET", "/healthz").await.body, r#"{"status":"ok"}"#, "alive in every phase");
    })
    .await;
}

#[tokio::test]
async fn metrics_are_served_as_prometheus_reads_them() {
    while_serving(Health::new(Details::default), async |address, _| {
        let metrics = ask(address, "GET", "/metrics").await;
        assert_eq!(metrics.status, StatusCode::OK);
        assert!(metrics.head.contains("content-type: text/plain; version=0.0.4"), "{}", metrics.head);
        assert!(metrics.head.contains("cache-control: no-store"), "{}", metrics.head);
        assert!(metrics.body.contains("# TYPE closegate_build_info gauge\n"), "{}", metrics.body);
        let head = ask(address, "HEAD", "/metrics").await;
        assert_eq!((head.status, head.body.as_str()), (StatusCode::OK, ""));
    })
    .await;
}

#[tokio::test]
async fn what_is_not_there_is_a_problem_with_a_code() {
    while_serving(Health::new(Details::default), async |address, _| {
        let absent = ask(address, "GET", "/api/v1/keys").await;
        assert_eq!(absent.status, StatusCode::NOT_FOUND);
        assert!(absent.head.contains("content-type: application/problem+json"), "{}", absent.head);
        assert_eq!(
            absent.body,
            r#"{"type":"about:blank","title":"Not Found","status":404,"code":"not_found","detail":"there is nothing at this path"}"#
        );

        let refused = ask(address, "DELETE", "/metrics").await;
        assert_eq!(refused.status, StatusCode::METHOD_NOT_ALLOWED);
        assert!(refused.head.contains("allow: get,head"), "{}", refused.head);
        assert!(refused.body.contains(r#""code":"method_not_allowed""#), "{}", refused.body);
    })
    .await;
}

#[tokio::test]
async fn a_broken_client_harms_nobody_else() {
    while_serving(Health::new(Details::default), async |address, _| {
        let mut broken = TcpStream::connect(address).await.unwrap();
        broken.write_all(b"\0 nonsense\r\n\r\n").await.unwrap();
        let silent = TcpStream::connect(address).await.unwrap();
        assert_eq!(ask(address, "GET", "/healthz").await.status, StatusCode::OK);
        drop((broken, silent));
    })
    .await;
}
