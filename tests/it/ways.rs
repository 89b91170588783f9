//! The tests over raw sockets once more, by every other way in and out.
//!
//! A test says what a client sends byte by byte and what the upstream saw, and knows one way: HTTP/1.1 in clear text on
//! both sides. In a process that [`WAY`] names another one for, a relay stands on each side of the gateway that speaks
//! what the way says, and everything else is as it was. So each case is written once. `CLOSEGATE_TEST_WAY="tls h2"
//! cargo test --test it boundary::` plays some of them by one way.

mod sealed;
mod streams;
mod upstream;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Command;
use std::str::FromStr;
use std::sync::Arc;

use tokio_rustls::TlsConnector;

use crate::front::Authority;
use crate::spawned::run;
use crate::world::Setup;

/// The variable that names the way: what clients speak (`h1`, `tls`, `h2`, `tls+h2`), and what the upstream does.
const WAY: &str = "CLOSEGATE_TEST_WAY";
/// The listener that clients with TLS come in by.
const LISTENER: &str = "way";

/// How requests come in, and how they go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Way {
    front: Front,
    upstream: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Front {
    version: Version,
    cover: Cover,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    H1,
    H2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cover {
    Clear,
    Tls,
}

impl Way {
    /// The one that the tests are written for.
    const PLAIN: Self = Self { front: Front { version: Version::H1, cover: Cover::Clear }, upstream: Version::H1 };

    fn of_this_process() -> Self {
        std::env::var(WAY).map_or(Self::PLAIN, |way| way.parse().unwrap())
    }
}

impl FromStr for Way {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (front, upstream) = text.split_once(' ').ok_or_else(|| format!("{WAY}: two words, not {text:?}"))?;
        let (version, cover) = match front {
            "h1" => (Version::H1, Cover::Clear),
            "tls" => (Version::H1, Cover::Tls),
            "h2" => (Version::H2, Cover::Clear),
            "tls+h2" => (Version::H2, Cover::Tls),
            _ => return Err(format!("{WAY}: clients cannot speak {front:?}")),
        };
        let upstream = match upstream {
            "h1" => Version::H1,
            "h2" => Version::H2,
            _ => return Err(format!("{WAY}: the upstream cannot speak {upstream:?}")),
        };
        Ok(Self { front: Front { version, cover }, upstream })
    }
}

/// The way to one gateway.
pub(crate) struct Passage {
    front: Front,
    authority: Option<Authority>,
}

impl Passage {
    /// Has a gateway listen, and call its upstream, as the way of this process asks.
    pub(crate) fn through(mut setup: Setup) -> (Setup, Self) {
        let way = Way::of_this_process();
        let plain = format!("url = \"http://{}", setup.upstream);
        if way.upstream == Version::H2 && setup.section("upstream").starts_with(&plain) {
            let relay = upstream::relay(setup.upstream);
            setup = setup.set("upstream", &format!("http = \"h2\"\naddress = \"{relay}\""));
        }
        let authority = (way.front.cover == Cover::Tls).then(Authority::new);
        if let Some(authority) = &authority {
            let identity = authority.sign("localhost");
            setup = setup.file("way.crt", &identity.cert).file("way.key", &identity.key);
            let plain = setup.section("listen").to_owned();
            let lines = plain.lines().filter(|line| !OF_ALL.iter().any(|setting| line.starts_with(setting)));
            setup = lines.fold(setup, |setup, line| setup.set("listeners.way", line));
            setup = setup.set("listeners.way", "tls = { cert = \"way.crt\", key = \"way.key\" }");
        }
        (setup, Self { front: way.front, authority })
    }

    /// Where clients connect, whose bytes reach the gateway as the way asks: it is told where each listener listens,
    /// by name.
    pub(crate) fn door(&self, listener: impl FnOnce(&str) -> SocketAddr) -> SocketAddr {
        let to = listener(if self.authority.is_some() { LISTENER } else { "default" });
        let connector = |protocol: &[u8]| {
            let authority = self.authority.as_ref()?;
            Some(TlsConnector::from(Arc::new(authority.client(None, &[protocol]))))
        };
        match (self.front.version, connector) {
            (Version::H1, connector) => connector(b"http/1.1").map_or(to, |connector| sealed::relay(connector, to)),
            (Version::H2, connector) => streams::relay(connector(b"h2"), to),
        }
    }
}

/// Where clients of HTTP/1.1 connect whose requests come in by each way: as they are, over TLS, by HTTP/2, and by HTTP/2
/// over TLS. The listeners are one in clear text and one with TLS, for `localhost` by the authority.
pub(crate) fn every_front(clear: SocketAddr, tls: SocketAddr, authority: &Authority) -> [SocketAddr; 4] {
    let connector = |protocol: &[u8]| TlsConnector::from(Arc::new(authority.client(None, &[protocol])));
    [
        clear,
        sealed::relay(connector(b"http/1.1"), tls),
        streams::relay(None, clear),
        streams::relay(Some(connector(b"h2")), tls),
    ]
}

/// Settings of `[listen]` that are those of all listeners.
const OF_ALL: [&str; 2] = ["workers", "shutdown_"];

