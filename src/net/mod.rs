//! Connections out: a name becomes a TCP connection, and that a checked TLS session.
//!
//! The place to connect to may be said apart from the name, and a proxy may stand between; the certificate is always
//! checked against the name of the URL (security.md 40). A name that leads to a private address leads nowhere unless that was said (security.md 42).

mod address;
mod bundle;
mod connect;
mod dial;
mod fault;
mod roots;
mod stream;
mod tls;
mod tunnel;

pub use address::Prohibited;
pub use connect::{Connector, Offer, Options};
pub use fault::{ConnectError, NetFault, TunnelFault};
pub use roots::read_roots_ahead;
pub use stream::Stream;
pub use tls::pinned;
