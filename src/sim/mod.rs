//! A simulated Close API on loopback, for the demonstration, for tests and for benches.
//!
//! It answers as Close is known to (close-api.md): Basic and Bearer credentials, `me`, `lead`, `contact`,
//! `opportunity`, `activity` (notes can be written, calls only read), `data/search`, pagination, validation errors, the
//! redirect to the trailing slash, `X-HTTP-Method-Override`, rate limits, and the usual response headers. It speaks
//! HTTP/1.1 by hand, so that it can also misbehave on order ([`Fault`]), and it remembers all that arrived ([`Seen`]).
//!
//! Beside Close's paths it has probes, which need a credential as well:
//!
//! | probe | answer |
//! |---|---|
//! | `/sim/bytes/{n}` | n bytes (the alphabet, over and over) with `content-length` |
//! | `/sim/chunked/{n}?chunk={size}` | the same in chunks |
//! | `/sim/echo` | the request's body with its media type, while it arrives |
//! | `/sim/headers` | JSON: method, target and header lines as they arrived |
//! | `/sim/slow/{n}` | n chunks, each sent when [`Simulator::release`] lets one through |
//! | `/sim/reflect/{place}` | the caller's own secret, as no upstream should repeat it |
//!
//! The places of a reflection are `header`, `location`, `body`, `split` (a body in two chunks), `json`, `percent`,
//! `base64` and `trailer`.
//!
//! OAuth 2.0 stands in `oauth`: apps are known by [`Options::app`], and their access tokens are taken as Bearer. A fault
//! ordered for `/oauth2/token/` is one of the token endpoint.

mod accepted;
mod answer;
mod api;
mod deliver;
mod fault;
mod ids;
mod listing;
mod oauth;
mod params;
mod probe;
mod rate;
mod records;
mod seed;
mod seen;
mod serve;
mod shared;
mod strict;
mod validate;
mod wire;

#[cfg(test)]
mod tests;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

pub use accepted::{Accepted, DemoCredentials, demo_credentials};
pub use fault::{Fault, Trouble};
pub use oauth::{ClientAuthentication, Grant, OAuthApp, Reuse};
pub use rate::{RateLimit, RateStyle};
pub use seen::Seen;

use crate::task;
use seen::Ledger;
use shared::{Expectations, Shared, World};

/// How a simulator is to be; the default takes no credential and speaks clear text on a free port.
#[derive(Debug, Clone)]
pub struct Options {
    accepted: Vec<Accepted>,
    apps: Vec<OAuthApp>,
    address: SocketAddr,
    tls: Option<Arc<rustls::ServerConfig>>,
    strict: bool,
    host: Option<String>,
    rate: RateLimit,
    remember: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            accepted: Vec::new(),
            apps: Vec::new(),
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tls: None,
            strict: false,
            host: None,
            rate: RateLimit::new(1_000_000, Duration::from_secs(1)),
            remember: 4096,
        }
    }
}

impl Options {
    /// The default: see [`Options`].
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a credential.
    pub fn accept(mut self, credential: Accepted) -> Self {
        self.accepted.push(credential);
        self
    }

    /// Knows an OAuth app.
    pub fn app(mut self, app: OAuthApp) -> Self {
        self.apps.push(app);
        self
    }

    /// Listens at a place of one's own, to come back where another simulator was.
    pub fn at(self, address: SocketAddr) -> Self {
        Self { address, ..self }
    }

    /// Speaks TLS.
    pub fn tls(self, config: Arc<rustls::ServerConfig>) -> Self {
        Self { tls: Some(config), ..self }
    }

    /// Refuses, and remembers as a violation, whatever a correct gateway would not have sent.
    pub fn strict(self) -> Self {
        Self { strict: true, ..self }
    }

    /// Refuses, as a violation, a request whose `Host` is not this.
    pub fn host(self, authority: &str) -> Self {
        Self { host: Some(authority.to_owned()), ..self }
    }

    /// Limits each credential in each endpoint group. Without it the limit is a million a second.
    pub fn rate_limit(self, rate: RateLimit) -> Self {
        Self { rate, ..self }
    }

    /// Keeps so many requests in [`Simulator::seen`]; 4096 without it.
    pub fn remember(self, requests: usize) -> Self {
        Self { remember: requests, ..self }
    }
}

