//! The simulator driven by hyper's client, which reads what was written by hand, and by raw sockets.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

fn key() -> Accepted {
    Accepted::api_key("sales", "api_7b8KOSMa0OevK9qJvT6F9s.2H3Bt8ktGaQ9kVK45P7j7p")
}

async fn simulator() -> Simulator {
    Simulator::start(Options::new().accept(key())).await.unwrap()
}

struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// One keep-alive connection of hyper's client.
struct Client {
    sender: SendRequest<Full<Bytes>>,
    authorization: String,
}

impl Client {
    async fn to(simulator: &Simulator) -> Self {
        Self::over(TcpStream::connect(simulator.address()).await.unwrap()).await
    }

    async fn over(socket: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        let (sender, connection) = handshake(TokioIo::new(socket)).await.unwrap();
        task::spawn("a client's connection", async move { drop(connection.await) });
        Self { sender, authorization: key().authorization().to_owned() }
    }

    async fn start(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<http::Response<Incoming>> {
        self.sender.ready().await?;
        self.sender.send_request(request).await
    }

    fn request(&self, method: Method, target: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
        let request = Request::builder().method(method).uri(target).header("host", "api.close.com");
        request.header("authorization", &self.authorization).body(Full::new(body.into())).unwrap()
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Reply> {
        let (parts, body) = self.start(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Reply { status: parts.status, headers: parts.headers, body })
    }

    async fn ask(&mut self, method: Method, target: &str, body: &Value) -> Reply {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send(self.request(method, target, body)).await.unwrap()
    }

    async fn get(&mut self, target: &str) -> Reply {
        self.ask(Method::GET, target, &Value::Null).await
    }
}

/// Sends bytes and reads until the simulator closes.
async fn raw(simulator: &Simulator, bytes: impl AsRef<[u8]>) -> String {
    let mut socket = TcpStream::connect(simulator.address()).await.unwrap();
    socket.write_all(bytes.as_ref()).await.unwrap();
    socket.shutdown().await.unwrap();
    let mut answer = Vec::new();
    // A reset is an end as well.
    drop(socket.read_to_end(&mut answer).await);
    String::from_utf8_lossy(&answer).into_owned()
}

/// A request's head that the simulator lets in.
fn head(method: &str, target: &str, more: &str) -> String {
    let authorization = key().authorization().to_owned();
    format!("{method} {target} HTTP/1.1\r\nhost: api.close.com\r\nauthorization: {authorization}\r\n{more}\r\n")
}

#[tokio::test]
async fn me_tells_whose_credential_it_is() {
    let simulator = simulator().await;
    let mut client = Client::to(&simulator).await;
    let reply = client.get("/api/v1/me/").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json()["organizations"][0]["name"], "sales");
    assert_eq!(reply.header("ratelimit"), "limit=1000000; remaining=999999; reset=1");
    assert_eq!(reply.header("trace-id").len(), 32);
    assert_eq!(reply.header("server"), "envoy");
    assert_eq!(simulator.authorizations(), [key().authorization()]);
}

#[tokio::test]
async fn a_wrong_credential_is_401_until_it_is_accepted_and_again_when_revoked() {
    let simulator = simulator().await;
    let mut client = Client::to(&simulator).await;
    let token = Accepted::bearer("support", "token-0123456789");
    client.authorization = token.authorization().to_owned();
    let reply = client.get("/api/v1/me/").await;
    assert_eq!((reply.status.as_u16(), reply.json()), (401, json!({ "error": "Unauthorized" })));
    simulator.accept(token.clone());
    assert_eq!(client.get("/api/v1/me/").await.json()["last_name"], "support");
    simulator.revoke(&token);
    assert_eq!(client.get("/api/v1/lead/").await.status, 401);
    client.authorization = Accepted::basic("sales", key().secret(), "password").authorization().to_owned();
    assert_eq!(client.get("/api/v1/me/").await.status, 401);
    assert_eq!(simulator.connections(), 1);
}

#[tokio::test]
async fn a_lead_is_made_read_changed_and_deleted_with_what_belongs_to_it() {
    let simulator = simulator().await;
    let mut client = Client::to(&simulator).await;
    let lead =
        json!({ "name": "Umbrella", "contacts": [{ "name": "Al", "emails": [{ "email": "al@umbrella.example" }] }] });
    let made = client.ask(Method::POST, "/api/v1/lead/", &lead).await.json();
    let (id, contact) = (made["id"].as_str().unwrap(), made["contacts"][0]["id"].as_str().unwrap());
    assert_eq!((made["status_label"].as_str(), id.len()), (Some("Potential"), 27));
    let path = format!("/api/v1/lead/{id}/");
    let changed = client.ask(Method::PUT, &path, &json!({ "name": "Umbrella Inc", "id": "lead_x" })).await.json();
    assert_eq!((&changed["display_name"], &changed["id"]), (&json!("Umbrella Inc"), &json!(id)));
    let note = json!({ "lead_id": id, "note": "hello" });
    let note = client.ask(Method::POST, "/api/v1/activity/note/", &note).await.json();
    let activities = client.get(&format!("/api/v1/activity/?lead_id={id}")).await.json();
    assert_eq!(activities["data"], json!([note]));
    assert_eq!(client.ask(Method::DELETE, &path, &Value::Null).await.json(), json!({}));
    let gone = client.get(&path).await;
    assert_eq!(gone.status, 404);
    assert_eq!(gone.json()["error"], "Empty query: Lead matching query does not exist.");
    assert_eq!(client.get(&format!("/api/v1/contact/{contact}/")).await.status, 404);
}

#[tokio::test]
async fn lists_come_in_pages_and_filtered() {
    let simulator = simulator().await;
    let mut client = Client::to(&simulator).await;
    let page = client.get("/api/v1/lead/?_limit=2&_skip=2&_fields=id,name").await.json();
    assert_eq!((&page["has_more"], &page["total_results"]), (&json!(true), &json!(5)));
    assert_eq!(page["data"][0]["name"], "Acme Corporation");
    assert_eq!(page["data"][0].as_object().unwrap().len(), 2);
    let last = client.get("/api/v1/lead/?_limit=2&_skip=4").await.json();
    assert_eq!((&last["has_more"], last["data"].as_array().unwrap().len()), (&json!(false), 1));
    let found = client.get("/api/v1/lead/?query=name%3Ainitech").await.json();
    assert_eq!((&found["total_results"], &found["data"][0]["name"]), (&json!(1), &json!("Initech")));
    let lead = found["data"][0]["id"].as_str().unwrap();
    let contacts = client.get(&format!("/api/v1/contact/?lead_id={lead}")).await.json();
    assert_eq!(contacts["data"][0]["name"], "Peter Gibbons");
    let refused = client.get("/api/v1/lead/?_limit=500").await;
    assert_eq!(refused.status, 400);
    assert!(refused.json()["error"].as_str().unwrap().contains("max_limit = 200"));
}

#[tokio::test]
async fn a_search_walks_by_its_cursor() {
    let simulator = simulator().await;
    let mut client = Client::to(&simulator).await;
    let mut request = json!({
        "query": { "type": "and", "queries": [{ "type": "object_type", "object_type": "lead" }] },
        "_fields": { "lead": ["name"] }, "_limit": 3,
    });
    let first = client.ask(Method::POST, "/api/v1/data/search/", &request).await.json();
    assert_eq!((first["data"].as_array().unwrap().len(), &first["data"][0]["__object_type"]), (3, &json!("lead")));
    request["cursor"] = first["cursor"].clone();
    let second = client.ask(Method::POST, "/api/v1/data/search/", &request).await.json();
    assert_eq!((second["data"].as_array().unwrap().len(), &second["cursor"]), (2, &Value::Null));
    assert_eq!(second["data"][1]["name"], "Tyrell Corporation");
}

#[tokio::test]
async fn validation_errors_are_nested_as_closes_are() {
    let simulator = simulator().await;
    let mut client = Client::to(&simulator).await;
    let lead = json!({ "contacts": [{ "emails": [{ "email": "nobody" }] }] });
    let reply = client.ask(Method::POST, "/api/v1/lead/", &lead).await;
    let email = json!({ "0": { "errors": [], "field-errors": { "email": "Invalid email address." } } });
    let contact = json!({ "0": { "errors": [], "field-errors": { "emails": { "errors": email } } } });
    let whole = json!({ "errors": [], "field-errors": { "contacts": { "errors": contact } } });
    assert_eq!((reply.status.as_u16(), reply.json()), (400, whole));
    let opportunity = json!({ "value": 1.5, "status_id": "stat_x" });
    let faults = client.ask(Method::POST, "/api/v1/opportunity/", &opportunity).await.json();
    let fields: Vec<_> = faults["field-errors"].as_object().unwrap().keys().collect();
    assert_eq!(fields, ["lead_id", "status_id", "value"]);
    let broken = client.send(client.request(Method::POST, "/api/v1/lead/", "{")).await.unwrap();
    assert_eq!(broken.status, 400);
}

#[tokio::test]
async fn a_missing_slash_is_redirected_and_repeated_slashes_are_one() {
    let simulator = simulator().await;
    let mut client = Client::to(&simulator).await;
    let reply = client.ask(Method::POST, "/api/v1/lead?a=%2F", &json!({})).await;
    assert_eq!(reply.status, 308);
    assert_eq!(reply.header("location"), "http://api.close.com/api/v1/lead/?a=%2F");
    assert_eq!(client.get("/api/v1//lead/").await.status, 200);
    let unknown = client.get("/api/v1/nothing/").await;
    assert_eq!(unknown.status, 404);
    assert!(unknown.json()["error"].as_str().unwrap().starts_with("The requested URL was not found"));
    let refused = client.ask(Method::PUT, "/api/v1/lead/", &json!({})).await;
    assert_eq!((refused.status.as_u16(), refused.header("allow")), (405, "GET, HEAD, POST"));
}

#[tokio::test]
async fn a_method_override_acts_as_the_method_it_names() {
    let simulator = simulator().await;
    let mut client = Client::to(&simulator).await;
    let body = json!({ "_params": { "query": "acme", "_limit": 1 } }).to_string();
    let mut request = client.request(Method::POST, "/api/v1/lead/", body);
    request.headers_mut().insert("x-http-method-override", "GET".parse().unwrap());
    let found = client.send(request).await.unwrap().json();
    assert_eq!(found["data"][0]["name"], "Acme Corporation");
    let path = format!("/api/v1/lead/{}/", found["data"][0]["id"].as_str().unwrap());
    let mut request = client.request(Method::POST, &path, "");
    request.headers_mut().insert("x-http-method-override", "DELETE".parse().unwrap());
    assert_eq!(client.send(request).await.unwrap().json(), json!({}));
    assert_eq!(client.get(&path).await.status, 404);
}

#[tokio::test]
async fn a_recording_lies_elsewhere() {
    let simulator = simulator().await;
    let mut client = Client::to(&simulator).await;
    let calls = client.get("/api/v1/activity/call/").await.json();
    let url = calls["data"][0]["recording_url"].as_str().unwrap();
    let reply = client.get(url.strip_prefix("https://api.close.com").unwrap()).await;
    assert_eq!(reply.status, 302);
    assert!(reply.header("location").starts_with("https://recordings.s3.example/acti_"));
}

#[tokio::test]
async fn a_limit_is_enforced_for_each_group() {
    let rate = RateLimit::new(1, Duration::from_secs(3600));
    let simulator = Simulator::start(Options::new().accept(key()).rate_limit(rate)).await.unwrap();
    let mut client = Client::to(&simulator).await;
    assert_eq!(client.get("/api/v1/lead/").await.header("ratelimit-remaining"), "0");
    let refused = client.get("/api/v1/lead/").await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (429, "3600"));
    assert_eq!(client.get("/api/v1/me/").await.status, 200);
}

