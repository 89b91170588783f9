//! Everything that is tested from outside: one binary, one module a subject.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod access;
mod activated;
mod admin;
mod authorizing;
mod boundary;
mod client;
mod coding;
mod commands;
mod credentials;
mod documents;
mod errors;
mod faults;
mod frames;
mod front;
mod front_h2;
mod h2;
mod limits;
mod load;
mod manage;
mod oauth;
mod origin;
mod outward;
mod pacing;
mod page;
mod policy;
mod postgres;
mod process;
mod proxy;
mod quotas;
mod raw;
mod redaction;
mod refusal;
mod reload;
mod replicas;
mod secrecy;
mod signal;
mod spawned;
mod store;
mod tidy;
mod tls;
mod upstream_h2;
mod ways;
mod wire;
mod world;
