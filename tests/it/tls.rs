//! TLS towards the upstream: whose certificate is taken, and that nothing is sent before (security.md 40).

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{HandshakeKind, ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion};

use crate::faults::{WHOLE, assert_error, exchange, get, record};
use crate::raw::find;
use crate::spawned::closegate;
use crate::world::{INJECTED, SECRET, Setup, gateway};

const STUCK: Duration = Duration::from_secs(30);

/// An authority that signs certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// What a TLS upstream presents.
pub(crate) struct Identity {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: KeyPair,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority of the tests");
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate for names, changed as the test likes.
    pub(crate) fn sign(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let key = KeyPair::generate().unwrap();
        let params = params(names, change);
        Identity { chain: vec![params.signed_by(&key, &self.issuer).unwrap().der().clone()], key }
    }
}

fn params(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).unwrap();
    change(&mut params);
    params
}

/// A TLS upstream and what reached it.
pub(crate) struct TlsOrigin {
    pub address: SocketAddr,
    pub connections: Arc<Mutex<Vec<Connection>>>,
}

/// One connection, once its handshake is over.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    pub name: Option<String>,
    kind: Option<HandshakeKind>,
    pub requests: Vec<String>,
}

/// What happens after an answer.
#[derive(Clone, Copy, PartialEq)]
enum After {
    /// The next request is awaited.
    Stay,
    /// The session ends in order.
    Close,
    /// The connection ends without a word of TLS.
    Truncate,
}

impl TlsOrigin {
    fn start(identity: Identity, versions: &[&'static SupportedProtocolVersion], answer: &str, after: After) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = PrivateKeyDer::try_from(identity.key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(identity.chain, key)
            .unwrap();
        let (config, answer) = (Arc::new(config), answer.to_owned());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(Mutex::new(Vec::new()));
        let own = connections.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (config, answer, connections) = (config.clone(), answer.clone(), own.clone());
                std::thread::spawn(move || serve(stream.unwrap(), config, &answer, after, &connections));
            }
        });
        Self { address, connections }
    }

    /// As [`Self::start`], with every version, answering on and on.
    pub(crate) fn plain(identity: Identity) -> Self {
        Self::start(identity, rustls::ALL_VERSIONS, WHOLE, After::Stay)
    }
}

fn serve(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    answer: &str,
    after: After,
    connections: &Mutex<Vec<Connection>>,
) {
    stream.set_read_timeout(Some(STUCK)).unwrap();
    let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
    let number = {
        let mut connections = connections.lock().unwrap();
        connections.push(Connection::default());
        connections.len() - 1
    };
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let count = stream.read(&mut piece);
        let mut connections = connections.lock().unwrap();
        let connection = &mut connections[number];
        connection.name = stream.conn.server_name().map(str::to_owned);
        connection.kind = stream.conn.handshake_kind();
        let Ok(count @ 1..) = count else { return };
        bytes.extend_from_slice(&piece[..count]);
        let Some(end) = find(&bytes, b"\r\n\r\n") else { continue };
        let head: Vec<u8> = bytes.drain(..end + 4).collect();
        connection.requests.push(String::from_utf8(head).unwrap());
        drop(connections);
        stream.write_all(answer.as_bytes()).unwrap();
        stream.flush().unwrap();
        match after {
            After::Stay => {}
            After::Close => {
                stream.conn.send_close_notify();
                stream.flush().unwrap();
                return;
            }
            After::Truncate => return,
        }
    }
}

/// A gateway before `https://close.test` at an address, that trusts the authority beside the system's.
pub(crate) fn trusting(authority: &Authority, address: SocketAddr) -> Setup {
    let upstream = format!("url = \"https://close.test\"\naddress = \"{address}\"\nca = \"roots.pem\"");
    gateway(address).key("\"sales\"").file("roots.pem", &authority.pem).replace("upstream", &upstream)
}

