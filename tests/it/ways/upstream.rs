//! A relay that an upstream of HTTP/1.1 speaks HTTP/2 by: each stream is a connection to it.

use std::error::Error;
use std::net::SocketAddr;

use http::header::{CONNECTION, HOST, HeaderName, TRANSFER_ENCODING, UPGRADE};
use http::uri::Uri;
use http::{HeaderValue, Request, Response, Version};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};

use crate::world::RUNTIME;

/// Where HTTP/2 is spoken for the upstream at an address.
pub(super) fn relay(to: SocketAddr) -> SocketAddr {
    let listener = RUNTIME.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    RUNTIME.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(move |request| exchange(request, to));
            let mut codec = http2::Builder::new(TokioExecutor::new());
            codec.max_header_list_size(LARGEST_HEAD);
            let connection = codec.serve_connection(TokioIo::new(stream), service);
            // The gateway ends connections as it likes.
            RUNTIME.spawn(async move { drop(connection.await) });
        }
    });
    address
}

/// Has the upstream answer a request; a fault of its answer is a reset of the stream.
async fn exchange(
    mut request: Request<Incoming>,
    to: SocketAddr,
) -> Result<Response<Incoming>, Box<dyn Error + Send + Sync>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(TcpStream::connect(to).await?)).await?;
    RUNTIME.spawn(async move { drop(connection.await) });
    let authority = request.uri().authority().ok_or("no authority")?.as_str();
    let host = HeaderValue::from_str(authority)?;
    let target = request.uri().path_and_query().ok_or("no path")?.clone();
    *request.uri_mut() = Uri::from(target);
    *request.version_mut() = Version::HTTP_11;
    request.headers_mut().insert(HOST, host);
    let mut response = sender.send_request(request).await?;
    // HTTP/2 has none of these (RFC 9113 8.2.2).
    for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE, KEEP_ALIVE, PROXY_CONNECTION, TE] {
        response.headers_mut().remove(name);
    }
    Ok(response)
}

/// More than a gateway lets through, in bytes.
const LARGEST_HEAD: u32 = 4 << 20;
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const TE: HeaderName = http::header::TE;
