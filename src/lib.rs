//! closegate: an HTTP gateway that injects Close CRM credentials, so that the tools behind it never hold one.
//!
//! The modules stand on floors, and a module imports from lower floors only, on floor 0 from those named before it
//! (`ARCHITECTURE.md`; `tests/it/tidy.rs` reads this table and holds it):
//!
//! | floor | modules |
//! |---|---|
//! | 5 | `cli` |
//! | 4 | `app` |
//! | 3 | `proxy`, `admin` |
//! | 2 | `vault`, `keys`, `routes`, `upstream`, `pace`, `edge` |
//! | 1 | `config`, `telemetry`, `store`, `sim`, `net`, `catalogue` |
//! | 0 | `id`, `path`, `origin`, `rule`, `scope`, `chunked`, `clock`, `fingerprint`, `heap`, `keyshape`, `histogram`, `layer`, `usage`, `task` |

pub mod admin;
pub mod app;
pub mod catalogue;
pub mod chunked;
pub mod cli;
pub mod clock;
pub mod config;
pub mod edge;
pub mod fingerprint;
pub mod heap;
pub mod histogram;
pub mod id;
pub mod keys;
pub mod keyshape;
pub mod layer;
pub mod net;
pub mod origin;
pub mod pace;
pub mod path;
pub mod proxy;
pub mod routes;
pub mod rule;
pub mod scope;
pub mod sim;
pub mod store;
pub mod task;
pub mod telemetry;
pub mod upstream;
pub mod usage;
pub mod vault;