#[test]
fn line_40_the_right_certificate_is_taken_and_host_and_sni_are_the_url_s() {
    for version in rustls::ALL_VERSIONS {
        let authority = Authority::new();
        let origin = TlsOrigin::start(authority.sign(&["close.test"], |_| ()), &[version], WHOLE, After::Stay);
        let world = trusting(&authority, origin.address).start();
        let mut client = world.connect();
        for _ in 0..20 {
            let answer = exchange(&mut client, &get());
            assert_eq!((answer.status, answer.text().as_str()), (200, "{}"), "{version:?}");
        }
        let connections = origin.connections.lock().unwrap();
        // Session tickets come after the handshake: they are not stray bytes (security.md 32).
        assert_eq!(connections.len(), 1, "{version:?}");
        assert_eq!(connections[0].name.as_deref(), Some("close.test"));
        assert_eq!(connections[0].requests.len(), 20);
        for request in &connections[0].requests {
            assert!(request.contains("\r\nhost: close.test\r\n"), "{request}");
            assert!(request.contains(&format!("\r\nauthorization: {INJECTED}\r\n")), "{request}");
        }
    }
}

#[test]
fn line_40_any_other_certificate_is_refused_before_a_byte_is_sent() {
    let authority = Authority::new();
    let stranger = Authority::new();
    let own_key = KeyPair::generate().unwrap();
    let self_signed = params(&["close.test"], |_| ()).self_signed(&own_key).unwrap().der().clone();
    let cases = [
        (
            "expired",
            authority.sign(&["close.test"], |params| {
                (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(2001, 1, 1));
            }),
        ),
        (
            "not yet valid",
            authority.sign(&["close.test"], |params| {
                (params.not_before, params.not_after) = (date_time_ymd(4000, 1, 1), date_time_ymd(4001, 1, 1));
            }),
        ),
        ("self-signed", Identity { chain: vec![self_signed], key: own_key }),
        ("of an unknown authority", stranger.sign(&["close.test"], |_| ())),
        ("for another name", authority.sign(&["other.test"], |_| ())),
        ("for a name below", authority.sign(&["api.close.test"], |_| ())),
        ("for names below", authority.sign(&["*.close.test"], |_| ())),
        ("for a name above", authority.sign(&["test"], |_| ())),
        ("for the address", authority.sign(&["127.0.0.1"], |_| ())),
        (
            "with a common name alone",
            authority.sign(&[], |params| {
                params.distinguished_name.push(DnType::CommonName, "close.test");
            }),
        ),
        (
            "for clients",
            authority.sign(&["close.test"], |params| {
                params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
            }),
        ),
    ];
    for (what, identity) in cases {
        let origin = TlsOrigin::plain(identity);
        let world = trusting(&authority, origin.address).start();
        let mut client = world.connect();
        for attempt in 1..=2 {
            let answer = exchange(&mut client, &get());
            assert_error(&answer, 502, "upstream_tls", what);
            assert!(!answer.text().contains("close.test") && !answer.text().contains("127.0.0.1"), "{what}");
            assert_eq!(record(&world, attempt)["code"], "upstream_tls", "{what}");
        }
        let connections = origin.connections.lock().unwrap();
        assert!(connections.iter().all(|connection| connection.requests.is_empty()), "{what}: {connections:?}");
    }
}

#[test]
fn line_40_the_system_s_roots_do_not_make_a_stranger_of_the_tests_trusted() {
    let authority = Authority::new();
    let origin = TlsOrigin::plain(authority.sign(&["close.test"], |_| ()));
    let upstream = format!("url = \"https://close.test\"\naddress = \"{}\"", origin.address);
    let world = gateway(origin.address).key("\"sales\"").replace("upstream", &upstream).start();
    assert_error(&world.get("/sales/api/v1/me/", ""), 502, "upstream_tls", "no `ca`");
}

#[test]
fn line_40_variables_name_other_roots_than_the_system_s() {
    let authority = Authority::new();
    let origin = TlsOrigin::plain(authority.sign(&["close.test"], |_| ()));
    let upstream = format!("url = \"https://close.test\"\naddress = \"{}\"", origin.address);
    for (variable, place) in [("SSL_CERT_FILE", "roots.pem"), ("SSL_CERT_DIR", ".")] {
        let setup = gateway(origin.address).key("\"sales\"").file("roots.pem", &authority.pem);
        let world = setup.replace("upstream", &upstream).spawn_as(|folder| {
            let mut command = closegate(folder);
            command.env(variable, folder.join(place));
            command
        });
        assert_eq!(exchange(&mut world.connect(), &get()).status, 200, "{variable}");
    }
}

