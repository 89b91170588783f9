//! A TLS upstream that speaks what it is told to offer, and remembers which connection spoke what, and for whom.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::tls::{Authority, trusting};
use crate::world::{RUNTIME, Setup};

/// A listening upstream.
pub(super) struct TlsOrigin {
    pub(super) address: SocketAddr,
    authority: Authority,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    connections: Mutex<Vec<Connection>>,
    /// Bytes of `/big/` that were taken.
    sent: AtomicUsize,
}

/// One connection, once its handshake is over.
#[derive(Debug, Clone, Default)]
pub(super) struct Connection {
    /// `h2`, `http/1.1`, or nothing that was agreed on.
    pub(super) protocol: String,
    /// The `Authorization` of each request.
    pub(super) authorizations: Vec<String>,
}

/// The size of `/big/`.
pub(super) const LARGE: usize = 64 << 20;
const PIECE: usize = 64 << 10;

impl TlsOrigin {
    /// An upstream that agrees to one of the protocols, the first that the client offers too.
    pub(super) fn offering(protocols: &[&str]) -> Self {
        let authority = Authority::new();
        let identity = authority.sign(&["close.test"], |_| ());
        let key = PrivateKeyDer::try_from(identity.key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(identity.chain, key)
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        let shared = Arc::new(Shared::default());
        let listener = RUNTIME.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        RUNTIME.spawn(accept(listener, TlsAcceptor::from(Arc::new(config)), shared.clone()));
        Self { address, authority, shared }
    }

    /// A gateway in front of it.
    pub(super) fn gateway(&self, http: &str) -> Setup {
        trusting(&self.authority, self.address).set("upstream", &format!("http = \"{http}\""))
    }

    pub(super) fn connections(&self) -> Vec<Connection> {
        self.shared.connections.lock().unwrap().clone()
    }

    /// How many connections spoke this.
    pub(super) fn count(&self, protocol: &str) -> usize {
        self.connections().iter().filter(|connection| connection.protocol == protocol).count()
    }

    /// How many requests came by this.
    pub(super) fn requests(&self, protocol: &str) -> usize {
        let connections = self.connections();
        let spoke = connections.iter().filter(|connection| connection.protocol == protocol);
        spoke.map(|connection| connection.authorizations.len()).sum()
    }

    /// Bytes of `/big/` that the gateway has made room for.
    pub(super) fn sent(&self) -> usize {
        self.shared.sent.load(Ordering::SeqCst)
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (acceptor, shared) = (acceptor.clone(), shared.clone());
        RUNTIME.spawn(async move {
            // A client that does not like what is offered leaves.
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let protocol = stream.get_ref().1.alpn_protocol().unwrap_or_default().to_vec();
            let protocol = String::from_utf8(protocol).unwrap();
            let number = {
                let mut connections = shared.connections.lock().unwrap();
                connections.push(Connection { protocol: protocol.clone(), ..Connection::default() });
                connections.len() - 1
            };
            if protocol == "h2" {
                streams(stream, number, shared).await
            } else {
                exchanges(stream, number, shared).await
            }
        });
    }
}

fn remember<B>(shared: &Shared, connection: usize, request: &Request<B>) {
    let authorization = request.headers()["authorization"].to_str().unwrap().to_owned();
    shared.connections.lock().unwrap()[connection].authorizations.push(authorization);
}

async fn exchanges(stream: TlsStream<TcpStream>, number: usize, shared: Arc<Shared>) {
    let service = service_fn(|request: Request<Incoming>| {
        remember(&shared, number, &request);
        async {
            let length = request.into_body().collect().await.unwrap().to_bytes().len();
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(format!("{{\"length\": {length}}}")))))
        }
    });
    // The gateway ends connections as it likes.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn streams(stream: TlsStream<TcpStream>, number: usize, shared: Arc<Shared>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        assert_eq!(request.uri().authority().unwrap(), "close.test");
        assert_eq!(request.uri().scheme_str(), Some("https"));
        assert!(!request.headers().contains_key("host"));
        remember(&shared, number, &request);
        let shared = shared.clone();
        RUNTIME.spawn(async move {
            // The gateway resets streams as it likes.
            let _ = answer(request, respond, &shared).await;
        });
    }
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    shared: &Shared,
) -> Result<(), h2::Error> {
    if request.uri().path().ends_with("/big/") {
        let head = Response::builder().header("content-length", LARGE).body(()).unwrap();
        return pour(respond.send_response(head, false)?, shared).await;
    }
    let mut body = request.into_body();
    let mut length = 0;
    while let Some(data) = body.data().await {
        let data = data?;
        length += data.len();
        body.flow_control().release_capacity(data.len())?;
    }
    let text = format!("{{\"length\": {length}}}");
    let head = Response::builder().header("content-length", text.len()).body(()).unwrap();
    respond.send_response(head, false)?.send_data(text.into(), true)
}

async fn pour(mut stream: SendStream<Bytes>, shared: &Shared) -> Result<(), h2::Error> {
    let mut left = LARGE;
    while left > 0 {
        stream.reserve_capacity(PIECE.min(left));
        let capacity = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
        let Some(capacity) = capacity.transpose()? else { return Ok(()) };
        let piece = capacity.min(left);
        left -= piece;
        stream.send_data(Bytes::from(vec![b'x'; piece]), left == 0)?;
        shared.sent.fetch_add(piece, Ordering::SeqCst);
    }
    Ok(())
}
