//! Pools that speak HTTP/2: places are given back, lanes that no pool has any more end with what is in flight.

use std::future::Future;
use std::rc::Rc;

use h2::server::{Connection, SendResponse};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::*;
use crate::net::Offer;
use crate::task;
use crate::upstream::lane::{Lane, Plan, Weight};

/// What a test does with a pool, its origin on the same thread.
fn with_pool<F: Future<Output = ()>>(
    max_connections: usize,
    test: impl FnOnce(Pool<Empty<Bytes>>, Origin, Rc<Notify>) -> F,
) {
    runtime().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = Origin::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let end = Rc::new(Notify::new());
        let own = end.clone();
        task::spawn_local(async move {
            loop {
                let stream = listener.accept().await.unwrap().0;
                let end = own.clone();
                task::spawn_local(async move { serve(h2::server::handshake(stream).await.unwrap(), end).await });
            }
        });
        let patience = Duration::from_secs(30);
        let limits = Limits { response_timeout: patience, body_timeout: patience, idle_timeout: patience };
        let shared = Shared::new(connector(patience), max_connections, Http::H2);
        test(Pool::new(shared, vec![slot("sales", &origin)], limits, Sweep::new()), origin, end).await;
    });
}

/// Answers at once: `/held` with a body that ends when the test's request `/end` comes, `/bye` with the connection's end.
/// After `/last` it ends when it is told to, and tells when it has.
async fn serve(mut connection: Connection<TcpStream, Bytes>, end: Rc<Notify>) {
    let mut held = Vec::new();
    while let Some(Ok((request, respond))) = connection.accept().await {
        match request.uri().path() {
            "/held" => held.push(begin(respond)),
            "/bye" => return,
            "/last" => {
                begin(respond).send_data(Bytes::from_static(b"{}"), true).unwrap();
                tokio::select! {
                    _ = poll_fn(|cx| connection.poll_closed(cx)) => {}
                    () = end.notified() => {}
                }
                drop(connection);
                return end.notify_one();
            }
            _ => begin(respond).send_data(Bytes::from_static(b"{}"), true).unwrap(),
        }
        if request.uri().path() == "/end" {
            held.drain(..).for_each(|mut stream| stream.send_data(Bytes::from_static(b"{}"), true).unwrap());
        }
    }
}

fn begin(mut respond: SendResponse<Bytes>) -> h2::SendStream<Bytes> {
    respond.send_response(http::Response::new(()), false).unwrap()
}

async fn ask(
    pool: &mut Pool<Empty<Bytes>>,
    slot: usize,
    path: &str,
) -> Result<http::Response<AnswerBody<Empty<Bytes>>>, SendError<Empty<Bytes>>> {
    let mut request = request(&Method::GET);
    *request.uri_mut() = path.parse().unwrap();
    pool.call(Call { request, slot, freshness: Freshness::Pooled }).await
}

fn whole() -> Outcome {
    Outcome::Whole { status: 200, headers: Vec::new(), body: b"{}".to_vec() }
}

