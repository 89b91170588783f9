//! Why there is no connection out, in words that name neither an address nor a secret.

use std::io;
use std::path::PathBuf;

use super::address::Prohibited;

/// What makes connections impossible from the start.
#[derive(Debug, thiserror::Error)]
pub enum NetFault {
    /// The file of roots cannot be used.
    #[error("`{path}` cannot be used as roots: {why}")]
    Roots {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The cryptographic provider lacks TLS 1.2 or 1.3.
    #[error("the cryptographic provider offers no safe version of TLS")]
    Provider,
}

/// Why there is no connection; in every case no byte of a request was sent.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name was not resolved.
    #[error("the upstream's name does not resolve")]
    Resolve(#[source] io::Error),
    /// The name leads to addresses that it may not lead to.
    #[error("the upstream's address is not permitted")]
    Prohibited(#[from] Prohibited),
    /// No address took the connection.
    #[error("the upstream does not take connections")]
    Connect(#[source] io::Error),
    /// The proxy gave no tunnel to the upstream.
    #[error(transparent)]
    Tunnel(#[from] TunnelFault),
    /// Nobody answered within `connect_timeout`.
    #[error("the upstream did not take the connection in time")]
    ConnectTimeout,
    /// The handshake failed: an invalid certificate, a wrong name, an old version, no TLS at all.
    #[error("no TLS session with the upstream")]
    Tls(#[source] io::Error),
    /// The handshake was not over within `tls_timeout`.
    #[error("the TLS handshake with the upstream was not over in time")]
    TlsTimeout,
}

/// Why the proxy of `upstream.proxy` gave no tunnel.
#[derive(Debug, thiserror::Error)]
pub enum TunnelFault {
    /// Its name was not resolved.
    #[error("the name of the proxy before the upstream does not resolve")]
    Resolve(#[source] io::Error),
    /// No address took the connection.
    #[error("the proxy before the upstream does not take connections")]
    Connect(#[source] io::Error),
    /// The connection ended before the answer did.
    #[error("the proxy before the upstream closed the connection before it answered")]
    Ended(#[source] io::Error),
    /// It answered with something else than a success.
    #[error("the proxy answered {0} when it was asked for a connection to the upstream")]
    Refused(u16),
    /// What it answered is no answer.
    #[error("the proxy before the upstream gave no valid answer: {0}")]
    Malformed(&'static str),
}
