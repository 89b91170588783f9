//! HTTP/2 in front: the same requests with the same answers, over prior knowledge and over a Unix socket.

#![expect(clippy::disallowed_methods, reason = "tasks of a test end with its runtime")]

use std::future::Future;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::origin::Origin;
use crate::world::{INJECTED, KEY, World, gateway};

type Sender = SendRequest<Full<Bytes>>;

/// A session, and what ends when the connection does.
async fn session(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> (Sender, tokio::task::JoinHandle<()>) {
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(io)).await.unwrap();
    (sender, tokio::spawn(async move { drop(connection.await) }))
}

async fn connect(address: SocketAddr) -> (Sender, tokio::task::JoinHandle<()>) {
    session(TcpStream::connect(address).await.unwrap()).await
}

fn request(path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let body = body.into();
    let method = if body.is_empty() { "GET" } else { "POST" };
    let mut request = Request::builder().method(method).uri(format!("http://localhost{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(body)).unwrap()
}

/// A request with the key; status, code and body of its answer.
async fn ask(
    sender: &mut Sender,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> (u16, String, Bytes) {
    let mut request = request(path, headers, body);
    request.headers_mut().insert("closegate-key", KEY.parse().unwrap());
    told(sender.send_request(request).await.unwrap()).await
}

async fn told(answer: Response<hyper::body::Incoming>) -> (u16, String, Bytes) {
    let code = answer.headers().get("closegate-error").map(|code| code.to_str().unwrap().to_owned());
    let status = answer.status().as_u16();
    (status, code.unwrap_or_default(), answer.into_body().collect().await.unwrap().to_bytes())
}

fn world(origin: &Origin, limits: &str) -> World {
    gateway(origin.address).key("\"sales\"").set("listen", limits).start()
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(future)
}

#[test]
fn requests_go_the_same_way_and_many_at_once() {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let world = world(&origin, "");
    block_on(async {
        let (mut sender, _connection) = connect(world.proxy).await;
        assert_eq!(ask(&mut sender, "/sales/x?a=%20b", &[("te", "trailers"), ("cookie", "a=b")], "").await.0, 200);
        let requests: Vec<_> = (0..50)
            .map(|_| {
                let mut sender = sender.clone();
                tokio::spawn(async move { ask(&mut sender, "/sales/y", &[], "").await })
            })
            .collect();
        for one in requests {
            assert_eq!(one.await.unwrap(), (200, String::new(), Bytes::from_static(b"ok")));
        }
    });
    let first = &origin.wait_for(51)[0];
    assert_eq!(first.line(), "GET /x?a=%20b HTTP/1.1");
    assert_eq!(first.values("authorization"), [INJECTED]);
    for name in ["te", "cookie", "closegate-key", ":authority"] {
        assert!(first.values(name).is_empty(), "{name}");
    }
    let records = world.records.wait_for(51);
    assert!(records.iter().all(|record| record["status"] == 200 && record["key"] == "main"));
}

#[test]
fn refusals_are_told_with_a_code_and_a_record_and_the_connection_goes_on() {
    let origin = Origin::plain();
    let world =
        world(&origin, "max_body = \"1KiB\"\nmax_uri_bytes = \"256B\"\nmax_header_bytes = \"4KiB\"\nmax_headers = 20");
    block_on(async {
        let (mut sender, _connection) = connect(world.proxy).await;
        let long = "a".repeat(300);
        let wide = "b".repeat(4096);
        let huge = "c".repeat(200 * 1024);
        let lines: Vec<String> = (0..30).map(|number| format!("x-{number}")).collect();
        let lines: Vec<(&str, &str)> = lines.iter().map(|name| (name.as_str(), "v")).collect();
        for (path, headers, body, status, code) in [
            (format!("/sales/{long}").as_str(), &[][..], "", 414, "uri_too_long"),
            ("/sales/x", &[("x-wide", wide.as_str())], "", 431, "headers_too_large"),
            ("/sales/x", &[("x-huge", huge.as_str())], "", 431, "headers_too_large"),
            ("/sales/x", &lines, "", 431, "headers_too_large"),
            ("/sales/x", &[], wide.as_str(), 413, "body_too_large"),
            ("/sales/x", &[("host", "elsewhere.example")], "", 400, "request_malformed"),
            ("/sales/%2e%2e/x", &[], "", 400, "path_not_canonical"),
            ("/nowhere", &[], "", 404, "no_route"),
        ] {
            let answer = ask(&mut sender, path, headers, body.to_owned()).await;
            assert_eq!((answer.0, answer.1.as_str()), (status, code), "{path}");
            let told: serde_json::Value = serde_json::from_slice(&answer.2).unwrap();
            assert_eq!(told["closegate"]["code"], code);
        }
        let refused = told(sender.send_request(request("/sales/x", &[], "")).await.unwrap()).await;
        assert_eq!((refused.0, refused.1.as_str()), (401, "key_missing"));
        let foreign = Request::builder().uri("http://evil.example/sales/x").body(Full::default()).unwrap();
        assert_eq!(told(sender.send_request(foreign).await.unwrap()).await.0, 421);
        assert_eq!(ask(&mut sender, "/sales/x", &[], "").await.0, 200);
    });
    assert_eq!(origin.seen().len(), 1);
    assert_eq!(world.records.wait_for(11).len(), 11);
}

#[test]
fn a_connection_without_requests_is_told_to_go() {
    let origin = Origin::plain();
    let world = world(&origin, "idle_timeout = \"200ms\"");
    block_on(async {
        let (mut sender, connection) = connect(world.proxy).await;
        assert_eq!(ask(&mut sender, "/sales/x", &[], "").await.0, 200);
        connection.await.unwrap();
        assert!(sender.send_request(request("/sales/x", &[], "")).await.is_err());
    });
}

#[test]
fn line_39_what_is_in_flight_is_finished_when_the_gateway_drains() {
    let (release, released) = std::sync::mpsc::channel();
    let released = std::sync::Mutex::new(released);
    let origin = Origin::start(move |conversation| {
        conversation.request().unwrap();
        conversation.send("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nha");
        released.lock().unwrap().recv().unwrap();
        conversation.send("lf");
    });
    let mut world = world(&origin, "");
    block_on(async {
        let (sender, connection) = connect(world.proxy).await;
        let mut asking = sender.clone();
        let mut request = request("/sales/x", &[], "");
        request.headers_mut().insert("closegate-key", KEY.parse().unwrap());
        let answer = asking.send_request(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let ended = world.stop_beside();
        // Nobody new is let in: the end has begun.
        while TcpStream::connect(world.proxy).await.is_ok() {}
        release.send(()).unwrap();
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "half");
        connection.await.unwrap();
        assert_eq!(ended.await.unwrap(), closegate::app::End::Drained);
    });
}

#[test]
fn a_unix_socket_serves_both_versions_and_says_whose_the_client_is() {
    let origin = Origin::plain();
    let world = gateway(origin.address)
        .key("\"sales\"")
        .set("listeners.tools", "address = \"unix:tools.sock\"\nmode = \"0600\"")
        .start();
    let path = world.folder.path().join("tools.sock");
    block_on(async {
        let (mut sender, _connection) = session(UnixStream::connect(&path).await.unwrap()).await;
        assert_eq!(ask(&mut sender, "/sales/x", &[], "").await.0, 200);
    });
    let mut client = std::os::unix::net::UnixStream::connect(&path).unwrap();
    std::io::Write::write_all(
        &mut client,
        format!("GET /sales/y HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {KEY}\r\nConnection: close\r\n\r\n")
            .as_bytes(),
    )
    .unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut client, &mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let uid = rustix::process::geteuid().as_raw();
    for record in world.records.wait_for(2) {
        assert_eq!(record["client_addr"], format!("unix:{uid}"));
    }
    drop(world);
    assert!(!path.exists());
}

#[test]
fn on_a_unix_socket_the_right_user_needs_no_key() {
    let origin = Origin::plain();
    let uid = rustix::process::geteuid().as_raw();
    let asked = |peer: u32, authorization: &str| {
        let world = gateway(origin.address)
            .key("\"sales\"")
            .set("keys.local", &format!("peer = {{ uid = {peer} }}\nroutes = [\"sales\"]"))
            .set("listeners.tools", "address = \"unix:tools.sock\"")
            .start();
        let mut client = std::os::unix::net::UnixStream::connect(world.folder.path().join("tools.sock")).unwrap();
        let request = format!("GET /sales/y HTTP/1.1\r\nHost: localhost\r\n{authorization}Connection: close\r\n\r\n");
        std::io::Write::write_all(&mut client, request.as_bytes()).unwrap();
        let mut answer = String::new();
        std::io::Read::read_to_string(&mut client, &mut answer).unwrap();
        let record = world.records.wait_for(1)[0].clone();
        // The same over TCP: nobody says who that is.
        assert_eq!(world.ask("GET /sales/y HTTP/1.1\r\nHost: localhost\r\n\r\n").code(), Some("key_missing"));
        (answer[9..12].to_owned(), record["key"].as_str().unwrap_or("none").to_owned())
    };
    let told = |status: &str, key: &str| (status.to_owned(), key.to_owned());
    assert_eq!(asked(uid, ""), told("200", "local"));
    assert_eq!(asked(uid, "Authorization: Bearer whatever-a-tool-must-send\r\n"), told("200", "local"));
    assert_eq!(asked(uid, &format!("Closegate-Key: {KEY}\r\n")), told("200", "main"));
    assert_eq!(asked(uid + 1, ""), told("401", "none"));
}
