//! A head that waits one turn for the body behind it.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use hyper::body::{Body, Frame};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_test::task;

use super::exchange::Waiting;
use super::link::Link;
use super::request::{Sending, Unsent};
use crate::clock::Sweep;
use crate::config::Http;
use crate::net::{Connector, Options, Stream};
use crate::upstream::pool::Inner;
use crate::upstream::seat::Seat;
use crate::upstream::{Limits, Progress, SendFault, Shared};

/// Gives its piece from the second time on that it is asked, as hyper's body does with what has come with the head.
struct Late(Option<&'static [u8]>, bool);

impl Body for Late {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if !std::mem::replace(&mut self.1, true) {
            return Poll::Pending;
        }
        self.0.take().map_or(Poll::Pending, |piece| Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(piece))))))
    }
}

const PATIENCE: Duration = Duration::from_secs(30);
const UNASKED: &str = "HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n";

fn pool() -> Inner {
    let options = Options { ca: None, place: None, proxy: None, connect_timeout: PATIENCE, tls_timeout: PATIENCE };
    let shared = Shared::new(Arc::new(Connector::new(options).unwrap()), 1, Http::H1);
    let limits = Limits { response_timeout: PATIENCE, body_timeout: PATIENCE, idle_timeout: PATIENCE };
    Inner { shared, lanes: Vec::new(), limits, sweep: Sweep::new() }
}

/// A connection that has served before, and its other end.
async fn link(pool: &Inner) -> (Box<Link>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let seat = Seat::take(&pool.shared, &Arc::default()).unwrap();
    let mut link = Link::over(Stream::Plain(stream), seat);
    link.reused = true;
    (link, listener.accept().await.unwrap().0)
}

fn post<B>(body: B) -> Request<B> {
    Request::post("/a").body(body).unwrap()
}

/// A request whose head has waited one turn, and been woken for the next one.
async fn held(piece: Option<&'static [u8]>) -> (Box<Link>, TcpStream, Sending<Late>) {
    let (mut link, other) = link(&pool()).await;
    let mut sending = Sending::begin(&mut link, &post(()), Late(piece, false));
    let mut task = task::spawn(());
    assert!(task.enter(|cx, _| sending.poll(&mut link, cx)).is_pending());
    assert!(sending.is_held() && task.is_woken());
    assert_eq!(link.written(), 0);
    (link, other, sending)
}

#[tokio::test]
async fn a_head_waits_one_turn_for_a_body_that_is_there_and_no_longer() {
    let cx = &mut Context::from_waker(Waker::noop());
    for (piece, first) in [(Some(&b"piece"[..]), "\r\n\r\n5\r\npiece"), (None, "\r\n\r\n")] {
        let (mut link, other, mut sending) = held(piece).await;
        assert!(sending.poll(&mut link, cx).is_pending());
        assert!(sending.waits_for_body());
        other.readable().await.unwrap();
        let mut read = [0; 100];
        let count = other.try_read(&mut read).unwrap();
        assert!(read[..count].ends_with(first.as_bytes()), "{:?}", &read[..count]);
    }
}

#[tokio::test]
async fn nothing_is_written_where_something_came_while_the_head_waited() {
    let cx = &mut Context::from_waker(Waker::noop());
    for unasked in ["", UNASKED] {
        let (mut link, mut other, mut sending) = held(Some(b"piece")).await;
        other.write_all(unasked.as_bytes()).await.unwrap();
        drop(other);
        assert!(matches!(sending.poll(&mut link, cx), Poll::Ready(Err(Unsent::Stale))), "{unasked}");
        assert_eq!((link.written(), link.progress()), (0, Progress::Nothing));
    }
}

#[tokio::test]
async fn what_comes_before_a_head_was_written_is_no_answer_to_it() {
    let cx = &mut Context::from_waker(Waker::noop());
    let pool = pool();
    let (link, mut other) = link(&pool).await;
    other.write_all(UNASKED.as_bytes()).await.unwrap();
    link.arrival().await;
    let mut waiting = Waiting::begin(&pool, link, post(Late(Some(b"piece"), false)));
    assert!(waiting.poll(cx, &pool).is_pending());
    assert!(matches!(waiting.poll(cx, &pool), Poll::Ready(Err(SendFault::Closed(None)))));
    assert_eq!(waiting.fail(SendFault::Closed(None)).progress, Progress::Nothing);
}