/// A running simulator; clones are the same one. It serves until it is stopped or its runtime ends.
#[derive(Clone)]
pub struct Simulator {
    shared: Arc<Shared>,
    address: SocketAddr,
}

impl Simulator {
    /// Binds, and serves on the current runtime.
    pub async fn start(options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind(options.address).await?;
        let address = listener.local_addr()?;
        let mut world = World::new(options.rate)?;
        options.accepted.into_iter().for_each(|credential| world.accept(credential));
        options.apps.into_iter().for_each(|app| world.register(app));
        let expectations = Expectations { strict: options.strict, host: options.host };
        let tls = options.tls.map(TlsAcceptor::from);
        let shared = Arc::new(Shared::new(expectations, tls, world, Ledger::new(options.remember)));
        task::spawn("the simulator's listener", serve::listen(Arc::clone(&shared), listener));
        Ok(Self { shared, address })
    }

    /// A connection to it within the process, in clear text: for tests whose clock stands still.
    pub fn pipe(&self) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        serve::serve_pipe(&self.shared, theirs);
        ours
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests that arrived, oldest first: those whose body is still to come as well.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.ledger().requests()
    }

    /// How many requests arrived, also those that are no longer remembered.
    pub fn requests(&self) -> usize {
        self.shared.ledger().total()
    }

    /// Every distinct value of `Authorization` that arrived.
    pub fn authorizations(&self) -> Vec<String> {
        self.shared.ledger().authorizations()
    }

    /// What arrived and should not have: malformed messages always, the rest as [`Options::strict`] and
    /// [`Options::host`] say.
    pub fn violations(&self) -> Vec<String> {
        self.shared.ledger().violations()
    }

    /// Orders a fault for the next request that it meets.
    pub fn script(&self, fault: impl Into<Fault>) {
        self.shared.faults().order(fault.into());
    }

    /// Takes back the faults that are still on order.
    pub fn clear_faults(&self) {
        self.shared.faults().clear();
    }

    /// Takes a credential from now on.
    pub fn accept(&self, credential: Accepted) {
        self.shared.world().accept(credential);
    }

    /// Answers a credential with 401 from now on.
    pub fn revoke(&self, credential: &Accepted) {
        self.shared.world().revoke(credential);
    }

    /// Knows an OAuth app from now on, in place of one of the same id.
    pub fn register(&self, app: OAuthApp) {
        self.shared.world().register(app);
    }

    /// Makes a grant of an app, as if a person had consented; no such app is a fault.
    pub fn grant(&self, app: &OAuthApp) -> io::Result<Grant> {
        self.shared.world().oauth.grant(app.client_id())
    }

    /// Every grant, oldest first.
    pub fn grants(&self) -> Vec<Grant> {
        self.shared.world().oauth.grants()
    }

    /// Ends the life of every access token that there is: they are answered with 401 from now on.
    pub fn expire_access_tokens(&self) {
        self.shared.world().oauth.expire();
    }

    /// Ends every grant, as a person does who takes the app's access away.
    pub fn revoke_grants(&self) {
        self.shared.world().oauth.revoke_all();
    }

    /// How many connections were accepted so far.
    pub fn connections(&self) -> usize {
        self.shared.accepted()
    }

    /// How many connections are open.
    pub fn live(&self) -> usize {
        self.shared.live()
    }

    /// How many answers or pieces of answers are held at the gate.
    pub fn held(&self) -> usize {
        self.shared.held()
    }

    /// Lets so many held answers or pieces through, also those that are yet to come.
    pub fn release(&self, times: usize) {
        self.shared.open_gate(times);
    }

    /// Waits until something is so: looked at now, and whenever something has happened.
    pub async fn until(&self, condition: impl Fn(&Self) -> bool) {
        let mut events = self.shared.events();
        while !condition(self) && events.changed().await.is_ok() {}
    }

    /// Stops listening and ends every connection; resolves when all is closed.
    pub async fn stop(self) {
        self.shared.stop();
        self.until(|simulator| simulator.shared.is_over()).await;
    }

    /// The bytes of `/sim/bytes/{length}`.
    pub fn pattern(length: usize) -> Bytes {
        answer::pattern(0, length)
    }
}
