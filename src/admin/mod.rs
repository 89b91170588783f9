//! The listeners for operators, on the service thread, away from the data plane: the admin API, and `/metrics`,
//! `/healthz` and `/readyz`.
//!
//! The three need no token and accept any `Host` (contract.md 7): they show names and numbers only. Everything else takes
//! a token or a session that was got with one (`gate`), and is done by a [`Management`], which the listener knows as a
//! trait. Errors are `application/problem+json` (RFC 9457).

mod api;
mod attempts;
mod client;
mod gate;
mod health;
mod house;
mod invitation;
mod journal;
mod management;
pub mod model;
mod patience;
mod problem;
mod refusal;
mod respond;
mod serve;
mod session;
mod tokens;
mod ui;

pub use self::api::{Api, Desk, openapi};
pub use self::client::{Client, call, is_there, reachable};
pub use self::gate::{CALLBACK, DEPARTURE};
pub use self::health::{Details, Health, Phase};
pub use self::house::House;
pub use self::invitation::Invitation;
pub use self::journal::Journal;
pub use self::management::{Answer, Management};
pub use self::refusal::{Code, FieldFault, Kind, Refusal};
pub use self::serve::{Surface, serve};
pub use self::session::{InMemory, Session, SessionId, Sessions};
pub use self::tokens::{Token, Tokens, draw_token};

#[cfg(test)]
mod tests;
