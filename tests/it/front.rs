//! TLS in front: what is offered, whose certificates clients must show, and what a reload of certificates does.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use closegate::app::Change;
use rcgen::{CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::origin::Origin;
use crate::world::{KEY, Setup, gateway};

/// Who signs.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key in PEM.
pub(crate) struct Identity {
    pub cert: String,
    pub key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority of the tests");
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    pub(crate) fn sign(&self, name: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        Identity { cert: params.signed_by(&key, &self.issuer).unwrap().pem(), key: key.serialize_pem() }
    }

    /// A client that trusts this authority.
    pub(crate) fn client(&self, own: Option<&Identity>, alpn: &[&[u8]]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let chain = vec![CertificateDer::from_pem_slice(own.cert.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        config
    }
}

/// The name of the listener that [`sealed`] adds.
pub(crate) const TLS: &str = "tls";

/// A gateway with a TLS listener for `localhost` beside its plain one.
pub(crate) fn sealed(setup: Setup, authority: &Authority) -> Setup {
    sealed_by(setup, &authority.sign("localhost"), "")
}

fn sealed_by(setup: Setup, identity: &Identity, more: &str) -> Setup {
    setup.file("tls.crt", &identity.cert).file("tls.key", &identity.key).set(
        "listeners.tls",
        &format!("address = \"127.0.0.1:0\"\ntls = {{ cert = \"tls.crt\", key = \"tls.key\"{more} }}"),
    )
}

fn with_tls(origin: &Origin, identity: &Identity, more: &str) -> Setup {
    sealed_by(gateway(origin.address).key("\"sales\""), identity, more)
}

pub(crate) type Session = StreamOwned<ClientConnection, TcpStream>;

pub(crate) fn shake(config: ClientConfig, address: SocketAddr) -> std::io::Result<Session> {
    shake_over(TcpStream::connect(address)?, config)
}

fn shake_over(mut socket: TcpStream, config: ClientConfig) -> std::io::Result<Session> {
    socket.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut connection = ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut socket)?;
    }
    Ok(StreamOwned::new(connection, socket))
}

/// One request, and the whole answer as text.
fn ask(session: &mut Session) -> std::io::Result<String> {
    let request =
        format!("GET /sales/x HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {KEY}\r\nConnection: close\r\n\r\n");
    session.write_all(request.as_bytes())?;
    let mut answer = String::new();
    session.read_to_string(&mut answer)?;
    Ok(answer)
}

fn shown(session: &Session) -> Vec<u8> {
    session.conn.peer_certificates().unwrap()[0].to_vec()
}

#[test]
fn both_versions_of_http_are_offered_and_requests_served() {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let authority = Authority::new();
    let world = with_tls(&origin, &authority.sign("localhost"), "").start();
    let address = world.place(TLS);
    for (offered, agreed) in
        [(&[&b"h2"[..], b"http/1.1"][..], Some(&b"h2"[..])), (&[b"http/1.1"], Some(b"http/1.1")), (&[], None)]
    {
        let mut session = shake(authority.client(None, offered), address).unwrap();
        assert_eq!(session.conn.alpn_protocol(), agreed);
        if agreed != Some(b"h2") {
            let answer = ask(&mut session).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok"), "{answer}");
        }
    }
    assert!(shake(authority.client(None, &[b"spdy/1"]), address).is_err());
    let clear = world.metric("closegate_connections{listener=\"default\"}");
    assert_eq!(clear, 0.0);
    // What is no TLS gets no answer in clear text.
    let mut plain = TcpStream::connect(address).unwrap();
    plain.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.windows(4).any(|window| window == b"HTTP"), "{answer:?}");
}

#[test]
fn line_34_an_answer_that_lies_unread_in_the_session_takes_idle_timeout() {
    let origin = Origin::start(|conversation| {
        while let Some(seen) = conversation.request() {
            let size: usize = seen.line().split(['/', ' ']).find_map(|part| part.parse().ok()).unwrap();
            conversation.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n"));
            conversation.send(vec![b'x'; size]);
        }
    });
    let authority = Authority::new();
    let setup = gateway(origin.address).key("\"sales\"").set("listen", "idle_timeout = \"2s\"");
    let world = sealed(setup, &authority).start();
    // How much the system takes of an answer is not known: one of these ends in what the session keeps of it.
    let sizes = (60..260).step_by(10).map(|thousands| thousands * 1000);
    let unread = sizes.flat_map(|size| ["close", "keep-alive"].map(|connection| (size, connection)));
    let unread = unread.map(|(size, connection)| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket.connect(&world.place(TLS).into()).unwrap();
        let mut session = shake_over(socket.into(), authority.client(None, &[])).unwrap();
        let head = format!("GET /sales/{size} HTTP/1.1\r\nHost: localhost\r\nClosegate-Key: {KEY}\r\n");
        session.write_all(format!("{head}Connection: {connection}\r\n\r\n").as_bytes()).unwrap();
        session
    });
    let unread: Vec<Session> = unread.collect();
    origin.wait_for(unread.len());
    let open = || world.metric("closegate_connections{listener=\"tls\"}");
    assert!(open() > 0.0);
    let begun = Instant::now();
    while open() > 0.0 {
        assert!(begun.elapsed() < Duration::from_secs(30), "connections are held that nobody reads");
    }
}

