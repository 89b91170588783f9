//! Sockets become requests: listeners, TLS, connections, and the wire guard that sees every byte of HTTP/1 before the
//! codec does.
//!
//! Serves any [`Handler`]; what a request means is decided above. Each request comes with its [`Arrival`]: the verdict
//! on the bytes it came as (security.md, sections 1 and 2).

mod bind;
mod body;
mod forwarded;
mod guard;
mod h2;
mod head;
mod line;
mod listen;
mod opening;
mod serve;
mod stream;
mod tls;

pub use bind::{Bound, Inherited, ListenFault, Local, bind, bind_tcp, look_at};
pub use body::{Ahead, RequestBody, RequestBodyFault};
pub use guard::Timeouts;
pub use head::{HeadLimits, WireFault};
pub use line::{BodyFault, Line, Message};
pub use listen::{Accepted, Acceptor, Doors, Entrance, Share};
pub use serve::{Arrival, Drain, Edge, Handler, Rules, serve};
pub use stream::Peer;
pub use tls::{Offer, ServerTls, Session, TlsFault};
