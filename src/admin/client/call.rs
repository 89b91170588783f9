//! One exchange with the admin listener of a gateway on this machine: HTTP/1.1, over TLS if it speaks that.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::admin::refusal::{Code, Refusal};
use crate::config::{Admin, Tls};
use crate::net::pinned;

/// Where the admin listener of a configuration is called: on loopback, when it listens on every address.
pub fn reachable(admin: &Admin) -> SocketAddr {
    let mut address = admin.address;
    // An unspecified address is one to listen on, not one to call.
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    address
}

/// Whether somebody listens where the admin listener of a configuration would.
///
/// # Errors
///
/// `gateway_unreachable` when that cannot be told.
pub async fn is_there(admin: &Admin) -> Result<bool, Refusal> {
    let address = reachable(admin);
    let connected = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
    match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::AddrNotAvailable) => {
            Ok(false)
        }
        Err(error) => {
            let detail = format!("whether a gateway listens at `{address}` cannot be told: {error}");
            Err(Refusal::new(Code::GatewayUnreachable, detail).hint("is `admin.address` one of this machine?"))
        }
    }
}

/// Asks the admin listener of a configuration; `patience` is for all of it.
///
/// # Errors
///
/// When nobody answers in time, with another certificate, or with something else than HTTP.
pub async fn call(admin: &Admin, request: Request<Full<Bytes>>, patience: Duration) -> io::Result<Response<Bytes>> {
    let exchange = connect(reachable(admin), admin.tls.as_ref(), request);
    tokio::time::timeout(patience, exchange).await.map_err(|_| io::ErrorKind::TimedOut)?
}

async fn connect(
    address: SocketAddr,
    tls: Option<&Tls>,
    mut request: Request<Full<Bytes>>,
) -> io::Result<Response<Bytes>> {
    request.headers_mut().insert(HOST, HeaderValue::from_str(&address.to_string()).map_err(io::Error::other)?);
    let stream = TcpStream::connect(address).await?;
    let Some(tls) = tls else { return exchange(stream, request).await };
    // Whoever listens there must have the certificate that is configured; its name and dates are for others.
    let pinned = pinned(&tls.cert).map_err(io::Error::other)?;
    let name = ServerName::from(address.ip());
    exchange(TlsConnector::from(pinned).connect(name, stream).await?, request).await
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> io::Result<Response<Bytes>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let answered = async {
        let (head, body) = sender.send_request(request).await.map_err(io::Error::other)?.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(io::Error::other)?;
        Ok(Response::from_parts(head, body.to_bytes()))
    };
    tokio::pin!(answered, connection);
    tokio::select! {
        biased;
        answer = &mut answered => answer,
        // It ends once it has handed the answer over, or with what the answer then says as well.
        _ = &mut connection => answered.await,
    }
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Most bytes of an answer: a page of 500 keys is far below it.
const MAX_ANSWER: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unspecified_address_is_called_on_loopback() {
        for (given, called) in
            [("0.0.0.0:9464", "127.0.0.1:9464"), ("[::]:9464", "[::1]:9464"), ("192.0.2.7:9464", "192.0.2.7:9464")]
        {
            let admin = Admin { address: given.parse().unwrap(), ..Admin::default() };
            assert_eq!(reachable(&admin), called.parse().unwrap());
        }
    }
}
