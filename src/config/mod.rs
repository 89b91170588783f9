//! The configuration as types: what the file and the environment said, checked once and whole.
//!
//! It holds references to secrets, never a secret (invariant 3), so it can be printed as it is. Defaults come before
//! the file, the file before the environment: [`figment`] merges the sources, and a walk of our own ([`load`]) types
//! the merged tree and reports every fault at once, with its key, its source and a hint, and without any value.

mod agree;
mod defaults;
mod entries;
mod environment;
mod explain;
mod file;
mod finding;
mod kinds;
mod limit;
mod listener;
mod load;
mod managed;
mod nearest;
mod oauth;
mod place;
mod raw;
mod resolve;
mod salvage;
mod secret;
mod starter;
mod storage;
mod units;
mod walk;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use crate::id::{CredentialName, KeyName, ListenerName, RouteName, TokenName};
use crate::origin::Origin;
use crate::path::Prefix;
use crate::rule::Rules;
use crate::scope::Scopes;

pub use self::environment::Environment;
pub use self::explain::{Setting, differences_in_fixed, settings};
pub use self::finding::{Faults, Finding};
pub use self::limit::{Limits, Mode, Per, Rate};
pub use self::listener::{Address, Listener, NamedListener, Tls, UnixAddress};
pub use self::load::{Base, Loaded, Sources, load, load_bearings, load_names};
pub use self::managed::{Addition, Kind, Managed};
pub use self::nearest::suggest;
pub use self::oauth::{Endpoint, OAuth2};
pub use self::place::{Origins, Place, is_plain_name};
pub use self::storage::{PostgresUrl, Store, StoreUrl};
pub use self::units::duration;

/// The configuration file with every setting and its default, as it lies in the repository.
pub const DOCUMENTED: &str = include_str!("../../config/closegate.toml");

/// The whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder that data lies in; made when there is some.
    pub data_dir: PathBuf,
    /// The proxy's listener and its limits.
    pub listen: Listener,
    /// Further listeners of the proxy, by name.
    pub listeners: BTreeMap<ListenerName, Listener>,
    /// What `[listen]` says of the process as a whole.
    pub process: Process,
    /// The listener of the admin API, and of `/metrics`, `/healthz`, `/readyz`.
    pub admin: Admin,
    /// The optional listener for scrapers alone, and the bound on series.
    pub metrics: Metrics,
    /// Where what is added at run time lies.
    pub store: Store,
    /// How to reach Close.
    pub upstream: Upstream,
    /// Credentials by name.
    pub credentials: BTreeMap<CredentialName, Credential>,
    /// Routes by name, those that credentials have by default among them.
    pub routes: BTreeMap<RouteName, Route>,
    /// Gateway keys by name.
    pub keys: BTreeMap<KeyName, Key>,
    /// Close's rate limits.
    pub pace: Pace,
    /// Access records and messages.
    pub log: Log,
}

/// What `[listen]` says of the process as a whole.
#[derive(Debug, Clone)]
pub struct Process {
    /// How long requests in flight may take after SIGTERM.
    pub shutdown_grace: Duration,
    /// How long the gateway goes on serving after SIGTERM before it drains.
    pub shutdown_delay: Duration,
    /// Threads that serve requests; `None` (`"auto"`): one a core.
    pub workers: Option<usize>,
}

/// `[admin]`.
#[derive(Debug, Clone)]
pub struct Admin {
    /// Where the admin listener listens.
    pub address: SocketAddr,
    /// With it the listener speaks TLS only.
    pub tls: Option<Tls>,
    /// Where browsers reach it from outside: scheme, host and port.
    pub public_url: Option<Origin>,
    /// Host names accepted (lower case, without a port) beside that of `public_url` and the loopback names; `*`: any.
    pub hosts: Vec<String>,
    /// Who may use the admin API; with none a token `admin` is made.
    pub tokens: BTreeMap<TokenName, Token>,
}

/// `[admin.tokens.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Where its text is: at least 16 visible ASCII characters.
    pub secret: SecretRef,
    /// What it may do.
    pub role: TokenRole,
}

/// What a token of the admin API may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenRole {
    /// Everything.
    Admin,
    /// See everything, change nothing.
    Viewer,
}

/// `[metrics]`.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// `/metrics`, `/healthz` and `/readyz` alone, for scrapers that must not reach the admin API.
    pub address: Option<SocketAddr>,
    /// Beyond it keys share the label `_other`.
    pub max_key_series: usize,
}

/// `[upstream]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// The upstream of every route that names none, with the reach that `danger_private_upstream` gives it.
    pub url: Origin,
    /// `host:port` to connect to instead of the URL's; Host, SNI and certificate check stay the URL's.
    pub address: Option<String>,
    /// The HTTP proxy that every connection to an upstream goes through: `http://`, host and port.
    pub proxy: Option<Origin>,
    /// A PEM file of roots that are trusted beside the system's.
    pub ca: Option<PathBuf>,
    /// Which versions of HTTP are spoken to it.
    pub http: Http,
    /// Whether secrets that come back are looked for in bodies.
    pub redact: Redact,
    /// To connect.
    pub connect_timeout: Duration,
    /// To finish the TLS handshake.
    pub tls_timeout: Duration,
    /// Until the first byte of the response.
    pub response_timeout: Duration,
    /// Between two pieces of a response's body.
    pub body_timeout: Duration,
    /// How long a pooled connection may lie without a request.
    pub idle_timeout: Duration,
    /// Connections to upstreams at once, over all credentials and workers.
    pub max_connections: usize,
    /// Whether a secret may be sent in clear text, to loopback.
    pub danger_cleartext_upstream: bool,
}

