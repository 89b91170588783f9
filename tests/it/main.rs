//! Everything that is tested from outside: one binary, one module a subject.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod access;
mod boundary;
mod errors;
mod limits;
mod origin;
mod proxy;
mod raw;
mod refusal;
mod tidy;
mod wire;
mod world;