/// Waits until the pools of this thread have so many connections.
async fn wait_for(shared: &Shared, open: usize) {
    while shared.open.load(Relaxed) != open {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_connection_counts_as_active_while_it_has_streams() {
    with_pool(8, async |mut pool, _, _| {
        let first = ask(&mut pool, 0, "/held").await.unwrap();
        let second = ask(&mut pool, 0, "/held").await.unwrap();
        assert_eq!(open(&pool), [(1, 0)]);
        assert_eq!(outcome(ask(&mut pool, 0, "/end").await.unwrap()).await, whole());
        assert_eq!(open(&pool), [(1, 0)]);
        assert_eq!(outcome(first).await, whole());
        assert_eq!(outcome(second).await, whole());
        assert_eq!(open(&pool), [(0, 1)]);
    });
}

#[test]
fn a_connection_that_ends_gives_its_place_back() {
    with_pool(1, async |mut pool, _, _| {
        for _ in 0..5 {
            assert_eq!(outcome(ask(&mut pool, 0, "/").await.unwrap()).await, whole());
            let error = ask(&mut pool, 0, "/bye").await.err().unwrap();
            assert!(matches!(error.fault, SendFault::Closed(_)) && error.reused, "{:?}", error.fault);
            assert_eq!(error.progress, Progress::Written);
            wait_for(&pool.0.shared.clone(), 0).await;
            assert_eq!(open(&pool), [(0, 0)]);
        }
    });
}

#[test]
fn a_request_that_found_its_connection_closed_has_sent_nothing() {
    for (freshness, sent) in [(Freshness::Pooled, false), (Freshness::Proven, true), (Freshness::New, true)] {
        with_pool(8, async |mut pool, _, end| {
            assert_eq!(outcome(ask(&mut pool, 0, "/last").await.unwrap()).await, whole());
            end.notify_one();
            // The origin runs before the driver of the connection hears of it.
            tokio::task::yield_now().await;
            let request = Request::builder().method(Method::POST).uri("/").body(Empty::new()).unwrap();
            match pool.call(Call { request, slot: 0, freshness }).await {
                Ok(response) => {
                    assert!(sent, "{freshness:?}");
                    assert_eq!(outcome(response).await, whole());
                }
                Err(error) => {
                    assert!(
                        !sent && error.reused && error.request.body().is_some(),
                        "{freshness:?}: {:?}",
                        error.fault
                    );
                    assert!(matches!(error.fault, SendFault::Closed(_)), "{:?}", error.fault);
                    assert_eq!(error.progress, Progress::Nothing);
                }
            }
        });
    }
}

#[test]
fn an_idle_connection_makes_room_for_another_slot() {
    with_pool(1, async |pool, origin, _| {
        let slots = vec![slot("sales", &origin), slot("partner", &origin)];
        let mut pool = pool.followed_by(pool.0.shared.clone(), slots, pool.0.limits);
        for number in 0..6 {
            assert_eq!(outcome(ask(&mut pool, number % 2, "/").await.unwrap()).await, whole());
            assert_eq!(pool.0.shared.open.load(Relaxed), 1);
        }
        let _held = ask(&mut pool, 0, "/held").await.unwrap();
        let error = ask(&mut pool, 1, "/").await.err().unwrap();
        assert!(matches!(error.fault, SendFault::Exhausted), "{:?}", error.fault);
        assert_eq!((error.progress, error.reused), (Progress::Nothing, false));
    });
}

#[test]
fn what_is_in_flight_when_a_lane_is_closed_comes_to_its_end() {
    with_pool(8, async |mut pool, origin, _| {
        let held = ask(&mut pool, 0, "/held").await.unwrap();
        let other = ask(&mut pool, 0, "/held").await.unwrap();
        let shared = pool.0.shared.clone();
        let mut next = pool.followed_by(shared.clone(), vec![slot("partner", &origin)], pool.0.limits);
        assert_eq!(shared.open.load(Relaxed), 1);
        drop(other);
        assert_eq!(outcome(ask(&mut next, 0, "/").await.unwrap()).await, whole());
        assert_eq!(shared.open.load(Relaxed), 2);
        // Another connection's `/end` does not reach it: it ends with its last stream.
        drop(held);
        wait_for(&shared, 1).await;
        assert_eq!((open(&pool), open(&next)), (vec![(0, 0)], vec![(0, 1)]));
    });
}

#[test]
fn a_crowd_goes_by_streams_until_it_has_been_gone_for_a_while() {
    let origin = Origin::parse("https://close.test").unwrap();
    let plan = |lane: &Rc<Lane>| match lane.plan(Weight::Light) {
        Plan::Alone(offer) => (false, offer),
        Plan::Together(offer) => (true, offer),
    };
    let lane = Lane::new(slot("sales", &origin), Http::Auto);
    assert_eq!(plan(&lane), (true, Offer::Both), "the first finds out");
    lane.learn(Offer::Both, true);
    let few: Vec<_> = (0..8).map(|_| lane.enter()).collect();
    assert_eq!(plan(&lane), (false, Offer::Http1));
    let ninth = lane.enter();
    assert_eq!(plan(&lane), (true, Offer::Both));
    drop((few, ninth));
    let tick = || lane.sweep(std::time::Instant::now(), Duration::from_secs(60));
    tick();
    assert_eq!(plan(&lane), (true, Offer::Both), "a moment ago there was a crowd");
    tick();
    assert_eq!(plan(&lane), (false, Offer::Http1));
    lane.learn(Offer::Both, false);
    assert_eq!(plan(&lane), (false, Offer::Both), "what was declined is offered again");
    lane.learn(Offer::Both, true);
    lane.demands_http1();
    assert_eq!(plan(&lane), (false, Offer::Http1));

    for (http, url, expected) in [
        (Http::Auto, "http://127.0.0.1:1", (false, Offer::Http1)),
        (Http::H1, "https://close.test", (false, Offer::Http1)),
        (Http::H2, "https://close.test", (true, Offer::Http2)),
        (Http::H2, "http://127.0.0.1:1", (true, Offer::Http2)),
    ] {
        let lane = Lane::new(slot("sales", &Origin::parse(url).unwrap()), http);
        let _crowd: Vec<_> = (0..20).map(|_| lane.enter()).collect();
        assert_eq!(plan(&lane), expected, "{url}");
    }
}
