//! Connections out: a name becomes a TCP connection, and that a checked TLS session.
//!
//! The place to connect to may be said apart from the name; the certificate is always checked against the name of
//! the URL (security.md 40).

mod connect;
mod fault;
mod stream;
mod tls;

pub use connect::{Connector, Offer};
pub use fault::{ConnectError, NetFault};
pub use stream::Stream;
