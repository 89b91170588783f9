//! The origin: a process that speaks TLS as Close does, and HTTP/2 to whom offers it.
//!
//! It answers 401 unless the injected credential is exactly right.

use std::convert::Infallible;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::Result;
use crate::contenders::{Stopped, injected};

/// The origin's process.
pub(crate) struct Origin {
    port: u16,
    _process: Stopped,
}

impl Origin {
    /// Writes certificates into the folder, and starts a process that serves with them.
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        certify(folder)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("origin").arg(folder).stdout(Stdio::piped());
        let mut process = Stopped(command.spawn()?);
        let mut line = String::new();
        BufReader::new(process.stdout()?).read_line(&mut line)?;
        Ok(Self { port: line.trim().parse()?, _process: process })
    }

    /// Where it listens on loopback.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

/// Serves until the process is ended; the port goes to stdout.
pub(crate) fn serve(folder: &Path) -> Result<()> {
    let chain = vec![CertificateDer::from_pem_file(folder.join("origin.pem"))?];
    let key = PrivateKeyDer::from_pem_file(folder.join("origin.key"))?;
    let mut tls = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(LocalSet::new().run_until(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?.port());
        loop {
            let (stream, _) = listener.accept().await?;
            let acceptor = acceptor.clone();
            closegate::task::spawn_local(async move {
                // A contender that ends closes its connections as it likes: its errors are counted at the driver.
                let _ = connection(stream, acceptor).await;
            });
        }
    }))
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor) -> Result<()> {
    stream.set_nodelay(true)?;
    let stream = acceptor.accept(stream).await?;
    let expected = injected();
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        return streams(stream, &expected).await;
    }
    let service = service_fn(|request| {
        let response = answer::<Incoming>(&request, &expected).map(Full::new);
        async { Ok::<_, Infallible>(response) }
    });
    http1::Builder::new().serve_connection(TokioIo::new(stream), service).await?;
    Ok(())
}

/// Answers each stream at once: nobody sends it a body.
async fn streams(stream: TlsStream<TcpStream>, expected: &str) -> Result<()> {
    let mut connection = h2::server::handshake(stream).await?;
    while let Some(accepted) = connection.accept().await {
        let (request, mut respond) = accepted?;
        let (head, body) = answer(&request, expected).into_parts();
        let mut stream = respond.send_response(Response::from_parts(head, ()), false)?;
        stream.send_data(body, true)?;
    }
    Ok(())
}

/// `?size=N` is answered with that many bytes of JSON, if the one `Authorization` is the one expected.
fn answer<B>(request: &Request<B>, expected: &str) -> Response<Bytes> {
    let mut presented = request.headers().get_all(AUTHORIZATION).iter();
    let authorised = presented.next().is_some_and(|value| value == expected) && presented.next().is_none();
    let size = request.uri().query().and_then(|query| query.strip_prefix("size=")?.parse::<usize>().ok());
    let (status, body) = match size {
        Some(size) if authorised => {
            (StatusCode::OK, format!("{{\"data\":\"{}\"}}", "x".repeat(size.saturating_sub(11))))
        }
        Some(_) => (StatusCode::UNAUTHORIZED, String::new()),
        None => (StatusCode::NOT_FOUND, String::new()),
    };
    let length = http::HeaderValue::from(body.len());
    let mut response = Response::new(Bytes::from(body));
    response.headers_mut().insert(http::header::CONTENT_LENGTH, length);
    *response.status_mut() = status;
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}

/// A root, `ca.pem`, and under it `origin.pem` and `origin.key` for `localhost`.
fn certify(folder: &Path) -> Result<()> {
    let mut root = CertificateParams::new(Vec::new())?;
    root.distinguished_name.push(DnType::CommonName, "root of the bench");
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root_key = KeyPair::generate()?;
    fs::write(folder.join("ca.pem"), root.self_signed(&root_key)?.pem())?;
    let key = KeyPair::generate()?;
    let leaf = CertificateParams::new(vec!["localhost".to_owned()])?.signed_by(&key, &Issuer::new(root, root_key))?;
    fs::write(folder.join("origin.pem"), leaf.pem())?;
    fs::write(folder.join("origin.key"), key.serialize_pem())?;
    Ok(())
}
