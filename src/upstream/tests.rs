//! The codec towards the upstream, held against hyper's client: the same answer, or a refusal that is meant.

mod streams;

use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::Empty;
use hyper::body::Body;
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tower::Service;

use super::*;
use crate::clock::Sweep;
use crate::config::Http;
use crate::id::CredentialName;
use crate::net::{Connector, Options};
use crate::origin::Origin;
use crate::telemetry::UpstreamMeters;

/// What an answer came to.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Whole {
        status: u16,
        headers: Vec<(String, Vec<u8>)>,
        body: Vec<u8>,
    },
    /// The body ended early, after what had come.
    Cut {
        status: u16,
    },
    Refused,
}

fn runtime() -> LocalRuntime {
    Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap()
}

/// Answers one request with the pieces, then ends the connection.
fn upstream(pieces: Vec<Vec<u8>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count > 0) {
            head.push(byte[0]);
        }
        for piece in pieces {
            // A client that refuses the answer may be gone already.
            let _ = stream.write_all(&piece);
            std::thread::yield_now();
        }
    });
    address
}

fn request(method: &Method) -> Request<Empty<Bytes>> {
    Request::builder().method(method).uri("/a?b").header("host", "h").body(Empty::new()).unwrap()
}

fn pool(address: SocketAddr) -> Pool<Empty<Bytes>> {
    let patience = Duration::from_secs(30);
    let connector = connector(patience);
    let origin = Origin::parse(&format!("http://{address}")).unwrap();
    let limits = Limits { response_timeout: patience, body_timeout: patience, idle_timeout: patience };
    Pool::new(Shared::new(connector, 8, Http::Auto), vec![slot("sales", &origin)], limits, Sweep::new())
}

fn connector(patience: Duration) -> Connector {
    let options = Options { ca: None, place: None, proxy: None, connect_timeout: patience, tls_timeout: patience };
    Connector::new(options).unwrap()
}

fn slot(credential: &str, origin: &Origin) -> Slot {
    let credential = CredentialName::parse(credential).unwrap();
    Slot { credential, origin: origin.clone(), meters: Arc::<UpstreamMeters>::default() }
}

/// Answers every request on every connection with the same bytes.
fn answering(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                let answer = answer.as_bytes();
                while stream.read(&mut buffer).is_ok_and(|count| count > 0) && stream.write_all(answer).is_ok() {}
            });
        }
    });
    address
}

fn fields(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect()
}

async fn outcome<B: Body<Data = Bytes> + Unpin>(response: http::Response<B>) -> Outcome {
    let (parts, mut body) = response.into_parts();
    let status = parts.status.as_u16();
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        match frame.map(hyper::body::Frame::into_data) {
            Ok(Ok(data)) => bytes.extend_from_slice(&data),
            Ok(Err(_)) => {}
            Err(_) => return Outcome::Cut { status },
        }
    }
    Outcome::Whole { status, headers: fields(&parts.headers), body: bytes }
}

fn ours(method: &Method, pieces: Vec<Vec<u8>>) -> Outcome {
    let address = upstream(pieces);
    runtime().block_on(async {
        let call = Call { request: request(method), slot: 0, freshness: Freshness::Pooled };
        match pool(address).call(call).await {
            Ok(response) => outcome(response).await,
            Err(_) => Outcome::Refused,
        }
    })
}

fn hypers(method: &Method, pieces: Vec<Vec<u8>>) -> Outcome {
    let address = upstream(pieces);
    runtime().block_on(async {
        let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        crate::task::spawn_local(async move { drop(connection.await) });
        match sender.send_request(request(method)).await {
            Ok(response) => outcome(response).await,
            Err(_) => Outcome::Refused,
        }
    })
}

/// Answers that both understand in the same way.
const AGREED: [&str; 23] = [
    "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200\r\ncontent-length: 2\r\n\r\n{}",
    "HTTP/1.1 404 Not Found\r\ncontent-type: application/json\r\nx-two: a\r\nx-two: b\r\ncontent-length: 2\r\n\r\n{}",
    "HTTP/1.1 200 OK\r\nx-empty:\r\nx-blank:   \r\nx-ows: \t v \t\r\ncontent-length: 1\r\n\r\nx",
    "HTTP/1.1 200 OK\r\nx-latin: caf\u{e9}\r\ncontent-length: 1\r\n\r\nx",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nA\r\n0123456789\r\n0\r\nx-trailer: dropped\r\n\r\n",
    "HTTP/1.1 200 OK\r\n\r\nuntil the end",
    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}",
    "HTTP/1.0 200 OK\r\n\r\nuntil the end",
    "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}",
    "HTTP/1.1 204 No Content\r\n\r\n",
    "HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
    "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nZ\r\n",
    "HTTP/1.1 200 OK\r\ncontent-length: 5",
    "HTTP/2.0 200 OK\r\n\r\n",
    "not HTTP at all\r\n\r\n",
    "",
];

