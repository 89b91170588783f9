//! The listeners for operators: `/metrics`, `/healthz` and `/readyz`, on the service thread, away from the data plane.
//!
//! The three need no token and accept any `Host` (contract.md 7): they show names and numbers only. Errors are
//! `application/problem+json` (RFC 9457).

mod health;
mod management;
pub mod model;
mod refusal;
mod respond;
mod serve;

pub use self::health::{Details, Health, Phase};
pub use self::management::{Answer, Management};
pub use self::refusal::{Code, FieldFault, Kind, Refusal};
pub use self::serve::serve;

#[cfg(test)]
mod tests;
