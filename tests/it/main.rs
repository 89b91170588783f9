//! Everything that is tested from outside: one binary, one module a subject.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod access;
mod boundary;
mod credentials;
mod errors;
mod origin;
mod proxy;
mod raw;
mod redaction;
mod refusal;
mod tidy;
mod wire;
mod world;