/// Answers that hyper's client takes and that leave a doubt about their end, or are no answer to what was asked.
const REFUSED: [&str; 12] = [
    "HTTP/1.1 200 OK\ncontent-length: 2\n\n{}",
    "\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
    "HTTP/1.1 200 OK\r\ncontent-length: five\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\n{}",
    "HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\n{}",
    "HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\n{}",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n{}",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n",
];

#[test]
fn what_hypers_client_understands_is_understood_in_the_same_way() {
    for answer in AGREED {
        for method in [Method::GET, Method::HEAD, Method::DELETE] {
            let pieces = || vec![answer.as_bytes().to_vec()];
            assert_eq!(ours(&method, pieces()), hypers(&method, pieces()), "{method} {answer:?}");
        }
    }
}

#[test]
fn an_answer_with_a_doubtful_end_is_refused() {
    for answer in REFUSED {
        assert_eq!(ours(&Method::GET, vec![answer.as_bytes().to_vec()]), Outcome::Refused, "{answer:?}");
    }
}

#[test]
fn a_connection_serves_again_only_after_a_clean_end() {
    let reused = |answer, freshness| {
        let address = answering(answer);
        runtime().block_on(async {
            let mut pool = pool(address);
            let mut exchange = async |freshness| {
                let response = pool.call(Call { request: request(&Method::GET), slot: 0, freshness }).await.unwrap();
                outcome(response).await
            };
            let first = exchange(Freshness::Pooled).await;
            assert!(matches!(first, Outcome::Whole { .. }), "{first:?}");
            let second = exchange(freshness).await;
            assert_eq!(first, second);
            open(&pool)[0].1
        })
    };
    for freshness in [Freshness::Pooled, Freshness::Proven, Freshness::New] {
        let kept = if freshness == Freshness::New { 2 } else { 1 };
        assert_eq!(reused("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", freshness), kept);
        assert_eq!(
            reused("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", freshness),
            kept
        );
        for condemned in [
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}stray",
            "HTTP/1.1 204 No Content\r\n\r\nstray",
            "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        ] {
            assert_eq!(reused(condemned, freshness), 0, "{condemned:?}");
        }
    }
}

/// How many connections each slot of a pool has, active and idle.
fn open(pool: &Pool<Empty<Bytes>>) -> Vec<(i64, i64)> {
    let count = |meters: &UpstreamMeters| (meters.active.load(Relaxed), meters.idle.load(Relaxed));
    pool.0.lanes.iter().map(|lane| count(&lane.slot.meters)).collect()
}

#[test]
fn a_pool_takes_over_the_connections_of_the_slots_that_stay() {
    let address = answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
    let origin = Origin::parse(&format!("http://{address}")).unwrap();
    runtime().block_on(async {
        let mut first = pool(address);
        let (shared, limits) = (first.0.shared.clone(), first.0.limits);
        let ask = async |pool: &mut Pool<_>, slot| {
            let call = Call { request: request(&Method::GET), slot, freshness: Freshness::Pooled };
            pool.call(call).await.unwrap()
        };
        outcome(ask(&mut first, 0).await).await;
        let slots = |names: &[&str]| names.iter().map(|name| slot(name, &origin)).collect();
        let mut second = first.followed_by(shared.clone(), slots(&["partner", "sales"]), limits);
        assert_eq!(open(&second), [(0, 0), (0, 1)]);
        outcome(ask(&mut second, 1).await).await;
        assert_eq!(open(&second), [(0, 0), (0, 1)], "the same connection served again");

        // What is in flight comes back to where it is of use, or nowhere.
        let (partner, sales) = (ask(&mut second, 0).await, ask(&mut second, 1).await);
        let third = second.followed_by(shared.clone(), slots(&["sales"]), limits);
        assert_eq!((open(&second), open(&third)), (vec![(1, 0), (1, 0)], vec![(1, 0)]));
        outcome(partner).await;
        outcome(sales).await;
        assert_eq!((open(&second), open(&third)), (vec![(0, 0), (0, 1)], vec![(0, 1)]));

        let others = Shared::new(connector(limits.idle_timeout), 8, Http::Auto);
        let fourth = third.followed_by(others, slots(&["sales"]), limits);
        assert_eq!((open(&third), open(&fourth)), (vec![(0, 0)], vec![(0, 0)]));
        assert_eq!(shared.open.load(Relaxed), 0);
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn where_an_answer_is_cut_into_segments_makes_no_difference(
        which in 0..AGREED.len(),
        mut cuts in proptest::collection::vec(0_usize..200, 0..6),
    ) {
        let answer = AGREED[which].as_bytes();
        let whole = ours(&Method::GET, vec![answer.to_vec()]);
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut from = 0;
        for cut in cuts.into_iter().map(|cut| cut.min(answer.len())).chain([answer.len()]) {
            pieces.push(answer[from..cut].to_vec());
            from = cut;
        }
        prop_assert_eq!(ours(&Method::GET, pieces), whole);
    }
}