/// The modules whose tests say what clients send and upstreams see.
const SUITE: [&str; 7] = ["wire::", "limits::", "boundary::", "access::", "redaction::", "errors::", "faults::"];

/// Plays the suite by a way, but for the tests that have no case there: the beginnings of their names, each with the
/// reason.
fn again(way: &str, modules: &[&str], without: &[(&str, &str)]) {
    let binary = || Command::new(std::env::current_exe().unwrap());
    let listed = run(binary().args(["--list", "--format", "terse"])).stdout;
    let all: BTreeSet<&str> = listed
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .filter(|name| modules.iter().any(|module| name.starts_with(module)))
        .collect();
    for (name, reason) in without {
        assert!(all.iter().any(|test| test.starts_with(name)), "there is no {name} to leave out: {reason}");
    }
    let played: Vec<_> = all.iter().filter(|test| !without.iter().any(|(name, _)| test.starts_with(name))).collect();
    let ended = run(binary().env(WAY, way).arg("--exact").args(&played));
    assert_eq!(ended.code, Some(0), "{way}:\n{}\n{}", ended.stdout, ended.stderr);
    let result = format!("test result: ok. {} passed", played.len());
    assert!(ended.stdout.contains(&result), "{way}:\n{}", ended.stdout);
    println!("{way}: {} of {} tests", played.len(), all.len());
}

/// What no relay in front can show.
const BEHIND_A_RELAY: [(&str, &str); 4] = [
    ("limits::line_39_draining_ends", "the relay takes connections when the gateway does not any more"),
    ("limits::one_connection_too_many_from_one_address", "all connections come from the relay"),
    ("limits::one_connection_too_many_waits", "it reads the gauge of the plain listener"),
    ("faults::leaving::line_37_a_client_that_left_an_upload", "a relay that is held up does not hear of the end"),
];

/// What is about the bytes of HTTP/1.1 on the upstream's connection; `upstream_h2` says the same of HTTP/2.
const OF_HTTP1_UPSTREAMS: [(&str, &str); 6] = [
    ("boundary::line_09_an_answer_is_copied", "HTTP/2 has no Connection that could name fields"),
    ("wire::line_09_hop_by_hop_fields_of_an_answer", "HTTP/2 has no Connection that could name fields"),
    ("wire::answers_without_a_body", "it counts connections, and here each stream is one"),
    ("errors::a_request_that_finds_no_connection_left", "streams share one connection"),
    ("errors::an_answer_that_is_none", "the relay cannot say it in HTTP/2"),
    ("errors::an_upstream_that_takes_no_connection", "the relay takes it"),
];

/// What cannot be asked by HTTP/2, or not through its library; `h2::messages` does it frame by frame.
const OF_HTTP1_CLIENTS: [(&str, &str); 13] = [
    ("access::absolute_form", "a target of HTTP/2 has no other form"),
    ("access::an_override_that_connection_names", "HTTP/2 has no Connection that could name fields"),
    ("access::line_21_what_is_not_exactly", "some are bytes that a library does not send"),
    ("access::line_22_what_is_not_canonical", "some are bytes that a library does not send"),
    ("boundary::line_09_connection_may_not_name", "HTTP/2 has no Connection that could name fields"),
    ("boundary::line_09_what_connection_names", "HTTP/2 has no Connection that could name fields"),
    ("boundary::line_10", "Upgrade and Keep-Alive are among them"),
    ("boundary::line_11", "HTTP/2 knows no upgrade"),
    ("errors::head_that_is_no_request", "two Hosts are no request of HTTP/2"),
    ("errors::rows_that_the_request_itself_causes", "some are no requests of HTTP/2"),
    ("redaction::decode::line_33_a_coded_answer_that_is_broken", "an HTTP/1.0 client is among its clients"),
    ("redaction::decode::old_clients", "they are clients of HTTP/1.0"),
    ("redaction::errors_of_the_upstream_and_old_clients", "an HTTP/1.0 client is among its clients"),
];

/// What requests and answers say, whatever carries them.
const MESSAGES: [&str; 4] = ["boundary::", "access::", "redaction::", "errors::"];

#[test]
fn http1_over_tls() {
    again("tls h1", &SUITE, &BEHIND_A_RELAY);
}

#[test]
fn http1_with_an_upstream_of_http2() {
    again("h1 h2", &SUITE[..6], &OF_HTTP1_UPSTREAMS);
}

#[test]
fn http1_over_tls_with_an_upstream_of_http2() {
    let without: Vec<_> = BEHIND_A_RELAY[..3].iter().chain(&OF_HTTP1_UPSTREAMS).copied().collect();
    again("tls h2", &SUITE[..6], &without);
}

#[test]
fn http2_in_clear_text() {
    again("h2 h1", &MESSAGES, &OF_HTTP1_CLIENTS);
}

#[test]
fn http2_over_tls_with_an_upstream_of_http2() {
    let of_both = OF_HTTP1_UPSTREAMS.iter().filter(|(name, _)| !name.starts_with("wire::"));
    let without: Vec<_> = OF_HTTP1_CLIENTS.iter().chain(of_both).copied().collect();
    again("tls+h2 h2", &MESSAGES, &without);
}
