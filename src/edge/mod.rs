//! Sockets become requests: listeners, connections, and the wire guard that sees every byte before the codec does.
//!
//! Serves any [`Handler`]; what a request means is decided above. Each request comes with its [`Arrival`]: the guard's
//! verdict on the bytes it came as (security.md, section 1).

mod guard;
mod head;
mod line;
mod listen;
mod serve;

pub use guard::Timeouts;
pub use head::{HeadLimits, WireFault};
pub use line::{BodyFault, Line, Message};
pub use listen::{Accepted, Acceptor, Doors, ListenFault, bind};
pub use serve::{Arrival, Drain, Edge, Handler, serve};