#[test]
fn line_40_what_is_no_tls_1_2_gets_no_application_byte() {
    let mut old = vec![0x16, 0x03, 0x02, 0x00, 0x2a, 0x02, 0x00, 0x00, 0x26, 0x03, 0x02];
    old.extend([0x77; 32]);
    // No session, TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, no compression.
    old.extend([0x00, 0xc0, 0x13, 0x00]);
    for (what, answer) in [
        ("plain HTTP", WHOLE.as_bytes().to_vec()),
        ("a banner", b"220 mail.example ESMTP\r\n".to_vec()),
        ("TLS 1.1", old),
        ("an alert", vec![0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x28]),
        ("nothing", Vec::new()),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let listening = std::thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            stream.set_read_timeout(Some(STUCK)).unwrap();
            let mut piece = [0; 4096];
            let count = stream.read(&mut piece).unwrap();
            let mut seen = piece[..count].to_vec();
            stream.write_all(&answer).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            // The gateway may end the connection with a reset.
            let _ = stream.read_to_end(&mut seen);
            seen
        });
        let world = trusting(&Authority::new(), address).start();
        assert_error(&world.get("/sales/api/v1/me/", ""), 502, "upstream_tls", what);
        let seen = listening.join().unwrap();
        assert_eq!(seen[0], 0x16, "{what}: a handshake and nothing else");
        assert!(find(&seen, b"HTTP/1.1").is_none() && find(&seen, SECRET.as_bytes()).is_none(), "{what}");
        assert!(records_of(&seen).iter().all(|kind| *kind != 0x17), "{what}: application data");
    }
}

/// The content types of the TLS records in a stream.
fn records_of(mut bytes: &[u8]) -> Vec<u8> {
    let mut kinds = Vec::new();
    while let [kind, _, _, high, low, rest @ ..] = bytes {
        kinds.push(*kind);
        let length = usize::from(*high) << 8 | usize::from(*low);
        bytes = rest.get(length..).unwrap_or_default();
    }
    kinds
}

#[test]
fn line_40_sessions_are_resumed() {
    let authority = Authority::new();
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
    for version in rustls::ALL_VERSIONS {
        let origin = TlsOrigin::start(authority.sign(&["close.test"], |_| ()), &[version], answer, After::Close);
        let world = trusting(&authority, origin.address).start();
        let mut client = world.connect();
        for _ in 0..3 {
            assert_eq!(exchange(&mut client, &get()).status, 200, "{version:?}");
        }
        let connections = origin.connections.lock().unwrap();
        let kinds: Vec<_> = connections.iter().map(|connection| connection.kind.unwrap()).collect();
        assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed], "{version:?}");
    }
}

#[test]
fn line_33_a_session_that_ends_without_a_word_is_a_cut() {
    let authority = Authority::new();
    let answer = "HTTP/1.1 200 OK\r\n\r\nas long as it lasts";
    for (after, whole) in [(After::Close, true), (After::Truncate, false)] {
        let identity = authority.sign(&["close.test"], |_| ());
        let origin = TlsOrigin::start(identity, rustls::ALL_VERSIONS, answer, after);
        let world = trusting(&authority, origin.address).start();
        let got = world.get("/sales/api/v1/me/", "");
        assert_eq!((got.status, got.whole, got.text().as_str()), (200, whole, "as long as it lasts"));
        record(&world, 1);
        let truncated = world.metric("closegate_truncated_responses_total{route=\"sales\"}");
        assert_eq!(truncated, if whole { 0.0 } else { 1.0 });
    }
}

#[test]
fn line_40_an_address_in_the_url_needs_a_certificate_for_it() {
    let authority = Authority::new();
    for (name, status) in [("127.0.0.1", 200), ("close.test", 502)] {
        let origin = TlsOrigin::plain(authority.sign(&[name], |_| ()));
        let upstream = format!("url = \"https://{}\"\nca = \"roots.pem\"", origin.address);
        let setup = trusting(&authority, origin.address).replace("upstream", &upstream);
        let world = setup.start();
        assert_eq!(world.get("/sales/api/v1/me/", "").status, status, "{name}");
        let connections = origin.connections.lock().unwrap();
        assert_eq!(connections[0].name, None, "an address is no server name (RFC 6066 3)");
    }
}