/// Which versions of HTTP are spoken to an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Http {
    /// By what the upstream offers in the TLS handshake, and by load; in clear text HTTP/1.1.
    Auto,
    /// HTTP/1.1 only.
    H1,
    /// HTTP/2 only; in clear text without asking.
    H2,
}

/// Where a secret that comes back is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redact {
    /// In headers and uncompressed bodies.
    Plain,
    /// In headers and bodies, which are uncompressed for it.
    Decode,
    /// In headers only.
    Off,
}

/// `[credentials.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// For people.
    pub description: Option<String>,
    /// What its organisation is called here: credentials of one share that organisation's rate limits.
    pub organization: Option<String>,
    /// What is injected.
    pub kind: CredentialKind,
}

/// What a credential injects, with references to its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialKind {
    /// Basic: the key as user name, an empty password.
    ApiKey {
        /// The key in use.
        current: SecretRef,
        /// The key that takes over when `current` is found rejected.
        next: Option<SecretRef>,
    },
    /// Basic with a user name of its own.
    Basic {
        /// The user name; no secret.
        username: String,
        /// The password.
        password: SecretRef,
    },
    /// Bearer with a token made elsewhere.
    Bearer(SecretRef),
    /// Bearer with tokens that an OAuth app is given; they live in the store.
    OAuth2(Box<OAuth2>),
}

impl CredentialKind {
    /// Where its secrets are: the one in use, then the one that may take over.
    pub fn references(&self) -> impl Iterator<Item = &SecretRef> {
        let (first, second) = match self {
            Self::ApiKey { current, next } => (current, next.as_ref()),
            Self::Basic { password: only, .. } | Self::Bearer(only) => (only, None),
            Self::OAuth2(app) => (&app.client_secret, None),
        };
        std::iter::once(first).chain(second)
    }
}

/// Where a secret is, never the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretRef {
    /// An environment variable, by name.
    Env(String),
    /// A file; a trailing newline is dropped.
    File(PathBuf),
    /// A credential that systemd hands over (`LoadCredential=`); a trailing newline is dropped.
    Systemd {
        /// What the unit calls it.
        name: String,
        /// Where it lies: that name in `$CREDENTIALS_DIRECTORY`.
        path: PathBuf,
    },
    /// A program and its arguments, run without a shell; its output is the secret.
    Command {
        /// Program and arguments.
        argv: Vec<String>,
        /// How often it is run again.
        refresh: Option<Duration>,
    },
    /// The store, sealed: never said by a file or a variable, but by what was added at run time.
    Stored {
        /// Whose it is.
        credential: CredentialName,
        /// Which of its successive secrets it is: another secret is another reference.
        version: u64,
    },
}

/// `[routes.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Stripped from the path.
    pub prefix: Prefix,
    /// As whom requests are sent.
    pub credential: CredentialName,
    /// Where they are sent, and how far that name may lead.
    pub upstream: Origin,
    /// What may be asked.
    pub rules: Rules,
    /// Whether callers need no key: on loopback, elsewhere only with `danger_anonymous`.
    pub anonymous: bool,
    /// Opens an `anonymous` route beyond loopback as well.
    pub danger_anonymous: bool,
}

/// `[keys.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// For people.
    pub description: Option<String>,
    /// How the key is recognised.
    pub secret: KeySecret,
    /// The text that it had before, while that goes on.
    pub former: Option<Former>,
    /// The user whose processes need no secret on a Unix socket, by number.
    pub peer: Option<u32>,
    /// Routes it may use, at least one; prefix-less calls go to the first.
    pub routes: Vec<RouteName>,
    /// What it may do; `None`: whatever its routes allow.
    pub scopes: Option<Scopes>,
    /// What it may ask.
    pub rules: Rules,
    /// Whether what it may not do is refused.
    pub mode: Mode,
    /// How much it may ask.
    pub limits: Limits,
    /// When it was made, if that was at run time.
    pub created: Option<Timestamp>,
    /// From when on it is refused.
    pub expires: Option<Timestamp>,
}

/// How a gateway key is recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySecret {
    /// By the SHA-256 of its text.
    Digest([u8; 32]),
    /// By a text of at least 16 visible ASCII characters that lies elsewhere.
    Reference(SecretRef),
    /// By its user alone.
    Peer,
}

/// A text that a key has had until it was rotated, and that goes on for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Former {
    /// The SHA-256 of it.
    pub digest: [u8; 32],
    /// From when on it is refused.
    pub until: Timestamp,
}

/// `[pace]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pace {
    /// How long a request may be held when its group of endpoints is exhausted; zero passes 429 through.
    pub max_wait: Duration,
}

/// `[log]`.
#[derive(Debug, Clone)]
pub struct Log {
    /// The access record.
    pub access: AccessFormat,
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter of `tracing-subscriber`.
    pub level: String,
}

/// How access records are written to stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessFormat {
    /// One JSON object a line.
    Json,
    /// One line for people.
    Text,
    /// Not at all.
    Off,
}