#[tokio::test]
async fn large_bodies_go_both_ways() {
    let simulator = simulator().await;
    let mut client = Client::to(&simulator).await;
    let body = Simulator::pattern(5 << 20);
    let mut request = client.request(Method::POST, "/sim/echo", body.clone());
    request.headers_mut().insert("content-type", "text/x".parse().unwrap());
    let reply = client.send(request).await.unwrap();
    assert_eq!((reply.header("content-type"), reply.body == body), ("text/x", true));
    let seen = simulator.seen().pop().unwrap();
    assert_eq!((seen.body_length, seen.complete, seen.body.len()), (5 << 20, true, 64 << 10));
    assert_eq!(seen.body_digest.unwrap(), digest::digest(&digest::SHA256, &body).as_ref());
    assert!(client.get("/sim/bytes/5242880").await.body == body);
    let chunked = client.get("/sim/chunked/100000?chunk=777").await;
    assert_eq!(chunked.header("transfer-encoding"), "chunked");
    assert!(chunked.body == Simulator::pattern(100_000));
    assert_eq!(simulator.connections(), 1);
}

#[tokio::test]
async fn chunked_uploads_continue_and_pipelining_are_understood() {
    let simulator = simulator().await;
    let upload = head("POST", "/sim/echo", "transfer-encoding: chunked\r\nexpect: 100-continue\r\n");
    let answer = raw(
        &simulator,
        format!("{upload}5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nx-late: 1\r\n\r\n{}", head("HEAD", "/sim/bytes/9", "")),
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("content-length: 9\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
    let seen = simulator.seen();
    assert_eq!((seen[0].body.as_ref(), seen[0].trailers[0].as_ref()), (b"hello!".as_slice(), b"x-late: 1".as_slice()));
}

#[tokio::test]
async fn a_body_that_was_cut_is_seen_as_incomplete_and_never_answered() {
    let simulator = simulator().await;
    let answer = raw(&simulator, format!("{}hel", head("POST", "/api/v1/lead/", "content-length: 5\r\n"))).await;
    assert_eq!(answer, "");
    let seen = simulator.seen().pop().unwrap();
    assert_eq!((seen.complete, seen.body.as_ref()), (false, b"hel".as_slice()));
}

#[tokio::test]
async fn framing_in_doubt_is_refused_and_remembered() {
    let simulator = simulator().await;
    for more in [
        "content-length: 1\r\ntransfer-encoding: chunked\r\n",
        "content-length: 1\r\ncontent-length: 1\r\n",
        "content-length: +1\r\n",
        "transfer-encoding: gzip, chunked\r\n",
        "bad header: 1\r\n",
    ] {
        let answer = raw(&simulator, head("POST", "/api/v1/lead/", more)).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{more}: {answer}");
    }
    assert_eq!(simulator.violations().len(), 5);
}

#[tokio::test]
async fn a_strict_simulator_names_the_header_that_should_not_have_come() {
    let options = Options::new().accept(key()).strict().host("api.close.com");
    let simulator = Simulator::start(options).await.unwrap();
    let mut client = Client::to(&simulator).await;
    assert_eq!(client.get("/api/v1/me/").await.status, 200);
    let mut request = client.request(Method::GET, "/api/v1/me/", "");
    request.headers_mut().insert("x-forwarded-for", "1.2.3.4".parse().unwrap());
    let refused = client.send(request).await.unwrap();
    assert_eq!(
        (refused.status.as_u16(), &refused.json()["error"]),
        (400, &json!("unexpected request header `x-forwarded-for`"))
    );
    let mut request = client.request(Method::GET, "/api/v1/me/", "");
    request.headers_mut().insert("host", "127.0.0.1".parse().unwrap());
    assert_eq!(client.send(request).await.unwrap().status, 400);
    assert_eq!(simulator.violations()[1], "`host` is not `api.close.com`");
}

#[tokio::test]
async fn pieces_wait_at_the_gate_and_a_client_that_leaves_is_noticed() {
    let simulator = simulator().await;
    let mut client = Client::to(&simulator).await;
    let mut body = client.start(client.request(Method::GET, "/sim/slow/2", "")).await.unwrap().into_body();
    simulator.until(|simulator| simulator.held() == 1).await;
    simulator.release(1);
    let piece = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(piece, "piece 1\n");
    simulator.until(|simulator| simulator.held() == 1).await;
    drop((body, client));
    simulator.until(|simulator| simulator.live() == 0 && simulator.held() == 0).await;
}

#[tokio::test]
async fn an_answer_can_be_held_cut_or_left_out() {
    let simulator = simulator().await;
    let me = head("GET", "/api/v1/me/", "");
    for trouble in [Trouble::CloseBeforeAnswer, Trouble::ResetConnection] {
        simulator.script(trouble);
        assert_eq!(raw(&simulator, &me).await, "");
    }
    simulator.script(Trouble::CutBody(3));
    let cut = raw(&simulator, head("GET", "/sim/bytes/9", "")).await;
    assert!(cut.contains("content-length: 9\r\n") && cut.ends_with("\r\n\r\nabc"), "{cut}");
    simulator.script(Trouble::CutBody(3));
    let cut = raw(&simulator, head("GET", "/sim/chunked/9", "")).await;
    assert!(cut.ends_with("\r\n\r\n9\r\nabc"), "{cut}");
    simulator.script(Trouble::NoAnswer);
    let mut client = Client::to(&simulator).await;
    let answer = client.get("/api/v1/me/");
    let release = async {
        simulator.until(|simulator| simulator.held() == 1).await;
        simulator.release(1);
    };
    assert_eq!(tokio::join!(answer, release).0.status, 200);
}

#[tokio::test]
async fn an_answer_can_be_lost_after_or_before_what_was_asked_is_done() {
    let simulator = simulator().await;
    let made = || async {
        let mut client = Client::to(&simulator).await;
        client.get("/api/v1/lead/?query=name%3ALost").await.json()["total_results"].clone()
    };
    let body = "{\"name\": \"Lost\"}";
    let create = head("POST", "/api/v1/lead/", &format!("content-length: {}\r\n", body.len())) + body;
    for (trouble, leads) in [(Trouble::CloseUnread, 0), (Trouble::CloseBeforeAnswer, 0), (Trouble::LoseAnswer, 1)] {
        simulator.script(trouble);
        assert_eq!(raw(&simulator, &create).await, "");
        assert_eq!(made().await, json!(leads));
    }
}

#[tokio::test]
async fn a_connection_closes_unannounced() {
    let simulator = simulator().await;
    simulator.script(Fault::new(Trouble::CloseAfterAnswer).always());
    let mut client = Client::to(&simulator).await;
    let reply = client.get("/api/v1/me/").await;
    assert_eq!((reply.status.as_u16(), reply.header("connection")), (200, ""));
    assert!(client.send(client.request(Method::GET, "/api/v1/me/", "")).await.is_err());
    simulator.clear_faults();
    let mut client = Client::to(&simulator).await;
    assert_eq!(client.get("/api/v1/me/").await.status, 200);
    assert_eq!(client.get("/api/v1/me/").await.status, 200);
}

#[tokio::test]
async fn what_is_no_http_and_what_nearly_is() {
    let simulator = simulator().await;
    let me = head("GET", "/api/v1/me/", "");
    for (trouble, begins, holds) in [
        (Trouble::GarbageHead, "\u{16}", "not HTTP"),
        (Trouble::Http09, "{", "has_more"),
        (Trouble::Status101, "HTTP/1.1 101 ", "upgrade: h2c"),
        (Trouble::BothLengths, "HTTP/1.1 200 ", "transfer-encoding: chunked"),
        (Trouble::HugeHead(300_000), "HTTP/1.1 200 ", "xxxxxxxx"),
        (Trouble::StrayBytesAfterAnswer, "HTTP/1.1 200 ", "\r\n\r\nstray"),
        (Trouble::Informational(3), "HTTP/1.1 103 ", "rel=preload\r\n\r\nHTTP/1.1 200 OK"),
        (Trouble::Status(StatusCode::BAD_GATEWAY, "down".into()), "HTTP/1.1 502 ", "\r\n\r\ndown"),
    ] {
        simulator.script(trouble.clone());
        let answer = raw(&simulator, &me).await;
        assert!(answer.starts_with(begins) && answer.contains(holds), "{trouble:?}: {answer}");
    }
    simulator.script(Trouble::BothLengths);
    assert!(raw(&simulator, &me).await.contains("content-length: "));
    let exact = http::Response::builder().status(429).header("ratelimit", "limit=1").body("{}".into()).unwrap();
    simulator.script(Trouble::Answer(exact));
    let answer = raw(&simulator, &me).await;
    assert_eq!(answer, "HTTP/1.1 429 Too Many Requests\r\nratelimit: limit=1\r\ncontent-length: 2\r\n\r\n{}");
}

#[tokio::test]
async fn an_early_answer_comes_before_the_body() {
    let simulator = simulator().await;
    simulator.script(Trouble::EarlyAnswer(StatusCode::PAYLOAD_TOO_LARGE));
    let mut socket = TcpStream::connect(simulator.address()).await.unwrap();
    socket.write_all(head("POST", "/api/v1/lead/", "content-length: 5\r\n").as_bytes()).await.unwrap();
    let mut status = [0; 12];
    socket.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 413");
    assert!(!simulator.seen()[0].complete);
    socket.write_all(b"hello").await.unwrap();
    simulator.until(|simulator| simulator.seen()[0].complete).await;
}

#[tokio::test]
async fn http_1_0_gets_no_chunks_and_an_end() {
    let simulator = simulator().await;
    let request = head("GET", "/sim/chunked/5", "").replace("HTTP/1.1", "HTTP/1.0");
    let answer = raw(&simulator, request).await;
    assert!(answer.contains("connection: close\r\n") && answer.ends_with("\r\n\r\nabcde"), "{answer}");
    assert_eq!(simulator.seen()[0].minor_version, 0);
}

#[tokio::test]
async fn a_simulator_speaks_tls_and_comes_back_at_its_address() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key_der = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let server =
        server.unwrap().with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key_der).unwrap();
    let options = Options::new().accept(key()).tls(Arc::new(server));
    let simulator = Simulator::start(options.clone()).await.unwrap();
    let address = simulator.address();
    simulator.stop().await;
    assert!(TcpStream::connect(address).await.is_err());
    let simulator = Simulator::start(options.at(address)).await.unwrap();

    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let client = client.unwrap().with_root_certificates(roots).with_no_client_auth();
    let socket = TcpStream::connect(simulator.address()).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let tls = tokio_rustls::TlsConnector::from(Arc::new(client)).connect(name, socket).await.unwrap();
    let mut client = Client::over(tls).await;
    assert!(client.get("/api/v1/lead").await.header("location").starts_with("https://api.close.com/"));
    simulator.stop().await;
}