#[test]
fn clients_must_show_a_certificate_where_that_is_said() {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let (authority, stranger) = (Authority::new(), Authority::new());
    let world = with_tls(&origin, &authority.sign("localhost"), ", client_ca = \"clients.pem\"")
        .file("clients.pem", &authority.pem)
        .start();
    let address = world.place(TLS);
    let outcome = |own: Option<&Identity>| {
        // TLS 1.3 tells a client only after its own handshake that it was refused.
        shake(authority.client(own, &[]), address).and_then(|mut session| ask(&mut session))
    };
    assert!(outcome(Some(&authority.sign("tool"))).unwrap().ends_with("ok"));
    assert!(outcome(None).is_err());
    assert!(outcome(Some(&stranger.sign("tool"))).is_err());
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn a_new_certificate_is_shown_after_a_reload_and_a_broken_one_never() {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let authority = Authority::new();
    let world = with_tls(&origin, &authority.sign("localhost"), "").start_reloading();
    let address = world.place(TLS);
    let mut open = shake(authority.client(None, &[]), address).unwrap();
    let first = shown(&open);
    assert_eq!(world.reload().unwrap().change, Change::None);

    let second = authority.sign("localhost");
    // The key is not the certificate's: half of a renewal.
    world.write("tls.crt", &second.cert);
    let faults = world.reload().unwrap_err();
    assert!(faults.iter().any(|fault| fault.contains("listeners.tls.tls.key")), "{faults:?}");
    assert_eq!(shown(&shake(authority.client(None, &[]), address).unwrap()), first);

    world.write("tls.key", &second.key);
    // The watcher may have been first.
    world.reload().unwrap();
    let now = shown(&shake(authority.client(None, &[]), address).unwrap());
    assert_ne!(now, first);
    assert_eq!(now, CertificateDer::from_pem_slice(second.cert.as_bytes()).unwrap().to_vec());
    assert!(ask(&mut open).unwrap().ends_with("ok"), "what was open goes on");
}

#[test]
fn files_that_move_wait_for_a_restart_and_hold_up_no_reload() {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let authority = Authority::new();
    let world = with_tls(&origin, &authority.sign("localhost"), "").start_reloading();
    let now = || shown(&shake(authority.client(None, &[]), world.place(TLS)).unwrap());
    let first = now();
    let moved = authority.sign("localhost");
    world.write("moved.crt", &moved.cert);
    world.write("moved.key", &moved.key);
    world.edit("cert = \"tls.crt\", key = \"tls.key\"", "cert = \"moved.crt\", key = \"moved.key\"");
    let waiting = world.reload().unwrap().waiting;
    assert!(waiting.iter().any(|setting| setting.starts_with("listeners.tls")), "{waiting:?}");

    // Those of the start are renewed for as long as they are in use.
    let renewed = authority.sign("localhost");
    world.write("tls.crt", &renewed.cert);
    world.write("tls.key", &renewed.key);
    world.reload().unwrap();
    let second = now();
    assert_ne!(second, first);
    std::fs::remove_file(world.folder.path().join("tls.crt")).unwrap();
    std::fs::remove_file(world.folder.path().join("tls.key")).unwrap();
    world.reload().unwrap();
    assert_eq!(now(), second);
}

#[test]
fn the_admin_listener_speaks_tls_where_that_is_said() {
    let origin = Origin::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    let authority = Authority::new();
    let world = with_tls(&origin, &authority.sign("localhost"), "")
        .replace("admin", "address = \"127.0.0.1:0\"\ntls = { cert = \"tls.crt\", key = \"tls.key\" }")
        .start();
    let mut session = shake(authority.client(None, &[b"h2", b"http/1.1"]), world.admin).unwrap();
    assert_eq!(session.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    session.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    session.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"ready\""), "{answer}");
}
